/* Record and summary of what was trained. */
#include <inttypes.h>
#include <math.h>

#include <string.h>

#include "cli/train_log.h"
#include "cli/train_report.h"
#include "cli/train_presets.h"

#define TARGET_MARGIN 0.1 /* of a target L0: within that it is met */

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
	       (!st->n_masked || add_number(o, "masked", (double)st->n_masked)) &&
	       (!st->n_role || add_number(o, "left_out_roles", (double)st->n_role)) &&
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

static bool add_part(cJSON *object, const char *key, cJSON *part)
{
	if (cJSON_AddItemToObject(object, key, part))
		return true;
	cJSON_Delete(part);
	return false;
}

/* What there is of schedule and optimiser beside the usual ones. */
static bool add_schedule(cJSON *o, const sae_train_opts *t)
{
	bool infinite = t->schedule == SAE_SCHEDULE_INFINITE, decays = t->optimizer != SAE_ADAM;

	return (!infinite || (add_number(o, "cooldown", (double)t->cooldown) &&
	                      add_number(o, "anneal_from", (double)t->anneal_from))) &&
	       (!(t->lr_floor > 0) || add_number(o, "lr_floor", t->lr_floor)) &&
	       (!t->sparsity_warmup || add_number(o, "sparsity_warmup", (double)t->sparsity_warmup)) &&
	       (!t->k_start || add_number(o, "k_anneal", (double)t->k_anneal)) &&
	       (!decays || add_number(o, "weight_decay", t->weight_decay));
}

/* Of a Matryoshka SAE: groups, or how many prefixes are drawn. */
static bool add_prefixes(cJSON *object, const sae_train_opts *t)
{
	cJSON *groups;

	if (t->arch != SAE_MATRYOSHKA)
		return true;
	if (t->n_prefix_weights &&
	    !add_part(object, "prefix_weights",
	              cJSON_CreateDoubleArray(t->prefix_weights, (int)t->n_prefix_weights)))
		return false;
	if (!add_string(object, "prefix_loss",
	                t->n_prefix_weights ? NULL
	                : t->prefix_sum     ? "sum"
	                                    : "mean") ||
	    !cJSON_AddBoolToObject(object, "prefix_bias", t->prefix_bias))
		return false;
	if (t->random_prefixes)
		return add_number(object, "random_prefixes", t->random_prefixes);
	groups = cJSON_CreateDoubleArray(t->groups, (int)t->n_groups);
	return add_part(object, "groups", groups);
}

static bool add_penalty(cJSON *o, const sae_train_opts *t)
{
	const sae_penalty_opts *p = &t->penalty;

	return !sae_penalty_fits(t->arch, SAE_PENALTY_DEFAULT) ||
	       (add_number(o, "coef", p->coef) && add_number(o, "target_l0", p->target_l0) &&
	        add_number(o, "start_l0", fmax(p->start_l0, 0)) &&
	        add_string(o, "decoder", p->free_decoder ? "free" : "unit") &&
	        (t->arch != SAE_JUMPRELU ||
	         (add_number(o, "bandwidth", p->bandwidth) && add_number(o, "threshold", p->threshold) &&
	          add_number(o, "threshold_lr", p->threshold_lr) &&
	          (p->kind != SAE_PENALTY_TANH || add_number(o, "tanh_scale", p->tanh_scale)))));
}

