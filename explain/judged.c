/* See judged.h. */
#include "explain/judged.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	KEY_DIGITS = 8,
	MOST_CLASS = 15,
	CONFIDENCE_MOST = 100,
	CONFIDENCE_YES = 50,
	SIMULATED_MOST = 10,
	SIMULATED_YES = 3 /* what is over is marked in texts */
};

uint32_t judged_key(const score_item *it)
{
	uint64_t h = 0x6a756467;

	for (uint32_t i = 0; i < it->n_shown; i++) {
		const store_window *w = &it->shown[i].w;
		const uint64_t place[] = { (uint64_t)w->context, w->first, w->length };

		h = hash64(place, sizeof(place), h);
		if (it->shown[i].mark)
			h = hash64(it->shown[i].mark, w->length, h);
	}
	return (uint32_t)(h >> 32);
}

/* Four digits tell grades apart well enough, and take little room. */
static double short_of(double x)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%.4g", x);
	return strtod(digits, NULL);
}

static bool add(cJSON *list, double x)
{
	cJSON *item = isnan(x) ? cJSON_CreateNull() : cJSON_CreateNumber(short_of(x));

	if (item && cJSON_AddItemToArray(list, item))
		return true;
	cJSON_Delete(item);
	return false;
}

static bool put_items(cJSON *to, const score_task *mine, char *key, char *kind)
{
	cJSON *answer = cJSON_AddArrayToObject(to, "answer"), *grade;
	bool graded = false, fine = answer != NULL;
	size_t n = 0;

	for (size_t i = 0; i < mine->n && fine; i++) {
		const score_item *it = &mine->items[i];

		if (!it->asked[SCORE_OWN])
			continue;
		snprintf(key + n * KEY_DIGITS, KEY_DIGITS + 1, "%08x", judged_key(it));
		kind[n++] = (char)('0' + it->stratum);
		graded |= !isnan(it->grade[SCORE_OWN]);
		fine = add(answer, it->answer[SCORE_OWN]);
	}
	grade = fine && graded ? cJSON_AddArrayToObject(to, "grade") : NULL;
	for (size_t i = 0; i < mine->n && fine && graded; i++)
		if (mine->items[i].asked[SCORE_OWN])
			fine = add(grade, mine->items[i].grade[SCORE_OWN]);
	return fine && cJSON_AddStringToObject(to, "key", key) && cJSON_AddStringToObject(to, "kind", kind);
}

bool judged_put(cJSON *details, const score_task *mine)
{
	cJSON *to = cJSON_AddObjectToObject(details, "items");
	char *key = calloc(mine->n + 1, KEY_DIGITS), *kind = calloc(mine->n + 1, 1);
	bool fine = to && key && kind && put_items(to, mine, key, kind);

	free(key);
	free(kind);
	return fine;
}

/* ---- Reading ---------------------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
	const judged_item *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

static double number_of(const cJSON *x)
{
	return cJSON_IsNumber(x) ? x->valuedouble : (double)NAN;
}

/* False: not as judged_put() has it. */
static bool read_one(judged_item *out, const char *key, char kind, const cJSON *answer, const cJSON *grade)
{
	char digits[KEY_DIGITS + 1] = "", *end;

	memcpy(digits, key, KEY_DIGITS);
	*out = (judged_item){ (uint32_t)strtoul(digits, &end, 16), (score_stratum)(kind - '0'),
		              number_of(answer), number_of(grade) };
	return !*end && end != digits && kind >= '0' && kind < '0' + SCORE_STRATA;
}

int judged_read(judged_item **out, size_t *n, const cJSON *details, error *err)
{
	const cJSON *items = cJSON_GetObjectItemCaseSensitive(details, "items");
	const char *key = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(items, "key"));
	const char *kind = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(items, "kind"));
	const cJSON *answers = cJSON_GetObjectItemCaseSensitive(items, "answer"), *answer, *grade;
	size_t all = kind ? strlen(kind) : 0, kept = 0, at = 0;
	judged_item *list;

	*out = NULL;
	*n = 0;
	if (!key || !kind || strlen(key) != all * KEY_DIGITS || (size_t)cJSON_GetArraySize(answers) != all)
		return 0;
	list = malloc((all + 1) * sizeof(*list));
	if (!list)
		return error_nomem(err, "answers");
	grade = cJSON_GetObjectItemCaseSensitive(items, "grade");
	grade = grade ? grade->child : NULL;
	cJSON_ArrayForEach(answer, answers)
	{
		if (read_one(&list[kept], key + at * KEY_DIGITS, kind[at], answer, grade))
			kept += !isnan(list[kept].answer);
		at++;
		grade = grade ? grade->next : NULL;
	}
	if (kept)
		qsort(list, kept, sizeof(*list), by_key);
	for (size_t i = 0; i < kept; i++)
		if (*n == 0 || list[i].key != list[*n - 1].key)
			list[(*n)++] = list[i];
	*out = list;
	return 0;
}

bool judged_has_class(const char *of)
{
	static const char *const none[] = { "embedding", "surprisal", "intervention" };

	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		if (strcmp(of, none[i]) == 0)
			return false;
	return true;
}

int judged_class(const char *of, double answer)
{
	if (!judged_has_class(of))
		return -1;
	if (strcmp(of, "confidence") == 0)
		return answer >= 0 && answer <= CONFIDENCE_MOST ? answer >= CONFIDENCE_YES : -1;
	if (strcmp(of, "simulation") == 0)
		return answer >= 0 && answer <= SIMULATED_MOST ? answer > SIMULATED_YES : -1;
	return answer >= 0 && answer <= MOST_CLASS && floor(answer) == answer ? (int)answer : -1;
}
