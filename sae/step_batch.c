/* BatchTopK: of a whole batch, the k times n largest positive values (Bussmann, Leask and Nanda 2024). */
#include <math.h>

#include "sae/step.h"

#define FLOOR_SHARE    0.9f /* of the last batch's least kept value: where candidates are looked for first */
#define ROOM_PER_VALUE 12   /* candidates for a value kept, before more room is asked for */
#define ROOM_MORE      1024 /* and over twice the values of a row not more than that */
#define MOST_TRIES     40   /* what a statistical bound loses must not make the search go round for ever */

enum { HIGH_BITS = 11, LOW_BITS = 10 };

int step_batch_init(step *s, size_t n_tiles, error *err)
{
	size_t k = s->c.k,
	       row = ROOM_PER_VALUE * k < 2 * k + ROOM_MORE ? ROOM_PER_VALUE * k : 2 * k + ROOM_MORE;

	s->found = arena_alloc(&s->mem, n_tiles, sizeof(*s->found));
	s->counts = arena_alloc(&s->mem, n_tiles, sizeof(*s->counts) << HIGH_BITS);
	if (!s->found || !s->counts)
		return error_nomem(err, "the candidates of a batch");
	if (row > s->c.n_features)
		row = s->c.n_features;
	for (size_t i = 0; i < n_tiles; i++)
		if (encode_found_reserve(&s->found[i], STEP_TOKENS * row) < 0)
			return error_nomem(err, "the candidates of a batch");
	return 0;
}

void step_batch_clear(step *s)
{
	for (size_t i = 0; s->found && i < s->max_tiles; i++)
		encode_found_clear(&s->found[i]);
}

uint64_t step_batch_bytes(const step *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; s->found && i < s->max_tiles; i++)
		bytes += s->found[i].room * ENCODE_FOUND_BYTES;
	return bytes;
}

/* ---- The k-th largest over tiles ---------------------------------------------------------------------------------------- */

typedef struct search {
	step *s;
	bool lower; /* of the lower bounds, else of the values */
	unsigned shift, bits;
	uint32_t prefix;
} search;

static uint32_t key_of(float v)
{
	uint32_t bits;

	if (!(v > 0))
		return 0;
	memcpy(&bits, &v, sizeof(bits)); /* of positive floats in the order of the floats */
	return bits;
}

static void count_task(void *payload, size_t i, unsigned worker)
{
	const search *q = payload;
	const encode_found *f = &q->s->found[i];
	const float *value = q->lower ? f->lower : f->value;
	uint32_t *counts = q->s->counts + (i << HIGH_BITS), mask = (1u << q->bits) - 1;

	(void)worker;
	memset(counts, 0, sizeof(*counts) << HIGH_BITS);
	for (size_t j = 0; j < f->n; j++) {
		uint32_t key = key_of(value[j]) >> q->shift;

		if (key >> q->bits == q->prefix)
			counts[key & mask]++;
	}
}

/* 0 where fewer than k are positive. */
static float kth_of_tiles(step *s, bool lower, size_t k)
{
	search q = { .s = s, .lower = lower };
	unsigned left = HIGH_BITS + 2 * LOW_BITS;
	float result;

	for (; left; left = q.shift) {
		uint32_t bin;

		q.bits = left > 2 * LOW_BITS ? HIGH_BITS : LOW_BITS;
		q.shift = left - q.bits;
		pool_run(s->pool, s->n_tiles, count_task, &q);
		for (bin = (1u << q.bits) - 1;; bin--) {
			size_t n = 0;

			for (size_t i = 0; i < s->n_tiles; i++)
				n += s->counts[(i << HIGH_BITS) + bin];
			if (n >= k || bin == 0)
				break;
			k -= n;
		}
		q.prefix = q.prefix << q.bits | bin;
	}
	memcpy(&result, &q.prefix, sizeof(result));
	return result;
}

