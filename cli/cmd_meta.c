/* gloss meta: an SAE of an SAE's decoder rows. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/page.h"
#include "sae/sae.h"

typedef struct meta_opts {
	const char *output;
	double width;
	uint32_t k, batch, threads;
	uint64_t steps, seed;
	double lr;
} meta_opts;

static const option options[] = {
	OPTION(meta_opts, output, "output", 'o', OPTION_STRING, "DIR", NULL, 0, 0,
	       "folder for the meta-SAE and decoder.safetensors, its rows; required"),
	OPTION(meta_opts, width, "width", 0, OPTION_DOUBLE, "SHARE", "0.25", 1e-6, 100,
	       "features of the meta-SAE for each of the SAE's"),
	OPTION(meta_opts, k, "k", 'k', OPTION_U32, "N", "4", 1, 4096,
	       "meta-features of a decoder row, on average (BatchTopK)"),
	OPTION(meta_opts, steps, "steps", 0, OPTION_U64, "N", "1500", 1, 1e9, "training steps"),
	OPTION(meta_opts, batch, "batch", 0, OPTION_U32, "N", "1024", 1, 1e6,
	       "decoder rows a step, at most all"),
	OPTION(meta_opts, lr, "lr", 0, OPTION_DOUBLE, "X", "5e-4", 1e-12, 1, "learning rate"),
	OPTION(meta_opts, seed, "seed", 's', OPTION_U64, "N", "0", 0, 0,
	       "of the start, the order and the chance rows"),
	OPTION(meta_opts, threads, "threads", 't', OPTION_U32, "N", NULL, 1, 4096,
	       "threads; if not given, the CPUs this process may use"),
};

typedef struct meta {
	const meta_opts *o;
	const cli_parsed *p;
	pool *pool;
	const sae_model *of;
	sae_metrics own, chance;
	progress pr;
} meta;

static int on_step(void *payload, const sae_train_step *s)
{
	meta *m = payload;

	progress_update(&m->pr, s->step, NULL);
	return cli_stop_requested();
}

/* Train on rows (F, d), which are written to DIR/name, and measure over all of them. *out may be NULL. */
static int train_on(sae_model **out, sae_metrics *metrics, meta *m, const float *rows, const char *name,
                    error *err)
{
	const sae_tensor_out t = { "activations", SAE_F32, 2, { m->of->d_sae, m->of->d_out }, rows };
	const sae_dump_opts dump_opts = { 0 };
	const sae_rows_opts rows_opts = { 0 };
	sae_train_opts o = sae_train_opts_default();
	sae_model *model = NULL;
	sae_dump *d = NULL;
	sae_rows *r = NULL;
	char path[FILE_PATH_MAX];
	const char *paths[] = { path };
	int rc = file_join(path, m->o->output, name, err);

	o.arch = SAE_BATCHTOPK;
	o.k = m->o->k;
	o.d_sae = (uint32_t)fmax(ceil(m->o->width * m->of->d_sae), m->o->k);
	o.batch = m->o->batch < m->of->d_sae ? m->o->batch : m->of->d_sae;
	o.steps = m->o->steps;
	o.lr = m->o->lr;
	o.warmup = 0;
	o.decay = 0;
	o.shuffle_rows = true;
	o.seed = o.order_seed = m->o->seed;
	o.on_step = on_step;
	o.payload = m;
	if (!rc)
		rc = sae_safetensors_write(path, &t, 1, NULL, 0, err);
	if (!rc)
		rc = sae_dump_open(&d, paths, 1, &dump_opts, err);
	if (!rc)
		rc = sae_rows_scan(&r, d, &rows_opts, false, m->pool, NULL, err);
	if (!rc)
		rc = sae_rows_split(r, d, 0, SAE_SPLIT_TAIL, 0, err);
	progress_start(&m->pr, cli_progress_stream(m->p), "train", "steps", m->o->steps);
	if (!rc)
		rc = sae_train(&model, NULL, d, r, &o, m->pool, err);
	progress_end(&m->pr);
	if (!rc)
		rc = sae_eval(metrics, model, d, NULL, r, false, m->pool, NULL, err);
	sae_rows_free(r);
	sae_dump_close(d);
	if (!rc && out)
		*out = model;
	else
		sae_model_free(model);
	return rc;
}

