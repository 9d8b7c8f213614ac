/* The lexical explainer and judge: no network, no model, and the baseline that an LLM's label has to beat.
 *
 * An atom is one lexical property of a token in its window (its word is "cat"; the token before is "the"). A rule is a few
 * atoms joined by "or". The explainer counts atoms at the peaks of firing windows and anywhere in silent ones, takes the one
 * with the highest log-odds, and adds others while they cover firing windows that are not covered yet. */
#include "explain/explain.h"

#include <math.h>

/* In order of preference where counts tie. */
typedef enum atom_kind {
	ATOM_WORD,
	ATOM_PHRASE,
	ATOM_SUFFIX,
	ATOM_PREFIX,
	ATOM_TOKEN,
	ATOM_AFTER,
	ATOM_BEFORE,
	ATOM_CLASS,
	ATOM_KINDS
} atom_kind;

static const struct {
	const char *name;   /* in the rule's JSON */
	const char *phrase; /* in the label, before the quoted text */
} kinds[ATOM_KINDS] = {
	[ATOM_WORD] = { "word", "the word " },
	[ATOM_TOKEN] = { "token", "the token " },
	[ATOM_PHRASE] = { "phrase", "the phrase " },
	[ATOM_SUFFIX] = { "suffix", "words ending in " },
	[ATOM_PREFIX] = { "prefix", "words beginning with " },
	[ATOM_AFTER] = { "after", "right after " },
	[ATOM_BEFORE] = { "before", "right before " },
	[ATOM_CLASS] = { "class", "" },
};

typedef struct atom {
	atom_kind kind;
	uint32_t len;
	const char *text; /* lower case, but for ATOM_TOKEN (exact) and ATOM_CLASS (a phrase) */
} atom;

enum { MAX_ATOMS = 5, MAX_SUFFIX = 4, MAX_PREFIX = 5, MIN_COVER = 2 };
static const double min_gain = 0.05; /* in true positive rate minus false positive rate, for a further atom */

/* ---- A window as words ---- */

typedef struct words {
	const store_window *window;
	char *text;      /* the tokens joined, lower case in ASCII */
	bool *in_word;   /* (bytes of text + 1) the byte belongs to a word; false at the end */
	uint32_t *start; /* (length + 1) byte offsets of the tokens in text */
	uint32_t *
	        from; /* (length) the word that the token touches: text[from, to); empty when it touches none */
	uint32_t *to;
} words;

static bool is_word_byte(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80 ||
	       c == '\'';
}

