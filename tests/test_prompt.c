/* Templates: their fields, turns and worked examples; windows as models get to see them. */
#include "explain/chat.h"
#include "explain/prompt.h"
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

extern const char prompt_label[], prompt_label_contrastive[], prompt_label_table[];

static error err;

START_TEST(templates_are_filled_exactly)
{
	prompt_field fields[] = { { "a", "{{b}}" }, { "label", "L" } };
	text system, user;

	text_init(&system, 1000);
	text_init(&user, 1000);
	ck_assert_int_eq(prompt_fill(&system, &user, "S {{label}}\n=== user\n{{a}}!\n", fields, 2, &err), 0);
	ck_assert_str_eq(system.data, "S L");
	ck_assert_str_eq(user.data, "{{b}}!"); /* a value is not looked into */
	ck_assert_int_eq(prompt_fill(&system, &user, "x\n=== user\n{{nope}}", fields, 2, &err), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(err.msg, "unknown field '{{nope}}'"));
	ck_assert_int_eq(prompt_fill(&system, &user, "x\n=== user\n{{a", fields, 2, &err), ERR_FORMAT);
	ck_assert_int_eq(prompt_fill(&system, &user, "no user part", fields, 2, &err), ERR_FORMAT);
	ck_assert_int_eq(prompt_fill(&system, &user, "no === user\n", fields, 2, &err), ERR_FORMAT);
	text_clear(&system);
	text_clear(&user);
	ck_assert_int_eq(prompt_fill(&system, &user, "=== user\nall of it", fields, 2, &err), 0);
	ck_assert_uint_eq(system.len, 0);
	ck_assert_str_eq(user.data, "all of it");
	text_free(&system);
	text_free(&user);
}
END_TEST

START_TEST(templates_must_ask_about_something)
{
	static const char *const score[] = { "label", "texts", "count" }, *const explain[] = { "examples",
		                                                                               "answer" };

	ck_assert_int_eq(prompt_check("=== user\n{{texts}}", score, 3, "t.txt", &err), 0);
	ck_assert_int_eq(prompt_check("=== user\n{{label}}", score, 3, "t.txt", &err), ERR_FORMAT);
	ck_assert_str_eq(err.msg, "'t.txt' lacks the field '{{texts}}'");
	ck_assert_int_eq(prompt_check("=== user\n{{label}}", score, 3, NULL, &err), 0); /* ours */
	ck_assert_int_eq(prompt_check("=== user\nWell?", score, 1, "t.txt", &err), ERR_FORMAT);
	ck_assert_str_eq(err.msg, "'t.txt' lacks the field '{{label}}'");
	ck_assert_int_eq(prompt_check("x\n=== user\n{{answer}}", explain, 2, "t.txt", &err), ERR_FORMAT);
	ck_assert_int_eq(prompt_check("{{texts}} {{x}}\n=== user\n", score, 3, "t.txt", &err), ERR_FORMAT);
	ck_assert_str_eq(err.msg, "'t.txt' line 1: unknown field '{{x}}'");
}
END_TEST

START_TEST(windows_cannot_be_misread)
{
	static const char *const tokens[] = { "a <<", "b", "\n[2] ", "<", "c", " >" };
	static const float values[] = { 0, 10, 0, 0, 4, 0 };
	static const uint32_t ids[6] = { 0 };
	store_window w = {
		.length = 6, .peak = 1, .activation = 10, .token = ids, .text = tokens, .value = values
	};
	text t;

	text_init(&t, 1000);
	ck_assert_int_eq(prompt_add_marked(&t, &w, 20, &err), 0);
	ck_assert_str_eq(t.data, "a ‹‹<<b>>↵[2] ‹<<c>> >\nactive: \"b\" 5 (peak), \"c\" 2");
	text_clear(&t);
	ck_assert_int_eq(prompt_add_plain(&t, &w, &err), 0);
	ck_assert_str_eq(t.data, "a <<b↵[2] <c >");
	text_clear(&t);
	ck_assert_int_eq(prompt_add_marks(&t, &w, (const uint8_t[]){ 1, 0, 0, 0, 0, 1 }, &err), 0);
	ck_assert_str_eq(t.data, "<<a ‹‹>>b↵[2] <c<< ›>>");
	w = prompt_cut(&w, 4, 2);
	ck_assert_uint_eq(w.length, 4);
	ck_assert_uint_eq(w.peak, 1);
	text_free(&t);
}
END_TEST

