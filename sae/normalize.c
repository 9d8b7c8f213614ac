/* Rows normalised before the steps, and the model's way back: see normalize.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "sae/normalize.h"
#include "sae/row_norm.h"

/* LAPACK's, in OpenBLAS: eigenvalues w, ascending, and in the rows of a (row-major) the vectors. */
void dsyevd_(const char *job, const char *half, const int *n, double *a, const int *lda, double *w,
             double *work, const int *n_work, int *iwork, const int *n_iwork, int *info);

size_t normalize_sample_rows(sae_normalize kind)
{
	if (kind == SAE_NORMALIZE_NONE || kind == SAE_NORMALIZE_MEAN_NORM ||
	    kind == SAE_NORMALIZE_MEAN_SQUARE)
		return 0;
	return kind == SAE_NORMALIZE_WHITEN ? 65536 : 16384;
}

int normalize_init(normalize *n, sae_normalize kind, uint32_t d, unsigned threads, error *err)
{
	bool whitens = kind == SAE_NORMALIZE_WHITEN, good;

	*n = (normalize){ .kind = kind, .d = d };
	if (whitens || kind == SAE_NORMALIZE_CENTER)
		n->mean = mem_alloc_aligned(d, sizeof(double));
	good = n->mean || !(whitens || kind == SAE_NORMALIZE_CENTER);
	if (whitens) {
		n->whiten = mem_alloc_aligned(d, d * sizeof(double));
		n->colour = mem_alloc_aligned(d, d * sizeof(double));
		n->product = mem_alloc_aligned(d, d * sizeof(float));
		n->room = mem_alloc_aligned((size_t)threads * NORMALIZE_TILE, d * sizeof(float));
		good = good && n->whiten && n->colour && n->product && n->room;
	}
	return good ? 0 : error_nomem(err, "the rows' normalisation");
}

void normalize_clear(normalize *n)
{
	free(n->mean);
	free(n->whiten);
	free(n->colour);
	free(n->product);
	free(n->room);
	*n = (normalize){ 0 };
}

uint64_t normalize_bytes(const normalize *n)
{
	uint64_t d = n->d;

	return (n->mean ? d * sizeof(double) : 0) +
	       (n->whiten ? d * d * (2 * sizeof(double) + sizeof(float)) : 0);
}

/* ---- From a sample ---------------------------------------------------------------------------------------------------- */

static void take_mean(normalize *n, const float *rows, size_t n_rows)
{
	memset(n->mean, 0, n->d * sizeof(double));
	for (size_t r = 0; r < n_rows; r++)
		for (size_t i = 0; i < n->d; i++)
			n->mean[i] += (double)rows[r * n->d + i];
	for (size_t i = 0; i < n->d; i++)
		n->mean[i] /= (double)n_rows;
}

/* The lower half of the covariance, into n->whiten, by blocks of rows in FP64. */
static void take_covariance(normalize *n, const float *rows, size_t n_rows, double *block)
{
	size_t d = n->d;

	memset(n->whiten, 0, d * d * sizeof(double));
	for (size_t first = 0; first < n_rows; first += NORMALIZE_TILE) {
		size_t end = first + NORMALIZE_TILE < n_rows ? first + NORMALIZE_TILE : n_rows;

		for (size_t r = first; r < end; r++)
			for (size_t i = 0; i < d; i++)
				block[(r - first) * d + i] = (double)rows[r * d + i] - n->mean[i];
		cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)(end - first),
		            1 / (double)n_rows, block, (blasint)d, 1, n->whiten, (blasint)d);
	}
}

/* out (d, d) = sum over i of w[i]^power v_i v_i^T, v_i the rows of v; both halves. scaled: room. */
static void from_eigen(double *out, const double *v, const double *w, double power, double *scaled, size_t d)
{
	for (size_t i = 0; i < d; i++) {
		double root = pow(w[i], power / 2);

		for (size_t j = 0; j < d; j++)
			scaled[i * d + j] = root * v[i * d + j];
	}
	cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)d, (blasint)d, 1, scaled, (blasint)d, 0,
	            out, (blasint)d);
	for (size_t i = 0; i < d; i++)
		for (size_t j = 0; j < i; j++)
			out[j * d + i] = out[i * d + j];
}

