/* test_cli.c: option tables into structs, config files, tables on a stream; and that every command's table is sound. */
#include <unistd.h>

#include "cli/cli_internal.h"
#include "cli/diff.h"
#include "tests/support.h"

typedef struct bake_opts {
	uint32_t k;
	uint64_t memory;
	double lr;
	const char *out, *arch;
	option_list skip;
	bool fold, fast;
} bake_opts;

#define BAKE(field, nm, letter, type, value, standard, min, max)                                             \
	OPTION(bake_opts, field, nm, letter, type, value, standard, min, max, "help")
static const option bake_options[] = {
	BAKE(arch, "arch", 0, OPTION_ENUM, "topk|batchtopk|jumprelu", "topk", 0, 0),
	BAKE(fast, "fast", 'f', OPTION_BOOL, NULL, NULL, 0, 0),
	BAKE(fold, "fold", 0, OPTION_BOOL, NULL, "true", 0, 0),
	BAKE(k, "k", 'k', OPTION_U32, "N", "32", 1, 4294967295.0),
	BAKE(lr, "lr", 0, OPTION_DOUBLE, "X", NULL, 0, 1),
	BAKE(memory, "memory-limit", 0, OPTION_U64, "BYTES", "1Gi", 0, 0),
	BAKE(out, "out", 'o', OPTION_STRING, "DIR", NULL, 0, 0),
	BAKE(skip, "skip-tokens", 's', OPTION_LIST, "ID", NULL, 0, 0),
};
static const command bake = {
	.name = "bake",
	.help = "for this test",
	.usage = "DUMP...",
	.about = "A command of this test.",
	.options = bake_options,
	.n_options = ARRAY_LEN(bake_options),
	.min_args = 1,
	.max_args = 2,
};

enum { MOST_WORDS = 16 };

/* Parses the words of `line`, apart by single blanks. `copy` holds them and has to live as long as what was parsed. */
static void parse_line(cli_parsed *p, bake_opts *o, char copy[256], const char *line)
{
	static char name[] = "bake";
	char *argv[MOST_WORDS + 1] = { name };
	int argc = 1;

	snprintf(copy, 256, "%s", line);
	while (*copy && argc < MOST_WORDS) {
		argv[argc++] = copy;
		copy += strcspn(copy, " ");
		if (*copy)
			*copy++ = '\0';
	}
	*o = (bake_opts){ 0 };
	cli_parse(p, &bake, o, argc, argv);
}

/* What the call printed on `stream` (file descriptor `fd`): start, then end, which returns a text to free. */
static FILE *capture_file;
static int capture_saved;

static void capture_start(FILE *stream, int fd)
{
	fflush(stream);
	capture_file = tmpfile();
	ck_assert_ptr_nonnull(capture_file);
	capture_saved = dup(fd);
	ck_assert_int_ge(dup2(fileno(capture_file), fd), 0);
}

static void capture_end(FILE *stream, int fd, char out[1024])
{
	size_t n;

	fflush(stream);
	ck_assert_int_ge(dup2(capture_saved, fd), 0);
	close(capture_saved);
	rewind(capture_file);
	n = fread(out, 1, 1023, capture_file);
	out[n] = '\0';
	fclose(capture_file);
}

START_TEST(takes_defaults)
{
	char copy[256];
	cli_parsed p;
	bake_opts o;

	parse_line(&p, &o, copy, "dump");
	ck_assert(!p.done);
	ck_assert_uint_eq(p.n_args, 1);
	ck_assert_str_eq(p.args[0], "dump");
	ck_assert_uint_eq(o.k, 32);
	ck_assert_uint_eq(o.memory, UINT64_C(1) << 30);
	ck_assert_str_eq(o.arch, "topk");
	ck_assert(o.fold && !o.fast && !o.out && !o.skip.n);
	ck_assert(!cli_given(&p, "k"));
	ck_assert_str_eq(p.common.color, "auto");
	ck_assert_ptr_eq(cli_progress_stream(&p), stderr);
	cli_parsed_clear(&p);
}
END_TEST

