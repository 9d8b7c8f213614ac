/* Rows of k features taken at random; rows of codes; the tree toy of the Matryoshka SAE. */
#include <math.h>
#include <stdlib.h>

#include "sae/synth_internal.h"

/* ---- Planted features, codebooks -------------------------------------------------------------------------------------------------- */

/* k different ones of the features first .. first + n - 1, ascending, behind those that are there. */
static void draw_distinct(synth_row *out, uint32_t k, uint32_t first, uint32_t n, uint64_t seed)
{
	uint32_t begin = out->n;

	for (uint64_t turn = 0; out->n - begin < k; turn++) {
		uint32_t f = first + (uint32_t)hash64_below(hash64_mix(seed, turn), n), at = out->n;

		while (at > begin && out->index[at - 1] > f)
			at--;
		if (at > begin && out->index[at - 1] == f)
			continue;
		memmove(out->index + at + 1, out->index + at, (out->n - at) * sizeof(*out->index));
		out->index[at] = f;
		out->n++;
	}
}

static void draw_planted(const synth *s, uint64_t row, synth_row *out)
{
	uint64_t seed = hash64_mix(hash64_mix(s->o.seed, STREAM_ROWS), row);
	uint32_t kept = 0;

	draw_distinct(out, s->o.k, 0, s->n_features, seed);
	for (uint32_t i = 0; i < out->n; i++) {
		float value = synth_value(s, out->index[i], hash64_mix(seed, UINT64_MAX));

		if (value > 0) {
			out->index[kept] = out->index[i];
			out->value[kept++] = value;
		}
	}
	out->n = kept;
}

static int equal_probabilities(synth *s, double p, error *err)
{
	s->probability = arena_alloc(&s->mem, s->n_features, sizeof(*s->probability));
	if (!s->probability)
		return error_nomem(err, "probabilities of features");
	for (uint32_t i = 0; i < s->n_features; i++)
		s->probability[i] = p;
	return 0;
}

/* The last features become those of one input alone: the rest of their directions is 0. */
static int split_inputs(synth *s, error *err)
{
	const uint32_t n = s->o.inputs, width = s->o.d / n, G = s->n_features;
	const uint32_t shared = G - (uint32_t)lround(s->o.exclusive * G);

	if (n < 2)
		return 0;
	if (s->o.d % n)
		return error_set(err, ERR_ARG, "d %u is no multiple of inputs %u", s->o.d, n);
	s->n_inputs = n;
	s->input = arena_alloc(&s->mem, G, sizeof(*s->input));
	if (!s->input)
		return error_nomem(err, "inputs of features");
	for (uint32_t f = shared; f < G; f++) {
		float *row = s->dictionary + (size_t)f * s->o.d;
		uint32_t of = (f - shared) % n;
		double squares = 0;

		s->input[f] = (int32_t)of + 1;
		for (uint32_t j = 0; j < s->o.d; j++) {
			row[j] = j / width == of ? row[j] : 0;
			squares += (double)row[j] * (double)row[j];
		}
		for (uint32_t j = 0; j < s->o.d && squares > 0; j++)
			row[j] = (float)((double)row[j] / sqrt(squares));
	}
	return 0;
}

int synth_planted_init(synth *s, pool *p, error *err)
{
	int rc = s->o.k > s->o.features ? error_set(err, ERR_ARG, "k %u is over the number of features, %u",
	                                            s->o.k, s->o.features)
	                                : 0;

	s->n_features = s->o.features;
	s->draw = draw_planted;
	if (rc == 0)
		rc = synth_make_dictionary(s, p, err);
	if (rc == 0)
		rc = split_inputs(s, err);
	if (rc == 0)
		rc = synth_make_values(s, err);
	return rc ? rc : equal_probabilities(s, (double)s->o.k / s->n_features, err);
}

static void draw_codebook(const synth *s, uint64_t row, synth_row *out)
{
	uint64_t seed = hash64_mix(hash64_mix(s->o.seed, STREAM_ROWS), row);
	uint32_t codes = s->n_features / s->o.groups;

	for (uint32_t g = 0; g < s->o.groups; g++)
		draw_distinct(out, s->o.k, g * codes, codes, hash64_mix(seed, g));
	for (uint32_t i = 0; i < out->n; i++)
		out->value[i] = 1;
}

