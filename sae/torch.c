/* What torch.save writes: a zip archive ROOT/data.pkl, a pickle of the saved value, and ROOT/data/N, the storages of its tensors.
 * Tensors in dicts and lists get the names "outer.inner.0"; numbers and lists of numbers are tensors too, text is metadata. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sae/file_internal.h"
#include "sae/pickle.h"

enum {
	PICKLE_MAX = 16 << 20, /* bytes; a tensor takes some 150 */
	TENSORS_MAX = 1 << 16,
	DEPTH_MAX = 64,
	NAME_MAX_BYTES = 1024, /* of a tensor, dots and all */
	WALK_MAX = 1 << 20     /* values looked at: a list may be in many places */
};

typedef struct walk {
	sae_file *f;
	const pickle *p;
	const char *root; /* "ROOT/" or "" */
	char name[NAME_MAX_BYTES + 1];
	size_t cap_tensors, cap_metadata, seen;
	sae_tensor *tensors;          /* malloc'd while they grow */
	const char **metadata;        /* the same */
	size_t n_tensors, n_metadata; /* metadata: pairs */
} walk;

/* ---- Tensors -------------------------------------------------------------------------------------------------------------- */

static int refuse(const walk *w, const pickle_value *v, error *err, const char *why)
{
	return pickle_fail(w->p, v->at, ERR_FORMAT, err, "tensor '%.100s' %s", w->name, why);
}

/* The whole numbers of a tuple; a negative one is refused. */
static int take_sizes(const walk *w, uint64_t *out, const pickle_value *tuple, const char *what, error *err)
{
	uint32_t item = tuple->u.list.first;

	for (uint32_t i = 0; i < tuple->u.list.n; i++, item = w->p->items[item].next) {
		int64_t x = w->p->values[w->p->items[item].value].u.i;

		if (x < 0)
			return pickle_fail(w->p, tuple->at, ERR_FORMAT, err,
			                   "tensor '%.100s' has the %s %" PRId64, w->name, what, x);
		out[i] = (uint64_t)x;
	}
	return 0;
}

/* Turns dims and strides into runs, or says that it cannot; *last is the storage's last element that is used, from the first. */
static int take_layout(const walk *w, sae_tensor *t, const uint64_t *stride, const pickle_value *v,
                       uint64_t *last, error *err)
{
	uint64_t size[SAE_MAX_DIMS], step[SAE_MAX_DIMS], far;
	unsigned n = 0;

	*last = 0;
	for (unsigned i = 0; i < t->n_dims; i++) {
		if (t->dims[i] == 1)
			continue;
		if (__builtin_mul_overflow(t->dims[i] - 1, stride[i], &far) ||
		    __builtin_add_overflow(*last, far, last))
			return refuse(w, v, err, "has strides that overflow");
		if (n > 0 && t->dims[i] <= UINT64_MAX / stride[i] && step[n - 1] == t->dims[i] * stride[i]) {
			size[n - 1] *= t->dims[i]; /* at most t->count */
			step[n - 1] = stride[i];
		} else {
			size[n] = t->dims[i];
			step[n++] = stride[i];
		}
	}
	if (n == 0 || (n == 1 && step[0] == 1))
		return 0;
	t->turned = n == 2 && step[0] == 1;
	t->run = n == 1 ? 1 : t->turned ? size[0] : size[1];
	t->pitch = t->turned ? step[1] : step[0];
	if (n > 2 || (n == 2 && step[0] != 1 && step[1] != 1) || t->pitch < t->run)
		return refuse(w, v, err, "has strides that are not read; save it .contiguous()");
	return 0;
}

