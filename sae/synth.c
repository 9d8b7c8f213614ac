/* Synthetic dumps: rows drawn a block at a time by all threads, each from (seed, row) alone, written in order with the codes that made
 * them. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "sae/file_internal.h"
#include "sae/synth_internal.h"

enum { TASK_ROWS = 256, TASKS = 16, BLOCK_ROWS = TASK_ROWS * TASKS };
static const uint64_t shard_bytes = 512 << 20;

typedef struct drawing {
	const synth *s;
	uint64_t first, n; /* rows of the block */
	float *x;          /* (BLOCK_ROWS, d) */
	sae_codes codes[TASKS];
	bool failed[TASKS];
	synth_row *rows; /* a worker's own */
	uint8_t *kept;   /* (BLOCK_ROWS) */
	/* What is written: */
	char dir[FILE_PATH_MAX];
	file_writer shard;
	uint64_t shard_rows, shard_end; /* rows of a shard; where the open one ends */
	sae_codes_writer *out;
	uint64_t *fires, n_codes; /* (G) */
	float *first_row; /* (d) of those that count; the others were looked at, and whether one differs */
	bool has_row, varies;
} drawing;

/* ---- Rows ------------------------------------------------------------------------------------------------------------------- */

static void make_row(const synth *s, uint64_t row, const uint32_t *index, const float *value, size_t n,
                     float *x)
{
	uint64_t seed = hash64_mix(hash64_mix(s->o.seed, STREAM_NOISE), row);
	uint32_t d = s->o.d;

	memcpy(x, s->bias, d * sizeof(*x));
	for (size_t k = 0; k < n; k++) {
		const float *direction = s->dictionary + (size_t)index[k] * d;

		for (uint32_t j = 0; j < d; j++)
			x[j] += value[k] * direction[j];
	}
	for (uint32_t j = 0; j < d && s->o.noise > 0; j++)
		x[j] += (float)(s->o.noise * synth_normal(seed, j));
}

static void draw_task(void *payload, size_t i, unsigned worker)
{
	drawing *w = payload;
	const synth *s = w->s;
	sae_codes *c = &w->codes[i];
	synth_row *row = &w->rows[worker];
	uint64_t from = i * TASK_ROWS, n = w->n - from < TASK_ROWS ? w->n - from : TASK_ROWS;

	c->n = 0;
	w->failed[i] = mem_grow(&c->first, &c->first_room, n + 1, sizeof(*c->first)) < 0;
	if (w->failed[i])
		return;
	c->first[0] = 0;
	for (uint64_t r = 0; r < n; r++) {
		size_t at = c->first[r];

		row->n = 0;
		s->draw(s, w->first + from + r, row);
		w->failed[i] = mem_grow(&c->index, &c->index_room, at + row->n + 1, sizeof(*c->index)) < 0 ||
		               mem_grow(&c->value, &c->value_room, at + row->n + 1, sizeof(*c->value)) < 0;
		if (w->failed[i])
			return;
		memcpy(c->index + at, row->index, row->n * sizeof(*c->index));
		memcpy(c->value + at, row->value, row->n * sizeof(*c->value));
		c->first[r + 1] = at + row->n;
		make_row(s, w->first + from + r, row->index, row->value, row->n, w->x + (from + r) * s->o.d);
	}
	c->n = n;
}

/* ---- Shards --------------------------------------------------------------------------------------------------------------------- */

/* Of several inputs each is a tensor of its own, one behind the other. */
static size_t input_tensors(sae_tensor_out *out, char names[SAE_PARTS_MAX][24], const synth *s, uint64_t rows)
{
	for (uint32_t i = 0; i < s->n_inputs; i++) {
		snprintf(names[i], sizeof(names[i]), "input.%u", i + 1);
		out[i] = (sae_tensor_out){ names[i], SAE_F32, 2, { rows, s->o.d / s->n_inputs }, NULL };
	}
	return s->n_inputs;
}

