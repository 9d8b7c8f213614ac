/* How a training step scales over threads, from measured tasks, on a machine that has too few CPUs to measure it.
 *
 * Method. Steps run with one thread while the pool tells the start and the end of every task. A task's time is the median over
 * the steps, as is the time outside of tasks (the serial part, told for each gap between two runs of the pool). For T threads
 * every run of the pool is then played through with the pool's own rule (equal ranges of tasks, and whoever is done takes the
 * first free task of the next neighbour that has one); the step's time is the serial part, the longest thread of every run, and
 * what it costs to start and to end a run (--overhead microseconds, 10 by default; measured here for two threads beside it).
 * efficiency = time with one thread / (T * time with T threads). Not in it: memory bandwidth and caches that threads share, and
 * a clock that falls when more cores are busy.
 *
 * usage: bench_scaling [--dump PATH] [--features N] [--k N] [--batch N] [--d N] [--steps N] [--kernels NAME] [--dead SHARE]
 *                      [--overhead US] [--batchtopk]
 * Without --dump: the environment's GLOSS_DATA; without both, synthetic rows of width --d (576). */
#include <getopt.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rows.h"
#include "sae/step.h"

enum { MAX_STEPS = 100, WARM_STEPS = 2, MAX_RUNS = 64 };

/* One run of the pool in every step. */
typedef struct run {
	size_t n;                 /* tasks */
	double *seconds;          /* (steps, n) */
	double *median;           /* (n) */
	double before[MAX_STEPS]; /* serial time before it */
} run;

typedef struct bench {
	const char *kernels;
	uint32_t features, k, steps;
	encode_rule rule;
	double dead, overhead;
	pool *pool;
	bench_rows rows;
	/* of the step in progress */
	pool_event *events;
	size_t n_events, room;
	/* of all steps */
	run runs[MAX_RUNS];
	size_t n_runs;
	double behind[MAX_STEPS], whole[MAX_STEPS];
} bench;

/* ---- Measuring ------------------------------------------------------------------------------------------------------- */

static void note(void *payload, const pool_event *e)
{
	bench *b = payload;

	if (mem_grow(&b->events, &b->room, b->n_events + 1, sizeof(*e)) == 0)
		b->events[b->n_events++] = *e;
}

/* Sort the step's events into its runs; false: it has other runs than the step before. */
static bool keep_step(bench *b, uint64_t i, double start, double end)
{
	double from = start;
	size_t r = 0;

	for (size_t at = 0; at < b->n_events; r++) {
		run *of = &b->runs[r];
		size_t n = 0;

		while (at + n < b->n_events && b->events[at + n].run == b->events[at].run)
			n++;
		if (r == MAX_RUNS || (i > 0 && (r >= b->n_runs || of->n != n)))
			return false;
		if (i == 0) {
			of->n = n;
			of->seconds = calloc(n * b->steps, sizeof(double));
			of->median = calloc(n, sizeof(double));
			if (!of->seconds || !of->median)
				return false;
		}
		of->before[i] = b->events[at].start - from;
		for (size_t k = 0; k < n; k++)
			of->seconds[i * n + b->events[at + k].task] =
			        b->events[at + k].end - b->events[at + k].start;
		at += n;
		from = b->events[at - 1].end;
	}
	b->n_runs = r;
	b->behind[i] = end - from;
	b->whole[i] = end - start;
	return true;
}

static int measure(bench *b, step *s, error *err)
{
	int rc = 0;

	step_init_weights(s, 0);
	pool_watch(b->pool, note, b);
	for (uint64_t t = 0; t < b->steps + WARM_STEPS && rc == 0; t++) {
		double start, end;
		step_result result;
		float *x;

		rc = bench_rows_next(&b->rows, &x, err);
		if (rc < 0)
			break;
		for (size_t f = 0; f < s->c.n_features; f++)
			s->silent[f] = hash64_unit(hash64_mix(1, f)) < b->dead ? s->c.dead_tokens : 0;
		b->n_events = 0;
		start = clock_now();
		step_run(s, x, NULL, b->rows.batch, b->rows.scale, 3e-4, &result);
		end = clock_now();
		if (t >= WARM_STEPS && !keep_step(b, t - WARM_STEPS, start, end))
			rc = error_set(err, ERR_LIMIT, "step %u has other tasks than the one before",
			               (unsigned)t);
	}
	pool_watch(b->pool, NULL, NULL);
	return rc;
}

