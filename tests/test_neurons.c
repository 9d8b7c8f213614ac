/* Neurons as features: where they fire, and their codes. */
#include "tests/support.h"

#include <stdlib.h>

#include "tests/support_dump.h"

enum { D = 5, ROWS = 400 };

/* Dimension j at row i: a permutation of the rows, over 0 and below it, each value once. */
static float value(uint64_t row, uint32_t j)
{
	return (float)((row * (7 + 2 * j) + 11 * j) % (ROWS + 1)) - 150;
}

typedef struct fixture {
	sae_dump *dump;
	sae_rows *rows;
	pool *pool;
} fixture;

static void set_up(fixture *f, unsigned threads)
{
	const made_dump m = { .contexts = 50,
		              .ctx_len = 8,
		              .d = D,
		              .shards = 1,
		              .dtype = SAE_F32,
		              .tokens = true,
		              .value = value };
	const sae_rows_opts keep = { 0 };

	made_dump_write(in_folder("."), &m);
	f->dump = made_dump_open(in_folder("."), NULL);
	ck_assert_int_eq(pool_new(&f->pool, threads, NULL), 0);
	ck_assert_int_eq(sae_rows_scan(&f->rows, f->dump, &keep, false, f->pool, NULL, NULL), 0);
}

static void tear_down(fixture *f)
{
	sae_rows_free(f->rows);
	sae_dump_close(f->dump);
	pool_free(f->pool);
	leave_folder();
}

static sae_neurons *make(const fixture *f, float threshold, double density, bool both)
{
	const sae_neurons_opts o = { threshold, density, both };
	sae_neurons *n = NULL;
	error err;

	ck_assert_msg(sae_neurons_new(&n, f->dump, f->rows, &o, f->pool, &err) == 0, "%s", err.msg);
	return n;
}

/* Every code is where the definition says, and none is missing; returns how many there are. */
static size_t check_codes(const fixture *f, const sae_neurons *n, size_t fires[2 * D])
{
	float *x = malloc(sizeof(*x) * ROWS * D);
	sae_codes c = { 0 };
	size_t at = 0;

	ck_assert_int_eq(sae_dump_read(f->dump, 0, ROWS, x, NULL), 0);
	ck_assert_int_eq(sae_neurons_encode(&c, n, x, ROWS, f->pool, NULL), 0);
	ck_assert_uint_eq(c.n, ROWS);
	for (size_t r = 0; r < ROWS; r++) {
		ck_assert_uint_eq(c.first[r], at);
		for (uint32_t i = 0; i < n->n_features; i++) {
			float v = i < D ? x[r * D + i] : -x[r * D + i - D];

			if (v > n->threshold[i]) {
				ck_assert_uint_eq(c.index[at], i);
				ck_assert_float_eq(c.value[at], v);
				fires[i]++;
				at++;
			}
		}
	}
	ck_assert_uint_eq(c.first[ROWS], at);
	sae_codes_free(&c);
	free(x);
	return at;
}

START_TEST(fires_over_a_threshold)
{
	size_t fires[2 * D] = { 0 };
	fixture f;
	sae_neurons *n;

	set_up(&f, 2);
	n = make(&f, 3.5f, 0, false);
	ck_assert_uint_eq(n->n_features, D);
	ck_assert(!n->both_signs);
	for (uint32_t i = 0; i < D; i++)
		ck_assert_float_eq(n->threshold[i], 3.5f);
	ck_assert_uint_gt(check_codes(&f, n, fires), 0);
	sae_neurons_free(n);
	tear_down(&f);
}
END_TEST

/* All rows are in the sample, so the density is exact; values below 0 do not fire however few they are. */
START_TEST(fires_on_a_share_of_tokens)
{
	size_t fires[2 * D] = { 0 };
	fixture f;
	sae_neurons *n;

	set_up(&f, 2);
	n = make(&f, 0, 0.1, true);
	ck_assert_uint_eq(n->n_features, 2 * D);
	check_codes(&f, n, fires);
	for (uint32_t i = 0; i < 2 * D; i++)
		ck_assert_uint_eq(fires[i], ROWS / 10);
	sae_neurons_free(n);

	n = make(&f, 0, 0.9, true);
	memset(fires, 0, sizeof(fires));
	check_codes(&f, n, fires);
	for (uint32_t i = 0; i < D; i++) {
		ck_assert_float_eq(n->threshold[i], 0);
		ck_assert_float_eq(n->threshold[D + i], 0);
		ck_assert_uint_ge(fires[i] + fires[D + i], ROWS - 1); /* but for a 0 */
	}
	sae_neurons_free(n);
	tear_down(&f);
}
END_TEST

START_TEST(same_at_any_thread_count)
{
	char digest[SHA256_HEX] = "";

	for (unsigned threads = 1; threads <= 3; threads++) {
		fixture f;
		sae_neurons *n;

		set_up(&f, threads);
		n = make(&f, 1, 0.25, true);
		if (threads > 1)
			ck_assert_str_eq(n->sha256, digest);
		memcpy(digest, n->sha256, sizeof(digest));
		sae_neurons_free(n);
		tear_down(&f);
	}
}
END_TEST

START_TEST(refuses_what_is_out_of_range)
{
	static const sae_neurons_opts wrong[] = { { -1, 0, false }, { 0, 1, false }, { 0, -0.5, false } };
	fixture f;

	set_up(&f, 1);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		sae_neurons *n = NULL;
		error err = { 0 };

		ck_assert_int_eq(sae_neurons_new(&n, f.dump, f.rows, &wrong[i], f.pool, &err), ERR_ARG);
		ck_assert_ptr_null(n);
		ck_assert_ptr_nonnull(strstr(err.msg, i ? "density" : "threshold"));
	}
	tear_down(&f);
}
END_TEST

START_TEST(survives_without_memory)
{
	const sae_neurons_opts o = { 0, 0.1, true };
	fixture f;

	set_up(&f, 1);
	for (long nth = 0;; nth++) {
		sae_neurons *n = NULL;
		error err = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, nth);
		rc = sae_neurons_new(&n, f.dump, f.rows, &o, f.pool, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			sae_neurons_free(n);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(n);
	}
	tear_down(&f);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "firing", fires_over_a_threshold, fires_on_a_share_of_tokens,
	             same_at_any_thread_count);
	SUPPORT_CASE(s, "trouble", refuses_what_is_out_of_range, survives_without_memory);
}

SUPPORT_MAIN("neurons", cases)
