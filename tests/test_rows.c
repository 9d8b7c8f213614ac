/* Which rows count, what is said of them, who is joined and who is held out. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/rows_internal.h"

enum { ROWS = 3000, D = 19, CTX = 8 }; /* three tiles of the scan */

static sae_rows *scan(const sae_dump *d, const sae_rows_opts *o, unsigned threads)
{
	error err = { 0 };
	sae_rows *r = NULL;
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, threads, &err), 0);
	ck_assert_msg(sae_rows_scan(&r, d, o, true, p, NULL, &err) == 0, "%s", err.msg);
	pool_free(p);
	return r;
}

/* Rows of about norm 4 around a mean; some massive, one with NaN, one with infinity, one of zeros, two equal. */
static float strange_value(uint64_t row, uint32_t j)
{
	float x = (float)hash64_unit(hash64_mix(row, j)) * 2 - 0.5F;

	if (row % CTX == 0 && row % 16 == 0)
		return x * 1000;
	if (row == 1234 && j == 18)
		return NAN;
	if (row == 2001 && j == 0)
		return -INFINITY;
	if (row == 77)
		return 0;
	return row == 2500 ? strange_value(17, j) : x;
}

static made_dump strange(unsigned shards)
{
	return (made_dump){ .contexts = ROWS / CTX / shards,
		            .ctx_len = CTX,
		            .d = D,
		            .shards = shards,
		            .dtype = SAE_F32,
		            .tokens = true,
		            .value = strange_value };
}

/* ---- The scan ------------------------------------------------------------------------------------------------------ */

typedef struct plain_stats {
	double mean[D], variance, mean_norm, rms, max;
	uint64_t kept;
} plain_stats;

/* The same by the definition: two passes over the kept rows. */
static void by_definition(plain_stats *s, const sae_rows *r)
{
	*s = (plain_stats){ 0 };
	for (uint64_t row = 0; row < ROWS; row++) {
		double square = 0;
		for (uint32_t j = 0; j < D; j++)
			square += pow((double)strange_value(row, j), 2);
		if (isfinite(square))
			s->max = fmax(s->max, sqrt(square));
		if (!sae_rows_kept(r, row))
			continue;
		for (uint32_t j = 0; j < D; j++)
			s->mean[j] += (double)strange_value(row, j);
		s->mean_norm += sqrt(square);
		s->rms += square;
		s->kept++;
	}
	s->mean_norm /= (double)s->kept;
	s->rms = sqrt(s->rms / (double)s->kept);
	for (uint32_t j = 0; j < D; j++)
		s->mean[j] /= (double)s->kept;
	for (uint64_t row = 0; row < ROWS; row++)
		for (uint32_t j = 0; j < D && sae_rows_kept(r, row); j++)
			s->variance += pow((double)strange_value(row, j) - s->mean[j], 2) / (double)s->kept;
}

