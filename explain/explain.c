/* explain: the job that labels features: its options, its kinds. */
#include "explain/explainer.h"
#include "explain/subject.h"

#include <math.h>
#include <string.h>

extern const char prompt_label[], prompt_label_table[], prompt_label_contrastive[], prompt_label_output[];
extern const char prompt_label_refine[], prompt_detection[];
extern const char schema_label[], schema_label_cot[], schema_detection[];
extern const char prompt_detection_graded[], schema_detection_graded[];

static const char *const label_fields[] = { "examples", "answer", "analysis" };

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
		               .per_prompt = 20,
		               .n_hard = 24,
		               .n_candidates = 1,
		               .n_select = 20,
		               .scorer = "detection",
		               .n_prompts = 30,
		               .steer_kl = 0.5,
		               .steer_tokens = 8,
		               .layer = -1,
		               .group = 5,
		               .window = 32,
		               .peak = 0.75 };
}

static bool report(const engine_task *t, cJSON *about)
{
	const store_explanation *e = t->explanation;

	if (!e)
		return true;
	if (t->row.twins && !cJSON_AddRawToObject(about, "same_for", t->row.twins))
		return false;
	if (!label_report_steering(t, about))
		return false;
	if (t->chosen_by && !(cJSON_AddNumberToObject(about, "tried", (double)t->n_rejected + 1) &&
	                      cJSON_AddNumberToObject(about, "select", t->chosen_by[t->n_rejected].value)))
		return false;
	return cJSON_AddStringToObject(about, "label", e->text) &&
	       (!e->short_text || cJSON_AddStringToObject(about, "short_label", e->short_text)) &&
	       (isnan(e->confidence) || cJSON_AddNumberToObject(about, "confidence", e->confidence));
}

/* ---- The job -------------------------------------------------------------------------------------------------------------------- */

static int check_steering(const explainer *x, const explain_opts *o, error *err)
{
	if (!o->subject)
		return 0;
	if (!x->steers)
		return error_set(err, ERR_ARG, "the explainer '%s' steers no model: leave out --subject",
		                 x->name);
	if (o->batch)
		return error_set(err, ERR_ARG,
		                 "steering does not go by batches: leave out --batch or --subject");
	return subject_check(o, err);
}

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
	if (!o->client && (o->cot || label_has_choice(o)))
		return error_set(err, ERR_ARG, "%s need a model (--base-url)",
		                 o->cot ? "reasons before the label" : "candidates and refinement");
	if (o->n_candidates < 1 || o->n_candidates > 20 || o->n_refine > 10)
		return error_set(
		        err, ERR_ARG,
		        "%u candidates and %u rounds of refinement are asked for, 1 to 20 and 0 to 10 are "
		        "allowed",
		        o->n_candidates, o->n_refine);
	if (o->n_select < EXAMPLES_LEAST || o->n_select > 1000)
		return error_set(err, ERR_ARG,
		                 "%u windows to choose labels by are asked for, %d to 1000 are allowed",
		                 o->n_select, EXAMPLES_LEAST);
	if (label_has_choice(o) && !x->windows)
		return error_set(
		        err, ERR_ARG,
		        "the labels of the explainer '%s' are not about texts: no judge of texts can choose "
		        "among them",
		        x->name);
	return check_steering(x, o, err);
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
	       cJSON_AddBoolToObject(s, "cot", o->cot) && (!o->subject || subject_add_settings(s, o)) &&
	       (!label_has_choice(o) || (cJSON_AddNumberToObject(s, "n_candidates", o->n_candidates) &&
	                                 cJSON_AddNumberToObject(s, "n_refine", o->n_refine) &&
	                                 cJSON_AddNumberToObject(s, "n_select", o->n_select) &&
	                                 cJSON_AddNumberToObject(s, "per_prompt", o->per_prompt)));
}

static size_t n_forms(const explain_opts *o)
{
	return label_has_choice(o) ? FORM_REFINE : 0;
}

#define FORMS(label_schema)                                                                                  \
	{                                                                                                    \
		{ "detection", schema_detection, prompt_detection },                                         \
		        { "detection_graded", schema_detection_graded, prompt_detection_graded },            \
		{                                                                                            \
			"label", label_schema, prompt_label_refine                                           \
		}                                                                                            \
	}
static const engine_form forms[][FORM_REFINE] = { FORMS(schema_label), FORMS(schema_label_cot) };

#define LABEL_KIND(an_explainer, a_schema, a_prompt, some_forms)                                             \
	{                                                                                                    \
		.name = "explain", .unit = "features", .explainer = &(an_explainer), .schema_name = "label", \
		.schema = (a_schema), .prompt = (a_prompt), .fields = label_fields,                          \
		.n_fields = ARRAY_LEN(label_fields), .none_yet = "label IS NULL",                            \
		.left_out = "share_a_label", .check = check, .choose = choose_tasks, .settings = settings,   \
		.open = label_open, .begin = label_begin, .finish = label_finish, .report = report,          \
		.forms = (some_forms), .n_forms = n_forms                                                    \
	}
#define LABEL_KINDS(x, p)                                                                                    \
	{                                                                                                    \
		LABEL_KIND(x, schema_label, p, forms[0]), LABEL_KIND(x, schema_label_cot, p, forms[1])       \
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
