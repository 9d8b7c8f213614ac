/* delphi's cache of latents: files of one range of latents each, whose rows (context, position, latent) ascend. So the rows of some
 * contexts lie together in each file; those of all files, in the order of their latents, are the codes of these contexts. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/codes_read.h"

enum { BLOCK_ROWS = 1 << 13 }; /* read at a time */
enum { CONFIG_MAX_BYTES = 1 << 20, MAX_SPLITS = 1 << 14 };

typedef struct split { /* one file */
	sae_file *f;
	const sae_tensor *locations, *activations, *tokens; /* (n, 3), (n), (contexts, ctx_len) or NULL */
	uint32_t first, last;                               /* latents */
	uint64_t next;                                      /* the first row that was not read yet */
} split;

struct codes_cache {
	split *splits;
	size_t n, cap;
	uint64_t next; /* the context that the splits' next rows are of, or a later one */
	cJSON *config;
	int64_t where[3 * BLOCK_ROWS];
	float value[BLOCK_ROWS];
	uint32_t *row; /* of each code found, in the order of the files */
	uint32_t *index;
	float *found;
	size_t n_found, row_cap, index_cap, found_cap;
};

/* ---- Files ---- */

/* "FIRST_LAST.safetensors" */
static bool split_name(uint32_t *first, uint32_t *last, const char *name)
{
	uint32_t *numbers[] = { first, last };

	for (int i = 0; i < 2; i++) {
		char *end;
		unsigned long value;

		if (!isdigit((unsigned char)*name))
			return false;
		errno = 0;
		value = strtoul(name, &end, 10);
		if (errno || value > INT32_MAX - 1 || *end != (i ? '.' : '_'))
			return false;
		*numbers[i] = (uint32_t)value;
		name = end + 1;
	}
	return strcmp(name, "safetensors") == 0;
}

static int by_first(const void *a, const void *b)
{
	const split *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static int list_splits(codes_cache *c, const char *dir, error *err)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int rc = 0;

	if (!d)
		return error_errno(err, errno, "cannot read the folder '%s'", dir);
	while (rc == 0 && (entry = readdir(d)) != NULL) {
		split s = { 0 };

		if (!split_name(&s.first, &s.last, entry->d_name))
			continue;
		if (c->n == MAX_SPLITS)
			rc = error_set(err, ERR_LIMIT, "'%s' has more than %d files of latents", dir,
			               MAX_SPLITS);
		else if (mem_grow(&c->splits, &c->cap, c->n + 1, sizeof(s)) < 0)
			rc = error_nomem(err, "a cache of latents");
		else
			c->splits[c->n++] = s;
	}
	closedir(d);
	if (rc == 0 && c->n == 0)
		rc = error_set(
		        err, ERR_FORMAT,
		        "'%s' has no file of latents, named like 0_1023.safetensors: is it the folder of one "
		        "hook point?",
		        dir);
	if (rc == 0)
		qsort(c->splits, c->n, sizeof(*c->splits), by_first);
	return rc;
}

/* Each begins where the one before ends. */
static int check_splits(uint32_t *n_features, const codes_cache *c, const char *dir, error *err)
{
	uint32_t next = 0;

	for (size_t i = 0; i < c->n; i++) {
		const split *s = &c->splits[i];

		if (s->last < s->first)
			return error_set(err, ERR_FORMAT, "'%s': %u_%u.safetensors ends before it begins",
			                 dir, s->first, s->last);
		if (s->first > next)
			return error_set(err, ERR_FORMAT, "'%s' has no file for latents %u to %u", dir, next,
			                 s->first - 1);
		if (s->first < next)
			return error_set(err, ERR_FORMAT, "'%s': latent %u is in two files", dir, s->first);
		next = s->last + 1;
	}
	*n_features = next;
	return 0;
}

static int find_tensor(const sae_tensor **out, const sae_file *f, const char *name, error *err)
{
	*out = sae_file_tensor(f, name);
	return *out ? 0 : error_set(err, ERR_FORMAT, "'%s' has no tensor '%s'", sae_file_path(f), name);
}

