/* Rows, contexts or documents with a label as examples: their activations and codes, pooled, and who is tested on. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"

enum { BATCH_ROWS = 4 * SAE_ENCODE_TILE, COMMON_RUN = 24 };

const char *sae_unit_name(sae_unit u)
{
	static const char *const names[] = { "row", "context", "document" };

	return names[u];
}

int sae_unit_count(uint64_t *out, sae_unit u, const sae_dump *d, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	uint64_t n = 0;

	for (uint64_t c = 0; u == SAE_UNIT_DOCUMENT && c < info->n_contexts; c++) {
		uint64_t id = sae_dump_document(d, c);

		if (id >= UINT32_MAX)
			return error_set(err, ERR_LIMIT,
			                 "document %" PRIu64 " of context %" PRIu64
			                 ": labels of documents need ids that count from 0",
			                 id, c);
		n = id >= n ? id + 1 : n;
	}
	*out = u == SAE_UNIT_ROW ? info->n_rows : u == SAE_UNIT_CONTEXT ? info->n_contexts : n;
	return 0;
}

/* ---- Which ones ----------------------------------------------------------------------------------------------------- */

typedef struct span { /* rows of an example that lie together */
	uint64_t unit, first;
	uint32_t n;
} span;

typedef struct reading {
	const sae_examples_opts *o;
	const sae_dump *dump;
	const sae_rows *rows;
	sae_examples *out;
	size_t room; /* of out's arrays but x */
	size_t x_room;
	span *spans; /* in order of units */
	size_t n_spans, spans_room;
	uint32_t *context_group; /* (n_contexts) */
	/* the example that is being added up */
	bool open;
	uint64_t unit, n_rows;
	double *sum_x, *sum_f; /* (d), (F) */
	uint32_t *fired;       /* features with a sum */
	size_t n_fired;
	float *x;     /* (BATCH_ROWS, d) */
	uint64_t *of; /* (BATCH_ROWS) units of the rows */
	size_t n_x;
	sae_codes codes;
} reading;

