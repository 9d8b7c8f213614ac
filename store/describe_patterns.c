/* Patterns that describe a feature: made from the best tokens and words, then counted as `find --regex` counts. */
#include "store/describe.h"

enum {
	MAX_CHOICES = 12, /* words of one pattern */
	MAX_TOKEN = 64    /* bytes */
};

/* Classes of characters that features are often about. */
static const char *const classes[] = {
	"\\d",
	"\\d+",
	"\\b\\p{Lu}",
	"\\b\\p{Lu}{2,}\\b",
	"\\b\\w",
	"\\B\\w",
	"\\n",
	"(?s)^(.)",
	",",
	"[.!?]",
	"\\p{P}",
	"[\"\\x{201c}\\x{201d}]",
	"\\p{Sc}",
	"[^\\x00-\\x7f]",
	"\\p{Han}",
	"[\\p{Hiragana}\\p{Katakana}]",
	"\\p{Cyrillic}",
	"\\p{Arabic}",
};

/* ---- Texts of tokens ----------------------------------------------------------------------------------------------------- */

int token_texts_init(token_texts *t, store *s, int64_t source, error *err)
{
	*t = (token_texts){ .s = s, .source = source };
	return store_prepare(
	        &t->row, s,
	        "SELECT v.text, v.bytes FROM vocab v JOIN source s ON s.tokenizer_id = v.tokenizer_id"
	        " WHERE s.id = ?1 AND v.token = ?2",
	        err);
}

int token_texts_get(const char **chars, bool *valid, token_texts *t, uint32_t token, arena *mem, error *err)
{
	char number[16];
	bool more;
	int rc;

	sqlite3_reset(t->row);
	rc = store_bind(t->s, t->row, err, "ii", t->source, (int64_t)token);
	if (rc == 0)
		rc = store_step(t->s, t->row, &more, err);
	if (rc < 0)
		return rc;
	*valid = true;
	if (!more) { /* as the text of a context has it where there is no tokenizer */
		snprintf(number, sizeof(number), " %u", token);
		*chars = arena_strdup(mem, number);
		return *chars ? 0 : error_nomem(err, "the text of a token");
	}
	rc = store_column_text(chars, t->row, 0, mem, err);
	if (rc == 0 && !*chars)
		*chars = "";
	if (rc == 0) {
		size_t n = (size_t)sqlite3_column_bytes(t->row, 1);

		*valid = strlen(*chars) == n &&
		         (n == 0 || memcmp(*chars, sqlite3_column_blob(t->row, 1), n) == 0);
	}
	return rc;
}

void token_texts_clear(token_texts *t)
{
	sqlite3_finalize(t->row);
	*t = (token_texts){ 0 };
}

/* ---- Making patterns ----------------------------------------------------------------------------------------------------- */

/* Characters that cannot be seen or that a shell's single quotes end. */
static bool needs_number(uint32_t cp)
{
	return cp < 0x20 || cp == '\'' || (cp >= 0x7f && cp <= 0xa0) || cp == 0xad || cp == 0x61c ||
	       (cp >= 0x2000 && cp <= 0x200f) || (cp >= 0x2028 && cp <= 0x202f) ||
	       (cp >= 0x2060 && cp <= 0x206f) || cp == 0x3000 || cp == 0xfeff;
}

/* Add a text so that the pattern matches just it. */
static int add_literal(text *out, const char *chars, size_t n)
{
	uint32_t cp = 0;
	int rc = 0;

	for (size_t at = 0, length; at < n && rc == 0; at += length) {
		length = utf8_next(chars + at, n - at, &cp);
		if (length == 0)
			return ERR_FORMAT;
		if (cp == '\n')
			rc = text_adds(out, "\\n");
		else if (cp == '\t')
			rc = text_adds(out, "\\t");
		else if (needs_number(cp))
			rc = text_addf(out, "\\x{%x}", cp);
		else if (cp < 0x80 && strchr("\\^$.[]|()?*+{}", (int)cp))
			rc = text_addf(out, "\\%c", (char)cp);
		else
			rc = text_add(out, chars + at, length);
	}
	return rc;
}

typedef struct maker {
	describe_patterns *out;
	const describe *d;
	token_texts texts;
	text made;
	error *err;
} maker;

/* Keep the pattern that lies in m->made, unless `rc` says that it could not be made: ERR_FORMAT is no failure then. */
static int keep(maker *m, int rc)
{
	describe_patterns *p = m->out;
	const char *source;

	if (rc == ERR_FORMAT || rc == ERR_LIMIT)
		return 0;
	if (rc < 0 || mem_grow(&p->at, &p->cap, p->n + 1, sizeof(*p->at)) < 0)
		return error_nomem(m->err, "a pattern");
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->at[i].source, m->made.data) == 0)
			return 0;
	source = arena_strdup(&p->mem, m->made.data);
	if (!source)
		return error_nomem(m->err, "a pattern");
	p->at[p->n] = (describe_pattern){ .source = source, .number = p->n };
	return regex_init(&p->at[p->n++].re, source, m->err);
}

