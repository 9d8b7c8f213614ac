/* intervention: what a feature does to the text that the model writes, and whether the label says so. The model is steered by the
 * feature's decoder row, at the strength at which the next token's distribution moves by a set KL; it goes on with texts cut behind
 * the first token on which the feature fires; a language model says how much likelier the label is behind what came of that. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/intervention.h"
#include "explain/prompt.h"

enum { ITEMS_A_REQUEST = 16, PROMPTS_A_REQUEST = 8 };

enum { STAGE_SEARCH, STAGE_WRITE, STAGE_READ, STAGE_DONE };

/* What a request is about. */
typedef struct part {
	enum { PART_SEARCH, PART_RANDOM_KL, PART_TEXTS, PART_LABELS } what;
	int which;
	size_t from; /* of the prompts */
} part;

static double chance(const explain_opts *o)
{
	(void)o;
	return 0;
}

/* ---- Items: prompts ------------------------------------------------------------------------------------------------------ */

static int make(const char **why, char buf[128], engine_task *t, const score_material *m, error *err)
{
	const score_task *mine = t->data;
	int rc = score_items_new(t, m->n_chosen, err);

	for (size_t i = 0; i < m->n_chosen && rc == 0; i++) {
		score_item like = { .stratum = SCORE_FIRING,
			            .decile = m->all.decile[m->chosen[i]],
			            .truth = 1 };
		store_window w = m->all.w[m->chosen[i]];

		w.length = steer_cut(&w);
		if (w.length)
			rc = score_items_add(t, &like, &w, NULL, 1, err);
	}
	if (rc == 0 && mine->n < EXAMPLES_LEAST) {
		snprintf(buf, 128, "of %zu windows %zu have %d tokens before it fires, %d are needed",
		         m->n_chosen, mine->n, STEER_TOKENS_LEAST - 1, EXAMPLES_LEAST);
		*why = buf;
	}
	return rc;
}

static int make_prompts(intervention *v, engine_task *t, error *err)
{
	const score_task *mine = t->data;
	const store_window **w = arena_alloc(&t->mem, mine->n + 1, sizeof(*w));
	int rc = 0;

	v->prompt = arena_alloc(&t->mem, mine->n + 1, sizeof(*v->prompt));
	if (!w || !v->prompt)
		return error_nomem(err, "prompts");
	for (size_t i = 0; i < mine->n && rc == 0; i++) {
		w[i] = &mine->items[i].shown->w;
		rc = prompt_raw(&v->prompt[i], &t->mem, w[i], err);
	}
	return rc < 0 ? rc : engine_example_ids(t, &v->ids, w, mine->n, err);
}

/* ---- Directions ------------------------------------------------------------------------------------------------------------ */

/* From the normal distribution in each coordinate, and as long as the feature's. */
static void make_random(float *out, uint32_t width, double norm, uint64_t key)
{
	double squares = 0, u, w;

	for (uint32_t i = 0; i < width; i++) {
		u = hash64_unit(hash64_mix(key, 2 * (uint64_t)i));
		w = hash64_unit(hash64_mix(key, 2 * (uint64_t)i + 1));
		out[i] = (float)(sqrt(-2 * log(u > 0 ? u : 1e-300)) * cos(6.283185307179586 * w));
		squares += (double)out[i] * out[i];
	}
	for (uint32_t i = 0; i < width; i++)
		out[i] = (float)(out[i] * norm / sqrt(squares));
}

static int make_directions(intervention *v, engine_task *t, error *err)
{
	subject_steer own = { 0 };
	float *other;
	double squares = 0;
	int rc = steer_direction(&own, t, err);

	other = rc == 0 ? arena_alloc(&t->mem, own.width + 1, sizeof(*other)) : NULL;
	if (rc == 0 && !other)
		rc = error_nomem(err, "directions");
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < own.width; i++)
		squares += (double)own.vector[i] * own.vector[i];
	v->layer = own.layer;
	v->width = own.width;
	v->norm = sqrt(squares);
	make_random(other, v->width, v->norm, hash64_mix(hash64_mix(t->job->o->seed, t->row.feature), 11));
	steer_search_init(&v->by[STEER_FEATURE], own.vector);
	steer_search_init(&v->by[STEER_RANDOM], other);
	return 0;
}

static int begin(engine_task *t, error *err)
{
	score_task *mine = t->data;
	intervention *v = arena_alloc(&t->mem, 1, sizeof(*v));
	int rc;

	if (!v)
		return error_nomem(err, "an intervention");
	mine->own = v;
	v->kl_random = (double)NAN;
	for (size_t i = 0; i < mine->n; i++)
		v->max_act = fmax(v->max_act, mine->items[i].shown->w.activation);
	rc = make_prompts(v, t, err);
	return rc < 0 ? rc : make_directions(v, t, err);
}

/* ---- The strength ------------------------------------------------------------------------------------------------------------ */

