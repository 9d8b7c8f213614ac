/* strength: what steering needs of a feature: its direction, texts to go on with, the strength with the wanted KL; see subject.h. */
#include "explain/subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_LOW = -3, LOG_HIGH = 4 };
static const double tolerance = 0.1; /* of the wanted KL */

void steer_search_init(steer_search *s, const float *vector)
{
	*s = (steer_search){
		.vector = vector, .low = LOG_LOW, .high = LOG_HIGH, .best = (double)NAN, .kl = (double)NAN
	};
}

double steer_search_next(steer_search *s)
{
	s->tried = pow(10, (s->low + s->high) / 2);
	return s->tried;
}

void steer_search_take(steer_search *s, double kl, double wanted)
{
	if (isnan(s->kl) || fabs(kl - wanted) < fabs(s->kl - wanted)) {
		s->kl = kl;
		s->best = s->tried;
	}
	if (kl < wanted)
		s->low = log10(s->tried);
	else
		s->high = log10(s->tried);
	s->met = fabs(s->kl - wanted) <= tolerance * wanted;
	s->over = ++s->steps == STEER_STEPS || s->met;
}

int steer_row(store_direction *out, const engine *j, uint32_t feature, error *err)
{
	const explain_rows *r = j->o->rows;
	int rc;

	*out = (store_direction){ 0 };
	if (!r)
		return store_direction_get(out, j->s, j->source, feature, j->o->layer, err);
	rc = store_direction_block(&out->layer, j->s, j->source, j->o->layer, r->path, r->n, r->width,
	                           r->sha256, err);
	if (rc < 0)
		return rc;
	out->width = r->width;
	out->row = malloc(((size_t)r->width + 1) * sizeof(*out->row));
	if (!out->row)
		return error_nomem(err, "a direction");
	memcpy(out->row, r->row + (size_t)feature * r->width, r->width * sizeof(*out->row));
	return 0;
}

int steer_direction(subject_steer *out, engine_task *t, error *err)
{
	store_direction d;
	float *own;
	int rc = steer_row(&d, t->job, t->row.feature, err);

	if (rc < 0)
		return rc;
	own = arena_alloc(&t->mem, d.width + 1, sizeof(*own));
	if (own)
		memcpy(own, d.row, d.width * sizeof(*own));
	*out = (subject_steer){ d.layer, own, d.width, 1 };
	free(d.row);
	return own ? 0 : error_nomem(err, "a direction");
}

uint32_t steer_cut(const store_window *w)
{
	for (uint32_t i = 0; i < w->length; i++)
		if (w->value[i] > 0)
			return i + 1 >= STEER_TOKENS_LEAST ? i + 1 : 0;
	return 0;
}
