/* score: the jobs that score features and their labels, on windows of the `report` documents, which no explainer has seen.
 * What all scorers do alike: firing and silent windows in one shuffled order, batches of questions, asking again about what
 * has no answer, the same questions with other labels as baselines, stopping when the interval is narrow enough. */
#include "explain/prompt.h"
#include "explain/scorer.h"
#include "explain/simulate.h"
#include "explain/subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_AN_ANSWER = 32, TOKENS_A_NUMBER = 8, TOKENS_FRAME = 64, LOOKS = 4, LEXICAL_SILENT = 100 };

extern const char prompt_detection[], prompt_confidence[], prompt_fuzz[], prompt_intruder[],
        prompt_surprisal[], prompt_embedding[], prompt_intervention[], prompt_simulation[],
        prompt_simulation_logprobs[];
extern const char prompt_detection_graded[], prompt_fuzz_graded[];
extern const char schema_detection_graded[], schema_fuzz_graded[];
extern const char schema_detection[], schema_confidence[], schema_fuzz[], schema_intruder[],
        schema_simulation[];

static const char schema_none[] = "{}"; /* of what is no chat */

static const char *const label_field[] = { "label" };
static const char *const passage_field[] = { "passage" };
static const char *const echo_fields[] = { "label", "texts" };
static const char *const labelled_fields[] = { "label", "texts", "count" };
static const char *const unlabelled_fields[] = { "texts", "count" };

static const scorer *scorer_of(const engine_task *t)
{
	return t->job->kind->scorer;
}

static unsigned looks(const engine_task *t)
{
	return t->job->o->precision > 0 && !scorer_of(t)->step ? LOOKS : 1;
}

/* Of each look's interval, so that all of them together hold the truth at 95 % (Bonferroni). */
static double level(const engine_task *t)
{
	return 1 - 0.05 / looks(t);
}

/* ---- Items ------------------------------------------------------------------------------------------------------------ */

int score_shuffle(engine_task *t, error *err)
{
	score_task *mine = t->data;
	uint64_t key = hash64_mix(t->job->o->seed, t->row.feature);
	score_item *from = mine->items;
	size_t count[SCORE_STRATA] = { 0 }, seen[SCORE_STRATA] = { 0 };

	mine->items = arena_alloc(&t->mem, mine->n + 1, sizeof(*mine->items));
	if (!mine->items)
		return error_nomem(err, "windows");
	for (size_t i = 0; i < mine->n; i++) {
		mine->items[hash64_permute(i, mine->n, key)] = from[i];
		count[from[i].stratum]++;
	}
	for (size_t i = 0; i < mine->n; i++) {
		score_item *it = &mine->items[i];

		it->look = (unsigned)(seen[it->stratum]++ * looks(t) / count[it->stratum]);
		it->asked[SCORE_OWN] = it->look == 0;
	}
	return 0;
}

/* Which items are judged by a baseline too: the first n of each kind that counts in the value, as shown. */
static void choose_baseline(score_task *mine, score_label whose, size_t n)
{
	size_t left[2] = { n, n };

	for (size_t i = 0; i < mine->n && mine->label[whose].text; i++) {
		score_item *it = &mine->items[i];
		bool fires = it->stratum == SCORE_FIRING;

		if (it->stratum > SCORE_MISMARKED || left[fires] == 0)
			continue;
		left[fires]--;
		it->asked[whose] = true;
	}
}

/* The label of another feature of this job, chosen by hash, with another text; none where there is no such. */
static int find_other(engine_task *t, error *err)
{
	score_task *mine = t->data;
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
		if (strcmp(e.text, mine->label[SCORE_OWN].text) == 0 || (!job->o->client && !e.rule))
			continue;
		mine->label[SCORE_OTHER] = e;
		return 0;
	}
	return 0;
}

