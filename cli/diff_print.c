/* gloss diff: the tables, and CSV. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/csv.h"
#include "cli/diff.h"

/* ---- Summary --------------------------------------------------------------------------------------------------------------- */

static const cJSON *member(const cJSON *page, const char *name, const char *side)
{
	return cJSON_GetObjectItem(cJSON_GetObjectItem(page, name), side);
}

static void print_head(const cJSON *page, const diff_opts *o)
{
	const cJSON *cosine = cJSON_GetObjectItem(page, "cosine"),
	            *common = cJSON_GetObjectItem(page, "common"),
	            *matched = cJSON_GetObjectItem(page, "matched");
	bool by_cosine = strcmp(answer_string(matched, "by"), "cosine") == 0;

	if (!cJSON_IsObject(cosine))
		printf("no decoder cosine: %s\n", answer_string(page, "cosine_absent"));
	if (answer_number(common, "tokens") > 0)
		printf("co-firing over %.0f tokens of %.0f common contexts%s\n",
		       answer_number(common, "tokens"), answer_number(common, "contexts"),
		       cJSON_IsTrue(cJSON_GetObjectItem(common, "all_used")) ? "" : " (there are more)");
	else
		printf("no co-firing: no context has stored firings of both\n");
	if (by_cosine)
		printf("matched by decoder cosine (%s): %.0f pairs, mean %.3f (by chance %.3f)",
		       answer_string(cosine, "method"), answer_number(matched, "pairs"),
		       answer_number(cosine, "mean_matched"), answer_number(cosine, "chance_matched"));
	else
		printf("matched by co-firing (each other's best): %.0f pairs",
		       answer_number(matched, "pairs"));
	printf(", %.0f of them at least %g (by chance %.0f)\n", answer_number(matched, "over"),
	       by_cosine ? o->min_cosine : o->min_correlation, answer_number(matched, "chance_over"));
}

static const char *const measures[] = { "cosine", "correlation", "jaccard" };

/* tally: of verdicts, or NULL; value: which member of the measures. */
static int side_row(cli_table *t, const cJSON *page, const char *side, const char *first, const char *second,
                    const cJSON *tally, const char *value)
{
	static const char *const counts[] = { "same", "split", "merged", "unmatched" };
	bool head = first[0] != 0;
	int rc = cli_table_cell(t, "%s", first);

	rc = rc ? rc : cli_table_cell(t, "%s", second);
	rc = rc     ? rc
	     : head ? number_cell(t, answer_number(cJSON_GetObjectItem(page, side), "features"), 10)
	            : cli_table_cell(t, "%s", "");
	for (size_t i = 0; i < ARRAY_LEN(counts) && !rc; i++)
		rc = tally ? number_cell(t, answer_number(tally, counts[i]), 10)
		           : cli_table_cell(t, "%s", "");
	for (size_t i = 0; i < ARRAY_LEN(measures) && !rc; i++)
		rc = number_cell(t, answer_number(member(page, measures[i], side), value), 3);
	return rc;
}

static int add_side(cli_table *t, const cJSON *page, const char *side, const char *title)
{
	const cJSON *s = cJSON_GetObjectItem(page, side);
	int rc = side_row(t, page, side, title, answer_string(s, "source"),
	                  cJSON_GetObjectItem(s, "verdicts"), "mean_best");

	rc = rc ? rc
	        : side_row(t, page, side, "", "by chance", cJSON_GetObjectItem(s, "chance_verdicts"),
	                   "chance_mean");
	return rc ? rc : side_row(t, page, side, "", "1 in 100 by chance", NULL, "chance_99");
}

static int print_sides(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "", false, 0 },           { "source", false, 24 },    { "features", true, 0 },
		{ "same", true, 0 },        { "split", true, 0 },       { "merged", true, 0 },
		{ "unmatched", true, 0 },   { "best cosine", true, 0 }, { "best r", true, 0 },
		{ "its Jaccard", true, 0 },
	};
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	if (!rc && (add_side(t, page, "a", "A") || add_side(t, page, "b", "B")))
		rc = error_nomem(err, "the table of sources");
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

/* ---- The list ---------------------------------------------------------------------------------------------------------------- */

typedef struct listed {
	const cJSON *feature;
	double key, number;
} listed;

