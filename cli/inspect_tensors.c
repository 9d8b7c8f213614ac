/* gloss inspect on tensor files: what they hold, whatever it is for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/inspect.h"

enum { VALUES_MAX = 8 }; /* elements shown of a small tensor */

/* How the elements lie, where it is not one after another. */
static const char *lies_as(const sae_tensor *t)
{
	return t->packed ? "compressed" : t->turned ? "columns" : t->run ? "with gaps" : "";
}

typedef struct small { /* the elements of a small tensor; none of others */
	size_t n;
	bool is_float;
	float floats[VALUES_MAX];
	int64_t ints[VALUES_MAX];
} small;

static int read_small(small *s, const sae_file *f, const sae_tensor *t, error *err)
{
	*s = (small){ .n = t->count <= VALUES_MAX ? (size_t)t->count : 0, .is_float = t->dtype <= SAE_F64 };
	if (s->n == 0)
		return 0;
	return s->is_float ? sae_file_read_f32(f, t, 0, s->n, s->floats, err)
	                   : sae_file_read_i64(f, t, 0, s->n, s->ints, err);
}

/* Element i as text. */
static void print_small(char out[32], const small *s, size_t i)
{
	if (s->is_float)
		snprintf(out, 32, "%.9g", (double)s->floats[i]);
	else
		snprintf(out, 32, "%" PRId64, s->ints[i]);
}

static void print_shape(char out[192], const sae_tensor *t)
{
	int n = snprintf(out, 192, "%s", t->n_dims ? "" : "one");

	for (unsigned i = 0; i < t->n_dims; i++)
		n += snprintf(out + n, 192 - (size_t)n, "%s%" PRIu64, i ? " x " : "", t->dims[i]);
}

static int add_row(cli_table *table, const sae_file *f, const sae_tensor *t, error *err)
{
	char shape[192], values[32 * VALUES_MAX] = "", one[32];
	size_t length = 0;
	small s;
	int rc = read_small(&s, f, t, err);

	print_shape(shape, t);
	for (size_t i = 0; i < s.n && rc == 0; i++) {
		print_small(one, &s, i);
		length +=
		        (size_t)snprintf(values + length, sizeof(values) - length, "%s%s", i ? " " : "", one);
	}
	if (rc == 0 &&
	    (cli_table_cell(table, "%s", *t->name ? t->name : "(no name)") < 0 ||
	     cli_table_cell(table, "%s", sae_dtype_name(t->dtype)) < 0 ||
	     cli_table_cell(table, "%s", shape) < 0 || cli_table_cell(table, "%s", lies_as(t)) < 0 ||
	     cli_table_cell(table, "%s", values) < 0))
		rc = error_nomem(err, "a table");
	return rc;
}

static int print_tensors(const sae_file *f, error *err)
{
	static const cli_column columns[] = { { "tensor", false, 60 },
		                              { "dtype", false, 0 },
		                              { "shape", false, 0 },
		                              { "lies", false, 0 },
		                              { "values", false, 60 } };
	cli_table *table = NULL;
	int rc = cli_table_new(&table, columns, ARRAY_LEN(columns), err);

	for (size_t i = 0; i < sae_file_n_tensors(f) && rc == 0; i++)
		rc = add_row(table, f, sae_file_tensor_at(f, i), err);
	if (rc == 0)
		cli_table_print(table, stdout);
	cli_table_free(table);
	return rc;
}

static int print_texts(const sae_file *f, error *err)
{
	static const cli_column columns[] = { { "text", false, 60 }, { "value", false, 100 } };
	cli_table *table = NULL;
	const char *key, *value;
	int rc = 0;

	if (!sae_file_metadata_at(f, 0, &value))
		return 0;
	rc = cli_table_new(&table, columns, ARRAY_LEN(columns), err);
	for (size_t i = 0; rc == 0 && (key = sae_file_metadata_at(f, i, &value)); i++)
		if (cli_table_cell(table, "%s", key) < 0 || cli_table_cell(table, "%s", value) < 0)
			rc = error_nomem(err, "a table");
	if (rc == 0) {
		printf("\n");
		cli_table_print(table, stdout);
	}
	cli_table_free(table);
	return rc;
}

static int print_file(const sae_file *f, error *err)
{
	size_t n = sae_file_n_tensors(f);
	text path;
	int rc = 0;

	text_init(&path, 1 << 16);
	if (text_add_visible(&path, sae_file_path(f), strlen(sae_file_path(f))) < 0)
		rc = error_nomem(err, "a path");
	else
		printf("%s: %s, %zu tensor%s\n", path.data, sae_file_format(f), n, n == 1 ? "" : "s");
	text_free(&path);
	if (rc == 0 && n > 0)
		rc = print_tensors(f, err);
	return rc < 0 ? rc : print_texts(f, err);
}

