/* The state of a run in a checkpoint, and back. What the checkpoint's two JSON texts hold is written down in
 * docs/formats.md. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cblas.h>

#include "sae/checkpoint.h"
#include "sae/rows_internal.h"
#include "sae/train_internal.h"

enum { MEMBER_ARRAYS = FITTER_ARRAYS, NAME_BYTES = FITTER_NAME + 24 };

/* ---- Arrays ---------------------------------------------------------------------------------------------------------- */

/* All that changes in a step and is large, under "MEMBER.NAME". */
typedef struct state_arrays {
	checkpoint_array *items;
	char (*names)[NAME_BYTES];
	size_t n;
} state_arrays;

static void add_member(state_arrays *s, size_t member, const train_member *m)
{
	fitter_arrays list = { .n = 0 };

	m->kind->state(m->self, &list);
	fitter_add(&list, "fires", SAE_U64, m->o.d_sae, m->fires);
	fitter_add(&list, "fires_before", SAE_U64, m->o.d_sae, m->fires_before);
	for (size_t i = 0; i < list.n; i++, s->n++) {
		snprintf(s->names[s->n], NAME_BYTES, "%zu.%s", member, list.items[i].a.name);
		s->items[s->n] = list.items[i].a;
		s->items[s->n].name = s->names[s->n];
	}
}

static int arrays_init(state_arrays *s, const sae_trainer *t, error *err)
{
	*s = (state_arrays){ .items = calloc(t->n * MEMBER_ARRAYS + NORMALIZE_ARRAYS, sizeof(*s->items)),
		             .names = calloc(t->n * MEMBER_ARRAYS, sizeof(*s->names)) };
	if (!s->items || !s->names)
		return error_nomem(err, "the list of a checkpoint's arrays");
	for (size_t i = 0; i < t->n; i++)
		add_member(s, i, &t->members[i]);
	s->n += normalize_state(&t->norm, s->items + s->n);
	return 0;
}

