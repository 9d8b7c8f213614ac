/* The fixed grid, histograms on it, intervals from them. */
#include "store/histogram.h"

#include <math.h>

/* 2^(j / 64) times 2^23: with the exponent of a float, its mantissa. */
static const uint32_t mantissas[GRID_PER_OCTAVE] = {
	8388608,  8479954,  8572295,  8665641,  8760003,  8855394,  8951823,  9049301,  9147842,  9247455,
	9348154,  9449948,  9552851,  9656875,  9762032,  9868333,  9975792,  10084422, 10194234, 10305242,
	10417458, 10530897, 10645571, 10761494, 10878679, 10997140, 11116891, 11237946, 11360319, 11484025,
	11609078, 11735492, 11863283, 11992466, 12123055, 12255067, 12388516, 12523418, 12659789, 12797645,
	12937002, 13077877, 13220286, 13364245, 13509772, 13656884, 13805598, 13955931, 14107901, 14261526,
	14416824, 14573813, 14732511, 14892937, 15055111, 15219050, 15384775, 15552304, 15721658, 15892855,
	16065917, 16240863, 16417715, 16596492
};
/* The bin of the least mantissa with these leading 7 bits; the greatest is at most in the next one. */
static const uint8_t guesses[128] = { 0,  0,  1,  2,  2,  3,  4,  4,  5,  6,  6,  7,  8,  8,  9,  10,
	                              10, 11, 12, 12, 13, 14, 14, 15, 15, 16, 17, 17, 18, 18, 19, 20,
	                              20, 21, 21, 22, 22, 23, 24, 24, 25, 25, 26, 26, 27, 27, 28, 28,
	                              29, 29, 30, 30, 31, 31, 32, 33, 33, 34, 34, 35, 35, 35, 36, 36,
	                              37, 37, 38, 38, 39, 39, 40, 40, 41, 41, 42, 42, 43, 43, 43, 44,
	                              44, 45, 45, 46, 46, 47, 47, 47, 48, 48, 49, 49, 50, 50, 50, 51,
	                              51, 52, 52, 52, 53, 53, 54, 54, 54, 55, 55, 56, 56, 56, 57, 57,
	                              58, 58, 58, 59, 59, 59, 60, 60, 61, 61, 61, 62, 62, 62, 63, 63 };

double grid_edge(int i)
{
	int octave = (i - GRID_FIRST) / GRID_PER_OCTAVE + GRID_FIRST / GRID_PER_OCTAVE;

	return ldexp(mantissas[(i - GRID_FIRST) % GRID_PER_OCTAVE], octave - 23);
}

int grid_of(float value)
{
	uint32_t bits, mantissa;
	int exponent, j;

	memcpy(&bits, &value, sizeof(bits));
	exponent = (int)(bits >> 23) - 127;
	if (exponent < GRID_FIRST / GRID_PER_OCTAVE)
		return GRID_FIRST;
	if (exponent >= GRID_END / GRID_PER_OCTAVE)
		return GRID_END - 1;
	mantissa = (bits & 0x7fffff) | 0x800000;
	j = guesses[(mantissa - 0x800000) >> 16];
	if (j + 1 < GRID_PER_OCTAVE && mantissa >= mantissas[j + 1])
		j++;
	return exponent * GRID_PER_OCTAVE + j;
}

/* ---- Histograms ---- */

enum { CHUNK = 16 }; /* bins; a part of all of them */

void histogram_clear(histogram *h)
{
	free(h->counts);
	*h = (histogram){ 0 };
}

/* Make the stretch hold bins [first, end), and some around, so that it seldom grows. */
static int reach(histogram *h, int first, int end)
{
	uint64_t *wider;

	if (h->n > 0) {
		first = h->first < first ? h->first : first;
		end = h->first + h->n > end ? h->first + h->n : end;
	}
	first = GRID_FIRST + (first - GRID_FIRST) / CHUNK * CHUNK;
	end = GRID_END - (GRID_END - end) / CHUNK * CHUNK;
	if (h->n == end - first)
		return 0;
	wider = calloc((size_t)(end - first), sizeof(*wider));
	if (!wider)
		return ERR_NOMEM;
	if (h->n > 0)
		memcpy(wider + (h->first - first), h->counts, h->n * sizeof(*wider));
	free(h->counts);
	*h = (histogram){ .first = (int16_t)first, .n = (uint16_t)(end - first), .counts = wider };
	return 0;
}

