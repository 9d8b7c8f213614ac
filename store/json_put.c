/* Building the JSON of a query's answer. */
#include "store/query_internal.h"

#include <inttypes.h>
#include <math.h>

void json_put(cJSON *object, const char *name, cJSON *item, bool *failed)
{
	if (item && object &&
	    (name ? cJSON_AddItemToObject(object, name, item) : cJSON_AddItemToArray(object, item)))
		return;
	cJSON_Delete(item);
	*failed = true;
}

void json_put_text(cJSON *object, const char *name, const char *value, bool *failed)
{
	json_put(object, name, value ? cJSON_CreateString(value) : cJSON_CreateNull(), failed);
}

void json_put_number(cJSON *object, const char *name, double value, bool *failed)
{
	json_put(object, name, isnan(value) ? cJSON_CreateNull() : cJSON_CreateNumber(value), failed);
}

void json_put_bool(cJSON *object, const char *name, bool value, bool *failed)
{
	json_put(object, name, cJSON_CreateBool(value), failed);
}

void json_put_id(cJSON *object, const char *name, int64_t id, bool *failed)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%" PRId64, id);
	json_put_text(object, name, digits, failed);
}

cJSON *json_put_array(cJSON *object, const char *name, bool *failed)
{
	cJSON *array = cJSON_CreateArray();
	bool lost = false;

	json_put(object, name, array, &lost);
	*failed |= lost;
	return lost ? NULL : array;
}

cJSON *json_put_object(cJSON *object, const char *name, bool *failed)
{
	cJSON *item = cJSON_CreateObject();
	bool lost = false;

	json_put(object, name, item, &lost);
	*failed |= lost;
	return lost ? NULL : item;
}

/* {"blob": hex} */
static void put_blob(cJSON *object, const char *name, const unsigned char *bytes, size_t n, bool *failed)
{
	static const char digits[] = "0123456789abcdef";
	char *hex = malloc(2 * n + 1);
	cJSON *item;

	if (!hex) {
		*failed = true;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * n] = '\0';
	item = json_put_object(object, name, failed);
	json_put_text(item, "blob", hex, failed);
	free(hex);
}

void json_put_column(cJSON *object, const char *name, sqlite3_stmt *row, int column, bool *failed)
{
	const int64_t largest = INT64_C(1) << 53; /* what a double holds exactly */
	const char *string;

	switch (sqlite3_column_type(row, column)) {
	case SQLITE_INTEGER: {
		int64_t value = sqlite3_column_int64(row, column);

		if (value > largest || value < -largest)
			json_put_id(object, name, value, failed);
		else
			json_put_number(object, name, (double)value, failed);
		break;
	}
	case SQLITE_FLOAT:
		json_put_number(object, name, sqlite3_column_double(row, column), failed);
		break;
	case SQLITE_BLOB:
		put_blob(object, name, sqlite3_column_blob(row, column),
		         (size_t)sqlite3_column_bytes(row, column), failed);
		break;
	case SQLITE_TEXT:
		string = (const char *)sqlite3_column_text(row, column);
		*failed |= !string;
		json_put_text(object, name, string, failed);
		break;
	default:
		json_put(object, name, cJSON_CreateNull(), failed);
	}
}

int json_finish(cJSON **out, cJSON *page, int rc, bool failed, error *err)
{
	if (rc >= 0 && failed)
		rc = error_nomem(err, "the answer of a query");
	if (rc < 0) {
		cJSON_Delete(page);
		return rc;
	}
	*out = page;
	return 0;
}
