/* gloss export --to gguf: decoder rows as a control vector for llama.cpp. */
#include "store/export_rows.h"
#include "store/vectors.h"

#include <math.h>

enum { ALIGNMENT = 32, TYPE_INT32 = 5, TYPE_STRING = 8, TENSOR_F32 = 0 };

typedef struct gguf {
	text bytes;
	int rc; /* of the first addition that failed */
} gguf;

static void put(gguf *g, const void *p, size_t n)
{
	if (g->rc == 0)
		g->rc = text_add(&g->bytes, p, n);
}

/* `n` bytes of a number, the low ones first. */
static void put_le(gguf *g, uint64_t value, int n)
{
	for (int i = 0; i < n; i++) {
		unsigned char byte = (unsigned char)(value >> 8 * i);

		put(g, &byte, 1);
	}
}

static void put_string(gguf *g, const char *s)
{
	put_le(g, strlen(s), 8);
	put(g, s, strlen(s));
}

static void put_pair(gguf *g, const char *key, const char *value)
{
	put_string(g, key);
	put_le(g, TYPE_STRING, 4);
	put_string(g, value);
}

/* The whole file: one tensor, `direction.LAYER` (d). */
static void build(gguf *g, const char *model_hint, uint32_t layer, const float *direction, uint32_t d)
{
	char name[32];

	snprintf(name, sizeof(name), "direction.%u", layer);
	put(g, "GGUF", 4);
	put_le(g, 3, 4);
	put_le(g, 1, 8);                  /* tensors */
	put_le(g, model_hint ? 3 : 2, 8); /* pairs */
	put_pair(g, "general.architecture", "controlvector");
	if (model_hint)
		put_pair(g, "controlvector.model_hint", model_hint);
	put_string(g, "controlvector.layer_count");
	put_le(g, TYPE_INT32, 4);
	put_le(g, 1, 4);
	put_string(g, name);
	put_le(g, 1, 4); /* dimensions */
	put_le(g, d, 8);
	put_le(g, TENSOR_F32, 4);
	put_le(g, 0, 8); /* offset */
	while (g->rc == 0 && g->bytes.len % ALIGNMENT)
		put(g, "", 1);
	for (uint32_t i = 0; i < d; i++) {
		uint32_t bits;

		memcpy(&bits, &direction[i], sizeof(bits));
		put_le(g, bits, 4);
	}
	while (g->rc == 0 && g->bytes.len % ALIGNMENT)
		put(g, "", 1);
}

/* The layer whose output the source's rows are, as llama.cpp counts. */
static int find_layer(uint32_t *out, const store_gguf_opts *o, const store_record *of, error *err)
{
	int64_t layer = 0;
	int rc = vector_block(&layer, of, o->layer, err);

	if (rc < 0)
		return rc;
	if (layer < 1 || layer > 10000)
		return error_set(
		        err, ERR_ARG,
		        "layer %lld: a control vector acts on the output of layer 1 or later, not of "
		        "the first",
		        (long long)layer);
	*out = (uint32_t)layer;
	return 0;
}

/* direction = sum of alpha times the decoder row, in doubles. */
static int add_directions(double *sum, export_source *x, const store_gguf_opts *o, arena *mem, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < o->n && rc == 0; i++) {
		export_feature f;
		float *row = NULL;
		double alpha = o->alphas[i].value;

		rc = export_feature_read(&f, x, o->features[i], err);
		if (rc == 0)
			rc = export_vector(&row, x, o->features[i], mem, err);
		if (rc == 0 && !row)
			rc = error_set(err, ERR_NOTFOUND, "'%s' holds no decoder row of feature %u",
			               store_path(x->s), o->features[i]);
		if (o->alphas[i].times_max)
			alpha *= f.max_act;
		for (uint32_t j = 0; j < x->of.d_in && rc == 0; j++)
			sum[j] += alpha * (double)row[j];
		export_feature_clear(&f);
	}
	return rc;
}

static int to_floats(float *out, const double *sum, uint32_t d, error *err)
{
	bool any = false;

	for (uint32_t i = 0; i < d; i++) {
		out[i] = (float)sum[i];
		if (!isfinite(out[i]))
			return error_set(err, ERR_ARG,
			                 "the direction is not finite at %u: alpha is too large", i);
		any = any || out[i] != 0;
	}
	return any ? 0 : error_set(err, ERR_ARG, "the direction is zero: it would do nothing");
}

int store_export_gguf(store_export_result *out, store *s, const char *path, const store_gguf_opts *o,
                      error *err)
{
	export_source x = { 0 };
	gguf g = { 0 };
	arena mem = ARENA_INIT;
	double *sum = NULL;
	float *direction = NULL;
	uint32_t layer = 0;
	int rc;

	if (!o->force && file_exists(path))
		return error_set(err, ERR_EXISTS, "'%s' is there already; --force replaces it", path);
	text_init(&g.bytes, (size_t)64 << 20);
	rc = export_source_open(&x, s, o->source, err);
	if (rc == 0)
		rc = find_layer(&layer, o, &x.of, err);
	if (rc == 0) {
		sum = arena_alloc(&mem, x.of.d_in, sizeof(*sum));
		direction = arena_alloc(&mem, x.of.d_in, sizeof(*direction));
		rc = sum && direction ? 0 : error_nomem(err, "a direction");
	}
	if (rc == 0)
		rc = add_directions(sum, &x, o, &mem, err);
	if (rc == 0)
		rc = to_floats(direction, sum, x.of.d_in, err);
	if (rc == 0) {
		build(&g, o->model_hint, layer, direction, x.of.d_in);
		rc = g.rc < 0 ? error_nomem(err, "a control vector") : 0;
	}
	if (rc == 0)
		rc = file_write(path, g.bytes.data, g.bytes.len, err);
	if (rc == 0 && out)
		*out = (store_export_result){ .n_files = 1, .n_rows = 1, .n_bytes = g.bytes.len };
	text_free(&g.bytes);
	arena_clear(&mem);
	export_source_clear(&x);
	return rc;
}
