/* Fit autoencoders side by side: step after step, member after member. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/dump_internal.h"
#include "sae/kernels.h"
#include "sae/schedule.h"
#include "sae/train_internal.h"

#define CHECK_SECONDS 1 /* between two looks at the shards */

/* ---- Making ------------------------------------------------------------------------------------------------------- */

static int differs(const char *name, size_t member, error *err)
{
	return error_set(err, ERR_ARG, "members 0 and %zu of a run differ in '%s', which they share", member,
	                 name);
}

/* What all members have in common. */
static int check_shared(const sae_trainer *t, error *err)
{
	const sae_train_opts *first = &t->members[0].o;

	for (size_t i = 1; i < t->n; i++) {
		const sae_train_opts *o = &t->members[i].o;

		if (o->batch != first->batch)
			return differs("batch", i, err);
		if (o->steps != first->steps)
			return differs("steps", i, err);
		if (o->order_seed != first->order_seed)
			return differs("order-seed", i, err);
		if (o->shuffle_rows != first->shuffle_rows)
			return differs("shuffle", i, err);
		if (o->normalize != first->normalize)
			return differs("normalize", i, err);
		if (kernels_get(o->kernels) != kernels_get(first->kernels))
			return differs("kernels", i, err);
	}
	return 0;
}

/* A crosscoder's inputs have a norm each in a decoder row of equal parts. */
static int check_widths(const sae_dump *d, error *err)
{
	for (size_t i = 1; i < sae_dump_n_inputs(d); i++)
		if (dump_part(d, i)->width != d->width)
			return error_set(
			        err, ERR_FORMAT,
			        "'%s' has rows of %u, '%s' of %u: a crosscoder's inputs must be as wide",
			        sae_dump_shard(d, 0, NULL), d->width,
			        sae_dump_shard(dump_part(d, i), 0, NULL), dump_part(d, i)->width);
	return 0;
}

static int member_init(train_member *m, const sae_trainer *t, error *err)
{
	const sae_train_opts *o = &m->o;
	int rc;

	m->kind = fitter_kind_of(o);
	if (normalize_sample_rows(o->normalize) && train_parts(t) > 1)
		return error_set(err, ERR_ARG,
		                 "option 'normalize': rows of targets or several inputs can only be scaled");
	if (!m->kind->pairs && train_parts(t) > 1)
		return error_set(err, ERR_ARG, "arch '%s' is not trained on targets or several inputs",
		                 sae_arch_name(o->arch));
	if (o->archetypal && train_parts(t) > 1)
		return error_set(err, ERR_ARG,
		                 "option 'archetypal' does not go with targets or several inputs");
	if (o->skip && !t->target)
		return error_set(err, ERR_ARG, "option 'skip' is a transcoder's: there is no target");
	rc = m->kind->make(&m->self, o, t->d, t->d_out, t->pool, err);
	if (rc < 0)
		return rc;
	m->fires = mem_alloc_aligned(o->d_sae, sizeof(*m->fires));
	m->fires_before = mem_alloc_aligned(o->d_sae, sizeof(*m->fires_before));
	return m->fires && m->fires_before ? 0 : error_nomem(err, "firing counts");
}

static int members_init(sae_trainer *t, const sae_train_opts *o, error *err)
{
	uint64_t n_rows = sae_rows_n(t->rows, false);
	int rc = 0;

	for (size_t i = 0; i < t->n && rc == 0; i++) {
		sae_train_opts *mine = &t->members[i].o;

		*mine = o[i];
		sae_train_opts_see(mine, t->dump, t->rows);
		rc = sae_train_opts_check(mine, t->d > t->d_out ? t->d : t->d_out, n_rows, err);
		if (rc == 0)
			sae_train_plan(mine, n_rows);
	}
	if (rc == 0)
		rc = check_shared(t, err);
	for (size_t i = 0; i < t->n && rc == 0; i++)
		rc = member_init(&t->members[i], t, err);
	if (rc == 0)
		rc = normalize_init(&t->norm, o->normalize, dump_part(t->dump, 0)->width,
		                    pool_threads(t->pool), err);
	if (rc == 0 && t->n > 1) {
		t->copy = mem_alloc_aligned(o->batch, t->d * sizeof(float));
		t->copy_target = t->target ? mem_alloc_aligned(o->batch, t->d_out * sizeof(float)) : NULL;
		rc = t->copy && (t->copy_target || !t->target) ? 0 : error_nomem(err, "a batch");
	}
	return rc;
}

