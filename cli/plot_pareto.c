/* The runs by L0 and FVU: who is not beaten in both, and what more features buy. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plot.h"

enum { LETTERS = 11, LABEL_COLUMNS = 28, RADIUS = 5, WIDTHS_MAX = 10, ROW = 18 };

typedef struct box {
	double left, top, right, bottom;
} box;

typedef struct mark {
	const run_info *run;
	char label[PLOT_LABEL];
	double l0, fvu;
	unsigned kind; /* shape and colour: the number of its width among the widths */
	bool front;
	double x, y; /* in the picture */
} mark;

typedef struct pareto {
	const plot_request *q;
	bool held_out; /* the values are; else those of the last training batch */
	mark *marks;   /* (n), by L0 */
	size_t n;
	double widths[WIDTHS_MAX]; /* F, ascending; the last stands for larger ones too */
	size_t n_widths;
	bool more_widths;
	chart_area area;
	axis x, y;
	svg s;
	box *labels; /* (n_labels): taken places */
	size_t n_labels, n_unnamed;
} pareto;

/* ---- Marks ----------------------------------------------------------------------------------------------------------------- */

static int by_l0(const void *a, const void *b)
{
	const mark *x = a, *y = b;

	if (x->l0 != y->l0)
		return x->l0 < y->l0 ? -1 : 1;
	return (x->fvu > y->fvu) - (x->fvu < y->fvu);
}

static void find_front(pareto *p)
{
	double best = INFINITY;

	for (size_t i = 0; i < p->n; i++) {
		p->marks[i].front = p->marks[i].fvu < best;
		best = fmin(best, p->marks[i].fvu);
	}
}

/* The smallest WIDTHS_MAX are kept; what is larger counts as the last of them. */
static void add_width(pareto *p, double features)
{
	size_t at = 0, moved;

	while (at < p->n_widths && p->widths[at] < features)
		at++;
	p->more_widths |= at == WIDTHS_MAX;
	if (isnan(features) || at == WIDTHS_MAX || (at < p->n_widths && p->widths[at] == features))
		return;
	p->more_widths |= p->n_widths == WIDTHS_MAX;
	moved = p->n_widths - at - (p->n_widths == WIDTHS_MAX);
	memmove(&p->widths[at + 1], &p->widths[at], moved * sizeof(p->widths[0]));
	p->widths[at] = features;
	p->n_widths += p->n_widths < WIDTHS_MAX;
}

static unsigned kind_of(const pareto *p, double features)
{
	for (size_t i = 0; i < p->n_widths; i++)
		if (p->widths[i] >= features)
			return (unsigned)i;
	return p->n_widths ? (unsigned)p->n_widths - 1 : 0;
}

static bool values_of(const run_info *r, bool held_out, double *l0, double *fvu)
{
	*l0 = held_out && !isnan(r->held_out_l0) ? r->held_out_l0 : r->l0;
	*fvu = held_out ? r->held_out_fvu : r->fvu;
	return !isnan(*l0) && !isnan(*fvu);
}

static int collect(pareto *p, error *err)
{
	const plot_request *q = p->q;
	double l0, fvu;
	size_t left_out = 0;

	p->marks = calloc(q->runs->n, sizeof(*p->marks));
	p->labels = calloc(q->runs->n, sizeof(*p->labels));
	if (!p->marks || !p->labels)
		return error_nomem(err, "the runs' marks");
	for (size_t i = 0; i < q->runs->n; i++)
		p->held_out |= values_of(&q->runs->runs[i], true, &l0, &fvu);
	for (size_t i = 0; i < q->runs->n; i++) {
		const run_info *r = &q->runs->runs[i];

		if (!values_of(r, p->held_out, &l0, &fvu) || (q->log_x && l0 <= 0) ||
		    (q->log_y && fvu <= 0)) {
			left_out++;
			continue;
		}
		p->marks[p->n] = (mark){ .run = r, .l0 = l0, .fvu = fvu };
		plot_label(p->marks[p->n++].label, q->runs, i, LABEL_COLUMNS);
		add_width(p, r->features);
	}
	if (p->n == 0)
		return error_set(err, ERR_NOTFOUND, "none of the %zu runs has both L0 and FVU%s", q->runs->n,
		                 q->log_x || q->log_y ? " above 0" : "");
	if (left_out)
		cli_warn(q->self, "%zu of %zu runs have no L0 and %sFVU; left out", left_out, q->runs->n,
		         p->held_out ? "held-out " : "");
	qsort(p->marks, p->n, sizeof(*p->marks), by_l0);
	for (size_t i = 0; i < p->n; i++)
		p->marks[i].kind = kind_of(p, p->marks[i].run->features);
	find_front(p);
	return 0;
}

