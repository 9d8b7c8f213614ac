/* Activation dumps: many tensor files read as one (rows, d) matrix and one list of token ids. The shard list, the open
 * files and their shapes are fixed at open; a shard that shrinks later is an error of the read that meets it. */
#include "sae/dump_internal.h"
#include "sae/raw.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- Finding the activations of a file --------------------------------------------------------------------------- */

/* Two-byte integers count as BF16 where the options say so. */
static sae_dtype dtype_read_as(const sae_tensor *t, const sae_dump_opts *o)
{
	return o->dtype && strcmp(o->dtype, "bf16") == 0 && (t->dtype == SAE_U16 || t->dtype == SAE_I16)
	               ? SAE_BF16
	               : t->dtype;
}

static bool fits(const sae_tensor *t, const sae_dump_opts *o)
{
	return convert_is_float(dtype_read_as(t, o)) && t->n_dims >= 2 && t->n_dims <= 4;
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

/* Whether it is open which tensor of the file is meant. */
static bool several_fit(const sae_file *f, const sae_dump_opts *o)
{
	size_t n = 0;

	for (size_t i = 0; i < sae_file_n_tensors(f); i++)
		n += fits(sae_file_tensor_at(f, i), o);
	return n > 1;
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
	sae_dtype dtype = dtype_read_as(t, o), wanted;

	if (!convert_is_float(dtype))
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%s' has dtype %s; activations are F16, BF16, F32 or F64%s",
		                 sae_file_path(f), t->name, sae_dtype_name(t->dtype),
		                 t->dtype == SAE_U16 || t->dtype == SAE_I16
		                         ? " (BF16 kept as 2-byte integers: say dtype bf16)"
		                         : "");
	if (o->dtype && raw_dtype_option(&wanted, o->dtype) == 0 && wanted != SAE_BF16 && wanted != dtype)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has dtype %s, the options say %s",
		                 sae_file_path(f), t->name, sae_dtype_name(dtype), o->dtype);
	if (!file_is_plain(t)) /* rows are read from anywhere, by many threads, as the file holds them */
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' is %s; save it %s", sae_file_path(f),
		                 t->name, t->packed ? "compressed" : "in Fortran order",
		                 t->packed ? "uncompressed (numpy.savez)" : "with numpy.ascontiguousarray()");
	return 0;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

int dump_add_span(dump_spans *s, sae_file *f, const sae_tensor *t, uint64_t n, error *err)
{
	uint64_t first = s->n ? s->items[s->n - 1].first + s->items[s->n - 1].n : 0, end;

	if (__builtin_add_overflow(first, n, &end))
		return error_set(err, ERR_FORMAT, "'%s': the number of rows overflows", sae_file_path(f));
	if (mem_grow(&s->items, &s->cap, s->n + 1, sizeof(*s->items)) < 0)
		return error_nomem(err, "a list of shards");
	s->items[s->n++] = (dump_span){ .file = f, .tensor = *t, .first = first, .n = n };
	return 0;
}

/* Opens a file and puts it on the dump's list, which closes it in the end. ERR_NOTFOUND: raw, and nothing tells its shape. */
int dump_add_file(sae_file **out, sae_dump *d, const char *path, const sae_dump_opts *o, error *err)
{
	static const sae_dump_opts none;
	int rc;

	if (mem_grow(&d->files, &d->cap_files, d->n_files + 1, sizeof(*d->files)) < 0)
		return error_nomem(err, "a list of files");
	rc = raw_named(path) ? raw_open(out, path, o ? o : &none, err) : sae_file_open(out, path, err);
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
	const dump_span *first;
	dump_span *own;
	dump_shape s;
	int rc = check_activations(f, t, o, err);

	if (rc == 0)
		rc = dump_shape_of(&s, f, t, o, err);
	if (rc < 0)
		return rc;
	act.dtype = dtype_read_as(t, o);
	rc = dump_add_span(&d->rows, f, &act, s.n_rows, err);
	if (rc < 0)
		return rc;
	d->info.n_bytes += f->size;
	own = &d->rows.items[d->rows.n - 1];
	own->ctx_len = s.ctx_len;
	own->at = s.at;
	first = &d->rows.items[0];
	if (d->rows.n == 1) {
		d->info.d_in = (uint32_t)s.d;
		d->info.dtype = act.dtype;
		d->info.n_heads = s.n_heads;
		d->info.head = s.head;
	} else if (s.d != d->info.d_in)
		return error_set(err, ERR_FORMAT, "'%s' has rows of %" PRIu64 " values, '%s' of %u",
		                 sae_file_path(f), s.d, sae_file_path(first->file), d->info.d_in);
	else if (act.dtype != first->tensor.dtype)
		return error_set(err, ERR_FORMAT, "'%s' has dtype %s, '%s' %s", sae_file_path(f),
		                 sae_dtype_name(act.dtype), sae_file_path(first->file),
		                 sae_dtype_name(first->tensor.dtype));
	else if (s.ctx_len != first->ctx_len || s.n_heads != d->info.n_heads)
		return error_set(err, ERR_FORMAT, "'%s' has contexts of another shape than '%s'",
		                 sae_file_path(f), sae_file_path(first->file));
	return 0;
}

/* Opens the files of the list. It loses those that are raw, were not asked for by name and are not described; of the last of
 * them *passed tells. */
