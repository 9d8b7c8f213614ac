/* SAEs against known features, with the limits that facts methods.md (d) sets: makes each dump, trains on it with several seeds, measures, and
 * says NO behind a limit that is missed (exit status 1 then).
 * usage: bench_truth FOLDER [--seeds N] [--only TEXT]     FOLDER is made, and holds the last dump in the end; TEXT: only jobs with it in
 * their names */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "sae/sae.h"

enum { MCC, MMCS, RECOVERY, UNIQUENESS, F1, PURITY, ABSORPTION, ALONE, SHRINKAGE, EXPLAINED, FIGURES };
static const char *const names[FIGURES] = { "MCC",    "MMCS",       "rec@.9", "unique", "F1",
	                                    "purity", "absorption", "alone",  "shrink", "EV" };

typedef struct job {
	const char *name;
	sae_synth_kind kind;
	uint64_t rows;
	uint32_t d, features, k_truth, roots; /* 0: the kind's */
	sae_arch arch;
	uint32_t F, k, batch;
	uint64_t tokens;
	double limit[FIGURES]; /* 0: none; over 0: at least, under 0: at most */
} job;

/* clang-format off */
static const job jobs[] = {
	{ "planted G 128, TopK F 128 k 4", SAE_SYNTH_PLANTED, 2000000, 64, 128, 4, 0, SAE_TOPK, 128, 4, 4096, 0,
	  { [MCC] = 0.9, [RECOVERY] = 0.85 } },
	{ "pairs of 128 codes, TopK k 2", SAE_SYNTH_CODEBOOK, 500000, 64, 128, 2, 0, SAE_TOPK, 128, 2, 1024, 2000000, { [RECOVERY] = 0.9 } },
	{ "one of 64 codes, TopK k 1", SAE_SYNTH_CODEBOOK, 200000, 32, 64, 1, 0, SAE_TOPK, 64, 1, 1024, 2000000, { 0 } },
	{ "tree, TopK F 20 k 1", SAE_SYNTH_TREE, 1000000, 0, 0, 0, 0, SAE_TOPK, 20, 1, 1024, 2000000, { 0 } },
	{ "tree, TopK F 20 k 2", SAE_SYNTH_TREE, 1000000, 0, 0, 0, 0, SAE_TOPK, 20, 2, 1024, 2000000, { [ABSORPTION] = 0.3 } },
	{ "tree, BatchTopK F 20 k 1", SAE_SYNTH_TREE, 1000000, 0, 0, 0, 0, SAE_BATCHTOPK, 20, 1, 1024, 2000000, { [ABSORPTION] = 0.3 } },
	{ "tree, Matryoshka F 20 k 1", SAE_SYNTH_TREE, 1000000, 0, 0, 0, 0, SAE_MATRYOSHKA, 20, 1, 1024, 2000000, { 0 } },
	{ "tree, Matryoshka F 20 k 2", SAE_SYNTH_TREE, 1000000, 0, 0, 0, 0, SAE_MATRYOSHKA, 20, 2, 1024, 2000000, { [ABSORPTION] = -0.1 } },
	{ "hierarchy G 2048, TopK F 512 k 9", SAE_SYNTH_HIERARCHY, 500000, 128, 2048, 0, 32, SAE_TOPK, 512, 9, 1024, 10000000, { 0 } },
	{ "hierarchy, BatchTopK F 512 k 9", SAE_SYNTH_HIERARCHY, 500000, 128, 2048, 0, 32, SAE_BATCHTOPK, 512, 9, 1024, 10000000, { 0 } },
	{ "hierarchy, Matryoshka F 512 k 9", SAE_SYNTH_HIERARCHY, 500000, 128, 2048, 0, 32, SAE_MATRYOSHKA, 512, 9, 1024, 10000000, { 0 } },
	{ "hierarchy, L1 F 512, L0 9", SAE_SYNTH_HIERARCHY, 500000, 128, 2048, 0, 32, SAE_RELU, 512, 9, 1024, 10000000, { 0 } },
	{ "tokfsm 100 states, TopK F 1000 k 1", SAE_SYNTH_TOKFSM, 500000, 0, 0, 0, 0, SAE_TOPK, 1000, 1, 1024, 2000000, { [PURITY] = 0.95 } },
	{ "tokfsm, codebook 1000 k 1", SAE_SYNTH_TOKFSM, 500000, 0, 0, 0, 0, SAE_CODEBOOK, 1000, 1, 1024, 2000000, { [PURITY] = 0.95 } },
	{ "pairs, 50,000 rows, codebook k 2", SAE_SYNTH_CODEBOOK, 57143, 64, 128, 2, 0, SAE_CODEBOOK, 128, 2, 512, 400000, { [RECOVERY] = 0.9 } },
	{ "one of 64 codes, codebook k 1", SAE_SYNTH_CODEBOOK, 57143, 32, 64, 1, 0, SAE_CODEBOOK, 64, 1, 512, 100000, { [RECOVERY] = 0.999, [PURITY] = 0.99 } },
	{ "pairs of 128 codes, pursuit k 2", SAE_SYNTH_CODEBOOK, 500000, 64, 128, 2, 0, SAE_PURSUIT, 128, 2, 1024, 2000000, { 0 } },
};
/* clang-format on */

