/* chat: bodies of chat completions, and what a server was found to accept of them. */
#include "explain/chat.h"
#include "explain/client.h"
#include "explain/prompt.h"

#include <stdlib.h>
#include <string.h>

enum { SCHEMA_MAX = 65536, DEPTH_MAX = 64, PROBE_TOKENS = 32 };

static const char *const format_names[] = {
	[CHAT_SCHEMA] = "json_schema", [CHAT_OBJECT] = "json_object", [CHAT_PLAIN] = "none"
};

void chat_init(chat *c, const explain_client_opts *o)
{
	*c = (chat){ 0 };
	if (!o)
		return;
	c->model = o->model;
	c->new_limit = o->max_completion_tokens;
	c->no_temperature = o->no_temperature;
	c->no_system = o->no_system;
	c->thinking = o->thinking_tokens;
}

/* ---- Bodies -------------------------------------------------------------------------------------------------------------- */

static bool add_message(cJSON *messages, const char *role, const char *content, size_t len)
{
	cJSON *m = cJSON_CreateObject();
	char *copy = strndup(content, len);
	bool fine = copy && m && cJSON_AddStringToObject(m, "role", role) &&
	            cJSON_AddStringToObject(m, "content", copy) && cJSON_AddItemToArray(messages, m);

	free(copy);
	if (!fine)
		cJSON_Delete(m);
	return fine;
}

static bool add_format(cJSON *body, const chat *c, const chat_question *q)
{
	cJSON *format, *named, *schema;

	if (c->format == CHAT_PLAIN)
		return true;
	format = cJSON_AddObjectToObject(body, "response_format");
	if (!format || !cJSON_AddStringToObject(format, "type", format_names[c->format]))
		return false;
	if (c->format == CHAT_OBJECT)
		return true;
	named = cJSON_AddObjectToObject(format, "json_schema");
	if (!named || !cJSON_AddStringToObject(named, "name", q->name) ||
	    !cJSON_AddTrueToObject(named, "strict"))
		return false;
	if (json_parse(&schema, q->schema, strlen(q->schema), SCHEMA_MAX, DEPTH_MAX, "schema", NULL) < 0)
		return false;
	if (!cJSON_AddItemToObject(named, "schema", schema)) {
		cJSON_Delete(schema);
		return false;
	}
	return true;
}

/* The turn, behind the instructions where those had no turn of their own. */
static bool add_behind(cJSON *messages, const prompt_turn *instructions, const prompt_turn *turn)
{
	bool fine;
	text both;

	if (!instructions->len)
		return add_message(messages, turn->role, turn->text, turn->len);
	text_init(&both, 2 * PROMPT_MAX + 2);
	fine = text_add(&both, instructions->text, instructions->len) == 0 && text_adds(&both, "\n\n") == 0 &&
	       text_add(&both, turn->text, turn->len) == 0 &&
	       add_message(messages, turn->role, both.data, both.len);
	text_free(&both);
	return fine;
}

/* Instructions and worked examples first, so that questions of one kind begin alike and a provider can keep what they share. */
static bool add_messages(cJSON *body, const chat *c, const chat_question *q)
{
	const prompt_turn question = { "user", q->user, strlen(q->user) };
	cJSON *messages = cJSON_AddArrayToObject(body, "messages");
	const char *rest = q->system ? q->system : "";
	prompt_turn turn, before = { 0 };

	if (!messages)
		return false;
	while (prompt_next_turn(&turn, &rest)) {
		if (c->no_system && strcmp(turn.role, "system") == 0) {
			before = turn;
			continue;
		}
		if (!add_behind(messages, &before, &turn))
			return false;
		before.len = 0;
	}
	return add_behind(messages, &before, &question);
}

static bool fill_body(cJSON *body, const chat *c, const chat_question *q)
{
	return add_messages(body, c, q) && cJSON_AddStringToObject(body, "model", c->model) &&
	       cJSON_AddNumberToObject(body, c->new_limit ? "max_completion_tokens" : "max_tokens",
	                               (double)chat_limit(c, q)) &&
	       (c->no_temperature || cJSON_AddNumberToObject(body, "temperature", q->sample ? 0.7 : 0)) &&
	       (!q->top_logprobs || c->no_logprobs ||
	        (cJSON_AddTrueToObject(body, "logprobs") &&
	         cJSON_AddNumberToObject(body, "top_logprobs", q->top_logprobs))) &&
	       add_format(body, c, q);
}

unsigned chat_limit(const chat *c, const chat_question *q)
{
	return q->max_tokens + c->thinking;
}

int chat_body(char **out, const chat *c, const chat_question *q, error *err)
{
	cJSON *body = cJSON_CreateObject();
	char *printed = NULL;

	if (body && fill_body(body, c, q))
		printed = json_print_canonical(body);
	cJSON_Delete(body);
	if (!printed)
		return error_nomem(err, "a request");
	*out = printed;
	return 0;
}

/* ---- What the server accepts ------------------------------------------------------------------------------------------------ */

bool chat_lesser_format(chat *c)
{
	if (c->format == CHAT_PLAIN)
		return false;
	c->format++;
	return true;
}

