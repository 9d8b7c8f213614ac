/* What the shape of an activations tensor means: rows, contexts, heads, layers. */
#include "sae/dump_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { HEADS_MAX = 65536 };

static int wrong_shape(const sae_file *f, const sae_tensor *t, error *err)
{
	return error_set(
	        err, ERR_FORMAT,
	        "'%s': tensor '%s' has %u dimensions; activations are (rows, d), (contexts, ctx_len, "
	        "d) or (contexts, ctx_len, heads, d_head)",
	        f->path, t->name, t->n_dims);
}

/* "H" or "H/N"; *n 0 where it is not given. */
static int parse_head(int *head, uint32_t *n, const char *given, error *err)
{
	char *end;
	unsigned long h = strtoul(given, &end, 10), of = 0;
	bool good = given[0] >= '0' && given[0] <= '9' && h < HEADS_MAX;

	if (good && *end == '/') {
		good = end[1] >= '0' && end[1] <= '9';
		of = good ? strtoul(end + 1, &end, 10) : 0;
		good = good && of > 0 && of <= HEADS_MAX;
	}
	if (!good || *end)
		return error_set(err, ERR_ARG,
		                 "head '%s' is neither a number nor one of so many, as 3 or 3/12", given);
	*head = (int)h;
	*n = (uint32_t)of;
	return 0;
}

/* One head's values of rows that hold s->n_heads of them side by side. */
static int choose_head(dump_shape *s, const sae_file *f, const sae_tensor *t, const char *given, error *err)
{
	uint32_t n = 0;
	int rc = parse_head(&s->head, &n, given, err);

	if (rc < 0)
		return rc;
	if (s->n_heads == 0 && n == 0)
		return error_set(
		        err, ERR_ARG,
		        "'%s': tensor '%s' is not (contexts, ctx_len, heads, d_head): say how many heads a "
		        "row has, as head %d/12",
		        f->path, t->name, s->head);
	if (n && s->n_heads && n != s->n_heads)
		return error_set(err, ERR_ARG, "'%s': tensor '%s' has %u heads, not %u", f->path, t->name,
		                 s->n_heads, n);
	if (n)
		s->n_heads = n;
	if ((uint32_t)s->head >= s->n_heads)
		return error_set(err, ERR_ARG, "'%s': tensor '%s' has %u heads, 0 to %u; %d is none of them",
		                 f->path, t->name, s->n_heads, s->n_heads - 1, s->head);
	if (s->d % s->n_heads)
		return error_set(err, ERR_ARG, "'%s': rows of %" PRIu64 " values cannot hold %u equal heads",
		                 f->path, s->d, s->n_heads);
	s->at.first += s->d / s->n_heads * (uint64_t)s->head;
	s->d /= s->n_heads;
	s->at.plain = false;
	return 0;
}

static int check_size(const dump_shape *s, const sae_file *f, const sae_tensor *t, error *err)
{
	if (s->d == 0 || s->d > UINT32_MAX / 2)
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has rows of %" PRIu64 " values", f->path,
		                 t->name, s->d);
	if (t->n_dims > 2 && (s->ctx_len == 0 || s->ctx_len > UINT32_MAX / 2))
		return error_set(err, ERR_FORMAT, "'%s': tensor '%s' has contexts of %" PRIu64 " rows",
		                 f->path, t->name, s->ctx_len);
	return 0;
}

int dump_shape_of(dump_shape *out, const sae_file *f, const sae_tensor *t, const sae_dump_opts *o, error *err)
{
	const uint64_t *dims = t->dims;
	dump_shape s = { .head = -1, .at = { .rows = UINT64_MAX, .plain = true } };
	int rc;

	if (t->n_dims < 2 || t->n_dims > 4)
		return wrong_shape(f, t, err);
	s.d = dims[t->n_dims - 1];
	if (t->n_dims == 4 && !f->n_layers) {
		if (dims[2] == 0 || dims[2] > HEADS_MAX || s.d > UINT32_MAX / 2)
			return error_set(err, ERR_FORMAT,
			                 "'%s': tensor '%s' has %" PRIu64 " heads of %" PRIu64 " values",
			                 f->path, t->name, dims[2], s.d);
		s.n_heads = (uint32_t)dims[2];
		s.d *= s.n_heads;
	}
	if (t->n_dims > 2)
		s.ctx_len = f->n_layers ? dims[2] : dims[1];
	rc = check_size(&s, f, t, err);
	if (rc < 0)
		return rc;
	s.n_rows = t->count / s.d;
	s.at.row = s.d;
	if (f->n_layers) {
		s.n_rows /= f->n_layers;
		s.at.first = f->layer * s.ctx_len * s.d;
		s.at.rows = s.ctx_len;
		s.at.group = f->n_layers * s.ctx_len * s.d;
		s.at.plain = f->n_layers == 1;
	}
	if (o->head)
		rc = choose_head(&s, f, t, o->head, err);
	if (rc == 0 && o->d_in && o->d_in != s.d)
		rc = error_set(err, ERR_FORMAT, "'%s' has rows of %" PRIu64 " values, d-in says %u", f->path,
		               s.d, o->d_in);
	if (rc == 0)
		*out = s;
	return rc;
}
