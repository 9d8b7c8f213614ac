/* Thresholds and AUROC of features as classifiers of tokens. */
#include "store/find_scores.h"

#include <math.h>

int find_marks_add(find_marks *m, const bool *marked, uint32_t n_tokens, error *err)
{
	size_t bytes = (n_tokens + 7) / 8;

	if (mem_grow(&m->bits, &m->cap, m->n + bytes, 1) < 0)
		return error_nomem(err, "matches");
	memset(m->bits + m->n, 0, bytes);
	for (uint32_t i = 0; i < n_tokens; i++)
		m->bits[m->n + i / 8] |= (unsigned char)(marked[i] << i % 8);
	m->n += bytes;
	return 0;
}

void find_marks_clear(find_marks *m)
{
	free(m->bits);
	*m = (find_marks){ 0 };
}

/* ---- One feature --------------------------------------------------------------------------------------------------------- */

enum { DIGIT = 11, BUCKETS = 1 << DIGIT };

static int strongest_first(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x > y ? -1 : x < y;
}

/* The one of three digits, least first, of a float over 0: as numbers its bits are in its own order. */
static uint32_t digit_of(float value, int digit)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits >> (digit * DIGIT) & (BUCKETS - 1);
}

/* Values over 0, strongest first; many by a radix sort, since a pattern may match all firings of a dense feature. scratch (n). */
static void sort_values(float *values, size_t n, float *scratch)
{
	float *from = values, *to = scratch;

	if (n < BUCKETS) {
		qsort(values, n, sizeof(*values), strongest_first);
		return;
	}
	for (int digit = 0; digit < 3; digit++) {
		size_t begin[BUCKETS] = { 0 }, at = 0;

		for (size_t i = 0; i < n; i++)
			begin[digit_of(from[i], digit)]++;
		for (uint32_t b = BUCKETS; b-- > 0;) {
			size_t count = begin[b];

			begin[b] = at;
			at += count;
		}
		for (size_t i = 0; i < n; i++)
			to[begin[digit_of(from[i], digit)]++] = from[i];
		to = from;
		from = from == values ? scratch : values;
	}
	memcpy(values, scratch, n * sizeof(*values));
}

/* Bring the marked values to the front, strongest first, then make of them one a level. Returns how many levels; *n_marked: how
 * many values there were. */
static size_t make_levels(find_level *levels, size_t *n_marked, float *values, size_t n)
{
	size_t front = 0, made = 0;

	for (size_t i = 0; i < n; i++) {
		if (values[i] > 0) {
			float value = values[i];

			values[i] = values[front];
			values[front++] = value;
		}
	}
	_Static_assert(sizeof(*levels) >= sizeof(*values), "levels hold the values while they are sorted");
	sort_values(values, front, (float *)(void *)levels);
	for (size_t i = 0; i < front; i++) {
		if (made == 0 || values[made - 1] != values[i]) {
			levels[made] = (find_level){ 0 };
			values[made++] = values[i];
		}
		levels[made - 1].marked++;
	}
	*n_marked = front;
	return made;
}

/* The highest of n >= 1 levels that is not over the value; n: all are over it. Without branches: they would be guessed wrong. */
static size_t find_level_of(const float *levels, size_t n, float value)
{
	const float *from = levels;

	while (n > 1) {
		size_t half = n / 2;

		from += from[half - 1] > value ? half : 0;
		n -= half;
	}
	return (size_t)(from - levels) + (*from > value);
}

find_score find_score_of(float *values, size_t n, double marked, double tokens, find_level *levels)
{
	double others = tokens - marked, hits = 0, misses = 0, wins = 0, f1;
	find_score best = { NAN, NAN, NAN, 0, NAN };
	size_t n_marked, n_levels = make_levels(levels, &n_marked, values, n);

	for (size_t i = n_marked; i < n && n_levels; i++) {
		size_t at = find_level_of(values, n_levels, -values[i]);

		if (at < n_levels && values[at] == -values[i])
			levels[at].equal++;
		else if (at < n_levels)
			levels[at].above++;
	}
	for (size_t i = 0; i < n_levels; i++) {
		const find_level *l = &levels[i];

		misses += l->above;
		/* each beats the others that come behind, and ties with those of its own value */
		wins += l->marked * (others - misses - l->equal / 2.0);
		misses += l->equal;
		hits += l->marked;
		f1 = 2 * hits / (hits + misses + marked);
		if (f1 > best.f1)
			best = (find_score){ (double)values[i], hits / (hits + misses), hits / marked, f1,
				             NAN };
	}
	wins += (marked - hits) * (others - (double)(n - n_marked)) / 2; /* silent on both */
	if (marked > 0 && others > 0)
		best.auroc = wins / (marked * others);
	return best;
}

