/* Co-firing by counting: which features of two sources fire together, and which of them lie inside others. */
#include "store/compare.h"

#include <math.h>

enum { TASK_FEATURES = 32 };

/* What a feature of A does together with each of B. */
typedef struct meeting {
	double product; /* sum of both values */
	uint32_t count; /* tokens on which both fire */
} meeting;

typedef struct counter {     /* a worker's */
	meeting *met;        /* (F of B) */
	uint32_t *touched;   /* those of count > 0 */
	compare_ranks ranks; /* of B's features among those of A that this worker saw */
	compare_inside inside[2];
	bool failed;
} counter;

typedef struct counting {
	compare_run *run;
	counter *workers;
} counting;

/* ---- Places of chance ---------------------------------------------------------------------------------------------- */

/* Each context's tokens are compared with those at the same places of another one, all at one distance by the seed; of a single
 * context, with those half of it further on. */
static uint32_t *moved_places(const comparison *c, arena *mem)
{
	uint32_t *place = arena_alloc(mem, c->n_tokens, sizeof(*place)), step = 1;

	if (c->n_contexts > 1)
		step += (uint32_t)hash64_below(hash64_mix(c->o->seed, 1), c->n_contexts - 1);
	for (uint32_t i = 0; i < c->n_contexts && place; i++) {
		uint32_t to = (i + step) % c->n_contexts, length = c->begin[to + 1] - c->begin[to];

		for (uint32_t t = c->begin[i]; t < c->begin[i + 1]; t++) {
			uint32_t at = t - c->begin[i];

			if (c->n_contexts == 1)
				place[t] = length > 1 ? (at + length / 2) % length : NONE;
			else
				place[t] = at < length ? c->begin[to] + at : NONE;
		}
	}
	return place;
}

/* ---- Ranks --------------------------------------------------------------------------------------------------------------- */

static int ranks_init(compare_ranks *r, uint32_t n_features, arena *mem)
{
	size_t n = (size_t)n_features * COMPARE_NEAR;

	r->ids = arena_alloc(mem, n, sizeof(*r->ids));
	r->correlation = arena_alloc(mem, n, sizeof(*r->correlation));
	r->count = arena_alloc(mem, n, sizeof(*r->count));
	if (!r->ids || !r->correlation || !r->count)
		return ERR_NOMEM;
	memset(r->ids, 0xff, n * sizeof(*r->ids));
	return 0;
}

/* Equal ones by number, so that the order of offers does not matter. */
static void offer(compare_ranks *r, uint32_t f, uint32_t id, float correlation, uint32_t count)
{
	size_t first = (size_t)f * COMPARE_NEAR, i = first + COMPARE_NEAR;

	while (i > first && (r->ids[i - 1] == NONE || correlation > r->correlation[i - 1] ||
	                     (correlation == r->correlation[i - 1] && id < r->ids[i - 1])))
		i--;
	for (size_t j = first + COMPARE_NEAR; j-- > i + 1;) {
		r->ids[j] = r->ids[j - 1];
		r->correlation[j] = r->correlation[j - 1];
		r->count[j] = r->count[j - 1];
	}
	if (i == first + COMPARE_NEAR)
		return;
	r->ids[i] = id;
	r->correlation[i] = correlation;
	r->count[i] = count;
}

/* ---- Counting ------------------------------------------------------------------------------------------------------------ */

static uint32_t place_of(const compare_run *run, size_t i)
{
	uint32_t token = run->c->side[0].of[i].id;

	return run->place ? run->place[token] : token;
}

/* The firings that will be wanted: they lie all over memory. */
static void fetch(const compare_run *run, size_t i, size_t end)
{
	enum { AHEAD = 8, LINE = 64 / sizeof(compare_firing) };
	const compare_side *b = &run->c->side[1];
	uint32_t t;

	if (i + 2 * AHEAD < end && (t = place_of(run, i + 2 * AHEAD)) != NONE)
		__builtin_prefetch(b->by_token + t);
	if (i + AHEAD < end && (t = place_of(run, i + AHEAD)) != NONE)
		for (size_t j = b->by_token[t]; j < b->by_token[t + 1]; j += LINE)
			__builtin_prefetch(b->on + j);
}

