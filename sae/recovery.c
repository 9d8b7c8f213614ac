/* How well one set of directions finds another: an SAE's decoder against known features, two SAEs against each other. Beside each
 * figure what random directions get. */
#include <math.h>
#include <stdlib.h>

#include "sae/synth_internal.h"

const double SAE_RECOVERED[2] = { 0.9, 0.95 };

/* ---- Best partners ----------------------------------------------------------------------------------------------------- */

/* The row of b nearest to each row of a, both unit. */
static int nearest(sae_ranked *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                   pool *p, error *err)
{
	return sae_rank_cosines(out, a, n_a, b, n_b, d, 1, false, p, err);
}

/* The row of b with the largest |cosine| to each row of a, and the cosine; of equal ones the positive, then the lower. */
static int nearest_unsigned(sae_ranked *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                            uint32_t d, pool *p, error *err)
{
	float *minus = mem_alloc_aligned((size_t)n_a * d, sizeof(*minus));
	sae_ranked turned = { 0 };
	int rc = minus ? 0 : error_nomem(err, "directions");

	for (size_t i = 0; i < (size_t)n_a * d && rc == 0; i++)
		minus[i] = -a[i];
	if (rc == 0)
		rc = nearest(&turned, minus, n_a, b, n_b, d, p, err);
	if (rc == 0)
		rc = nearest(out, a, n_a, b, n_b, d, p, err);
	for (uint32_t i = 0; i < n_a && rc == 0; i++)
		if (turned.values[i] > out->values[i]) {
			out->values[i] = -turned.values[i];
			out->ids[i] = turned.ids[i];
		}
	sae_ranked_free(&turned);
	free(minus);
	return rc;
}

/* ---- Figures ------------------------------------------------------------------------------------------------------------ */

enum { MCC, MMCS_TRUTH, MMCS_SAE, RECOVERY, RECOVERY_MORE, UNIQUENESS, FIGURES };

static double dot(const float *a, const float *b, uint32_t d)
{
	double sum = 0;

	for (uint32_t i = 0; i < d; i++)
		sum += (double)a[i] * b[i];
	return sum;
}

/* Of unit rows a and b; best: of a by |cosine|, latents: of b. */
static int figures(double out[FIGURES], sae_ranked *best, sae_ranked *latents, const float *a, uint32_t n_a,
                   const float *b, uint32_t n_b, uint32_t d, pool *p, error *err)
{
	uint32_t least = n_a < n_b ? n_a : n_b;
	sae_ranked of_sae = { 0 };
	uint32_t *b_of_a = malloc(((size_t)n_a + 1) * sizeof(*b_of_a));
	uint8_t *taken = calloc((size_t)n_b + 1, 1);
	int rc = b_of_a && taken ? nearest_unsigned(best, a, n_a, b, n_b, d, p, err)
	                         : error_nomem(err, "matched rows");

	if (rc == 0)
		rc = nearest(&of_sae, a, n_a, b, n_b, d, p, err);
	if (rc == 0)
		rc = nearest(latents, b, n_b, a, n_a, d, p, err);
	if (rc == 0)
		rc = sae_match_assign_unsigned(b_of_a, a, n_a, b, n_b, d, p, err);
	memset(out, 0, FIGURES * sizeof(*out));
	for (uint32_t i = 0; i < n_a && rc == 0; i++) {
		if (b_of_a[i] != SAE_MATCH_NONE)
			out[MCC] += fabs(dot(a + (size_t)i * d, b + (size_t)b_of_a[i] * d, d)) / least;
		out[MMCS_SAE] += (double)of_sae.values[i] / n_a;
		out[UNIQUENESS] += taken[best->ids[i]] ? 0 : 1.0 / n_a;
		taken[best->ids[i]] = 1;
	}
	for (uint32_t i = 0; i < n_b && rc == 0; i++) {
		out[MMCS_TRUTH] += (double)latents->values[i] / n_b;
		for (int k = 0; k < 2; k++)
			out[RECOVERY + k] += (double)latents->values[i] > SAE_RECOVERED[k] ? 1.0 / n_b : 0;
	}
	sae_ranked_free(&of_sae);
	free(b_of_a);
	free(taken);
	return rc;
}

