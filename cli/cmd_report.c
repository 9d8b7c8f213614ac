/* gloss report: what the scores of a store say together, as one HTML file or JSON. */
#include "cli/commands.h"
#include "cli/golden.h"
#include "cli/page.h"
#include "cli/report_page.h"
#include "cli/store_args.h"
#include "explain/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct report_cmd_opts {
	const char *output, *by;
	option_list sources;
	uint32_t n_shown, n_windows;
} report_cmd_opts;

static const option options[] = {
	OPTION(report_cmd_opts, output, "output", 'o', OPTION_STRING, "FILE", NULL, 0, 0,
	       "where the HTML goes; if not given, only the summary is printed"),
	OPTION(report_cmd_opts, sources, "source", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "only this indexed SAE; may be given many times; if not given, all"),
	OPTION(report_cmd_opts, by, "by", 0, OPTION_STRING, "SCORER", NULL, 0, 0,
	       "order features by this scorer; if not given, by the one that scored most"),
	OPTION(report_cmd_opts, n_shown, "shown", 0, OPTION_U32, "N", "15", 0, 1000,
	       "best and worst features that are shown with windows of text"),
	OPTION(report_cmd_opts, n_windows, "windows", 0, OPTION_U32, "N", "3", 0, 100,
	       "windows of each of these"),
};

static int write_html(const cJSON *page, const char *path, error *err)
{
	char *all = NULL;
	int rc = report_page(&all, page, err);

	if (rc == 0)
		rc = cli_write_file(path, all, "<!doctype html>", "page of HTML", err);
	free(all);
	return rc;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const report_cmd_opts *o = opts;
	explain_report_opts r = explain_report_opts_default();
	store *s = NULL;
	int rc = store_open(&s, p->args[0], STORE_READ, err);

	r.sources = (store_sources){ .names = o->sources.items, .n = o->sources.n };
	r.by = o->by;
	r.n_shown = o->n_shown;
	r.n_windows = o->n_windows;
	if (rc == 0)
		rc = explain_report(page, s, &r, err);
	store_close(s);
	if (rc == 0 && o->output)
		rc = write_html(*page, o->output, err);
	return rc;
}

static int add_series(cli_table *t, const cJSON *s)
{
	const cJSON *failures = cJSON_GetObjectItem(s, "failures");
	double low = answer_number(s, "low"), high = answer_number(s, "high"), n = answer_number(s, "n");
	int rc = string_cell(t, answer_string(s, "scorer"));

	rc = rc ? rc : string_cell(t, answer_string(s, "judge"));
	rc = rc ? rc : cli_table_cell(t, "%.0f", n);
	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(s, "value"));
	rc = rc                          ? rc
	     : isnan(low) || isnan(high) ? cli_table_cell(t, "-")
	                                 : cli_table_cell(t, "%.3f to %.3f", low, high);
	rc = rc ? rc : number_cell(t, answer_number(s, "chance"), 3);
	rc = rc ? rc : cli_table_cell(t, "%.0f", answer_number(s, "above_chance"));
	rc = rc ? rc : cli_table_cell(t, "%.0f", answer_number(s, "holds_chance"));
	return rc ? rc : cli_table_cell(t, "%.1f %%", 100 * answer_number(failures, "value"));
}

static void print_judges(const cJSON *page)
{
	const cJSON *one, *k, *series = cJSON_GetObjectItem(page, "series");

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(page, "agreement"))
	{
		const cJSON *a = cJSON_GetArrayItem(series, (int)answer_number(one, "a"));
		const cJSON *b = cJSON_GetArrayItem(series, (int)answer_number(one, "b"));

		k = cJSON_GetObjectItem(one, "kappa");
		if (!k && !answer_string(one, "no_kappa"))
			continue;
		cli_put(answer_string(a, "scorer"));
		printf(": ");
		cli_put(answer_string(a, "judge"));
		printf(" and ");
		cli_put(answer_string(b, "judge"));
		if (!k) {
			printf(": no kappa: ");
			cli_put(answer_string(one, "no_kappa"));
			printf("; correlation over %.0f features %.3f\n", answer_number(one, "n"),
			       answer_number(cJSON_GetObjectItem(one, "pearson"), "value"));
			continue;
		}
		printf(" agree on %.3f of %.0f windows of %.0f features", answer_number(k, "agree"),
		       answer_number(k, "n"), answer_number(k, "features"));
		if (!isnan(answer_number(k, "low")))
			printf("; kappa %.3f (%.3f to %.3f)", answer_number(k, "value"),
			       answer_number(k, "low"), answer_number(k, "high"));
		printf("\n");
	}
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	static const cli_column columns[] = { { "scorer", false, 24 },  { "judge", false, 40 },
		                              { "features", true, 0 },  { "mean", true, 0 },
		                              { "95 %", true, 0 },      { "chance", true, 0 },
		                              { "above it", true, 0 },  { "holds it", true, 0 },
		                              { "unanswered", true, 0 } };
	const cJSON *replaced = cJSON_GetObjectItem(page, "replaced");
	const report_cmd_opts *o = opts;
	int rc = page_print_rows(cJSON_GetObjectItem(page, "series"), columns, ARRAY_LEN(columns), add_series,
	                         err);

	(void)p;
	if (rc == 0)
		print_judges(page);
	if (rc == 0)
		golden_print(page);
	if (rc == 0 && answer_number(replaced, "scores") > 0)
		printf("left out: %.0f scores of %.0f features, whose labels count no more\n",
		       answer_number(replaced, "scores"), answer_number(replaced, "features"));
	if (rc == 0 && o->output) {
		printf("written: ");
		cli_put(o->output);
		printf("\n");
	}
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	report_cmd_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_report_command = {
	.name = "report",
	.run = run,
	.help = "how far the labels of a store can be trusted, as one HTML file",
	.usage = "STORE -o FILE.html",
	.about =
	        "Puts together the scores of all labels that count, of each scorer and judge the latest: "
	        "their\n"
	        "distribution with intervals, by density and by source; each against the lexical label, the\n"
	        "label of another feature, none, and hard windows, feature by feature; how scorers agree;\n"
	        "features whose interval holds chance; answers that are missing; what labels and scores "
	        "took;\n"
	        "and the features, best first, with the windows of the best and the worst.\n"
	        "\n"
	        "The file stands alone: no script, nothing from the network, for light and dark. It holds "
	        "text\n"
	        "of the store. --json prints the same numbers; the file is then written only with -o.\n"
	        "\n"
	        "Scores of labels that were replaced or withdrawn since are left out and counted.",
	.examples = "gloss report demo.db -o report.html\n"
	            "gloss report demo.db --json | jq '.series[] | [.scorer, .judge, .value, .low, .high]'",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = 1,
};
