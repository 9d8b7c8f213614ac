/* gloss merge: several stores as one. */
#include <math.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/store_args.h"

typedef struct merge_opts {
	const char *store, *source;
	bool force;
} merge_opts;

static const option options[] = {
	OPTION(merge_opts, store, "store", 'd', OPTION_STRING, "OUT", NULL, 0, 0,
	       "the store to make; required"),
	OPTION(merge_opts, source, "source", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "join the source of this name, or else the only one, of each store into one of this name"),
	OPTION(merge_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "replace the file if it is there"),
};

static int describe_argv(text *out, int argc, char **argv)
{
	text word;
	int rc = text_adds(out, "[\"gloss\"");

	text_init(&word, SIZE_MAX);
	for (int i = 0; i < argc && rc == 0; i++) {
		text_clear(&word);
		rc = text_add_utf8(&word, argv[i], strlen(argv[i]));
		rc = rc ? rc : text_adds(out, ",");
		rc = rc ? rc : text_add_json(out, word.data, word.len);
	}
	text_free(&word);
	return rc ? rc : text_adds(out, "]");
}

static void print_source(const cJSON *one)
{
	const cJSON *from = cJSON_GetObjectItem(one, "from"), *path;
	const char *before = "from", *name = answer_string(one, "source");
	size_t columns = text_columns(name, strlen(name));

	printf("  ");
	cli_put(name);
	printf("%*s ", columns < 11 ? (int)(11 - columns) : 0, "");
	cJSON_ArrayForEach(path, from)
	{
		printf("%s '", before);
		cli_put(path->valuestring);
		printf("'");
		before = ",";
	}
	if (cJSON_IsTrue(cJSON_GetObjectItem(one, "joined")))
		printf("; %.0f dumps joined", answer_number(one, "dumps"));
	printf("\n              %.0f tokens in %.0f contexts, %.0f firings, %.0f examples\n",
	       answer_number(one, "tokens"), answer_number(one, "contexts"), answer_number(one, "firings"),
	       answer_number(one, "examples"));
}

static void print_report(const command *self, const cJSON *page)
{
	static const char *const people[] = { "labels", "scores", "jobs", "lists", "notes" };
	const cJSON *one;
	double joined = answer_number(page, "groups_joined"), changed = 0;

	cli_put(answer_string(page, "store"));
	printf(":\n");
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(page, "sources")) print_source(one);
	printf("  stored      %.0f contexts of %.0f documents", answer_number(page, "contexts"),
	       answer_number(page, "documents"));
	for (size_t i = 0; i < ARRAY_LEN(people); i++)
		printf(", %.0f %s", answer_number(page, people[i]), people[i]);
	printf("\n");
	if (joined > 0)
		printf("  joined      %.0f groups of documents with others that share text with them\n",
		       joined);
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(page, "parts_changed"))
	{
		printf("  parts       %.0f documents went from '%s' to '%s'\n",
		       answer_number(one, "documents"), answer_string(one, "from"), answer_string(one, "to"));
		changed += answer_number(one, "documents");
	}
	if (changed > 0 && answer_number(page, "labels") > 0)
		cli_warn(self,
		         "labels made before may have seen documents that are now for select or report");
}

static int run(const command *self, int argc, char **argv)
{
	merge_opts o = { 0 };
	cJSON *page = NULL;
	store_merge_opts merge = { 0 };
	cli_parsed p;
	progress pr;
	error err = { 0 };
	text words;
	int rc = 0, code = EXIT_DONE;

	text_init(&words, SIZE_MAX);
	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	if (!o.store)
		rc = error_set(&err, ERR_ARG, "which store is to be made? give it with -d OUT");
	if (rc == 0 && describe_argv(&words, argc, argv) < 0)
		rc = error_nomem(&err, "the arguments");
	if (rc == 0) {
		progress_start(&pr, cli_progress_stream(&p), "merge", "rows", 0);
		merge = (store_merge_opts){ .source = o.source,
			                    .argv = words.data,
			                    .force = o.force,
			                    .pr = &pr,
			                    .stop = store_args_stop() };
		rc = store_merge(&page, o.store, p.args, p.n_args, &merge, &err);
		progress_end(&pr);
	}
	if (rc < 0) {
		code = rc == ERR_STOPPED ? (cli_fail(self, &err), EXIT_FAILED) : cli_fail(self, &err);
	} else if (p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else {
		print_report(self, page);
	}
out:
	cJSON_Delete(page);
	text_free(&words);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_merge_command = {
	.name = "merge",
	.run = run,
	.help = "join stores: several SAEs side by side, or one SAE over several dumps",
	.usage = "A B... -d OUT",
	.about =
	        "Makes a new store of all sources of the given ones. Sources of different names come side by "
	        "side "
	        "and share contexts, documents and tokenizers. Sources of one name, of the same weights, "
	        "tokenizer and options over different dumps, become one source that says what an index of "
	        "all "
	        "these dumps at once would say: counts, maxima, histograms, intervals, samples, top "
	        "contexts, "
	        "random contexts and their firings to the bit, sums to 1e-12; 'gloss verify --all' with all "
	        "the "
	        "dumps shows it. What cannot be equal is recorded: the hashes of all dumps, and how each "
	        "part was "
	        "indexed. So shards can be indexed on several machines; cut them between documents.\n\n"
	        "Sources of one name that cannot be joined are refused, as is a dump that would count twice; "
	        "the "
	        "message says what differs. Labels, scores, jobs, lists and notes of all stores come along "
	        "in the "
	        "order of time. Documents that two stores have, and documents of a joined source whose "
	        "stored "
	        "contexts share 24 tokens in a row, come into one group; where that changes the part (label, "
	        "select, report) of documents, it is said.\n\n"
	        "The given stores are only read and stay as they are; OUT appears whole or not at all. Logs "
	        "of "
	        "requests (STORE.requests) are not joined.",
	.examples = "gloss merge layer5.db layer6.db -d both.db\n"
	            "gloss merge shard0.db shard1.db shard2.db -d all.db",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = UINT32_MAX,
};
