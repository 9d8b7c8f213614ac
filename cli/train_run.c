/* The run: see train_run.h. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/train_run.h"
#include "cli/train_presets.h"

#define EVAL_ROWS   8192 /* held-out rows of an evaluation on the way, at most */
#define IMPROVEMENT 1e-4 /* of the held-out FVU, relative: less is none */

static uint64_t total_steps(const train_job *j)
{
	return j->saes[0].plan.steps;
}

/* ---- Checkpoints ------------------------------------------------------------------------------------------------------ */

/* What a resumed run wants back beside the trainer's own state. */
static cJSON *notes_json(const train_job *j)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "saes");
	bool good = list != NULL;

	for (size_t i = 0; i < j->n && good; i++) {
		cJSON *s = cJSON_CreateObject();

		good = cJSON_AddItemToArray(list, s);
		if (!good)
			cJSON_Delete(s);
		good = good && cJSON_AddNumberToObject(s, "best", j->saes[i].best) &&
		       cJSON_AddNumberToObject(s, "since_best", (double)j->saes[i].since_best);
	}
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int take_notes(train_job *j, error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(sae_saved_notes(j->saved), "saes");
	int rc = 0;

	for (size_t i = 0; i < j->n && rc == 0; i++) {
		const cJSON *s = cJSON_GetArrayItem(list, (int)i);

		rc = json_get_double(&j->saes[i].best, s, "best", "the checkpoint", err);
		if (rc == 0)
			rc = json_get_u64(&j->saes[i].since_best, s, "since_best", "the checkpoint", err);
		if (j->extended)
			j->saes[i].since_best = 0;
	}
	return rc;
}

static int save_state(const train_job *j, const char *dir, error *err)
{
	cJSON *notes = notes_json(j);
	int rc = notes ? sae_trainer_save(j->trainer, dir, j->options, notes, err)
	               : error_nomem(err, "a checkpoint");

	cJSON_Delete(notes);
	return rc;
}

static int checkpoint(train_job *j, error *err)
{
	int rc = save_state(j, j->o->out, err);

	j->saved_at = clock_now(); /* also after a failure: not again at once */
	if (rc == 0)
		j->saved_step = sae_trainer_steps(j->trainer);
	return rc;
}

static void warn(train_job *j, const char *message)
{
	cli_warn(j->self, "%s", message);
	for (size_t i = 0; i < j->n; i++)
		train_log_warning(&j->saes[i].log, sae_trainer_steps(j->trainer), message);
}

/* A checkpoint that cannot be made does not end the run; the one before stays. */
static void try_checkpoint(train_job *j)
{
	error err = { 0 };
	char message[640];

	if (checkpoint(j, &err) == 0)
		return;
	snprintf(message, sizeof(message), "no checkpoint after step %" PRIu64 "%s: %s",
	         sae_trainer_steps(j->trainer), j->saved_step == UINT64_MAX ? "" : ", the last one stays",
	         err.msg);
	warn(j, message);
}

/* The infinite schedule's constant phase ends: what can be extended is this state, not one that has annealed. */
static void keep_branch(train_job *j)
{
	const sae_train_opts *plan = &j->saes[0].plan;
	char path[FILE_PATH_MAX], message[640];
	error err = { 0 };
	int rc;

	if (!j->checkpoints || plan->schedule != SAE_SCHEDULE_INFINITE ||
	    sae_trainer_steps(j->trainer) != plan->anneal_from)
		return;
	rc = train_branch_folder(path, j, &err);
	if (rc == 0)
		rc = file_mkdir(path, &err);
	if (rc == 0)
		rc = save_state(j, path, &err);
	if (rc == 0)
		return;
	snprintf(message, sizeof(message), "the state before the anneal could not be kept: %s", err.msg);
	warn(j, message);
}

static bool checkpoint_due(const train_job *j)
{
	const train_opts *o = j->o;

	if (!j->checkpoints)
		return false;
	return (o->checkpoint_every && sae_trainer_steps(j->trainer) % o->checkpoint_every == 0) ||
	       (o->checkpoint_minutes > 0 && clock_now() - j->saved_at >= 60 * o->checkpoint_minutes);
}

/* ---- On the way ------------------------------------------------------------------------------------------------------- */