static int by_key(const void *a, const void *b)
{
	const listed *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

static double sort_key(const cJSON *f, const char *sort)
{
	double key = strcmp(sort, "feature") == 0 ? -answer_number(f, "feature") : answer_number(f, sort);

	return isnan(key) ? -INFINITY : key;
}

/* Numbers of the features that it is divided among, or that it is a part of; malloc'd. */
static char *part_list(const cJSON *f, const char *name)
{
	const cJSON *part;
	text list;

	text_init(&list, 4096);
	if (text_add(&list, "", 0) < 0)
		return NULL;
	cJSON_ArrayForEach(part, cJSON_GetObjectItem(f, name))
	{
		char number[32];
		int n = snprintf(number, sizeof(number), "%s%.0f", list.len ? " " : "", part->valuedouble);

		if (text_add(&list, number, (size_t)n) < 0) {
			text_free(&list);
			return NULL;
		}
	}
	return list.data;
}

static int add_feature(cli_table *t, const cJSON *f)
{
	char *parts = part_list(f, cJSON_GetObjectItem(f, "parts") ? "parts" : "part_of");
	int rc = number_cell(t, answer_number(f, "feature"), 10);

	rc = rc ? rc : string_cell(t, answer_string(f, "verdict"));
	rc = rc ? rc : number_cell(t, answer_number(f, "match"), 10);
	for (size_t i = 0; i < ARRAY_LEN(measures) && !rc; i++)
		rc = number_cell(t, answer_number(f, measures[i]), 3);
	rc = rc ? rc : number_cell(t, answer_number(f, "fires"), 10);
	rc = rc ? rc : parts ? cli_table_cell(t, "%s", parts) : ERR_NOMEM;
	rc = rc ? rc : string_cell(t, answer_string(f, "label"));
	free(parts);
	return rc ? rc : string_cell(t, answer_string(f, "match_label"));
}

static int print_list(const listed *list, size_t n, error *err)
{
	static const cli_column columns[] = {
		{ "feature", true, 0 }, { "verdict", false, 0 },
		{ "match", true, 0 },   { "cosine", true, 0 },
		{ "r", true, 0 },       { "Jaccard", true, 0 },
		{ "fires", true, 0 },   { "parts, or part of", false, 24 },
		{ "label", false, 30 }, { "label of match", false, 30 },
	};
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	for (size_t i = 0; i < n && !rc; i++)
		if (add_feature(t, list[i].feature))
			rc = error_nomem(err, "the table of features");
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static bool is_wanted(const cJSON *f, const diff_opts *o, const char *side)
{
	return (!side || strcmp(answer_string(f, "side"), side) == 0) &&
	       (!o->only || strcmp(answer_string(f, "verdict"), o->only) == 0);
}

int diff_print(const cJSON *page, const diff_opts *o, error *err)
{
	const cJSON *features = cJSON_GetObjectItem(page, "features"), *f;
	listed *list = malloc(((size_t)cJSON_GetArraySize(features) + 1) * sizeof(*list));
	size_t n = 0;
	int rc;

	if (!list)
		return error_nomem(err, "a comparison");
	print_head(page, o);
	rc = print_sides(page, err);
	cJSON_ArrayForEach(f, features)
	{
		if (is_wanted(f, o, o->side))
			list[n++] = (listed){ f, sort_key(f, o->sort), answer_number(f, "feature") };
	}
	qsort(list, n, sizeof(*list), by_key);
	if (!rc && o->limit && n) {
		printf("\n");
		rc = print_list(list, n < o->limit ? n : (size_t)o->limit, err);
		if (!rc && n > o->limit)
			printf("%llu of %zu features of %s\n", (unsigned long long)o->limit, n,
			       strcmp(o->side, "a") == 0 ? "A" : "B");
	}
	free(list);
	return rc;
}

/* ---- CSV ------------------------------------------------------------------------------------------------------------------------- */

static int print_field(const cJSON *row, const char *name, bool visible)
{
	const cJSON *value = cJSON_GetObjectItem(row, name);
	char *list;
	int rc;

	if (cJSON_IsString(value))
		return csv_field(value->valuestring, visible);
	if (cJSON_IsNumber(value))
		printf("%.9g", value->valuedouble);
	if (!cJSON_IsArray(value))
		return 0;
	list = part_list(row, name);
	rc = list ? csv_field(list, visible) : ERR_NOMEM;
	free(list);
	return rc;
}

static const char *const feature_columns[] = {
	"side",        "feature",
	"verdict",     "fires",
	"match",       "cosine",
	"common",      "firing_cosine",
	"jaccard",     "correlation",
	"nearest",     "nearest_cosine",
	"cofiring",    "cofiring_correlation",
	"parts",       "by",
	"covered",     "together",
	"part_of",     "label",
	"match_label",
};
static const char *const pair_columns[] = { "a",       "b",          "cosine", "common", "firing_cosine",
	                                    "jaccard", "correlation" };

int diff_print_csv(const cJSON *page, const diff_opts *o, const char *side, error *err)
{
	const char *const *columns = o->pairs ? pair_columns : feature_columns;
	size_t n = o->pairs ? ARRAY_LEN(pair_columns) : ARRAY_LEN(feature_columns);
	bool visible = isatty(STDOUT_FILENO);
	const cJSON *row;
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		printf("%s%s", columns[i], i + 1 < n ? "," : "\r\n");
	cJSON_ArrayForEach(row, cJSON_GetObjectItem(page, o->pairs ? "pairs" : "features"))
	{
		if (!o->pairs && !is_wanted(row, o, side))
			continue;
		for (size_t i = 0; i < n && !rc; i++) {
			rc = print_field(row, columns[i], visible);
			fputs(i + 1 < n ? "," : "\r\n", stdout);
		}
	}
	return rc ? error_nomem(err, "a row") : 0;
}