/* The pattern `before` LITERAL `behind`. */
static int make(maker *m, const char *before, const char *chars, size_t n, const char *behind)
{
	int rc;

	text_clear(&m->made);
	rc = text_adds(&m->made, before);
	rc = rc ? rc : add_literal(&m->made, chars, n);
	rc = rc ? rc : text_adds(&m->made, behind);
	return keep(m, rc);
}

/* From a row about tokens: also with the end of a word behind. */
static int make_of_token(maker *m, const describe_row *row)
{
	static const char *const before[] = { "", "(?s)", NULL, "(?s)(.)(?=" };
	static const char *const behind[][2] = {
		{ "", "\\b" }, { "(.)", "\\b(.)" }, { "", "" }, { ")", "\\b)" }
	};
	const char *chars, *first = "";
	bool valid, first_valid = true;
	int rc = token_texts_get(&chars, &valid, &m->texts, row->token, &m->out->mem, m->err);

	if (rc == 0 && row->kind == DESCRIBE_PAIR)
		rc = token_texts_get(&first, &first_valid, &m->texts, row->before, &m->out->mem, m->err);
	if (rc < 0 || !valid || !first_valid || !*chars || strlen(chars) > MAX_TOKEN ||
	    strlen(first) > MAX_TOKEN)
		return rc;
	for (int end = 0; end < 2 && rc == 0; end++) {
		if (row->kind != DESCRIBE_PAIR) {
			rc = make(m, before[row->kind], chars, strlen(chars), behind[row->kind][end]);
			continue;
		}
		text_clear(&m->made);
		rc = add_literal(&m->made, first, strlen(first));
		rc = rc ? rc : text_adds(&m->made, "(");
		rc = rc ? rc : add_literal(&m->made, chars, strlen(chars));
		rc = keep(m, rc ? rc : text_adds(&m->made, end ? ")\\b" : ")"));
	}
	return rc;
}

static int make_of_word(maker *m, const describe_row *row)
{
	int rc;

	if (row->kind == DESCRIBE_PREFIX)
		return make(m, "\\b", row->text, row->length, "");
	if (row->kind == DESCRIBE_SUFFIX)
		return make(m, "", row->text, row->length, "\\b");
	if (row->at == 0) {
		rc = make(m, "\\b", row->text, row->length, "\\b");
		return rc ? rc : make(m, "(?i)\\b", row->text, row->length, "\\b");
	}
	text_clear(&m->made);
	rc = text_adds(&m->made, "\\b");
	rc = rc ? rc : add_literal(&m->made, row->text, row->at);
	rc = rc ? rc : text_adds(&m->made, "(");
	rc = rc ? rc : add_literal(&m->made, row->text + row->at, row->length - row->at);
	return keep(m, rc ? rc : text_adds(&m->made, ")\\b"));
}

static int make_of_rows(maker *m)
{
	static const size_t most[DESCRIBE_KINDS] = { 4, 2, 2, 2, 4, 3, 3 };
	int rc = 0;

	for (int kind = 0; kind < DESCRIBE_KINDS && rc == 0; kind++) {
		size_t first, end;

		describe_kind_rows(&first, &end, m->d, (describe_kind)kind);
		end = end - first > most[kind] ? first + most[kind] : end;
		for (size_t i = first; i < end && rc == 0; i++)
			rc = kind >= DESCRIBE_WORD ? make_of_word(m, &m->d->rows[i])
			                           : make_of_token(m, &m->d->rows[i]);
	}
	return rc;
}

static bool is_among(const describe_row *const *chosen, size_t n, const describe_row *row)
{
	for (size_t i = 0; i < n; i++)
		if (chosen[i]->length == row->length &&
		    strncasecmp(chosen[i]->text, row->text, row->length) == 0)
			return true;
	return false;
}

/* One of several words that begin in a token: each adds to the F1 of all. With (?i) in `before` no word twice. */
static int make_of_words(maker *m, const char *before)
{
	const describe_row *chosen[MAX_CHOICES];
	size_t first, end, n = 0;
	uint64_t hits = 0, of = 0;
	int rc;

	describe_kind_rows(&first, &end, m->d, DESCRIBE_WORD);
	text_clear(&m->made);
	rc = text_adds(&m->made, before);
	for (size_t i = first; i < end && n < MAX_CHOICES && rc == 0; i++) {
		const describe_row *row = &m->d->rows[i];

		if (row->at != 0 ||
		    describe_f1(m->d, hits + row->hits, of + row->of) <= describe_f1(m->d, hits, of))
			continue;
		if (strncmp(before, "(?i)", 4) == 0 && is_among(chosen, n, row))
			continue;
		hits += row->hits;
		of += row->of;
		rc = text_adds(&m->made, n ? "|" : "");
		rc = rc ? rc : add_literal(&m->made, row->text, row->length);
		chosen[n++] = row;
	}
	return n < 2 ? 0 : keep(m, rc ? rc : text_adds(&m->made, ")\\b"));
}

