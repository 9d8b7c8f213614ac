/* Candidates of a tile in order of blocks of features, rows and features; made rows at the end. */
#include "sae/encode_over.h"

int encode_found_reserve(encode_found *f, size_t n)
{
	encode_found larger = { .room = n };

	if (n <= f->room)
		return 0;
	if (n > UINT32_MAX) /* `pairs` are numbers of entries */
		return ERR_NOMEM;
	larger.row = mem_alloc_aligned(n, sizeof(*f->row));
	larger.index = mem_alloc_aligned(n, sizeof(*f->index));
	larger.pairs = mem_alloc_aligned(n, sizeof(*f->pairs));
	larger.sorted = mem_alloc_aligned(n, sizeof(*f->sorted));
	larger.value = mem_alloc_aligned(n, sizeof(*f->value));
	larger.lower = mem_alloc_aligned(n, sizeof(*f->lower));
	if (!larger.row || !larger.index || !larger.pairs || !larger.sorted || !larger.value ||
	    !larger.lower) {
		encode_found_clear(&larger);
		return ERR_NOMEM;
	}
	encode_found_clear(f);
	*f = larger;
	return 0;
}

void encode_found_clear(encode_found *f)
{
	free(f->row);
	free(f->index);
	free(f->pairs);
	free(f->sorted);
	free(f->value);
	free(f->lower);
	*f = (encode_found){ 0 };
}

static void append(encode_found *f, uint32_t row, const uint32_t *index, const float *value, size_t n,
                   float up, float under)
{
	size_t take = n < f->room - f->n ? n : f->room - f->n;

	f->missed += n - take;
	for (size_t i = 0; i < take; i++) {
		float lower = value[i] - under;

		f->row[f->n + i] = row;
		f->index[f->n + i] = index[i];
		f->value[f->n + i] = value[i] + up;
		f->lower[f->n + i] = lower > 0 ? lower : 0;
	}
	f->n += take;
}

void encode_over(encode_scratch *s, const encode_job *j, const float *x, size_t n, float above,
                 encode_found *f)
{
	static const float no_bias[ENCODE_SCREENED];
	const size_t most = j->screen ? ENCODE_SCREENED : ENCODE_FEATURES;

	f->n = f->missed = 0;
	encode_begin(s, j, x, n);
	for (size_t first = 0; first < j->n_features; first += most) {
		size_t left = j->n_features - first, n_block = left < most ? left : most;
		size_t stride = encode_products(s, j, x, first, n_block, n);
		double start = clock_now();

		for (size_t t = 0; t < n; t++) {
			size_t found = j->k->filter(s->index, s->value, s->pre + t * stride,
			                            j->screen ? no_bias : j->bias + first, n_block,
			                            (uint32_t)first, above - s->up[t]);

			append(f, (uint32_t)t, s->index, s->value, found, s->up[t],
			       encode_greatest_error(s, j, t));
		}
		s->select_seconds += clock_now() - start;
	}
}

void encode_exact(encode_scratch *s, const encode_job *j, const float *x, float reach, encode_found *f)
{
	double start = clock_now();
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		f->row[n] = f->row[i];
		f->index[n] = f->index[i];
		f->pairs[n] = (uint32_t)n;
		n += f->value[i] >= reach;
	}
	f->n = n;
	encode_pairs(j, x,
	             &(encode_pairs_list){ .n = n,
	                                   .pairs = f->pairs,
	                                   .index = f->index,
	                                   .row = f->row,
	                                   .places = s->places,
	                                   .sorted = f->sorted,
	                                   .exact = f->value });
	s->n_exact += n;
	s->exact_seconds += clock_now() - start;
}

/* A stable counting sort by row: features of a row stay ascending. */
size_t encode_found_rows(encode_found *f, size_t n, float least, size_t ties, size_t at, size_t *begin,
                         uint32_t *count, uint32_t *index, float *value)
{
	memset(count, 0, n * sizeof(*count));
	for (size_t i = 0; i < f->n; i++)
		count[f->row[i]]++;
	begin[0] = 0;
	for (size_t t = 0; t + 1 < n; t++)
		begin[t + 1] = begin[t] + count[t];
	for (size_t i = 0; i < f->n; i++)
		f->sorted[begin[f->row[i]]++] = (uint32_t)i;
	for (size_t t = 0, i = 0; t < n; t++) {
		size_t end = i + count[t];

		begin[t] = at;
		for (; i < end; i++) {
			float v = f->value[f->sorted[i]];
			bool tie = v == least && ties > 0;

			if (!(v > least) && !tie)
				continue;
			ties -= tie;
			index[at] = f->index[f->sorted[i]];
			value[at++] = v;
		}
		count[t] = (uint32_t)(at - begin[t]);
	}
	return at;
}
