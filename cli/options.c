/* From defaults, --config and argv to a command's option struct. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"

#define COMMON(field, nm, type, value, standard, help)                                                       \
	OPTION(cli_common, field, nm, 0, type, value, standard, 0, 0, help)
const option cli_common_options[] = {
	COMMON(color, "color", OPTION_ENUM, "auto|always|never", "auto", "colours on standard output"),
	COMMON(config, "config", OPTION_STRING, "FILE", NULL,
	       "a JSON object with the same options as members; options on the command line go before it"),
	COMMON(json, "json", OPTION_BOOL, NULL, NULL, "print the result as JSON"),
	COMMON(quiet, "quiet", OPTION_BOOL, NULL, NULL, "no progress on standard error"),
};
const size_t cli_n_common_options = ARRAY_LEN(cli_common_options);

/* One option as argv gave it. */
typedef struct setting {
	const option *o;
	const char *value;
} setting;

typedef struct parse {
	cli_parsed *p;
	const command *self;
	void *opts;
	setting *settings; /* (argc): no word of argv gives more than one, but clustered letters, see `cap` */
	size_t n, cap;
	bool help;
	error err;
} parse;

static bool is_common(const option *o)
{
	return o >= cli_common_options && o < cli_common_options + cli_n_common_options;
}

static void *fields_of(const parse *s, const option *o)
{
	return is_common(o) ? (void *)&s->p->common : s->opts;
}

/* The i-th option a command takes: its own first. */
static const option *option_at(const command *self, size_t i)
{
	return i < self->n_options ? &self->options[i] : &cli_common_options[i - self->n_options];
}

static size_t option_count(const command *self)
{
	return self->n_options + cli_n_common_options;
}

/* '_' stands for '-', as in a config file. */
static bool same_name(const char *name, const char *typed, size_t len)
{
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] != (typed[i] == '_' ? '-' : typed[i]))
			return false;
	return true;
}

static const option *find_long(const command *self, const char *typed, size_t len)
{
	for (size_t i = 0; i < option_count(self); i++)
		if (same_name(option_at(self, i)->name, typed, len))
			return option_at(self, i);
	return NULL;
}

static const option *find_letter(const command *self, char letter)
{
	for (size_t i = 0; i < option_count(self); i++)
		if (option_at(self, i)->letter == letter)
			return option_at(self, i);
	return NULL;
}

/* The option most like `typed`; NULL: none is near. */
static const option *nearest(const command *self, const char *typed)
{
	const option *near = NULL;
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < option_count(self); i++) {
		unsigned d = text_likeness(typed, option_at(self, i)->name);

		if (d < best) {
			best = d;
			near = option_at(self, i);
		}
	}
	return near;
}

static int unknown_long(parse *s, const char *typed, size_t len)
{
	char name[128];
	const option *near;
	bool off;

	snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name) - 1), typed);
	off = !strncmp(name, "no-", 3);
	near = nearest(s->self, off ? name + 3 : name);
	if (near && (!off || near->type == OPTION_BOOL))
		return error_set(&s->err, ERR_ARG, "unknown option '--%s'; did you mean '--%s%s'?", name,
		                 off ? "no-" : "", near->name);
	return error_set(&s->err, ERR_ARG, "unknown option '--%s'; 'gloss %s --help' lists them", name,
	                 s->self->name);
}

static int settings_add(parse *s, const option *o, const char *value)
{
	int rc = mem_grow(&s->settings, &s->cap, s->n + 1, sizeof(*s->settings));

	if (rc < 0)
		return error_nomem(&s->err, "options");
	s->settings[s->n++] = (setting){ o, value };
	return 0;
}