int histogram_add(histogram *h, float value)
{
	int i = grid_of(value);

	if ((i < h->first || i >= h->first + h->n) && reach(h, i, i + 1) < 0)
		return ERR_NOMEM;
	h->counts[i - h->first]++;
	return 0;
}

int histogram_join(histogram *into, const histogram *from)
{
	if (from->n == 0)
		return 0;
	if (reach(into, from->first, from->first + from->n) < 0)
		return ERR_NOMEM;
	for (uint32_t i = 0; i < from->n; i++)
		into->counts[from->first - into->first + (int)i] += from->counts[i];
	return 0;
}

double histogram_rank(const histogram *h, uint64_t rank, double most)
{
	uint64_t below = 0;
	uint32_t i = 0;
	double low, value;

	while (i + 1 < h->n && below + h->counts[i] < rank)
		below += h->counts[i++];
	low = grid_edge(h->first + (int)i);
	value = low + (grid_edge(h->first + (int)i + 1) - low) * ((double)(rank - below) - 0.5) /
	                      (double)h->counts[i];
	return value < most ? value : most;
}

histogram histogram_trim(const histogram *h)
{
	uint32_t from = 0, to = h->n;

	while (from < to && h->counts[from] == 0)
		from++;
	while (to > from && h->counts[to - 1] == 0)
		to--;
	return (histogram){ .first = (int16_t)(from < to ? h->first + (int)from : 0),
		            .n = (uint16_t)(to - from),
		            .counts = from < to ? h->counts + from : NULL };
}

int histogram_write(text *t, const histogram *h)
{
	int rc = text_addf(t, "{\"per_octave\":%d,\"first\":%d,\"counts\":[", GRID_PER_OCTAVE, h->first);

	for (uint32_t i = 0; i < h->n && rc == 0; i++)
		rc = text_addf(t, "%s%llu", i ? "," : "", (unsigned long long)h->counts[i]);
	return rc == 0 ? text_adds(t, "]}") : rc;
}

/* A whole number in [low, high], or low - 1. */
static double whole(const cJSON *item, double low, double high)
{
	double v = cJSON_IsNumber(item) ? item->valuedouble : low - 1;

	return v >= low && v <= high && v == floor(v) ? v : low - 1;
}

int histogram_read(histogram *out, int *step, const cJSON *json)
{
	const cJSON *counts = cJSON_GetObjectItem(json, "counts"), *count;
	double per_octave = whole(cJSON_GetObjectItem(json, "per_octave"), 1, GRID_PER_OCTAVE);
	double first = whole(cJSON_GetObjectItem(json, "first"), GRID_FIRST, GRID_END);
	int n = cJSON_GetArraySize(counts), i = 0;
	histogram h = { 0 };

	if (per_octave < 1 || GRID_PER_OCTAVE % (int)per_octave != 0 || !cJSON_IsArray(counts))
		return ERR_FORMAT;
	*step = GRID_PER_OCTAVE / (int)per_octave;
	if (first * *step < GRID_FIRST || first * *step > GRID_END ||
	    n > (GRID_END - (int)first * *step) / *step)
		return ERR_FORMAT;
	h = (histogram){ .first = (int16_t)first, .n = (uint16_t)n };
	h.counts = calloc((size_t)n + 1, sizeof(*h.counts));
	if (!h.counts)
		return ERR_NOMEM;
	cJSON_ArrayForEach(count, counts)
	{
		double v = whole(count, 0, 0x1p53);

		if (v < 0) {
			histogram_clear(&h);
			return ERR_FORMAT;
		}
		h.counts[i++] = (uint64_t)v;
	}
	*out = h;
	return 0;
}

/* ---- Intervals ---- */

/* The edge, a bin number of h from `from` on, that has nearest to `aim` tokens below it; *below is their number. */
static uint32_t nearest_edge(uint64_t *below, const histogram *h, uint32_t from, double aim)
{
	uint32_t i = from, lower = from;
	uint64_t sum = *below, before = sum;

	while (i < h->n && (double)sum < aim) {
		before = sum;
		sum += h->counts[i++];
		if (sum > before && (double)sum < aim)
			lower = i;
	}
	if (aim - (double)before <= (double)sum - aim) {
		*below = before;
		return lower;
	}
	*below = sum;
	return i;
}

