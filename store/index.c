/* The index pass: contexts come in, the state of features.c and the side database grow. */
#include "store/content.h"
#include "store/index_internal.h"

#include <assert.h>
#include <math.h>

enum { MAX_BLOB = 1 << 30 };
static const uint64_t random_seed = 0x72616e646f6d; /* "random": which contexts keep all firings */
static const uint64_t seen_seed = 0x7365656e;       /* "seen" */
enum { SEEN_BITS = 21 };

store_index_opts store_index_opts_default(void)
{
	return (store_index_opts){ .kind = "sae",
		                   .layer = -1,
		                   .norm_limit = INFINITY,
		                   .n_top = 24,
		                   .n_samples = 160,
		                   .spill_memory = 32u << 20,
		                   .n_random = 512,
		                   .before = 47,
		                   .after = 16 };
}

static int check_opts(const store_index_opts *o, error *err)
{
	static const char *const wanted = "cannot index: %s must be %s";

	if (!o->source || !o->source[0])
		return error_set(err, ERR_ARG, wanted, "the name of the source", "given");
	if (!o->architecture || !o->weights_sha256 || !o->dump_sha256)
		return error_set(err, ERR_ARG, wanted, "architecture and hashes", "given");
	if (strcmp(o->kind, "sae") != 0 && strcmp(o->kind, "neurons") != 0 && strcmp(o->kind, "codes") != 0)
		return error_set(err, ERR_ARG, wanted, "the kind", "'sae', 'neurons' or 'codes'");
	if ((o->d_in == 0 && strcmp(o->kind, "codes") != 0) || o->n_features == 0)
		return error_set(err, ERR_ARG, wanted, "d_in and n_features", "over 0");
	if (strcmp(o->kind, "neurons") == 0 && o->n_features != o->d_in &&
	    o->n_features != 2 * (uint64_t)o->d_in)
		return error_set(err, ERR_ARG, wanted, "neurons", "d_in or twice as many");
	if (o->n_top > 65535)
		return error_set(err, ERR_ARG, wanted, "n_top", "at most 65535");
	if (o->n_samples > FEATURES_MAX_SAMPLES)
		return error_set(err, ERR_ARG, wanted, "n_samples", "at most 1000");
	if ((uint64_t)o->before + o->after > 65534)
		return error_set(err, ERR_ARG, wanted, "a window", "at most 65535 tokens long");
	return 0;
}

/* The options outlive the caller's strings. */
static int copy_strings(store_index *ix)
{
	const char **all[] = { &ix->o.source,      &ix->o.kind,       &ix->o.architecture,
		               &ix->o.model,       &ix->o.hook_point, &ix->o.weights_sha256,
		               &ix->o.dump_sha256, &ix->o.config,     &ix->o.argv };

	if (!ix->o.config)
		ix->o.config = "{}";
	if (!ix->o.argv)
		ix->o.argv = "[]";
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (*all[i])
			*all[i] = arena_strdup(&ix->mem, *all[i]);
		if (!*all[i] && all[i] != &ix->o.model && all[i] != &ix->o.hook_point)
			return ERR_NOMEM;
	}
	return 0;
}

static int allocate(store_index *ix, error *err)
{
	const store_index_opts *o = &ix->o;
	char path[FILE_PATH_MAX + 16];
	int rc = copy_strings(ix);

	if (rc < 0)
		return error_nomem(err, "an index");
	snprintf(path, sizeof(path), "%s.part-windows", ix->s->path);
	rc = features_init(&ix->fs, o->n_features, o->n_top, o->n_samples, o->before, o->after, &ix->words,
	                   path, o->spill_memory, err);
	if (rc < 0)
		return rc;
	text_init(&ix->tokens, MAX_BLOB);
	text_init(&ix->counted, MAX_BLOB);
	text_init(&ix->codes, MAX_BLOB);
	ix->count = calloc(o->n_features, sizeof(*ix->count));
	ix->place = calloc(o->n_features, sizeof(*ix->place));
	ix->touched = calloc(o->n_features, sizeof(*ix->touched));
	ix->random = calloc((size_t)o->n_random + 1, sizeof(*ix->random));
	ix->seen = calloc((1u << SEEN_BITS) / 8, 1);
	if (!ix->seen || !ix->count || !ix->place || !ix->touched || !ix->random)
		return error_nomem(err, "an index");
	return 0;
}

