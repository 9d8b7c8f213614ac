/* One pass over a dump that decides which rows count and gathers their statistics.
 *
 * The rows are cut in tiles of TILE_ROWS from row 0 on; a tile is one task. A tile's sums are FP64, row by row; the tiles'
 * sums are added in tile order. So the result depends neither on the threads nor on the shards.
 *
 * The dump's hash is SHA-256 over: the line "gloss dump 1 DTYPE d rows ctx_len tokens|none\n", then for every tile the
 * SHA-256 (in hexadecimal) of its raw activations in file order followed by its token ids as 32-bit little-endian words. Of a
 * dump that others were added to, activations are the rows side by side, the target's last, and the line names dtype and d of
 * each dump; of a ragged dump the line ends in " ragged", with ctx_len 0 where contexts are side by side, and a byte of marks follows for each
 * row of a tile (dump_row_marks()). */
#include "sae/rows_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	TILE_ROWS = ROWS_HASHED, /* a multiple of 64: two tasks never share a word of a row set */
	WAVE = 64,               /* tiles between two reductions */
	BLOCK_BYTES = 1 << 18,   /* F32 bytes read and summed at a time */
	SAMPLE_ROWS = 65536,     /* rows the median norm is taken from */
	SAMPLE_TASK = 64,        /* sampled rows a task */
	DUPLICATE_MAX = 1 << 24  /* row hashes kept at a time */
};

typedef struct tile_sums {
	double *sum; /* (d), of kept rows */
	double square, norm, max_norm;
	uint64_t kept, masked, outlier, nan, role, token, position, zero;
	uint64_t first_nan; /* row; UINT64_MAX: none */
	char sha256[SHA256_HEX];
	error err;
} tile_sums;

typedef struct worker {
	float *x;         /* (block, d) */
	float *y;         /* (block, its width): of a target; else NULL */
	void *raw;        /* the same as the files hold it */
	uint32_t *tokens; /* (TILE_ROWS) */
	uint8_t *marks;   /* (TILE_ROWS) */
	error err;
} worker;

typedef struct scan {
	const sae_dump *d;
	const sae_rows_opts *o;
	sae_rows *rows;
	pool *p;
	uint32_t *tokens, *positions; /* left out, sorted */
	uint64_t block;               /* rows read at a time */
	worker *workers;
	tile_sums *tiles; /* (WAVE) */
	size_t first_tile, n_tiles;
	double *sample; /* (parts, n_sample) norms */
	uint64_t n_sample;
	sha256 hash;
	bool hashing;
	uint64_t *row_hashes; /* of the wave (WAVE * TILE_ROWS); NULL: duplicates are not counted */
	duplicate_count seen;
	double square, norm;
} scan;

/* Squared norm in FP64 with eight running sums, so that it can be vectorised without changing the bits. A row holds NaN
 * or infinity exactly when this is not finite: FP64 cannot overflow on squares of F32. */
static double squared_norm(const float *x, size_t d)
{
	double s[8] = { 0 };
	size_t j = 0;

	for (; j + 8 <= d; j += 8)
		for (size_t l = 0; l < 8; l++)
			s[l] += (double)x[j + l] * (double)x[j + l];
	for (size_t l = 0; j < d; j++, l++)
		s[l] += (double)x[j] * (double)x[j];
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static int by_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int by_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* ---- The median --------------------------------------------------------------------------------------------------- */

/* The i-th sampled row: all of them, or one from each of SAMPLE_ROWS equal strata, by hash of the stratum. */
static uint64_t sample_row(uint64_t n_rows, uint64_t i)
{
	uint64_t whole = n_rows / SAMPLE_ROWS, rest = n_rows % SAMPLE_ROWS, first, end;

	if (n_rows <= SAMPLE_ROWS)
		return i;
	first = whole * i + rest * i / SAMPLE_ROWS;
	end = whole * (i + 1) + rest * (i + 1) / SAMPLE_ROWS;
	return first + hash64_mix(n_rows, i) % (end - first);
}

static void sample_task(void *payload, size_t task, unsigned who)
{
	scan *s = payload;
	worker *w = &s->workers[who];
	const sae_dump_info *info = sae_dump_get_info(s->d);

	for (uint64_t i = task * SAMPLE_TASK; i < s->n_sample && i < (task + 1) * SAMPLE_TASK; i++) {
		uint64_t row = dump_real_row(s->d, sample_row(info->n_rows - info->n_masked, i));

		for (size_t p = 0; p < dump_n_parts(s->d); p++) {
			const sae_dump *part = dump_part(s->d, p);
			float *x = dump_part_is_target(s->d, p) ? w->y : w->x;

			if (w->err.code || dump_read_own(part, row, 1, x, &w->err) < 0)
				return;
			s->sample[p * s->n_sample + i] = sqrt(squared_norm(x, part->width));
		}
	}
}

/* Median of the norms that are finite and not zero (padding must not pull the limit down); 0: there are none. Sorts them. */
static double median(double *norms, uint64_t n_all)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < n_all; i++)
		if (isfinite(norms[i]) && norms[i] > 0)
			norms[n++] = norms[i];
	qsort(norms, n, sizeof(*norms), by_double);
	return n == 0 ? 0 : n % 2 ? norms[n / 2] : (norms[n / 2 - 1] + norms[n / 2]) / 2;
}

