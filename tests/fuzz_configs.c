/* Fuzz target: any bytes as the config of an SAE, for each format that has one, beside weights that are right. What loads must also
 * encode. */
#include "tests/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sae/sae.h"
#include "sae/zip_write.h"

enum { D = 3, F = 4 };

const fuzz_seed fuzz_seeds[] = {
	FUZZ_SEED("{\"architecture\":\"gated\",\"d_in\":3,\"d_sae\":4,\"d_out\":3,\"k\":2,\"apply_b_dec_to_"
	          "input\":false,"
	          "\"normalize_activations\":\"layer_norm\",\"finetuning_scaling_factor\":false,\"reshape_"
	          "activations\":"
	          "\"hook_z\",\"metadata\":{\"sae_lens_version\":\"6.1\",\"hook_name\":\"h\",\"gloss\":{"
	          "\"k\":1,\"norm_limit\":"
	          "9.5}}}"),
	FUZZ_SEED("{\"architecture\":\"matching_pursuit\",\"d_in\":3,\"d_sae\":4,\"residual_threshold\":0.01,"
	          "\"max_iterations\":3,\"stop_on_duplicate_support\":true,\"rescale_acts_by_decoder_norm\":"
	          "false}"),
	FUZZ_SEED("{\"architecture\":\"jumprelu_skip_transcoder\",\"d_in\":3,\"d_sae\":4,\"d_out\":3}"),
	FUZZ_SEED("{\"activation_fn_str\":\"topk\",\"activation_fn_kwargs\":{\"k\":2},\"normalize_"
	          "activations\":false,"
	          "\"hook_point\":\"h\",\"rescale_acts_by_decoder_norm\":true}"),
	FUZZ_SEED("{\"activation\":\"groupmax\",\"k\":2,\"d_in\":3,\"num_latents\":4,\"skip_connection\":"
	          "true,\"transcode\":true,"
	          "\"signed\":false}"),
	FUZZ_SEED("{\"architecture\":\"jump_relu\",\"hf_hook_point_in\":\"a\",\"hf_hook_point_out\":\"b\","
	          "\"affine_connection\":"
	          "true}"),
	FUZZ_SEED("{\"trainer\":{\"dict_class\":\"GatedAutoEncoder\",\"activation_dim\":3,\"dict_size\":4,"
	          "\"k\":2}}"),
	FUZZ_SEED(
	        "{\"act_fn\":\"jumprelu\",\"d_model\":3,\"top_k\":2,\"norm_activation\":\"dataset-wise\","
	        "\"sparsity_include_decoder_norm\":true,\"jump_relu_threshold\":0.25,\"hook_point_in\":\"h\","
	        "\"hook_point_out\":\"h\",\"dataset_average_activation_norm\":{\"in\":2,\"out\":2}}"),
	{ NULL, 0 },
};

static const struct {
	const char *folder, *config, *weights;
} formats[] = { { "saelens", "cfg.json", "sae_weights.safetensors" },
	        { "sparsify", "cfg.json", "sae.safetensors" },
	        { "gemma", "config.json", "params.safetensors" },
	        { "openmoss", "config.json", "sae_weights.safetensors" },
	        { "dictionary", "config.json", "ae.pt" } };

static char root[] = "/tmp/fuzz_configs.XXXXXX";
static pool *threads;

static void make_path(char *out, size_t i, const char *name)
{
	snprintf(out, FILE_PATH_MAX, "%s/%s%s%s", root, formats[i].folder, name ? "/" : "", name ? name : "");
}

static void clean_up(void)
{
	char path[FILE_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		make_path(path, i, formats[i].config);
		unlink(path);
		make_path(path, i, formats[i].weights);
		unlink(path);
		make_path(path, i, NULL);
		rmdir(path);
	}
	rmdir(root);
	pool_free(threads);
}