/* Count B's features on the tokens of f; returns how many there are. */
static uint32_t meet(const compare_run *run, counter *w, uint32_t f)
{
	const compare_side *a = &run->c->side[0], *b = &run->c->side[1];
	size_t end = a->by_feature[f + 1];
	uint32_t n = 0;

	for (size_t i = a->by_feature[f]; i < end; i++) {
		uint32_t t = place_of(run, i);
		double value = (double)a->of[i].value;

		fetch(run, i, end);
		if (t == NONE)
			continue;
		for (size_t j = b->by_token[t]; j < b->by_token[t + 1]; j++) {
			meeting *m = &w->met[b->on[j].id];

			if (m->count++ == 0)
				w->touched[n++] = b->on[j].id;
			m->product += value * (double)b->on[j].value;
		}
	}
	return n;
}

/* Of two features that are always on at one value: 1. */
static double correlation(const comparison *c, uint32_t f, uint32_t g, double product)
{
	const compare_side *a = &c->side[0], *b = &c->side[1];
	double spread = a->variance[f] * b->variance[g];

	if (!(a->variance[f] > 0) && !(b->variance[g] > 0) && a->sum[f] > 0 && b->sum[g] > 0)
		return 1;
	return spread > 0 ? (product - a->sum[f] * b->sum[g] / c->n_tokens) / sqrt(spread) : (double)NAN;
}

/* Whether a part that fires `part` times, `count` of them with a whole that fires `whole` times, fires mostly there: more often
 * than the whole does anyway, on the scale from that to always. */
static bool is_inside(const comparison *c, uint32_t count, uint32_t part, uint32_t whole)
{
	double anyway = (double)whole / c->n_tokens, share = (double)count / part;

	return count >= c->o->min_common && whole < c->n_tokens &&
	       share - anyway >= c->o->min_overlap * (1 - anyway);
}

static void note_inside(counter *w, int s, uint32_t whole, uint32_t part, uint32_t count)
{
	compare_inside *in = &w->inside[s];

	if (mem_grow(&in->items, &in->cap, in->n + 1, sizeof(*in->items)) < 0) {
		w->failed = true;
		return;
	}
	in->items[in->n++] = (compare_part){ whole, part, count };
}

static void look_at(const counting *k, counter *w, uint32_t f, uint32_t g)
{
	const comparison *c = k->run->c;
	meeting m = w->met[g];
	uint32_t fires_f = compare_fires(&c->side[0], f), fires_g = compare_fires(&c->side[1], g);
	double r = correlation(c, f, g, m.product);

	if (r > 0) {
		offer(&k->run->found[0].ranks, f, g, (float)r, m.count);
		offer(&w->ranks, g, f, (float)r, m.count);
	}
	if (is_inside(c, m.count, fires_g, fires_f))
		note_inside(w, 0, f, g, m.count);
	if (is_inside(c, m.count, fires_f, fires_g))
		note_inside(w, 1, g, f, m.count);
}

static void count_features(void *payload, size_t i, unsigned worker)
{
	const counting *k = payload;
	counter *w = &k->workers[worker];
	uint32_t n_features = k->run->c->side[0].n_features;

	for (uint32_t f = (uint32_t)i * TASK_FEATURES; f < n_features && f < (i + 1) * TASK_FEATURES; f++) {
		uint32_t n = meet(k->run, w, f);

		for (uint32_t t = 0; t < n; t++) {
			look_at(k, w, f, w->touched[t]);
			w->met[w->touched[t]] = (meeting){ 0 };
		}
	}
}

/* ---- All of it -------------------------------------------------------------------------------------------------------------- */

static int by_whole(const void *a, const void *b)
{
	const compare_part *x = a, *y = b;

	if (x->whole != y->whole)
		return x->whole < y->whole ? -1 : 1;
	return x->part < y->part ? -1 : x->part > y->part;
}

