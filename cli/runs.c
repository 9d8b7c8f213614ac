/* See runs.h. What a run is comes from cfg.json or its checkpoint, how far it is from its log. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/run_log.h"
#include "cli/runs.h"
#include "sae/sae.h"

#define CONFIG_MAX ((size_t)16 << 20)

enum {
	QUIET_SECONDS = 120
}; /* after which a run that says nothing is taken for dead; or three times its usual pause */

/* What the files of one folder said, before a state is made of it. */
typedef struct reading {
	run_info *r;
	arena *mem;
	double config_step;        /* steps that cfg.json's weights had; NaN: no cfg.json, or a foreign one */
	bool has_config, recorded; /* recorded: cfg.json has our part */
	bool has_checkpoint;
	double seconds,
	        pause; /* of the log: when its last line was written, and how long after the one before */
	bool ended;    /* the log says so itself, or a cfg.json that is of the same step: how */
	char end[256], config_end[256];
} reading;

static bool modified(const char *path, time_t *when)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	*when = st.st_mtime;
	return true;
}

static void take(double *into, const cJSON *object, const char *name)
{
	double value = run_log_number(object, name);

	if (!isnan(value))
		*into = value;
}

static void take_string(const char **into, const cJSON *object, const char *name, arena *mem)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
	const char *copy = s ? arena_strdup(mem, s) : NULL;

	if (copy)
		*into = copy;
}

static bool copy_string(char *out, size_t size, const cJSON *object, const char *name)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	if (s)
		snprintf(out, size, "%s", s);
	return s != NULL;
}

/* The options a run was given and what was made of them; the same in cfg.json and in a checkpoint. */
static void take_options(reading *d, const cJSON *object)
{
	const cJSON *options = cJSON_GetObjectItemCaseSensitive(object, "options");
	run_info *r = d->r;

	take_string(&r->arch, options, "arch", d->mem);
	take(&r->features, options, "features");
	take(&r->k, options, "k");
	take(&r->seed, options, "seed");
	take(&r->seed, object, "seed");
	take(&r->lr, object, "plan.lr");
	take(&r->steps, object, "plan.steps");
}

/* ---- cfg.json, checkpoint, log --------------------------------------------------------------------------------------- */

static int read_config(reading *d, const char *path, cJSON **config, error *err)
{
	const cJSON *metadata, *gloss;
	run_info *r = d->r;
	int rc = json_read_file(config, path, CONFIG_MAX, err);

	if (rc < 0)
		return rc;
	if (!cJSON_IsObject(*config))
		return error_set(err, ERR_FORMAT, "'%s' is not a JSON object", path);
	metadata = cJSON_GetObjectItemCaseSensitive(*config, "metadata");
	gloss = cJSON_GetObjectItemCaseSensitive(metadata, "gloss");
	d->has_config = true;
	d->recorded = cJSON_IsObject(gloss);
	copy_string(d->config_end, sizeof(d->config_end), gloss, "end");
	take_options(d, gloss);
	take_string(&r->arch, *config, "architecture", d->mem);
	take(&r->features, *config, "d_sae");
	take(&r->k, *config, "k");
	take(&r->l0, metadata, "l0");
	take(&r->n_dead, metadata, "num_dead_features");
	take(&r->tokens, gloss, "tokens");
	take(&r->fvu, gloss, "fvu");
	take(&r->held_out_fvu, gloss, "held_out.fvu");
	take(&r->held_out_l0, gloss, "held_out.l0");
	take(&d->config_step, gloss, "steps");
	r->step = d->config_step;
	return 0;
}

static bool is_sweep(const cJSON *config)
{
	const cJSON *options = cJSON_GetObjectItemCaseSensitive(config, "options");

	return cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(options, "sweep")) > 0;
}

/* The runs of a sweep share the checkpoint of the folder above. */
static void read_checkpoint_above(reading *d)
{
	char above[FILE_PATH_MAX];
	cJSON *config = NULL, *done = NULL;

	if (file_join(above, d->r->dir, "..", NULL) < 0 ||
	    sae_checkpoint_look(&config, &done, above, NULL) < 0)
		return; /* of the folder above it is told when that is looked at */
	if (is_sweep(config)) {
		d->has_checkpoint = true;
		take(&d->r->saved_step, done, "step");
	}
	cJSON_Delete(done);
	cJSON_Delete(config);
}

static int read_checkpoint(reading *d, error *err)
{
	cJSON *config = NULL, *done = NULL;
	int rc = sae_checkpoint_look(&config, &done, d->r->dir, err);

	if (rc == ERR_NOTFOUND) {
		*err = (error){ 0 };
		read_checkpoint_above(d);
		return 0;
	}
	if (rc < 0)
		return rc;
	d->has_checkpoint = true;
	if (!d->recorded) {
		take_options(d, config);
		take(&d->r->tokens, done, "tokens");
		take(&d->r->step, done, "step");
	}
	take(&d->r->saved_step, done, "step");
	d->r->is_sweep = is_sweep(config) && !d->has_config;
	cJSON_Delete(done);
	cJSON_Delete(config);
	return 0;
}

