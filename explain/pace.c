/* pace: when the next request may go. */
#include "explain/pace.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	AT_FIRST = 16,     /* so many at once to begin with; twice as many each time that all went well */
	BREAK_AFTER = 5,   /* so many in a row came to grief: the server is away */
	UNASKED = 5,       /* seconds, where a server does not say how long to wait */
	EPOCH = 1000000000 /* a number over that is a time, not seconds to wait */
};
static const double minute = 60,
                    slack = 0.995, /* replies of one minute may fall into another at the server */
        growth_first = 0.01, growth_most = 0.5, below = 0.98, slow = 0.5 /* of the time-out */;

/* ---- Headers ------------------------------------------------------------------------------------------------------------- */

double pace_seconds(const char *s, double unix_now)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = { { "ms", 1e-3 }, { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
	double sum = 0, n;
	char *end;
	size_t u;

	if (!isdigit((unsigned char)*s) && *s != '.')
		return (double)NAN;
	for (; *s; s = end) {
		n = strtod(s, &end);
		if (end == s || !(n >= 0 && n < 1e15))
			return (double)NAN;
		if (!*end) { /* a plain number */
			n /= n > 1e3 * EPOCH ? 1e3 : 1;
			return sum + (n < EPOCH ? n : n > unix_now ? n - unix_now : 0);
		}
		for (u = 0; u < ARRAY_LEN(units); u++)
			if (strncmp(end, units[u].name, strlen(units[u].name)) == 0)
				break;
		if (u == ARRAY_LEN(units))
			return (double)NAN;
		sum += n * units[u].seconds;
		end += strlen(units[u].name);
	}
	return sum;
}

static const char *header(CURL *easy, const char *name)
{
	struct curl_header *h;

	return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : NULL;
}

static double header_seconds(CURL *easy, const char *name)
{
	const char *s = header(easy, name);

	return s ? pace_seconds(s, (double)clock_unix()) : (double)NAN;
}

void pace_head_read(pace_head *h, CURL *easy)
{
	const char *s = header(easy, "retry-after");
	curl_off_t date = 0;

	h->retry_after = header_seconds(easy, "retry-after-ms") / 1e3;
	if (isnan(h->retry_after) && s) {
		h->retry_after = pace_seconds(s, (double)clock_unix());
		if (isnan(h->retry_after) && curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &date) == CURLE_OK)
			h->retry_after = (double)date;
	}
	h->requests_left = header_seconds(easy, "x-ratelimit-remaining-requests");
	h->requests_reset = header_seconds(easy, "x-ratelimit-reset-requests");
	h->tokens_left = header_seconds(easy, "x-ratelimit-remaining-tokens");
	h->tokens_reset = header_seconds(easy, "x-ratelimit-reset-tokens");
	if (isnan(h->requests_left)) { /* servers with one limit */
		h->requests_left = header_seconds(easy, "x-ratelimit-remaining");
		h->requests_reset = header_seconds(easy, "x-ratelimit-reset");
	}
	if (isnan(h->requests_left)) {
		h->requests_left = header_seconds(easy, "ratelimit-remaining");
		h->requests_reset = header_seconds(easy, "ratelimit-reset");
	}
}

/* ---- Buckets ---------------------------------------------------------------------------------------------------------------- */

/* At most n a minute, in any minute, of which `full` may go at once. */
static pace_bucket bucket(double n, double full, double now)
{
	if (full < 1)
		full = 1;
	return n > 0 ? (pace_bucket){ slack * (n - full + 1) / minute, full, full, now } : (pace_bucket){ 0 };
}

/* Seconds until n can be taken. */
static double bucket_wait(pace_bucket *b, double now, double n)
{
	if (b->rate <= 0)
		return 0;
	if (now > b->at) {
		b->level = fmin(b->full, b->level + (now - b->at) * b->rate);
		b->at = now;
	}
	n = fmin(n, b->full);
	return b->level >= n - 1e-9 ? 0 : (n - b->level) / b->rate;
}

static void bucket_take(pace_bucket *b, double n)
{
	if (b->rate > 0)
		b->level = fmin(b->full, b->level - n);
}

