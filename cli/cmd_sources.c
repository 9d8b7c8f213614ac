/* gloss sources: what a store holds. */
#include "cli/commands.h"
#include "cli/page.h"
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

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	static const cli_column columns[] = {
		{ "source", false, 40 }, { "kind", false, 0 },    { "architecture", false, 24 },
		{ "features", true, 0 }, { "tokens", true, 0 },   { "contexts", true, 0 },
		{ "firings", true, 0 },  { "stored", true, 0 },   { "dead", true, 0 },
		{ "dense", true, 0 },    { "labelled", true, 0 }, { "scored", true, 0 },
	};
	const cJSON *sources = cJSON_GetObjectItem(page, "sources");

	(void)p;
	(void)opts;
	if (cJSON_GetArraySize(sources))
		return page_print_rows(sources, columns, ARRAY_LEN(columns), add_source, err);
	printf("no sources: gloss index makes one\n");
	return 0;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const sources_opts *o = opts;
	store *s = NULL;
	int rc = store_args_open(&s, &o->store, err);

	(void)p;
	if (!rc)
		rc = store_source_list(page, s, err);
	store_close(s);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	sources_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
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
