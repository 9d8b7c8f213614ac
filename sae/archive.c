/* archive.h: the directory of a zip archive. All sizes and places come from the directory at the end; the header before each
 * member's bytes must say the same. */
#include "sae/archive.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	END_SIZE = 22,             /* of the record that ends the file, without its comment */
	END64_SIZE = 56,           /* of its 64-bit form, without what may follow */
	LOCATOR_SIZE = 20,         /* of the record that says where that is */
	ENTRY_SIZE = 46,           /* of a member in the directory, without name and extras */
	LOCAL_SIZE = 30,           /* of the header before its bytes, likewise */
	COMMENT_MAX = 65535,       /* bytes */
	DIRECTORY_MAX = 256 << 20, /* bytes read to memory */
	MEMBERS_MAX = 1 << 20,     /* a tensor is a member or two */
	NAME_MAX_BYTES = 1024      /* of a member */
};

enum { FLAG_ENCRYPTED = 1, FLAG_SIZES_BEHIND = 8, FLAG_STRONG = 64, METHOD_STORED = 0, METHOD_DEFLATE = 8 };

#define RATIO_MAX 1032 /* deflate: 258 bytes from 2 bits */

typedef struct directory {
	archive *a;
	int fd;
	uint64_t size; /* of the file */
	const char *path;
	arena *mem;
	uint64_t start, bytes, n; /* of the directory: offset, size, members */
	unsigned char *data;
} directory;

