/* store/similar.c, duplicates.c, behaviour.c, joint_scan.c: against counting by hand, and on sources that are the same SAE with
 * its features in another order and of another scale, or another SAE. */
#include <math.h>

#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_json.h"
#include "tests/support_store.h"

enum { F = 600, D = 8, CONTEXTS = 60, TOKENS = 64, L0 = 12 };

static char folder[FILE_PATH_MAX];
static store *s;
static error err;

#define OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

/* ---- Sources ------------------------------------------------------------------------------------------------------------- */

/* An SAE of this corpus: features are chosen by token and place under `seed`, then go under other numbers and scales. */
typedef struct made_sae {
	const char *name;
	uint64_t seed, order; /* order 0: features as they come */
	double scale;         /* of activations: each feature's own, around this */
	uint32_t contexts;    /* indexed: the first ones */
} made_sae;

static uint32_t number_of(const made_sae *m, uint32_t feature)
{
	return m->order ? (uint32_t)hash64_permute(feature, F, m->order) : feature;
}

static double scale_of(const made_sae *m, uint32_t feature)
{
	return m->scale * (m->order ? 0.3 + 3 * hash64_unit(hash64_mix(m->order, feature)) : 1);
}

/* The value of a feature, under its own number, on a token; 0: silent. Small numbers fire often. */
static void codes_of(double value[F], const made_sae *m, uint32_t context, uint32_t token)
{
	uint64_t word = hash64_below(hash64_mix(context, token), 40);

	memset(value, 0, F * sizeof(*value));
	for (uint32_t j = 0; j < L0; j++) {
		uint64_t h = hash64_mix(m->seed, hash64_mix(j < 6 ? word : hash64_mix(context, token), j));
		double u = hash64_unit(h);
		uint32_t f = (uint32_t)(u * u * F);

		value[f] = 0.05 + exp(2 * hash64_unit(hash64_mix(h, hash64_mix(context, token))));
	}
}

static void fill_context(store_context *c, const made_sae *m, uint32_t number)
{
	static uint32_t tokens[TOKENS], start[TOKENS + 1], feature[TOKENS * L0];
	static uint8_t counted[TOKENS];
	static float values[TOKENS * L0];
	double value[F], moved[F];
	uint32_t n = 0;

	for (uint32_t t = 0; t < TOKENS; t++) {
		tokens[t] = (uint32_t)hash64_below(hash64_mix(number, t), 40);
		counted[t] = t > 0;
		start[t] = n;
		codes_of(value, m, number, t);
		memset(moved, 0, sizeof(moved));
		for (uint32_t f = 0; f < F && t > 0; f++)
			moved[number_of(m, f)] = value[f] * scale_of(m, f);
		for (uint32_t f = 0; f < F; f++) {
			if (moved[f] == 0)
				continue;
			feature[n] = f;
			values[n++] = (float)moved[f];
		}
	}
	start[TOKENS] = n;
	*c = (store_context){ tokens, TOKENS, 100 + number, 100 + number, counted, start, feature, values };
}

static void index_sae(store *to, const made_sae *m)
{
	static const char *words[40];
	static uint32_t lengths[40];
	static float decoder[F * D];
	store_index_opts o = store_index_opts_default();
	store_index *ix = NULL;

	for (uint32_t i = 0; i < 40; i++) {
		words[i] = " w";
		lengths[i] = 2;
	}
	for (uint32_t f = 0; f < F; f++)
		for (uint32_t i = 0; i < D; i++)
			decoder[number_of(m, f) * D + i] =
			        (float)((hash64_unit(hash64_mix(m->seed + f, i)) - 0.5) / scale_of(m, f));
	o.source = m->name;
	o.architecture = "topk";
	o.d_in = D;
	o.n_features = F;
	o.k = L0;
	o.weights_sha256 = m->name;
	o.dump_sha256 = "d";
	o.config = "{}";
	o.argv = "[]";
	o.corpus = true;
	OK(store_index_begin(&ix, to, &o, &err));
	OK(store_index_vocab(ix, "words", 40, words, lengths, &err));
	OK(store_index_decoder(ix, decoder, &err));
	for (uint32_t i = 0; i < m->contexts; i++) {
		store_context c;

		fill_context(&c, m, i);
		OK(store_index_context(ix, &c, &err));
	}
	OK(store_index_finish(ix, NULL, NULL, &err));
}

