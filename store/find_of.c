/* What a feature fires on: the reverse of find_regex.c. */
#include "store/describe.h"

#include <math.h>

/* The numbers that all rows have. */
static void put_numbers(cJSON *item, const describe *d, uint64_t hits, uint64_t of, bool *failed)
{
	double precision = (double)hits / (double)d->fires;

	json_put_number(item, "precision", precision, failed);
	json_put_number(item, "recall", (double)hits / (double)of, failed);
	json_put_number(item, "f1", describe_f1(d, hits, of), failed);
	json_put_number(item, "lift", precision / ((double)of / (double)d->tokens), failed);
	json_put_number(item, "hits", (double)hits, failed);
	json_put_number(item, "of", (double)of, failed);
}

static int put_token(cJSON *item, const char *id, const char *name, token_texts *texts, uint32_t token,
                     arena *mem, bool *failed, error *err)
{
	const char *chars;
	bool valid;
	int rc = token_texts_get(&chars, &valid, texts, token, mem, err);

	if (rc < 0)
		return rc;
	json_put_number(item, id, token, failed);
	json_put_text(item, name, chars, failed);
	return 0;
}

static int put_row(cJSON *list, const describe *d, const describe_row *row, token_texts *texts, arena *mem,
                   bool *failed, error *err)
{
	cJSON *item = json_put_object(list, NULL, failed);
	const char *word;
	int rc = 0;

	if (row->kind == DESCRIBE_PAIR)
		rc = put_token(item, "before", "before_text", texts, row->before, mem, failed, err);
	if (rc == 0 && row->kind < DESCRIBE_WORD) {
		rc = put_token(item, "token", "text", texts, row->token, mem, failed, err);
	} else if (rc == 0) {
		word = arena_memdupz(mem, row->text, row->length);
		rc = word ? 0 : error_nomem(err, "a word");
		json_put_text(item, "text", word, failed);
	}
	if (row->kind == DESCRIBE_WORD)
		json_put_number(item, "at", row->at, failed);
	put_numbers(item, d, row->hits, row->of, failed);
	return rc;
}

static int put_kinds(cJSON *page, const describe *d, uint64_t limit, bool *failed, error *err)
{
	arena mem = ARENA_INIT;
	token_texts texts;
	int rc = token_texts_init(&texts, d->s, d->source, err);

	for (int kind = 0; kind < DESCRIBE_KINDS && rc == 0; kind++) {
		cJSON *list = json_put_array(page, describe_kind_name((describe_kind)kind), failed);
		size_t first, end;

		describe_kind_rows(&first, &end, d, (describe_kind)kind);
		for (size_t i = first; i < end && i - first < limit && rc == 0; i++)
			rc = put_row(list, d, &d->rows[i], &texts, &mem, failed, err);
	}
	token_texts_clear(&texts);
	arena_clear(&mem);
	return rc;
}

static int put_patterns(cJSON *page, const describe *d, uint64_t limit, bool *failed, error *err)
{
	cJSON *list = json_put_array(page, "patterns", failed), *item;
	describe_patterns found;
	int rc = describe_find_patterns(&found, d, err);

	for (size_t i = 0; i < found.n && i < limit && rc == 0; i++) {
		item = json_put_object(list, NULL, failed);
		json_put_text(item, "pattern", found.at[i].source, failed);
		put_numbers(item, d, found.at[i].hits, found.at[i].of, failed);
	}
	describe_patterns_clear(&found);
	return rc;
}

int store_find_of(cJSON **out, store *s, const char *source, uint32_t feature, uint64_t limit, error *err)
{
	label_lookup labels = { 0 };
	describe d = { 0 };
	store_source of;
	cJSON *page;
	bool failed = false;
	int rc = store_source_get(&of, s, source, err);

	if (rc < 0)
		return rc;
	if (feature >= of.n_features)
		return error_set(err, ERR_ARG, "feature %u is not in '%s': it has features 0 to %u", feature,
		                 of.name, of.n_features - 1);
	rc = store_read_begin(s, err);
	if (rc < 0)
		return rc;
	page = cJSON_CreateObject();
	rc = describe_count(&d, s, of.id, feature, err);
	if (rc == 0)
		rc = label_lookup_init(&labels, s, of.id, err);
	json_put_text(page, "source", of.name, &failed);
	json_put_number(page, "feature", feature, &failed);
	if (rc == 0)
		rc = label_lookup_put(&labels, page, feature, &failed, err);
	json_put_number(page, "fires", (double)d.fires, &failed);
	json_put_number(page, "tokens", (double)d.tokens, &failed);
	json_put_number(page, "contexts", (double)d.contexts, &failed);
	json_put_bool(page, "corpus", of.corpus, &failed);
	if (rc == 0)
		rc = put_kinds(page, &d, limit, &failed, err);
	if (rc == 0)
		rc = put_patterns(page, &d, limit, &failed, err);
	label_lookup_clear(&labels);
	describe_clear(&d);
	store_read_end(s);
	return json_finish(out, page, rc, failed, err);
}
