/* engine: the loop of a job. Tasks are begun in order of their id while there is room in flight, and recorded in that order
 * too, whatever came back first: the rows of a run that was cut short and taken up again are those of one that was not. */
#include "explain/batch.h"
#include "explain/client.h"
#include "explain/subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BYTES_A_TOKEN = 4, TOP_LOGPROBS = 5 };

/* ---- Questions --------------------------------------------------------------------------------------------------------- */

/* What a reply holds that is no chat completion is the kind's to read. */
static void take_reply(engine_ask *ask, const char *reply, chat_usage *usage)
{
	engine_task *t = ask->task;
	cJSON *json = NULL;

	*usage = (chat_usage){ .end = CHAT_ANSWERED };
	if (ask->request.api == EXPLAIN_CHAT) {
		const cJSON *schema = ask->form ? t->job->form_schema[ask->form - 1] : t->job->schema;

		if (chat_answer(&ask->answer, usage, reply, schema, &ask->err) < 0)
			ask->answer = NULL;
		if (!t->job->o->logprobs)
			return;
	} else if (json_parse(&json, reply, strlen(reply), CHAT_REPLY_MAX, 64, "reply", NULL) == 0) {
		chat_usage_read(usage, json);
		usage->end = CHAT_ANSWERED;
		cJSON_Delete(json);
	}
	ask->reply = arena_strdup(&t->mem, reply);
	if (!ask->reply)
		error_nomem(&ask->err, "a reply");
}

/* What is asked of a subject server beside the endpoint costs nothing. */
static bool is_free(const engine *j, explain_api api)
{
	return api == EXPLAIN_SUBJECT && subject_is_beside(j->o);
}

static void ask_done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	engine_ask *ask = r->payload;
	engine_task *t = ask->task;
	chat_usage usage;

	(void)from_log;
	if (reply) {
		take_reply(ask, reply, &usage);
		if (!is_free(t->job, r->api)) {
			t->input += usage.input;
			t->cached += usage.cached;
			t->output += usage.output;
		}
		ask->end = usage.end;
	} else {
		ask->err = *err;
		t->job->missing += r->end == EXPLAIN_MISSING;
		ask->end = r->end == EXPLAIN_FILTERED ? CHAT_FILTERED : CHAT_UNREADABLE;
	}
	ask->over = true;
	t->open--;
	t->job->open--;
}

/* body: canonical, freed here. */
static int send_ask(engine_task *t, engine_ask *ask, explain_api api, char *body, unsigned reply_tokens,
                    unsigned sample, error *err)
{
	engine *j = t->job;
	explain_client *to = api == EXPLAIN_SUBJECT && j->subject ? j->subject : j->client;
	int rc;

	ask->request = (explain_request){
		.api = api, .sample = sample, .reply_tokens = reply_tokens, .done = ask_done, .payload = ask
	};
	if (j->o->dry_run) {
		j->dry_requests++;
		if (!is_free(j, api)) {
			j->dry_bytes += strlen(body);
			j->dry_input += (strlen(body) + BYTES_A_TOKEN - 1) / BYTES_A_TOKEN;
			j->dry_output += reply_tokens;
		}
		free(body);
		return 0;
	}
	ask->request.body = arena_strdup(&t->mem, body);
	free(body);
	if (!ask->request.body)
		return error_nomem(err, "a request");
	rc = j->batch && api == EXPLAIN_CHAT ? batch_add(j->batch, &ask->request, err)
	                                     : explain_client_add(to, &ask->request, err);
	if (rc == 0) {
		t->open++;
		j->open++;
	}
	return rc;
}

static engine_ask *add_ask(engine_task *t, const char *example_ids, void *data)
{
	engine_ask *ask = arena_alloc(&t->mem, 1, sizeof(*ask));

	if (!ask)
		return NULL;
	ask->task = t;
	ask->seq = t->n_asks++;
	ask->form = t->form;
	ask->example_ids = example_ids;
	ask->data = data;
	*t->last = ask;
	t->last = &ask->next;
	return ask;
}

const char *engine_schema(const engine_kind *k, const explain_opts *o, unsigned form)
{
	const engine_form own = { .name = k->schema_name, .schema = k->schema },
	                  *f = form ? &k->forms[form - 1] : &own;

	return o->label_schema && strcmp(f->name, "label") == 0 ? o->label_schema : f->schema;
}

