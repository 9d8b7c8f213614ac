/* cpu.c: what the processor can do, and how much of the machine is ours. */
#include "base/base.h"
#include "base/cpu_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

static unsigned find_features(void)
{
	unsigned bits = 0;
#ifdef __x86_64__
	unsigned a, b, c, d;

	__builtin_cpu_init();
	bits |= __builtin_cpu_supports("avx2") ? CPU_AVX2 : 0;
	bits |= __builtin_cpu_supports("fma") ? CPU_FMA : 0;
	bits |= __builtin_cpu_supports("avx512f") ? CPU_AVX512F : 0;
	bits |= __builtin_cpu_supports("avx512bw") ? CPU_AVX512BW : 0;
	bits |= __builtin_cpu_supports("avx512dq") ? CPU_AVX512DQ : 0;
	bits |= __builtin_cpu_supports("avx512vl") ? CPU_AVX512VL : 0;
	bits |= __builtin_cpu_supports("avx512vnni") ? CPU_AVX512VNNI : 0;
	/* clang 14 has no name for F16C; its registers are AVX's */
	if (__builtin_cpu_supports("avx") && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C))
		bits |= CPU_F16C;
#endif
	return bits;
}

/* Asked once a process: a CPUID in a virtual machine takes microseconds. */
unsigned cpu_features(void)
{
	static _Atomic unsigned known;
	const unsigned asked = 1U << 31;
	unsigned bits = known;

	if (!bits)
		known = bits = find_features() | asked;
	return bits & ~asked;
}

/* The first bytes of a small file, as a string; false when there is none. */
static bool read_small(char *out, size_t size, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 0;

	if (fd < 0)
		return false;
	while (used < size - 1 &&
	       ((n = read(fd, out + used, size - 1 - used)) > 0 || (n < 0 && errno == EINTR)))
		used += n > 0 ? (size_t)n : 0;
	close(fd);
	out[used] = '\0';
	return n >= 0;
}

static char name[128] = "unknown";

static void find_name(void)
{
	char info[4096];
	const char *p = NULL;
	size_t n;

	if (read_small(info, sizeof(info), "/proc/cpuinfo"))
		p = strstr(info, "model name");
	p = p ? strchr(p, ':') : NULL;
	if (!p)
		return;
	p += 1 + strspn(p + 1, " \t");
	n = strcspn(p, "\n");
	if (n > 0)
		snprintf(name, sizeof(name), "%.*s", (int)n, p);
}

const char *cpu_name(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_name);
	return name;
}

/* The process's group of a version 1 controller, or with NULL of version 2, from the text of /proc/self/cgroup:
 * lines "number:controller,controller:/path". */
static bool group_path(char out[FILE_PATH_MAX], const char *groups, const char *controller)
{
	for (const char *line = groups; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *list = strchr(line, ':');
		const char *path = list ? strchr(list + 1, ':') : NULL;
		const char *end = line + strcspn(line, "\n");
		bool found = false;

		if (!path || path > end)
			continue;
		list++;
		if (!controller)
			found = list == path;
		while (controller && !found && list < path) {
			size_t len = strcspn(list, ",:");

			found = len == strlen(controller) && strncmp(list, controller, len) == 0;
			list += len + (list[len] == ',');
		}
		if (!found)
			continue;
		snprintf(out, FILE_PATH_MAX, "%.*s", (int)(end - path - 1), path + 1);
		return true;
	}
	return false;
}

/* Calls `look` on the group's folder and all its parents: the smallest limit of them holds. A group outside our
 * namespace shows as a path that is not there; the mount itself is then what we see. */
