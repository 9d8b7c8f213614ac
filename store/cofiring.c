/* What fires on the same tokens, exact for every pair of features. All pairs of one slice of features with another, higher one are
 * counted at a time: of the one the tokens on which each fires, of the other the features that fire on each token, both from a pass over the
 * stored firings. With few features a token that is two slices of all of them. Where on average over a 16th of the features fires on
 * a token, bits are counted instead: a bit a token of each feature. */
#include "store/cofiring.h"
#include "store/query_internal.h"

#include <math.h>

enum { DENSE = 16, MAX_TOKENS = 1 << 24, MAX_FIRINGS = 1 << 27, MAX_WORDS = 1 << 26 };
enum { BLOCK_WORDS = 128 }; /* 64-bit words of a feature's bits that are counted in one go */

/* Features first .. end - 1 and where they fire. */
typedef struct slice {
	uint32_t first, end;
	/* By token: features list[start[t]] .. list[start[t + 1] - 1] of the slice. By feature: tokens from list[start[f - first]] on. */
	uint32_t *start, *list;
	uint64_t *bits; /* dense: (end - first, words) */
} slice;

typedef struct finder {
	store *s;
	int64_t source;
	cofiring *out;
	uint32_t n_tokens;
	uint64_t n_firings;
	bool dense;
	uint64_t one_room, others_room; /* firings, or words of bits */
	size_t words;                   /* of a feature's bits */
	slice one, others;              /* by feature, by token (dense: both by feature) */
	uint32_t *common;               /* (F) */
	uint32_t *touched;              /* (F) features whose `common` is not 0 */
} finder;

/* ---- Stored firings ----------------------------------------------------------------------------------------------------------- */

/* Hands over each token's features, ascending, token after token. */
typedef void (*take_token)(finder *f, slice *to, uint32_t token, const uint32_t *features, uint32_t n);

static int each_token(finder *f, take_token take, slice *to, error *err)
{
	firing_scan scan;
	uint64_t token = 0;
	bool more;
	int rc = firing_scan_begin(&scan, f->s, f->source, err);

	if (rc < 0)
		return rc;
	while ((rc = firing_scan_next(&scan, &more, err)) == 0 && more && scan.sampled) {
		const store_codes *c = &scan.codes;

		for (uint32_t t = 0; t < c->n_tokens && token < UINT32_MAX; t++, token++)
			take(f, to, (uint32_t)token, c->feature + c->start[t], c->start[t + 1] - c->start[t]);
	}
	firing_scan_end(&scan);
	return rc;
}

static void count_token(finder *f, slice *to, uint32_t token, const uint32_t *features, uint32_t n)
{
	(void)to;
	f->n_tokens = token + 1;
	f->n_firings += n;
	for (uint32_t i = 0; i < n; i++)
		f->out->fires[features[i]]++;
}

static void list_token(finder *f, slice *to, uint32_t token, const uint32_t *features, uint32_t n)
{
	uint32_t at = to->start[token];

	(void)f;
	for (uint32_t i = 0; i < n; i++) {
		to->list[at] = features[i];
		at += features[i] >= to->first && features[i] < to->end;
	}
	to->start[token + 1] = at;
}

static void place_token(finder *f, slice *to, uint32_t token, const uint32_t *features, uint32_t n)
{
	(void)f;
	for (uint32_t i = 0; i < n; i++) {
		if (features[i] >= to->first && features[i] < to->end)
			to->list[to->start[features[i] - to->first]++] = token;
	}
}

static void set_token(finder *f, slice *to, uint32_t token, const uint32_t *features, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (features[i] >= to->first && features[i] < to->end)
			to->bits[(features[i] - to->first) * f->words + token / 64] |= 1ull << token % 64;
	}
}

/* ---- Slices ------------------------------------------------------------------------------------------------------------------- */

/* As many features from to->end on as fit, but one at least. */
static void next_slice(const finder *f, slice *to, uint64_t room)
{
	uint64_t held = 0;

	to->first = to->end;
	for (; to->end < f->out->n_features; to->end++) {
		held += f->dense ? f->words : f->out->fires[to->end];
		if (held > room && to->end > to->first)
			break;
	}
}

