/* gloss train: fit one SAE to a dump. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/train_report.h"

typedef struct train_opts {
	dump_args dump;
	dump_split_args split;
	const char *out, *arch, *scale, *shuffle, *log, *kernels;
	uint32_t features, k, batch;
	uint64_t steps, warmup, dead_tokens, seed, order_seed, log_every;
	double lr, decay, auxk_alpha, beta1, beta2, eps;
	bool force;
} train_opts;

static const option options[] = {
	OPTION(train_opts, out, "output", 'o', OPTION_STRING, "DIR", NULL, 0, 0,
	       "folder for the SAE, in SAELens's layout"),
	OPTION(train_opts, arch, "arch", 0, OPTION_ENUM, "topk", "topk", 0, 0, "architecture"),
	OPTION(train_opts, features, "features", 'F', OPTION_U32, "N", "4608", 1, 67108864,
	       "features of the dictionary"),
	OPTION(train_opts, k, "k", 'k', OPTION_U32, "N", "32", 1, 67108864, "features kept a token"),
	OPTION(train_opts, batch, "batch", 0, OPTION_U32, "N", "4096", 1, 1048576, "tokens a step"),
	OPTION(train_opts, steps, "steps", 0, OPTION_U64, "N", NULL, 1, 9e15,
	       "steps; if neither these nor tokens are given, one pass over the training rows"),
	DUMP_ARGS_OPTIONS_TOKENS(
	        train_opts, dump, "N|PATH",
	        "a number: train on so many tokens; else where the token ids are, if not in the shards"),
	DUMP_SPLIT_OPTIONS(train_opts, split),
	OPTION(train_opts, lr, "lr", 0, OPTION_DOUBLE, "X", NULL, 1e-30, 1000,
	       "Adam's step size; if not given, 2e-4 / sqrt(features / 16384)"),
	OPTION(train_opts, warmup, "warmup", 0, OPTION_U64, "N", NULL, 0, 0,
	       "steps of linear warm-up; if not given, 5 % of the steps, at most 1000"),
	OPTION(train_opts, decay, "decay", 0, OPTION_DOUBLE, "SHARE", "0.2", 0, 1,
	       "share of the steps, at the end, in which the step size falls to 0"),
	OPTION(train_opts, auxk_alpha, "auxk-alpha", 0, OPTION_DOUBLE, "X", "0.03125", 0, 1000,
	       "weight of the auxiliary loss that revives dead features; 0: none"),
	OPTION(train_opts, dead_tokens, "dead-tokens", 0, OPTION_U64, "N", NULL, 1, 9e15,
	       "a feature is dead after N tokens without firing; if not given, 10 % of the run, at most 10M"),
	OPTION(train_opts, beta1, "beta1", 0, OPTION_DOUBLE, "X", "0.9", 0, 0.999999,
	       "Adam's decay of the mean gradient"),
	OPTION(train_opts, beta2, "beta2", 0, OPTION_DOUBLE, "X", "0.999", 0, 0.9999999,
	       "Adam's decay of its square"),
	OPTION(train_opts, eps, "eps", 0, OPTION_DOUBLE, "X", "1e-8", 1e-30, 1, "Adam's epsilon"),
	OPTION(train_opts, scale, "scale", 0, OPTION_ENUM, "mean-norm|none", "mean-norm", 0, 0,
	       "scale rows so that their mean norm is the root of their width; undone in what is saved"),
	OPTION(train_opts, seed, "seed", 's', OPTION_U64, "N", "0", 0, 0, "start of the weights"),
	OPTION(train_opts, order_seed, "order-seed", 0, OPTION_U64, "N", "0", 0, 0, "order of the rows"),
	OPTION(train_opts, shuffle, "shuffle", 0, OPTION_ENUM, "blocks|rows", "blocks", 0, 0,
	       "read rows in blocks of 64 and mix them in memory, or each row alone (fast disks)"),
	OPTION(train_opts, log, "log", 0, OPTION_STRING, "FILE", NULL, 0, 0,
	       "metrics log; if not given, DIR/train.jsonl"),
	OPTION(train_opts, log_every, "log-every", 0, OPTION_U64, "N", "10", 1, 9e15,
	       "steps a line of the log"),
	OPTION(train_opts, kernels, "kernels", 0, OPTION_ENUM, "avx512|avx2|scalar", NULL, 0, 0,
	       "instruction set; if not given, the best of this CPU"),
	OPTION(train_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "write into a folder that holds a run"),
};

typedef struct job {
	const command *self;
	const cli_parsed *parsed;
	train_opts *o;
	sae_train_opts t;
	char log_path[FILE_PATH_MAX];
	train_log log;
	progress progress;
	dump_input in;
	sae_train_step last;
	sae_model *model;
	double *freq;
	sae_metrics held_out;
	bool has_held_out;
} job;

/* ---- Before the dump is read ------------------------------------------------------------------------------------------ */

