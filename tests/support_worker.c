/* See support_worker.h. */
#include "tests/support_worker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int work(int from, int to, const char *store_path, explain_opts o, explain_client_opts c)
{
	char url[100] = { 0 };
	store *s = NULL;
	error err;
	int rc;

	if (read(from, url, sizeof(url) - 1) <= 0)
		return 0;
	signal(SIGXFSZ, SIG_IGN);
	c.base_url = url;
	o.client = &c;
	rc = store_open(&s, store_path, STORE_WRITE, &err);
	if (rc == 0)
		rc = explain_run(NULL, s, &o, &err);
	return rc < 0 && write(to, err.msg, strlen(err.msg)) >= 0;
}

void worker_make(worker *w, const char *store_path, const explain_opts *o, const explain_client_opts *c)
{
	int down[2], up[2];

	if (pipe(down) < 0 || pipe(up) < 0)
		abort();
	w->pid = fork();
	if (w->pid < 0)
		abort();
	if (w->pid == 0) {
		close(down[1]);
		_exit(work(down[0], up[1], store_path, *o, *c));
	}
	close(down[0]);
	close(up[1]);
	w->to = down[1];
	w->from = up[0];
}

void worker_start(const worker *w, const char *url)
{
	if (write(w->to, url, strlen(url)) != (ssize_t)strlen(url))
		abort();
}

bool worker_wait(worker *w)
{
	ssize_t n = read(w->from, w->said, sizeof(w->said) - 1); /* 0 when it ends */
	int status;

	w->said[n > 0 ? n : 0] = '\0';
	if (waitpid(w->pid, &status, 0) != w->pid)
		abort();
	w->pid = 0;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void worker_end(worker *w)
{
	close(w->to);
	close(w->from);
	if (w->pid)
		waitpid(w->pid, NULL, 0);
	w->pid = 0;
}
