/* Two judges of the same windows, a person's answers, and what judges are worth by them. */
#include "explain/judged.h"
#include "explain/stats.h"
#include "tests/fixture_planted.h"
#include "tests/support_oracle.h"

#include <math.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NEAR(a, b)       ck_assert_double_eq_tol(a, b, 1e-9)
#define ABOUT(a, b, tol) ck_assert_double_eq_tol(a, b, tol)

/* ---- Statistics -------------------------------------------------------------------------------------------------------- */

/* The example that textbooks have: 20 both yes, 15 both no, 5 and 10 apart. */
START_TEST(kappa_of_the_textbook)
{
	uint8_t a[50], b[50];
	uint32_t cluster[50];
	stats_kappa k;

	for (uint32_t i = 0; i < 50; i++) {
		a[i] = i < 25;
		b[i] = i < 20 || (i >= 25 && i < 35);
		cluster[i] = i;
	}
	OK(stats_kappa_of(&k, a, b, cluster, 50, 0.95, &err));
	NEAR(k.kappa.value, 0.4);
	NEAR(k.observed, 0.7);
	NEAR(k.chance, 0.5);
	/* Fleiss, Cohen and Everitt's standard error of this table: 0.1277 */
	ABOUT((k.kappa.high - 0.4) / stats_t(0.95, 49), 0.1277 * sqrt(50.0 / 49), 2e-3);
	OK(stats_kappa_of(&k, a, a, cluster, 50, 0.95, &err));
	NEAR(k.kappa.value, 1);
	memset(a, 1, sizeof(a));
	OK(stats_kappa_of(&k, a, a, cluster, 50, 0.95, &err));
	ck_assert(isnan(k.kappa.value));
	/* one who says the same of all agrees by chance alone: 0, without a sign or rounding */
	for (size_t n = 3; n <= 50; n++) {
		const uint8_t same[50] = { 0 };

		OK(stats_kappa_of(&k, same, b, cluster, n, 0.95, &err));
		ck_assert(isnan(k.kappa.value) || (k.kappa.value == 0 && !signbit(k.kappa.value)));
	}
	OK(stats_kappa_of(&k, a, b, cluster, 0, 0.95, &err));
	ck_assert(isnan(k.kappa.value) && k.n == 0);
}
END_TEST

/* Features of which each has its own share of yes, 12 windows each, judged with errors: the kappa of the population is known. */
START_TEST(intervals_of_kappa_hold_it)
{
	enum { FEATURES = 20, EACH = 12, RUNS = 400 };
	static uint8_t a[FEATURES * EACH], b[FEATURES * EACH];
	static uint32_t cluster[FEATURES * EACH];
	double miss = 0.2, same = (1 - miss) * (1 - miss) + miss * miss;
	unsigned held = 0;
	stats_kappa k;

	for (uint64_t run = 0; run < RUNS; run++) {
		for (uint32_t i = 0; i < FEATURES * EACH; i++) {
			uint64_t f = i / EACH;
			double share = hash64_unit(hash64_mix(run * 4, f));
			bool truth = hash64_unit(hash64_mix(run * 4 + 1, i)) < share;

			a[i] = truth != (hash64_unit(hash64_mix(run * 4 + 2, i)) < miss);
			b[i] = truth != (hash64_unit(hash64_mix(run * 4 + 3, i)) < miss);
			cluster[i] = (uint32_t)f;
		}
		OK(stats_kappa_of(&k, a, b, cluster, FEATURES * EACH, 0.95, &err));
		held += k.kappa.low <= 2 * same - 1 &&
		        2 * same - 1 <= k.kappa.high; /* half are yes: by chance 0.5 */
	}
	ck_assert_uint_ge(held, (unsigned)(0.928 * RUNS));
}
END_TEST

