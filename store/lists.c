/* Lists of features that a person keeps: rows of `list` and `list_item`. */
#include "store/person.h"

#include <inttypes.h>

#define NAME_MAX_BYTES 100

/* ---- Names --------------------------------------------------------------------------------------------------------------- */

/* A name as given to where one is made: one that "@NAME" in a list of features can stand for. */
static int check_name(const char **name, size_t *len, error *err)
{
	int rc = person_text_trim(name, len, "the name of the list", NAME_MAX_BYTES, false, err);

	if (rc < 0)
		return rc;
	if (memchr(*name, ',', *len) || **name == '@')
		return error_set(err, ERR_ARG,
		                 "the name of a list holds no comma and does not begin with '@'");
	return 0;
}

/* "'a', 'b'": the lists that there are, as many as fit. */
static int list_names(text *names, store *s, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, "SELECT name FROM list ORDER BY name", err);

	while (store_next(&rc, s, st, err))
		if (text_addf(names, "%s'%s'", names->len ? ", " : "",
		              (const char *)sqlite3_column_text(st, 0)) < 0)
			break;
	sqlite3_finalize(st);
	return rc;
}

static int no_list(store *s, const char *name, error *err)
{
	text names;
	int rc;

	text_init(&names, 300);
	rc = list_names(&names, s, err);
	if (rc == 0 && names.len)
		rc = error_set(err, ERR_NOTFOUND, "'%s' has no list '%.100s', but %s", s->path, name,
		               names.data);
	else if (rc == 0)
		rc = error_set(err, ERR_NOTFOUND, "'%s' has no list '%.100s', nor any other", s->path, name);
	text_free(&names);
	return rc;
}

/* *id 0: there is none. */
static int find_list(int64_t *id, store *s, const char *name, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = store_prepare(&st, s, "SELECT id FROM list WHERE name = ?1", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "t", name);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	*id = rc == 0 && row ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_finalize(st);
	return rc;
}

