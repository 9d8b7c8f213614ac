/* Firings of two sources on the contexts that both have stored. */
#include "store/compare.h"

#include <math.h>

enum { MAX_FIRINGS = 32 << 20 }; /* of one side; 20 bytes each */

uint32_t compare_fires(const compare_side *side, uint32_t f)
{
	return (uint32_t)(side->by_feature[f + 1] - side->by_feature[f]);
}

void compare_side_clear(compare_side *side)
{
	free(side->by_token);
	free(side->feature);
	free(side->value);
	free(side->by_feature);
	free(side->token);
	free(side->token_value);
	free(side->nearest.ids);
	free(side->nearest.common);
	free(side->nearest.cosine);
	*side = (compare_side){ 0 };
}

void compare_places_clear(compare_places *p)
{
	free(p->begin);
	*p = (compare_places){ 0 };
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
	    mem_grow(&side->feature, &side->feature_cap, side->n_firings + n, sizeof(*side->feature)) < 0 ||
	    mem_grow(&side->value, &side->value_cap, side->n_firings + n, sizeof(*side->value)) < 0)
		return error_nomem(err, "stored firings");
	side->by_token[token] = side->n_firings;
	memcpy(side->feature + side->n_firings, codes->feature + first, n * sizeof(*side->feature));
	memcpy(side->value + side->n_firings, codes->value + first, n * sizeof(*side->value));
	side->n_firings += n;
	side->by_token[token + 1] = side->n_firings;
	return 0;
}

static int add_context(compare_places *p, compare_side side[2], const firing_scan *scan, const partner *other,
                       error *err)
{
	int rc = 0;

	if (mem_grow(&p->begin, &p->begin_cap, (size_t)p->n_contexts + 2, sizeof(*p->begin)) < 0)
		return error_nomem(err, "stored firings");
	p->begin[p->n_contexts] = p->n_tokens;
	for (uint32_t i = 0; i < scan->context.n_tokens && rc == 0; i++) {
		if (!bit_is_set(scan->counted, i) || !bit_is_set(other->counted, i))
			continue;
		rc = add_token(&side[0], p->n_tokens, &scan->codes, i, err);
		if (rc == 0)
			rc = add_token(&side[1], p->n_tokens, &other->codes, i, err);
		p->n_tokens++;
	}
	p->begin[++p->n_contexts] = p->n_tokens;
	return rc;
}

/* The same firings by feature. */
static int turn(compare_side *side, uint32_t n_tokens, error *err)
{
	size_t *next = malloc(((size_t)side->n_features + 1) * sizeof(*next));

	side->by_feature = calloc((size_t)side->n_features + 1, sizeof(*side->by_feature));
	side->token = malloc((side->n_firings + 1) * sizeof(*side->token));
	side->token_value = malloc((side->n_firings + 1) * sizeof(*side->token_value));
	if (!next || !side->by_feature || !side->token || !side->token_value) {
		free(next);
		return error_nomem(err, "stored firings");
	}
	for (size_t i = 0; i < side->n_firings; i++)
		side->by_feature[side->feature[i] + 1]++;
	for (uint32_t f = 0; f < side->n_features; f++)
		side->by_feature[f + 1] += side->by_feature[f];
	memcpy(next, side->by_feature, ((size_t)side->n_features + 1) * sizeof(*next));
	for (uint32_t t = 0; t < n_tokens; t++)
		for (size_t i = side->by_token[t]; i < side->by_token[t + 1]; i++) {
			size_t at = next[side->feature[i]]++;

			side->token[at] = t;
			side->token_value[at] = side->value[i];
		}
	free(next);
	return 0;
}

int compare_places_read(compare_places *p, compare_side side[2], error *err)
{
	partner other = { .s = side[1].s, .source = side[1].source.id, .n_features = side[1].n_features };
	firing_scan scan = { 0 };
	bool more = false, found;
	int rc = firing_scan_begin(&scan, side[0].s, side[0].source.id, err);

	p->all_used = true;
	if (rc == 0)
		rc = store_prepare(
		        &other.row, other.s,
		        "SELECT counted, codes FROM firing WHERE source_id = ?1 AND context_id = ?2", err);
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		if (side[0].n_firings > MAX_FIRINGS || side[1].n_firings > MAX_FIRINGS) {
			p->all_used = false;
			break;
		}
		rc = partner_find(&other, scan.context.id, scan.context.n_tokens, &found, err);
		if (rc == 0 && found)
			rc = add_context(p, side, &scan, &other, err);
	}
	for (int s = 0; s < 2 && rc == 0 && p->n_tokens; s++)
		rc = turn(&side[s], p->n_tokens, err);
	sqlite3_finalize(other.row);
	store_codes_free(&other.codes);
	firing_scan_end(&scan);
	return rc;
}

/* ---- Counting ------------------------------------------------------------------------------------------------------------ */

/* shift[t]: the token of the next context at the same place as t, or NONE where that is shorter. */
static uint32_t *shifted_tokens(const compare_places *p)
{
	uint32_t *shift = malloc(((size_t)p->n_tokens + 1) * sizeof(*shift));

	for (uint32_t c = 0; c < p->n_contexts && shift; c++) {
		uint32_t next = c + 1 < p->n_contexts ? c + 1 : 0,
		         length = p->begin[next + 1] - p->begin[next];

		for (uint32_t t = p->begin[c]; t < p->begin[c + 1]; t++)
			shift[t] = t - p->begin[c] < length ? p->begin[next] + t - p->begin[c] : NONE;
	}
	return shift;
}

