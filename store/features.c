/* The state of the index pass: one feature at a time, one context at a time. */
#include "store/codes.h"
#include "store/features.h"

#include <math.h>

enum { MAX_WINDOW_TEXT = 1 << 24 };

int features_init(features *fs, uint32_t n, uint32_t n_top, uint32_t n_samples, uint32_t before,
                  uint32_t after, const vocab *v, error *err)
{
	*fs = (features){
		.n = n, .n_top = n_top, .n_samples = n_samples, .before = before, .after = after, .vocab = v
	};
	fs->wide = store_window_is_wide(before, after);
	text_init(&fs->window_bytes, MAX_WINDOW_TEXT);
	fs->at = calloc(n, sizeof(*fs->at));
	return fs->at ? 0 : error_nomem(err, "the features of an index");
}

static void clear_feature(feature *f)
{
	for (uint32_t i = 0; i < f->n_top; i++)
		free(f->top[i].at.codes);
	for (uint32_t i = 0; i < f->n_samples; i++)
		free(f->samples[i].codes);
	free(f->top);
	free(f->samples);
	histogram_clear(&f->values);
}

void features_clear(features *fs)
{
	for (uint32_t i = 0; fs->at && i < fs->n; i++)
		clear_feature(&fs->at[i]);
	free(fs->at);
	text_free(&fs->window_bytes);
	*fs = (features){ 0 };
}

/* ---- Sums ---- */

/* *sum + *lost grows by x with the rounding error caught (Neumaier). */
static void add_exactly(double *sum, double *lost, double x)
{
	double s = *sum + x;

	*lost += fabs(*sum) >= fabs(x) ? (*sum - s) + x : (x - s) + *sum;
	*sum = s;
}

/* The context's own sums are in the order of its positions, so only their addition depends on the order of contexts. */
static void add_sums(feature *f, const run *r)
{
	double s[4] = { 0 };

	for (uint32_t i = 0; i < r->n; i++) {
		double v = r->value[i], v2 = v * v;

		s[0] += v;
		s[1] += v2;
		s[2] += v2 * v;
		s[3] += v2 * v2;
		f->max = r->value[i] > f->max ? r->value[i] : f->max;
	}
	for (int p = 0; p < 4; p++)
		add_exactly(&f->sum[p], &f->lost[p], s[p]);
	f->fires += r->n;
	f->contexts++;
}

moments feature_moments(const feature *f)
{
	moments m = { .skewness = NAN, .kurtosis = NAN };
	double n = (double)f->fires, a, b, c, var;

	for (int p = 0; p < 4; p++)
		m.sum[p] = f->sum[p] + f->lost[p];
	if (f->fires == 0)
		return m;
	a = m.sum[0] / n;
	b = m.sum[1] / n;
	c = m.sum[2] / n;
	var = b - a * a;
	m.mean = a;
	if (f->fires < 2 || !(var > 1e-13 * b)) /* nothing is left but rounding */
		return m;
	m.std = sqrt(var);
	m.skewness = (c - 3 * a * b + 2 * a * a * a) / (var * m.std);
	m.kurtosis = (m.sum[3] / n - 4 * a * c + 6 * a * a * b - 3 * a * a * a * a) / (var * var);
	return m;
}

/* ---- Windows ---- */

static void window_bounds(const features *fs, const run_context *c, uint32_t position, uint32_t *first,
                          uint32_t *length)
{
	uint32_t rest = c->n_tokens - position - 1;

	*first = position > fs->before ? position - fs->before : 0;
	*length = position - *first + 1 + (rest > fs->after ? fs->after : rest);
}

static int window_new(window **out, const features *fs, const run_context *c, const run *r, uint32_t position,
                      error *err)
{
	uint32_t first, length, from = 0, to;
	size_t size;
	window *w;

	window_bounds(fs, c, position, &first, &length);
	while (r->position[from] < first)
		from++;
	for (to = from; to < r->n && r->position[to] - first < length;)
		to++;
	size = store_window_size(to - from, fs->wide);
	w = malloc(sizeof(*w) + size);
	if (!w)
		return error_nomem(err, "an example");
	*w = (window){ .token = c->tokens[position], .size = (uint32_t)size };
	store_window_encode(w->codes, r->position + from, r->value + from, to - from, first, fs->wide);
	*out = w;
	return 0;
}

static int window_text(uint64_t *hash, features *fs, const run_context *c, uint32_t position, error *err)
{
	uint32_t first, length;

	window_bounds(fs, c, position, &first, &length);
	text_clear(&fs->window_bytes);
	if (vocab_add_bytes(fs->vocab, c->tokens + first, length, &fs->window_bytes) < 0)
		return error_nomem(err, "the text of a window");
	*hash = hash64(fs->window_bytes.data, fs->window_bytes.len, 0);
	return 0;
}

/* ---- Top contexts ---- */

static bool stronger(const sample *a, const sample *b)
{
	return a->value > b->value || (a->value == b->value && a->hash < b->hash);
}

