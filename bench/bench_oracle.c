/* bench_oracle: how often the intervals of scores hold the truth. Planted features, labels that name their words, and a judge on
 * loopback that knows the rule and errs at set rates, so that the value a score estimates is known: a run a feature and
 * scorer. Then intervals alone, by simulation: what is used against a bootstrap.
 *
 *	TMPDIR=/dev/shm bench_oracle [RUNS [SIMULATIONS [TEXT]]]     400 runs a row, 20,000 simulations (0: none); rows with
 *	                                                            TEXT in their names
 *
 * In memory, since every reply is synced. */
#include "explain/explain.h"
#include "explain/stats.h"
#include "store/store_internal.h"
#include "tests/support_oracle.h"
#include "tests/support_planted.h"
#include "tests/support_subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESAMPLES = 1000, RANDOM_FEATURES = 100 };

static error err;

static void must(int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "bench_oracle: %s\n", err.msg);
	exit(1);
}

static double sql(store *s, const char *query)
{
	sqlite3_stmt *st = NULL;
	double x;

	must(store_prepare(&st, s, query, &err));
	x = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_double(st, 0) : (double)NAN;
	sqlite3_finalize(st);
	return x;
}

/* ---- Through the whole program ---------------------------------------------------------------------------------------- */

typedef struct trial {
	const char *name, *scorer;
	double miss, false_alarm, d, precision;
	bool random; /* features that fire at random */
	double truth;
	const char *value, *low, *high; /* SQL */
} trial;

#define OF_SCORE "value", "low", "high"
#define OF_AREA  "details ->> '$.auroc.value'", "details ->> '$.auroc.low'", "details ->> '$.auroc.high'"
#define OF_HARD  "details ->> '$.tnr.value'", "details ->> '$.tnr.low'", "details ->> '$.tnr.high'"

#define SIMULATED -1 /* as simulated() says */

/* The correlation over very many windows: 50 of 16 tokens in which the feature fires on the one that it was found by, and 50 random
 * ones; elsewhere it fires on each of 1.5 * features words alike. Where it fires its activation is 1 to 7 (support_planted.c), of which
 * tenths of 7 are 1, 2, 4, 5, 7, 8, 10; the judge says 10 there, but misses some, and at false alarms elsewhere. By log-probabilities
 * that is 9 and 1, which is the same but for scale. */
static double simulated(const trial *t, unsigned features)
{
	double other = 1 / (1.5 * features), p = (50 * (1 + 15 * other) + 50 * 16 * other) / 1600;
	double mean = 37 / 7.0, square = 259 / 7.0, q = p * (1 - t->miss) + (1 - p) * t->false_alarm;
	double covariance = 10 * mean * p * (1 - p) * (1 - t->miss - t->false_alarm);

	return covariance / sqrt((p * square - p * p * mean * mean) * 100 * q * (1 - q));
}