START_TEST(windows_of_a_feature_tell_less_together)
{
	uint8_t hit[40];
	uint32_t alone[40], together[40];
	stats_rate r, t, plain = stats_wilson(20, 40, 0.95);

	for (uint32_t i = 0; i < 40; i++) {
		hit[i] = i < 20;
		alone[i] = i;
		together[i] = i / 10;
	}
	OK(stats_wilson_clustered(&r, hit, alone, 40, 0.95, &err));
	OK(stats_wilson_clustered(&t, hit, together, 40, 0.95, &err));
	ABOUT(r.low, plain.low, 0.01);
	ck_assert_double_lt(t.low, r.low - 0.1);
	ck_assert_double_gt(t.high, r.high + 0.1);
	OK(stats_wilson_clustered(&t, hit, together, 0, 0.95, &err));
	ck_assert(isnan(t.value));
}
END_TEST

START_TEST(calibration_of_known_probabilities)
{
	enum { N = 4000 };
	static double p[N];
	static uint8_t truth[N];
	stats_calibration c;

	/* what is said is too sure: the log-odds are twice what they should be, and 1 too high */
	for (size_t i = 0; i < N; i++) {
		double x = 4 * hash64_unit(hash64_mix(1000, i)) - 2;

		p[i] = 1 / (1 + exp(-(2 * x + 1)));
		truth[i] = hash64_unit(hash64_mix(2000, i)) < 1 / (1 + exp(-x));
	}
	c = stats_calibrate(p, truth, N);
	ABOUT(c.slope, 0.5, 0.04);
	ABOUT(c.intercept, -0.5, 0.08);
	ck_assert_double_gt(c.brier, c.brier_after + 0.01);
	ck_assert_double_gt(c.ece, 0.1);
	c = stats_calibrate((const double[]){ 0, 1, 0.25, 1 }, (const uint8_t[]){ 0, 1, 1, 0 }, 4);
	NEAR(c.brier, (0.75 * 0.75 + 1) / 4);
	NEAR(c.ece, (0.75 + 1) / 4);
	ck_assert(isnan(c.slope)); /* of four nothing is fitted */
	memset(truth, 1, sizeof(truth));
	ck_assert(isnan(stats_calibrate(p, truth, N).slope));
	for (size_t i = 0; i < 20; i++) {
		p[i] = 0.5;
		truth[i] = i % 2;
	}
	ck_assert(isnan(stats_calibrate(p, truth, 20).slope));
	ck_assert_uint_eq(stats_calibrate(p, truth, 0).n, 0);
}
END_TEST

/* ---- Judges -------------------------------------------------------------------------------------------------------------- */

enum { FEATURES = 24, SCORED = 12 };

static oracle judge;

static void setup(void)
{
	planted p = { .features = FEATURES, .times = 300, .tokens = 64 };

	judge = (oracle){ .seed = 5 };
	fixture_begin(&p, true, oracle_answer, &judge, "oracle");
}

static explain_opts options(const char *of, const char *model)
{
	explain_opts o = explain_opts_default();

	client.model = model;
	o.client = &client;
	o.scorer = of;
	o.features = "0-11";
	o.window = 16;
	return o;
}

static void score(const explain_opts *o, double rate, uint64_t seed)
{
	judge = (oracle){ .seed = seed, .miss = rate, .false_alarm = rate };
	OK(explain_score(NULL, s, o, &err));
}

static cJSON *report(void)
{
	explain_report_opts o = explain_report_opts_default();
	cJSON *page = NULL;

	o.n_shown = 0;
	OK(explain_report(&page, s, &o, &err));
	return page;
}

static double number(const cJSON *o, const char *name)
{
	const cJSON *x = cJSON_GetObjectItem(o, name);

	return cJSON_IsNumber(x) ? x->valuedouble : (double)NAN;
}

static const cJSON *pair_of(const cJSON *page, double a, double b)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(page, "agreement"))
	{
		if (number(one, "a") == a && number(one, "b") == b)
			return one;
	}
	ck_abort_msg("no such pair");
}

