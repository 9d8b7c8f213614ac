/* What a training step costs, by parts, against the yardstick: one cblas_sgemm (batch, d) x (d, F) with OpenBLAS's own
 * threads, interleaved with the steps in this process. Medians; parts are sums of thread time over the number of threads.
 * usage: bench_train [--dump PATH] [--features N] [--k N] [--batch N] [--steps N] [--warm N] [--threads N] [--kernels NAME]
 *                    [--screening exact|statistical|off] [--arch topk|groupmax|batchtopk|matryoshka|multitopk] [--dead SHARE]
 * --warm: steps before those measured, for weights that are no longer random. --dead: a share of the features is made dead
 * before each step; if not given, 0, and for the best kernels 0.05 and 0.3 too.
 * exact: dot products computed for a row, in the mean of all steps.
 * Without --dump: the environment's GLOSS_DATA; with --d N, or without both, synthetic rows of that width (576). */
#include <getopt.h>
#include <math.h>
#include <unistd.h>

#include <cblas.h>

#include "bench/rows.h"
#include "sae/step.h"

enum { MAX_STEPS = 200 };

typedef struct bench {
	const char *kernels;
	size_t arch; /* of arches */
	sae_screening screening;
	double dead; /* under 0: several */
	uint32_t features, k, steps, threads, warm;
	bench_rows rows;
	pool *pool;
	float *product; /* (batch, F) of the yardstick */
} bench;

static const struct {
	sae_arch arch;
	encode_rule rule;
} arches[] = { { SAE_TOPK, ENCODE_TOPK },
	       { SAE_GROUPMAX, ENCODE_GROUPMAX },
	       { SAE_BATCHTOPK, ENCODE_BATCHTOPK },
	       { SAE_MATRYOSHKA, ENCODE_BATCHTOPK },
	       { SAE_MULTITOPK, ENCODE_TOPK } };

/* ---- Measuring ------------------------------------------------------------------------------------------------------- */

/* OpenBLAS's own threads spin for some time after a call: they must be still before anything else is timed. */
static double yardstick(bench *b, const step *s, const float *x)
{
	double start;

	openblas_set_num_threads((int)b->threads);
	start = clock_now();
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)b->rows.batch, (blasint)b->features,
	            (blasint)b->rows.d, 1, x, (blasint)b->rows.d, s->W_enc.w, (blasint)b->rows.d, 0,
	            b->product, (blasint)b->features);
	start = clock_now() - start;
	openblas_set_num_threads(1);
	usleep(60000);
	return start;
}

static void part_seconds(const bench *b, const step *s, double out[STEP_PARTS])
{
	memset(out, 0, STEP_PARTS * sizeof(*out));
	for (unsigned w = 0; w < b->threads; w++) {
		for (size_t i = 0; i < STEP_PARTS; i++)
			out[i] += s->workers[w].seconds[i] / b->threads;
		out[STEP_PRODUCT] += s->workers[w].scratch.product_seconds / b->threads;
		out[STEP_SELECT] += s->workers[w].scratch.select_seconds / b->threads;
		out[STEP_EXACT] += s->workers[w].scratch.exact_seconds / b->threads;
	}
	for (size_t i = 0; i < STEP_PARTS; i++)
		out[i] += s->serial_seconds[i];
}

/* Every `nth` feature is made dead, until it fires, before each step; 0: none. */
static void make_dead(step *s, double share)
{
	for (size_t f = 0; f < s->c.n_features; f++)
		s->silent[f] = share > 0 && hash64_unit(hash64_mix(1, f)) < share ? s->c.dead_tokens : 0;
}

