/* fuzz: is what is marked in this window what the label means? Firing windows with the tokens marked on which the feature fires;
 * against them silent windows with as many tokens marked, firing windows with other tokens marked, and hard silent ones with
 * the tokens marked that make them hard. */
#include <string.h>

#include "explain/prompt.h"
#include "explain/scorer.h"

enum { FOR_PATTERN = 11, FOR_PLACE, FOR_SPARE };

static double chance(const explain_opts *o)
{
	(void)o;
	return 0.5;
}

/* ---- Marks ------------------------------------------------------------------------------------------------------------ */

/* How many tokens the windows shown have marked, and in what runs: patterns that wrong marks are drawn from, so that they
 * look like right ones. */
typedef struct patterns {
	uint8_t **mark; /* (n) each (length[i]) */
	uint32_t *length;
	size_t n;
} patterns;

static int own_marks(uint8_t **out, engine_task *t, const store_window *w, error *err)
{
	*out = arena_alloc(&t->mem, w->length + 1, sizeof(**out));
	if (!*out)
		return error_nomem(err, "marks");
	prompt_mark(*out, w);
	return 0;
}

static int read_patterns(patterns *p, engine_task *t, const score_material *m, error *err)
{
	int rc = 0;

	p->mark = arena_alloc(&t->mem, m->n_chosen + 1, sizeof(*p->mark));
	p->length = arena_alloc(&t->mem, m->n_chosen + 1, sizeof(*p->length));
	if (!p->mark || !p->length)
		return error_nomem(err, "marks");
	for (; p->n < m->n_chosen && rc == 0; p->n++) {
		const store_window *w = &m->all.w[m->chosen[p->n]];

		p->length[p->n] = w->length;
		rc = own_marks(&p->mark[p->n], t, w, err);
	}
	return rc;
}

/* The pattern laid around the window from one of its tokens on. false: it would mark a token on which the feature fires, or
 * none. */
static bool lay(uint8_t *mark, const store_window *w, const uint8_t *pattern, uint32_t length, uint32_t from)
{
	uint32_t marked = 0;

	memset(mark, 0, w->length);
	for (uint32_t i = 0; i < length; i++) {
		uint32_t at = (from + i) % w->length;

		if (!pattern[i] || mark[at])
			continue;
		if (w->value[at] > 0)
			return false;
		mark[at] = 1;
		marked++;
	}
	return marked > 0;
}

/* Marks where the feature does not fire, drawn afresh for each window. *out NULL: it leaves no room for any. */
static int wrong_marks(uint8_t **out, engine_task *t, const patterns *p, const store_window *w, error *err)
{
	uint64_t at = score_window_hash(t, w, FOR_PLACE);
	size_t which = (size_t)hash64_below(score_window_hash(t, w, FOR_PATTERN), p->n);
	uint32_t first = (uint32_t)hash64_below(at, w->length);
	uint8_t *mark = arena_alloc(&t->mem, w->length + 1, sizeof(*mark)), one = 1;

	*out = NULL;
	if (!mark)
		return error_nomem(err, "marks");
	for (uint32_t i = 0; i < w->length && !*out; i++)
		if (lay(mark, w, p->mark[which], p->length[which], (first + i) % w->length))
			*out = mark;
	for (uint32_t i = 0; i < w->length && !*out; i++) /* too long a pattern: one token */
		if (lay(mark, w, &one, 1, (first + i) % w->length))
			*out = mark;
	return 0;
}

/* ---- Items ------------------------------------------------------------------------------------------------------------ */

static int add(engine_task *t, score_stratum stratum, unsigned decile, const store_window *w,
               const uint8_t *mark, error *err)
{
	score_item like = { .stratum = stratum, .decile = decile, .truth = stratum == SCORE_FIRING };

	return mark ? score_items_add(t, &like, w, &mark, 1, err) : 0;
}