/* The same of the tokens before. */
static int make_of_previous(maker *m)
{
	size_t first, end, n = 0;
	uint64_t hits = 0, of = 0;
	const char *chars;
	bool valid;
	int rc;

	describe_kind_rows(&first, &end, m->d, DESCRIBE_PREVIOUS);
	text_clear(&m->made);
	rc = text_adds(&m->made, "(?s)(?:");
	for (size_t i = first; i < end && n < MAX_CHOICES && rc == 0; i++) {
		const describe_row *row = &m->d->rows[i];

		if (describe_f1(m->d, hits + row->hits, of + row->of) <= describe_f1(m->d, hits, of))
			continue;
		rc = token_texts_get(&chars, &valid, &m->texts, row->token, &m->out->mem, m->err);
		if (rc < 0)
			return rc;
		if (!valid || !*chars || strlen(chars) > MAX_TOKEN)
			continue;
		hits += row->hits;
		of += row->of;
		rc = text_adds(&m->made, n++ ? "|" : "");
		rc = rc ? rc : add_literal(&m->made, chars, strlen(chars));
	}
	return n < 2 ? 0 : keep(m, rc ? rc : text_adds(&m->made, ")(.)"));
}

static int make_all(maker *m)
{
	int rc = make_of_rows(m);

	if (rc == 0)
		rc = make_of_words(m, "\\b(?:");
	if (rc == 0)
		rc = make_of_words(m, "(?i)\\b(?:");
	if (rc == 0)
		rc = make_of_previous(m);
	for (size_t i = 0; i < ARRAY_LEN(classes) && rc == 0; i++) {
		text_clear(&m->made);
		rc = keep(m, text_adds(&m->made, classes[i]));
	}
	return rc;
}

/* ---- Counting -------------------------------------------------------------------------------------------------------------- */

static int count_context(describe_patterns *p, const firing_scan *scan, const unsigned char *fires,
                         bool *matched, error *err)
{
	const context_row *c = &scan->context;
	int rc = 0;

	for (size_t k = 0; k < p->n && rc == 0; k++) {
		memset(matched, 0, c->n_tokens * sizeof(*matched));
		rc = regex_mark(matched, &p->at[k].re, c, k > 0, err);
		for (uint32_t i = 0; i < c->n_tokens && rc == 0; i++) {
			if (!matched[i] || !bit_is_set(scan->counted, i))
				continue;
			p->at[k].of++;
			p->at[k].hits += bit_is_set(fires, i);
		}
	}
	return rc;
}

static int count(describe_patterns *p, const describe *d, error *err)
{
	firing_scan scan;
	bool *matched = NULL, more;
	size_t cap = 0, at = 0;
	int rc = firing_scan_begin(&scan, d->s, d->source, err);

	if (rc < 0)
		return rc;
	scan.lazy = true;
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		size_t bytes = (scan.context.n_tokens + 7) / 8;

		if (mem_grow(&matched, &cap, scan.context.n_tokens, sizeof(*matched)) < 0)
			rc = error_nomem(err, "matches");
		if (rc == 0)
			rc = count_context(p, &scan, d->marks.bits + at, matched, err);
		at += bytes;
	}
	firing_scan_end(&scan);
	free(matched);
	return rc;
}

static int best_first(const void *a, const void *b, void *payload)
{
	const describe_pattern *x = a, *y = b;
	double p = describe_f1(payload, x->hits, x->of), q = describe_f1(payload, y->hits, y->of);

	if (p != q)
		return p > q ? -1 : 1;
	if (x->hits != y->hits)
		return x->hits > y->hits ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

static void drop_equal(describe_patterns *p)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (p->at[i].hits == 0 ||
		    (kept && p->at[kept - 1].hits == p->at[i].hits && p->at[kept - 1].of == p->at[i].of))
			regex_clear(&p->at[i].re);
		else
			p->at[kept++] = p->at[i];
	}
	p->n = kept;
}

int describe_find_patterns(describe_patterns *p, const describe *d, error *err)
{
	maker m = { .out = p, .d = d, .err = err };
	int rc;

	*p = (describe_patterns){ 0 };
	if (d->fires == 0)
		return 0;
	text_init(&m.made, 2048);
	rc = token_texts_init(&m.texts, d->s, d->source, err);
	if (rc == 0)
		rc = make_all(&m);
	if (rc == 0)
		rc = count(p, d, err);
	if (rc == 0) {
		qsort_r(p->at, p->n, sizeof(*p->at), best_first, (void *)d);
		drop_equal(p);
	}
	token_texts_clear(&m.texts);
	text_free(&m.made);
	return rc;
}

void describe_patterns_clear(describe_patterns *p)
{
	for (size_t i = 0; i < p->n; i++)
		regex_clear(&p->at[i].re);
	free(p->at);
	arena_clear(&p->mem);
	*p = (describe_patterns){ 0 };
}
