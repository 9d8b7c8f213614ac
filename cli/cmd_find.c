/* gloss find: features by the text they fire on, contexts and labels by words. */
#include <string.h>

#include "cli/commands.h"
#include "cli/context_line.h"
#include "cli/store_args.h"

typedef struct find_opts {
	store_args store;
	const char *regex, *words;
	uint32_t limit;
	double min_precision, min_recall;
	const char *sort;
} find_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(find_opts, store),
	OPTION(find_opts, regex, "regex", 'e', OPTION_STRING, "RE", NULL, 0, 0,
	       "features that fire on the token where group 1 of this regular expression begins"),
	OPTION(find_opts, words, "text", 0, OPTION_STRING, "WORDS", NULL, 0, 0,
	       "contexts and labels that hold these words (FTS5 query)"),
	OPTION(find_opts, limit, "limit", 'n', OPTION_U32, "N", "20", 1, 1e6, "lines of each list"),
	OPTION(find_opts, min_precision, "min-precision", 0, OPTION_DOUBLE, "P", "0", 0, 1,
	       "with --regex: only features of at least this precision"),
	OPTION(find_opts, min_recall, "min-recall", 0, OPTION_DOUBLE, "R", "0", 0, 1,
	       "with --regex: only features of at least this recall"),
	OPTION(find_opts, sort, "sort", 's', OPTION_ENUM, "f1|precision|recall|best-f1|auroc", "f1", 0, 0,
	       "with --regex: order of the list, the highest first"),
};

/* In the order of store_regex_sort. */
static const char *const sorts[] = { "f1", "precision", "recall", "best-f1", "auroc" };

/* ---- --regex ----------------------------------------------------------------------------------------------------------- */

static int add_found(cli_table *t, const cJSON *f)
{
	int rc = number_cell(t, answer_number(f, "feature"), 10);

	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "f1"));
	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "precision"));
	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "recall"));
	if (!rc)
		rc = cli_table_cell(t, "%.0f", answer_number(f, "hits"));
	if (!rc)
		rc = cli_table_cell(t, "%.0f", answer_number(f, "fires"));
	rc = rc ? rc : number_cell(t, answer_number(f, "best_f1"), 3);
	rc = rc ? rc : number_cell(t, answer_number(f, "threshold"), 3);
	rc = rc ? rc : number_cell(t, answer_number(f, "auroc"), 3);
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

static int print_features(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "feature", true, 0 }, { "F1", true, 0 },   { "precision", true, 0 },
		{ "recall", true, 0 },  { "hits", true, 0 }, { "fires", true, 0 },
		{ "best F1", true, 0 }, { "from", true, 0 }, { "AUROC", true, 0 },
		{ "label", false, 60 },
	};
	const cJSON *features = cJSON_GetObjectItem(page, "features"), *f;
	cli_table *t = NULL;
	int rc = 0;

	printf("%.0f matches on %.0f tokens of %.0f contexts (%s)\n", answer_number(page, "matches"),
	       answer_number(page, "tokens"), answer_number(page, "contexts"),
	       cJSON_IsTrue(cJSON_GetObjectItem(page, "corpus")) ? "the whole corpus" : "the random sample");
	if (cJSON_GetArraySize(features) == 0) {
		printf("no feature fires there\n");
		return 0;
	}
	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(f, features)
	{
		if (!rc && add_found(t, f))
			rc = error_nomem(err, "the table of features");
	}
	if (!rc) {
		cli_table_print(t, stdout);
		printf("%d of %.0f features\n", cJSON_GetArraySize(features), answer_number(page, "total"));
	}
	cli_table_free(t);
	return rc;
}

/* ---- --text ------------------------------------------------------------------------------------------------------------ */

/* "  feature 12 (3.4) label" for each of the strongest there. */
static int add_strongest(text *out, const cJSON *context)
{
	const cJSON *f;
	int rc = 0;

	cJSON_ArrayForEach(f, cJSON_GetObjectItem(context, "features"))
	{
		const char *label = answer_string(f, "label");

		rc = rc ? rc
		        : text_addf(out, "%s%.0f (%.3g%s", f->prev->next ? ", " : "      ",
		                    answer_number(f, "feature"), answer_number(f, "value"),
		                    label ? ": " : "");
		if (!rc && label)
			rc = text_add_visible(out, label, strlen(label));
		rc = rc ? rc : text_adds(out, ")");
	}
	return rc || cJSON_GetArraySize(cJSON_GetObjectItem(context, "features")) == 0 ? rc
	                                                                               : text_adds(out, "\n");
}

