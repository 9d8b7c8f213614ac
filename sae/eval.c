/* Metrics of a model over the rows of a dump. Two passes: the first for the mean of the rows, the second encodes, decodes and
 * sums. Rows are cut in tiles of SAE_ENCODE_TILE; a tile's sums are made by one thread in FP64 and joined in order of the tiles,
 * so that the result does not depend on the threads. Spreads are sums of squares about a tile's own mean, joined by Chan's
 * formula: no difference of large raw moments, but in ev_uncentered, which is defined by one. */
#include "sae/eval_internal.h"
#include "sae/parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_TILES 16
#define BLOCK_ROWS  (BLOCK_TILES * SAE_ENCODE_TILE)

/* Count, mean and sum of squares about the mean of numbers that come one by one or in groups. */
typedef struct spread {
	uint64_t n;
	double mean, m2;
} spread;

typedef struct sums {
	uint64_t n;              /* rows */
	double squared_error;    /* sum |e|^2 */
	double squared_distance; /* sum |x - mean x|^2 */
	double cosine;           /* sum cos(x, xhat) */
	double l2_ratio;         /* sum |xhat| / |x| over the n_l2_ratio rows with |x| > 0 */
	uint64_t n_l2_ratio;
	double squared_hat; /* sum |xhat|^2 */
	double dot;         /* sum <x, xhat> */
	uint64_t l0;
	double l1, hoyer; /* hoyer: over the n_hoyer rows with a code */
	uint64_t n_hoyer;
	spread ev;        /* of 1 - |e|^2 / |x - mean x|^2, over rows that are not the mean itself */
	double error_m2;  /* sum |e - mean e|^2 */
	double *vector;   /* (d) mean of e; in the first pass the sum of x */
	double squared_x; /* of the first pass: sum |x|^2 */
	parts_sums parts; /* of a crosscoder's inputs: squared distances and errors */
	int rc;
	error err; /* of reading */
} sums;

typedef struct eval {
	const sae_model *model;
	const sae_dump *dump,
	        *target; /* target: what the output is compared with; the same dump but for a transcoder */
	const sae_rows *rows;
	bool held_out;
	uint32_t d;        /* of the output */
	uint64_t first, n; /* the block: rows first..first+n-1 of the evaluated ones */
	float *in;         /* (BLOCK_ROWS, d_in): rows to encode; x itself where they are the target */
	float *x, *hat;    /* (BLOCK_ROWS, d): target and output */
	sae_codes codes;
	double *mean;       /* (d) of the evaluated rows */
	double mean_square; /* E |x|^2 */
	uint64_t *fires,
	        *last_context; /* (F): rows a feature fires on; 1 + the last context it fired in, 0: none yet */
	uint32_t *contexts;    /* (F): contexts it fires in */
	uint64_t *rows_with;   /* (F + 1): rows on which so many features fire */
	sums tile[BLOCK_TILES], total;
	double *vectors; /* (BLOCK_TILES + 1, d): the tiles' and the total's */
} eval;

static double ratio(double over, double under)
{
	return under > 0 ? over / under : NAN;
}

static void spread_add(spread *s, double value)
{
	double delta = value - s->mean;

	s->n++;
	s->mean += delta / (double)s->n;
	s->m2 += delta * (value - s->mean);
}

static void spread_join(spread *a, const spread *b)
{
	double n = (double)(a->n + b->n), delta = b->mean - a->mean;

	if (!b->n)
		return;
	a->m2 += b->m2 + delta * delta * (double)a->n * (double)b->n / n;
	a->mean += delta * (double)b->n / n;
	a->n += b->n;
}

/* Rows of tile i of the block, and the first of them within the block. */
static size_t tile_rows(const eval *e, size_t i, size_t *first)
{
	*first = i * SAE_ENCODE_TILE;
	if (e->n - *first < SAE_ENCODE_TILE)
		return (size_t)(e->n - *first);
	return SAE_ENCODE_TILE;
}

