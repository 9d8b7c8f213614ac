/* Features that behave alike, in one source or several: the definitions are in store.h. */
#include "store/behaviour.h"

#include <inttypes.h>
#include <math.h>

enum { MAX_PAIRS = 4 << 20, SMALL_LOT = 64 };
#define MAX_APART (1.0f / 32)

store_duplicates_opts store_duplicates_opts_default(void)
{
	return (store_duplicates_opts){ .min_fires = 8, .distance = 3, .limit = 25 };
}

struct search {
	store *s;
	const store_duplicates_opts *o;
	store_source *sources; /* (n_sources), in `mem` */
	size_t n_sources;
	behaviour_places places;
	behaviour *list; /* (n) */
	size_t n;
	behaviour_pair *pairs;
	size_t n_pairs, cap;
	uint32_t *leader;     /* (n): first of its group; of one that has none, itself */
	uint32_t *size;       /* (n): of the group it leads */
	label_lookup *labels; /* (n_sources) */
	arena mem;
	bool failed;
	error *err;
};

/* ---- Pairs that may be one ---------------------------------------------------------------------------------------------- */

static int add_pair(struct search *q, uint32_t a, uint32_t b)
{
	const behaviour *x = &q->list[a], *y = &q->list[b];

	if (q->n_pairs == MAX_PAIRS)
		return error_set(
		        q->err, ERR_LIMIT,
		        "over %d pairs of features are nearly alike: ask for more firings each, or for a "
		        "smaller distance",
		        MAX_PAIRS);
	if (mem_grow(&q->pairs, &q->cap, q->n_pairs + 1, sizeof(*q->pairs)) < 0)
		return error_nomem(q->err, "pairs of features");
	q->pairs[q->n_pairs++] =
	        (behaviour_pair){ .a = a < b ? a : b,
		                  .b = a < b ? b : a,
		                  .distance = (uint8_t)__builtin_popcountll(x->simhash ^ y->simhash),
		                  .same_where = x->where == y->where && x->fires == y->fires };
	return 0;
}

/* A behaviour by a part of its hash. */
struct entry {
	uint64_t part;
	uint32_t at;
};

static int by_part(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->part != y->part)
		return x->part < y->part ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* Bits of the k-th of `parts` parts of a hash. */
static uint64_t part_of(uint64_t hash, unsigned k, unsigned parts)
{
	unsigned begin = 64 * k / parts, end = 64 * (k + 1) / parts;

	return hash >> begin & (end - begin == 64 ? UINT64_MAX : (UINT64_C(1) << (end - begin)) - 1);
}

/* Pairs within a lot of entries of equal part k that are near; those that are equal in an earlier part too came up there. */
static int near_in_lot(struct search *q, const struct entry *lot, size_t n, unsigned k)
{
	unsigned parts = q->o->distance + 1;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		for (size_t j = i + 1; j < n && rc == 0; j++) {
			uint64_t x = q->list[lot[i].at].simhash, y = q->list[lot[j].at].simhash;
			bool seen = false;

			if ((unsigned)__builtin_popcountll(x ^ y) > q->o->distance)
				continue;
			for (unsigned e = 0; e < k && !seen; e++)
				seen = part_of(x, e, parts) == part_of(y, e, parts);
			if (!seen)
				rc = add_pair(q, lot[i].at, lot[j].at);
		}
	return rc;
}

/* Hashes that differ in at most d bits are equal in one of d + 1 parts. */
static int find_near(struct search *q, struct entry *entries)
{
	unsigned parts = q->o->distance + 1;
	int rc = 0;

	for (unsigned k = 0; k < parts && rc == 0; k++) {
		for (size_t i = 0; i < q->n; i++)
			entries[i] = (struct entry){ part_of(q->list[i].simhash, k, parts), (uint32_t)i };
		qsort(entries, q->n, sizeof(*entries), by_part);
		for (size_t i = 0, end; i < q->n && rc == 0; i = end) {
			for (end = i + 1; end < q->n && entries[end].part == entries[i].part;)
				end++;
			rc = near_in_lot(q, entries + i, end - i, k);
		}
	}
	return rc;
}

/* Those that fire on the same tokens, but whose hashes are apart: rounding turns bits of projections near 0, which equal
 * activations have. Large lots (a feature on every token) are left to the hashes. */
