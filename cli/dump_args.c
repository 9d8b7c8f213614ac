/* Open and scan a dump as the shared options say. */
#include "cli/dump_args.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
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

/* A dump of the same tokens beside the first: at `path`, NULL: in the first one's files. */
static int add_beside(dump_input *in, const dump_args *a, const char *const *paths, size_t n_paths,
                      const char *path, const char *key, bool target, error *err)
{
	const sae_dump_opts o = { .key = key ? key : a->key,
		                  .dtype = a->dtype,
		                  .d_in = target ? 0 : a->d_in,
		                  .head = target ? NULL : a->head,
		                  .ctx_len = a->ctx_len };
	sae_dump *d = NULL;
	int rc = path ? sae_dump_open(&d, &path, 1, &o, err) : sae_dump_open(&d, paths, n_paths, &o, err);

	if (rc == 0)
		rc = sae_dump_add(in->dump, d, target, err);
	if (rc < 0)
		sae_dump_close(d);
	return rc;
}

static int add_all(dump_input *in, const dump_args *a, const char *const *paths, size_t n_paths, error *err)
{
	size_t n = a->cross.n ? a->cross.n : a->cross_key.n;
	int rc = 0;

	if (a->cross.n && a->cross_key.n && a->cross.n != a->cross_key.n)
		return error_set(err, ERR_ARG, "--cross-key is given %zu times, --cross %zu times",
		                 a->cross_key.n, a->cross.n);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_beside(in, a, paths, n_paths, a->cross.n ? a->cross.items[i] : NULL,
		                a->cross_key.n ? a->cross_key.items[i] : NULL, false, err);
	if (rc == 0 && (a->target || a->target_key))
		rc = add_beside(in, a, paths, n_paths, a->target, a->target_key, true, err);
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
		            .more_limits = a->more_limits,
		            .n_more_limits = a->n_more_limits,
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
	if (rc == 0)
		rc = add_all(in, a, paths, n_paths, err);
	if (rc == 0 && r.n_exclude_tokens && !sae_dump_get_info(in->dump)->has_tokens)
		rc = error_set(err, ERR_ARG, "--exclude-tokens: the dump has no token ids");
	if (rc == 0)
		rc = scan(in, p, &r, duplicates, err);
	free(tokens);
	free(positions);
	return rc;
}

double dump_limit_of_sae(dump_args *a, const cli_parsed *p, const sae_model *m)
{
	if (cli_given(p, "max-norm-ratio"))
		return 0;
	a->more_limits = m->more_limits;
	a->n_more_limits = m->n_more_limits;
	return isinf(m->norm_limit) ? 0 : m->norm_limit;
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
