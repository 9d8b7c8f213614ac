/* label: a task that labels a feature, from windows of the `label` documents: a rule, or questions to a model; where there are several
 * labels to choose between, by a judge on the `select` documents. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/explainer.h"
#include "explain/prompt.h"
#include "explain/raised.h"
#include "explain/subject.h"
#include "explain/tries.h"

enum { LABEL_TOKENS = 200, COT_TOKENS = 600, LABEL_MAX = 1000, MISTAKES = 6 /* of a kind, shown */ };

/* What {{answer}} stands for: with reasons or without, and of jobs begun before "sure" was called so. An answer comes in the order
 * of the schema as it is sent, where keys are in that of the alphabet: reasons, label, how sure. */
#define ANSWER_LABEL(sure)                                                                                   \
	"\"label\": one sentence of at most 25 words, \"short_label\": at most 5 words, \"" sure             \
	"\": a number from 0 (a guess) to 1 (certain)}"
#define ANSWER_COT                                                                                           \
	"{\"analysis\": at most 100 words of reasoning: what the samples have in common, what else could "   \
	"explain them, and what speaks against it, "
#define SURE        "sure"
#define SURE_BEFORE "confidence"
static const char *const answers[2][2] = {
	{ "{" ANSWER_LABEL(SURE), "{" ANSWER_LABEL(SURE_BEFORE) },
	{ ANSWER_COT ANSWER_LABEL(SURE), ANSWER_COT ANSWER_LABEL(SURE_BEFORE) },
};

char *label_schema_before(const char *schema, arena *mem)
{
	static const char now[] = "\"" SURE "\"", then[] = "\"" SURE_BEFORE "\"";
	char *out = NULL;
	text t;
	int rc = 0;

	text_init(&t, PROMPT_MAX);
	for (const char *at; rc == 0 && (at = strstr(schema, now)); schema = at + strlen(now))
		rc = text_addf(&t, "%.*s%s", (int)(at - schema), schema, then);
	if (rc == 0 && text_adds(&t, schema) == 0)
		out = arena_strdup(mem, t.data);
	text_free(&t);
	return out;
}

/* ---- Asking ----------------------------------------------------------------------------------------------------------- */

int explainer_settle(engine_task *t, store_explanation *e, error *err)
{
	e->source_id = t->job->source;
	e->feature = t->row.feature;
	t->explanation = e;
	return engine_settle(t, STORE_TASK_DONE, NULL, err);
}

/* What a task has come to: labels are asked for, then judged where there is something to choose between, then perhaps revised
 * by the judge's mistakes, judged again, and so on. */
typedef struct label_task {
	const char *examples, *ids;
	const store_window **shown; /* (n_shown) */
	size_t n_shown;
	raised *raised;   /* NULL: nothing is steered */
	label_try *tries; /* (n_tries) first the candidates, then what became of the best by refinement */
	size_t n_tries, first; /* first: of those that are under way */
	label_try *best;
	score_task *items; /* NULL: nothing is judged */
	unsigned round;    /* of refinement */
	bool judging, again;
} label_task;

bool label_has_choice(const explain_opts *o)
{
	return o->n_candidates > 1 || o->n_refine > 0;
}

/* Temperature 0 only for a label that is asked for alone; asking again differs in the sample number, so that it is another
 * request. */
static unsigned sample_of(const engine_task *t, const label_try *l)
{
	const label_task *mine = t->data;
	const explain_opts *o = t->job->o;
	unsigned i = (unsigned)(l - mine->tries);

	if (i >= o->n_candidates)
		return 2 * (i - o->n_candidates) + l->asked;
	return (o->n_candidates > 1 ? 1 + i : 0) + l->asked * o->n_candidates;
}

static unsigned reply_tokens(const engine_task *t)
{
	return t->job->o->cot ? COT_TOKENS : LABEL_TOKENS;
}

static const char *answer_shape(const engine_task *t)
{
	return answers[t->job->o->cot][t->job->o->label_schema != NULL];
}

