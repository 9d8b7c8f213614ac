/* How a joined source came about, for its row. */
#include "store/merge.h"

/* An object {"store","dump_sha256","config","argv","version","created"} of a part; of one that was joined itself, those of its
 * own. */
static void describe_part(cJSON *list, const merge_part *part, bool *failed)
{
	cJSON *config = cJSON_Parse(part->r.config), *argv = cJSON_Parse(part->r.argv), *one, *earlier;

	earlier = cJSON_DetachItemFromObject(config, "merged");
	if (cJSON_IsArray(earlier)) {
		while ((one = cJSON_DetachItemFromArray(earlier, 0)))
			json_put(list, NULL, one, failed);
		cJSON_Delete(config);
		cJSON_Delete(argv);
	} else {
		one = json_put_object(list, NULL, failed);
		json_put_text(one, "store", part->in->path, failed);
		json_put_text(one, "dump_sha256", part->r.dump_sha256, failed);
		json_put_text(one, "version", part->r.version, failed);
		json_put_text(one, "created", part->r.created, failed);
		json_put(one, "config", config ? config : cJSON_CreateObject(), failed);
		json_put(one, "argv", argv ? argv : cJSON_CreateArray(), failed);
	}
	cJSON_Delete(earlier);
}

static int describe_config(const char **out, merge *m, const merge_source *src, error *err)
{
	cJSON *config = cJSON_Parse(src->parts[0].r.config), *list;
	bool failed = false;
	char *json;

	cJSON_DeleteItemFromObject(config, "merged");
	list = json_put_array(config, "merged", &failed);
	for (size_t i = 0; i < src->n; i++)
		describe_part(list, &src->parts[i], &failed);
	json = failed ? NULL : json_print(config);
	*out = json ? arena_strdup(&m->mem, json) : NULL;
	free(json);
	cJSON_Delete(config);
	return *out ? 0 : error_nomem(err, "a source");
}

static int by_text(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

/* In the order of their hashes, so that it does not matter which store came first. */
static int describe_dumps(const char **json, const char **digest, merge *m, const merge_source *src,
                          error *err)
{
	const char **list = NULL;
	size_t n = 0, cap = 0;
	char hex[SHA256_HEX];
	text t;
	int rc = 0;

	text_init(&t, 1 << 27);
	for (size_t i = 0; i < src->n && rc == 0; i++) {
		for (size_t k = 0; k < src->parts[i].r.n_dumps && rc == 0; k++) {
			rc = mem_grow(&list, &cap, n + 1, sizeof(*list));
			if (rc == 0)
				list[n++] = src->parts[i].r.dumps[k];
		}
	}
	if (n)
		qsort(list, n, sizeof(*list), by_text);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = text_adds(&t, i ? "," : "[");
		if (rc == 0)
			rc = text_add_json(&t, list[i], strlen(list[i]));
	}
	rc = rc ? rc : text_adds(&t, "]");
	free(list);
	if (rc == 0)
		rc = sha256_bytes(hex, t.data, t.len, err);
	*json = rc == 0 ? arena_strdup(&m->mem, t.data) : NULL;
	*digest = rc == 0 ? arena_strdup(&m->mem, hex) : NULL;
	text_free(&t);
	return *json && *digest ? 0 : error_nomem(err, "a source");
}

int merge_describe(const char **config, const char **dumps, const char **digest, merge *m,
                   const merge_source *src, error *err)
{
	int rc = describe_config(config, m, src, err);

	return rc == 0 ? describe_dumps(dumps, digest, m, src, err) : rc;
}
