/* The state of the index pass: one feature at a time, one context at a time. */
#include "store/features.h"
#include "store/codes.h"

#include <math.h>

enum { MAX_WINDOW_TEXT = 1 << 24, RECORD_HEADER = 8, FIRST_ROOM = 8 };

/* Samples beyond n_samples that a feature gathers before the largest hashes are thrown out. */
static uint32_t slack(const features *fs)
{
	return fs->n_samples / 4 + 8;
}

int features_init(features *fs, uint32_t n, uint32_t n_top, uint32_t n_samples, uint32_t before,
                  uint32_t after, const vocab *v, const char *path, size_t memory, error *err)
{
	size_t record = RECORD_HEADER + store_window_size(before + after + 1, true);
	int rc;

	*fs = (features){ .n = n,
		          .n_top = n_top,
		          .n_samples = n_samples,
		          .before = before,
		          .after = after,
		          .wide = store_window_is_wide(before, after),
		          .vocab = v };
	text_init(&fs->bytes, MAX_WINDOW_TEXT);
	rc = spill_init(&fs->windows, path, memory > record ? memory : record, err);
	if (rc < 0)
		return rc;
	fs->window = malloc(record);
	fs->other = malloc(record);
	fs->at = calloc(n, sizeof(*fs->at));
	if (!fs->window || !fs->other || !fs->at)
		return error_nomem(err, "the features of an index");
	for (uint32_t f = 0; f < n; f++) {
		fs->at[f].bar = n_samples > 0 ? UINT64_MAX : 0;
		fs->at[f].least = n_top > 0 ? 0 : INFINITY;
	}
	return 0;
}

void features_clear(features *fs)
{
	for (uint32_t i = 0; fs->at && i < fs->n; i++) {
		free(fs->at[i].top);
		free(fs->at[i].samples);
		histogram_clear(&fs->at[i].values);
	}
	free(fs->at);
	free(fs->window);
	free(fs->other);
	spill_clear(&fs->windows);
	text_free(&fs->bytes);
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
	}
	for (int p = 0; p < 4; p++)
		add_exactly(&f->sum[p], &f->lost[p], s[p]);
	f->fires += r->n;
	f->contexts++;
}

