/* A small writer of SVG: shapes and text, with names made safe. The first failure sticks and is told by svg_finish(). */
#ifndef GLOSS_CLI_SVG_H
#define GLOSS_CLI_SVG_H

#include "base/base.h"

typedef struct svg {
	text out;
	int rc;
} svg;

typedef enum svg_anchor { SVG_START, SVG_MIDDLE, SVG_END } svg_anchor;

typedef struct svg_style {
	double size; /* of the letters */
	const char *colour;
	bool bold;
	svg_anchor anchor;
	bool upwards; /* turned by a quarter, read from below */
} svg_style;

/* Shapes of marks, told apart without colour. */
enum { SVG_SHAPES = 6 };

void svg_start(svg *s, double width, double height, const char *title);
/* One within a page: no background, the page's letters and, by "currentColor" and "var(--NAME)", its colours. */
void svg_start_within(svg *s, double width, double height, const char *title);
void svg_text(svg *s, double x, double y, const svg_style *style, const char *utf8);
void svg_line(svg *s, double x1, double y1, double x2, double y2, const char *colour, double width);
void svg_rect(svg *s, double x, double y, double width, double height, const char *fill, const char *stroke);
/* A curve through n points, given as x, y, x, y. dash: "6 3", or NULL; width of the stroke. */
void svg_curve(svg *s, const double *xy, size_t n, const char *colour, double width, const char *dash);
/* A mark around (x, y), hollow or filled; `title` (may be NULL) shows under the pointer. */
void svg_mark(svg *s, unsigned shape, double x, double y, double radius, const char *colour, bool filled,
              const char *title);
/* The whole file, for the caller to free. ERR_NOMEM. */
int svg_finish(svg *s, char **out, error *err) MUST_USE;

/* About how wide a text is drawn, rather too much: fonts differ. */
double svg_text_width(const char *utf8, double size);

/* Colours for curves and marks, well apart for most eyes; counted round. */
const char *svg_colour(size_t i);

#endif
