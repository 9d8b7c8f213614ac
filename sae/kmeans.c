/* k-means: see kmeans.h. Products are made in tiles of a fixed size, sums run in the order of rows. */
#include <math.h>

#include <cblas.h>

#include "sae/encode.h"
#include "sae/kmeans.h"

enum { TILE = 256, BLOCK = 512, MOST_TRIALS = 32 };
#define TRIAL_PRODUCTS 0x1p33

typedef struct fit {
	const float *x; /* (n, d) */
	size_t n, d, n_centres, n_tiles;
	float *centres;             /* (n_centres, d) */
	float *tried;               /* (trials, d): candidates for the next one */
	float *norms;               /* (n): |x|^2 */
	float *halves;              /* (n_centres): |c|^2 / 2 */
	size_t *rows;               /* (trials): which rows the candidates are */
	float *distance;            /* (n): squared, from the nearest centre so far */
	float *trial;               /* (trials, n): what it would be with each of the candidates */
	double *sums;               /* (trials, tiles) of that */
	float *product;             /* (threads, TILE, BLOCK) */
	uint32_t *nearest, *sorted; /* (n) */
	uint32_t *first;            /* (n_centres + 1) */
	uint64_t *moved;            /* (tiles): rows that changed their centre */
	size_t done, round, trials; /* centres there, of this round; candidates for one */
	const kernels *k;
	pool *pool;
	uint64_t seed, draws;
} fit;

static size_t tile_end(const fit *f, size_t i)
{
	return (i + 1) * TILE < f->n ? (i + 1) * TILE : f->n;
}

/* Products of a tile's rows with n centres. */
static float *multiply(const fit *f, size_t tile, const float *centres, size_t n, unsigned worker)
{
	float *out = f->product + (size_t)worker * TILE * BLOCK;
	size_t rows = tile_end(f, tile) - tile * TILE;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)n, (blasint)f->d, 1,
	            f->x + tile * TILE * f->d, (blasint)f->d, centres, (blasint)f->d, 0, out, BLOCK);
	return out;
}

/* ---- k-means++ --------------------------------------------------------------------------------------------------------- */

static void norm_task(void *payload, size_t i, unsigned worker)
{
	fit *f = payload;

	(void)worker;
	for (size_t t = i * TILE; t < tile_end(f, i); t++) {
		f->norms[t] = (float)f->k->sum_squares(f->x + t * f->d, f->d);
		f->distance[t] = INFINITY;
	}
}

static float squared(const fit *f, size_t row, float half, float product)
{
	float s = f->norms[row] + 2 * (half - product);

	return s > 0 ? s : 0;
}

/* What each of the candidates would make of the distances. */
static void try_task(void *payload, size_t i, unsigned worker)
{
	fit *f = payload;
	const float *product = multiply(f, i, f->tried, f->trials, worker);

	for (size_t c = 0; c < f->trials; c++) {
		double sum = 0;

		for (size_t t = i * TILE; t < tile_end(f, i); t++) {
			float to =
			        squared(f, t, f->norms[f->rows[c]] / 2, product[(t - i * TILE) * BLOCK + c]);

			to = to < f->distance[t] ? to : f->distance[t];
			f->trial[c * f->n + t] = to;
			sum += (double)to;
		}
		f->sums[c * f->n_tiles + i] = sum;
	}
}

/* The centres of a round: all of them come near. */
static void near_task(void *payload, size_t i, unsigned worker)
{
	fit *f = payload;
	double sum = 0;

	for (size_t first = f->done, n; first < f->done + f->round; first += n) {
		n = f->done + f->round - first < BLOCK ? f->done + f->round - first : BLOCK;
		const float *product = multiply(f, i, f->centres + first * f->d, n, worker);

		for (size_t t = i * TILE; t < tile_end(f, i); t++)
			for (size_t c = 0; c < n; c++) {
				float to = squared(f, t, f->halves[first + c],
				                   product[(t - i * TILE) * BLOCK + c]);

				f->distance[t] = to < f->distance[t] ? to : f->distance[t];
			}
	}
	for (size_t t = i * TILE; t < tile_end(f, i); t++)
		sum += (double)f->distance[t];
	f->sums[i] = sum;
}

