/* The latest label of one feature after the other, for lists of features. */
#include "store/query_internal.h"

int label_lookup_init(label_lookup *l, store *s, int64_t source, error *err)
{
	*l = (label_lookup){ .s = s, .source = source };
	return store_prepare(
	        &l->row, s,
	        "SELECT e.text FROM current_label c JOIN explanation e ON e.id = c.explanation_id"
	        " WHERE c.source_id = ?1 AND c.feature = ?2",
	        err);
}

int label_lookup_put(label_lookup *l, cJSON *object, uint32_t feature, bool *failed, error *err)
{
	bool more = false;
	int rc;

	sqlite3_reset(l->row);
	rc = store_bind(l->s, l->row, err, "ii", l->source, (int64_t)feature);
	if (rc == 0)
		rc = store_step(l->s, l->row, &more, err);
	if (rc < 0)
		return rc;
	if (more)
		json_put_column(object, "label", l->row, 0, failed);
	else
		json_put_text(object, "label", NULL, failed);
	return 0;
}

void label_lookup_clear(label_lookup *l)
{
	sqlite3_finalize(l->row);
	l->row = NULL;
}
