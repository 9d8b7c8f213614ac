/* Activation dumps: many tensor files read as one (rows, d) matrix and one list of token ids. The shard list, the open
 * files and their shapes are fixed at open; a shard that shrinks later is an error of the read that meets it. */
#include "sae/dump_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- Finding the activations of a file --------------------------------------------------------------------------- */

/* Two-byte integers count as BF16 where the options say so. */
static sae_dtype dtype_read_as(const sae_tensor *t, const sae_dump_opts *o)
{
	return o->dtype && (t->dtype == SAE_U16 || t->dtype == SAE_I16) ? SAE_BF16 : t->dtype;
}

static bool fits(const sae_tensor *t, const sae_dump_opts *o)
{
	return convert_is_float(dtype_read_as(t, o)) && (t->n_dims == 2 || t->n_dims == 3);
}

/* The activations tensor of a file; NULL: none. */
static const sae_tensor *find_activations(const sae_file *f, const sae_dump_opts *o)
{
	const sae_tensor *t, *only = NULL;

	if (sae_file_n_tensors(f) == 1 && !*sae_file_tensor_at(f, 0)->name) /* .npy */
		return sae_file_tensor_at(f, 0);
	t = sae_file_tensor(f, o->key ? o->key : "activations");
	if (t || o->key)
		return t;
	for (size_t i = 0; i < sae_file_n_tensors(f); i++) {
		t = sae_file_tensor_at(f, i);
		if (!fits(t, o))
			continue;
		if (only)
			return NULL;
		only = t;
	}
	return only;
}

static int no_activations(const sae_file *f, const sae_dump_opts *o, error *err)
{
	text names;
	int rc;

	text_init(&names, 200);
	for (size_t i = 0; i < sae_file_n_tensors(f); i++)
		if (text_addf(&names, "%s'%s'", i ? ", " : "", sae_file_tensor_at(f, i)->name) < 0)
			break;
	rc = error_set(err, ERR_FORMAT, "'%s' has no tensor '%s'; it holds %s", sae_file_path(f),
	               o->key ? o->key : "activations", names.len ? names.data : "none");
	text_free(&names);
	return rc;
}

static int check_activations(const sae_file *f, const sae_tensor *t, const sae_dump_opts *o, error *err)
{
	if (!convert_is_float(dtype_read_as(t, o)))
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%s' has dtype %s; activations are F16, BF16, F32 or F64%s",
		                 sae_file_path(f), t->name, sae_dtype_name(t->dtype),
		                 t->dtype == SAE_U16 ? " (BF16 kept as 2-byte integers: say dtype bf16)"
		                                     : "");
	if (!fits(t, o))
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%s' has %u dimensions; activations are (rows, d) or "
		                 "(contexts, ctx_len, d)",
		                 sae_file_path(f), t->name, t->n_dims);
	if (t->dims[t->n_dims - 1] == 0 || t->dims[t->n_dims - 1] > UINT32_MAX / 2)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has rows of %" PRIu64 " values",
		                 sae_file_path(f), t->name, t->dims[t->n_dims - 1]);
	if (t->n_dims == 3 && (t->dims[1] == 0 || t->dims[1] > UINT32_MAX / 2))
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has contexts of %" PRIu64 " rows",
		                 sae_file_path(f), t->name, t->dims[1]);
	if (!file_is_plain(t)) /* rows are read from anywhere, by many threads, as the file holds them */
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' is %s; save it %s", sae_file_path(f),
		                 t->name, t->packed ? "compressed" : "in Fortran order",
		                 t->packed ? "uncompressed (numpy.savez)" : "with numpy.ascontiguousarray()");
	if (sae_file_tensor(f, "mask") || sae_file_tensor(f, "lengths"))
		return error_set(
		        err, ERR_FORMAT,
		        "'%s' marks padding rows with a tensor 'mask' or 'lengths', which is not supported",
		        sae_file_path(f));
	return 0;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static int add_span(dump_spans *s, sae_file *f, const sae_tensor *t, uint64_t n, error *err)
{
	uint64_t first = s->n ? s->items[s->n - 1].first + s->items[s->n - 1].n : 0, end;

	if (__builtin_add_overflow(first, n, &end))
		return error_set(err, ERR_FORMAT, "'%s': the number of rows overflows", sae_file_path(f));
	if (mem_grow(&s->items, &s->cap, s->n + 1, sizeof(*s->items)) < 0)
		return error_nomem(err, "a list of shards");
	s->items[s->n++] = (dump_span){ f, *t, first, n };
	return 0;
}