/* "4M" as 4000000; 0: not a number of tokens. */
static uint64_t parse_budget(const char *s)
{
	static const struct {
		const char *suffix;
		double factor;
	} units[] = { { "", 1 },    { "k", 1e3 },     { "K", 1e3 },        { "M", 1e6 },
		      { "G", 1e9 }, { "Ki", 1024.0 }, { "Mi", 1048576.0 }, { "Gi", 1073741824.0 } };
	char *end;
	double value;

	if (!isdigit((unsigned char)*s))
		return 0;
	value = strtod(s, &end);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (strcmp(end, units[i].suffix) == 0 && value * units[i].factor < 9e15)
			return (uint64_t)(value * units[i].factor);
	return 0;
}

static int take_options(job *j, error *err)
{
	train_opts *o = j->o;
	sae_train_opts *t = &j->t;

	*t = sae_train_opts_default();
	t->d_sae = o->features;
	t->k = o->k;
	t->batch = o->batch;
	t->steps = o->steps;
	t->lr = o->lr;
	t->beta1 = o->beta1;
	t->beta2 = o->beta2;
	t->eps = o->eps;
	t->warmup = cli_given(j->parsed, "warmup") ? o->warmup : UINT64_MAX;
	t->decay = o->decay;
	t->auxk_alpha = o->auxk_alpha;
	t->dead_tokens = o->dead_tokens;
	t->scale_mean_norm = strcmp(o->scale, "none") != 0;
	t->seed = o->seed;
	t->order_seed = o->order_seed;
	t->shuffle_rows = strcmp(o->shuffle, "rows") == 0;
	t->kernels = o->kernels;
	if (o->dump.tokens && (t->tokens = parse_budget(o->dump.tokens)) > 0)
		o->dump.tokens = NULL;
	if (t->tokens && t->steps)
		return error_set(err, ERR_ARG, "--steps and --tokens cannot both be given");
	if (!o->out)
		return error_set(err, ERR_ARG, "no output folder: give -o DIR");
	return sae_train_opts_check(t, 1, 1, err); /* what needs no dump; the rest when it is open */
}

/* Whether a file can be made there, without leaving one. */
static int probe(const char *path, error *err)
{
	file_writer w = { 0 };
	int rc = file_writer_open(&w, path, err);

	file_writer_abort(&w);
	return rc;
}

static int prepare_output(job *j, error *err)
{
	static const char *const run_files[] = { "cfg.json", "train.jsonl" };
	const char *dir = j->o->out;
	char path[FILE_PATH_MAX];
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(run_files) && rc == 0; i++) {
		rc = file_join(path, dir, run_files[i], err);
		if (rc == 0 && !j->o->force && file_exists(path))
			rc = error_set(err, ERR_EXISTS,
			               "'%s' holds a run already (%s): name another folder or give --force",
			               dir, run_files[i]);
	}
	if (rc == 0)
		rc = file_mkdir(dir, err);
	if (rc == 0)
		rc = probe(path, err);
	if (rc == 0 && j->o->log) {
		int n = snprintf(j->log_path, sizeof(j->log_path), "%s", j->o->log);

		rc = n < (int)sizeof(j->log_path)
		             ? probe(j->log_path, err)
		             : error_set(err, ERR_LIMIT, "the name of the log is too long");
	} else if (rc == 0) {
		memcpy(j->log_path, path, sizeof(path));
	}
	j->log = (train_log){ .path = j->log_path, .every = j->o->log_every };
	return rc;
}

/* ---- The run -------------------------------------------------------------------------------------------------------------- */

static int on_step(void *payload, const sae_train_step *s)
{
	job *j = payload;
	char note[96];

	j->last = *s;
	train_log_step(&j->log, s);
	snprintf(note, sizeof(note), "fvu %.3f l0 %.1f dead %" PRIu64, s->fvu, s->l0, s->n_dead);
	progress_update(&j->progress, s->tokens, note);
	return cli_stop_requested();
}

static int fit(job *j, error *err)
{
	FILE *to = cli_progress_stream(j->parsed);
	int rc;

	sae_train_plan(&j->t, sae_rows_n(j->in.rows, false));
	j->t.on_step = on_step;
	j->t.payload = j;
	if (to)
		fprintf(to, "train: kernels %s, %u threads, %s\n", sae_kernels_name(j->t.kernels),
		        pool_threads(j->in.pool), cpu_name());
	progress_start(&j->progress, to, "train", "tokens", j->t.steps * j->t.batch);
	rc = sae_train(&j->model, &j->freq, j->in.dump, j->in.rows, &j->t, j->in.pool, err);
	progress_end(&j->progress);
	return rc;
}

