/* Open and scan a dump as the shared options say. */
#include "cli/dump_args.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int dump_parse_numbers(uint32_t **out, size_t *n, const option_list *list, const char *name, error *err)
{
	uint32_t *numbers = NULL;
	size_t cap = 0;

	*n = 0;
	for (size_t i = 0; i < list->n; i++) {
		const char *at = list->items[i];
		for (;;) {
			char *end = NULL;
			unsigned long value;
			errno = 0;
			value = isdigit((unsigned char)*at) ? strtoul(at, &end, 10) : 0;
			if (!end || errno || value > UINT32_MAX || (*end && *end != ',')) {
				free(numbers);
				return error_set(err, ERR_ARG,
				                 "--%s '%s' is not a list of numbers like 0,2,7", name,
				                 list->items[i]);
			}
			if (mem_grow(&numbers, &cap, *n + 1, sizeof(*numbers)) < 0) {
				free(numbers);
				return error_nomem(err, "a list of numbers");
			}
			numbers[(*n)++] = (uint32_t)value;
			if (!*end)
				break;
			at = end + 1;
		}
	}
	*out = numbers;
	return 0;
}

static int scan(dump_input *in, const cli_parsed *p, const sae_rows_opts *o, bool duplicates, error *err)
{
	progress pr;
	int rc;

	progress_start(&pr, cli_progress_stream(p), "scan", "rows", sae_dump_get_info(in->dump)->n_rows);
	rc = sae_rows_scan(&in->rows, in->dump, o, duplicates, in->pool, &pr, err);
	progress_end(&pr);
	return rc;
}

int dump_input_open(dump_input *in, const cli_parsed *p, const char *const *paths, size_t n_paths,
                    const dump_args *a, double norm_limit, bool duplicates, error *err)
{
	const sae_dump_opts d = { .key = a->key,
		                  .tokens = a->tokens,
		                  .dtype = a->dtype,
		                  .d_in = a->d_in,
		                  .head = a->head,
		                  .manifest = a->manifest,
		                  .ctx_len = a->ctx_len,
		                  .mask = a->mask,
		                  .lengths = a->lengths,
		                  .roles = a->roles.items,
		                  .n_roles = a->roles.n };
	sae_rows_opts r = { .max_norm_ratio = a->max_norm_ratio,
		            .norm_limit = norm_limit,
		            .nan_fail = strcmp(a->nan, "fail") == 0 };
	uint32_t *tokens = NULL, *positions = NULL;
	int rc = dump_parse_numbers(&tokens, &r.n_exclude_tokens, &a->exclude_tokens, "exclude-tokens", err);

	if (rc == 0)
		rc = dump_parse_numbers(&positions, &r.n_exclude_positions, &a->exclude_positions,
		                        "exclude-positions", err);
	r.exclude_tokens = tokens;
	r.exclude_positions = positions;
	if (rc == 0)
		rc = pool_new(&in->pool, a->threads, err);
	if (rc == 0)
		rc = sae_dump_open(&in->dump, paths, n_paths, &d, err);
	if (rc == 0 && r.n_exclude_tokens && !sae_dump_get_info(in->dump)->has_tokens)
		rc = error_set(err, ERR_ARG, "--exclude-tokens: the dump has no token ids");
	if (rc == 0)
		rc = scan(in, p, &r, duplicates, err);
	free(tokens);
	free(positions);
	return rc;
}

int dump_input_split(dump_input *in, const dump_split_args *a, error *err)
{
	sae_split_by by = strcmp(a->by, "tail") == 0 ? SAE_SPLIT_TAIL : SAE_SPLIT_DOCUMENT;

	return sae_rows_split(in->rows, in->dump, a->holdout, by, a->seed, err);
}

void dump_input_close(dump_input *in)
{
	sae_rows_free(in->rows);
	sae_dump_close(in->dump);
	pool_free(in->pool);
	*in = (dump_input){ 0 };
}
