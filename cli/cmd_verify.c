/* gloss verify: recompute what a store says of a source, and compare. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/index_input.h"
#include "cli/store_args.h"
#include "cli/verify_hashes.h"

typedef struct verify_opts {
	dump_args dump;
	const char *source, *tokenizer, *unembed;
	uint32_t contexts;
	uint64_t seed;
	bool all;
} verify_opts;

static const option options[] = {
	OPTION(verify_opts, source, "source", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "which source; needed where the store holds several"),
	OPTION(verify_opts, contexts, "contexts", 0, OPTION_U32, "N", "64", 1, 4294967295.0,
	       "contexts drawn; what is encoded together with them is compared too"),
	OPTION(verify_opts, all, "all", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "run the whole pass again and compare every row of the source"),
	OPTION(verify_opts, seed, "seed", 0, OPTION_U64, "N", "0", 0, 0, "which contexts are drawn"),
	OPTION(verify_opts, tokenizer, "tokenizer", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "tokenizer.json or tokenizer.model: compare the vocabulary too"),
	OPTION(verify_opts, unembed, "unembed", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "with --all: compare the logits too"),
	DUMP_ARGS_OPTIONS(verify_opts, dump),
};
enum { SHOWN = 20 };

typedef struct verification {
	const command *self;
	const cli_parsed *p;
	verify_opts *o;
	arena mem;
	store *store;
	store_record record;
	cJSON *config; /* of the index run; options point into it */
	index_input_opts input;
	index_input x;
	sae_tokenizer *tokenizer;
	verify_hashes hashes;
	int64_t *ids; /* (contexts of the dump) */
	store_verify *verify;
	cJSON *report; /* NULL: hashes differ, nothing was recomputed */
	double seconds;
} verification;

/* ---- Options that the index run had ---- */

static const option *find_option(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	}
	return NULL;
}

static int set_recorded(verification *v, const option *o, const cJSON *value, error *err)
{
	char number[32];
	const cJSON *item;
	bool first = true;
	int rc = 0;

	if (cJSON_IsString(value))
		return cli_option_set(v->o, o, value->valuestring, true, &v->mem, "the store's options", err);
	if (cJSON_IsNumber(value) && value->valuedouble > 0) {
		snprintf(number, sizeof(number), "%.0f", value->valuedouble);
		return cli_option_set(v->o, o, number, true, &v->mem, "the store's options", err);
	}
	cJSON_ArrayForEach(item, value)
	{
		if (rc == 0 && cJSON_IsString(item))
			rc = cli_option_set(v->o, o, item->valuestring, first, &v->mem, "the store's options",
			                    err);
		first = false;
	}
	return rc;
}

/* How the dump was read, and which of its rows count: as the index run was told. */
static int take_recorded(verification *v, error *err)
{
	static const char *const read[] = { "key", "dtype", "d-in", "head", "ctx-len" };
	static const char *const count[] = { "exclude-tokens", "exclude-positions", "roles", "nan" };
	const char *json = v->record.config;
	int rc = json_parse(&v->config, json, strlen(json), 1 << 20, 16, "the store's options", err);

	for (size_t i = 0; i < ARRAY_LEN(count) && rc == 0; i++) {
		if (cli_given(v->p, count[i]))
			return error_set(
			        err, ERR_ARG,
			        "--%s: which rows count is what the store says, so it is no option here",
			        count[i]);
		rc = set_recorded(v, find_option(count[i]), cJSON_GetObjectItem(v->config, count[i]), err);
	}
	if (rc == 0 && cli_given(v->p, "max-norm-ratio"))
		return error_set(err, ERR_ARG,
		                 "--max-norm-ratio: which rows count is what the store says, so it "
		                 "is no option here");
	for (size_t i = 0; i < ARRAY_LEN(read) && rc == 0; i++) {
		if (!cli_given(v->p, read[i]))
			rc = set_recorded(v, find_option(read[i]), cJSON_GetObjectItem(v->config, read[i]),
			                  err);
	}
	return rc;
}

