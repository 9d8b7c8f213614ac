/* Steps of the schema. Where SQL alone cannot carry rows over, scripts around the step call functions of this file. */
#include "store/histogram.h"
#include "store/query_internal.h"

#include <math.h>

extern const char sql_001_schema[], sql_002_samples[], sql_003_views[], sql_004_unspaced[], sql_005_jobs[],
        sql_006_golden[], sql_007_labels[];
extern const char sql_migrate_002_before[], sql_migrate_002_after[];

/* [i] leads from version i to i + 1; before and after are left out of a new store. */
static const struct {
	const char *before, *step, *after;
} steps[STORE_VERSION] = {
	{ NULL, sql_001_schema, NULL }, { sql_migrate_002_before, sql_002_samples, sql_migrate_002_after },
	{ NULL, sql_003_views, NULL },  { NULL, sql_004_unspaced, NULL },
	{ NULL, sql_005_jobs, NULL },   { NULL, sql_006_golden, NULL },
	{ NULL, sql_007_labels, NULL },
};

/* ---- From version 1 ---- */

/* float_bits(real): the bits of a float, as `example.activation_bits`. */
static void float_bits(sqlite3_context *out, int n_args, sqlite3_value **args)
{
	float value = (float)sqlite3_value_double(args[0]);
	uint32_t bits;

	(void)n_args;
	memcpy(&bits, &value, sizeof(bits));
	if (value > 0 && isfinite(value))
		sqlite3_result_int64(out, bits);
	else
		sqlite3_result_error(out, "the activation of an example is corrupt", -1);
}

/* The pairs (u16 offset, f32 value) of version 1; *peak: which of them is at offset `at`. ERR_FORMAT. */
static int read_pairs(uint32_t *position, float *value, uint32_t *peak, const unsigned char *pairs,
                      size_t size, int64_t at, bool wide)
{
	uint32_t n = (uint32_t)(size / 6);
	bool good = size % 6 == 0;

	*peak = n;
	for (uint32_t i = 0; i < n; i++) {
		position[i] = load_u16le(pairs + (size_t)i * 6);
		value[i] = load_f32le(pairs + (size_t)i * 6 + 2);
		good = good && value[i] > 0 && isfinite(value[i]) &&
		       (i == 0 || position[i] > position[i - 1]) && (wide || position[i] < 256);
		*peak = position[i] == at ? i : *peak;
	}
	return good && *peak < n ? 0 : ERR_FORMAT;
}

/* codes_from_1(codes, offset of the qualifying token, longest window): `example.codes` of version 2. */
static void codes_from_1(sqlite3_context *out, int n_args, sqlite3_value **args)
{
	size_t size = (size_t)sqlite3_value_bytes(args[0]);
	uint32_t n = (uint32_t)(size / 6), peak;
	bool wide = sqlite3_value_int64(args[2]) > 256;
	uint32_t *position = malloc(((size_t)n + 1) * sizeof(*position));
	float *value = malloc(((size_t)n + 1) * sizeof(*value));
	unsigned char *codes = malloc(store_window_size(n, wide) + 1);

	(void)n_args;
	if (!position || !value || !codes) {
		sqlite3_result_error_nomem(out);
	} else if (read_pairs(position, value, &peak, sqlite3_value_blob(args[0]), size,
	                      sqlite3_value_int64(args[1]), wide) < 0) {
		sqlite3_result_error(out, "the codes of an example are corrupt", -1);
	} else {
		store_window_encode(codes, position, value, n, 0, peak, wide);
		sqlite3_result_blob64(out, codes, store_window_size(n, wide), SQLITE_TRANSIENT);
	}
	free(position);
	free(value);
	free(codes);
}

/* The grid edge at a value, or GRID_END + 1. */
static int grid_at(double value)
{
	double i = value > 0 ? round(log2(value) * GRID_PER_OCTAVE) : GRID_END + 1;

	if (i < GRID_FIRST || i > GRID_END || fabs(grid_edge((int)i) / value - 1) > 1e-6)
		return GRID_END + 1;
	return (int)i;
}

/* The edges of a histogram of version 1 ({"edges":[n + 1],"counts":[n]}), all a whole part of an octave apart, on the grid.
 * *n is the number of bins. ERR_FORMAT: they are not. */
static int read_edges(int *first, int *step, int *n, const cJSON *counted)
{
	const cJSON *edges = cJSON_GetObjectItem(counted, "edges"), *edge;
	int i = 0, last = 0;

	*n = cJSON_GetArraySize(cJSON_GetObjectItem(counted, "counts"));
	*first = 0;
	*step = GRID_PER_OCTAVE / 2;
	if (cJSON_GetArraySize(edges) != (*n ? *n + 1 : 0))
		return ERR_FORMAT;
	cJSON_ArrayForEach(edge, edges)
	{
		int at = cJSON_IsNumber(edge) ? grid_at(edge->valuedouble) : GRID_END + 1;

		if (at > GRID_END)
			return ERR_FORMAT;
		if (i == 0)
			*first = at;
		if (i == 1)
			*step = at - *first;
		if (i >= 1 && (at - last != *step || *step < 1 || GRID_PER_OCTAVE % *step != 0))
			return ERR_FORMAT;
		last = at;
		i++;
	}
	return *first % *step == 0 ? 0 : ERR_FORMAT;
}

