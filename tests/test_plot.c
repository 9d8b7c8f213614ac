/* Pictures: axes, SVG that any reader takes, text that does not overlap, runs with all they may lack. */
#include "tests/support.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "cli/plot.h"

/* ---- A reader of XML, as far as pictures use it ------------------------------------------------------------------------- */

/* Passes over a name, or fails the test. */
static const char *skip_name(const char *p)
{
	ck_assert_msg(isalpha((unsigned char)*p), "no name at '%.40s'", p);
	while (isalnum((unsigned char)*p) || *p == '-' || *p == ':' || *p == '_')
		p++;
	return p;
}

/* Text or the value of an attribute, up to one of `ends`: no '<', references that exist, characters that XML has. */
static const char *skip_text(const char *p, const char *ends)
{
	while (!strchr(ends, *p)) {
		uint32_t cp;
		size_t n = utf8_next(p, strlen(p), &cp);

		ck_assert_msg(n > 0 && *p != '<', "at '%.40s'", p);
		ck_assert_msg(cp == '\n' || (cp >= 0x20 && cp != 0xfffe && cp != 0xffff), "U+%04X", cp);
		if (cp == '&') {
			ck_assert_msg(strncmp(p, "&amp;", 5) == 0 || strncmp(p, "&lt;", 4) == 0 ||
			                      strncmp(p, "&gt;", 4) == 0 || strncmp(p, "&quot;", 6) == 0,
			              "at '%.40s'", p);
		}
		p += n;
	}
	ck_assert_msg(*p != '\0', "the end comes too early");
	return p;
}

/* Whether every element is closed in its order, attributes are quoted and there is one root. */
static void expect_xml(const char *p)
{
	const char *open[16];
	size_t depth = 0, lengths[16], roots = 0;

	while (*p) {
		const char *name;

		if (*p != '<') {
			p = depth ? skip_text(p, "<") : p + 1;
			continue;
		}
		if (p[1] == '/') {
			name = p + 2;
			p = skip_name(name);
			ck_assert(depth > 0 && *p == '>');
			depth--;
			ck_assert_msg((size_t)(p - name) == lengths[depth] &&
			                      strncmp(name, open[depth], lengths[depth]) == 0,
			              "'%.20s' closes '%.20s'", name, open[depth]);
			p++;
			continue;
		}
		name = p + 1;
		p = skip_name(name);
		roots += depth == 0;
		open[depth] = name;
		lengths[depth] = (size_t)(p - name);
		while (*p == ' ') {
			p = skip_name(p + 1);
			ck_assert_msg(p[0] == '=' && p[1] == '"', "at '%.40s'", p);
			p = skip_text(p + 2, "\"") + 1;
		}
		depth += *p != '/';
		ck_assert_uint_lt(depth, 16);
		p += *p == '/';
		ck_assert_msg(*p == '>', "at '%.40s'", p);
		p++;
	}
	ck_assert_uint_eq(depth, 0);
	ck_assert_uint_eq(roots, 1);
}

/* The text between two places with its references replaced. */
static void read_text(char *out, const char *from, const char *end)
{
	for (; from < end; from++) {
		*out++ = *from;
		if (*from == '&') {
			out[-1] = from[1] == 'a' ? '&' : from[1] == 'l' ? '<' : '>';
			from = strchr(from, ';');
		}
	}
	*out = '\0';
}

typedef struct box {
	double left, right, top, bottom;
} box;

