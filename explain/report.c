/* report: the scores of a store read, put into series, and one page of what they say. */
#include <math.h>
#include <stdlib.h>

#include "explain/report_parts.h"

explain_report_opts explain_report_opts_default(void)
{
	return (explain_report_opts){ .n_shown = 15, .n_windows = 3 };
}

/* ---- Reading ---------------------------------------------------------------------------------------------------------- */

/* Names of all sources of the store, in the arena. */
static int all_names(const char *const **names, size_t *n, report *r, error *err)
{
	cJSON *page = NULL;
	const cJSON *list, *one;
	const char **copy;
	int rc = store_source_list(&page, r->s, err);

	if (rc < 0)
		return rc;
	list = cJSON_GetObjectItemCaseSensitive(page, "sources");
	copy = arena_alloc(&r->mem, (size_t)cJSON_GetArraySize(list) + 1, sizeof(*copy));
	*n = 0;
	cJSON_ArrayForEach(one, list)
	{
		const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(one, "name"));

		if (copy && name && (copy[*n] = arena_strdup(&r->mem, name)))
			++*n;
		else
			rc = error_nomem(err, "sources");
	}
	cJSON_Delete(page);
	*names = copy;
	return copy ? rc : error_nomem(err, "sources");
}

static int read_source(report *r, size_t i, const char *name, error *err)
{
	store_source *to = &r->source[i];
	int rc = store_source_get(to, r->s, name, err);

	for (size_t k = 0; k < i && rc == 0; k++)
		if (r->source[k].id == to->id)
			rc = error_set(err, ERR_ARG, "the source '%s' is named twice", name);
	if (rc == 0 && !(to->name = arena_strdup(&r->mem, to->name)))
		rc = error_nomem(err, "sources");
	if (rc == 0)
		rc = store_scored_count(&r->counts[i], r->s, to->id, err);
	if (rc == 0)
		rc = store_scored_list(&r->rows[i], &r->n_rows[i], r->s, to->id, &r->mem, err);
	return rc;
}

static int read_sources(report *r, error *err)
{
	const char *const *names = r->o->sources.names;
	size_t n = r->o->sources.n;
	int rc = n ? 0 : all_names(&names, &n, r, err);

	if (rc < 0)
		return rc;
	r->source = arena_alloc(&r->mem, n + 1, sizeof(*r->source));
	r->counts = arena_alloc(&r->mem, n + 1, sizeof(*r->counts));
	r->rows = arena_alloc(&r->mem, n + 1, sizeof(*r->rows));
	r->n_rows = arena_alloc(&r->mem, n + 1, sizeof(*r->n_rows));
	if (!r->source || !r->counts || !r->rows || !r->n_rows)
		return error_nomem(err, "sources");
	for (r->n_sources = 0; r->n_sources < n && rc == 0; r->n_sources++)
		rc = read_source(r, r->n_sources, names[r->n_sources], err);
	return rc;
}

/* Details are ours, or of who wrote into the store: what is no object counts as empty. */
static int add_score(report *r, const store_scored *row, size_t source, error *err)
{
	report_score *x = &r->score[r->n];
	cJSON *details = NULL;
	error ours = { 0 };
	int rc = json_parse(&details, row->details, strlen(row->details), 1 << 24, 32, "details", &ours);

	if (rc < 0 || !cJSON_IsObject(details)) {
		cJSON_Delete(details);
		details = rc == ERR_NOMEM ? NULL : cJSON_CreateObject();
	}
	if (!details || !cJSON_AddItemToArray(r->parsed, details)) {
		cJSON_Delete(details);
		return error_nomem(err, "scores");
	}
	*x = (report_score){ .row = row, .source = source, .details = details, .order = (double)NAN };
	x->chance = report_number(details, "chance", NULL);
	r->n++;
	return 0;
}