static double limit_of(double median_norm, double ratio, double given)
{
	if (given > 0)
		return given;
	return ratio > 0 && median_norm > 0 ? ratio * median_norm : INFINITY;
}

static double more_limit(const sae_rows_opts *o, size_t i)
{
	return i < o->n_more_limits && isfinite(o->more_limits[i]) ? o->more_limits[i] : 0;
}

/* Of each dump that is read, by its own norms. */
static int find_limit(scan *s, error *err)
{
	sae_rows_stats *st = &s->rows->stats;
	uint64_t real = st->n_rows - sae_dump_get_info(s->d)->n_masked;
	size_t n_parts = dump_n_parts(s->d);

	s->n_sample = real < SAMPLE_ROWS ? real : SAMPLE_ROWS;
	s->sample = malloc(n_parts * s->n_sample * sizeof(*s->sample));
	if (!s->sample)
		return error_nomem(err, "a sample of norms");
	pool_run(s->p, (size_t)((s->n_sample + SAMPLE_TASK - 1) / SAMPLE_TASK), sample_task, s);
	for (unsigned i = 0; i < pool_threads(s->p); i++)
		if (s->workers[i].err.code)
			return error_set(err, s->workers[i].err.code, "%s", s->workers[i].err.msg);
	st->median_norm = median(s->sample, s->n_sample);
	st->norm_limit = limit_of(st->median_norm, s->o->max_norm_ratio, s->o->norm_limit);
	st->n_more_limits = n_parts - 1;
	for (size_t p = 1; p < n_parts; p++)
		st->more_limits[p - 1] = limit_of(median(s->sample + p * s->n_sample, s->n_sample),
		                                  s->o->max_norm_ratio, more_limit(s->o, p - 1));
	return 0;
}

/* ---- The pass ----------------------------------------------------------------------------------------------------- */

static bool listed(const uint32_t *sorted, size_t n, uint32_t value)
{
	return n && bsearch(&value, sorted, n, sizeof(value), by_u32);
}

static bool excluded_position(const scan *s, uint64_t row)
{
	uint64_t context;
	uint32_t position;

	return s->o->n_exclude_positions && sae_dump_where(s->d, row, &context, &position) &&
	       listed(s->positions, s->o->n_exclude_positions, position);
}

/* Squares of a row's values: of all inputs, and in *all also of the target. *over: one dump's row is over its limit. */
static double squares_of(const scan *s, const float *x, const float *y, double *all, bool *over)
{
	const sae_rows_stats *st = &s->rows->stats;
	double square = squared_norm(x, s->d->width);

	*all = square;
	*over = sqrt(square) > st->norm_limit;
	for (size_t p = 1, column = s->d->width; p < dump_n_parts(s->d); p++) {
		uint32_t width = dump_part(s->d, p)->width;
		bool target = dump_part_is_target(s->d, p);
		double more = squared_norm(target ? y : x + column, width);

		*all += more;
		*over |= sqrt(more) > st->more_limits[p - 1];
		square += target ? 0 : more;
		column += width;
	}
	return square;
}

/* One row into the tile's sums. A row left out for several reasons counts under the first: masked, NaN, role, token, position,
 * norm. */
