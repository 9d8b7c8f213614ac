/* Contexts and labels that hold some words (FTS5). */
#include "store/query_internal.h"

#include <inttypes.h>

/* What FTS5 puts around the words it found. A text may hold these bytes itself: then a mark is off, nothing worse. */
#define MARK_BEGIN    '\x02'
#define MARK_END      '\x03'
#define MAX_STRONGEST 5

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

/* "snippet": [{"text":...}, {"text":..., "match":true}, ...] from a text with marks. */
static int put_snippet(cJSON *object, const char *marked, bool *failed, error *err)
{
	const char mark[] = { MARK_BEGIN, MARK_END, '\0' };
	cJSON *list = json_put_array(object, "snippet", failed), *piece;
	bool inside = false;
	text part;
	int rc = 0;

	text_init(&part, 1 << 20);
	while (marked && *marked) {
		size_t n = strcspn(marked, mark);

		text_clear(&part);
		rc = text_add_utf8(&part, marked, n);
		if (rc < 0) {
			rc = error_set(err, rc, "cannot build a snippet");
			break;
		}
		if (n > 0) {
			piece = json_put_object(list, NULL, failed);
			json_put_text(piece, "text", part.data, failed);
			if (inside)
				json_put_bool(piece, "match", true, failed);
		}
		marked += n;
		if (*marked)
			inside = *marked++ == MARK_BEGIN;
	}
	text_free(&part);
	return rc;
}

/* ---- The strongest features of a context ------------------------------------------------------------------------------ */

struct strongest {
	uint32_t feature, token;
	float value;
};

struct strongest_list {
	struct strongest items[MAX_STRONGEST];
	size_t n;
};

/* Keep the strongest few, each feature once at its strongest token; ties go to the smaller feature, the earlier token. */
static void offer(struct strongest_list *list, uint32_t feature, uint32_t token, float value)
{
	size_t at = 0;

	for (size_t i = 0; i < list->n; i++) {
		if (list->items[i].feature != feature)
			continue;
		if (list->items[i].value >= value)
			return;
		memmove(list->items + i, list->items + i + 1, (list->n - i - 1) * sizeof(list->items[0]));
		list->n--;
		break;
	}
	while (at < list->n && (list->items[at].value > value ||
	                        (list->items[at].value == value && list->items[at].feature < feature)))
		at++;
	if (at == MAX_STRONGEST)
		return;
	if (list->n == MAX_STRONGEST)
		list->n--;
	memmove(list->items + at + 1, list->items + at, (list->n - at) * sizeof(list->items[0]));
	list->items[at] = (struct strongest){ feature, token, value };
	list->n++;
}

/* Set found[i] for the tokens of the context that the marked text has words in. */
static void mark_tokens(bool *found, const context_row *c, const char *marked)
{
	bool inside = false;
	size_t at = 0;

	for (; marked && *marked && at < c->text_len; marked++) {
		if (*marked != c->text[at]) { /* only a mark can differ */
			inside = *marked == MARK_BEGIN;
			continue;
		}
		if (inside) {
			uint32_t token = context_row_token_at(c, (uint32_t)at);

			if (token < c->n_tokens)
				found[token] = true;
		}
		at++;
	}
}

/* What a query for words keeps at hand. */
struct word_query {
	store *s;
	store_source source;
	const char *words;
	uint64_t limit;
	sqlite3_stmt *firings, *examples;
	store_codes codes;
	label_lookup labels;
	bool *found;
	size_t found_cap;
};

