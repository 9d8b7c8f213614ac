/* fault.c: fault points, where a test makes the nth call of a kind fail. */
#include "base/base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* left: calls until the failing one, that one counted; 0: not armed. Process-wide by nature: it stands for the machine
 * under the program. */
static struct fault_point {
	atomic_long left;
	atomic_bool struck;
} points[FAULT_KINDS];

void fault_arm(fault_kind kind, long nth)
{
	atomic_store(&points[kind].struck, false);
	atomic_store(&points[kind].left, nth + 1);
}

bool fault_disarm(fault_kind kind)
{
	atomic_store(&points[kind].left, 0);
	return atomic_exchange(&points[kind].struck, false);
}

bool fault_hit(fault_kind kind)
{
	struct fault_point *point = &points[kind];

	if (atomic_load_explicit(&point->left, memory_order_relaxed) <= 0)
		return false;
	if (atomic_fetch_sub(&point->left, 1) != 1)
		return false;
	atomic_store(&point->struck, true);
	return true;
}

void fault_arm_env(void)
{
	static const char *const names[FAULT_KINDS] = { "alloc", "read", "write", "sync", "http" };
	const char *value = getenv("GLOSS_FAULT");
	const char *colon = value ? strchr(value, ':') : NULL;

	for (int kind = 0; colon && kind < FAULT_KINDS; kind++) {
		size_t len = strlen(names[kind]);
		char *end;
		long nth;

		if ((size_t)(colon - value) != len || strncmp(value, names[kind], len) != 0)
			continue;
		nth = strtol(colon + 1, &end, 10);
		if (end != colon + 1 && *end == '\0' && nth >= 0)
			fault_arm((fault_kind)kind, nth);
	}
}
