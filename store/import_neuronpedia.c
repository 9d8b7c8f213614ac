/* Labels from Neuronpedia's exports of explanations. */
#include "store/store_internal.h"

#include <math.h>
#include <stdlib.h>

#define MAX_LINE     ((size_t)4 << 20)
#define MAX_LABEL    ((size_t)64 << 10)
#define MAX_OF_NAMES 200 /* bytes of a method, a model */
enum { MAX_DEPTH = 16 };

typedef struct np_import {
	store *s;
	store_source of;
	const store_stop *stop;
	progress *pr;
	store_import_result result;
	sqlite3_stmt *known;                                   /* whether such a label is there */
	char model[MAX_OF_NAMES + 1], layer[MAX_OF_NAMES + 1]; /* what the first row is of: all must be */
	bool any;
	const char *path; /* and line, being read */
	uint64_t line;
	error *err;
} np_import;

static int blame(np_import *m, int code, const char *why)
{
	return error_set(m->err, code, "'%.200s', line %llu: %.250s", m->path, (unsigned long long)m->line,
	                 why);
}

/* ---- A row ---- */

static int get_text(const char **out, np_import *m, const cJSON *row, const char *name, size_t most)
{
	error cause = { 0 };
	int rc = json_get_string(out, row, name, "an explanation", &cause);

	if (rc < 0)
		return blame(m, rc, cause.msg);
	if (*out && strlen(*out) > most) {
		(void)error_set(&cause, ERR_LIMIT, "\"%s\" is over %zu bytes", name, most);
		return blame(m, ERR_LIMIT, cause.msg);
	}
	return 0;
}

/* "index": a string in exports of the database, a number in SAEDashboard's. */
static int get_feature(uint32_t *out, np_import *m, const cJSON *row)
{
	const cJSON *index = cJSON_GetObjectItemCaseSensitive(row, "index");
	char why[128], *end = NULL;
	double value = -1;

	if (cJSON_IsNumber(index))
		value = index->valuedouble;
	else if (cJSON_IsString(index) && *index->valuestring >= '0' && *index->valuestring <= '9') {
		value = (double)strtoull(index->valuestring, &end, 10);
		if (*end || strlen(index->valuestring) > 10)
			value = -1;
	}
	if (!(value >= 0 && value <= UINT32_MAX && value == floor(value)))
		return blame(m, ERR_FORMAT, "\"index\" is not the number of a feature");
	if (value >= m->of.n_features) {
		snprintf(why, sizeof(why), "source '%.40s' has no feature %.0f, only 0 to %u", m->of.name,
		         value, m->of.n_features - 1);
		return blame(m, ERR_NOTFOUND, why);
	}
	*out = (uint32_t)value;
	return 0;
}

static bool digits(const char *s, const char *form)
{
	for (; *form; form++, s++) {
		if (*form == '0' ? *s < '0' || *s > '9' : *s != *form)
			return false;
	}
	return true;
}

/* A time as the store has them, of one as Neuronpedia has them: "2024-05-01T12:34:56.789", in UTC, with Z, +00:00 or nothing behind. */
static int get_time(char out[32], np_import *m, const cJSON *row)
{
	const char *created = NULL, *rest;
	int rc = get_text(&created, m, row, "createdAt", 40);

	out[0] = '\0';
	if (rc < 0 || !created)
		return rc;
	if (!digits(created, "0000-00-00T00:00:00") && !digits(created, "0000-00-00 00:00:00"))
		return blame(m, ERR_FORMAT, "\"createdAt\" is not a time like 2024-05-01T12:34:56");
	rest = created + 19;
	rest += *rest == '.' ? 1 + strspn(rest + 1, "0123456789") : 0;
	if (*rest && strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0 && strcmp(rest, "+00") != 0)
		return blame(m, ERR_FORMAT, "\"createdAt\" is not in UTC");
	snprintf(out, 32, "%.10sT%.8sZ", created, created + 11);
	return 0;
}

/* All rows of an import are of one source of Neuronpedia's: a folder of several is a mistake. */
static int check_place(np_import *m, const cJSON *row)
{
	const char *model = NULL, *layer = NULL;
	char why[256];
	int rc = get_text(&model, m, row, "modelId", MAX_OF_NAMES);

	if (rc == 0)
		rc = get_text(&layer, m, row, "layer", MAX_OF_NAMES);
	if (rc < 0)
		return rc;
	model = model ? model : "";
	layer = layer ? layer : "";
	if (!m->any) {
		snprintf(m->model, sizeof(m->model), "%s", model);
		snprintf(m->layer, sizeof(m->layer), "%s", layer);
		m->any = true;
	}
	if (strcmp(model, m->model) == 0 && strcmp(layer, m->layer) == 0)
		return 0;
	snprintf(why, sizeof(why),
	         "it is of '%.50s', layer '%.50s', and lines before of '%.50s', layer '%.50s'", model, layer,
	         m->model, m->layer);
	return blame(m, ERR_ARG, why);
}