START_TEST(takes_every_form)
{
	char copy[256];
	cli_parsed p;
	bake_opts o;

	parse_line(&p, &o, copy,
	           "--k=7 -fo out one --no-fold --skip_tokens 1 -s2 --skip-tokens=3 --quiet --memory-limit "
	           "3M -- -x");
	ck_assert(!p.done);
	ck_assert_uint_eq(o.k, 7);
	ck_assert_str_eq(o.out, "out");
	ck_assert(o.fast && !o.fold);
	ck_assert_uint_eq(o.memory, 3000000);
	ck_assert_uint_eq(o.skip.n, 3);
	ck_assert_str_eq(o.skip.items[0], "1");
	ck_assert_str_eq(o.skip.items[1], "2");
	ck_assert_str_eq(o.skip.items[2], "3");
	ck_assert_uint_eq(p.n_args, 2);
	ck_assert_str_eq(p.args[0], "one");
	ck_assert_str_eq(p.args[1], "-x");
	ck_assert(cli_given(&p, "k") && cli_given(&p, "fold") && cli_given(&p, "quiet") &&
	          !cli_given(&p, "lr"));
	ck_assert_ptr_null(cli_progress_stream(&p));
	cli_parsed_clear(&p);

	parse_line(&p, &o, copy,
	           "--out -5 - -k 1 -k 9"); /* a value may look like an option; the last one counts */
	ck_assert(!p.done);
	ck_assert_str_eq(o.out, "-5");
	ck_assert_str_eq(p.args[0], "-");
	ck_assert_uint_eq(o.k, 9);
	cli_parsed_clear(&p);
}
END_TEST

START_TEST(refuses_wrong_use)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{ "", "an argument is missing; usage: gloss bake DUMP..." },
		{ "a b c", "'c' is one argument too many; usage: gloss bake DUMP..." },
		{ "a --k 0", "--k 0 is out of range: 1 to 4294967295" },
		{ "a --k -3", "--k -3 is out of range: 1 to 4294967295" },
		{ "a --k 4294967296", "--k 4294967296 is out of range: 1 to 4294967295" },
		{ "a --k 99999999999999999999", "--k 99999999999999999999 is out of range: 1 to 4294967295" },
		{ "a --k 12x", "--k '12x' is not a whole number: 1 to 4294967295" },
		{ "a --k 0x10", "--k '0x10' is not a whole number: 1 to 4294967295" },
		{ "a --k 1k", "--k '1k' is not a whole number: 1 to 4294967295" },
		{ "a --k=", "--k '' is not a whole number: 1 to 4294967295" },
		{ "a -k", "-k needs a value: N" },
		{ "a --memory-limit 1T", "--memory-limit '1T' is not a whole number: at least 0" },
		{ "a --memory-limit 18446744073709551615k",
		  "--memory-limit 18446744073709551615k is out of range: at least 0" },
		{ "a --lr nan", "--lr 'nan' is not a number: 0 to 1" },
		{ "a --lr inf", "--lr 'inf' is not a number: 0 to 1" },
		{ "a --lr 1e", "--lr '1e' is not a number: 0 to 1" },
		{ "a --lr 1.5", "--lr 1.5 is out of range: 0 to 1" },
		{ "a --lr -1e-9", "--lr -1e-9 is out of range: 0 to 1" },
		{ "a --arch tpok",
		  "--arch 'tpok' is not one of topk|batchtopk|jumprelu; did you mean topk?" },
		{ "a --arch relu", "--arch 'relu' is not one of topk|batchtopk|jumprelu" },
		{ "a --skip 3", "unknown option '--skip'; did you mean '--skip-tokens'?" },
		{ "a --fsat", "unknown option '--fsat'; did you mean '--fast'?" },
		{ "a --no-fats", "unknown option '--no-fats'; did you mean '--no-fast'?" },
		{ "a --no-k", "unknown option '--no-k'; 'gloss bake --help' lists them" },
		{ "a --banana", "unknown option '--banana'; 'gloss bake --help' lists them" },
		{ "a --fold=yes", "--fold takes no value; '--no-fold' turns it off" },
		{ "a -fz", "unknown option '-z'; 'gloss bake --help' lists them" },
		{ "a --out", "--out needs a value: DIR" },
		{ "a --color red", "--color 'red' is not one of auto|always|never" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char copy[256], got[1024], want[512];
		cli_parsed p;
		bake_opts o;

		capture_start(stderr, STDERR_FILENO);
		parse_line(&p, &o, copy, cases[i].line);
		capture_end(stderr, STDERR_FILENO, got);
		snprintf(want, sizeof(want), "gloss bake: %s\n", cases[i].message);
		ck_assert_str_eq(got, want);
		ck_assert(p.done);
		ck_assert_int_eq(p.exit_code, EXIT_USAGE);
		cli_parsed_clear(&p);
	}
}
END_TEST

