/* gloss features: the features of a source, filtered, sorted, by pages. */
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/store_args.h"

typedef struct features_opts {
	store_args store;
	const char *where, *sort;
	uint64_t limit, offset;
} features_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(features_opts, store),
	OPTION(features_opts, where, "where", 'w', OPTION_STRING, "EXPR", NULL, 0, 0,
	       "only features for which this SQL expression over their columns holds"),
	OPTION(features_opts, sort, "sort", 's', OPTION_STRING, "COLUMN", "feature", 0, 0,
	       "order by this column; with '-' before it, the largest first"),
	OPTION(features_opts, limit, "limit", 'n', OPTION_U64, "N", "25", 1, 1e9, "features of a page"),
	OPTION(features_opts, offset, "offset", 0, OPTION_U64, "N", "0", 0, 0, "features to pass over"),
};

static int add_row(cli_table *t, const cJSON *f)
{
	int rc = number_cell(t, answer_number(f, "feature"), 10);

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

static int print_page(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "feature", true, 0 }, { "density", true, 0 },     { "max", true, 0 },
		{ "mean", true, 0 },    { "top token", false, 16 }, { "score", true, 0 },
		{ "label", false, 60 },
	};
	const cJSON *features = cJSON_GetObjectItem(page, "features"), *f;
	double total = answer_number(page, "total"), first = answer_number(page, "offset") + 1;
	int n = cJSON_GetArraySize(features), rc;
	cli_table *t = NULL;

	if (n == 0) {
		if (total > 0)
			printf("none behind the first %.0f: %.0f in all\n", first - 1, total);
		else
			printf("no features match\n");
		return 0;
	}
	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(f, features)
	{
		if (!rc && add_row(t, f))
			rc = error_nomem(err, "the table of features");
	}
	if (!rc) {
		cli_table_print(t, stdout);
		printf("%.0f-%.0f of %.0f\n", first, first + n - 1, total);
	}
	cli_table_free(t);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	features_opts o = { 0 };
	store_features_opts query;
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
	query = (store_features_opts){ o.store.source, o.where, o.sort, o.limit, o.offset };
	rc = store_args_open(&s, &o.store, &err);
	if (!rc)
		rc = store_features(&page, s, &query, &err);
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

const command cmd_features_command = {
	.name = "features",
	.run = run,
	.help = "list features: filter, sort, page",
	.usage = "-d STORE",
	.about = "Columns that --where and --sort may name:\n"
	         "\n"
	         "  feature, n_fires, n_contexts, density (share of tokens it fires on), max_act,\n"
	         "  mean_act, std_act, skewness, kurtosis, top_token (id), top_token_text,\n"
	         "  top_token_share, token_entropy, decoder_norm, dead (0 or 1); of the latest label:\n"
	         "  label, label_method, label_model, label_confidence; of its latest score: score,\n"
	         "  score_low, score_high, score_baseline, scorer, judge.\n"
	         "\n"
	         "The expression is SQLite's, with functions like lower, length, round, LIKE and GLOB. What "
	         "is\n"
	         "not known (no label, no score) is NULL and comes last in any order.",
	.examples =
	        "gloss features -d demo.db --sort -density\n"
	        "gloss features -d demo.db --where \"label LIKE '%month%' AND score > 0.8\" --sort -score\n"
	        "gloss features -d demo.db --where dead --limit 100 --json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 0,
};
