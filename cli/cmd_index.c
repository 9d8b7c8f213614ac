/* gloss index: one pass over a dump, of an SAE or its neurons, or over codes computed elsewhere, into a store. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/index_input.h"

typedef struct index_opts {
	dump_args dump;
	neuron_args neurons;
	const char *codes; /* NULL: none */
	const char *store, *source, *tokenizer, *unembed;
	bool corpus, force;
	uint32_t top, samples, random, before, after, neighbours;
	double norm_limit;
} index_opts;

static const option options[] = {
	OPTION(index_opts, store, "store", 'd', OPTION_STRING, "STORE", NULL, 0, 0,
	       "the store to write to; made when it is not there"),
	OPTION(index_opts, source, "source", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "what to call it in the store; if not given, the name of the SAE's folder, or 'neurons'"),
	OPTION(index_opts, tokenizer, "tokenizer", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "tokenizer.json or tokenizer.model of the model that made the dump"),
	OPTION(index_opts, unembed, "unembed", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "safetensors with lm_head.weight and norm.weight: also rank the logits of each feature"),
	OPTION(index_opts, corpus, "corpus", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "keep all firings of all contexts, so that find sees the whole dump"),
	OPTION(index_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0, "replace a source of this name"),
	OPTION(index_opts, top, "top", 0, OPTION_U32, "N", "24", 1, 1000,
	       "strongest contexts kept a feature"),
	OPTION(index_opts, samples, "samples", 0, OPTION_U32, "N", "160", 1, 1000,
	       "firings sampled of each feature, all alike"),
	OPTION(index_opts, random, "random", 0, OPTION_U32, "N", "512", 0, 1e6,
	       "contexts chosen at random of which all firings are kept"),
	OPTION(index_opts, before, "before", 0, OPTION_U32, "N", "47", 0, 10000,
	       "tokens shown before the one that fires"),
	OPTION(index_opts, after, "after", 0, OPTION_U32, "N", "16", 0, 10000, "tokens shown behind it"),
	OPTION(index_opts, neighbours, "neighbours", 0, OPTION_U32, "N", "10", 0, 1000,
	       "neighbours by decoder cosine, and logits at each end, kept a feature"),
	OPTION(index_opts, norm_limit, "norm-limit", 0, OPTION_DOUBLE, "X", NULL, 0, 1e30,
	       "leave out rows with a norm over X; 0 keeps all. Stores that merge joins need equal limits"),
	NEURON_ARGS_OPTIONS(index_opts, neurons),
	OPTION(index_opts, codes, "codes", 0, OPTION_STRING, "PATH", NULL, 0, 0,
	       "no SAE: codes computed elsewhere, a CSR matrix or a folder of delphi's latent cache"),
	DUMP_ARGS_OPTIONS(index_opts, dump),
};

/* Everything of one run. */
typedef struct index_run {
	const command *self;
	const cli_parsed *p;
	const index_opts *o;
	char source[256];
	index_input x;
	sae_tokenizer *tokenizer;
	store *store;
	store_index *ix;
	char *config;
	text argv;
	index_pass_stats times;
	store_index_result result;
	double seconds, pass_seconds;
} index_run;

/* ---- Before the pass ---- */

/* The last part of the path of SAE or codes, also of "." and "runs/a/". */
static int name_source(index_run *r, error *err)
{
	const char *given = r->o->source, *path = r->o->codes ? r->o->codes : r->p->args[0];
	char *whole = NULL;

	if (!given && r->o->neurons.neurons)
		given = "neurons";
	if (!given) {
		whole = realpath(path, NULL);
		given = file_base(whole ? whole : path);
	}
	if (strlen(given) >= sizeof(r->source) || !given[0]) {
		free(whole);
		return error_set(err, ERR_ARG, "'%s' cannot name a source: give another --source", given);
	}
	memcpy(r->source, given, strlen(given) + 1);
	free(whole);
	return 0;
}