static double total(const fit *f, size_t candidate)
{
	double sum = 0;

	for (size_t i = 0; i < f->n_tiles; i++)
		sum += f->sums[candidate * f->n_tiles + i];
	return sum;
}

/* A row in proportion to its distance; any, where all are 0. sums (tiles) are those of the distances. */
static size_t draw(fit *f)
{
	uint64_t word = hash64_mix(f->seed, f->draws++);
	double all = total(f, 0), at = hash64_unit(word) * all;
	size_t i = 0, t;

	if (!(all > 0 && isfinite(all)))
		return (size_t)(hash64_unit(word) * (double)f->n);
	while (i + 1 < f->n_tiles && at >= f->sums[i])
		at -= f->sums[i++];
	for (t = i * TILE; t + 1 < tile_end(f, i) && at >= (double)f->distance[t]; t++)
		at -= (double)f->distance[t];
	return t;
}

static void put(fit *f, size_t centre, size_t row)
{
	memcpy(f->centres + centre * f->d, f->x + row * f->d, f->d * sizeof(*f->x));
	f->halves[centre] = f->norms[row] / 2;
}

/* One centre, the best of the trials. */
static void take_best(fit *f)
{
	size_t best = 0;

	for (size_t c = 0; c < f->trials; c++) {
		f->rows[c] = draw(f);
		memcpy(f->tried + c * f->d, f->x + f->rows[c] * f->d, f->d * sizeof(*f->x));
	}
	pool_run(f->pool, f->n_tiles, try_task, f);
	for (size_t c = 1; c < f->trials; c++)
		if (total(f, c) < total(f, best))
			best = c;
	put(f, f->done++, f->rows[best]);
	memcpy(f->distance, f->trial + best * f->n, f->n * sizeof(*f->distance));
	memmove(f->sums, f->sums + best * f->n_tiles, f->n_tiles * sizeof(*f->sums));
}

static void plus_plus(fit *f)
{
	pool_run(f->pool, f->n_tiles, norm_task, f);
	put(f, 0, (size_t)(hash64_unit(hash64_mix(f->seed, f->draws++)) * (double)f->n));
	f->round = 1;
	for (;;) {
		pool_run(f->pool, f->n_tiles, near_task, f);
		f->done += f->round;
		while (f->done < f->n_centres && f->trials > 1) /* few enough for trials: one by one */
			take_best(f);
		if (f->done == f->n_centres)
			return;
		f->round = f->done / 8 ? f->done / 8 : 1;
		if (f->round > f->n_centres - f->done)
			f->round = f->n_centres - f->done;
		for (size_t c = 0; c < f->round; c++)
			put(f, f->done + c, draw(f));
	}
}

/* ---- Lloyd's steps ------------------------------------------------------------------------------------------------------- */

static void nearest_task(void *payload, size_t i, unsigned worker)
{
	fit *f = payload;
	float best[TILE];
	uint32_t of[TILE] = { 0 };

	for (size_t t = 0; t < TILE; t++)
		best[t] = -INFINITY;
	for (size_t first = 0, n; first < f->n_centres; first += n) {
		n = f->n_centres - first < BLOCK ? f->n_centres - first : BLOCK;
		const float *product = multiply(f, i, f->centres + first * f->d, n, worker);

		for (size_t t = 0; t < tile_end(f, i) - i * TILE; t++)
			for (size_t c = 0; c < n; c++)
				if (product[t * BLOCK + c] - f->halves[first + c] > best[t]) {
					best[t] = product[t * BLOCK + c] - f->halves[first + c];
					of[t] = (uint32_t)(first + c);
				}
	}
	f->moved[i] = 0;
	for (size_t t = i * TILE; t < tile_end(f, i); t++) {
		f->moved[i] += f->nearest[t] != of[t - i * TILE];
		f->nearest[t] = of[t - i * TILE];
	}
}

static void mean_task(void *payload, size_t c, unsigned worker)
{
	fit *f = payload;
	float *centre = f->centres + c * f->d;
	size_t n = f->first[c + 1] - f->first[c];

	(void)worker;
	if (n) {
		memset(centre, 0, f->d * sizeof(*centre));
		for (size_t i = f->first[c]; i < f->first[c + 1]; i++)
			f->k->axpy(centre, 1 / (float)n, f->x + f->sorted[i] * f->d, f->d);
	}
	f->halves[c] = (float)(f->k->sum_squares(centre, f->d) / 2);
}

