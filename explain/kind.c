/* kind: what all kinds of job do alike before their engine runs: the choice of tasks, the template, the settings. */
#include "explain/scorer.h"

#include <stdlib.h>
#include <string.h>

/* ---- Settings ---------------------------------------------------------------------------------------------------------- */

/* Hex SHA-256 of what the tasks are about: their features and labels. */
static int tasks_hash(char hex[SHA256_HEX], const store_task *tasks, size_t n, error *err)
{
	char line[64];
	sha256 h;
	int rc, len;

	rc = sha256_init(&h, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		len = snprintf(line, sizeof(line), "%u %lld\n", tasks[i].feature,
		               (long long)tasks[i].explanation_id);
		sha256_add(&h, line, (size_t)len);
		if (tasks[i].twins)
			sha256_add(&h, tasks[i].twins, strlen(tasks[i].twins));
	}
	sha256_end(&h, hex);
	return 0;
}

static bool add_client(cJSON *settings, const engine *j)
{
	const explain_client_opts *c = j->o->client;

	return cJSON_AddStringToObject(settings, "endpoint", c->base_url) &&
	       cJSON_AddStringToObject(settings, "model", c->model) &&
	       cJSON_AddStringToObject(settings, "prompt_sha256", j->prompt_sha256) &&
	       cJSON_AddStringToObject(settings, "schema_sha256", j->schema_sha256);
}

static bool add_forms(cJSON *settings, const engine *j)
{
	cJSON *list = j->n_forms ? cJSON_AddArrayToObject(settings, "forms_sha256") : NULL;
	bool fine = list || !j->n_forms;

	for (size_t i = 0; i < j->n_forms && fine; i++)
		fine = cJSON_AddItemToArray(list, cJSON_CreateString(j->form_sha256[i].prompt)) &&
		       cJSON_AddItemToArray(list, cJSON_CreateString(j->form_sha256[i].schema));
	return fine;
}

static bool add_settings(cJSON *settings, const engine *j, const char *features)
{
	char seed[24];

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)j->o->seed); /* a double would not hold it */
	return cJSON_AddStringToObject(settings, "method", j->o->client ? "llm" : "lexical") &&
	       cJSON_AddStringToObject(settings, "features_sha256", features) &&
	       cJSON_AddNumberToObject(settings, "window", j->o->window) &&
	       cJSON_AddNumberToObject(settings, "peak", j->o->peak) &&
	       cJSON_AddStringToObject(settings, "choice", explain_choice_name(j->o->choice)) &&
	       cJSON_AddStringToObject(settings, "seed", seed) &&
	       (!j->kind->scorer || cJSON_AddStringToObject(settings, "scorer", j->kind->scorer->name)) &&
	       (!j->o->client || add_client(settings, j)) && add_forms(settings, j) &&
	       j->kind->settings(settings, j->o);
}

/* All that decides the outcome, as JSON: malloc'd. */
static int make_settings(char **out, const engine *j, error *err)
{
	char features[SHA256_HEX];
	cJSON *s = cJSON_CreateObject();
	int rc = tasks_hash(features, j->list, j->n_list, err);

	if (rc == 0) {
		*out = s && add_settings(s, j, features) ? json_print_canonical(s) : NULL;
		rc = *out ? 0 : error_nomem(err, "the settings");
	}
	cJSON_Delete(s);
	return rc;
}

/* Its hash; in the store too where a model is asked. */
static int keep(char hex[SHA256_HEX], const engine *j, const char *prompt, error *err)
{
	int rc = sha256_bytes(hex, prompt, strlen(prompt), err);

	return rc == 0 && j->o->client && !j->o->dry_run ? store_prompt_add(j->s, prompt, err) : rc;
}

int kind_keep(engine *j, error *err)
{
	int rc = keep(j->prompt_sha256, j, j->prompt, err);

	if (rc == 0)
		rc = keep(j->schema_sha256, j, engine_schema(j->kind, j->o, 0), err);
	for (size_t i = 0; i < j->n_forms && rc == 0; i++) {
		rc = keep(j->form_sha256[i].prompt, j, j->form_prompt[i], err);
		if (rc == 0)
			rc = keep(j->form_sha256[i].schema, j, engine_schema(j->kind, j->o, (unsigned)i + 1),
			          err);
	}
	return rc;
}

