/* Contexts and labels that hold some words: FTS5 by words, and by trigrams for scripts without spaces between them. */
#include "store/context_set.h"
#include "store/text_hits.h"
#include "store/text_query.h"
#include "store/text_scan.h"

enum {
	TRIGRAM = 3,
	SNIPPET = 64,          /* characters, where words are not known */
	MAX_SCANNED = 64 << 20 /* bytes of text read */
};

/* What a query for words keeps at hand. A text is asked in one way: what holds characters of a script without spaces by
 * `unspaced`, if the query has such too, all others by words. */
struct word_query {
	store *s;
	text_query parsed;
	const char *words;
	uint64_t limit;
	enum { BY_WORDS, BY_TRIGRAMS, BY_READING } unspaced;
	text_hits hits;
	text_scan scan;
	text marked, snippet;
	size_t scanned;
};

/* How a table is asked: the words, the source, how many rows, whether texts with unspaced script are left out. */
#define FOUND_IN(table, size)                                                                                \
	"SELECT " table ".rank, highlight(" table ", 0, char(2), char(3)), snippet(" table                   \
	", 0, char(2), char(3), '\xe2\x80\xa6', " size "), "
#define WHERE_FOUND(table, other, column)                                                                    \
	" WHERE " table " MATCH ?1 AND (?4 = 0 OR NOT EXISTS (SELECT 1 FROM " other                          \
	"_docsize t WHERE t.id = " column "))"
#define OF_CONTEXTS " JOIN document d ON d.id = c.document_id"
#define CONTEXT_IS_OF_SOURCE                                                                                 \
	" AND EXISTS (SELECT 1 FROM source_context x WHERE x.source_id = ?2 AND x.context_id = c.id)"
#define LABEL_COLUMNS "e.feature, e.text, e.method"
#define OF_LABELS                                                                                            \
	" JOIN current_label c ON c.explanation_id = e.id AND c.source_id = e.source_id AND c.feature = "    \
	"e.feature"

/* An answer's row about a context, or about a label. */
typedef int put_row(cJSON *list, struct word_query *q, sqlite3_stmt *row, double rank, const char *marked,
                    const char *snippet, bool *failed, error *err);

typedef struct searched {
	put_row *put;
	const char *by_words,
	        *by_trigrams; /* rank, marked text, snippet, and what `put` takes from column 3 on */
	const char *texts;    /* id and text of the rows with unspaced script of source ?1 */
	const char *one;      /* of the row ?1: its text three times, and what `put` takes */
} searched;

/* store_step(), with FTS5's complaints about the user's query as such. */
static int step_words(store *s, sqlite3_stmt *st, const char *words, bool *more, error *err)
{
	error cause = { 0 };
	int rc = store_step(s, st, more, &cause);

	if (rc == ERR_ARG)
		return error_set(err, rc, "words '%.200s': %s", words, sqlite3_errmsg(s->db));
	if (rc < 0)
		return error_set(err, rc, "%s", cause.msg);
	return rc;
}

/* ---- Rows ---------------------------------------------------------------------------------------------------------------- */

static int put_context(cJSON *list, struct word_query *q, sqlite3_stmt *row, double rank, const char *marked,
                       const char *snippet, bool *failed, error *err)
{
	context_row c;
	int rc = context_row_read(&c, row, 3, q->s, err);

	return rc < 0 ? rc : text_hits_put_context(list, &q->hits, &c, rank, marked, snippet, failed, err);
}

static int put_label(cJSON *list, struct word_query *q, sqlite3_stmt *row, double rank, const char *marked,
                     const char *snippet, bool *failed, error *err)
{
	cJSON *item = json_put_object(list, NULL, failed);

	(void)q;
	(void)marked;
	json_put_column(item, "feature", row, 3, failed);
	json_put_column(item, "label", row, 4, failed);
	json_put_column(item, "method", row, 5, failed);
	json_put_number(item, "rank", rank, failed);
	return text_hits_put_snippet(item, snippet, failed, err);
}

