/* Parsing queries for words. See text_query.h; the grammar is that of https://sqlite.org/fts5.html#full_text_query_syntax. */
#include "store/text_query.h"

#include <ctype.h>

enum { MAX_WORDS = 4096 /* bytes */, MAX_DEPTH = 64, MAX_TERMS = 256 };

typedef struct parser {
	text_query *q;
	size_t at; /* of `word`, in bytes */
	size_t next;
	char kind; /* of what is at `at`: 'w' a word, 's' a string, '\0' the end, else the character itself */
	text term; /* the word or string, without quotes */
	unsigned depth;
	error *err;
} parser;

/* Which character of the query byte `at` belongs to, from 1. */
static size_t character_of(const text_query *q, size_t at)
{
	size_t n = 1;

	for (size_t i = 0; i < at; i++)
		n += ((unsigned char)q->words[i + 1] & 0xc0) != 0x80;
	return n;
}

static int wrong(parser *p, const char *what)
{
	return error_set(p->err, ERR_ARG, "words '%.200s': character %zu: %s", p->q->words,
	                 character_of(p->q, p->at), what);
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == 0x1a || (unsigned char)c >= 0x80;
}

static int read_string(parser *p)
{
	const char *words = p->q->words;
	int rc = 0;

	for (p->next = p->at + 1; words[p->next] && rc == 0; p->next++) {
		if (words[p->next] == '"' && words[++p->next] != '"')
			return 0;
		rc = text_add(&p->term, words + p->next, 1);
	}
	return rc ? error_nomem(p->err, "words") : wrong(p, "this double quote has no second one");
}

/* Take the next word, string or sign. */
static int advance(parser *p)
{
	const char *words = p->q->words;

	p->at = p->next + strspn(words + p->next, " \t\r\n");
	p->kind = words[p->at];
	text_clear(&p->term);
	if (text_add(&p->term, "", 0) < 0)
		return error_nomem(p->err, "words");
	if (p->kind == '\0')
		return 0;
	if (p->kind == '"') {
		p->kind = 's';
		return read_string(p);
	}
	if (!in_word(p->kind)) {
		p->next = p->at + 1;
		return strchr("(){}:,+*-^", p->kind)
		               ? 0
		               : wrong(p, "this sign is no part of a word: put the words in double quotes");
	}
	p->kind = 'w';
	for (p->next = p->at; in_word(words[p->next]); p->next++)
		;
	return text_add(&p->term, words + p->at, p->next - p->at) < 0 ? error_nomem(p->err, "words") : 0;
}

static bool is_word(const parser *p, const char *word)
{
	return p->kind == 'w' && strcmp(p->term.data, word) == 0;
}

static bool is_operator(const parser *p)
{
	return is_word(p, "AND") || is_word(p, "OR") || is_word(p, "NOT");
}

/* What stands where a word is missing. */
static int missing(parser *p)
{
	if (p->kind == '\0')
		return wrong(p, "the query ends where a word should be");
	return wrong(p, is_operator(p) ? "an operator where a word should be: in double quotes it is a word"
	                               : "a word should be here");
}

static int add_node(uint32_t *out, parser *p, text_node node)
{
	text_query *q = p->q;

	if (q->n >= MAX_TERMS)
		return error_set(p->err, ERR_LIMIT, "words '%.200s': more than %d words", q->words,
		                 MAX_TERMS / 2);
	if (mem_grow(&q->nodes, &q->cap, q->n + 1, sizeof(*q->nodes)) < 0)
		return error_nomem(p->err, "words");
	q->nodes[q->n] = node;
	*out = (uint32_t)q->n++;
	return 0;
}

static int add_operator(uint32_t *out, parser *p, text_op op, uint32_t left, uint32_t right)
{
	return add_node(out, p, (text_node){ .op = op, .left = left, .right = right });
}

static void note_beyond(parser *p, size_t at)
{
	if (!p->q->beyond)
		p->q->beyond = character_of(p->q, at);
}

