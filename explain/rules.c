/* rules: the explainers that ask nobody. lexical: a rule over tokens; single-token: nearly all peaks are one token. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/explainer.h"
#include "explain/prompt.h"

enum { LEXICAL_SILENT = 100, VARIANTS = 5 }; /* as many atoms as a lexical rule may have */
static const double single_share = 0.9;      /* of the peaks */

/* ---- lexical --------------------------------------------------------------------------------------------------------- */

static int all_shown(engine_task *t, explain_view *v, error *err)
{
	v->shown = arena_alloc(&t->mem, v->all.n + 1, sizeof(*v->shown));
	if (!v->shown)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < v->all.n; i++)
		v->shown[i] = &v->all.w[i];
	v->n_shown = v->all.n;
	return 0;
}

static int settle_rule(engine_task *t, const char *label, const char *brief, const char *rule,
                       double confidence, error *err)
{
	store_explanation *e = arena_alloc(&t->mem, 1, sizeof(*e));

	if (!e)
		return error_nomem(err, "a label");
	*e = (store_explanation){ .text = arena_strdup(&t->mem, label),
		                  .short_text = brief ? arena_strdup(&t->mem, brief) : NULL,
		                  .rule = arena_strdup(&t->mem, rule),
		                  .method = "lexical",
		                  .confidence = confidence };
	if (!e->text || !e->rule || (brief && !e->short_text))
		return error_nomem(err, "a label");
	return explainer_settle(t, e, err);
}

static int by_tokens(engine_task *t, explain_view *v, error *err)
{
	size_t n = 0, want = 2 * v->all.n > LEXICAL_SILENT ? 2 * v->all.n : LEXICAL_SILENT;
	char *phrase = NULL, *rule = NULL;
	store_window *silent;
	int rc = examples_silent(&silent, &n, t, STORE_LABEL, want, err);

	if (rc == 0)
		rc = all_shown(t, v, err);
	if (rc < 0)
		return rc;
	if (n == 0)
		return engine_settle(t, STORE_TASK_SKIPPED, "no silent windows in the label documents", err);
	rc = explain_lexical_label(&phrase, &rule, v->all.w, v->all.n, silent, n, err);
	if (rc == 0)
		rc = settle_rule(t, phrase, NULL, rule, (double)NAN, err);
	free(phrase);
	free(rule);
	return rc;
}

const explainer explainer_lexical = {
	.name = "lexical", .about = "rules over tokens; no model", .windows = true, .rule = by_tokens
};

/* ---- single-token ------------------------------------------------------------------------------------------------------ */

/* A token as it stands at peaks: spelt exactly so, and without case (of ASCII) and spaces around it. */
struct spelling {
	const char *text, *folded;
	size_t n; /* peaks */
};

static const char *fold(arena *mem, const char *s)
{
	size_t n = strlen(s);
	char *folded;

	while (n && isspace((unsigned char)s[n - 1]))
		n--;
	while (n && isspace((unsigned char)*s))
		s++, n--;
	folded = arena_memdupz(mem, s, n);
	for (size_t i = 0; folded && i < n; i++)
		if (folded[i] >= 'A' && folded[i] <= 'Z')
			folded[i] = (char)(folded[i] + 'a' - 'A');
	return folded;
}

static int commonest_first(const void *a, const void *b)
{
	const struct spelling *x = a, *y = b;

	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return strcmp(x->text, y->text);
}

/* Of n spellings, those of the token with most peaks come first, *same of them, together *peaks. */
static void gather_commonest(struct spelling *all, size_t n, size_t *same, size_t *peaks)
{
	const char *best = NULL;
	size_t count, found = 0;

	*peaks = 0;
	for (size_t i = 0; i < n; i++) {
		count = 0;
		for (size_t k = 0; k < n; k++)
			count += strcmp(all[i].folded, all[k].folded) == 0 ? all[k].n : 0;
		if (count > *peaks) {
			*peaks = count;
			best = all[i].folded;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (strcmp(all[i].folded, best) == 0) {
			struct spelling s = all[i];

			all[i] = all[found];
			all[found++] = s;
		}
	*same = found;
	qsort(all, found, sizeof(*all), commonest_first);
}

static int spell(struct spelling **out, size_t *n, engine_task *t, const example_set *x, error *err)
{
	struct spelling *all = arena_alloc(&t->mem, x->n + 1, sizeof(*all));
	size_t k;

	*n = 0;
	for (size_t i = 0; all && i < x->n; i++) {
		const char *peak = x->w[i].text[x->w[i].peak];

		for (k = 0; k < *n && strcmp(all[k].text, peak) != 0;)
			k++;
		if (k == *n) {
			all[k].text = peak;
			all[k].folded = fold(&t->mem, peak);
			if (!all[k].folded)
				return error_nomem(err, "the words of a feature");
			(*n)++;
		}
		all[k].n++;
	}
	*out = all;
	return all ? 0 : error_nomem(err, "the words of a feature");
}

/* A rule of exact tokens, the commonest spellings first, as explain_lexical_judge() reads it. */
static char *token_rule(const struct spelling *s, size_t n)
{
	cJSON *rule = cJSON_CreateObject(), *any = rule ? cJSON_AddArrayToObject(rule, "any") : NULL, *item;
	bool fine = any != NULL;
	char *json = NULL;

	for (size_t i = 0; i < n && i < VARIANTS && fine; i++) {
		item = cJSON_CreateObject();
		fine = item && cJSON_AddItemToArray(any, item) &&
		       cJSON_AddStringToObject(item, "kind", "token") &&
		       cJSON_AddStringToObject(item, "text", s[i].text);
	}
	if (fine)
		json = json_print(rule);
	cJSON_Delete(rule);
	return json;
}

static int settle_token(engine_task *t, const struct spelling *s, size_t n, double share, error *err)
{
	const char *word = s->folded[0] ? s->folded : s->text;
	char *rule = token_rule(s, n);
	text name, label;
	int rc = rule ? 0 : error_nomem(err, "a rule");

	text_init(&name, PROMPT_MAX);
	text_init(&label, PROMPT_MAX);
	if (rc == 0 && (text_adds(&name, "\"") < 0 || text_add_visible(&name, word, strlen(word)) < 0 ||
	                text_adds(&name, "\"") < 0 || text_addf(&label, "the token %s", name.data) < 0))
		rc = error_nomem(err, "a label");
	if (rc == 0)
		rc = settle_rule(t, label.data, name.data, rule, share, err);
	text_free(&label);
	text_free(&name);
	free(rule);
	return rc;
}

static int by_one_token(engine_task *t, explain_view *v, error *err)
{
	struct spelling *all;
	size_t n, same, peaks;
	int rc = spell(&all, &n, t, &v->all, err);

	if (rc < 0)
		return rc;
	gather_commonest(all, n, &same, &peaks);
	if ((double)peaks < single_share * (double)v->all.n || strlen(all->text) == 0)
		return 0;
	rc = all_shown(t, v, err);
	return rc < 0 ? rc : settle_token(t, all, same, (double)peaks / (double)v->all.n, err);
}

static int show_as_marked(const char **why, text *out, engine_task *t, explain_view *v, error *err)
{
	return explainer_marked.show(why, out, t, v, err);
}

const explainer explainer_single_token = {
	.name = "single-token",
	.about = "the token where nine of ten peaks are the same one, asking nobody; else as marked",
	.windows = true,
	.rule = by_one_token,
	.show = show_as_marked
};
