/* gloss score: how far labels can be trusted. */
#include "cli/commands.h"
#include "cli/explain_args.h"
#include "cli/golden.h"

#include <math.h>
#include <string.h>

enum { SHOWN = 40, REASONS = 5, LABEL_WIDTH = 60 };

typedef struct score_cmd_opts {
	explain_args args;
	const char *scorer, *embed_model;
	uint32_t n_positive, n_negative, n_hard, n_baseline, per_prompt, group;
	double precision;
	bool logprobs, golden;
	uint32_t n_golden;
	uint32_t n_prompts, steer_tokens, layer;
	bool layer_given;
	double steer_kl;
} score_cmd_opts;

static const option options[] = {
	EXPLAIN_ARGS_OPTIONS(score_cmd_opts, args),
	OPTION(score_cmd_opts, scorer, "scorer", 0, OPTION_STRING, "NAMES", "detection", 0, 0,
	       "how to score, names apart by commas: detection, confidence, fuzz, simulation, embedding, "
	       "intruder, "
	       "surprisal, intervention"),
	OPTION(score_cmd_opts, args.subject, "subject", 0, OPTION_STRING, "URL", NULL, 0, 0,
	       "surprisal, intervention: where demo/subject_server.py serves a model, like "
	       "http://127.0.0.1:8091/v1 (see "
	       "docs/subject.md)"),
	OPTION(score_cmd_opts, args.subject_model, "subject-model", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "what that model is called; if not given, the server is asked"),
	EXPLAIN_SAE_OPTION(score_cmd_opts, args),
	EXPLAIN_CHOICE_OPTION(score_cmd_opts, args, "deciles"),
	OPTION(score_cmd_opts, n_positive, "positive", 0, OPTION_U32, "N", "50", 5, 10000,
	       "firing windows judged"),
	OPTION(score_cmd_opts, n_negative, "negative", 0, OPTION_U32, "N", "50", 1, 10000,
	       "verified-silent windows judged; of fuzz half of them firing ones with wrong marks; of "
	       "intruder "
	       "groups"),
	OPTION(score_cmd_opts, n_hard, "hard", 0, OPTION_U32, "N", "24", 0, 10000,
	       "silent windows that are hard to tell, reported apart: in equal shares where a neighbour by "
	       "decoder cosine fires, where one fires that often fires together with the feature, and where "
	       "the "
	       "token stands that the feature mostly fires on"),
	OPTION(score_cmd_opts, embed_model, "embed-model", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "model of the same endpoint that makes vectors of texts (/embeddings): embedding asks it, "
	       "else "
	       "--model; for all scorers it tells a fourth kind of hard windows, the nearest to firing ones"),
	OPTION(score_cmd_opts, n_baseline, "baseline", 0, OPTION_U32, "N", "10", 0, 10000,
	       "windows of each kind that a model judges by another feature's label, and by none, too; the "
	       "lexical judge does all"),
	OPTION(score_cmd_opts, per_prompt, "per-prompt", 0, OPTION_U32, "N", "20", 1, 100,
	       "windows a request"),
	OPTION(score_cmd_opts, group, "group", 0, OPTION_U32, "N", "5", 3, 10,
	       "intruder: windows of a group, one of them the intruder"),
	OPTION(score_cmd_opts, precision, "precision", 0, OPTION_DOUBLE, "X", "0", 0, 0.5,
	       "ask in four parts, and about no more when the interval is no wider than X to each side; it "
	       "is "
	       "wider then, so that it holds however often one looks. 0: ask about all"),
	OPTION(score_cmd_opts, golden, "golden", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "ask a person in the terminal in place of a judge, blind, and measure judges by the answers"),
	OPTION(score_cmd_opts, n_golden, "n", 0, OPTION_U32, "N", "20", 1, 10000,
	       "with --golden: windows of a feature, of those that the judge gets by the same options"),
	OPTION(score_cmd_opts, n_prompts, "prompts", 0, OPTION_U32, "N", "30", 5, 256,
	       "intervention: texts that the model goes on with"),
	OPTION(score_cmd_opts, steer_kl, "steer-kl", 0, OPTION_DOUBLE, "X", "0.5", 0.001, 100,
	       "intervention: how far the next token's distribution is moved, as KL in nats"),
	OPTION(score_cmd_opts, steer_tokens, "steer-tokens", 0, OPTION_U32, "N", "8", 1, 256,
	       "intervention: tokens that it goes on with"),
	OPTION(score_cmd_opts, layer, "layer", 0, OPTION_U32, "L", NULL, 0, 10000,
	       "intervention: block whose output the SAE's rows are, from 0; otherwise as the source says"),
	OPTION(score_cmd_opts, logprobs, "logprobs", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "grade answers by their log-probabilities, for an AUROC; the server must give them. "
	       "simulation: "
	       "go by those of the prompt or not at all (else: by them where the server gives them, as vLLM "
	       "and demo/subject_server.py do)"),
};