static bool is_letter(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

static bool is_space(unsigned char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Word bytes are ASCII letters, digits and the apostrophe, and every other character but Latin-1 signs (U+0080 to U+00BF, the
 * no-break space among them), general punctuation and symbols (U+2000 to U+2BFF), CJK punctuation and U+FFFD. */
static void mark_words(words *w, size_t n)
{
	size_t len;

	for (size_t i = 0; i < n; i += len) {
		uint32_t c = 0;
		bool in;

		len = utf8_next(w->text + i, n - i, &c);
		in = len && (c < 0x80 ? is_word_byte((unsigned char)c)
		                      : c >= 0xc0 && !(c >= 0x2000 && c <= 0x2bff) &&
		                                !(c >= 0x3000 && c <= 0x303f) && c != 0xfffd);
		len = len ? len : 1;
		memset(w->in_word + i, in, len);
	}
}

static int words_read(words *w, const store_window *window, arena *mem, error *err)
{
	uint32_t total = 0, n = window->length;

	for (uint32_t i = 0; i < n; i++)
		total += (uint32_t)strlen(window->text[i]);
	w->window = window;
	w->text = arena_alloc(mem, total + 1, 1);
	w->in_word = arena_alloc(mem, total + 1, sizeof(*w->in_word));
	w->start = arena_alloc(mem, n + 1, sizeof(*w->start));
	w->from = arena_alloc(mem, n + 1, sizeof(*w->from));
	w->to = arena_alloc(mem, n + 1, sizeof(*w->to));
	if (!w->text || !w->in_word || !w->start || !w->from || !w->to)
		return error_nomem(err, "the words of a window");
	total = 0;
	for (uint32_t i = 0; i < n; i++) {
		w->start[i] = total;
		for (const char *p = window->text[i]; *p; p++)
			w->text[total++] = lower(*p);
	}
	w->start[n] = total;
	mark_words(w, total);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t from = w->start[i], to;

		while (from < w->start[i + 1] && !w->in_word[from])
			from++;
		to = from;
		if (from < w->start[i + 1]) {
			while (from > 0 && w->in_word[from - 1])
				from--;
			while (to < total && w->in_word[to])
				to++;
		}
		w->from[i] = from;
		w->to[i] = to;
	}
	return 0;
}

/* ---- The atoms of a token ---- */

typedef int (*atom_fn)(void *payload, const atom *a); /* non-zero ends the enumeration and is returned */

static int emit(atom_fn fn, void *payload, atom_kind kind, const char *from, uint32_t len)
{
	atom a = { kind, len, from };

	return len ? fn(payload, &a) : 0;
}

/* Token i without the white space around it; a token of white space alone is kept whole. */
static int emit_trimmed(atom_fn fn, void *payload, atom_kind kind, const words *w, uint32_t i)
{
	uint32_t from = w->start[i], to = w->start[i + 1];

	while (from < to && is_space((unsigned char)w->text[from]))
		from++;
	while (to > from && is_space((unsigned char)w->text[to - 1]))
		to--;
	if (from == to) {
		from = w->start[i];
		to = w->start[i + 1];
	}
	return emit(fn, payload, kind, w->text + from, to - from);
}

static int emit_endings(atom_fn fn, void *payload, const char *word, uint32_t len)
{
	int rc = 0;

	for (uint32_t n = 2; n <= MAX_PREFIX && n < len && !rc; n++) {
		const char *suffix = word + len - n;

		if (n <= MAX_SUFFIX && is_letter((unsigned char)suffix[0]) && (suffix[0] & 0xc0) != 0x80)
			rc = emit(fn, payload, ATOM_SUFFIX, suffix, n);
		if (!rc && (word[n] & 0xc0) != 0x80)
			rc = emit(fn, payload, ATOM_PREFIX, word, n);
	}
	return rc;
}

static const char *class_of(const words *w, uint32_t i)
{
	const char *token = w->window->text[i];
	size_t letters = 0, upper = 0, digits = 0, marks = 0, n = 0;

	if (i > 0 && strchr(w->window->text[i - 1], '\n') && !strchr(token, '\n'))
		return "the start of a line";
	for (const char *p = token; *p; p++) {
		if (is_space((unsigned char)*p))
			continue;
		n++;
		letters += is_letter((unsigned char)*p);
		upper += *p >= 'A' && *p <= 'Z';
		digits += *p >= '0' && *p <= '9';
		marks += !is_word_byte((unsigned char)*p);
	}
	if (n == 0)
		return strchr(token, '\n') ? "line breaks" : "white space";
	if (digits == n)
		return "numbers";
	if (marks == n)
		return "punctuation";
	if (letters == n && upper == n && n >= 2)
		return "words in capitals";
	if (letters == n && upper == 1 && token[strspn(token, " ")] >= 'A' &&
	    token[strspn(token, " ")] <= 'Z')
		return "capitalised words";
	return NULL;
}

static int emit_phrase(atom_fn fn, void *payload, const words *w, uint32_t i)
{
	uint32_t gap = w->from[i], from;

	while (gap > 0 && is_space((unsigned char)w->text[gap - 1]))
		gap--;
	from = gap;
	while (from > 0 && w->in_word[from - 1])
		from--;
	if (from == gap || gap == w->from[i])
		return 0;
	return emit(fn, payload, ATOM_PHRASE, w->text + from, w->to[i] - from);
}

/* Every atom of token i, each once. */
static int atoms_of(const words *w, uint32_t i, atom_fn fn, void *payload)
{
	const char *exact = w->window->text[i], *class = class_of(w, i);
	uint32_t len = w->to[i] - w->from[i];
	int rc = emit(fn, payload, ATOM_TOKEN, exact, (uint32_t)strlen(exact));

	if (!rc && len) {
		rc = emit(fn, payload, ATOM_WORD, w->text + w->from[i], len);
		if (!rc)
			rc = emit_endings(fn, payload, w->text + w->from[i], len);
		if (!rc)
			rc = emit_phrase(fn, payload, w, i);
	}
	if (!rc && i > 0)
		rc = emit_trimmed(fn, payload, ATOM_AFTER, w, i - 1);
	if (!rc && i + 1 < w->window->length)
		rc = emit_trimmed(fn, payload, ATOM_BEFORE, w, i + 1);
	if (!rc && class)
		rc = emit(fn, payload, ATOM_CLASS, class, (uint32_t)strlen(class));
	return rc;
}

/* ---- The explainer ---- */

typedef struct candidate {
	atom atom;
	uint8_t *firing; /* (n_firing) 1: holds at that window's peak */
	uint8_t *silent; /* (n_silent) 1: holds somewhere in that window */
	uint32_t n_silent;
} candidate;

typedef struct search {
	const store_window *firing, *silent;
	size_t n_firing, n_silent;
	arena mem;
	atom *found; /* while collecting */
	size_t n_found, cap_found;
	candidate *c; /* sorted by atom_compare, distinct */
	size_t n;
	size_t window;    /* being counted */
	uint8_t *covered; /* (n_firing) by the atoms chosen so far */
	error *err;
} search;

static int atom_compare(const void *pa, const void *pb)
{
	const atom *a = pa, *b = pb;
	int order;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);
	if (order)
		return order;
	return a->len < b->len ? -1 : a->len > b->len;
}