/* Parses with a config file of this text; `line` comes behind --config. */
static void parse_config(cli_parsed *p, bake_opts *o, char copy[256], const char *dir, const char *json,
                         const char *line)
{
	char words[256];

	support_put_text(support_path(dir, "c.json"), json);
	ck_assert_int_eq(chdir(dir), 0);
	snprintf(words, sizeof(words), "--config c.json %s", line);
	parse_line(p, o, copy, words);
}

START_TEST(reads_config)
{
	char dir[FILE_PATH_MAX], copy[256];
	cli_parsed p;
	bake_opts o;

	support_mkdir(dir);
	parse_config(&p, &o, copy, dir,
	             "{\"k\": 5, \"lr\": 0.25, \"memory_limit\": \"2Gi\", \"skip-tokens\": [\"8\", \"9\"],"
	             " \"fold\": false, \"out\": null, \"json\": true, \"arch\": \"jumprelu\"}",
	             "--k 6 dump --skip-tokens 1");
	ck_assert(!p.done);
	ck_assert_uint_eq(o.k, 6); /* the command line goes before the file */
	ck_assert_double_eq(o.lr, 0.25);
	ck_assert_uint_eq(o.memory, UINT64_C(2) << 30);
	ck_assert_uint_eq(o.skip.n, 1);
	ck_assert_str_eq(o.skip.items[0], "1");
	ck_assert(!o.fold && p.common.json && !o.out);
	ck_assert_str_eq(o.arch, "jumprelu");
	ck_assert(cli_given(&p, "lr") && cli_given(&p, "memory-limit") && !cli_given(&p, "out"));
	cli_parsed_clear(&p);

	parse_config(&p, &o, copy, dir, "{\"skip_tokens\": [\"8\", \"9\", \"10\"], \"memory-limit\": 77}",
	             "dump");
	ck_assert(!p.done);
	ck_assert_uint_eq(o.skip.n, 3);
	ck_assert_str_eq(o.skip.items[2], "10");
	ck_assert_uint_eq(o.memory, 77);
	cli_parsed_clear(&p);
	support_rmdir(dir);
}
END_TEST

START_TEST(refuses_config)
{
	static const struct {
		const char *json, *message;
		int code;
	} cases[] = {
		{ "{\"kk\": 1}", "'c.json': unknown member 'kk'; did you mean 'k'?", EXIT_USAGE },
		{ "{\"banana\": 1}", "'c.json': unknown member 'banana'", EXIT_USAGE },
		{ "{\"config\": \"x\"}", "'c.json': unknown member 'config'", EXIT_USAGE },
		{ "{\"help\": true}", "'c.json': unknown member 'help'", EXIT_USAGE },
		{ "{\"k\": 0}", "'c.json': k 0 is out of range: 1 to 4294967295", EXIT_USAGE },
		{ "{\"k\": 1.5}", "'c.json': k '1.5' is not a whole number: 1 to 4294967295", EXIT_USAGE },
		{ "{\"k\": \"5\"}", "'c.json': k must be a number", EXIT_USAGE },
		{ "{\"memory_limit\": 1e300}", "'c.json': memory_limit is beyond 2^53: write it as a string",
		  EXIT_USAGE },
		{ "{\"lr\": true}", "'c.json': lr must be a number", EXIT_USAGE },
		{ "{\"fold\": 1}", "'c.json': fold must be true or false", EXIT_USAGE },
		{ "{\"out\": 3}", "'c.json': out must be a string", EXIT_USAGE },
		{ "{\"skip-tokens\": [3]}", "'c.json': skip-tokens must be a string or a list of strings",
		  EXIT_USAGE },
		{ "{\"arch\": \"x\"}", "'c.json': arch 'x' is not one of topk|batchtopk|jumprelu",
		  EXIT_USAGE },
		{ "{\"memory-limit\": 1, \"memory_limit\": 2}", "'c.json': memory_limit is given twice",
		  EXIT_USAGE },
		{ "[1]", "'c.json' is not a JSON object", EXIT_FAILED },
	};
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char copy[256], got[1024], want[512];
		cli_parsed p;
		bake_opts o;

		capture_start(stderr, STDERR_FILENO);
		parse_config(&p, &o, copy, dir, cases[i].json, "dump");
		capture_end(stderr, STDERR_FILENO, got);
		snprintf(want, sizeof(want), "gloss bake: %s\n", cases[i].message);
		ck_assert_str_eq(got, want);
		ck_assert(p.done);
		ck_assert_int_eq(p.exit_code, cases[i].code);
		cli_parsed_clear(&p);
	}
	support_rmdir(dir);
}
END_TEST

