/* Batches in shuffled order, read ahead by a thread.
 *
 * Rows are held as the dump's files hold them and become F32 when they enter a batch. There is memory for the rows of one
 * group and little more: a row that is taken leaves its place to a row of the next group, so that one is read at the pace
 * at which the other is used up. Of what is read soon the system is told before, and where the dump is larger than memory
 * also of what will not be read again for long. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sae/dump_internal.h"
#include "sae/shuffle.h"

#define READ_BYTES  (UINT64_C(1) << 20)  /* of one read at most, unless one row is longer */
#define AHEAD_BYTES (UINT64_C(16) << 20) /* announced to the system before they are read */
#define GAP_BYTES   (UINT64_C(64) << 10) /* left-out rows of so many bytes are read rather than stepped over */

/* A group of which some rows, the first in file order, have been read. */
typedef struct held_group {
	shuffle_group g;
	uint64_t *blocks;   /* (s.group) */
	uint64_t block;     /* the block of the next row to read, */
	uint64_t in_block;  /* and its place in it */
	uint64_t announced; /* blocks */
	uint64_t rows_read;
	uint32_t *where; /* (rows of a group): place in memory of each that was read */
} held_group;

struct loader {
	const sae_dump *dump;
	const sae_rows *rows;
	shuffle s;
	uint32_t batch, d, d_target; /* d_target: 0 without a target */
	float scales[SAE_PARTS_MAX]; /* that rows of each dump are multiplied by */
	bool scaled;
	size_t row_bytes;
	uint64_t read_rows, gap_rows; /* READ_BYTES and GAP_BYTES in rows */
	bool forget; /* whether rows read will have left the page cache when their turn comes again */
	arena mem;
	held_group held[2]; /* the one rows are taken from, and the next */
	held_group *now, *then;
	unsigned char *places; /* (n_places, row_bytes) */
	uint32_t n_places, n_free;
	uint32_t *free_places; /* (n_places): n_free of them */
	unsigned char *read;   /* (read_rows, row_bytes) */
	uint64_t *numbers;     /* (read_rows): rows of one read that are wanted */
	bool begun;
	uint64_t position; /* of the next row to take */
	float *slots[2];   /* (batch, d): the caller's, and the one being filled */
	float *targets[2]; /* (batch, d_target), or NULL */
	unsigned filling;  /* which slot the thread fills */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool wanted, ready, ending;
	int rc; /* of the last fill; stays when it failed */
	error err;
};

/* ---- Reading ----------------------------------------------------------------------------------------------------------- */

static uint64_t block_rows(const loader *l, uint64_t block)
{
	uint64_t left = l->s.n - block * l->s.block;

	return left < l->s.block ? left : l->s.block;
}

/* Number in the dump of the next row to read. */
static uint64_t next_row(const loader *l, const held_group *h)
{
	return sae_rows_at(l->rows, false, h->blocks[h->block] * l->s.block + h->in_block);
}

/* Choose the next rows that one read can bring, at most `most`: how many. They go to l->numbers. */
static uint64_t plan_read(loader *l, held_group *h, uint64_t most)
{
	uint64_t n = 0;

	while (n < most && h->block < h->g.n_blocks) {
		uint64_t row = next_row(l, h);

		if (n && (row - l->numbers[n - 1] > l->gap_rows || row - l->numbers[0] >= l->read_rows))
			break;
		l->numbers[n++] = row;
		if (++h->in_block == block_rows(l, h->blocks[h->block])) {
			h->block++;
			h->in_block = 0;
		}
	}
	return n;
}

static int read_once(loader *l, held_group *h, uint64_t n, error *err)
{
	uint64_t first = l->numbers[0], span = l->numbers[n - 1] - first + 1;
	error cause = { 0 };
	int rc = dump_read_raw(l->dump, first, span, l->read, &cause);

	if (rc < 0)
		return error_set(err, rc, "cannot read rows %llu to %llu: %s", (unsigned long long)first,
		                 (unsigned long long)(first + span - 1), cause.msg);
	for (uint64_t i = 0; i < n; i++) {
		uint32_t place = l->free_places[--l->n_free];

		h->where[h->rows_read++] = place;
		memcpy(l->places + place * l->row_bytes, l->read + (l->numbers[i] - first) * l->row_bytes,
		       l->row_bytes);
	}
	if (l->forget)
		dump_advise(l->dump, first, span, POSIX_FADV_DONTNEED);
	return 0;
}