int engine_ask_add(engine_task *t, engine_ask **out, const char *system, const char *user,
                   const char *example_ids, unsigned max_tokens, unsigned sample, void *data, error *err)
{
	engine *j = t->job;
	const engine_form *form = t->form ? &j->kind->forms[t->form - 1] : NULL;
	chat_question q = { .system = system,
		            .user = user,
		            .name = form ? form->name : j->kind->schema_name,
		            .schema = engine_schema(j->kind, j->o, t->form),
		            .max_tokens = max_tokens,
		            .sample = sample,
		            .top_logprobs = j->o->logprobs ? TOP_LOGPROBS : 0 };
	engine_ask *ask = add_ask(t, example_ids, data);
	char *body = NULL;
	int rc = 0;

	if (!ask)
		return error_nomem(err, "a question");
	if (user) {
		rc = chat_body(&body, &j->chat, &q, err);
		if (rc == 0)
			rc = send_ask(t, ask, EXPLAIN_CHAT, body, chat_limit(&j->chat, &q), sample, err);
	} else {
		snprintf(ask->request.key, sizeof(ask->request.key), "lexical");
		ask->over = true;
	}
	if (out)
		*out = ask;
	return rc;
}

int engine_ask_call(engine_task *t, engine_ask **out, explain_api api, char *body, const char *example_ids,
                    unsigned reply_tokens, unsigned sample, void *data, error *err)
{
	engine_ask *ask = add_ask(t, example_ids, data);

	if (!ask) {
		free(body);
		return error_nomem(err, "a question");
	}
	if (out)
		*out = ask;
	return send_ask(t, ask, api, body, reply_tokens, sample, err);
}

int engine_settle(engine_task *t, store_task_state state, const char *why, error *err)
{
	t->settled = true;
	t->state = state;
	t->why = why ? arena_strdup(&t->mem, why) : NULL;
	return why && !t->why ? error_nomem(err, "a task") : 0;
}

store_task_state engine_failure(const engine_ask *ask)
{
	return ask->end == CHAT_REFUSED    ? STORE_TASK_REFUSED
	       : ask->end == CHAT_FILTERED ? STORE_TASK_FILTERED
	                                   : STORE_TASK_FAILED;
}

int engine_example_ids(engine_task *t, const char **out, const store_window *const *windows, size_t n,
                       error *err)
{
	text ids;
	int rc = 0;

	text_init(&ids, 1 << 20);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (i)
			ids.len--; /* the closing bracket */
		rc = text_addf(&ids, "%s[%lld,%u,%u]]", i ? "," : "[", (long long)windows[i]->context,
		               windows[i]->first, windows[i]->length);
	}
	*out = rc == 0 ? arena_strdup(&t->mem, n ? ids.data : "[]") : NULL;
	text_free(&ids);
	return *out ? 0 : error_nomem(err, "a question");
}

unsigned engine_groups(const store_window *w, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (w[i].group != w[0].group)
			return 2;
	return n > 0;
}

/* ---- What the server accepts -------------------------------------------------------------------------------------------------- */

int engine_open_chat(engine *j, error *err)
{
	arena mem = ARENA_INIT;
	const char *json;
	char *found = NULL;
	bool known;
	int rc;

	rc = store_job_capabilities(&json, j->s, j->id, &mem, err);
	if (rc == 0)
		rc = chat_from_capabilities(&j->chat, &known, json, err);
	if (rc < 0 || known)
		goto out;
	client_for_job(j->client, j->uid, "probe", &j->o->price, &j->o->budget);
	rc = chat_probe(&j->chat, j->client, j->o->logprobs ? TOP_LOGPROBS : 0, j->o->replay, j->o->stop,
	                err);
	if (rc == 0 && j->o->logprobs && j->chat.no_logprobs)
		rc = error_set(err, ERR_ARG,
		               "'%s' at '%s' gives no log-probabilities of its answers: leave out --logprobs",
		               j->o->client->model, j->o->client->base_url);
	if (rc < 0)
		goto out;
	found = chat_capabilities(&j->chat);
	rc = found ? store_job_set_capabilities(j->s, j->id, found, err) : error_nomem(err, "capabilities");
out:
	free(found);
	arena_clear(&mem);
	return rc;
}

/* ---- Tasks ---------------------------------------------------------------------------------------------------------------------- */

static void task_free(engine_task *t)
{
	for (engine_ask *a = t->asks; a; a = a->next)
		cJSON_Delete(a->answer);
	arena_clear(&t->mem);
	free(t);
}

