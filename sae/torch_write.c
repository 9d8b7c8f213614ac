/* What torch.save() makes of a dict of tensors: a zip archive with a pickle that names the storages, and the storages. */
#include "sae/zip_write.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_BEFORE = 3, NAME_BYTES = 64, PICKLE_MAX = 1 << 20 };

static int put_text(text *p, const char *s)
{
	uint32_t n = (uint32_t)strlen(s);
	int rc = text_adds(p, "X"); /* BINUNICODE */

	if (rc == 0)
		rc = text_add(p, (const char *)&n, sizeof(n));
	return rc == 0 ? text_add(p, s, n) : rc;
}

static int put_number(text *p, uint64_t n)
{
	int rc = text_add(p, "\x8a\x08", 2); /* LONG1 of 8 bytes */

	return rc == 0 ? text_add(p, (const char *)&n, sizeof(n)) : rc;
}

/* (shape), or the strides of a contiguous tensor */
static int put_dims(text *p, const sae_tensor_out *t, bool strides)
{
	int rc = text_adds(p, "(");

	for (unsigned i = 0; i < t->n_dims && rc == 0; i++) {
		uint64_t n = strides ? 1 : t->dims[i];

		for (unsigned j = i + 1; strides && j < t->n_dims; j++)
			n *= t->dims[j];
		rc = put_number(p, n);
	}
	return rc == 0 ? text_adds(p, "t") : rc;
}

static int put_tensor(text *p, const sae_tensor_out *t, size_t key)
{
	char storage[48], number[24];
	uint64_t count = 1;
	int rc;

	for (unsigned i = 0; i < t->n_dims; i++)
		count *= t->dims[i];
	snprintf(storage, sizeof(storage), "ctorch\n%sStorage\n",
	         t->dtype == SAE_F32   ? "Float"
	         : t->dtype == SAE_I32 ? "Int"
	                               : "Long");
	snprintf(number, sizeof(number), "%zu", key);
	rc = put_text(p, t->name);
	if (rc == 0) /* the function, then a tuple of its arguments: first the storage, a tuple of five */
		rc = text_adds(p, "ctorch._utils\n_rebuild_tensor_v2\n((");
	if (rc == 0)
		rc = put_text(p, "storage");
	if (rc == 0)
		rc = text_adds(p, storage);
	if (rc == 0)
		rc = put_text(p, number);
	if (rc == 0)
		rc = put_text(p, "cpu");
	if (rc == 0)
		rc = put_number(p, count);
	if (rc == 0)
		rc = text_add(p, "tQK\0", 4); /* that tuple as a persistent id; offset 0 */
	if (rc == 0)
		rc = put_dims(p, t, false);
	if (rc == 0)
		rc = put_dims(p, t, true);
	if (rc == 0) /* needs no gradient, has no hooks; call */
		rc = text_adds(p, "\x89"
		                  "ccollections\nOrderedDict\n)RtR");
	return rc;
}

static int put_pickle(text *p, const sae_tensor_out *t, size_t n)
{
	int rc = text_adds(p, "\x80\x02}("); /* protocol 2, a dict */

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = put_tensor(p, &t[i], i);
	return rc == 0 ? text_adds(p, "u.") : rc;
}

int torch_write(const char *path, const sae_tensor_out *t, size_t n, error *err)
{
	zip_part *parts = calloc(MEMBERS_BEFORE + n, sizeof(*parts));
	char(*storages)[NAME_BYTES] = calloc(n, sizeof(*storages));
	const char **names = calloc(MEMBERS_BEFORE + n, sizeof(*names));
	text pickle;
	int rc = parts && storages && names ? 0 : error_nomem(err, "a .pt file");

	text_init(&pickle, PICKLE_MAX);
	if (rc == 0 && put_pickle(&pickle, t, n) < 0)
		rc = error_nomem(err, "a .pt file");
	if (rc == 0) {
		names[0] = "archive/data.pkl";
		parts[0] = (zip_part){ .head = pickle.data, .head_bytes = pickle.len };
		names[1] = "archive/byteorder";
		parts[1] = (zip_part){ .head = "little", .head_bytes = 6 };
		names[2] = "archive/version";
		parts[2] = (zip_part){ .head = "3\n", .head_bytes = 2 };
	}
	for (size_t i = 0; i < n && rc == 0; i++) {
		uint64_t bytes = sae_dtype_size(t[i].dtype);

		for (unsigned j = 0; j < t[i].n_dims; j++)
			bytes *= t[i].dims[j];
		snprintf(storages[i], NAME_BYTES, "archive/data/%zu", i);
		names[MEMBERS_BEFORE + i] = storages[i];
		parts[MEMBERS_BEFORE + i] = (zip_part){ .head = t[i].data, .head_bytes = bytes };
	}
	if (rc == 0)
		rc = zip_write(path, names, parts, MEMBERS_BEFORE + n, err);
	text_free(&pickle);
	free(parts);
	free(storages);
	free(names);
	return rc;
}
