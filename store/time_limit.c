/* A limit to the time that SQL of the user's may take. */
#include "store/query_internal.h"

/* Called every so many instructions of SQLite's machine; true ends the statement with SQLITE_INTERRUPT. */
static int over(void *payload)
{
	const time_limit *limit = payload;

	return clock_now() > limit->end;
}

void time_limit_start(time_limit *limit, store *s, double seconds)
{
	*limit = (time_limit){ .s = s, .end = clock_now() + seconds };
	limit->max_length = sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, 64 << 20);
	limit->max_pattern = sqlite3_limit(s->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000);
	sqlite3_progress_handler(s->db, 4096, over, limit);
}

void time_limit_end(time_limit *limit)
{
	sqlite3_progress_handler(limit->s->db, 0, NULL, NULL);
	sqlite3_limit(limit->s->db, SQLITE_LIMIT_LENGTH, limit->max_length);
	sqlite3_limit(limit->s->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, limit->max_pattern);
}