static uint32_t get16(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t get32(const unsigned char *p)
{
	return get16(p) | get16(p + 2) << 16;
}

static uint64_t get64(const unsigned char *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* ---- Finding the directory ------------------------------------------------------------------------------------------ */

/* The 64-bit record, where the locator before the end record at `end` names one: its fields replace those of 32 bits. */
static int read_end64(directory *d, uint64_t end, bool *found, uint64_t *limit, error *err)
{
	unsigned char locator[LOCATOR_SIZE], record[END64_SIZE];
	uint64_t at;
	int rc;

	*found = false;
	if (end < LOCATOR_SIZE)
		return 0;
	rc = file_pread(d->fd, locator, sizeof(locator), end - LOCATOR_SIZE, d->path, err);
	if (rc < 0 || memcmp(locator, "PK\6\7", 4) != 0)
		return rc;
	at = get64(locator + 8);
	if (at > end - LOCATOR_SIZE || end - LOCATOR_SIZE - at < END64_SIZE)
		return error_set(err, ERR_FORMAT,
		                 "'%s': the zip64 record is said to be at byte %" PRIu64
		                 ", which is not before byte %" PRIu64,
		                 d->path, at, end - LOCATOR_SIZE);
	rc = file_pread(d->fd, record, sizeof(record), at, d->path, err);
	if (rc < 0)
		return rc;
	if (memcmp(record, "PK\6\6", 4) != 0)
		return error_set(err, ERR_FORMAT, "'%s': no zip64 record at byte %" PRIu64, d->path, at);
	if (get32(record + 16) || get32(record + 20) || get64(record + 24) != get64(record + 32))
		return error_set(err, ERR_FORMAT, "'%s': a zip archive of several parts", d->path);
	d->n = get64(record + 32);
	d->bytes = get64(record + 40);
	d->start = get64(record + 48);
	*limit = at;
	*found = true;
	return 0;
}

/* From the end record at p, which lies at byte `end`. */
static int read_end(directory *d, const unsigned char *p, uint64_t end, error *err)
{
	uint64_t limit = end; /* where the directory has to end */
	bool found;
	int rc = read_end64(d, end, &found, &limit, err);

	if (rc < 0)
		return rc;
	if (!found) {
		if (get16(p + 4) || get16(p + 6) || get16(p + 8) != get16(p + 10))
			return error_set(err, ERR_FORMAT, "'%s': a zip archive of several parts", d->path);
		d->n = get16(p + 10);
		d->bytes = get32(p + 12);
		d->start = get32(p + 16);
	}
	if (d->start > limit || d->bytes != limit - d->start)
		return error_set(err, ERR_FORMAT,
		                 "'%s': the zip directory is said to have %" PRIu64
		                 " bytes from byte %" PRIu64 " on, it ends at byte %" PRIu64,
		                 d->path, d->bytes, d->start, limit);
	if (d->n > d->bytes / ENTRY_SIZE)
		return error_set(err, ERR_FORMAT,
		                 "'%s': the zip directory claims %" PRIu64 " members in %" PRIu64 " bytes",
		                 d->path, d->n, d->bytes);
	if (d->n > MEMBERS_MAX || d->bytes > DIRECTORY_MAX)
		return error_set(err, ERR_LIMIT, "'%s' has %" PRIu64 " members, at most %d are read", d->path,
		                 d->n, MEMBERS_MAX);
	return 0;
}

static int find_directory(directory *d, error *err)
{
	size_t n = d->size < END_SIZE + COMMENT_MAX ? (size_t)d->size : END_SIZE + COMMENT_MAX;
	unsigned char *tail = malloc(n);
	int rc;

	if (!tail)
		return error_nomem(err, "the end of a zip archive");
	rc = file_pread(d->fd, tail, n, d->size - n, d->path, err);
	if (rc < 0)
		goto out;
	rc = 1;
	for (size_t i = n < END_SIZE ? 0 : n - END_SIZE + 1; rc == 1 && i-- > 0;)
		if (memcmp(tail + i, "PK\5\6", 4) == 0 && get16(tail + i + 20) == n - i - END_SIZE)
			rc = read_end(d, tail + i, d->size - n + i, err);
	if (rc == 1)
		rc = error_set(err, ERR_FORMAT, "'%s' is a zip archive without its end: it is cut off",
		               d->path);
out:
	free(tail);
	return rc;
}

/* ---- Its members ---------------------------------------------------------------------------------------------------- */

/* Only what can be a file below the folder it would be unpacked in, and can be shown. */
static int check_name(const char *name, size_t n, const char *path, error *err)
{
	const char *part = name;
	char shown[64];
	text t;

	if (n > 0 && n <= NAME_MAX_BYTES && name[0] != '/' && !memchr(name, '\0', n) &&
	    utf8_is_valid(name, n)) {
		for (size_t i = 0; i <= n && part; i++) {
			bool ends = i == n || name[i] == '/';
			if (!ends && ((unsigned char)name[i] < ' ' || name[i] == 0x7f || name[i] == '\\'))
				part = NULL;
			else if (ends && name + i - part == 2 && part[0] == '.' && part[1] == '.')
				part = NULL;
			else if (ends)
				part = name + i + 1;
		}
		if (part)
			return 0;
	}
	text_init(&t, 512);
	if (text_add_visible(&t, name, n < 40 ? n : 40) < 0)
		text_clear(&t);
	snprintf(shown, sizeof(shown), "%s", t.data ? t.data : "");
	text_free(&t);
	return error_set(err, ERR_FORMAT, "'%s': '%s' is no name for a member of an archive", path, shown);
}

/* The fields that do not fit 32 bits, from the extra field of n bytes: those at 0xffffffff only, in this order. */
static int read_extra64(archive_member *m, const unsigned char *extra, size_t n, const char *path, error *err)
{
	uint64_t *fields[] = { &m->size, &m->packed_size, &m->header };
	bool wanted = false;
	size_t i = 0;

	for (size_t f = 0; f < ARRAY_LEN(fields); f++)
		wanted |= *fields[f] == UINT32_MAX;
	if (!wanted)
		return 0;
	while (i + 4 <= n) {
		size_t length = get16(extra + i + 2), used = 0;

		if (length > n - i - 4)
			break;
		if (get16(extra + i) == 1) {
			for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
				if (*fields[f] != UINT32_MAX)
					continue;
				if (length - used < 8)
					goto bad;
				*fields[f] = get64(extra + i + 4 + used);
				used += 8;
			}
			return 0;
		}
		i += 4 + length;
	}
bad:
	return error_set(err, ERR_FORMAT, "'%s': member '%.100s' lacks its 64-bit sizes", path, m->name);
}

static int check_sizes(const archive_member *m, unsigned flags, unsigned method, const directory *d,
                       error *err)
{
	if (flags & (FLAG_ENCRYPTED | FLAG_STRONG))
		return error_set(err, ERR_FORMAT, "'%s': member '%.100s' is encrypted", d->path, m->name);
	if (method != METHOD_STORED && method != METHOD_DEFLATE)
		return error_set(
		        err, ERR_FORMAT,
		        "'%s': member '%.100s' is compressed by method %u; stored and deflate are read",
		        d->path, m->name, method);
	if (!m->deflated && m->size != m->packed_size)
		return error_set(err, ERR_FORMAT,
		                 "'%s': member '%.100s' is stored, but of %" PRIu64 " bytes in %" PRIu64,
		                 d->path, m->name, m->size, m->packed_size);
	if (m->packed_size > d->start || m->header > d->start)
		return error_set(err, ERR_FORMAT,
		                 "'%s': member '%.100s' claims %" PRIu64 " bytes behind byte %" PRIu64
		                 ", past byte %" PRIu64,
		                 d->path, m->name, m->packed_size, m->header, d->start);
	if (m->size / RATIO_MAX > m->packed_size)
		return error_set(err, ERR_FORMAT,
		                 "'%s': member '%.100s' claims %" PRIu64 " bytes from %" PRIu64
		                 ", more than deflate can hold",
		                 d->path, m->name, m->size, m->packed_size);
	return 0;
}

/* The header before the member's bytes must say what the directory says; m->offset follows from it. */
static int check_local(archive_member *m, unsigned flags, unsigned method, const directory *d, error *err)
{
	unsigned char h[LOCAL_SIZE + NAME_MAX_BYTES];
	size_t n = strlen(m->name), length = LOCAL_SIZE + n;
	uint64_t left = d->start - m->header;
	int rc;

	if (left < length)
		return error_set(err, ERR_FORMAT, "'%s': no header for member '%.100s' at byte %" PRIu64,
		                 d->path, m->name, m->header);
	rc = file_pread(d->fd, h, length, m->header, d->path, err);
	if (rc < 0)
		return rc;
	if (memcmp(h, "PK\3\4", 4) != 0 || get16(h + 26) != n || memcmp(h + LOCAL_SIZE, m->name, n) != 0)
		return error_set(err, ERR_FORMAT, "'%s': no header for member '%.100s' at byte %" PRIu64,
		                 d->path, m->name, m->header);
	length += get16(h + 28);
	if (left < length || left - length < m->packed_size)
		return error_set(err, ERR_FORMAT,
		                 "'%s': member '%.100s' of %" PRIu64 " bytes at byte %" PRIu64
		                 " ends past byte %" PRIu64,
		                 d->path, m->name, m->packed_size, m->header + length, d->start);
	m->offset = m->header + length;
	if (get16(h + 8) != method || ((get16(h + 6) ^ flags) & FLAG_ENCRYPTED))
		return error_set(err, ERR_FORMAT, "'%s': two descriptions of member '%.100s' contradict",
		                 d->path, m->name);
	if (!(get16(h + 6) & FLAG_SIZES_BEHIND) &&
	    (get32(h + 14) != m->crc || (get32(h + 18) != UINT32_MAX && get32(h + 18) != m->packed_size) ||
	     (get32(h + 22) != UINT32_MAX && get32(h + 22) != m->size)))
		return error_set(err, ERR_FORMAT, "'%s': two descriptions of member '%.100s' contradict",
		                 d->path, m->name);
	return 0;
}

/* The member described at p, of which `left` bytes are there; *used: how many it took. */
static int read_member(archive_member *m, const unsigned char *p, size_t left, size_t *used,
                       const directory *d, error *err)
{
	unsigned flags, method;
	size_t name, extra;
	int rc;

	if (left < ENTRY_SIZE || memcmp(p, "PK\1\2", 4) != 0)
		return error_set(err, ERR_FORMAT, "'%s': the zip directory is damaged at byte %" PRIu64,
		                 d->path, d->start + d->bytes - left);
	name = get16(p + 28);
	extra = get16(p + 30);
	*used = ENTRY_SIZE + name + extra + get16(p + 32);
	if (*used > left)
		return error_set(err, ERR_FORMAT, "'%s': the zip directory is damaged at byte %" PRIu64,
		                 d->path, d->start + d->bytes - left);
	rc = check_name((const char *)p + ENTRY_SIZE, name, d->path, err);
	if (rc < 0)
		return rc;
	m->name = arena_memdupz(d->mem, p + ENTRY_SIZE, name);
	if (!m->name)
		return error_nomem(err, "a list of members");
	flags = get16(p + 8);
	method = get16(p + 10);
	m->deflated = method == METHOD_DEFLATE;
	m->crc = get32(p + 16);
	m->packed_size = get32(p + 20);
	m->size = get32(p + 24);
	m->header = get32(p + 42);
	rc = read_extra64(m, p + ENTRY_SIZE + name, extra, d->path, err);
	if (rc == 0)
		rc = check_sizes(m, flags, method, d, err);
	return rc < 0 ? rc : check_local(m, flags, method, d, err);
}

static int by_header(const void *a, const void *b)
{
	const archive_member *x = a, *y = b;

	return (x->header > y->header) - (x->header < y->header);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const archive_member *)a)->name, ((const archive_member *)b)->name);
}

