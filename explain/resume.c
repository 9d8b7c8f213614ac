/* resume: a job that is in the store goes on, whoever began it. */
#include "explain/explainer.h"
#include "explain/subject.h"

#include <stdlib.h>
#include <string.h>

/* What decides the outcome, as the job was started with it. */
static int read_settings(explain_opts *o, const char **prompt, const char *subject[2], const cJSON *settings,
                         error *err)
{
	struct {
		const char *name;
		unsigned *value;
	} numbers[] = { { "window", &o->window },
		        { "n_examples", &o->n_examples },
		        { "n_positive", &o->n_positive },
		        { "n_negative", &o->n_negative },
		        { "n_baseline", &o->n_baseline },
		        { "per_prompt", &o->per_prompt },
		        { "n_hard", &o->n_hard },
		        { "group", &o->group },
		        { "n_select", &o->n_select },
		        { "n_candidates", &o->n_candidates },
		        { "n_refine", &o->n_refine },
		        { "n_prompts", &o->n_prompts },
		        { "steer_tokens", &o->steer_tokens } };
	const char *seed = NULL, *choice = NULL;
	uint64_t value;
	double layer = -1;
	int rc = 0;

	/* what jobs did before they could be asked to do otherwise */
	o->n_hard = 0;
	o->group = explain_opts_default().group;
	o->peak = explain_opts_default().peak;
	o->precision = 0;
	o->logprobs = false;
	o->embed_model = o->explainer = NULL;
	o->cot = false;
	o->n_candidates = 1;
	o->n_refine = 0;
	for (size_t i = 0; i < ARRAY_LEN(numbers) && rc == 0; i++) {
		value = *numbers[i].value;
		rc = json_get_u64(&value, settings, numbers[i].name, "the job's settings", err);
		*numbers[i].value = (unsigned)value;
	}
	if (rc == 0)
		rc = json_get_double(&o->peak, settings, "peak", "the job's settings", err);
	if (rc == 0)
		rc = json_get_double(&o->precision, settings, "precision", "the job's settings", err);
	if (rc == 0)
		rc = json_get_string(&o->embed_model, settings, "embed_model", "the job's settings", err);
	if (rc == 0)
		rc = json_get_string(&subject[0], settings, "subject", "the job's settings", err);
	if (rc == 0)
		rc = json_get_string(&subject[1], settings, "subject_model", "the job's settings", err);
	if (rc == 0)
		rc = json_get_double(&o->steer_kl, settings, "steer_kl", "the job's settings", err);
	if (rc == 0)
		rc = json_get_double(&layer, settings, "layer", "the job's settings", err);
	if (rc == 0)
		rc = json_get_bool(&o->logprobs, settings, "logprobs", "the job's settings", err);
	if (rc == 0)
		rc = json_get_string(&o->explainer, settings, "explainer", "the job's settings", err);
	if (rc == 0)
		rc = json_get_bool(&o->cot, settings, "cot", "the job's settings", err);
	if (rc == 0)
		rc = json_get_string(&choice, settings, "choice", "the job's settings", err);
	if (rc == 0 && choice)
		rc = explain_choice_find(&o->choice, choice, err);
	if (rc == 0)
		rc = json_get_string(&seed, settings, "seed", "the job's settings", err);
	if (rc == 0)
		rc = json_get_string(prompt, settings, "prompt_sha256", "the job's settings", err);
	o->layer = (int64_t)layer;
	o->seed = seed ? strtoull(seed, NULL, 10) : 0;
	return rc;
}

/* Endpoint and model are the job's. */
static int same_endpoint(explain_client_opts *c, const store_job *j, const explain_opts *o, error *err)
{
	if (!j->endpoint)
		return 0;
	*c = o->client ? *o->client : explain_client_opts_default();
	if ((c->base_url && strcmp(c->base_url, j->endpoint) != 0) ||
	    (c->model && strcmp(c->model, j->model) != 0))
		return error_set(err, ERR_ARG, "job %lld asks '%s' at '%s', and no other", (long long)j->id,
		                 j->model, j->endpoint);
	c->base_url = j->endpoint;
	c->model = j->model;
	return 0;
}

/* The rows that it steers by are the store's, or those of the SAE that it was begun with. */
static int same_rows(explain_opts *o, const cJSON *settings, int64_t job, error *err)
{
	const char *of = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(settings, "rows_sha256"));

	if (of && (!o->rows || strcmp(o->rows->sha256, of) != 0))
		return error_set(err, ERR_ARG,
		                 "job %lld steers by the rows of an SAE, %.12s...: give it with --sae",
		                 (long long)job, of);
	if (!of)
		o->rows = NULL;
	return 0;
}

/* The subject server: the job's endpoint, or one beside it. It gets no key. */
static const explain_client_opts *find_subject(explain_client_opts *endpoint, explain_client_opts *beside,
                                               const char *subject[2])
{
	if (strcmp(subject[0], endpoint->base_url) == 0 && strcmp(subject[1], endpoint->model) == 0) {
		endpoint->api_key = NULL;
		return endpoint;
	}
	*beside = *endpoint;
	beside->base_url = subject[0];
	beside->model = subject[1];
	beside->api_key = beside->ca_file = NULL;
	beside->rpm = beside->tpm = 0;
	return beside;
}

