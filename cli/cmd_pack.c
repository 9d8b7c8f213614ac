/* gloss pack: the one plain file to share. */
#include <inttypes.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/store_args.h"

typedef struct pack_opts {
	const char *output;
	option_list without;
	bool force;
} pack_opts;

static const option options[] = {
	OPTION(pack_opts, output, "output", 'o', OPTION_STRING, "FILE", NULL, 0, 0,
	       "file to write; required"),
	OPTION(pack_opts, without, "without", 0, OPTION_LIST, "PART", NULL, 0, 0,
	       "leave out 'corpus' (all firings but those of the random contexts) or 'vectors' (decoder "
	       "rows)"),
	OPTION(pack_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "replace the file if it is there"),
};

static int read_options(store_pack_opts *out, const pack_opts *o, error *err)
{
	*out = (store_pack_opts){ .force = o->force, .stop = store_args_stop() };
	if (!o->output)
		return error_set(err, ERR_ARG, "which file is to be written? give it with -o FILE");
	for (size_t i = 0; i < o->without.n; i++) {
		if (strcmp(o->without.items[i], "corpus") == 0)
			out->without_corpus = true;
		else if (strcmp(o->without.items[i], "vectors") == 0)
			out->without_vectors = true;
		else
			return error_set(err, ERR_ARG,
			                 "--without '%s': 'corpus' and 'vectors' can be left out",
			                 o->without.items[i]);
	}
	return 0;
}

static cJSON *result_json(const store_pack_result *r, const char *from, const char *to)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = { { "bytes_before", r->bytes_before },
		        { "bytes", r->bytes },
		        { "contexts_left_out", r->n_contexts },
		        { "firings_left_out", r->n_firings },
		        { "vectors_left_out", r->n_vectors } };
	cJSON *out = cJSON_CreateObject();
	bool good = out && cJSON_AddStringToObject(out, "store", from) &&
	            cJSON_AddStringToObject(out, "file", to) &&
	            cJSON_AddStringToObject(out, "sha256", r->sha256);

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		good = good && cJSON_AddNumberToObject(out, numbers[i].name, (double)numbers[i].value);
	if (good)
		return out;
	cJSON_Delete(out);
	return NULL;
}

static void print_result(const store_pack_result *r, const store_pack_opts *o, const char *to)
{
	cli_put(to);
	printf(": %.1f MB, from %.1f MB\n", (double)r->bytes / 1e6, (double)r->bytes_before / 1e6);
	if (o->without_corpus)
		printf("  left out    the firings of %" PRIu64 " contexts, %" PRIu64
		       " contexts that nothing else needs\n",
		       r->n_firings, r->n_contexts);
	if (o->without_vectors)
		printf("  left out    %" PRIu64 " decoder rows\n", r->n_vectors);
	printf("  sha256      %s\n", r->sha256);
}

static int run(const command *self, int argc, char **argv)
{
	store_pack_result r = { 0 };
	store_pack_opts pack;
	pack_opts o = { 0 };
	cli_parsed p;
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	rc = read_options(&pack, &o, &err);
	if (rc == 0)
		rc = store_pack(&r, p.args[0], o.output, &pack, &err);
	if (rc < 0)
		code = rc == ERR_STOPPED ? (cli_fail(self, &err), EXIT_FAILED) : cli_fail(self, &err);
	else if (p.common.json)
		code = cli_print_json(self, result_json(&r, p.args[0], o.output));
	else
		print_result(&r, &pack, o.output);
out:
	cli_parsed_clear(&p);
	return code;
}

const command cmd_pack_command = {
	.name = "pack",
	.run = run,
	.help = "write a store as one plain file to share",
	.usage = "STORE -o FILE",
	.about =
	        "Copies the store to a new file: compact, its integrity checked, without a journal, so that "
	        "it can be read from where nothing may be written. The store stays as it is, and may be in "
	        "use meanwhile. The file appears whole or not at all. The SHA-256 that is printed is the "
	        "file's; the same store gives the same bytes.\n\n"
	        "--without corpus keeps of each SAE the firings of its random contexts, and no context that "
	        "neither an example nor these refer to: what an index without --corpus would hold. --without "
	        "vectors leaves out the decoder rows, which 'similar', 'diff' and 'export' (gguf, vectors "
	        "for neuronpedia) need. Requests to "
	        "endpoints and their replies are in a file of their own, STORE.requests, and never in the "
	        "copy.",
	.examples = "gloss pack store.db -o share.db\n"
	            "gloss pack store.db -o small.db --without corpus --without vectors",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = 1,
};