static int ask_label(engine_task *t, label_try *l, error *err)
{
	const label_task *mine = t->data;
	prompt_field fields[] = { { "examples", mine->examples },
		                  { "answer", answer_shape(t) },
		                  { "analysis", t->job->o->cot ? "asked for" : "" } };
	unsigned sample = sample_of(t, l);

	l->asked++;
	t->form = FORM_LABEL;
	return engine_ask_fill(t, fields, ARRAY_LEN(fields), mine->ids, reply_tokens(t), sample, l, err);
}

/* The same examples, the best label so far, and what the judge made of it. */
static int ask_better(engine_task *t, label_try *l, error *err)
{
	const label_task *mine = t->data;
	size_t n = mine->n_shown;
	const store_window **w = arena_alloc(&t->mem, n + 2 * MISTAKES + 1, sizeof(*w));
	unsigned sample = sample_of(t, l);
	const char *ids;
	text missed, wrong, label;
	int rc = w ? 0 : error_nomem(err, "windows");

	text_init(&missed, PROMPT_MAX);
	text_init(&wrong, PROMPT_MAX);
	text_init(&label, PROMPT_MAX);
	if (rc == 0 && n)
		memcpy(w, mine->shown, n * sizeof(*w));
	if (rc == 0)
		rc = tries_mistakes(&missed, w, &n, MISTAKES, mine->best, true, err);
	if (rc == 0)
		rc = tries_mistakes(&wrong, w, &n, MISTAKES, mine->best, false, err);
	if (rc == 0)
		rc = prompt_add_line(&label, mine->best->label.text, err);
	if (rc == 0)
		rc = engine_example_ids(t, &ids, w, n, err);
	if (rc == 0) {
		prompt_field fields[] = { { "examples", mine->examples },
			                  { "answer", answer_shape(t) },
			                  { "analysis", t->job->o->cot ? "asked for" : "" },
			                  { "label", label.data },
			                  { "missed", missed.data },
			                  { "wrong", wrong.data } };

		l->asked++;
		t->form = FORM_REFINE;
		rc = engine_ask_fill(t, fields, ARRAY_LEN(fields), ids, reply_tokens(t), sample, l, err);
	}
	text_free(&label);
	text_free(&wrong);
	text_free(&missed);
	return rc;
}

static int ask_again(engine_task *t, label_try *l, error *err)
{
	const label_task *mine = t->data;

	return l < mine->tries + t->job->o->n_candidates ? ask_label(t, l, err) : ask_better(t, l, err);
}

/* All that can be, so that the longest question is counted. */
static void suppose_mistakes(label_task *mine)
{
	mine->best = &mine->tries[0];
	for (size_t i = 0; i < mine->best->judged->n; i++) {
		score_item *it = &mine->best->judged->items[i];

		it->answer[SCORE_OWN] = 1 - it->truth;
	}
}

/* In a dry run: what is asked if every label is refined as often as it may be, by labels of this length. */
static int foretell(engine_task *t, error *err)
{
	static const char label[] = "a word or phrase of about twenty words, which stands for the label that "
	                            "a model would give here, "
	                            "of ordinary length, and for nothing else";
	label_task *mine = t->data;
	const explain_opts *o = t->job->o;
	int rc = 0;

	for (size_t i = 0; i < o->n_candidates + o->n_refine && rc == 0; i++) {
		label_try *l = &mine->tries[i];

		l->label.text = label;
		if (i >= o->n_candidates)
			rc = ask_better(t, l, err);
		if (rc == 0)
			rc = tries_judge(l, mine->items, false, FORM_JUDGE, t, err);
		if (rc == 0 && i == 0)
			suppose_mistakes(mine);
	}
	return rc;
}

static int ask_first(engine_task *t, error *err)
{
	label_task *mine = t->data;
	const explain_opts *o = t->job->o;
	int rc = 0;

	mine->tries = arena_alloc(&t->mem, o->n_candidates + o->n_refine, sizeof(*mine->tries));
	if (!mine->tries)
		return error_nomem(err, "labels");
	mine->n_tries = o->n_candidates;
	for (size_t i = 0; i < mine->n_tries && rc == 0; i++)
		rc = ask_label(t, &mine->tries[i], err);
	return rc == 0 && o->dry_run && mine->items ? foretell(t, err) : rc;
}