static int collect(void *payload, const atom *a)
{
	search *s = payload;

	if (mem_grow(&s->found, &s->cap_found, s->n_found + 1, sizeof(*s->found)))
		return error_nomem(s->err, "the words of a feature");
	s->found[s->n_found++] = *a;
	return 0;
}

static candidate *find(const search *s, const atom *a)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = atom_compare(a, &s->c[mid].atom);

		if (order == 0)
			return &s->c[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static int mark_firing(void *payload, const atom *a)
{
	search *s = payload;

	find(s, a)->firing[s->window] = 1;
	return 0;
}

static int mark_silent(void *payload, const atom *a)
{
	search *s = payload;
	candidate *c = find(s, a);

	if (c && !c->silent[s->window]) {
		c->silent[s->window] = 1;
		c->n_silent++;
	}
	return 0;
}

/* The distinct atoms found become candidates with empty marks. */
static int make_candidates(search *s)
{
	qsort(s->found, s->n_found, sizeof(*s->found), atom_compare);
	s->c = arena_alloc(&s->mem, s->n_found + 1, sizeof(*s->c));
	if (!s->c)
		return error_nomem(s->err, "the words of a feature");
	for (size_t i = 0; i < s->n_found; i++) {
		candidate *c = &s->c[s->n];

		if (s->n && atom_compare(&s->found[i], &s->c[s->n - 1].atom) == 0)
			continue;
		c->atom = s->found[i];
		c->firing = arena_alloc(&s->mem, s->n_firing, 1);
		c->silent = arena_alloc(&s->mem, s->n_silent + 1, 1);
		if (!c->firing || !c->silent)
			return error_nomem(s->err, "the words of a feature");
		s->n++;
	}
	return 0;
}

static int count(search *s)
{
	words *w = arena_alloc(&s->mem, s->n_firing, sizeof(*w)), one;
	int rc = 0;

	s->covered = arena_alloc(&s->mem, s->n_firing, 1);
	if (!w || !s->covered)
		return error_nomem(s->err, "the windows of a feature");
	for (size_t i = 0; i < s->n_firing && !rc; i++) {
		rc = words_read(&w[i], &s->firing[i], &s->mem, s->err);
		if (!rc)
			rc = atoms_of(&w[i], s->firing[i].peak, collect, s);
	}
	if (!rc)
		rc = make_candidates(s);
	for (s->window = 0; s->window < s->n_firing && !rc; s->window++)
		rc = atoms_of(&w[s->window], s->firing[s->window].peak, mark_firing, s);
	for (s->window = 0; s->window < s->n_silent && !rc; s->window++) {
		rc = words_read(&one, &s->silent[s->window], &s->mem, s->err);
		for (uint32_t t = 0; t < s->silent[s->window].length && !rc; t++)
			rc = atoms_of(&one, t, mark_silent, s);
	}
	return rc;
}

static size_t newly_covered(const search *s, const candidate *c)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_firing; i++)
		n += c->firing[i] && !s->covered[i];
	return n;
}

