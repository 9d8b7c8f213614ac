/* gloss diff --labels: whether features that match have labels that mean the same. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/diff.h"

int diff_labels_check(const diff_opts *o, const cli_parsed *p, error *err)
{
	static const cli_need needs[] = {
		{ "base-url", "labels" },     { "embed-model", "labels" }, { "api-key-env", "labels" },
		{ "api-key-file", "labels" }, { "ca-file", "labels" },     { "dry-run", "labels" },
		{ "price", "dry-run" },
	};
	int rc = cli_check_needs(p, needs, ARRAY_LEN(needs), err);

	if (rc == 0 && o->labels && (!o->endpoint.base_url || !o->endpoint.model))
		rc = error_set(err, ERR_ARG,
		               "--labels needs an endpoint that embeds: --base-url URL --embed-model NAME");
	if (rc == 0 && o->labels && o->csv)
		rc = error_set(err, ERR_ARG, "--labels does not go with --csv");
	return rc;
}

/* Matched pairs of the page: those with two labels into *out (n) malloc'd, the others counted. */
static int read_pairs(explain_alike_pair **out, size_t *n, size_t *missing, const cJSON *page, error *err)
{
	bool by_cosine = strcmp(answer_string(cJSON_GetObjectItem(page, "matched"), "by"), "cosine") == 0;
	const cJSON *f;
	size_t room = 0;

	*out = NULL;
	*n = *missing = 0;
	cJSON_ArrayForEach(f, cJSON_GetObjectItem(page, "features"))
	{
		const char *a = answer_string(f, "label"), *b = answer_string(f, "match_label");

		if (strcmp(answer_string(f, "side"), "a") != 0 || isnan(answer_number(f, "match")))
			continue;
		if (!a || !b) {
			++*missing;
			continue;
		}
		if (mem_grow(out, &room, *n + 1, sizeof(**out)) < 0)
			return error_nomem(err, "labels");
		(*out)[(*n)++] =
		        (explain_alike_pair){ a, b, answer_number(f, by_cosine ? "cosine" : "correlation"),
			                      strcmp(answer_string(f, "verdict"), "same") == 0 };
	}
	return 0;
}

int diff_labels(cJSON *page, store *s, const diff_opts *o, error *err)
{
	explain_client_opts client = explain_client_opts_default();
	explain_alike_opts a = { .client = &client, .seed = o->seed, .stop = cli_stop_requested };
	explain_alike_pair *pairs = NULL;
	size_t n = 0, missing = 0;
	cJSON *labels = NULL;
	char *key = NULL;
	int rc = o->endpoint.dry_run ? 0 : explain_key_find(&key, &o->endpoint, err);

	client.base_url = o->endpoint.base_url;
	client.model = o->endpoint.model;
	client.api_key = key;
	client.ca_file = o->endpoint.ca_file;
	a.dry_run = o->endpoint.dry_run;
	if (rc == 0 && o->endpoint.price)
		rc = explain_price_read(&a.price, o->endpoint.price, client.model, err);
	if (rc == 0)
		rc = read_pairs(&pairs, &n, &missing, page, err);
	if (rc == 0 && n >= 3 && !a.dry_run)
		rc = store_log_open(&a.log, store_path(s), err);
	if (rc == 0)
		rc = explain_alike(&labels, pairs, n, &a, err);
	if (rc == 0 && (!cJSON_AddNumberToObject(labels, "without_label", (double)missing) ||
	                !cJSON_AddItemToObject(page, "labels", labels))) {
		cJSON_Delete(labels);
		rc = error_nomem(err, "a comparison");
	}
	store_log_close(a.log);
	free(pairs);
	if (key)
		explicit_bzero(key, strlen(key));
	free(key);
	return rc;
}

/* ---- For people ------------------------------------------------------------------------------------------------------- */

/* For three digits behind the point: what they say is 0 has no sign. */
static double shown(const cJSON *v, const char *name)
{
	double x = answer_number(v, name);

	return fabs(x) < 0.0005 ? 0 : x;
}

static int interval_cell(cli_table *t, const cJSON *v)
{
	double value = shown(v, "value"), low = shown(v, "low"), high = shown(v, "high");

	if (isnan(value))
		return cli_table_cell(t, "-");
	return isnan(low) ? cli_table_cell(t, "%.3f", value)
	                  : cli_table_cell(t, "%.3f (%.3f to %.3f)", value, low, high);
}

static int part_row(cli_table *t, const char *name, const cJSON *part)
{
	static const char *const figures[] = { "matched", "random", "difference", "auroc" };
	int rc = cli_table_cell(t, "%s", name);

	rc = rc ? rc : cli_table_cell(t, "%.0f", answer_number(part, "n"));
	for (size_t i = 0; i < ARRAY_LEN(figures) && !rc; i++)
		rc = interval_cell(t, cJSON_GetObjectItem(part, figures[i]));
	return rc ? rc : cli_table_cell(t, "%.0f", answer_number(part, "equal_texts"));
}

int diff_labels_print(const cJSON *labels, error *err)
{
	static const cli_column columns[] = { { "labels", false, 0 },    { "pairs", true, 0 },
		                              { "matched", true, 0 },    { "random", true, 0 },
		                              { "difference", true, 0 }, { "AUROC", true, 0 },
		                              { "equal", true, 0 } };
	const cJSON *same = cJSON_GetObjectItem(labels, "same"), *one;
	cli_table *t = NULL;
	int rc;

	if (cJSON_IsTrue(cJSON_GetObjectItem(labels, "dry_run"))) {
		printf("\nlabels: %.0f texts of %.0f matched pairs; %.0f pairs lack a label\n",
		       answer_number(labels, "texts"), answer_number(labels, "pairs"),
		       answer_number(labels, "without_label"));
		explain_print_counts(labels, "");
		return 0;
	}
	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	if (!rc && part_row(t, "all matched", cJSON_GetObjectItem(labels, "all")))
		rc = error_nomem(err, "a table");
	if (!rc && cJSON_IsObject(same) && part_row(t, "same", same))
		rc = error_nomem(err, "a table");
	if (!rc) {
		printf("\nlabels embedded by ");
		cli_put(answer_string(labels, "model"));
		printf(", cosine of matched against random pairs; %.0f matched pairs lack a label\n",
		       answer_number(labels, "without_label"));
		cli_table_print(t, stdout);
		printf("by how well they match:");
		cJSON_ArrayForEach(one, cJSON_GetObjectItem(labels, "by_strength"))
		        printf("  under %.1f: %.3f (%.0f)", answer_number(one, "to"), shown(one, "value"),
		               answer_number(one, "n"));
		printf("\n");
	}
	cli_table_free(t);
	return rc;
}