/* (rows, d), or where there is text (contexts, ctx_len, d) with tokens, and with marks: every token is real, but not every row
 * counts. */
static int shard_open(drawing *w, error *err)
{
	const synth *s = w->s;
	uint64_t first = w->shard_end, left = s->n_rows - first,
	         n = left < w->shard_rows ? left : w->shard_rows;
	uint64_t shards = (s->n_rows + w->shard_rows - 1) / w->shard_rows, ctx = s->o.ctx_len;
	uint64_t contexts = s->tokens ? n / ctx : 0;
	const sae_tensor_out rows = { "activations", SAE_F32, 2, { n, s->o.d }, NULL };
	const sae_tensor_out text_rows[] = { { "activations", SAE_F32, 3, { contexts, ctx, s->o.d }, NULL },
		                             { "tokens", SAE_I32, 2, { contexts, ctx }, NULL },
		                             { "mask", SAE_U8, 2, { contexts, ctx }, NULL },
		                             { "attention_mask", SAE_U8, 2, { contexts, ctx }, NULL } };
	sae_tensor_out inputs[SAE_PARTS_MAX];
	char name[64], path[FILE_PATH_MAX], names[SAE_PARTS_MAX][24];
	int rc;

	snprintf(name, sizeof(name), "acts-%05" PRIu64 "-of-%05" PRIu64 ".safetensors", first / w->shard_rows,
	         shards);
	rc = file_join(path, w->dir, name, err);
	w->shard_end += n;
	if (rc == 0 && s->n_inputs > 1)
		return safetensors_begin(&w->shard, path, inputs, input_tensors(inputs, names, s, n), NULL, 0,
		                         err);
	if (rc < 0)
		return rc;
	return safetensors_begin(&w->shard, path, s->tokens ? text_rows : &rows,
	                         s->tokens ? ARRAY_LEN(text_rows) : 1, NULL, 0, err);
}

static int shard_close(drawing *w, uint64_t first, error *err)
{
	const synth *s = w->s;
	const uint8_t real = 1;
	int rc = 0;

	for (uint64_t row = first; s->tokens && row < w->shard_end && rc == 0; row++) {
		const int32_t token = s->tokens[row];

		rc = file_writer_add(&w->shard, &token, sizeof(token), err);
	}
	if (rc == 0 && s->tokens)
		rc = file_writer_add(&w->shard, s->mask + first, w->shard_end - first, err);
	for (uint64_t row = first; s->tokens && row < w->shard_end && rc == 0; row++)
		rc = file_writer_add(&w->shard, &real, 1, err);
	return rc ? rc : file_writer_commit(&w->shard, err);
}

/* One input's part of the rows of the block. */
static int write_input(drawing *w, uint32_t input, error *err)
{
	const size_t d = w->s->o.d, width = d / (w->s->n_inputs > 1 ? w->s->n_inputs : 1);
	int rc = 0;

	if (width == d)
		return file_writer_add(&w->shard, w->x, w->n * d * sizeof(*w->x), err);
	for (uint64_t row = 0; row < w->n && rc == 0; row++)
		rc = file_writer_add(&w->shard, w->x + row * d + input * width, width * sizeof(*w->x), err);
	return rc;
}

static bool counts(const synth *s, uint64_t row)
{
	return !s->mask || s->mask[row];
}

static void look_at_rows(drawing *w)
{
	const size_t bytes = w->s->o.d * sizeof(*w->x);

	for (uint64_t row = 0; row < w->n && !w->varies; row++) {
		const float *x = w->x + row * w->s->o.d;

		if (!counts(w->s, w->first + row))
			continue;
		if (!w->has_row)
			memcpy(w->first_row, x, bytes);
		w->varies = w->has_row && memcmp(w->first_row, x, bytes) != 0;
		w->has_row = true;
	}
}

