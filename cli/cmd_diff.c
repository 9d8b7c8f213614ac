/* gloss diff: two sources side by side: which features are the same, split, merged, unmatched. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/page.h"
#include "cli/diff.h"

static const option options[] = {
	STORE_ARG_OPTION(diff_opts, store),
	OPTION(diff_opts, with, "with", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "the store that holds B, if it is another"),
	OPTION(diff_opts, by, "by", 0, OPTION_ENUM, "cosine|firing", NULL, 0, 0,
	       "what matches features; if not given, cosine where both have decoder rows of one width"),
	OPTION(diff_opts, method, "method", 0, OPTION_ENUM, "hungarian|nearest", NULL, 0, 0,
	       "match decoder rows by the assignment of largest total cosine (4 bytes a pair of features, up "
	       "to "
	       "4.3 GB), or as each other's nearest; if not given, hungarian up to 8192 features"),
	OPTION(diff_opts, min_cosine, "min-cosine", 0, OPTION_DOUBLE, "C", "0.7", 0, 1,
	       "decoder cosine from which a matched pair is the same feature"),
	OPTION(diff_opts, min_correlation, "min-correlation", 0, OPTION_DOUBLE, "R", "0.7", 0, 1,
	       "correlation from which it is, matched by firing; and below which a feature may be split"),
	OPTION(diff_opts, min_overlap, "min-overlap", 0, OPTION_DOUBLE, "SHARE", "0.5", 0, 1,
	       "of a split: share of each part's firings inside the whole, and of the whole's that they "
	       "cover"),
	OPTION(diff_opts, min_gain, "min-gain", 0, OPTION_DOUBLE, "SHARE", "0.1", 0, 1,
	       "of a split: what each part has to add to that cover; what parts by direction add to the best "
	       "cosine"),
	OPTION(diff_opts, min_together, "min-together", 0, OPTION_DOUBLE, "C", "0.7", 0, 1,
	       "of a split by direction: cosine with the sum of its parts"),
	OPTION(diff_opts, min_common, "min-common", 0, OPTION_U32, "N", "5", 1, 1000000,
	       "of a split: tokens that a part shares with the whole"),
	OPTION(diff_opts, only, "only", 0, OPTION_ENUM, "same|split|merged|unmatched", NULL, 0, 0,
	       "list only features of this verdict"),
	OPTION(diff_opts, side, "side", 0, OPTION_ENUM, "a|b", "a", 0, 0,
	       "whose features to list; for --csv, if not given, both"),
	OPTION(diff_opts, sort, "sort", 's', OPTION_ENUM, "feature|cosine|correlation|jaccard|fires",
	       "feature", 0, 0, "order of the list; all but feature: the largest first"),
	OPTION(diff_opts, limit, "limit", 'n', OPTION_U64, "N", "20", 0, 1e9, "features listed"),
	OPTION(diff_opts, csv, "csv", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "print all features as comma-separated values"),
	OPTION(diff_opts, pairs, "pairs", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "with --json also, with --csv instead: each pair that was looked at (matches, parts, and each "
	       "feature's 5 nearest by cosine and by correlation)"),
	OPTION(diff_opts, labels, "labels", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "compare labels too: cosine of their embeddings, of matched pairs against random ones"),
	OPTION(diff_opts, endpoint.base_url, "base-url", 0, OPTION_STRING, "URL", NULL, 0, 0,
	       "with --labels: OpenAI-compatible endpoint, up to and with its /v1; labels go there"),
	OPTION(diff_opts, endpoint.model, "embed-model", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "with --labels: its model that embeds"),
	EXPLAIN_KEY_OPTIONS(diff_opts, endpoint),
	OPTION(diff_opts, endpoint.dry_run, "dry-run", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "with --labels: say what would be sent, and what it would cost, and send nothing"),
	OPTION(diff_opts, endpoint.price, "price", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "with --dry-run: prices a million tokens (JSON: model, then input, output)"),
	OPTION(diff_opts, seed, "seed", 0, OPTION_U64, "N", "0", 0, 0, "of what gives chance"),
	OPTION(diff_opts, threads, "threads", 't', OPTION_U32, "N", NULL, 1, 4096,
	       "threads; if not given, the CPUs this process may use"),
};

/* ERR_ARG: one source of one file twice. */
static int check_different(store *const s[2], const char *const names[2], error *err)
{
	struct stat a, b;

	if (strcmp(names[0], names[1]) != 0)
		return 0;
	if (s[0] != s[1] && (stat(store_path(s[0]), &a) != 0 || stat(store_path(s[1]), &b) != 0 ||
	                     a.st_dev != b.st_dev || a.st_ino != b.st_ino))
		return 0;
	return error_set(err, ERR_ARG,
	                 "'%.100s' is compared with itself: name two sources, or another store with --with",
	                 names[0]);
}