/* ---- Names beside the marks ------------------------------------------------------------------------------------------------ */

static bool overlap(const box *a, const box *b)
{
	return a->left < b->right && b->left < a->right && a->top < b->bottom && b->top < a->bottom;
}

/* Whether the segment passes through the box: cut to it side by side (Liang and Barsky). */
static bool crosses(const box *b, const mark *from, const mark *to)
{
	double dx = to->x - from->x, dy = to->y - from->y, enter = 0, leave = 1;
	const double d[] = { -dx, dx, -dy, dy }, room[] = { from->x - b->left, b->right - from->x,
		                                            from->y - b->top, b->bottom - from->y };

	for (int i = 0; i < 4; i++) {
		if (d[i] == 0 && room[i] < 0)
			return false;
		if (d[i] < 0)
			enter = fmax(enter, room[i] / d[i]);
		else if (d[i] > 0)
			leave = fmin(leave, room[i] / d[i]);
	}
	return enter <= leave;
}

/* 0: free; 1: over the front's line; 2: over a mark, a name or the frame. */
static int trouble(const pareto *p, const box *b)
{
	const mark *last = NULL;
	int worst = 0;

	if (b->left < p->area.left + 2 || b->right > p->area.right - 2 || b->top < p->area.top + 2 ||
	    b->bottom > p->area.bottom - 2)
		return 2;
	for (size_t i = 0; i < p->n_labels; i++)
		if (overlap(b, &p->labels[i]))
			return 2;
	for (size_t i = 0; i < p->n; i++) {
		const mark *m = &p->marks[i];
		const box around = { m->x - RADIUS - 2, m->y - RADIUS - 2, m->x + RADIUS + 2,
			             m->y + RADIUS + 2 };

		if (overlap(b, &around))
			return 2;
		if (!m->front)
			continue;
		if (last && crosses(b, last, m))
			worst = 1;
		last = m;
	}
	return worst;
}

/* Tries places around the mark, near ones first; a name that fits nowhere is left to the pointer. */
static void place_label(pareto *p, const mark *m)
{
	static const struct {
		double dx, dy; /* of the name's middle, in half its size and the distance */
	} places[] = { { 1, 0 }, { 1, -1 }, { 0, -1 }, { -1, 1 }, { 0, 1 }, { -1, 0 }, { 1, 1 }, { -1, -1 } };
	const svg_style style = { .size = LETTERS, .anchor = SVG_MIDDLE, .colour = "#333333" };
	double half = svg_text_width(m->label, LETTERS) / 2 + 1, height = LETTERS / 2.0 + 1;
	box best = { 0 };
	int least = 2;

	for (int ring = 0; ring < 3 && least > 0; ring++)
		for (size_t i = 0; i < ARRAY_LEN(places) && least > 0; i++) {
			double away = RADIUS + 3 + 9 * ring,
			       slant = places[i].dx != 0 && places[i].dy != 0 ? 0.5 : 1,
			       x = m->x + places[i].dx * (half + slant * away),
			       y = m->y + places[i].dy * (height + slant * away);
			const box b = { x - half, y - height, x + half, y + height };
			int t = trouble(p, &b);

			if (t < least) {
				least = t;
				best = b;
			}
		}
	if (least == 2) {
		p->n_unnamed++;
		return;
	}
	p->labels[p->n_labels++] = best;
	svg_text(&p->s, (best.left + best.right) / 2, (best.top + best.bottom) / 2 + 0.36 * LETTERS, &style,
	         m->label);
}

/* ---- The picture ------------------------------------------------------------------------------------------------------------ */

static void width_text(char *out, size_t size, const pareto *p, size_t i)
{
	bool or_more = p->more_widths && i == WIDTHS_MAX - 1;

	snprintf(out, size, "F = %.0f%s", p->widths[i], or_more ? " or more" : "");
}

static double legend_width(const pareto *p)
{
	char line[64];
	double widest = svg_text_width("Pareto front", 12);

	for (size_t i = 0; i < p->n_widths; i++) {
		width_text(line, sizeof(line), p, i);
		widest = fmax(widest, svg_text_width(line, 12));
	}
	return widest + 52;
}