/* Open the store and see that the name is free, before anything takes long. */
static int open_store(index_run *r, error *err)
{
	store_source src;
	int rc = store_open(&r->store, r->o->store, STORE_CREATE, err);

	if (rc < 0 || r->o->force)
		return rc;
	rc = store_source_get(&src, r->store, r->source, NULL);
	if (rc == 0)
		return error_set(err, ERR_EXISTS,
		                 "'%s' has a source '%s' already: give another --source, or --force",
		                 r->o->store, r->source);
	return rc == ERR_NOTFOUND ? 0 : store_source_get(&src, r->store, r->source, err);
}

/* NAN: the user says nothing, so what training left out stays out. */
static double norm_limit(const index_run *r)
{
	if (cli_given(r->p, "norm-limit"))
		return r->o->norm_limit > 0 ? r->o->norm_limit : (double)INFINITY;
	return cli_given(r->p, "max-norm-ratio") ? 0 : (double)NAN;
}

/* Arguments before the dumps. */
static size_t n_before(const index_run *r)
{
	return r->o->neurons.neurons || r->o->codes ? 0 : 1;
}

/* Whether options and arguments go together. */
static int check_args(const index_run *r, error *err)
{
	static const char *const of_neurons[] = { "density", "threshold", "both-signs" }, *const of_rows[] = {
		"norm-limit", "max-norm-ratio", "key", "ctx-len", "manifest"
	};

	for (size_t i = 0; i < ARRAY_LEN(of_neurons) && !r->o->neurons.neurons; i++) {
		if (cli_given(r->p, of_neurons[i]))
			return error_set(err, ERR_ARG, "--%s goes with --neurons", of_neurons[i]);
	}
	if (r->o->neurons.neurons && r->o->codes)
		return error_set(err, ERR_ARG, "--neurons and --codes exclude each other");
	for (size_t i = 0; i < ARRAY_LEN(of_rows) && r->o->codes && r->p->n_args == 0; i++) {
		if (cli_given(r->p, of_rows[i]))
			return error_set(err, ERR_ARG, "--%s is about rows of a dump: give the dump",
			                 of_rows[i]);
	}
	if (r->o->codes && r->o->unembed)
		return error_set(err, ERR_ARG,
		                 "--unembed: codes tell of no decoder rows whose logits could be ranked");
	if (r->p->n_args < n_before(r) + (r->o->codes ? 0 : 1))
		return error_set(err, ERR_ARG,
		                 r->o->neurons.neurons ? "a dump is wanted" : "an SAE and a dump are wanted");
	if (!r->o->store)
		return error_set(err, ERR_ARG, "which store? give it with -d STORE");
	if (!r->o->tokenizer)
		return error_set(
		        err, ERR_ARG,
		        "token ids need a vocabulary: give the model's tokenizer.json with --tokenizer FILE");
	return 0;
}

static index_input_opts input_opts(const index_run *r)
{
	const neuron_args *n = &r->o->neurons;

	return (index_input_opts){ .kind = n->neurons    ? INDEX_NEURONS
		                           : r->o->codes ? INDEX_CODES
		                                         : INDEX_SAE,
		                   .path = n->neurons    ? NULL
		                           : r->o->codes ? r->o->codes
		                                         : r->p->args[0],
		                   .dumps = r->p->args + n_before(r),
		                   .n_dumps = r->p->n_args - n_before(r),
		                   .dump = &r->o->dump,
		                   .neurons = { (float)n->threshold, n->density, n->both_signs } };
}

static int load(index_run *r, error *err)
{
	const index_input_opts o = input_opts(r);
	int rc = check_args(r, err);

	if (rc == 0)
		rc = name_source(r, err);
	if (rc == 0)
		rc = index_input_load(&r->x, &o, err);
	if (rc == 0)
		rc = sae_tokenizer_load(&r->tokenizer, r->o->tokenizer, err);
	if (rc == 0)
		rc = open_store(r, err);
	return rc < 0 ? rc : index_input_open(&r->x, r->p, norm_limit(r), err);
}

/* ---- The run ---- */

