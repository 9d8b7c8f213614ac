/* What the writers of formats share: see layout.h. */
#include <stdlib.h>
#include <string.h>

#include "sae/layout.h"
#include "sae/turn.h"

float *layout_turn(const float *x, size_t rows, size_t columns)
{
	float *out = mem_alloc_aligned(columns, rows * sizeof(float));

	if (out)
		turn_floats(out, rows, x, columns, rows, columns);
	return out;
}

float *layout_bias(const sae_model *m, bool centers)
{
	float *out = mem_alloc_aligned(m->d_sae, sizeof(float));

	for (size_t f = 0; out && f < m->d_sae; f++) {
		const float *row = m->W_enc + f * m->d_in;
		double through = 0;

		if (centers != m->centers)
			for (size_t i = 0; i < m->d_in; i++)
				through += (double)row[i] * m->b_dec[i];
		out[f] = (float)(m->b_enc[f] + (centers ? through : -through));
	}
	return out;
}

float *layout_thresholds(const sae_model *m)
{
	float *out = mem_alloc_aligned(m->d_sae, sizeof(float));

	if (out && m->threshold)
		memcpy(out, m->threshold, m->d_sae * sizeof(float));
	return out;
}

int layout_write_json(cJSON *json, const char *dir, const char *name, error *err)
{
	char *data = json ? json_print(json) : NULL;
	char path[FILE_PATH_MAX];
	int rc = data ? file_join(path, dir, name, err) : error_nomem(err, name);

	if (rc == 0)
		rc = file_write(path, data, strlen(data), err);
	free(data);
	cJSON_Delete(json);
	return rc;
}
