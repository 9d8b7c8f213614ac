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

void intervals_equal_count(intervals *out, const histogram *h)
{
	uint64_t total = 0, below = 0, before;
	uint32_t at = 0;

	*out = (intervals){ .definition = "equal count", .n = INTERVALS_MAX };
	for (uint32_t b = 0; b < h->n; b++)
		total += h->counts[b];
	for (uint32_t j = 0; j < out->n; j++) {
		out->grid[j] = (int16_t)(h->first + (int)at);
		before = below;
		if (j + 1 < out->n) {
			at = nearest_edge(&below, h, at, (double)total * (j + 1) / out->n);
		} else {
			at = h->n;
			below = total;
		}
		out->counts[j] = below - before;
	}
	out->grid[out->n] = (int16_t)(h->first + (int)at);
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
