/* claims: what a client may send: each request is claimed in the log first, so that no other process asks the same and no budget is
 * passed. Private to explain/. */
#ifndef GLOSS_EXPLAIN_CLAIMS_H
#define GLOSS_EXPLAIN_CLAIMS_H

#include "explain/chat.h"

typedef struct claims {
	store_log *log; /* NULL: everything may be sent */
	char job[64];
	const char *stage; /* a literal */
	explain_price price;
	store_budget budget;
	double timeout;
} claims;

/* The job that a client works for; stage must outlive it. Before: nobody's. */
void client_for_job(explain_client *c, const char *job, const char *stage, const explain_price *price,
                    const store_budget *budget);

/* Set r->key: the address of the request at this endpoint. */
int client_request_key(explain_client *c, explain_request *r, error *err) MUST_USE;

/* Whether the request may be sent now. STORE_CLAIM_OVER: *err says which limit stops it. */
int claims_take(store_claim *out, claims *c, const char *key, const char *body, error *err) MUST_USE;
/* Sent and not answered; see store_log_release(). */
int claims_release(claims *c, const char *key, store_sent how, error *err) MUST_USE;
store_usage claims_usage(const claims *c, const chat_usage *u);
/* The most tokens that a request can take: bytes of its body, and the limit of the reply that it names. */
uint64_t claims_tokens(uint64_t *limit, const char *body);

#endif
