/* gloss import: labels that others gave, into a store. */
#include "cli/commands.h"
#include "cli/import_files.h"
#include "cli/page.h"
#include "cli/store_args.h"

typedef struct import_opts {
	store_args store;
	const char *from;
} import_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(import_opts, store),
	OPTION(import_opts, from, "from", 0, OPTION_ENUM, "neuronpedia", "neuronpedia", 0, 0,
	       "format to read"),
};

static int result_page(cJSON **page, const store_import_result *r, error *err)
{
	cJSON *out = cJSON_CreateObject();

	if (out && cJSON_AddNumberToObject(out, "files", (double)r->n_files) &&
	    cJSON_AddNumberToObject(out, "rows", (double)r->n_rows) &&
	    cJSON_AddNumberToObject(out, "added", (double)r->n_added) &&
	    cJSON_AddNumberToObject(out, "known", (double)r->n_known)) {
		*page = out;
		return 0;
	}
	cJSON_Delete(out);
	return error_nomem(err, "an answer");
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const import_opts *o = opts;
	import_files files = { .mem = ARENA_INIT };
	store_import_result r = { 0 };
	store_stop stop = store_args_stop();
	store *s = NULL;
	progress pr;
	int rc = 0;

	cli_catch_signals();
	for (size_t i = 0; i < p->n_args && !rc; i++)
		rc = import_files_add(&files, p->args[i], err);
	if (!rc)
		rc = store_args_open_to_write(&s, &o->store, err);
	if (!rc) {
		progress_start(&pr, cli_progress_stream(p), "import", "rows", 0);
		rc = store_import_neuronpedia(&r, s, o->store.source, files.paths, files.n, &stop, &pr, err);
		progress_end(&pr);
	}
	store_close(s);
	import_files_clear(&files);
	return rc ? rc : result_page(page, &r, err);
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	(void)p;
	(void)opts;
	(void)err;
	printf("%.0f rows of %.0f files: %.0f labels added, %.0f were there already\n",
	       answer_number(page, "rows"), answer_number(page, "files"), answer_number(page, "added"),
	       answer_number(page, "known"));
	return 0;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	import_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_import_command = {
	.name = "import",
	.run = run,
	.help = "add labels that others gave",
	.usage = "PATH... -d STORE",
	.about = "Adds the explanations of a Neuronpedia export to a source: files of JSON lines, plain or "
	         "gzip-compressed, a folder of them, or the folder of a source (v1/MODEL/SOURCE). Any of the "
	         "files, "
	         "in any order, will do.\n\n"
	         "Type, model and time of an explanation become the label's method, model and time; one "
	         "without a "
	         "type is of method 'neuronpedia'. As with every label the one added last counts, and what "
	         "was there "
	         "stays in the history. Labels that the store has are not added again, withdrawn ones "
	         "neither.\n\n"
	         "A row that is no explanation of a feature of the source ends it: its file and line are "
	         "named, and "
	         "nothing is added.",
	.examples = "gloss import -d demo.db --source res-jb v1/gpt2-small/6-res-jb\n"
	            "gloss import -d demo.db batch-0.jsonl.gz batch-1.jsonl.gz",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = UINT32_MAX,
};