START_TEST(two_judges_get_the_same_windows)
{
	explain_opts o = options("detection", "A");
	const cJSON *k;
	cJSON *page;
	double yes, no, same;

	score(&o, 0.1, 5);
	o = options("detection", "B");
	score(&o, 0.1, 6);
	page = report();
	k = cJSON_GetObjectItem(pair_of(page, 0, 1), "kappa");
	NEAR(number(k, "apart"), 0);
	NEAR(number(k, "features"), SCORED);
	NEAR(number(k, "n"),
	     number(k, "both_yes") + number(k, "a_yes") + number(k, "b_yes") + number(k, "both_no"));
	ck_assert_double_ge(number(k, "n"), SCORED * 90);
	same = (number(k, "both_yes") + number(k, "both_no")) / number(k, "n");
	yes = (number(k, "both_yes") + number(k, "a_yes")) / number(k, "n") *
	      ((number(k, "both_yes") + number(k, "b_yes")) / number(k, "n"));
	no = (number(k, "both_no") + number(k, "b_yes")) / number(k, "n") *
	     ((number(k, "both_no") + number(k, "a_yes")) / number(k, "n"));
	NEAR(number(k, "value"), (same - yes - no) / (1 - yes - no));
	/* errors of 0.1 that have nothing to do with each other */
	ABOUT(number(k, "agree"), 0.82, 0.04);
	ck_assert_double_lt(number(k, "low"), number(k, "value"));
	cJSON_Delete(page);
	/* another seed, other windows */
	o = options("detection", "B");
	o.seed = 9;
	score(&o, 0.1, 6);
	page = report();
	k = cJSON_GetObjectItem(pair_of(page, 0, 1), "kappa");
	ck_assert_double_gt(number(k, "apart"), number(k, "n"));
	cJSON_Delete(page);
}
END_TEST

START_TEST(each_judge_scores_what_is_new_to_it)
{
	explain_opts o = options("intruder", "A");
	cJSON *page;

	score(&o, 0, 5);
	o.only_new = true;
	ck_assert_int_lt(explain_score(NULL, s, &o, &err), 0); /* nothing is left */
	o = options("intruder", "B");
	o.only_new = true;
	score(&o, 0.3, 6);
	NEAR(sql("SELECT count(*) FROM score"), 2 * SCORED);
	page = report();
	/* intruders have more than two answers */
	ck_assert_double_gt(number(cJSON_GetObjectItem(pair_of(page, 0, 1), "kappa"), "value"), 0.4);
	NEAR(number(cJSON_GetObjectItem(pair_of(page, 0, 1), "kappa"), "apart"), 0);
	cJSON_Delete(page);
}
END_TEST

/* Answers as they are kept, of two judges: what is yes and no, and of what there is none. */
static void put_answers(const char *of, const char *as, int feature, const char *answers)
{
	char query[512];

	snprintf(query, sizeof(query),
	         "INSERT INTO score(explanation_id, scorer, judge, value, n_positive, n_negative, n_failed, "
	         "details, "
	         "created) SELECT explanation_id, '%s', '%s', 0.5, 3, 3, 0, json_object('items', "
	         "json_object('key', "
	         "'000000010000000200000003000000040000000500000006', 'kind', '000111', 'answer', "
	         "json('%s'))), "
	         "'2026' FROM current_label WHERE feature = %d",
	         of, as, answers, feature);
	OK(store_exec(s, query, &err));
}

START_TEST(kappa_of_what_has_a_yes)
{
	const cJSON *k;
	cJSON *page;

	/* simulation: over 3 is yes. A: 1 1 0 0 0 0 and 1 1 1 0 0 0, B: 1 0 0 0 0 1 and 1 1 1 0 0 0 */
	put_answers("simulation", "A", 0, "[10,3.5,3,0,0,1]");
	put_answers("simulation", "B", 0, "[4,2.9,0,0,2,9]");
	put_answers("simulation", "A", 1, "[5,5,5,0,0,0]");
	put_answers("simulation", "B", 1, "[10,9,8,3,0.2,0]");
	put_answers("embedding", "A", 0, "[1,0,0.5,0,0,1]");
	put_answers("embedding", "B", 0, "[1,0,0.25,0,1,1]");
	page = report();
	ck_assert_str_eq(cJSON_GetObjectItem(pair_of(page, 0, 1), "no_kappa")->valuestring,
	                 "its answers are numbers without a yes or a no");
	ck_assert_ptr_null(cJSON_GetObjectItem(pair_of(page, 0, 1), "kappa"));
	k = cJSON_GetObjectItem(pair_of(page, 2, 3), "kappa");
	NEAR(number(k, "n"), 12);
	NEAR(number(k, "both_yes"), 4);
	NEAR(number(k, "a_yes"), 1);
	NEAR(number(k, "b_yes"), 1);
	NEAR(number(k, "both_no"), 6);
	NEAR(number(k, "value"), (10.0 / 12 - 74.0 / 144) / (1 - 74.0 / 144));
	cJSON_Delete(page);
}
END_TEST