static int compare(cJSON **page, store *const s[2], const char *const names[2], const diff_opts *o,
                   error *err)
{
	store_compare_opts c = { .a = s[0],
		                 .b = s[1],
		                 .source_a = names[0],
		                 .source_b = names[1],
		                 .by_firing = o->by && strcmp(o->by, "firing") == 0,
		                 .min_cosine = o->min_cosine,
		                 .min_correlation = o->min_correlation,
		                 .min_overlap = o->min_overlap,
		                 .min_gain = o->min_gain,
		                 .min_together = o->min_together,
		                 .min_common = o->min_common,
		                 .seed = o->seed,
		                 .pairs = o->pairs };
	diff_directions v = { 0 };
	int rc = check_different(s, names, err);

	if (rc == 0)
		rc = pool_new(&c.pool, o->threads, err);
	if (rc == 0)
		rc = diff_directions_find(&v, s, names, o, c.pool, err);
	if (rc == 0 && !v.why[0]) {
		c.directions = &v.views[0];
		c.chance = &v.views[1];
		c.chance_cosine = v.chance.high_best[0] > v.chance.high_best[1] ? v.chance.high_best[0]
		                                                                : v.chance.high_best[1];
	}
	if (rc == 0)
		rc = store_compare(page, &c, err);
	if (rc == 0 && !diff_directions_add(*page, &v))
		rc = error_nomem(err, "a comparison");
	diff_directions_clear(&v);
	pool_free(c.pool);
	return rc;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const diff_opts *o = opts;
	store *s[2] = { NULL, NULL }, *other = NULL;
	int rc = o->pairs && !p->common.json && !o->csv
	                 ? error_set(err, ERR_ARG, "--pairs goes with --json or --csv")
	                 : diff_labels_check(o, p, err);

	if (!rc)
		rc = store_args_open(&s[0], &o->store, err);

	if (!rc && o->with)
		rc = store_open(&other, o->with, STORE_READ, err);
	s[1] = other ? other : s[0];
	if (!rc)
		rc = compare(page, s, (const char *const[]){ p->args[0], p->args[1] }, o, err);
	if (!rc && o->labels)
		rc = diff_labels(*page, s[0], o, err);
	store_close(s[0]);
	store_close(other);
	return rc;
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	const diff_opts *o = opts;

	int rc = o->csv ? diff_print_csv(page, o, cli_given(p, "side") ? o->side : NULL, err)
	                : diff_print(page, o, err);

	return rc == 0 && o->labels ? diff_labels_print(cJSON_GetObjectItem(page, "labels"), err) : rc;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	diff_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_diff_command = {
	.name = "diff",
	.run = run,
	.help = "match the features of two SAEs: same, split, merged, unmatched",
	.usage = "A B -d STORE [--with STORE]",
	.about = "Compares two sources of a store, or of two stores. Features are matched one to one by the "
	         "cosine of\n"
	         "their decoder rows; what they do is compared over the tokens of contexts whose firings are "
	         "stored for\n"
	         "both (contexts are known by their content, so two stores of one dump have them in common). "
	         "Sources\n"
	         "without decoder rows or of different width, and with --by firing any, are matched as each "
	         "other's\n"
	         "best by r, Pearson's correlation of the activations over all common tokens.\n"
	         "\n"
	         "same: matched, each the other's best, at --min-cosine (--min-correlation) or over. split: "
	         "not "
	         "that, no\n"
	         "single feature of the other side correlates with it at --min-correlation, and two to eight "
	         "of "
	         "them divide\n"
	         "it: each fires mostly inside it (on the scale from what the whole fires anyway to always, "
	         "--min-overlap\n"
	         "of its firings), and either each adds --min-gain of the whole's firings to what those "
	         "before "
	         "it cover\n"
	         "and all cover --min-overlap of them (each with a decoder cosine over what one feature in a "
	         "hundred gets\n"
	         "by chance), or the whole's cosine with a sum of them (weights >= 0 by least squares over "
	         "the 8 "
	         "nearest,\n"
	         "each part a fifth of it or more) is --min-together, and --min-gain over its best single "
	         "one. "
	         "Where no\n"
	         "firings are common, the latter alone counts, which tells a split feature from a mixture "
	         "badly. merged:\n"
	         "one of the parts of such a feature. unmatched: none of these.\n"
	         "\n"
	         "Beside each figure is what chance gives: B's decoder rows replaced by random ones with the "
	         "same\n"
	         "second moments, B's firings by those at the same places of another context; of each "
	         "feature's "
	         "best\n"
	         "value the mean, and what one in a hundred is over. Best cosine, best r: the mean over "
	         "features of the\n"
	         "best partner's (MMCS), matched or not. Jaccard: tokens on which both fire over those on "
	         "which one does.\n"
	         "\n"
	         "--labels embeds the labels of matched pairs at an endpoint, each text once, and says how "
	         "much more alike\n"
	         "those of a pair are than A's label and the label of another pair's B: the mean cosine of "
	         "both, the\n"
	         "difference with a bootstrap interval, the area under the ROC curve; for all matched pairs "
	         "and for those\n"
	         "that are the same. Labels go to the endpoint; replies are kept beside the store, so that "
	         "the same again\n"
	         "costs nothing.",
	.examples = "gloss diff layer5 layer6 -d store.db\n"
	            "gloss diff small wide -d store.db --only split --sort fires\n"
	            "gloss diff layer5 layer6 -d store.db --labels --base-url http://127.0.0.1:8080/v1 "
	            "--embed-model m\n"
	            "gloss diff sae sae -d seed0.db --with seed1.db --csv >features.csv",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = 2,
};
