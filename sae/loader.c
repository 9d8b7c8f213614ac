/* Batches in shuffled order, read ahead by a thread. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "sae/shuffle.h"

/* A group in memory, whole or in part. */
typedef struct held_group {
	shuffle_group g;
	uint64_t *blocks;       /* (s.group) */
	uint64_t blocks_loaded; /* of them */
	uint64_t rows_loaded;
	float *rows; /* (rows of a group, d) */
} held_group;

struct loader {
	const sae_dump *dump;
	const sae_rows *rows;
	shuffle s;
	uint32_t batch, d;
	held_group held[2]; /* the one rows are taken from, and the next */
	held_group *now, *then;
	uint64_t position; /* of the next row to take */
	float *slots[2];   /* (batch, d): the caller's, and the one being filled */
	unsigned filling;  /* which slot the thread fills */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool wanted, ready, ending;
	int rc; /* of the last fill; stays when it failed */
	error err;
};

/* ---- The thread's side ------------------------------------------------------------------------------------------------ */

/* Training rows first..first+n-1 behind those loaded; rows that follow each other in the dump in one read. */
static int load_rows(loader *l, held_group *h, uint64_t first, uint64_t n, error *err)
{
	int rc = 0;

	for (uint64_t i = 0; i < n && rc == 0;) {
		uint64_t row = sae_rows_at(l->rows, false, first + i), run = 1;

		while (i + run < n && sae_rows_at(l->rows, false, first + i + run) == row + run)
			run++;
		rc = sae_dump_read(l->dump, row, run, h->rows + h->rows_loaded * l->d, err);
		h->rows_loaded += run;
		i += run;
	}
	return rc;
}

static int load_blocks(loader *l, held_group *h, uint64_t n_blocks, error *err)
{
	int rc = 0;

	for (; n_blocks && h->blocks_loaded < h->g.n_blocks && rc == 0; n_blocks--) {
		uint64_t first = h->blocks[h->blocks_loaded++] * l->s.block;
		uint64_t n = l->s.n - first < l->s.block ? l->s.n - first : l->s.block;

		rc = load_rows(l, h, first, n, err);
	}
	return rc;
}

static void begin_group(loader *l, held_group *h, uint64_t position)
{
	shuffle_group_of(&h->g, &l->s, position);
	shuffle_group_blocks(&h->g, &l->s, h->blocks);
	h->blocks_loaded = 0;
	h->rows_loaded = 0;
}

static uint64_t group_end(const loader *l, const held_group *h)
{
	return h->g.pass * l->s.n + h->g.first + h->g.n;
}

/* Make l->now the group that holds l->position. */
static int turn_to_position(loader *l, error *err)
{
	held_group *before = l->now;
	int rc;

	if (l->s.n_groups == 1) { /* the same rows in memory in every pass */
		shuffle_group_of(&l->now->g, &l->s, l->position);
		return 0;
	}
	rc = load_blocks(l, l->then, l->then->g.n_blocks, err);
	l->now = l->then;
	l->then = before;
	begin_group(l, l->then, group_end(l, l->now));
	return rc;
}

static int fill(loader *l, float *x, error *err)
{
	size_t row_bytes = l->d * sizeof(float);
	int rc = 0;

	for (uint32_t i = 0; i < l->batch && rc == 0; i++, l->position++) {
		uint64_t place;

		if (l->position >= group_end(l, l->now))
			rc = turn_to_position(l, err);
		place = l->position - l->now->g.pass * l->s.n - l->now->g.first;
		memcpy(x + (size_t)i * l->d, l->now->rows + shuffle_group_row(&l->now->g, place) * l->d,
		       row_bytes);
	}
	if (rc == 0 && l->s.n_groups > 1)
		rc = load_blocks(l, l->then, l->then->g.n_blocks * l->batch / l->now->g.n + 1, err);
	return rc;
}

static void *run(void *payload)
{
	loader *l = payload;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		error err = { 0 };
		int rc;

		while (!l->wanted && !l->ending)
			pthread_cond_wait(&l->changed, &l->lock);
		if (l->ending)
			break;
		l->wanted = false;
		pthread_mutex_unlock(&l->lock);
		rc = fill(l, l->slots[l->filling], &err);
		pthread_mutex_lock(&l->lock);
		l->rc = rc;
		l->err = err;
		l->ready = true;
		pthread_cond_broadcast(&l->changed);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* ---- The caller's side ------------------------------------------------------------------------------------------------- */

static int held_init(held_group *h, const loader *l, error *err)
{
	h->blocks = mem_alloc_aligned(l->s.group, sizeof(*h->blocks));
	h->rows = mem_alloc_aligned(shuffle_group_rows(&l->s), l->d * sizeof(float));
	return h->blocks && h->rows ? 0 : error_nomem(err, "rows read ahead");
}

static int buffers_init(loader *l, uint64_t position, error *err)
{
	int rc = held_init(&l->held[0], l, err);

	if (rc == 0 && l->s.n_groups > 1)
		rc = held_init(&l->held[1], l, err);
	l->now = &l->held[0];
	l->then = &l->held[1];
	l->position = position;
	for (size_t i = 0; i < 2; i++) {
		l->slots[i] = mem_alloc_aligned(l->batch, l->d * sizeof(float));
		if (!l->slots[i] && rc == 0)
			rc = error_nomem(err, "a batch");
	}
	if (rc < 0)
		return rc;
	begin_group(l, l->now, position);
	if (l->s.n_groups > 1)
		begin_group(l, l->then, group_end(l, l->now));
	return load_blocks(l, l->now, l->now->g.n_blocks, err);
}

int loader_new(loader **out, const sae_dump *d, const sae_rows *rows, const shuffle *s, uint32_t batch,
               uint64_t position, error *err)
{
	loader *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return error_nomem(err, "a loader");
	*l = (loader){ .dump = d,
		       .rows = rows,
		       .s = *s,
		       .batch = batch,
		       .d = sae_dump_get_info(d)->d_in,
		       .wanted = true };
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	rc = buffers_init(l, position, err);
	if (rc < 0)
		goto out;
	rc = pthread_create(&l->thread, NULL, run, l);
	if (rc != 0) {
		rc = error_errno(err, rc, "cannot start a thread");
		goto out;
	}
	l->started = true;
	*out = l;
	l = NULL;
out:
	loader_free(l);
	return rc;
}

void loader_free(loader *l)
{
	if (!l)
		return;
	if (l->started) {
		pthread_mutex_lock(&l->lock);
		l->ending = true;
		pthread_cond_broadcast(&l->changed);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->thread, NULL);
	}
	for (size_t i = 0; i < 2; i++) {
		free(l->held[i].blocks);
		free(l->held[i].rows);
		free(l->slots[i]);
	}
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->changed);
	free(l);
}

int loader_next(loader *l, float **x, error *err)
{
	int rc;

	pthread_mutex_lock(&l->lock);
	while (!l->ready)
		pthread_cond_wait(&l->changed, &l->lock);
	rc = l->rc;
	if (rc < 0) {
		if (err)
			*err = l->err;
	} else {
		*x = l->slots[l->filling];
		l->filling = !l->filling;
		l->ready = false;
		l->wanted = true;
		pthread_cond_broadcast(&l->changed);
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}
