/* gloss context: one context, and what fires on each of its tokens. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
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

static int print_tokens(const cJSON *page, error *err)
{
	static const cli_column columns[] = { { "position", true, 0 },
		                              { "token", false, 24 },
		                              { "firing", true, 0 },
		                              { "strongest features", false, 0 } };
	cli_table *t = NULL;
	const cJSON *token;
	text cell;
	int position = 0, rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	text_init(&cell, 1 << 20);
	cJSON_ArrayForEach(token, cJSON_GetObjectItem(page, "tokens"))
	{
		int bad = cli_table_cell(t, "%d", position++);

		if (rc)
			break;
		bad = bad ? bad : token_cell(t, answer_string(token, "text"));
		bad = bad ? bad : number_cell(t, answer_number(token, "n_features"), 6);
		bad = bad ? bad : add_features(&cell, cJSON_GetObjectItem(token, "features"));
		if (!bad)
			bad = cJSON_IsFalse(cJSON_GetObjectItem(token, "counts"))
			              ? cli_table_cell(t, "(left out)")
			              : cli_table_cell(t, "%s", cell.len ? cell.data : "");
		if (bad)
			rc = error_nomem(err, "the table of tokens");
	}
	if (!rc)
		cli_table_print(t, stdout);
	text_free(&cell);
	cli_table_free(t);
	return rc;
}

static int print_features(const cJSON *page, error *err)
{
	static const cli_column columns[] = { { "feature", true, 0 },
		                              { "max", true, 0 },
		                              { "at", true, 0 },
		                              { "fires", true, 0 },
		                              { "label", false, 60 } };
	cli_table *t = NULL;
	const cJSON *f;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	cJSON_ArrayForEach(f, cJSON_GetObjectItem(page, "features"))
	{
		int bad;

		if (rc)
			break;
		bad = number_cell(t, answer_number(f, "feature"), 10);
		bad = bad ? bad : number_cell(t, answer_number(f, "max"), 4);
		bad = bad ? bad : number_cell(t, answer_number(f, "position"), 10);
		bad = bad ? bad : number_cell(t, answer_number(f, "fires"), 10);
		bad = bad ? bad : string_cell(t, answer_string(f, "label"));
		if (bad)
			rc = error_nomem(err, "the table of features");
	}
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static int print_page(const cJSON *page, error *err)
{
	bool firings = cJSON_IsTrue(cJSON_GetObjectItem(page, "firings"));
	int rc = 0;

	printf("context %s of document %s (%s), %.0f tokens\n", answer_string(page, "context"),
	       answer_string(page, "document"), answer_string(page, "part"), answer_number(page, "n_tokens"));
	if (!firings)
		printf("its firings are not stored (index --corpus stores all): of each feature that has it "
		       "among its\n"
		       "strongest contexts, the strongest token\n");
	if (firings)
		rc = print_tokens(page, err);
	if (rc || cJSON_GetArraySize(cJSON_GetObjectItem(page, "features")) == 0)
		return rc;
	printf("\n");
	rc = print_features(page, err);
	if (!rc)
		printf("%d of %.0f features\n", cJSON_GetArraySize(cJSON_GetObjectItem(page, "features")),
		       answer_number(page, "n_features"));
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	context_opts o = { 0 };
	cJSON *page = NULL;
	store *s = NULL;
	cli_parsed p;
	error err = { 0 };
	int64_t context = 0;
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = context_arg(&context, p.args[0], &err);
	if (!rc)
		rc = store_args_open(&s, &o.store, &err);
	if (!rc)
		rc = store_show_context(&page, s, o.store.source, context, o.top, o.limit, &err);
	if (!rc && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (!rc) {
		rc = print_page(page, &err);
	}
	if (rc)
		code = cli_fail(self, &err);
out:
	cJSON_Delete(page);
	store_close(s);
	cli_parsed_clear(&p);
	return code;
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