static const trial trials[] = {
	{ "detection", "detection", 0.15, 0.1, 0, 0, false, 0.875, OF_SCORE },
	{ "detection, weak judge", "detection", 0.45, 0.4, 0, 0, false, 0.575, OF_SCORE },
	{ "detection, good judge", "detection", 0.03, 0.02, 0, 0, false, 0.975, OF_SCORE },
	{ "detection, silent ones alone", "detection", 0.2, 0.07, 0, 0, false, 0.93, OF_HARD },
	{ "detection, until within 0.1", "detection", 0.15, 0.1, 0, 0.1, false, 0.875, OF_SCORE },
	{ "detection, until within 0.15", "detection", 0.3, 0.2, 0, 0.15, false, 0.75, OF_SCORE },
	{ "detection by log-probabilities, AUROC", "detection", 0, 0, 2, 0, false, 0.921350, OF_AREA },
	{ "confidence, AUROC", "confidence", 0, 0, 0, 0, false, 0.921350, OF_SCORE },
	{ "fuzz", "fuzz", 0.15, 0.1, 0, 0, false, 0.875, OF_SCORE },
	{ "fuzz, weak judge", "fuzz", 0.45, 0.4, 0, 0, false, 0.575, OF_SCORE },
	{ "fuzz by log-probabilities, AUROC", "fuzz", 0, 0, 2, 0, false, 0.921350, OF_AREA },
	{ "surprisal, AUROC", "surprisal", 0, 0, 2, 0, false, 0.921350, OF_SCORE },
	{ "surprisal, weak label, AUROC", "surprisal", 0, 0, 0.5, 0, false, 0.638163, OF_SCORE },
	{ "embedding, AUROC", "embedding", 0, 0, 2, 0, false, 0.921350, OF_SCORE },
	{ "embedding, weak encoder, AUROC", "embedding", 0, 0, 0.5, 0, false, 0.638163, OF_SCORE },
	{ "embedding, until within 0.1, AUROC", "embedding", 0, 0, 2, 0.1, false, 0.921350, OF_SCORE },
	{ "embedding, features that fire at random", "embedding", 0, 0, 2, 0, true, 0.5, OF_SCORE },
	{ "intervention, nats", "intervention", 0, 0, 1, 0, false, 1, OF_SCORE },
	{ "intervention, nothing to gain", "intervention", 0, 0, 0, 0, false, 0, OF_SCORE },
	{ "simulation", "simulation", 0.15, 0.01, 0, 0, false, SIMULATED, OF_SCORE },
	{ "simulation, weak judge", "simulation", 0.5, 0.02, 0, 0, false, SIMULATED, OF_SCORE },
	{ "simulation, good judge", "simulation", 0.03, 0.002, 0, 0, false, SIMULATED, OF_SCORE },
	{ "simulation, until within 0.1", "simulation", 0.15, 0.01, 0, 0.1, false, SIMULATED, OF_SCORE },
	{ "simulation by log-probabilities", "simulation", 0.15, 0.01, 1, 0, false, SIMULATED, OF_SCORE },
	{ "intruder", "intruder", 0.15, 0, 0, 0, false, 0.85, OF_SCORE },
	{ "intruder, weak judge", "intruder", 0.6, 0, 0, 0, false, 0.4, OF_SCORE },
	{ "intruder, features that fire at random", "intruder", 0, 0, 0, 0, true, 0.2, OF_SCORE },
};

static void print_baseline(store *s, double chance)
{
	double n = sql(s, "SELECT count(baseline) FROM score"),
	       mean = sql(s, "SELECT avg(baseline) FROM score");
	double var = sql(s, "SELECT avg(baseline * baseline) - avg(baseline) * avg(baseline) FROM score");
	double half = 1.96 * sqrt(var / n);

	if (n > 0)
		printf("  %.4f +- %.4f%s", mean, half, fabs(mean - chance) <= half ? "" : " (!)");
}

/* On a fresh copy of the store at `made`. */
static void run(const trial *t, const char *made, const char *folder, unsigned runs, unsigned number)
{
	oracle judge = { .miss = t->miss,
		         .false_alarm = t->false_alarm,
		         .seed = 77 + number,
		         .d = t->d,
		         .echo = t->d > 0 };
	bool simulation = strcmp(t->scorer, "simulation") == 0;
	double truth = simulation ? simulated(t, runs) : t->truth;
	subject_oracle model = { .d = t->d, .seed = 77 + number };
	bool steers = strcmp(t->scorer, "intervention") == 0;
	bool subject = steers || strcmp(t->scorer, "surprisal") == 0;
	llm_server *server = subject ? llm_start_answering(subject_answer, &model)
	                             : llm_start_answering(oracle_answer, &judge);
	explain_client_opts client = explain_client_opts_default();
	explain_opts o = explain_opts_default();
	char path[FILE_PATH_MAX], list[64], query[2 * FILE_PATH_MAX + 16];
	double n, inside;
	store *s;

	snprintf(path, sizeof(path), "%s/%u.db", folder, number);
	snprintf(query, sizeof(query), "cp '%s' '%s'", made, path);
	if (system(query) != 0)
		exit(1);
	must(store_open(&s, path, STORE_WRITE, &err));
	snprintf(list, sizeof(list), t->random ? "%u-%u" : "0-%u", t->random ? runs : runs - 1,
	         runs + RANDOM_FEATURES - 1);
	client.base_url = llm_url(server);
	client.model = "oracle";
	o.client = subject ? NULL : &client;
	o.subject = subject ? &client : NULL;
	o.scorer = t->scorer;
	o.features = list;
	o.window = 16;
	o.seed = number;
	o.n_hard = 0;
	o.precision = t->precision;
	o.logprobs = t->d > 0 && !subject && strcmp(t->scorer, "embedding") != 0;
	must(explain_score(NULL, s, &o, &err));
	n = sql(s, "SELECT count(*) FROM score");
	snprintf(query, sizeof(query), "SELECT count(*) FROM score WHERE %s <= %.9g AND %.9g <= %s", t->low,
	         truth, truth, t->high);
	inside = sql(s, query);
	snprintf(query, sizeof(query), "SELECT avg(%s) FROM score", t->value);
	printf("%-40s %5.0f  %6.4f  %6.4f  %5.1f %%%s", t->name, n, truth, sql(s, query), 100 * inside / n,
	       inside / n >= 0.928 ? "    " : " (!)");
	snprintf(query, sizeof(query), "SELECT avg(%s - %s) / 2 FROM score", t->high, t->low);
	printf("  %.3f", sql(s, query));
	printf("  %5.1f", (double)(subject ? model.items : judge.items) / n);
	print_baseline(s, steers || simulation ? 0 : 0.5);
	printf("\n");
	fflush(stdout);
	store_close(s);
	llm_stop(server);
}

