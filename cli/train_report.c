/* Log, record and summary of a training run. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include "cli/train_report.h"

/* ---- Log -------------------------------------------------------------------------------------------------------------- */

static double tokens_per_second(const sae_train_step *s)
{
	return s->seconds > 0 ? (double)s->tokens / s->seconds : 0;
}

/* Adds `value` unless there is no memory; cJSON_AddNumberToObject copes with an object that is NULL. */
static void add_line(train_log *l, cJSON *line)
{
	char *printed = line ? json_print(line) : NULL;

	if (!l->file && !l->cause) {
		l->file = fopen(l->path, "w");
		if (!l->file)
			l->cause = errno;
	}
	if (!printed)
		l->cause = l->cause ? l->cause : ENOMEM;
	else if (l->file && (fprintf(l->file, "%s\n", printed) < 0 || fflush(l->file) != 0) && !l->cause)
		l->cause = errno;
	free(printed);
	cJSON_Delete(line);
}

static cJSON *step_json(const sae_train_step *s)
{
	cJSON *line = cJSON_CreateObject();
	bool good = cJSON_AddNumberToObject(line, "step", (double)s->step) &&
	            cJSON_AddNumberToObject(line, "tokens", (double)s->tokens) &&
	            cJSON_AddNumberToObject(line, "fvu", s->fvu) &&
	            cJSON_AddNumberToObject(line, "mse", s->mse) &&
	            cJSON_AddNumberToObject(line, "l0", s->l0) &&
	            cJSON_AddNumberToObject(line, "auxk", s->auxk) &&
	            cJSON_AddNumberToObject(line, "n_dead", (double)s->n_dead) &&
	            cJSON_AddNumberToObject(line, "lr", s->lr) &&
	            cJSON_AddNumberToObject(line, "grad_norm", s->grad_norm) &&
	            cJSON_AddNumberToObject(line, "seconds", s->seconds) &&
	            cJSON_AddNumberToObject(line, "tokens_per_s", tokens_per_second(s));

	if (good)
		return line;
	cJSON_Delete(line);
	return NULL;
}

void train_log_force(train_log *l, const sae_train_step *s)
{
	add_line(l, step_json(s));
}

void train_log_step(train_log *l, const sae_train_step *s)
{
	if (s->step == 1 || s->step == s->steps || s->step % l->every == 0)
		train_log_force(l, s);
}

static cJSON *held_out_json(const sae_metrics *m)
{
	cJSON *line = cJSON_CreateObject();
	bool good = cJSON_AddNumberToObject(line, "rows", (double)m->n_rows) &&
	            cJSON_AddNumberToObject(line, "fvu", m->fvu) &&
	            cJSON_AddNumberToObject(line, "mse", m->mse) &&
	            cJSON_AddNumberToObject(line, "l0", m->l0) &&
	            cJSON_AddNumberToObject(line, "n_dead", (double)m->n_dead);

	if (good)
		return line;
	cJSON_Delete(line);
	return NULL;
}

void train_log_held_out(train_log *l, const sae_metrics *m)
{
	cJSON *line = cJSON_CreateObject(), *held_out = held_out_json(m);

	if (!cJSON_AddItemToObject(line, "held_out", held_out))
		cJSON_Delete(held_out);
	add_line(l, line);
}

void train_log_close(train_log *l)
{
	if (l->file && fclose(l->file) != 0 && !l->cause)
		l->cause = errno;
	l->file = NULL;
}

/* ---- Record ------------------------------------------------------------------------------------------------------------- */

/* cJSON's own functions take NULL for an object, so a chain of additions is checked once at its end. */
static bool add_number(cJSON *object, const char *key, double value)
{
	return cJSON_AddNumberToObject(object, key, value) != NULL;
}

static bool add_string(cJSON *object, const char *key, const char *value)
{
	return !value || cJSON_AddStringToObject(object, key, value);
}

static bool add_rows(cJSON *object, const sae_rows *rows)
{
	const sae_rows_stats *st = sae_rows_get_stats(rows);
	cJSON *o = cJSON_AddObjectToObject(object, "rows");

	return add_number(o, "all", (double)st->n_rows) && add_number(o, "kept", (double)st->n_kept) &&
	       add_number(o, "left_out_norm", (double)st->n_outlier) &&
	       add_number(o, "left_out_nan", (double)st->n_nan) &&
	       add_number(o, "left_out_tokens", (double)st->n_token) &&
	       add_number(o, "left_out_positions", (double)st->n_position) &&
	       add_number(o, "train", (double)sae_rows_n(rows, false)) &&
	       add_number(o, "held_out", (double)sae_rows_n(rows, true));
}

static bool add_split(cJSON *object, const dump_split_args *split)
{
	cJSON *o = cJSON_AddObjectToObject(object, "split");

	return add_number(o, "holdout", split->holdout) && add_string(o, "by", split->by) &&
	       add_number(o, "seed", (double)split->seed);
}

