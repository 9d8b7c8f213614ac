/* The state of the index pass: halves joined are the whole, samples are uniform, windows come back from the disk. */
#include "store/codes.h"
#include "store/features.h"
#include "tests/support_index.h"

#include <math.h>

enum { N = 120, TOP = 4, WINDOW_BEFORE = 6, WINDOW_AFTER = 3 };

static vocab words;

static void begin(features *fs, uint32_t n_samples, size_t memory)
{
	uint32_t lengths[VOCAB];

	for (uint32_t i = 0; i < VOCAB; i++)
		lengths[i] = (uint32_t)strlen(corpus_words[i]);
	if (words.n == 0)
		OK(vocab_set(&words, corpus_tokenizer, VOCAB, corpus_words, lengths, &corpus_err));
	OK(features_init(fs, FEATURES, TOP, n_samples, WINDOW_BEFORE, WINDOW_AFTER, &words,
	                 support_path(corpus_folder, "windows"), memory, &corpus_err));
}

static int64_t id_of(const document_context *c)
{
	return (int64_t)(hash64(c->tokens, c->n_tokens * 4, c->document) >> 1);
}

/* Context number i, feature by feature. */
static void add(features *fs, uint32_t i)
{
	uint64_t position_hash[MAX_TOKENS], window_hash[MAX_TOKENS] = { 0 };
	uint32_t position[MAX_TOKENS];
	float value[MAX_TOKENS];
	document_context c;
	run_context at;
	bool kept = false;

	corpus_context(&c, i);
	at = (run_context){ .id = id_of(&c),
		            .n_tokens = c.n_tokens,
		            .again = true,
		            .tokens = c.tokens,
		            .position_hash = position_hash,
		            .window_hash = window_hash };
	for (uint32_t t = 0; t < c.n_tokens; t++)
		position_hash[t] = hash64_mix((uint64_t)at.id, t);
	for (uint32_t f = 0; f < FEATURES; f++) {
		run r = { .feature = f, .position = position, .value = value };

		for (uint32_t t = 0; t < c.n_tokens; t++) {
			for (uint32_t j = c.start[t]; j < c.start[t + 1]; j++) {
				if (c.feature[j] == f) {
					position[r.n] = t;
					value[r.n++] = c.value[j];
				}
			}
		}
		if (r.n > 0)
			OK(features_add(fs, &at, &r, &kept, &corpus_err));
	}
}

/* The tokens of the window at a place. */
static uint32_t tokens_of(uint32_t out[MAX_TOKENS], int64_t context, uint32_t position)
{
	for (uint32_t i = 0; i < N; i++) {
		document_context c;
		uint32_t n = 0;

		corpus_context(&c, i);
		if (id_of(&c) != context)
			continue;
		for (uint32_t t = 0; t < c.n_tokens; t++) {
			if (t + WINDOW_BEFORE >= position && t <= position + WINDOW_AFTER)
				out[n++] = c.tokens[t];
		}
		return n;
	}
	ck_abort_msg("no context %lld", (long long)context);
	return 0;
}

static offer offer_of(features *from, const sample *s, unsigned char *codes)
{
	window w;

	OK(features_window(&w, from, s, &corpus_err));
	memcpy(codes, w.codes, w.size);
	return (offer){ .context = s->context,
		        .position = s->position,
		        .token = w.token,
		        .value = s->value,
		        .codes = codes,
		        .size = w.size };
}

static void join(features *to, features *from)
{
	unsigned char codes[256];
	uint32_t tokens[MAX_TOKENS];

	for (uint32_t f = 0; f < FEATURES; f++) {
		feature *x = &from->at[f];

		OK(features_join(to, f, x, &corpus_err));
		for (uint32_t i = 0; i < x->n_samples; i++) {
			offer o = offer_of(from, &x->samples[i], codes);

			OK(features_offer_sample(to, f, &o, &corpus_err));
		}
		for (uint32_t i = 0; i < x->n_top; i++) {
			offer o = offer_of(from, &x->top[i].at, codes);

			OK(features_offer_top(to, f, &o, tokens, tokens_of(tokens, o.context, o.position),
			                      &corpus_err));
		}
	}
}

