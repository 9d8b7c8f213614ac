/* The metrics log. */
#include "cli/train_log.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES ((size_t)1 << 24)

/* ---- Lines -------------------------------------------------------------------------------------------------------------- */

/* cJSON's own functions take NULL for an object, so a chain of additions is checked once at its end. */
static bool add_number(cJSON *object, const char *key, double value)
{
	return cJSON_AddNumberToObject(object, key, value) != NULL;
}

static bool add_part(cJSON *object, const char *key, cJSON *part)
{
	if (cJSON_AddItemToObject(object, key, part))
		return true;
	cJSON_Delete(part);
	return false;
}

static cJSON *if_good(cJSON *object, bool good)
{
	if (good)
		return object;
	cJSON_Delete(object);
	return NULL;
}

/* Takes the line; NULL: there was no memory for it. */
static void add_line(train_log *l, cJSON *line)
{
	char *printed = line ? json_print(line) : NULL;

	if (!l->file && !l->cause) {
		l->file = fopen(l->path, l->append ? "a" : "w");
		if (!l->file)
			l->cause = errno;
	}
	if (!printed)
		l->cause = l->cause ? l->cause : ENOMEM;
	else if (l->file && (fprintf(l->file, "%s\n", printed) < 0 || fflush(l->file) != 0) && !l->cause)
		l->cause = errno;
	free(printed);
	cJSON_Delete(line);
}

/* Of a Matryoshka SAE: where prefixes end and what each explains alone. */
static bool add_prefixes(cJSON *line, const sae_train_step *s)
{
	cJSON *list = s->n_prefixes ? cJSON_AddArrayToObject(line, "prefixes") : NULL;

	for (uint32_t i = 0; i < s->n_prefixes; i++) {
		cJSON *prefix = cJSON_CreateObject();

		if (!cJSON_AddItemToArray(list, prefix)) {
			cJSON_Delete(prefix);
			return false;
		}
		if (!add_number(prefix, "features", s->prefix_ends[i]) ||
		    !add_number(prefix, "fvu", s->prefix_fvu[i]))
			return false;
	}
	return true;
}

/* Of a crosscoder: what is left of each input. */
static bool add_inputs(cJSON *line, const double *fvu, uint32_t n)
{
	return !n || add_part(line, "input_fvu", cJSON_CreateDoubleArray(fvu, (int)n));
}

cJSON *train_step_json(const sae_train_step *s)
{
	cJSON *line = cJSON_CreateObject();
	double speed = s->seconds > 0 ? (double)s->tokens / s->seconds : 0;
	bool good = add_prefixes(line, s) && add_inputs(line, s->input_fvu, s->n_inputs);

	return if_good(
	        line,
	        good && add_number(line, "step", (double)s->step) &&
	                add_number(line, "tokens", (double)s->tokens) && add_number(line, "fvu", s->fvu) &&
	                add_number(line, "mse", s->mse) && add_number(line, "l0", s->l0) &&
	                add_number(line, "auxk", s->auxk) && add_number(line, "n_dead", (double)s->n_dead) &&
	                add_number(line, "lr", s->lr) &&
	                (isnan(s->sparsity) || add_number(line, "sparsity", s->sparsity)) &&
	                (isnan(s->coef) || add_number(line, "coef", s->coef)) &&
	                (isnan(s->k) || add_number(line, "k", s->k)) &&
	                (isnan(s->dense_steps) || add_number(line, "dense_steps", s->dense_steps)) &&
	                (!s->n_resampled || add_number(line, "n_resampled", (double)s->n_resampled)) &&
	                add_number(line, "grad_norm", s->grad_norm) &&
	                add_number(line, "seconds", s->seconds) && add_number(line, "tokens_per_s", speed));
}

cJSON *train_held_out_json(const sae_metrics *m)
{
	cJSON *line = cJSON_CreateObject();

	return if_good(line, add_number(line, "rows", (double)m->n_rows) && add_number(line, "fvu", m->fvu) &&
	                             add_number(line, "mse", m->mse) && add_number(line, "l0", m->l0) &&
	                             add_number(line, "n_dead", (double)m->n_dead) &&
	                             add_inputs(line, m->input_fvu, m->n_inputs));
}

