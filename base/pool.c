/* pool.c: worker threads that sleep between runs. */
#include "base/base.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define MAX_THREADS 1024

typedef struct worker {
	pool *owner;
	pthread_t thread;
	unsigned number; /* 1.. ; the caller of pool_run is 0 */
} worker;

struct pool {
	unsigned threads, started;
	worker *workers; /* (threads - 1) */
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	/* under the lock: */
	uint64_t run;    /* number of the run that is open or was last */
	bool open, stop; /* a run takes workers; the pool ends */
	unsigned active; /* workers inside the open run */
	/* written while no worker is active, read by active workers: */
	void (*task)(void *payload, size_t i, unsigned worker);
	void *payload;
	size_t n;
	atomic_size_t next; /* the first task nobody took */
};

static void drain(pool *p, unsigned number)
{
	for (;;) {
		size_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);

		if (i >= p->n)
			return;
		p->task(p->payload, i, number);
	}
}

static void *work(void *arg)
{
	worker *w = arg;
	pool *p = w->owner;
	uint64_t seen = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		if (!p->open || p->run == seen) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		seen = p->run;
		p->active++;
		pthread_mutex_unlock(&p->lock);
		drain(p, w->number);
		pthread_mutex_lock(&p->lock);
		if (--p->active == 0)
			pthread_cond_signal(&p->idle);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* Starts the workers with every signal blocked, so that SIGINT and its kin go to the program's own threads. */
static int start_workers(pool *p, error *err)
{
	sigset_t all, before;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (p->started < p->threads - 1 && rc == 0) {
		worker *w = &p->workers[p->started];
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
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_nomem(err, "the thread pool");
	p->threads = threads;
	p->workers = calloc(threads, sizeof(*p->workers));
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
	p->stop = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->started; i++)
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

void pool_run(pool *p, size_t n, void (*task)(void *payload, size_t i, unsigned worker), void *payload)
{
	if (p->threads == 1 || n <= 1) {
		for (size_t i = 0; i < n; i++)
			task(payload, i, 0);
		return;
	}
	pthread_mutex_lock(&p->lock);
	assert(!p->open); /* not reentrant */
	p->task = task;
	p->payload = payload;
	p->n = n;
	atomic_store_explicit(&p->next, 0, memory_order_relaxed);
	p->run++;
	p->open = true;
	if (n >= p->threads) {
		pthread_cond_broadcast(&p->work);
	} else {
		for (size_t i = 1; i < n; i++)
			pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->lock);

	drain(p, 0);

	/* A worker that has not woken by now is not waited for: it finds the run closed. */
	pthread_mutex_lock(&p->lock);
	p->open = false;
	while (p->active)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
}
