/* gloss eval: all metrics of an SAE on held-out rows. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/crosscoder.h"
#include "cli/dump_args.h"
#include "cli/eval_metrics.h"
#include "cli/eval_more.h"

typedef struct eval_opts {
	dump_args dump;
	dump_split_args split;
	bool dictionary, mdl;
	const char *prefixes;
	option_list only;
} eval_opts;

static const option options[] = {
	DUMP_ARGS_OPTIONS(eval_opts, dump),
	DUMP_SPLIT_OPTIONS(eval_opts, split),
	OPTION(eval_opts, dump.target, "target", 0, OPTION_STRING, "DUMP", NULL, 0, 0,
	       "rows to compare the output with, in the dump's order: what a transcoder is to give"),
	OPTION(eval_opts, dump.target_key, "target-key", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "tensor that holds them, where it is not the dump's"),
	OPTION(eval_opts, dictionary, "dictionary", 0, OPTION_BOOL, NULL, "true", 0, 0,
	       "also the cosines of all pairs of features: time grows with the square of their number"),
	OPTION(eval_opts, mdl, "mdl", 0, OPTION_BOOL, NULL, "false", 0, 0,
	       "also bits a row that the codes take at 8, 16, 32 and 64 bins, on 16,384 of the rows"),
	OPTION(eval_opts, prefixes, "prefixes", 0, OPTION_STRING, "N,N", NULL, 0, 0,
	       "also the fvu of the first N features alone (Matryoshka), on 16,384 of the rows"),
	OPTION(eval_opts, only, "metric", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "print only this one; may be repeated"),
};

/* In the order they are printed; table and JSON share the names. */
static const struct metric {
	const char *name;
	size_t offset;
	const char *formula;
} metrics[] = {
#define METRIC(field, formula) { #field, offsetof(sae_metrics, field), formula },
	EVAL_METRICS(METRIC)
#undef METRIC
};

static const struct count {
	const char *name;
	size_t offset;
	const char *meaning;
} counts[] = {
#define COUNT(field, name, meaning) { name, offsetof(sae_metrics, field), meaning },
	EVAL_COUNTS(COUNT)
#undef COUNT
};

/* The same for --help and the man page. */
#define METRIC_LINE(field, formula)      "  " #field ": " formula "\n"
#define COUNT_LINE(field, name, meaning) "  " name ": " meaning "\n"

static double metric_value(const sae_metrics *m, const struct metric *metric)
{
	return *(const double *)(const void *)((const char *)m + metric->offset);
}

static uint64_t count_value(const sae_metrics *m, const struct count *count)
{
	return *(const uint64_t *)(const void *)((const char *)m + count->offset);
}

static bool wanted(const option_list *only, const char *name)
{
	for (size_t i = 0; i < only->n; i++)
		if (strcmp(only->items[i], name) == 0)
			return true;
	return only->n == 0;
}

/* The name of the i-th metric or count; NULL: no more. */
static const char *name_of(size_t i)
{
	if (i < ARRAY_LEN(metrics))
		return metrics[i].name;
	return i - ARRAY_LEN(metrics) < ARRAY_LEN(counts) ? counts[i - ARRAY_LEN(metrics)].name : NULL;
}

