/* See batch.h. A batch is written down before the provider hears of it, under a name of ours that goes along as metadata: whoever
 * is killed in between finds it among the provider's batches, and nothing is handed over twice. */
#include "explain/batch.h"
#include "explain/http.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_TRIES = 2, UNSURE_MAX = 3, PAGES_MAX = 1000, JSONL_MAX = 190 << 20, LINE_DEPTH = 64 };

typedef struct pending {
	explain_request *request;
	unsigned tries; /* batches that did not answer it */
	bool over, in_batch;
	error err;
} pending;

struct batch {
	batch_http *http;
	explain_client *client;
	store_log *log;
	claims claims;
	char *model;
	pending *all;
	size_t n, cap, n_open; /* n_open: not over */
	double poll;
	unsigned made;   /* batches, for their names */
	unsigned unsure; /* orders in a row of which it is not known whether the provider took them */
};

int batch_new(batch **out, const explain_client_opts *o, explain_client *client, store_log *log,
              const claims *c, double poll, error *err)
{
	batch *b = calloc(1, sizeof(*b));
	int rc = b ? batch_http_new(&b->http, o, err) : error_nomem(err, "a batch");

	if (rc == 0) {
		b->client = client;
		b->log = log;
		b->claims = *c;
		b->poll = poll;
		b->model = strdup(o->model);
		if (!b->model)
			rc = error_nomem(err, "a batch");
	}
	if (rc < 0)
		batch_free(b);
	else
		*out = b;
	return rc;
}

void batch_free(batch *b)
{
	if (!b)
		return;
	batch_http_free(b->http);
	free(b->model);
	free(b->all);
	free(b);
}

int batch_add(batch *b, explain_request *r, error *err)
{
	int rc = client_request_key(b->client, r, err);

	if (rc == 0 && mem_grow(&b->all, &b->cap, b->n + 1, sizeof(*b->all)) < 0)
		rc = error_nomem(err, "a batch");
	if (rc < 0)
		return rc;
	b->all[b->n++] = (pending){ .request = r };
	b->n_open++;
	return 0;
}

/* ---- Telling who asked -------------------------------------------------------------------------------------------------- */

static void deliver(batch *b, size_t i, explain_end end, const char *reply, bool from_log, const error *why)
{
	explain_request *r = b->all[i].request;

	b->all[i].over = true;
	b->n_open--;
	r->end = end;
	r->done(r, reply, from_log, reply ? NULL : why); /* it may add more */
}

/* Requests of tasks that are over are not there any more. */
static void forget_over(batch *b)
{
	size_t kept = 0;

	for (size_t i = 0; i < b->n; i++)
		if (!b->all[i].over)
			b->all[kept++] = b->all[i];
	b->n = kept;
}

/* What the log has by now, and what failed for good. *told: how many. */
static int tell(batch *b, size_t *told, error *err)
{
	char *reply = NULL;
	int rc = 0;

	*told = 0;
	for (size_t i = 0, n = b->n; i < n && rc == 0; i++) {
		if (b->all[i].over)
			continue;
		if (b->all[i].err.code) {
			error why = b->all[i].err;

			deliver(b, i, EXPLAIN_REJECTED, NULL, false, &why);
			++*told;
			continue;
		}
		rc = store_log_get(b->log, b->all[i].request->key, &reply, err);
		if (rc == 0 && reply) {
			deliver(b, i, EXPLAIN_REPLIED, reply, !b->all[i].in_batch, NULL);
			++*told;
		}
		free(reply);
		reply = NULL;
	}
	forget_over(b);
	return rc;
}

/* ---- Handing over ------------------------------------------------------------------------------------------------------------ */

static int add_line(text *jsonl, const explain_request *r)
{
	return text_addf(
	        jsonl,
	        "{\"custom_id\":\"%s\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":%s}\n",
	        r->key, r->body);
}

