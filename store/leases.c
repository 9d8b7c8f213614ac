/* Who works on a job: a task is leased to a process, named "PID START BOOT". START is the process's own start time, so that a number
 * given to another process later, or after a reboot, is not taken for the holder. Processes of other machines, which only
 * share the file, are known by the heartbeat of their row in `worker`. */
#include "store/store_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOOT_MAX = 64, SILENT_SECONDS = 120 /* without a heartbeat: gone */ };

/* The first word of a file; "-": there is none. */
static void read_word(char out[BOOT_MAX], const char *path)
{
	char *data = NULL;
	size_t len;

	snprintf(out, BOOT_MAX, "-");
	if (file_read(&data, &len, path, 4096, NULL) == 0 && len) {
		data[strcspn(data, " \n")] = '\0';
		if (data[0])
			snprintf(out, BOOT_MAX, "%.63s", data);
	}
	free(data);
}

/* Field 22 of /proc/PID/stat: when the process began, in ticks since the boot; 0: not known. The name in field 2 may
 * hold spaces and brackets, so fields are counted from its last bracket. */
static unsigned long long read_start(long pid)
{
	char path[64], *data = NULL, *at;
	unsigned long long start = 0;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (file_read(&data, &len, path, 4096, NULL) == 0 && (at = strrchr(data, ')'))) {
		for (int field = 2; field < 22 && at; field++)
			at = strchr(at + 1, ' ');
		if (at)
			start = strtoull(at, NULL, 10);
	}
	free(data);
	return start;
}

void lease_make(char out[LEASE_MAX])
{
	char boot[BOOT_MAX];
	long pid = (long)getpid();

	read_word(boot, "/proc/sys/kernel/random/boot_id");
	snprintf(out, LEASE_MAX, "%ld %llu %s", pid, read_start(pid), boot);
}

const char *lease_own(store *s)
{
	long pid = (long)getpid();

	if (s->lease_pid != pid) {
		lease_make(s->lease);
		s->lease_pid = pid;
	}
	return s->lease;
}

void lease_machine(char out[LEASE_MAX])
{
	char id[BOOT_MAX];

	read_word(id, "/etc/machine-id");
	snprintf(out, LEASE_MAX, "%s", id);
}

bool lease_process_is_gone(const char *lease)
{
	char boot[BOOT_MAX], now[BOOT_MAX];
	unsigned long long start, start_now;
	long pid;

	if (sscanf(lease, "%ld %llu %63s", &pid, &start, boot) != 3 || pid <= 0)
		return true;
	read_word(now, "/proc/sys/kernel/random/boot_id");
	if (strcmp(boot, now) != 0)
		return true;
	if (kill((pid_t)pid, 0) < 0 && errno == ESRCH)
		return true;
	start_now = read_start(pid);
	return start != 0 && start_now != 0 && start != start_now;
}

bool lease_is_gone(const char *lease, const char *machine, int64_t heartbeat)
{
	char here[LEASE_MAX];

	if (!lease)
		return true;
	lease_machine(here);
	if (machine && strcmp(machine, here) != 0)
		return clock_unix() - heartbeat > SILENT_SECONDS;
	return lease_process_is_gone(lease);
}

/* ---- Workers --------------------------------------------------------------------------------------------------------- */

static int drop_worker(store *s, const char *lease, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(&st, s, "DELETE FROM worker WHERE lease = ?1", err);

	if (rc == 0)
		rc = store_bind(s, st, err, "t", lease);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return rc;
}

/* Take out the rows of those that are gone. */
static int drop_gone(store *s, error *err)
{
	sqlite3_stmt *st = NULL;
	char gone[64][LEASE_MAX];
	size_t n = 0;
	int rc = store_prepare(&st, s, "SELECT lease, machine, heartbeat FROM worker", err);

	while (n < ARRAY_LEN(gone) && store_next(&rc, s, st, err)) {
		const char *lease = (const char *)sqlite3_column_text(st, 0);

		if (lease_is_gone(lease, (const char *)sqlite3_column_text(st, 1),
		                  sqlite3_column_int64(st, 2)))
			snprintf(gone[n++], LEASE_MAX, "%s", lease ? lease : "");
	}
	sqlite3_finalize(st);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = drop_worker(s, gone[i], err);
	return rc;
}

int store_worker_beat(store *s, int64_t job, error *err)
{
	int64_t now = clock_unix();
	sqlite3_stmt *st = NULL;
	char machine[LEASE_MAX];
	int rc = store_begin(s, err);

	if (rc < 0)
		return rc;
	lease_machine(machine);
	rc = drop_gone(s, err);
	if (rc == 0)
		rc = store_prepare(
		        &st, s,
		        "INSERT INTO worker(lease, machine, job_id, since, heartbeat) VALUES (?1, "
		        "?2, ?3, ?4, ?4) ON CONFLICT(lease) DO UPDATE SET job_id = ?3, heartbeat = ?4",
		        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "ttii", lease_own(s), machine, job, now);
	if (rc == 0)
		rc = store_run(s, st, err);
	sqlite3_finalize(st);
	return store_end(s, rc, err);
}

int store_worker_end(store *s, error *err)
{
	return drop_worker(s, lease_own(s), err);
}

/* ---- Tasks of the gone ------------------------------------------------------------------------------------------------ */

/* A holder of running tasks. */
typedef struct holder {
	char lease[LEASE_MAX];
	bool null;
} holder;

static int find_gone(holder **gone, size_t *n, store *s, int64_t job, error *err)
{
	sqlite3_stmt *st = NULL;
	size_t cap = 0;
	int rc;

	rc = store_prepare(
	        &st, s,
	        "SELECT DISTINCT t.lease, w.machine, coalesce(w.heartbeat, 0) FROM task t LEFT JOIN "
	        "worker w ON w.lease = t.lease WHERE t.job_id = ?1 AND t.state = 'running'",
	        err);
	if (rc == 0)
		rc = store_bind(s, st, err, "i", job);
	while (store_next(&rc, s, st, err)) {
		const char *lease = (const char *)sqlite3_column_text(st, 0);

		if (!lease_is_gone(lease, (const char *)sqlite3_column_text(st, 1),
		                   sqlite3_column_int64(st, 2)))
			continue;
		if (mem_grow(gone, &cap, *n + 1, sizeof(**gone)) < 0) {
			rc = error_nomem(err, "a list of tasks");
			break;
		}
		(*gone)[*n].null = !lease;
		snprintf((*gone)[(*n)++].lease, LEASE_MAX, "%s", lease ? lease : "");
	}
	sqlite3_finalize(st);
	return rc;
}

int lease_free_abandoned(store *s, int64_t job, error *err)
{
	sqlite3_stmt *st = NULL;
	holder *gone = NULL;
	size_t n = 0;
	int rc;

	rc = find_gone(&gone, &n, s, job, err);
	if (rc == 0)
		rc = store_prepare(
		        &st, s,
		        "UPDATE task SET state = 'waiting', lease = NULL WHERE job_id = ?1 AND state "
		        "= 'running' AND lease IS ?2",
		        err);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = store_bind(s, st, err, "it", job, gone[i].null ? NULL : gone[i].lease);
		if (rc == 0)
			rc = store_run(s, st, err);
	}
	sqlite3_finalize(st);
	free(gone);
	return rc;
}
