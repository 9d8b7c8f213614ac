/* gloss export --to gguf and --to openai-viewer: files read back by a parser of the test's own. */
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_store.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

static char folder[FILE_PATH_MAX], to[FILE_PATH_MAX];
static error err;

static void setup(void)
{
	err = (error){ 0 };
	support_mkdir(folder);
	ck_assert_int_eq(file_join(to, folder, "out", &err), 0);
}

static void teardown(void)
{
	support_rmdir(folder);
}

/* A copy of the small store with a layer and decoder rows of 4 halves: feature f has (f + 1), -0.5, 0, 2. */
static store *open_store(void)
{
	store *s = small_store_open(STORE_WRITE);
	sqlite3_stmt *st = NULL;

	ck_assert_int_eq(
	        store_exec(s,
	                   "UPDATE source SET layer = 3, d_in = 4, hook_point = 'blocks.3.hook_resid_post';"
	                   "DELETE FROM vector",
	                   &err),
	        0);
	ck_assert_int_eq(store_prepare(&st, s, "INSERT INTO vector VALUES (1, ?1, ?2)", &err), 0);
	for (uint32_t f = 0; f < SMALL_FEATURES; f++) {
		uint16_t row[4] = { store_half_from_float((float)f + 1), store_half_from_float(-0.5f), 0,
			            store_half_from_float(2) };

		ck_assert_int_eq(store_bind(s, st, &err, "ib", (int64_t)f, row, sizeof(row)), 0);
		ck_assert_int_eq(store_run(s, st, &err), 0);
	}
	sqlite3_finalize(st);
	return s;
}

/* ---- GGUF ---- */

typedef struct parsed {
	const unsigned char *bytes, *p;
	size_t n;
} parsed;

static uint64_t take(parsed *g, int n)
{
	uint64_t v = 0;

	ck_assert_uint_le((size_t)(g->p - g->bytes) + (size_t)n, g->n);
	for (int i = 0; i < n; i++)
		v |= (uint64_t)*g->p++ << 8 * i;
	return v;
}

static void take_string(parsed *g, const char *want)
{
	uint64_t n = take(g, 8);

	ck_assert_uint_eq(n, strlen(want));
	ck_assert_int_eq(memcmp(g->p, want, n), 0);
	g->p += n;
}

/* What llama.cpp's loader needs, byte by byte. */
static void check_gguf(const char *path, const char *hint, const char *tensor, const float want[4])
{
	parsed g;
	char *data = NULL;

	ck_assert_msg(file_read(&data, &g.n, path, 1 << 20, &err) == 0, "%s", err.msg);
	g.bytes = g.p = (const unsigned char *)data;
	ck_assert_int_eq(memcmp(data, "GGUF", 4), 0);
	g.p += 4;
	ck_assert_uint_eq(take(&g, 4), 3);
	ck_assert_uint_eq(take(&g, 8), 1);
	ck_assert_uint_eq(take(&g, 8), hint ? 3 : 2);
	take_string(&g, "general.architecture");
	ck_assert_uint_eq(take(&g, 4), 8);
	take_string(&g, "controlvector");
	if (hint) {
		take_string(&g, "controlvector.model_hint");
		ck_assert_uint_eq(take(&g, 4), 8);
		take_string(&g, hint);
	}
	take_string(&g, "controlvector.layer_count");
	ck_assert_uint_eq(take(&g, 4), 5);
	ck_assert_uint_eq(take(&g, 4), 1);
	take_string(&g, tensor);
	ck_assert_uint_eq(take(&g, 4), 1);
	ck_assert_uint_eq(take(&g, 8), 4);
	ck_assert_uint_eq(take(&g, 4), 0);
	ck_assert_uint_eq(take(&g, 8), 0);
	while ((g.p - g.bytes) % 32)
		ck_assert_uint_eq(take(&g, 1), 0);
	for (int i = 0; i < 4; i++) {
		uint32_t bits = (uint32_t)take(&g, 4);
		float value;

		memcpy(&value, &bits, sizeof(value));
		ck_assert_float_eq(value, want[i]);
	}
	while (g.p < g.bytes + g.n)
		ck_assert_uint_eq(take(&g, 1), 0);
	ck_assert_uint_eq(g.n % 32, 0);
	free(data);
}

START_TEST(control_vector_reads_back)
{
	store *s = open_store();
	static const uint32_t features[] = { 1, SMALL_ON_CAT };
	static const store_gguf_alpha alphas[] = { { 3, false }, { -2, true } };
	store_gguf_opts o = { .features = features, .alphas = alphas, .n = 1, .layer = -1 };
	float two[4];
	double most = 2.96875; /* of SMALL_ON_CAT */

	ck_assert_msg(store_export_gguf(NULL, s, to, &o, &err) == 0, "%s", err.msg);
	check_gguf(to, NULL, "direction.3", (const float[]){ 6, -1.5f, 0, 6 });
	ck_assert_int_eq(store_export_gguf(NULL, s, to, &o, &err), ERR_EXISTS);
	o.force = true;
	o.n = 2;
	o.layer = 12;
	o.model_hint = "llama";
	two[0] = (float)(6 - 2 * most);
	two[1] = (float)(-1.5 + 2 * most * 0.5);
	two[2] = 0;
	two[3] = (float)(6 - 2 * most * 2);
	ck_assert_msg(store_export_gguf(NULL, s, to, &o, &err) == 0, "%s", err.msg);
	check_gguf(to, "llama", "direction.12", two);
	o.layer = -1;
	ck_assert_int_eq(store_exec(s, "UPDATE source SET hook_point = 'blocks.3.hook_resid_pre'", &err), 0);
	ck_assert_msg(store_export_gguf(NULL, s, to, &o, &err) == 0, "%s", err.msg);
	check_gguf(to, "llama", "direction.2", two);
	store_close(s);
}
END_TEST

