/* gloss show: one feature in full. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/context_line.h"
#include "cli/page.h"
#include "cli/store_args.h"

typedef struct show_opts {
	store_args store;
	const char *intervals; /* NULL: those that are stored */
	const char *where;
	uint64_t seed;
	uint32_t examples;
	bool full, random;
} show_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(show_opts, store),
	OPTION(show_opts, examples, "examples", 'n', OPTION_U32, "N", "12", 0, 100000,
	       "contexts of each kind: the strongest, and samples over the intervals"),
	OPTION(show_opts, intervals, "intervals", 0, OPTION_ENUM, "equal-count|equal-width|neuronpedia", NULL,
	       0, 0,
	       "what samples are shown by; if not given, tenths of equal count, or what an old store has"),
	OPTION(show_opts, random, "random", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "a feature at random, of those that ever fire; so does 'random' in place of a number"),
	OPTION(show_opts, seed, "seed", 0, OPTION_U64, "N", NULL, 0, 0,
	       "with --random: the same seed draws the same feature; if not given, another each time"),
	OPTION(show_opts, where, "where", 'w', OPTION_STRING, "EXPR", NULL, 0, 0,
	       "with --random: of those for which this SQL expression holds (see gloss features)"),
	OPTION(show_opts, full, "full", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "do not cut contexts to the width of the terminal"),
};

/* The page is put together first and printed at once. */
struct printer {
	const cJSON *page;
	const show_opts *o;
	bool color;
	text out;
};

static int add_heading(struct printer *p, const char *words)
{
	return text_addf(&p->out, p->color ? "\n\x1b[1m%s\x1b[0m\n" : "\n%s\n", words);
}

/* " NAME %.4g", or nothing where the number is not known. */
static int add_number(struct printer *p, const char *name, double value)
{
	return isnan(value) ? 0 : text_addf(&p->out, "  %s %.4g", name, value);
}

static int add_visible(struct printer *p, const char *string)
{
	return string ? text_add_visible(&p->out, string, strlen(string)) : 0;
}

/* "quantiles: 1 % 0.902, ... 99.9 % 2.04 (from the histogram)" */
static int add_quantiles(struct printer *p)
{
	const cJSON *quantiles = cJSON_GetObjectItem(p->page, "quantiles"),
	            *percent = cJSON_GetObjectItem(quantiles, "percent"),
	            *value = cJSON_GetObjectItem(quantiles, "value");
	int n = cJSON_GetArraySize(percent), rc;

	if (n == 0 || cJSON_GetArraySize(value) != n)
		return 0;
	rc = text_adds(&p->out, "quantiles");
	for (int i = 0; i < n && !rc; i++)
		rc = text_addf(&p->out, "%s %g %% %.3g", i ? "," : "",
		               cJSON_GetArrayItem(percent, i)->valuedouble,
		               cJSON_GetArrayItem(value, i)->valuedouble);
	return rc ? rc
	          : text_adds(&p->out,
	                      answer_number(quantiles, "exact") > 0 ? "\n" : " (from the histogram)\n");
}

static int add_statistics(struct printer *p)
{
	const cJSON *f = p->page;
	const char *label = NULL;
	int rc;

	label = answer_string(f, "label");
	rc = text_addf(&p->out, p->color ? "\x1b[1mfeature %.0f\x1b[0m of " : "feature %.0f of ",
	               answer_number(f, "feature"));
	rc = rc ? rc : add_visible(p, answer_string(f, "source"));
	rc = rc ? rc : text_adds(&p->out, label ? ": " : "");
	rc = rc ? rc : add_visible(p, label);
	rc = rc ? rc
	        : text_addf(&p->out, "\nfires on %.0f of %.0f tokens (%.3g %%), in %.0f contexts\nactivation",
	                    answer_number(f, "n_fires"), answer_number(f, "n_tokens"),
	                    100 * answer_number(f, "density"), answer_number(f, "n_contexts"));
	rc = rc ? rc : add_number(p, "max", answer_number(f, "max_act"));
	rc = rc ? rc : add_number(p, "mean", answer_number(f, "mean_act"));
	rc = rc ? rc : add_number(p, "std", answer_number(f, "std_act"));
	rc = rc ? rc : add_number(p, "skewness", answer_number(f, "skewness"));
	rc = rc ? rc : add_number(p, "kurtosis", answer_number(f, "kurtosis"));
	if (answer_number(f, "decoder_norm") > 0) /* codes tell of no decoder */
		rc = rc ? rc : add_number(p, "decoder norm", answer_number(f, "decoder_norm"));
	rc = rc ? rc : text_adds(&p->out, "\n");
	rc = rc ? rc : add_quantiles(p);
	if (!rc && answer_string(f, "top_token_text") && !isnan(answer_number(f, "top_token_share"))) {
		rc = text_adds(&p->out, "most often on '");
		rc = rc ? rc : add_visible(p, answer_string(f, "top_token_text"));
		rc = rc ? rc
		        : text_addf(&p->out, "' (%.3g %% of firings by the examples",
		                    100 * answer_number(f, "top_token_share"));
		if (!rc && !isnan(answer_number(f, "token_entropy")))
			rc = text_addf(&p->out, ", entropy %.3g bits", answer_number(f, "token_entropy"));
		rc = rc ? rc : text_adds(&p->out, ")\n");
	}
	return rc;
}

