/* gloss diff: two sources side by side: which features are the same, split, merged, unmatched. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/store_args.h"
#include "sae/sae.h"

enum { HUNGARIAN_DEFAULT = 8192, HUNGARIAN_MOST = 32768 };

typedef struct diff_opts {
	store_args store;
	const char *with, *method, *only, *side, *sort;
	double min_cosine, min_overlap;
	uint32_t min_common, threads;
	uint64_t limit, seed;
} diff_opts;

static const option options[] = {
	STORE_ARG_OPTION(diff_opts, store),
	OPTION(diff_opts, with, "with", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "the store that holds B, if it is another"),
	OPTION(diff_opts, method, "method", 0, OPTION_ENUM, "hungarian|nearest", NULL, 0, 0,
	       "match by the assignment of largest total cosine, or mutual nearest; if not given, hungarian "
	       "up to "
	       "8192 features"),
	OPTION(diff_opts, min_cosine, "min-cosine", 0, OPTION_DOUBLE, "C", "0.7", 0, 1,
	       "decoder cosine from which a matched pair is the same feature"),
	OPTION(diff_opts, min_overlap, "min-overlap", 0, OPTION_DOUBLE, "SHARE", "0.5", 0, 1,
	       "of a split: share of each part's firings inside the whole, and of the whole's that they "
	       "cover"),
	OPTION(diff_opts, min_common, "min-common", 0, OPTION_U32, "N", "5", 1, 1000000,
	       "tokens that a part shares with the whole"),
	OPTION(diff_opts, only, "only", 0, OPTION_ENUM, "same|split|merged|unmatched", NULL, 0, 0,
	       "list only features of this verdict"),
	OPTION(diff_opts, side, "side", 0, OPTION_ENUM, "a|b", "a", 0, 0, "whose features to list"),
	OPTION(diff_opts, sort, "sort", 's', OPTION_ENUM, "feature|cosine|firing|fires", "feature", 0, 0,
	       "order of the list; all but feature: the largest first"),
	OPTION(diff_opts, limit, "limit", 'n', OPTION_U64, "N", "20", 0, 1e9, "features listed"),
	OPTION(diff_opts, seed, "seed", 0, OPTION_U64, "N", "0", 0, 0,
	       "of the random directions that give chance"),
	OPTION(diff_opts, threads, "threads", 't', OPTION_U32, "N", NULL, 1, 4096,
	       "threads; if not given, the CPUs this process may use"),
};

/* ---- By decoder direction ----------------------------------------------------------------------------------------------- */

typedef struct directions {
	float *a, *b; /* unit rows; NULL: cannot be compared, why says it */
	const char *why;
	uint32_t n_a, n_b, d;
	uint32_t *match; /* (n_a) */
	float *cosine;   /* (n_a) */
	const char *method;
	double mean_matched, chance_matched;
	double mean_best[2], chance_mean[2], chance_high[2];
} directions;

static void directions_clear(directions *v)
{
	free(v->a);
	free(v->b);
	free(v->match);
	free(v->cosine);
}

static int read_units(float **out, uint32_t *n, uint32_t *d, store *s, const char *name, error *err)
{
	store_source src;
	float *rows = NULL;
	int rc = store_source_get(&src, s, name, err);

	if (rc == 0) {
		*n = src.n_features;
		*d = src.d_in;
		rc = store_vectors(&rows, s, name, err);
	}
	if (rc == 0 && rows) {
		*out = sae_unit_rows(rows, *n, *d);
		rc = *out ? 0 : error_nomem(err, "decoder vectors");
	}
	free(rows);
	return rc;
}

