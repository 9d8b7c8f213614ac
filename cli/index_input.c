/* What features are taken from, opened. */
#include "cli/index_input.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *index_kind_name(index_kind kind)
{
	static const char *const names[] = {
		[INDEX_SAE] = "sae", [INDEX_NEURONS] = "neurons", [INDEX_CODES] = "codes"
	};

	return names[kind];
}

/* A hash noted where the codes were made makes them those of this SAE: labels hold on, stores of several dumps merge. */
static int load_codes(index_input *x, error *err)
{
	const sae_codes_info *info;
	int rc = sae_codes_reader_open(&x->codes, x->o.path, x->o.n_dumps ? NULL : x->o.dump->tokens, err);

	if (rc < 0)
		return rc;
	info = sae_codes_reader_get_info(x->codes);
	x->n_features = info->n_features;
	memcpy(x->weights_sha256, info->weights_sha256[0] ? info->weights_sha256 : info->sha256, SHA256_HEX);
	if (!info->has_tokens && x->o.n_dumps == 0)
		return error_set(err, ERR_ARG,
		                 "'%s' has no token ids, without which no text can be shown: give the dump, "
		                 "or --tokens",
		                 x->o.path);
	return 0;
}

int index_input_load(index_input *x, const index_input_opts *o, error *err)
{
	int rc = 0;

	x->o = *o;
	if (o->kind == INDEX_SAE)
		rc = sae_model_load_hashed(&x->model, o->path, err);
	else if (o->kind == INDEX_CODES)
		rc = load_codes(x, err);
	if (rc == 0 && x->model) {
		x->n_features = x->model->d_sae;
		memcpy(x->weights_sha256, x->model->weights_sha256, sizeof(x->weights_sha256));
	}
	return rc;
}

static int check_dump(const index_input *x, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(x->in.dump);

	if (x->model && info->d_in != x->model->d_in)
		return error_set(err, ERR_FORMAT,
		                 "the SAE '%s' is for %u dimensions, the rows of '%s' have %u", x->o.path,
		                 x->model->d_in, x->o.dumps[0], info->d_in);
	if (!info->has_tokens)
		return error_set(
		        err, ERR_FORMAT,
		        "'%s' has no token ids, without which no text can be shown: give them with --tokens",
		        x->o.dumps[0]);
	return 0;
}

/* Neurons are the same by what they are of, whatever their thresholds. */
static int open_neurons(index_input *x, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(x->in.dump);
	text what;
	int rc = sae_neurons_new(&x->neurons, x->in.dump, x->in.rows, &x->o.neurons, x->in.pool, err);

	if (rc < 0)
		return rc;
	x->n_features = x->neurons->n_features;
	text_init(&what, 1 << 16);
	rc = text_addf(&what, "gloss neurons 1 %u %s\n%s\n%s", info->d_in,
	               x->o.neurons.both_signs ? "both" : "one", info->model ? info->model : "",
	               info->hook_point ? info->hook_point : "");
	rc = rc < 0 ? error_nomem(err, "neurons") : sha256_bytes(x->weights_sha256, what.data, what.len, err);
	text_free(&what);
	return rc < 0 ? rc : index_feed_neurons(&x->feed, &x->in, x->neurons, err);
}

/* ---- Codes ---- */

/* Where codes bring their own tokens, these must be the dump's. */
static int compare_tokens(const index_input *x, error *err)
{
	const sae_dump_info *dump = sae_dump_get_info(x->in.dump);
	uint32_t *mine = malloc(dump->ctx_len * sizeof(*mine)),
	         *theirs = malloc(dump->ctx_len * sizeof(*theirs));
	int rc = mine && theirs ? 0 : error_nomem(err, "tokens");

	for (uint64_t c = 0; c < dump->n_contexts && rc == 0; c++) {
		rc = sae_dump_tokens(x->in.dump, c, mine, err);
		if (rc == 0)
			rc = sae_codes_reader_tokens(x->codes, c * dump->ctx_len, dump->ctx_len, theirs, err);
		for (uint32_t i = 0; i < dump->ctx_len && rc == 0; i++)
			if (mine[i] != theirs[i])
				rc = error_set(err, ERR_FORMAT,
				               "token %u of context %" PRIu64
				               " is %u in the codes '%s' and %u in the "
				               "dump '%s': they do not belong together",
				               i, c, theirs[i], x->o.path, mine[i], x->o.dumps[0]);
	}
	free(mine);
	free(theirs);
	return rc;
}