/* Sums of products are rounded as the kernels order them, so the index run's are wanted. */
static void take_kernels(verification *v)
{
	const char *recorded = answer_string(v->config, "kernels");

	if (recorded && sae_kernels_name(recorded))
		v->x.o.kernels = recorded;
	else if (recorded)
		cli_warn(v->self,
		         "indexed with kernels '%s', which this CPU does not run: last bits may differ for "
		         "that",
		         recorded);
}

/* ---- Before the pass ---- */

static int recorded_neurons(verification *v, error *err)
{
	double threshold = 0;
	int rc = json_get_double(&v->input.neurons.density, v->config, "density", "the store's options", err);

	if (rc == 0)
		rc = json_get_double(&threshold, v->config, "threshold", "the store's options", err);
	if (rc == 0)
		rc = json_get_bool(&v->input.neurons.both_signs, v->config, "both-signs",
		                   "the store's options", err);
	v->input.neurons.threshold = (float)threshold;
	return rc;
}

/* By the kind of the source: STORE SAE DUMP..., STORE DUMP..., STORE CODES [DUMP...]. */
static int take_args(verification *v, error *err)
{
	static const char *const wanted[] = {
		[INDEX_SAE] = "an SAE's: give the store, the SAE and its dump",
		[INDEX_NEURONS] = "neurons: give the store and its dump",
		[INDEX_CODES] = "codes: give the store, the codes and, where they have one, their dump",
	};
	index_kind kind = INDEX_SAE;
	size_t before;

	while (kind < INDEX_CODES && strcmp(v->record.kind, index_kind_name(kind)) != 0)
		kind++;
	if (strcmp(v->record.kind, index_kind_name(kind)) != 0)
		return error_set(err, ERR_FORMAT, "source '%s' is of a kind that is not known: '%s'",
		                 v->record.name, v->record.kind);
	before = kind == INDEX_NEURONS ? 1 : 2;
	if (v->p->n_args < before + (kind != INDEX_CODES))
		return error_set(err, ERR_ARG, "source '%s' is %s", v->record.name, wanted[kind]);
	v->input = (index_input_opts){ .kind = kind,
		                       .path = before == 2 ? v->p->args[1] : NULL,
		                       .dumps = v->p->args + before,
		                       .n_dumps = v->p->n_args - before,
		                       .dump = &v->o->dump };
	return 0;
}

static int load(verification *v, error *err)
{
	int rc = take_args(v, err);

	if (rc == 0)
		rc = take_recorded(v, err);
	if (rc == 0 && v->input.kind == INDEX_NEURONS)
		rc = recorded_neurons(v, err);
	if (rc == 0)
		rc = index_input_load(&v->x, &v->input, err);
	if (rc == 0 && v->input.kind != INDEX_NEURONS)
		verify_hash_set(&v->hashes, HASH_WEIGHTS, v->x.weights_sha256);
	if (rc == 0 && v->o->tokenizer)
		rc = sae_tokenizer_load(&v->tokenizer, v->o->tokenizer, err);
	if (rc == 0 && v->tokenizer)
		verify_hash_set(&v->hashes, HASH_TOKENIZER, sae_tokenizer_sha256(v->tokenizer));
	return rc;
}

static int load_dump(verification *v, error *err)
{
	const sae_dump_info *info;
	int rc;

	take_kernels(v);
	rc = index_input_open(&v->x, v->p, v->record.norm_limit, err);
	if (rc == 0)
		rc = verify_hash_dump(&v->hashes, &v->x, &v->record, v->p, err);
	if (rc < 0)
		return rc;
	info = v->x.in.dump ? sae_dump_get_info(v->x.in.dump) : NULL;
	verify_hash_set(&v->hashes, HASH_WEIGHTS, v->x.weights_sha256);
	if (info && info->tokenizer_sha256 && !v->tokenizer)
		verify_hash_set(&v->hashes, HASH_TOKENIZER, info->tokenizer_sha256);
	if (v->o->all && v->hashes.partial)
		return error_set(err, ERR_ARG, "--all needs all %zu dumps that the store has of '%s'",
		                 v->record.n_dumps, v->record.name);
	return 0;
}

