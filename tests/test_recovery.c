/* An SAE against known features: figures worked out by hand, the truth against itself, the chance levels of facts methods.md (d), SAEs
 * against each other. */
#include <math.h>
#include <stdlib.h>

#include "sae/synth_internal.h"
#include "tests/support.h"

static char folder[FILE_PATH_MAX];
static pool *threads;

static void setup(void)
{
	support_mkdir(folder);
	ck_assert_int_eq(pool_new(&threads, 2, NULL), 0);
}

static void teardown(void)
{
	pool_free(threads);
	support_rmdir(folder);
}

static sae_recovery measure(const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                            const uint8_t *present, uint32_t d, uint32_t draws)
{
	sae_recovery r;
	error e = { 0 };

	ck_assert_msg(sae_recovery_measure(&r, a, n_a, b, n_b, present, d, draws, 5, threads, &e) == 0, "%s",
	              e.msg);
	return r;
}

#define NEAR(a, b) ck_assert_double_eq_tol(a, b, 1e-6)

/* ---- Directions ------------------------------------------------------------------------------------------------------------------ */

/* Latents (2, 0), (0.6, 0.8), (-1, 0) and a zero row; features (1, 0), (0, 3). */
START_TEST(by_hand)
{
	const float a[] = { 2, 0, 0.6f, 0.8f, -1, 0, 0, 0 }, b[] = { 1, 0, 0, 3 };
	sae_recovery r = measure(a, 4, b, 2, NULL, 2, 0);

	NEAR(r.mcc.value, (1 + 0.8) / 2);
	NEAR(r.mmcs_truth.value, (1 + 0.8) / 2);
	NEAR(r.mmcs_sae.value, (1 + 0.8 + 0 + 0) / 4); /* the third: cosines -1 and 0 */
	NEAR(r.recovery[0].value, 0.5);
	NEAR(r.recovery[1].value, 0.5);
	NEAR(r.uniqueness.value, 2.0 / 4);
	ck_assert_double_nan(r.mcc.chance);
	ck_assert_uint_eq(r.best[0], 0);
	ck_assert_uint_eq(r.best[1], 1);
	ck_assert_uint_eq(r.best[2], 0);
	ck_assert_float_eq_tol(r.best_cosine[2], -1, 1e-6f);
	ck_assert_uint_eq(r.latent_of[0], 0);
	ck_assert_uint_eq(r.latent_of[1], 1);
	sae_recovery_clear(&r);
}
END_TEST

START_TEST(what_is_not_present_does_not_count)
{
	const float a[] = { 1, 0 }, b[] = { 0, 1, 1, 0, 1, 1 };
	const uint8_t present[] = { 0, 1, 0 }, none[3] = { 0 };
	sae_recovery r = measure(a, 1, b, 3, present, 2, 0);
	error e = { 0 };

	ck_assert_uint_eq(r.n[1], 1);
	NEAR(r.mcc.value, 1);
	NEAR(r.mmcs_truth.value, 1);
	ck_assert_uint_eq(r.best[0], 1);
	ck_assert_uint_eq(r.latent_of[0], SAE_MATCH_NONE);
	ck_assert_uint_eq(r.latent_of[1], 0);
	sae_recovery_clear(&r);
	ck_assert_int_eq(sae_recovery_measure(&r, a, 1, b, 3, none, 2, 0, 0, threads, &e), ERR_FORMAT);
}
END_TEST