static int find_baselines(engine_task *t, error *err)
{
	const explain_opts *o = t->job->o;
	score_task *mine = t->data;
	size_t n = o->n_baseline;
	int rc;

	if (!mine->scorer->labelled)
		return 0;
	rc = find_other(t, err);
	if (o->client)
		mine->label[SCORE_EMPTY].text =
		        mine->scorer->nothing ? mine->scorer->nothing : "(none is given)";
	if (mine->scorer->together && n)
		n = mine->n;
	choose_baseline(mine, SCORE_OTHER, o->client ? n : mine->n);
	choose_baseline(mine, SCORE_EMPTY, n);
	return rc;
}

/* ---- Judging ---------------------------------------------------------------------------------------------------------- */

int score_batch_ids(engine_task *t, const char **ids, const score_batch *b, error *err)
{
	const store_window **w;
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += b->items[i]->n_shown;
	w = arena_alloc(&t->mem, n + 1, sizeof(*w));
	if (!w)
		return error_nomem(err, "windows");
	n = 0;
	for (size_t i = 0; i < b->n; i++)
		for (uint32_t k = 0; k < b->items[i]->n_shown; k++)
			w[n++] = &b->items[i]->shown[k].w;
	return engine_example_ids(t, ids, w, n, err);
}

int score_ask(engine_task *t, score_batch *b, unsigned sample, error *err)
{
	const score_task *mine = t->data;
	const char *label = mine->label[b->whose].text, *ids = NULL;
	bool lists = mine->scorer->no && !(t->form && t->form == mine->form_again);
	unsigned each = lists ? TOKENS_A_NUMBER : TOKENS_AN_ANSWER,
	         limit = (unsigned)b->n * each + TOKENS_FRAME;
	text texts, line;
	char count[24];
	int rc = 0;

	text_init(&texts, PROMPT_MAX);
	text_init(&line, PROMPT_MAX);
	snprintf(count, sizeof(count), "%zu", b->n);
	for (size_t i = 0; i < b->n && rc == 0; i++)
		rc = mine->scorer->show(&texts, b->items[i], i + 1, err);
	if (rc == 0)
		rc = prompt_add_line(&line, label ? label : "", err);
	if (rc == 0)
		rc = score_batch_ids(t, &ids, b, err);
	if (rc == 0) {
		prompt_field fields[] = { { "label", line.data ? line.data : "" },
			                  { "texts", texts.data },
			                  { "count", count } };

		rc = engine_ask_fill(t, fields, ARRAY_LEN(fields), ids, limit, sample, b, err);
	}
	text_free(&texts);
	text_free(&line);
	return rc;
}

static int judge_by_rule(engine_task *t, score_batch *b, error *err)
{
	const score_task *mine = t->data;
	const char *ids;
	int rc = score_batch_ids(t, &ids, b, err);

	for (size_t i = 0; i < b->n && rc == 0; i++)
		rc = mine->scorer->by_rule(&b->items[i]->answer[b->whose], mine->label[b->whose].rule,
		                           b->items[i], err);
	return rc < 0 ? rc : engine_ask_add(t, NULL, NULL, NULL, ids, 0, 0, b, err);
}

/* Items a request: of questions that show several windows fewer. */
static size_t batch_size(const engine_task *t)
{
	const score_task *mine = t->data;
	size_t shown = mine->n ? mine->items[0].n_shown : 1, n = t->job->o->per_prompt / shown;

	return !t->job->o->client ? mine->n + 1 : mine->scorer->batch ? mine->scorer->batch : n ? n : 1;
}

int score_judge(engine_task *t, score_label whose, unsigned sample, error *err)
{
	score_task *mine = t->data;
	size_t at = 0, size = batch_size(t);
	score_batch *b;
	unsigned form = t->form;
	int rc = 0;

	if (sample && mine->form_again)
		t->form = mine->form_again;
	while (rc == 0) {
		b = arena_alloc(&t->mem, 1, sizeof(*b) + size * sizeof(b->items[0]));
		if (!b) {
			rc = error_nomem(err, "a request");
			break;
		}
		b->whose = whose;
		for (; at < mine->n && b->n < size; at++) {
			score_item *it = &mine->items[at];

			if (!it->asked[whose] || !isnan(it->answer[whose]) || it->questions[whose] > sample)
				continue;
			it->questions[whose]++;
			b->items[b->n++] = it;
		}
		if (b->n == 0)
			break;
		mine->n_again += sample && whose == SCORE_OWN ? (uint32_t)b->n : 0;
		rc = t->job->o->client ? mine->scorer->ask(t, b, sample, err) : judge_by_rule(t, b, err);
	}
	t->form = form;
	return rc;
}