/* The features that share its label. */
static int read_twins(engine_task *t, error *err)
{
	cJSON *list = NULL;
	const cJSON *one;
	uint32_t *twins;
	int rc = 0;

	if (!t->row.twins)
		return 0;
	t->row.twins =
	        arena_strdup(&t->mem, t->row.twins); /* the row's are gone with the next that are taken */
	if (!t->row.twins)
		return error_nomem(err, "a task");
	rc = json_parse(&list, t->row.twins, strlen(t->row.twins), 1 << 24, 4, "task.twins", err);
	if (rc < 0)
		return rc;
	twins = arena_alloc(&t->mem, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*twins));
	if (!twins)
		rc = error_nomem(err, "a task");
	cJSON_ArrayForEach(one, list)
	{
		if (rc == 0 && cJSON_IsNumber(one) && one->valuedouble >= 0 && one->valuedouble <= UINT32_MAX)
			twins[t->n_twins++] = (uint32_t)one->valuedouble;
	}
	t->twins = twins;
	cJSON_Delete(list);
	return rc;
}

static int task_begin(engine *j, const store_task *row, error *err)
{
	engine_task *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return error_nomem(err, "a task");
	t->job = j;
	t->row = *row;
	t->last = &t->asks;
	if (!j->tasks)
		j->last_task = &j->tasks;
	*j->last_task = t;
	j->last_task = &t->next;
	j->n_tasks++;
	rc = read_twins(t, err);
	return rc < 0 ? rc : j->kind->begin(t, err);
}

/* Labels that were not chosen, then the label, and the same for each twin: the last of a feature counts. */
static int collect_labels(engine_task *t, store_outcome *o, error *err)
{
	size_t at = t->n_rejected;
	store_explanation *all;

	if (!t->explanation)
		return 0;
	all = arena_alloc(&t->mem, at + t->n_twins + 1, sizeof(*all));
	if (!all)
		return error_nomem(err, "labels");
	if (at)
		memcpy(all, t->rejected, at * sizeof(*all));
	for (size_t i = 0; i <= t->n_twins; i++) {
		all[at + i] = *t->explanation;
		if (i) {
			all[at + i].feature = t->twins[i - 1];
			all[at + i].same_as = &t->row.feature;
		}
	}
	o->explanations = all;
	o->n_explanations = at + t->n_twins + 1;
	for (size_t i = 0; i <= at && t->chosen_by; i++)
		t->chosen_by[i].of = &all[i];
	if (t->chosen_by) {
		o->scores = t->chosen_by;
		o->n_scores = at + 1;
	}
	return 0;
}

static int collect_requests(engine_task *t, store_outcome *o, error *err)
{
	store_task_requests *all = arena_alloc(&t->mem, t->n_asks + 1, sizeof(*all));

	if (!all)
		return error_nomem(err, "requests");
	for (const engine_ask *a = t->asks; a; a = a->next)
		if (a->over)
			all[o->n_requests++] =
			        (store_task_requests){ a->seq, a->request.key, a->example_ids };
	o->requests = all;
	return 0;
}

static int record(engine *j, engine_task *t, error *err)
{
	store_outcome o = { .state = t->state,
		            .why = t->why,
		            .input_tokens = t->input,
		            .cached_tokens = t->cached,
		            .output_tokens = t->output,
		            .cost = explain_price_of(&j->o->price, t->input, t->cached, t->output),
		            .scores = t->score,
		            .n_scores = t->score != NULL };
	int rc = collect_requests(t, &o, err);

	if (rc == 0)
		rc = collect_labels(t, &o, err);
	return rc < 0 ? rc : store_task_end(j->s, &t->row, &o, err);
}

/* Let tasks whose questions are over draw their conclusions; record those at the head that are settled. */
static int conclude(engine *j, error *err)
{
	engine_task *t;
	int rc = 0;

	for (t = j->tasks; t && rc == 0; t = t->next)
		if (!t->settled && t->open == 0)
			rc = j->kind->finish(t, err);
	while (rc == 0 && (t = j->tasks) && t->settled) {
		if (!j->o->dry_run)
			rc = record(j, t, err);
		if (rc == 0)
			rc = engine_report(j, t, err);
		if (rc < 0)
			break;
		j->tasks = t->next;
		j->n_tasks--;
		j->recorded++;
		j->failed += t->state == STORE_TASK_FAILED;
		j->refused += t->state == STORE_TASK_REFUSED || t->state == STORE_TASK_FILTERED;
		task_free(t);
		engine_tell(j);
	}
	return rc;
}

