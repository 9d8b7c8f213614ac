/* simulation: given the label, how active is the feature on each token? The judge's numbers from 0 to 10 are correlated with the
 * true ones, over all tokens of firing windows and of windows that are drawn at random. */
#include "explain/simulate.h"

#include <math.h>
#include <string.h>

#include "explain/prompt.h"

enum { TOKENS_A_PAIR = 10, TOKENS_FRAME = 64, TEXT_MAX = 1 << 20 };

static double chance(const explain_opts *o)
{
	(void)o;
	return 0;
}

double simulate_truth(float activation, float strongest)
{
	double x = activation > 0 ? floor(SIMULATE_MOST * (double)activation / (double)strongest) : 0;

	return x < SIMULATE_MOST ? x : SIMULATE_MOST;
}

double *simulate_values(engine_task *t, const score_item *it, score_label of)
{
	score_task *mine = t->data;
	simulation *own = mine->own;
	double **values = &own->values[it - mine->items][of];
	uint32_t n = it->shown->w.length;

	if (*values)
		return *values;
	*values = arena_alloc(&t->mem, n, sizeof(**values));
	for (uint32_t i = 0; *values && i < n; i++)
		(*values)[i] = (double)NAN;
	return *values;
}

bool simulate_complete(const double *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (isnan(values[i]))
			return false;
	return true;
}

/* What it says of a window: the strongest of its tokens, those without a value left out. */
static double strongest_of(const double *values, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = values[i] > most ? values[i] : most;
	return most;
}

/* ---- Items ------------------------------------------------------------------------------------------------------------ */

/* Where the true activations do not vary there is nothing to correlate with. */
static bool truth_varies(const score_task *mine, float strongest)
{
	double first = simulate_truth(mine->items[0].shown->w.value[0], strongest);

	for (size_t i = 0; i < mine->n; i++)
		for (uint32_t k = 0; k < mine->items[i].shown->w.length; k++)
			if (simulate_truth(mine->items[i].shown->w.value[k], strongest) != first)
				return true;
	return false;
}

static int make(const char **why, char buf[128], engine_task *t, const score_material *m, error *err)
{
	score_task *mine = t->data;
	simulation *own = arena_alloc(&t->mem, 1, sizeof(*own));
	store_window *random;
	size_t n = 0;
	int rc = examples_random(&random, &n, t, STORE_REPORT, t->job->o->n_negative, err);

	(void)buf;
	if (rc == 0)
		rc = own ? score_items_new(t, m->n_chosen + n, err) : error_nomem(err, "windows");
	for (size_t i = 0; i < m->n_chosen && rc == 0; i++) {
		score_item like = { .stratum = SCORE_FIRING, .decile = m->all.decile[m->chosen[i]] };

		rc = score_items_add(t, &like, &m->all.w[m->chosen[i]], NULL, 1, err);
	}
	for (size_t i = 0; i < n && rc == 0; i++) {
		score_item like = { .stratum = SCORE_SILENT };

		rc = score_items_add(t, &like, &random[i], NULL, 1, err);
	}
	if (rc < 0)
		return rc;
	own->strongest = m->all.strongest;
	own->values = arena_alloc(&t->mem, mine->n + 1, sizeof(*own->values));
	if (!own->values)
		return error_nomem(err, "windows");
	mine->own = own;
	if (!truth_varies(mine, own->strongest))
		*why = "its activations are the same on all tokens shown, in tenths of the strongest";
	return 0;
}

/* ---- Questions in chats ----------------------------------------------------------------------------------------------- */

/* A line a token; those that have an activation already have no number. Returns how many have one in *count. */
static int add_tokens(text *out, size_t *count, const store_window *w, const double *values)
{
	int rc = 0;

	*count = 0;
	for (uint32_t i = 0; i < w->length && rc == 0; i++) {
		if (isnan(values[i]))
			rc = text_addf(out, "%s[%u] ", i ? "\n" : "", i + 1);
		else
			rc = text_addf(out, "%s[-] ", i ? "\n" : "");
		*count += isnan(values[i]);
		if (rc == 0)
			rc = text_add_visible(out, w->text[i], strlen(w->text[i]));
	}
	return rc;
}

