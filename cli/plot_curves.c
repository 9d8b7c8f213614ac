/* Curves of one metric over the course of training, a run a curve, held-out values as marks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plot.h"
#include "cli/run_log.h"

enum { ROW = 18, LETTERS = 12, LABEL_COLUMNS = 30, NAMES_MAX = 1000 };

typedef struct point {
	double step, x, y;
} point;

typedef struct points {
	point *at; /* (n) */
	size_t n, cap;
} points;

typedef struct series {
	const char *name; /* the run's folder */
	char label[PLOT_LABEL];
	points line, held_out;
} series;

typedef struct curves {
	const plot_request *q;
	series *all; /* (n): runs that have the metric */
	size_t n;
	char held_out_name[128]; /* of the metric among the held-out ones */
	bool only_held_out;      /* the metric is one of them itself */
	bool with_held_out;      /* they are drawn, beside it or alone */
	size_t not_positive;     /* values that a logarithmic axis cannot show */
} curves;

/* ---- Metrics ---------------------------------------------------------------------------------------------------------- */

typedef struct metric {
	const char *name, *title, *axis;
	bool held_out; /* the same thing is measured on held-out rows, and shown with it */
} metric;

/* What is known of the numbers in a log; others go by their name. */
static metric metric_of(const char *name)
{
	static const metric known[] = {
		{ "fvu", "FVU", "fraction of variance unexplained (FVU)", true },
		{ "mse", "Squared error", "mean squared error", true },
		{ "l0", "L0", "features a token (L0)", true },
		{ "n_dead", "Dead features", "dead features", false },
		{ "auxk", "AuxK", "auxiliary loss (AuxK)", false },
		{ "grad_norm", "Gradient", "norm of the gradient", false },
		{ "lr", "Learning rate", "learning rate", false },
		{ "tokens_per_s", "Speed", "tokens a second", false },
		{ "held_out.fvu", "FVU, held out,", "fraction of variance unexplained (FVU), held out",
		  true },
		{ "held_out.mse", "Squared error, held out,", "mean squared error, held out", true },
		{ "held_out.l0", "L0, held out,", "features a token (L0), held out", true },
		{ "step", "Steps", "steps", false },
		{ "seconds", "Seconds", "seconds", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i].name, name) == 0)
			return known[i];
	return (metric){ name, name, name, false };
}

/* ---- From the log ------------------------------------------------------------------------------------------------------ */

typedef struct reader {
	curves *c;
	series *s;
	double step, tokens, seconds; /* of the last line that had them */
} reader;

/* A run that was resumed wrote some steps twice: the later ones count. */
static void drop_from(points *p, double step)
{
	while (p->n && p->at[p->n - 1].step >= step)
		p->n--;
}

static int add_point(curves *c, points *p, double step, double x, double y)
{
	if (isnan(x) || isnan(y))
		return 0;
	if ((c->q->log_x && x <= 0) || (c->q->log_y && y <= 0)) {
		c->not_positive++;
		return 0;
	}
	if (mem_grow(&p->at, &p->cap, p->n + 1, sizeof(*p->at)) < 0)
		return ERR_NOMEM;
	p->at[p->n++] = (point){ step, x, y };
	return 0;
}

/* Where a line lies on the x axis. A held-out line may have the step alone: every step has as many tokens. */
static double place_of(const reader *r, const cJSON *line, double step)
{
	const char *x = r->c->q->x;
	double value = run_log_number(line, x);

	if (strcmp(x, "step") == 0)
		return step;
	if (!isnan(value))
		return value;
	if (strcmp(x, "tokens") == 0)
		return r->step > 0 ? step * (r->tokens / r->step) : (double)NAN;
	return r->seconds;
}

