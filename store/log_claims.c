/* Who asks what right now, and what was paid: several processes share one log, nothing is asked by two at a time, and no budget is
 * passed whatever dies when. A claim counts with the most that its request can cost until its reply is in. */
#include "store/log_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int log_prepare_one(sqlite3_stmt **out, store_log *l, const char *sql, error *err)
{
	return sqlite3_prepare_v2(l->db, sql, -1, out, NULL) == SQLITE_OK ? 0 : log_error(l, "use", err);
}

int log_finish(store_log *l, sqlite3_stmt *st, int rc, error *err)
{
	int code = SQLITE_DONE;

	while (rc == 0 && (code = sqlite3_step(st)) == SQLITE_ROW)
		;
	if (rc == 0 && code != SQLITE_DONE)
		rc = log_error(l, "write", err);
	sqlite3_finalize(st);
	return rc;
}

int log_begin(store_log *l, error *err)
{
	int rc = l->depth ? 0 : log_exec(l, "BEGIN IMMEDIATE", err);

	if (rc == 0)
		l->depth++;
	return rc;
}

int log_end(store_log *l, int rc, error *err)
{
	l->failed = l->failed || rc < 0;
	if (--l->depth)
		return rc;
	if (rc == 0 && l->failed)
		rc = error_set(err, ERR_IO, "cannot write the request log '%s'", l->path);
	if (rc == 0)
		rc = log_exec(l, "COMMIT", err);
	if (rc < 0)
		sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	l->failed = false;
	return rc;
}

/* ---- The end of a claim ------------------------------------------------------------------------------------------------ */

typedef struct claim_row {
	char job[64], stage[32];
	int64_t tokens;
	double cost;
	bool there;
} claim_row;

static int find_claim(claim_row *out, store_log *l, const char *key, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(&st, l, "SELECT job, stage, tokens, cost FROM claim WHERE key = ?1", err),
	    step;

	*out = (claim_row){ 0 };
	if (rc < 0)
		return rc;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(st);
	if (step == SQLITE_ROW) {
		out->there = true;
		snprintf(out->job, sizeof(out->job), "%s", (const char *)sqlite3_column_text(st, 0));
		snprintf(out->stage, sizeof(out->stage), "%s", (const char *)sqlite3_column_text(st, 1));
		out->tokens = sqlite3_column_int64(st, 2);
		out->cost = sqlite3_column_double(st, 3);
	} else if (step != SQLITE_DONE) {
		rc = log_error(l, "read", err);
	}
	sqlite3_finalize(st);
	return rc;
}

static int drop_claim(store_log *l, const char *key, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(&st, l, "DELETE FROM claim WHERE key = ?1", err);

	if (rc == 0)
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	return log_finish(l, st, rc, err);
}

static int add_spent(store_log *l, const claim_row *c, const store_usage *u, store_sent how, error *err)
{
	static const char sql[] =
	        "INSERT INTO spent(job, stage, requests, replies, input_tokens, "
	        "cached_tokens, output_tokens, cost, "
	        "lost_requests, lost_tokens, lost_cost, limited_requests) VALUES (?1, ?2, 1, ?3, "
	        "?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON "
	        "CONFLICT(job, stage) DO UPDATE SET requests = requests + 1, replies = "
	        "replies + ?3, input_tokens = "
	        "input_tokens + ?4, cached_tokens = cached_tokens + ?5, output_tokens = "
	        "output_tokens + ?6, cost = "
	        "cost + ?7, lost_requests = lost_requests + ?8, lost_tokens = lost_tokens "
	        "+ ?9, lost_cost = lost_cost "
	        "+ ?10, limited_requests = limited_requests + ?11";
	bool lost = !u && how == STORE_SENT_LOST;
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(&st, l, sql, err);

	if (rc == 0) {
		sqlite3_bind_text(st, 1, c->job, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 2, c->stage, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, u != NULL);
		sqlite3_bind_int64(st, 4, u ? (int64_t)u->input_tokens : 0);
		sqlite3_bind_int64(st, 5, u ? (int64_t)u->cached_tokens : 0);
		sqlite3_bind_int64(st, 6, u ? (int64_t)u->output_tokens : 0);
		sqlite3_bind_double(st, 7, u && !isnan(u->cost) ? u->cost : 0);
		sqlite3_bind_int64(st, 8, lost);
		sqlite3_bind_int64(st, 9, lost ? c->tokens : 0);
		sqlite3_bind_double(st, 10, lost ? c->cost : 0);
		sqlite3_bind_int64(st, 11, !u && how == STORE_SENT_LIMITED);
	}
	return log_finish(l, st, rc, err);
}

