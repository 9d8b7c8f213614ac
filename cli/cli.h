/* cli: the command table, the option tables and what commands share. Only this folder prints or exits. */
#ifndef GLOSS_CLI_H
#define GLOSS_CLI_H

#include "base/base.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SAVED = 3 }; /* 3: state saved, not finished */

/* ---- Options (options.c): one table feeds flags, --config JSON, --help and the man page ------------------------- */

typedef enum option_type {
	OPTION_BOOL,   /* bool: --name, --no-name */
	OPTION_U32,    /* uint32_t */
	OPTION_U64,    /* uint64_t; accepts k, M, G (powers of 1000) and Ki, Mi, Gi */
	OPTION_DOUBLE, /* double */
	OPTION_STRING, /* const char *, lives as long as the options */
	OPTION_LIST,   /* option_list: may be given many times */
	OPTION_ENUM    /* const char *, one of `choices` separated by '|' */
} option_type;

typedef struct option_list {
	const char **items;
	size_t n;
} option_list;

typedef struct option {
	const char *name; /* long name without dashes, words joined by '-' */
	char letter;      /* short name or 0 */
	option_type type;
	size_t offset;        /* of the field in the command's option struct */
	const char *value;    /* what stands for the value in help: "N", "FILE"; for OPTION_ENUM "a|b|c" */
	const char *standard; /* the default as the user would type it; NULL: none (the field stays zero) */
	double min, max;      /* for numbers, when min < max */
	const char *help;     /* one sentence, lower case, no full stop */
} option;
#define OPTION(st, field, nm, letter, type, value, standard, min, max, help)                                 \
	{                                                                                                    \
		nm, letter, type, offsetof(st, field), value, standard, min, max, help                       \
	}

typedef struct command {
	const char *name;
	int (*run)(const struct command *self, int argc,
	           char **argv); /* argv[0] is the command's name; returns EXIT_ */
	const char *help;        /* one line for the list of commands */
	const char *usage;       /* "DUMP... -o DIR": behind the name in the usage line */
	const char *about;       /* paragraphs for --help and the man page */
	const char *examples;    /* lines of shell, one example each, or NULL */
	const option *options;   /* the command's own; the common ones are added */
	size_t n_options;
	unsigned min_args, max_args; /* positional arguments */
	/* What the option 'preset' stands for: a JSON object of options, which count where neither argv nor --config gives them. NULL:
	 * the command has no such option. */
	const char *(*preset)(const char *name);
} command;
extern const command *const cli_commands[]; /* NULL at the end; commands.c */

typedef struct cli_common {
	bool json, quiet;
	const char *config; /* file of the same options as JSON members */
	const char *color;  /* auto|always|never */
} cli_common;

typedef struct cli_parsed {
	cli_common common;
	const char **args; /* positional */
	size_t n_args;
	const char **given;    /* names of the options the user set */
	size_t n_given, n_own; /* the first n_own by the command line or --config, the rest by --preset */
	bool done;             /* --help was shown: return `exit_code` */
	int exit_code;
	arena mem; /* holds every string and list */
} cli_parsed;

/* Fill `opts` (the command's struct, zeroed by the caller, of any size) from defaults, then --preset, --config, argv, and *p.
 * Usage errors are printed to stderr; then p->done with EXIT_USAGE. The caller ends with cli_parsed_clear(). */
void cli_parse(cli_parsed *p, const command *self, void *opts, int argc, char **argv);
void cli_parsed_clear(cli_parsed *p);
/* Whether the user gave the option (flag, config or preset), not just its default. */
bool cli_given(const cli_parsed *p, const char *name);
void cli_mark_given(cli_parsed *p, const char *name);
bool cli_given_own(const cli_parsed *p, const char *name); /* and not by a preset */
/* Options that do nothing without another: `needed` is one name, or two of which one will do, as "candidates|refine". */
typedef struct cli_need {
	const char *option, *needed;
} cli_need;
/* ERR_ARG: one was given without what it needs; names both. */
int cli_check_needs(const cli_parsed *p, const cli_need *needs, size_t n, error *err) MUST_USE;
/* An option that belongs to values "a|b|c" of another, `of`: "--arch", or "jobs" where it is an action. option NULL, the last of a table:
 * all others of the command's own. */
