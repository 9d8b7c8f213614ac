/* Where each context lies: contexts of one length, or ragged ones by the tensors lengths, mask and attention_mask; and which
 * rows are of the roles asked for. */
#include "sae/dump_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { BLOCK = 512 }; /* values read at a time */

/* ---- Tensors that say something of rows or contexts ---------------------------------------------------------------- */

int spans_from_shards(dump_spans *out, const sae_dump *d, const char *name, bool rows, error *err)
{
	for (size_t i = 0; i < d->rows.n; i++) {
		const dump_span *s = &d->rows.items[i];
		const sae_tensor *t = sae_file_tensor(s->file, name);
		int rc;

		if (!t && out->n == 0)
			continue;
		if (!t || out->n < i)
			return error_set(err, ERR_FORMAT, "'%s' has no tensor '%s', other shards have",
			                 sae_file_path(t ? d->rows.items[0].file : s->file), name);
		if (rows && t->count != s->n)
			return error_set(err, ERR_FORMAT,
			                 "'%s' has %" PRIu64 " rows, its tensor '%s' has %" PRIu64 " values",
			                 sae_file_path(s->file), s->n, name, t->count);
		rc = dump_add_span(out, s->file, t, t->count, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The tensor of this name, or the only one, of the files at `path`. */
static int from_files(dump_spans *out, sae_dump *d, const char *path, const char *name, error *err)
{
	dump_paths list = { 0 };
	int rc = dump_paths_expand(&list, &path, 1, err);

	for (size_t i = 0; i < list.n && rc == 0; i++) {
		const sae_tensor *t;
		sae_file *f;
		rc = dump_add_file(&f, d, list.items[i].path, NULL, err);
		if (rc < 0)
			break;
		t = sae_file_n_tensors(f) == 1 ? sae_file_tensor_at(f, 0) : sae_file_tensor(f, name);
		rc = t ? dump_add_span(out, f, t, t->count, err)
		       : error_set(err, ERR_FORMAT, "'%s' has no tensor '%s'", list.items[i].path, name);
	}
	dump_paths_clear(&list);
	return rc;
}

static uint64_t spans_size(const dump_spans *s)
{
	return s->n ? s->items[s->n - 1].first + s->items[s->n - 1].n : 0;
}

int spans_check(const dump_spans *s, sae_dump *d, const char *name, bool rows, error *err)
{
	for (size_t i = 0; i < s->n; i++) {
		const sae_tensor *t = &s->items[i].tensor;
		const char *path = sae_file_path(s->items[i].file);
		if (convert_is_float(t->dtype) || t->n_dims < 1 || t->n_dims > (rows ? 2 : 1))
			return error_set(err, ERR_FORMAT,
			                 "'%s': tensor '%s' is not a list of whole numbers, one a %s", path,
			                 name, rows ? "row" : "context");
		if (t->n_dims == 2 && t->count && !d->info.ctx_len && t->dims[1] <= UINT32_MAX / 2)
			d->info.ctx_len = (uint32_t)t->dims[1];
		if (t->n_dims == 2 && t->count && t->dims[1] != d->info.ctx_len)
			return error_set(err, ERR_FORMAT,
			                 "'%s': tensor '%s' has contexts of %" PRIu64 " rows, the dump of %u",
			                 path, name, t->dims[1], d->info.ctx_len);
	}
	if (rows && s->n && spans_size(s) != d->info.n_rows)
		return error_set(err, ERR_FORMAT,
		                 "'%s' ends at value %" PRIu64 ", the dump has %" PRIu64 " rows",
		                 sae_file_path(s->items[s->n - 1].file), spans_size(s), d->info.n_rows);
	return 0;
}

int spans_each(const dump_spans *s, span_value *take, void *payload, error *err)
{
	int64_t values[BLOCK];
	int rc = 0;

	for (size_t i = 0; i < s->n; i++) {
		const dump_span *span = &s->items[i];
		for (uint64_t done = 0, m; done < span->n && rc == 0; done += m) {
			m = span->n - done < BLOCK ? span->n - done : BLOCK;
			rc = sae_file_read_i64(span->file, &span->tensor, done, m, values, err);
			for (uint64_t j = 0; j < m && rc == 0; j++)
				rc = take(payload, span, done + j, values[j], err);
		}
	}
	return rc;
}

/* ---- Masks --------------------------------------------------------------------------------------------------------- */

static int take_mask(void *payload, const dump_span *s, uint64_t i, int64_t v, error *err)
{
	rowset *real = payload;

	if (v != 0 && v != 1)
		return error_set(err, ERR_FORMAT,
		                 "'%s': value %" PRIu64 " of '%s' is %" PRId64
		                 "; 1 is a real token, 0 is none",
		                 sae_file_path(s->file), i, s->tensor.name, v);
	if (v == 0)
		rowset_remove(real, s->first + i);
	return 0;
}

static int read_mask(rowset *real, const dump_spans *s, uint64_t n_rows, error *err)
{
	int rc = rowset_init(real, n_rows, err);

	for (uint64_t row = 0; row < n_rows && rc == 0; row++)
		rowset_add(real, row);
	return rc < 0 ? rc : spans_each(s, take_mask, real, err);
}

/* ---- Lengths ------------------------------------------------------------------------------------------------------- */

typedef struct lengths {
	sae_dump *d;
	uint64_t sum; /* of those before */
	bool padded;  /* every context takes ctx_len rows */
} lengths;

static int take_length(void *payload, const dump_span *s, uint64_t i, int64_t v, error *err)
{
	lengths *l = payload;
	dump_context *c = &l->d->contexts[s->first + i];
	uint32_t most = l->d->info.ctx_len ? l->d->info.ctx_len : UINT32_MAX / 2;

	if (v < 0 || v > most)
		return error_set(err, ERR_FORMAT,
		                 "'%s': length %" PRIu64 " is %" PRId64 ", contexts have at most %u rows",
		                 sae_file_path(s->file), i, v, most);
	c->first = l->padded ? (s->first + i) * l->d->info.ctx_len : l->sum;
	c->n = (uint32_t)v;
	l->sum += (uint64_t)v;
	return 0;
}

static int add_up(void *payload, const dump_span *s, uint64_t i, int64_t v, error *err)
{
	uint64_t *sum = payload;

	(void)s, (void)i, (void)err; /* what is wrong with it is said when it is taken */
	*sum += v > 0 && v < UINT32_MAX ? (uint64_t)v : 0;
	return 0;
}

/* Contexts from lengths: of rows side by side, whose lengths add up to the rows, or of ctx_len rows each with padding behind. */
static int take_lengths(sae_dump *d, const dump_spans *s, error *err)
{
	lengths l = { .d = d };
	sae_dump_info *info = &d->info;
	uint64_t n = spans_size(s), sum = 0, room;
	int rc = spans_each(s, add_up, &sum, err);

	if (rc < 0)
		return rc;
	l.padded = info->ctx_len && !__builtin_mul_overflow(n, info->ctx_len, &room) && room == info->n_rows;
	if (!l.padded && sum != info->n_rows)
		return error_set(err, ERR_FORMAT,
		                 "'%s': %" PRIu64 " lengths add up to %" PRIu64 ", the dump has %" PRIu64
		                 " rows",
		                 sae_file_path(s->items[s->n - 1].file), n, sum, info->n_rows);
	d->contexts = calloc(n + 1, sizeof(*d->contexts));
	if (!d->contexts)
		return error_nomem(err, "contexts");
	info->n_contexts = n;
	d->side_by_side = !l.padded;
	return spans_each(s, take_length, &l, err);
}

/* ---- Together ------------------------------------------------------------------------------------------------------ */

/* Contexts of ctx_len rows each, where lengths do not say otherwise. */
static int count_contexts(sae_dump *d, error *err)
{
	sae_dump_info *info = &d->info;

	if (info->ctx_len == 0)
		info->ctx_len = 1;
	if (info->n_rows % info->ctx_len)
		return error_set(err, ERR_FORMAT,
		                 "'%s'%s: %" PRIu64 " rows are not a whole number of contexts of %u tokens",
		                 sae_file_path(d->files[0]), d->n_files > 1 ? " and others" : "",
		                 info->n_rows, info->ctx_len);
	info->n_contexts = info->n_rows / info->ctx_len;
	return 0;
}

static int list_contexts(sae_dump *d, error *err)
{
	d->contexts = calloc(d->info.n_contexts + 1, sizeof(*d->contexts));
	if (!d->contexts)
		return error_nomem(err, "contexts");
	for (uint64_t c = 0; c < d->info.n_contexts; c++)
		d->contexts[c] = (dump_context){ c * d->info.ctx_len, d->info.ctx_len };
	return 0;
}

/* Ends contexts at their first and last real row by `pad`, and takes rows outside of contexts out of d->real. */
static void trim(sae_dump *d, const rowset *pad)
{
	uint64_t row = 0;

	for (uint64_t i = 0; i < d->info.n_contexts; i++) {
		dump_context *c = &d->contexts[i];
		for (; c->n && !rowset_has(pad, c->first); c->n--)
			c->first++;
		while (c->n && !rowset_has(pad, c->first + c->n - 1))
			c->n--;
		for (; c->n && row < c->first; row++)
			rowset_remove(&d->real, row);
		if (c->n)
			row = c->first + c->n;
	}
	for (; row < d->info.n_rows; row++)
		rowset_remove(&d->real, row);
}

/* Whether after all nothing is left out and all contexts are alike: then the dump is as any other. */
static bool is_plain(const sae_dump *d)
{
	if (rowset_size(&d->real) != d->info.n_rows)
		return false;
	for (uint64_t i = 0; i < d->info.n_contexts; i++)
		if (d->contexts[i].n != d->info.ctx_len || d->contexts[i].first != i * d->info.ctx_len)
			return false;
	return true;
}

static void forget(sae_dump *d)
{
	free(d->contexts);
	d->contexts = NULL;
	rowset_clear(&d->real);
	d->side_by_side = false;
}

static void measure(sae_dump *d)
{
	uint32_t longest = 0, shortest = UINT32_MAX;

	for (uint64_t i = 0; i < d->info.n_contexts; i++) {
		uint32_t n = d->contexts[i].n;
		longest = n > longest ? n : longest;
		shortest = n && n < shortest ? n : shortest;
	}
	if (d->info.ctx_len == 0)
		d->info.ctx_len = longest;
	d->info.shortest = shortest;
	d->info.longest = longest;
}

static int settle(sae_dump *d, const dump_spans *mask, const dump_spans *attention, const dump_spans *length,
                  error *err)
{
	const sae_dump_info *info = &d->info;
	rowset pad = { 0 };
	int rc = read_mask(&d->real, mask, info->n_rows, err);

	if (rc == 0)
		rc = read_mask(&pad, attention->n ? attention : mask, info->n_rows, err);
	for (size_t i = 0; i < pad.n_blocks * (ROWSET_BLOCK / 64) && rc == 0; i++)
		d->real.bits[i] &= pad.bits[i];
	if (rc == 0 && !length->n)
		rc = list_contexts(d, err);
	if (rc == 0) {
		trim(d, &pad);
		rowset_count(&d->real);
		measure(d);
	}
	rowset_clear(&pad);
	if (rc == 0 && rowset_size(&d->real) == 0)
		rc = error_set(err, ERR_FORMAT, "'%s': mask or lengths leave none of the %" PRIu64 " rows",
		               sae_file_path(d->rows.items[0].file), info->n_rows);
	return rc;
}

int contexts_load(sae_dump *d, const sae_dump_opts *o, error *err)
{
	dump_spans mask = { 0 }, attention = { 0 }, length = { 0 };
	int rc = o->mask ? from_files(&mask, d, o->mask, "mask", err)
	                 : spans_from_shards(&mask, d, "mask", true, err);

	if (rc == 0)
		rc = spans_from_shards(&attention, d, "attention_mask", true, err);
	if (rc == 0)
		rc = o->lengths ? from_files(&length, d, o->lengths, "lengths", err)
		                : spans_from_shards(&length, d, "lengths", false, err);
	if (rc == 0)
		rc = spans_check(&mask, d, "mask", true, err);
	if (rc == 0)
		rc = spans_check(&attention, d, "attention_mask", true, err);
	if (rc == 0)
		rc = spans_check(&length, d, "lengths", false, err);
	if (rc == 0 && length.n)
		rc = take_lengths(d, &length, err);
	if (rc == 0 && !length.n)
		rc = count_contexts(d, err);
	if (rc == 0 && (mask.n || attention.n || length.n)) {
		rc = settle(d, &mask, &attention, &length, err);
		if (rc == 0 && is_plain(d))
			forget(d);
	}
	free(mask.items);
	free(attention.items);
	free(length.items);
	return rc;
}

void contexts_drop_empty(sae_dump *d)
{
	uint64_t n = 0;

	if (!d->contexts)
		return;
	for (uint64_t i = 0; i < d->info.n_contexts; i++) {
		if (d->contexts[i].n == 0)
			continue;
		if (d->documents)
			d->documents[n] = d->documents[i];
		d->contexts[n++] = d->contexts[i];
	}
	d->info.n_contexts = n;
	d->info.ragged = true;
	d->info.n_masked = d->info.n_rows - rowset_size(&d->real);
}

/* ---- Finding contexts ---------------------------------------------------------------------------------------------- */

uint32_t sae_dump_context(const sae_dump *d, uint64_t context, uint64_t *first)
{
	*first = d->contexts ? d->contexts[context].first : context * d->info.ctx_len;
	return d->contexts ? d->contexts[context].n : d->info.ctx_len;
}

bool sae_dump_where(const sae_dump *d, uint64_t row, uint64_t *context, uint32_t *position)
{
	uint64_t low = 0, high = d->info.n_contexts - 1;

	if (!d->contexts) {
		*context = row / d->info.ctx_len;
		*position = (uint32_t)(row % d->info.ctx_len);
		return true;
	}
	while (low < high) { /* the last one that begins at or before the row */
		uint64_t middle = low + (high - low + 1) / 2;
		if (d->contexts[middle].first <= row)
			low = middle;
		else
			high = middle - 1;
	}
	if (row < d->contexts[low].first || row - d->contexts[low].first >= d->contexts[low].n)
		return false;
	*context = low;
	*position = (uint32_t)(row - d->contexts[low].first);
	return true;
}

bool sae_dump_masked(const sae_dump *d, uint64_t row)
{
	return d->contexts && !rowset_has(&d->real, row);
}

uint64_t dump_real_row(const sae_dump *d, uint64_t i)
{
	return d->contexts ? rowset_select(&d->real, i) : i;
}

void dump_row_marks(const sae_dump *d, uint64_t first, uint64_t n, uint8_t *out)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t context;
		uint32_t position;
		bool in = sae_dump_where(d, first + i, &context, &position);

		out[i] = (uint8_t)((sae_dump_masked(d, first + i) ? 0 : 1) | (in ? 2 : 0) |
		                   (in && position == 0 ? 4 : 0));
	}
}
