/* client_replies: what becomes of a request when its transfer has ended. */
#include "explain/chat.h"
#include "explain/client.h"

#include <string.h>

enum {
	WRONG_MAX = 2,     /* more attempts for a reply with status 200 that is not what was asked for */
	FAILED_IN_ROW = 10 /* so many failed and none went well between: the endpoint is to blame */
};

/* Whether it is the kind of answer that was asked for; `what`: its name. */
static bool is_answer(const cJSON *json, explain_api api, const char **what)
{
	const cJSON *choices = cJSON_GetObjectItemCaseSensitive(json, "choices");
	const cJSON *first = cJSON_GetArrayItem(choices, 0);
	const cJSON *data = cJSON_GetObjectItemCaseSensitive(json, "data");
	const cJSON *kind = cJSON_GetObjectItemCaseSensitive(json, "object");

	switch (api) {
	case EXPLAIN_COMPLETIONS:
		*what = "completion";
		return cJSON_IsArray(choices) &&
		       cJSON_IsString(cJSON_GetObjectItemCaseSensitive(first, "text"));
	case EXPLAIN_EMBEDDINGS:
		*what = "list of embeddings";
		return cJSON_IsArray(data) &&
		       cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(data, 0), "embedding");
	case EXPLAIN_SUBJECT:
		*what = "answer of a subject server";
		return cJSON_IsString(kind) && strcmp(kind->valuestring, "subject") == 0;
	default:
		*what = "chat completion";
		return cJSON_IsArray(choices) &&
		       cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(first, "message"));
	}
}

/* Whether a body with status 200 is what was asked for at all. Others are not kept: they come from a proxy or a server
 * in trouble, and the next attempt may bring the real one. */
static int check_reply(explain_client *c, call *k, const text *body, error *err)
{
	const char *what = NULL;
	cJSON *json = NULL;
	text why;
	int rc = 0;

	if (json_parse(&json, body->data ? body->data : "", body->len, c->endpoint.max_reply, 64, "reply",
	               NULL) < 0)
		return error_set(err, ERR_FORMAT, "'%s' answered 200 with a body that is not JSON",
		                 c->endpoint.base);
	if (is_answer(json, k->api, &what)) {
		chat_usage_read(&k->usage, json);
		c->stats.input_tokens += k->usage.input;
		c->stats.output_tokens += k->usage.output;
		c->stats.input_cached += k->usage.cached;
		c->stats.reasoning += k->usage.reasoning;
	} else {
		text_init(&why, 4096);
		http_error_text(&c->endpoint, &why, body->data, body->len);
		rc = error_set(err, ERR_FORMAT, "'%s' answered 200 with JSON that is no %s%s",
		               c->endpoint.base, what, why.data ? why.data : "");
		text_free(&why);
	}
	cJSON_Delete(json);
	return rc;
}

static void delay(explain_client *c, call *k, double seconds)
{
	k->not_before = client_now(c) + seconds;
	for (caller *r = k->callers; r; r = r->next)
		r->request->not_before = client_unix(c, k->not_before);
	c->stats.retried++;
	client_queue(&c->delayed, k);
}

/* All is over, with this call's error. */
static void end_all(explain_client *c, call *k, const error *why)
{
	c->fatal = *why;
	client_deliver(c, k, EXPLAIN_OVER, NULL, false, why);
}

/* The request will not be asked again. */
static void give_up(explain_client *c, call *k, const http_outcome *o, explain_end end)
{
	error e = o->err;

	if (k->tries > 1)
		error_set(&e, o->err.code, "%s (%u attempts)", o->err.msg, k->tries);
	c->failed_in_row++;
	if ((o->unreachable && !c->pace.alive) || c->failed_in_row >= FAILED_IN_ROW) {
		c->fatal = e;
		if (!o->unreachable)
			error_set(&c->fatal, e.code == ERR_ARG ? ERR_NET : e.code,
			          "%s; %u requests in a row failed", e.msg, c->failed_in_row);
	}
	client_deliver(c, k, end, NULL, false, &e);
}

