/* Weights from their file: matrices by several threads, some rows at a time, while another hashes the file where that is wanted. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sae/file_internal.h"
#include "sae/layout_internal.h"
#include "sae/turn.h"

#define PIECE_BYTES                                                                                          \
	((size_t)8 << 20) /* of the file, about, that a task reads: the system reads on meanwhile */
#define BLOCK_FLOATS ((size_t)1 << 17) /* read and looked at: they are in the cache for it */
#define MOST_THREADS 8

/* 0 times a NaN or infinity is a NaN, and what is added to that too. Sixteen sums, for the compiler. */
static bool all_finite(const float *x, size_t n)
{
	float sums[16] = { 0 }, sum = 0;
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		for (size_t k = 0; k < 16; k++)
			sums[k] += 0 * x[i + k];
	for (; i < n; i++)
		sum += 0 * x[i];
	for (size_t k = 0; k < 16; k++)
		sum += sums[k];
	return !isnan(sum);
}

int layout_check_finite(const layout *l, const char *name, const float *x, size_t n, error *err)
{
	if (all_finite(x, n))
		return 0;
	return error_set(err, ERR_FORMAT, "'%s': %s holds a NaN or infinity", l->weights, name);
}

/* ---- Matrices ----------------------------------------------------------------------------------------------------- */

typedef struct part { /* a matrix to read */
	float *out;   /* (rows, columns) */
	sae_tensor t; /* as it lies in the file: turned or not */
	bool turned;
	size_t rows, columns;
	size_t file_rows, file_columns;
	size_t piece, n_pieces; /* rows of the file that are a task; how many such */
	size_t n_tasks;
	bool ordered; /* fast in order only */
} part;

typedef struct reading {
	const layout *l;
	const sae_file *f;
	part parts[3];
	size_t n_parts, n_tasks;
	bool ordered;                        /* some part is */
	size_t block_floats, ordered_floats; /* what turning needs; that of ordered parts */
	float *blocks;                       /* (threads, block_floats) */
	char *sha256;                        /* NULL: not wanted */
	/* of each worker: its first task that failed */
	size_t failed[MOST_THREADS];
	error errors[MOST_THREADS];
} reading;

/* Of a block that is to be turned: rows a power of two apart would meet in few lines of the cache. */
static size_t block_pitch(const part *p)
{
	return p->t.run ? p->file_columns : p->file_columns + 16;
}

static void cut_part(reading *r, part *p)
{
	size_t row_bytes = p->file_columns * sizeof(float);
	size_t *room = p->ordered ? &r->ordered_floats : &r->block_floats;

	p->piece = row_bytes < PIECE_BYTES ? PIECE_BYTES / row_bytes : 1;
	if (p->turned) { /* few rows, by eights: a block a thread is part of what loading takes */
		p->piece = p->piece < TURN_ROWS ? (p->piece + 7) / 8 * 8 : TURN_ROWS;
		if (*room < p->piece * block_pitch(p))
			*room = p->piece * block_pitch(p);
	}
	p->n_pieces = (p->file_rows + p->piece - 1) / p->piece;
}

static int add_part(reading *r, float *out, const layout_matrix *m, size_t rows, size_t columns, error *err)
{
	part *p = &r->parts[r->n_parts];
	const sae_tensor *t;
	int rc = m->name ? layout_find_matrix(&t, r->l, r->f, m, rows, columns, err) : 0;

	if (rc < 0 || !m->name)
		return rc;
	*p = (part){ .out = out, .t = *t, .turned = m->turned, .rows = rows, .columns = columns };
	if (t->run && t->turned && t->pitch == t->run) { /* the file has the transpose whole */
		p->turned = !p->turned;
		p->t.run = p->t.pitch = 0;
		p->t.turned = false;
	}
	p->ordered = t->packed || p->t.run;
	p->file_rows = p->turned ? columns : rows;
	p->file_columns = p->turned ? rows : columns;
	cut_part(r, p);
	p->n_tasks = !p->ordered ? p->n_pieces : r->ordered ? 0 : 1; /* one for all of them */
	r->ordered |= p->ordered;
	r->n_tasks += p->n_tasks;
	r->n_parts++;
	return 0;
}

/* n floats from element `first` on, all finite. What lies scattered is read at once. */
static int read_floats(const reading *r, const part *p, size_t first, size_t n, float *out, error *err)
{
	int rc = 0;

	for (size_t done = 0, k; done < n && rc == 0; done += k) {
		k = p->t.run || n - done < BLOCK_FLOATS ? n - done : BLOCK_FLOATS;
		rc = sae_file_read_f32(r->f, &p->t, first + done, k, out + done, err);
		if (rc == 0)
			rc = layout_check_finite(r->l, p->t.name, out + done, k, err);
	}
	return rc;
}