/* ---- Candidates, values, rows -------------------------------------------------------------------------------------------- */

static const float *rows_of(const step *s, size_t i, size_t *n)
{
	size_t first = i * STEP_TOKENS;

	*n = s->n - first < STEP_TOKENS ? s->n - first : STEP_TOKENS;
	return s->x + first * s->c.d;
}

static void find_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;
	size_t n;
	const float *x = rows_of(s, i, &n);

	encode_over(&s->workers[worker].scratch, &s->job, x, n, s->floor, &s->found[i]);
}

static void compute_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;
	size_t n;
	const float *x = rows_of(s, i, &n);

	encode_exact(&s->workers[worker].scratch, &s->job, x, s->reach_all, &s->found[i]);
}

/* All candidates over a floor for which there is room; raises the floor as far as is safe, or makes room. */
static bool find(step *s, size_t k)
{
	for (int tries = 0;; tries++) {
		size_t missed = 0;
		float higher;

		pool_run(s->pool, s->n_tiles, find_task, s);
		for (size_t i = 0; i < s->n_tiles; i++)
			missed += s->found[i].missed;
		if (!missed)
			return true;
		higher = nextafterf(kth_of_tiles(s, true, k), 0);
		if (higher > s->floor && tries < MOST_TRIES) {
			s->floor = higher;
			continue;
		}
		for (size_t i = 0; i < s->n_tiles; i++)
			if (encode_found_reserve(&s->found[i], s->found[i].n + s->found[i].missed) < 0)
				return false;
	}
}

static void kept_task(void *payload, size_t i, unsigned worker)
{
	step *s = payload;
	const encode_found *f = &s->found[i];
	step_tile *tile = &s->tiles[i];

	(void)worker;
	tile->over = tile->ties = 0;
	for (size_t j = 0; j < f->n; j++) {
		tile->over += f->value[j] > s->least;
		tile->ties += f->value[j] == s->least;
	}
}

/* Where each tile's codes begin, and how many of the values that equal the least one it may keep. */
static void share_out(step *s, size_t k)
{
	size_t over = 0, at = 0, ties;

	pool_run(s->pool, s->n_tiles, kept_task, s);
	for (size_t i = 0; i < s->n_tiles; i++)
		over += s->tiles[i].over;
	ties = s->least > 0 && over < k ? k - over : 0;
	for (size_t i = 0; i < s->n_tiles; i++) {
		step_tile *tile = &s->tiles[i];

		tile->ties = tile->ties < ties ? tile->ties : ties;
		ties -= tile->ties;
		tile->begin = at;
		at += tile->over + tile->ties;
	}
}

int step_batch_encode(step *s)
{
	size_t k = (size_t)s->c.k * s->n;

	for (int tries = 0;; tries++) {
		if (!find(s, k))
			return ERR_NOMEM;
		s->reach_all = kth_of_tiles(s, true, k);
		pool_run(s->pool, s->n_tiles, compute_task, s);
		s->least = kth_of_tiles(s, false, k);
		if (!(s->floor > 0) || s->least > s->floor || tries == MOST_TRIES)
			break;
		s->floor = tries < 4 ? s->floor / 2 : 0; /* too few over it */
	}
	share_out(s, k);
	return 0;
}

void step_batch_rows(step *s, size_t i)
{
	const step_tile *tile = &s->tiles[i];
	size_t n, first = i * STEP_TOKENS;

	rows_of(s, i, &n);
	encode_found_rows(&s->found[i], n, s->least, tile->ties, tile->begin, s->codes.begin + first,
	                  s->codes.count + first, s->codes.index, s->codes.value);
}

void step_batch_end(step *s)
{
	if (s->least > 0)
		s->threshold = s->threshold > 0 ? (1 - STEP_THRESHOLD_RATE) * s->threshold +
		                                          STEP_THRESHOLD_RATE * s->least
		                                : s->least;
	s->floor = FLOOR_SHARE * s->least;
}
