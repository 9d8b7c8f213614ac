/* The folder that a run writes to, and the checkpoint there. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/train_run.h"

/* ---- The output folder -------------------------------------------------------------------------------------------------- */

/* Whether a file can be made there, without leaving one. */
static int probe(const char *path, error *err)
{
	file_writer w = { 0 };
	int rc = file_writer_open(&w, path, err);

	file_writer_abort(&w);
	return rc;
}

/* Two runs into one folder would take turns in spoiling it. The lock ends with the process. */
static int lock_folder(int *lock, const char *dir, error *err)
{
	*lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return error_set(err, ERR_BUSY, "another process is training into '%s'", dir);
	return 0; /* some network file systems have no locks */
}

static int check_empty(const char *dir, const char *name, bool has_checkpoint, const train_opts *o,
                       error *err)
{
	char path[FILE_PATH_MAX];
	int rc = file_join(path, dir, name, err);

	if (rc < 0 || o->force || !file_exists(path))
		return rc;
	if (!o->resume)
		return error_set(
		        err, ERR_EXISTS,
		        "'%s' holds a run already (%s): name another folder or give --resume or --force", dir,
		        name);
	if (!has_checkpoint) /* not to be written over by a batch queue */
		return error_set(
		        err, ERR_EXISTS,
		        "'%s' holds a run (%s) but no checkpoint to go on from: give --force to start "
		        "afresh",
		        dir, name);
	return 0;
}

/* Temporary files of a process that was killed; the folder is locked. */
static void remove_leftovers(const char *dir)
{
	static const char *const names[] = { "cfg.json.", "sae_weights.safetensors.", "sparsity.safetensors.",
		                             "train.jsonl." };
	const struct dirent *entry;
	DIR *d = opendir(dir);

	while (d && (entry = readdir(d))) {
		size_t n = strlen(entry->d_name);

		for (size_t i = 0; i < ARRAY_LEN(names) && n > 5; i++)
			if (strncmp(entry->d_name, names[i], strlen(names[i])) == 0 &&
			    strcmp(entry->d_name + n - 5, ".part") == 0)
				unlinkat(dirfd(d), entry->d_name, 0);
	}
	if (d)
		closedir(d);
}

static int prepare_sae(train_sae *s, const train_opts *o, bool has_checkpoint, error *err)
{
	int rc = check_empty(s->dir, "cfg.json", has_checkpoint, o, err);

	s->made = rc == 0 && !file_exists(s->dir);
	if (rc == 0)
		rc = file_mkdir(s->dir, err);
	if (rc == 0)
		remove_leftovers(s->dir);
	if (rc == 0 && o->log && snprintf(s->log_path, sizeof(s->log_path), "%s", o->log) >= FILE_PATH_MAX)
		rc = error_set(err, ERR_LIMIT, "the name of the log is too long");
	if (rc == 0 && !o->log)
		rc = file_join(s->log_path, s->dir, "train.jsonl", err);
	return rc == 0 ? probe(s->log_path, err) : rc;
}

int train_prepare_output(train_job *j, int *lock, error *err)
{
	const train_opts *o = j->o;
	bool has_checkpoint = sae_saved_exists(o->out);
	int rc = check_empty(o->out, "cfg.json", has_checkpoint, o, err);

	if (rc == 0)
		rc = check_empty(o->out, "checkpoint/state.safetensors", has_checkpoint, o, err);
	j->made = rc == 0 && !file_exists(o->out);
	if (rc == 0)
		rc = file_mkdir(o->out, err);
	if (rc == 0)
		rc = lock_folder(lock, o->out, err);
	for (size_t i = 0; i < j->n && rc == 0; i++)
		rc = prepare_sae(&j->saes[i], o, has_checkpoint, err);
	return rc;
}

void train_remove_empty(const train_job *j)
{
	for (size_t i = 0; i < j->n; i++)
		if (j->saes[i].made)
			rmdir(j->saes[i].dir);
	if (j->made)
		rmdir(j->o->out);
}

/* ---- Going on ----------------------------------------------------------------------------------------------------------- */

/* Options that may differ from the checkpoint's. What the dump holds is told by its hash, not by these. */
static const char *const free_options[] = {
	"output",
	"log",
	"log-every",
	"threads",
	"kernels",
	"checkpoint-every",
	"checkpoint-minutes",
	"time-limit",
	"memory-limit",
	"eval-every",
	"patience",
	"resume",
	"extend",
	"force",
	"key",
	"target", /* what the dumps hold is compared */
	"target-key",
	"cross",
	"cross-key",
	"dtype",
	"manifest",
	"ctx-len",
	"nan",
	NULL, /* room for what --extend may change, and the end */
	NULL,
	NULL,
};

int train_open_saved(train_job *j, error *err)
{
	const char *ignore[ARRAY_LEN(free_options)];
	size_t n = 0;
	error why = { 0 };
	int rc;

	if (!j->o->resume || !sae_saved_exists(j->o->out))
		return 0;
	memcpy(ignore, free_options, sizeof(ignore));
	while (ignore[n])
		n++;
	if (j->o->extend) {
		ignore[n] = "steps";
		ignore[n + 1] = "tokens";
	}
	rc = sae_saved_open(&j->saved, j->o->out, err);
	if (rc == 0 && sae_saved_compare(j->saved, j->options, ignore, &why) < 0)
		rc = error_set(err, why.code, "cannot resume: %s", why.msg);
	if (rc < 0)
		return rc;
	j->resumed_at = sae_saved_get_info(j->saved)->steps_taken;
	if (sae_saved_compare_machine(j->saved, j->o->kernels, &why) < 0)
		cli_warn(j->self, "the last bits may differ from those of an uninterrupted run: %s", why.msg);
	return 0;
}

