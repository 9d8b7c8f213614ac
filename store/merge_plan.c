/* Which sources become one, and whether they can. */
#include "store/merge.h"

#include <math.h>

static int add_part(merge_source *src, merge_input *in, const store_record *r, error *err)
{
	if (mem_grow(&src->parts, &src->cap, src->n + 1, sizeof(*src->parts)) < 0)
		return error_nomem(err, "sources");
	src->parts[src->n++] = (merge_part){ in, *r };
	return 0;
}

static int add_source(merge *m, const char *name, merge_input *in, const store_record *r, error *err)
{
	for (size_t i = 0; i < m->n_sources; i++) {
		if (strcmp(m->sources[i].name, name) == 0)
			return add_part(&m->sources[i], in, r, err);
	}
	if (mem_grow(&m->sources, &m->sources_cap, m->n_sources + 1, sizeof(*m->sources)) < 0)
		return error_nomem(err, "sources");
	m->sources[m->n_sources] = (merge_source){ .name = name };
	return add_part(&m->sources[m->n_sources++], in, r, err);
}

/* Names of the input's sources, in order of their ids. */
static int read_names(const char ***names, size_t *n, merge *m, merge_input *in, error *err)
{
	sqlite3_stmt *st = NULL;
	size_t cap = 0;
	int rc = store_prepare(&st, in->s, "SELECT name FROM source ORDER BY id", err);

	*names = NULL;
	*n = 0;
	while (store_next(&rc, in->s, st, err)) {
		if (mem_grow(names, &cap, *n + 1, sizeof(**names)) < 0)
			rc = error_nomem(err, "sources");
		else
			rc = store_column_text(&(*names)[(*n)++], st, 0, &m->mem, err);
	}
	sqlite3_finalize(st);
	if (rc == 0 && *n == 0)
		rc = error_set(err, ERR_NOTFOUND, "'%s' holds no indexed SAE yet: run gloss index", in->path);
	return rc;
}

/* The name that a source gets: with --source, the one of that name, or else the only one, gets it. */
static int choose_name(const char **name, size_t *chosen, const merge *m, const merge_input *in,
                       const char *const *names, size_t n, size_t i, error *err)
{
	*name = names[i];
	if (!m->o->source)
		return 0;
	if (i == 0) {
		*chosen = n;
		for (size_t j = 0; j < n; j++)
			*chosen = strcmp(names[j], m->o->source) == 0 ? j : *chosen;
		if (*chosen == n && n > 1)
			return error_set(err, ERR_ARG,
			                 "'%s' holds %zu sources, and none of them is '%s': which is it?",
			                 in->path, n, m->o->source);
		*chosen = *chosen == n ? 0 : *chosen;
	}
	if (i == *chosen)
		*name = m->o->source;
	return 0;
}

static int plan_input(merge *m, merge_input *in, error *err)
{
	const char **names = NULL, *name = NULL;
	size_t n = 0, chosen = 0;
	int rc = read_names(&names, &n, m, in, err);

	for (size_t i = 0; i < n && rc == 0; i++) {
		store_record r;

		rc = choose_name(&name, &chosen, m, in, names, n, i, err);
		if (rc == 0)
			rc = store_record_get(&r, in->s, names[i], &m->mem, err);
		if (rc == 0)
			rc = add_source(m, name, in, &r, err);
	}
	free(names);
	return rc;
}

/* ---- Whether they can be one ---- */

static int differs(const merge_source *src, const merge_part *b, const char *what, const char *x,
                   const char *y, error *err)
{
	return error_set(err, ERR_ARG,
	                 "source '%s': %s is %.80s in '%s' and %.80s in '%s'; only equal ones can be joined",
	                 src->name, what, x ? x : "not known", src->parts[0].in->path, y ? y : "not known",
	                 b->in->path);
}

static int check_texts(const merge_source *src, const merge_part *b, error *err)
{
	const store_record *x = &src->parts[0].r, *y = &b->r;
	const struct {
		const char *what, *x, *y;
	} texts[] = {
		{ "weights_sha256", x->weights_sha256, y->weights_sha256 },
		{ "kind", x->kind, y->kind },
		{ "architecture", x->architecture, y->architecture },
		{ "tokenizer", x->tokenizer_sha256, y->tokenizer_sha256 },
		{ "sample_rule", x->sample_rule, y->sample_rule },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *p = texts[i].x, *q = texts[i].y;

		if ((p || q) && (!p || !q || strcmp(p, q) != 0))
			return differs(src, b, texts[i].what, p, q, err);
	}
	return 0;
}

