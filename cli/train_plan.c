/* The options of `gloss train` as the trainer takes them. */
#include <string.h>

#include "cli/train_args.h"

/* The place of `word` in "a|b|c". */
static unsigned place_of(const char *word, const char *list)
{
	unsigned place = 0;
	size_t n = strlen(word);

	while (strncmp(list, word, n) != 0 || (list[n] != '|' && list[n])) {
		list = strchr(list, '|') + 1;
		place++;
	}
	return place;
}

static void take_schedule(sae_train_opts *t, const train_opts *o, const cli_parsed *p)
{
	t->schedule = (sae_schedule)place_of(o->schedule, "wsd|constant|linear|cosine|infinite");
	if (cli_given(p, "warmup"))
		t->warmup = o->warmup;
	t->warmup_from = o->warmup_from;
	t->warmup_late = o->warmup_late;
	t->warmup_cosine = strcmp(o->warmup_shape, "cosine") == 0;
	t->decay = o->decay;
	if (cli_given(p, "lr-floor"))
		t->lr_floor = o->lr_floor;
	t->lr_constant = o->lr_constant;
	if (cli_given(p, "cooldown"))
		t->cooldown = o->cooldown;
	t->cooldown_shape = (sae_cooldown)place_of(o->cooldown_shape, "cosine|linear|root");
	if (cli_given(p, "sparsity-warmup"))
		t->sparsity_warmup = o->sparsity_warmup;
	t->k_start = o->k_start;
	if (o->k_anneal)
		t->k_anneal = o->k_anneal;
	t->k_shape = (sae_k_shape)place_of(o->k_shape, "linear|exponential|power");
	t->k_power = o->k_power;
}

static void take_optimizer(sae_train_opts *t, const train_opts *o, const cli_parsed *p)
{
	t->optimizer = (sae_optimizer)place_of(o->optimizer, "adam|adamw|signum|muon");
	t->lr = o->lr;
	t->beta1 = o->beta1;
	t->beta2 = o->beta2;
	t->eps = o->eps;
	if (cli_given(p, "weight-decay"))
		t->weight_decay = o->weight_decay;
	t->momentum = o->momentum;
	t->clip = o->clip;
	t->average = o->average;
	t->moments8 = strcmp(o->moments, "8") == 0;
}

static void take_others(sae_train_opts *t, const train_opts *o)
{
	t->codebook = (sae_codebook){ o->parts, strcmp(o->similarity, "euclidean") == 0,
		                      strcmp(o->combine, "mean") == 0 };
	t->code_norm = strcmp(o->code_norm, "layer") == 0;
	t->code_moving = strcmp(o->code_update, "ema") == 0;
	t->code_decay = o->code_decay;
	t->code_replace = o->replace_every;
	t->code_noise = o->replace_noise;
	t->code_random = strcmp(o->code_start, "random") == 0;
	t->residual = o->residual;
	t->repeats = o->repeats;
	t->archetypal = o->archetypal;
}

sae_train_opts train_plan_of(const train_opts *o, const cli_parsed *p, uint64_t tokens)
{
	static const sae_arch arches[] = { SAE_TOPK,      SAE_BATCHTOPK, SAE_GROUPMAX, SAE_MATRYOSHKA,
		                           SAE_MULTITOPK, SAE_CODEBOOK,  SAE_RELU,     SAE_PANNEAL,
		                           SAE_GATED,     SAE_JUMPRELU };
	bool crosses = o->dump.cross.n || o->dump.cross_key.n;
	sae_train_opts t = sae_train_opts_default();

	for (size_t i = 0; i < ARRAY_LEN(arches); i++)
		if (strcmp(o->arch, sae_arch_name(arches[i])) == 0)
			t.arch = arches[i];
	if (strcmp(o->arch, "pursuit") == 0)
		t.arch = SAE_PURSUIT;
	take_schedule(&t, o, p);
	take_optimizer(&t, o, p);
	take_others(&t, o);
	t.d_sae = o->features;
	t.k = o->k;
	t.batch = o->batch;
	t.steps = o->steps;
	t.tokens = tokens;
	t.penalty = train_penalty_of(&o->penalty, t.arch, crosses && t.arch != SAE_JUMPRELU);
	/* what is not given follows the scale of the rows */
	if (cli_given(p, "threshold-lr"))
		t.penalty.threshold_lr = o->penalty.threshold_lr;
	if (cli_given(p, "tanh-scale"))
		t.penalty.tanh_scale = o->penalty.tanh_scale;
	if (cli_given(p, "archetypal-delta"))
		t.archetypal_delta = o->archetypal_delta;
	if (cli_given(p, "auxk-alpha"))
		t.auxk_alpha = o->auxk_alpha;
	t.random_prefixes = o->random_prefixes;
	t.prefix_sum = strcmp(o->prefix_loss, "sum") == 0;
	t.prefix_bias = o->prefix_bias;
	t.dead_tokens = o->dead_tokens;
	t.normalize =
	        (sae_normalize)place_of(o->normalize, "none|mean-norm|mean-square|layer|token|whiten|center");
	t.bias = (sae_bias)place_of(o->init_bias, "mean|zero|median");
	t.encoder_norm = o->encoder_norm;
	t.normal_rows = strcmp(o->init_rows, "normal") == 0;
	t.resample = o->resample;
	t.seed = o->seed;
	t.order_seed = o->order_seed;
	t.skip = o->skip;
	t.transcodes = o->dump.target || o->dump.target_key;
	t.shuffle_rows = strcmp(o->shuffle, "rows") == 0;
	t.kernels = o->kernels;
	t.screening = strcmp(o->screening, "statistical") == 0 ? SAE_SCREENING_STATISTICAL
	              : strcmp(o->screening, "off") == 0       ? SAE_SCREENING_OFF
	                                                       : SAE_SCREENING_EXACT;
	return t;
}
