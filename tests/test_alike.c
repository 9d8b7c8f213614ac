/* Labels of features that match: known vectors give known figures, and a server without embeddings is found out first. */
#include "explain/explain.h"
#include "explain/stats.h"
#include "tests/support.h"
#include "tests/support_llm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 30 };

static error err;
static llm_server *server;
static explain_client_opts client;
static unsigned asked, texts;

#define OK(call)   ck_assert_msg((call) == 0, "%s", err.msg)
#define NEAR(a, b) ck_assert_double_eq_tol(a, b, 1e-6)

/* "dN ...": the N-th axis, of length 2; a label that ends with '~' leans by half towards axis 0. */
static void put_vector(cJSON *list, const char *label)
{
	cJSON *vector = cJSON_CreateArray();
	long at = strtol(label + 1, NULL, 10);

	for (long k = 0; k < PAIRS + 2; k++)
		cJSON_AddItemToArray(vector,
		                     cJSON_CreateNumber(k == at                                     ? 2
		                                        : k == 0 && label[strlen(label) - 1] == '~' ? 2
		                                                                                    : 0));
	cJSON_AddItemToObject(list, "embedding", vector);
}

static llm_reply answer(const llm_seen *request, void *payload)
{
	cJSON *body = cJSON_Parse(request->body), *reply = cJSON_CreateObject(),
	      *data = cJSON_AddArrayToObject(reply, "data");
	const cJSON *input = cJSON_GetObjectItem(body, "input"), *one;
	llm_reply r = { 0 };
	int i = 0;

	(void)payload;
	asked++;
	cJSON_ArrayForEach(one, input)
	{
		cJSON *item = cJSON_CreateObject();

		texts++;
		cJSON_AddNumberToObject(item, "index", i++);
		put_vector(item, one->valuestring);
		cJSON_AddItemToArray(data, item);
	}
	r.own = cJSON_PrintUnformatted(reply);
	cJSON_Delete(reply);
	cJSON_Delete(body);
	return r;
}

static void setup(void)
{
	asked = texts = 0;
	server = llm_start_answering(answer, NULL);
	client = explain_client_opts_default();
	client.base_url = llm_url(server);
	client.model = "axes";
}

static void teardown(void)
{
	llm_stop(server);
}

static double number(const cJSON *o, const char *part, const char *figure, const char *name)
{
	const cJSON *x = cJSON_GetObjectItem(cJSON_GetObjectItem(cJSON_GetObjectItem(o, part), figure), name);

	return cJSON_IsNumber(x) ? x->valuedouble : (double)NAN;
}

/* Pair i: "dI a" and "dI b" for the first `right`, else B is of another axis. */
static void make(explain_alike_pair *pairs, char label[PAIRS][2][16], size_t right)
{
	for (size_t i = 0; i < PAIRS; i++) {
		snprintf(label[i][0], 16, "d%zu a", i + 1);
		snprintf(label[i][1], 16, "d%zu b",
		         i < right           ? i + 1
		         : i + 2 < PAIRS + 1 ? i + 2
		                             : right + 1);
		pairs[i] = (explain_alike_pair){ label[i][0], label[i][1], (double)i / PAIRS, i < right };
	}
}

static double plain(const cJSON *o, const char *name)
{
	const cJSON *x = cJSON_GetObjectItem(o, name);

	return cJSON_IsNumber(x) ? x->valuedouble : (double)NAN;
}

/* 60 texts of 4 or 5 bytes, and one to see whether it embeds: counted, priced, not sent. */
START_TEST(a_dry_run_asks_nobody)
{
	explain_alike_opts o = { .client = &client, .dry_run = true };
	explain_alike_pair pairs[PAIRS];
	char label[PAIRS][2][16];
	cJSON *out = NULL;
	double bytes = 1, tokens = 1;

	make(pairs, label, PAIRS);
	for (size_t i = 0; i < PAIRS; i++)
		for (int k = 0; k < 2; k++) {
			bytes += (double)strlen(label[i][k]);
			tokens += strlen(label[i][k]) > 4 ? 2 : 1;
		}
	OK(explain_alike(&out, pairs, PAIRS, &o, &err));
	NEAR(plain(out, "pairs"), PAIRS);
	NEAR(plain(out, "texts"), 2 * PAIRS);
	NEAR(plain(out, "requests"), 2);
	NEAR(plain(out, "input_tokens_estimate"), tokens);
	ck_assert(isnan(plain(out, "cost_estimate")));
	cJSON_Delete(out);
	o.price = (explain_price){ .known = true, .input = 3 };
	OK(explain_alike(&out, pairs, PAIRS, &o, &err));
	NEAR(plain(out, "cost_estimate"), tokens * 3e-6);
	NEAR(plain(out, "cost_limit"), (bytes + 2 * (2 * PAIRS + 1)) * 3e-6);
	ck_assert_uint_eq(asked, 0);
	cJSON_Delete(out);
	ck_assert_int_eq(explain_alike(&out, pairs, 2, &o, &err), ERR_NOTFOUND);
}
END_TEST

START_TEST(matched_labels_are_told_from_random_ones)
{
	explain_alike_opts o = { .client = &client, .seed = 3 };
	explain_alike_pair pairs[PAIRS];
	char label[PAIRS][2][16];
	cJSON *out = NULL;

	make(pairs, label, PAIRS);
	OK(explain_alike(&out, pairs, PAIRS, &o, &err));
	NEAR(number(out, "all", "matched", "value"), 1);
	NEAR(number(out, "all", "random", "value"), 0);
	NEAR(number(out, "all", "difference", "low"), 1);
	NEAR(number(out, "all", "auroc", "value"), 1);
	NEAR(cJSON_GetObjectItem(cJSON_GetObjectItem(out, "all"), "equal_texts")->valuedouble, 0);
	NEAR(cJSON_GetObjectItem(out, "texts")->valuedouble, 2 * PAIRS);
	ck_assert_uint_eq(texts, 2 * PAIRS + 1); /* one to see whether it embeds */
	cJSON_Delete(out);
}
END_TEST

