/* Members of a JSON answer; the test ends where one is not there or not of its type. */
#ifndef GLOSS_SUPPORT_JSON_H
#define GLOSS_SUPPORT_JSON_H

#include "base/base.h"

const cJSON *json_member(const cJSON *object, const char *name);
double json_number(const cJSON *object, const char *name);
const char *json_string(const cJSON *object, const char *name);
/* Item i of the array that is member `name`; and how many it has. */
const cJSON *json_item(const cJSON *object, const char *name, int i);
int json_count(const cJSON *object, const char *name);

#endif