/* Whitening and colouring from the covariance in n->whiten. */
static int take_whitening(normalize *n, error *err)
{
	const int d = (int)n->d, n_work = 1 + 6 * d + 2 * d * d, n_iwork = 3 + 5 * d;
	double *v = mem_alloc_aligned((size_t)d * d, sizeof(double)),
	       *w = mem_alloc_aligned(n->d, sizeof(*w));
	double *work = mem_alloc_aligned((size_t)n_work, sizeof(*work));
	int *iwork = mem_alloc_aligned((size_t)n_iwork, sizeof(*iwork)), info = 0;
	int rc = v && w && work && iwork ? 0 : error_nomem(err, "the rows' covariance");

	if (rc == 0) {
		memcpy(v, n->whiten, (size_t)d * d * sizeof(double));
		/* the lower half by rows is the upper one by columns */
		dsyevd_("V", "U", &d, v, &d, w, work, &n_work, iwork, &n_iwork, &info);
		if (info != 0)
			rc = error_set(err, ERR_FORMAT, "the rows' covariance has no eigenvalues (dsyevd %d)",
			               info);
	}
	for (int i = 0; i < d && rc == 0; i++)
		w[i] = (w[i] > 0 ? w[i] : 0) + NORMALIZE_EPS;
	if (rc == 0) {
		from_eigen(n->whiten, v, w, -0.5, work, n->d);
		from_eigen(n->colour, v, w, 0.5, work, n->d);
		normalize_restored(n);
	}
	free(v);
	free(w);
	free(work);
	free(iwork);
	return rc;
}

void normalize_fit_sums(normalize *n, double norms, double squares, uint64_t n_rows)
{
	n->scale = 1;
	if (n->kind == SAE_NORMALIZE_MEAN_NORM && norms > 0)
		n->scale = (float)(sqrt(n->d) * (double)n_rows / norms); /* as steps use it */
	if (n->kind == SAE_NORMALIZE_MEAN_SQUARE && squares > 0)
		n->scale = (float)sqrt((double)n_rows / squares);
}

int normalize_fit(normalize *n, float *rows, size_t n_rows, pool *p, error *err)
{
	double norms = 0;
	int rc = 0;

	if (n->mean)
		take_mean(n, rows, n_rows);
	if (n->whiten) {
		double *block = mem_alloc_aligned(NORMALIZE_TILE, n->d * sizeof(double));

		rc = block ? 0 : error_nomem(err, "the rows' covariance");
		if (rc == 0)
			take_covariance(n, rows, n_rows, block);
		free(block);
		if (rc == 0)
			rc = take_whitening(n, err);
	}
	if (rc < 0)
		return rc;
	normalize_rows(n, rows, n_rows, p);
	n->scale = 1;
	for (size_t r = 0; r < n_rows && n->kind == SAE_NORMALIZE_CENTER; r++) {
		double squares = 0;

		for (size_t i = 0; i < n->d; i++)
			squares += (double)rows[r * n->d + i] * (double)rows[r * n->d + i];
		norms += sqrt(squares);
	}
	if (norms > 0)
		n->scale = (float)(sqrt(n->d) * (double)n_rows / norms);
	return 0;
}

/* ---- Rows ---------------------------------------------------------------------------------------------------------------- */

typedef struct rows_call {
	const normalize *n;
	float *x;
	size_t n_rows;
} rows_call;

static void whiten_tile(const normalize *n, float *x, size_t n_rows, float *room)
{
	size_t d = n->d;

	for (size_t r = 0; r < n_rows; r++)
		for (size_t i = 0; i < d; i++)
			room[r * d + i] = (float)((double)x[r * d + i] - n->mean[i]);
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)n_rows, (blasint)d, (blasint)d, 1,
	            room, (blasint)d, n->product, (blasint)d, 0, x, (blasint)d);
}

static void norm_row(sae_norm norm, float *x, size_t d)
{
	const row_norm r = row_norm_of(norm, x, d);

	for (size_t i = 0; i < d; i++)
		x[i] = (x[i] - r.shift) * r.scale;
}

static void rows_task(void *payload, size_t tile, unsigned worker)
{
	const rows_call *c = payload;
	const normalize *n = c->n;
	size_t d = n->d, first = tile * NORMALIZE_TILE;
	size_t end = first + NORMALIZE_TILE < c->n_rows ? first + NORMALIZE_TILE : c->n_rows;
	float *x = c->x + first * d;

	if (n->kind == SAE_NORMALIZE_WHITEN) {
		whiten_tile(n, x, end - first, n->room + (size_t)worker * NORMALIZE_TILE * d);
		return;
	}
	for (size_t r = 0; r < end - first; r++, x += d) {
		if (n->kind == SAE_NORMALIZE_LAYER)
			norm_row(SAE_NORM_LAYER, x, d);
		else if (n->kind == SAE_NORMALIZE_TOKEN)
			norm_row(SAE_NORM_UNIT, x, d);
		else
			for (size_t i = 0; i < d; i++)
				x[i] = (float)((double)x[i] - n->mean[i]);
	}
}

