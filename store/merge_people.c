/* What people and models said of features: rows of all inputs with new ids, those with a time in its order. */
#include "store/merge.h"

typedef struct timed {
	const char *when; /* the latest time up to this row of its store */
	size_t input;
	int64_t id;
} timed;

static int by_time(const void *a, const void *b)
{
	const timed *x = a, *y = b;
	int order = strcmp(x->when, y->when);

	if (order)
		return order;
	if (x->input != y->input)
		return x->input < y->input ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* ---- New ids ---- */

static int read_times(timed **list, size_t *n, size_t *cap, merge *m, size_t input, const char *sql,
                      arena *mem, error *err)
{
	merge_input *in = &m->inputs[input];
	sqlite3_stmt *st = NULL;
	const char *latest = "";
	int rc = store_prepare(&st, in->s, sql, err);

	while (store_next(&rc, in->s, st, err)) {
		const char *when = NULL;

		rc = store_column_text(&when, st, 1, mem, err);
		if (rc == 0 && mem_grow(list, cap, *n + 1, sizeof(**list)) < 0)
			rc = error_nomem(err, "labels");
		if (rc < 0)
			break;
		latest = when && strcmp(when, latest) > 0 ? when : latest;
		(*list)[(*n)++] = (timed){ latest, input, sqlite3_column_int64(st, 0) };
	}
	sqlite3_finalize(st);
	return rc;
}

/* Rows of the store that had them first come first; of one store they stay in their order. sql: id and time, by id. */
static int number_rows(merge *m, int map, const char *sql, error *err)
{
	timed *list = NULL;
	size_t n = 0, cap = 0;
	arena mem = ARENA_INIT;
	int rc = 0;

	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = read_times(&list, &n, &cap, m, i, sql, &mem, err);
	if (n)
		qsort(list, n, sizeof(*list), by_time);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = id_map_add(&m->inputs[list[i].input].maps[map], list[i].id, (int64_t)i + 1, err);
	for (size_t i = 0; i < m->n_inputs; i++)
		id_map_sort(&m->inputs[i].maps[map]);
	free(list);
	arena_clear(&mem);
	return rc;
}

/* Lists of one name become one, with the earlier time. */
static int number_lists(merge *m, merge_input *in, error *err)
{
	sqlite3_stmt *read = NULL, *add = NULL;
	bool row = true;
	int rc = store_prepare(&read, in->s, "SELECT id, name, created FROM list ORDER BY id", err);

	if (rc == 0)
		rc = store_prepare(
		        &add, m->out,
		        "INSERT INTO list (name, created) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE "
		        "SET created = min(created, excluded.created) RETURNING id",
		        err);
	while (store_next(&rc, in->s, read, err)) {
		int64_t id;

		rc = store_bind(m->out, add, err, "tt", (const char *)sqlite3_column_text(read, 1),
		                (const char *)sqlite3_column_text(read, 2));
		if (rc == 0)
			rc = store_step(m->out, add, &row, err);
		id = sqlite3_column_int64(add, 0);
		if (rc == 0)
			rc = store_run(m->out, add, err);
		if (rc == 0)
			rc = id_map_add(&in->maps[MAP_LIST], sqlite3_column_int64(read, 0), id, err);
	}
	sqlite3_finalize(read);
	sqlite3_finalize(add);
	return rc;
}

static int number_all(merge *m, error *err)
{
	static const struct {
		int map;
		const char *sql;
	} tables[] = {
		{ MAP_JOB, "SELECT id, created FROM job ORDER BY id" },
		{ MAP_TASK, "SELECT id, '' FROM task ORDER BY id" },
		{ MAP_EXPLANATION, "SELECT id, created FROM explanation ORDER BY id" },
		{ MAP_SCORE, "SELECT id, created FROM score ORDER BY id" },
		{ MAP_NOTE, "SELECT id, created FROM note ORDER BY id" },
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(tables) && rc == 0; i++)
		rc = number_rows(m, tables[i].map, tables[i].sql, err);
	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = number_lists(m, &m->inputs[i], err);
	return rc;
}

/* ---- Rows ---- */

typedef struct counts {
	uint64_t labels, scores, jobs, items, notes;
} counts;

static int copy_input(counts *n, merge *m, merge_input *in, error *err)
{
	const row_rule source = { .column = "source_id", .map = &in->maps[MAP_SOURCE] };
	const row_rule task = { .column = "task_id", .map = &in->maps[MAP_TASK] };
	const row_rule label = { .column = "explanation_id", .map = &in->maps[MAP_EXPLANATION] };
	const row_rule job[] = { { .column = "id", .map = &in->maps[MAP_JOB] }, source };
	const row_rule tasks[] = { { .column = "id", .map = &in->maps[MAP_TASK] },
		                   { .column = "job_id", .map = &in->maps[MAP_JOB] },
		                   label };
	const row_rule labels[] = { { .column = "id", .map = &in->maps[MAP_EXPLANATION] }, source, task };
	const row_rule scores[] = { { .column = "id", .map = &in->maps[MAP_SCORE] }, label, task };
	const row_rule notes[] = { { .column = "id", .map = &in->maps[MAP_NOTE] }, source };
	const row_rule items[] = { { .column = "list_id", .map = &in->maps[MAP_LIST] }, source };
	const struct {
		const char *table, *verb;
		const row_rule *rules;
		size_t n_rules;
		uint64_t *count;
	} tables[] = {
		{ "job", "INSERT", job, ARRAY_LEN(job), &n->jobs },
		{ "task", "INSERT", tasks, ARRAY_LEN(tasks), NULL },
		{ "request", "INSERT", &task, 1, NULL },
		{ "explanation", "INSERT", labels, ARRAY_LEN(labels), &n->labels },
		{ "score", "INSERT", scores, ARRAY_LEN(scores), &n->scores },
		{ "golden", "INSERT", &label, 1, NULL },
		{ "list_item", "INSERT OR IGNORE", items, ARRAY_LEN(items), &n->items },
		{ "note", "INSERT", notes, ARRAY_LEN(notes), &n->notes },
		{ "meta", "INSERT OR IGNORE", NULL, 0, NULL },
		{ "prompt", "INSERT OR IGNORE", NULL, 0, NULL },
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(tables) && rc == 0; i++) {
		row_copy c = { .table = tables[i].table,
			       .where = "",
			       .verb = tables[i].verb,
			       .rules = tables[i].rules,
			       .n_rules = tables[i].n_rules };

		rc = merge_rows(&c, m, in, err);
		if (tables[i].count)
			*tables[i].count += c.n;
	}
	return rc;
}

int merge_people(merge *m, error *err)
{
	counts n = { 0 };
	int64_t lists = 0;
	int rc = number_all(m, err);

	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = copy_input(&n, m, &m->inputs[i], err);
	/* Who runs a job runs it in the store that it was read from. */
	if (rc == 0)
		rc = store_exec(m->out,
		                "UPDATE task SET state = 'waiting', lease = NULL WHERE state = 'running';"
		                "UPDATE job SET state = 'stopped' WHERE state = 'running'",
		                err);
	if (rc == 0)
		rc = store_int(&lists, m->out, "SELECT count(*) FROM list", 0, err);
	json_put_number(m->report, "labels", (double)n.labels, &m->failed);
	json_put_number(m->report, "scores", (double)n.scores, &m->failed);
	json_put_number(m->report, "jobs", (double)n.jobs, &m->failed);
	json_put_number(m->report, "lists", (double)lists, &m->failed);
	json_put_number(m->report, "notes", (double)n.notes, &m->failed);
	return rc;
}
