/* shown: what the explainers show to a model. marked: texts with marks and strengths; table: every token with its strength;
 * contrastive: texts with marks, and some in which the feature is silent; output: what the feature makes the model say. */
#include <math.h>
#include <string.h>

#include "explain/explainer.h"
#include "explain/prompt.h"

static const double sparse = 0.2; /* table: with fewer tokens above 0, a list without the zeros follows */

static int too_long(error *err)
{
	return error_set(err, ERR_LIMIT, "the prompt is over %d bytes", PROMPT_MAX);
}

/* Of the windows in which it fires `want`; room for `more` behind them. */
static int choose(engine_task *t, explain_view *v, size_t want, size_t more, error *err)
{
	const explain_opts *o = t->job->o;
	explain_choice how = o->choice == EXPLAIN_BY_KIND ? EXPLAIN_MIX : o->choice;
	size_t *index, n;
	int rc = examples_choose(&index, &n, &v->all, how, want, hash64_mix(o->seed + 4, t->row.feature),
	                         &t->mem, err);

	if (rc < 0)
		return rc;
	v->shown = arena_alloc(&t->mem, n + more + 1, sizeof(*v->shown));
	if (!v->shown)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < n; i++)
		v->shown[i] = &v->all.w[index[i]];
	v->n_shown = n;
	return 0;
}

/* ---- marked ---------------------------------------------------------------------------------------------------------- */

static bool peaked_before(const explain_view *v, size_t i)
{
	const char *peak = v->shown[i]->text[v->shown[i]->peak];

	for (size_t k = 0; k < i; k++)
		if (strcmp(v->shown[k]->text[v->shown[k]->peak], peak) == 0)
			return true;
	return false;
}

/* Samples, and once more what each is about, each token once: small models lose sight of it. */
static int add_samples(text *out, const explain_view *v, size_t n, error *err)
{
	const char *between = "\n\nPeaks: ";
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		if (text_addf(out, "%sSample %zu: ", i ? "\n" : "", i + 1) < 0)
			return too_long(err);
		rc = prompt_add_marked(out, v->shown[i], v->all.strongest, err);
	}
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (peaked_before(v, i))
			continue;
		if (text_adds(out, between) < 0)
			return too_long(err);
		rc = prompt_add_token(out, v->shown[i], v->shown[i]->peak, err);
		between = ", ";
	}
	return rc;
}

static int show_marked(const char **why, text *out, engine_task *t, explain_view *v, error *err)
{
	int rc = choose(t, v, t->job->o->n_examples, 0, err);

	(void)why;
	return rc < 0 ? rc : add_samples(out, v, v->n_shown, err);
}

const explainer explainer_marked = { .name = "marked",
	                             .about = "texts with marked tokens and their strengths",
	                             .windows = true,
	                             .show = show_marked };

/* ---- table ----------------------------------------------------------------------------------------------------------- */

static int strength(const store_window *w, uint32_t i, float strongest)
{
	double x = w->value[i] > 0 ? floor(10.0 * (double)w->value[i] / (double)strongest) : 0;

	return x > 10 ? 10 : (int)x;
}

static int add_rows(text *out, const store_window *w, float strongest, bool zeros, error *err)
{
	int rc = 0, value;

	for (uint32_t i = 0; i < w->length && rc == 0; i++) {
		value = strength(w, i, strongest);
		if (!zeros && value == 0)
			continue;
		rc = text_add_visible(out, w->text[i], strlen(w->text[i]));
		if (rc == 0)
			rc = text_addf(out, "\t%d\n", value);
	}
	return rc < 0 ? too_long(err) : 0;
}

static int add_tables(text *out, const explain_view *v, bool zeros, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < v->n_shown && rc == 0; i++) {
		if (text_addf(out, "Sample %zu:\n", i + 1) < 0)
			return too_long(err);
		rc = add_rows(out, v->shown[i], v->all.strongest, zeros, err);
	}
	return rc;
}

/* Of all their tokens, how many are above 0 as shown. */
static double share_above(const explain_view *v)
{
	size_t n = 0, above = 0;

	for (size_t i = 0; i < v->n_shown; i++)
		for (uint32_t k = 0; k < v->shown[i]->length; k++, n++)
			above += strength(v->shown[i], k, v->all.strongest) > 0;
	return n ? (double)above / (double)n : 0;
}

static int show_table(const char **why, text *out, engine_task *t, explain_view *v, error *err)
{
	int rc = choose(t, v, t->job->o->n_examples, 0, err);

	(void)why;
	if (rc == 0)
		rc = add_tables(out, v, true, err);
	if (rc < 0 || share_above(v) >= sparse)
		return rc;
	if (text_adds(out, "\nThe same without the zeros:\n") < 0)
		return too_long(err);
	return add_tables(out, v, false, err);
}

const explainer explainer_table = { .name = "table",
	                            .about = "every token of the texts with its strength, a line each",
	                            .windows = true,
	                            .show = show_table };

/* ---- contrastive ----------------------------------------------------------------------------------------------------- */

