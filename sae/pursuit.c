/* Matching pursuit: see pursuit.h. */
#include <math.h>
#include <stdlib.h>

#include "sae/pursuit.h"

int pursuit_init(pursuit *p, arena *mem, error *err)
{
	p->row = arena_alloc(mem, SAE_ENCODE_TILE, sizeof(*p->row));
	p->last = arena_alloc(mem, SAE_ENCODE_TILE, sizeof(*p->last));
	p->count = arena_alloc(mem, SAE_ENCODE_TILE, sizeof(*p->count));
	p->index = arena_alloc(mem, SAE_ENCODE_TILE, sizeof(*p->index));
	p->value = arena_alloc(mem, SAE_ENCODE_TILE, sizeof(*p->value));
	return p->row && p->last && p->count && p->index && p->value ? 0
	                                                             : error_nomem(err, "a pursuit's tile");
}

void pursuit_clear(pursuit *p)
{
	free(p->picks);
	p->picks = NULL;
	p->n = p->room = 0;
}

/* Give feature `index` of a row `value` more; *again: it was there. */
static int add(pursuit *p, uint32_t row, uint32_t index, float value, bool *again)
{
	for (uint32_t i = p->last[row]; i; i = p->picks[i - 1].before) {
		if (p->picks[i - 1].index == index) {
			p->picks[i - 1].value += value;
			*again = true;
			return 0;
		}
	}
	*again = false;
	if (p->n >= UINT32_MAX - 1 || mem_grow(&p->picks, &p->room, p->n + 1, sizeof(*p->picks)) < 0)
		return ERR_NOMEM;
	p->picks[p->n++] = (pursuit_pick){ row, index, p->last[row], value };
	p->last[row] = (uint32_t)p->n;
	return 0;
}

/* One row's step: take what was chosen off its residual. *done: it was the last. */
static int step(pursuit *p, const encode_job *j, const sae_model *m, float *x, size_t i, bool *done)
{
	const sae_pursuit *rule = &m->pursuit;
	bool again = false;
	int rc;

	*done = true; /* where nothing is over 0, nothing ever will be */
	if (!p->count[i])
		return 0;
	rc = add(p, p->row[i], p->index[i], p->value[i], &again);
	if (rc < 0)
		return rc;
	j->k->axpy(x, -p->value[i], m->W_dec + (size_t)p->index[i] * m->d_in, m->d_in);
	*done = (again && rule->repeat_ends) ||
	        (rule->residual > 0 && sqrt(j->k->sum_squares(x, m->d_in)) < rule->residual);
	return 0;
}

int pursuit_run(pursuit *p, encode_scratch *s, const encode_job *j, const sae_model *m, float *x, size_t n)
{
	size_t d = m->d_in, active = n;

	p->n = 0;
	for (size_t i = 0; i < n; i++) {
		p->row[i] = (uint32_t)i;
		p->last[i] = 0;
	}
	for (uint32_t made = 0; made < m->pursuit.steps && active; made++) {
		size_t left = 0;

		encode_tile(s, j, x, active, p->count, p->index, p->value);
		for (size_t i = 0; i < active; i++) {
			bool done;
			int rc = step(p, j, m, x + i * d, i, &done);

			if (rc < 0)
				return rc;
			if (done)
				continue;
			if (left < i) {
				memcpy(x + left * d, x + i * d, d * sizeof(*x));
				p->row[left] = p->row[i];
			}
			left++;
		}
		active = left;
	}
	return 0;
}

static int by_row_and_feature(const void *a, const void *b)
{
	const pursuit_pick *x = a, *y = b;

	if (x->row != y->row)
		return x->row < y->row ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

size_t pursuit_codes(pursuit *p, size_t n, size_t *count, uint32_t *index, float *value)
{
	if (p->n)
		qsort(p->picks, p->n, sizeof(*p->picks), by_row_and_feature);
	for (size_t i = 0; i < n; i++)
		count[i] = 0;
	for (size_t i = 0; i < p->n; i++) {
		count[p->picks[i].row]++;
		index[i] = p->picks[i].index;
		value[i] = p->picks[i].value;
	}
	return p->n;
}