static int find_kind(const engine_kind **out, const store_job *j, const explain_opts *o,
                     const cJSON *settings, error *err)
{
	const char *scorer = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(settings, "scorer"));
	const char *how = scorer ? scorer : o->explainer;

	*out = strcmp(j->kind, "explain") == 0           ? label_kind(explain_explainer_of(o), o->cot)
	       : strcmp(j->kind, "score") == 0 && scorer ? score_kind(scorer, o->logprobs)
	                                                 : NULL;
	return *out ? 0
	            : error_set(err, ERR_FORMAT,
	                        "job %lld is of a kind that this gloss does not know: '%.40s%s%.40s'",
	                        (long long)j->id, j->kind, how ? " " : "", how ? how : "");
}

static int same_schema(const char *begun, const char *schema, const char *name, int64_t job, error *err)
{
	char ours[SHA256_HEX];
	int rc = sha256_bytes(ours, schema, strlen(schema), err);

	if (rc == 0 && (!begun || strcmp(ours, begun) != 0))
		rc = error_set(
		        err, ERR_ARG,
		        "job %lld was begun by another version of gloss, which had another schema of the "
		        "answer '%s': give the command anew",
		        (long long)job, name);
	return rc;
}

/* Labels are read by the schema before ours too: o->label_schema, where the job was begun with that. */
static int find_label_schema(explain_opts *o, const char *begun, const engine_kind *k, arena *mem, error *err)
{
	char hash[SHA256_HEX];
	char *before;
	int rc;

	o->label_schema = NULL;
	if (!k->explainer || !begun)
		return 0;
	before = label_schema_before(k->schema, mem);
	rc = before ? sha256_bytes(hash, before, strlen(before), err) : error_nomem(err, "a schema");
	if (rc == 0 && strcmp(hash, begun) == 0)
		o->label_schema = before;
	return rc;
}

/* It goes on asking by the templates that it was begun with, which the store keeps, and reading by the schemas, which have to be
 * ours, or of labels those before. forms: (ENGINE_FORMS_MAX). */
static int same_questions(explain_opts *o, const char **forms, store *s, const engine_kind *k,
                          const cJSON *settings, int64_t job, arena *mem, error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(settings, "forms_sha256"), *one;
	const char *schema =
	        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(settings, "schema_sha256"));
	size_t n = k->n_forms ? k->n_forms(o) : 0;
	int rc = find_label_schema(o, schema, k, mem, err);

	if (rc == 0)
		rc = same_schema(schema, engine_schema(k, o, 0), k->schema_name, job, err);
	if (rc == 0 && (size_t)cJSON_GetArraySize(list) != 2 * n)
		rc = error_set(
		        err, ERR_ARG,
		        "job %lld was begun by another version of gloss, which asked %d kinds of further "
		        "questions, not %zu: give the command anew",
		        (long long)job, cJSON_GetArraySize(list) / 2, n);
	one = n && rc == 0 ? list->child : NULL;
	for (size_t i = 0; i < n && rc == 0; i++, one = one->next->next) {
		const char *prompt = cJSON_GetStringValue(one);

		rc = same_schema(cJSON_GetStringValue(one->next), engine_schema(k, o, (unsigned)i + 1),
		                 k->forms[i].name, job, err);
		if (rc == 0)
			rc = store_prompt_get(&forms[i], s, prompt ? prompt : "", mem, err);
	}
	o->forms = forms;
	return rc;
}

int explain_resume(cJSON **summary, store *s, int64_t job, const explain_opts *o, error *err)
{
	explain_opts mine = *o;
	explain_client_opts client, beside;
	const engine_kind *kind = NULL;
	store_task *tasks = NULL;
	size_t n_tasks = 0;
	const char *prompt = NULL, *subject[2] = { NULL }, *forms[ENGINE_FORMS_MAX];
	cJSON *settings = NULL;
	arena mem = ARENA_INIT;
	store_job j;
	int rc;

	rc = store_job_get(&j, s, job, &mem, err);
	if (rc == 0)
		rc = json_parse(&settings, j.settings, strlen(j.settings), 1 << 22, 32, "the job's settings",
		                err);
	if (rc == 0)
		rc = read_settings(&mine, &prompt, subject, settings, err);
	if (rc == 0)
		rc = same_rows(&mine, settings, job, err);
	if (rc == 0)
		rc = same_endpoint(&client, &j, o, err);
	if (rc == 0 && prompt && j.endpoint)
		rc = store_prompt_get(&mine.prompt, s, prompt, &mem, err);
	if (rc == 0)
		rc = store_task_list(&tasks, &n_tasks, s, job, &mem, err);
	mine.client = j.endpoint ? &client : NULL;
	mine.subject = NULL;
	if (rc == 0 && subject[0] && subject[1] && j.endpoint)
		mine.subject = find_subject(&client, &beside, subject);
	if (subject_is_endpoint(&mine)) /* whose prices are not those of a model that is paid for */
		mine.price = (explain_price){ .known = mine.price.known };
	mine.job = job;
	if (rc == 0)
		rc = find_kind(&kind, &j, &mine, settings, err);
	if (rc == 0 && j.endpoint)
		rc = same_questions(&mine, forms, s, kind, settings, job, &mem, err);
	if (rc == 0)
		rc = kind_run(summary, kind, s, j.source_id, &mine, tasks, n_tasks, err);
	free(tasks);
	cJSON_Delete(settings);
	arena_clear(&mem);
	return rc;
}
