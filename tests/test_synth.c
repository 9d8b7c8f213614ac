/* Synthetic dumps: rows are what their truth says, each kind's rules hold, the bytes do not depend on threads or shards. */
#include <math.h>
#include <stdlib.h>

#include "sae/synth_internal.h"
#include "tests/support.h"

static char folder[FILE_PATH_MAX];

static void setup(void)
{
	support_mkdir(folder);
}

static void teardown(void)
{
	support_rmdir(folder);
}

/* A dump and its truth, all in memory. */
typedef struct made {
	sae_dump *dump;
	sae_truth *truth;
	sae_codes codes;
	uint64_t n;
	float *x; /* (n, d) */
} made;

static void write_kind(const char *name, sae_synth_kind kind, const sae_synth_opts *o, unsigned threads)
{
	pool *p = NULL;
	error e = { 0 };

	ck_assert_int_eq(pool_new(&p, threads, &e), 0);
	ck_assert_msg(sae_synth_write(support_path(folder, name), kind, o, false, p, NULL, NULL, &e) == 0,
	              "%s", e.msg);
	pool_free(p);
}

static made make(const char *name, sae_synth_kind kind, const sae_synth_opts *o)
{
	const char *path = support_path(folder, name);
	made m = { 0 };
	error e = { 0 };

	write_kind(name, kind, o, 2);
	for (uint32_t i = 0; i == 0 || i < o->inputs; i++) {
		char key[24];
		sae_dump *d = NULL;

		snprintf(key, sizeof(key), "input.%u", i + 1);
		ck_assert_msg(sae_dump_open(&d, &path, 1,
		                            &(sae_dump_opts){ .key = o->inputs > 1 ? key : NULL }, &e) == 0,
		              "%s", e.msg);
		if (i)
			ck_assert_msg(sae_dump_add(m.dump, d, false, &e) == 0, "%s", e.msg);
		else
			m.dump = d;
	}
	ck_assert_msg(sae_truth_open(&m.truth, path, &e) == 0, "%s", e.msg);
	m.n = m.truth->n_rows;
	ck_assert_uint_eq(m.n, sae_dump_get_info(m.dump)->n_rows);
	ck_assert_uint_eq(m.truth->d, sae_dump_get_info(m.dump)->d_in);
	m.x = malloc(m.n * m.truth->d * sizeof(*m.x));
	ck_assert_int_eq(sae_dump_read(m.dump, 0, m.n, m.x, &e), 0);
	ck_assert_msg(sae_codes_reader_read(m.truth->codes, 0, m.n, &m.codes, &e) == 0, "%s", e.msg);
	return m;
}

static void made_clear(made *m)
{
	free(m->x);
	sae_codes_free(&m->codes);
	sae_truth_close(m->truth);
	sae_dump_close(m->dump);
}

/* The largest difference of a row from bias plus the sum of its codes. */
static double largest_error(const made *m)
{
	uint32_t d = m->truth->d;
	double most = 0;

	for (uint64_t i = 0; i < m->n; i++)
		for (uint32_t j = 0; j < d; j++) {
			double want = (double)m->truth->bias[j];

			for (size_t k = m->codes.first[i]; k < m->codes.first[i + 1]; k++)
				want += (double)m->codes.value[k] *
				        (double)m->truth->dictionary[(size_t)m->codes.index[k] * d + j];
			most = fmax(most, fabs(want - (double)m->x[i * d + j]));
		}
	return most;
}

/* Rows that are no further than `most` from what their codes say. */
static made make_exact(const char *name, sae_synth_kind kind, const sae_synth_opts *o, double most)
{
	made m = make(name, kind, o);

	ck_assert_double_le(largest_error(&m), most);
	return m;
}

static double norm(const float *x, uint32_t d)
{
	double squares = 0;

	for (uint32_t j = 0; j < d; j++)
		squares += (double)x[j] * (double)x[j];
	return sqrt(squares);
}

