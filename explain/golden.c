/* golden: the windows that a scorer would show a judge, for a person. */
#include "explain/golden.h"

#include <stdlib.h>
#include <string.h>

#include "explain/judged.h"
#include "explain/prompt.h"

typedef struct question {
	engine_task *task;
	score_item *item;
	size_t feature_at, at, n;
	const char *text, *windows;
	bool answered;
} question;

struct explain_golden {
	engine job;
	explain_opts o;
	const scorer *scorer;
	unsigned n;
	store_task *tasks;
	size_t n_tasks, next; /* next: the first whose windows are not read yet */
	engine_task *loaded;
	question *questions;
	size_t n_questions, n_answered, room;
	store_golden *known; /* what the store has answers to */
	size_t n_known;
	arena mem;
};

void explain_golden_close(explain_golden *g)
{
	if (!g)
		return;
	while (g->loaded) {
		engine_task *t = g->loaded;

		g->loaded = t->next;
		arena_clear(&t->mem);
		free(t);
	}
	engine_free_tasks(g->tasks, g->n_tasks);
	free(g->questions);
	free(g->known);
	arena_clear(&g->mem);
	free(g);
}

static int choose(explain_golden *g, const engine_kind *k, error *err)
{
	uint32_t *features = NULL;
	size_t n = 0;
	store_source source = { 0 };
	int rc = store_source_get(&source, g->job.s, g->o.source, err);

	if (rc == 0)
		rc = engine_choose(&features, &n, g->job.s, &source, k, &g->o, err);
	if (rc == 0 && !(g->tasks = calloc(n + 1, sizeof(*g->tasks))))
		rc = error_nomem(err, "features");
	if (rc == 0)
		rc = k->choose(g->tasks, &g->n_tasks, g->job.s, &source, &g->o, features, n, err);
	free(features);
	if (rc == 0)
		rc = store_golden_list(&g->known, &g->n_known, g->job.s, source.id, &g->mem, err);
	g->job.source = source.id;
	return rc;
}

int explain_golden_open(explain_golden **out, store *s, const explain_opts *o, unsigned n, error *err)
{
	const engine_kind *k = score_kind(o->scorer, false);
	explain_golden *g;
	int rc;

	if (!k || (k->scorer != &scorer_detection && k->scorer != &scorer_fuzz))
		return error_set(err, ERR_ARG,
		                 "a person judges windows of detection or of fuzz, not of '%.40s'",
		                 o->scorer);
	if (n == 0)
		return error_set(err, ERR_ARG, "no windows are asked for");
	g = calloc(1, sizeof(*g));
	if (!g)
		return error_nomem(err, "questions");
	g->o = *o;
	g->o.only_new = false;
	g->o.embed_model = NULL;
	g->scorer = k->scorer;
	g->n = n;
	g->mem = (arena)ARENA_INIT;
	g->job = (engine){ .kind = k, .o = &g->o, .s = s, .method = "person" };
	rc = choose(g, k, err);
	if (rc < 0) {
		explain_golden_close(g);
		return rc;
	}
	g->job.list = g->tasks;
	g->job.n_list = g->n_tasks;
	*out = g;
	return 0;
}

/* ---- Reading a feature's windows --------------------------------------------------------------------------------------- */

static bool is_known(const explain_golden *g, int64_t label, uint32_t key)
{
	for (size_t i = 0; i < g->n_known; i++)
		if (g->known[i].explanation_id == label && g->known[i].key == key &&
		    strcmp(g->known[i].scorer, g->scorer->name) == 0)
			return true;
	return false;
}

