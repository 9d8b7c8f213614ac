/* The start of a run: a scale for each dump, and what members begin from, of the first rows in training order (a random sample,
 * and none of those held out). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/dump_internal.h"
#include "sae/kernels.h"
#include "sae/train_internal.h"

#define SAMPLE_ROWS UINT64_C(65536) /* that scales and means are taken from */

/* ---- Scales ------------------------------------------------------------------------------------------------------- */

size_t train_parts(const sae_trainer *t)
{
	return dump_n_parts(t->dump);
}

double train_part_scale(const sae_trainer *t, size_t part)
{
	return dump_part_is_target(t->dump, part) ? t->factors[part]
	                                          : t->norm.scale * (double)t->factors[part];
}

double train_scale_out(const sae_trainer *t)
{
	return train_part_scale(t, t->target ? train_parts(t) - 1 : 0);
}

int train_new_loader(sae_trainer *t, error *err)
{
	loader_free(t->loader);
	t->loader = NULL;
	return loader_new(&t->loader, t->dump, t->rows, &t->order, t->members[0].o.batch, t->position,
	                  train_parts(t) > 1 ? t->factors : NULL, err);
}

/* ---- The sample --------------------------------------------------------------------------------------------------- */

size_t train_sample_rows(const sae_trainer *t)
{
	size_t most = normalize_sample_rows(t->norm.kind);

	for (size_t i = 0; i < t->n; i++) {
		const train_member *m = &t->members[i];
		size_t n = m->kind->sample_rows ? m->kind->sample_rows(&m->o) : 0;

		most = n > most ? n : most;
	}
	most = most < t->order.n ? most : t->order.n;
	return most < SAMPLE_ROWS ? most : SAMPLE_ROWS;
}

typedef struct start_sample {
	double *mean_x, *mean_y; /* (d), (d_out): sums at first; without targets one and the same */
	float *x, *y;            /* (n_rows, d), (n_rows, d_out), NULL: none are asked for */
	size_t n_rows;
	double norms[SAE_PARTS_MAX], squares[SAE_PARTS_MAX]; /* of each dump */
	uint64_t n;
} start_sample;

static int sample_init(start_sample *s, const sae_trainer *t, error *err)
{
	*s = (start_sample){ .n = t->order.n < SAMPLE_ROWS ? t->order.n : SAMPLE_ROWS,
		             .n_rows = train_sample_rows(t) };
	s->mean_x = mem_alloc_aligned(t->d, sizeof(*s->mean_x));
	s->mean_y = t->target ? mem_alloc_aligned(t->d_out, sizeof(*s->mean_y)) : s->mean_x;
	s->x = s->n_rows ? mem_alloc_aligned(s->n_rows, t->d * sizeof(float)) : NULL;
	s->y = s->n_rows && t->target ? mem_alloc_aligned(s->n_rows, t->d_out * sizeof(float)) : s->x;
	if (!s->mean_x || !s->mean_y || (s->n_rows && (!s->x || !s->y)))
		return error_nomem(err, "a sample of rows");
	return 0;
}

static void sample_clear(start_sample *s)
{
	if (s->mean_y != s->mean_x)
		free(s->mean_y);
	free(s->mean_x);
	if (s->y != s->x)
		free(s->y);
	free(s->x);
}

static void add_row(start_sample *s, const sae_trainer *t, uint64_t i, const float *x, const float *y,
                    const kernels *k)
{
	k->add_f64(s->mean_x, 1, x, t->d);
	if (i < s->n_rows)
		memcpy(s->x + i * t->d, x, t->d * sizeof(float));
	if (y)
		k->add_f64(s->mean_y, 1, y, t->d_out);
	if (y && i < s->n_rows)
		memcpy(s->y + i * t->d_out, y, t->d_out * sizeof(float));
	for (size_t p = 0; p < train_parts(t); p++) {
		const float *row = dump_part_is_target(t->dump, p) ? y : x;
		double squares = k->sum_squares(row, dump_part(t->dump, p)->width);

		s->norms[p] += sqrt(squares);
		s->squares[p] += squares;
		x += dump_part(t->dump, p)->width;
	}
}