static int take_line(void *payload, const cJSON *line)
{
	reader *r = payload;
	curves *c = r->c;
	double step = run_log_number(line, "step"), tokens = run_log_number(line, "tokens"),
	       seconds = run_log_number(line, "seconds"), held_out = run_log_number(line, c->held_out_name);
	bool is_step = !isnan(step) && !isnan(tokens);
	int rc = 0;

	if (is_step) {
		r->step = step;
		r->tokens = tokens;
		drop_from(&r->s->line, step);
		drop_from(&r->s->held_out, nextafter(step, INFINITY));
	} else if (isnan(step)) {
		step = r->step; /* the metrics at the end */
	}
	if (!isnan(seconds))
		r->seconds = seconds;
	if (is_step && !c->only_held_out)
		rc = add_point(c, &r->s->line, step, place_of(r, line, step), run_log_number(line, c->q->y));
	if (rc == 0 && !isnan(held_out) && c->with_held_out) {
		drop_from(&r->s->held_out, step);
		rc = add_point(c, &r->s->held_out, step, place_of(r, line, step), held_out);
	}
	return rc;
}

static int read_series(curves *c, series *s, const run_info *r, error *err)
{
	reader from = { .c = c, .s = s };
	int rc = run_log_read(r->log, take_line, &from, err);

	if (rc == ERR_NOMEM)
		return error_nomem(err, "a curve");
	if (rc < 0 && r->state != RUN_BROKEN) /* of which the user knows already */
		cli_warn(c->q->self, "%s", err->msg);
	return 0;
}

/* ---- What the logs have, for a metric they have not ------------------------------------------------------------------- */

static int add_name(text *names, const char *group, const char *name)
{
	char full[160];
	const char *found;
	int n = snprintf(full, sizeof(full), "%s%s", group, name);

	for (found = names->data; found && (found = strstr(found, full)); found++)
		if ((found == names->data || found[-1] == ' ') && (found[n] == ',' || found[n] == '\0'))
			return 0;
	return names->len > NAMES_MAX ? 0 : text_addf(names, "%s%s", names->len ? ", " : "", full);
}

static int list_names(void *payload, const cJSON *line)
{
	text *names = payload;
	const cJSON *item, *held_out = cJSON_GetObjectItemCaseSensitive(line, "held_out");
	int rc = 0;

	cJSON_ArrayForEach(item, line)
	{
		if (rc == 0 && cJSON_IsNumber(item))
			rc = add_name(names, "", item->string);
	}
	cJSON_ArrayForEach(item, held_out)
	{
		if (rc == 0 && cJSON_IsNumber(item))
			rc = add_name(names, "held_out.", item->string);
	}
	return rc;
}

static int nothing_to_draw(const curves *c, error *err)
{
	const plot_request *q = c->q;
	int rc = 0;
	text names;

	if (c->not_positive)
		return error_set(err, ERR_ARG, "--log-%s: no value of '%s' against '%s' is above 0",
		                 q->log_y ? "y" : "x", q->y, q->x);
	text_init(&names, 1 << 16);
	for (size_t i = 0; i < q->runs->n && rc != ERR_NOMEM; i++)
		if (q->runs->runs[i].log)
			rc = run_log_read(q->runs->runs[i].log, list_names, &names, NULL);
	if (rc == ERR_NOMEM)
		rc = error_nomem(err, "names of metrics");
	else if (names.len)
		rc = error_set(err, ERR_NOTFOUND, "no log has '%.60s'; there is %.300s", q->y, names.data);
	else
		rc = error_set(err, ERR_NOTFOUND, "none of the %zu runs has a log with anything in it",
		               q->runs->n);
	text_free(&names);
	return rc;
}

/* Where all are missing it is an error instead. */
static void warn_of_missing(const curves *c)
{
	const run_list *runs = c->q->runs;

	for (size_t i = 0, drawn = 0; i < runs->n && c->n; i++) {
		if (drawn < c->n && c->all[drawn].name == runs->runs[i].dir)
			drawn++;
		else
			cli_warn(c->q->self, "'%s' has no '%s' in its log; left out", runs->runs[i].dir,
			         c->q->y);
	}
}

static int read_all(curves *c, error *err)
{
	const plot_request *q = c->q;

	c->only_held_out = strncmp(q->y, "held_out.", 9) == 0;
	c->with_held_out = c->only_held_out || metric_of(q->y).held_out;
	snprintf(c->held_out_name, sizeof(c->held_out_name), "%s%s", c->only_held_out ? "" : "held_out.",
	         q->y);
	c->all = calloc(q->runs->n, sizeof(*c->all));
	if (!c->all)
		return error_nomem(err, "curves");
	for (size_t i = 0; i < q->runs->n; i++) {
		const run_info *r = &q->runs->runs[i];
		series *s = &c->all[c->n];

		if (r->log && read_series(c, s, r, err) < 0)
			return ERR_NOMEM;
		if (s->line.n + s->held_out.n == 0)
			continue;
		s->name = r->dir;
		plot_label(s->label, q->runs, i, LABEL_COLUMNS);
		c->n++;
	}
	warn_of_missing(c);
	return c->n ? 0 : nothing_to_draw(c, err);
}