static int find_same_where(struct search *q, struct entry *entries)
{
	int rc = 0;

	for (size_t i = 0; i < q->n; i++)
		entries[i] = (struct entry){ q->list[i].where, (uint32_t)i };
	qsort(entries, q->n, sizeof(*entries), by_part);
	for (size_t i = 0, end; i < q->n && rc == 0; i = end) {
		for (end = i + 1; end < q->n && entries[end].part == entries[i].part;)
			end++;
		for (size_t a = i; a < end && end - i <= SMALL_LOT && rc == 0; a++)
			for (size_t b = a + 1; b < end && rc == 0; b++)
				if ((unsigned)__builtin_popcountll(q->list[entries[a].at].simhash ^
				                                   q->list[entries[b].at].simhash) >
				    q->o->distance)
					rc = add_pair(q, entries[a].at, entries[b].at);
	}
	return rc;
}

static int by_first(const void *a, const void *b)
{
	const behaviour_pair *x = a, *y = b;

	if (x->a != y->a)
		return x->a < y->a ? -1 : 1;
	return (x->b > y->b) - (x->b < y->b);
}

static int find_pairs(struct search *q)
{
	struct entry *entries = malloc((q->n + 1) * sizeof(*entries));
	int rc = entries ? find_near(q, entries) : error_nomem(q->err, "pairs of features");

	if (rc == 0)
		rc = find_same_where(q, entries);
	if (q->n_pairs)
		qsort(q->pairs, q->n_pairs, sizeof(*q->pairs), by_first);
	free(entries);
	return rc;
}

/* ---- Groups ----------------------------------------------------------------------------------------------------------------- */

static bool is_duplicate(const behaviour_pair *p)
{
	return p->same_where && p->apart <= MAX_APART;
}

/* Each feature in turn leads those behind it that equal it and are not led yet. */
static int find_groups(struct search *q)
{
	q->leader = malloc((q->n + 1) * sizeof(*q->leader));
	q->size = malloc((q->n + 1) * sizeof(*q->size));
	if (!q->leader || !q->size)
		return error_nomem(q->err, "groups of features");
	for (uint32_t i = 0; i < q->n; i++) {
		q->leader[i] = i;
		q->size[i] = 1;
	}
	for (size_t k = 0; k < q->n_pairs; k++) {
		const behaviour_pair *p = &q->pairs[k];

		if (!is_duplicate(p) || q->leader[p->a] != p->a || q->leader[p->b] != p->b)
			continue;
		q->leader[p->b] = p->a;
		q->size[p->a]++;
	}
	return 0;
}

static double cosine_of(const struct search *q, const behaviour_pair *p)
{
	return p->dot / sqrt(q->list[p->a].squares * q->list[p->b].squares);
}

/* Pairs of which neither is led by another: what is near, moved to the front. By falling cosine. */
static int by_cosine(const void *a, const void *b, void *payload)
{
	double x = cosine_of(payload, a), y = cosine_of(payload, b);

	if (x != y)
		return x > y ? -1 : 1;
	return by_first(a, b);
}

static size_t keep_near(struct search *q)
{
	size_t kept = 0;

	for (size_t k = 0; k < q->n_pairs; k++) {
		behaviour_pair p = q->pairs[k];

		if (p.distance <= q->o->distance && q->leader[p.a] == p.a && q->leader[p.b] == p.b &&
		    !is_duplicate(&p))
			q->pairs[kept++] = p;
	}
	if (kept)
		qsort_r(q->pairs, kept, sizeof(*q->pairs), by_cosine, q);
	return kept;
}

/* ---- The page --------------------------------------------------------------------------------------------------------------- */

static int put_feature(cJSON *item, struct search *q, uint32_t at)
{
	const behaviour *b = &q->list[at];

	json_put_text(item, "source", q->sources[b->source].name, &q->failed);
	json_put_number(item, "feature", b->feature, &q->failed);
	json_put_number(item, "fires", b->fires, &q->failed);
	json_put_number(item, "max", (double)b->max, &q->failed);
	return label_lookup_put(&q->labels[b->source], item, b->feature, &q->failed, q->err);
}

struct members { /* of the group that `leader` leads, all groups one behind the other */
	uint32_t leader, at;
};

