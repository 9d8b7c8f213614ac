/* Neighbours and logits against plain products in FP64; ties; threads; files of other shapes. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <math.h>

#include "sae/sae.h"

enum { D = 24, FEATURES = 300, VOCAB = 4500, PADDED = 4510, N = 10 };

static float uniform(uint64_t seed, uint64_t i)
{
	return (float)(2 * hash64_unit(hash64_mix(seed, i)) - 1);
}

static sae_model *random_model(void)
{
	sae_model *m;

	ck_assert_int_eq(sae_model_new(&m, SAE_TOPK, D, FEATURES, 4, NULL), 0);
	for (size_t i = 0; i < (size_t)FEATURES * D; i++)
		m->W_dec[i] = uniform(1, i);
	memset(m->W_dec + 7 * D, 0, D * sizeof(float)); /* a row of zeros */
	for (size_t i = 0; i < D; i++) {
		m->W_dec[9 * D + i] = 2 * m->W_dec[8 * D + i]; /* one direction thrice */
		m->W_dec[250 * D + i] = 4 * m->W_dec[8 * D + i];
	}
	return m;
}

static double dot(const float *a, const float *b)
{
	double sum = 0;

	for (int i = 0; i < D; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* The n entries of a row are right, strongest first, and nothing stronger was left out; sign -1: the least. */
static void check_row(const sae_ranked *r, uint32_t row, const double *all, uint32_t n_all, uint32_t self,
                      double sign)
{
	const uint32_t *ids = r->ids + (size_t)row * r->n;
	const float *values = r->values + (size_t)row * r->n;
	double last = sign * all[ids[r->n - 1]];

	for (uint32_t i = 0; i < r->n; i++) {
		ck_assert_uint_lt(ids[i], n_all);
		ck_assert_uint_ne(ids[i], self);
		ck_assert_double_le(fabs(values[i] - all[ids[i]]), 1e-5);
		if (i > 0)
			ck_assert(sign * values[i - 1] > sign * values[i] ||
			          (values[i - 1] == values[i] && ids[i - 1] < ids[i]));
	}
	for (uint32_t j = 0; j < n_all; j++) {
		bool there = j == self;

		for (uint32_t i = 0; i < r->n; i++)
			there |= ids[i] == j;
		ck_assert(there || sign * all[j] <= last + 1e-5);
	}
}

START_TEST(neighbours_agree_with_plain_cosines)
{
	static double all[FEATURES];
	sae_model *m = random_model();
	sae_ranked first = { 0 };
	error err = { 0 };

	for (unsigned threads = 1; threads <= 3; threads++) {
		sae_ranked r = { 0 };
		pool *p = NULL;

		ck_assert_int_eq(pool_new(&p, threads, &err), 0);
		ck_assert_int_eq(sae_rank_neighbours(&r, m, N, p, &err), 0);
		pool_free(p);
		ck_assert_uint_eq(r.n, N);
		if (threads == 1) {
			first = r;
			continue;
		}
		ck_assert_mem_eq(r.ids, first.ids, FEATURES * N * sizeof(*r.ids));
		ck_assert_mem_eq(r.values, first.values, FEATURES * N * sizeof(*r.values));
		sae_ranked_free(&r);
	}
	for (uint32_t f = 0; f < FEATURES; f++) {
		const float *a = m->W_dec + f * D;

		for (uint32_t g = 0; g < FEATURES; g++) {
			const float *b = m->W_dec + g * D;
			double norms = sqrt(dot(a, a) * dot(b, b));

			all[g] = norms > 0 ? dot(a, b) / norms : 0;
		}
		check_row(&first, f, all, FEATURES, f, 1);
	}
	ck_assert_uint_eq(first.ids[8 * N], 9); /* equal cosines: the lower number first */
	ck_assert_uint_eq(first.ids[8 * N + 1], 250);
	ck_assert_uint_eq(first.ids[250 * N], 8);
	sae_ranked_free(&first);
	sae_model_free(m);
}
END_TEST

START_TEST(few_features_have_few_neighbours)
{
	sae_model *m = NULL;
	sae_ranked r = { 0 };
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(sae_model_new(&m, SAE_TOPK, 2, 3, 1, NULL), 0);
	ck_assert_int_eq(sae_rank_neighbours(&r, m, N, p, NULL), 0);
	ck_assert_uint_eq(r.n, 2);
	ck_assert_uint_eq(r.ids[2], 0); /* all are zeros, so equal */
	ck_assert_uint_eq(r.ids[3], 2);
	sae_ranked_free(&r);
	sae_model_free(m);
	ck_assert_int_eq(sae_model_new(&m, SAE_TOPK, 2, 1, 1, NULL), 0);
	ck_assert_int_eq(sae_rank_neighbours(&r, m, N, p, NULL), 0);
	ck_assert_uint_eq(r.n, 0);
	sae_ranked_free(&r);
	sae_model_free(m);
	pool_free(p);
}
END_TEST

static void write_head(const char *path, uint32_t rows, uint32_t d, uint32_t norm)
{
	static float head[(PADDED + 1) * (D + 1)], weight[D + 1];
	const sae_tensor_out t[] = {
		{ .name = "lm_head.weight",
		  .dtype = SAE_F32,
		  .n_dims = 2,
		  .dims = { rows, d },
		  .data = head },
		{ .name = "norm.weight", .dtype = SAE_F32, .n_dims = 1, .dims = { norm }, .data = weight }
	};

	for (size_t i = 0; i < ARRAY_LEN(head); i++)
		head[i] = uniform(2, i);
	for (size_t i = 0; i < ARRAY_LEN(weight); i++)
		weight[i] = uniform(3, i);
	ck_assert_int_eq(sae_safetensors_write(path, t, norm ? 2 : 1, NULL, 0, NULL), 0);
}

/* Each bin has what lies in it, give or take those within rounding of its edges; all of them are counted. */
static void check_histogram(const sae_logit_histogram *h, const double all[VOCAB])
{
	double width = ((double)h->high - (double)h->low) / SAE_LOGIT_BINS, near = 1e-5 * fabs(width) + 1e-5;
	uint32_t sum = 0;

	for (uint32_t b = 0; b < SAE_LOGIT_BINS; b++) {
		double from = (double)h->low + b * width, to = from + width;
		uint32_t least = 0, most = 0;

		for (uint32_t v = 0; v < VOCAB; v++) {
			least += all[v] > from + near && all[v] < to - near;
			most += all[v] > from - near && all[v] < to + near;
		}
		ck_assert_uint_ge(h->counts[b], least);
		ck_assert_uint_le(h->counts[b], most);
		sum += h->counts[b];
	}
	ck_assert_uint_eq(sum, VOCAB);
	ck_assert_uint_gt(h->counts[0], 0);
	ck_assert(width == 0 || h->counts[SAE_LOGIT_BINS - 1] > 0);
}

START_TEST(logits_agree_with_plain_products)
{
	static double all[VOCAB];
	const char *path = in_folder("unembed.safetensors");
	sae_model *m = random_model();
	static sae_logit_histogram histograms[2][FEATURES];
	sae_ranked high[2] = { 0 }, low[2] = { 0 };
	error err = { 0 };

	write_head(path, PADDED, D, D); /* rows behind the vocabulary are not ranked */
	for (unsigned t = 0; t < 2; t++) {
		pool *p = NULL;

		ck_assert_int_eq(pool_new(&p, 1 + 2 * t, &err), 0);
		ck_assert_msg(sae_rank_logits(&high[t], &low[t], histograms[t], m, path, VOCAB, N, p, NULL,
		                              &err) == 0,
		              "%s", err.msg);
		pool_free(p);
	}
	ck_assert_mem_eq(high[0].values, high[1].values, FEATURES * N * sizeof(float));
	ck_assert_mem_eq(low[0].ids, low[1].ids, FEATURES * N * sizeof(uint32_t));
	for (uint32_t f = 0; f < FEATURES; f += 3) {
		for (uint32_t v = 0; v < VOCAB; v++) {
			all[v] = 0;
			for (uint32_t i = 0; i < D; i++)
				all[v] += (double)m->W_dec[f * D + i] * uniform(3, i) *
				          uniform(2, (uint64_t)v * D + i);
		}
		check_row(&high[0], f, all, VOCAB, UINT32_MAX, 1);
		check_row(&low[0], f, all, VOCAB, UINT32_MAX, -1);
		check_histogram(&histograms[0][f], all);
		ck_assert_float_eq(histograms[0][f].high, high[0].values[f * N]); /* to the bit */
		ck_assert_float_eq(histograms[0][f].low, low[0].values[f * N]);
	}
	ck_assert_mem_eq(histograms[0], histograms[1], sizeof(histograms[0]));
	for (int t = 0; t < 2; t++) {
		sae_ranked_free(&high[t]);
		sae_ranked_free(&low[t]);
	}
	sae_model_free(m);
	leave_folder();
}
END_TEST

static void refused(const char *path, const char *words)
{
	sae_model *m = random_model();
	sae_ranked high = { 0 }, low = { 0 };
	error err = { 0 };
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_rank_logits(&high, &low, NULL, m, path, VOCAB, N, p, NULL, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, words) && strstr(err.msg, path), "%s", err.msg);
	ck_assert_ptr_null(high.ids);
	ck_assert_ptr_null(low.ids);
	pool_free(p);
	sae_model_free(m);
}

START_TEST(heads_of_another_shape_are_refused)
{
	const char *path = in_folder("unembed.safetensors");
	const sae_tensor_out other = {
		.name = "x", .dtype = SAE_F32, .n_dims = 1, .dims = { 1 }, .data = "abcd"
	};

	write_head(path, VOCAB, D + 1, D);
	refused(path, "must be (vocabulary, 24)");
	write_head(path, VOCAB, D, D + 1);
	refused(path, "must have 24 values, it has 25");
	write_head(path, VOCAB - 1, D, D);
	refused(path, "has 4499 rows, the vocabulary 4500 tokens");
	write_head(path, VOCAB, D, 0);
	refused(path, "there is no tensor 'norm.weight'");
	ck_assert_int_eq(sae_safetensors_write(path, &other, 1, NULL, 0, NULL), 0);
	refused(path, "there is no tensor 'lm_head.weight'");
	support_put_text(path, "hello");
	refused(path, "");
	leave_folder();
}
END_TEST

static void faults(fault_kind kind, int code)
{
	const char *path = in_folder("unembed.safetensors");
	sae_model *m = random_model();
	pool *p = NULL;

	write_head(path, VOCAB, D, D);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (long n = 0;; n++) {
		sae_ranked high = { 0 }, low = { 0 }, near = { 0 };
		error err = { 0 };
		int rc;

		fault_arm(kind, n);
		rc = sae_rank_neighbours(&near, m, N, p, &err);
		if (rc == 0)
			rc = sae_rank_logits(&high, &low, NULL, m, path, VOCAB, N, p, NULL, &err);
		sae_ranked_free(&near);
		if (!fault_disarm(kind)) {
			ck_assert_msg(rc == 0, "%s", err.msg);
			sae_ranked_free(&high);
			sae_ranked_free(&low);
			break;
		}
		ck_assert_int_eq(rc, code);
		ck_assert_ptr_null(high.ids);
	}
	pool_free(p);
	sae_model_free(m);
	leave_folder();
}

START_TEST(faults_are_reported)
{
	faults(FAULT_ALLOC, ERR_NOMEM);
	faults(FAULT_READ, ERR_IO);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "ranked", neighbours_agree_with_plain_cosines, few_features_have_few_neighbours,
	             logits_agree_with_plain_products, heads_of_another_shape_are_refused,
	             faults_are_reported);
}
SUPPORT_MAIN("ranked", cases)
