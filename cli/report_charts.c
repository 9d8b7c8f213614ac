/* report_charts: the small pictures of a report. Colours are the page's, so that they go with light and dark. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/chart.h"
#include "cli/report_page.h"
#include "cli/store_args.h"

#define INK    "currentColor"
#define MUTE   "var(--mute)"
#define LINE   "var(--line)"
#define ACCENT "var(--accent)"
#define WEAK   "var(--weak)"
#define CHANCE "var(--chance)"

enum { WIDTH = 520, HEIGHT = 190, LEFT = 38, RIGHT = 14, TOP = 10, BOTTOM = 26, LETTERS = 11 };
enum { FOREST_NAME = 150, FOREST_PLOT = 172, FOREST_NUMBERS = 152, FOREST_ROW = 22, MOST_SHOWN = 180 };

static const svg_style small = { .size = LETTERS, .colour = MUTE, .anchor = SVG_MIDDLE };

static void x_ticks(svg *s, const axis *x, double top, double bottom)
{
	for (size_t i = 0; i < x->n_ticks; i++) {
		double at = axis_place(x, x->ticks[i].at);

		if (!*x->ticks[i].label)
			continue;
		svg_line(s, at, top, at, bottom, LINE, 1);
		svg_text(s, at, bottom + LETTERS + 3, &small, x->ticks[i].label);
	}
}

static void y_ticks(svg *s, const axis *y, double left, double right)
{
	svg_style style = small;

	style.anchor = SVG_END;
	for (size_t i = 0; i < y->n_ticks; i++) {
		double at = axis_place(y, y->ticks[i].at);

		if (!*y->ticks[i].label)
			continue;
		svg_line(s, left, at, right, at, LINE, 1);
		svg_text(s, left - 5, at + LETTERS / 3.0, &style, y->ticks[i].label);
	}
}

static void dashed(svg *s, double x1, double y1, double x2, double y2)
{
	svg_curve(s, (double[]){ x1, y1, x2, y2 }, 2, CHANCE, 1.5, "5 3");
}

/* ---- Histogram --------------------------------------------------------------------------------------------------------- */

int chart_histogram(char **out, const char *title, const cJSON *histogram, double mean, double chance,
                    error *err)
{
	const cJSON *counts = cJSON_GetObjectItemCaseSensitive(histogram, "counts"), *one;
	double low = answer_number(histogram, "low"), high = answer_number(histogram, "high"), most = 1;
	double width = (high - low) / fmax(1, cJSON_GetArraySize(counts)), at = low;
	axis x, y;
	svg s;

	cJSON_ArrayForEach(one, counts) most = fmax(most, one->valuedouble);
	axis_fit(&x, low, high, false, LEFT, WIDTH - RIGHT, 45);
	axis_fit_counts(&y, most, HEIGHT - BOTTOM, TOP, 30);
	svg_start_within(&s, WIDTH, HEIGHT, title);
	x_ticks(&s, &x, TOP, HEIGHT - BOTTOM);
	y_ticks(&s, &y, LEFT, WIDTH - RIGHT);
	cJSON_ArrayForEach(one, counts)
	{
		double left = axis_place(&x, at) + 0.5, right = axis_place(&x, at + width) - 0.5;
		double top = axis_place(&y, one->valuedouble);

		at += width;
		if (one->valuedouble > 0)
			svg_rect(&s, left, top, right - left, axis_place(&y, 0) - top, ACCENT, NULL);
	}
	if (!isnan(chance))
		dashed(&s, axis_place(&x, chance), TOP, axis_place(&x, chance), HEIGHT - BOTTOM);
	svg_line(&s, axis_place(&x, mean), TOP, axis_place(&x, mean), HEIGHT - BOTTOM, INK, 2);
	return svg_finish(&s, out, err);
}

/* ---- Each score with its interval ---------------------------------------------------------------------------------------- */

typedef struct scored {
	double value, low, high;
	bool chance;
} scored;

static int by_value(const void *a, const void *b)
{
	const scored *x = a, *y = b;

	return (x->value > y->value) - (x->value < y->value);
}

static int read_scores(scored **out, size_t *n, const cJSON *features, size_t series, error *err)
{
	const cJSON *feature, *score;
	size_t room = 0;

	*out = NULL;
	*n = 0;
	cJSON_ArrayForEach(feature, features)
	{
		cJSON_ArrayForEach(score, cJSON_GetObjectItemCaseSensitive(feature, "scores"))
		{
			double low = answer_number(score, "low"), high = answer_number(score, "high");

			if ((size_t)answer_number(score, "series") != series)
				continue;
			if (mem_grow(out, &room, *n + 1, sizeof(**out)) < 0)
				return error_nomem(err, "a picture");
			(*out)[(*n)++] = (scored){ answer_number(score, "value"), low, high,
				                   cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(
				                           score, "holds_chance")) };
		}
	}
	if (*n)
		qsort(*out, *n, sizeof(**out), by_value);
	return 0;
}

