/* The lexical explainer on windows with planted rules: the label must name the rule, and the judge must apply it. */
#include <math.h>
#include <stdlib.h>

#include "explain/explain.h"
#include "tests/support.h"

enum { LENGTH = 24, MOST = 60 };

/* Token texts as a byte-level BPE gives them: a word has its space before it, rare words are in pieces. */
static const char *const filler[] = { " the", " of",    " and",   " house", " old",   " was",  " in",
	                              " a",   " green", " river", " walk",  " seen",  ",",     ".",
	                              " to",  " went",  " stone", " more",  " think", " above" };

typedef struct planted {
	store_window w;
	const char *text[LENGTH];
	float value[LENGTH];
	uint32_t token[LENGTH];
} planted;

static void fill(planted *p, uint64_t seed)
{
	*p = (planted){ .w = { .length = LENGTH, .peak = LENGTH / 2 } };
	for (uint32_t i = 0; i < LENGTH; i++)
		p->text[i] = filler[hash64_below(hash64_mix(seed, i), ARRAY_LEN(filler))];
	p->w.text = p->text;
	p->w.value = p->value;
	p->w.token = p->token;
}

/* n windows into w; `plant` (NULL: silent) is put at the peak of each, item by turn; "X|Y" puts X before and Y at the peak. */
static void make(planted *p, store_window *w, size_t n, const char *const *plant, size_t n_plant,
                 uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		fill(&p[i], hash64_mix(seed, 1000 + i));
		if (plant) {
			const char *item = plant[i % n_plant], *bar = strchr(item, '|');
			uint32_t peak = p[i].w.peak;

			p[i].text[peak] = bar ? bar + 1 : item;
			if (bar) {
				static char before[MOST][32];

				snprintf(before[i], sizeof(before[i]), "%.*s", (int)(bar - item), item);
				p[i].text[peak - 1] = before[i];
			}
			p[i].value[peak] = p[i].w.activation = 1;
		}
		w[i] = p[i].w;
		w[i].text = p[i].text;
		w[i].value = p[i].value;
		w[i].token = p[i].token;
	}
}

static const char *const word[] = { " cat", " Cat", " cat" };
static const char *const suffix[] = { " running", " going", " eating", " reading", " making", " trying" };
static const char *const prefix[] = { " unhappy", " unclear", " unfair", " unmade", " unlike", " untrue" };
static const char *const after[] = { " Mount| sin", " Mount| high", " Mount| tabor",
	                             " Mount| of",  " Mount| rose", " Mount| the" };
static const char *const phrase[] = { " New| york", " new| york" };
static const char *const either[] = { " he", " she", " he", " she" };
static const char *const number[] = { " 12", " 7", " 1984", "3", " 55" };
static const char *const line[] = { "\n", "\n\n" };

static const struct {
	const char *label;
	const char *const *plant;
	size_t n;
} rules[] = {
	{ "the word \"cat\"", word, ARRAY_LEN(word) },
	{ "words ending in \"ing\"", suffix, ARRAY_LEN(suffix) },
	{ "words beginning with \"un\"", prefix, ARRAY_LEN(prefix) },
	{ "right after \"mount\"", after, ARRAY_LEN(after) },
	{ "the word \"york\"", phrase, ARRAY_LEN(phrase) },
	{ "numbers", number, ARRAY_LEN(number) },
	{ "line breaks", line, ARRAY_LEN(line) },
};

static planted firing_p[MOST], silent_p[MOST];
static store_window firing[MOST], silent[MOST];

static double balanced(const char *rule, uint64_t seed, const char *const *plant, size_t n_plant)
{
	unsigned tp = 0, tn = 0;
	error e = { 0 };
	bool holds;

	make(firing_p, firing, MOST, plant, n_plant, seed);
	make(silent_p, silent, MOST, NULL, 0, seed + 1);
	for (size_t i = 0; i < MOST; i++) {
		ck_assert_int_eq(explain_lexical_judge(&holds, rule, &firing[i], &e), 0);
		tp += holds;
		ck_assert_int_eq(explain_lexical_judge(&holds, rule, &silent[i], &e), 0);
		tn += !holds;
	}
	return (tp + tn) / (2.0 * MOST);
}

