/* See behaviour.h. */
#include "store/behaviour.h"

#include <math.h>

enum { BITS = 64 };

/* A token's number in hashes: the same in every store. */
static uint64_t place_of(const joint_scan *scan, uint32_t token)
{
	return hash64_mix((uint64_t)scan->context, token);
}

/* Where the features of part i begin among those of all parts. */
static size_t *part_bases(const joint_scan *scan)
{
	size_t *base = malloc((scan->n + 1) * sizeof(*base));

	if (!base)
		return NULL;
	base[0] = 0;
	for (size_t i = 0; i < scan->n; i++)
		base[i + 1] = base[i] + scan->parts[i].n_features;
	return base;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------------- */

/* All features while they are read. */
struct reading {
	behaviour *all;     /* (F of all parts) */
	float (*sum)[BITS]; /* (F of all parts): projections */
};

static void read_token(struct reading *r, size_t base, const store_codes *c, uint32_t token, uint64_t place)
{
	uint64_t bits = hash64_mix(place, BITS);
	float sign[BITS];

	for (int b = 0; b < BITS; b++)
		sign[b] = bits >> b & 1 ? 1 : -1;
	for (uint32_t i = c->start[token]; i < c->start[token + 1]; i++) {
		behaviour *it = &r->all[base + c->feature[i]];
		float *sum = r->sum[base + c->feature[i]], v = c->value[i];

		it->fires++;
		it->max = v > it->max ? v : it->max;
		it->squares += (double)v * v;
		it->where = hash64_mix(it->where, place);
		for (int b = 0; b < BITS; b++)
			sum[b] += v * sign[b];
	}
}

static int read_all(struct reading *r, behaviour_places *places, joint_scan *scan, const size_t *base,
                    error *err)
{
	bool more;
	int rc;

	*places = (behaviour_places){ 0 };
	while ((rc = joint_scan_next(scan, &more, err)) == 0 && more) {
		places->contexts++;
		for (uint32_t t = 0; t < scan->n_tokens; t++) {
			if (!bit_is_set(scan->counted, t))
				continue;
			places->tokens++;
			for (size_t i = 0; i < scan->n; i++)
				read_token(r, base[i], &scan->parts[i].codes, t, place_of(scan, t));
		}
	}
	return rc;
}

static uint64_t signs_of(const float sum[BITS])
{
	uint64_t bits = 0;

	for (int b = 0; b < BITS; b++)
		bits |= (uint64_t)(sum[b] > 0) << b;
	return bits;
}

int behaviour_read(behaviour **out, size_t *n, behaviour_places *places, joint_scan *scan, uint32_t min_fires,
                   error *err)
{
	size_t *base = part_bases(scan), all = base ? base[scan->n] : 0, kept = 0;
	struct reading r = { .all = calloc(all + 1, sizeof(*r.all)), .sum = calloc(all + 1, sizeof(*r.sum)) };
	int rc = base && r.all && r.sum ? read_all(&r, places, scan, base, err)
	                                : error_nomem(err, "behaviours");

	for (size_t i = 0; i < scan->n && rc == 0; i++) {
		for (size_t at = base[i]; at < base[i + 1]; at++) {
			if (r.all[at].fires < min_fires || r.all[at].fires == 0)
				continue;
			r.all[at].source = (uint32_t)i;
			r.all[at].feature = (uint32_t)(at - base[i]);
			r.all[at].simhash = signs_of(r.sum[at]);
			r.all[kept++] = r.all[at];
		}
	}
	free(r.sum);
	free(base);
	if (rc < 0) {
		free(r.all);
		return rc;
	}
	*out = r.all;
	*n = kept;
	return 0;
}

/* ---- Comparing ----------------------------------------------------------------------------------------------------------- */

struct comparing {
	behaviour *list;
	behaviour_pair *pairs;
	size_t *first;    /* (n + 1): pairs whose a is behaviour i are first[i] .. first[i + 1] - 1 */
	uint32_t *slot;   /* (F of all parts): number in `list` + 1; 0: not in it */
	float *value;     /* (n): on the token at hand */
	uint32_t *firing; /* those of `list` that fire on it */
	size_t n_firing;
};

static void compare_token(struct comparing *c, uint64_t place)
{
	for (size_t i = 0; i < c->n_firing; i++) {
		uint32_t a = c->firing[i];
		behaviour *it = &c->list[a];
		float share = c->value[a] / it->max;

		it->key = hash64_mix(it->key ^ place, (uint64_t)ceilf(16 * share));
		for (size_t k = c->first[a]; k < c->first[a + 1]; k++) {
			behaviour_pair *p = &c->pairs[k];
			float other = c->value[p->b], apart = fabsf(share - other / c->list[p->b].max);

			if (other == 0)
				continue;
			p->dot += (double)c->value[a] * other;
			p->apart = apart > p->apart ? apart : p->apart;
		}
	}
}

/* Set the values on a token, compare, and clear them again. */
static void take_token(struct comparing *c, const joint_scan *scan, const size_t *base, uint32_t token)
{
	c->n_firing = 0;
	for (size_t i = 0; i < scan->n; i++) {
		const store_codes *codes = &scan->parts[i].codes;

		for (uint32_t k = codes->start[token]; k < codes->start[token + 1]; k++) {
			uint32_t slot = c->slot[base[i] + codes->feature[k]];

			if (slot == 0)
				continue;
			c->value[slot - 1] = codes->value[k];
			c->firing[c->n_firing++] = slot - 1;
		}
	}
	compare_token(c, place_of(scan, token));
	for (size_t i = 0; i < c->n_firing; i++)
		c->value[c->firing[i]] = 0;
}

int behaviour_compare(behaviour_pair *pairs, size_t n_pairs, behaviour *list, size_t n, joint_scan *scan,
                      error *err)
{
	size_t *base = part_bases(scan);
	struct comparing c = { .list = list,
		               .pairs = pairs,
		               .first = calloc(n + 1, sizeof(*c.first)),
		               .slot = calloc((base ? base[scan->n] : 0) + 1, sizeof(*c.slot)),
		               .value = calloc(n + 1, sizeof(*c.value)),
		               .firing = malloc((n + 1) * sizeof(*c.firing)) };
	bool more;
	int rc = base && c.first && c.slot && c.value && c.firing ? joint_scan_again(scan, err)
	                                                          : error_nomem(err, "behaviours");

	for (size_t i = 0; i < n_pairs && rc == 0; i++)
		c.first[pairs[i].a + 1]++;
	for (size_t i = 0; i < n && rc == 0; i++) {
		c.first[i + 1] += c.first[i];
		c.slot[base[list[i].source] + list[i].feature] = (uint32_t)i + 1;
	}
	while (rc == 0 && (rc = joint_scan_next(scan, &more, err)) == 0 && more)
		for (uint32_t t = 0; t < scan->n_tokens; t++)
			if (bit_is_set(scan->counted, t))
				take_token(&c, scan, base, t);
	free(c.first);
	free(c.slot);
	free(c.value);
	free(c.firing);
	free(base);
	return rc;
}