static int by_size(const void *a, const void *b, void *payload)
{
	const struct members *x = a, *y = b;
	const struct search *q = payload;

	if (q->size[x->leader] != q->size[y->leader])
		return q->size[x->leader] > q->size[y->leader] ? -1 : 1;
	if (x->leader != y->leader)
		return x->leader < y->leader ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

/* Groups of two and more, the largest first. */
static int put_groups(cJSON *page, struct search *q)
{
	struct members *all = malloc((q->n + 1) * sizeof(*all));
	cJSON *list, *group = NULL, *features = NULL;
	size_t n = 0, n_groups = 0;
	char key[20];
	int rc = 0;

	if (!all)
		return error_nomem(q->err, "groups of features");
	for (uint32_t i = 0; i < q->n; i++) {
		n_groups += q->leader[i] == i && q->size[i] > 1;
		if (q->size[q->leader[i]] > 1)
			all[n++] = (struct members){ q->leader[i], i };
	}
	if (n)
		qsort_r(all, n, sizeof(*all), by_size, q);
	json_put_number(page, "n_groups", (double)n_groups, &q->failed);
	list = json_put_array(page, "groups", &q->failed);
	n_groups = 0;
	for (size_t i = 0; i < n && rc == 0; i++) {
		const behaviour *first = &q->list[all[i].leader];

		if (i == 0 || all[i].leader != all[i - 1].leader) {
			if (n_groups++ == q->o->limit)
				break;
			group = json_put_object(list, NULL, &q->failed);
			snprintf(key, sizeof(key), "%016" PRIx64, first->key);
			json_put_text(group, "key", key, &q->failed);
			json_put_number(group, "fires", first->fires, &q->failed);
			features = json_put_array(group, "features", &q->failed);
		}
		rc = put_feature(json_put_object(features, NULL, &q->failed), q, all[i].at);
	}
	free(all);
	return rc;
}

static int put_near(cJSON *page, struct search *q)
{
	size_t n = keep_near(q);
	cJSON *list, *item;
	int rc = 0;

	json_put_number(page, "n_near", (double)n, &q->failed);
	list = json_put_array(page, "near", &q->failed);
	for (size_t k = 0; k < n && k < q->o->limit && rc == 0; k++) {
		const behaviour_pair *p = &q->pairs[k];

		item = json_put_object(list, NULL, &q->failed);
		json_put_number(item, "distance", p->distance, &q->failed);
		json_put_number(item, "cosine", cosine_of(q, p), &q->failed);
		rc = put_feature(json_put_object(item, "a", &q->failed), q, p->a);
		if (rc == 0)
			rc = put_feature(json_put_object(item, "b", &q->failed), q, p->b);
	}
	return rc;
}

static int put_page(cJSON *page, struct search *q)
{
	cJSON *names = json_put_array(page, "sources", &q->failed);
	int rc;

	for (size_t i = 0; i < q->n_sources; i++)
		json_put_text(names, NULL, q->sources[i].name, &q->failed);
	json_put_number(page, "contexts", q->places.contexts, &q->failed);
	json_put_number(page, "tokens", (double)q->places.tokens, &q->failed);
	json_put_number(page, "features", (double)q->n, &q->failed);
	rc = put_groups(page, q);
	return rc < 0 ? rc : put_near(page, q);
}

/* Behaviours, pairs and groups. */
static int search(struct search *q)
{
	store **stores = arena_alloc(&q->mem, q->n_sources, sizeof(*stores));
	joint_scan scan;
	int rc;

	if (!stores)
		return error_nomem(q->err, "sources");
	for (size_t i = 0; i < q->n_sources; i++)
		stores[i] = q->s;
	rc = joint_scan_begin(&scan, stores, q->sources, q->n_sources, q->err);
	if (rc < 0)
		return rc;
	rc = behaviour_read(&q->list, &q->n, &q->places, &scan, q->o->min_fires, q->err);
	if (rc == 0)
		rc = find_pairs(q);
	if (rc == 0)
		rc = behaviour_compare(q->pairs, q->n_pairs, q->list, q->n, &scan, q->err);
	joint_scan_end(&scan);
	return rc < 0 ? rc : find_groups(q);
}

static int begin(struct search *q)
{
	store_sources which = q->o->sources;
	int rc;

	which.all |= which.n == 0;
	if (q->o->distance > 7)
		return error_set(q->err, ERR_ARG, "a distance of %u bits is over 7", q->o->distance);
	rc = sources_find(&q->sources, &q->n_sources, q->s, &which, &q->mem, q->err);
	if (rc < 0)
		return rc;
	q->labels = arena_alloc(&q->mem, q->n_sources, sizeof(*q->labels));
	if (!q->labels)
		return error_nomem(q->err, "sources");
	for (size_t i = 0; i < q->n_sources && rc == 0; i++)
		rc = label_lookup_init(&q->labels[i], q->s, q->sources[i].id, q->err);
	return rc;
}

int store_duplicates(cJSON **out, store *s, const store_duplicates_opts *o, error *err)
{
	struct search q = { .s = s, .o = o, .mem = ARENA_INIT, .err = err };
	cJSON *page = NULL;
	int rc = begin(&q);

	if (rc == 0)
		rc = search(&q);
	if (rc == 0) {
		page = cJSON_CreateObject();
		rc = put_page(page, &q);
	}
	for (size_t i = 0; q.labels && i < q.n_sources; i++)
		label_lookup_clear(&q.labels[i]);
	free(q.list);
	free(q.pairs);
	free(q.leader);
	free(q.size);
	arena_clear(&q.mem);
	return json_finish(out, page, rc, q.failed, err);
}
