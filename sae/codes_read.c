/* Codes computed elsewhere, whichever way they lie on disk. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sae/codes_read.h"

enum { SOME = 512 };

/* ---- Token ids ---- */

int token_table_init(token_table *t, const sae_file *f, const sae_tensor *tensor, error *err)
{
	if (!convert_is_integer(tensor->dtype) || tensor->n_dims != 2 || tensor->count == 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%s' is not a (contexts, tokens) list of integer ids",
		                 sae_file_path(f), tensor->name);
	if (tensor->dims[0] >= UINT32_MAX || tensor->dims[1] > INT32_MAX)
		return error_set(err, ERR_LIMIT,
		                 "'%s': tensor '%s' has %" PRIu64 " contexts of %" PRIu64 " tokens",
		                 sae_file_path(f), tensor->name, tensor->dims[0], tensor->dims[1]);
	*t = (token_table){ f, tensor, tensor->dims[0], (uint32_t)tensor->dims[1] };
	return 0;
}

int token_table_read(const token_table *t, uint64_t first, uint64_t n, uint32_t *out, error *err)
{
	int64_t some[SOME];
	int rc = 0;

	for (uint64_t done = 0, m; done < n && rc == 0; done += m) {
		m = n - done < SOME ? n - done : SOME;
		rc = sae_file_read_i64(t->file, t->tensor, first + done, m, some, err);
		for (uint64_t i = 0; i < m && rc == 0; i++) {
			if (some[i] < 0 || some[i] > INT32_MAX)
				rc = error_set(err, ERR_FORMAT,
				               "'%s': token %" PRIu64 " of '%s' has the id %" PRId64,
				               sae_file_path(t->file), first + done + i, t->tensor->name,
				               some[i]);
			out[done + i] = (uint32_t)some[i];
		}
	}
	return rc;
}

/* Ids from a file of their own. */
static int open_tokens(sae_codes_reader *r, const char *path, error *err)
{
	const sae_tensor *t;
	int rc = sae_file_open(&r->tokens_file, path, err);

	if (rc < 0)
		return rc;
	t = sae_file_n_tensors(r->tokens_file) == 1 ? sae_file_tensor_at(r->tokens_file, 0)
	                                            : sae_file_tensor(r->tokens_file, "tokens");
	if (!t)
		return error_set(err, ERR_FORMAT, "'%s' has no tensor 'tokens'", path);
	return token_table_init(&r->tokens, r->tokens_file, t, err);
}

/* Everything goes together. */
static int check_whole(sae_codes_reader *r, error *err)
{
	if (r->info.n_features > SAE_MAX_CODED)
		return error_set(err, ERR_LIMIT, "'%s' is of %u features; %d are possible", r->info.path,
		                 r->info.n_features, SAE_MAX_CODED);
	if (r->info.n_rows == 0)
		return error_set(err, ERR_FORMAT, "'%s' is of no tokens", r->info.path);
	if (r->tokens.tensor && r->tokens.tensor->count != r->info.n_rows)
		return error_set(
		        err, ERR_FORMAT, "'%s' has %" PRIu64 " tokens, the codes '%s' are of %" PRIu64,
		        sae_file_path(r->tokens.file), r->tokens.tensor->count, r->info.path, r->info.n_rows);
	r->info.has_tokens = r->tokens.tensor;
	r->info.ctx_len = r->tokens.ctx_len;
	return 0;
}

/* ---- What both kinds have ---- */

/* 64 lower-case hexadecimal digits, else nothing. */
static void take_digest(char out[SHA256_HEX], const char *hex)
{
	if (hex && strlen(hex) == SHA256_HEX - 1 && strspn(hex, "0123456789abcdef") == SHA256_HEX - 1)
		memcpy(out, hex, SHA256_HEX);
}

void codes_read_metadata(sae_codes_info *info, const sae_file *f)
{
	take_digest(info->weights_sha256, sae_file_metadata(f, "weights_sha256"));
	take_digest(info->dump_sha256, sae_file_metadata(f, "dump_sha256"));
}

int codes_find_kept(sae_codes_reader *r, const sae_file *f, error *err)
{
	const sae_tensor *t = sae_file_tensor(f, "kept");

	if (!t)
		return 0;
	if (convert_is_float(t->dtype) || t->count != r->info.n_rows)
		return error_set(err, ERR_FORMAT, "'%s': 'kept' is not %" PRIu64 " whole numbers, one a row",
		                 sae_file_path(f), r->info.n_rows);
	r->kept = t;
	r->kept_file = f;
	r->info.has_kept = true;
	return 0;
}

/* ---- The reader ---- */

int sae_codes_reader_open(sae_codes_reader **out, const char *path, const char *tokens, error *err)
{
	sae_codes_reader *r = calloc(1, sizeof(*r));
	struct stat st;
	int rc = r ? 0 : error_nomem(err, "codes");

	if (rc < 0)
		return rc;
	r->info.path = path;
	if (tokens)
		rc = open_tokens(r, tokens, err);
	if (rc == 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		rc = codes_cache_open(r, path, err);
	else if (rc == 0)
		rc = codes_csr_open(r, path, err);
	if (rc == 0)
		rc = check_whole(r, err);
	if (rc < 0) {
		sae_codes_reader_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

void sae_codes_reader_close(sae_codes_reader *r)
{
	if (!r)
		return;
	codes_csr_close(r->csr);
	codes_cache_close(r->cache);
	sae_file_close(r->tokens_file);
	free(r);
}

const sae_codes_info *sae_codes_reader_get_info(const sae_codes_reader *r)
{
	return &r->info;
}

int sae_codes_reader_read(sae_codes_reader *r, uint64_t first, uint64_t n, sae_codes *out, error *err)
{
	int rc;

	out->n = 0;
	if (mem_grow(&out->first, &out->first_room, (size_t)n + 1, sizeof(*out->first)) < 0)
		return error_nomem(err, "sparse codes");
	rc = r->csr ? codes_csr_read(r, first, n, out, err) : codes_cache_read(r, first, n, out, err);
	if (rc == 0)
		out->n = (size_t)n;
	return rc;
}

int sae_codes_reader_tokens(const sae_codes_reader *r, uint64_t first, uint64_t n, uint32_t *out, error *err)
{
	if (!r->tokens.tensor)
		return error_set(err, ERR_NOTFOUND, "'%s' has no token ids", r->info.path);
	return token_table_read(&r->tokens, first, n, out, err);
}

int sae_codes_reader_kept(const sae_codes_reader *r, uint64_t first, uint64_t n, uint8_t *out, error *err)
{
	int64_t some[SOME];
	int rc = 0;

	if (!r->kept) {
		memset(out, 1, (size_t)n);
		return 0;
	}
	for (uint64_t done = 0, m; done < n && rc == 0; done += m) {
		m = n - done < SOME ? n - done : SOME;
		rc = sae_file_read_i64(r->kept_file, r->kept, first + done, m, some, err);
		for (uint64_t i = 0; i < m && rc == 0; i++)
			out[done + i] = some[i] != 0;
	}
	return rc;
}
