/* examples: see examples.h. */
#include "explain/examples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/prompt.h"

static const char *const choice_names[] = { [EXPLAIN_BY_KIND] = "default",
	                                    [EXPLAIN_TOP] = "top",
	                                    [EXPLAIN_DECILES] = "deciles",
	                                    [EXPLAIN_MIX] = "mix",
	                                    [EXPLAIN_RANDOM] = "random" };

const char *explain_choice_name(explain_choice how)
{
	return choice_names[how];
}

int explain_choice_find(explain_choice *out, const char *name, error *err)
{
	for (size_t i = 0; i < ARRAY_LEN(choice_names); i++)
		if (strcmp(name, choice_names[i]) == 0) {
			*out = (explain_choice)i;
			return 0;
		}
	return error_set(err, ERR_ARG,
	                 "unknown choice of windows '%.40s': there are top, deciles, mix, random", name);
}

const char *examples_part_name(store_part part)
{
	static const char *const names[] = { "label", "select", "report", "stored" };

	return names[part];
}

/* ---- Firing ----------------------------------------------------------------------------------------------------------- */

static bool same_tokens(const store_window *a, const store_window *b)
{
	return a->length == b->length && memcmp(a->token, b->token, a->length * sizeof(*a->token)) == 0;
}

/* What differed before it was cut may be the same now: the strongest stays. */
static size_t drop_duplicates(store_window *w, size_t n)
{
	size_t kept = 0, j;

	for (size_t i = 0; i < n; i++) {
		for (j = 0; j < kept && !same_tokens(&w[i], &w[j]);)
			j++;
		if (j == kept)
			w[kept++] = w[i];
	}
	return kept;
}

/* By the weights: what share of the firing tokens is stronger. */
static void set_deciles(example_set *e)
{
	double total = 0, before = 0;

	for (size_t i = 0; i < e->n; i++)
		total += e->w[i].weight;
	for (size_t i = 0; i < e->n; i++) {
		double at = total > 0 ? (before + e->w[i].weight / 2) / total * EXAMPLES_DECILES : 0;

		e->decile[i] = at < EXAMPLES_DECILES ? (uint8_t)at : EXAMPLES_DECILES - 1;
		before += e->w[i].weight;
	}
}

int examples_read(example_set *out, engine_task *t, store_part part, error *err)
{
	const engine *j = t->job;
	example_set e = { 0 };
	int rc;

	rc = store_windows_firing(&e.w, &e.n, j->s, j->source, t->row.feature, part, &t->mem, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < e.n; i++)
		e.w[i] = prompt_cut(&e.w[i], j->o->window, prompt_before(j->o));
	e.n = drop_duplicates(e.w, e.n);
	e.strongest = e.n ? e.w[0].activation : 0;
	e.decile = arena_alloc(&t->mem, e.n + 1, sizeof(*e.decile));
	if (!e.decile)
		return error_nomem(err, "windows");
	set_deciles(&e);
	*out = e;
	return 0;
}

const char *examples_too_few(char buf[128], const example_set *e, store_part part)
{
	if (e->n < EXAMPLES_LEAST)
		snprintf(buf, 128, "fires in %zu stored contexts of the %s documents, %d are needed", e->n,
		         examples_part_name(part), EXAMPLES_LEAST);
	else if (engine_groups(e->w, e->n) < 2)
		snprintf(buf, 128, "fires in one group of %s documents only, two are needed",
		         examples_part_name(part));
	else
		return NULL;
	return buf;
}

/* ---- Choice ----------------------------------------------------------------------------------------------------------- */

struct drawn {
	double first, then; /* what is sorted by */
	size_t index;
};

