/* An index like a source's, made again in a file of its own, and the source compared with it. */
#include "store/index_internal.h"
#include "store/verify.h"

#include <errno.h>
#include <unistd.h>

/* ---- An index made again ---- */

static int remove_file(const char *folder, const char *name)
{
	char path[FILE_PATH_MAX];

	return file_join(path, folder, name, NULL) == 0 ? unlink(path) : -1;
}

void verify_again_remove(store_verify *v)
{
	store_close(v->again);
	v->again = NULL;
	if (!v->folder[0])
		return;
	(void)!remove_file(v->folder, "again.db");
	rmdir(v->folder);
	v->folder[0] = '\0';
}

static int make_folder(store_verify *v, error *err)
{
	const char *below = getenv("TMPDIR");
	int n = snprintf(v->folder, sizeof(v->folder), "%s/gloss-verify-XXXXXX",
	                 below && below[0] ? below : "/tmp");

	if (n > 0 && (size_t)n + 32 < sizeof(v->folder) && mkdtemp(v->folder))
		return 0;
	v->folder[0] = '\0';
	return error_errno(err, errno, "cannot make a folder in '%s'", below && below[0] ? below : "/tmp");
}

static int give_words(store_index *ix, const vocab *w, error *err)
{
	const char **bytes = malloc(((size_t)w->n + 1) * sizeof(*bytes));
	uint32_t *length = malloc(((size_t)w->n + 1) * sizeof(*length));
	int rc = bytes && length ? 0 : error_nomem(err, "the vocabulary");

	for (uint32_t i = 0; i < w->n && rc == 0; i++) {
		bytes[i] = w->bytes + w->offset[i];
		length[i] = (uint32_t)(w->offset[i + 1] - w->offset[i]);
	}
	if (rc == 0 && w->n > 0)
		rc = store_index_vocab(ix, w->sha256, w->n, bytes, length, err);
	free(bytes);
	free(length);
	return rc;
}

int store_verify_again(store_index **out, store_verify *v, uint64_t n_left_out, error *err)
{
	store_index_opts o = record_index_opts(&v->r);
	store_index *ix = NULL;
	char path[FILE_PATH_MAX];
	int rc;

	if (v->r.n_samples == 0)
		return error_set(
		        err, ERR_ARG,
		        "source '%s' is of version 1, whose samples are drawn no more: leave out --all",
		        v->r.name);
	o.n_left_out = n_left_out;
	rc = make_folder(v, err);
	if (rc == 0)
		rc = file_join(path, v->folder, "again.db", err);
	if (rc == 0)
		rc = store_open(&v->again, path, STORE_SCRATCH, err);
	if (rc == 0)
		rc = store_index_begin(&ix, v->again, &o, err);
	if (rc == 0)
		rc = give_words(ix, &v->words, err);
	if (rc < 0) {
		store_index_abort(ix);
		return rc;
	}
	*out = ix;
	return 0;
}

/* ---- Documents ---- */

typedef struct grouped {
	int64_t document, group;
} grouped;

static int read_groups(grouped **out, size_t *n, store *s, int64_t source, error *err)
{
	sqlite3_stmt *st = NULL;
	grouped *list = NULL;
	size_t cap = 0;
	int rc = store_prepare(
	        &st, s,
	        "SELECT key, group_key FROM document WHERE id IN (SELECT c.document_id FROM"
	        " source_context x JOIN context c ON c.id = x.context_id WHERE x.source_id = ?1)"
	        " ORDER BY group_key, key",
	        err);

	*n = 0;
	if (rc == 0)
		rc = store_bind(s, st, err, "i", source);
	while (store_next(&rc, s, st, err)) {
		if (mem_grow(&list, &cap, *n + 1, sizeof(*list)) < 0) {
			rc = error_nomem(err, "documents");
			break;
		}
		list[(*n)++] = (grouped){ sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1) };
	}
	sqlite3_finalize(st);
	*out = list;
	return rc;
}

static int by_document(const void *a, const void *b)
{
	const grouped *x = a, *y = b;

	return x->document < y->document ? -1 : x->document > y->document;
}

/* Other sources may have joined groups, but what shares text must be together. */
static int compare_groups(store_verify *v, int64_t source_again, error *err)
{
	grouped *stored = NULL, *again = NULL;
	size_t n = 0, n_again = 0;
	int64_t group = 0;
	int rc = read_groups(&stored, &n, v->s, v->r.id, err);

	if (rc == 0)
		rc = read_groups(&again, &n_again, v->again, source_again, err);
	if (n)
		qsort(stored, n, sizeof(*stored), by_document);
	for (size_t i = 0; i < n_again && rc == 0; i++) {
		const grouped *here = n ? bsearch(&again[i], stored, n, sizeof(*stored), by_document) : NULL;
		bool begins = i == 0 || again[i].group != again[i - 1].group;

		if (here && !begins && here->group != group)
			verify_differs(v, "document.group_key", (verify_place){ -1, -1, -1 },
			               "documents with common text apart", "together");
		if (here)
			group = here->group;
	}
	verify_count(v, "document", n_again);
	free(stored);
	free(again);
	return rc;
}

static int compare_parts(store_verify *v, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, v->s, "SELECT group_key, part FROM document", err);

	while (store_next(&rc, v->s, st, err)) {
		const char *part, *want;

		part = (const char *)sqlite3_column_text(st, 1);
		want = store_part_name(store_part_of((uint64_t)sqlite3_column_int64(st, 0)));
		if (!part || strcmp(part, want) != 0)
			verify_differs(v, "document.part", (verify_place){ -1, -1, -1 }, part ? part : "none",
			               want);
	}
	sqlite3_finalize(st);
	return rc;
}

/* ---- All of it ---- */

static bool has_rows(store *s, const char *sql, int64_t source, int *rc, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;

	if (*rc == 0)
		*rc = store_prepare(&st, s, sql, err);
	if (*rc == 0)
		*rc = store_bind(s, st, err, "i", source);
	if (*rc == 0)
		*rc = store_step(s, st, &row, err);
	sqlite3_finalize(st);
	return row;
}

static int compare_all(store_verify *v, int64_t source_again, error *err)
{
	static const char *const has_vectors = "SELECT 1 FROM vector WHERE source_id = ?1 LIMIT 1";
	static const char *const has_logits =
	        "SELECT 1 FROM feature_detail WHERE source_id = ?1 AND top_logits IS NOT NULL LIMIT 1";
	int rc = 0;
	bool vectors = has_rows(v->s, has_vectors, v->r.id, &rc, err);
	bool logits = has_rows(v->s, has_logits, v->r.id, &rc, err);
	bool logits_again = has_rows(v->again, has_logits, source_again, &rc, err);

	if (rc == 0)
		rc = verify_tables(v, source_again, vectors, err);
	if (rc == 0)
		rc = compare_groups(v, source_again, err);
	if (rc == 0)
		rc = compare_parts(v, err);
	if (!vectors && strcmp(v->r.kind, "sae") == 0)
		verify_left_out(v, "decoder rows: the store has none");
	if (logits && !logits_again)
		verify_left_out(v, "logits: they need the unembedding");
	return rc;
}

int store_verify_rows(store_verify *v, store_index *ix, progress *pr, error *err)
{
	store_index_result r;
	int rc = store_index_finish(ix, &r, pr, err);

	if (rc == 0) {
		store_watch(v->again, &v->stop);
		rc = compare_all(v, r.source_id, err);
	}
	verify_again_remove(v);
	return store_stopped(rc, &v->stop, err);
}
