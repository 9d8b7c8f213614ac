/* report_agree: how scorers agree over features, and judges of one scorer over windows. */
#include <math.h>
#include <stdlib.h>

#include "explain/judged.h"
#include "explain/report_parts.h"

int report_by_feature(const report_score *a, const report_score *b)
{
	if (a->source != b->source)
		return a->source < b->source ? -1 : 1;
	return (a->row->feature > b->row->feature) - (a->row->feature < b->row->feature);
}

/* ---- Of features ------------------------------------------------------------------------------------------------------ */

/* Values of the features that both series scored, into x and y. */
static size_t in_common(double *x, double *y, const report_series *a, const report_series *b)
{
	size_t n = 0;

	for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
		int order = report_by_feature(a->score[i], b->score[k]);

		if (order == 0) {
			x[n] = a->score[i]->row->value;
			y[n++] = b->score[k]->row->value;
		}
		i += order <= 0;
		k += order >= 0;
	}
	return n;
}

/* ---- Of windows ------------------------------------------------------------------------------------------------------- */

typedef struct answers {
	uint8_t *a, *b;
	uint32_t *cluster;
	size_t n, room_a, room_b, room_cluster;
	size_t apart; /* windows that only one of them answered */
	size_t table[2][2];
} answers;

static void answers_clear(answers *x)
{
	free(x->a);
	free(x->b);
	free(x->cluster);
}

static int answers_add(answers *x, int a, int b, uint32_t cluster, error *err)
{
	if (mem_grow(&x->a, &x->room_a, x->n + 1, 1) < 0 || mem_grow(&x->b, &x->room_b, x->n + 1, 1) < 0 ||
	    mem_grow(&x->cluster, &x->room_cluster, x->n + 1, sizeof(*x->cluster)) < 0)
		return error_nomem(err, "answers");
	x->a[x->n] = (uint8_t)a;
	x->b[x->n] = (uint8_t)b;
	x->cluster[x->n++] = cluster;
	if (a < 2 && b < 2)
		x->table[a][b]++;
	return 0;
}

static int compare_items(answers *x, const report_score *a, const report_score *b, uint32_t cluster,
                         error *err)
{
	judged_item *p = NULL, *q = NULL;
	size_t n = 0, m = 0, i = 0, k = 0;
	int rc = judged_read(&p, &n, a->details, err);

	if (rc == 0)
		rc = judged_read(&q, &m, b->details, err);
	while (rc == 0 && i < n && k < m) {
		int order = (p[i].key > q[k].key) - (p[i].key < q[k].key);
		int u = judged_class(a->row->scorer, p[i].answer),
		    v = judged_class(a->row->scorer, q[k].answer);

		if (order == 0 && u >= 0 && v >= 0)
			rc = answers_add(x, u, v, cluster, err);
		x->apart += order != 0;
		i += order <= 0;
		k += order >= 0;
	}
	x->apart += n - i + m - k;
	free(p);
	free(q);
	return rc;
}

/* Of two series of one scorer. */
static int put_kappa(cJSON *to, const report_series *a, const report_series *b, bool *failed, error *err)
{
	answers x = { 0 };
	stats_kappa k;
	int rc = 0;

	for (size_t i = 0, j = 0; i < a->n && j < b->n && rc == 0;) {
		int order = report_by_feature(a->score[i], b->score[j]);

		if (order == 0)
			rc = compare_items(&x, a->score[i], b->score[j], (uint32_t)i, err);
		i += order <= 0;
		j += order >= 0;
	}
	if (rc == 0)
		rc = stats_kappa_of(&k, x.a, x.b, x.cluster, x.n, REPORT_LEVEL, err);
	if (rc == 0 && (x.n || x.apart)) {
		cJSON *at = put_object(to, "kappa", failed);

		put_value(at, &k.kappa, failed);
		put_number(at, "n", (double)k.n, failed);
		put_number(at, "features", (double)k.clusters, failed);
		put_number(at, "apart", (double)x.apart, failed);
		put_number(at, "agree", k.observed, failed);
		put_number(at, "by_chance", k.chance, failed);
		put_number(at, "both_yes", (double)x.table[1][1], failed);
		put_number(at, "a_yes", (double)x.table[1][0], failed);
		put_number(at, "b_yes", (double)x.table[0][1], failed);
		put_number(at, "both_no", (double)x.table[0][0], failed);
	}
	answers_clear(&x);
	return rc;
}

/* ---- Both ---------------------------------------------------------------------------------------------------------------- */

static int put_pair(cJSON *one, report *r, size_t a, size_t b, bool *failed, error *err)
{
	const report_series *s = &r->series[a], *t = &r->series[b];
	double *x = r->room, *y = r->room + r->n;
	size_t n = in_common(x, y, s, t);
	stats_value pearson, spearman;
	stats_mean d;
	int rc = stats_relate(&pearson, &spearman, x, y, n, REPORT_LEVEL, err);

	for (size_t i = 0; i < n; i++)
		x[i] -= y[i];
	d = stats_mean_of(x, n, REPORT_LEVEL);
	put_number(one, "a", (double)a, failed);
	put_number(one, "b", (double)b, failed);
	put_number(one, "n", (double)n, failed);
	put_value(put_object(one, "pearson", failed), &pearson, failed);
	put_value(put_object(one, "spearman", failed), &spearman, failed);
	put_mean(put_object(one, "difference", failed), &d, failed);
	if (rc < 0 || strcmp(s->scorer, t->scorer) != 0)
		return rc;
	if (judged_has_class(s->scorer))
		return put_kappa(one, s, t, failed, err);
	put_text(one, "no_kappa", "its answers are numbers without a yes or a no", failed);
	return 0;
}

int report_put_agreement(cJSON *list, report *r, bool *failed, error *err)
{
	int rc = 0;

	for (size_t a = 0; a < r->n_series && rc == 0; a++)
		for (size_t b = a + 1; b < r->n_series && rc == 0; b++)
			rc = put_pair(put_object(list, NULL, failed), r, a, b, failed, err);
	return rc;
}
