/* http: one endpoint, and one POST at a time on a kept-alive handle. Private to explain/. */
#ifndef GLOSS_EXPLAIN_HTTP_H
#define GLOSS_EXPLAIN_HTTP_H

#include "explain/pace.h"

typedef struct http_endpoint {
	char *base;                 /* "http://host/v1" */
	char *url[EXPLAIN_APIS];    /* that with "/chat/completions" and the like, by explain_api */
	char *ca_file;              /* NULL: the system's */
	char *key[3];               /* NULL: none; plain, and as a JSON string may spell it */
	struct curl_slist *headers; /* holds the key too */
	bool tls;
	bool direct; /* through no proxy, whatever the environment says */
	double timeout;
	size_t max_reply;
} http_endpoint;

/* Check URL and key (ERR_ARG, never with the key in the message) and copy what a transfer needs. */
int http_endpoint_init(http_endpoint *e, const explain_client_opts *o, error *err) MUST_USE;
void http_endpoint_clear(http_endpoint *e); /* the key is overwritten; fine on a zeroed struct */
/* Overwrite each occurrence of the key in s (n bytes) with stars. Keys under 8 letters only when `all`: they are
 * placeholders such as "none", which a reply may well hold as a word. */
void http_redact(const http_endpoint *e, char *s, size_t n, bool all);

typedef struct http_slot {
	CURL *easy;
	const http_endpoint *endpoint;
	text body;
	size_t header_bytes;
	bool too_big, no_memory;
	char why[CURL_ERROR_SIZE]; /* libcurl's words for what went wrong */
	void *payload;             /* NULL: the slot is free */
} http_slot;

int http_slot_init(http_slot *s, const http_endpoint *e, error *err) MUST_USE;
void http_slot_free(http_slot *s);
/* `body` must live until the transfer has ended. */
int http_slot_start(http_slot *s, CURLM *multi, explain_api api, const char *body, error *err) MUST_USE;

typedef enum http_class {
	HTTP_REPLY, /* 200 and a whole body */
	HTTP_LIMIT, /* 429: too many requests */
	HTTP_RETRY, /* may go better later */
	HTTP_FAIL,  /* this request never will */
	HTTP_FATAL  /* no request to this endpoint will */
} http_class;

typedef struct http_outcome {
	http_class class;
	long status;      /* 0: none came */
	bool unreachable; /* no connection was made */
	bool filtered;    /* HTTP_FAIL: a content filter would not let it pass */
	pace_head head;   /* what its headers say */
	error err;        /* but for HTTP_REPLY */
} http_outcome;
void http_slot_outcome(http_outcome *out, http_slot *s, CURLcode result);

/* What an error body says, for people: its message, at most 200 letters, made visible, without the key. */
void http_error_text(const http_endpoint *e, text *out, const char *body, size_t n);

/* Of client.c, for calls.c. */
const char *client_model(const explain_client *c);

#endif