static int directions_read(directions *v, store *a, const char *name_a, store *b, const char *name_b,
                           error *err)
{
	uint32_t d_b = 0;
	int rc = read_units(&v->a, &v->n_a, &v->d, a, name_a, err);

	if (rc == 0)
		rc = read_units(&v->b, &v->n_b, &d_b, b, name_b, err);
	if (rc < 0)
		return rc;
	if (!v->a || !v->b)
		v->why = "a source has no decoder vectors";
	else if (v->d != d_b)
		v->why = "the sources are of different width";
	return 0;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

/* Mean of the best cosine of each row; *high (may be NULL): what one in a hundred is over. */
static void summarise(double *mean, double *high, const sae_ranked *r, uint32_t rows)
{
	double sum = 0;

	for (uint32_t i = 0; i < rows; i++)
		sum += (double)r->values[(size_t)i * r->n];
	*mean = sum / rows;
	if (!high)
		return;
	for (uint32_t i = 0; i < rows; i++)
		r->values[i] = r->values[(size_t)i * r->n];
	qsort(r->values, rows, sizeof(*r->values), by_value);
	*high = (double)r->values[(size_t)(0.99 * (rows - 1))];
}

/* match[i] of a among b, with its cosine; *mean of those matched. */
static int match_directions(uint32_t *match, float *cosine, double *mean, const directions *v, const float *a,
                            const float *b, const sae_ranked *a_to_b, const sae_ranked *b_to_a, pool *p,
                            error *err)
{
	bool hungarian = strcmp(v->method, "hungarian") == 0;
	double sum = 0;
	uint32_t n = 0;
	int rc = 0;

	if (hungarian)
		rc = sae_match_assign(match, a, v->n_a, b, v->n_b, v->d, p, err);
	for (uint32_t i = 0; i < v->n_a && rc == 0; i++) {
		double dot = 0;

		if (!hungarian)
			match[i] = b_to_a->ids[(size_t)a_to_b->ids[i] * b_to_a->n] == i ? a_to_b->ids[i]
			                                                                : SAE_MATCH_NONE;
		cosine[i] = NAN;
		if (match[i] == SAE_MATCH_NONE)
			continue;
		for (uint32_t j = 0; j < v->d; j++)
			dot += (double)a[(size_t)i * v->d + j] * b[(size_t)match[i] * v->d + j];
		cosine[i] = (float)dot;
		sum += dot;
		n++;
	}
	*mean = n ? sum / n : (double)NAN;
	return rc;
}

/* Matches and nearest of a and b; mean_best and high (may be NULL) of both sides. */
static int look(uint32_t *match, float *cosine, double *matched, double mean_best[2], double *high,
                const directions *v, const float *a, const float *b, pool *p, error *err)
{
	sae_ranked a_to_b = { 0 }, b_to_a = { 0 };
	int rc = sae_rank_cosines(&a_to_b, a, v->n_a, b, v->n_b, v->d, 1, false, p, err);

	if (rc == 0)
		rc = sae_rank_cosines(&b_to_a, b, v->n_b, a, v->n_a, v->d, 1, false, p, err);
	if (rc == 0)
		rc = match_directions(match, cosine, matched, v, a, b, &a_to_b, &b_to_a, p, err);
	if (rc == 0) {
		summarise(&mean_best[0], high, &a_to_b, v->n_a);
		summarise(&mean_best[1], high ? high + 1 : NULL, &b_to_a, v->n_b);
	}
	sae_ranked_free(&a_to_b);
	sae_ranked_free(&b_to_a);
	return rc;
}

/* Chance: the same with random rows that have b's second moments in b's place. */
static int directions_match(directions *v, const diff_opts *o, error *err)
{
	uint32_t most = v->n_a > v->n_b ? v->n_a : v->n_b;
	float *null = NULL;
	pool *p = NULL;
	int rc;

	v->method = o->method ? o->method : most <= HUNGARIAN_DEFAULT ? "hungarian" : "nearest";
	if (most > HUNGARIAN_MOST && strcmp(v->method, "hungarian") == 0)
		return error_set(
		        err, ERR_ARG,
		        "--method hungarian takes up to %d features (%.1f GB of cosines), here are %u: use "
		        "--method nearest",
		        HUNGARIAN_MOST, (double)sae_match_assign_bytes(HUNGARIAN_MOST, HUNGARIAN_MOST) / 1e9,
		        most);
	rc = pool_new(&p, o->threads, err);
	if (rc < 0)
		return rc;
	v->match = malloc(((size_t)v->n_a + 1) * sizeof(*v->match));
	v->cosine = malloc(((size_t)v->n_a + 1) * sizeof(*v->cosine));
	null = sae_null_rows(v->b, v->n_b, v->d, o->seed);
	if (!v->match || !v->cosine || !null)
		rc = error_nomem(err, "a comparison");
	if (rc == 0)
		rc = look(v->match, v->cosine, &v->chance_matched, v->chance_mean, v->chance_high, v, v->a,
		          null, p, err);
	if (rc == 0)
		rc = look(v->match, v->cosine, &v->mean_matched, v->mean_best, NULL, v, v->a, v->b, p, err);
	free(null);
	pool_free(p);
	return rc;
}

/* The page's "cosine": null with the reason in "cosine_absent". */
static bool add_directions(cJSON *page, const directions *v)
{
	cJSON *c;
	bool good;

	if (v->why)
		return cJSON_AddNullToObject(page, "cosine") &&
		       cJSON_AddStringToObject(page, "cosine_absent", v->why);
	c = cJSON_AddObjectToObject(page, "cosine");
	good = c && cJSON_AddStringToObject(c, "method", v->method) &&
	       cJSON_AddNumberToObject(c, "mean_matched", v->mean_matched) &&
	       cJSON_AddNumberToObject(c, "chance_matched", v->chance_matched);
	for (int s = 0; s < 2 && good; s++) {
		cJSON *side = cJSON_AddObjectToObject(c, s ? "b" : "a");

		good = side && cJSON_AddNumberToObject(side, "mean_best", v->mean_best[s]) &&
		       cJSON_AddNumberToObject(side, "chance_mean", v->chance_mean[s]) &&
		       cJSON_AddNumberToObject(side, "chance_99", v->chance_high[s]);
	}
	return good;
}

/* ---- Printing ------------------------------------------------------------------------------------------------------------- */

static void print_summary(const cJSON *page)
{
	const cJSON *cosine = cJSON_GetObjectItem(page, "cosine"),
	            *common = cJSON_GetObjectItem(page, "common");

	if (cJSON_IsObject(cosine))
		printf("decoder cosine, matched by %s: mean %.3f (chance %.3f)\n",
		       answer_string(cosine, "method"), answer_number(cosine, "mean_matched"),
		       answer_number(cosine, "chance_matched"));
	else
		printf("no decoder cosine: %s\n", answer_string(page, "cosine_absent"));
	if (answer_number(common, "tokens") > 0)
		printf("co-firing over %.0f tokens of %.0f common contexts%s\n",
		       answer_number(common, "tokens"), answer_number(common, "contexts"),
		       cJSON_IsTrue(cJSON_GetObjectItem(common, "all_used")) ? "" : " (there are more)");
	else
		printf("no context has stored firings of both: nothing is known of splits\n");
}

static int side_row(cli_table *t, const cJSON *page, const char *name, const char *title)
{
	const cJSON *side = cJSON_GetObjectItem(page, name),
	            *verdicts = cJSON_GetObjectItem(side, "verdicts"),
	            *cosine = cJSON_GetObjectItem(cJSON_GetObjectItem(page, "cosine"), name);
	static const char *const counts[] = { "same", "split", "merged", "unmatched" };
	int rc = cli_table_cell(t, "%s", title);

	rc = rc ? rc : string_cell(t, answer_string(side, "source"));
	rc = rc ? rc : number_cell(t, answer_number(side, "features"), 10);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		rc = rc ? rc : number_cell(t, answer_number(verdicts, counts[i]), 10);
	rc = rc ? rc : number_cell(t, answer_number(cosine, "mean_best"), 3);
	rc = rc ? rc : number_cell(t, answer_number(cosine, "chance_99"), 3);
	rc = rc ? rc : number_cell(t, answer_number(side, "mean_best_firing_cosine"), 3);
	return rc ? rc : number_cell(t, answer_number(side, "chance_99"), 3);
}

static int print_sides(const cJSON *page, error *err)
{
	static const cli_column columns[] = {
		{ "", false, 0 },           { "source", false, 24 },    { "features", true, 0 },
		{ "same", true, 0 },        { "split", true, 0 },       { "merged", true, 0 },
		{ "unmatched", true, 0 },   { "best cos", true, 0 },    { "99 % chance", true, 0 },
		{ "best firing", true, 0 }, { "99 % chance", true, 0 },
	};
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	if (!rc && (side_row(t, page, "a", "A") || side_row(t, page, "b", "B")))
		rc = error_nomem(err, "the table of sources");
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

typedef struct listed {
	const cJSON *feature;
	double key;
} listed;

static int by_key(const void *a, const void *b)
{
	const listed *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return answer_number(x->feature, "feature") < answer_number(y->feature, "feature") ? -1 : 1;
}

static double sort_key(const cJSON *f, const char *sort)
{
	double key = strcmp(sort, "feature") == 0  ? -answer_number(f, "feature")
	             : strcmp(sort, "cosine") == 0 ? answer_number(f, "cosine")
	             : strcmp(sort, "firing") == 0 ? answer_number(f, "firing_cosine")
	                                           : answer_number(f, "fires");

	return isnan(key) ? -INFINITY : key;
}

static int add_feature(cli_table *t, const cJSON *f)
{
	const cJSON *parts = cJSON_GetObjectItem(f, "parts"), *part;
	char list[128] = "";
	int rc;

	if (!parts)
		parts = cJSON_GetObjectItem(f, "part_of");
	cJSON_ArrayForEach(part, parts)
	{
		size_t used = strlen(list);

		snprintf(list + used, sizeof(list) - used, "%s%.0f", used ? " " : "", part->valuedouble);
	}
	rc = number_cell(t, answer_number(f, "feature"), 10);
	rc = rc ? rc : string_cell(t, answer_string(f, "verdict"));
	rc = rc ? rc : number_cell(t, answer_number(f, "match"), 10);
	rc = rc ? rc : number_cell(t, answer_number(f, "cosine"), 3);
	rc = rc ? rc : number_cell(t, answer_number(f, "firing_cosine"), 3);
	rc = rc ? rc : number_cell(t, answer_number(f, "correlation"), 3);
	rc = rc ? rc : number_cell(t, answer_number(f, "fires"), 10);
	rc = rc ? rc : cli_table_cell(t, "%s", list);
	rc = rc ? rc : string_cell(t, answer_string(f, "label"));
	return rc ? rc : string_cell(t, answer_string(f, "match_label"));
}

static int print_list(const listed *list, size_t n, error *err)
{
	static const cli_column columns[] = {
		{ "feature", true, 0 }, { "verdict", false, 0 },
		{ "match", true, 0 },   { "cosine", true, 0 },
		{ "firing", true, 0 },  { "r", true, 0 },
		{ "fires", true, 0 },   { "parts, or whole", false, 24 },
		{ "label", false, 30 }, { "label of match", false, 30 },
	};
	cli_table *t = NULL;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err);

	for (size_t i = 0; i < n && !rc; i++)
		if (add_feature(t, list[i].feature))
			rc = error_nomem(err, "the table of features");
	if (!rc)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static int print_page(const cJSON *page, const diff_opts *o, error *err)
{
	const cJSON *features = cJSON_GetObjectItem(page, "features"), *f;
	listed *list = malloc(((size_t)cJSON_GetArraySize(features) + 1) * sizeof(*list));
	size_t n = 0;
	int rc;

	if (!list)
		return error_nomem(err, "a comparison");
	print_summary(page);
	rc = print_sides(page, err);
	cJSON_ArrayForEach(f, features)
	{
		if (strcmp(answer_string(f, "side"), o->side) == 0 &&
		    (!o->only || strcmp(answer_string(f, "verdict"), o->only) == 0))
			list[n++] = (listed){ f, sort_key(f, o->sort) };
	}
	qsort(list, n, sizeof(*list), by_key);
	if (!rc && o->limit && n) {
		printf("\n");
		rc = print_list(list, n < o->limit ? n : (size_t)o->limit, err);
		if (!rc && n > o->limit)
			printf("%llu of %zu features of %s\n", (unsigned long long)o->limit, n,
			       strcmp(o->side, "a") == 0 ? "A" : "B");
	}
	free(list);
	return rc;
}

/* ---- The command ------------------------------------------------------------------------------------------------------------ */

static int compare(cJSON **page, store *a, store *b, const cli_parsed *p, const diff_opts *o, error *err)
{
	store_compare_opts c = { .a = a,
		                 .b = b,
		                 .source_a = p->args[0],
		                 .source_b = p->args[1],
		                 .min_cosine = o->min_cosine,
		                 .min_overlap = o->min_overlap,
		                 .min_common = o->min_common };
	directions v = { 0 };
	int rc;

	if (a == b && strcmp(p->args[0], p->args[1]) == 0)
		return error_set(err, ERR_ARG,
		                 "'%s' is compared with itself: name two sources, or give --with FILE",
		                 p->args[0]);
	rc = directions_read(&v, a, p->args[0], b, p->args[1], err);
	if (rc == 0 && !v.why)
		rc = directions_match(&v, o, err);
	if (rc == 0) {
		c.match = v.match;
		c.cosine = v.cosine;
		rc = store_compare(page, &c, err);
	}
	if (rc == 0 && !add_directions(*page, &v))
		rc = error_nomem(err, "a comparison");
	directions_clear(&v);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	diff_opts o = { 0 };
	cJSON *page = NULL;
	store *a = NULL, *b = NULL;
	cli_parsed p;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = store_args_open(&a, &o.store, &err);
	if (!rc && o.with)
		rc = store_open(&b, o.with, STORE_READ, &err);
	if (!rc)
		rc = compare(&page, a, b ? b : a, &p, &o, &err);
	if (!rc && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (!rc) {
		rc = print_page(page, &o, &err);
	}
	if (rc)
		code = cli_fail(self, &err);
out:
	cJSON_Delete(page);
	store_close(a);
	store_close(b);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_diff_command = {
	.name = "diff",
	.run = run,
	.help = "match the features of two SAEs: same, split, merged, unmatched",
	.usage = "A B -d STORE [--with STORE] [OPTION...]",
	.about =
	        "Compares two sources of a store, or of two stores. Features are matched one to one by the "
	        "cosine of\n"
	        "their decoder rows; what they do is compared over the tokens of contexts whose firings are "
	        "stored for\n"
	        "both (contexts are known by their content, so two stores of one dump have them in common).\n"
	        "\n"
	        "same: matched, with a cosine of at least --min-cosine. split: several features of the other "
	        "side, each\n"
	        "firing mostly (--min-overlap) where this one does, together cover --min-overlap of its "
	        "firings.\n"
	        "merged: one of the parts of such a feature. unmatched: none of these. Sources without "
	        "decoder rows,\n"
	        "or of different width, are matched by co-firing: mutual best, and same where the firing "
	        "cosine is\n"
	        "at least --min-cosine.\n"
	        "\n"
	        "Firing cosine: tokens on which both fire over the root of the product of their counts. r: "
	        "Pearson's\n"
	        "correlation of the activations over all common tokens. Best: the mean over features of "
	        "their "
	        "best\n"
	        "partner's, with what one in a hundred features gets by chance: against random directions "
	        "with "
	        "B's\n"
	        "second moments, and against the firings of another context.",
	.examples = "gloss diff layer5 layer6 -d store.db\n"
	            "gloss diff small wide -d store.db --only split --sort fires\n"
	            "gloss diff sae sae -d seed0.db --with seed1.db --json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = 2,
};
