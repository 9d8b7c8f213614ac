/* detection: does the label fit this window? Windows without marks, firing and silent ones. confidence: how surely does it? */
#include "explain/prompt.h"
#include "explain/scorer.h"

double score_chance_half(const explain_opts *o)
{
	(void)o;
	return 0.5;
}

static int add(engine_task *t, score_stratum stratum, unsigned decile, const store_window *w, error *err)
{
	score_item like = { .stratum = stratum, .decile = decile, .truth = stratum == SCORE_FIRING };

	return score_items_add(t, &like, w, NULL, 1, err);
}

int score_make_windows(const char **why, char buf[128], engine_task *t, const score_material *m, error *err)
{
	size_t n = m->n_chosen + m->n_silent;
	int rc;

	(void)why;
	(void)buf;
	for (int k = 0; k < SCORE_HARD_KINDS; k++)
		n += m->n_hard[k];
	rc = score_items_new(t, n, err);
	for (size_t i = 0; i < m->n_chosen && rc == 0; i++)
		rc = add(t, SCORE_FIRING, m->all.decile[m->chosen[i]], &m->all.w[m->chosen[i]], err);
	for (size_t i = 0; i < m->n_silent && rc == 0; i++)
		rc = add(t, SCORE_SILENT, 0, &m->silent[i], err);
	for (int k = 0; k < SCORE_HARD_KINDS; k++)
		for (size_t i = 0; i < m->n_hard[k] && rc == 0; i++)
			rc = add(t, (score_stratum)(SCORE_DECODER + k), 0, &m->hard[k][i], err);
	return rc;
}

static int show(text *out, const score_item *it, size_t number, error *err)
{
	if (text_addf(out, "%s[%zu] ", number > 1 ? "\n" : "", number) < 0)
		return error_set(err, ERR_LIMIT, "the prompt is too long");
	return prompt_add_plain(out, &it->shown->w, err);
}

static int by_rule(double *answer, const char *rule, const score_item *it, error *err)
{
	bool holds = false;
	int rc = explain_lexical_judge(&holds, rule, &it->shown->w, err);

	*answer = holds;
	return rc;
}

#define DETECTION                                                                                            \
	.name = "detection", .measure = "balanced accuracy", .labelled = true, .chance = score_chance_half,  \
	.make = score_make_windows, .show = show, .answer = "matches", .by_rule = by_rule, .ask = score_ask, \
	.take = score_take, .measure_up = score_measure_balanced

const scorer scorer_detection = { DETECTION, .yes = "fires", .no = "silent" };
const scorer scorer_detection_graded = { DETECTION };

const scorer scorer_confidence = {
	.name = "confidence",
	.measure = "area under the ROC curve",
	.labelled = true,
	.chance = score_chance_half,
	.make = score_make_windows,
	.show = show,
	.answer = "sure",
	.ask = score_ask,
	.take = score_take,
	.measure_up = score_measure_area,
};