int sae_trainer_new(sae_trainer **out, const sae_dump *d, const sae_rows *rows, const sae_train_opts *o,
                    size_t n, pool *p, error *err)
{
	const sae_dump *target = sae_dump_target(d);
	sae_trainer *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return error_nomem(err, "a run");
	*t = (sae_trainer){ .dump = d, .rows = rows, .pool = p, .d = sae_dump_get_info(d)->d_in, .n = n };
	t->target = target != NULL;
	t->d_out = target ? target->width : t->d;
	t->members = calloc(n, sizeof(*t->members));
	rc = t->members ? check_widths(d, err) : error_nomem(err, "the members of a run");
	if (rc == 0)
		rc = members_init(t, o, err);
	if (rc < 0) {
		sae_trainer_free(t);
		return rc;
	}
	shuffle_init(&t->order, sae_rows_n(rows, false), t->d + (t->target ? t->d_out : 0), o->shuffle_rows,
	             o->order_seed);
	*out = t;
	return 0;
}

void sae_trainer_free(sae_trainer *t)
{
	if (!t)
		return;
	loader_free(t->loader);
	for (size_t i = 0; t->members && i < t->n; i++) {
		train_member *m = &t->members[i];

		if (m->kind)
			m->kind->free(m->self);
		free(m->fires);
		free(m->fires_before);
	}
	free(t->members);
	free(t->copy);
	free(t->copy_target);
	normalize_clear(&t->norm);
	free(t);
}

/* ---- Stepping ----------------------------------------------------------------------------------------------------- */

/* Count firings; a stretch ends so that the last one ends with the last step. */
static void count_fires(train_member *m, uint64_t s)
{
	if (s > 1 && (m->o.steps - s + 1) % TRAIN_FREQ_STEPS == 0) {
		uint64_t *before = m->fires_before;

		m->fires_before = m->fires;
		m->fires = before;
		memset(m->fires, 0, m->o.d_sae * sizeof(*m->fires));
		m->rows_before = m->rows;
		m->rows = 0;
	}
	m->kind->fires(m->self, m->fires);
	m->rows += m->o.batch;
}

static void lose(sae_trainer *t, train_member *m, uint64_t s, double lr)
{
	char row[256];

	train_blame_row(row, sizeof(row), t, t->position);
	m->state = SAE_MEMBER_LOST;
	(void)error_set(&m->cause, ERR_LIMIT,
	                "the loss of step %" PRIu64 " is not finite (lr %g, rows %" PRIu64 " to %" PRIu64
	                " of the order)%s: %s",
	                s, lr, t->position, t->position + m->o.batch - 1, row,
	                train_member_finite(m) ? "the model before that step is kept"
	                                       : "nor are the weights that the step before left");
}

/* Squared error in raw units, where they are those of the rows times a number. */
static double raw_error(const sae_trainer *t, double scaled)
{
	if (normalize_sample_rows(t->norm.kind) && t->norm.kind != SAE_NORMALIZE_CENTER)
		return NAN;
	return scaled / (train_scale_out(t) * train_scale_out(t));
}

/* `before` and what step s adds to it; NaN where steps are all of one sort. */
static double phase_sum(const train_member *m, uint64_t s, double before, double more)
{
	if (!sae_penalty_fits(m->o.arch, SAE_PENALTY_DEFAULT))
		return NAN;
	return (s > 1 ? before : 0) + more;
}

