/* Tokens by a chain over pairs, codes by hashes: the same store for the same sizes and the same dump. */
#include "bench/made_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "sae/sae.h"
#include "store/store.h"

enum { BY_TOKEN = 18, BY_BEFORE = 8, RANKED = 10, LOGIT_BINS = 50 };

/* ---- The chain ------------------------------------------------------------------------------------------------------------ */

typedef struct corpus { /* a real one, to take pairs of tokens from */
	uint32_t *tokens;
	size_t n;
	size_t *places;  /* by token */
	uint32_t *first; /* (vocabulary + 1): places of token t are first[t] .. first[t + 1] - 1 */
	uint32_t vocabulary;
} corpus;

static void corpus_clear(corpus *c)
{
	free(c->tokens);
	free(c->places);
	free(c->first);
}

static int read_tokens(corpus *c, const char *folder, error *err)
{
	const sae_dump_opts o = { 0 };
	sae_dump *d = NULL;
	const sae_dump_info *info;
	int rc = sae_dump_open(&d, &folder, 1, &o, err);

	if (rc < 0)
		return rc;
	info = sae_dump_get_info(d);
	c->n = info->n_contexts * info->ctx_len;
	c->tokens = malloc((c->n + 1) * sizeof(*c->tokens));
	if (!c->tokens)
		rc = error_nomem(err, "a corpus");
	for (uint64_t i = 0; i < info->n_contexts && rc == 0; i++)
		rc = sae_dump_tokens(d, i, c->tokens + i * info->ctx_len, err);
	sae_dump_close(d);
	return rc;
}

static int corpus_read(corpus *c, const char *folder, error *err)
{
	uint32_t *next = NULL;
	int rc = read_tokens(c, folder, err);

	if (rc < 0)
		return rc;
	c->places = malloc((c->n + 1) * sizeof(*c->places));
	c->first = calloc((size_t)c->vocabulary + 2, sizeof(*c->first));
	next = calloc((size_t)c->vocabulary + 2, sizeof(*next));
	if (!c->places || !c->first || !next) {
		free(next);
		return error_nomem(err, "a corpus");
	}
	for (size_t i = 0; i < c->n; i++)
		c->first[c->tokens[i] + 1]++;
	for (uint32_t t = 0; t < c->vocabulary; t++)
		next[t + 1] = c->first[t + 1] += c->first[t];
	for (size_t i = 0; i < c->n; i++)
		c->places[next[c->tokens[i]]++] = i;
	free(next);
	return 0;
}

static uint32_t next_token(const corpus *c, uint32_t token, uint64_t h)
{
	uint32_t n = c->first[token + 1] - c->first[token];
	size_t place = n ? c->places[c->first[token] + hash64_below(h, n)] : hash64_below(h, c->n);

	return c->tokens[place + 1 < c->n ? place + 1 : 0];
}

/* ---- The codes ------------------------------------------------------------------------------------------------------------ */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* A power law over features, scattered: the share of firings of rank r falls as r^(-2/3). */
static uint32_t draw(uint32_t features, uint64_t seed)
{
	double u = hash64_unit(hash64_mix(seed, 7));

	return (uint32_t)hash64_permute((uint64_t)(features * u * u * u), features, 3);
}

static void fire(uint32_t feature[MADE_L0], uint32_t features, uint32_t token, uint32_t before,
                 uint64_t random)
{
	for (uint32_t j = 0; j < MADE_L0; j++) {
		uint64_t seed = j < BY_TOKEN               ? hash64_mix(token, j)
		                : j < BY_TOKEN + BY_BEFORE ? hash64_mix(before + 1000000, j)
		                                           : hash64_mix(random, j);
		uint32_t at = 0;

		feature[j] = draw(features, seed);
		while (at < j)
			if (feature[at++] == feature[j]) { /* none twice: the next of its kind */
				feature[j] = draw(features, ++seed);
				at = 0;
			}
	}
	qsort(feature, MADE_L0, sizeof(*feature), by_number);
}