static void add_row(scan *s, tile_sums *t, uint64_t row, const float *x, const float *y,
                    const uint32_t *token)
{
	const sae_dump_info *info = sae_dump_get_info(s->d);
	bool over;
	double all, square = squares_of(s, x, y, &all, &over), norm = sqrt(square);

	if (sae_dump_masked(s->d, row)) {
		t->masked++;
		return;
	}
	if (!isfinite(all)) {
		if (t->nan++ == 0)
			t->first_nan = row;
		return;
	}
	if (norm > t->max_norm)
		t->max_norm = norm;
	if (s->d->other_role.bits && rowset_has(&s->d->other_role, row)) {
		t->role++;
	} else if (token && listed(s->tokens, s->o->n_exclude_tokens, *token)) {
		t->token++;
	} else if (excluded_position(s, row)) {
		t->position++;
	} else if (over) {
		t->outlier++;
	} else {
		for (size_t j = 0; j < info->d_in; j++)
			t->sum[j] += (double)x[j];
		t->square += square;
		t->norm += norm;
		t->kept++;
		t->zero += square == 0;
		rowset_add(&s->rows->train, row);
	}
}

static int scan_tile(scan *s, tile_sums *t, worker *w, uint64_t first, uint64_t end, sha256 *h)
{
	const sae_dump *target = sae_dump_target(s->d);
	const size_t d = sae_dump_get_info(s->d)->d_in, bytes = dump_row_bytes(s->d);
	const size_t d_target = target ? target->width : 0;
	const bool tokens = sae_dump_get_info(s->d)->has_tokens;
	int rc = tokens ? dump_read_tokens(s->d, first, end - first, w->tokens, &t->err) : 0;

	for (uint64_t row = first, n; row < end && rc == 0; row += n) {
		n = end - row < s->block ? end - row : s->block;
		rc = dump_read_raw(s->d, row, n, w->raw, &t->err);
		if (rc < 0)
			break;
		sha256_add(h, w->raw, n * bytes);
		dump_convert(s->d, w->raw, n, w->x, w->y);
		for (uint64_t i = 0; i < n; i++)
			add_row(s, t, row + i, w->x + i * d, target ? w->y + i * d_target : NULL,
			        tokens ? &w->tokens[row + i - first] : NULL);
		for (uint64_t i = 0; i < n && s->row_hashes; i++)
			s->row_hashes[row + i - s->first_tile * TILE_ROWS] =
			        hash64((const char *)w->raw + i * bytes, bytes, 0);
	}
	if (rc == 0 && tokens)
		sha256_add(h, w->tokens, (end - first) * sizeof(*w->tokens));
	if (rc == 0 && sae_dump_get_info(s->d)->ragged) {
		dump_row_marks(s->d, first, end - first, w->marks);
		sha256_add(h, w->marks, end - first);
	}
	return rc;
}

static void tile_task(void *payload, size_t i, unsigned who)
{
	scan *s = payload;
	tile_sums *t = &s->tiles[i];
	uint64_t first = (s->first_tile + i) * TILE_ROWS, n = s->rows->stats.n_rows - first;
	double *sum = t->sum;
	sha256 h;

	memset(sum, 0, sae_dump_get_info(s->d)->d_in * sizeof(*sum));
	*t = (tile_sums){ .sum = sum, .first_nan = UINT64_MAX };
	if (sha256_init(&h, &t->err) < 0)
		return;
	(void)scan_tile(s, t, &s->workers[who], first, first + (n < TILE_ROWS ? n : TILE_ROWS),
	                &h); /* t->err tells */
	sha256_end(&h, t->sha256);
}

static int keep_hashes(scan *s, uint64_t n, error *err)
{
	int rc = 0;

	for (uint64_t i = 0; i < n && rc == 0; i++)
		if (!sae_dump_masked(s->d, s->first_tile * TILE_ROWS + i))
			rc = duplicates_add(&s->seen, s->row_hashes[i], err);
	return rc;
}

/* Of dumps side by side the first whose row holds a value that is not finite; for a message, so `d` where it cannot be read. */
static const sae_dump *part_with_nan(const sae_dump *d, uint64_t row)
{
	const sae_dump *found = NULL;

	for (size_t i = 0; i < dump_n_parts(d) && !found; i++) {
		const sae_dump *part = dump_part(d, i);
		float *x = calloc(part->width, sizeof(*x));

		if (x && dump_read_own(part, row, 1, x, NULL) == 0)
			for (uint32_t j = 0; j < part->width; j++)
				found = isfinite(x[j]) ? found : part;
		free(x);
	}
	return found ? found : d;
}

