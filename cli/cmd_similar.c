/* gloss similar: what is like a feature; features that behave alike. */
#include <string.h>

#include "cli/commands.h"
#include "cli/page.h"
#include "cli/store_args.h"

typedef struct similar_opts {
	const char *store, *in, *in_store, *by;
	option_list sources;
	bool duplicates;
	uint32_t min_both, min_fires, distance;
	uint64_t limit;
} similar_opts;

static const option options[] = {
	OPTION(similar_opts, store, "store", 'd', OPTION_STRING, "FILE", NULL, 0, 0, "the store; required"),
	OPTION(similar_opts, sources, "source", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "the feature's source; with --duplicates, sources to look in (all, where none is named)"),
	OPTION(similar_opts, in, "in", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "look in this source instead of its own"),
	OPTION(similar_opts, in_store, "in-store", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "look in this store"),
	OPTION(similar_opts, by, "by", 0, OPTION_ENUM, "jaccard|cosine|lift", "jaccard", 0, 0,
	       "what orders those that fire together"),
	OPTION(similar_opts, min_both, "min-both", 0, OPTION_U32, "N", "3", 1, 4e9,
	       "only features that fire together with it on so many tokens"),
	OPTION(similar_opts, duplicates, "duplicates", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "groups of features that behave alike, instead of what is like one"),
	OPTION(similar_opts, min_fires, "min-fires", 0, OPTION_U32, "N", "8", 1, 4e9,
	       "with --duplicates: leave out features that fire on fewer of the common tokens"),
	OPTION(similar_opts, distance, "distance", 0, OPTION_U32, "BITS", "3", 0, 7,
	       "with --duplicates: bits of 64 in which the hashes of near duplicates may differ"),
	OPTION(similar_opts, limit, "limit", 'n', OPTION_U64, "N", "10", 1, 1e9, "lines of each list"),
};

/* ---- One feature --------------------------------------------------------------------------------------------------------- */

static int add_direction(cli_table *t, const cJSON *f)
{
	int rc = number_cell(t, answer_number(f, "feature"), 10);

	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "cosine"));
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

static int add_cofiring(cli_table *t, const cJSON *f)
{
	int rc = number_cell(t, answer_number(f, "feature"), 10);

	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "jaccard"));
	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "cosine"));
	if (!rc)
		rc = number_cell(t, answer_number(f, "lift"), 4);
	if (!rc)
		rc = cli_table_cell(t, "%.0f", answer_number(f, "both"));
	if (!rc)
		rc = cli_table_cell(t, "%.0f", answer_number(f, "fires"));
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

static int print_similar(const cJSON *page, const similar_opts *o, error *err)
{
	static const cli_column of_directions[] = { { "feature", true, 0 },
		                                    { "cosine", true, 0 },
		                                    { "label", false, 60 } };
	static const cli_column of_cofiring[] = {
		{ "feature", true, 0 }, { "jaccard", true, 0 }, { "cosine", true, 0 },  { "lift", true, 0 },
		{ "both", true, 0 },    { "fires", true, 0 },   { "label", false, 60 },
	};
	const cJSON *decoder = cJSON_GetObjectItem(page, "decoder"),
	            *cofiring = cJSON_GetObjectItem(page, "cofiring"),
	            *features = cJSON_GetObjectItem(cofiring, "features");
	int rc = 0;

	if (cJSON_IsArray(decoder)) {
		printf("by direction of the decoder\n");
		rc = page_print_rows(decoder, of_directions, ARRAY_LEN(of_directions), add_direction, err);
	} else {
		printf("not by direction: ");
		cli_put(answer_string(page, "decoder_why"));
		printf("\n");
	}
	if (rc)
		return rc;
	if (answer_number(cofiring, "contexts") < 1) {
		printf("\nno contexts whose firings both have stored\n");
		return 0;
	}
	printf("\nby firing together: it fires on %.0f of %.0f tokens of %.0f contexts\n",
	       answer_number(cofiring, "fires"), answer_number(cofiring, "tokens"),
	       answer_number(cofiring, "contexts"));
	if (cJSON_GetArraySize(features) == 0) {
		printf("no feature fires together with it on %u tokens or more\n", o->min_both);
		return 0;
	}
	rc = page_print_rows(features, of_cofiring, ARRAY_LEN(of_cofiring), add_cofiring, err);
	if (!rc)
		printf("%d of %.0f features that do on %u tokens or more; by chance lift is 1\n",
		       cJSON_GetArraySize(features), answer_number(cofiring, "total"), o->min_both);
	return rc;
}

