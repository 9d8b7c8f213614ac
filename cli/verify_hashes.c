/* Hashes of weights, dump and tokenizer: the store's, and those of what is given. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verify_hashes.h"

void verify_hashes_init(verify_hashes *h, const store_record *r)
{
	*h = (verify_hashes){ .n_dumps = r->n_dumps };
	h->of[HASH_WEIGHTS] = (verify_hash){ .what = "weights", .stored = r->weights_sha256, .same = true };
	h->of[HASH_DUMP] = (verify_hash){ .what = "dump", .stored = r->dump_sha256, .same = true };
	h->of[HASH_TOKENIZER] =
	        (verify_hash){ .what = "tokenizer", .stored = r->tokenizer_sha256, .same = true };
}

void verify_hash_set(verify_hashes *h, int kind, const char *digest)
{
	verify_hash *one = &h->of[kind];

	snprintf(one->given, sizeof(one->given), "%s", digest);
	one->same = one->stored && strcmp(one->stored, digest) == 0;
}

static bool went_in(const store_record *r, const char *digest)
{
	for (size_t i = 0; i < r->n_dumps; i++) {
		if (strcmp(r->dumps[i], digest) == 0)
			return true;
	}
	return false;
}

/* Whether each path alone, with its own manifest, is one of the dumps, and all of them are there. */
static int are_all(bool *all, const store_record *r, const cli_parsed *p, const index_input_opts *o,
                   error *err)
{
	char(*seen)[SHA256_HEX] = calloc(r->n_dumps, sizeof(*seen));
	dump_args alone = *o->dump;
	int rc = seen ? 0 : error_nomem(err, "hashes");

	*all = true;
	alone.manifest = NULL;
	for (size_t i = 0; i < r->n_dumps && rc == 0 && *all; i++) {
		dump_input one = { 0 };

		rc = dump_input_open(&one, p, o->dumps + i, 1, &alone, (double)INFINITY, false, err);
		if (rc == 0) {
			snprintf(seen[i], sizeof(seen[i]), "%s", sae_rows_get_stats(one.rows)->sha256);
			*all = went_in(r, seen[i]);
		}
		if (rc == ERR_FORMAT) { /* no dump of its own */
			*all = false;
			rc = 0;
		}
		for (size_t j = 0; j < i; j++)
			*all = *all && strcmp(seen[i], seen[j]) != 0;
		dump_input_close(&one);
	}
	free(seen);
	return rc;
}

int verify_hash_dump(verify_hashes *h, const index_input *x, const store_record *r, const cli_parsed *p,
                     error *err)
{
	const char *digest = x->dump_sha256;
	int rc = 0;

	verify_hash_set(h, HASH_DUMP, digest);
	if (h->of[HASH_DUMP].same || r->n_dumps < 2)
		return 0;
	h->partial = went_in(r, digest);
	h->of[HASH_DUMP].same = h->partial;
	if (!h->partial && x->o.n_dumps == r->n_dumps)
		rc = are_all(&h->of[HASH_DUMP].same, r, p, &x->o, err);
	return rc;
}

bool verify_hashes_same(const verify_hashes *h)
{
	return h->of[HASH_WEIGHTS].same && h->of[HASH_DUMP].same && h->of[HASH_TOKENIZER].same;
}

cJSON *verify_hashes_json(const verify_hashes *h)
{
	cJSON *list = cJSON_CreateArray();
	bool good = list;

	for (int i = 0; i < HASH_KINDS && good; i++) {
		const verify_hash *one = &h->of[i];
		cJSON *item = cJSON_CreateObject();

		good = item && cJSON_AddItemToArray(list, item);
		good = good && cJSON_AddStringToObject(item, "what", one->what);
		good = good && cJSON_AddItemToObject(item, "stored",
		                                     one->stored ? cJSON_CreateString(one->stored)
		                                                 : cJSON_CreateNull());
		good = good && cJSON_AddItemToObject(item, "given",
		                                     one->given[0] ? cJSON_CreateString(one->given)
		                                                   : cJSON_CreateNull());
		good = good && cJSON_AddBoolToObject(item, "same", one->same);
	}
	if (good)
		return list;
	cJSON_Delete(list);
	return NULL;
}

static void print_other(const verify_hash *one)
{
	printf("another one: the store has ");
	cli_put(one->stored ? one->stored : "none");
	printf(", given is %s\n", one->given);
}

void verify_hashes_print(const verify_hashes *h)
{
	for (int i = 0; i < HASH_KINDS; i++) {
		const verify_hash *one = &h->of[i];

		printf("  %-11s ", one->what);
		if (!one->given[0])
			printf(i == HASH_TOKENIZER ? "not given\n" : "not compared\n");
		else if (!one->same && i == HASH_DUMP && h->n_dumps > 1)
			printf("neither one nor all of the %zu that the store has, each given as one path\n",
			       h->n_dumps);
		else if (!one->same)
			print_other(one);
		else if (i == HASH_DUMP && h->partial)
			printf("one of the %zu that the store has\n", h->n_dumps);
		else if (i == HASH_DUMP && h->n_dumps > 1)
			printf("all %zu that the store has\n", h->n_dumps);
		else
			printf("that of the store\n");
	}
}
