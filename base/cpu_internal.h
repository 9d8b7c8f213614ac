/* cpu_internal.h: what cpu.c reads from the system's files, with their root an argument so that tests can make their
 * own. */
#ifndef GLOSS_CPU_INTERNAL_H
#define GLOSS_CPU_INTERNAL_H

#include "base/base.h"

/* CPUs the cgroup's quota allows, rounded up; UINT_MAX: no limit. `root` stands for "/", without a slash at its end. */
unsigned cpu_quota(const char *root);
/* Bytes the cgroup may use; UINT64_MAX: no limit. */
uint64_t cpu_memory_quota(const char *root);

#endif