static void note_patience(train_job *j, train_sae *s, size_t i, double fvu)
{
	if (fvu < s->best * (1 - IMPROVEMENT)) {
		s->best = fvu;
		s->since_best = 0;
	} else if (++s->since_best >= j->o->patience && j->o->patience) {
		sae_trainer_end_member(j->trainer, i);
		s->state = SAE_MEMBER_ENDED;
	}
}

static int evaluate_one(train_job *j, size_t i, error *err)
{
	train_sae *s = &j->saes[i];
	sae_model *model = NULL;
	sae_metrics m = { 0 };
	int rc = sae_trainer_model(&model, NULL, j->trainer, i, err);

	if (rc == ERR_LIMIT) /* weights that are not finite: the next step will lose it */
		return 0;
	if (rc == 0)
		rc = sae_eval(&m, model, j->in.dump, NULL, j->sample, true, j->in.pool, NULL, err);
	if (rc == 0) {
		train_log_held_out(&s->log, s->last.step, &m);
		s->sampled = m.fvu;
		note_patience(j, s, i, m.fvu);
	}
	sae_metrics_clear(&m);
	sae_model_free(model);
	return rc;
}

/* The last evaluation is made at the end, of all rows. */
static int evaluate(train_job *j, error *err)
{
	uint64_t step = sae_trainer_steps(j->trainer);
	int rc = 0;

	if (!j->sample || step % j->o->eval_every || step == total_steps(j))
		return 0;
	for (size_t i = 0; i < j->n && rc == 0; i++)
		if (j->saes[i].state == SAE_MEMBER_RUNS)
			rc = evaluate_one(j, i, err);
	return rc;
}

static void show_progress(train_job *j)
{
	double low = INFINITY, high = -INFINITY, sampled = INFINITY;
	const train_sae *first = NULL;
	char note[128];
	int n;

	for (size_t i = 0; i < j->n; i++) {
		const train_sae *s = &j->saes[i];

		if (s->state != SAE_MEMBER_RUNS)
			continue;
		first = first ? first : s;
		low = fmin(low, s->last.fvu);
		high = fmax(high, s->last.fvu);
		sampled = fmin(sampled, s->sampled); /* fmin passes over NaN */
	}
	if (!first)
		return;
	if (j->n == 1)
		n = snprintf(note, sizeof(note), "fvu %.3f l0 %.1f dead %" PRIu64, low, first->last.l0,
		             first->last.n_dead);
	else
		n = snprintf(note, sizeof(note), "%zu SAEs, fvu %.3f to %.3f",
		             sae_trainer_running(j->trainer), low, high);
	if (isfinite(sampled))
		snprintf(note + n, sizeof(note) - (size_t)n, " held out %.3f", sampled);
	progress_update(&j->progress, first->last.tokens, note);
}

/* What the step did to each SAE. */
static void look_at_saes(train_job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		train_sae *s = &j->saes[i];
		sae_member_state before = s->state;

		if (before != SAE_MEMBER_RUNS)
			continue;
		s->state = sae_trainer_member(j->trainer, i, &s->last, &s->cause);
		if (s->state == SAE_MEMBER_LOST && j->n > 1)
			cli_warn(j->self, "'%s' is lost: %s", s->name, s->cause.msg);
		else if (s->state == SAE_MEMBER_RUNS)
			train_log_step(&s->log, &s->last);
	}
}

/* Why to stop now; NULL: go on. */
static const char *stop_cause(const train_job *j)
{
	if (cli_stop_requested())
		return "by a signal";
	if (j->time_limit > 0 && clock_now() - j->began >= j->time_limit)
		return "by --time-limit";
	return NULL;
}

static int take_steps(train_job *j, error *err)
{
	uint64_t total = total_steps(j);
	int rc = 0;

	while (rc == 0 && sae_trainer_steps(j->trainer) < total && sae_trainer_running(j->trainer)) {
		const char *cause;

		rc = sae_trainer_step(j->trainer, err);
		if (rc < 0)
			break;
		look_at_saes(j);
		keep_branch(j);
		rc = evaluate(j, err);
		show_progress(j);
		if (rc < 0 || sae_trainer_steps(j->trainer) == total || !sae_trainer_running(j->trainer))
			break;
		cause = stop_cause(j);
		if (cause)
			return error_set(err, ERR_STOPPED,
			                 "stopped %s after step %" PRIu64 " of %" PRIu64 "%s", cause,
			                 sae_trainer_steps(j->trainer), total,
			                 j->checkpoints ? ": --resume goes on" : "");
		if (checkpoint_due(j))
			try_checkpoint(j);
	}
	return rc;
}