static double left_wait(const pace_left *l, double now, double n)
{
	if (!l->known || now >= l->until || l->left - (double)l->taken >= n)
		return 0;
	return l->until - now;
}

static void left_told(pace_left *l, double now, const pace_ticket *t, uint64_t after, double left,
                      double reset, double patience)
{
	if (isnan(left) || isnan(reset) || (l->known && now < l->until && t->seq < l->seq))
		return;
	*l = (pace_left){ true, left, now + fmin(reset, patience), t->seq, after };
}

/* ---- Asking ------------------------------------------------------------------------------------------------------------------- */

void pace_init(pace *p, const explain_client_opts *o, double now)
{
	*p = (pace){ .most = o->concurrency,
		     .window = o->concurrency < AT_FIRST ? o->concurrency : AT_FIRST,
		     .rising = true,
		     .timeout = o->timeout,
		     .wait_first = o->backoff,
		     .wait_most = o->backoff_max,
		     .patience = o->patience,
		     .seed = o->seed,
		     .requests = bucket(o->rpm, o->rpm / minute, now),
		     .tokens = bucket(o->tpm, o->tpm / 20, now),
		     .cycle_at = now,
		     .shrunk_at = now,
		     .bad_since = NAN };
}

static double longer(double a, double b)
{
	return a > b ? a : b;
}

double pace_wait(pace *p, double now, unsigned in_flight, double tokens)
{
	double wait = 0;

	if (in_flight >= p->most || in_flight >= (unsigned)fmax(1, p->window) || p->probing)
		return HUGE_VAL;
	if (p->learned.rate > 0 &&
	    now - p->grown_at >= minute) { /* try for more, bolder each time that it goes well */
		p->learned.rate *= 1 + p->growth;
		p->learned.full = fmax(1, p->learned.rate);
		p->growth = fmin(2 * p->growth, growth_most);
		p->grown_at = now;
	}
	wait = longer(wait, p->hold - now);
	if (p->open)
		wait = longer(wait, p->open_until - now);
	wait = longer(wait, bucket_wait(&p->requests, now, 1));
	wait = longer(wait, bucket_wait(&p->learned, now, 1));
	wait = longer(wait, bucket_wait(&p->tokens, now, tokens));
	wait = longer(wait, left_wait(&p->requests_left, now, 1));
	wait = longer(wait, left_wait(&p->tokens_left, now, tokens));
	if (wait <= 0 && p->open && in_flight)
		return HUGE_VAL; /* what is still under way tells as much as a probe */
	return wait;
}

double pace_held(const pace *p, double now)
{
	const pace_left *l = &p->requests_left;
	double until = p->hold;

	if (p->open)
		until = longer(until, p->open_until);
	if (l->known && now < l->until && l->left - (double)l->taken < 1)
		until = longer(until, l->until);
	return until;
}

void pace_hold(pace *p, double until)
{
	p->hold = longer(p->hold, until);
}

void pace_send(pace *p, pace_ticket *t, double now, double tokens)
{
	*t = (pace_ticket){ p->sent++, now, tokens, p->open };
	if (p->open)
		p->probing = true;
	if (p->cycle_new) {
		p->cycle_first = t->seq;
		p->cycle_limited = 0;
		p->cycle_new = false;
	}
	bucket_take(&p->requests, 1);
	bucket_take(&p->learned, 1);
	bucket_take(&p->tokens, tokens);
	p->requests_left.taken++;
	p->tokens_left.taken += (uint64_t)tokens;
}

/* ---- How it went ---------------------------------------------------------------------------------------------------------------- */

void pace_told(pace *p, double now, const pace_ticket *t, const pace_head *h)
{
	uint64_t after = p->sent - 1 - t->seq; /* maybe counted there already: better one too many */

	left_told(&p->requests_left, now, t, after, h->requests_left, h->requests_reset, p->patience);
	left_told(&p->tokens_left, now, t, (uint64_t)((double)after * t->tokens), h->tokens_left,
	          h->tokens_reset, p->patience);
}

/* Fewer at once, but once for all that were under way together. */
static void shrink(pace *p, double now, const pace_ticket *t, double by, double least)
{
	if (t->started < p->shrunk_at)
		return;
	p->window = fmax(fmin(least, p->window), fmax(1, p->window * by));
	p->shrunk_at = now;
	p->rising = false;
}