/* "--name", "--name=value", "--no-name", with *i on it; *i moves over a value of its own word. */
static int take_long(parse *s, int argc, char **argv, int *i)
{
	const char *name = argv[*i] + 2, *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const option *o = find_long(s->self, name, len);

	if (!o && len == 4 && !memcmp(name, "help", 4) && !equals) {
		s->help = true;
		return 0;
	}
	if (!o && len > 3 && !memcmp(name, "no-", 3)) {
		o = find_long(s->self, name + 3, len - 3);
		if (o && o->type == OPTION_BOOL && !equals)
			return settings_add(s, o, "false");
		o = NULL;
	}
	if (!o)
		return unknown_long(s, name, len);
	if (o->type == OPTION_BOOL) {
		if (equals)
			return error_set(&s->err, ERR_ARG, "--%s takes no value; '--no-%s' turns it off",
			                 o->name, o->name);
		return settings_add(s, o, "true");
	}
	if (equals)
		return settings_add(s, o, equals + 1);
	if (*i + 1 >= argc)
		return error_set(&s->err, ERR_ARG, "--%s needs a value: %s", o->name, o->value);
	return settings_add(s, o, argv[++*i]);
}

/* "-o DIR", "-oDIR", and letters of bools together: "-vf". */
static int take_letters(parse *s, int argc, char **argv, int *i)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		const option *o = find_letter(s->self, *p);
		int rc;

		if (!o && *p == 'h') {
			s->help = true;
			continue;
		}
		if (!o)
			return error_set(&s->err, ERR_ARG,
			                 "unknown option '-%c'; 'gloss %s --help' lists them", *p,
			                 s->self->name);
		if (o->type != OPTION_BOOL) {
			if (!p[1] && *i + 1 >= argc)
				return error_set(&s->err, ERR_ARG, "-%c needs a value: %s", *p, o->value);
			return settings_add(s, o, p[1] ? p + 1 : argv[++*i]);
		}
		rc = settings_add(s, o, "true");
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Sorts argv into settings and positional arguments; checks no value yet. */
static int read_argv(parse *s, int argc, char **argv)
{
	bool ended = false;

	s->p->args = arena_alloc(&s->p->mem, (size_t)argc + 1, sizeof(*s->p->args));
	if (!s->p->args)
		return error_nomem(&s->err, "options");
	for (int i = 1; i < argc; i++) {
		int rc = 0;

		if (ended || argv[i][0] != '-' || !argv[i][1])
			s->p->args[s->p->n_args++] = argv[i];
		else if (!strcmp(argv[i], "--"))
			ended = true;
		else if (argv[i][1] == '-')
			rc = take_long(s, argc, argv, &i);
		else
			rc = take_letters(s, argc, argv, &i);
		if (rc < 0 || s->help)
			return rc;
	}
	return 0;
}

