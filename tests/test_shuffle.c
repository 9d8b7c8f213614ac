/* How well the order of training rows mixes. Rows come from the disk in blocks of 64 and are permuted among the rows of a
 * group, so rows of one context are in one batch more often than by chance; what is allowed is what follows from that
 * design, and the test says how much it is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/shuffle.h"
#include "tests/support.h"

enum { D = 576, CONTEXT = 256, BATCH = 4096, BATCHES = 24 };

/* Rows at positions first..first+n-1, which lie in one or several groups. */
static void rows_at(const shuffle *s, uint64_t first, uint64_t n, uint64_t *out)
{
	uint64_t *blocks = malloc(s->group * sizeof(*blocks));
	shuffle_group g = { 0 };

	for (uint64_t p = first; p < first + n; p++) {
		uint64_t i;

		if (p == first || p % s->n < g.first || p % s->n >= g.first + g.n || p / s->n != g.pass) {
			shuffle_group_of(&g, s, p);
			shuffle_group_blocks(&g, s, blocks);
		}
		i = shuffle_group_row(&g, p % s->n - g.first);
		/* all blocks of these dumps are whole */
		out[p - first] = blocks[i / s->block] * s->block + i % s->block;
	}
	free(blocks);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Pairs of one context among all pairs of a batch, over batches spread over the pass. */
static double same_context_share(const shuffle *s)
{
	static uint64_t rows[BATCH];
	double same = 0;

	for (uint64_t b = 0; b < BATCHES; b++) {
		uint64_t run = 0;

		rows_at(s, (s->n - BATCH) / (BATCHES - 1) * b, BATCH, rows);
		for (size_t i = 0; i < BATCH; i++)
			rows[i] /= CONTEXT;
		qsort(rows, BATCH, sizeof(*rows), compare);
		for (size_t i = 1; i < BATCH; i++) {
			run = rows[i] == rows[i - 1] ? run + 1 : 0;
			same += (double)run;
		}
	}
	return same / (BATCHES * (BATCH * (BATCH - 1.0) / 2));
}

/* A row shares its group of G rows with the other 63 of its block for certain, and with the other 192 of its context as
 * often as the group is a share of the dump; and a batch is a uniform sample of a group. So the share of same-context pairs
 * must be (63 + 192 (G - 64) / (n - 64)) / (G - 1), by which a row of a batch of 4096 has 4.4 more companions than the
 * 4095 * 255 / (n - 1) of chance: under one in 900. The margin of 5 % is five standard deviations of the count. */
static void check_mixing(uint64_t contexts, bool single_rows)
{
	uint64_t n = contexts * CONTEXT;
	double chance = (CONTEXT - 1) / (double)(n - 1), share, g, wanted = chance;
	shuffle s;

	shuffle_init(&s, n, D, single_rows, 11);
	share = same_context_share(&s);
	g = (double)shuffle_group_rows(&s);
	if (!single_rows && s.n_groups > 1)
		wanted = (63 + 192 * (g - 64) / (double)(n - 64)) / (g - 1);
	ck_assert_msg(fabs(share / wanted - 1) < 0.05 + 5 / sqrt(wanted * BATCHES * BATCH * BATCH / 2),
	              "share %g, wanted %g, chance %g", share, wanted, chance);
	ck_assert_double_le(share, chance + 1 / 900.0);
}

START_TEST(contexts_share_a_batch_little_more_than_by_chance)
{
	check_mixing(200, false);  /* one group: as by chance */
	check_mixing(2000, false); /* 9 groups */
	check_mixing(8192, false); /* 2 million rows, 36 groups */
	check_mixing(2000, true);  /* single rows: as by chance */
}
END_TEST

/* Positions in the context are as frequent in a batch as in the dump: chi-square with 255 degrees of freedom, of mean 255
 * and deviation 22.6, over six of them from it would be news. A batch of whole blocks only would be far off. */
START_TEST(positions_are_uniform_in_every_batch)
{
	static uint64_t rows[BATCH];
	shuffle s;

	shuffle_init(&s, (uint64_t)2000 * CONTEXT, D, false, 12);
	for (uint64_t b = 0; b < 100; b++) {
		double count[CONTEXT] = { 0 }, squares = 0;

		rows_at(&s, b * BATCH, BATCH, rows);
		for (size_t i = 0; i < BATCH; i++)
			count[rows[i] % CONTEXT]++;
		for (size_t i = 0; i < CONTEXT; i++)
			squares += (count[i] - BATCH / CONTEXT) * (count[i] - BATCH / CONTEXT);
		ck_assert_double_le(squares / (BATCH / CONTEXT), 255 + 6 * 22.6);
	}
}
END_TEST

START_TEST(every_row_comes_once_a_pass)
{
	uint64_t n = (uint64_t)2000 * CONTEXT;
	uint64_t *rows = malloc(n * sizeof(*rows));
	unsigned char *seen = calloc(n, 1);
	shuffle s;

	shuffle_init(&s, n, D, false, 13);
	ck_assert_uint_gt(s.n_groups, 1);
	for (uint64_t pass = 0; pass < 2; pass++) {
		memset(seen, 0, n);
		rows_at(&s, pass * n, n, rows);
		for (uint64_t i = 0; i < n; i++) {
			ck_assert_uint_lt(rows[i], n);
			seen[rows[i]]++;
		}
		for (uint64_t i = 0; i < n; i++)
			if (seen[i] != 1)
				ck_abort_msg("row %llu comes %u times", (unsigned long long)i, seen[i]);
	}
	free(rows);
	free(seen);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "mixing", contexts_share_a_batch_little_more_than_by_chance,
	             positions_are_uniform_in_every_batch, every_row_comes_once_a_pass);
}
SUPPORT_MAIN("shuffle", cases)