/* Means of two jobs: the first's is over `times` the second's. */
static const struct {
	int figure;
	const char *more, *less;
	double times;
} orders[] = {
	{ ABSORPTION, "tree, TopK F 20 k 2", "tree, Matryoshka F 20 k 2", 3 },
	{ F1, "hierarchy, Matryoshka F 512 k 9", "hierarchy, BatchTopK F 512 k 9", 1 },
	{ F1, "hierarchy, BatchTopK F 512 k 9", "hierarchy, L1 F 512, L0 9", 1 },
};

static double means[ARRAY_LEN(jobs)][FIGURES];
static bool ran[ARRAY_LEN(jobs)];
static error err;
static pool *threads;
static bool missed;

static void must(int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "bench_truth: %s\n", err.msg);
	exit(1);
}

typedef struct data {
	sae_dump *dump;
	sae_rows *rows;
	sae_truth *truth;
} data;

static data make(const job *j, const char *dir)
{
	sae_synth_opts o = sae_synth_opts_default(j->kind);
	const sae_rows_opts keep = { .max_norm_ratio = 10 };
	data s = { 0 };

	o.rows = j->rows;
	o.d = j->d ? j->d : o.d;
	o.features = j->features ? j->features : o.features;
	o.k = j->k_truth ? j->k_truth : o.k;
	o.roots = j->roots ? j->roots : o.roots;
	must(sae_synth_write(dir, j->kind, &o, true, threads, NULL, NULL, &err));
	must(sae_dump_open(&s.dump, &dir, 1, &(sae_dump_opts){ 0 }, &err));
	must(sae_rows_scan(&s.rows, s.dump, &keep, false, threads, NULL, &err));
	must(sae_rows_split(s.rows, s.dump, 0.125, SAE_SPLIT_DOCUMENT, 0, &err));
	must(sae_truth_open(&s.truth, dir, &err));
	return s;
}

static void clear(data *s)
{
	sae_truth_close(s->truth);
	sae_rows_free(s->rows);
	sae_dump_close(s->dump);
}

