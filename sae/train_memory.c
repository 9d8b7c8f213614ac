/* What a run needs of memory, before it takes it; and giving back what its end does not need. */
#include <inttypes.h>

#include "sae/train_internal.h"

#define EVAL_ROWS 4096 /* of a block of sae_eval() */

/* OpenBLAS packs its operands into memory of its own, which it keeps: measured with 0.3.21, products of 512 rows, 1.1 MiB a
 * thread. */
#define BLAS_BYTES (UINT64_C(5) << 18)

static uint64_t param_bytes(const step_config *c)
{
	uint64_t matrix = (uint64_t)c->n_features * c->d;

	return (2 * matrix + c->n_features + c->d) * sizeof(float);
}

/* Rows and reconstructions of a block, its codes, and each thread's tile. */
static uint64_t eval_bytes(const step_config *c, unsigned threads)
{
	uint64_t code = sizeof(uint32_t) + sizeof(float);
	uint64_t room = 2 * c->k + 512; /* candidates of a row */
	uint64_t tile = SAE_ENCODE_TILE * (c->d * sizeof(float) + ENCODE_FEATURES * sizeof(float) +
	                                   (2 * (uint64_t)c->k + room) * code);

	return EVAL_ROWS * (2 * c->d * sizeof(float) + 2 * c->k * code) + threads * tile;
}

static uint64_t over(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

int sae_trainer_forecast(sae_train_forecast *out, const sae_trainer *t, bool evaluates, error *err)
{
	unsigned threads = pool_threads(t->pool);
	uint64_t largest = 0, copy, run, end;
	const step_config *c = &t->members[0].step->c;

	mem_trim();
	*out = (sae_train_forecast){ .now = cpu_memory_anonymous() + threads * BLAS_BYTES };
	for (size_t i = 0; i < t->n; i++) {
		const step *s = t->members[i].step;
		uint64_t weights = param_bytes(&s->c);

		if (weights > largest) {
			largest = weights;
			c = &s->c;
		}
		out->weights += weights;
		out->optimiser += step_moments_bytes(&s->c);
		out->batch += arena_bytes(&s->mem) - weights - step_moments_bytes(&s->c) +
		              2 * (uint64_t)s->c.n_features * sizeof(uint64_t);
	}
	if (t->n > 1)
		out->batch += (uint64_t)c->batch * c->d * sizeof(float);
	if (loader_bytes(&out->loader, t->dump, &t->order, c->batch, err) < 0)
		return err ? err->code : ERR_NOMEM;
	copy = largest + eval_bytes(c, threads);
	run = out->weights + out->optimiser + out->batch + out->loader + (evaluates ? copy : 0);
	if (copy < largest + largest / 2) /* the encoder is turned when it is saved */
		copy = largest + largest / 2;
	end = out->weights + copy;
	out->total = out->now + (run > end ? run : end);
	out->model = over(out->total, out->now + out->weights + out->optimiser + out->batch + out->loader);
	return 0;
}

static unsigned mib(uint64_t bytes)
{
	return (unsigned)((bytes + (1 << 20) - 1) >> 20);
}

void sae_train_forecast_print(char *out, size_t size, const sae_train_forecast *f)
{
	snprintf(out, size,
	         "%u MiB: weights %u, optimiser %u, batch %u, rows read ahead %u, model to measure or save "
	         "%u, "
	         "program and tables %u",
	         mib(f->total), mib(f->weights), mib(f->optimiser), mib(f->batch), mib(f->loader),
	         mib(f->model), mib(f->now));
}

int sae_train_forecast_check(const sae_train_forecast *f, uint64_t limit, error *err)
{
	char parts[256];

	if (f->total <= limit)
		return 0;
	sae_train_forecast_print(parts, sizeof(parts), f);
	return error_set(err, ERR_LIMIT, "the run needs %s; the limit is %" PRIu64 " MiB", parts,
	                 limit >> 20);
}

/* Those that are NULL have nothing to forget. */
static void forget_moments(const step_param *p, const step_config *c)
{
	size_t matrix = (size_t)c->n_features * c->d;

	mem_forget(p->m, matrix * sizeof(float));
	mem_forget(p->v, matrix * sizeof(float));
	mem_forget(p->m8, matrix);
	mem_forget(p->v8, matrix);
	mem_forget(p->scales, c->n_features * ADAM8_SCALES(c->d) * sizeof(float));
}

void sae_trainer_finish(sae_trainer *t)
{
	loader_free(t->loader);
	t->loader = NULL;
	for (size_t i = 0; i < t->n; i++) {
		step *s = t->members[i].step;
		size_t rows = (size_t)s->c.batch * s->c.d * sizeof(float);

		forget_moments(&s->W_enc, &s->c);
		forget_moments(&s->W_dec, &s->c);
		mem_forget(s->e, rows);
		mem_forget(s->e_aux, s->e_aux ? rows : 0);
	}
}
