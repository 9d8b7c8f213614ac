/* See support_worker.h. */
#include "tests/support_worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int work(int from, const char *store_path, explain_opts o, explain_client_opts c)
{
	char url[100] = { 0 };
	store *s = NULL;
	error err;

	if (read(from, url, sizeof(url) - 1) <= 0)
		return 0;
	c.base_url = url;
	o.client = &c;
	return store_open(&s, store_path, STORE_WRITE, &err) < 0 || explain_run(NULL, s, &o, &err) < 0;
}

void worker_make(worker *w, const char *store_path, const explain_opts *o, const explain_client_opts *c)
{
	int ends[2];

	if (pipe(ends) < 0)
		abort();
	w->pid = fork();
	if (w->pid < 0)
		abort();
	if (w->pid == 0) {
		close(ends[1]);
		_exit(work(ends[0], store_path, *o, *c));
	}
	close(ends[0]);
	w->to = ends[1];
}

void worker_start(const worker *w, const char *url)
{
	if (write(w->to, url, strlen(url)) != (ssize_t)strlen(url))
		abort();
}

bool worker_wait(worker *w)
{
	int status;

	if (waitpid(w->pid, &status, 0) != w->pid)
		abort();
	w->pid = 0;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void worker_end(worker *w)
{
	close(w->to);
	if (w->pid)
		waitpid(w->pid, NULL, 0);
	w->pid = 0;
}