/* ---- A person --------------------------------------------------------------------------------------------------------------- */

/* The one answers as the other feature's word is there, and errs on every `wrong`-th. */
static size_t answer_all(const explain_opts *o, unsigned n, unsigned wrong)
{
	explain_golden *g = NULL;
	explain_golden_question q;
	size_t i = 0;
	bool more;

	OK(explain_golden_open(&g, s, o, n, &err));
	for (;; i++) {
		bool fits;

		OK(explain_golden_get(&q, &more, g, i, &err));
		if (!more)
			break;
		fits = oracle_has_word(q.text, strlen(q.text), q.label);
		ck_assert_uint_lt(q.at, q.n);
		ck_assert_ptr_null(strstr(q.text, "[1]"));
		OK(explain_golden_answer(g, i, fits != (wrong && i % wrong == 0), &err));
	}
	explain_golden_close(g);
	return i;
}

START_TEST(answers_stay_and_are_not_asked_for_again)
{
	explain_opts o = options("detection", "A");
	explain_golden *g = NULL;
	explain_golden_question q, again;
	char first[4096];
	bool more;

	OK(explain_golden_open(&g, s, &o, 4, &err));
	OK(explain_golden_get(&q, &more, g, 0, &err));
	ck_assert(more);
	snprintf(first, sizeof(first), "%s", q.text);
	OK(explain_golden_answer(g, 0, true, &err));
	NEAR(sql("SELECT count(*) FROM golden"), 1); /* at once */
	OK(explain_golden_answer(g, 0, false, &err));
	NEAR(sql("SELECT count(*) FROM golden WHERE answer = 0"), 1);
	OK(explain_golden_get(&again, &more, g, 1, &err));
	ck_assert_str_ne(again.text, first);
	explain_golden_close(g);
	g = NULL;
	OK(explain_golden_open(&g, s, &o, 4, &err));
	OK(explain_golden_get(&again, &more, g, 0, &err));
	ck_assert_str_ne(again.text, first);
	ck_assert_uint_eq(again.feature, q.feature);
	ck_assert_uint_eq(again.n, 3);
	explain_golden_close(g);
	ck_assert_uint_eq(answer_all(&o, 4, 0), 4 * SCORED - 1);
	ck_assert_uint_eq(answer_all(&o, 4, 0), 0);
	NEAR(sql("SELECT count(*) FROM golden"), 4 * SCORED);
	ck_assert_int_eq(explain_golden_open(&g, s, &o, 0, &err), ERR_ARG);
	o.scorer = "intruder";
	ck_assert_int_eq(explain_golden_open(&g, s, &o, 4, &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "detection or of fuzz, not of 'intruder'"));
}
END_TEST

/* The dialogue, line by line on a pipe: *said is all that the program says. */
static int dialogue(char said[1 << 14], const char *keys)
{
	char command[2 * FILE_PATH_MAX];
	FILE *from;
	size_t n;

	snprintf(command, sizeof(command),
	         "printf '%s' | %s score -d %s --golden --n 3 --features 0-1 --window 16 2>&1", keys,
	         getenv("GLOSS_BIN"), support_path(folder, "s.db"));
	from = popen(command, "r");
	ck_assert_ptr_nonnull(from);
	n = fread(said, 1, (1 << 14) - 1, from);
	said[n] = '\0';
	return pclose(from);
}