static part *new_part(engine_task *t, int what, int which, error *err)
{
	part *p = arena_alloc(&t->mem, 1, sizeof(*p));

	if (!p)
		error_nomem(err, "a request");
	else
		*p = (part){ what, which, 0 };
	return p;
}

static subject_steer steering(const intervention *v, steer_by by, double scale)
{
	return (subject_steer){ v->layer, v->by[by].vector, v->width, scale };
}

static int ask_kl(engine_task *t, int what, steer_by by, double scale, error *err)
{
	const score_task *mine = t->data;
	const intervention *v = mine->own;
	subject_steer s = steering(v, by, scale);
	part *p = new_part(t, what, (int)by, err);

	return p ? subject_ask_kl(t, v->prompt, mine->n, &s, v->ids, p, err) : ERR_NOMEM;
}

static int ask_search(engine_task *t, steer_by by, error *err)
{
	const score_task *mine = t->data;
	steer_search *s = &((intervention *)mine->own)->by[by];

	return s->over ? 0 : ask_kl(t, PART_SEARCH, by, steer_search_next(s), err);
}

/* ---- Texts ------------------------------------------------------------------------------------------------------------------- */

static int ask_texts(engine_task *t, steer_text which, error *err)
{
	const score_task *mine = t->data;
	intervention *v = mine->own;
	const steer_search *own = &v->by[STEER_FEATURE], *random = &v->by[STEER_RANDOM];
	uint64_t seed = hash64_mix(hash64_mix(t->job->o->seed, t->row.feature), which == TEXT_ZERO ? 13 : 12);
	subject_steer s = which == TEXT_STEERED     ? steering(v, STEER_FEATURE, own->best)
	                  : which == TEXT_RANDOM_KL ? steering(v, STEER_RANDOM, random->best)
	                                            : steering(v, STEER_RANDOM, own->best);
	size_t n;
	part *p;
	int rc = 0;

	v->text[which] = arena_alloc(&t->mem, mine->n + 1, sizeof(*v->text[which]));
	if (!v->text[which])
		return error_nomem(err, "texts");
	/* few in a request, which servers of one machine answer one by one */
	for (size_t from = 0; from < mine->n && rc == 0; from += n) {
		n = mine->n - from < PROMPTS_A_REQUEST ? mine->n - from : PROMPTS_A_REQUEST;
		p = new_part(t, PART_TEXTS, (int)which, err);
		if (!p)
			return ERR_NOMEM;
		p->from = from;
		rc = subject_ask_texts(t, v->prompt + from, n, which <= TEXT_ZERO ? NULL : &s,
		                       t->job->o->steer_tokens, (seed >> 12) + from, v->ids, p, err);
	}
	return rc;
}

static int write_texts(engine_task *t, error *err)
{
	const score_task *mine = t->data;
	const intervention *v = mine->own;
	int rc = ask_kl(t, PART_RANDOM_KL, STEER_RANDOM, v->by[STEER_FEATURE].best, err);

	for (int k = 0; k < STEER_TEXTS && rc == 0; k++)
		rc = ask_texts(t, (steer_text)k, err);
	return rc;
}

/* ---- Labels ------------------------------------------------------------------------------------------------------------------ */

unsigned intervention_labels(const score_task *mine, steer_text which)
{
	bool both = which == TEXT_CLEAN || which == TEXT_STEERED;

	return both && mine->label[SCORE_OTHER].text ? 2 : 1;
}

/* The passage in its frame, up to where the label stands. */
static int frame(const char **out, engine_task *t, const char *prompt, const char *more, error *err)
{
	text above, below, line, raw;
	int rc;

	text_init(&above, PROMPT_MAX);
	text_init(&below, PROMPT_MAX);
	text_init(&line, PROMPT_MAX);
	text_init(&raw, PROMPT_MAX);
	rc = text_adds(&raw, prompt) < 0 || text_adds(&raw, more) < 0 ? error_nomem(err, "a passage") : 0;
	if (rc == 0)
		rc = prompt_add_line(&line, raw.data ? raw.data : "", err);
	if (rc == 0) {
		prompt_field field = { "passage", line.data ? line.data : "" };

		rc = prompt_fill(&above, &below, t->job->prompt, &field, 1, err);
	}
	if (rc == 0 && (text_adds(&above, "\n\n") < 0 || text_adds(&above, below.data) < 0))
		rc = error_set(err, ERR_LIMIT, "the prompt is too long");
	if (rc == 0 && !(*out = arena_strdup(&t->mem, above.data)))
		rc = error_nomem(err, "a prompt");
	text_free(&above);
	text_free(&below);
	text_free(&line);
	text_free(&raw);
	return rc;
}

/* " label" on one line: as it stands behind a colon. */
static int label_text(const char **out, engine_task *t, const char *label, error *err)
{
	text line;
	int rc;

	text_init(&line, PROMPT_MAX);
	rc = text_adds(&line, " ") < 0 ? error_nomem(err, "a label") : prompt_add_line(&line, label, err);
	if (rc == 0 && !(*out = arena_strdup(&t->mem, line.data)))
		rc = error_nomem(err, "a label");
	text_free(&line);
	return rc;
}

