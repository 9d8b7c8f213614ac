/* gloss merge: the order of things. */
#include "store/beside.h"
#include "store/merge.h"

#include <sys/stat.h>

extern const char sql_index_orphans[];

int merge_step(merge *m, uint64_t rows, error *err)
{
	m->n_rows += rows;
	if (m->n_rows % 1024 != 0)
		return 0;
	if (m->o->pr)
		progress_update(m->o->pr, m->n_rows, NULL);
	if (m->o->stop.asked && m->o->stop.asked(m->o->stop.payload))
		return error_set(err, ERR_STOPPED, "stopped; everything is as it was before");
	return 0;
}

/* ---- All of it ---- */

/* Nothing of the new store is needed before it is whole, so rows may come in any order; what they name is looked at last. */
static int in_transaction(merge *m, int (*what)(merge *m, error *err), error *err)
{
	int rc = store_exec(m->out, "PRAGMA foreign_keys=OFF", err);

	if (rc == 0)
		rc = store_begin(m->out, err);
	return rc == 0 ? store_end(m->out, what(m, err), err) : rc;
}

static int write_shared(merge *m, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = merge_copy_tokenizers(m, &m->inputs[i], err);
	return rc == 0 ? merge_groups_write(m, err) : rc;
}

static int write_copies(merge *m, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < m->n_sources && rc == 0; i++) {
		if (m->sources[i].n == 1)
			rc = merge_copy_source(m, &m->sources[i], err);
	}
	return rc;
}

static int write_rest(merge *m, error *err)
{
	int rc;

	for (size_t i = 0; i < m->n_inputs; i++)
		id_map_sort(&m->inputs[i].maps[MAP_SOURCE]);
	rc = merge_people(m, err);
	return rc == 0 ? store_exec(m->out, sql_index_orphans, err) : rc;
}

static int check(merge *m, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, m->out, "PRAGMA foreign_key_check", err);

	if (rc == 0)
		rc = store_step(m->out, st, &row, err);
	if (rc == 0 && row)
		rc = error_set(err, ERR_FORMAT,
		               "a store is damaged: a row of '%s' names one of '%s' that is not there",
		               (const char *)sqlite3_column_text(st, 0),
		               (const char *)sqlite3_column_text(st, 2));
	sqlite3_finalize(st);
	return rc;
}

static int report_source(merge *m, cJSON *list, const merge_source *src, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	cJSON *one = json_put_object(list, NULL, &m->failed), *from;
	int rc = store_prepare(
	        &st, m->out,
	        "SELECT n_tokens, n_contexts, n_firings, (SELECT count(*) FROM example WHERE source_id ="
	        " s.id) FROM source s WHERE name = ?1",
	        err);
	size_t n_dumps = 0;

	if (rc == 0)
		rc = store_bind(m->out, st, err, "t", src->name);
	if (rc == 0)
		rc = store_step(m->out, st, &row, err);
	json_put_text(one, "source", src->name, &m->failed);
	from = json_put_array(one, "from", &m->failed);
	for (size_t i = 0; i < src->n; i++) {
		json_put_text(from, NULL, src->parts[i].in->path, &m->failed);
		n_dumps += src->parts[i].r.n_dumps;
	}
	json_put_bool(one, "joined", src->n > 1, &m->failed);
	json_put_number(one, "dumps", (double)n_dumps, &m->failed);
	for (int i = 0; i < 4 && rc == 0; i++) {
		static const char *const names[] = { "tokens", "contexts", "firings", "examples" };

		json_put_column(one, names[i], st, i, &m->failed);
	}
	sqlite3_finalize(st);
	return rc;
}

static int report(merge *m, error *err)
{
	cJSON *list = json_put_array(m->report, "sources", &m->failed);
	int64_t contexts = 0, documents = 0;
	int rc = store_int(&contexts, m->out, "SELECT count(*) FROM context", 0, err);

	if (rc == 0)
		rc = store_int(&documents, m->out, "SELECT count(*) FROM document", 0, err);
	for (size_t i = 0; i < m->n_sources && rc == 0; i++)
		rc = report_source(m, list, &m->sources[i], err);
	json_put_number(m->report, "contexts", (double)contexts, &m->failed);
	json_put_number(m->report, "documents", (double)documents, &m->failed);
	return rc;
}

