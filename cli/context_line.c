/* See context_line.h. */
#include <string.h>

#include "cli/context_line.h"
#include "cli/store_args.h"

#define ELLIPSIS "\xe2\x80\xa6"
#define LEVELS   6

/* A token as it will be shown. */
struct piece {
	const char *shown; /* made visible */
	size_t len, columns;
	double value;
};

struct pieces {
	struct piece *items;
	size_t n, peak;
	text bytes; /* what they point into */
};

/* How a firing token is marked where there are no colours. */
static int add_marked(text *out, const struct piece *p, bool peak)
{
	int rc = text_addf(out, "[[%.*s", (int)p->len, p->shown);

	if (!rc && peak)
		rc = text_addf(out, "=%.3g", p->value);
	return rc ? rc : text_adds(out, "]]");
}

/* Background from pale to strong, as 256-colour codes; the peak is bold too. */
static int add_colored(text *out, const struct piece *p, bool peak, double max)
{
	static const int backgrounds[LEVELS] = { 230, 229, 222, 215, 208, 202 };
	double share = max > 0 ? p->value / max : 1;
	int level = share >= 1 ? LEVELS - 1 : (int)(share * LEVELS);

	return text_addf(out, "\x1b[%s38;5;16;48;5;%dm%.*s\x1b[0m", peak ? "1;" : "", backgrounds[level],
	                 (int)p->len, p->shown);
}

static int add_piece(text *out, const struct pieces *all, size_t i, const context_style *style)
{
	const struct piece *p = &all->items[i];

	if (!(p->value > 0))
		return text_add(out, p->shown, p->len);
	return style->color ? add_colored(out, p, i == all->peak, style->max)
	                    : add_marked(out, p, i == all->peak);
}

/* Columns that the token takes with its marks. */
static size_t piece_columns(const struct pieces *all, size_t i, const context_style *style)
{
	const struct piece *p = &all->items[i];
	char value[32];

	if (style->color || !(p->value > 0))
		return p->columns;
	return p->columns + 4 +
	       (i == all->peak ? (size_t)snprintf(value, sizeof(value), "=%.3g", p->value) : 0);
}

static int pieces_init(struct pieces *all, const cJSON *tokens, size_t peak)
{
	size_t n = (size_t)cJSON_GetArraySize(tokens), i = 0, at = 0;
	const cJSON *token;
	const char *chars;

	*all = (struct pieces){ .items = calloc(n + 1, sizeof(*all->items)), .peak = peak };
	text_init(&all->bytes, (size_t)64 << 20);
	if (!all->items)
		return ERR_NOMEM;
	cJSON_ArrayForEach(token, tokens)
	{
		struct piece *p = &all->items[all->n++];
		int rc;

		chars = answer_string(token, "text");
		chars = chars ? chars : "";
		p->value = answer_number(token, "value");
		/* A token that is the rest of a character has no text; where it fires it must be seen all the same. */
		if (!*chars && p->value > 0)
			chars = "\xc2\xb7";
		rc = text_add_visible(&all->bytes, chars, strlen(chars));
		if (rc)
			return rc;
		p->len = all->bytes.len - at;
		at = all->bytes.len;
	}
	for (at = 0; i < all->n; at += all->items[i++].len) { /* now that the bytes stay where they are */
		all->items[i].shown = all->bytes.data ? all->bytes.data + at : "";
		all->items[i].columns = text_columns(all->items[i].shown, all->items[i].len);
	}
	return 0;
}

/* Move *first and *end apart from the peak while the tokens fit into `left` columns before it and what is left of all behind. */
static size_t clip(const struct pieces *all, const context_style *style, size_t left, size_t *first,
                   size_t *end)
{
	size_t before = 0, behind = piece_columns(all, all->peak, style), columns;
	size_t right = style->columns > left + 2 ? style->columns - left - 2 : 0; /* room for both ellipses */

	*first = all->peak;
	*end = all->peak + 1;
	while (*first > 0 && before + (columns = piece_columns(all, *first - 1, style)) <= left) {
		before += columns;
		--*first;
	}
	while (*end < all->n && behind + (columns = piece_columns(all, *end, style)) <= right) {
		behind += columns;
		++*end;
	}
	return before;
}

int context_line_add(text *out, const cJSON *tokens, size_t peak, const context_style *style)
{
	size_t left = style->columns / 2, before, first = 0, end;
	struct pieces all;
	int rc = pieces_init(&all, tokens, peak);

	if (rc || peak >= all.n)
		goto out;
	end = all.n;
	if (!style->whole) {
		before = clip(&all, style, left, &first, &end);
		rc = text_addf(out, "%*s%s", (int)(left - before), "", first > 0 ? ELLIPSIS : " ");
	}
	for (size_t i = first; i < end && !rc; i++)
		rc = add_piece(out, &all, i, style);
	if (!rc && end < all.n)
		rc = text_adds(out, ELLIPSIS);
out:
	text_free(&all.bytes);
	free(all.items);
	return rc;
}

int snippet_add(text *out, const cJSON *snippet, bool color)
{
	const cJSON *part;
	int rc = 0;

	cJSON_ArrayForEach(part, snippet)
	{
		bool match = cJSON_IsTrue(cJSON_GetObjectItem(part, "match"));
		const char *chars = answer_string(part, "text");

		if (!rc && match)
			rc = text_adds(out, color ? "\x1b[1;38;5;16;48;5;222m" : "[[");
		if (!rc && chars)
			rc = text_add_visible(out, chars, strlen(chars));
		if (!rc && match)
			rc = text_adds(out, color ? "\x1b[0m" : "]]");
	}
	return rc;
}