/* The truth itself, in another order, with signs turned. */
START_TEST(the_truth_finds_itself)
{
	enum { N = 200, D = 48 };
	float *b = synth_unit_rows(N, D, 1), *a = malloc(N * D * sizeof(*a));
	sae_recovery r = measure(b, N, b, N, NULL, D, 0);

	NEAR(r.mcc.value, 1);
	NEAR(r.mmcs_truth.value, 1);
	NEAR(r.mmcs_sae.value, 1);
	NEAR(r.recovery[1].value, 1);
	NEAR(r.uniqueness.value, 1);
	sae_recovery_clear(&r);
	for (uint32_t i = 0; i < N; i++)
		for (uint32_t j = 0; j < D; j++)
			a[i * D + j] = (i % 3 ? -2.0f : 3.0f) * b[(i * 7 + 3) % N * D + j];
	r = measure(a, N, b, N, NULL, D, 0);
	NEAR(r.mcc.value, 1);
	NEAR(r.uniqueness.value, 1);
	ck_assert_double_lt(r.mmcs_truth.value, 0.7); /* two in three are turned: a signed measure */
	NEAR(r.recovery[0].value, 67.0 / 200);
	for (uint32_t i = 0; i < N; i++)
		ck_assert_uint_eq(r.best[i], (i * 7 + 3) % N);
	sae_recovery_clear(&r);
	free(a);
	free(b);
}
END_TEST

/* Random directions get what chance says, and chance is what was simulated in facts methods.md (d). */
START_TEST(chance_levels)
{
	static const struct {
		uint32_t G, F, d;
		double mmcs, mcc;
	} known[] = { { 64, 64, 64, 0.29, 0.30 },
		      { 512, 1024, 128, 0.284, 0.296 },
		      { 1024, 1024, 576, 0.135, 0.138 } };
	uint32_t G = known[_i].G, F = known[_i].F, d = known[_i].d;
	bool few = G < 100; /* means over so few rows swing more */
	float *b = synth_unit_rows(G, d, 11), *a = synth_unit_rows(F, d, 12);
	sae_recovery r = measure(a, F, b, G, NULL, d, 2);

	ck_assert_double_eq_tol(r.mcc.chance, known[_i].mcc, 0.01);
	ck_assert_double_eq_tol(r.mmcs_truth.chance, known[_i].mmcs, _i ? 0.003 : 0.015);
	ck_assert_double_eq_tol(r.mcc.value, r.mcc.chance, 0.01);
	ck_assert_double_eq_tol(r.mmcs_truth.value, r.mmcs_truth.chance, few ? 0.02 : 0.01);
	ck_assert_double_eq_tol(r.mmcs_sae.value, r.mmcs_sae.chance, few ? 0.02 : 0.01);
	NEAR(r.recovery[0].value, 0);
	NEAR(r.recovery[0].chance, 0);
	ck_assert_double_eq_tol(r.uniqueness.value, r.uniqueness.chance, 0.07);
	sae_recovery_clear(&r);
	free(a);
	free(b);
}
END_TEST

