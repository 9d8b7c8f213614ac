/* A sweep's SAEs as a picture: L0 against FVU, as `gloss plot --pareto` draws it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/plot.h"
#include "cli/train_run.h"

/* Of what was lost there is nothing to show. */
static bool is_shown(const train_sae *s)
{
	return s->state != SAE_MEMBER_LOST && s->last.step > 0 && isfinite(s->last.fvu);
}

static run_info info_of(train_sae *s)
{
	return (run_info){ .dir = s->dir,
		           .features = s->plan.d_sae,
		           .fvu = s->last.fvu,
		           .l0 = s->last.l0,
		           .held_out_fvu = s->has_held_out ? s->held_out.fvu : (double)NAN,
		           .held_out_l0 = s->has_held_out ? s->held_out.l0 : (double)NAN };
}

int train_pareto(char path[FILE_PATH_MAX], const train_job *j, error *err)
{
	run_list runs = { .runs = calloc(j->n, sizeof(*runs.runs)) };
	const plot_request q = { .self = j->self, .runs = &runs };
	char *picture = NULL;
	int rc = runs.runs ? 0 : error_nomem(err, "the runs' marks");

	if (rc < 0)
		goto out;
	for (size_t i = 0; i < j->n; i++)
		if (is_shown(&j->saes[i]))
			runs.runs[runs.n++] = info_of(&j->saes[i]);
	rc = runs.n ? 0 : error_set(err, ERR_NOTFOUND, "all %zu SAEs are lost", j->n);
	if (rc == 0)
		rc = file_join(path, j->o->out, "pareto.svg", err);
	if (rc == 0)
		rc = plot_pareto(&picture, NULL, &q, err);
	if (rc == 0)
		rc = file_write(path, picture, strlen(picture), err);
out:
	free(picture);
	free(runs.runs);
	return rc;
}
