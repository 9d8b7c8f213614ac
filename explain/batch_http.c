/* See batch.h: one call at a time, tried again where that may help. */
#include "explain/batch.h"
#include "explain/http.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REPLY_MAX = 1 << 29, JSON_MAX = 1 << 24 };

struct batch_http {
	http_endpoint endpoint;
	http_slot slot;
	struct curl_slist *headers; /* of uploads: the key alone */
	unsigned retries;
	double backoff, backoff_max, patience;
};

int batch_wait(double seconds, bool (*stop)(void), error *err)
{
	double until = clock_now() + seconds, left;
	struct timespec t = { 0, 0 };

	for (;;) {
		if (stop && stop())
			return error_set(err, ERR_STOPPED, "stopped; the batch goes on at the provider");
		left = until - clock_now();
		if (left <= 0)
			return 0;
		left = left < 0.2 ? left : 0.2;
		t.tv_nsec = (long)(left * 1e9);
		nanosleep(&t, NULL);
	}
}

int batch_http_new(batch_http **out, const explain_client_opts *o, error *err)
{
	batch_http *h = calloc(1, sizeof(*h));
	text line;
	int rc;

	if (!h)
		return error_nomem(err, "a connection");
	rc = http_endpoint_init(&h->endpoint, o, err);
	h->endpoint.max_reply = REPLY_MAX;
	h->retries = o->retries;
	h->backoff = o->backoff;
	h->backoff_max = o->backoff_max;
	h->patience = o->patience;
	if (rc == 0)
		rc = http_slot_init(&h->slot, &h->endpoint, err);
	text_init(&line, 1 << 16);
	if (rc == 0 && h->endpoint.key[0]) {
		if (text_addf(&line, "Authorization: Bearer %s", h->endpoint.key[0]) == 0)
			h->headers = curl_slist_append(NULL, line.data);
		if (!h->headers)
			rc = error_nomem(err, "a connection");
		if (line.data)
			explicit_bzero(line.data, line.len);
	}
	text_free(&line);
	if (rc < 0)
		batch_http_free(h);
	else
		*out = h;
	return rc;
}

void batch_http_free(batch_http *h)
{
	if (!h)
		return;
	if (h->headers)
		explicit_bzero(h->headers->data, strlen(h->headers->data));
	curl_slist_free_all(h->headers);
	http_slot_free(&h->slot);
	http_endpoint_clear(&h->endpoint);
	free(h);
}

const char *batch_http_base(const batch_http *h)
{
	return h->endpoint.base;
}

/* What is asked: at most one of json and jsonl; neither: a GET. */
typedef struct asking {
	const char *path, *json;
	const text *jsonl;
	bool *unsure; /* not NULL: see batch_http_post() */
} asking;

static curl_mime *make_upload(CURL *c, const text *jsonl)
{
	curl_mime *mime = curl_mime_init(c);
	curl_mimepart *part = mime ? curl_mime_addpart(mime) : NULL;

	if (part) {
		curl_mime_name(part, "purpose");
		curl_mime_data(part, "batch", CURL_ZERO_TERMINATED);
		part = curl_mime_addpart(mime);
	}
	if (!part || curl_mime_data(part, jsonl->data, jsonl->len) != CURLE_OK) {
		curl_mime_free(mime);
		return NULL;
	}
	curl_mime_name(part, "file");
	curl_mime_filename(part, "gloss.jsonl");
	curl_mime_type(part, "application/jsonl");
	return mime;
}

