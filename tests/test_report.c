/* The report: numbers against their definitions, what counts and what is left out, and a page that no text of the store gets out
 * of. */
#include "tests/support.h"
#include "tests/support_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report_page.h"
#include "explain/explain.h"
#include "explain/stats.h"

static char folder[FILE_PATH_MAX];
static store *s;
static error err;

#define OK(call)         ck_assert_msg((call) == 0, "%s", err.msg)
#define NEAR(a, b)       ck_assert_double_eq_tol(a, b, 1e-9)
#define ABOUT(a, b, tol) ck_assert_double_eq_tol(a, b, tol)

/* ---- Statistics -------------------------------------------------------------------------------------------------------- */

START_TEST(student_as_in_tables)
{
	ABOUT(stats_t(0.95, 1), 12.7062, 1e-4);
	ABOUT(stats_t(0.95, 2), 4.30265, 1e-5);
	ABOUT(stats_t(0.95, 5), 2.57058, 1e-5);
	ABOUT(stats_t(0.99, 10), 3.16927, 1e-5);
	ABOUT(stats_t(0.95, 100), 1.98397, 1e-5);
	ABOUT(stats_t(0.95, 5000), 1.95996, 1e-4);
}
END_TEST

START_TEST(means)
{
	const double x[] = { 0.5, 0.7, 0.9, 0.7 };
	stats_mean m = stats_mean_of(x, 4, 0.95);

	NEAR(m.value, 0.7);
	NEAR(m.deviation, sqrt(0.08 / 3));
	ABOUT(m.high - m.value, 3.18245 * m.deviation / 2, 1e-6);
	NEAR(m.value - m.low, m.high - m.value);
	m = stats_mean_of(x, 1, 0.95);
	NEAR(m.value, 0.5);
	ck_assert(isnan(m.low) && isnan(m.high));
	ck_assert(isnan(stats_mean_of(x, 0, 0.95).value));
	NEAR(stats_quantile((const double[]){ 1, 2, 4, 8 }, 4, 0.5), 3);
	NEAR(stats_quantile((const double[]){ 1, 2, 4, 8 }, 4, 1), 8);
	ck_assert(isnan(stats_quantile(NULL, 0, 0.5)));
}
END_TEST

START_TEST(correlations)
{
	/* one monotone relation that is not linear, with a tie */
	const double x[] = { 1, 2, 3, 4, 5, 5 }, y[] = { 1, 4, 9, 16, 25, 25 },
	             flat[6] = { 1, 1, 1, 1, 1, 1 };
	stats_value p, r;

	OK(stats_relate(&p, &r, x, y, 6, 0.95, &err));
	ABOUT(p.value, 0.984527, 1e-6);
	ABOUT(p.high, tanh(atanh(p.value) + 1.959964 / sqrt(3)), 1e-6);
	NEAR(r.value, 1);
	ck_assert(isnan(r.low) && isnan(r.high));
	OK(stats_relate(&p, &r, x, flat, 6, 0.95, &err));
	ck_assert(isnan(p.value) && isnan(r.value));
	OK(stats_relate(&p, &r, x, y, 3, 0.95, &err));
	ck_assert(isnan(p.value));
	/* Spearman's of 1..5 against 2 1 4 3 5: 1 - 6 * 4 / (5 * 24) */
	OK(stats_relate(&p, &r, x, (const double[]){ 2, 1, 4, 3, 5 }, 5, 0.95, &err));
	NEAR(r.value, 0.8);
	ABOUT(r.low, tanh(atanh(0.8) - 1.959964 * sqrt(1.06 / 2)), 1e-6);
}
END_TEST

/* ---- The page ----------------------------------------------------------------------------------------------------------- */

#define LABEL(id, source, feature, text)                                                                     \
	"INSERT INTO explanation(id, source_id, feature, text, method, model, created) VALUES(" #id          \
	"," #source "," #feature ",'" text "','llm','m','2026-02-01T00:00:00Z');"
