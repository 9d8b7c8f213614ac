/* Fit one autoencoder: scale and start from a sample of the rows, take the steps, fold the scale away. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/kernels.h"
#include "sae/shuffle.h"
#include "sae/step.h"

#define SAMPLE_ROWS UINT64_C(65536) /* that scale and starting b_dec are taken from */
#define FREQ_STEPS  100
#define MAX_BATCH   (1u << 20)
#define MAX_SAE     (1u << 26)

/* ---- Options ------------------------------------------------------------------------------------------------------------- */

sae_train_opts sae_train_opts_default(void)
{
	return (sae_train_opts){ .arch = SAE_TOPK,
		                 .d_sae = 4608,
		                 .k = 32,
		                 .batch = 4096,
		                 .beta1 = 0.9,
		                 .beta2 = 0.999,
		                 .eps = 1e-8,
		                 .warmup = UINT64_MAX,
		                 .decay = 0.2,
		                 .auxk_alpha = 1.0 / 32,
		                 .scale_mean_norm = true };
}

/* Written so that NaN is out of range too. */
static int check_real(const char *name, double value, double min, double max, error *err)
{
	if (value >= min && value <= max)
		return 0;
	return error_set(err, ERR_ARG, "option '%s' is %g, not in %g..%g", name, value, min, max);
}

