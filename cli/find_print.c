/* See find_print.h. */
#include <math.h>
#include <string.h>

#include "cli/context_line.h"
#include "cli/find_print.h"
#include "cli/store_args.h"

/* Over which firings: " on 12 tokens of 3 contexts (the whole corpus)". */
static void print_over(const cJSON *page)
{
	printf(" on %.0f tokens of %.0f contexts (%s)\n", answer_number(page, "tokens"),
	       answer_number(page, "contexts"),
	       cJSON_IsTrue(cJSON_GetObjectItem(page, "corpus")) ? "the whole corpus" : "the random sample");
}

/* ---- --regex ----------------------------------------------------------------------------------------------------------- */

static int add_found(cli_table *t, const cJSON *f)
{
	double auroc;
	int rc = number_cell(t, answer_number(f, "feature"), 10);

	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "f1"));
	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "precision"));
	if (!rc)
		rc = cli_table_cell(t, "%.3f", answer_number(f, "recall"));
	if (!rc)
		rc = cli_table_cell(t, "%.0f", answer_number(f, "hits"));
	if (!rc)
		rc = cli_table_cell(t, "%.0f", answer_number(f, "fires"));
	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(f, "best_f1"));
	rc = rc ? rc : number_cell(t, answer_number(f, "threshold"), 3);
	auroc = answer_number(f, "auroc"); /* one just under 1 is not to look like it */
	rc = rc ? rc : isnan(auroc) ? cli_table_cell(t, "-") : cli_table_cell(t, "%.4f", auroc);
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

int find_print_regex(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "feature", true, 0 }, { "F1", true, 0 },   { "precision", true, 0 },
		{ "recall", true, 0 },  { "hits", true, 0 }, { "fires", true, 0 },
		{ "best F1", true, 0 }, { "from", true, 0 }, { "AUROC", true, 0 },
		{ "label", false, 60 },
	};
	const cJSON *features = cJSON_GetObjectItem(page, "features"), *f;
	double matches = answer_number(page, "matches");
	cli_table *t = NULL;
	int rc = 0;

	printf("%.0f match%s", matches, matches == 1 ? "" : "es");
	print_over(page);
	if (matches > 0)
		printf("by chance precision is %.2g; best F1 is at the threshold that is best for these same "
		       "tokens\n",
		       matches / answer_number(page, "tokens"));
	if (matches > 0 && matches < 10)
		printf("with fewer than 10 matches recall, F1 and AUROC are rough\n");
	if (cJSON_GetArraySize(features) == 0) {
		printf("no feature fires there\n");
		return 0;
	}
	rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);
	cJSON_ArrayForEach(f, features)
	{
		if (!rc && add_found(t, f))
			rc = error_nomem(err, "the table of features");
	}
	if (!rc) {
		cli_table_print(t, stdout);
		printf("%d of %.0f features\n", cJSON_GetArraySize(features), answer_number(page, "total"));
	}
	cli_table_free(t);
	return rc;
}

/* ---- --of -------------------------------------------------------------------------------------------------------------- */

static int add_numbers(cli_table *t, const cJSON *row)
{
	int rc = cli_table_cell(t, "%.3f", answer_number(row, "f1"));

	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "precision"));
	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(row, "recall"));
	rc = rc ? rc : cli_table_cell(t, "%.3g", answer_number(row, "lift"));
	rc = rc ? rc : cli_table_cell(t, "%.0f", answer_number(row, "hits"));
	return rc ? rc : cli_table_cell(t, "%.0f", answer_number(row, "of"));
}

/* What the row is about: a token, two, or a word with the place where the token begins in it. */
static int add_subject(cli_table *t, const cJSON *row)
{
	const char *chars = answer_string(row, "text"), *before = answer_string(row, "before_text");
	double at = answer_number(row, "at");

	if (before)
		return cli_table_cell(t, "%s%s|%s", *before == ' ' ? "\xe2\x90\xa3" : "",
		                      before + (*before == ' '), chars ? chars : "");
	if (chars && at > 0 && at < (double)strlen(chars))
		return cli_table_cell(t, "%.*s|%s", (int)at, chars, chars + (size_t)at);
	return token_cell(t, chars);
}

static int add_kind(cli_table *t, const cJSON *page, const char *kind)
{
	const cJSON *row;
	int rc = 0;

	cJSON_ArrayForEach(row, cJSON_GetObjectItem(page, kind))
	{
		rc = rc ? rc : string_cell(t, kind);
		rc = rc ? rc : add_subject(t, row);
		rc = rc ? rc : add_numbers(t, row);
	}
	return rc;
}

