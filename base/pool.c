/* pool.c: worker threads. Every worker has a range of a run's tasks of its own, the same one in every run of as many
 * tasks, so that it finds in its caches, and on its memory node, what it left there; whoever is done takes from the
 * others' ranges. Nothing is shared by all workers while tasks run but one word that each touches when it comes and when
 * it goes. */
#include "base/base.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MAX_THREADS 1024
#define LINE        64 /* bytes of a cache line */
/* Looks at the word before a thread sleeps: about 30 us. Waking one takes as long, and the gaps between the runs of a
 * training step are shorter; longer spinning gains nothing and is paid for by whoever else wants the CPU. */
#define SPINS 2000

/* pool.word: number of the run | whether it takes workers | workers inside. */
#define ACTIVE_MASK UINT64_C(0x7fff)
#define OPEN        UINT64_C(0x8000)
#define RUN_SHIFT   16

typedef struct worker {
	/* written while no worker is active: */
	_Alignas(LINE) atomic_size_t next; /* first task of its range that nobody took; may pass `end` */
	size_t end;
	pool *owner;
	pthread_t thread;
	unsigned number; /* the caller of pool_run is 0 */
} worker;

struct pool {
	_Alignas(LINE) _Atomic uint64_t word;
	/* written while no worker is active, read by active ones: */
	_Alignas(LINE) void (*task)(void *payload, size_t i, unsigned worker);
	void *payload;
	unsigned threads, started, spins, ranges; /* ranges: workers that have one in this run */
	worker *workers;                          /* (threads) */
	void (*watch)(void *payload, const pool_event *e);
	void *watch_payload;
	/* for threads that sleep: */
	_Alignas(LINE) pthread_mutex_t lock;
	pthread_cond_t work, idle;
	atomic_uint sleepers; /* workers at `work`, or about to be */
	atomic_bool waiting;  /* the caller at `idle`, or about to be */
	atomic_bool stop;
};

