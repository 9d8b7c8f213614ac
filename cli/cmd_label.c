/* gloss label: a person's own labels, and the history of a feature's labels. */
#include "cli/commands.h"
#include "cli/label_file.h"
#include "cli/page.h"
#include "cli/store_args.h"

#include <math.h>
#include <string.h>

typedef struct label_opts {
	store_args store;
	const char *from;
	bool undo;
} label_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(label_opts, store),
	OPTION(label_opts, from, "from", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "add many: lines of a feature, a tab and its label, all or none; - reads standard input"),
	OPTION(label_opts, undo, "undo", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "withdraw your latest label: the one before counts again; the history keeps both"),
};

/* ---- The history ----------------------------------------------------------------------------------------------------- */

/* Its latest score: "detection 0.912", or "(chosen by 0.850)" on the select documents, or nothing. */
static int score_cell(cli_table *t, const cJSON *label)
{
	const cJSON *score = cJSON_GetArrayItem(cJSON_GetObjectItem(label, "scores"), 0);
	double value = answer_number(score, "value"),
	       chosen = answer_number(cJSON_GetObjectItem(label, "chosen_by"), "value");

	if (isnan(value) && !isnan(chosen))
		return cli_table_cell(t, "(chosen by %.3f)", chosen);
	return isnan(value) ? cli_table_cell(t, "-")
	                    : cli_table_cell(t, "%s %.3f", answer_string(score, "scorer"), value);
}

static int add_label(cli_table *t, const cJSON *label)
{
	int rc = string_cell(t, answer_string(label, "created"));

	if (!rc)
		rc = string_cell(t, answer_string(label, "method"));
	if (!rc)
		rc = string_cell(t, answer_string(label, "model"));
	if (!rc)
		rc = score_cell(t, label);
	if (!rc)
		rc = string_cell(t, answer_string(label, "withdrawn"));
	return rc ? rc : string_cell(t, answer_string(label, "text"));
}

static int print_history(const cJSON *page, error *err)
{
	static const cli_column columns[] = { { "created", false, 0 },   { "by", false, 0 },
		                              { "model", false, 24 },    { "score", false, 0 },
		                              { "withdrawn", false, 0 }, { "label", false, 0 } };
	const cJSON *labels = cJSON_GetObjectItem(page, "labels"), *label;
	cli_table *t = NULL;
	int rc;

	if (!cJSON_GetArraySize(labels)) {
		printf("no labels\n");
		return 0;
	}
	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(label, labels)
	{
		if (!rc && add_label(t, label))
			rc = error_nomem(err, "the history");
	}
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

/* ---- Changes --------------------------------------------------------------------------------------------------------- */

static int add_file(cJSON **page, const label_opts *o, error *err)
{
	label_file f = { 0 };
	store *s = NULL;
	size_t bad;
	int rc = label_file_read(&f, o->from, err);

	if (!rc)
		rc = store_args_open_to_write(&s, &o->store, err);
	if (!rc) {
		rc = store_labels_add(&bad, s, o->store.source, f.labels, f.n, err);
		if (rc && bad < f.n)
			label_file_blame(&f, bad, err);
	}
	if (!rc) {
		*page = cJSON_CreateObject();
		if (!cJSON_AddNumberToObject(*page, "added", (double)f.n))
			rc = error_nomem(err, "an answer");
	}
	store_close(s);
	label_file_clear(&f);
	return rc;
}

static int one_feature(cJSON **page, const cli_parsed *p, const label_opts *o, error *err)
{
	const char *source = o->store.source;
	bool adds = p->n_args > 1;
	store_label label = { 0 };
	store *s = NULL;
	size_t bad;
	int rc = feature_arg(&label.feature, p->args[0], err);

	if (!rc)
		rc = (adds || o->undo ? store_args_open_to_write : store_args_open)(&s, &o->store, err);
	if (!rc && adds) {
		label.text = p->args[1];
		rc = store_labels_add(&bad, s, source, &label, 1, err);
	}
	if (!rc && o->undo)
		rc = store_label_withdraw(s, source, label.feature, err);
	if (!rc)
		rc = store_labels(page, s, source, label.feature, err);
	store_close(s);
	return rc;
}

static int check(const cli_parsed *p, const label_opts *o, error *err)
{
	if (o->from && (p->n_args || o->undo))
		return error_set(err, ERR_ARG, "--from goes without a feature and without --undo");
	if (!o->from && !p->n_args)
		return error_set(err, ERR_ARG, "which feature? give its number, or --from FILE");
	if (o->undo && p->n_args > 1)
		return error_set(err, ERR_ARG, "give a text or --undo, not both");
	return 0;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const label_opts *o = opts;
	int rc = check(p, o, err);

	if (rc)
		return rc;
	return o->from ? add_file(page, o, err) : one_feature(page, p, o, err);
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	const label_opts *o = opts;

	(void)p;
	if (!o->from)
		return print_history(page, err);
	printf("added %.0f labels\n", answer_number(page, "added"));
	return 0;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	label_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_label_command = {
	.name = "label",
	.run = run,
	.help = "your own labels, and the history of a feature's",
	.usage = "FEATURE [TEXT] -d STORE [--undo] | --from FILE -d STORE",
	.about = "With a text, adds it as the feature's label; then, as without one, prints all labels that "
	         "the "
	         "feature ever\n"
	         "had, the latest first, with who gave them and their latest score. The latest that is not "
	         "withdrawn is\n"
	         "the one that counts, whoever gave it. A label is UTF-8 of up to 1,000 bytes on one line.",
	.examples = "gloss label 12 -d demo.db 'names of months'\n"
	            "gloss label 12 -d demo.db\n"
	            "gloss label 12 -d demo.db --undo\n"
	            "printf '12\\tnames of months\\n13\\tbrackets\\n' | gloss label -d demo.db --from -",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 2,
};