bool chat_adapt(chat *c, const error *refusal)
{
	static const char *const formats[] = { "response_format", "json_schema", "json_object",
		                               "schema",          "grammar",     "structured" };

	if (refusal->code != ERR_ARG)
		return false;
	if (!c->new_limit && strcasestr(refusal->msg, "max_completion_tokens")) {
		c->new_limit = true;
		return true;
	}
	if (!c->no_temperature && strcasestr(refusal->msg, "temperature")) {
		c->no_temperature = true;
		return true;
	}
	if (!c->no_logprobs && strcasestr(refusal->msg, "logprobs")) {
		c->no_logprobs = true;
		return true;
	}
	if (!c->no_system && strcasestr(refusal->msg, "system") &&
	    (strcasestr(refusal->msg, "role") || strcasestr(refusal->msg, "message") ||
	     strcasestr(refusal->msg, "instruction"))) {
		c->no_system = true;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strcasestr(refusal->msg, formats[i]))
			return chat_lesser_format(c);
	return false;
}

char *chat_capabilities(const chat *c)
{
	cJSON *o = cJSON_CreateObject();
	char *printed = NULL;

	if (o && cJSON_AddStringToObject(o, "response_format", format_names[c->format]) &&
	    cJSON_AddStringToObject(o, "limit", c->new_limit ? "max_completion_tokens" : "max_tokens") &&
	    cJSON_AddBoolToObject(o, "temperature", !c->no_temperature) &&
	    cJSON_AddBoolToObject(o, "system", !c->no_system) &&
	    cJSON_AddBoolToObject(o, "logprobs", !c->no_logprobs))
		printed = json_print_canonical(o);
	cJSON_Delete(o);
	return printed;
}

int chat_from_capabilities(chat *c, bool *found, const char *json, error *err)
{
	const char *format = NULL, *limit = NULL;
	bool temperature = true, system = true, logprobs = true;
	cJSON *o = NULL;
	int rc;

	rc = json_parse(&o, json, strlen(json), SCHEMA_MAX, DEPTH_MAX, "capabilities", err);
	if (rc == 0)
		rc = json_get_string(&format, o, "response_format", "capabilities", err);
	if (rc == 0)
		rc = json_get_string(&limit, o, "limit", "capabilities", err);
	if (rc == 0)
		rc = json_get_bool(&temperature, o, "temperature", "capabilities", err);
	if (rc == 0)
		rc = json_get_bool(&system, o, "system", "capabilities", err);
	if (rc == 0)
		rc = json_get_bool(&logprobs, o, "logprobs", "capabilities", err);
	*found = rc == 0 && format;
	if (*found) {
		for (size_t i = 0; i < ARRAY_LEN(format_names); i++)
			if (strcmp(format, format_names[i]) == 0)
				c->format = (chat_format)i;
		c->new_limit = limit && strcmp(limit, "max_completion_tokens") == 0;
		c->no_temperature = !temperature;
		c->no_system = !system;
		c->no_logprobs = !logprobs;
	}
	cJSON_Delete(o);
	return rc;
}

/* ---- The probe ---------------------------------------------------------------------------------------------------------------- */

static const char probe_schema[] = "{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}},"
                                   "\"required\":[\"ok\"],\"additionalProperties\":false}";

typedef struct probe {
	bool replied, spelled; /* spelled: with log-probabilities of the tokens of the answer */
	error err;
} probe;

static void probe_done(explain_request *r, const char *reply, bool from_log, const error *err)
{
	explain_tokens tokens = { 0 };
	probe *p = r->payload;

	(void)from_log;
	p->replied = reply != NULL;
	if (err)
		p->err = *err;
	p->spelled = reply && chat_logprobs(&tokens, reply, NULL) == 0 && tokens.n > 0;
	explain_tokens_clear(&tokens);
}

static int probe_once(probe *p, const chat *c, const chat_question *q, explain_client *client,
                      bool (*stop)(void), error *err)
{
	explain_request r = { .done = probe_done, .payload = p };
	char *body = NULL;
	int rc;

	*p = (probe){ 0 };
	rc = chat_body(&body, c, q, err);
	if (rc < 0)
		return rc;
	r.body = body;
	rc = explain_client_add(client, &r, err);
	if (rc == 0)
		rc = client_run_out(client, stop, err);
	free(body);
	return rc;
}

/* The i-th way to ask, the best first, from what is known beforehand; false: there is none. */
static bool variant(chat *out, const chat *known, unsigned i)
{
	static const unsigned n_formats = CHAT_PLAIN + 1;
	unsigned bits = i / n_formats;

	*out = *known;
	out->format = (chat_format)(i % n_formats);
	out->new_limit |= (bits & 1) != 0;
	out->no_temperature |= (bits & 2) != 0;
	out->no_system |= (bits & 4) != 0;
	out->no_logprobs |= (bits & 8) != 0;
	return bits < 16;
}

int chat_probe(chat *c, explain_client *client, unsigned top_logprobs, bool replay, bool (*stop)(void),
               error *err)
{
	const chat_question q = { .system = "You answer with JSON.",
		                  .user = "Reply with the JSON object {\"ok\": true} and nothing else.",
		                  .name = "probe",
		                  .schema = probe_schema,
		                  .max_tokens = PROBE_TOKENS,
		                  .top_logprobs = top_logprobs };
	const chat known = *c;
	bool again = true;
	probe p = { 0 };
	int rc = 0;

	for (unsigned i = 1; again && rc == 0; i++) {
		rc = probe_once(&p, c, &q, client, stop, err);
		if (rc < 0 || p.replied)
			break;
		again = replay && p.err.code == ERR_NOTFOUND ? variant(c, &known, i) : chat_adapt(c, &p.err);
	}
	if (rc == 0 && !p.replied)
		rc = error_set(err, p.err.code == ERR_ARG ? ERR_NET : p.err.code, "%s", p.err.msg);
	if (top_logprobs && !p.spelled)
		c->no_logprobs = true;
	return rc;
}
