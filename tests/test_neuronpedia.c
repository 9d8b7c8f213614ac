/* Neuronpedia's layout, out and in again: what the files say is what the store says, and hostile ones add nothing. */
#include "store/json_row.h"
#include "store/query_internal.h"
#include "tests/support.h"
#include "tests/support_store.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

static char folder[FILE_PATH_MAX], to[FILE_PATH_MAX];
static error err;

static void setup(void)
{
	err = (error){ 0 };
	support_mkdir(folder);
	ck_assert_int_eq(file_join(to, folder, "np", &err), 0);
}

static void teardown(void)
{
	support_rmdir(folder);
}

static int64_t number(store *s, const char *sql)
{
	int64_t n = -1;

	ck_assert_msg(store_int(&n, s, sql, -1, &err) == 0, "%s", err.msg);
	return n;
}

#define SOURCE "v1/tiny/1-small/"

/* The next row of an open file; NULL at its end. */
static cJSON *next_row(line_reader *r)
{
	const char *line;
	cJSON *row = NULL;
	size_t len;
	bool more;

	ck_assert_msg(line_reader_next(r, &line, &len, &more, &err) == 0, "%s", err.msg);
	if (more)
		ck_assert_msg(json_parse(&row, line, len, 1 << 24, 8, "row", &err) == 0, "%s", err.msg);
	return row;
}

static line_reader *open_rows(const char *name)
{
	line_reader *r = NULL;
	char path[FILE_PATH_MAX];

	ck_assert_int_eq(file_join(path, to, name, &err), 0);
	ck_assert_msg(line_reader_open(&r, path, 1 << 24, &err) == 0, "%s", err.msg);
	return r;
}

static const char *string(const cJSON *row, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItem(row, name));
}

static double real(const cJSON *row, const char *name)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItem(row, name));
}

static store_neuronpedia_opts options(void)
{
	return (store_neuronpedia_opts){ .n_top = 1000, .n_samples = 1000 };
}

/* ---- Out ---- */

/* A column of a view against a member: text that is JSON as JSON, other as it is. */
static void check_member(const cJSON *row, sqlite3_stmt *st, int i)
{
	const char *name = sqlite3_column_name(st, i), *chars = (const char *)sqlite3_column_text(st, i);
	const cJSON *member = cJSON_GetObjectItem(row, name);
	cJSON *want = NULL;

	ck_assert_msg(member != NULL, "no %s", name);
	if (!chars) {
		ck_assert_msg(cJSON_IsNull(member), "%s", name);
	} else if (cJSON_IsArray(member)) {
		ck_assert_int_eq(json_parse(&want, chars, strlen(chars), 1 << 20, 4, name, &err), 0);
		ck_assert_msg(cJSON_Compare(want, member, 1), "%s is not %s", name, chars);
		cJSON_Delete(want);
	} else if (cJSON_IsString(member)) {
		ck_assert_str_eq(member->valuestring, chars);
	} else {
		ck_assert_msg(cJSON_IsNumber(member) && member->valuedouble == sqlite3_column_double(st, i),
		              "%s", name);
	}
}

/* All rows of a file against those of a view of the store, made without this code. */
static void check_rows(store *s, const char *file, const char *sql)
{
	line_reader *r = open_rows(file);
	sqlite3_stmt *st = NULL;
	bool more = true;
	cJSON *row;

	ck_assert_msg(store_prepare(&st, s, sql, &err) == 0, "%s", err.msg);
	while (store_step(s, st, &more, &err) == 0 && more) {
		row = next_row(r);
		ck_assert_ptr_nonnull(row);
		for (int i = 0; i < sqlite3_column_count(st); i++)
			check_member(row, st, i);
		ck_assert_str_eq(string(row, "layer"), "1-small");
		cJSON_Delete(row);
	}
	ck_assert_int_eq(more, false);
	ck_assert_ptr_null(next_row(r));
	sqlite3_finalize(st);
	line_reader_close(r);
}

