/* Options of a training run: defaults, checks, and what is left to the program. */
#include <math.h>

#include "sae/dump_internal.h"
#include "sae/fitter.h"
#include "sae/kernels.h"
#include "sae/screen.h"
#include "sae/train_internal.h"

#define MAX_BATCH (1u << 20)
#define MAX_SAE   (1u << 26)

static sae_penalty_opts penalty_default(void)
{
	return (sae_penalty_opts){ .p_end = 0.2, .anneal_from = 0.5 };
}

sae_train_opts sae_train_opts_default(void)
{
	return (sae_train_opts){ .arch = SAE_TOPK,
		                 .d_sae = 4608,
		                 .k = 32,
		                 .batch = 4096,
		                 .beta1 = 0.9,
		                 .beta2 = 0.999,
		                 .eps = 1e-8,
		                 .warmup = UINT64_MAX,
		                 .decay = 0.2,
		                 .lr_floor = -1,
		                 .lr_constant = 0.4,
		                 .cooldown = UINT64_MAX,
		                 .anneal_from = UINT64_MAX,
		                 .sparsity_warmup = UINT64_MAX,
		                 .k_anneal = UINT64_MAX,
		                 .k_power = 2,
		                 .weight_decay = -1,
		                 .momentum = 0.95,
		                 .penalty = penalty_default(),
		                 .auxk_alpha = -1,
		                 .codebook = { .groups = 1 },
		                 .code_decay = 0.99,
		                 .code_noise = 1e-4,
		                 .residual = 0.01,
		                 .archetypal_delta = -1,
		                 .row_unit = 1,
		                 .normalize = SAE_NORMALIZE_MEAN_NORM };
}

/* Written so that NaN is out of range too. */
static int check_real(const char *name, double value, double min, double max, error *err)
{
	if (value >= min && value <= max)
		return 0;
	return error_set(err, ERR_ARG, "option '%s' is %g, not in %g..%g", name, value, min, max);
}