START_TEST(a_person_in_the_terminal)
{
	static char said[1 << 14];

	ck_assert_int_eq(dialogue(said, "y\\nb\\nn\\nperhaps\\n s \\ny\\nq\\ny\\n"), 0);
	ck_assert_ptr_nonnull(strstr(said, "y, n, s, b or q"));
	ck_assert_ptr_nonnull(strstr(said, "3 of 3: does the label fit?"));
	ck_assert_ptr_nonnull(strstr(said, "2 answers are kept"));
	ck_assert_ptr_nonnull(strstr(said, "no scores to be measured by them yet"));
	NEAR(sql("SELECT count(*) FROM golden"), 2);
	NEAR(sql("SELECT count(*) FROM golden WHERE answer"), 1);
	/* what was passed over comes again; the input ends in the middle */
	ck_assert_int_eq(dialogue(said, "n\\n"), 0);
	ck_assert_ptr_nonnull(strstr(said, "1 of 1: does"));
	NEAR(sql("SELECT count(*) FROM golden"), 3);
	ck_assert_int_eq(dialogue(said, "n\\nn\\nn"), 0);
	ck_assert_ptr_nonnull(strstr(said, "no more windows"));
	NEAR(sql("SELECT count(*) FROM golden"), 6);
	ck_assert_int_eq(dialogue(said, ""), 0);
	ck_assert_ptr_nonnull(strstr(said, "no windows to ask about"));
}
END_TEST

/* The same in a terminal of its own: each of the keys is typed when it is asked for something; after the last one the terminal is left as
 * it is, or the program is killed. Returns how it ended, as waitpid() has it. */
static int in_terminal(char said[1 << 14], const char *const *keys, size_t n, bool then_kill)
{
	static const char asks[] = "q quit: ";
	const char *seen = said;
	size_t len = 0, typed = 0;
	int master, status = 0;
	pid_t child;
	ssize_t got;

	child = forkpty(&master, NULL, NULL, NULL);
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		execl(getenv("GLOSS_BIN"), "gloss", "score", "-d", support_path(folder, "s.db"), "--golden",
		      "--n", "3", "--features", "0-1", "--window", "16", (char *)NULL);
		_exit(127);
	}
	while (poll(&(struct pollfd){ .fd = master, .events = POLLIN }, 1, 20000) == 1 && len + 1 < 1 << 14 &&
	       (got = read(master, said + len, (1 << 14) - 1 - len)) > 0) {
		len += (size_t)got;
		said[len] = '\0';
		for (const char *at; (at = strstr(seen, asks)); typed++) {
			seen = at + sizeof(asks) - 1;
			if (typed < n)
				ck_assert_int_eq(write(master, keys[typed], strlen(keys[typed])),
				                 (ssize_t)strlen(keys[typed]));
			else if (then_kill)
				kill(child, SIGKILL);
		}
	}
	close(master); /* which hangs up, should it still wait */
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return status;
}

/* Arrow keys are no answer, Ctrl-C and the end of input are a wish to stop, and whatever was answered is there afterwards. */
START_TEST(a_person_at_a_terminal)
{
	static const char *const first[] = { "\033[A\n", "\033OB\n", "yes\n", "Y\n", "y\n", "\003" };
	static const char *const second[] = { "\n", "n\n", "\004" };
	static const char *const third[] = { "y\n" };
	static const char *const rest[] = { "b\n", "s\n", "y\n", "y\n", "q\n" };
	static char said[1 << 14];
	unsigned told = 0;
	int status;

	status = in_terminal(said, first, ARRAY_LEN(first), false);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x: %s", status, said);
	for (const char *at = said; (at = strstr(at, "\ny, n, s, b or q\r\n")); at++)
		told++;
	ck_assert_uint_eq(told, 4);
	ck_assert_ptr_nonnull(strstr(said, "1 answers are kept"));
	NEAR(sql("SELECT count(*) FROM golden WHERE answer"), 1);

	status = in_terminal(said, second, ARRAY_LEN(second), false);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x: %s", status, said);
	ck_assert_ptr_nonnull(strstr(said, "1 of 2: does the label fit?"));
	NEAR(sql("SELECT count(*) FROM golden"), 2);
	NEAR(sql("SELECT count(*) FROM golden WHERE answer"), 1);

	status = in_terminal(said, third, ARRAY_LEN(third), true);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	NEAR(sql("SELECT count(*) FROM golden"), 3);

	status = in_terminal(said, rest, ARRAY_LEN(rest), false);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x: %s", status, said);
	ck_assert_ptr_nonnull(strstr(said, "2 answers are kept"));
	NEAR(sql("SELECT count(*) FROM golden"), 5);
	NEAR(sql("SELECT count(DISTINCT key) FROM golden"), 5);
}
END_TEST