/* Ends when both threads are inside. */
static void meet(void *payload, size_t i, unsigned worker)
{
	atomic_int *inside = payload;

	(void)i;
	(void)worker;
	atomic_fetch_add(inside, 1);
	while (atomic_load(inside) < 2)
		;
}

/* Microseconds that it takes two threads to meet in a run and to end it. */
static double meeting(error *err)
{
	double seconds[MAX_STEPS], start;
	atomic_int inside;
	pool *p = NULL;

	if (pool_new(&p, 2, err) < 0)
		return NAN;
	for (size_t i = 0; i < MAX_STEPS; i++) {
		start = clock_now();
		for (int r = 0; r < 20; r++) {
			atomic_store(&inside, 0);
			pool_run(p, 2, meet, &inside);
		}
		seconds[i] = (clock_now() - start) * 1e6 / 20;
	}
	pool_free(p);
	return bench_median(seconds, MAX_STEPS, 1);
}

/* ---- Playing it through ------------------------------------------------------------------------------------------------ */

/* The time of one run with so many threads. */
static double makespan(const run *r, unsigned threads)
{
	size_t ranges = r->n < threads ? r->n : threads, next[64], end[64], left = r->n, at = 0;
	double free_at[64] = { 0 }, last = 0;

	for (size_t w = 0; w < ranges; w++) {
		next[w] = at;
		at += r->n / ranges + (w < r->n % ranges);
		end[w] = at;
	}
	for (; left; left--) {
		size_t w = 0, from;

		for (size_t i = 1; i < ranges; i++)
			if (free_at[i] < free_at[w])
				w = i;
		for (from = w; next[from] == end[from];)
			from = (from + 1) % ranges;
		free_at[w] += r->median[next[from]++];
		if (free_at[w] > last)
			last = free_at[w];
	}
	return last;
}

static void report(bench *b)
{
	static const unsigned threads[] = { 1, 2, 4, 8, 16, 32, 64 };
	double serial = bench_median(b->behind, b->steps, 1), one = 0;

	printf("%4s %6s %10s %10s %10s %12s\n", "run", "tasks", "sum ms", "longest ms", "shortest",
	       "before ms");
	for (size_t r = 0; r < b->n_runs; r++) {
		run *of = &b->runs[r];
		double sum = 0, longest = 0, shortest = INFINITY,
		       before = bench_median(of->before, b->steps, 1);

		for (size_t i = 0; i < of->n; i++) {
			of->median[i] = bench_median(of->seconds + i, b->steps, of->n);
			sum += of->median[i];
			longest = fmax(longest, of->median[i]);
			shortest = fmin(shortest, of->median[i]);
		}
		serial += before;
		one += sum;
		printf("%4zu %6zu %10.3f %10.3f %10.3f %12.3f\n", r, of->n, 1e3 * sum, 1e3 * longest,
		       1e3 * shortest, 1e3 * before);
	}
	one += serial;
	printf("behind the last run %.3f ms; serial part %.3f ms = %.2f %% of a step with one thread (%.1f "
	       "ms; whole steps, "
	       "median %.1f)\n",
	       1e3 * bench_median(b->behind, b->steps, 1), 1e3 * serial, 100 * serial / one, 1e3 * one,
	       1e3 * bench_median(b->whole, b->steps, 1));
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		unsigned t = threads[i];
		double time = serial + (t > 1 ? (double)b->n_runs * b->overhead * 1e-6 : 0);

		for (size_t r = 0; r < b->n_runs; r++)
			time += makespan(&b->runs[r], t);
		printf("%3u threads: %9.2f ms, efficiency %.2f, serial share %.1f %%\n", t, 1e3 * time,
		       one / (t * time), 100 * serial / time);
	}
}

