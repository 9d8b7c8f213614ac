/* gloss match: an SAE against a known truth, or SAEs of several seeds against each other. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/crosscoder.h"
#include "cli/match.h"
#include "cli/page.h"

static const option options[] = {
	OPTION(match_opts, codes, "codes", 0, OPTION_BOOL, NULL, "true", 0, 0,
	       "against a truth: also encode rows and compare codes"),
	OPTION(match_opts, dump, "dump", 0, OPTION_STRING, "DUMP", NULL, 0, 0,
	       "these rows, where TRUTH is not the folder that holds them"),
	OPTION(match_opts, rows, "rows", 0, OPTION_U64, "N", "0", 0, 0,
	       "at most so many of the held-out rows, evenly spread; 0: all"),
	DUMP_SPLIT_OPTIONS(match_opts, split),
	OPTION(match_opts, latents, "latents", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "also list each latent, its best feature, precision, recall and F1"),
	OPTION(match_opts, draws, "draws", 0, OPTION_U32, "N", "3", 0, 1000,
	       "random dictionaries whose mean is the chance level of directions; 0: none"),
	OPTION(match_opts, min_cosine, "min-cosine", 0, OPTION_DOUBLE, "C", "0.7", 0, 1,
	       "of SAEs: cosine over which a matched pair is the same feature"),
	OPTION(match_opts, seed, "seed", 's', OPTION_U64, "N", "0", 0, 0, "of what gives chance"),
	OPTION(match_opts, threads, "threads", 't', OPTION_U32, "N", NULL, 1, 4096,
	       "threads; if not given, the CPUs this process may use"),
};

static bool add_scored(cJSON *to, const char *name, sae_scored s)
{
	cJSON *part = cJSON_AddObjectToObject(to, name);

	return cJSON_AddNumberToObject(part, "value", s.value) &&
	       cJSON_AddNumberToObject(part, "chance", s.chance);
}

/* ---- Against a truth ------------------------------------------------------------------------------------------------------- */

typedef struct against {
	const match_opts *o;
	const cli_parsed *p;
	sae_model *model;
	sae_truth *own, *truth; /* own: the first argument is a truth too; NULL: an SAE */
	dump_input in;
	sae_recovery r;
	sae_code_scores s;
	pool *pool;
} against;

/* A truth as an SAE whose decoder is its dictionary. */
static int model_of_truth(sae_model **out, const sae_truth *t, error *err)
{
	int rc = sae_model_new(out, SAE_RELU, t->d, t->n_features, 0, err);

	if (rc)
		return rc;
	memcpy((*out)->W_dec, t->dictionary, (size_t)t->n_features * t->d * sizeof(*t->dictionary));
	memcpy((*out)->W_enc, t->dictionary, (size_t)t->n_features * t->d * sizeof(*t->dictionary));
	memcpy((*out)->b_dec, t->bias, t->d * sizeof(*t->bias));
	(*out)->norm_limit = INFINITY;
	return 0;
}

static int open_first(against *a, error *err)
{
	const char *path = a->p->args[0];
	int rc;

	if (!sae_truth_is_at(path))
		return sae_model_load(&a->model, path, err);
	rc = sae_truth_open(&a->own, path, err);
	return rc ? rc : model_of_truth(&a->model, a->own, err);
}

/* The rows: --dump, else the folder that the truth lies in. */
static int open_rows(against *a, error *err)
{
	dump_args args = { .nan = "skip", .threads = a->o->threads };
	char names[SAE_PARTS_MAX][24];
	const char *more[SAE_PARTS_MAX];
	const char *path = a->o->dump ? a->o->dump : a->p->args[1];
	char inside[FILE_PATH_MAX];
	int rc = file_join(inside, path, "truth.json", err);

	if (!rc && file_exists(inside))
		rc = error_set(err, ERR_ARG,
		               "'%s' holds the truth, but no rows: give --dump DUMP, or --no-codes", path);
	for (uint32_t i = 0; i < a->truth->n_inputs && a->truth->n_inputs > 1; i++) {
		snprintf(names[i], sizeof(names[i]), "input.%u", i + 1);
		more[i] = names[i];
		args.key = names[0];
		args.cross_key = (option_list){ more + 1, i };
	}
	if (!rc)
		rc = dump_input_open(&a->in, a->p, &path, 1, &args,
		                     isinf(a->model->norm_limit) ? 0 : a->model->norm_limit, false, err);
	return rc ? rc : dump_input_split(&a->in, &a->o->split, err);
}