static void same_example(features *a, const sample *x, features *b, const sample *y)
{
	unsigned char codes[256];
	offer o = offer_of(a, x, codes);
	window w;

	OK(features_window(&w, b, y, &corpus_err));
	ck_assert_uint_eq(x->hash, y->hash);
	ck_assert_int_eq(x->context, y->context);
	ck_assert_uint_eq(x->position, y->position);
	ck_assert_float_eq(x->value, y->value);
	ck_assert_uint_eq(o.token, w.token);
	ck_assert_uint_eq(o.size, w.size);
	ck_assert_mem_eq(codes, w.codes, w.size);
}

static void same(features *a, features *b)
{
	for (uint32_t f = 0; f < FEATURES; f++) {
		feature *x = &a->at[f], *y = &b->at[f];
		histogram hx = histogram_trim(&x->values), hy = histogram_trim(&y->values);

		features_settle(a, x);
		features_settle(b, y);
		ck_assert_uint_eq(x->fires, y->fires);
		ck_assert_uint_eq(x->contexts, y->contexts);
		ck_assert_float_eq(x->max, y->max);
		for (int p = 0; p < 4; p++)
			ck_assert_double_le(fabs(feature_moments(x).sum[p] - feature_moments(y).sum[p]),
			                    1e-12 * feature_moments(x).sum[p]);
		ck_assert_int_eq(hx.first, hy.first);
		ck_assert_uint_eq(hx.n, hy.n);
		if (hx.n)
			ck_assert_mem_eq(hx.counts, hy.counts, hx.n * sizeof(*hx.counts));
		ck_assert_uint_eq(x->n_samples, y->n_samples);
		for (uint32_t i = 0; i < x->n_samples; i++)
			same_example(a, &x->samples[i], b, &y->samples[i]);
		ck_assert_uint_eq(x->n_top, y->n_top);
		for (uint32_t i = 0; i < x->n_top; i++)
			same_example(a, &x->top[i].at, b, &y->top[i].at);
	}
}

/* Two halves, each in an order of its own, and with contexts that both have; few samples, and windows that go to disk. */
START_TEST(halves_join_to_the_whole)
{
	static const uint32_t samples[] = { 1, 5, 40, 900 };
	features whole, parts[2];

	corpus_setup();
	begin(&whole, samples[_i], 1 << 20);
	begin(&parts[0], samples[_i], 1 << 9);
	begin(&parts[1], samples[_i], 1 << 9);
	for (uint32_t i = 0; i < N; i++) {
		add(&whole, i);
		add(&parts[i % 2], (uint32_t)hash64_permute(i, N, 7));
	}
	ck_assert_int_ge(parts[0].windows.fd, 0); /* it has gone to disk */
	for (uint32_t f = 0; f < FEATURES; f += 2)
		features_settle(&parts[1], &parts[1].at[f]); /* as it would be in a store */
	join(&parts[0], &parts[1]);
	same(&parts[0], &whole);
	features_clear(&whole);
	features_clear(&parts[0]);
	features_clear(&parts[1]);
	vocab_clear(&words);
	support_rmdir(corpus_folder);
}
END_TEST

