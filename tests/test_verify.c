/* gloss verify: a truthful store agrees with its contexts recomputed, and no single lie gets by. */
#include "tests/support_index.h"

#include <unistd.h>

enum { N = 40, PER_BATCH = 4 };
static int64_t ids[N];

static void all_ids(void)
{
	for (uint32_t i = 0; i < N; i++) {
		document_context c;

		corpus_context(&c, i);
		OK(store_context_id(&ids[i], corpus_tokenizer, c.document, c.tokens, c.n_tokens,
		                    &corpus_err));
	}
}

static store *setup(bool corpus)
{
	store_index_opts o = corpus_options("a");
	store *s;

	corpus_setup();
	all_ids();
	s = corpus_open();
	o.corpus = corpus;
	OK(corpus_index(s, &o, N, 0));
	OK(store_exec(s,
	              "UPDATE feature_detail SET top_logits = '[[1,0.5],[2,0.25]]',"
	              " logit_histogram = '{\"low\":-5,\"high\":2,\"counts\":[4,1,100]}'",
	              &corpus_err));
	return s;
}

/* As setup() says they are. */
static int give_logits(store_index *ix)
{
	static uint32_t tokens[FEATURES * 2];
	static float values[FEATURES * 2];
	int rc;

	for (uint32_t i = 0; i < FEATURES * 2; i++) {
		tokens[i] = 1 + i % 2;
		values[i] = i % 2 ? 0.25f : 0.5f;
	}
	rc = store_index_ranked(ix, 't', 2, tokens, values, &corpus_err);
	for (uint32_t f = 0; f < FEATURES && rc == 0; f++)
		rc = store_index_logits(ix, f, -5, 2, 3, (const uint32_t[]){ 4, 1, 100 }, &corpus_err);
	return rc;
}

static int feed(store_verify *v, store_index *ix)
{
	uint64_t n;
	const uint8_t *batches = store_verify_batches(v, &n);
	int rc = 0;

	for (uint32_t i = 0; i < N && rc == 0; i++) {
		document_context c;
		store_context view;

		if (!ix && !batches[i / PER_BATCH])
			continue;
		corpus_context(&c, i);
		view = corpus_view(&c);
		rc = ix ? store_index_context(ix, &view, &corpus_err)
		        : store_verify_context(v, &view, &corpus_err);
	}
	return rc;
}

/* n_checked 0: all. */
static int verify(cJSON **out, store *s, uint32_t n_checked, uint64_t seed)
{
	store_verify_opts o = { .contexts = ids,
		                .n = N,
		                .per_batch = PER_BATCH,
		                .n_checked = n_checked,
		                .seed = seed,
		                .most = 5 };
	store_verify *v = NULL;
	store_index *ix = NULL;
	int rc;

	rc = store_verify_begin(&v, s, &o, &corpus_err);
	if (rc == 0 && n_checked == 0)
		rc = store_verify_again(&ix, v, 0, &corpus_err);
	if (rc == 0 && ix)
		rc = corpus_give_rest(ix);
	if (rc == 0 && ix)
		rc = give_logits(ix);
	if (rc == 0)
		rc = feed(v, ix);
	if (rc == 0 && ix) {
		rc = store_verify_rows(v, ix, NULL, &corpus_err);
		ix = NULL;
	}
	if (rc == 0)
		rc = store_verify_report(out, v, &corpus_err);
	store_index_abort(ix);
	store_verify_free(v);
	return rc;
}