static int add_found_text(text *out, const cJSON *page, bool color)
{
	const cJSON *labels = cJSON_GetObjectItem(page, "labels"),
	            *contexts = cJSON_GetObjectItem(page, "contexts"), *item;
	int rc = cJSON_GetArraySize(labels) ? text_adds(out, "labels\n") : 0;

	cJSON_ArrayForEach(item, labels)
	{
		rc = rc ? rc : text_addf(out, "%8.0f  ", answer_number(item, "feature"));
		rc = rc ? rc : snippet_add(out, cJSON_GetObjectItem(item, "snippet"), color);
		rc = rc ? rc : text_adds(out, "\n");
	}
	if (!rc && cJSON_GetArraySize(contexts))
		rc = text_adds(out, "contexts, and the features strongest there\n");
	cJSON_ArrayForEach(item, contexts)
	{
		rc = rc ? rc : text_adds(out, "  ");
		rc = rc ? rc : snippet_add(out, cJSON_GetObjectItem(item, "snippet"), color);
		rc = rc ? rc : text_adds(out, "\n");
		rc = rc ? rc : add_strongest(out, item);
	}
	if (!rc && !cJSON_GetArraySize(labels) && !cJSON_GetArraySize(contexts))
		rc = text_adds(out, "no context and no label holds that\n");
	return rc;
}

static int print_text(const cJSON *page, bool color, error *err)
{
	text out;
	int rc;

	text_init(&out, (size_t)256 << 20);
	rc = add_found_text(&out, page, color);
	if (rc)
		rc = error_set(err, rc, "cannot put the page together: %s",
		               rc == ERR_NOMEM ? "out of memory" : "it is too long");
	else
		fwrite(out.data, 1, out.len, stdout);
	text_free(&out);
	return rc;
}

static int find(cJSON **page, store *s, const find_opts *o, error *err)
{
	store_regex_opts query = {
		.source = o->store.source,
		.pattern = o->regex,
		.limit = o->limit,
		.min_precision = o->min_precision,
		.min_recall = o->min_recall,
	};

	while (strcmp(sorts[query.sort], o->sort) != 0)
		query.sort++;
	if (o->regex)
		return store_find_regex(page, s, &query, err);
	return store_find_text(page, s, o->store.source, o->words, o->limit, err);
}

static int check(const cli_parsed *p, const find_opts *o, error *err)
{
	if (!o->regex == !o->words)
		return error_set(err, ERR_ARG, "give one of --regex RE and --text WORDS");
	if (o->words && (cli_given(p, "min-precision") || cli_given(p, "min-recall") || cli_given(p, "sort")))
		return error_set(err, ERR_ARG, "--min-precision, --min-recall and --sort go with --regex");
	return 0;
}

static int run(const command *self, int argc, char **argv)
{
	find_opts o = { 0 };
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
	rc = check(&p, &o, &err);
	if (!rc)
		rc = store_args_open(&s, &o.store, &err);
	if (!rc)
		rc = find(&page, s, &o, &err);
	if (!rc && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (!rc) {
		rc = o.regex ? print_features(page, &err) : print_text(page, cli_color(&p), &err);
	}
	if (rc)
		code = cli_fail(self, &err);
out:
	cJSON_Delete(page);
	store_close(s);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_find_command = {
	.name = "find",
	.run = run,
	.help = "find features by a regular expression or by words",
	.usage = "-d STORE (--regex RE | --text WORDS)",
	.about = "--regex: a pattern (PCRE2) over the text of the contexts whose firings are stored: all "
	         "with\n"
	         "index --corpus, else the random sample. A match stands for the token that holds the first "
	         "character\n"
	         "of its group 1 (of the whole, in a pattern without groups). Precision is the share of a "
	         "feature's\n"
	         "firings that are such tokens, recall the share of such tokens on which it fires; the list "
	         "is by F1.\n"
	         "Best F1 is that of the activation at its best threshold ('from'), AUROC that of the "
	         "activation over\n"
	         "all tokens, silent ones as 0; both for the first 1,000.\n"
	         "\n"
	         "--text: contexts and labels that hold the words, by SQLite's FTS5: \"exact phrase\", OR, "
	         "NOT, pre*,\n"
	         "and the features strongest on the words found.",
	.examples = "gloss find -d demo.db --regex '\\b(January|February|March)\\b'\n"
	            "gloss find -d demo.db --regex 'New (York)' --min-precision 0.5\n"
	            "gloss find -d demo.db --text '\"climate change\" OR weather'",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 0,
};