static int measure(bench *b, const char *set, double dead, error *err)
{
	static double yard[MAX_STEPS], whole[MAX_STEPS], wait[MAX_STEPS], parts[STEP_PARTS][MAX_STEPS];
	step_config c = { .d = b->rows.d,
		          .n_features = b->features,
		          .k = b->k,
		          .batch = b->rows.batch,
		          .beta1 = 0.9,
		          .beta2 = 0.999,
		          .eps = 1e-8,
		          .auxk_alpha = 1.0 / 32,
		          .dead_tokens = UINT64_MAX / 2,
		          .rule = arches[b->arch].rule,
		          .multi = arches[b->arch].arch == SAE_MULTITOPK,
		          .screening = b->screening,
		          .k_set = kernels_get(set) };
	double before[STEP_PARTS], after[STEP_PARTS], exact = 0;
	step_result r;
	step *s;
	int rc = 0;

	if (arches[b->arch].arch == SAE_MATRYOSHKA)
		rc = sae_train_prefixes(c.prefixes.ends, &c.prefixes.n,
		                        &(sae_train_opts){ .d_sae = b->features }, err);
	if (rc == 0)
		rc = step_new(&s, &c, b->pool, err);
	if (rc < 0)
		return rc;
	step_init_weights(s, 0);
	for (uint32_t t = 0; t < b->steps + b->warm && rc == 0; t++) {
		uint32_t i = t < b->warm ? 0 : t - b->warm;
		float *x;

		wait[i] = clock_now();
		rc = bench_rows_next(&b->rows, &x, err);
		if (rc < 0)
			break;
		wait[i] = clock_now() - wait[i];
		if (t >= b->warm)
			yard[i] = yardstick(b, s, x);
		make_dead(s, dead);
		part_seconds(b, s, before);
		whole[i] = clock_now();
		step_run(s, x, NULL, b->rows.batch, b->rows.scale, 3.77e-4, &r);
		whole[i] = clock_now() - whole[i];
		part_seconds(b, s, after);
		for (size_t j = 0; j < STEP_PARTS; j++)
			parts[j][i] = after[j] - before[j];
	}
	if (rc == 0) {
		double y = bench_median(yard, b->steps, 1), w = bench_median(whole, b->steps, 1);

		for (unsigned i = 0; i < b->threads; i++)
			exact += (double)s->workers[i].scratch.n_exact / (b->steps + b->warm) / b->rows.batch;
		printf("%-7s %-11s %4.0f %%", c.k_set->name, s->aid.screen ? s->aid.screen->set->name : "off",
		       100 * dead);
		for (size_t j = 0; j < STEP_PARTS; j++)
			printf(" %9.1f", 1e3 * bench_median(parts[j], b->steps, 1));
		printf(" %7.1f %9.1f %6.2f %9.0f %6.1f %6.1f\n", 1e3 * w, 1e3 * y, y / w, b->rows.batch / w,
		       1e3 * bench_median(wait, b->steps, 1), exact);
		fflush(stdout);
	}
	step_free(s);
	return rc;
}

static int run(bench *b, error *err)
{
	static const double dead_shares[] = { 0, 0.05, 0.3 };
	int rc = 0;

	b->product = mem_alloc_aligned(b->rows.batch, b->features * sizeof(float));
	if (!b->product)
		return error_nomem(err, "the benchmark");
	printf("%s, %u threads, OpenBLAS %s (%s); rows: %s\n", cpu_name(), b->threads, openblas_get_config(),
	       openblas_get_corename(), b->rows.dump_path ? b->rows.dump_path : "synthetic");
	printf("%s, d %u, F %u, k %u, batch %u; median of %u steps after %u, ms\n",
	       sae_arch_name(arches[b->arch].arch), b->rows.d, b->features, b->k, b->rows.batch, b->steps,
	       b->warm);
	printf("kernels screening     dead");
	for (size_t j = 0; j < STEP_PARTS; j++)
		printf(" %9s", step_part_names[j]);
	printf(" %7s %9s %6s %9s %6s %6s\n", "step", "yardstick", "share", "tokens/s", "wait", "exact");
	for (size_t i = 0; kernels_names[i] && rc == 0; i++) {
		if (!kernels_get(kernels_names[i]) ||
		    (b->kernels && strcmp(b->kernels, kernels_names[i]) != 0))
			continue;
		if (b->dead >= 0)
			rc = measure(b, kernels_names[i], b->dead, err);
		for (size_t j = 0; b->dead < 0 && j < ARRAY_LEN(dead_shares) && rc == 0; j++)
			if (j == 0 || kernels_get(NULL) == kernels_get(kernels_names[i]))
				rc = measure(b, kernels_names[i], dead_shares[j], err);
	}
	return rc;
}