static int once(http_outcome *out, batch_http *h, const asking *a, error *err)
{
	CURL *c = h->slot.easy;
	curl_mime *mime = NULL;
	text url;
	int rc = 0;

	text_init(&url, 4096);
	if (text_addf(&url, "%s%s", h->endpoint.base, a->path) < 0)
		rc = error_set(err, ERR_LIMIT, "a URL is too long");
	text_clear(&h->slot.body);
	h->slot.too_big = h->slot.no_memory = false;
	h->slot.header_bytes = 0;
	if (rc == 0 && a->jsonl && !(mime = make_upload(c, a->jsonl)))
		rc = error_nomem(err, "an upload");
	if (rc == 0 && curl_easy_setopt(c, CURLOPT_URL, url.data) != CURLE_OK)
		rc = error_nomem(err, "a URL");
	if (rc < 0)
		goto out;
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, a->json ? h->endpoint.headers : h->headers);
	if (a->jsonl) {
		curl_easy_setopt(c, CURLOPT_MIMEPOST, mime);
	} else if (a->json) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(a->json));
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, a->json);
	} else {
		curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
	}
	http_slot_outcome(out, &h->slot, curl_easy_perform(c));
	if (a->jsonl)
		curl_easy_setopt(c, CURLOPT_MIMEPOST, NULL);
out:
	curl_mime_free(mime);
	text_free(&url);
	return rc;
}

/* It may have been done, whatever came back; 503 says that it was not. */
static bool is_unsure(const http_outcome *o)
{
	return o->class == HTTP_RETRY && !o->unreachable && o->status != 503;
}

static int call(batch_http *h, const asking *a, bool (*stop)(void), error *err)
{
	double wait = h->backoff;
	http_outcome o;
	int rc;

	for (unsigned attempt = 0;; attempt++) {
		rc = once(&o, h, a, err);
		if (rc < 0 || o.class == HTTP_REPLY)
			return rc;
		if (a->unsure && is_unsure(&o))
			*a->unsure = true;
		if ((o.class != HTTP_RETRY && o.class != HTTP_LIMIT) || attempt >= h->retries ||
		    o.head.retry_after > h->patience || (a->unsure && *a->unsure))
			return error_set(err, o.status == 404 ? ERR_NOTFOUND : o.err.code, "%s", o.err.msg);
		rc = batch_wait(o.head.retry_after > wait ? o.head.retry_after : wait, stop, err);
		if (rc < 0)
			return rc;
		wait = 2 * wait < h->backoff_max ? 2 * wait : h->backoff_max;
	}
}

int batch_http_get(char **body, size_t *len, batch_http *h, const char *path, bool (*stop)(void), error *err)
{
	asking a = { .path = path };
	int rc = call(h, &a, stop, err);

	if (rc < 0)
		return rc;
	*len = h->slot.body.len;
	*body = malloc(*len + 1);
	if (!*body)
		return error_nomem(err, "a reply");
	memcpy(*body, h->slot.body.len ? h->slot.body.data : "", *len);
	(*body)[*len] = '\0';
	return 0;
}

static int read_json(cJSON **reply, batch_http *h, error *err)
{
	return json_parse(reply, h->slot.body.data ? h->slot.body.data : "", h->slot.body.len, JSON_MAX, 64,
	                  "the reply", err);
}

int batch_http_post(cJSON **reply, bool *unsure, batch_http *h, const char *path, const char *json,
                    bool (*stop)(void), error *err)
{
	asking a = { .path = path, .json = json, .unsure = unsure };
	int rc;

	*unsure = false;
	rc = call(h, &a, stop, err);
	if (rc < 0)
		return rc;
	rc = read_json(reply, h, err);
	*unsure = rc < 0;
	return rc;
}

int batch_http_upload(char **id, batch_http *h, const text *jsonl, bool (*stop)(void), error *err)
{
	asking a = { .path = "/files", .jsonl = jsonl };
	const char *name = NULL;
	cJSON *reply = NULL;
	int rc = call(h, &a, stop, err);

	if (rc == 0)
		rc = read_json(&reply, h, err);
	if (rc == 0)
		rc = json_get_string(&name, reply, "id", "the uploaded file", err);
	if (rc == 0 && !name)
		rc = error_set(err, ERR_FORMAT, "'%s' took a file and gave it no id", h->endpoint.base);
	if (rc == 0 && !(*id = strdup(name)))
		rc = error_nomem(err, "a file's id");
	cJSON_Delete(reply);
	return rc;
}