#define SCORE(label, scorer, judge, value, low, high, failed, details)                                       \
	"INSERT INTO score(explanation_id, scorer, judge, value, low, high, baseline, n_positive, "          \
	"n_negative, n_failed, details, created) VALUES(" #label ",'" scorer "','" judge "'," #value         \
	"," #low "," #high ",0.5,40,40," #failed ",'" details "','2026-02-0'||(2 + " #label                  \
	" % 5)||'T00:00:00Z');"
#define CHANCE "{\"chance\":0.5,\"always\":\"neither\",\"lexical\":{\"value\":0.6}}"

static void setup(void)
{
	const char *const sources[] = { "one", "two", NULL };

	support_mkdir(folder);
	small_store_make(support_path(folder, "s.db"), sources);
}

static void teardown(void)
{
	store_close(s);
	s = NULL;
	support_rmdir(folder);
}

static void run(const char *sql)
{
	support_run_sql(support_path(folder, "s.db"), sql);
}

static cJSON *report(const explain_report_opts *o)
{
	cJSON *page = NULL;

	OK(store_open(&s, support_path(folder, "s.db"), STORE_READ, &err));
	OK(explain_report(&page, s, o, &err));
	store_close(s);
	s = NULL;
	return page;
}

static double number(const cJSON *o, const char *name)
{
	const cJSON *x = cJSON_GetObjectItem(o, name);

	return cJSON_IsNumber(x) ? x->valuedouble : (double)NAN;
}

static const cJSON *at(const cJSON *o, const char *list, int i)
{
	const cJSON *x = cJSON_GetArrayItem(cJSON_GetObjectItem(o, list), i);

	ck_assert_ptr_nonnull(x);
	return x;
}

static bool flagged(const cJSON *feature, const char *flag)
{
	const cJSON *f;

	cJSON_ArrayForEach(f, cJSON_GetObjectItem(feature, "flags"))
	{
		if (strcmp(f->valuestring, flag) == 0)
			return true;
	}
	return false;
}

static void put_scores(void)
{
	run("DELETE FROM score; DELETE FROM explanation;" LABEL(10, 1, 0, "old") LABEL(11, 1, 0, "cats")
	            LABEL(12, 1, 1, "after the") LABEL(13, 1, 2, "all") LABEL(14, 1, 6, "animals")
	                    LABEL(15, 2, 0, "cats too") LABEL(16, 1, 5, "was scored")
	                            LABEL(17, 1, 5, "never was")
	    /* replaced: left out */
	    SCORE(10, "detection", "a", 0.1, 0.05, 0.2, 0, CHANCE)
	            SCORE(16, "detection", "a", 0.99, 0.9, 1, 0, CHANCE)
	    /* the first is older than the second, and of the same pair */
	    SCORE(11, "detection", "a", 0.2, 0.1, 0.3, 0, CHANCE)
	            SCORE(11, "detection", "a", 0.9, 0.8, 0.95, 0, CHANCE)
	                    SCORE(12, "detection", "a", 0.7, 0.6, 0.8, 0, CHANCE)
	                            SCORE(13, "detection", "a", 0.5, 0.4, 0.6, 40,
	                                  "{\"chance\":0.5,\"always\":\"yes\",\"lexical\":{\"value\":0.8}}")
	                                    SCORE(14, "detection", "a", 0.8, 0.7, 0.9, 0, CHANCE)
	                                            SCORE(15, "detection", "a", 0.3, 0.2, 0.4, 0, CHANCE));
	run(SCORE(11, "detection", "b", 0.8, 0.7, 0.9, 0, CHANCE)
	            SCORE(12, "detection", "b", 0.7, 0.6, 0.8, 0, CHANCE)
	                    SCORE(13, "detection", "b", 0.4, 0.3, 0.45, 0, CHANCE)
	                            SCORE(14, "detection", "b", 0.75, 0.7, 0.9, 0, CHANCE)
	                                    SCORE(11, "fuzz", "a", 0.6, 0.4, 0.7, 0, "not even JSON"));
}