/* Claim it for the batch. *state as of store_log_claim(). */
static int reserve(store_claim *state, batch *b, const explain_request *r, const char *name, error *err)
{
	char holder[128];
	store_reserve want = {
		.job = b->claims.job, .stage = b->claims.stage, .batch = holder, .budget = &b->claims.budget
	};
	uint64_t limit;
	double cost;

	snprintf(holder, sizeof(holder), "batch %s", name);
	want.tokens = claims_tokens(&limit, r->body);
	cost = explain_price_of(&b->claims.price, want.tokens - limit, 0, limit);
	want.cost = isnan(cost) ? 0 : cost * b->claims.price.batch;
	return store_log_claim(state, b->log, r->key, &want, err);
}

/* Those that are in no batch and were not in too many, as lines; claimed and written down, all or none. */
static int choose(text *jsonl, size_t *n, batch *b, const char *name, error *over, error *err)
{
	store_claim state = STORE_CLAIMED;
	bool holds = false;
	int rc, end;

	*n = 0;
	rc = store_log_group(b->log, false, err);
	if (rc < 0)
		return rc;
	rc = store_log_batch_begin(b->log, name, batch_http_base(b->http), b->claims.job, b->claims.stage,
	                           err);
	for (size_t i = 0; i < b->n && rc == 0 && state != STORE_CLAIM_OVER; i++) {
		pending *p = &b->all[i];

		if (p->over || p->tries >= BATCH_TRIES)
			continue;
		rc = store_log_batch_holds(&holds, b->log, p->request->key, err);
		if (rc < 0 || holds)
			continue;
		if (jsonl->len + strlen(p->request->body) + 256 > JSONL_MAX)
			break;
		rc = reserve(&state, b, p->request, name, over);
		if (rc < 0 || state != STORE_CLAIMED)
			continue;
		rc = store_log_batch_item(b->log, name, p->request->key, err);
		if (rc == 0 && add_line(jsonl, p->request) < 0)
			rc = error_nomem(err, "a batch");
		p->in_batch = true;
		++*n;
	}
	if (rc == 0 && *n == 0)
		rc = store_log_batch_finish(b->log, name, false, err);
	end = store_log_group_end(b->log, false, rc == 0 ? err : NULL);
	return rc < 0 ? rc : end;
}

/* Where it is not known whether the provider took the order, it keeps its name of ours: find_ordered() finds out. */
static int create(batch *b, const char *file, const char *name, bool (*stop)(void), error *err)
{
	const char *id = NULL;
	cJSON *reply = NULL;
	bool unsure = false;
	text json;
	int rc;

	text_init(&json, 1 << 16);
	rc = text_adds(&json, "{\"input_file_id\":");
	if (rc == 0)
		rc = text_add_json(&json, file, strlen(file));
	if (rc == 0)
		rc = text_addf(
		        &json,
		        ",\"endpoint\":\"/v1/chat/completions\",\"completion_window\":\"24h\",\"metadata\":{"
		        "\"gloss\":\"%s\"}}",
		        name);
	rc = rc < 0 ? error_nomem(err, "a batch")
	            : batch_http_post(&reply, &unsure, b->http, "/batches", json.data, stop, err);
	text_free(&json);
	if (unsure && ++b->unsure < UNSURE_MAX)
		return 0;
	if (rc == 0)
		b->unsure = 0;
	if (rc == 0)
		rc = json_get_string(&id, reply, "id", "the batch", err);
	if (rc == 0 && (!id || strlen(id) > 100))
		rc = error_set(err, ERR_FORMAT, "'%s' took a batch and gave it no id",
		               batch_http_base(b->http));
	if (rc == 0)
		rc = store_log_batch_rename(b->log, name, id, err);
	cJSON_Delete(reply);
	return rc;
}

