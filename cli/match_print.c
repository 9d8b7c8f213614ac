/* See match.h: tables of gloss match. */
#include "cli/match.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/page.h"

const match_measure match_measures[] = {
	{ "mcc", "largest one-to-one sum of |cosine| / min(F, G)" },
	{ "mmcs_truth", "mean over features of the largest cosine with a latent" },
	{ "mmcs_sae", "mean over latents of the largest cosine with a feature" },
	{ "recovery_90", "share of features with a latent of cosine > 0.9" },
	{ "recovery_95", "the same, > 0.95" },
	{ "uniqueness", "different best features of latents / latents" },
	{ "exclusive", "of features of one input, found: the latent is that input's alone" },
	{ "shared", "of features of all inputs, found: the latent is no input's alone" },
	{ "precision", "of a latent for its best feature, mean over latents, dead ones 0" },
	{ "recall", "the same" },
	{ "f1", "the same" },
	{ "purity", "of latents that fire: only where one and the same feature is active" },
	{ "absorption", "of rows with an active child: the parent's latent is silent" },
	{ "silent_alone", "of rows with a parent and no child: the same" },
	{ "shrinkage", "mean of |xhat| / |x|" },
	{ "explained_variance", "1 - sum |x - xhat|^2 / sum |x - mean|^2" },
	{ NULL, NULL },
};

static double number(const cJSON *of, const char *key)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(of, key));
}

static const char *name_of(const cJSON *of, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, key));

	return s ? s : "";
}

static int cell(cli_table *t, double value)
{
	return isnan(value) ? cli_table_cell(t, "-") : cli_table_cell(t, "%.4f", value);
}

/* ---- Against a truth ------------------------------------------------------------------------------------------------------- */

static int print_scores(const cJSON *scores, error *err)
{
	static const cli_column columns[] = {
		{ "measure", false, 0 }, { "value", true, 0 }, { "chance", true, 0 }, { "", false, 0 }
	};
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	for (const match_measure *m = match_measures; m->name && !rc; m++) {
		const cJSON *score = cJSON_GetObjectItemCaseSensitive(scores, m->name);

		if (!score)
			continue;
		if (cli_table_cell(t, "%s", m->name) || cell(t, number(score, "value")) ||
		    cell(t, number(score, "chance")) || cli_table_cell(t, "%s", m->meaning))
			rc = error_nomem(err, "a table");
	}
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static int add_latent(cli_table *t, const cJSON *row)
{
	return cli_table_cell(t, "%.0f", number(row, "latent")) ||
	       cli_table_cell(t, "%.0f", number(row, "feature")) || cell(t, number(row, "cosine")) ||
	       cli_table_cell(t, "%.0f", number(row, "fires")) || cell(t, number(row, "precision")) ||
	       cell(t, number(row, "recall")) || cell(t, number(row, "f1"));
}

static int print_truth(const cJSON *page, error *err)
{
	static const cli_column columns[] = { { "latent", true, 0 },    { "feature", true, 0 },
		                              { "cosine", true, 0 },    { "fires", true, 0 },
		                              { "precision", true, 0 }, { "recall", true, 0 },
		                              { "f1", true, 0 } };
	const cJSON *codes = cJSON_GetObjectItemCaseSensitive(page, "codes");
	const cJSON *latents = cJSON_GetObjectItemCaseSensitive(page, "latents");
	int rc;

	printf("%.0f latents against %.0f features (%s) in %.0f dimensions\n", number(page, "sae_features"),
	       number(page, "truth_features"), name_of(page, "kind"), number(page, "d"));
	if (codes)
		printf("%.0f rows: %.4g codes a row, %.4g features; %.0f latents never fired\n",
		       number(codes, "rows"), number(codes, "l0"), number(codes, "truth_l0"),
		       number(codes, "dead"));
	rc = print_scores(cJSON_GetObjectItemCaseSensitive(page, "scores"), err);
	return rc || !latents ? rc : page_print_rows(latents, columns, ARRAY_LEN(columns), add_latent, err);
}

/* ---- SAEs ---------------------------------------------------------------------------------------------------------------------- */

static int add_scored(cli_table *t, const cJSON *row, const char *key)
{
	const cJSON *score = cJSON_GetObjectItemCaseSensitive(row, key);

	return cell(t, number(score, "value")) || cell(t, number(score, "chance"));
}

static int add_pair(cli_table *t, const cJSON *row)
{
	return cli_table_cell(t, "%s", name_of(row, "a")) || cli_table_cell(t, "%s", name_of(row, "b")) ||
	       add_scored(t, row, "decoder_mean") || add_scored(t, row, "decoder_share") ||
	       add_scored(t, row, "encoder_mean") || add_scored(t, row, "encoder_share") ||
	       add_scored(t, row, "shared");
}

static int print_pairs(const cJSON *page, error *err)
{
	static const cli_column columns[] = { { "a", false, 40 },        { "b", false, 40 },
		                              { "dec cosine", true, 0 }, { "chance", true, 0 },
		                              { "dec share", true, 0 },  { "chance", true, 0 },
		                              { "enc cosine", true, 0 }, { "chance", true, 0 },
		                              { "enc share", true, 0 },  { "chance", true, 0 },
		                              { "shared", true, 0 },     { "chance", true, 0 } };

	printf("matched one to one by decoder and by encoder rows; share: of the pairs over cosine %.4g; "
	       "shared: both, the "
	       "same pair\n",
	       number(page, "min_cosine"));
	return page_print_rows(cJSON_GetObjectItemCaseSensitive(page, "pairs"), columns, ARRAY_LEN(columns),
	                       add_pair, err);
}

int match_print(const cJSON *page, error *err)
{
	return cJSON_GetObjectItemCaseSensitive(page, "pairs") ? print_pairs(page, err)
	                                                       : print_truth(page, err);
}
