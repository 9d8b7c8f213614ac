/* Rows of the features at the end of an index run: statistics, histogram, ranked lists, examples. */
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

typedef struct rows {
	index_writer *w;
	sqlite3_stmt *feature, *detail, *example;
	weighted_token *tokens; /* scratch: one an example */
	text json[1 + RANKED_KINDS];
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
	const bin *b = &f->bins[store_bin_of(s->value) - f->first_bin];

	for (uint32_t i = 0; i < b->n; i++) {
		if (b->samples[i].hash == s->hash)
			return true;
	}
	return false;
}

/* The distribution of the qualifying token over stored examples: a sample of a bin weighs bin count / samples kept, a top
 * example that is not among the samples weighs 1. */
static token_share share_of(rows *r, const feature *f)
{
	token_share best = { .share = NAN, .entropy = NAN };
	double total = 0, most = 0, sum;
	size_t n = 0;

	for (uint32_t b = 0; b < f->n_bins; b++) {
		for (uint32_t i = 0; i < f->bins[b].n; i++)
			r->tokens[n++] = (weighted_token){ f->bins[b].samples[i].codes->token,
				                           (double)f->bins[b].count / f->bins[b].n };
	}
	for (uint32_t i = 0; i < f->n_top; i++) {
		if (!is_sampled(f, &f->top[i].at))
			r->tokens[n++] = (weighted_token){ f->top[i].at.codes->token, 1 };
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

/* The stretch of the grid in which the feature has values. */
static int write_histogram(text *t, const feature *f)
{
	int rc;

	text_clear(t);
	rc = text_adds(t, "{\"edges\":[");
	for (unsigned i = 0; i <= f->n_bins && f->n_bins > 0 && rc == 0; i++)
		rc = text_addf(t, "%s%.9g", i ? "," : "", store_bin_edge(f->first_bin + i));
	if (rc == 0)
		rc = text_adds(t, "],\"counts\":[");
	for (unsigned i = 0; i < f->n_bins && rc == 0; i++)
		rc = text_addf(t, "%s%llu", i ? "," : "", (unsigned long long)f->bins[i].count);
	return rc == 0 ? text_adds(t, "]}") : rc;
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
	int rc = write_histogram(&r->json[RANKED_KINDS], f);

	for (int k = 0; k < RANKED_KINDS && rc == 0; k++) {
		if (!ix->ranked[k].ids)
			continue;
		rc = write_ranked(&r->json[k], &ix->ranked[k], id);
		lists[k] = r->json[k].data;
	}
	if (rc < 0)
		return error_nomem(err, "a feature");
	rc = store_bind(r->w->s, r->detail, err, "iitttt", r->w->source, (int64_t)id,
	                r->json[RANKED_KINDS].data, lists[RANKED_TOP], lists[RANKED_BOTTOM],
	                lists[RANKED_NEIGHBOURS]);
	return rc == 0 ? store_run(r->w->s, r->detail, err) : rc;
}

/* ---- Rows ---- */

static int write_feature(rows *r, uint32_t id, const feature *f, error *err)
{
	const store_index *ix = r->w->ix;
	moments m = feature_moments(f);
	token_share t = share_of(r, f);
	double density = ix->n_tokens ? (double)f->fires / (double)ix->n_tokens : 0;
	int rc = store_bind(r->w->s, r->feature, err, "iiiidddddddddd", r->w->source, (int64_t)id,
	                    (int64_t)f->fires, (int64_t)f->contexts, density, (double)f->max, m.mean, m.std,
	                    m.skewness, m.kurtosis, m.sum[0], m.sum[1], m.sum[2], m.sum[3]);

	if (rc == 0)
		rc = store_bind(r->w->s, r->feature, err, "--------------ddd", t.share, t.entropy,
		                ix->norms ? ix->norms[id] : 0.0);
	if (rc == 0 && f->fires > 0)
		rc = store_bind(r->w->s, r->feature, err, "-----------------i", (int64_t)t.token);
	else if (rc == 0)
		rc = store_bind(r->w->s, r->feature, err, "-----------------n");
	return rc == 0 ? store_run(r->w->s, r->feature, err) : rc;
}

static int write_example(rows *r, uint32_t id, const sample *e, const char *kind, int bin_index,
                         uint32_t rank, double weight, error *err)
{
	int rc;

	r->w->n_examples++;
	rc = store_bind(r->w->s, r->example, err, "iitiiiiddiib", r->w->source, (int64_t)id, kind,
	                (int64_t)bin_index, (int64_t)rank, e->context, (int64_t)e->position, (double)e->value,
	                weight, (int64_t)e->codes->first, (int64_t)e->codes->length, e->codes->pairs,
	                (size_t)e->codes->size);

	return rc == 0 ? store_run(r->w->s, r->example, err) : rc;
}

static int write_examples(rows *r, uint32_t id, const feature *f, error *err)
{
	int rc = 0;

	for (uint32_t b = 0; b < f->n_bins && rc == 0; b++) {
		const bin *from = &f->bins[b];

		for (uint32_t i = 0; i < from->n && rc == 0; i++)
			rc = write_example(r, id, &from->samples[i], "bin", (int)b, i,
			                   (double)from->count / from->n, err);
	}
	for (uint32_t i = 0; i < f->n_top && rc == 0; i++)
		rc = write_example(r, id, &f->top[i].at, "top", -1, i, 1, err);
	return rc;
}

static int rows_init(rows *r, index_writer *w, error *err)
{
	const store_index_opts *o = &w->ix->o;
	int rc;

	*r = (rows){ .w = w };
	for (size_t i = 0; i < ARRAY_LEN(r->json); i++)
		text_init(&r->json[i], MAX_JSON);
	r->tokens = malloc(((size_t)o->n_top + (size_t)o->n_bin * STORE_BINS + 1) * sizeof(*r->tokens));
	if (!r->tokens)
		return error_nomem(err, "features");
	rc = store_prepare(
	        &r->feature, w->s,
	        "INSERT INTO feature (source_id, feature, n_fires, n_contexts, density, max_act, mean_act, "
	        "std_act,"
	        " skewness, kurtosis, sum1, sum2, sum3, sum4, top_token_share, token_entropy, decoder_norm, "
	        "top_token)"
	        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
	        err);
	if (rc == 0)
		rc = store_prepare(&r->detail, w->s,
		                   "INSERT INTO feature_detail (source_id, feature, histogram, top_logits, "
		                   "bottom_logits, neighbours)"
		                   " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
		                   err);
	if (rc == 0)
		rc = store_prepare(
		        &r->example, w->s,
		        "INSERT INTO example (source_id, feature, kind, bin, rank, context_id, position, "
		        "activation, weight,"
		        " first, length, codes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
		        err);
	return rc;
}

static void rows_clear(rows *r)
{
	sqlite3_finalize(r->feature);
	sqlite3_finalize(r->detail);
	sqlite3_finalize(r->example);
	free(r->tokens);
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