/* Each name of the list, in turn; *next NULL: there are no more. */
static int next_scorer(const char **name, const char **next, error *err)
{
	const char *from = *next, *known;
	size_t n = strcspn(from, ",");
	char all[256] = "";

	*next = from[n] ? from + n + 1 : NULL;
	for (size_t i = 0; (known = explain_scorer_name(i, NULL)); i++) {
		size_t used = strlen(all);

		if (strlen(known) == n && strncmp(known, from, n) == 0) {
			*name = known;
			return 0;
		}
		snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", known);
	}
	return error_set(err, ERR_ARG, "unknown scorer '%.*s': there are %s", (int)(n < 60 ? n : 60), from,
	                 all);
}

/* An option that is not here belongs to all. */
static const cli_belonging belongs[] = {
	{ "group", "--scorer", "intruder" },        { "subject", "--scorer", "surprisal|intervention" },
	{ "sae", "--scorer", "intervention" },      { "prompts", "--scorer", "intervention" },
	{ "steer-kl", "--scorer", "intervention" }, { "steer-tokens", "--scorer", "intervention" },
	{ "layer", "--scorer", "intervention" },
};
static const cli_need needs[] = { { "n", "golden" } };

/* Each is known and named once, and each option is of one of them. */
static int check_scorers(const command *self, const char *names, const cli_parsed *p, error *err)
{
	const char *name, *next = names;
	uint32_t seen = 0;
	int rc = cli_check_needs(p, needs, ARRAY_LEN(needs), err);

	while (next && rc == 0) {
		size_t i = 0;

		rc = next_scorer(&name, &next, err);
		if (rc < 0)
			return rc;
		while (explain_scorer_name(i, NULL) != name)
			i++;
		if (seen & 1U << i)
			return error_set(err, ERR_ARG, "--scorer names '%s' twice", name);
		seen |= 1U << i;
	}
	return rc == 0 ? cli_check_belongs(self, p, belongs, ARRAY_LEN(belongs), "--scorer", names, err) : rc;
}

/* ---- One scorer's table ------------------------------------------------------------------------------------------------ */

static int add_value(cli_table *t, double x)
{
	return isnan(x) ? cli_table_cell(t, "%s", "-") : cli_table_cell(t, "%.3f", x);
}

static int add_windows(cli_table *t, const cJSON *feature)
{
	double n = explain_number(feature, "n_positive"), m = explain_number(feature, "n_negative");

	return m > 0 ? cli_table_cell(t, "%.0f+%.0f", n, m) : cli_table_cell(t, "%.0f", n);
}

static int add_row(cli_table *t, const cJSON *feature, error *err)
{
	const cJSON *label = cJSON_GetObjectItemCaseSensitive(feature, "label");
	bool chance = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(feature, "holds_chance"));

	if (cli_table_cell(t, "%.0f", explain_number(feature, "feature")) < 0 ||
	    add_value(t, explain_number(feature, "value")) < 0 ||
	    cli_table_cell(t, "%.3f-%.3f%s", explain_number(feature, "low"), explain_number(feature, "high"),
	                   chance ? " *" : "") < 0 ||
	    add_value(t, explain_number(feature, "hard")) < 0 ||
	    add_value(t, explain_number(feature, "baseline")) < 0 || add_windows(t, feature) < 0 ||
	    cli_table_cell(t, "%.0f", explain_number(feature, "n_failed")) < 0 ||
	    cli_table_cell(t, "%s", cJSON_IsString(label) ? label->valuestring : "") < 0)
		return error_nomem(err, "a table");
	return 0;
}

typedef struct means {
	double value, baseline, hard;
	unsigned n, n_baseline, n_hard, above, chance;
} means;

