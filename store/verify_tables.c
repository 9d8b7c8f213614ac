/* Rows of a source against those of an index made again. Both sides are read in the order of the rows' keys, side by side. */
#include "store/features.h"
#include "store/verify.h"

#include <math.h>

typedef struct table {
	const char *name, *sql;         /* ?1: the source; rows by their keys, ascending */
	int n_keys;                     /* the first columns, whole numbers */
	int feature, context, position; /* columns that tell the place; -1: none */
} table;

static const table tables[] = {
	{ "source",
	  "SELECT 1, kind, architecture, d_in, n_features, k, norm_limit, n_tokens, n_left_out, n_contexts, "
	  "n_firings, corpus"
	  " FROM source WHERE id = ?1",
	  1, -1, -1, -1 },
	{ "feature",
	  "SELECT feature, n_fires, n_contexts, density, max_act, median_act, sum1, sum2, sum3, sum4, "
	  "top_token,"
	  " top_token_share, token_entropy, decoder_norm, behaviour FROM feature WHERE source_id = ?1 ORDER "
	  "BY feature",
	  1, 0, -1, -1 },
	{ "feature_detail",
	  "SELECT feature, histogram, intervals, quantiles, neighbours, top_logits, bottom_logits, "
	  "logit_histogram,"
	  " cofiring FROM feature_detail WHERE source_id = ?1 ORDER BY feature",
	  1, 0, -1, -1 },
	{ "example",
	  "SELECT feature, bin, rank, context_id, position, activation_bits, codes FROM example WHERE "
	  "source_id = ?1"
	  " ORDER BY feature, bin, rank",
	  3, 0, 3, 4 },
	{ "source_context", "SELECT context_id FROM source_context WHERE source_id = ?1 ORDER BY context_id",
	  1, -1, 0, -1 },
	{ "context",
	  "SELECT c.id, d.key, c.n_tokens, c.tokens, c.text, c.offsets FROM source_context x"
	  " JOIN context c ON c.id = x.context_id JOIN document d ON d.id = c.document_id WHERE x.source_id "
	  "= ?1"
	  " ORDER BY x.context_id",
	  1, -1, 0, -1 },
	{ "firing",
	  "SELECT context_id, sampled, counted, codes FROM firing WHERE source_id = ?1 ORDER BY context_id",
	  1, -1, 0, -1 },
	{ "vector", "SELECT feature, decoder FROM vector WHERE source_id = ?1 ORDER BY feature", 1, 0, -1,
	  -1 },
	{ "grid", "SELECT i, edge FROM grid WHERE ?1 ORDER BY i", 1, -1, -1, -1 },
};

/* ---- One row against one ---- */

static verify_place place(const table *t, sqlite3_stmt *row)
{
	return (verify_place){ t->feature < 0 ? -1 : sqlite3_column_int64(row, t->feature),
		               t->context < 0 ? -1 : sqlite3_column_int64(row, t->context),
		               t->position < 0 ? -1 : sqlite3_column_int64(row, t->position) };
}

static void describe(char *out, size_t room, sqlite3_stmt *row, int column)
{
	uint32_t bits;
	float value;

	switch (sqlite3_column_type(row, column)) {
	case SQLITE_INTEGER:
		bits = (uint32_t)sqlite3_column_int64(row, column);
		memcpy(&value, &bits, sizeof(value));
		if (strcmp(sqlite3_column_name(row, column), "activation_bits") == 0)
			snprintf(out, room, "%.9g", (double)value);
		else
			snprintf(out, room, "%lld", (long long)sqlite3_column_int64(row, column));
		break;
	case SQLITE_FLOAT:
		snprintf(out, room, "%.17g", sqlite3_column_double(row, column));
		break;
	case SQLITE_NULL:
		snprintf(out, room, "NULL");
		break;
	default:
		snprintf(out, room, "%d bytes", sqlite3_column_bytes(row, column));
	}
}

static bool is_among(const char *name, const char *const *names)
{
	while (*names && strcmp(*names, name) != 0)
		names++;
	return *names;
}

static bool near(double a, double b, double share)
{
	return fabs(a - b) <= share * fmax(fabs(a), fabs(b));
}

/* Whether the value with this id is in the list, or is so weak that another may have taken its place at the end of it. */
static bool has_partner(const cJSON *list, double id, double value, double slack)
{
	const cJSON *pair, *last = NULL;

	cJSON_ArrayForEach(pair, list)
	{
		last = cJSON_GetArrayItem(pair, 1);
		if (last && cJSON_GetArrayItem(pair, 0)->valuedouble == id)
			return fabs(last->valuedouble - value) <= slack;
	}
	return last && fabs(value) <= fabs(last->valuedouble) + slack;
}