/* The member with the tensor's storage, of the size that it says; *count elements of the tensor's dtype. */
static int find_storage(const walk *w, sae_tensor *t, uint64_t *count, const pickle_value *storage,
                        error *err)
{
	const archive *a = w->f->archive;
	const pickle_value *key = &w->p->values[storage->u.storage.key];
	const sae_dtype dtype = storage->u.storage.dtype;
	const archive_member *m;
	char name[NAME_MAX_BYTES + 64];
	uint64_t bytes;

	if (key->u.text.n > 20)
		return refuse(w, storage, err, "has a storage of a name too long");
	snprintf(name, sizeof(name), "%sdata/%.*s", w->root, (int)key->u.text.n,
	         (const char *)w->p->data + key->u.text.start);
	m = archive_find(a, name);
	if (!m)
		return error_set(err, ERR_FORMAT,
		                 "'%s' lacks the member '%.100s', which holds tensor '%.100s'", w->f->path,
		                 name, w->name);
	if (__builtin_mul_overflow(storage->u.storage.count, sae_dtype_size(dtype), &bytes) ||
	    bytes != m->size)
		return error_set(err, ERR_FORMAT,
		                 "'%s': tensor '%.100s' has a storage of %" PRIu64
		                 " x %s, member '%.100s' has %" PRIu64 " bytes",
		                 w->f->path, w->name, storage->u.storage.count, sae_dtype_name(dtype), name,
		                 m->size);
	t->member = (uint32_t)(m - a->members) + 1;
	t->packed = m->deflated;
	t->offset = m->deflated ? 0 : m->offset;
	*count = bytes / sae_dtype_size(t->dtype);
	return 0;
}

static int read_tensor(const walk *w, sae_tensor *t, const pickle_value *v, error *err)
{
	const pickle_value *values = w->p->values, *storage = &values[v->u.tensor.storage];
	const pickle_value *size = &values[v->u.tensor.size], *strides = &values[v->u.tensor.stride];
	int64_t offset = values[v->u.tensor.offset].u.i;
	uint64_t stride[SAE_MAX_DIMS] = { 0 }, last = 0, end, bytes, count = 0;
	char what[NAME_MAX_BYTES];
	int rc;

	if (size->u.list.n > SAE_MAX_DIMS)
		return refuse(w, v, err, "has more than 8 dimensions");
	if (strides->u.list.n != size->u.list.n || offset < 0)
		return refuse(w, v, err,
		              offset < 0 ? "begins before its storage"
		                         : "has another number of strides than sizes");
	t->dtype = v->u.tensor.dtype;
	t->n_dims = size->u.list.n;
	rc = take_sizes(w, t->dims, size, "size", err);
	if (rc == 0)
		rc = take_sizes(w, stride, strides, "stride", err);
	snprintf(what, sizeof(what), "tensor '%.100s'", w->name);
	if (rc == 0)
		rc = file_tensor_size(t, &bytes, w->f->path, what, err);
	if (rc == 0)
		rc = find_storage(w, t, &count, storage, err);
	if (rc < 0 || t->count == 0)
		return rc;
	for (unsigned i = 0; i < t->n_dims; i++)
		if (stride[i] == 0 &&
		    t->dims[i] > 1) /* one element in many places: it could claim any size */
			return refuse(w, v, err, "has strides that are not read; save it .contiguous()");
	rc = take_layout(w, t, stride, v, &last, err);
	if (rc < 0)
		return rc;
	if (__builtin_add_overflow((uint64_t)offset, last, &end) || end >= count)
		return refuse(w, v, err, "goes past the end of its storage");
	t->offset += (uint64_t)offset * sae_dtype_size(t->dtype);
	return 0;
}

/* ---- The saved value -------------------------------------------------------------------------------------------------------- */

/* A new tensor of the name that the walk has come to. */
static int add_tensor(walk *w, sae_tensor **out, const pickle_value *v, error *err)
{
	sae_tensor *t;

	if (w->n_tensors == TENSORS_MAX)
		return pickle_fail(w->p, v->at, ERR_LIMIT, err, "more than %d tensors and numbers",
		                   TENSORS_MAX);
	if (mem_grow(&w->tensors, &w->cap_tensors, w->n_tensors + 1, sizeof(*w->tensors)) < 0)
		return error_nomem(err, "a list of tensors");
	t = &w->tensors[w->n_tensors++];
	*t = (sae_tensor){ .name = arena_strdup(&w->f->mem, w->name) };
	*out = t;
	return t->name ? 0 : error_nomem(err, "a tensor's name");
}

