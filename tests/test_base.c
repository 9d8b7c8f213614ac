/* test_base.c: errors, memory, hashes, clock and fault points. */
#include "tests/support.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

START_TEST(error_formats)
{
	error e = { 0 };

	ck_assert_int_eq(error_set(&e, ERR_ARG, "bad %d", 7), ERR_ARG);
	ck_assert_int_eq(e.code, ERR_ARG);
	ck_assert_str_eq(e.msg, "bad 7");
	ck_assert_int_eq(error_errno(&e, ENOENT, "cannot open '%s'", "x"), ERR_IO);
	ck_assert_str_eq(e.msg, "cannot open 'x': No such file or directory");
	ck_assert_int_eq(error_errno(&e, ENOMEM, "cannot map '%s'", "x"), ERR_NOMEM);
	ck_assert_int_eq(e.code, ERR_NOMEM);
	ck_assert_int_eq(error_nomem(&e, "the weights"), ERR_NOMEM);
	ck_assert_str_eq(e.msg, "out of memory for the weights");
}
END_TEST

START_TEST(error_takes_null)
{
	ck_assert_int_eq(error_set(NULL, ERR_ARG, "x"), ERR_ARG);
	ck_assert_int_eq(error_errno(NULL, ENOMEM, "x"), ERR_NOMEM);
	ck_assert_int_eq(error_nomem(NULL, "x"), ERR_NOMEM);
}
END_TEST

START_TEST(error_cuts_long_text)
{
	char s[2000];
	error e = { 0 };

	memset(s, 'a', sizeof(s) - 1);
	s[sizeof(s) - 1] = '\0';
	ck_assert_int_eq(error_set(&e, ERR_IO, "%s", s), ERR_IO);
	ck_assert_uint_eq(strlen(e.msg), sizeof(e.msg) - 1);
	ck_assert_int_eq(error_errno(&e, EIO, "%s", s), ERR_IO);
	ck_assert_uint_eq(strlen(e.msg), sizeof(e.msg) - 1);
	ck_assert_ptr_nonnull(strstr(e.msg, "aaa...: Input/output error")); /* the cause is still there */
}
END_TEST

static bool all_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

START_TEST(arena_gives_zeroed_aligned_memory)
{
	arena a = ARENA_INIT;
	unsigned char *small[50];

	a.block_size = 1000;
	for (size_t i = 0; i < 50; i++) {
		small[i] = arena_alloc(&a, i * 7, 3); /* 0 bytes too */
		ck_assert_ptr_nonnull(small[i]);
		ck_assert_uint_eq((uintptr_t)small[i] % 64, 0);
		ck_assert(all_zero(small[i], i * 21));
		memset(small[i], (int)i + 1, i * 21);
	}
	for (size_t i = 0; i < 50; i++)
		for (size_t j = 0; j < i * 21; j++)
			ck_assert_uint_eq(small[i][j], i + 1);
	arena_clear(&a);
	ck_assert_ptr_null(a.head);
	ck_assert_ptr_nonnull(arena_alloc(&a, 1, 1)); /* usable again */
	arena_clear(&a);
	arena_clear(&a);
}
END_TEST

START_TEST(arena_copies_strings)
{
	arena a = ARENA_INIT;
	char *first = arena_strdup(&a, "one");
	char *empty = arena_strdup(&a, "");
	char *part = arena_memdupz(&a, "a\0bc", 3);
	char *none = arena_memdupz(&a, NULL, 0);
	char *aligned = arena_alloc(&a, 1, 8);

	ck_assert_str_eq(first, "one");
	ck_assert_str_eq(empty, "");
	ck_assert_mem_eq(part, "a\0b", 4);
	ck_assert_str_eq(none, "");
	ck_assert_uint_eq((uintptr_t)aligned % 64, 0);
	arena_clear(&a);
}
END_TEST

