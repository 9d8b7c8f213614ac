/* Stores to merge. */
#include "tests/support_merge.h"

char merge_b[FILE_PATH_MAX], merge_c[FILE_PATH_MAX], merge_out[FILE_PATH_MAX];

bool merge_even(uint32_t i)
{
	return i % 2 == 0;
}

bool merge_odd(uint32_t i)
{
	return i % 2 == 1;
}

store_index_opts merge_options(const char *name, const char *dump, bool corpus)
{
	store_index_opts o = corpus_options(name);

	o.dump_sha256 = dump;
	o.n_top = 2;
	o.n_samples = 3;
	o.n_random = 4;
	o.corpus = corpus;
	o.config = "{\"top\":2}";
	return o;
}

void merge_make(const char *path, const store_index_opts *o, bool (*take)(uint32_t i))
{
	store *s = NULL;

	OK(store_open(&s, path, STORE_CREATE, &corpus_err));
	OK(corpus_index_some(s, o, MERGE_CONTEXTS, take));
	store_close(s);
}

void merge_setup(void)
{
	corpus_setup();
	OK(file_join(merge_b, corpus_folder, "b.db", &corpus_err));
	OK(file_join(merge_c, corpus_folder, "c.db", &corpus_err));
	OK(file_join(merge_out, corpus_folder, "merged.db", &corpus_err));
}

void merge_run(const char *path, const char *sql)
{
	store *s = NULL;

	OK(store_open(&s, path, STORE_WRITE, &corpus_err));
	OK(store_exec(s, sql, &corpus_err));
	store_close(s);
}

int merge_try(const char *to, const char *const *paths, size_t n, const store_merge_opts *given)
{
	store_merge_opts o = given ? *given : (store_merge_opts){ 0 };
	cJSON *page = NULL;
	int rc;

	o.argv = "[\"gloss\",\"merge\"]";
	rc = store_merge(&page, to, paths, n, &o, &corpus_err);
	ck_assert((rc == 0) == (page != NULL));
	cJSON_Delete(page);
	return rc;
}

int merge_entries(void)
{
	return support_entries(corpus_folder);
}

#define SAID(time, text)                                                                                     \
	"INSERT INTO explanation (source_id, feature, text, method, created) VALUES (1, 2, '" text           \
	"', 'person', '2026-01-01T00:00:" time "Z');"

const char *const merge_said_here =
        "INSERT INTO job VALUES (7, 'u1', 'explain', 1, '{\"n\":1}', '{}', 'http://a', 'm', '{}', 'running', "
        "NULL, "
        "'2026-01-01T00:00:05Z', NULL);"
        "INSERT INTO task (id, job_id, feature, state, lease, updated) VALUES (3, 7, 2, 'running', '1 2 3', "
        "'then');"
        "INSERT INTO task (id, job_id, feature, state, updated) VALUES (4, 7, 5, 'done', 'then');"
        "INSERT INTO request VALUES (3, 0, 'key a', '[]');" SAID("01", "first") SAID("20", "third")
                SAID("19",
                     "fourth") "UPDATE explanation SET task_id = 4 WHERE text = 'third';"
                               "INSERT INTO score (explanation_id, scorer, judge, value, n_positive, "
                               "n_negative, n_failed, details, task_id, "
                               "created) SELECT id, 'detection', 'here', 0.5, 1, 1, 0, '{}', 4, "
                               "'2026-01-01T00:00:21Z' FROM explanation WHERE "
                               "text = 'third';"
                               "INSERT INTO list VALUES (5, 'both', '2026-01-02'), (6, 'here', '2026-01-02');"
                               "INSERT INTO list_item VALUES (5, 1, 2), (5, 1, 3), (6, 1, 9);"
                               "INSERT INTO note VALUES (2, 1, 2, 'note of here', '2026-01-03'); INSERT INTO "
                               "meta VALUES ('k', 'here')";
const char *const merge_said_there =
        "INSERT INTO job VALUES (7, 'u2', 'score', 1, '{}', '{}', NULL, NULL, NULL, 'done', NULL, "
        "'2026-01-01T00:00:02Z', "
        "'2026-01-01T00:00:03Z');" SAID("10", "second")
                SAID("30",
                     "fifth") "INSERT INTO task (id, job_id, feature, explanation_id, state, updated) VALUES "
                              "(3, 7, 2, 1, 'done', 'now');"
                              "INSERT INTO score (explanation_id, scorer, judge, value, n_positive, "
                              "n_negative, n_failed, details, task_id, "
                              "created) SELECT id, 'detection', 'there', 0.75, 1, 1, 0, '{}', 3, "
                              "'2026-01-01T00:00:11Z' FROM explanation WHERE "
                              "text = 'second';"
                              "INSERT INTO golden SELECT id, 'detection', 77, 'firing', '[]', 1, 'then' "
                              "FROM explanation WHERE text = 'second';"
                              "UPDATE explanation SET withdrawn = 'soon' WHERE text = 'fifth';"
                              "INSERT INTO list VALUES (1, 'there', '2026-01-01'), (2, 'both', '2026-01-01');"
                              "INSERT INTO list_item VALUES (2, 1, 3), (2, 1, 4), (1, 1, 8);"
                              "INSERT INTO note VALUES (2, 1, 2, 'note of there', '2026-01-01'); INSERT INTO "
                              "meta VALUES ('k', 'there')";