/* Whether another task may begin: enough requests to keep the connections busy, and not too many held up by a slow one
 * before them. */
static bool has_room(const engine *j)
{
	size_t flight = j->client ? j->o->client->concurrency : 1;

	if (j->batch)
		return j->open < j->o->batch_size && j->n_tasks < j->o->batch_size;

	return j->open < 2 * flight && j->n_tasks < 8 * flight + 8;
}

enum { TAKE_MOST = 64, BEAT_SECONDS = 30, WAIT_MS = 200, HOLD_KEPT = 2 /* seconds, at least */ };
static const double TURN_SECONDS = 0.05;

/* Leased and not yet begun: taken several at a time, since each time is a transaction. */
struct engine_taken {
	store_task row[TAKE_MOST];
	size_t n, next;
	arena mem;
};

static int beat(engine *j, error *err)
{
	double now = clock_now();

	if (j->beat > 0 && now - j->beat < BEAT_SECONDS)
		return 0;
	j->beat = now;
	return store_worker_beat(j->s, j->id, err);
}

/* *row: the next task, or NULL. Few at a time at first, so that two workers that start together share. */
static int next_task(const store_task **row, engine *j, error *err)
{
	struct engine_taken *t = j->taken;
	size_t most = j->client ? j->o->client->concurrency : 8;
	int rc = 0;

	*row = NULL;
	if (t->next == t->n) {
		arena_clear(&t->mem);
		t->next = t->n = 0;
		rc = store_task_take(t->row, &t->n, most < TAKE_MOST ? most : TAKE_MOST, j->s, j->id, &t->mem,
		                     err);
		j->exhausted = t->n == 0;
	}
	if (rc == 0 && t->next < t->n)
		*row = &t->row[t->next++];
	return rc;
}

static int take_tasks(engine *j, error *err)
{
	const store_task *row;
	int rc = 0;

	while (rc == 0 && has_room(j) && !(j->o->stop && j->o->stop())) {
		rc = next_task(&row, j, err);
		if (rc < 0 || !row)
			break;
		rc = task_begin(j, row, err);
		if (rc == 0)
			rc = conclude(j, err);
	}
	return rc;
}

/* Nothing to take now, but what waits for its time: sleep a little. *over: nothing is left to this process. */
static int wait_for_tasks(bool *over, engine *j, error *err)
{
	struct timespec little = { 0, (long)WAIT_MS * 1000000 };
	store_left left = { 0 };
	int rc = store_task_left(&left, j->s, j->id, err);

	*over = left.waiting == 0;
	if (rc == 0 && !*over)
		nanosleep(&little, NULL);
	return rc;
}

/* What the endpoint asks for is in the store, for whoever goes on if this process dies now; and people are told. */
static int keep_hold(engine *j, error *err)
{
	int64_t held = j->client ? client_hold(j->client) : 0;

	if (held <= j->held || held - clock_unix() < HOLD_KEPT)
		return 0;
	j->held = held;
	engine_tell(j);
	return store_task_hold(j->s, j->id, held, err);
}

/* Two servers take turns. */
static int drive_both(engine *j, error *err)
{
	size_t open = j->subject->open;
	int rc = open ? client_drive(j->subject, open - 1, TURN_SECONDS, j->o->stop, err) : 0;

	open = j->client->open;
	return rc == 0 && open ? client_drive(j->client, open - 1, TURN_SECONDS, j->o->stop, err) : rc;
}

/* Until a question is over, the endpoint asks to wait, or this process has to say that it lives. */
static int drive(engine *j, error *err)
{
	int rc = j->subject ? drive_both(j, err)
	         : j->batch ? batch_step(j->batch, j->o->stop, err)
	                    : client_drive(j->client, j->open - 1, BEAT_SECONDS, j->o->stop, err);

	return rc == 0 ? keep_hold(j, err) : rc;
}

static int loop(engine *j, error *err)
{
	bool over = false;
	int rc;

	do {
		rc = beat(j, err);
		if (rc == 0)
			rc = take_tasks(j, err);
		if (rc == 0 && j->open) /* when stopped, this waits for what is under way */
			rc = drive(j, err);
		if (rc == 0)
			rc = conclude(j, err);
		if (rc == 0 && j->o->stop && j->o->stop())
			rc = ERR_STOPPED;
		if (rc == 0 && !j->tasks && j->exhausted)
			rc = wait_for_tasks(&over, j, err);
	} while (rc == 0 && !over);
	if (rc == ERR_STOPPED && j->o->stop && j->o->stop())
		error_set(err, ERR_STOPPED,
		          "stopped: run the same command again, or gloss jobs resume %lld, to go on",
		          (long long)j->id);
	return rc;
}

