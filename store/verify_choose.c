/* Which contexts of a store are recomputed, and what it says of them. */
#include "store/verify.h"

typedef struct numbered { /* a context of the dump */
	int64_t id;
	uint64_t number;
} numbered;

typedef struct drawn { /* a context of the store */
	uint64_t hash;
	int64_t id;
} drawn;

static int by_id(const void *a, const void *b)
{
	const numbered *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static int by_hash(const void *a, const void *b)
{
	const drawn *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* ---- Which contexts ---- */

/* Contexts of the source, by id. */
static int read_ids(drawn **out, size_t *n, store_verify *v, uint64_t seed, error *err)
{
	sqlite3_stmt *st = NULL;
	drawn *list = NULL;
	size_t cap = 0;
	int rc = store_prepare(
	        &st, v->s, "SELECT context_id FROM source_context WHERE source_id = ?1 ORDER BY context_id",
	        err);

	*n = 0;
	if (rc == 0)
		rc = store_bind(v->s, st, err, "i", v->r.id);
	while (store_next(&rc, v->s, st, err)) {
		if (mem_grow(&list, &cap, *n + 1, sizeof(*list)) < 0) {
			rc = error_nomem(err, "contexts");
			break;
		}
		list[*n].id = sqlite3_column_int64(st, 0);
		list[*n].hash = hash64_mix(seed, (uint64_t)list[*n].id);
		(*n)++;
	}
	sqlite3_finalize(st);
	*out = list;
	return rc;
}

static numbered *sort_dump(const store_verify_opts *o)
{
	numbered *dump = malloc((o->n + 1) * sizeof(*dump));

	for (uint64_t i = 0; i < o->n && dump; i++)
		dump[i] = (numbered){ o->contexts[i], i };
	if (dump)
		qsort(dump, o->n, sizeof(*dump), by_id);
	return dump;
}

/* The first place in the sorted dump that is not below the id. */
static uint64_t place_of(const numbered *dump, uint64_t n, int64_t id)
{
	uint64_t low = 0, high = n;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (dump[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Mark the batches of the first n_checked drawn contexts that the dump has. */
static void mark_batches(store_verify *v, drawn *list, size_t n, const numbered *dump,
                         const store_verify_opts *o)
{
	uint32_t taken = 0;

	qsort(list, n, sizeof(*list), by_hash);
	for (size_t i = 0; i < n && taken < o->n_checked; i++) {
		uint64_t at = place_of(dump, o->n, list[i].id);

		taken += at < o->n && dump[at].id == list[i].id;
		for (; at < o->n && dump[at].id == list[i].id; at++)
			v->batches[dump[at].number / o->per_batch] = 1;
	}
}

/* How often the context is in the dump; 0 where not all of that is in marked batches. */
static uint32_t occurrences(const store_verify *v, const numbered *dump, int64_t id,
                            const store_verify_opts *o)
{
	uint32_t n = 0;

	for (uint64_t at = place_of(dump, o->n, id); at < o->n && dump[at].id == id; at++, n++) {
		if (!v->batches[dump[at].number / o->per_batch])
			return 0;
	}
	return n;
}

static int by_context(const void *a, const void *b)
{
	const verify_context *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* The contexts whose every occurrence is in marked batches. */
static int take_contexts(store_verify *v, const drawn *list, size_t n, const numbered *dump,
                         const store_verify_opts *o, error *err)
{
	v->contexts = calloc(n + 1, sizeof(*v->contexts));
	if (!v->contexts)
		return error_nomem(err, "contexts");
	for (size_t i = 0; i < n; i++) {
		uint32_t expected = occurrences(v, dump, list[i].id, o);
		verify_context *c = &v->contexts[v->n_contexts];

		if (expected == 0)
			continue;
		*c = (verify_context){ .id = list[i].id, .expected = expected };
		text_init(&c->counted, SIZE_MAX);
		text_init(&c->codes, SIZE_MAX);
		v->n_contexts++;
	}
	qsort(v->contexts, v->n_contexts, sizeof(*v->contexts), by_context);
	return 0;
}

verify_context *verify_find(const store_verify *v, int64_t id)
{
	const verify_context key = { .id = id };

	return bsearch(&key, v->contexts, v->n_contexts, sizeof(key), by_context);
}

/* ---- Their examples ---- */

static int by_place(const void *a, const void *b)
{
	const verify_example *x = a, *y = b;

	if (x->context != y->context)
		return x->context < y->context ? -1 : 1;
	if (x->feature != y->feature)
		return x->feature < y->feature ? -1 : 1;
	return x->top - y->top;
}

static int take_example(store_verify *v, size_t *cap, sqlite3_stmt *st, const verify_context *c, error *err)
{
	size_t size = (size_t)sqlite3_column_bytes(st, 5), at = v->example_codes.len;

	if (mem_grow(&v->examples, cap, v->n_examples + 1, sizeof(*v->examples)) < 0 ||
	    text_add(&v->example_codes, sqlite3_column_blob(st, 5), size) < 0)
		return error_nomem(err, "examples");
	v->examples[v->n_examples++] = (verify_example){ .context = (uint32_t)(c - v->contexts),
		                                         .feature = (uint32_t)sqlite3_column_int64(st, 0),
		                                         .top = sqlite3_column_int64(st, 1) < 0,
		                                         .position = (uint32_t)sqlite3_column_int64(st, 3),
		                                         .bits = (uint32_t)sqlite3_column_int64(st, 4),
		                                         .codes = at,
		                                         .size = (uint32_t)size };
	return 0;
}

static int take_examples(store_verify *v, error *err)
{
	sqlite3_stmt *st = NULL;
	size_t cap = 0;
	int rc = store_prepare(&st, v->s,
	                       "SELECT feature, bin, context_id, position, activation_bits, codes"
	                       " FROM example WHERE source_id = ?1",
	                       err);

	if (rc == 0 && text_add(&v->example_codes, "", 0) < 0)
		rc = error_nomem(err, "examples");
	if (rc == 0)
		rc = store_bind(v->s, st, err, "i", v->r.id);
	while (store_next(&rc, v->s, st, err)) {
		const verify_context *c;

		c = verify_find(v, sqlite3_column_int64(st, 2));
		if (c)
			rc = take_example(v, &cap, st, c, err);
	}
	sqlite3_finalize(st);
	if (v->n_examples)
		qsort(v->examples, v->n_examples, sizeof(*v->examples), by_place);
	return rc;
}

static void tell_missing(store_verify *v, const drawn *list, size_t n, const numbered *dump, uint64_t n_dump)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t at = place_of(dump, n_dump, list[i].id);

		if (at == n_dump || dump[at].id != list[i].id)
			verify_differs(v, "source_context", (verify_place){ -1, list[i].id, -1 },
			               "a context of the source", "not in the dump");
	}
}

int verify_choose(store_verify *v, const store_verify_opts *o, error *err)
{
	numbered *dump = sort_dump(o);
	drawn *list = NULL;
	size_t n = 0;
	int rc;

	v->n_batches = (o->n + o->per_batch - 1) / o->per_batch;
	v->batches = calloc(v->n_batches + 1, 1);
	rc = dump && v->batches ? read_ids(&list, &n, v, o->seed, err) : error_nomem(err, "contexts");
	if (rc == 0 && !o->partial)
		tell_missing(v, list, n, dump, o->n);
	if (rc == 0 && o->n_checked > 0) {
		mark_batches(v, list, n, dump, o);
		rc = take_contexts(v, list, n, dump, o, err);
		if (rc == 0)
			rc = take_examples(v, err);
	}
	free(list);
	free(dump);
	return rc;
}

void verify_contexts_clear(store_verify *v)
{
	for (size_t i = 0; i < v->n_contexts; i++) {
		text_free(&v->contexts[i].counted);
		text_free(&v->contexts[i].codes);
	}
	text_free(&v->example_codes);
	free(v->contexts);
	free(v->examples);
	free(v->batches);
}