/* Rows that lie side by side in the dump are read at once. */
static int read_tile(eval *e, size_t i, const sae_dump *from, float *to, uint32_t d, error *err)
{
	size_t first, n = tile_rows(e, i, &first);
	int rc = 0;

	for (size_t done = 0, run; !rc && done < n; done += run) {
		uint64_t start = sae_rows_at(e->rows, e->held_out, e->first + first + done);

		for (run = 1; done + run < n; run++)
			if (sae_rows_at(e->rows, e->held_out, e->first + first + done + run) != start + run)
				break;
		rc = sae_dump_read(from, start, run, to + (first + done) * d, err);
	}
	return rc;
}

/* The target's rows were not scanned as the dump's were. */
static int check_target(const eval *e, size_t i, error *err)
{
	size_t first, n = tile_rows(e, i, &first);

	for (size_t r = first; r < first + n; r++)
		for (uint32_t j = 0; j < e->d; j++)
			if (!isfinite(e->x[r * e->d + j]))
				return error_set(
				        err, ERR_FORMAT, "'%s': row %llu holds a NaN or infinity",
				        sae_dump_shard(e->target, 0, NULL),
				        (unsigned long long)sae_rows_at(e->rows, e->held_out, e->first + r));
	return 0;
}

static void read_target(eval *e, size_t i)
{
	sums *t = &e->tile[i];

	t->rc = read_tile(e, i, e->target, e->x, e->d, &t->err);
	if (t->rc == 0 && e->target != e->dump)
		t->rc = check_target(e, i, &t->err);
}

static void read_task(void *payload, size_t i, unsigned worker)
{
	eval *e = payload;

	(void)worker;
	read_target(e, i);
	if (!e->tile[i].rc && e->in != e->x)
		e->tile[i].rc = read_tile(e, i, e->dump, e->in, e->model->d_in, &e->tile[i].err);
}

/* The first pass: sums of the rows and of their squares. */
static void moment_task(void *payload, size_t i, unsigned worker)
{
	eval *e = payload;
	sums *t = &e->tile[i];
	size_t first, n = tile_rows(e, i, &first);

	(void)worker;
	read_target(e, i);
	if (t->rc)
		return;
	memset(t->vector, 0, e->d * sizeof(double));
	t->squared_x = 0;
	for (size_t r = 0; r < n; r++) {
		const float *x = e->x + (first + r) * e->d;

		for (uint32_t j = 0; j < e->d; j++) {
			t->vector[j] += (double)x[j];
			t->squared_x += (double)x[j] * (double)x[j];
		}
	}
}

static void add_codes(const eval *e, sums *t, size_t r)
{
	double l1 = 0, squares = 0, root = sqrt((double)e->model->d_sae);

	t->l0 += e->codes.first[r + 1] - e->codes.first[r];
	for (size_t i = e->codes.first[r]; i < e->codes.first[r + 1]; i++) {
		double value = (double)e->codes.value[i];

		l1 += value;
		squares += value * value;
	}
	t->l1 += l1;
	if (squares > 0) {
		t->hoyer += (root - l1 / sqrt(squares)) / (root - 1);
		t->n_hoyer++;
	}
}

/* Of each input of a crosscoder. */
static void add_inputs(const eval *e, sums *t, const float *x, const float *hat)
{
	uint32_t width = e->d / e->model->n_inputs;

	for (uint32_t j = 0; j < e->d; j++) {
		double ej = (double)x[j] - (double)hat[j], dj = (double)x[j] - e->mean[j];

		t->parts.e[j / width] += ej * ej;
		t->parts.y[j / width] += dj * dj;
	}
}

static void add_row(eval *e, sums *t, size_t r)
{
	const float *x = e->x + r * e->d, *hat = e->hat + r * e->d;
	double error2 = 0, distance2 = 0, x2 = 0, hat2 = 0, dot = 0;

	for (uint32_t j = 0; j < e->d; j++) {
		double xj = (double)x[j], hj = (double)hat[j], ej = xj - hj, dj = xj - e->mean[j];

		error2 += ej * ej;
		distance2 += dj * dj;
		x2 += xj * xj;
		hat2 += hj * hj;
		dot += xj * hj;
		t->vector[j] += ej;
	}
	t->squared_error += error2;
	t->squared_distance += distance2;
	t->squared_hat += hat2;
	t->dot += dot;
	if (x2 > 0 && hat2 > 0)
		t->cosine += dot / sqrt(x2 * hat2); /* else 0, as torch's cosine_similarity has it */
	if (x2 > 0) {
		t->l2_ratio += sqrt(hat2 / x2);
		t->n_l2_ratio++;
	}
	if (distance2 > 0)
		spread_add(&t->ev, 1 - error2 / distance2);
	if (e->model->n_inputs > 1)
		add_inputs(e, t, x, hat);
	add_codes(e, t, r);
}