/* ---- The picture --------------------------------------------------------------------------------------------------------- */

typedef struct canvas {
	svg s;
	chart_area area;
	axis x, y;
	double *xy; /* places of one curve */
	size_t cap;
} canvas;

static const char *dash_of(size_t i)
{
	static const char *const dashes[] = { NULL, "7 3", "2 3" };

	return dashes[i / 10 % ARRAY_LEN(dashes)];
}

static size_t put(canvas *v, size_t n, const point *p)
{
	v->xy[2 * n] = axis_place(&v->x, p->x);
	v->xy[2 * n + 1] = axis_place(&v->y, p->y);
	return n + 1;
}

/* More points than half a pixel apart: of each stretch the first, the lowest, the highest and the last, in order. */
static size_t thin(canvas *v, const points *p)
{
	size_t n = 0, end;

	for (size_t i = 0; i < p->n; i = end) {
		double slot = floor(2 * axis_place(&v->x, p->at[i].x));
		size_t least = i, most = i;

		for (end = i + 1; end < p->n && floor(2 * axis_place(&v->x, p->at[end].x)) == slot; end++) {
			least = p->at[end].y < p->at[least].y ? end : least;
			most = p->at[end].y > p->at[most].y ? end : most;
		}
		for (size_t j = i; j < end; j++)
			if (j == i || j == least || j == most || j == end - 1)
				n = put(v, n, &p->at[j]);
	}
	return n;
}

static void draw_points(canvas *v, const points *p, const char *colour, double width, const char *dash)
{
	size_t n;

	if (v->s.rc == 0 && mem_grow(&v->xy, &v->cap, 2 * p->n + 1, sizeof(*v->xy)) < 0)
		v->s.rc = ERR_NOMEM;
	if (v->s.rc < 0)
		return;
	n = thin(v, p);
	if (n > 1)
		svg_curve(&v->s, v->xy, n, colour, width, dash);
	else if (n == 1)
		svg_mark(&v->s, 0, v->xy[0], v->xy[1], 2, colour, true, NULL);
}

static void draw_marks(canvas *v, const series *s, const char *colour)
{
	for (size_t i = 0; i < s->held_out.n; i++) {
		const point *p = &s->held_out.at[i];
		char title[PLOT_LABEL + 64];

		snprintf(title, sizeof(title), "%s: held out %.4g", s->label, p->y);
		svg_mark(&v->s, 0, axis_place(&v->x, p->x), axis_place(&v->y, p->y), 4, colour, false, title);
	}
}

static bool has_marks(const curves *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->all[i].held_out.n)
			return true;
	return false;
}

/* Runs that the legend has rows for; where there are more, its last row says so. */
static size_t legend_rows(const curves *c, const chart_area *area)
{
	size_t rows = (size_t)((area->bottom - area->top) / ROW) - (has_marks(c) ? 1 : 0);

	return c->n > rows ? rows - 1 : c->n;
}

static double legend_width(const curves *c)
{
	const chart_area area = chart_area_for(0);
	double widest = svg_text_width("and 100 more", LETTERS);

	for (size_t i = 0; i < legend_rows(c, &area); i++)
		widest = fmax(widest, svg_text_width(c->all[i].label, LETTERS));
	return widest + 45;
}

static void draw_legend(canvas *v, const curves *c)
{
	const svg_style style = { .size = LETTERS };
	size_t shown = legend_rows(c, &v->area);
	double left = v->area.right + 14, y = v->area.top + 10;
	char more[64];

	for (size_t i = 0; i < shown; i++, y += ROW) {
		const double xy[] = { left, y, left + 24, y };

		svg_curve(&v->s, xy, 2, svg_colour(i), 2.5, dash_of(i));
		svg_text(&v->s, left + 31, y + 4, &style, c->all[i].label);
	}
	if (shown < c->n) {
		snprintf(more, sizeof(more), "and %zu more", c->n - shown);
		svg_text(&v->s, left + 31, y + 4, &style, more);
		y += ROW;
	}
	if (has_marks(c)) {
		svg_mark(&v->s, 0, left + 12, y, 4, "#555555", false, NULL);
		svg_text(&v->s, left + 31, y + 4, &style, "held out");
	}
}