static int open_files(sae_dump *d, dump_paths *list, const sae_dump_opts *o, error *passed, error *err)
{
	error cause = { 0 };
	sae_file *f;
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; i < list->n && rc == 0; i++) {
		rc = dump_add_file(&f, d, list->items[i].path, o, &cause);
		if (rc == ERR_NOTFOUND && list->items[i].listed) {
			free(list->items[i].path);
			list->items[i].path = NULL;
			*passed = cause;
			rc = 0;
		} else if (rc == 0) {
			dump_path kept = list->items[i];
			list->items[i].path = NULL;
			list->items[n++] = kept;
		}
	}
	if (rc == 0)
		list->n = n;
	return rc < 0 ? error_set(err, rc, "%s", cause.msg) : 0;
}

static int open_shards(sae_dump *d, const char *const *paths, size_t n_paths, const sae_dump_opts *o,
                       error *err)
{
	const char *key = o->key ? o->key : "activations";
	dump_paths list = { 0 };
	bool named =
	        false; /* whether some file has the tensor by its name, so that an only float tensor is no candidate */
	error passed = { 0 };
	int rc = dump_paths_expand(&list, paths, n_paths, err);

	if (rc == 0) {
		allow_open_files(2 * list.n);
		rc = open_files(d, &list, o, &passed, err);
	}
	for (size_t i = 0; i < d->n_files; i++)
		named |= sae_file_tensor(d->files[i], key) != NULL;
	for (size_t i = 0; i < list.n && rc == 0; i++) {
		const sae_tensor *t = find_activations(d->files[i], o);
		bool by_name = t && (o->key || strcmp(t->name, "activations") == 0);
		if (list.items[i].listed && (!t || !fits(t, o) || (named && !by_name)))
			continue;
		rc = t ? add_shard(d, d->files[i], t, o, err) : no_activations(d->files[i], o, err);
	}
	if (rc == 0 && d->rows.n == 0 && passed.code)
		rc = error_set(err, passed.code, "%s", passed.msg);
	else if (rc == 0 && d->rows.n == 0 && !o->key && several_fit(d->files[0], o))
		rc = no_activations(d->files[0], o, err);
	else if (rc == 0 && d->rows.n == 0)
		rc = error_set(
		        err, ERR_FORMAT,
		        "no file of '%s' holds a tensor '%s' of floats, (rows, d) or (contexts, ctx_len, d)",
		        n_paths ? paths[0] : "", key);
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
	return dump_add_span(&d->tokens, f, t, t->count, err);
}

/* Token ids from the files the options name: in any division, as long as all rows are covered. */
static int open_token_files(sae_dump *d, const sae_dump_opts *o, error *err)
{
	dump_paths list = { 0 };
	sae_file *f;
	int rc = dump_paths_expand(&list, &o->tokens, 1, err);

	for (size_t i = 0; i < list.n && rc == 0; i++) {
		const sae_tensor *t;
		rc = dump_add_file(&f, d, list.items[i].path, NULL, err);
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

/* ctx_len (options over manifest; both must go with the shapes; 0 where nothing tells it) and the number of rows. */
static int settle_contexts(sae_dump *d, const sae_dump_opts *o, error *err)
{
	const dump_span *last = &d->rows.items[d->rows.n - 1];
	sae_dump_info *info = &d->info;
	char who[FILE_PATH_MAX + 2];
	int rc;

	if (o->ctx_len)
		info->ctx_len = o->ctx_len;
	snprintf(who, sizeof(who), "'%s'", sae_file_path(d->rows.items[0].file));
	rc = agree_ctx_len(info, d->rows.items[0].ctx_len, who, err);
	for (size_t i = 0; i < d->tokens.n && rc == 0; i++) {
		const dump_span *s = &d->tokens.items[i];
		snprintf(who, sizeof(who), "'%s'", sae_file_path(s->file));
		if (s->tensor.n_dims == 2 && s->n)
			rc = agree_ctx_len(info, s->tensor.dims[1], who, err);
	}
	if (rc < 0)
		return rc;
	info->n_rows = last->first + last->n;
	if (info->n_rows == 0)
		return error_set(err, ERR_FORMAT, "the dump has no rows: '%s' is empty",
		                 sae_file_path(last->file));
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
	sae_dtype dtype;
	sae_dump *d;
	int rc;

	if (!o)
		o = &none;
	if (o->dtype && raw_dtype_option(&dtype, o->dtype) < 0)
		return error_set(
		        err, ERR_ARG,
		        "dtype '%s' is not known; f16, bf16 (also for BF16 kept as 2-byte integers), "
		        "f32 and f64 are",
		        o->dtype);
	d = calloc(1, sizeof(*d));
	if (!d)
		return error_nomem(err, "a dump");
	rc = open_shards(d, paths, n_paths, o, err);
	if (rc == 0)
		rc = o->tokens ? open_token_files(d, o, err) : open_shard_tokens(d, err);
	if (rc == 0)
		rc = manifest_load(d, o->manifest, o->key, err);
	if (rc == 0)
		rc = settle_contexts(d, o, err);
	if (rc == 0)
		rc = contexts_load(d, o, err);
	if (rc == 0)
		rc = manifest_documents(d, err);
	if (rc == 0) {
		contexts_drop_empty(d);
		rc = roles_load(d, o, err);
	}
	if (rc < 0) {
		sae_dump_close(d);
		return rc;
	}
	d->width = d->info.d_in;
	*out = d;
	return 0;
}

void sae_dump_close(sae_dump *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n_beside; i++)
		sae_dump_close(d->beside[i]);
	for (size_t i = 0; i < d->n_files; i++)
		sae_file_close(d->files[i]);
	cJSON_Delete(d->manifest);
	free(d->manifest_path);
	free(d->files);
	free(d->rows.items);
	free(d->tokens.items);
	free(d->documents);
	free(d->contexts);
	rowset_clear(&d->real);
	rowset_clear(&d->other_role);
	free(d);
}
