/* Tokens to sparse codes: bounds for all features, exact values for the few that can matter. */
#include <assert.h>
#include <math.h>
#include <pthread.h>

#include <cblas.h>

#include "sae/encode.h"

#define SEGMENT        256 /* features looked through before the threshold of a row is looked at again */
#define ROOM_PER_VALUE 24
#define ROOM_MORE      2048
#define AGAIN_ALONE    8           /* rows done again one by one; when there are more, the whole tile is */
#define NOT_COMPUTED   (-INFINITY) /* as an exact value; as a bound: no need to compute it */
#define COMPUTED       NOT_COMPUTED

static void set_one_thread(void)
{
	openblas_set_num_threads(1);
}

void encode_blas_single_threaded(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, set_one_thread);
}

/* Candidates a row before more has to be computed of them: many for a value kept where few are, never more than features. */
static size_t encode_room(size_t n_features, size_t width)
{
	size_t room = ROOM_PER_VALUE * width;

	if (room > 2 * width + ROOM_MORE)
		room = 2 * width + ROOM_MORE;
	return (room < n_features ? room : n_features) + SEGMENT + KERNELS_SLACK;
}

int encode_scratch_init(encode_scratch *s, arena *mem, size_t tokens, size_t n_features, size_t width,
                        const screen *by, error *err)
{
	size_t room = encode_room(n_features, width);

	*s = (encode_scratch){ .tokens = tokens, .room = room };
	s->pre = arena_alloc(mem, tokens * (by ? ENCODE_SCREENED : ENCODE_FEATURES), sizeof(float));
	s->index = arena_alloc(mem, tokens * room, sizeof(uint32_t));
	s->value = arena_alloc(mem, tokens * room, sizeof(float));
	s->exact = arena_alloc(mem, tokens * room, sizeof(float));
	s->count = arena_alloc(mem, tokens, sizeof(size_t));
	s->settled = arena_alloc(mem, tokens, sizeof(size_t));
	s->above = arena_alloc(mem, tokens, sizeof(float));
	s->up = arena_alloc(mem, tokens, sizeof(float));
	s->norm = arena_alloc(mem, tokens, sizeof(float));
	s->again = arena_alloc(mem, tokens, sizeof(uint32_t));
	s->lower = arena_alloc(mem, room, sizeof(float));
	s->zeros = arena_alloc(mem, room, sizeof(float));
	s->pairs = arena_alloc(mem, tokens * room + KERNELS_SLACK, sizeof(uint32_t));
	s->sorted = arena_alloc(mem, tokens * room, sizeof(uint32_t));
	s->places = arena_alloc(mem, n_features, sizeof(uint32_t));
	if (!s->pre || !s->index || !s->value || !s->exact || !s->count || !s->settled || !s->above ||
	    !s->up || !s->norm || !s->again || !s->lower || !s->zeros || !s->pairs || !s->sorted ||
	    !s->places)
		return error_nomem(err, "an encoder tile");
	return by ? screen_rows_init(&s->rows, mem, by, tokens, err) : 0;
}

int encode_aid_init(encode_aid *a, arena *mem, const kernels *k, sae_screening how, size_t d,
                    size_t n_features, size_t width, unsigned threads, error *err)
{
	const screen_set *set = kernels_screen(k);
	int rc;

	*a = (encode_aid){ 0 };
	if (!screen_pays(how, set, d, n_features, width)) {
		a->row_norms = arena_alloc(mem, n_features, sizeof(float));
		return a->row_norms ? 0 : error_nomem(err, "norms of the encoder");
	}
	a->screen = arena_alloc(mem, 1, sizeof(*a->screen));
	if (!a->screen)
		return error_nomem(err, "8-bit codes of the encoder");
	rc = screen_init(a->screen, mem, set, d, n_features, how == SAE_SCREENING_STATISTICAL, err);
	if (rc < 0)
		return rc;
	a->turned = arena_alloc(mem, threads, a->screen->d_pad * sizeof(float));
	return a->turned ? 0 : error_nomem(err, "8-bit codes of the encoder");
}

void encode_aid_set(const encode_aid *a, const kernels *k, size_t f, const float *w, size_t d, float bias,
                    unsigned worker)
{
	if (a->screen)
		screen_weight(a->screen, f, w, bias, a->turned + worker * a->screen->d_pad);
	else
		a->row_norms[f] = (float)sqrt(k->sum_squares(w, d)) * 1.000001f; /* not under the norm */
}