/* Rows by their centre, ascending. */
static void sort_rows(fit *f)
{
	uint32_t at = 0;

	memset(f->first, 0, (f->n_centres + 1) * sizeof(*f->first));
	for (size_t t = 0; t < f->n; t++)
		f->first[f->nearest[t]]++;
	for (size_t c = 0; c <= f->n_centres; c++) {
		uint32_t n = f->first[c];

		f->first[c] = at;
		at += n;
	}
	for (size_t t = 0; t < f->n; t++)
		f->sorted[f->first[f->nearest[t]]++] = (uint32_t)t;
	for (size_t c = f->n_centres; c > 0; c--)
		f->first[c] = f->first[c - 1];
	f->first[0] = 0;
}

static void lloyd(fit *f, unsigned passes)
{
	memset(f->nearest, 0xff, f->n * sizeof(*f->nearest));
	for (unsigned pass = 0; pass < passes; pass++) {
		uint64_t moved = 0;

		pool_run(f->pool, f->n_tiles, nearest_task, f);
		for (size_t i = 0; i < f->n_tiles; i++)
			moved += f->moved[i];
		if (!moved)
			return;
		sort_rows(f);
		pool_run(f->pool, f->n_centres, mean_task, f);
	}
}

static int fit_room(fit *f, arena *mem, error *err)
{
	size_t trials = f->trials;

	f->norms = arena_alloc(mem, f->n, sizeof(*f->norms));
	f->distance = arena_alloc(mem, f->n, sizeof(*f->distance));
	f->halves = arena_alloc(mem, f->n_centres, sizeof(*f->halves));
	f->tried = arena_alloc(mem, trials, f->d * sizeof(*f->tried));
	f->rows = arena_alloc(mem, trials, sizeof(*f->rows));
	f->trial = arena_alloc(mem, trials, f->n * sizeof(*f->trial));
	f->sums = arena_alloc(mem, trials, f->n_tiles * sizeof(*f->sums));
	f->product = arena_alloc(mem, pool_threads(f->pool), TILE * BLOCK * sizeof(*f->product));
	f->nearest = arena_alloc(mem, f->n, sizeof(*f->nearest));
	f->sorted = arena_alloc(mem, f->n, sizeof(*f->sorted));
	f->first = arena_alloc(mem, f->n_centres + 1, sizeof(*f->first));
	f->moved = arena_alloc(mem, f->n_tiles, sizeof(*f->moved));
	return f->tried && f->rows && f->norms && f->distance && f->halves && f->trial && f->sums &&
	                       f->product && f->nearest && f->sorted && f->first && f->moved
	               ? 0
	               : error_nomem(err, "k-means");
}

int kmeans_fit(float *centres, size_t n_centres, const float *x, size_t n, size_t d, unsigned passes,
               uint64_t seed, const kernels *k, pool *p, error *err)
{
	double products = (double)n * (double)n_centres * (double)d;
	double allowed = TRIAL_PRODUCTS / (products > 1 ? products : 1);
	arena mem = ARENA_INIT;
	fit f = { .x = x,
		  .n = n,
		  .d = d,
		  .n_centres = n_centres,
		  .n_tiles = (n + TILE - 1) / TILE,
		  .trials = allowed < 2             ? 1
		            : allowed > MOST_TRIALS ? MOST_TRIALS
		                                    : (size_t)allowed,
		  .centres = centres,
		  .k = k,
		  .pool = p,
		  .seed = hash64_mix(seed, 0x6b6d65616e73) }; /* "kmeans": a stream of its own */
	int rc = fit_room(&f, &mem, err);

	encode_blas_single_threaded();
	if (rc == 0) {
		plus_plus(&f);
		lloyd(&f, passes);
	}
	arena_clear(&mem);
	return rc;
}

size_t kmeans_rows(size_t n_centres)
{
	size_t n = 4 * n_centres > 8192 ? 4 * n_centres : 8192;

	return n < 65536 ? n : 65536;
}
