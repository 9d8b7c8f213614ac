/* Features by a regular expression over the text they fire on. The definition is in store.h. */
#include "store/find_scores.h"
#include "store/regex.h"

#include <math.h>

#define MEMORY ((size_t)128 << 20) /* of values kept at a time, where the caller does not say */

/* What was counted of each feature, and of all. */
struct tally {
	uint64_t *hits, *fires; /* (n_features) */
	uint32_t n_features;
	uint64_t matches, tokens, contexts;
	bool fires_known; /* from the index: not to be counted here */
	bool *matched;    /* of one context */
	size_t matched_cap;
	find_marks marks; /* of all */
};

static int tally_context(struct tally *t, const regex *re, firing_scan *scan, error *err)
{
	const store_codes *codes = &scan->codes;
	uint32_t n = scan->context.n_tokens, matches = 0;
	int rc;

	if (mem_grow(&t->matched, &t->matched_cap, n, sizeof(*t->matched)) < 0)
		return error_nomem(err, "matches");
	memset(t->matched, 0, n * sizeof(*t->matched));
	rc = regex_mark(t->matched, re, &scan->context, false, err);
	if (rc < 0)
		return rc;
	t->contexts++;
	for (uint32_t i = 0; i < n; i++) {
		t->matched[i] &= bit_is_set(scan->counted, i);
		t->tokens += bit_is_set(scan->counted, i);
		matches += t->matched[i];
	}
	t->matches += matches;
	rc = find_marks_add(&t->marks, t->matched, n, err);
	if (rc == 0 && t->fires_known && matches)
		rc = firing_scan_pick(scan, t->marks.bits + t->marks.n - (n + 7) / 8, NULL, err);
	else if (rc == 0 && !t->fires_known)
		rc = firing_scan_pick(scan, scan->counted, NULL, err);
	if (rc < 0 || (!matches && t->fires_known))
		return rc;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = codes->start[i]; t->matched[i] && j < codes->start[i + 1]; j++)
			t->hits[codes->feature[j]]++;
	for (uint32_t j = 0; j < codes->n_firings && !t->fires_known; j++)
		t->fires[codes->feature[j]]++;
	return 0;
}

/* The index counted the same firings, where all contexts are stored and none came twice. */
static int read_fires(struct tally *t, store *s, const store_source *source, error *err)
{
	sqlite3_stmt *st = NULL;
	bool row = false;
	int rc;

	t->fires_known = false;
	if (!source->corpus)
		return 0;
	rc = store_prepare(&st, s, "SELECT count(*) FROM firing WHERE source_id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", source->id);
	if (rc == 0)
		rc = store_step(s, st, &row, err);
	t->fires_known = rc == 0 && row && (uint64_t)sqlite3_column_int64(st, 0) == source->n_contexts;
	sqlite3_finalize(st);
	st = NULL;
	if (rc < 0 || !t->fires_known)
		return rc;
	rc = store_prepare(&st, s, "SELECT feature, n_fires FROM feature WHERE source_id = ?1", err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", source->id);
	while (store_next(&rc, s, st, err)) {
		int64_t f = sqlite3_column_int64(st, 0);

		if (f >= 0 && f < t->n_features)
			t->fires[f] = (uint64_t)sqlite3_column_int64(st, 1);
	}
	sqlite3_finalize(st);
	return rc;
}

static int tally_all(struct tally *t, const regex *re, store *s, const store_source *source, error *err)
{
	firing_scan scan;
	bool more;
	int rc;

	rc = firing_scan_begin(&scan, s, source->id, err);
	if (rc < 0)
		return rc;
	scan.lazy = true;
	t->n_features = scan.n_features;
	t->hits = calloc((size_t)t->n_features + 1, sizeof(*t->hits));
	t->fires = calloc((size_t)t->n_features + 1, sizeof(*t->fires));
	if (!t->hits || !t->fires)
		rc = error_nomem(err, "counts of features");
	if (rc == 0)
		rc = read_fires(t, s, source, err);
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more)
		rc = tally_context(t, re, &scan, err);
	firing_scan_end(&scan);
	return rc;
}

struct found {
	find_feature of;
	uint64_t hits;
	double precision, recall, f1;
};

static double sort_key(const struct found *it, store_regex_sort sort)
{
	return sort == STORE_REGEX_PRECISION ? it->precision
	       : sort == STORE_REGEX_RECALL  ? it->recall
	       : sort == STORE_REGEX_BEST_F1 ? it->of.score.f1
	       : sort == STORE_REGEX_AUROC   ? it->of.score.auroc
	                                     : it->f1;
}

static int best_first(const void *a, const void *b, void *payload)
{
	const struct found *x = a, *y = b;
	double p = sort_key(x, *(store_regex_sort *)payload), q = sort_key(y, *(store_regex_sort *)payload);

	if (p != q)
		return p > q ? -1 : 1;
	if (x->hits != y->hits)
		return x->hits > y->hits ? -1 : 1;
	return x->of.feature < y->of.feature ? -1 : x->of.feature > y->of.feature;
}