/* From stored firings, on the words found. *known: whether there are any for this context. */
static int strongest_by_firings(struct strongest_list *list, bool *known, struct word_query *q,
                                const context_row *c, const char *marked, error *err)
{
	error cause = { 0 };
	int rc;

	rc = store_bind(q->s, q->firings, err, "ii", q->source.id, c->id);
	if (rc == 0)
		rc = store_step(q->s, q->firings, known, err);
	if (rc < 0 || !*known)
		return rc;
	rc = store_codes_decode(&q->codes, sqlite3_column_blob(q->firings, 0),
	                        (size_t)sqlite3_column_bytes(q->firings, 0), q->source.n_features,
	                        c->n_tokens, &cause);
	sqlite3_reset(q->firings);
	if (rc < 0)
		return error_set(err, rc, "'%s': context %" PRId64 " is corrupt: %s", store_path(q->s), c->id,
		                 cause.msg);
	if (mem_grow(&q->found, &q->found_cap, c->n_tokens, sizeof(*q->found)) < 0)
		return error_nomem(err, "found words");
	memset(q->found, 0, c->n_tokens * sizeof(*q->found));
	mark_tokens(q->found, c, marked);
	for (uint32_t i = 0; i < c->n_tokens; i++)
		for (uint32_t j = q->codes.start[i]; q->found[i] && j < q->codes.start[i + 1]; j++)
			offer(list, q->codes.feature[j], i, q->codes.value[j]);
	return 0;
}

/* Where firings are not stored: the features that are among their strongest here. */
static int strongest_by_examples(struct strongest_list *list, struct word_query *q, const context_row *c,
                                 error *err)
{
	bool more;
	int rc = store_bind(q->s, q->examples, err, "ii", q->source.id, c->id);

	while (rc == 0 && (rc = store_step(q->s, q->examples, &more, err)) == 0 && more)
		offer(list, (uint32_t)sqlite3_column_int64(q->examples, 0),
		      (uint32_t)sqlite3_column_int64(q->examples, 1),
		      (float)sqlite3_column_double(q->examples, 2));
	return rc;
}

static int put_strongest(cJSON *object, struct word_query *q, const context_row *c, const char *marked,
                         bool *failed, error *err)
{
	struct strongest_list list = { 0 };
	cJSON *features = json_put_array(object, "features", failed), *item;
	bool known = false;
	int rc;

	rc = strongest_by_firings(&list, &known, q, c, marked, err);
	if (rc == 0 && !known)
		rc = strongest_by_examples(&list, q, c, err);
	json_put_text(object, "features_of", known ? "words" : "context", failed);
	for (size_t i = 0; i < list.n && rc == 0; i++) {
		item = json_put_object(features, NULL, failed);
		json_put_number(item, "feature", list.items[i].feature, failed);
		json_put_number(item, "position", list.items[i].token, failed);
		json_put_number(item, "value", (double)list.items[i].value, failed);
		rc = label_lookup_put(&q->labels, item, list.items[i].feature, failed, err);
	}
	return rc;
}

/* ---- The two searches --------------------------------------------------------------------------------------------------- */

static int put_context(cJSON *list, struct word_query *q, sqlite3_stmt *row, bool *failed, error *err)
{
	const char *marked = (const char *)sqlite3_column_text(row, 1);
	cJSON *item = json_put_object(list, NULL, failed);
	context_row c;
	int rc;

	rc = context_row_read(&c, row, 3, q->s, err);
	if (rc < 0)
		return rc;
	json_put_id(item, "context", c.id, failed);
	json_put_id(item, "document", c.document, failed);
	json_put_text(item, "part", store_part_name(c.part), failed);
	json_put_column(item, "rank", row, 0, failed);
	rc = put_snippet(item, (const char *)sqlite3_column_text(row, 2), failed, err);
	return rc < 0 ? rc : put_strongest(item, q, &c, marked, failed, err);
}