/* Opens a file and puts it on the dump's list, which closes it in the end. */
static int add_file(sae_file **out, sae_dump *d, const char *path, error *err)
{
	int rc;

	if (mem_grow(&d->files, &d->cap_files, d->n_files + 1, sizeof(*d->files)) < 0)
		return error_nomem(err, "a list of files");
	rc = sae_file_open(out, path, err);
	if (rc == 0)
		d->files[d->n_files++] = *out;
	return rc;
}

/* Every shard stays open; a dump may have more of them than the soft limit allows. */
static void allow_open_files(size_t n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < n + 64 &&
	    limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max < n + 64 ? limit.rlim_max : n + 64;
		(void)setrlimit(RLIMIT_NOFILE, &limit); /* refused: the open that fails will say so */
	}
}

/* The shard's activations join the dump; it must agree with the first one. */
static int add_shard(sae_dump *d, sae_file *f, const sae_tensor *t, const sae_dump_opts *o, error *err)
{
	sae_tensor act = *t;
	const sae_tensor *first;
	uint64_t d_in = t->dims[t->n_dims - 1];
	int rc = check_activations(f, t, o, err);

	if (rc < 0)
		return rc;
	act.dtype = dtype_read_as(t, o);
	rc = add_span(&d->rows, f, &act, act.count / d_in, err);
	if (rc < 0)
		return rc;
	d->info.n_bytes += f->size;
	first = &d->rows.items[0].tensor;
	if (d->rows.n == 1) {
		d->info.d_in = (uint32_t)d_in;
		d->info.dtype = act.dtype;
	} else if (d_in != d->info.d_in)
		return error_set(err, ERR_FORMAT, "'%s' has rows of %" PRIu64 " values, '%s' of %u",
		                 sae_file_path(f), d_in, sae_file_path(d->rows.items[0].file), d->info.d_in);
	else if (act.dtype != first->dtype)
		return error_set(err, ERR_FORMAT, "'%s' has dtype %s, '%s' %s", sae_file_path(f),
		                 sae_dtype_name(act.dtype), sae_file_path(d->rows.items[0].file),
		                 sae_dtype_name(first->dtype));
	else if (act.n_dims != first->n_dims || (act.n_dims == 3 && act.dims[1] != first->dims[1]))
		return error_set(err, ERR_FORMAT, "'%s' has contexts of another shape than '%s'",
		                 sae_file_path(f), sae_file_path(d->rows.items[0].file));
	return 0;
}

static int open_shards(sae_dump *d, const char *const *paths, size_t n_paths, const sae_dump_opts *o,
                       error *err)
{
	dump_paths list = { 0 };
	bool named =
	        false; /* whether some file has the tensor by its name, so that an only float tensor is no candidate */
	sae_file *f;
	int rc = dump_paths_expand(&list, paths, n_paths, err);

	if (rc == 0)
		allow_open_files(2 * list.n);
	for (size_t i = 0; i < list.n && rc == 0; i++) {
		rc = add_file(&f, d, list.items[i].path, err);
		named |= rc == 0 && sae_file_tensor(f, o->key ? o->key : "activations");
	}
	for (size_t i = 0; i < list.n && rc == 0; i++) {
		const sae_tensor *t = find_activations(d->files[i], o);
		bool by_name = t && (o->key || strcmp(t->name, "activations") == 0);
		if (list.items[i].listed && (!t || !fits(t, o) || (named && !by_name)))
			continue;
		rc = t ? add_shard(d, d->files[i], t, o, err) : no_activations(d->files[i], o, err);
	}
	if (rc == 0 && d->rows.n == 0)
		rc = error_set(
		        err, ERR_FORMAT,
		        "no file of '%s' holds a tensor '%s' of floats, (rows, d) or (contexts, ctx_len, d)",
		        n_paths ? paths[0] : "", o->key ? o->key : "activations");
	dump_paths_clear(&list);
	return rc;
}

