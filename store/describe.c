/* Counting what describes a feature. See describe.h. */
#include "store/describe.h"

enum {
	MAX_AFFIX = 4, /* characters */
	MAX_WORD = 64, /* bytes; longer ones are no words */
	MAX_KEYS = 5 + 2 * MAX_AFFIX
};

const char *describe_kind_name(describe_kind kind)
{
	static const char *const names[] = {
		"token", "previous", "pair", "next", "word", "prefix", "suffix"
	};

	return names[kind];
}

double describe_f1(const describe *d, uint64_t hits, uint64_t of)
{
	return 2 * (double)hits / (double)(d->fires + of);
}

/* ---- The table of rows -------------------------------------------------------------------------------------------------- */

static uint64_t hash_of(const describe_row *key)
{
	uint64_t numbers = (uint64_t)key->before << 32 | key->token;

	return hash64(key->text, key->length,
	              hash64_mix(numbers, (uint64_t)key->at * DESCRIBE_KINDS + (uint64_t)key->kind));
}

static bool is_row(const describe_row *row, const describe_row *key)
{
	return row->kind == key->kind && row->token == key->token && row->before == key->before &&
	       row->at == key->at && row->length == key->length &&
	       (key->length == 0 || memcmp(row->text, key->text, key->length) == 0);
}

/* Where the key's place is or would be in the table. */
static uint32_t *find_place(const describe *d, const describe_row *key)
{
	size_t i = hash_of(key) & (d->table_size - 1);

	while (d->table[i] && !is_row(&d->rows[d->table[i] - 1], key))
		i = (i + 1) & (d->table_size - 1);
	return &d->table[i];
}

static int grow_table(describe *d, error *err)
{
	size_t size = d->table_size ? 2 * d->table_size : 4096;
	uint32_t *table = calloc(size, sizeof(*table));

	if (!table)
		return error_nomem(err, "tokens of a feature");
	free(d->table);
	d->table = table;
	d->table_size = size;
	for (size_t i = 0; i < d->n_rows; i++)
		*find_place(d, &d->rows[i]) = (uint32_t)i + 1;
	return 0;
}

static int add_hit(describe *d, const describe_row *key, error *err)
{
	uint32_t *place;
	describe_row *row;
	int rc = d->n_rows >= d->table_size / 2 ? grow_table(d, err) : 0;

	if (rc < 0)
		return rc;
	place = find_place(d, key);
	if (!*place) {
		if (mem_grow(&d->rows, &d->rows_cap, d->n_rows + 1, sizeof(*d->rows)) < 0)
			return error_nomem(err, "tokens of a feature");
		row = &d->rows[d->n_rows];
		*row = *key;
		row->text = key->length ? arena_memdupz(&d->mem, key->text, key->length) : NULL;
		if (key->length && !row->text)
			return error_nomem(err, "tokens of a feature");
		*place = (uint32_t)++d->n_rows;
	}
	d->rows[*place - 1].hits++;
	return 0;
}

/* ---- What a token is ------------------------------------------------------------------------------------------------------ */

/* Fill d->spans with the words of the context. */
static int read_words(describe *d, const context_row *c, error *err)
{
	size_t begin, end;
	regex_walk w;
	bool more;
	int rc = regex_walk_begin(&w, &d->words, c, false, err);

	d->n_spans = 0;
	while (rc == 0 && (rc = regex_walk_next(&more, &begin, &end, &w, err)) == 0 && more) {
		if (mem_grow(&d->spans, &d->spans_cap, d->n_spans + 2, sizeof(*d->spans)) < 0)
			return error_nomem(err, "words of a context");
		d->spans[d->n_spans++] = (uint32_t)begin;
		d->spans[d->n_spans++] = (uint32_t)end;
	}
	return rc;
}

static bool begins_character(const char *chars, uint32_t at)
{
	return ((unsigned char)chars[at] & 0xc0) != 0x80;
}

/* Keys of the word that is bytes begin .. end - 1, for a token of bytes from .. to - 1. */
static size_t word_keys(describe_row *keys, const char *chars, uint32_t begin, uint32_t end, uint32_t from,
                        uint32_t to)
{
	uint32_t first = from > begin ? from : begin;
	size_t n = 0;

	keys[n++] = (describe_row){
		.kind = DESCRIBE_WORD, .text = chars + begin, .length = end - begin, .at = first - begin
	};
	for (uint32_t at = begin + 1, n_chars = 0; begin >= from && at <= end && n_chars < MAX_AFFIX; at++) {
		if (at < end && !begins_character(chars, at))
			continue;
		keys[n++] = (describe_row){ .kind = DESCRIBE_PREFIX,
			                    .text = chars + begin,
			                    .length = at - begin };
		n_chars++;
	}
	for (uint32_t at = end - 1, n_chars = 0; at >= first && n_chars < MAX_AFFIX; at--) {
		if (begins_character(chars, at)) {
			if (at < to)
				keys[n++] = (describe_row){ .kind = DESCRIBE_SUFFIX,
					                    .text = chars + at,
					                    .length = end - at };
			n_chars++;
		}
		if (at == 0)
			break;
	}
	return n;
}