static bool is_number(const pickle_value *v)
{
	return v->kind == PICKLE_INT || v->kind == PICKLE_FLOAT;
}

/* n numbers, the first at `item`, as one tensor of I64 or F64; a lone number has no item, and no dimension. */
static int add_numbers(walk *w, const pickle_value *v, uint32_t n, uint32_t item, error *err)
{
	const pickle *p = w->p;
	bool floats = false, lone = v->kind != PICKLE_LIST && v->kind != PICKLE_TUPLE;
	sae_tensor *t;
	int64_t *ints;
	double *doubles;
	int rc = add_tensor(w, &t, v, err);

	if (rc < 0)
		return rc;
	ints = arena_alloc(&w->f->mem, n, sizeof(*ints));
	doubles = arena_alloc(&w->f->mem, n, sizeof(*doubles));
	if (!ints || !doubles)
		return error_nomem(err, "numbers");
	for (uint32_t i = 0; i < n; i++) {
		const pickle_value *x = lone ? v : &p->values[p->items[item].value];

		floats |= x->kind == PICKLE_FLOAT;
		ints[i] = x->kind == PICKLE_FLOAT ? 0 : x->u.i;
		doubles[i] = x->kind == PICKLE_FLOAT ? x->u.f : (double)x->u.i;
		item = lone ? item : p->items[item].next;
	}
	t->dtype = floats ? SAE_F64 : SAE_I64;
	t->value = floats ? (const void *)doubles : (const void *)ints;
	t->n_dims = !lone;
	t->dims[0] = lone ? 0 : n;
	t->count = n;
	return 0;
}

static int add_bool(walk *w, const pickle_value *v, error *err)
{
	unsigned char *value = arena_alloc(&w->f->mem, 1, 1);
	sae_tensor *t;
	int rc = value ? add_tensor(w, &t, v, err) : error_nomem(err, "a number");

	if (rc < 0)
		return rc;
	*value = v->u.i != 0;
	t->dtype = SAE_BOOL;
	t->count = 1;
	t->value = value;
	return 0;
}

static int add_text(walk *w, const pickle_value *v, error *err)
{
	const char *value = (const char *)w->p->data + v->u.text.start;
	const char **pair;

	if (memchr(value, '\0', v->u.text.n))
		return pickle_fail(w->p, v->at, ERR_FORMAT, err, "the text '%.100s' holds a NUL", w->name);
	if (w->n_metadata == TENSORS_MAX)
		return pickle_fail(w->p, v->at, ERR_LIMIT, err, "more than %d texts", TENSORS_MAX);
	if (mem_grow(&w->metadata, &w->cap_metadata, 2 * w->n_metadata + 2, sizeof(*w->metadata)) < 0)
		return error_nomem(err, "metadata");
	pair = &w->metadata[2 * w->n_metadata++];
	pair[0] = arena_strdup(&w->f->mem, w->name);
	pair[1] = arena_memdupz(&w->f->mem, value, v->u.text.n);
	return pair[0] && pair[1] ? 0 : error_nomem(err, "metadata");
}