/* What SQL can write, and no scorer: infinity is no score, and no number has a place in a histogram then. */
START_TEST(scores_that_are_no_number_are_left_out)
{
	explain_report_opts o = explain_report_opts_default();
	cJSON *page;

	put_scores();
	run("UPDATE score SET value = 9e999 WHERE judge = 'b' AND explanation_id = 11;"
	    "UPDATE score SET low = -9e999, high = 9e999, baseline = 9e999 WHERE judge = 'b' AND "
	    "explanation_id = 12;"
	    "UPDATE feature SET density = 9e999 WHERE feature = 2");
	page = report(&o);
	ck_assert_str_eq(cJSON_GetObjectItem(at(page, "series", 1), "judge")->valuestring, "b");
	NEAR(number(at(page, "series", 1), "n"), 3);
	ck_assert_double_eq_tol(number(at(page, "series", 1), "value"), (0.7 + 0.4 + 0.75) / 3, 1e-9);
	cJSON_Delete(page);
}
END_TEST

START_TEST(numbers_of_series)
{
	explain_report_opts o = explain_report_opts_default();
	cJSON *page;
	const cJSON *a, *b, *x;
	stats_mean m = stats_mean_of((const double[]){ 0.9, 0.7, 0.5, 0.8, 0.3 }, 5, 0.95);

	put_scores();
	page = report(&o);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(page, "series")), 3);
	a = at(page, "series", 0);
	ck_assert_str_eq(cJSON_GetObjectItem(a, "judge")->valuestring, "a");
	ck_assert_str_eq(cJSON_GetObjectItem(a, "measure")->valuestring, "balanced accuracy");
	NEAR(number(a, "n"), 5);
	NEAR(number(a, "value"), m.value);
	NEAR(number(a, "low"), m.low);
	NEAR(number(a, "high"), m.high);
	NEAR(at(a, "quantiles", 2)->valuedouble, 0.7);
	NEAR(number(a, "above_chance"), 3);
	NEAR(number(a, "holds_chance"), 1);
	NEAR(number(a, "below_chance"), 1);
	NEAR(number(a, "always_yes"), 1);
	NEAR(number(cJSON_GetObjectItem(a, "failures"), "value"), 40.0 / 440);
	NEAR(at(cJSON_GetObjectItem(a, "histogram"), "counts", 18)->valuedouble, 1); /* 0.9 */
	NEAR(at(cJSON_GetObjectItem(a, "histogram"), "counts", 10)->valuedouble, 1);
	/* the label less lexical: 0.3, 0.1, -0.3, 0.2, -0.3 */
	x = at(a, "against", 1);
	ck_assert_str_eq(cJSON_GetObjectItem(x, "what")->valuestring, "lexical");
	NEAR(number(cJSON_GetObjectItem(x, "difference"), "value"), 0);
	NEAR(number(x, "better"), 3);
	/* both sources */
	NEAR(number(at(a, "by_source", 0), "n"), 4);
	NEAR(number(at(a, "by_source", 1), "value"), 0.3);
	b = at(page, "series", 2);
	ck_assert_str_eq(cJSON_GetObjectItem(b, "scorer")->valuestring, "fuzz");
	NEAR(number(b, "untold"), 1);
	ck_assert(isnan(number(b, "chance")));
	cJSON_Delete(page);
}
END_TEST

