/* When the next request may go: rates, limits that headers tell of, rates learned from refusals, how many at once, the breaker. All on
 * a clock that the test moves. */
#include "explain/pace.h"
#include "tests/support.h"

#include <math.h>

static const pace_head silent = { NAN, NAN, NAN, NAN, NAN };

static explain_client_opts opts(void)
{
	explain_client_opts o = explain_client_opts_default();

	o.concurrency = 1000;
	return o;
}

/* How many go in `seconds`, each answered at once. */
static unsigned goes(pace *p, double *now, double seconds, double tokens)
{
	double end = *now + seconds, wait;
	pace_ticket t;
	unsigned n = 0;

	while (*now < end) {
		wait = pace_wait(p, *now, 0, tokens);
		if (wait > 0) {
			*now += wait;
			continue;
		}
		pace_send(p, &t, *now, tokens);
		pace_good(p, *now, &t, 0);
		n++;
	}
	return n;
}

static const struct duration {
	const char *text;
	double seconds;
} durations[] = {
	{ "20", 20 },
	{ "1.5", 1.5 },
	{ "0", 0 },
	{ "6m0s", 360 },
	{ "1h2m3.5s", 3723.5 },
	{ "120ms", 0.12 },
	{ "2d", 172800 },
	{ "2000000010", 10 },
	{ "2000000010000", 10 },
	{ "1999999990", 0 },
	{ "", NAN },
	{ "soon", NAN },
	{ "5x", NAN },
	{ "-5", NAN },
	{ "nan", NAN },
	{ "1e400", NAN },
	{ "Fri, 27 Nov 2026", NAN },
};

START_TEST(durations_of_every_kind)
{
	const struct duration *d = &durations[_i];
	double got = pace_seconds(d->text, 2000000000);

	if (isnan(d->seconds))
		ck_assert_msg(isnan(got), "'%s' is %g", d->text, got);
	else
		ck_assert_double_eq_tol(got, d->seconds, 1e-9);
}
END_TEST

/* In no minute more than asked for, and not much less. */
START_TEST(requests_a_minute)
{
	static const double rates[] = { 1, 3, 60, 100, 6000 };
	explain_client_opts o = opts();
	double now = 5;
	unsigned n;
	pace p;

	o.rpm = rates[_i];
	pace_init(&p, &o, now);
	n = goes(&p, &now, 60, 1);
	ck_assert_double_le(n, o.rpm);
	n += goes(&p, &now, 540, 1);
	ck_assert_double_le(n, 10 * o.rpm);
	ck_assert_double_ge(n, 9.8 * o.rpm - 1);
}
END_TEST

START_TEST(tokens_a_minute)
{
	explain_client_opts o = opts();
	double now = 0;
	pace_ticket t;
	unsigned n;
	pace p;

	o.tpm = 60000;
	pace_init(&p, &o, now);
	n = goes(&p, &now, 600, 1000);
	ck_assert_uint_le(n, 600);
	ck_assert_uint_ge(n, 550);
	/* one that took more than thought leaves a debt */
	while (pace_wait(&p, now, 0, 1000) > 0)
		now += 1;
	pace_send(&p, &t, now, 1000);
	pace_good(&p, now, &t, 31000);
	ck_assert_double_ge(pace_wait(&p, now, 0, 1000), 28);
	ck_assert_double_le(pace_wait(&p, now, 0, 1000), 33);
}
END_TEST

/* A request of more tokens than a minute allows goes all the same, and the next waits for it. */
START_TEST(one_too_large_for_the_rate)
{
	explain_client_opts o = opts();
	pace_ticket t;
	pace p;

	o.tpm = 1000;
	pace_init(&p, &o, 0);
	ck_assert_double_eq(pace_wait(&p, 0, 0, 5000), 0);
	pace_send(&p, &t, 0, 5000);
	ck_assert_double_ge(pace_wait(&p, 0, 0, 50), 290);
}
END_TEST