/* histogram_from_1(json), and with a payload grid_from_1(json): edges as numbers of the grid. */
static void histogram_from_1(sqlite3_context *out, int n_args, sqlite3_value **args)
{
	const char *json = (const char *)sqlite3_value_text(args[0]);
	cJSON *counted = NULL;
	int first, step, n, rc;
	text t;

	(void)n_args;
	text_init(&t, 1 << 16);
	rc = json ? json_parse(&counted, json, (size_t)sqlite3_value_bytes(args[0]), 1 << 16, 8, "histogram",
	                       NULL)
	          : ERR_FORMAT;
	if (rc == 0)
		rc = read_edges(&first, &step, &n, counted);
	if (rc == 0 && sqlite3_user_data(out)) {
		rc = text_adds(&t, "[");
		for (int i = 0; i <= n && rc == 0; i++)
			rc = text_addf(&t, "%s%d", i ? "," : "", first + i * step);
		rc = rc ? rc : text_adds(&t, "]");
	} else if (rc == 0) {
		char *counts = json_print(cJSON_GetObjectItem(counted, "counts"));

		rc = counts ? text_addf(&t, "{\"per_octave\":%d,\"first\":%d,\"counts\":%s}",
		                        GRID_PER_OCTAVE / step, first / step, counts)
		            : ERR_NOMEM;
		free(counts);
	}
	if (rc == 0)
		sqlite3_result_text(out, t.data, (int)t.len, SQLITE_TRANSIENT);
	else if (rc == ERR_NOMEM)
		sqlite3_result_error_nomem(out);
	else
		sqlite3_result_error(out, "the histogram of a feature is corrupt", -1);
	text_free(&t);
	cJSON_Delete(counted);
}

static int add_functions(store *s, error *err)
{
	static char grid_too;
	const struct {
		const char *name;
		int n_args;
		void *payload;
		void (*call)(sqlite3_context *out, int n_args, sqlite3_value **args);
	} functions[] = { { "float_bits", 1, NULL, float_bits },
		          { "codes_from_1", 3, NULL, codes_from_1 },
		          { "histogram_from_1", 1, NULL, histogram_from_1 },
		          { "grid_from_1", 1, &grid_too, histogram_from_1 } };
	int code = SQLITE_OK;

	for (size_t i = 0; i < ARRAY_LEN(functions) && code == SQLITE_OK; i++)
		code = sqlite3_create_function_v2(s->db, functions[i].name, functions[i].n_args,
		                                  SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY,
		                                  functions[i].payload, functions[i].call, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : store_error(s, code, "bring it up to date", err);
}

/* ---- One step ---- */

/* Whether there are rows to carry over. */
static int has_rows(bool *has, store *s, int64_t version, error *err)
{
	int64_t n = 0;
	int rc = version > 0 ? store_int(&n, s, "SELECT count(*) FROM source", 0, err) : 0;

	*has = n > 0;
	return rc;
}

bool store_migrate_has(const char *sql)
{
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		if (sql && strstr(steps[i].step, sql))
			return true;
	}
	return false;
}

static int run_step(store *s, int64_t version, error *err)
{
	bool rows;
	int rc = has_rows(&rows, s, version, err);

	if (rc == 0 && rows && steps[version].before) {
		rc = add_functions(s, err);
		if (rc == 0)
			rc = store_exec(s, steps[version].before, err);
	}
	if (rc == 0)
		rc = store_exec(s, steps[version].step, err);
	if (rc == 0 && rows && steps[version].after)
		rc = store_exec(s, steps[version].after, err);
	return rc;
}

static int one_step(store *s, error *err)
{
	char pragma[128];
	int64_t version;
	int rc = store_begin(s, err);

	if (rc < 0)
		return rc;
	rc = store_int(&version, s, "PRAGMA user_version", 0, err);
	if (rc == 0 && version < STORE_VERSION) {
		rc = run_step(s, version, err);
		snprintf(pragma, sizeof(pragma), "PRAGMA application_id=%d; PRAGMA user_version=%lld;",
		         STORE_APPLICATION_ID, (long long)version + 1);
		if (rc == 0)
			rc = store_exec(s, pragma, err);
	}
	return store_end(s, rc, err);
}

/* A table that is made anew is dropped while others refer to it; what a step leaves refers to nothing that is not there. */
int store_migrate_step(store *s, error *err)
{
	int rc = store_exec(s, "PRAGMA foreign_keys=OFF", err), on;

	if (rc == 0)
		rc = one_step(s, err);
	on = store_exec(s, "PRAGMA foreign_keys=ON", rc == 0 ? err : NULL);
	return rc < 0 ? rc : on;
}
