/* late: functions of shared libraries that are loaded when they are first called. */
#include "base/base.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

late_function late_find(_Atomic(late_function) *at, const char *library, const char *name)
{
	late_function f = atomic_load_explicit(at, memory_order_relaxed);
	void *handle, *symbol;

	if (f)
		return f;
	handle = dlopen(library, RTLD_NOW | RTLD_LOCAL); /* opened again, it is the same one; never closed */
	symbol = handle ? dlsym(handle, name) : NULL;
	if (!symbol) {
		fprintf(stderr, "gloss: error while loading shared libraries: %s\n", dlerror());
		_exit(127);
	}
	memcpy(&f, &symbol, sizeof(f));
	atomic_store_explicit(at, f, memory_order_relaxed);
	return f;
}
