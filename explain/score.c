/* score: the job that scores labels by detection, on windows of the `report` documents, which no explainer has seen. Firing and
 * silent windows are shuffled together; the judge says of each whether the label fits. Judging the same windows by the label
 * of another feature gives the chance level. */
#include "explain/engine.h"
#include "explain/prompt.h"
#include "explain/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_WINDOWS = 5, TOKENS_AN_ANSWER = 32, TOKENS_FRAME = 64, DECILES = 10 };

extern const char prompt_detection[];
extern const char schema_detection[];

typedef enum verdict { VERDICT_NONE, VERDICT_NO, VERDICT_YES } verdict; /* NONE: no answer */
enum { OWN, OTHER, LABELS }; /* whose label: the feature's, or the other feature's */

static const char *const detection_fields[] = { "label", "texts", "count" };

typedef struct item {
	store_window w;
	bool fires;
	unsigned decile; /* of activation among the firing windows shown, 0: strongest */
	bool asked[LABELS];
	verdict verdict[LABELS];
} item;

typedef struct score_task {
	item *items; /* in the order in which they are shown */
	size_t n;
	store_explanation label[LABELS]; /* [OTHER].text NULL: none to compare with */
	bool asked_again;
} score_task;

/* What one request is about. */
typedef struct batch {
	unsigned whose;
	size_t n;
	item *items[];
} batch;

/* ---- Windows --------------------------------------------------------------------------------------------------------------- */

static int order_by_hash(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return x[0] != y[0] ? (x[0] > y[0]) - (x[0] < y[0]) : (x[1] > y[1]) - (x[1] < y[1]);
}

/* Firing and silent ones in one order that depends on seed and feature alone. */
static int shuffle(engine_task *t, score_task *mine, const store_window *firing, const size_t *spread,
                   size_t n_firing, const store_window *silent, size_t n_silent, error *err)
{
	uint64_t key = hash64_mix(t->job->o->seed, t->row.feature);
	uint64_t(*order)[2];
	size_t from;

	mine->n = n_firing + n_silent;
	mine->items = arena_alloc(&t->mem, mine->n, sizeof(*mine->items));
	order = arena_alloc(&t->mem, mine->n, sizeof(*order));
	if (!mine->items || !order)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < mine->n; i++) {
		order[i][0] = hash64_mix(key, i);
		order[i][1] = i;
	}
	qsort(order, mine->n, sizeof(*order), order_by_hash);
	for (size_t i = 0; i < mine->n; i++) {
		from = (size_t)order[i][1];
		if (from < n_firing)
			mine->items[i] = (item){ .w = prompt_cut(&firing[spread[from]], t->job->o->window),
				                 .fires = true,
				                 .decile = stats_decile(from, n_firing) };
		else
			mine->items[i] = (item){ .w = silent[from - n_firing] };
	}
	return 0;
}

/* *why: the reason why the feature cannot be scored, or NULL. */
static int choose(const char **why, char buf[128], engine_task *t, score_task *mine, error *err)
{
	const explain_opts *o = t->job->o;
	size_t n_firing, n_silent, n, *spread;
	store_window *firing, *silent;
	int rc;

	*why = buf;
	rc = store_windows_firing(&firing, &n_firing, t->job->s, t->job->source, t->row.feature, STORE_REPORT,
	                          &t->mem, err);
	if (rc < 0)
		return rc;
	if (n_firing < MIN_WINDOWS) {
		snprintf(buf, 128, "fires in %zu stored contexts of the report documents, %d are needed",
		         n_firing, MIN_WINDOWS);
		return 0;
	}
	if (engine_groups(firing, n_firing) < 2) {
		snprintf(buf, 128, "fires in one group of report documents only, two are needed");
		return 0;
	}
	rc = store_windows_silent(&silent, &n_silent, t->job->s, t->job->source, t->row.feature, STORE_REPORT,
	                          o->window, o->n_negative, o->seed, &t->mem, err);
	if (rc < 0)
		return rc;
	if (n_silent == 0) {
		snprintf(buf, 128, "no silent windows in the report documents");
		return 0;
	}
	*why = NULL;
	spread = arena_alloc(&t->mem, o->n_positive, sizeof(*spread));
	if (!spread)
		return error_nomem(err, "windows");
	n = stats_spread(spread, o->n_positive, n_firing);
	return shuffle(t, mine, firing, spread, n, silent, n_silent, err);
}