/* The wave's tiles into the totals, in their order. */
static int reduce_wave(scan *s, size_t n, error *err)
{
	sae_rows_stats *st = &s->rows->stats;
	char place[FILE_PATH_MAX];

	for (size_t i = 0; i < n; i++) {
		tile_sums *t = &s->tiles[i];
		if (t->err.code)
			return error_set(err, t->err.code, "%s", t->err.msg);
		if (t->nan && s->o->nan_fail) {
			dump_place(place, sizeof(place), part_with_nan(s->d, t->first_nan), t->first_nan);
			return error_set(err, ERR_FORMAT, "NaN or infinity in %s", place);
		}
		for (size_t j = 0; j < sae_dump_get_info(s->d)->d_in; j++)
			s->rows->mean[j] += t->sum[j];
		s->square += t->square;
		s->norm += t->norm;
		if (t->max_norm > st->max_norm)
			st->max_norm = t->max_norm;
		st->n_kept += t->kept;
		st->n_outlier += t->outlier;
		st->n_nan += t->nan;
		st->n_masked += t->masked;
		st->n_role += t->role;
		st->n_token += t->token;
		st->n_position += t->position;
		st->n_zero += t->zero;
		sha256_add(&s->hash, t->sha256, SHA256_HEX - 1);
	}
	return 0;
}

static int run_pass(scan *s, progress *pr, error *err)
{
	const uint64_t n_rows = s->rows->stats.n_rows;
	int rc = 0;

	for (s->first_tile = 0; s->first_tile < s->n_tiles && rc == 0; s->first_tile += WAVE) {
		size_t n = s->n_tiles - s->first_tile < WAVE ? s->n_tiles - s->first_tile : WAVE;
		uint64_t first = s->first_tile * TILE_ROWS, left = n_rows - first;
		uint64_t rows = left < n * TILE_ROWS ? left : n * TILE_ROWS;
		pool_run(s->p, n, tile_task, s);
		rc = reduce_wave(s, n, err);
		if (rc == 0 && s->row_hashes)
			rc = keep_hashes(s, rows, err);
		if (pr)
			progress_update(pr, first + rows, NULL);
	}
	return rc;
}

/* Statistics from the sums. */
static void finish(scan *s)
{
	const size_t d = sae_dump_get_info(s->d)->d_in;
	sae_rows_stats *st = &s->rows->stats;
	double n = (double)st->n_kept, mean2 = 0, variance;

	if (st->n_kept) {
		for (size_t j = 0; j < d; j++) {
			s->rows->mean[j] /= n;
			mean2 += s->rows->mean[j] * s->rows->mean[j];
		}
		variance = s->square / n - mean2;
		st->mean_norm = s->norm / n;
		st->rms_norm = sqrt(s->square / n);
		st->total_variance =
		        variance > 0 ? variance : 0; /* equal rows: what rounding leaves may be below 0 */
		st->gamma = sqrt(mean2) / sqrt(st->total_variance);
		if (mean2 == 0)
			st->gamma = 0;
	}
	st->n_duplicate = duplicates_found(&s->seen);
}

/* ---- Setting up --------------------------------------------------------------------------------------------------- */

static int sorted_copy(uint32_t **out, const uint32_t *values, size_t n, error *err)
{
	*out = malloc((n + 1) * sizeof(**out));
	if (!*out)
		return error_nomem(err, "a list of numbers");
	if (n)
		memcpy(*out, values, n * sizeof(**out));
	qsort(*out, n, sizeof(**out), by_u32);
	return 0;
}

static int scan_buffers(scan *s, bool duplicates, error *err)
{
	const sae_dump *target = sae_dump_target(s->d);
	const size_t d = sae_dump_get_info(s->d)->d_in;
	unsigned threads = pool_threads(s->p);

	s->block = BLOCK_BYTES / (d * sizeof(float));
	s->block = s->block < 1 ? 1 : s->block > TILE_ROWS ? TILE_ROWS : s->block;
	s->workers = calloc(threads, sizeof(*s->workers));
	s->tiles = calloc(WAVE, sizeof(*s->tiles));
	if (duplicates)
		s->row_hashes = malloc((size_t)WAVE * TILE_ROWS * sizeof(*s->row_hashes));
	s->rows->mean = calloc(d, sizeof(*s->rows->mean));
	if (!s->workers || !s->tiles || !s->rows->mean || (duplicates && !s->row_hashes))
		return error_nomem(err, "the scan");
	for (unsigned i = 0; i < threads; i++) {
		worker *w = &s->workers[i];
		w->x = mem_alloc_aligned(s->block * d, sizeof(*w->x));
		w->y = target ? mem_alloc_aligned(s->block, target->width * sizeof(*w->y)) : NULL;
		w->raw = mem_alloc_aligned(s->block, dump_row_bytes(s->d));
		w->tokens = malloc(TILE_ROWS * sizeof(*w->tokens));
		w->marks = malloc(TILE_ROWS);
		if (!w->x || (target && !w->y) || !w->raw || !w->tokens || !w->marks)
			return error_nomem(err, "the scan");
	}
	for (unsigned i = 0; i < WAVE; i++) {
		s->tiles[i].sum = malloc(d * sizeof(double));
		if (!s->tiles[i].sum)
			return error_nomem(err, "the scan");
	}
	return 0;
}