static int compare_codes(against *a, error *err)
{
	progress pr;
	int rc = open_rows(a, err);

	if (rc)
		return rc;
	progress_start(&pr, cli_progress_stream(a->p), "match", "rows",
	               sae_dump_get_info(a->in.dump)->n_rows);
	rc = sae_code_scores_measure(&a->s, a->model, a->own ? a->own->codes : NULL, &a->r, a->truth,
	                             a->in.dump, a->in.rows, a->o->rows, a->in.pool, &pr, err);
	progress_end(&pr);
	return rc;
}

static bool add_codes(cJSON *page, cJSON *scores, const against *a)
{
	const sae_code_scores *s = &a->s;
	cJSON *codes = cJSON_AddObjectToObject(page, "codes");
	bool good = cJSON_AddNumberToObject(codes, "rows", (double)s->n_rows) &&
	            cJSON_AddNumberToObject(codes, "l0", s->l0) &&
	            cJSON_AddNumberToObject(codes, "truth_l0", s->truth_l0) &&
	            cJSON_AddNumberToObject(codes, "dead", (double)s->n_dead) &&
	            add_scored(scores, "precision", s->precision) &&
	            add_scored(scores, "recall", s->recall) && add_scored(scores, "f1", s->f1) &&
	            add_scored(scores, "purity", s->purity);

	if (a->truth->has_parents)
		good = good && cJSON_AddNumberToObject(codes, "pairs", (double)s->n_pairs) &&
		       cJSON_AddNumberToObject(codes, "child_rows", (double)s->n_child_rows) &&
		       cJSON_AddNumberToObject(codes, "alone_rows", (double)s->n_alone_rows) &&
		       add_scored(scores, "absorption", s->absorption) &&
		       add_scored(scores, "silent_alone", (sae_scored){ s->alone, (double)NAN });
	return good && add_scored(scores, "shrinkage", s->shrinkage) &&
	       add_scored(scores, "explained_variance", s->explained);
}

/* Whether a latent is of one input alone, input `of` from 1 on (0: any). */
static bool is_alone(const float *share, uint32_t n_inputs, uint32_t of)
{
	for (uint32_t i = 0; i < n_inputs; i++)
		if (share[i] > CROSSCODER_ALONE && (!of || i + 1 == of))
			return true;
	return false;
}

/* Of a crosscoder, and of features that have a latent with a cosine over 0.9: those of one input whose latent is that input's alone, and
 * those of all whose latent is no input's alone. Chance: any latent instead. */
static int add_inputs(cJSON *scores, const against *a, error *err)
{
	const sae_model *m = a->model;
	crosscoder_report r;
	sae_scored s[2] = { { 0, 0 }, { 0, 0 } };
	double n[2] = { 0 };
	int rc;

	if (a->truth->n_inputs < 2 || m->n_inputs != a->truth->n_inputs)
		return 0;
	rc = crosscoder_look(&r, m, NULL, err);
	for (uint32_t g = 0; g < a->truth->n_features && rc == 0; g++) {
		uint32_t of = a->truth->input[g], is = of > 0;

		if (!a->truth->present[g] || !(a->r.latent_cosine[g] > 0.9f))
			continue;
		n[is]++;
		s[is].value +=
		        is_alone(r.shares + (size_t)a->r.latent_of[g] * m->n_inputs, m->n_inputs, of) == is;
		s[is].chance += (double)(is ? r.alone[of - 1] : r.shared) / (double)r.n;
	}
	crosscoder_clear(&r);
	for (int i = 0; i < 2 && rc == 0; i++) {
		s[i].value = n[i] > 0 ? s[i].value / n[i] : (double)NAN;
		s[i].chance = n[i] > 0 ? s[i].chance / n[i] : (double)NAN;
		rc = add_scored(scores, i ? "exclusive" : "shared", s[i]) ? 0 : error_nomem(err, "an answer");
	}
	return rc;
}

static bool add_latents(cJSON *page, const against *a)
{
	cJSON *list = cJSON_AddArrayToObject(page, "latents");
	bool good = list != NULL;

	for (uint32_t f = 0; f < a->r.n[0] && good; f++) {
		cJSON *row = cJSON_CreateObject();

		good = cJSON_AddItemToArray(list, row) && cJSON_AddNumberToObject(row, "latent", f) &&
		       cJSON_AddNumberToObject(row, "feature", a->r.best[f]) &&
		       cJSON_AddNumberToObject(row, "cosine", (double)a->r.best_cosine[f]);
		if (good && a->s.latents)
			good = cJSON_AddNumberToObject(row, "fires", (double)a->s.latents[f].fires) &&
			       cJSON_AddNumberToObject(row, "precision", a->s.latents[f].precision) &&
			       cJSON_AddNumberToObject(row, "recall", a->s.latents[f].recall) &&
			       cJSON_AddNumberToObject(row, "f1", a->s.latents[f].f1);
	}
	return good;
}