void encode_job_prepare(encode_job *j)
{
	j->most_norm = j->most_lost = j->most_bias = 0;
	for (size_t f = 0; f < j->n_features; f++) {
		float norm = j->screen ? j->screen->norm[f] : j->row_norms[f], bias = fabsf(j->bias[f]);

		j->most_norm = norm > j->most_norm ? norm : j->most_norm;
		j->most_bias = bias > j->most_bias ? bias : j->most_bias;
		if (j->screen && j->screen->lost[f] > j->most_lost)
			j->most_lost = j->screen->lost[f];
	}
}

/* ---- Exact values ---------------------------------------------------------------------------------------------------- */

static float exact_value(const encode_job *j, const float *x, size_t f)
{
	return j->k->dot(j->weights + f * j->d, x, j->d) + j->bias[f];
}

void encode_pairs(const encode_job *j, const float *x, const encode_pairs_list *p)
{
	uint32_t at = 0;

	memset(p->places, 0, j->n_features * sizeof(*p->places));
	for (size_t i = 0; i < p->n; i++)
		p->places[p->index[p->pairs[i]]]++;
	for (size_t f = 0; f < j->n_features; f++) {
		uint32_t n = p->places[f];

		p->places[f] = at;
		at += n;
	}
	for (size_t i = 0; i < p->n; i++)
		p->sorted[p->places[p->index[p->pairs[i]]]++] = p->pairs[i];
	for (size_t i = 0, n; i < p->n; i += n) { /* several rows at a time: the same sums as one by one */
		size_t f = p->index[p->sorted[i]];
		const float *rows[KERNELS_DOTS];
		float values[KERNELS_DOTS];

		for (n = 0; n < KERNELS_DOTS && i + n < p->n; n++) {
			size_t place = p->sorted[i + n];

			if (p->index[place] != f)
				break;
			rows[n] = x + (p->row ? p->row[place] : place / p->room) * j->d;
		}
		j->k->dots(values, j->weights + f * j->d, rows, n, j->d);
		for (size_t k = 0; k < n; k++)
			p->exact[p->sorted[i + k]] = values[k] + j->bias[f];
	}
}

static void compute_pairs(encode_scratch *s, const encode_job *j, const float *x)
{
	const encode_pairs_list p = { .n = s->n_pairs,
		                      .pairs = s->pairs,
		                      .index = s->index,
		                      .room = s->room,
		                      .places = s->places,
		                      .sorted = s->sorted,
		                      .exact = s->exact };
	double start = clock_now();

	encode_pairs(j, x, &p);
	for (size_t i = 0; i < s->n_pairs; i++)
		s->value[s->pairs[i]] = COMPUTED;
	s->n_exact += s->n_pairs;
	s->exact_seconds += clock_now() - start;
}

/* ---- Candidates ------------------------------------------------------------------------------------------------------ */

/* Keep those of row t's candidates that can still reach `least`. */
static void keep_reaching(encode_scratch *s, const encode_job *j, size_t t, float least)
{
	uint32_t *index = s->index + t * s->room;
	float *value = s->value + t * s->room, limit = least - s->up[t];
	size_t settled = 0;

	for (size_t i = 0; i < s->settled[t]; i++)
		settled += value[i] >= limit;
	s->count[t] = j->k->compact(index, value, s->count[t], limit, SIZE_MAX);
	s->settled[t] = settled;
	if (least > s->above[t])
		s->above[t] = least;
}

/* The best of each group among row t's candidates, whose values are exact. */
static void best_of_groups(encode_scratch *s, const encode_job *j, size_t t)
{
	uint32_t *index = s->index + t * s->room;
	float *value = s->value + t * s->room;
	size_t group = j->n_features / j->width, n = 0;

	for (size_t i = 0; i < s->count[t]; i++) {
		if (n && index[n - 1] / group == index[i] / group) {
			if (value[i] > value[n - 1]) {
				index[n - 1] = index[i];
				value[n - 1] = value[i];
			}
			continue;
		}
		index[n] = index[i];
		value[n++] = value[i];
	}
	s->count[t] = n;
}

static void best_of_all(encode_scratch *s, const encode_job *j, size_t t)
{
	uint32_t *index = s->index + t * s->room;
	float *value = s->value + t * s->room, least = 0;
	size_t n = j->k->compact(index, value, s->count[t], 0, 0);

	s->count[t] = kernels_keep_largest(j->k, index, value, n, j->width, &least);
	s->above[t] = least > s->above[t] ? least : s->above[t];
}