static int read_scores(report *r, error *err)
{
	size_t all = 0;
	int rc = 0;

	for (size_t i = 0; i < r->n_sources; i++)
		all += r->n_rows[i];
	r->parsed = cJSON_CreateArray();
	r->score = arena_alloc(&r->mem, all + 1, sizeof(*r->score));
	r->room = arena_alloc(&r->mem, 2 * all + 1, sizeof(*r->room));
	if (!r->parsed || !r->score || !r->room)
		return error_nomem(err, "scores");
	for (size_t i = 0; i < r->n_sources; i++)
		for (size_t k = 0; k < r->n_rows[i] && rc == 0; k++)
			if (!isnan(r->rows[i][k].value))
				rc = add_score(r, &r->rows[i][k], i, err);
	return rc;
}

static int no_scores(const report *r, error *err)
{
	uint64_t replaced = 0, labelled = 0;

	for (size_t i = 0; i < r->n_sources; i++) {
		replaced += r->counts[i].replaced;
		labelled += r->counts[i].labelled;
	}
	if (replaced)
		return error_set(
		        err, ERR_NOTFOUND,
		        "'%s' has scores (%llu), but only of labels that count no more: run gloss score",
		        store_path(r->s), (unsigned long long)replaced);
	if (labelled)
		return error_set(err, ERR_NOTFOUND, "'%s' has labels but no scores: run gloss score",
		                 store_path(r->s));
	return error_set(err, ERR_NOTFOUND, "'%s' has no labels to report on: run gloss explain, gloss score",
	                 store_path(r->s));
}

/* ---- Series ------------------------------------------------------------------------------------------------------------ */

static int by_names(const report_series *a, const char *scorer, const char *judge)
{
	int order = strcmp(a->scorer, scorer);

	return order ? order : strcmp(a->judge, judge);
}

/* The series of these names, or where it is to be. */
static size_t find_series(const report *r, const char *scorer, const char *judge, bool *there)
{
	size_t i = 0;

	while (i < r->n_series && by_names(&r->series[i], scorer, judge) < 0)
		i++;
	*there = i < r->n_series && by_names(&r->series[i], scorer, judge) == 0;
	return i;
}

static int make_series(report *r, error *err)
{
	size_t room = 0;
	bool there;

	for (size_t i = 0; i < r->n; i++) {
		const store_scored *row = r->score[i].row;
		size_t at = find_series(r, row->scorer, row->judge, &there), n = r->n_series;

		if (!there) {
			if (mem_grow(&r->series, &room, n + 1, sizeof(*r->series)) < 0)
				return error_nomem(err, "scores");
			memmove(r->series + at + 1, r->series + at, (n - at) * sizeof(*r->series));
			r->series[at] = (report_series){ .scorer = row->scorer, .judge = row->judge };
			r->n_series++;
		}
		r->series[at].n++;
	}
	for (size_t i = 0; i < r->n_series; i++) {
		r->series[i].score = arena_alloc(&r->mem, r->series[i].n, sizeof(*r->series[i].score));
		if (!r->series[i].score)
			return error_nomem(err, "scores");
		r->series[i].n = 0;
	}
	for (size_t i = 0; i < r->n; i++) {
		report_score *x = &r->score[i];
		report_series *of;

		x->series = find_series(r, x->row->scorer, x->row->judge, &there);
		of = &r->series[x->series];
		of->score[of->n++] = x;
	}
	return 0;
}

/* Which series orders features: of the scorer asked for, the one with the most. */
static int choose_order(report *r, error *err)
{
	char all[128] = "";

	r->by = r->n_series;
	for (size_t i = 0; i < r->n_series; i++) {
		size_t used = strlen(all);

		if ((!r->o->by || strcmp(r->o->by, r->series[i].scorer) == 0) &&
		    (r->by == r->n_series || r->series[i].n > r->series[r->by].n))
			r->by = i;
		if (i == 0 || strcmp(r->series[i].scorer, r->series[i - 1].scorer) != 0)
			snprintf(all + used, sizeof(all) - used, "%s%s", used ? ", " : "",
			         r->series[i].scorer);
	}
	if (r->by == r->n_series)
		return error_set(err, ERR_NOTFOUND, "'%s' has no scores of '%.40s'; it has %s",
		                 store_path(r->s), r->o->by, all);
	return 0;
}

