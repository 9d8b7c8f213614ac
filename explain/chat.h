/* chat: bodies of chat completions and what their answers hold. Private to explain/. */
#ifndef GLOSS_EXPLAIN_CHAT_H
#define GLOSS_EXPLAIN_CHAT_H

#include "explain/explain.h"

enum { CHAT_REPLY_MAX = 256 << 20 }; /* bytes */

typedef enum chat_format {
	CHAT_SCHEMA,
	CHAT_OBJECT,
	CHAT_PLAIN
} chat_format; /* of response_format, best first */

/* What the server was found to accept; kept with the job as JSON. */
typedef struct chat {
	const char *model;
	chat_format format;
	bool new_limit; /* max_completion_tokens in place of max_tokens */
	bool no_temperature;
	bool no_system;    /* instructions go before the question */
	bool no_logprobs;  /* none are sent, or they do not spell the answer */
	unsigned thinking; /* tokens added to every limit; not among what is found out */
} chat;
void chat_init(chat *c, const explain_client_opts *o); /* what is known beforehand; o may be NULL */

typedef struct chat_question {
	const char *system, *user; /* system may be NULL */
	const char *name;          /* of the schema, for the server */
	const char *schema;        /* JSON */
	unsigned max_tokens;
	unsigned sample;       /* 0 asks at temperature 0; others, which ask again, at 0.7 */
	unsigned top_logprobs; /* alternatives wanted of each token of the answer; 0: no log-probabilities */
} chat_question;
unsigned chat_limit(const chat *c, const chat_question *q); /* of tokens, that the body sets */

/* The canonical body, malloc'd. */
int chat_body(char **out, const chat *c, const chat_question *q, error *err) MUST_USE;

/* Find out what the server accepts by one small question, asked in a lesser way after each refusal. In a replay the log tells
 * which way was answered. top_logprobs: as the job's questions will ask. Drives the client until nothing is open. */
int chat_probe(chat *c, explain_client *client, unsigned top_logprobs, bool replay, bool (*stop)(void),
               error *err) MUST_USE;
/* After a 400: leave out what the message complains of. false: nothing left to leave out. */
bool chat_adapt(chat *c, const error *refusal);
bool chat_lesser_format(chat *c);                /* the next of chat_format; false: there is none */
char *chat_capabilities(const chat *c) MUST_USE; /* JSON, malloc'd; NULL: no memory */
/* false when nothing was found yet ("{}"). */
int chat_from_capabilities(chat *c, bool *found, const char *json, error *err) MUST_USE;

/* How an answer ended. */
typedef enum chat_end {
	CHAT_ANSWERED,   /* it fits the schema, maybe cut off */
	CHAT_UNREADABLE, /* no JSON, another shape, nothing */
	CHAT_CUT,        /* cut off at the limit of tokens with nothing whole in it */
	CHAT_REFUSED,    /* the model would not answer */
	CHAT_FILTERED    /* a content filter held the answer back */
} chat_end;

typedef struct chat_usage {
	uint64_t input, output; /* tokens, as the server counts them; 0 where it does not */
	uint64_t cached;        /* of input: from the provider's cache */
	uint64_t reasoning;     /* of output: thinking */
	chat_end end;           /* set by chat_answer() */
} chat_usage;
void chat_usage_read(chat_usage *u, const cJSON *reply); /* of any reply: its "usage" */
/* The first JSON object in the reply's content that fits the schema; code fences and thinking text are passed over.
 * An answer that was cut off at the limit of tokens counts with the list members it holds whole. ERR_FORMAT: see usage->end.
 * *usage is set whenever the reply has one. */
int chat_answer(cJSON **out, chat_usage *usage, const char *reply, const cJSON *schema, error *err) MUST_USE;
/* The tokens of the answer with their log-probabilities; none (n = 0) where the reply has none or where they do not spell its
 * content: under a schema some servers report other tokens than they sent. End with explain_tokens_clear(). */
int chat_logprobs(explain_tokens *out, const char *reply, error *err) MUST_USE;
/* A reply's log-probabilities, of either shape that servers send (chat: "content"; completions: "tokens"), into out, which is
 * empty. ERR_FORMAT, ERR_NOMEM; the tokens read so far stay to be cleared. */
int tokens_read(explain_tokens *out, const cJSON *logprobs, error *err) MUST_USE;

/* The canonical body for EXPLAIN_EMBEDDINGS of n texts, malloc'd. */
int embed_body(char **out, const char *model, const char *const *texts, size_t n, error *err) MUST_USE;
/* One vector before all others, so that a server that gives none is found out at once: its error names the server and the model. */
int embed_probe(explain_client *c, const char *base_url, bool (*stop)(void), error *err) MUST_USE;
/* As explain_completion_body(), of a model by its name. */
int completion_body(char **out, const char *model, const char *prompt, unsigned max_tokens, unsigned top,
                    bool echo, error *err) MUST_USE;

#endif