/* asks: those that it has so far. It waits as long as they had to. */
static int give_back(engine *j, const store_task *row, const engine_ask *asks, error *err)
{
	store_outcome o = { .state = STORE_TASK_WAITING, .cost = (double)NAN };
	int rc;

	o.not_before = j->client ? client_hold(j->client) : 0;
	for (; asks; asks = asks->next)
		if (!asks->answer && asks->request.not_before > o.not_before)
			o.not_before = asks->request.not_before;
	if (o.not_before <= clock_unix())
		o.not_before = 0;
	rc = store_task_end(j->s, row, &o, err);
	return rc == ERR_BUSY ? 0 : rc;
}

/* Tasks that were not recorded wait again; their answers are in the log. */
static int release(engine *j, error *err)
{
	int rc, first = 0;
	error e;

	for (engine_task *t = j->tasks; t; t = t->next) {
		rc = give_back(j, &t->row, t->asks, &e);
		if (rc < 0 && first == 0)
			first = error_set(err, e.code, "%s", e.msg);
	}
	while (j->taken->next < j->taken->n) {
		rc = give_back(j, &j->taken->row[j->taken->next++], NULL, &e);
		if (rc < 0 && first == 0)
			first = error_set(err, e.code, "%s", e.msg);
	}
	return first;
}

static void free_tasks(engine *j)
{
	engine_task *next;

	for (engine_task *t = j->tasks; t; t = next) {
		next = t->next;
		task_free(t);
	}
	j->tasks = NULL;
}

/* ---- The job --------------------------------------------------------------------------------------------------------------------- */

/* Count what would be asked, without a job row and without a request. */
static int dry_run(engine *j, error *err)
{
	int rc = 0;

	if (j->o->client)
		j->dry_requests = 1; /* what the server accepts */
	for (size_t i = 0; i < j->n_list && rc == 0; i++) {
		if (j->o->stop && j->o->stop())
			return error_set(err, ERR_STOPPED, "stopped");
		rc = task_begin(j, &j->list[i], err);
		if (rc == 0 && !j->tasks->settled)
			rc = engine_settle(j->tasks, STORE_TASK_WAITING, NULL, err);
		if (rc == 0)
			rc = conclude(j, err);
	}
	return rc;
}

static void in_any_case(int rc)
{
	(void)rc;
}

/* What is under way is paid, and the log may take it when the store does not. What it could not take is asked again, so it is told. */
static void keep_replies(engine *j, int rc, error *err)
{
	error e = { 0 }, why = *err;
	unsigned open;

	in_any_case(client_drain(j->client, &e));
	if (j->subject)
		in_any_case(client_drain(j->subject, &e));
	open = j->client->cut + j->client->in_flight;
	if (rc == ERR_IO && (j->client->unkept || open))
		error_set(err, rc, "%s; lost: %u replies, and %u requests under way", why.msg,
		          j->client->unkept, open);
}

/* How the job ends: done when no task of it is left to anybody. */
static int close_job(engine *j, int rc, error *err)
{
	store_left left = { 0 };
	error e = { 0 };

	if (rc < 0 && j->client)
		keep_replies(j, rc, err);
	in_any_case(store_worker_end(j->s, &e));
	if (rc < 0) { /* the first error is the one to tell */
		in_any_case(release(j, &e));
		in_any_case(store_job_end(j->s, j->id, "stopped", err ? err->msg : NULL, &e));
		return rc;
	}
	rc = store_task_left(&left, j->s, j->id, err);
	if (rc == 0 && left.waiting + left.running == 0)
		rc = store_job_end(j->s, j->id, "done", NULL, err);
	return rc;
}

static int start_job(engine *j, const char *settings, error *err)
{
	const explain_client_opts *c = j->o->client;
	store_job row = { .kind = j->kind->name,
		          .source_id = j->source,
		          .settings = settings,
		          .options = j->o->options,
		          .endpoint = c ? c->base_url : NULL,
		          .model = c ? c->model : NULL };

	if (j->o->job == 0)
		return store_job_start(&j->id, &j->resumed, j->s, &row, j->list, j->n_list, err);
	j->id = j->o->job;
	j->resumed = true;
	return store_job_resume(j->s, j->id, j->o->options, err);
}

