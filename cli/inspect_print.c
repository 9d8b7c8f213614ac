/* What gloss inspect found, for people and for programs. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/inspect.h"

enum { SHARDS_SHOWN = 12 };

static double megabytes(double bytes)
{
	return bytes / 1e6;
}

/* "label         value", where the value is another's text: nothing in it may steer the terminal. */
static int print_text(const char *label, const char *value, size_t n, error *err)
{
	text visible;
	int rc;

	text_init(&visible, 1 << 20);
	rc = text_add_visible(&visible, value ? value : "", n);
	if (rc == 0)
		printf("%-13s %s\n", label, visible.len ? visible.data : "");
	else
		rc = error_nomem(err, "text");
	text_free(&visible);
	return rc;
}

static int print_shards(const sae_dump *d, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	char line[FILE_PATH_MAX + 32];
	uint64_t n;
	int rc = 0;

	for (size_t i = 0; i < info->n_shards && i < SHARDS_SHOWN && rc == 0; i++) {
		const char *path = sae_dump_shard(d, i, &n);
		snprintf(line, sizeof(line), "%s: %" PRIu64 " rows", path, n);
		rc = print_text(i ? "" : "shards", line, strlen(line), err);
	}
	if (info->n_shards > SHARDS_SHOWN)
		printf("              and %zu more\n", info->n_shards - SHARDS_SHOWN);
	return rc;
}

static int print_dump(const sae_dump *d, const sae_rows_stats *st, error *err)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	int rc;

	printf("rows          %" PRIu64 " of %u values, %s, %.1f MB in %zu shard%s\n", info->n_rows,
	       info->d_in, sae_dtype_name(info->dtype), megabytes((double)info->n_bytes), info->n_shards,
	       info->n_shards == 1 ? "" : "s");
	printf("contexts      %" PRIu64 " of ", info->n_contexts);
	if (info->ragged)
		printf("%u to ", info->shortest);
	printf("%u tokens%s\n", info->ragged ? info->longest : info->ctx_len,
	       info->has_tokens ? "" : "; no token ids: trains, but cannot be indexed by text");
	if (info->n_heads && info->head < 0)
		printf("heads         %u side by side\n", info->n_heads);
	else if (info->n_heads)
		printf("heads         %d of %u (from 0) alone\n", info->head, info->n_heads);
	rc = print_shards(d, err);
	if (rc == 0 && info->model)
		rc = print_text("model", info->model, strlen(info->model), err);
	if (rc == 0 && info->hook_point)
		rc = print_text("hook point", info->hook_point, strlen(info->hook_point), err);
	if (info->layer >= 0)
		printf("layer         %d\n", info->layer);
	printf("sha256        %s\n", st->sha256);
	return rc;
}

static void print_outliers(const inspect_report *r, const sae_rows_stats *st)
{
	printf("  norm        %" PRIu64 " over %.6g", st->n_outlier, st->norm_limit);
	for (uint32_t i = 0; i < r->n_top; i++)
		printf("%s%u at position %u", i ? ", " : ": ", r->top[i].rows, r->top[i].position);
	if (r->n_positions > r->n_top)
		printf(", the rest at %u others", r->n_positions - r->n_top);
	if (r->n_looked_at == INSPECT_LOOK_MAX)
		printf(" (of the first %d rows left out)", INSPECT_LOOK_MAX);
	printf("\n");
}

static void print_rows(const inspect_report *r)
{
	const sae_rows_stats *st = sae_rows_get_stats(r->in.rows);
	uint64_t context;
	uint32_t position;

	printf("rows kept     %" PRIu64 " (%.2f %%); left out:\n", st->n_kept,
	       100 * (double)st->n_kept / (double)st->n_rows);
	print_outliers(r, st);
	printf("  NaN, Inf    %" PRIu64, st->n_nan);
	if (r->first_nan != UINT64_MAX && sae_dump_where(r->in.dump, r->first_nan, &context, &position))
		printf("; the first in row %" PRIu64 " (context %" PRIu64 ", position %u)", r->first_nan,
		       context, position);
	printf("\n");
	if (st->n_masked)
		printf("  masked      %" PRIu64 ": no real tokens\n", st->n_masked);
	if (st->n_role)
		printf("  role        %" PRIu64 "\n", st->n_role);
	if (st->n_token || st->n_position)
		printf("  excluded    %" PRIu64 " by token, %" PRIu64 " by position\n", st->n_token,
		       st->n_position);
	printf("zero rows     %" PRIu64 "\n", st->n_zero);
	printf("duplicates    %" PRIu64 " rows equal to an earlier one\n", st->n_duplicate);
	printf("norms         median %.6g, mean %.6g, root mean square %.6g; highest %.6g\n", st->median_norm,
	       st->mean_norm, st->rms_norm, st->max_norm);
	printf("variance      %.6g in total (mean squared distance from the mean)\n", st->total_variance);
	printf("gamma         %.4g (norm of the mean / root of the variance: high values foretell dead "
	       "features)\n",
	       st->gamma);
}

