/* A scripted OpenAI-compatible server on loopback, in a thread of the test's own. */
#ifndef GLOSS_TESTS_SUPPORT_LLM_H
#define GLOSS_TESTS_SUPPORT_LLM_H

#include <stdbool.h>
#include <stddef.h>

typedef struct llm_reply {
	int status;                                /* 0: 200 */
	const char *body;                          /* NULL: empty */
	char *own;                                 /* the body instead, freed after sending */
	const char *retry_after, *location, *type; /* headers, NULL: none; type NULL: application/json */
	double delay;                              /* seconds before answering */
	bool cut;                                  /* promise twice the body and break off */
	size_t fill;                               /* send so many bytes of 'x' instead */
} llm_reply;

typedef struct llm_seen {
	char *method, *path, *authorization, *type, *body; /* authorization, type: NULL where absent */
} llm_seen;

typedef struct llm_server llm_server;
/* Plays script[0], script[1], ...; the last one again for every further request. */
llm_server *llm_start(const llm_reply *script, size_t n);
/* Asks `answer` for every reply; it is called from several threads, one at a time. */
llm_server *llm_start_answering(llm_reply (*answer)(const llm_seen *request, void *payload), void *payload);
void llm_stop(llm_server *s);
const char *llm_url(const llm_server *s); /* "http://127.0.0.1:PORT/v1" */
size_t llm_count(llm_server *s);          /* requests so far */
const llm_seen *llm_get(llm_server *s, size_t i);
unsigned llm_most_at_once(llm_server *s);
double llm_when(llm_server *s, size_t i); /* clock_now() when request i was whole */

/* A chat completion that says `content`, with 11 tokens in and 7 out. malloc'd. */
char *llm_chat(const char *content);

#endif