/* Which of the names the option's argument is. */
static bool name_of(const char *const *names, size_t n, size_t *choice)
{
	for (*choice = 0; *choice < n; (*choice)++)
		if (strcmp(optarg, names[*choice]) == 0)
			return true;
	return false;
}

static int parse(bench *b, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "dump", required_argument, NULL, 'D' },
		{ "features", required_argument, NULL, 'F' },
		{ "k", required_argument, NULL, 'k' },
		{ "batch", required_argument, NULL, 'b' },
		{ "steps", required_argument, NULL, 's' },
		{ "threads", required_argument, NULL, 't' },
		{ "d", required_argument, NULL, 'd' },
		{ "screening", required_argument, NULL, 'S' },
		{ "arch", required_argument, NULL, 'A' },
		{ "dead", required_argument, NULL, 'x' },
		{ "warm", required_argument, NULL, 'w' },
		{ "kernels", required_argument, NULL, 'K' },
		{ NULL, 0, NULL, 0 },
	};
	static const char *const screenings[] = { "exact", "statistical", "off" };
	size_t choice;
	int letter;

	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		uint32_t n = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;

		switch (letter) {
		case 'D':
			b->rows.dump_path = optarg;
			break;
		case 'K':
			b->kernels = optarg;
			break;
		case 'S':
			if (!name_of(screenings, ARRAY_LEN(screenings), &choice))
				return -1;
			b->screening = (sae_screening)choice;
			break;
		case 'A':
			for (b->arch = 0; strcmp(optarg, sae_arch_name(arches[b->arch].arch)) != 0;)
				if (++b->arch == ARRAY_LEN(arches))
					return -1;
			break;
		case 'x':
			b->dead = strtod(optarg, NULL);
			break;
		case 'w':
			b->warm = n;
			break;
		case 'F':
			b->features = n;
			break;
		case 'k':
			b->k = n;
			break;
		case 'b':
			b->rows.batch = n;
			break;
		case 's':
			b->steps = n;
			break;
		case 't':
			b->threads = n;
			break;
		case 'd':
			b->rows.d = n;
			b->rows.dump_path = NULL;
			break;
		default:
			return -1;
		}
	}
	return b->features && b->k && b->k <= b->features && b->rows.batch && b->rows.d && b->steps &&
	                       b->steps <= MAX_STEPS
	               ? 0
	               : -1;
}

int main(int argc, char **argv)
{
	bench b = { .rows = { .dump_path = getenv("GLOSS_DATA"), .d = 576, .batch = 4096 },
		    .features = 4608,
		    .k = 32,
		    .steps = 15,
		    .warm = 3,
		    .dead = -1,
		    .threads = cpu_count() };
	error err = { 0 };
	int rc;

	if (parse(&b, argc, argv) < 0) {
		fprintf(stderr, "bench_train: wrong options; see the head of bench/bench_train.c\n");
		return 2;
	}
	rc = pool_new(&b.pool, b.threads, &err);
	if (rc == 0)
		rc = bench_rows_open(&b.rows, b.pool, &err);
	if (rc == 0)
		rc = run(&b, &err);
	if (rc < 0)
		fprintf(stderr, "bench_train: %s\n", err.msg);
	bench_rows_close(&b.rows);
	pool_free(b.pool);
	free(b.product);
	return rc < 0;
}