static void relax(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

static void call_task(pool *p, size_t i, unsigned number)
{
	pool_event e = { .run = atomic_load_explicit(&p->word, memory_order_relaxed) >> RUN_SHIFT,
		         .task = i,
		         .worker = number };

	if (!p->watch) {
		p->task(p->payload, i, number);
		return;
	}
	e.start = clock_now();
	p->task(p->payload, i, number);
	e.end = clock_now();
	p->watch(p->watch_payload, &e);
}

/* Its own range, then the others', next neighbour first. */
static void drain(pool *p, unsigned number)
{
	for (unsigned k = 0; k < p->threads; k++) {
		unsigned victim = number + k < p->threads ? number + k : number + k - p->threads;
		worker *w = &p->workers[victim];

		if (victim >= p->ranges)
			continue;
		while (atomic_load_explicit(&w->next, memory_order_relaxed) < w->end) {
			size_t i = atomic_fetch_add_explicit(&w->next, 1, memory_order_relaxed);

			if (i < w->end)
				call_task(p, i, number);
		}
	}
}

/* ---- A worker ---------------------------------------------------------------------------------------------------------- */

static bool is_new(uint64_t word, uint64_t seen)
{
	return (word & OPEN) && word >> RUN_SHIFT != seen;
}

/* Wait for a run that was not seen yet, or the end. The caller looks at `sleepers` after it changed the word, we at the
 * word after we changed `sleepers`: one of the two sees the other. */
static void await_work(pool *p, uint64_t seen)
{
	for (unsigned i = 0; i < p->spins; i++) {
		if (is_new(atomic_load_explicit(&p->word, memory_order_relaxed), seen) ||
		    atomic_load_explicit(&p->stop, memory_order_relaxed))
			return;
		relax();
	}
	pthread_mutex_lock(&p->lock);
	atomic_fetch_add(&p->sleepers, 1);
	while (!is_new(atomic_load(&p->word), seen) && !atomic_load(&p->stop))
		pthread_cond_wait(&p->work, &p->lock);
	atomic_fetch_sub(&p->sleepers, 1);
	pthread_mutex_unlock(&p->lock);
}

/* Enter the open run if there is one that was not seen. */
static bool enter(pool *p, uint64_t *seen)
{
	uint64_t word = atomic_load(&p->word);

	while (is_new(word, *seen))
		if (atomic_compare_exchange_weak(&p->word, &word, word + 1)) {
			*seen = word >> RUN_SHIFT;
			return true;
		}
	return false;
}

static void leave(pool *p)
{
	uint64_t after = atomic_fetch_sub(&p->word, 1) - 1;

	if ((after & (OPEN | ACTIVE_MASK)) == 0 && atomic_load(&p->waiting)) {
		pthread_mutex_lock(&p->lock);
		pthread_cond_signal(&p->idle);
		pthread_mutex_unlock(&p->lock);
	}
}

static void *work(void *arg)
{
	worker *w = arg;
	pool *p = w->owner;
	uint64_t seen = 0;

	while (!atomic_load(&p->stop)) {
		if (!enter(p, &seen)) {
			await_work(p, seen);
			continue;
		}
		drain(p, w->number);
		leave(p);
	}
	return NULL;
}

/* ---- The pool ------------------------------------------------------------------------------------------------------------ */

/* Starts the workers with every signal blocked, so that SIGINT and its kin go to the program's own threads. */
static int start_workers(pool *p, error *err)
{
	sigset_t all, before;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (p->started < p->threads - 1 && rc == 0) {
		worker *w = &p->workers[p->started + 1];
		int code;

		w->owner = p;
		w->number = p->started + 1;
		code = pthread_create(&w->thread, NULL, work, w);
		if (code)
			rc = error_errno(err, code, "cannot start thread %u of %u", w->number + 1,
			                 p->threads);
		else
			p->started++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int pool_new(pool **out, unsigned threads, error *err)
{
	pool *p = NULL;
	int rc;

	if (threads == 0)
		threads = cpu_count();
	if (threads > MAX_THREADS)
		return error_set(err, ERR_ARG, "%u threads are over the limit of %d", threads, MAX_THREADS);
	p = mem_alloc_aligned(1, sizeof(*p));
	if (!p)
		return error_nomem(err, "the thread pool");
	p->threads = threads;
	p->spins = threads <= cpu_count() ? SPINS : 0; /* spinning must not keep from work who would end it */
	p->workers = mem_alloc_aligned(threads, sizeof(*p->workers));
	if (!p->workers) {
		free(p);
		return error_nomem(err, "the thread pool");
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->idle, NULL);
	rc = start_workers(p, err);
	if (rc < 0) {
		pool_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

void pool_free(pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->stop, true);
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 1; i <= p->started; i++)
		pthread_join(p->workers[i].thread, NULL);
	pthread_cond_destroy(&p->idle);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p->workers);
	free(p);
}

unsigned pool_threads(const pool *p)
{
	return p->threads;
}

void pool_watch(pool *p, void (*watch)(void *payload, const pool_event *e), void *payload)
{
	p->watch = watch;
	p->watch_payload = payload;
}

/* Share the tasks out: with fewer tasks than workers one task each to the first of them. */
static void set_ranges(pool *p, size_t n)
{
	size_t ranges = n < p->threads ? n : p->threads, share = n / ranges, rest = n % ranges, at = 0;

	p->ranges = (unsigned)ranges;
	for (size_t w = 0; w < ranges; w++) {
		atomic_store_explicit(&p->workers[w].next, at, memory_order_relaxed);
		at += share + (w < rest);
		p->workers[w].end = at;
	}
}

static void wake(pool *p, size_t n)
{
	if (atomic_load(&p->sleepers) == 0)
		return;
	pthread_mutex_lock(&p->lock);
	if (n >= p->threads)
		pthread_cond_broadcast(&p->work);
	else
		for (size_t i = 1; i < n; i++)
			pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

/* No one enters any more; who is inside is waited for. */
static void close_run(pool *p)
{
	uint64_t word = atomic_fetch_and(&p->word, ~OPEN) & ~OPEN;

	for (unsigned i = 0; i < p->spins && (word & ACTIVE_MASK); i++) {
		relax();
		word = atomic_load(&p->word);
	}
	if ((word & ACTIVE_MASK) == 0)
		return;
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->waiting, true);
	while (atomic_load(&p->word) & ACTIVE_MASK)
		pthread_cond_wait(&p->idle, &p->lock);
	atomic_store(&p->waiting, false);
	pthread_mutex_unlock(&p->lock);
}

void pool_run(pool *p, size_t n, void (*task)(void *payload, size_t i, unsigned worker), void *payload)
{
	uint64_t word = atomic_load(&p->word);

	if (n == 0)
		return;
	assert(!(word & (OPEN | ACTIVE_MASK))); /* not reentrant */
	p->task = task;
	p->payload = payload;
	word = ((word >> RUN_SHIFT) + 1) << RUN_SHIFT;
	if (p->threads == 1 || n == 1) {
		atomic_store(&p->word, word); /* closed: for the caller alone */
		for (size_t i = 0; i < n; i++)
			call_task(p, i, 0);
		return;
	}
	set_ranges(p, n);
	atomic_store(&p->word, word | OPEN);
	wake(p, n);
	drain(p, 0);
	/* a worker that has not woken by now is not waited for: it finds the run closed */
	close_run(p);
}
