/* judged: answers item by item, as they are kept in score.details, and how two who judged the same windows agree. Private to
 * explain/. */
#ifndef GLOSS_EXPLAIN_JUDGED_H
#define GLOSS_EXPLAIN_JUDGED_H

#include "explain/scorer.h"

/* Adds "items":{"key": 8 hexadecimal digits an item, "kind": a digit each (score_stratum), "answer":[...],"grade":[...]}: those that the
 * label was judged on, in the order in which they were shown; answer null: none; grade only where answers are graded. false: no memory. */
bool judged_put(cJSON *details, const score_task *mine);
/* The same number for an item of the same windows and marks. */
uint32_t judged_key(const score_item *it);

typedef struct judged_item {
	uint32_t key;
	score_stratum kind;
	double answer, grade; /* NaN: none */
} judged_item;
/* The items of details with an answer, by key, no key twice: *out (n) malloc'd; none where there are none or they are not as above. */
int judged_read(judged_item **out, size_t *n, const cJSON *details, error *err) MUST_USE;
/* Of an answer of the scorer of this name, what counts as the same: yes or no (confidence: 50 and more is yes; simulation: a strongest
 * token over 3 of 10), or the number of an intruder; -1: it is no such. And whether its answers are such at all: those of embedding,
 * surprisal and intervention are numbers without a yes. */
int judged_class(const char *of, double answer);
bool judged_has_class(const char *of);

#endif