/* ---- The other label ----------------------------------------------------------------------------------------------------------- */

/* The label of another feature of this job, chosen by hash, with another text; none where there is no such. */
static int find_other(engine_task *t, score_task *mine, error *err)
{
	const engine *job = t->job;
	uint64_t h = hash64_mix(job->o->seed + 1, t->row.feature);
	size_t at = job->n_list ? (size_t)hash64_below(h, job->n_list) : 0;
	store_explanation e;
	int rc;

	for (size_t tries = 0; tries < job->n_list && tries < 64; tries++) {
		const store_task *other = &job->list[(at + tries) % job->n_list];

		if (other->feature == t->row.feature)
			continue;
		rc = store_explanation_get(&e, job->s, other->explanation_id, &t->mem, err);
		if (rc < 0)
			return rc;
		if (strcmp(e.text, mine->label[OWN].text) == 0 || (!job->o->client && !e.rule))
			continue;
		mine->label[OTHER] = e;
		return 0;
	}
	return 0;
}

/* ---- Judging ------------------------------------------------------------------------------------------------------------------- */

static int add_texts(text *out, const batch *b, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < b->n && rc == 0; i++) {
		if (text_addf(out, "%s[%zu] ", i ? "\n" : "", i + 1) < 0)
			return error_set(err, ERR_LIMIT, "the prompt is too long");
		rc = prompt_add_plain(out, &b->items[i]->w, err);
	}
	return rc;
}

static int batch_ids(engine_task *t, const char **ids, const batch *b, error *err)
{
	const store_window **w = arena_alloc(&t->mem, b->n, sizeof(*w));

	if (!w)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < b->n; i++)
		w[i] = &b->items[i]->w;
	return engine_example_ids(t, ids, w, b->n, err);
}

static int ask_model(engine_task *t, batch *b, unsigned sample, error *err)
{
	const score_task *mine = t->data;
	unsigned limit = (unsigned)b->n * TOKENS_AN_ANSWER + TOKENS_FRAME;
	const char *ids = NULL;
	text texts, line;
	char count[24];
	int rc;

	text_init(&texts, PROMPT_MAX);
	text_init(&line, PROMPT_MAX);
	snprintf(count, sizeof(count), "%zu", b->n);
	rc = add_texts(&texts, b, err);
	if (rc == 0)
		rc = prompt_add_line(&line, mine->label[b->whose].text, err);
	if (rc == 0)
		rc = batch_ids(t, &ids, b, err);
	if (rc == 0) {
		prompt_field fields[] = { { "label", line.data },
			                  { "texts", texts.data },
			                  { "count", count } };

		rc = engine_ask_fill(t, fields, ARRAY_LEN(fields), ids, limit, sample, b, err);
	}
	text_free(&texts);
	text_free(&line);
	return rc;
}

static int judge_by_rule(engine_task *t, batch *b, error *err)
{
	const score_task *mine = t->data;
	const char *ids;
	bool holds;
	int rc;

	rc = batch_ids(t, &ids, b, err);
	for (size_t i = 0; i < b->n && rc == 0; i++) {
		rc = explain_lexical_judge(&holds, mine->label[b->whose].rule, &b->items[i]->w, err);
		if (rc == 0)
			b->items[i]->verdict[b->whose] = holds ? VERDICT_YES : VERDICT_NO;
	}
	return rc < 0 ? rc : engine_ask_add(t, NULL, NULL, NULL, ids, 0, 0, b, err);
}

/* Have the items that were asked for and have no verdict judged by a label, a batch at a time. The last may be short. */
static int judge(engine_task *t, unsigned whose, unsigned sample, error *err)
{
	score_task *mine = t->data;
	unsigned size = t->job->o->client ? t->job->o->per_prompt : (unsigned)mine->n;
	size_t at = 0;
	batch *b;
	int rc = 0;

	while (rc == 0) {
		b = arena_alloc(&t->mem, 1, sizeof(*b) + size * sizeof(b->items[0]));
		if (!b)
			return error_nomem(err, "a request");
		b->whose = whose;
		for (; at < mine->n && b->n < size; at++)
			if (mine->items[at].asked[whose] && mine->items[at].verdict[whose] == VERDICT_NONE)
				b->items[b->n++] = &mine->items[at];
		if (b->n == 0)
			break;
		rc = t->job->o->client ? ask_model(t, b, sample, err) : judge_by_rule(t, b, err);
	}
	return rc;
}

