/* Before a store is used: where it lies, and whether its schema is one of ours. */
#include "store/store_internal.h"

#include <fcntl.h>
#include <unistd.h>

/* Whether the header says that the file is in WAL mode. */
static bool is_in_wal(const char *path)
{
	unsigned char versions[2] = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool wal = fd >= 0 && pread(fd, versions, 2, 18) == 2 && versions[0] == 2 && versions[1] == 2;

	if (fd >= 0)
		close(fd);
	return wal;
}

int guard_place(guard_lies *out, const char *path, bool write, error *err)
{
	file_mount m;

	file_mount_get(&m, path);
	*out = (guard_lies){ .shared = m.remote };
	if (!m.remote)
		return 0;
	if (write && !m.locks)
		return error_set(err, ERR_IO,
		                 "cannot write '%s': it lies on a network file system (%s) whose locks other "
		                 "machines do not see; copy it to a local disk",
		                 path, m.type);
	out->in_wal = is_in_wal(path);
	if (!write && out->in_wal)
		return error_set(err, ERR_IO,
		                 "cannot read '%s': a program left it in WAL mode, which a network file "
		                 "system (%s) cannot share; a command that writes turns it back",
		                 path, m.type);
	return 0;
}

/* The triggers and views of a file, asked one by one. */
static int each_object(store *s,
                       int (*look)(void *payload, const char *name, const char *type, const char *sql),
                       void *payload, error *err)
{
	sqlite3_stmt *st = NULL;
	int rc = store_prepare(
	        &st, s, "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('view', 'trigger')", err);

	while (store_next(&rc, s, st, err)) {
		const char *has[3];

		for (int i = 0; i < 3; i++) {
			has[i] = (const char *)sqlite3_column_text(st, i);
			has[i] = has[i] ? has[i] : "";
		}
		rc = look(payload, has[0], has[1], has[2]);
	}
	sqlite3_finalize(st);
	return rc;
}

typedef struct schema_check {
	store *s;
	bool view; /* one that is not ours, word for word */
	error *err;
} schema_check;

static int look_at(void *payload, const char *name, const char *type, const char *sql)
{
	schema_check *c = payload;
	char table[160];

	if (store_migrate_has(sql))
		return 0;
	snprintf(table, sizeof(table), "CREATE TABLE %s (", name);
	if (strcmp(type, "view") == 0 && store_migrate_has(table))
		return error_set(c->err, ERR_FORMAT,
		                 "'%s' is not a Gloss store: its '%s' is a view, not a table", c->s->path,
		                 name);
	if (strcmp(type, "trigger") == 0 && c->s->writable)
		return error_set(
		        c->err, ERR_FORMAT,
		        "cannot write '%s': its trigger '%.100s' is not one of gloss's; remove it first",
		        c->s->path, name);
	c->view = true;
	return 0;
}

int guard_schema(store *s, error *err)
{
	schema_check c = { .s = s, .err = err };
	int rc = each_object(s, look_at, &c, err);
	/* A schema from a stranger runs no functions with side effects. To write, triggers that keep the FTS5 tables up must run,
	 * and FTS5 before SQLite 3.44 does not count as harmless; nor do JSON functions before 3.41, which our own views use. */
	bool trusted = s->writable || (!c.view && sqlite3_libversion_number() < 3041000);

	if (rc == 0) {
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, trusted, NULL);
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	}
	return rc;
}