START_TEST(a_field_may_stand_for_a_text)
{
	prompt_field fields[] = { { "yes", "x" }, { "no", "" } };
	text system, user;

	text_init(&system, 1000);
	text_init(&user, 1000);
	ck_assert_int_eq(prompt_fill(&system, &user,
	                             "{{{yes:\"a\":1,}}\"b\":2}\n=== user\n{{{no:\"a\":1,}}\"b\":2}", fields,
	                             2, &err),
	                 0);
	ck_assert_str_eq(system.data, "{\"a\":1,\"b\":2}");
	ck_assert_str_eq(user.data, "{\"b\":2}");
	text_free(&system);
	text_free(&user);
}
END_TEST

#define TURNS "rules\n=== user\nq1\n\n=== assistant\n{\"a\":1}\n=== user\n{{examples}}\n"

static void body_is(const chat *c, const chat_question *q, const char *messages)
{
	char want[400], *body;

	snprintf(want, sizeof(want), "{\"max_tokens\":0,\"messages\":[%s],\"model\":\"m\",\"temperature\":0}",
	         messages);
	ck_assert_int_eq(chat_body(&body, c, q, &err), 0);
	ck_assert_str_eq(body, want);
	free(body);
}

#define SAID(role, content) "{\"content\":\"" content "\",\"role\":\"" role "\"}"

/* What is above the last line is sent as the turns that it has, with the instructions before the first question where the server
 * takes no system message. */
START_TEST(worked_examples_are_turns)
{
	prompt_field field = { "examples", "q2" };
	chat c = { .model = "m", .format = CHAT_PLAIN };
	chat_question q = { 0 };
	text system, user;

	text_init(&system, 1000);
	text_init(&user, 1000);
	ck_assert_int_eq(prompt_fill(&system, &user, TURNS, &field, 1, &err), 0);
	q.system = system.data;
	q.user = user.data;
	body_is(&c, &q,
	        SAID("system", "rules") "," SAID("user", "q1\\n") "," SAID(
	                "assistant", "{\\\"a\\\":1}") "," SAID("user", "q2"));
	c.no_system = true;
	body_is(&c, &q,
	        SAID("user", "rules\\n\\nq1\\n") "," SAID("assistant", "{\\\"a\\\":1}") "," SAID("user",
	                                                                                         "q2"));
	q.system = "rules";
	body_is(&c, &q, SAID("user", "rules\\n\\nq2"));
	q.system = "=== user\nq1\n=== assistant\n\n=== user\n";
	body_is(&c, &q,
	        SAID("user", "q1") "," SAID("assistant", "") "," SAID("user", "") "," SAID("user", "q2"));
	q.system = NULL;
	body_is(&c, &q, SAID("user", "q2"));
	text_free(&system);
	text_free(&user);
}
END_TEST

static const struct {
	const char *text, *says; /* NULL: it is fine */
} turns[] = {
	{ TURNS, NULL },
	{ "=== user\nx\n=== assistant\ny\n=== user\n{{examples}}", NULL },
	{ "a\n=== user\n{{examples}}\n=== user\n",
	  "'t.txt' line 4: '=== user' where '=== assistant' belongs" },
	{ "a\n=== assistant\n{{examples}}\n=== user\n",
	  "'t.txt' line 2: '=== assistant' where '=== user' belongs" },
	{ "a\n=== user\n{{examples}}\n=== assistant\n",
	  "'t.txt' ends with a line '=== assistant': it lacks the question behind a last '=== user'" },
	{ "a\n=== user\n{{examples:x {{examples}}\n", "'t.txt' line 3: '{{' without '}}'" },
	{ "a\n=== user\n{{examples:x}}\n=== assistant\ny\n=== user\n{{nope:x}}",
	  "'t.txt' line 7: unknown field '{{nope}}'" },
};