static int scan_init(scan *s, bool duplicates, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(s->d);
	char line[DUMP_HASH_LINE];
	int rc = scan_buffers(s, duplicates, err);

	if (rc == 0)
		rc = sorted_copy(&s->tokens, s->o->exclude_tokens, s->o->n_exclude_tokens, err);
	if (rc == 0)
		rc = sorted_copy(&s->positions, s->o->exclude_positions, s->o->n_exclude_positions, err);
	if (rc == 0)
		rc = rowset_init(&s->rows->train, info->n_rows, err);
	if (rc == 0)
		rc = rowset_init(&s->rows->held, info->n_rows, err);
	if (rc == 0)
		rc = sha256_init(&s->hash, err);
	if (rc < 0)
		return rc;
	s->hashing = true;
	s->rows->stats.n_rows = info->n_rows;
	s->n_tiles = (size_t)((info->n_rows + TILE_ROWS - 1) / TILE_ROWS);
	dump_hash_line(line, s->d, info->n_rows);
	sha256_add(&s->hash, line, strlen(line));
	return 0;
}

static void scan_clear(scan *s)
{
	char unused[SHA256_HEX];

	for (unsigned i = 0; s->workers && i < pool_threads(s->p); i++) {
		free(s->workers[i].x);
		free(s->workers[i].y);
		free(s->workers[i].raw);
		free(s->workers[i].tokens);
		free(s->workers[i].marks);
	}
	for (unsigned i = 0; s->tiles && i < WAVE; i++)
		free(s->tiles[i].sum);
	free(s->workers);
	free(s->tiles);
	free(s->tokens);
	free(s->positions);
	free(s->sample);
	free(s->row_hashes);
	duplicates_clear(&s->seen);
	if (s->hashing)
		sha256_end(&s->hash, unused);
}

int sae_rows_scan(sae_rows **out, const sae_dump *d, const sae_rows_opts *o, bool duplicates, pool *p,
                  progress *pr, error *err)
{
	sae_rows *r = calloc(1, sizeof(*r));
	scan s = { .d = d, .o = o, .rows = r, .p = p, .seen = { .max = DUPLICATE_MAX } };
	int rc;

	if (!r)
		return error_nomem(err, "row statistics");
	rc = scan_init(&s, duplicates, err);
	if (rc < 0)
		goto out;
	rc = find_limit(&s, err);
	if (rc == 0)
		rc = run_pass(&s, pr, err);
	if (rc < 0)
		goto out;
	finish(&s);
	sha256_end(&s.hash, r->stats.sha256);
	s.hashing = false;
	rowset_count(&r->train);
	rowset_count(&r->held);
	*out = r;
	r = NULL;
out:
	scan_clear(&s);
	sae_rows_free(r);
	return rc;
}

void sae_rows_free(sae_rows *r)
{
	if (!r)
		return;
	rowset_clear(&r->train);
	rowset_clear(&r->held);
	free(r->mean);
	free(r->groups);
	free(r);
}

const sae_rows_stats *sae_rows_get_stats(const sae_rows *r)
{
	return &r->stats;
}

const double *sae_rows_mean(const sae_rows *r)
{
	return r->mean;
}

bool sae_rows_kept(const sae_rows *r, uint64_t row)
{
	return row < r->stats.n_rows && (rowset_has(&r->train, row) || rowset_has(&r->held, row));
}

uint64_t sae_rows_n(const sae_rows *r, bool held_out)
{
	return rowset_size(held_out ? &r->held : &r->train);
}

uint64_t sae_rows_at(const sae_rows *r, bool held_out, uint64_t i)
{
	return rowset_select(held_out ? &r->held : &r->train, i);
}

uint32_t sae_rows_group(const sae_rows *r, uint64_t context)
{
	return r->groups[context];
}

uint32_t sae_rows_n_groups(const sae_rows *r)
{
	return r->n_groups;
}