static uint64_t *count_fires(const made *m)
{
	uint64_t *fires = calloc(m->truth->n_features, sizeof(*fires));

	for (size_t k = 0; k < m->codes.first[m->n]; k++)
		fires[m->codes.index[k]]++;
	return fires;
}

/* Standard errors between how often a feature fired and a probability. */
static double off_by(uint64_t fires, uint64_t n, double p)
{
	return fabs((double)fires - (double)n * p) / sqrt((double)n * p * (1 - p));
}

static double *read_probabilities(uint32_t n, const char *name)
{
	const char *path;
	sae_file *f = NULL;
	float *some = malloc(n * sizeof(*some));
	double *p = malloc(n * sizeof(*p));
	error e = { 0 };

	path = support_path(support_path(folder, name), "truth/dictionary.safetensors");
	ck_assert_msg(sae_file_open(&f, path, &e) == 0, "%s", e.msg);
	ck_assert_msg(sae_file_read_f32(f, sae_file_tensor(f, "probability"), 0, n, some, &e) == 0, "%s",
	              e.msg);
	for (uint32_t i = 0; i < n; i++)
		p[i] = (double)some[i];
	sae_file_close(f);
	free(some);
	return p;
}

/* ---- Each kind ---------------------------------------------------------------------------------------------------------------- */

START_TEST(planted_rows)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_PLANTED);
	uint64_t *fires;
	made m;

	o.rows = 5000;
	o.bias = 0.5;
	o.mean = 2;
	o.mean_last = 1;
	m = make_exact("p", SAE_SYNTH_PLANTED, &o, 1e-5);
	ck_assert_double_eq_tol(norm(m.truth->bias, m.truth->d), 0.5, 1e-6);
	fires = count_fires(&m);
	for (uint64_t i = 0; i < m.n; i++)
		ck_assert_uint_le(m.codes.first[i + 1] - m.codes.first[i], 4); /* a value under 0 is none */
	for (uint32_t f = 0; f < 128; f++) {
		ck_assert_double_eq_tol(norm(m.truth->dictionary + f * 64, 64), 1, 1e-6);
		ck_assert_double_lt(off_by(fires[f], m.n, 4.0 / 128), 4.5);
	}
	free(fires);
	made_clear(&m);
}
END_TEST

/* Rows of three inputs side by side are what the codes say; the last features are in one of them alone. */
START_TEST(planted_inputs)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_PLANTED);
	made m;

	o.rows = 5000;
	o.d = 60;
	o.features = 40;
	o.inputs = 3;
	o.exclusive = 0.3;
	o.shard_rows = 1999;
	m = make_exact("i", SAE_SYNTH_PLANTED, &o, 1e-5);
	ck_assert_uint_eq(sae_dump_n_inputs(m.dump), 3);
	ck_assert_uint_eq(m.truth->n_inputs, 3);
	for (uint32_t f = 0; f < 40; f++) {
		const float *row = m.truth->dictionary + f * 60;

		ck_assert_uint_eq(m.truth->input[f], f < 28 ? 0 : (f - 28) % 3 + 1);
		ck_assert_double_eq_tol(norm(row, 60), 1, 1e-6);
		for (uint32_t i = 0; i < 3; i++)
			ck_assert((norm(row + 20 * i, 20) > 0) == (f < 28 || (f - 28) % 3 == i));
	}
	made_clear(&m);
}
END_TEST

