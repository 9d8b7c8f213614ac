/* report_features: what labels and scores took, and the table of features. */
#include <math.h>
#include <stdlib.h>

#include "explain/report_parts.h"

/* ---- Cost --------------------------------------------------------------------------------------------------------------- */

static void put_cost(cJSON *to, const store_job_cost *c, bool *failed)
{
	double n = c->done ? (double)c->done : (double)NAN;
	cJSON *each;

	put_text(to, "kind", c->kind, failed);
	put_text(to, "scorer", c->scorer, failed);
	put_text(to, "model", c->model, failed);
	put_number(to, "done", (double)c->done, failed);
	put_number(to, "failed", (double)c->failed, failed);
	put_number(to, "skipped", (double)c->skipped, failed);
	put_number(to, "requests", (double)c->requests, failed);
	put_number(to, "input_tokens", (double)c->input_tokens, failed);
	put_number(to, "cached_tokens", (double)c->cached_tokens, failed);
	put_number(to, "output_tokens", (double)c->output_tokens, failed);
	put_number(to, "cost", c->cost, failed);
	each = put_object(to, "a_feature", failed);
	put_number(each, "requests", (double)c->requests / n, failed);
	put_number(each, "tokens", (double)(c->input_tokens + c->output_tokens) / n, failed);
	put_number(each, "cost", c->cost / n, failed);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void add_cost(store_job_cost *to, const store_job_cost *c)
{
	to->done += c->done;
	to->failed += c->failed;
	to->skipped += c->skipped;
	to->requests += c->requests;
	to->input_tokens += c->input_tokens;
	to->cached_tokens += c->cached_tokens;
	to->output_tokens += c->output_tokens;
	to->cost = isnan(to->cost) ? c->cost : isnan(c->cost) ? to->cost : to->cost + c->cost;
}

static int put_jobs(cJSON *list, store_job_cost **sum, size_t *n_sum, size_t *room, report *r, size_t source,
                    bool *failed, error *err)
{
	store_job_cost *jobs = NULL;
	size_t n = 0;
	int rc = store_job_costs(&jobs, &n, r->s, r->source[source].id, &r->mem, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		cJSON *one = put_object(list, NULL, failed);
		size_t k = 0;

		put_number(one, "job", (double)jobs[i].job, failed);
		put_text(one, "source", r->source[source].name, failed);
		put_text(one, "state", jobs[i].state, failed);
		put_cost(one, &jobs[i], failed);
		while (k < *n_sum && !(same_text((*sum)[k].kind, jobs[i].kind) &&
		                       same_text((*sum)[k].scorer, jobs[i].scorer) &&
		                       same_text((*sum)[k].model, jobs[i].model)))
			k++;
		if (k < *n_sum) {
			add_cost(&(*sum)[k], &jobs[i]);
		} else if (mem_grow(sum, room, k + 1, sizeof(**sum)) < 0) {
			rc = error_nomem(err, "jobs");
		} else {
			(*sum)[k] = jobs[i];
			*n_sum = k + 1;
		}
	}
	free(jobs);
	return rc;
}

int report_put_cost(cJSON *to, report *r, bool *failed, error *err)
{
	cJSON *jobs = put_array(to, "jobs", failed), *scorers;
	store_job_cost *sum = NULL;
	size_t n = 0, room = 0;
	int rc = 0;

	for (size_t i = 0; i < r->n_sources && rc == 0; i++)
		rc = put_jobs(jobs, &sum, &n, &room, r, i, failed, err);
	scorers = put_array(to, "scorers", failed);
	for (size_t i = 0; i < n && rc == 0; i++)
		put_cost(put_object(scorers, NULL, failed), &sum[i], failed);
	free(sum);
	return rc;
}

/* ---- Features ------------------------------------------------------------------------------------------------------------ */

static void put_score(cJSON *list, const report_score *x, bool *failed)
{
	const store_scored *row = x->row;
	cJSON *one = put_object(list, NULL, failed);
	stats_value v = { row->value, row->low, row->high };
	bool told, holds = report_holds_chance(x, &told);

	put_number(one, "series", (double)x->series, failed);
	put_value(one, &v, failed);
	put_number(one, "n_positive", row->n_positive, failed);
	put_number(one, "n_negative", row->n_negative, failed);
	put_number(one, "n_failed", row->n_failed, failed);
	if (told)
		put_bool(one, "holds_chance", holds, failed);
	else
		put_text(one, "holds_chance", NULL, failed);
	put_number(one, "baseline", row->baseline, failed);
	put_number(one, "hard", report_number(x->details, "hard", "value"), failed);
	put_number(one, "lexical", report_number(x->details, "lexical", "value"), failed);
}

typedef struct flags {
	unsigned told, chance, below, yes, no, lexical, other, failures;
} flags;

static void add_flags(flags *f, const report_score *x)
{
	const store_scored *row = x->row;
	const char *always = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(x->details, "always"));
	double asked, missing = report_unanswered(x, &asked);
	bool told;

	f->chance += report_holds_chance(x, &told);
	f->told += told;
	f->below += told && row->high < x->chance;
	f->yes += always && strcmp(always, "yes") == 0;
	f->no += always && strcmp(always, "no") == 0;
	f->lexical += report_number(x->details, "lexical", "value") > row->value;
	f->other += row->baseline >= row->value;
	f->failures += missing * 10 > asked;
}

