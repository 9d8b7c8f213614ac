/* See run_log.h. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/run_log.h"
#include "cli/runs.h"

#define LOG_MAX  ((size_t)1 << 30)
#define LINE_MAX ((size_t)1 << 24)

static int parse_line(cJSON **out, const char *line, size_t n, const char *path, size_t number, error *err)
{
	error why = { 0 };
	int rc = json_parse(out, line, n, LINE_MAX, 16, path, &why);

	if (rc == 0 && cJSON_IsObject(*out))
		return 0;
	if (rc == ERR_NOMEM)
		return error_nomem(err, path);
	return error_set(err, ERR_FORMAT, "'%s': line %zu is not a JSON object", path, number);
}

int run_log_read(const char *path, int (*line)(void *payload, const cJSON *object), void *payload, error *err)
{
	char *data = NULL, *at, *end;
	size_t n = 0, number = 1;
	int rc = file_read(&data, &n, path, LOG_MAX, err);

	if (rc < 0)
		return rc;
	for (at = data; rc == 0 && (end = memchr(at, '\n', n - (size_t)(at - data)));
	     at = end + 1, number++) {
		cJSON *object = NULL;

		rc = parse_line(&object, at, (size_t)(end - at), path, number, err);
		if (rc == 0)
			rc = line(payload, object);
		cJSON_Delete(object);
	}
	free(data);
	return rc;
}

double run_log_number(const cJSON *object, const char *name)
{
	char member[128];
	const cJSON *value = object;

	while (*name) {
		size_t n = strcspn(name, ".");

		if (n >= sizeof(member))
			return (double)NAN;
		memcpy(member, name, n);
		member[n] = '\0';
		value = cJSON_GetObjectItemCaseSensitive(value, member);
		name += n + (name[n] == '.');
	}
	return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

/* ---- Following -------------------------------------------------------------------------------------------------------- */

typedef struct follower {
	const char *path;
	FILE *f;
	uint64_t at; /* bytes printed */
	char *line;  /* the last one, for getline() */
	size_t cap;
	bool ended; /* a line said so */
} follower;

static void wait_a_little(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 250000000 }, NULL); /* a signal ends it early */
}

/* Whether the line just printed is the run's last. */
static bool says_end(const char *line, size_t n)
{
	cJSON *object = NULL;
	bool end = json_parse(&object, line, n, LINE_MAX, 16, "log", NULL) == 0 &&
	           cJSON_HasObjectItem(object, "end");

	cJSON_Delete(object);
	return end;
}

/* Prints the whole lines behind f->at. The file is opened anew each time: a resumed run may put another in its place. */
static int print_new(follower *f, bool *grew, error *err)
{
	ssize_t n;
	long length;
	int rc = 0;

	*grew = false;
	f->f = fopen(f->path, "r");
	if (!f->f)
		return error_errno(err, errno, "cannot open '%s'", f->path);
	if (fseek(f->f, 0, SEEK_END) < 0 || (length = ftell(f->f)) < 0) {
		rc = error_errno(err, errno, "cannot read '%s'", f->path);
		goto out;
	}
	if ((uint64_t)length < f->at)
		f->at = (uint64_t)length; /* cut back to its checkpoint; what follows is new */
	if (fseek(f->f, (long)f->at, SEEK_SET) < 0) {
		rc = error_errno(err, errno, "cannot read '%s'", f->path);
		goto out;
	}
	while ((n = getline(&f->line, &f->cap, f->f)) > 0 && f->line[n - 1] == '\n') {
		fwrite(f->line, 1, (size_t)n, stdout);
		f->at += (uint64_t)n;
		f->ended = says_end(f->line, (size_t)n - 1);
		*grew = true;
	}
	fflush(stdout);
out:
	fclose(f->f);
	return rc;
}

static bool finished(const char *dir)
{
	run_info r;
	arena mem = ARENA_INIT;
	bool yes = run_read(&r, dir, &mem, NULL) == 0 &&
	           (r.state == RUN_FINISHED || r.state == RUN_EARLY || r.state == RUN_LOST);

	arena_clear(&mem);
	return yes;
}

int run_log_follow(const char *dir, error *err)
{
	char path[FILE_PATH_MAX];
	follower f = { .path = path };
	bool grew, quiet = false;
	int rc = 0;

	if (!run_log_path(path, dir, NULL))
		return error_set(err, ERR_NOTFOUND,
		                 "'%s' has no log (train.jsonl): name the folder of one run", dir);
	while (rc == 0 && !ferror(stdout)) {
		rc = print_new(&f, &grew, err);
		/* the held-out line comes after cfg.json: wait until nothing more does */
		if (f.ended || cli_stop_requested() || (!grew && quiet && finished(dir)))
			break;
		quiet = !grew;
		wait_a_little();
	}
	free(f.line);
	return rc;
}