/* n rows of the file to columns of ours. */
static int read_turned(const reading *r, const part *p, float *block, size_t first, size_t n, error *err)
{
	size_t pitch = block_pitch(p), width = p->file_columns;
	int rc = 0;

	if (pitch == width)
		rc = read_floats(r, p, first * width, n * width, block, err);
	for (size_t i = 0; i < n && pitch > width && rc == 0; i++)
		rc = read_floats(r, p, (first + i) * width, width, block + i * pitch, err);
	if (rc == 0)
		turn_floats(p->out + first, p->columns, block, pitch, n, width);
	return rc;
}

static int read_piece(const reading *r, const part *p, float *block, size_t i, error *err)
{
	size_t first = i * p->piece, left = p->file_rows - first, n = left < p->piece ? left : p->piece;

	if (p->turned)
		return read_turned(r, p, block, first, n, err);
	return read_floats(r, p, first * p->columns, n * p->columns, p->out + first * p->columns, err);
}

/* The parts that are to be read in order, one after the other: they may share what inflates them. */
static int read_ordered(const reading *r, error *err)
{
	float *block = mem_alloc_aligned(r->ordered_floats, sizeof(*block));
	int rc = block ? 0 : error_nomem(err, "rows of a matrix");

	for (const part *p = r->parts; p < r->parts + r->n_parts; p++)
		for (size_t i = 0; p->ordered && i < p->n_pieces && rc == 0; i++)
			rc = read_piece(r, p, block, i, err);
	free(block);
	return rc;
}

static int read_part(const reading *r, size_t task, float *block, error *err)
{
	const part *p = r->parts;

	for (; task >= p->n_tasks; p++)
		task -= p->n_tasks;
	return p->ordered ? read_ordered(r, err) : read_piece(r, p, block, task, err);
}

/* Task 0 is the hash, where it is wanted: it takes longest. */
static void read_task(void *payload, size_t i, unsigned worker)
{
	reading *r = payload;
	error *err = &r->errors[worker];
	int rc;

	if (err->code)
		return;
	if (i == 0 && r->sha256)
		rc = sha256_file(r->sha256, r->l->weights, err);
	else
		rc = read_part(r, i - (r->sha256 != NULL), r->blocks + worker * r->block_floats, err);
	if (rc < 0) {
		r->failed[worker] = i;
		err->code = rc;
	}
}

/* So many that their blocks are a twentieth of the weights at most, or few megabytes. */
static unsigned count_threads(const reading *r)
{
	size_t floats = 2 * PIECE_BYTES, fit, most = cpu_count() < MOST_THREADS ? cpu_count() : MOST_THREADS;

	for (const part *p = r->parts; p < r->parts + r->n_parts; p++)
		floats += p->rows * p->columns / 20;
	fit = floats / (r->block_floats + 1);
	return fit < 1 ? 1 : (unsigned)(fit < most ? fit : most);
}

static int run_reading(reading *r, error *err)
{
	unsigned threads = count_threads(r), first = 0;
	pool *p = NULL;
	int rc = pool_new(&p, threads, err);

	if (rc < 0)
		return rc;
	r->blocks = mem_alloc_aligned(threads, (r->block_floats + 1) * sizeof(float));
	if (r->blocks)
		pool_run(p, r->n_tasks + (r->sha256 != NULL), read_task, r);
	else
		rc = error_nomem(err, "rows of a matrix");
	for (unsigned i = 1; i < threads; i++)
		if (r->errors[i].code && (!r->errors[first].code || r->failed[i] < r->failed[first]))
			first = i;
	if (rc == 0 && r->errors[first].code)
		rc = error_set(err, r->errors[first].code, "%s", r->errors[first].msg);
	free(r->blocks);
	pool_free(p);
	return rc;
}

static int read_matrices(sae_model *m, const layout *l, const sae_file *f, bool hash, error *err)
{
	reading r = { .l = l, .f = f, .sha256 = hash ? m->weights_sha256 : NULL };
	int rc = add_part(&r, m->W_dec, &l->dec, layout_decoder_rows(l), layout_decoder_width(l), err);

	if (rc == 0)
		rc = add_part(&r, m->W_enc, &l->enc, m->d_sae, m->d_in, err);
	if (rc == 0)
		rc = add_part(&r, m->W_skip, &l->skip, m->d_out, m->d_in, err);
	return rc == 0 ? run_reading(&r, err) : rc;
}

/* ---- The rest ----------------------------------------------------------------------------------------------------- */