/* Tell the system of the blocks that come next. */
static void announce(loader *l, held_group *h)
{
	uint64_t ahead = AHEAD_BYTES / (l->s.block * l->row_bytes) + 1;

	for (; h->announced < h->g.n_blocks && h->announced < h->block + ahead; h->announced++) {
		uint64_t at = h->blocks[h->announced] * l->s.block;
		uint64_t first = sae_rows_at(l->rows, false, at);
		uint64_t last = sae_rows_at(l->rows, false, at + block_rows(l, h->blocks[h->announced]) - 1);

		if (h->announced >= h->block && last - first < l->read_rows)
			dump_advise(l->dump, first, last - first + 1, POSIX_FADV_WILLNEED);
	}
}

/* Read on until `target` rows of the group have been read, or memory for them is short. */
static int read_group(loader *l, held_group *h, uint64_t target, error *err)
{
	int rc = 0;

	announce(l, h);
	while (h->rows_read < target && rc == 0) {
		uint64_t most = l->n_free < l->read_rows ? l->n_free : l->read_rows;

		if (most < l->s.block && most < h->g.n - h->rows_read)
			break;
		rc = read_once(l, h, plan_read(l, h, most), err);
		announce(l, h);
	}
	return rc;
}

/* ---- Groups and batches ------------------------------------------------------------------------------------------------ */

static void begin_group(loader *l, held_group *h, uint64_t position)
{
	shuffle_group_of(&h->g, &l->s, position);
	shuffle_group_blocks(&h->g, &l->s, h->blocks);
	h->block = h->in_block = h->announced = h->rows_read = 0;
}

static uint64_t group_end(const loader *l, const held_group *h)
{
	return h->g.pass * l->s.n + h->g.first + h->g.n;
}

/* Place in its group's order of the next row to take. */
static uint64_t place_now(const loader *l)
{
	return l->position - l->now->g.pass * l->s.n - l->now->g.first;
}

/* Where the next row to take lies. With several groups its memory is free from then on. */
static const unsigned char *take_row(loader *l, uint64_t place)
{
	uint32_t where = l->now->where[shuffle_group_row(&l->now->g, place)];

	if (l->s.n_groups > 1)
		l->free_places[l->n_free++] = where;
	return l->places + where * l->row_bytes;
}

/* Read the group that holds the position; what of it was taken before is not kept. */
static int begin(loader *l, error *err)
{
	int rc;

	begin_group(l, l->now, l->position);
	rc = read_group(l, l->now, l->now->g.n, err);
	if (rc < 0 || l->s.n_groups == 1)
		return rc;
	for (uint64_t place = 0; place < place_now(l); place++)
		(void)take_row(l, place);
	begin_group(l, l->then, group_end(l, l->now));
	return 0;
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
	rc = read_group(l, l->then, l->then->g.n, err);
	l->now = l->then;
	l->then = before;
	begin_group(l, l->then, group_end(l, l->now));
	return rc;
}

static void multiply(float *x, float factor, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= factor;
}

static void take(loader *l, float *x, float *y)
{
	dump_convert(l->dump, take_row(l, place_now(l)), 1, x, y);
	for (size_t i = 0; i < dump_n_parts(l->dump) && l->scaled; i++) {
		const uint32_t width = dump_part(l->dump, i)->width;

		multiply(dump_part_is_target(l->dump, i) ? y : x, l->scales[i], width);
		x += width;
	}
}