int store_index_begin(store_index **out, store *s, const store_index_opts *o, error *err)
{
	store_index *ix;
	int rc = check_opts(o, err);

	if (rc < 0)
		return rc;
	if (!s->writable || strcmp(s->path, ":memory:") == 0)
		return error_set(err, ERR_ARG, "cannot index into '%s': it is not a file open for writing",
		                 s->path);
	ix = calloc(1, sizeof(*ix));
	if (!ix)
		return error_nomem(err, "an index");
	ix->s = s;
	ix->o = *o;
	ix->sd.lock = -1;
	rc = allocate(ix, err);
	if (rc == 0)
		rc = index_check_name(ix, err);
	if (rc == 0)
		rc = side_open(&ix->sd, s->path, err);
	if (rc < 0) {
		store_index_abort(ix);
		return rc;
	}
	*out = ix;
	return 0;
}

void store_index_abort(store_index *ix)
{
	if (!ix)
		return;
	side_remove(&ix->sd);
	features_clear(&ix->fs);
	vocab_clear(&ix->words);
	text_free(&ix->tokens);
	text_free(&ix->counted);
	text_free(&ix->codes);
	for (int i = 0; i < RANKED_KINDS; i++) {
		free(ix->ranked[i].ids);
		free(ix->ranked[i].values);
	}
	free(ix->norms);
	free(ix->random);
	free(ix->seen);
	free(ix->count);
	free(ix->place);
	free(ix->touched);
	free(ix->position);
	free(ix->value);
	free(ix->position_hash);
	free(ix->window_hash);
	arena_clear(&ix->mem);
	free(ix);
}

int store_index_vocab(store_index *ix, const char *digest, uint32_t n, const char *const *bytes,
                      const uint32_t *length, error *err)
{
	assert(ix->n_contexts == 0 && n > 0);
	ix->words_seed = content_seed(digest);
	return vocab_set(&ix->words, digest, n, bytes, length, err);
}

/* ---- One context ---- */

static bool counts(const store_context *c, uint32_t token)
{
	return !c->counted || c->counted[token];
}

static int check_tokens(const store_index *ix, const store_context *c, error *err)
{
	for (uint32_t i = 0; i < c->n_tokens && ix->words.n > 0; i++) {
		if (c->tokens[i] >= ix->words.n)
			return error_set(err, ERR_FORMAT,
			                 "context %llu, position %u: token %u is beyond the vocabulary of %u",
			                 (unsigned long long)ix->n_contexts, i, c->tokens[i], ix->words.n);
	}
	return 0;
}

static int check_codes(const store_index *ix, const store_context *c, error *err)
{
	for (uint32_t i = 0; i < c->n_tokens; i++) {
		assert(c->start[i] <= c->start[i + 1]);
		assert(counts(c, i) || c->start[i] == c->start[i + 1]);
		for (uint32_t j = c->start[i]; j < c->start[i + 1]; j++) {
			uint32_t f = c->feature[j];

			if (f >= ix->o.n_features || (j > c->start[i] && f <= c->feature[j - 1]))
				return error_set(
				        err, ERR_FORMAT,
				        "context %llu, position %u: feature %u is out of order or range",
				        (unsigned long long)ix->n_contexts, i, f);
			if (!(c->value[j] > 0) || !isfinite(c->value[j]))
				return error_set(err, ERR_FORMAT,
				                 "context %llu, position %u: feature %u has the value %g",
				                 (unsigned long long)ix->n_contexts, i, f,
				                 (double)c->value[j]);
		}
	}
	return 0;
}

/* The blobs of a context, and its id from them. */
static int describe(int64_t *id, store_index *ix, const store_context *c, error *err)
{
	if (content_blobs(&ix->tokens, &ix->counted, c) < 0)
		return error_nomem(err, "a context");
	*id = content_id(ix->words_seed, c->document, ix->tokens.data, ix->tokens.len);
	return 0;
}

bool index_offer_random(store_index *ix, int64_t id)
{
	random_context r = { hash64_mix(random_seed, (uint64_t)id), id };
	uint32_t i = ix->n_random;

	while (i > 0 && ix->random[i - 1].hash > r.hash)
		i--;
	if (i > 0 && ix->random[i - 1].id == id)
		return true;
	if (i == ix->o.n_random)
		return false;
	if (ix->n_random == ix->o.n_random)
		ix->n_random--;
	memmove(ix->random + i + 1, ix->random + i, (ix->n_random - i) * sizeof(r));
	ix->random[i] = r;
	ix->n_random++;
	return true;
}

