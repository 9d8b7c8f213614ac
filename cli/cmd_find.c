/* gloss find: features by the text they fire on, contexts and labels by words. */
#include <string.h>

#include "cli/commands.h"
#include "cli/find_print.h"
#include "cli/input_lines.h"
#include "cli/page.h"
#include "cli/store_args.h"

typedef struct find_opts {
	store_args store;
	const char *regex, *words, *of, *like, *unlike;
	uint32_t limit;
	double min_precision, min_recall;
	const char *sort;
} find_opts;

#define SORTS "f1|precision|recall|best-f1|auroc"

static const option options[] = {
	STORE_ARGS_OPTIONS(find_opts, store),
	OPTION(find_opts, regex, "regex", 'e', OPTION_STRING, "RE", NULL, 0, 0,
	       "features that fire on the token where group 1 of this regular expression begins"),
	OPTION(find_opts, words, "text", 0, OPTION_STRING, "WORDS", NULL, 0, 0,
	       "contexts and labels that hold these words (FTS5 query)"),
	OPTION(find_opts, of, "of", 0, OPTION_STRING, "FEATURE", NULL, 0, 0,
	       "the reverse: tokens, words and patterns that describe this feature"),
	OPTION(find_opts, like, "like", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "features that tell these contexts from others: a line is a context's number, or words that "
	       "contexts "
	       "hold; - is standard input"),
	OPTION(find_opts, unlike, "unlike", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "with --like: the others; without it all that are left"),
	OPTION(find_opts, limit, "limit", 'n', OPTION_U32, "N", "20", 1, 1e6, "lines of each list"),
	OPTION(find_opts, min_precision, "min-precision", 0, OPTION_DOUBLE, "P", "0", 0, 1,
	       "with --regex: only features of at least this precision"),
	OPTION(find_opts, min_recall, "min-recall", 0, OPTION_DOUBLE, "R", "0", 0, 1,
	       "with --regex: only features of at least this recall"),
	OPTION(find_opts, sort, "sort", 's', OPTION_ENUM, SORTS, NULL, 0, 0,
	       "order of the list, the highest first: with --regex by these, else by f1; with --like by "
	       "auroc, else by how "
	       "far that is from a half"),
};

/* In the order of store_regex_sort. */
static const char *const sorts[] = { "f1", "precision", "recall", "best-f1", "auroc" };

static int find_regex(cJSON **page, store *s, const find_opts *o, error *err)
{
	store_regex_opts query = {
		.source = o->store.source,
		.pattern = o->regex,
		.limit = o->limit,
		.min_precision = o->min_precision,
		.min_recall = o->min_recall,
	};

	while (o->sort && strcmp(sorts[query.sort], o->sort) != 0)
		query.sort++;
	return store_find_regex(page, s, &query, err);
}

static int find_like(cJSON **page, store *s, const find_opts *o, error *err)
{
	store_like_opts query = { .source = o->store.source,
		                  .limit = o->limit,
		                  .sort = o->sort ? STORE_LIKE_AUROC : STORE_LIKE_SEPARATION };
	input_lines like = { 0 }, unlike = { 0 };
	int rc = input_lines_read(&like, o->like, err);

	if (!rc && o->unlike)
		rc = input_lines_read(&unlike, o->unlike, err);
	query.like = (const char *const *)like.lines;
	query.n_like = like.n;
	query.like_name = like.name;
	query.unlike = (const char *const *)unlike.lines;
	query.n_unlike = unlike.n;
	query.unlike_name = unlike.name;
	if (!rc)
		rc = store_find_like(page, s, &query, err);
	input_lines_clear(&like);
	input_lines_clear(&unlike);
	return rc;
}

static int find(cJSON **page, store *s, const find_opts *o, error *err)
{
	uint32_t feature;

	if (o->regex)
		return find_regex(page, s, o, err);
	if (o->like)
		return find_like(page, s, o, err);
	if (o->of)
		return feature_arg(&feature, o->of, err)
		               ? ERR_ARG
		               : store_find_of(page, s, o->store.source, feature, o->limit, err);
	return store_find_text(page, s, o->store.source, o->words, o->limit, err);
}

