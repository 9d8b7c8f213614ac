/* NumPy's .npy format, versions 1 to 3: magic, version, header length, a Python dict literal
 * {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }, then the array in C order. Nothing is evaluated: only this
 * dict, with these keys, is understood. */
#include "sae/file_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 1 << 20, MAGIC = 8 }; /* bytes; a right header has about 120 */

typedef struct parser {
	const char *at;   /* NUL-terminated */
	const char *path; /* as errors name it */
	sae_tensor *t;
	bool has_descr, has_order, has_shape;
	bool is_text, fortran;
} parser;

static void skip_space(parser *p)
{
	p->at += strspn(p->at, " \t\n\r");
}

static bool accept(parser *p, char c)
{
	skip_space(p);
	if (*p->at != c)
		return false;
	p->at++;
	return true;
}

static bool accept_word(parser *p, const char *word)
{
	skip_space(p);
	if (strncmp(p->at, word, strlen(word)) != 0)
		return false;
	p->at += strlen(word);
	return true;
}

/* A quoted string without escapes into out[size]; false when there is none or it is too long. */
static bool parse_string(parser *p, char *out, size_t size)
{
	const char *end;
	char quote;

	skip_space(p);
	quote = *p->at;
	if (quote != '\'' && quote != '"')
		return false;
	end = strchr(p->at + 1, quote);
	if (!end || (size_t)(end - p->at) > size || memchr(p->at, '\\', (size_t)(end - p->at)))
		return false;
	memcpy(out, p->at + 1, (size_t)(end - p->at - 1));
	out[end - p->at - 1] = '\0';
	p->at = end + 1;
	return true;
}

static int parse_descr(parser *p, error *err)
{
	static const struct {
		const char *descr;
		sae_dtype dtype;
	} kinds[] = {
		{ "f2", SAE_F16 }, { "f4", SAE_F32 }, { "f8", SAE_F64 }, { "i1", SAE_I8 },
		{ "i2", SAE_I16 }, { "i4", SAE_I32 }, { "i8", SAE_I64 }, { "u1", SAE_U8 },
		{ "u2", SAE_U16 }, { "u4", SAE_U32 }, { "u8", SAE_U64 }, { "b1", SAE_BOOL },
		{ "V2", SAE_U16 }, /* what ml_dtypes.bfloat16 is saved as */
	};
	char descr[32];

	if (!parse_string(p, descr, sizeof(descr)))
		return error_set(err, ERR_FORMAT, "'%s': descr is not the name of one number type", p->path);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(descr + (descr[0] != '\0'), kinds[i].descr) != 0)
			continue;
		if (descr[0] == '>')
			return error_set(err, ERR_FORMAT,
			                 "'%s' is big-endian (descr '%s'); save it with .astype('<%s')",
			                 p->path, descr, kinds[i].descr);
		if (descr[0] != '<' && descr[0] != '|' && descr[0] != '=')
			break;
		p->t->dtype = kinds[i].dtype;
		return 0;
	}
	p->is_text = descr[0] && (descr[1] == 'S' || descr[1] == 'U');
	if (p->is_text)
		return 0;
	return error_set(err, ERR_FORMAT, "'%s' has descr '%s', which is not supported", p->path, descr);
}

static int parse_order(parser *p, error *err)
{
	p->fortran = accept_word(p, "True");
	if (p->fortran || accept_word(p, "False"))
		return 0;
	return error_set(err, ERR_FORMAT, "'%s': fortran_order is neither True nor False", p->path);
}

static int parse_shape(parser *p, error *err)
{
	sae_tensor *t = p->t;
	bool comma = true; /* (3,) and (3, 4) and (3, 4,), not (3 4) and not (,) */

	if (!accept(p, '('))
		return error_set(err, ERR_FORMAT, "'%s': shape is not a tuple", p->path);
	while (!accept(p, ')')) {
		uint64_t dim = 0;
		size_t digits = strspn(p->at, "0123456789");
		if (!comma || digits == 0)
			return error_set(err, ERR_FORMAT, "'%s': shape is not a tuple of whole numbers",
			                 p->path);
		for (size_t i = 0; i < digits; i++)
			if (__builtin_mul_overflow(dim, 10, &dim) ||
			    __builtin_add_overflow(dim, p->at[i] - '0', &dim))
				return error_set(err, ERR_FORMAT, "'%s': dimension %u overflows", p->path,
				                 t->n_dims);
		p->at += digits;
		if (t->n_dims == SAE_MAX_DIMS)
			return error_set(err, ERR_LIMIT, "'%s' has more than %d dimensions", p->path,
			                 SAE_MAX_DIMS);
		t->dims[t->n_dims++] = dim;
		comma = accept(p, ',');
	}
	return 0;
}

static int parse_member(parser *p, error *err)
{
	char key[16];
	bool *seen;

	if (!parse_string(p, key, sizeof(key)) || !accept(p, ':'))
		return error_set(err, ERR_FORMAT, "'%s': the header is not a dict", p->path);
	if (strcmp(key, "descr") == 0)
		seen = &p->has_descr;
	else if (strcmp(key, "fortran_order") == 0)
		seen = &p->has_order;
	else if (strcmp(key, "shape") == 0)
		seen = &p->has_shape;
	else
		return error_set(err, ERR_FORMAT, "'%s': the header has an unknown key '%s'", p->path, key);
	if (*seen)
		return error_set(err, ERR_FORMAT, "'%s': the header has '%s' twice", p->path, key);
	*seen = true;
	return seen == &p->has_descr   ? parse_descr(p, err)
	       : seen == &p->has_order ? parse_order(p, err)
	                               : parse_shape(p, err);
}