/* The features worth listing. */
static int rank(struct found **out, size_t *n, const struct tally *t, const store_regex_opts *o, error *err)
{
	struct found *all = malloc(((size_t)t->n_features + 1) * sizeof(*all));
	size_t count = 0;

	if (!all)
		return error_nomem(err, "counts of features");
	for (uint32_t f = 0; f < t->n_features; f++) {
		struct found it = { .of = { .feature = f, .fires = t->fires[f] }, .hits = t->hits[f] };

		if (it.hits == 0)
			continue;
		it.precision = (double)it.hits / (double)it.of.fires;
		it.recall = (double)it.hits / (double)t->matches;
		it.f1 = 2 * (double)it.hits / (double)(it.of.fires + t->matches);
		if (it.precision >= o->min_precision && it.recall >= o->min_recall)
			all[count++] = it;
	}
	*out = all;
	*n = count;
	return 0;
}

/* Thresholds and AUROC of those that may be listed, in the order asked for. */
static int score(struct found *found, size_t n, const struct tally *t, store *s, const store_source *source,
                 const store_regex_opts *o, error *err)
{
	store_regex_sort sort = o->sort;
	bool by_score = sort == STORE_REGEX_BEST_F1 || sort == STORE_REGEX_AUROC;
	size_t scored = by_score || o->limit > n ? n : (size_t)o->limit;
	find_feature *features = malloc((scored + 1) * sizeof(*features));
	int rc = features ? 0 : error_nomem(err, "scores of features");

	if (!by_score)
		qsort_r(found, n, sizeof(*found), best_first, &sort);
	for (size_t i = 0; i < scored && rc == 0; i++)
		features[i] = found[i].of;
	if (rc == 0)
		rc = find_score_features(features, scored, &t->marks, t->matches, t->tokens,
		                         (o->memory ? o->memory : MEMORY) / sizeof(float), s, source->id,
		                         err);
	for (size_t i = 0; i < scored && rc == 0; i++)
		found[i].of = features[i];
	if (rc == 0 && by_score)
		qsort_r(found, n, sizeof(*found), best_first, &sort);
	free(features);
	return rc;
}

static int put_found(cJSON *list, const struct found *it, label_lookup *labels, bool *failed, error *err)
{
	cJSON *item = json_put_object(list, NULL, failed);

	json_put_number(item, "feature", it->of.feature, failed);
	json_put_number(item, "precision", it->precision, failed);
	json_put_number(item, "recall", it->recall, failed);
	json_put_number(item, "f1", it->f1, failed);
	json_put_number(item, "hits", (double)it->hits, failed);
	json_put_number(item, "fires", (double)it->of.fires, failed);
	json_put_number(item, "threshold", it->of.score.threshold, failed);
	json_put_number(item, "threshold_precision", it->of.score.precision, failed);
	json_put_number(item, "threshold_recall", it->of.score.recall, failed);
	json_put_number(item, "best_f1", it->of.score.f1, failed);
	json_put_number(item, "auroc", it->of.score.auroc, failed);
	return label_lookup_put(labels, item, it->of.feature, failed, err);
}

static int put_answer(cJSON *page, store *s, const store_source *source, const struct tally *t,
                      const store_regex_opts *o, bool *failed, error *err)
{
	label_lookup labels = { 0 };
	struct found *found = NULL;
	cJSON *list;
	size_t n = 0;
	int rc;

	rc = rank(&found, &n, t, o, err);
	if (rc == 0)
		rc = score(found, n, t, s, source, o, err);
	if (rc == 0)
		rc = label_lookup_init(&labels, s, source->id, err);
	json_put_text(page, "source", source->name, failed);
	json_put_text(page, "pattern", o->pattern, failed);
	json_put_number(page, "matches", (double)t->matches, failed);
	json_put_number(page, "tokens", (double)t->tokens, failed);
	json_put_number(page, "contexts", (double)t->contexts, failed);
	json_put_bool(page, "corpus", source->corpus, failed);
	json_put_number(page, "total", (double)n, failed);
	list = json_put_array(page, "features", failed);
	for (size_t i = 0; i < n && i < o->limit && rc == 0; i++)
		rc = put_found(list, &found[i], &labels, failed, err);
	label_lookup_clear(&labels);
	free(found);
	return rc;
}

int store_find_regex(cJSON **out, store *s, const store_regex_opts *o, error *err)
{
	struct tally t = { 0 };
	regex re = { 0 };
	store_source source;
	cJSON *page = NULL;
	bool failed = false;
	int rc;

	rc = store_source_get(&source, s, o->source, err);
	if (rc < 0)
		return rc;
	rc = regex_init(&re, o->pattern, err);
	if (rc == 0)
		rc = store_read_begin(s, err);
	if (rc < 0) {
		regex_clear(&re);
		return rc;
	}
	rc = tally_all(&t, &re, s, &source, err);
	if (rc == 0) {
		page = cJSON_CreateObject();
		rc = put_answer(page, s, &source, &t, o, &failed, err);
	}
	store_read_end(s);
	regex_clear(&re);
	free(t.hits);
	free(t.fires);
	free(t.matched);
	find_marks_clear(&t.marks);
	return json_finish(out, page, rc, failed, err);
}
