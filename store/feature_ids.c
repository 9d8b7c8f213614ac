/* Lists of features: "all", "1,5,10-20,@NAME". */
#include "store/feature_query.h"

#include <ctype.h>

/* A number of the list at *at, which is moved behind it. */
static int list_number(uint32_t *out, const char *list, const char **at, uint32_t n_features, error *err)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)**at))
		return error_set(err, ERR_ARG, "feature list '%.100s': character %zu: a number was expected",
		                 list, (size_t)(*at - list) + 1);
	value = strtoull(*at, &end, 10);
	if (value >= n_features)
		return error_set(err, ERR_ARG,
		                 "feature list '%.100s': %.*s is out of range: the source has features 0-%u",
		                 list, (int)(end - *at < 20 ? end - *at : 20), *at, n_features - 1);
	*at = end;
	*out = (uint32_t)value;
	return 0;
}

/* "5" or "5-9" */
static int read_range(bool *wanted, const char *list, const char **at, uint32_t n_features, error *err)
{
	uint32_t first, last;
	int rc = list_number(&first, list, at, n_features, err);

	last = first;
	if (rc == 0 && **at == '-') {
		++*at;
		rc = list_number(&last, list, at, n_features, err);
	}
	if (rc < 0)
		return rc;
	if (last < first)
		return error_set(err, ERR_ARG, "feature list '%.100s': the range %u-%u runs backwards", list,
		                 first, last);
	memset(wanted + first, true, last - first + 1);
	return 0;
}

/* The numbers and ranges of one line, apart by commas or spaces. */
static int read_line(bool *wanted, char *line, uint32_t n_features, const char *path, unsigned number,
                     error *err)
{
	error why = { 0 };
	const char *at;
	char *word, *rest = NULL;
	int rc;

	line[strcspn(line, "#")] = '\0';
	for (word = strtok_r(line, ", \t\r", &rest); word; word = strtok_r(NULL, ", \t\r", &rest)) {
		at = word;
		rc = read_range(wanted, word, &at, n_features, &why);
		if (rc == 0 && *at)
			rc = error_set(&why, ERR_ARG, "'%.40s' is no number and no range", word);
		if (rc < 0)
			return error_set(err, rc, "'%s' line %u: %s", path, number, why.msg);
	}
	return 0;
}

/* A file of features: numbers and ranges; what is behind a '#' is a comment. */
static int read_file(bool *wanted, const char *path, uint32_t n_features, error *err)
{
	enum { FILE_BYTES = 64 << 20 };
	char *data = NULL, *line, *next;
	unsigned number = 1;
	size_t len;
	int rc = file_read(&data, &len, path, FILE_BYTES, err);

	for (line = data; rc == 0 && line; line = next, number++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		rc = read_line(wanted, line, n_features, path, number, err);
	}
	free(data);
	return rc;
}

/* "@NAME": a list of the user's, else a file. */
static int read_named(bool *wanted, store *s, const store_source *source, const char **at, error *err)
{
	size_t n = strcspn(*at + 1, ",");
	char *name = strndup(*at + 1, n);
	int rc = name ? list_mark(wanted, s, source, name, err) : error_nomem(err, "a list of features");

	if (rc == ERR_NOTFOUND && file_exists(name))
		rc = read_file(wanted, name, source->n_features, err);
	free(name);
	*at += n + 1;
	return rc;
}

int feature_list_read(bool *wanted, store *s, const store_source *source, const char *list, error *err)
{
	const char *at = list;
	int rc;

	if (!list || strcmp(list, "all") == 0) {
		memset(wanted, true, source->n_features);
		return 0;
	}
	for (;;) {
		rc = *at == '@' ? read_named(wanted, s, source, &at, err)
		                : read_range(wanted, list, &at, source->n_features, err);
		if (rc < 0)
			return rc;
		if (*at == '\0')
			return 0;
		if (*at++ != ',')
			return error_set(err, ERR_ARG,
			                 "feature list '%.100s': character %zu: ',' was expected", list,
			                 (size_t)(at - list));
	}
}

int store_feature_twins(uint32_t *same, store *s, int64_t source, uint32_t n_features, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc;

	for (uint32_t f = 0; f < n_features; f++)
		same[f] = f;
	rc = store_prepare(
	        &st, s,
	        "SELECT feature, min(feature) OVER (PARTITION BY behaviour, n_fires, n_contexts) FROM "
	        "feature WHERE source_id = ?1 AND behaviour != 0",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", source);
	while (store_next(&rc, s, st, err)) {
		int64_t f = sqlite3_column_int64(st, 0), of = sqlite3_column_int64(st, 1);

		if (f >= 0 && f < n_features && of >= 0 && of <= f)
			same[f] = (uint32_t)of;
	}
	sqlite3_finalize(st);
	return rc;
}

/* Keep the wanted ones that the expression holds for. */
static int filter_list(bool *wanted, const feature_query *q, error *err)
{
	int64_t feature, next = 0, n = q->source.n_features;
	sqlite3_stmt *st = NULL;
	time_limit limit;
	bool more;
	int rc;

	time_limit_start(&limit, q->s, WHERE_SECONDS, WHERE_MAX_LENGTH, WHERE_MAX_PATTERN);
	rc = feature_query_prepare(&st, q, "feature", "ORDER BY feature", err);
	while (rc == 0 && (rc = feature_query_step(q, st, &more, err)) == 0 && more) {
		feature = sqlite3_column_int64(st, 0);
		if (feature < next || feature >= n)
			break; /* rows that no source of this width has */
		memset(wanted + next, false, (size_t)(feature - next));
		next = feature + 1;
	}
	memset(wanted + next, false, (size_t)(n - next));
	sqlite3_finalize(st);
	time_limit_end(&limit);
	return rc;
}

int store_feature_ids(uint32_t **out, size_t *n, store *s, const char *source, const char *list,
                      const char *where, error *err)
{
	store_source of;
	feature_query q;
	uint32_t *ids = NULL;
	bool *wanted = NULL;
	size_t count = 0;
	int rc;

	rc = store_source_get(&of, s, source, err);
	if (rc == 0)
		rc = feature_query_init(&q, s, &of, where, err);
	if (rc < 0)
		return rc;
	wanted = calloc((size_t)of.n_features + 1, sizeof(*wanted));
	ids = malloc(((size_t)of.n_features + 1) * sizeof(*ids));
	if (!wanted || !ids) {
		rc = error_nomem(err, "a list of features");
		goto out;
	}
	rc = feature_list_read(wanted, s, &of, list, err);
	if (rc == 0 && q.where)
		rc = filter_list(wanted, &q, err);
	if (rc < 0)
		goto out;
	for (uint32_t i = 0; i < of.n_features; i++)
		if (wanted[i])
			ids[count++] = i;
	*out = ids;
	*n = count;
	ids = NULL;
out:
	free(wanted);
	free(ids);
	return rc;
}
