/* subject: see subject.h. Bodies are canonical JSON, so that equal questions are one in the log. */
#include "explain/subject.h"
#include "explain/client.h"
#include "explain/spell.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 256 << 20, DEPTH_MAX = 64 };

bool subject_is_endpoint(const explain_opts *o)
{
	return o->subject && o->client == o->subject;
}

bool subject_is_beside(const explain_opts *o)
{
	return o->subject && o->client != o->subject;
}

/* ---- Bodies --------------------------------------------------------------------------------------------------------------- */

cJSON *subject_body(const char *model, const char *what)
{
	cJSON *body = cJSON_CreateObject();

	if (body && cJSON_AddStringToObject(body, "model", model) &&
	    cJSON_AddStringToObject(body, "do", what))
		return body;
	cJSON_Delete(body);
	return NULL;
}

int subject_print(char **out, cJSON *body, bool fine, error *err)
{
	*out = fine ? json_print_canonical(body) : NULL;
	cJSON_Delete(body);
	return *out ? 0 : error_nomem(err, "a request");
}

static int logprobs_body(char **out, const char *model, const subject_item *items, size_t n, error *err)
{
	cJSON *body = subject_body(model, "logprobs"), *list, *one;
	bool fine;

	list = body ? cJSON_AddArrayToObject(body, "items") : NULL;
	fine = list != NULL;
	for (size_t i = 0; i < n && fine; i++) {
		one = cJSON_CreateObject();
		fine = one && cJSON_AddItemToArray(list, one);
		if (!fine)
			cJSON_Delete(one);
		fine = fine && cJSON_AddStringToObject(one, "prefix", items[i].prefix) &&
		       cJSON_AddStringToObject(one, "text", items[i].text);
	}
	return subject_print(out, body, fine, err);
}

/* Prefix and text, malloc'd. */
static int echoed_prompt(char **out, const subject_item *it, error *err)
{
	size_t before = strlen(it->prefix), len = strlen(it->text);

	if (before + len > PROMPT_MAX)
		return error_set(err, ERR_LIMIT, "the prompt is too long");
	*out = malloc(before + len + 1);
	if (!*out)
		return error_nomem(err, "a prompt");
	memcpy(*out, it->prefix, before);
	memcpy(*out + before, it->text, len + 1);
	return 0;
}

/* A completion of nothing, of which the prompt's tokens are wanted. */
static int echo_body(char **out, const char *model, const subject_item *it, error *err)
{
	char *prompt = NULL;
	int rc = echoed_prompt(&prompt, it, err);

	if (rc == 0)
		rc = completion_body(out, model, prompt, 0, 1, true, err);
	free(prompt);
	return rc;
}

/* ---- Replies -------------------------------------------------------------------------------------------------------------- */

static int logprob_of(double *out, const cJSON *x, size_t item, error *err)
{
	if (!cJSON_IsNumber(x) || !(x->valuedouble <= 1e-6) || !isfinite(x->valuedouble))
		return error_set(err, ERR_FORMAT, "item %zu has a log-probability that is none", item);
	*out = x->valuedouble;
	return 0;
}

static int read_item(subject_item *it, const cJSON *one, size_t item, error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(one, "logprobs"), *x;
	int n = cJSON_GetArraySize(list), rc = 0;
	double sum = 0, logprob = 0;

	if (!cJSON_IsArray(list) || n == 0)
		return error_set(err, ERR_FORMAT, "item %zu has no log-probabilities", item);
	if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(one, "ids")) != n)
		return error_set(err, ERR_FORMAT, "item %zu has %d log-probabilities of %d tokens", item, n,
		                 cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(one, "ids")));
	cJSON_ArrayForEach(x, list)
	{
		rc = rc == 0 ? logprob_of(&logprob, x, item, err) : rc;
		sum += logprob;
	}
	if (rc == 0) {
		it->logprob = sum;
		it->n_tokens = (uint32_t)n;
	}
	return rc;
}

static int read_logprobs(subject_item *items, size_t n, const char *reply, error *err)
{
	cJSON *json = NULL;
	const cJSON *list, *one;
	size_t i = 0;
	int rc;

	rc = json_parse(&json, reply, strlen(reply), REPLY_MAX, DEPTH_MAX, "reply", err);
	if (rc < 0)
		return rc;
	list = cJSON_GetObjectItemCaseSensitive(json, "items");
	if ((size_t)cJSON_GetArraySize(list) != n)
		rc = error_set(err, ERR_FORMAT, "the reply has log-probabilities of %d of %zu texts",
		               cJSON_GetArraySize(list), n);
	for (one = list ? list->child : NULL; one && rc == 0; one = one->next, i++)
		rc = read_item(&items[i], one, i, err);
	cJSON_Delete(json);
	return rc;
}

/* The tokens of the end of the prompt, which is the text. */
static int read_echo(subject_item *it, const char *reply, error *err)
{
	explain_completion c = { 0 };
	size_t n = 0;
	double sum = 0, logprob = 0;
	char *prompt = NULL;
	int rc = explain_completion_read(&c, reply, err);

	if (rc == 0 && c.tokens.n == 0)
		rc = error_set(err, ERR_FORMAT, "the reply has no log-probabilities");
	if (rc == 0)
		rc = echoed_prompt(&prompt, it, err);
	if (rc == 0)
		rc = spell_count(&n, &c.tokens, prompt, strlen(it->prefix), err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		cJSON x = { .type = cJSON_Number, .valuedouble = c.tokens.token[c.tokens.n - n + i].logprob };

		rc = logprob_of(&logprob, &x, 0, err);
		sum += logprob;
	}
	if (rc == 0) {
		it->logprob = sum;
		it->n_tokens = (uint32_t)n;
	}
	free(prompt);
	explain_completion_clear(&c);
	return rc;
}