void intervals_equal_count(intervals *out, const histogram *h, int step)
{
	uint64_t total = 0, below = 0, before;
	uint32_t at = 0;

	*out = (intervals){ .definition = "equal count", .n = 10 };
	for (uint32_t b = 0; b < h->n; b++)
		total += h->counts[b];
	for (uint32_t j = 0; j < out->n; j++) {
		out->grid[j] = (int16_t)((h->first + (int)at) * step);
		before = below;
		if (j + 1 < out->n) {
			at = nearest_edge(&below, h, at, (double)total * (j + 1) / out->n);
		} else {
			at = h->n;
			below = total;
		}
		out->counts[j] = below - before;
	}
	out->grid[out->n] = (int16_t)((h->first + (int)at) * step);
}

/* The edge, of those `step` apart, that is nearest to a value > 0. */
static int nearest_to(double value, int step)
{
	int i = grid_of((float)value), low = i - ((i % step) + step) % step;

	return value - grid_edge(low) <= grid_edge(low + step) - value ? low : low + step;
}

void intervals_equal_width(intervals *out, const histogram *h, int step, uint32_t n, double most)
{
	uint32_t at = 0;

	*out = (intervals){ .definition = "equal width", .n = n };
	out->grid[0] = GRID_FIRST;
	for (uint32_t j = 0; j < n; j++) {
		bool last = j + 1 == n || h->n == 0;
		int end = last ? (h->first + h->n) * step : nearest_to(most * (j + 1) / n, step);

		out->grid[j + 1] = (int16_t)(end > out->grid[j] ? end : out->grid[j]);
		for (; at < h->n && (h->first + (int)at) * step < end; at++)
			out->counts[j] += h->counts[at];
	}
}

uint32_t intervals_find(const intervals *v, float value)
{
	int i = grid_of(value);
	uint32_t j = 0;

	while (j + 1 < v->n && i >= v->grid[j + 1])
		j++;
	return j;
}

int intervals_write(text *t, const intervals *v, const uint32_t *kept)
{
	int rc = text_addf(t, "{\"definition\":\"%s\",\"grid\":[", v->definition);

	for (uint32_t i = 0; i <= v->n && rc == 0; i++)
		rc = text_addf(t, "%s%d", i ? "," : "", v->grid[i]);
	rc = rc ? rc : text_adds(t, "],\"counts\":[");
	for (uint32_t i = 0; i < v->n && rc == 0; i++)
		rc = text_addf(t, "%s%llu", i ? "," : "", (unsigned long long)v->counts[i]);
	rc = rc ? rc : text_adds(t, "],\"kept\":[");
	for (uint32_t i = 0; i < v->n && rc == 0; i++)
		rc = text_addf(t, "%s%u", i ? "," : "", kept[i]);
	return rc ? rc : text_adds(t, "]}");
}

int intervals_read(intervals *out, uint32_t kept[INTERVALS_MAX], const cJSON *json)
{
	const cJSON *grid = cJSON_GetObjectItem(json, "grid"), *counts = cJSON_GetObjectItem(json, "counts"),
	            *samples = cJSON_GetObjectItem(json, "kept");
	const char *definition = cJSON_GetStringValue(cJSON_GetObjectItem(json, "definition"));
	int n = cJSON_GetArraySize(counts);

	if (!definition || n > INTERVALS_MAX || cJSON_GetArraySize(samples) != n ||
	    cJSON_GetArraySize(grid) != n + 1)
		return ERR_FORMAT;
	*out = (intervals){ .n = (uint32_t)n };
	snprintf(out->definition, sizeof(out->definition), "%s", definition);
	for (int j = 0; j <= n; j++) {
		double at = whole(cJSON_GetArrayItem(grid, j), j ? out->grid[j - 1] : GRID_FIRST, GRID_END);
		double count = j < n ? whole(cJSON_GetArrayItem(counts, j), 0, 0x1p53) : 0;
		double sampled = j < n ? whole(cJSON_GetArrayItem(samples, j), 0, count) : 0;

		if (at < (j ? out->grid[j - 1] : GRID_FIRST) || count < 0 || sampled < 0 ||
		    sampled > UINT32_MAX)
			return ERR_FORMAT;
		out->grid[j] = (int16_t)at;
		if (j < n) {
			out->counts[j] = (uint64_t)count;
			kept[j] = (uint32_t)sampled;
		}
	}
	return 0;
}