START_TEST(a_judge_against_a_person)
{
	explain_opts o = options("detection", "A");
	const cJSON *j, *c;
	cJSON *page;

	score(&o, 0.2, 5);
	o = options("confidence", "A");
	judge = (oracle){ .seed = 5, .d = 1.5 };
	OK(explain_score(NULL, s, &o, &err));
	o = options("detection", "A");
	ck_assert_uint_ge(answer_all(&o, 40, 0), 30 * SCORED);
	page = report();
	j = cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(page, "golden"), "judges"), 1);
	NEAR(number(j, "series"), 1); /* confidence comes first */
	NEAR(number(j, "features"), SCORED);
	ABOUT(number(cJSON_GetObjectItem(j, "accuracy"), "value"), 0.8, 0.06);
	ABOUT(number(cJSON_GetObjectItem(j, "tpr"), "value"), 0.8, 0.08);
	ABOUT(number(cJSON_GetObjectItem(j, "kappa"), "value"), 0.6, 0.12);
	/* the label is right: a person who knows it would score 1, and so says the corrected score */
	c = cJSON_GetObjectItem(j, "corrected");
	ABOUT(number(c, "uncorrected"), 0.8, 0.05);
	ck_assert(cJSON_IsFalse(cJSON_GetObjectItem(c, "unlike")));
	ck_assert_double_lt(number(c, "low"), 1);
	ck_assert_double_ge(number(c, "high"), 0.97);
	ABOUT(number(c, "value"), 1, 0.08);
	j = cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(page, "golden"), "judges"), 0);
	c = cJSON_GetObjectItem(j, "calibration");
	ck_assert_double_gt(number(c, "brier"), 0);
	ck_assert_double_gt(number(c, "slope"), 0);
	ck_assert_double_le(number(c, "brier_after"), number(c, "brier") + 1e-3);
	ck_assert_double_gt(number(cJSON_GetObjectItem(c, "auroc"), "value"), 0.7);
	cJSON_Delete(page);
}
END_TEST

/* Of one feature: 40 firing windows, of which the person says yes to 28 and the judge to these and 8 more; 40 silent ones, 8 of the
 * person's and 4 of these the judge's. */
static void put_unlike(int feature)
{
	static const struct {
		const char *kind;
		int n, person, judge;
	} cells[] = { { "firing", 28, 1, 1 }, { "firing", 8, 0, 1 }, { "firing", 4, 0, 0 },
		      { "silent", 4, 1, 1 },  { "silent", 4, 1, 0 }, { "silent", 32, 0, 0 } };
	text key, kind, answer, query;
	unsigned at = (unsigned)feature * 100;

	text_init(&key, 1 << 16);
	text_init(&kind, 1 << 16);
	text_init(&answer, 1 << 16);
	text_init(&query, 1 << 16);
	for (size_t c = 0; c < ARRAY_LEN(cells); c++)
		for (int i = 0; i < cells[c].n; i++, at++) {
			OK(text_addf(&key, "%08x", at));
			OK(text_addf(&kind, "%d", cells[c].kind[0] == 's'));
			OK(text_addf(&answer, "%s%d", answer.len ? "," : "", cells[c].judge));
			text_clear(&query);
			OK(text_addf(&query,
			             "INSERT INTO golden SELECT explanation_id, 'detection', %u, '%s', '[]', "
			             "%d, '' "
			             "FROM current_label WHERE feature = %d",
			             at, cells[c].kind, cells[c].person, feature));
			OK(store_exec(s, query.data, &err));
		}
	text_clear(&query);
	OK(text_addf(
	        &query,
	        "INSERT INTO score(explanation_id, scorer, judge, value, n_positive, n_negative, n_failed, "
	        "details, created) SELECT explanation_id, 'detection', 'A', 0.9, 40, 40, 0, "
	        "'{\"tpr\":{\"value\":0.9},\"tnr\":{\"value\":0.9},\"items\":{\"key\":\"%s\",\"kind\":\"%s\","
	        "\"answer\":[%s]}}', '' FROM current_label WHERE feature = %d",
	        key.data, kind.data, answer.data, feature));
	OK(store_exec(s, query.data, &err));
	text_free(&key);
	text_free(&kind);
	text_free(&answer);
	text_free(&query);
}