static int check(const cli_parsed *p, const find_opts *o, error *err)
{
	if (!!o->regex + !!o->words + !!o->of + !!o->like != 1)
		return error_set(err, ERR_ARG,
		                 "give one of --regex RE, --of FEATURE, --like FILE and --text WORDS");
	if (!o->regex && (cli_given(p, "min-precision") || cli_given(p, "min-recall")))
		return error_set(err, ERR_ARG, "--min-precision and --min-recall go with --regex");
	if (o->sort && !o->regex && !(o->like && strcmp(o->sort, "auroc") == 0))
		return error_set(err, ERR_ARG, "--sort %s goes with --regex%s", o->sort,
		                 strcmp(o->sort, "auroc") ? "" : " and --like");
	if (o->unlike && !o->like)
		return error_set(err, ERR_ARG, "--unlike goes with --like");
	if (o->unlike && strcmp(o->like, "-") == 0 && strcmp(o->unlike, "-") == 0)
		return error_set(err, ERR_ARG, "--like and --unlike cannot both be standard input");
	return 0;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const find_opts *o = opts;
	store *s = NULL;
	int rc = check(p, o, err);

	if (!rc)
		rc = store_args_open(&s, &o->store, err);
	if (!rc)
		rc = find(page, s, o, err);
	store_close(s);
	return rc;
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	const find_opts *o = opts;

	return o->regex  ? find_print_regex(page, err)
	       : o->of   ? find_print_of(page, err)
	       : o->like ? find_print_like(page, err)
	                 : find_print_text(page, cli_color(p), err);
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	find_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_find_command = {
	.name = "find",
	.run = run,
	.help = "find features by a regular expression or by words",
	.usage = "-d STORE (--regex RE | --of FEATURE | --like FILE | --text WORDS)",
	.about =
	        "--regex: a pattern (PCRE2) over the text of the contexts whose firings are stored: all "
	        "with\n"
	        "index --corpus, else the random sample. A match stands for the token that holds the first "
	        "character\n"
	        "of its group 1 (of the whole, in a pattern without groups). Precision is the share of a "
	        "feature's\n"
	        "firings that are such tokens, recall the share of such tokens on which it fires; the list "
	        "is by F1.\n"
	        "Best F1 is that of the activation at its best threshold ('from'), AUROC that of the "
	        "activation over\n"
	        "all tokens, silent ones as 0. The threshold is the best one for these same tokens, and "
	        "the first of a\n"
	        "list are the best of many features: on other text expect less.\n"
	        "\n"
	        "--of: what the tokens are on which a feature fires, over the same firings: the token, those "
	        "before and\n"
	        "behind it, the first word in it (w|ord: the token begins at the bar) and how that begins "
	        "and "
	        "ends, each\n"
	        "with precision (of the feature's firings), recall (of such tokens) and lift (precision over "
	        "their share\n"
	        "of all tokens); and patterns made of these: --regex gives the same numbers for them.\n"
	        "They are made from and measured on the same tokens: a list of words may hold some by "
	        "chance.\n"
	        "\n"
	        "--like: features that tell the contexts of a file from others, by the maximum in each: "
	        "AUROC, the chance\n"
	        "that it is higher in one of the file's, with its 95 % interval; p, and q, the share of "
	        "false ones to\n"
	        "expect among all features with such a p or less. The interval is of each feature by "
	        "itself: the first\n"
	        "of a list, the best of many, are likely worse on other contexts.\n"
	        "\n"
	        "--text: contexts and labels that hold the words, by SQLite's FTS5: \"exact phrase\", OR, "
	        "NOT, pre*,\n"
	        "and the features strongest on the words found.",
	.examples = "gloss find -d demo.db --regex '\\b(January|February|March)\\b'\n"
	            "gloss find -d demo.db --regex 'New (York)' --min-precision 0.5\n"
	            "gloss find -d demo.db --of 1234\n"
	            "echo climate | gloss find -d demo.db --like -\n"
	            "gloss find -d demo.db --text '\"climate change\" OR weather'",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 0,
};
