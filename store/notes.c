/* A person's notes on a feature. */
#include "store/history.h"
#include "store/person.h"

#include <inttypes.h>

#define NOTE_MAX_BYTES ((size_t)64 << 10)

static int begin_page(cJSON **page, feature_place *place, store *s, const char *source, uint32_t feature,
                      bool *failed, error *err)
{
	store_source of;
	int rc = person_feature(&of, s, source, feature, err);

	if (rc < 0)
		return rc;
	*place = (feature_place){ s, of.id, feature };
	*page = cJSON_CreateObject();
	json_put_text(*page, "source", of.name, failed);
	json_put_number(*page, "feature", feature, failed);
	return 0;
}

int store_notes(cJSON **out, store *s, const char *source, uint32_t feature, error *err)
{
	cJSON *page = NULL;
	feature_place place;
	bool failed = false;
	int rc = begin_page(&page, &place, s, source, feature, &failed, err);

	if (rc == 0)
		rc = notes_put(page, &place, &failed, err);
	return json_finish(out, page, rc, failed, err);
}

int store_note_add(store *s, const char *source, uint32_t feature, const char *words, error *err)
{
	size_t len = strlen(words);
	sqlite3_stmt *st = NULL;
	store_source of;
	char now[32], *copy = NULL;
	int rc = person_writable(s, err);

	if (rc == 0)
		rc = person_feature(&of, s, source, feature, err);
	if (rc == 0)
		rc = person_text_trim(&words, &len, "the note", NOTE_MAX_BYTES, true, err);
	if (rc == 0 && !(copy = strndup(words, len)))
		rc = error_nomem(err, "a note");
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		goto out;
	clock_iso8601(now, clock_unix());
	rc = store_prepare(
	        &st, s, "INSERT INTO note(source_id, feature, text, created) VALUES (?1, ?2, ?3, ?4)", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "iitt", of.id, (int64_t)feature, copy, now);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	rc = store_end(s, rc, err);
out:
	free(copy);
	return rc;
}

int store_note_delete(store *s, const char *source, uint32_t feature, int64_t id, error *err)
{
	sqlite3_stmt *st = NULL;
	store_source of;
	int rc = person_writable(s, err);

	if (rc == 0)
		rc = person_feature(&of, s, source, feature, err);
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = store_prepare(&st, s, "DELETE FROM note WHERE id = ?1 AND source_id = ?2 AND feature = ?3", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "iii", id, of.id, (int64_t)feature);
	if (rc == 0)
		rc = store_run(s, st, err);
	if (rc == 0 && sqlite3_changes(s->db) == 0)
		rc = error_set(err, ERR_NOTFOUND, "feature %u has no note %" PRId64, feature, id);
	sqlite3_finalize(st);
	return store_end(s, rc, err);
}
