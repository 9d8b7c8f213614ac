/* client: the queue of requests to one endpoint. Each passes through: the log -> in flight -> waiting for another attempt -> ... -> its
 * callback. Equal requests that are open at once are one call with several callers. */
#include "explain/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
	BYTES_A_TOKEN = 4,
	DRAIN_SECONDS =
	        10,    /* when stopped: how long replies under way are waited for, since they are paid for */
	POLL_MS = 200, /* how soon stop() is seen */
	HELD_MS = 50   /* how soon it is looked again for what another process asks */
};

explain_client_opts explain_client_opts_default(void)
{
	return (explain_client_opts){ .concurrency = 8,
		                      .retries = 6,
		                      .timeout = 120,
		                      .backoff = 0.5,
		                      .backoff_max = 60,
		                      .patience = 900,
		                      .clock_speed = 1,
		                      .max_reply = 4 << 20 };
}

double client_now(const explain_client *c)
{
	return clock_now() * c->o.clock_speed;
}

int64_t client_unix(const explain_client *c, double then)
{
	double seconds = (then - client_now(c)) / c->o.clock_speed;

	return seconds > 0 ? clock_unix() + (int64_t)ceil(seconds) : 0;
}

int64_t client_hold(const explain_client *c)
{
	return client_unix(c, pace_held(&c->pace, client_now(c)));
}

void client_hold_until(explain_client *c, int64_t unix_seconds)
{
	double now = client_now(c), left = (double)(unix_seconds - clock_unix());

	pace_hold(&c->pace, now + left * c->o.clock_speed);
}

/* ---- Queues and calls ------------------------------------------------------------------------------------------------- */

void client_queue(queue *q, call *k)
{
	if (!q->head)
		q->tail = &q->head;
	k->next = NULL;
	*q->tail = k;
	q->tail = &k->next;
}

static call *queue_take(queue *q)
{
	call *k = q->head;

	if (k)
		q->head = k->next;
	return k;
}

static call **bucket_of(explain_client *c, const char *key)
{
	uint64_t h = hash64(key, SHA256_HEX - 1, 0);

	return &c->buckets[h % CLIENT_BUCKETS];
}

static void call_free(call *k)
{
	caller *next;

	for (caller *r = k->callers; r; r = next) {
		next = r->next;
		free(r);
	}
	free(k);
}

void client_deliver(explain_client *c, call *k, explain_end end, const char *reply, bool from_log,
                    const error *err)
{
	call **p = bucket_of(c, k->key);

	while (*p != k)
		p = &(*p)->in_bucket;
	*p = k->in_bucket;
	for (caller *r = k->callers; r; r = r->next) {
		c->open--;
		if (!reply)
			c->stats.failed++;
		else if (from_log)
			c->stats.from_log++;
		r->request->end = end;
		r->request->done(r->request, reply, from_log, reply ? NULL : err);
	}
	call_free(k);
}

static int call_find_or_add(explain_client *c, call **out, const explain_request *r, error *err)
{
	call **bucket = bucket_of(c, r->key), *k;

	for (k = *bucket; k; k = k->in_bucket)
		if (strcmp(k->key, r->key) == 0)
			break;
	if (!k) {
		k = calloc(1, sizeof(*k));
		if (!k)
			return error_nomem(err, "a request");
		memcpy(k->key, r->key, sizeof(k->key));
		k->body = r->body;
		k->api = r->api;
		k->tokens = (double)strlen(r->body) / BYTES_A_TOKEN + r->reply_tokens;
		k->last = &k->callers;
		k->in_bucket = *bucket;
		*bucket = k;
		client_queue(&c->ready, k);
	}
	*out = k;
	return 0;
}

int client_request_key(explain_client *c, explain_request *r, error *err)
{
	const char *endpoint;
	char sample[24];
	sha256 h;
	int rc;

	rc = sha256_init(&h, err);
	if (rc < 0)
		return rc;
	snprintf(sample, sizeof(sample), "\n%u\n", r->sample);
	endpoint = r->api == EXPLAIN_CHAT ? c->endpoint.base : c->endpoint.url[r->api];
	sha256_add(&h, endpoint, strlen(endpoint));
	sha256_add(&h, "\n", 1);
	sha256_add(&h, c->model, strlen(c->model));
	sha256_add(&h, sample, strlen(sample));
	sha256_add(&h, r->body, strlen(r->body));
	sha256_end(&h, r->key);
	return 0;
}

int explain_client_add(explain_client *c, explain_request *r, error *err)
{
	caller *who;
	call *k = NULL;
	int rc;

	if (c->fatal.code)
		return error_set(err, c->fatal.code, "%s", c->fatal.msg);
	rc = client_request_key(c, r, err);
	if (rc < 0)
		return rc;
	who = calloc(1, sizeof(*who));
	if (!who)
		return error_nomem(err, "a request");
	rc = call_find_or_add(c, &k, r, err);
	if (rc < 0) {
		free(who);
		return rc;
	}
	who->request = r;
	*k->last = who;
	k->last = &who->next;
	c->open++;
	return 0;
}