static int need_list(int64_t *id, store *s, const char *name, error *err)
{
	int rc = find_list(id, s, name, err);

	return rc == 0 && *id == 0 ? no_list(s, name, err) : rc;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------------- */

int list_mark(bool *wanted, store *s, const store_source *source, const char *name, error *err)
{
	sqlite3_stmt *st = NULL;
	int64_t id, feature;
	int rc = need_list(&id, s, name, err);

	if (rc == 0)
		rc = store_prepare(
		        &st, s, "SELECT feature FROM list_item WHERE list_id = ?1 AND source_id = ?2", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ii", id, source->id);
	while (store_next(&rc, s, st, err)) {
		feature = sqlite3_column_int64(st, 0);
		if (feature >= 0 && feature < source->n_features)
			wanted[feature] = true;
	}
	sqlite3_finalize(st);
	return rc;
}

int store_lists(cJSON **out, store *s, error *err)
{
	cJSON *page = cJSON_CreateObject(), *list, *item;
	sqlite3_stmt *st = NULL;
	bool failed = false;
	int rc;

	list = json_put_array(page, "lists", &failed);
	rc = store_prepare(
	        &st, s,
	        "SELECT l.name, count(i.feature) AS features, count(DISTINCT i.source_id) AS sources,"
	        " l.created FROM list l LEFT JOIN list_item i ON i.list_id = l.id"
	        " GROUP BY l.id ORDER BY l.name",
	        err);
	while (store_next(&rc, s, st, err)) {
		item = json_put_object(list, NULL, &failed);
		for (int i = 0; i < sqlite3_column_count(st); i++)
			json_put_column(item, sqlite3_column_name(st, i), st, i, &failed);
	}
	sqlite3_finalize(st);
	return json_finish(out, page, rc, failed, err);
}

int store_list_get(cJSON **out, store *s, const char *name, error *err)
{
	cJSON *page = NULL, *list, *item;
	sqlite3_stmt *st = NULL;
	bool failed = false;
	int64_t id;
	int rc = need_list(&id, s, name, err);

	if (rc < 0)
		return rc;
	page = cJSON_CreateObject();
	json_put_text(page, "name", name, &failed);
	list = json_put_array(page, "features", &failed);
	rc = store_prepare(&st, s,
	                   "SELECT s.name AS source, i.feature, f.density, f.max_act, e.text AS label"
	                   " FROM list_item i JOIN source s ON s.id = i.source_id"
	                   " LEFT JOIN feature f ON f.source_id = i.source_id AND f.feature = i.feature"
	                   " LEFT JOIN label e ON e.source_id = i.source_id AND e.feature = i.feature"
	                   " WHERE i.list_id = ?1 ORDER BY i.source_id, i.feature",
	                   err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", id);
	while (store_next(&rc, s, st, err)) {
		item = json_put_object(list, NULL, &failed);
		for (int i = 0; i < sqlite3_column_count(st); i++)
			json_put_column(item, sqlite3_column_name(st, i), st, i, &failed);
	}
	sqlite3_finalize(st);
	return json_finish(out, page, rc, failed, err);
}

/* ---- Writing ------------------------------------------------------------------------------------------------------------- */

static int make_list(int64_t *id, store *s, const char *name, size_t len, error *err)
{
	char now[32], *copy = strndup(name, len);
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc = copy ? find_list(id, s, copy, err) : error_nomem(err, "the name of a list");

	if (rc == 0 && *id == 0) {
		clock_iso8601(now, clock_unix());
		rc = store_prepare(&st, s, "INSERT INTO list(name, created) VALUES (?1, ?2) RETURNING id",
		                   err);
		if (rc == 0)
			rc = store_bind(s, st, err, "tt", copy, now);
		if (rc == 0)
			rc = store_step(s, st, &row, err);
		if (rc == 0 && row) {
			*id = sqlite3_column_int64(st, 0);
			rc = store_run(s, st, err);
		}
		sqlite3_finalize(st);
	}
	free(copy);
	return rc;
}

/* Run `sql` for ?1 list, ?2 source, ?3 each feature; *changed: rows it changed. */
static int change_items(uint64_t *changed, store *s, const char *sql, int64_t list, int64_t source,
                        const uint32_t *features, size_t n, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, sql, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = store_bind(s, st, err, "iii", list, source, (int64_t)features[i]);
		if (rc == 0)
			rc = store_run(s, st, err);
		if (rc == 0)
			*changed += (uint64_t)sqlite3_changes(s->db);
	}
	sqlite3_finalize(st);
	return rc;
}

int store_list_add(uint64_t *added, store *s, const char *name, const char *source, const uint32_t *features,
                   size_t n, error *err)
{
	size_t len = strlen(name);
	uint64_t changed = 0;
	store_source of;
	int64_t id = 0;
	int rc = person_writable(s, err);

	if (rc == 0)
		rc = check_name(&name, &len, err);
	if (rc == 0)
		rc = store_source_get(&of, s, source, err);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = person_in_range(&of, features[i], err);
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = make_list(&id, s, name, len, err);
	if (rc == 0)
		rc = change_items(&changed, s, "INSERT OR IGNORE INTO list_item VALUES (?1, ?2, ?3)", id,
		                  of.id, features, n, err);
	rc = store_end(s, rc, err);
	if (rc == 0 && added)
		*added = changed;
	return rc;
}

int store_list_remove(uint64_t *removed, store *s, const char *name, const char *source,
                      const uint32_t *features, size_t n, error *err)
{
	uint64_t changed = 0;
	store_source of;
	int64_t id = 0;
	int rc = person_writable(s, err);

	if (rc == 0)
		rc = store_source_get(&of, s, source, err);
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = need_list(&id, s, name, err);
	if (rc == 0)
		rc = change_items(
		        &changed, s,
		        "DELETE FROM list_item WHERE list_id = ?1 AND source_id = ?2 AND feature = ?3", id,
		        of.id, features, n, err);
	rc = store_end(s, rc, err);
	if (rc == 0 && removed)
		*removed = changed;
	return rc;
}

static int run_on_list(store *s, const char *sql, int64_t id, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, sql, err);

	if (rc == 0)
		rc = store_bind(s, st, err, "i", id);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

int store_list_delete(store *s, const char *name, error *err)
{
	int64_t id = 0;
	int rc = person_writable(s, err);

	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		return rc;
	rc = need_list(&id, s, name, err);
	if (rc == 0)
		rc = run_on_list(s, "DELETE FROM list_item WHERE list_id = ?1", id, err);
	if (rc == 0)
		rc = run_on_list(s, "DELETE FROM list WHERE id = ?1", id, err);
	return store_end(s, rc, err);
}

int store_list_rename(store *s, const char *name, const char *to, error *err)
{
	size_t len = strlen(to);
	int64_t id = 0, taken = 0;
	sqlite3_stmt *st = NULL;
	char *copy = NULL;
	int rc = person_writable(s, err);

	if (rc == 0)
		rc = check_name(&to, &len, err);
	if (rc == 0 && !(copy = strndup(to, len)))
		rc = error_nomem(err, "the name of a list");
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc < 0)
		goto out;
	rc = need_list(&id, s, name, err);
	if (rc == 0)
		rc = find_list(&taken, s, copy, err);
	if (rc == 0 && taken)
		rc = error_set(err, ERR_EXISTS, "'%s' has a list '%s' already", s->path, copy);
	if (rc == 0)
		rc = store_prepare(&st, s, "UPDATE list SET name = ?2 WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "it", id, copy);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	rc = store_end(s, rc, err);
out:
	free(copy);
	return rc;
}
