/* Sets of contexts. See context_set.h. */
#include "store/context_set.h"

#include <errno.h>

static int by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int add_number(context_set *set, store *s, const store_source *source, sqlite3_stmt *row,
                      const char *digits, error *err)
{
	int64_t id;
	bool is;
	int rc;

	errno = 0;
	id = strtoll(digits, NULL, 10);
	if (errno)
		return error_set(err, ERR_ARG, "%.40s is not the number of a context", digits);
	rc = store_bind(s, row, err, "ii", source->id, id);
	if (rc == 0)
		rc = store_step(s, row, &is, err);
	if (rc == 0 && !is)
		return error_set(err, ERR_NOTFOUND, "'%s' has no context %s", source->name, digits);
	sqlite3_reset(row);
	if (rc == 0 && mem_grow(&set->ids, &set->cap, set->n + 1, sizeof(*set->ids)) < 0)
		return error_nomem(err, "contexts");
	if (rc == 0)
		set->ids[set->n++] = id;
	return rc;
}

static int add_line(context_set *set, store *s, const store_source *source, sqlite3_stmt *row,
                    const char *line, error *err)
{
	static const char blank[] = " \t\r\n";
	size_t before = set->n, digits;
	int rc;

	line += strspn(line, blank);
	if (!*line)
		return 0;
	digits = strspn(line, "0123456789");
	if (digits > 0 && line[digits + strspn(line + digits, blank)] == '\0')
		rc = add_number(set, s, source, row, line, err);
	else
		rc = find_text_contexts(set, s, source, line, err);
	set->empty_lines += rc == 0 && set->n == before;
	return rc;
}

int context_set_read(context_set *set, store *s, const store_source *source, const char *const *lines,
                     size_t n, const char *name, error *err)
{
	sqlite3_stmt *row = NULL;
	error cause = { 0 };
	size_t kept = 0;
	int rc;

	*set = (context_set){ 0 };
	rc = store_prepare(&row, s, "SELECT 1 FROM source_context WHERE source_id = ?1 AND context_id = ?2",
	                   err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = add_line(set, s, source, row, lines[i], &cause);
		if (rc < 0)
			rc = error_set(err, rc == ERR_ARG ? ERR_FORMAT : rc, "%.200s, line %zu: %.280s", name,
			               i + 1, cause.msg);
	}
	sqlite3_finalize(row);
	if (set->n > 0)
		qsort(set->ids, set->n, sizeof(*set->ids), by_id);
	for (size_t i = 0; i < set->n; i++)
		if (kept == 0 || set->ids[kept - 1] != set->ids[i])
			set->ids[kept++] = set->ids[i];
	set->n = kept;
	return rc;
}

bool context_set_has(const context_set *set, int64_t id)
{
	return set->n > 0 && bsearch(&id, set->ids, set->n, sizeof(*set->ids), by_id) != NULL;
}

void context_set_clear(context_set *set)
{
	free(set->ids);
	*set = (context_set){ 0 };
}
