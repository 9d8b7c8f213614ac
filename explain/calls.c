/* calls: completions and embeddings over a client. */
#include "explain/chat.h"
#include "explain/client.h"
#include "explain/http.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 256 << 20, DEPTH_MAX = 64, DIM_MAX = 1 << 20 };

/* ---- Completions -------------------------------------------------------------------------------------------------------- */

int completion_body(char **out, const char *model, const char *prompt, unsigned max_tokens, unsigned top,
                    bool echo, error *err)
{
	cJSON *body = cJSON_CreateObject();
	char *printed = NULL;

	if (body && cJSON_AddStringToObject(body, "model", model) &&
	    cJSON_AddStringToObject(body, "prompt", prompt) &&
	    cJSON_AddNumberToObject(body, "max_tokens", max_tokens) &&
	    cJSON_AddNumberToObject(body, "temperature", 0) &&
	    (!top || cJSON_AddNumberToObject(body, "logprobs", top)) &&
	    (!echo || cJSON_AddTrueToObject(body, "echo")))
		printed = json_print_canonical(body);
	cJSON_Delete(body);
	if (!printed)
		return error_nomem(err, "a request");
	*out = printed;
	return 0;
}

int explain_completion_body(char **out, const explain_client *c, const char *prompt, unsigned max_tokens,
                            unsigned top, bool echo, error *err)
{
	return completion_body(out, client_model(c), prompt, max_tokens, top, echo, err);
}

int explain_completion_read(explain_completion *out, const char *reply, error *err)
{
	const cJSON *choice, *continued, *why, *logprobs;
	cJSON *json = NULL;
	int rc;

	*out = (explain_completion){ 0 };
	rc = json_parse(&json, reply, strlen(reply), REPLY_MAX, DEPTH_MAX, "reply", err);
	if (rc < 0)
		return rc;
	choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "choices"), 0);
	continued = cJSON_GetObjectItemCaseSensitive(choice, "text");
	why = cJSON_GetObjectItemCaseSensitive(choice, "finish_reason");
	logprobs = cJSON_GetObjectItemCaseSensitive(choice, "logprobs");
	if (!cJSON_IsString(continued)) {
		rc = error_set(err, ERR_FORMAT, "the reply is no completion: its first choice has no text");
	} else {
		out->text = strdup(continued->valuestring);
		out->cut = cJSON_IsString(why) && strcmp(why->valuestring, "length") == 0;
		rc = out->text ? tokens_read(&out->tokens, logprobs, err) : error_nomem(err, "a reply");
	}
	cJSON_Delete(json);
	return rc;
}

void explain_completion_clear(explain_completion *c)
{
	free(c->text);
	explain_tokens_clear(&c->tokens);
	*c = (explain_completion){ 0 };
}

/* ---- Embeddings ----------------------------------------------------------------------------------------------------------- */

typedef struct vectors {
	float *data; /* (n, dim); NULL: none came yet */
	size_t n, dim;
	error err; /* the first */
} vectors;

typedef struct batch {
	explain_request request;
	vectors *into;
	size_t first, n;
	char *body;
	bool *seen; /* (n) */
} batch;

static int one_vector(vectors *v, size_t at, const cJSON *list, error *err)
{
	size_t dim = cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0, i = 0;
	const cJSON *x;

	if (dim == 0 || dim > DIM_MAX)
		return error_set(err, ERR_FORMAT, "an embedding is no list of 1 to %d numbers", DIM_MAX);
	if (!v->data) {
		v->data = calloc(v->n * dim, sizeof(*v->data));
		if (!v->data)
			return error_nomem(err, "embeddings");
		v->dim = dim;
	}
	if (dim != v->dim)
		return error_set(err, ERR_FORMAT, "an embedding has %zu numbers, another %zu", dim, v->dim);
	cJSON_ArrayForEach(x, list)
	{
		if (!cJSON_IsNumber(x) || !(fabs(x->valuedouble) <= (double)FLT_MAX))
			return error_set(err, ERR_FORMAT, "an embedding holds what is no finite number");
		v->data[at * dim + i++] = (float)x->valuedouble;
	}
	return 0;
}

