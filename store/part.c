/* Which documents explain and score may look at. */
#include "store/index_internal.h"

static const uint64_t part_seed = 0x70617274; /* "part" */

store_part store_part_of(uint64_t group_key)
{
	double u = hash64_unit(hash64_mix(part_seed, group_key));

	return u < 0.4 ? STORE_LABEL : u < 0.6 ? STORE_SELECT : STORE_REPORT;
}