/* ---- Duplicates ---------------------------------------------------------------------------------------------------------- */

/* Its number with its source, and its label in brackets. */
static int add_feature(text *out, const cJSON *f, bool several)
{
	const char *source = answer_string(f, "source"), *label = answer_string(f, "label");
	int rc = 0;

	if (several && source) {
		rc = text_add_visible(out, source, strlen(source));
		rc = rc ? rc : text_adds(out, " ");
	}
	rc = rc ? rc : text_addf(out, "%.0f", answer_number(f, "feature"));
	if (!rc && label) {
		rc = text_adds(out, " (");
		rc = rc ? rc : text_add_visible(out, label, strlen(label));
		rc = rc ? rc : text_adds(out, ")");
	}
	return rc;
}

/* "12 groups of duplicates, 10 of them listed" */
static int add_count(text *out, double n, const char *what, const cJSON *list)
{
	int listed = cJSON_GetArraySize(list);

	return n > listed ? text_addf(out, "%.0f %s, %d of them listed\n", n, what, listed)
	                  : text_addf(out, "%.0f %s\n", n, what);
}

static int add_groups(text *out, const cJSON *page, bool several)
{
	const cJSON *groups = cJSON_GetObjectItem(page, "groups"), *group, *f;
	int rc;

	rc = add_count(out, answer_number(page, "n_groups"), "groups of duplicates", groups);
	cJSON_ArrayForEach(group, groups)
	{
		const cJSON *features = cJSON_GetObjectItem(group, "features");

		rc = rc ? rc
		        : text_addf(out, "  %s  on %.0f tokens: ", answer_string(group, "key"),
		                    answer_number(group, "fires"));
		cJSON_ArrayForEach(f, features)
		{
			rc = rc || f == features->child ? rc : text_adds(out, ", ");
			rc = rc ? rc : add_feature(out, f, several);
		}
		rc = rc ? rc : text_adds(out, "\n");
	}
	return rc;
}

static int add_near(text *out, const cJSON *page, bool several)
{
	const cJSON *list = cJSON_GetObjectItem(page, "near"), *near;
	int rc = add_count(out, answer_number(page, "n_near"), "pairs of near duplicates", list);

	cJSON_ArrayForEach(near, list)
	{
		rc = rc ? rc
		        : text_addf(out, "  cosine %.4f, %.0f bits: ", answer_number(near, "cosine"),
		                    answer_number(near, "distance"));
		rc = rc ? rc : add_feature(out, cJSON_GetObjectItem(near, "a"), several);
		rc = rc ? rc : text_adds(out, ", ");
		rc = rc ? rc : add_feature(out, cJSON_GetObjectItem(near, "b"), several);
		rc = rc ? rc : text_adds(out, "\n");
	}
	return rc;
}

static int print_duplicates(const cJSON *page, const similar_opts *o, error *err)
{
	bool several = cJSON_GetArraySize(cJSON_GetObjectItem(page, "sources")) > 1;
	text out;
	int rc;

	text_init(&out, (size_t)256 << 20);
	rc = text_addf(&out, "%.0f features that fire on %u or more of %.0f tokens of %.0f contexts\n",
	               answer_number(page, "features"), o->min_fires, answer_number(page, "tokens"),
	               answer_number(page, "contexts"));
	rc = rc ? rc : add_groups(&out, page, several);
	rc = rc ? rc : add_near(&out, page, several);
	if (rc)
		rc = error_set(err, rc, "cannot put the page together: %s",
		               rc == ERR_NOMEM ? "out of memory" : "it is too long");
	else
		fwrite(out.data, 1, out.len, stdout);
	text_free(&out);
	return rc;
}

/* ---- The command ----------------------------------------------------------------------------------------------------------- */