/* One step of one member on its own copy of the rows, x, and of their targets. */
static void member_step(sae_trainer *t, train_member *m, float *x, float *y)
{
	uint64_t s = t->steps + 1;
	double began = clock_now();
	step_result result;
	fitter_now now;

	schedule_at(&now, &m->o, s);
	m->kind->run(m->self, x, y, m->o.batch, (float)t->norm.scale, &now, &result);
	if (result.no_memory) {
		m->state = SAE_MEMBER_LOST;
		(void)error_set(&m->cause, ERR_NOMEM, "out of memory for the candidates of step %" PRIu64, s);
		return;
	}
	if (!isfinite(result.fvu)) {
		lose(t, m, s, now.lr);
		return;
	}
	count_fires(m, s);
	began = clock_now() - began;
	m->seconds += began;
	m->last = (sae_train_step){
		.step = s,
		.steps = m->o.steps,
		.tokens = s * m->o.batch,
		.fvu = result.fvu,
		.mse = raw_error(t, result.squared_error),
		.l0 = result.l0,
		.auxk = result.auxk,
		.lr = now.lr,
		.sparsity = m->o.sparsity_warmup ? now.sparsity : (double)NAN,
		.coef = sae_penalty_fits(m->o.arch, SAE_PENALTY_DEFAULT) ? result.coef : (double)NAN,
		.k = m->o.k_start ? now.k : (double)NAN,
		.grad_norm = result.grad_norm,
		.n_dead = result.n_dead,
		.n_resampled = m->last.n_resampled + result.n_resampled,
		.step_seconds = m->seconds,
		.dense_steps = phase_sum(m, s, m->last.dense_steps, result.dense),
		.dense_seconds = phase_sum(m, s, m->last.dense_seconds, result.dense ? began : 0),
		.n_prefixes = result.n_prefixes
	};
	memcpy(m->last.prefix_ends, result.prefix_ends, sizeof(m->last.prefix_ends));
	memcpy(m->last.prefix_fvu, result.prefix_fvu, sizeof(m->last.prefix_fvu));
	m->last.n_inputs = result.n_inputs;
	memcpy(m->last.input_fvu, result.input_fvu, sizeof(m->last.input_fvu));
}

/* A shard that is gone ends the run now, not when the next one is asked for. */
static int check_shards(sae_trainer *t, error *err)
{
	double now = clock_now();

	if (now - t->checked < CHECK_SECONDS)
		return 0;
	t->checked = now;
	return sae_dump_check(t->dump, err);
}

int sae_trainer_step(sae_trainer *t, error *err)
{
	size_t left = sae_trainer_running(t), after;
	size_t rows = t->members[0].o.batch * sizeof(float);
	int rc = check_shards(t, err);
	float *x, *y;

	if (t->started == 0)
		t->started = clock_now();
	if (rc == 0)
		rc = loader_next(t->loader, &x, &y, err);
	if (rc < 0)
		return rc;
	normalize_rows(&t->norm, x, t->members[0].o.batch, t->pool);
	for (size_t i = 0; i < t->n && left; i++) {
		train_member *m = &t->members[i];

		if (m->state != SAE_MEMBER_RUNS)
			continue;
		if (--left == 0)
			member_step(t, m, x, y);
		else /* steps write to their rows */
			member_step(t, m, memcpy(t->copy, x, rows * t->d),
			            y ? memcpy(t->copy_target, y, rows * t->d_out) : NULL);
	}
	after = sae_trainer_running(t);
	if (after == 0)
		return 0;
	t->steps++;
	t->position += t->members[0].o.batch;
	for (size_t i = 0; i < t->n; i++)
		if (t->members[i].state == SAE_MEMBER_RUNS)
			t->members[i].last.seconds = t->seconds_before + clock_now() - t->started;
	return 0;
}

/* ---- Looking at it -------------------------------------------------------------------------------------------------- */

size_t sae_trainer_running(const sae_trainer *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++)
		n += t->members[i].state == SAE_MEMBER_RUNS;
	return n;
}

uint64_t sae_trainer_steps(const sae_trainer *t)
{
	return t->steps;
}

sae_member_state sae_trainer_member(const sae_trainer *t, size_t member, sae_train_step *last, error *cause)
{
	const train_member *m = &t->members[member];

	if (last)
		*last = m->last;
	if (cause)
		*cause = m->cause;
	return m->state;
}

