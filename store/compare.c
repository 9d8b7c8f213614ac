/* Two sources compared: store_compare(). */
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