static int evaluate(job *j, error *err)
{
	progress pr;
	int rc;

	if (sae_rows_n(j->in.rows, true) == 0)
		return 0;
	progress_start(&pr, cli_progress_stream(j->parsed), "eval", "rows", sae_rows_n(j->in.rows, true));
	rc = sae_eval(&j->held_out, j->model, j->in.dump, j->in.rows, true, j->in.pool, &pr, err);
	progress_end(&pr);
	j->has_held_out = rc == 0;
	if (rc == 0)
		train_log_held_out(&j->log, &j->held_out);
	return rc;
}

static int save(job *j, train_report *r, error *err)
{
	cJSON *metadata = train_report_metadata(r);
	char path[FILE_PATH_MAX];
	int rc = metadata ? 0 : error_nomem(err, "the record of the run");

	if (rc == 0)
		rc = sae_model_save(j->model, j->o->out, j->freq, metadata, err);
	if (rc == 0)
		rc = file_join(path, j->o->out, "sae_weights.safetensors", err);
	if (rc == 0)
		rc = sha256_file(r->weights_sha256, path, err);
	cJSON_Delete(metadata);
	return rc;
}

/* Train, save what there is, and only then say what went wrong. The first error is the one that counts. */
static int train_and_save(job *j, train_report *r, error *err)
{
	error later = { 0 };
	int rc = fit(j, err), saved;

	if (!j->model)
		return rc;
	r->in = &j->in;
	r->plan = &j->t;
	r->last = j->last;
	r->finished = rc == 0;
	saved = save(j, r, rc == 0 ? err : &later);
	if (rc == 0)
		rc = saved;
	else if (saved < 0)
		cli_warn(j->self, "%s", later.msg);
	if (rc == 0)
		rc = evaluate(j, err);
	else if (j->last.step % j->log.every != 0)
		train_log_force(&j->log, &j->last);
	r->held_out = j->has_held_out ? &j->held_out : NULL;
	return rc;
}

static int open_and_train(job *j, train_report *r, error *err)
{
	const cli_parsed *p = j->parsed;
	int rc = dump_input_open(&j->in, p, p->args, p->n_args, &j->o->dump, 0, false, err);

	if (rc == 0)
		rc = dump_input_split(&j->in, &j->o->split, err);
	return rc < 0 ? rc : train_and_save(j, r, err);
}

static void job_clear(job *j)
{
	train_log_close(&j->log);
	sae_model_free(j->model);
	free(j->freq);
	sae_metrics_clear(&j->held_out);
	dump_input_close(&j->in);
}

static int run(const command *self, int argc, char **argv)
{
	train_opts o = { 0 };
	cli_parsed p;
	job j = { .self = self, .parsed = &p, .o = &o };
	train_report r = { .self = self, .opts = &o, .split = &o.split };
	error err = { 0 };
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	cli_catch_signals();
	rc = take_options(&j, &err);
	if (rc == 0)
		rc = prepare_output(&j, &err);
	r.dir = o.out;
	r.kernels = sae_kernels_name(o.kernels);
	if (rc == 0)
		rc = open_and_train(&j, &r, &err);
	if (rc < 0)
		code = cli_fail(self, &err);
	if (j.model && p.common.json && (rc == 0 || rc == ERR_STOPPED)) {
		int printed = cli_print_json(self, train_report_json(&r));

		code = code == EXIT_DONE ? printed : code;
	} else if (rc == 0) {
		train_report_print(&r);
	}
	train_log_close(&j.log);
	if (j.log.cause)
		cli_warn(self, "the log '%s' is not whole: %s", j.log.path, strerror(j.log.cause));
out:
	job_clear(&j);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_train_command = {
	.name = "train",
	.run = run,
	.help = "fit a sparse autoencoder to a dump",
	.usage = "DUMP... -o DIR",
	.about = "Fits one SAE to the rows of the dump that count and are not held out, writes it as a "
	         "folder that SAELens 6 "
	         "reads, and measures it on the rows held out. The same dump, options and CPU kind give the "
	         "same weights, "
	         "bit for bit, at any number of threads.\n"
	         "\n"
	         "A signal (Ctrl-C) stops after the step in progress: what is trained by then is saved and "
	         "the exit status is 3. "
	         "A folder that holds a run is refused unless --force is given.",
	.examples = "gloss train dump/ -o sae/\n"
	            "gloss train dump/ -o sae/ --features 16384 --k 64 --tokens 100M --seed 1",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = UINT32_MAX,
};