void normalize_rows(normalize *n, float *x, size_t n_rows, pool *p)
{
	rows_call call = { n, x, n_rows };

	if (normalize_sample_rows(n->kind))
		pool_run(p, (n_rows + NORMALIZE_TILE - 1) / NORMALIZE_TILE, rows_task, &call);
}

/* ---- The model ------------------------------------------------------------------------------------------------------------ */

/* rows (n, d) times a symmetric matrix, in FP64; room: d. */
static void multiply(float *rows, size_t n, size_t d, const double *by, double *room)
{
	for (size_t r = 0; r < n; r++, rows += d) {
		for (size_t i = 0; i < d; i++)
			room[i] = (double)rows[i];
		cblas_dsymv(CblasRowMajor, CblasLower, (blasint)d, 1, by, (blasint)d, room, 1, 0, room + d,
		            1);
		for (size_t i = 0; i < d; i++)
			rows[i] = (float)room[d + i];
	}
}

/* Where the model does not take b_dec off its rows, what the mean does to pre-activations goes into b_enc. */
static void fold_mean(const normalize *n, sae_model *m)
{
	for (size_t i = 0; i < n->d; i++)
		m->b_dec[i] = (float)((double)m->b_dec[i] + n->mean[i]);
	for (size_t f = 0; f < m->d_sae && !m->centers; f++) {
		double shift = 0;

		for (size_t i = 0; i < n->d; i++)
			shift += (double)m->W_enc[f * n->d + i] * n->mean[i];
		m->b_enc[f] = (float)((double)m->b_enc[f] - shift);
	}
}

static void fold_scale(const normalize *n, sae_model *m)
{
	size_t encoder = (size_t)m->d_sae * m->d_in, decoder = (size_t)m->d_sae * m->d_out;

	for (size_t i = 0; i < m->d_out; i++)
		m->b_dec[i] = (float)(m->b_dec[i] / n->scale);
	if (m->arch == SAE_PURSUIT) { /* W_enc is W_dec: values scale with rows */
		m->pursuit.residual /= n->scale;
		return;
	}
	for (size_t i = 0; i < encoder; i++)
		m->W_enc[i] = (float)(m->W_enc[i] * n->scale);
	for (size_t i = 0; i < decoder; i++)
		m->W_dec[i] = (float)(m->W_dec[i] / n->scale);
}

int normalize_fold(const normalize *n, sae_model *m, error *err)
{
	if (m->norm != SAE_NORM_NONE) /* rows have no scale but their own */
		return 0;
	fold_scale(n, m);
	if (n->kind == SAE_NORMALIZE_LAYER)
		m->norm = SAE_NORM_LAYER;
	if (n->kind == SAE_NORMALIZE_TOKEN)
		m->norm = SAE_NORM_UNIT;
	if (n->whiten) {
		double *room = mem_alloc_aligned(2, n->d * sizeof(double));

		if (!room)
			return error_nomem(err, "a row");
		multiply(m->W_enc, m->d_sae, n->d, n->whiten, room);
		multiply(m->W_dec, m->d_sae, n->d, n->colour, room);
		multiply(m->b_dec, 1, n->d, n->colour, room);
		free(room);
	}
	if (n->mean)
		fold_mean(n, m);
	return 0;
}

/* ---- Checkpoints ------------------------------------------------------------------------------------------------------------ */

size_t normalize_state(const normalize *n, checkpoint_array out[NORMALIZE_ARRAYS])
{
	size_t used = 0, square = (size_t)n->d * n->d;

	if (n->mean)
		out[used++] = (checkpoint_array){ "rows.mean", SAE_F64, n->d, n->mean };
	if (n->whiten) {
		out[used++] = (checkpoint_array){ "rows.whiten", SAE_F64, square, n->whiten };
		out[used++] = (checkpoint_array){ "rows.colour", SAE_F64, square, n->colour };
	}
	return used;
}

void normalize_restored(normalize *n)
{
	for (size_t i = 0, end = (size_t)n->d * n->d; i < end && n->product; i++)
		n->product[i] = (float)n->whiten[i];
}