static bool partners(const cJSON *a, const cJSON *b)
{
	const cJSON *pair;

	cJSON_ArrayForEach(pair, a)
	{
		const cJSON *id = cJSON_GetArrayItem(pair, 0), *value = cJSON_GetArrayItem(pair, 1);

		if (!cJSON_IsNumber(id) || !cJSON_IsNumber(value) ||
		    !has_partner(b, id->valuedouble, value->valuedouble,
		                 1e-5 * fmax(1, fabs(value->valuedouble))))
			return false;
	}
	return true;
}

/* [[id, value], ...] of products whose rounding depends on the machine. */
static bool ranked_alike(const char *a, const char *b)
{
	cJSON *x = a ? cJSON_Parse(a) : NULL, *y = b ? cJSON_Parse(b) : NULL;
	bool alike =
	        x && y && cJSON_GetArraySize(x) == cJSON_GetArraySize(y) && partners(x, y) && partners(y, x);

	cJSON_Delete(x);
	cJSON_Delete(y);
	return alike;
}

/* {"low","high","counts"} of such products: a value may be in the next bin. */
static bool binned_alike(const char *a, const char *b)
{
	cJSON *x = a ? cJSON_Parse(a) : NULL, *y = b ? cJSON_Parse(b) : NULL;
	const cJSON *p = cJSON_GetObjectItem(x, "counts"), *q = cJSON_GetObjectItem(y, "counts");
	bool alike = p && q && cJSON_GetArraySize(p) == cJSON_GetArraySize(q);
	double apart = 0, total = 0, total_again = 0;

	for (int i = 0; i < 2 && alike; i++) {
		const char *name = i ? "high" : "low";
		const cJSON *m = cJSON_GetObjectItem(x, name), *n = cJSON_GetObjectItem(y, name);

		alike = cJSON_IsNumber(m) && cJSON_IsNumber(n) && near(m->valuedouble, n->valuedouble, 1e-5);
	}
	p = p ? p->child : NULL;
	q = q ? q->child : NULL;
	for (; p && q && alike; p = p->next, q = q->next) {
		apart += fabs(p->valuedouble - q->valuedouble);
		total += p->valuedouble;
		total_again += q->valuedouble;
	}
	cJSON_Delete(x);
	cJSON_Delete(y);
	return alike && total == total_again && apart <= 2 + total * 1e-3;
}

static bool same_value(sqlite3_stmt *a, sqlite3_stmt *b, int i)
{
	static const char *const sums[] = { "sum1", "sum2", "sum3", "sum4", NULL };
	static const char *const products[] = { "neighbours", "top_logits", "bottom_logits", NULL };
	const char *name = sqlite3_column_name(a, i);
	int type = sqlite3_column_type(a, i), n;

	if (type != sqlite3_column_type(b, i))
		return false;
	if (type == SQLITE_NULL)
		return true;
	if (type == SQLITE_INTEGER)
		return sqlite3_column_int64(a, i) == sqlite3_column_int64(b, i);
	if (type == SQLITE_FLOAT && is_among(name, sums))
		return near(sqlite3_column_double(a, i), sqlite3_column_double(b, i), 1e-12);
	if (type == SQLITE_FLOAT)
		return sqlite3_column_double(a, i) == sqlite3_column_double(b, i);
	if (type == SQLITE_TEXT && is_among(name, products))
		return ranked_alike((const char *)sqlite3_column_text(a, i),
		                    (const char *)sqlite3_column_text(b, i));
	if (type == SQLITE_TEXT && strcmp(name, "logit_histogram") == 0)
		return binned_alike((const char *)sqlite3_column_text(a, i),
		                    (const char *)sqlite3_column_text(b, i));
	n = sqlite3_column_bytes(a, i);
	return n == sqlite3_column_bytes(b, i) &&
	       (n == 0 || memcmp(sqlite3_column_blob(a, i), sqlite3_column_blob(b, i), (size_t)n) == 0);
}

/* What the caller did not give the index made again, or what stores had not at first, cannot be compared. */
static bool not_made(sqlite3_stmt *stored, sqlite3_stmt *again, int i)
{
	static const char *const given[] = { "top_logits", "bottom_logits", "logit_histogram", NULL };
	const char *name = sqlite3_column_name(again, i);

	if (strcmp(name, "behaviour") == 0)
		return sqlite3_column_type(stored, i) == SQLITE_NULL;
	return sqlite3_column_type(again, i) == SQLITE_NULL && is_among(name, given);
}