static int take_line(void *payload, const cJSON *line)
{
	reading *d = payload;
	run_info *r = d->r;
	double seconds = run_log_number(line, "seconds");

	take_options(d, line);
	if (!isnan(run_log_number(line, "fvu"))) {
		take(&r->step, line, "step");
		take(&r->tokens, line, "tokens");
		take(&r->fvu, line, "fvu");
		take(&r->l0, line, "l0");
		take(&r->n_dead, line, "n_dead");
		take(&r->tokens_per_s, line, "tokens_per_s");
	}
	take(&r->held_out_fvu, line, "held_out.fvu");
	take(&r->held_out_l0, line, "held_out.l0");
	if (!isnan(seconds)) {
		d->pause = seconds - d->seconds;
		d->seconds = seconds;
	}
	d->ended = copy_string(d->end, sizeof(d->end), line, "end");
	return 0;
}

bool run_log_path(char out[FILE_PATH_MAX], const char *dir, const cJSON *config)
{
	const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(config, "metadata"),
	            *gloss = cJSON_GetObjectItemCaseSensitive(metadata, "gloss"),
	            *options = cJSON_GetObjectItemCaseSensitive(gloss, "options");
	const char *elsewhere = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(options, "log"));

	if (file_join(out, dir, "train.jsonl", NULL) == 0 && file_exists(out))
		return true;
	return elsewhere && snprintf(out, FILE_PATH_MAX, "%s", elsewhere) < FILE_PATH_MAX && file_exists(out);
}

/* ---- State -------------------------------------------------------------------------------------------------------------- */

static run_state state_at_end(run_info *r, const char *end)
{
	if (strcmp(end, "finished") == 0)
		return RUN_FINISHED;
	if (strcmp(end, "stopped early") == 0)
		return RUN_EARLY;
	if (strcmp(end, "saved") == 0)
		return RUN_SAVED;
	snprintf(r->why, sizeof(r->why), "%s", end);
	return RUN_LOST;
}

static run_state state_of(const reading *d, const char *log)
{
	run_info *r = d->r;
	bool own_weights = d->recorded && (!log || isnan(r->step) || r->step == d->config_step);
	double patience = QUIET_SECONDS > 3 * d->pause ? QUIET_SECONDS : 3 * d->pause;
	time_t written;

	if (d->ended)
		return state_at_end(r, d->end);
	if (d->has_config && !d->recorded && !log && !d->has_checkpoint)
		return RUN_FOREIGN;
	if (own_weights && d->config_end[0])
		return state_at_end(r, d->config_end);
	if (own_weights && (isnan(r->steps) || d->config_step >= r->steps))
		return RUN_FINISHED;
	if (!own_weights && log && modified(log, &written) && difftime(time(NULL), written) < patience)
		return RUN_RUNNING;
	return own_weights || d->has_checkpoint ? RUN_SAVED : RUN_CUT_OFF;
}

static int read_files(reading *d, char log[FILE_PATH_MAX], bool *has_log, error *err)
{
	char path[FILE_PATH_MAX];
	cJSON *config = NULL;
	int rc = file_join(path, d->r->dir, "cfg.json", err);

	if (rc == 0 && file_exists(path))
		rc = read_config(d, path, &config, err);
	if (rc == 0)
		rc = read_checkpoint(d, err);
	*has_log = run_log_path(log, d->r->dir, config);
	if (rc == 0 && *has_log)
		rc = run_log_read(log, take_line, d, err);
	if (isnan(d->r->saved_step))
		d->r->saved_step = d->config_step;
	cJSON_Delete(config);
	return rc;
}

static bool holds_run(const char *dir)
{
	static const char *const files[] = { "cfg.json", "train.jsonl", "checkpoint/state.safetensors" };
	char path[FILE_PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (file_join(path, dir, files[i], NULL) == 0 && file_exists(path))
			return true;
	return false;
}

int run_read(run_info *r, const char *dir, arena *mem, error *err)
{
	const double none = (double)NAN;
	reading d = { .r = r, .mem = mem, .config_step = none };
	char log[FILE_PATH_MAX];
	error why = { 0 };
	bool has_log = false;

	*r = (run_info){ NULL, NULL, NULL, none, none, none, none, none,  none,       none,
		         none, none, none, none, none, none, none, false, RUN_BROKEN, "" };
	if (!holds_run(dir))
		return error_set(err, ERR_NOTFOUND,
		                 "'%s' holds no run (cfg.json, train.jsonl or checkpoint/)", dir);
	r->dir = arena_strdup(mem, dir);
	if (!r->dir)
		return error_nomem(err, "a list of runs");
	if (read_files(&d, log, &has_log, &why) < 0) {
		if (why.code == ERR_NOMEM)
			return error_nomem(err, "a list of runs");
		snprintf(r->why, sizeof(r->why), "%s", why.msg);
	} else {
		r->state = state_of(&d, has_log ? log : NULL);
	}
	r->is_sweep &= !has_log && r->state != RUN_BROKEN;
	if (has_log && !(r->log = arena_strdup(mem, log)))
		return error_nomem(err, "a list of runs");
	return 0;
}

const char *run_state_name(run_state s)
{
	static const char *const names[] = { "finished", "stopped early", "saved",     "running",
		                             "cut off",  "lost",          "no record", "broken" };

	return names[s];
}

void run_state_text(char *out, size_t size, const run_info *r)
{
	if (r->state == RUN_BROKEN || r->state == RUN_LOST)
		snprintf(out, size, "%s: %s", run_state_name(r->state), r->why);
	else if (r->state == RUN_SAVED && !isnan(r->saved_step))
		snprintf(out, size, "saved at step %.0f", r->saved_step);
	else
		snprintf(out, size, "%s", run_state_name(r->state));
}
