/* tokens: log-probabilities as servers report them. Chat completions (and llama.cpp everywhere) send a list of objects, one a
 * token; completions of OpenAI and vLLM send lists beside each other. */
#include "explain/chat.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOP_MAX = 100 };

static double number_in(const cJSON *n)
{
	return cJSON_IsNumber(n) ? n->valuedouble : (double)NAN;
}

/* A token's bytes: the list of them where there is one, since its text cannot show a part of a character. */
static int token_text(explain_tokens *t, explain_token *out, const cJSON *name, const cJSON *bytes,
                      error *err)
{
	const cJSON *b;
	char *s;
	int n = cJSON_IsArray(bytes) ? cJSON_GetArraySize(bytes) : 0;

	if (!cJSON_IsString(name))
		return error_set(err, ERR_FORMAT, "a token of the log-probabilities has no text");
	if (n == 0) {
		out->text = arena_strdup(&t->mem, name->valuestring);
		out->len = strlen(name->valuestring);
		return out->text ? 0 : error_nomem(err, "tokens");
	}
	out->text = s = arena_alloc(&t->mem, (size_t)n + 1, 1);
	if (!s)
		return error_nomem(err, "tokens");
	cJSON_ArrayForEach(b, bytes)
	{
		if (!cJSON_IsNumber(b) || b->valuedouble < 0 || b->valuedouble > 255)
			return error_set(err, ERR_FORMAT, "a token of the log-probabilities has bad bytes");
		s[out->len++] = (char)(unsigned char)b->valueint;
	}
	return 0;
}

static int by_logprob(const void *a, const void *b)
{
	double x = ((const explain_top *)a)->logprob, y = ((const explain_top *)b)->logprob;

	return (x < y) - (x > y);
}

/* Alternatives: a list of {token, logprob}, or an object of token: logprob. */
static int token_top(explain_tokens *t, explain_token *out, const cJSON *top, error *err)
{
	int n = cJSON_IsArray(top) || cJSON_IsObject(top) ? cJSON_GetArraySize(top) : 0;
	const cJSON *one, *name;
	explain_top *first, *to;

	if (n == 0)
		return 0;
	if (n > TOP_MAX)
		return error_set(err, ERR_FORMAT, "%d alternatives of a token, at most %d make sense", n,
		                 TOP_MAX);
	out->top = first = to = arena_alloc(&t->mem, (size_t)n, sizeof(*to));
	if (!to)
		return error_nomem(err, "tokens");
	cJSON_ArrayForEach(one, top)
	{
		name = cJSON_GetObjectItemCaseSensitive(one, "token");
		to->text = arena_strdup(&t->mem, cJSON_IsObject(top)    ? one->string
		                                 : cJSON_IsString(name) ? name->valuestring
		                                                        : "");
		to->logprob = number_in(
		        cJSON_IsObject(top) ? one : cJSON_GetObjectItemCaseSensitive(one, "logprob"));
		if (!to->text)
			return error_nomem(err, "tokens");
		if (isnan(to->logprob))
			return error_set(err, ERR_FORMAT, "an alternative of a token has no log-probability");
		to++;
		out->n_top++;
	}
	qsort(first, out->n_top, sizeof(*to), by_logprob);
	return 0;
}

static int make_room(explain_tokens *out, int n, error *err)
{
	out->token = arena_alloc(&out->mem, n > 0 ? (size_t)n : 1, sizeof(*out->token));
	return out->token ? 0 : error_nomem(err, "tokens");
}

static int read_objects(explain_tokens *out, const cJSON *list, error *err)
{
	const cJSON *one;
	explain_token *t;
	int rc;

	rc = make_room(out, cJSON_GetArraySize(list), err);
	if (rc < 0)
		return rc;
	cJSON_ArrayForEach(one, list)
	{
		t = &out->token[out->n++];
		t->logprob = number_in(cJSON_GetObjectItemCaseSensitive(one, "logprob"));
		rc = token_text(out, t, cJSON_GetObjectItemCaseSensitive(one, "token"),
		                cJSON_GetObjectItemCaseSensitive(one, "bytes"), err);
		if (rc == 0)
			rc = token_top(out, t, cJSON_GetObjectItemCaseSensitive(one, "top_logprobs"), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_lists(explain_tokens *out, const cJSON *logprobs, const cJSON *texts, error *err)
{
	const cJSON *values = cJSON_GetObjectItemCaseSensitive(logprobs, "token_logprobs");
	const cJSON *tops = cJSON_GetObjectItemCaseSensitive(logprobs, "top_logprobs");
	const cJSON *name, *value, *top;
	int n = cJSON_GetArraySize(texts), rc;
	explain_token *t;

	if (cJSON_GetArraySize(values) != n || (cJSON_IsArray(tops) && cJSON_GetArraySize(tops) != n))
		return error_set(err, ERR_FORMAT, "the lists of log-probabilities differ in length");
	rc = make_room(out, n, err);
	value = values->child;
	top = cJSON_IsArray(tops) ? tops->child : NULL;
	for (name = texts->child; name && rc == 0; name = name->next) {
		t = &out->token[out->n++];
		t->logprob = number_in(value);
		rc = token_text(out, t, name, NULL, err);
		if (rc == 0 && top)
			rc = token_top(out, t, top, err);
		value = value->next;
		top = top ? top->next : NULL;
	}
	return rc;
}

int tokens_read(explain_tokens *out, const cJSON *logprobs, error *err)
{
	const cJSON *objects = cJSON_GetObjectItemCaseSensitive(logprobs, "content");
	const cJSON *texts = cJSON_GetObjectItemCaseSensitive(logprobs, "tokens");

	if (cJSON_IsArray(objects))
		return read_objects(out, objects, err);
	if (cJSON_IsArray(texts))
		return read_lists(out, logprobs, texts, err);
	return 0;
}

void explain_tokens_clear(explain_tokens *t)
{
	arena_clear(&t->mem);
	t->token = NULL;
	t->n = 0;
}
