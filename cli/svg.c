/* See svg.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/html.h"
#include "cli/svg.h"

#define SVG_MAX ((size_t)256 << 20)

static void add(svg *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(svg *s, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (s->rc == 0)
		s->rc = text_addv(&s->out, fmt, args);
	va_end(args);
}

static void add_escaped(svg *s, const char *utf8)
{
	if (s->rc == 0)
		s->rc = markup_escape(&s->out, utf8);
}

static void add_title(svg *s, const char *title)
{
	if (!title)
		return;
	add(s, "<title>");
	add_escaped(s, title);
	add(s, "</title>");
}

void svg_start_within(svg *s, double width, double height, const char *title)
{
	s->rc = 0;
	text_init(&s->out, SVG_MAX);
	add(s, "<svg width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" role=\"img\">", width, height,
	    width, height);
	add_title(s, title);
}

void svg_start(svg *s, double width, double height, const char *title)
{
	s->rc = 0;
	text_init(&s->out, SVG_MAX);
	add(s,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f "
	    "%.0f\" "
	    "role=\"img\" font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif\">\n",
	    width, height, width, height);
	add_title(s, title);
	add(s, "\n");
	svg_rect(s, 0, 0, width, height, "#ffffff", NULL);
}

void svg_text(svg *s, double x, double y, const svg_style *style, const char *utf8)
{
	static const char *const anchors[] = { "start", "middle", "end" };

	add(s, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%.4g\" fill=\"%s\" text-anchor=\"%s\"", x, y,
	    style->size, style->colour ? style->colour : "#333333", anchors[style->anchor]);
	if (style->bold)
		add(s, " font-weight=\"bold\"");
	if (style->upwards)
		add(s, " transform=\"rotate(-90 %.1f %.1f)\"", x, y);
	add(s, ">");
	add_escaped(s, utf8);
	add(s, "</text>\n");
}

void svg_line(svg *s, double x1, double y1, double x2, double y2, const char *colour, double width)
{
	add(s, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%g\"/>\n",
	    x1, y1, x2, y2, colour, width);
}

void svg_rect(svg *s, double x, double y, double width, double height, const char *fill, const char *stroke)
{
	add(s, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\" stroke=\"%s\"/>\n", x,
	    y, width, height, fill, stroke ? stroke : "none");
}

void svg_curve(svg *s, const double *xy, size_t n, const char *colour, double width, const char *dash)
{
	add(s, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%g\" stroke-linejoin=\"round\"", colour,
	    width);
	if (dash)
		add(s, " stroke-dasharray=\"%s\"", dash);
	add(s, " points=\"");
	for (size_t i = 0; i < n; i++)
		add(s, "%s%.1f,%.1f", i ? " " : "", xy[2 * i], xy[2 * i + 1]);
	add(s, "\"/>\n");
}

/* Corners of the shapes behind the circle, on a circle of radius 1. */
static const struct shape {
	unsigned n;
	double xy[8];
} shapes[SVG_SHAPES] = {
	{ 0, { 0 } },
	{ 4, { -0.85, -0.85, 0.85, -0.85, 0.85, 0.85, -0.85, 0.85 } },
	{ 3, { 0, -1.15, 1.05, 0.8, -1.05, 0.8 } },
	{ 4, { 0, -1.2, 1.2, 0, 0, 1.2, -1.2, 0 } },
	{ 3, { 0, 1.15, 1.05, -0.8, -1.05, -0.8 } },
	{ 4, { -1.3, -0.6, 1.3, -0.6, 1.3, 0.6, -1.3, 0.6 } },
};

void svg_mark(svg *s, unsigned shape, double x, double y, double radius, const char *colour, bool filled,
              const char *title)
{
	const struct shape *p = &shapes[shape % SVG_SHAPES];

	if (p->n == 0) {
		add(s, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%g\"", x, y, radius);
	} else {
		add(s, "<polygon points=\"");
		for (unsigned i = 0; i < p->n; i++)
			add(s, "%s%.1f,%.1f", i ? " " : "", x + radius * p->xy[2 * i],
			    y + radius * p->xy[2 * i + 1]);
		add(s, "\"");
	}
	add(s, " fill=\"%s\" stroke=\"%s\" stroke-width=\"1.5\">", filled ? colour : "#ffffff", colour);
	add_title(s, title);
	add(s, p->n ? "</polygon>\n" : "</circle>\n");
}

int svg_finish(svg *s, char **out, error *err)
{
	add(s, "</svg>\n");
	if (s->rc < 0) {
		text_free(&s->out);
		return s->rc == ERR_NOMEM ? error_nomem(err, "a picture")
		                          : error_set(err, s->rc, "the picture is too large");
	}
	*out = s->out.data;
	return 0;
}

double svg_text_width(const char *utf8, double size)
{
	double width = 0;
	size_t left = strlen(utf8), n;

	for (; left; utf8 += n, left -= n) {
		uint32_t cp = 0;

		n = utf8_next(utf8, left, &cp);
		/* signs like the ellipsis, and what stands for characters that cannot be written, are wide */
		if (n == 0 || markup_forbidden(cp) || (cp >= 0x2000 && cp < 0x3000) || cp == 0xfffd)
			width += size;
		else
			width += 0.63 * size * (double)text_columns(utf8, n);
		n = n ? n : 1;
	}
	return width;
}

const char *svg_colour(size_t i)
{
	static const char *const colours[] = { "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7b4fa3",
		                               "#8c6d1f", "#e69f00", "#56b4e9", "#444444", "#b3282d" };

	return colours[i % ARRAY_LEN(colours)];
}