static int add_context(store_index *ix, const made_store *m, const corpus *c, uint64_t number, error *err)
{
	static uint32_t tokens[MADE_CTX], start[MADE_CTX + 1], feature[MADE_CTX * MADE_L0];
	static float value[MADE_CTX * MADE_L0];
	uint32_t token = c->tokens[hash64_below(hash64_mix(1, number), c->n)];

	for (uint32_t i = 0; i < MADE_CTX; i++) {
		uint64_t h = hash64_mix(number, i);
		uint32_t before = token, at = i * MADE_L0;

		token = tokens[i] = next_token(c, token, h);
		fire(feature + at, m->features, token, before, h);
		for (uint32_t j = at; j < at + MADE_L0; j++) /* half by token and feature, half by chance */
			value[j] = (float)exp(1 + hash64_unit(hash64_mix(token, feature[j])) +
			                      hash64_unit(hash64_mix(h, feature[j])));
		start[i] = at;
	}
	start[MADE_CTX] = MADE_CTX * MADE_L0;
	return store_index_context(
	        ix, &(store_context){ tokens, MADE_CTX, number, number, NULL, start, feature, value }, err);
}

/* ---- What else a feature has ---------------------------------------------------------------------------------------------------- */

static int give_vocabulary(store_index *ix, const sae_tokenizer *t, error *err)
{
	uint32_t n = sae_tokenizer_size(t), *length = calloc(n, sizeof(*length));
	const char **bytes = calloc(n, sizeof(*bytes));
	int rc = length && bytes ? 0 : error_nomem(err, "a vocabulary");

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		size_t len = 0;

		bytes[i] = sae_tokenizer_bytes(t, i, &len);
		length[i] = (uint32_t)len;
	}
	if (rc == 0)
		rc = store_index_vocab(ix, sae_tokenizer_sha256(t), n, bytes, length, err);
	free(length);
	free(bytes);
	return rc;
}

static int give_directions(store_index *ix, const made_store *m, error *err)
{
	size_t n = (size_t)m->features * m->d_in;
	float *decoder = malloc(n * sizeof(*decoder));
	int rc;

	if (!decoder)
		return error_nomem(err, "a decoder");
	for (size_t i = 0; i < n; i++)
		decoder[i] = (float)(hash64_unit(hash64_mix(11, i)) - 0.5);
	rc = store_index_decoder(ix, decoder, err);
	free(decoder);
	return rc;
}

static int give_ranked(store_index *ix, const made_store *m, char kind, uint32_t below, error *err)
{
	size_t n = (size_t)m->features * RANKED;
	uint32_t *ids = malloc(n * sizeof(*ids));
	float *values = malloc(n * sizeof(*values));
	int rc = ids && values ? 0 : error_nomem(err, "neighbours");

	for (size_t i = 0; i < n && rc == 0; i++) {
		ids[i] = (uint32_t)hash64_below(hash64_mix((uint64_t)kind, i), below);
		values[i] =
		        (float)(0.9 - 0.05 * (double)(i % RANKED) - 0.01 * hash64_unit(hash64_mix(12, i)));
	}
	if (rc == 0)
		rc = store_index_ranked(ix, kind, RANKED, ids, values, err);
	free(ids);
	free(values);
	return rc;
}

static int give_logits(store_index *ix, const made_store *m, uint32_t vocabulary, error *err)
{
	int rc = give_ranked(ix, m, 't', vocabulary, err);

	if (rc == 0)
		rc = give_ranked(ix, m, 'b', vocabulary, err);
	for (uint32_t f = 0; f < m->features && rc == 0; f++) {
		uint32_t counts[LOGIT_BINS];

		for (uint32_t i = 0; i < LOGIT_BINS; i++)
			counts[i] = (uint32_t)(vocabulary / 8.0 *
			                       exp(-0.5 * (i - 24.5) * (i - 24.5) / (50 + f % 20)));
		rc = store_index_logits(ix, f, -0.8f, 0.9f, LOGIT_BINS, counts, err);
	}
	return rc;
}

