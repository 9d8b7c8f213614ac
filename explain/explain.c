/* explain: the job that labels features, from windows of the `label` documents. */
#include "explain/engine.h"
#include "explain/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/stats.h"

enum { MIN_WINDOWS = 5, LABEL_TOKENS = 200, LABEL_MAX = 1000, LEXICAL_SILENT = 100 };

extern const char prompt_label[];
extern const char schema_label[];

static const char *const label_fields[] = { "examples" };

explain_opts explain_opts_default(void)
{
	return (explain_opts){ .features = "all",
		               .share = true,
		               .batch_size = 10000,
		               .batch_poll = 30,
		               .n_examples = 20,
		               .n_positive = 50,
		               .n_negative = 50,
		               .n_baseline = 10,
		               .per_prompt = 10,
		               .window = 32 };
}

/* ---- Which windows ----------------------------------------------------------------------------------------------------- */

/* Two fifths are the strongest, the others are spread over the rest: a label from the top alone is too narrow. */
static int choose(const store_window ***out, size_t *n_out, engine_task *t, const store_window *w, size_t n,
                  size_t want, error *err)
{
	size_t top = want * 2 / 5, rest;
	const store_window **chosen;
	size_t *spread;

	if (top > n)
		top = n;
	chosen = arena_alloc(&t->mem, want, sizeof(*chosen));
	spread = arena_alloc(&t->mem, want, sizeof(*spread));
	if (!chosen || !spread)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < top; i++)
		chosen[i] = &w[i];
	rest = stats_spread(spread, want - top, n - top);
	for (size_t i = 0; i < rest; i++)
		chosen[top + i] = &w[top + spread[i]];
	*out = chosen;
	*n_out = top + rest;
	return 0;
}

static int cut_all(engine_task *t, store_window *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		w[i] = prompt_cut(&w[i], t->job->o->window);
	return 0;
}

/* Why a feature cannot be labelled from these windows; NULL: it can. */
static const char *reason(char buf[128], const store_window *w, size_t n)
{
	if (n < MIN_WINDOWS) {
		snprintf(buf, 128, "fires in %zu stored contexts of the label documents, %d are needed", n,
		         MIN_WINDOWS);
		return buf;
	}
	if (engine_groups(w, n) < 2) {
		snprintf(buf, 128, "fires in one group of label documents only, two are needed");
		return buf;
	}
	return NULL;
}

/* ---- Lexical ------------------------------------------------------------------------------------------------------------- */

static int settle_label(engine_task *t, store_explanation *e, error *err)
{
	e->source_id = t->job->source;
	e->feature = t->row.feature;
	t->explanation = e;
	return engine_settle(t, STORE_TASK_DONE, NULL, err);
}

static int label_by_rule(engine_task *t, store_window *firing, size_t n_firing, error *err)
{
	engine *j = t->job;
	size_t n_silent = 0, want = 2 * n_firing > LEXICAL_SILENT ? 2 * n_firing : LEXICAL_SILENT;
	char *phrase = NULL, *rule = NULL;
	store_window *silent;
	store_explanation *e;
	int rc;

	rc = store_windows_silent(&silent, &n_silent, j->s, j->source, t->row.feature, STORE_LABEL,
	                          j->o->window, want, j->o->seed, &t->mem, err);
	if (rc < 0)
		return rc;
	if (n_silent == 0)
		return engine_settle(t, STORE_TASK_SKIPPED, "no silent windows in the label documents", err);
	rc = explain_lexical_label(&phrase, &rule, firing, n_firing, silent, n_silent, err);
	if (rc < 0)
		return rc;
	e = arena_alloc(&t->mem, 1, sizeof(*e));
	if (e) {
		*e = (store_explanation){ .text = arena_strdup(&t->mem, phrase),
			                  .rule = arena_strdup(&t->mem, rule),
			                  .method = "lexical",
			                  .confidence = (double)NAN };
	}
	if (!e || !e->text || !e->rule)
		rc = error_nomem(err, "a label");
	else
		rc = settle_label(t, e, err);
	free(phrase);
	free(rule);
	return rc;
}

/* ---- By a model ------------------------------------------------------------------------------------------------------------- */

static int show_examples(text *out, const store_window *const *w, size_t n, float strongest, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		if (text_addf(out, "%sSample %zu: ", i ? "\n" : "", i + 1) < 0)
			return error_set(err, ERR_LIMIT, "the prompt is too long");
		rc = prompt_add_marked(out, w[i], strongest, err);
	}
	return rc;
}

/* Ask for a label; asking again differs in the sample number, so that it is another request. */
static int ask_label(engine_task *t, const char *examples, const char *ids, unsigned sample, error *err)
{
	prompt_field fields[] = { { "examples", examples } };

	return engine_ask_fill(t, fields, ARRAY_LEN(fields), ids, LABEL_TOKENS, sample, NULL, err);
}

static int label_by_model(engine_task *t, const store_window *const *w, size_t n, float strongest,
                          const char *ids, error *err)
{
	text examples;
	int rc;

	text_init(&examples, PROMPT_MAX);
	rc = show_examples(&examples, w, n, strongest, err);
	if (rc == 0) {
		t->data = arena_strdup(&t->mem, examples.data);
		rc = t->data ? ask_label(t, t->data, ids, 0, err) : error_nomem(err, "a prompt");
	}
	text_free(&examples);
	return rc;
}