static int apply_defaults(parse *s)
{
	for (size_t i = 0; i < option_count(s->self); i++) {
		const option *o = option_at(s->self, i);
		int rc;

		if (!o->standard)
			continue;
		rc = cli_option_set(fields_of(s, o), o, o->standard, true, &s->p->mem, o->name, &s->err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

void cli_mark_given(cli_parsed *p, const char *name)
{
	if (!cli_given(p, name))
		p->given[p->n_given++] = name;
}

static int apply_member(parse *s, const char *path, const cJSON *member)
{
	const option *o = find_long(s->self, member->string, strlen(member->string)), *near;
	char shown[512];

	snprintf(shown, sizeof(shown), "'%s': %s", path, member->string);
	if (!o || !strcmp(o->name, "config")) {
		near = nearest(s->self, member->string);
		if (near && strcmp(near->name, "config") != 0)
			return error_set(&s->err, ERR_ARG, "'%s': unknown member '%s'; did you mean '%s'?",
			                 path, member->string, near->name);
		return error_set(&s->err, ERR_ARG, "'%s': unknown member '%s'", path, member->string);
	}
	if (cJSON_IsNull(member)) /* as cli_options_json() writes what was not set */
		return 0;
	if (cli_given(s->p, o->name))
		return error_set(&s->err, ERR_ARG, "%s is given twice", shown);
	cli_mark_given(s->p, o->name);
	return cli_option_set_json(fields_of(s, o), o, member, &s->p->mem, shown, &s->err);
}

static int apply_config(parse *s, const char *path)
{
	const size_t max_bytes = 1 << 20;
	const cJSON *member;
	cJSON *tree = NULL;
	int rc;

	rc = json_read_file(&tree, path, max_bytes, &s->err);
	if (rc < 0)
		return rc;
	if (!cJSON_IsObject(tree))
		rc = error_set(&s->err, ERR_FORMAT, "'%s' is not a JSON object", path);
	for (member = tree->child; rc == 0 && member; member = member->next)
		rc = apply_member(s, path, member);
	cJSON_Delete(tree);
	return rc;
}

static int apply_settings(parse *s)
{
	char shown[128];

	for (size_t i = 0; i < s->n; i++) {
		const option *o = s->settings[i].o;
		bool first = true;
		int rc;

		for (size_t j = 0; j < i && first; j++)
			first = s->settings[j].o != o;
		snprintf(shown, sizeof(shown), "--%s", o->name);
		rc = cli_option_set(fields_of(s, o), o, s->settings[i].value, first, &s->p->mem, shown,
		                    &s->err);
		if (rc < 0)
			return rc;
		cli_mark_given(s->p, o->name);
	}
	return 0;
}

/* The members of a preset that nothing else gave. Presets are ours: their text is right. */
static int apply_preset(parse *s)
{
	const option *o = find_long(s->self, "preset", strlen("preset"));
	const cJSON *member;
	const char *name;
	cJSON *tree;
	int rc = 0;

	s->p->n_own = s->p->n_given;
	if (!s->self->preset || !o || !cli_given(s->p, o->name))
		return 0;
	name = *(const char *const *)((const char *)s->opts + o->offset);
	tree = cJSON_Parse(s->self->preset(name));
	if (!tree)
		return error_nomem(&s->err, "a preset");
	cJSON_ArrayForEach(member, tree)
	{
		const option *of = find_long(s->self, member->string, strlen(member->string));

		if (rc < 0 || cli_given(s->p, of->name))
			continue;
		cli_mark_given(s->p, of->name);
		rc = cli_option_set_json(fields_of(s, of), of, member, &s->p->mem, name, &s->err);
	}
	cJSON_Delete(tree);
	return rc;
}

static int check_args(parse *s)
{
	const command *self = s->self;
	size_t n = s->p->n_args;

	if (n < self->min_args)
		return error_set(&s->err, ERR_ARG, "an argument is missing; usage: gloss %s %s", self->name,
		                 self->usage);
	if (n > self->max_args)
		return error_set(&s->err, ERR_ARG, "'%s' is one argument too many; usage: gloss %s %s",
		                 s->p->args[self->max_args], self->name, self->usage);
	return 0;
}

static int parse_all(parse *s, int argc, char **argv)
{
	const char *config = NULL;
	int rc;

	s->p->given = arena_alloc(&s->p->mem, option_count(s->self), sizeof(*s->p->given));
	if (!s->p->given)
		return error_nomem(&s->err, "options");
	rc = read_argv(s, argc, argv);
	if (rc < 0 || s->help)
		return rc;
	rc = apply_defaults(s);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->settings[i].o->name, "config"))
			config = s->settings[i].value;
	if (config) {
		rc = apply_config(s, config);
		if (rc < 0)
			return rc;
	}
	rc = apply_settings(s);
	if (rc == 0)
		rc = apply_preset(s);
	return rc < 0 ? rc : check_args(s);
}

void cli_parse(cli_parsed *p, const command *self, void *opts, int argc, char **argv)
{
	parse s = { .p = p, .self = self, .opts = opts };
	int rc;

	*p = (cli_parsed){ .mem = ARENA_INIT };
	rc = parse_all(&s, argc, argv);
	free(s.settings);
	if (rc < 0) {
		p->done = true;
		p->exit_code = cli_fail(self, &s.err);
	} else if (s.help) {
		p->done = true;
		p->exit_code = cli_print_help(self, stdout);
	}
}

void cli_parsed_clear(cli_parsed *p)
{
	arena_clear(&p->mem);
	*p = (cli_parsed){ .mem = ARENA_INIT };
}

static bool among_given(const cli_parsed *p, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(p->given[i], name))
			return true;
	return false;
}