static int judge_all(engine_task *t, unsigned sample, error *err)
{
	const score_task *mine = t->data;
	int last = mine->scorer->together ? SCORE_OWN : SCORE_EMPTY, rc = 0;

	for (int whose = SCORE_OWN; whose <= last && rc == 0; whose++)
		rc = score_judge(t, (score_label)whose, sample, err);
	return rc;
}

static int conclude(engine_task *t, error *err);

static int begin(engine_task *t, error *err)
{
	const explain_opts *o = t->job->o;
	score_wanted want = { STORE_REPORT, o->choice == EXPLAIN_BY_KIND ? EXPLAIN_DECILES : o->choice,
		              scorer_of(t)->step ? o->n_prompts : o->n_positive, o->n_negative,
		              scorer_of(t)->step ? 0 : o->n_hard };
	score_task *mine = arena_alloc(&t->mem, 1, sizeof(*mine));
	score_material m = { 0 };
	const char *why = NULL;
	char buf[128];
	int rc;

	if (!mine)
		return error_nomem(err, "a task");
	t->data = mine;
	mine->hard = (double)NAN;
	mine->form_again = t->job->n_forms ? 1 : 0;
	mine->scorer = scorer_of(t);
	rc = t->row.explanation_id ? store_explanation_get(&mine->label[SCORE_OWN], t->job->s,
	                                                   t->row.explanation_id, &t->mem, err)
	                           : 0;
	if (rc < 0)
		return rc;
	if (!o->client && !mine->label[SCORE_OWN].rule)
		return engine_settle(t, STORE_TASK_SKIPPED,
		                     "its label is no rule: a model has to judge it (--base-url)", err);
	rc = score_gather(&why, buf, &m, t, &want, err);
	if (rc == 0 && !why)
		rc = mine->scorer->make(&why, buf, t, &m, err);
	if (rc == 0 && why)
		return engine_settle(t, STORE_TASK_SKIPPED, why, err);
	if (rc == 0)
		rc = score_shuffle(t, err);
	if (rc == 0)
		rc = find_baselines(t, err);
	if (rc == 0)
		rc = mine->scorer->step ? mine->scorer->step(t, err) : judge_all(t, 0, err);
	return rc < 0 || o->client ? rc : conclude(t, err);
}

/* ---- Answers ---------------------------------------------------------------------------------------------------------- */

/* An endpoint that failed fails the task: the answers that did come are in the log, so trying again costs only the rest. */
static int take_all(engine_task *t, error *err)
{
	const score_task *mine = t->data;
	int rc = 0;

	for (engine_ask *ask = t->asks; ask && rc == 0; ask = ask->next) {
		bool answered = ask->answer || (ask->request.api != EXPLAIN_CHAT && ask->reply);

		if (!answered && ask->err.code != ERR_FORMAT)
			return engine_settle(t, engine_failure(ask), ask->err.msg, err);
		if (answered && !ask->read)
			rc = mine->scorer->take(ask, err);
		ask->read = true;
	}
	return rc;
}

/* Whether the next look is due: the interval of what is answered so far is too wide. */
static int look_on(bool *on, engine_task *t, error *err)
{
	const score_task *mine = t->data;
	store_score sc = { 0 };
	int rc = 0;

	*on = false;
	if (mine->look + 1 >= looks(t))
		return 0;
	rc = mine->scorer->measure_up(&sc, t, level(t), err);
	*on = !(sc.high - sc.low <= 2 * t->job->o->precision);
	return rc;
}

