/* gloss encode: the codes of all rows of a dump, as one sparse matrix for use elsewhere. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/dump_args.h"

enum { BATCH_ROWS = 4096 };

typedef struct encode_opts {
	dump_args dump;
	const char *output, *format, *kernels;
	uint32_t splits;
	bool force;
} encode_opts;

static const option options[] = {
	OPTION(encode_opts, output, "output", 'o', OPTION_STRING, "FILE", NULL, 0, 0,
	       "file to write, or folder for delphi; required"),
	OPTION(encode_opts, format, "format", 0, OPTION_ENUM, "npz|safetensors|delphi", NULL, 0, 0,
	       "if not given, by the ending of the file's name"),
	OPTION(encode_opts, splits, "splits", 0, OPTION_U32, "N", "5", 1, 4096,
	       "with --format delphi: files of about equally many latents"),
	OPTION(encode_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "replace the file if it is there"),
	DUMP_ARGS_OPTIONS(encode_opts, dump),
	OPTION(encode_opts, kernels, "kernels", 0, OPTION_ENUM, "avx512|avx2|scalar", NULL, 0, 0,
	       "instruction set; if not given, the best of this CPU"),
};

typedef struct encoding {
	const dump_input *in;
	const sae_model *model;
	sae_encoder *encoder;
	sae_codes_writer *out; /* NULL: cache */
	sae_cache_writer *cache;
	sae_codes codes;
	float *x;      /* (BATCH_ROWS, d) */
	uint8_t *kept; /* (BATCH_ROWS) */
	uint64_t n_rows, n_kept, n_codes;
	double seconds;
} encoding;

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && strcmp(s + n - m, end) == 0;
}

/* *delphi: a folder, in no format of one file. */
static int choose_format(sae_codes_format *out, bool *delphi, const encode_opts *o, error *err)
{
	if (!o->output)
		return error_set(err, ERR_ARG, "where to? give --output FILE");
	*delphi = o->format && strcmp(o->format, "delphi") == 0;
	if (*delphi && o->force)
		return error_set(err, ERR_ARG, "--force replaces files, but --format delphi writes a folder");
	if (o->format)
		*out = strcmp(o->format, "npz") == 0 ? SAE_CODES_NPZ : SAE_CODES_SAFETENSORS;
	else if (ends_with(o->output, ".npz"))
		*out = SAE_CODES_NPZ;
	else if (ends_with(o->output, ".safetensors"))
		*out = SAE_CODES_SAFETENSORS;
	else
		return error_set(err, ERR_ARG, "'%s' ends neither in .npz nor in .safetensors: give --format",
		                 o->output);
	if (!o->force && file_exists(o->output))
		return error_set(err, ERR_EXISTS, "'%s' is there already: give another --output%s", o->output,
		                 *delphi ? "" : ", or --force");
	return 0;
}

/* Rows that were left out are encoded as zeros (they may hold NaN) and written empty. */
static int encode_batch(encoding *e, uint64_t first, uint64_t n, error *err)
{
	size_t d = e->model->d_in;
	int rc = sae_dump_read(e->in->dump, first, n, e->x, err);

	for (uint64_t i = 0; i < n && rc == 0; i++) {
		e->kept[i] = sae_rows_kept(e->in->rows, first + i);
		e->n_kept += e->kept[i];
		if (!e->kept[i])
			memset(e->x + i * d, 0, d * sizeof(*e->x));
	}
	if (rc == 0)
		rc = sae_encode(e->encoder, e->x, n, &e->codes, err);
	for (uint64_t i = 0; i < n && rc == 0; i++)
		e->n_codes += e->kept[i] ? e->codes.first[i + 1] - e->codes.first[i] : 0;
	if (rc < 0)
		return rc;
	return e->cache ? sae_cache_writer_add(e->cache, &e->codes, e->kept, err)
	                : sae_codes_writer_add(e->out, &e->codes, e->kept, err);
}