/* ---- The loop ------------------------------------------------------------------------------------------------------------ */

static http_slot *free_slot(explain_client *c)
{
	for (unsigned i = 0; i < c->n_slots; i++)
		if (!c->slots[i].payload)
			return &c->slots[i];
	return NULL;
}

/* Answer from the log where it has the reply, or where nothing may be sent. *answered: the call is gone. */
static int try_log(explain_client *c, call *k, bool *answered, error *err)
{
	char *reply = NULL;
	error e = { 0 };
	int rc;

	*answered = false;
	k->looked_up = true;
	rc = c->log ? store_log_get(c->log, k->key, &reply, err) : 0;
	if (rc < 0)
		return rc;
	if (reply || c->replay) {
		queue_take(&c->ready);
		if (!reply)
			error_set(&e, ERR_NOTFOUND, "replay: the request log lacks %.12s", k->key);
		client_deliver(c, k, reply ? EXPLAIN_REPLIED : EXPLAIN_MISSING, reply, reply != NULL, &e);
		*answered = true;
	}
	free(reply);
	return 0;
}

/* *go: whether the call may be sent now. What another process asks waits; what it was answered is taken from the log. */
static int try_claim(explain_client *c, call *k, bool *go, error *err)
{
	store_claim state = STORE_CLAIMED;
	error why = { 0 };
	int rc = claims_take(&state, &c->claims, k->key, k->body, &why);

	*go = rc == 0 && state == STORE_CLAIMED;
	if (rc < 0)
		return error_set(err, why.code, "%s", why.msg);
	if (*go)
		return 0;
	k->looked_up = false;
	if (state == STORE_CLAIM_OVER)
		c->broke = why;
	if (state == STORE_CLAIM_HELD) {
		k->not_before = client_now(c) + c->o.clock_speed * HELD_MS / 1e3;
		client_queue(&c->delayed, queue_take(&c->ready));
	}
	return 0;
}

/* Seconds until it may go; HUGE_VAL: when another has ended. */
static double wait_of(explain_client *c, const call *k)
{
	return free_slot(c) ? pace_wait(&c->pace, client_now(c), c->in_flight, k->tokens) : HUGE_VAL;
}

/* Start what may start. *next: when more may, if that is sooner. */
static int start_some(explain_client *c, double *next, error *err)
{
	bool answered, go;
	double wait;
	http_slot *s;
	call *k = NULL;
	int rc;

	while ((k = c->ready.head) && !c->fatal.code && !c->broke.code) {
		if (!k->looked_up) {
			rc = try_log(c, k, &answered, err);
			if (rc < 0)
				return rc;
			if (answered)
				continue;
		}
		wait = wait_of(c, k);
		if (wait > 0) {
			*next = fmin(*next, client_now(c) + wait);
			break;
		}
		rc = try_claim(c, k, &go, err);
		if (rc < 0)
			return rc;
		if (!go)
			continue;
		s = free_slot(c);
		rc = http_slot_start(s, c->multi, k->api, k->body, err);
		if (rc < 0)
			return rc;
		queue_take(&c->ready);
		s->payload = k;
		pace_send(&c->pace, &k->ticket, client_now(c), k->tokens);
		k->tries++;
		c->in_flight++;
		c->stats.sent++;
	}
	return 0;
}

/* Their claims are written together, before anything of theirs is sent. */
static int start_ready(explain_client *c, double *next, error *err)
{
	int rc, end = 0;

	if (!c->ready.head || c->replay || !c->log || wait_of(c, c->ready.head) > 0)
		return start_some(c, next, err);
	rc = store_log_group(c->log, true, err);
	if (rc < 0)
		return rc;
	rc = start_some(c, next, err);
	end = store_log_group_end(c->log, true, rc == 0 ? err : NULL);
	return rc < 0 ? rc : end;
}

/* Move calls whose wait is over to the ready ones; the time of the next, at most POLL_MS ahead. */
static double wake_delayed(explain_client *c)
{
	queue still = { 0 };
	double now = client_now(c), next = now + c->o.clock_speed * POLL_MS / 1e3;
	call *k = NULL;

	while ((k = queue_take(&c->delayed))) {
		if (k->not_before <= now) {
			client_queue(&c->ready, k);
			continue;
		}
		if (k->not_before < next)
			next = k->not_before;
		client_queue(&still, k);
	}
	c->delayed = still; /* its tail points into its last call */
	return next;
}