static int answer(cJSON **page, const against *a, error *err)
{
	const sae_recovery *r = &a->r;
	cJSON *scores;
	bool good;

	*page = cJSON_CreateObject();
	good = cJSON_AddStringToObject(*page, "sae", a->p->args[0]) &&
	       cJSON_AddStringToObject(*page, "truth", a->p->args[1]) &&
	       cJSON_AddStringToObject(*page, "kind", a->truth->kind) &&
	       cJSON_AddNumberToObject(*page, "d", r->d) &&
	       cJSON_AddNumberToObject(*page, "sae_features", r->n[0]) &&
	       cJSON_AddNumberToObject(*page, "truth_features", r->n[1]);
	scores = cJSON_AddObjectToObject(*page, "scores");
	good = good && add_scored(scores, "mcc", r->mcc) && add_scored(scores, "mmcs_truth", r->mmcs_truth) &&
	       add_scored(scores, "mmcs_sae", r->mmcs_sae) &&
	       add_scored(scores, "recovery_90", r->recovery[0]) &&
	       add_scored(scores, "recovery_95", r->recovery[1]) &&
	       add_scored(scores, "uniqueness", r->uniqueness);
	if (a->o->codes)
		good = good && add_codes(*page, scores, a);
	if (a->o->latents)
		good = good && add_latents(*page, a);
	return good ? add_inputs(scores, a, err) : error_nomem(err, "an answer");
}

/* What would be ignored is refused. */
static int check_truth(const cli_parsed *p, const match_opts *o, error *err)
{
	static const char *const of_codes[] = { "dump", "rows", "holdout", "split", "split-seed" };

	if (p->n_args != 2)
		return error_set(err, ERR_ARG, "'%s' is a truth: it takes one SAE before it",
		                 p->args[p->n_args - 1]);
	if (cli_given(p, "min-cosine"))
		return error_set(err, ERR_ARG, "--min-cosine goes with SAEs, and '%s' is a truth",
		                 p->args[1]);
	for (size_t i = 0; i < ARRAY_LEN(of_codes) && !o->codes; i++)
		if (cli_given(p, of_codes[i]))
			return error_set(err, ERR_ARG, "--%s says which rows are encoded, --no-codes none",
			                 of_codes[i]);
	return 0;
}

static int ask_truth(cJSON **page, const cli_parsed *p, const match_opts *o, error *err)
{
	against a = { .o = o, .p = p };
	int rc = check_truth(p, o, err);

	if (!rc)
		rc = open_first(&a, err);
	if (!rc)
		rc = sae_truth_open(&a.truth, p->args[1], err);
	if (!rc && a.model->d_out != a.truth->d)
		rc = error_set(err, ERR_ARG, "'%s' gives rows of %u values, those of '%s' have %u",
		               p->args[0], a.model->d_out, p->args[1], a.truth->d);
	if (!rc)
		rc = pool_new(&a.pool, o->threads, err);
	if (!rc)
		rc = sae_recovery_measure(&a.r, a.model->W_dec, a.model->d_sae, a.truth->dictionary,
		                          a.truth->n_features, a.truth->present, a.truth->d, o->draws,
		                          o->seed, a.pool, err);
	if (!rc && o->codes)
		rc = compare_codes(&a, err);
	if (!rc)
		rc = answer(page, &a, err);
	sae_code_scores_clear(&a.s);
	sae_recovery_clear(&a.r);
	dump_input_close(&a.in);
	pool_free(a.pool);
	sae_truth_close(a.truth);
	sae_truth_close(a.own);
	sae_model_free(a.model);
	return rc;
}

/* ---- SAEs of several seeds ----------------------------------------------------------------------------------------------------- */

static bool add_pair(cJSON *pairs, const char *a, const char *b, const sae_stability *s)
{
	cJSON *row = cJSON_CreateObject();

	return cJSON_AddItemToArray(pairs, row) && cJSON_AddStringToObject(row, "a", a) &&
	       cJSON_AddStringToObject(row, "b", b) && cJSON_AddNumberToObject(row, "features_a", s->n[0]) &&
	       cJSON_AddNumberToObject(row, "features_b", s->n[1]) &&
	       add_scored(row, "decoder_mean", s->mean[0]) && add_scored(row, "decoder_share", s->share[0]) &&
	       add_scored(row, "encoder_mean", s->mean[1]) && add_scored(row, "encoder_share", s->share[1]) &&
	       add_scored(row, "shared", s->shared);
}

