/* What a run needs of memory, before it takes it; and giving back what its end does not need. */
#include <inttypes.h>

#include "sae/encode.h"
#include "sae/train_internal.h"

#define EVAL_ROWS 4096 /* of a block of sae_eval() */

/* OpenBLAS packs its operands into memory of its own, which it keeps: measured with 0.3.21, products of 512 rows, 1.1 MiB a
 * thread. */
#define BLAS_BYTES (UINT64_C(5) << 18)

static uint64_t weight_bytes(const train_member *m)
{
	fitter_arrays list = { .n = 0 };
	uint64_t bytes = 0;

	m->kind->state(m->self, &list);
	for (size_t i = 0; i < list.n; i++)
		bytes += list.items[i].weight ? list.items[i].a.n * sizeof(float) : 0;
	return bytes;
}

static uint64_t spare(const train_member *m, bool forget)
{
	return m->kind->spare ? m->kind->spare(m->self, forget) : 0;
}

/* Rows of the sample that the start holds, once for the members that want the most. */
static uint64_t sample_bytes(const sae_trainer *t)
{
	return (uint64_t)train_sample_rows(t) * (t->d + (t->target ? t->d_out : 0)) * sizeof(float);
}

/* Rows and reconstructions of a block, its codes, and the encoder. */
static int eval_bytes(uint64_t *bytes, const sae_trainer *t, const train_member *m, error *err)
{
	const sae_train_opts *o = &m->o;
	const sae_model shape = { .arch = sae_arch_of_model(o->arch),
		                  .d_in = t->d,
		                  .d_out = t->d_out,
		                  .centers = !t->target,
		                  .codebook = { .groups = 1 },
		                  .d_sae = o->d_sae,
		                  .k = o->k };
	uint64_t code = sizeof(uint32_t) + sizeof(float), encoder = 0;
	int rc = encoder_bytes(&encoder, &shape, t->pool, err);

	*bytes = encoder +
	         EVAL_ROWS * ((2 * t->d_out + (t->target ? t->d : 0)) * sizeof(float) + 2 * o->k * code);
	return rc;
}

static uint64_t over(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* A copy of the member's weights, and what measuring or saving it takes: then the encoder is turned. */
static int copy_bytes(uint64_t *measured, uint64_t *saved, const sae_trainer *t, const train_member *m,
                      error *err)
{
	uint64_t weights = weight_bytes(m), bytes;
	int rc = eval_bytes(&bytes, t, m, err);

	if (weights + bytes > *measured)
		*measured = weights + bytes;
	if (weights + weights / 2 > *saved)
		*saved = weights + weights / 2;
	return rc;
}

int sae_trainer_forecast(sae_train_forecast *out, const sae_trainer *t, bool evaluates, error *err)
{
	const sae_train_opts *o = &t->members[0].o;
	uint64_t measured = 0, saved = 0, run, end, members = 0, spared = 0;
	int rc = 0;

	mem_trim();
	*out = (sae_train_forecast){ .now = cpu_memory_anonymous() + pool_threads(t->pool) * BLAS_BYTES };
	for (size_t i = 0; i < t->n && rc == 0; i++) {
		const train_member *m = &t->members[i];
		fitter_bytes b;

		m->kind->bytes(m->self, &b);
		out->weights += weight_bytes(m);
		out->optimiser += b.optimiser;
		members += b.total + 2 * (uint64_t)m->o.d_sae * sizeof(uint64_t);
		spared += spare(m, false);
		rc = copy_bytes(&measured, &saved, t, &t->members[i], err);
	}
	if (rc == 0)
		rc = loader_bytes(&out->loader, t->dump, &t->order, o->batch, err);
	if (rc < 0)
		return rc;
	members += normalize_bytes(&t->norm);
	if (t->n > 1)
		members += (uint64_t)o->batch * (t->d + (t->target ? t->d_out : 0)) * sizeof(float);
	out->batch = members - out->weights - out->optimiser;
	run = evaluates && measured > sample_bytes(t) ? measured : sample_bytes(t);
	run += members + out->loader;
	end = members - spared + (measured > saved ? measured : saved);
	out->total = out->now + (run > end ? run : end);
	out->model = over(out->total, out->now + members + out->loader);
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

void sae_trainer_finish(sae_trainer *t)
{
	loader_free(t->loader);
	t->loader = NULL;
	for (size_t i = 0; i < t->n; i++)
		(void)spare(&t->members[i], true);
}
