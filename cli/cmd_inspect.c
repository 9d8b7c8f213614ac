/* gloss inspect: what a dump holds and what to expect of it; or what an SAE is. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/inspect.h"

static const option options[] = {
	DUMP_ARGS_OPTIONS(inspect_opts, dump),
	DUMP_SPLIT_OPTIONS(inspect_opts, split),
	OPTION(inspect_opts, tokenizer, "tokenizer", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "tokenizer.json or tokenizer.model: check the token ids and show the first ones as text"),
	OPTION(inspect_opts, features, "features", 0, OPTION_U32, "N", NULL, 1, 4294967295.0,
	       "dictionary size of the forecast; if not given, 8 a dimension"),
	OPTION(inspect_opts, k, "k", 0, OPTION_U32, "N", "32", 1, 4294967295.0,
	       "features kept a token in the forecast"),
	OPTION(inspect_opts, batch, "batch", 0, OPTION_U32, "N", "4096", 1, 4294967295.0,
	       "rows a step in the forecast"),
	OPTION(inspect_opts, tensors, "tensors", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "list the tensors of .safetensors, .npy, .npz and .pt files, whatever they are"),
};

/* The positions with most outliers, the lower one first among equals. Empties the counts it takes. */
static void pick_top(inspect_report *r, uint32_t *at_position, uint32_t ctx_len)
{
	for (uint32_t i = 0; i < ctx_len; i++)
		r->n_positions += at_position[i] > 0;
	while (r->n_top < INSPECT_TOP && r->n_top < r->n_positions) {
		uint32_t top = 0;
		for (uint32_t i = 1; i < ctx_len; i++)
			if (at_position[i] > at_position[top])
				top = i;
		r->top[r->n_top++] = (inspect_place){ top, at_position[top] };
		at_position[top] = 0;
	}
}

/* Why rows were left out, from the rows themselves: where the first NaN is, at which positions the outliers are. */
static int look_at_left_out(inspect_report *r, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(r->in.dump);
	const sae_rows_stats *st = sae_rows_get_stats(r->in.rows);
	float *x = malloc(info->d_in * sizeof(*x));
	uint32_t *at_position = calloc(info->ctx_len, sizeof(*at_position)), position;
	uint64_t context;
	int rc = x && at_position ? 0 : error_nomem(err, "positions");

	for (uint64_t row = 0; row < info->n_rows && rc == 0 && r->n_looked_at < INSPECT_LOOK_MAX; row++) {
		double square = 0;
		if (sae_rows_kept(r->in.rows, row) || !sae_dump_where(r->in.dump, row, &context, &position) ||
		    sae_dump_masked(r->in.dump, row))
			continue;
		rc = sae_dump_read(r->in.dump, row, 1, x, err);
		if (rc < 0)
			break;
		r->n_looked_at++;
		for (size_t j = 0; j < info->d_in; j++)
			square += (double)x[j] * (double)x[j];
		if (!isfinite(square) && r->first_nan == UINT64_MAX)
			r->first_nan = row;
		else if (isfinite(square) && sqrt(square) > st->norm_limit)
			at_position[position]++;
	}
	if (rc == 0)
		pick_top(r, at_position, info->ctx_len);
	free(x);
	free(at_position);
	return rc;
}

static int join_text(inspect_report *r, const uint32_t *ids, uint32_t n, error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		size_t length;
		const char *bytes = sae_tokenizer_bytes(r->tokenizer, ids[i], &length);
		if (text_add(&r->sample, bytes, length) < 0)
			return error_nomem(err, "sample text");
	}
	return 0;
}

/* The highest id, ids that the vocabulary lacks (an error), and the first context's beginning. */
static int look_at_tokens(inspect_report *r, const inspect_opts *o, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(r->in.dump);
	uint32_t *ids = malloc(info->ctx_len * sizeof(*ids)),
	         size = r->tokenizer ? sae_tokenizer_size(r->tokenizer) : 0;
	uint64_t first;
	int rc = ids ? 0 : error_nomem(err, "token ids");

	for (uint64_t c = 0; c < info->n_contexts && rc == 0; c++) {
		uint32_t n = sae_dump_context(r->in.dump, c, &first);
		rc = sae_dump_tokens(r->in.dump, c, ids, err);
		for (uint32_t i = 0; i < n && rc == 0; i++) {
			if (ids[i] > r->max_id)
				r->max_id = ids[i];
			if (size && ids[i] >= size)
				rc = error_set(err, ERR_FORMAT,
				               "token id %u (context %" PRIu64
				               ", position %u) is beyond the vocabulary of "
				               "'%s': %u ids",
				               ids[i], c, i, o->tokenizer, size);
		}
		if (rc == 0 && c == 0) {
			r->n_first = n < ARRAY_LEN(r->first) ? n : (uint32_t)ARRAY_LEN(r->first);
			memcpy(r->first, ids, r->n_first * sizeof(*ids));
		}
	}
	if (rc == 0 && r->tokenizer)
		rc = join_text(r, r->first, r->n_first, err);
	free(ids);
	return rc;
}