/* Labels of a few words; scores by SQL, since they come from jobs otherwise. */
static int give_labels(store *s, const char *path, const made_store *m, error *err)
{
	static const char *const words[] = { "months",     "names of", "after a comma", "numbers in",
		                             "verbs that", "places",   "French",        "the start of" };
	size_t n = m->features / 2, bad;
	store_label *labels = calloc(n, sizeof(*labels));
	char(*texts)[64] = calloc(n, sizeof(*texts));
	sqlite3 *db = NULL;
	int rc = labels && texts ? 0 : error_nomem(err, "labels");

	for (size_t i = 0; i < n && rc == 0; i++) {
		snprintf(texts[i], sizeof(texts[i]), "%s %s %zu", words[hash64_below(hash64_mix(13, i), 8)],
		         words[hash64_below(hash64_mix(14, i), 8)], i % 97);
		labels[i] = (store_label){ (uint32_t)(2 * i), texts[i] };
	}
	if (rc == 0)
		rc = store_labels_add(&bad, s, NULL, labels, n, err);
	if (rc == 0 &&
	    (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
	     sqlite3_exec(db,
	                  "INSERT INTO score(explanation_id, scorer, judge, value, low, high, "
	                  "baseline, n_positive, n_negative, n_failed, details, created) "
	                  "SELECT id, 'detection', 'lexical', 0.5 + id * 7919 % 1000 / 2000.0, 0.4, 1, "
	                  "0.5, 20, 20, 0, '{}', created FROM explanation WHERE feature % 4 = 0",
	                  NULL, NULL, NULL) != SQLITE_OK))
		rc = error_set(err, ERR_IO, "cannot score labels in '%s': %s", path, sqlite3_errmsg(db));
	sqlite3_close(db);
	free(labels);
	free(texts);
	return rc;
}

/* ---- All of it --------------------------------------------------------------------------------------------------------------- */

static int index_all(store *s, const made_store *m, const corpus *c, const sae_tokenizer *t, made_times *out,
                     error *err)
{
	store_index_opts o = store_index_opts_default();
	store_index *ix = NULL;
	double began = clock_now();
	int rc;

	o.source = "made";
	o.architecture = "topk";
	o.d_in = m->d_in;
	o.n_features = m->features;
	o.k = MADE_L0;
	o.weights_sha256 = o.dump_sha256 = "made by bench_store";
	o.corpus = true;
	rc = store_index_begin(&ix, s, &o, err);
	if (rc == 0)
		rc = give_vocabulary(ix, t, err);
	for (uint64_t i = 0; i < m->tokens / MADE_CTX && rc == 0; i++)
		rc = add_context(ix, m, c, i, err);
	out->pass = clock_now() - began;
	if (rc == 0)
		rc = give_directions(ix, m, err);
	if (rc == 0)
		rc = give_ranked(ix, m, 'n', m->features, err);
	if (rc == 0)
		rc = give_logits(ix, m, c->vocabulary, err);
	if (rc == 0)
		rc = store_index_finish(ix, NULL, NULL, err);
	else
		store_index_abort(ix);
	out->all = clock_now() - began;
	return rc;
}

int made_store_write(made_times *out, const char *path, const made_store *m, error *err)
{
	const char *folder = getenv("GLOSS_DATA");
	char file[FILE_PATH_MAX];
	sae_tokenizer *t = NULL;
	store *s = NULL;
	corpus c = { 0 };
	struct stat st;
	int rc;

	if (stat(path, &st) == 0)
		return error_set(err, ERR_EXISTS, "'%s' is there already", path);
	folder = folder && *folder ? folder : "demo/data";
	rc = file_join(file, folder, "tokenizer.json", err);
	if (rc == 0)
		rc = sae_tokenizer_load(&t, file, err);
	if (rc < 0)
		return rc;
	c.vocabulary = sae_tokenizer_size(t);
	rc = corpus_read(&c, folder, err);
	if (rc == 0)
		rc = store_open(&s, path, STORE_CREATE, err);
	if (rc == 0)
		rc = index_all(s, m, &c, t, out, err);
	if (rc == 0)
		rc = give_labels(s, path, m, err);
	store_close(s);
	sae_tokenizer_free(t);
	corpus_clear(&c);
	return rc;
}