/* No byte belongs to two members, and no two have one name. Leaves them sorted by name. */
static int check_members(archive *a, const char *path, error *err)
{
	archive_member *m = a->members;

	qsort(m, a->n, sizeof(*m), by_header);
	for (size_t i = 1; i < a->n; i++)
		if (m[i].header < m[i - 1].offset + m[i - 1].packed_size)
			return error_set(err, ERR_FORMAT, "'%s': members '%.100s' and '%.100s' overlap", path,
			                 m[i - 1].name, m[i].name);
	qsort(m, a->n, sizeof(*m), by_name);
	for (size_t i = 1; i < a->n; i++)
		if (strcmp(m[i - 1].name, m[i].name) == 0)
			return error_set(err, ERR_FORMAT, "'%s' has the member '%.100s' twice", path,
			                 m[i].name);
	return 0;
}

static int read_members(directory *d, error *err)
{
	archive *a = d->a;
	size_t at = 0, used = 0;
	int rc;

	for (uint64_t i = 0; i < d->n; i++) {
		archive_member m = { 0 };

		rc = read_member(&m, d->data + at, (size_t)d->bytes - at, &used, d, err);
		if (rc < 0)
			return rc;
		at += used;
		if (m.name[strlen(m.name) - 1] == '/' && m.size == 0) /* a folder */
			continue;
		a->members[a->n++] = m;
	}
	if (at != d->bytes)
		return error_set(err, ERR_FORMAT,
		                 "'%s': the zip directory holds more than the %" PRIu64
		                 " members it is said to",
		                 d->path, d->n);
	return check_members(a, d->path, err);
}