static void fit_axes(canvas *v, const curves *c)
{
	plot_range x = PLOT_RANGE_NONE, y = PLOT_RANGE_NONE;

	for (size_t i = 0; i < c->n; i++)
		for (int part = 0; part < 2; part++) {
			const points *p = part ? &c->all[i].held_out : &c->all[i].line;

			for (size_t j = 0; j < p->n; j++) {
				plot_range_add(&x, p->at[j].x);
				plot_range_add(&y, p->at[j].y);
			}
		}
	axis_fit(&v->x, x.low, x.high, c->q->log_x, v->area.left, v->area.right, 62);
	axis_fit(&v->y, y.low, y.high, c->q->log_y, v->area.bottom, v->area.top, 40);
}

static int draw(char **picture, const curves *c, error *err)
{
	canvas v = { .area = chart_area_for(legend_width(c)) };
	char title[PLOT_LABEL + 128];
	chart_titles titles = { title, metric_of(c->q->x).axis, metric_of(c->q->y).axis };
	int rc;

	if (c->q->title)
		titles.main = c->q->title;
	else
		snprintf(title, sizeof(title), "%s over training", metric_of(c->q->y).title);
	fit_axes(&v, c);
	chart_start(&v.s, &v.area, &v.x, &v.y, &titles);
	for (size_t i = 0; i < c->n; i++)
		draw_points(&v, c->only_held_out ? &c->all[i].held_out : &c->all[i].line, svg_colour(i), 1.8,
		            dash_of(i));
	for (size_t i = 0; i < c->n; i++)
		draw_marks(&v, &c->all[i], svg_colour(i));
	draw_legend(&v, c);
	rc = svg_finish(&v.s, picture, err);
	free(v.xy);
	return rc;
}

/* ---- The same as JSON ------------------------------------------------------------------------------------------------------ */

static bool add_points_json(cJSON *o, const char *x_name, const char *y_name, const points *p)
{
	cJSON *x = cJSON_AddArrayToObject(o, x_name), *y = cJSON_AddArrayToObject(o, y_name);
	bool good = x && y;

	for (size_t i = 0; i < p->n && good; i++)
		good = cJSON_AddItemToArray(x, cJSON_CreateNumber(p->at[i].x)) &&
		       cJSON_AddItemToArray(y, cJSON_CreateNumber(p->at[i].y));
	return good;
}

static cJSON *curves_json(const curves *c)
{
	cJSON *o = cJSON_CreateObject(), *list;
	bool good = cJSON_AddStringToObject(o, "x", c->q->x) && cJSON_AddStringToObject(o, "y", c->q->y) &&
	            (list = cJSON_AddArrayToObject(o, "runs"));

	for (size_t i = 0; i < c->n && good; i++) {
		cJSON *run = cJSON_CreateObject();

		good = cJSON_AddItemToArray(list, run) &&
		       cJSON_AddStringToObject(run, "run", c->all[i].name) &&
		       (c->only_held_out || add_points_json(run, "x", "y", &c->all[i].line)) &&
		       add_points_json(run, "held_out_x", "held_out_y", &c->all[i].held_out);
	}
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

int plot_curves(char **picture, cJSON **json, const plot_request *q, error *err)
{
	curves c = { .q = q };
	int rc = read_all(&c, err);

	if (rc == 0 && c.not_positive)
		cli_warn(q->self, "%zu values are not above 0: a logarithmic axis has no place for them",
		         c.not_positive);
	if (rc == 0 && q->want_json && !(*json = curves_json(&c)))
		rc = error_nomem(err, "the curves");
	if (rc == 0)
		rc = draw(picture, &c, err);
	for (size_t i = 0; c.all && i < q->runs->n; i++) {
		free(c.all[i].line.at);
		free(c.all[i].held_out.at);
	}
	free(c.all);
	return rc;
}