int log_settle(store_log *l, const char *key, const store_usage *usage, store_sent how, error *err)
{
	claim_row c;
	int rc = find_claim(&c, l, key, err);

	if (rc == 0 && c.there)
		rc = drop_claim(l, key, err);
	if (rc == 0 && c.there)
		rc = add_spent(l, &c, usage, how, err);
	return rc;
}

/* Claims need no sync: what the power takes was not answered, and is asked again. */
static int begin_quick(store_log *l, error *err)
{
	int rc = l->depth ? 0 : log_exec(l, "PRAGMA synchronous = NORMAL", err);

	return rc < 0 ? rc : log_begin(l, err);
}

static int end_quick(store_log *l, int rc, error *err)
{
	rc = log_end(l, rc, err);
	if (l->depth == 0)
		sqlite3_exec(l->db, "PRAGMA synchronous = FULL", NULL, NULL, NULL);
	return rc;
}

int store_log_group(store_log *l, bool quick, error *err)
{
	return quick ? begin_quick(l, err) : log_begin(l, err);
}

int store_log_group_end(store_log *l, bool quick, error *err)
{
	return quick ? end_quick(l, 0, err) : log_end(l, 0, err);
}

int store_log_release(store_log *l, const char *key, store_sent how, error *err)
{
	int rc = begin_quick(l, err);

	if (rc < 0)
		return rc;
	rc = log_settle(l, key, NULL, how, err);
	return end_quick(l, rc, err);
}

/* ---- Claims of the gone --------------------------------------------------------------------------------------------------- */

static bool is_gone(const char *holder, const char *machine, int64_t until)
{
	char here[LEASE_MAX];

	if (strncmp(holder, "batch ", 6) == 0)
		return false; /* a provider works on it */
	lease_machine(here);
	return strcmp(machine, here) == 0 ? lease_process_is_gone(holder) : clock_unix() > until;
}

/* Their requests were sent, and nobody has the replies. */
static int lose_gone(store_log *l, error *err)
{
	char keys[256][SHA256_HEX];
	sqlite3_stmt *st = NULL;
	size_t n = 0;
	int rc, step = SQLITE_ROW;

	do {
		n = 0;
		rc = log_prepare_one(&st, l, "SELECT key, holder, machine, until FROM claim", err);
		while (rc == 0 && n < ARRAY_LEN(keys) && (step = sqlite3_step(st)) == SQLITE_ROW)
			if (is_gone((const char *)sqlite3_column_text(st, 1),
			            (const char *)sqlite3_column_text(st, 2), sqlite3_column_int64(st, 3)))
				snprintf(keys[n++], SHA256_HEX, "%s",
				         (const char *)sqlite3_column_text(st, 0));
		if (rc == 0 && step != SQLITE_ROW && step != SQLITE_DONE)
			rc = log_error(l, "read", err);
		sqlite3_finalize(st);
		st = NULL;
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = log_settle(l, keys[i], NULL, STORE_SENT_LOST, err);
	} while (rc == 0 && n == ARRAY_LEN(keys));
	return rc;
}

/* ---- Claiming ---------------------------------------------------------------------------------------------------------------- */

static int scalar(bool *found, store_log *l, const char *sql, const char *key, char holder[LEASE_MAX],
                  char machine[LEASE_MAX], int64_t *until, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(&st, l, sql, err), step;

	*found = false;
	if (rc < 0)
		return rc;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	step = sqlite3_step(st);
	*found = step == SQLITE_ROW;
	if (*found && holder) {
		snprintf(holder, LEASE_MAX, "%s", (const char *)sqlite3_column_text(st, 0));
		snprintf(machine, LEASE_MAX, "%s", (const char *)sqlite3_column_text(st, 1));
		*until = sqlite3_column_int64(st, 2);
	}
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		rc = log_error(l, "read", err);
	sqlite3_finalize(st);
	return rc;
}

/* What is spent and reserved, and how much of it is only reserved. */
typedef struct sums {
	double requests, tokens, cost, reserved;
} sums;

static int find_sums(sums *out, store_log *l, const char *job, error *err)
{
	static const char sql[] =
	        "SELECT coalesce(sum(requests), 0), coalesce(sum(input_tokens + output_tokens + "
	        "lost_tokens), 0), "
	        "coalesce(sum(cost + lost_cost), 0), (SELECT count(*) FROM claim WHERE job = ?1), (SELECT "
	        "coalesce(sum(tokens), 0) FROM claim WHERE job = ?1), (SELECT coalesce(sum(cost), 0) FROM "
	        "claim WHERE "
	        "job = ?1) FROM spent WHERE job = ?1";
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(&st, l, sql, err);

	if (rc < 0)
		return rc;
	sqlite3_bind_text(st, 1, job, -1, SQLITE_STATIC);
	if (sqlite3_step(st) == SQLITE_ROW)
		*out = (sums){ .requests = sqlite3_column_double(st, 0) + sqlite3_column_double(st, 3),
			       .tokens = sqlite3_column_double(st, 1) + sqlite3_column_double(st, 4),
			       .cost = sqlite3_column_double(st, 2) + sqlite3_column_double(st, 5),
			       .reserved = sqlite3_column_double(st, 3) };
	else
		rc = log_error(l, "read", err);
	sqlite3_finalize(st);
	return rc;
}

