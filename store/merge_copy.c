/* Tokenizers, and a source as it is. */
#include "store/merge.h"

/* ---- Tokenizers ---- */

static int copy_tokenizer(merge *m, merge_input *in, int64_t id, const char *digest, int64_t n_vocab,
                          error *err)
{
	const row_rule rule = { .column = "tokenizer_id" };
	row_rule rules[] = { rule };
	row_copy words = { .table = "vocab",
		           .where = "WHERE tokenizer_id = ?1 ORDER BY token",
		           .bound = id,
		           .verb = "INSERT",
		           .rules = rules,
		           .n_rules = 1 };
	sqlite3_stmt *add = NULL;
	bool row = false;
	int64_t fresh = 0;
	int rc =
	        store_prepare(&add, m->out,
	                      "INSERT INTO tokenizer (sha256, n_vocab) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
	                      " RETURNING id",
	                      err);

	if (rc == 0)
		rc = store_bind(m->out, add, err, "ti", digest, n_vocab);
	if (rc == 0)
		rc = store_step(m->out, add, &row, err);
	if (rc == 0 && row)
		fresh = sqlite3_column_int64(add, 0);
	sqlite3_finalize(add);
	if (rc < 0 || !fresh)
		return rc;
	rules[0].value = fresh;
	return merge_rows(&words, m, in, err);
}

int merge_copy_tokenizers(merge *m, merge_input *in, error *err)
{
	sqlite3_stmt *read = NULL, *find = NULL;
	bool row = true;
	int rc = store_prepare(&read, in->s, "SELECT id, sha256, n_vocab FROM tokenizer ORDER BY id", err);

	if (rc == 0)
		rc = store_prepare(&find, m->out, "SELECT id FROM tokenizer WHERE sha256 = ?1", err);
	while (store_next(&rc, in->s, read, err)) {
		const char *digest;

		digest = (const char *)sqlite3_column_text(read, 1);
		rc = copy_tokenizer(m, in, sqlite3_column_int64(read, 0), digest,
		                    sqlite3_column_int64(read, 2), err);
		if (rc == 0)
			rc = store_bind(m->out, find, err, "t", digest);
		if (rc == 0)
			rc = store_step(m->out, find, &row, err);
		if (rc == 0)
			rc = id_map_add(&in->maps[MAP_TOKENIZER], sqlite3_column_int64(read, 0),
			                sqlite3_column_int64(find, 0), err);
		sqlite3_reset(find);
	}
	sqlite3_finalize(read);
	sqlite3_finalize(find);
	return rc;
}

/* ---- A source as it is ---- */

static int copy_row(int64_t *id, merge *m, const merge_source *src, error *err)
{
	const merge_part *part = &src->parts[0];
	int64_t fresh;
	int rc = store_int(&fresh, m->out, "SELECT ifnull(max(id), 0) + 1 FROM source", 1, err);
	const row_rule rules[] = { { .column = "id", .value = fresh },
		                   { .column = "tokenizer_id", .map = &part->in->maps[MAP_TOKENIZER] } };
	row_copy c = { .table = "source",
		       .where = "WHERE id = ?1",
		       .bound = part->r.id,
		       .verb = "INSERT",
		       .rules = rules,
		       .n_rules = ARRAY_LEN(rules) };
	sqlite3_stmt *st = NULL;

	if (rc == 0)
		rc = merge_rows(&c, m, part->in, err);
	if (rc == 0)
		rc = store_prepare(&st, m->out, "UPDATE source SET name = ?2 WHERE id = ?1", err);
	if (rc == 0)
		rc = store_bind(m->out, st, err, "it", fresh, src->name);
	if (rc == 0)
		rc = store_run(m->out, st, err);
	sqlite3_finalize(st);
	*id = fresh;
	return rc == 0 ? id_map_add(&part->in->maps[MAP_SOURCE], part->r.id, fresh, err) : rc;
}

int merge_copy_source(merge *m, merge_source *src, error *err)
{
	static const char *const tables[] = { "feature",        "feature_detail", "vector",
		                              "source_context", "firing",         "example" };
	merge_input *in = src->parts[0].in;
	const row_rule context[] = { { .column = "document_id", .map = &in->maps[MAP_DOCUMENT] },
		                     { .column = "tokenizer_id", .map = &in->maps[MAP_TOKENIZER] } };
	row_copy contexts = {
		.table = "context",
		.where = "WHERE id IN (SELECT context_id FROM source_context WHERE source_id = ?1)",
		.bound = src->parts[0].r.id,
		.verb = "INSERT OR IGNORE",
		.rules = context,
		.n_rules = ARRAY_LEN(context)
	};
	row_rule source = { .column = "source_id" };
	int rc = copy_row(&source.value, m, src, err);

	if (rc == 0)
		rc = merge_rows(&contexts, m, in, err);
	for (size_t i = 0; i < ARRAY_LEN(tables) && rc == 0; i++) {
		row_copy c = { .table = tables[i],
			       .where = "WHERE source_id = ?1",
			       .bound = src->parts[0].r.id,
			       .verb = "INSERT",
			       .rules = &source,
			       .n_rules = 1 };

		rc = merge_rows(&c, m, in, err);
	}
	return rc;
}