/* ---- The end ------------------------------------------------------------------------------------------------------------ */

void train_run_report(train_report *r, const train_job *j, const train_sae *s)
{
	*r = (train_report){ .self = j->self,
		             .opts = &s->o,
		             .name = s->name,
		             .dir = s->dir,
		             .kernels = sae_kernels_name(j->o->kernels),
		             .in = &j->in,
		             .plan = &s->plan,
		             .screening = s->screening,
		             .last = s->last,
		             .end = s->end,
		             .memory = &j->memory,
		             .memory_limit = j->memory_limit,
		             .resumed_at = j->resumed_at,
		             .held_out = s->has_held_out ? &s->held_out : NULL,
		             .weights_sha256 = s->weights_sha256 };
}

static int measure(train_job *j, train_sae *s, const sae_model *model, error *err)
{
	progress pr;
	int rc;

	if (sae_rows_n(j->in.rows, true) == 0)
		return 0;
	progress_start(&pr, cli_progress_stream(j->parsed), "eval", "rows", sae_rows_n(j->in.rows, true));
	rc = sae_eval(&s->held_out, model, j->in.dump, NULL, j->in.rows, true, j->in.pool, &pr, err);
	progress_end(&pr);
	s->has_held_out = rc == 0;
	return rc;
}

static int save(train_job *j, train_sae *s, const sae_model *model, const double *freq, error *err)
{
	char path[FILE_PATH_MAX];
	train_report r;
	cJSON *metadata;
	int rc;

	train_run_report(&r, j, s);
	metadata = train_report_metadata(&r);
	rc = metadata ? 0 : error_nomem(err, "the record of the run");
	if (rc == 0)
		rc = sae_model_save(model, s->dir, freq, metadata, err);
	if (rc == 0)
		rc = file_join(path, s->dir, "sae_weights.safetensors", err);
	if (rc == 0)
		rc = sha256_file(s->weights_sha256, path, err);
	cJSON_Delete(metadata);
	return rc;
}

/* Measure (a run that has ended as it should) and save one SAE. Metrics that fail do not keep it from being saved. */
static int finish_one(train_job *j, size_t i, bool ended, error *err)
{
	train_sae *s = &j->saes[i];
	sae_model *model = NULL;
	double *freq = NULL;
	error later = { 0 };
	int rc, saved;

	s->end = !ended                         ? "saved"
	         : s->state == SAE_MEMBER_LOST  ? s->cause.msg
	         : s->last.step < s->plan.steps ? "stopped early"
	                                        : "finished";
	if (s->last.step == 0)
		return 0; /* nothing was learnt */
	rc = sae_trainer_model(&model, &freq, j->trainer, i, s->state == SAE_MEMBER_LOST ? &later : err);
	if (rc < 0 && s->state == SAE_MEMBER_LOST) { /* its weights are not finite: s->end says so */
		train_log_end(&s->log, s->last.step, s->end, NULL);
		return 0;
	}
	if (rc < 0)
		return rc;
	if (ended && s->state != SAE_MEMBER_LOST)
		rc = measure(j, s, model, err);
	if (rc < 0)
		s->end = "saved"; /* there is something left to do */
	saved = save(j, s, model, freq, rc == 0 ? err : &later);
	if (rc == 0)
		rc = saved;
	if (!ended)
		train_log_stopped_at(&s->log, &s->last);
	if (rc == 0)
		train_log_end(&s->log, s->last.step, s->end, s->has_held_out ? &s->held_out : NULL);
	sae_model_free(model);
	free(freq);
	return rc;
}

/* Before the SAEs, so that a kill between the two leaves a run to go on with. At a stop it has to be made. */
static int last_checkpoint(train_job *j, int rc, error *err)
{
	bool only_lost = sae_trainer_running(j->trainer) == 0;

	for (size_t i = 0; i < j->n; i++)
		only_lost = only_lost && j->saes[i].state == SAE_MEMBER_LOST;
	if (!j->checkpoints || only_lost || sae_trainer_steps(j->trainer) == 0 ||
	    j->saved_step == sae_trainer_steps(j->trainer))
		return rc;
	if (rc == ERR_STOPPED) {
		error why = { 0 };

		if (checkpoint(j, &why) < 0)
			return error_set(err, why.code,
			                 "stopped after step %" PRIu64 " without a checkpoint: %s",
			                 sae_trainer_steps(j->trainer), why.msg);
		return rc;
	}
	try_checkpoint(j);
	if (rc < 0 && j->saved_step == sae_trainer_steps(j->trainer)) {
		error why = err ? *err : (error){ 0 };

		return error_set(err, rc, "%s; step %" PRIu64 " is saved, --resume goes on", why.msg,
		                 j->saved_step);
	}
	return rc;
}

