/* chat: bodies of chat completions and what their answers hold. Private to explain/. */
#ifndef GLOSS_EXPLAIN_CHAT_H
#define GLOSS_EXPLAIN_CHAT_H

#include "explain/explain.h"

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
} chat;

typedef struct chat_question {
	const char *system, *user; /* system may be NULL */
	const char *name;          /* of the schema, for the server */
	const char *schema;        /* JSON */
	unsigned max_tokens;
	unsigned sample; /* 0 asks at temperature 0; others, which ask again, at 0.7 */
} chat_question;

/* The canonical body, malloc'd. */
int chat_body(char **out, const chat *c, const chat_question *q, error *err) MUST_USE;

/* After a 400: leave out what the message complains of. false: nothing left to leave out. */
bool chat_adapt(chat *c, const error *refusal);
bool chat_lesser_format(chat *c);                /* the next of chat_format; false: there is none */
char *chat_capabilities(const chat *c) MUST_USE; /* JSON, malloc'd; NULL: no memory */
/* false when nothing was found yet ("{}"). */
int chat_from_capabilities(chat *c, bool *found, const char *json, error *err) MUST_USE;

typedef struct chat_usage {
	uint64_t input, output; /* tokens, as the server counts them; 0 where it does not */
} chat_usage;
/* The first JSON object in the reply's content that fits the schema; code fences and thinking text are passed over.
 * An answer that was cut off at the limit
 * of tokens counts with the list members it holds whole. ERR_FORMAT: none, a refusal, nothing whole. *usage is set whenever the reply has one. */
int chat_answer(cJSON **out, chat_usage *usage, const char *reply, const cJSON *schema, error *err) MUST_USE;

#endif
