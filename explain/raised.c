/* raised: see raised.h. */
#include "explain/raised.h"

#include "explain/prompt.h"
#include "explain/subject.h"

#include <string.h>

enum { TOP = 5 /* tokens of a text */ };
static const double least = 0.0005; /* a smaller rise would be shown as none */

struct raised {
	subject_steer by;
	const store_window **w; /* (n) */
	const char **prompt;    /* (n) */
	size_t n;
	const char *ids;
	steer_search search;
	enum { AT_STRENGTH, AT_TOKENS, AT_END } stage;
	subject_raised *said; /* (n) */
};

/* ---- Texts ------------------------------------------------------------------------------------------------------------- */

static int add_prompt(raised *r, engine_task *t, const store_window *whole, uint32_t length, error *err)
{
	store_window *w = arena_alloc(&t->mem, 1, sizeof(*w));

	if (!w)
		return error_nomem(err, "windows");
	*w = *whole;
	w->length = length;
	r->w[r->n] = w;
	return prompt_raw(&r->prompt[r->n++], &t->mem, w, err);
}

/* Those in which enough tokens are before the first that it fires on. */
static void keep_usable(example_set *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n; i++) {
		if (!steer_cut(&e->w[i]))
			continue;
		e->w[n] = e->w[i];
		e->decile[n++] = e->decile[i];
	}
	e->n = n;
}

static int choose_prompts(raised *r, engine_task *t, error *err)
{
	const explain_opts *o = t->job->o;
	example_set e;
	store_window *silent = NULL;
	size_t *index = NULL, n = 0;
	int rc = examples_read(&e, t, STORE_LABEL, err);

	if (rc < 0)
		return rc;
	keep_usable(&e);
	rc = examples_choose(&index, &n, &e, EXPLAIN_DECILES, o->n_prompts,
	                     hash64_mix(o->seed + 5, t->row.feature), &t->mem, err);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_prompt(r, t, &e.w[index[i]], steer_cut(&e.w[index[i]]), err);
	if (rc < 0 || r->n >= EXAMPLES_LEAST)
		return rc;
	rc = examples_silent(&silent, &n, t, STORE_LABEL, EXAMPLES_LEAST - r->n, err);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_prompt(r, t, &silent[i], silent[i].length, err);
	return rc;
}

int raised_new(raised **out, const char **why, engine_task *t, error *err)
{
	raised *r = arena_alloc(&t->mem, 1, sizeof(*r));
	size_t most = t->job->o->n_prompts + EXAMPLES_LEAST;
	int rc;

	if (!r)
		return error_nomem(err, "texts");
	r->w = arena_alloc(&t->mem, most, sizeof(*r->w));
	r->prompt = arena_alloc(&t->mem, most, sizeof(*r->prompt));
	r->said = arena_alloc(&t->mem, most, sizeof(*r->said));
	if (!r->w || !r->prompt || !r->said)
		return error_nomem(err, "texts");
	rc = steer_direction(&r->by, t, err);
	if (rc == 0)
		rc = choose_prompts(r, t, err);
	if (rc == 0)
		rc = engine_example_ids(t, &r->ids, r->w, r->n, err);
	if (rc < 0)
		return rc;
	if (r->n == 0)
		*why = "no texts in the label documents to steer the model on";
	steer_search_init(&r->search, r->by.vector);
	*out = r;
	return 0;
}

/* ---- Asking -------------------------------------------------------------------------------------------------------------- */

static int ask_strength(raised *r, engine_task *t, error *err)
{
	subject_steer by = r->by;

	by.scale = steer_search_next(&r->search);
	return subject_ask_kl(t, r->prompt, r->n, &by, r->ids, NULL, err);
}

static int ask_tokens(raised *r, engine_task *t, error *err)
{
	subject_steer by = r->by;

	by.scale = t->job->o->dry_run ? 1 : r->search.best;
	return subject_ask_raised(t, r->prompt, r->n, &by, TOP, r->ids, NULL, err);
}

