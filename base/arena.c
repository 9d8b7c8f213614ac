/* arena.c: memory with one lifetime, aligned blocks, arrays that grow. */
#include "base/base.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT     64
#define DEFAULT_BLOCK ((size_t)64 << 10)
#define LARGE         ((size_t)256 << 10) /* from here on: pages of its own */
#define HUGE_PAGE     ((size_t)2 << 20)
#define MAPPED        ((size_t)32 << 20) /* from here on malloc maps pages */

struct arena_block {
	struct arena_block *next;
	size_t used, size; /* bytes in data() */
	void *pages;       /* a large one's data, `size` bytes mapped; NULL: behind the header */
};

/* The header takes one whole alignment unit, so that the data behind it is aligned. */
_Static_assert(sizeof(struct arena_block) <= ALIGNMENT, "header must fit before the first aligned byte");

/* The sanitizer guards what malloc gave, and finds leaks only there. */
#if defined(__SANITIZE_ADDRESS__)
#define MAP_LARGE false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MAP_LARGE false
#endif
#endif
#ifndef MAP_LARGE
#define MAP_LARGE true
#endif

static char *data(struct arena_block *b)
{
	return b->pages ? b->pages : (char *)b + ALIGNMENT;
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
	*b = (struct arena_block){ .size = size };
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

/* Fresh zero pages, untouched; from a huge page's boundary on where some fit, so that they can be used: they make the
 * scattered reads of a training step faster and, as all of an allocation is written to, its memory no larger. */
static void *map_pages(size_t size)
{
	size_t room = size >= 2 * HUGE_PAGE ? size + HUGE_PAGE : size, before, behind;
	char *p;

	p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (room == size)
		return p;
	before = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
	behind = room - before - size;
	if (before)
		munmap(p, before);
	if (behind)
		munmap(p + before + size, behind);
	(void)madvise(p + before, size, MADV_HUGEPAGE); /* refused: small pages */
	return p + before;
}

static void *take_large(arena *a, size_t bytes)
{
	const size_t page = 4096;
	struct arena_block *b;

	if (bytes > SIZE_MAX / 2 || fault_hit(FAULT_ALLOC))
		return NULL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->size = b->used = (bytes + page - 1) / page * page;
	b->pages = map_pages(b->size);
	if (!b->pages) {
		free(b);
		return NULL;
	}
	b->next = a->head ? a->head->next : NULL; /* the head's rest stays in use */
	if (a->head)
		a->head->next = b;
	else
		a->head = b;
	return b->pages;
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
	if (MAP_LARGE && bytes >= LARGE)
		return take_large(a, bytes);
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

		if (b->pages)
			munmap(b->pages, b->size);
		free(b);
		b = next;
	}
	a->head = NULL;
}

size_t arena_bytes(const arena *a)
{
	size_t sum = 0;

	for (const struct arena_block *b = a->head; b; b = b->next)
		sum += b->size;
	return sum;
}

/* Zeros without touching them: fresh pages instead, huge ones where there are. False: nothing was done. */
static bool renew_pages(char *p, size_t bytes)
{
	const size_t page = 4096;
	size_t before = (page - (uintptr_t)p % page) % page, whole = (bytes - before) / page * page;

	if (madvise(p + before, whole, MADV_DONTNEED) != 0)
		return false;
	(void)madvise(p + before, whole, MADV_HUGEPAGE); /* refused: small pages */
	memset(p, 0, before);
	memset(p + before + whole, 0, bytes - before - whole);
	return true;
}

void *mem_alloc_aligned(size_t count, size_t size)
{
	size_t bytes;
	void *p;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2)
		return NULL;
	bytes = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
	p = aligned_alloc(ALIGNMENT, bytes);
	if (p && (bytes < MAPPED || !renew_pages(p, bytes)))
		memset(p, 0, bytes);
	return p;
}

void mem_forget(void *p, size_t bytes)
{
	const uintptr_t page = 4096;
	uintptr_t first = ((uintptr_t)p + page - 1) / page * page, end = ((uintptr_t)p + bytes) / page * page;

	if (p && first < end)
		(void)madvise((char *)p + (first - (uintptr_t)p), end - first, MADV_DONTNEED);
}

void mem_trim(void)
{
	malloc_trim(0);
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
