/* Columns of a dump as features: where each fires, and their codes. */
#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"

enum { TILE = 256 };                                   /* rows of a task */
enum { SAMPLE_ROWS = 16384, SAMPLE_VALUES = 1 << 25 }; /* of which thresholds are taken */

/* ---- Thresholds ---- */

typedef struct sample {
	float *rows, *columns; /* (n, d); (threads, n) */
	size_t n;
	sae_neurons *neurons;
	double density;
} sample;

static int ascending(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* So that at most `most` of the column's values are over it, or of those of minus the column. */
static void threshold_task(void *payload, size_t i, unsigned worker)
{
	const sample *s = payload;
	uint32_t d = s->neurons->d;
	size_t most = (size_t)(s->density * (double)s->n);
	float *column = s->columns + worker * s->n, *threshold = s->neurons->threshold;

	for (size_t r = 0; r < s->n; r++)
		column[r] = s->rows[r * d + i];
	qsort(column, s->n, sizeof(*column), ascending);
	if (most >= s->n)
		return;
	if (column[s->n - 1 - most] > threshold[i])
		threshold[i] = column[s->n - 1 - most];
	if (s->neurons->both_signs && -column[most] > threshold[d + i])
		threshold[d + i] = -column[most];
}

/* From each of n equal stretches of the rows that count one; *read: how many there were. */
static int read_sample(float *out, size_t n, size_t *read, const sae_dump *d, const sae_rows *rows,
                       error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	uint64_t kept = 0, n_kept = sae_rows_get_stats(rows)->n_kept;
	int rc = 0;

	*read = 0;
	for (uint64_t row = 0; row < info->n_rows && *read < n && rc == 0; row++) {
		if (!sae_rows_kept(rows, row))
			continue;
		kept++;
		if (kept * n / n_kept <= *read)
			continue;
		rc = sae_dump_read(d, row, 1, out + *read * info->d_in, err);
		++*read;
	}
	return rc;
}

static int raise_thresholds(sae_neurons *neurons, double density, const sae_dump *d, const sae_rows *rows,
                            pool *p, error *err)
{
	uint64_t n_kept = sae_rows_get_stats(rows)->n_kept;
	size_t most = SAMPLE_VALUES / neurons->d + 1, n = most < SAMPLE_ROWS ? most : SAMPLE_ROWS;
	sample s = { .neurons = neurons, .density = density };
	int rc;

	n = n_kept < n ? (size_t)n_kept : n;
	if (n == 0)
		return 0;
	s.rows = malloc(n * neurons->d * sizeof(*s.rows));
	s.columns = malloc(pool_threads(p) * n * sizeof(*s.columns));
	rc = s.rows && s.columns ? read_sample(s.rows, n, &s.n, d, rows, err)
	                         : error_nomem(err, "thresholds of neurons");
	if (rc == 0)
		pool_run(p, neurons->d, threshold_task, &s);
	free(s.columns);
	free(s.rows);
	return rc;
}

/* ---- Neurons ---- */

static int check_opts(const sae_neurons_opts *o, uint32_t d, error *err)
{
	if (!(o->threshold >= 0))
		return error_set(err, ERR_ARG, "the threshold of neurons is %g; 0 or more is possible",
		                 (double)o->threshold);
	if (!(o->density >= 0 && o->density < 1))
		return error_set(err, ERR_ARG, "the density of neurons is %g; 0 to under 1 is possible",
		                 o->density);
	if (d > SAE_MAX_NEURONS)
		return error_set(err, ERR_LIMIT, "rows of %u values: at most %d are taken as neurons", d,
		                 SAE_MAX_NEURONS);
	return 0;
}

int sae_neurons_new(sae_neurons **out, const sae_dump *d, const sae_rows *rows, const sae_neurons_opts *o,
                    pool *p, error *err)
{
	uint32_t width = sae_dump_get_info(d)->d_in;
	sae_neurons *n;
	int rc = check_opts(o, width, err);

	if (rc < 0)
		return rc;
	n = calloc(1, sizeof(*n));
	if (!n)
		return error_nomem(err, "neurons");
	*n = (sae_neurons){ .d = width,
		            .n_features = o->both_signs ? 2 * width : width,
		            .both_signs = o->both_signs };
	n->threshold = malloc(n->n_features * sizeof(*n->threshold));
	rc = n->threshold ? 0 : error_nomem(err, "neurons");
	for (uint32_t i = 0; i < n->n_features && rc == 0; i++)
		n->threshold[i] = o->threshold;
	if (rc == 0 && o->density > 0)
		rc = raise_thresholds(n, o->density, d, rows, p, err);
	if (rc == 0)
		rc = sha256_bytes(n->sha256, n->threshold, n->n_features * sizeof(*n->threshold), err);
	if (rc < 0)
		sae_neurons_free(n);
	else
		*out = n;
	return rc;
}

void sae_neurons_free(sae_neurons *n)
{
	if (!n)
		return;
	free(n->threshold);
	free(n);
}

/* ---- Codes ---- */

typedef struct encoding {
	const sae_neurons *neurons;
	const float *x;
	size_t n;
	sae_codes *out;
} encoding;

static size_t tile_end(const encoding *e, size_t tile)
{
	return e->n - tile * TILE < TILE ? e->n : (tile + 1) * TILE;
}

/* Codes of a row by feature, where there is room for them; their number. */
static size_t encode_row(const sae_neurons *n, const float *row, uint32_t *index, float *value)
{
	size_t count = 0;

	for (uint32_t f = 0; f < n->n_features; f++) {
		float v = f < n->d ? row[f] : -row[f - n->d];

		if (!(v > n->threshold[f]))
			continue;
		if (index) {
			index[count] = f;
			value[count] = v;
		}
		count++;
	}
	return count;
}

/* out->first[t + 1]: the number of row t's. */
static void count_task(void *payload, size_t tile, unsigned worker)
{
	const encoding *e = payload;

	(void)worker;
	for (size_t t = tile * TILE; t < tile_end(e, tile); t++)
		e->out->first[t + 1] = encode_row(e->neurons, e->x + t * e->neurons->d, NULL, NULL);
}

static void take_task(void *payload, size_t tile, unsigned worker)
{
	const encoding *e = payload;

	(void)worker;
	for (size_t t = tile * TILE; t < tile_end(e, tile); t++) {
		size_t at = e->out->first[t];

		encode_row(e->neurons, e->x + t * e->neurons->d, e->out->index + at, e->out->value + at);
	}
}

int sae_neurons_encode(sae_codes *out, const sae_neurons *neurons, const float *x, size_t n, pool *p,
                       error *err)
{
	encoding e = { neurons, x, n, out };
	size_t n_tiles = (n + TILE - 1) / TILE;

	out->n = 0;
	if (mem_grow(&out->first, &out->first_room, n + 1, sizeof(*out->first)) < 0)
		return error_nomem(err, "sparse codes");
	out->first[0] = 0;
	pool_run(p, n_tiles, count_task, &e);
	for (size_t t = 0; t < n; t++)
		out->first[t + 1] += out->first[t];
	if (mem_grow(&out->index, &out->index_room, out->first[n] + 1, sizeof(*out->index)) < 0 ||
	    mem_grow(&out->value, &out->value_room, out->first[n] + 1, sizeof(*out->value)) < 0)
		return error_nomem(err, "sparse codes");
	pool_run(p, n_tiles, take_task, &e);
	out->n = n;
	return 0;
}