static const made_sae first = { "first", 1, 0, 1, CONTEXTS }, moved = { "moved", 1, 77, 0.37, CONTEXTS },
                      another = { "another", 2, 0, 1, CONTEXTS - 5 };

static void make_stores(void)
{
	support_mkdir(folder);
	OK(store_open(&s, support_path(folder, "three.db"), STORE_CREATE, &err));
	index_sae(s, &first);
	index_sae(s, &moved);
	index_sae(s, &another);
	store_close(s);
	OK(store_open(&s, support_path(folder, "one.db"), STORE_CREATE, &err));
	index_sae(s, &moved);
	store_close(s);
}

static void remove_stores(void)
{
	support_rmdir(folder);
}

static void setup(void)
{
	err = (error){ 0 };
	OK(store_open(&s, support_path(folder, "three.db"), STORE_READ, &err));
}

static void teardown(void)
{
	store_close(s);
}

/* ---- One feature ----------------------------------------------------------------------------------------------------------- */

/* Tokens on which features a of x and b of y fire, and both. */
static void count(double n[4], const made_sae *x, uint32_t a, const made_sae *y, uint32_t b)
{
	uint32_t contexts = x->contexts < y->contexts ? x->contexts : y->contexts;
	double v[F], w[F];

	memset(n, 0, 4 * sizeof(*n));
	for (uint32_t c = 0; c < contexts; c++)
		for (uint32_t t = 1; t < TOKENS; t++) {
			codes_of(v, x, c, t);
			codes_of(w, y, c, t);
			n[0] += v[a] > 0;
			n[1] += w[b] > 0;
			n[2] += v[a] > 0 && w[b] > 0;
			n[3]++;
		}
}

static const struct {
	const made_sae *in;
	store_by by;
	bool other_store;
} places[] = {
	{ &first, STORE_BY_JACCARD, false },   { &first, STORE_BY_LIFT, false },
	{ &another, STORE_BY_COSINE, false },  { &moved, STORE_BY_JACCARD, true },
	{ &another, STORE_BY_JACCARD, false },
};

START_TEST(firing_together_is_counted)
{
	const made_sae *in = places[_i].in;
	store_similar_opts o = { .source = "first",
		                 .feature = 5,
		                 .in = in->name,
		                 .by = places[_i].by,
		                 .min_both = 4,
		                 .limit = 10 };
	const char *const names[] = { "jaccard", "cosine", "lift" };
	const cJSON *cofiring, *item;
	cJSON *page = NULL;
	double last = INFINITY;
	store *other = NULL;

	if (places[_i].other_store) {
		OK(store_open(&other, support_path(folder, "one.db"), STORE_READ, &err));
		o.other = other;
		o.in = NULL;
	}
	OK(store_similar(&page, s, &o, &err));
	ck_assert_str_eq(json_string(json_member(page, "in"), "source"), in->name);
	cofiring = json_member(page, "cofiring");
	ck_assert_double_eq(json_number(cofiring, "contexts"), in->contexts);
	ck_assert_double_eq(json_number(cofiring, "tokens"), in->contexts * (TOKENS - 1.0));
	ck_assert_int_eq(json_count(cofiring, "features"), 10);
	cJSON_ArrayForEach(item, json_member(cofiring, "features"))
	{
		uint32_t f = 0, g = (uint32_t)json_number(item, "feature");
		double n[4];

		while (number_of(in, f) != g)
			f++;
		count(n, &first, 5, in, f);
		ck_assert(in != &first || g != 5);
		ck_assert_double_eq(json_number(cofiring, "fires"), n[0]);
		ck_assert_double_eq(json_number(item, "fires"), n[1]);
		ck_assert_double_eq(json_number(item, "both"), n[2]);
		ck_assert_double_ge(n[2], 4);
		ck_assert_double_eq_tol(json_number(item, "jaccard"), n[2] / (n[0] + n[1] - n[2]), 1e-12);
		ck_assert_double_eq_tol(json_number(item, "cosine"), n[2] / sqrt(n[0] * n[1]), 1e-12);
		ck_assert_double_eq_tol(json_number(item, "lift"), n[2] * n[3] / (n[0] * n[1]), 1e-9);
		ck_assert_double_le(json_number(item, names[o.by]), last);
		last = json_number(item, names[o.by]);
	}
	if (in ==
	    &moved) /* the same feature under another number fires on the same tokens, and points the same way */
		ck_assert_double_eq(json_number(json_item(cofiring, "features", 0), "feature"),
		                    number_of(&moved, 5));
	cJSON_Delete(page);
	store_close(other);
}
END_TEST