static int write_all(merge *m, error *err)
{
	int rc = merge_groups_find(m, err);

	if (rc == 0)
		rc = in_transaction(m, write_shared, err);
	if (rc == 0)
		rc = in_transaction(m, write_copies, err);
	for (size_t i = 0; i < m->n_sources && rc == 0; i++) {
		if (m->sources[i].n > 1)
			rc = merge_join_source(m, &m->sources[i], err);
	}
	if (rc == 0)
		rc = in_transaction(m, write_rest, err);
	if (rc == 0)
		rc = check(m, err);
	return rc == 0 ? report(m, err) : rc;
}

/* ---- Opening ---- */

static int check_apart(const char *const *paths, size_t n, error *err)
{
	struct stat a, b;

	if (n < 2)
		return error_set(err, ERR_ARG, "two stores or more are wanted");
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++) {
			if (stat(paths[i], &a) == 0 && stat(paths[j], &b) == 0 && a.st_dev == b.st_dev &&
			    a.st_ino == b.st_ino)
				return error_set(err, ERR_ARG, "'%s' is given twice", paths[i]);
		}
	}
	return 0;
}

/* From here on each input is as it is now, whoever writes to it. */
static int open_inputs(merge *m, const char *const *paths, uint64_t *bytes, error *err)
{
	int rc = 0;

	m->inputs = arena_alloc(&m->mem, m->n_inputs, sizeof(*m->inputs));
	if (!m->inputs)
		return error_nomem(err, "stores");
	for (size_t i = 0; i < m->n_inputs && rc == 0; i++) {
		merge_input *in = &m->inputs[i];
		int64_t pages = 0, size = 0;

		in->path = paths[i];
		rc = store_open(&in->s, paths[i], STORE_READ, err);
		if (rc == 0)
			rc = store_exec(in->s, "BEGIN", err);
		if (rc == 0)
			rc = store_int(&pages, in->s, "PRAGMA page_count", 0, err);
		if (rc == 0)
			rc = store_int(&size, in->s, "PRAGMA page_size", 0, err);
		if (rc == 0)
			store_watch(in->s, &m->o->stop);
		*bytes += (uint64_t)pages * (uint64_t)size;
	}
	return rc;
}

static void clear(merge *m)
{
	for (size_t i = 0; i < m->n_inputs && m->inputs; i++) {
		store_close(m->inputs[i].s);
		for (int k = 0; k < MAPS; k++)
			free(m->inputs[i].maps[k].pairs);
	}
	for (size_t i = 0; i < m->n_sources; i++)
		free(m->sources[i].parts);
	free(m->sources);
	merge_groups_free(m->groups);
	store_close(m->out);
	arena_clear(&m->mem);
}

int store_merge(cJSON **out, const char *to, const char *const *paths, size_t n, const store_merge_opts *o,
                error *err)
{
	merge m = { .o = o, .n_inputs = n, .report = cJSON_CreateObject() };
	beside b = { .lock = -1 };
	uint64_t bytes = 0;
	int rc = check_apart(paths, n, err);

	if (rc == 0)
		rc = open_inputs(&m, paths, &bytes, err);
	if (rc == 0)
		rc = merge_plan(&m, err);
	if (rc == 0)
		rc = beside_open(&b, to, o->force, paths, n, err);
	if (rc == 0) /* the new store, and what it is made from beside it */
		rc = beside_check_space(&b, 2 * bytes, err);
	if (rc == 0)
		rc = store_open(&m.out, b.part, STORE_SCRATCH, err);
	if (rc == 0) {
		store_watch(m.out, &o->stop);
		rc = write_all(&m, err);
	}
	json_put_text(m.report, "store", to, &m.failed);
	rc = store_stopped(rc, &o->stop, err);
	clear(&m);
	if (rc == 0 && m.failed)
		rc = error_nomem(err, "the report");
	if (rc == 0)
		rc = beside_commit(&b, err);
	beside_abort(&b);
	return json_finish(out, m.report, rc, false, err);
}