START_TEST(agreement_order_and_flags)
{
	explain_report_opts o = explain_report_opts_default();
	const cJSON *pair, *f;
	stats_value p, r;
	cJSON *page;

	put_scores();
	page = report(&o);
	pair = at(page, "agreement", 0);
	OK(stats_relate(&p, &r, (const double[]){ 0.9, 0.7, 0.5, 0.8 },
	                (const double[]){ 0.8, 0.7, 0.4, 0.75 }, 4, 0.95, &err));
	NEAR(number(pair, "n"), 4);
	NEAR(number(cJSON_GetObjectItem(pair, "pearson"), "value"), p.value);
	NEAR(number(cJSON_GetObjectItem(pair, "pearson"), "low"), p.low);
	NEAR(number(cJSON_GetObjectItem(pair, "spearman"), "value"), r.value);
	NEAR(number(cJSON_GetObjectItem(pair, "difference"), "value"), 0.0625);
	/* by the series that has most: 0.9, 0.8, 0.7, 0.5, 0.3 */
	NEAR(number(page, "by"), 0);
	NEAR(number(at(page, "features", 1), "feature"), 6);
	f = at(page, "features", 3);
	NEAR(number(f, "feature"), 2);
	ck_assert(flagged(f, "always yes") && flagged(f, "lexical is better") && flagged(f, "unanswered"));
	ck_assert(flagged(f, "other label as good") && flagged(f, "dense") && flagged(f, "below chance"));
	ck_assert(!flagged(f, "chance"));
	f = at(page, "features", 4);
	ck_assert_str_eq(cJSON_GetObjectItem(f, "source")->valuestring, "two");
	ck_assert(flagged(f, "below chance"));
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(page, "best")), 3);
	NEAR(at(page, "worst", 0)->valuedouble, 4);
	ck_assert_int_gt(cJSON_GetArraySize(cJSON_GetObjectItem(f, "windows")), 0);
	NEAR(number(cJSON_GetObjectItem(page, "replaced"), "scores"), 2);
	NEAR(number(cJSON_GetObjectItem(page, "replaced"), "features"), 2);
	NEAR(number(cJSON_GetObjectItem(page, "replaced"), "unscored"), 1);
	cJSON_Delete(page);
}
END_TEST

/* Of a simulation windows lack some tokens and have others: they are not counted twice. */
START_TEST(simulations_lack_tokens)
{
	explain_report_opts o = explain_report_opts_default();
	cJSON *page;
	const cJSON *rate;

	put_scores();
	run(SCORE(11, "simulation", "a", 0.5, 0.1, 0.9, 60,
	          "{\"chance\":0,\"tokens\":950,\"tokens_missing\":50}")
	            SCORE(12, "simulation", "a", 0.5, 0.1, 0.9, 2,
	                  "{\"chance\":0,\"tokens\":100,\"tokens_missing\":100}"));
	page = report(&o);
	rate = cJSON_GetObjectItem(
	        at(page, "series", cJSON_GetArraySize(cJSON_GetObjectItem(page, "series")) - 1), "failures");
	NEAR(number(rate, "value"), 150.0 / 1200);
	NEAR(number(rate, "n"), 1200);
	cJSON_Delete(page);
}
END_TEST

START_TEST(what_is_asked_for)
{
	const char *one[] = { "two" }, *none[] = { "three" }, *twice[] = { "two", "two" };
	explain_report_opts o = explain_report_opts_default();
	cJSON *page;

	put_scores();
	o.sources = (store_sources){ .names = one, .n = 1 };
	page = report(&o);
	NEAR(number(at(page, "series", 0), "n"), 1);
	ck_assert(isnan(number(at(page, "series", 0), "low")));
	cJSON_Delete(page);
	o = explain_report_opts_default();
	o.by = "fuzz";
	o.n_shown = 0;
	page = report(&o);
	NEAR(number(page, "by"), 2);
	ck_assert_str_eq(cJSON_GetObjectItem(at(page, "features", 0), "label")->valuestring, "cats");
	ck_assert_ptr_null(cJSON_GetObjectItem(at(page, "features", 0), "windows"));
	cJSON_Delete(page);
	OK(store_open(&s, support_path(folder, "s.db"), STORE_READ, &err));
	page = NULL;
	o.by = "gossip";
	ck_assert_int_eq(explain_report(&page, s, &o, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "no scores of 'gossip'; it has detection, fuzz"));
	o = explain_report_opts_default();
	o.sources = (store_sources){ .names = none, .n = 1 };
	ck_assert_int_eq(explain_report(&page, s, &o, &err), ERR_NOTFOUND);
	o.sources = (store_sources){ .names = twice, .n = 2 };
	ck_assert_int_eq(explain_report(&page, s, &o, &err), ERR_ARG);
	ck_assert_ptr_null(page);
}
END_TEST

