/* A run's whole state in one safetensors file. `sha256_header` covers version, configuration, progress and the list of
 * arrays, so that they can be believed before the arrays are read; `sha256` covers that and every byte of the arrays. */
#include "sae/checkpoint.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sae/file_internal.h"

enum {
	JSON_BYTES = 64 << 20,  /* of the configuration or the progress */
	JSON_DEPTH = 32,        /* of the same */
	READ_BLOCK = 1 << 20,   /* bytes read, then hashed while they are in the cache */
	HEADER_ROOM = 64 << 10, /* for the metadata, in the forecast */
	ARRAY_ROOM = 256        /* for one array's line in the header */
};

static const char file_kind[] = "gloss checkpoint", state_name[] = "state.safetensors";

struct checkpoint {
	sae_file *file;
	cJSON *config, *progress;
	const char *header_hash, *hash; /* in the file's metadata */
};

static int state_path(char out[FILE_PATH_MAX], char folder[FILE_PATH_MAX], const char *dir, error *err)
{
	int rc = file_join(folder, dir, "checkpoint", err);

	return rc < 0 ? rc : file_join(out, folder, state_name, err);
}

/* ---- Space ---------------------------------------------------------------------------------------------------------- */

uint64_t checkpoint_bytes(const checkpoint_array *a, size_t n)
{
	uint64_t bytes = HEADER_ROOM;

	for (size_t i = 0; i < n; i++)
		bytes += ARRAY_ROOM + (uint64_t)a[i].n * sae_dtype_size(a[i].dtype);
	return bytes;
}

int checkpoint_check_space(const char *dir, uint64_t bytes, error *err)
{
	uint64_t available;
	int rc = file_space(&available, dir, err);

	if (rc == 0 && bytes > available)
		return error_set(err, ERR_LIMIT,
		                 "no room for a checkpoint in '%s': %" PRIu64 " bytes are needed, %" PRIu64
		                 " are free",
		                 dir, bytes, available);
	return rc;
}

/* ---- Hashes ----------------------------------------------------------------------------------------------------------- */

/* A number in front of each text keeps "ab" + "c" apart from "a" + "bc". */
static void hash_text(sha256 *h, const char *s)
{
	char length[32];
	int n = snprintf(length, sizeof(length), "%zu:", strlen(s));

	sha256_add(h, length, (size_t)n);
	sha256_add(h, s, strlen(s));
}

static void hash_array_header(sha256 *h, const char *name, sae_dtype dtype, uint64_t n)
{
	char count[32];

	snprintf(count, sizeof(count), "%" PRIu64, n);
	hash_text(h, name);
	hash_text(h, sae_dtype_name(dtype));
	hash_text(h, count);
}

static int hash_start(sha256 *h, const char *version, const char *config, const char *done, error *err)
{
	int rc = sha256_init(h, err);

	if (rc < 0)
		return rc;
	hash_text(h, version);
	hash_text(h, config);
	hash_text(h, done);
	return 0;
}