static int print_subjects(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "what", false, 0 },  { "text", false, 40 }, { "F1", true, 0 },   { "precision", true, 0 },
		{ "recall", true, 0 }, { "lift", true, 0 },   { "hits", true, 0 }, { "of", true, 0 },
	};
	static const char *const kinds[] = {
		"token", "previous", "pair", "next", "word", "prefix", "suffix"
	};
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	for (size_t i = 0; i < ARRAY_LEN(kinds) && !rc; i++)
		if (add_kind(t, page, kinds[i]))
			rc = error_nomem(err, "the table of tokens");
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static int print_patterns(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "F1", true, 0 },   { "precision", true, 0 }, { "recall", true, 0 },   { "lift", true, 0 },
		{ "hits", true, 0 }, { "of", true, 0 },        { "pattern", false, 0 },
	};
	cli_table *t = NULL;
	const cJSON *row;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	cJSON_ArrayForEach(row, cJSON_GetObjectItem(page, "patterns"))
	{
		const char *pattern = answer_string(row, "pattern");

		if (!rc && (add_numbers(t, row) || cli_table_cell(t, "'%s'", pattern ? pattern : "")))
			rc = error_nomem(err, "the table of patterns");
	}
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static int print_title(const cJSON *page, error *err)
{
	const char *label = answer_string(page, "label");
	text title;
	int rc;

	text_init(&title, 1 << 20);
	rc = text_addf(&title, "feature %.0f%s", answer_number(page, "feature"), label ? ": " : "");
	rc = rc || !label ? rc : text_add_visible(&title, label, strlen(label));
	if (!rc)
		printf("%s\nfires %.0f times", title.data, answer_number(page, "fires"));
	text_free(&title);
	if (rc)
		return error_set(err, rc, "cannot print a label");
	print_over(page);
	return 0;
}

int find_print_of(const cJSON *page, error *err)
{
	int rc = print_title(page, err);

	if (rc || answer_number(page, "fires") == 0)
		return rc;
	printf("\n");
	rc = print_subjects(page, err);
	if (rc || cJSON_GetArraySize(cJSON_GetObjectItem(page, "patterns")) == 0)
		return rc;
	printf("\nthe same for find --regex: of many tried, the best on these same tokens\n");
	return print_patterns(page, err);
}

/* ---- --like ------------------------------------------------------------------------------------------------------------ */

static int add_separating(cli_table *t, const cJSON *f)
{
	const cJSON *like = cJSON_GetObjectItem(f, "like"), *unlike = cJSON_GetObjectItem(f, "unlike");
	double low = answer_number(f, "auroc_low");
	int rc = number_cell(t, answer_number(f, "feature"), 10);

	rc = rc ? rc : cli_table_cell(t, "%.3f", answer_number(f, "auroc"));
	if (!rc)
		rc = isnan(low) ? cli_table_cell(t, "-")
		                : cli_table_cell(t, "%.3f-%.3f", low, answer_number(f, "auroc_high"));
	rc = rc ? rc : cli_table_cell(t, "%.2g", answer_number(f, "p"));
	rc = rc ? rc : cli_table_cell(t, "%.2g", answer_number(f, "q"));
	rc = rc ? rc : cli_table_cell(t, "%.1f %%", 100 * answer_number(like, "share"));
	rc = rc ? rc : cli_table_cell(t, "%.1f %%", 100 * answer_number(unlike, "share"));
	rc = rc ? rc : number_cell(t, answer_number(like, "mean_max"), 3);
	rc = rc ? rc : number_cell(t, answer_number(unlike, "mean_max"), 3);
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

/* "12 contexts (3 more have no stored firings)" */
static void print_set(const cJSON *set)
{
	double left_out = answer_number(set, "left_out"), empty = answer_number(set, "empty_lines"),
	       n = answer_number(set, "contexts");

	printf("%.0f %scontext%s", n, cJSON_IsTrue(cJSON_GetObjectItem(set, "rest")) ? "other " : "",
	       n == 1 ? "" : "s");
	if (left_out > 0)
		printf(" (%.0f more without stored firings)", left_out);
	if (empty > 0)
		printf(" (%.0f %s no context)", empty, empty == 1 ? "line names" : "lines name");
}

int find_print_like(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "feature", true, 0 },   { "AUROC", true, 0 }, { "95 %", true, 0 },
		{ "p", true, 0 },         { "q", true, 0 },     { "fires in", true, 0 },
		{ "of others", true, 0 }, { "max", true, 0 },   { "of others", true, 0 },
		{ "label", false, 40 },
	};
	const cJSON *like = cJSON_GetObjectItem(page, "like"), *unlike = cJSON_GetObjectItem(page, "unlike"),
	            *f;
	double both = answer_number(page, "in_both"), tests = answer_number(page, "tests");
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	cJSON_ArrayForEach(f, cJSON_GetObjectItem(page, "features"))
	{
		if (!rc && add_separating(t, f))
			rc = error_nomem(err, "the table of features");
	}
	if (rc) {
		cli_table_free(t);
		return rc;
	}
	print_set(like);
	printf(" against ");
	print_set(unlike);
	if (both > 0)
		printf("; %.0f in both left out", both);
	printf("\n");
	cli_table_print(t, stdout);
	cli_table_free(t);
	printf("%d of %.0f features looked at; by chance alone about %.2g would have p under 0.01, which q "
	       "counts in\n",
	       cJSON_GetArraySize(cJSON_GetObjectItem(page, "features")), tests, tests / 100);
	if (answer_number(like, "contexts") < 10 || answer_number(unlike, "contexts") < 10)
		printf("with fewer than 10 contexts on a side p and the interval are rough\n");
	return 0;
}