/* What is to be shown, and what labels are judged by; nothing is asked before both are there. */
static int prepare(const char **why, char buf[128], engine_task *t, explain_view *v, error *err)
{
	label_task *mine = arena_alloc(&t->mem, 1, sizeof(*mine));
	text examples;
	int rc = mine ? 0 : error_nomem(err, "a task");

	if (rc < 0)
		return rc;
	text_init(&examples, PROMPT_MAX);
	rc = t->job->kind->explainer->show(why, &examples, t, v, err);
	if (rc == 0 && !*why)
		rc = engine_example_ids(t, &mine->ids, v->shown, v->n_shown, err);
	if (rc == 0 && !*why && t->job->o->subject)
		rc = raised_new(&mine->raised, why, t, err);
	if (rc == 0 && !*why && label_has_choice(t->job->o))
		rc = tries_items(why, buf, &mine->items, t, err);
	mine->shown = v->shown;
	mine->n_shown = v->n_shown;
	mine->examples = arena_strdup(&t->mem, examples.data ? examples.data : "");
	t->data = mine;
	text_free(&examples);
	return rc < 0 || mine->examples ? rc : error_nomem(err, "a prompt");
}

/* What it raised stands behind what was to be shown before, and its texts are among the windows that the question is about. */
static int show_raised(engine_task *t, error *err)
{
	label_task *mine = t->data;
	text all;
	int rc;

	text_init(&all, PROMPT_MAX);
	rc = text_addf(&all, "%s%s", mine->examples, mine->examples[0] ? "\n" : "");
	rc = rc < 0 ? error_set(err, ERR_LIMIT, "the prompt is too long")
	            : raised_add(&all, mine->raised, err);
	mine->shown = raised_windows(mine->raised, &mine->n_shown);
	if (rc == 0)
		rc = engine_example_ids(t, &mine->ids, mine->shown, mine->n_shown, err);
	mine->examples = arena_strdup(&t->mem, all.data ? all.data : "");
	text_free(&all);
	return rc < 0 || mine->examples ? rc : error_nomem(err, "a prompt");
}

/* Steering first, then the question. */
static int steer(engine_task *t, error *err)
{
	label_task *mine = t->data;
	bool over = false;
	int rc = raised_step(&over, mine->raised, t, err);

	if (rc == 0 && over)
		rc = show_raised(t, err);
	return rc < 0 || !over ? rc : ask_first(t, err);
}

static int show(engine_task *t, explain_view *v, error *err)
{
	const char *why = NULL;
	char buf[128];
	int rc = prepare(&why, buf, t, v, err);

	if (rc < 0)
		return rc;
	if (why)
		return engine_settle(t, STORE_TASK_SKIPPED, why, err);
	return ((label_task *)t->data)->raised ? steer(t, err) : ask_first(t, err);
}

/* What a rule went by is recorded like what a model was asked about. */
static int try_rule(engine_task *t, explain_view *v, error *err)
{
	const explainer *x = t->job->kind->explainer;
	const char *ids;
	int rc = x->rule ? x->rule(t, v, err) : 0;

	if (rc < 0 || !t->settled || !t->explanation)
		return rc;
	rc = engine_example_ids(t, &ids, v->shown, v->n_shown, err);
	return rc < 0 ? rc : engine_ask_add(t, NULL, NULL, NULL, ids, 0, 0, NULL, err);
}

int label_begin(engine_task *t, error *err)
{
	const explainer *x = t->job->kind->explainer;
	explain_view v = { 0 };
	const char *why;
	char buf[128];
	int rc = x->windows ? examples_read(&v.all, t, STORE_LABEL, err) : 0;

	if (rc < 0)
		return rc;
	why = x->windows ? examples_too_few(buf, &v.all, STORE_LABEL) : NULL;
	if (why)
		return engine_settle(t, STORE_TASK_SKIPPED, why, err);
	rc = try_rule(t, &v, err);
	if (rc < 0 || t->settled)
		return rc;
	if (!t->job->o->client)
		return engine_settle(t, STORE_TASK_SKIPPED,
		                     "it fires on several tokens: a model has to look at it (--base-url)",
		                     err);
	return show(t, &v, err);
}

