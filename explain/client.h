/* client: what client.c and client_replies.c share. Private to explain/. */
#ifndef GLOSS_EXPLAIN_CLIENT_H
#define GLOSS_EXPLAIN_CLIENT_H

#include "explain/claims.h"
#include "explain/http.h"

enum { CLIENT_BUCKETS = 1024 };

typedef struct caller {
	explain_request *request;
	struct caller *next;
} caller;

typedef struct call {
	char key[SHA256_HEX];
	const char *body; /* of the first caller */
	explain_api api;
	caller *callers, **last;
	unsigned tries, attempts, wrong; /* attempts: those that count against it */
	double tokens;                   /* that it may take */
	pace_ticket ticket;
	chat_usage usage;
	const char *reply; /* in the log by the end of this turn, and told then */
	bool looked_up;
	double not_before;
	struct call *next; /* in a queue */
	struct call *in_bucket;
} call;

typedef struct queue {
	call *head, **tail;
} queue;

struct explain_client {
	http_endpoint endpoint;
	explain_client_opts o;
	char *model;
	store_log *log;
	bool replay, global;
	CURLM *multi;
	http_slot *slots; /* (concurrency) */
	unsigned n_slots;
	call *buckets[CLIENT_BUCKETS];
	queue ready;   /* in the order they came */
	queue delayed; /* waiting for not_before */
	queue replied; /* in this turn */
	size_t open;   /* requests without their callback yet */
	unsigned in_flight;
	unsigned failed_in_row;
	pace pace;
	claims claims;
	error fatal; /* once set, all is over */
	unsigned unkept,
	        cut; /* replies that came and could not be written; requests under way when all ended */
	error broke; /* once set, the budget is used up: nothing more is sent */
	explain_client_stats stats;
};

/* Unix seconds until which nothing goes: as the server asks, or since it is away. 0: it may. */
int64_t client_hold(const explain_client *c);
/* Nothing goes before, whoever found that out. */
void client_hold_until(explain_client *c, int64_t unix_seconds);
/* As explain_client_run(), but for so many seconds at most, and back as soon as client_hold() tells of a later time. */
int client_drive(explain_client *c, size_t leave, double seconds, bool (*stop)(void), error *err) MUST_USE;

/* Nothing more is sent, replies under way are kept: ERR_STOPPED, or what goes wrong meanwhile. */
int client_drain(explain_client *c, error *err) MUST_USE;

/* Until nothing is open, for requests that do not outlive the call: stopped, all that is open is told so (EXPLAIN_OVER) and given up, and the
 * client can only be freed. */
int client_run_out(explain_client *c, bool (*stop)(void), error *err) MUST_USE;

double client_now(const explain_client *c); /* seconds of its clock */
int64_t client_unix(const explain_client *c,
                    double then);     /* that as unix seconds, rounded up; 0: it is over */
void client_queue(queue *q, call *k); /* behind the others */
/* Take the call out of the table and tell its callers. They may add requests meanwhile, equal ones too. */
void client_deliver(explain_client *c, call *k, explain_end end, const char *reply, bool from_log,
                    const error *err);

/* A transfer has ended: put the call off, or give it up, or end all; or put its reply into the log (in the group that the caller
 * has begun) and the call behind c->replied. */
void client_finished(explain_client *c, http_slot *s, CURLcode result);

#endif
