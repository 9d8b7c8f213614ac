/* Which rows are of the roles asked for: a tensor `roles` with a number a row, and names for the numbers in the manifest. */
#include "sae/dump_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ROLES_MAX = 64 };

typedef struct chosen {
	sae_dump *d;
	uint64_t wanted; /* bit of each role */
} chosen;

/* The number of a role: its place in the manifest's list, or the number itself. */
static int role_number(unsigned *out, const sae_dump *d, const char *name, size_t n, error *err)
{
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(d->manifest, "roles"), *item;
	bool digits = n > 0 && n < 3 && strspn(name, "0123456789") >= n;
	unsigned i = 0;
	text names;
	int rc;

	cJSON_ArrayForEach(item, list)
	{
		if (cJSON_IsString(item) && strlen(item->valuestring) == n &&
		    strncmp(item->valuestring, name, n) == 0 && i < ROLES_MAX) {
			*out = i;
			return 0;
		}
		i++;
	}
	if (digits && strtoul(name, NULL, 10) < ROLES_MAX) {
		*out = (unsigned)strtoul(name, NULL, 10);
		return 0;
	}
	text_init(&names, 200);
	cJSON_ArrayForEach(item, list) if (cJSON_IsString(item) &&
	                                   text_addf(&names, "%s'%s'", names.len ? ", " : "",
	                                             item->valuestring) < 0) break;
	rc = error_set(err, ERR_ARG, "role '%.*s' is none of the manifest's: %s", (int)(n < 60 ? n : 60),
	               name, names.len ? names.data : "it names none; say numbers");
	text_free(&names);
	return rc;
}

static int take_role(void *payload, const dump_span *s, uint64_t i, int64_t v, error *err)
{
	chosen *c = payload;

	if (v < 0 || v >= ROLES_MAX)
		return error_set(err, ERR_FORMAT,
		                 "'%s': value %" PRIu64 " of 'roles' is %" PRId64 "; 0 to %d are roles",
		                 sae_file_path(s->file), i, v, ROLES_MAX - 1);
	if (!(c->wanted >> v & 1))
		rowset_add(&c->d->other_role, s->first + i);
	return 0;
}

int roles_load(sae_dump *d, const sae_dump_opts *o, error *err)
{
	dump_spans spans = { 0 };
	chosen c = { .d = d };
	int rc = 0;

	for (size_t i = 0; i < o->n_roles && rc == 0; i++)
		for (const char *at = o->roles[i]; rc == 0; at += strcspn(at, ",") + 1) {
			unsigned number = 0;
			rc = role_number(&number, d, at, strcspn(at, ","), err);
			c.wanted |= UINT64_C(1) << number;
			if (!at[strcspn(at, ",")])
				break;
		}
	if (rc < 0 || o->n_roles == 0)
		return rc;
	rc = spans_from_shards(&spans, d, "roles", true, err);
	if (rc == 0 && spans.n == 0)
		rc = error_set(err, ERR_ARG, "roles are asked for, but '%s' has no tensor 'roles'",
		               sae_file_path(d->rows.items[0].file));
	if (rc == 0)
		rc = spans_check(&spans, d, "roles", true, err);
	if (rc == 0)
		rc = rowset_init(&d->other_role, d->info.n_rows, err);
	if (rc == 0)
		rc = spans_each(&spans, take_role, &c, err);
	free(spans.items);
	return rc;
}
