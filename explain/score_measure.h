/* What the files that make scores of answers share: score_measure.c, score_area.c. */
#ifndef GLOSS_EXPLAIN_SCORE_MEASURE_H
#define GLOSS_EXPLAIN_SCORE_MEASURE_H

#include "explain/scorer.h"

/* Members of an object; false: no memory. NaN: null. */
bool measure_add_number(cJSON *o, const char *name, double x);
bool measure_add_interval(cJSON *to, double value, double low, double high);
/* What all scores say: how they are to be read. */
bool measure_add_common(cJSON *o, const score_task *mine, const engine_task *t, const store_score *sc,
                        double level);
/* The details of sc, printed from o, which is freed; fine: it is whole. */
int measure_finish(store_score *sc, cJSON *o, bool fine, engine_task *t, error *err) MUST_USE;

/* The area under the ROC curve of firing items against those of some strata, by their grades, or by answers that are numbers:
 * NaN, and nothing added, where one kind has none. */
int measure_area(stats_value *out, uint32_t n[2], const engine_task *t, score_label of, score_stratum from,
                 score_stratum to, double level, error *err) MUST_USE;
int measure_add_area(cJSON *o, const char *name, const engine_task *t, score_label of, score_stratum from,
                     score_stratum to, double level, error *err) MUST_USE;

#endif
