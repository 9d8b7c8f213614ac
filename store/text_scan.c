/* Reading texts for a query. See text_scan.h. */
#include "store/text_scan.h"

#define ELLIPSIS "\xe2\x80\xa6"

/* Mark the terms below `node`, but for what NOT excludes. */
static void mark_wanted(text_scan *t, uint32_t node)
{
	const text_node *it = &t->q->nodes[node];

	if (it->op == TEXT_TERM) {
		t->wanted[node] = true;
		return;
	}
	mark_wanted(t, it->left);
	if (it->op != TEXT_NOT)
		mark_wanted(t, it->right);
}

int text_scan_begin(text_scan *t, const text_query *q, error *err)
{
	int rc = 0;

	*t = (text_scan){ .q = q };
	if (q->beyond)
		return error_set(err, ERR_ARG,
		                 "words '%.200s': character %zu: NEAR, ^ and columns need words of three "
		                 "characters or more where a script has no spaces",
		                 q->words, q->beyond);
	t->terms = calloc(q->n + 1, sizeof(*t->terms));
	t->wanted = calloc(q->n + 1, sizeof(*t->wanted));
	t->counts = calloc(q->n + 1, sizeof(*t->counts));
	if (!t->terms || !t->wanted || !t->counts)
		return error_nomem(err, "words");
	for (size_t i = 0; i < q->n && rc == 0; i++)
		if (q->nodes[i].op == TEXT_TERM)
			rc = regex_init_text(&t->terms[i], q->nodes[i].term, err);
	mark_wanted(t, q->root);
	return rc;
}

void text_scan_end(text_scan *t)
{
	for (size_t i = 0; t->terms && i < t->q->n; i++)
		regex_clear(&t->terms[i]);
	free(t->terms);
	free(t->wanted);
	free(t->counts);
	*t = (text_scan){ 0 };
}

static bool holds(const text_scan *t, uint32_t node)
{
	const text_node *it = &t->q->nodes[node];

	switch (it->op) {
	case TEXT_AND:
		return holds(t, it->left) && holds(t, it->right);
	case TEXT_OR:
		return holds(t, it->left) || holds(t, it->right);
	case TEXT_NOT:
		return holds(t, it->left) && !holds(t, it->right);
	default:
		return t->counts[node] > 0;
	}
}

int text_scan_count(uint64_t *hits, text_scan *t, int64_t id, const char *chars, size_t len, error *err)
{
	context_row c = { .id = id, .text = chars, .text_len = len };
	bool checked = false, more;
	int rc = 0;

	*hits = 0;
	for (size_t i = 0; i < t->q->n && rc == 0; i++) {
		size_t begin, end;
		regex_walk w;

		t->counts[i] = 0;
		if (t->q->nodes[i].op != TEXT_TERM)
			continue;
		rc = regex_walk_begin(&w, &t->terms[i], &c, checked, err);
		while (rc == 0 && (rc = regex_walk_next(&more, &begin, &end, &w, err)) == 0 && more)
			t->counts[i]++;
		checked = true;
		*hits += t->wanted[i] ? t->counts[i] : 0;
	}
	if (rc == 0 && !holds(t, t->q->root))
		*hits = 0;
	return rc;
}

/* Set inside[i] for the bytes that wanted terms match. */
static int find_inside(bool *inside, text_scan *t, const context_row *c, error *err)
{
	int rc = 0;
	bool more;

	for (size_t i = 0; i < t->q->n && rc == 0; i++) {
		size_t begin, end;
		regex_walk w;

		if (!t->wanted[i])
			continue;
		rc = regex_walk_begin(&w, &t->terms[i], c, false, err);
		while (rc == 0 && (rc = regex_walk_next(&more, &begin, &end, &w, err)) == 0 && more)
			memset(inside + begin, 1, end - begin);
	}
	return rc;
}

int text_scan_mark(text *out, text_scan *t, int64_t id, const char *chars, size_t len, char begin, char end,
                   error *err)
{
	context_row c = { .id = id, .text = chars, .text_len = len };
	bool *inside = calloc(len + 2, sizeof(*inside));
	int rc = inside ? find_inside(inside, t, &c, err) : error_nomem(err, "found words");

	text_clear(out);
	for (size_t i = 0; i <= len && rc == 0; i++) {
		bool before = i > 0 && inside[i - 1];

		if (inside[i] != before)
			rc = text_add(out, inside[i] ? &begin : &end, 1);
		if (rc == 0 && i < len)
			rc = text_add(out, chars + i, 1);
		if (rc < 0)
			rc = error_set(err, rc, "cannot mark found words");
	}
	free(inside);
	return rc;
}

static bool begins_character(char c)
{
	return ((unsigned char)c & 0xc0) != 0x80;
}

int text_scan_snippet(text *out, const char *marked, char begin, char end, size_t most, error *err)
{
	const char mark[] = { begin, '\0' };
	size_t first = strcspn(marked, mark), last = first, n = 0;
	bool open = false;
	int rc;

	for (; first > 0 && n < most / 3; n += begins_character(marked[first]))
		first--;
	for (; marked[last] && (n < most || open || !begins_character(marked[last])); last++) {
		n += begins_character(marked[last]);
		open = marked[last] == begin || (open && marked[last] != end);
	}
	text_clear(out);
	rc = text_adds(out, first > 0 ? ELLIPSIS : "");
	rc = rc ? rc : text_add(out, marked + first, last - first);
	rc = rc ? rc : text_adds(out, marked[last] ? ELLIPSIS : "");
	return rc ? error_set(err, rc, "cannot build a snippet") : 0;
}