static bool shown_before(const explain_view *v, const store_window *w)
{
	for (size_t i = 0; i < v->n_shown; i++) {
		const store_window *x = v->shown[i];

		if (x->context == w->context && x->first < w->first + w->length &&
		    w->first < x->first + x->length)
			return true;
		if (x->length == w->length && memcmp(x->token, w->token, w->length * sizeof(*w->token)) == 0)
			return true;
	}
	return false;
}

/* One of each hard kind in turn, those with the feature's own tokens first; then silent ones at random. */
static int add_silent(engine_task *t, explain_view *v, size_t want, error *err)
{
	static const store_hard kinds[] = { STORE_HARD_TOKEN, STORE_HARD_DECODER, STORE_HARD_COFIRING };
	store_window *w[ARRAY_LEN(kinds) + 1] = { 0 };
	size_t n[ARRAY_LEN(kinds) + 1] = { 0 }, last = v->n_shown + want, at, k;
	int rc = 0;

	for (k = 0; k < ARRAY_LEN(kinds) && rc == 0; k++)
		rc = examples_hard(&w[k], &n[k], t, STORE_LABEL, kinds[k], &v->all, want, err);
	if (rc == 0)
		rc = examples_silent(&w[k], &n[k], t, STORE_LABEL, 2 * want, err);
	for (at = 0; at < want && rc == 0; at++)
		for (k = 0; k < ARRAY_LEN(kinds) && v->n_shown < last; k++)
			if (at < n[k] && !shown_before(v, &w[k][at]))
				v->shown[v->n_shown++] = &w[k][at];
	for (at = 0; rc == 0 && at < n[ARRAY_LEN(kinds)] && v->n_shown < last; at++)
		if (!shown_before(v, &w[ARRAY_LEN(kinds)][at]))
			v->shown[v->n_shown++] = &w[ARRAY_LEN(kinds)][at];
	return rc;
}

static int show_contrast(const char **why, text *out, engine_task *t, explain_view *v, error *err)
{
	unsigned n = t->job->o->n_examples, silent = n >= 4 ? n / 4 : 1;
	size_t firing;
	int rc = choose(t, v, n > silent ? n - silent : 1, silent, err);

	if (rc < 0)
		return rc;
	firing = v->n_shown;
	rc = add_silent(t, v, silent, err);
	if (rc < 0)
		return rc;
	if (v->n_shown == firing) {
		*why = "no silent windows in the label documents to set against the firing ones";
		return 0;
	}
	rc = add_samples(out, v, firing, err);
	if (rc == 0 && text_adds(out, "\n\nCounterexamples:") < 0)
		rc = too_long(err);
	for (size_t i = firing; i < v->n_shown && rc == 0; i++) {
		if (text_addf(out, "\nCounterexample %zu: ", i - firing + 1) < 0)
			return too_long(err);
		rc = prompt_add_windows_marks(out, v->shown[i], err); /* none: it is silent */
	}
	return rc;
}

const explainer explainer_contrastive = {
	.name = "contrastive",
	.about = "as marked, and texts that look alike in which the feature is silent",
	.windows = true,
	.show = show_contrast
};

/* ---- output ---------------------------------------------------------------------------------------------------------- */

static int add_logits(text *out, const char *head, const store_logit *l, size_t n)
{
	text one;
	int rc = text_adds(out, head);

	text_init(&one, PROMPT_MAX);
	for (size_t i = 0; i < n && rc == 0; i++) {
		text_clear(&one);
		rc = text_add_visible(&one, l[i].text, strlen(l[i].text));
		if (rc == 0)
			rc = text_adds(out, i ? ", " : " ");
		if (rc == 0)
			rc = text_add_json(out, one.data ? one.data : "", one.len);
		if (rc == 0)
			rc = text_addf(out, " %+.2f", l[i].value);
	}
	text_free(&one);
	return rc;
}

static int show_logits(const char **why, text *out, engine_task *t, explain_view *v, error *err)
{
	const engine *j = t->job;
	store_logit *top, *bottom;
	size_t n_top, n_bottom;
	int rc;

	v->n_shown = 0;
	rc = store_logits(&top, &n_top, j->s, j->source, t->row.feature, true, &t->mem, err);
	if (rc == 0)
		rc = store_logits(&bottom, &n_bottom, j->s, j->source, t->row.feature, false, &t->mem, err);
	if (rc < 0)
		return rc;
	if (n_top == 0 && !j->o->subject) {
		*why = "the store has no logits of the feature: index with --unembed";
		return 0;
	}
	if (add_logits(out, n_top ? "Raised most:" : "Raised most: not known", top, n_top) < 0 ||
	    add_logits(out, n_bottom ? "\nLowered most:" : "\nLowered most: not known", bottom, n_bottom) < 0)
		return too_long(err);
	if (!j->o->subject && text_adds(out, "\nTurned up while the model reads: not tried") < 0)
		return too_long(err);
	return 0;
}

const explainer explainer_output = {
	.name = "output",
	.about = "the tokens that the feature makes more likely and less likely to come next, and with a "
	         "subject server what steering raises",
	.steers = true,
	.show = show_logits
};
