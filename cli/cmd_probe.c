/* gloss probe: what labels can be told from activations and from an SAE's codes. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/dump_args.h"
#include "cli/page.h"
#include "cli/probe.h"

static const option options[] = {
	OPTION(probe_opts, labels, "labels", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "classes: CSV, a label a line, or .npy of whole numbers; required"),
	OPTION(probe_opts, column, "column", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "the CSV's first line names its columns; take this one"),
	OPTION(probe_opts, per, "per", 0, OPTION_ENUM, "row|context|document", NULL, 0, 0,
	       "what a label is of; if not given, contexts, rows or documents, whose number is that of the "
	       "labels"),
	OPTION(probe_opts, classes, "class", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "tell this class from the rest; if not given, the second of two, each of more"),
	OPTION(probe_opts, k, "k", 'k', OPTION_LIST, "LIST", NULL, 0, 0,
	       "sizes of the sparse probes; if not given, 1,2,5"),
	OPTION(probe_opts, dense, "dense", 0, OPTION_BOOL, NULL, "true", 0, 0,
	       "also probe all columns at once"),
	OPTION(probe_opts, c, "c", 'C', OPTION_DOUBLE, "X", "1", 1e-12, 1e12,
	       "inverse strength of the L2 penalty, as scikit-learn's C"),
	OPTION(probe_opts, balance, "balance", 0, OPTION_BOOL, NULL, "false", 0, 0,
	       "weigh examples so that class and rest count the same, as class_weight='balanced'"),
	OPTION(probe_opts, pool, "pool", 0, OPTION_ENUM, "mean|max", "mean", 0, 0,
	       "how the rows of a context or document become one"),
	OPTION(probe_opts, test, "test", 0, OPTION_DOUBLE, "SHARE", "0.2", 0.001, 0.999,
	       "share of each class to test on, whole documents"),
	OPTION(probe_opts, limit, "limit", 0, OPTION_U64, "N", "20000", 0, 0,
	       "at most so many examples, chosen by hash; 0: all"),
	OPTION(probe_opts, seed, "seed", 's', OPTION_U64, "N", "0", 0, 0,
	       "which examples are taken, tested on and resampled"),
	OPTION(probe_opts, tpp, "tpp", 0, OPTION_BOOL, NULL, "false", 0, 0,
	       "also take the features of each class away: targeted probe perturbation"),
	OPTION(probe_opts, spurious, "spurious", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "a second label of two classes, as --labels: also spurious correlation removal"),
	OPTION(probe_opts, spurious_column, "spurious-column", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "the column of --spurious"),
	OPTION(probe_opts, ablate, "ablate", 0, OPTION_LIST, "LIST", NULL, 0, 0,
	       "numbers of features to take away; if not given, 2,5,10,20,50,100,500"),
	OPTION(probe_opts, predictions, "predictions", 'o', OPTION_STRING, "FILE", NULL, 0, 0,
	       "also write a CSV of every example: label, part, group and each probe's probability"),
	DUMP_ARGS_OPTIONS(probe_opts, dump),
};

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	return probe_ask(page, p, opts, err);
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	(void)p;
	(void)opts;
	return probe_print(page, err);
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	probe_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_probe_command = {
	.name = "probe",
	.run = run,
	.help = "tell labels from activations and from codes: sparse probing",
	.usage = "SAE DUMP... --labels FILE",
	.about =
	        "Fits logistic regressions that tell a class from the rest: on the k activations and the k "
	        "codes whose "
	        "means\n"
	        "differ most between the two (by absolute difference, on the training examples), and on all "
	        "of them. "
	        "The less a\n"
	        "sparse probe on codes loses against all activations, the better single features stand for "
	        "the label.\n"
	        "\n"
	        "Labels are one a row, context or document, in the dump's order; the number of a document is "
	        "its id in "
	        "the\n"
	        "manifest, from 0. An empty label leaves its example out. Contexts and documents are pooled "
	        "over the "
	        "rows that\n"
	        "count. Whole document groups (also contexts with a common run of 24 tokens) are tested on.\n"
	        "\n"
	        "A probe minimises |w|^2 / 2 + C sum log(1 + exp(-s (x . w + b))), s = 1 for the class and "
	        "-1 for the "
	        "rest: what\n"
	        "scikit-learn's LogisticRegression does; values are taken as they are. It says yes where x . "
	        "w + b > 0. "
	        "Of the\n"
	        "held-out examples are printed\n"
	        "\n"
	        "  accuracy           right answers / examples\n"
	        "  balanced_accuracy  mean of the shares right among the class and among the rest\n"
	        "  f1                 2 hits / (2 hits + false alarms + misses)\n"
	        "  auroc              share of pairs, one of the class and one of the rest, in the right "
	        "order; ties "
	        "half\n"
	        "\n"
	        "with 95 % intervals: percentiles of 1,000 resamples of the held-out document groups, or "
	        "Wilson's at "
	        "the number\n"
	        "of groups where all resamples agree. Chance is the training examples' commoner answer, 0.5, "
	        "always "
	        "yes, 0.5.\n"
	        "\n"
	        "--tpp: of each class the n features with the largest max(0, difference of means) times the "
	        "product of the\n"
	        "class's probe with their decoder row are taken away from the activations of every row; TPP "
	        "is the balanced\n"
	        "accuracy that its probe loses less what the other classes' probes lose on average. "
	        "--spurious: a probe is\n"
	        "trained where both labels agree, the n features with the largest |effect| on a probe of the "
	        "spurious label\n"
	        "are taken away, and SCR is (changed - original) / (clean - original): 1 is as good as "
	        "training on all four\n"
	        "combinations. Both as in SAEBench but for the probes, which are those above (--balance) on "
	        "means.",
	.examples = "gloss probe sae/ dump/ --labels topics.csv --column topic --tpp\n"
	            "gloss probe sae/ dump/ --labels is_code.npy --per row -k 1,5,20 --json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = UINT32_MAX,
};