START_TEST(nothing_to_report)
{
	explain_report_opts o = explain_report_opts_default();
	cJSON *page = NULL;

	run("DELETE FROM score");
	OK(store_open(&s, support_path(folder, "s.db"), STORE_READ, &err));
	ck_assert_int_eq(explain_report(&page, s, &o, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "has labels but no scores: run gloss score"));
	store_close(s);
	run("DELETE FROM explanation;" LABEL(10, 1, 0, "old") LABEL(11, 1, 0, "cats")
	            SCORE(10, "detection", "a", 0.1, 0.05, 0.2, 0, CHANCE));
	OK(store_open(&s, support_path(folder, "s.db"), STORE_READ, &err));
	ck_assert_int_eq(explain_report(&page, s, &o, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "has scores (1), but only of labels that count no more"));
	store_close(s);
	run("DELETE FROM score; DELETE FROM explanation");
	OK(store_open(&s, support_path(folder, "s.db"), STORE_READ, &err));
	ck_assert_int_eq(explain_report(&page, s, &o, &err), ERR_NOTFOUND);
	ck_assert_ptr_nonnull(strstr(err.msg, "has no labels to report on"));
	ck_assert_ptr_null(page);
}
END_TEST

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (const char *p = in; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

START_TEST(page_holds_text_as_text)
{
	explain_report_opts o = explain_report_opts_default();
	char *all = NULL;
	cJSON *page;

	put_scores();
	run(LABEL(20, 1, 7,
	          "<script>alert(1)</script><img src=\"http://x/\" onerror=x> &amp; \x1b[2J\xe2\x80\xae")
	            SCORE(20, "detection", "<b>\"j\"", 0.6, 0.4, 0.7, 0, CHANCE));
	page = report(&o);
	OK(report_page(&all, page, &err));
	ck_assert_ptr_null(strstr(all, "<script"));
	ck_assert_ptr_null(strstr(all, "<img"));
	ck_assert_ptr_null(strstr(all, "<b>"));
	ck_assert_ptr_null(strstr(all, "http://x/\""));
	ck_assert_ptr_nonnull(
	        strstr(all, "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=&quot;http://x/"));
	ck_assert_ptr_nonnull(strstr(all, "&amp;amp;"));
	ck_assert_ptr_null(strchr(all, '\x1b'));
	ck_assert_ptr_null(strstr(all, "\xe2\x80\xae"));
	ck_assert_ptr_nonnull(strstr(all, "default-src 'none'"));
	/* what links within the page is there once */
	ck_assert_uint_eq(count(all, "<tr id=f0-0>"), 1);
	ck_assert_uint_eq(count(all, "<article id=w0-1>"), 1);
	ck_assert_uint_eq(count(all, "<svg"), count(all, "</svg>"));
	ck_assert_uint_eq(count(all, "<td"), count(all, "</td>"));
	ck_assert_uint_eq(count(all, "<figure"), count(all, "</figure>"));
	ck_assert_uint_eq(count(all, "<article"), count(all, "</article>"));
	ck_assert_ptr_nonnull(strstr(all, "2 scores of 2 features are of labels since replaced"));
	free(all);
	cJSON_Delete(page);
}
END_TEST

START_TEST(memory_runs_out)
{
	explain_report_opts o = explain_report_opts_default();
	cJSON *page = NULL;
	char *all = NULL;
	int rc = 0;

	put_scores();
	OK(store_open(&s, support_path(folder, "s.db"), STORE_READ, &err));
	for (long n = 0;; n += 7) {
		fault_arm(FAULT_ALLOC, n);
		rc = explain_report(&page, s, &o, &err);
		if (!fault_disarm(FAULT_ALLOC))
			break;
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(page);
	}
	ck_assert_int_eq(rc, 0);
	for (long n = 0;; n++) {
		fault_arm(FAULT_ALLOC, n);
		rc = report_page(&all, page, &err);
		if (!fault_disarm(FAULT_ALLOC))
			break;
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(all);
	}
	ck_assert_int_eq(rc, 0);
	free(all);
	cJSON_Delete(page);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *c;

	SUPPORT_CASE(suite, "statistics", student_as_in_tables, means, correlations);
	c = SUPPORT_CASE(suite, "page", numbers_of_series, scores_that_are_no_number_are_left_out,
	                 agreement_order_and_flags, simulations_lack_tokens, what_is_asked_for,
	                 nothing_to_report, page_holds_text_as_text, memory_runs_out);
	tcase_add_checked_fixture(c, setup, teardown);
}

SUPPORT_MAIN("report", cases)