static int read_uid(engine *j, error *err)
{
	arena mem = ARENA_INIT;
	store_job row;
	int rc = store_job_get(&row, j->s, j->id, &mem, err);

	if (rc == 0)
		snprintf(j->uid, sizeof(j->uid), "%s", row.uid);
	arena_clear(&mem);
	return rc;
}

static int start_batch(engine *j, error *err)
{
	claims c = { .log = j->log, .stage = j->kind->name, .price = j->o->price, .budget = j->o->budget };

	snprintf(c.job, sizeof(c.job), "%s", j->uid);
	return batch_new(&j->batch, j->o->client, j->client, j->log, &c, j->o->batch_poll, err);
}

/* The endpoint asked an earlier worker, or another one, to wait: whoever comes now waits as well. */
static int obey_hold(engine *j, int64_t until, error *err)
{
	double left = (double)(until - clock_unix());
	char when[32];

	if (left <= 0 || j->o->replay)
		return 0;
	clock_iso8601(when, until);
	if (left > j->o->client->patience)
		return error_set(err, ERR_NET,
		                 "'%s' asked to wait until %s, %.0f seconds more than the %g of the "
		                 "patience: go on then, "
		                 "or ask all the same after gloss jobs retry %lld",
		                 j->o->client->base_url, when, left - j->o->client->patience,
		                 j->o->client->patience, (long long)j->id);
	client_hold_until(j->client, until);
	j->held = until;
	engine_tell(j);
	return 0;
}

static int run_job(engine *j, const char *settings, error *err)
{
	const explain_client_opts *c = j->o->client;
	store_left left = { 0 };
	error mine = { 0 };
	int rc;

	rc = c ? store_log_open(&j->log, store_path(j->s), err) : 0;
	if (rc == 0 && c)
		rc = explain_client_new(&j->client, c, j->log, j->o->replay, err);
	if (rc == 0)
		rc = start_job(j, settings, err);
	if (rc == 0)
		rc = read_uid(j, err);
	if (rc == 0)
		rc = store_task_left(&left, j->s, j->id, err);
	j->before = j->n_list - left.waiting - left.running;
	if (rc < 0)
		return rc;
	rc = c ? obey_hold(j, left.held, &mine) : 0;
	if (rc == 0 && c)
		rc = j->kind->open ? j->kind->open(j, &mine) : engine_open_chat(j, &mine);
	if (rc == 0 && c)
		client_for_job(j->client, j->uid, j->kind->name, &j->o->price, &j->o->budget);
	if (rc == 0 && c && j->o->embed_model)
		rc = engine_embed_open(j, &mine);
	if (rc == 0 && c && j->o->batch && !j->o->replay)
		rc = start_batch(j, &mine);
	if (rc == 0)
		rc = loop(j, &mine);
	rc = close_job(j, rc, &mine);
	if (rc < 0)
		error_set(err, rc, "%s", mine.msg);
	return rc;
}

int engine_run(cJSON **summary, engine *j, const char *settings, error *err)
{
	struct engine_taken taken = { .mem = ARENA_INIT };
	int rc = 0;

	j->started = clock_now();
	j->taken = &taken;
	j->n_all = j->n_list;
	chat_init(&j->chat, j->o->client);
	j->reporting = summary != NULL;
	text_init(&j->reports, ENGINE_REPORTS_MAX);
	if (j->o->progress)
		j->o->progress->total = j->n_list;
	for (unsigned i = 0; i <= j->n_forms && rc == 0; i++) {
		const char *schema = engine_schema(j->kind, j->o, i);

		rc = json_parse(i ? &j->form_schema[i - 1] : &j->schema, schema, strlen(schema), 65536, 64,
		                "schema", err);
	}
	if (rc == 0)
		rc = j->o->dry_run ? dry_run(j, err) : run_job(j, settings, err);
	if (rc == 0 && summary)
		rc = engine_summary(summary, j, err);
	free_tasks(j);
	arena_clear(&taken.mem);
	batch_free(j->batch);
	explain_client_free(j->embed);
	explain_client_free(j->subject);
	explain_client_free(j->client); /* which lets go of its claims in the log */
	store_log_close(j->log);
	cJSON_Delete(j->schema);
	for (size_t i = 0; i < ENGINE_FORMS_MAX; i++)
		cJSON_Delete(j->form_schema[i]);
	text_free(&j->reports);
	return rc;
}