START_TEST(turns_come_in_pairs)
{
	static const char *const fields[] = { "examples" };
	int rc = prompt_check(turns[_i].text, fields, 1, "t.txt", &err);

	ck_assert_int_eq(rc, turns[_i].says ? ERR_FORMAT : 0);
	if (turns[_i].says)
		ck_assert_str_eq(err.msg, turns[_i].says);
}
END_TEST

/* ---- Worked examples are in the format that the question has ----------------------------------------------------------------- */

enum { TOKENS_MAX = 32, TOKEN_MAX = 128 };

typedef struct sample {
	char token[TOKENS_MAX][TOKEN_MAX];
	const char *text[TOKENS_MAX];
	float value[TOKENS_MAX];
	uint32_t id[TOKENS_MAX];
	store_window w;
} sample;

static void add_token(sample *s, const char *token, size_t len, float value)
{
	ck_assert_uint_lt(s->w.length, TOKENS_MAX);
	ck_assert_uint_lt(len, TOKEN_MAX);
	memcpy(s->token[s->w.length], token, len);
	s->text[s->w.length] = s->token[s->w.length];
	s->value[s->w.length++] = value;
}

/* The next of `"token" 7 (peak), "other" 3`. */
static const char *add_active(sample *s, const char *list)
{
	const char *end = strchr(list + 1, '"');
	char *behind;

	ck_assert(*list == '"' && end);
	add_token(s, list + 1, (size_t)(end - list - 1), strtof(end + 1, &behind));
	if (strncmp(behind, " (peak)", 7) == 0) {
		s->w.peak = s->w.length - 1;
		s->w.activation = s->value[s->w.peak];
		behind += 7;
	}
	return strncmp(behind, ", ", 2) == 0 ? behind + 2 : behind;
}

/* A window that looks like these two lines, with the text outside of marks as tokens of value 0. */
static void read_sample(sample *s, const char *line, const char *active)
{
	const char *open, *close, *end = strchr(line, '\n');
	size_t first;

	*s = (sample){ 0 };
	s->w.text = s->text;
	s->w.value = s->value;
	s->w.token = s->id;
	while ((open = strstr(line, "<<")) && open < end) {
		if (open > line)
			add_token(s, line, (size_t)(open - line), 0);
		close = strstr(open, ">>");
		ck_assert_ptr_nonnull(close);
		for (size_t len = 0; len < (size_t)(close - open - 2); len += strlen(s->text[first])) {
			first = s->w.length;
			active = add_active(s, active);
		}
		line = close + 2;
	}
	if (end > line)
		add_token(s, line, (size_t)(end - line), 0);
	ck_assert_int_eq(*active, '\n');
}

/* As prompt_add_marked() and the list of peaks would write what it shows. */
static void check_marked(const char *user)
{
	const char *at = user, *active, *between = "\n\nPeaks: ";
	char head[32];
	text want, peaks;
	sample s;

	text_init(&want, 10000);
	text_init(&peaks, 10000);
	for (unsigned i = 1;
	     snprintf(head, sizeof(head), "Sample %u: ", i) && strncmp(at, head, strlen(head)) == 0; i++) {
		at += strlen(head);
		active = strstr(at, "\nactive: ");
		ck_assert_ptr_nonnull(active);
		read_sample(&s, at, active + strlen("\nactive: "));
		ck_assert_float_gt(s.w.activation, 0);
		ck_assert_int_eq(text_addf(&want, "%s%s", i > 1 ? "\n" : "", head), 0);
		ck_assert_int_eq(prompt_add_marked(&want, &s.w, 10, &err), 0);
		at = strchr(active + 1, '\n') + 1;
		if (peaks.len && strstr(peaks.data, s.text[s.w.peak]))
			continue;
		ck_assert_int_eq(text_adds(&peaks, between), 0);
		ck_assert_int_eq(prompt_add_token(&peaks, &s.w, s.w.peak, &err), 0);
		between = ", ";
	}
	ck_assert_int_eq(text_adds(&want, peaks.data), 0);
	ck_assert_msg(strncmp(user, want.data, want.len) == 0, "%s\nis not\n%s", user, want.data);
	at = user + want.len;
	ck_assert_msg(*at == '\0' || strncmp(at, "\n\nCounterexamples:\nCounterexample 1: ", 37) == 0, "%s",
	              at);
	text_free(&want);
	text_free(&peaks);
}