/* Everything that token i is. *span: a place in d->spans from which on to look, and where it was found. */
static size_t token_keys(describe_row keys[MAX_KEYS], const describe *d, size_t *span, const context_row *c,
                         uint32_t i)
{
	uint32_t token = context_row_token(c, i), from = context_row_offset(c, i),
	         to = context_row_offset(c, i + 1);
	size_t n = 0;

	keys[n++] = (describe_row){ .kind = DESCRIBE_TOKEN, .token = token };
	if (i > 0) {
		uint32_t before = context_row_token(c, i - 1);

		keys[n++] = (describe_row){ .kind = DESCRIBE_PREVIOUS, .token = before };
		keys[n++] = (describe_row){ .kind = DESCRIBE_PAIR, .token = token, .before = before };
	}
	if (i + 1 < c->n_tokens)
		keys[n++] = (describe_row){ .kind = DESCRIBE_NEXT, .token = context_row_token(c, i + 1) };
	while (*span < d->n_spans && d->spans[*span + 1] <= from)
		*span += 2;
	if (from < to && *span < d->n_spans && d->spans[*span] < to &&
	    d->spans[*span + 1] - d->spans[*span] <= MAX_WORD)
		n += word_keys(keys + n, c->text, d->spans[*span], d->spans[*span + 1], from, to);
	return n;
}

/* ---- The two scans ------------------------------------------------------------------------------------------------------- */

/* Which tokens the feature fires on, and what they are. */
static int add_context(describe *d, firing_scan *scan, const uint32_t *slot, bool **fires, size_t *cap,
                       error *err)
{
	const context_row *c = &scan->context;
	describe_row keys[MAX_KEYS];
	size_t span = 0;
	int rc = firing_scan_pick(scan, scan->counted, slot, err);

	if (rc == 0 && mem_grow(fires, cap, c->n_tokens, sizeof(**fires)) < 0)
		rc = error_nomem(err, "firings of a feature");
	for (uint32_t i = 0; i < c->n_tokens && rc == 0; i++) {
		(*fires)[i] = scan->codes.start[i + 1] > scan->codes.start[i];
		d->tokens += bit_is_set(scan->counted, i);
	}
	if (rc == 0)
		rc = find_marks_add(&d->marks, *fires, c->n_tokens, err);
	d->contexts++;
	if (rc < 0 || scan->codes.n_firings == 0)
		return rc;
	d->fires += scan->codes.n_firings;
	rc = read_words(d, c, err);
	for (uint32_t i = 0; i < c->n_tokens && rc == 0; i++) {
		size_t n = (*fires)[i] ? token_keys(keys, d, &span, c, i) : 0;

		for (size_t k = 0; k < n && rc == 0; k++)
			rc = add_hit(d, &keys[k], err);
	}
	return rc;
}

static int count_hits(describe *d, error *err)
{
	firing_scan scan = { 0 };
	uint32_t *slot = NULL;
	bool *fires = NULL, more;
	size_t cap = 0;
	int rc = firing_scan_begin(&scan, d->s, d->source, err);

	if (rc < 0)
		return rc;
	scan.lazy = true;
	slot = calloc((size_t)scan.n_features + 1, sizeof(*slot));
	if (!slot)
		rc = error_nomem(err, "firings of a feature");
	else if (d->feature < scan.n_features)
		slot[d->feature] = 1;
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more)
		rc = add_context(d, &scan, slot, &fires, &cap, err);
	firing_scan_end(&scan);
	free(slot);
	free(fires);
	return rc;
}

/* How many tokens in all are what those of the feature are. */
static int count_all(describe *d, error *err)
{
	describe_row keys[MAX_KEYS];
	firing_scan scan;
	bool more;
	int rc = firing_scan_begin(&scan, d->s, d->source, err);

	if (rc < 0)
		return rc;
	scan.lazy = true;
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		size_t span = 0;

		rc = read_words(d, &scan.context, err);
		for (uint32_t i = 0; i < scan.context.n_tokens && rc == 0; i++) {
			size_t n = bit_is_set(scan.counted, i) ? token_keys(keys, d, &span, &scan.context, i)
			                                       : 0;

			for (size_t k = 0; k < n; k++) {
				uint32_t place = *find_place(d, &keys[k]);

				if (place)
					d->rows[place - 1].of++;
			}
		}
	}
	firing_scan_end(&scan);
	return rc;
}

static int best_first(const void *a, const void *b, void *payload)
{
	const describe_row *x = a, *y = b;
	double p = describe_f1(payload, x->hits, x->of), q = describe_f1(payload, y->hits, y->of);
	uint32_t shorter = x->length < y->length ? x->length : y->length;
	int order;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (p != q)
		return p > q ? -1 : 1;
	if (x->hits != y->hits)
		return x->hits > y->hits ? -1 : 1;
	if (x->token != y->token)
		return x->token < y->token ? -1 : 1;
	if (x->before != y->before)
		return x->before < y->before ? -1 : 1;
	order = shorter ? memcmp(x->text, y->text, shorter) : 0;
	if (order == 0)
		order = x->length != y->length ? (x->length > y->length ? -1 : 1) : (int)x->at - (int)y->at;
	return order;
}

int describe_count(describe *d, store *s, int64_t source, uint32_t feature, error *err)
{
	int rc;

	*d = (describe){ .s = s, .source = source, .feature = feature };
	rc = regex_init(&d->words, "\\w+", err);
	if (rc == 0)
		rc = grow_table(d, err);
	if (rc == 0)
		rc = count_hits(d, err);
	if (rc == 0 && d->fires > 0)
		rc = count_all(d, err);
	if (rc == 0 && d->n_rows > 0)
		qsort_r(d->rows, d->n_rows, sizeof(*d->rows), best_first, d);
	return rc;
}

void describe_kind_rows(size_t *first, size_t *end, const describe *d, describe_kind kind)
{
	*first = 0;
	while (*first < d->n_rows && d->rows[*first].kind < kind)
		++*first;
	*end = *first;
	while (*end < d->n_rows && d->rows[*end].kind == kind)
		++*end;
}

void describe_clear(describe *d)
{
	find_marks_clear(&d->marks);
	regex_clear(&d->words);
	arena_clear(&d->mem);
	free(d->rows);
	free(d->table);
	free(d->spans);
	*d = (describe){ 0 };
}
