/* prompt: templates with fields, and windows as a model gets to see them. */
#include "explain/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char user_line[] = "=== user\n", assistant_line[] = "=== assistant\n";
static const double mark_threshold = 0.3; /* of the window's strongest value */

static int too_long(int rc, error *err)
{
	if (rc == ERR_LIMIT)
		return error_set(err, rc, "the prompt is over %d bytes", PROMPT_MAX);
	return error_nomem(err, "a prompt");
}

/* ---- Templates --------------------------------------------------------------------------------------------------------- */

/* The next such line at or behind `from`, NULL: there is none. */
static const char *find_line(const char *template, const char *from, const char *line)
{
	const char *at = from;

	while ((at = strstr(at, line)) && at != template && at[-1] != '\n')
		at++;
	return at;
}

/* The line between both parts: the last, for worked examples have some of their own. NULL: there is none. */
static const char *find_user_line(const char *template)
{
	const char *at = NULL, *next = template;

	while ((next = find_line(template, next, user_line))) {
		at = next;
		next += strlen(user_line);
	}
	return at;
}

static const char *field_value(const char *name, size_t len, const prompt_field *fields, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(fields[i].name) == len && memcmp(fields[i].name, name, len) == 0)
			return fields[i].value;
	return NULL;
}

/* The end of a field's name: the braces behind it, or the colon before what stands there if the field is not empty. */
static const char *name_end(const char *name, const char *close)
{
	const char *colon = memchr(name, ':', (size_t)(close - name));

	return colon ? colon : close;
}

static int fill_part(text *out, const char *s, size_t len, const prompt_field *fields, size_t n, error *err)
{
	const char *end = s + len, *open, *close, *name, *colon, *value;
	int rc = 0;

	while (rc == 0 && (open = memmem(s, (size_t)(end - s), "{{", 2))) {
		open += open[2] == '{'; /* a brace before a field */
		close = memmem(open, (size_t)(end - open), "}}", 2);
		if (!close)
			return error_set(err, ERR_FORMAT, "the prompt template has '{{' without '}}'");
		name = open + 2;
		colon = name_end(name, close);
		value = field_value(name, (size_t)(colon - name), fields, n);
		if (!value)
			return error_set(err, ERR_FORMAT,
			                 "the prompt template has an unknown field '{{%.*s}}'",
			                 (int)(close - open - 2 < 40 ? close - open - 2 : 40), open + 2);
		rc = text_add(out, s, (size_t)(open - s));
		if (rc == 0 && colon == close)
			rc = text_adds(out, value);
		else if (rc == 0 && *value)
			rc = text_add(out, colon + 1, (size_t)(close - colon - 1));
		s = close + 2;
	}
	if (rc == 0)
		rc = text_add(out, s, (size_t)(end - s));
	return rc < 0 ? too_long(rc, err) : 0;
}

int prompt_fill(text *system, text *user, const char *template, const prompt_field *fields, size_t n,
                error *err)
{
	const char *line = find_user_line(template), *below;
	size_t len;
	int rc;

	if (!line)
		return error_set(err, ERR_FORMAT, "the prompt template lacks the line '=== user'");
	len = (size_t)(line - template);
	rc = fill_part(system, template, len - (len > 0), fields, n, err); /* its line break is none of it */
	if (rc < 0)
		return rc;
	below = line + sizeof(user_line) - 1;
	len = strlen(below);
	while (len && below[len - 1] == '\n')
		len--;
	return fill_part(user, below, len, fields, n, err);
}

/* The next line of either kind at or behind `from`; NULL: there is none. */
static const char *find_turn(const char *template, const char *from)
{
	const char *user = find_line(template, from, user_line);
	const char *assistant = find_line(template, from, assistant_line);

	return !user || (assistant && assistant < user) ? assistant : user;
}

static bool is_line(const char *at, const char *line)
{
	return strncmp(at, line, strlen(line)) == 0;
}

bool prompt_next_turn(prompt_turn *out, const char **rest)
{
	const char *s = *rest, *end;

	if (!*s)
		return false;
	out->role = is_line(s, user_line) ? "user" : is_line(s, assistant_line) ? "assistant" : "system";
	if (*out->role != 's')
		s = strchr(s, '\n') + 1;
	end = find_turn(s, s);
	*rest = end ? end : s + strlen(s);
	out->text = s;
	out->len =
	        (size_t)(*rest - s) - (end && end > s); /* the line break before a line is none of the text */
	return true;
}

static unsigned line_of(const char *template, const char *at)
{
	unsigned line = 1;

	for (; template <at; template ++)
		line += *template == '\n';
	return line;
}