START_TEST(codebook_rows)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_CODEBOOK);
	double cosine;
	pool *p = NULL;
	made m;

	o.rows = 500;
	o.noise = 0;
	m = make("one", SAE_SYNTH_CODEBOOK, &o);
	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	ck_assert_int_eq(synth_max_cosine(&cosine, m.truth->dictionary, 128, 64, p, NULL), 0);
	ck_assert_double_lt(cosine, 0.5);
	ck_assert_double_le(largest_error(&m), 1e-6);
	made_clear(&m);
	o.groups = 4;
	m = make_exact("four", SAE_SYNTH_CODEBOOK, &o, 1e-6);
	for (uint64_t i = 0; i < m.n; i++) {
		ck_assert_uint_eq(m.codes.first[i + 1] - m.codes.first[i], 8);
		for (size_t k = 0; k < 8; k++) {
			ck_assert_uint_eq(m.codes.index[m.codes.first[i] + k] / 32, k / 2);
			ck_assert_float_eq(m.codes.value[m.codes.first[i] + k], 1);
		}
	}
	for (uint32_t f = 0; f < 128; f++)
		for (uint32_t j = 0; j < 64; j++)
			ck_assert(j / 16 == f / 32 || m.truth->dictionary[f * 64 + j] == 0);
	made_clear(&m);
	pool_free(p);
}
END_TEST

/* No child without its parent, no two siblings. */
static void check_families(const made *m)
{
	for (uint64_t i = 0; i < m->n; i++)
		for (size_t k = m->codes.first[i]; k < m->codes.first[i + 1]; k++) {
			uint32_t parent = m->truth->parent[m->codes.index[k]];
			bool found = parent == SAE_TRUTH_ROOT;

			for (size_t l = m->codes.first[i]; l < m->codes.first[i + 1]; l++) {
				found = found || m->codes.index[l] == parent;
				ck_assert(l == k || parent == SAE_TRUTH_ROOT ||
				          m->truth->parent[m->codes.index[l]] != parent);
			}
			ck_assert(found);
		}
}

START_TEST(hierarchy_rows)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_HIERARCHY);
	uint64_t *fires;
	double *p;
	made m;

	o.rows = 20000;
	o.d = 32;
	o.features = 256;
	o.roots = 4;
	o.branching = 3;
	o.depth = 2;
	o.orthogonal_steps = 5;
	o.correlation = 0.2;
	m = make_exact("h", SAE_SYNTH_HIERARCHY, &o, 1e-4);
	check_families(&m);
	fires = count_fires(&m);
	p = read_probabilities(256, "h");
	ck_assert_double_eq_tol(p[0], 0.4, 1e-7); /* the ends of the power law */
	ck_assert_double_eq_tol(p[255], 5e-4, 1e-9);
	for (uint32_t f = 0; f < 256; f++) { /* 4 + 12 + 36 features are in trees */
		ck_assert_uint_eq(m.truth->parent[f], f < 4 || f >= 52 ? SAE_TRUTH_ROOT
		                                      : f < 16         ? (f - 4) / 3
		                                                       : 4 + (f - 16) / 3);
		if (m.truth->parent[f] == SAE_TRUTH_ROOT)
			ck_assert_double_lt(off_by(fires[f], m.n, p[f]), 4.5);
	}
	free(p);
	free(fires);
	made_clear(&m);
}
END_TEST

/* A child's value is its own times the parent's over the parent's mean: without spread, the mean itself. */
START_TEST(hierarchy_values_and_correlation)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_HIERARCHY);
	double both = 0, first = 0, second = 0, p;
	made m;

	o.rows = 40000;
	o.d = 8;
	o.features = 2;
	o.std = o.std_spread = 0;
	o.orthogonal_steps = 0;
	o.p_min = o.p_max = 0.2;
	o.roots = 0;
	o.rank = 1;
	o.correlation = 3; /* both weights are cut so that 0.99 of the variance is common, with either sign */
	m = make("c", SAE_SYNTH_HIERARCHY, &o);
	for (uint64_t i = 0; i < m.n; i++) {
		size_t n = m.codes.first[i + 1] - m.codes.first[i];

		for (size_t k = m.codes.first[i]; k < m.codes.first[i + 1]; k++)
			ck_assert_float_eq(m.codes.value[k], m.codes.index[k] ? 4 : 5);
		both += n == 2;
		first += n > 0 && m.codes.index[m.codes.first[i]] == 0;
		second += n > 0 && m.codes.index[m.codes.first[i + 1] - 1] == 1;
	}
	ck_assert_double_eq_tol(first / (double)m.n, 0.2, 0.01);
	ck_assert_double_eq_tol(second / (double)m.n, 0.2, 0.01);
	p = both / (double)m.n; /* 0.04 if they were independent */
	ck_assert(p < 0.001 || p > 0.16);
	made_clear(&m);
}
END_TEST

