/* The table of SAE formats, and what works on any of them. */
#include "sae/formats.h"

#include <errno.h>
#include <string.h>

static const format *const formats[] = { &format_saelens, &format_gloss, &format_sparsify,
	                                 &format_gemma_scope, &format_gemma_scope_2 };

/* Where `path`, a folder or a file in one, has the format's files; dir (FILE_PATH_MAX) becomes the folder. */
static bool is_at(const format *f, const char *path, char *dir)
{
	char file[FILE_PATH_MAX];
	size_t n = strlen(path), ending = strlen(f->weights);

	if (n >= FILE_PATH_MAX)
		return false;
	memcpy(dir, path, n + 1);
	if (!file_is_dir(path)) {
		if (n < ending || strcmp(path + n - ending, f->weights) != 0 ||
		    (n > ending && path[n - ending - 1] != '/'))
			return false;
		dir[n - ending] = '\0';
		if (n == ending)
			memcpy(dir, ".", 2);
	}
	if (file_join(file, dir, f->weights, NULL) < 0 || !file_exists(file))
		return false;
	return !f->config || (file_join(file, dir, f->config, NULL) == 0 && file_exists(file));
}

static const format *find(const char *path, char *dir)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (formats[i]->read && is_at(formats[i], path, dir))
			return formats[i];
	return NULL;
}

static int refuse(const char *path, error *err)
{
	char known[160] = "";
	size_t n = 0;

	if (!file_exists(path))
		return error_set(err, ERR_IO, "cannot open '%s': %s", path, strerror(ENOENT));
	for (size_t i = 0; i < ARRAY_LEN(formats) && n < sizeof(known) - 64; i++)
		if (formats[i]->read)
			n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s%s%s", n ? ", or " : "",
			                      formats[i]->config ? formats[i]->config : "",
			                      formats[i]->config ? " with " : "", formats[i]->weights);
	return error_set(err, ERR_FORMAT, "'%s' holds no SAE: it would have %s", path, known);
}

static int read_layout(layout *l, const char *path, error *err)
{
	char dir[FILE_PATH_MAX];
	const format *f = find(path, dir);
	int rc;

	layout_init(l, f ? f->name : "");
	if (!f)
		return refuse(path, err);
	rc = file_join(l->weights, dir, f->weights, err);
	if (rc == 0 && f->config)
		rc = layout_config(l, dir, f->config, err);
	return rc == 0 ? f->read(l, dir, err) : rc;
}

bool sae_model_is_at(const char *path)
{
	char dir[FILE_PATH_MAX];

	return find(path, dir) != NULL;
}

int sae_model_load(sae_model **out, const char *path, error *err)
{
	layout l;
	int rc = read_layout(&l, path, err);

	if (rc == 0)
		rc = layout_load(out, &l, err);
	layout_clear(&l);
	return rc;
}

int sae_model_look(sae_model_facts *out, const char *path, error *err)
{
	sae_file *f = NULL;
	layout l;
	int rc = read_layout(&l, path, err);

	if (rc == 0)
		rc = layout_open(&f, &l, err);
	if (rc == 0)
		layout_facts(out, &l, f);
	sae_file_close(f);
	layout_clear(&l);
	return rc;
}

static int find_writer(const format **out, const char *name, error *err)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		if (strcmp(formats[i]->name, name) == 0 && formats[i]->write) {
			*out = formats[i];
			return 0;
		}
	}
	return error_set(err, ERR_ARG, "'%s' is no format that SAEs are written in", name);
}

int sae_model_export(const sae_model *m, const char *name, const char *dir, bool force, error *err)
{
	char path[FILE_PATH_MAX];
	const format *f = NULL;
	int rc = find_writer(&f, name, err);

	if (rc == 0 && f->cannot(m))
		rc = error_set(err, ERR_ARG, "%s cannot hold this SAE (%s%s%s): %s", name,
		               sae_arch_name(m->arch), m->W_skip ? " skip" : "",
		               m->transcodes ? " transcoder" : "", f->cannot(m));
	if (rc == 0)
		rc = file_join(path, dir, f->weights, err);
	if (rc == 0 && !force && file_exists(path))
		rc = error_set(err, ERR_EXISTS, "'%s' is there already", path);
	if (rc == 0)
		rc = file_mkdir(dir, err);
	return rc == 0 ? f->write(m, dir, err) : rc;
}