static int find_ids(verification *v, error *err)
{
	const index_feed *feed = &v->x.feed;
	uint64_t first;
	uint32_t *tokens = malloc(feed->ctx_len * sizeof(*tokens));
	int rc = 0;

	v->ids = malloc(feed->n_contexts * sizeof(*v->ids));
	if (!tokens || !v->ids)
		rc = error_nomem(err, "contexts");
	for (uint64_t c = 0; c < feed->n_contexts && rc == 0; c++) {
		rc = feed->tokens(feed->payload, c, tokens, err);
		if (rc == 0)
			rc = store_context_id(&v->ids[c], v->record.tokenizer_sha256, v->x.docs.document[c],
			                      tokens, index_feed_context(feed, c, &first), err);
	}
	free(tokens);
	return rc;
}

static int check_words(verification *v, error *err)
{
	uint32_t n = v->tokenizer ? sae_tokenizer_size(v->tokenizer) : 0;
	const char **bytes = malloc(((size_t)n + 1) * sizeof(*bytes));
	uint32_t *length = malloc(((size_t)n + 1) * sizeof(*length));
	int rc = bytes && length ? 0 : error_nomem(err, "the vocabulary");

	for (uint32_t i = 0; i < n && rc == 0; i++) {
		size_t size = 0;

		bytes[i] = sae_tokenizer_bytes(v->tokenizer, i, &size);
		length[i] = (uint32_t)size;
	}
	if (rc == 0 && n > 0)
		rc = store_verify_vocab(v->verify, n, bytes, length, err);
	free(bytes);
	free(length);
	return rc;
}

/* ---- The pass ---- */

static int pass_over(verification *v, const index_pass_job *job, error *err)
{
	const index_feed *feed = &v->x.feed;
	uint64_t rows = feed->n_contexts * feed->ctx_len, n = 0;
	index_pass_stats times = { 0 };
	progress pr;
	int rc;

	if (job->batches) {
		const uint8_t *batches = store_verify_batches(v->verify, &n);

		rows = 0;
		for (uint64_t i = 0; i < n; i++)
			rows += batches[i] ? (uint64_t)feed->per_batch * feed->ctx_len : 0;
	}
	progress_start(&pr, cli_progress_stream(v->p), "verify", "tokens", rows);
	rc = index_pass(job, feed, &v->x.docs, &times, &pr, err);
	progress_end(&pr);
	return rc;
}

static int verify_contexts(verification *v, error *err)
{
	uint64_t n;
	const index_pass_job job = { .add = store_verify_context,
		                     .payload = v->verify,
		                     .n_vocab = v->record.tokenizer ? v->record.n_vocab : UINT32_MAX,
		                     .batches = store_verify_batches(v->verify, &n) };

	return pass_over(v, &job, err);
}

static uint32_t recorded_neighbours(const verification *v)
{
	const cJSON *n = cJSON_GetObjectItem(v->config, "neighbours");

	return cJSON_IsNumber(n) && n->valuedouble >= 0 && n->valuedouble <= 1000 ? (uint32_t)n->valuedouble
	                                                                          : 10;
}

static int verify_all(verification *v, error *err)
{
	store_index_opts said = store_index_opts_default();
	uint32_t n_vocab = v->record.tokenizer ? v->record.n_vocab : UINT32_MAX;
	index_pass_job job = { .add = index_pass_add, .n_vocab = n_vocab };
	store_index *ix = NULL;
	progress pr;
	int rc;

	index_input_describe(&v->x, &said);
	rc = store_verify_again(&ix, v->verify, said.n_left_out, err);
	if (rc < 0)
		return rc;
	job.payload = ix;
	rc = index_input_features(&v->x, ix, n_vocab, recorded_neighbours(v), v->o->unembed,
	                          cli_progress_stream(v->p), err);
	if (rc == 0)
		rc = pass_over(v, &job, err);
	if (rc < 0) {
		store_index_abort(ix);
		return rc;
	}
	progress_start(&pr, cli_progress_stream(v->p), "write", "features", v->x.n_features);
	rc = store_verify_rows(v->verify, ix, &pr, err);
	progress_end(&pr);
	return rc;
}

