/* The small files of a Neuronpedia export: who the source is, and what its labels and scores were made by. */
#include "store/export_neuronpedia.h"

enum { MAX_NAME = 128 };

/* ---- Names ---- */

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

/* They become names of folders. */
static int check_name(const char *name, const char *what, error *err)
{
	size_t n = 0;

	while (is_name_char(name[n]))
		n++;
	if (name[n] || n == 0 || n > MAX_NAME || name[0] == '.' || name[0] == '-')
		return error_set(
		        err, ERR_ARG,
		        "'%.130s' is no %s: 1 to %d letters, digits and . _ -, a letter, digit or _ first",
		        name, what, MAX_NAME);
	return 0;
}

/* A name of what is behind the last '/', in small letters, '-' for what names cannot hold. NULL: no memory. */
static char *name_of(const char *said, arena *mem)
{
	const char *slash = strrchr(said, '/');
	char *name = arena_strdup(mem, slash && slash[1] ? slash + 1 : said);
	size_t n = 0;

	for (char *p = name; p && *p && n < MAX_NAME; p++, n++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
		else if (!is_name_char(*p) || (n == 0 && (*p == '.' || *p == '-')))
			*p = n == 0 ? '_' : '-';
	}
	if (name)
		name[n] = '\0';
	return name;
}

/* "15-NAME" of layer and set, as their ids are; the set alone where the layer is not known or the name has it. */
static const char *source_id_of(const char *set, int layer, arena *mem)
{
	char id[2 * MAX_NAME], number[16];

	snprintf(number, sizeof(number), "%d-", layer);
	if (layer < 0 || strncmp(set, number, strlen(number)) == 0)
		return set;
	snprintf(id, sizeof(id), "%s%.*s", number, (int)(MAX_NAME - strlen(number)), set);
	return arena_strdup(mem, id);
}

int np_names_find(np_names *out, const store_neuronpedia_opts *o, const store_record *of, arena *mem,
                  error *err)
{
	np_names names = { .creator = o->creator };
	int rc;

	if (!o->model_id && (!of->model || !*of->model))
		return error_set(err, ERR_ARG,
		                 "source '%s' does not say of which model it is: give --model-id", of->name);
	names.model = o->model_id ? o->model_id : name_of(of->model, mem);
	names.set = o->set ? o->set : name_of(of->name, mem);
	if (!names.model || !names.set)
		return error_nomem(err, "names");
	names.source = o->source_id ? o->source_id : source_id_of(names.set, of->layer, mem);
	names.release = o->release ? o->release : names.set;
	if (!names.source)
		return error_nomem(err, "names");
	rc = check_name(names.model, "id of a model", err);
	if (rc == 0)
		rc = check_name(names.source, "id of a source", err);
	if (rc == 0)
		rc = check_name(names.set, "name of a source set", err);
	if (rc == 0)
		rc = check_name(names.release, "name of a release", err);
	names.key = hash64(of->weights_sha256, strlen(of->weights_sha256), 1);
	names.key = hash64(of->dump_sha256, strlen(of->dump_sha256), names.key);
	names.key = hash64(of->name, strlen(of->name), names.key);
	if (rc == 0)
		*out = names;
	return rc;
}

/* ---- Files of a few rows ---- */

typedef struct small_file {
	store_export_result *result;
	const char *folder;
	file_writer w;
	json_row row;
	error *err;
} small_file;

static int open_small(small_file *f, const char *name)
{
	char path[FILE_PATH_MAX];
	int rc = file_join(path, f->folder, name, f->err);

	return rc == 0 ? file_writer_open(&f->w, path, f->err) : rc;
}

static int put_row(small_file *f)
{
	int rc = json_row_end(&f->row, f->err);

	f->result->n_rows += rc == 0;
	return rc == 0 ? file_writer_add(&f->w, f->row.line.data, f->row.line.len, f->err) : rc;
}

static int commit_small(small_file *f)
{
	uint64_t bytes = f->w.written;
	int rc = file_writer_commit(&f->w, f->err);

	if (rc == 0) {
		f->result->n_files++;
		f->result->n_bytes += bytes;
	}
	return rc;
}

/* ---- The tables that labels and scores refer to ---- */

typedef struct config_file {
	const char *name, *sql; /* sql: names in use, NULL: there are no rows; ?1 the source */
	bool has_creator;       /* the table has a creatorId */
} config_file;

static int write_config_file(small_file *f, const config_file *c, const np_names *names,
                             const export_source *x)
{
	sqlite3_stmt *st = NULL;
	int rc = open_small(f, c->name);

	if (rc == 0 && c->sql) {
		rc = store_prepare(&st, x->s, c->sql, f->err);
		if (rc == 0)
			rc = store_bind(x->s, st, f->err, "i", x->of.id);
		while (store_next(&rc, x->s, st, f->err)) {
			const char *name = (const char *)sqlite3_column_text(st, 0);

			json_row_begin(&f->row);
			json_row_text(&f->row, "name", name);
			json_row_text(&f->row, "displayName", name);
			json_row_text(&f->row, "description", "");
			json_row_text(&f->row, "creatorName", "");
			if (c->has_creator)
				json_row_text(&f->row, "creatorId", names->creator);
			rc = put_row(f);
		}
	}
	if (rc == 0)
		rc = commit_small(f);
	sqlite3_finalize(st);
	return rc;
}

