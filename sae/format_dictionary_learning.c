/* dictionary_learning (saprmarks, Karvonen): ae.pt, a state dict, and config.json, whose dict_class says what it is of. */
#include <stdlib.h>
#include <string.h>

#include "sae/formats.h"
#include "sae/zip_write.h"

static const char config_name[] = "config.json", weights_name[] = "ae.pt";

/* nn.Linear keeps the encoder as (F, d) and the decoder as (d, F); the classes without it have W_enc (d, F), W_dec (F, d). */
static const struct dict_class {
	const char *name;
	sae_arch arch;
	bool linear, centers, gated;
	const char *b_enc, *b_dec;
} classes[] = {
	{ "AutoEncoder", SAE_RELU, true, true, false, "encoder.bias", "bias" },
	{ "AutoEncoderNew", SAE_RELU, true, false, false, "encoder.bias", "decoder.bias" },
	{ "GatedAutoEncoder", SAE_JUMPRELU, true, true, true, "mag_bias", "decoder_bias" },
	{ "AutoEncoderTopK", SAE_TOPK, true, true, false, "encoder.bias", "b_dec" },
	{ "BatchTopKSAE", SAE_JUMPRELU, true, true, false, "encoder.bias", "b_dec" },
	{ "MatryoshkaBatchTopKSAE", SAE_JUMPRELU, false, true, false, "b_enc", "b_dec" },
	{ "JumpReluAutoEncoder", SAE_JUMPRELU, false, false, false, "b_enc", "b_dec" },
};

static int unknown_class(const layout *l, const char *name, error *err)
{
	char known[160] = "";
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(classes) && n < sizeof(known) - 32; i++)
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "", classes[i].name);
	return error_set(err, ERR_FORMAT, "'%s': dict_class '%.40s' is not supported; %s are", l->config,
	                 name, known);
}

static void set_class(layout *l, const struct dict_class *c)
{
	snprintf(l->architecture, sizeof(l->architecture), "%s", c->name);
	l->arch = c->arch;
	l->centers = c->centers;
	l->b_enc = c->b_enc;
	l->b_dec = c->b_dec;
	if (c->linear) {
		l->enc = (layout_matrix){ "encoder.weight", false };
		l->dec = (layout_matrix){ "decoder.weight", true };
	}
	if (c->gated) {
		l->b_gate = "gate_bias";
		l->r_mag = "r_mag";
		layout_folds(l, "the gate as a threshold");
	} else if (c->arch == SAE_JUMPRELU) {
		l->threshold = "threshold";
	}
	if (c == &classes[0]) { /* as its from_pretrained() does */
		l->values_by_norm = true;
		layout_folds(l, "norms of decoder rows into the encoder");
	}
}

static int read_config(layout *l, const char *dir, error *err)
{
	const cJSON *trainer = cJSON_GetObjectItemCaseSensitive(l->json, "trainer");
	const char *name = NULL;
	size_t i = 0;
	int rc;

	(void)dir;
	if (!cJSON_IsObject(trainer))
		return error_set(err, ERR_FORMAT, "'%s' has no object 'trainer'", l->config);
	rc = json_get_string(&name, trainer, "dict_class", l->config, err);
	if (rc == 0)
		rc = json_get_u64(&l->d_in, trainer, "activation_dim", l->config, err);
	if (rc == 0)
		rc = json_get_u64(&l->d_sae, trainer, "dict_size", l->config, err);
	if (rc == 0)
		rc = json_get_u64(&l->k, trainer, "k", l->config, err);
	if (rc == 0)
		rc = json_get_string(&l->model_name, trainer, "lm_name", l->config, err);
	if (rc == 0)
		rc = json_get_string(&l->hook_name, trainer, "submodule_name", l->config, err);
	if (rc < 0)
		return rc;
	l->d_out = l->d_in;
	while (name && i < ARRAY_LEN(classes) && strcmp(name, classes[i].name) != 0)
		i++;
	if (!name || i == ARRAY_LEN(classes))
		return unknown_class(l, name ? name : "", err);
	set_class(l, &classes[i]);
	return 0;
}

