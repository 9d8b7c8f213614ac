/* test_base_pool.c: the thread pool; run it under --preset tsan too. */
#include "tests/support.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { TASKS = 1000, WORKERS = 5 };

typedef struct counts {
	unsigned char done[TASKS];      /* plain: each task is one worker's alone, and pool_run orders them */
	unsigned char scratch[WORKERS]; /* plain: a worker number is never used by two threads at once */
	atomic_int bad_worker;
	unsigned threads;
} counts;

static void count(void *payload, size_t i, unsigned worker)
{
	counts *c = payload;

	if (worker >= c->threads)
		atomic_store(&c->bad_worker, 1);
	else
		c->scratch[worker]++;
	c->done[i]++;
}

START_TEST(runs_each_task_once)
{
	for (unsigned threads = 1; threads <= WORKERS; threads++) {
		pool *p = NULL;

		ck_assert_int_eq(pool_new(&p, threads, NULL), 0);
		ck_assert_uint_eq(pool_threads(p), threads);
		for (size_t n = 0; n <= TASKS; n = n * 3 + 1) {
			counts c = { .threads = threads };

			for (int round = 0; round < 20; round++)
				pool_run(p, n, count, &c);
			for (size_t i = 0; i < TASKS; i++)
				ck_assert_int_eq(c.done[i], i < n ? 20 : 0);
			ck_assert_int_eq(atomic_load(&c.bad_worker), 0);
		}
		pool_free(p);
	}
}
END_TEST

enum { EVENTS = 64 };

typedef struct watched {
	pool_event of[2][EVENTS]; /* by run and task */
	pthread_barrier_t all;
	uint64_t first;
} watched;

static void note_event(void *payload, const pool_event *e)
{
	watched *w = payload;

	w->of[e->run - w->first][e->task] = *e;
}

/* Every worker stays in its first task until all are inside, so none can take the range of one that is late. */
static void meet_once(void *payload, size_t i, unsigned worker)
{
	watched *w = payload;

	(void)worker;
	if (i % (EVENTS / 4) == 0)
		pthread_barrier_wait(&w->all);
}

START_TEST(tasks_go_to_the_same_worker_and_are_watched)
{
	watched w = { .first = 1 };
	pool *p = NULL;
	int moved = 0;

	ck_assert_int_eq(pool_new(&p, 4, NULL), 0);
	ck_assert_int_eq(pthread_barrier_init(&w.all, NULL, 4), 0);
	pool_watch(p, note_event, &w);
	pool_run(p, EVENTS, meet_once, &w);
	pool_run(p, EVENTS, meet_once, &w);
	for (size_t i = 0; i < EVENTS; i++) {
		const pool_event *e = &w.of[0][i];

		ck_assert_uint_eq(e->task, i);
		ck_assert_double_ge(e->end, e->start);
		moved += e->worker != w.of[1][i].worker;
		if (i % (EVENTS / 4) == 0) /* the first of a range: its owner's, as all were inside at once */
			ck_assert_uint_eq(e->worker, i / (EVENTS / 4));
	}
	ck_assert_int_lt(moved, EVENTS); /* the rest may be taken over on a busy machine */
	pool_watch(p, NULL, NULL);
	pool_run(p, EVENTS, meet_once, &w);
	pthread_barrier_destroy(&w.all);
	pool_free(p);
}
END_TEST

static void note_thread(void *payload, size_t i, unsigned worker)
{
	pthread_t *who = payload;

	(void)worker;
	who[i] = pthread_self();
}

START_TEST(one_thread_is_the_caller)
{
	pthread_t who[10];
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	pool_run(p, 10, note_thread, who);
	for (int i = 0; i < 10; i++)
		ck_assert(pthread_equal(who[i], pthread_self()));
	pool_free(p);
}
END_TEST

/* Every task waits until all are inside: passes only when as many workers run at once. */
static void meet(void *payload, size_t i, unsigned worker)
{
	(void)i;
	(void)worker;
	pthread_barrier_wait(payload);
}

START_TEST(all_workers_take_part)
{
	pthread_barrier_t barrier;
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, WORKERS, NULL), 0);
	for (unsigned n = 2; n <= WORKERS; n++) { /* fewer tasks than workers, too */
		ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, n), 0);
		for (int round = 0; round < 50; round++)
			pool_run(p, n, meet, &barrier);
		pthread_barrier_destroy(&barrier);
	}
	pool_free(p);
}
END_TEST

typedef struct masks {
	pthread_barrier_t both; /* makes sure that the worker has one of the two tasks */
	sigset_t of[2];
} masks;

static void note_mask(void *payload, size_t i, unsigned worker)
{
	masks *m = payload;

	(void)i;
	pthread_sigmask(SIG_BLOCK, NULL, &m->of[worker]);
	pthread_barrier_wait(&m->both);
}

START_TEST(workers_leave_signals_alone)
{
	pool *p = NULL;
	masks m;

	ck_assert_int_eq(pthread_barrier_init(&m.both, NULL, 2), 0);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	pool_run(p, 2, note_mask, &m);
	ck_assert_int_eq(sigismember(&m.of[0], SIGINT), 0);
	ck_assert_int_eq(sigismember(&m.of[1], SIGINT), 1);
	pool_free(p);
	pthread_barrier_destroy(&m.both);
}
END_TEST

START_TEST(new_takes_zero_and_refuses_too_many)
{
	pool *p = NULL;
	error e = { 0 };

	ck_assert_int_eq(pool_new(&p, 0, NULL), 0);
	ck_assert_uint_eq(pool_threads(p), cpu_count());
	pool_free(p);
	p = NULL;
	ck_assert_int_eq(pool_new(&p, 5000, &e), ERR_ARG);
	ck_assert_str_eq(e.msg, "5000 threads are over the limit of 1024");
	ck_assert_ptr_null(p);
	pool_free(NULL);
}
END_TEST

START_TEST(new_survives_no_memory)
{
	for (long nth = 0;; nth++) {
		pool *p = NULL;
		error e = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = pool_new(&p, 3, &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			pool_free(p);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(p);
	}
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "pool", runs_each_task_once, one_thread_is_the_caller, all_workers_take_part,
	             tasks_go_to_the_same_worker_and_are_watched, workers_leave_signals_alone,
	             new_takes_zero_and_refuses_too_many, new_survives_no_memory);
}
SUPPORT_MAIN("base_pool", cases)