static int ask_pair(cJSON *pairs, const cli_parsed *p, size_t i, size_t j, const match_opts *o, pool *threads,
                    error *err)
{
	sae_model *a = NULL, *b = NULL;
	sae_stability s;
	int rc = sae_model_load(&a, p->args[i], err);

	if (!rc)
		rc = sae_model_load(&b, p->args[j], err);
	if (!rc && (a->d_in != b->d_in || a->d_out != b->d_out))
		rc = error_set(err, ERR_ARG, "'%s' makes rows of %u values from %u, '%s' %u from %u",
		               p->args[i], a->d_out, a->d_in, p->args[j], b->d_out, b->d_in);
	if (!rc)
		rc = sae_stability_measure(&s, a, b, o->min_cosine, o->seed, threads, err);
	if (!rc && !add_pair(pairs, p->args[i], p->args[j], &s))
		rc = error_nomem(err, "an answer");
	sae_model_free(a);
	sae_model_free(b);
	return rc;
}

static int ask_stability(cJSON **page, const cli_parsed *p, const match_opts *o, error *err)
{
	static const char *const of_truth[] = { "dump",       "rows",  "holdout", "split",
		                                "split-seed", "draws", "latents" };
	pool *threads = NULL;
	cJSON *pairs;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(of_truth) && !rc; i++)
		if (cli_given(p, of_truth[i]))
			rc = error_set(err, ERR_ARG, "--%s goes with a truth, and '%s' is none", of_truth[i],
			               p->args[p->n_args - 1]);
	*page = cJSON_CreateObject();
	pairs = cJSON_AddArrayToObject(*page, "pairs");
	if (!rc && (!pairs || !cJSON_AddNumberToObject(*page, "min_cosine", o->min_cosine)))
		rc = error_nomem(err, "an answer");
	if (!rc)
		rc = pool_new(&threads, o->threads, err);
	for (size_t i = 0; i < p->n_args; i++)
		for (size_t j = i + 1; j < p->n_args && !rc; j++)
			rc = ask_pair(pairs, p, i, j, o, threads, err);
	pool_free(threads);
	return rc;
}

/* ---- The command ------------------------------------------------------------------------------------------------------------------ */

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const match_opts *o = opts;

	if (sae_truth_is_at(p->args[p->n_args - 1]))
		return ask_truth(page, p, o, err);
	return ask_stability(page, p, o, err);
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	(void)p;
	(void)opts;
	return match_print(page, err);
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	match_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_match_command = {
	.name = "match",
	.run = run,
	.help = "measure an SAE by known features, or SAEs by each other",
	.usage = "SAE TRUTH | SAE SAE...",
	.about = "Against the truth of a synthetic dump ('gloss synth'): its folder, or DIR/truth with "
	         "--dump DIR. Directions are "
	         "compared first, F latents (decoder rows) with G features; the chance of each figure is "
	         "that of F random "
	         "directions.\n"
	         "\n"
	         "  mcc          the one-to-one assignment with the largest sum of |cosine|, by min(F, G)\n"
	         "  mmcs_truth   mean over features of the largest cosine with a latent; mmcs_sae: the other "
	         "way round\n"
	         "  recovery_90  share of features with a latent of cosine over 0.9; recovery_95\n"
	         "  uniqueness   different best features of latents (by |cosine|) / F\n"
	         "  exclusive    of a crosscoder and features of one input that have a latent of cosine over "
	         "0.9: the "
	         "latent is\n"
	         "               that input's alone (over 0.9 of its norm); shared: of features of all "
	         "inputs, it is "
	         "none's\n"
	         "\n"
	         "Then codes, on held-out rows (--holdout, --split, --split-seed as in train): each latent "
	         "tells whether its best "
	         "feature is active. Chance: firing as often, but anywhere.\n"
	         "\n"
	         "  precision, recall, f1  means over latents; 0 where a latent is dead, as in SAELens\n"
	         "  purity       of latents that fire: on rows that all have one feature in common\n"
	         "  absorption   where features have parents: of rows with an active child, on which the "
	         "parent's latent (the\n"
	         "               one of largest cosine) is silent; silent_alone: of rows with a parent and "
	         "no child of it\n"
	         "  shrinkage    mean of |xhat| / |x|; explained_variance: 1 - sum |x - xhat|^2 / sum |x - "
	         "mean|^2\n"
	         "\n"
	         "A truth can stand for the SAE too: its own codes are compared.\n"
	         "\n"
	         "SAEs, of several seeds say, are compared in pairs: one-to-one assignments with the largest "
	         "sum of cosines, one of "
	         "decoder rows, one of encoder rows (as Paulo and Belrose, arXiv 2501.16615); the mean "
	         "cosine, the share of "
	         "min(F1, F2) over --min-cosine, and the share where both are over it and agree on the "
	         "partner. Chance: the second "
	         "SAE's rows replaced by random ones of the same second moments.",
	.examples = "gloss match sae/ planted/\n"
	            "gloss match sae/ planted/ --latents --json\n"
	            "gloss match seed0/ seed1/ seed2/",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 2,
	.max_args = 64,
};