/* ---- --text ------------------------------------------------------------------------------------------------------------ */

/* "  feature 12 (3.4) label" for each of the strongest there. */
static int add_strongest(text *out, const cJSON *context)
{
	const cJSON *f;
	int rc = 0;

	cJSON_ArrayForEach(f, cJSON_GetObjectItem(context, "features"))
	{
		const char *label = answer_string(f, "label");

		rc = rc ? rc
		        : text_addf(out, "%s%.0f (%.3g%s", f->prev->next ? ", " : "      ",
		                    answer_number(f, "feature"), answer_number(f, "value"),
		                    label ? ": " : "");
		if (!rc && label)
			rc = text_add_visible(out, label, strlen(label));
		rc = rc ? rc : text_adds(out, ")");
	}
	return rc || cJSON_GetArraySize(cJSON_GetObjectItem(context, "features")) == 0 ? rc
	                                                                               : text_adds(out, "\n");
}

static int add_found_text(text *out, const cJSON *page, bool color)
{
	const cJSON *labels = cJSON_GetObjectItem(page, "labels"),
	            *contexts = cJSON_GetObjectItem(page, "contexts"), *item;
	int rc = cJSON_GetArraySize(labels) ? text_adds(out, "labels\n") : 0;

	cJSON_ArrayForEach(item, labels)
	{
		rc = rc ? rc : text_addf(out, "%8.0f  ", answer_number(item, "feature"));
		rc = rc ? rc : snippet_add(out, cJSON_GetObjectItem(item, "snippet"), color);
		rc = rc ? rc : text_adds(out, "\n");
	}
	if (!rc && cJSON_GetArraySize(contexts))
		rc = text_adds(out, "contexts, and the features strongest there\n");
	cJSON_ArrayForEach(item, contexts)
	{
		rc = rc ? rc : text_adds(out, "  ");
		rc = rc ? rc : snippet_add(out, cJSON_GetObjectItem(item, "snippet"), color);
		rc = rc ? rc : text_adds(out, "\n");
		rc = rc ? rc : add_strongest(out, item);
	}
	if (!rc && !cJSON_GetArraySize(labels) && !cJSON_GetArraySize(contexts))
		rc = text_adds(out, "no context and no label holds that\n");
	if (!rc && cJSON_IsFalse(cJSON_GetObjectItem(page, "complete")))
		rc = text_adds(out,
		               "not all texts were read: words of three characters or more have an index\n");
	return rc;
}

int find_print_text(const cJSON *page, bool color, error *err)
{
	text out;
	int rc;

	text_init(&out, (size_t)256 << 20);
	rc = add_found_text(&out, page, color);
	if (rc)
		rc = error_set(err, rc, "cannot put the page together: %s",
		               rc == ERR_NOMEM ? "out of memory" : "it is too long");
	else
		fwrite(out.data, 1, out.len, stdout);
	text_free(&out);
	return rc;
}