static int settle_failed(engine_task *t, error *err);

/* What comes next, where nothing stayed without a reply. */
static int step_on(engine_task *t, error *err)
{
	unsigned before = t->n_asks;
	int rc;

	for (const engine_ask *ask = t->asks; ask; ask = ask->next)
		if (!ask->reply)
			return settle_failed(t, err);
	rc = scorer_of(t)->step(t, err);
	return rc < 0 || t->settled || t->n_asks > before ? rc : conclude(t, err);
}

/* Ask once more about what has no answer; then, if need be, about more; then conclude. */
static int finish(engine_task *t, error *err)
{
	score_task *mine = t->data;
	unsigned before = t->n_asks;
	bool on;
	int rc = take_all(t, err);

	if (rc < 0 || t->settled)
		return rc;
	if (mine->scorer->step)
		return step_on(t, err);
	if (!mine->again) {
		mine->again = true;
		rc = judge_all(t, 1, err);
		if (rc < 0 || t->n_asks > before)
			return rc;
	}
	rc = look_on(&on, t, err);
	if (rc < 0 || !on)
		return rc < 0 ? rc : conclude(t, err);
	mine->look++;
	mine->again = false;
	for (size_t i = 0; i < mine->n; i++)
		mine->items[i].asked[SCORE_OWN] |= mine->items[i].look == mine->look;
	rc = score_judge(t, SCORE_OWN, 0, err);
	return rc < 0 || t->n_asks > before ? rc : conclude(t, err);
}

/* ---- The score -------------------------------------------------------------------------------------------------------- */

static int settle_failed(engine_task *t, error *err)
{
	for (const engine_ask *ask = t->asks; ask; ask = ask->next)
		if (ask->err.code)
			return engine_settle(t, engine_failure(ask), ask->err.msg, err);
	return engine_settle(t, STORE_TASK_FAILED,
	                     "the judge answered about other texts than it was asked about", err);
}

static int judge_lexically(engine_task *t, const char *phrase, const char *rule, error *err)
{
	score_task *mine = t->data;
	store_explanation *e = &mine->label[SCORE_LEXICAL];
	int rc = 0;

	e->text = arena_strdup(&t->mem, phrase);
	e->rule = arena_strdup(&t->mem, rule);
	if (!e->text || !e->rule)
		return error_nomem(err, "a label");
	for (size_t i = 0; i < mine->n && rc == 0; i++) {
		score_item *it = &mine->items[i];

		it->asked[SCORE_LEXICAL] = it->asked[SCORE_OWN];
		rc = mine->scorer->by_rule(&it->answer[SCORE_LEXICAL], e->rule, it, err);
	}
	return rc;
}

/* What the lexical explainer's rule, from the label documents, makes of the same items: it costs nothing. */
static int add_lexical(engine_task *t, error *err)
{
	const score_task *mine = t->data;
	char *phrase = NULL, *rule = NULL;
	store_window *silent;
	size_t n_silent = 0;
	example_set x;
	int rc;

	if (!t->job->o->client || !mine->scorer->by_rule || !mine->scorer->labelled)
		return 0;
	rc = examples_read(&x, t, STORE_LABEL, err);
	if (rc < 0 || x.n == 0)
		return rc;
	rc = examples_silent(&silent, &n_silent, t, STORE_LABEL,
	                     2 * x.n > LEXICAL_SILENT ? 2 * x.n : LEXICAL_SILENT, err);
	if (rc < 0 || n_silent == 0)
		return rc;
	rc = explain_lexical_label(&phrase, &rule, x.w, x.n, silent, n_silent, err);
	if (rc == 0)
		rc = judge_lexically(t, phrase, rule, err);
	free(phrase);
	free(rule);
	return rc;
}