static int print_tokens(const inspect_report *r, error *err)
{
	if (!sae_dump_get_info(r->in.dump)->has_tokens)
		return 0;
	printf("token ids     up to %u", r->max_id);
	if (r->tokenizer)
		printf(", all in the vocabulary of %u", sae_tokenizer_size(r->tokenizer));
	printf("\nfirst tokens ");
	for (uint32_t i = 0; i < r->n_first && i < 12; i++)
		printf(" %u", r->first[i]);
	printf("%s\n", r->n_first > 12 ? " ..." : "");
	return r->tokenizer ? print_text("as text", r->sample.data, r->sample.len, err) : 0;
}

static void print_documents(const inspect_report *r)
{
	printf("documents     %u; %" PRIu64 " contexts are joined in %" PRIu64 " groups of at most %" PRIu64
	       " (same document, or a common run of 24 tokens)\n",
	       sae_rows_n_groups(r->in.rows), r->joined_contexts, r->joined_groups, r->largest_group);
	printf("split         %" PRIu64 " rows to train on, %" PRIu64 " held out\n",
	       sae_rows_n(r->in.rows, false), sae_rows_n(r->in.rows, true));
}

static void print_forecast(const inspect_report *r)
{
	printf("forecast      %u features, k %u: weights %.1f MB, optimiser %.1f MB, batch of %u rows %.1f "
	       "MB; %" PRIu64 " steps in one pass\n",
	       r->features, r->k, megabytes(r->weight_bytes), megabytes(r->optimiser_bytes), r->batch,
	       megabytes(r->batch_bytes), r->steps);
}

