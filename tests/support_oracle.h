/* A judge that knows the rule, for a scripted server: labels are words (see support_planted.h), and it errs at set rates. For
 * tests and bench/. */
#ifndef GLOSS_TESTS_SUPPORT_ORACLE_H
#define GLOSS_TESTS_SUPPORT_ORACLE_H

#include <stdint.h>

#include "tests/support_llm.h"

typedef struct oracle {
	double miss,
	        false_alarm; /* chance of a wrong answer where yes is right, and where no is; of an intruder's group: miss */
	uint64_t seed;
	bool all_yes;
	double d; /* over 0: answers have log-probabilities, by normal grades that much apart, and no errors; so have embeddings */
	unsigned leave_out; /* so many more replies lack the answer to their last item */
	unsigned stray;     /* so many more replies answer about items that were not asked about too */
	unsigned no_number, longer; /* so many more replies' last embedding holds no number, or one more */
	unsigned both;              /* so many more replies have their first item in both lists */
	bool no_embeddings;
	bool echo;           /* completions echo their prompt with log-probabilities: see simulate_echo.c */
	unsigned echoes;     /* requests for that so far */
	unsigned embeddings; /* requests for some so far */
	unsigned questions, items; /* asked so far */
} oracle;
/* As llm_start_answering() takes it; payload: an oracle. */
llm_reply oracle_answer(const llm_seen *request, void *payload);

bool oracle_has_word(const char *s, size_t n, const char *word);
double oracle_normal(uint64_t key); /* from the standard normal distribution */

#endif