typedef struct cli_belonging {
	const char *option, *of, *values;
} cli_belonging;
/* Those of `of`, whose values in force are apart by commas. ERR_ARG: one was given that belongs to none of these; names all. */
int cli_check_belongs(const command *self, const cli_parsed *p, const cli_belonging *table, size_t n,
                      const char *of, const char *in_force, error *err) MUST_USE;
/* Whether the n letters of `word` are one of those in "a|b|c". */
bool cli_is_choice(const char *word, size_t n, const char *choices);
/* The options as one JSON object (what a run stores): every option with the value in force. NULL: no memory. */
cJSON *cli_options_json(const command *self, const void *opts);

/* Check `value` and put it in the field of *fields.
 *   first   a list starts anew instead of growing
 *   shown   names the option in the error: "--k", or "'run.json': k"
 *   mem     holds lists; strings are kept as pointers to `value`, which has to live as long
 * ERR_ARG: not a value of the option. A bool takes "true" and "false". */
int cli_option_set(void *fields, const option *o, const char *value, bool first, arena *mem,
                   const char *shown, error *err) MUST_USE;

/* ---- Output (output.c) -------------------------------------------------------------------------------------------- */

/* "gloss COMMAND: message" on stderr; returns EXIT_FAILED (EXIT_USAGE for ERR_ARG, EXIT_SAVED for ERR_STOPPED). */
int cli_fail(const command *self, const error *err);
void cli_warn(const command *self, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A string of a file's or a store's on stdout, with nothing in it that steers a terminal. */
void cli_put(const char *string);
/* stderr for progress, or NULL with --quiet. */
FILE *cli_progress_stream(const cli_parsed *p);
/* Whether stdout gets colours: --color, else a terminal, TERM not dumb, NO_COLOR unset. */
bool cli_color(const cli_parsed *p);
/* Write a file of a command's own kind, of which all begin alike. ERR_EXISTS: a file is there that is not empty and begins in another
 * way, such as the one that was read; it is left alone. */
int cli_write_file(const char *path, const char *data, const char *begin, const char *kind,
                   error *err) MUST_USE;
/* Print a JSON value and a newline on stdout; frees `value`. Returns EXIT_. */
int cli_print_json(const command *self, cJSON *value);

/* A table on stdout: columns aligned by display width, right-aligned where `right`; cells are made visible
 * (text_add_visible) and cut to `max_width` columns with an ellipsis when it is not 0. */
typedef struct cli_column {
	const char *title;
	bool right;
	unsigned max_width;
} cli_column;
typedef struct cli_table cli_table;
int cli_table_new(cli_table **out, const cli_column *columns, size_t n, error *err) MUST_USE;
int cli_table_cell(cli_table *t, const char *fmt, ...)
        PRINTF_LIKE(2, 3) MUST_USE; /* row-major, left to right */
void cli_table_print(const cli_table *t, FILE *to);
void cli_table_free(cli_table *t);

/* SIGINT, SIGTERM, SIGUSR1: cli_stop_requested() turns true; a second SIGINT or SIGTERM ends the program at once. */
void cli_catch_signals(void);
bool cli_stop_requested(void);

/* From now until cli_deadline_end(): after so many seconds the program ends at once with "gloss COMMAND: MESSAGE" and EXIT_FAILED.
 * For what cannot be asked to stop and leaves nothing behind. */
void cli_deadline_start(const command *self, double seconds, const char *message);
void cli_deadline_end(void);

/* The man page gloss(1) in mdoc from the tables; what `gloss help --man` prints. */
int cli_print_man(FILE *to);
int cli_print_help(const command *self, FILE *to); /* NULL: the list of commands */

#endif
