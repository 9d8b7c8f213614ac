/* A process of the test's own that works on a job, and can be killed. It is made before the scripted server's threads are, whose locks
 * it would inherit as they lie, while no store is open, and begins when it is told where the server is. */
#ifndef GLOSS_TESTS_SUPPORT_WORKER_H
#define GLOSS_TESTS_SUPPORT_WORKER_H

#include "explain/explain.h"

#include <sys/types.h>

typedef struct worker {
	pid_t pid; /* 0: none */
	int to, from;
	char said[256]; /* after worker_wait(): why it failed; "": it did not, or was killed */
} worker;
/* It will run explain_run(), deaf to SIGXFSZ as the program is, with `o`, by the client `c`, as they are now. */
void worker_make(worker *w, const char *store_path, const explain_opts *o, const explain_client_opts *c);
void worker_start(const worker *w, const char *url);
/* Wait for its end. Whether it was killed. */
bool worker_wait(worker *w);
/* Let it go if it never began. */
void worker_end(worker *w);

#endif