bool cli_given(const cli_parsed *p, const char *name)
{
	return among_given(p, p->n_given, name);
}

bool cli_given_own(const cli_parsed *p, const char *name)
{
	return among_given(p, p->n_own, name);
}

bool cli_is_choice(const char *word, size_t n, const char *choices)
{
	for (const char *at = choices; at; at = strchr(at, '|')) {
		at += *at == '|';
		if (strncmp(at, word, n) == 0 && (at[n] == '|' || at[n] == '\0'))
			return true;
	}
	return false;
}

/* "--select needs --candidates or --refine" */
static int needs_error(const cli_need *need, error *err)
{
	const char *bar = strchr(need->needed, '|');
	int first = bar ? (int)(bar - need->needed) : (int)strlen(need->needed);

	return error_set(err, ERR_ARG, "--%s needs --%.*s%s%s", need->option, first, need->needed,
	                 bar ? " or --" : "", bar ? bar + 1 : "");
}

int cli_check_needs(const cli_parsed *p, const cli_need *needs, size_t n, error *err)
{
	for (size_t i = 0; i < n; i++) {
		bool met = !cli_given(p, needs[i].option);

		for (size_t j = 0; j < p->n_given && !met; j++)
			met = cli_is_choice(p->given[j], strlen(p->given[j]), needs[i].needed);
		if (!met)
			return needs_error(&needs[i], err);
	}
	return 0;
}

/* One of "a,b" is one of "c|d". */
static bool one_is_choice(const char *words, const char *choices)
{
	for (const char *word = words;; word++) {
		size_t n = strcspn(word, ",");

		if (cli_is_choice(word, n, choices))
			return true;
		word += n;
		if (!*word)
			return false;
	}
}

int cli_check_belongs(const command *self, const cli_parsed *p, const cli_belonging *table, size_t n,
                      const char *of, const char *in_force, error *err)
{
	for (size_t i = 0; i < self->n_options; i++) {
		const char *name = self->options[i].name;
		const cli_belonging *b = table;

		while (b < table + n && b->option && strcmp(b->option, name) != 0)
			b++;
		if (b < table + n && strcmp(b->of, of) == 0 && cli_given(p, name) &&
		    !one_is_choice(in_force, b->values))
			return error_set(err, ERR_ARG, "--%s belongs to %s %s, not to %s", name, of,
			                 b->values, in_force);
	}
	return 0;
}

static cJSON *whole_json(uint64_t number)
{
	char digits[24];

	if (number <= UINT64_C(1) << 53)
		return cJSON_CreateNumber((double)number);
	snprintf(digits, sizeof(digits), "%" PRIu64, number); /* a JSON number would lose digits */
	return cJSON_CreateString(digits);
}

static cJSON *option_json(const option *o, const void *opts)
{
	const void *field = (const char *)opts + o->offset;
	const option_list *list;
	const char *s;

	switch (o->type) {
	case OPTION_BOOL:
		return cJSON_CreateBool(*(const bool *)field);
	case OPTION_U32:
		return whole_json(*(const uint32_t *)field);
	case OPTION_U64:
		return whole_json(*(const uint64_t *)field);
	case OPTION_DOUBLE:
		return cJSON_CreateNumber(*(const double *)field);
	case OPTION_LIST:
		list = field;
		return cJSON_CreateStringArray(list->n ? list->items : (const char *[]){ "" }, (int)list->n);
	case OPTION_STRING:
	case OPTION_ENUM:
		s = *(const char *const *)field;
		return s ? cJSON_CreateString(s) : cJSON_CreateNull();
	}
	return NULL;
}

cJSON *cli_options_json(const command *self, const void *opts)
{
	cJSON *object = cJSON_CreateObject();

	for (size_t i = 0; object && i < self->n_options; i++) {
		cJSON *value = option_json(&self->options[i], opts);

		if (!value || !cJSON_AddItemToObject(object, self->options[i].name, value)) {
			cJSON_Delete(value);
			cJSON_Delete(object);
			return NULL;
		}
	}
	return object;
}