START_TEST(no_memory)
{
	float *b = synth_unit_rows(20, 8, 1), *a = synth_unit_rows(30, 8, 2);
	error e = { 0 };

	for (long n = 0;; n++) {
		sae_recovery r = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = sae_recovery_measure(&r, a, 30, b, 20, NULL, 8, 1, 0, threads, &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			sae_recovery_clear(&r);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(r.best);
	}
	free(a);
	free(b);
}
END_TEST

/* ---- Codes ------------------------------------------------------------------------------------------------------------------------ */

/* A parent 0 with the children 1 and 2, orthogonal, each with the value 1 where it is active:
 *	rows  active
 *	0-3   0
 *	4-5   0 1
 *	6-9   0 2
 *	10-11 none: the bias (0, 0, 0, 1) alone */
enum { ROWS = 12, WIDE = 4 };
static const uint32_t active[ROWS][3] = { { 1 },    { 1 },       { 1 },       { 1 },       { 1, 1 },
	                                  { 1, 1 }, { 1, 0, 1 }, { 1, 0, 1 }, { 1, 0, 1 }, { 1, 0, 1 } };

static void put_codes(const char *path)
{
	size_t first[ROWS + 1] = { 0 };
	uint32_t index[ROWS * 3];
	float value[ROWS * 3];
	sae_codes c = { .n = ROWS, .first = first, .index = index, .value = value };
	sae_codes_writer *w = NULL;
	size_t n = 0;

	for (uint32_t i = 0; i < ROWS; i++) {
		for (uint32_t f = 0; f < 3; f++)
			if (active[i][f]) {
				index[n] = f;
				value[n++] = 1;
			}
		first[i + 1] = n;
	}
	ck_assert_int_eq(sae_codes_writer_open(&w, path, SAE_CODES_NPZ, 3, NULL, 0, NULL), 0);
	ck_assert_int_eq(sae_codes_writer_add(w, &c, NULL, NULL), 0);
	ck_assert_int_eq(sae_codes_writer_commit(w, NULL), 0);
	sae_codes_writer_abort(w);
}

static void put_dump(void)
{
	const float dictionary[3 * WIDE] = { 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0 },
	                           bias[WIDE] = { 0, 0, 0, 1 };
	const int32_t parent[3] = { -1, 0, 0 };
	float x[ROWS * WIDE];
	sae_tensor_out t[] = { { "dictionary", SAE_F32, 2, { 3, WIDE }, dictionary },
		               { "bias", SAE_F32, 1, { WIDE }, bias },
		               { "parent", SAE_I32, 1, { 3 }, parent } };
	sae_tensor_out rows = { "activations", SAE_F32, 2, { ROWS, WIDE }, x };

	for (uint32_t i = 0; i < ROWS; i++)
		for (uint32_t j = 0; j < WIDE; j++)
			x[i * WIDE + j] = j < 3 ? (float)active[i][j] : 1;
	ck_assert_int_eq(file_mkdir(support_path(folder, "dump/truth"), NULL), 0);
	ck_assert_int_eq(
	        sae_safetensors_write(support_path(folder, "dump/x.safetensors"), &rows, 1, NULL, 0, NULL),
	        0);
	ck_assert_int_eq(sae_safetensors_write(support_path(folder, "dump/truth/dictionary.safetensors"), t,
	                                       3, NULL, 0, NULL),
	                 0);
	support_put_text(support_path(folder, "dump/truth/truth.json"),
	                 "{\"gloss_truth\":1,\"kind\":\"by hand\",\"rows\":12,\"d\":4,\"features\":3}");
	put_codes(support_path(folder, "dump/truth/codes.npz"));
}

typedef struct scored {
	sae_dump *dump;
	sae_rows *rows;
	sae_truth *truth;
	sae_recovery r;
	sae_code_scores s;
} scored;

/* The codes of m on all rows; own: the truth's codes instead. */
static scored score(const sae_model *m, sae_codes_reader *own, const char *name, uint64_t limit)
{
	const char *path = support_path(folder, name);
	const sae_rows_opts o = { 0 };
	scored s = { 0 };
	error e = { 0 };

	ck_assert_msg(sae_dump_open(&s.dump, &path, 1, &(sae_dump_opts){ 0 }, &e) == 0, "%s", e.msg);
	ck_assert_msg(sae_rows_scan(&s.rows, s.dump, &o, false, threads, NULL, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(sae_rows_split(s.rows, s.dump, 1, SAE_SPLIT_DOCUMENT, 0, &e), 0);
	ck_assert_msg(sae_truth_open(&s.truth, path, &e) == 0, "%s", e.msg);
	s.r = measure(m->W_dec, m->d_sae, s.truth->dictionary, s.truth->n_features, s.truth->present,
	              s.truth->d, 0);
	ck_assert_msg(sae_code_scores_measure(&s.s, m, own, &s.r, s.truth, s.dump, s.rows, limit, threads,
	                                      NULL, &e) == 0,
	              "%s", e.msg);
	return s;
}

static void scored_clear(scored *s)
{
	sae_code_scores_clear(&s->s);
	sae_recovery_clear(&s->r);
	sae_truth_close(s->truth);
	sae_rows_free(s->rows);
	sae_dump_close(s->dump);
}

/* Latent 0, the parent's, is silent where child 2 is active: that child's latent has taken its direction in. Latent 1 is child 1's, but
 * also fires on the parent alone, with 0.25. Latent 3 is dead. */
static sae_model *absorbing(void)
{
	const float enc[4 * WIDE] = { 1, 0, -2, 0, 0.25f, 1, -2, 0, 0, 0, 1, 0, 0, 0, 0, 0 };
	const float dec[4 * WIDE] = { 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1 };
	sae_model *m = NULL;

	ck_assert_int_eq(sae_model_new(&m, SAE_RELU, WIDE, 4, 0, NULL), 0);
	memcpy(m->W_enc, enc, sizeof(enc));
	memcpy(m->W_dec, dec, sizeof(dec));
	m->b_dec[3] = 1;
	m->b_enc[3] = -1;
	return m;
}

START_TEST(codes_by_hand)
{
	sae_model *m = absorbing();
	scored s;

	put_dump();
	s = score(m, NULL, "dump", 0);
	ck_assert_uint_eq(s.s.n_rows, 12);
	ck_assert_uint_eq(s.r.best[2], 2);
	ck_assert_uint_eq(s.r.latent_of[0], 0);
	/* fires: 0 on rows 0-5, 1 on 0-5, 2 on 6-9 */
	NEAR(s.s.l0, 16.0 / 12);
	NEAR(s.s.truth_l0, 16.0 / 12);
	ck_assert_uint_eq(s.s.n_dead, 1);
	NEAR(s.s.latents[0].precision, 1);
	NEAR(s.s.latents[0].recall, 6.0 / 10);
	NEAR(s.s.latents[1].precision, 2.0 / 6);
	NEAR(s.s.latents[1].recall, 1);
	NEAR(s.s.latents[1].f1, 0.5);
	NEAR(s.s.precision.value, (1 + 1.0 / 3 + 1) / 4);
	NEAR(s.s.recall.value, (0.6 + 1 + 1) / 4);
	NEAR(s.s.f1.value, (0.75 + 0.5 + 1) / 4);
	NEAR(s.s.precision.chance, (10.0 + 2 + 4) / 12 / 4);
	NEAR(s.s.recall.chance, (6.0 + 6 + 4) / 12 / 4);
	/* all of them have rows with a feature in common: 0 and 1 the parent, 2 both */
	NEAR(s.s.purity.value, 1);
	/* child rows: 2 of child 1, where latent 0 fires, 4 of child 2, where it does not; alone: rows 0-3 */
	ck_assert_uint_eq(s.s.n_pairs, 2);
	ck_assert_uint_eq(s.s.n_child_rows, 6);
	ck_assert_uint_eq(s.s.n_alone_rows, 4);
	NEAR(s.s.absorption.value, 4.0 / 6);
	NEAR(s.s.absorption.chance, 0.5); /* it fires on half of the rows */
	NEAR(s.s.alone, 0);
	scored_clear(&s);
	sae_model_free(m);
}
END_TEST

/* xhat: rows 0-3 (1, .25, 0, 1) for (1, 0, 0, 1), rows 4-5 (1, 1.25, 0, 1) for (1, 1, 0, 1), 6-9 (1, 0, 2, 1) for (1, 0, 1, 1), 10-11 right */
START_TEST(reconstruction_by_hand)
{
	sae_model *m = absorbing();
	double lost = 6 * 0.0625 + 4 * 1, spread = 10.0 / 12 * 2 + 2.0 / 12 * 10 + 4.0 / 12 * 8;
	double norms = 4 * sqrt(2.0625 / 2) + 2 * sqrt(3.5625 / 3) + 4 * sqrt(6.0 / 3) + 2;
	scored s;

	put_dump();
	s = score(m, NULL, "dump", 0);
	NEAR(s.s.explained.value, 1 - lost / spread);
	NEAR(s.s.shrinkage.value, norms / 12);
	NEAR(s.s.explained.chance, 0);
	scored_clear(&s);
	s = score(m, NULL, "dump", 5); /* some of the rows */
	ck_assert_uint_eq(s.s.n_rows, 5);
	scored_clear(&s);
	sae_model_free(m);
}
END_TEST

/* A latent that fires where now one, now the other child is active has nothing in common. */
START_TEST(purity_by_hand)
{
	const float enc[2 * WIDE] = { 0, 0, 1, 0, 0, 0, 0, 1 };
	sae_model *m = NULL;
	scored s;

	put_dump();
	ck_assert_int_eq(sae_model_new(&m, SAE_RELU, WIDE, 2, 0, NULL), 0);
	memcpy(m->W_enc, enc,
	       sizeof(enc)); /* the second one fires on every row, also where nothing is active */
	memcpy(m->W_dec, enc, sizeof(enc));
	s = score(m, NULL, "dump", 0);
	NEAR(s.s.purity.value, 0.5);
	NEAR(s.s.latents[0].f1, 1);
	scored_clear(&s);
	sae_model_free(m);
}
END_TEST

static sae_model *model_of(const sae_truth *t)
{
	sae_model *m = NULL;

	ck_assert_int_eq(sae_model_new(&m, SAE_RELU, t->d, t->n_features, 0, NULL), 0);
	memcpy(m->W_dec, t->dictionary, (size_t)t->n_features * t->d * sizeof(*t->dictionary));
	memcpy(m->b_dec, t->bias, t->d * sizeof(*t->bias));
	return m;
}

/* The truth's own codes: all is 1, on as many rows as there are. */
START_TEST(codes_of_the_truth)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_TREE);
	sae_truth *own = NULL;
	sae_model *m;
	scored s;
	error e = { 0 };

	o.rows = 9000; /* more than a batch */
	ck_assert_msg(sae_synth_write(support_path(folder, "t"), SAE_SYNTH_TREE, &o, false, threads, NULL,
	                              NULL, &e) == 0,
	              "%s", e.msg);
	ck_assert_int_eq(sae_truth_open(&own, support_path(folder, "t"), &e), 0);
	m = model_of(own);
	s = score(m, own->codes, "t", 0);
	ck_assert_uint_eq(s.s.n_rows, 9000);
	NEAR(s.s.f1.value, 1);
	NEAR(s.s.precision.value, 1);
	NEAR(s.s.recall.value, 1);
	NEAR(s.s.purity.value, 1);
	NEAR(s.s.absorption.value, 0);
	NEAR(s.s.alone, 0);
	NEAR(s.s.shrinkage.value, 1);
	NEAR(s.s.explained.value, 1);
	scored_clear(&s);
	sae_model_free(m);
	sae_truth_close(own);
}
END_TEST

START_TEST(another_dumps_truth)
{
	const char *path = support_path(folder, "dump");
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_TREE);
	sae_code_scores s = { 0 };
	sae_truth *t = NULL;
	sae_model *m = absorbing();
	scored mine;
	error e = { 0 };

	put_dump();
	mine = score(m, NULL, "dump", 0);
	o.rows = 13;
	ck_assert_int_eq(sae_synth_write(support_path(folder, "t"), SAE_SYNTH_TREE, &o, false, threads, NULL,
	                                 NULL, &e),
	                 0);
	ck_assert_int_eq(sae_truth_open(&t, support_path(folder, "t"), &e), 0);
	ck_assert_int_eq(
	        sae_code_scores_measure(&s, m, NULL, &mine.r, t, mine.dump, mine.rows, 0, threads, NULL, &e),
	        ERR_ARG);
	ck_assert_msg(strstr(e.msg, "the truth is of 13 rows, the dump has 12"), "%s", e.msg);
	ck_assert_str_ne(path, "");
	ck_assert_ptr_null(s.latents);
	sae_truth_close(t);
	scored_clear(&mine);
	sae_model_free(m);
}
END_TEST

