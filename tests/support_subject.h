/* A subject server (docs/subject.md) that knows the rule, and completions with echo of the same model: labels are words (see
 * support_planted.h). For tests and bench/. */
#ifndef GLOSS_TESTS_SUPPORT_SUBJECT_H
#define GLOSS_TESTS_SUPPORT_SUBJECT_H

#include <stdint.h>

#include "tests/support_llm.h"

typedef enum subject_trouble {
	SUBJECT_FINE,
	SUBJECT_NO_LOGPROBS, /* 400 to what asks for them; completions without */
	SUBJECT_NO_ECHO,     /* completions: of the continuation alone */
	SUBJECT_TOO_FEW,     /* the last item is missing */
	SUBJECT_SHORT,       /* each item lacks the last token's */
	SUBJECT_NULL,        /* NaN, as JSON has it; raised tokens without text */
	SUBJECT_POSITIVE,    /* a probability over 1 */
	SUBJECT_OTHER_TEXT,  /* completions: tokens that spell something else */
	SUBJECT_ELSE,        /* JSON of another kind */
	SUBJECT_NO_STEERING, /* 400 to what asks for it */
	SUBJECT_BAD_KL,      /* NaN for a KL */
	SUBJECT_FEW_TEXTS,   /* the last text is missing */
	SUBJECT_SMALL,       /* its blocks put out 3 values */
	SUBJECT_SHALLOW,     /* it has one block */
	SUBJECT_UNMOVED      /* no strength moves it: KL 0 */
} subject_trouble;

typedef struct subject_oracle {
	/* what a label gains where its word is in the text, in standard deviations of what it gains anywhere; of steering: nats that the
	 * right label gains by the feature's direction, beside a noise of 1 in each passage */
	double d;
	uint64_t seed;
	subject_trouble trouble;
	unsigned after,
	        until; /* trouble with requests for log-probabilities behind so many, and no more than so many; 0: all */
	unsigned questions, items;
	unsigned kls, texts, raised; /* requests for them */
} subject_oracle;
/* As llm_start_answering() takes it; payload: a subject_oracle. */
llm_reply subject_answer(const llm_seen *request, void *payload);

#endif
