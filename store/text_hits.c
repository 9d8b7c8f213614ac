/* What a search for words says of a text: a snippet, and the features strongest there. See text_hits.h. */
#include "store/text_hits.h"

#include <inttypes.h>

#define MAX_STRONGEST 5

/* "snippet": [{"text":...}, {"text":..., "match":true}, ...] from a text with marks. */
int text_hits_put_snippet(cJSON *object, const char *marked, bool *failed, error *err)
{
	const char mark[] = { TEXT_MARK_BEGIN, TEXT_MARK_END, '\0' };
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
			inside = *marked++ == TEXT_MARK_BEGIN;
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
			inside = *marked == TEXT_MARK_BEGIN;
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

/* From stored firings, on the words found. *known: whether there are any for this context. */
static int strongest_by_firings(struct strongest_list *list, bool *known, text_hits *h, const context_row *c,
                                const char *marked, error *err)
{
	error cause = { 0 };
	int rc;

	rc = store_bind(h->s, h->firings, err, "ii", h->source.id, c->id);
	if (rc == 0)
		rc = store_step(h->s, h->firings, known, err);
	if (rc < 0 || !*known)
		return rc;
	rc = store_codes_decode(&h->codes, sqlite3_column_blob(h->firings, 0),
	                        (size_t)sqlite3_column_bytes(h->firings, 0), h->source.n_features,
	                        c->n_tokens, &cause);
	sqlite3_reset(h->firings);
	if (rc < 0)
		return error_set(err, rc, "'%s': context %" PRId64 " is corrupt: %s", store_path(h->s), c->id,
		                 cause.msg);
	if (mem_grow(&h->found, &h->found_cap, c->n_tokens, sizeof(*h->found)) < 0)
		return error_nomem(err, "found words");
	memset(h->found, 0, c->n_tokens * sizeof(*h->found));
	mark_tokens(h->found, c, marked);
	for (uint32_t i = 0; i < c->n_tokens; i++)
		for (uint32_t j = h->codes.start[i]; h->found[i] && j < h->codes.start[i + 1]; j++)
			offer(list, h->codes.feature[j], i, h->codes.value[j]);
	return 0;
}

/* Where firings are not stored: the features that are among their strongest here. */
static int strongest_by_examples(struct strongest_list *list, text_hits *h, const context_row *c, error *err)
{
	int rc = store_bind(h->s, h->examples, err, "ii", h->source.id, c->id);

	while (store_next(&rc, h->s, h->examples, err))
		offer(list, (uint32_t)sqlite3_column_int64(h->examples, 0),
		      (uint32_t)sqlite3_column_int64(h->examples, 1),
		      (float)sqlite3_column_double(h->examples, 2));
	return rc;
}

static int put_strongest(cJSON *object, text_hits *h, const context_row *c, const char *marked, bool *failed,
                         error *err)
{
	struct strongest_list list = { 0 };
	cJSON *features = json_put_array(object, "features", failed), *item;
	bool known = false;
	int rc;

	rc = strongest_by_firings(&list, &known, h, c, marked, err);
	if (rc == 0 && !known)
		rc = strongest_by_examples(&list, h, c, err);
	json_put_text(object, "features_of", known ? "words" : "context", failed);
	for (size_t i = 0; i < list.n && rc == 0; i++) {
		item = json_put_object(features, NULL, failed);
		json_put_number(item, "feature", list.items[i].feature, failed);
		json_put_number(item, "position", list.items[i].token, failed);
		json_put_number(item, "value", (double)list.items[i].value, failed);
		rc = label_lookup_put(&h->labels, item, list.items[i].feature, failed, err);
	}
	return rc;
}

/* ---- A context ---------------------------------------------------------------------------------------------------------- */

int text_hits_put_context(cJSON *list, text_hits *h, const context_row *c, double rank, const char *marked,
                          const char *snippet, bool *failed, error *err)
{
	cJSON *item = json_put_object(list, NULL, failed);
	int rc;

	json_put_id(item, "context", c->id, failed);
	json_put_id(item, "document", c->document, failed);
	json_put_text(item, "part", store_part_name(c->part), failed);
	json_put_number(item, "rank", rank, failed);
	rc = text_hits_put_snippet(item, snippet, failed, err);
	return rc < 0 ? rc : put_strongest(item, h, c, marked, failed, err);
}

int text_hits_init(text_hits *h, store *s, const store_source *source, error *err)
{
	int rc;

	*h = (text_hits){ .s = s, .source = *source };
	rc = store_prepare(&h->firings, h->s,
	                   "SELECT codes FROM firing WHERE source_id = ?1 AND context_id = ?2", err);
	if (rc == 0)
		rc = store_prepare(&h->examples, h->s,
		                   "SELECT feature, position, activation FROM example WHERE source_id = ?1 "
		                   "AND context_id = ?2 AND bin < 0"
		                   " ORDER BY feature, position",
		                   err);
	return rc < 0 ? rc : label_lookup_init(&h->labels, h->s, h->source.id, err);
}

void text_hits_clear(text_hits *h)
{
	sqlite3_finalize(h->firings);
	sqlite3_finalize(h->examples);
	store_codes_free(&h->codes);
	label_lookup_clear(&h->labels);
	free(h->found);
	*h = (text_hits){ 0 };
}