/* Vectors by the index that each names; a server that names none sends them in order. */
static int read_batch(batch *b, const char *reply, error *err)
{
	const cJSON *data, *one, *index;
	cJSON *json = NULL;
	size_t in_order = 0, at;
	int rc;

	rc = json_parse(&json, reply, strlen(reply), REPLY_MAX, DEPTH_MAX, "reply", err);
	if (rc < 0)
		return rc;
	data = cJSON_GetObjectItemCaseSensitive(json, "data");
	if ((size_t)cJSON_GetArraySize(data) != b->n)
		rc = error_set(err, ERR_FORMAT, "the reply has %d embeddings of %zu texts",
		               cJSON_GetArraySize(data), b->n);
	for (one = data ? data->child : NULL; one && rc == 0; one = one->next) {
		index = cJSON_GetObjectItemCaseSensitive(one, "index");
		at = cJSON_IsNumber(index) && index->valuedouble >= 0 ? (size_t)index->valueint : in_order;
		in_order++;
		if (at >= b->n || b->seen[at]) {
			rc = error_set(err, ERR_FORMAT, "the reply has an embedding of text %zu %s", at,
			               at >= b->n ? "which was not asked for" : "twice");
			break;
		}
		b->seen[at] = true;
		rc = one_vector(b->into, b->first + at, cJSON_GetObjectItemCaseSensitive(one, "embedding"),
		                err);
	}
	cJSON_Delete(json);
	return rc;
}

static void batch_done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	batch *b = r->payload;
	error e = { 0 };

	(void)from_log;
	if (reply && read_batch(b, reply, &e) == 0)
		return;
	if (!b->into->err.code)
		b->into->err = reply ? e : *err;
}

int embed_body(char **out, const char *model, const char *const *texts, size_t n, error *err)
{
	cJSON *body = cJSON_CreateObject(), *input, *s;
	bool fine = body && cJSON_AddStringToObject(body, "model", model) &&
	            cJSON_AddStringToObject(body, "encoding_format", "float");

	input = fine ? cJSON_AddArrayToObject(body, "input") : NULL;
	for (size_t i = 0; input && i < n; i++) {
		s = cJSON_CreateString(texts[i]);
		if (!s || !cJSON_AddItemToArray(input, s)) {
			cJSON_Delete(s);
			input = NULL;
		}
	}
	*out = input ? json_print_canonical(body) : NULL;
	cJSON_Delete(body);
	return *out ? 0 : error_nomem(err, "a request");
}

static int batch_send(batch *b, explain_client *c, const char *const *texts, error *err)
{
	int rc = embed_body(&b->body, client_model(c), texts + b->first, b->n, err);

	if (rc < 0)
		return rc;
	b->seen = calloc(b->n, sizeof(*b->seen));
	if (!b->seen)
		return error_nomem(err, "a request");
	b->request = (explain_request){
		.body = b->body, .api = EXPLAIN_EMBEDDINGS, .done = batch_done, .payload = b
	};
	return explain_client_add(c, &b->request, err);
}

int embed_probe(explain_client *c, const char *base_url, bool (*stop)(void), error *err)
{
	const char *one = "a";
	float *vector = NULL;
	size_t dim;
	error e = { 0 };
	int rc = explain_embed(&vector, &dim, c, &one, 1, 1, stop, &e);

	if (rc == 0)
		free(vector);
	if (rc == ERR_STOPPED)
		return error_set(err, rc, "%s", e.msg);
	return rc < 0 ? error_set(err, rc, "'%.80s' gives no embeddings by '%.60s': %.200s", base_url,
	                          client_model(c), e.msg)
	              : 0;
}

int explain_embed(float **out, size_t *dim, explain_client *c, const char *const *texts, size_t n,
                  size_t batch_size, bool (*stop)(void), error *err)
{
	size_t n_batches = (n + batch_size - 1) / batch_size;
	vectors v = { .n = n };
	batch *batches = calloc(n_batches ? n_batches : 1, sizeof(*batches));
	int rc = batches ? 0 : error_nomem(err, "requests"), ran;
	error e = { 0 };

	for (size_t i = 0; i < n_batches && rc == 0; i++) {
		batches[i].into = &v;
		batches[i].first = i * batch_size;
		batches[i].n = n - i * batch_size < batch_size ? n - i * batch_size : batch_size;
		rc = batch_send(&batches[i], c, texts, err);
	}
	/* Even after a failure: what was added points to our memory. */
	ran = batches ? client_run_out(c, stop, rc == 0 ? err : &e) : 0;
	if (rc == 0)
		rc = ran;
	if (rc == 0 && v.err.code)
		rc = error_set(err, v.err.code, "%s", v.err.msg);
	for (size_t i = 0; batches && i < n_batches; i++) {
		free(batches[i].body);
		free(batches[i].seen);
	}
	free(batches);
	if (rc < 0) {
		free(v.data);
		return rc;
	}
	*out = v.data;
	*dim = v.dim;
	return 0;
}