static const searched contexts = {
	.put = put_context,
	.by_words = FOUND_IN("context_fts", "24") CONTEXT_COLUMNS
	" FROM context_fts JOIN context c ON c.id = context_fts.rowid" OF_CONTEXTS WHERE_FOUND(
	        "context_fts", "context_trigram", "c.id") CONTEXT_IS_OF_SOURCE
	" ORDER BY context_fts.rank LIMIT ?3",
	.by_trigrams = FOUND_IN("context_trigram", "64") CONTEXT_COLUMNS
	" FROM context_trigram JOIN context c ON c.id = context_trigram.rowid" OF_CONTEXTS
	" WHERE context_trigram MATCH ?1 AND ?4 = 0" CONTEXT_IS_OF_SOURCE
	" ORDER BY context_trigram.rank LIMIT ?3",
	.texts = "SELECT c.id, c.text FROM context_trigram_docsize t JOIN context c ON c.id = t.id"
	         " WHERE EXISTS (SELECT 1 FROM source_context x WHERE x.source_id = ?1 AND x.context_id = "
	         "c.id)"
	         " ORDER BY c.id",
	.one = "SELECT c.text, c.text, c.text, " CONTEXT_COLUMNS " FROM " CONTEXT_TABLES " WHERE c.id = ?1",
};
static const searched labels = {
	.put = put_label,
	.by_words = FOUND_IN("explanation_fts", "24") LABEL_COLUMNS
	" FROM explanation_fts JOIN explanation e ON e.id = explanation_fts.rowid" OF_LABELS WHERE_FOUND(
	        "explanation_fts", "explanation_trigram", "e.id") " AND e.source_id = ?2"
	                                                          " ORDER BY explanation_fts.rank LIMIT ?3",
	.by_trigrams = FOUND_IN("explanation_trigram", "64") LABEL_COLUMNS
	" FROM explanation_trigram JOIN explanation e ON e.id = explanation_trigram.rowid" OF_LABELS
	" WHERE explanation_trigram MATCH ?1 AND ?4 = 0 AND e.source_id = ?2"
	" ORDER BY explanation_trigram.rank LIMIT ?3",
	.texts = "SELECT e.id, e.text FROM explanation_trigram_docsize t JOIN explanation e ON e.id = "
	         "t.id" OF_LABELS " WHERE e.source_id = ?1 ORDER BY e.id",
	.one = "SELECT e.text, e.text, e.text, " LABEL_COLUMNS " FROM explanation e WHERE e.id = ?1",
};

/* A column's text; a corrupt file may have none. */
static const char *text_of(sqlite3_stmt *row, int column)
{
	const char *chars = (const char *)sqlite3_column_text(row, column);

	return chars ? chars : "";
}

/* ---- By an index --------------------------------------------------------------------------------------------------------- */

static int search(cJSON *list, struct word_query *q, const searched *what, const char *sql, bool spaced_only,
                  bool *failed, error *err)
{
	uint64_t found = (uint64_t)cJSON_GetArraySize(list);
	sqlite3_stmt *row = NULL;
	bool more;
	int rc = store_prepare(&row, q->s, sql, err);

	if (rc == 0)
		rc = store_bind(q->s, row, err, "tiii", q->words, q->hits.source.id,
		                (int64_t)(q->limit > found ? q->limit - found : 0), (int64_t)spaced_only);
	while (rc == 0 && (rc = step_words(q->s, row, q->words, &more, err)) == 0 && more)
		rc = what->put(list, q, row, sqlite3_column_double(row, 0), text_of(row, 1), text_of(row, 2),
		               failed, err);
	sqlite3_finalize(row);
	return rc;
}

/* ---- By reading ---------------------------------------------------------------------------------------------------------- */

struct read_text {
	int64_t id;
	uint64_t hits;
};

