/* A person's own labels: rows of `explanation` with method 'person'. */
#include "store/history.h"
#include "store/person.h"

#include <math.h>

#define LABEL_MAX_BYTES 1000

int store_labels(cJSON **out, store *s, const char *source, uint32_t feature, error *err)
{
	cJSON *page = NULL;
	store_source of;
	bool failed = false;
	int rc = person_feature(&of, s, source, feature, err);

	if (rc < 0)
		return rc;
	page = cJSON_CreateObject();
	json_put_text(page, "source", of.name, &failed);
	json_put_number(page, "feature", feature, &failed);
	rc = labels_put(page, &(feature_place){ s, of.id, feature }, &failed, err);
	return json_finish(out, page, rc, failed, err);
}

/* What is added is a copy: the text given may have space around it. */
static int add_label(store *s, const store_source *of, const store_label *label, error *err)
{
	const char *words = label->text;
	size_t len = strlen(words);
	store_explanation e = {
		.source_id = of->id, .feature = label->feature, .method = "person", .confidence = (double)NAN
	};
	char *copy = NULL;
	int rc = person_in_range(of, label->feature, err);

	if (rc == 0)
		rc = person_text_trim(&words, &len, "the label", LABEL_MAX_BYTES, false, err);
	if (rc == 0 && !(copy = strndup(words, len)))
		rc = error_nomem(err, "a label");
	e.text = copy;
	if (rc == 0)
		rc = store_explanation_add(s, &e, err);
	free(copy);
	return rc;
}

int store_labels_add(size_t *bad, store *s, const char *source, const store_label *labels, size_t n,
                     error *err)
{
	store_source of;
	size_t i = 0;
	int rc = person_writable(s, err);

	*bad = SIZE_MAX;
	if (rc == 0)
		rc = store_source_get(&of, s, source, err);
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	for (; i < n && rc == 0; i++) {
		rc = add_label(s, &of, &labels[i], err);
		if (rc == ERR_ARG || rc == ERR_LIMIT)
			*bad = i;
	}
	return store_end(s, rc, err);
}

int store_label_withdraw(store *s, const char *source, uint32_t feature, error *err)
{
	sqlite3_stmt *st = NULL;
	store_source of;
	char now[32];
	int rc = person_writable(s, err);

	if (rc == 0)
		rc = person_feature(&of, s, source, feature, err);
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	clock_iso8601(now, clock_unix());
	rc = store_prepare(
	        &st, s,
	        "UPDATE explanation SET withdrawn = ?3 WHERE id = (SELECT max(id) FROM explanation"
	        " WHERE source_id = ?1 AND feature = ?2 AND method = 'person' AND withdrawn IS NULL)",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "iit", of.id, (int64_t)feature, now);
	if (rc == 0)
		rc = store_run(s, st, err);
	if (rc == 0 && sqlite3_changes(s->db) == 0)
		rc = error_set(err, ERR_NOTFOUND, "feature %u has no label of a person to withdraw", feature);
	sqlite3_finalize(st);
	return store_end(s, rc, err);
}