static int ask(engine_task *t, score_batch *b, unsigned sample, error *err)
{
	const score_task *mine = t->data;
	simulation *own = mine->own;
	const double *values = simulate_values(t, b->items[0], b->whose);
	const char *ids = NULL;
	text texts, line;
	char number[24];
	size_t count;
	int rc = values ? score_batch_ids(t, &ids, b, err) : error_nomem(err, "activations");

	text_init(&texts, TEXT_MAX);
	text_init(&line, TEXT_MAX);
	if (rc == 0 && add_tokens(&texts, &count, &b->items[0]->shown->w, values) < 0)
		rc = error_set(err, ERR_LIMIT, "the prompt is too long");
	if (rc == 0)
		rc = prompt_add_line(&line, mine->label[b->whose].text, err);
	if (rc == 0) {
		prompt_field fields[] = { { "label", line.data ? line.data : "" },
			                  { "texts", texts.data },
			                  { "count", number } };

		snprintf(number, sizeof(number), "%zu", count);
		own->n_again += sample && b->whose == SCORE_OWN ? (uint32_t)count : 0;
		rc = engine_ask_fill(t, fields, ARRAY_LEN(fields), ids,
		                     (unsigned)count * TOKENS_A_PAIR + TOKENS_FRAME, sample, b, err);
	}
	text_free(&texts);
	text_free(&line);
	return rc;
}

/* By the number that each pair begins with; tokens that were not asked about, values out of range and all but the first of a
 * token count for nothing. */
static int take(engine_ask *a, error *err)
{
	score_batch *b = a->data;
	score_task *mine = a->task->data;
	score_item *it = b->items[0];
	double *values = simulate_values(a->task, it, b->whose);
	const cJSON *pair;

	if (!values)
		return error_nomem(err, "activations");
	cJSON_ArrayForEach(pair, cJSON_GetObjectItemCaseSensitive(a->answer, "answers"))
	{
		const cJSON *id = cJSON_GetArrayItem(pair, 0), *of = cJSON_GetArrayItem(pair, 1);
		double at = id ? id->valuedouble : 0;

		if (cJSON_GetArraySize(pair) != 2 || at != floor(at) ||
		    !(at >= 1 && at <= it->shown->w.length) ||
		    !(of->valuedouble >= 0 && of->valuedouble <= SIMULATE_MOST) ||
		    !isnan(values[(size_t)at - 1]))
			mine->n_stray++;
		else
			values[(size_t)at - 1] = of->valuedouble;
	}
	if (simulate_complete(values, it->shown->w.length))
		it->answer[b->whose] = strongest_of(values, it->shown->w.length);
	return 0;
}

/* A rule says 10 on the tokens that it means and 0 on all others: simulate_measure() applies it to each. */
static int by_rule(double *answer, const char *rule, const score_item *it, error *err)
{
	bool holds = false;
	int rc = explain_lexical_judge(&holds, rule, &it->shown->w, err);

	*answer = holds ? SIMULATE_MOST : 0;
	return rc;
}

const scorer scorer_simulation = {
	.name = "simulation",
	.measure = "correlation",
	.labelled = true,
	.no_hard = true,
	.batch = 1,
	.chance = chance,
	.make = make,
	.by_rule = by_rule,
	.ask = ask,
	.take = take,
	.measure_up = simulate_measure,
};

/* ---- Questions by log-probabilities ----------------------------------------------------------------------------------- */

static int ask_echo(engine_task *t, score_batch *b, unsigned sample, error *err)
{
	const score_task *mine = t->data;
	const char *ids = NULL;
	char *body = NULL;
	simulate_question *q = arena_alloc(&t->mem, 1, sizeof(*q));
	int rc = q ? score_batch_ids(t, &ids, b, err) : error_nomem(err, "a request");

	if (rc == 0) {
		q->batch = b;
		rc = simulate_echo_body(&body, &q->n_places, t->job, mine->label[b->whose].text,
		                        b->items[0]->shown->w.text, b->items[0]->shown->w.length, err);
	}
	return rc < 0 ? rc : engine_ask_call(t, NULL, EXPLAIN_COMPLETIONS, body, ids, 0, sample, q, err);
}

/* A reply that can be read is not asked for again, which would bring the same: where none of "0" to "10" is among the
 * alternatives, the token stays without a value. */
static int take_echo(engine_ask *a, error *err)
{
	simulate_question *q = a->data;
	score_item *it = q->batch->items[0];
	double *values = simulate_values(a->task, it, q->batch->whose);

	if (!values)
		return error_nomem(err, "activations");
	if (simulate_read_echo(values, it->shown->w.length, q->n_places, a->reply, &a->err) == 0)
		it->answer[q->batch->whose] = strongest_of(values, it->shown->w.length);
	return a->err.code == ERR_NOMEM ? error_nomem(err, "activations") : 0;
}

const scorer scorer_simulation_echo = {
	.name = "simulation",
	.measure = "correlation",
	.labelled = true,
	.no_hard = true,
	.batch = 1,
	.chance = chance,
	.make = make,
	.by_rule = by_rule,
	.ask = ask_echo,
	.take = take_echo,
	.measure_up = simulate_measure,
};