/* Rows in which there is nothing to find. */
static int check_rows(const drawing *w, error *err)
{
	const sae_synth_opts *o = &w->s->o;

	if (w->n_codes == 0 && w->s->kind == SAE_SYNTH_PLANTED)
		return error_set(err, ERR_ARG,
		                 "no feature is active on any of %" PRIu64
		                 " rows: values are cut at 0, with mean %g, mean-last %g, std %g",
		                 w->s->n_rows, o->mean, o->mean_last, o->std);
	if (w->n_codes == 0)
		return error_set(
		        err, ERR_ARG, "no feature is active on any of %" PRIu64 " rows%s", w->s->n_rows,
		        w->s->kind == SAE_SYNTH_HIERARCHY ? ": by mean and std, or p-max and p-min" : "");
	if (!w->varies && w->s->n_rows > 1)
		return error_set(err, ERR_ARG,
		                 "all %" PRIu64 " rows would be the same: nothing in them is random",
		                 w->s->n_rows);
	return 0;
}

/* The codes of the block. */
static int write_codes(drawing *w, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < TASKS && i * TASK_ROWS < w->n && rc == 0; i++) {
		const sae_codes *c = &w->codes[i];

		for (size_t r = 0; r < c->n; r++)
			w->kept[r] = counts(w->s, w->first + i * TASK_ROWS + r);
		for (size_t k = 0; k < c->first[c->n]; k++)
			w->fires[c->index[k]]++;
		w->n_codes += c->first[c->n];
		rc = sae_codes_writer_add(w->out, c, w->kept, err);
	}
	return rc;
}

static int write_block(drawing *w, uint32_t input, pool *p, error *err)
{
	size_t n_tasks = (w->n + TASK_ROWS - 1) / TASK_ROWS;
	int rc;

	pool_run(p, n_tasks, draw_task, w);
	for (size_t i = 0; i < n_tasks; i++)
		if (w->failed[i])
			return error_nomem(err, "codes of a synthetic dump");
	look_at_rows(w);
	rc = write_input(w, input, err);
	return rc == 0 && input == 0 ? write_codes(w, err) : rc;
}

/* Rows are drawn anew for each input: it comes behind all rows of the one before. */
static int write_shard(drawing *w, pool *p, progress *pr, bool (*stop)(void), error *err)
{
	uint64_t first = w->shard_end;
	int rc = shard_open(w, err);

	for (uint32_t input = 0; rc == 0 && (input == 0 || input < w->s->n_inputs); input++)
		for (w->first = first; w->first < w->shard_end && rc == 0; w->first += w->n) {
			if (stop && stop())
				return error_set(err, ERR_STOPPED, "stopped; nothing was written");
			w->n = w->shard_end - w->first < BLOCK_ROWS ? w->shard_end - w->first : BLOCK_ROWS;
			rc = write_block(w, input, p, err);
			if (pr && input == 0)
				progress_update(pr, w->first + w->n, NULL);
		}
	return rc == 0 ? shard_close(w, first, err) : rc;
}

