/* hash.c: SHA-256 for records, a 64-bit hash for keys, and the counter-based random generator. */
#include "base/base.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/evp.h>

#define BLOCK ((size_t)1 << 18) /* bytes of a file hashed at a time */

__extension__ typedef unsigned __int128 u128;

int sha256_init(sha256 *h, error *err)
{
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(h->ctx);
		h->ctx = NULL;
		return error_nomem(err, "a SHA-256");
	}
	return 0;
}

void sha256_add(sha256 *h, const void *p, size_t n)
{
	int ok = EVP_DigestUpdate(h->ctx, p, n);

	assert(ok == 1); /* SHA-256 of memory cannot fail after init */
	(void)ok;
}

void sha256_end(sha256 *h, char hex[SHA256_HEX])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char bytes[32];
	int ok = EVP_DigestFinal_ex(h->ctx, bytes, NULL);

	assert(ok == 1);
	(void)ok;
	for (int i = 0; i < 32; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[64] = '\0';
	EVP_MD_CTX_free(h->ctx);
	h->ctx = NULL;
}

int sha256_bytes(char hex[SHA256_HEX], const void *p, size_t n, error *err)
{
	sha256 h;
	int rc = sha256_init(&h, err);

	if (rc < 0)
		return rc;
	sha256_add(&h, p, n);
	sha256_end(&h, hex);
	return 0;
}

int sha256_file(char hex[SHA256_HEX], const char *path, error *err)
{
	unsigned char *buf = NULL;
	char digest[SHA256_HEX];
	sha256 h = { NULL };
	uint64_t size = 0;
	int fd = -1;
	int rc = file_open_read(&fd, &size, path, err);

	if (rc < 0)
		return rc;
	buf = malloc(BLOCK);
	if (!buf) {
		rc = error_nomem(err, "hashing a file");
		goto out;
	}
	rc = sha256_init(&h, err);
	if (rc < 0)
		goto out;
	for (uint64_t at = 0; at < size && rc == 0; at += BLOCK) {
		size_t n = size - at < BLOCK ? (size_t)(size - at) : BLOCK;

		rc = file_pread(fd, buf, n, at, path, err);
		if (rc == 0)
			sha256_add(&h, buf, n);
	}
	sha256_end(&h, digest);
	if (rc == 0)
		memcpy(hex, digest, SHA256_HEX);
out:
	free(buf);
	close(fd);
	return rc;
}

/* One step of Steele's SplitMix64 (Stafford's variant 13 of the MurmurHash3 finaliser): a bijection of 64 bits. */
static uint64_t scramble(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t load_word(const unsigned char *p, size_t n)
{
	uint64_t w = 0;

	for (size_t i = 0; i < n; i++) /* compilers make one load of it where n is 8 */
		w |= (uint64_t)p[i] << (8 * i);
	return w;
}

/* h = scramble(seed ^ scramble(n)), then h = scramble(h ^ w) for every 8 bytes w, little-endian, the last filled up
 * with zeros. */
uint64_t hash64(const void *p, size_t n, uint64_t seed)
{
	const unsigned char *bytes = p;
	uint64_t h = scramble(seed ^ scramble(n));

	for (; n >= 8; bytes += 8, n -= 8)
		h = scramble(h ^ load_word(bytes, 8));
	return n ? scramble(h ^ load_word(bytes, n)) : h;
}

uint64_t hash64_mix(uint64_t seed, uint64_t counter)
{
	return scramble(scramble(scramble(seed) ^ counter));
}

double hash64_unit(uint64_t h)
{
	return (double)(h >> 11) * 0x1p-53;
}

uint64_t hash64_below(uint64_t h, uint64_t n)
{
	return (uint64_t)((u128)h * n >> 64);
}

/* Rounds of the Feistel network. Measured over keys for the distance between where 0 and 1 go: with halves of 2 bits, 4
 * and 6 rounds are far from uniform, 8 are not; from n = 40 on even 4 pass. */
static unsigned count_rounds(unsigned half)
{
	return half <= 6 ? 12 : 6;
}

uint64_t hash64_permute(uint64_t i, uint64_t n, uint64_t key)
{
	unsigned half = 0; /* bits in each half of the number: 4^half is the smallest such power >= n */
	unsigned rounds;
	uint64_t mask;

	assert(n >= 1 && i < n);
	while (half < 32 && (uint64_t)1 << (2 * half) < n)
		half++;
	mask = ((uint64_t)1 << half) - 1;
	rounds = count_rounds(half);
	if (half == 0)
		return 0;
	do { /* walk the cycle until it is back below n */
		uint64_t left = i >> half, right = i & mask;

		for (unsigned round = 0; round < rounds; round++) {
			uint64_t next = left ^ (hash64_mix(key, right << 8 | round) >> (64 - half));

			left = right;
			right = next;
		}
		i = left << half | right;
	} while (i >= n);
	return i;
}
