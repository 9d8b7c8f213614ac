/* Firings of two sources on the contexts that both have stored. */
#include "store/compare.h"
#include "store/joint_scan.h"

enum { MAX_FIRINGS = 32 << 20 }; /* of one side; 16 bytes each */

uint32_t compare_fires(const compare_side *side, uint32_t f)
{
	return side->by_feature ? (uint32_t)(side->by_feature[f + 1] - side->by_feature[f]) : 0;
}

static void side_clear(compare_side *side)
{
	free(side->by_token);
	free(side->on);
	free(side->by_feature);
	free(side->of);
	free(side->sum);
	free(side->variance);
}

void compare_clear(comparison *c)
{
	side_clear(&c->side[0]);
	side_clear(&c->side[1]);
	free(c->begin);
	*c = (comparison){ 0 };
}

/* ---- Reading ---------------------------------------------------------------------------------------------------------- */

static int add_token(compare_side *side, uint32_t token, const store_codes *codes, uint32_t i, error *err)
{
	uint32_t first = codes->start[i], n = codes->start[i + 1] - first;

	if (mem_grow(&side->by_token, &side->token_cap, (size_t)token + 2, sizeof(*side->by_token)) < 0 ||
	    mem_grow(&side->on, &side->firing_cap, side->n_firings + n, sizeof(*side->on)) < 0)
		return error_nomem(err, "stored firings");
	side->by_token[token] = side->n_firings;
	for (uint32_t j = first; j < first + n; j++)
		side->on[side->n_firings++] = (compare_firing){ codes->feature[j], codes->value[j] };
	side->by_token[token + 1] = side->n_firings;
	return 0;
}

static int add_context(comparison *c, const joint_scan *scan, error *err)
{
	int rc = 0;

	if (mem_grow(&c->begin, &c->begin_cap, (size_t)c->n_contexts + 2, sizeof(*c->begin)) < 0)
		return error_nomem(err, "stored firings");
	c->begin[c->n_contexts] = c->n_tokens;
	for (uint32_t i = 0; i < scan->n_tokens && rc == 0; i++) {
		if (!bit_is_set(scan->counted, i))
			continue;
		for (int s = 0; s < 2 && rc == 0; s++)
			rc = add_token(&c->side[s], c->n_tokens, &scan->parts[s].codes, i, err);
		c->n_tokens++;
	}
	c->begin[++c->n_contexts] = c->n_tokens;
	return rc;
}

/* What correlations need of each feature. */
static void sum_values(compare_side *side, uint32_t n_tokens)
{
	for (uint32_t f = 0; f < side->n_features; f++) {
		double sum = 0, squares = 0;

		for (size_t i = side->by_feature[f]; i < side->by_feature[f + 1]; i++) {
			sum += (double)side->of[i].value;
			squares += (double)side->of[i].value * (double)side->of[i].value;
		}
		side->sum[f] = sum;
		side->variance[f] = squares - sum * sum / n_tokens;
		if (side->variance[f] < 1e-12 * squares)
			side->variance[f] = 0; /* always the same value */
	}
}

/* The same firings by feature. */
static int turn(compare_side *side, uint32_t n_tokens, error *err)
{
	size_t n = side->n_features, *next = malloc((n + 1) * sizeof(*next));

	side->by_feature = calloc(n + 1, sizeof(*side->by_feature));
	side->of = malloc((side->n_firings + 1) * sizeof(*side->of));
	side->sum = malloc((n + 1) * sizeof(*side->sum));
	side->variance = malloc((n + 1) * sizeof(*side->variance));
	if (!next || !side->by_feature || !side->of || !side->sum || !side->variance) {
		free(next);
		return error_nomem(err, "stored firings");
	}
	for (size_t i = 0; i < side->n_firings; i++)
		side->by_feature[side->on[i].id + 1]++;
	for (size_t f = 0; f < n; f++)
		side->by_feature[f + 1] += side->by_feature[f];
	memcpy(next, side->by_feature, (n + 1) * sizeof(*next));
	for (uint32_t t = 0; t < n_tokens; t++)
		for (size_t i = side->by_token[t]; i < side->by_token[t + 1]; i++)
			side->of[next[side->on[i].id]++] = (compare_firing){ t, side->on[i].value };
	free(next);
	sum_values(side, n_tokens);
	return 0;
}

int compare_read(comparison *c, error *err)
{
	store *const stores[2] = { c->side[0].s, c->side[1].s };
	const store_source sources[2] = { c->side[0].source, c->side[1].source };
	joint_scan scan;
	bool more = false;
	int rc = joint_scan_begin(&scan, stores, sources, 2, err);

	if (rc < 0)
		return rc;
	c->all_used = true;
	while ((rc = joint_scan_next(&scan, &more, err)) == 0 && more && c->all_used) {
		if (c->side[0].n_firings > MAX_FIRINGS || c->side[1].n_firings > MAX_FIRINGS)
			c->all_used = false;
		else
			rc = add_context(c, &scan, err);
		if (rc < 0)
			break;
	}
	for (int s = 0; s < 2 && rc == 0 && c->n_tokens; s++)
		rc = turn(&c->side[s], c->n_tokens, err);
	joint_scan_end(&scan);
	return rc;
}
