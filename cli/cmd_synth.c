/* gloss synth: dumps whose features are known, and the truth beside them. */
#include <inttypes.h>
#include <string.h>

#include "cli/commands.h"
#include "sae/sae.h"

typedef struct synth_opts {
	sae_synth_opts o; /* as given; what is not comes from the kind */
	const char *output;
	uint32_t threads;
	bool force;
} synth_opts;

/* Of these options the names and fields are sae_synth_fields; defaults are the kind's. */
#define OF_KIND(field, name, letter, type, value, help)                                                      \
	OPTION(synth_opts, o.field, name, letter, type, value, NULL, 0, 0, help)

static const option options[] = {
	OPTION(synth_opts, output, "output", 'o', OPTION_STRING, "DIR", NULL, 0, 0,
	       "folder to make; required"),
	OPTION(synth_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "replace a folder that holds nothing but such files"),
	OF_KIND(rows, "rows", 0, OPTION_U64, "N", "rows; if not given, 100000"),
	OF_KIND(d, "d", 'd', OPTION_U32, "N", "values in a row"),
	OF_KIND(features, "features", 0, OPTION_U32, "N", "features (planted, codebook, hierarchy, toy)"),
	OF_KIND(k, "k", 'k', OPTION_U32, "N",
	        "of them active on each row (planted; codebook: in each group)"),
	OF_KIND(seed, "seed", 's', OPTION_U64, "N", "of all random numbers; if not given, 0"),
	OF_KIND(noise, "noise", 0, OPTION_DOUBLE, "X",
	        "standard deviation of what is added to each value of a row"),
	OF_KIND(mean, "mean", 0, OPTION_DOUBLE, "X", "mean of a feature's values (planted, hierarchy)"),
	OF_KIND(mean_last, "mean-last", 0, OPTION_DOUBLE, "X",
	        "that of the last feature, others in equal steps; if only the first is given, it"),
	OF_KIND(std, "std", 0, OPTION_DOUBLE, "X", "standard deviation of its values"),
	OF_KIND(std_spread, "std-spread", 0, OPTION_DOUBLE, "X",
	        "by which that varies over features: |N(std, spread)|"),
	OF_KIND(bias, "bias", 0, OPTION_DOUBLE, "X",
	        "norm of a vector added to every row (planted, hierarchy)"),
	OF_KIND(orthogonal_steps, "orthogonal-steps", 0, OPTION_U32, "N",
	        "steps of Adam that push random directions apart (planted, codebook, hierarchy)"),
	OF_KIND(orthogonal_lr, "orthogonal-lr", 0, OPTION_DOUBLE, "X", "their step size"),
	OF_KIND(inputs, "inputs", 0, OPTION_U32, "N",
	        "equal parts of a row, as tensors input.1 to input.N: for crosscoders (planted)"),
	OF_KIND(exclusive, "exclusive", 0, OPTION_DOUBLE, "SHARE",
	        "of the features that are in one input alone; if not given, 0.5"),
	OF_KIND(groups, "groups", 0, OPTION_U32, "N", "parts of a row with a codebook each (codebook)"),
	OF_KIND(p_max, "p-max", 0, OPTION_DOUBLE, "P", "share of rows of the first feature (hierarchy)"),
	OF_KIND(p_min, "p-min", 0, OPTION_DOUBLE, "P", "and of the last"),
	OF_KIND(zipf, "zipf", 0, OPTION_DOUBLE, "X", "exponent of the power law between them"),
	OF_KIND(rank, "rank", 0, OPTION_U32, "N",
	        "common factors of the copula; 0: features are independent (hierarchy)"),
	OF_KIND(correlation, "correlation", 0, OPTION_DOUBLE, "X",
	        "standard deviation of a feature's weight on each"),
	OF_KIND(roots, "roots", 0, OPTION_U32, "N", "trees of features; 0: none (hierarchy)"),
	OF_KIND(branching, "branching", 0, OPTION_U32, "N", "children of a feature in a tree"),
	OF_KIND(depth, "depth", 0, OPTION_U32, "N", "levels below the roots"),
	OF_KIND(probability, "probability", 0, OPTION_DOUBLE, "P", "share of rows of each feature (toy)"),
	OF_KIND(importance, "importance", 0, OPTION_DOUBLE, "X",
	        "weight of a feature's error, of the one before it (toy)"),
	OF_KIND(states, "states", 0, OPTION_U32, "N", "states of the automaton, up to 100 (tokfsm)"),
	OF_KIND(successors, "successors", 0, OPTION_U32, "N", "states that each can go to"),
	OF_KIND(ctx_len, "ctx-len", 0, OPTION_U32, "N", "tokens in a context (tokfsm)"),
	OF_KIND(trigrams, "trigrams", 0, OPTION_BOOL, NULL,
	        "a feature also for each state with the next digit (tokfsm)"),
	OF_KIND(shard_rows, "shard-rows", 0, OPTION_U64, "N",
	        "rows of a shard; if not given, 512 MiB of them"),
	OPTION(synth_opts, threads, "threads", 't', OPTION_U32, "N", NULL, 1, 4096,
	       "threads; if not given, the CPUs this process may use"),
};