int features_join(features *fs, uint32_t f, const feature *from, error *err)
{
	feature *to = &fs->at[f];

	for (int p = 0; p < 4; p++) {
		add_exactly(&to->sum[p], &to->lost[p], from->sum[p]);
		to->lost[p] += from->lost[p];
	}
	to->fires += from->fires;
	to->contexts += from->contexts;
	to->max = from->max > to->max ? from->max : to->max;
	return histogram_join(&to->values, &from->values) < 0 ? error_nomem(err, "a histogram") : 0;
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

/* Where the window of an example comes from: firing i of a run, or an offer. */
typedef struct origin {
	const run_context *c;
	const run *r;
	uint32_t i;
	const offer *given; /* NULL: the run */
} origin;

/* fs->window becomes its record: token, size, codes. Returns the size of the codes. */
static uint32_t make_window(features *fs, const origin *o)
{
	uint32_t first, length, from = o->i, to = o->i + 1, size, token;

	if (o->given) {
		token = o->given->token;
		size = (uint32_t)o->given->size;
		if (size)
			memcpy(fs->window + RECORD_HEADER, o->given->codes, size);
	} else {
		store_window_bounds(&first, &length, fs->before, fs->after, o->c->n_tokens,
		                    o->r->position[o->i]);
		while (from > 0 && o->r->position[from - 1] >= first)
			from--;
		while (to < o->r->n && o->r->position[to] - first < length)
			to++;
		token = o->c->tokens[o->r->position[o->i]];
		size = (uint32_t)store_window_size(to - from, fs->wide);
		store_window_encode(fs->window + RECORD_HEADER, o->r->position + from, o->r->value + from,
		                    to - from, first, o->i - from, fs->wide);
	}
	memcpy(fs->window, &token, 4);
	memcpy(fs->window + 4, &size, 4);
	return size;
}

static int keep_window(sample *s, features *fs, uint32_t size, error *err)
{
	return spill_add(&s->window, &fs->windows, fs->window, RECORD_HEADER + size, err);
}

int features_window(window *out, features *fs, const sample *s, error *err)
{
	int rc = spill_read(fs->other, &fs->windows, s->window, RECORD_HEADER, err);

	if (rc < 0)
		return rc;
	memcpy(&out->token, fs->other, 4);
	memcpy(&out->size, fs->other + 4, 4);
	out->codes = fs->other + RECORD_HEADER;
	return spill_read(fs->other + RECORD_HEADER, &fs->windows, s->window + RECORD_HEADER, out->size, err);
}

/* The same token of the same context met twice, where other tokens' codes may differ: whether those in fs->window take the
 * place of those of `s`. The greater bytes stay. */
static int replaces(bool *out, features *fs, uint32_t size, const sample *s, error *err)
{
	window old;
	int rc = features_window(&old, fs, s, err), order;

	if (rc < 0)
		return rc;
	order = memcmp(fs->window + RECORD_HEADER, old.codes, size < old.size ? size : old.size);
	*out = order > 0 || (order == 0 && size > old.size);
	return 0;
}

static int text_hash(uint64_t *hash, features *fs, const uint32_t *tokens, uint32_t n, error *err)
{
	text_clear(&fs->bytes);
	if (vocab_add_bytes(fs->vocab, tokens, n, &fs->bytes) < 0)
		return error_nomem(err, "the text of a window");
	*hash = hash64(fs->bytes.data, fs->bytes.len, 0);
	return 0;
}

/* ---- Top contexts ---- */

static bool stronger(const sample *a, const sample *b)
{
	return a->value > b->value || (a->value == b->value && a->hash < b->hash);
}

static void take_out(feature *f, uint32_t i)
{
	f->n_top--;
	memmove(f->top + i, f->top + i + 1, (f->n_top - i) * sizeof(*f->top));
}

static void put_in(const features *fs, feature *f, const top_sample *e)
{
	uint32_t i = f->n_top;

	while (i > 0 && stronger(&e->at, &f->top[i - 1].at))
		i--;
	memmove(f->top + i + 1, f->top + i, (f->n_top - i) * sizeof(*f->top));
	f->top[i] = *e;
	f->n_top++;
	if (f->n_top == fs->n_top)
		f->least = f->top[f->n_top - 1].at.value;
}

/* Whether `s` is beaten by the weakest of a full top. */
static bool too_weak(const features *fs, const feature *f, const sample *s)
{
	return s->value < f->least || (f->n_top == fs->n_top && stronger(&f->top[f->n_top - 1].at, s));
}

/* The context's strongest token. What is kept is, of the best entry of each distinct window, the n_top best: an entry
 * that left cannot have belonged to them, as the bar only rises. */
static int offer_top(features *fs, feature *f, top_sample *e, const origin *from, bool *kept, error *err)
{
	uint32_t same = 0, size;
	bool better = true;
	int rc;

	if (!f->top) {
		f->top = malloc(fs->n_top * sizeof(*f->top));
		if (!f->top)
			return error_nomem(err, "an example");
	}
	while (same < f->n_top && f->top[same].text != e->text)
		same++;
	if (same < f->n_top && stronger(&f->top[same].at, &e->at))
		return 0;
	size = make_window(fs, from);
	if (same < f->n_top && !stronger(&e->at, &f->top[same].at)) {
		rc = replaces(&better, fs, size, &f->top[same].at, err);
		if (rc < 0 || !better)
			return rc;
	}
	rc = keep_window(&e->at, fs, size, err);
	if (rc < 0)
		return rc;
	if (same < f->n_top)
		take_out(f, same);
	else if (f->n_top == fs->n_top)
		take_out(f, f->n_top - 1);
	put_in(fs, f, e);
	*kept = true;
	return 0;
}

/* ---- The sample ---- */

/* The nth (from 0) smallest of the numbers, which are moved about. */
static uint64_t select_nth(uint64_t *a, uint32_t n, uint32_t nth)
{
	uint32_t low = 0, high = n - 1;

	while (low < high) {
		uint64_t pivot = a[low + (high - low) / 2];
		uint32_t i = low, j = high;

		for (;;) {
			while (a[i] < pivot)
				i++;
			while (a[j] > pivot)
				j--;
			if (i >= j)
				break;
			uint64_t t = a[i];

			a[i++] = a[j];
			a[j--] = t;
		}
		if (nth <= j)
			high = j;
		else
			low = j + 1;
	}
	return a[low];
}

/* Throw out all but the n_samples smallest hashes. */
static void shrink(features *fs, feature *f)
{
	uint64_t hashes[FEATURES_MAX_SAMPLES + FEATURES_MAX_SAMPLES / 4 + 8];
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->n_samples; i++)
		hashes[i] = f->samples[i].hash;
	f->bar = select_nth(hashes, f->n_samples, fs->n_samples - 1);
	for (uint32_t i = 0; i < f->n_samples; i++) {
		if (f->samples[i].hash <= f->bar)
			f->samples[n++] = f->samples[i];
	}
	f->n_samples = n;
}

static int make_room(features *fs, feature *f, error *err)
{
	uint32_t most = fs->n_samples + slack(fs), room = f->room ? 2 * f->room : FIRST_ROOM;
	sample *wider;

	if (f->n_samples < f->room)
		return 0;
	if (f->room == most) {
		shrink(fs, f);
		return 0;
	}
	room = room < most ? room : most;
	wider = realloc(f->samples, room * sizeof(*wider));
	if (!wider)
		return error_nomem(err, "samples");
	f->samples = wider;
	f->room = room;
	return 0;
}