static int by_unit(const void *a, const void *b)
{
	const span *x = a, *y = b;

	if (x->unit != y->unit)
		return x->unit < y->unit ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

static int add_span(reading *r, uint64_t unit, uint64_t first, uint32_t n, error *err)
{
	if (mem_grow(&r->spans, &r->spans_room, r->n_spans + 1, sizeof(*r->spans)) < 0)
		return error_nomem(err, "the labelled examples");
	r->spans[r->n_spans++] = (span){ unit, first, n };
	return 0;
}

static bool any_kept(const reading *r, uint64_t first, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (sae_rows_kept(r->rows, first + i))
			return true;
	return false;
}

/* The spans of all labelled units with rows that count. */
static int list_spans(reading *r, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(r->dump);
	bool by_row = r->o->unit == SAE_UNIT_ROW;
	uint64_t n = by_row ? info->n_rows : info->n_contexts;
	int rc = 0;

	for (uint64_t i = 0; i < n && !rc; i++) {
		uint64_t unit = r->o->unit == SAE_UNIT_DOCUMENT ? sae_dump_document(r->dump, i) : i,
		         first = i;
		uint32_t length = by_row ? 1 : sae_dump_context(r->dump, i, &first);

		if (r->o->labels[unit] == SAE_NO_CLASS)
			r->out->n_unlabelled++;
		else if (!any_kept(r, first, length))
			r->out->n_empty++;
		else
			rc = add_span(r, unit, first, length, err);
	}
	if (!rc && r->n_spans == 0)
		rc = error_set(err, ERR_FORMAT, "no %s with a label has a row that counts",
		               sae_unit_name(r->o->unit));
	if (!rc)
		qsort(r->spans, r->n_spans, sizeof(*r->spans), by_unit);
	return rc;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t count_units(const reading *r)
{
	uint64_t n = 0;

	for (size_t i = 0; i < r->n_spans; i++)
		n += i == 0 || r->spans[i].unit != r->spans[i - 1].unit;
	return n;
}

/* Keep `limit` units, those with the smallest hashes. */
static int apply_limit(reading *r, error *err)
{
	uint64_t n = count_units(r), *hashes, last;
	size_t kept = 0;

	if (r->o->limit == 0 || n <= r->o->limit)
		return 0;
	hashes = malloc(n * sizeof(*hashes));
	if (!hashes)
		return error_nomem(err, "the labelled examples");
	n = 0;
	for (size_t i = 0; i < r->n_spans; i++)
		if (i == 0 || r->spans[i].unit != r->spans[i - 1].unit)
			hashes[n++] = hash64_mix(r->o->seed, r->spans[i].unit);
	qsort(hashes, n, sizeof(*hashes), by_number);
	last = hashes[r->o->limit - 1];
	free(hashes);
	for (size_t i = 0; i < r->n_spans; i++)
		if (hash64_mix(r->o->seed, r->spans[i].unit) <= last)
			r->spans[kept++] = r->spans[i];
	r->n_spans = kept;
	r->out->n_beyond = n - r->o->limit;
	return 0;
}

/* ---- Their activations and codes ------------------------------------------------------------------------------------- */

static int by_index(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int grow_codes(sae_codes *c, size_t n_rows, size_t n, error *err)
{
	if (mem_grow(&c->first, &c->first_room, n_rows + 2, sizeof(*c->first)) < 0 ||
	    mem_grow(&c->index, &c->index_room, n + 1, sizeof(*c->index)) < 0 ||
	    mem_grow(&c->value, &c->value_room, n + 1, sizeof(*c->value)) < 0)
		return error_nomem(err, "the examples' codes");
	return 0;
}

/* Put the example that is added up behind the others. */
static int close_example(reading *r, error *err)
{
	sae_examples *e = r->out;
	sae_codes *c = &e->codes;
	double by = r->o->pool_max ? 1 : 1 / (double)r->n_rows;
	size_t at = c->n ? c->first[c->n] : 0;

	if (mem_grow(&e->x, &r->x_room, ((size_t)e->n + 1) * e->d, sizeof(*e->x)) < 0)
		return error_nomem(err, "the examples' activations");
	if (grow_codes(c, c->n, at + r->n_fired, err) < 0)
		return ERR_NOMEM;
	for (uint32_t j = 0; j < e->d; j++)
		e->x[(size_t)e->n * e->d + j] = (float)(r->sum_x[j] * by);
	qsort(r->fired, r->n_fired, sizeof(*r->fired), by_index);
	c->first[c->n] = at;
	for (size_t i = 0; i < r->n_fired; i++) {
		c->index[at] = r->fired[i];
		c->value[at++] = (float)(r->sum_f[r->fired[i]] * by);
		r->sum_f[r->fired[i]] = 0;
	}
	c->first[++c->n] = at;
	e->unit[e->n] = r->unit;
	e->label[e->n++] = r->o->labels[r->unit];
	r->open = false;
	return 0;
}

static void open_example(reading *r, uint64_t unit)
{
	for (uint32_t j = 0; j < r->out->d; j++)
		r->sum_x[j] = r->o->pool_max ? -INFINITY : 0;
	r->n_rows = r->n_fired = 0;
	r->unit = unit;
	r->open = true;
}

static void add_row(reading *r, size_t i)
{
	const float *x = r->x + i * r->out->d;

	for (uint32_t j = 0; j < r->out->d; j++)
		r->sum_x[j] = r->o->pool_max ? fmax(r->sum_x[j], (double)x[j]) : r->sum_x[j] + (double)x[j];
	for (size_t at = r->codes.first[i]; at < r->codes.first[i + 1]; at++) {
		uint32_t f = r->codes.index[at];
		double value = (double)r->codes.value[at];

		if (!(r->sum_f[f] > 0)) /* values are over 0 */
			r->fired[r->n_fired++] = f;
		r->sum_f[f] = r->o->pool_max ? fmax(r->sum_f[f], value) : r->sum_f[f] + value;
	}
	r->n_rows++;
}

/* Encode the rows gathered and add them to their examples. */
static int empty_batch(reading *r, sae_encoder *encoder, error *err)
{
	int rc = r->n_x ? sae_encode(encoder, r->x, r->n_x, &r->codes, err) : 0;

	for (size_t i = 0; i < r->n_x && !rc; i++) {
		if (r->open && r->of[i] != r->unit)
			rc = close_example(r, err);
		if (!rc && !r->open)
			open_example(r, r->of[i]);
		if (!rc)
			add_row(r, i);
	}
	r->n_x = 0;
	return rc;
}

/* Read a span; its rows that count move together. */
static int gather(reading *r, const span *s, sae_encoder *encoder, error *err)
{
	size_t d = r->out->d;
	int rc = 0;

	for (uint32_t done = 0, n; done < s->n && !rc; done += n) {
		size_t base;

		if (r->n_x == BATCH_ROWS)
			rc = empty_batch(r, encoder, err);
		base = r->n_x;
		n = s->n - done < BATCH_ROWS - base ? s->n - done : (uint32_t)(BATCH_ROWS - base);
		if (!rc)
			rc = sae_dump_read(r->dump, s->first + done, n, r->x + base * d, err);
		for (uint32_t i = 0; i < n && !rc; i++) {
			if (!sae_rows_kept(r->rows, s->first + done + i))
				continue;
			memmove(r->x + r->n_x * d, r->x + (base + i) * d, d * sizeof(*r->x));
			r->of[r->n_x++] = s->unit;
		}
	}
	return rc;
}

static int read_all(reading *r, sae_encoder *encoder, progress *pr, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < r->n_spans && !rc; i++) {
		rc = gather(r, &r->spans[i], encoder, err);
		if (pr)
			progress_update(pr, i + 1, NULL);
	}
	if (!rc)
		rc = empty_batch(r, encoder, err);
	if (!rc && r->open)
		rc = close_example(r, err);
	return rc;
}

/* ---- Who is tested on ------------------------------------------------------------------------------------------------ */

/* Document group of each example, numbered anew in order of appearance. */
static int number_groups(reading *r, uint32_t n_context_groups, error *err)
{
	sae_examples *e = r->out;
	uint32_t *number = malloc(((size_t)n_context_groups + 1) * sizeof(*number));
	uint32_t at = 0;

	if (!number)
		return error_nomem(err, "document groups");
	memset(number, 0xff, ((size_t)n_context_groups + 1) * sizeof(*number));
	for (size_t i = 0; i < r->n_spans; i++) {
		uint64_t context = 0;
		uint32_t position, *of;

		(void)sae_dump_where(r->dump, r->spans[i].first, &context, &position);
		of = &number[r->context_group[context]];
		if (i && r->spans[i].unit == r->spans[i - 1].unit)
			continue;
		*of = *of == UINT32_MAX ? e->n_groups++ : *of;
		e->group[at++] = *of;
	}
	free(number);
	return 0;
}

typedef struct group { /* of examples, with the class most of them have */
	uint64_t key;
	uint32_t label, n, n_label; /* examples, those of the class */
	bool test;
} group;

typedef struct member {
	uint32_t group, label;
} member;

static int by_group(const void *a, const void *b)
{
	const member *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return (x->label > y->label) - (x->label < y->label);
}

static int by_key(const void *a, const void *b)
{
	const group *const *x = a, *const *y = b;

	if ((*x)->key != (*y)->key)
		return (*x)->key < (*y)->key ? -1 : 1;
	return (*x > *y) - (*x < *y);
}

/* The commonest class of each group; of equal ones the first. */
static void describe_groups(group *groups, member *members, const sae_examples *e, uint64_t seed)
{
	for (uint32_t i = 0; i < e->n; i++)
		members[i] = (member){ e->group[i], e->label[i] };
	qsort(members, e->n, sizeof(*members), by_group);
	for (uint32_t i = 0, end; i < e->n; i = end) {
		group *g = &groups[members[i].group];

		for (end = i; end < e->n && by_group(&members[end], &members[i]) == 0; end++)
			;
		g->n += end - i;
		if (end - i > g->n_label) {
			g->n_label = end - i;
			g->label = members[i].label;
		}
	}
	for (uint32_t i = 0; i < e->n_groups; i++)
		groups[i].key = hash64_mix(seed ^ 0x7465737473ull, i);
}

/* Give each class that has none its smallest group to be tested on, where another is left to train on. */
static void test_every_class(group **order, uint32_t n, uint32_t label, const uint32_t *tested)
{
	group *smallest = NULL;
	uint32_t n_groups = 0;

	for (uint32_t i = 0; i < n && !tested[label]; i++) {
		if (order[i]->label != label)
			continue;
		n_groups++;
		if (!smallest || order[i]->n < smallest->n)
			smallest = order[i];
	}
	if (n_groups > 1)
		smallest->test = true;
}

static int split(sae_examples *e, const sae_examples_opts *o, error *err)
{
	arena mem = ARENA_INIT;
	group *groups = arena_alloc(&mem, e->n_groups, sizeof(*groups));
	group **order = arena_alloc(&mem, e->n_groups, sizeof(*order));
	member *members = arena_alloc(&mem, e->n, sizeof(*members));
	uint32_t *total = arena_alloc(&mem, e->n_classes, sizeof(*total));
	uint32_t *tested = arena_alloc(&mem, e->n_classes, sizeof(*tested));

	if (!groups || !order || !members || !total || !tested) {
		arena_clear(&mem);
		return error_nomem(err, "who is tested on");
	}
	describe_groups(groups, members, e, o->seed);
	for (uint32_t i = 0; i < e->n; i++)
		total[e->label[i]]++;
	for (uint32_t i = 0; i < e->n_groups; i++)
		order[i] = &groups[i];
	qsort(order, e->n_groups, sizeof(*order), by_key);
	for (uint32_t i = 0; i < e->n_groups; i++) {
		group *g = order[i];

		g->test = tested[g->label] + g->n_label / 2.0 < o->test * total[g->label];
		tested[g->label] += g->test ? g->n_label : 0;
	}
	for (uint32_t c = 0; o->test > 0 && c < e->n_classes; c++)
		test_every_class(order, e->n_groups, c, tested);
	for (uint32_t i = 0; i < e->n; i++)
		e->test[i] = groups[e->group[i]].test;
	arena_clear(&mem);
	return 0;
}

/* ---- All of it --------------------------------------------------------------------------------------------------------- */

static int alloc_reading(reading *r, const sae_model *m, error *err)
{
	sae_examples *e = r->out;
	size_t n = count_units(r);

	if (n >= UINT32_MAX)
		return error_set(err, ERR_LIMIT, "%zu examples are too many", n);
	e->unit = calloc(n, sizeof(*e->unit));
	e->label = calloc(n, sizeof(*e->label));
	e->group = calloc(n, sizeof(*e->group));
	e->test = calloc(n, sizeof(*e->test));
	r->sum_x = calloc(m->d_in, sizeof(*r->sum_x));
	r->sum_f = calloc(m->d_sae, sizeof(*r->sum_f));
	r->fired = calloc(m->d_sae, sizeof(*r->fired));
	r->x = mem_alloc_aligned((size_t)BATCH_ROWS * m->d_in, sizeof(*r->x));
	r->of = calloc(BATCH_ROWS, sizeof(*r->of));
	if (!e->unit || !e->label || !e->group || !e->test || !r->sum_x || !r->sum_f || !r->fired || !r->x ||
	    !r->of)
		return error_nomem(err, "the labelled examples");
	return 0;
}

static void clear_reading(reading *r)
{
	free(r->spans);
	free(r->context_group);
	free(r->sum_x);
	free(r->sum_f);
	free(r->fired);
	free(r->x);
	free(r->of);
	sae_codes_free(&r->codes);
}

int sae_examples_read(sae_examples *out, const sae_model *m, const sae_dump *d, const sae_rows *rows,
                      const sae_examples_opts *o, pool *p, progress *pr, error *err)
{
	reading r = { .o = o, .dump = d, .rows = rows, .out = out };
	sae_encoder *encoder = NULL;
	uint32_t n_context_groups = 0;
	int rc = 0;

	*out = (sae_examples){ .d = m->d_in, .n_features = m->d_sae, .n_classes = o->n_classes };
	if (sae_dump_get_info(d)->d_in != m->d_in)
		rc = error_set(err, ERR_ARG, "the SAE takes rows of %u, '%s' has rows of %u", m->d_in,
		               sae_dump_shard(d, 0, NULL), sae_dump_get_info(d)->d_in);
	if (!rc)
		rc = list_spans(&r, err);
	if (!rc)
		rc = apply_limit(&r, err);
	if (!rc)
		rc = alloc_reading(&r, m, err);
	if (!rc)
		rc = sae_split_groups(&r.context_group, &n_context_groups, d, COMMON_RUN, err);
	if (!rc)
		rc = number_groups(&r, n_context_groups, err);
	if (!rc)
		rc = sae_encoder_new(&encoder, m, p, NULL, err);
	if (pr)
		pr->total = r.n_spans;
	if (!rc)
		rc = read_all(&r, encoder, pr, err);
	if (!rc)
		rc = split(out, o, err);
	sae_encoder_free(encoder);
	clear_reading(&r);
	if (rc)
		sae_examples_clear(out);
	return rc;
}

void sae_examples_clear(sae_examples *e)
{
	free(e->unit);
	free(e->label);
	free(e->group);
	free(e->test);
	free(e->x);
	sae_codes_free(&e->codes);
	*e = (sae_examples){ 0 };
}
