/* A fuzz target is tests/fuzz_NAME.c with the two things below. Linked with fuzz_main.c it is the test fuzz_NAME: a fixed
 * number of mutated seeds, always the same ones; with files as arguments it replays them. Built by
 * `clang -fsanitize=fuzzer,address` without fuzz_main.c it is a libFuzzer target. */
#ifndef GLOSS_TESTS_FUZZ_H
#define GLOSS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Takes any input without a crash, a leak or a hang; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct fuzz_seed {
	const char *bytes;
	size_t size;
} fuzz_seed;
#define FUZZ_SEED(literal)                                                                                   \
	{                                                                                                    \
		literal, sizeof(literal) - 1                                                                 \
	}
extern const fuzz_seed fuzz_seeds[]; /* inputs that are right; {NULL, 0} at the end */

#endif
