/* Features that tell two sets of contexts apart by how strongly they fire in each context. */
#include "store/context_set.h"
#include "store/rank_sum.h"

#include <math.h>

#define MEMORY ((size_t)64 << 20) /* of values kept at a time, where the caller does not say */

enum { LIKE, UNLIKE, SIDES };

/* What is known of a feature in the contexts of one side. */
struct side_of_feature {
	double fires;        /* contexts in which it does */
	double max_sum, max; /* of its maxima in each context */
	double mean_sum;     /* of its means over the tokens that count of each context */
};

struct like {
	store *s;
	const store_like_opts *o;
	store_source source;
	context_set set[SIDES];
	bool rest; /* the second set is all contexts that are not in the first */
	uint32_t n_features;
	double contexts[SIDES], left_out[SIDES], in_both, tokens;
	struct side_of_feature *sums; /* (n_features, SIDES) */
	float *max;                   /* (n_features) of one context; 0: does not fire */
	double *sum;                  /* (n_features) */
	uint32_t *touched;            /* (n_features) which are not 0 */
	uint32_t n_touched;
	rank_sum *ranks;    /* (n_features) */
	double *q;          /* (n_features) of those looked at */
	uint32_t *features; /* (n_found) looked at */
	size_t n_found;
};

/* ---- The contexts -------------------------------------------------------------------------------------------------------- */

/* Which side a context is on; SIDES: none. */
static int side_of(const struct like *l, int64_t id, bool *both)
{
	bool first = context_set_has(&l->set[LIKE], id),
	     second = l->rest ? !first : context_set_has(&l->set[UNLIKE], id);

	*both = first && second;
	return *both || (!first && !second) ? SIDES : first ? LIKE : UNLIKE;
}

/* Maxima and sums of the features that fire on tokens that count. */
static void gather(struct like *l, const firing_scan *scan)
{
	const store_codes *c = &scan->codes;

	l->n_touched = 0;
	for (uint32_t j = 0; j < c->n_firings; j++) {
		uint32_t f = c->feature[j];

		if (l->max[f] == 0) {
			l->touched[l->n_touched++] = f;
			l->sum[f] = 0;
		}
		l->max[f] = c->value[j] > l->max[f] ? c->value[j] : l->max[f];
		l->sum[f] += (double)c->value[j];
	}
}

static double count_tokens(const firing_scan *scan)
{
	double n = 0;

	for (uint32_t i = 0; i < scan->context.n_tokens; i++)
		n += bit_is_set(scan->counted, i);
	return n;
}

static void add_sums(struct like *l, int side, double tokens)
{
	for (uint32_t t = 0; t < l->n_touched; t++) {
		uint32_t f = l->touched[t];
		struct side_of_feature *it = &l->sums[(size_t)f * SIDES + (size_t)side];

		it->fires++;
		it->max_sum += (double)l->max[f];
		it->max = fmax(it->max, (double)l->max[f]);
		it->mean_sum += l->sum[f] / tokens;
	}
}

/* The first reading: everything but what needs the values of all contexts at once. */
static int read_sums(struct like *l, error *err)
{
	firing_scan scan;
	bool more, both;
	int rc = firing_scan_begin(&scan, l->s, l->source.id, err);

	if (rc < 0)
		return rc;
	scan.lazy = true;
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		int side = side_of(l, scan.context.id, &both);
		double tokens = count_tokens(&scan);

		l->in_both += both;
		if (side == SIDES)
			continue;
		rc = firing_scan_pick(&scan, scan.counted, NULL, err);
		if (rc < 0)
			break;
		gather(l, &scan);
		add_sums(l, side, tokens);
		for (uint32_t t = 0; t < l->n_touched; t++)
			l->max[l->touched[t]] = 0;
		l->contexts[side]++;
		l->tokens += tokens;
	}
	firing_scan_end(&scan);
	return rc;
}

/* ---- Ranks --------------------------------------------------------------------------------------------------------------- */

/* Features found[first .. end - 1], whose values fit into memory together. */
struct block {
	size_t first, end;
	uint32_t *slot; /* (n_features) place in the block plus 1, or 0 */
	size_t *start;  /* (end - first + 1) of each one's values */
	size_t *filled; /* (end - first) */
	float *values;
};

static double n_values(const struct like *l, size_t i)
{
	const struct side_of_feature *it = &l->sums[(size_t)l->features[i] * SIDES];

	return it[LIKE].fires + it[UNLIKE].fires;
}