int layout_read_vector(float *out, const layout *l, const sae_file *f, const char *name, size_t n, error *err)
{
	const sae_tensor *t;
	int rc = name ? layout_find(&t, l, f, name, n, 0, err) : 0;

	if (rc < 0 || !name)
		return rc;
	rc = sae_file_read_f32(f, t, 0, n, out, err);
	return rc < 0 ? rc : layout_check_finite(l, name, out, n, err);
}

static int read_threshold(sae_model *m, const layout *l, const sae_file *f, error *err)
{
	const sae_tensor *t = l->threshold ? sae_file_tensor(f, l->threshold) : NULL;
	float all = (float)l->threshold_for_all;
	int rc = 0;

	if (t && !layout_is_scalar(t))
		rc = layout_read_vector(m->threshold, l, f, l->threshold, m->d_sae, err);
	else if (t)
		rc = sae_file_read_f32(f, t, 0, 1, &all, err);
	if (rc == 0 && (!t || layout_is_scalar(t)))
		for (size_t i = 0; i < m->d_sae; i++)
			m->threshold[i] = all;
	for (size_t i = 0; l->threshold_is_log && i < m->d_sae; i++)
		m->threshold[i] = expf(m->threshold[i]);
	return rc < 0 ? rc : layout_check_finite(l, "the threshold", m->threshold, m->d_sae, err);
}

static int copy_name(char **out, const char *name, error *err)
{
	if (!name)
		return 0;
	*out = strdup(name);
	return *out ? 0 : error_nomem(err, "a name");
}

static int read_weights(sae_model *m, const layout *l, const sae_file *f, bool hash, error *err)
{
	int rc = read_matrices(m, l, f, hash, err);

	if (rc == 0 && m->arch == SAE_CODEBOOK)
		layout_spread_codes(m);
	if (rc == 0)
		rc = l->split ? layout_read_split_bias(m->b_enc, l, f, err)
		              : layout_read_vector(m->b_enc, l, f, l->b_enc, m->d_sae, err);
	if (rc == 0)
		rc = layout_read_vector(m->b_dec, l, f, l->b_dec, m->d_out, err);
	if (rc == 0 && l->split)
		rc = layout_join_inputs(m, l, err);
	if (rc == 0 && m->threshold && !l->b_gate)
		rc = read_threshold(m, l, f, err);
	return rc < 0 ? rc : layout_fold(m, l, f, err);
}

/* The second half of the features is the first with all signs turned. */
static void mirror(sae_model *m)
{
	size_t n = m->d_sae;

	for (size_t i = 0; i < n * m->d_in; i++)
		m->W_enc[n * m->d_in + i] = -m->W_enc[i];
	for (size_t i = 0; i < n * m->d_out; i++)
		m->W_dec[n * m->d_out + i] = -m->W_dec[i];
	for (size_t i = 0; i < n; i++)
		m->b_enc[n + i] = -m->b_enc[i];
	m->d_sae *= 2;
}

int layout_load(sae_model **out, layout *l, bool hash, error *err)
{
	sae_model *m = NULL;
	sae_file *f = NULL;
	int rc = layout_open(&f, l, err);

	if (rc < 0)
		return rc;
	rc = sae_model_new_to(&m, l->arch, (uint32_t)l->d_in, (uint32_t)l->d_out,
	                      (uint32_t)l->d_sae << l->mirrored, (uint32_t)l->k, l->skip.name != NULL, err);
	if (rc < 0)
		goto out;
	m->d_sae = (uint32_t)l->d_sae; /* for now */
	m->norm = l->norm;
	m->centers = l->centers;
	m->transcodes = l->transcodes;
	m->pursuit = (sae_pursuit){ l->residual, (uint32_t)(l->steps < UINT32_MAX ? l->steps : UINT32_MAX),
		                    l->repeat_ends };
	m->codebook = l->codebook;
	m->norm_limit = l->norm_limit;
	m->n_inputs = (uint32_t)l->n_inputs;
	memcpy(m->scales, l->scales, sizeof(m->scales));
	memcpy(m->more_limits, l->more_limits, sizeof(m->more_limits));
	m->n_more_limits = l->n_more_limits;
	rc = copy_name(&m->model_name, l->model_name, err);
	if (rc == 0)
		rc = copy_name(&m->hook_name, l->hook_name, err);
	if (rc == 0)
		rc = read_weights(m, l, f, hash, err);
	if (rc < 0)
		goto out;
	if (l->mirrored)
		mirror(m);
	*out = m;
	m = NULL;
out:
	sae_model_free(m);
	sae_file_close(f);
	return rc;
}
