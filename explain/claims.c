/* See claims.h. */
#include "explain/claims.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The number behind the first of these names; canonical bodies have them before what the user says. */
static uint64_t reply_limit(const char *body)
{
	static const char *const names[] = { "\"max_completion_tokens\":", "\"max_tokens\":" };
	const char *messages = strstr(body, "\"messages\":"), *at;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		at = strstr(body, names[i]);
		if (at && (!messages || at < messages))
			return strtoull(at + strlen(names[i]), NULL, 10);
	}
	return 0;
}

uint64_t claims_tokens(uint64_t *limit, const char *body)
{
	*limit = reply_limit(body);
	return strlen(body) + *limit; /* no token is shorter than a byte */
}

int claims_take(store_claim *out, claims *c, const char *key, const char *body, error *err)
{
	store_reserve r = { .job = c->job,
		            .stage = c->stage ? c->stage : "other",
		            .seconds = c->timeout,
		            .budget = &c->budget };
	uint64_t limit;
	double cost;

	if (!c->log) {
		*out = STORE_CLAIMED;
		return 0;
	}
	r.tokens = claims_tokens(&limit, body);
	cost = explain_price_of(&c->price, r.tokens - limit, 0, limit);
	r.cost = isnan(cost) ? 0 : cost;
	return store_log_claim(out, c->log, key, &r, err);
}

int claims_release(claims *c, const char *key, store_sent how, error *err)
{
	return c->log ? store_log_release(c->log, key, how, err) : 0;
}

store_usage claims_usage(const claims *c, const chat_usage *u)
{
	return (store_usage){ .input_tokens = u->input,
		              .cached_tokens = u->cached,
		              .output_tokens = u->output,
		              .cost = explain_price_of(&c->price, u->input, u->cached, u->output) };
}