int inspect_print(const inspect_report *r, error *err)
{
	int rc;

	rc = print_dump(r->in.dump, sae_rows_get_stats(r->in.rows), err);
	if (rc == 0)
		rc = print_tokens(r, err);
	if (rc < 0)
		return rc;
	print_rows(r);
	print_documents(r);
	print_forecast(r);
	return 0;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------ */

/* Members are added through these, which remember a failure: the caller checks once. */
typedef struct object {
	cJSON *json;
	bool *failed;
} object;

static void put_number(object o, const char *name, double value)
{
	*o.failed |= !cJSON_AddNumberToObject(o.json, name, value);
}

/* A name from a file or the file system, which need not be UTF-8. */
static void put_string(object o, const char *name, const char *value)
{
	text valid;

	if (!value) {
		*o.failed |= !cJSON_AddNullToObject(o.json, name);
		return;
	}
	text_init(&valid, 1 << 20);
	*o.failed |= text_add_utf8(&valid, value, strlen(value)) < 0;
	*o.failed |= !cJSON_AddStringToObject(o.json, name, valid.len ? valid.data : "");
	text_free(&valid);
}

static object put_object(object o, const char *name)
{
	cJSON *child = cJSON_AddObjectToObject(o.json, name);

	*o.failed |= !child;
	return (object){ child, o.failed };
}

static void put_dump(object o, const sae_dump *d)
{
	const sae_dump_info *info = sae_dump_get_info(d);
	cJSON *shards = cJSON_AddArrayToObject(o.json, "shards");
	uint64_t n;

	*o.failed |= !shards;
	for (size_t i = 0; i < info->n_shards && !*o.failed; i++) {
		object shard = { cJSON_CreateObject(), o.failed };
		const char *path = sae_dump_shard(d, i, &n);
		put_string(shard, "path", path);
		put_number(shard, "rows", (double)n);
		if (!cJSON_AddItemToArray(shards, shard.json))
			cJSON_Delete(shard.json);
	}
	put_number(o, "d_in", info->d_in);
	put_string(o, "dtype", sae_dtype_name(info->dtype));
	put_number(o, "bytes", (double)info->n_bytes);
	put_number(o, "n_contexts", (double)info->n_contexts);
	put_number(o, "ctx_len", info->ctx_len);
	if (info->ragged) {
		put_number(o, "shortest", info->shortest);
		put_number(o, "longest", info->longest);
	}
	if (info->n_heads)
		put_number(o, "n_heads", info->n_heads);
	if (info->head >= 0)
		put_number(o, "head", info->head);
	put_string(o, "model", info->model);
	put_string(o, "hook_point", info->hook_point);
	if (info->layer >= 0)
		put_number(o, "layer", info->layer);
	put_string(o, "tokenizer_sha256", info->tokenizer_sha256);
}

static void put_rows(object o, const inspect_report *r)
{
	const sae_rows_stats *st = sae_rows_get_stats(r->in.rows);
	const struct {
		const char *name;
		double value;
	} members[] = {
		{ "n", (double)st->n_rows },
		{ "kept", (double)st->n_kept },
		{ "outlier", (double)st->n_outlier },
		{ "nan", (double)st->n_nan },
		{ "excluded_token", (double)st->n_token },
		{ "excluded_position", (double)st->n_position },
		{ "zero", (double)st->n_zero },
		{ "duplicate", (double)st->n_duplicate },
		{ "median_norm", st->median_norm },
		{ "norm_limit", st->norm_limit },
		{ "mean_norm", st->mean_norm },
		{ "rms_norm", st->rms_norm },
		{ "max_norm", st->max_norm },
		{ "total_variance", st->total_variance },
		{ "gamma", st->gamma },
	};

	cJSON *places = cJSON_AddArrayToObject(o.json, "outliers_at");

	if (st->n_masked)
		put_number(o, "masked", (double)st->n_masked);
	if (st->n_role)
		put_number(o, "role", (double)st->n_role);

	*o.failed |= !places;
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		put_number(o, members[i].name, members[i].value);
	if (r->first_nan != UINT64_MAX)
		put_number(o, "first_nan_row", (double)r->first_nan);
	put_number(o, "outlier_positions", r->n_positions);
	for (uint32_t i = 0; i < r->n_top && places; i++) {
		object place = { cJSON_CreateObject(), o.failed };
		put_number(place, "position", r->top[i].position);
		put_number(place, "rows", r->top[i].rows);
		if (!cJSON_AddItemToArray(places, place.json))
			cJSON_Delete(place.json);
	}
}

static void put_tokens(object o, const inspect_report *r)
{
	cJSON *ids = cJSON_AddArrayToObject(o.json, "first");

	*o.failed |= !ids;
	put_number(o, "max_id", r->max_id);
	for (uint32_t i = 0; i < r->n_first && !*o.failed; i++)
		*o.failed |= !cJSON_AddItemToArray(ids, cJSON_CreateNumber(r->first[i]));
	if (!r->tokenizer)
		return;
	put_number(o, "vocabulary", sae_tokenizer_size(r->tokenizer));
	put_string(o, "vocabulary_sha256", sae_tokenizer_sha256(r->tokenizer));
	put_string(o, "first_text", r->sample.len ? r->sample.data : "");
}

cJSON *inspect_json(const inspect_report *r)
{
	bool failed = false;
	object top = { cJSON_CreateObject(), &failed }, part;

	failed = !top.json;
	put_string(top, "sha256", sae_rows_get_stats(r->in.rows)->sha256);
	put_dump(put_object(top, "dump"), r->in.dump);
	put_rows(put_object(top, "rows"), r);
	if (sae_dump_get_info(r->in.dump)->has_tokens)
		put_tokens(put_object(top, "tokens"), r);
	part = put_object(top, "documents");
	put_number(part, "groups", sae_rows_n_groups(r->in.rows));
	put_number(part, "joined_contexts", (double)r->joined_contexts);
	put_number(part, "joined_groups", (double)r->joined_groups);
	put_number(part, "largest_group", (double)r->largest_group);
	put_number(part, "train_rows", (double)sae_rows_n(r->in.rows, false));
	put_number(part, "held_out_rows", (double)sae_rows_n(r->in.rows, true));
	part = put_object(top, "forecast");
	put_number(part, "features", r->features);
	put_number(part, "k", r->k);
	put_number(part, "batch", r->batch);
	put_number(part, "weight_bytes", r->weight_bytes);
	put_number(part, "optimiser_bytes", r->optimiser_bytes);
	put_number(part, "batch_bytes", r->batch_bytes);
	put_number(part, "steps", (double)r->steps);
	if (failed) {
		cJSON_Delete(top.json);
		return NULL;
	}
	return top.json;
}
