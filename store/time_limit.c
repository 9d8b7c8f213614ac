/* A limit to the time, the memory and the length of values that SQL of the user's may take. */
#include "store/query_internal.h"

/* Looked at where SQLite's machine jumps back, so about once a row; it does not interrupt a function. */
enum { INSTRUCTIONS = 100 };

static int over(void *payload)
{
	const time_limit *limit = payload;

	return clock_now() > limit->end;
}

void time_limit_start(time_limit *limit, store *s, double seconds, int max_length, int max_pattern)
{
	*limit = (time_limit){ .s = s, .end = clock_now() + seconds };
	limit->max_length = sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, max_length);
	limit->max_pattern = sqlite3_limit(s->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, max_pattern);
	limit->max_heap = sqlite3_hard_heap_limit64(-1);
	if (limit->max_heap == 0 || limit->max_heap > TIME_LIMIT_HEAP)
		sqlite3_hard_heap_limit64(TIME_LIMIT_HEAP);
	sqlite3_progress_handler(s->db, INSTRUCTIONS, over, limit);
}

void time_limit_end(time_limit *limit)
{
	sqlite3_progress_handler(limit->s->db, 0, NULL, NULL);
	sqlite3_hard_heap_limit64(limit->max_heap);
	sqlite3_limit(limit->s->db, SQLITE_LIMIT_LENGTH, limit->max_length);
	sqlite3_limit(limit->s->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, limit->max_pattern);
}
