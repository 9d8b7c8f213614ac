/* See top_rows.h. */
#include "store/top_rows.h"

#include <stdlib.h>
#include <string.h>

static int compare_values(const top_value *a, const top_value *b)
{
	size_t shorter = a->len < b->len ? a->len : b->len;
	int c;

	if (a->kind != b->kind)
		return (int)a->kind - (int)b->kind;
	if (a->kind == TOP_NUMBER)
		return (a->number > b->number) - (a->number < b->number);
	if (a->kind == TOP_NULL)
		return 0;
	c = memcmp(a->chars, b->chars, shorter);
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static int compare_keys(const top_row *a, const top_row *b, const top_rows *t)
{
	for (size_t i = 0; i < t->n_keys; i++) {
		const top_value *x = &a->keys[i], *y = &b->keys[i];
		int c = compare_values(x, y);

		if (c)
			return t->descending[i] && x->kind != TOP_NULL && y->kind != TOP_NULL ? -c : c;
	}
	if (a->source != b->source)
		return a->source < b->source ? -1 : 1;
	return (a->feature > b->feature) - (a->feature < b->feature);
}

static int compare_rows(const top_row *a, const top_row *b, const top_rows *t)
{
	if (t->by_hash && a->hash != b->hash)
		return a->hash < b->hash ? -1 : 1;
	return compare_keys(a, b, t);
}

/* ---- The heap -------------------------------------------------------------------------------------------------------- */

static void swap_rows(top_row *a, top_row *b)
{
	top_row kept = *a;

	*a = *b;
	*b = kept;
}

static void sift_up(top_rows *t, size_t at)
{
	for (; at > 0 && compare_rows(&t->rows[(at - 1) / 2], &t->rows[at], t) < 0; at = (at - 1) / 2)
		swap_rows(&t->rows[(at - 1) / 2], &t->rows[at]);
}

static void sift_down(top_rows *t, size_t at)
{
	for (size_t child; (child = 2 * at + 1) < t->n; at = child) {
		if (child + 1 < t->n && compare_rows(&t->rows[child], &t->rows[child + 1], t) < 0)
			child++;
		if (compare_rows(&t->rows[at], &t->rows[child], t) >= 0)
			return;
		swap_rows(&t->rows[at], &t->rows[child]);
	}
}

/* ---- Rows ------------------------------------------------------------------------------------------------------------ */

static void free_keys(top_row *row, size_t n_keys)
{
	for (size_t i = 0; i < n_keys && row->keys; i++)
		free(row->keys[i].chars);
	free(row->keys);
	row->keys = NULL;
}

/* The keys of a row of `st`; text still belongs to it. False: no memory. */
static bool read_keys(top_value *keys, size_t n, sqlite3_stmt *st, int first)
{
	for (size_t i = 0; i < n; i++) {
		int column = first + (int)i, type = sqlite3_column_type(st, column);

		keys[i] = (top_value){ .kind = type == SQLITE_NULL   ? TOP_NULL
			                       : type == SQLITE_TEXT ? TOP_TEXT
			                                             : TOP_NUMBER };
		if (keys[i].kind == TOP_NUMBER) {
			keys[i].number = sqlite3_column_double(st, column);
		} else if (keys[i].kind == TOP_TEXT) {
			keys[i].chars = (char *)sqlite3_column_text(st, column);
			keys[i].len = (size_t)sqlite3_column_bytes(st, column);
			if (!keys[i].chars)
				return false;
		}
	}
	return true;
}

/* Make the row own its keys. */
static int own_keys(top_row *row, size_t n)
{
	top_value *keys = calloc(n + 1, sizeof(*keys));

	if (!keys)
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++) {
		keys[i] = row->keys[i];
		if (keys[i].kind != TOP_TEXT)
			continue;
		keys[i].chars = malloc(keys[i].len + 1);
		if (!keys[i].chars) {
			free_keys(&(top_row){ .keys = keys }, i);
			return ERR_NOMEM;
		}
		memcpy(keys[i].chars, row->keys[i].chars, keys[i].len);
	}
	row->keys = keys;
	return 0;
}

int top_rows_offer(top_rows *t, const top_row *row, sqlite3_stmt *st, int first, error *err)
{
	top_value keys[TOP_ROWS_MAX_KEYS];
	top_row offered = *row;

	if (t->want == 0)
		return 0;
	if (!read_keys(keys, t->n_keys, st, first))
		return error_nomem(err, "the rows of a list");
	offered.keys = keys;
	if (t->n >= t->want && compare_rows(&offered, &t->rows[0], t) >= 0)
		return 0;
	if (own_keys(&offered, t->n_keys) < 0)
		return error_nomem(err, "the rows of a list");
	if (t->n >= t->want) {
		free_keys(&t->rows[0], t->n_keys);
		t->rows[0] = offered;
		sift_down(t, 0);
		return 0;
	}
	if (mem_grow(&t->rows, &t->cap, t->n + 1, sizeof(*t->rows)) < 0) {
		free_keys(&offered, t->n_keys);
		return error_nomem(err, "the rows of a list");
	}
	t->rows[t->n++] = offered;
	sift_up(t, t->n - 1);
	return 0;
}

static int by_keys(const void *a, const void *b, void *payload)
{
	return compare_keys(a, b, payload);
}

void top_rows_sort(top_rows *t)
{
	if (t->n > 1)
		qsort_r(t->rows, t->n, sizeof(*t->rows), by_keys, t);
}

void top_rows_clear(top_rows *t)
{
	for (size_t i = 0; i < t->n; i++)
		free_keys(&t->rows[i], t->n_keys);
	free(t->rows);
	t->rows = NULL;
	t->n = t->cap = 0;
}
