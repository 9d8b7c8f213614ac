/* See probe_labels.h. */
#include "cli/probe_labels.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/input_lines.h"

/* ---- Classes ----------------------------------------------------------------------------------------------------------- */

/* The class of this name, in the order of the bytes of names; a new one moves those behind it, so classes are numbers of
 * first appearance, `order` sorts them. */
typedef struct naming {
	probe_labels *l;
	uint32_t *order; /* (n_classes) by name */
	size_t room, order_room;
} naming;

static int class_of(uint32_t *out, naming *n, const char *name, error *err)
{
	probe_labels *l = n->l;
	uint32_t low = 0, high = l->n_classes;
	char *copy;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		int side = strcmp(name, l->names[n->order[middle]]);

		if (side == 0) {
			*out = n->order[middle];
			return 0;
		}
		if (side < 0)
			high = middle;
		else
			low = middle + 1;
	}
	if (l->n_classes == PROBE_MAX_CLASSES)
		return error_set(err, ERR_FORMAT, "there are over %d classes", PROBE_MAX_CLASSES);
	copy = arena_strdup(&l->mem, name);
	if (!copy || mem_grow(&l->names, &n->room, l->n_classes + 1, sizeof(*l->names)) < 0 ||
	    mem_grow(&n->order, &n->order_room, l->n_classes + 1, sizeof(*n->order)) < 0)
		return error_nomem(err, "classes");
	memmove(n->order + low + 1, n->order + low, (l->n_classes - low) * sizeof(*n->order));
	n->order[low] = l->n_classes;
	l->names[l->n_classes] = copy;
	*out = l->n_classes++;
	return 0;
}

static bool number_of(double *out, const char *name)
{
	char *end;

	errno = 0;
	*out = strtod(name, &end);
	return *name && !*end && !errno && isfinite(*out);
}

/* Renumber the classes in the order they are to be shown in. */
static int sort_classes(naming *n, error *err)
{
	probe_labels *l = n->l;
	const char **names = malloc(((size_t)l->n_classes + 1) * sizeof(*names));
	uint32_t *place = malloc(((size_t)l->n_classes + 1) * sizeof(*place));
	bool numbers = true;
	double value, before;

	if (!names || !place) {
		free(names);
		free(place);
		return error_nomem(err, "classes");
	}
	for (uint32_t i = 0; i < l->n_classes; i++)
		numbers = numbers && number_of(&value, l->names[i]);
	for (uint32_t i = 1; i < l->n_classes && numbers; i++) /* insertion: few, and stable */
		for (uint32_t j = i; j > 0; j--) {
			uint32_t swap = n->order[j];

			if (number_of(&value, l->names[swap]) &&
			    number_of(&before, l->names[n->order[j - 1]]) && value >= before)
				break;
			n->order[j] = n->order[j - 1];
			n->order[j - 1] = swap;
		}
	for (uint32_t i = 0; i < l->n_classes; i++) {
		names[i] = l->names[n->order[i]];
		place[n->order[i]] = i;
	}
	memcpy(l->names, names, l->n_classes * sizeof(*names));
	for (uint64_t i = 0; i < l->n; i++)
		l->of[i] = l->of[i] == SAE_NO_CLASS ? SAE_NO_CLASS : place[l->of[i]];
	free(names);
	free(place);
	return 0;
}

int probe_labels_find(uint32_t *out, const probe_labels *l, const char *name, error *err)
{
	text known;
	int rc;

	for (*out = 0; *out < l->n_classes; (*out)++)
		if (strcmp(l->names[*out], name) == 0)
			return 0;
	text_init(&known, 200);
	for (uint32_t i = 0; i < l->n_classes && i < 8; i++)
		if (text_addf(&known, "%s'%.40s'", i ? ", " : "", l->names[i]))
			break;
	rc = error_set(err, ERR_ARG, "no label is '%.60s'; there are %s%s", name,
	               known.data ? known.data : "none", l->n_classes > 8 ? ", ..." : "");
	text_free(&known);
	return rc;
}

/* ---- CSV --------------------------------------------------------------------------------------------------------------- */

static bool is_utf8(const char *s)
{
	size_t n = strlen(s), size;
	uint32_t cp;

	for (; n; s += size, n -= size) {
		size = utf8_next(s, n, &cp);
		if (!size)
			return false;
	}
	return true;
}

/* Field `want` of a line of CSV, unquoted in place: *out is NULL where there are fewer. *n_fields: how many there are; the line is
 * spoilt. ERR_FORMAT: a quote without end (or a field of several lines), or something behind one. */
static int take_field(char **out, size_t *n_fields, char *line, size_t want, error *err)
{
	bool more = true;
	*out = NULL;
	for (*n_fields = 0; more; (*n_fields)++) {
		char *from = line, *to = line, *begin = line;

		if (*from == '"') {
			for (from++; *from && (*from != '"' || from[1] == '"'); *to++ = *from++)
				from += *from == '"';
			if (!*from++)
				return error_set(err, ERR_FORMAT, "a quoted field does not end on its line");
			if (*from && *from != ',')
				return error_set(err, ERR_FORMAT, "text behind a quoted field");
		} else {
			from += strcspn(from, ",");
			to = from;
		}
		more = *from == ',';
		line = from + more;
		*to = '\0';
		if (*n_fields == want)
			*out = begin;
	}
	return 0;
}