static int describe_run(index_run *r, int argc, char **argv, error *err)
{
	cJSON *config = cli_options_json(r->self, r->o);
	text word;
	int rc = config && cJSON_AddStringToObject(config, "kernels", sae_kernels_name(NULL)) ? 0 : ERR_NOMEM;

	if (rc == 0 && r->x.neurons && !cJSON_AddStringToObject(config, "thresholds", r->x.neurons->sha256))
		rc = ERR_NOMEM;
	if (rc == 0 && r->x.codes &&
	    !cJSON_AddStringToObject(config, "codes_sha256", sae_codes_reader_get_info(r->x.codes)->sha256))
		rc = ERR_NOMEM;

	r->config = config ? json_print(config) : NULL;
	cJSON_Delete(config);
	text_init(&word, SIZE_MAX);
	if (rc == 0)
		rc = text_adds(&r->argv, "[\"gloss\"");
	for (int i = 0; i < argc && rc == 0; i++) {
		text_clear(&word);
		rc = text_add_utf8(&word, argv[i], strlen(argv[i]));
		if (rc == 0)
			rc = text_adds(&r->argv, ",");
		if (rc == 0)
			rc = text_add_json(&r->argv, word.data, word.len);
	}
	if (rc == 0)
		rc = text_adds(&r->argv, "]");
	text_free(&word);
	return rc < 0 || !r->config ? error_nomem(err, "the options") : 0;
}

static int begin(index_run *r, error *err)
{
	store_index_opts o = store_index_opts_default();

	o.source = r->source;
	index_input_describe(&r->x, &o);
	o.config = r->config;
	o.argv = r->argv.data;
	o.n_top = r->o->top;
	o.n_samples = r->o->samples;
	o.n_random = r->o->random;
	o.before = r->o->before;
	o.after = r->o->after;
	o.corpus = r->o->corpus;
	o.force = r->o->force;
	return store_index_begin(&r->ix, r->store, &o, err);
}

static int give_vocab(index_run *r, error *err)
{
	uint32_t n = sae_tokenizer_size(r->tokenizer);
	const char **bytes = malloc(n * sizeof(*bytes));
	uint32_t *length = malloc(n * sizeof(*length));
	int rc = bytes && length ? 0 : error_nomem(err, "the vocabulary");

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		size_t size = 0;

		bytes[i] = sae_tokenizer_bytes(r->tokenizer, i, &size);
		length[i] = (uint32_t)size;
	}
	if (rc == 0)
		rc = store_index_vocab(r->ix, sae_tokenizer_sha256(r->tokenizer), n, bytes, length, err);
	free(bytes);
	free(length);
	return rc;
}

static int pass_over(index_run *r, error *err)
{
	const index_pass_job job = { .add = index_pass_add,
		                     .payload = r->ix,
		                     .n_vocab = sae_tokenizer_size(r->tokenizer) };
	double before = clock_now();
	progress pr;
	int rc;

	progress_start(&pr, cli_progress_stream(r->p), "index", "tokens",
	               r->x.feed.n_contexts * r->x.feed.ctx_len);
	rc = index_pass(&job, &r->x.feed, &r->x.docs, &r->times, &pr, err);
	progress_end(&pr);
	r->pass_seconds = clock_now() - before;
	return rc;
}

static int finish(index_run *r, error *err)
{
	store_index *ix = r->ix;
	progress pr;
	int rc;

	r->ix = NULL; /* it is gone in every case */
	progress_start(&pr, cli_progress_stream(r->p), "write", "features", r->x.n_features);
	rc = store_index_finish(ix, &r->result, &pr, err);
	progress_end(&pr);
	return rc;
}

static int run_index(index_run *r, int argc, char **argv, error *err)
{
	double started = clock_now();
	int rc = load(r, err);

	if (rc == 0)
		rc = describe_run(r, argc, argv, err);
	if (rc == 0)
		rc = begin(r, err);
	if (rc == 0)
		rc = give_vocab(r, err);
	if (rc == 0)
		rc = index_input_features(&r->x, r->ix, sae_tokenizer_size(r->tokenizer), r->o->neighbours,
		                          r->o->unembed, cli_progress_stream(r->p), err);
	if (rc == 0)
		rc = pass_over(r, err);
	if (rc == 0)
		rc = finish(r, err);
	r->seconds = clock_now() - started;
	return rc;
}

