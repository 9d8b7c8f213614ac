/* See alike.h. */
#include "explain/alike.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/chat.h"
#include "explain/put.h"

enum { TEXTS_A_REQUEST = 64, LEAST = 3, RANDOM = 10, STRENGTHS = 5 };
#define LEVEL 0.95

typedef struct alike {
	const explain_alike_pair *pairs;
	size_t n;
	const char **texts; /* (n_texts) each once, sorted */
	size_t n_texts, dim;
	float *vectors;          /* (n_texts, dim) at norm 1 */
	const float **a, **b;    /* (n) */
	double *cosine, *random; /* (n) of the pair; of its A with all other pairs' B, mean */
} alike;

/* ---- Vectors ---------------------------------------------------------------------------------------------------------- */

static int by_text(const void *x, const void *y)
{
	return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static int collect_texts(alike *x, error *err)
{
	size_t all = 2 * x->n;

	x->texts = malloc((all + 1) * sizeof(*x->texts));
	if (!x->texts)
		return error_nomem(err, "labels");
	for (size_t i = 0; i < x->n; i++) {
		x->texts[2 * i] = x->pairs[i].a;
		x->texts[2 * i + 1] = x->pairs[i].b;
	}
	qsort(x->texts, all, sizeof(*x->texts), by_text);
	for (size_t i = 0; i < all; i++)
		if (i == 0 || strcmp(x->texts[i], x->texts[x->n_texts - 1]) != 0)
			x->texts[x->n_texts++] = x->texts[i];
	return 0;
}

static int embed(alike *x, const explain_alike_opts *o, error *err)
{
	explain_client *c = NULL;
	int rc = explain_client_new(&c, o->client, o->log, false, err);

	if (rc == 0)
		rc = embed_probe(c, o->client->base_url, o->stop, err);
	if (rc == 0)
		rc = explain_embed(&x->vectors, &x->dim, c, x->texts, x->n_texts, TEXTS_A_REQUEST, o->stop,
		                   err);
	explain_client_free(c);
	return rc;
}

/* False: it is all zeros. */
static bool normalise(float *v, size_t dim)
{
	double norm = 0;

	for (size_t i = 0; i < dim; i++)
		norm += (double)v[i] * v[i];
	for (size_t i = 0; i < dim && norm > 0; i++)
		v[i] = (float)(v[i] / sqrt(norm));
	return norm > 0;
}

static const float *vector_of(const alike *x, const char *label)
{
	const char **at = bsearch(&label, x->texts, x->n_texts, sizeof(*x->texts), by_text);

	return x->vectors + (size_t)(at - x->texts) * x->dim;
}

static double dot(const float *a, const float *b, size_t dim)
{
	double sum = 0;

	for (size_t i = 0; i < dim; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

static int look_up(alike *x, error *err)
{
	x->a = malloc((x->n + 1) * sizeof(*x->a));
	x->b = malloc((x->n + 1) * sizeof(*x->b));
	x->cosine = malloc((x->n + 1) * sizeof(*x->cosine));
	x->random = malloc((x->n + 1) * sizeof(*x->random));
	if (!x->a || !x->b || !x->cosine || !x->random)
		return error_nomem(err, "labels");
	for (size_t i = 0; i < x->n_texts; i++)
		if (!normalise(x->vectors + i * x->dim, x->dim))
			return error_set(err, ERR_FORMAT, "the embedding of '%.60s' is all zeros",
			                 x->texts[i]);
	for (size_t i = 0; i < x->n; i++) {
		x->a[i] = vector_of(x, x->pairs[i].a);
		x->b[i] = vector_of(x, x->pairs[i].b);
		x->cosine[i] = dot(x->a[i], x->b[i], x->dim);
	}
	return 0;
}

/* ---- Figures ------------------------------------------------------------------------------------------------------------ */

static bool counts(const explain_alike_pair *p, bool same)
{
	return !same || p->same;
}

/* The mean cosine of each A with all other Bs that count, from their sum. */
static int mean_random(alike *x, bool same, size_t n, error *err)
{
	double *sum = calloc(x->dim + 1, sizeof(*sum));

	if (!sum)
		return error_nomem(err, "labels");
	for (size_t i = 0; i < x->n; i++)
		for (size_t k = 0; k < x->dim && counts(&x->pairs[i], same); k++)
			sum[k] += x->b[i][k];
	for (size_t i = 0; i < x->n; i++) {
		double with_all = 0;

		for (size_t k = 0; k < x->dim; k++)
			with_all += x->a[i][k] * sum[k];
		x->random[i] = (with_all - x->cosine[i]) / ((double)n - 1);
	}
	free(sum);
	return 0;
}

typedef struct lists {
	double *matched, *difference, *random; /* (n), (n), (RANDOM n) */
	size_t *at, n, equal;
} lists;

static void fill(lists *l, const alike *x, bool same)
{
	l->n = l->equal = 0;
	for (size_t i = 0; i < x->n; i++) {
		if (!counts(&x->pairs[i], same))
			continue;
		l->matched[l->n] = x->cosine[i];
		l->difference[l->n] = x->cosine[i] - x->random[i];
		l->equal += strcmp(x->pairs[i].a, x->pairs[i].b) == 0;
		l->at[l->n++] = i;
	}
}

/* Of each pair's A some Bs of other pairs. */
static void draw_random(lists *l, const alike *x, uint64_t seed)
{
	for (size_t i = 0; i < l->n; i++)
		for (size_t k = 0; k < RANDOM; k++) {
			size_t other = (size_t)hash64_below(hash64_mix(seed, i * RANDOM + k), l->n - 1);

			other += other >= i;
			l->random[i * RANDOM + k] = dot(x->a[l->at[i]], x->b[l->at[other]], x->dim);
		}
}

static int put_lists(cJSON *to, const lists *l, const alike *x, bool same, const explain_alike_opts *o,
                     bool *failed, error *err)
{
	stats_mean matched = stats_mean_of(l->matched, l->n, LEVEL), random;
	stats_value difference, area;
	size_t n = 0;
	int rc = stats_bootstrap_t(&difference, l->difference, l->n, LEVEL, o->seed, err);

	if (rc == 0)
		rc = stats_auroc(&area, l->matched, l->n, l->random, RANDOM * l->n, LEVEL, o->seed, err);
	for (size_t i = 0; i < x->n; i++)
		if (counts(&x->pairs[i], same))
			l->random[n++] = x->random[i];
	random = stats_mean_of(l->random, n, LEVEL);
	if (rc < 0)
		return rc;
	put_number(to, "n", (double)l->n, failed);
	put_mean(put_object(to, "matched", failed), &matched, failed);
	put_mean(put_object(to, "random", failed), &random, failed);
	put_value(put_object(to, "difference", failed), &difference, failed);
	put_value(put_object(to, "auroc", failed), &area, failed);
	put_number(to, "equal_texts", (double)l->equal, failed);
	return 0;
}

static int put_part(cJSON *out, const char *name, alike *x, bool same, const explain_alike_opts *o,
                    bool *failed, error *err)
{
	lists l = { .matched = malloc((x->n + 1) * sizeof(double)),
		    .difference = malloc((x->n + 1) * sizeof(double)),
		    .random = malloc((RANDOM * x->n + 1) * sizeof(double)),
		    .at = malloc((x->n + 1) * sizeof(size_t)) };
	size_t n = 0;
	int rc = l.matched && l.difference && l.random && l.at ? 0 : error_nomem(err, "labels");

	for (size_t i = 0; i < x->n; i++)
		n += counts(&x->pairs[i], same);
	if (rc == 0 && n < LEAST) {
		put_text(out, name, NULL, failed);
	} else if (rc == 0) {
		rc = mean_random(x, same, n, err);
		fill(&l, x, same);
		draw_random(&l, x, o->seed);
		if (rc == 0)
			rc = put_lists(put_object(out, name, failed), &l, x, same, o, failed, err);
	}
	free(l.matched);
	free(l.difference);
	free(l.random);
	free(l.at);
	return rc;
}

static void put_strengths(cJSON *out, const alike *x, double *room, bool *failed)
{
	cJSON *list = put_array(out, "by_strength", failed), *one;

	for (int k = 0; k < STRENGTHS; k++) {
		double from = k ? (double)k / STRENGTHS : -1, to = (k + 1.0) / STRENGTHS;
		size_t n = 0;
		stats_mean m;

		for (size_t i = 0; i < x->n; i++)
			if (x->pairs[i].strength >= from && (x->pairs[i].strength < to || k == STRENGTHS - 1))
				room[n++] = x->cosine[i];
		if (n == 0)
			continue;
		m = stats_mean_of(room, n, LEVEL);
		one = put_object(list, NULL, failed);
		put_number(one, "from", from, failed);
		put_number(one, "to", to, failed);
		put_mean(one, &m, failed);
	}
}

/* As a job's dry run counts: 4 bytes a token, and never more than one a byte and two around each text. */
static int foretell(cJSON **out, const alike *x, const explain_alike_opts *o, error *err)
{
	size_t bytes = 1, estimate = 1; /* the question whether it embeds */
	cJSON *page = cJSON_CreateObject();
	bool failed = !page;
	const size_t requests = 1 + (x->n_texts + TEXTS_A_REQUEST - 1) / TEXTS_A_REQUEST;

	for (size_t i = 0; i < x->n_texts; i++) {
		bytes += strlen(x->texts[i]);
		estimate += (strlen(x->texts[i]) + 3) / 4;
	}
	put_bool(page, "dry_run", true, &failed);
	put_text(page, "model", o->client->model, &failed);
	put_number(page, "pairs", (double)x->n, &failed);
	put_number(page, "texts", (double)x->n_texts, &failed);
	put_number(page, "requests", (double)requests, &failed);
	put_number(page, "input_tokens_estimate", (double)estimate, &failed);
	put_number(page, "output_tokens_limit", 0, &failed);
	if (o->price.known) {
		put_number(page, "cost_estimate", explain_price_of(&o->price, estimate, 0, 0), &failed);
		put_number(page, "cost_limit",
		           explain_price_of(&o->price, bytes + 2 * (x->n_texts + 1), 0, 0), &failed);
	}
	if (failed) {
		cJSON_Delete(page);
		return error_nomem(err, "a comparison");
	}
	*out = page;
	return 0;
}

int explain_alike(cJSON **out, const explain_alike_pair *pairs, size_t n, const explain_alike_opts *o,
                  error *err)
{
	alike x = { .pairs = pairs, .n = n };
	cJSON *page = NULL;
	bool failed = false;
	int rc;

	if (n < LEAST)
		return error_set(
		        err, ERR_NOTFOUND,
		        "%zu matched pairs have a label on both sides, %d are needed: run gloss explain", n,
		        LEAST);
	rc = collect_texts(&x, err);
	if (rc == 0 && o->dry_run) {
		rc = foretell(out, &x, o, err);
		free(x.texts);
		return rc;
	}
	if (rc == 0)
		rc = embed(&x, o, err);
	if (rc == 0)
		rc = look_up(&x, err);
	if (rc == 0) {
		page = cJSON_CreateObject();
		put_text(page, "model", o->client->model, &failed);
		put_number(page, "texts", (double)x.n_texts, &failed);
		rc = put_part(page, "all", &x, false, o, &failed, err);
	}
	if (rc == 0)
		rc = put_part(page, "same", &x, true, o, &failed, err);
	if (rc == 0)
		put_strengths(page, &x, x.random, &failed);
	if (rc == 0 && failed)
		rc = error_nomem(err, "a comparison");
	if (rc == 0)
		*out = page;
	else
		cJSON_Delete(page);
	free(x.texts);
	free(x.vectors);
	free(x.a);
	free(x.b);
	free(x.cosine);
	free(x.random);
	return rc;
}