static void draw_legend(pareto *p)
{
	const svg_style style = { .size = 12 }, small = { .size = 11, .colour = "#777777" };
	double left = p->area.right + 14, y = p->area.top + 10;
	const double line[] = { left, y, left + 24, y };
	char words[64];

	svg_curve(&p->s, line, 2, "#999999", 1.5, "5 3");
	svg_text(&p->s, left + 31, y + 4, &style, "Pareto front");
	for (size_t i = 0; i < p->n_widths; i++) {
		y += ROW;
		width_text(words, sizeof(words), p, i);
		svg_mark(&p->s, (unsigned)i, left + 12, y, RADIUS, svg_colour(i), true, NULL);
		svg_text(&p->s, left + 31, y + 4, &style, words);
	}
	if (p->n_unnamed) {
		snprintf(words, sizeof(words), "%zu without room", p->n_unnamed);
		svg_text(&p->s, left, y + 2 * ROW, &small, words);
		svg_text(&p->s, left, y + 2.8 * ROW, &small, "for a name");
	}
}

static void draw_front(pareto *p)
{
	const mark *last = NULL;

	for (size_t i = 0; i < p->n; i++) {
		const mark *m = &p->marks[i];

		if (!m->front)
			continue;
		if (last) {
			const double xy[] = { last->x, last->y, m->x, m->y };

			svg_curve(&p->s, xy, 2, "#999999", 1.5, "5 3");
		}
		last = m;
	}
}

static void draw_marks(pareto *p)
{
	for (size_t i = 0; i < p->n; i++) {
		const mark *m = &p->marks[i];
		char title[PLOT_LABEL + 96];

		snprintf(title, sizeof(title), "%s: L0 %.4g, FVU %.4g, F %.0f", m->label, m->l0, m->fvu,
		         m->run->features);
		svg_mark(&p->s, m->kind, m->x, m->y, RADIUS, svg_colour(m->kind), true, title);
	}
	for (int front = 1; front >= 0; front--) /* the best have their names first */
		for (size_t i = 0; i < p->n; i++)
			if (p->marks[i].front == (front == 1))
				place_label(p, &p->marks[i]);
}

static int draw(char **picture, pareto *p, error *err)
{
	plot_range x = PLOT_RANGE_NONE, y = PLOT_RANGE_NONE;
	const chart_titles titles = {
		p->q->title ? p->q->title : "What sparsity costs: FVU against L0",
		p->held_out ? "features a token (L0), held out"
		            : "features a token (L0), last training batch",
		p->held_out ? "fraction of variance unexplained, held out"
		            : "fraction of variance unexplained, last training batch",
	};

	for (size_t i = 0; i < p->n; i++) {
		plot_range_add(&x, p->marks[i].l0);
		plot_range_add(&y, p->marks[i].fvu);
	}
	p->area = chart_area_for(legend_width(p));
	axis_fit(&p->x, x.low, x.high, p->q->log_x, p->area.left, p->area.right, 62);
	axis_fit(&p->y, y.low, y.high, p->q->log_y, p->area.bottom, p->area.top, 40);
	for (size_t i = 0; i < p->n; i++) {
		p->marks[i].x = axis_place(&p->x, p->marks[i].l0);
		p->marks[i].y = axis_place(&p->y, p->marks[i].fvu);
	}
	chart_start(&p->s, &p->area, &p->x, &p->y, &titles);
	draw_front(p);
	draw_marks(p);
	draw_legend(p);
	return svg_finish(&p->s, picture, err);
}

static cJSON *pareto_json(const pareto *p)
{
	cJSON *o = cJSON_CreateObject(), *list;
	bool good = cJSON_AddBoolToObject(o, "held_out", p->held_out) &&
	            (list = cJSON_AddArrayToObject(o, "runs"));

	for (size_t i = 0; i < p->n && good; i++) {
		const mark *m = &p->marks[i];
		cJSON *run = cJSON_CreateObject();

		good = cJSON_AddItemToArray(list, run) && cJSON_AddStringToObject(run, "run", m->run->dir) &&
		       cJSON_AddNumberToObject(run, "features", m->run->features) &&
		       cJSON_AddNumberToObject(run, "l0", m->l0) &&
		       cJSON_AddNumberToObject(run, "fvu", m->fvu) &&
		       cJSON_AddBoolToObject(run, "front", m->front);
	}
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

int plot_pareto(char **picture, cJSON **json, const plot_request *q, error *err)
{
	pareto p = { .q = q };
	int rc = collect(&p, err);

	if (rc == 0 && q->want_json && !(*json = pareto_json(&p)))
		rc = error_nomem(err, "the runs' marks");
	if (rc == 0)
		rc = draw(picture, &p, err);
	free(p.labels);
	free(p.marks);
	return rc;
}