/* Every name that a format has for a tensor, in its shape. */
static void write_weights(size_t i)
{
	static const char *const wide[] = { "W_enc", "w_enc", "W_E", "decoder.weight", NULL },
	                         *const tall[] = { "W_dec", "w_dec", "W_D", "encoder.weight", NULL },
	                         *const features[] = { "b_enc",
		                                       "b_E",
		                                       "encoder.bias",
		                                       "b_mag",
		                                       "mag_bias",
		                                       "b_gate",
		                                       "gate_bias",
		                                       "r_mag",
		                                       "threshold",
		                                       "log_jumprelu_threshold",
		                                       NULL },
	                         *const rows[] = { "b_dec",        "b_D",          "bias",
		                                   "decoder.bias", "decoder_bias", NULL };
	const struct {
		const char *const *names;
		unsigned n_dims;
		uint64_t dims[2];
	} kinds[] = {
		{ wide, 2, { D, F } }, { tall, 2, { F, D } }, { features, 1, { F } }, { rows, 1, { D } }
	};
	static float x[D * F];
	sae_tensor_out t[32];
	char path[FILE_PATH_MAX];
	size_t n = 0;

	for (size_t j = 0; j < D * F; j++)
		x[j] = 0.25f * (float)(j % 5) - 0.375f;
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (size_t j = 0; kinds[k].names[j]; j++)
			t[n++] = (sae_tensor_out){ kinds[k].names[j],
				                   SAE_F32,
				                   kinds[k].n_dims,
				                   { kinds[k].dims[0], kinds[k].dims[1] },
				                   x };
	t[n++] = (sae_tensor_out){ "W_skip", SAE_F32, 2, { D, D }, x };
	t[n++] = (sae_tensor_out){ "affine_skip_connection", SAE_F32, 2, { D, D }, x };
	t[n++] = (sae_tensor_out){ "topk_threshold", SAE_F32, 0, { 0 }, x };
	make_path(path, i, formats[i].weights);
	if ((strstr(path, ".pt") ? torch_write(path, t, n, NULL)
	                         : sae_safetensors_write(path, t, n, NULL, 0, NULL)) < 0)
		abort();
}

static int begin(void)
{
	char path[FILE_PATH_MAX], config[64];
	int fd = memfd_create("config", 0);

	if (fd < 0 || !mkdtemp(root) || pool_new(&threads, 1, NULL) < 0)
		abort();
	snprintf(config, sizeof(config), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		make_path(path, i, NULL);
		if (file_mkdir(path, NULL) < 0)
			abort();
		write_weights(i);
		make_path(path, i, formats[i].config);
		if (symlink(config, path) < 0)
			abort();
	}
	atexit(clean_up);
	return fd;
}

static void use(const sae_model *m)
{
	static const float x[2 * D] = { 1, -2, 3, -4, 5, 6 };
	float hat[2 * D];
	sae_encoder *e = NULL;
	sae_codes c = { 0 };

	if (m->d_in != D || m->d_out != D || (m->d_sae != F && m->d_sae != 2 * F))
		abort();
	if (sae_encoder_new(&e, m, threads, "scalar", NULL) < 0 || sae_encode(e, x, 2, &c, NULL) < 0)
		abort();
	for (size_t i = 0; i < c.first[2]; i++)
		if (!(c.value[i] > 0) || c.index[i] >= m->d_sae)
			abort();
	sae_decode(m, x, &c, hat, threads);
	sae_encoder_free(e);
	sae_codes_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;

	if (fd < 0)
		fd = begin();
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		char path[FILE_PATH_MAX];
		sae_model_facts facts;
		sae_model *m = NULL;
		error err = { 0 };

		make_path(path, i, NULL);
		if (sae_model_look(&facts, path, &err) < 0) {
			if (!err.msg[0] || sae_model_load(&m, path, NULL) == 0)
				abort();
			continue;
		}
		if (sae_model_load(&m, path, &err) == 0)
			use(m);
		else if (!err.msg[0])
			abort(); /* numbers that folding makes infinite */
		sae_model_free(m);
	}
	return 0;
}