static int hash_all(char header[SHA256_HEX], char all[SHA256_HEX], const char *version, const char *config,
                    const char *done, const checkpoint_array *a, size_t n, error *err)
{
	sha256 h;
	int rc = hash_start(&h, version, config, done, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		hash_array_header(&h, a[i].name, a[i].dtype, a[i].n);
	sha256_end(&h, header);
	rc = sha256_init(&h, err);
	if (rc < 0)
		return rc;
	hash_text(&h, header);
	for (size_t i = 0; i < n; i++)
		sha256_add(&h, a[i].data, a[i].n * sae_dtype_size(a[i].dtype));
	sha256_end(&h, all);
	return 0;
}

/* ---- Saving ------------------------------------------------------------------------------------------------------------ */

/* What a killed save left would fill the disk; failing to take it away does no harm. */
static void remove_leftovers(const char *folder)
{
	DIR *d = opendir(folder);
	const struct dirent *entry;

	while (d && (entry = readdir(d))) {
		const char *name = entry->d_name;
		size_t n = strlen(name);

		if (n > sizeof(state_name) + 5 && strncmp(name, state_name, sizeof(state_name) - 1) == 0 &&
		    strcmp(name + n - 5, ".part") == 0)
			unlinkat(dirfd(d), name, 0);
	}
	if (d)
		closedir(d);
}

static int write_state(const char *path, const char *config, const char *done, const checkpoint_array *a,
                       size_t n, error *err)
{
	char version[16], header[SHA256_HEX], all[SHA256_HEX];
	const char *metadata[] = { "format",   file_kind, "version",       version, "config", config,
		                   "progress", done,      "sha256_header", header,  "sha256", all };
	sae_tensor_out *tensors;
	int rc;

	snprintf(version, sizeof(version), "%d", CHECKPOINT_VERSION);
	rc = hash_all(header, all, version, config, done, a, n, err);
	if (rc < 0)
		return rc;
	tensors = calloc(n + 1, sizeof(*tensors));
	if (!tensors)
		return error_nomem(err, "a checkpoint");
	for (size_t i = 0; i < n; i++)
		tensors[i] = (sae_tensor_out){ a[i].name, a[i].dtype, 1, { a[i].n }, a[i].data };
	rc = sae_safetensors_write(path, tensors, n, metadata, ARRAY_LEN(metadata) / 2, err);
	free(tensors);
	return rc;
}

int checkpoint_save(const char *dir, const cJSON *config, const cJSON *done, const checkpoint_array *a,
                    size_t n, error *err)
{
	char path[FILE_PATH_MAX], folder[FILE_PATH_MAX];
	char *config_text = json_print_canonical(config), *done_text = json_print_canonical(done);
	int rc;

	if (!config_text || !done_text)
		rc = error_nomem(err, "a checkpoint's configuration");
	else
		rc = state_path(path, folder, dir, err);
	if (rc == 0)
		rc = file_mkdir(folder, err);
	if (rc < 0)
		goto out;
	remove_leftovers(folder);
	rc = write_state(path, config_text, done_text, a, n, err);
out:
	free(done_text);
	free(config_text);
	return rc;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------------- */

bool checkpoint_exists(const char *dir)
{
	char path[FILE_PATH_MAX], folder[FILE_PATH_MAX];

	return state_path(path, folder, dir, NULL) == 0 && file_exists(path);
}

static int check_version(const checkpoint *c, error *err)
{
	const char *path = checkpoint_path(c), *kind = sae_file_metadata(c->file, "format"),
	           *digits = sae_file_metadata(c->file, "version");
	unsigned long version;
	char *end;

	if (!kind || strcmp(kind, file_kind) != 0 || !digits)
		return error_set(err, ERR_FORMAT, "'%s' is not a gloss checkpoint", path);
	version = digits[0] >= '1' && digits[0] <= '9' ? strtoul(digits, &end, 10) : 0;
	if (version == 0 || *end)
		return error_set(err, ERR_FORMAT, "'%s' has version '%.20s', which is not a number", path,
		                 digits);
	if (version > CHECKPOINT_VERSION)
		return error_set(err, ERR_FORMAT,
		                 "'%s' is a checkpoint of version %lu, this gloss reads versions up to %d",
		                 path, version, CHECKPOINT_VERSION);
	return 0;
}

/* The header's hash, then the two JSON texts it vouches for. */
static int read_header(checkpoint *c, error *err)
{
	const char *path = checkpoint_path(c), *config = sae_file_metadata(c->file, "config"),
	           *done = sae_file_metadata(c->file, "progress");
	char hash[SHA256_HEX];
	sha256 h;
	int rc;

	c->header_hash = sae_file_metadata(c->file, "sha256_header");
	c->hash = sae_file_metadata(c->file, "sha256");
	if (!config || !done || !c->header_hash || !c->hash)
		return error_set(err, ERR_FORMAT, "'%s' lacks its configuration, its progress or its hash",
		                 path);
	rc = hash_start(&h, sae_file_metadata(c->file, "version"), config, done, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < sae_file_n_tensors(c->file); i++) {
		const sae_tensor *t = sae_file_tensor_at(c->file, i);

		hash_array_header(&h, t->name, t->dtype, t->count);
	}
	sha256_end(&h, hash);
	if (strcmp(hash, c->header_hash) != 0)
		return error_set(err, ERR_FORMAT,
		                 "'%s' is damaged: its header does not have the SHA-256 stored in it", path);
	rc = json_parse(&c->config, config, strlen(config), JSON_BYTES, JSON_DEPTH, path, err);
	if (rc == 0)
		rc = json_parse(&c->progress, done, strlen(done), JSON_BYTES, JSON_DEPTH, path, err);
	return rc;
}

int checkpoint_open(checkpoint **out, const char *dir, error *err)
{
	char path[FILE_PATH_MAX], folder[FILE_PATH_MAX];
	checkpoint *c = NULL;
	int rc = state_path(path, folder, dir, err);

	if (rc < 0)
		return rc;
	if (!file_exists(path))
		return error_set(err, ERR_NOTFOUND, "no checkpoint in '%s': there is no '%s'", dir, path);
	c = calloc(1, sizeof(*c));
	if (!c)
		return error_nomem(err, "a checkpoint");
	rc = sae_file_open(&c->file, path, err);
	if (rc == 0)
		rc = check_version(c, err);
	if (rc == 0)
		rc = read_header(c, err);
	if (rc < 0)
		goto out;
	*out = c;
	c = NULL;
out:
	checkpoint_close(c);
	return rc;
}

void checkpoint_close(checkpoint *c)
{
	if (!c)
		return;
	cJSON_Delete(c->progress);
	cJSON_Delete(c->config);
	sae_file_close(c->file);
	free(c);
}

int sae_checkpoint_look(cJSON **config, cJSON **done, const char *dir, error *err)
{
	checkpoint *c = NULL;
	int rc = checkpoint_open(&c, dir, err);

	if (rc < 0)
		return rc;
	*config = c->config; /* the caller's now */
	*done = c->progress;
	c->config = c->progress = NULL;
	checkpoint_close(c);
	return 0;
}

const cJSON *checkpoint_config(const checkpoint *c)
{
	return c->config;
}

const cJSON *checkpoint_progress(const checkpoint *c)
{
	return c->progress;
}

const char *checkpoint_path(const checkpoint *c)
{
	return sae_file_path(c->file);
}

size_t checkpoint_array_n(const checkpoint *c, const char *name)
{
	const sae_tensor *t = sae_file_tensor(c->file, name);

	return t ? (size_t)t->count : 0;
}

static int check_array(const checkpoint *c, const checkpoint_array *a, error *err)
{
	const sae_tensor *t = sae_file_tensor(c->file, a->name);

	if (!t)
		return error_set(err, ERR_FORMAT, "'%s' has no array '%s'", checkpoint_path(c), a->name);
	if (t->count != a->n || t->dtype != a->dtype)
		return error_set(err, ERR_FORMAT,
		                 "'%s': array '%s' has %" PRIu64 " values of %s, the run needs %zu of %s",
		                 checkpoint_path(c), a->name, t->count, sae_dtype_name(t->dtype), a->n,
		                 sae_dtype_name(a->dtype));
	return 0;
}

/* Reads a tensor into `into`, or for NULL block by block into `scratch` (READ_BLOCK bytes), and hashes it. */
static int read_array(const checkpoint *c, const sae_tensor *t, unsigned char *into, unsigned char *scratch,
                      sha256 *h, error *err)
{
	uint64_t bytes = t->count * sae_dtype_size(t->dtype);
	int rc = 0;

	for (uint64_t done = 0; done < bytes && rc == 0; done += READ_BLOCK) {
		size_t n = bytes - done < READ_BLOCK ? (size_t)(bytes - done) : READ_BLOCK;
		unsigned char *block = into ? into + done : scratch;

		rc = file_pread(c->file->fd, block, n, t->offset + done, checkpoint_path(c), err);
		if (rc == 0)
			sha256_add(h, block, n);
	}
	return rc;
}

static const checkpoint_array *find_array(const checkpoint_array *a, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(a[i].name, name) == 0)
			return &a[i];
	return NULL;
}

int checkpoint_read(checkpoint *c, const checkpoint_array *a, size_t n, error *err)
{
	unsigned char *scratch = NULL;
	char hash[SHA256_HEX];
	sha256 h;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = check_array(c, &a[i], err);
	if (rc < 0)
		return rc;
	scratch = malloc(READ_BLOCK);
	if (!scratch)
		return error_nomem(err, "reading a checkpoint");
	rc = sha256_init(&h, err);
	if (rc < 0)
		goto out;
	hash_text(&h, c->header_hash);
	for (size_t i = 0; i < sae_file_n_tensors(c->file) && rc == 0; i++) {
		const sae_tensor *t = sae_file_tensor_at(c->file, i);
		const checkpoint_array *wanted = find_array(a, n, t->name);

		rc = read_array(c, t, wanted ? wanted->data : NULL, scratch, &h, err);
	}
	sha256_end(&h, hash);
	if (rc == 0 && strcmp(hash, c->hash) != 0)
		rc = error_set(err, ERR_FORMAT,
		               "'%s' is damaged: its arrays do not have the SHA-256 stored in it",
		               checkpoint_path(c));
out:
	free(scratch);
	return rc;
}
