/* gloss export --to neuronpedia: the folder, and its batches of rows. */
#include "store/export_neuronpedia.h"

#include <unistd.h>

enum { BATCH = 1024, GZIP_LEVEL = 5 }; /* as Neuronpedia's own exporter has them */

typedef struct np_export {
	const store_neuronpedia_opts *o;
	export_source x;
	np_names names;
	store_export_result *result;
	progress *pr;
	folder_writer folder;
	char root[FILE_PATH_MAX]; /* v1/MODEL/SOURCE, under its temporary name */
	gzip_writer out;
	json_row row;
	const export_feature *f; /* whose examples are written */
	error *err;
} np_export;

/* ---- Files ---- */

static int make_folder(char out[FILE_PATH_MAX], const char *in, const char *name, error *err)
{
	int rc = file_join(out, in, name, err);

	return rc == 0 ? file_mkdir(out, err) : rc;
}

static int open_batch(np_export *e, const char *kind, uint64_t number)
{
	char name[128], path[FILE_PATH_MAX];
	int rc;

	snprintf(name, sizeof(name), "%s/batch-%llu.jsonl.gz", kind, (unsigned long long)number);
	rc = file_join(path, e->root, name, e->err);
	return rc == 0 ? gzip_writer_open(&e->out, path, GZIP_LEVEL, e->err) : rc;
}

static int add_row(np_export *e)
{
	e->result->n_rows++;
	return gzip_writer_add(&e->out, e->row.line.data, e->row.line.len, e->err);
}

static int close_batch(np_export *e)
{
	char path[FILE_PATH_MAX];
	uint64_t bytes = 0;
	int fd, rc;

	memcpy(path, e->out.file.path, sizeof(path));
	rc = gzip_writer_commit(&e->out, e->err);
	if (rc == 0)
		rc = file_open_read(&fd, &bytes, path, e->err);
	if (rc == 0) {
		close(fd);
		e->result->n_files++;
		e->result->n_bytes += bytes;
	}
	return rc;
}

/* ---- Features and activations: a file for each 1,024 features ---- */

static int add_activation(void *payload, const export_example *example, error *err)
{
	np_export *e = payload;
	int rc = np_put_activation(&e->row, &e->names, &e->x, e->f, example, err);

	return rc == 0 ? add_row(e) : rc;
}

static int asked_to_stop(np_export *e)
{
	const store_stop *stop = &e->o->stop;

	return stop->asked && stop->asked(stop->payload) ? error_set(e->err, ERR_STOPPED, "stopped") : 0;
}

static int add_feature(np_export *e, uint32_t feature, bool activations)
{
	export_feature f;
	int rc = export_feature_read(&f, &e->x, feature, e->err);

	if (rc == 0)
		rc = asked_to_stop(e);
	if (rc == 0 && activations) {
		e->f = &f;
		rc = export_examples_each(&e->x, feature, e->o->n_top, e->o->n_samples, add_activation, e,
		                          e->err);
	} else if (rc == 0) {
		rc = np_put_neuron(&e->row, &e->names, &e->x, &f, e->o->vectors, e->err);
		if (rc == 0)
			rc = add_row(e);
	}
	export_feature_clear(&f);
	return rc;
}

static int write_features(np_export *e, bool activations)
{
	uint32_t n = e->x.of.n_features;
	int rc = 0;

	for (uint32_t first = 0; first < n && rc == 0; first += BATCH) {
		rc = open_batch(e, activations ? "activations" : "features", first / BATCH);
		for (uint32_t f = first; f < n && f - first < BATCH && rc == 0; f++) {
			rc = add_feature(e, f, activations);
			if (e->pr)
				progress_update(e->pr, (activations ? (uint64_t)n : 0) + f + 1, NULL);
		}
		if (rc == 0)
			rc = close_batch(e);
	}
	return rc;
}

/* ---- Labels and scores: a file for each 1,024 rows ---- */

static int write_rows(np_export *e, const char *kind, const char *sql,
                      int (*put)(json_row *r, const np_names *names, sqlite3_stmt *row, error *err))
{
	sqlite3_stmt *row = NULL;
	uint64_t n = 0;
	int rc = store_prepare(&row, e->x.s, sql, e->err);

	if (rc == 0)
		rc = store_bind(e->x.s, row, e->err, "i", e->x.of.id);
	for (; store_next(&rc, e->x.s, row, e->err); n++) {
		if (n % BATCH == 0 && n > 0)
			rc = close_batch(e);
		if (rc == 0 && n % BATCH == 0)
			rc = open_batch(e, kind, n / BATCH);
		if (rc == 0)
			rc = put(&e->row, &e->names, row, e->err);
		if (rc == 0)
			rc = add_row(e);
	}
	if (rc == 0 && n > 0)
		rc = close_batch(e);
	sqlite3_finalize(row);
	return rc;
}

/* ---- All ---- */

static int make_folders(np_export *e, char config[FILE_PATH_MAX])
{
	static const char *const kinds[] = { "features", "activations", "explanations",
		                             "explanation_scores" };
	char v1[FILE_PATH_MAX], model[FILE_PATH_MAX], path[FILE_PATH_MAX];
	int rc = make_folder(v1, e->folder.tmp, "v1", e->err);

	if (rc == 0)
		rc = make_folder(config, v1, "config", e->err);
	if (rc == 0)
		rc = make_folder(model, v1, e->names.model, e->err);
	if (rc == 0)
		rc = make_folder(e->root, model, e->names.source, e->err);
	for (size_t i = 0; i < ARRAY_LEN(kinds) && rc == 0; i++)
		rc = make_folder(path, e->root, kinds[i], e->err);
	return rc;
}

static int write_all(np_export *e)
{
	char config[FILE_PATH_MAX];
	int rc = make_folders(e, config);

	if (rc == 0)
		rc = np_write_config(e->result, config, &e->names, &e->x, e->err);
	if (rc == 0)
		rc = np_write_source(e->result, e->root, &e->names, &e->x, e->err);
	if (rc == 0)
		rc = write_rows(e, "explanations", NP_EXPLANATIONS, np_put_explanation);
	if (rc == 0)
		rc = write_rows(e, "explanation_scores", NP_SCORES, np_put_score);
	if (rc == 0)
		rc = write_features(e, false);
	return rc == 0 ? write_features(e, true) : rc;
}

int store_export_neuronpedia(store_export_result *out, store *s, const char *folder,
                             const store_neuronpedia_opts *o, progress *pr, error *err)
{
	store_export_result result = { 0 };
	np_export e = { .o = o, .result = &result, .pr = pr, .err = err };
	int rc = store_read_begin(s, err);

	if (rc < 0)
		return rc;
	json_row_init(&e.row);
	rc = export_source_open(&e.x, s, o->source, err);
	if (rc == 0)
		rc = np_names_find(&e.names, o, &e.x.of, &e.x.mem, err);
	if (rc == 0)
		rc = folder_writer_open(&e.folder, folder, ".jsonl|.jsonl.gz",
		                        FOLDER_DEEP | (o->force ? FOLDER_FORCE : 0), err);
	if (rc == 0) {
		store_watch(s, &o->stop);
		rc = store_stopped(write_all(&e), &o->stop, err);
		store_watch(s, &(store_stop){ 0 });
	}
	gzip_writer_abort(&e.out);
	json_row_free(&e.row);
	export_source_clear(&e.x);
	store_read_end(s);
	if (rc == 0)
		rc = folder_writer_commit(&e.folder, err);
	folder_writer_abort(&e.folder);
	if (rc == 0 && out)
		*out = result;
	return rc;
}