static int by_draw(const void *a, const void *b)
{
	const struct drawn *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->then != y->then)
		return x->then < y->then ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b)
{
	const size_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of from..n-1 by turns of the deciles: the first of each by hash, then the second of each. */
static void rank_by_turns(struct drawn *d, const example_set *e, size_t from, uint64_t key)
{
	size_t count = e->n - from, turn[EXAMPLES_DECILES] = { 0 };

	for (size_t i = 0; i < count; i++)
		d[i] = (struct drawn){ e->decile[from + i], hash64_unit(hash64_mix(key, from + i)),
			               from + i };
	qsort(d, count, sizeof(*d), by_draw);
	for (size_t i = 0; i < count; i++) {
		d[i].first = (double)turn[e->decile[d[i].index]]++;
		d[i].then = hash64_unit(hash64_mix(key, d[i].index));
	}
	qsort(d, count, sizeof(*d), by_draw);
}

/* Each next one with a chance in proportion to its weight (Efraimidis and Spirakis 2006). */
static void rank_by_weight(struct drawn *d, const example_set *e, uint64_t key)
{
	for (size_t i = 0; i < e->n; i++) {
		double u = hash64_unit(hash64_mix(key, i)), w = e->w[i].weight;

		d[i] = (struct drawn){ w > 0 ? -log(u > 0 ? u : 1e-300) / w : INFINITY, 0, i };
	}
	qsort(d, e->n, sizeof(*d), by_draw);
}

int examples_choose(size_t **out, size_t *n, const example_set *e, explain_choice how, size_t want,
                    uint64_t key, arena *mem, error *err)
{
	size_t top = how == EXPLAIN_TOP ? want : how == EXPLAIN_MIX ? want * 2 / 5 : 0, *chosen;
	struct drawn *d = arena_alloc(mem, e->n + 1, sizeof(*d));

	if (want > e->n)
		want = e->n;
	if (top > want)
		top = want;
	chosen = arena_alloc(mem, want + 1, sizeof(*chosen));
	if (!d || !chosen)
		return error_nomem(err, "windows");
	if (how == EXPLAIN_RANDOM)
		rank_by_weight(d, e, key);
	else
		rank_by_turns(d, e, top, key);
	for (size_t i = 0; i < want; i++)
		chosen[i] = i < top ? i : d[i - top].index;
	qsort(chosen, want, sizeof(*chosen), by_index);
	*out = chosen;
	*n = want;
	return 0;
}

/* ---- Silent ----------------------------------------------------------------------------------------------------------- */

int examples_silent(store_window **out, size_t *n, engine_task *t, store_part part, size_t want, error *err)
{
	const engine *j = t->job;

	return store_windows_silent(out, n, j->s, j->source, t->row.feature, part, j->o->window, want,
	                            j->o->seed, &t->mem, err);
}

int examples_random(store_window **out, size_t *n, engine_task *t, store_part part, size_t want, error *err)
{
	const engine *j = t->job;

	return store_windows_random(out, n, j->s, j->source, t->row.feature, part, j->o->window, want,
	                            j->o->seed, &t->mem, err);
}

struct token_count {
	uint32_t token, n;
};

static int most_first(const void *a, const void *b)
{
	const struct token_count *x = a, *y = b;

	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return (x->token > y->token) - (x->token < y->token);
}

/* The tokens at the peaks, the commonest first. */
static int peak_tokens(uint32_t **out, size_t *n, const example_set *e, arena *mem, error *err)
{
	struct token_count *c = arena_alloc(mem, e->n + 1, sizeof(*c));
	uint32_t *tokens = arena_alloc(mem, e->n + 1, sizeof(*tokens));
	size_t found = 0, j;

	if (!c || !tokens)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < e->n; i++) {
		uint32_t token = e->w[i].token[e->w[i].peak];

		for (j = 0; j < found && c[j].token != token;)
			j++;
		c[j].token = token;
		c[j].n++;
		found += j == found;
	}
	qsort(c, found, sizeof(*c), most_first);
	for (j = 0; j < found; j++)
		tokens[j] = c[j].token;
	*out = tokens;
	*n = found;
	return 0;
}

int examples_hard(store_window **out, size_t *n, engine_task *t, store_part part, store_hard by,
                  const example_set *e, size_t want, error *err)
{
	const engine *j = t->job;
	store_hard_opts o = { .source = j->source,
		              .feature = t->row.feature,
		              .part = part,
		              .by = by,
		              .length = j->o->window,
		              .before = prompt_before(j->o),
		              .want = want,
		              .seed = j->o->seed };
	uint32_t *tokens = NULL;
	int rc = peak_tokens(&tokens, &o.n_tokens, e, &t->mem, err);

	o.tokens = tokens;
	return rc < 0 ? rc : store_windows_hard(out, n, j->s, &o, &t->mem, err);
}
