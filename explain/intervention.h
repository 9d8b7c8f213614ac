/* What intervention.c and intervention_measure.c share: one feature's steering and what came of it. Private to explain/. */
#ifndef GLOSS_EXPLAIN_INTERVENTION_H
#define GLOSS_EXPLAIN_INTERVENTION_H

#include "explain/scorer.h"
#include "explain/subject.h"

/* What is steered by. */
typedef enum steer_by { STEER_FEATURE, STEER_RANDOM, STEER_DIRECTIONS } steer_by;

/* What follows the prompts: as it is; the same drawn anew, which is what steering by nothing gives; steered by the feature; by a
 * random direction of the same norm at the same KL, and at the same strength. */
typedef enum steer_text {
	TEXT_CLEAN,
	TEXT_ZERO,
	TEXT_STEERED,
	TEXT_RANDOM_KL,
	TEXT_RANDOM_STRENGTH,
	STEER_TEXTS
} steer_text;

typedef struct intervention {
	int64_t layer;
	uint32_t width;
	double norm, max_act; /* of the decoder row; the feature's strongest in the report documents */
	const char **prompt;  /* (n): of the items, in their order */
	const char *ids;
	steer_search by[STEER_DIRECTIONS];
	double kl_random; /* of the random direction at the feature's strength; NaN: not known */
	const char **text[STEER_TEXTS];
	subject_item *label[STEER_TEXTS]; /* (2 n) the own label behind each passage, then the other one */
	unsigned stage;
	bool again;
	const engine_ask *failed; /* its reply could not be read */
} intervention;

/* How many labels are judged behind these passages: of the clean and the steered ones another feature's too. */
unsigned intervention_labels(const score_task *mine, steer_text which);
int intervention_measure(store_score *sc, engine_task *t, double level, error *err) MUST_USE;

#endif