/* ---- Seeds -------------------------------------------------------------------------------------------------------------------------- */

enum { LATENTS = 100, DIM = 64 };

/* b's rows are a's in the order of `order`; the first `same` of them, the others random. */
static sae_model *shuffled(const float *rows, uint32_t decoder_step, uint32_t encoder_step, uint32_t same)
{
	float *other = synth_unit_rows(LATENTS, DIM, 77);
	sae_model *m = NULL;

	ck_assert_int_eq(sae_model_new(&m, SAE_RELU, DIM, LATENTS, 0, NULL), 0);
	for (uint32_t i = 0; i < LATENTS; i++) {
		const float *from = i < same ? rows : other;

		memcpy(m->W_dec + (size_t)(i * decoder_step % LATENTS) * DIM, from + (size_t)i * DIM,
		       DIM * sizeof(float));
		memcpy(m->W_enc + (size_t)(i * encoder_step % LATENTS) * DIM, from + (size_t)i * DIM,
		       DIM * sizeof(float));
	}
	free(other);
	return m;
}

START_TEST(seeds)
{
	static const struct {
		uint32_t decoder_step, encoder_step, same;
		double share, shared;
	} known[] = { { 1, 1, LATENTS, 1, 1 },
		      { 7, 7, LATENTS, 1, 1 },
		      { 7, 3, LATENTS, 1,
		        0.04 }, /* encoder and decoder agree where 7 i = 3 i (mod 100): i = 0, 25, 50, 75 */
		      { 7, 7, 30, 0.3, 0.3 } };
	float *rows = synth_unit_rows(LATENTS, DIM, 78);
	sae_model *a = shuffled(rows, 1, 1, LATENTS),
	          *b = shuffled(rows, known[_i].decoder_step, known[_i].encoder_step, known[_i].same);
	sae_stability s;
	error e = { 0 };

	ck_assert_msg(sae_stability_measure(&s, a, b, 0.7, 0, threads, &e) == 0, "%s", e.msg);
	for (int part = 0; part < 2; part++) {
		NEAR(s.share[part].value, known[_i].share);
		ck_assert_double_lt(s.share[part].chance, 0.02);
		ck_assert_double_lt(s.mean[part].chance, 0.45);
	}
	NEAR(s.shared.value, known[_i].shared);
	if (known[_i].same == LATENTS)
		NEAR(s.mean[0].value, 1);
	sae_model_free(a);
	sae_model_free(b);
	free(rows);
}
END_TEST