static const char *cannot(const sae_model *m)
{
	if (m->arch != SAE_RELU && m->arch != SAE_TOPK && m->arch != SAE_JUMPRELU)
		return "it knows only relu, topk and jumprelu";
	if (m->norm != SAE_NORM_NONE)
		return "it cannot normalise rows";
	return m->transcodes || m->W_skip ? "it has no transcoders" : NULL;
}

/* AutoEncoderNew for relu: an AutoEncoder's values would change with its decoder's norms. */
static const struct dict_class *class_of(const sae_model *m)
{
	return m->arch == SAE_TOPK ? &classes[3] : m->arch == SAE_RELU ? &classes[1] : &classes[6];
}

static cJSON *config_json(const sae_model *m)
{
	cJSON *top = cJSON_CreateObject(), *o = top ? cJSON_AddObjectToObject(top, "trainer") : NULL;

	if (o && cJSON_AddStringToObject(o, "dict_class", class_of(m)->name) &&
	    cJSON_AddNumberToObject(o, "activation_dim", m->d_in) &&
	    cJSON_AddNumberToObject(o, "dict_size", m->d_sae) &&
	    (!m->k || cJSON_AddNumberToObject(o, "k", m->k)) &&
	    cJSON_AddStringToObject(o, "lm_name", m->model_name ? m->model_name : "") &&
	    cJSON_AddStringToObject(o, "submodule_name", m->hook_name ? m->hook_name : "") &&
	    cJSON_AddObjectToObject(top, "buffer"))
		return top;
	cJSON_Delete(top);
	return NULL;
}

static int write_weights(const sae_model *m, const char *path, error *err)
{
	const struct dict_class *c = class_of(m);
	const uint64_t d = m->d_in, n = m->d_sae;
	const int32_t k = (int32_t)m->k;
	const float none = -1;
	const bool topk = m->arch == SAE_TOPK;
	float *bias = layout_bias(m, c->centers),
	      *turned = c->linear ? layout_turn(m->W_dec, n, d) : layout_turn(m->W_enc, n, d);
	const sae_tensor_out tensors[] = {
		{ c->b_dec, SAE_F32, 1, { d }, m->b_dec },
		{ c->linear ? "encoder.weight" : "W_enc",
		  SAE_F32,
		  2,
		  { c->linear ? n : d, c->linear ? d : n },
		  c->linear ? m->W_enc : turned },
		{ c->b_enc, SAE_F32, 1, { n }, bias },
		{ c->linear ? "decoder.weight" : "W_dec",
		  SAE_F32,
		  2,
		  { c->linear ? d : n, c->linear ? n : d },
		  c->linear ? turned : m->W_dec },
		{ "threshold", SAE_F32, topk ? 0 : 1, { topk ? 0 : n }, topk ? &none : m->threshold },
		{ "k", SAE_I32, 0, { 0 }, &k },
	};
	int rc = bias && turned ? torch_write(path, tensors,
	                                      topk           ? 6
	                                      : m->threshold ? 5
	                                                     : 4,
	                                      err)
	                        : error_nomem(err, "a copy of the weights");

	free(bias);
	free(turned);
	return rc;
}

static int write(const sae_model *m, const char *dir, error *err)
{
	char path[FILE_PATH_MAX];
	int rc = file_join(path, dir, weights_name, err);

	if (rc == 0)
		rc = write_weights(m, path, err);
	return rc < 0 ? rc : layout_write_json(config_json(m), dir, config_name, err);
}

const format format_dictionary_learning = {
	.name = "dictionary-learning",
	.config = config_name,
	.weights = weights_name,
	.read = read_config,
	.cannot = cannot,
	.write = write,
};