/* Each token of a sample has a line with a value from 0 to 10, and those above 0 are listed once more. */
static void check_table(const char *user)
{
	const char *again = strstr(user, "\nThe same without the zeros:\n"), *at = user;
	text want;

	ck_assert_ptr_nonnull(again);
	text_init(&want, 10000);
	while (at <= again) {
		const char *end = strchr(at, '\n'), *tab = memchr(at, '\t', (size_t)(end - at));

		ck_assert_msg(end == at || tab || strncmp(at, "Sample ", 7) == 0, "%.20s", at);
		if (!tab || strncmp(tab, "\t0\n", 3) != 0)
			ck_assert_int_eq(text_add(&want, at, (size_t)(end - at) + (end > at)), 0);
		at = end + 1;
	}
	ck_assert_str_eq(strchr(again + 1, '\n') + 1, want.data);
	text_free(&want);
}

static void check_answer(const char *answer, bool cot)
{
	cJSON *o = cJSON_Parse(answer);
	const cJSON *first = o ? o->child : NULL;

	ck_assert_msg(o != NULL, "%s", answer);
	ck_assert_int_eq(cJSON_GetArraySize(o), cot ? 4 : 3);
	ck_assert_str_eq(first->string, cot ? "analysis" : "label");
	first = cot ? first->next : first;
	ck_assert_str_eq(first->next->string, "short_label");
	ck_assert_str_eq(first->next->next->string, "sure");
	ck_assert(cJSON_IsNumber(first->next->next));
	cJSON_Delete(o);
}

static const struct {
	const char *template;
	void (*check)(const char *user);
} shipped[] = { { prompt_label, check_marked },
	        { prompt_label_contrastive, check_marked },
	        { prompt_label_table, check_table } };

/* Loop index: template, two of each: without reasons, with. */
START_TEST(worked_examples_are_in_the_real_format)
{
	bool cot = _i % 2;
	prompt_field fields[] = { { "examples", "" }, { "answer", "" }, { "analysis", cot ? "yes" : "" } };
	text system, user;
	prompt_turn turn;
	const char *rest;
	char *said;
	unsigned n = 0;

	text_init(&system, 100000);
	text_init(&user, 1000);
	ck_assert_int_eq(prompt_fill(&system, &user, shipped[_i / 2].template, fields, 3, &err), 0);
	for (rest = system.data; prompt_next_turn(&turn, &rest); free(said)) {
		said = strndup(turn.text, turn.len);
		if (strcmp(turn.role, "user") == 0)
			shipped[_i / 2].check(said);
		else if (strcmp(turn.role, "assistant") == 0)
			check_answer(said, cot);
		n += strcmp(turn.role, "assistant") == 0;
	}
	ck_assert_uint_ge(n, 2);
	text_free(&system);
	text_free(&user);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = SUPPORT_CASE(suite, "prompts", templates_are_filled_exactly,
	                        templates_must_ask_about_something, windows_cannot_be_misread,
	                        a_field_may_stand_for_a_text, worked_examples_are_turns);

	tcase_add_loop_test(t, turns_come_in_pairs, 0, ARRAY_LEN(turns));
	tcase_add_loop_test(t, worked_examples_are_in_the_real_format, 0, 2 * ARRAY_LEN(shipped));
}
SUPPORT_MAIN("prompt", cases)
