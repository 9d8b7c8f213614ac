/* arena.c: memory with one lifetime, aligned blocks, arrays that grow. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT     64
#define DEFAULT_BLOCK ((size_t)64 << 10)

struct arena_block {
	struct arena_block *next;
	size_t used, size; /* bytes in data() */
};

/* The header takes one whole alignment unit, so that the data behind it is aligned. */
_Static_assert(sizeof(struct arena_block) <= ALIGNMENT, "header must fit before the first aligned byte");

static char *data(struct arena_block *b)
{
	return (char *)b + ALIGNMENT;
}

static bool fits(const struct arena_block *b, size_t bytes, size_t align, size_t *at)
{
	*at = (b->used + align - 1) / align * align;
	return *at <= b->size && b->size - *at >= bytes;
}

static struct arena_block *add_block(arena *a, size_t bytes)
{
	size_t usual = a->block_size ? a->block_size : DEFAULT_BLOCK;
	size_t size = bytes > usual ? bytes : usual;
	struct arena_block *b;

	if (size > SIZE_MAX / 2 - 2 * ALIGNMENT)
		return NULL;
	size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	b = aligned_alloc(ALIGNMENT, size + ALIGNMENT);
	if (!b)
		return NULL;
	b->used = 0;
	b->size = size;
	if (a->head && bytes > usual / 4) {
		/* a large one goes behind the head, whose rest stays in use */
		b->next = a->head->next;
		a->head->next = b;
	} else {
		b->next = a->head;
		a->head = b;
	}
	return b;
}

static char *take(arena *a, size_t bytes, size_t align)
{
	struct arena_block *b = a->head;
	size_t at;
	char *p;

	if (!b || !fits(b, bytes, align, &at)) {
		b = add_block(a, bytes);
		if (!b)
			return NULL;
		at = 0;
	}
	p = data(b) + at;
	b->used = at + bytes;
	return p;
}

void *arena_alloc(arena *a, size_t count, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(count, size, &bytes))
		return NULL;
	if (bytes == 0)
		bytes = 1;
	p = take(a, bytes, ALIGNMENT);
	return p ? memset(p, 0, bytes) : NULL;
}

char *arena_strdup(arena *a, const char *s)
{
	return arena_memdupz(a, s, strlen(s));
}

char *arena_memdupz(arena *a, const void *p, size_t n)
{
	char *copy = n < SIZE_MAX ? take(a, n + 1, 1) : NULL;

	if (!copy)
		return NULL;
	if (n)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}

void arena_clear(arena *a)
{
	struct arena_block *b = a->head;

	while (b) {
		struct arena_block *next = b->next;

		free(b);
		b = next;
	}
	a->head = NULL;
}

void *mem_alloc_aligned(size_t count, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
		return NULL;
	bytes = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
	p = aligned_alloc(ALIGNMENT, bytes);
	return p ? memset(p, 0, bytes) : NULL;
}

int mem_grow(void *p_to_pointer, size_t *cap, size_t need, size_t size)
{
	size_t larger = *cap + *cap / 2 + 16;
	size_t bytes;
	void *p;

	if (need <= *cap)
		return 0;
	if (larger < need)
		larger = need;
	if (__builtin_mul_overflow(larger, size, &bytes) || bytes > SIZE_MAX / 2)
		return ERR_NOMEM;
	memcpy(&p, p_to_pointer, sizeof(p)); /* the caller's pointer has its own type */
	p = realloc(p, bytes);
	if (!p)
		return ERR_NOMEM;
	memcpy(p_to_pointer, &p, sizeof(p));
	*cap = larger;
	return 0;
}