/* Turns of examples come in pairs, the assistant's behind the user's. */
static int check_turns(const char *template, const char *name, error *err)
{
	bool asked = false;

	for (const char *at = template; (at = find_turn(template, at)); at++) {
		bool user = is_line(at, user_line);

		if (user == asked)
			return error_set(err, ERR_FORMAT, "'%s' line %u: '=== %s' where '=== %s' belongs",
			                 name, line_of(template, at), user ? "user" : "assistant",
			                 user ? "assistant" : "user");
		asked = user;
	}
	return asked ? 0
	             : error_set(err, ERR_FORMAT,
	                         "'%s' ends with a line '=== assistant': it lacks the question behind a last "
	                         "'=== user'",
	                         name);
}

/* What a question is about: without it, a template of the user's asks about nothing, and is paid for. */
static int check_content(const char *template, const char *const *fields, size_t n, const char *name,
                         error *err)
{
	const char *content = n ? fields[0] : NULL;
	char field[64];

	for (size_t i = 0; i < n; i++)
		if (strcmp(fields[i], "texts") == 0)
			content = fields[i];
	snprintf(field, sizeof(field), "{{%s}}", content ? content : "");
	if (content && !strstr(template, field))
		return error_set(err, ERR_FORMAT, "'%s' lacks the field '%s'", name, field);
	return 0;
}

int prompt_check(const char *template, const char *const *fields, size_t n, const char *name, error *err)
{
	const char *open = template, *close, *inner;
	bool own = name != NULL;
	size_t len, i;

	name = name ? name : "the prompt template";
	if (!find_user_line(template))
		return error_set(err, ERR_FORMAT,
		                 "'%s' lacks the line '=== user', between what the system says and "
		                 "what the user does",
		                 name);
	while ((open = strstr(open, "{{"))) {
		open += open[2] == '{';
		close = strstr(open, "}}");
		inner = strstr(open + 2, "{{");
		if (!close || (inner && inner < close)) /* a field's text holds no other field */
			return error_set(err, ERR_FORMAT, "'%s' line %u: '{{' without '}}'", name,
			                 line_of(template, open));
		len = (size_t)(name_end(open + 2, close) - open) - 2;
		for (i = 0; i < n; i++)
			if (strlen(fields[i]) == len && memcmp(fields[i], open + 2, len) == 0)
				break;
		if (i == n)
			return error_set(err, ERR_FORMAT, "'%s' line %u: unknown field '{{%.*s}}'", name,
			                 line_of(template, open), (int)(len < 40 ? len : 40), open + 2);
		open = close + 2;
	}
	if (own && check_turns(template, name, err) < 0)
		return err->code;
	return own ? check_content(template, fields, n, name, err) : 0;
}

/* ---- Windows --------------------------------------------------------------------------------------------------------- */

unsigned prompt_before(const explain_opts *o)
{
	return (unsigned)(o->peak * (o->window - 1));
}

store_window prompt_cut(const store_window *w, unsigned length, unsigned before)
{
	store_window cut = *w;
	uint32_t from;

	if (w->length <= length)
		return cut;
	from = w->peak > before ? w->peak - before : 0;
	if (from + length > w->length)
		from = w->length - length;
	cut.first += from;
	cut.length = length;
	cut.peak -= from;
	cut.token += from;
	cut.text += from;
	cut.value += from;
	return cut;
}

int prompt_raw(const char **out, arena *mem, const store_window *w, error *err)
{
	text raw;
	int rc = 0;

	text_init(&raw, PROMPT_MAX);
	for (uint32_t i = 0; i < w->length && rc == 0; i++)
		rc = text_adds(&raw, w->text[i]);
	*out = rc == 0 ? arena_strdup(mem, raw.data ? raw.data : "") : NULL;
	text_free(&raw);
	if (rc == ERR_LIMIT)
		return error_set(err, rc, "a window is too long");
	return *out ? 0 : error_nomem(err, "a text");
}

/* Tokens from..to-1 joined, on one line. */
static int join_visible(text *out, const store_window *w, uint32_t from, uint32_t to)
{
	text raw;
	int rc = 0;

	text_init(&raw, PROMPT_MAX);
	for (uint32_t i = from; i < to && rc == 0; i++)
		rc = text_adds(&raw, w->text[i]);
	if (rc == 0 && raw.len)
		rc = text_add_visible(out, raw.data, raw.len);
	text_free(&raw);
	return rc;
}