static int find_contexts(cJSON *list, struct word_query *q, bool *failed, error *err)
{
	sqlite3_stmt *row = NULL;
	bool more;
	int rc;

	rc = store_prepare(
	        &row, q->s,
	        "SELECT context_fts.rank, highlight(context_fts, 0, char(2), char(3)),"
	        " snippet(context_fts, 0, char(2), char(3), '\xe2\x80\xa6', 24), " CONTEXT_COLUMNS
	        " FROM context_fts JOIN context c ON c.id = context_fts.rowid"
	        " JOIN document d ON d.id = c.document_id"
	        " WHERE context_fts MATCH ?1"
	        " AND EXISTS (SELECT 1 FROM source_context x WHERE x.source_id = ?2 AND x.context_id = c.id)"
	        " ORDER BY context_fts.rank LIMIT ?3",
	        err);
	if (rc == 0)
		rc = store_bind(q->s, row, err, "tii", q->words, q->source.id, (int64_t)q->limit);
	while (rc == 0 && (rc = step_words(q->s, row, q->words, &more, err)) == 0 && more)
		rc = put_context(list, q, row, failed, err);
	sqlite3_finalize(row);
	return rc;
}

static int find_labels(cJSON *list, struct word_query *q, bool *failed, error *err)
{
	sqlite3_stmt *row = NULL;
	cJSON *item;
	bool more;
	int rc;

	rc = store_prepare(&row, q->s,
	                   "SELECT explanation_fts.rank, e.feature, e.text, e.method,"
	                   " snippet(explanation_fts, 0, char(2), char(3), '\xe2\x80\xa6', 24)"
	                   " FROM explanation_fts JOIN explanation e ON e.id = explanation_fts.rowid"
	                   " JOIN current_label c ON c.source_id = e.source_id AND c.feature = e.feature"
	                   " WHERE explanation_fts MATCH ?1 AND e.source_id = ?2 AND c.explanation_id = e.id"
	                   " ORDER BY explanation_fts.rank LIMIT ?3",
	                   err);
	if (rc == 0)
		rc = store_bind(q->s, row, err, "tii", q->words, q->source.id, (int64_t)q->limit);
	while (rc == 0 && (rc = step_words(q->s, row, q->words, &more, err)) == 0 && more) {
		item = json_put_object(list, NULL, failed);
		json_put_column(item, "feature", row, 1, failed);
		json_put_column(item, "label", row, 2, failed);
		json_put_column(item, "method", row, 3, failed);
		json_put_column(item, "rank", row, 0, failed);
		rc = put_snippet(item, (const char *)sqlite3_column_text(row, 4), failed, err);
	}
	sqlite3_finalize(row);
	return rc;
}

static int word_query_init(struct word_query *q, error *err)
{
	int rc;

	rc = store_prepare(&q->firings, q->s,
	                   "SELECT codes FROM firing WHERE source_id = ?1 AND context_id = ?2", err);
	if (rc == 0)
		rc = store_prepare(&q->examples, q->s,
		                   "SELECT feature, position, activation FROM example WHERE source_id = ?1 "
		                   "AND context_id = ?2 AND bin < 0"
		                   " ORDER BY feature, position",
		                   err);
	return rc < 0 ? rc : label_lookup_init(&q->labels, q->s, q->source.id, err);
}

static void word_query_clear(struct word_query *q)
{
	sqlite3_finalize(q->firings);
	sqlite3_finalize(q->examples);
	store_codes_free(&q->codes);
	label_lookup_clear(&q->labels);
	free(q->found);
}

int store_find_text(cJSON **out, store *s, const char *source, const char *words, unsigned limit, error *err)
{
	struct word_query q = { .s = s, .words = words, .limit = limit };
	cJSON *page = NULL, *contexts, *labels;
	bool failed = false;
	int rc;

	if (words[strspn(words, " \t\r\n")] == '\0')
		return error_set(err, ERR_ARG, "there are no words to look for");
	rc = store_source_get(&q.source, s, source, err);
	if (rc < 0)
		return rc;
	rc = word_query_init(&q, err);
	page = cJSON_CreateObject();
	json_put_text(page, "source", q.source.name, &failed);
	json_put_text(page, "words", words, &failed);
	labels = json_put_array(page, "labels", &failed);
	contexts = json_put_array(page, "contexts", &failed);
	if (rc == 0)
		rc = find_labels(labels, &q, &failed, err);
	if (rc == 0)
		rc = find_contexts(contexts, &q, &failed, err);
	word_query_clear(&q);
	return json_finish(out, page, rc, failed, err);
}
