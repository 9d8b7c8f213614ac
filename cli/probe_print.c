/* What `probe` prints for people. */
#include "cli/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/page.h"
#include "cli/store_args.h"

static const char *const figures[] = { "accuracy", "balanced_accuracy", "f1", "auroc" };

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* "0.912 0.85..0.96" */
static int estimate_cell(cli_table *t, const cJSON *e)
{
	double value = answer_number(e, "value"), low = answer_number(e, "low"),
	       high = answer_number(e, "high");

	if (isnan(value))
		return cli_table_cell(t, "undefined");
	return isnan(low) ? cli_table_cell(t, "%.3f", value)
	                  : cli_table_cell(t, "%.3f %.3f..%.3f", value, low, high);
}

static int k_cells(cli_table *t, const cJSON *probe)
{
	const cJSON *k = member(probe, "k");
	int rc = cli_table_cell(t, "%s", answer_string(probe, "on"));

	if (rc)
		return rc;
	return cJSON_IsString(k) ? cli_table_cell(t, "%s", k->valuestring)
	                         : cli_table_cell(t, "%.0f", k->valuedouble);
}

/* "1539 (+), 20 (-)": the first five with the sign of their weights. */
static int features_cell(cli_table *t, const cJSON *probe)
{
	const cJSON *list = member(probe, "features"), *weights = member(probe, "weights"), *of;
	text cell;
	int i = 0, rc = 0;

	list = list ? list : member(probe, "dimensions");
	text_init(&cell, 4096);
	cJSON_ArrayForEach(of, list)
	{
		if (i < 5 && !rc)
			rc = text_addf(&cell, "%s%.0f (%c)", i ? ", " : "", of->valuedouble,
			               cJSON_GetArrayItem(weights, i)->valuedouble < 0 ? '-' : '+');
		i++;
	}
	if (!rc && i > 5)
		rc = text_adds(&cell, ", ...");
	rc = rc ? rc : cli_table_cell(t, "%s", cell.len ? cell.data : "");
	text_free(&cell);
	return rc;
}

static int add_probe(cli_table *t, const cJSON *probe)
{
	int rc = k_cells(t, probe);

	for (size_t i = 0; i < ARRAY_LEN(figures) && !rc; i++)
		rc = estimate_cell(t, member(probe, figures[i]));
	return rc ? rc : features_cell(t, probe);
}

static int add_chance(cli_table *t, const cJSON *probe)
{
	int rc = cli_table_cell(t, "chance");

	rc = rc ? rc : cli_table_cell(t, "%s", "");
	for (size_t i = 0; i < ARRAY_LEN(figures) && !rc; i++)
		rc = cli_table_cell(t, "%.3f", answer_number(member(probe, figures[i]), "chance"));
	return rc ? rc : cli_table_cell(t, "%s", "");
}

static const cli_column columns[] = {
	{ "on", false, 0 }, { "k", true, 0 },      { "accuracy", false, 0 }, { "balanced", false, 0 },
	{ "F1", false, 0 }, { "AUROC", false, 0 }, { "columns", false, 60 },
};