/* Their mean over random dictionaries of n_a rows. */
static int chance_figures(double out[FIGURES], uint32_t n_a, const float *b, uint32_t n_b, uint32_t d,
                          uint32_t draws, uint64_t seed, pool *p, error *err)
{
	int rc = 0;

	for (int i = 0; i < FIGURES; i++)
		out[i] = draws ? 0 : (double)NAN;
	for (uint32_t k = 0; k < draws && rc == 0; k++) {
		sae_ranked best = { 0 }, latents = { 0 };
		double one[FIGURES];
		float *a = synth_unit_rows(n_a, d, hash64_mix(hash64_mix(seed, STREAM_CHANCE), k));

		rc = a ? figures(one, &best, &latents, a, n_a, b, n_b, d, p, err)
		       : error_nomem(err, "random directions");
		for (int i = 0; i < FIGURES && rc == 0; i++)
			out[i] += one[i] / draws;
		sae_ranked_free(&best);
		sae_ranked_free(&latents);
		free(a);
	}
	return rc;
}

/* ---- An SAE against the truth -------------------------------------------------------------------------------------------------- */

void sae_recovery_clear(sae_recovery *r)
{
	free(r->best);
	free(r->best_cosine);
	free(r->latent_of);
	free(r->latent_cosine);
	*r = (sae_recovery){ 0 };
}

static void take_figures(sae_recovery *r, const double value[FIGURES], const double chance[FIGURES])
{
	sae_scored *const to[FIGURES] = { &r->mcc,         &r->mmcs_truth,  &r->mmcs_sae,
		                          &r->recovery[0], &r->recovery[1], &r->uniqueness };

	for (int i = 0; i < FIGURES; i++)
		*to[i] = (sae_scored){ value[i], chance[i] };
}

/* Lists of a's rows and of all n_b rows of the truth, from those of the rows that count. */
static int take_partners(sae_recovery *r, const sae_ranked *best, const sae_ranked *latents,
                         const uint32_t *full, uint32_t n_b, error *err)
{
	uint32_t n_a = r->n[0];

	r->best = malloc(((size_t)n_a + 1) * sizeof(*r->best));
	r->best_cosine = malloc(((size_t)n_a + 1) * sizeof(*r->best_cosine));
	r->latent_of = malloc(((size_t)n_b + 1) * sizeof(*r->latent_of));
	r->latent_cosine = calloc((size_t)n_b + 1, sizeof(*r->latent_cosine));
	if (!r->best || !r->best_cosine || !r->latent_of || !r->latent_cosine)
		return error_nomem(err, "matched rows");
	for (uint32_t i = 0; i < n_a; i++) {
		r->best[i] = full[best->ids[i]];
		r->best_cosine[i] = best->values[i];
	}
	for (uint32_t g = 0; g < n_b; g++)
		r->latent_of[g] = SAE_MATCH_NONE;
	for (uint32_t g = 0; g < r->n[1]; g++) {
		r->latent_of[full[g]] = latents->ids[g];
		r->latent_cosine[full[g]] = latents->values[g];
	}
	return 0;
}

/* The rows that count, at norm 1, and their numbers. */
static int present_rows(float **out, uint32_t **full, uint32_t *n, const float *b, uint32_t n_b,
                        const uint8_t *present, uint32_t d, error *err)
{
	float *some = mem_alloc_aligned((size_t)n_b * d, sizeof(*some));

	*n = 0;
	*full = malloc(((size_t)n_b + 1) * sizeof(**full));
	if (!some || !*full) {
		free(some);
		return error_nomem(err, "directions");
	}
	for (uint32_t g = 0; g < n_b; g++) {
		if (present && !present[g])
			continue;
		memcpy(some + (size_t)*n * d, b + (size_t)g * d, d * sizeof(*some));
		(*full)[(*n)++] = g;
	}
	*out = *n ? sae_unit_rows(some, *n, d) : NULL;
	free(some);
	if (*n == 0)
		return error_set(err, ERR_FORMAT, "no feature of the truth counts");
	return *out ? 0 : error_nomem(err, "directions");
}

int sae_recovery_measure(sae_recovery *out, const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                         const uint8_t *present, uint32_t d, uint32_t draws, uint64_t seed, pool *p,
                         error *err)
{
	double value[FIGURES], chance[FIGURES];
	sae_ranked best = { 0 }, latents = { 0 };
	sae_recovery r = { .n = { n_a, 0 }, .d = d };
	uint32_t *full = NULL;
	float *unit = NULL, *truth = NULL;
	int rc = present_rows(&truth, &full, &r.n[1], b, n_b, present, d, err);

	if (rc == 0 && !(unit = sae_unit_rows(a, n_a, d)))
		rc = error_nomem(err, "directions");
	if (rc == 0)
		rc = figures(value, &best, &latents, unit, n_a, truth, r.n[1], d, p, err);
	if (rc == 0)
		rc = chance_figures(chance, n_a, truth, r.n[1], d, draws, seed, p, err);
	if (rc == 0)
		rc = take_partners(&r, &best, &latents, full, n_b, err);
	if (rc == 0) {
		take_figures(&r, value, chance);
		*out = r;
		r = (sae_recovery){ 0 };
	}
	sae_recovery_clear(&r);
	sae_ranked_free(&best);
	sae_ranked_free(&latents);
	free(full);
	free(unit);
	free(truth);
	return rc;
}

