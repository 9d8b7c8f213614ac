/* Documents of several stores: one that two of them have is one, with the groups of both; so are the groups of contexts of a
 * joined source that share a run of tokens. Such text must not be split over label, select and report. */
#include "store/index_internal.h"
#include "store/merge.h"

enum { COMMON_RUN = 24 }; /* as gloss index */

typedef struct document {
	int64_t key;
	uint32_t input, group; /* group: in keys */
	int64_t group_key;     /* in its store */
} document;

struct merge_groups {
	document *documents; /* (n) by key */
	size_t n, cap;
	int64_t *keys; /* (n_keys) group keys, ascending */
	size_t n_keys;
	uint32_t *parent; /* (n_keys) sets of groups: the root has the least key */
};

static int by_key(const void *a, const void *b)
{
	const document *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->input < y->input ? -1 : x->input > y->input;
}

static int by_number(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int read_documents(merge_groups *g, store *s, uint32_t input, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, "SELECT key, group_key FROM document", err);

	while (store_next(&rc, s, st, err)) {
		if (mem_grow(&g->documents, &g->cap, g->n + 1, sizeof(*g->documents)) < 0)
			rc = error_nomem(err, "documents");
		else
			g->documents[g->n++] = (document){ .key = sqlite3_column_int64(st, 0),
				                           .group_key = sqlite3_column_int64(st, 1),
				                           .input = input };
	}
	sqlite3_finalize(st);
	return rc;
}

/* The distinct group keys, and each document's number among them. */
static int number_groups(merge_groups *g, error *err)
{
	if (g->n >= UINT32_MAX)
		return error_set(err, ERR_LIMIT, "%zu documents are too many", g->n);
	g->keys = malloc((g->n + 1) * sizeof(*g->keys));
	g->parent = malloc((g->n + 1) * sizeof(*g->parent));
	if (!g->keys || !g->parent)
		return error_nomem(err, "documents");
	for (size_t i = 0; i < g->n; i++)
		g->keys[i] = g->documents[i].group_key;
	qsort(g->keys, g->n, sizeof(*g->keys), by_number);
	for (size_t i = 0; i < g->n; i++) {
		if (i == 0 || g->keys[i] != g->keys[g->n_keys - 1])
			g->keys[g->n_keys++] = g->keys[i];
	}
	for (uint32_t i = 0; i < g->n_keys; i++)
		g->parent[i] = i;
	for (size_t i = 0; i < g->n; i++) {
		const int64_t *at =
		        bsearch(&g->documents[i].group_key, g->keys, g->n_keys, sizeof(*g->keys), by_number);

		g->documents[i].group = (uint32_t)(at - g->keys);
	}
	qsort(g->documents, g->n, sizeof(*g->documents), by_key);
	return 0;
}