/* STRING [*] { + STRING [*] } */
static int parse_phrase(uint32_t *out, parser *p)
{
	text_node node = { .op = TEXT_TERM };
	text all;
	int rc = 0;

	if (p->kind == '^') {
		note_beyond(p, p->at);
		rc = advance(p);
	}
	text_init(&all, MAX_WORDS);
	node.at = character_of(p->q, p->at);
	for (;;) {
		if (rc == 0 && ((p->kind != 'w' && p->kind != 's') || is_operator(p)))
			rc = missing(p);
		if (rc == 0 && (text_adds(&all, all.len ? " " : "") < 0 ||
		                text_add(&all, p->term.data, p->term.len) < 0))
			rc = error_nomem(p->err, "words");
		rc = rc ? rc : advance(p);
		if (rc == 0 && p->kind == '*')
			rc = advance(p);
		if (rc < 0 || p->kind != '+')
			break;
		rc = advance(p);
	}
	if (rc == 0 && !(node.term = arena_memdupz(&p->q->mem, all.data, all.len)))
		rc = error_nomem(p->err, "words");
	for (size_t i = 0; i < all.len; i++)
		node.characters += ((unsigned char)all.data[i] & 0xc0) != 0x80;
	text_free(&all);
	return rc ? rc : add_node(out, p, node);
}

/* NEAR ( phrase... [, N] ), behind the bracket. */
static int parse_near(uint32_t *out, parser *p)
{
	uint32_t phrase;
	int rc = parse_phrase(out, p);

	while (rc == 0 && p->kind != ')' && p->kind != ',') {
		rc = parse_phrase(&phrase, p);
		if (rc == 0)
			rc = add_operator(out, p, TEXT_AND, *out, phrase);
	}
	if (rc == 0 && p->kind == ',') {
		rc = advance(p);
		if (rc == 0 && (p->kind != 'w' || strspn(p->term.data, "0123456789") != p->term.len))
			return wrong(p, "a number should be here");
		rc = rc ? rc : advance(p);
		if (rc == 0 && p->kind != ')')
			return wrong(p, "a closing bracket should be here");
	}
	return rc ? rc : advance(p);
}

/* Whether a column filter follows: what is read ends with a colon. */
static bool at_column(const parser *p)
{
	const char *words = p->q->words;

	if (p->kind == '-' || p->kind == '{')
		return true;
	return (p->kind == 'w' || p->kind == 's') &&
	       words[p->next + strspn(words + p->next, " \t\r\n")] == ':';
}

static int check_column(parser *p)
{
	if ((p->kind != 'w' && p->kind != 's') || strcasecmp(p->term.data, "text") != 0)
		return wrong(p, "there is one column, 'text', to ask");
	return advance(p);
}