/* Hand over what waits. *n 0: nothing does, or *over says why nothing may. */
static int hand_over(batch *b, size_t *n, error *over, bool (*stop)(void), error *err)
{
	char name[64], *file = NULL;
	error later;
	text jsonl;
	int rc, undo;

	snprintf(name, sizeof(name), "new-%016llx",
	         (unsigned long long)hash64_mix(
	                 hash64(b->claims.job, strlen(b->claims.job), (uint64_t)clock_unix()),
	                 ((uint64_t)(clock_now() * 1e6) << 8) + b->made++));
	text_init(&jsonl, JSONL_MAX + (1 << 22));
	rc = choose(&jsonl, n, b, name, over, err);
	if (rc == 0 && *n)
		rc = batch_http_upload(&file, b->http, &jsonl, stop, err);
	if (rc < 0 && *n) { /* nobody has it: nothing was ordered */
		undo = store_log_batch_finish(b->log, name, false, &later);
		(void)undo;
	}
	if (rc == 0 && *n)
		rc = create(b, file, name, stop, err);
	free(file);
	text_free(&jsonl);
	return rc;
}

/* ---- Taking in ----------------------------------------------------------------------------------------------------------------- */

static pending *find_pending(batch *b, const char *key)
{
	for (size_t i = 0; i < b->n; i++)
		if (!b->all[i].over && strcmp(b->all[i].request->key, key) == 0)
			return &b->all[i];
	return NULL;
}

static int put_reply(batch *b, const char *key, const pending *p, const cJSON *body, error *err)
{
	chat_usage usage;
	store_reply r = { .endpoint = batch_http_base(b->http),
		          .model = b->model,
		          .body = p ? p->request->body : "",
		          .status = 200,
		          .job = b->claims.job,
		          .stage = b->claims.stage };
	char *printed = json_print(body);
	int rc;

	if (!printed)
		return error_nomem(err, "a reply");
	chat_usage_read(&usage, body);
	r.reply = printed;
	r.usage = claims_usage(&b->claims, &usage);
	r.usage.cost *= b->claims.price.batch; /* NaN stays so */
	rc = store_log_put(b->log, key, &r, err);
	free(printed);
	return rc;
}

/* One line of an output or error file. What is no answer is asked again, unless it never will be one. */
static int take_line(batch *b, const cJSON *line, error *err)
{
	const cJSON *id = cJSON_GetObjectItemCaseSensitive(line, "custom_id"), *response, *body;
	double status;
	pending *p;

	if (!cJSON_IsString(id) || strlen(id->valuestring) != SHA256_HEX - 1)
		return 0; /* not ours */
	response = cJSON_GetObjectItemCaseSensitive(line, "response");
	body = cJSON_GetObjectItemCaseSensitive(response, "body");
	status = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(response, "status_code"));
	p = find_pending(b, id->valuestring);
	if (status == 200 && cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(body, "choices")))
		return put_reply(b, id->valuestring, p, body, err);
	if (p && status >= 400 && status < 500 && status != 408 && status != 429) {
		const cJSON *what = cJSON_GetObjectItemCaseSensitive(
		        cJSON_GetObjectItemCaseSensitive(body, "error"), "message");

		error_set(&p->err, ERR_ARG, "the batch answered %.0f%s%.150s", status,
		          cJSON_IsString(what) ? ": " : "", cJSON_IsString(what) ? what->valuestring : "");
	}
	return 0;
}

/* An id that may stand in a path. */
static bool is_plain(const char *id)
{
	return strlen(id) <= 100 &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == strlen(id);
}