/* Every text lies inside the picture and over no other. */
static void expect_legible(const char *picture)
{
	box boxes[500];
	size_t n = 0;

	for (const char *p = picture; (p = strstr(p, "<text ")); p++) {
		double x, y, size, width;
		char colour[16], anchor[16], words[400];
		const char *end = strstr(p, "</text>"), *start = strchr(p, '>') + 1;

		ck_assert_int_eq(sscanf(p,
		                        "<text x=\"%lf\" y=\"%lf\" font-size=\"%lf\" fill=\"%15[^\"]\" "
		                        "text-anchor=\"%15[^\"]",
		                        &x, &y, &size, colour, anchor),
		                 5);
		ck_assert_uint_lt(end - start, sizeof(words));
		read_text(words, start, end);
		width = svg_text_width(words, size);
		boxes[n] = (box){ x, x + width, y - 0.7 * size, y + 0.15 * size };
		if (strcmp(anchor, "start") != 0) {
			double shift = strcmp(anchor, "end") == 0 ? width : width / 2;

			boxes[n].left -= shift;
			boxes[n].right -= shift;
		}
		if (strstr(p, "rotate(") && strstr(p, "rotate(") < start)
			boxes[n] = (box){ x - 0.7 * size, x + 0.15 * size, y - width / 2, y + width / 2 };
		ck_assert_msg(boxes[n].left >= 0 && boxes[n].right <= CHART_WIDTH && boxes[n].top >= 0 &&
		                      boxes[n].bottom <= CHART_HEIGHT,
		              "'%s' leaves the picture", words);
		for (size_t i = 0; i < n; i++)
			ck_assert_msg(boxes[i].right <= boxes[n].left || boxes[n].right <= boxes[i].left ||
			                      boxes[i].bottom <= boxes[n].top ||
			                      boxes[n].bottom <= boxes[i].top,
			              "'%s' lies over another text", words);
		ck_assert_uint_lt(++n, ARRAY_LEN(boxes));
	}
	ck_assert_uint_gt(n, 5);
}

static size_t count(const char *picture, const char *part)
{
	size_t n = 0;

	while ((picture = strstr(picture, part))) {
		n++;
		picture++;
	}
	return n;
}

/* ---- Runs to draw -------------------------------------------------------------------------------------------------------- */

static const command self = { .name = "plot" };

/* A run in dir/name of `steps` steps whose loss falls towards `final`. */
static void make_run(const char *dir, const char *name, double features, double k, unsigned steps,
                     double final)
{
	char folder[FILE_PATH_MAX], path[FILE_PATH_MAX], config[300];
	text log;

	ck_assert_int_eq(file_join(folder, dir, name, NULL), 0);
	ck_assert_int_eq(file_mkdir(folder, NULL), 0);
	text_init(&log, 1 << 24);
	for (unsigned s = 1; s <= steps; s++)
		ck_assert_int_eq(text_addf(&log,
		                           "{\"step\":%u,\"tokens\":%u,\"fvu\":%g,\"n_dead\":%u,\"l0\":%g,"
		                           "\"seconds\":%g}\n",
		                           s, s * 512, final + (1 - final) * exp(-10.0 * s / steps),
		                           steps - s, k, 0.1 * s),
		                 0);
	ck_assert_int_eq(text_addf(&log, "{\"held_out\":{\"fvu\":%g,\"l0\":%g}}\n", final + 0.02, k), 0);
	ck_assert_int_eq(file_join(path, folder, "train.jsonl", NULL), 0);
	support_put(path, log.data, log.len);
	text_free(&log);
	snprintf(config, sizeof(config),
	         "{\"d_sae\":%g,\"k\":%g,\"metadata\":{\"gloss\":{\"steps\":%u,\"plan\":{\"steps\":%u}}}}",
	         features, k, steps, steps);
	ck_assert_int_eq(file_join(path, folder, "cfg.json", NULL), 0);
	support_put_text(path, config);
}

static char *draw(const char *dir, plot_request q, bool pareto)
{
	run_list runs = { 0 };
	char *picture = NULL;
	error err = { 0 };

	ck_assert_msg(run_list_read(&runs, &dir, 1, &err) == 0, "%s", err.msg);
	q.self = &self;
	q.runs = &runs;
	q.x = q.x ? q.x : "tokens";
	q.y = q.y ? q.y : "fvu";
	if (pareto)
		ck_assert_msg(plot_pareto(&picture, NULL, &q, &err) == 0, "%s", err.msg);
	else
		ck_assert_msg(plot_curves(&picture, NULL, &q, &err) == 0, "%s", err.msg);
	run_list_clear(&runs);
	expect_xml(picture);
	expect_legible(picture);
	return picture;
}

