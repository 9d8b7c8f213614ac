/* See page.h. */
#include "cli/page.h"

int page_run(const command *self, int argc, char **argv, void *opts, const page_command *c)
{
	cJSON *page = NULL;
	cli_parsed p;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, opts, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = c->ask(&page, &p, opts, &err);
	if (!rc && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (!rc) {
		rc = c->print(page, &p, opts, &err);
	}
	if (rc)
		code = rc == ERR_STOPPED ? (cli_fail(self, &err), EXIT_FAILED) : cli_fail(self, &err);
out:
	cJSON_Delete(page);
	cli_parsed_clear(&p);
	return code;
}

int page_print_rows(const cJSON *rows, const cli_column *columns, size_t n,
                    int (*add)(cli_table *t, const cJSON *row), error *err)
{
	cli_table *t = NULL;
	const cJSON *row;
	int rc = cli_table_new(&t, columns, n, err);

	cJSON_ArrayForEach(row, rows)
	{
		if (!rc && add(t, row))
			rc = error_nomem(err, "a table");
	}
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}