static int say_lost(const train_job *j, error *err)
{
	size_t lost = 0;

	for (size_t i = 0; i < j->n; i++)
		lost += j->saes[i].state == SAE_MEMBER_LOST;
	if (!lost)
		return 0;
	if (j->n == 1)
		return error_set(err, ERR_LIMIT, "%s", j->saes[0].cause.msg);
	return error_set(err, ERR_LIMIT, "%zu of %zu SAEs are lost: their loss was not finite", lost, j->n);
}

static int finish(train_job *j, int rc, error *err)
{
	bool ended = rc == 0;

	rc = last_checkpoint(j, rc, err);
	sae_trainer_finish(j->trainer);
	for (size_t i = 0; i < j->n; i++) {
		error later = { 0 };
		int one = finish_one(j, i, ended, rc == 0 ? err : &later);

		if (rc == 0)
			rc = one;
		else if (one < 0)
			cli_warn(j->self, "'%s': %s", j->saes[i].dir, later.msg);
	}
	return rc == 0 ? say_lost(j, err) : rc;
}

/* ---- The start ---------------------------------------------------------------------------------------------------------- */

/* In a sweep each may have its own. */
static void say_arch(FILE *to, const train_job *j)
{
	const train_sae *first = &j->saes[0];
	size_t same_arch = 0, same_screening = 0;

	for (size_t i = 0; i < j->n; i++) {
		same_arch += j->saes[i].plan.arch == first->plan.arch;
		same_screening += strcmp(j->saes[i].screening, first->screening) == 0;
	}
	fprintf(to, "train: %s%s, screening %s", sae_arch_name(first->plan.arch),
	        same_arch < j->n ? " and others" : "", first->screening);
	if (same_screening < j->n)
		fprintf(to, " in %zu of %zu SAEs", same_screening, j->n);
}

/* What is in force, of the first SAE. */
static void say_schedule(FILE *to, const train_job *j)
{
	const sae_train_opts *p = &j->saes[0].plan;

	fprintf(to, "train: step size %g by %s, %s, warm-up to step %" PRIu64, p->lr, j->o->optimizer,
	        j->o->schedule, p->warmup);
	if (p->schedule == SAE_SCHEDULE_INFINITE)
		fprintf(to, ", %g of it from step %" PRIu64 " to %" PRIu64, p->lr_constant, p->cooldown,
		        p->anneal_from);
	if (p->clip > 0)
		fprintf(to, ", gradient cut to norm %g", p->clip);
	if (p->average > 0)
		fprintf(to, ", mean weights of %g", p->average);
	if (p->k_start)
		fprintf(to, ", k from %u to %u at step %" PRIu64, p->k_start, p->k, p->k_anneal + 1);
	if (p->sparsity_warmup)
		fprintf(to, ", penalty whole at step %" PRIu64, p->sparsity_warmup);
	fputc('\n', to);
}

#define MANY_DEAD 0.05 /* of the features: it is worth saying what prevents that */

/* Rows far from the origin kill features that start there. */
static void say_gamma(FILE *to, const train_job *j)
{
	const sae_train_opts *p = &j->saes[0].plan;
	double gamma = sae_rows_get_stats(j->in.rows)->gamma;
	double dead = sae_train_foretell_dead(p, gamma, p->dead_tokens);

	fprintf(to, "train: gamma %.3g (norm of the rows' mean / root of their variance)", gamma);
	if (!isnan(dead))
		fprintf(to, ": as they begin about %.0f of %u features would not fire in %" PRIu64 " tokens",
		        dead, p->d_sae, p->dead_tokens);
	if (dead > MANY_DEAD * p->d_sae && p->bias == SAE_BIAS_ZERO)
		fputs("; --init-bias mean or --normalize center prevents that", to);
	fputc('\n', to);
}

static void say_preset(FILE *to, const char *name)
{
	if (!name)
		return;
	fprintf(to, "train: as %s, but:\n", name);
	for (const char *const *line = train_preset_departs(name); *line; line++)
		fprintf(to, "train:   %s\n", *line);
}