/* Many firings of one feature with values by position: the mean over the sample is that over all, as far as chance goes. */
START_TEST(sample_is_uniform)
{
	enum { CONTEXTS = 400, TOKENS = 50, KEEP = 100, TRIALS = 40 };
	double worst = 0, sum = 0;

	corpus_setup();
	for (uint64_t trial = 0; trial < TRIALS; trial++) {
		uint32_t tokens[TOKENS] = { 0 }, position[TOKENS];
		uint64_t position_hash[TOKENS];
		float value[TOKENS];
		double mean = 0, z;
		bool kept = false;
		features fs;

		begin(&fs, KEEP, 1 << 20);
		for (uint64_t c = 0; c < CONTEXTS; c++) {
			int64_t id = (int64_t)(hash64_mix(trial, c) >> 1);
			uint64_t window_hash[TOKENS] = { 0 };
			run_context at = { id, TOKENS, false, tokens, position_hash, window_hash };
			run r = { 0, TOKENS, position, value };

			for (uint32_t t = 0; t < TOKENS; t++) {
				position_hash[t] = hash64_mix((uint64_t)id, t);
				position[t] = t;
				value[t] = (float)(1 + t);
			}
			OK(features_add(&fs, &at, &r, &kept, &corpus_err));
		}
		features_settle(&fs, &fs.at[0]);
		ck_assert_uint_eq(fs.at[0].n_samples, KEEP);
		for (uint32_t i = 0; i < KEEP; i++)
			mean += (double)fs.at[0].samples[i].value / KEEP;
		z = (mean - 25.5) / (sqrt((TOKENS * TOKENS - 1) / 12.0) / sqrt(KEEP));
		worst = fmax(worst, fabs(z));
		sum += z;
		features_clear(&fs);
	}
	ck_assert_double_le(worst, 3.8);
	ck_assert_double_le(fabs(sum) / sqrt(TRIALS), 3);
	vocab_clear(&words);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(blocks_come_back)
{
	enum { BLOCKS = 300, MEMORY = 1000 };
	uint64_t at[BLOCKS];
	unsigned char block[64], back[64];
	const char *path;
	spill s;

	corpus_setup();
	path = support_path(corpus_folder, "spilled");
	OK(spill_init(&s, path, MEMORY, &corpus_err));
	for (uint32_t i = 0; i < BLOCKS; i++) {
		memset(block, (int)i, sizeof(block));
		OK(spill_add(&at[i], &s, block, i % 60, &corpus_err));
	}
	ck_assert(!file_exists(path)); /* it has no name */
	for (uint32_t i = BLOCKS; i-- > 0;) {
		memset(block, (int)i, sizeof(block));
		OK(spill_read(back, &s, at[i], i % 60, &corpus_err));
		ck_assert_mem_eq(back, block, i % 60);
	}
	spill_clear(&s);
	spill_clear(&s);
	support_rmdir(corpus_folder);
}
END_TEST

START_TEST(full_disks_are_errors)
{
	unsigned char block[64] = { 0 };
	char path[FILE_PATH_MAX];
	uint64_t at;
	spill s;
	int rc = 0;

	corpus_setup();
	OK(file_join(path, corpus_folder, "none/spilled", &corpus_err));
	OK(spill_init(&s, path, 100, &corpus_err));
	OK(spill_add(&at, &s, block, 64, &corpus_err));
	ck_assert_int_eq(spill_add(&at, &s, block, 64, &corpus_err), ERR_IO);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "none/spilled': No such file or directory"));
	spill_clear(&s);
	OK(spill_init(&s, support_path(corpus_folder, "spilled"), 100, &corpus_err));
	fault_arm(FAULT_WRITE, 2);
	for (int i = 0; i < 5 && rc == 0; i++)
		rc = spill_add(&at, &s, block, 64, &corpus_err);
	ck_assert(fault_disarm(FAULT_WRITE));
	ck_assert_int_eq(rc, ERR_IO);
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "cannot write '"));
	ck_assert_ptr_nonnull(strstr(corpus_err.msg, "spilled': No space left on device"));
	spill_clear(&s);
	support_rmdir(corpus_folder);
}
END_TEST

/* ---- Histograms ---- */

