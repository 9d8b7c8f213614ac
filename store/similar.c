/* What is like a feature: by decoder direction, and by what fires on the same tokens; in its own source or another, in the same
 * store or another. */
#include "store/joint_scan.h"
#include "store/vectors.h"

#include <math.h>

struct candidate {
	uint32_t feature, both, fires;
	double by; /* what is sorted by */
};

struct search {
	store *s, *other;
	const store_similar_opts *o;
	store_source *source, *in; /* one each, in `mem` */
	bool itself;               /* they are the same */
	label_lookup labels;       /* of `in` */
	arena mem;
	bool failed;
	error *err;
};

/* ---- By direction ------------------------------------------------------------------------------------------------------- */

static int closest_first(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->by != y->by)
		return x->by > y->by ? -1 : 1;
	return (x->feature > y->feature) - (x->feature < y->feature);
}

static double norm(const float *v, uint32_t d)
{
	double sum = 0;

	for (uint32_t i = 0; i < d; i++)
		sum += (double)v[i] * v[i];
	return sqrt(sum);
}

static double cosine(const float *a, const float *b, uint32_t d)
{
	double sum = 0, both = norm(a, d) * norm(b, d);

	for (uint32_t i = 0; i < d; i++)
		sum += (double)a[i] * b[i];
	return both > 0 ? sum / both : 0;
}

/* "decoder": null where the two cannot be compared, and why. */
static int put_no_directions(cJSON *page, struct search *q, bool mine, bool others)
{
	const store_source *without = !mine ? q->source : q->in;
	char why[FILE_PATH_MAX];

	if (q->itself && q->source->neurons)
		snprintf(why, sizeof(why), "neurons are at right angles to each other");
	else if (mine && others)
		snprintf(why, sizeof(why), "decoder rows of %u and %u dimensions", q->source->d_in,
		         q->in->d_in);
	else
		snprintf(why, sizeof(why), "the store has no decoder rows of '%.200s'", without->name);
	json_put(page, "decoder", cJSON_CreateNull(), &q->failed);
	json_put_text(page, "decoder_why", why, &q->failed);
	return 0;
}

static int put_directions(cJSON *page, struct search *q)
{
	uint32_t d = q->in->d_in, n = q->in->n_features, count = 0;
	float *mine = NULL, *others = NULL;
	struct candidate *list = NULL;
	cJSON *array, *item;
	int rc = store_vectors(&others, q->other, q->in->name, q->err);

	if (rc == 0)
		rc = vector_read(&mine, q->s, q->source, q->o->feature, q->err);
	if (rc < 0)
		goto out;
	if (!mine || !others || q->source->d_in != d || (q->itself && q->source->neurons)) {
		rc = put_no_directions(page, q, mine, others);
		goto out;
	}
	list = malloc(((size_t)n + 1) * sizeof(*list));
	if (!list) {
		rc = error_nomem(q->err, "neighbours");
		goto out;
	}
	for (uint32_t f = 0; f < n; f++)
		if (!q->itself || f != q->o->feature)
			list[count++] = (struct candidate){ .feature = f,
				                            .by = cosine(mine, others + (size_t)f * d, d) };
	qsort(list, count, sizeof(*list), closest_first);
	array = json_put_array(page, "decoder", &q->failed);
	for (uint32_t i = 0; i < count && i < q->o->limit && rc == 0; i++) {
		item = json_put_object(array, NULL, &q->failed);
		json_put_number(item, "feature", list[i].feature, &q->failed);
		json_put_number(item, "cosine", list[i].by, &q->failed);
		rc = label_lookup_put(&q->labels, item, list[i].feature, &q->failed, q->err);
	}
out:
	free(list);
	free(others);
	free(mine);
	return rc;
}

/* ---- By what fires together --------------------------------------------------------------------------------------------- */

/* Counts over the tokens that count in both sources. */
struct counts {
	uint32_t contexts;
	uint64_t tokens;
	uint32_t mine;          /* the feature fires */
	uint32_t *fires, *both; /* (F of `in`): each fires; both do */
};

static bool fires_on(const store_codes *c, uint32_t token, uint32_t feature)
{
	uint32_t low = c->start[token], high = c->start[token + 1];

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (c->feature[middle] < feature)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->start[token + 1] && c->feature[low] == feature;
}

static void count_context(struct counts *n, const joint_scan *scan, uint32_t feature)
{
	const store_codes *mine = &scan->parts[0].codes, *others = &scan->parts[scan->n - 1].codes;

	n->contexts++;
	for (uint32_t t = 0; t < scan->n_tokens; t++) {
		bool on;

		if (!bit_is_set(scan->counted, t))
			continue;
		n->tokens++;
		on = fires_on(mine, t, feature);
		n->mine += on;
		for (uint32_t i = others->start[t]; i < others->start[t + 1]; i++) {
			n->fires[others->feature[i]]++;
			n->both[others->feature[i]] += on;
		}
	}
}

static int count_firings(struct counts *n, struct search *q)
{
	store *stores[] = { q->s, q->other };
	store_source sources[] = { *q->source, *q->in };
	joint_scan scan;
	bool more;
	int rc = joint_scan_begin(&scan, stores, sources, q->itself ? 1 : 2, q->err);

	if (rc < 0)
		return rc;
	while ((rc = joint_scan_next(&scan, &more, q->err)) == 0 && more)
		count_context(n, &scan, q->o->feature);
	joint_scan_end(&scan);
	return rc;
}