void sae_trainer_end_member(sae_trainer *t, size_t member)
{
	t->members[member].state = SAE_MEMBER_ENDED;
}

/* Where the batch's rows lie in the dump, into at[batch]. 0, or ERR_NOMEM. */
static int rows_of_batch(uint64_t *at, const sae_trainer *t, uint64_t position)
{
	uint64_t *blocks = mem_alloc_aligned(t->order.group, sizeof(*blocks));
	shuffle_group g = { 0 };

	if (!blocks)
		return ERR_NOMEM;
	for (uint32_t i = 0; i < t->members[0].o.batch; i++, position++) {
		uint64_t place = position % t->order.n, row;

		if (i == 0 || place < g.first || place >= g.first + g.n || g.pass != position / t->order.n) {
			shuffle_group_of(&g, &t->order, position);
			shuffle_group_blocks(&g, &t->order, blocks);
		}
		row = shuffle_group_row(&g, place - g.first);
		row = blocks[row / t->order.block] * t->order.block + row % t->order.block;
		at[i] = sae_rows_at(t->rows, false, row);
	}
	free(blocks);
	return 0;
}

/* What is wrong with a dump's own row, if anything; x (its width) is scratch. */
static void blame(char *out, size_t size, const sae_trainer *t, size_t part, uint64_t row, float *x)
{
	const sae_dump *d = dump_part(t->dump, part);
	double squares = 0, scale = train_part_scale(t, part);
	char place[160];

	if (dump_read_own(d, row, 1, x, NULL) < 0)
		return;
	for (uint32_t j = 0; j < d->width; j++)
		squares += (double)x[j] * (double)x[j];
	squares *= scale * scale;
	if (squares * t->members[0].o.batch < 3e38) /* what FP32 holds */
		return;
	dump_place(place, sizeof(place), d, row);
	if (isfinite(squares))
		snprintf(out, size, "; %s has the norm %.3g", place, sqrt(squares) / scale);
	else
		snprintf(out, size, "; %s holds NaN or infinity", place);
}

void train_blame_row(char *out, size_t size, const sae_trainer *t, uint64_t position)
{
	uint32_t batch = t->members[0].o.batch;
	uint64_t *at = mem_alloc_aligned(batch, sizeof(*at));
	float *x = mem_alloc_aligned(t->d > t->d_out ? t->d : t->d_out, sizeof(*x));

	out[0] = '\0';
	if (!at || !x || rows_of_batch(at, t, position) < 0)
		batch = 0;
	for (uint32_t i = 0; i < batch && !out[0]; i++)
		for (size_t part = 0; part < train_parts(t) && !out[0]; part++)
			blame(out, size, t, part, at[i], x);
	free(at);
	free(x);
}

/* ---- A run of one --------------------------------------------------------------------------------------------------- */

static int run_all(sae_trainer *t, const sae_train_opts *o, error *err)
{
	const train_member *m = &t->members[0];
	int rc = sae_trainer_start(t, err);

	while (rc == 0 && t->steps < m->o.steps) {
		rc = sae_trainer_step(t, err);
		if (rc == 0 && m->state == SAE_MEMBER_LOST)
			return error_set(err, m->cause.code, "%s", m->cause.msg);
		if (rc == 0 && o->on_step && o->on_step(o->payload, &m->last) && t->steps < m->o.steps)
			return error_set(err, ERR_STOPPED, "stopped after step %" PRIu64 " of %" PRIu64,
			                 t->steps, m->o.steps);
	}
	return rc;
}

int sae_train(sae_model **out, double **freq, const sae_dump *d, const sae_rows *rows,
              const sae_train_opts *o, pool *p, error *err)
{
	sae_trainer *t = NULL;
	int rc = sae_trainer_new(&t, d, rows, o, 1, p, err), made;

	if (rc < 0)
		return rc;
	rc = run_all(t, o, err);
	if (t->steps) {
		sae_trainer_finish(t);
		made = sae_trainer_model(out, freq, t, 0, rc == 0 ? err : NULL);
		if (rc == 0)
			rc = made;
	}
	sae_trainer_free(t);
	return rc;
}
