/* What features are taken from, opened. */
#include "cli/index_input.h"

#include <math.h>
#include <string.h>

const char *index_kind_name(index_kind kind)
{
	static const char *const names[] = { [INDEX_SAE] = "sae", [INDEX_NEURONS] = "neurons" };

	return names[kind];
}

int index_input_load(index_input *x, const index_input_opts *o, error *err)
{
	int rc = 0;

	x->o = *o;
	if (o->kind == INDEX_SAE)
		rc = sae_model_load(&x->model, o->path, err);
	if (rc == 0 && x->model) {
		x->n_features = x->model->d_sae;
		memcpy(x->weights_sha256, x->model->weights_sha256, sizeof(x->weights_sha256));
	}
	return rc;
}

static int check_dump(const index_input *x, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(x->in.dump);

	if (x->model && info->d_in != x->model->d_in)
		return error_set(err, ERR_FORMAT,
		                 "the SAE '%s' is for %u dimensions, the rows of '%s' have %u", x->o.path,
		                 x->model->d_in, x->o.dumps[0], info->d_in);
	if (!info->has_tokens)
		return error_set(
		        err, ERR_FORMAT,
		        "'%s' has no token ids, without which no text can be shown: give them with --tokens",
		        x->o.dumps[0]);
	return 0;
}

/* Neurons are the same by what they are of, whatever their thresholds. */
static int open_neurons(index_input *x, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(x->in.dump);
	text what;
	int rc = sae_neurons_new(&x->neurons, x->in.dump, x->in.rows, &x->o.neurons, x->in.pool, err);

	if (rc < 0)
		return rc;
	x->n_features = x->neurons->n_features;
	text_init(&what, 1 << 16);
	rc = text_addf(&what, "gloss neurons 1 %u %s\n%s\n%s", info->d_in,
	               x->o.neurons.both_signs ? "both" : "one", info->model ? info->model : "",
	               info->hook_point ? info->hook_point : "");
	rc = rc < 0 ? error_nomem(err, "neurons") : sha256_bytes(x->weights_sha256, what.data, what.len, err);
	text_free(&what);
	return rc < 0 ? rc : index_feed_neurons(&x->feed, &x->in, x->neurons, err);
}

/* Rows that training left out for their norm stay out; an SAE that tells no limit gets the usual one (0). */
static double trained_limit(const index_input *x)
{
	return x->model && !isinf(x->model->norm_limit) ? x->model->norm_limit : 0;
}

int index_input_open(index_input *x, const cli_parsed *p, double norm_limit, error *err)
{
	double limit = isnan(norm_limit) ? trained_limit(x) : norm_limit;
	int rc = dump_input_open(&x->in, p, x->o.dumps, x->o.n_dumps, x->o.dump, limit, false, err);

	if (rc == 0)
		rc = check_dump(x, err);
	if (rc == 0 && x->o.kind == INDEX_SAE)
		rc = index_feed_sae(&x->feed, &x->in, x->model, x->o.kernels, err);
	else if (rc == 0)
		rc = open_neurons(x, err);
	return rc < 0 ? rc : index_documents_read(&x->docs, &x->feed, err);
}

void index_input_close(index_input *x)
{
	index_documents_free(&x->docs);
	index_feed_close(&x->feed);
	dump_input_close(&x->in);
	sae_neurons_free(x->neurons);
	sae_model_free(x->model);
	*x = (index_input){ 0 };
}

static const char *first_of(const char *a, const char *b)
{
	return a ? a : b;
}

void index_input_describe(const index_input *x, store_index_opts *o)
{
	const sae_dump_info *info = sae_dump_get_info(x->in.dump);
	const sae_rows_stats *rows = sae_rows_get_stats(x->in.rows);

	o->kind = index_kind_name(x->o.kind);
	o->architecture = x->model ? sae_arch_name(x->model->arch) : "neurons";
	o->model = first_of(x->model ? x->model->model_name : NULL, info->model);
	o->hook_point = first_of(x->model ? x->model->hook_name : NULL, info->hook_point);
	o->layer = info->layer;
	o->d_in = x->model ? x->model->d_out : info->d_in; /* of decoder rows */
	o->n_features = x->n_features;
	o->k = x->model ? x->model->k : 0;
	o->weights_sha256 = x->weights_sha256;
	o->dump_sha256 = rows->sha256;
	o->norm_limit = rows->norm_limit;
	o->n_left_out = rows->n_rows - rows->n_masked - rows->n_kept;
}

int index_input_features(const index_input *x, store_index *ix, uint32_t n_vocab, uint32_t n_ranked,
                         const char *unembed, FILE *progress_stream, error *err)
{
	if (x->model)
		return index_give_features(ix, x->model, n_vocab, n_ranked, unembed, x->in.pool,
		                           progress_stream, err);
	return index_give_axes(ix, x->neurons, n_vocab, n_ranked, unembed, x->in.pool, progress_stream, err);
}