/* ---- Runs -------------------------------------------------------------------------------------------------------------- */

int kind_run(cJSON **summary, const engine_kind *k, store *s, int64_t source, const explain_opts *o,
             const store_task *tasks, size_t n, error *err)
{
	engine j = { .kind = k,
		     .o = o,
		     .s = s,
		     .source = source,
		     .method = o->client ? o->client->model : "lexical",
		     .prompt = o->prompt ? o->prompt : k->prompt,
		     .n_forms = k->n_forms ? k->n_forms(o) : 0,
		     .list = tasks,
		     .n_list = n };
	char *settings = NULL;
	int rc;

	for (size_t i = 0; i < j.n_forms; i++)
		j.form_prompt[i] = o->forms ? o->forms[i] : k->forms[i].prompt;
	if (o->window < 4 || o->window > 4096)
		return error_set(err, ERR_ARG, "the window is %u tokens, 4 to 4096 are allowed", o->window);
	if (!(o->peak >= 0 && o->peak <= 1))
		return error_set(err, ERR_ARG, "the peak is at %g of a window, 0 to 1 is allowed", o->peak);
	rc = k->check(k, o, err);
	if (rc == 0)
		rc = prompt_check(j.prompt, k->fields, k->n_fields, o->prompt_name, err);
	if (rc == 0)
		rc = kind_keep(&j, err);
	if (rc == 0)
		rc = make_settings(&settings, &j, err);
	if (rc == 0)
		rc = engine_run(summary, &j, settings, err);
	if (rc == 0 && summary && k->scorer &&
	    !(cJSON_AddStringToObject(*summary, "scorer", k->scorer->name) &&
	      cJSON_AddStringToObject(*summary, "measure", k->scorer->measure) &&
	      cJSON_AddNumberToObject(*summary, "chance", k->scorer->chance(o))))
		rc = error_nomem(err, "the summary");
	free(settings);
	return rc;
}

int kind_start(cJSON **summary, const engine_kind *k, store *s, const explain_opts *o, error *err)
{
	store_task *tasks = NULL;
	uint32_t *features = NULL;
	size_t n = 0, n_tasks = 0;
	store_source source;
	int rc;

	rc = store_source_get(&source, s, o->source, err);
	if (rc == 0)
		rc = engine_choose(&features, &n, s, &source, k, o, err);
	if (rc < 0) {
		free(features);
		return rc;
	}
	tasks = calloc(n ? n : 1, sizeof(*tasks));
	rc = tasks ? k->choose(tasks, &n_tasks, s, &source, o, features, n, err) : error_nomem(err, "tasks");
	if (rc == 0)
		rc = kind_run(summary, k, s, source.id, o, tasks, n_tasks, err);
	if (rc == 0 && summary && !cJSON_AddNumberToObject(*summary, k->left_out, (double)(n - n_tasks)))
		rc = error_nomem(err, "the summary");
	engine_free_tasks(tasks, n_tasks);
	free(features);
	return rc;
}

/* ---- Questions --------------------------------------------------------------------------------------------------------- */

int engine_ask_fill(engine_task *t, const prompt_field *fields, size_t n, const char *example_ids,
                    unsigned max_tokens, unsigned sample, void *data, error *err)
{
	text system, user;
	char *s, *u;
	int rc;

	text_init(&system, PROMPT_MAX);
	text_init(&user, PROMPT_MAX);
	rc = prompt_fill(&system, &user, t->form ? t->job->form_prompt[t->form - 1] : t->job->prompt, fields,
	                 n, err);
	if (rc == 0) {
		s = arena_strdup(&t->mem, system.data);
		u = arena_strdup(&t->mem, user.data);
		rc = s && u ? engine_ask_add(t, NULL, s, u, example_ids, max_tokens, sample, data, err)
		            : error_nomem(err, "a prompt");
	}
	text_free(&system);
	text_free(&user);
	return rc;
}