static int make_items(const char **why, char buf[128], engine_task *t, error *err)
{
	const explain_opts *o = t->job->o;
	score_wanted want = { STORE_REPORT, o->choice == EXPLAIN_BY_KIND ? EXPLAIN_DECILES : o->choice,
		              o->n_positive, o->n_negative, o->n_hard };
	score_task *mine = arena_alloc(&t->mem, 1, sizeof(*mine));
	score_material m = { 0 };
	int rc;

	if (!mine)
		return error_nomem(err, "questions");
	t->data = mine;
	mine->scorer = t->job->kind->scorer;
	rc = store_explanation_get(&mine->label[SCORE_OWN], t->job->s, t->row.explanation_id, &t->mem, err);
	if (rc == 0)
		rc = score_gather(why, buf, &m, t, &want, err);
	if (rc == 0 && !*why)
		rc = mine->scorer->make(why, buf, t, &m, err);
	return rc < 0 || *why ? rc : score_shuffle(t, err);
}

static int add_question(explain_golden *g, engine_task *t, score_item *it, size_t at, error *err)
{
	const store_window *w[] = { &it->shown->w };
	question q = { .task = t, .item = it, .feature_at = g->next, .at = at };
	text shown;
	int rc;

	text_init(&shown, PROMPT_MAX);
	rc = g->scorer->show(&shown, it, 1, err); /* "[1] " and the window */
	if (rc == 0 && !(q.text = arena_strdup(&t->mem, shown.data + strlen("[1] "))))
		rc = error_nomem(err, "questions");
	text_free(&shown);
	if (rc == 0)
		rc = engine_example_ids(t, &q.windows, w, 1, err);
	if (rc == 0 && mem_grow(&g->questions, &g->room, g->n_questions + 1, sizeof(*g->questions)) < 0)
		rc = error_nomem(err, "questions");
	if (rc == 0)
		g->questions[g->n_questions++] = q;
	return rc;
}

/* The next feature, by an order that the seed makes; one that cannot be scored adds no questions. */
static int load(explain_golden *g, error *err)
{
	size_t from = g->n_questions, asked = 0;
	engine_task *t = calloc(1, sizeof(*t));
	const char *why = NULL;
	const score_task *mine;
	char buf[128];
	int rc;

	if (!t)
		return error_nomem(err, "questions");
	t->next = g->loaded;
	g->loaded = t;
	t->mem = (arena)ARENA_INIT;
	t->job = &g->job;
	t->row = g->tasks[hash64_permute(g->next, g->n_tasks, hash64_mix(g->o.seed, 7))];
	rc = make_items(&why, buf, t, err);
	mine = t->data;
	for (size_t i = 0; rc == 0 && !why && i < mine->n && i < g->n; i++)
		if (!is_known(g, t->row.explanation_id, judged_key(&mine->items[i])))
			rc = add_question(g, t, &mine->items[i], asked++, err);
	for (size_t i = from; i < g->n_questions; i++)
		g->questions[i].n = asked;
	g->next++;
	return rc;
}

int explain_golden_get(explain_golden_question *out, bool *more, explain_golden *g, size_t i, error *err)
{
	const question *q;
	int rc = 0;

	while (i >= g->n_questions && g->next < g->n_tasks && rc == 0)
		rc = load(g, err);
	*more = rc == 0 && i < g->n_questions;
	if (!*more)
		return rc;
	q = &g->questions[i];
	*out = (explain_golden_question){
		.feature = q->task->row.feature,
		.feature_at = q->feature_at,
		.n_features = g->n_tasks,
		.at = q->at,
		.n = q->n,
		.label = ((const score_task *)q->task->data)->label[SCORE_OWN].text,
		.text = q->text,
	};
	return 0;
}

int explain_golden_answer(explain_golden *g, size_t i, bool fits, error *err)
{
	question *q = &g->questions[i];
	store_golden row = { .explanation_id = q->task->row.explanation_id,
		             .key = judged_key(q->item),
		             .scorer = g->scorer->name,
		             .kind = score_stratum_names[q->item->stratum],
		             .windows = q->windows,
		             .answer = fits };
	int rc = store_golden_put(g->job.s, &row, err);

	if (rc == 0 && !q->answered) {
		q->answered = true;
		g->n_answered++;
	}
	return rc;
}

size_t explain_golden_answered(const explain_golden *g)
{
	return g->n_answered;
}