/* ---- Two SAEs -------------------------------------------------------------------------------------------------------------------- */

enum { DECODER, ENCODER };

typedef struct agreement {
	uint32_t *partner[2]; /* (n_a) of decoder, encoder */
	double mean[2], share[2], shared;
} agreement;

static int match_part(agreement *s, int part, const float *a, uint32_t n_a, const float *b, uint32_t n_b,
                      uint32_t d, double limit, uint8_t *over, pool *p, error *err)
{
	uint32_t least = n_a < n_b ? n_a : n_b;
	int rc = sae_match_assign(s->partner[part], a, n_a, b, n_b, d, p, err);

	for (uint32_t i = 0; i < n_a && rc == 0; i++) {
		uint32_t j = s->partner[part][i];
		double cosine = j == SAE_MATCH_NONE ? 0 : dot(a + (size_t)i * d, b + (size_t)j * d, d);

		s->mean[part] += cosine / least;
		if (j != SAE_MATCH_NONE && cosine > limit) {
			s->share[part] += 1.0 / least;
			over[i]++;
		}
	}
	return rc;
}

/* Rows of decoders and encoders, unit. */
static int agree(agreement *s, const float *const a[2], uint32_t n_a, const float *const b[2], uint32_t n_b,
                 const uint32_t d[2], double limit, pool *p, error *err)
{
	uint32_t least = n_a < n_b ? n_a : n_b;
	uint8_t *over = calloc((size_t)n_a + 1, 1);
	int rc = over ? 0 : error_nomem(err, "matched rows");

	*s = (agreement){ 0 };
	for (int part = DECODER; part <= ENCODER && rc == 0; part++) {
		s->partner[part] = malloc(((size_t)n_a + 1) * sizeof(**s->partner));
		rc = s->partner[part]
		             ? match_part(s, part, a[part], n_a, b[part], n_b, d[part], limit, over, p, err)
		             : error_nomem(err, "matched rows");
	}
	for (uint32_t i = 0; i < n_a && rc == 0; i++)
		if (over[i] == 2 && s->partner[DECODER][i] == s->partner[ENCODER][i])
			s->shared += 1.0 / least;
	for (int part = DECODER; part <= ENCODER; part++)
		free(s->partner[part]);
	free(over);
	return rc;
}

int sae_stability_measure(sae_stability *out, const sae_model *a, const sae_model *b, double limit,
                          uint64_t seed, pool *p, error *err)
{
	const uint32_t d[2] = { a->d_out, a->d_in };
	float *rows[3][2] = { { NULL } }; /* of a, of b, by chance */
	agreement real, chance;
	int rc = 0;

	if (a->d_in != b->d_in || a->d_out != b->d_out)
		return error_set(err, ERR_ARG, "SAEs of %u and %u values a row cannot be compared", a->d_in,
		                 b->d_in);
	for (int part = DECODER; part <= ENCODER; part++) {
		rows[0][part] = sae_unit_rows(part == DECODER ? a->W_dec : a->W_enc, a->d_sae, d[part]);
		rows[1][part] = sae_unit_rows(part == DECODER ? b->W_dec : b->W_enc, b->d_sae, d[part]);
		if (rows[1][part])
			rows[2][part] = sae_null_rows(rows[1][part], b->d_sae, d[part], seed);
		if (!rows[0][part] || !rows[2][part])
			rc = error_nomem(err, "directions");
	}
	if (rc == 0)
		rc = agree(&real, (const float *const *)rows[0], a->d_sae, (const float *const *)rows[1],
		           b->d_sae, d, limit, p, err);
	if (rc == 0)
		rc = agree(&chance, (const float *const *)rows[0], a->d_sae, (const float *const *)rows[2],
		           b->d_sae, d, limit, p, err);
	if (rc == 0) {
		*out = (sae_stability){ .n = { a->d_sae, b->d_sae },
			                .shared = { real.shared, chance.shared } };
		for (int part = DECODER; part <= ENCODER; part++) {
			out->mean[part] = (sae_scored){ real.mean[part], chance.mean[part] };
			out->share[part] = (sae_scored){ real.share[part], chance.share[part] };
		}
	}
	for (int i = 0; i < 6; i++)
		free(rows[i / 2][i % 2]);
	return rc;
}