/* ---- Histogram ------------------------------------------------------------------------------------------------------ */

/* A bar of `eighths` eighths of a column. */
static int add_bar(text *out, int eighths)
{
	int rc = 0;

	for (; eighths >= 8 && !rc; eighths -= 8)
		rc = text_adds(out, "\xe2\x96\x88");
	if (eighths > 0 && !rc)
		rc = text_addf(out, "\xe2\x96%c",
		               (char)(0x90 - eighths)); /* U+2588 full ... U+258F an eighth */
	return rc;
}

static int add_histogram(struct printer *p)
{
	const cJSON *histogram = cJSON_GetObjectItem(p->page, "histogram");
	const cJSON *edges = cJSON_GetObjectItem(histogram, "edges"),
	            *counts = cJSON_GetObjectItem(histogram, "counts");
	int n = cJSON_GetArraySize(counts), rc;
	double most = 0, scale;

	if (n == 0 || cJSON_GetArraySize(edges) < n + 1)
		return 0;
	for (int i = 0; i < n; i++)
		most = fmax(most, cJSON_GetArrayItem(counts, i)->valuedouble);
	scale = 320 / log1p(most > 0 ? most : 1); /* 40 columns */
	rc = add_heading(p, "activations of firing tokens (bars: log of the count)");
	for (int i = 0; i < n && !rc; i++) {
		double count = cJSON_GetArrayItem(counts, i)->valuedouble;

		rc = text_addf(&p->out, "%10.4g - %-10.4g %10.0f ", cJSON_GetArrayItem(edges, i)->valuedouble,
		               cJSON_GetArrayItem(edges, i + 1)->valuedouble, count);
		rc = rc ? rc : add_bar(&p->out, count > 0 ? (int)fmax(1, scale * log1p(count)) : 0);
		rc = rc ? rc : text_adds(&p->out, "\n");
	}
	return rc;
}

/* ---- Labels, logits, neighbours --------------------------------------------------------------------------------------- */

static int add_score(struct printer *p, const cJSON *score)
{
	double value = answer_number(score, "value");
	int rc = text_adds(&p->out, "    ");

	rc = rc ? rc : add_visible(p, answer_string(score, "scorer"));
	if (!rc)
		rc = isnan(value) ? text_adds(&p->out, " not scored") : text_addf(&p->out, " %.3f", value);
	if (!rc && !isnan(answer_number(score, "low")))
		rc = text_addf(&p->out, " [%.3f, %.3f]", answer_number(score, "low"),
		               answer_number(score, "high"));
	if (!rc && !isnan(answer_number(score, "baseline")))
		rc = text_addf(&p->out, ", another label %.3f", answer_number(score, "baseline"));
	rc = rc ? rc
	        : text_addf(&p->out, ", %.0f firing and %.0f silent windows, judge ",
	                    answer_number(score, "n_positive"), answer_number(score, "n_negative"));
	rc = rc ? rc : add_visible(p, answer_string(score, "judge"));
	return rc ? rc : text_adds(&p->out, "\n");
}

/* What it was chosen by, which is no score of it. */
static int add_chosen(struct printer *p, const cJSON *by)
{
	int rc = by ? text_addf(&p->out, "    chosen among several by %.3f on the select documents, judge ",
	                        answer_number(by, "value"))
	            : 0;

	rc = rc || !by ? rc : add_visible(p, answer_string(by, "judge"));
	return rc || !by ? rc : text_adds(&p->out, "\n");
}