static int make_labels(engine_task *t, steer_text which, error *err)
{
	const score_task *mine = t->data;
	intervention *v = mine->own;
	unsigned labels = intervention_labels(mine, which);
	subject_item *items = arena_alloc(&t->mem, labels * mine->n + 1, sizeof(*items));
	int rc = items ? 0 : error_nomem(err, "labels");

	for (size_t i = 0; i < labels * mine->n && rc == 0; i++) {
		const char *said = t->job->o->dry_run ? "" : v->text[which][i % mine->n];

		items[i].logprob = (double)NAN;
		rc = frame(&items[i].prefix, t, v->prompt[i % mine->n], said, err);
		if (rc == 0)
			rc = label_text(&items[i].text, t,
			                mine->label[i < mine->n ? SCORE_OWN : SCORE_OTHER].text, err);
	}
	v->label[which] = items;
	return rc;
}

/* A run of items without a value yet, a request at a time. */
static int ask_labels(engine_task *t, steer_text which, unsigned sample, error *err)
{
	score_task *mine = t->data;
	intervention *v = mine->own;
	size_t n = intervention_labels(mine, which) * mine->n, to;
	part *p = new_part(t, PART_LABELS, (int)which, err);
	int rc = p ? 0 : ERR_NOMEM;

	for (size_t from = 0; from < n && rc == 0; from = to) {
		for (to = from; to < n && to - from < ITEMS_A_REQUEST && isnan(v->label[which][to].logprob);)
			to++;
		mine->n_again += sample ? (uint32_t)(to - from) : 0;
		if (to > from)
			rc = subject_ask_logprobs(t, &v->label[which][from], to - from, v->ids, sample, p,
			                          err);
		else
			to++;
	}
	return rc;
}

static int read_labels(engine_task *t, error *err)
{
	int rc = 0;

	for (int k = 0; k < STEER_TEXTS && rc == 0; k++) {
		rc = make_labels(t, (steer_text)k, err);
		if (rc == 0)
			rc = ask_labels(t, (steer_text)k, 0, err);
	}
	return rc;
}

/* ---- In turn --------------------------------------------------------------------------------------------------------------- */

static int take(engine_ask *ask, error *err)
{
	const subject_question *q = ask->data;
	score_task *mine = ask->task->data;
	const part *p = q->data;
	intervention *v = mine->own;
	double kl;

	(void)err;
	if (p->what == PART_LABELS) {
		subject_take_logprobs(ask);
		return 0;
	}
	if (p->what == PART_TEXTS) {
		subject_take_texts(v->text[p->which] + p->from, ask);
	} else {
		kl = subject_take_kl(ask);
		if (p->what == PART_RANDOM_KL)
			v->kl_random = kl;
		else if (!isnan(kl))
			steer_search_take(&v->by[p->which], kl, ask->task->job->o->steer_kl);
	}
	if (ask->err.code)
		v->failed = ask;
	return 0;
}

/* All that may be asked. */
static int dry_run(engine_task *t, error *err)
{
	const score_task *mine = t->data;
	intervention *v = mine->own;
	int rc = 0;

	for (unsigned i = 0; i < STEER_STEPS && rc == 0; i++) {
		rc = ask_search(t, STEER_FEATURE, err);
		if (rc == 0)
			rc = ask_search(t, STEER_RANDOM, err);
	}
	v->by[STEER_FEATURE].best = v->by[STEER_RANDOM].best = 1;
	if (rc == 0)
		rc = write_texts(t, err);
	return rc < 0 ? rc : read_labels(t, err);
}

static int step(engine_task *t, error *err)
{
	score_task *mine = t->data;
	intervention *v;
	int rc = mine->own ? 0 : begin(t, err);

	v = mine->own;
	if (rc < 0)
		return rc;
	if (t->job->o->dry_run)
		return dry_run(t, err);
	if (v->failed)
		return engine_settle(t, STORE_TASK_FAILED, v->failed->err.msg, err);
	if (v->stage == STAGE_SEARCH && !(v->by[STEER_FEATURE].over && v->by[STEER_RANDOM].over)) {
		rc = ask_search(t, STEER_FEATURE, err);
		return rc < 0 ? rc : ask_search(t, STEER_RANDOM, err);
	}
	switch (v->stage++) {
	case STAGE_SEARCH:
		return write_texts(t, err);
	case STAGE_WRITE:
		return read_labels(t, err);
	case STAGE_READ: /* once more about what has no answer */
		for (int k = 0; k < STEER_TEXTS && rc == 0; k++)
			rc = ask_labels(t, (steer_text)k, 1, err);
		return rc;
	default:
		return 0;
	}
}

const scorer scorer_intervention = {
	.name = "intervention",
	.measure = "log-probability of the label gained by steering, nats",
	.labelled = true,
	.subject = true,
	.steers = true,
	.chance = chance,
	.make = make,
	.step = step,
	.take = take,
	.measure_up = intervention_measure,
};