static void compare_row(store_verify *v, const table *t, sqlite3_stmt *stored, sqlite3_stmt *again)
{
	char what[128], left[64], right[64];

	for (int i = t->n_keys; i < sqlite3_column_count(stored); i++) {
		int a = sqlite3_column_type(stored, i), b = sqlite3_column_type(again, i);

		if (not_made(stored, again, i) || same_value(stored, again, i))
			continue;
		snprintf(what, sizeof(what), "%s.%s", t->name, sqlite3_column_name(stored, i));
		if (a == b && (a == SQLITE_BLOB || a == SQLITE_TEXT)) {
			verify_bytes(v, what, place(t, stored), sqlite3_column_blob(stored, i),
			             (size_t)sqlite3_column_bytes(stored, i), sqlite3_column_blob(again, i),
			             (size_t)sqlite3_column_bytes(again, i));
			continue;
		}
		describe(left, sizeof(left), stored, i);
		describe(right, sizeof(right), again, i);
		verify_differs(v, what, place(t, stored), left, right);
	}
}

/* ---- All rows of a table ---- */

static int order_of(const table *t, sqlite3_stmt *a, sqlite3_stmt *b)
{
	for (int i = 0; i < t->n_keys; i++) {
		int64_t x = sqlite3_column_int64(a, i), y = sqlite3_column_int64(b, i);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return 0;
}

static int begin_read(sqlite3_stmt **out, bool *row, store *s, const table *t, int64_t source, error *err)
{
	int rc = store_prepare(out, s, t->sql, err);

	if (rc == 0)
		rc = store_bind(s, *out, err, "i", source);
	return rc == 0 ? store_step(s, *out, row, err) : rc;
}

static int compare_table(store_verify *v, const table *t, int64_t source_again, error *err)
{
	sqlite3_stmt *a = NULL, *b = NULL;
	bool has_a = false, has_b = false;
	uint64_t n = 0;
	int rc = begin_read(&a, &has_a, v->s, t, v->r.id, err);

	if (rc == 0)
		rc = begin_read(&b, &has_b, v->again, t, source_again, err);
	while (rc == 0 && (has_a || has_b)) {
		int order = !has_a ? 1 : !has_b ? -1 : order_of(t, a, b);

		if (order < 0)
			verify_differs(v, t->name, place(t, a), "a row", "none");
		else if (order > 0)
			verify_differs(v, t->name, place(t, b), "none", "a row");
		else
			compare_row(v, t, a, b);
		n++;
		if (order <= 0)
			rc = store_step(v->s, a, &has_a, err);
		if (rc == 0 && order >= 0)
			rc = store_step(v->again, b, &has_b, err);
	}
	verify_count(v, t->name, n);
	sqlite3_finalize(a);
	sqlite3_finalize(b);
	return rc;
}

/* Mean, deviation and so on must be what the stored sums give. */
static int compare_moments(store_verify *v, error *err)
{
	static const char *const names[] = { "feature.mean_act", "feature.std_act", "feature.skewness",
		                             "feature.kurtosis" };
	sqlite3_stmt *st = NULL;
	char left[64], right[64];
	int rc = store_prepare(
	        &st, v->s,
	        "SELECT n_fires, sum1, sum2, sum3, sum4, mean_act, std_act, skewness, kurtosis, feature"
	        " FROM feature WHERE source_id = ?1",
	        err);

	if (rc == 0)
		rc = store_bind(v->s, st, err, "i", v->r.id);
	while (store_next(&rc, v->s, st, err)) {
		feature f = { 0 };

		f.fires = (uint64_t)sqlite3_column_int64(st, 0);
		for (int i = 0; i < 4; i++)
			f.sum[i] = sqlite3_column_double(st, 1 + i);
		moments m = feature_moments(&f);
		double want[] = { m.mean, m.std, m.skewness, m.kurtosis };

		for (int i = 0; i < 4; i++) {
			bool none = sqlite3_column_type(st, 5 + i) == SQLITE_NULL;

			if (isnan(want[i]) ? none : !none && sqlite3_column_double(st, 5 + i) == want[i])
				continue;
			describe(left, sizeof(left), st, 5 + i);
			snprintf(right, sizeof(right), "%.17g", want[i]);
			verify_differs(v, names[i], (verify_place){ sqlite3_column_int64(st, 9), -1, -1 },
			               left, isnan(want[i]) ? "NULL" : right);
		}
	}
	sqlite3_finalize(st);
	return rc;
}

int verify_tables(store_verify *v, int64_t source_again, bool vectors, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(tables) && rc == 0; i++) {
		if (vectors || strcmp(tables[i].name, "vector") != 0)
			rc = compare_table(v, &tables[i], source_again, err);
	}
	return rc == 0 ? compare_moments(v, err) : rc;
}