/* ---- Questions ------------------------------------------------------------------------------------------------------------ */

static int ask_some(engine_task *t, subject_item *items, size_t n, const char *example_ids, unsigned sample,
                    void *data, error *err)
{
	const explain_opts *o = t->job->o;
	bool subject = subject_is_endpoint(o);
	subject_question *q = arena_alloc(&t->mem, 1, sizeof(*q));
	char *body = NULL;
	int rc;

	if (!q)
		return error_nomem(err, "a request");
	*q = (subject_question){ items, n, data };
	rc = subject ? logprobs_body(&body, o->client->model, items, n, err)
	             : echo_body(&body, o->client->model, items, err);
	return rc < 0 ? rc
	              : engine_ask_call(t, NULL, subject ? EXPLAIN_SUBJECT : EXPLAIN_COMPLETIONS, body,
	                                example_ids, 0, sample, q, err);
}

int subject_ask_logprobs(engine_task *t, subject_item *items, size_t n, const char *example_ids,
                         unsigned sample, void *data, error *err)
{
	int rc = 0;

	if (subject_is_endpoint(t->job->o))
		return n ? ask_some(t, items, n, example_ids, sample, data, err) : 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = ask_some(t, &items[i], 1, example_ids, sample, data, err);
	return rc;
}

void subject_take_logprobs(engine_ask *ask)
{
	subject_question *q = ask->data;
	subject_item *mine = arena_alloc(&ask->task->mem, q->n, sizeof(*mine));
	int rc;

	if (!mine) {
		error_nomem(&ask->err, "log-probabilities");
		return;
	}
	memcpy(mine, q->items, q->n * sizeof(*mine));
	rc = ask->request.api == EXPLAIN_SUBJECT ? read_logprobs(mine, q->n, ask->reply, &ask->err)
	                                         : read_echo(mine, ask->reply, &ask->err);
	if (rc == 0)
		memcpy(q->items, mine, q->n * sizeof(*mine));
}

/* ---- Before the job ------------------------------------------------------------------------------------------------------- */

typedef struct heard {
	char *reply;
	error err;
} heard;

static void call_done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	heard *c = r->payload;

	(void)from_log;
	if (reply && !(c->reply = strdup(reply)))
		error_nomem(&c->err, "a reply");
	if (!reply)
		c->err = *err;
}

int subject_call(char **reply, explain_client *client, explain_api api, char *body, bool (*stop)(void),
                 error *err)
{
	heard c = { 0 };
	explain_request r = { .body = body, .api = api, .done = call_done, .payload = &c };
	int rc = explain_client_add(client, &r, err);

	if (rc == 0)
		rc = client_run_out(client, stop, err);
	if (rc == 0 && c.err.code)
		rc = error_set(err, c.err.code, "%s", c.err.msg);
	free(body);
	*reply = c.reply;
	return rc;
}

int subject_open(engine *j, error *err)
{
	const explain_client_opts *c = j->o->client;
	subject_item one = { .prefix = "One two three", .text = " four five" };
	bool subject = subject_is_endpoint(j->o);
	char *body = NULL, *reply = NULL;
	error e = { 0 };
	int rc;

	client_for_job(j->client, j->uid, "probe", &j->o->price, &j->o->budget);
	rc = subject ? logprobs_body(&body, c->model, &one, 1, err) : echo_body(&body, c->model, &one, err);
	if (rc < 0)
		return rc;
	rc = subject_call(&reply, j->client, subject ? EXPLAIN_SUBJECT : EXPLAIN_COMPLETIONS, body,
	                  j->o->stop, &e);
	if (rc == 0)
		rc = subject ? read_logprobs(&one, 1, reply, &e) : read_echo(&one, reply, &e);
	free(reply);
	if (rc == ERR_ARG || rc == ERR_FORMAT)
		return error_set(err, ERR_ARG, "'%.60s' at '%.80s' tells no log-probabilities of its %s: %s",
		                 c->model, c->base_url, subject ? "input" : "prompt (echo)", e.msg);
	return rc < 0 ? error_set(err, rc, "%s", e.msg) : 0;
}

int explain_subject_name(char **out, const explain_client_opts *o, bool (*stop)(void), error *err)
{
	explain_client_opts mine = *o;
	explain_client *client = NULL;
	cJSON *body = cJSON_CreateObject(), *json = NULL;
	char *printed = NULL, *reply = NULL;
	const char *name;
	int rc;

	*out = NULL;
	mine.model = "unknown";
	rc = subject_print(&printed, body, body && cJSON_AddStringToObject(body, "do", "info"), err);
	if (rc == 0)
		rc = explain_client_new(&client, &mine, NULL, false, err);
	if (rc == 0) {
		rc = subject_call(&reply, client, EXPLAIN_SUBJECT, printed, stop, err);
		printed = NULL;
	}
	if (rc == 0)
		rc = json_parse(&json, reply, strlen(reply), REPLY_MAX, DEPTH_MAX, "reply", err);
	if (rc == 0) {
		name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "model"));
		if (!name || !name[0])
			rc = error_set(err, ERR_FORMAT, "'%.80s' does not say what its model is called",
			               o->base_url);
		else if (!(*out = strdup(name)))
			rc = error_nomem(err, "a name");
	}
	explain_client_free(client);
	cJSON_Delete(json);
	free(printed);
	free(reply);
	return rc;
}