/* A hash at or below the bar. One that is there already is the same token of a context met twice: the stronger stays. */
static int offer_sample(features *fs, feature *f, sample *s, const origin *from, bool again, bool *kept,
                        error *err)
{
	uint32_t i = again ? 0 : f->n_samples, size;
	bool better = true;
	int rc;

	while (i < f->n_samples && f->samples[i].hash != s->hash)
		i++;
	if (i < f->n_samples && f->samples[i].value > s->value)
		return 0;
	size = make_window(fs, from);
	if (i < f->n_samples && f->samples[i].value == s->value) {
		rc = replaces(&better, fs, size, &f->samples[i], err);
		if (rc < 0 || !better)
			return rc;
	}
	rc = keep_window(s, fs, size, err);
	if (rc == 0 && i == f->n_samples) {
		rc = make_room(fs, f, err);
		if (rc == 0 && s->hash > f->bar) /* room was made by lowering it */
			return 0;
		i = f->n_samples;
	}
	if (rc < 0)
		return rc;
	f->samples[i] = *s;
	f->n_samples += i == f->n_samples;
	*kept = true;
	return 0;
}

static int by_hash(const void *a, const void *b)
{
	const sample *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

void features_settle(features *fs, feature *f)
{
	if (f->n_samples > fs->n_samples)
		shrink(fs, f);
	if (f->n_samples > 0)
		qsort(f->samples, f->n_samples, sizeof(*f->samples), by_hash);
}

/* ---- One context, one feature ---- */

void features_prefetch(const features *fs, uint32_t f)
{
	const char *at = (const char *)&fs->at[f];

	__builtin_prefetch(at);
	__builtin_prefetch(at + 64);
	__builtin_prefetch(at + 128);
}

void features_prefetch_values(const features *fs, uint32_t f)
{
	const histogram *h = &fs->at[f].values;

	if (h->n > 0)
		__builtin_prefetch(h->counts + h->n / 2);
}

static sample firing(const run_context *c, const run *r, uint32_t i)
{
	return (sample){ .hash = hash64_mix(c->position_hash[r->position[i]], r->feature),
		         .context = c->id,
		         .position = r->position[i],
		         .value = r->value[i] };
}

int features_add(features *fs, const run_context *c, const run *r, bool *kept, error *err)
{
	feature *f = &fs->at[r->feature];
	origin from = { .c = c, .r = r };
	uint32_t best = 0, first, length;
	top_sample top;
	uint64_t *around;
	int rc = 0;

	add_sums(f, r);
	for (uint32_t i = 0; i < r->n && rc == 0; i++) {
		sample s = firing(c, r, i);

		if (r->value[i] > r->value[best])
			best = i;
		if (histogram_add(&f->values, r->value[i]) < 0)
			return error_nomem(err, "a histogram");
		from.i = i;
		if (s.hash <= f->bar && fs->n_samples > 0)
			rc = offer_sample(fs, f, &s, &from, c->again, kept, err);
	}
	top.at = firing(c, r, best);
	f->max = top.at.value > f->max ? top.at.value : f->max;
	if (rc < 0 || too_weak(fs, f, &top.at))
		return rc;
	around = &c->window_hash[top.at.position];
	if (!*around) {
		store_window_bounds(&first, &length, fs->before, fs->after, c->n_tokens, top.at.position);
		rc = text_hash(around, fs, c->tokens + first, length, err);
	}
	top.text = *around;
	from.i = best;
	return rc < 0 ? rc : offer_top(fs, f, &top, &from, kept, err);
}

/* ---- Offers ---- */

static sample offered(const offer *o, uint32_t f)
{
	uint64_t place = hash64_mix((uint64_t)o->context, o->position);

	return (sample){ .hash = hash64_mix(place, f),
		         .context = o->context,
		         .position = o->position,
		         .value = o->value };
}

int features_offer_sample(features *fs, uint32_t f, const offer *o, error *err)
{
	origin from = { .given = o };
	sample s = offered(o, f);
	bool kept;

	if (s.hash > fs->at[f].bar || fs->n_samples == 0)
		return 0;
	return offer_sample(fs, &fs->at[f], &s, &from, true, &kept, err);
}

int features_offer_top(features *fs, uint32_t f, const offer *o, const uint32_t *tokens, uint32_t n,
                       error *err)
{
	origin from = { .given = o };
	top_sample e = { .at = offered(o, f) };
	bool kept;
	int rc;

	if (too_weak(fs, &fs->at[f], &e.at))
		return 0;
	rc = text_hash(&e.text, fs, tokens, n, err);
	return rc < 0 ? rc : offer_top(fs, &fs->at[f], &e, &from, &kept, err);
}