static const struct {
	const char *sql, *why;
	int code;
} refused[] = {
	{ "UPDATE source SET layer = 0", "layer 0", ERR_ARG },
	{ "UPDATE source SET layer = NULL", "--layer", ERR_ARG },
	{ "UPDATE source SET hook_point = 'blocks.3.attn.hook_z'", "residual", ERR_ARG },
	{ "DELETE FROM vector", "no decoder row of feature 1", ERR_NOTFOUND },
	{ "UPDATE vector SET decoder = x'00000000' WHERE feature = 1", "has 4 bytes, not 8", ERR_FORMAT },
	{ "UPDATE vector SET decoder = x'007e000000000000' WHERE feature = 1", "not finite at 0",
	  ERR_FORMAT },
	{ "UPDATE vector SET decoder = x'0000000000000000' WHERE feature = 1", "zero", ERR_ARG },
	{ "UPDATE feature SET max_act = 1e300", "alpha is too large", ERR_ARG },
};

START_TEST(what_cannot_steer_is_refused)
{
	store *s = open_store();
	static const uint32_t feature = 1;
	static const store_gguf_alpha alpha = { 1e30, true };
	store_gguf_opts o = { .features = &feature, .alphas = &alpha, .n = 1, .layer = -1 };

	ck_assert_int_eq(store_exec(s, refused[_i].sql, &err), 0);
	ck_assert_int_eq(store_export_gguf(NULL, s, to, &o, &err), refused[_i].code);
	ck_assert_msg(strstr(err.msg, refused[_i].why), "%s", err.msg);
	ck_assert(!file_exists(to));
	store_close(s);
}
END_TEST

/* ---- The viewer ---- */

static double real(const cJSON *row, const char *name)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItem(row, name));
}

static cJSON *read_atom(uint32_t feature)
{
	char name[FILE_PATH_MAX], path[FILE_PATH_MAX];
	cJSON *atom = NULL;

	snprintf(name, sizeof(name), "atoms/%u.json", feature);
	ck_assert_int_eq(file_join(path, to, name, &err), 0);
	ck_assert_msg(json_read_file(&atom, path, 1 << 24, &err) == 0, "%s", err.msg);
	return atom;
}

static void check_sequence(const cJSON *sequence, bool most)
{
	const cJSON *acts = cJSON_GetObjectItem(sequence, "acts"), *act;
	int n = cJSON_GetArraySize(acts), idx = (int)real(sequence, "idx");

	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(sequence, "tokens")), n);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(sequence, "token_ints")), n);
	ck_assert_double_eq(cJSON_GetArrayItem(acts, idx)->valuedouble, real(sequence, "act"));
	ck_assert_double_gt(real(sequence, "act"), 0);
	cJSON_ArrayForEach(act, acts) ck_assert(!most || act->valuedouble <= real(sequence, "act"));
}

START_TEST(viewer_reads_each_feature)
{
	store *s = small_store_open(STORE_READ);
	store_viewer_opts o = { .n_top = 3, .n_random = 2 };
	store_export_result r = { 0 };

	ck_assert_msg(store_export_viewer(&r, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(r.n_files, SMALL_FEATURES);
	for (uint32_t f = 0; f < SMALL_FEATURES; f++) {
		cJSON *atom = read_atom(f);
		const cJSON *item, *top = cJSON_GetObjectItem(atom, "top");
		const cJSON *random = cJSON_GetObjectItem(atom, "random");
		double sum = 0;
		char sql[200];
		int64_t count = 0;

		snprintf(sql, sizeof(sql),
		         "SELECT ifnull(sum(count), 0) FROM feature_histogram WHERE feature = %u", f);
		ck_assert_int_eq(store_int(&count, s, sql, 0, &err), 0);
		cJSON_ArrayForEach(item, cJSON_GetObjectItem(atom, "hist")) sum += item->valuedouble;
		ck_assert_double_eq(sum, (double)count);
		ck_assert_int_eq(cJSON_GetArraySize(top), f == SMALL_DEAD ? 0 : 3);
		ck_assert_int_eq(cJSON_GetArraySize(random), f == SMALL_DEAD ? 0 : 2);
		cJSON_ArrayForEach(item, top) check_sequence(item, true);
		cJSON_ArrayForEach(item, random) check_sequence(item, false);
		ck_assert(f == SMALL_DEAD || real(atom, "mean_act_squared") > 0);
		cJSON_Delete(atom);
	}
	store_close(s);
}
END_TEST

/* The moments are about zero and over all tokens: of a feature that is 0.5 on every one they are known. */
START_TEST(viewer_moments_are_of_all_tokens)
{
	store *s = small_store_open(STORE_READ);
	store_viewer_opts o = { .n_top = 1, .n_random = 1 };
	cJSON *atom;

	ck_assert_msg(store_export_viewer(NULL, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	atom = read_atom(SMALL_DENSE);
	ck_assert_double_eq(real(atom, "density"), 1);
	ck_assert_double_eq_tol(real(atom, "mean_act"), 0.5, 1e-12);
	ck_assert_double_eq_tol(real(atom, "mean_act_squared"), 0.25, 1e-12);
	ck_assert_double_eq_tol(real(atom, "skew"), 1, 1e-12);
	ck_assert_double_eq_tol(real(atom, "kurtosis"), 1, 1e-12);
	cJSON_Delete(atom);
	store_close(s);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = SUPPORT_CASE(suite, "control_vector", control_vector_reads_back,
	                         viewer_reads_each_feature, viewer_moments_are_of_all_tokens);

	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_cannot_steer_is_refused, 0, (int)ARRAY_LEN(refused));
}
SUPPORT_MAIN("control_vector", cases)