static int encode_all(encoding *e, progress *pr, error *err)
{
	double began = clock_now();
	int rc = 0;

	for (uint64_t first = 0; first < e->n_rows && rc == 0; first += BATCH_ROWS) {
		uint64_t n = e->n_rows - first < BATCH_ROWS ? e->n_rows - first : BATCH_ROWS;

		if (cli_stop_requested())
			return error_set(err, ERR_STOPPED, "stopped; nothing was written");
		rc = encode_batch(e, first, n, err);
		progress_update(pr, first + n, NULL);
	}
	if (rc == 0)
		rc = e->cache ? sae_cache_writer_commit(e->cache, err) : sae_codes_writer_commit(e->out, err);
	e->seconds = clock_now() - began;
	return rc;
}

static int context_tokens(void *payload, uint64_t context, uint32_t *out, error *err)
{
	const dump_input *in = payload;

	return sae_dump_tokens(in->dump, context, out, err);
}

static int open_cache(encoding *e, const encode_opts *o, const char *const *metadata, size_t n, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(e->in->dump);
	const sae_cache_opts cache = { .n_splits = o->splits,
		                       .ctx_len = info->ctx_len,
		                       .tokens = context_tokens,
		                       .payload = (void *)e->in,
		                       .model = e->model->model_name ? e->model->model_name : info->model };

	if (info->ragged)
		return error_set(
		        err, ERR_FORMAT,
		        "contexts differ in length or have masked tokens: delphi's cache has none such");
	if (!info->has_tokens)
		return error_set(err, ERR_ARG,
		                 "the dump has no token ids, which delphi's cache holds: give --tokens");
	return sae_cache_writer_open(&e->cache, o->output, e->model->d_sae, &cache, metadata, n, err);
}

static int run_encoding(encoding *e, const encode_opts *o, sae_codes_format format, bool delphi,
                        const cli_parsed *p, error *err)
{
	const char *const metadata[] = { "format",
		                         delphi ? "delphi" : "csr",
		                         "sae",
		                         p->args[0],
		                         "weights_sha256",
		                         e->model->weights_sha256,
		                         "dump_sha256",
		                         sae_rows_get_stats(e->in->rows)->sha256,
		                         "gloss_version",
		                         GLOSS_VERSION };
	arena mem = ARENA_INIT;
	progress pr;
	int rc = 0;

	e->x = arena_alloc(&mem, BATCH_ROWS, e->model->d_in * sizeof(*e->x));
	e->kept = arena_alloc(&mem, BATCH_ROWS, 1);
	if (!e->x || !e->kept)
		rc = error_nomem(err, "a batch of rows");
	if (rc == 0)
		rc = sae_encoder_new(&e->encoder, e->model, e->in->pool, o->kernels, err);
	if (rc == 0 && delphi)
		rc = open_cache(e, o, metadata, ARRAY_LEN(metadata) / 2, err);
	else if (rc == 0)
		rc = sae_codes_writer_open(&e->out, o->output, format, e->model->d_sae, metadata,
		                           ARRAY_LEN(metadata) / 2, err);
	progress_start(&pr, cli_progress_stream(p), "encode", "rows", e->n_rows);
	if (rc == 0)
		rc = encode_all(e, &pr, err);
	progress_end(&pr);
	sae_codes_writer_abort(e->out);
	sae_cache_writer_abort(e->cache);
	sae_encoder_free(e->encoder);
	sae_codes_free(&e->codes);
	arena_clear(&mem);
	return rc;
}

static cJSON *result_json(const encoding *e, const encode_opts *o)
{
	cJSON *top = cJSON_CreateObject();

	if (top && cJSON_AddStringToObject(top, "file", o->output) &&
	    cJSON_AddNumberToObject(top, "rows", (double)e->n_rows) &&
	    cJSON_AddNumberToObject(top, "left_out", (double)(e->n_rows - e->n_kept)) &&
	    cJSON_AddNumberToObject(top, "features", e->model->d_sae) &&
	    cJSON_AddNumberToObject(top, "codes", (double)e->n_codes) &&
	    cJSON_AddNumberToObject(top, "seconds", e->seconds))
		return top;
	cJSON_Delete(top);
	return NULL;
}