START_TEST(arena_refuses_overflow)
{
	arena a = ARENA_INIT;

	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX / 2, 3));
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 3, 1));
	ck_assert_ptr_null(arena_memdupz(&a, "", SIZE_MAX));
	ck_assert_ptr_null(a.head);
	ck_assert_ptr_null(mem_alloc_aligned(SIZE_MAX / 2, 3));
	ck_assert_ptr_null(mem_alloc_aligned(SIZE_MAX - 3, 1));
}
END_TEST

/* What is asked for can be counted before it is there. */
START_TEST(arena_large_blocks_are_not_touched)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	const size_t size = (size_t)200 << 20;
	uint64_t before = cpu_memory_anonymous();
	arena a = ARENA_INIT;
	char *p = arena_alloc(&a, size, 1), *small = arena_alloc(&a, 10, 1);

	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_nonnull(small);
	ck_assert_uint_eq((uintptr_t)p % 64, 0);
	ck_assert_uint_ge(arena_bytes(&a), size);
	ck_assert_uint_le(arena_bytes(&a), size + (1 << 20));
	ck_assert_uint_le(cpu_memory_anonymous(), before + (16 << 20));
	ck_assert_int_eq(p[0] | p[size / 2] | p[size - 1], 0);
	memset(p, 1, size / 2);
	ck_assert_uint_ge(cpu_memory_anonymous(), before + size / 2);
	ck_assert_uint_ge(cpu_memory_peak(), cpu_memory_anonymous());
	arena_clear(&a);
	ck_assert_uint_eq(arena_bytes(&a), 0);
	ck_assert_uint_le(cpu_memory_anonymous(), before + (16 << 20));
#endif
}
END_TEST

START_TEST(arena_survives_no_memory)
{
	arena a = ARENA_INIT;

	fault_arm(FAULT_ALLOC, 0);
	ck_assert_ptr_null(arena_alloc(&a, 1, 1));
	ck_assert(fault_disarm(FAULT_ALLOC));
	fault_arm(FAULT_ALLOC, 0);
	ck_assert_ptr_null(arena_strdup(&a, "x"));
	ck_assert(fault_disarm(FAULT_ALLOC));
	fault_arm(FAULT_ALLOC, 0);
	ck_assert_ptr_null(mem_alloc_aligned(1, 1));
	ck_assert(fault_disarm(FAULT_ALLOC));
	ck_assert_ptr_nonnull(arena_strdup(&a, "x"));
	arena_clear(&a);
}
END_TEST

START_TEST(mem_alloc_aligned_is_zeroed)
{
	unsigned char *p = mem_alloc_aligned(1001, 3), *none = mem_alloc_aligned(0, 8);

	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_nonnull(none);
	ck_assert_uint_eq((uintptr_t)p % 64, 0);
	ck_assert(all_zero(p, 3003));
	free(p);
	free(none);
}
END_TEST