/* ---- Tokens and contexts ------------------------------------------------------------------------------------------ */

static int add_tokens(sae_dump *d, sae_file *f, const sae_tensor *t, error *err)
{
	if (!convert_is_integer(t->dtype) || t->n_dims < 1 || t->n_dims > 2)
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%s' is not a (contexts, ctx_len) list of integer token ids",
		                 sae_file_path(f), t->name);
	if (t->n_dims == 2 && t->count && t->dims[1] > UINT32_MAX / 2)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has contexts of %" PRIu64 " tokens",
		                 sae_file_path(f), t->name, t->dims[1]);
	return add_span(&d->tokens, f, t, t->count, err);
}

/* Token ids from the files the options name: in any division, as long as all rows are covered. */
static int open_token_files(sae_dump *d, const sae_dump_opts *o, error *err)
{
	dump_paths list = { 0 };
	sae_file *f;
	int rc = dump_paths_expand(&list, &o->tokens, 1, err);

	for (size_t i = 0; i < list.n && rc == 0; i++) {
		const sae_tensor *t;
		rc = add_file(&f, d, list.items[i].path, err);
		if (rc < 0)
			break;
		t = sae_file_n_tensors(f) == 1 ? sae_file_tensor_at(f, 0) : sae_file_tensor(f, "tokens");
		rc = t ? add_tokens(d, f, t, err)
		       : error_set(err, ERR_FORMAT, "'%s' has no tensor 'tokens'", list.items[i].path);
	}
	dump_paths_clear(&list);
	return rc;
}

/* Token ids from the shards themselves: from all of them, or from none. */
static int open_shard_tokens(sae_dump *d, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < d->rows.n && rc == 0; i++) {
		const dump_span *s = &d->rows.items[i];
		const sae_tensor *t = sae_file_tensor(s->file, "tokens");
		if (!t && d->tokens.n == 0)
			continue;
		if (!t || d->tokens.n < i)
			return error_set(err, ERR_FORMAT, "'%s' has no tensor 'tokens', other shards have",
			                 t ? sae_file_path(d->rows.items[0].file) : sae_file_path(s->file));
		rc = add_tokens(d, s->file, t, err);
		if (rc == 0 && t->count != s->n)
			rc = error_set(err, ERR_FORMAT, "'%s' has %" PRIu64 " rows but %" PRIu64 " tokens",
			               sae_file_path(s->file), s->n, t->count);
	}
	return rc;
}

/* One opinion on the context length; all that there are must agree. */
static int agree_ctx_len(sae_dump_info *info, uint64_t ctx_len, const char *who, error *err)
{
	if (ctx_len == 0)
		return 0;
	if (info->ctx_len && info->ctx_len != ctx_len)
		return error_set(err, ERR_FORMAT,
		                 "%s says contexts of %" PRIu64 " tokens, the options or the manifest %u",
		                 who, ctx_len, info->ctx_len);
	info->ctx_len = (uint32_t)ctx_len;
	return 0;
}

/* ctx_len (options over manifest; both must go with the shapes) and the counts that follow from it. */
static int settle_contexts(sae_dump *d, const sae_dump_opts *o, error *err)
{
	const dump_span *last = &d->rows.items[d->rows.n - 1];
	const sae_tensor *act = &d->rows.items[0].tensor;
	sae_dump_info *info = &d->info;
	char who[FILE_PATH_MAX + 2];
	int rc;

	if (o->ctx_len)
		info->ctx_len = o->ctx_len;
	snprintf(who, sizeof(who), "'%s'", sae_file_path(d->rows.items[0].file));
	rc = act->n_dims == 3 ? agree_ctx_len(info, act->dims[1], who, err) : 0;
	for (size_t i = 0; i < d->tokens.n && rc == 0; i++) {
		const dump_span *s = &d->tokens.items[i];
		snprintf(who, sizeof(who), "'%s'", sae_file_path(s->file));
		if (s->tensor.n_dims == 2 && s->n)
			rc = agree_ctx_len(info, s->tensor.dims[1], who, err);
	}
	if (rc < 0)
		return rc;
	if (info->ctx_len == 0)
		info->ctx_len = 1;
	info->n_rows = last->first + last->n;
	if (info->n_rows == 0)
		return error_set(err, ERR_FORMAT, "the dump has no rows: '%s' is empty",
		                 sae_file_path(last->file));
	if (info->n_rows % info->ctx_len)
		return error_set(err, ERR_FORMAT,
		                 "%" PRIu64 " rows are not a whole number of contexts of %u tokens",
		                 info->n_rows, info->ctx_len);
	info->n_contexts = info->n_rows / info->ctx_len;
	info->n_shards = d->rows.n;
	info->has_tokens = d->tokens.n > 0;
	if (info->has_tokens) {
		last = &d->tokens.items[d->tokens.n - 1];
		if (last->first + last->n != info->n_rows)
			return error_set(err, ERR_FORMAT,
			                 "'%s' ends at token %" PRIu64 ", the dump has %" PRIu64 " rows",
			                 sae_file_path(last->file), last->first + last->n, info->n_rows);
	}
	return 0;
}