static void lose_patience(explain_client *c, call *k, const http_outcome *o)
{
	double asked = o->head.retry_after;
	error e;

	if (asked > c->o.patience)
		error_set(&e, ERR_NET, "%s; it asks to wait %.0f seconds, more than the %g of the patience",
		          o->err.msg, asked, c->o.patience);
	else
		error_set(&e, ERR_NET, "%s; nothing got through for %g seconds", o->err.msg, c->o.patience);
	end_all(c, k, &e);
}

static void limited(explain_client *c, call *k, const http_outcome *o)
{
	double wait = pace_limited(&c->pace, client_now(c), &k->ticket, &o->head, k->tries);

	c->stats.limited++;
	if (wait < 0)
		lose_patience(c, k, o);
	else
		delay(c, k, wait);
}

static void in_trouble(explain_client *c, call *k, const http_outcome *o)
{
	bool free_of_charge = false;
	double wait = pace_trouble(&c->pace, client_now(c), &k->ticket, &o->head, k->tries, &free_of_charge);

	if (!free_of_charge)
		k->attempts++;
	if (k->attempts > c->o.retries)
		give_up(c, k, o, EXPLAIN_TROUBLE);
	else if (wait < 0)
		lose_patience(c, k, o);
	else
		delay(c, k, wait);
}

/* Into the log; told when all replies of this turn are synced together. */
static void succeed(explain_client *c, call *k, http_slot *s)
{
	double now = client_now(c);
	store_reply r = { .endpoint = c->endpoint.base,
		          .model = c->model,
		          .body = k->body,
		          .reply = s->body.data,
		          .status = 200,
		          .seconds = (now - k->ticket.started) / c->o.clock_speed,
		          .job = c->claims.job,
		          .stage = c->claims.stage,
		          .usage = claims_usage(&c->claims, &k->usage) };
	error e = { 0 };

	pace_good(&c->pace, now, &k->ticket, (double)(k->usage.input + k->usage.output));
	c->failed_in_row = 0;
	if (c->log && store_log_put(c->log, k->key, &r, &e) < 0) {
		c->unkept++;
		end_all(c, k, &e); /* what cannot be kept would be paid for again */
		return;
	}
	k->reply = s->body.data;
	client_queue(&c->replied, k);
}

void client_finished(explain_client *c, http_slot *s, CURLcode result)
{
	call *k = s->payload;
	http_outcome o;
	bool lost; /* perhaps paid all the same */

	curl_multi_remove_handle(c->multi, s->easy);
	s->payload = NULL;
	c->in_flight--;
	http_slot_outcome(&o, s, result);
	lost = o.class == HTTP_REPLY || (result != CURLE_OK && !o.unreachable);
	if (o.class == HTTP_REPLY && check_reply(c, k, &s->body, &o.err) < 0)
		o.class = k->wrong++ < WRONG_MAX ? HTTP_RETRY : HTTP_FAIL;
	if (o.class != HTTP_REPLY && claims_release(&c->claims, k->key,
	                                            o.class == HTTP_LIMIT ? STORE_SENT_LIMITED
	                                            : lost                ? STORE_SENT_LOST
	                                                                  : STORE_SENT_ERROR,
	                                            &o.err) < 0)
		o.class = HTTP_FATAL;
	pace_told(&c->pace, client_now(c), &k->ticket, &o.head);
	switch (o.class) {
	case HTTP_REPLY:
		succeed(c, k, s);
		break;
	case HTTP_LIMIT:
		limited(c, k, &o);
		break;
	case HTTP_RETRY:
		in_trouble(c, k, &o);
		break;
	case HTTP_FAIL:
		pace_rejected(&c->pace);
		give_up(c, k, &o, o.filtered ? EXPLAIN_FILTERED : EXPLAIN_REJECTED);
		break;
	case HTTP_FATAL:
		end_all(c, k, &o.err);
		break;
	}
}
