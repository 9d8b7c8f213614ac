/* gloss export --to openai-viewer: a JSON file for each feature, as the viewer of OpenAI's sparse_autoencoder reads. */
#include "store/export_rows.h"

#include <math.h>
#include <stdlib.h>

#define BIN_WIDTH 0.2    /* of the viewer's histogram, which cannot be told another */
#define MAX_BINS  100000 /* what would have more is left empty */

typedef struct viewer {
	const store_viewer_opts *o;
	export_source x;
	store_export_result *result;
	folder_writer folder;
	char atoms[FILE_PATH_MAX];
	json_row row;
	error *err;
} viewer;

/* ---- Sequences ---- */

static void put_sequence(json_row *r, const export_example *e)
{
	uint32_t n = e->span.length;

	json_row_open_object(r, NULL);
	json_row_number(r, "doc_id", (double)e->document);
	json_row_number(r, "idx", e->span.peak);
	json_row_float(r, "act", e->activation);
	json_row_open(r, "acts");
	for (uint32_t i = 0; i < n; i++)
		json_row_add_float(r, e->value[i]);
	json_row_close(r);
	json_row_open(r, "tokens");
	for (uint32_t i = 0; i < n; i++)
		json_row_add_text(r, e->text[i], strlen(e->text[i]));
	json_row_close(r);
	json_row_open(r, "token_ints");
	for (uint32_t i = 0; i < n; i++)
		json_row_add_number(r, context_row_token(&e->context, e->span.first + i));
	json_row_close(r);
	json_row_close_object(r);
}

/* Samples are by interval; taken together and ordered by hash they are drawn from all firing tokens alike. */
typedef struct draw {
	json_row *r;
	bool top;
	uint64_t limit; /* the order below which samples are taken */
	uint32_t feature;
	uint64_t *orders; /* (n): first pass */
	size_t n, cap;
} draw;

static uint64_t order_of(const draw *d, const export_example *e)
{
	return hash64_mix(hash64_mix((uint64_t)e->context.id, (uint64_t)e->position), d->feature);
}

static int put_top(void *payload, const export_example *e, error *err)
{
	draw *d = payload;

	(void)err;
	if (e->bin < 0)
		put_sequence(d->r, e);
	return 0;
}

static int note_order(void *payload, const export_example *e, error *err)
{
	draw *d = payload;

	if (e->bin < 0)
		return 0;
	if (mem_grow(&d->orders, &d->cap, d->n + 1, sizeof(*d->orders)) < 0)
		return error_nomem(err, "samples");
	d->orders[d->n++] = order_of(d, e);
	return 0;
}

static int put_drawn(void *payload, const export_example *e, error *err)
{
	draw *d = payload;

	(void)err;
	if (e->bin >= 0 && order_of(d, e) <= d->limit)
		put_sequence(d->r, e);
	return 0;
}

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int put_sequences(viewer *v, uint32_t feature)
{
	draw d = { .r = &v->row, .feature = feature };
	int rc;

	json_row_open(&v->row, "top");
	rc = export_examples_each(&v->x, feature, v->o->n_top, 0, put_top, &d, v->err);
	json_row_close(&v->row);
	json_row_open(&v->row, "random");
	if (rc == 0)
		rc = export_examples_each(&v->x, feature, 0, UINT32_MAX, note_order, &d, v->err);
	if (rc == 0 && d.n > 0 && v->o->n_random > 0) {
		qsort(d.orders, d.n, sizeof(*d.orders), ascending);
		d.limit = d.orders[(d.n < v->o->n_random ? d.n : v->o->n_random) - 1];
		rc = export_examples_each(&v->x, feature, 0, UINT32_MAX, put_drawn, &d, v->err);
	}
	json_row_close(&v->row);
	free(d.orders);
	return rc;
}

/* ---- A feature ---- */