static int recompute(verification *v, error *err)
{
	store_verify_opts o;
	int rc;

	if (!v->o->all)
		v->x.feed.per_batch = index_feed_few(&v->x.feed);
	o = (store_verify_opts){ .source = v->o->source,
		                 .contexts = v->ids,
		                 .n = v->x.feed.n_contexts,
		                 .partial = v->hashes.partial,
		                 .per_batch = v->x.feed.per_batch,
		                 .n_checked = v->o->all ? 0 : v->o->contexts,
		                 .seed = v->o->seed,
		                 .most = SHOWN,
		                 .stop = store_args_stop() };
	rc = store_verify_begin(&v->verify, v->store, &o, err);
	if (rc == 0)
		rc = check_words(v, err);
	if (rc == 0)
		rc = v->o->all ? verify_all(v, err) : verify_contexts(v, err);
	if (rc == 0)
		rc = store_verify_report(&v->report, v->verify, err);
	return rc;
}

static int verify(verification *v, error *err)
{
	double started = clock_now();
	int rc = store_open(&v->store, v->p->args[0], STORE_READ, err);

	if (rc == 0)
		rc = store_record_get(&v->record, v->store, v->o->source, &v->mem, err);
	if (rc < 0)
		return rc;
	verify_hashes_init(&v->hashes, &v->record);
	rc = load(v, err);
	if (rc == 0 && v->hashes.of[HASH_WEIGHTS].same && v->hashes.of[HASH_TOKENIZER].same)
		rc = load_dump(v, err);
	if (rc == 0 && verify_hashes_same(&v->hashes)) {
		rc = find_ids(v, err);
		if (rc == 0)
			rc = recompute(v, err);
	}
	v->seconds = clock_now() - started;
	return rc;
}

/* ---- The report ---- */

static bool agrees(const verification *v)
{
	return verify_hashes_same(&v->hashes) && v->report && answer_number(v->report, "differences") == 0;
}

static cJSON *report_json(verification *v, bool same)
{
	cJSON *page = v->report ? v->report : cJSON_CreateObject();
	cJSON *hashes = verify_hashes_json(&v->hashes);
	bool good = page && hashes;

	v->report = NULL;
	good = good && cJSON_AddStringToObject(page, "store", v->p->args[0]) &&
	       cJSON_AddBoolToObject(page, "agrees", same) &&
	       cJSON_AddStringToObject(page, "version", GLOSS_VERSION) &&
	       cJSON_AddStringToObject(page, "indexed_by", v->record.version) &&
	       cJSON_AddNumberToObject(page, "seconds", v->seconds);
	if (good && cJSON_AddItemToObject(page, "hashes", hashes))
		return page;
	cJSON_Delete(hashes);
	cJSON_Delete(page);
	return NULL;
}

static int place_cell(cli_table *t, const cJSON *one, const char *name)
{
	const char *id = answer_string(one, name);

	return id ? string_cell(t, id) : number_cell(t, answer_number(one, name), 12);
}

static int print_differences(const cJSON *first, error *err)
{
	static const cli_column columns[] = { { "what", false, 0 },    { "feature", true, 0 },
		                              { "context", true, 0 },  { "position", true, 0 },
		                              { "stored", false, 40 }, { "recomputed", false, 40 } };
	cli_table *t = NULL;
	const cJSON *one;
	int rc = cli_table_new(&t, columns, ARRAY_LEN(columns), err), bad = 0;

	if (rc < 0)
		return rc;
	cJSON_ArrayForEach(one, first)
	{
		bad = bad ? bad : string_cell(t, answer_string(one, "what"));
		bad = bad ? bad : place_cell(t, one, "feature");
		bad = bad ? bad : place_cell(t, one, "context");
		bad = bad ? bad : place_cell(t, one, "position");
		bad = bad ? bad : string_cell(t, answer_string(one, "stored"));
		bad = bad ? bad : string_cell(t, answer_string(one, "recomputed"));
	}
	if (bad)
		rc = error_nomem(err, "the differences");
	else
		cli_table_print(t, stdout);
	cli_table_free(t);
	return rc;
}

