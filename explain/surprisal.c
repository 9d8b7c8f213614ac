/* surprisal: how much less a text surprises a language model once the label is before it: its loss a token behind a neutral
 * sentence, less that behind one with the label. Firing windows should gain more than silent ones. */
#include <math.h>
#include <string.h>

#include "explain/prompt.h"
#include "explain/scorer.h"
#include "explain/subject.h"

/* Of one item: NaN where not known yet. */
typedef struct losses {
	double neutral, of[SCORE_LABELS]; /* nats a token */
	uint32_t n_neutral, n_of[SCORE_LABELS];
	unsigned asked; /* times that the neutral one was asked about */
} losses;

/* What a request is about. */
typedef struct part {
	score_batch *batch;
	bool neutral;
	score_item **items; /* (of the request's) in the order of its items */
	subject_item *first;
} part;

static losses *losses_of(const score_task *mine, const score_item *it)
{
	return (losses *)mine->own + (it - mine->items);
}

static int begin(engine_task *t, error *err)
{
	score_task *mine = t->data;
	losses *l;

	if (mine->own)
		return 0;
	mine->own = l = arena_alloc(&t->mem, mine->n + 1, sizeof(*l));
	if (!l)
		return error_nomem(err, "losses");
	for (size_t i = 0; i < mine->n; i++) {
		l[i].neutral = (double)NAN;
		for (int k = 0; k < SCORE_LABELS; k++)
			l[i].of[k] = (double)NAN;
	}
	return 0;
}

/* What stands before a window: the neutral sentence, or the one with the label. */
static int prefix_of(const char **out, engine_task *t, const char *label, bool is_neutral, error *err)
{
	text neutral, labelled, line;
	text *mine = is_neutral ? &neutral : &labelled;
	int rc;

	text_init(&neutral, PROMPT_MAX);
	text_init(&labelled, PROMPT_MAX);
	text_init(&line, PROMPT_MAX);
	rc = prompt_add_line(&line, label, err);
	if (rc == 0) {
		prompt_field field = { "label", line.data ? line.data : "" };

		rc = prompt_fill(&neutral, &labelled, t->job->prompt, &field, 1, err);
	}
	if (rc == 0 && text_adds(mine, "\n") < 0)
		rc = error_set(err, ERR_LIMIT, "the prompt is too long");
	if (rc == 0 && !(*out = arena_strdup(&t->mem, mine->data)))
		rc = error_nomem(err, "a prompt");
	text_free(&neutral);
	text_free(&labelled);
	text_free(&line);
	return rc;
}

/* Of the batch those whose loss behind this sentence is not known, and of the neutral one has not been asked about. */
static int ask_part(engine_task *t, score_batch *b, bool neutral, unsigned sample, error *err)
{
	const score_task *mine = t->data;
	const char *label = mine->label[b->whose].text, *prefix = NULL, *ids = NULL;
	part *p = arena_alloc(&t->mem, 1, sizeof(*p));
	size_t n = 0;
	int rc;

	if (!p || !(p->items = arena_alloc(&t->mem, b->n + 1, sizeof(*p->items))) ||
	    !(p->first = arena_alloc(&t->mem, b->n + 1, sizeof(*p->first))))
		return error_nomem(err, "a request");
	p->batch = b;
	p->neutral = neutral;
	rc = prefix_of(&prefix, t, label ? label : "", neutral, err);
	if (rc == 0)
		rc = score_batch_ids(t, &ids, b, err);
	for (size_t i = 0; i < b->n && rc == 0; i++) {
		losses *l = losses_of(mine, b->items[i]);

		if (neutral ? !isnan(l->neutral) || l->asked > sample : !isnan(l->of[b->whose]))
			continue;
		l->asked = neutral ? sample + 1 : l->asked;
		p->items[n] = b->items[i];
		p->first[n].prefix = prefix;
		p->first[n].logprob = (double)NAN;
		rc = prompt_raw(&p->first[n].text, &t->mem, &b->items[i]->shown->w, err);
		n++;
	}
	return rc < 0 ? rc : subject_ask_logprobs(t, p->first, n, ids, sample, p, err);
}

static int ask(engine_task *t, score_batch *b, unsigned sample, error *err)
{
	int rc = begin(t, err);

	if (rc == 0)
		rc = ask_part(t, b, true, sample, err);
	return rc < 0 ? rc : ask_part(t, b, false, sample, err);
}

/* What the label gains, where both losses are of the same tokens. */
static void conclude(const losses *l, score_item *it)
{
	for (int k = 0; k < SCORE_LABELS; k++)
		if (isnan(it->answer[k]) && l->n_of[k] == l->n_neutral)
			it->answer[k] = l->neutral - l->of[k];
}

static int take(engine_ask *ask, error *err)
{
	const subject_question *q = ask->data;
	const score_task *mine = ask->task->data;
	part *p = q->data;

	(void)err;
	subject_take_logprobs(ask);
	for (size_t i = 0; i < q->n; i++) {
		const subject_item *said = &q->items[i];
		score_item *it = p->items[said - p->first];
		losses *l = losses_of(mine, it);

		if (isnan(said->logprob))
			continue;
		*(p->neutral ? &l->neutral : &l->of[p->batch->whose]) = -said->logprob / said->n_tokens;
		*(p->neutral ? &l->n_neutral : &l->n_of[p->batch->whose]) = said->n_tokens;
		conclude(l, it);
	}
	return 0;
}

const scorer scorer_surprisal = {
	.name = "surprisal",
	.measure = "area under the ROC curve",
	.labelled = true,
	.subject = true,
	.chance = score_chance_half,
	.make = score_make_windows,
	.ask = ask,
	.take = take,
	.measure_up = score_measure_area,
};