/* Contexts that stand in a group with others, and how many such groups there are. */
static int look_at_groups(inspect_report *r, error *err)
{
	uint64_t n = sae_dump_get_info(r->in.dump)->n_contexts;
	uint32_t *members = calloc(sae_rows_n_groups(r->in.rows), sizeof(*members));

	if (!members)
		return error_nomem(err, "document groups");
	for (uint64_t c = 0; c < n; c++)
		members[sae_rows_group(r->in.rows, c)]++;
	for (uint32_t g = 0; g < sae_rows_n_groups(r->in.rows); g++) {
		if (members[g] < 2)
			continue;
		r->joined_contexts += members[g];
		r->joined_groups++;
		if (members[g] > r->largest_group)
			r->largest_group = members[g];
	}
	free(members);
	return 0;
}

static void forecast(inspect_report *r, const inspect_opts *o)
{
	const sae_dump_info *info = sae_dump_get_info(r->in.dump);
	double d = info->d_in, features;

	r->features = o->features ? o->features : 8 * info->d_in;
	r->k = o->k;
	r->batch = o->batch;
	features = r->features;
	r->weight_bytes = 4 * (2 * features * d + features + d);
	r->optimiser_bytes = 2 * r->weight_bytes;
	r->batch_bytes = 4.0 * r->batch * (2 * d + 3.0 * r->k);
	r->steps = sae_rows_n(r->in.rows, false) / r->batch;
}

static int gather(inspect_report *r, const cli_parsed *p, const inspect_opts *o, error *err)
{
	int rc = dump_input_open(&r->in, p, p->args, p->n_args, &o->dump, 0, true, err);

	if (rc == 0)
		rc = look_at_left_out(r, err);
	if (rc == 0 && o->tokenizer)
		rc = sae_tokenizer_load(&r->tokenizer, o->tokenizer, err);
	if (rc == 0 && sae_dump_get_info(r->in.dump)->has_tokens)
		rc = look_at_tokens(r, o, err);
	if (rc == 0)
		rc = dump_input_split(&r->in, &o->split, err);
	if (rc == 0)
		rc = look_at_groups(r, err);
	if (rc == 0)
		forecast(r, o);
	return rc;
}

static int run_inspect(const command *self, int argc, char **argv)
{
	inspect_report r = { .first_nan = UINT64_MAX };
	inspect_opts o = { 0 };
	cli_parsed p;
	error err = { 0 };
	int code;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	text_init(&r.sample, 1 << 20);
	if (o.tensors) {
		code = inspect_tensors(self, &p);
		goto out;
	}
	if (p.n_args == 1 && sae_model_is_at(p.args[0])) {
		code = inspect_sae(self, &p, p.args[0]);
		goto out;
	}
	if (p.n_args == 1 && !o.dump.key && inspect_is_archive(p.args[0])) {
		code = inspect_tensors(self, &p);
		goto out;
	}
	if (gather(&r, &p, &o, &err) < 0) {
		code = cli_fail(self, &err);
		goto out;
	}
	if (r.tokenizer && sae_dump_get_info(r.in.dump)->tokenizer_sha256 &&
	    strcmp(sae_dump_get_info(r.in.dump)->tokenizer_sha256, sae_tokenizer_sha256(r.tokenizer)) != 0)
		cli_warn(self, "'%s' is not the tokenizer that the dump's manifest names (by SHA-256)",
		         o.tokenizer);
	if (p.common.json) {
		code = cli_print_json(self, inspect_json(&r));
	} else {
		code = inspect_print(&r, &err) < 0 ? cli_fail(self, &err) : EXIT_DONE;
	}
out:
	sae_tokenizer_free(r.tokenizer);
	dump_input_close(&r.in);
	text_free(&r.sample);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_inspect_command = {
	.name = "inspect",
	.run = run_inspect,
	.help = "look at an activation dump: shapes, norms, outliers, documents; or at an SAE, or tensors",
	.usage = "DUMP... | SAE | FILE.pt | FILE.npz",
	.about = "Reads the whole dump once and tells what it holds: shards, shapes, token ids, norms, rows "
	         "that are left out by "
	         "default (NaN, infinity, norms far over the median), duplicate rows, how the variance lies, "
	         "which contexts "
	         "share text, and what a training run takes of memory.\n\n"
	         "A DUMP is a .safetensors, .npy, .npz, .pt or raw .bin file, a folder of them or a pattern "
	         "in quotes. "
	         "The hash covers values, shape "
	         "and tokens, so the same dump in other shards has the same hash.\n\n"
	         "Of the folder of an SAE it tells the format, the architecture and how it is computed, "
	         "shapes, and what "
	         "is folded into "
	         "the weights when it is loaded; no weight is read, but of a crosscoder, to tell which "
	         "inputs its "
	         "features are of. docs/formats.md has the formats.\n\n"
	         "Of a .pt or .npz file without a tensor 'activations', and with --tensors of any tensor "
	         "file, it lists "
	         "the tensors, "
	         "with the values of small ones, and the texts. Nothing in a .pt is executed.",
	.examples = "gloss inspect activations/\n"
	            "gloss inspect sae/\n"
	            "gloss inspect ae.pt\n"
	            "gloss inspect 'acts-*.npy' --tokens tokens.npy --tokenizer tokenizer.json\n"
	            "gloss inspect activations/ --json | jq .rows",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = UINT32_MAX,
};