int label_open(engine *j, error *err)
{
	int rc = engine_open_chat(j, err);

	return rc == 0 && j->o->subject ? subject_open_steering(j, err) : rc;
}

bool label_report_steering(const engine_task *t, cJSON *about)
{
	const label_task *mine = t->data;

	return !mine || !mine->raised || raised_report(about, mine->raised);
}

/* ---- Answers ---------------------------------------------------------------------------------------------------------- */

static char *trimmed(arena *mem, const char *s)
{
	size_t n;

	while (*s == ' ' || *s == '\n' || *s == '\t')
		s++;
	for (n = strlen(s); n && (s[n - 1] == ' ' || s[n - 1] == '\n' || s[n - 1] == '\t'); n--)
		;
	return arena_memdupz(mem, s, n);
}

/* Some models give per cent. */
static double confidence_of(const cJSON *answer)
{
	const cJSON *sure = cJSON_GetObjectItemCaseSensitive(answer, SURE);
	double c = (sure ? sure : cJSON_GetObjectItemCaseSensitive(answer, SURE_BEFORE))->valuedouble;

	if (c > 1 && c <= 100)
		c /= 100;
	return c >= 0 && c <= 1 ? c : (double)NAN;
}

/* Into the try that it is about; what is of no use as a label is told in ask->err. */
static int take_label(engine_task *t, engine_ask *ask, error *err)
{
	const char *label = cJSON_GetObjectItemCaseSensitive(ask->answer, "label")->valuestring;
	const char *brief = cJSON_GetObjectItemCaseSensitive(ask->answer, "short_label")->valuestring;
	bool refined = ask->form == FORM_REFINE;
	label_try *l = ask->data;
	store_explanation e = { .text = trimmed(&t->mem, label),
		                .short_text = trimmed(&t->mem, brief),
		                .method = "llm",
		                .model = t->job->o->client->model,
		                .source_id = t->job->source,
		                .feature = t->row.feature,
		                .prompt_sha256 = refined ? t->job->form_sha256[FORM_REFINE - 1].prompt
		                                         : t->job->prompt_sha256,
		                .schema_sha256 = t->job->schema_sha256,
		                .confidence = confidence_of(ask->answer) };

	if (!e.text || !e.short_text)
		return error_nomem(err, "a label");
	if (e.short_text[0] == '\0')
		e.short_text = NULL;
	if (e.text[0] && strlen(e.text) <= LABEL_MAX)
		l->label = e;
	else
		error_set(&ask->err, ERR_FORMAT, "the model's label is %s", e.text[0] ? "too long" : "empty");
	return 0;
}

/* Answers that came since. An answer that is of no use is asked for once more; an endpoint that failed was asked often enough,
 * and fails the task. */
static int take_answers(engine_task *t, error *err)
{
	const label_task *mine = t->data;
	int rc = 0;

	for (engine_ask *ask = t->asks; ask && rc == 0 && !t->settled; ask = ask->next) {
		bool for_label = ask->form == FORM_LABEL || ask->form == FORM_REFINE;
		label_try *l = ask->data;

		if (ask->read || !ask->over) /* asked for again just now */
			continue;
		ask->read = true;
		if (ask->request.api == EXPLAIN_SUBJECT) {
			if (!ask->err.code)
				raised_take(mine->raised, ask);
			if (ask->err.code)
				return engine_settle(t, engine_failure(ask), ask->err.msg, err);
			continue;
		}
		if (!ask->answer && ask->err.code != ERR_FORMAT)
			return engine_settle(t, engine_failure(ask), ask->err.msg, err);
		if (ask->answer)
			rc = for_label ? take_label(t, ask, err)
			               : tries_take(ask, mine->tries, mine->n_tries, err);
		if (rc == 0 && for_label && !l->label.text && l->asked < 2 &&
		    engine_failure(ask) == STORE_TASK_FAILED)
			rc = ask_again(t, l, err);
	}
	return rc;
}