static int print_report(const verification *v, error *err)
{
	const cJSON *item, *first = cJSON_GetObjectItem(v->report, "first");
	const char *before = "  compared    ";
	double n = answer_number(v->report, "differences");

	cli_put(v->p->args[0]);
	printf(": source '");
	cli_put(v->record.name);
	printf("'\n");
	verify_hashes_print(&v->hashes);
	printf("  indexed by  gloss ");
	cli_put(v->record.version);
	printf(", verified by %s\n", GLOSS_VERSION);
	if (!v->report) {
		printf("nothing was recomputed: this is not what the store was made of\n");
		return 0;
	}
	cJSON_ArrayForEach(item, cJSON_GetObjectItem(v->report, "compared"))
	{
		printf("%s%.0f %s", before, item->valuedouble, item->string);
		before = ", ";
	}
	cJSON_ArrayForEach(item, cJSON_GetObjectItem(v->report, "not_compared"))
	        printf("\n  not         %s", item->valuestring);
	printf("\n  time        %.1f s\n", v->seconds);
	if (n == 0) {
		printf("  differences none\n");
		return 0;
	}
	printf("  differences %.0f\n\n", n);
	if (n > cJSON_GetArraySize(first))
		printf("the first %d:\n", cJSON_GetArraySize(first));
	return print_differences(first, err);
}

static void clear(verification *v)
{
	cJSON_Delete(v->report);
	cJSON_Delete(v->config);
	store_verify_free(v->verify);
	free(v->ids);
	index_input_close(&v->x);
	sae_tokenizer_free(v->tokenizer);
	store_close(v->store);
	arena_clear(&v->mem);
}

static int run(const command *self, int argc, char **argv)
{
	verify_opts o = { 0 };
	cli_parsed p;
	verification v = { .self = self, .p = &p, .o = &o };
	error err = { 0 };
	bool same;
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	rc = verify(&v, &err);
	same = rc == 0 && agrees(&v);
	if (rc == 0 && p.common.json)
		code = cli_print_json(self, report_json(&v, same));
	else if (rc == 0)
		rc = print_report(&v, &err);
	if (rc < 0)
		code = rc == ERR_STOPPED ? (cli_fail(self, &err), EXIT_FAILED) : cli_fail(self, &err);
	if (code == EXIT_DONE && !same)
		code = EXIT_FAILED;
out:
	clear(&v);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_verify_command = {
	.name = "verify",
	.run = run,
	.help = "recompute what a store says of a source, and compare",
	.usage = "STORE SAE DUMP... | STORE DUMP... | STORE CODES [DUMP...]",
	.about = "A source of an SAE is compared with the SAE and the dump, one of neurons with the dump, "
	         "one of "
	         "codes with these and what they were indexed with. "
	         "First the "
	         "hashes of weights, dump and tokenizer are compared with those that the store has "
	         "of "
	         "the source; where one differs it is named, and nothing is recomputed. Then contexts are "
	         "encoded "
	         "again and everything that the store says of them must be the same to the bit: text, token "
	         "bounds, which rows count, all codes where they are stored, and every example that lies in "
	         "them, "
	         "its activation and the codes of its window. The first differences are listed with feature, "
	         "context and position. The exit status is 1 when there is a difference.\n\n"
	         "Without --all, contexts are drawn by --seed, and all contexts in their batches are "
	         "compared. "
	         "With --all, the whole pass is run again into a file below TMPDIR (as large as the source "
	         "in the "
	         "store), and every row of the source is compared: counts, maxima, histograms, intervals, "
	         "quantiles, samples, top contexts, decoder rows, documents; sums to 1e-12, and the cosines "
	         "of "
	         "neighbours and logits, whose rounding hangs on the CPU, to 1e-5.\n\n"
	         "How the dump was read, which rows count and which kernels summed (--kernels of other "
	         "commands) is taken from the store. Where a source was merged from several dumps, give all "
	         "of "
	         "them, each as one path (a file, a folder or a quoted pattern), or one of them without "
	         "--all.",
	.examples = "gloss verify store.db sae/ dump/\n"
	            "gloss verify merged.db sae/ 'dump/acts-0[0-4]*' 'dump/acts-0[5-9]*' --all\n"
	            "gloss verify store.db sae/ dump/ --all --tokenizer dump/tokenizer.json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = UINT32_MAX,
};