/* [-] NAME : or [-] { NAME... } : */
static int parse_column(parser *p)
{
	int rc = 0;

	note_beyond(p, p->at);
	if (p->kind == '-') {
		const char *rest = p->q->words + p->at + 1;
		size_t name = strspn(rest, "{} \t\r\n\"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

		if (rest[name] != ':')
			return wrong(p, "this sign is no part of a word: put the words in double quotes");
		rc = advance(p);
	}
	if (rc == 0 && p->kind == '{') {
		rc = advance(p);
		while (rc == 0 && p->kind != '}')
			rc = check_column(p);
		rc = rc ? rc : advance(p);
	} else if (rc == 0) {
		rc = check_column(p);
	}
	if (rc == 0 && p->kind != ':')
		return wrong(p, "a colon should be here");
	return rc ? rc : advance(p);
}

static int parse_expression(uint32_t *out, parser *p);

static int parse_brackets(uint32_t *out, parser *p)
{
	size_t opened = p->at;
	int rc;

	if (++p->depth > MAX_DEPTH)
		return error_set(p->err, ERR_LIMIT, "words '%.200s': brackets nested over %d deep",
		                 p->q->words, MAX_DEPTH);
	rc = advance(p);
	rc = rc ? rc : parse_expression(out, p);
	if (rc == 0 && p->kind != ')') {
		p->at = p->kind ? p->at : opened;
		return wrong(p, p->kind ? "AND, OR or NOT should be here" : "this bracket is not closed");
	}
	p->depth--;
	return rc ? rc : advance(p);
}

/* A phrase, with a column filter before or as NEAR(...). */
static int parse_item(uint32_t *out, parser *p)
{
	size_t at = p->at;
	bool near;
	int rc = at_column(p) ? parse_column(p) : 0;

	if (rc < 0)
		return rc;
	near = is_word(p, "NEAR") && p->q->words[p->next + strspn(p->q->words + p->next, " \t\r\n")] == '(';
	if (!near)
		return parse_phrase(out, p);
	note_beyond(p, at);
	rc = advance(p);
	rc = rc ? rc : advance(p);
	return rc ? rc : parse_near(out, p);
}

/* Brackets, or items one behind the other, all of which must be there. */
static int parse_list(uint32_t *out, parser *p)
{
	uint32_t item;
	int rc;

	if (p->kind == '(')
		return parse_brackets(out, p);
	rc = parse_item(out, p);
	while (rc == 0 && p->kind && p->kind != ')' && !is_operator(p)) {
		if (p->kind == '(')
			return wrong(p, "AND, OR or NOT should be before this bracket");
		rc = parse_item(&item, p);
		if (rc == 0)
			rc = add_operator(out, p, TEXT_AND, *out, item);
	}
	return rc;
}

/* Operands joined by one operator, which binds less than those that `operand` reads. */
static int parse_chain(uint32_t *out, parser *p, text_op op, const char *word,
                       int (*operand)(uint32_t *out, parser *p))
{
	uint32_t right;
	int rc = operand(out, p);

	while (rc == 0 && is_word(p, word)) {
		rc = advance(p);
		rc = rc ? rc : operand(&right, p);
		rc = rc ? rc : add_operator(out, p, op, *out, right);
	}
	return rc;
}

static int parse_nots(uint32_t *out, parser *p)
{
	return parse_chain(out, p, TEXT_NOT, "NOT", parse_list);
}

static int parse_ands(uint32_t *out, parser *p)
{
	return parse_chain(out, p, TEXT_AND, "AND", parse_nots);
}

static int parse_expression(uint32_t *out, parser *p)
{
	return parse_chain(out, p, TEXT_OR, "OR", parse_ands);
}

int text_query_parse(text_query *q, const char *words, error *err)
{
	parser p = { .q = q, .err = err };
	int rc;

	*q = (text_query){ .words = words };
	if (words[strspn(words, " \t\r\n")] == '\0')
		return error_set(err, ERR_ARG, "there are no words to look for");
	if (strlen(words) > MAX_WORDS)
		return error_set(err, ERR_LIMIT, "the query for words is over %d bytes", MAX_WORDS);
	for (size_t at = 0, n, length = strlen(words); at < length; at += n) {
		uint32_t cp;

		n = utf8_next(words + at, length - at, &cp);
		p.at = at;
		if (n == 0)
			return wrong(&p, "this is not UTF-8");
	}
	text_init(&p.term, MAX_WORDS);
	rc = advance(&p);
	rc = rc ? rc : parse_expression(&q->root, &p);
	if (rc == 0 && p.kind == ')')
		rc = wrong(&p, "this bracket closes nothing");
	else if (rc == 0 && p.kind)
		rc = wrong(&p, "AND, OR or NOT should be here");
	text_free(&p.term);
	return rc;
}

void text_query_clear(text_query *q)
{
	free(q->nodes);
	arena_clear(&q->mem);
	*q = (text_query){ 0 };
}

size_t text_query_shortest(const text_query *q)
{
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < q->n; i++)
		if (q->nodes[i].op == TEXT_TERM && q->nodes[i].characters < least)
			least = q->nodes[i].characters;
	return least;
}