static int add_label(struct printer *p, const cJSON *label)
{
	const char *model = answer_string(label, "model");
	const cJSON *score;
	int rc = text_adds(&p->out, "  ");

	rc = rc ? rc : add_visible(p, answer_string(label, "text"));
	rc = rc ? rc : text_adds(&p->out, "  (");
	rc = rc ? rc : add_visible(p, answer_string(label, "method"));
	rc = rc ? rc : text_adds(&p->out, model ? " " : "");
	rc = rc ? rc : add_visible(p, model);
	rc = rc ? rc : text_adds(&p->out, ", ");
	rc = rc ? rc : add_visible(p, answer_string(label, "created"));
	if (!rc && answer_string(label, "withdrawn")) {
		rc = text_adds(&p->out, ", withdrawn ");
		rc = rc ? rc : add_visible(p, answer_string(label, "withdrawn"));
	}
	rc = rc ? rc : text_adds(&p->out, ")\n");
	cJSON_ArrayForEach(score, cJSON_GetObjectItem(label, "scores"))
	{
		rc = rc ? rc : add_score(p, score);
	}
	return rc ? rc : add_chosen(p, cJSON_GetObjectItem(label, "chosen_by"));
}

static int add_labels(struct printer *p)
{
	const cJSON *labels = cJSON_GetObjectItem(p->page, "labels"), *item;
	int rc = cJSON_GetArraySize(labels) ? add_heading(p, "labels, the latest first") : 0;

	cJSON_ArrayForEach(item, labels)
	{
		rc = rc ? rc : add_label(p, item);
	}
	return rc;
}

/* A person's notes, with their numbers, and the lists that the feature is on. */
static int add_own(struct printer *p)
{
	const cJSON *notes = cJSON_GetObjectItem(p->page, "notes"),
	            *lists = cJSON_GetObjectItem(p->page, "lists"), *item;
	int rc = cJSON_GetArraySize(notes) ? add_heading(p, "notes") : 0;

	cJSON_ArrayForEach(item, notes)
	{
		rc = rc ? rc : text_addf(&p->out, "  %.0f  ", answer_number(item, "id"));
		rc = rc ? rc : add_visible(p, answer_string(item, "text"));
		rc = rc ? rc : text_adds(&p->out, "\n");
	}
	if (rc || !cJSON_GetArraySize(lists))
		return rc;
	rc = add_heading(p, "on the lists");
	cJSON_ArrayForEach(item, lists)
	{
		rc = rc ? rc : text_adds(&p->out, item == lists->child ? "  " : ", ");
		rc = rc ? rc : add_visible(p, cJSON_GetStringValue(item));
	}
	return rc ? rc : text_adds(&p->out, "\n");
}

/* A list of {token or feature, text or label, value} on one line; NULL or empty: none. */
static int add_ranked(struct printer *p, const char *member, const char *heading, const char *value)
{
	const cJSON *list = cJSON_GetObjectItem(p->page, member), *item;
	int rc = cJSON_GetArraySize(list) ? add_heading(p, heading) : 0, n = 0;

	cJSON_ArrayForEach(item, list)
	{
		const char *name = answer_string(item, "text");

		if (rc || n++ == 10)
			break;
		rc = text_adds(&p->out, "  ");
		if (!rc && name) {
			rc = text_adds(&p->out, "'");
			rc = rc ? rc : add_visible(p, name);
			rc = rc ? rc : text_adds(&p->out, "'");
		} else if (!rc) {
			rc = text_addf(&p->out, "%.0f",
			               answer_number(item, cJSON_GetObjectItem(item, "feature") ? "feature"
			                                                                        : "token"));
		}
		rc = rc ? rc : text_addf(&p->out, " %.3g", answer_number(item, value));
		if (!rc && answer_string(item, "label")) {
			rc = text_adds(&p->out, " (");
			rc = rc ? rc : add_visible(p, answer_string(item, "label"));
			rc = rc ? rc : text_adds(&p->out, ")");
		}
	}
	return rc || !n ? rc : text_adds(&p->out, "\n");
}