/* A code of group g lies in the g-th part of the row alone. */
static int split_dictionary(synth *s, pool *p, error *err)
{
	uint32_t groups = s->o.groups, codes = s->n_features / groups, part = s->o.d / groups;
	int rc = 0;

	s->dictionary = mem_alloc_aligned((size_t)s->n_features * s->o.d, sizeof(*s->dictionary));
	s->bias = arena_alloc(&s->mem, s->o.d, sizeof(*s->bias));
	if (!s->dictionary || !s->bias)
		rc = error_nomem(err, "directions");
	for (uint32_t g = 0; g < groups && rc == 0; g++) {
		float *rows =
		        synth_unit_rows(codes, part, hash64_mix(hash64_mix(s->o.seed, STREAM_DICTIONARY), g));

		rc = rows ? 0 : error_nomem(err, "directions");
		if (rc == 0 && s->o.orthogonal_steps && codes > 1)
			rc = synth_orthogonalise(rows, codes, part, s->o.orthogonal_steps, s->o.orthogonal_lr,
			                         p, err);
		for (uint32_t c = 0; c < codes && rc == 0; c++)
			memcpy(s->dictionary + (size_t)(g * codes + c) * s->o.d + g * part,
			       rows + (size_t)c * part, part * sizeof(*rows));
		free(rows);
	}
	return rc;
}

int synth_codebook_init(synth *s, pool *p, error *err)
{
	uint32_t groups = s->o.groups;
	int rc;

	s->n_features = s->o.features;
	if (groups < 1 || s->o.features % groups || s->o.d % groups)
		return error_set(err, ERR_ARG, "features %u and d %u are not both multiples of groups %u",
		                 s->o.features, s->o.d, groups);
	if (s->o.k > s->o.features / groups)
		return error_set(err, ERR_ARG, "k %u is over the codes of a group, %u", s->o.k,
		                 s->o.features / groups);
	s->draw = draw_codebook;
	rc = split_dictionary(s, p, err);
	return rc ? rc : equal_probabilities(s, (double)s->o.k * groups / s->n_features, err);
}

/* ---- Tree --------------------------------------------------------------------------------------------------------------------------- */

/* Features 0 to 2 are parents, active on 15 % of the rows each; of the three children of each (3 + 3 p + i) one has 20 % of those, and
 * on 40 % there is none; 12 to 19 stand alone, 5 % each. The original draws one of four with the weights .2 .2 .2 .4. */
enum { PARENTS = 3, CHILDREN = 3, ALONE = 8, TREE = PARENTS * (1 + CHILDREN) + ALONE };
static const double p_parent = 0.15, p_child = 0.2, p_alone = 0.05;

static void draw_tree(const synth *s, uint64_t row, synth_row *out)
{
	uint64_t seed = hash64_mix(hash64_mix(s->o.seed, STREAM_ROWS), row);
	uint32_t child[PARENTS];

	for (uint32_t p = 0; p < PARENTS; p++) {
		child[p] = CHILDREN;
		if (synth_unit(seed, p) >= p_parent)
			continue;
		out->index[out->n++] = p;
		child[p] = (uint32_t)(synth_unit(seed, PARENTS + p) / p_child);
	}
	for (uint32_t p = 0; p < PARENTS; p++)
		if (child[p] < CHILDREN)
			out->index[out->n++] = PARENTS + p * CHILDREN + child[p];
	for (uint32_t f = TREE - ALONE; f < TREE; f++)
		if (synth_unit(seed, f) < p_alone)
			out->index[out->n++] = f;
	for (uint32_t i = 0; i < out->n; i++)
		out->value[i] = 1;
}

/* Rows made orthogonal, one after the other. */
static void gram_schmidt(float *rows, uint32_t n, uint32_t d)
{
	for (uint32_t i = 0; i < n; i++) {
		float *x = rows + (size_t)i * d;
		double squares = 0;

		for (uint32_t j = 0; j < i; j++) {
			const float *y = rows + (size_t)j * d;
			double product = 0;

			for (uint32_t k = 0; k < d; k++)
				product += (double)x[k] * (double)y[k];
			for (uint32_t k = 0; k < d; k++)
				x[k] = (float)((double)x[k] - product * (double)y[k]);
		}
		for (uint32_t k = 0; k < d; k++)
			squares += (double)x[k] * (double)x[k];
		for (uint32_t k = 0; k < d; k++)
			x[k] = (float)((double)x[k] / sqrt(squares));
	}
}

int synth_tree_init(synth *s, pool *p, error *err)
{
	int rc;

	if (s->o.d < TREE)
		return error_set(err, ERR_ARG, "d %u is under the %d orthogonal features of a tree", s->o.d,
		                 TREE);
	s->n_features = TREE;
	s->draw = draw_tree;
	rc = synth_make_dictionary(s, p, err);
	s->parent = arena_alloc(&s->mem, TREE, sizeof(*s->parent));
	s->probability = arena_alloc(&s->mem, TREE, sizeof(*s->probability));
	if (rc == 0 && (!s->parent || !s->probability))
		rc = error_nomem(err, "a tree");
	if (rc < 0)
		return rc;
	gram_schmidt(s->dictionary, TREE, s->o.d);
	for (uint32_t f = 0; f < TREE; f++) {
		bool child = f >= PARENTS && f < TREE - ALONE;

		s->parent[f] = child ? (int32_t)((f - PARENTS) / CHILDREN) : -1;
		s->probability[f] = f < PARENTS ? p_parent : child ? p_parent * p_child : p_alone;
	}
	return 0;
}