START_TEST(tenths_are_even)
{
	histogram h = { 0 }, t;
	intervals v;
	uint64_t total = 0;

	for (uint64_t i = 0; i < 20000; i++)
		ck_assert_int_eq(histogram_add(&h, (float)exp(hash64_unit(hash64_mix(3, i)))), 0);
	t = histogram_trim(&h);
	intervals_equal_count(&v, &t, 1);
	for (uint32_t j = 0; j < v.n; j++) {
		ck_assert_uint_le(v.counts[j], 2300);
		ck_assert_uint_ge(v.counts[j], 1700);
		total += v.counts[j];
		for (int i = v.grid[j]; i < v.grid[j + 1]; i++)
			ck_assert_uint_eq(intervals_find(&v, (float)grid_edge(i)), j);
	}
	ck_assert_uint_eq(total, 20000);
	for (uint32_t p = 1; p < 100; p++) /* of exp of a uniform value the logarithm is one */
		ck_assert_double_le(fabs(log(histogram_rank(&t, p * 200, 3)) - p / 100.0), 0.02);
	ck_assert_double_eq(histogram_rank(&t, 20000, 2.7), 2.7);
	histogram_clear(&h);
}
END_TEST

START_TEST(tenths_of_few_values)
{
	histogram h = { 0 }, t;
	intervals v;

	t = histogram_trim(&h);
	intervals_equal_count(&v, &t, 1);
	for (uint32_t j = 0; j < v.n; j++)
		ck_assert_uint_eq(v.counts[j], 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(histogram_add(&h, i < 95 ? 2.0f : 64.0f), 0);
	t = histogram_trim(&h);
	ck_assert_int_eq(t.first, 64);
	ck_assert_uint_eq(t.n, 5 * 64 + 1);
	intervals_equal_count(&v, &t, 1);
	ck_assert_uint_eq(v.counts[intervals_find(&v, 2)], 95);
	ck_assert_uint_eq(v.counts[intervals_find(&v, 64)], 5);
	histogram_clear(&h);
}
END_TEST

/* Edges of equal width are the nearest of the grid; a plain count says the same. */
START_TEST(widths_are_equal)
{
	enum { VALUES = 5000 };
	static const int steps[] = { 1, 32, 64 };
	histogram h = { 0 }, coarse, t;
	intervals v;
	double most = 0;

	for (uint64_t i = 0; i < VALUES; i++) {
		float value = (float)(0.2 + 9 * hash64_unit(hash64_mix(4, i)));

		most = fmax(most, value);
		ck_assert_int_eq(histogram_add(&h, value), 0);
	}
	t = histogram_trim(&h);
	coarse = (histogram){ .first = -4, .n = 8, .counts = calloc(8, sizeof(uint64_t)) };
	for (uint32_t i = 0; i < t.n; i++)
		coarse.counts[(t.first + (int)i + 4 * 64) / 64] += t.counts[i];
	for (size_t k = 0; k < ARRAY_LEN(steps); k += 2) {
		uint64_t total = 0;

		intervals_equal_width(&v, k ? &coarse : &t, steps[k], 10, most);
		for (uint32_t j = 0; j < 10; j++) {
			uint64_t plain = 0;

			for (uint64_t i = 0; i < VALUES; i++) {
				float value = (float)(0.2 + 9 * hash64_unit(hash64_mix(4, i)));

				plain += value >= grid_edge(v.grid[j]) && value < grid_edge(v.grid[j + 1]);
				if (intervals_find(&v, value) == j && j > 0)
					ck_assert(value >= grid_edge(v.grid[j]));
			}
			ck_assert_uint_eq(v.counts[j], plain);
			if (j > 0 && k == 0)
				ck_assert_double_le(fabs(grid_edge(v.grid[j]) / (most * j / 10) - 1), 0.0055);
			total += plain;
		}
		ck_assert_uint_eq(total, VALUES);
	}
	t.n = 0;
	intervals_equal_width(&v, &t, 1, 5, 0);
	ck_assert_uint_eq(v.counts[4], 0);
	free(coarse.counts);
	histogram_clear(&h);
}
END_TEST

/* Written and read back; what is none is refused. */
START_TEST(json_comes_back)
{
	static const char *const bad[] = {
		"{}",
		"{\"per_octave\":5,\"first\":0,\"counts\":[]}",
		"{\"per_octave\":64,\"first\":0.5,\"counts\":[]}",
		"{\"per_octave\":64,\"first\":-641,\"counts\":[]}",
		"{\"per_octave\":64,\"first\":1407,\"counts\":[1,1]}",
		"{\"per_octave\":64,\"first\":0,\"counts\":[-1]}",
		"{\"per_octave\":64,\"first\":0,\"counts\":[1.5]}",
		"{\"per_octave\":64,\"first\":0,\"counts\":{}}",
		"{\"definition\":\"x\",\"grid\":[0],\"counts\":[1],\"kept\":[1]}",
		"{\"definition\":\"x\",\"grid\":[0,-1],\"counts\":[1],\"kept\":[1]}",
		"{\"definition\":\"x\",\"grid\":[0,1409],\"counts\":[1],\"kept\":[1]}",
		"{\"definition\":\"x\",\"grid\":[0,1],\"counts\":[1],\"kept\":[2]}",
		"{\"definition\":\"x\",\"grid\":[0,1],\"counts\":[1],\"kept\":[]}",
		"{\"grid\":[0,1],\"counts\":[1],\"kept\":[1]}",
	};
	uint32_t kept[INTERVALS_MAX] = { 3, 1 }, kept_back[INTERVALS_MAX] = { 0 };
	histogram h = { 0 }, t, back;
	intervals v, v_back;
	int step;
	text json;

	text_init(&json, 1 << 16);
	for (uint64_t i = 0; i < 500; i++)
		ck_assert_int_eq(histogram_add(&h, (float)exp(9 * hash64_unit(hash64_mix(9, i)) - 3)), 0);
	t = histogram_trim(&h);
	OK(histogram_write(&json, &t));
	cJSON *tree = cJSON_Parse(json.data);

	OK(histogram_read(&back, &step, tree));
	ck_assert_int_eq(step, 1);
	ck_assert_int_eq(back.first, t.first);
	ck_assert_uint_eq(back.n, t.n);
	ck_assert_mem_eq(back.counts, t.counts, t.n * sizeof(*t.counts));
	cJSON_Delete(tree);
	histogram_clear(&back);
	intervals_equal_count(&v, &t, 1);
	text_clear(&json);
	OK(intervals_write(&json, &v, kept));
	tree = cJSON_Parse(json.data);
	OK(intervals_read(&v_back, kept_back, tree));
	ck_assert_str_eq(v_back.definition, "equal count");
	ck_assert_uint_eq(v_back.n, v.n);
	ck_assert_mem_eq(v_back.grid, v.grid, (v.n + 1) * sizeof(*v.grid));
	ck_assert_mem_eq(v_back.counts, v.counts, v.n * sizeof(*v.counts));
	ck_assert_mem_eq(kept_back, kept, v.n * sizeof(*kept));
	cJSON_Delete(tree);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		tree = cJSON_Parse(bad[i]);
		ck_assert_ptr_nonnull(tree);
		ck_assert_int_eq(histogram_read(&back, &step, tree), ERR_FORMAT);
		ck_assert_int_eq(intervals_read(&v_back, kept_back, tree), ERR_FORMAT);
		cJSON_Delete(tree);
	}
	text_free(&json);
	histogram_clear(&h);
}
END_TEST

static void cases(Suite *s)
{
	TCase *tc = SUPPORT_CASE(s, "features", sample_is_uniform, blocks_come_back, full_disks_are_errors,
	                         tenths_are_even, tenths_of_few_values, widths_are_equal, json_comes_back);

	tcase_add_loop_test(tc, halves_join_to_the_whole, 0, 4);
}
SUPPORT_MAIN("features", cases)