/* ---- The page ----------------------------------------------------------------------------------------------------------- */

static void put_sources(cJSON *page, const report *r, bool *failed)
{
	cJSON *list = put_array(page, "sources", failed), *one, *replaced;
	uint64_t scores = 0, features = 0, unscored = 0;

	for (size_t i = 0; i < r->n_sources; i++) {
		const report_score *last = NULL;
		unsigned scored = 0;

		for (size_t k = 0; k < r->n; k++) {
			const report_score *x = &r->score[k];

			scored += x->source == i && (!last || last->row->feature != x->row->feature);
			last = x->source == i ? x : last;
		}
		one = put_object(list, NULL, failed);
		put_text(one, "source", r->source[i].name, failed);
		put_number(one, "features", r->source[i].n_features, failed);
		put_number(one, "labelled", (double)r->counts[i].labelled, failed);
		put_number(one, "scored", scored, failed);
		scores += r->counts[i].replaced;
		features += r->counts[i].replaced_features;
		unscored += r->counts[i].unscored_since;
	}
	replaced = put_object(page, "replaced", failed);
	put_number(replaced, "scores", (double)scores, failed);
	put_number(replaced, "features", (double)features, failed);
	put_number(replaced, "unscored", (double)unscored, failed);
}

static void put_times(cJSON *page, const report *r, bool *failed)
{
	const char *from = r->score[0].row->created, *to = from;

	for (size_t i = 1; i < r->n; i++) {
		const char *at = r->score[i].row->created;

		from = strcmp(at, from) < 0 ? at : from;
		to = strcmp(at, to) > 0 ? at : to;
	}
	put_text(page, "from", from, failed);
	put_text(page, "to", to, failed);
}

static int make_page(cJSON **out, report *r, error *err)
{
	cJSON *page = cJSON_CreateObject(), *list;
	bool failed = !page;
	int rc;

	put_text(page, "store", store_path(r->s), &failed);
	put_sources(page, r, &failed);
	put_times(page, r, &failed);
	put_number(page, "by", (double)r->by, &failed);
	list = put_array(page, "series", &failed);
	for (size_t i = 0; i < r->n_series; i++)
		report_put_series(put_object(list, NULL, &failed), r, &r->series[i], &failed);
	rc = report_put_agreement(put_array(page, "agreement", &failed), r, &failed, err);
	if (rc == 0)
		rc = report_put_golden(page, r, &failed, err);
	if (rc == 0)
		rc = report_put_cost(put_object(page, "cost", &failed), r, &failed, err);
	if (rc == 0)
		rc = report_put_features(page, r, &failed, err);
	if (rc == 0 && failed)
		rc = error_nomem(err, "a report");
	if (rc == 0)
		*out = page;
	else
		cJSON_Delete(page);
	return rc;
}

int explain_report(cJSON **page, store *s, const explain_report_opts *o, error *err)
{
	report r = { .s = s, .o = o, .mem = ARENA_INIT };
	int rc = read_sources(&r, err);

	if (rc == 0)
		rc = read_scores(&r, err);
	if (rc == 0 && r.n == 0)
		rc = no_scores(&r, err);
	if (rc == 0)
		rc = make_series(&r, err);
	if (rc == 0)
		rc = choose_order(&r, err);
	if (rc == 0)
		rc = make_page(page, &r, err);
	for (size_t i = 0; i < r.n_sources; i++)
		free(r.rows[i]);
	free(r.series);
	cJSON_Delete(r.parsed);
	arena_clear(&r.mem);
	return rc;
}