static void sum_task(void *payload, size_t i, unsigned worker)
{
	eval *e = payload;
	double *mean = e->tile[i].vector;
	size_t first, n = tile_rows(e, i, &first);
	sums *t = &e->tile[i];

	(void)worker;
	*t = (sums){ .n = n, .vector = mean };
	memset(mean, 0, e->d * sizeof(double));
	for (size_t r = 0; r < n; r++)
		add_row(e, t, first + r);
	for (uint32_t j = 0; j < e->d; j++)
		mean[j] /= (double)n;
	for (size_t r = 0; r < n; r++) {
		const float *x = e->x + (first + r) * e->d, *hat = e->hat + (first + r) * e->d;

		for (uint32_t j = 0; j < e->d; j++) {
			double dj = (double)x[j] - (double)hat[j] - mean[j];

			t->error_m2 += dj * dj;
		}
	}
}

static void join(sums *total, const sums *t, uint32_t d)
{
	double n = (double)(total->n + t->n), between = 0;

	for (uint32_t j = 0; j < d; j++) {
		double delta = t->vector[j] - total->vector[j];

		between += delta * delta;
		total->vector[j] += delta * (double)t->n / n;
	}
	total->error_m2 += t->error_m2 + between * (double)total->n * (double)t->n / n;
	total->n += t->n;
	total->squared_error += t->squared_error;
	total->squared_distance += t->squared_distance;
	total->cosine += t->cosine;
	total->l2_ratio += t->l2_ratio;
	total->n_l2_ratio += t->n_l2_ratio;
	total->squared_hat += t->squared_hat;
	total->dot += t->dot;
	total->l0 += t->l0;
	total->l1 += t->l1;
	total->hoyer += t->hoyer;
	total->n_hoyer += t->n_hoyer;
	spread_join(&total->ev, &t->ev);
	parts_join(&total->parts, &t->parts, SAE_PARTS_MAX);
}

/* Set the block that starts at row `first` of n_rows; returns its number of tiles. */
static size_t start_block(eval *e, uint64_t first, uint64_t n_rows)
{
	e->first = first;
	e->n = n_rows - first < BLOCK_ROWS ? n_rows - first : BLOCK_ROWS;
	return (size_t)((e->n + SAE_ENCODE_TILE - 1) / SAE_ENCODE_TILE);
}

/* The error of the first tile that could not be read. */
static int read_failed(const eval *e, size_t n_tiles, error *err)
{
	for (size_t i = 0; i < n_tiles; i++) {
		if (e->tile[i].rc) {
			if (err)
				*err = e->tile[i].err;
			return e->tile[i].rc;
		}
	}
	return 0;
}

static int first_pass(eval *e, uint64_t n_rows, pool *p, error *err)
{
	for (uint64_t first = 0; first < n_rows; first += BLOCK_ROWS) {
		size_t n_tiles = start_block(e, first, n_rows);
		int rc;

		pool_run(p, n_tiles, moment_task, e);
		rc = read_failed(e, n_tiles, err);
		if (rc)
			return rc;
		for (size_t i = 0; i < n_tiles; i++) {
			e->mean_square += e->tile[i].squared_x;
			for (uint32_t j = 0; j < e->d; j++)
				e->mean[j] += e->tile[i].vector[j];
		}
	}
	e->mean_square /= (double)n_rows;
	for (uint32_t j = 0; j < e->d; j++)
		e->mean[j] /= (double)n_rows;
	return 0;
}

