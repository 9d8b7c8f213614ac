/* gloss runs: training runs side by side; and one run's log as it grows. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/run_log.h"
#include "cli/runs.h"

typedef struct runs_opts {
	const char *sort;
	bool follow;
} runs_opts;

static const option options[] = {
	OPTION(runs_opts, follow, "follow", 'f', OPTION_BOOL, NULL, NULL, 0, 0,
	       "print the log of the one run in DIR, and its new lines until it ends"),
	OPTION(runs_opts, sort, "sort", 's', OPTION_STRING, "COLUMN", "run", 0, 0,
	       "order by this column; with '-' before it, the largest first"),
};

/* The columns: their name for --sort, in JSON and above the table. */
typedef struct runs_column {
	const char *name;
	size_t offset; /* of a double in run_info; SIZE_MAX: a text */
	int decimals;  /* below 0: so many significant digits */
} runs_column;
#define NUMBER(name, field, decimals)                                                                        \
	{                                                                                                    \
		name, offsetof(run_info, field), decimals                                                    \
	}
static const runs_column columns[] = {
	{ "run", SIZE_MAX, 0 },
	{ "arch", SIZE_MAX, 0 },
	NUMBER("features", features, 0),
	NUMBER("k", k, 0),
	NUMBER("seed", seed, 0),
	NUMBER("lr", lr, -3),
	NUMBER("step", step, 0),
	NUMBER("steps", steps, 0),
	NUMBER("tokens", tokens, 0),
	NUMBER("fvu", fvu, 4),
	NUMBER("held_out_fvu", held_out_fvu, 4),
	NUMBER("l0", l0, 1),
	NUMBER("n_dead", n_dead, 0),
	NUMBER("tokens_per_s", tokens_per_s, 0),
	{ "state", SIZE_MAX, 0 },
};

static double number_of(const run_info *r, const runs_column *c)
{
	return *(const double *)((const char *)r + c->offset);
}

static const char *text_of(const run_info *r, const runs_column *c)
{
	if (strcmp(c->name, "run") == 0)
		return r->dir;
	return strcmp(c->name, "arch") == 0 ? r->arch : run_state_name(r->state);
}

/* ---- Order --------------------------------------------------------------------------------------------------------------- */

static int find_column(const runs_column **out, bool *down, const char *name, error *err)
{
	char all[256] = "";
	size_t n = 0;

	*down = name[0] == '-';
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		if (strcmp(columns[i].name, name + *down) == 0) {
			*out = &columns[i];
			return 0;
		}
	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", i ? ", " : "", columns[i].name);
	return error_set(err, ERR_ARG, "--sort: there is no column '%.60s'; the columns are %s", name + *down,
	                 all);
}

typedef struct order {
	const runs_column *column;
	bool down;
} order;

/* What is not known comes last in any order; equals stay in the order of their names. */
static int by_column(const void *a, const void *b, void *payload)
{
	const run_info *const *x = a, *const *y = b;
	const order *o = payload;
	int sign = 0;

	if (o->column->offset == SIZE_MAX) {
		const char *s = text_of(*x, o->column), *t = text_of(*y, o->column);

		if (!s || !t)
			return !s && !t ? (*x > *y) - (*x < *y) : s ? -1 : 1;
		sign = strverscmp(s, t);
	} else {
		double s = number_of(*x, o->column), t = number_of(*y, o->column);

		if (isnan(s) || isnan(t))
			return isnan(s) && isnan(t) ? (*x > *y) - (*x < *y) : isnan(t) ? -1 : 1;
		sign = (s > t) - (s < t);
	}
	if (sign == 0)
		return (*x > *y) - (*x < *y); /* both point into the list, which is by name */
	return o->down ? -sign : sign;
}

/* ---- Output ---------------------------------------------------------------------------------------------------------------- */

static cJSON *run_json(const run_info *r)
{
	cJSON *o = cJSON_CreateObject();
	bool good = o != NULL;

	for (size_t i = 0; good && i < ARRAY_LEN(columns); i++) {
		const runs_column *c = &columns[i];

		if (c->offset != SIZE_MAX)
			good = cJSON_AddNumberToObject(o, c->name, number_of(r, c)) != NULL;
		else if (text_of(r, c))
			good = cJSON_AddStringToObject(o, c->name, text_of(r, c)) != NULL;
		else
			good = cJSON_AddNullToObject(o, c->name) != NULL;
	}
	if (good && r->state == RUN_SAVED)
		good = cJSON_AddNumberToObject(o, "saved_step", r->saved_step) != NULL;
	if (good && (r->state == RUN_BROKEN || r->state == RUN_LOST))
		good = cJSON_AddStringToObject(o, "why", r->why) != NULL;
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int print_json(const command *self, run_info *const *runs, size_t n)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "runs");
	bool good = list != NULL;

	for (size_t i = 0; good && i < n; i++) {
		cJSON *run = run_json(runs[i]);

		good = cJSON_AddItemToArray(list, run);
	}
	if (!good) {
		cJSON_Delete(o);
		o = NULL;
	}
	return cli_print_json(self, o);
}