static int open_split(split *s, const char *dir, error *err)
{
	char path[FILE_PATH_MAX];
	int rc;

	if ((size_t)snprintf(path, sizeof(path), "%s/%u_%u.safetensors", dir, s->first, s->last) >=
	    sizeof(path))
		return error_set(err, ERR_LIMIT, "the path '%.100s...' is too long", dir);
	rc = sae_file_open(&s->f, path, err);
	if (rc == 0)
		rc = find_tensor(&s->locations, s->f, "locations", err);
	if (rc == 0)
		rc = find_tensor(&s->activations, s->f, "activations", err);
	if (rc < 0)
		return rc;
	s->tokens = sae_file_tensor(s->f, "tokens");
	if (!convert_is_integer(s->locations->dtype) || s->locations->n_dims != 2 ||
	    s->locations->dims[1] != 3)
		return error_set(err, ERR_FORMAT, "'%s': 'locations' is not a (n, 3) list of whole numbers",
		                 path);
	if (!convert_is_float(s->activations->dtype) || s->activations->n_dims != 1)
		return error_set(err, ERR_FORMAT, "'%s': 'activations' is not a list of floats", path);
	if (s->locations->dims[0] != s->activations->count)
		return error_set(err, ERR_FORMAT, "'%s': %" PRIu64 " locations, but %" PRIu64 " activations",
		                 path, s->locations->dims[0], s->activations->count);
	return 0;
}

/* The ids of another file must be those of the first that has any. */
static int compare_tokens(codes_cache *c, const token_table *t, const split *s, error *err)
{
	int64_t *mine = c->where, *theirs = c->where + BLOCK_ROWS;
	int rc = 0;

	if (s->tokens->n_dims != 2 || s->tokens->dims[0] != t->n_contexts || s->tokens->dims[1] != t->ctx_len)
		return error_set(err, ERR_FORMAT, "'%s': 'tokens' has another shape than in '%s'",
		                 sae_file_path(s->f), sae_file_path(t->file));
	for (uint64_t i = 0; i < t->tensor->count && rc == 0; i += BLOCK_ROWS) {
		uint64_t n = t->tensor->count - i < BLOCK_ROWS ? t->tensor->count - i : BLOCK_ROWS;

		rc = sae_file_read_i64(t->file, t->tensor, i, n, mine, err);
		if (rc == 0)
			rc = sae_file_read_i64(s->f, s->tokens, i, n, theirs, err);
		if (rc == 0 && memcmp(mine, theirs, n * sizeof(*mine)) != 0)
			rc = error_set(err, ERR_FORMAT, "'%s': 'tokens' differs from that of '%s'",
			               sae_file_path(s->f), sae_file_path(t->file));
	}
	return rc;
}

static int find_tokens(sae_codes_reader *r, error *err)
{
	codes_cache *c = r->cache;
	int rc = 0;

	for (size_t i = 0; i < c->n && rc == 0; i++) {
		const split *s = &c->splits[i];

		if (s->tokens && r->tokens.tensor)
			rc = compare_tokens(c, &r->tokens, s, err);
		else if (s->tokens)
			rc = token_table_init(&r->tokens, s->f, s->tokens, err);
	}
	if (rc == 0 && !r->tokens.tensor)
		rc = error_set(
		        err, ERR_FORMAT,
		        "'%s' has no tensor 'tokens': the cache was written without them; give them with "
		        "--tokens",
		        sae_file_path(c->splits[0].f));
	if (rc == 0) {
		r->info.ctx_len = r->tokens.ctx_len;
		r->info.n_rows = r->tokens.tensor->count;
	}
	return rc;
}

/* config.json may be missing. */
static int read_config(sae_codes_reader *r, const char *dir, error *err)
{
	char path[FILE_PATH_MAX];
	int rc;

	if ((size_t)snprintf(path, sizeof(path), "%s/config.json", dir) >= sizeof(path) || !file_exists(path))
		return 0;
	rc = json_read_file(&r->cache->config, path, CONFIG_MAX_BYTES, err);
	if (rc == 0 && !cJSON_IsObject(r->cache->config))
		rc = error_set(err, ERR_FORMAT, "'%s' is not a JSON object", path);
	return rc < 0 ? rc : json_get_string(&r->info.model, r->cache->config, "model_name", path, err);
}