START_TEST(names_the_planted_rule)
{
	char *label = NULL, *rule = NULL;
	error e = { 0 };

	make(firing_p, firing, 18, rules[_i].plant, rules[_i].n, 1);
	make(silent_p, silent, 50, NULL, 0, 2);
	ck_assert_int_eq(explain_lexical_label(&label, &rule, firing, 18, silent, 50, &e), 0);
	ck_assert_str_eq(label, rules[_i].label);
	ck_assert_double_ge(balanced(rule, 3, rules[_i].plant, rules[_i].n), 0.95);
	free(label);
	free(rule);
}
END_TEST

START_TEST(joins_two_words)
{
	char *label = NULL, *rule = NULL;
	error e = { 0 };

	make(firing_p, firing, 16, either, ARRAY_LEN(either), 1);
	make(silent_p, silent, 50, NULL, 0, 2);
	ck_assert_int_eq(explain_lexical_label(&label, &rule, firing, 16, silent, 50, &e), 0);
	ck_assert_str_eq(label, "the word \"she\" or the word \"he\"");
	ck_assert_double_eq(balanced(rule, 3, either, ARRAY_LEN(either)), 1);
	free(label);
	free(rule);
}
END_TEST

START_TEST(signs_are_no_letters)
{
	static const char *const spaced[] = { "\xc2\xa0"
		                              "cat",
		                              "\xe2\x80\x9c"
		                              "cat" }; /* a no-break space, a quotation mark */
	char *label = NULL, *rule = NULL;
	error e = { 0 };

	make(firing_p, firing, 8, spaced, ARRAY_LEN(spaced), 1);
	make(silent_p, silent, 20, NULL, 0, 2);
	ck_assert_int_eq(explain_lexical_label(&label, &rule, firing, 8, silent, 20, &e), 0);
	ck_assert_str_eq(label, "the word \"cat\"");
	free(label);
	free(rule);
}
END_TEST

START_TEST(no_windows)
{
	char *label = NULL, *rule = NULL;
	error e = { 0 };

	ck_assert_int_eq(explain_lexical_label(&label, &rule, NULL, 0, NULL, 0, &e), ERR_NOTFOUND);
	ck_assert_ptr_null(label);
	make(firing_p, firing, 3, word, ARRAY_LEN(word), 1);
	ck_assert_int_eq(explain_lexical_label(&label, &rule, firing, 3, NULL, 0, &e), 0);
	ck_assert_str_eq(label, "the word \"cat\"");
	free(label);
	free(rule);
}
END_TEST

START_TEST(bad_rules)
{
	static const char *const bad[] = { "",
		                           "[]",
		                           "{}",
		                           "{\"any\":3}",
		                           "{\"any\":[{}]}",
		                           "{\"any\":[{\"kind\":\"word\"}]}",
		                           "{\"any\":[{\"kind\":\"verse\",\"text\":\"a\"}]}",
		                           "{\"any\":[{\"kind\":1,\"text\":\"a\"}]}" };
	error e = { 0 };
	bool holds = true;

	make(firing_p, firing, 1, word, ARRAY_LEN(word), 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		e = (error){ 0 };
		ck_assert_msg(explain_lexical_judge(&holds, bad[i], &firing[0], &e) == ERR_FORMAT, "%s",
		              bad[i]);
		ck_assert_str_ne(e.msg, "");
	}
}
END_TEST

START_TEST(survives_every_failed_allocation)
{
	error e;

	make(firing_p, firing, 4, word, ARRAY_LEN(word), 1);
	make(silent_p, silent, 4, NULL, 0, 2);
	for (long n = 0;; n++) {
		char *label = NULL, *rule = NULL;
		int rc;

		e = (error){ 0 };
		fault_arm(FAULT_ALLOC, n);
		rc = explain_lexical_label(&label, &rule, firing, 4, silent, 4, &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			free(label);
			free(rule);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(label);
		ck_assert_ptr_null(rule);
	}
}
END_TEST

static void cases(Suite *s)
{
	TCase *loop = tcase_create("rules");

	tcase_add_loop_test(loop, names_the_planted_rule, 0, ARRAY_LEN(rules));
	suite_add_tcase(s, loop);
	SUPPORT_CASE(s, "all", joins_two_words, signs_are_no_letters, no_windows, bad_rules,
	             survives_every_failed_allocation);
}
SUPPORT_MAIN("lexical", cases)
