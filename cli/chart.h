/* The frame of a chart: axes with 1-2-5 ticks, titles, and room for a legend at the right. */
#ifndef GLOSS_CLI_CHART_H
#define GLOSS_CLI_CHART_H

#include "cli/svg.h"

enum { AXIS_TICKS = 128, CHART_WIDTH = 900, CHART_HEIGHT = 560 };

typedef struct axis_tick {
	double at;      /* value */
	char label[24]; /* "": a line without a number */
} axis_tick;

typedef struct axis {
	double low, high; /* values at its ends */
	double from, to;  /* their places in the picture */
	bool log;
	axis_tick ticks[AXIS_TICKS];
	size_t n_ticks;
} axis;

/* Fit the axis to values low..high, with a margin; low == high is given room too. log: both are positive.
 * spacing: least distance of two numbers in the picture. */
void axis_fit(axis *a, double low, double high, bool log, double from, double to, double spacing);
/* The same of counts from 0 to `most`: ticks at whole numbers. */
void axis_fit_counts(axis *a, double most, double from, double to, double spacing);
/* Where a value lies in the picture. */
double axis_place(const axis *a, double value);

typedef struct chart_titles {
	const char *main, *x, *y;
} chart_titles;

/* Where curves go: of a picture of CHART_WIDTH x CHART_HEIGHT, with `legend` wide free at the right. */
typedef struct chart_area {
	double left, right, top, bottom;
} chart_area;
chart_area chart_area_for(double legend);
/* Starts the picture and draws frame, grid, numbers and titles. */
void chart_start(svg *s, const chart_area *area, const axis *x, const axis *y, const chart_titles *titles);

#endif