/* *over: which limit would be passed, said in *err; what others have reserved may come free again. */
static int check_budget(store_claim *state, store_log *l, const store_reserve *r, error *err)
{
	const store_budget *b = r->budget;
	sums s = { 0 };
	int rc;

	if (!b || (b->max_requests == 0 && b->max_tokens == 0 && !(b->max_cost > 0)))
		return 0;
	rc = lose_gone(l, err);
	if (rc == 0)
		rc = find_sums(&s, l, r->job, err);
	if (rc < 0)
		return rc;
	if (b->max_requests && s.requests + 1 > (double)b->max_requests)
		error_set(err, ERR_STOPPED, "--max-requests %llu is reached: %.0f were sent",
		          (unsigned long long)b->max_requests, s.requests);
	else if (b->max_tokens && s.tokens + (double)r->tokens > (double)b->max_tokens)
		error_set(err, ERR_STOPPED,
		          "--max-tokens %llu is reached: %.0f are spent, and the next request may take %llu",
		          (unsigned long long)b->max_tokens, s.tokens, (unsigned long long)r->tokens);
	else if (b->max_cost > 0 && s.cost + r->cost > b->max_cost)
		error_set(err, ERR_STOPPED,
		          "--max-cost %g is reached: %g is spent, and the next request may cost %g",
		          b->max_cost, s.cost, r->cost);
	else
		return 0;
	*state = s.reserved > 0 ? STORE_CLAIM_HELD : STORE_CLAIM_OVER;
	return 0;
}

static int insert_claim(store_log *l, const char *key, const store_reserve *r, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = log_prepare_one(
	        &st, l,
	        "INSERT INTO claim(key, holder, machine, until, job, stage, tokens, cost) VALUES "
	        "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	        err);

	if (rc == 0) {
		sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 2, r->batch ? r->batch : l->holder, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 3, l->machine, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 4, clock_unix() + (int64_t)r->seconds + 60);
		sqlite3_bind_text(st, 5, r->job, -1, SQLITE_STATIC);
		sqlite3_bind_text(st, 6, r->stage, -1, SQLITE_STATIC);
		sqlite3_bind_int64(st, 7, (int64_t)r->tokens);
		sqlite3_bind_double(st, 8, r->cost);
	}
	return log_finish(l, st, rc, err);
}

static void know_holder(store_log *l)
{
	if (l->holder_pid == (long)getpid())
		return;
	l->holder_pid = (long)getpid();
	lease_make(l->holder);
	lease_machine(l->machine);
}

static int claim(store_claim *state, store_log *l, const char *key, const store_reserve *r, error *err)
{
	char holder[LEASE_MAX], machine[LEASE_MAX];
	int64_t until = 0;
	bool found;
	int rc = scalar(&found, l, "SELECT 1 FROM reply WHERE key = ?1", key, NULL, NULL, NULL, err);

	if (rc < 0 || found) {
		*state = STORE_CLAIM_ANSWERED;
		return rc;
	}
	rc = scalar(&found, l, "SELECT holder, machine, until FROM claim WHERE key = ?1", key, holder,
	            machine, &until, err);
	if (rc == 0 && found && !is_gone(holder, machine, until)) {
		*state = STORE_CLAIM_HELD;
		return 0;
	}
	if (rc == 0 && found)
		rc = log_settle(l, key, NULL, STORE_SENT_LOST, err);
	*state = STORE_CLAIMED;
	if (rc == 0)
		rc = check_budget(state, l, r, err);
	return rc == 0 && *state == STORE_CLAIMED ? insert_claim(l, key, r, err) : rc;
}

int store_log_claim(store_claim *out, store_log *l, const char *key, const store_reserve *r, error *err)
{
	store_claim state = STORE_CLAIM_HELD;
	int rc = begin_quick(l, err);

	if (rc < 0)
		return rc;
	know_holder(l);
	rc = claim(&state, l, key, r, err);
	rc = end_quick(l, rc, err);
	if (rc == 0)
		*out = state;
	return rc;
}