/* The replies of this turn are in the log, synced together: tell who waits for them. */
static void tell_replies(explain_client *c, bool kept, const error *why)
{
	call *k;

	if (!kept && !c->fatal.code)
		c->fatal = *why; /* what cannot be kept would be paid for again */
	while ((k = queue_take(&c->replied))) {
		c->unkept += !kept;
		if (kept)
			client_deliver(c, k, EXPLAIN_REPLIED, k->reply, false, NULL);
		else
			client_deliver(c, k, EXPLAIN_OVER, NULL, false, &c->fatal);
	}
}

/* All transfers that have ended; *n: how many. */
static int collect(explain_client *c, int *n, error *err)
{
	CURLMsg *m;
	void *slot;
	error why = { 0 };
	int left, rc = 0;

	*n = 0;
	while (rc == 0 && (m = curl_multi_info_read(c->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		CURLcode result = m->data.result; /* m dies with remove_handle */

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
		if ((*n)++ == 0 && c->log)
			rc = store_log_group(c->log, false, err);
		if (rc == 0)
			client_finished(c, slot, result);
	}
	if (rc == 0 && *n)
		tell_replies(c, !c->log || store_log_group_end(c->log, false, &why) == 0, &why);
	return rc;
}

static int turn(explain_client *c, int wait_ms, error *err)
{
	int running, collected = 0, rc;
	CURLMcode mc;

	mc = curl_multi_perform(c->multi, &running);
	rc = mc == CURLM_OK ? collect(c, &collected, err) : 0;
	if (rc < 0)
		return rc;
	if (mc == CURLM_OK && !collected)
		mc = curl_multi_poll(c->multi, NULL, 0, wait_ms, NULL);
	return mc == CURLM_OK
	               ? 0
	               : error_set(err, ERR_NET, "cannot drive connections: %s", curl_multi_strerror(mc));
}

/* Under way, and nobody waits for it any more. What cannot be written of it, the next process finds out. */
static void lose(explain_client *c, const call *k)
{
	error e;
	int rc = claims_release(&c->claims, k->key, STORE_SENT_LOST, &e);

	(void)rc;
}

/* All is over: whoever still waits learns why. */
static int fail_all(explain_client *c, error *err)
{
	call *k = NULL;

	for (unsigned i = 0; i < c->n_slots; i++) {
		k = c->slots[i].payload;
		if (!k)
			continue;
		curl_multi_remove_handle(c->multi, c->slots[i].easy);
		c->slots[i].payload = NULL;
		c->in_flight--;
		c->cut++;
		lose(c, k);
		client_deliver(c, k, EXPLAIN_OVER, NULL, false, &c->fatal);
	}
	while ((k = queue_take(&c->ready)) || (k = queue_take(&c->delayed)))
		client_deliver(c, k, EXPLAIN_OVER, NULL, false, &c->fatal);
	return error_set(err, c->fatal.code, "%s", c->fatal.msg);
}

int client_drain(explain_client *c, error *err)
{
	double until = clock_now() + DRAIN_SECONDS;
	int rc = 0;

	while (rc == 0 && c->in_flight && clock_now() < until && !c->fatal.code)
		rc = turn(c, POLL_MS, err);
	return rc < 0 ? rc : error_set(err, ERR_STOPPED, "stopped with %zu requests open", c->open);
}

/* Of the machine's, until a time of the client's; rounded up, so that the time has come then. */
static int milliseconds(const explain_client *c, double until)
{
	double left = (until - client_now(c)) / c->o.clock_speed;

	return left > 0 ? (int)fmin(left * 1e3 + 1, POLL_MS) : 0;
}

int client_drive(explain_client *c, size_t leave, double seconds, bool (*stop)(void), error *err)
{
	int64_t held = client_hold(c);
	double until = clock_now() + seconds, next;
	error e = { 0 };
	int rc = 0;

	while (rc == 0 && !c->fatal.code && c->open > leave && clock_now() < until &&
	       client_hold(c) <= held) {
		if (stop && stop())
			return client_drain(c, err);
		if (c->broke.code) {
			rc = client_drain(c, err);
			return rc == ERR_STOPPED ? error_set(err, ERR_STOPPED, "%s", c->broke.msg) : rc;
		}
		next = wake_delayed(c);
		rc = start_ready(c, &next, &e);
		if (rc == 0 && !c->fatal.code && c->open > leave)
			rc = turn(c, milliseconds(c, next), &e);
	}
	if (rc < 0 && !c->fatal.code)
		c->fatal = e;
	return c->fatal.code ? fail_all(c, err) : 0;
}

int explain_client_run(explain_client *c, size_t leave, bool (*stop)(void), error *err)
{
	int rc;

	do
		rc = client_drive(c, leave, HUGE_VAL, stop, err);
	while (rc == 0 && c->open > leave);
	return rc;
}

int client_run_out(explain_client *c, bool (*stop)(void), error *err)
{
	error e = { 0 };
	int rc = explain_client_run(c, 0, stop, &e);

	if (rc == 0)
		return 0;
	if (!c->fatal.code)
		c->fatal = e;
	return fail_all(c, err); /* where that was done already, nobody waits any more */
}

/* ---- Life ------------------------------------------------------------------------------------------------------------------ */

static int check_opts(const explain_client_opts *o, error *err)
{
	if (!o->base_url || !o->base_url[0])
		return error_set(err, ERR_ARG, "no base URL");
	if (!o->model || !o->model[0] || strlen(o->model) > 256)
		return error_set(err, ERR_ARG, "the model's name is empty or over 256 bytes");
	for (const char *p = o->model; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return error_set(err, ERR_ARG, "the model's name holds a control character");
	if (o->concurrency < 1 || o->concurrency > 1024)
		return error_set(err, ERR_ARG, "concurrency is %u, 1 to 1024 is wanted", o->concurrency);
	if (!(o->timeout > 0 && o->timeout <= 86400))
		return error_set(err, ERR_ARG,
		                 "the time-out is %g seconds, over 0 and at most 86400 is wanted",
		                 o->timeout);
	if (!(o->backoff >= 0 && o->backoff_max >= o->backoff))
		return error_set(err, ERR_ARG, "the back-off goes from %g to %g seconds", o->backoff,
		                 o->backoff_max);
	if (!(o->rpm >= 0 && o->rpm <= 1e9) || !(o->tpm >= 0 && o->tpm <= 1e12))
		return error_set(err, ERR_ARG, "the rates are %g requests and %g tokens a minute", o->rpm,
		                 o->tpm);
	if (!(o->patience >= 0) || !(o->clock_speed > 0))
		return error_set(err, ERR_ARG, "the patience is %g seconds, the clock's speed %g",
		                 o->patience, o->clock_speed);
	if (o->max_reply < 1024)
		return error_set(err, ERR_ARG, "the largest reply is %zu bytes, at least 1024 is wanted",
		                 o->max_reply);
	return 0;
}

static int make_slots(explain_client *c, error *err)
{
	int rc;

	c->multi = curl_multi_init();
	c->slots = calloc(c->o.concurrency, sizeof(*c->slots));
	if (!c->multi || !c->slots)
		return error_nomem(err, "connections");
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->o.concurrency);
	for (; c->n_slots < c->o.concurrency; c->n_slots++) {
		rc = http_slot_init(&c->slots[c->n_slots], &c->endpoint, err);
		if (rc < 0) {
			http_slot_free(&c->slots[c->n_slots]);
			return rc;
		}
	}
	return 0;
}

int explain_client_new(explain_client **out, const explain_client_opts *o, store_log *log, bool replay,
                       error *err)
{
	explain_client *c;
	int rc;

	rc = check_opts(o, err);
	if (rc < 0)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return error_nomem(err, "the client");
	c->log = log;
	c->replay = replay;
	c->claims = (claims){ .log = log, .timeout = o->timeout };
	c->o = *o;
	c->o.base_url = c->o.model = c->o.api_key = c->o.ca_file =
	        NULL; /* the caller's; our copies are elsewhere */
	c->global = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
	c->model = strdup(o->model);
	if (!c->global || !c->model)
		rc = error_nomem(err, "the client");
	else
		rc = http_endpoint_init(&c->endpoint, o, err);
	pace_init(&c->pace, o, client_now(c));
	if (rc == 0)
		rc = make_slots(c, err);
	if (rc < 0)
		explain_client_free(c);
	else
		*out = c;
	return rc;
}

void explain_client_free(explain_client *c)
{
	call *next;

	if (!c)
		return;
	for (unsigned i = 0; i < c->n_slots; i++) {
		if (c->slots[i].payload) {
			curl_multi_remove_handle(c->multi, c->slots[i].easy);
			lose(c, c->slots[i].payload);
		}
		http_slot_free(&c->slots[i]);
	}
	free(c->slots);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	for (unsigned i = 0; i < CLIENT_BUCKETS; i++)
		for (call *k = c->buckets[i]; k; k = next) {
			next = k->in_bucket;
			call_free(k);
		}
	http_endpoint_clear(&c->endpoint);
	free(c->model);
	if (c->global)
		curl_global_cleanup();
	free(c);
}

explain_client_stats explain_client_get_stats(const explain_client *c)
{
	return c->stats;
}

const char *client_model(const explain_client *c)
{
	return c->model;
}

void client_for_job(explain_client *c, const char *job, const char *stage, const explain_price *price,
                    const store_budget *budget)
{
	snprintf(c->claims.job, sizeof(c->claims.job), "%s", job);
	c->claims.stage = stage;
	c->claims.price = *price;
	c->claims.budget = *budget;
}