static int check_codes(const index_input *x, error *err)
{
	const sae_codes_info *info = sae_codes_reader_get_info(x->codes);
	const sae_dump_info *dump = sae_dump_get_info(x->in.dump);
	const char *digest = sae_rows_get_stats(x->in.rows)->sha256;

	if (dump->ragged)
		return error_set(err, ERR_FORMAT,
		                 "the contexts of '%s' differ in length or have masked tokens: codes of such "
		                 "dumps are not "
		                 "indexed, but index the SAE",
		                 x->o.dumps[0]);
	if (info->n_rows != dump->n_rows)
		return error_set(err, ERR_FORMAT,
		                 "the codes '%s' are of %" PRIu64 " tokens, the dump '%s' has %" PRIu64
		                 " rows",
		                 x->o.path, info->n_rows, x->o.dumps[0], dump->n_rows);
	if (info->dump_sha256[0] && strcmp(info->dump_sha256, digest) != 0)
		return error_set(err, ERR_FORMAT,
		                 "the codes '%s' are of another dump than '%s', by its hash: %.12s..., not "
		                 "%.12s...",
		                 x->o.path, x->o.dumps[0], info->dump_sha256, digest);
	if (info->ctx_len && info->ctx_len != dump->ctx_len)
		return error_set(err, ERR_FORMAT,
		                 "the codes '%s' are of contexts of %u tokens, the dump '%s' of %u",
		                 x->o.path, info->ctx_len, x->o.dumps[0], dump->ctx_len);
	return info->has_tokens ? compare_tokens(x, err) : 0;
}

typedef struct excluded {
	uint32_t *tokens, *positions;
	size_t n_tokens, n_positions;
} excluded;

static bool is_among(const uint32_t *list, size_t n, uint32_t value)
{
	size_t i = 0;

	while (i < n && list[i] != value)
		i++;
	return i < n;
}

/* Bits of one context's tokens; ids: NULL where the dump's rows have been told which do not count. */
static void mark(index_input *x, uint64_t context, uint32_t ctx_len, const uint8_t *kept, const uint32_t *ids,
                 const excluded *e)
{
	for (uint32_t i = 0; i < ctx_len; i++) {
		uint64_t token = context * ctx_len + i;
		bool out = !kept[i] || (x->in.rows && !sae_rows_kept(x->in.rows, token));

		if (ids)
			out = out || is_among(e->tokens, e->n_tokens, ids[i]) ||
			      is_among(e->positions, e->n_positions, i);
		if (out)
			x->left_out[token / 8] |= (uint8_t)(1 << token % 8);
		x->n_left_out += out;
	}
}

static int mark_all(index_input *x, uint32_t ctx_len, const excluded *e, error *err)
{
	uint32_t *ids = malloc(ctx_len * sizeof(*ids));
	uint8_t *kept = malloc(ctx_len);
	int rc = ids && kept ? 0 : error_nomem(err, "tokens that do not count");

	for (uint64_t c = 0; c < x->n_rows / ctx_len && rc == 0; c++) {
		rc = sae_codes_reader_kept(x->codes, c * ctx_len, ctx_len, kept, err);
		if (rc == 0 && !x->in.rows)
			rc = sae_codes_reader_tokens(x->codes, c * ctx_len, ctx_len, ids, err);
		if (rc == 0)
			mark(x, c, ctx_len, kept, x->in.rows ? NULL : ids, e);
	}
	free(kept);
	free(ids);
	return rc;
}

static int leave_out(index_input *x, uint32_t ctx_len, error *err)
{
	excluded e = { 0 };
	int rc = 0;

	x->left_out = calloc((size_t)(x->n_rows + 7) / 8, 1);
	if (!x->left_out)
		return error_nomem(err, "tokens that do not count");
	x->n_left_out = 0;
	if (!x->in.rows)
		rc = dump_parse_numbers(&e.tokens, &e.n_tokens, &x->o.dump->exclude_tokens, "exclude-tokens",
		                        err);
	if (rc == 0 && !x->in.rows)
		rc = dump_parse_numbers(&e.positions, &e.n_positions, &x->o.dump->exclude_positions,
		                        "exclude-positions", err);
	if (rc == 0)
		rc = mark_all(x, ctx_len, &e, err);
	free(e.tokens);
	free(e.positions);
	return rc;
}

