/* See chart.h. */
#include <math.h>
#include <string.h>

#include "cli/chart.h"

#define GRID "#e4e4e4"

/* ---- Axes -------------------------------------------------------------------------------------------------------------- */

/* The smallest of 1, 2, 5 times a power of ten that is at least `step`. */
static double nice_step(double step)
{
	double power = pow(10, floor(log10(step)));

	for (int i = 0; i < 3; i++) {
		static const double steps[] = { 1, 2, 5 };

		if (steps[i] * power >= step * (1 - 1e-9))
			return steps[i] * power;
	}
	return 10 * power;
}

/* "20k", "1.5M", "0.25", "2e-05": the digits that a difference of `step` needs. */
static void format_tick(char *out, size_t size, double value, double step)
{
	static const struct {
		double unit;
		const char *suffix;
	} units[] = { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" } };
	int decimals;

	if (fabs(value) < 1e-9 * step) {
		snprintf(out, size, "0");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(units) && fabs(value) >= 1e3; i++)
		if (fabs(value) >= units[i].unit * (1 - 1e-9)) {
			snprintf(out, size, "%.6g%s", value / units[i].unit, units[i].suffix);
			return;
		}
	decimals = (int)ceil(-log10(step) - 1e-9);
	if (decimals > 5)
		snprintf(out, size, "%.3g", value);
	else
		snprintf(out, size, "%.*f", decimals > 0 ? decimals : 0, value);
}

static void add_tick(axis *a, double value, double step, bool labelled)
{
	axis_tick *t = &a->ticks[a->n_ticks];

	if (a->n_ticks == AXIS_TICKS || value < a->low || value > a->high)
		return;
	*t = (axis_tick){ .at = value };
	if (labelled)
		format_tick(t->label, sizeof(t->label), value, step);
	a->n_ticks++;
}

static void linear_ticks(axis *a, double spacing, double least)
{
	double length = fabs(a->to - a->from), range = a->high - a->low,
	       step = fmax(least, nice_step(range * spacing / length));

	for (double i = ceil(a->low / step - 1e-9); i * step <= a->high + 1e-9 * step; i++)
		add_tick(a, i * step, step, true);
}

/* Powers of ten, and between them 2 and 5, or more, as there is room; every nth power where there are many. */
static void log_ticks(axis *a, double spacing)
{
	double decades = log10(a->high / a->low), decade = fabs(a->to - a->from) / decades;
	int every = (int)ceil(spacing / decade), first = (int)floor(log10(a->low)),
	    last = (int)ceil(log10(a->high));

	for (int e = first; e <= last; e++) {
		double power = pow(10, e);

		add_tick(a, power, power, e % every == 0);
		for (int m = 2; m <= 9 && every == 1; m++) {
			/* the narrowest gap beside such a number, as a share of a decade, has to hold it */
			double gap = m == 2 || m == 5 ? 0.3 : m == 3 ? 0.17 : m == 7 ? 0.14 : 0.045;
			bool roomy = decade * gap > spacing;

			if (decade > 60)
				add_tick(a, m * power, power, roomy);
		}
	}
}

void axis_fit(axis *a, double low, double high, bool log, double from, double to, double spacing)
{
	*a = (axis){ .log = log, .from = from, .to = to };
	if (log) {
		double margin = high > low ? pow(high / low, 0.04) : 2;

		a->low = low / margin;
		a->high = high * margin;
		if (a->high / a->low > 4)
			log_ticks(a, spacing);
		else
			linear_ticks(a, spacing, 0);
		return;
	}
	if (high > low) {
		double margin = 0.04 * (high - low);

		/* from zero on where that costs little room */
		a->low = low >= 0 && low < 0.2 * high ? 0 : low - margin;
		a->high = high + margin;
	} else {
		double room = high != 0 ? 0.1 * fabs(high) : 1;

		a->low = low - room;
		a->high = high + room;
	}
	linear_ticks(a, spacing, 0);
}

void axis_fit_counts(axis *a, double most, double from, double to, double spacing)
{
	*a = (axis){ .from = from, .to = to, .high = 1.04 * fmax(most, 1) };
	linear_ticks(a, spacing, 1);
}

double axis_place(const axis *a, double value)
{
	double share =
	        a->log ? log(value / a->low) / log(a->high / a->low) : (value - a->low) / (a->high - a->low);

	return a->from + share * (a->to - a->from);
}

/* ---- Frame ---------------------------------------------------------------------------------------------------------------- */

chart_area chart_area_for(double legend)
{
	return (chart_area){ 84, CHART_WIDTH - 24 - legend, 52, CHART_HEIGHT - 62 };
}

static void draw_x_ticks(svg *s, const chart_area *area, const axis *x)
{
	const svg_style number = { .size = 12, .anchor = SVG_MIDDLE };

	for (size_t i = 0; i < x->n_ticks; i++) {
		double at = axis_place(x, x->ticks[i].at);

		svg_line(s, at, area->top, at, area->bottom, GRID, x->ticks[i].label[0] ? 1 : 0.5);
		if (x->ticks[i].label[0])
			svg_text(s, at, area->bottom + 18, &number, x->ticks[i].label);
	}
}

static void draw_y_ticks(svg *s, const chart_area *area, const axis *y)
{
	const svg_style number = { .size = 12, .anchor = SVG_END };

	for (size_t i = 0; i < y->n_ticks; i++) {
		double at = axis_place(y, y->ticks[i].at);

		svg_line(s, area->left, at, area->right, at, GRID, y->ticks[i].label[0] ? 1 : 0.5);
		if (y->ticks[i].label[0])
			svg_text(s, area->left - 8, at + 4, &number, y->ticks[i].label);
	}
}

/* The style in letters small enough for `room`. */
static svg_style fitted(svg_style style, const char *utf8, double room)
{
	double width = svg_text_width(utf8, style.size) * (style.bold ? 1.08 : 1);

	if (width > room)
		style.size *= room / width;
	return style;
}

void chart_start(svg *s, const chart_area *area, const axis *x, const axis *y, const chart_titles *titles)
{
	const svg_style main = fitted((svg_style){ .size = 17, .bold = true, .colour = "#111111" },
	                              titles->main, CHART_WIDTH - area->left - 16),
	                below = fitted((svg_style){ .size = 14, .anchor = SVG_MIDDLE }, titles->x,
	                               area->right - area->left),
	                beside = fitted((svg_style){ .size = 14, .anchor = SVG_MIDDLE, .upwards = true },
	                                titles->y, area->bottom - area->top);

	svg_start(s, CHART_WIDTH, CHART_HEIGHT, titles->main);
	svg_text(s, area->left, 30, &main, titles->main);
	draw_x_ticks(s, area, x);
	draw_y_ticks(s, area, y);
	svg_rect(s, area->left, area->top, area->right - area->left, area->bottom - area->top, "none",
	         "#888888");
	svg_text(s, (area->left + area->right) / 2, CHART_HEIGHT - 16, &below, titles->x);
	svg_text(s, 22, (area->top + area->bottom) / 2, &beside, titles->y);
}