/* Puts ".key" behind the name of length n: the key of a dict, or (NULL) the place in a list. */
static int add_key(walk *w, size_t n, const pickle_value *key, uint32_t place, const pickle_value *v,
                   error *err)
{
	const char *s;
	size_t length;
	char number[24];

	if (key && key->kind == PICKLE_TEXT) {
		s = (const char *)w->p->data + key->u.text.start;
		length = key->u.text.n;
	} else if (!key || key->kind == PICKLE_INT) {
		s = number;
		length = (size_t)snprintf(number, sizeof(number), "%" PRId64, key ? key->u.i : place);
	} else
		return pickle_fail(w->p, key->at, ERR_FORMAT, err,
		                   "a key that is neither text nor a whole number");
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return pickle_fail(w->p, v->at, ERR_FORMAT, err,
			                   "a key that holds a control character");
	if (length > NAME_MAX_BYTES || n + length + 1 > NAME_MAX_BYTES)
		return pickle_fail(w->p, v->at, ERR_LIMIT, err, "a name of more than %d bytes",
		                   NAME_MAX_BYTES);
	if (n)
		w->name[n++] = '.';
	memcpy(w->name + n, s, length);
	w->name[n + length] = '\0';
	return 0;
}

static int walk_value(walk *w, uint32_t value, unsigned depth, error *err);

static int walk_list(walk *w, const pickle_value *v, unsigned depth, error *err)
{
	const pickle *p = w->p;
	size_t length = strlen(w->name);
	uint32_t item = v->u.list.first;
	bool numbers = v->kind != PICKLE_DICT && v->u.list.n > 0;
	int rc = 0;

	for (uint32_t i = 0; i < v->u.list.n && numbers; i++, item = p->items[item].next)
		numbers = is_number(&p->values[p->items[item].value]);
	item = v->u.list.first;
	if (numbers)
		return add_numbers(w, v, v->u.list.n, item, err);
	for (uint32_t i = 0; i < v->u.list.n && rc == 0; i++, item = p->items[item].next) {
		const pickle_item *it = &p->items[item];

		rc = add_key(w, length, v->kind == PICKLE_DICT ? &p->values[it->key] : NULL, i, v, err);
		if (rc == 0)
			rc = walk_value(w, it->value, depth + 1, err);
		w->name[length] = '\0';
	}
	return rc;
}