void train_log_begin(train_log *l, const char *kernels, const char *screening, cJSON *options, cJSON *plan,
                     cJSON *dead)
{
	cJSON *line = cJSON_CreateObject();
	bool good = cJSON_AddStringToObject(line, "gloss", GLOSS_VERSION) &&
	            cJSON_AddStringToObject(line, "kernels", kernels) &&
	            cJSON_AddStringToObject(line, "screening", screening);

	good = add_part(line, "options", options) && good;
	good = add_part(line, "plan", plan) && good;
	good = add_part(line, "dead_at_start", dead) && good;
	add_line(l, if_good(line, good));
}

static bool is_due(const train_log *l, const sae_train_step *s)
{
	return s->step == 1 || s->step == s->steps || s->step % l->every == 0;
}

void train_log_step(train_log *l, const sae_train_step *s)
{
	if (is_due(l, s))
		add_line(l, train_step_json(s));
}

void train_log_stopped_at(train_log *l, const sae_train_step *s)
{
	cJSON *line;

	if (s->step == 0 || is_due(l, s))
		return;
	line = train_step_json(s);
	add_line(l, if_good(line, cJSON_AddBoolToObject(line, "stopped", true) != NULL));
}

void train_log_held_out(train_log *l, uint64_t step, const sae_metrics *m)
{
	cJSON *line = cJSON_CreateObject();
	bool good = add_number(line, "step", (double)step);

	add_line(l, if_good(line, add_part(line, "held_out", train_held_out_json(m)) && good));
}

void train_log_warning(train_log *l, uint64_t step, const char *message)
{
	cJSON *line = cJSON_CreateObject();

	add_line(l, if_good(line, add_number(line, "step", (double)step) &&
	                                  cJSON_AddStringToObject(line, "warning", message)));
}

void train_log_end(train_log *l, uint64_t step, const char *how, const sae_metrics *held_out)
{
	cJSON *line = cJSON_CreateObject();

	add_line(l, if_good(line, add_number(line, "step", (double)step) &&
	                                  (!held_out ||
	                                   add_part(line, "held_out", train_held_out_json(held_out))) &&
	                                  cJSON_AddStringToObject(line, "end", how)));
}

void train_log_close(train_log *l)
{
	if (l->file && fclose(l->file) != 0 && !l->cause)
		l->cause = errno;
	l->file = NULL;
}

/* ---- Cutting back ------------------------------------------------------------------------------------------------------- */

/* 1 if a line stays: its step was taken, and no later run will say it again. 0: not, also when it is no JSON. ERR_NOMEM. */
static int stays(const char *line, size_t n, uint64_t step)
{
	cJSON *object = NULL;
	uint64_t at = 0;
	int rc = 0;

	if (n == 0 || line[n - 1] != '\n')
		return 0;
	rc = json_parse(&object, line, n, LINE_BYTES, 16, "a line of the log", NULL);
	if (rc == 0)
		rc = json_get_u64(&at, object, "step", "a line of the log", NULL);
	if (rc == 0)
		rc = at <= step && !cJSON_HasObjectItem(object, "stopped") &&
		     !cJSON_HasObjectItem(object, "end");
	cJSON_Delete(object);
	return rc == ERR_NOMEM || rc > 0 ? rc : 0;
}

/* The lines that stay, from f to w. */
static int copy_lines(file_writer *w, FILE *f, const char *path, uint64_t step, error *err)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n = 0;
	int rc = 0;

	while (rc == 0 && (n = getline(&line, &cap, f)) > 0) {
		int keep = stays(line, (size_t)n, step);

		if (keep > 0)
			rc = file_writer_add(w, line, (size_t)n, err);
		else if (keep < 0)
			rc = error_nomem(err, "a line of the log");
	}
	if (rc == 0 && !feof(f))
		rc = error_errno(err, errno, "cannot read '%s'", path);
	free(line);
	return rc;
}

int train_log_cut(const char *path, uint64_t step, error *err)
{
	file_writer w = { 0 };
	FILE *f = fopen(path, "r");
	int rc;

	if (!f)
		return errno == ENOENT ? 0 : error_errno(err, errno, "cannot read '%s'", path);
	rc = file_writer_open(&w, path, err);
	if (rc == 0)
		rc = copy_lines(&w, f, path, step, err);
	if (rc == 0)
		rc = file_writer_commit(&w, err);
	file_writer_abort(&w);
	fclose(f);
	return rc;
}