START_TEST(sweeps_are_drawn)
{
	static const plot_request ways[] = {
		{ .x = "tokens" },
		{ .x = "step", .log_x = true },
		{ .x = "seconds", .log_y = true },
		{ .y = "n_dead" },
		{ .y = "held_out.fvu" },
		{ .log_x = true, .log_y = true, .title = "T" },
	};
	char dir[FILE_PATH_MAX], name[64], *picture;

	support_mkdir(dir);
	for (unsigned f = 0; f < 3; f++)
		for (unsigned k = 0; k < 4; k++) {
			snprintf(name, sizeof(name), "F%u-k%u", 1024u << f, 8u << k);
			make_run(dir, name, 1024u << f, 8u << k, 50, 0.6 - 0.1 * k - 0.03 * f);
		}
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		free(draw(dir, ways[i], false));
	picture = draw(dir, (plot_request){ .log_x = true }, true);
	ck_assert_uint_eq(count(picture, "F = "), 3);
	ck_assert_uint_eq(count(picture, "stroke-dasharray"), 4); /* 3 pieces of the front, 1 in the legend */
	ck_assert_uint_eq(count(picture, ": L0 "), 12);
	ck_assert_uint_eq(count(picture, "held out"), 2);
	free(picture);
	support_rmdir(dir);
}
END_TEST

START_TEST(many_runs_with_hostile_names_are_drawn)
{
	static const char *const names[] = { "<b>&\"quote'\"",
		                             "tab\tand\x01",
		                             "not\xffUTF-8",
		                             "]]>",
		                             "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE\xE5\x90\x8D",
		                             "a-long-name-that-goes-on-and-on-and-on-and-on-and-on",
		                             "\xEF\xBF\xBE" };
	char dir[FILE_PATH_MAX], name[64], *picture;

	support_mkdir(dir);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		make_run(dir, names[i], 64, 8, 3, 0.5);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		make_run(dir, name, 64 + i % 14, 8 + i % 5, 3, 0.3 + 0.005 * i);
	}
	picture = draw(dir, (plot_request){ 0 }, false);
	ck_assert_uint_eq(count(picture, "more</text>"), 1);
	free(picture);
	picture = draw(dir, (plot_request){ 0 }, true);
	ck_assert_uint_eq(count(picture, "without room"), 1);
	ck_assert_uint_eq(count(picture, " or more"), 1);
	free(picture);
	support_rmdir(dir);
}
END_TEST

/* 200,000 points make no picture of 200,000 points, and its extremes are there. */
START_TEST(long_logs_are_thinned)
{
	char dir[FILE_PATH_MAX], *picture;

	support_mkdir(dir);
	make_run(dir, "long", 64, 8, 100000, 0.25);
	picture = draw(dir, (plot_request){ 0 }, false);
	ck_assert_uint_lt(strlen(picture), 100000);
	free(picture);
	support_rmdir(dir);
}
END_TEST

/* One step, and steps written twice by a run that was resumed. */
START_TEST(short_and_resumed_runs_are_drawn)
{
	char dir[FILE_PATH_MAX], *picture;
	run_list runs = { 0 };
	const char *arg = dir;
	plot_request q = { .self = &self, .runs = &runs, .x = "step", .y = "fvu", .want_json = true };
	cJSON *json = NULL;
	error err = { 0 };

	support_mkdir(dir);
	make_run(dir, "one", 64, 8, 1, 0.5);
	free(draw(dir, (plot_request){ 0 }, false));
	free(draw(dir, (plot_request){ .log_x = true, .log_y = true }, true));
	support_put_text(support_path(dir, "one/train.jsonl"),
	                 "{\"step\":1,\"tokens\":10,\"fvu\":0.9}\n{\"step\":2,\"tokens\":20,\"fvu\":0.8}\n"
	                 "{\"step\":2,\"held_out\":{\"fvu\":0.85}}\n{\"step\":3,\"tokens\":30,\"fvu\":0.7}\n"
	                 "{\"step\":4,\"held_out\":{\"fvu\":0.75}}\n{\"step\":3,\"tokens\":30,\"fvu\":0.6}\n"
	                 "{\"step\":4,\"tok");
	ck_assert_int_eq(run_list_read(&runs, &arg, 1, &err), 0);
	ck_assert_msg(plot_curves(&picture, &json, &q, &err) == 0, "%s", err.msg);
	free(picture);
	picture = json_print(cJSON_GetObjectItem(json, "runs")->child->child->next);
	ck_assert_str_eq(picture, "[1,2,3]");
	free(picture);
	picture = json_print(cJSON_GetObjectItem(json, "runs")->child->child->next->next);
	ck_assert_str_eq(picture, "[0.9,0.8,0.6]");
	free(picture);
	picture = json_print(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "runs")->child, "held_out_y"));
	ck_assert_str_eq(picture, "[0.85]");
	free(picture);
	cJSON_Delete(json);
	run_list_clear(&runs);
	support_rmdir(dir);
}
END_TEST