static int settle_without(engine_task *t, error *err)
{
	const engine_ask *last = NULL;

	for (const engine_ask *ask = t->asks; ask; ask = ask->next)
		if (ask->form == FORM_LABEL || ask->form == FORM_REFINE)
			last = ask;
	return engine_settle(t, engine_failure(last), last->err.msg, err);
}

/* The best one, and what became of the others. */
static int settle_best(engine_task *t, error *err)
{
	const label_task *mine = t->data;

	if (mine->items) {
		t->rejected = arena_alloc(&t->mem, mine->n_tries, sizeof(*t->rejected));
		t->chosen_by = arena_alloc(&t->mem, mine->n_tries, sizeof(*t->chosen_by));
		if (!t->rejected || !t->chosen_by)
			return error_nomem(err, "labels");
	}
	for (size_t i = 0; i < mine->n_tries && mine->items; i++) {
		label_try *l = &mine->tries[i];

		if (l == mine->best || !l->label.text)
			continue;
		l->label.rejected = true;
		t->chosen_by[t->n_rejected] = l->score;
		t->rejected[t->n_rejected++] = l->label;
	}
	if (mine->items)
		t->chosen_by[t->n_rejected] = mine->best->score;
	return explainer_settle(t, &mine->best->label, err);
}

/* Candidates: the highest score, of equal ones the first. A revised label: unless it is worse. */
static bool is_better(const label_task *mine, const label_try *l)
{
	double best = mine->best ? mine->best->score.value : (double)NAN;

	if (!l->label.text || isnan(l->score.value))
		return false;
	return isnan(best) || l->score.value > best || (mine->round && l->score.value >= best);
}

/* Whether the judge made mistakes of which a better label could come. */
static bool can_improve(const label_task *mine)
{
	const score_task *judged = mine->best->judged;

	for (size_t i = 0; i < judged->n; i++)
		if (!isnan(judged->items[i].answer[SCORE_OWN]) &&
		    judged->items[i].answer[SCORE_OWN] != judged->items[i].truth)
			return true;
	return false;
}

static int conclude(engine_task *t, error *err)
{
	label_task *mine = t->data;
	int rc = 0;

	for (size_t i = mine->first; i < mine->n_tries && rc == 0; i++) {
		if (!mine->tries[i].label.text)
			continue;
		rc = tries_measure(&mine->tries[i], t, err);
		if (rc == 0 && is_better(mine, &mine->tries[i]))
			mine->best = &mine->tries[i];
	}
	if (rc < 0)
		return rc;
	if (!mine->best)
		return engine_settle(t, STORE_TASK_FAILED,
		                     "the judge gave no answers by which a label could be chosen", err);
	if (mine->round == t->job->o->n_refine || !can_improve(mine))
		return settle_best(t, err);
	mine->judging = mine->again = false;
	mine->round++;
	mine->first = mine->n_tries++;
	return ask_better(t, &mine->tries[mine->first], err);
}

/* Those under way judged, or what of them has no answer once more. */
static int judge(engine_task *t, bool again, error *err)
{
	label_task *mine = t->data;
	int rc = 0;

	for (size_t i = mine->first; i < mine->n_tries && rc == 0; i++)
		if (mine->tries[i].label.text)
			rc = tries_judge(&mine->tries[i], mine->items, again, FORM_JUDGE, t, err);
	return rc;
}

int label_finish(engine_task *t, error *err)
{
	label_task *mine = t->data;
	unsigned before = t->n_asks;
	bool any = false;
	int rc = take_answers(t, err);

	if (rc < 0 || t->settled || t->n_asks > before)
		return rc;
	if (mine->raised && !mine->tries)
		return steer(t, err);
	for (size_t i = 0; i < mine->n_tries; i++)
		any |= mine->tries[i].label.text != NULL;
	if (!any)
		return settle_without(t, err);
	if (!mine->items) {
		mine->best = &mine->tries[0];
		return settle_best(t, err);
	}
	for (; !mine->again && rc == 0 && t->n_asks == before; mine->judging = true) {
		mine->again = mine->judging;
		rc = judge(t, mine->again, err);
	}
	return rc < 0 || t->n_asks > before ? rc : conclude(t, err);
}
