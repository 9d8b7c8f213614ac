/* steer: what a subject server does under steering; see subject.h. */
#include "explain/claims.h"
#include "explain/subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 256 << 20, DEPTH_MAX = 64, PROMPTS_MAX = 256, TOKENS_MAX = 256 };

/* ---- Bodies --------------------------------------------------------------------------------------------------------------- */

/* Of n bytes, malloc'd; NULL: no memory. */
static char *base64(const unsigned char *p, size_t n)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc((n + 2) / 3 * 4 + 1), *to = out;

	for (size_t i = 0; out && i < n; i += 3) {
		uint32_t three = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
		                 (i + 2 < n ? p[i + 2] : 0);

		*to++ = digit[three >> 18];
		*to++ = digit[three >> 12 & 63];
		*to++ = i + 1 < n ? digit[three >> 6 & 63] : '=';
		*to++ = i + 2 < n ? digit[three & 63] : '=';
	}
	if (out)
		*to = '\0';
	return out;
}

/* F32, the low bytes first. */
static char *packed(const float *v, uint32_t n)
{
	unsigned char *bytes = malloc(4 * (size_t)n + 1);
	char *out;

	for (uint32_t i = 0; bytes && i < n; i++) {
		uint32_t bits;

		memcpy(&bits, &v[i], sizeof(bits));
		for (int k = 0; k < 4; k++)
			bytes[4 * (size_t)i + (size_t)k] = (unsigned char)(bits >> 8 * k);
	}
	out = bytes ? base64(bytes, 4 * (size_t)n) : NULL;
	free(bytes);
	return out;
}

static bool add_steering(cJSON *body, const subject_steer *by)
{
	cJSON *to = by ? cJSON_AddObjectToObject(body, "steer") : NULL;
	char *vector = to ? packed(by->vector, by->width) : NULL;
	bool fine = vector && cJSON_AddNumberToObject(to, "layer", (double)by->layer) &&
	            cJSON_AddNumberToObject(to, "scale", by->scale) &&
	            cJSON_AddStringToObject(to, "on", "last") &&
	            cJSON_AddStringToObject(to, "vector", vector);

	free(vector);
	return fine || !by;
}

static bool add_prompts(cJSON *body, const char *const *prompts, size_t n)
{
	cJSON *list = cJSON_AddArrayToObject(body, "prompts"), *one;

	for (size_t i = 0; list && i < n; i++) {
		one = cJSON_CreateString(prompts[i]);
		if (!one || !cJSON_AddItemToArray(list, one)) {
			cJSON_Delete(one);
			return false;
		}
	}
	return list != NULL;
}

static int ask(engine_task *t, cJSON *body, bool fine, size_t n, unsigned reply_tokens, const char *ids,
               void *data, error *err)
{
	subject_question *q = arena_alloc(&t->mem, 1, sizeof(*q));
	char *printed = NULL;
	int rc = subject_print(&printed, body, fine && q, err);

	if (rc < 0)
		return rc;
	*q = (subject_question){ NULL, n, data };
	return engine_ask_call(t, NULL, EXPLAIN_SUBJECT, printed, ids, reply_tokens, 0, q, err);
}

int subject_ask_kl(engine_task *t, const char *const *prompts, size_t n, const subject_steer *by,
                   const char *example_ids, void *data, error *err)
{
	cJSON *body = subject_body(t->job->o->subject->model, "kl");
	bool fine = body && add_prompts(body, prompts, n) && add_steering(body, by);

	return ask(t, body, fine, n, 0, example_ids, data, err);
}

int subject_ask_texts(engine_task *t, const char *const *prompts, size_t n, const subject_steer *by,
                      unsigned tokens, uint64_t seed, const char *example_ids, void *data, error *err)
{
	cJSON *body = subject_body(t->job->o->subject->model, "generate");
	bool fine = body && add_prompts(body, prompts, n) && add_steering(body, by) &&
	            cJSON_AddNumberToObject(body, "max_tokens", tokens) &&
	            cJSON_AddNumberToObject(body, "temperature", 1) &&
	            cJSON_AddNumberToObject(body, "seed", (double)seed);

	return ask(t, body, fine, n, (unsigned)n * tokens, example_ids, data, err);
}

int subject_ask_raised(engine_task *t, const char *const *prompts, size_t n, const subject_steer *by,
                       unsigned top, const char *example_ids, void *data, error *err)
{
	cJSON *body = subject_body(t->job->o->subject->model, "raised");
	bool fine = body && add_prompts(body, prompts, n) && add_steering(body, by) &&
	            cJSON_AddNumberToObject(body, "top", top);

	return ask(t, body, fine, n, 0, example_ids, data, err);
}

/* ---- Replies -------------------------------------------------------------------------------------------------------------- */