/* In a dry run: all that may be asked, and a reply of usual length, for the question that shows it. */
static int foretell(raised *r, engine_task *t, error *err)
{
	static const subject_token word[TOP] = { { " a word", 0, 1 },
		                                 { " a word", 0, 1 },
		                                 { " a word", 0, 1 },
		                                 { " a word", 0, 1 },
		                                 { " a word", 0, 1 } };
	int rc = 0;

	for (unsigned i = 0; i < STEER_STEPS && rc == 0; i++)
		rc = ask_strength(r, t, err);
	for (size_t i = 0; i < r->n; i++)
		r->said[i] = (subject_raised){ word, TOP };
	return rc < 0 ? rc : ask_tokens(r, t, err);
}

int raised_step(bool *over, raised *r, engine_task *t, error *err)
{
	if (t->job->o->dry_run) {
		*over = true;
		return foretell(r, t, err);
	}
	if (r->stage == AT_STRENGTH && !r->search.over)
		return ask_strength(r, t, err);
	*over = r->stage == AT_TOKENS;
	r->stage++;
	return *over ? 0 : ask_tokens(r, t, err);
}

void raised_take(raised *r, engine_ask *ask)
{
	double kl;

	if (r->stage == AT_TOKENS) {
		subject_take_raised(r->said, ask);
		return;
	}
	kl = subject_take_kl(ask);
	if (!ask->err.code)
		steer_search_take(&r->search, kl, ask->task->job->o->steer_kl);
}

/* ---- What came of it ------------------------------------------------------------------------------------------------------- */

static int add_token(text *out, const subject_token *x, bool first)
{
	text one;
	int rc;

	text_init(&one, PROMPT_MAX);
	rc = text_add_visible(&one, x->text, strlen(x->text));
	if (rc == 0)
		rc = text_adds(out, first ? " " : ", ");
	if (rc == 0)
		rc = text_add_json(out, one.data ? one.data : "", one.len);
	if (rc == 0)
		rc = text_addf(out, " %.3f to %.3f", x->before, x->after);
	text_free(&one);
	return rc;
}

static int add_text(text *out, const raised *r, size_t i, error *err)
{
	bool first = true;
	int rc;

	if (text_addf(out, "\nText %zu: ", i + 1) < 0)
		return error_set(err, ERR_LIMIT, "the prompt is too long");
	rc = prompt_add_plain(out, r->w[i], err);
	if (rc < 0)
		return rc;
	rc = text_adds(out, "\nlikelier:");
	for (size_t k = 0; k < r->said[i].n && rc == 0; k++) {
		const subject_token *x = &r->said[i].token[k];

		if (x->after - x->before < least)
			continue;
		rc = add_token(out, x, first);
		first = false;
	}
	if (rc == 0 && first)
		rc = text_adds(out, " (none)");
	return rc < 0 ? error_set(err, ERR_LIMIT, "the prompt is too long") : 0;
}

int raised_add(text *out, const raised *r, error *err)
{
	int rc = text_adds(out, "Turned up while the model reads:");

	if (rc < 0)
		return error_set(err, ERR_LIMIT, "the prompt is too long");
	for (size_t i = 0; i < r->n && rc == 0; i++)
		rc = add_text(out, r, i, err);
	return rc;
}

const store_window **raised_windows(const raised *r, size_t *n)
{
	*n = r->n;
	return r->w;
}

bool raised_report(cJSON *about, const raised *r)
{
	const steer_search *s = &r->search;
	cJSON *to = cJSON_AddObjectToObject(about, "steering");

	return to && cJSON_AddNumberToObject(to, "texts", (double)r->n) &&
	       cJSON_AddNumberToObject(to, "layer", (double)r->by.layer) &&
	       (!s->steps ||
	        (cJSON_AddNumberToObject(to, "strength", s->best) &&
	         cJSON_AddNumberToObject(to, "kl", s->kl) && cJSON_AddBoolToObject(to, "kl_met", s->met)));
}