/* Where bounds do not thin out the candidates (ties, or a screen too coarse): compute them all and keep the best. */
static void settle(encode_scratch *s, const encode_job *j, const float *x, size_t t)
{
	const uint32_t *index = s->index + t * s->room;
	float *value = s->value + t * s->room;

	for (size_t i = s->settled[t]; i < s->count[t]; i++)
		value[i] = exact_value(j, x + t * j->d, index[i]);
	s->n_exact += s->count[t] - s->settled[t];
	if (j->rule == ENCODE_GROUPMAX)
		best_of_groups(s, j, t);
	else
		best_of_all(s, j, t);
	s->settled[t] = s->count[t];
	if (j->rule == ENCODE_GROUPMAX && s->count[t] && value[s->count[t] - 1] > s->above[t])
		s->above[t] = value[s->count[t] - 1];
}

/* The `width`-th largest of n values, not under 0; 0 where there are fewer. */
static float least_of(encode_scratch *s, const encode_job *j, const float *value, size_t n)
{
	if (n < j->width)
		return 0;
	for (size_t i = 0; i < n; i++)
		s->lower[i] = value[i] > 0 ? value[i] : 0;
	return j->k->kth(s->lower, n, j->width);
}

float encode_greatest_error(const encode_scratch *s, const encode_job *j, size_t t)
{
	if (!j->screen)
		return s->up[t];
	return 2 * (j->most_norm * s->rows.lost[t] + j->most_lost * s->rows.norm[t] +
	            SCREEN_ROUNDING * j->most_bias);
}

/* Drop candidates of row t that `width` others are sure to beat. */
static void cut(encode_scratch *s, const encode_job *j, size_t t)
{
	float least = least_of(s, j, s->value + t * s->room, s->count[t]) - encode_greatest_error(s, j, t);

	if (least > s->above[t])
		keep_reaching(s, j, t, least);
}

/* Raise row t's threshold to the least exact value of the candidates with the best bounds. */
static void raise_threshold(encode_scratch *s, const encode_job *j, const float *x, size_t t)
{
	const uint32_t *index = s->index + t * s->room;
	const float *value = s->value + t * s->room;
	float best = least_of(s, j, value, s->count[t]), least;
	size_t n = 0;

	for (size_t i = 0; i < s->count[t]; i++)
		if (value[i] >= best)
			s->exact[t * s->room + n++] = exact_value(j, x + t * j->d, index[i]);
	s->n_exact += n;
	least = least_of(s, j, s->exact + t * s->room, n);
	if (least > 0)
		keep_reaching(s, j, t, least);
}

static void take_segment(encode_scratch *s, const encode_job *j, const float *x, size_t t, const float *pre,
                         const float *bias, size_t first, size_t n)
{
	const size_t full = s->room - SEGMENT - KERNELS_SLACK;
	size_t at = t * s->room + s->count[t];

	s->count[t] += j->k->filter(s->index + at, s->value + at, pre, bias, n, (uint32_t)first,
	                            s->above[t] - s->up[t]);
	if (s->count[t] <= full)
		return;
	if (j->rule == ENCODE_TOPK) {
		cut(s, j, t);
		if (s->count[t] > full / 4 * 3)
			raise_threshold(s, j, x, t);
	}
	if (s->count[t] > full)
		settle(s, j, x, t);
}

/* A group's candidates must reach the best lower bound of the group. */
static void take_group(encode_scratch *s, const encode_job *j, const float *x, size_t t, const float *pre,
                       const float *bias, size_t first, size_t n)
{
	float best = j->k->greatest(pre, bias, n) - encode_greatest_error(s, j, t);

	if (first % (j->n_features / j->width) == 0)
		s->above[t] = 0; /* a new group */
	if (best > s->above[t])
		s->above[t] = nextafterf(best, 0); /* what only reaches it may be the one that is it */
	for (size_t i = 0; i < n; i += SEGMENT)
		take_segment(s, j, x, t, pre + i, bias + i, first + i, n - i < SEGMENT ? n - i : SEGMENT);
}