/* Rows are in the order of contexts: a feature's last one tells whether this one is new to it. */
static void count_firings(eval *e)
{
	for (size_t r = 0; r < e->codes.n; r++) {
		uint64_t context = 0;
		uint32_t position;

		(void)sae_dump_where(e->dump, sae_rows_at(e->rows, e->held_out, e->first + r), &context,
		                     &position);
		context++; /* 0: none yet */
		e->rows_with[e->codes.first[r + 1] - e->codes.first[r]]++;
		for (size_t i = e->codes.first[r]; i < e->codes.first[r + 1]; i++) {
			uint32_t f = e->codes.index[i];

			e->fires[f]++;
			e->contexts[f] += e->last_context[f] != context;
			e->last_context[f] = context;
		}
	}
}

static int second_pass(eval *e, uint64_t n_rows, sae_encoder *encoder, pool *p, progress *pr, error *err)
{
	for (uint64_t first = 0; first < n_rows; first += BLOCK_ROWS) {
		size_t n_tiles = start_block(e, first, n_rows);
		int rc;

		pool_run(p, n_tiles, read_task, e);
		rc = read_failed(e, n_tiles, err);
		if (!rc)
			rc = sae_encode(encoder, e->in, (size_t)e->n, &e->codes, err);
		if (rc)
			return rc;
		sae_decode(e->model, e->in, &e->codes, e->hat, p);
		pool_run(p, n_tiles, sum_task, e);
		for (size_t i = 0; i < n_tiles; i++)
			join(&e->total, &e->tile[i], e->d);
		count_firings(e);
		if (pr)
			progress_update(pr, first + e->n, NULL);
	}
	return 0;
}

static void fill(sae_metrics *out, const eval *e)
{
	const sums *t = &e->total;
	double n = (double)t->n, square_of_mean = 0;

	for (uint32_t j = 0; j < e->d; j++)
		square_of_mean += e->mean[j] * e->mean[j];
	*out = (sae_metrics){ .n_rows = t->n, .n_features = e->model->d_sae, .fires = e->fires };
	out->fvu = ratio(t->squared_error, t->squared_distance);
	out->ev_ratio = 1 - out->fvu;
	out->ev_per_token = t->ev.n ? t->ev.mean : NAN;
	out->ev_per_token_std = t->ev.n > 1 ? sqrt(t->ev.m2 / (double)(t->ev.n - 1)) : NAN;
	out->ev_centered = 1 - ratio(t->error_m2, t->squared_distance);
	out->ev_uncentered = t->squared_distance > 0
	                             ? 1 - ratio(t->squared_error / n, e->mean_square - square_of_mean)
	                             : NAN;
	out->mse = t->squared_error / n;
	out->mse_per_dim = out->mse / e->d;
	out->cosine = t->cosine / n;
	out->l2_ratio = ratio(t->l2_ratio, (double)t->n_l2_ratio);
	out->relative_bias = t->dot < 0 || t->dot > 0 ? t->squared_hat / t->dot : NAN;
	out->l0 = (double)t->l0 / n;
	out->l1 = t->l1 / n;
	out->hoyer = ratio(t->hoyer, (double)t->n_hoyer);
	out->encoder_bias = out->encoder_norm = out->decoder_norm = out->encoder_decoder_cosine = (double)NAN;
	out->max_encoder_cosine = out->max_decoder_cosine = out->decoder_coherence = (double)NAN;
	out->n_inputs = e->model->n_inputs > 1 ? e->model->n_inputs : 0;
	for (uint32_t i = 0; i < out->n_inputs; i++)
		out->input_fvu[i] = ratio(t->parts.e[i], t->parts.y[i]);
	eval_firings(out, e->contexts);
	eval_l0(out, e->rows_with);
}

