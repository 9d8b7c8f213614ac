/* See run_log.h. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
	uint64_t at;       /* bytes printed or passed over */
	char *line, *last; /* the line being read, and the last one printed */
	size_t cap, last_cap, last_n;
	double step; /* of the last line that had one */
	bool ended;  /* a line said so */
} follower;

static void wait_a_little(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 250000000 }, NULL); /* a signal ends it early */
}

/* Reads the next whole line into f->line; its step, or `step` for one without, and whether it says the run's end. */
static bool next_line(follower *f, size_t *n, double *step, bool *end)
{
	ssize_t got = getline(&f->line, &f->cap, f->f);
	cJSON *object = NULL;
	double own;

	if (got <= 0 || f->line[got - 1] != '\n')
		return false;
	*n = (size_t)got;
	*end = false;
	if (json_parse(&object, f->line, *n, LINE_MAX, 16, "log", NULL) == 0) {
		own = run_log_number(object, "step");
		*step = isnan(own) ? *step : own;
		*end = cJSON_HasObjectItem(object, "end");
	}
	cJSON_Delete(object);
	return true;
}

/* f->at is behind the line just read: it is the one to know the place by. */
static void keep_line(follower *f, size_t n)
{
	char *line = f->last; /* changing places saves a copy */
	size_t cap = f->last_cap;

	f->last = f->line;
	f->last_cap = f->cap;
	f->last_n = n;
	f->line = line;
	f->cap = cap;
}

/* Whether the line before f->at is still the one it was; then the file stands at f->at. */
static bool is_unchanged(follower *f)
{
	if (!f->last_n)
		return true;
	return fseek(f->f, (long)(f->at - f->last_n), SEEK_SET) == 0 &&
	       getline(&f->line, &f->cap, f->f) == (ssize_t)f->last_n &&
	       memcmp(f->line, f->last, f->last_n) == 0;
}

/* A resumed run cuts its log back to its checkpoint and goes on. Going on here is behind the last line whose step was
 * printed, of those that are there by now. */
static int find_place(follower *f)
{
	double step = 0, printed = f->step;
	uint64_t at = 0;
	size_t n = 0;
	bool end;

	if (is_unchanged(f))
		return 0;
	f->at = f->last_n = 0;
	if (fseek(f->f, 0, SEEK_SET) < 0)
		return -1;
	while (next_line(f, &n, &step, &end)) {
		at += n;
		if (step > printed)
			continue;
		f->at = at;
		f->step = step;
		keep_line(f, n);
	}
	return fseek(f->f, (long)f->at, SEEK_SET);
}

/* On a terminal nothing of it may steer; whoever else reads it gets the bytes. */
static void print_line(char *line, size_t n)
{
	if (!isatty(STDOUT_FILENO)) {
		fwrite(line, 1, n, stdout);
		return;
	}
	line[n - 1] = '\0';
	cli_put(line);
	line[n - 1] = '\n';
	putchar('\n');
}

/* Prints the whole lines behind f->at. The file is opened anew each time: a resumed run puts another in its place. */
static int print_new(follower *f, bool *grew, error *err)
{
	size_t n = 0;
	int rc = 0;

	*grew = false;
	f->f = fopen(f->path, "r");
	if (!f->f)
		return error_errno(err, errno, "cannot open '%s'", f->path);
	if (find_place(f) < 0)
		rc = error_errno(err, errno, "cannot read '%s'", f->path);
	while (rc == 0 && next_line(f, &n, &f->step, &f->ended)) {
		print_line(f->line, n);
		f->at += n;
		keep_line(f, n);
		*grew = true;
	}
	fflush(stdout);
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
	free(f.last);
	free(f.line);
	return rc;
}