START_TEST(tree_rows)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_TREE);
	uint64_t *fires;
	double *p;
	made m;

	o.rows = 20000;
	o.d = 24;
	m = make_exact("t", SAE_SYNTH_TREE, &o, 1e-6);
	check_families(&m);
	fires = count_fires(&m);
	p = read_probabilities(20, "t");
	for (uint32_t f = 0; f < 20; f++) {
		ck_assert_double_eq_tol(p[f], f < 3 ? 0.15 : f < 12 ? 0.03 : 0.05, 1e-7);
		ck_assert_double_lt(off_by(fires[f], m.n, p[f]), 4.5);
		for (uint32_t g = 0; g < f; g++) {
			double product = 0;

			for (uint32_t j = 0; j < 24; j++)
				product += (double)m.truth->dictionary[f * 24 + j] *
				           (double)m.truth->dictionary[g * 24 + j];
			ck_assert_double_le(fabs(product), 1e-5);
		}
	}
	free(p);
	free(fires);
	made_clear(&m);
}
END_TEST

/* As Elhage et al.: rare features share dimensions, in all no more than there are; the important ones are in the rows. */
START_TEST(toy_rows)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_TOY);
	const char *path;
	const cJSON *list, *item;
	cJSON *json = NULL;
	double sum = 0;
	uint32_t present = 0;
	made m;

	o.rows = 2000;
	m = make_exact("toy", SAE_SYNTH_TOY, &o, 1e-5);
	path = support_path(folder, "toy/truth/truth.json");
	ck_assert_int_eq(json_read_file(&json, path, 1 << 20, NULL), 0);
	list = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "notes"),
	                                        "dimensionality");
	ck_assert_int_eq(cJSON_GetArraySize(list), 20);
	cJSON_ArrayForEach(item, list) sum += item->valuedouble;
	ck_assert_double_le(sum, 5 + 1e-6);
	ck_assert_double_ge(sum, 4.5);
	cJSON_Delete(json);
	for (uint32_t f = 0; f < 20; f++) {
		bool over = norm(m.truth->dictionary + f * 5, 5) > 0.5;

		ck_assert_int_eq(m.truth->present[f], over);
		present += over;
	}
	ck_assert_uint_gt(present, 5); /* superposition: more features than dimensions */
	ck_assert(m.truth->present[0]);
	ck_assert(!m.truth->present[19]);
	made_clear(&m);
}
END_TEST