static double number(const cJSON *page, const char *name)
{
	const cJSON *item = cJSON_GetObjectItem(page, name);

	return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

/* Differences, the first of which is about `what` (NULL: none at all). */
static void expect(store *s, uint32_t n_checked, const char *what, const char *sql)
{
	cJSON *page = NULL;
	const cJSON *first;

	OK(verify(&page, s, n_checked, 1));
	first = cJSON_GetArrayItem(cJSON_GetObjectItem(page, "first"), 0);
	if (!what) {
		char *shown = cJSON_Print(page);

		ck_assert_msg(number(page, "differences") == 0, "after '%s': %s", sql, shown);
		free(shown);
	} else {
		ck_assert_msg(number(page, "differences") >= 1, "'%s' got by", sql);
		ck_assert_str_eq(cJSON_GetStringValue(cJSON_GetObjectItem(first, "what")), what);
	}
	cJSON_Delete(page);
}

/* ---- The truth ---- */

START_TEST(truth_agrees)
{
	store *s = setup(_i);
	cJSON *page = NULL;
	const cJSON *compared;

	for (uint64_t seed = 0; seed < 6; seed++) {
		OK(verify(&page, s, 2, seed));
		ck_assert(number(page, "differences") == 0);
		compared = cJSON_GetObjectItem(page, "compared");
		ck_assert(number(compared, "contexts") >= 2);
		ck_assert(number(compared, "examples") > 0);
		cJSON_Delete(page);
	}
	OK(verify(&page, s, N, 0));
	compared = cJSON_GetObjectItem(page, "compared");
	ck_assert(number(page, "differences") == 0);
	ck_assert(number(compared, "contexts") ==
	          (double)corpus_number(s, "SELECT count(*) FROM source_context"));
	ck_assert(number(compared, "contexts with all their codes") ==
	          (double)corpus_number(s, "SELECT count(*) FROM firing"));
	ck_assert(number(compared, "examples") == (double)corpus_number(s, "SELECT count(*) FROM example"));
	cJSON_Delete(page);
	OK(verify(&page, s, 0, 0));
	compared = cJSON_GetObjectItem(page, "compared");
	ck_assert(number(page, "differences") == 0);
	ck_assert(number(compared, "feature") == FEATURES);
	ck_assert(number(compared, "vector") == FEATURES);
	ck_assert(number(compared, "example") == (double)corpus_number(s, "SELECT count(*) FROM example"));
	cJSON_Delete(page);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- Lies ---- */

#define ONE_EXAMPLE "(feature, bin, rank) = (SELECT feature, bin, rank FROM example WHERE bin "
static const struct {
	const char *sql, *what;
	const char
	        *sampled; /* what is told where only contexts are compared; NULL: it cannot be seen there */
} lies[] = {
	{ "UPDATE feature SET n_fires = n_fires + 1 WHERE feature = 5", "feature.n_fires", NULL },
	{ "UPDATE feature SET n_contexts = 3 WHERE feature = 5", "feature.n_contexts", NULL },
	{ "UPDATE feature SET sum2 = sum2 * 1.00000000001 WHERE feature = 7", "feature.sum2", NULL },
	{ "UPDATE feature SET mean_act = mean_act + 1e-13 WHERE feature = 0", "feature.mean_act", NULL },
	{ "UPDATE feature SET kurtosis = NULL WHERE feature = 0", "feature.kurtosis", NULL },
	{ "UPDATE feature SET max_act = 99 WHERE feature = 4", "feature.max_act", NULL },
	{ "UPDATE feature SET top_token = 1 WHERE feature = 2", "feature.top_token", NULL },
	{ "UPDATE feature SET decoder_norm = 1 WHERE feature = 2", "feature.decoder_norm", NULL },
	{ "UPDATE feature_detail SET histogram = replace(histogram, '1', '2') WHERE feature = 4",
	  "feature_detail.histogram", NULL },
	{ "UPDATE feature_detail SET intervals = replace(intervals, '[', '[1,') WHERE feature = 4",
	  "feature_detail.intervals", NULL },
	{ "UPDATE feature_detail SET neighbours = '[[3,0.5],[4,0.25]]' WHERE feature = 4",
	  "feature_detail.neighbours", NULL },
	{ "UPDATE feature_detail SET neighbours = NULL WHERE feature = 4", "feature_detail.neighbours",
	  NULL },
	{ "UPDATE example SET activation_bits = activation_bits + 1 WHERE " ONE_EXAMPLE
	  "< 0 LIMIT 1 OFFSET 9)",
	  "example.activation_bits", "example.activation" },
	{ "UPDATE example SET activation_bits = activation_bits - 1 WHERE " ONE_EXAMPLE
	  ">= 0 LIMIT 1 OFFSET 50)",
	  "example.activation_bits", "example.activation" },
	{ "UPDATE example SET codes = CAST(x'01' || codes AS BLOB) WHERE " ONE_EXAMPLE
	  ">= 0 AND length(codes) > 0 LIMIT 1 OFFSET 7)",
	  "example.codes", "example.codes" },
	{ "UPDATE example SET position = position + 1 WHERE " ONE_EXAMPLE ">= 0 AND feature = 2 LIMIT 1)",
	  "example.position", "example" },
	{ "DELETE FROM example WHERE " ONE_EXAMPLE ">= 0 LIMIT 1 OFFSET 30)", "example", NULL },
	{ "UPDATE firing SET codes = CAST(substr(codes, 1, length(codes) - 2) || x'11' || substr(codes, -1) "
	  "AS BLOB)"
	  " WHERE rowid = (SELECT min(rowid) FROM firing)",
	  "firing.codes", "firing.codes" },
	{ "UPDATE firing SET counted = CAST(x'ff' || substr(counted, 2) AS BLOB)"
	  " WHERE rowid = (SELECT min(rowid) FROM firing)",
	  "firing.counted", "firing.counted" },
	{ "UPDATE firing SET sampled = 1 - sampled WHERE rowid = (SELECT min(rowid) FROM firing)",
	  "firing.sampled", NULL },
	{ "DELETE FROM firing WHERE rowid = (SELECT min(rowid) FROM firing)", "firing", "firing" },
	{ "UPDATE vector SET decoder = CAST(x'77' || substr(decoder, 2) AS BLOB) WHERE feature = 9",
	  "vector.decoder", NULL },
	{ "UPDATE source SET n_tokens = n_tokens + 1", "source.n_tokens", NULL },
	{ "UPDATE source SET n_contexts = 39", "source.n_contexts", "source.n_contexts" },
	{ "UPDATE context SET text = 'x' || substr(text, 2) WHERE id = (SELECT max(context_id) FROM firing)",
	  "context.text", "context.text" },
	{ "UPDATE context SET offsets = CAST(x'01' || substr(offsets, 2) AS BLOB) WHERE id = (SELECT "
	  "max(context_id) "
	  "FROM firing)",
	  "context.offsets", "context.offsets" },
	{ "INSERT INTO context SELECT 5, document_id, tokenizer_id, n_tokens, tokens, text, offsets FROM "
	  "context "
	  "LIMIT 1; INSERT INTO source_context VALUES (1, 5)",
	  "source_context", "source_context" },
	{ "UPDATE document SET part = CASE part WHEN 'label' THEN 'report' ELSE 'label' END WHERE key = 1000",
	  "document.part", NULL },
	{ "UPDATE document SET group_key = 777, part = 'select' WHERE key = 1000", "document.group_key",
	  NULL },
	{ "UPDATE grid SET edge = edge * 2 WHERE i = 0", "grid.edge", NULL },
	{ "UPDATE feature_detail SET top_logits = '[[3,0.5],[2,0.25]]' WHERE feature = 9",
	  "feature_detail.top_logits", NULL },
	{ "UPDATE feature_detail SET logit_histogram = '{\"low\":-5,\"high\":2,\"counts\":[4,4,97]}' WHERE "
	  "feature = 4",
	  "feature_detail.logit_histogram", NULL },
	{ "UPDATE feature_detail SET logit_histogram = '{\"low\":-5,\"high\":2.01,\"counts\":[4,1,100]}' "
	  "WHERE feature = 4",
	  "feature_detail.logit_histogram", NULL },
	{ "UPDATE feature_detail SET logit_histogram = '{\"low\":-5,\"high\":2,\"counts\":[4,1,101]}' WHERE "
	  "feature = 4",
	  "feature_detail.logit_histogram", NULL },
	{ "UPDATE feature_detail SET cofiring = replace(cofiring, '[[', '[[1') WHERE feature = 4",
	  "feature_detail.cofiring", NULL },
	/* Products rounded in another way are no lie. */
	{ "UPDATE feature_detail SET logit_histogram = '{\"low\":-5.00001,\"high\":2,\"counts\":[5,0,100]}' "
	  "WHERE feature = 4",
	  NULL, NULL },
	{ "UPDATE feature_detail SET top_logits = replace(top_logits, ']]', '0001]]') WHERE feature = 3",
	  NULL, NULL },
};

START_TEST(each_lie_is_caught)
{
	store *s = setup(true);

	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		int before = sqlite3_total_changes(s->db);

		OK(store_exec(s, "BEGIN", &corpus_err));
		OK(store_exec(s, lies[i].sql, &corpus_err));
		ck_assert_int_gt(sqlite3_total_changes(s->db), before);
		expect(s, 0, lies[i].what, lies[i].sql);
		expect(s, N, lies[i].sampled, lies[i].sql);
		OK(store_exec(s, "ROLLBACK", &corpus_err));
	}
	expect(s, 0, NULL, "all of them taken back");
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(words_are_compared)
{
	store *s = setup(false);
	store_verify_opts o = { .contexts = ids, .n = N, .per_batch = PER_BATCH, .most = 5 };
	const double wanted[] = { 0, 2, 1, 2 };
	uint32_t lengths[VOCAB];

	for (uint32_t i = 0; i < VOCAB; i++)
		lengths[i] = (uint32_t)strlen(corpus_words[i]);
	for (int lie = 0; lie < 4; lie++) {
		store_verify *v = NULL;
		cJSON *page = NULL;

		if (lie == 2)
			OK(store_exec(s, "UPDATE vocab SET text = 'cats' WHERE token = 1", &corpus_err));
		OK(store_verify_begin(&v, s, &o, &corpus_err));
		lengths[3] -= lie == 1;
		OK(store_verify_vocab(v, VOCAB - (lie == 3), corpus_words, lengths, &corpus_err));
		lengths[3] += lie == 1;
		OK(store_verify_report(&page, v, &corpus_err));
		ck_assert(number(page, "differences") == wanted[lie]);
		cJSON_Delete(page);
		store_verify_free(v);
		if (lie == 2)
			OK(store_exec(s, "UPDATE vocab SET text = 'cats ' WHERE token = 1", &corpus_err));
	}
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* Many differences are counted, the first described. */
START_TEST(many_lies)
{
	store *s = setup(false);
	cJSON *page = NULL;

	OK(store_exec(s, "UPDATE example SET activation_bits = activation_bits + 1", &corpus_err));
	OK(verify(&page, s, 0, 0));
	ck_assert(number(page, "differences") == (double)corpus_number(s, "SELECT count(*) FROM example"));
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(page, "first")), 5);
	cJSON_Delete(page);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(what_cannot_be_compared)
{
	store *s = setup(false);
	cJSON *page = NULL;

	OK(store_exec(s, "DELETE FROM vector", &corpus_err));
	OK(verify(&page, s, 0, 0));
	ck_assert(number(page, "differences") == 0);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(page, "not_compared")), 1);
	cJSON_Delete(page);
	OK(store_exec(s, "UPDATE source SET n_samples = 0", &corpus_err));
	ck_assert_int_eq(verify(&page, s, 0, 0), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "version 1"));
	OK(verify(&page, s, 3, 0));
	cJSON_Delete(page);
	OK(store_exec(s, "DELETE FROM vocab WHERE token = 3", &corpus_err));
	ck_assert_int_eq(verify(&page, s, 3, 0), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "vocabulary"));
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

/* No memory, at any place: an error, and no leak. */
START_TEST(no_memory)
{
	store *s = setup(false);
	cJSON *page = NULL;

	for (long nth = 0;; nth += 1 + nth / 20) {
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = verify(&page, s, _i ? 0 : 2, 1);
		if (!fault_disarm(FAULT_ALLOC)) {
			OK(rc);
			break;
		}
		if (rc == 0) { /* an allocation that can be done without */
			cJSON_Delete(page);
			page = NULL;
			continue;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(page);
	}
	cJSON_Delete(page);
	store_close(s);
	support_rmdir(corpus_folder);
}
END_TEST

static void cases(Suite *s)
{
	TCase *loops = tcase_create("loops");

	SUPPORT_CASE(s, "reports", each_lie_is_caught, words_are_compared, many_lies,
	             what_cannot_be_compared);
	tcase_set_timeout(loops, 60);
	tcase_add_loop_test(loops, truth_agrees, 0, 2);
	tcase_add_loop_test(loops, no_memory, 0, 2);
	suite_add_tcase(s, loops);
}
SUPPORT_MAIN("verify", cases)
