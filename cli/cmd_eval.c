/* gloss eval: all metrics of an SAE on held-out rows. */
#include <inttypes.h>
#include <math.h>

#include "cli/commands.h"
#include "cli/dump_args.h"

typedef struct eval_opts {
	dump_args dump;
	dump_split_args split;
	const char *target, *target_key;
} eval_opts;

static const option options[] = {
	DUMP_ARGS_OPTIONS(eval_opts, dump),
	DUMP_SPLIT_OPTIONS(eval_opts, split),
	OPTION(eval_opts, target, "target", 0, OPTION_STRING, "DUMP", NULL, 0, 0,
	       "rows to compare the output with, in the dump's order: what a transcoder is to give"),
	OPTION(eval_opts, target_key, "target-key", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "tensor that holds them, where it is not the dump's"),
};

/* In the order they are printed; table and JSON share the names. */
static const struct metric {
	const char *name;
	size_t offset;
	const char *formula;
} metrics[] = {
#define METRIC(field, formula)                                                                               \
	{                                                                                                    \
#field, offsetof(sae_metrics, field), formula                                                \
	}
	METRIC(fvu, "sum |e|^2 / sum |x - mean x|^2"),
	METRIC(ev_ratio, "1 - fvu"),
	METRIC(ev_per_token, "mean of 1 - |e|^2 / |x - mean x|^2 over rows"),
	METRIC(ev_per_token_std, "its standard deviation over rows"),
	METRIC(ev_centered, "1 - sum_d var(e_d) / sum_d var(x_d): forgives a constant error"),
	METRIC(ev_uncentered, "1 - E|e|^2 / (E|x|^2 - |E x|^2), from raw moments"),
	METRIC(mse, "mean of |e|^2"),
	METRIC(mse_per_dim, "mse / d"),
	METRIC(cosine, "mean of cos(x, xhat)"),
	METRIC(l2_ratio, "mean of |xhat| / |x|"),
	METRIC(relative_bias, "E|xhat|^2 / E<x, xhat>"),
	METRIC(l0, "mean number of features that fire on a row"),
	METRIC(l1, "mean sum of activations of a row"),
};

static const struct count {
	const char *name;
	size_t offset;
	const char *meaning;
} counts[] = {
#define COUNT(field, name, meaning)                                                                          \
	{                                                                                                    \
		name, offsetof(sae_metrics, field), meaning                                                  \
	}
	COUNT(n_features, "features", "of the SAE"),
	COUNT(n_dead, "dead", "fire on no row"),
	COUNT(n_dense_10, "dense_10", "fire on over 10 % of rows"),
	COUNT(n_dense_1, "dense_1", "fire on over 1 % of rows"),
};

static double metric_value(const sae_metrics *m, const struct metric *metric)
{
	return *(const double *)(const void *)((const char *)m + metric->offset);
}

static uint64_t count_value(const sae_metrics *m, const struct count *count)
{
	return *(const uint64_t *)(const void *)((const char *)m + count->offset);
}

/* {"rows":{...},"split":{...},"metrics":{...},"features":{...}}; a metric that is not defined on these rows is null. */
static cJSON *result_json(const char *sae, const sae_metrics *m, const sae_rows_stats *rows,
                          const dump_split_args *split)
{
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
		good = good && cJSON_AddNumberToObject(part, metrics[i].name, metric_value(m, &metrics[i]));
	part = cJSON_AddObjectToObject(top, "features");
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		good = good &&
		       cJSON_AddNumberToObject(part, counts[i].name, (double)count_value(m, &counts[i]));
	if (good)
		return top;
	cJSON_Delete(top);
	return NULL;
}

static int print_table(const sae_metrics *m, error *err)
{
	static const cli_column columns[] = { { "metric", false, 0 },
		                              { "value", true, 0 },
		                              { "what it is (e = x - xhat)", false, 0 } };
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	for (size_t i = 0; !rc && i < ARRAY_LEN(metrics); i++) {
		double value = metric_value(m, &metrics[i]);

		rc = cli_table_cell(t, "%s", metrics[i].name);
		if (!rc)
			rc = isnan(value) ? cli_table_cell(t, "undefined") : cli_table_cell(t, "%.5g", value);
		if (!rc)
			rc = cli_table_cell(t, "%s", metrics[i].formula);
	}
	for (size_t i = 0; !rc && i < ARRAY_LEN(counts); i++) {
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

static int open_target(sae_dump **out, const eval_opts *o, error *err)
{
	const sae_dump_opts from = { .key = o->target_key ? o->target_key : o->dump.key };

	return o->target ? sae_dump_open(out, &o->target, 1, &from, err) : 0;
}

static int evaluate(sae_metrics *m, const sae_model *model, dump_input *in, const eval_opts *o,
                    const cli_parsed *p, error *err)
{
	sae_dump *target = NULL;
	progress pr;
	int rc = open_target(&target, o, err);

	if (rc < 0)
		return rc;
	progress_start(&pr, cli_progress_stream(p), "eval", "rows", sae_rows_n(in->rows, true));
	rc = sae_eval(m, model, in->dump, target, in->rows, true, in->pool, &pr, err);
	progress_end(&pr);
	sae_dump_close(target);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	eval_opts o = { 0 };
	cli_parsed p;
	dump_input in = { 0 };
	sae_model *model = NULL;
	sae_metrics m = { 0 };
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = sae_model_load(&model, p.args[0], &err);
	if (!rc && model->transcodes && !o.target)
		rc = error_set(
		        &err, ERR_ARG,
		        "'%s' is a transcoder: give the rows that its output is compared with as --target",
		        p.args[0]);
	/* Rows that training left out for their norm stay out, unless the user asks otherwise; an SAE that tells no limit gets
	 * the usual one. */
	if (!rc)
		rc = dump_input_open(
		        &in, &p, p.args + 1, p.n_args - 1, &o.dump,
		        cli_given(&p, "max-norm-ratio") || isinf(model->norm_limit) ? 0 : model->norm_limit,
		        false, &err);
	if (!rc)
		rc = dump_input_split(&in, &o.split, &err);
	if (!rc)
		rc = evaluate(&m, model, &in, &o, &p, &err);
	if (!rc && p.common.json) {
		code = cli_print_json(self,
		                      result_json(p.args[0], &m, sae_rows_get_stats(in.rows), &o.split));
	} else if (!rc) {
		print_rows(&m, sae_rows_get_stats(in.rows), &o.split);
		rc = print_table(&m, &err);
	}
	if (rc)
		code = cli_fail(self, &err);
out:
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
	.about = "Encodes and decodes the rows that training held out (the same documents: --holdout, "
	         "--split and\n"
	         "--split-seed must be those of train, as the defaults are) and prints the metrics in use, "
	         "each under a\n"
	         "name of its own: what one tool calls explained variance another defines otherwise. "
	         "--holdout 1\n"
	         "evaluates all rows.\n"
	         "Rows whose norm is over the limit that training used are left out here too; "
	         "--max-norm-ratio sets a\n"
	         "limit anew. A metric that is not defined on the rows (no variance) is 'undefined', in JSON "
	         "null.\n\n"
	         "A transcoder's output is not its input but the rows of another hook point: --target names "
	         "a dump of "
	         "them.",
	.examples = "gloss eval sae/ dump/\n"
	            "gloss eval sae/ dump/ --holdout 1 --json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = UINT32_MAX,
};
