/* support_zip.h: archives written byte by byte. */
#include "tests/support_zip.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "tests/support.h"

enum { ROOM = 1 << 22 };

static void put(made_zip *z, uint64_t value, size_t size)
{
	ck_assert_uint_le(z->n + size, ROOM);
	for (size_t i = 0; i < size; i++)
		z->bytes[z->n++] = (unsigned char)(i < 8 ? value >> 8 * i : 0);
}

static void put_bytes(made_zip *z, const void *p, size_t n)
{
	ck_assert_uint_le(z->n + n, ROOM);
	if (n)
		memcpy(z->bytes + z->n, p, n);
	z->n += n;
}

/* The member's bytes behind one another at z->n + ahead; how many. */
static size_t pack(made_zip *z, const made_member *m, size_t ahead)
{
	z_stream s = { 0 };
	size_t n = 0;

	if (!m->deflate) {
		ck_assert_uint_le(z->n + ahead + m->n, ROOM);
		if (m->n)
			memcpy(z->bytes + z->n + ahead, m->data, m->n);
		return m->n;
	}
	ck_assert_int_eq(deflateInit2(&s, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
	s.next_in = (unsigned char *)(uintptr_t)m->data;
	s.avail_in = (unsigned)m->n;
	s.next_out = z->bytes + z->n + ahead;
	s.avail_out = (unsigned)(ROOM - z->n - ahead);
	ck_assert_int_eq(deflate(&s, Z_FINISH), Z_STREAM_END);
	n = s.total_out;
	ck_assert_int_eq(deflateEnd(&s), Z_OK);
	return n;
}

/* Version, flags, method, time, CRC, sizes: what both descriptions of a member have. */
static void put_description(made_zip *z, const made_member *m, size_t packed, bool zip64)
{
	put(z, zip64 ? 45 : 20, 2);
	put(z, 0, 2);
	put(z, m->deflate ? 8 : 0, 2);
	put(z, 0x210000, 4);
	put(z, crc32(0, m->n ? m->data : (const unsigned char *)"", (unsigned)m->n), 4);
	put(z, zip64 ? UINT32_MAX : packed, 4);
	put(z, zip64 ? UINT32_MAX : m->n, 4);
	put(z, strlen(m->name), 2);
}

static size_t put_member(made_zip *z, const made_member *m, size_t i, bool zip64)
{
	size_t head = 30 + strlen(m->name) + (zip64 ? 20 : 0), packed = pack(z, m, head);

	z->local[i] = z->n;
	put(z, 0x04034b50, 4);
	put_description(z, m, packed, zip64);
	put(z, zip64 ? 20 : 0, 2);
	put_bytes(z, m->name, strlen(m->name));
	if (zip64) {
		put(z, 1, 2);
		put(z, 16, 2);
		put(z, m->n, 8);
		put(z, packed, 8);
	}
	z->data[i] = z->n;
	z->n += packed;
	return packed;
}

static void put_entry(made_zip *z, const made_member *m, size_t i, size_t packed, bool zip64)
{
	z->entry[i] = z->n;
	put(z, 0x02014b50, 4);
	put(z, 45, 2);
	put_description(z, m, packed, zip64);
	put(z, zip64 ? 28 : 0, 2);
	put(z, 0, 2 + 2 + 2 + 4);
	put(z, zip64 ? UINT32_MAX : z->local[i], 4);
	put_bytes(z, m->name, strlen(m->name));
	if (zip64) {
		put(z, 1, 2);
		put(z, 24, 2);
		put(z, m->n, 8);
		put(z, packed, 8);
		put(z, z->local[i], 8);
	}
}

static void put_end(made_zip *z, size_t n, size_t start, bool zip64)
{
	size_t size = z->n - start;

	z->end64 = z->n;
	if (zip64) {
		put(z, 0x06064b50, 4);
		put(z, 44, 8);
		put(z, 45, 2);
		put(z, 45, 2);
		put(z, 0, 8);
		put(z, n, 8);
		put(z, n, 8);
		put(z, size, 8);
		put(z, start, 8);
		put(z, 0x07064b50, 4);
		put(z, 0, 4);
		put(z, z->end64, 8);
		put(z, 1, 4);
	}
	z->end = z->n;
	put(z, 0x06054b50, 4);
	put(z, 0, 4);
	put(z, n, 2);
	put(z, n, 2);
	put(z, zip64 ? UINT32_MAX : size, 4);
	put(z, zip64 ? UINT32_MAX : start, 4);
	put(z, 0, 2);
}

made_zip zip_make(const made_member *m, size_t n, bool zip64)
{
	made_zip z = { .bytes = malloc(ROOM) };
	size_t packed[ZIP_MADE_MAX], start;

	ck_assert_ptr_nonnull(z.bytes);
	ck_assert_uint_le(n, ZIP_MADE_MAX);
	for (size_t i = 0; i < n; i++)
		packed[i] = put_member(&z, &m[i], i, zip64);
	start = z.n;
	for (size_t i = 0; i < n; i++)
		put_entry(&z, &m[i], i, packed[i], zip64);
	put_end(&z, n, start, zip64);
	return z;
}

void zip_free(made_zip *z)
{
	free(z->bytes);
	*z = (made_zip){ 0 };
}

void zip_patch(made_zip *z, size_t at, uint64_t value, size_t size)
{
	ck_assert_uint_le(at + size, z->n);
	for (size_t i = 0; i < size; i++)
		z->bytes[at + i] = (unsigned char)(value >> 8 * i);
}

unsigned char *npy_make(size_t *n, const char *dict, const void *data, size_t n_data)
{
	size_t length = strlen(dict);
	unsigned char *bytes = malloc(10 + length + n_data);

	ck_assert_ptr_nonnull(bytes);
	memcpy(bytes, "\x93NUMPY\x01", 8);
	bytes[8] = (unsigned char)length;
	bytes[9] = (unsigned char)(length >> 8);
	memcpy(bytes + 10, dict, length);
	if (n_data)
		memcpy(bytes + 10 + length, data, n_data);
	*n = 10 + length + n_data;
	return bytes;
}