static int most_hits_first(const void *a, const void *b)
{
	const struct read_text *x = a, *y = b;

	if (x->hits != y->hits)
		return x->hits > y->hits ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* Ids of the texts that are what the query asks, in *found (n), malloc'd. */
static int read_texts(struct read_text **found, size_t *n, struct word_query *q, const char *sql, error *err)
{
	sqlite3_stmt *row = NULL;
	size_t cap = 0;
	int rc = store_prepare(&row, q->s, sql, err);

	if (rc == 0)
		rc = store_bind(q->s, row, err, "i", q->hits.source.id);
	while (q->scanned < MAX_SCANNED && store_next(&rc, q->s, row, err)) {
		struct read_text it = { .id = sqlite3_column_int64(row, 0) };
		const char *chars = text_of(row, 1);
		size_t len = (size_t)sqlite3_column_bytes(row, 1);

		q->scanned += len;
		rc = text_scan_count(&it.hits, &q->scan, it.id, chars, len, err);
		if (rc < 0 || it.hits == 0)
			continue;
		if (mem_grow(found, &cap, *n + 1, sizeof(**found)) < 0)
			rc = error_nomem(err, "found texts");
		else
			(*found)[(*n)++] = it;
	}
	sqlite3_finalize(row);
	return rc;
}

static int put_read(cJSON *list, struct word_query *q, const searched *what, sqlite3_stmt *row,
                    const struct read_text *it, bool *failed, error *err)
{
	bool more;
	int rc = store_bind(q->s, row, err, "i", it->id);

	if (rc == 0)
		rc = store_step(q->s, row, &more, err);
	if (rc < 0 || !more)
		return rc;
	rc = text_scan_mark(&q->marked, &q->scan, it->id, text_of(row, 0),
	                    (size_t)sqlite3_column_bytes(row, 0), TEXT_MARK_BEGIN, TEXT_MARK_END, err);
	if (rc == 0)
		rc = text_scan_snippet(&q->snippet, q->marked.data, TEXT_MARK_BEGIN, TEXT_MARK_END, SNIPPET,
		                       err);
	if (rc == 0)
		rc = what->put(list, q, row, -(double)it->hits, q->marked.data, q->snippet.data, failed, err);
	sqlite3_reset(row);
	return rc;
}

/* The texts with unspaced script, those that hold the words most often first. */
static int scan(cJSON *list, struct word_query *q, const searched *what, bool *failed, error *err)
{
	struct read_text *found = NULL;
	sqlite3_stmt *row = NULL;
	size_t n = 0;
	int rc = read_texts(&found, &n, q, what->texts, err);

	if (rc == 0 && n > 0)
		qsort(found, n, sizeof(*found), most_hits_first);
	if (rc == 0)
		rc = store_prepare(&row, q->s, what->one, err);
	for (size_t i = 0; i < n && i < q->limit && rc == 0; i++)
		rc = put_read(list, q, what, row, &found[i], failed, err);
	sqlite3_finalize(row);
	free(found);
	return rc;
}

/* ---- All ------------------------------------------------------------------------------------------------------------------- */

static int find(cJSON *list, struct word_query *q, const searched *what, bool *failed, error *err)
{
	int rc = 0;

	if (q->unspaced == BY_TRIGRAMS)
		rc = search(list, q, what, what->by_trigrams, false, failed, err);
	else if (q->unspaced == BY_READING)
		rc = scan(list, q, what, failed, err);
	return rc < 0 ? rc : search(list, q, what, what->by_words, q->unspaced != BY_WORDS, failed, err);
}

/* How texts with unspaced script are to be asked. */
static int choose(struct word_query *q, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, q->s, "SELECT ?1 GLOB pattern FROM unspaced", err);

	if (rc == 0)
		rc = store_bind(q->s, st, err, "t", q->words);
	if (rc == 0)
		rc = store_step(q->s, st, &row, err);
	if (rc == 0 && row && sqlite3_column_int(st, 0))
		q->unspaced = text_query_shortest(&q->parsed) >= TRIGRAM ? BY_TRIGRAMS : BY_READING;
	sqlite3_finalize(st);
	return rc == 0 && q->unspaced == BY_READING ? text_scan_begin(&q->scan, &q->parsed, err) : rc;
}

static void word_query_clear(struct word_query *q)
{
	text_scan_end(&q->scan); /* which knows its terms from the query */
	text_query_clear(&q->parsed);
	text_hits_clear(&q->hits);
	text_free(&q->marked);
	text_free(&q->snippet);
}