START_TEST(headers_of_what_is_left)
{
	pace_head h = silent;
	explain_client_opts o = opts();
	pace_ticket t[3];
	pace p;

	h.requests_left = 2;
	h.requests_reset = 30;
	pace_init(&p, &o, 0);
	for (int i = 0; i < 2; i++)
		pace_send(&p, &t[i], 0, 100);
	pace_told(&p, 1, &t[0], &h); /* the second may be one of the two that are left */
	ck_assert_double_eq(pace_wait(&p, 1, 1, 100), 0);
	pace_send(&p, &t[2], 1, 100);
	ck_assert_double_eq(pace_wait(&p, 1, 2, 100), 30);
	h.requests_left = 90;
	pace_told(&p, 2, &t[2], &h); /* news of a later request */
	ck_assert_double_eq(pace_wait(&p, 2, 0, 100), 0);
	h.requests_left = 0;
	pace_told(&p, 2, &t[1], &h); /* late, of an earlier one */
	ck_assert_double_eq(pace_wait(&p, 2, 0, 100), 0);
	h = silent;
	h.tokens_left = 150;
	h.tokens_reset = 8;
	pace_told(&p, 3, &t[2], &h);
	ck_assert_double_eq(pace_wait(&p, 3, 0, 100), 0);
	ck_assert_double_eq(pace_wait(&p, 3, 0, 200), 8);
	ck_assert_double_eq(pace_wait(&p, 11.5, 0, 200), 0);
}
END_TEST

/* A server of so many requests in each window, that says when the next begins: refusals become rare. */
START_TEST(rate_is_learned_from_refusals)
{
	static const double windows[] = { 60, 10, 1 };
	const double window = windows[_i];
	explain_client_opts o = opts();
	double now = 3, begun = 3, wait;
	unsigned in_window = 0, refused = 0, through = 0;
	pace_head h = silent;
	pace_ticket t;
	pace p;

	pace_init(&p, &o, now);
	while (now < 3 + 100 * window) {
		wait = pace_wait(&p, now, 0, 1);
		if (wait > 0) {
			now += wait;
			continue;
		}
		if (now >= begun + window) {
			begun = now;
			in_window = 0;
		}
		pace_send(&p, &t, now, 1);
		now += window / 10000;
		if (++in_window <= 100) {
			pace_good(&p, now, &t, 0);
			through++;
			continue;
		}
		h.retry_after = ceil(begun + window - now);
		ck_assert_double_ge(pace_limited(&p, now, &t, &h, 1), 0);
		refused++;
	}
	ck_assert_uint_ge(through, 8500);
	ck_assert_uint_le(refused, through / 50);
}
END_TEST

/* Every second request is refused, however long is waited in between. */
START_TEST(rate_does_not_sink_to_nothing)
{
	explain_client_opts o = opts();
	double now = 0, wait;
	pace_head h = silent;
	pace_ticket t;
	pace p;

	if (_i == 0)
		h.retry_after = 1;
	pace_init(&p, &o, now);
	for (unsigned n = 0; n < 400;) {
		wait = pace_wait(&p, now, 0, 1);
		if (wait > 0) {
			now += wait;
			continue;
		}
		pace_send(&p, &t, now, 1);
		now += 0.01;
		if (n++ % 2)
			ck_assert_double_ge(pace_limited(&p, now, &t, &h, 1), 0);
		else
			pace_good(&p, now, &t, 0);
	}
	ck_assert_double_le(now, 400 * (_i == 0 ? 3 : 12));
}
END_TEST

START_TEST(fewer_at_once_after_refusals)
{
	explain_client_opts o = opts();
	pace_ticket t[20];
	pace_head h = silent;
	pace p;

	o.concurrency = 8;
	pace_init(&p, &o, 0);
	for (int i = 0; i < 8; i++)
		pace_send(&p, &t[i], 0, 1);
	ck_assert_double_eq(pace_wait(&p, 0, 8, 1), HUGE_VAL);
	h.retry_after = 1;
	for (int i = 0; i < 4; i++) /* of one flight: halved once */
		ck_assert_double_ge(pace_limited(&p, 0.5, &t[i], &h, 1), 1);
	ck_assert_double_eq(pace_wait(&p, 100, 4, 1), HUGE_VAL);
	ck_assert_double_eq(pace_wait(&p, 100, 3, 1), 0);
	for (int i = 0; i < 200; i++) {
		pace_send(&p, &t[0], 100 + i, 1);
		pace_good(&p, 100 + i, &t[0], 0);
	}
	ck_assert_double_eq(pace_wait(&p, 400, 7, 1), 0); /* and back to what was asked for */
	ck_assert_double_eq(pace_wait(&p, 400, 8, 1), HUGE_VAL);
}
END_TEST

START_TEST(begins_with_few_and_doubles)
{
	static const unsigned rounds[] = { 16, 32, 50, 50 };
	explain_client_opts o = opts();
	pace_ticket t[64];
	pace p;

	o.concurrency = 50;
	pace_init(&p, &o, 0);
	for (unsigned i = 0; i < ARRAY_LEN(rounds); i++) {
		unsigned n = 0;

		while (n < 64 && pace_wait(&p, i, n, 1) <= 0)
			pace_send(&p, &t[n++], i, 1);
		ck_assert_uint_eq(n, rounds[i]);
		while (n)
			pace_good(&p, i + 0.5, &t[--n], 0);
	}
}
END_TEST