/* Add s so that no two angle brackets of the text, or one of it and a marker, make a marker. */
static int add_without_marks(text *out, const text *s, bool mark_before, bool mark_after)
{
	bool left, right;
	int rc = 0;

	for (size_t i = 0; i < s->len && rc == 0; i++) {
		char c = s->data[i];

		if (c != '<' && c != '>') {
			rc = text_add(out, &c, 1);
			continue;
		}
		left = i ? s->data[i - 1] == c : mark_before;
		right = i + 1 < s->len ? s->data[i + 1] == c : mark_after;
		if (left || right)
			rc = text_adds(out, c == '<' ? "\u2039" : "\u203a");
		else
			rc = text_add(out, &c, 1);
	}
	return rc;
}

static float strongest_in(const store_window *w)
{
	float peak = 0;

	for (uint32_t i = 0; i < w->length; i++)
		if (w->value[i] > peak)
			peak = w->value[i];
	return peak;
}

uint32_t prompt_mark(uint8_t *mark, const store_window *w)
{
	float peak = strongest_in(w);
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->length; i++) {
		mark[i] = w->value[i] > 0 && w->value[i] > mark_threshold * peak;
		n += mark[i];
	}
	return n;
}

/* The text with its markers. */
static int add_text(text *t, const store_window *w, const uint8_t *mark)
{
	bool more;
	uint32_t to;
	text part;
	int rc = 0;

	text_init(&part, PROMPT_MAX);
	for (uint32_t from = 0; from < w->length && rc == 0; from = to) {
		for (to = from + 1; to < w->length && mark[to] == mark[from];)
			to++;
		text_clear(&part);
		more = mark[from] || to < w->length;
		rc = join_visible(&part, w, from, to);
		if (rc == 0 && mark[from])
			rc = text_adds(t, "<<");
		if (rc == 0)
			rc = add_without_marks(t, &part, mark[from] || from > 0, more);
		if (rc == 0 && mark[from])
			rc = text_adds(t, ">>");
	}
	text_free(&part);
	return rc;
}

static int add_token(text *t, const store_window *w, uint32_t i)
{
	text one, shown;
	int rc;

	text_init(&one, PROMPT_MAX);
	text_init(&shown, PROMPT_MAX);
	rc = join_visible(&one, w, i, i + 1);
	if (rc == 0) /* as it stands in the text above */
		rc = add_without_marks(&shown, &one, false, false);
	if (rc == 0)
		rc = text_add_json(t, shown.data ? shown.data : "", shown.len);
	text_free(&shown);
	text_free(&one);
	return rc;
}

int prompt_add_token(text *t, const store_window *w, uint32_t i, error *err)
{
	int rc = add_token(t, w, i);

	return rc < 0 ? too_long(rc, err) : 0;
}

/* active: " brown" 10 (peak), " fox" 4 */
static int add_values(text *t, const store_window *w, const uint8_t *mark, float strongest)
{
	const char *between = "\nactive: ";
	int rc = 0, value;

	for (uint32_t i = 0; i < w->length && rc == 0; i++) {
		if (!mark[i])
			continue;
		value = (int)ceil(10.0 * (double)w->value[i] / (double)strongest);
		rc = text_adds(t, between);
		if (rc == 0)
			rc = add_token(t, w, i);
		if (rc == 0)
			rc = text_addf(t, " %d%s", value > 10 ? 10 : value, i == w->peak ? " (peak)" : "");
		between = ", ";
	}
	return rc;
}

int prompt_add_marked(text *t, const store_window *w, float strongest, error *err)
{
	float peak = strongest_in(w);
	uint8_t *mark = calloc(w->length + 1, 1);
	int rc;

	if (!mark)
		return error_nomem(err, "a prompt");
	prompt_mark(mark, w);
	rc = add_text(t, w, mark);
	if (rc == 0)
		rc = add_values(t, w, mark, strongest > peak ? strongest : peak);
	free(mark);
	return rc < 0 ? too_long(rc, err) : 0;
}

int prompt_add_marks(text *t, const store_window *w, const uint8_t *mark, error *err)
{
	int rc = add_text(t, w, mark);

	return rc < 0 ? too_long(rc, err) : 0;
}

int prompt_add_windows_marks(text *t, const store_window *w, error *err)
{
	uint8_t *mark = calloc(w->length + 1, 1);
	int rc;

	if (!mark)
		return error_nomem(err, "a prompt");
	if (w->activation > 0)
		prompt_mark(mark, w);
	rc = prompt_add_marks(t, w, mark, err);
	free(mark);
	return rc;
}

int prompt_add_plain(text *t, const store_window *w, error *err)
{
	int rc = join_visible(t, w, 0, w->length);

	return rc < 0 ? too_long(rc, err) : 0;
}

int prompt_add_line(text *t, const char *s, error *err)
{
	int rc = text_add_visible(t, s, strlen(s));

	return rc < 0 ? too_long(rc, err) : 0;
}