/* Turn the firings feature by feature: positions and values of touched[t] begin at its place. */
static int transpose(store_index *ix, const store_context *c, int64_t id, error *err)
{
	uint32_t first = c->start[0], n = c->start[c->n_tokens] - first, place = 0;

	if (mem_grow(&ix->position, &ix->position_cap, n, sizeof(*ix->position)) < 0 ||
	    mem_grow(&ix->value, &ix->value_cap, n, sizeof(*ix->value)) < 0 ||
	    mem_grow(&ix->position_hash, &ix->hash_cap, c->n_tokens, sizeof(*ix->position_hash)) < 0 ||
	    mem_grow(&ix->window_hash, &ix->window_cap, c->n_tokens, sizeof(*ix->window_hash)) < 0)
		return error_nomem(err, "the codes of a context");
	memset(ix->window_hash, 0, c->n_tokens * sizeof(*ix->window_hash));
	ix->n_touched = 0;
	for (uint32_t j = first; j < first + n; j++) {
		if (ix->count[c->feature[j]]++ == 0)
			ix->touched[ix->n_touched++] = c->feature[j];
	}
	for (uint32_t t = 0; t < ix->n_touched; t++) {
		ix->place[ix->touched[t]] = place;
		place += ix->count[ix->touched[t]];
	}
	for (uint32_t i = 0; i < c->n_tokens; i++) {
		ix->position_hash[i] = hash64_mix((uint64_t)id, i);
		for (uint32_t j = c->start[i]; j < c->start[i + 1]; j++) {
			uint32_t at = ix->place[c->feature[j]]++;

			ix->position[at] = i;
			ix->value[at] = c->value[j];
		}
	}
	return 0;
}

/* Whether a context of this id may have come before: a Bloom filter. A wrong yes costs a little time, nothing else. */
static bool seen_before(store_index *ix, int64_t id)
{
	uint64_t h = hash64_mix(seen_seed, (uint64_t)id);
	bool all = true;

	for (int i = 0; i < 3; i++, h >>= SEEN_BITS) {
		uint64_t bit = h & ((1u << SEEN_BITS) - 1);

		all = all && (ix->seen[bit / 8] >> bit % 8 & 1);
		ix->seen[bit / 8] |= (uint8_t)(1 << bit % 8);
	}
	return all;
}

static int add_features(store_index *ix, const store_context *c, int64_t id, bool *kept, error *err)
{
	run_context rc_context = { .id = id,
		                   .n_tokens = c->n_tokens,
		                   .again = seen_before(ix, id),
		                   .tokens = c->tokens,
		                   .position_hash = ix->position_hash,
		                   .window_hash = ix->window_hash };
	int rc = 0;

	for (uint32_t t = 0; t < ix->n_touched && rc == 0; t++) {
		uint32_t f = ix->touched[t], n = ix->count[f], at = ix->place[f] - n;
		run r = { .feature = f, .n = n, .position = ix->position + at, .value = ix->value + at };

		if (t + 12 < ix->n_touched)
			features_prefetch(&ix->fs, ix->touched[t + 12]);
		if (t + 6 < ix->n_touched)
			features_prefetch_values(&ix->fs, ix->touched[t + 6]);
		ix->count[f] = 0;
		rc = features_add(&ix->fs, &rc_context, &r, kept, err);
	}
	return rc;
}

static int write_side(store_index *ix, const store_context *c, int64_t id, bool firings, error *err)
{
	side *sd = &ix->sd;
	int rc = store_bind(&sd->file, sd->add_context, err, "iiib", id, (int64_t)c->document,
	                    (int64_t)c->group, ix->tokens.data, ix->tokens.len);

	if (rc == 0)
		rc = store_run(&sd->file, sd->add_context, err);
	if (rc < 0 || !firings)
		return rc;
	text_clear(&ix->codes);
	rc = store_codes_encode(&ix->codes, ix->o.n_features, c->n_tokens, c->start, c->feature, c->value,
	                        err);
	if (rc == 0)
		rc = store_bind(&sd->file, sd->add_firing, err, "ibb", id, ix->counted.data, ix->counted.len,
		                ix->codes.data, ix->codes.len);
	return rc == 0 ? store_run(&sd->file, sd->add_firing, err) : rc;
}

