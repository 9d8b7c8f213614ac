/* See put.h. */
#include "explain/put.h"

#include <math.h>

static void put(cJSON *o, const char *name, cJSON *item, bool *failed)
{
	if (item && o && (name ? cJSON_AddItemToObject(o, name, item) : cJSON_AddItemToArray(o, item)))
		return;
	cJSON_Delete(item);
	*failed = true;
}

void put_number(cJSON *o, const char *name, double x, bool *failed)
{
	put(o, name, isnan(x) ? cJSON_CreateNull() : cJSON_CreateNumber(x), failed);
}

void put_text(cJSON *o, const char *name, const char *x, bool *failed)
{
	put(o, name, x ? cJSON_CreateString(x) : cJSON_CreateNull(), failed);
}

void put_bool(cJSON *o, const char *name, bool x, bool *failed)
{
	put(o, name, cJSON_CreateBool(x), failed);
}

static cJSON *put_new(cJSON *o, const char *name, cJSON *item, bool *failed)
{
	bool lost = false;

	put(o, name, item, &lost);
	*failed |= lost;
	return lost ? NULL : item;
}

cJSON *put_object(cJSON *o, const char *name, bool *failed)
{
	return put_new(o, name, cJSON_CreateObject(), failed);
}

cJSON *put_array(cJSON *o, const char *name, bool *failed)
{
	return put_new(o, name, cJSON_CreateArray(), failed);
}

void put_value(cJSON *o, const stats_value *v, bool *failed)
{
	put_number(o, "value", v->value, failed);
	put_number(o, "low", v->low, failed);
	put_number(o, "high", v->high, failed);
}

void put_mean(cJSON *o, const stats_mean *m, bool *failed)
{
	put_value(o, &(stats_value){ m->value, m->low, m->high }, failed);
	put_number(o, "n", (double)m->n, failed);
}

void put_rate(cJSON *o, const stats_rate *r, bool *failed)
{
	put_value(o, &(stats_value){ r->value, r->low, r->high }, failed);
	put_number(o, "n", r->n, failed);
}