/* Which items are judged by the other label: the first n of each kind as shown. */
static void choose_baseline(score_task *mine, size_t n)
{
	size_t left[2] = { n, n };

	if (!mine->label[OTHER].text)
		return;
	for (size_t i = 0; i < mine->n; i++) {
		item *it = &mine->items[i];

		if (left[it->fires] == 0)
			continue;
		left[it->fires]--;
		it->asked[OTHER] = true;
	}
}

static int conclude(engine_task *t, error *err);

static int begin(engine_task *t, error *err)
{
	const explain_opts *o = t->job->o;
	score_task *mine = arena_alloc(&t->mem, 1, sizeof(*mine));
	const char *why;
	char buf[128];
	int rc;

	if (!mine)
		return error_nomem(err, "a task");
	t->data = mine;
	rc = store_explanation_get(&mine->label[OWN], t->job->s, t->row.explanation_id, &t->mem, err);
	if (rc < 0)
		return rc;
	if (!o->client && !mine->label[OWN].rule)
		return engine_settle(t, STORE_TASK_SKIPPED,
		                     "its label is no rule: a model has to judge it (--base-url)", err);
	rc = choose(&why, buf, t, mine, err);
	if (rc == 0 && why)
		return engine_settle(t, STORE_TASK_SKIPPED, why, err);
	if (rc == 0)
		rc = find_other(t, mine, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < mine->n; i++)
		mine->items[i].asked[OWN] = true;
	choose_baseline(mine, o->client ? o->n_baseline : mine->n);
	rc = judge(t, OWN, 0, err);
	if (rc == 0)
		rc = judge(t, OTHER, 0, err);
	return rc < 0 || o->client ? rc : conclude(t, err);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------------------------- */

/* By the id that each answer names; ids that were not asked about, and all but the first answer to one, count for nothing. */
static void take_answers(engine_ask *ask)
{
	const batch *b = ask->data;
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(ask->answer, "answers"), *a;
	double id;

	cJSON_ArrayForEach(a, list)
	{
		id = cJSON_GetObjectItemCaseSensitive(a, "id")->valuedouble;
		if (!(id >= 1 && id <= (double)b->n))
			continue;
		verdict *v = &b->items[(size_t)id - 1]->verdict[b->whose];

		if (*v == VERDICT_NONE)
			*v = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(a, "fires")) ? VERDICT_YES
			                                                                : VERDICT_NO;
	}
}

/* Ask once more about what has no verdict; then conclude. An endpoint that failed fails the task: the answers that did
 * come are in the log, so trying again costs only the rest. */
static int finish(engine_task *t, error *err)
{
	score_task *mine = t->data;
	unsigned before = t->n_asks;
	int rc = 0;

	for (engine_ask *ask = t->asks; ask; ask = ask->next) {
		if (!ask->answer && ask->err.code != ERR_FORMAT)
			return engine_settle(t, engine_failure(ask), ask->err.msg, err);
		if (ask->answer && !ask->read)
			take_answers(ask);
		ask->read = true;
	}
	if (!mine->asked_again) {
		mine->asked_again = true;
		rc = judge(t, OWN, 1, err);
		if (rc == 0)
			rc = judge(t, OTHER, 1, err);
		if (rc < 0 || t->n_asks > before)
			return rc;
	}
	return conclude(t, err);
}

/* ---- The score ------------------------------------------------------------------------------------------------------------------------ */

typedef struct tally {
	uint32_t hit[2], n[2]; /* [0] silent windows judged silent, [1] firing ones judged firing */
	uint32_t missing;
	uint32_t decile_hit[DECILES], decile_n[DECILES];
	double weight, weight_hit; /* of firing windows: tokens that they stand for */
} tally;

static tally count(const score_task *mine, unsigned whose)
{
	tally c = { 0 };

	for (size_t i = 0; i < mine->n; i++) {
		const item *it = &mine->items[i];
		bool right = (it->verdict[whose] == VERDICT_YES) == it->fires;

		if (!it->asked[whose])
			continue;
		if (it->verdict[whose] == VERDICT_NONE) {
			c.missing++;
			continue;
		}
		c.n[it->fires]++;
		c.hit[it->fires] += right;
		if (!it->fires)
			continue;
		c.decile_n[it->decile]++;
		c.decile_hit[it->decile] += right;
		c.weight += it->w.weight;
		c.weight_hit += right ? it->w.weight : 0;
	}
	return c;
}