static void add_to_mean(double *sum, unsigned *n, double x)
{
	if (isnan(x))
		return;
	*sum += x;
	(*n)++;
}

static void add_to_means(means *m, const cJSON *feature, double chance)
{
	add_to_mean(&m->value, &m->n, explain_number(feature, "value"));
	add_to_mean(&m->hard, &m->n_hard, explain_number(feature, "hard"));
	add_to_mean(&m->baseline, &m->n_baseline, explain_number(feature, "baseline"));
	m->above += explain_number(feature, "low") > chance;
	m->chance += cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(feature, "holds_chance"));
}

static void print_means(const means *m, const cJSON *summary)
{
	const char *measure = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(summary, "measure"));

	if (m->n > SHOWN)
		printf("and %u more: gloss features -d STORE --sort -score\n", m->n - SHOWN);
	if (m->chance)
		printf("* the interval holds chance, %.3g\n", explain_number(summary, "chance"));
	if (m->n)
		printf("mean %s %.3f", measure ? measure : "score", m->value / m->n);
	if (m->n_hard)
		printf("; against hard windows %.3f", m->hard / m->n_hard);
	if (m->n_baseline)
		printf("; by the label of another feature %.3f", m->baseline / m->n_baseline);
	if (m->n)
		printf("; %u of %u above chance with 95 %% confidence\n", m->above, m->n);
}

static int print_scores(const cJSON *summary, error *err)
{
	static const cli_column columns[] = { { "feature", true, 0 },     { "score", true, 0 },
		                              { "95 %", true, 0 },        { "hard", true, 0 },
		                              { "other label", true, 0 }, { "windows", true, 0 },
		                              { "no answer", true, 0 },   { "label", false, LABEL_WIDTH } };
	const cJSON *feature;
	cli_table *t = NULL;
	means m = { 0 };
	int rc;

	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(feature, cJSON_GetObjectItemCaseSensitive(summary, "features"))
	{
		if (rc < 0 || isnan(explain_number(feature, "value")))
			continue;
		add_to_means(&m, feature, explain_number(summary, "chance"));
		if (m.n <= SHOWN)
			rc = add_row(t, feature, err);
	}
	if (rc == 0 && m.n)
		cli_table_print(t, stdout);
	if (rc == 0)
		print_means(&m, summary);
	cli_table_free(t);
	return rc;
}

static int print_summary(const cJSON *summary, bool named, error *err)
{
	int rc;

	if (named)
		printf("%s:\n", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(summary, "scorer")));
	rc = print_scores(summary, err);
	if (rc < 0)
		return rc;
	explain_print_reasons(summary, "failed", REASONS);
	explain_print_reasons(summary, "skipped", REASONS);
	if (explain_number(summary, "without_label") > 0)
		printf("%.0f features have no label yet\n", explain_number(summary, "without_label"));
	explain_print_counts(summary, "scored");
	return 0;
}

/* ---- All scorers ------------------------------------------------------------------------------------------------------ */

static void fill(explain_opts *to, const score_cmd_opts *o)
{
	to->n_positive = o->n_positive;
	to->n_negative = o->n_negative;
	to->n_hard = o->n_hard;
	to->n_baseline = o->n_baseline;
	to->per_prompt = o->per_prompt;
	to->group = o->group;
	to->precision = o->precision;
	to->logprobs = o->logprobs;
	to->embed_model = o->embed_model;
	to->n_prompts = o->n_prompts;
	to->steer_kl = o->steer_kl;
	to->steer_tokens = o->steer_tokens;
	to->layer = o->layer_given ? (int64_t)o->layer : -1;
}

/* The prices are those of the model that the scorer asks. */
static int find_prices(explain_opts *to, const score_cmd_opts *o, error *err)
{
	const char *model =
	        strcmp(to->scorer, "embedding") == 0 && o->embed_model ? o->embed_model : o->args.model;

	return o->args.price ? explain_price_read(&to->price, o->args.price, model, err) : 0;
}