START_TEST(directions_are_compared)
{
	store_similar_opts o = { .source = "first", .feature = 9, .in = "moved", .limit = F };
	const cJSON *item;
	cJSON *page = NULL;
	double v[2][D];

	OK(store_similar(&page, s, &o, &err));
	ck_assert_int_eq(json_count(page, "decoder"), F);
	ck_assert_double_eq(json_number(json_item(page, "decoder", 0), "feature"), number_of(&moved, 9));
	ck_assert_double_gt(json_number(json_item(page, "decoder", 0), "cosine"), 0.99999);
	for (int i = 0; i < F; i += 50) {
		double dot = 0, norms[2] = { 0 };
		uint32_t f = 0;

		item = json_item(page, "decoder", i);
		while (number_of(&moved, f) != (uint32_t)json_number(item, "feature"))
			f++;
		for (uint32_t k = 0; k < D; k++) {
			v[0][k] = hash64_unit(hash64_mix(first.seed + 9, k)) - 0.5;
			v[1][k] = hash64_unit(hash64_mix(moved.seed + f, k)) - 0.5;
			dot += v[0][k] * v[1][k];
			norms[0] += v[0][k] * v[0][k];
			norms[1] += v[1][k] * v[1][k];
		}
		ck_assert_double_eq_tol(json_number(item, "cosine"), dot / sqrt(norms[0] * norms[1]), 2e-3);
	}
	cJSON_Delete(page);
}
END_TEST

/* Itself is left out in its own source; without vectors there are none to compare. */
START_TEST(similar_at_the_edges)
{
	store_similar_opts o = { .source = "first", .feature = 9, .limit = F };
	const cJSON *item;
	cJSON *page = NULL;

	OK(store_similar(&page, s, &o, &err));
	ck_assert_int_eq(json_count(page, "decoder"), F - 1);
	cJSON_ArrayForEach(item, json_member(page, "decoder"))
	{
		ck_assert_double_ne(json_number(item, "feature"), 9);
	}
	cJSON_Delete(page);
	page = NULL;
	ck_assert_int_eq(store_similar(&page, s, &(store_similar_opts){ .feature = 9 }, &err), ERR_ARG);
	o.feature = F;
	ck_assert_int_eq(store_similar(&page, s, &o, &err), ERR_ARG);
	o = (store_similar_opts){ .source = "first", .in = "nowhere" };
	ck_assert_int_eq(store_similar(&page, s, &o, &err), ERR_NOTFOUND);
	ck_assert_ptr_null(page);
}
END_TEST

START_TEST(similar_of_hand_made_stores)
{
	store_similar_opts o = { .feature = SMALL_ON_CAT, .limit = 9 };
	store *small = small_store_open(STORE_WRITE);
	cJSON *page = NULL;

	OK(store_similar(&page, small, &o, &err));
	ck_assert(cJSON_IsNull(json_member(page, "decoder"))); /* it has no vectors */
	ck_assert_str_eq(json_string(page, "label"), "cats");
	cJSON_Delete(page);
	page = NULL;
	OK(store_exec(small, "UPDATE firing SET counted = x'00' WHERE context_id % 2", &err));
	ck_assert_int_eq(store_similar(&page, small, &o, &err), ERR_FORMAT);
	ck_assert_msg(strstr(err.msg, "is corrupt: its mask is not of 32 tokens") != NULL, "%s", err.msg);
	OK(store_exec(small, "UPDATE firing SET counted = x'ffffffff', codes = x'0102'", &err));
	ck_assert_int_eq(store_similar(&page, small, &o, &err), ERR_FORMAT);
	OK(store_exec(small, "DELETE FROM firing", &err));
	OK(store_similar(&page, small, &o, &err));
	ck_assert_double_eq(json_number(json_member(page, "cofiring"), "contexts"), 0);
	cJSON_Delete(page);
	store_close(small);
}
END_TEST

/* ---- Duplicates --------------------------------------------------------------------------------------------------------------- */

static cJSON *duplicates(const char *a, const char *b)
{
	store_duplicates_opts o = store_duplicates_opts_default();
	const char *const names[] = { a, b };
	cJSON *page = NULL;

	o.sources = (store_sources){ .names = names, .n = b ? 2 : 1 };
	o.limit = 10 * F;
	OK(store_duplicates(&page, s, &o, &err));
	return page;
}

