/* explain: the job that labels features, from windows of the `label` documents. */
#include "explain/examples.h"
#include "explain/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_TOKENS = 200, LABEL_MAX = 1000, LEXICAL_SILENT = 100 };

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
		               .n_hard = 24,
		               .scorer = "detection",
		               .group = 5,
		               .window = 32,
		               .peak = 0.75 };
}

/* ---- Lexical ------------------------------------------------------------------------------------------------------------- */

static int settle_label(engine_task *t, store_explanation *e, error *err)
{
	e->source_id = t->job->source;
	e->feature = t->row.feature;
	t->explanation = e;
	return engine_settle(t, STORE_TASK_DONE, NULL, err);
}

static int label_by_rule(engine_task *t, const example_set *x, error *err)
{
	size_t n_silent = 0, want = 2 * x->n > LEXICAL_SILENT ? 2 * x->n : LEXICAL_SILENT;
	char *phrase = NULL, *rule = NULL;
	store_window *silent;
	store_explanation *e;
	int rc;

	rc = examples_silent(&silent, &n_silent, t, STORE_LABEL, want, err);
	if (rc < 0)
		return rc;
	if (n_silent == 0)
		return engine_settle(t, STORE_TASK_SKIPPED, "no silent windows in the label documents", err);
	rc = explain_lexical_label(&phrase, &rule, x->w, x->n, silent, n_silent, err);
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

/* Those that are shown; the lexical explainer counts, so it gets them all. */
static int choose(const store_window ***out, size_t *n, engine_task *t, const example_set *x, error *err)
{
	const explain_opts *o = t->job->o;
	explain_choice how = o->choice == EXPLAIN_BY_KIND ? EXPLAIN_MIX : o->choice;
	const store_window **chosen;
	size_t *index;
	int rc = examples_choose(&index, n, x, how, o->client ? o->n_examples : x->n,
	                         hash64_mix(o->seed + 4, t->row.feature), &t->mem, err);

	if (rc < 0)
		return rc;
	chosen = arena_alloc(&t->mem, *n + 1, sizeof(*chosen));
	if (!chosen)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < *n; i++)
		chosen[i] = &x->w[index[i]];
	*out = chosen;
	return 0;
}

static int begin(engine_task *t, error *err)
{
	const store_window **chosen = NULL;
	const char *ids, *why;
	char buf[128];
	example_set x;
	size_t n = 0;
	int rc;

	rc = examples_read(&x, t, STORE_LABEL, err);
	if (rc < 0)
		return rc;
	why = examples_too_few(buf, &x, STORE_LABEL);
	if (why)
		return engine_settle(t, STORE_TASK_SKIPPED, why, err);
	rc = choose(&chosen, &n, t, &x, err);
	if (rc == 0)
		rc = engine_example_ids(t, &ids, chosen, n, err);
	if (rc == 0 && t->job->o->client)
		return label_by_model(t, chosen, n, x.strongest, ids, err);
	if (rc == 0)
		rc = engine_ask_add(t, NULL, NULL, NULL, ids, 0, 0, NULL, err);
	return rc < 0 ? rc : label_by_rule(t, &x, err);
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

static int check(const engine_kind *k, const explain_opts *o, error *err)
{
	(void)k;
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
