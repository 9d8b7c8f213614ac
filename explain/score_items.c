/* score_items: the windows that items are made of, and the items. */
#include <math.h>

#include "explain/scorer.h"

const char *const score_stratum_names[SCORE_STRATA] = {
	[SCORE_FIRING] = "firing",   [SCORE_SILENT] = "silent",     [SCORE_MISMARKED] = "mismarked",
	[SCORE_DECODER] = "decoder", [SCORE_COFIRING] = "cofiring", [SCORE_TOKEN] = "token",
	[SCORE_NEAREST] = "nearest"
};

/* ---- Material --------------------------------------------------------------------------------------------------------- */

static bool overlap(const store_window *a, const store_window *b)
{
	return a->context == b->context && a->first < b->first + b->length && b->first < a->first + a->length;
}

/* A hard window that another kind has too, or that a random one covers, is of no use twice. */
static bool taken_before(const score_material *m, int kind, const store_window *w)
{
	for (size_t i = 0; i < m->n_silent; i++)
		if (overlap(&m->silent[i], w))
			return true;
	for (int k = 0; k < kind; k++)
		for (size_t i = 0; i < m->n_hard[k]; i++)
			if (overlap(&m->hard[k][i], w))
				return true;
	return false;
}

/* The kinds in equal shares; nearest ones only where there is a model to embed by. */
static int gather_hard(score_material *m, engine_task *t, const score_wanted *w, error *err)
{
	unsigned want = w->n_hard, kinds = t->job->o->embed_model ? SCORE_HARD_KINDS : STORE_HARD_KINDS;
	int rc = 0;

	for (unsigned k = 0; k < kinds && rc == 0; k++) {
		unsigned share = want / kinds + (k < want % kinds);
		size_t found = 0, kept = 0;

		if (share == 0)
			continue;
		/* some more than wanted, since some are dropped */
		if (k < STORE_HARD_KINDS)
			rc = examples_hard(&m->hard[k], &found, t, w->part, (store_hard)k, &m->all,
			                   2 * share + 4, err);
		else
			rc = score_nearest(&m->hard[k], &found, t, m, 2 * share + 4, err);
		for (size_t i = 0; rc == 0 && i < found && kept < share; i++)
			if (!taken_before(m, (int)k, &m->hard[k][i]))
				m->hard[k][kept++] = m->hard[k][i];
		m->n_hard[k] = kept;
	}
	return rc;
}

static const char *no_silent(char buf[128], store_part part)
{
	snprintf(buf, 128, "no silent windows in the %s documents", examples_part_name(part));
	return buf;
}

int score_gather(const char **why, char buf[128], score_material *m, engine_task *t, const score_wanted *want,
                 error *err)
{
	size_t *chosen;
	int rc;

	rc = examples_read(&m->all, t, want->part, err);
	if (rc < 0 || (*why = examples_too_few(buf, &m->all, want->part)))
		return rc;
	rc = examples_silent(&m->silent, &m->n_silent, t, want->part, want->n_negative, err);
	if (rc == 0 && m->n_silent == 0) {
		*why = no_silent(buf, want->part);
		return 0;
	}
	if (rc == 0)
		rc = examples_choose(&chosen, &m->n_chosen, &m->all, want->how, want->n_positive,
		                     hash64_mix(t->job->o->seed + 5, t->row.feature), &t->mem, err);
	if (rc < 0)
		return rc;
	m->chosen = chosen;
	return gather_hard(m, t, want, err);
}

/* ---- Items ------------------------------------------------------------------------------------------------------------ */

uint64_t score_window_hash(const engine_task *t, const store_window *w, uint64_t what)
{
	uint64_t h = hash64_mix(hash64_mix(t->job->o->seed, t->row.feature), what);

	return hash64_mix(hash64_mix(h, (uint64_t)w->context), w->first);
}

int score_items_new(engine_task *t, size_t n, error *err)
{
	score_task *mine = t->data;

	mine->items = arena_alloc(&t->mem, n + 1, sizeof(*mine->items));
	mine->n = 0;
	return mine->items ? 0 : error_nomem(err, "windows");
}

int score_items_add(engine_task *t, const score_item *like, const store_window *w, const uint8_t *const *mark,
                    uint32_t n, error *err)
{
	score_task *mine = t->data;
	score_item *it = &mine->items[mine->n];
	score_shown *shown = arena_alloc(&t->mem, n, sizeof(*shown));

	if (!shown)
		return error_nomem(err, "windows");
	for (uint32_t i = 0; i < n; i++)
		shown[i] = (score_shown){ w[i], mark ? mark[i] : NULL };
	*it = *like;
	it->shown = shown;
	it->n_shown = n;
	for (int k = 0; k < SCORE_LABELS; k++)
		it->answer[k] = it->grade[k] = (double)NAN;
	mine->n++;
	return 0;
}
