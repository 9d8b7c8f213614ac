/* tries: see tries.h. */
#include "explain/tries.h"

#include <math.h>
#include <string.h>

#include "explain/explainer.h"
#include "explain/prompt.h"

/* ---- Items ------------------------------------------------------------------------------------------------------------ */

/* Hard ones in place of half of the random ones, by turns of their kinds: all count alike. */
static int mix_silent(score_material *m, size_t want, arena *mem, error *err)
{
	store_window *all = arena_alloc(mem, want + 1, sizeof(*all));
	size_t n = 0, at = 0, hard = 0;

	if (!all)
		return error_nomem(err, "windows");
	for (int k = 0; k < SCORE_HARD_KINDS; k++)
		hard += m->n_hard[k];
	for (; n < want / 2 && n < hard; at++)
		for (int k = 0; k < SCORE_HARD_KINDS && n < want / 2; k++)
			if (at < m->n_hard[k])
				all[n++] = m->hard[k][at];
	for (at = 0; n < want && at < m->n_silent; at++)
		all[n++] = m->silent[at];
	memset(m->n_hard, 0, sizeof(m->n_hard));
	m->silent = all;
	m->n_silent = n;
	return 0;
}

int tries_items(const char **why, char buf[128], score_task **out, engine_task *t, error *err)
{
	unsigned n = t->job->o->n_select;
	score_wanted want = { STORE_SELECT, EXPLAIN_DECILES, n, n, n / 2 };
	score_task *items = arena_alloc(&t->mem, 1, sizeof(*items));
	score_material m = { 0 };
	void *before = t->data;
	int rc = items ? score_gather(why, buf, &m, t, &want, err) : error_nomem(err, "windows");

	if (rc < 0 || *why)
		return rc;
	items->scorer = &scorer_detection;
	items->form_again = FORM_JUDGE_AGAIN;
	t->data = items;
	rc = mix_silent(&m, n, &t->mem, err);
	if (rc == 0)
		rc = items->scorer->make(why, buf, t, &m, err);
	if (rc == 0)
		rc = score_shuffle(t, err);
	t->data = before;
	*out = items;
	return rc;
}

/* ---- Judging ---------------------------------------------------------------------------------------------------------- */

static int copy_items(label_try *l, const score_task *items, arena *mem, error *err)
{
	score_task *mine = arena_alloc(mem, 1, sizeof(*mine));

	if (!mine)
		return error_nomem(err, "windows");
	*mine = *items;
	mine->hard = (double)NAN;
	mine->items = arena_alloc(mem, items->n + 1, sizeof(*mine->items));
	if (!mine->items)
		return error_nomem(err, "windows");
	memcpy(mine->items, items->items, items->n * sizeof(*mine->items));
	mine->label[SCORE_OWN] = l->label;
	l->judged = mine;
	return 0;
}

int tries_judge(label_try *l, const score_task *items, bool again, unsigned form, engine_task *t, error *err)
{
	unsigned form_before = t->form;
	void *before = t->data;
	int rc = l->judged ? 0 : copy_items(l, items, &t->mem, err);

	t->data = l->judged;
	t->form = form;
	if (rc == 0)
		rc = score_judge(t, SCORE_OWN, again, err);
	t->data = before;
	t->form = form_before;
	return rc;
}

int tries_take(engine_ask *ask, label_try *tries, size_t n, error *err)
{
	const score_batch *b = ask->data;
	engine_task *t = ask->task;
	void *before = t->data;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		score_task *judged = tries[i].judged;

		if (!judged || b->items[0] < judged->items || b->items[0] >= judged->items + judged->n)
			continue;
		t->data = judged;
		rc = score_take(ask, err);
		t->data = before;
		break;
	}
	return rc;
}

int tries_measure(label_try *l, engine_task *t, error *err)
{
	void *before = t->data;
	int rc;

	l->score = (store_score){ .scorer = STORE_CHOSEN_BY,
		                  .judge = t->job->method,
		                  .prompt_sha256 = t->job->form_sha256[0].prompt,
		                  .schema_sha256 = t->job->form_sha256[0].schema };
	t->data = l->judged;
	rc = score_measure_balanced(&l->score, t, 0.95, err);
	t->data = before;
	l->measured = true;
	return rc;
}

/* ---- Mistakes --------------------------------------------------------------------------------------------------------- */

int tries_mistakes(text *out, const store_window **w, size_t *n, size_t most, const label_try *l, bool missed,
                   error *err)
{
	const score_task *judged = l->judged;
	size_t before = out->len, found = 0;
	int rc = 0;

	for (size_t i = 0; i < judged->n && found < most && rc == 0; i++) {
		const score_item *it = &judged->items[i];
		const store_window *window = &it->shown->w;

		if (isnan(it->answer[SCORE_OWN]) || it->answer[SCORE_OWN] == it->truth ||
		    (it->truth > 0) != missed)
			continue;
		if (text_adds(out, out->len > before ? "\n- " : "- ") < 0)
			return error_set(err, ERR_LIMIT, "the prompt is too long");
		rc = prompt_add_windows_marks(out, window, err);
		w[(*n)++] = window;
		found++;
	}
	if (rc == 0 && found == 0 && text_adds(out, "(none)") < 0)
		return error_set(err, ERR_LIMIT, "the prompt is too long");
	return rc;
}