static void arrays_clear(state_arrays *s)
{
	free(s->items);
	free(s->names);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------ */

/* cJSON's own functions take NULL for an object, so a chain of additions is checked once at its end. */
static bool put(cJSON *object, const char *key, double value)
{
	return cJSON_AddNumberToObject(object, key, value) != NULL;
}

static bool put_text(cJSON *object, const char *key, const char *value)
{
	return cJSON_AddStringToObject(object, key, value) != NULL;
}

static bool put_copy(cJSON *object, const char *key, const cJSON *value)
{
	cJSON *copy = value ? cJSON_Duplicate(value, true) : cJSON_CreateNull();

	if (cJSON_AddItemToObject(object, key, copy))
		return true;
	cJSON_Delete(copy);
	return false;
}

/* The whole of a 64-bit number. */
static bool put_u64(cJSON *object, const char *key, uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	return put_text(object, key, digits);
}

/* Only where it is not the default: so that the plans of before there was such an option are still the same. */
static bool put_other(cJSON *object, const char *key, double value, double usual)
{
	return value == usual || put(object, key, value);
}

static bool put_schedule(cJSON *p, const sae_train_opts *o)
{
	bool infinite = o->schedule == SAE_SCHEDULE_INFINITE;

	return put_other(p, "schedule", o->schedule, SAE_SCHEDULE_WSD) &&
	       put_other(p, "warmup_from", o->warmup_from, 0) &&
	       put_other(p, "warmup_late", o->warmup_late, false) &&
	       put_other(p, "warmup_cosine", o->warmup_cosine, false) &&
	       put_other(p, "lr_floor", o->lr_floor, 0) &&
	       (!infinite ||
	        (put(p, "lr_constant", o->lr_constant) && put(p, "cooldown", (double)o->cooldown) &&
	         put(p, "cooldown_shape", o->cooldown_shape) &&
	         put(p, "anneal_from", (double)o->anneal_from))) &&
	       put_other(p, "sparsity_warmup", (double)o->sparsity_warmup, 0) &&
	       (!o->k_start || (put(p, "k_start", o->k_start) && put(p, "k_anneal", (double)o->k_anneal) &&
	                        put(p, "k_shape", o->k_shape) && put(p, "k_power", o->k_power)));
}

static bool put_others(cJSON *p, const sae_train_opts *o)
{
	return put_other(p, "parts", o->codebook.groups, 1) &&
	       put_other(p, "euclidean", o->codebook.euclidean, false) &&
	       put_other(p, "mean", o->codebook.mean, false) &&
	       put_other(p, "code_norm", o->code_norm, false) &&
	       (!o->code_moving || put(p, "code_decay", o->code_decay)) &&
	       (!o->code_replace ||
	        (put(p, "code_replace", (double)o->code_replace) && put(p, "code_noise", o->code_noise))) &&
	       put_other(p, "code_random", o->code_random, false) &&
	       put_other(p, "residual", o->residual, 0.01) && put_other(p, "repeats", o->repeats, false) &&
	       (!o->archetypal ||
	        (put(p, "archetypal", o->archetypal) && put(p, "archetypal_delta", o->archetypal_delta)));
}

static bool put_start(cJSON *p, const sae_train_opts *o)
{
	return put_other(p, "init_bias", o->bias, SAE_BIAS_MEAN) &&
	       put_other(p, "encoder_norm", o->encoder_norm, 0) &&
	       put_other(p, "normal_rows", o->normal_rows, false) &&
	       put_other(p, "resample", (double)o->resample, 0);
}

static bool put_optimizer(cJSON *p, const sae_train_opts *o)
{
	return put_other(p, "optimizer", o->optimizer, SAE_ADAM) &&
	       (o->optimizer == SAE_ADAM ||
	        (put(p, "weight_decay", o->weight_decay) && put(p, "momentum", o->momentum))) &&
	       put_other(p, "clip", o->clip, 0) && put_other(p, "average", o->average, 0);
}

static bool put_list(cJSON *object, const char *key, const double *values, size_t n)
{
	cJSON *list = cJSON_CreateDoubleArray(values, (int)n);

	if (cJSON_AddItemToObject(object, key, list))
		return true;
	cJSON_Delete(list);
	return false;
}

/* Only of architectures that have one. */
static bool put_penalty(cJSON *p, const sae_train_opts *o)
{
	const sae_penalty_opts *q = &o->penalty;

	return !sae_penalty_fits(o->arch, SAE_PENALTY_DEFAULT) ||
	       (put(p, "penalty", q->kind) && put(p, "coef", q->coef) && put(p, "target_l0", q->target_l0) &&
	        cJSON_AddBoolToObject(p, "free_decoder", q->free_decoder) &&
	        put_other(p, "raw_input", q->raw_input, false) &&
	        put_other(p, "decoder_norm", q->decoder_norm, 0) &&
	        cJSON_AddBoolToObject(p, "plain_loss", q->plain_loss) && put(p, "bandwidth", q->bandwidth) &&
	        put(p, "threshold", q->threshold) && put(p, "threshold_lr", q->threshold_lr) &&
	        put(p, "start_l0", q->start_l0) && put(p, "tanh_scale", q->tanh_scale) &&
	        put(p, "preact", q->preact) && cJSON_AddBoolToObject(p, "ste_input", q->ste_input) &&
	        put_other(p, "ste_value", q->ste_value, false) &&
	        cJSON_AddBoolToObject(p, "log_threshold", q->log_threshold) &&
	        cJSON_AddBoolToObject(p, "detach_gate", q->detach_gate) && put(p, "p_end", q->p_end) &&
	        put(p, "p_anneal_from", q->anneal_from));
}

/* What a member is trained with, in force. */
static bool put_plan(cJSON *object, const char *key, const sae_train_opts *o)
{
	cJSON *p = cJSON_AddObjectToObject(object, key);

	if (o->arch == SAE_MATRYOSHKA &&
	    !(put_list(p, "groups", o->groups, o->n_groups) &&
	      (!o->n_prefix_weights ||
	       put_list(p, "prefix_weights", o->prefix_weights, o->n_prefix_weights)) &&
	      put(p, "random_prefixes", o->random_prefixes) &&
	      cJSON_AddBoolToObject(p, "prefix_sum", o->prefix_sum) &&
	      cJSON_AddBoolToObject(p, "prefix_bias", o->prefix_bias)))
		return false;
	return put(p, "arch", o->arch) && put(p, "features", o->d_sae) && put(p, "k", o->k) &&
	       put(p, "batch", o->batch) && put(p, "lr", o->lr) && put(p, "beta1", o->beta1) &&
	       put(p, "beta2", o->beta2) && put(p, "eps", o->eps) && put_u64(p, "warmup", o->warmup) &&
	       put(p, "decay", o->decay) && put(p, "auxk_alpha", o->auxk_alpha) &&
	       put_u64(p, "dead_tokens", o->dead_tokens) && put_u64(p, "seed", o->seed) &&
	       put_u64(p, "order_seed", o->order_seed) &&
	       cJSON_AddBoolToObject(p, "screening_statistical", o->screening == SAE_SCREENING_STATISTICAL) &&
	       put_schedule(p, o) && put_optimizer(p, o) && put_others(p, o) && put_start(p, o) &&
	       put_penalty(p, o) && put(p, "optimizer_state", o->moments8 ? 8 : 32) &&
	       cJSON_AddBoolToObject(p, "scale_mean_norm", o->normalize == SAE_NORMALIZE_MEAN_NORM) &&
	       (o->normalize <= SAE_NORMALIZE_MEAN_NORM || put(p, "normalize", o->normalize)) &&
	       cJSON_AddBoolToObject(p, "shuffle_rows", o->shuffle_rows) &&
	       (!o->skip || cJSON_AddTrueToObject(p, "skip"));
}

static bool put_plans(cJSON *object, const sae_trainer *t)
{
	const sae_train_opts *first = &t->members[0].o;
	cJSON *plan = cJSON_AddObjectToObject(object, "plan");
	bool good = put(plan, "steps", (double)first->steps) && (t->n > 1 || put(plan, "lr", first->lr));

	for (size_t i = 0; i < t->n && good; i++) {
		char key[24];

		snprintf(key, sizeof(key), "%zu", i);
		good = put_plan(plan, key, &t->members[i].o);
	}
	return good;
}

static bool put_machine(cJSON *object, const char *kernel_set)
{
	cJSON *m = cJSON_AddObjectToObject(object, "machine");

	return put_text(m, "gloss", GLOSS_VERSION) && put_text(m, "cpu", cpu_name()) &&
	       put_text(m, "kernels", kernel_set) && put_text(m, "blas", openblas_get_config()) &&
	       put_text(m, "blas_core", openblas_get_corename());
}

/* Of further dumps; infinity is written as null. */
static bool put_limits(cJSON *object, const sae_rows_stats *st)
{
	cJSON *list = st->n_more_limits ? cJSON_AddArrayToObject(object, "more_norm_limits") : NULL;
	bool good = list || !st->n_more_limits;

	for (size_t i = 0; i < st->n_more_limits && good; i++)
		good = cJSON_AddItemToArray(list, cJSON_CreateNumber(st->more_limits[i]));
	return good;
}

static bool put_dump(cJSON *object, const sae_rows *rows)
{
	const sae_rows_stats *st = sae_rows_get_stats(rows);
	cJSON *d = cJSON_AddObjectToObject(object, "dump");
	char split[24];

	snprintf(split, sizeof(split), "%016" PRIx64, rows_fingerprint(rows));
	return put_text(d, "sha256", st->sha256) && put(d, "rows", (double)st->n_rows) &&
	       put(d, "train", (double)sae_rows_n(rows, false)) &&
	       put(d, "held_out", (double)sae_rows_n(rows, true)) && put(d, "norm_limit", st->norm_limit) &&
	       put_text(d, "split", split) && put_limits(d, st);
}

static cJSON *config_json(const sae_trainer *t, const cJSON *options)
{
	cJSON *o = cJSON_CreateObject();

	if (put_copy(o, "options", options) && put_plans(o, t) && put_dump(o, t->rows) &&
	    put_machine(o, sae_kernels_name(t->members[0].o.kernels)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static bool put_prefixes(cJSON *o, const sae_train_step *s)
{
	double ends[SAE_PREFIXES];

	for (uint32_t i = 0; i < s->n_prefixes; i++)
		ends[i] = s->prefix_ends[i];
	return !s->n_prefixes || (put_list(o, "prefix_ends", ends, s->n_prefixes) &&
	                          put_list(o, "prefix_fvu", s->prefix_fvu, s->n_prefixes));
}

static bool put_member(cJSON *list, const train_member *m)
{
	const sae_train_step *s = &m->last;
	cJSON *o = cJSON_CreateObject();

	if (!cJSON_AddItemToArray(list, o)) {
		cJSON_Delete(o);
		return false;
	}
	return put(o, "state", m->state) && put_text(o, "cause", m->cause.msg) &&
	       put(o, "rows", (double)m->rows) && put(o, "rows_before", (double)m->rows_before) &&
	       put(o, "seconds", m->seconds) && put(o, "step", (double)s->step) &&
	       put(o, "tokens", (double)s->tokens) && put(o, "fvu", s->fvu) && put(o, "mse", s->mse) &&
	       put(o, "l0", s->l0) && put(o, "auxk", s->auxk) && put(o, "lr", s->lr) &&
	       (isnan(s->sparsity) || put(o, "sparsity", s->sparsity)) &&
	       (isnan(s->k) || put(o, "k", s->k)) &&
	       (isnan(s->dense_steps) ||
	        (put(o, "dense_steps", s->dense_steps) && put(o, "dense_seconds", s->dense_seconds))) &&
	       put_other(o, "n_resampled", (double)s->n_resampled, 0) && put(o, "grad_norm", s->grad_norm) &&
	       put(o, "n_dead", (double)s->n_dead) && put(o, "run_seconds", s->seconds) &&
	       put_prefixes(o, s) && (!s->n_inputs || put_list(o, "input_fvu", s->input_fvu, s->n_inputs));
}

/* Of the dumps side by side; of one alone there is nothing to tell. */
static bool put_factors(cJSON *object, const sae_trainer *t)
{
	cJSON *list = train_parts(t) > 1 ? cJSON_AddArrayToObject(object, "factors") : NULL;
	bool good = list || train_parts(t) == 1;

	for (size_t i = 0; i < train_parts(t) && good && list; i++)
		good = cJSON_AddItemToArray(list, cJSON_CreateNumber(t->factors[i]));
	return good;
}

static cJSON *progress_json(const sae_trainer *t, const cJSON *notes)
{
	cJSON *o = cJSON_CreateObject(), *members = cJSON_AddArrayToObject(o, "members");
	double seconds = t->seconds_before + (t->started > 0 ? clock_now() - t->started : 0);
	bool good = put(o, "step", (double)t->steps) &&
	            put(o, "tokens", (double)(t->steps * t->members[0].o.batch)) &&
	            put(o, "position", (double)t->position) && put(o, "scale", t->norm.scale) &&
	            put(o, "seconds", seconds) && put_copy(o, "notes", notes) && put_factors(o, t);

	for (size_t i = 0; i < t->n && good; i++)
		good = put_member(members, &t->members[i]);
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* ---- Saving ---------------------------------------------------------------------------------------------------------- */

int sae_trainer_check_space(const sae_trainer *t, const char *dir, error *err)
{
	state_arrays a;
	int rc = arrays_init(&a, t, err);

	if (rc == 0)
		rc = checkpoint_check_space(dir, checkpoint_bytes(a.items, a.n), err);
	arrays_clear(&a);
	return rc;
}

static int check_finite(const sae_trainer *t, error *err)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->members[i].state == SAE_MEMBER_RUNS && !train_member_finite(&t->members[i]))
			return error_set(err, ERR_LIMIT, "weights after step %" PRIu64 " are not finite",
			                 t->steps);
	return 0;
}

int sae_trainer_save(const sae_trainer *t, const char *dir, const cJSON *options, const cJSON *notes,
                     error *err)
{
	cJSON *config = NULL, *done = NULL;
	state_arrays a;
	int rc = arrays_init(&a, t, err);

	if (rc == 0)
		rc = check_finite(t, err);
	if (rc == 0)
		rc = checkpoint_check_space(dir, checkpoint_bytes(a.items, a.n), err);
	if (rc < 0)
		goto out;
	config = config_json(t, options);
	done = progress_json(t, notes);
	rc = config && done ? checkpoint_save(dir, config, done, a.items, a.n, err)
	                    : error_nomem(err, "the record of a checkpoint");
out:
	cJSON_Delete(config);
	cJSON_Delete(done);
	arrays_clear(&a);
	return rc;
}

/* ---- What is in a checkpoint ------------------------------------------------------------------------------------------- */

struct sae_saved {
	checkpoint *c;
	sae_saved_info info;
	uint64_t train_rows, position;
	const cJSON *members;
};

static const cJSON *part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static int read_phases(sae_saved_info *i, const cJSON *plan, const char *what, error *err)
{
	const char *warmup = "0";
	int rc;

	if (!part(plan, "anneal_from"))
		return 0;
	rc = json_get_u64(&i->anneal_from, plan, "anneal_from", what, err);
	if (rc == 0)
		rc = json_get_string(&warmup, plan, "warmup", what, err);
	i->warmup = strtoull(warmup, NULL, 10);
	return rc == 0 ? json_get_u64(&i->cooldown, plan, "cooldown", what, err) : rc;
}

static int read_info(sae_saved *s, error *err)
{
	const cJSON *config = checkpoint_config(s->c), *done = checkpoint_progress(s->c);
	const cJSON *dump = part(config, "dump"), *member;
	const char *what = checkpoint_path(s->c);
	sae_saved_info *i = &s->info;
	int rc = json_get_u64(&i->steps_taken, done, "step", what, err);

	i->norm_limit = INFINITY;
	s->members = part(done, "members");
	if (rc == 0)
		rc = json_get_u64(&i->steps, part(config, "plan"), "steps", what, err);
	if (rc == 0)
		rc = read_phases(i, part(part(config, "plan"), "0"), what, err);
	if (rc == 0)
		rc = json_get_u64(&s->position, done, "position", what, err);
	if (rc == 0)
		rc = json_get_u64(&s->train_rows, dump, "train", what, err);
	if (rc == 0)
		rc = json_get_u64(&i->n_rows, dump, "rows", what, err);
	if (rc == 0)
		rc = json_get_double(&i->norm_limit, dump, "norm_limit", what, err);
	cJSON_ArrayForEach(member, part(dump, "more_norm_limits"))
	{
		if (i->n_more_limits < SAE_PARTS_MAX)
			i->more_limits[i->n_more_limits++] =
			        cJSON_IsNumber(member) ? member->valuedouble : (double)INFINITY;
	}
	cJSON_ArrayForEach(member, s->members)
	{
		uint64_t state = SAE_MEMBER_LOST;

		if (rc == 0)
			rc = json_get_u64(&state, member, "state", what, err);
		i->n_members++;
		i->n_running += state == SAE_MEMBER_RUNS;
		i->n_lost += state == SAE_MEMBER_LOST;
	}
	if (rc == 0 && (!i->n_members || !s->train_rows || !i->n_rows || !i->steps))
		rc = error_set(err, ERR_FORMAT, "'%s' is no checkpoint of a training run", what);
	return rc;
}

bool sae_saved_exists(const char *dir)
{
	return checkpoint_exists(dir);
}

int sae_saved_remove(const char *dir, error *err)
{
	char path[FILE_PATH_MAX];
	int rc = file_join(path, dir, "checkpoint/state.safetensors", err);

	if (rc == 0 && unlink(path) < 0 && errno != ENOENT)
		rc = error_errno(err, errno, "cannot delete '%s'", path);
	return rc;
}

int sae_saved_open(sae_saved **out, const char *dir, error *err)
{
	sae_saved *s = calloc(1, sizeof(*s));
	int rc = s ? checkpoint_open(&s->c, dir, err) : error_nomem(err, "a checkpoint");

	if (rc == 0)
		rc = read_info(s, err);
	if (rc < 0) {
		sae_saved_close(s);
		return rc;
	}
	*out = s;
	return 0;
}

void sae_saved_close(sae_saved *s)
{
	if (s)
		checkpoint_close(s->c);
	free(s);
}

const sae_saved_info *sae_saved_get_info(const sae_saved *s)
{
	return &s->info;
}

const cJSON *sae_saved_notes(const sae_saved *s)
{
	return part(checkpoint_progress(s->c), "notes");
}

int sae_saved_compare(const sae_saved *s, const cJSON *options, const char *const *ignore, error *err)
{
	return checkpoint_compare(part(checkpoint_config(s->c), "options"), options, ignore, err);
}

int sae_saved_compare_machine(const sae_saved *s, const char *kernel_set, error *err)
{
	cJSON *now = cJSON_CreateObject();
	int rc;

	if (put_machine(now, sae_kernels_name(kernel_set)))
		rc = checkpoint_compare(part(checkpoint_config(s->c), "machine"), part(now, "machine"), NULL,
		                        err);
	else
		rc = error_nomem(err, "the record of this machine");
	cJSON_Delete(now);
	return rc;
}

static int check_grown(const sae_saved *s, const char *was, const sae_dump *d, pool *p, error *err)
{
	uint64_t n = sae_dump_get_info(d)->n_rows;
	char start[SHA256_HEX];
	int rc;

	if (n <= s->info.n_rows)
		return error_set(err, ERR_ARG,
		                 "the dump is not that of the checkpoint and has not grown: %" PRIu64
		                 " rows there, %" PRIu64 "%s now",
		                 s->info.n_rows, n, n == s->info.n_rows ? " others" : "");
	rc = dump_hash_start(start, d, s->info.n_rows, p, err);
	if (rc == 0 && strcmp(start, was) != 0)
		rc = error_set(err, ERR_ARG,
		               "the dump is not that of the checkpoint with rows added: its first %" PRIu64
		               " rows are others (SHA-256 %.12s there, %.12s now)",
		               s->info.n_rows, was, start);
	return rc;
}

int sae_saved_check_dump(const sae_saved *s, const sae_dump *d, const sae_rows *rows, bool may_grow,
                         bool *grown, pool *p, error *err)
{
	const char *now = sae_rows_get_stats(rows)->sha256, *was = "", *split = "";
	const cJSON *dump = part(checkpoint_config(s->c), "dump");
	char split_now[24];
	int rc = json_get_string(&was, dump, "sha256", checkpoint_path(s->c), err);

	if (rc == 0)
		rc = json_get_string(&split, dump, "split", checkpoint_path(s->c), err);
	if (rc < 0)
		return rc;
	*grown = false;
	if (strcmp(was, now) != 0) {
		if (!may_grow)
			return error_set(err, ERR_ARG,
			                 "the dump is not that of the checkpoint: %" PRIu64
			                 " rows of SHA-256 %.12s there, %" PRIu64
			                 " of %.12s now (--extend goes on with a dump that has grown)",
			                 s->info.n_rows, was, sae_dump_get_info(d)->n_rows, now);
		*grown = true;
		return check_grown(s, was, d, p, err);
	}
	snprintf(split_now, sizeof(split_now), "%016" PRIx64, rows_fingerprint(rows));
	if (strcmp(split, split_now) != 0)
		return error_set(err, ERR_ARG,
		                 "other rows are left out or held out than in the checkpoint (%" PRIu64
		                 " to train on there, %" PRIu64 " now): was the manifest changed?",
		                 s->train_rows, sae_rows_n(rows, false));
	return 0;
}

/* ---- Going on --------------------------------------------------------------------------------------------------------- */

/* For the report alone: what is not there, or not as expected, is not told. */
static void read_prefixes(sae_train_step *s, const cJSON *o)
{
	const cJSON *ends = part(o, "prefix_ends"), *fvu = part(o, "prefix_fvu");
	int n = cJSON_GetArraySize(ends);

	if (n > SAE_PREFIXES || cJSON_GetArraySize(fvu) != n)
		return;
	s->n_prefixes = (uint32_t)n;
	for (int i = 0; i < n; i++) {
		double end = cJSON_GetNumberValue(cJSON_GetArrayItem(ends, i));

		s->prefix_ends[i] = end >= 0 && end <= UINT32_MAX ? (uint32_t)end : 0;
		s->prefix_fvu[i] = cJSON_GetNumberValue(cJSON_GetArrayItem(fvu, i));
	}
}

static void read_inputs(sae_train_step *s, const cJSON *o)
{
	const cJSON *fvu = part(o, "input_fvu");
	int n = cJSON_GetArraySize(fvu);

	s->n_inputs = n <= SAE_PARTS_MAX ? (uint32_t)n : 0;
	for (uint32_t i = 0; i < s->n_inputs; i++)
		s->input_fvu[i] = cJSON_GetNumberValue(cJSON_GetArrayItem(fvu, (int)i));
}

static int read_member(train_member *m, const cJSON *o, const char *what, error *err)
{
	sae_train_step *s = &m->last;
	uint64_t state = SAE_MEMBER_LOST;
	const char *cause = "";
	int rc = json_get_u64(&state, o, "state", what, err);

	s->steps = m->o.steps;
	s->grad_norm = NAN; /* null where it was not finite */
	rc = rc == 0 ? json_get_string(&cause, o, "cause", what, err) : rc;
	rc = rc == 0 ? json_get_u64(&m->rows, o, "rows", what, err) : rc;
	rc = rc == 0 ? json_get_u64(&m->rows_before, o, "rows_before", what, err) : rc;
	rc = rc == 0 ? json_get_double(&m->seconds, o, "seconds", what, err) : rc;
	rc = rc == 0 ? json_get_u64(&s->step, o, "step", what, err) : rc;
	rc = rc == 0 ? json_get_u64(&s->tokens, o, "tokens", what, err) : rc;
	rc = rc == 0 ? json_get_double(&s->fvu, o, "fvu", what, err) : rc;
	rc = rc == 0 ? json_get_double(&s->mse, o, "mse", what, err) : rc;
	rc = rc == 0 ? json_get_double(&s->l0, o, "l0", what, err) : rc;
	rc = rc == 0 ? json_get_double(&s->auxk, o, "auxk", what, err) : rc;
	rc = rc == 0 ? json_get_double(&s->lr, o, "lr", what, err) : rc;
	s->sparsity = s->k = s->dense_steps = s->dense_seconds = NAN; /* where they are not noted */
	rc = rc == 0 && part(o, "sparsity") ? json_get_double(&s->sparsity, o, "sparsity", what, err) : rc;
	rc = rc == 0 && part(o, "n_resampled") ? json_get_u64(&s->n_resampled, o, "n_resampled", what, err)
	                                       : rc;
	rc = rc == 0 && part(o, "dense_steps") ? json_get_double(&s->dense_steps, o, "dense_steps", what, err)
	                                       : rc;
	rc = rc == 0 && part(o, "dense_seconds")
	             ? json_get_double(&s->dense_seconds, o, "dense_seconds", what, err)
	             : rc;
	rc = rc == 0 && part(o, "k") ? json_get_double(&s->k, o, "k", what, err) : rc;
	rc = rc == 0 ? json_get_double(&s->grad_norm, o, "grad_norm", what, err) : rc;
	rc = rc == 0 ? json_get_u64(&s->n_dead, o, "n_dead", what, err) : rc;
	rc = rc == 0 ? json_get_double(&s->seconds, o, "run_seconds", what, err) : rc;
	if (rc < 0)
		return rc;
	s->step_seconds = m->seconds;
	read_prefixes(s, o);
	read_inputs(s, o);
	m->state = state == SAE_MEMBER_RUNS    ? SAE_MEMBER_RUNS
	           : state == SAE_MEMBER_ENDED ? SAE_MEMBER_ENDED
	                                       : SAE_MEMBER_LOST;
	if (m->state == SAE_MEMBER_LOST)
		(void)error_set(&m->cause, ERR_LIMIT, "%s", cause);
	return 0;
}

/* The plan has to be the saved one, but in an extension. */
static int compare_plans(const sae_trainer *t, const sae_saved *s, error *err)
{
	cJSON *now = cJSON_CreateObject();
	int rc;

	if (put_plans(now, t))
		rc = checkpoint_compare(part(checkpoint_config(s->c), "plan"), part(now, "plan"), NULL, err);
	else
		rc = error_nomem(err, "the plan of a run");
	cJSON_Delete(now);
	return rc;
}

/* Rows were added: the pass over the old ones ends here, the next one is over all of them. */
static uint64_t position_when_grown(const sae_trainer *t, const sae_saved *s)
{
	uint64_t passes = (s->position + s->train_rows - 1) / s->train_rows;

	return passes * t->order.n;
}

static int read_factors(sae_trainer *t, const cJSON *done, const char *what, error *err)
{
	const cJSON *list = part(done, "factors");

	for (size_t i = 0; i < train_parts(t); i++) {
		const cJSON *item = cJSON_GetArrayItem(list, (int)i);

		if (train_parts(t) > 1 && !cJSON_IsNumber(item))
			return error_set(err, ERR_FORMAT, "'%s': 'factors' are not %zu numbers", what,
			                 train_parts(t));
		t->factors[i] = train_parts(t) > 1 ? (float)item->valuedouble : 1;
	}
	return 0;
}

int sae_trainer_restore(sae_trainer *t, sae_saved *s, bool extend, bool grown, error *err)
{
	const cJSON *done = checkpoint_progress(s->c);
	const char *what = checkpoint_path(s->c);
	state_arrays a = { 0 };
	int rc;

	if (s->info.n_members != t->n)
		return error_set(err, ERR_ARG, "the checkpoint has %zu SAEs, the run %zu", s->info.n_members,
		                 t->n);
	rc = extend ? 0 : compare_plans(t, s, err);
	for (size_t i = 0; i < t->n && rc == 0; i++)
		rc = read_member(&t->members[i], cJSON_GetArrayItem(s->members, (int)i), what, err);
	if (rc == 0)
		rc = json_get_double(&t->norm.scale, done, "scale", what, err);
	if (rc == 0)
		rc = read_factors(t, done, what, err);
	if (rc == 0)
		rc = json_get_double(&t->seconds_before, done, "seconds", what, err);
	if (rc == 0)
		rc = arrays_init(&a, t, err);
	if (rc == 0)
		rc = checkpoint_read(s->c, a.items, a.n, err);
	arrays_clear(&a);
	if (rc < 0)
		return rc;
	normalize_restored(&t->norm);
	t->steps = s->info.steps_taken;
	t->position = grown ? position_when_grown(t, s) : s->position;
	for (size_t i = 0; i < t->n && extend; i++)
		if (t->members[i].state == SAE_MEMBER_ENDED && t->members[i].last.step == t->steps)
			t->members[i].state = SAE_MEMBER_RUNS;
	return train_new_loader(t, err);
}
