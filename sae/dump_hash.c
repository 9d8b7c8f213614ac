/* The hash of a dump's first rows, as rows.c makes it of all of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sae/rows_internal.h"

enum { WAVE = 64 }; /* tiles at a time */

typedef struct start_hash {
	const sae_dump *d;
	uint64_t n_rows, first_tile;
	char sha256[WAVE][SHA256_HEX];
	error err[WAVE];
} start_hash;

static int hash_tile(const sae_dump *d, uint64_t first, uint64_t n, sha256 *h, error *err)
{
	size_t bytes = n * dump_row_bytes(d);
	unsigned char *raw = malloc(bytes);
	uint32_t *tokens = malloc(n * sizeof(*tokens));
	uint8_t *marks = malloc(n);
	int rc = raw && tokens && marks ? dump_read_raw(d, first, n, raw, err)
	                                : error_nomem(err, "rows to hash");

	if (rc == 0) {
		sha256_add(h, raw, bytes);
		if (sae_dump_get_info(d)->has_tokens)
			rc = dump_read_tokens(d, first, n, tokens, err);
		if (rc == 0 && sae_dump_get_info(d)->has_tokens)
			sha256_add(h, tokens, n * sizeof(*tokens));
		if (rc == 0 && sae_dump_get_info(d)->ragged) {
			dump_row_marks(d, first, n, marks);
			sha256_add(h, marks, n);
		}
	}
	free(marks);
	free(raw);
	free(tokens);
	return rc;
}

static void tile_task(void *payload, size_t i, unsigned worker)
{
	start_hash *s = payload;
	uint64_t first = (s->first_tile + i) * ROWS_HASHED, n = s->n_rows - first;
	sha256 h;

	(void)worker;
	s->err[i] = (error){ 0 };
	if (sha256_init(&h, &s->err[i]) < 0)
		return;
	(void)hash_tile(s->d, first, n < ROWS_HASHED ? n : ROWS_HASHED, &h, &s->err[i]); /* err tells */
	sha256_end(&h, s->sha256[i]);
}

static int hash_tiles(start_hash *s, sha256 *h, pool *p, error *err)
{
	uint64_t n_tiles = (s->n_rows + ROWS_HASHED - 1) / ROWS_HASHED;

	for (; s->first_tile < n_tiles; s->first_tile += WAVE) {
		size_t n = n_tiles - s->first_tile < WAVE ? (size_t)(n_tiles - s->first_tile) : WAVE;

		pool_run(p, n, tile_task, s);
		for (size_t i = 0; i < n; i++) {
			if (s->err[i].code)
				return error_set(err, s->err[i].code, "%s", s->err[i].msg);
			sha256_add(h, s->sha256[i], SHA256_HEX - 1);
		}
	}
	return 0;
}

void dump_hash_line(char out[DUMP_HASH_LINE], const sae_dump *d, uint64_t n_rows)
{
	const sae_dump_info *info = sae_dump_get_info(d);

	size_t n = (size_t)snprintf(out, DUMP_HASH_LINE, "gloss dump 1 %s %u %" PRIu64 " %u %s%s",
	                            sae_dtype_name(info->dtype), d->width, n_rows,
	                            d->side_by_side ? 0 : info->ctx_len, info->has_tokens ? "tokens" : "none",
	                            info->ragged ? " ragged" : "");

	for (size_t i = 1; i < dump_n_parts(d); i++) {
		const sae_dump *part = dump_part(d, i);

		n += (size_t)snprintf(out + n, DUMP_HASH_LINE - n, " %s %s %u",
		                      dump_part_is_target(d, i) ? "target" : "beside",
		                      sae_dtype_name(part->info.dtype), part->width);
	}
	snprintf(out + n, DUMP_HASH_LINE - n, "\n");
}

int dump_hash_start(char out[SHA256_HEX], const sae_dump *d, uint64_t n_rows, pool *p, error *err)
{
	start_hash *s = calloc(1, sizeof(*s));
	char line[DUMP_HASH_LINE];
	sha256 h;
	int rc = s ? sha256_init(&h, err) : error_nomem(err, "the hash of a dump");

	if (rc < 0) {
		free(s);
		return rc;
	}
	*s = (start_hash){ .d = d, .n_rows = n_rows };
	dump_hash_line(line, d, n_rows);
	sha256_add(&h, line, strlen(line));
	rc = hash_tiles(s, &h, p, err);
	sha256_end(&h, out);
	free(s);
	return rc;
}