/* The score of a feature without a label: on the row that stands for that, made now where there is none. */
static int hang_on_feature(engine_task *t, store_score *sc, error *err)
{
	int rc = store_unlabelled_get(&sc->explanation_id, t->job->s, t->job->source, t->row.feature, err);

	if (rc < 0 || sc->explanation_id)
		return rc;
	t->explanation = arena_alloc(&t->mem, 1, sizeof(*t->explanation));
	if (!t->explanation)
		return error_nomem(err, "a score");
	*t->explanation = (store_explanation){ .text = "(no label)",
		                               .method = STORE_UNLABELLED,
		                               .source_id = t->job->source,
		                               .feature = t->row.feature,
		                               .confidence = (double)NAN,
		                               .rejected = true };
	t->chosen_by = sc;
	return 0;
}

static int conclude(engine_task *t, error *err)
{
	const score_task *mine = t->data;
	bool model = t->job->o->client != NULL;
	store_score *sc = arena_alloc(&t->mem, 1, sizeof(*sc));
	int rc = sc ? add_lexical(t, err) : error_nomem(err, "a score");

	if (rc < 0)
		return rc;
	*sc = (store_score){ .explanation_id = t->row.explanation_id,
		             .scorer = mine->scorer->name,
		             .judge = t->job->method,
		             .prompt_sha256 = model ? t->job->prompt_sha256 : NULL,
		             .schema_sha256 = model ? t->job->schema_sha256 : NULL };
	rc = mine->scorer->measure_up(sc, t, level(t), err);
	if (rc < 0)
		return rc;
	if (isnan(sc->value))
		return settle_failed(t, err);
	t->score = sc;
	if (!sc->explanation_id)
		rc = hang_on_feature(t, sc, err);
	return rc < 0 ? rc : engine_settle(t, STORE_TASK_DONE, NULL, err);
}

static bool add_number(cJSON *o, const char *name, double x)
{
	return isnan(x) ? cJSON_AddNullToObject(o, name) != NULL
	                : cJSON_AddNumberToObject(o, name, x) != NULL;
}

static bool report(const engine_task *t, cJSON *about)
{
	const score_task *mine = t->data;
	const store_score *sc = t->score;
	double chance = mine->scorer->chance(t->job->o);

	if (mine->label[SCORE_OWN].text &&
	    !cJSON_AddStringToObject(about, "label", mine->label[SCORE_OWN].text))
		return false;
	return !sc ||
	       (add_number(about, "value", sc->value) && add_number(about, "low", sc->low) &&
	        add_number(about, "high", sc->high) && add_number(about, "baseline", sc->baseline) &&
	        add_number(about, "hard", mine->hard) &&
	        cJSON_AddBoolToObject(about, "holds_chance", sc->low <= chance && chance <= sc->high) &&
	        add_number(about, "n_positive", sc->n_positive) &&
	        add_number(about, "n_negative", sc->n_negative) &&
	        add_number(about, "n_failed", sc->n_failed));
}

/* ---- The job ---------------------------------------------------------------------------------------------------------- */

/* Whether the label that counts, or of a scorer that takes none the feature, has no score by this scorer and judge. */
static int lacks(bool *out, store *s, int64_t source, const explain_opts *o, uint32_t feature, error *err)
{
	const char *judge = o->client ? o->client->model : "lexical";
	store_explanation e;
	error ours = { 0 };
	arena mem = ARENA_INIT;
	bool scored = false;
	int rc;

	if (!score_kind(o->scorer, false)->scorer->labelled) {
		rc = store_feature_scored(&scored, s, source, feature, o->scorer, judge, err);
		*out = !scored;
		return rc;
	}
	rc = store_explanation_latest(&e, s, source, feature, &mem, &ours);
	if (rc == 0)
		rc = store_score_exists(&scored, s, e.id, o->scorer, judge, &ours);
	arena_clear(&mem);
	*out = !scored;
	return rc < 0 && rc != ERR_NOTFOUND ? error_set(err, rc, "%s", ours.msg) : 0;
}

