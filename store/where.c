/* The user's expression over the columns of schemas/sql/features.sql: what it may hold, and where it is wrong. */
#include "store/where.h"

#include <ctype.h>
#include <limits.h>
#include <strings.h>

#define WHERE_MAX 8192 /* bytes of an expression */

/* Functions without effect that are done at once on values of WHERE_MAX_LENGTH; trim(a, b) is not. */
static const char *const functions[] = {
	"abs", "acos",  "asin",    "atan",    "ceil",  "ceiling", "char",   "coalesce", "cos",
	"exp", "floor", "glob",    "ifnull",  "iif",   "instr",   "length", "like",     "ln",
	"log", "log10", "log2",    "lower",   "max",   "min",     "mod",    "nullif",   "pi",
	"pow", "power", "replace", "round",   "sign",  "sin",     "sqrt",   "substr",   "substring",
	"tan", "trunc", "typeof",  "unicode", "upper",
};

bool name_is_among(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

const char *name_nearest(const char *const *names, size_t n, const char *typed)
{
	const char *near = NULL;
	unsigned best = UINT_MAX, likeness;
	char lower[64];
	size_t len = 0;

	for (; typed[len] && len < sizeof(lower) - 1; len++)
		lower[len] = (char)tolower((unsigned char)typed[len]);
	lower[len] = '\0';
	for (size_t i = 0; i < n; i++) {
		likeness = text_likeness(lower, names[i]);
		if (likeness < best) {
			best = likeness;
			near = names[i];
		}
	}
	return near;
}

/* ---- What it is made of ---------------------------------------------------------------------------------------------- */

/* Where a quoted piece that begins at `at` ends (behind its quote), or the end of the text when it does not. */
static size_t skip_quoted(const char *where, size_t at)
{
	char close = where[at] == '[' ? ']' : where[at];

	for (at++; where[at] && where[at] != close; at++)
		;
	return where[at] ? at + 1 : at;
}

static size_t skip_word(const char *where, size_t at)
{
	while (isalnum((unsigned char)where[at]) || where[at] == '_' || (unsigned char)where[at] > 127)
		at++;
	return at;
}

static bool word_is(const char *where, size_t at, size_t end, const char *word)
{
	return end - at == strlen(word) && strncasecmp(where + at, word, end - at) == 0;
}

/* Where `word` stands in the expression outside of strings; its end when it does not. */
static size_t find_word(const char *where, const char *word)
{
	size_t at = 0, end;

	for (; where[at]; at = end) {
		end = skip_word(where, at);
		if (end == at)
			end = where[at] == '\'' ? skip_quoted(where, at) : at + 1;
		else if (word_is(where, at, end, word))
			break;
	}
	return at;
}

/* Byte `at` is character 1, 2, ... */
static size_t character(const char *where, size_t at)
{
	size_t n = 1;

	for (size_t i = 0; i < at && where[i]; i++)
		n += ((unsigned char)where[i + 1] & 0xc0) != 0x80;
	return n;
}

static int bad_where(error *err, const char *where, size_t at, const char *why)
{
	return error_set(err, ERR_ARG, "where '%.200s': character %zu: %s", where, character(where, at), why);
}

int where_check(const char *where, error *err)
{
	size_t depth = 0, open = 0, at = 0, end;
	char close;

	if (strlen(where) > WHERE_MAX)
		return error_set(err, ERR_LIMIT, "where: over %d characters", WHERE_MAX);
	for (; where[at]; at = end) {
		end = at + 1;
		if (strchr("'\"`[", where[at])) {
			close = where[at] == '[' ? ']' : where[at];
			end = skip_quoted(where, at);
			if (end - at < 2 || where[end - 1] != close)
				return bad_where(err, where, at, "this quote is not closed");
		} else if (where[at] == '(') {
			open = depth++ ? open : at;
		} else if (where[at] == ')' && depth-- == 0) {
			return bad_where(err, where, at, "no '(' goes with this ')'");
		} else if (strchr(";?@$:", where[at]) || strncmp(where + at, "--", 2) == 0 ||
		           strncmp(where + at, "/*", 2) == 0) {
			return bad_where(err, where, at, "an expression ends here");
		} else if (skip_word(where, at) > at) {
			end = skip_word(where, at);
			if (word_is(where, at, end, "select") || word_is(where, at, end, "with") ||
			    word_is(where, at, end, "values"))
				return bad_where(err, where, at,
				                 "queries within the expression are not allowed");
		}
	}
	return depth ? bad_where(err, where, open, "this '(' is not closed") : 0;
}

/* ---- What it may do ---------------------------------------------------------------------------------------------------- */

/* What the statement with the expression may do. Reads of tables come from features.sql alone: there SQLite names the
 * common table expression they are in. */
static int authorize_where(void *payload, int action, const char *first, const char *second,
                           const char *database, const char *inside)
{
	(void)payload;
	(void)first;
	(void)database;
	if (action == SQLITE_SELECT)
		return SQLITE_OK;
	if (action == SQLITE_READ)
		return inside || !second || !*second ? SQLITE_OK : SQLITE_DENY;
	if (action == SQLITE_FUNCTION && second)
		return inside || name_is_among(functions, ARRAY_LEN(functions), second) ? SQLITE_OK
		                                                                        : SQLITE_DENY;
	return SQLITE_DENY;
}

/* SQLite's complaint in our words. `name`: what it is about, behind the last ": "; "" for none. */
static void explain(char *out, size_t size, const char *why, const char *name, bool at_end)
{
	const char *near = NULL;

	if (strncmp(why, "no such column", 14) == 0)
		near = name_nearest(feature_columns, feature_n_names, name);
	else if (strncmp(why, "no such function", 16) == 0)
		near = name_nearest(functions, ARRAY_LEN(functions), name);
	if (near)
		snprintf(out, size, "%.100s; did you mean '%s'?", why, near);
	else if (strncmp(why, "not authorized to use function", 30) == 0)
		snprintf(out, size, "the function '%.100s' is not allowed here", name);
	else if (at_end && strstr(why, "syntax error"))
		snprintf(out, size, "the expression ends too early");
	else
		snprintf(out, size, "%.200s", why);
}

/* offset: of the place in the expression; over its length when SQLite did not tell. */
static int bad_expression(store *s, const char *where, size_t offset, error *err)
{
	const char *why = sqlite3_errmsg(s->db), *name = strrchr(why, ' ');
	size_t len = strlen(where);
	char words[256];

	name = name ? name + 1 : "";
	if (offset > len && *name && find_word(where, name) < len)
		offset = find_word(where, name);
	explain(words, sizeof(words), why, name, offset >= len);
	if (offset > len)
		return error_set(err, ERR_ARG, "where '%.200s': %s", where, words);
	return bad_where(err, where, offset, words);
}

int where_prepare(sqlite3_stmt **out, store *s, const char *sql, const char *where, size_t at, error *err)
{
	int code, offset, strings;
	size_t within;

	if (!where)
		return store_prepare(out, s, sql, err);
	/* "x" is a column, not a string where there is no such column */
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, -1, &strings);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_set_authorizer(s->db, authorize_where, NULL);
	code = sqlite3_prepare_v2(s->db, sql, -1, out, NULL);
	offset = sqlite3_error_offset(s->db);
	sqlite3_set_authorizer(s->db, NULL, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, strings, NULL);
	if (code == SQLITE_OK)
		return 0;
	if (code == SQLITE_NOMEM)
		return error_nomem(err, "a query");
	if (offset < 0 || (size_t)offset < at)
		return bad_expression(s, where, SIZE_MAX, err);
	/* what stands behind it in the statement is not the user's */
	within = (size_t)offset - at;
	return bad_expression(s, where, within < strlen(where) ? within : strlen(where), err);
}
