/* gloss score: how far labels can be trusted. */
#include "cli/commands.h"
#include "cli/explain_args.h"

#include <math.h>
#include <string.h>

enum { SHOWN = 40, REASONS = 5, LABEL_WIDTH = 60 };

typedef struct score_cmd_opts {
	explain_args args;
	const char *scorer;
	uint32_t n_positive, n_negative, n_baseline, per_prompt;
} score_cmd_opts;

static const option options[] = {
	EXPLAIN_ARGS_OPTIONS(score_cmd_opts, args),
	OPTION(score_cmd_opts, scorer, "scorer", 0, OPTION_STRING, "NAMES", "detection", 0, 0,
	       "how to score, names apart by commas: detection"),
	OPTION(score_cmd_opts, n_positive, "positive", 0, OPTION_U32, "N", "50", 5, 10000,
	       "firing windows judged, spread over deciles of activation"),
	OPTION(score_cmd_opts, n_negative, "negative", 0, OPTION_U32, "N", "50", 1, 10000,
	       "verified-silent windows judged"),
	OPTION(score_cmd_opts, n_baseline, "baseline", 0, OPTION_U32, "N", "10", 0, 10000,
	       "windows of each kind that a model judges by another feature's label too; the lexical judge "
	       "does all"),
	OPTION(score_cmd_opts, per_prompt, "per-prompt", 0, OPTION_U32, "N", "10", 1, 100,
	       "windows a request"),
};

/* The one scorer there is so far; the list may name it once or more. */
static int check_scorers(const char *names, error *err)
{
	size_t n;

	for (const char *s = names;; s += n + 1) {
		n = strcspn(s, ",");
		if (n != strlen("detection") || strncmp(s, "detection", n) != 0)
			return error_set(err, ERR_ARG, "unknown scorer '%.*s': there is detection",
			                 (int)(n < 60 ? n : 60), s);
		if (s[n] == '\0')
			return 0;
	}
}

static int add_row(cli_table *t, const cJSON *feature, error *err)
{
	const cJSON *label = cJSON_GetObjectItemCaseSensitive(feature, "label");
	double baseline = explain_number(feature, "baseline");

	if (cli_table_cell(t, "%.0f", explain_number(feature, "feature")) < 0 ||
	    cli_table_cell(t, "%.3f", explain_number(feature, "value")) < 0 ||
	    cli_table_cell(t, "%.3f-%.3f", explain_number(feature, "low"), explain_number(feature, "high")) <
	            0 ||
	    (isnan(baseline) ? cli_table_cell(t, "%s", "-") : cli_table_cell(t, "%.3f", baseline)) < 0 ||
	    cli_table_cell(t, "%.0f+%.0f", explain_number(feature, "n_positive"),
	                   explain_number(feature, "n_negative")) < 0 ||
	    cli_table_cell(t, "%.0f", explain_number(feature, "n_failed")) < 0 ||
	    cli_table_cell(t, "%s", cJSON_IsString(label) ? label->valuestring : "") < 0)
		return error_nomem(err, "a table");
	return 0;
}

typedef struct means {
	double value, baseline;
	unsigned n, n_baseline, above;
} means;

static void add_to_means(means *m, const cJSON *feature)
{
	double baseline = explain_number(feature, "baseline");

	m->value += explain_number(feature, "value");
	m->above += explain_number(feature, "low") > 0.5;
	m->n++;
	if (!isnan(baseline)) {
		m->baseline += baseline;
		m->n_baseline++;
	}
}

static void print_means(const means *m)
{
	if (m->n > SHOWN)
		printf("and %u more: gloss features -d STORE --sort -score\n", m->n - SHOWN);
	if (m->n)
		printf("mean balanced accuracy %.3f", m->value / m->n);
	if (m->n_baseline)
		printf("; by the label of another feature %.3f", m->baseline / m->n_baseline);
	if (m->n)
		printf("; %u of %u above chance with 95 %% confidence\n", m->above, m->n);
}

static int print_scores(const cJSON *summary, error *err)
{
	static const cli_column columns[] = {
		{ "feature", true, 0 },         { "score", true, 0 },   { "95 %", true, 0 },
		{ "other label", true, 0 },     { "windows", true, 0 }, { "no answer", true, 0 },
		{ "label", false, LABEL_WIDTH }
	};
	const cJSON *feature;
	cli_table *t = NULL;
	means m = { 0 };
	int rc;

	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(feature, cJSON_GetObjectItemCaseSensitive(summary, "features"))
	{
		if (rc < 0 || isnan(explain_number(feature, "value")))
			continue;
		add_to_means(&m, feature);
		if (m.n <= SHOWN)
			rc = add_row(t, feature, err);
	}
	if (rc == 0 && m.n)
		cli_table_print(t, stdout);
	if (rc == 0)
		print_means(&m);
	cli_table_free(t);
	return rc;
}

static int score(cJSON **summary, explain_session *x, const score_cmd_opts *o, const cli_parsed *p,
                 const command *self, error *err)
{
	int rc;

	rc = check_scorers(o->scorer, err);
	if (rc == 0)
		rc = explain_session_begin(x, &o->args, p, self, o, err);
	if (rc < 0)
		return rc;
	x->opts.n_positive = o->n_positive;
	x->opts.n_negative = o->n_negative;
	x->opts.n_baseline = o->n_baseline;
	x->opts.per_prompt = o->per_prompt;
	rc = explain_score_detection(summary, x->s, &x->opts, err);
	progress_end(&x->progress);
	return rc;
}

static int run_score(const command *self, int argc, char **argv)
{
	score_cmd_opts o = { 0 };
	explain_session x = { 0 };
	cJSON *summary = NULL;
	cli_parsed p;
	error err = { 0 };
	int code, rc;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = score(&summary, &x, &o, &p, self, &err);
	if (rc == 0 && !p.common.json)
		rc = print_scores(summary, &err);
	if (rc < 0) {
		code = cli_fail(self, &err);
		goto out;
	}
	code = explain_exit_code(summary);
	if (p.common.json) {
		int printed = cli_print_json(self, summary);

		summary = NULL;
		code = printed == EXIT_DONE ? code : printed;
		goto out;
	}
	explain_print_reasons(summary, "failed", REASONS);
	explain_print_reasons(summary, "skipped", REASONS);
	if (explain_number(summary, "without_label") > 0)
		printf("%.0f features have no label yet\n", explain_number(summary, "without_label"));
	explain_print_counts(summary, "scored");
out:
	cJSON_Delete(summary);
	explain_session_end(&x);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_score_command = {
	.name = "score",
	.run = run_score,
	.help = "score labels on documents that no explainer has seen",
	.usage = "-d STORE",
	.about = "Scores the latest label of each feature by detection: a judge gets windows of text, some "
	         "in which the "
	         "feature fires and some in which every token is known to leave it silent, and says for each "
	         "whether "
	         "the label fits. The score is the balanced accuracy, with a 95 % interval. The documents "
	         "are apart "
	         "from those that labels are made from.\n\n"
	         "The column 'other label' is the same score with the label of another feature: what a label "
	         "that has "
	         "nothing to do with the feature gets. With --base-url a model judges, on a part of the "
	         "windows in that "
	         "comparison; without, the embedded lexical judge applies the rule of a lexical label.",
	.examples = "gloss score -d store.db\n"
	            "gloss score -d store.db --base-url http://127.0.0.1:8080/v1 --model m --positive 100 "
	            "--negative 100\n"
	            "gloss score -d store.db --json | jq '.features[] | select(.low > 0.5) | .feature'",
	.options = options,
	.n_options = ARRAY_LEN(options),
};