/* The same token of the same context met twice, where other tokens' codes may differ: the greater bytes stay. */
static bool replaces(const window *a, const window *b)
{
	int order = memcmp(a->codes, b->codes, a->size < b->size ? a->size : b->size);

	return order > 0 || (order == 0 && a->size > b->size);
}

static void take_out(feature *f, uint32_t i)
{
	free(f->top[i].at.codes);
	f->n_top--;
	memmove(f->top + i, f->top + i + 1, (f->n_top - i) * sizeof(*f->top));
}

static void put_in(feature *f, const top_sample *e)
{
	uint32_t i = f->n_top;

	while (i > 0 && stronger(&e->at, &f->top[i - 1].at))
		i--;
	memmove(f->top + i + 1, f->top + i, (f->n_top - i) * sizeof(*f->top));
	f->top[i] = *e;
	f->n_top++;
}

/* The context's strongest token. What is kept is, of the best entry of each distinct window, the n_top best: an entry
 * that left cannot have belonged to them, as the bar only rises. */
static int offer_top(features *fs, feature *f, const run_context *c, const run *r, const sample *best,
                     bool *kept, error *err)
{
	bool full = f->n_top == fs->n_top;
	top_sample e = { .at = *best };
	uint32_t same = 0;
	int rc;

	if (fs->n_top == 0 || (full && stronger(&f->top[f->n_top - 1].at, best)))
		return 0;
	if (!f->top) {
		f->top = malloc(fs->n_top * sizeof(*f->top));
		if (!f->top)
			return error_nomem(err, "an example");
	}
	rc = window_text(&e.text, fs, c, best->position, err);
	if (rc < 0)
		return rc;
	while (same < f->n_top && f->top[same].text != e.text)
		same++;
	if (same < f->n_top && stronger(&f->top[same].at, best))
		return 0;
	rc = window_new(&e.at.codes, fs, c, r, best->position, err);
	if (rc < 0)
		return rc;
	if (same < f->n_top && !stronger(best, &f->top[same].at) &&
	    !replaces(e.at.codes, f->top[same].at.codes)) {
		free(e.at.codes);
		return 0;
	}
	if (same < f->n_top)
		take_out(f, same);
	else if (full)
		take_out(f, f->n_top - 1);
	put_in(f, &e);
	*kept = true;
	return 0;
}

/* ---- The sample ---- */

/* Keep the n_samples smallest hashes. A hash that is there already is the same token of a context met twice. */
static int offer_sample(features *fs, feature *f, const run_context *c, const run *r, const sample *s,
                        bool *kept, error *err)
{
	uint32_t i = f->n_samples;
	bool twice;
	window *codes;
	int rc;

	if (fs->n_samples == 0 || (i == fs->n_samples && s->hash > f->bar))
		return 0;
	if (!f->samples) {
		f->samples = malloc(fs->n_samples * sizeof(*f->samples));
		if (!f->samples)
			return error_nomem(err, "an example");
	}
	while (i > 0 && f->samples[i - 1].hash > s->hash)
		i--;
	twice = i > 0 && f->samples[i - 1].hash == s->hash;
	if (twice && f->samples[i - 1].value > s->value)
		return 0;
	rc = window_new(&codes, fs, c, r, s->position, err);
	if (rc < 0)
		return rc;
	if (twice && f->samples[i - 1].value == s->value && !replaces(codes, f->samples[i - 1].codes)) {
		free(codes);
		return 0;
	}
	*kept = true;
	if (twice) {
		free(f->samples[--i].codes);
	} else {
		if (f->n_samples == fs->n_samples)
			free(f->samples[--f->n_samples].codes);
		memmove(f->samples + i + 1, f->samples + i, (f->n_samples - i) * sizeof(*f->samples));
		f->n_samples++;
	}
	f->samples[i] = *s;
	f->samples[i].codes = codes;
	f->bar = f->samples[f->n_samples - 1].hash;
	return 0;
}

void features_prefetch(const features *fs, uint32_t f)
{
	const char *at = (const char *)&fs->at[f];

	__builtin_prefetch(at);
	__builtin_prefetch(at + 64);
}

int features_add(features *fs, const run_context *c, const run *r, bool *kept, error *err)
{
	feature *f = &fs->at[r->feature];
	sample best = { 0 };
	int rc = 0;

	add_sums(f, r);
	for (uint32_t i = 0; i < r->n && rc == 0; i++) {
		sample s = { .hash = hash64_mix(c->position_hash[r->position[i]], r->feature),
			     .context = c->id,
			     .position = r->position[i],
			     .value = r->value[i] };

		if (s.value > best.value)
			best = s;
		if (histogram_add(&f->values, s.value) < 0)
			return error_nomem(err, "a histogram");
		rc = offer_sample(fs, f, c, r, &s, kept, err);
	}
	if (rc == 0)
		rc = offer_top(fs, f, c, r, &best, kept, err);
	return rc;
}