/* Large ones are zeros without being written to, also where freed memory held something else. */
START_TEST(mem_alloc_aligned_leaves_large_blocks_untouched)
{
	const size_t size = ((size_t)200 << 20) + 77;
	unsigned char *p = mem_alloc_aligned(size, 1);

	ck_assert_ptr_nonnull(p);
	memset(p, 1, size);
	free(p);
	for (int i = 0; i < 2; i++) {
		uint64_t before = cpu_memory_anonymous();

		p = mem_alloc_aligned(size, 1);
		ck_assert_ptr_nonnull(p);
		ck_assert_uint_eq((uintptr_t)p % 64, 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		ck_assert_uint_le(cpu_memory_anonymous(), before + (16 << 20));
#endif
		ck_assert(all_zero(p, 10000) && all_zero(p + size - 10000, 10000));
		for (size_t at = 0; at < size; at += 4099)
			ck_assert(p[at] == 0);
		memset(p, 1, size);
		free(p);
		(void)before;
	}
}
END_TEST

START_TEST(mem_grow_keeps_what_was_there)
{
	uint32_t *p = NULL, *before;
	size_t cap = 0;

	for (uint32_t i = 0; i < 10000; i++) {
		ck_assert_int_eq(mem_grow(&p, &cap, i + 1, sizeof(*p)), 0);
		ck_assert_uint_gt(cap, i);
		p[i] = i;
	}
	for (uint32_t i = 0; i < 10000; i++)
		ck_assert_uint_eq(p[i], i);
	before = p;
	ck_assert_int_eq(mem_grow(&p, &cap, 5, sizeof(*p)), 0); /* never shrinks */
	ck_assert_ptr_eq(p, before);
	ck_assert_int_eq(mem_grow(&p, &cap, SIZE_MAX / 2, sizeof(*p)), ERR_NOMEM);
	fault_arm(FAULT_ALLOC, 0);
	ck_assert_int_eq(mem_grow(&p, &cap, cap + 1, sizeof(*p)), ERR_NOMEM);
	ck_assert(fault_disarm(FAULT_ALLOC));
	ck_assert_ptr_eq(p, before);
	ck_assert_uint_eq(p[9999], 9999);
	free(p);
}
END_TEST

/* FIPS 180-4's examples. */
START_TEST(sha256_agrees_with_the_standard)
{
	char hex[SHA256_HEX];
	sha256 h;

	ck_assert_int_eq(sha256_bytes(hex, "abc", 3, NULL), 0);
	ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ck_assert_int_eq(sha256_bytes(hex, "", 0, NULL), 0);
	ck_assert_str_eq(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	ck_assert_int_eq(sha256_init(&h, NULL), 0);
	sha256_add(&h, "a", 1);
	sha256_add(&h, "", 0);
	sha256_add(&h, "bc", 2);
	sha256_end(&h, hex);
	ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

/* Stored samples are keyed by these: they never change. */
START_TEST(hash64_is_frozen)
{
	static const struct {
		const char *bytes;
		uint64_t seed, hash;
	} known[] = {
		{ "", 0, 0xa706dd2f4d197e6fu },
		{ "a", 0, 0xaa2a39fe9bde47a0u },
		{ "a", 1, 0x9e80a35248cb6cd7u },
		{ "01234567", 0, 0xa863edcdc3a3fd63u },
		{ "the quick brown fox", 42, 0xb8d251e11d31ae9bu },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		ck_assert_uint_eq(hash64(known[i].bytes, strlen(known[i].bytes), known[i].seed),
		                  known[i].hash);
	ck_assert_uint_eq(hash64_mix(0, 0), 0x238275bc38fcbe91u);
	ck_assert_uint_eq(hash64_mix(1, 2), 0xe68e6fc01df08360u);
	ck_assert_uint_eq(hash64_mix(2, 1), 0x90b96b4dd23bd6ebu);
	ck_assert_uint_eq(hash64_permute(3, 1000, 7), 791);
	ck_assert_uint_eq(hash64_permute(123456789, 10000000000, 7), 9145793198);
}
END_TEST

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

START_TEST(hash64_tells_lengths_and_seeds_apart)
{
	uint64_t seen[2 * 257];
	char zeros[256] = { 0 };

	for (size_t n = 0; n <= 256; n++) { /* all-zero inputs that differ in length only */
		seen[2 * n] = hash64(zeros, n, 0);
		seen[2 * n + 1] = hash64(zeros, n, 1);
	}
	qsort(seen, ARRAY_LEN(seen), sizeof(seen[0]), compare_u64);
	for (size_t i = 1; i < ARRAY_LEN(seen); i++)
		ck_assert_uint_ne(seen[i - 1], seen[i]);
}
END_TEST

/* One changed input bit changes each output bit half of the time. */
START_TEST(hash64_avalanches)
{
	enum { TRIALS = 400 };
	static int flips[128][64];

	for (uint64_t trial = 0; trial < TRIALS; trial++) {
		uint64_t words[2] = { hash64_mix(9, 2 * trial), hash64_mix(9, 2 * trial + 1) };

		for (int in = 0; in < 128; in++) {
			uint64_t changed[2] = { words[0], words[1] }, by_hash, by_mix;

			changed[in / 64] ^= (uint64_t)1 << in % 64;
			by_hash = hash64(words, 16, 0) ^ hash64(changed, 16, 0);
			by_mix = hash64_mix(words[0], words[1]) ^ hash64_mix(changed[0], changed[1]);
			for (int out = 0; out < 64; out++)
				flips[in][out] += (int)(by_hash >> out & 1) + (int)(by_mix >> out & 1);
		}
	}
	for (int in = 0; in < 128; in++) /* mean TRIALS, standard deviation 20 */
		for (int out = 0; out < 64; out++)
			ck_assert_int_lt(abs(flips[in][out] - TRIALS), 120);
}
END_TEST

START_TEST(hash64_mix_is_uniform)
{
	enum { N = 100000, BINS = 64 };
	double bins[BINS] = { 0 }, mean = 0, product = 0, chi = 0, before = 0;

	for (uint64_t i = 0; i < N; i++) {
		double u = hash64_unit(hash64_mix(3, i));
		uint64_t bin = hash64_below(hash64_mix(4, i), BINS);

		ck_assert(u >= 0 && u < 1);
		ck_assert_uint_lt(bin, BINS);
		mean += u / N;
		product += (u - 0.5) * before / N;
		before = u - 0.5;
		bins[bin] += 1;
	}
	for (int b = 0; b < BINS; b++)
		chi += (bins[b] - (double)N / BINS) * (bins[b] - (double)N / BINS) / ((double)N / BINS);
	ck_assert_double_lt(fabs(mean - 0.5), 5 * sqrt(1.0 / 12 / N));
	ck_assert_double_lt(fabs(product), 5.0 / 12 / sqrt(N));
	ck_assert_double_lt(chi, 63 + 5 * sqrt(2 * 63.0));
}
END_TEST

START_TEST(hash64_unit_and_below_keep_their_ends)
{
	ck_assert_double_eq(hash64_unit(0), 0);
	ck_assert_double_lt(hash64_unit(UINT64_MAX), 1);
	ck_assert_uint_eq(hash64_below(0, 10), 0);
	ck_assert_uint_eq(hash64_below(UINT64_MAX, 10), 9);
	ck_assert_uint_eq(hash64_below(UINT64_MAX, 1), 0);
	ck_assert_uint_eq(hash64_below(UINT64_MAX, UINT64_MAX), UINT64_MAX - 1);
}
END_TEST

START_TEST(hash64_permute_is_a_bijection)
{
	static const uint64_t large[] = { 1000, 1023, 1024, 1025, 4096, 4097, 65537 };
	static unsigned char hit[65537];

	for (uint64_t n = 1; n <= 130; n++) {
		memset(hit, 0, sizeof(hit));
		for (uint64_t i = 0; i < n; i++) {
			uint64_t to = hash64_permute(i, n, n * 31);

			ck_assert_uint_lt(to, n);
			ck_assert_uint_eq(hit[to]++, 0);
		}
	}
	for (size_t l = 0; l < ARRAY_LEN(large); l++) {
		memset(hit, 0, sizeof(hit));
		for (uint64_t i = 0; i < large[l]; i++) {
			uint64_t to = hash64_permute(i, large[l], 5);

			ck_assert_uint_lt(to, large[l]);
			ck_assert_uint_eq(hit[to]++, 0);
		}
	}
	for (uint64_t i = 0; i < 100; i++)
		ck_assert_uint_lt(hash64_permute(i, UINT64_MAX, i), UINT64_MAX);
}
END_TEST

/* Over many keys, every index goes to every place equally often, and so do neighbours relative to each other. */
START_TEST(hash64_permute_is_uniform)
{
	enum { KEYS = 20000 };
	static const uint64_t sizes[] = { 2, 3, 5, 10, 17 };

	for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
		uint64_t n = sizes[s];
		double place[17] = { 0 }, step[17] = { 0 }, chi = 0, chi_step = 0;

		for (uint64_t key = 0; key < KEYS; key++) {
			uint64_t to = hash64_permute(1, n, key), next = hash64_permute(0, n, key);

			place[to] += 1;
			step[(to + n - next) % n] += 1;
		}
		for (uint64_t i = 0; i < n; i++) {
			double want = (double)KEYS / (double)n, want_step = (double)KEYS / (double)(n - 1);

			chi += (place[i] - want) * (place[i] - want) / want;
			if (i)
				chi_step += (step[i] - want_step) * (step[i] - want_step) / want_step;
		}
		ck_assert_double_eq(step[0], 0);
		ck_assert_double_lt(chi, (double)n + 5 * sqrt(2.0 * (double)n));
		ck_assert_double_lt(chi_step, (double)n + 5 * sqrt(2.0 * (double)n));
	}
}
END_TEST

START_TEST(hash64_permute_depends_on_the_key)
{
	int same = 0;

	for (uint64_t i = 0; i < 1000; i++)
		same += hash64_permute(i, 1000, 1) == hash64_permute(i, 1000, 2);
	ck_assert_int_lt(same, 10);
}
END_TEST

START_TEST(clock_tells_time)
{
	double before = clock_now(), after = clock_now();
	char out[32];

	ck_assert_double_ge(after, before);
	ck_assert_int_gt(clock_unix(), 1600000000);
	clock_iso8601(out, 0);
	ck_assert_str_eq(out, "1970-01-01T00:00:00Z");
	clock_iso8601(out, 951827696);
	ck_assert_str_eq(out, "2000-02-29T12:34:56Z");
	clock_iso8601(out, -1);
	ck_assert_str_eq(out, "1969-12-31T23:59:59Z");
	clock_iso8601(out, INT64_MAX);
	ck_assert_str_eq(out, "?");
}
END_TEST

START_TEST(fault_strikes_once)
{
	ck_assert(!fault_hit(FAULT_HTTP));
	fault_arm(FAULT_HTTP, 2);
	ck_assert(!fault_hit(FAULT_HTTP));
	ck_assert(!fault_hit(FAULT_READ)); /* kinds are apart */
	ck_assert(!fault_hit(FAULT_HTTP));
	ck_assert(fault_hit(FAULT_HTTP));
	ck_assert(!fault_hit(FAULT_HTTP));
	ck_assert(fault_disarm(FAULT_HTTP));
	ck_assert(!fault_disarm(FAULT_HTTP));
	fault_arm(FAULT_HTTP, 1);
	ck_assert(!fault_disarm(FAULT_HTTP)); /* was never reached */
	ck_assert(!fault_hit(FAULT_HTTP));
}
END_TEST

START_TEST(fault_reads_the_environment)
{
	static const char *const bad[] = { "",        "read",  "read:",   "read:x", "read:1x",
		                           "read:-1", "rea:0", "reads:0", ":0" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		setenv("GLOSS_FAULT", bad[i], 1);
		fault_arm_env();
		ck_assert(!fault_hit(FAULT_READ));
	}
	setenv("GLOSS_FAULT", "sync:1", 1);
	fault_arm_env();
	unsetenv("GLOSS_FAULT");
	ck_assert(!fault_hit(FAULT_SYNC));
	ck_assert(fault_hit(FAULT_SYNC));
	ck_assert(fault_disarm(FAULT_SYNC));
	fault_arm_env();
	ck_assert(!fault_hit(FAULT_SYNC));
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "error", error_formats, error_takes_null, error_cuts_long_text);
	SUPPORT_CASE(s, "memory", arena_gives_zeroed_aligned_memory, arena_copies_strings,
	             arena_large_blocks_are_not_touched, arena_refuses_overflow, arena_survives_no_memory,
	             mem_alloc_aligned_is_zeroed, mem_alloc_aligned_leaves_large_blocks_untouched,
	             mem_grow_keeps_what_was_there);
	SUPPORT_CASE(s, "hash", sha256_agrees_with_the_standard, hash64_is_frozen,
	             hash64_tells_lengths_and_seeds_apart, hash64_avalanches, hash64_mix_is_uniform,
	             hash64_unit_and_below_keep_their_ends, hash64_permute_is_a_bijection,
	             hash64_permute_is_uniform, hash64_permute_depends_on_the_key);
	SUPPORT_CASE(s, "clock and faults", clock_tells_time, fault_strikes_once,
	             fault_reads_the_environment);
}
SUPPORT_MAIN("base", cases)