int store_index_context(store_index *ix, const store_context *c, error *err)
{
	bool firings, kept = false;
	int64_t id = 0;
	int rc;

	assert(!ix->failed && c->n_tokens > 0);
	rc = check_tokens(ix, c, err);
	if (rc == 0)
		rc = check_codes(ix, c, err);
	if (rc == 0)
		rc = describe(&id, ix, c, err);
	if (rc == 0)
		rc = transpose(ix, c, id, err);
	if (rc == 0)
		rc = add_features(ix, c, id, &kept, err);
	if (rc == 0) {
		firings = index_offer_random(ix, id) || ix->o.corpus;
		if (firings || kept)
			rc = write_side(ix, c, id, firings, err);
	}
	ix->failed = rc < 0; /* half a context may be in: nothing but abort is left */
	ix->n_contexts++;
	ix->n_firings += c->start[c->n_tokens] - c->start[0];
	for (uint32_t i = 0; i < c->n_tokens; i++)
		ix->n_tokens += counts(c, i);
	return rc;
}

/* ---- What comes with the features ---- */

int store_index_decoder(store_index *ix, const float *decoder, error *err)
{
	uint32_t d = ix->o.d_in;
	unsigned char *halves = malloc((size_t)d * 2);
	int rc = 0;

	if (!ix->norms)
		ix->norms = calloc(ix->o.n_features, sizeof(*ix->norms));
	if (!halves || !ix->norms)
		rc = error_nomem(err, "the decoder");
	for (uint32_t f = 0; f < ix->o.n_features && rc == 0; f++) {
		const float *row = decoder + (size_t)f * d;
		double squares = 0;

		for (uint32_t i = 0; i < d; i++) {
			uint16_t half = store_half_from_float(row[i]);

			squares += (double)row[i] * row[i];
			halves[2 * i] = (unsigned char)half;
			halves[2 * i + 1] = (unsigned char)(half >> 8);
		}
		ix->norms[f] = sqrt(squares);
		rc = store_bind(&ix->sd.file, ix->sd.add_vector, err, "ib", (int64_t)f, halves,
		                (size_t)d * 2);
		if (rc == 0)
			rc = store_run(&ix->sd.file, ix->sd.add_vector, err);
	}
	free(halves);
	ix->failed |= rc < 0;
	return rc;
}

int store_index_ranked(store_index *ix, char kind, uint32_t n, const uint32_t *ids, const float *values,
                       error *err)
{
	ranked *r = &ix->ranked[kind == 't' ? RANKED_TOP : kind == 'b' ? RANKED_BOTTOM : RANKED_NEIGHBOURS];
	size_t all = (size_t)ix->o.n_features * n;

	assert(kind == 't' || kind == 'b' || kind == 'n');
	free(r->ids);
	free(r->values);
	*r = (ranked){ .n = n,
		       .ids = malloc((all + 1) * sizeof(*ids)),
		       .values = malloc((all + 1) * sizeof(*values)) };
	if (!r->ids || !r->values) {
		ix->failed = true;
		return error_nomem(err, "the neighbours of features");
	}
	if (all > 0) {
		memcpy(r->ids, ids, all * sizeof(*ids));
		memcpy(r->values, values, all * sizeof(*values));
	}
	return 0;
}

int store_index_logits(store_index *ix, uint32_t id, float low, float high, uint32_t n,
                       const uint32_t *counts, error *err)
{
	text json;
	int rc;

	assert(id < ix->o.n_features);
	text_init(&json, 1 << 16);
	if (!ix->logits)
		ix->logits = arena_alloc(&ix->mem, ix->o.n_features, sizeof(*ix->logits));
	rc = ix->logits
	             ? text_addf(&json, "{\"low\":%.9g,\"high\":%.9g,\"counts\":[", (double)low, (double)high)
	             : ERR_NOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = text_addf(&json, "%s%u", i ? "," : "", counts[i]);
	if (rc == 0)
		rc = text_adds(&json, "]}");
	if (rc == 0) {
		ix->logits[id] = arena_strdup(&ix->mem, json.data);
		rc = ix->logits[id] ? 0 : ERR_NOMEM;
	}
	text_free(&json);
	ix->failed |= rc < 0;
	return rc < 0 ? error_nomem(err, "histograms of logits") : 0;
}

int store_index_finish(store_index *ix, store_index_result *out, progress *pr, error *err)
{
	int rc;

	if (ix->failed)
		rc = error_set(err, ERR_ARG, "the index of '%s' cannot be finished: a part of it failed",
		               ix->o.source);
	else
		rc = side_seal(&ix->sd, err);
	if (rc == 0)
		rc = index_write(out, ix, pr, err);
	firing_cache_drop(ix->s);
	store_index_abort(ix);
	return rc;
}