static int parse_dict(parser *p, error *err)
{
	bool comma = true;
	int rc;

	if (!accept(p, '{'))
		return error_set(err, ERR_FORMAT, "'%s': the header is not a dict", p->path);
	while (!accept(p, '}')) {
		if (!comma)
			return error_set(err, ERR_FORMAT, "'%s': the header is not a dict", p->path);
		rc = parse_member(p, err);
		if (rc < 0)
			return rc;
		comma = accept(p, ',');
	}
	skip_space(p);
	if (*p->at)
		return error_set(err, ERR_FORMAT, "'%s': text behind the header's dict", p->path);
	if (!p->has_descr || !p->has_order || !p->has_shape)
		return error_set(err, ERR_FORMAT, "'%s': the header lacks descr, fortran_order or shape",
		                 p->path);
	return 0;
}

/* What lies in Fortran order: two dimensions are columns; more are refused; one or none are the same in any order. */
static int settle_order(parser *p, error *err)
{
	sae_tensor *t = p->t;

	if (!p->fortran || t->n_dims < 2 || t->count == 0)
		return 0;
	if (t->n_dims > 2)
		return error_set(err, ERR_FORMAT,
		                 "'%s' is in Fortran order; save it with numpy.ascontiguousarray()", p->path);
	t->turned = true;
	t->run = t->pitch = t->dims[0];
	return 0;
}

/* The bytes of the .npy, which is the file or a member of it. */
typedef struct source {
	const sae_file *f;
	archive_member *m; /* NULL: the file */
	uint64_t size;
	const char *label;
} source;

static int source_read(const source *s, void *out, size_t n, uint64_t offset, error *err)
{
	if (!s->m)
		return file_pread(s->f->fd, out, n, offset, s->label, err);
	return archive_read(s->f->archive, s->m, offset, out, n, s->f->fd, s->f->path, err);
}

/* Where the header's text begins and how long it is. */
static int parse_preamble(const source *s, size_t *start, uint32_t *length, error *err)
{
	unsigned char head[MAGIC + 4] = { 0 };
	size_t n = s->size < sizeof(head) ? (size_t)s->size : sizeof(head);
	int rc = source_read(s, head, n, 0, err);

	if (rc < 0)
		return rc;
	if (memcmp(head, "\x93NUMPY", 6) != 0)
		return error_set(err, ERR_FORMAT, "'%s' is no .npy file (by its first bytes)", s->label);
	if (head[6] < 1 || head[6] > 3 || head[7] != 0)
		return error_set(err, ERR_FORMAT, "'%s' is .npy version %u.%u; 1.0, 2.0 and 3.0 are read",
		                 s->label, head[6], head[7]);
	*start = MAGIC + (head[6] == 1 ? 2 : 4);
	*length = (uint32_t)head[8] | (uint32_t)head[9] << 8;
	if (head[6] > 1)
		*length |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
	if (*length > HEADER_MAX)
		return error_set(err, ERR_LIMIT, "'%s': the header claims %u bytes, at most %d are read",
		                 s->label, *length, HEADER_MAX);
	if (*start > s->size || *length > s->size - *start)
		return error_set(err, ERR_FORMAT, "'%s': the header claims %u bytes, the file has %" PRIu64,
		                 s->label, *length, s->size);
	if (s->m)
		archive_start(s->f->archive, s->m, head, *start);
	return 0;
}

/* The dict behind the preamble, parsed. */
static int parse_header(parser *p, const source *s, size_t start, uint32_t length, error *err)
{
	char *header = malloc((size_t)length + 1);
	int rc;

	if (!header)
		return error_nomem(err, "a .npy header");
	header[length] = '\0';
	rc = source_read(s, header, length, start, err);
	if (rc == 0 && memchr(header, '\0', length))
		rc = error_set(err, ERR_FORMAT, "'%s': the header holds a NUL", p->path);
	p->at = header;
	if (rc == 0)
		rc = parse_dict(p, err);
	if (rc == 0 && s->m)
		archive_start(s->f->archive, s->m, header, length);
	p->at = NULL;
	free(header);
	return rc;
}

int npy_parse(sae_file *f, sae_tensor *t, bool *is_number, archive_member *m, const char *label, error *err)
{
	const source s = { f, m, m ? m->size : f->size, label };
	sae_tensor found = { .name = t->name };
	parser p = { .path = label, .t = &found };
	uint32_t length = 0;
	uint64_t bytes;
	size_t start = 0;
	int rc = parse_preamble(&s, &start, &length, err);

	if (rc == 0)
		rc = parse_header(&p, &s, start, length, err);
	*is_number = !p.is_text;
	if (rc < 0 || p.is_text)
		return rc;
	rc = file_tensor_size(&found, &bytes, label, "the array", err);
	if (rc < 0)
		return rc;
	found.offset = start + length;
	if (bytes != s.size - found.offset)
		return error_set(err, ERR_FORMAT,
		                 "'%s': shape and descr ask for %" PRIu64 " bytes, %" PRIu64
		                 " are behind the header",
		                 label, bytes, s.size - found.offset);
	rc = settle_order(&p, err);
	if (rc < 0)
		return rc;
	found.packed = m && m->deflated;
	if (m && !m->deflated)
		found.offset += m->offset;
	*t = found;
	return 0;
}

int file_parse_npy(sae_file *f, error *err)
{
	bool is_number;
	int rc;

	f->format = "npy";
	f->tensors = arena_alloc(&f->mem, 1, sizeof(*f->tensors));
	if (!f->tensors)
		return error_nomem(err, "a .npy header");
	f->n_tensors = 1;
	f->tensors->name = "";
	rc = npy_parse(f, f->tensors, &is_number, NULL, f->path, err);
	if (rc == 0 && !is_number)
		rc = error_set(err, ERR_FORMAT, "'%s' holds text, not numbers", f->path);
	return rc;
}