/* The column's number, from the first line. */
static int find_column(size_t *out, const char *header, const char *column, error *err)
{
	size_t n = 1;

	for (*out = 0; *out < n; (*out)++) {
		char *copy = strdup(header), *name = NULL;
		int rc = copy ? take_field(&name, &n, copy, *out, err) : error_nomem(err, "a line");
		bool found = !rc && name && strcmp(name, column) == 0;

		free(copy);
		if (rc || found)
			return rc;
	}
	return error_set(err, ERR_FORMAT, "no column is called '%.100s'", column);
}

static int read_line(uint32_t *out, naming *n, char *line, size_t want, bool one_column, error *err)
{
	char *field = NULL;
	size_t n_fields = 0;
	int rc = is_utf8(line) ? take_field(&field, &n_fields, line, want, err)
	                       : error_set(err, ERR_FORMAT, "it is not UTF-8");

	*out = SAE_NO_CLASS;
	if (!rc && one_column && n_fields > 1)
		rc = error_set(err, ERR_FORMAT, "it has %zu fields: --column says which of them is the label",
		               n_fields);
	if (!rc && !field)
		rc = error_set(err, ERR_FORMAT, "it has %zu fields, the label is field %zu", n_fields,
		               want + 1);
	return rc || !*field ? rc : class_of(out, n, field, err);
}

static int read_csv(naming *n, const char *path, const char *column, error *err)
{
	probe_labels *l = n->l;
	input_lines in = { 0 };
	size_t want = 0, at = 0;
	error cause = { 0 };
	int rc = input_lines_read(&in, path, err);

	if (rc)
		goto out;
	l->of = calloc(in.n + 1, sizeof(*l->of));
	if (!l->of)
		rc = error_nomem(err, "labels");
	if (!rc && column && in.n)
		rc = find_column(&want, in.lines[at++], column, &cause);
	for (; !rc && at < in.n; at++)
		rc = read_line(&l->of[l->n++], n, in.lines[at], want, !column, &cause);
	if (rc && cause.code)
		rc = error_set(err, cause.code, "%s, line %zu: %.250s", in.name, at ? at : 1, cause.msg);
out:
	input_lines_clear(&in);
	return rc;
}

/* ---- .npy --------------------------------------------------------------------------------------------------------------- */

static int add_number(naming *n, uint64_t i, int64_t value, error *err)
{
	char name[32];

	snprintf(name, sizeof(name), "%" PRId64, value);
	return class_of(&n->l->of[i], n, name, err);
}

static bool is_float(sae_dtype t)
{
	return t == SAE_F16 || t == SAE_BF16 || t == SAE_F32 || t == SAE_F64;
}

static int read_elements(naming *n, const sae_file *f, const sae_tensor *t, const char *path, error *err)
{
	enum { BLOCK = 4096 };
	int64_t whole[BLOCK];
	float number[BLOCK];
	int rc = 0;

	for (uint64_t first = 0; first < t->count && !rc; first += BLOCK) {
		uint64_t size = t->count - first < BLOCK ? t->count - first : BLOCK;

		rc = is_float(t->dtype) ? sae_file_read_f32(f, t, first, size, number, err)
		                        : sae_file_read_i64(f, t, first, size, whole, err);
		for (uint64_t i = 0; i < size && !rc; i++) {
			if (is_float(t->dtype) &&
			    !(fabsf(number[i]) < 1e9f && number[i] == truncf(number[i])))
				return error_set(err, ERR_FORMAT,
				                 "'%s', element %" PRIu64
				                 ": %g is not a class: whole numbers are",
				                 path, first + i, (double)number[i]);
			if (is_float(t->dtype))
				whole[i] = (int64_t)number[i];
			rc = add_number(n, first + i, whole[i], err);
		}
	}
	return rc;
}

static int read_npy(naming *n, const char *path, error *err)
{
	sae_file *f = NULL;
	const sae_tensor *t;
	int rc = sae_file_open(&f, path, err);

	if (rc)
		return rc;
	t = sae_file_tensor_at(f, 0);
	if (sae_file_n_tensors(f) != 1 || t->n_dims != 1)
		rc = error_set(err, ERR_FORMAT, "'%s' has to be one array of one dimension", path);
	if (!rc) {
		n->l->n = t->count;
		n->l->of = calloc(t->count + 1, sizeof(*n->l->of));
		rc = n->l->of ? read_elements(n, f, t, path, err) : error_nomem(err, "labels");
	}
	sae_file_close(f);
	return rc;
}

int probe_labels_read(probe_labels *out, const char *path, const char *column, error *err)
{
	naming n = { .l = out };
	const char *end = strrchr(path, '.');
	bool npy = end && strcmp(end, ".npy") == 0;
	int rc;

	*out = (probe_labels){ .mem = ARENA_INIT };
	if (npy && column)
		return error_set(err, ERR_ARG, "--column: '%s' has no columns", path);
	rc = npy ? read_npy(&n, path, err) : read_csv(&n, path, column, err);
	if (!rc && out->n_classes < 2)
		rc = error_set(err, ERR_FORMAT, "'%s' has %s: a probe tells two classes apart", path,
		               out->n_classes ? "one class" : "no labels");
	if (!rc)
		rc = sort_classes(&n, err);
	free(n.order);
	return rc;
}

void probe_labels_clear(probe_labels *l)
{
	free(l->of);
	free(l->names);
	arena_clear(&l->mem);
	*l = (probe_labels){ .mem = ARENA_INIT };
}