static double log_odds(size_t hits, size_t n)
{
	return log(((double)hits + 0.5) / ((double)(n - hits) + 0.5));
}

/* The candidate with the highest log-odds among windows not covered yet; by preference of kind, then the longer text, then
 * the order of the alphabet where odds are equal. */
static const candidate *best_candidate(const search *s)
{
	const candidate *best = NULL;
	double best_odds = 0;
	size_t left = 0;

	for (size_t i = 0; i < s->n_firing; i++)
		left += !s->covered[i];
	for (size_t i = 0; i < s->n; i++) {
		const candidate *c = &s->c[i];
		size_t hits = newly_covered(s, c);
		double odds = log_odds(hits, left) - log_odds(c->n_silent, s->n_silent);

		if (hits == 0)
			continue;
		if (!best || odds > best_odds ||
		    (odds == best_odds && c->atom.kind == best->atom.kind && c->atom.len > best->atom.len)) {
			best = c;
			best_odds = odds;
		}
	}
	return best;
}

static int describe(text *label, cJSON *any, const atom *a)
{
	char *plain = NULL;
	cJSON *item = cJSON_CreateObject();
	int rc = ERR_NOMEM;

	if (!item || !cJSON_AddItemToArray(any, item)) {
		cJSON_Delete(item);
		return ERR_NOMEM;
	}
	plain = calloc(a->len + 1, 1);
	if (!plain)
		return ERR_NOMEM;
	memcpy(plain, a->text, a->len);
	if (cJSON_AddStringToObject(item, "kind", kinds[a->kind].name) &&
	    cJSON_AddStringToObject(item, "text", plain)) {
		rc = label->len ? text_adds(label, " or ") : 0;
		if (!rc)
			rc = text_adds(label, kinds[a->kind].phrase);
		if (!rc && a->kind != ATOM_CLASS)
			rc = text_adds(label, "\"");
		if (!rc)
			rc = text_add_visible(label, a->text, a->len);
		if (!rc && a->kind != ATOM_CLASS)
			rc = text_adds(label, "\"");
	}
	free(plain);
	return rc;
}

/* Choose atoms and write them as a phrase and as JSON. */
static int choose(search *s, text *label, cJSON *any)
{
	for (int n = 0; n < MAX_ATOMS; n++) {
		const candidate *c = best_candidate(s);
		size_t hits = c ? newly_covered(s, c) : 0;
		double gain;
		int rc;

		if (!c)
			return 0;
		gain = (double)hits / (double)s->n_firing;
		if (s->n_silent)
			gain -= (double)c->n_silent / (double)s->n_silent;
		if (n > 0 && (hits < MIN_COVER || gain < min_gain))
			return 0;
		rc = describe(label, any, &c->atom);
		if (rc < 0)
			return error_nomem(s->err, "a label");
		for (size_t i = 0; i < s->n_firing; i++)
			s->covered[i] |= c->firing[i];
	}
	return 0;
}