static void put_flags(cJSON *to, const flags *f, const store_scored *row, bool *failed)
{
	const struct {
		bool is;
		const char *name;
	} all[] = { { f->told && f->chance == f->told, "chance" },
		    { f->below > 0, "below chance" },
		    { f->yes > 0, "always yes" },
		    { f->no > 0, "always no" },
		    { f->lexical > 0, "lexical is better" },
		    { f->other > 0, "other label as good" },
		    { f->failures > 0, "unanswered" },
		    { row->density > 0.1, "dense" },
		    { row->shared, "shared label" } };
	cJSON *list = put_array(to, "flags", failed);

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (all[i].is)
			put_text(list, NULL, all[i].name, failed);
}

/* The scores x (n) of one feature. */
static void put_feature(cJSON *one, const report *r, const report_score *x, size_t n, bool *failed)
{
	const store_scored *row = x->row;
	flags f = { 0 };
	cJSON *list;

	put_text(one, "source", r->source[x->source].name, failed);
	put_number(one, "feature", row->feature, failed);
	put_text(one, "label", row->label, failed);
	put_text(one, "method", row->method, failed);
	put_text(one, "model", row->model, failed);
	put_number(one, "density", row->density, failed);
	put_number(one, "fires", (double)row->n_fires, failed);
	list = put_array(one, "scores", failed);
	for (size_t i = 0; i < n; i++) {
		put_score(list, &x[i], failed);
		add_flags(&f, &x[i]);
	}
	put_flags(one, &f, row, failed);
}

static int put_windows(cJSON *one, report *r, const report_score *x, bool *failed, error *err)
{
	arena mem = ARENA_INIT;
	store_window *w = NULL;
	size_t n = 0;
	cJSON *list = put_array(one, "windows", failed);
	int rc = store_windows_firing(&w, &n, r->s, r->source[x->source].id, x->row->feature, STORE_ANY, &mem,
	                              err);

	for (size_t i = 0; i < n && i < r->o->n_windows && rc == 0; i++) {
		cJSON *at = put_object(list, NULL, failed), *tokens, *values;
		char id[24];

		snprintf(id, sizeof(id), "%lld", (long long)w[i].context);
		put_text(at, "context", id, failed);
		put_number(at, "first", w[i].first, failed);
		tokens = put_array(at, "tokens", failed);
		for (uint32_t k = 0; k < w[i].length; k++)
			put_text(tokens, NULL, w[i].text[k], failed);
		values = put_array(at, "values", failed);
		for (uint32_t k = 0; k < w[i].length; k++)
			put_number(values, NULL, (double)w[i].value[k], failed);
	}
	arena_clear(&mem);
	return rc;
}

/* Of each feature the first score; those that the ordering series lacks come last. */
static int best_first(const void *a, const void *b)
{
	const report_score *x = *(const report_score *const *)a, *y = *(const report_score *const *)b;

	if (isnan(x->order) != isnan(y->order))
		return isnan(x->order) ? 1 : -1;
	if (x->order < y->order || x->order > y->order)
		return x->order > y->order ? -1 : 1;
	return report_by_feature(x, y);
}

static size_t scores_of(const report *r, size_t from)
{
	size_t n = 1;

	while (from + n < r->n && report_by_feature(&r->score[from], &r->score[from + n]) == 0)
		n++;
	return n;
}

static size_t order_features(const report_score **first, report *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i += scores_of(r, i)) {
		for (size_t k = 0; k < scores_of(r, i); k++)
			if (r->score[i + k].series == r->by)
				r->score[i].order = r->score[i + k].row->value;
		first[n++] = &r->score[i];
	}
	qsort(first, n, sizeof(*first), best_first);
	return n;
}

int report_put_features(cJSON *page, report *r, bool *failed, error *err)
{
	const report_score **first = arena_alloc(&r->mem, r->n + 1, sizeof(*first));
	cJSON *list = put_array(page, "features", failed), *best = put_array(page, "best", failed),
	      *worst = put_array(page, "worst", failed), *one;
	size_t n, ranked, n_best, n_worst;
	int rc = 0;

	if (!first)
		return error_nomem(err, "features");
	n = order_features(first, r);
	for (ranked = n; ranked > 0 && isnan(first[ranked - 1]->order);)
		ranked--;
	n_best = (ranked + 1) / 2 < r->o->n_shown ? (ranked + 1) / 2 : r->o->n_shown;
	n_worst = ranked / 2 < r->o->n_shown ? ranked / 2 : r->o->n_shown;
	for (size_t i = 0; i < n && rc == 0; i++) {
		one = put_object(list, NULL, failed);
		put_feature(one, r, first[i], scores_of(r, (size_t)(first[i] - r->score)), failed);
		if (i < n_best || (i < ranked && i >= ranked - n_worst))
			rc = put_windows(one, r, first[i], failed, err);
	}
	for (size_t i = 0; i < n_best; i++)
		put_number(best, NULL, (double)i, failed);
	for (size_t i = 0; i < n_worst; i++)
		put_number(worst, NULL, (double)(ranked - 1 - i), failed);
	return rc;
}