/* What a slice can need at most; one feature may fire on every token. */
static int slice_init(const finder *f, slice *to, uint64_t room, bool by_token, error *err)
{
	uint64_t most = f->dense ? f->words * f->out->n_features : f->n_firings;

	room = room < f->n_tokens ? f->n_tokens : room;
	room = most < room ? most : room;
	if (f->dense) {
		to->bits = malloc((room < f->words ? f->words : room) * sizeof(*to->bits));
	} else { /* one more, where list_token() writes what is not of the slice */
		to->list = malloc((room + 1) * sizeof(*to->list));
		to->start = malloc(((size_t)(by_token ? f->n_tokens : f->out->n_features) + 1) *
		                   sizeof(*to->start));
	}
	return to->bits || (to->list && to->start) ? 0 : error_nomem(err, "co-firing features");
}

static void slice_clear(slice *s)
{
	free(s->start);
	free(s->list);
	free(s->bits);
}

static int load_bits(finder *f, slice *to, error *err)
{
	memset(to->bits, 0, (to->end - to->first) * f->words * sizeof(*to->bits));
	return each_token(f, set_token, to, err);
}

static int load_others(finder *f, error *err)
{
	if (f->dense)
		return load_bits(f, &f->others, err);
	f->others.start[0] = 0;
	return each_token(f, list_token, &f->others, err);
}

static int load_one(finder *f, error *err)
{
	slice *to = &f->one;
	uint32_t at = 0, n = to->end - to->first;
	int rc;

	if (f->dense)
		return load_bits(f, to, err);
	for (uint32_t i = 0; i < n; i++) {
		to->start[i] = at;
		at += f->out->fires[to->first + i];
	}
	rc = each_token(f, place_token, to, err);
	memmove(to->start + 1, to->start, n * sizeof(*to->start)); /* each went on to where the next begins */
	to->start[0] = 0;
	return rc;
}

/* ---- Counting ----------------------------------------------------------------------------------------------------------------- */

/* common[j] of a feature with those after it in the other slice, so that each pair is counted once; returns how many are
 * touched. */
static uint32_t count_listed(finder *f, uint32_t feature)
{
	uint32_t i = feature - f->one.first, n = 0;

	for (uint32_t p = f->one.start[i]; p < f->one.start[i + 1]; p++) {
		uint32_t t = f->one.list[p];

		for (uint32_t q = f->others.start[t + 1]; q > f->others.start[t]; q--) {
			uint32_t other = f->others.list[q - 1];

			if (other <= feature)
				break;
			f->touched[n] = other;
			n += f->common[other]++ == 0;
		}
	}
	return n;
}

/* Bits set in both, of at most BLOCK_WORDS words: sums of 16 bits hold them. */
static uint32_t count_both(const uint64_t *a, const uint64_t *b, size_t n)
{
	const uint64_t twos = 0x5555555555555555, fours = 0x3333333333333333, bytes = 0x0f0f0f0f0f0f0f0f,
	               shorts = 0x00ff00ff00ff00ff;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t x = a[i] & b[i];

		x -= x >> 1 & twos;
		x = (x & fours) + (x >> 2 & fours);
		x = (x + (x >> 4)) & bytes;
		sum += (x & shorts) + (x >> 8 & shorts);
	}
	sum = (sum & 0x0000ffff0000ffff) + (sum >> 16 & 0x0000ffff0000ffff);
	return (uint32_t)(sum + (sum >> 32));
}

static uint32_t count_bits(finder *f, uint32_t feature)
{
	const uint64_t *bits = f->one.bits + (feature - f->one.first) * f->words;
	uint32_t n = 0;

	for (uint32_t j = f->others.first > feature ? f->others.first : feature + 1; j < f->others.end; j++) {
		const uint64_t *theirs = f->others.bits + (j - f->others.first) * f->words;

		for (size_t at = 0; at < f->words; at += BLOCK_WORDS)
			f->common[j] += count_both(bits + at, theirs + at,
			                           f->words - at < BLOCK_WORDS ? f->words - at : BLOCK_WORDS);
		if (f->common[j])
			f->touched[n++] = j;
	}
	return n;
}

/* Whether a is before b among a feature's partners: by the square of the cosine, but for what they share. */
static bool before(const cofiring *c, const cofiring_partner *a, const cofiring_partner *b)
{
	double x = (double)a->common * a->common / c->fires[a->feature],
	       y = (double)b->common * b->common / c->fires[b->feature];

	return x != y ? x > y : a->feature < b->feature;
}

