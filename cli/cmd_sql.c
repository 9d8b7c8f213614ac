/* gloss sql: read-only SQL on a store. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/csv.h"
#include "cli/store_args.h"

typedef struct sql_opts {
	store_args store;
	uint64_t limit;
	double time_limit;
	bool csv;
} sql_opts;

static const option options[] = {
	STORE_ARG_OPTION(sql_opts, store),
	OPTION(sql_opts, limit, "limit", 'n', OPTION_U64, "N", "1000", 1, 1e9, "rows at most"),
	OPTION(sql_opts, time_limit, "time-limit", 0, OPTION_DOUBLE, "SECONDS", "5", 0.001, 86400,
	       "stop the statement after so long"),
	OPTION(sql_opts, csv, "csv", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "print comma-separated values (RFC 4180)"),
};

/* A value as a line of text; for a table, what is too long is cut. NULL: no memory. */
static char *value_text(const cJSON *value, bool whole)
{
	const char *blob = answer_string(value, "blob"), *more = "";
	size_t n = blob ? strlen(blob) : 0;
	char *out;

	if (cJSON_IsString(value))
		return strdup(value->valuestring);
	if (!blob)
		return json_print(value);
	if (whole)
		return strdup(blob);
	if (n > 32) {
		n = 32;
		more = "\xe2\x80\xa6";
	}
	out = malloc(n + 16);
	if (out)
		snprintf(out, n + 16, "x'%.*s%s'", (int)n, blob, more);
	return out;
}

static int print_table(const cJSON *page, error *err)
{
	const cJSON *names = cJSON_GetObjectItem(page, "columns"), *rows = cJSON_GetObjectItem(page, "rows"),
	            *row, *value;
	size_t n = (size_t)cJSON_GetArraySize(names);
	cli_column *columns = calloc(n ? n : 1, sizeof(*columns));
	cli_table *t = NULL;
	char *cell;
	int rc = columns ? 0 : error_nomem(err, "a table");

	for (size_t i = 0; i < n && !rc; i++)
		columns[i] = (cli_column){ cJSON_GetArrayItem(names, (int)i)->valuestring,
			                   cJSON_IsNumber(cJSON_GetArrayItem(rows->child, (int)i)), 80 };
	if (!rc)
		rc = cli_table_new(&t, columns, n, err);
	cJSON_ArrayForEach(row, rows)
	{
		cJSON_ArrayForEach(value, row)
		{
			cell = rc ? NULL : value_text(value, false);
			if (!rc && (!cell || cli_table_cell(t, "%s", cJSON_IsNull(value) ? "NULL" : cell)))
				rc = error_nomem(err, "a table");
			free(cell);
		}
	}
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	free(columns);
	return rc;
}

static int print_csv_row(const cJSON *row, bool visible)
{
	const cJSON *value;
	char *field;
	int rc = 0;

	cJSON_ArrayForEach(value, row)
	{
		if (value != row->child)
			putchar(',');
		if (cJSON_IsNull(value))
			continue;
		field = value_text(value, true);
		rc = field ? csv_field(field, visible) : ERR_NOMEM;
		free(field);
		if (rc)
			return rc;
	}
	fputs("\r\n", stdout);
	return 0;
}

static int print_csv(const cJSON *page, error *err)
{
	bool visible = isatty(STDOUT_FILENO);
	const cJSON *row;
	int rc = print_csv_row(cJSON_GetObjectItem(page, "columns"), visible);

	cJSON_ArrayForEach(row, cJSON_GetObjectItem(page, "rows"))
	{
		if (!rc)
			rc = print_csv_row(row, visible);
	}
	return rc ? error_nomem(err, "a row") : 0;
}

/* The store stops statements between two steps; what it cannot stop ends the program a little later. */
static int ask(cJSON **page, const command *self, store *s, const sql_opts *o, const char *sql, error *err)
{
	char message[80];
	int rc;

	snprintf(message, sizeof(message), "stopped after %g s, the time limit", o->time_limit);
	cli_deadline_start(self, o->time_limit + 0.3, message);
	rc = store_sql(page, s, sql, o->limit, o->time_limit, err);
	cli_deadline_end();
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	sql_opts o = { 0 };
	cJSON *page = NULL;
	store *s = NULL;
	cli_parsed p;
	error err = { 0 };
	int rc, code = EXIT_DONE;
	bool truncated = false;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = store_args_open(&s, &o.store, &err);
	if (!rc)
		rc = ask(&page, self, s, &o, p.args[0], &err);
	if (!rc)
		truncated = cJSON_IsTrue(cJSON_GetObjectItem(page, "truncated"));
	if (!rc && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (!rc) {
		rc = o.csv ? print_csv(page, &err) : print_table(page, &err);
	}
	if (rc)
		code = cli_fail(self, &err);
	else if (truncated)
		cli_warn(self, "there are more rows; see --limit");
out:
	cJSON_Delete(page);
	store_close(s);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_sql_command = {
	.name = "sql",
	.run = run,
	.help = "read a store with SQL",
	.usage = "STATEMENT -d STORE",
	.about = "Runs one statement that reads. Nothing can be written, attached or loaded, and the "
	         "statement "
	         "stops\n"
	         "after --time-limit. 'SELECT name, sql FROM sqlite_schema' tells what there is. In JSON, "
	         "blobs "
	         "are\n"
	         "{\"blob\": hex} and whole numbers over 2^53 are strings; in CSV, NULL is nothing, empty "
	         "text "
	         "is "
	         "\"\", blobs are their hexadecimal digits.",
	.examples = "gloss sql -d demo.db \"SELECT feature, text FROM label ORDER BY feature LIMIT 10\"\n"
	            "gloss sql -d demo.db --csv \"SELECT feature, density FROM feature\" >density.csv",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = 1,
};