static int open_codes(index_input *x, error *err)
{
	const sae_codes_info *info = sae_codes_reader_get_info(x->codes);
	const char *digest = info->dump_sha256[0] ? info->dump_sha256 : info->sha256;
	uint32_t ctx_len = x->in.dump ? sae_dump_get_info(x->in.dump)->ctx_len : info->ctx_len;
	int rc = x->in.dump ? check_codes(x, err) : 0;

	if (!x->in.dump) {
		x->n_rows = info->n_rows;
		memcpy(x->dump_sha256, digest, SHA256_HEX);
	}
	if (rc == 0)
		rc = leave_out(x, ctx_len, err);
	return rc < 0 ? rc
	              : index_feed_codes(&x->feed, x->codes, x->in.dump ? &x->in : NULL, x->left_out, err);
}

/* ---- Opened ---- */

/* Rows that training left out for their norm stay out; an SAE that tells no limit gets the usual one (0), and so do codes that do
 * not tell which rows count. */
static double usual_limit(const index_input *x)
{
	if (x->codes && sae_codes_reader_get_info(x->codes)->has_kept)
		return (double)INFINITY;
	return x->model && !isinf(x->model->norm_limit) ? x->model->norm_limit : 0;
}

static int open_dump(index_input *x, const cli_parsed *p, double norm_limit, error *err)
{
	const sae_rows_stats *rows;
	dump_args dump = *x->o.dump;
	int rc;

	if (x->model) { /* of further dumps of a crosscoder; the same when it is verified */
		dump.more_limits = x->model->more_limits;
		dump.n_more_limits = x->model->n_more_limits;
	}
	rc = dump_input_open(&x->in, p, x->o.dumps, x->o.n_dumps, &dump,
	                     isnan(norm_limit) ? usual_limit(x) : norm_limit, false, err);
	if (rc == 0)
		rc = check_dump(x, err);
	if (rc < 0)
		return rc;
	rows = sae_rows_get_stats(x->in.rows);
	x->n_rows = rows->n_rows;
	x->n_left_out = rows->n_rows - rows->n_masked - rows->n_kept;
	x->norm_limit = rows->norm_limit;
	memcpy(x->dump_sha256, rows->sha256, SHA256_HEX);
	return 0;
}

int index_input_open(index_input *x, const cli_parsed *p, double norm_limit, error *err)
{
	int rc = 0;

	x->norm_limit = (double)INFINITY;
	if (x->o.n_dumps)
		rc = open_dump(x, p, norm_limit, err);
	if (rc == 0 && x->o.kind == INDEX_SAE)
		rc = index_feed_sae(&x->feed, &x->in, x->model, x->o.kernels, err);
	else if (rc == 0)
		rc = x->codes ? open_codes(x, err) : open_neurons(x, err);
	return rc < 0 ? rc : index_documents_read(&x->docs, &x->feed, err);
}

void index_input_close(index_input *x)
{
	index_documents_free(&x->docs);
	index_feed_close(&x->feed);
	dump_input_close(&x->in);
	sae_codes_reader_close(x->codes);
	free(x->left_out);
	sae_neurons_free(x->neurons);
	sae_model_free(x->model);
	*x = (index_input){ 0 };
}

static const char *first_of(const char *a, const char *b)
{
	return a ? a : b;
}

void index_input_describe(const index_input *x, store_index_opts *o)
{
	const sae_dump_info *info = x->in.dump ? sae_dump_get_info(x->in.dump) : NULL;

	o->kind = index_kind_name(x->o.kind);
	o->architecture = x->model ? sae_arch_name(x->model->arch) : o->kind;
	o->model = x->model   ? x->model->model_name
	           : x->codes ? sae_codes_reader_get_info(x->codes)->model
	                      : NULL;
	o->model = first_of(o->model, info ? info->model : NULL);
	o->hook_point = first_of(x->model ? x->model->hook_name : NULL, info ? info->hook_point : NULL);
	o->layer = info ? info->layer : -1;
	o->d_in = x->model ? x->model->d_out : info ? info->d_in : 0; /* of decoder rows */
	o->n_features = x->n_features;
	o->k = x->model ? x->model->k : 0;
	o->weights_sha256 = x->weights_sha256;
	o->dump_sha256 = x->dump_sha256;
	o->norm_limit = x->norm_limit;
	o->n_left_out = x->n_left_out;
}

int index_input_features(const index_input *x, store_index *ix, uint32_t n_vocab, uint32_t n_ranked,
                         const char *unembed, FILE *progress_stream, error *err)
{
	if (x->codes)
		return 0; /* they tell of no directions */
	if (x->model)
		return index_give_features(ix, x->model, n_vocab, n_ranked, unembed, x->in.pool,
		                           progress_stream, err);
	return index_give_axes(ix, x->neurons, n_vocab, n_ranked, unembed, x->in.pool, progress_stream, err);
}
