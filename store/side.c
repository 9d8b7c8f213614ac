/* STORE.part, the side database of an index run. It need not survive a crash, so it has no journal and no syncs. */
#include "store/beside.h"
#include "store/index_internal.h"

#include <unistd.h>

extern const char sql_part[], sql_part_order[];

static int open_database(side *sd, error *err)
{
	store *f = &sd->file;
	int rc = sqlite3_open_v2(f->path, &f->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc != SQLITE_OK)
		return store_error(f, rc, "open it", err);
	rc = store_exec(f, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-16384;", err);
	if (rc == 0)
		rc = store_exec(f, sql_part, err);
	if (rc == 0)
		rc = store_exec(f, "BEGIN", err);
	if (rc == 0)
		rc = store_prepare(&sd->add_context, f, "INSERT INTO context VALUES (?1, ?2, ?3, ?4)", err);
	if (rc == 0)
		rc = store_prepare(&sd->add_firing, f, "INSERT INTO firing VALUES (?1, ?2, ?3)", err);
	if (rc == 0)
		rc = store_prepare(&sd->add_vector, f, "INSERT OR REPLACE INTO vector VALUES (?1, ?2)", err);
	return rc;
}

int side_open(side *sd, const char *store_path, error *err)
{
	int rc, n;

	sd->lock = -1;
	n = snprintf(sd->file.path, sizeof(sd->file.path), "%s.part", store_path);
	if (n < 0 || (size_t)n >= sizeof(sd->file.path))
		return error_set(err, ERR_LIMIT, "the path of the store is too long");
	sd->file.writable = true;
	rc = beside_lock(&sd->lock, sd->file.path, store_path, err);
	if (rc == 0)
		rc = open_database(sd, err);
	if (rc < 0)
		side_remove(sd);
	return rc;
}

static void close_database(side *sd)
{
	sqlite3_finalize(sd->add_context);
	sqlite3_finalize(sd->add_firing);
	sqlite3_finalize(sd->add_vector);
	sd->add_context = sd->add_firing = sd->add_vector = NULL;
	sqlite3_close(sd->file.db);
	sd->file.db = NULL;
}

int side_seal(side *sd, error *err)
{
	int rc = store_exec(&sd->file, sql_part_order, err);

	if (rc == 0)
		rc = store_exec(&sd->file, "COMMIT", err);
	close_database(sd);
	return rc;
}

void side_remove(side *sd)
{
	close_database(sd);
	if (sd->lock < 0)
		return;
	unlink(sd->file.path);
	close(sd->lock);
	sd->lock = -1;
}