int archive_open(archive **out, int fd, uint64_t size, const char *path, arena *mem, error *err)
{
	archive *a = arena_alloc(mem, 1, sizeof(*a));
	directory d = { .a = a, .fd = fd, .size = size, .path = path, .mem = mem };
	int rc = a ? find_directory(&d, err) : error_nomem(err, "a zip archive");

	if (rc < 0)
		return rc;
	d.data = malloc((size_t)d.bytes + 1);
	a->members = arena_alloc(mem, (size_t)d.n + 1, sizeof(*a->members));
	a->last = archive_cursor_new();
	if (!d.data || !a->members || !a->last)
		rc = error_nomem(err, "a zip directory");
	else
		rc = file_pread(fd, d.data, (size_t)d.bytes, d.start, path, err);
	if (rc == 0)
		rc = read_members(&d, err);
	free(d.data);
	if (rc < 0) {
		archive_close(a);
		return rc;
	}
	*out = a;
	return 0;
}

void archive_close(archive *a)
{
	if (!a)
		return;
	archive_cursor_free(a->last);
	a->last = NULL;
}

const archive_member *archive_find(const archive *a, const char *name)
{
	const archive_member key = { .name = name };

	return a->n ? bsearch(&key, a->members, a->n, sizeof(key), by_name) : NULL;
}