/* ---- All of a source ------------------------------------------------------------------------------------------------------ */

/* Some features, with room for their values. */
struct block {
	find_feature *features; /* (n) */
	size_t n;
	uint32_t *slot; /* (F) 1 + place in `features`, or 0 */
	size_t *start;  /* (n + 1) of each one's values */
	size_t *filled; /* (n) */
	float *values;
	find_level *levels; /* of one */
};

static void block_clear(struct block *b)
{
	free(b->slot);
	free(b->start);
	free(b->filled);
	free(b->values);
	free(b->levels);
}

/* As many of `features` (n) as fit, at least one. */
static int block_init(struct block *b, find_feature *features, size_t n, uint64_t max_values,
                      uint32_t n_features, error *err)
{
	uint64_t all = 0, most = 0;

	*b = (struct block){ .features = features };
	while (b->n < n && (b->n == 0 || all + features[b->n].fires <= max_values)) {
		most = features[b->n].fires > most ? features[b->n].fires : most;
		all += features[b->n++].fires;
	}
	b->slot = calloc((size_t)n_features + 1, sizeof(*b->slot));
	b->start = calloc(b->n + 1, sizeof(*b->start));
	b->filled = calloc(b->n + 1, sizeof(*b->filled));
	b->values = malloc(((size_t)all + 1) * sizeof(*b->values));
	b->levels = malloc(((size_t)most + 1) * sizeof(*b->levels));
	if (!b->slot || !b->start || !b->filled || !b->values || !b->levels)
		return error_nomem(err, "firings of features");
	for (size_t i = 0; i < b->n; i++) {
		b->slot[features[i].feature] = (uint32_t)i + 1;
		b->start[i + 1] = b->start[i] + (size_t)features[i].fires;
	}
	return 0;
}

static int collect(struct block *b, firing_scan *scan, const unsigned char *marks, error *err)
{
	const store_codes *c = &scan->codes;
	int rc = firing_scan_pick(scan, scan->counted, b->slot, err);

	for (uint32_t i = 0; i < scan->context.n_tokens && rc == 0; i++) {
		float sign = bit_is_set(marks, i) ? 1 : -1;

		for (uint32_t j = c->start[i]; j < c->start[i + 1]; j++) {
			uint32_t k = b->slot[c->feature[j]] - 1;

			if (b->filled[k] == b->features[k].fires)
				return error_set(
				        err, ERR_FORMAT,
				        "'%s' is corrupt: feature %u fires more often than it is said to",
				        store_path(scan->s), c->feature[j]);
			b->values[b->start[k] + b->filled[k]++] = sign * c->value[j];
		}
	}
	return rc;
}

static int score_block(struct block *b, firing_scan *scan, const find_marks *marks, double n_marked,
                       double n_tokens, error *err)
{
	size_t at = 0;
	bool more;
	int rc;

	while ((rc = firing_scan_next(scan, &more, err)) == 0 && more) {
		rc = collect(b, scan, marks->bits + at, err);
		if (rc < 0)
			return rc;
		at += (scan->context.n_tokens + 7) / 8;
	}
	for (size_t i = 0; i < b->n && rc == 0; i++)
		b->features[i].score =
		        find_score_of(b->values + b->start[i], b->filled[i], n_marked, n_tokens, b->levels);
	return rc;
}

int find_score_features(find_feature *features, size_t n, const find_marks *marks, uint64_t n_marked,
                        uint64_t n_tokens, uint64_t max_values, store *s, int64_t source, error *err)
{
	int rc = 0;

	for (size_t first = 0; first < n && rc == 0;) {
		struct block b = { 0 };
		firing_scan scan;

		rc = firing_scan_begin(&scan, s, source, err);
		if (rc < 0)
			break;
		scan.lazy = true;
		rc = block_init(&b, features + first, n - first, max_values, scan.n_features, err);
		if (rc == 0)
			rc = score_block(&b, &scan, marks, (double)n_marked, (double)n_tokens, err);
		first += b.n;
		firing_scan_end(&scan);
		block_clear(&b);
	}
	return rc;
}