static bool add_number(cJSON *o, const char *name, double x)
{
	return isnan(x) ? cJSON_AddNullToObject(o, name) != NULL
	                : cJSON_AddNumberToObject(o, name, x) != NULL;
}

static bool add_rate(cJSON *o, const char *name, const stats_rate *r)
{
	cJSON *to = cJSON_AddObjectToObject(o, name);

	return to && add_number(to, "value", r->value) && add_number(to, "low", r->low) &&
	       add_number(to, "high", r->high) && add_number(to, "n", r->n);
}

static bool add_deciles(cJSON *o, const tally *c)
{
	cJSON *list = cJSON_AddArrayToObject(o, "tpr_by_decile"), *one;

	for (int i = 0; i < DECILES && list; i++) {
		one = cJSON_CreateObject();
		if (!one || !cJSON_AddItemToArray(list, one)) {
			cJSON_Delete(one);
			return false;
		}
		if (!add_number(one, "hits", c->decile_hit[i]) || !add_number(one, "n", c->decile_n[i]))
			return false;
	}
	return list != NULL;
}

static bool add_baseline(cJSON *o, const score_task *mine, const stats_balanced *b, const tally *c)
{
	cJSON *to = cJSON_AddObjectToObject(o, "baseline");

	return to && add_number(to, "feature", mine->label[OTHER].feature) &&
	       add_number(to, "explanation", (double)mine->label[OTHER].id) &&
	       add_number(to, "value", b->value) && add_number(to, "low", b->low) &&
	       add_number(to, "high", b->high) && add_number(to, "n_positive", c->n[1]) &&
	       add_number(to, "n_negative", c->n[0]) && add_number(to, "n_failed", c->missing);
}

static char *make_details(const score_task *mine, const stats_balanced b[LABELS], const tally c[LABELS])
{
	const tally *own = &c[OWN];
	uint32_t fp = own->n[0] - own->hit[0], fn = own->n[1] - own->hit[1];
	double f1 = 2.0 * own->hit[1] / (2.0 * own->hit[1] + fp + fn);
	cJSON *o = cJSON_CreateObject();
	char *printed = NULL;

	if (o && add_number(o, "true_positive", own->hit[1]) && add_number(o, "false_negative", fn) &&
	    add_number(o, "true_negative", own->hit[0]) && add_number(o, "false_positive", fp) &&
	    add_rate(o, "tpr", &b[OWN].tpr) && add_rate(o, "tnr", &b[OWN].tnr) && add_number(o, "f1", f1) &&
	    add_number(o, "tpr_weighted", own->weight > 0 ? own->weight_hit / own->weight : (double)NAN) &&
	    add_deciles(o, own) && cJSON_AddBoolToObject(o, "above_chance", b[OWN].low > 0.5) &&
	    (!mine->label[OTHER].text || add_baseline(o, mine, &b[OTHER], &c[OTHER])))
		printed = json_print_canonical(o);
	cJSON_Delete(o);
	return printed;
}

static int settle_failed(engine_task *t, error *err)
{
	for (const engine_ask *ask = t->asks; ask; ask = ask->next)
		if (ask->err.code)
			return engine_settle(t, engine_failure(ask), ask->err.msg, err);
	return engine_settle(t, STORE_TASK_FAILED,
	                     "the judge answered about other texts than it was asked about", err);
}

