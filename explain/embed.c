/* embed: vectors of windows, by the endpoint's embeddings, and which silent windows lie nearest to firing ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/claims.h"
#include "explain/prompt.h"
#include "explain/scorer.h"

enum { TEXTS_A_REQUEST = 64, BYTES_A_TOKEN = 4, QUERIES = 10, CANDIDATES = 200 };

/* ---- The client ------------------------------------------------------------------------------------------------------- */

int engine_embed_open(engine *j, error *err)
{
	explain_client_opts c = *j->o->client;
	int rc;

	c.model = j->o->embed_model;
	rc = explain_client_new(&j->embed, &c, j->log, j->o->replay, err);
	if (rc < 0)
		return rc;
	client_for_job(j->embed, j->uid, "embed", &j->o->price, &j->o->budget);
	return embed_probe(j->embed, j->o->client->base_url, j->o->stop, err);
}

int engine_embed_probe(engine *j, error *err)
{
	if (j->o->embed_model)
		return 0;
	client_for_job(j->client, j->uid, "probe", &j->o->price, &j->o->budget);
	return embed_probe(j->client, j->o->client->base_url, j->o->stop, err);
}

static void count_dry(engine *j, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		j->dry_requests += i % TEXTS_A_REQUEST == 0;
		j->dry_bytes += strlen(texts[i]);
		j->dry_input += (strlen(texts[i]) + BYTES_A_TOKEN - 1) / BYTES_A_TOKEN;
	}
}

static int text_of(char **out, engine_task *t, const store_window *w, error *err)
{
	text plain;
	int rc;

	text_init(&plain, PROMPT_MAX);
	rc = prompt_add_plain(&plain, w, err);
	*out = rc == 0 ? arena_strdup(&t->mem, plain.len ? plain.data : " ") : NULL;
	text_free(&plain);
	return rc == 0 && !*out ? error_nomem(err, "a text") : rc;
}

/* ---- Nearest ---------------------------------------------------------------------------------------------------------- */

static double cosine(const float *a, const float *b, size_t dim)
{
	double ab = 0, aa = 0, bb = 0;

	for (size_t i = 0; i < dim; i++) {
		ab += (double)a[i] * b[i];
		aa += (double)a[i] * a[i];
		bb += (double)b[i] * b[i];
	}
	return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Of n candidates behind n_queries vectors the nearest to each query in turn, so that none of them brings all. */
static size_t take_in_turn(store_window *out, size_t want, const store_window *candidates, size_t n,
                           const float *vectors, size_t n_queries, size_t dim, uint8_t *taken)
{
	size_t found = 0;

	while (found < want && found < n) {
		const float *query = vectors + (found % n_queries) * dim;
		double best = -INFINITY, x;
		size_t at = 0;

		for (size_t i = 0; i < n; i++) {
			x = taken[i] ? -INFINITY : cosine(query, vectors + (n_queries + i) * dim, dim);
			if (x > best) {
				best = x;
				at = i;
			}
		}
		taken[at] = 1;
		out[found++] = candidates[at];
	}
	return found;
}

/* Texts of the queries, the chosen firing windows spread over all of them, and behind them of the candidates. */
static int collect(char ***out, size_t *n_queries, engine_task *t, const score_material *m,
                   const store_window *candidates, size_t n, error *err)
{
	size_t queries = m->n_chosen < QUERIES ? m->n_chosen : QUERIES;
	char **texts = arena_alloc(&t->mem, queries + n + 1, sizeof(*texts));
	int rc = texts ? 0 : error_nomem(err, "texts");

	for (size_t i = 0; i < queries && rc == 0; i++)
		rc = text_of(&texts[i], t, &m->all.w[m->chosen[i * m->n_chosen / queries]], err);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = text_of(&texts[queries + i], t, &candidates[i], err);
	*out = texts;
	*n_queries = queries;
	return rc;
}

int score_nearest(store_window **out, size_t *n_out, engine_task *t, const score_material *m, size_t want,
                  error *err)
{
	engine *j = t->job;
	store_window *candidates;
	float *vectors = NULL;
	size_t n = 0, n_queries, dim = 0;
	uint8_t *taken;
	char **texts;
	int rc;

	*n_out = 0;
	rc = examples_silent(&candidates, &n, t, STORE_REPORT, j->o->n_negative + CANDIDATES, err);
	if (rc < 0 || n <= j->o->n_negative)
		return rc;
	candidates += j->o->n_negative; /* the first of them are the random ones */
	n -= j->o->n_negative;
	rc = collect(&texts, &n_queries, t, m, candidates, n, err);
	if (rc == 0 && !j->embed) {
		count_dry(j, (const char *const *)texts, n_queries + n);
		return 0;
	}
	if (rc == 0)
		rc = explain_embed(&vectors, &dim, j->embed, (const char *const *)texts, n_queries + n,
		                   TEXTS_A_REQUEST, j->o->stop, err);
	if (rc < 0)
		return rc;
	*out = arena_alloc(&t->mem, want + 1, sizeof(**out));
	taken = arena_alloc(&t->mem, n + 1, sizeof(*taken));
	if (*out && taken)
		*n_out = take_in_turn(*out, want, candidates, n, vectors, n_queries, dim, taken);
	else
		rc = error_nomem(err, "windows");
	free(vectors);
	return rc;
}