/* The logits of the vocabulary as one line of bars. */
static int add_logit_histogram(struct printer *p)
{
	static const char *const bars[] = { " ",
		                            "\xe2\x96\x81",
		                            "\xe2\x96\x82",
		                            "\xe2\x96\x83",
		                            "\xe2\x96\x84",
		                            "\xe2\x96\x85",
		                            "\xe2\x96\x86",
		                            "\xe2\x96\x87",
		                            "\xe2\x96\x88" };
	const cJSON *histogram = cJSON_GetObjectItem(p->page, "logit_histogram"),
	            *counts = cJSON_GetObjectItem(histogram, "counts"), *count;
	double most = 0;
	int rc;

	if (!cJSON_IsObject(histogram))
		return 0;
	cJSON_ArrayForEach(count, counts)
	{
		most = fmax(most, log1p(count->valuedouble));
	}
	rc = add_heading(p, "logits over the vocabulary (height: log of the tokens)");
	rc = rc ? rc : text_addf(&p->out, "  %.3g |", answer_number(histogram, "low"));
	cJSON_ArrayForEach(count, counts)
	{
		double height = most > 0 ? log1p(count->valuedouble) / most : 0;
		int step = count->valuedouble > 0 ? 1 + (int)(height * 7) : 0;

		rc = rc ? rc : text_adds(&p->out, bars[step < 0 ? 0 : step > 8 ? 8 : step]);
	}
	return rc ? rc : text_addf(&p->out, "| %.3g\n", answer_number(histogram, "high"));
}

/* ---- Contexts ------------------------------------------------------------------------------------------------------------ */

/* "1.5 - 2: 10.1 % of firing tokens, 16 samples" */
static int add_interval(struct printer *p, int bin)
{
	const cJSON *intervals = cJSON_GetObjectItem(p->page, "intervals"),
	            *edges = cJSON_GetObjectItem(intervals, "edges"),
	            *kept = cJSON_GetObjectItem(intervals, "kept"),
	            *contains = cJSON_GetObjectItem(intervals, "contains");

	if (bin >= cJSON_GetArraySize(kept) || bin + 1 >= cJSON_GetArraySize(edges) ||
	    bin >= cJSON_GetArraySize(contains))
		return 0;
	return text_addf(&p->out, "  %.4g - %.4g: %.3g %% of %s, %.0f sample%s\n",
	                 cJSON_GetArrayItem(edges, bin)->valuedouble,
	                 cJSON_GetArrayItem(edges, bin + 1)->valuedouble,
	                 100 * cJSON_GetArrayItem(contains, bin)->valuedouble, answer_string(intervals, "of"),
	                 cJSON_GetArrayItem(kept, bin)->valuedouble,
	                 cJSON_GetArrayItem(kept, bin)->valuedouble == 1 ? "" : "s");
}

static int add_examples(struct printer *p, const char *kind, const char *heading)
{
	context_style style = { .color = p->color,
		                .whole = p->o->full,
		                .columns = terminal_columns() - 9,
		                .max = answer_number(p->page, "max_act") };
	const cJSON *example;
	int rc = 0, bin = -1;
	bool any = false;

	cJSON_ArrayForEach(example, cJSON_GetObjectItem(p->page, "examples"))
	{
		const char *its = answer_string(example, "kind");

		if (rc || !its || strcmp(its, kind) != 0)
			continue;
		rc = any ? 0 : add_heading(p, heading);
		if (!rc && (int)answer_number(example, "bin") != bin) {
			bin = (int)answer_number(example, "bin");
			rc = add_interval(p, bin);
		}
		any = true;
		rc = rc ? rc : text_addf(&p->out, "%8.4g ", answer_number(example, "activation"));
		rc = rc ? rc
		        : context_line_add(&p->out, cJSON_GetObjectItem(example, "tokens"),
		                           (size_t)answer_number(example, "peak"), &style);
		rc = rc ? rc : text_adds(&p->out, "\n");
	}
	return rc;
}

/* The definition comes from the store: anything may be in it. */
static int add_samples(struct printer *p)
{
	const char *definition = answer_string(cJSON_GetObjectItem(p->page, "intervals"), "definition");
	text heading;
	int rc;

	text_init(&heading, 1 << 12);
	rc = text_adds(&heading, "samples by intervals (");
	if (definition)
		rc = rc ? rc : text_add_visible(&heading, definition, strlen(definition));
	rc = rc ? rc : text_adds(&heading, "), the strongest first");
	rc = rc ? rc : add_examples(p, "bin", heading.data);
	text_free(&heading);
	return rc;
}