static int by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The same SAE with its features in another order and each of another scale: every feature's key is its own alone, and its
 * copy's. */
START_TEST(a_moved_sae_has_the_same_keys)
{
	cJSON *page = duplicates("first", "moved");
	const cJSON *group;
	double features = json_number(page, "features");
	uint64_t keys[F];
	size_t n = 0;

	ck_assert_double_gt(features, F); /* over half of each fire often enough */
	ck_assert_double_eq(2 * json_number(page, "n_groups"), features);
	cJSON_ArrayForEach(group, json_member(page, "groups"))
	{
		const cJSON *a = json_item(group, "features", 0), *b = json_item(group, "features", 1);

		ck_assert_int_eq(json_count(group, "features"), 2);
		ck_assert_str_eq(json_string(a, "source"), "first");
		ck_assert_str_eq(json_string(b, "source"), "moved");
		ck_assert_double_eq(json_number(b, "feature"),
		                    number_of(&moved, (uint32_t)json_number(a, "feature")));
		ck_assert_double_eq(json_number(a, "fires"), json_number(b, "fires"));
		ck_assert_uint_eq(strlen(json_string(group, "key")), 16);
		keys[n++] = strtoull(json_string(group, "key"), NULL, 16);
	}
	qsort(keys, n, sizeof(*keys), by_key);
	for (size_t i = 1; i < n; i++)
		ck_assert_uint_ne(keys[i], keys[i - 1]);
	cJSON_Delete(page);
}
END_TEST

/* Of an independent SAE, and within one, under one in a thousand features behave alike: here none do. */
START_TEST(another_sae_has_others)
{
	cJSON *page = duplicates("first", "another");

	ck_assert_double_gt(json_number(page, "features"), F);
	ck_assert_double_lt(json_number(page, "n_groups"), 1e-3 * json_number(page, "features"));
	ck_assert_double_eq(json_number(page, "n_groups"), 0);
	ck_assert_double_eq(json_number(page, "contexts"), CONTEXTS - 5);
	cJSON_Delete(page);
	page = duplicates("another", NULL);
	ck_assert_double_eq(json_number(page, "n_groups"), 0);
	cJSON_Delete(page);
}
END_TEST

/* ---- Duplicates and near ones by hand ------------------------------------------------------------------------------------------- */

/* Store with one source whose features fire as the case says: value[feature][token]. */
enum { FEW = 9, LONG = 400 };

static double hand_made(uint32_t f, uint32_t t)
{
	double wave = 1 + 0.5 * sin(t), noise = hash64_unit(hash64_mix(f, t));
	bool on = hash64_mix(3, t) % 4 == 0;

	switch (f) {
	case 0: /* a group of three: scales 1, 3, 1/7 */
		return on ? wave : 0;
	case 1:
		return on ? 3 * wave : 0;
	case 2: /* the same tokens, other values: no duplicate, and not near */
		return on ? 0.02 + noise * noise * noise : 0;
	case 3:
		return on ? wave / 7 : 0;
	case 4: /* nearly feature 0: one token more */
		return on || t == 6 ? (on ? wave : 0.3) : 0;
	case 5: /* nearly feature 0: other values on some tokens, by over 1/32 of the largest */
		return on ? (t % 9 == 0 ? 0.9 : 1) * wave : 0;
	case 6: /* too rarely to tell */
	case 7:
		return t % 80 == 0 ? 1 : 0;
	default:
		return noise < 0.25 ? noise : 0;
	}
}

static void index_by_hand(void)
{
	static uint32_t tokens[LONG], start[LONG + 1], feature[LONG * FEW];
	static uint8_t counted[LONG];
	static float value[LONG * FEW];
	static float decoder[FEW * D];
	store_context c = { tokens, LONG, 1, 1, counted, start, feature, value };
	store_index_opts o = store_index_opts_default();
	const char *word = " w";
	uint32_t length = 2, n = 0;
	store_index *ix = NULL;

	o.source = "hand";
	o.architecture = "topk";
	o.d_in = D;
	o.n_features = FEW;
	o.weights_sha256 = o.dump_sha256 = "h";
	o.config = "{}";
	o.argv = "[]";
	OK(store_index_begin(&ix, s, &o, &err));
	OK(store_index_vocab(ix, "one", 1, &word, &length, &err));
	OK(store_index_decoder(ix, decoder, &err));
	for (uint32_t t = 0; t < LONG; t++) {
		counted[t] = 1;
		start[t] = n;
		for (uint32_t f = 0; f < FEW; f++) {
			feature[n] = f;
			value[n] = (float)hand_made(f, t);
			n += value[n] > 0;
		}
	}
	start[LONG] = n;
	OK(store_index_context(ix, &c, &err));
	OK(store_index_finish(ix, NULL, NULL, &err));
}

