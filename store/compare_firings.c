/* Firings of two sources on the contexts that both have stored. */
#include "store/compare.h"

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

/* One context of the other source, if that has its firings. */
typedef struct partner {
	store *s;
	sqlite3_stmt *row;
	int64_t source;
	uint32_t n_features;
	const unsigned char *counted; /* until the next */
	store_codes codes;
} partner;

static int partner_find(partner *p, int64_t context, uint32_t n_tokens, bool *found, error *err)
{
	error cause = { 0 };
	int rc;

	sqlite3_reset(p->row);
	rc = store_bind(p->s, p->row, err, "ii", p->source, context);
	if (rc == 0)
		rc = store_step(p->s, p->row, found, err);
	if (rc < 0 || !*found)
		return rc;
	p->counted = sqlite3_column_blob(p->row, 0);
	if (!p->counted || (uint32_t)sqlite3_column_bytes(p->row, 0) != (n_tokens + 7) / 8 ||
	    store_codes_decode(&p->codes, sqlite3_column_blob(p->row, 1),
	                       (size_t)sqlite3_column_bytes(p->row, 1), p->n_features, n_tokens, &cause) < 0)
		return error_set(err, cause.code ? cause.code : ERR_FORMAT,
		                 "'%s': context %lld is corrupt: %s", store_path(p->s), (long long)context,
		                 cause.code ? cause.msg : "its mask is of another length");
	return 0;
}

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

static int add_context(comparison *c, firing_scan *scan, const partner *other, error *err)
{
	int rc = firing_scan_codes(scan, err);

	if (rc == 0 && mem_grow(&c->begin, &c->begin_cap, (size_t)c->n_contexts + 2, sizeof(*c->begin)) < 0)
		rc = error_nomem(err, "stored firings");
	if (rc < 0)
		return rc;
	c->begin[c->n_contexts] = c->n_tokens;
	for (uint32_t i = 0; i < scan->context.n_tokens && rc == 0; i++) {
		if (!bit_is_set(scan->counted, i) || !bit_is_set(other->counted, i))
			continue;
		rc = add_token(&c->side[0], c->n_tokens, &scan->codes, i, err);
		if (rc == 0)
			rc = add_token(&c->side[1], c->n_tokens, &other->codes, i, err);
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
	partner other = { .s = c->side[1].s,
		          .source = c->side[1].source.id,
		          .n_features = c->side[1].n_features };
	firing_scan scan = { 0 };
	bool more = false, found;
	int rc = firing_scan_begin(&scan, c->side[0].s, c->side[0].source.id, err);

	c->all_used = true;
	scan.lazy = true;
	if (rc == 0)
		rc = store_prepare(
		        &other.row, other.s,
		        "SELECT counted, codes FROM firing WHERE source_id = ?1 AND context_id = ?2", err);
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		rc = partner_find(&other, scan.context.id, scan.context.n_tokens, &found, err);
		if (rc < 0 || !found)
			continue;
		if (c->side[0].n_firings > MAX_FIRINGS || c->side[1].n_firings > MAX_FIRINGS) {
			c->all_used = false;
			break;
		}
		rc = add_context(c, &scan, &other, err);
	}
	for (int s = 0; s < 2 && rc == 0 && c->n_tokens; s++)
		rc = turn(&c->side[s], c->n_tokens, err);
	sqlite3_finalize(other.row);
	store_codes_free(&other.codes);
	firing_scan_end(&scan);
	return rc;
}
