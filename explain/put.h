/* put: members of JSON that is built first and checked once: what cannot be added sets *failed. A NULL object is fine then. */
#ifndef GLOSS_EXPLAIN_PUT_H
#define GLOSS_EXPLAIN_PUT_H

#include "explain/stats.h"

/* NULL as a name: an element of an array. NaN, NULL: null. */
void put_number(cJSON *o, const char *name, double x, bool *failed);
void put_text(cJSON *o, const char *name, const char *x, bool *failed);
void put_bool(cJSON *o, const char *name, bool x, bool *failed);
cJSON *put_object(cJSON *o, const char *name, bool *failed);
cJSON *put_array(cJSON *o, const char *name, bool *failed);
/* value, low, high; of a mean and of a rate "n" too. */
void put_value(cJSON *o, const stats_value *v, bool *failed);
void put_mean(cJSON *o, const stats_mean *m, bool *failed);
void put_rate(cJSON *o, const stats_rate *r, bool *failed);

#endif