/* What the run that made the SAE in the folder recorded of itself; NULL: none that came to its end. */
static cJSON *read_record(const train_sae *s)
{
	char path[FILE_PATH_MAX];
	cJSON *config = NULL, *gloss = NULL;
	const char *end = NULL;

	if (file_join(path, s->dir, "cfg.json", NULL) == 0 &&
	    json_read_file(&config, path, (size_t)1 << 24, NULL) == 0)
		gloss = cJSON_DetachItemFromObjectCaseSensitive(
		        cJSON_GetObjectItemCaseSensitive(config, "metadata"), "gloss");
	cJSON_Delete(config);
	if (json_get_string(&end, gloss, "end", path, NULL) == 0 && end && strcmp(end, "saved") != 0)
		return gloss;
	cJSON_Delete(gloss);
	return NULL;
}

/* A run that is over, with nothing asked that it has not done. */
bool train_is_over(const train_job *j)
{
	const sae_saved_info *info;

	if (!j->saved || j->o->extend)
		return false;
	info = sae_saved_get_info(j->saved);
	if (info->n_running && info->steps_taken < info->steps)
		return false;
	for (size_t i = 0; i < j->n; i++) {
		cJSON *record = read_record(&j->saes[i]);

		cJSON_Delete(record);
		if (!record)
			return false;
	}
	return true;
}

cJSON *train_over_json(const train_job *j)
{
	cJSON *o = cJSON_CreateObject(), *list = cJSON_CreateArray();
	bool good = cJSON_AddStringToObject(o, "dir", j->o->out) && cJSON_AddTrueToObject(o, "already");

	for (size_t i = 0; i < j->n && good; i++) {
		cJSON *record = read_record(&j->saes[i]);

		good = cJSON_AddStringToObject(record, "dir", j->saes[i].dir) &&
		       cJSON_AddItemToArray(list, record);
		if (!good)
			cJSON_Delete(record);
	}
	if (good && cJSON_AddItemToObject(o, "saes", list))
		return o;
	cJSON_Delete(list);
	cJSON_Delete(o);
	return NULL;
}

int train_branch_folder(char path[FILE_PATH_MAX], const train_job *j, error *err)
{
	return file_join(path, j->o->out, "checkpoint/constant", err);
}

int train_remove_saved(const train_job *j, error *err)
{
	char path[FILE_PATH_MAX];
	int rc = train_branch_folder(path, j, err);

	if (rc == 0)
		rc = sae_saved_remove(path, err);
	return rc == 0 ? sae_saved_remove(j->o->out, err) : rc;
}

/* To the state of before the anneal. */
static int take_branch(train_job *j, error *err)
{
	char path[FILE_PATH_MAX];
	sae_saved *before = NULL;
	int rc = train_branch_folder(path, j, err);

	if (rc == 0)
		rc = sae_saved_open(&before, path, err);
	if (rc == ERR_NOTFOUND)
		return error_set(err, ERR_NOTFOUND,
		                 "the run has annealed since step %" PRIu64
		                 ", and '%s', its state of before, is not there",
		                 sae_saved_get_info(j->saved)->anneal_from, path);
	if (rc < 0)
		return rc;
	sae_saved_close(j->saved);
	j->saved = before;
	j->resumed_at = sae_saved_get_info(before)->steps_taken;
	return 0;
}

/* Warm-up and cool-down were; the anneal comes at the new end, not before where the run is. */
static void plan_phases(sae_train_opts *plan, const sae_saved_info *info, bool extended)
{
	uint64_t anneal = (uint64_t)llround(plan->decay * (double)plan->steps);

	plan->warmup = info->warmup;
	plan->cooldown = info->cooldown;
	plan->anneal_from = extended ? plan->steps - anneal : info->anneal_from;
	if (plan->anneal_from < info->steps_taken && extended)
		plan->anneal_from = info->steps_taken;
}

/* Steps in all of a run that goes on: the checkpoint's, or what --extend asks for. */
static uint64_t steps_asked(const train_job *j, bool grown)
{
	const sae_saved_info *info = sae_saved_get_info(j->saved);
	const sae_train_opts *asked = &j->saes[0].plan;
	uint64_t rows = sae_rows_n(j->in.rows, false);

	if (j->o->extend && asked->steps)
		return asked->steps;
	if (j->o->extend && asked->tokens)
		return (asked->tokens + asked->batch - 1) / asked->batch;
	return grown ? info->steps_taken + (rows < asked->batch ? 1 : rows / asked->batch) : info->steps;
}

int train_extend_plan(train_job *j, bool grown, error *err)
{
	const sae_saved_info *info = sae_saved_get_info(j->saved);
	uint64_t steps = steps_asked(j, grown);

	j->extended = grown || steps != info->steps;
	if (j->extended && info->anneal_from && info->steps_taken > info->anneal_from) {
		int rc = take_branch(j, err);

		if (rc < 0)
			return rc;
		info = sae_saved_get_info(j->saved);
		steps = steps_asked(j, grown);
	}
	if (steps < info->steps_taken)
		return error_set(err, ERR_ARG,
		                 "--extend to %" PRIu64 " steps: the checkpoint has taken %" PRIu64
		                 " already",
		                 steps, info->steps_taken);
	for (size_t i = 0; i < j->n; i++) {
		j->saes[i].plan.steps = steps;
		j->saes[i].plan.tokens = 0;
		if (info->anneal_from)
			plan_phases(&j->saes[i].plan, info, j->extended);
	}
	return 0;
}