static int take_file(batch *b, const char *file, bool (*stop)(void), error *err)
{
	char path[256], *data = NULL, *next;
	size_t len = 0;
	cJSON *json = NULL;
	int rc, end;

	if (!is_plain(file))
		return error_set(err, ERR_FORMAT, "'%s' names a file strangely", batch_http_base(b->http));
	snprintf(path, sizeof(path), "/files/%s/content", file);
	rc = batch_http_get(&data, &len, b->http, path, stop, err);
	if (rc < 0)
		return rc;
	rc = store_log_group(b->log, false, err);
	if (rc < 0) {
		free(data);
		return rc;
	}
	for (char *line = data; rc == 0 && line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (json_parse(&json, line, strlen(line), 1 << 24, LINE_DEPTH, "a line of the batch", NULL) <
		    0)
			continue; /* cut or broken: its request is asked again */
		rc = take_line(b, json, err);
		cJSON_Delete(json);
		json = NULL;
	}
	end = store_log_group_end(b->log, false, rc == 0 ? err : NULL);
	free(data);
	return rc < 0 ? rc : end;
}

/* The provider rejected the file as a whole. */
static int rejected(batch *b, const cJSON *state, error *err)
{
	const cJSON *errors = cJSON_GetObjectItemCaseSensitive(state, "errors");
	const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(errors, "data"), 0);
	const cJSON *what = cJSON_GetObjectItemCaseSensitive(first, "message");

	return error_set(err, ERR_REFUSED, "'%s' rejected the batch%s%.150s", batch_http_base(b->http),
	                 cJSON_IsString(what) ? ": " : "", cJSON_IsString(what) ? what->valuestring : "");
}

/* It is over, one way or the other: take in what there is; the rest was not answered by it. state NULL: the provider does not know
 * it any more, as it may not know its files. What was paid for it then, nobody can say. */
static int take_in(batch *b, const char *id, const cJSON *state, bool (*stop)(void), error *err)
{
	static const char *const files[] = { "output_file_id", "error_file_id" };
	bool holds = false, forgotten = !state;
	const cJSON *file;
	error why = { 0 };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(files) && rc == 0; i++) {
		file = cJSON_GetObjectItemCaseSensitive(state, files[i]);
		if (cJSON_IsString(file) && file->valuestring[0])
			rc = take_file(b, file->valuestring, stop, &why);
		if (rc == ERR_NOTFOUND) {
			forgotten = true;
			rc = 0;
		}
	}
	if (rc < 0)
		return error_set(err, why.code, "%s", why.msg);
	for (size_t i = 0; i < b->n && rc == 0; i++) {
		if (b->all[i].over)
			continue;
		rc = store_log_batch_holds(&holds, b->log, b->all[i].request->key, err);
		b->all[i].tries += holds;
	}
	return rc < 0 ? rc : store_log_batch_finish(b->log, id, forgotten, err);
}

/* One page of the provider's list. *found: the batch is on it, and has its own name in the log now. last: the id at its end; "":
 * no page follows. */
static int look_for(bool *found, char last[128], batch *b, const char *name, bool (*stop)(void), error *err)
{
	const cJSON *one, *id, *mine;
	char path[200], *body = NULL;
	cJSON *list = NULL;
	size_t len = 0;
	int rc;

	snprintf(path, sizeof(path), "/batches?limit=100%s%s", last[0] ? "&after=" : "", last);
	rc = batch_http_get(&body, &len, b->http, path, stop, err);
	if (rc == 0)
		rc = json_parse(&list, body, len, 1 << 26, LINE_DEPTH, "the list of batches", err);
	free(body);
	last[0] = '\0';
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(list, "data"))
	{
		id = cJSON_GetObjectItemCaseSensitive(one, "id");
		mine = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(one, "metadata"),
		                                        "gloss");
		if (rc < 0 || !cJSON_IsString(id) || !is_plain(id->valuestring))
			continue;
		snprintf(last, 128, "%s", id->valuestring);
		if (cJSON_IsString(mine) && strcmp(mine->valuestring, name) == 0) {
			*found = true;
			rc = store_log_batch_rename(b->log, name, id->valuestring, err);
		}
	}
	if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(list, "has_more")))
		last[0] = '\0';
	cJSON_Delete(list);
	return rc;
}