START_TEST(options_json_reads_back)
{
	char dir[FILE_PATH_MAX], copy[256], again_copy[256];
	char *first, *second;
	cli_parsed p, q;
	bake_opts o, again;
	cJSON *tree;

	support_mkdir(dir);
	parse_line(&p, &o, copy,
	           "dump -k 3 -s a -s b --lr 0.1 --memory-limit 18446744073709551615 --no-fold");
	tree = cli_options_json(&bake, &o);
	first = json_print(tree);
	cJSON_Delete(tree);
	ck_assert_str_eq(first, "{\"arch\":\"topk\",\"fast\":false,\"fold\":false,\"k\":3,\"lr\":0.1,"
	                        "\"memory-limit\":\"18446744073709551615\",\"out\":null,"
	                        "\"skip-tokens\":[\"a\",\"b\"]}");
	parse_config(&q, &again, again_copy, dir, first, "dump");
	ck_assert(!q.done);
	tree = cli_options_json(&bake, &again);
	second = json_print(tree);
	cJSON_Delete(tree);
	ck_assert_str_eq(first, second);
	free(first);
	free(second);
	cli_parsed_clear(&p);
	cli_parsed_clear(&q);
	support_rmdir(dir);
}
END_TEST

START_TEST(survives_no_memory)
{
	char dir[FILE_PATH_MAX], copy[256], got[1024];

	support_mkdir(dir);
	for (long n = 0;; n++) {
		cli_parsed p;
		bake_opts o;
		bool struck;

		ck_assert_int_lt(n, 1000);
		capture_start(stderr, STDERR_FILENO);
		support_put_text(support_path(dir, "c.json"), "{\"skip-tokens\": [\"1\", \"2\"]}");
		ck_assert_int_eq(chdir(dir), 0);
		fault_arm(FAULT_ALLOC, n);
		parse_line(&p, &o, copy, "--config c.json dump --k 4");
		struck = fault_disarm(FAULT_ALLOC);
		capture_end(stderr, STDERR_FILENO, got);
		if (struck) {
			ck_assert(p.done);
			ck_assert_int_eq(p.exit_code, EXIT_FAILED);
			ck_assert_ptr_nonnull(strstr(got, "memory"));
		} else {
			ck_assert(!p.done);
		}
		cli_parsed_clear(&p);
		if (!struck)
			break;
	}
	support_rmdir(dir);
}
END_TEST

START_TEST(aligns_tables)
{
	static const cli_column columns[] = { { "id", true, 0 }, { "label", false, 8 }, { "max", true, 0 } };
	char got[1024];
	cli_table *t = NULL;
	FILE *to = fmemopen(got, sizeof(got), "w");

	ck_assert_int_eq(cli_table_new(&t, columns, ARRAY_LEN(columns), NULL), 0);
	ck_assert_int_eq(cli_table_cell(t, "%d", 7), 0);
	ck_assert_int_eq(cli_table_cell(t, "%s", "a label that is long"), 0);
	ck_assert_int_eq(cli_table_cell(t, "%.1f", 12.25), 0);
	ck_assert_int_eq(cli_table_cell(t, "%d", 1234), 0);
	ck_assert_int_eq(cli_table_cell(t, "%s", "\xE6\x9C\x88\n"),
	                 0); /* a wide letter; a newline made visible */
	ck_assert_int_eq(cli_table_cell(t, "%s", ""), 0);
	cli_table_print(t, to);
	fclose(to);
	ck_assert_str_eq(got, "  id  label      max\n"
	                      "   7  a label\xE2\x80\xA6  12.2\n"
	                      "1234  \xE6\x9C\x88\xE2\x86\xB5           \n");
	cli_table_free(t);
}
END_TEST

