/* Encoding and decoding against plain loops in FP64; ties; threads; failing allocations. */
#include "tests/support.h"

#include <math.h>

#include "sae/encode.h"

static const sae_arch arches[] = { SAE_TOPK, SAE_GROUPMAX, SAE_JUMPRELU };

static float uniform(uint64_t seed, uint64_t i)
{
	return (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

static sae_model *random_model(sae_arch arch, uint32_t d, uint32_t n_features, uint32_t k)
{
	sae_model *m;

	ck_assert_int_eq(sae_model_new(&m, arch, d, n_features, k, NULL), 0);
	for (size_t f = 0; m->threshold && f < n_features; f++)
		m->threshold[f] =
		        f % 3 ? 0.5f + 0.5f * uniform(6, f) : 0; /* in each block a least that is far off */
	for (size_t i = 0; i < (size_t)n_features * d; i++) {
		m->W_enc[i] = uniform(1, i);
		m->W_dec[i] = uniform(2, i);
	}
	for (size_t f = 0; f < n_features; f++)
		m->b_enc[f] = uniform(3, f) - 0.5f;
	for (size_t i = 0; i < d; i++)
		m->b_dec[i] = uniform(4, i);
	return m;
}

static void random_rows(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = uniform(5, i);
}

/* Rank of feature f among the pre-activations: those larger, and those equal of lower number. */
static size_t rank_of(const double *pre, size_t n_features, size_t f)
{
	size_t rank = 0;

	for (size_t g = 0; g < n_features; g++)
		rank += pre[g] > pre[f] || (pre[g] == pre[f] && g < f);
	return rank;
}

/* Whether the model keeps feature f of these pre-activations (but for rounding at the edge). */
static bool keeps(const sae_model *m, const double *pre, size_t f)
{
	size_t group = m->k ? m->d_sae / m->k : 0;

	if (m->arch == SAE_JUMPRELU)
		return pre[f] > m->threshold[f];
	if (m->arch == SAE_GROUPMAX)
		return pre[f] > 0 && rank_of(pre + f / group * group, group, f % group) == 0;
	return pre[f] > 0 && rank_of(pre, m->d_sae, f) < m->k;
}

/* Row t of the codes holds exactly the features that the definition keeps. */
static void check_row(const sae_model *m, const float *x, const sae_codes *c, size_t t)
{
	static double pre[3000];
	size_t next = c->first[t], d = m->d_in;

	for (size_t f = 0; f < m->d_sae; f++) {
		pre[f] = m->b_enc[f];
		for (size_t i = 0; i < d; i++)
			pre[f] += ((double)x[t * d + i] - m->b_dec[i]) * m->W_enc[f * d + i];
	}
	for (size_t f = 0; f < m->d_sae; f++) {
		bool want = keeps(m, pre, f);
		bool have = next < c->first[t + 1] && c->index[next] == f;

		ck_assert_msg(want == have, "row %zu feature %zu pre %g", t, f, pre[f]);
		if (have)
			ck_assert_double_le(fabs(c->value[next++] - pre[f]), 1e-5);
	}
	ck_assert_uint_eq(next, c->first[t + 1]);
}

static void check_shape(sae_arch arch, uint32_t d, uint32_t n_features, uint32_t k, size_t n, const char *set)
{
	sae_model *m = random_model(arch, d, n_features, k);
	float *x = mem_alloc_aligned(n, d * sizeof(float));
	sae_encoder *e;
	sae_codes c = { 0 };
	pool *p;

	random_rows(x, n * d);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(sae_encoder_new(&e, m, p, set, NULL), 0);
	ck_assert_int_eq(sae_encode(e, x, n, &c, NULL), 0);
	for (size_t t = 0; t < n; t += 1 + n / 20)
		check_row(m, x, &c, t);
	sae_encoder_free(e);
	sae_codes_free(&c);
	pool_free(p);
	free(x);
	sae_model_free(m);
}

START_TEST(jumprelu_keeps_what_is_over_its_threshold)
{
	check_shape(SAE_JUMPRELU, 7, 50, 0, 300, "scalar");
	check_shape(SAE_JUMPRELU, 7, 50, 0, 300, NULL);
	check_shape(SAE_JUMPRELU, 24, 2100, 0, 270, NULL); /* three products a tile */
	check_shape(SAE_BATCHTOPK, 24, 1025, 8, 3, NULL);
	check_shape(SAE_JUMPRELU, 1, 1, 0, 2, NULL);
}
END_TEST

/* Features over their thresholds by the kernels' own products, which is what their values are: however candidates are
 * found, the codes are these bits. */
static void check_bits(uint32_t d, uint32_t n_features, size_t n, const char *set)
{
	sae_model *m = random_model(SAE_JUMPRELU, d, n_features, 0);
	const kernels *k = kernels_get(set);
	float *x = mem_alloc_aligned(n, d * sizeof(float)), *row = mem_alloc_aligned(d, sizeof(float));
	sae_encoder *e;
	sae_codes c = { 0 };
	size_t at = 0;
	pool *p;

	random_rows(x, n * d);
	for (size_t f = 0; f < n_features; f++)
		m->threshold[f] *= sqrtf((float)d);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(sae_encoder_new(&e, m, p, set, NULL), 0);
	ck_assert_int_eq(sae_encode(e, x, n, &c, NULL), 0);
	for (size_t t = 0; t < n; t++) {
		k->center(row, x + t * d, 1, m->b_dec, d);
		ck_assert_uint_eq(c.first[t], at);
		for (size_t f = 0; f < n_features; f++) {
			float value = k->dot(m->W_enc + f * d, row, d) + m->b_enc[f];

			if (!(value > m->threshold[f]))
				continue;
			if (at == c.first[t + 1] || c.index[at] != f || memcmp(&c.value[at], &value, 4) != 0)
				ck_abort_msg("row %zu feature %zu: %a is not among its codes", t, f,
				             (double)value); /* an assertion each would take seconds */
			at++;
		}
	}
	ck_assert_uint_eq(c.first[n], at);
	ck_assert_uint_gt(at, n);
	sae_encoder_free(e);
	sae_codes_free(&c);
	pool_free(p);
	free(row);
	free(x);
	sae_model_free(m);
}

START_TEST(jumprelu_codes_are_the_same_bits_screened_and_not)
{
	const uint32_t too_wide = SCREEN_MAX_DIMS + 1;

	ck_assert(screen_pays(SAE_SCREENING_EXACT, &screen_avx2, 100, 5000, 0));
	ck_assert(!screen_pays(SAE_SCREENING_EXACT, &screen_avx2, too_wide, 40, 0));
	for (size_t i = 0; kernels_names[i]; i++) {
		if (!kernels_get(kernels_names[i]))
			continue;
		check_bits(100, 5000, 270, kernels_names[i]); /* two tiles */
		check_bits(too_wide, 40, 12, kernels_names[i]);
	}
}
END_TEST

START_TEST(groupmax_keeps_the_largest_of_each_group)
{
	check_shape(SAE_GROUPMAX, 7, 50, 5, 300, "scalar");
	check_shape(SAE_GROUPMAX, 7, 50, 5, 300, NULL);
	check_shape(SAE_GROUPMAX, 24, 2100, 3, 270, NULL); /* groups of 700: over the edges of products */
	check_shape(SAE_GROUPMAX, 24, 2100, 700, 30, NULL);
	check_shape(SAE_GROUPMAX, 24, 1025, 1, 3, NULL); /* one group */
	check_shape(SAE_GROUPMAX, 5, 20, 20, 9, NULL);   /* k = F: the ReLU alone */
}
END_TEST

/* Equal pre-activations: at the threshold a feature is silent; in a group the first wins. */
START_TEST(edges_are_as_defined)
{
	float x[2] = { 0 };
	sae_model *m;
	sae_encoder *e;
	sae_codes c = { 0 };
	pool *p;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_model_new(&m, SAE_JUMPRELU, 2, 4, 0, NULL), 0);
	for (size_t f = 0; f < 4; f++)
		m->b_enc[f] = 0.5f;
	m->threshold[0] = 0.5f;
	m->threshold[1] = nextafterf(0.5f, 0);
	m->threshold[2] = 1;
	ck_assert_int_eq(sae_encoder_new(&e, m, p, NULL, NULL), 0);
	ck_assert_int_eq(sae_encode(e, x, 1, &c, NULL), 0);
	ck_assert_uint_eq(c.first[1], 2);
	ck_assert_uint_eq(c.index[0], 1);
	ck_assert_uint_eq(c.index[1], 3);
	sae_encoder_free(e);
	sae_model_free(m);

	ck_assert_int_eq(sae_model_new(&m, SAE_GROUPMAX, 2, 6, 2, NULL), 0);
	m->b_enc[1] = m->b_enc[2] = 0.5f; /* the other group: 0, which is not over 0 */
	ck_assert_int_eq(sae_encoder_new(&e, m, p, NULL, NULL), 0);
	ck_assert_int_eq(sae_encode(e, x, 1, &c, NULL), 0);
	ck_assert_uint_eq(c.first[1], 1);
	ck_assert_uint_eq(c.index[0], 1);
	sae_encoder_free(e);
	sae_model_free(m);
	sae_codes_free(&c);
	pool_free(p);
}
END_TEST

START_TEST(codes_are_the_largest_positive_values)
{
	check_shape(SAE_TOPK, 7, 50, 5, 300, "scalar");
	check_shape(SAE_TOPK, 7, 50, 5, 300, NULL);
	check_shape(SAE_TOPK, 24, 2100, 32, 270, NULL); /* three products a tile */
	check_shape(SAE_TOPK, 24, 1025, 8, 3, NULL);
	check_shape(SAE_TOPK, 5, 20, 20, 9, NULL); /* k = F: the ReLU alone */
	check_shape(SAE_TOPK, 1, 1, 1, 2, NULL);
}
END_TEST

/* All features equal: the first k win. */
START_TEST(ties_go_to_lower_features)
{
	const uint32_t n_features = 1500, k = 9;
	float x[3] = { 1, 2, 3 };
	sae_model *m;
	sae_encoder *e;
	sae_codes c = { 0 };
	pool *p;

	ck_assert_int_eq(sae_model_new(&m, SAE_TOPK, 3, n_features, k, NULL), 0);
	for (size_t f = 0; f < n_features; f++)
		m->b_enc[f] = 0.5f;
	m->b_enc[1400] = 0.75f;
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_encoder_new(&e, m, p, NULL, NULL), 0);
	ck_assert_int_eq(sae_encode(e, x, 1, &c, NULL), 0);
	ck_assert_uint_eq(c.first[1], k);
	for (uint32_t j = 0; j + 1 < k; j++)
		ck_assert_uint_eq(c.index[j], j);
	ck_assert_uint_eq(c.index[k - 1], 1400);
	sae_encoder_free(e);
	sae_codes_free(&c);
	pool_free(p);
	sae_model_free(m);
}
END_TEST

