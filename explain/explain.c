/* explain: the job that labels features, from windows of the `label` documents. */
#include "explain/explainer.h"
#include "explain/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_TOKENS = 200, COT_TOKENS = 600, LABEL_MAX = 1000 };

extern const char prompt_label[], prompt_label_table[], prompt_label_contrastive[], prompt_label_output[];
extern const char schema_label[], schema_label_cot[];

static const char *const label_fields[] = { "examples", "answer" };

/* What {{answer}} stands for. The reasons come first in the answer if they come first in the schema as it is sent, where keys are
 * in the order of the alphabet. */
#define ANSWER_LABEL                                                                                         \
	"\"label\": one sentence of at most 25 words, \"short_label\": at most 5 words, \"confidence\": a "  \
	"number from 0 (a guess) to 1 (certain)}"
static const char answer_plain[] = "{" ANSWER_LABEL;
static const char answer_cot[] =
        "{\"analysis\": at most 100 words of reasoning: what the samples have in common, what else could "
        "explain them, and what speaks against it, " ANSWER_LABEL;

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

/* ---- Asking ----------------------------------------------------------------------------------------------------------- */

int explainer_settle(engine_task *t, store_explanation *e, error *err)
{
	e->source_id = t->job->source;
	e->feature = t->row.feature;
	t->explanation = e;
	return engine_settle(t, STORE_TASK_DONE, NULL, err);
}

/* Ask for a label; asking again differs in the sample number, so that it is another request. */
static int ask_label(engine_task *t, const char *examples, const char *ids, unsigned sample, error *err)
{
	bool cot = t->job->o->cot;
	prompt_field fields[] = { { "examples", examples }, { "answer", cot ? answer_cot : answer_plain } };

	return engine_ask_fill(t, fields, ARRAY_LEN(fields), ids, cot ? COT_TOKENS : LABEL_TOKENS, sample,
	                       NULL, err);
}

static int show(engine_task *t, explain_view *v, error *err)
{
	const char *why = NULL, *ids;
	text examples;
	int rc;

	text_init(&examples, PROMPT_MAX);
	rc = t->job->kind->explainer->show(&why, &examples, t, v, err);
	if (rc == 0 && why)
		rc = engine_settle(t, STORE_TASK_SKIPPED, why, err);
	else if (rc == 0)
		rc = engine_example_ids(t, &ids, v->shown, v->n_shown, err);
	if (rc == 0 && !why) {
		t->data = arena_strdup(&t->mem, examples.data);
		rc = t->data ? ask_label(t, t->data, ids, 0, err) : error_nomem(err, "a prompt");
	}
	text_free(&examples);
	return rc;
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

static int begin(engine_task *t, error *err)
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
		return explainer_settle(t, e, err);
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
	const explainer *x = k->explainer;

	if (o->n_examples < 1 || o->n_examples > 1000)
		return error_set(err, ERR_ARG, "%u examples are asked for, 1 to 1000 are allowed",
		                 o->n_examples);
	if (!x->rule && !o->client)
		return error_set(err, ERR_ARG, "the explainer '%s' needs a model (--base-url)", x->name);
	if (!x->show && o->client)
		return error_set(err, ERR_ARG, "the explainer '%s' asks no model: leave out --base-url",
		                 x->name);
	if (!o->client && o->cot)
		return error_set(err, ERR_ARG, "reasons before the label need a model (--base-url)");
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
	return cJSON_AddStringToObject(s, "explainer", explain_explainer_of(o)) &&
	       cJSON_AddNumberToObject(s, "n_examples", o->n_examples) &&
	       cJSON_AddBoolToObject(s, "cot", o->cot);
}

#define LABEL_KIND(an_explainer, a_schema, a_prompt)                                                         \
	{                                                                                                    \
		.name = "explain", .unit = "features", .explainer = &(an_explainer), .schema_name = "label", \
		.schema = (a_schema), .prompt = (a_prompt), .fields = label_fields,                          \
		.n_fields = ARRAY_LEN(label_fields), .none_yet = "label IS NULL",                            \
		.left_out = "share_a_label", .check = check, .choose = choose_tasks, .settings = settings,   \
		.begin = begin, .finish = finish, .report = report                                           \
	}
#define LABEL_KINDS(x, p)                                                                                    \
	{                                                                                                    \
		LABEL_KIND(x, schema_label, p), LABEL_KIND(x, schema_label_cot, p)                           \
	}

static const engine_kind kinds[][2] = { LABEL_KINDS(explainer_marked, prompt_label),
	                                LABEL_KINDS(explainer_table, prompt_label_table),
	                                LABEL_KINDS(explainer_contrastive, prompt_label_contrastive),
	                                LABEL_KINDS(explainer_output, prompt_label_output),
	                                LABEL_KINDS(explainer_single_token, prompt_label),
	                                LABEL_KINDS(explainer_lexical, prompt_label) };

const engine_kind *label_kind(const char *name, bool cot)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(name, kinds[i][0].explainer->name) == 0)
			return &kinds[i][cot];
	return NULL;
}

const char *explain_explainer_name(size_t i, const char **about)
{
	if (i >= ARRAY_LEN(kinds))
		return NULL;
	if (about)
		*about = kinds[i][0].explainer->about;
	return kinds[i][0].explainer->name;
}

const char *explain_explainer_of(const explain_opts *o)
{
	return o->explainer ? o->explainer : o->client ? "marked" : "lexical";
}

int explain_run(cJSON **summary, store *s, const explain_opts *o, error *err)
{
	const engine_kind *k = label_kind(explain_explainer_of(o), o->cot);

	if (!k)
		return error_set(err, ERR_ARG, "unknown explainer '%.60s'", o->explainer);
	return kind_start(summary, k, s, o, err);
}