/* The probes of a class, or with `name` NULL the means. */
static int print_table(const cJSON *list, const char *name, error *err)
{
	cli_table *t = NULL;
	const cJSON *probe, *last = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	cJSON_ArrayForEach(probe, list)
	{
		if (rc || (name && strcmp(answer_string(probe, "class"), name) != 0))
			continue;
		last = probe;
		if (add_probe(t, probe))
			rc = error_nomem(err, "the table of probes");
	}
	if (!rc && last && add_chance(t, last))
		rc = error_nomem(err, "the table of probes");
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static void print_name(const char *name)
{
	text safe;

	text_init(&safe, 1 << 16);
	if (!text_add_visible(&safe, name, strlen(name)))
		printf("'%s'", safe.data ? safe.data : "");
	text_free(&safe);
}

static void print_examples(const cJSON *page)
{
	const cJSON *e = member(page, "examples"), *name;
	double left = answer_number(e, "over_limit");

	printf("%.0f %ss with a label, %d classes; %.0f to train on, %.0f to test on, of %.0f document "
	       "groups\n",
	       answer_number(e, "total"), answer_string(e, "per"),
	       cJSON_GetArraySize(member(page, "classes")), answer_number(e, "train"),
	       answer_number(e, "test"), answer_number(e, "test_groups"));
	if (answer_number(e, "without_rows") > 0)
		printf("%.0f more have no row that counts\n", answer_number(e, "without_rows"));
	if (left > 0)
		printf("%.0f more are left out by --limit\n", left);
	cJSON_ArrayForEach(name, member(page, "not_probed"))
	{
		print_name(name->valuestring);
		printf(" has too few examples to probe\n");
	}
}

/* Of several classes: the means, then each with its best single feature. */
static int print_classes(const cJSON *page, error *err)
{
	const cJSON *class, *probes = member(page, "probes");
	int rc = 0;

	cJSON_ArrayForEach(class, member(page, "classes"))
	{
		const char *name = answer_string(class, "class");

		if (rc || !cJSON_IsTrue(member(class, "probed")))
			continue;
		printf("\n");
		print_name(name);
		printf(" against the rest: %.0f examples to train on, %.0f to test on\n",
		       answer_number(class, "train"), answer_number(class, "test"));
		rc = print_table(probes, name, err);
	}
	return rc;
}

static int count_probed(const cJSON *page)
{
	const cJSON *class;
	int n = 0;

	cJSON_ArrayForEach(class, member(page, "classes")) n += cJSON_IsTrue(member(class, "probed"));
	return n;
}

static int add_tpp(cli_table *t, const cJSON *row)
{
	const char *class = answer_string(row, "class");
	int rc = cli_table_cell(t, "%s", class ? class : "mean of all");

	rc = rc ? rc : cli_table_cell(t, "%.0f", answer_number(row, "n"));
	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "intended"));
	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "unintended"));
	return rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "score"));
}

static int add_scr(cli_table *t, const cJSON *row)
{
	int rc = cli_table_cell(t, "%.0f", answer_number(row, "n"));

	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "clean"));
	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "original"));
	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "changed"));
	if (rc || !isnan(answer_number(row, "score")))
		return rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "score"));
	return cli_table_cell(t, "undefined");
}

static int print_perturbed(const cJSON *page, error *err)
{
	static const cli_column tpp[] = { { "class", false, 40 },
		                          { "features", true, 0 },
		                          { "its loss", true, 0 },
		                          { "others' loss", true, 0 },
		                          { "TPP", true, 0 } };
	static const cli_column scr[] = { { "features", true, 0 },
		                          { "clean", true, 0 },
		                          { "original", true, 0 },
		                          { "changed", true, 0 },
		                          { "SCR", true, 0 } };
	int rc = 0;

	if (member(page, "tpp")) {
		printf("\ntargeted probe perturbation: balanced accuracy lost when a class's features are "
		       "taken away\n");
		rc = page_print_rows(member(page, "tpp"), tpp, ARRAY_LEN(tpp), add_tpp, err);
	}
	if (!rc && member(page, "scr")) {
		printf("\nspurious correlation removal: balanced accuracy of the biased probe\n");
		rc = page_print_rows(member(page, "scr"), scr, ARRAY_LEN(scr), add_scr, err);
	}
	return rc;
}

int probe_print(const cJSON *page, error *err)
{
	int n = count_probed(page), rc = 0;

	print_examples(page);
	if (n > 1) {
		printf("\nmean of %d classes, each against the rest\n", n);
		rc = print_table(member(page, "mean"), NULL, err);
	}
	rc = rc ? rc : print_classes(page, err);
	return rc ? rc : print_perturbed(page, err);
}
