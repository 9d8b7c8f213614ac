/* engine_report: what a job says of itself: of each task, how far it is, and at the end. */
#include "explain/client.h"
#include "explain/engine.h"

#include <math.h>
#include <stdlib.h>

/* ---- Of each task ------------------------------------------------------------------------------------------------------ */

/* As text until the end: small pieces kept between the blocks of tasks that come and go take five times their size. */
int engine_report(engine *j, const engine_task *t, error *err)
{
	char *printed = NULL;
	cJSON *about;
	int rc = 0;

	if (!j->reporting)
		return 0;
	about = cJSON_CreateObject();
	if (about && cJSON_AddNumberToObject(about, "feature", t->row.feature) &&
	    cJSON_AddStringToObject(about, "state", store_task_state_name(t->state)) &&
	    (!t->why || cJSON_AddStringToObject(about, "why", t->why)) && j->kind->report(t, about))
		printed = json_print(about);
	if (!printed || text_addf(&j->reports, "%s%s", j->reports.len ? "," : "[", printed) < 0)
		rc = error_nomem(err, "the summary");
	free(printed);
	cJSON_Delete(about);
	return rc;
}

/* The list of them; NULL: no memory. */
static cJSON *take_reports(engine *j)
{
	cJSON *list = NULL;

	if (!j->reports.len)
		return cJSON_CreateArray();
	if (text_adds(&j->reports, "]") < 0 || json_parse(&list, j->reports.data, j->reports.len,
	                                                  ENGINE_REPORTS_MAX, 64, "the summary", NULL) < 0)
		return NULL;
	text_free(&j->reports);
	return list;
}

/* ---- On the way -------------------------------------------------------------------------------------------------------- */

/* Of the endpoint, and of a subject server beside it, whose tokens nobody pays for. */
static explain_client_stats stats_of(const engine *j)
{
	explain_client_stats s = explain_client_get_stats(j->client), more;

	if (!j->subject)
		return s;
	more = explain_client_get_stats(j->subject);
	s.sent += more.sent;
	s.from_log += more.from_log;
	s.retried += more.retried;
	s.failed += more.failed;
	s.limited += more.limited;
	return s;
}

static double paid(const engine *j, const explain_client_stats *s)
{
	return explain_price_of(&j->o->price, s->input_tokens, s->input_cached, s->output_tokens);
}

/* What stands behind the bar; NULL: all is well. */
static const char *note_of(char buf[160], const explain_progress *p)
{
	char cost[32] = "", limited[48] = "", held[48] = "";

	if (!isnan(p->cost))
		snprintf(cost, sizeof(cost), ", %.4g spent", p->cost);
	if (p->limited)
		snprintf(limited, sizeof(limited), ", %llu answered 429", (unsigned long long)p->limited);
	if (p->held >= 1)
		snprintf(held, sizeof(held), ", waiting for %.0f s", p->held);
	snprintf(buf, 160, "%llu failed%s%s%s", (unsigned long long)p->failed, cost, limited, held);
	return p->failed || cost[0] || limited[0] || held[0] ? buf : NULL;
}

void engine_tell(const engine *j)
{
	explain_client_stats s = { 0 };
	explain_progress p = { .tasks = j->n_all,
		               .over = j->before + j->recorded,
		               .failed = j->failed,
		               .refused = j->refused,
		               .seconds = clock_now() - j->started };
	char note[160];
	int64_t held;

	if (j->client) {
		s = stats_of(j);
		held = client_hold(j->client);
		p.held = held ? (double)(held - clock_unix()) : 0;
	}
	p.requests = s.sent;
	p.retried = s.retried;
	p.limited = s.limited;
	p.from_log = s.from_log;
	p.input_tokens = s.input_tokens;
	p.output_tokens = s.output_tokens;
	p.cost = paid(j, &s);
	p.rate = p.seconds > 0 ? (double)j->recorded / p.seconds : 0;
	p.left = p.rate > 0 ? (double)(p.tasks - p.over) / p.rate : (double)NAN;
	if (j->o->progress)
		progress_update(j->o->progress, p.over, note_of(note, &p));
	if (j->o->tell)
		j->o->tell(j->o->payload, &p);
}

/* ---- At the end -------------------------------------------------------------------------------------------------------- */

static bool add_numbers(cJSON *o, const char *const *names, const uint64_t *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!cJSON_AddNumberToObject(o, names[i], (double)values[i]))
			return false;
	return true;
}

/* Tokens the tasks' answers took are the job's counts; "paid" are those that this run asked for, and what they cost. */
static bool fill_summary(cJSON *sum, engine *j)
{
	static const char *const sent[] = { "requests",          "from_log",           "retried", "limited",
		                            "paid_input_tokens", "paid_output_tokens", "missing" };
	static const char *const dry[] = { "requests", "input_tokens_estimate", "output_tokens_limit" };
	cJSON *list;
	explain_client_stats s = { 0 };
	bool fine = cJSON_AddStringToObject(sum, "kind", j->kind->name) &&
	            cJSON_AddStringToObject(sum, "method", j->method) &&
	            cJSON_AddBoolToObject(sum, "resumed", j->resumed) &&
	            cJSON_AddBoolToObject(sum, "dry_run", j->o->dry_run);

	if (j->client)
		s = stats_of(j);
	if (fine && j->o->dry_run)
		fine = add_numbers(sum, dry, (uint64_t[]){ j->dry_requests, j->dry_input, j->dry_output },
		                   3) &&
		       (!j->o->price.known ||
		        (cJSON_AddNumberToObject(
		                 sum, "cost_estimate",
		                 explain_price_of(&j->o->price, j->dry_input, 0, j->dry_output)) &&
		         cJSON_AddNumberToObject(
		                 sum, "cost_limit",
		                 explain_price_of(&j->o->price, j->dry_bytes, 0, j->dry_output))));
	else if (fine)
		fine = add_numbers(sum, sent,
		                   (uint64_t[]){ s.sent, s.from_log, s.retried, s.limited, s.input_tokens,
		                                 s.output_tokens, j->missing },
		                   ARRAY_LEN(sent)) &&
		       (!j->o->price.known || cJSON_AddNumberToObject(sum, "paid", paid(j, &s)));
	if (!fine || !cJSON_AddNumberToObject(sum, "seconds", clock_now() - j->started))
		return false;
	list = take_reports(j);
	if (!list || !cJSON_AddItemToObject(sum, "features", list)) {
		cJSON_Delete(list);
		return false;
	}
	return true;
}

int engine_summary(cJSON **out, engine *j, error *err)
{
	cJSON *sum = NULL;
	int rc = 0;

	if (j->o->dry_run)
		sum = cJSON_CreateObject();
	else
		rc = store_job_counts(&sum, j->s, j->id, err);
	if (rc == 0 && (!sum || !fill_summary(sum, j)))
		rc = error_nomem(err, "the summary");
	if (rc == 0)
		*out = sum;
	else
		cJSON_Delete(sum);
	return rc;
}