/* ---- Summary ---- */

static uint64_t file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t codes_dropped(const index_run *r)
{
	return r->x.codes ? sae_codes_reader_get_info(r->x.codes)->n_dropped : 0;
}

static cJSON *summary_json(const index_run *r)
{
	const store_index_result *x = &r->result;
	const struct {
		const char *name;
		double value;
	} numbers[] = { { "features", r->x.n_features },
		        { "dead", (double)x->n_dead },
		        { "dense", (double)x->n_dense },
		        { "tokens", (double)x->n_tokens },
		        { "left_out", (double)r->x.n_left_out },
		        { "norm_limit", r->x.norm_limit },
		        { "contexts", (double)x->n_contexts },
		        { "firings", (double)x->n_firings },
		        { "dropped", (double)codes_dropped(r) },
		        { "examples", (double)x->n_examples },
		        { "bytes", (double)file_size(r->o->store) },
		        { "seconds", r->seconds },
		        { "pass_seconds", r->pass_seconds },
		        { "read_seconds", r->times.read_seconds },
		        { "encode_seconds", r->times.encode_seconds },
		        { "add_seconds", r->times.add_seconds },
		        { "tokens_per_second", (double)r->x.n_rows / r->pass_seconds } };
	cJSON *out = cJSON_CreateObject();
	bool good = out && cJSON_AddStringToObject(out, "store", r->o->store) &&
	            cJSON_AddStringToObject(out, "source", r->source);

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		good = good && cJSON_AddNumberToObject(out, numbers[i].name, numbers[i].value);
	if (!good) {
		cJSON_Delete(out);
		return NULL;
	}
	return out;
}

static void print_summary(const index_run *r)
{
	const sae_rows_stats *rows = r->x.in.rows ? sae_rows_get_stats(r->x.in.rows) : NULL;
	const store_index_result *x = &r->result;

	cli_put(r->o->store);
	printf(": source '");
	cli_put(r->source);
	printf("'\n");
	printf("  features    %u: %" PRIu64 " dead, %" PRIu64 " dense (on over 10 %% of tokens)\n",
	       r->x.n_features, x->n_dead, x->n_dense);
	printf("  tokens      %" PRIu64 " in %" PRIu64 " contexts; %" PRIu64 " rows left out", x->n_tokens,
	       x->n_contexts, r->x.n_left_out);
	if (rows && rows->n_outlier)
		printf(", %" PRIu64 " of them for a norm over %.5g", rows->n_outlier, rows->norm_limit);
	printf("\n  firings     %" PRIu64 ", %.4g a token%s\n", x->n_firings,
	       x->n_tokens ? (double)x->n_firings / (double)x->n_tokens : 0,
	       r->o->corpus ? ", all kept" : "");
	if (codes_dropped(r))
		printf("  dropped     %" PRIu64 " codes of 0 or less\n", codes_dropped(r));
	printf("  examples    %" PRIu64 "\n", x->n_examples);
	printf("  file        %.1f MB\n", (double)file_size(r->o->store) / 1e6);
	printf("  time        %.1f s, the pass %.0f tokens/s\n", r->seconds,
	       (double)r->x.n_rows / r->pass_seconds);
}