static int block_init(struct block *b, const struct like *l, size_t first, error *err)
{
	size_t room = (l->o->memory ? l->o->memory : MEMORY) / sizeof(*b->values);
	double all = 0, most = (double)room;
	size_t n;

	*b = (struct block){ .first = first, .end = first };
	while (b->end < l->n_found && (b->end == first || all + n_values(l, b->end) <= most))
		all += n_values(l, b->end++);
	n = b->end - first;
	b->slot = calloc((size_t)l->n_features + 1, sizeof(*b->slot));
	b->start = calloc(n + 1, sizeof(*b->start));
	b->filled = calloc(n + 1, sizeof(*b->filled));
	b->values = malloc(((size_t)all + 1) * sizeof(*b->values));
	if (!b->slot || !b->start || !b->filled || !b->values)
		return error_nomem(err, "activations of contexts");
	for (size_t i = 0; i < n; i++) {
		b->slot[l->features[first + i]] = (uint32_t)i + 1;
		b->start[i + 1] = b->start[i] + (size_t)n_values(l, first + i);
	}
	return 0;
}

static void block_clear(struct block *b)
{
	free(b->slot);
	free(b->start);
	free(b->filled);
	free(b->values);
}

static int read_block(struct block *b, struct like *l, error *err)
{
	firing_scan scan;
	bool more, both;
	int rc = firing_scan_begin(&scan, l->s, l->source.id, err);

	if (rc < 0)
		return rc;
	scan.lazy = true;
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		int side = side_of(l, scan.context.id, &both);

		if (side == SIDES)
			continue;
		rc = firing_scan_pick(&scan, scan.counted, b->slot, err);
		if (rc < 0)
			break;
		gather(l, &scan);
		for (uint32_t t = 0; t < l->n_touched; t++) {
			uint32_t f = l->touched[t], i = b->slot[f] - 1;

			b->values[b->start[i] + b->filled[i]++] = side == LIKE ? l->max[f] : -l->max[f];
			l->max[f] = 0;
		}
	}
	firing_scan_end(&scan);
	return rc;
}

static int rank_all(struct like *l, error *err)
{
	size_t *order = malloc((l->n_found + 1) * sizeof(*order));
	int rc = order ? 0 : error_nomem(err, "activations of contexts");

	for (size_t first = 0; first < l->n_found && rc == 0;) {
		struct block b;

		rc = block_init(&b, l, first, err);
		if (rc == 0)
			rc = read_block(&b, l, err);
		for (size_t i = first; i < b.end && rc == 0; i++) {
			size_t at = b.start[i - first];

			l->ranks[i] = rank_sum_of(b.values + at, b.filled[i - first], l->contexts[LIKE],
			                          l->contexts[UNLIKE]);
			l->q[i] = l->ranks[i].p;
		}
		first = b.end;
		block_clear(&b);
	}
	if (rc == 0)
		rank_sum_adjust(l->q, order, l->n_found);
	free(order);
	return rc;
}

/* ---- The answer ---------------------------------------------------------------------------------------------------------- */

static double sort_key(const struct like *l, size_t i)
{
	return l->o->sort == STORE_LIKE_AUROC ? l->ranks[i].auroc : fabs(l->ranks[i].auroc - 0.5);
}

static int best_first(const void *a, const void *b, void *payload)
{
	const struct like *l = payload;
	size_t i = *(const size_t *)a, j = *(const size_t *)b;
	double x = sort_key(l, i), y = sort_key(l, j);

	if (x != y)
		return x > y ? -1 : 1;
	if (l->ranks[i].p != l->ranks[j].p)
		return l->ranks[i].p < l->ranks[j].p ? -1 : 1;
	return i < j ? -1 : i > j;
}

static void put_side(cJSON *item, const char *side, const struct side_of_feature *it, double contexts,
                     bool *failed)
{
	cJSON *object = json_put_object(item, side, failed);

	json_put_number(object, "share", it->fires / contexts, failed);
	json_put_number(object, "max", it->max, failed);
	json_put_number(object, "mean_max", it->max_sum / contexts, failed);
	json_put_number(object, "mean", it->mean_sum / contexts, failed);
}

static int put_features(cJSON *page, struct like *l, bool *failed, error *err)
{
	cJSON *list = json_put_array(page, "features", failed), *item;
	size_t *order = malloc((l->n_found + 1) * sizeof(*order));
	label_lookup labels = { 0 };
	int rc = order ? label_lookup_init(&labels, l->s, l->source.id, err) : error_nomem(err, "features");

	for (size_t i = 0; i < l->n_found && order; i++)
		order[i] = i;
	if (rc == 0)
		qsort_r(order, l->n_found, sizeof(*order), best_first, l);
	for (size_t k = 0; k < l->n_found && k < l->o->limit && rc == 0; k++) {
		size_t i = order[k];
		const struct side_of_feature *sums = &l->sums[(size_t)l->features[i] * SIDES];

		item = json_put_object(list, NULL, failed);
		json_put_number(item, "feature", l->features[i], failed);
		json_put_number(item, "auroc", l->ranks[i].auroc, failed);
		json_put_number(item, "auroc_low", l->ranks[i].low, failed);
		json_put_number(item, "auroc_high", l->ranks[i].high, failed);
		json_put_number(item, "p", l->ranks[i].p, failed);
		json_put_number(item, "q", l->q[i], failed);
		put_side(item, "like", &sums[LIKE], l->contexts[LIKE], failed);
		put_side(item, "unlike", &sums[UNLIKE], l->contexts[UNLIKE], failed);
		rc = label_lookup_put(&labels, item, l->features[i], failed, err);
	}
	label_lookup_clear(&labels);
	free(order);
	return rc;
}

