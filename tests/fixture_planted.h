/* What tests of labels and scores begin with, in their own file: a store of planted features in a folder, a server that answers,
 * a client of it. Included by one test program each. */
#ifndef GLOSS_TESTS_FIXTURE_PLANTED_H
#define GLOSS_TESTS_FIXTURE_PLANTED_H

#include "explain/explain.h"
#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_llm.h"
#include "tests/support_planted.h"

static char folder[FILE_PATH_MAX];
static store *s;
static error err;
static llm_server *server;
static explain_client_opts client;

#define OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

/* answer, payload: llm_start_answering()'s; model: the client's. */
static inline void fixture_begin(const planted *p, bool labelled,
                                 llm_reply (*answers)(const llm_seen *request, void *payload), void *payload,
                                 const char *model)
{
	support_mkdir(folder);
	OK(planted_open(&s, support_path(folder, "s.db"), p, &err));
	if (labelled)
		OK(planted_label(s, p, &err));
	server = llm_start_answering(answers, payload);
	client = llm_client(llm_url(server));
	client.model = model;
}

static inline void fixture_end(void)
{
	llm_stop(server);
	store_close(s);
	support_rmdir(folder);
}

/* planted_number() and planted_text() of the store. */
static inline double sql(const char *query)
{
	return planted_number(s, query);
}

static inline const char *sql_text(const char *query)
{
	return planted_text(s, query);
}

#endif