static void each_group(const char *mount, char path[FILE_PATH_MAX],
                       void (*look)(const char *folder, void *payload), void *payload)
{
	char folder[2 * FILE_PATH_MAX];

	for (;;) {
		char *slash;

		snprintf(folder, sizeof(folder), "%s%s", mount, path);
		look(folder, payload);
		slash = strrchr(path, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

/* Reads a file of the folder; the number of fields found (0..2), "max" counting as UINT64_MAX. */
static int read_fields(uint64_t out[2], const char *folder, const char *file)
{
	char path[2 * FILE_PATH_MAX + 64], line[128];
	char *p = line, *end;
	int n = 0;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	if (!read_small(line, sizeof(line), path))
		return 0;
	for (; n < 2; n++) {
		p += strspn(p, " \n");
		if (strncmp(p, "max", 3) == 0) {
			out[n] = UINT64_MAX;
			p += 3;
			continue;
		}
		if (*p < '0' || *p > '9') /* nothing more, or -1: no limit */
			break;
		out[n] = strtoull(p, &end, 10);
		p = end;
	}
	return n;
}

static void lower_cpus(unsigned *least, uint64_t quota, uint64_t period)
{
	uint64_t cpus;

	if (quota == 0 || quota == UINT64_MAX || period == 0 || period == UINT64_MAX)
		return;
	cpus = quota / period + (quota % period != 0);
	if (cpus < *least)
		*least = (unsigned)cpus;
}

static void look_cpu_v2(const char *folder, void *payload)
{
	uint64_t f[2];

	if (read_fields(f, folder, "cpu.max") == 2)
		lower_cpus(payload, f[0], f[1]);
}

static void look_cpu_v1(const char *folder, void *payload)
{
	uint64_t quota[2], period[2];

	if (read_fields(quota, folder, "cpu.cfs_quota_us") >= 1 &&
	    read_fields(period, folder, "cpu.cfs_period_us") >= 1)
		lower_cpus(payload, quota[0], period[0]);
}

static void lower_bytes(uint64_t *least, const char *folder, const char *file)
{
	uint64_t f[2];

	if (read_fields(f, folder, file) >= 1 && f[0] < *least)
		*least = f[0];
}

static void look_memory_v2(const char *folder, void *payload)
{
	lower_bytes(payload, folder, "memory.max");
	lower_bytes(payload, folder,
	            "memory.high"); /* over it the group is slowed down until it is under it */
}

static void look_memory_v1(const char *folder, void *payload)
{
	lower_bytes(payload, folder, "memory.limit_in_bytes");
}

/* Version 2 is mounted at /sys/fs/cgroup, or beside version 1 at .../unified; version 1 at .../CONTROLLER. */
static void look_everywhere(const char *root, const char *controller, void (*v2)(const char *, void *),
                            void (*v1)(const char *, void *), void *payload)
{
	char file[FILE_PATH_MAX], mount[FILE_PATH_MAX], path[FILE_PATH_MAX], groups[4096];

	snprintf(file, sizeof(file), "%s/proc/self/cgroup", root);
	if (!read_small(groups, sizeof(groups), file))
		groups[0] = '\0';
	snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
	if (!group_path(path, groups, NULL))
		path[0] = '\0';
	each_group(mount, path, v2, payload);
	snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/unified", root);
	if (!group_path(path, groups, NULL))
		path[0] = '\0';
	each_group(mount, path, v2, payload);
	snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%s", root, controller);
	if (!group_path(path, groups, controller))
		path[0] = '\0';
	each_group(mount, path, v1, payload);
}

unsigned cpu_quota(const char *root)
{
	unsigned least = UINT_MAX;

	look_everywhere(root, "cpu", look_cpu_v2, look_cpu_v1, &least);
	return least;
}

uint64_t cpu_memory_quota(const char *root)
{
	uint64_t least = UINT64_MAX;

	look_everywhere(root, "memory", look_memory_v2, look_memory_v1, &least);
	return least;
}

/* CPUs in the affinity mask; machines with over 1024 need a larger set than cpu_set_t. */
static unsigned affinity(void)
{
	unsigned found = 0;

	for (int cpus = 1024; cpus <= 1 << 16 && found == 0; cpus *= 4) {
		size_t size = CPU_ALLOC_SIZE(cpus);
		cpu_set_t *set = CPU_ALLOC(cpus);

		if (!set)
			break;
		if (sched_getaffinity(0, size, set) == 0)
			found = (unsigned)CPU_COUNT_S(size, set);
		CPU_FREE(set);
	}
	return found ? found : 1;
}

unsigned cpu_count(void)
{
	unsigned allowed = affinity(), quota = cpu_quota("");

	return quota < allowed ? quota : allowed;
}

uint64_t cpu_memory_limit(void)
{
	uint64_t quota = cpu_memory_quota("");
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;

	return quota < all ? quota : all;
}

/* A line of /proc/self/status in bytes; it is given in kB. */
static uint64_t status_bytes(const char *key)
{
	char status[8192];
	const char *p = read_small(status, sizeof(status), "/proc/self/status") ? strstr(status, key) : NULL;

	return p ? strtoull(p + strlen(key), NULL, 10) * 1024 : 0;
}

uint64_t cpu_memory_anonymous(void)
{
	return status_bytes("\nRssAnon:");
}

uint64_t cpu_memory_peak(void)
{
	return status_bytes("\nVmHWM:");
}