static cJSON *make_page(const meta *m, const char *sae)
{
	cJSON *page = cJSON_CreateObject();

	if (cJSON_AddStringToObject(page, "sae", sae) &&
	    cJSON_AddNumberToObject(page, "rows", m->of->d_sae) &&
	    cJSON_AddNumberToObject(page, "meta_features", (double)m->own.n_features) &&
	    cJSON_AddNumberToObject(page, "k", m->o->k) &&
	    cJSON_AddNumberToObject(page, "steps", (double)m->o->steps) &&
	    cJSON_AddNumberToObject(page, "variance_explained", m->own.ev_ratio) &&
	    cJSON_AddNumberToObject(page, "chance", m->chance.ev_ratio) &&
	    cJSON_AddNumberToObject(page, "mse_per_dim", m->own.mse_per_dim) &&
	    cJSON_AddNumberToObject(page, "l0", m->own.l0) &&
	    cJSON_AddNumberToObject(page, "dead", (double)m->own.n_dead))
		return page;
	cJSON_Delete(page);
	return NULL;
}

static int measure(cJSON **page, meta *m, const char *sae, error *err)
{
	float *unit = sae_unit_rows(m->of->W_dec, m->of->d_sae, m->of->d_out);
	float *chance = unit ? sae_null_rows(unit, m->of->d_sae, m->of->d_out, m->o->seed) : NULL;
	sae_model *model = NULL;
	char path[FILE_PATH_MAX];
	int rc = unit && chance ? 0 : error_nomem(err, "decoder rows");

	if (!rc)
		rc = train_on(NULL, &m->chance, m, chance, "chance.safetensors", err);
	if (!rc)
		rc = train_on(&model, &m->own, m, unit, "decoder.safetensors", err);
	if (!rc)
		rc = file_join(path, m->o->output, "chance.safetensors", err);
	if (!rc && remove(path))
		rc = error_set(err, ERR_IO, "cannot remove '%s'", path);
	if (!rc)
		rc = sae_model_save(model, m->o->output, NULL, NULL, err);
	if (!rc) {
		*page = make_page(m, sae);
		rc = *page ? 0 : error_nomem(err, "the answer");
	}
	free(unit);
	free(chance);
	sae_model_free(model);
	return rc;
}

static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	meta m = { .o = opts, .p = p };
	sae_model *of = NULL;
	int rc = m.o->output ? 0
	                     : error_set(err, ERR_ARG,
	                                 "--output DIR says where the meta-SAE goes; it is not given");

	cli_catch_signals();
	if (!rc && file_exists(m.o->output))
		rc = error_set(err, ERR_EXISTS, "'%s' is there already: give another --output", m.o->output);
	if (!rc)
		rc = sae_model_load(&of, p->args[0], err);
	if (!rc && of->d_sae < 2)
		rc = error_set(err, ERR_ARG, "'%s' has one feature: there is nothing to take apart",
		               p->args[0]);
	if (!rc)
		rc = pool_new(&m.pool, m.o->threads, err);
	if (!rc)
		rc = file_mkdir(m.o->output, err);
	m.of = of;
	if (!rc)
		rc = measure(page, &m, p->args[0], err);
	sae_metrics_clear(&m.own);
	sae_metrics_clear(&m.chance);
	pool_free(m.pool);
	sae_model_free(of);
	return rc;
}

static double number(const cJSON *page, const char *name)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(page, name);

	return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	const meta_opts *o = opts;

	(void)p;
	(void)err;
	printf("%.0f decoder rows, %.0f meta-features, %.3g of them a row, %.0f dead\n", number(page, "rows"),
	       number(page, "meta_features"), number(page, "l0"), number(page, "dead"));
	printf("variance explained %.4f; of chance rows %.4f\n%s holds the meta-SAE\n",
	       number(page, "variance_explained"), number(page, "chance"), o->output);
	return 0;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	meta_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_meta_command = {
	.name = "meta",
	.run = run,
	.help = "train an SAE on an SAE's decoder rows",
	.usage = "SAE -o DIR",
	.about = "A meta-SAE (BatchTopK) learns the decoder directions, at norm 1, as sums of a few "
	         "meta-features: the more "
	         "variance\n"
	         "it explains, the more the SAE's features are made of common parts. Printed are\n"
	         "\n"
	         "  variance_explained  1 - sum |w - what|^2 / sum |w - mean w|^2 over the decoder rows w\n"
	         "  chance              the same of as many rows with the same second moments but no parts "
	         "in common\n"
	         "\n"
	         "Width, k, steps, batch and learning rate are SAEBench's (there the rows keep their norms). "
	         "The meta-SAE is an "
	         "SAE\n"
	         "folder as any other, decoder.safetensors the dump of its rows: gloss eval and gloss index "
	         "read them.",
	.examples = "gloss meta sae/ -o meta/\n"
	            "gloss eval meta/ meta/decoder.safetensors --holdout 1",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = 1,
};