START_TEST(saes_of_other_widths)
{
	sae_model *a = NULL, *b = NULL;
	sae_stability s;
	error e = { 0 };

	ck_assert_int_eq(sae_model_new(&a, SAE_RELU, 4, 2, 0, NULL), 0);
	ck_assert_int_eq(sae_model_new(&b, SAE_RELU, 5, 2, 0, NULL), 0);
	ck_assert_int_eq(sae_stability_measure(&s, a, b, 0.7, 0, threads, &e), ERR_ARG);
	sae_model_free(a);
	sae_model_free(b);
}
END_TEST

static void cases(Suite *s)
{
	TCase *c = tcase_create("all");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, by_hand);
	tcase_add_test(c, what_is_not_present_does_not_count);
	tcase_add_test(c, the_truth_finds_itself);
	tcase_add_loop_test(c, chance_levels, 0, 3);
	tcase_add_test(c, no_memory);
	tcase_add_test(c, codes_by_hand);
	tcase_add_test(c, reconstruction_by_hand);
	tcase_add_test(c, purity_by_hand);
	tcase_add_test(c, codes_of_the_truth);
	tcase_add_test(c, another_dumps_truth);
	tcase_add_loop_test(c, seeds, 0, 4);
	tcase_add_test(c, saes_of_other_widths);
	suite_add_tcase(s, c);
}
SUPPORT_MAIN("recovery", cases)