static void print_result(const encoding *e, const encode_opts *o)
{
	cli_put(o->output);
	printf(": %" PRIu64 " rows by %u features, %" PRIu64 " codes", e->n_rows, e->model->d_sae,
	       e->n_codes);
	if (e->n_kept)
		printf(", %.4g a row", (double)e->n_codes / (double)e->n_kept);
	printf("\n%" PRIu64 " rows left out: they are empty, and 0 in 'kept'\n", e->n_rows - e->n_kept);
	printf("%.1f s, %.0f rows/s\n", e->seconds, (double)e->n_rows / e->seconds);
}

static int run(const command *self, int argc, char **argv)
{
	encode_opts o = { 0 };
	cli_parsed p;
	dump_input in = { 0 };
	sae_model *model = NULL;
	sae_codes_format format = SAE_CODES_NPZ;
	encoding e = { .in = &in };
	bool delphi = false;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = choose_format(&format, &delphi, &o, &err);
	if (!rc)
		rc = sae_model_load_hashed(&model, p.args[0], &err);
	if (!rc)
		rc = dump_input_open(&in, &p, p.args + 1, p.n_args - 1, &o.dump,
		                     dump_limit_of_sae(&o.dump, &p, model), false, &err);
	if (!rc && sae_dump_get_info(in.dump)->d_in != model->d_in)
		rc = error_set(&err, ERR_ARG, "'%s' acts on rows of %u values, the dump's have %u", p.args[0],
		               model->d_in, sae_dump_get_info(in.dump)->d_in);
	if (!rc) {
		e.model = model;
		e.n_rows = sae_dump_get_info(in.dump)->n_rows;
		rc = run_encoding(&e, &o, format, delphi, &p, &err);
	}
	if (rc)
		code = cli_fail(self, &err);
	else if (p.common.json)
		code = cli_print_json(self, result_json(&e, &o));
	else
		print_result(&e, &o);
out:
	dump_input_close(&in);
	sae_model_free(model);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_encode_command = {
	.name = "encode",
	.run = run,
	.help = "write the sparse codes of a dump's rows, for use in Python",
	.usage = "SAE DUMP... -o FILE|FOLDER",
	.about =
	        "Encodes every row of the dump and writes one sparse matrix (rows, features) in CSR form: "
	        "indptr,\n"
	        "indices, data. An .npz is what scipy.sparse.load_npz() reads; a .safetensors holds the same "
	        "arrays\n"
	        "as tensors, with the hashes of weights and dump in its metadata. 'shape' and 'kept' are in "
	        "both.\n"
	        "\n"
	        "Row i of the matrix is row i of the dump, in the order of its files. Rows that training "
	        "left "
	        "out for\n"
	        "their norm (--max-norm-ratio sets a limit anew), that hold NaN, or that are excluded by an "
	        "option are\n"
	        "empty, and 0 in 'kept'. The file appears whole or not at all; memory does not grow with the "
	        "dump.\n"
	        "\n"
	        "--format delphi writes delphi's latent cache of one hook point: FIRST_LAST.safetensors with "
	        "locations,\n"
	        "activations (F32, where delphi itself rounds to F16) and tokens, and config.json. Delphi's "
	        "loader "
	        "reads it;\n"
	        "so does 'gloss index --codes', for which the first file also holds 'kept'.",
	.examples = "gloss encode sae/ dump/ -o latents/layers.15 --format delphi\n"
	            "gloss encode sae/ dump/ -o codes.npz\n"
	            "python3 -c \"import scipy.sparse; print(scipy.sparse.load_npz('codes.npz').mean(0))\"",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = UINT32_MAX,
};