static int begin(engine_task *t, error *err)
{
	engine *j = t->job;
	const store_window **chosen = NULL;
	store_window *w;
	const char *ids, *why;
	char buf[128];
	size_t n, n_chosen = 0;
	int rc;

	rc = store_windows_firing(&w, &n, j->s, j->source, t->row.feature, STORE_LABEL, &t->mem, err);
	if (rc < 0)
		return rc;
	why = reason(buf, w, n);
	if (why)
		return engine_settle(t, STORE_TASK_SKIPPED, why, err);
	cut_all(t, w, n);
	/* the lexical explainer counts, so it gets them all */
	rc = choose(&chosen, &n_chosen, t, w, n, j->o->client ? j->o->n_examples : n, err);
	if (rc == 0)
		rc = engine_example_ids(t, &ids, chosen, n_chosen, err);
	if (rc == 0 && j->o->client)
		return label_by_model(t, chosen, n_chosen, w[0].activation, ids, err);
	if (rc == 0)
		rc = engine_ask_add(t, NULL, NULL, NULL, ids, 0, 0, NULL, err);
	return rc < 0 ? rc : label_by_rule(t, w, n, err);
}

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
	double c = cJSON_GetObjectItemCaseSensitive(answer, "confidence")->valuedouble;

	if (c > 1 && c <= 100)
		c /= 100;
	return c >= 0 && c <= 1 ? c : (double)NAN;
}

static int take_answer(engine_task *t, engine_ask *ask, error *err)
{
	const char *label = cJSON_GetObjectItemCaseSensitive(ask->answer, "label")->valuestring;
	const char *brief = cJSON_GetObjectItemCaseSensitive(ask->answer, "short_label")->valuestring;
	store_explanation *e = arena_alloc(&t->mem, 1, sizeof(*e));

	if (!e)
		return error_nomem(err, "a label");
	*e = (store_explanation){ .text = trimmed(&t->mem, label),
		                  .short_text = trimmed(&t->mem, brief),
		                  .method = "llm",
		                  .model = t->job->o->client->model,
		                  .prompt_sha256 = t->job->prompt_sha256,
		                  .schema_sha256 = t->job->schema_sha256,
		                  .confidence = confidence_of(ask->answer) };
	if (!e->text || !e->short_text)
		return error_nomem(err, "a label");
	if (e->short_text[0] == '\0')
		e->short_text = NULL;
	if (e->text[0] && strlen(e->text) <= LABEL_MAX)
		return settle_label(t, e, err);
	error_set(&ask->err, ERR_FORMAT, "the model's label is %s", e->text[0] ? "too long" : "empty");
	return 0;
}

/* An answer that is of no use is asked for once more; an endpoint that failed was asked often enough. */
static int finish(engine_task *t, error *err)
{
	engine_ask *ask = t->asks;
	int rc;

	while (ask->next)
		ask = ask->next;
	if (ask->answer) {
		rc = take_answer(t, ask, err);
		if (rc < 0 || t->settled)
			return rc;
	}
	if (ask->err.code == ERR_FORMAT && ask->seq == 0 && engine_failure(ask) == STORE_TASK_FAILED)
		return ask_label(t, t->data, ask->example_ids, 1, err);
	return engine_settle(t, engine_failure(ask), ask->err.msg, err);
}

static bool report(const engine_task *t, cJSON *about)
{
	const store_explanation *e = t->explanation;

	if (!e)
		return true;
	if (t->row.twins && !cJSON_AddRawToObject(about, "same_for", t->row.twins))
		return false;
	return cJSON_AddStringToObject(about, "label", e->text) &&
	       (!e->short_text || cJSON_AddStringToObject(about, "short_label", e->short_text)) &&
	       (isnan(e->confidence) || cJSON_AddNumberToObject(about, "confidence", e->confidence));
}

/* ---- The job -------------------------------------------------------------------------------------------------------------------- */

static int check(const explain_opts *o, error *err)
{
	if (o->n_examples < 1 || o->n_examples > 1000)
		return error_set(err, ERR_ARG, "%u examples are asked for, 1 to 1000 are allowed",
		                 o->n_examples);
	return 0;
}

/* Features that fire alike share a task. */
static int choose_tasks(store_task *tasks, size_t *n_tasks, store *s, const store_source *source,
                        const explain_opts *o, const uint32_t *features, size_t n, error *err)
{
	for (size_t i = 0; i < n; i++)
		tasks[i].feature = features[i];
	*n_tasks = n;
	return o->share ? engine_share(tasks, n_tasks, s, source, err) : 0;
}

static bool settings(cJSON *s, const explain_opts *o)
{
	return cJSON_AddNumberToObject(s, "n_examples", o->n_examples) != NULL;
}

const engine_kind kind_label = {
	.name = "explain",
	.unit = "features",
	.schema_name = "label",
	.schema = schema_label,
	.prompt = prompt_label,
	.fields = label_fields,
	.n_fields = ARRAY_LEN(label_fields),
	.none_yet = "label IS NULL",
	.left_out = "share_a_label",
	.check = check,
	.choose = choose_tasks,
	.settings = settings,
	.begin = begin,
	.finish = finish,
	.report = report,
};

int explain_run(cJSON **summary, store *s, const explain_opts *o, error *err)
{
	return kind_start(summary, &kind_label, s, o, err);
}