/* What a scorer's job of this run has spent is not there for the next. */
static int spend(explain_opts *o, const cJSON *summary, error *err)
{
	uint64_t requests = (uint64_t)explain_number(summary, "requests");
	uint64_t input = (uint64_t)explain_number(summary, "paid_input_tokens");
	uint64_t output = (uint64_t)explain_number(summary, "paid_output_tokens");
	double cost = explain_number(summary, "paid");
	store_budget *b = &o->budget;

	if ((b->max_requests && requests >= b->max_requests) ||
	    (b->max_tokens && input + output >= b->max_tokens) || (b->max_cost > 0 && cost >= b->max_cost))
		return error_set(err, ERR_STOPPED, "the limit is reached, and there are scorers left");
	b->max_requests -= b->max_requests ? requests : 0;
	b->max_tokens -= b->max_tokens ? input + output : 0;
	b->max_cost -= b->max_cost > 0 ? cost : 0;
	return 0;
}

/* *code: of the worst of them. all: gets the summaries. */
static int score(cJSON *all, int *code, explain_session *x, const score_cmd_opts *o, const cli_parsed *p,
                 const command *self, error *err)
{
	const char *next = o->scorer;
	bool several = strchr(o->scorer, ',') != NULL;
	cJSON *summary;
	int rc, one;

	rc = check_scorers(self, o->scorer, p, err);
	if (rc == 0 && several && o->args.template)
		rc = error_set(err, ERR_ARG, "--template is for one scorer: name one with --scorer");
	if (rc == 0)
		rc = explain_session_begin(x, &o->args, p, self, o, err);
	if (rc < 0)
		return rc;
	fill(&x->opts, o);
	while (next && rc == 0) {
		summary = NULL;
		rc = next_scorer(&x->opts.scorer, &next, err);
		if (rc == 0)
			rc = find_prices(&x->opts, o, err);
		if (rc == 0)
			rc = explain_score(&summary, x->s, &x->opts, err);
		progress_end(&x->progress);
		if (rc < 0)
			break;
		one = explain_exit_code(summary);
		*code = one > *code ? one : *code;
		if (!p->common.json)
			rc = print_summary(summary, several, err);
		if (rc == 0 && next && !x->opts.dry_run && (x->opts.client || x->opts.subject))
			rc = spend(&x->opts, summary, err);
		cJSON_AddItemToArray(all, summary);
	}
	return rc;
}

/* ---- A person -------------------------------------------------------------------------------------------------------- */

static int put_golden(const command *self, cJSON *page, size_t answered)
{
	cJSON *shown = cJSON_CreateObject();

	cJSON_AddNumberToObject(shown, "answered", (double)answered);
	cJSON_AddItemToObject(shown, "golden", cJSON_DetachItemFromObject(page, "golden"));
	cJSON_AddItemToObject(shown, "series", cJSON_DetachItemFromObject(page, "series"));
	return cli_print_json(self, shown);
}

/* What has to do with judges is lost on a person: which windows they get is all that there is to say. */
static int check_golden(const cli_parsed *p, error *err)
{
	static const char goes[] =
	        "store|source|features|where|random|window|peak|seed|choice|scorer|positive|"
	        "negative|hard|golden|n";

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (cli_given(p, options[i].name) &&
		    !cli_is_choice(options[i].name, strlen(options[i].name), goes))
			return error_set(err, ERR_ARG, "--%s does not go with --golden", options[i].name);
	return 0;
}

static int golden(int *code, explain_session *x, const score_cmd_opts *o, const cli_parsed *p,
                  const command *self, error *err)
{
	explain_report_opts r = explain_report_opts_default();
	cJSON *page = NULL;
	size_t answered = 0;
	error none = { 0 };
	int rc = check_golden(p, err);

	if (rc == 0)
		rc = explain_session_begin(x, &o->args, p, self, o, err);
	if (rc < 0)
		return rc;
	progress_end(&x->progress);
	fill(&x->opts, o);
	x->opts.scorer = o->scorer;
	rc = golden_ask(&answered, x->s, &x->opts, o->n_golden, err);
	if (rc < 0)
		return rc;
	fprintf(stderr, "%zu answers are kept\n", answered);
	r.n_shown = 0;
	r.sources = (store_sources){ .names = &o->args.source, .n = o->args.source != NULL };
	rc = explain_report(&page, x->s, &r, &none);
	if (rc == ERR_NOTFOUND && !p->common.json) {
		printf("no scores to be measured by them yet: run gloss score\n");
		return 0;
	}
	if (rc == ERR_NOTFOUND) /* without them the page says how many answers are kept */
		rc = 0;
	if (rc == 0 && p->common.json)
		*code = put_golden(self, page, answered);
	else if (rc == 0)
		golden_print(page);
	cJSON_Delete(page);
	return rc < 0 ? error_set(err, rc, "%s", none.msg) : 0;
}