static int answer(cJSON *page, struct word_query *q, bool *failed, error *err)
{
	static const char *const ways[] = { NULL, "trigrams", "reading" };
	cJSON *found_labels, *found_contexts;
	int rc = choose(q, err);

	json_put_text(page, "source", q->hits.source.name, failed);
	json_put_text(page, "words", q->words, failed);
	json_put_text(page, "unspaced_by", ways[q->unspaced], failed);
	found_labels = json_put_array(page, "labels", failed);
	found_contexts = json_put_array(page, "contexts", failed);
	if (rc == 0)
		rc = find(found_labels, q, &labels, failed, err);
	if (rc == 0)
		rc = find(found_contexts, q, &contexts, failed, err);
	json_put_bool(page, "complete", q->scanned < MAX_SCANNED, failed);
	return rc;
}

/* ---- Contexts alone -------------------------------------------------------------------------------------------------------- */

#define ALL_IN(table) "SELECT c.id FROM " table " JOIN context c ON c.id = " table ".rowid"

static int add_id(context_set *set, int64_t id, error *err)
{
	if (mem_grow(&set->ids, &set->cap, set->n + 1, sizeof(*set->ids)) < 0)
		return error_nomem(err, "found texts");
	set->ids[set->n++] = id;
	return 0;
}

static int search_ids(context_set *set, struct word_query *q, const char *sql, bool spaced_only, error *err)
{
	sqlite3_stmt *row = NULL;
	bool more;
	int rc = store_prepare(&row, q->s, sql, err);

	if (rc == 0)
		rc = store_bind(q->s, row, err, "ti-i", q->words, q->hits.source.id, (int64_t)spaced_only);
	while (rc == 0 && (rc = step_words(q->s, row, q->words, &more, err)) == 0 && more)
		rc = add_id(set, sqlite3_column_int64(row, 0), err);
	sqlite3_finalize(row);
	return rc;
}

static int scan_ids(context_set *set, struct word_query *q, error *err)
{
	struct read_text *found = NULL;
	size_t n = 0;
	int rc = read_texts(&found, &n, q, contexts.texts, err);

	if (rc == 0 && q->scanned >= MAX_SCANNED)
		rc = error_set(err, ERR_LIMIT,
		               "words '%.200s': a word of under three characters, and over %d MB to read",
		               q->words, MAX_SCANNED >> 20);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_id(set, found[i].id, err);
	free(found);
	return rc;
}

int find_text_contexts(context_set *set, store *s, const store_source *source, const char *words, error *err)
{
	struct word_query q = { .s = s, .words = words, .hits.source = *source };
	int rc = text_query_parse(&q.parsed, words, err);

	if (rc == 0)
		rc = choose(&q, err);
	if (rc == 0 && q.unspaced == BY_TRIGRAMS)
		rc = search_ids(set, &q,
		                ALL_IN("context_trigram") " WHERE context_trigram MATCH ?1 AND ?4 = "
		                                          "0" CONTEXT_IS_OF_SOURCE,
		                false, err);
	else if (rc == 0 && q.unspaced == BY_READING)
		rc = scan_ids(set, &q, err);
	if (rc == 0)
		rc = search_ids(set, &q,
		                ALL_IN("context_fts") WHERE_FOUND("context_fts", "context_trigram", "c.id")
		                        CONTEXT_IS_OF_SOURCE,
		                q.unspaced != BY_WORDS, err);
	word_query_clear(&q);
	return rc;
}

int store_find_text(cJSON **out, store *s, const char *source, const char *words, unsigned limit, error *err)
{
	struct word_query q = { .s = s, .words = words, .limit = limit };
	store_source of;
	cJSON *page = NULL;
	bool failed = false;
	int rc;

	text_init(&q.marked, SIZE_MAX);
	text_init(&q.snippet, 1 << 20);
	rc = text_query_parse(&q.parsed, words, err);
	if (rc == 0)
		rc = store_source_get(&of, s, source, err);
	if (rc == 0)
		rc = text_hits_init(&q.hits, s, &of, err);
	if (rc == 0) {
		page = cJSON_CreateObject();
		rc = answer(page, &q, &failed, err);
	}
	word_query_clear(&q);
	return json_finish(out, page, rc, failed, err);
}