static double true_cosine(uint32_t a, uint32_t b)
{
	double dot = 0, x = 0, y = 0;

	for (uint32_t t = 0; t < LONG; t++) {
		dot += hand_made(a, t) * hand_made(b, t);
		x += hand_made(a, t) * hand_made(a, t);
		y += hand_made(b, t) * hand_made(b, t);
	}
	return dot / sqrt(x * y);
}

START_TEST(groups_and_near_ones)
{
	store_duplicates_opts o = store_duplicates_opts_default();
	const cJSON *group, *near;
	cJSON *page = NULL;
	bool one_more = false, other_value = false;

	store_close(s);
	OK(store_open(&s, support_path(folder, "hand.db"), STORE_CREATE, &err));
	index_by_hand();
	OK(store_duplicates(&page, s, &o, &err));
	ck_assert_double_eq(json_number(page, "features"), FEW - 2);
	ck_assert_double_eq(json_number(page, "n_groups"), 1);
	group = json_item(page, "groups", 0);
	ck_assert_int_eq(json_count(group, "features"), 3);
	ck_assert_double_eq(json_number(json_item(group, "features", 0), "feature"), 0);
	ck_assert_double_eq(json_number(json_item(group, "features", 1), "feature"), 1);
	ck_assert_double_eq(json_number(json_item(group, "features", 2), "feature"), 3);
	cJSON_ArrayForEach(near, json_member(page, "near"))
	{
		double a = json_number(json_member(near, "a"), "feature"),
		       b = json_number(json_member(near, "b"), "feature");

		ck_assert_double_le(json_number(near, "distance"), 3);
		ck_assert_double_eq_tol(json_number(near, "cosine"), true_cosine((uint32_t)a, (uint32_t)b),
		                        1e-3);
		ck_assert_double_gt(json_number(near, "cosine"), 0.97);
		one_more |= a == 0 && b == 4;
		other_value |= a == 0 && b == 5;
		ck_assert_double_ne(a, 1); /* feature 0 stands for its group */
		ck_assert_double_ne(b, 3);
	}
	ck_assert(one_more && other_value);
	cJSON_Delete(page);
	page = NULL;
	o.min_fires = 1;
	OK(store_duplicates(&page, s, &o, &err));
	ck_assert_double_eq(json_number(page, "n_groups"), 2); /* those that are rare, too */
	cJSON_Delete(page);
	page = NULL;
	o.distance = 8;
	ck_assert_int_eq(store_duplicates(&page, s, &o, &err), ERR_ARG);
	o.distance = 0;
	OK(store_duplicates(&page, s, &o, &err));
	ck_assert_double_eq(json_number(page, "n_groups"), 2);
	cJSON_Delete(page);
}
END_TEST

/* ---- Memory --------------------------------------------------------------------------------------------------------------------- */

static int ask(int which, cJSON **page)
{
	store_similar_opts o = { .source = "first", .feature = 9, .in = "moved", .limit = 3 };
	store_duplicates_opts d = store_duplicates_opts_default();

	return which ? store_duplicates(page, s, &d, &err) : store_similar(page, s, &o, &err);
}

START_TEST(memory_that_lacks_is_said)
{
	for (long n = 0;; n++) {
		cJSON *page = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = ask(_i, &page);
		if (!fault_disarm(FAULT_ALLOC)) {
			OK(rc);
			cJSON_Delete(page);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(page);
		n += n / 8; /* all of the first, then fewer: each try goes through every firing */
	}
}
END_TEST

static void cases(Suite *suite)
{
	TCase *c = SUPPORT_CASE(suite, "like", directions_are_compared, similar_at_the_edges,
	                        similar_of_hand_made_stores, a_moved_sae_has_the_same_keys,
	                        another_sae_has_others, groups_and_near_ones);

	tcase_add_loop_test(c, firing_together_is_counted, 0, ARRAY_LEN(places));
	tcase_add_loop_test(c, memory_that_lacks_is_said, 0, 2);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_unchecked_fixture(c, make_stores, remove_stores);
	tcase_add_unchecked_fixture(c, small_store_prepare, small_store_remove);
}
SUPPORT_MAIN("similar", cases)