static void run_all(unsigned runs, const char *only)
{
	planted p = {
		.features = runs, .random = RANDOM_FEATURES, .times = 400, .tokens = 64, .decoder = true
	};
	const char *temporary = getenv("TMPDIR");
	char folder[256], made[FILE_PATH_MAX], command[FILE_PATH_MAX];
	store *s;

	snprintf(folder, sizeof(folder), "%s/bench_oracle.XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(folder))
		exit(1);
	snprintf(made, sizeof(made), "%s/made.db", folder);
	must(planted_open(&s, made, &p, &err));
	must(planted_label(s, &p, &err));
	store_close(s);
	printf("%-40s %5s  %6s  %6s  %7s    %6s  %5s  %s\n", "", "runs", "truth", "mean", "holds it", "half",
	       "items", "by another label, mean");
	for (unsigned i = 0; i < ARRAY_LEN(trials); i++)
		if (strstr(trials[i].name, only))
			run(&trials[i], made, folder, runs, i + 1);
	snprintf(command, sizeof(command), "rm -r '%s'", folder);
	if (system(command) != 0)
		exit(1);
}

/* ---- Intervals of balanced accuracy alone ----------------------------------------------------------------------------- */

static uint64_t drawn;

static uint32_t binomial(uint32_t n, double p)
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < n; i++)
		hits += hash64_unit(hash64_mix(3, drawn++)) < p;
	return hits;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Percentiles of resamples of both kinds apart. */
static bool bootstrap_holds(uint32_t tp, uint32_t tn, uint32_t n, double truth)
{
	double value[RESAMPLES];

	for (int i = 0; i < RESAMPLES; i++)
		value[i] = (binomial(n, (double)tp / n) + binomial(n, (double)tn / n)) / (2.0 * n);
	qsort(value, RESAMPLES, sizeof(*value), by_value);
	return value[RESAMPLES / 40] <= truth + 1e-12 &&
	       truth <= value[RESAMPLES - 1 - RESAMPLES / 40] + 1e-12;
}

static void simulate(unsigned times)
{
	static const struct {
		double tpr, tnr;
		uint32_t n;
	} of[] = { { 0.75, 0.75, 50 },
		   { 0.85, 0.9, 50 },
		   { 0.95, 0.95, 50 },
		   { 0.98, 0.99, 50 },
		   { 0.85, 0.9, 20 } };

	printf("\nbalanced accuracy, n of each kind        truth  as used        bootstrap (percentiles, "
	       "%d)\n",
	       RESAMPLES);
	for (size_t c = 0; c < ARRAY_LEN(of); c++) {
		double truth = (of[c].tpr + of[c].tnr) / 2;
		unsigned used = 0, boot = 0, some = times / 10;

		for (unsigned i = 0; i < times; i++) {
			uint32_t tp = binomial(of[c].n, of[c].tpr), tn = binomial(of[c].n, of[c].tnr);
			stats_balanced b = stats_balanced_accuracy(tp, of[c].n, tn, of[c].n, 0.95);

			used += b.low <= truth && truth <= b.high;
			boot += i < some && bootstrap_holds(tp, tn, of[c].n, truth);
		}
		printf("rates %.2f and %.2f, n %2u                 %.3f        %5.1f %%      %5.1f %%\n",
		       of[c].tpr, of[c].tnr, of[c].n, truth, 100.0 * used / times, 100.0 * boot / some);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	unsigned runs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 400;
	unsigned times = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20000;

	if (runs)
		run_all(runs, argc > 3 ? argv[3] : "");
	if (times)
		simulate(times);
	return 0;
}