static int find_kind(sae_synth_kind *out, const char *name, error *err)
{
	for (int k = 0; k < SAE_SYNTH_KINDS; k++)
		if (strcmp(name, sae_synth_kind_name((sae_synth_kind)k)) == 0) {
			*out = (sae_synth_kind)k;
			return 0;
		}
	return error_set(err, ERR_ARG,
	                 "'%.60s' is none of the kinds planted, codebook, hierarchy, tree, toy, tokfsm",
	                 name);
}

/* The kind's options, with those that were given in their places. */
static int take_options(sae_synth_opts *out, sae_synth_kind kind, const synth_opts *given,
                        const cli_parsed *p, error *err)
{
	*out = sae_synth_opts_default(kind);
	for (size_t i = 0; i < sae_synth_n_fields; i++) {
		const sae_synth_field *f = &sae_synth_fields[i];

		if (!cli_given(p, f->name))
			continue;
		if (!(f->kinds >> kind & 1))
			return error_set(err, ERR_ARG, "--%s is no option of '%s'", f->name,
			                 sae_synth_kind_name(kind));
		memcpy((char *)out + f->offset, (const char *)&given->o + f->offset, f->size);
	}
	if (cli_given(p, "exclusive") && out->inputs < 2)
		return error_set(err, ERR_ARG, "--exclusive needs --inputs 2 or more");
	if (cli_given(p, "mean") && !cli_given(p, "mean-last"))
		out->mean_last = out->mean;
	return 0;
}

static cJSON *result_json(const char *dir, const sae_truth *t, double seconds)
{
	cJSON *top = cJSON_CreateObject();

	if (cJSON_AddStringToObject(top, "folder", dir) && cJSON_AddStringToObject(top, "kind", t->kind) &&
	    cJSON_AddNumberToObject(top, "rows", (double)t->n_rows) &&
	    cJSON_AddNumberToObject(top, "d", t->d) &&
	    cJSON_AddNumberToObject(top, "features", t->n_features) &&
	    cJSON_AddNumberToObject(top, "seconds", seconds))
		return top;
	cJSON_Delete(top);
	return NULL;
}