/* Of the files in the order of their latents. */
static int hash_files(sae_codes_reader *r, error *err)
{
	char one[SHA256_HEX], line[SHA256_HEX + 64];
	sha256 h;
	int rc = sha256_init(&h, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < r->cache->n && rc == 0; i++) {
		const split *s = &r->cache->splits[i];

		rc = sha256_file(one, sae_file_path(s->f), err);
		snprintf(line, sizeof(line), "%u_%u %s\n", s->first, s->last, rc < 0 ? "" : one);
		sha256_add(&h, line, strlen(line));
	}
	sha256_end(&h, r->info.sha256);
	return rc;
}

int codes_cache_open(sae_codes_reader *r, const char *dir, error *err)
{
	codes_cache *c = calloc(1, sizeof(*c));
	int rc = c ? 0 : error_nomem(err, "a cache of latents");

	r->cache = c;
	if (rc == 0)
		rc = list_splits(c, dir, err);
	if (rc == 0)
		rc = check_splits(&r->info.n_features, c, dir, err);
	for (size_t i = 0; rc == 0 && i < c->n; i++)
		rc = open_split(&c->splits[i], dir, err);
	if (rc == 0)
		rc = find_tokens(r, err);
	if (rc == 0)
		rc = codes_find_kept(r, c->splits[0].f, err);
	if (rc == 0)
		rc = read_config(r, dir, err);
	if (rc == 0)
		rc = hash_files(r, err);
	if (rc == 0)
		codes_read_metadata(&r->info, c->splits[0].f);
	return rc;
}

void codes_cache_close(codes_cache *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		sae_file_close(c->splits[i].f);
	cJSON_Delete(c->config);
	free(c->splits);
	free(c->row);
	free(c->index);
	free(c->found);
	free(c);
}

/* ---- Contexts ---- */

static int check_row(const sae_codes_info *info, const split *s, uint64_t row, const int64_t where[3],
                     float value, error *err)
{
	const uint64_t most[] = { info->n_rows / info->ctx_len, info->ctx_len, s->last - s->first + 1 };
	const char *const names[] = { "context", "position", "latent" };

	for (int i = 0; i < 3; i++) {
		if (where[i] < 0 || (uint64_t)where[i] >= most[i])
			return error_set(err, ERR_FORMAT,
			                 "'%s': row %" PRIu64 " of 'locations' is of %s %" PRId64
			                 ", there are %" PRIu64,
			                 sae_file_path(s->f), row, names[i], where[i], most[i]);
	}
	if (!isfinite(value))
		return error_set(err, ERR_FORMAT, "'%s': row %" PRIu64 " of 'activations' is %g",
		                 sae_file_path(s->f), row, (double)value);
	return 0;
}

static bool ascends(const int64_t before[3], const int64_t where[3])
{
	for (int i = 0; i < 3; i++)
		if (before[i] != where[i])
			return before[i] < where[i];
	return false;
}

/* The first row of this context or a later one, where rows ascend. */
static int find_row(uint64_t *out, const split *s, int64_t context, error *err)
{
	uint64_t low = 0, high = s->activations->count;
	int rc = 0;

	while (low < high && rc == 0) {
		uint64_t middle = low + (high - low) / 2;
		int64_t found;

		rc = sae_file_read_i64(s->f, s->locations, 3 * middle, 1, &found, err);
		if (found < context)
			low = middle + 1;
		else
			high = middle;
	}
	*out = low;
	return rc;
}

static int keep(codes_cache *c, uint64_t row, uint32_t latent, float value)
{
	size_t n = c->n_found + 1;

	if (mem_grow(&c->row, &c->row_cap, n, sizeof(*c->row)) < 0 ||
	    mem_grow(&c->index, &c->index_cap, n, sizeof(*c->index)) < 0 ||
	    mem_grow(&c->found, &c->found_cap, n, sizeof(*c->found)) < 0)
		return ERR_NOMEM;
	c->row[c->n_found] = (uint32_t)row;
	c->index[c->n_found] = latent;
	c->found[c->n_found++] = value;
	return 0;
}