int sae_dump_open(sae_dump **out, const char *const *paths, size_t n_paths, const sae_dump_opts *o,
                  error *err)
{
	static const sae_dump_opts none;
	sae_dump *d;
	int rc;

	if (!o)
		o = &none;
	if (o->dtype && strcmp(o->dtype, "bf16") != 0)
		return error_set(err, ERR_ARG,
		                 "dtype '%s' is not known; bf16 (for BF16 kept as 2-byte integers) is",
		                 o->dtype);
	d = calloc(1, sizeof(*d));
	if (!d)
		return error_nomem(err, "a dump");
	rc = open_shards(d, paths, n_paths, o, err);
	if (rc == 0)
		rc = o->tokens ? open_token_files(d, o, err) : open_shard_tokens(d, err);
	if (rc == 0)
		rc = manifest_load(d, o->manifest, err);
	if (rc == 0)
		rc = settle_contexts(d, o, err);
	if (rc == 0)
		rc = manifest_documents(d, err);
	if (rc < 0) {
		sae_dump_close(d);
		return rc;
	}
	*out = d;
	return 0;
}

void sae_dump_close(sae_dump *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_files; i++)
		sae_file_close(d->files[i]);
	cJSON_Delete(d->manifest);
	free(d->files);
	free(d->rows.items);
	free(d->tokens.items);
	free(d->documents);
	free(d);
}

/* ---- Reading ------------------------------------------------------------------------------------------------------- */

const sae_dump_info *sae_dump_get_info(const sae_dump *d)
{
	return &d->info;
}

const cJSON *sae_dump_manifest(const sae_dump *d)
{
	return d->manifest;
}

uint64_t sae_dump_document(const sae_dump *d, uint64_t context)
{
	return d->documents && context < d->info.n_contexts ? d->documents[context] : context;
}

const char *sae_dump_shard(const sae_dump *d, size_t i, uint64_t *n_rows)
{
	if (i >= d->rows.n)
		return NULL;
	if (n_rows)
		*n_rows = d->rows.items[i].n;
	return sae_file_path(d->rows.items[i].file);
}