static int check_numbers(const merge_source *src, const merge_part *b, error *err)
{
	const store_record *x = &src->parts[0].r, *y = &b->r;
	const struct {
		const char *what;
		double x, y;
	} numbers[] = {
		{ "n_features", x->n_features, y->n_features },
		{ "d_in", x->d_in, y->d_in },
		{ "before", x->before, y->before },
		{ "after", x->after, y->after },
		{ "n_top", x->n_top, y->n_top },
		{ "n_samples", x->n_samples, y->n_samples },
		{ "n_random", x->n_random, y->n_random },
		{ "corpus", x->corpus, y->corpus },
		{ "norm_limit", x->norm_limit, y->norm_limit },
	};
	char p[32], q[32];

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		if (numbers[i].x == numbers[i].y)
			continue;
		snprintf(p, sizeof(p), "%.9g", numbers[i].x);
		snprintf(q, sizeof(q), "%.9g", numbers[i].y);
		if (strcmp(numbers[i].what, "norm_limit") == 0)
			return error_set(
			        err, ERR_ARG,
			        "source '%s': rows with a norm over %s were left out in '%s', over %s in "
			        "'%s'; index both with the same --norm-limit",
			        src->name, p, src->parts[0].in->path, q, b->in->path);
		return differs(src, b, numbers[i].what, p, q, err);
	}
	if (x->n_samples == 0)
		return error_set(err, ERR_ARG,
		                 "source '%s' was indexed by version 1, whose samples cannot be joined",
		                 src->name);
	return 0;
}

static int thresholds_differ(const merge_source *src, const merge_part *b, error *err)
{
	return error_set(
	        err, ERR_ARG,
	        "source '%s': neurons fire over other thresholds in '%s' than in '%s'; index both with "
	        "--density 0 and one --threshold",
	        src->name, src->parts[0].in->path, b->in->path);
}

static bool is_none(const cJSON *option)
{
	return !option || (cJSON_IsArray(option) && cJSON_GetArraySize(option) == 0);
}

/* Which rows count, and where neurons fire, also hangs on these options of the index run. */
static int check_config(const merge_source *src, const merge_part *b, error *err)
{
	static const char *const names[] = { "exclude-tokens", "exclude-positions", "thresholds" };
	cJSON *x = cJSON_Parse(src->parts[0].r.config), *y = cJSON_Parse(b->r.config);
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(names) && rc == 0; i++) {
		const cJSON *p = cJSON_GetObjectItem(x, names[i]), *q = cJSON_GetObjectItem(y, names[i]);
		bool none = is_none(p) && is_none(q);

		if (!none && !cJSON_Compare(p, q, true)) {
			char *left = p ? json_print(p) : NULL, *right = q ? json_print(q) : NULL;

			rc = strcmp(names[i], "thresholds") == 0
			             ? thresholds_differ(src, b, err)
			             : differs(src, b, names[i], left ? left : "[]", right ? right : "[]",
			                       err);
			free(left);
			free(right);
		}
	}
	cJSON_Delete(x);
	cJSON_Delete(y);
	return rc;
}

static int check_dumps(const merge_source *src, const merge_part *a, const merge_part *b, error *err)
{
	for (size_t i = 0; i < a->r.n_dumps; i++) {
		for (size_t j = 0; j < b->r.n_dumps; j++) {
			if (strcmp(a->r.dumps[i], b->r.dumps[j]) == 0)
				return error_set(
				        err, ERR_ARG,
				        "source '%s': '%s' and '%s' both hold the dump %.12s...; a dump "
				        "must not count twice",
				        src->name, a->in->path, b->in->path, a->r.dumps[i]);
		}
	}
	return 0;
}

static int check_source(const merge_source *src, error *err)
{
	int rc = 0;

	for (size_t i = 1; i < src->n && rc == 0; i++) {
		rc = check_texts(src, &src->parts[i], err);
		for (size_t j = 0; j < i && rc == 0; j++)
			rc = check_dumps(src, &src->parts[j], &src->parts[i], err);
		if (rc == 0)
			rc = check_numbers(src, &src->parts[i], err);
		if (rc == 0)
			rc = check_config(src, &src->parts[i], err);
	}
	return rc;
}

int merge_plan(merge *m, error *err)
{
	int rc = 0;

	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = plan_input(m, &m->inputs[i], err);
	for (size_t i = 0; i < m->n_sources && rc == 0; i++)
		rc = check_source(&m->sources[i], err);
	return rc;
}