static int write_dump(const char *dir, sae_synth_kind kind, const sae_synth_opts *o, const synth_opts *given,
                      const cli_parsed *p, error *err)
{
	pool *threads = NULL;
	progress pr;
	int rc = pool_new(&threads, given->threads, err);

	if (rc)
		return rc;
	progress_start(&pr, cli_progress_stream(p), "synth", "rows", o->rows);
	rc = sae_synth_write(dir, kind, o, given->force, threads, &pr, cli_stop_requested, err);
	progress_end(&pr);
	pool_free(threads);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	synth_opts given = { 0 };
	sae_synth_opts o;
	sae_synth_kind kind = SAE_SYNTH_PLANTED;
	sae_truth *t = NULL;
	cli_parsed p;
	error err = { 0 };
	double began = clock_now();
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &given, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	rc = find_kind(&kind, p.args[0], &err);
	if (!rc && !given.output)
		rc = error_set(&err, ERR_ARG, "where to? give --output DIR");
	if (!rc)
		rc = take_options(&o, kind, &given, &p, &err);
	if (!rc)
		rc = write_dump(given.output, kind, &o, &given, &p, &err);
	if (!rc)
		rc = sae_truth_open(&t, given.output, &err);
	if (rc) {
		code = cli_fail(self, &err);
		code = rc == ERR_STOPPED ? EXIT_FAILED : code;
	} else if (p.common.json) {
		code = cli_print_json(self, result_json(given.output, t, clock_now() - began));
	} else {
		cli_put(given.output);
		printf(": %" PRIu64 " rows of %u values, %u features, %.1f s\n", t->n_rows, t->d,
		       t->n_features, clock_now() - began);
	}
out:
	sae_truth_close(t);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_synth_command = {
	.name = "synth",
	.run = run,
	.help = "write a dump whose features are known, and its truth",
	.usage = "KIND -o DIR",
	.about = "Writes an ordinary dump (F32 shards, dump.json) in which each row is a sum of known "
	         "features, and beside it, in "
	         "DIR/truth, the directions of the features, the codes of every row as CSR and how they were "
	         "drawn. 'gloss match "
	         "SAE DIR' measures an SAE by it. The same options give the same bytes at any number of "
	         "threads.\n"
	         "\n"
	         "  planted    k of the features a row, all alike, random unit directions; values N(mean, "
	         "std), cut at 0\n"
	         "  codebook   k codes a row, each with the value 1, in each of --groups parts of the row\n"
	         "  hierarchy  SynthSAEBench's: firing by a power law, correlated by a Gaussian copula; the "
	         "first features in\n"
	         "             trees, a child only with its parent, of siblings one, values scaled by the "
	         "parent's\n"
	         "  tree       the Matryoshka SAE's toy: 3 parents (15 % of the rows), 3 exclusive children "
	         "each (20 % of\n"
	         "             those), 8 single features (5 %); orthogonal, value 1\n"
	         "  toy        the hidden layer of the toy model of superposition, which is trained first; "
	         "features whose\n"
	         "             direction is shorter than a half do not count\n"
	         "  tokfsm     text of a random automaton of states of two digits, with tokens and a "
	         "tokenizer; at each state's\n"
	         "             second digit its direction; other rows are masked\n"
	         "\n"
	         "What is not given is the kind's own: planted d 64, 128 features, k 4, mean 1, std 0.25; "
	         "codebook d 64, 128 "
	         "codes, k 2, noise 0.05, 200 orthogonal steps of 0.01; hierarchy the benchmark's (d 768, "
	         "16384 features, mean 5 "
	         "to 4, std |N(0.5, 0.5)|, bias 0.5, 100 orthogonal steps of 0.0003, p 0.4 to 0.0005, zipf "
	         "0.5, rank 25, "
	         "correlation 0.1, 128 roots, branching 4, depth 3); tree d 20; toy d 5, 20 features, "
	         "probability 0.1, "
	         "importance 0.9; tokfsm d 128, noise 0.05, 100 states, 10 successors, contexts of 128.",
	.examples = "gloss synth planted -o planted/ --rows 2M && gloss train planted/ -o sae/ --features "
	            "128 --k 4\n"
	            "gloss synth hierarchy -o bench/ --features 2048 -d 128 --roots 16 --rows 500k\n"
	            "gloss synth tokfsm -o fsm/ && gloss inspect fsm/ --tokenizer fsm/tokenizer.json",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = 1,
};