static int check_whole(const char *name, uint64_t value, uint64_t min, uint64_t max, error *err)
{
	if (value >= min && value <= max)
		return 0;
	return error_set(err, ERR_ARG, "option '%s' is %llu, not in %llu..%llu", name,
	                 (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
}

/* The weight in force. */
static double auxk_of(const sae_train_opts *o)
{
	if (o->auxk_alpha < 0)
		return sae_penalty_fits(o->arch, SAE_PENALTY_DEFAULT) ? 0 : 1.0 / 32;
	return o->auxk_alpha;
}

/* Codes of a batch are counted in 32 bits. */
static int check_batch(const sae_train_opts *o, uint32_t d_in, error *err)
{
	uint64_t width = o->k > o->k_start ? o->k : o->k_start, max;

	if (o->arch == SAE_MULTITOPK) /* 4 k, if there are so many */
		width = 4 * width < o->d_sae ? 4 * width : o->d_sae;
	if (auxk_of(o) > 0 && d_in / 2 > width)
		width = d_in / 2;
	width = width ? width : 1; /* k counts nothing where there is a penalty */
	max = UINT32_MAX / width;
	return check_whole("batch", o->batch, 1, max < MAX_BATCH ? max : MAX_BATCH, err);
}

static int check_arch(const sae_train_opts *o, error *err)
{
	if (!fitter_kind_of(o))
		return error_set(err, ERR_ARG, "option 'arch' is %d, which is none that is trained",
		                 (int)o->arch);
	if (o->arch == SAE_GROUPMAX && o->d_sae % o->k != 0)
		return error_set(err, ERR_ARG,
		                 "option 'features' is %u, which is no multiple of k = %u, as arch groupmax "
		                 "needs",
		                 o->d_sae, o->k);
	return 0;
}

static int check_schedule(const sae_train_opts *o, error *err)
{
	int rc = check_whole("schedule", o->schedule, SAE_SCHEDULE_WSD, SAE_SCHEDULE_INFINITE, err);

	if (rc == 0)
		rc = check_real("decay", o->decay, 0, 1, err);
	if (rc == 0)
		rc = check_real("warmup-from", o->warmup_from, 0, 1, err);
	if (rc == 0 && o->lr_floor >= 0)
		rc = check_real("lr-floor", o->lr_floor, o->schedule == SAE_SCHEDULE_INFINITE ? 1e-30 : 0, 1,
		                err);
	if (rc == 0 && o->schedule == SAE_SCHEDULE_INFINITE)
		rc = check_real("lr-constant", o->lr_constant, o->lr_floor > 0 ? o->lr_floor : 1e-30, 1, err);
	if (rc == 0 && o->k_start)
		rc = check_whole("k-start", o->k_start, o->k, o->d_sae, err);
	if (rc == 0 && o->k_start && o->k_shape == SAE_K_POWER)
		rc = check_real("k-power", o->k_power, 0.01, 100, err);
	return rc;
}

static int check_optimizer(const sae_train_opts *o, error *err)
{
	int rc = check_whole("optimizer", o->optimizer, SAE_ADAM, SAE_MUON, err);

	if (rc == 0)
		rc = check_real("beta1", o->beta1, 0, 0.999999, err);
	if (rc == 0)
		rc = check_real("beta2", o->beta2, 0, 0.9999999, err);
	if (rc == 0)
		rc = check_real("eps", o->eps, 1e-30, 1, err);
	if (rc == 0 && o->weight_decay >= 0)
		rc = check_real("weight-decay", o->weight_decay, 0, 1e3, err);
	if (rc == 0 && (o->optimizer == SAE_SIGNUM || o->optimizer == SAE_MUON))
		rc = check_real("momentum", o->momentum, o->optimizer == SAE_SIGNUM ? 0.01 : 0, 0.999999,
		                err);
	if (rc == 0)
		rc = check_real("clip", o->clip, 0, 1e30, err);
	if (rc == 0)
		rc = check_real("average", o->average, 0, 0.9999999, err);
	if (rc == 0 && o->optimizer == SAE_SIGNUM && o->average > 0)
		return error_set(err, ERR_ARG,
		                 "option 'average' is %g, but optimizer signum has a mean of its own",
		                 o->average);
	if (rc == 0 && o->moments8 && train_keeps_gradients(o))
		return error_set(
		        err, ERR_ARG,
		        "option 'optimizer-state' is 8, which only plain Adam has: without optimizer, "
		        "clip and average");
	return rc;
}

/* Whether groups divide the rows is seen when those are known. */
static int check_codebook(const sae_train_opts *o, error *err)
{
	uint32_t groups = o->codebook.groups, k = o->k > o->k_start ? o->k : o->k_start;
	int rc = check_whole("parts", groups, 1, o->d_sae, err);

	if (rc == 0 && o->d_sae % groups != 0)
		return error_set(err, ERR_ARG, "option 'features' is %u, which is no multiple of parts = %u",
		                 o->d_sae, groups);
	if (rc == 0)
		rc = check_whole("k", k, 1, o->d_sae / groups, err);
	if (rc == 0)
		rc = check_whole("batch", o->batch, 1, UINT32_MAX / ((uint64_t)groups * k), err);
	if (rc == 0)
		rc = check_real("code-decay", o->code_decay, 0, 0.9999999, err);
	return rc == 0 ? check_real("replace-noise", o->code_noise, 0, 1, err) : rc;
}

static int check_others(const sae_train_opts *o, error *err)
{
	bool codebook = o->arch == SAE_CODEBOOK, pursuit = o->arch == SAE_PURSUIT;
	int rc = codebook ? check_codebook(o, err) : 0;

	if (rc == 0 && pursuit)
		rc = check_real("residual", o->residual, 0, 1e30, err);
	if (rc == 0 && o->archetypal && !(o->archetypal_delta < 0))
		rc = check_real("archetypal-delta", o->archetypal_delta, 0, 1e30, err);
	if (rc == 0 && o->archetypal && o->arch != SAE_TOPK && o->arch != SAE_BATCHTOPK &&
	    o->arch != SAE_GROUPMAX)
		return error_set(err, ERR_ARG, "option 'archetypal' is %u, which arch %s does not have",
		                 o->archetypal, sae_arch_name(o->arch));
	if (rc == 0 && o->archetypal && (o->moments8 || train_keeps_gradients(o)))
		return error_set(
		        err, ERR_ARG,
		        "option 'archetypal' is %u, which goes with plain Adam only: without optimizer, "
		        "optimizer-state, clip and average",
		        o->archetypal);
	if (rc == 0 && (codebook || pursuit) && train_keeps_gradients(o))
		return error_set(err, ERR_ARG,
		                 "arch %s goes with plain Adam only: without optimizer, clip and average",
		                 sae_arch_name(o->arch));
	if (rc == 0 && o->archetypal && o->resample)
		return error_set(err, ERR_ARG,
		                 "option 'resample' is %llu, but archetypal decoder rows cannot begin anew",
		                 (unsigned long long)o->resample);
	return rc;
}

/* What cannot be folded into their models. */
static int check_foldable(const sae_train_opts *o, error *err)
{
	bool codebook = o->arch == SAE_CODEBOOK, pursuit = o->arch == SAE_PURSUIT;
	bool scales = o->normalize <= SAE_NORMALIZE_MEAN_SQUARE;

	if (scales || (!codebook && !pursuit) || (pursuit && o->normalize == SAE_NORMALIZE_CENTER))
		return 0;
	return error_set(err, ERR_ARG, "option 'normalize' does not go with arch %s, but for none, %s",
	                 sae_arch_name(o->arch),
	                 pursuit ? "mean-norm, mean-square and center" : "mean-norm and mean-square");
}

static int check_start(const sae_train_opts *o, error *err)
{
	int rc = check_whole("normalize", o->normalize, SAE_NORMALIZE_NONE, SAE_NORMALIZE_CENTER, err);

	if (rc == 0)
		rc = check_whole("init-bias", o->bias, SAE_BIAS_MEAN, SAE_BIAS_MEDIAN, err);
	if (rc == 0)
		rc = check_real("encoder-norm", o->encoder_norm, 0, 1e6, err);
	if (rc == 0 && o->resample)
		rc = check_whole("resample", o->resample, 2, UINT64_MAX / 2 / MAX_BATCH, err);
	return rc == 0 ? check_foldable(o, err) : rc;
}

static int check_penalty(const sae_train_opts *o, error *err)
{
	const sae_penalty_opts *p = &o->penalty;
	int rc;

	if (!sae_penalty_fits(o->arch, p->kind))
		return error_set(err, ERR_ARG, "option 'penalty' is one of arch %s, not of %s",
		                 p->kind >= SAE_PENALTY_LP ? "panneal" : "jumprelu", sae_arch_name(o->arch));
	rc = check_real("coefficient of the penalty", p->coef, 0, 1e9, err);
	if (rc == 0)
		rc = check_real("target-l0", p->target_l0, 0, o->d_sae, err);
	if (rc == 0 && p->start_l0 > 0)
		rc = check_real("start-l0", p->start_l0, 0, o->d_sae, err);
	if (rc == 0)
		rc = check_real("decoder-norm", p->decoder_norm, 0, 1e6, err);
	if (rc == 0 && p->ste_value && p->kind == SAE_PENALTY_TANH)
		rc = error_set(err, ERR_ARG,
		               "option 'ste-value' does not go with the tanh penalty, which counts nothing");
	if (rc == 0 && p->raw_input && o->transcodes)
		rc = error_set(
		        err, ERR_ARG,
		        "option 'raw-input' does not go with targets: a transcoder's input is always raw");
	if (rc == 0)
		rc = check_real("bandwidth", p->bandwidth, 0, 1e6, err);
	if (rc == 0)
		rc = check_real("threshold", p->threshold, 0, 1e6, err);
	if (rc == 0)
		rc = check_real("threshold-lr", p->threshold_lr, 0, 1e6, err);
	if (rc == 0)
		rc = check_real("tanh-scale", p->tanh_scale, 0, 1e6, err);
	if (rc == 0)
		rc = check_real("preact", p->preact, 0, 1e9, err);
	if (rc == 0)
		rc = check_real("p-end", p->p_end, 0.05, 1, err);
	return rc == 0 ? check_real("anneal-from", p->anneal_from, 0, 1, err) : rc;
}

int sae_train_opts_check(const sae_train_opts *o, uint32_t d_in, uint64_t n_train_rows, error *err)
{
	uint32_t ends[SAE_PREFIXES], n_ends;
	int rc = check_whole("features", o->d_sae, 1, MAX_SAE, err);

	if (rc == 0 && !sae_penalty_fits(o->arch, SAE_PENALTY_DEFAULT))
		rc = check_whole("k", o->k, 1, o->d_sae, err);
	if (rc == 0)
		rc = check_arch(o, err);
	if (rc == 0 && o->arch == SAE_MATRYOSHKA)
		rc = sae_train_prefixes(ends, &n_ends, o, err);
	if (rc == 0)
		rc = check_whole("screening", o->screening, SAE_SCREENING_EXACT, SAE_SCREENING_OFF, err);
	if (rc == 0)
		rc = check_batch(o, d_in, err);
	if (rc == 0)
		rc = check_others(o, err);
	if (rc == 0)
		rc = check_real("lr", o->lr, 0, 1e3, err);
	if (rc == 0)
		rc = check_start(o, err);
	if (rc == 0)
		rc = check_schedule(o, err);
	if (rc == 0)
		rc = check_optimizer(o, err);
	if (rc == 0 && sae_penalty_fits(o->arch, SAE_PENALTY_DEFAULT))
		rc = check_penalty(o, err);
	if (rc == 0)
		rc = check_real("auxk-alpha", auxk_of(o), 0, 1e3, err);
	if (rc == 0)
		rc = check_whole("steps", o->steps, 0, UINT64_MAX / 2 / o->batch, err);
	if (rc < 0)
		return rc;
	if (!kernels_get(o->kernels))
		return error_set(err, ERR_ARG,
		                 "option 'kernels' is '%s', which is not known or this CPU cannot run",
		                 o->kernels);
	if (n_train_rows == 0)
		return error_set(err, ERR_FORMAT, "no rows are left to train on");
	return 0;
}

void sae_train_screening(char *out, size_t size, const sae_train_opts *o, uint32_t d_in)
{
	const kernels *k = kernels_get(o->kernels);

	if (k && screen_pays(o->screening, kernels_screen(kernels_get(o->kernels)), d_in, o->d_sae, o->k))
		snprintf(out, size, "%s (%s)",
		         o->screening == SAE_SCREENING_STATISTICAL ? "statistical" : "exact",
		         kernels_screen(k)->name);
	else
		snprintf(out, size, "off");
}

bool train_keeps_gradients(const sae_train_opts *o)
{
	return o->optimizer != SAE_ADAM || o->clip > 0 || o->average > 0;
}

static double default_lr(const sae_train_opts *o)
{
	if (o->arch == SAE_CODEBOOK) /* codes are about as large as rows, whatever their number */
		return 3e-3 * o->row_unit;
	if (o->optimizer == SAE_MUON)
		return 2e-3;
	return (o->optimizer == SAE_SIGNUM ? 5e-3 : 2e-4) / sqrt(o->d_sae / 16384.0);
}

static void plan_schedule(sae_train_opts *o)
{
	bool infinite = o->schedule == SAE_SCHEDULE_INFINITE;

	if (o->warmup == UINT64_MAX)
		o->warmup = o->optimizer == SAE_SIGNUM ? 0 : o->steps / 20 < 1000 ? o->steps / 20 : 1000;
	if (o->lr_floor < 0)
		o->lr_floor = infinite ? 0.01 : 0;
	if (o->cooldown == UINT64_MAX)
		o->cooldown = infinite ? (uint64_t)llround(0.15 * (double)o->steps) : 0;
	if (infinite && o->cooldown < o->warmup)
		o->cooldown = o->warmup;
	if (o->anneal_from == UINT64_MAX)
		o->anneal_from = infinite ? o->steps - (uint64_t)llround(o->decay * (double)o->steps) : 0;
	if (infinite && o->anneal_from < o->cooldown)
		o->anneal_from = o->cooldown;
	if (o->sparsity_warmup == UINT64_MAX)
		o->sparsity_warmup = sae_penalty_fits(o->arch, SAE_PENALTY_DEFAULT) ? o->steps / 10 : 0;
	if (o->k_anneal == UINT64_MAX)
		o->k_anneal = o->k_start ? o->steps / 2 : 0;
}

/* Of raw rows it is their own; what divides rows by their norm or deviation makes it 1. */
static double row_unit(const sae_dump *d, const sae_rows *rows, sae_normalize kind)
{
	const double norm = sae_rows_get_stats(rows)->mean_norm;

	if (kind == SAE_NORMALIZE_MEAN_SQUARE) /* of each input by itself */
		return 1 / sqrt(dump_part(d, 0)->width);
	return kind == SAE_NORMALIZE_NONE && norm > 0 ? norm / sqrt(sae_dump_get_info(d)->d_in) : 1;
}

void sae_train_opts_see(sae_train_opts *o, const sae_dump *d, const sae_rows *rows)
{
	o->transcodes = sae_dump_target(d) != NULL;
	o->n_inputs = (uint32_t)sae_dump_n_inputs(d);
	o->row_unit = row_unit(d, rows, o->normalize);
}

void sae_train_plan(sae_train_opts *o, uint64_t n_train_rows)
{
	if (o->archetypal_delta < 0)
		o->archetypal_delta = o->row_unit;
	if (o->arch == SAE_MATRYOSHKA && !o->random_prefixes)
		train_plan_groups(o);
	o->auxk_alpha = auxk_of(o);
	if (!o->steps)
		o->steps = o->tokens ? (o->tokens + o->batch - 1) / o->batch : n_train_rows / o->batch;
	if (!o->steps)
		o->steps = 1;
	o->tokens = 0;
	plan_schedule(o);
	if (sae_penalty_fits(o->arch, SAE_PENALTY_DEFAULT))
		train_plan_penalty(o);
	if (o->weight_decay < 0)
		o->weight_decay = o->optimizer == SAE_MUON ? 0.1 : 0.01;
	if (!(o->lr > 0))
		o->lr = default_lr(o);
	if (!o->dead_tokens) {
		uint64_t share = o->steps * o->batch / 10;

		o->dead_tokens = share < 10000000 ? share : 10000000;
		if (!o->dead_tokens)
			o->dead_tokens = 1;
	}
}