/* The person would get 0.5 + (28/40 - 8/40) / 2; rates of all windows together would make a perfect score of it. */
START_TEST(a_judge_that_errs_unlike_is_told)
{
	const cJSON *c, *f;
	cJSON *page;

	for (int i = 0; i < SCORED; i++)
		put_unlike(i);
	page = report();
	c = cJSON_GetObjectItem(
	        cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(page, "golden"), "judges"), 0),
	        "corrected");
	ck_assert(cJSON_IsTrue(cJSON_GetObjectItem(c, "unlike")));
	f = cJSON_GetObjectItem(cJSON_GetObjectItem(c, "by_kind"), "firing");
	NEAR(number(cJSON_GetObjectItem(f, "tpr"), "value"), 1);
	NEAR(number(cJSON_GetObjectItem(f, "tnr"), "value"), 1.0 / 3);
	f = cJSON_GetObjectItem(cJSON_GetObjectItem(c, "by_kind"), "silent");
	NEAR(number(cJSON_GetObjectItem(f, "tpr"), "value"), 0.5);
	ck_assert_double_gt(0.5 + 0.4 / number(c, "youden"), 1);
	NEAR(number(c, "value"), 0.75);
	ck_assert_double_lt(number(c, "low"), 0.72);
	ck_assert_double_gt(number(c, "high"), 0.78);
	cJSON_Delete(page);
}
END_TEST

START_TEST(a_judge_at_chance_is_not_corrected)
{
	explain_opts o = options("detection", "A");
	cJSON *page;
	const cJSON *c;

	score(&o, 0.5, 5);
	answer_all(&o, 10, 0);
	page = report();
	c = cJSON_GetObjectItem(
	        cJSON_GetArrayItem(cJSON_GetObjectItem(cJSON_GetObjectItem(page, "golden"), "judges"), 0),
	        "corrected");
	ck_assert_ptr_nonnull(c);
	ck_assert(isnan(number(c, "value")));
	cJSON_Delete(page);
}
END_TEST

/* Details may be of whoever wrote into the store: a probability of -5 has no bin. */
START_TEST(answers_beyond_their_scale_are_none)
{
	explain_opts o = options("confidence", "A");
	cJSON *page;

	judge = (oracle){ .seed = 5, .d = 1.5 };
	OK(explain_score(NULL, s, &o, &err));
	o = options("detection", "A");
	answer_all(&o, 10, 0);
	OK(store_exec(s,
	              "UPDATE score SET details = json_set(details, '$.items.answer', (SELECT "
	              "json_group_array(iif(key % 2, -500, 1e9)) FROM json_each(details, '$.items.answer')))",
	              &err));
	page = report();
	ck_assert_int_eq(
	        cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetObjectItem(page, "golden"), "judges")), 0);
	cJSON_Delete(page);
	ck_assert_int_eq(judged_class("confidence", -1), -1);
	ck_assert_int_eq(judged_class("confidence", 100.5), -1);
	ck_assert_int_eq(judged_class("confidence", 100), 1);
	ck_assert_int_eq(judged_class("simulation", 11), -1);
	ck_assert_int_eq(judged_class("simulation", 3), 0);
	ck_assert_int_eq(judged_class("detection", -1), -1);
	ck_assert_int_eq(judged_class("intruder", 16), -1);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *c;

	SUPPORT_CASE(suite, "statistics", kappa_of_the_textbook, intervals_of_kappa_hold_it,
	             windows_of_a_feature_tell_less_together, calibration_of_known_probabilities);
	c = SUPPORT_CASE(
	        suite, "judges", two_judges_get_the_same_windows, each_judge_scores_what_is_new_to_it,
	        kappa_of_what_has_a_yes, answers_stay_and_are_not_asked_for_again, a_person_in_the_terminal,
	        a_person_at_a_terminal, a_judge_against_a_person, answers_beyond_their_scale_are_none,
	        a_judge_that_errs_unlike_is_told, a_judge_at_chance_is_not_corrected);
	tcase_add_checked_fixture(c, setup, fixture_end);
}

SUPPORT_MAIN("judges", cases)
