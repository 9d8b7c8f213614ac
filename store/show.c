/* One feature in full. */
#include "store/feature_query.h"
#include "store/show_values.h"

/* What a page is built from. */
struct page {
	feature_place place;
	store_source source;
	cJSON *json;
	bool failed;
	error *err;
};

static int page_prepare(sqlite3_stmt **out, struct page *p, const char *sql)
{
	return place_prepare(out, &p->place, sql, p->err);
}

static int read_json(cJSON **out, struct page *p, sqlite3_stmt *row, int column)
{
	return place_read_json(out, &p->place, row, column, p->err);
}

/* All columns of the list of features. */
static int put_row(struct page *p)
{
	sqlite3_stmt *st = NULL;
	feature_query q;
	bool more = false;
	int rc = feature_query_init(&q, p->place.s, &p->source, NULL, p->err);

	if (rc == 0)
		rc = feature_row_prepare(&st, &q, p->err);
	if (rc == 0)
		rc = store_bind(p->place.s, st, p->err, "--i", (int64_t)p->place.feature);
	if (rc == 0)
		rc = store_step(p->place.s, st, &more, p->err);
	if (rc == 0 && !more)
		rc = error_set(p->err, ERR_FORMAT, "'%s' is corrupt: feature %u has no row",
		               store_path(p->place.s), p->place.feature);
	if (rc == 0)
		feature_row_put(p->json, st, &p->failed);
	sqlite3_finalize(st);
	return rc;
}

/* ---- Logits, neighbours --------------------------------------------------------------------------------------- */

/* A stored list [[id, value], ...], or with `third` [[id, value, third], ...], as a list of objects; `give` adds what the
 * id stands for. NULL stays null. */
static int put_ranked(struct page *p, sqlite3_stmt *row, int column, const char *id, const char *value,
                      const char *third, int (*give)(struct page *p, cJSON *item, int64_t id, void *payload),
                      void *payload)
{
	const char *name = sqlite3_column_name(row, column);
	cJSON *stored = NULL, *list, *pair, *item;
	int rc = read_json(&stored, p, row, column);

	if (rc == 0 && !stored)
		json_put_text(p->json, name, NULL, &p->failed);
	if (rc < 0 || !stored)
		return rc;
	list = json_put_array(p->json, name, &p->failed);
	cJSON_ArrayForEach(pair, stored)
	{
		const cJSON *first = cJSON_GetArrayItem(pair, 0), *second = cJSON_GetArrayItem(pair, 1),
		            *last = cJSON_GetArrayItem(pair, 2);

		if (!cJSON_IsNumber(first) || !cJSON_IsNumber(second) || (third && !cJSON_IsNumber(last)) ||
		    first->valuedouble < 0 || first->valuedouble > UINT32_MAX) {
			rc = error_set(p->err, ERR_FORMAT,
			               "'%s': feature %u is corrupt: %s is not a list of pairs",
			               store_path(p->place.s), p->place.feature, name);
			break;
		}
		item = json_put_object(list, NULL, &p->failed);
		json_put_number(item, id, first->valuedouble, &p->failed);
		json_put_number(item, value, second->valuedouble, &p->failed);
		if (third)
			json_put_number(item, third, last->valuedouble, &p->failed);
		rc = give(p, item, (int64_t)first->valuedouble, payload);
		if (rc < 0)
			break;
	}
	cJSON_Delete(stored);
	return rc;
}

static int give_token_text(struct page *p, cJSON *item, int64_t token, void *payload)
{
	sqlite3_stmt *row = payload;
	bool more = false;
	int rc;

	sqlite3_reset(row);
	rc = store_bind(p->place.s, row, p->err, "ii", p->source.id, token);
	if (rc == 0)
		rc = store_step(p->place.s, row, &more, p->err);
	if (rc == 0 && more)
		json_put_column(item, "text", row, 0, &p->failed);
	else if (rc == 0)
		json_put_text(item, "text", NULL, &p->failed);
	return rc;
}

static int give_label(struct page *p, cJSON *item, int64_t feature, void *payload)
{
	return label_lookup_put(payload, item, (uint32_t)feature, &p->failed, p->err);
}

static int put_detail(struct page *p)
{
	sqlite3_stmt *row = NULL, *tokens = NULL;
	label_lookup labels = { 0 };
	bool more = false;
	int rc;

	rc = page_prepare(
	        &row, p,
	        "SELECT top_logits, bottom_logits, neighbours, cofiring, logit_histogram FROM feature_detail"
	        " WHERE source_id = ?1 AND feature = ?2");
	if (rc == 0)
		rc = store_prepare(
		        &tokens, p->place.s,
		        "SELECT v.text FROM vocab v JOIN source s ON s.tokenizer_id = v.tokenizer_id"
		        " WHERE s.id = ?1 AND v.token = ?2",
		        p->err);
	if (rc == 0)
		rc = label_lookup_init(&labels, p->place.s, p->source.id, p->err);
	if (rc == 0)
		rc = store_step(p->place.s, row, &more, p->err);
	if (rc < 0 || !more)
		goto out;
	rc = put_ranked(p, row, 0, "token", "logit", NULL, give_token_text, tokens);
	if (rc == 0)
		rc = put_ranked(p, row, 1, "token", "logit", NULL, give_token_text, tokens);
	if (rc == 0)
		rc = put_ranked(p, row, 2, "feature", "cosine", NULL, give_label, &labels);
	if (rc == 0)
		rc = put_ranked(p, row, 3, "feature", "common", "cosine", give_label, &labels);
	if (rc == 0)
		rc = place_put_json(p->json, &p->place, row, 4, &p->failed, p->err);
out:
	label_lookup_clear(&labels);
	sqlite3_finalize(tokens);
	sqlite3_finalize(row);
	return rc;
}

int store_show(cJSON **out, store *s, const char *source, uint32_t feature, unsigned n_examples,
               store_intervals which, error *err)
{
	struct page p = { .err = err };
	shown_intervals shown;
	int rc;

	rc = store_source_get(&p.source, s, source, err);
	if (rc < 0)
		return rc;
	if (feature >= p.source.n_features)
		return error_set(err, ERR_ARG, "feature %u is out of range: source '%s' has features 0-%u",
		                 feature, p.source.name, p.source.n_features - 1);
	p.place = (feature_place){ s, p.source.id, feature };
	p.json = cJSON_CreateObject();
	json_put_text(p.json, "source", p.source.name, &p.failed);
	json_put_number(p.json, "n_tokens", (double)p.source.n_tokens, &p.failed);
	json_put_number(p.json, "n_features", p.source.n_features, &p.failed);
	rc = put_row(&p);
	if (rc == 0)
		rc = values_put(&shown, p.json, &p.place, &p.source, which, &p.failed, err);
	if (rc == 0)
		rc = put_detail(&p);
	if (rc == 0)
		rc = labels_put(p.json, &p.place, &p.failed, err);
	if (rc == 0)
		rc = notes_put(p.json, &p.place, &p.failed, err);
	if (rc == 0)
		rc = lists_put(p.json, &p.place, &p.failed, err);
	if (rc == 0)
		rc = examples_put(p.json, &p.place, &p.source, &shown, n_examples, &p.failed, err);
	return json_finish(out, p.json, rc, p.failed, err);
}
