/* gloss features: the features of one source or several, filtered, sorted, by pages. */
#include <inttypes.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/page.h"
#include "cli/store_args.h"

typedef struct features_opts {
	const char *store;
	option_list sources;
	const char *where, *sort, *list;
	bool all_sources, dead, dense, single_token;
	uint64_t random, seed, limit, offset;
} features_opts;

#define FLAG(field, name, help) OPTION(features_opts, field, name, 0, OPTION_BOOL, NULL, NULL, 0, 0, help)

static const option options[] = {
	OPTION(features_opts, store, "store", 'd', OPTION_STRING, "FILE", NULL, 0, 0, "the store; required"),
	OPTION(features_opts, sources, "source", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "indexed SAE; needed where the store holds several"),
	FLAG(all_sources, "all-sources", "of every source of the store"),
	OPTION(features_opts, where, "where", 'w', OPTION_STRING, "EXPR", NULL, 0, 0,
	       "only features for which this SQL expression over their columns holds"),
	OPTION(features_opts, list, "list", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "only features of this list (see gloss list)"),
	FLAG(dead, "dead", "only those that never fire: --where dead"),
	FLAG(dense, "dense", "only those that fire on over 10 % of tokens: --where dense"),
	FLAG(single_token, "single-token",
	     "only those that fire on one token nearly always: --where single_token"),
	OPTION(features_opts, random, "random", 0, OPTION_U64, "N", "0", 0, 1e9,
	       "draw so many of those that match; 0: all of them"),
	OPTION(features_opts, seed, "seed", 0, OPTION_U64, "N", "0", 0, 0,
	       "of the draw: the same one draws the same"),
	OPTION(features_opts, sort, "sort", 's', OPTION_STRING, "COLUMNS", "feature", 0, 0,
	       "order by these columns, apart by commas; with '-' before one, the largest first"),
	OPTION(features_opts, limit, "limit", 'n', OPTION_U64, "N", "25", 1, 1e9, "features of a page"),
	OPTION(features_opts, offset, "offset", 0, OPTION_U64, "N", "0", 0, 0, "features to pass over"),
};

static int add_row(cli_table *t, const cJSON *f, bool several)
{
	int rc = several ? string_cell(t, answer_string(f, "source")) : 0;

	if (!rc)
		rc = number_cell(t, answer_number(f, "feature"), 10);
	if (!rc)
		rc = number_cell(t, answer_number(f, "density"), 3);
	if (!rc)
		rc = number_cell(t, answer_number(f, "max_act"), 4);
	if (!rc)
		rc = number_cell(t, answer_number(f, "mean_act"), 4);
	if (!rc)
		rc = token_cell(t, answer_string(f, "top_token_text"));
	if (!rc)
		rc = number_cell(t, answer_number(f, "score"), 3);
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	static const cli_column columns[] = {
		{ "source", false, 24 }, { "feature", true, 0 }, { "density", true, 0 },
		{ "max", true, 0 },      { "mean", true, 0 },    { "top token", false, 16 },
		{ "score", true, 0 },    { "label", false, 60 },
	};
	const cJSON *features = cJSON_GetObjectItem(page, "features"), *f;
	double total = answer_number(page, "total"), first = answer_number(page, "offset") + 1;
	bool several = cJSON_GetObjectItem(page, "sources") != NULL;
	int n = cJSON_GetArraySize(features), rc;
	cli_table *t = NULL;

	(void)p;
	(void)opts;
	if (n == 0) {
		if (total > 0)
			printf("none behind the first %.0f: %.0f in all\n", first - 1, total);
		else
			printf("no features match\n");
		return 0;
	}
	rc = cli_table_new(&t, several ? columns : columns + 1, ARRAY_LEN(columns) - !several, err);
	cJSON_ArrayForEach(f, features)
	{
		if (!rc && add_row(t, f, several))
			rc = error_nomem(err, "the table of features");
	}
	if (!rc) {
		cli_table_print(t, stdout);
		printf("%.0f-%.0f of %.0f", first, first + n - 1, total);
		if (cJSON_GetObjectItem(page, "matching"))
			printf(" drawn from %.0f", answer_number(page, "matching"));
		printf("\n");
	}
	cli_table_free(t);
	return rc;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const features_opts *o = opts;
	store_features_opts query = { .where = o->where,
		                      .sort = o->sort,
		                      .list = o->list,
		                      .dead = o->dead,
		                      .dense = o->dense,
		                      .single_token = o->single_token,
		                      .random = o->random,
		                      .seed = o->seed,
		                      .limit = o->limit,
		                      .offset = o->offset };
	store_args args = { .store = o->store };
	store *s = NULL;
	int rc;

	query.sources = (store_sources){ o->sources.items, o->sources.n, o->all_sources };
	if (o->random && !cli_given(p, "limit"))
		query.limit = o->random;
	if (o->all_sources && o->sources.n)
		return error_set(err, ERR_ARG, "give --source or --all-sources, not both");
	if (cli_given(p, "seed") && !o->random)
		return error_set(err, ERR_ARG, "--seed goes with --random");
	rc = store_args_open(&s, &args, err);
	if (!rc)
		rc = store_features(page, s, &query, err);
	store_close(s);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	features_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_features_command = {
	.name = "features",
	.run = run,
	.help = "list features: filter, draw, sort, page",
	.usage = "-d STORE",
	.about =
	        "Columns that --where and --sort may name:\n"
	        "\n"
	        "  feature, n_fires, n_contexts, density (share of tokens it fires on), max_act,\n"
	        "  mean_act, std_act, skewness, kurtosis, top_token (id), top_token_text,\n"
	        "  top_token_share, token_entropy, decoder_norm;\n"
	        "  true or false (1 or 0): dead (n_fires = 0), dense (density > 0.1), single_token\n"
	        "  (n_fires >= 10 and top_token_share >= 0.9); of the latest label that holds: label,\n"
	        "  label_method, label_model, label_confidence; of its latest score: score, score_low,\n"
	        "  score_high, score_baseline, scorer, judge; source (its name) and kind.\n"
	        "\n"
	        "Dead is said of the tokens indexed: of N tokens, a feature with a density up to 3 / N may "
	        "well be\n"
	        "silent on all (1 in 20). top_token_share and token_entropy are estimated from the stored "
	        "examples.\n"
	        "\n"
	        "The expression is SQLite's, with functions like lower, length, round, LIKE and GLOB. What "
	        "is\n"
	        "not known (no label, no score) is NULL and comes last in any order; equal ones go by source "
	        "and\n"
	        "feature.",
	.examples = "gloss features -d demo.db --sort -density\n"
	            "gloss features -d demo.db --where \"label LIKE '%month%' AND score > 0.8\" --sort "
	            "-score,density\n"
	            "gloss features -d demo.db --dead --limit 100 --json\n"
	            "gloss features -d demo.db --all-sources --where 'NOT dead' --random 20 --seed 1",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 0,
};
