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

typedef struct firing {
	float value;
	bool marked;
} firing;

typedef struct firings { /* of one feature */
	firing *items;
	size_t n, cap;
} firings;

static int strongest_first(const void *a, const void *b)
{
	float x = ((const firing *)a)->value, y = ((const firing *)b)->value;

	return x > y ? -1 : x < y;
}

static find_score score(firings *f, double marked, double tokens)
{
	double others = tokens - marked, above_marked = 0, above = 0, wins = 0;
	find_score best = { NAN, NAN, NAN, 0, NAN };

	qsort(f->items, f->n, sizeof(*f->items), strongest_first);
	for (size_t i = 0, j; i < f->n; i = j) {
		double hits = 0, f1;

		for (j = i; j < f->n && f->items[j].value == f->items[i].value; j++)
			hits += f->items[j].marked;
		/* of this value: each beats the others that come behind, and ties with those of its own value */
		wins += hits * (others - (above - above_marked) - ((double)(j - i) - hits) / 2);
		above += (double)(j - i);
		above_marked += hits;
		f1 = 2 * above_marked / (above + marked);
		if (f1 > best.f1)
			best = (find_score){ (double)f->items[i].value, above_marked / above,
				             above_marked / marked, f1, NAN };
	}
	wins += (marked - above_marked) * (others - (above - above_marked)) / 2; /* silent on both */
	if (marked > 0 && others > 0)
		best.auroc = wins / (marked * others);
	return best;
}

static int collect(firings *list, const uint32_t *slot, firing_scan *scan, const unsigned char *marks,
                   error *err)
{
	const store_codes *c = &scan->codes;
	int rc = firing_scan_pick(scan, NULL, slot, err);

	for (uint32_t i = 0; i < scan->context.n_tokens && rc == 0; i++) {
		bool marked = bit_is_set(marks, i);

		for (uint32_t j = c->start[i]; j < c->start[i + 1]; j++) {
			firings *f = &list[slot[c->feature[j]] - 1];

			if (f->n == f->cap && mem_grow(&f->items, &f->cap, f->n + 1, sizeof(*f->items)) < 0)
				return error_nomem(err, "firings of features");
			f->items[f->n++] = (firing){ c->value[j], marked };
		}
	}
	return rc;
}

int find_score_features(find_score *out, const uint32_t *features, size_t n, const find_marks *marks,
                        uint64_t n_marked, uint64_t n_tokens, store *s, int64_t source, error *err)
{
	firing_scan scan = { 0 };
	firings *list = calloc(n + 1, sizeof(*list));
	uint32_t *slot = NULL; /* (F) 1 + place in `list`, or 0 */
	size_t at = 0;
	bool more = n > 0;
	int rc = list ? 0 : error_nomem(err, "firings of features");

	if (rc == 0)
		rc = firing_scan_begin(&scan, s, source, err);
	scan.lazy = true;
	if (rc == 0) {
		slot = calloc((size_t)scan.n_features + 1, sizeof(*slot));
		rc = slot ? 0 : error_nomem(err, "firings of features");
	}
	for (size_t i = 0; i < n && rc == 0; i++)
		slot[features[i]] = (uint32_t)i + 1;
	while (rc == 0 && more && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		size_t bytes = (scan.context.n_tokens + 7) / 8;

		if (at + bytes > marks->n) /* the store has changed since they were made */
			rc = error_set(err, ERR_BUSY, "'%s' has changed meanwhile: try again", store_path(s));
		else
			rc = collect(list, slot, &scan, marks->bits + at, err);
		at += bytes;
	}
	for (size_t i = 0; i < n && rc == 0; i++)
		out[i] = score(&list[i], (double)n_marked, (double)n_tokens);
	for (size_t i = 0; i < n && list; i++)
		free(list[i].items);
	free(list);
	free(slot);
	firing_scan_end(&scan);
	return rc;
}