START_TEST(files_say_what_the_views_say)
{
	store *s = small_store_open(STORE_WRITE);
	store_neuronpedia_opts o = options();
	store_export_result r = { 0 };

	ck_assert_int_eq(store_exec(s, "UPDATE source SET model = 'org/Tiny', layer = 1", &err), 0);
	ck_assert_msg(store_export_neuronpedia(&r, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	check_rows(s, SOURCE "features/batch-0.jsonl.gz",
	           "SELECT \"index\", hookName, maxActApprox, frac_nonzero, pos_str, pos_values, neg_str,"
	           " neg_values, topkCosSimIndices, topkCosSimValues, correlated_features_indices,"
	           " logits_hist_data_bar_heights, createdAt FROM np_neuron ORDER BY feature");
	check_rows(s, SOURCE "activations/batch-0.jsonl.gz",
	           "SELECT \"index\", tokens, \"values\", maxValue, maxValueTokenIndex, minValue, binMin, "
	           "binMax,"
	           " binContains, qualifyingTokenIndex, dataSource FROM np_activation"
	           " JOIN (SELECT source_id || '/' || feature || '/' || bin || '/' || rank AS at, bin, rank"
	           "  FROM example) ON at = id ORDER BY feature, bin, rank");
	check_rows(s, SOURCE "explanations/batch-0.jsonl.gz",
	           "SELECT \"index\", description, notes, typeName, explanationModelName, createdAt"
	           " FROM np_explanation ORDER BY feature, CAST(id AS INTEGER)");
	ck_assert_uint_eq(r.n_files, 13);
	store_close(s);
}
END_TEST

/* maxValue is the largest of `values` as text too, to whoever reads both as doubles. */
START_TEST(floats_are_written_alike_everywhere)
{
	const float value = 4.0029593f;
	json_row r;

	json_row_init(&r);
	json_row_begin(&r);
	json_row_float(&r, "maxValue", value);
	json_row_open(&r, "values");
	json_row_add_float(&r, value);
	json_row_close(&r);
	ck_assert_int_eq(json_row_end(&r, &err), 0);
	ck_assert_str_eq(r.line.data, "{\"maxValue\":4.0029593,\"values\":[4.0029593]}\n");
	json_row_free(&r);
}
END_TEST

/* Each feature's bars add up to what its histogram counts; the values ascend up to the maximum. */
START_TEST(histograms_keep_their_counts)
{
	store *s = small_store_open(STORE_WRITE);
	store_neuronpedia_opts o = options();
	line_reader *r;
	cJSON *row;

	ck_assert_int_eq(store_exec(s, "UPDATE source SET model = 'tiny', layer = 1", &err), 0);
	ck_assert_msg(store_export_neuronpedia(NULL, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	r = open_rows(SOURCE "features/batch-0.jsonl.gz");
	while ((row = next_row(r)) != NULL) {
		const cJSON *bar, *heights = cJSON_GetObjectItem(row, "freq_hist_data_bar_heights");
		double sum = 0, last = 0;
		char sql[200];

		cJSON_ArrayForEach(bar, heights) sum += bar->valuedouble;
		cJSON_ArrayForEach(bar, cJSON_GetObjectItem(row, "freq_hist_data_bar_values"))
		{
			ck_assert_double_gt(bar->valuedouble, last - 1e-12);
			last = bar->valuedouble;
		}
		ck_assert_double_le(last, real(row, "maxActApprox"));
		snprintf(sql, sizeof(sql),
		         "SELECT ifnull(sum(count), 0) FROM feature_histogram WHERE feature = %s",
		         string(row, "index"));
		ck_assert_double_eq(sum, (double)number(s, sql));
		ck_assert_int_eq(cJSON_GetArraySize(heights), real(row, "maxActApprox") > 0 ? 50 : 0);
		cJSON_Delete(row);
	}
	line_reader_close(r);
	store_close(s);
}
END_TEST

START_TEST(refuses_names_strangers_and_stops)
{
	static const char *const bad[] = { "", "..", "a/b", "-x", "\xc3\xa9", "a b" };
	store *s = small_store_open(STORE_WRITE);
	store_neuronpedia_opts o = options();

	ck_assert_int_eq(store_exec(s, "UPDATE source SET model = NULL", &err), 0);
	ck_assert_int_eq(store_export_neuronpedia(NULL, s, to, &o, NULL, &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "--model-id"));
	o.model_id = "m";
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		o.source_id = bad[i];
		ck_assert_int_eq(store_export_neuronpedia(NULL, s, to, &o, NULL, &err), ERR_ARG);
	}
	o.source_id = "1-x";
	ck_assert_msg(store_export_neuronpedia(NULL, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(store_export_neuronpedia(NULL, s, to, &o, NULL, &err), ERR_EXISTS);
	o.force = true;
	ck_assert_msg(store_export_neuronpedia(NULL, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	o.stop.asked = support_stop;
	ck_assert_int_eq(store_export_neuronpedia(NULL, s, to, &o, NULL, &err), ERR_STOPPED);
	o.stop.asked = NULL;
	support_put_text(support_path(to, "v1/letter.txt"), "dear");
	ck_assert_int_eq(store_export_neuronpedia(NULL, s, to, &o, NULL, &err), ERR_EXISTS);
	ck_assert_ptr_nonnull(strstr(err.msg, "letter.txt"));
	ck_assert_int_eq(support_entries(folder), 1);
	store_close(s);
}
END_TEST

START_TEST(failures_leave_nothing)
{
	static const int codes[] = {
		[FAULT_ALLOC] = ERR_NOMEM, [FAULT_WRITE] = ERR_IO, [FAULT_SYNC] = ERR_IO
	};
	store *s = small_store_open(STORE_READ);
	store_neuronpedia_opts o = { .n_top = 1, .model_id = "m" };

	for (long n = 0;; n += 1 + n / (_i == FAULT_ALLOC ? 1 : 4)) {
		int rc;

		fault_arm((fault_kind)_i, n);
		rc = store_export_neuronpedia(NULL, s, to, &o, NULL, &err);
		if (!fault_disarm((fault_kind)_i)) {
			ck_assert_msg(rc == 0, "%s", err.msg);
			break;
		}
		if (rc == 0) { /* SQLite does without some caches */
			o.force = true;
			continue;
		}
		ck_assert_msg(rc == codes[_i], "%ld: %d %s", n, rc, err.msg);
		ck_assert_int_eq(support_entries(folder), o.force);
	}
	store_close(s);
}
END_TEST

/* ---- In ---- */

static int import(store *s, const char *path, store_import_result *r)
{
	static const store_stop never;

	return store_import_neuronpedia(r, s, NULL, &path, 1, &never, NULL, &err);
}

static char *labels(store *s)
{
	cJSON *page = NULL;
	char *out;

	ck_assert_int_eq(store_sql(&page, s,
	                           "SELECT feature, text, method, model, rule, created FROM explanation"
	                           " WHERE withdrawn IS NULL ORDER BY feature, id",
	                           1000, 10, &err),
	                 0);
	out = json_print(page);
	cJSON_Delete(page);
	return out;
}

/* Out, and into a copy without labels: the same ones; once more: none. */
START_TEST(labels_come_back)
{
	store *s = small_store_open(STORE_WRITE);
	store_neuronpedia_opts o = options();
	store_import_result r = { 0 };
	char *before, *after, path[FILE_PATH_MAX];

	o.model_id = "tiny";
	o.source_id = "1-small";
	ck_assert_int_eq(store_exec(s,
	                            "INSERT INTO explanation(source_id, feature, text, method, model, rule,"
	                            " created) VALUES (1, 7, 'a \"(\"' || char(10) || '\\', 'lexical', NULL,"
	                            " '{\"kind\":\"token\"}', '2025-01-01T00:00:00Z'),"
	                            " (1, 7, 'paren', 'person', NULL, NULL, '2025-01-01T00:00:00Z')",
	                            &err),
	                 0);
	before = labels(s);
	ck_assert_msg(store_export_neuronpedia(NULL, s, to, &o, NULL, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(file_join(path, to, SOURCE "explanations/batch-0.jsonl.gz", &err), 0);
	ck_assert_msg(import(s, path, &r) == 0, "%s", err.msg);
	ck_assert_uint_eq(r.n_added, 0);
	ck_assert_uint_eq(r.n_known, (uint64_t)number(s, "SELECT count(*) FROM explanation"));
	ck_assert_int_eq(store_exec(s, "DELETE FROM score; DELETE FROM explanation", &err), 0);
	ck_assert_msg(import(s, path, &r) == 0, "%s", err.msg);
	ck_assert_uint_gt(r.n_added, 2);
	after = labels(s);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	store_close(s);
}
END_TEST

/* As the exports of Neuronpedia's database and of SAEDashboard have them. */
START_TEST(reads_both_kinds_of_rows)
{
	store *s = small_store_open(STORE_WRITE);
	store_import_result r = { 0 };
	const char *path = support_path(folder, "rows.jsonl");

	support_put_text(
	        path,
	        "{\"modelId\":\"m\",\"layer\":\"l\",\"index\":\"7\",\"description\":\"a\",\"embedding\":[0.1,"
	        "-2e-3],"
	        "\"typeName\":\"oai_token-act-pair\",\"explanationModelName\":\"gpt-4o-mini\","
	        "\"createdAt\":\"2024-05-01T12:34:56.789\",\"umap_x\":null}\r\n"
	        "\n"
	        "{\"modelId\":\"m\",\"layer\":\"l\",\"index\":1,\"description\":\"b\"}\n"
	        "{\"modelId\":\"m\",\"layer\":\"l\",\"index\":1,\"description\":\"b\",\"typeName\":null}");
	ck_assert_msg(import(s, path, &r) == 0, "%s", err.msg);
	ck_assert_uint_eq(r.n_rows, 3);
	ck_assert_uint_eq(r.n_added, 2);
	ck_assert_int_eq(
	        number(s, "SELECT count(*) FROM explanation WHERE feature = 7 AND text = 'a' AND method ="
	                  " 'oai_token-act-pair' AND model = 'gpt-4o-mini' AND created ="
	                  " '2024-05-01T12:34:56Z'"),
	        1);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM label WHERE feature = 1 AND text = 'b' AND method ="
	                           " 'neuronpedia' AND model IS NULL"),
	                 1);
	ck_assert_msg(import(s, path, &r) == 0, "%s", err.msg);
	ck_assert_uint_eq(r.n_added, 0);
	store_close(s);
}
END_TEST

#define GOOD "{\"index\":\"1\",\"description\":\"good\"}\n"
static const struct {
	const char *row, *why;
	int code;
} wrong[] = {
	{ "{\"index\":\"8\",\"description\":\"x\"}", "has no feature 8, only 0 to 7", ERR_NOTFOUND },
	{ "{\"index\":\"1x\",\"description\":\"x\"}", "\"index\"", ERR_FORMAT },
	{ "{\"index\":-1,\"description\":\"x\"}", "\"index\"", ERR_FORMAT },
	{ "{\"index\":1.5,\"description\":\"x\"}", "\"index\"", ERR_FORMAT },
	{ "{\"index\":\"99999999999999999999\",\"description\":\"x\"}", "\"index\"", ERR_FORMAT },
	{ "{\"description\":\"x\"}", "\"index\"", ERR_FORMAT },
	{ "{\"index\":1}", "description", ERR_FORMAT },
	{ "{\"index\":1,\"description\":\" \"}", "description", ERR_FORMAT },
	{ "{\"index\":1,\"description\":[1]}", "description", ERR_FORMAT },
	{ "{\"index\":1,\"description\":\"x\",\"typeName\":3}", "typeName", ERR_FORMAT },
	{ "{\"index\":1,\"description\":\"x\",\"createdAt\":\"yesterday\"}", "createdAt", ERR_FORMAT },
	{ "{\"index\":1,\"description\":\"x\",\"createdAt\":\"2024-05-01T12:34:56+02:00\"}", "UTC",
	  ERR_FORMAT },
	{ "{\"index\":1,\"description\":\"x\",\"layer\":\"2\"}", "layer '2'", ERR_ARG },
	{ "[1]", "no JSON object", ERR_FORMAT },
	{ "{\"index\":1,\"description\":\"x\"", "the line", ERR_FORMAT },
	{ "{\"index\":1,\"description\":\"\xff\"}", "UTF-8", ERR_FORMAT },
	{ "[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "16", ERR_LIMIT },
	{ "{\"index\":1,\"index\":2,\"description\":\"x\"}", "index", ERR_FORMAT },
};

/* One line that names file and line, and none of the good ones before it is there. */
START_TEST(wrong_rows_add_nothing)
{
	store *s = small_store_open(STORE_WRITE);
	store_import_result r = { 0 };
	int64_t before = number(s, "SELECT count(*) FROM explanation");
	char rows[512];
	const char *path = support_path(folder, "rows.jsonl");

	snprintf(rows, sizeof(rows), GOOD "%s\n" GOOD, wrong[_i].row);
	support_put_text(path, rows);
	ck_assert_msg(import(s, path, &r) == wrong[_i].code, "%d %s", err.code, err.msg);
	ck_assert_msg(strstr(err.msg, "rows.jsonl', line 2: ") && strstr(err.msg, wrong[_i].why), "%s",
	              err.msg);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM explanation"), before);
	store_close(s);
}
END_TEST

/* gzip data of `n` bytes. */
static size_t pack(unsigned char *out, size_t cap, const void *bytes, size_t n)
{
	z_stream z = { .next_in = (unsigned char *)bytes,
		       .avail_in = (uInt)n,
		       .next_out = out,
		       .avail_out = (uInt)cap };

	ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return cap - z.avail_out;
}

static void check_refused(store *s, const unsigned char *bytes, size_t n, int code, const char *why)
{
	store_import_result r = { 0 };
	const char *path = support_path(folder, "rows.jsonl.gz");
	int64_t before = number(s, "SELECT count(*) FROM explanation");

	ck_assert_int_eq(file_write(path, bytes, n, &err), 0);
	ck_assert_msg(import(s, path, &r) == code, "%d %s", err.code, err.msg);
	ck_assert_msg(strstr(err.msg, "rows.jsonl.gz', line ") && strstr(err.msg, why), "%s", err.msg);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM explanation"), before);
}

START_TEST(hostile_gzip_adds_nothing)
{
	store *s = small_store_open(STORE_WRITE);
	unsigned char packed[1 << 16];
	char *bomb = calloc(1, 32 << 20);
	store_import_result r = { 0 };
	const char *path = support_path(folder, "two.jsonl.gz");
	size_t n, other;

	memcpy(bomb, GOOD, strlen(GOOD)); /* then 32 MB without an end of line, in 32 kB */
	memset(bomb + strlen(GOOD), ' ', (32u << 20) - strlen(GOOD));
	n = pack(packed, sizeof(packed), bomb, 32 << 20);
	check_refused(s, packed, n, ERR_LIMIT, "line 2: over the limit of 4194304 bytes");
	free(bomb);
	n = pack(packed, sizeof(packed), GOOD GOOD, strlen(GOOD GOOD));
	for (size_t cut = 2; cut < n; cut++)
		check_refused(s, packed, cut, ERR_FORMAT, "cut off");
	packed[n - 6] ^= 1; /* its sum */
	check_refused(s, packed, n, ERR_FORMAT, "broken");
	packed[n - 6] ^= 1;
	packed[n] = 'x';
	check_refused(s, packed, n + 1, ERR_FORMAT, "cut off");
	packed[n + 1] = 'y';
	check_refused(s, packed, n + 2, ERR_FORMAT, "broken");
	/* several members are one file */
	other = pack(packed + n, sizeof(packed) - n, "{\"index\":2,\"description\":\"more\"}", 32);
	ck_assert_int_eq(file_write(path, packed, n + other, &err), 0);
	ck_assert_msg(import(s, path, &r) == 0, "%s", err.msg);
	ck_assert_uint_eq(r.n_rows, 3);
	ck_assert_uint_eq(r.n_added, 2);
	store_close(s);
}
END_TEST

/* No memory, a disk that fails, a signal: nothing is added. */
START_TEST(failed_imports_add_nothing)
{
	store *s = small_store_open(STORE_WRITE);
	store_import_result r = { 0 };
	const store_stop stop = { .asked = support_stop };
	const char *path = support_path(folder, "rows.jsonl");
	int64_t before = number(s, "SELECT count(*) FROM explanation");

	support_put_text(path, GOOD GOOD);
	ck_assert_int_eq(store_import_neuronpedia(&r, s, NULL, &path, 1, &stop, NULL, &err), ERR_STOPPED);
	ck_assert_int_eq(number(s, "SELECT count(*) FROM explanation"), before);
	for (long n = 0;; n++) {
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = import(s, path, &r);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_msg(rc == 0, "%s", err.msg);
			break;
		}
		if (rc == 0) {
			before = number(s, "SELECT count(*) FROM explanation");
			continue;
		}
		ck_assert_msg(rc == ERR_NOMEM, "%ld: %d %s", n, rc, err.msg);
		ck_assert_int_eq(number(s, "SELECT count(*) FROM explanation"), before);
	}
	store_close(s);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = SUPPORT_CASE(
	        suite, "neuronpedia", files_say_what_the_views_say, floats_are_written_alike_everywhere,
	        histograms_keep_their_counts, refuses_names_strangers_and_stops, labels_come_back,
	        reads_both_kinds_of_rows, hostile_gzip_adds_nothing, failed_imports_add_nothing);

	tcase_add_unchecked_fixture(tc, small_store_prepare, small_store_remove);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, wrong_rows_add_nothing, 0, (int)ARRAY_LEN(wrong));
	tcase_add_loop_test(tc, failures_leave_nothing, FAULT_ALLOC, FAULT_ALLOC + 1);
	tcase_add_loop_test(tc, failures_leave_nothing, FAULT_WRITE, FAULT_SYNC + 1);
}
SUPPORT_MAIN("neuronpedia", cases)