/* Firing windows to be marked wrongly: those that are not shown with right marks come first. */
static int add_mismarked(size_t *n, engine_task *t, const score_material *m, const patterns *p, size_t want,
                         error *err)
{
	size_t taken = 0;
	uint8_t *mark;
	int rc = 0;

	for (size_t pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < m->all.n && taken < want && rc == 0; i++) {
			/* spread over all of them by an order of its own */
			size_t at = (size_t)hash64_permute(
			        i, m->all.n, hash64_mix(t->job->o->seed + FOR_SPARE, t->row.feature));
			bool shown = false;

			for (size_t next = 0; next < m->n_chosen && !shown; next++)
				shown = m->chosen[next] == at;
			if (shown != (pass == 1))
				continue;
			rc = wrong_marks(&mark, t, p, &m->all.w[at], err);
			if (rc == 0)
				rc = add(t, SCORE_MISMARKED, 0, &m->all.w[at], mark, err);
			taken += rc == 0 && mark;
		}
	}
	*n = taken;
	return rc;
}

static int make(const char **why, char buf[128], engine_task *t, const score_material *m, error *err)
{
	size_t n = m->n_chosen + m->n_silent, wrong = 0;
	patterns p = { 0 };
	uint8_t *mark;
	int rc = read_patterns(&p, t, m, err);

	(void)why;
	(void)buf;
	for (int k = 0; k < SCORE_HARD_KINDS; k++)
		n += m->n_hard[k];
	if (rc == 0)
		rc = score_items_new(t, n, err);
	for (size_t i = 0; i < m->n_chosen && rc == 0; i++)
		rc = add(t, SCORE_FIRING, m->all.decile[m->chosen[i]], &m->all.w[m->chosen[i]], p.mark[i],
		         err);
	if (rc == 0)
		rc = add_mismarked(&wrong, t, m, &p, m->n_silent / 2, err);
	for (size_t i = 0; i < m->n_silent - wrong && rc == 0; i++) {
		rc = wrong_marks(&mark, t, &p, &m->silent[i], err);
		if (rc == 0)
			rc = add(t, SCORE_SILENT, 0, &m->silent[i], mark, err);
	}
	for (int k = 0; k < SCORE_HARD_KINDS; k++)
		for (size_t i = 0; i < m->n_hard[k] && rc == 0; i++) {
			rc = SCORE_DECODER + k == SCORE_NEAREST
			             ? wrong_marks(&mark, t, &p, &m->hard[k][i],
			                           err) /* no token makes it hard */
			             : own_marks(&mark, t, &m->hard[k][i], err);
			if (rc == 0)
				rc = add(t, (score_stratum)(SCORE_DECODER + k), 0, &m->hard[k][i], mark, err);
		}
	return rc;
}

/* ---- Questions and answers -------------------------------------------------------------------------------------------- */

static int show(text *out, const score_item *it, size_t number, error *err)
{
	if (text_addf(out, "%s[%zu] ", number > 1 ? "\n" : "", number) < 0)
		return error_set(err, ERR_LIMIT, "the prompt is too long");
	return prompt_add_marks(out, &it->shown->w, it->shown->mark, err);
}

/* All that is marked must be what the rule means. */
static int by_rule(double *answer, const char *rule, const score_item *it, error *err)
{
	const score_shown *s = it->shown;
	bool holds = true;
	int rc = explain_lexical_judge_marked(&holds, rule, &s->w, s->mark, err);

	*answer = holds;
	return rc;
}

#define FUZZ                                                                                                 \
	.name = "fuzz", .measure = "balanced accuracy", .labelled = true, .chance = chance, .make = make,    \
	.show = show, .answer = "right", .by_rule = by_rule, .ask = score_ask, .take = score_take,           \
	.measure_up = score_measure_balanced

const scorer scorer_fuzz = { FUZZ, .yes = "right", .no = "wrong" };
const scorer scorer_fuzz_graded = { FUZZ };