static void offer(cofiring *c, uint32_t feature, cofiring_partner p)
{
	cofiring_partner *best = c->best + (size_t)feature * COFIRING_KEPT;
	uint8_t i = c->n[feature];

	if (i == COFIRING_KEPT && !before(c, &p, &best[i - 1]))
		return;
	if (i == COFIRING_KEPT)
		i--;
	else
		c->n[feature]++;
	for (; i > 0 && before(c, &p, &best[i - 1]); i--)
		best[i] = best[i - 1];
	best[i] = p;
}

static void count_slices(finder *f)
{
	for (uint32_t i = f->one.first; i < f->one.end; i++) {
		uint32_t n = f->dense ? count_bits(f, i) : count_listed(f, i);

		for (uint32_t t = 0; t < n; t++) {
			uint32_t other = f->touched[t];

			offer(f->out, i, (cofiring_partner){ other, f->common[other] });
			offer(f->out, other, (cofiring_partner){ i, f->common[other] });
			f->common[other] = 0;
		}
	}
}

static int count_all(finder *f, error *err)
{
	uint32_t n = f->out->n_features;
	int rc = slice_init(f, &f->one, f->one_room, false, err);

	if (rc == 0)
		rc = slice_init(f, &f->others, f->others_room, true, err);
	while (rc == 0 && f->others.end < n) {
		next_slice(f, &f->others, f->others_room);
		rc = load_others(f, err);
		f->one.end = 0;
		while (rc == 0 && f->one.end < f->others.end) { /* of a pair, the lower one is in here */
			next_slice(f, &f->one, f->one_room);
			rc = load_one(f, err);
			if (rc == 0)
				count_slices(f);
		}
	}
	return rc;
}

/* ---- All of it ---------------------------------------------------------------------------------------------------------------- */

static int cofiring_init(cofiring *c, uint32_t n, error *err)
{
	*c = (cofiring){ .n_features = n };
	c->fires = calloc((size_t)n + 1, sizeof(*c->fires));
	c->n = calloc((size_t)n + 1, sizeof(*c->n));
	c->best = malloc(((size_t)n + 1) * COFIRING_KEPT * sizeof(*c->best));
	return c->fires && c->n && c->best ? 0 : error_nomem(err, "co-firing features");
}

/* More would take hours. */
static bool is_too_much(const finder *f)
{
	return f->n_tokens > MAX_TOKENS ||
	       (f->dense ? f->words * f->out->n_features > MAX_WORDS : f->n_firings > MAX_FIRINGS);
}

int cofiring_find(cofiring *out, store *s, int64_t source, uint32_t n_features, size_t memory, error *err)
{
	cofiring c;
	finder f = { .s = s, .source = source, .out = &c };
	int rc = cofiring_init(&c, n_features, err);

	f.common = calloc((size_t)n_features + 1, sizeof(*f.common));
	f.touched = calloc((size_t)n_features + 1, sizeof(*f.touched));
	if (rc == 0 && (!f.common || !f.touched))
		rc = error_nomem(err, "co-firing features");
	if (rc == 0)
		rc = each_token(&f, count_token, NULL, err);
	f.dense = f.n_firings > (uint64_t)f.n_tokens * n_features / DENSE;
	f.words = ((size_t)f.n_tokens + 63) / 64;
	f.one_room = memory / (f.dense ? 2 * sizeof(uint64_t) : 3 * sizeof(uint32_t));
	f.others_room = f.dense ? f.one_room : 2 * f.one_room;
	if (rc == 0 && !is_too_much(&f))
		rc = count_all(&f, err);
	else
		cofiring_clear(&c);
	slice_clear(&f.one);
	slice_clear(&f.others);
	free(f.common);
	free(f.touched);
	if (rc < 0)
		cofiring_clear(&c);
	*out = c;
	return rc;
}

void cofiring_clear(cofiring *c)
{
	free(c->fires);
	free(c->n);
	free(c->best);
	*c = (cofiring){ 0 };
}

int cofiring_write(text *t, const cofiring *c, uint32_t feature)
{
	const cofiring_partner *p = c->best + (size_t)feature * COFIRING_KEPT;
	int rc = text_adds(t, "[");

	for (uint8_t i = 0; i < c->n[feature] && rc == 0; i++)
		rc = text_addf(t, "%s[%u,%u,%.5g]", i ? "," : "", p[i].feature, p[i].common,
		               p[i].common / sqrt((double)c->fires[feature] * c->fires[p[i].feature]));
	return rc == 0 ? text_adds(t, "]") : rc;
}