/* The rows of contexts first .. end - 1 from s->next on, which then is behind them. */
static int read_split(sae_codes_reader *r, split *s, int64_t first, int64_t end, error *err)
{
	codes_cache *c = r->cache;
	uint64_t n = s->activations->count;
	int64_t before[3] = { first, -1, -1 };

	while (s->next < n) {
		uint64_t block = n - s->next < BLOCK_ROWS ? n - s->next : BLOCK_ROWS;
		int rc = sae_file_read_i64(s->f, s->locations, 3 * s->next, 3 * block, c->where, err);

		if (rc == 0)
			rc = sae_file_read_f32(s->f, s->activations, s->next, block, c->value, err);
		for (uint64_t i = 0; i < block && rc == 0; i++, s->next++) {
			const int64_t *where = c->where + 3 * i;

			rc = check_row(&r->info, s, s->next, where, c->value[i], err);
			if (rc < 0 || where[0] >= end)
				return rc;
			if (!ascends(before, where))
				return error_set(err, ERR_FORMAT,
				                 "'%s': row %" PRIu64
				                 " of 'locations' is not behind the one before it: rows must "
				                 "ascend by context, position and latent, none twice",
				                 sae_file_path(s->f), s->next);
			memcpy(before, where, sizeof(before));
			if (c->value[i] > 0)
				rc = keep(c,
				          (uint64_t)(where[0] - first) * r->info.ctx_len + (uint64_t)where[1],
				          s->first + (uint32_t)where[2], c->value[i]);
			else
				r->info.n_dropped++;
			if (rc < 0)
				return error_nomem(err, "a cache of latents");
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* What was found, row by row: files follow each other by latent, so each row's codes ascend. */
static void place(const codes_cache *c, sae_codes *out, size_t rows)
{
	memset(out->first, 0, (rows + 1) * sizeof(*out->first));
	for (size_t i = 0; i < c->n_found; i++)
		out->first[c->row[i] + 1]++;
	for (size_t i = 0; i < rows; i++)
		out->first[i + 1] += out->first[i];
	for (size_t i = 0; i < c->n_found; i++) {
		size_t at = out->first[c->row[i]]++;

		out->index[at] = c->index[i];
		out->value[at] = c->found[i];
	}
	memmove(out->first + 1, out->first,
	        rows * sizeof(*out->first)); /* each went on to where the next begins */
	out->first[0] = 0;
}

int codes_cache_read(sae_codes_reader *r, uint64_t first, uint64_t n, sae_codes *out, error *err)
{
	codes_cache *c = r->cache;
	uint64_t context = first / r->info.ctx_len, end = (first + n) / r->info.ctx_len;
	int rc = 0;

	if (first % r->info.ctx_len || n % r->info.ctx_len || n >= UINT32_MAX)
		return error_set(err, ERR_ARG, "'%s' is read by whole contexts of %u tokens, %u at most",
		                 r->info.path, r->info.ctx_len, UINT32_MAX / r->info.ctx_len);
	c->n_found = 0;
	for (size_t i = 0; i < c->n && rc == 0; i++) {
		if (context != c->next)
			rc = find_row(&c->splits[i].next, &c->splits[i], (int64_t)context, err);
		if (rc == 0)
			rc = read_split(r, &c->splits[i], (int64_t)context, (int64_t)end, err);
	}
	c->next = rc < 0 ? UINT64_MAX : end;
	if (rc < 0)
		return rc;
	if (mem_grow(&out->index, &out->index_room, c->n_found + 1, sizeof(*out->index)) < 0 ||
	    mem_grow(&out->value, &out->value_room, c->n_found + 1, sizeof(*out->value)) < 0)
		return error_nomem(err, "sparse codes");
	place(c, out, (size_t)n);
	return 0;
}