int explain_lexical_label(char **label_out, char **json_out, const store_window *firing, size_t n_firing,
                          const store_window *silent, size_t n_silent, error *err)
{
	search s = {
		.firing = firing, .silent = silent, .n_firing = n_firing, .n_silent = n_silent, .err = err
	};
	cJSON *rule = NULL, *any;
	char *json = NULL;
	text label;
	int rc;

	text_init(&label, 4096);
	if (n_firing == 0)
		return error_set(err, ERR_NOTFOUND, "no firing windows to find a rule in");
	rc = count(&s);
	if (rc < 0)
		goto out;
	rule = cJSON_CreateObject();
	any = cJSON_AddArrayToObject(rule, "any");
	rc = any ? choose(&s, &label, any) : error_nomem(err, "a rule");
	if (rc < 0)
		goto out;
	json = json_print(rule);
	if (!json || (!label.len && text_adds(&label, "no rule found"))) {
		rc = error_nomem(err, "a rule");
		goto out;
	}
	*label_out = label.data;
	*json_out = json;
	text_init(&label, 0);
	json = NULL;
out:
	free(json);
	cJSON_Delete(rule);
	text_free(&label);
	free(s.found);
	arena_clear(&s.mem);
	return rc;
}

/* ---- The judge ---- */

static int read_rule(atom atoms[MAX_ATOMS], size_t *n, const cJSON *rule, error *err)
{
	const cJSON *any = cJSON_GetObjectItemCaseSensitive(rule, "any"), *item;

	*n = 0;
	if (!cJSON_IsArray(any))
		return error_set(err, ERR_FORMAT, "a lexical rule without its list 'any'");
	cJSON_ArrayForEach(item, any)
	{
		const char *kind = NULL, *wanted = NULL;
		int rc = json_get_string(&kind, item, "kind", "a lexical rule", err);
		size_t k = 0;

		if (!rc)
			rc = json_get_string(&wanted, item, "text", "a lexical rule", err);
		if (rc < 0)
			return rc;
		while (k < ATOM_KINDS && (!kind || strcmp(kind, kinds[k].name) != 0))
			k++;
		if (k == ATOM_KINDS || !wanted || *n == MAX_ATOMS)
			return error_set(err, ERR_FORMAT,
			                 "a lexical rule with an atom of unknown kind, without text, or with "
			                 "more than %d atoms",
			                 MAX_ATOMS);
		atoms[(*n)++] = (atom){ (atom_kind)k, (uint32_t)strlen(wanted), wanted };
	}
	return 0;
}

typedef struct matcher {
	atom atoms[MAX_ATOMS];
	size_t n;
} matcher;

static int matches(void *payload, const atom *a)
{
	const matcher *m = payload;

	for (size_t i = 0; i < m->n; i++)
		if (atom_compare(a, &m->atoms[i]) == 0)
			return 1;
	return 0;
}

/* mark NULL: it must hold at one token at least; else at all that are marked. */
static int judge(bool *holds, const char *rule_json, const store_window *window, const uint8_t *mark,
                 error *err)
{
	arena mem = ARENA_INIT;
	cJSON *rule = NULL;
	matcher m;
	words w;
	int rc = json_parse(&rule, rule_json, strlen(rule_json), 65536, 8, "a lexical rule", err);

	if (rc < 0)
		return rc;
	rc = read_rule(m.atoms, &m.n, rule, err);
	if (!rc)
		rc = words_read(&w, window, &mem, err);
	if (rc < 0)
		goto out;
	*holds = mark != NULL;
	for (uint32_t i = 0; i < window->length && *holds == (mark != NULL); i++)
		if (!mark || mark[i])
			*holds = atoms_of(&w, i, matches, &m) != 0;
out:
	arena_clear(&mem);
	cJSON_Delete(rule);
	return rc;
}

int explain_lexical_judge(bool *holds, const char *rule_json, const store_window *window, error *err)
{
	return judge(holds, rule_json, window, NULL, err);
}

int explain_lexical_judge_marked(bool *holds, const char *rule_json, const store_window *window,
                                 const uint8_t *mark, error *err)
{
	return judge(holds, rule_json, window, mark, err);
}