static void offer(uint32_t *ids, uint32_t *common, float *cosine, uint32_t id, uint32_t n, float value)
{
	uint32_t i = COMPARE_NEAREST;

	while (i > 0 &&
	       (ids[i - 1] == NONE || value > cosine[i - 1] || (value == cosine[i - 1] && id < ids[i - 1])))
		i--;
	if (i == COMPARE_NEAREST)
		return;
	memmove(ids + i + 1, ids + i, (COMPARE_NEAREST - 1 - i) * sizeof(*ids));
	memmove(common + i + 1, common + i, (COMPARE_NEAREST - 1 - i) * sizeof(*common));
	memmove(cosine + i + 1, cosine + i, (COMPARE_NEAREST - 1 - i) * sizeof(*cosine));
	ids[i] = id;
	common[i] = n;
	cosine[i] = value;
}

static void nearest_of(compare_nearest *n, const compare_side *side, const compare_side *other, uint32_t f,
                       const uint32_t *shift, uint32_t *count, uint32_t *touched)
{
	size_t at = (size_t)f * COMPARE_NEAREST;
	uint32_t n_touched = 0, fires = compare_fires(side, f);

	for (size_t i = side->by_feature[f]; i < side->by_feature[f + 1]; i++) {
		uint32_t t = shift ? shift[side->token[i]] : side->token[i];

		for (size_t j = t == NONE ? 0 : other->by_token[t]; t != NONE && j < other->by_token[t + 1];
		     j++)
			if (count[other->feature[j]]++ == 0)
				touched[n_touched++] = other->feature[j];
	}
	for (uint32_t k = 0; k < n_touched; k++) {
		uint32_t id = touched[k];

		offer(n->ids + at, n->common + at, n->cosine + at, id, count[id],
		      (float)(count[id] / sqrt((double)fires * compare_fires(other, id))));
		count[id] = 0;
	}
}

int compare_nearest_find(compare_nearest *n, const compare_places *p, const compare_side side[2], int s,
                         bool shifted, error *err)
{
	const compare_side *mine = &side[s], *other = &side[!s];
	size_t all = (size_t)mine->n_features * COMPARE_NEAREST;
	uint32_t *count = calloc(other->n_features, sizeof(*count)),
	         *touched = malloc((size_t)other->n_features * sizeof(*touched)),
	         *shift = shifted ? shifted_tokens(p) : NULL;
	int rc = 0;

	if (!n->ids) {
		n->ids = malloc(all * sizeof(*n->ids));
		n->common = calloc(all, sizeof(*n->common));
		n->cosine = calloc(all, sizeof(*n->cosine));
	}
	if (!count || !touched || (shifted && !shift) || !n->ids || !n->common || !n->cosine)
		rc = error_nomem(err, "a comparison");
	for (size_t i = 0; i < all && rc == 0; i++)
		n->ids[i] = NONE;
	for (uint32_t f = 0; f < mine->n_features && rc == 0; f++)
		nearest_of(n, mine, other, f, shift, count, touched);
	free(count);
	free(touched);
	free(shift);
	return rc;
}

void compare_measure(compare_pair *out, const compare_places *p, const compare_side side[2], uint32_t a,
                     uint32_t b)
{
	size_t i = side[0].by_feature[a], i_end = side[0].by_feature[a + 1];
	size_t j = side[1].by_feature[b], j_end = side[1].by_feature[b + 1];
	double n_a = (double)(i_end - i), n_b = (double)(j_end - j), both = 0, n = p->n_tokens;
	double sum_a = 0, sum_b = 0, squares_a = 0, squares_b = 0, product = 0, var;

	for (size_t k = i; k < i_end; k++) {
		sum_a += side[0].token_value[k];
		squares_a += (double)side[0].token_value[k] * side[0].token_value[k];
	}
	for (size_t k = j; k < j_end; k++) {
		sum_b += side[1].token_value[k];
		squares_b += (double)side[1].token_value[k] * side[1].token_value[k];
	}
	while (i < i_end && j < j_end) {
		uint32_t t = side[0].token[i], u = side[1].token[j];

		if (t == u) {
			both++;
			product += (double)side[0].token_value[i] * side[1].token_value[j];
		}
		i += t <= u;
		j += u <= t;
	}
	out->cosine = n_a > 0 && n_b > 0 ? both / sqrt(n_a * n_b) : (double)NAN;
	out->jaccard = n_a > 0 && n_b > 0 ? both / (n_a + n_b - both) : (double)NAN;
	var = (squares_a - sum_a * sum_a / n) * (squares_b - sum_b * sum_b / n);
	out->correlation = var > 0 ? (product - sum_a * sum_b / n) / sqrt(var) : (double)NAN;
}

uint32_t compare_covered(const compare_side *side, const compare_side *other, uint32_t f,
                         const uint32_t *parts, uint32_t n)
{
	uint32_t covered = 0;

	for (size_t i = side->by_feature[f]; i < side->by_feature[f + 1]; i++) {
		uint32_t t = side->token[i];
		bool hit = false;

		for (size_t j = other->by_token[t]; j < other->by_token[t + 1] && !hit; j++)
			for (uint32_t k = 0; k < n && !hit; k++)
				hit = other->feature[j] == parts[k];
		covered += hit;
	}
	return covered;
}