static const document *find_document(const merge_groups *g, int64_t key)
{
	size_t low = 0, high = g->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (g->documents[middle].key < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < g->n && g->documents[low].key == key ? &g->documents[low] : NULL;
}

/* ---- Common runs within a joined source ---- */

typedef struct placed { /* a context */
	int64_t id;
	uint32_t input, group;
} placed;

typedef struct contexts {
	merge *m;
	placed *list; /* (n) */
	size_t n, cap;
	uint32_t longest;
	uint64_t n_tokens;
	sqlite3_stmt **tokens; /* (inputs) of a context by id */
} contexts;

static int add_contexts(contexts *c, const merge_part *part, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc =
	        store_prepare(&st, part->in->s,
	                      "SELECT c.id, d.key, c.n_tokens FROM source_context x JOIN context c ON c.id = "
	                      "x.context_id JOIN document d ON d.id = c.document_id WHERE x.source_id = ?1",
	                      err);

	if (rc == 0)
		rc = store_bind(part->in->s, st, err, "i", part->r.id);
	while (store_next(&rc, part->in->s, st, err)) {
		uint32_t n;

		if (mem_grow(&c->list, &c->cap, c->n + 1, sizeof(*c->list)) < 0) {
			rc = error_nomem(err, "contexts");
			break;
		}
		n = (uint32_t)sqlite3_column_int64(st, 2);
		c->longest = n > c->longest ? n : c->longest;
		c->n_tokens += n;
		c->list[c->n++] =
		        (placed){ .id = sqlite3_column_int64(st, 0),
			          .input = (uint32_t)(part->in - c->m->inputs),
			          .group = find_document(c->m->groups, sqlite3_column_int64(st, 1))->group };
	}
	sqlite3_finalize(st);
	return rc;
}

static int read_tokens(void *payload, uint32_t context, uint32_t *tokens, uint32_t *n, error *err)
{
	contexts *c = payload;
	const placed *at = &c->list[context];
	const merge_input *in = &c->m->inputs[at->input];
	sqlite3_stmt *st = c->tokens[at->input];
	const unsigned char *blob;
	bool row = false;
	int rc = merge_step(c->m, 0, err);

	if (rc == 0)
		rc = store_bind(in->s, st, err, "i", at->id);
	if (rc == 0)
		rc = store_step(in->s, st, &row, err);
	if (rc < 0)
		return rc;
	blob = sqlite3_column_blob(st, 0);
	*n = (uint32_t)sqlite3_column_bytes(st, 0) / 4;
	if (!row || *n > c->longest)
		return error_set(err, ERR_FORMAT, "'%s' is damaged: context %lld", in->path,
		                 (long long)at->id);
	for (uint32_t i = 0; i < *n; i++)
		tokens[i] = load_u32le(blob + (size_t)i * 4);
	sqlite3_reset(st);
	return 0;
}

/* Contexts of one group are together from the start. */
static int join_contexts(contexts *c, error *err)
{
	merge_groups *g = c->m->groups;
	const token_runs from = { (uint32_t)c->n, c->longest, c->n_tokens, read_tokens, c };
	uint32_t *parent = malloc((c->n + 1) * sizeof(*parent)),
	         *first = malloc((g->n_keys + 1) * sizeof(*first));
	int rc = parent && first ? 0 : error_nomem(err, "contexts");

	if (rc == 0)
		memset(first, 0xff, (g->n_keys + 1) * sizeof(*first));
	for (uint32_t i = 0; i < c->n && rc == 0; i++) {
		uint32_t *of = &first[sets_find(g->parent, c->list[i].group)];

		parent[i] = i;
		if (*of == UINT32_MAX)
			*of = i;
		else
			sets_join(parent, *of, i);
	}
	if (rc == 0)
		rc = token_runs_join(parent, &from, COMMON_RUN, err);
	for (uint32_t i = 0; i < c->n && rc == 0; i++)
		sets_join(g->parent, c->list[i].group, c->list[sets_find(parent, i)].group);
	free(parent);
	free(first);
	return rc;
}

static int join_source(merge *m, const merge_source *src, error *err)
{
	contexts c = { .m = m, .tokens = calloc(m->n_inputs, sizeof(*c.tokens)) };
	int rc = c.tokens ? 0 : error_nomem(err, "contexts");

	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = store_prepare(&c.tokens[i], m->inputs[i].s, "SELECT tokens FROM context WHERE id = ?1",
		                   err);
	for (size_t i = 0; i < src->n && rc == 0; i++)
		rc = add_contexts(&c, &src->parts[i], err);
	if (rc == 0 && c.n >= UINT32_MAX)
		rc = error_set(err, ERR_LIMIT, "%zu contexts are too many", c.n);
	if (rc == 0)
		rc = join_contexts(&c, err);
	for (size_t i = 0; i < m->n_inputs && c.tokens; i++)
		sqlite3_finalize(c.tokens[i]);
	free(c.tokens);
	free(c.list);
	return rc;
}

/* ---- All of it ---- */

int merge_groups_find(merge *m, error *err)
{
	merge_groups *g = calloc(1, sizeof(*g));
	int rc = 0;

	m->groups = g;
	if (!g)
		return error_nomem(err, "documents");
	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = read_documents(g, m->inputs[i].s, (uint32_t)i, err);
	if (rc == 0)
		rc = number_groups(g, err);
	for (size_t i = 1; i < g->n && rc == 0; i++) {
		if (g->documents[i].key == g->documents[i - 1].key)
			sets_join(g->parent, g->documents[i].group, g->documents[i - 1].group);
	}
	for (size_t i = 0; i < m->n_sources && rc == 0; i++) {
		if (m->sources[i].n > 1)
			rc = join_source(m, &m->sources[i], err);
	}
	return rc;
}

void merge_groups_free(merge_groups *g)
{
	if (!g)
		return;
	free(g->documents);
	free(g->keys);
	free(g->parent);
	free(g);
}

static int64_t new_group(const merge_groups *g, const document *d)
{
	return g->keys[sets_find(g->parent, d->group)];
}

int64_t merge_group_of(const merge *m, int64_t key)
{
	const document *d = find_document(m->groups, key);

	return d ? new_group(m->groups, d) : 0;
}

/* Groups that are one now, and documents that have another part than in their store. */
static void report(merge *m)
{
	const merge_groups *g = m->groups;
	uint64_t joined = 0, changed[3][3] = { { 0 } };
	cJSON *list;

	for (uint32_t i = 0; i < g->n_keys; i++)
		joined += sets_find(g->parent, i) != i;
	for (size_t i = 0; i < g->n; i++)
		changed[store_part_of((uint64_t)g->documents[i].group_key)]
		       [store_part_of((uint64_t)new_group(g, &g->documents[i]))]++;
	json_put_number(m->report, "groups_joined", (double)joined, &m->failed);
	list = json_put_array(m->report, "parts_changed", &m->failed);
	for (int from = 0; from < 3; from++) {
		for (int to = 0; to < 3; to++) {
			cJSON *one;

			if (from == to || changed[from][to] == 0)
				continue;
			one = json_put_object(list, NULL, &m->failed);
			json_put_text(one, "from", store_part_name((store_part)from), &m->failed);
			json_put_text(one, "to", store_part_name((store_part)to), &m->failed);
			json_put_number(one, "documents", (double)changed[from][to], &m->failed);
		}
	}
}

static int map_documents(merge *m, merge_input *in, error *err)
{
	sqlite3_stmt *read = NULL, *find = NULL;
	bool row = true;
	int rc = store_prepare(&read, in->s, "SELECT id, key FROM document ORDER BY id", err);

	if (rc == 0)
		rc = store_prepare(&find, m->out, "SELECT id FROM document WHERE key = ?1", err);
	while (store_next(&rc, in->s, read, err)) {
		rc = store_bind(m->out, find, err, "i", (int64_t)sqlite3_column_int64(read, 1));
		if (rc == 0)
			rc = store_step(m->out, find, &row, err);
		if (rc == 0)
			rc = id_map_add(&in->maps[MAP_DOCUMENT], sqlite3_column_int64(read, 0),
			                sqlite3_column_int64(find, 0), err);
		sqlite3_reset(find);
	}
	sqlite3_finalize(read);
	sqlite3_finalize(find);
	return rc;
}

int merge_groups_write(merge *m, error *err)
{
	const merge_groups *g = m->groups;
	sqlite3_stmt *add = NULL;
	int rc = store_prepare(&add, m->out,
	                       "INSERT INTO document (key, group_key, part) VALUES (?1, ?2, ?3)", err);

	for (size_t i = 0; i < g->n && rc == 0; i++) {
		int64_t group = new_group(g, &g->documents[i]);

		if (i > 0 && g->documents[i].key == g->documents[i - 1].key)
			continue;
		rc = store_bind(m->out, add, err, "iit", g->documents[i].key, group,
		                store_part_name(store_part_of((uint64_t)group)));
		if (rc == 0)
			rc = store_run(m->out, add, err);
		if (rc == 0)
			rc = merge_step(m, 1, err);
	}
	sqlite3_finalize(add);
	for (size_t i = 0; i < m->n_inputs && rc == 0; i++)
		rc = map_documents(m, &m->inputs[i], err);
	report(m);
	return rc;
}