static int check_whole(const char *name, uint64_t value, uint64_t min, uint64_t max, error *err)
{
	if (value >= min && value <= max)
		return 0;
	return error_set(err, ERR_ARG, "option '%s' is %llu, not in %llu..%llu", name,
	                 (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

/* Codes of a batch are counted in 32 bits. */
static int check_batch(const sae_train_opts *o, uint32_t d_in, error *err)
{
	uint64_t width = o->k, max;

	if (o->auxk_alpha > 0 && d_in / 2 > width)
		width = d_in / 2;
	max = UINT32_MAX / width;
	return check_whole("batch", o->batch, 1, max < MAX_BATCH ? max : MAX_BATCH, err);
}

int sae_train_opts_check(const sae_train_opts *o, uint32_t d_in, uint64_t n_train_rows, error *err)
{
	int rc = check_whole("features", o->d_sae, 1, MAX_SAE, err);

	if (rc == 0)
		rc = check_whole("k", o->k, 1, o->d_sae, err);
	if (rc == 0)
		rc = check_batch(o, d_in, err);
	if (rc == 0)
		rc = check_real("lr", o->lr, 0, 1e3, err);
	if (rc == 0)
		rc = check_real("beta1", o->beta1, 0, 0.999999, err);
	if (rc == 0)
		rc = check_real("beta2", o->beta2, 0, 0.9999999, err);
	if (rc == 0)
		rc = check_real("eps", o->eps, 1e-30, 1, err);
	if (rc == 0)
		rc = check_real("decay", o->decay, 0, 1, err);
	if (rc == 0)
		rc = check_real("auxk-alpha", o->auxk_alpha, 0, 1e3, err);
	if (rc == 0)
		rc = check_whole("steps", o->steps, 0, UINT64_MAX / 2 / o->batch, err);
	if (rc < 0)
		return rc;
	if (!kernels_get(o->kernels))
		return error_set(err, ERR_ARG,
		                 "option 'kernels' is '%s', which is not known or this CPU cannot run",
		                 o->kernels);
	if (n_train_rows == 0)
		return error_set(err, ERR_FORMAT, "no rows are left to train on");
	return 0;
}

void sae_train_plan(sae_train_opts *o, uint64_t n_train_rows)
{
	if (!o->steps)
		o->steps = o->tokens ? (o->tokens + o->batch - 1) / o->batch : n_train_rows / o->batch;
	if (!o->steps)
		o->steps = 1;
	o->tokens = 0;
	if (o->warmup == UINT64_MAX)
		o->warmup = o->steps / 20 < 1000 ? o->steps / 20 : 1000;
	if (!(o->lr > 0))
		o->lr = 2e-4 / sqrt(o->d_sae / 16384.0);
	if (!o->dead_tokens) {
		uint64_t share = o->steps * o->batch / 10;

		o->dead_tokens = share < 10000000 ? share : 10000000;
		if (!o->dead_tokens)
			o->dead_tokens = 1;
	}
}

/* ---- A run ------------------------------------------------------------------------------------------------------------------ */

typedef struct run {
	const sae_train_opts *o; /* planned */
	const sae_dump *dump;
	const sae_rows *rows;
	uint32_t d;
	double scale;
	step *step;
	shuffle order;
	loader *loader;
	uint64_t *fires, *fires_before; /* (F): in this and the last stretch of FREQ_STEPS steps */
	uint64_t freq_rows;
	uint64_t rows_before;
} run;

static void run_clear(run *r)
{
	loader_free(r->loader);
	step_free(r->step);
	free(r->fires);
	free(r->fires_before);
}

/* Step t from 1: up over the warm-up, then constant, then down in a line that would reach 0 one step after the last. */
static double lr_at(const sae_train_opts *o, uint64_t t)
{
	uint64_t decay = (uint64_t)llround(o->decay * (double)o->steps);
	double lr = o->lr;

	if (t < o->warmup)
		lr *= (double)t / (double)o->warmup;
	if (o->steps - t < decay)
		lr *= (double)(o->steps - t + 1) / (double)decay;
	return lr;
}

static int make_step(run *r, pool *p, error *err)
{
	const sae_train_opts *o = r->o;
	step_config c = { .d = r->d,
		          .n_features = o->d_sae,
		          .k = o->k,
		          .batch = o->batch,
		          .beta1 = o->beta1,
		          .beta2 = o->beta2,
		          .eps = o->eps,
		          .auxk_alpha = o->auxk_alpha,
		          .dead_tokens = o->dead_tokens,
		          .k_set = kernels_get(o->kernels) };
	int rc;

	rc = step_new(&r->step, &c, p, err);
	if (rc < 0)
		return rc;
	r->fires = mem_alloc_aligned(o->d_sae, sizeof(*r->fires));
	r->fires_before = mem_alloc_aligned(o->d_sae, sizeof(*r->fires_before));
	return r->fires && r->fires_before ? 0 : error_nomem(err, "firing counts");
}

/* Scale and b_dec from the first rows in training order (a random sample, and none of those held out). */
static int start_from_sample(run *r, error *err)
{
	const kernels *k = r->step->c.k_set;
	uint64_t n = r->order.n < SAMPLE_ROWS ? r->order.n : SAMPLE_ROWS, done = 0;
	double *sum = mem_alloc_aligned(r->d, sizeof(*sum)), norms = 0;
	int rc = sum ? 0 : error_nomem(err, "the mean of the rows");
	float *x;

	while (done < n && rc == 0) {
		uint64_t take = n - done < r->o->batch ? n - done : r->o->batch;

		rc = loader_next(r->loader, &x, err);
		for (uint64_t i = 0; i < take && rc == 0; i++) {
			k->add_f64(sum, 1, x + i * r->d, r->d);
			norms += sqrt(k->sum_squares(x + i * r->d, r->d));
		}
		done += take;
	}
	r->scale = 1;
	if (rc == 0 && r->o->scale_mean_norm && norms > 0)
		r->scale = (float)(sqrt(r->d) * (double)n / norms); /* as steps use it */
	for (uint32_t i = 0; i < r->d && rc == 0; i++)
		r->step->b_dec.w[i] = (float)(r->scale * sum[i] / (double)n);
	free(sum);
	return rc;
}

static int start(run *r, pool *p, error *err)
{
	int rc = make_step(r, p, err);

	if (rc < 0)
		return rc;
	shuffle_init(&r->order, sae_rows_n(r->rows, false), r->d, r->o->shuffle_rows, r->o->seed);
	rc = loader_new(&r->loader, r->dump, r->rows, &r->order, r->o->batch, 0, err);
	if (rc == 0)
		rc = start_from_sample(r, err);
	if (rc < 0)
		return rc;
	loader_free(r->loader);
	r->loader = NULL;
	step_init_weights(r->step, r->o->seed);
	return loader_new(&r->loader, r->dump, r->rows, &r->order, r->o->batch, 0, err);
}

/* Count firings; a stretch ends so that the last one ends with the last step. */
static void count_fires(run *r, uint64_t t)
{
	const uint32_t *first = r->step->codes.first;

	if (t > 1 && (r->o->steps - t + 1) % FREQ_STEPS == 0) {
		uint64_t *before = r->fires_before;

		r->fires_before = r->fires;
		r->fires = before;
		memset(r->fires, 0, r->o->d_sae * sizeof(*r->fires));
		r->rows_before = r->freq_rows;
		r->freq_rows = 0;
	}
	for (size_t f = 0; f < r->o->d_sae; f++)
		r->fires[f] += first[f + 1] - first[f];
	r->freq_rows += r->o->batch;
}

static int take_steps(run *r, error *err)
{
	double started = clock_now();

	for (uint64_t t = 1; t <= r->o->steps; t++) {
		sae_train_step report = {
			.step = t, .steps = r->o->steps, .tokens = t * r->o->batch, .lr = lr_at(r->o, t)
		};
		step_result result;
		float *x;
		int rc = loader_next(r->loader, &x, err);

		if (rc < 0)
			return rc;
		step_run(r->step, x, r->o->batch, (float)r->scale, report.lr, &result);
		if (!isfinite(result.fvu))
			return error_set(err, ERR_LIMIT,
			                 "the loss of step %llu is not finite (lr %g): the model before that "
			                 "step is kept",
			                 (unsigned long long)t, report.lr);
		count_fires(r, t);
		report.fvu = result.fvu;
		report.mse = result.squared_error / (r->scale * r->scale);
		report.l0 = result.l0;
		report.auxk = result.auxk;
		report.grad_norm = result.grad_norm;
		report.n_dead = result.n_dead;
		report.seconds = clock_now() - started;
		if (r->o->on_step && r->o->on_step(r->o->payload, &report) && t < r->o->steps)
			return error_set(err, ERR_STOPPED, "stopped after step %llu of %llu",
			                 (unsigned long long)t, (unsigned long long)r->o->steps);
	}
	return 0;
}

/* ---- What comes out ------------------------------------------------------------------------------------------------------------- */

static int copy_name(char **out, const char *name, error *err)
{
	if (!name)
		return 0;
	*out = strdup(name);
	return *out ? 0 : error_nomem(err, "a name");
}

/* The model on raw rows: the input scale goes into the weights. */
static int make_model(sae_model **out, const run *r, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(r->dump);
	const step *s = r->step;
	size_t n = (size_t)s->c.n_features * r->d;
	sae_model *m = NULL;
	int rc = sae_model_new(&m, r->o->arch, r->d, s->c.n_features, s->c.k, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		m->W_enc[i] = (float)(s->W_enc.w[i] * r->scale);
		m->W_dec[i] = (float)(s->W_dec.w[i] / r->scale);
	}
	memcpy(m->b_enc, s->b_enc.w, s->c.n_features * sizeof(float));
	for (size_t i = 0; i < r->d; i++)
		m->b_dec[i] = (float)(s->b_dec.w[i] / r->scale);
	m->norm_limit = sae_rows_get_stats(r->rows)->norm_limit;
	rc = copy_name(&m->model_name, info->model, err);
	if (rc == 0)
		rc = copy_name(&m->hook_name, info->hook_point, err);
	if (rc < 0) {
		sae_model_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

static int make_freq(double **out, const run *r, bool finished, error *err)
{
	double *freq = mem_alloc_aligned(r->o->d_sae, sizeof(*freq));
	uint64_t rows = r->freq_rows + (finished ? 0 : r->rows_before);

	if (!freq)
		return error_nomem(err, "firing frequencies");
	for (size_t f = 0; f < r->o->d_sae; f++)
		freq[f] = (double)(r->fires[f] + (finished ? 0 : r->fires_before[f])) / (double)rows;
	*out = freq;
	return 0;
}

int sae_train(sae_model **out, double **freq, const sae_dump *d, const sae_rows *rows,
              const sae_train_opts *o, pool *p, error *err)
{
	sae_train_opts planned = *o;
	run r = { .o = &planned, .dump = d, .rows = rows, .d = sae_dump_get_info(d)->d_in };
	sae_model *m = NULL;
	int rc = sae_train_opts_check(o, r.d, sae_rows_n(rows, false), err), made;

	if (rc < 0)
		return rc;
	sae_train_plan(&planned, sae_rows_n(rows, false));
	rc = start(&r, p, err);
	if (rc == 0)
		rc = take_steps(&r, err);
	if (r.freq_rows) { /* at least one step was taken */
		made = make_model(&m, &r, err);
		if (made == 0 && freq)
			made = make_freq(freq, &r, rc == 0, err);
		if (made < 0) {
			sae_model_free(m);
			rc = made;
		} else {
			*out = m;
		}
	}
	run_clear(&r);
	return rc;
}