/* The reply's list called `name` of one member for each prompt. */
static int list_in(cJSON **json, const cJSON **list, const engine_ask *a, const char *name, error *err)
{
	const subject_question *q = a->data;
	int rc = json_parse(json, a->reply, strlen(a->reply), REPLY_MAX, DEPTH_MAX, "reply", err);

	if (rc < 0)
		return rc;
	*list = cJSON_GetObjectItemCaseSensitive(*json, name);
	if (!cJSON_IsArray(*list) || (size_t)cJSON_GetArraySize(*list) != q->n)
		return error_set(err, ERR_FORMAT, "the reply's '%s' has %d members for %zu prompts", name,
		                 cJSON_GetArraySize(*list), q->n);
	return 0;
}

double subject_take_kl(engine_ask *a)
{
	const subject_question *q = a->data;
	cJSON *json = NULL;
	const cJSON *list, *x;
	double sum = 0;
	int rc = list_in(&json, &list, a, "kl", &a->err);

	if (rc == 0)
		cJSON_ArrayForEach(x, list)
		{
			if (rc == 0 &&
			    (!cJSON_IsNumber(x) || !isfinite(x->valuedouble) || x->valuedouble < -1e-6))
				rc = error_set(&a->err, ERR_FORMAT, "the reply has a KL that is none");
			sum += x->valuedouble;
		}
	cJSON_Delete(json);
	return rc == 0 ? fmax(sum / (double)q->n, 0) : (double)NAN;
}

void subject_take_texts(const char **out, engine_ask *a)
{
	const char *s;
	cJSON *json = NULL;
	const cJSON *list, *x;
	size_t i = 0;
	int rc = list_in(&json, &list, a, "items", &a->err);

	if (rc == 0)
		cJSON_ArrayForEach(x, list)
		{
			if (rc < 0)
				break;
			s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(x, "text"));
			if (!s)
				rc = error_set(&a->err, ERR_FORMAT, "item %zu has no text", i);
			else if (!(out[i] = arena_strdup(&a->task->mem, s)))
				rc = error_nomem(&a->err, "texts");
			i++;
		}
	cJSON_Delete(json);
}

static bool probability_in(double *out, const cJSON *of, const char *name)
{
	const cJSON *x = cJSON_GetObjectItemCaseSensitive(of, name);

	*out = cJSON_IsNumber(x) ? x->valuedouble : (double)NAN;
	return *out >= 0 && *out <= 1 + 1e-6;
}

static int read_raised(subject_raised *out, engine_task *t, const cJSON *one, size_t item, error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(one, "tokens"), *x;
	subject_token *to;
	const char *s;

	if (!cJSON_IsArray(list))
		return error_set(err, ERR_FORMAT, "item %zu has no tokens", item);
	to = arena_alloc(&t->mem, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*to));
	if (!to)
		return error_nomem(err, "tokens");
	*out = (subject_raised){ .token = to };
	cJSON_ArrayForEach(x, list)
	{
		s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(x, "text"));
		if (!s || !probability_in(&to->before, x, "before") ||
		    !probability_in(&to->after, x, "after"))
			return error_set(err, ERR_FORMAT,
			                 "item %zu has a token without text or probabilities", item);
		to->text = arena_strdup(&t->mem, s);
		if (!to->text)
			return error_nomem(err, "tokens");
		to++;
		out->n++;
	}
	return 0;
}

void subject_take_raised(subject_raised *out, engine_ask *a)
{
	cJSON *json = NULL;
	const cJSON *list, *one;
	size_t i = 0;
	int rc = list_in(&json, &list, a, "items", &a->err);

	for (one = rc == 0 ? list->child : NULL; one && rc == 0; one = one->next, i++)
		rc = read_raised(&out[i], a->task, one, i, &a->err);
	cJSON_Delete(json);
}

/* ---- Options ------------------------------------------------------------------------------------------------------------- */

bool subject_add_settings(cJSON *s, const explain_opts *o)
{
	return cJSON_AddStringToObject(s, "subject", o->subject->base_url) &&
	       cJSON_AddStringToObject(s, "subject_model", o->subject->model) &&
	       cJSON_AddNumberToObject(s, "n_prompts", o->n_prompts) &&
	       cJSON_AddNumberToObject(s, "steer_kl", o->steer_kl) &&
	       cJSON_AddNumberToObject(s, "steer_tokens", o->steer_tokens) &&
	       (!o->rows || cJSON_AddStringToObject(s, "rows_sha256", o->rows->sha256)) &&
	       (o->layer < 0 || cJSON_AddNumberToObject(s, "layer", (double)o->layer));
}