static int write_rows(drawing *w, pool *p, progress *pr, bool (*stop)(void), error *err)
{
	int rc = 0;

	while (w->shard_end < w->s->n_rows && rc == 0)
		rc = write_shard(w, p, pr, stop, err);
	return rc;
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------------ */

static int drawing_alloc(drawing *w, arena *mem, pool *p, error *err)
{
	const synth *s = w->s;
	uint64_t unit = s->tokens ? s->o.ctx_len : 1;
	uint32_t G = s->n_features;

	w->shard_rows = s->o.shard_rows ? s->o.shard_rows : shard_bytes / (4 * (uint64_t)s->o.d);
	w->shard_rows = w->shard_rows < unit ? unit : w->shard_rows / unit * unit;
	w->x = arena_alloc(mem, (size_t)BLOCK_ROWS * s->o.d, sizeof(*w->x));
	w->kept = arena_alloc(mem, TASK_ROWS, 1);
	w->first_row = arena_alloc(mem, s->o.d, sizeof(*w->first_row));
	w->fires = arena_alloc(mem, G, sizeof(*w->fires));
	w->rows = arena_alloc(mem, pool_threads(p), sizeof(*w->rows));
	if (!w->x || !w->kept || !w->first_row || !w->fires || !w->rows)
		return error_nomem(err, "rows of a synthetic dump");
	for (unsigned i = 0; i < pool_threads(p); i++) {
		w->rows[i].index = arena_alloc(mem, G, sizeof(*w->rows[i].index));
		w->rows[i].value = arena_alloc(mem, G, sizeof(*w->rows[i].value));
		w->rows[i].scratch = arena_alloc(mem, (size_t)G + s->o.rank, sizeof(*w->rows[i].scratch));
		if (!w->rows[i].index || !w->rows[i].value || !w->rows[i].scratch)
			return error_nomem(err, "rows of a synthetic dump");
	}
	return 0;
}

static int synth_init(synth *s, pool *p, error *err)
{
	static int (*const init[SAE_SYNTH_KINDS])(synth *, pool *, error *) = {
		[SAE_SYNTH_PLANTED] = synth_planted_init,
		[SAE_SYNTH_CODEBOOK] = synth_codebook_init,
		[SAE_SYNTH_HIERARCHY] = synth_hierarchy_init,
		[SAE_SYNTH_TREE] = synth_tree_init,
		[SAE_SYNTH_TOY] = synth_toy_init,
		[SAE_SYNTH_TOKFSM] = synth_tokfsm_init,
	};
	int rc = synth_check(&s->o, s->kind, err);

	s->n_rows = s->o.rows;
	return rc ? rc : init[s->kind](s, p, err);
}

static void synth_clear(synth *s)
{
	cJSON_Delete(s->notes);
	free(s->dictionary);
	arena_clear(&s->mem);
}

/* Into the folder `dir`, which is there. */
static int write_files(const synth *s, const char *dir, pool *p, progress *pr, bool (*stop)(void), error *err)
{
	char truth[FILE_PATH_MAX], codes[FILE_PATH_MAX];
	drawing w = { .s = s };
	arena mem = ARENA_INIT;
	int rc = drawing_alloc(&w, &mem, p, err);

	snprintf(w.dir, sizeof(w.dir), "%s", dir);
	if (rc == 0)
		rc = file_join(truth, dir, TRUTH_FOLDER, err);
	if (rc == 0)
		rc = file_mkdir(truth, err);
	if (rc == 0)
		rc = file_join(codes, truth, TRUTH_CODES, err);
	if (rc == 0)
		rc = sae_codes_writer_open(&w.out, codes, SAE_CODES_NPZ, s->n_features, NULL, 0, err);
	if (rc == 0)
		rc = write_rows(&w, p, pr, stop, err);
	if (rc == 0)
		rc = check_rows(&w, err);
	if (rc == 0)
		rc = sae_codes_writer_commit(w.out, err);
	if (rc == 0)
		rc = synth_write_small(s, dir, truth, w.fires, w.n_codes, p, err);
	sae_codes_writer_abort(w.out);
	file_writer_abort(&w.shard);
	for (size_t i = 0; i < TASKS; i++)
		sae_codes_free(&w.codes[i]);
	arena_clear(&mem);
	return rc;
}

int sae_synth_write(const char *dir, sae_synth_kind kind, const sae_synth_opts *o, bool force, pool *p,
                    progress *pr, bool (*stop)(void), error *err)
{
	synth s = { .kind = kind, .o = *o, .mem = ARENA_INIT };
	folder_writer folder = { 0 };
	int rc = folder_writer_open(&folder, dir, ".safetensors|.json|.npz",
	                            force ? FOLDER_FORCE | FOLDER_DEEP : FOLDER_DEEP, err);

	if (rc == 0)
		rc = synth_init(&s, p, err);
	if (rc == 0)
		rc = write_files(&s, folder.tmp, p, pr, stop, err);
	if (rc == 0)
		rc = folder_writer_commit(&folder, err);
	folder_writer_abort(&folder);
	synth_clear(&s);
	return rc;
}