static void say_start(const train_job *j)
{
	FILE *to = cli_progress_stream(j->parsed);

	if (!to)
		return;
	say_arch(to, j);
	fprintf(to, ", kernels %s, %u threads, %s\n", sae_kernels_name(j->o->kernels),
	        pool_threads(j->in.pool), cpu_name());
	say_schedule(to, j);
	say_gamma(to, j);
	say_preset(to, j->o->preset);
	if (j->saved)
		fprintf(to, "train: going on after step %" PRIu64 " of %" PRIu64 "\n", j->resumed_at,
		        total_steps(j));
	if (j->sample)
		fprintf(to,
		        "train: held-out metrics every %" PRIu64 " steps on %" PRIu64 " of %" PRIu64
		        " rows\n",
		        j->o->eval_every, sae_rows_n(j->sample, true), sae_rows_n(j->in.rows, true));
}

static int begin_logs(train_job *j, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < j->n && rc == 0; i++) {
		train_sae *s = &j->saes[i];

		bool goes_on = j->saved && file_exists(s->log_path);

		if (goes_on)
			rc = train_log_cut(s->log_path, j->resumed_at, err);
		s->log = (train_log){ .path = s->log_path, .append = goes_on, .every = j->o->log_every };
		if (rc == 0 && (!goes_on || j->extended))
			train_log_begin(&s->log, sae_kernels_name(j->o->kernels), s->screening,
			                cli_options_json(j->self, &s->o), train_plan_json(&s->plan),
			                train_dead_json(&s->plan, j->in.rows));
	}
	return rc;
}

/* What the run will take, told and held against the limit before it is taken. */
static int check_memory(train_job *j, error *err)
{
	FILE *to = cli_progress_stream(j->parsed);
	error why = { 0 };
	char parts[256];
	int rc = sae_trainer_forecast(&j->memory, j->trainer, j->o->eval_every > 0, err);

	if (rc < 0)
		return rc;
	j->memory_limit = j->o->memory_limit ? j->o->memory_limit : cpu_memory_limit();
	rc = sae_train_forecast_check(&j->memory, j->memory_limit, &why);
	if (rc < 0)
		return error_set(err, rc, "%s%s", why.msg,
		                 j->o->memory_limit ? " (--memory-limit)" : " that this process may use");
	sae_train_forecast_print(parts, sizeof(parts), &j->memory);
	if (to)
		fprintf(to, "train: needs %s; limit %" PRIu64 " MiB\n", parts, j->memory_limit >> 20);
	return 0;
}

/* The trainer at the step where the run begins or goes on. */
static int start(train_job *j, bool grown, error *err)
{
	sae_train_opts *plans = calloc(j->n, sizeof(*plans));
	int rc = plans ? 0 : error_nomem(err, "the plans of a run");

	for (size_t i = 0; i < j->n && rc == 0; i++)
		plans[i] = j->saes[i].plan;
	if (rc == 0)
		rc = sae_trainer_new(&j->trainer, j->in.dump, j->in.rows, plans, j->n, j->in.pool, err);
	free(plans);
	if (rc == 0)
		rc = check_memory(j, err);
	if (rc == 0 && j->checkpoints)
		rc = sae_trainer_check_space(j->trainer, j->o->out, err);
	if (rc < 0)
		return rc;
	if (!j->saved)
		return sae_trainer_start(j->trainer, err);
	rc = sae_trainer_restore(j->trainer, j->saved, j->extended, grown, err);
	if (rc == 0)
		rc = take_notes(j, err);
	for (size_t i = 0; i < j->n && rc == 0; i++)
		j->saes[i].state = sae_trainer_member(j->trainer, i, &j->saes[i].last, &j->saes[i].cause);
	j->saved_step = j->resumed_at;
	return rc;
}

int train_run(train_job *j, bool grown, error *err)
{
	int rc = start(j, grown, err);

	if (rc == 0 && j->o->eval_every)
		rc = sae_rows_sample(&j->sample, j->in.rows, EVAL_ROWS, err);
	if (rc == 0)
		rc = begin_logs(j, err);
	if (rc < 0)
		return rc;
	j->saved_at = clock_now();
	say_start(j);
	progress_start(&j->progress, cli_progress_stream(j->parsed), "train", "tokens",
	               total_steps(j) * j->saes[0].plan.batch);
	rc = take_steps(j, err);
	progress_end(&j->progress);
	return finish(j, rc, err);
}