START_TEST(threads_do_not_change_a_bit)
{
	const size_t n = 1000, d = 16, k = 8;
	sae_model *m = random_model(arches[_i], d, 1200, k);
	float *x = mem_alloc_aligned(n, d * sizeof(float)), *first = mem_alloc_aligned(n, d * sizeof(float)),
	      *out = mem_alloc_aligned(n, d * sizeof(float));

	random_rows(x, n * d);
	for (unsigned threads = 1; threads <= 3; threads++) {
		sae_encoder *e;
		sae_codes c = { 0 };
		pool *p;

		ck_assert_int_eq(pool_new(&p, threads, NULL), 0);
		ck_assert_int_eq(sae_encoder_new(&e, m, p, NULL, NULL), 0);
		ck_assert_int_eq(sae_encode(e, x, n, &c, NULL), 0);
		sae_decode(m, x, &c, threads == 1 ? first : out, p);
		if (threads > 1)
			ck_assert_mem_eq(out, first, n * d * sizeof(float));
		sae_encoder_free(e);
		sae_codes_free(&c);
		pool_free(p);
	}
	free(x);
	free(first);
	free(out);
	sae_model_free(m);
}
END_TEST

/* What earlier rows taught an encoder is a matter of speed: tiles whose values are lower or higher, as a share of the row's
 * norm, than those of the tiles before, as a whole and in a few rows. */