static int conclude(engine_task *t, error *err)
{
	const score_task *mine = t->data;
	tally c[LABELS] = { count(mine, OWN), count(mine, OTHER) };
	stats_balanced b[LABELS];
	char *details;
	store_score *sc;

	for (int i = 0; i < LABELS; i++)
		b[i] = stats_balanced_accuracy(c[i].hit[1], c[i].n[1], c[i].hit[0], c[i].n[0]);
	if (isnan(b[OWN].value))
		return settle_failed(t, err);
	sc = arena_alloc(&t->mem, 1, sizeof(*sc));
	details = make_details(mine, b, c);
	if (sc && details) {
		*sc = (store_score){ .explanation_id = t->row.explanation_id,
			             .scorer = "detection",
			             .judge = t->job->method,
			             .details = arena_strdup(&t->mem, details),
			             .prompt_sha256 = t->job->o->client ? t->job->prompt_sha256 : NULL,
			             .schema_sha256 = t->job->o->client ? t->job->schema_sha256 : NULL,
			             .value = b[OWN].value,
			             .low = b[OWN].low,
			             .high = b[OWN].high,
			             .baseline = b[OTHER].value,
			             .n_positive = c[OWN].n[1],
			             .n_negative = c[OWN].n[0],
			             .n_failed = c[OWN].missing };
		t->score = sc;
	}
	free(details);
	if (!t->score || !sc->details)
		return error_nomem(err, "a score");
	return engine_settle(t, STORE_TASK_DONE, NULL, err);
}

static bool report(const engine_task *t, cJSON *about)
{
	const score_task *mine = t->data;
	const store_score *sc = t->score;

	if (mine->label[OWN].text && !cJSON_AddStringToObject(about, "label", mine->label[OWN].text))
		return false;
	return !sc || (add_number(about, "value", sc->value) && add_number(about, "low", sc->low) &&
	               add_number(about, "high", sc->high) && add_number(about, "baseline", sc->baseline) &&
	               add_number(about, "n_positive", sc->n_positive) &&
	               add_number(about, "n_negative", sc->n_negative) &&
	               add_number(about, "n_failed", sc->n_failed));
}

/* ---- The job ------------------------------------------------------------------------------------------------------------------------------ */

/* Features without a label have no task. */
static int find_labels(store_task *tasks, size_t *n_tasks, store *s, const store_source *source,
                       const explain_opts *o, const uint32_t *features, size_t n, error *err)
{
	store_explanation e;
	error ours = { 0 };
	arena mem = ARENA_INIT;
	int rc = 0;

	(void)o;
	*n_tasks = 0;
	for (size_t i = 0; i < n; i++) {
		rc = store_explanation_latest(&e, s, source->id, features[i], &mem, &ours);
		if (rc == 0)
			tasks[(*n_tasks)++] = (store_task){ .feature = features[i], .explanation_id = e.id };
		else if (rc != ERR_NOTFOUND)
			break;
		arena_clear(&mem);
		rc = 0;
	}
	arena_clear(&mem);
	if (rc < 0)
		return error_set(err, rc, "%s", ours.msg);
	if (*n_tasks == 0)
		return error_set(err, ERR_NOTFOUND,
		                 "none of the %zu features has a label yet: run gloss explain", n);
	return 0;
}

static bool settings(cJSON *s, const explain_opts *o)
{
	return cJSON_AddNumberToObject(s, "n_positive", o->n_positive) &&
	       cJSON_AddNumberToObject(s, "n_negative", o->n_negative) &&
	       cJSON_AddNumberToObject(s, "n_baseline", o->n_baseline) &&
	       cJSON_AddNumberToObject(s, "per_prompt", o->per_prompt);
}

static int check(const explain_opts *o, error *err)
{
	if (o->n_positive < MIN_WINDOWS || o->n_positive > 10000 || o->n_negative < 1 ||
	    o->n_negative > 10000)
		return error_set(err, ERR_ARG,
		                 "%u firing and %u silent windows are asked for, %d to 10000 and 1 to 10000 "
		                 "are allowed",
		                 o->n_positive, o->n_negative, MIN_WINDOWS);
	if (o->per_prompt < 1 || o->per_prompt > 100)
		return error_set(err, ERR_ARG, "%u windows a request are asked for, 1 to 100 are allowed",
		                 o->per_prompt);
	return 0;
}

const engine_kind kind_detection = {
	.name = "score",
	.unit = "labels",
	.scorer = "detection",
	.schema_name = "detection",
	.schema = schema_detection,
	.prompt = prompt_detection,
	.fields = detection_fields,
	.n_fields = ARRAY_LEN(detection_fields),
	.none_yet = "score IS NULL",
	.left_out = "without_label",
	.check = check,
	.choose = find_labels,
	.settings = settings,
	.begin = begin,
	.finish = finish,
	.report = report,
};

int explain_score_detection(cJSON **summary, store *s, const explain_opts *o, error *err)
{
	return kind_start(summary, &kind_detection, s, o, err);
}
