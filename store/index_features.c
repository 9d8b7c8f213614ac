/* Rows of the features at the end of an index run: statistics, histogram, intervals, ranked lists, examples. */
#include "store/index_write.h"

#include <math.h>

enum { MAX_JSON = 1 << 24 };

typedef struct weighted_token {
	uint32_t token;
	double weight;
} weighted_token;

typedef struct token_share { /* what a feature fires on */
	uint32_t token;
	double share, entropy; /* NaN: dead */
} token_share;

enum { JSON_HISTOGRAM = RANKED_KINDS, JSON_INTERVALS, JSON_QUANTILES, JSON_COFIRING, JSON_KINDS };
typedef struct rows {
	index_writer *w;
	sqlite3_stmt *feature, *detail, *example;
	weighted_token *tokens; /* scratch: one an example */
	float *values;          /* scratch: one a sample */
	/* Of the feature at hand: of each sample and then each top context, the token and where its codes are. */
	uint32_t *token, *size;
	size_t *codes_at;
	uint32_t *interval; /* of each sample */
	text codes;
	text json[JSON_KINDS];
	histogram counts; /* trimmed */
	intervals parts;
	uint32_t kept[INTERVALS_MAX]; /* samples in each */
} rows;

/* ---- Tokens ---- */

static int by_token(const void *a, const void *b)
{
	const weighted_token *x = a, *y = b;

	return x->token < y->token     ? -1
	       : x->token > y->token   ? 1
	       : x->weight < y->weight ? -1
	                               : x->weight > y->weight;
}

static bool is_sampled(const feature *f, const sample *s)
{
	for (uint32_t i = 0; i < f->n_samples; i++) {
		if (f->samples[i].hash == s->hash)
			return true;
	}
	return false;
}

/* The distribution of the qualifying token over stored examples: a sample weighs as many firing tokens as it stands for, a
 * top example that is not among the samples weighs 1. */
static token_share share_of(rows *r, const feature *f)
{
	token_share best = { .share = NAN, .entropy = NAN };
	double total = 0, most = 0, sum;
	size_t n = 0;

	for (uint32_t i = 0; i < f->n_samples; i++) {
		uint32_t b = r->interval[i];

		r->tokens[n++] = (weighted_token){ r->token[i], (double)r->parts.counts[b] / r->kept[b] };
	}
	for (uint32_t i = 0; i < f->n_top; i++) {
		if (!is_sampled(f, &f->top[i].at))
			r->tokens[n++] = (weighted_token){ r->token[f->n_samples + i], 1 };
	}
	if (n == 0)
		return best;
	qsort(r->tokens, n, sizeof(*r->tokens), by_token);
	for (size_t i = 0; i < n; i++)
		total += r->tokens[i].weight;
	best.entropy = 0;
	for (size_t i = 0, j; i < n; i = j) {
		for (sum = 0, j = i; j < n && r->tokens[j].token == r->tokens[i].token; j++)
			sum += r->tokens[j].weight;
		best.entropy -= sum / total * log2(sum / total);
		if (sum > most) {
			most = sum;
			best.token = r->tokens[i].token;
		}
	}
	best.entropy = best.entropy < 0 ? 0 : best.entropy; /* not -0, and nothing below it by rounding */
	best.share = most / total;
	return best;
}

/* ---- JSON ---- */

/* Percents at which quantiles are kept, in tenths of one. */
static const int percents[] = { 10, 50, 100, 250, 500, 750, 900, 950, 990, 999 };
enum { MEDIAN = 4 };