static int add_number(cli_table *t, double value, int decimals)
{
	if (isnan(value))
		return cli_table_cell(t, "-");
	return decimals < 0 ? cli_table_cell(t, "%.*g", -decimals, value)
	                    : cli_table_cell(t, "%.*f", decimals, value);
}

static int add_steps(cli_table *t, const run_info *r)
{
	if (isnan(r->step))
		return cli_table_cell(t, "-");
	return isnan(r->steps) ? cli_table_cell(t, "%.0f", r->step)
	                       : cli_table_cell(t, "%.0f/%.0f", r->step, r->steps);
}

static int add_row(cli_table *t, const run_info *r)
{
	char state[600];
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(columns) && rc == 0; i++) {
		const runs_column *c = &columns[i];

		if (strcmp(c->name, "steps") == 0)
			continue; /* beside those done */
		if (strcmp(c->name, "step") == 0)
			rc = add_steps(t, r);
		else if (c->offset != SIZE_MAX)
			rc = add_number(t, number_of(r, c), c->decimals);
		else if (strcmp(c->name, "state") != 0)
			rc = cli_table_cell(t, "%s", text_of(r, c) ? text_of(r, c) : "-");
	}
	run_state_text(state, sizeof(state), r);
	return rc < 0 ? rc : cli_table_cell(t, "%s", state);
}

static int print_table(run_info *const *runs, size_t n, error *err)
{
	cli_column titles[ARRAY_LEN(columns)];
	size_t n_titles = 0;
	cli_table *t = NULL;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		if (strcmp(columns[i].name, "steps") != 0)
			titles[n_titles++] =
			        (cli_column){ columns[i].name, columns[i].offset != SIZE_MAX, 0 };
	rc = cli_table_new(&t, titles, n_titles, err);
	for (size_t i = 0; i < n && rc == 0; i++)
		if (add_row(t, runs[i]) < 0)
			rc = error_nomem(err, "the table of runs");
	if (rc == 0)
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

/* ---- The command -------------------------------------------------------------------------------------------------------- */

static int list_runs(const command *self, const runs_opts *o, const cli_parsed *p, int *code, error *err)
{
	run_list l = { 0 };
	run_info **runs = NULL;
	order by;
	int rc = find_column(&by.column, &by.down, o->sort, err);

	if (rc == 0)
		rc = run_list_read(&l, p->args, p->n_args, err);
	if (rc < 0)
		goto out;
	runs = calloc(l.n, sizeof(*runs));
	if (!runs) {
		rc = error_nomem(err, "a list of runs");
		goto out;
	}
	for (size_t i = 0; i < l.n; i++)
		runs[i] = &l.runs[i];
	qsort_r(runs, l.n, sizeof(*runs), by_column, &by);
	if (p->common.json)
		*code = print_json(self, runs, l.n);
	else
		rc = print_table(runs, l.n, err);
out:
	free(runs);
	run_list_clear(&l);
	return rc;
}

static int follow(const cli_parsed *p, error *err)
{
	if (p->n_args > 1)
		return error_set(err, ERR_ARG, "--follow takes one folder, not %zu", p->n_args);
	if (!file_is_dir(p->args[0]))
		return error_set(err, ERR_NOTFOUND, "there is no folder '%s'", p->args[0]);
	cli_catch_signals();
	return run_log_follow(p->args[0], err);
}

static int run(const command *self, int argc, char **argv)
{
	runs_opts o = { 0 };
	cli_parsed p;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = o.follow ? follow(&p, &err) : list_runs(self, &o, &p, &code, &err);
	if (rc < 0)
		code = cli_fail(self, &err);
out:
	cli_parsed_clear(&p);
	return code;
}

const command cmd_runs_command = {
	.name = "runs",
	.run = run,
	.help = "training runs side by side: options, progress, metrics",
	.usage = "DIR...",
	.about = "A row for every run in the folders and up to 4 levels below them, so the folder of a sweep "
	         "will do. "
	         "A run is a folder with cfg.json, train.jsonl or a checkpoint. fvu, l0, n_dead and "
	         "tokens_per_s are those of "
	         "the last line of its log, held_out_fvu of the last evaluation. The last column, state, is "
	         "one of\n"
	         "\n"
	         "  finished\n"
	         "  stopped early     no improvement on held-out rows\n"
	         "  saved at step N   stopped; train --resume goes on from there\n"
	         "  running           not finished, and its log was written to in the last two minutes\n"
	         "  cut off           neither finished nor saved, and silent\n"
	         "  lost              given up, as when the loss is not finite; the reason is behind it\n"
	         "  no record         an SAE that says nothing of its training\n"
	         "  broken            a file cannot be read; the reason is behind it\n"
	         "\n"
	         "Columns for --sort: run, arch, features, k, seed, lr, step, steps (planned), tokens, fvu, "
	         "held_out_fvu, l0, n_dead, tokens_per_s, state. What is not known comes last.",
	.examples = "gloss runs sweep/ --sort held_out_fvu\n"
	            "gloss runs --follow sae/",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = UINT32_MAX,
};
