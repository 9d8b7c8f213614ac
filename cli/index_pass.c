/* The pass of gloss index: codes come from a feed, contexts go to the index. The feed takes the pool; adding what came before runs
 * beside it on a thread of its own. */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli/index_pass.h"

/* Some contexts on their way. */
typedef struct batch {
	uint64_t first; /* context */
	uint32_t n;     /* contexts */
	size_t *at;     /* (per_batch + 1): where the rows of each begin */
	sae_codes codes;
} batch;

typedef struct pass {
	const index_pass_job *job;
	const index_feed *feed;
	const index_documents *docs;
	uint32_t ctx_len;
	/* One context as the index takes it. */
	uint32_t *tokens, *start;
	uint8_t *counted;
	/* The thread that adds. */
	batch *adding;
	error adding_err;
	int adding_rc;
	index_pass_stats *stats;
} pass;

static int check_tokens(const pass *p, uint64_t context, uint32_t n, error *err)
{
	uint32_t size = p->job->n_vocab;

	for (uint32_t i = 0; i < n; i++) {
		if (p->tokens[i] >= size)
			return error_set(err, ERR_FORMAT,
			                 "token id %u (context %llu, position %u) is beyond the vocabulary "
			                 "of %u ids: is the"
			                 " tokenizer the dump's?",
			                 p->tokens[i], (unsigned long long)context, i, size);
	}
	return 0;
}

/* Codes of context number i of the batch, without those of rows that were left out: they are closed up where they lie.
 * Fills p->counted and p->start; returns where the context's codes begin. */
static int close_up(pass *p, batch *b, uint32_t i, size_t *begin, error *err)
{
	const size_t *first = b->codes.first + b->at[i];
	size_t end = first[0];
	uint64_t row;
	uint32_t n_rows = index_feed_context(p->feed, b->first + i, &row);

	if (first[n_rows] - first[0] > UINT32_MAX)
		return error_set(err, ERR_LIMIT,
		                 "context %" PRIu64 " has %zu firings, more than an index can hold",
		                 b->first + i, first[n_rows] - first[0]);
	for (uint32_t t = 0; t < n_rows; t++) {
		size_t n = first[t + 1] - first[t];

		p->start[t] = (uint32_t)(end - first[0]);
		p->counted[t] = p->feed->counts(p->feed->payload, row + t);
		if (!p->counted[t])
			continue;
		if (end != first[t]) {
			memmove(b->codes.index + end, b->codes.index + first[t], n * sizeof(*b->codes.index));
			memmove(b->codes.value + end, b->codes.value + first[t], n * sizeof(*b->codes.value));
		}
		end += n;
	}
	p->start[n_rows] = (uint32_t)(end - first[0]);
	*begin = first[0];
	return 0;
}

/* Context number i of the batch to where it goes. */
static int add_context(pass *p, batch *b, uint32_t i, error *err)
{
	uint64_t context = b->first + i;
	store_context c = { .tokens = p->tokens,
		            .n_tokens = (uint32_t)(b->at[i + 1] - b->at[i]),
		            .document = p->docs->document[context],
		            .group = p->docs->group[context],
		            .counted = p->counted,
		            .start = p->start };
	size_t begin = 0;
	int rc = p->feed->tokens(p->feed->payload, context, p->tokens, err);

	if (rc == 0)
		rc = check_tokens(p, context, c.n_tokens, err);
	if (rc == 0)
		rc = close_up(p, b, i, &begin, err);
	if (rc < 0)
		return rc;
	c.feature = b->codes.index + begin;
	c.value = b->codes.value + begin;
	return p->job->add(p->job->payload, &c, err);
}

static void *add_batch(void *payload)
{
	pass *p = payload;
	double before = clock_now();

	for (uint32_t i = 0; i < p->adding->n && p->adding_rc == 0; i++)
		p->adding_rc = add_context(p, p->adding, i, &p->adding_err);
	p->stats->add_seconds += clock_now() - before;
	return NULL;
}

static int allocate(pass *p, batch batches[2], arena *mem, error *err)
{
	for (int i = 0; i < 2; i++) {
		batches[i].at = arena_alloc(mem, (size_t)p->feed->per_batch + 1, sizeof(*batches[i].at));
		if (!batches[i].at)
			return error_nomem(err, "a batch of contexts");
	}
	p->tokens = arena_alloc(mem, p->ctx_len, sizeof(*p->tokens));
	p->start = arena_alloc(mem, (size_t)p->ctx_len + 1, sizeof(*p->start));
	p->counted = arena_alloc(mem, p->ctx_len, 1);
	return p->tokens && p->start && p->counted ? 0 : error_nomem(err, "a batch of contexts");
}

/* The codes of one batch while the one before is added. */
static int run_batch(pass *p, batch *b, batch *before, error *err)
{
	pthread_t adder;
	double started, read = 0;
	bool threaded;
	int rc;

	p->adding = before;
	threaded = before && pthread_create(&adder, NULL, add_batch, p) == 0;
	started = clock_now();
	rc = p->feed->codes(p->feed->payload, b->first, b->n, &b->codes, &read, err);
	p->stats->read_seconds += read;
	p->stats->encode_seconds += clock_now() - started - read;
	if (threaded)
		pthread_join(adder, NULL);
	else if (before)
		add_batch(p);
	if (rc == 0 && p->adding_rc < 0) {
		rc = p->adding_rc;
		*err = p->adding_err;
	}
	return rc;
}

static int run_batches(pass *p, batch batches[2], progress *pr, error *err)
{
	uint64_t n = p->feed->n_contexts, tokens = 0;
	uint32_t per_batch = p->feed->per_batch;
	batch *before = NULL;
	int rc = 0, turn = 0;

	for (uint64_t c = 0; c < n && rc == 0; c += per_batch) {
		batch *b = &batches[turn];

		if (p->job->batches && !p->job->batches[c / per_batch])
			continue;
		if (cli_stop_requested())
			return error_set(err, ERR_STOPPED, "stopped; the store is as it was before");
		b->first = c;
		b->n = n - c < per_batch ? (uint32_t)(n - c) : per_batch;
		for (uint32_t i = 0; i < b->n; i++)
			b->at[i + 1] = b->at[i] + index_feed_context(p->feed, c + i, &(uint64_t){ 0 });
		rc = run_batch(p, b, before, err);
		tokens += b->at[b->n];
		progress_update(pr, tokens, NULL);
		before = b;
		turn = !turn;
	}
	if (rc == 0 && before) { /* the last one */
		p->adding = before;
		add_batch(p);
		rc = p->adding_rc;
		if (rc < 0)
			*err = p->adding_err;
	}
	return rc;
}

int index_pass(const index_pass_job *job, const index_feed *feed, const index_documents *docs,
               index_pass_stats *stats, progress *pr, error *err)
{
	pass p = { .job = job, .feed = feed, .docs = docs, .ctx_len = feed->ctx_len, .stats = stats };
	batch batches[2] = { 0 };
	arena mem = ARENA_INIT;
	int rc = allocate(&p, batches, &mem, err);

	if (rc == 0)
		rc = run_batches(&p, batches, pr, err);
	sae_codes_free(&batches[0].codes);
	sae_codes_free(&batches[1].codes);
	arena_clear(&mem);
	return rc;
}

int index_pass_add(void *ix, const store_context *c, error *err)
{
	return store_index_context(ix, c, err);
}
