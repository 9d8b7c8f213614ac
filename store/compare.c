/* Two sources compared: store_compare(), and the vectors for its caller. */
#include "store/compare.h"

#include <math.h>

static int open_side(compare_side *side, store *s, const char *name, arena *mem, error *err)
{
	int rc = store_source_get(&side->source, s, name, err);

	if (rc < 0)
		return rc;
	side->s = s;
	side->n_features = side->source.n_features;
	side->name = arena_strdup(mem, side->source.name);
	return side->name ? 0 : error_nomem(err, "a comparison");
}

static int check_common(const comparison *c, error *err)
{
	if (c->n_tokens)
		return 0;
	if (c->o->by_firing)
		return error_set(
		        err, ERR_NOTFOUND,
		        "'%s' and '%s' cannot be compared by firing: no context has stored firings of both",
		        c->side[0].name, c->side[1].name);
	if (c->o->directions)
		return 0;
	return error_set(err, ERR_NOTFOUND,
	                 "'%s' and '%s' cannot be compared: there are no decoder directions of one width, "
	                 "and no context has stored firings of both",
	                 c->side[0].name, c->side[1].name);
}

static int compare(cJSON **out, const comparison *c, error *err)
{
	compare_run chance = { 0 }, real = { 0 };
	int rc = compare_run_make(&chance, c, true, err);

	if (rc == 0)
		rc = compare_run_make(&real, c, false, err);
	if (rc == 0)
		rc = compare_page(out, c, &real, &chance, err);
	compare_run_end(&chance);
	compare_run_end(&real);
	return rc;
}

int store_compare(cJSON **out, const store_compare_opts *o, error *err)
{
	comparison c = { .o = o };
	arena mem = ARENA_INIT;
	int rc = open_side(&c.side[0], o->a, o->source_a, &mem, err);

	if (rc == 0)
		rc = open_side(&c.side[1], o->b, o->source_b, &mem, err);
	if (rc == 0)
		rc = compare_read(&c, err);
	if (rc == 0)
		rc = check_common(&c, err);
	if (rc == 0)
		rc = compare(out, &c, err);
	compare_clear(&c);
	arena_clear(&mem);
	return rc;
}

static int read_row(float *row, const unsigned char *halves, uint32_t n)
{
	bool finite = true;

	for (uint32_t i = 0; i < n; i++) {
		row[i] = store_half_to_float((uint16_t)load_u16le(halves + 2 * i));
		finite = finite && isfinite(row[i]);
	}
	return finite ? 0 : ERR_FORMAT;
}

int store_vectors(float **out, store *s, const char *source, error *err)
{
	sqlite3_stmt *st = NULL;
	store_source src;
	float *rows = NULL;
	uint64_t n = 0;
	bool row = false;
	int rc = store_source_get(&src, s, source, err);

	*out = NULL;
	if (rc == 0)
		rc = store_prepare(&st, s, "SELECT feature, decoder FROM vector WHERE source_id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", src.id);
	if (rc == 0) {
		rows = mem_alloc_aligned((size_t)src.n_features * src.d_in, sizeof(*rows));
		rc = rows ? 0 : error_nomem(err, "decoder vectors");
	}
	while (rc == 0 && (rc = store_step(s, st, &row, err)) == 0 && row) {
		int64_t f = sqlite3_column_int64(st, 0);
		const unsigned char *halves = sqlite3_column_blob(st, 1);

		if (f < 0 || f >= src.n_features || !halves ||
		    (uint64_t)sqlite3_column_bytes(st, 1) != 2 * (uint64_t)src.d_in) {
			rc = error_set(err, ERR_FORMAT, "'%s': vector %lld of source '%s' is corrupt",
			               store_path(s), (long long)f, src.name);
			break;
		}
		rc = read_row(rows + (size_t)f * src.d_in, halves, src.d_in);
		if (rc < 0)
			rc = error_set(err, ERR_FORMAT, "'%s': vector %lld of source '%s' is not finite",
			               store_path(s), (long long)f, src.name);
		n++;
	}
	sqlite3_finalize(st);
	if (rc == 0 && n > 0 && n < src.n_features)
		rc = error_set(err, ERR_FORMAT, "'%s': source '%s' has vectors of %llu of its %u features",
		               store_path(s), src.name, (unsigned long long)n, src.n_features);
	if (rc == 0 && n > 0) {
		*out = rows;
		return 0;
	}
	free(rows);
	return rc;
}