static int eval_alloc(eval *e, uint64_t n_rows, error *err)
{
	size_t n = n_rows < BLOCK_ROWS ? (size_t)n_rows : BLOCK_ROWS;

	e->x = mem_alloc_aligned(n * e->d, sizeof(float));
	e->in = e->target == e->dump ? e->x : mem_alloc_aligned(n * e->model->d_in, sizeof(float));
	e->hat = mem_alloc_aligned(n * e->d, sizeof(float));
	e->mean = mem_alloc_aligned(e->d, sizeof(double));
	e->vectors = mem_alloc_aligned((BLOCK_TILES + 1) * (size_t)e->d, sizeof(double));
	if (!e->x || !e->in || !e->hat || !e->mean || !e->vectors)
		return error_nomem(err, "the rows to evaluate");
	e->fires = calloc(e->model->d_sae, sizeof(*e->fires));
	e->last_context = calloc(e->model->d_sae, sizeof(*e->last_context));
	e->contexts = calloc(e->model->d_sae, sizeof(*e->contexts));
	e->rows_with = calloc((size_t)e->model->d_sae + 1, sizeof(*e->rows_with));
	if (!e->fires || !e->last_context || !e->contexts || !e->rows_with)
		return error_nomem(err, "the counts of firings");
	for (size_t i = 0; i < BLOCK_TILES; i++)
		e->tile[i].vector = e->vectors + i * e->d;
	e->total.vector = e->vectors + BLOCK_TILES * (size_t)e->d;
	return 0;
}

static void eval_free(eval *e)
{
	if (!e)
		return;
	if (e->in != e->x)
		free(e->in);
	free(e->x);
	free(e->hat);
	free(e->mean);
	free(e->vectors);
	free(e->fires);
	free(e->last_context);
	free(e->contexts);
	free(e->rows_with);
	sae_codes_free(&e->codes);
	free(e);
}

/* Rows must fit the model, and those of the target its output and the rows' number. */
static int check_dumps(const sae_model *m, const sae_dump *d, const sae_dump *target, error *err)
{
	const sae_dump_info *in = sae_dump_get_info(d), *out = sae_dump_get_info(target ? target : d);

	if (in->d_in != m->d_in)
		return error_set(err, ERR_ARG, "the SAE takes rows of %u, '%s' has rows of %u", m->d_in,
		                 sae_dump_shard(d, 0, NULL), in->d_in);
	if (m->transcodes && !target)
		return error_set(
		        err, ERR_ARG,
		        "a transcoder's output is compared with the rows of another hook point: give them");
	if (out->d_in != m->d_out)
		return error_set(err, ERR_ARG, "the SAE gives rows of %u, '%s' has rows of %u", m->d_out,
		                 sae_dump_shard(target, 0, NULL), out->d_in);
	if (out->n_rows != in->n_rows)
		return error_set(err, ERR_ARG, "'%s' has %llu rows, '%s' %llu: they do not belong together",
		                 sae_dump_shard(target, 0, NULL), (unsigned long long)out->n_rows,
		                 sae_dump_shard(d, 0, NULL), (unsigned long long)in->n_rows);
	return 0;
}

int sae_eval(sae_metrics *out, const sae_model *m, const sae_dump *d, const sae_dump *target,
             const sae_rows *rows, bool held_out, pool *p, progress *pr, error *err)
{
	uint64_t n_rows = sae_rows_n(rows, held_out);
	sae_encoder *encoder = NULL;
	eval *e = NULL;
	int rc;

	target = target ? target : sae_dump_target(d);
	rc = check_dumps(m, d, target, err);
	if (rc < 0)
		return rc;
	if (!n_rows)
		return error_set(err, ERR_FORMAT, "no %s rows to evaluate in '%s'",
		                 held_out ? "held-out" : "training", sae_dump_shard(d, 0, NULL));
	e = calloc(1, sizeof(*e));
	if (!e)
		return error_nomem(err, "the rows to evaluate");
	*e = (eval){ .model = m,
		     .dump = d,
		     .target = target ? target : d,
		     .rows = rows,
		     .held_out = held_out,
		     .d = m->d_out };
	rc = eval_alloc(e, n_rows, err);
	if (!rc)
		rc = sae_encoder_new(&encoder, m, p, NULL, err);
	if (!rc)
		rc = first_pass(e, n_rows, p, err);
	if (!rc)
		rc = second_pass(e, n_rows, encoder, p, pr, err);
	if (rc)
		goto out;
	fill(out, e);
	e->fires = NULL; /* the caller's now */
out:
	sae_encoder_free(encoder);
	eval_free(e);
	return rc;
}

void sae_metrics_clear(sae_metrics *m)
{
	free(m->fires);
	*m = (sae_metrics){ 0 };
}