/* The server is there. */
static void sign_of_life(pace *p)
{
	p->alive = true;
	p->in_row = 0;
	p->open = p->probing = false;
	p->opened = 0;
}

void pace_good(pace *p, double now, const pace_ticket *t, double used)
{
	sign_of_life(p);
	p->bad_since = NAN;
	if (used > 0)
		bucket_take(&p->tokens, used - t->tokens);
	if (now - t->started > slow * p->timeout)
		shrink(p, now, t, 0.75, p->most / 4.0);
	else
		p->window = fmin(p->most, p->window + (p->rising ? 1 : 1 / p->window));
}

void pace_rejected(pace *p)
{
	sign_of_life(p);
}

/* Full jitter: anywhere between nothing and a bound that doubles. */
static double jitter(pace *p, unsigned tries)
{
	double bound = p->wait_first;

	for (unsigned i = 1; i < tries && bound < p->wait_most; i++)
		bound *= 2;
	return fmin(bound, p->wait_most) * hash64_unit(hash64_mix(p->seed, p->draws++));
}

/* From the first refusal on, no more in a second than got through in the cycle that it ended: from the end of one wait to the end
 * of the next. But one in two waits that the server asked for: one that refuses whatever the rate would bring it to nothing. */
static void learn(pace *p, double now, const pace_ticket *t, double wait, double asked)
{
	double seen = (double)(t->seq - p->cycle_first) - (double)p->cycle_limited;
	double span = now + wait - p->cycle_at, rate;

	p->growth = growth_first;
	p->grown_at = now + wait;
	if (seen >= 1 && span > 0) {
		rate = below * seen / span;
		if (p->learned.rate > 0)
			rate = fmax(p->learned.rate / 2, fmin(rate, below * p->learned.rate));
		p->learned = (pace_bucket){ rate, fmax(1, rate), 0, now + wait };
	} else if (p->learned.rate > 0) {
		p->learned.rate /= 2;
	}
	if (p->learned.rate > 0)
		p->learned.rate = fmax(p->learned.rate, 0.5 / (asked > 0 ? asked : UNASKED));
	p->cycle_at = now + wait;
	p->cycle_new = true;
}

/* Whether nothing has got through for too long, or would not for too long. */
static bool too_long(pace *p, double now, const pace_head *h, bool alive)
{
	if (isnan(p->bad_since))
		p->bad_since = now;
	return h->retry_after > p->patience || (alive && now - p->bad_since > p->patience);
}

double pace_limited(pace *p, double now, const pace_ticket *t, const pace_head *h, unsigned tries)
{
	bool first = t->started >= p->shrunk_at;
	double wait = jitter(p, tries);

	sign_of_life(p);
	if (!isnan(h->retry_after)) /* not all at the same moment, nor a whisker early */
		wait = fmax(wait, h->retry_after * (1 + 0.02 * hash64_unit(hash64_mix(p->seed, p->draws++))));
	pace_hold(p, now + wait); /* it spoke for all of us */
	if (too_long(p, now, h, true))
		return -1;
	if (first)
		learn(p, now, t, wait, h->retry_after);
	else
		p->cycle_limited++;
	shrink(p, now, t, 0.5, 1);
	return p->hold - now;
}

double pace_trouble(pace *p, double now, const pace_ticket *t, const pace_head *h, unsigned tries, bool *free)
{
	double wait = jitter(p, tries);

	shrink(p, now, t, 0.5, 1);
	if (t->probe)
		p->probing = false;
	*free = p->open;
	p->in_row++;
	if (p->alive && p->in_row >= BREAK_AFTER && (!p->open || t->probe)) {
		p->open = true;
		p->open_until = now + fmin(p->wait_most, fmax(p->wait_first, jitter(p, ++p->opened + 1)));
	}
	if (!isnan(h->retry_after)) {
		wait = fmax(wait, h->retry_after);
		pace_hold(p, now + h->retry_after);
	}
	return too_long(p, now, h, p->alive) ? -1 : wait;
}