/* Features without a label have no task, but where the scorer takes no label. */
static int choose_tasks(store_task *tasks, size_t *n_tasks, store *s, const store_source *source,
                        const explain_opts *o, const uint32_t *features, size_t n, error *err)
{
	store_explanation e;
	error ours = { 0 };
	arena mem = ARENA_INIT;
	bool labelled = score_kind(o->scorer, false)->scorer->labelled;
	int rc = 0;

	*n_tasks = 0;
	for (size_t i = 0; i < n; i++) {
		rc = store_explanation_latest(&e, s, source->id, features[i], &mem, &ours);
		if (rc < 0 && rc != ERR_NOTFOUND)
			break;
		if (rc == 0 || !labelled)
			tasks[(*n_tasks)++] =
			        (store_task){ .feature = features[i], .explanation_id = rc == 0 ? e.id : 0 };
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
	       cJSON_AddNumberToObject(s, "n_hard", o->n_hard) &&
	       cJSON_AddNumberToObject(s, "n_baseline", o->n_baseline) &&
	       cJSON_AddNumberToObject(s, "per_prompt", o->per_prompt) &&
	       cJSON_AddNumberToObject(s, "group", o->group) &&
	       cJSON_AddNumberToObject(s, "precision", o->precision) &&
	       cJSON_AddBoolToObject(s, "logprobs", o->logprobs) &&
	       (!o->subject || subject_add_settings(s, o)) &&
	       (!o->embed_model || cJSON_AddStringToObject(s, "embed_model", o->embed_model));
}

static int check(const engine_kind *k, const explain_opts *o, error *err)
{
	if (o->n_positive < EXAMPLES_LEAST || o->n_positive > 10000 || o->n_negative < 1 ||
	    o->n_negative > 10000 || o->n_hard > 10000)
		return error_set(err, ERR_ARG,
		                 "%u firing, %u silent and %u hard windows are asked for, %d to 10000, 1 to "
		                 "10000 and 0 to 10000 are allowed",
		                 o->n_positive, o->n_negative, o->n_hard, EXAMPLES_LEAST);
	if (o->per_prompt < 1 || o->per_prompt > 100)
		return error_set(err, ERR_ARG, "%u windows a request are asked for, 1 to 100 are allowed",
		                 o->per_prompt);
	if (o->group < 3 || o->group > 10)
		return error_set(err, ERR_ARG, "groups of %u windows are asked for, 3 to 10 are allowed",
		                 o->group);
	if (!(o->precision >= 0 && o->precision <= 0.5))
		return error_set(err, ERR_ARG, "a precision of %g is asked for, 0 to 0.5 is allowed",
		                 o->precision);
	if (!o->client && o->embed_model)
		return error_set(err, ERR_ARG, "embeddings need an endpoint (--base-url)");
	if (k->scorer->steers && !o->subject)
		return error_set(err, ERR_ARG, "the scorer '%s' needs a model to steer (--subject)",
		                 k->scorer->name);
	if (k->scorer->steers)
		return subject_check(o, err);
	if (!o->client && k->scorer->subject)
		return error_set(err, ERR_ARG,
		                 "the scorer '%s' needs a model (--subject, or --base-url of a server that "
		                 "tells log-probabilities of prompts)",
		                 k->scorer->name);
	if (!o->client && !k->scorer->by_rule)
		return error_set(err, ERR_ARG, "the scorer '%s' needs a model to judge (--base-url)",
		                 k->scorer->name);
	return 0;
}

#define SCORE_KIND_WITH(a_scorer, a_schema, a_prompt, some_fields, opens, some_forms, how_many)              \
	{                                                                                                    \
		.name = "score", .unit = "labels", .scorer = &(a_scorer), .schema_name = #a_schema,          \
		.schema = schema_##a_schema, .prompt = (a_prompt), .fields = (some_fields),                  \
		.n_fields = ARRAY_LEN(some_fields), .left_out = "without_label", .lacks = lacks,             \
		.check = check, .choose = choose_tasks, .settings = settings, .open = (opens),               \
		.begin = begin, .finish = finish, .report = report, .forms = (some_forms),                   \
		.n_forms = (how_many)                                                                        \
	}
#define SCORE_KIND(a_scorer, a_schema, a_prompt, some_fields, opens)                                         \
	SCORE_KIND_WITH(a_scorer, a_schema, a_prompt, some_fields, opens, NULL, NULL)

/* What has no answer in lists of numbers is asked about again in the form of the graded ones, which small models fill in. */
static size_t n_forms(const explain_opts *o)
{
	return o->client ? 1 : 0;
}
static const engine_form detection_again[] = { { "detection_graded", schema_detection_graded,
	                                         prompt_detection_graded } };
static const engine_form fuzz_again[] = { { "fuzz_graded", schema_fuzz_graded, prompt_fuzz_graded } };
#define SCORE_LIST_KIND(a_name, some_fields)                                                                 \
	SCORE_KIND_WITH(scorer_##a_name, a_name, prompt_##a_name, some_fields, NULL, a_name##_again, n_forms)

static const engine_kind kinds[] = {
	SCORE_LIST_KIND(detection, labelled_fields),
	SCORE_KIND(scorer_confidence, confidence, prompt_confidence, labelled_fields, NULL),
	SCORE_LIST_KIND(fuzz, labelled_fields),
	SCORE_KIND(scorer_intruder, intruder, prompt_intruder, unlabelled_fields, NULL),
	SCORE_KIND(scorer_surprisal, none, prompt_surprisal, label_field, subject_open),
	SCORE_KIND(scorer_simulation, simulation, prompt_simulation, labelled_fields, simulate_open),
	SCORE_KIND(scorer_embedding, none, prompt_embedding, label_field, engine_embed_probe),
	SCORE_KIND(scorer_intervention, none, prompt_intervention, passage_field, subject_open_intervention),
};

/* Of these with log-probabilities: one answer at a time, whose token has alternatives; a prompt's. */
static const engine_kind graded[] = {
	SCORE_KIND(scorer_detection_graded, detection_graded, prompt_detection_graded, labelled_fields, NULL),
	SCORE_KIND(scorer_fuzz_graded, fuzz_graded, prompt_fuzz_graded, labelled_fields, NULL),
	SCORE_KIND(scorer_simulation_echo, none, prompt_simulation_logprobs, echo_fields, simulate_open_echo),
};

const engine_kind *score_kind(const char *name, bool logprobs)
{
	for (size_t i = 0; logprobs && i < ARRAY_LEN(graded); i++)
		if (strcmp(name, graded[i].scorer->name) == 0)
			return &graded[i];
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(name, kinds[i].scorer->name) == 0)
			return &kinds[i];
	return NULL;
}

const char *explain_scorer_name(size_t i, const char **measure)
{
	if (i >= ARRAY_LEN(kinds))
		return NULL;
	if (measure)
		*measure = kinds[i].scorer->measure;
	return kinds[i].scorer->name;
}

/* The subject server is the endpoint, and prices are not its own. */
static void ask_subject_alone(explain_opts *o)
{
	o->client = o->subject;
	o->price = (explain_price){ .known = o->price.known };
}

int explain_score(cJSON **summary, store *s, const explain_opts *o, error *err)
{
	const engine_kind *k = score_kind(o->scorer, o->logprobs);
	explain_opts mine = *o;
	explain_client_opts client;

	if (!k)
		return error_set(err, ERR_ARG, "unknown scorer '%.60s'", o->scorer);
	if (!k->scorer->steers)
		mine.rows = NULL;
	if (!k->scorer->subject)
		mine.subject = NULL;
	else if (mine.subject && (!k->scorer->steers || !mine.client))
		ask_subject_alone(&mine);
	if (k->scorer->no_hard) {
		mine.n_hard = 0;
		mine.embed_model = NULL;
	}
	if (k->scorer->embeds && o->client && o->embed_model) { /* the job's model is the one that it asks */
		client = *o->client;
		client.model = o->embed_model;
		mine.client = &client;
	}
	return kind_start(summary, k, s, &mine, err);
}
