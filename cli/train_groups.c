/* --groups of gloss train. */
#include "cli/train_args.h"

#include <stdlib.h>
#include <string.h>

int train_parse_groups(double out[SAE_PREFIXES], uint32_t *n, const char *given, error *err)
{
	const char *at = given;

	for (*n = 0; *n < SAE_PREFIXES; at++) {
		char *end = NULL;
		double value = strtod(at, &end);

		if (end == at || (*end && *end != ','))
			return error_set(err, ERR_ARG,
			                 "--groups '%s' is no list like 0.25,0.25,0.5 or 512,512,1024",
			                 given);
		out[(*n)++] = value;
		at = end;
		if (!*at)
			return 0;
	}
	return error_set(err, ERR_ARG, "--groups '%s' has over %d groups", given, SAE_PREFIXES);
}
