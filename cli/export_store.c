/* See export_store.h. A new format is a row of `targets` and a function of the store. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/export_store.h"

typedef struct target {
	const char *name, *unit; /* unit: of its progress */
	const char *options;     /* its own, apart by spaces, one before the first and behind the last too */
	int (*write)(store_export_result *r, store *s, const export_opts *o, progress *pr, error *err);
} target;

static int write_csv(store_export_result *r, store *s, const export_opts *o, progress *pr, error *err)
{
	store_csv_opts csv = { o->tables.items, o->tables.n, o->all, o->force, store_args_stop() };

	return store_export_csv(r, s, o->output, &csv, pr, err);
}

static int write_neuronpedia(store_export_result *r, store *s, const export_opts *o, progress *pr, error *err)
{
	store_neuronpedia_opts np = { .source = o->store.source,
		                      .model_id = o->model_id,
		                      .source_id = o->source_id,
		                      .set = o->set,
		                      .release = o->release,
		                      .creator = o->creator,
		                      .n_top = o->top,
		                      .n_samples = o->samples,
		                      .vectors = o->vectors,
		                      .force = o->force,
		                      .stop = store_args_stop() };

	return store_export_neuronpedia(r, s, o->output, &np, pr, err);
}

static int write_viewer(store_export_result *r, store *s, const export_opts *o, progress *pr, error *err)
{
	store_viewer_opts v = { o->store.source, o->top, o->samples, o->force, store_args_stop() };

	return store_export_viewer(r, s, o->output, &v, pr, err);
}

/* "3", or "1.5x": times the feature's largest activation. */
static int read_alpha(store_gguf_alpha *out, const char **p, error *err)
{
	char *end;
	size_t n = strcspn(*p, ",");

	out->value = strtod(*p, &end);
	out->times_max = *end == 'x';
	if (end == *p || end + out->times_max != *p + n || !isfinite(out->value))
		return error_set(err, ERR_ARG, "--alpha '%.40s': a number, or one and x, was expected", *p);
	*p += n + ((*p)[n] == ',');
	return 0;
}

/* One for all features, or one for each. */
static int read_alphas(store_gguf_alpha *out, size_t n, const char *list, error *err)
{
	const char *p = list;
	size_t given = 0;
	int rc = 0;

	for (; *p && given < n && rc == 0; given++)
		rc = read_alpha(&out[given], &p, err);
	if (rc == 0 && (*p || (given != n && given != 1)))
		rc = error_set(err, ERR_ARG, "--alpha '%.40s': one for all %zu features or one for each",
		               list, n);
	for (size_t i = given; i < n && rc == 0; i++)
		out[i] = out[0];
	return rc;
}

/* In the order given, since alphas go with them. */
static int read_features(uint32_t **out, size_t *n, const char *list, error *err)
{
	size_t cap = 0;
	char one[16];

	*n = 0;
	for (const char *p = list;; p++) {
		size_t len = strcspn(p, ",");
		int rc;

		snprintf(one, sizeof(one), "%.*s", len < 15 ? (int)len : 15, p);
		if (mem_grow(out, &cap, *n + 1, sizeof(**out)) < 0)
			return error_nomem(err, "features");
		rc = feature_arg(&(*out)[*n], one, err);
		if (rc < 0)
			return rc;
		++*n;
		p += len;
		if (!*p)
			return 0;
	}
}

static int write_gguf(store_export_result *r, store *s, const export_opts *o, progress *pr, error *err)
{
	store_gguf_opts g = { .source = o->store.source,
		              .layer = o->layer_given ? (int64_t)o->layer : -1,
		              .model_hint = o->model_hint,
		              .force = o->force };
	store_gguf_alpha *alphas = NULL;
	uint32_t *features = NULL;
	int rc = 0;

	(void)pr;
	if (!o->features || !o->alpha)
		rc = error_set(err, ERR_ARG,
		               "a control vector is made of --feature N[,N...] and --alpha A[,A...]");
	if (rc == 0)
		rc = read_features(&features, &g.n, o->features, err);
	if (rc == 0 && !(alphas = calloc(g.n, sizeof(*alphas))))
		rc = error_nomem(err, "features");
	if (rc == 0)
		rc = read_alphas(alphas, g.n, o->alpha, err);
	g.features = features;
	g.alphas = alphas;
	if (rc == 0)
		rc = store_export_gguf(r, s, o->output, &g, err);
	free(features);
	free(alphas);
	return rc;
}

static const target targets[] = {
	{ "csv", "rows", " table all ", write_csv },
	{ "neuronpedia", "features", " source model-id source-id set release creator top samples vectors ",
	  write_neuronpedia },
	{ "openai-viewer", "features", " source top samples ", write_viewer },
	{ "gguf", "features", " source feature alpha layer model-hint ", write_gguf },
};

static const target *target_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		if (strcmp(targets[i].name, name) == 0)
			return &targets[i];
	}
	return NULL;
}

bool export_store_has(const char *to)
{
	return target_of(to) != NULL;
}

/* An option that the format does not take is a mistake, not passed over. */
static int check_options(const target *t, const cli_parsed *p, error *err)
{
	char name[64];

	for (size_t i = 0; i < p->n_given; i++) {
		snprintf(name, sizeof(name), " %.60s ", p->given[i]);
		if (!strstr(" store to output force json quiet config color ", name) &&
		    !strstr(t->options, name))
			return error_set(err, ERR_ARG, "--%s does not go with --to %s", p->given[i], t->name);
	}
	return 0;
}

static int export(store_export_result *r, const target *t, const cli_parsed *p, const export_opts *o,
                  error *err)
{
	progress pr;
	store *s = NULL;
	int rc = check_options(t, p, err);

	if (rc == 0 && !o->output)
		rc = error_set(err, ERR_ARG, "where is it to be written? give it with -o DIR");
	if (rc == 0)
		rc = store_args_open(&s, &o->store, err);
	if (rc < 0)
		return rc;
	progress_start(&pr, cli_progress_stream(p), "export", t->unit, 0);
	rc = t->write(r, s, o, &pr, err);
	progress_end(&pr);
	store_close(s);
	return rc;
}

static cJSON *result_json(const store_export_result *r, const char *folder)
{
	cJSON *out = cJSON_CreateObject();

	if (out && cJSON_AddStringToObject(out, "folder", folder) &&
	    cJSON_AddNumberToObject(out, "files", (double)r->n_files) &&
	    cJSON_AddNumberToObject(out, "rows", (double)r->n_rows) &&
	    cJSON_AddNumberToObject(out, "bytes", (double)r->n_bytes) &&
	    (!r->left_out || cJSON_AddStringToObject(out, "left_out", r->left_out)))
		return out;
	cJSON_Delete(out);
	return NULL;
}

int export_store(const command *self, const cli_parsed *p, const export_opts *o)
{
	store_export_result r = { 0 };
	error err = { 0 };
	int rc;

	cli_catch_signals();
	rc = export(&r, target_of(o->to), p, o, &err);
	if (rc < 0)
		return rc == ERR_STOPPED ? (cli_fail(self, &err), EXIT_FAILED) : cli_fail(self, &err);
	if (p->common.json)
		return cli_print_json(self, result_json(&r, o->output));
	cli_put(o->output);
	printf(": %" PRIu64 " file%s, %" PRIu64 " rows, %.1f MB\n", r.n_files, r.n_files == 1 ? "" : "s",
	       r.n_rows, (double)r.n_bytes / 1e6);
	if (r.left_out)
		printf("left out, since they spell out every example: %s (--table NAME or --all writes "
		       "them)\n",
		       r.left_out);
	return EXIT_DONE;
}