static int fill(loader *l, float *x, float *y, error *err)
{
	int rc = l->begun ? 0 : begin(l, err);

	l->begun = true;
	for (uint32_t i = 0; i < l->batch && rc == 0; i++, l->position++) {
		if (l->position >= group_end(l, l->now))
			rc = turn_to_position(l, err);
		if (rc == 0)
			take(l, x + (size_t)i * l->d, y ? y + (size_t)i * l->d_target : NULL);
	}
	if (rc == 0 && l->s.n_groups > 1) {
		double share = (double)place_now(l) / (double)l->now->g.n;

		rc = read_group(l, l->then, (uint64_t)(share * (double)l->then->g.n), err);
	}
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
		rc = fill(l, l->slots[l->filling], l->targets[l->filling], &err);
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

static int buffers_init(loader *l, error *err)
{
	uint64_t group = shuffle_group_rows(&l->s);
	bool enough = true;

	l->row_bytes = dump_row_bytes(l->dump);
	l->read_rows = READ_BYTES / l->row_bytes < l->s.block ? l->s.block : READ_BYTES / l->row_bytes;
	l->gap_rows = GAP_BYTES / l->row_bytes + 1;
	l->n_places = (uint32_t)(group + (l->s.n_groups > 1 ? l->read_rows : 0));
	l->n_free = l->n_places;
	for (size_t i = 0; i < (l->s.n_groups > 1 ? 2 : 1); i++) {
		l->held[i].blocks = arena_alloc(&l->mem, l->s.group, sizeof(*l->held[i].blocks));
		l->held[i].where = arena_alloc(&l->mem, group, sizeof(*l->held[i].where));
		enough = enough && l->held[i].blocks && l->held[i].where;
	}
	for (size_t i = 0; i < 2; i++) {
		l->slots[i] = arena_alloc(&l->mem, l->batch, l->d * sizeof(float));
		if (l->d_target)
			l->targets[i] = arena_alloc(&l->mem, l->batch, l->d_target * sizeof(float));
		enough = enough && l->slots[i] && (l->targets[i] || !l->d_target);
	}
	l->places = arena_alloc(&l->mem, l->n_places, l->row_bytes);
	l->free_places = arena_alloc(&l->mem, l->n_places, sizeof(*l->free_places));
	l->read = arena_alloc(&l->mem, l->read_rows, l->row_bytes);
	l->numbers = arena_alloc(&l->mem, l->read_rows, sizeof(*l->numbers));
	if (!enough || !l->places || !l->free_places || !l->read || !l->numbers)
		return error_nomem(err, "rows read ahead");
	return 0;
}

static void loader_init(loader *l, const sae_dump *d, const sae_rows *rows, const shuffle *s, uint32_t batch)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	const sae_dump *target = sae_dump_target(d);
	uint64_t memory = cpu_memory_limit();

	*l = (loader){ .dump = d,
		       .rows = rows,
		       .s = *s,
		       .batch = batch,
		       .d = info->d_in,
		       .d_target = target ? target->width : 0,
		       .forget = s->n_groups > 1 && info->n_bytes > memory - memory / 4,
		       .wanted = true };
	l->now = &l->held[0];
	l->then = &l->held[1];
}

int loader_bytes(uint64_t *bytes, const sae_dump *d, const shuffle *s, uint32_t batch, error *err)
{
	loader l;
	int rc;

	loader_init(&l, d, NULL, s, batch);
	rc = buffers_init(&l, err);
	*bytes = arena_bytes(&l.mem);
	arena_clear(&l.mem);
	return rc;
}

/* Signals go to the program's own threads. */
static int start_thread(loader *l, error *err)
{
	sigset_t all, before;
	int code;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&l->thread, NULL, run, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	l->started = code == 0;
	return code ? error_errno(err, code, "cannot start a thread") : 0;
}

int loader_new(loader **out, const sae_dump *d, const sae_rows *rows, const shuffle *s, uint32_t batch,
               uint64_t position, const float *scales, error *err)
{
	loader *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return error_nomem(err, "a loader");
	loader_init(l, d, rows, s, batch);
	l->position = position;
	l->scaled = scales != NULL;
	if (scales)
		memcpy(l->scales, scales, dump_n_parts(d) * sizeof(*scales));
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->changed, NULL);
	rc = buffers_init(l, err);
	for (uint32_t i = 0; i < l->n_free && rc == 0; i++) /* the first rows to the first places */
		l->free_places[i] = l->n_free - 1 - i;
	if (rc == 0)
		rc = start_thread(l, err);
	if (rc < 0) {
		loader_free(l);
		return rc;
	}
	*out = l;
	return 0;
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
	arena_clear(&l->mem);
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->changed);
	free(l);
}

int loader_next(loader *l, float **x, float **y, error *err)
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
		if (y)
			*y = l->targets[l->filling];
		l->filling = !l->filling;
		l->ready = false;
		l->wanted = true;
		pthread_cond_broadcast(&l->changed);
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}