static int run_all(bench *b, error *err)
{
	const step_config c = { .d = b->rows.d,
		                .n_features = b->features,
		                .k = b->k,
		                .batch = b->rows.batch,
		                .beta1 = 0.9,
		                .beta2 = 0.999,
		                .eps = 1e-8,
		                .auxk_alpha = 1.0 / 32,
		                .dead_tokens = UINT64_MAX / 2,
		                .rule = b->rule,
		                .k_set = kernels_get(b->kernels) };
	step *s = NULL;
	int rc;

	if (!c.k_set)
		return error_set(err, ERR_ARG, "kernels '%s' do not run here", b->kernels);
	rc = step_new(&s, &c, b->pool, err);
	if (rc < 0)
		return rc;
	printf("%s, kernels %s; d %u, F %u, k %u, batch %u, %.0f %% dead, rows: %s; medians of %u steps\n",
	       cpu_name(), c.k_set->name, b->rows.d, b->features, b->k, b->rows.batch, 100 * b->dead,
	       b->rows.dump_path ? b->rows.dump_path : "synthetic", b->steps);
	rc = measure(b, s, err);
	step_free(s);
	if (rc < 0)
		return rc;
	printf("two threads take %.1f us to meet in a run and end it here; %.1f us are reckoned with\n",
	       meeting(err), b->overhead);
	report(b);
	return 0;
}

static int parse(bench *b, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "dump", required_argument, NULL, 'D' },
		{ "features", required_argument, NULL, 'F' },
		{ "k", required_argument, NULL, 'k' },
		{ "batch", required_argument, NULL, 'b' },
		{ "d", required_argument, NULL, 'd' },
		{ "steps", required_argument, NULL, 's' },
		{ "kernels", required_argument, NULL, 'K' },
		{ "dead", required_argument, NULL, 'x' },
		{ "overhead", required_argument, NULL, 'o' },
		{ "batchtopk", no_argument, NULL, 'B' },
		{ NULL, 0, NULL, 0 },
	};
	int letter;

	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		uint32_t n = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
		double x = optarg ? strtod(optarg, NULL) : 0;

		if (letter == 'D')
			b->rows.dump_path = optarg;
		else if (letter == 'K')
			b->kernels = optarg;
		else if (letter == 'F')
			b->features = n;
		else if (letter == 'k')
			b->k = n;
		else if (letter == 'b')
			b->rows.batch = n;
		else if (letter == 'd')
			b->rows.d = n;
		else if (letter == 's')
			b->steps = n;
		else if (letter == 'B')
			b->rule = ENCODE_BATCHTOPK;
		else if (letter == 'x')
			b->dead = x;
		else if (letter == 'o')
			b->overhead = x;
		else
			return -1;
	}
	return b->k && b->k <= b->features && b->rows.batch && b->rows.d && b->steps && b->steps <= MAX_STEPS
	               ? 0
	               : -1;
}

int main(int argc, char **argv)
{
	static bench b = {
		.features = 4608, .k = 32, .steps = 9, .overhead = 10, .rows = { .d = 576, .batch = 4096 }
	};
	error err = { 0 };
	int rc;

	b.rows.dump_path = getenv("GLOSS_DATA");
	if (parse(&b, argc, argv) < 0) {
		fprintf(stderr, "bench_scaling: wrong options; see the head of bench/bench_scaling.c\n");
		return 2;
	}
	rc = pool_new(&b.pool, 1, &err);
	if (rc == 0)
		rc = bench_rows_open(&b.rows, b.pool, &err);
	if (rc == 0)
		rc = run_all(&b, &err);
	if (rc < 0)
		fprintf(stderr, "bench_scaling: %s\n", err.msg);
	bench_rows_close(&b.rows);
	pool_free(b.pool);
	for (size_t r = 0; r < b.n_runs; r++) {
		free(b.runs[r].seconds);
		free(b.runs[r].median);
	}
	free(b.events);
	return rc < 0;
}