int chart_scores(char **out, const char *title, const cJSON *features, size_t series, double chance,
                 error *err)
{
	double low = 0, high = 1;
	scored *all = NULL;
	size_t n = 0, shown;
	axis y;
	svg s;
	int rc = read_scores(&all, &n, features, series, err);

	for (size_t i = 0; i < n; i++) {
		low = fmin(low, isnan(all[i].low) ? all[i].value : all[i].low);
		high = fmax(high, isnan(all[i].high) ? all[i].value : all[i].high);
	}
	if (rc == 0) {
		shown = n < MOST_SHOWN ? n : MOST_SHOWN;
		axis_fit(&y, low, high, false, HEIGHT - BOTTOM, TOP, 30);
		svg_start_within(&s, WIDTH, HEIGHT, title);
		y_ticks(&s, &y, LEFT, WIDTH - RIGHT);
		if (!isnan(chance))
			dashed(&s, LEFT, axis_place(&y, chance), WIDTH - RIGHT, axis_place(&y, chance));
		for (size_t i = 0; i < shown; i++) {
			const scored *x = &all[shown > 1 ? i * (n - 1) / (shown - 1) : 0];
			double at = LEFT + ((double)i + 0.5) * (WIDTH - RIGHT - LEFT) / (double)shown;

			if (!isnan(x->low) && !isnan(x->high))
				svg_line(&s, at, axis_place(&y, x->low), at, axis_place(&y, x->high),
				         x->chance ? WEAK : ACCENT, shown > 90 ? 1 : 2);
			svg_rect(&s, at - 1.2, axis_place(&y, x->value) - 1.2, 2.4, 2.4, INK, NULL);
		}
		svg_text(&s, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8, &small,
		         shown < n ? "features by score (some of them)" : "features by score");
		rc = svg_finish(&s, out, err);
	}
	free(all);
	return rc;
}

/* ---- Rows with intervals ---------------------------------------------------------------------------------------------------- */

static void forest_line(svg *s, const axis *x, const forest_row *r, double y)
{
	svg_style name = { .size = LETTERS + 1, .colour = INK, .anchor = SVG_END }, numbers = name;
	double at = axis_place(x, r->value);
	char shown[96];

	numbers.anchor = SVG_START;
	svg_text(s, FOREST_NAME - 8, y + 4, &name, r->name);
	if (!isnan(r->low) && !isnan(r->high)) {
		svg_line(s, axis_place(x, r->low), y, axis_place(x, r->high), y, ACCENT, 2);
		snprintf(shown, sizeof(shown), "%.3f [%.3f, %.3f]", r->value, r->low, r->high);
	} else {
		snprintf(shown, sizeof(shown), "%.3f", r->value);
	}
	svg_rect(s, at - 3, y - 3, 6, 6, ACCENT, NULL);
	svg_text(s, FOREST_NAME + FOREST_PLOT + 10, y + 4, &numbers, shown);
	if (!isnan(r->n)) {
		snprintf(shown, sizeof(shown), "n %.0f", r->n);
		numbers.colour = MUTE;
		svg_text(s, FOREST_NAME + FOREST_PLOT + FOREST_NUMBERS, y + 4, &numbers, shown);
	}
}

int chart_forest(char **out, const char *title, const forest_row *rows, size_t n, double zero, error *err)
{
	double low = isnan(zero) ? rows[0].value : zero, high = low, bottom;
	axis x;
	svg s;

	for (size_t i = 0; i < n; i++) {
		low = fmin(low, isnan(rows[i].low) ? rows[i].value : fmin(rows[i].low, rows[i].value));
		high = fmax(high, isnan(rows[i].high) ? rows[i].value : fmax(rows[i].high, rows[i].value));
	}
	bottom = TOP + (double)n * FOREST_ROW;
	axis_fit(&x, low, high, false, FOREST_NAME, FOREST_NAME + FOREST_PLOT, 45);
	svg_start_within(&s, FOREST_NAME + FOREST_PLOT + FOREST_NUMBERS + 46, bottom + BOTTOM, title);
	x_ticks(&s, &x, TOP, bottom);
	if (!isnan(zero))
		dashed(&s, axis_place(&x, zero), TOP, axis_place(&x, zero), bottom);
	for (size_t i = 0; i < n; i++)
		forest_line(&s, &x, &rows[i], TOP + ((double)i + 0.5) * FOREST_ROW);
	return svg_finish(&s, out, err);
}