/* What the manifest says in single values; its lists (documents, roles) stay with the dump. */
static bool add_manifest(cJSON *object, const cJSON *manifest)
{
	const cJSON *item;
	cJSON *o;

	if (!manifest)
		return true;
	o = cJSON_AddObjectToObject(object, "manifest");
	cJSON_ArrayForEach(item, manifest)
	{
		cJSON *copy;

		if (cJSON_IsArray(item) || cJSON_IsObject(item))
			continue;
		copy = cJSON_Duplicate(item, true);
		if (!cJSON_AddItemToObject(o, item->string, copy)) {
			cJSON_Delete(copy);
			return false;
		}
	}
	return o != NULL;
}

/* What the program chose where the options leave it to it. */
static bool add_plan(cJSON *object, const sae_train_opts *t)
{
	cJSON *o = cJSON_AddObjectToObject(object, "plan");

	return add_number(o, "steps", (double)t->steps) && add_number(o, "batch", t->batch) &&
	       add_number(o, "lr", t->lr) && add_number(o, "warmup", (double)t->warmup) &&
	       add_number(o, "dead_tokens", (double)t->dead_tokens);
}

static bool add_options(cJSON *object, const train_report *r)
{
	cJSON *options = cli_options_json(r->self, r->opts);

	if (cJSON_AddItemToObject(object, "options", options))
		return true;
	cJSON_Delete(options);
	return false;
}

static bool add_gloss(cJSON *metadata, const train_report *r)
{
	const sae_dump_info *info = sae_dump_get_info(r->in->dump);
	cJSON *o = cJSON_AddObjectToObject(metadata, "gloss");

	return add_string(o, "version", GLOSS_VERSION) && add_string(o, "kernels", r->kernels) &&
	       add_string(o, "cpu", cpu_name()) &&
	       add_string(o, "dump_sha256", sae_rows_get_stats(r->in->rows)->sha256) &&
	       add_string(o, "tokenizer_sha256", info->tokenizer_sha256) &&
	       add_number(o, "steps", (double)r->last.step) && add_plan(o, r->plan) &&
	       add_number(o, "tokens", (double)r->last.tokens) && add_number(o, "fvu", r->last.fvu) &&
	       add_rows(o, r->in->rows) && add_split(o, r->split) &&
	       add_manifest(o, sae_dump_manifest(r->in->dump)) && add_options(o, r);
}

cJSON *train_report_metadata(const train_report *r)
{
	const sae_dump_info *info = sae_dump_get_info(r->in->dump);
	cJSON *m = cJSON_CreateObject();
	bool good = add_string(m, "model_name", info->model) &&
	            add_string(m, "hook_name", info->hook_point) &&
	            (info->layer < 0 || add_number(m, "hook_layer", info->layer)) &&
	            add_number(m, "context_size", info->ctx_len) &&
	            add_string(m, "training_architecture", sae_arch_name(r->plan->arch)) &&
	            add_number(m, "l0", r->last.l0) &&
	            add_number(m, "num_dead_features", (double)r->last.n_dead) && add_gloss(m, r);

	if (good)
		return m;
	cJSON_Delete(m);
	return NULL;
}

/* ---- Summary -------------------------------------------------------------------------------------------------------------- */

cJSON *train_report_json(const train_report *r)
{
	cJSON *o = cJSON_CreateObject(), *last = step_json(&r->last), *held_out = NULL;
	bool good = add_string(o, "dir", r->dir) && cJSON_AddBoolToObject(o, "finished", r->finished) &&
	            add_plan(o, r->plan) && add_number(o, "steps", (double)r->last.steps) &&
	            add_string(o, "weights_sha256", r->weights_sha256) &&
	            add_string(o, "kernels", r->kernels) && add_rows(o, r->in->rows) &&
	            add_split(o, r->split) && add_options(o, r);

	if (!good || !cJSON_AddItemToObject(o, "last", last)) {
		cJSON_Delete(last);
		good = false;
	}
	if (good && r->held_out) {
		held_out = held_out_json(r->held_out);
		good = cJSON_AddItemToObject(o, "held_out", held_out);
		if (!good)
			cJSON_Delete(held_out);
	}
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

void train_report_print(const train_report *r)
{
	const sae_rows_stats *st = sae_rows_get_stats(r->in->rows);
	const sae_train_step *s = &r->last;

	printf("%s: %" PRIu64 " of %" PRIu64 " steps, %" PRIu64
	       " tokens in %.1f s (%.0f tokens/s, kernels %s)\n",
	       r->dir, s->step, s->steps, s->tokens, s->seconds, tokens_per_second(s), r->kernels);
	printf("%" PRIu64 " of %" PRIu64 " rows left out, %" PRIu64 " of them for a norm over %.5g; %" PRIu64
	       " for training, %" PRIu64 " held out\n",
	       st->n_rows - st->n_kept, st->n_rows, st->n_outlier, st->norm_limit,
	       sae_rows_n(r->in->rows, false), sae_rows_n(r->in->rows, true));
	printf("last batch: fvu %.4f, l0 %.1f, %" PRIu64 " features dead\n", s->fvu, s->l0, s->n_dead);
	if (r->held_out)
		printf("held out:   fvu %.4f, l0 %.1f\n", r->held_out->fvu, r->held_out->l0);
}