/* The last span that begins at or before `row`: the one that holds it (empty ones are stepped over by the loops below). */
static size_t find_span(const dump_spans *s, uint64_t row)
{
	size_t low = 0, high = s->n - 1;

	while (low < high) {
		size_t middle = low + (high - low + 1) / 2;
		if (s->items[middle].first <= row)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static int check_rows(const sae_dump *d, uint64_t first, uint64_t n, error *err)
{
	if (first > d->info.n_rows || n > d->info.n_rows - first)
		return error_set(err, ERR_ARG,
		                 "rows %" PRIu64 " to %" PRIu64 " were asked for, the dump has %" PRIu64,
		                 first, first + n, d->info.n_rows);
	return 0;
}

/* How many of the n rows from `first` on the span holds. */
static uint64_t rows_here(const dump_span *s, uint64_t first, uint64_t n)
{
	uint64_t left = s->first + s->n - first;

	return n < left ? n : left;
}

int sae_dump_read(const sae_dump *d, uint64_t first, uint64_t n, float *out, error *err)
{
	const uint64_t width = d->info.d_in;
	int rc = check_rows(d, first, n, err);

	for (size_t i = find_span(&d->rows, first); rc == 0 && n > 0; i++) {
		const dump_span *s = &d->rows.items[i];
		uint64_t here = rows_here(s, first, n);
		rc = sae_file_read_f32(s->file, &s->tensor, (first - s->first) * width, here * width, out,
		                       err);
		out += here * width;
		first += here;
		n -= here;
	}
	return rc;
}

size_t dump_row_bytes(const sae_dump *d)
{
	return d->info.d_in * sae_dtype_size(d->info.dtype);
}

int dump_read_raw(const sae_dump *d, uint64_t first, uint64_t n, void *out, error *err)
{
	const size_t row = dump_row_bytes(d);
	unsigned char *to = out;
	int rc = check_rows(d, first, n, err);

	for (size_t i = find_span(&d->rows, first); rc == 0 && n > 0; i++) {
		const dump_span *s = &d->rows.items[i];
		uint64_t here = rows_here(s, first, n);
		rc = file_pread(s->file->fd, to, here * row, s->tensor.offset + (first - s->first) * row,
		                s->file->path, err);
		to += here * row;
		first += here;
		n -= here;
	}
	return rc;
}

void dump_advise(const sae_dump *d, uint64_t first, uint64_t n, int advice)
{
	const size_t row = dump_row_bytes(d);

	for (size_t i = find_span(&d->rows, first); n > 0 && i < d->rows.n; i++) {
		const dump_span *s = &d->rows.items[i];
		uint64_t here = rows_here(s, first, n);

		(void)posix_fadvise(s->file->fd, (off_t)(s->tensor.offset + (first - s->first) * row),
		                    (off_t)(here * row), advice);
		first += here;
		n -= here;
	}
}

/* n token ids from row `first` on, inside one span; out of range: ERR_FORMAT with the place. */
static int read_span_tokens(const dump_span *s, uint64_t first, uint64_t n, uint32_t *out, error *err)
{
	int64_t ids[512];
	int rc = 0;

	for (uint64_t done = 0, m; done < n && rc == 0; done += m) {
		m = n - done < ARRAY_LEN(ids) ? n - done : ARRAY_LEN(ids);
		rc = sae_file_read_i64(s->file, &s->tensor, first - s->first + done, m, ids, err);
		for (size_t i = 0; i < m && rc == 0; i++) {
			if (ids[i] < 0 || ids[i] > INT32_MAX)
				rc = error_set(err, ERR_FORMAT,
				               "'%s': token %" PRIu64 " of '%s' has the id %" PRId64,
				               sae_file_path(s->file), first - s->first + done + i,
				               s->tensor.name, ids[i]);
			out[done + i] = (uint32_t)ids[i];
		}
	}
	return rc;
}

int dump_read_tokens(const sae_dump *d, uint64_t first, uint64_t n, uint32_t *out, error *err)
{
	int rc = check_rows(d, first, n, err);

	for (size_t i = find_span(&d->tokens, first); rc == 0 && n > 0; i++) {
		uint64_t here = rows_here(&d->tokens.items[i], first, n);
		rc = read_span_tokens(&d->tokens.items[i], first, here, out, err);
		out += here;
		first += here;
		n -= here;
	}
	return rc;
}

int sae_dump_tokens(const sae_dump *d, uint64_t context, uint32_t *out, error *err)
{
	if (!d->info.has_tokens)
		return error_set(err, ERR_NOTFOUND, "the dump has no token ids");
	if (context >= d->info.n_contexts)
		return error_set(err, ERR_ARG, "context %" PRIu64 " was asked for, the dump has %" PRIu64,
		                 context, d->info.n_contexts);
	return dump_read_tokens(d, context * d->info.ctx_len, d->info.ctx_len, out, err);
}

void dump_place(char *out, size_t size, const sae_dump *d, uint64_t row)
{
	const dump_span *s = &d->rows.items[find_span(&d->rows, row)];

	snprintf(out, size, "row %" PRIu64 " (context %" PRIu64 ", position %" PRIu64 ") in '%s'", row,
	         row / d->info.ctx_len, row % d->info.ctx_len, sae_file_path(s->file));
}