cJSON *train_plan_json(const sae_train_opts *t)
{
	cJSON *o = cJSON_CreateObject();

	if (add_number(o, "steps", (double)t->steps) && add_number(o, "batch", t->batch) &&
	    add_number(o, "lr", t->lr) && add_number(o, "warmup", (double)t->warmup) &&
	    add_number(o, "dead_tokens", (double)t->dead_tokens) && add_schedule(o, t) &&
	    add_prefixes(o, t) && add_penalty(o, t))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static bool add_plan(cJSON *object, const sae_train_opts *t)
{
	return add_part(object, "plan", train_plan_json(t));
}

cJSON *train_dead_json(const sae_train_opts *t, const sae_rows *rows)
{
	double gamma = sae_rows_get_stats(rows)->gamma;
	cJSON *o = cJSON_CreateObject();

	if (add_number(o, "gamma", gamma) && add_number(o, "tokens", (double)t->dead_tokens) &&
	    add_number(o, "dead", sae_train_foretell_dead(t, gamma, t->dead_tokens)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static bool add_options(cJSON *object, const train_report *r)
{
	return add_part(object, "options", cli_options_json(r->self, r->opts));
}

static bool is_finished(const train_report *r)
{
	return strcmp(r->end, "finished") == 0 || strcmp(r->end, "stopped early") == 0;
}

/* How it ended, and with what on the rows held out. */
static bool add_end(cJSON *object, const train_report *r)
{
	return cJSON_AddBoolToObject(object, "finished", is_finished(r)) &&
	       add_string(object, "end", r->end) &&
	       (!r->held_out || add_part(object, "held_out", train_held_out_json(r->held_out)));
}

/* What a transcoder's output is, in SAELens's words. */
static bool add_target(cJSON *metadata, const sae_dump *target)
{
	const sae_dump_info *info = target ? sae_dump_get_info(target) : NULL;

	return !info || (add_string(metadata, "hook_name_out", info->hook_point) &&
	                 (info->layer < 0 || add_number(metadata, "hook_layer_out", info->layer)));
}

/* What a crosscoder's inputs are. */
static bool add_inputs(cJSON *o, const sae_dump *d)
{
	cJSON *list = sae_dump_n_inputs(d) > 1 ? cJSON_AddArrayToObject(o, "inputs") : NULL;
	bool good = list || sae_dump_n_inputs(d) == 1;

	for (size_t i = 0; i < sae_dump_n_inputs(d) && list && good; i++) {
		const sae_dump_info *info = sae_dump_get_info(sae_dump_part(d, i, NULL));
		cJSON *one = cJSON_CreateObject();

		good = add_string(one, "model", info->model) &&
		       add_string(one, "hook_point", info->hook_point) &&
		       (info->layer < 0 || add_number(one, "layer", info->layer)) &&
		       cJSON_AddItemToArray(list, one);
		if (!good)
			cJSON_Delete(one);
	}
	return good;
}

static bool add_gloss(cJSON *metadata, const train_report *r)
{
	const sae_dump_info *info = sae_dump_get_info(r->in->dump);
	cJSON *o = cJSON_AddObjectToObject(metadata, "gloss");

	return add_string(o, "version", GLOSS_VERSION) && add_string(o, "kernels", r->kernels) &&
	       add_string(o, "screening", r->screening) && add_string(o, "cpu", cpu_name()) &&
	       add_string(o, "dump_sha256", sae_rows_get_stats(r->in->rows)->sha256) &&
	       add_string(o, "tokenizer_sha256", info->tokenizer_sha256) &&
	       add_number(o, "steps", (double)r->last.step) && add_plan(o, r->plan) &&
	       add_number(o, "tokens", (double)r->last.tokens) && add_number(o, "fvu", r->last.fvu) &&
	       add_rows(o, r->in->rows) && add_split(o, &r->opts->split) &&
	       add_manifest(o, sae_dump_manifest(r->in->dump)) && add_options(o, r) && add_end(o, r) &&
	       add_inputs(o, r->in->dump);
}

/* As SAELens calls it. */
static const char *training_architecture(sae_arch arch)
{
	if (arch == SAE_MATRYOSHKA)
		return "matryoshka_batchtopk";
	return sae_arch_name(arch == SAE_MULTITOPK ? SAE_TOPK : arch);
}

cJSON *train_report_metadata(const train_report *r)
{
	const sae_dump_info *info = sae_dump_get_info(r->in->dump);
	cJSON *m = cJSON_CreateObject();
	bool good =
	        add_string(m, "model_name", info->model) && add_string(m, "hook_name", info->hook_point) &&
	        (info->layer < 0 || add_number(m, "hook_layer", info->layer)) &&
	        (info->head < 0 || add_number(m, "hook_head_index", info->head)) &&
	        add_target(m, sae_dump_target(r->in->dump)) && add_number(m, "context_size", info->ctx_len) &&
	        add_string(m, "training_architecture", training_architecture(r->plan->arch)) &&
	        add_number(m, "l0", r->last.l0) &&
	        add_number(m, "num_dead_features", (double)r->last.n_dead) && add_gloss(m, r);

	if (good)
		return m;
	cJSON_Delete(m);
	return NULL;
}

/* ---- Summary -------------------------------------------------------------------------------------------------------------- */

/* In bytes. */
static bool add_memory(cJSON *o, const train_report *r)
{
	const sae_train_forecast *f = r->memory;
	cJSON *m = cJSON_AddObjectToObject(o, "memory");

	return m && add_number(m, "forecast", (double)f->total) &&
	       add_number(m, "weights", (double)f->weights) &&
	       add_number(m, "optimiser", (double)f->optimiser) && add_number(m, "batch", (double)f->batch) &&
	       add_number(m, "loader", (double)f->loader) && add_number(m, "model", (double)f->model) &&
	       add_number(m, "now", (double)f->now) && add_number(m, "limit", (double)r->memory_limit) &&
	       add_number(m, "peak", (double)cpu_memory_peak());
}

/* L0 was to be brought to a target; of held-out rows where there are some. */
static bool has_target(const train_report *r)
{
	return sae_penalty_fits(r->plan->arch, SAE_PENALTY_DEFAULT) && r->plan->penalty.target_l0 > 0;
}

static double reached(const train_report *r)
{
	return r->held_out ? r->held_out->l0 : r->last.l0;
}

static bool is_met(const train_report *r)
{
	return fabs(reached(r) / r->plan->penalty.target_l0 - 1) <= TARGET_MARGIN;
}

static bool add_target_l0(cJSON *o, const train_report *r)
{
	cJSON *t = has_target(r) ? cJSON_AddObjectToObject(o, "target_l0") : NULL;

	return !has_target(r) ||
	       (t && add_number(t, "target", r->plan->penalty.target_l0) &&
	        add_number(t, "reached", reached(r)) && cJSON_AddBoolToObject(t, "met", is_met(r)));
}

/* Tokens a second of so many steps, their own time alone; 0: there were none. */
static double phase_speed(const sae_train_step *s, double steps, double seconds)
{
	return steps > 0 && seconds > 0 ? steps * (double)s->tokens / (double)s->step / seconds : 0;
}

static bool add_phase(cJSON *o, const char *name, const sae_train_step *s, double steps, double seconds)
{
	cJSON *part = cJSON_AddObjectToObject(o, name);

	return part && add_number(part, "steps", steps) &&
	       add_number(part, "tokens_per_s", phase_speed(s, steps, seconds));
}

static bool add_phases(cJSON *o, const sae_train_step *s)
{
	cJSON *phases = isnan(s->dense_steps) ? NULL : cJSON_AddObjectToObject(o, "phases");

	return isnan(s->dense_steps) ||
	       (phases && add_phase(phases, "dense", s, s->dense_steps, s->dense_seconds) &&
	        add_phase(phases, "sparse", s, (double)s->step - s->dense_steps,
	                  s->step_seconds - s->dense_seconds));
}

static void print_phase(const char *what, const sae_train_step *s, double steps, double seconds)
{
	printf("%s: %.0f", what, steps);
	if (steps > 0)
		printf(" (%.0f tokens/s)", phase_speed(s, steps, seconds));
}

static void print_phases(const train_report *r)
{
	const sae_train_step *s = &r->last;

	if (isnan(s->dense_steps))
		return;
	printf("%s%s", r->name, *r->name ? ": " : "");
	print_phase("steps by dense tiles", s, s->dense_steps, s->dense_seconds);
	print_phase(", by lists of what fires", s, (double)s->step - s->dense_steps,
	            s->step_seconds - s->dense_seconds);
	printf("\n");
}

/* In which lines the run departs from the original that its preset is named after. */
static bool add_departs(cJSON *o, const train_report *r)
{
	cJSON *list = r->opts->preset ? cJSON_AddArrayToObject(o, "departs") : NULL;
	bool good = !r->opts->preset || list;

	if (!list)
		return good;
	for (const char *const *line = train_preset_departs(r->opts->preset); *line && good; line++)
		good = cJSON_AddItemToArray(list, cJSON_CreateString(*line));
	return good;
}

cJSON *train_report_json(const train_report *r)
{
	cJSON *o = cJSON_CreateObject();

	if (add_string(o, "dir", r->dir) && add_end(o, r) && add_plan(o, r->plan) &&
	    add_number(o, "steps", (double)r->last.steps) && add_target_l0(o, r) && add_phases(o, &r->last) &&
	    add_number(o, "resumed_at", (double)r->resumed_at) &&
	    add_string(o, "weights_sha256", r->weights_sha256) &&
	    add_string(o, "arch", sae_arch_name(r->plan->arch)) && add_string(o, "kernels", r->kernels) &&
	    add_string(o, "screening", r->screening) && add_rows(o, r->in->rows) &&
	    add_split(o, &r->opts->split) && add_options(o, r) && add_departs(o, r) && add_memory(o, r) &&
	    add_part(o, "dead_at_start", train_dead_json(r->plan, r->in->rows)) &&
	    add_part(o, "last", train_step_json(&r->last)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Tokens a second of its own steps, reading and the other SAEs left out. */
static double own_speed(const sae_train_step *s)
{
	return s->step_seconds > 0 ? (double)s->tokens / s->step_seconds : 0;
}

/* The row of the table, and all the rest. */
static cJSON *member_json(const train_report *r)
{
	cJSON *o = cJSON_CreateObject();

	if (add_string(o, "name", r->name) && add_string(o, "arch", sae_arch_name(r->plan->arch)) &&
	    add_number(o, "k", r->plan->k) && add_number(o, "features", r->plan->d_sae) &&
	    add_number(o, "seed", (double)r->plan->seed) && add_number(o, "lr", r->plan->lr) &&
	    add_number(o, "auxk_alpha", r->plan->auxk_alpha) &&
	    add_number(o, "own_tokens_per_s", own_speed(&r->last)) &&
	    add_part(o, "run", train_report_json(r)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

cJSON *train_reports_json(const train_report *r, size_t n, const char *dir, const char *picture)
{
	cJSON *o = cJSON_CreateObject(), *list;
	bool good = add_string(o, "dir", dir);

	list = cJSON_AddArrayToObject(o, "saes");
	for (size_t i = 0; i < n && good; i++) {
		cJSON *member = member_json(&r[i]);

		good = cJSON_AddItemToArray(list, member);
		if (!good)
			cJSON_Delete(member);
	}
	good = good && list &&
	       (*picture ? add_string(o, "pareto", picture) : cJSON_AddNullToObject(o, "pareto") != NULL);
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

static void print_rows(const train_report *r)
{
	const sae_rows_stats *st = sae_rows_get_stats(r->in->rows);

	printf("%" PRIu64 " of %" PRIu64 " rows left out, %" PRIu64 " of them for a norm over %.5g; %" PRIu64
	       " for training, %" PRIu64 " held out\n",
	       st->n_rows - st->n_masked - st->n_kept, st->n_rows - st->n_masked, st->n_outlier,
	       st->norm_limit, sae_rows_n(r->in->rows, false), sae_rows_n(r->in->rows, true));
}

static void print_target(const train_report *r)
{
	if (is_finished(r) && has_target(r) && !is_met(r))
		printf("%s%starget l0 %.4g was not met: %.1f was reached, the coefficient ended at %.4g\n",
		       r->name, *r->name ? ": " : "", r->plan->penalty.target_l0, reached(r), r->last.coef);
}

/* Of a crosscoder. */
static void print_inputs(const double *fvu, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		printf("%s%.4f%s", i ? ", " : "            fvu of each input: ", fvu[i],
		       i + 1 < n ? "" : "\n");
}

void train_report_print(const train_report *r)
{
	const sae_train_step *s = &r->last;
	double speed = s->seconds > 0 ? (double)s->tokens / s->seconds : 0;

	cli_put(r->dir);
	printf(": %" PRIu64 " of %" PRIu64 " steps, %" PRIu64
	       " tokens in %.1f s (%.0f tokens/s; %s, kernels %s, screening %s)\n",
	       s->step, s->steps, s->tokens, s->seconds, speed, sae_arch_name(r->plan->arch), r->kernels,
	       r->screening);
	if (strcmp(r->end, "stopped early") == 0)
		printf("stopped early: %" PRIu64 " measurements in a row without a better held-out fvu\n",
		       r->opts->patience);
	else if (strcmp(r->end, "finished") != 0)
		printf("%s\n", r->end);
	print_rows(r);
	printf("last batch: fvu %.4f, l0 %.1f, %" PRIu64 " features dead\n", s->fvu, s->l0, s->n_dead);
	for (uint32_t i = 0; i + 1 < s->n_prefixes; i++)
		printf("%s%" PRIu32 " %.4f%s",
		       i ? ", " : "            fvu of the first features alone: ", s->prefix_ends[i],
		       s->prefix_fvu[i], i + 2 < s->n_prefixes ? "" : "\n");
	print_inputs(s->input_fvu, s->n_inputs);
	print_phases(r);
	if (r->held_out) {
		printf("held out:   fvu %.4f, l0 %.1f\n", r->held_out->fvu, r->held_out->l0);
		print_inputs(r->held_out->input_fvu, r->held_out->n_inputs);
	}
	print_target(r);
}

static int add_row(cli_table *t, const train_report *r, error *err)
{
	const sae_train_step *s = &r->last;
	int rc = cli_table_cell(t, "%s", sae_arch_name(r->plan->arch));

	rc = rc == 0 ? cli_table_cell(t, "%" PRIu32, r->plan->k) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%" PRIu32, r->plan->d_sae) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%" PRIu64, r->plan->seed) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%.3g", r->plan->lr) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%.4f", s->fvu) : rc;
	if (rc == 0)
		rc = r->held_out ? cli_table_cell(t, "%.4f", r->held_out->fvu) : cli_table_cell(t, "-");
	rc = rc == 0 ? cli_table_cell(t, "%.1f", s->l0) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%" PRIu64, s->n_dead) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%.0f", own_speed(s)) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%s", r->dir) : rc;
	rc = rc == 0 ? cli_table_cell(t, "%s", r->end) : rc;
	return rc == 0 ? 0 : error_nomem(err, "a table");
}

int train_reports_print(const train_report *r, size_t n, const char *picture, error *err)
{
	static const cli_column columns[] = {
		{ "arch", false, 0 }, { "k", true, 0 },     { "F", true, 0 },        { "seed", true, 0 },
		{ "lr", true, 0 },    { "fvu", true, 0 },   { "held out", true, 0 }, { "l0", true, 0 },
		{ "dead", true, 0 },  { "tok/s", true, 0 }, { "folder", false, 0 },  { "ended", false, 40 },
	};
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_row(t, &r[i], err);
	if (rc == 0) {
		const sae_train_step *s = &r[0].last;

		printf("%zu SAEs on the same rows: %" PRIu64 " tokens in %.1f s, kernels %s%s%s\n", n,
		       s->tokens, s->seconds, r->kernels, *picture ? "; L0 against FVU: " : "", picture);
		print_rows(r);
		cli_table_print(t, stdout);
		for (size_t i = 0; i < n; i++)
			print_phases(&r[i]);
		for (size_t i = 0; i < n; i++)
			print_target(&r[i]);
	}
	cli_table_free(t);
	return rc;
}