static int by_value(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Quantiles by nearest rank: exact where all firings are in the sample, else from the histogram, straight through its bins.
 * *median is the one of 50 %. */
static int write_quantiles(text *t, double *median, rows *r, const feature *f)
{
	bool exact = f->n_samples == f->fires;
	int rc = text_addf(t, "{\"exact\":%d,\"percent\":[", exact);

	for (uint32_t i = 0; i < f->n_samples; i++)
		r->values[i] = f->samples[i].value;
	if (exact)
		qsort(r->values, f->n_samples, sizeof(*r->values), by_value);
	for (size_t i = 0; i < ARRAY_LEN(percents) && rc == 0; i++)
		rc = text_addf(t, "%s%g", i ? "," : "", percents[i] / 10.0);
	rc = rc ? rc : text_adds(t, "],\"value\":[");
	for (size_t i = 0; i < ARRAY_LEN(percents) && rc == 0; i++) {
		uint64_t rank = (f->fires * (uint64_t)percents[i] + 999) / 1000;
		double value = exact ? (double)r->values[rank - 1]
		                     : histogram_rank(&r->counts, rank, (double)f->max);

		if (i == MEDIAN)
			*median = value;
		rc = text_addf(t, exact ? "%s%.9g" : "%s%.5g", i ? "," : "", value);
	}
	return rc ? rc : text_adds(t, "]}");
}

/* Intervals of the feature at hand, in which each sample is, and how many are in each. */
static void find_intervals(rows *r, const feature *f)
{
	intervals_equal_count(&r->parts, &r->counts, 1);
	memset(r->kept, 0, sizeof(r->kept));
	for (uint32_t i = 0; i < f->n_samples; i++) {
		r->interval[i] = intervals_find(&r->parts, f->samples[i].value);
		r->kept[r->interval[i]]++;
	}
}

static int write_ranked(text *t, const ranked *k, uint32_t feature_id)
{
	size_t at = (size_t)feature_id * k->n;
	int rc;

	text_clear(t);
	rc = text_adds(t, "[");
	for (uint32_t i = 0; i < k->n && rc == 0; i++)
		rc = text_addf(t, "%s[%u,%.7g]", i ? "," : "", k->ids[at + i], (double)k->values[at + i]);
	return rc == 0 ? text_adds(t, "]") : rc;
}

static int write_detail(rows *r, uint32_t id, const feature *f, error *err)
{
	const store_index *ix = r->w->ix;
	const char *lists[RANKED_KINDS] = { NULL };
	int rc;

	text_clear(&r->json[JSON_HISTOGRAM]);
	text_clear(&r->json[JSON_INTERVALS]);
	rc = histogram_write(&r->json[JSON_HISTOGRAM], &r->counts);
	if (rc == 0)
		rc = intervals_write(&r->json[JSON_INTERVALS], &r->parts, r->kept);

	for (int k = 0; k < RANKED_KINDS && rc == 0; k++) {
		if (!ix->ranked[k].ids)
			continue;
		rc = write_ranked(&r->json[k], &ix->ranked[k], id);
		lists[k] = r->json[k].data;
	}
	text_clear(&r->json[JSON_COFIRING]);
	if (rc == 0 && r->w->together.n_features)
		rc = cofiring_write(&r->json[JSON_COFIRING], &r->w->together, id);
	if (rc < 0)
		return error_nomem(err, "a feature");
	rc = store_bind(r->w->s, r->detail, err, "iitttttttt", r->w->source, (int64_t)id,
	                r->json[JSON_HISTOGRAM].data, r->json[JSON_INTERVALS].data,
	                f->fires ? r->json[JSON_QUANTILES].data : NULL, lists[RANKED_TOP],
	                lists[RANKED_BOTTOM], lists[RANKED_NEIGHBOURS], ix->logits ? ix->logits[id] : NULL,
	                r->w->together.n_features ? r->json[JSON_COFIRING].data : NULL);
	return rc == 0 ? store_run(r->w->s, r->detail, err) : rc;
}

/* ---- Rows ---- */

static int read_window(rows *r, uint32_t i, const sample *s, error *err)
{
	window w;
	int rc = features_window(&w, &r->w->ix->fs, s, err);

	if (rc < 0)
		return rc;
	r->token[i] = w.token;
	r->size[i] = w.size;
	r->codes_at[i] = r->codes.len;
	return text_add(&r->codes, w.codes, w.size) < 0 ? error_nomem(err, "an example") : 0;
}

/* Make f the feature at hand. */
static int take_up(rows *r, const feature *f, error *err)
{
	int rc = 0;

	r->counts = histogram_trim(&f->values);
	find_intervals(r, f);
	text_clear(&r->codes);
	for (uint32_t i = 0; i < f->n_samples && rc == 0; i++)
		rc = read_window(r, i, &f->samples[i], err);
	for (uint32_t i = 0; i < f->n_top && rc == 0; i++)
		rc = read_window(r, f->n_samples + i, &f->top[i].at, err);
	return rc;
}

/* Of its decoder row: axes of neurons have 1, and where none is known it is 0. */
static double norm_of(const store_index *ix, uint32_t id)
{
	return ix->norms ? ix->norms[id] : strcmp(ix->o.kind, "neurons") == 0;
}

static int write_feature(rows *r, uint32_t id, const feature *f, error *err)
{
	const store_index *ix = r->w->ix;
	moments m = feature_moments(f);
	token_share t = share_of(r, f);
	double density = ix->n_tokens ? (double)f->fires / (double)ix->n_tokens : 0, median = NAN;
	int rc = 0;

	text_clear(&r->json[JSON_QUANTILES]);
	if (f->fires > 0 && write_quantiles(&r->json[JSON_QUANTILES], &median, r, f) < 0)
		return error_nomem(err, "a feature");
	rc = store_bind(r->w->s, r->feature, err, "iiiidddddddddd", r->w->source, (int64_t)id,
	                (int64_t)f->fires, (int64_t)f->contexts, density, (double)f->max, m.mean, m.std,
	                m.skewness, m.kurtosis, m.sum[0], m.sum[1], m.sum[2], m.sum[3]);
	if (rc == 0)
		rc = store_bind(r->w->s, r->feature, err, "--------------dddd-i", t.share, t.entropy,
		                norm_of(ix, id), median, r->w->behaviour[id]);
	if (rc == 0 && !isnan(t.share))
		rc = store_bind(r->w->s, r->feature, err, "------------------i", (int64_t)t.token);
	else if (rc == 0)
		rc = store_bind(r->w->s, r->feature, err, "------------------n");
	return rc == 0 ? store_run(r->w->s, r->feature, err) : rc;
}

/* Example number i of the feature at hand. */
static int write_example(rows *r, uint32_t id, const sample *e, uint32_t i, int bin, uint32_t rank,
                         error *err)
{
	uint32_t bits;
	int rc;

	memcpy(&bits, &e->value, sizeof(bits));
	r->w->n_examples++;
	rc = store_bind(r->w->s, r->example, err, "iiiiiiib", r->w->source, (int64_t)id, (int64_t)bin,
	                (int64_t)rank, e->context, (int64_t)e->position, (int64_t)bits,
	                r->codes.data + r->codes_at[i], (size_t)r->size[i]);
	return rc == 0 ? store_run(r->w->s, r->example, err) : rc;
}

/* In the order of the table's key. */
static int write_examples(rows *r, uint32_t id, const feature *f, error *err)
{
	int rc = 0;

	for (uint32_t i = 0; i < f->n_top && rc == 0; i++)
		rc = write_example(r, id, &f->top[i].at, f->n_samples + i, -1, i, err);
	for (uint32_t b = 0; b < r->parts.n && rc == 0; b++) {
		uint32_t rank = 0;

		for (uint32_t i = 0; i < f->n_samples && rank < r->kept[b] && rc == 0; i++) {
			if (r->interval[i] == b)
				rc = write_example(r, id, &f->samples[i], i, (int)b, rank++, err);
		}
	}
	return rc;
}

static int rows_init(rows *r, index_writer *w, error *err)
{
	size_t n = (size_t)w->ix->o.n_top + w->ix->o.n_samples + 1;
	int rc;

	*r = (rows){ .w = w };
	for (size_t i = 0; i < ARRAY_LEN(r->json); i++)
		text_init(&r->json[i], MAX_JSON);
	text_init(&r->codes, SIZE_MAX);
	r->tokens = malloc(n * sizeof(*r->tokens));
	r->values = malloc(n * sizeof(*r->values));
	r->token = malloc(n * sizeof(*r->token));
	r->size = malloc(n * sizeof(*r->size));
	r->codes_at = malloc(n * sizeof(*r->codes_at));
	r->interval = malloc(n * sizeof(*r->interval));
	if (!r->tokens || !r->values || !r->token || !r->size || !r->codes_at || !r->interval ||
	    text_add(&r->codes, "", 0) < 0)
		return error_nomem(err, "features");
	rc = store_prepare(
	        &r->feature, w->s,
	        "INSERT INTO feature (source_id, feature, n_fires, n_contexts, density, max_act, mean_act, "
	        "std_act,"
	        " skewness, kurtosis, sum1, sum2, sum3, sum4, top_token_share, token_entropy, decoder_norm, "
	        "median_act, top_token, behaviour)"
	        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, "
	        "?19, nullif(?20, 0))",
	        err);
	if (rc == 0)
		rc = store_prepare(
		        &r->detail, w->s,
		        "INSERT INTO feature_detail (source_id, feature, histogram, intervals, quantiles, "
		        "top_logits, bottom_logits, neighbours, logit_histogram, cofiring)"
		        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
		        err);
	if (rc == 0)
		rc = store_prepare(&r->example, w->s,
		                   "INSERT INTO example (source_id, feature, bin, rank, context_id, "
		                   "position, activation_bits, "
		                   "codes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		                   err);
	return rc;
}

static void rows_clear(rows *r)
{
	sqlite3_finalize(r->feature);
	sqlite3_finalize(r->detail);
	sqlite3_finalize(r->example);
	free(r->tokens);
	free(r->values);
	free(r->token);
	free(r->size);
	free(r->codes_at);
	free(r->interval);
	text_free(&r->codes);
	for (size_t i = 0; i < ARRAY_LEN(r->json); i++)
		text_free(&r->json[i]);
}

int index_write_features(index_writer *w, progress *pr, error *err)
{
	rows r;
	int rc = rows_init(&r, w, err);

	for (uint32_t i = 0; i < w->ix->fs.n && rc == 0; i++) {
		const feature *f = &w->ix->fs.at[i];

		w->n_dead += f->fires == 0;
		w->n_dense += 10 * f->fires > w->ix->n_tokens;
		rc = take_up(&r, f, err);
		if (rc == 0)
			rc = write_feature(&r, i, f, err);
		if (rc == 0)
			rc = write_detail(&r, i, f, err);
		if (rc == 0)
			rc = write_examples(&r, i, f, err);
		if (pr && rc == 0)
			progress_update(pr, i + 1, NULL);
	}
	rows_clear(&r);
	return rc;
}
