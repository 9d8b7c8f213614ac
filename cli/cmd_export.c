/* gloss export: a store's tables for other programs; an SAE in another tool's format. */
#include <inttypes.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/export_sae.h"
#include "cli/store_args.h"

typedef struct export_opts {
	store_args store;
	const char *to, *output;
	option_list tables;
	bool force;
} export_opts;

static const option options[] = {
	STORE_ARG_OPTION(export_opts, store),
	OPTION(export_opts, to, "to", 0, OPTION_ENUM,
	       "csv|saelens|gloss|sparsify|gemma-scope|gemma-scope-2|dictionary-learning|openmoss", "csv", 0,
	       0, "format to write: csv of a store, the others of an SAE"),
	OPTION(export_opts, output, "output", 'o', OPTION_STRING, "DIR", NULL, 0, 0,
	       "folder to make; required"),
	OPTION(export_opts, tables, "table", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "a table or view, if not all of them"),
	OPTION(export_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "replace a folder that an export made, or the files of an SAE"),
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
	if (p.n_args != (strcmp(o.to, "csv") != 0)) {
		error_set(&err, ERR_ARG, "%s",
		          p.n_args ? "an SAE is written in which format? give it with --to FORMAT"
		                   : "which SAE is to be written? give its folder");
		code = cli_fail(self, &err);
		goto out;
	}
	if (p.n_args) {
		code = export_sae(self, &p, o.to, o.output, o.force);
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
	.help = "write a store's tables, or an SAE, for other programs",
	.usage = "-d STORE -o DIR | SAE --to FORMAT -o DIR",
	.about = "Writes tables and views, each as NAME.csv, into a folder that appears whole or not at all. "
	         "docs/store.md says what they hold; without --table all are written, and views that "
	         "spell out every token of every example are large: 'gloss sql --csv' writes parts of them. "
	         "Indexes of full text are left out.\n\n"
	         "CSV is RFC 4180: UTF-8, a header, lines that end in CR LF. NULL is nothing, empty text is "
	         "\"\"; blobs are hexadecimal digits; numbers read back the same.\n\n"
	         "An SAE of any format is written in any other: --to says which, docs/formats.md what each "
	         "can hold. What a "
	         "format cannot express is folded into the weights where that is exact but for rounding, "
	         "else refused.",
	.examples = "gloss export sae/ --to sparsify -o for_sparsify/\n"
	            "gloss export -d demo.db -o csv --table feature_list --table example_text",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.max_args = 1,
};
