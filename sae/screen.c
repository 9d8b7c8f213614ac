/* 8-bit codes of encoder rows and input rows, and what they leave out. */
#include <assert.h>
#include <float.h>
#include <math.h>

#include "sae/screen.h"

#define ROW_CODE_MAX 127
/* Below these the codes cost more than they save. */
#define MIN_DIMS     32
#define MIN_FEATURES 256
#define MIN_SPARSITY 8 /* features to a value kept */

static size_t padded(size_t n)
{
	return (n + SCREEN_ALIGN - 1) / SCREEN_ALIGN * SCREEN_ALIGN;
}

bool screen_pays(sae_screening how, const screen_set *set, size_t d, size_t n_features, size_t k)
{
	return how != SAE_SCREENING_OFF && set != &screen_scalar && d >= MIN_DIMS && d <= SCREEN_MAX_DIMS &&
	       n_features >= MIN_FEATURES && k * MIN_SPARSITY <= n_features;
}

int screen_init(screen *s, arena *mem, const screen_set *set, size_t d, size_t n_features, bool statistical,
                error *err)
{
	float share = 6 / sqrtf((float)d);

	*s = (screen){ .set = set, .d = d, .d_pad = padded(d), .n_features = n_features, .spread = 1 };
	if (statistical && share < 1)
		s->spread = share;
	s->n_pad = padded(n_features);
	s->signs = arena_alloc(mem, s->d_pad, sizeof(float));
	s->packed = arena_alloc(mem, s->n_pad, s->d_pad);
	s->scale = arena_alloc(mem, s->n_pad, sizeof(float));
	s->bias = arena_alloc(mem, s->n_pad, sizeof(float));
	s->norm = arena_alloc(mem, s->n_pad, sizeof(float));
	s->lost = arena_alloc(mem, s->n_pad, sizeof(float));
	if (!s->signs || !s->packed || !s->scale || !s->bias || !s->norm || !s->lost)
		return error_nomem(err, "8-bit codes of the encoder");
	for (size_t i = 0; i < s->d_pad; i++)
		s->signs[i] = hash64_mix(0x7369676e73, i) & 1 ? 1.0f : -1.0f; /* "signs" */
	for (size_t f = n_features; f < s->n_pad; f++)
		s->bias[f] = -INFINITY; /* never kept */
	return 0;
}

#define SMALLEST 1e-15f /* of a row's greatest coordinate: squares of what codes lose must not vanish */

/* Codes of a turned row; returns their factor: none over `most`, and no lane over what its sums can hold.
 * *norm: of what the codes stand for; *lost: of the rest. */
static float encode_row(const screen_set *set, const float *x, size_t n, int most, float lane_limit,
                        int8_t *code, float *norm, float *lost)
{
	float greatest = set->max_abs(x, n), scale = greatest / (float)most, lane;

	if (!(greatest >= SMALLEST && greatest < FLT_MAX)) {
		memset(code, 0, n);
		*norm = 0;
		*lost = greatest < SMALLEST ? greatest * sqrtf((float)n) : INFINITY;
		return 0;
	}
	set->code(code, x, n, scale);
	while (set->lane_norm && (lane = set->lane_norm(code, n)) > lane_limit) {
		scale *= 1.002f * lane / lane_limit;
		set->code(code, x, n, scale);
	}
	*norm = scale * set->code_norm(code, n);
	*lost = set->code_error(code, x, n, scale);
	return scale;
}

static void turn(const screen *s, float *out, const float *x)
{
	memcpy(out, x, s->d * sizeof(float));
	memset(out + s->d, 0, (s->d_pad - s->d) * sizeof(float));
	s->set->turn(out, s->signs, s->d_pad);
}

void screen_weight(screen *s, size_t f, const float *w, float bias, float *scratch)
{
	const screen_set *set = s->set;
	const float rounding = (float)(s->d_pad + 64) * 0x1p-24f;
	int8_t code[SCREEN_MAX_DIMS];
	uint8_t *out = s->packed + f / SCREEN_PANEL * SCREEN_PANEL * s->d_pad + f % SCREEN_PANEL * 4;
	float norm, lost;

	turn(s, scratch, w);
	s->scale[f] =
	        encode_row(set, scratch, s->d_pad, set->weight_max, set->weight_lane, code, &norm, &lost);
	for (size_t i = 0; i < s->d_pad; i += 4) {
		for (size_t j = 0; j < 4; j++)
			out[i * SCREEN_PANEL + j] = (uint8_t)(code[i + j] + set->offset);
	}
	s->bias[f] = bias + SCREEN_ROUNDING * fabsf(bias);
	s->norm[f] = s->spread * norm * 1.00001f;
	s->lost[f] = s->spread * lost * 1.00001f + rounding * (norm + lost) + FLT_MIN;
	if (!isfinite(s->lost[f]))
		s->lost[f] = INFINITY; /* no bound */
}

int screen_rows_init(screen_rows *r, arena *mem, const screen *s, size_t n, error *err)
{
	r->d_pad = s->d_pad;
	r->code = arena_alloc(mem, n, s->d_pad);
	r->scale = arena_alloc(mem, n, sizeof(float));
	r->lost = arena_alloc(mem, n, sizeof(float));
	r->norm = arena_alloc(mem, n, sizeof(float));
	r->start = arena_alloc(mem, n * s->set->starts(s->d_pad), sizeof(int32_t));
	r->turned = arena_alloc(mem, s->d_pad, sizeof(float));
	if (r->code && r->scale && r->lost && r->norm && r->start && r->turned)
		return 0;
	return error_nomem(err, "8-bit codes of a tile");
}

void screen_row(screen_rows *r, const screen *s, size_t t, const float *x)
{
	const screen_set *set = s->set;
	int8_t *code = r->code + t * s->d_pad;
	float norm;

	turn(s, r->turned, x);
	r->scale[t] =
	        encode_row(set, r->turned, s->d_pad, ROW_CODE_MAX, set->row_lane, code, &norm, &r->lost[t]);
	r->norm[t] = (norm + r->lost[t]) * 1.00001f; /* at least |x| */
	r->lost[t] *= 1.00001f;
	if (!isfinite(r->norm[t])) {
		r->lost[t] = 0;
		r->norm[t] = INFINITY; /* no bound */
	}
	set->start(r->start + t * set->starts(s->d_pad), code, s->d_pad);
}

void screen_row_copy(screen_rows *r, const screen *s, size_t t, size_t from)
{
	size_t starts = s->set->starts(s->d_pad);

	if (t == from)
		return;
	memcpy(r->code + t * s->d_pad, r->code + from * s->d_pad, s->d_pad);
	memcpy(r->start + t * starts, r->start + from * starts, starts * sizeof(int32_t));
	r->scale[t] = r->scale[from];
	r->lost[t] = r->lost[from];
	r->norm[t] = r->norm[from];
}

void screen_bounds(const screen *s, const screen_rows *r, size_t first, size_t n_features, size_t n,
                   float *out, size_t stride)
{
	const screen_product p = { .weights = s->packed + first * s->d_pad,
		                   .scale = s->scale + first,
		                   .bias = s->bias + first,
		                   .norm = s->norm + first,
		                   .lost = s->lost + first,
		                   .n_features = padded(n_features),
		                   .d = s->d_pad,
		                   .rows = r->code,
		                   .row_scale = r->scale,
		                   .row_lost = r->lost,
		                   .row_norm = r->norm,
		                   .start = r->start,
		                   .n = n,
		                   .out = out,
		                   .stride = stride };

	assert(first % SCREEN_ALIGN == 0);
	s->set->product(&p);
}