static int check(const cli_parsed *p, const similar_opts *o, error *err)
{
	static const char *const of_one[] = { "in", "in-store", "by", "min-both" }, *const of_duplicates[] = {
		"min-fires", "distance"
	};

	if (o->duplicates && p->n_args)
		return error_set(err, ERR_ARG, "--duplicates goes without a feature");
	if (!o->duplicates && !p->n_args)
		return error_set(err, ERR_ARG, "which feature? give its number, or --duplicates");
	if (!o->duplicates && o->sources.n > 1)
		return error_set(err, ERR_ARG, "a feature has one --source; --in names another to look in");
	for (size_t i = 0; i < ARRAY_LEN(of_one) && o->duplicates; i++)
		if (cli_given(p, of_one[i]))
			return error_set(err, ERR_ARG, "--%s goes with a feature", of_one[i]);
	for (size_t i = 0; i < ARRAY_LEN(of_duplicates) && !o->duplicates; i++)
		if (cli_given(p, of_duplicates[i]))
			return error_set(err, ERR_ARG, "--%s goes with --duplicates", of_duplicates[i]);
	return 0;
}

static int ask_duplicates(cJSON **page, store *s, const similar_opts *o, error *err)
{
	store_duplicates_opts query = store_duplicates_opts_default();

	query.sources = (store_sources){ .names = o->sources.items, .n = o->sources.n };
	query.min_fires = o->min_fires;
	query.distance = o->distance;
	query.limit = o->limit;
	return store_duplicates(page, s, &query, err);
}

static int ask_similar(cJSON **page, store *s, const char *feature, const similar_opts *o, error *err)
{
	store_similar_opts query = { .source = o->sources.n ? o->sources.items[0] : NULL,
		                     .in = o->in,
		                     .min_both = o->min_both,
		                     .limit = o->limit };
	store *other = NULL;
	int rc = feature_arg(&query.feature, feature, err);

	query.by = strcmp(o->by, "lift") == 0     ? STORE_BY_LIFT
	           : strcmp(o->by, "cosine") == 0 ? STORE_BY_COSINE
	                                          : STORE_BY_JACCARD;
	if (!rc && o->in_store)
		rc = store_open(&other, o->in_store, STORE_READ, err);
	query.other = other;
	if (!rc)
		rc = store_similar(page, s, &query, err);
	store_close(other);
	return rc;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const similar_opts *o = opts;
	store *s = NULL;
	int rc = check(p, o, err);

	if (!rc)
		rc = store_args_open(&s, &(store_args){ .store = o->store }, err);
	if (!rc)
		rc = o->duplicates ? ask_duplicates(page, s, o, err)
		                   : ask_similar(page, s, p->args[0], o, err);
	store_close(s);
	return rc;
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	const similar_opts *o = opts;

	(void)p;
	return o->duplicates ? print_duplicates(page, o, err) : print_similar(page, o, err);
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	similar_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_similar_command = {
	.name = "similar",
	.run = run,
	.help = "what is like a feature; features that behave alike",
	.usage = "FEATURE -d STORE [--in NAME] | --duplicates -d STORE",
	.about = "Of a feature: the closest by cosine of decoder vectors, and what fires on the same tokens, "
	         "in its "
	         "own source or\n"
	         "another (--in), in the same store or another (--in-store). Firing together is counted over "
	         "the "
	         "tokens that\n"
	         "count in both, of contexts whose firings both have stored (all with index --corpus, else "
	         "the "
	         "random ones).\n"
	         "With a tokens on which it fires, b on which the other does, and both on which both do, of "
	         "all: "
	         "jaccard is\n"
	         "both / (a + b - both), cosine both / sqrt(a b), lift both * all / (a b).\n"
	         "\n"
	         "--duplicates: features that fire on the same tokens with the same activations, as shares "
	         "of each "
	         "one's\n"
	         "largest, to 1/32: so of another scale, number or seed too. Near duplicates are found by "
	         "SimHash (the "
	         "signs of\n"
	         "64 random projections of the activations), and shown with the true cosine of their "
	         "activations.",
	.examples = "gloss similar 1539 -d demo.db\n"
	            "gloss similar 1539 -d two.db --source seed0 --in seed1 --by lift\n"
	            "gloss similar --duplicates -d two.db --limit 50",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 1,
};
