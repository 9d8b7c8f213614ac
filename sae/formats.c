/* The table of SAE formats, and what works on any of them. */
#include "sae/formats.h"

#include <errno.h>
#include <string.h>

static const format *const formats[] = {
	&format_saelens,
	&format_saelens_gated,
	&format_gloss,
	&format_sparsify,
	&format_gemma_scope,
	&format_gemma_scope_2,
	&format_dictionary_learning,
	&format_openmoss,
	&format_openmoss_pt,
	&format_llama_scope,
	&format_llama_scope_pt,
	&format_openai,
};

/* Whether `path` is a file that the format's weights can be; dir (FILE_PATH_MAX) becomes the folder that the config is in. */
static bool is_file(const format *f, const char *path, char *dir)
{
	size_t n = strlen(path), ending = strlen(f->weights);
	bool any = f->weights[0] == '*';

	if (n < ending - any || strcmp(path + n - ending + any, f->weights + any) != 0 ||
	    (!any && n > ending && path[n - ending - 1] != '/'))
		return false;
	memcpy(dir, path, n + 1);
	dir[any ? n : n - ending] = '\0';
	if (!*dir)
		memcpy(dir, ".", 2);
	return true;
}

/* The format's weights at `path`, a folder or the file itself. */
static bool has_weights(const format *f, const char *path, char *dir, char *weights)
{
	size_t n = strlen(path);

	if (n >= FILE_PATH_MAX || !file_exists(path))
		return false;
	memcpy(weights, path, n + 1);
	if (!file_is_dir(path))
		return is_file(f, path, dir);
	memcpy(dir, path, n + 1);
	return file_join(weights, dir, f->weights, NULL) == 0 && file_exists(weights);
}

static bool has_config(const format *f, const char *dir)
{
	char file[FILE_PATH_MAX];

	return !f->config || (file_join(file, dir, f->config, NULL) == 0 && file_exists(file));
}

static bool has_mark(const format *f, const char *weights)
{
	sae_file *file = NULL;
	bool has = !f->mark || (sae_file_open(&file, weights, NULL) == 0 && sae_file_tensor(file, f->mark));

	sae_file_close(file);
	return has;
}

static const format *find(const char *path, char *dir, char *weights)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (formats[i]->read && has_weights(formats[i], path, dir, weights) &&
		    has_config(formats[i], dir) && has_mark(formats[i], weights))
			return formats[i];
	return NULL;
}

/* A checkpoint of torch.distributed, at `path` or in it: a folder of pickles and shards. What it is to become, or NULL. */
static const char *find_dcp(const char *path, char *dcp)
{
	static const char *const names[][2] = { { "", "sae_weights" },
		                                { "/sae_weights.dcp", "sae_weights" },
		                                { "/checkpoints/final.dcp", "final" } };
	char marks[FILE_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int n = snprintf(dcp, FILE_PATH_MAX, "%s%s", path, names[i][0]);

		if (n > 0 && n < FILE_PATH_MAX && file_join(marks, dcp, ".metadata", NULL) == 0 &&
		    file_exists(marks))
			return names[i][1];
	}
	return NULL;
}

static int refuse_dcp(const char *dcp, const char *name, error *err)
{
	return error_set(err, ERR_FORMAT,
	                 "'%.100s' is torch.distributed's; make %s.pt beside it: python -m "
	                 "torch.distributed.checkpoint.format_utils dcp_to_torch %s.dcp %s.pt",
	                 dcp, name, name, name);
}

static int refuse(const char *path, error *err)
{
	char known[160] = "", dir[FILE_PATH_MAX], weights[FILE_PATH_MAX];
	const char *name;
	size_t n = 0;

	if (!file_exists(path))
		return error_set(err, ERR_IO, "cannot open '%s': %s", path, strerror(ENOENT));
	name = find_dcp(path, dir);
	if (name)
		return refuse_dcp(dir, name, err);
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (formats[i]->read && formats[i]->config && has_weights(formats[i], path, dir, weights))
			return error_set(err, ERR_FORMAT, "'%s' is there, but no '%s' with it", weights,
			                 formats[i]->config);
	for (size_t i = 0; i < ARRAY_LEN(formats) && n < sizeof(known) - 40; i++)
		if (formats[i]->read && !strstr(known, formats[i]->weights))
			n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "",
			                      formats[i]->weights);
	return error_set(err, ERR_FORMAT, "'%s' holds no SAE: none of %s", path, known);
}

static int read_layout(layout *l, const char *path, error *err)
{
	char dir[FILE_PATH_MAX], weights[FILE_PATH_MAX];
	const format *f = find(path, dir, weights);
	int rc = 0;

	layout_init(l, f ? f->name : "");
	if (!f)
		return refuse(path, err);
	memcpy(l->weights, weights, strlen(weights) + 1);
	if (f->config)
		rc = layout_config(l, dir, f->config, err);
	return rc == 0 ? f->read(l, dir, err) : rc;
}

bool sae_model_is_at(const char *path)
{
	char dir[FILE_PATH_MAX], weights[FILE_PATH_MAX];

	return find(path, dir, weights) || find_dcp(path, dir);
}

static int load(sae_model **out, const char *path, bool hash, error *err)
{
	layout l;
	int rc = read_layout(&l, path, err);

	if (rc == 0)
		rc = layout_load(out, &l, hash, err);
	layout_clear(&l);
	return rc;
}

int sae_model_load(sae_model **out, const char *path, error *err)
{
	return load(out, path, false, err);
}

int sae_model_load_hashed(sae_model **out, const char *path, error *err)
{
	return load(out, path, true, err);
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

/* Why the format cannot hold the model; NULL: it can. */
static const char *why_not(const format *f, const sae_model *m)
{
	return m->n_inputs > 1 && !f->crosscoders ? "it has no crosscoders" : f->cannot(m);
}

int sae_model_export(const sae_model *m, const char *name, const char *dir, bool force, error *err)
{
	char path[FILE_PATH_MAX];
	const format *f = NULL;
	bool is_new = !file_exists(dir);
	int rc = find_writer(&f, name, err);

	if (rc == 0 && why_not(f, m))
		rc = error_set(err, ERR_ARG, "%s cannot hold this SAE (%s%s%s%s): %s", name,
		               sae_arch_name(m->arch), m->W_skip ? " skip" : "",
		               m->transcodes ? " transcoder" : "", m->n_inputs > 1 ? " crosscoder" : "",
		               why_not(f, m));
	if (rc == 0)
		rc = file_join(path, dir, f->weights, err);
	if (rc == 0 && !force && file_exists(path))
		rc = error_set(err, ERR_EXISTS, "'%s' is there already", path);
	if (rc == 0)
		rc = file_mkdir(dir, err);
	if (rc == 0) {
		rc = f->write(m, dir, err);
		if (rc < 0 && is_new)
			folder_remove(dir);
	}
	return rc;
}