/* Figures of a model's decoder and codes, with their chance. codes: NULL: its own. */
static void measure(double value[FIGURES], double chance[FIGURES], const sae_model *m,
                    sae_codes_reader *codes, const data *s, uint64_t seed)
{
	sae_recovery r;
	sae_code_scores c;

	must(sae_recovery_measure(&r, m->W_dec, m->d_sae, s->truth->dictionary, s->truth->n_features,
	                          s->truth->present, s->truth->d, 3, seed, threads, &err));
	must(sae_code_scores_measure(&c, m, codes, &r, s->truth, s->dump, s->rows, 0, threads, NULL, &err));
	const sae_scored all[FIGURES] = {
		[MCC] = r.mcc,
		[MMCS] = r.mmcs_truth,
		[RECOVERY] = r.recovery[0],
		[UNIQUENESS] = r.uniqueness,
		[F1] = c.f1,
		[PURITY] = c.purity,
		[ABSORPTION] =
		        s->truth->has_parents ? c.absorption : (sae_scored){ (double)NAN, (double)NAN },
		[ALONE] = { s->truth->has_parents ? c.alone : (double)NAN, (double)NAN },
		[SHRINKAGE] = c.shrinkage,
		[EXPLAINED] = c.explained
	};
	for (int i = 0; i < FIGURES; i++) {
		value[i] = all[i].value;
		chance[i] = all[i].chance;
	}
	sae_recovery_clear(&r);
	sae_code_scores_clear(&c);
}

static void print_line(const char *name, const double value[FIGURES], const double *limit)
{
	printf("%-36s", name);
	for (int i = 0; i < FIGURES; i++) {
		double least = limit ? limit[i] : 0;
		bool off = (least > 0 && !(value[i] >= least)) || (least < 0 && !(value[i] <= -least));

		missed = missed || off;
		if (isnan(value[i]))
			printf(" %9s ", "-");
		else
			printf(" %9.3f%s", value[i], off ? "NO" : " ");
	}
	printf("\n");
	fflush(stdout);
}

/* ---- The truth as the SAE ------------------------------------------------------------------------------------------------------- */

static sae_model *model_of(const float *rows, const sae_truth *t)
{
	sae_model *m = NULL;

	must(sae_model_new(&m, SAE_TOPK, t->d, t->n_features, 4, &err));
	memcpy(m->W_dec, rows, (size_t)t->n_features * t->d * sizeof(*rows));
	memcpy(m->W_enc, rows, (size_t)t->n_features * t->d * sizeof(*rows));
	memcpy(m->b_dec, t->bias, t->d * sizeof(*t->bias));
	return m;
}

/* The rows in another order; every second one turned round. */
static float *permuted(const sae_truth *t)
{
	uint32_t n = t->n_features, d = t->d;
	float *rows = malloc((size_t)n * d * sizeof(*rows));

	for (uint32_t i = 0; i < n; i++) {
		uint32_t to = (uint32_t)hash64_permute(i, n, 1);

		for (uint32_t k = 0; k < d; k++)
			rows[(size_t)to * d + k] = (i % 2 ? -1.0f : 1.0f) * t->dictionary[(size_t)i * d + k];
	}
	return rows;
}

static float *random_rows(const sae_truth *t)
{
	size_t n = (size_t)t->n_features * t->d;
	float *rows = malloc(n * sizeof(*rows)), *unit;

	for (size_t i = 0; i < n; i++) { /* Box and Muller */
		double u = hash64_unit(hash64_mix(99, 2 * i)), v = hash64_unit(hash64_mix(99, 2 * i + 1));

		rows[i] = (float)(sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v));
	}
	unit = sae_unit_rows(rows, t->n_features, t->d);
	free(rows);
	return unit;
}

/* Directions alone count for the permuted and the random one; the truth has its own codes. */
static void truth_itself(const data *s)
{
	float *rows[] = { s->truth->dictionary, permuted(s->truth), random_rows(s->truth) };
	static const char *const what[] = { "  the truth as dictionary, own codes",
		                            "  permuted, half of them turned", "  random directions" };
	double value[FIGURES], chance[FIGURES], least[FIGURES] = { [MCC] = 1 - 1e-6 };

	for (int i = 0; i < 3; i++) {
		sae_model *m = model_of(rows[i], s->truth);

		measure(value, chance, m, i == 0 ? s->truth->codes : NULL, s, 7);
		if (i == 0)
			for (int f = 0; f < FIGURES; f++)
				least[f] = f == ABSORPTION || f == ALONE ? 0 : 1 - 1e-6;
		if (i == 1) {
			memset(least, 0, sizeof(least));
			least[MCC] = least[UNIQUENESS] = 1 - 1e-6;
		}
		if (i == 2) {
			memset(least, 0, sizeof(least));
			if (fabs(value[MCC] - chance[MCC]) > 0.01) {
				printf("  random MCC is off its chance %.3f: NO\n", chance[MCC]);
				missed = true;
			}
		}
		print_line(what[i], value, least);
		sae_model_free(m);
	}
	free(rows[1]);
	free(rows[2]);
}