static int walk_value(walk *w, uint32_t value, unsigned depth, error *err)
{
	const pickle_value *v = &w->p->values[value];
	sae_tensor *t;
	int rc;

	if (depth > DEPTH_MAX)
		return pickle_fail(w->p, v->at, ERR_LIMIT, err, "nested deeper than %d", DEPTH_MAX);
	w->seen += 1 + (v->kind == PICKLE_LIST || v->kind == PICKLE_TUPLE ? v->u.list.n : 0);
	if (w->seen > WALK_MAX)
		return pickle_fail(w->p, v->at, ERR_LIMIT, err, "more than %d values", WALK_MAX);
	switch (v->kind) {
	case PICKLE_NONE:
		return 0;
	case PICKLE_BOOL:
		return add_bool(w, v, err);
	case PICKLE_INT:
	case PICKLE_FLOAT:
		return add_numbers(w, v, 1, 0, err);
	case PICKLE_TEXT:
		return add_text(w, v, err);
	case PICKLE_TUPLE:
	case PICKLE_LIST:
	case PICKLE_DICT:
		return walk_list(w, v, depth, err);
	case PICKLE_TENSOR:
		rc = add_tensor(w, &t, v, err);
		return rc < 0 ? rc : read_tensor(w, t, v, err);
	default:
		return pickle_fail(w->p, v->at, ERR_FORMAT, err,
		                   "'%.100s' is a name or a storage, not a value", w->name);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* {"a.b": x, "a": {"b": y}}, or a key set twice. */
static int check_names(const walk *w, error *err)
{
	const char **names = malloc((w->n_tensors + w->n_metadata + 1) * sizeof(*names));
	size_t n = 0;
	int rc = names ? 0 : error_nomem(err, "a list of tensors");

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < w->n_tensors; i++)
		names[n++] = w->tensors[i].name;
	for (size_t i = 0; i < w->n_metadata; i++)
		names[n++] = w->metadata[2 * i];
	qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 1; i < n && rc == 0; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			rc = error_set(err, ERR_FORMAT, "'%s' has the value '%.100s' twice", w->f->path,
			               names[i]);
	free(names);
	return rc;
}

/* What the walk found becomes the file's. */
static int keep(walk *w, error *err)
{
	sae_file *f = w->f;

	f->tensors = arena_alloc(&f->mem, w->n_tensors + 1, sizeof(*f->tensors));
	f->metadata = arena_alloc(&f->mem, 2 * w->n_metadata + 1, sizeof(*f->metadata));
	if (!f->tensors || !f->metadata)
		return error_nomem(err, "a list of tensors");
	if (w->n_tensors)
		memcpy(f->tensors, w->tensors, w->n_tensors * sizeof(*f->tensors));
	if (w->n_metadata)
		memcpy(f->metadata, w->metadata, 2 * w->n_metadata * sizeof(*f->metadata));
	f->n_tensors = w->n_tensors;
	f->n_metadata = w->n_metadata;
	return 0;
}

/* ---- The archive ------------------------------------------------------------------------------------------------------------ */

/* A whole member of at most `max` bytes; malloc'd. */
static int read_member(unsigned char **out, const sae_file *f, const archive_member *m, uint64_t max,
                       error *err)
{
	unsigned char *data;
	int rc;

	if (m->size > max)
		return error_set(err, ERR_LIMIT,
		                 "'%s': member '%.100s' has %" PRIu64 " bytes, at most %" PRIu64 " are read",
		                 f->path, m->name, m->size, max);
	data = malloc((size_t)m->size + 1);
	if (!data)
		return error_nomem(err, "a member of an archive");
	rc = archive_read(f->archive, m, 0, data, (size_t)m->size, f->fd, f->path, err);
	if (rc < 0)
		free(data);
	else
		*out = data;
	return rc;
}

static int check_byteorder(const sae_file *f, const char *root, error *err)
{
	char name[NAME_MAX_BYTES + 64];
	const archive_member *m;
	unsigned char *order = NULL;
	int rc;

	snprintf(name, sizeof(name), "%sbyteorder", root);
	m = archive_find(f->archive, name);
	if (!m) /* older than torch 2.1, which wrote what the machine had */
		return 0;
	rc = read_member(&order, f, m, 16, err);
	if (rc == 0 && (m->size != 6 || memcmp(order, "little", 6) != 0))
		rc = error_set(err, ERR_FORMAT,
		               "'%s' is not little-endian; load and save it on another machine", f->path);
	free(order);
	return rc;
}

static int read_pickle(walk *w, const archive_member *m, error *err)
{
	unsigned char *data = NULL;
	pickle p = { 0 };
	int rc = read_member(&data, w->f, m, PICKLE_MAX, err);

	if (rc == 0)
		rc = pickle_read(&p, data, (size_t)m->size, w->f->path, err);
	w->p = &p;
	if (rc == 0)
		rc = walk_value(w, p.root, 0, err);
	if (rc == 0)
		rc = check_names(w, err);
	if (rc == 0)
		rc = keep(w, err);
	pickle_clear(&p);
	free(data);
	free(w->tensors);
	free(w->metadata);
	return rc;
}

int file_parse_torch(sae_file *f, const archive_member *m, error *err)
{
	const size_t n = strlen(m->name) - strlen("data.pkl");
	char *root = arena_memdupz(&f->mem, m->name, n);
	char name[NAME_MAX_BYTES + 64];
	walk *w;
	int rc;

	if (!root)
		return error_nomem(err, "a path");
	snprintf(name, sizeof(name), "%sconstants.pkl", root);
	if (archive_find(f->archive, name))
		return error_set(err, ERR_FORMAT,
		                 "'%s' is a TorchScript program; save its state_dict() instead", f->path);
	f->archive->crc_may_lack = true;
	rc = check_byteorder(f, root, err);
	w = rc == 0 ? calloc(1, sizeof(*w)) : NULL;
	if (rc == 0 && !w)
		rc = error_nomem(err, "a list of tensors");
	if (rc == 0) {
		w->f = f;
		w->root = root;
		rc = read_pickle(w, m, err);
	}
	free(w);
	return rc;
}