static int read_sample(start_sample *s, sae_trainer *t, error *err)
{
	const sae_train_opts *o = &t->members[0].o;
	float *x, *y;
	int rc = 0;

	for (uint64_t done = 0; done < s->n && rc == 0; done += o->batch) {
		uint64_t take = s->n - done < o->batch ? s->n - done : o->batch;

		rc = loader_next(t->loader, &x, &y, err);
		for (uint64_t i = 0; i < take && rc == 0; i++)
			add_row(s, t, done + i, x + i * t->d, t->target ? y + i * t->d_out : NULL,
			        kernels_get(o->kernels));
	}
	return rc;
}

/* The scales: that of the first dump is the step's, those of the others the loader's. */
static void find_scales(const start_sample *s, sae_trainer *t)
{
	normalize_fit_sums(&t->norm, s->norms[0], s->squares[0], s->n);
	for (size_t p = 0; p < train_parts(t); p++) {
		normalize one = { .kind = t->norm.kind, .d = dump_part(t->dump, p)->width };

		normalize_fit_sums(&one, s->norms[p], s->squares[p], s->n);
		t->factors[p] = p == 0                            ? 1
		                : dump_part_is_target(t->dump, p) ? (float)one.scale
		                                                  : (float)(one.scale / t->norm.scale);
	}
}

/* How the rows of a single dump are normalised where that takes rows, and the sample by that. */
static int normalize_sample(start_sample *s, sae_trainer *t, error *err)
{
	const kernels *k = kernels_get(t->members[0].o.kernels);
	int rc = normalize_fit(&t->norm, s->x, s->n_rows, t->pool, err);

	s->n = s->n_rows;
	memset(s->mean_x, 0, t->d * sizeof(*s->mean_x));
	for (size_t i = 0; i < s->n_rows && rc == 0; i++)
		k->add_f64(s->mean_x, 1, s->x + i * t->d, t->d);
	return rc;
}

/* Sums as means, and all by the scales. */
static void scale_sample(start_sample *s, const sae_trainer *t)
{
	for (size_t p = 0, first = 0; p < train_parts(t); p++) {
		const bool target = dump_part_is_target(t->dump, p);
		const uint32_t width = dump_part(t->dump, p)->width;
		const double scale = train_part_scale(t, p);
		const size_t d = target ? t->d_out : t->d;
		double *mean = target ? s->mean_y : s->mean_x + first;
		float *rows = target ? s->y : s->x + first;

		for (uint32_t i = 0; i < width; i++)
			mean[i] = scale * mean[i] / (double)s->n;
		for (size_t row = 0; row < s->n_rows; row++)
			for (uint32_t i = 0; i < width; i++)
				rows[row * d + i] *= (float)scale;
		first += width;
	}
}

static int start_from_sample(sae_trainer *t, error *err)
{
	start_sample s;
	int rc = sample_init(&s, t, err);

	if (rc == 0)
		rc = read_sample(&s, t, err);
	if (rc == 0 && normalize_sample_rows(t->norm.kind))
		rc = normalize_sample(&s, t, err);
	else if (rc == 0)
		find_scales(&s, t);
	if (rc == 0)
		scale_sample(&s, t);
	for (size_t i = 0; i < t->n && rc == 0; i++) {
		const train_member *m = &t->members[i];
		const fitter_sample sample = {
			.mean_x = s.mean_x, .mean_y = s.mean_y, .x = s.x, .y = s.y, .n = s.n_rows
		};

		rc = m->kind->start(m->self, m->o.seed, &sample, err);
	}
	sample_clear(&s);
	return rc;
}

int sae_trainer_start(sae_trainer *t, error *err)
{
	int rc;

	for (size_t p = 0; p < train_parts(t); p++)
		t->factors[p] = 1; /* rows as they are, to begin with */
	rc = train_new_loader(t, err);
	if (rc == 0)
		rc = start_from_sample(t, err);
	return rc == 0 ? train_new_loader(t, err) : rc;
}
