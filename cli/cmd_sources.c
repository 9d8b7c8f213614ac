/* gloss sources: what a store holds. */
#include "cli/commands.h"
#include "cli/store_args.h"

typedef struct sources_opts {
	store_args store;
} sources_opts;

static const option options[] = {
	STORE_ARG_OPTION(sources_opts, store),
};

static int add_source(cli_table *t, const cJSON *s)
{
	static const char *const counts[] = { "n_features", "n_tokens", "n_contexts", "n_firings" },
	                         *const behind[] = { "dead", "dense", "labelled", "scored" };
	bool corpus = cJSON_IsTrue(cJSON_GetObjectItem(s, "corpus"));
	int rc = string_cell(t, answer_string(s, "name"));

	if (!rc)
		rc = string_cell(t, answer_string(s, "kind"));
	if (!rc)
		rc = string_cell(t, answer_string(s, "architecture"));
	for (size_t i = 0; i < ARRAY_LEN(counts) && !rc; i++)
		rc = cli_table_cell(t, "%.0f", answer_number(s, counts[i]));
	if (!rc)
		rc = corpus ? cli_table_cell(t, "all")
		            : cli_table_cell(t, "%.0f", answer_number(s, "n_stored"));
	for (size_t i = 0; i < ARRAY_LEN(behind) && !rc; i++)
		rc = cli_table_cell(t, "%.0f", answer_number(s, behind[i]));
	return rc;
}

static int print_page(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "source", false, 40 }, { "kind", false, 0 },    { "architecture", false, 24 },
		{ "features", true, 0 }, { "tokens", true, 0 },   { "contexts", true, 0 },
		{ "firings", true, 0 },  { "stored", true, 0 },   { "dead", true, 0 },
		{ "dense", true, 0 },    { "labelled", true, 0 }, { "scored", true, 0 },
	};
	const cJSON *sources = cJSON_GetObjectItem(page, "sources"), *source;
	cli_table *t = NULL;
	int rc;

	if (!cJSON_GetArraySize(sources)) {
		printf("no sources: gloss index makes one\n");
		return 0;
	}
	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(source, sources)
	{
		if (!rc && add_source(t, source))
			rc = error_nomem(err, "the table of sources");
	}
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	sources_opts o = { 0 };
	cJSON *page = NULL;
	store *s = NULL;
	cli_parsed p;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = store_args_open(&s, &o.store, &err);
	if (!rc)
		rc = store_source_list(&page, s, &err);
	if (!rc && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (!rc) {
		rc = print_page(page, &err);
	}
	if (rc)
		code = cli_fail(self, &err);
out:
	cJSON_Delete(page);
	store_close(s);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_sources_command = {
	.name = "sources",
	.run = run,
	.help = "what a store holds: indexed SAEs, with their counts",
	.usage = "-d STORE",
	.about = "A line for each source: what its features are (an SAE's, the model's own neurons,\n"
	         "codes computed elsewhere), how many, the tokens and contexts they were counted over,\n"
	         "firings, contexts whose firings are stored, features that never fire, that fire on\n"
	         "over 10 % of tokens, that have a label, and whose label has a score. --json gives also\n"
	         "the hashes of weights, dumps and tokenizer, and options, command line, version and\n"
	         "time of the index run.",
	.examples = "gloss sources -d demo.db",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 0,
};
