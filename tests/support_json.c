/* Members of a JSON answer that must be there. */
#include "tests/support_json.h"

#include <check.h>

const cJSON *json_member(const cJSON *object, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

	ck_assert_msg(value != NULL, "no member %s", name);
	return value;
}

double json_number(const cJSON *object, const char *name)
{
	ck_assert_msg(cJSON_IsNumber(json_member(object, name)), "%s is no number", name);
	return json_member(object, name)->valuedouble;
}

const char *json_string(const cJSON *object, const char *name)
{
	ck_assert_msg(cJSON_IsString(json_member(object, name)), "%s is no string", name);
	return json_member(object, name)->valuestring;
}

const cJSON *json_item(const cJSON *object, const char *name, int i)
{
	const cJSON *value = cJSON_GetArrayItem(json_member(object, name), i);

	ck_assert_msg(value != NULL, "%s has no item %d", name, i);
	return value;
}

int json_count(const cJSON *object, const char *name)
{
	return cJSON_GetArraySize(json_member(object, name));
}
