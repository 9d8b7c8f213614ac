/* pace: when the next request may go to an endpoint. Rates asked for, limits the server tells of, a rate learned from its
 * refusals, how many at once, and a breaker for when it is away. It has no clock: every time is the caller's, in seconds.
 * Private to explain/. */
#ifndef GLOSS_EXPLAIN_PACE_H
#define GLOSS_EXPLAIN_PACE_H

#include "explain/explain.h"

#include <curl/curl.h>

/* What the headers of a reply say; NaN where they say nothing. */
typedef struct pace_head {
	double retry_after;                   /* seconds from now */
	double requests_left, requests_reset; /* how many more, and seconds until the count starts anew */
	double tokens_left, tokens_reset;
} pace_head;
void pace_head_read(pace_head *h, CURL *easy);
/* Seconds of "20", "1.5", "6m0s", "1h2m3.5s", "120ms", or until a time in seconds or milliseconds since 1970; NaN: none of them. */
double pace_seconds(const char *s, double unix_now);

/* Fills at `rate` a second up to `full`; a large taker may leave it in debt. */
typedef struct pace_bucket {
	double rate, full, level, at; /* rate 0: no bucket */
} pace_bucket;

/* So many were left when the request numbered `seq` was answered. */
typedef struct pace_left {
	bool known;
	double left, until;
	uint64_t seq, taken; /* taken: by requests after that one */
} pace_left;

/* A request under way. */
typedef struct pace_ticket {
	uint64_t seq;
	double started, tokens;
	bool probe; /* sent to see whether the server is back */
} pace_ticket;

typedef struct pace {
	/* As given. */
	unsigned most;
	double timeout, wait_first, wait_most, patience;
	uint64_t seed;
	/* Rates. */
	pace_bucket requests, tokens, learned;
	double growth, grown_at;             /* of the learned rate: by what, since when */
	double cycle_at;                     /* since when requests are counted, */
	uint64_t cycle_first, cycle_limited; /* the first of them, and how many were refused */
	bool cycle_new;
	pace_left requests_left, tokens_left;
	double hold; /* nothing goes before */
	uint64_t sent;
	/* How many at once. */
	double window, shrunk_at;
	bool rising; /* nothing has gone wrong yet */
	/* The breaker: closed, or open until `open_until`, and then one request to see. */
	bool open, probing, alive; /* alive: it has answered before */
	unsigned in_row, opened;
	double open_until;
	double bad_since; /* nothing got through; NaN: the last one did */
	uint64_t draws;
} pace;

void pace_init(pace *p, const explain_client_opts *o, double now);
/* 0: a request of so many tokens may go now. Else seconds to wait before asking again; HUGE_VAL: until one in flight has ended. */
double pace_wait(pace *p, double now, unsigned in_flight, double tokens);
/* Until when nothing goes, in flight or not; in the past: it may. */
double pace_held(const pace *p, double now);
/* Nothing goes before. */
void pace_hold(pace *p, double until);
void pace_send(pace *p, pace_ticket *t, double now, double tokens); /* it goes */

/* How it ended, one of these; each after pace_told(). A wait is where a new attempt of the same request stands. */
void pace_told(pace *p, double now, const pace_ticket *t, const pace_head *h);
void pace_good(pace *p, double now, const pace_ticket *t, double used /* tokens; 0: not told */);
void pace_rejected(pace *p);
/* 429, and 5xx, a time-out, a broken connection. tries: of this request so far. *free: this attempt does not count against it.
 * Returns seconds to wait; negative: its patience is over. */
double pace_limited(pace *p, double now, const pace_ticket *t, const pace_head *h, unsigned tries);
double pace_trouble(pace *p, double now, const pace_ticket *t, const pace_head *h, unsigned tries,
                    bool *free);

#endif