START_TEST(half_of_them_right)
{
	explain_alike_opts o = { .client = &client, .seed = 3 };
	explain_alike_pair pairs[PAIRS];
	char label[PAIRS][2][16];
	cJSON *out = NULL;
	double d;

	make(pairs, label, PAIRS / 2);
	OK(explain_alike(&out, pairs, PAIRS, &o, &err));
	NEAR(number(out, "all", "matched", "value"), 0.5);
	/* each of the other half's B is the axis of one A, once */
	NEAR(number(out, "all", "random", "value"), 0.5 / (PAIRS - 1));
	d = 0.5 - 0.5 / (PAIRS - 1);
	NEAR(number(out, "all", "difference", "value"), d);
	ck_assert_double_lt(number(out, "all", "difference", "low"), d - 0.1);
	ck_assert_double_gt(number(out, "all", "difference", "high"), d + 0.1);
	ck_assert_double_eq_tol(number(out, "all", "auroc", "value"), 0.75, 0.03);
	NEAR(number(out, "same", "matched", "value"), 1);
	NEAR(number(out, "same", "matched", "n"), PAIRS / 2);
	/* the stronger half is the wrong one */
	NEAR(cJSON_GetArrayItem(cJSON_GetObjectItem(out, "by_strength"), 0)->child->next->next->valuedouble,
	     1);
	cJSON_Delete(out);
}
END_TEST

START_TEST(what_all_labels_lean_to_counts_for_nothing)
{
	explain_alike_opts o = { .client = &client };
	explain_alike_pair pairs[PAIRS];
	char label[PAIRS][2][16];
	cJSON *out = NULL;

	make(pairs, label, PAIRS);
	for (size_t i = 0; i < PAIRS; i++) /* B of another pair, and all lean alike */
		for (int k = 0; k < 2; k++)
			snprintf(label[i][k], 16, "d%zu ~", (i + (size_t)k) % PAIRS + 1);
	OK(explain_alike(&out, pairs, PAIRS, &o, &err));
	NEAR(number(out, "all", "matched", "value"), 0.5);
	/* of the others' B one is its own axis */
	NEAR(number(out, "all", "random", "value"), (0.5 * (PAIRS - 2) + 1) / (PAIRS - 1));
	ck_assert_double_lt(number(out, "all", "difference", "value"), 0);
	cJSON_Delete(out);
}
END_TEST

START_TEST(the_same_again_asks_nobody)
{
	explain_alike_opts o = { .client = &client };
	explain_alike_pair pairs[PAIRS];
	char folder[FILE_PATH_MAX], label[PAIRS][2][16];
	cJSON *out = NULL;
	unsigned before;

	support_mkdir(folder);
	make(pairs, label, PAIRS);
	OK(store_log_open(&o.log, support_path(folder, "s.db"), &err));
	OK(explain_alike(&out, pairs, PAIRS, &o, &err));
	cJSON_Delete(out);
	before = asked;
	OK(explain_alike(&out, pairs, PAIRS, &o, &err));
	ck_assert_uint_eq(asked, before);
	cJSON_Delete(out);
	store_log_close(o.log);
	support_rmdir(folder);
}
END_TEST

START_TEST(what_cannot_be_compared)
{
	static const llm_reply refusal[] = { { .status = 404,
		                               .body = "{\"error\":{\"message\":\"no such path\"}}" } };
	explain_alike_opts o = { .client = &client };
	explain_alike_pair pairs[PAIRS];
	char label[PAIRS][2][16];
	llm_server *none;
	cJSON *out = NULL;

	make(pairs, label, PAIRS);
	ck_assert_int_eq(explain_alike(&out, pairs, 2, &o, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "2 matched pairs have a label on both sides"));
	ck_assert_uint_eq(asked, 0);
	none = llm_start(refusal, 1);
	client.base_url = llm_url(none);
	ck_assert_int_lt(explain_alike(&out, pairs, PAIRS, &o, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.msg, "gives no embeddings by 'axes'"));
	ck_assert_uint_eq(llm_count(none), 1); /* no label was sent */
	llm_stop(none);
	ck_assert_ptr_null(out);
}
END_TEST

START_TEST(a_vector_of_zeros_is_no_embedding)
{
	explain_alike_opts o = { .client = &client };
	explain_alike_pair pairs[PAIRS];
	char label[PAIRS][2][16];
	cJSON *out = NULL;

	make(pairs, label, PAIRS);
	snprintf(label[3][1], sizeof(label[3][1]), "d99");
	ck_assert_int_eq(explain_alike(&out, pairs, PAIRS, &o, &err), ERR_FORMAT);
	ck_assert_str_eq(err.msg, "the embedding of 'd99' is all zeros");
	ck_assert_ptr_null(out);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *c = SUPPORT_CASE(suite, "labels", a_dry_run_asks_nobody,
	                        matched_labels_are_told_from_random_ones, half_of_them_right,
	                        what_all_labels_lean_to_counts_for_nothing, the_same_again_asks_nobody,
	                        what_cannot_be_compared, a_vector_of_zeros_is_no_embedding);

	tcase_add_checked_fixture(c, setup, teardown);
}

SUPPORT_MAIN("alike", cases)