/* A batch that was written down and perhaps never ordered: the provider's list tells, the newest first. */
static int find_ordered(batch *b, const char *name, bool (*stop)(void), error *err)
{
	char last[128] = "";
	bool found = false;
	int rc;

	for (int page = 0;; page++) {
		rc = look_for(&found, last, b, name, stop, err);
		if (rc < 0 || found)
			return rc;
		if (!last[0] || page == PAGES_MAX)
			return store_log_batch_finish(b->log, name, false, err);
	}
}

/* *done: it is over and taken in. */
static int look(batch *b, const char *id, bool *done, bool (*stop)(void), error *err)
{
	static const char *const ended[] = { "completed", "expired", "cancelled", "failed" };
	const char *status = NULL;
	char path[160], *body = NULL;
	error why = { 0 };
	cJSON *state = NULL;
	size_t len = 0;
	int rc;

	*done = false;
	if (strncmp(id, "new-", 4) == 0) {
		*done = true;
		return find_ordered(b, id, stop, err);
	}
	snprintf(path, sizeof(path), "/batches/%.100s", id);
	rc = batch_http_get(&body, &len, b->http, path, stop, &why);
	if (rc == ERR_NOTFOUND) {
		*done = true;
		return take_in(b, id, NULL, stop, err);
	}
	if (rc < 0)
		return error_set(err, why.code, "%s", why.msg);
	if (rc == 0)
		rc = json_parse(&state, body, len, 1 << 24, LINE_DEPTH, "the batch", err);
	if (rc == 0)
		rc = json_get_string(&status, state, "status", "the batch", err);
	for (size_t i = 0; i < ARRAY_LEN(ended) && rc == 0; i++)
		*done = *done || (status && strcmp(status, ended[i]) == 0);
	if (rc == 0 && *done && strcmp(status, "failed") == 0) {
		rc = store_log_batch_finish(b->log, id, false, err);
		rc = rc < 0 ? rc : rejected(b, state, err);
	} else if (rc == 0 && *done) {
		rc = take_in(b, id, state, stop, err);
	}
	free(body);
	cJSON_Delete(state);
	return rc;
}

/* ---- A step -------------------------------------------------------------------------------------------------------------------------- */

/* What no batch answered goes the usual way. */
static int ask_directly(batch *b, bool (*stop)(void), error *err)
{
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < b->n && rc == 0; i++) {
		if (b->all[i].over || b->all[i].tries < BATCH_TRIES)
			continue;
		b->all[i].over = true;
		b->n_open--;
		rc = explain_client_add(b->client, b->all[i].request, err);
		n++;
	}
	return rc < 0 || n == 0 ? rc : explain_client_run(b->client, 0, stop, err);
}

static int look_at_all(batch *b, size_t *n_open, bool *any, bool (*stop)(void), error *err)
{
	arena mem = ARENA_INIT;
	char **ids = NULL;
	bool done;
	int rc = store_log_batch_open(&ids, n_open, b->log, batch_http_base(b->http), b->claims.job, &mem,
	                              err);

	for (size_t i = 0; i < *n_open && rc == 0; i++) {
		rc = look(b, ids[i], &done, stop, err);
		*any = *any || done;
	}
	arena_clear(&mem);
	return rc;
}

int batch_step(batch *b, bool (*stop)(void), error *err)
{
	size_t told = 0, handed = 0, n_open = 0;
	error over = { 0 };
	bool any = false;
	int rc = tell(b, &told, err);

	if (rc < 0 || told || b->n_open == 0)
		return rc;
	rc = look_at_all(b, &n_open, &any, stop, err);
	if (rc < 0 || any)
		return rc;
	rc = hand_over(b, &handed, &over, stop, err);
	if (rc == 0 && !handed && n_open == 0 && over.code)
		return error_set(err, over.code, "%s", over.msg);
	if (rc == 0 && !handed && n_open == 0)
		rc = ask_directly(b, stop, err);
	return rc < 0 || (!handed && n_open == 0) ? rc : batch_wait(b->poll, stop, err);
}
