/* intruder: which of these windows does not belong to the others? All but one are windows of about the same strength in which the
 * feature fires; no label is shown, so this scores the feature and not what is said of it. Tokens on which it fires are
 * marked, in the intruder other ones. */
#include <string.h>

#include "explain/prompt.h"
#include "explain/scorer.h"

enum { FOR_ORDER = 21, FOR_PLACE, FOR_MEMBERS, GROUP_MOST = 10 };

static double chance(const explain_opts *o)
{
	return 1.0 / o->group;
}

/* The right marks of a firing window; in an intruder as many as `like` has, from a token of its own on. */
static int marks(const uint8_t **out, engine_task *t, const store_window *w, bool own,
                 const store_window *like, error *err)
{
	uint8_t *mark = arena_alloc(&t->mem, w->length + 1, sizeof(*mark));
	uint8_t *theirs = arena_alloc(&t->mem, like->length + 1, sizeof(*theirs));
	uint32_t from, n;

	if (!mark || !theirs)
		return error_nomem(err, "marks");
	*out = mark;
	if (prompt_mark(mark, w) > 0 || own)
		return 0;
	n = prompt_mark(theirs, like);
	from = (uint32_t)hash64_below(score_window_hash(t, w, FOR_PLACE), w->length);
	for (uint32_t i = 0; i < n && i < w->length; i++)
		mark[(from + i) % w->length] = 1;
	return 0;
}

/* `want` distinct ones of all windows from..to-1, by hash. */
static void draw(size_t *out, size_t want, size_t from, size_t to, uint64_t key)
{
	for (size_t i = 0; i < want; i++)
		out[i] = from + (size_t)hash64_permute(i, to - from, key);
}

/* The question number q of as many: its firing windows come from the q-th tenth by strength, and so on in turn. */
static int add(engine_task *t, const score_material *m, score_stratum stratum, const store_window *intruder,
               size_t q, error *err)
{
	unsigned k = t->job->o->group;
	uint64_t h = score_window_hash(t, intruder, FOR_ORDER);
	size_t slice = m->all.n / EXAMPLES_DECILES > k - 1 ? m->all.n / EXAMPLES_DECILES : k - 1;
	size_t from = (m->all.n - slice) * (q % EXAMPLES_DECILES) / (EXAMPLES_DECILES - 1),
	       index[GROUP_MOST] = { 0 };
	unsigned at = (unsigned)hash64_below(h, k);
	score_item like = { .stratum = stratum, .truth = at + 1 };
	store_window w[GROUP_MOST];
	const uint8_t *mark[GROUP_MOST];
	int rc = 0;

	draw(index, k - 1, from, from + slice, hash64_mix(h, FOR_MEMBERS));
	like.decile = m->all.decile[index[0]];
	for (unsigned i = 0; i < k && rc == 0; i++) {
		w[i] = i == at ? *intruder : m->all.w[index[i < at ? i : i - 1]];
		rc = marks(&mark[i], t, &w[i], i != at, &m->all.w[index[0]], err);
	}
	return rc < 0 ? rc : score_items_add(t, &like, w, mark, k, err);
}

static int make(const char **why, char buf[128], engine_task *t, const score_material *m, error *err)
{
	size_t n = m->n_silent, q = 0;
	int rc;

	if (m->all.n < t->job->o->group - 1) {
		snprintf(buf, 128,
		         "fires in %zu stored contexts of the report documents, a group of %u needs %u",
		         m->all.n, t->job->o->group, t->job->o->group - 1);
		*why = buf;
		return 0;
	}
	for (int k = 0; k < SCORE_HARD_KINDS; k++)
		n += m->n_hard[k];
	rc = score_items_new(t, n, err);
	for (size_t i = 0; i < m->n_silent && rc == 0; i++)
		rc = add(t, m, SCORE_SILENT, &m->silent[i], q++, err);
	for (int k = 0; k < SCORE_HARD_KINDS; k++)
		for (size_t i = 0; i < m->n_hard[k] && rc == 0; i++)
			rc = add(t, m, (score_stratum)(SCORE_DECODER + k), &m->hard[k][i], q++, err);
	return rc;
}

static int show(text *out, const score_item *it, size_t number, error *err)
{
	int rc = text_addf(out, "%sGroup %zu:", number > 1 ? "\n\n" : "", number);

	for (uint32_t i = 0; i < it->n_shown && rc == 0; i++) {
		rc = text_addf(out, "\n[%u] ", i + 1);
		if (rc == 0)
			rc = prompt_add_marks(out, &it->shown[i].w, it->shown[i].mark, err);
	}
	return rc == ERR_LIMIT ? error_set(err, ERR_LIMIT, "the prompt is too long") : rc;
}

const scorer scorer_intruder = {
	.name = "intruder",
	.measure = "accuracy",
	.chance = chance,
	.make = make,
	.show = show,
	.answer = "odd",
	.ask = score_ask,
	.take = score_take,
	.measure_up = score_measure_accuracy,
};