START_TEST(earlier_rows_do_not_change_codes)
{
	const size_t n = 6 * SAE_ENCODE_TILE, d = 24, k = 8;
	sae_model *m = random_model(SAE_TOPK, d, 1200, k);
	float *x = mem_alloc_aligned(n, d * sizeof(float));
	sae_codes all = { 0 };
	sae_encoder *e;
	pool *p;

	random_rows(x, n * d);
	for (size_t t = 0; t < n;
	     t++) { /* of small rows the biases tell more: their values are large for their norm */
		bool low = t / SAE_ENCODE_TILE == 2 || t % 97 == 5 || t % 97 == 6;
		float scale = t / SAE_ENCODE_TILE == 4 ? 1e-3f : low ? 10 : 0.1f;

		for (size_t i = 0; i < d; i++)
			x[t * d + i] = m->b_dec[i] + scale * x[t * d + i];
	}
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_encoder_new(&e, m, p, NULL, NULL), 0);
	for (int turn = 0; turn < 2; turn++) /* in the second, the first row comes after the last */
		ck_assert_int_eq(sae_encode(e, x, n, &all, NULL), 0);
	sae_encoder_free(e);
	for (size_t t = 0; t < n; t += t % 97 == 5 ? 1 : 37) {
		sae_codes one = { 0 };
		size_t count = all.first[t + 1] - all.first[t];

		ck_assert_int_eq(sae_encoder_new(&e, m, p, NULL, NULL), 0);
		ck_assert_int_eq(sae_encode(e, x + t * d, 1, &one, NULL), 0);
		ck_assert_uint_eq(one.first[1], count);
		ck_assert_mem_eq(one.index, all.index + all.first[t], count * sizeof(*one.index));
		ck_assert_mem_eq(one.value, all.value + all.first[t], count * sizeof(*one.value));
		sae_codes_free(&one);
		sae_encoder_free(e);
	}
	sae_codes_free(&all);
	pool_free(p);
	free(x);
	sae_model_free(m);
}
END_TEST

