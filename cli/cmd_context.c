/* gloss context: one context, and what fires on each of its tokens. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/page.h"
#include "cli/store_args.h"

typedef struct context_opts {
	store_args store;
	uint32_t top, limit;
} context_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(context_opts, store),
	OPTION(context_opts, top, "top", 0, OPTION_U32, "N", "3", 0, 1000, "features of each token"),
	OPTION(context_opts, limit, "limit", 'n', OPTION_U32, "N", "20", 0, 100000,
	       "features of the whole context"),
};

static int context_arg(int64_t *out, const char *arg, error *err)
{
	char *end;

	errno = 0;
	*out = strtoll(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno)
		return error_set(err, ERR_ARG, "'%.100s' is not the number of a context", arg);
	return 0;
}

/* "12 (3.4: a label), 7 (2)" */
static int add_features(text *out, const cJSON *features)
{
	const cJSON *f;
	int rc = 0;

	text_clear(out);
	cJSON_ArrayForEach(f, features)
	{
		const char *label = answer_string(f, "label");

		rc = rc ? rc
		        : text_addf(out, "%s%.0f (%.3g%s", out->len ? ", " : "", answer_number(f, "feature"),
		                    answer_number(f, "value"), label ? ": " : "");
		rc = rc || !label ? rc : text_adds(out, label);
		rc = rc ? rc : text_adds(out, ")");
	}
	return rc;
}

static int add_token(cli_table *t, const cJSON *token)
{
	text cell;
	int rc;

	text_init(&cell, 1 << 20);
	rc = number_cell(t, answer_number(token, "position"), 10);
	rc = rc ? rc : token_cell(t, answer_string(token, "text"));
	rc = rc ? rc : number_cell(t, answer_number(token, "n_features"), 6);
	rc = rc ? rc : add_features(&cell, cJSON_GetObjectItem(token, "features"));
	if (!rc && cJSON_IsFalse(cJSON_GetObjectItem(token, "counts")))
		rc = cli_table_cell(t, "(left out)");
	else if (!rc)
		rc = cli_table_cell(t, "%s", cell.len ? cell.data : "");
	text_free(&cell);
	return rc;
}

static int add_feature(cli_table *t, const cJSON *f)
{
	int rc = number_cell(t, answer_number(f, "feature"), 10);

	rc = rc ? rc : number_cell(t, answer_number(f, "max"), 4);
	rc = rc ? rc : number_cell(t, answer_number(f, "position"), 10);
	rc = rc ? rc : number_cell(t, answer_number(f, "fires"), 10);
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	static const cli_column of_tokens[] = { { "position", true, 0 },
		                                { "token", false, 24 },
		                                { "firing", true, 0 },
		                                { "strongest features", false, 0 } };
	static const cli_column of_features[] = { { "feature", true, 0 },
		                                  { "max", true, 0 },
		                                  { "at", true, 0 },
		                                  { "fires", true, 0 },
		                                  { "label", false, 60 } };
	bool firings = cJSON_IsTrue(cJSON_GetObjectItem(page, "firings"));
	int rc = 0;

	(void)p;
	(void)opts;
	printf("context %s of document %s (%s), %.0f tokens\n", answer_string(page, "context"),
	       answer_string(page, "document"), answer_string(page, "part"), answer_number(page, "n_tokens"));
	if (!firings)
		printf("its firings are not stored (index --corpus stores all): of each feature that has it "
		       "among its\n"
		       "strongest contexts, the strongest token\n");
	if (firings)
		rc = page_print_rows(cJSON_GetObjectItem(page, "tokens"), of_tokens, ARRAY_LEN(of_tokens),
		                     add_token, err);
	if (rc || cJSON_GetArraySize(cJSON_GetObjectItem(page, "features")) == 0)
		return rc;
	printf("\n");
	rc = page_print_rows(cJSON_GetObjectItem(page, "features"), of_features, ARRAY_LEN(of_features),
	                     add_feature, err);
	if (!rc)
		printf("%d of %.0f features\n", cJSON_GetArraySize(cJSON_GetObjectItem(page, "features")),
		       answer_number(page, "n_features"));
	return rc;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const context_opts *o = opts;
	int64_t context = 0;
	store *s = NULL;
	int rc = context_arg(&context, p->args[0], err);

	if (!rc)
		rc = store_args_open(&s, &o->store, err);
	if (!rc)
		rc = store_show_context(page, s, o->store.source, context, o->top, o->limit, err);
	store_close(s);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	context_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_context_command = {
	.name = "context",
	.run = run,
	.help = "one context: what fires on each of its tokens",
	.usage = "CONTEXT -d STORE [OPTION...]",
	.about =
	        "Prints each token of a context with the features strongest there, and the features of the "
	        "whole\n"
	        "context by their maximum. Numbers of contexts are in the JSON of show and find. Where the "
	        "context's\n"
	        "firings are not stored (index keeps those of the random contexts, with --corpus of all), it "
	        "says\n"
	        "which features have it among their strongest.",
	.examples = "gloss find -d demo.db --text 'climate change' --json | jq -r .contexts[0].context\n"
	            "gloss context 4611686018427387904 -d demo.db --top 5",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = 1,
};