static int run_score(const command *self, int argc, char **argv)
{
	score_cmd_opts o = { 0 };
	explain_session x = { 0 };
	cJSON *all = cJSON_CreateArray(), *page = NULL;
	cli_parsed p;
	error err = { 0 };
	int code = EXIT_DONE, printed, rc;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	o.layer_given = cli_given(&p, "layer");
	rc = o.golden ? golden(&code, &x, &o, &p, self, &err) : score(all, &code, &x, &o, &p, self, &err);
	if (rc < 0) {
		code = cli_fail(self, &err);
		goto out;
	}
	if (!p.common.json || o.golden)
		goto out;
	if (strchr(o.scorer, ',')) { /* one: its summary; several: a list of theirs */
		page = cJSON_CreateObject();
		cJSON_AddItemToObject(page, "scorers", all);
		all = NULL;
	} else {
		page = cJSON_DetachItemFromArray(all, 0);
	}
	printed = cli_print_json(self, page);
	code = printed == EXIT_DONE ? code : printed;
out:
	cJSON_Delete(all);
	explain_session_end(&x);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_score_command = {
	.name = "score",
	.run = run_score,
	.help = "score labels on documents that no explainer has seen",
	.usage = "-d STORE",
	.about =
	        "Scores the latest label of each feature on documents apart from those that labels are made "
	        "from, each scorer as a job of its own:\n\n"
	        "detection: the judge gets windows of text, some in which the feature fires and some in "
	        "which "
	        "every token is known to leave it silent, and says for each whether the label fits. The "
	        "score "
	        "is the balanced accuracy.\n\n"
	        "fuzz: it gets windows with tokens marked, and says whether what is marked is what the label "
	        "means: rightly marked firing windows, silent windows with tokens marked, and firing windows "
	        "with wrong tokens marked. The score is the balanced accuracy.\n\n"
	        "simulation: the judge predicts how active the feature is on every token of firing windows "
	        "and of windows drawn at random, a request a window. The score is the correlation with the "
	        "true activations over all tokens together; chance is 0. The dearest by far.\n\n"
	        "embedding: a text encoder makes vectors of the label and of windows, and nobody judges. The "
	        "score is how often a firing window lies nearer to the label than a silent one: the area "
	        "under the ROC curve.\n\n"
	        "intruder: it gets groups of windows with tokens marked, in all but one of which the feature "
	        "fires, and says which is the odd one. No label is shown: this scores the feature. The score "
	        "is the accuracy; chance is one in --group.\n\n"
	        "surprisal: a language model, by --subject, else by --base-url (completions with echo and "
	        "logprobs), tells its loss on windows behind a neutral sentence and behind one with the "
	        "label. The score is how often a firing window gains more by the label than a silent one: "
	        "the area under the ROC curve.\n\n"
	        "intervention: that model is steered by the feature's direction, and goes on with texts cut "
	        "behind the first token on which the feature fires. The score is how much likelier the label "
	        "is behind what it writes then, in nats; chance is 0. Details hold the same by a random "
	        "direction.\n\n"
	        "Each has a 95 % interval; a star is put where that holds chance. The column 'hard' is the "
	        "same score against silent windows that are hard to tell, 'other label' that with the label "
	        "of "
	        "another feature: what a label gets that has nothing to do with the feature. Without "
	        "--base-url the embedded lexical judge applies the rule of a lexical label. Limits such as "
	        "--max-cost hold for all scorers of a run together.\n\n"
	        "--golden asks a person, blind: y, n, s to skip, b for back, q to quit, a line each. Each "
	        "answer is kept at once. Then it says what each judge is worth by the answers.",
	.examples = "gloss score -d store.db --scorer detection,fuzz\n"
	            "gloss score -d store.db --golden --random 20\n"
	            "gloss score -d store.db --base-url http://127.0.0.1:8080/v1 --model m --scorer "
	            "detection,fuzz,intruder\n"
	            "gloss score -d store.db --base-url http://127.0.0.1:8080/v1 --model minilm --scorer "
	            "embedding\n"
	            "gloss score -d store.db --json | jq '.features[] | select(.low > 0.5) | .feature'",
	.options = options,
	.n_options = ARRAY_LEN(options),
};