START_TEST(memory_and_reads_that_fail)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	char dir[FILE_PATH_MAX];
	const char *arg = dir;

	support_mkdir(dir);
	make_run(dir, "a", 64, 8, 2, 0.5);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (long n = 0;; n++) {
			run_list runs = { 0 };
			plot_request q = { .self = &self, .runs = &runs, .x = "step", .y = "fvu" };
			char *picture = NULL, *other = NULL;
			error err = { 0 };
			int rc;

			fault_arm(kinds[k], n);
			rc = run_list_read(&runs, &arg, 1, &err);
			if (rc == 0)
				rc = plot_curves(&picture, NULL, &q, &err);
			if (rc == 0)
				rc = plot_pareto(&other, NULL, &q, &err);
			run_list_clear(&runs);
			free(picture);
			free(other);
			if (!fault_disarm(kinds[k])) {
				ck_assert_int_eq(rc, 0);
				ck_assert_int_gt(n, 3);
				break;
			}
			if (kinds[k] == FAULT_ALLOC)
				ck_assert_int_eq(rc, ERR_NOMEM);
		}
	support_rmdir(dir);
}
END_TEST

static const char *labels(const axis *a)
{
	static char all[2000];
	size_t n = 0;

	all[0] = '\0';
	for (size_t i = 0; i < a->n_ticks; i++)
		if (a->ticks[i].label[0])
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", n ? " " : "",
			                      a->ticks[i].label);
	return all;
}

START_TEST(ticks_are_round)
{
	static const struct {
		double low, high;
		bool log;
		const char *labels;
	} cases[] = {
		{ 0, 1, false, "0 0.2 0.4 0.6 0.8 1.0" },
		{ 0.31, 0.92, false, "0.3 0.4 0.5 0.6 0.7 0.8 0.9" },
		{ 512, 61440, false, "0 10k 20k 30k 40k 50k 60k" },
		{ 0, 2e7, false, "0 5M 10M 15M 20M" },
		{ -3, 4, false, "-3 -2 -1 0 1 2 3 4" },
		{ 5, 5, false, "4.6 4.8 5.0 5.2 5.4" },
		{ 0, 0, false, "-1.0 -0.5 0 0.5 1.0" },
		{ 1e-7, 9e-7, false, "0 2e-07 4e-07 6e-07 8e-07" },
		{ 0, 3.5e-4, false, "0 0.00005 0.00010 0.00015 0.00020 0.00025 0.00030 0.00035" },
		{ 1, 1000, true, "1 10 100 1k" },
		{ 1, 1e6, true, "1 10 100 1k 10k 100k 1M" },
		{ 1e-9, 1e9, true, "1e-09 1e-06 0.001 1 1k 1M 1G" },
		{ 0.3, 0.9, true, "0.3 0.4 0.5 0.6 0.7 0.8 0.9" },
		{ 8, 64, true, "10 20 30 50" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		axis a;

		axis_fit(&a, cases[i].low, cases[i].high, cases[i].log, 500, 0, 62);
		ck_assert_str_eq(labels(&a), cases[i].labels);
		for (size_t t = 0; t < a.n_ticks; t++)
			ck_assert(axis_place(&a, a.ticks[t].at) >= -0.01 &&
			          axis_place(&a, a.ticks[t].at) <= 500.01);
	}
}
END_TEST

START_TEST(counts_have_whole_ticks)
{
	static const struct {
		double most;
		const char *labels;
	} cases[] = { { 0, "0 1" },
		      { 1, "0 1" },
		      { 2, "0 1 2" },
		      { 7, "0 1 2 3 4 5 6 7" },
		      { 50, "0 10 20 30 40 50" } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		axis a;

		axis_fit_counts(&a, cases[i].most, 500, 0, 62);
		ck_assert_str_eq(labels(&a), cases[i].labels);
		ck_assert_double_eq(axis_place(&a, 0), 500);
	}
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "axes", ticks_are_round, counts_have_whole_ticks);
	SUPPORT_CASE(s, "pictures", sweeps_are_drawn, many_runs_with_hostile_names_are_drawn,
	             long_logs_are_thinned, short_and_resumed_runs_are_drawn, memory_and_reads_that_fail);
}
SUPPORT_MAIN("plot", cases)
