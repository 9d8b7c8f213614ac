/* fuzz.h: replay files, or a fixed series of mutated seeds. */
#include "tests/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { RUNS = 4000, INPUT_MAX = 1 << 16 };

typedef struct input {
	unsigned char bytes[INPUT_MAX];
	size_t n;
	uint64_t seed, counter;
} input;

static size_t below(input *in, size_t n)
{
	return n ? (size_t)(hash64_mix(in->seed, in->counter++) % n) : 0;
}

/* Replaces `old` bytes at `at` by `n` others. */
static void splice(input *in, size_t at, size_t old, const void *bytes, size_t n)
{
	if (at + old > in->n || in->n - old + n > INPUT_MAX)
		return;
	memmove(in->bytes + at + n, in->bytes + at + old, in->n - at - old);
	memcpy(in->bytes + at, bytes, n);
	in->n = in->n - old + n;
}

/* A number of the text becomes another, a likely trap. */
static void change_number(input *in)
{
	static const char *const traps[] = {
		"0",     "1",   "-1", "2147483648", "4294967296", "9007199254740993", "18446744073709551615",
		"1e300", "0.5", "00"
	};
	size_t at = below(in, in->n), digits = 0;
	const char *trap = traps[below(in, ARRAY_LEN(traps))];

	while (at < in->n && (in->bytes[at] < '0' || in->bytes[at] > '9'))
		at++;
	while (at + digits < in->n && in->bytes[at + digits] >= '0' && in->bytes[at + digits] <= '9')
		digits++;
	splice(in, at, digits, trap, strlen(trap));
}

static void mutate(input *in)
{
	static const unsigned char odd[] = { 0,   1,   0x7f, 0x80, 0xff, '"', '{',
		                             '}', '[', ']',  ',',  '(',  ')', '\'' };
	unsigned char copy[256];
	size_t at = below(in, in->n), n;

	switch (below(in, 7)) {
	case 0:
		if (in->n)
			in->bytes[at] ^= (unsigned char)(1U << below(in, 8));
		break;
	case 1:
		if (in->n)
			in->bytes[at] = odd[below(in, sizeof(odd))];
		break;
	case 2:
		change_number(in);
		break;
	case 3:
		in->n = at; /* cut */
		break;
	case 4:
		splice(in, at, below(in, in->n - at < 32 ? in->n - at + 1 : 32), "", 0);
		break;
	case 5: /* repeat a part */
		n = below(in, in->n - at < sizeof(copy) ? in->n - at + 1 : sizeof(copy));
		memcpy(copy, in->bytes + at, n);
		splice(in, below(in, in->n), 0, copy, n);
		break;
	default: /* a number of 8 bytes at the front, as headers have */
		if (in->n >= 16)
			in->bytes[below(in, 16)] = odd[below(in, 5)];
	}
}

static int replay(const char *path)
{
	error err = { 0 };
	char *data = NULL;
	size_t n;

	if (file_read(&data, &n, path, 1 << 30, &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	(void)LLVMFuzzerTestOneInput((const uint8_t *)data, n);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	static input in;
	size_t n_seeds = 0;
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= replay(argv[i]);
	if (argc > 1)
		return failed;
	while (fuzz_seeds[n_seeds].bytes)
		n_seeds++;
	for (uint64_t run = 0; run < RUNS; run++) {
		const fuzz_seed *seed = &fuzz_seeds[run % n_seeds];
		in.seed = run;
		in.counter = 0;
		in.n = seed->size;
		memcpy(in.bytes, seed->bytes, seed->size);
		for (size_t i = run < n_seeds ? 0 : 1 + below(&in, 6); i > 0; i--)
			mutate(&in);
		(void)LLVMFuzzerTestOneInput(in.bytes, in.n);
	}
	printf("%d inputs from %zu seeds\n", RUNS, n_seeds);
	return 0;
}