/* ---- JSON ----------------------------------------------------------------------------------------------------------- */

/* A number where a double holds it, else text. NULL: no memory. */
static cJSON *value_json(const small *s, size_t i)
{
	char exact[32];

	if (s->is_float)
		return cJSON_CreateNumber((double)s->floats[i]);
	if (s->ints[i] >= -(INT64_C(1) << 53) && s->ints[i] <= INT64_C(1) << 53)
		return cJSON_CreateNumber((double)s->ints[i]);
	print_small(exact, s, i);
	return cJSON_CreateString(exact);
}

/* NULL: *err says why. */
static cJSON *tensor_json(const sae_file *f, const sae_tensor *t, error *err)
{
	cJSON *o = cJSON_CreateObject(), *list;
	bool good = o && cJSON_AddStringToObject(o, "name", t->name) &&
	            cJSON_AddStringToObject(o, "dtype", sae_dtype_name(t->dtype)) &&
	            (list = cJSON_AddArrayToObject(o, "shape"));
	small s = { 0 };

	for (unsigned i = 0; i < t->n_dims && good; i++)
		good = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)t->dims[i]));
	if (good && *lies_as(t))
		good = cJSON_AddStringToObject(o, "lies", lies_as(t)) != NULL;
	if (good && t->count <= VALUES_MAX)
		good = (list = cJSON_AddArrayToObject(o, "values")) != NULL;
	if (!good)
		(void)error_nomem(err, "JSON");
	else if (read_small(&s, f, t, err) < 0)
		good = false;
	for (size_t i = 0; i < s.n && good; i++)
		if (!cJSON_AddItemToArray(list, value_json(&s, i))) {
			(void)error_nomem(err, "JSON");
			good = false;
		}
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* NULL: *err says why. */
static cJSON *file_json(const sae_file *f, error *err)
{
	cJSON *o = cJSON_CreateObject(), *tensors = NULL, *texts = NULL;
	const char *key, *value;
	bool good = o && cJSON_AddStringToObject(o, "path", sae_file_path(f)) &&
	            cJSON_AddStringToObject(o, "format", sae_file_format(f)) &&
	            (tensors = cJSON_AddArrayToObject(o, "tensors")) &&
	            (texts = cJSON_AddObjectToObject(o, "texts"));

	if (!good)
		(void)error_nomem(err, "JSON");
	for (size_t i = 0; i < sae_file_n_tensors(f) && good; i++) {
		cJSON *t = tensor_json(f, sae_file_tensor_at(f, i), err);

		good = t && cJSON_AddItemToArray(tensors, t);
	}
	for (size_t i = 0; good && (key = sae_file_metadata_at(f, i, &value)); i++)
		if (!cJSON_AddStringToObject(texts, key, value)) {
			(void)error_nomem(err, "JSON");
			good = false;
		}
	if (good)
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* ---- The command ---------------------------------------------------------------------------------------------------- */

bool inspect_is_archive(const char *path)
{
	sae_file *f = NULL;
	bool archive;

	if (file_is_dir(path) || sae_file_open(&f, path, NULL) < 0)
		return false;
	archive = (strcmp(sae_file_format(f), "pt") == 0 || strcmp(sae_file_format(f), "npz") == 0) &&
	          !sae_file_tensor(f, "activations") && !sae_file_tensor(f, "");
	sae_file_close(f);
	return archive;
}

int inspect_tensors(const command *self, const cli_parsed *p)
{
	cJSON *all = p->common.json ? cJSON_CreateArray() : NULL;
	error err = { 0 };
	int rc = p->common.json && !all ? error_nomem(&err, "JSON") : 0;

	for (size_t i = 0; i < p->n_args && rc == 0; i++) {
		sae_file *f = NULL;
		cJSON *o;

		rc = sae_file_open(&f, p->args[i], &err);
		if (rc == 0 && all) {
			o = file_json(f, &err);
			rc = o && cJSON_AddItemToArray(all, o) ? 0 : err.code;
		} else if (rc == 0) {
			printf("%s", i ? "\n" : "");
			rc = print_file(f, &err);
		}
		sae_file_close(f);
	}
	if (rc == 0)
		return all ? cli_print_json(self, all) : EXIT_DONE;
	cJSON_Delete(all);
	return cli_fail(self, &err);
}