/* What the workers found, in one. */
static int join(compare_run *run, counter *workers, unsigned n_workers)
{
	for (unsigned i = 0; i < n_workers; i++) {
		const counter *w = &workers[i];

		if (w->failed)
			return ERR_NOMEM;
		for (uint32_t g = 0; g < run->c->side[1].n_features; g++)
			for (size_t j = (size_t)g * COMPARE_NEAR;
			     j < (size_t)(g + 1) * COMPARE_NEAR && w->ranks.ids[j] != NONE; j++)
				offer(&run->found[1].ranks, g, w->ranks.ids[j], w->ranks.correlation[j],
				      w->ranks.count[j]);
		for (int s = 0; s < 2; s++) {
			compare_inside *in = &run->found[s].inside;
			const compare_inside *from = &w->inside[s];

			if (mem_grow(&in->items, &in->cap, in->n + from->n + 1, sizeof(*in->items)) < 0)
				return ERR_NOMEM;
			for (size_t j = 0; j < from->n; j++)
				in->items[in->n++] = from->items[j];
		}
	}
	for (int s = 0; s < 2; s++)
		qsort(run->found[s].inside.items, run->found[s].inside.n, sizeof(compare_part), by_whole);
	return 0;
}

static int counting_init(counting *k, unsigned n_workers, arena *mem)
{
	compare_run *run = k->run;
	uint32_t n_b = run->c->side[1].n_features;

	k->workers = arena_alloc(mem, n_workers, sizeof(*k->workers));
	if (!k->workers || ranks_init(&run->found[0].ranks, run->c->side[0].n_features, &run->mem) < 0 ||
	    ranks_init(&run->found[1].ranks, n_b, &run->mem) < 0)
		return ERR_NOMEM;
	for (unsigned i = 0; i < n_workers; i++) {
		counter *w = &k->workers[i];

		w->met = arena_alloc(mem, n_b, sizeof(*w->met));
		w->touched = arena_alloc(mem, n_b, sizeof(*w->touched));
		if (!w->met || !w->touched || ranks_init(&w->ranks, n_b, mem) < 0)
			return ERR_NOMEM;
	}
	if (!run->chance)
		return 0;
	run->place = moved_places(run->c, &run->mem);
	return run->place ? 0 : ERR_NOMEM;
}

int compare_count(compare_run *run, error *err)
{
	const comparison *c = run->c;
	unsigned n_workers = c->o->pool ? pool_threads(c->o->pool) : 1;
	size_t n_tasks = (c->side[0].n_features + TASK_FEATURES - 1) / TASK_FEATURES;
	arena mem = ARENA_INIT;
	counting k = { .run = run };
	int rc = counting_init(&k, n_workers, &mem);

	if (rc == 0 && c->o->pool)
		pool_run(c->o->pool, n_tasks, count_features, &k);
	else if (rc == 0)
		for (size_t i = 0; i < n_tasks; i++)
			count_features(&k, i, 0);
	if (rc == 0)
		rc = join(run, k.workers, n_workers);
	for (unsigned i = 0; i < n_workers && k.workers; i++) {
		free(k.workers[i].inside[0].items);
		free(k.workers[i].inside[1].items);
	}
	arena_clear(&mem);
	return rc ? error_nomem(err, "a comparison") : 0;
}

/* ---- One pair ------------------------------------------------------------------------------------------------------------ */

double compare_cosine(const store_directions *d, int s, uint32_t f, uint32_t g)
{
	const float *x = d->rows[s] + (size_t)f * d->d, *y = d->rows[!s] + (size_t)g * d->d;
	double sum = 0;

	for (uint32_t i = 0; i < d->d; i++)
		sum += (double)x[i] * (double)y[i];
	return sum;
}

double compare_best_cosine(const store_directions *d, int s, uint32_t f)
{
	return compare_cosine(d, s, f, d->near[s][(size_t)f * d->n_near[s]]);
}

void compare_measure(compare_pair *out, const comparison *c, uint32_t a, uint32_t b)
{
	const compare_side *x = &c->side[0], *y = &c->side[1];
	size_t i = x->by_feature[a], i_end = x->by_feature[a + 1], j = y->by_feature[b],
	       j_end = y->by_feature[b + 1];
	double n_x = (double)(i_end - i), n_y = (double)(j_end - j), product = 0;
	uint32_t both = 0;

	while (i < i_end && j < j_end) {
		uint32_t t = x->of[i].id, u = y->of[j].id;

		if (t == u) {
			both++;
			product += (double)x->of[i].value * (double)y->of[j].value;
		}
		i += t <= u;
		j += u <= t;
	}
	out->common = both;
	out->cosine = n_x > 0 && n_y > 0 ? both / sqrt(n_x * n_y) : (double)NAN;
	out->jaccard = n_x > 0 && n_y > 0 ? both / (n_x + n_y - both) : (double)NAN;
	out->correlation = correlation(c, a, b, product);
}