static int print_page(const cJSON *page, const show_opts *o, bool color, error *err)
{
	struct printer p = { .page = page, .o = o, .color = color };
	int rc;

	text_init(&p.out, (size_t)256 << 20);
	rc = add_statistics(&p);
	rc = rc ? rc : add_labels(&p);
	rc = rc ? rc : add_own(&p);
	rc = rc ? rc : add_histogram(&p);
	rc = rc ? rc : add_ranked(&p, "top_logits", "raises", "logit");
	rc = rc ? rc : add_ranked(&p, "bottom_logits", "lowers", "logit");
	rc = rc ? rc : add_logit_histogram(&p);
	rc = rc ? rc : add_ranked(&p, "neighbours", "neighbours (cosine of decoder rows)", "cosine");
	rc = rc ? rc
	        : add_ranked(&p, "cofiring", "fires with (cosine over tokens of the random contexts)",
	                     "cosine");
	rc = rc ? rc : add_examples(&p, "top", "strongest contexts");
	rc = rc ? rc : add_samples(&p);
	if (rc)
		rc = error_set(err, rc, "cannot put the page together: %s",
		               rc == ERR_NOMEM ? "out of memory" : "it is too long");
	else
		fwrite(p.out.data, 1, p.out.len, stdout);
	text_free(&p.out);
	return rc;
}

static store_intervals which_intervals(const char *name)
{
	if (!name)
		return STORE_INTERVALS_STORED;
	return strcmp(name, "equal-count") == 0   ? STORE_INTERVALS_EQUAL_COUNT
	       : strcmp(name, "equal-width") == 0 ? STORE_INTERVALS_EQUAL_WIDTH
	                                          : STORE_INTERVALS_NEURONPEDIA;
}

/* Draw one of the features that fire and that --where holds for. */
static int draw(uint32_t *out, store *s, const show_opts *o, const cli_parsed *p, error *err)
{
	store_features_opts query = {
		.where = o->where, .firing = true, .random = 1, .seed = o->seed, .limit = 1
	};
	const cJSON *first;
	cJSON *page = NULL;
	int rc;

	query.sources = (store_sources){ .names = &o->store.source, .n = o->store.source ? 1 : 0 };
	if (!cli_given(p, "seed"))
		query.seed = hash64_mix((uint64_t)getpid(), (uint64_t)(clock_now() * 1e9));
	rc = store_features(&page, s, &query, err);
	if (rc)
		return rc;
	first = cJSON_GetArrayItem(cJSON_GetObjectItem(page, "features"), 0);
	if (first)
		*out = (uint32_t)answer_number(first, "feature");
	else
		rc = error_set(err, ERR_NOTFOUND, "no feature that fires%s to choose from",
		               o->where ? " and matches" : "");
	cJSON_Delete(page);
	return rc;
}

static int check(show_opts *o, const cli_parsed *p, error *err)
{
	if (p->n_args && strcmp(p->args[0], "random") == 0)
		o->random = true;
	else if (p->n_args && o->random)
		return error_set(err, ERR_ARG, "--random goes without a number");
	if (!p->n_args && !o->random)
		return error_set(err, ERR_ARG, "which feature? give its number, or --random");
	if (!o->random && (cli_given(p, "seed") || o->where))
		return error_set(err, ERR_ARG, "--seed and --where go with --random");
	return 0;
}

static int ask_store(cJSON **page, store *s, show_opts *o, const cli_parsed *p, error *err)
{
	uint32_t feature = 0;
	int rc = o->random ? draw(&feature, s, o, p, err) : feature_arg(&feature, p->args[0], err);

	return rc ? rc
	          : store_show(page, s, o->store.source, feature, o->examples, which_intervals(o->intervals),
	                       err);
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	show_opts *o = opts;
	store *s = NULL;
	int rc = check(o, p, err);

	if (!rc)
		rc = store_args_open(&s, &o->store, err);
	if (!rc)
		rc = ask_store(page, s, o, p, err);
	store_close(s);
	return rc;
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	return print_page(page, opts, cli_color(p), err);
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	show_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_show_command = {
	.name = "show",
	.run = run,
	.help = "one feature in full: statistics, labels, contexts",
	.usage = "FEATURE|random -d STORE",
	.about = "Prints statistics, labels with their scores, the histogram of activations, logits, "
	         "neighbours and\n"
	         "contexts, one a line, with the strongest token of each in the same column. Tokens on which "
	         "the\n"
	         "feature fires are coloured by their value over its maximum; without colours they are "
	         "[[marked]], the\n"
	         "qualifying token with its value. The firings of the whole window are in --json.",
	.examples = "gloss show 1234 -d demo.db\n"
	            "gloss show random -d demo.db --where \"label IS NULL\" --seed 1\n"
	            "gloss show 1234 -d demo.db --examples 50 --full --color always | less -R",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 1,
};