static double jaccard_of(const struct counts *n, uint32_t f)
{
	return n->both[f] / ((double)n->mine + n->fires[f] - n->both[f]);
}

static double cosine_of(const struct counts *n, uint32_t f)
{
	return n->both[f] / sqrt((double)n->mine * n->fires[f]);
}

static double lift_of(const struct counts *n, uint32_t f)
{
	return n->both[f] * (double)n->tokens / ((double)n->mine * n->fires[f]);
}

static int put_cofiring(cJSON *page, struct search *q, const struct counts *n, struct candidate *list)
{
	double (*by)(const struct counts *counts, uint32_t f) = q->o->by == STORE_BY_COSINE ? cosine_of
	                                                        : q->o->by == STORE_BY_LIFT ? lift_of
	                                                                                    : jaccard_of;
	cJSON *object = json_put_object(page, "cofiring", &q->failed), *array, *item;
	uint32_t count = 0, least = q->o->min_both ? q->o->min_both : 1;
	int rc = 0;

	for (uint32_t f = 0; f < q->in->n_features; f++)
		if (n->both[f] >= least && (!q->itself || f != q->o->feature))
			list[count++] = (struct candidate){ f, n->both[f], n->fires[f], by(n, f) };
	qsort(list, count, sizeof(*list), closest_first);
	json_put_number(object, "contexts", n->contexts, &q->failed);
	json_put_number(object, "tokens", (double)n->tokens, &q->failed);
	json_put_number(object, "fires", n->mine, &q->failed);
	json_put_number(object, "total", count, &q->failed);
	array = json_put_array(object, "features", &q->failed);
	for (uint32_t i = 0; i < count && i < q->o->limit && rc == 0; i++) {
		uint32_t f = list[i].feature;

		item = json_put_object(array, NULL, &q->failed);
		json_put_number(item, "feature", f, &q->failed);
		json_put_number(item, "both", list[i].both, &q->failed);
		json_put_number(item, "fires", list[i].fires, &q->failed);
		json_put_number(item, "jaccard", jaccard_of(n, f), &q->failed);
		json_put_number(item, "cosine", cosine_of(n, f), &q->failed);
		json_put_number(item, "lift", lift_of(n, f), &q->failed);
		rc = label_lookup_put(&q->labels, item, f, &q->failed, q->err);
	}
	return rc;
}

static int put_firings(cJSON *page, struct search *q)
{
	size_t n_features = (size_t)q->in->n_features + 1;
	struct counts n = { .fires = calloc(n_features, sizeof(*n.fires)),
		            .both = calloc(n_features, sizeof(*n.both)) };
	struct candidate *list = malloc(n_features * sizeof(*list));
	int rc = n.fires && n.both && list ? count_firings(&n, q) : error_nomem(q->err, "firings");

	if (rc == 0)
		rc = put_cofiring(page, q, &n, list);
	free(list);
	free(n.fires);
	free(n.both);
	return rc;
}

/* ---- The page ------------------------------------------------------------------------------------------------------------- */

/* Both sources, in the search's memory. */
static int find_sources(struct search *q)
{
	const store_similar_opts *o = q->o;
	const char *in = o->in || o->other ? o->in : o->source;
	size_t n;
	int rc = sources_find(&q->source, &n, q->s, &(store_sources){ .names = &o->source, .n = !!o->source },
	                      &q->mem, q->err);

	if (rc == 0)
		rc = sources_find(&q->in, &n, q->other, &(store_sources){ .names = &in, .n = !!in }, &q->mem,
		                  q->err);
	if (rc < 0)
		return rc;
	q->itself = q->s == q->other && q->source->id == q->in->id;
	if (o->feature >= q->source->n_features)
		return error_set(q->err, ERR_ARG, "feature %u is out of range: source '%s' has features 0-%u",
		                 o->feature, q->source->name, q->source->n_features - 1);
	return label_lookup_init(&q->labels, q->other, q->in->id, q->err);
}

static int put_head(cJSON *page, struct search *q)
{
	label_lookup own = { 0 };
	cJSON *in;
	int rc = label_lookup_init(&own, q->s, q->source->id, q->err);

	json_put_text(page, "source", q->source->name, &q->failed);
	json_put_number(page, "feature", q->o->feature, &q->failed);
	if (rc == 0)
		rc = label_lookup_put(&own, page, q->o->feature, &q->failed, q->err);
	in = json_put_object(page, "in", &q->failed);
	json_put_text(in, "store", q->s == q->other ? NULL : store_path(q->other), &q->failed);
	json_put_text(in, "source", q->in->name, &q->failed);
	label_lookup_clear(&own);
	return rc;
}

int store_similar(cJSON **out, store *s, const store_similar_opts *o, error *err)
{
	struct search q = { .s = s, .other = o->other ? o->other : s, .o = o, .mem = ARENA_INIT, .err = err };
	cJSON *page = NULL;
	int rc = find_sources(&q);

	if (rc == 0) {
		page = cJSON_CreateObject();
		rc = put_head(page, &q);
	}
	if (rc == 0)
		rc = put_directions(page, &q);
	if (rc == 0)
		rc = put_firings(page, &q);
	label_lookup_clear(&q.labels);
	arena_clear(&q.mem);
	return json_finish(out, page, rc, q.failed, err);
}
