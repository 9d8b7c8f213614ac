/* --groups and --prefix-weights of gloss train. */
#include "cli/train_args.h"

#include <stdlib.h>
#include <string.h>

int train_parse_groups(double out[SAE_PREFIXES], uint32_t *n, const char *name, const char *given, error *err)
{
	const char *at = given;

	for (*n = 0; *n < SAE_PREFIXES; at++) {
		char *end = NULL;
		double value = strtod(at, &end);

		if (end == at || (*end && *end != ','))
			return error_set(err, ERR_ARG,
			                 "--%s '%s' is no list like 0.25,0.25,0.5 or 512,512,1024", name,
			                 given);
		out[(*n)++] = value;
		at = end;
		if (!*at)
			return 0;
	}
	return error_set(err, ERR_ARG, "--%s '%s' has over %d groups", name, given, SAE_PREFIXES);
}
