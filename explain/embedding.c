/* embedding: are windows in which the feature fires nearer to its label than silent ones are? Nobody judges: a text encoder makes
 * vectors of the label, behind an instruction, and of the windows, and the cosine of both is the answer. Each request holds
 * the labels and some windows, so that a reply is complete in itself. */
#include <math.h>
#include <stdlib.h>

#include "explain/prompt.h"
#include "explain/scorer.h"

enum { QUERIES = SCORE_EMPTY + 1, TEXTS_A_REQUEST = 64, TEXT_MAX = 1 << 20 };

/* ---- Questions -------------------------------------------------------------------------------------------------------- */

/* Whose label comes first, second and so on in a request. */
static size_t queries_of(score_label whose[QUERIES], const engine_task *t)
{
	const score_task *mine = t->data;
	size_t n = 0;

	for (int k = SCORE_OWN; k < QUERIES; k++)
		if (mine->label[k].text && (k == SCORE_OWN || t->job->o->n_baseline))
			whose[n++] = (score_label)k;
	return n;
}

/* Both parts of the template, the instruction before the label. */
static int query_text(const char **out, engine_task *t, const char *label, error *err)
{
	text system, user, line;
	int rc;

	text_init(&system, TEXT_MAX);
	text_init(&user, TEXT_MAX);
	text_init(&line, TEXT_MAX);
	rc = prompt_add_line(&line, label, err);
	if (rc == 0) {
		prompt_field field = { "label", line.data ? line.data : "" };

		rc = prompt_fill(&system, &user, t->job->prompt, &field, 1, err);
	}
	if (rc == 0 && text_addf(&system, "%s%s", system.len ? "\n" : "", user.data ? user.data : "") < 0)
		rc = error_set(err, ERR_LIMIT, "the query is too long");
	*out = rc == 0 ? arena_strdup(&t->mem, system.data) : NULL;
	text_free(&line);
	text_free(&user);
	text_free(&system);
	return rc == 0 && !*out ? error_nomem(err, "a query") : rc;
}

static int ask(engine_task *t, score_batch *b, unsigned sample, error *err)
{
	const score_task *mine = t->data;
	const char **texts = arena_alloc(&t->mem, QUERIES + b->n, sizeof(*texts)), *ids;
	score_label whose[QUERIES];
	size_t n = queries_of(whose, t);
	char *body = NULL;
	int rc = texts ? score_batch_ids(t, &ids, b, err) : error_nomem(err, "texts");

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = query_text(&texts[i], t, mine->label[whose[i]].text, err);
	for (size_t i = 0; i < b->n && rc == 0; i++) {
		rc = prompt_raw(&texts[n + i], &t->mem, &b->items[i]->shown->w, err);
		if (rc == 0 && !texts[n + i][0])
			texts[n + i] = " "; /* which encoders take */
	}
	if (rc == 0)
		rc = embed_body(&body, t->job->o->client->model, texts, n + b->n, err);
	return rc < 0 ? rc : engine_ask_call(t, NULL, EXPLAIN_EMBEDDINGS, body, ids, 0, sample, b, err);
}

/* ---- Answers ---------------------------------------------------------------------------------------------------------- */

typedef struct vector {
	double *x; /* (n), in the arena; NULL: none, or one that is of no use */
	size_t n;
} vector;

/* Of numbers that are finite and not all 0; else v stays empty. */
static int read_vector(vector *v, arena *mem, const cJSON *list, error *err)
{
	size_t n = (size_t)cJSON_GetArraySize(list), i = 0;
	double *x = arena_alloc(mem, n + 1, sizeof(*x)), sum = 0;
	const cJSON *one;

	if (!x)
		return error_nomem(err, "embeddings");
	cJSON_ArrayForEach(one, list)
	{
		x[i] = cJSON_IsNumber(one) ? one->valuedouble : (double)NAN;
		sum += x[i] * x[i];
		i++;
	}
	if (cJSON_IsArray(list) && sum > 0 && sum < HUGE_VAL)
		*v = (vector){ x, n };
	return 0;
}

/* By the index that each names; a server that names none sends them in order. What was not asked for, and all but the first of
 * one text, count for nothing. */
static int read_vectors(vector *v, size_t n, arena *mem, score_task *mine, const cJSON *reply, error *err)
{
	const cJSON *one, *index;
	size_t in_order = 0;
	int rc = 0;

	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(reply, "data"))
	{
		double at = (double)in_order++;

		index = cJSON_GetObjectItemCaseSensitive(one, "index");
		if (cJSON_IsNumber(index))
			at = index->valuedouble;
		if (!(at >= 0 && at < (double)n) || at != floor(at) || v[(size_t)at].x)
			mine->n_stray++;
		else if (rc == 0)
			rc = read_vector(&v[(size_t)at], mem,
			                 cJSON_GetObjectItemCaseSensitive(one, "embedding"), err);
	}
	return rc;
}

static double cosine(const vector *a, const vector *b)
{
	double ab = 0, aa = 0, bb = 0;

	if (!a->x || !b->x || a->n != b->n)
		return (double)NAN;
	for (size_t i = 0; i < a->n; i++) {
		ab += a->x[i] * b->x[i];
		aa += a->x[i] * a->x[i];
		bb += b->x[i] * b->x[i];
	}
	return ab / sqrt(aa) / sqrt(bb);
}

/* What the reply lacks, for a task that got no answer at all. */
static void say_what_is_wrong(engine_ask *a, const vector *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!v[i].x) {
			error_set(&a->err, ERR_FORMAT,
			          "the reply lacks embeddings, or they hold what is no finite number");
			return;
		}
		if (v[i].n != v[0].n) {
			error_set(&a->err, ERR_FORMAT, "an embedding has %zu numbers, another %zu", v[i].n,
			          v[0].n);
			return;
		}
	}
}

static int take(engine_ask *a, error *err)
{
	score_batch *b = a->data;
	score_label whose[QUERIES];
	size_t n = queries_of(whose, a->task);
	vector *v = calloc(n + b->n, sizeof(*v));
	cJSON *reply = NULL;
	arena mem = ARENA_INIT;
	int rc = v ? json_parse(&reply, a->reply, strlen(a->reply), CHAT_REPLY_MAX, 64, "reply", err)
	           : error_nomem(err, "embeddings");

	if (rc == 0)
		rc = read_vectors(v, n + b->n, &mem, a->task->data, reply, err);
	for (size_t i = 0; i < b->n && rc == 0; i++)
		for (size_t k = 0; k < n; k++)
			if (isnan(b->items[i]->answer[whose[k]]))
				b->items[i]->answer[whose[k]] = cosine(&v[k], &v[n + i]);
	if (rc == 0)
		say_what_is_wrong(a, v, n + b->n);
	cJSON_Delete(reply);
	arena_clear(&mem);
	free(v);
	return rc;
}

const scorer scorer_embedding = {
	.name = "embedding",
	.measure = "area under the ROC curve",
	.labelled = true,
	.embeds = true,
	.together = true,
	.batch = TEXTS_A_REQUEST - QUERIES,
	.nothing = "all kinds of texts about various unrelated things",
	.chance = score_chance_half,
	.make = score_make_windows,
	.ask = ask,
	.take = take,
	.measure_up = score_measure_area,
};