/* What rounds to nothing has no sign. */
START_TEST(prints_zeros_without_a_sign)
{
	static const char page[] = "{\"all\":{\"n\":3,\"matched\":{\"value\":0.5},\"random\":{\"value\":-0."
	                           "0004,\"low\":-0.00051,"
	                           "\"high\":0.0004},\"difference\":{\"value\":null},\"auroc\":{\"value\":0."
	                           "6},\"equal_texts\":0},"
	                           "\"by_strength\":[{\"to\":0.5,\"value\":-0.0001,\"n\":2}],\"model\":\"m\","
	                           "\"without_label\":0}";
	cJSON *labels = cJSON_Parse(page);
	error err;
	char out[1024];
	int rc;

	ck_assert_ptr_nonnull(labels);
	capture_start(stdout, STDOUT_FILENO);
	rc = diff_labels_print(labels, &err);
	capture_end(stdout, STDOUT_FILENO, out);
	ck_assert_int_eq(rc, 0);
	ck_assert_msg(strstr(out, " 0.000 (-0.001 to 0.000) ") != NULL, "%s", out);
	ck_assert_msg(strstr(out, "under 0.5: 0.000 (2)") != NULL, "%s", out);
	cJSON_Delete(labels);
}
END_TEST

START_TEST(maps_errors_to_exits)
{
	static const int wants[][2] = { { ERR_ARG, EXIT_USAGE },
		                        { ERR_STOPPED, EXIT_SAVED },
		                        { ERR_IO, EXIT_FAILED } };
	char got[1024];

	for (size_t i = 0; i < ARRAY_LEN(wants); i++) {
		error e = { wants[i][0], "it is \x1b[31mred" };
		int code;

		capture_start(stderr, STDERR_FILENO);
		code = cli_fail(&bake, &e);
		capture_end(stderr, STDERR_FILENO, got);
		ck_assert_int_eq(code, wants[i][1]);
		ck_assert_str_eq(got,
		                 "gloss bake: it is <U+001B>[31mred\n"); /* no message steers the terminal */
	}
}
END_TEST

static void check_option(const command *c, size_t i)
{
	const option *o = &c->options[i];
	uint64_t room[4] = { 0 }; /* any field fits */
	option alone = *o;
	arena mem = ARENA_INIT;
	error e = { 0 };

	ck_assert_msg(o->help[0], "%s --%s: no help", c->name, o->name);
	ck_assert_msg(o->help[strlen(o->help) - 1] != '.', "%s --%s: full stop", c->name, o->name);
	ck_assert_msg((o->type == OPTION_BOOL) == !o->value, "%s --%s: value", c->name, o->name);
	alone.offset = 0;
	if (o->standard)
		ck_assert_msg(cli_option_set(room, &alone, o->standard, true, &mem, o->name, &e) == 0,
		              "%s: %s", c->name, e.msg);
	arena_clear(&mem);
	for (size_t j = 0; j < i; j++) {
		ck_assert_str_ne(c->options[j].name, o->name);
		ck_assert_msg(!o->letter || c->options[j].letter != o->letter, "%s -%c twice", c->name,
		              o->letter);
	}
	for (size_t j = 0; j < cli_n_common_options; j++)
		ck_assert_str_ne(cli_common_options[j].name, o->name);
	ck_assert_msg(o->letter != 'h' && strcmp(o->name, "help") != 0, "%s: help is taken", c->name);
}

START_TEST(commands_are_sound)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		const command *c = cli_commands[i];

		ck_assert_msg(i == 0 || strcmp(cli_commands[i - 1]->name, c->name) < 0, "%s: out of order",
		              c->name);
		ck_assert(c->run && c->help[0] && c->about[0] && c->usage);
		ck_assert_msg(c->help[strlen(c->help) - 1] != '.', "%s: full stop in its line", c->name);
		ck_assert_uint_le(c->min_args, c->max_args);
		for (size_t j = 0; j < c->n_options; j++)
			check_option(c, j);
	}
}
END_TEST

START_TEST(measures_likeness)
{
	ck_assert_uint_eq(text_edit_distance("", "abc"), 3);
	ck_assert_uint_eq(text_edit_distance("train", "train"), 0);
	ck_assert_uint_eq(text_edit_distance("tarin", "train"), 1);
	ck_assert_uint_eq(text_edit_distance("kitten", "sitting"), 3);
	ck_assert_uint_lt(text_likeness("feat", "features"), UINT32_MAX);
	ck_assert_uint_eq(text_likeness("zzz", "features"), UINT32_MAX);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "options", takes_defaults, takes_every_form, refuses_wrong_use, measures_likeness);
	SUPPORT_CASE(s, "config", reads_config, refuses_config, options_json_reads_back, survives_no_memory);
	SUPPORT_CASE(s, "output", aligns_tables, prints_zeros_without_a_sign, maps_errors_to_exits);
	SUPPORT_CASE(s, "commands", commands_are_sound);
}
SUPPORT_MAIN("cli", cases)