#define OF_LABELS " FROM explanation WHERE source_id = ?1 AND withdrawn IS NULL"
#define OF_SCORES                                                                                            \
	" FROM score x JOIN explanation e ON e.id = x.explanation_id WHERE e.source_id = ?1"                 \
	" AND e.withdrawn IS NULL AND x.scorer <> 'select'"

int np_write_config(store_export_result *result, const char *config, const np_names *names,
                    const export_source *x, error *err)
{
	static const config_file files[] = {
		{ "explanation_type.jsonl", "SELECT DISTINCT method" OF_LABELS " ORDER BY 1", true },
		{ "explanation_model_type.jsonl",
		  "SELECT DISTINCT model" OF_LABELS " AND model IS NOT NULL ORDER BY 1", false },
		{ "explanation_score_type.jsonl", "SELECT DISTINCT x.scorer" OF_SCORES " ORDER BY 1", true },
		{ "explanation_score_model.jsonl", "SELECT DISTINCT x.judge" OF_SCORES " ORDER BY 1", false },
		{ "eval_type.jsonl", NULL, false },
	};
	small_file f = { .result = result, .folder = config, .w = { .fd = -1 }, .err = err };
	int rc = 0;

	json_row_init(&f.row);
	for (size_t i = 0; i < ARRAY_LEN(files) && rc == 0; i++)
		rc = write_config_file(&f, &files[i], names, x);
	file_writer_abort(&f.w);
	json_row_free(&f.row);
	return rc;
}

/* ---- The source ---- */

static void release_row(json_row *r, const np_names *names, const export_source *x)
{
	json_row_text(r, "name", names->release);
	json_row_text(r, "description", "");
	json_row_text(r, "creatorName", "");
	json_row_text(r, "creatorId", names->creator);
	json_row_empty(r, "urls");
	json_row_text(r, "defaultSourceSetName", names->set);
	json_row_text(r, "defaultSourceId", names->source);
	json_row_text(r, "createdAt", x->of.created);
}

static void model_row(json_row *r, const np_names *names, const export_source *x)
{
	json_row_text(r, "id", names->model);
	json_row_text(r, "displayNameShort", x->of.model ? x->of.model : names->model);
	json_row_text(r, "displayName", x->of.model ? x->of.model : names->model);
	json_row_text(r, "creatorId", names->creator);
	json_row_text(r, "owner", "");
	json_row_number(r, "layers", 0); /* not known, and theirs cannot be null */
	json_row_number(r, "neuronsPerLayer", 0);
}

static void set_row(json_row *r, const np_names *names, const export_source *x)
{
	json_row_text(r, "modelId", names->model);
	json_row_text(r, "name", names->set);
	json_row_text(r, "description", "");
	json_row_text(r, "creatorName", "");
	json_row_text(r, "creatorId", names->creator);
	json_row_empty(r, "urls");
	json_row_text(r, "releaseName", names->release);
	json_row_text(r, "createdAt", x->of.created);
}

static void source_row(json_row *r, const np_names *names, const export_source *x)
{
	const store_record *of = &x->of;
	char notes[256];

	snprintf(notes, sizeof(notes), "gloss %.20s: %.40s, %u features of %u, %llu tokens in %llu contexts",
	         of->version, of->architecture, of->n_features, of->d_in, (unsigned long long)of->n_tokens,
	         (unsigned long long)of->n_contexts);
	json_row_text(r, "id", names->source);
	json_row_text(r, "modelId", names->model);
	json_row_text(r, "setName", names->set);
	json_row_text(r, "creatorId", names->creator);
	json_row_null(r, "saelensConfig");
	json_row_null(r, "saelensRelease");
	json_row_null(r, "saelensSaeId");
	json_row_null(r, "hfRepoId");
	json_row_null(r, "hfFolderId");
	json_row_number(r, "num_prompts", (double)of->n_contexts);
	json_row_null(r, "num_tokens_in_prompt");
	json_row_null(r, "dataset");
	json_row_text(r, "notes", notes);
	json_row_text(r, "createdAt", of->created);
}

int np_write_source(store_export_result *result, const char *of_source, const np_names *names,
                    const export_source *x, error *err)
{
	static const struct {
		const char *name;
		void (*put)(json_row *r, const np_names *names, const export_source *x);
	} files[] = {
		{ "release.jsonl", release_row },
		{ "model.jsonl", model_row },
		{ "sourceset.jsonl", set_row },
		{ "source.jsonl", source_row },
	};
	small_file f = { .result = result, .folder = of_source, .w = { .fd = -1 }, .err = err };
	int rc = 0;

	json_row_init(&f.row);
	for (size_t i = 0; i < ARRAY_LEN(files) && rc == 0; i++) {
		rc = open_small(&f, files[i].name);
		json_row_begin(&f.row);
		files[i].put(&f.row, names, x);
		if (rc == 0)
			rc = put_row(&f);
		if (rc == 0)
			rc = commit_small(&f);
	}
	file_writer_abort(&f.w);
	json_row_free(&f.row);
	return rc;
}