START_TEST(decode_adds_rows_and_bias)
{
	sae_model *m = random_model(SAE_TOPK, 6, 10, 3);
	size_t first[] = { 0, 2 };
	uint32_t index[] = { 1, 7 };
	float value[] = { 2, 0.5f }, out[6];
	const sae_codes c = { .n = 1, .first = first, .index = index, .value = value };
	pool *p;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	sae_decode(m, NULL, &c, out, p);
	for (size_t i = 0; i < 6; i++)
		ck_assert_double_le(
		        fabs(out[i] - (2.0 * m->W_dec[6 + i] + 0.5 * m->W_dec[42 + i] + m->b_dec[i])), 1e-6);
	pool_free(p);
	sae_model_free(m);
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
	sae_model *m = random_model(SAE_TOPK, 6, 10, 3);
	sae_encoder *e = NULL;
	error err = { 0 };
	pool *p;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_encoder_new(&e, m, p, "mmx", &err), ERR_ARG);
	ck_assert_ptr_nonnull(strstr(err.msg, "'mmx'"));
	ck_assert_ptr_null(e);
	pool_free(p);
	sae_model_free(m);
}
END_TEST

START_TEST(each_failing_allocation_is_reported)
{
	sae_model *m = random_model(arches[_i], 6, 12, 3);
	const size_t rows = 600;
	float x[3600];
	pool *p;

	random_rows(x, ARRAY_LEN(x));
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (long n = 0;; n++) {
		sae_encoder *e = NULL;
		sae_codes c = { 0 };
		error err = { 0 };
		bool struck;
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = sae_encoder_new(&e, m, p, NULL, &err);
		if (rc == 0)
			rc = sae_encode(e, x, rows, &c, &err);
		struck = fault_disarm(FAULT_ALLOC);
		ck_assert_int_eq(rc, struck ? ERR_NOMEM : 0);
		ck_assert_uint_eq(c.n, struck ? 0 : rows);
		if (struck && e) { /* what failed can be done again */
			ck_assert_int_eq(sae_encode(e, x, rows, &c, &err), 0);
			check_row(m, x, &c, rows - 1);
		}
		sae_encoder_free(e);
		sae_codes_free(&c);
		if (!struck)
			break;
	}
	pool_free(p);
	sae_model_free(m);
}
END_TEST

/* The bytes of a shape without weights: at least the 8-bit codes, more for more threads, an error without memory. */
START_TEST(its_memory_is_told_before)
{
	const sae_model shape = { .arch = arches[_i], .d_in = 100, .d_sae = 6000, .k = 30 };
	uint64_t bytes[3] = { 0 };
	pool *p;

	for (unsigned threads = 1; threads < 3; threads++) {
		ck_assert_int_eq(pool_new(&p, threads, NULL), 0);
		ck_assert_int_eq(encoder_bytes(&bytes[threads], &shape, p, NULL), 0);
		pool_free(p);
	}
	ck_assert_uint_ge(bytes[1], SAE_ENCODE_TILE * 100 * sizeof(float));
	ck_assert_uint_ge(bytes[2], bytes[1] + SAE_ENCODE_TILE * 100 * sizeof(float));
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	for (long n = 0;; n++) {
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = encoder_bytes(&bytes[0], &shape, p, NULL);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
	}
	ck_assert_uint_eq(bytes[0], bytes[1]);
	pool_free(p);
}
END_TEST

static void cases(Suite *s)
{
	TCase *each = tcase_create("each architecture");

	SUPPORT_CASE(s, "encode", codes_are_the_largest_positive_values, ties_go_to_lower_features,
	             jumprelu_keeps_what_is_over_its_threshold,
	             jumprelu_codes_are_the_same_bits_screened_and_not,
	             groupmax_keeps_the_largest_of_each_group, edges_are_as_defined,
	             earlier_rows_do_not_change_codes, decode_adds_rows_and_bias, bad_arguments_are_refused);
	tcase_add_loop_test(each, threads_do_not_change_a_bit, 0, 3);
	tcase_add_loop_test(each, each_failing_allocation_is_reported, 0, 3);
	tcase_add_loop_test(each, its_memory_is_told_before, 0, 3);
	suite_add_tcase(s, each);
}
SUPPORT_MAIN("encode", cases)
