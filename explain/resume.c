/* resume: a job that is in the store goes on, whoever began it. */
#include "explain/engine.h"

#include <stdlib.h>
#include <string.h>

/* What decides the outcome, as the job was started with it. */
static int read_settings(explain_opts *o, const char **prompt, const cJSON *settings, error *err)
{
	struct {
		const char *name;
		unsigned *value;
	} numbers[] = { { "window", &o->window },         { "n_examples", &o->n_examples },
		        { "n_positive", &o->n_positive }, { "n_negative", &o->n_negative },
		        { "n_baseline", &o->n_baseline }, { "per_prompt", &o->per_prompt } };
	const char *seed = NULL;
	uint64_t value;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(numbers) && rc == 0; i++) {
		value = *numbers[i].value;
		rc = json_get_u64(&value, settings, numbers[i].name, "the job's settings", err);
		*numbers[i].value = (unsigned)value;
	}
	if (rc == 0)
		rc = json_get_string(&seed, settings, "seed", "the job's settings", err);
	if (rc == 0)
		rc = json_get_string(prompt, settings, "prompt_sha256", "the job's settings", err);
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

int explain_resume(cJSON **summary, store *s, int64_t job, const explain_opts *o, error *err)
{
	explain_opts mine = *o;
	explain_client_opts client;
	kind_run r = { .o = &mine, .s = s };
	const char *prompt = NULL;
	cJSON *settings = NULL;
	arena mem = ARENA_INIT;
	store_job j;
	int rc;

	rc = store_job_get(&j, s, job, &mem, err);
	if (rc == 0)
		rc = json_parse(&settings, j.settings, strlen(j.settings), 1 << 22, 32, "the job's settings",
		                err);
	if (rc == 0)
		rc = read_settings(&mine, &prompt, settings, err);
	if (rc == 0)
		rc = same_endpoint(&client, &j, o, err);
	if (rc == 0 && prompt && j.endpoint)
		rc = store_prompt_get(&mine.prompt, s, prompt, &mem, err);
	if (rc == 0)
		rc = store_task_list(&r.tasks, &r.n_tasks, s, job, &mem, err);
	mine.client = j.endpoint ? &client : NULL;
	mine.job = job;
	r.source = j.source_id;
	if (rc == 0 && strcmp(j.kind, "explain") == 0)
		rc = label_run(summary, &r, err);
	else if (rc == 0 && strcmp(j.kind, "score") == 0)
		rc = detection_run(summary, &r, err);
	else if (rc == 0)
		rc = error_set(err, ERR_FORMAT,
		               "job %lld is of a kind that this gloss does not know: '%.40s'", (long long)job,
		               j.kind);
	free(r.tasks);
	cJSON_Delete(settings);
	arena_clear(&mem);
	return rc;
}
