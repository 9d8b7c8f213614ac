/* A scripted OpenAI-compatible server on loopback, in a thread of the test's own. */
#ifndef GLOSS_TESTS_SUPPORT_LLM_H
#define GLOSS_TESTS_SUPPORT_LLM_H

#include "explain/explain.h"

typedef struct llm_reply {
	int status;                                /* 0: 200 */
	const char *body;                          /* NULL: empty */
	char *own;                                 /* the body instead, freed after sending */
	const char *retry_after, *location, *type; /* headers, NULL: none; type NULL: application/json */
	const char *more; /* "name: value" lines of further headers, each ended by \n */
	double delay;     /* seconds before answering */
	bool cut;         /* promise twice the body and break off */
	size_t fill;      /* send so many bytes of 'x' instead */
} llm_reply;

typedef struct llm_seen {
	char *method, *path, *authorization, *type, *body; /* authorization, type: NULL where absent */
	char *after;                                       /* of the query; NULL: none */
} llm_seen;

typedef struct llm_server llm_server;
/* Plays script[0], script[1], ...; the last one again for every further request. */
llm_server *llm_start(const llm_reply *script, size_t n);
/* Asks `answer` for every reply; it is called from several threads, one at a time. */
llm_server *llm_start_answering(llm_reply (*answer)(const llm_seen *request, void *payload), void *payload);
/* The same over TLS, with a certificate of its own for 127.0.0.1 that nobody has signed; *pem: it, malloc'd. */
llm_server *llm_start_tls(char **pem, const llm_reply *script, size_t n);
/* PEM, malloc'd: a key and a certificate for 127.0.0.1, signed by itself. */
void llm_certificate(char *tls[2]);
void llm_stop(llm_server *s);
const char *llm_url(const llm_server *s); /* "http://127.0.0.1:PORT/v1" */
size_t llm_count(llm_server *s);          /* requests so far */
/* The first 4096 are kept. */
const llm_seen *llm_get(llm_server *s, size_t i);
unsigned llm_most_at_once(llm_server *s);
unsigned llm_connections(llm_server *s);  /* so far */
double llm_when(llm_server *s, size_t i); /* clock_now() when request i was whole */

/* Bytes to the letter, for what no HTTP library would send: each connection has its request read, gets `bytes`, then `again`
 * over and over until the client leaves, `pause` seconds between; then it is closed. */
typedef struct llm_raw {
	const char *bytes, *again; /* again NULL: closed behind bytes */
	double pause;
	bool deaf; /* close before the request is read */
} llm_raw;
typedef struct llm_raw_server llm_raw_server;
llm_raw_server *llm_start_raw(const llm_raw *r);
const char *llm_raw_url(const llm_raw_server *s);
unsigned llm_raw_count(llm_raw_server *s); /* connections so far */
void llm_stop_raw(llm_raw_server *s);

/* The last message in the body of a chat: the question itself, behind instructions and worked examples. */
const char *llm_question(const char *body);
/* The last message of a chat in that role; malloc'd, NULL: there is none. */
char *llm_content(const llm_seen *request, const char *role);
/* A chat completion that says `content`, with 11 tokens in and 7 out. malloc'd. */
char *llm_chat(const char *content);

/* A client of it that waits no longer than tests have time: 1 to 2 ms before each of 2 more attempts, 5 s for a reply. */
explain_client_opts llm_client(const char *url);

#endif
