/* How alike two names are: for "did you mean". */
#include <limits.h>
#include <string.h>

#include "base/base.h"

unsigned text_edit_distance(const char *a, const char *b)
{
	enum { MOST = 64 };
	unsigned row[3][MOST + 1];
	size_t na = strnlen(a, MOST), nb = strnlen(b, MOST);

	for (size_t j = 0; j <= nb; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned *now = row[i % 3], *above = row[(i + 2) % 3], *before = row[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[na % 3][nb];
}

unsigned text_likeness(const char *typed, const char *name)
{
	size_t n = strlen(typed), longer = strlen(name) > n ? strlen(name) : n;
	unsigned distance = text_edit_distance(typed, name);

	if (n > 1 && !strncmp(typed, name, n))
		return 1;
	return distance <= (longer + 2) / 3 && distance < longer ? distance + 1 : UINT_MAX;
}