int subject_check(const explain_opts *o, error *err)
{
	if (o->n_prompts < 5 || o->n_prompts > PROMPTS_MAX)
		return error_set(err, ERR_ARG, "%u prompts are asked for, 5 to %d are allowed", o->n_prompts,
		                 PROMPTS_MAX);
	if (!(o->steer_kl > 0 && o->steer_kl <= 100))
		return error_set(err, ERR_ARG, "a KL of %g is asked for, over 0 and up to 100 is allowed",
		                 o->steer_kl);
	if (o->steer_tokens < 1 || o->steer_tokens > TOKENS_MAX)
		return error_set(err, ERR_ARG, "%u tokens of steered text are asked for, 1 to %d are allowed",
		                 o->steer_tokens, TOKENS_MAX);
	return 0;
}

/* ---- Before the job ------------------------------------------------------------------------------------------------------- */

static double number_in(const cJSON *json, const char *name)
{
	const cJSON *x = cJSON_GetObjectItemCaseSensitive(json, name);

	return cJSON_IsNumber(x) ? x->valuedouble : -1;
}

/* Whether the model has that block, and of that width. */
static int check_info(engine *j, const store_direction *d, const char *reply, error *err)
{
	double layers, width;
	cJSON *json = NULL;
	int rc = json_parse(&json, reply, strlen(reply), REPLY_MAX, DEPTH_MAX, "reply", err);

	if (rc < 0)
		return rc;
	layers = number_in(json, "layers");
	width = number_in(json, "width");
	cJSON_Delete(json);
	if (d->layer < 0 || (double)d->layer >= layers)
		return error_set(err, ERR_ARG,
		                 "the source's rows are of block %lld, '%.60s' has blocks 0 to %g: another "
		                 "model? --layer says of which block they are",
		                 (long long)d->layer, j->o->subject->model, layers - 1);
	if ((double)d->width != width)
		return error_set(err, ERR_ARG,
		                 "the source's rows have %u values, those of '%.60s' %g: another model?",
		                 d->width, j->o->subject->model, width);
	return 0;
}

static int check_kl(const char *reply, error *err)
{
	cJSON *json = NULL;
	int rc = json_parse(&json, reply, strlen(reply), REPLY_MAX, DEPTH_MAX, "reply", err);

	if (rc == 0 && cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "kl")) != 1)
		rc = error_set(err, ERR_FORMAT, "the reply has no KL");
	cJSON_Delete(json);
	return rc;
}

/* One question, whatever it says; its error names who was asked. */
static int probe(char **reply, engine *j, cJSON *body, bool fine, error *err)
{
	explain_client *c = j->subject ? j->subject : j->client;
	char *printed = NULL;
	error e = { 0 };
	int rc = subject_print(&printed, body, fine, err);

	if (rc < 0)
		return rc;
	rc = subject_call(reply, c, EXPLAIN_SUBJECT, printed, j->o->stop, &e);
	if (rc == ERR_ARG || rc == ERR_FORMAT)
		return error_set(err, ERR_ARG, "'%.80s' does not steer: %s", j->o->subject->base_url, e.msg);
	return rc < 0 ? error_set(err, rc, "%s", e.msg) : 0;
}

static int see_that_it_steers(engine *j, const store_direction *d, error *err)
{
	subject_steer by = { d->layer, d->row, d->width, 1 };
	const char *prompt = "One two three";
	char *reply = NULL;
	cJSON *body = subject_body(j->o->subject->model, "info");
	error e = { 0 };
	int rc = probe(&reply, j, body, body != NULL, err);

	if (rc == 0)
		rc = check_info(j, d, reply, err);
	free(reply);
	reply = NULL;
	if (rc < 0)
		return rc;
	body = subject_body(j->o->subject->model, "kl");
	rc = probe(&reply, j, body, body && add_prompts(body, &prompt, 1) && add_steering(body, &by), err);
	if (rc == 0 && check_kl(reply, &e) < 0)
		rc = error_set(err, ERR_ARG, "'%.80s' does not steer: %s", j->o->subject->base_url, e.msg);
	free(reply);
	return rc;
}

int subject_open_steering(engine *j, error *err)
{
	explain_price free_of_charge = { .known = j->o->price.known }; /* prices are the endpoint's */
	store_direction d = { 0 };
	int rc = 0;

	if (subject_is_beside(j->o)) {
		rc = explain_client_new(&j->subject, j->o->subject, j->log, j->o->replay, err);
		if (rc == 0)
			client_for_job(j->subject, j->uid, "probe", &free_of_charge, &j->o->budget);
	} else {
		client_for_job(j->client, j->uid, "probe", &j->o->price, &j->o->budget);
	}
	if (rc == 0)
		rc = steer_row(&d, j, j->list[0].feature, err);
	if (rc == 0)
		rc = see_that_it_steers(j, &d, err);
	if (rc == 0 && j->subject)
		client_for_job(j->subject, j->uid, j->kind->name, &free_of_charge, &j->o->budget);
	free(d.row);
	return rc;
}

int subject_open_intervention(engine *j, error *err)
{
	int rc = subject_open_steering(j, err);

	return rc < 0 ? rc : subject_open(j, err);
}