static void take_block(encode_scratch *s, const encode_job *j, const float *x, size_t n, size_t first,
                       size_t n_block, size_t stride)
{
	static const float no_bias[ENCODE_SCREENED];
	const float *bias = j->screen ? no_bias : j->bias + first; /* upper bounds hold it */
	size_t group = j->rule == ENCODE_GROUPMAX ? j->n_features / j->width : SEGMENT;

	for (size_t t = 0; t < n; t++) {
		const float *pre = s->pre + t * stride;

		for (size_t f = first, end; f < first + n_block; f = end) {
			size_t at = f - first;

			end = (f / group + 1) * group < first + n_block ? (f / group + 1) * group
			                                                : first + n_block;
			if (j->rule == ENCODE_GROUPMAX)
				take_group(s, j, x, t, pre + at, bias + at, f, end - f);
			else
				take_segment(s, j, x, t, pre + at, bias + at, f, end - f);
		}
	}
}

size_t encode_products(encode_scratch *s, const encode_job *j, const float *x, size_t first, size_t n_block,
                       size_t n)
{
	double start = clock_now();

	if (j->screen)
		screen_bounds(j->screen, &s->rows, first, n_block, n, s->pre, ENCODE_SCREENED);
	else
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)n, (blasint)n_block,
		            (blasint)j->d, 1, x, (blasint)j->d, j->weights + first * j->d, (blasint)j->d, 0,
		            s->pre, (blasint)n_block);
	s->product_seconds += clock_now() - start;
	return j->screen ? ENCODE_SCREENED : n_block;
}

/* Candidates of rows 0..n-1 of the tile. */
static void collect(encode_scratch *s, const encode_job *j, const float *x, size_t n)
{
	const size_t most = j->screen ? ENCODE_SCREENED : ENCODE_FEATURES;

	for (size_t first = 0; first < j->n_features; first += most) {
		size_t left = j->n_features - first, n_block = left < most ? left : most;
		size_t stride = encode_products(s, j, x, first, n_block, n);
		double start = clock_now();

		take_block(s, j, x, n, first, n_block, stride);
		s->select_seconds += clock_now() - start;
	}
}

/* ---- From candidates to codes ------------------------------------------------------------------------------------------ */

/* Have those of the n candidates at `first`, of row t, computed that are not and may reach `reach`. */
static void ask_reaching(encode_scratch *s, const encode_job *j, size_t t, size_t first, size_t n,
                         float reach)
{
	float over = nextafterf(reach - s->up[t], -INFINITY); /* filter() wants more */

	s->n_pairs += j->k->filter(s->pairs + s->n_pairs, s->lower, s->value + first, s->zeros, n,
	                           (uint32_t)first, over);
}

/* Where the run of candidates of one group that begins at `at` ends. */
static size_t group_end(const encode_scratch *s, const encode_job *j, size_t at, size_t end)
{
	size_t size = j->n_features / j->width, group = s->index[at] / size;

	while (at < end && s->index[at] / size == group)
		at++;
	return at;
}

/* Which of n values is the largest, the first of equals. */
static size_t largest(const float *value, size_t first, size_t end)
{
	size_t best = first;

	for (size_t i = first + 1; i < end; i++)
		if (value[i] > value[best])
			best = i;
	return best;
}

/* First those with the best bounds are computed; that gives limits which most of the others cannot reach. */
static void ask_first(encode_scratch *s, const encode_job *j, size_t t)
{
	size_t base = t * s->room, end;

	if (j->rule == ENCODE_TOPK)
		cut(s, j, t);
	end = base + s->count[t];
	for (size_t at = base; at < end; at++)
		s->exact[at] = NOT_COMPUTED;
	for (size_t at = base; at < base + s->settled[t]; at++) {
		s->exact[at] = s->value[at];
		s->value[at] = COMPUTED;
	}
	if (j->rule == ENCODE_TOPK)
		ask_reaching(s, j, t, base, s->count[t], least_of(s, j, s->value + base, s->count[t]));
	for (size_t at = base, next; j->rule == ENCODE_GROUPMAX && at < end; at = next) {
		size_t best = largest(s->value, at, next = group_end(s, j, at, end));

		if (s->value[best] != COMPUTED)
			s->pairs[s->n_pairs++] = (uint32_t)best;
	}
}

static void ask_second(encode_scratch *s, const encode_job *j, size_t t)
{
	size_t base = t * s->room, end = base + s->count[t];

	if (j->rule == ENCODE_TOPK)
		ask_reaching(s, j, t, base, s->count[t], least_of(s, j, s->exact + base, s->count[t]));
	for (size_t at = base, next; j->rule == ENCODE_GROUPMAX && at < end; at = next) {
		next = group_end(s, j, at, end);
		ask_reaching(s, j, t, at, next - at, s->exact[largest(s->exact, at, next)]);
	}
}