static int add_label(np_import *m, store_explanation *e)
{
	bool there = false;
	int rc = store_bind(m->s, m->known, m->err, "iitttt", e->source_id, (int64_t)e->feature, e->text,
	                    e->method, e->model, e->created);

	if (rc == 0)
		rc = store_step(m->s, m->known, &there, m->err);
	sqlite3_reset(m->known);
	if (rc < 0)
		return rc;
	if (there) {
		m->result.n_known++;
		return 0;
	}
	m->result.n_added++;
	return store_explanation_add(m->s, e, m->err);
}

/* The rule of a label that a program can apply, where the row has one. */
static const char *rule_of(const char *method, const char *notes)
{
	cJSON *rule = NULL;

	if (!notes || strcmp(method, "lexical") != 0 ||
	    json_parse(&rule, notes, strlen(notes), MAX_LABEL, MAX_DEPTH, "notes", NULL) < 0)
		return NULL;
	if (!cJSON_IsObject(rule))
		notes = NULL;
	cJSON_Delete(rule);
	return notes;
}

static int take_row(np_import *m, const cJSON *row)
{
	store_explanation e = { .source_id = m->of.id, .method = NULL, .confidence = (double)NAN };
	const char *notes = NULL;
	char created[32];
	int rc = cJSON_IsObject(row) ? check_place(m, row) : blame(m, ERR_FORMAT, "it is no JSON object");

	if (rc == 0)
		rc = get_feature(&e.feature, m, row);
	if (rc == 0)
		rc = get_text(&e.text, m, row, "description", MAX_LABEL);
	if (rc == 0)
		rc = get_text(&e.method, m, row, "typeName", MAX_OF_NAMES);
	if (rc == 0)
		rc = get_text(&e.model, m, row, "explanationModelName", MAX_OF_NAMES);
	if (rc == 0)
		rc = get_text(&notes, m, row, "notes", MAX_LABEL);
	if (rc == 0)
		rc = get_time(created, m, row);
	if (rc < 0)
		return rc;
	if (!e.text || strspn(e.text, " \t\r\n") == strlen(e.text))
		return blame(m, ERR_FORMAT, "there is no \"description\"");
	if (!e.method || !*e.method)
		e.method = "neuronpedia";
	if (e.model && !*e.model)
		e.model = NULL;
	e.created = created[0] ? created : NULL;
	e.rule = rule_of(e.method, notes);
	return add_label(m, &e);
}

/* ---- Files ---- */

static int take_line(np_import *m, const char *line, size_t len)
{
	error cause = { 0 };
	cJSON *row = NULL;
	int rc;

	if (m->stop->asked && m->stop->asked(m->stop->payload))
		return error_set(m->err, ERR_STOPPED, "stopped; nothing was added");
	if (strspn(line, " \t") == len)
		return 0;
	rc = json_parse(&row, line, len, MAX_LINE, MAX_DEPTH, "the line", &cause);
	if (rc < 0)
		return rc == ERR_NOMEM ? error_nomem(m->err, "a row") : blame(m, rc, cause.msg);
	m->result.n_rows++;
	if (m->pr && m->result.n_rows % 1024 == 0)
		progress_update(m->pr, m->result.n_rows, NULL);
	rc = take_row(m, row);
	cJSON_Delete(row);
	return rc;
}

static int take_file(np_import *m, const char *path)
{
	line_reader *r = NULL;
	const char *line;
	size_t len;
	bool more = true;
	int rc = line_reader_open(&r, path, MAX_LINE, m->err);

	m->path = path;
	while (rc == 0 && (rc = line_reader_next(r, &line, &len, &more, m->err)) == 0 && more) {
		m->line = line_reader_number(r);
		rc = take_line(m, line, len);
	}
	line_reader_close(r);
	m->result.n_files++;
	return rc;
}

int store_import_neuronpedia(store_import_result *out, store *s, const char *source, const char *const *paths,
                             size_t n, const store_stop *stop, progress *pr, error *err)
{
	np_import m = { .s = s, .stop = stop, .pr = pr, .err = err };
	int rc = store_source_get(&m.of, s, source, err);

	if (rc == 0)
		rc = store_prepare(
		        &m.known, s,
		        "SELECT 1 FROM explanation WHERE source_id = ?1 AND feature = ?2 AND text = ?3"
		        " AND method = ?4 AND model IS ?5 AND created = ifnull(?6, created) LIMIT 1",
		        err);
	if (rc == 0)
		rc = store_begin(s, err);
	if (rc == 0) {
		for (size_t i = 0; i < n && rc == 0; i++)
			rc = take_file(&m, paths[i]);
		rc = store_end(s, rc, err);
	}
	sqlite3_finalize(m.known);
	if (rc == 0)
		*out = m.result;
	return rc;
}