/* "hist": {"k": firing tokens with ceil(value / 0.2) = k}. */
static int put_histogram(viewer *v, const export_feature *f)
{
	double last = ceil(f->max_act / BIN_WIDTH);
	uint64_t *counts = NULL;
	char name[16];
	int rc = 0;

	json_row_open_object(&v->row, "hist");
	if (f->n_fires > 0 && last <= MAX_BINS) {
		uint32_t n = last < 1 ? 1 : (uint32_t)last;

		counts = calloc(n, sizeof(*counts));
		rc = counts ? export_histogram(counts, n, 0, BIN_WIDTH, f, v->err)
		            : error_nomem(v->err, "a histogram");
		for (uint32_t i = 0; i < n && rc == 0; i++) {
			snprintf(name, sizeof(name), "%u", i + 1);
			if (counts[i] > 0)
				json_row_number(&v->row, name, (double)counts[i]);
		}
	}
	json_row_close_object(&v->row);
	free(counts);
	return rc;
}

static int put_feature(viewer *v, uint32_t feature)
{
	double n = (double)v->x.of.n_tokens, square;
	export_feature f;
	int rc = export_feature_read(&f, &v->x, feature, v->err);

	if (rc == 0) {
		square = f.sum[1] / n;
		json_row_begin(&v->row);
		json_row_number(&v->row, "density", (double)f.n_fires / n);
		json_row_number(&v->row, "mean_act", f.sum[0] / n);
		json_row_number(&v->row, "mean_act_squared", square);
		json_row_number(&v->row, "skew", square > 0 ? f.sum[2] / n / pow(square, 1.5) : (double)NAN);
		json_row_number(&v->row, "kurtosis",
		                square > 0 ? f.sum[3] / n / (square * square) : (double)NAN);
		rc = put_histogram(v, &f);
	}
	if (rc == 0)
		rc = put_sequences(v, feature);
	if (rc == 0)
		rc = json_row_end(&v->row, v->err);
	export_feature_clear(&f);
	return rc;
}

static int write_feature(viewer *v, uint32_t feature)
{
	const store_stop *stop = &v->o->stop;
	char name[32], path[FILE_PATH_MAX];
	int rc = put_feature(v, feature);

	if (rc == 0 && stop->asked && stop->asked(stop->payload))
		rc = error_set(v->err, ERR_STOPPED, "stopped");
	snprintf(name, sizeof(name), "%u.json", feature);
	if (rc == 0)
		rc = file_join(path, v->atoms, name, v->err);
	if (rc == 0)
		rc = file_write(path, v->row.line.data, v->row.line.len, v->err);
	if (rc == 0) {
		v->result->n_files++;
		v->result->n_rows++;
		v->result->n_bytes += v->row.line.len;
	}
	return rc;
}

static int write_all(viewer *v, progress *pr)
{
	int rc = file_join(v->atoms, v->folder.tmp, "atoms", v->err);

	if (rc == 0)
		rc = file_mkdir(v->atoms, v->err);
	for (uint32_t f = 0; f < v->x.of.n_features && rc == 0; f++) {
		rc = write_feature(v, f);
		if (pr)
			progress_update(pr, f + 1, NULL);
	}
	return rc;
}

int store_export_viewer(store_export_result *out, store *s, const char *folder, const store_viewer_opts *o,
                        progress *pr, error *err)
{
	store_export_result result = { 0 };
	viewer v = { .o = o, .result = &result, .err = err };
	int rc = store_read_begin(s, err);

	if (rc < 0)
		return rc;
	json_row_init(&v.row);
	rc = export_source_open(&v.x, s, o->source, err);
	if (rc == 0)
		rc = folder_writer_open(&v.folder, folder, ".json",
		                        FOLDER_DEEP | (o->force ? FOLDER_FORCE : 0), err);
	if (rc == 0) {
		store_watch(s, &o->stop);
		rc = store_stopped(write_all(&v, pr), &o->stop, err);
		store_watch(s, &(store_stop){ 0 });
	}
	json_row_free(&v.row);
	export_source_clear(&v.x);
	store_read_end(s);
	if (rc == 0)
		rc = folder_writer_commit(&v.folder, err);
	folder_writer_abort(&v.folder);
	if (rc == 0 && out)
		*out = result;
	return rc;
}