static void compute(encode_scratch *s, const encode_job *j, const float *x, size_t n)
{
	s->n_pairs = 0;
	for (size_t t = 0; t < n; t++)
		ask_first(s, j, t);
	compute_pairs(s, j, x);
	s->n_pairs = 0;
	for (size_t t = 0; t < n; t++)
		ask_second(s, j, t);
	compute_pairs(s, j, x);
}

/* Row t's codes; false: it may have more, under the guess. */
static bool hand_out(encode_scratch *s, const encode_job *j, size_t t, uint32_t *count, uint32_t *index,
                     float *value)
{
	const size_t base = t * s->room;
	float guess = j->rule == ENCODE_TOPK ? j->guess * s->norm[t] : 0;
	size_t n;

	s->count[t] = j->k->compact(s->index + base, s->exact + base, s->count[t], 0, 0);
	memcpy(s->value + base, s->exact + base, s->count[t] * sizeof(float));
	if (j->rule == ENCODE_GROUPMAX)
		best_of_groups(s, j, t);
	else
		best_of_all(s, j, t);
	n = s->count[t];
	*count = (uint32_t)n;
	memcpy(index, s->index + base, n * sizeof(*index));
	memcpy(value, s->value + base, n * sizeof(*value));
	if (!(guess > 0))
		return true;
	for (size_t i = 0; i < n; i++)
		if (value[i] <= guess)
			return false;
	return n == j->width;
}

static void begin_row(encode_scratch *s, const encode_job *j, size_t t, float guess)
{
	s->count[t] = 0;
	s->settled[t] = 0;
	s->above[t] = guess > 0 ? guess * s->norm[t] : 0; /* at least 0: the ReLU; a norm may be infinite */
	s->up[t] = 0;
	if (!j->screen)
		s->up[t] = (float)(2 * j->d + 64) * 0x1p-24f * j->most_norm * s->norm[t] +
		           SCREEN_ROUNDING * j->most_bias;
}

void encode_begin(encode_scratch *s, const encode_job *j, const float *x, size_t n)
{
	double start = clock_now();

	assert(n <= s->tokens);
	for (size_t t = 0; t < n; t++) {
		if (j->screen)
			screen_row(&s->rows, j->screen, t, x + t * j->d);
		s->norm[t] = j->screen ? s->rows.norm[t] : (float)sqrt(j->k->sum_squares(x + t * j->d, j->d));
		begin_row(s, j, t, j->rule == ENCODE_TOPK ? j->guess : 0);
	}
	s->product_seconds += clock_now() - start;
}

/* Row t again, in the place of row 0. */
static void again(encode_scratch *s, const encode_job *j, const float *x, size_t t, uint32_t *count,
                  uint32_t *index, float *value)
{
	encode_job from_zero = *j;

	from_zero.guess = 0;
	if (j->screen)
		screen_row_copy(&s->rows, j->screen, 0, t);
	s->norm[0] = s->norm[t];
	begin_row(s, &from_zero, 0, 0);
	collect(s, &from_zero, x + t * j->d, 1);
	compute(s, &from_zero, x + t * j->d, 1);
	hand_out(s, &from_zero, 0, count, index, value);
	s->n_again++;
}

void encode_tile(encode_scratch *s, const encode_job *j, const float *x, size_t n, uint32_t *count,
                 uint32_t *index, float *value)
{
	const size_t width = j->width;
	size_t n_again = 0;
	double start;

	assert(s->room >= width + SEGMENT + KERNELS_SLACK);
	encode_begin(s, j, x, n);
	collect(s, j, x, n);
	compute(s, j, x, n);
	start = clock_now();
	for (size_t t = 0; t < n; t++)
		if (!hand_out(s, j, t, count + t, index + t * width, value + t * width))
			s->again[n_again++] = (uint32_t)t;
	s->select_seconds += clock_now() - start;
	if (n_again > AGAIN_ALONE) {
		encode_job from_zero = *j;

		from_zero.guess = 0;
		s->n_again += n_again;
		encode_tile(s, &from_zero, x, n, count, index, value);
		return;
	}
	for (size_t i = 0; i < n_again; i++)
		again(s, j, x, s->again[i], count + s->again[i], index + s->again[i] * width,
		      value + s->again[i] * width);
}