static int run(const command *self, int argc, char **argv)
{
	index_opts o = { 0 };
	cli_parsed p;
	index_run r = { .self = self, .p = &p, .o = &o };
	error err = { 0 };
	bool made, opened;
	int code = EXIT_DONE, rc;

	cli_parse(&p, self, &o, argc, argv);
	text_init(&r.argv, SIZE_MAX);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	made = o.store && !file_exists(o.store);
	rc = run_index(&r, argc, argv, &err);
	store_index_abort(r.ix);
	opened = r.store;
	store_close(r.store);
	if (rc < 0 && made && opened)
		unlink(o.store); /* nothing got into it */
	if (rc == 0 && p.common.json)
		code = cli_print_json(self, summary_json(&r));
	else if (rc == 0)
		print_summary(&r);
	else
		code = rc == ERR_STOPPED ? (cli_fail(self, &err), EXIT_FAILED) : cli_fail(self, &err);
out:
	text_free(&r.argv);
	free(r.config);
	index_input_close(&r.x);
	sae_tokenizer_free(r.tokenizer);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_index_command = {
	.name = "index",
	.run = run,
	.help = "record when every feature of an SAE fires, in a store to query and browse",
	.usage = "SAE|--neurons DUMP... -d STORE --tokenizer FILE | --codes PATH [DUMP...] -d STORE "
	         "--tokenizer "
	         "FILE",
	.about =
	        "Encodes the dump once and writes to the store, for all features at once: exact counts, "
	        "maxima, moments and a "
	        "histogram over firing tokens; the strongest contexts, one a context and none of equal "
	        "text; a uniform sample of "
	        "firings, shown by tenths of their values; some random contexts with all their firings; and "
	        "the neighbours of "
	        "each feature by "
	        "decoder cosine. With --unembed also the tokens whose logits it raises and lowers most. "
	        "With --corpus all "
	        "firings of all contexts, about 4 bytes each, so that find searches the whole dump.\n\n"
	        "Several SAEs can share one store, each a source with a name; contexts they have in common "
	        "are kept once. What "
	        "is written does not depend on the order of the contexts, nor on the threads. Nothing "
	        "reaches the store before "
	        "the end, where one transaction brings it in: a run that is killed leaves the store as it "
	        "was, and the next run "
	        "starts over (the file STORE.part beside it may be deleted). With --force a source is "
	        "replaced; its labels and "
	        "scores stay when the SAE's weights are the same.\n\n"
	        "With --neurons there is no SAE: feature i is dimension i of the dump's rows (of a hook "
	        "point "
	        "with many neurons, "
	        "or of the residual stream), and its activation is the value. It fires where the value is "
	        "over "
	        "--threshold, and over "
	        "a threshold of its own, found on a fixed sample of up to 16,384 rows, so that it fires on "
	        "about "
	        "--density of the tokens at most: most neurons are over 0 on half of all tokens. --density 0 "
	        "keeps every value over --threshold, as Neuronpedia does, and is what stores that merge "
	        "joins "
	        "need. "
	        "With --both-signs feature d + i is minus dimension i. Decoder rows are the axes: with "
	        "--unembed "
	        "(of the "
	        "residual stream) logits are ranked, and similar and diff compare neurons with the SAEs of "
	        "their "
	        "hook point by direction.\n\n"
	        "With --codes the codes are those of PATH: a matrix of tokens by features in CSR, as gloss "
	        "encode "
	        "and "
	        "scipy.sparse.save_npz() write it, or the folder of one hook point of delphi's latent cache, "
	        "which "
	        "brings its "
	        "tokens along. Else the tokens are those of DUMP, or of --tokens. Where there is a dump, the "
	        "number "
	        "of its rows, its "
	        "tokens and, if the codes name it, its hash must be those of the codes; its documents and "
	        "the rows "
	        "it leaves out count. "
	        "Codes of 0 or less are dropped. Decoder rows, and what comes of them, are not known.\n\n"
	        "Rows whose norm is over the limit that training used (of neurons: over --max-norm-ratio "
	        "times the "
	        "median) are left out here too; "
	        "--max-norm-ratio sets a limit anew.",
	.examples = "gloss index sae/ dump/ -d store.db --tokenizer dump/tokenizer.json\n"
	            "gloss index sae/ dump/ -d store.db --source wide --tokenizer dump/tokenizer.json "
	            "--corpus --unembed "
	            "dump/unembed.safetensors\n"
	            "gloss index --neurons dump/ -d store.db --tokenizer dump/tokenizer.json\n"
	            "gloss index --codes codes.npz dump/ -d store.db --tokenizer dump/tokenizer.json\n"
	            "gloss index --codes latents/layers.15 -d store.db --tokenizer dump/tokenizer.json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = UINT32_MAX,
};
