/* gloss explain: label features. */
#include "cli/commands.h"
#include "cli/explain_args.h"

#include <math.h>
#include <string.h>

enum { SHOWN = 40, REASONS = 5, LABEL_WIDTH = 90 };

typedef struct explain_cmd_opts {
	explain_args args;
	const char *explainer;
	uint32_t n_examples, n_candidates, n_refine, n_select;
	bool cot;
	uint32_t n_prompts, layer;
	double steer_kl;
} explain_cmd_opts;

static const option options[] = {
	EXPLAIN_ARGS_OPTIONS(explain_cmd_opts, args),
	OPTION(explain_cmd_opts, explainer, "explainer", 0, OPTION_ENUM,
	       "marked|table|contrastive|output|single-token|lexical", NULL, 0, 0,
	       "what the model gets: texts with marked tokens and strengths (if not given); every token with "
	       "its strength; "
	       "marked texts and silent ones that look alike; the tokens that the feature makes likelier and "
	       "unlikelier. "
	       "single-token: no model where nine of ten peaks are one token, else as marked. lexical: "
	       "rules, "
	       "no model"),
	OPTION(explain_cmd_opts, cot, "cot", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "the model gives its reasons before the label; they are kept in the request log"),
	OPTION(explain_cmd_opts, n_candidates, "candidates", 0, OPTION_U32, "N", "1", 1, 20,
	       "labels sampled; kept is the one by which the model judges texts of the select documents "
	       "best. The "
	       "others stay in the history"),
	OPTION(explain_cmd_opts, n_refine, "refine", 0, OPTION_U32, "N", "0", 0, 10,
	       "show the model what it judged wrongly there by its label, and have it revised, at most N "
	       "times; a "
	       "worse one is not kept"),
	OPTION(explain_cmd_opts, n_select, "select", 0, OPTION_U32, "N", "20", 5, 1000,
	       "with these: firing windows of the select documents judged, and as many silent ones"),
	OPTION(explain_cmd_opts, n_examples, "examples", 0, OPTION_U32, "N", "20", 1, 1000,
	       "windows shown to the model"),
	EXPLAIN_CHOICE_OPTION(explain_cmd_opts, args, "mix"),
	OPTION(explain_cmd_opts, args.subject, "subject", 0, OPTION_STRING, "URL", NULL, 0, 0,
	       "output: where demo/subject_server.py serves the SAE's model, like http://127.0.0.1:8091/v1 "
	       "(see docs/subject.md): what steering by the feature makes likelier is shown too"),
	OPTION(explain_cmd_opts, args.subject_model, "subject-model", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "what that model is called; if not given, the server is asked"),
	EXPLAIN_SAE_OPTION(explain_cmd_opts, args),
	OPTION(explain_cmd_opts, n_prompts, "prompts", 0, OPTION_U32, "N", "10", 5, 256,
	       "with --subject: texts of the label documents that it is steered on"),
	OPTION(explain_cmd_opts, steer_kl, "steer-kl", 0, OPTION_DOUBLE, "X", "0.5", 0.001, 100,
	       "with --subject: how far the next token's distribution is moved, as KL in nats"),
	OPTION(explain_cmd_opts, layer, "layer", 0, OPTION_U32, "L", NULL, 0, 10000,
	       "with --subject: block whose output the SAE's rows are, from 0; otherwise as the source says"),
};

static const cli_need needs[] = {
	{ "select", "candidates|refine" },
	{ "prompts", "subject" },
	{ "steer-kl", "subject" },
	{ "layer", "subject" },
};

static int add_row(cli_table *t, const cJSON *feature, error *err)
{
	const cJSON *label = cJSON_GetObjectItemCaseSensitive(feature, "label");
	double confidence = explain_number(feature, "confidence");

	if (cli_table_cell(t, "%.0f", explain_number(feature, "feature")) < 0 ||
	    (isnan(confidence) ? cli_table_cell(t, "%s", "") : cli_table_cell(t, "%.2f", confidence)) < 0 ||
	    cli_table_cell(t, "%s", label->valuestring) < 0)
		return error_nomem(err, "a table");
	return 0;
}

static int print_labels(const cJSON *summary, error *err)
{
	static const cli_column columns[] = { { "feature", true, 0 },
		                              { "confidence", true, 0 },
		                              { "label", false, LABEL_WIDTH } };
	const cJSON *feature;
	cli_table *t = NULL;
	unsigned n = 0;
	int rc;

	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(feature, cJSON_GetObjectItemCaseSensitive(summary, "features"))
	{
		if (rc == 0 && cJSON_GetObjectItemCaseSensitive(feature, "label") && n++ < SHOWN)
			rc = add_row(t, feature, err);
	}
	if (rc == 0 && n)
		cli_table_print(t, stdout);
	if (rc == 0 && n > SHOWN)
		printf("and %u more: gloss features -d STORE\n", n - SHOWN);
	cli_table_free(t);
	return rc;
}

static int run_explain(const command *self, int argc, char **argv)
{
	explain_cmd_opts o = { 0 };
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
	rc = cli_check_needs(&p, needs, ARRAY_LEN(needs), &err);
	if (rc == 0)
		rc = explain_session_begin(&x, &o.args, &p, self, &o, &err);
	if (rc == 0) {
		x.opts.explainer = o.explainer;
		x.opts.cot = o.cot;
		x.opts.n_examples = o.n_examples;
		x.opts.n_candidates = o.n_candidates;
		x.opts.n_refine = o.n_refine;
		x.opts.n_select = o.n_select;
		x.opts.n_prompts = o.n_prompts;
		x.opts.steer_kl = o.steer_kl;
		x.opts.layer = cli_given(&p, "layer") ? (int64_t)o.layer : -1;
		rc = explain_run(&summary, x.s, &x.opts, &err);
		progress_end(&x.progress);
	}
	if (rc == 0 && !p.common.json)
		rc = print_labels(summary, &err);
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
	explain_print_counts(summary, "labelled");
	if (o.explainer && strcmp(o.explainer, "output") == 0 && !o.args.subject)
		printf("what steering raises was not shown: that needs --subject URL\n");
out:
	cJSON_Delete(summary);
	explain_session_end(&x);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_explain_command = {
	.name = "explain",
	.run = run_explain,
	.help = "label features, by a language model or by rules",
	.usage = "-d STORE",
	.about = "Writes a label for each feature to the store. With --base-url, a model behind any "
	         "OpenAI-compatible "
	         "endpoint gets windows of text in which the feature fires, from the documents set aside for "
	         "labels, and answers with a sentence. Without, the embedded lexical explainer looks for a "
	         "rule "
	         "over tokens, such as a word, an ending, or what comes right before.\n\n"
	         "Every reply is kept in STORE.requests before it is used: a run that was stopped, or "
	         "killed, goes on "
	         "where it was when the same command is given again, and no question is paid for twice.\n\n"
	         "The key is taken from the environment or a file, is sent in one request header and is "
	         "written "
	         "nowhere.",
	.examples = "gloss explain -d store.db --features 0-99\n"
	            "gloss explain -d store.db --where 'density < 0.01' --base-url http://127.0.0.1:8080/v1 "
	            "--model m\n"
	            "gloss explain -d store.db --base-url https://api.example.com/v1 --model m --dry-run",
	.options = options,
	.n_options = ARRAY_LEN(options),
};
