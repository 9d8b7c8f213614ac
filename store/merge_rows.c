/* Rows copied from store to store, their ids changed on the way. */
#include "store/merge.h"

enum { MAX_COLUMNS = 64 };

int id_map_add(id_map *m, int64_t from, int64_t to, error *err)
{
	if (mem_grow(&m->pairs, &m->cap, m->n + 1, sizeof(*m->pairs)) < 0)
		return error_nomem(err, "ids");
	m->pairs[m->n++] = (id_pair){ from, to };
	return 0;
}

static int by_from(const void *a, const void *b)
{
	const id_pair *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

void id_map_sort(id_map *m)
{
	if (m->n)
		qsort(m->pairs, m->n, sizeof(*m->pairs), by_from);
}

bool id_map_find(int64_t *to, const id_map *m, int64_t from)
{
	size_t low = 0, high = m->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->pairs[middle].from < from)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == m->n || m->pairs[low].from != from)
		return false;
	*to = m->pairs[low].to;
	return true;
}

typedef struct copying {
	const row_copy *c;
	store *from, *to;
	int n;                              /* columns */
	const row_rule *rules[MAX_COLUMNS]; /* NULL: as it is */
	sqlite3_stmt *read, *add;
} copying;

static const row_rule *rule_of(const row_copy *c, const char *column)
{
	for (size_t i = 0; i < c->n_rules; i++) {
		if (strcmp(c->rules[i].column, column) == 0)
			return &c->rules[i];
	}
	return NULL;
}

/* The table's columns, in both statements; generated ones make themselves. */
static int find_columns(text *names, text *marks, copying *k, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = true;
	int rc = store_prepare(&st, k->to, "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0", err);

	if (rc == 0)
		rc = store_bind(k->to, st, err, "t", k->c->table);
	while (rc == 0) {
		const char *name;

		rc = store_step(k->to, st, &row, err);
		if (rc < 0 || !row || k->n == MAX_COLUMNS)
			break;
		name = (const char *)sqlite3_column_text(st, 0);
		if (text_addf(names, "%s\"%s\"", k->n ? ", " : "", name) < 0 ||
		    text_addf(marks, "%s?%d", k->n ? ", " : "", k->n + 1) < 0)
			rc = error_nomem(err, "columns");
		k->rules[k->n++] = rule_of(k->c, name);
	}
	sqlite3_finalize(st);
	return rc;
}

static int prepare(copying *k, error *err)
{
	text names, marks, sql;
	int rc;

	text_init(&names, 4096);
	text_init(&marks, 4096);
	text_init(&sql, 16384);
	rc = find_columns(&names, &marks, k, err);
	if (rc == 0 && text_addf(&sql, "SELECT %s FROM \"%s\" %s", names.data, k->c->table, k->c->where) < 0)
		rc = error_nomem(err, "columns");
	if (rc == 0)
		rc = store_prepare(&k->read, k->from, sql.data, err);
	text_clear(&sql);
	if (rc == 0 && text_addf(&sql, "%s INTO \"%s\" (%s) VALUES (%s)", k->c->verb, k->c->table, names.data,
	                         marks.data) < 0)
		rc = error_nomem(err, "columns");
	if (rc == 0)
		rc = store_prepare(&k->add, k->to, sql.data, err);
	text_free(&names);
	text_free(&marks);
	text_free(&sql);
	return rc;
}

static int bind_value(copying *k, int i, error *err)
{
	const row_rule *rule = k->rules[i];
	int64_t value;
	int code;

	if (!rule || (rule->map && sqlite3_column_type(k->read, i) == SQLITE_NULL)) {
		code = sqlite3_bind_value(k->add, i + 1, sqlite3_column_value(k->read, i));
		return code == SQLITE_OK ? 0 : store_error(k->to, code, "bind a value", err);
	}
	value = rule->value;
	if (rule->map && !id_map_find(&value, rule->map, sqlite3_column_int64(k->read, i)))
		return error_set(err, ERR_FORMAT, "'%s' is damaged: %s.%s names %lld, which is not there",
		                 k->from->path, k->c->table, rule->column,
		                 (long long)sqlite3_column_int64(k->read, i));
	code = sqlite3_bind_int64(k->add, i + 1, value);
	return code == SQLITE_OK ? 0 : store_error(k->to, code, "bind a value", err);
}

int merge_rows(row_copy *c, merge *m, merge_input *in, error *err)
{
	copying k = { .c = c, .from = in->s, .to = m->out };
	int rc = prepare(&k, err);

	if (rc == 0 && sqlite3_bind_parameter_count(k.read) > 0)
		rc = store_bind(k.from, k.read, err, "i", c->bound);
	while (store_next(&rc, k.from, k.read, err)) {
		for (int i = 0; i < k.n && rc == 0; i++)
			rc = bind_value(&k, i, err);
		if (rc == 0)
			rc = store_run(k.to, k.add, err);
		if (rc == 0) {
			c->n += (uint64_t)sqlite3_changes(k.to->db);
			rc = merge_step(m, 1, err);
		}
	}
	sqlite3_finalize(k.read);
	sqlite3_finalize(k.add);
	return rc;
}