START_TEST(statistics_are_right)
{
	made_dump m = strange(1);
	sae_rows_opts o = { .max_norm_ratio = 10 };
	const sae_rows_stats *st;
	plain_stats want;
	double mean2 = 0;
	sae_dump *d;
	sae_rows *r;

	made_dump_write(dump_folder(), &m);
	d = made_dump_open(dump_folder(), NULL);
	r = scan(d, &o, 2);
	st = sae_rows_get_stats(r);
	ck_assert_uint_eq(st->n_outlier, (ROWS + 15) / 16);
	ck_assert_uint_eq(st->n_nan, 2);
	ck_assert_uint_eq(st->n_zero, 1);
	ck_assert_uint_eq(st->n_duplicate, 1);
	ck_assert_uint_eq(st->n_kept, ROWS - (ROWS + 15) / 16 - 2);
	ck_assert(!sae_rows_kept(r, 0) && !sae_rows_kept(r, 1234) && !sae_rows_kept(r, 2001) &&
	          sae_rows_kept(r, 77));
	ck_assert(!sae_rows_kept(r, ROWS));
	ck_assert_double_eq(st->norm_limit, 10 * st->median_norm);
	by_definition(&want, r);
	ck_assert_uint_eq(want.kept, st->n_kept);
	ck_assert_double_eq_tol(st->mean_norm, want.mean_norm, 1e-12 * want.mean_norm);
	ck_assert_double_eq_tol(st->rms_norm, want.rms, 1e-12 * want.rms);
	ck_assert_double_eq_tol(st->max_norm, want.max, 1e-12 * want.max);
	ck_assert_double_eq_tol(st->total_variance, want.variance, 1e-10 * want.variance);
	for (uint32_t j = 0; j < D; j++) {
		ck_assert_double_eq_tol(sae_rows_mean(r)[j], want.mean[j], 1e-12);
		mean2 += want.mean[j] * want.mean[j];
	}
	ck_assert_double_eq_tol(st->gamma, sqrt(mean2 / want.variance), 1e-9);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(options_leave_rows_out)
{
	uint32_t tokens[] = { made_token(5), 5000, made_token(2) }, positions[] = { 7, 3, 100 };
	sae_rows_opts all = { 0 }, limit = { .max_norm_ratio = 10, .norm_limit = 1e9 };
	sae_rows_opts some = { .max_norm_ratio = 10,
		               .exclude_tokens = tokens,
		               .n_exclude_tokens = 3,
		               .exclude_positions = positions,
		               .n_exclude_positions = 3 };
	made_dump m = strange(1);
	uint64_t by_token = 0, by_position = 0;
	const sae_rows_stats *st;
	sae_dump *d;
	sae_rows *r;

	made_dump_write(dump_folder(), &m);
	d = made_dump_open(dump_folder(), NULL);
	r = scan(d, &all, 1);
	ck_assert_uint_eq(sae_rows_get_stats(r)->n_outlier, 0);
	ck_assert(isinf(sae_rows_get_stats(r)->norm_limit));
	sae_rows_free(r);
	r = scan(d, &limit, 1);
	ck_assert_uint_eq(sae_rows_get_stats(r)->n_outlier, 0);
	ck_assert_double_eq(sae_rows_get_stats(r)->norm_limit, 1e9);
	sae_rows_free(r);
	r = scan(d, &some, 1);
	st = sae_rows_get_stats(r);
	for (uint64_t row = 0; row < ROWS; row++) {
		bool token = made_token(row) == tokens[0] || made_token(row) == tokens[2];
		bool position = row % CTX == 7 || row % CTX == 3;
		if (row == 1234 || row == 2001)
			continue;
		by_token += token;
		by_position += !token && position;
		ck_assert(!(token || position) || !sae_rows_kept(r, row));
	}
	ck_assert_uint_eq(st->n_token, by_token);
	ck_assert_uint_eq(st->n_position, by_position);
	ck_assert_uint_eq(st->n_kept + st->n_token + st->n_position + st->n_outlier + st->n_nan, ROWS);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(nan_can_be_an_error)
{
	made_dump m = strange(3);
	sae_rows_opts o = { .nan_fail = true };
	sae_rows *r = NULL;
	error err = { 0 };
	pool *p = NULL;
	sae_dump *d;

	made_dump_write(dump_folder(), &m);
	d = made_dump_open(dump_folder(), NULL);
	ck_assert_int_eq(pool_new(&p, 2, &err), 0);
	ck_assert_int_eq(sae_rows_scan(&r, d, &o, false, p, NULL, &err), ERR_FORMAT);
	ck_assert_ptr_null(r);
	ck_assert_msg(strstr(err.msg, "row 1234 (context 154, position 2)") && strstr(err.msg, "shard-001"),
	              "%s", err.msg);
	pool_free(p);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(same_bits_for_any_threads_and_shards)
{
	sae_rows_opts o = { .max_norm_ratio = 10 };
	sae_rows_stats first = { 0 };
	double mean[D] = { 0 };
	char other[SHA256_HEX];
	made_dump m;

	for (unsigned i = 0; i < 6; i++) {
		sae_dump *d;
		sae_rows *r;
		m = strange(i % 2 ? 5 : 1);
		made_dump_write(dump_folder(), &m);
		d = made_dump_open(dump_folder(), NULL);
		r = scan(d, &o, 1 + i);
		if (i == 0) {
			first = *sae_rows_get_stats(r);
			memcpy(mean, sae_rows_mean(r), sizeof(mean));
		}
		ck_assert_mem_eq(&first, sae_rows_get_stats(r), sizeof(first));
		ck_assert_mem_eq(mean, sae_rows_mean(r), sizeof(mean));
		sae_rows_free(r);
		sae_dump_close(d);
		leave_folder();
	}
	m = strange(1);
	m.tokens = false; /* another dump: another hash */
	made_dump_write(dump_folder(), &m);
	{
		sae_dump *d = made_dump_open(dump_folder(), NULL);
		sae_rows *r = scan(d, &o, 1);
		memcpy(other, sae_rows_get_stats(r)->sha256, sizeof(other));
		sae_rows_free(r);
		sae_dump_close(d);
	}
	ck_assert_str_ne(first.sha256, other);
	leave_folder();
}
END_TEST

static float no_value(uint64_t row, uint32_t j)
{
	(void)row;
	(void)j;
	return NAN;
}

static float zero_value(uint64_t row, uint32_t j)
{
	(void)row;
	(void)j;
	return 0;
}

START_TEST(degenerate_dumps_are_counted)
{
	made_dump m = strange(1);
	sae_rows_opts o = { .max_norm_ratio = 10 };
	sae_dump *d;
	sae_rows *r;

	m.value = no_value;
	made_dump_write(dump_folder(), &m);
	d = made_dump_open(dump_folder(), NULL);
	r = scan(d, &o, 1);
	ck_assert_uint_eq(sae_rows_get_stats(r)->n_kept, 0);
	ck_assert_int_eq(sae_rows_split(r, d, 0.5, SAE_SPLIT_DOCUMENT, 0, NULL), 0);
	ck_assert_uint_eq(sae_rows_n(r, false) + sae_rows_n(r, true), 0);
	sae_rows_free(r);
	sae_dump_close(d);
	m.value = zero_value;
	made_dump_write(dump_folder(), &m);
	d = made_dump_open(dump_folder(), NULL);
	r = scan(d, &o, 1);
	ck_assert_uint_eq(sae_rows_get_stats(r)->n_zero, ROWS);
	ck_assert_uint_eq(sae_rows_get_stats(r)->n_kept, ROWS);
	ck_assert_uint_eq(sae_rows_get_stats(r)->n_duplicate, ROWS - 1);
	ck_assert_double_eq(sae_rows_get_stats(r)->gamma, 0);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

/* ---- Rank and select ------------------------------------------------------------------------------------------------ */

START_TEST(select_finds_every_member)
{
	static const uint64_t sizes[] = { 1, 63, 64, 511, 512, 513, 5000 };

	for (size_t i = 0; i < 3 * ARRAY_LEN(sizes); i++) {
		uint64_t n = sizes[i / 3], members = 0;
		rowset s = { 0 };
		ck_assert_int_eq(rowset_init(&s, n, NULL), 0);
		for (uint64_t row = 0; row < n; row++)
			if (i % 3 == 0 || hash64_mix(i, row) % (i % 3 == 1 ? 3 : 600) == 0)
				rowset_add(&s, row);
		rowset_count(&s);
		for (uint64_t row = 0; row < n; row++)
			if (rowset_has(&s, row))
				ck_assert_uint_eq(rowset_select(&s, members++), row);
		ck_assert_uint_eq(rowset_size(&s), members);
		rowset_clear(&s);
	}
}
END_TEST

START_TEST(duplicates_are_counted_in_bounded_memory)
{
	enum { DISTINCT = 1000 };
	static const size_t most[] = { 100000, 2000, 1001, 64, 3 }; /* exact from 2000 on down to 1001 */

	for (size_t i = 0; i < ARRAY_LEN(most); i++) {
		duplicate_count s = { .max = most[i] };
		double want = 0;
		for (uint64_t row = 0; row < 20 * DISTINCT; row++) {
			ck_assert_int_eq(duplicates_add(&s, hash64_mix(5, row % DISTINCT), NULL), 0);
			ck_assert_uint_le(s.n, most[i]);
		}
		want = 19 * DISTINCT;
		if (most[i] >= 2000)
			ck_assert_uint_eq(duplicates_found(&s), 19 * DISTINCT);
		else if (most[i] >= 64)
			ck_assert_double_eq_tol((double)duplicates_found(&s), want, want / 2);
		duplicates_clear(&s);
	}
	for (size_t i = 0; i < ARRAY_LEN(most); i++) { /* one row over and over */
		duplicate_count s = { .max = most[i] };
		for (int row = 0; row < 5000; row++)
			ck_assert_int_eq(duplicates_add(&s, hash64_mix(1, 1), NULL), 0);
		ck_assert_uint_eq(duplicates_found(&s), 4999);
		duplicates_clear(&s);
	}
}
END_TEST

/* ---- Groups ---------------------------------------------------------------------------------------------------------- */

enum { G_CTX = 40, G_CONTEXTS = 60 };
static uint32_t planted[G_CONTEXTS * G_CTX];

static uint32_t planted_token(uint64_t row)
{
	return planted[row];
}

static float small_value(uint64_t row, uint32_t j)
{
	return (float)(row % 7) + (float)j;
}

/* The longest common run of two contexts, by definition. */
static uint32_t common_run(const uint32_t *a, const uint32_t *b)
{
	uint32_t longest = 0;

	for (int shift = 1 - G_CTX; shift < G_CTX; shift++)
		for (int i = 0, run = 0; i < G_CTX; i++) {
			int j = i + shift;
			run = j >= 0 && j < G_CTX && a[i] == b[j] ? run + 1 : 0;
			if ((uint32_t)run > longest)
				longest = (uint32_t)run;
		}
	return longest;
}

/* Whether `groups` is the finest division in which contexts with a common run of 24 stand together. */
static void check_groups(const uint32_t *groups, uint32_t n_groups)
{
	uint32_t want[G_CONTEXTS], next = 0;

	for (uint32_t a = 0; a < G_CONTEXTS; a++)
		want[a] = a;
	for (uint32_t a = 0; a < G_CONTEXTS; a++)
		for (uint32_t b = 0; b < a; b++) {
			uint32_t from = want[a], to = want[b];
			if (common_run(planted + a * G_CTX, planted + b * G_CTX) < 24)
				continue;
			for (uint32_t c = 0; c < G_CONTEXTS; c++)
				if (want[c] == from)
					want[c] = to;
		}
	for (uint32_t a = 0; a < G_CONTEXTS; a++) { /* the same division, and numbered by first appearance */
		ck_assert_uint_le(groups[a], next);
		next += groups[a] == next;
		for (uint32_t b = 0; b < a; b++)
			ck_assert_int_eq(want[a] == want[b], groups[a] == groups[b]);
	}
	ck_assert_uint_eq(n_groups, next);
}

/* Random text over a vocabulary, with runs of 22 to 25 tokens copied between contexts. */
static void plant(uint64_t seed, uint32_t vocabulary)
{
	for (uint32_t i = 0; i < G_CONTEXTS * G_CTX; i++)
		planted[i] = (uint32_t)(hash64_mix(seed, i) % vocabulary);
	for (uint64_t i = 0; i < 25; i++) {
		uint64_t h = hash64_mix(seed + 1000, i), length = 22 + h % 4;
		uint64_t from = h / 4 % G_CONTEXTS, to = h / 4096 % G_CONTEXTS;
		uint64_t at = h / 1000000 % (G_CTX - length + 1), put = h / 100000000 % (G_CTX - length + 1);
		memmove(planted + to * G_CTX + put, planted + from * G_CTX + at, length * sizeof(*planted));
	}
}

START_TEST(groups_are_those_of_the_definition)
{
	made_dump m = { .contexts = G_CONTEXTS,
		        .ctx_len = G_CTX,
		        .d = 1,
		        .shards = 1,
		        .dtype = SAE_F32,
		        .tokens = true,
		        .token = planted_token };

	for (uint64_t seed = 0; seed < 30; seed++) {
		uint32_t *groups = NULL, n = 0;
		error err = { 0 };
		sae_dump *d;
		plant(seed, seed % 3 == 0   ? 2
		            : seed % 3 == 1 ? 20
		                            : 30000); /* two tokens: equal hashes in every window */
		made_dump_write(dump_folder(), &m);
		d = made_dump_open(dump_folder(), NULL);
		ck_assert_msg(sae_split_groups(&groups, &n, d, 24, &err) == 0, "%s", err.msg);
		check_groups(groups, n);
		free(groups);
		sae_dump_close(d);
	}
	leave_folder();
}
END_TEST

START_TEST(groups_follow_the_manifest)
{
	made_dump m = { .contexts = 5, .ctx_len = 4, .d = 1, .shards = 1, .dtype = SAE_F32, .tokens = true };
	static const uint32_t want[] = { 0, 1, 0, 2, 1 };
	uint32_t *groups = NULL, n = 0;
	sae_dump *d;

	made_dump_write(dump_folder(), &m);
	support_put_text(in_folder("dump/dump.json"), "{\"documents\":[9,3,9,4,3]}");
	d = made_dump_open(dump_folder(), NULL);
	ck_assert_int_eq(sae_split_groups(&groups, &n, d, 24, NULL), 0);
	ck_assert_uint_eq(n, 3);
	ck_assert_mem_eq(groups, want, sizeof(want));
	free(groups);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

/* ---- The split -------------------------------------------------------------------------------------------------------- */

static sae_dump *planted_dump(void)
{
	made_dump m = { .contexts = G_CONTEXTS,
		        .ctx_len = G_CTX,
		        .d = 2,
		        .shards = 1,
		        .dtype = SAE_F32,
		        .tokens = true,
		        .token = planted_token,
		        .value = small_value };

	plant(4, 30000);
	made_dump_write(dump_folder(), &m);
	return made_dump_open(dump_folder(), NULL);
}

START_TEST(split_keeps_groups_whole)
{
	sae_dump *d = planted_dump();
	sae_rows_opts o = { .exclude_positions = (uint32_t[]){ 0 }, .n_exclude_positions = 1 };
	sae_rows *r = scan(d, &o, 1);
	uint64_t n = sae_rows_get_stats(r)->n_kept, first[3] = { 0 };
	uint32_t largest = 0, members[G_CONTEXTS] = { 0 };

	for (uint64_t seed = 0; seed < 3; seed++) {
		bool held[G_CONTEXTS] = { false };
		ck_assert_int_eq(sae_rows_split(r, d, 0.25, SAE_SPLIT_DOCUMENT, seed, NULL), 0);
		ck_assert_uint_eq(sae_rows_n(r, true) + sae_rows_n(r, false), n);
		for (uint64_t c = 0; seed == 0 && c < G_CONTEXTS; c++)
			if (++members[sae_rows_group(r, c)] > largest)
				largest = members[sae_rows_group(r, c)];
		ck_assert_uint_ge(sae_rows_n(r, true), n / 4);
		ck_assert_uint_lt(sae_rows_n(r, true), n / 4 + largest * (G_CTX - 1));
		for (uint64_t i = 0; i < sae_rows_n(r, true); i++)
			held[sae_rows_group(r, sae_rows_at(r, true, i) / G_CTX)] = true;
		for (uint64_t i = 0; i < sae_rows_n(r, false); i++)
			ck_assert(!held[sae_rows_group(r, sae_rows_at(r, false, i) / G_CTX)]);
		first[seed] = sae_rows_at(r, true, 0) * 10000 + sae_rows_at(r, true, n / 8);
	}
	ck_assert(first[0] != first[1] || first[1] != first[2]);
	ck_assert_int_eq(sae_rows_split(r, d, 0.25, SAE_SPLIT_DOCUMENT, 0, NULL), 0); /* again: the same */
	ck_assert_uint_eq(first[0], sae_rows_at(r, true, 0) * 10000 + sae_rows_at(r, true, n / 8));
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

START_TEST(split_by_tail_and_the_extremes)
{
	sae_dump *d = planted_dump();
	sae_rows_opts o = { .exclude_positions = (uint32_t[]){ 0, 5 }, .n_exclude_positions = 2 };
	sae_rows *r = scan(d, &o, 1);
	uint64_t n = sae_rows_get_stats(r)->n_kept;
	error err = { 0 };

	ck_assert_int_eq(sae_rows_split(r, d, 0.1, SAE_SPLIT_TAIL, 9, NULL), 0);
	ck_assert_uint_eq(sae_rows_n(r, true), n / 10);
	ck_assert_uint_lt(sae_rows_at(r, false, sae_rows_n(r, false) - 1), sae_rows_at(r, true, 0));
	ck_assert_uint_eq(sae_rows_at(r, true, n / 10 - 1), G_CONTEXTS * G_CTX - 1);
	ck_assert_int_eq(sae_rows_split(r, d, 0, SAE_SPLIT_DOCUMENT, 9, NULL), 0);
	ck_assert_uint_eq(sae_rows_n(r, true), 0);
	ck_assert_int_eq(sae_rows_split(r, d, 1, SAE_SPLIT_DOCUMENT, 9, NULL), 0);
	ck_assert_uint_eq(sae_rows_n(r, false), 0);
	ck_assert_uint_eq(sae_rows_n(r, true), n);
	ck_assert_uint_eq(sae_rows_at(r, true, 0), 1);
	ck_assert_int_eq(sae_rows_split(r, d, 1.5, SAE_SPLIT_TAIL, 9, &err), ERR_ARG);
	ck_assert_int_eq(sae_rows_split(r, d, (double)NAN, SAE_SPLIT_TAIL, 9, &err), ERR_ARG);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

static uint32_t same_token(uint64_t row)
{
	return (uint32_t)(row % G_CTX);
}

START_TEST(one_group_cannot_be_split)
{
	made_dump m = { .contexts = 4,
		        .ctx_len = G_CTX,
		        .d = 2,
		        .shards = 1,
		        .dtype = SAE_F32,
		        .tokens = true,
		        .token = same_token };
	sae_rows_opts o = { 0 };
	error err = { 0 };
	sae_dump *d;
	sae_rows *r;

	made_dump_write(dump_folder(), &m);
	d = made_dump_open(dump_folder(), NULL);
	r = scan(d, &o, 1);
	ck_assert_int_eq(sae_rows_split(r, d, 0.25, SAE_SPLIT_DOCUMENT, 0, &err), ERR_ARG);
	ck_assert_msg(strstr(err.msg, "1 document group") && strstr(err.msg, "tail"), "%s", err.msg);
	ck_assert_int_eq(sae_rows_split(r, d, 0.25, SAE_SPLIT_TAIL, 0, &err), 0);
	ck_assert_uint_eq(sae_rows_n(r, true), G_CTX);
	sae_rows_free(r);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

/* ---- Faults ------------------------------------------------------------------------------------------------------------ */

static int scan_and_split(const sae_dump *d, pool *p, sae_rows **r, error *err)
{
	sae_rows_opts o = { .max_norm_ratio = 10 };
	int rc = sae_rows_scan(r, d, &o, true, p, NULL, err);

	return rc < 0 ? rc : sae_rows_split(*r, d, 0.25, SAE_SPLIT_DOCUMENT, 0, err);
}

START_TEST(survives_every_fault)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	made_dump m = { .contexts = 6,
		        .ctx_len = G_CTX,
		        .d = 2,
		        .shards = 1,
		        .dtype = SAE_F16,
		        .tokens = true,
		        .token = planted_token };
	pool *p = NULL;
	sae_dump *d;

	plant(1, 30000);
	memcpy(planted, planted + G_CTX, G_CTX * sizeof(*planted)); /* a pair to join */
	made_dump_write(dump_folder(), &m);
	d = made_dump_open(dump_folder(), NULL);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			sae_rows *r = NULL;
			error err = { 0 };
			int rc;
			fault_arm(kinds[i], n);
			rc = scan_and_split(d, p, &r, &err);
			sae_rows_free(r);
			if (!fault_disarm(kinds[i])) {
				ck_assert_msg(rc == 0, "%s", err.msg);
				break;
			}
			ck_assert_msg(rc == (kinds[i] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO), "%d %s", rc,
			              err.msg);
			ck_assert_int_ne(err.msg[0], 0);
		}
	pool_free(p);
	sae_dump_close(d);
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "scan", statistics_are_right, options_leave_rows_out, nan_can_be_an_error,
	             same_bits_for_any_threads_and_shards, degenerate_dumps_are_counted);
	SUPPORT_CASE(s, "sets", select_finds_every_member, duplicates_are_counted_in_bounded_memory);
	SUPPORT_CASE(s, "groups", groups_are_those_of_the_definition, groups_follow_the_manifest);
	SUPPORT_CASE(s, "split", split_keeps_groups_whole, split_by_tail_and_the_extremes,
	             one_group_cannot_be_split);
	SUPPORT_CASE(s, "faults", survives_every_fault);
}

SUPPORT_MAIN("rows", cases)