static int check_names(const option_list *only, error *err)
{
	for (size_t i = 0; i < only->n; i++) {
		const char *name, *near = NULL;
		unsigned best = UINT_MAX;
		bool known = false;

		for (size_t j = 0; !known && (name = name_of(j)); j++) {
			unsigned likeness = text_likeness(only->items[i], name);

			known = strcmp(only->items[i], name) == 0;
			near = likeness < best ? name : near;
			best = likeness < best ? likeness : best;
		}
		if (!known)
			return error_set(err, ERR_ARG, "--metric: there is no '%.60s'%s%s%s", only->items[i],
			                 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
	}
	return 0;
}

/* Alive features by log10 of their density: counts of bins of `width` from `low` on. */
static bool add_density(cJSON *to, const sae_metrics *m)
{
	cJSON *part = cJSON_AddObjectToObject(to, "log10_density"), *counts_of;
	bool good = cJSON_AddNumberToObject(part, "low", SAE_DENSITY_LOW) &&
	            cJSON_AddNumberToObject(part, "width", SAE_DENSITY_WIDTH);

	counts_of = cJSON_AddArrayToObject(part, "counts");
	for (int i = 0; i < SAE_DENSITY_BINS; i++)
		good = good && cJSON_AddItemToArray(counts_of, cJSON_CreateNumber((double)m->density[i]));
	return good;
}

/* {"rows":{...},"split":{...},"metrics":{...},"features":{...}}; a metric that is not defined on these rows is null. */
static cJSON *result_json(const char *sae, const sae_metrics *m, const sae_rows_stats *rows,
                          const eval_opts *o)
{
	const dump_split_args *split = &o->split;
	cJSON *top = cJSON_CreateObject(), *part;
	bool good = cJSON_AddStringToObject(top, "sae", sae) != NULL;

	part = cJSON_AddObjectToObject(top, "rows");
	good = good && cJSON_AddNumberToObject(part, "total", (double)rows->n_rows);
	good = good && cJSON_AddNumberToObject(part, "left_out_norm", (double)rows->n_outlier);
	good = good && cJSON_AddNumberToObject(part, "left_out_nan", (double)rows->n_nan);
	good = good && cJSON_AddNumberToObject(part, "left_out_token", (double)rows->n_token);
	good = good && cJSON_AddNumberToObject(part, "left_out_position", (double)rows->n_position);
	if (rows->n_masked)
		good = good && cJSON_AddNumberToObject(part, "masked", (double)rows->n_masked);
	if (rows->n_role)
		good = good && cJSON_AddNumberToObject(part, "left_out_role", (double)rows->n_role);
	good = good && cJSON_AddNumberToObject(part, "kept", (double)rows->n_kept);
	good = good && cJSON_AddNumberToObject(part, "norm_limit", rows->norm_limit);
	good = good && cJSON_AddNumberToObject(part, "evaluated", (double)m->n_rows);
	part = cJSON_AddObjectToObject(top, "split");
	good = good && cJSON_AddNumberToObject(part, "holdout", split->holdout);
	good = good && cJSON_AddStringToObject(part, "by", split->by);
	good = good && cJSON_AddNumberToObject(part, "seed", (double)split->seed);
	part = cJSON_AddObjectToObject(top, "metrics");
	for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
		if (wanted(&o->only, metrics[i].name))
			good = good &&
			       cJSON_AddNumberToObject(part, metrics[i].name, metric_value(m, &metrics[i]));
	good = good && (o->only.n || add_density(top, m));
	part = cJSON_AddObjectToObject(top, "features");
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		if (wanted(&o->only, counts[i].name))
			good = good && cJSON_AddNumberToObject(part, counts[i].name,
			                                       (double)count_value(m, &counts[i]));
	if (good)
		return top;
	cJSON_Delete(top);
	return NULL;
}

static int print_table(const sae_metrics *m, const option_list *only, error *err)
{
	static const cli_column columns[] = { { "metric", false, 0 },
		                              { "value", true, 0 },
		                              { "what it is (e = x - xhat)", false, 0 } };
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	for (size_t i = 0; !rc && i < ARRAY_LEN(metrics); i++) {
		double value = metric_value(m, &metrics[i]);

		if (!wanted(only, metrics[i].name))
			continue;
		rc = cli_table_cell(t, "%s", metrics[i].name);
		if (!rc)
			rc = isnan(value) ? cli_table_cell(t, "undefined") : cli_table_cell(t, "%.5g", value);
		if (!rc)
			rc = cli_table_cell(t, "%s", metrics[i].formula);
	}
	for (size_t i = 0; !rc && i < ARRAY_LEN(counts); i++) {
		if (!wanted(only, counts[i].name))
			continue;
		rc = cli_table_cell(t, "%s", counts[i].name);
		if (!rc)
			rc = cli_table_cell(t, "%" PRIu64, count_value(m, &counts[i]));
		if (!rc)
			rc = cli_table_cell(t, "%s", counts[i].meaning);
	}
	if (rc)
		rc = error_nomem(err, "the table of metrics");
	else
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static void print_rows(const sae_metrics *m, const sae_rows_stats *rows, const dump_split_args *split)
{
	printf("%" PRIu64 " rows evaluated of %" PRIu64 " that count", m->n_rows, rows->n_kept);
	if (split->holdout < 1)
		printf(" (held out by %s, --holdout %g --split-seed %" PRIu64 ")", split->by, split->holdout,
		       split->seed);
	printf("\n%" PRIu64 " of %" PRIu64 " rows left out", rows->n_rows - rows->n_masked - rows->n_kept,
	       rows->n_rows - rows->n_masked);
	if (rows->n_outlier)
		printf(", %" PRIu64 " of them for a norm over %.5g", rows->n_outlier, rows->norm_limit);
	if (rows->n_nan)
		printf(", %" PRIu64 " for NaN or infinity", rows->n_nan);
	printf("\n");
}

/* Which inputs a crosscoder's features are of: into the page, or printed where there is none. */
static int tell_inputs(cJSON *page, const sae_model *model, const sae_metrics *m, error *err)
{
	crosscoder_report r;
	cJSON *part;
	int rc;

	if (model->n_inputs < 2)
		return 0;
	rc = crosscoder_look(&r, model, m, err);
	if (rc == 0 && !page)
		crosscoder_print(&r);
	if (rc == 0 && page) {
		part = crosscoder_json(&r, 0);
		if (!cJSON_AddItemToObject(page, "inputs", part)) {
			cJSON_Delete(part);
			rc = error_nomem(err, "the answer");
		}
	}
	crosscoder_clear(&r);
	return rc;
}

static int evaluate(sae_metrics *m, const sae_model *model, dump_input *in, const eval_opts *o,
                    const cli_parsed *p, error *err)
{
	progress pr;
	int rc;

	progress_start(&pr, cli_progress_stream(p), "eval", "rows", sae_rows_n(in->rows, true));
	rc = sae_eval(m, model, in->dump, NULL, in->rows, true, in->pool, &pr, err);
	progress_end(&pr);
	if (!rc && o->dictionary)
		rc = sae_eval_dictionary(m, model, in->pool, err);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	eval_opts o = { 0 };
	cli_parsed p;
	dump_input in = { 0 };
	sae_model *model = NULL;
	sae_metrics m = { 0 };
	eval_more more = { 0 };
	cJSON *page = NULL;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = check_names(&o.only, &err);
	if (!rc)
		rc = sae_model_load(&model, p.args[0], &err);
	if (!rc)
		rc = eval_more_parse(&more, o.mdl, o.prefixes, model->d_sae, &err);
	if (!rc && model->transcodes && !o.dump.target && !o.dump.target_key)
		rc = error_set(
		        &err, ERR_ARG,
		        "'%s' is a transcoder: give the rows that its output is compared with as --target",
		        p.args[0]);
	if (!rc)
		rc = dump_input_open(&in, &p, p.args + 1, p.n_args - 1, &o.dump,
		                     dump_limit_of_sae(&o.dump, &p, model), false, &err);
	if (!rc)
		rc = dump_input_split(&in, &o.split, &err);
	if (!rc)
		rc = evaluate(&m, model, &in, &o, &p, &err);
	if (!rc)
		rc = eval_more_measure(&more, model, &in, &err);
	if (!rc && p.common.json) {
		page = result_json(p.args[0], &m, sae_rows_get_stats(in.rows), &o);
		if (page && !eval_more_add(page, &more))
			rc = error_nomem(&err, "the answer");
		if (!rc && page && !o.only.n)
			rc = tell_inputs(page, model, &m, &err);
		if (!rc)
			code = cli_print_json(self, page);
		page = rc ? page : NULL;
	} else if (!rc) {
		print_rows(&m, sae_rows_get_stats(in.rows), &o.split);
		rc = print_table(&m, &o.only, &err);
		if (!rc)
			eval_more_print(&more);
		if (!rc && !o.only.n)
			rc = tell_inputs(NULL, model, &m, &err);
	}
	if (rc)
		code = cli_fail(self, &err);
out:
	cJSON_Delete(page);
	sae_metrics_clear(&m);
	dump_input_close(&in);
	sae_model_free(model);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_eval_command = {
	.name = "eval",
	.run = run,
	.help = "measure how well an SAE reconstructs held-out rows",
	.usage = "SAE DUMP...",
	.about =
	        "Encodes and decodes the rows that training held out (the same documents: --holdout, "
	        "--split and\n"
	        "--split-seed must be those of train, as the defaults are) and prints the metrics in use, "
	        "each under a\n"
	        "name of its own: what one tool calls explained variance another defines otherwise. "
	        "--holdout 1\n"
	        "evaluates all rows.\n"
	        "Rows whose norm is over the limit that training used are left out here too; "
	        "--max-norm-ratio sets a\n"
	        "limit anew. A metric that is not defined on the rows (no variance) is 'undefined', in JSON "
	        "null. --metric prints only what is asked for. --mdl adds the sum over features of H(p) + p "
	        "H(bins) in bits, p the share\n"
	        "of rows a feature fires on, its values cut in bins of equal width from 0 to the largest.\n"
	        "\n"
	        "The metrics, with e = x - xhat, F features and d dimensions; means and sums are over rows:\n"
	        "\n" EVAL_METRICS(METRIC_LINE) EVAL_COUNTS(
	                COUNT_LINE) "  log10_density: in JSON, features that fire by log10 of the "
	                            "share of rows they fire on, in bins\n"
	                            "\n"
	                            "A transcoder's output is not its input but the rows of "
	                            "another hook point: --target names "
	                            "a dump of\n"
	                            "them. A crosscoder takes the rows of several dumps side by side "
	                            "(--cross); it is told how many features are of one of them alone.",
	.examples = "gloss eval sae/ dump/\n"
	            "gloss eval sae/ dump/ --holdout 1 --json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = UINT32_MAX,
};