static void put_set(cJSON *page, const struct like *l, int side, bool *failed)
{
	cJSON *set = json_put_object(page, side == LIKE ? "like" : "unlike", failed);

	json_put_number(set, "contexts", l->contexts[side], failed);
	json_put_number(set, "left_out", l->left_out[side], failed);
	json_put_number(set, "empty_lines", (double)l->set[side].empty_lines, failed);
	json_put_bool(set, "rest", side == UNLIKE && l->rest, failed);
}

static int allocate(struct like *l, error *err)
{
	size_t n = (size_t)l->n_features + 1;

	l->sums = calloc(n * SIDES, sizeof(*l->sums));
	l->max = calloc(n, sizeof(*l->max));
	l->sum = calloc(n, sizeof(*l->sum));
	l->touched = calloc(n, sizeof(*l->touched));
	l->ranks = calloc(n, sizeof(*l->ranks));
	l->q = calloc(n, sizeof(*l->q));
	l->features = calloc(n, sizeof(*l->features));
	return l->sums && l->max && l->sum && l->touched && l->ranks && l->q && l->features
	               ? 0
	               : error_nomem(err, "counts of features");
}

static void like_clear(struct like *l)
{
	context_set_clear(&l->set[LIKE]);
	context_set_clear(&l->set[UNLIKE]);
	free(l->sums);
	free(l->max);
	free(l->sum);
	free(l->touched);
	free(l->ranks);
	free(l->q);
	free(l->features);
}

static int read_sets(struct like *l, error *err)
{
	const store_like_opts *o = l->o;
	int rc = context_set_read(&l->set[LIKE], l->s, &l->source, o->like, o->n_like,
	                          o->like_name ? o->like_name : "like", err);

	if (rc == 0 && !l->rest)
		rc = context_set_read(&l->set[UNLIKE], l->s, &l->source, o->unlike, o->n_unlike,
		                      o->unlike_name ? o->unlike_name : "unlike", err);
	return rc;
}

/* Contexts of the sets that have no stored firings; and there must be some that have. */
static int check_sets(struct like *l, error *err)
{
	for (int side = LIKE; side < SIDES; side++) {
		if (side == LIKE || !l->rest)
			l->left_out[side] = (double)l->set[side].n - l->contexts[side] - l->in_both;
		if (l->contexts[side] > 0)
			continue;
		if (side == UNLIKE && l->rest)
			return error_set(err, ERR_NOTFOUND, "every context with stored firings is like that");
		if (l->set[side].n == 0)
			return error_set(err, ERR_NOTFOUND, "no context is %s",
			                 side == LIKE ? "like that" : "in the second set");
		return error_set(err, ERR_NOTFOUND,
		                 "no context of the %s set alone has stored firings (%.0f have none, %.0f "
		                 "are in both)",
		                 side == LIKE ? "first" : "second", l->left_out[side], l->in_both);
	}
	return 0;
}

static int compare(struct like *l, error *err)
{
	int rc = read_sets(l, err);

	l->n_features = l->source.n_features;
	if (rc == 0)
		rc = allocate(l, err);
	if (rc == 0)
		rc = read_sums(l, err);
	if (rc == 0)
		rc = check_sets(l, err);
	for (uint32_t f = 0; f < l->n_features && rc == 0; f++)
		if (l->sums[(size_t)f * SIDES].fires + l->sums[(size_t)f * SIDES + UNLIKE].fires > 0)
			l->features[l->n_found++] = f;
	return rc == 0 ? rank_all(l, err) : rc;
}

int store_find_like(cJSON **out, store *s, const store_like_opts *o, error *err)
{
	struct like l = { .s = s, .o = o, .rest = !o->unlike };
	cJSON *page = NULL;
	bool failed = false;
	int rc = store_source_get(&l.source, s, o->source, err);

	if (rc == 0)
		rc = store_read_begin(s, err);
	if (rc < 0)
		return rc;
	rc = compare(&l, err);
	if (rc == 0) {
		page = cJSON_CreateObject();
		json_put_text(page, "source", l.source.name, &failed);
		put_set(page, &l, LIKE, &failed);
		put_set(page, &l, UNLIKE, &failed);
		json_put_number(page, "in_both", l.in_both, &failed);
		json_put_number(page, "tokens", l.tokens, &failed);
		json_put_number(page, "tests", (double)l.n_found, &failed);
		rc = put_features(page, &l, &failed, err);
	}
	like_clear(&l);
	store_read_end(s);
	return json_finish(out, page, rc, failed, err);
}
