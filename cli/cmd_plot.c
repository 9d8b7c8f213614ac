/* gloss plot: training runs as a picture. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/plot.h"

typedef struct plot_opts {
	const char *output, *x, *y, *title;
	bool log_x, log_y, pareto;
} plot_opts;

static const option options[] = {
	OPTION(plot_opts, output, "output", 'o', OPTION_STRING, "FILE", NULL, 0, 0,
	       "where the picture goes; if not given, to standard output"),
	OPTION(plot_opts, x, "x", 'x', OPTION_ENUM, "step|tokens|seconds", "tokens", 0, 0,
	       "what the curves run over"),
	OPTION(plot_opts, y, "y", 'y', OPTION_STRING, "METRIC", "fvu", 0, 0,
	       "any number of the log: fvu, mse, l0, n_dead, auxk, grad_norm, lr, tokens_per_s, "
	       "held_out.fvu"),
	OPTION(plot_opts, log_x, "log-x", 0, OPTION_BOOL, NULL, NULL, 0, 0, "a logarithmic x axis"),
	OPTION(plot_opts, log_y, "log-y", 0, OPTION_BOOL, NULL, NULL, 0, 0, "a logarithmic y axis"),
	OPTION(plot_opts, pareto, "pareto", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "a mark for every run at its L0 and FVU instead of curves"),
	OPTION(plot_opts, title, "title", 0, OPTION_STRING, "TEXT", NULL, 0, 0, "heading of the picture"),
};

/* ---- Shared by the pictures ---------------------------------------------------------------------------------------------- */

void plot_range_add(plot_range *r, double value)
{
	r->low = fmin(r->low, value);
	r->high = fmax(r->high, value);
}

/* Length of the folders that all names begin with. */
static size_t common_folders(const run_list *runs)
{
	const char *first = runs->runs[0].dir;
	size_t n = strlen(first);

	for (size_t i = 1; i < runs->n; i++) {
		size_t same = 0;

		while (same < n && first[same] == runs->runs[i].dir[same])
			same++;
		n = same;
	}
	while (n && first[n - 1] != '/')
		n--;
	return n;
}

void plot_label(char out[PLOT_LABEL], const run_list *runs, size_t i, size_t most)
{
	const char *name = runs->runs[i].dir + common_folders(runs);
	size_t at = 0, used = 0, all = strlen(name);

	for (size_t n; at < all && at + 4 < PLOT_LABEL; at += n) {
		uint32_t cp;

		n = utf8_next(name + at, all - at, &cp);
		n = n ? n : 1;
		used += text_columns(name + at, n);
		if (used > most - (at + n < all))
			break;
	}
	snprintf(out, PLOT_LABEL, "%.*s%s", (int)at, name, at < all ? "\xE2\x80\xA6" : "");
}

/* ---- The command -------------------------------------------------------------------------------------------------------- */

static int check_options(const plot_opts *o, const cli_parsed *p, error *err)
{
	static const char *const of_curves[] = { "x", "y" };

	for (size_t i = 0; i < ARRAY_LEN(of_curves) && o->pareto; i++)
		if (cli_given(p, of_curves[i]))
			return error_set(err, ERR_ARG,
			                 "--pareto and --%s cannot both be given: its axes are L0 and FVU",
			                 of_curves[i]);
	if (!*o->y)
		return error_set(err, ERR_ARG, "--y needs the name of a metric");
	return 0;
}

static void warn_of_broken(const command *self, const run_list *runs)
{
	for (size_t i = 0; i < runs->n; i++)
		if (runs->runs[i].state == RUN_BROKEN)
			cli_warn(self, "%s; drawn as far as it can be read", runs->runs[i].why);
}

static int plot(const command *self, const plot_opts *o, const cli_parsed *p, int *code, error *err)
{
	run_list runs = { 0 };
	plot_request q = { self, &runs, o->x, o->y, o->title, o->log_x, o->log_y, p->common.json };
	char *picture = NULL;
	cJSON *json = NULL;
	int rc = check_options(o, p, err);

	if (rc == 0)
		rc = run_list_read(&runs, p->args, p->n_args, err);
	if (rc < 0)
		goto out;
	warn_of_broken(self, &runs);
	rc = o->pareto ? plot_pareto(&picture, &json, &q, err) : plot_curves(&picture, &json, &q, err);
	if (rc == 0 && o->output)
		rc = cli_write_file(o->output, picture, "<svg", "picture", err);
	else if (rc == 0 && !json)
		fputs(picture, stdout);
	if (rc == 0 && json) {
		*code = cli_print_json(self, json);
		json = NULL;
	}
out:
	cJSON_Delete(json);
	free(picture);
	run_list_clear(&runs);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	plot_opts o = { 0 };
	cli_parsed p;
	error err = { 0 };
	int code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done)
		code = p.exit_code;
	else if (plot(self, &o, &p, &code, &err) < 0)
		code = cli_fail(self, &err);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_plot_command = {
	.name = "plot",
	.run = run,
	.help = "training runs as a picture: curves, or L0 against FVU",
	.usage = "DIR... -o FILE.svg",
	.about = "Draws one curve for every run found in the folders, as gloss runs finds them, with the "
	         "values "
	         "on held-out rows as "
	         "circles. The SVG stands alone: no script, no font of its own.\n"
	         "\n"
	         "--pareto draws a mark for every run: L0 against FVU on held-out rows, or, where no run has "
	         "any, on the last "
	         "training batch. Shape and colour say the number of features; a line joins the runs that no "
	         "other beats in both.\n"
	         "\n"
	         "--json prints the values that are drawn; the picture is then written only with -o.",
	.examples = "gloss plot sweep/ -o fvu.svg --log-y\n"
	            "gloss plot sweep/ -o dead.svg --y n_dead --x step\n"
	            "gloss plot sweep/ -o pareto.svg --pareto --log-x",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = UINT32_MAX,
};