START_TEST(fewer_at_once_when_replies_get_slow)
{
	explain_client_opts o = opts();
	pace_ticket t;
	double now = 0;
	pace p;

	o.concurrency = 16;
	o.timeout = 10;
	pace_init(&p, &o, 0);
	for (int i = 0; i < 20; i++) {
		pace_send(&p, &t, now, 1);
		now += 6;
		pace_good(&p, now, &t, 0);
	}
	ck_assert_double_eq(pace_wait(&p, now, 4, 1), HUGE_VAL);
	ck_assert_double_eq(pace_wait(&p, now, 3, 1), 0); /* never below a quarter */
}
END_TEST

START_TEST(breaker_opens_and_lets_one_through)
{
	explain_client_opts o = opts();
	bool charged_not = false;
	pace_ticket t;
	double now = 1, wait;
	pace p;

	o.concurrency = 8;
	pace_init(&p, &o, 0);
	pace_send(&p, &t, 0, 1);
	pace_good(&p, 0, &t, 0);
	for (int i = 0; i < 5; i++) {
		pace_send(&p, &t, now, 1);
		ck_assert_double_ge(pace_trouble(&p, now, &t, &silent, 1, &charged_not), 0);
		ck_assert(!charged_not);
	}
	for (int i = 0; i < 12; i++) { /* open; then one at a time, which tells */
		wait = pace_wait(&p, now, 0, 1);
		ck_assert_double_gt(wait, 0);
		ck_assert_double_le(wait, 60);
		now += wait;
		ck_assert_double_eq(pace_wait(&p, now, 3, 1), HUGE_VAL); /* of those still under way first */
		ck_assert_double_eq(pace_wait(&p, now, 0, 1), 0);
		pace_send(&p, &t, now, 1);
		ck_assert_double_eq(pace_wait(&p, now, 1, 1), HUGE_VAL);
		ck_assert_double_ge(pace_trouble(&p, now, &t, &silent, 1, &charged_not), 0);
		ck_assert(charged_not);
	}
	now += pace_wait(&p, now, 0, 1);
	pace_send(&p, &t, now, 1);
	pace_good(&p, now + 1, &t, 0); /* it is back */
	ck_assert_double_eq(pace_wait(&p, now + 1, 0, 1), 0);
	ck_assert_double_ge(pace_trouble(&p, now + 5000, &t, &silent, 1, &charged_not),
	                    0); /* after a long rest */
	ck_assert_double_lt(pace_trouble(&p, now + 6000, &t, &silent, 1, &charged_not), 0);
}
END_TEST

START_TEST(patience_has_an_end)
{
	explain_client_opts o = opts();
	pace_head h = silent;
	pace_ticket t;
	pace p;

	pace_init(&p, &o, 0);
	pace_send(&p, &t, 0, 1);
	h.retry_after = 3600; /* of a day's quota: not with the process held */
	ck_assert_double_lt(pace_limited(&p, 0, &t, &h, 1), 0);
	ck_assert_double_ge(pace_held(&p, 0), 3600); /* for whoever comes next */
	pace_init(&p, &o, 0);
	pace_send(&p, &t, 0, 1);
	h.retry_after = 60;
	ck_assert_double_ge(pace_limited(&p, 0, &t, &h, 1), 60);
	ck_assert_double_le(pace_limited(&p, 0, &t, &h, 1), 62);
	ck_assert_double_lt(pace_limited(&p, 901, &t, &h, 1), 0);
}
END_TEST

static void cases(Suite *s)
{
	TCase *t = SUPPORT_CASE(s, "pace", tokens_a_minute, one_too_large_for_the_rate,
	                        headers_of_what_is_left, fewer_at_once_after_refusals,
	                        begins_with_few_and_doubles, fewer_at_once_when_replies_get_slow,
	                        breaker_opens_and_lets_one_through, patience_has_an_end);

	tcase_add_loop_test(t, durations_of_every_kind, 0, ARRAY_LEN(durations));
	tcase_add_loop_test(t, requests_a_minute, 0, 5);
	tcase_add_loop_test(t, rate_is_learned_from_refusals, 0, 3);
	tcase_add_loop_test(t, rate_does_not_sink_to_nothing, 0, 2);
}
SUPPORT_MAIN("pace", cases)
