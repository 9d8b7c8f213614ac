/* gloss export: a store's tables for other programs. */
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/store_args.h"

typedef struct export_opts {
	store_args store;
	const char *to, *output;
	option_list tables;
	bool force;
} export_opts;

static const option options[] = {
	STORE_ARG_OPTION(export_opts, store),
	OPTION(export_opts, to, "to", 0, OPTION_ENUM, "csv", "csv", 0, 0, "format to write"),
	OPTION(export_opts, output, "output", 'o', OPTION_STRING, "DIR", NULL, 0, 0,
	       "folder to make; required"),
	OPTION(export_opts, tables, "table", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "a table or view, if not all of them"),
	OPTION(export_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "replace a folder that an export made"),
};

static cJSON *result_json(const store_csv_result *r, const char *folder)
{
	cJSON *out = cJSON_CreateObject();

	if (out && cJSON_AddStringToObject(out, "folder", folder) &&
	    cJSON_AddNumberToObject(out, "files", (double)r->n_files) &&
	    cJSON_AddNumberToObject(out, "rows", (double)r->n_rows) &&
	    cJSON_AddNumberToObject(out, "bytes", (double)r->n_bytes))
		return out;
	cJSON_Delete(out);
	return NULL;
}

static int export(store_csv_result *r, const export_opts *o, FILE *progress_to, error *err)
{
	store_csv_opts csv = { o->tables.items, o->tables.n, o->force, store_args_stop() };
	progress pr;
	store *s = NULL;
	int rc;

	if (!o->output)
		return error_set(err, ERR_ARG, "which folder is to be made? give it with -o DIR");
	rc = store_args_open(&s, &o->store, err);
	if (rc < 0)
		return rc;
	progress_start(&pr, progress_to, "export", "rows", 0);
	rc = store_export_csv(r, s, o->output, &csv, &pr, err);
	progress_end(&pr);
	store_close(s);
	return rc;
}

static void print_result(const store_csv_result *r, const char *folder)
{
	cli_put(folder);
	printf(": %" PRIu64 " files, %" PRIu64 " rows, %.1f MB\n", r->n_files, r->n_rows,
	       (double)r->n_bytes / 1e6);
}

static int run(const command *self, int argc, char **argv)
{
	export_opts o = { 0 };
	store_csv_result r = { 0 };
	cli_parsed p;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	rc = export(&r, &o, cli_progress_stream(&p), &err);
	if (rc < 0)
		code = rc == ERR_STOPPED ? (cli_fail(self, &err), EXIT_FAILED) : cli_fail(self, &err);
	else if (p.common.json)
		code = cli_print_json(self, result_json(&r, o.output));
	else
		print_result(&r, o.output);
out:
	cli_parsed_clear(&p);
	return code;
}

const command cmd_export_command = {
	.name = "export",
	.run = run,
	.help = "write a store's tables for other programs",
	.usage = "-d STORE -o DIR",
	.about = "Writes tables and views, each as NAME.csv, into a folder that appears whole or not at all. "
	         "docs/store.md says what they hold; without --table all are written, and views that "
	         "spell out every token of every example are large: 'gloss sql --csv' writes parts of them. "
	         "Indexes of full text are left out.\n\n"
	         "CSV is RFC 4180: UTF-8, a header, lines that end in CR LF. NULL is nothing, empty text is "
	         "\"\"; blobs are hexadecimal digits; numbers read back the same.",
	.examples = "gloss export -d demo.db -o csv --table feature_list --table example_text",
	.options = options,
	.n_options = ARRAY_LEN(options),
};