/* ---- Training ----------------------------------------------------------------------------------------------------------------------- */

static sae_model *train(const job *j, const data *s, uint32_t seed)
{
	sae_train_opts o = sae_train_opts_default();
	sae_model *m = NULL;

	o.arch = j->arch;
	o.d_sae = j->F;
	o.k = j->k;
	if (j->arch == SAE_RELU) /* which has no k */
		o.penalty.target_l0 = j->k;
	o.batch = j->batch;
	o.tokens = j->tokens;
	o.seed = o.order_seed = seed;
	must(sae_train(&m, NULL, s->dump, s->rows, &o, threads, &err));
	return m;
}

static void compare_seeds(const sae_model *a, const sae_model *b)
{
	sae_stability s;

	must(sae_stability_measure(&s, a, b, 0.7, 0, threads, &err));
	printf("  seeds 0 and 1: over cosine 0.7 by decoder %.3f (chance %.3f), by encoder %.3f (%.3f), both "
	       "%.3f "
	       "(%.3f)\n",
	       s.share[0].value, s.share[0].chance, s.share[1].value, s.share[1].chance, s.shared.value,
	       s.shared.chance);
}

static void run_job(const job *j, const char *dir, uint32_t seeds)
{
	double *mean = means[j - jobs], value[FIGURES], chance[FIGURES];
	data s = make(j, dir);
	sae_model *first = NULL, *m;

	for (uint32_t seed = 0; seed < seeds; seed++) {
		m = train(j, &s, seed);
		measure(value, chance, m, NULL, &s, seed);
		for (int i = 0; i < FIGURES; i++)
			mean[i] += value[i] / seeds;
		if (seed == 1)
			compare_seeds(first, m);
		if (seed == 0) {
			print_line(j->name, value, NULL);
			first = m;
		} else {
			sae_model_free(m);
		}
	}
	sae_model_free(first);
	print_line("  mean of the seeds", mean, j->limit);
	print_line("  chance", chance, NULL);
	if (j == jobs)
		truth_itself(&s);
	clear(&s);
}

/* NULL: it was not run. */
static const double *means_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
		if (strcmp(jobs[i].name, name) == 0)
			return ran[i] ? means[i] : NULL;
	abort(); /* a table is wrong */
}

static void check_orders(void)
{
	for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
		const double *more = means_of(orders[i].more), *less = means_of(orders[i].less);
		int figure = orders[i].figure;
		bool good;

		if (!more || !less)
			continue;
		good = more[figure] > orders[i].times * less[figure];
		missed = missed || !good;
		printf("%s: %s %.3f, over %g times %s %.3f: %s\n", names[figure], orders[i].more,
		       more[figure], orders[i].times, orders[i].less, less[figure], good ? "yes" : "NO");
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_truth FOLDER [--seeds N] [--only TEXT]\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint32_t seeds = 3;
	const char *only = "";

	for (int i = 2; i < argc; i += 2) {
		if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
			seeds = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		else if (i + 1 < argc && strcmp(argv[i], "--only") == 0)
			only = argv[i + 1];
		else
			return usage();
	}
	if (argc < 2 || seeds < 1)
		return usage();
	must(pool_new(&threads, 0, &err));
	printf("held-out rows, seed 0 and the mean of %u seeds; alone: a parent's latent is silent without a "
	       "child\n%-36s",
	       seeds, "");
	for (int i = 0; i < FIGURES; i++)
		printf(" %9s ", names[i]);
	printf("\n");
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		ran[i] = strstr(jobs[i].name, only) != NULL;
		if (ran[i])
			run_job(&jobs[i], argv[1], seeds);
	}
	check_orders();
	pool_free(threads);
	return missed;
}