/* One context's tokens: begin of text, then two digits a state, each a successor of the one before. */
static void check_walk(const made *m, uint64_t context, uint8_t legal[100][100])
{
	uint32_t t[128], before = 0;
	error e = { 0 };

	ck_assert_msg(sae_dump_tokens(m->dump, context, t, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(t[0], 10);
	for (uint32_t i = 2; i < 128; i += 2) {
		uint32_t state = t[i - 1] * 10 + t[i];
		uint64_t row = context * 128 + i;

		ck_assert_uint_lt(state, 100);
		ck_assert(i == 2 || legal[before][state]);
		ck_assert_uint_eq(m->codes.first[row + 1] - m->codes.first[row], 1);
		ck_assert_uint_eq(m->codes.index[m->codes.first[row]], state);
		ck_assert(!sae_dump_masked(m->dump, row));
		before = state;
	}
}

START_TEST(tokfsm_rows)
{
	sae_synth_opts o = sae_synth_opts_default(SAE_SYNTH_TOKFSM);
	static uint8_t legal[100][100];
	const char *path;
	const cJSON *list, *item;
	cJSON *json = NULL;
	sae_tokenizer *tokenizer = NULL;
	size_t size;
	error e = { 0 };
	made m;

	o.rows = 128 * 40 + 7;
	o.noise = 0;
	o.trigrams = true;
	m = make_exact("fsm", SAE_SYNTH_TOKFSM, &o, 1e-6);
	ck_assert_uint_eq(m.n, 128 * 40);
	ck_assert_uint_gt(m.truth->n_features, 700); /* 100 states, about 669 trigrams */
	ck_assert_uint_lt(m.truth->n_features, 840);
	path = support_path(folder, "fsm/truth/truth.json");
	ck_assert_int_eq(json_read_file(&json, path, 1 << 20, NULL), 0);
	list = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "notes"),
	                                        "successors");
	for (int a = 0; a < 100; a++) {
		ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetArrayItem(list, a)), 10);
		cJSON_ArrayForEach(item, cJSON_GetArrayItem(list, a)) legal[a][item->valueint] = 1;
	}
	cJSON_Delete(json);
	for (uint64_t c = 0; c < 40; c++)
		check_walk(&m, c, legal);
	path = support_path(folder, "fsm/tokenizer.json");
	ck_assert_msg(sae_tokenizer_load(&tokenizer, path, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(sae_tokenizer_size(tokenizer), 11);
	ck_assert_int_eq(*sae_tokenizer_bytes(tokenizer, 7, &size), '7');
	ck_assert_uint_eq(size, 1);
	sae_tokenizer_free(tokenizer);
	made_clear(&m);
}
END_TEST

/* ---- All kinds ------------------------------------------------------------------------------------------------------------------- */

static sae_synth_opts small_opts(sae_synth_kind kind)
{
	sae_synth_opts o = sae_synth_opts_default(kind);

	o.rows = kind == SAE_SYNTH_TOKFSM ? 5120 : 5000; /* more than a block */
	o.noise = 0.1;
	if (kind == SAE_SYNTH_TOY) {
		o.features = 6;
		o.d = 2;
	}
	if (kind == SAE_SYNTH_HIERARCHY) {
		o.d = 40;
		o.features = 100;
		o.roots = 3;
		o.orthogonal_steps = 3;
	}
	return o;
}

static void check_same(const char *a, const char *b, const char *name)
{
	const char *path[2] = { support_path(support_path(folder, a), name),
		                support_path(support_path(folder, b), name) };
	char *bytes[2];
	size_t n[2];

	if (!file_exists(path[0])) {
		ck_assert(!file_exists(path[1]));
		return;
	}
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(file_read(&bytes[i], &n[i], path[i], 1 << 26, NULL), 0);
	ck_assert_uint_eq(n[0], n[1]);
	ck_assert_msg(memcmp(bytes[0], bytes[1], n[0]) == 0, "%s differs", name);
	free(bytes[0]);
	free(bytes[1]);
}

START_TEST(threads_do_not_matter)
{
	static const char *const files[] = { "acts-00000-of-00001.safetensors",
		                             "dump.json",
		                             "tokenizer.json",
		                             "truth/truth.json",
		                             "truth/codes.npz",
		                             "truth/dictionary.safetensors" };
	sae_synth_opts o = small_opts((sae_synth_kind)_i);

	write_kind("one", (sae_synth_kind)_i, &o, 1);
	write_kind("three", (sae_synth_kind)_i, &o, 3);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		check_same("one", "three", files[i]);
}
END_TEST

/* The same rows in shards of 700, and another seed's are others. */
START_TEST(shards_do_not_matter)
{
	sae_synth_kind kind = _i ? SAE_SYNTH_TOKFSM : SAE_SYNTH_PLANTED;
	sae_synth_opts o = small_opts(kind);
	made a = make("whole", kind, &o), b, c;

	o.shard_rows = 700;
	b = make("parts", kind, &o);
	ck_assert_uint_eq(sae_dump_get_info(b.dump)->n_shards, 8);
	ck_assert_int_eq(memcmp(a.x, b.x, a.n * a.truth->d * sizeof(*a.x)), 0);
	check_same("whole", "parts", "truth/codes.npz");
	o.seed = 1;
	c = make("other", kind, &o);
	ck_assert_int_ne(memcmp(a.x, c.x, a.n * a.truth->d * sizeof(*a.x)), 0);
	made_clear(&a);
	made_clear(&b);
	made_clear(&c);
}
END_TEST

/* Noise is added to rows, not to codes. */
START_TEST(noise_is_as_asked)
{
	sae_synth_opts o = small_opts(SAE_SYNTH_PLANTED);
	double squares = 0;
	made m;

	o.k = 1;
	o.std = 0;
	m = make("n", SAE_SYNTH_PLANTED, &o);
	for (uint64_t i = 0; i < m.n; i++)
		for (uint32_t j = 0; j < 64; j++) {
			double e =
			        (double)m.x[i * 64 + j] -
			        (double)m.truth->dictionary[(size_t)m.codes.index[m.codes.first[i]] * 64 + j];

			squares += e * e;
		}
	ck_assert_double_eq_tol(sqrt(squares / (double)(m.n * 64)), 0.1, 0.001);
	made_clear(&m);
}
END_TEST

START_TEST(normal_tails)
{
	ck_assert_double_eq_tol(synth_normal_bound(0.5), 0, 1e-12);
	ck_assert_double_eq_tol(synth_normal_bound(0.15865525393145707), 1, 1e-9);
	ck_assert_double_eq_tol(synth_normal_bound(0.0013498980316301), 3, 1e-9);
	ck_assert_double_eq_tol(synth_normal_above(-1), 1 - 0.15865525393145707, 1e-12);
}
END_TEST

/* As many directions as dimensions become orthogonal; twice as many come near the least possible coherence, 0.088. */
START_TEST(directions_pushed_apart)
{
	static const uint32_t n[] = { 64, 128 };
	static const double under[] = { 0.03, 0.4 };
	double before, after;
	pool *p = NULL;

	ck_assert_int_eq(pool_new(&p, 2, NULL), 0);
	for (int i = 0; i < 2; i++) {
		float *rows = synth_unit_rows(n[i], 64, 3);

		ck_assert_int_eq(synth_max_cosine(&before, rows, n[i], 64, p, NULL), 0);
		ck_assert_int_eq(synth_orthogonalise(rows, n[i], 64, 300, 0.01, p, NULL), 0);
		ck_assert_int_eq(synth_max_cosine(&after, rows, n[i], 64, p, NULL), 0);
		ck_assert_double_gt(before, 0.4);
		ck_assert_double_lt(after, under[i]);
		free(rows);
	}
	pool_free(p);
}
END_TEST

/* ---- What is refused --------------------------------------------------------------------------------------------------------------- */

static void refuse(sae_synth_kind kind, const sae_synth_opts *o, const char *part)
{
	pool *p = NULL;
	error e = { 0 };

	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	ck_assert_int_eq(sae_synth_write(support_path(folder, "bad"), kind, o, false, p, NULL, NULL, &e),
	                 ERR_ARG);
	ck_assert_msg(strstr(e.msg, part) != NULL, "%s", e.msg);
	ck_assert(!file_exists(support_path(folder, "bad")));
	pool_free(p);
}

#define REFUSE(kind, field, value, part)                                                                     \
	do {                                                                                                 \
		sae_synth_opts bad = sae_synth_opts_default(kind);                                           \
		bad.field = value;                                                                           \
		refuse(kind, &bad, part);                                                                    \
	} while (0)

START_TEST(bad_options)
{
	REFUSE(SAE_SYNTH_PLANTED, rows, 0, "rows 0");
	REFUSE(SAE_SYNTH_PLANTED, d, 0, "d 0");
	REFUSE(SAE_SYNTH_PLANTED, features, 0, "features 0");
	REFUSE(SAE_SYNTH_PLANTED, k, 0, "k 0");
	REFUSE(SAE_SYNTH_PLANTED, k, 129, "k 129 is over");
	REFUSE(SAE_SYNTH_PLANTED, noise, -1, "noise -1");
	REFUSE(SAE_SYNTH_PLANTED, noise, (double)NAN, "noise nan");
	REFUSE(SAE_SYNTH_PLANTED, inputs, 3, "d 64 is no multiple of inputs 3");
	REFUSE(SAE_SYNTH_PLANTED, inputs, 65, "inputs 65 is not from 1 to 64");
	REFUSE(SAE_SYNTH_PLANTED, exclusive, 1.5, "exclusive 1.5");
	REFUSE(SAE_SYNTH_CODEBOOK, groups, 3, "groups 3");
	REFUSE(SAE_SYNTH_CODEBOOK, k, 129, "k 129 is over the codes of a group");
	REFUSE(SAE_SYNTH_HIERARCHY, p_max, 1, "between 0 and 1");
	REFUSE(SAE_SYNTH_HIERARCHY, p_min, 0, "between 0 and 1");
	REFUSE(SAE_SYNTH_HIERARCHY, mean, 0, "not over 0");
	REFUSE(SAE_SYNTH_TREE, d, 19, "d 19 is under");
	REFUSE(SAE_SYNTH_TOY, probability, 0, "probability 0");
	REFUSE(SAE_SYNTH_TOY, features, 5000, "features 5000");
	REFUSE(SAE_SYNTH_TOKFSM, states, 101, "states 101");
	REFUSE(SAE_SYNTH_TOKFSM, successors, 101, "successors 101");
	REFUSE(SAE_SYNTH_TOKFSM, ctx_len, 2, "contexts of 2");
	REFUSE(SAE_SYNTH_TOKFSM, rows, 100, "contexts of 128");
}
END_TEST

static void put_truth(const char *name, const char *json)
{
	const char *path;

	path = support_path(support_path(folder, "p/truth"), name);
	support_put_text(path, json);
}

static void refuse_truth(int code, const char *part)
{
	sae_truth *t = NULL;
	error e = { 0 };

	ck_assert_int_eq(sae_truth_open(&t, support_path(folder, "p"), &e), code);
	ck_assert_ptr_null(t);
	ck_assert_msg(strstr(e.msg, part) != NULL, "%s", e.msg);
}

START_TEST(bad_truths)
{
	sae_synth_opts o = small_opts(SAE_SYNTH_PLANTED);
	const float rows[128 * 64] = { 0 };
	int32_t parent[128];
	sae_tensor_out t[] = { { "dictionary", SAE_F32, 2, { 128, 64 }, rows },
		               { "bias", SAE_F32, 1, { 64 }, rows },
		               { "parent", SAE_I32, 1, { 128 }, parent } };
	const char *path;

	refuse_truth(ERR_NOTFOUND, "no truth.json");
	write_kind("p", SAE_SYNTH_PLANTED, &o, 1);
	put_truth("truth.json", "{\"gloss_truth\":2}");
	refuse_truth(ERR_FORMAT, "gloss_truth is 2");
	put_truth("truth.json", "[1]");
	refuse_truth(ERR_FORMAT, "not a JSON object");
	put_truth("truth.json", "{\"gloss_truth\":1,\"kind\":\"planted\",\"rows\":5000,\"d\":64}");
	refuse_truth(ERR_FORMAT, "features or d is missing");
	put_truth("truth.json",
	          "{\"gloss_truth\":1,\"kind\":\"planted\",\"rows\":5000,\"d\":64,\"features\":127}");
	refuse_truth(ERR_FORMAT, "'dictionary' has 8192 values, 8128 are wanted");
	put_truth("truth.json",
	          "{\"gloss_truth\":1,\"kind\":\"planted\",\"rows\":5001,\"d\":64,\"features\":128}");
	refuse_truth(ERR_FORMAT, "is of 5000 rows and 128 features");
	put_truth("truth.json",
	          "{\"gloss_truth\":1,\"kind\":\"planted\",\"rows\":5000,\"d\":64,\"features\":128}");
	path = support_path(folder, "p/truth/dictionary.safetensors");
	for (int i = 0; i < 128; i++)
		parent[i] = i == 7 ? 7 : -1;
	ck_assert_int_eq(sae_safetensors_write(path, t, 3, NULL, 0, NULL), 0);
	refuse_truth(ERR_FORMAT, "the parent of feature 7 is 7");
	t[2].name = "input";
	parent[8] = 65;
	ck_assert_int_eq(sae_safetensors_write(path, t, 3, NULL, 0, NULL), 0);
	refuse_truth(ERR_FORMAT, "the input of feature 0 is -1, not in 0..64");
	ck_assert_int_eq(sae_safetensors_write(path, t, 1, NULL, 0, NULL), 0);
	refuse_truth(ERR_FORMAT, "no tensor 'bias'");
}
END_TEST

/* Whatever allocation or write fails, there is no folder, and the error says so. */
START_TEST(failures_leave_nothing)
{
	const fault_kind kind = _i ? FAULT_WRITE : FAULT_ALLOC;
	sae_synth_opts o = small_opts(SAE_SYNTH_TOKFSM);
	pool *p = NULL;
	const char *path = support_path(folder, "f");
	error e = { 0 };
	long n = 0;

	o.rows = 384;
	ck_assert_int_eq(pool_new(&p, 1, NULL), 0);
	for (;; n++) {
		int rc;

		fault_arm(kind, n);
		rc = sae_synth_write(path, SAE_SYNTH_TOKFSM, &o, false, p, NULL, NULL, &e);
		if (!fault_disarm(kind)) {
			ck_assert_int_eq(rc, 0);
			break;
		}
		if (rc == 0) { /* allocations of libzip's or of a stream's that it can do without */
			ck_assert_int_eq(kind, FAULT_ALLOC);
			support_rmdir(path);
			continue;
		}
		ck_assert_int_eq(rc, kind == FAULT_ALLOC ? ERR_NOMEM : ERR_IO);
		ck_assert(!file_exists(path));
	}
	ck_assert_int_gt(n, 3);
	pool_free(p);
}
END_TEST

START_TEST(a_truth_without_memory)
{
	sae_synth_opts o = small_opts(SAE_SYNTH_TREE);
	const char *path = support_path(folder, "m");
	error e = { 0 };

	o.rows = 100;
	write_kind("m", SAE_SYNTH_TREE, &o, 1);
	for (long n = 0;; n++) {
		sae_truth *t = NULL;
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = sae_truth_open(&t, path, &e);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			sae_truth_close(t);
			break;
		}
		if (rc == 0) {
			sae_truth_close(t);
			continue;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		ck_assert_ptr_null(t);
	}
}
END_TEST

static void cases(Suite *s)
{
	TCase *c = tcase_create("all");

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, planted_rows);
	tcase_add_test(c, planted_inputs);
	tcase_add_test(c, codebook_rows);
	tcase_add_test(c, hierarchy_rows);
	tcase_add_test(c, hierarchy_values_and_correlation);
	tcase_add_test(c, tree_rows);
	tcase_add_test(c, toy_rows);
	tcase_add_test(c, tokfsm_rows);
	tcase_add_loop_test(c, threads_do_not_matter, 0, SAE_SYNTH_KINDS);
	tcase_add_loop_test(c, shards_do_not_matter, 0, 2);
	tcase_add_test(c, noise_is_as_asked);
	tcase_add_test(c, normal_tails);
	tcase_add_test(c, directions_pushed_apart);
	tcase_add_test(c, bad_options);
	tcase_add_test(c, bad_truths);
	tcase_add_loop_test(c, failures_leave_nothing, 0, 2);
	tcase_add_test(c, a_truth_without_memory);
	suite_add_tcase(s, c);
}
SUPPORT_MAIN("synth", cases)
