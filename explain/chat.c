/* chat: bodies of chat completions and what their answers hold. */
#include "explain/chat.h"

#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 256 << 20, SCHEMA_MAX = 65536, DEPTH_MAX = 64, TRIES_MAX = 64 };

static const char *const format_names[] = {
	[CHAT_SCHEMA] = "json_schema", [CHAT_OBJECT] = "json_object", [CHAT_PLAIN] = "none"
};

/* ---- Bodies -------------------------------------------------------------------------------------------------------------- */

static bool add_message(cJSON *messages, const char *role, const char *content)
{
	cJSON *m = cJSON_CreateObject();

	if (!m || !cJSON_AddItemToArray(messages, m)) {
		cJSON_Delete(m);
		return false;
	}
	return cJSON_AddStringToObject(m, "role", role) && cJSON_AddStringToObject(m, "content", content);
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

static bool fill_body(cJSON *body, const chat *c, const chat_question *q)
{
	cJSON *messages = cJSON_AddArrayToObject(body, "messages");

	return messages && (!q->system || add_message(messages, "system", q->system)) &&
	       add_message(messages, "user", q->user) && cJSON_AddStringToObject(body, "model", c->model) &&
	       cJSON_AddNumberToObject(body, c->new_limit ? "max_completion_tokens" : "max_tokens",
	                               q->max_tokens) &&
	       (c->no_temperature || cJSON_AddNumberToObject(body, "temperature", q->sample ? 0.7 : 0)) &&
	       add_format(body, c, q);
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
	    cJSON_AddBoolToObject(o, "temperature", !c->no_temperature))
		printed = json_print_canonical(o);
	cJSON_Delete(o);
	return printed;
}

int chat_from_capabilities(chat *c, bool *found, const char *json, error *err)
{
	const char *format = NULL, *limit = NULL;
	bool temperature = true;
	cJSON *o = NULL;
	int rc;

	rc = json_parse(&o, json, strlen(json), SCHEMA_MAX, DEPTH_MAX, "capabilities", err);
	if (rc == 0)
		rc = json_get_string(&format, o, "response_format", "capabilities", err);
	if (rc == 0)
		rc = json_get_string(&limit, o, "limit", "capabilities", err);
	if (rc == 0)
		rc = json_get_bool(&temperature, o, "temperature", "capabilities", err);
	*found = rc == 0 && format;
	if (*found) {
		for (size_t i = 0; i < ARRAY_LEN(format_names); i++)
			if (strcmp(format, format_names[i]) == 0)
				c->format = (chat_format)i;
		c->new_limit = limit && strcmp(limit, "max_completion_tokens") == 0;
		c->no_temperature = !temperature;
	}
	cJSON_Delete(o);
	return rc;
}

/* ---- Answers ------------------------------------------------------------------------------------------------------------------ */

/* The byte behind the balanced object that begins at s; NULL: it does not end. */
static const char *object_end(const char *s)
{
	bool in_string = false;
	unsigned depth = 0;

	for (; *s; s++) {
		if (in_string) {
			if (*s == '\\' && s[1])
				s++;
			else if (*s == '"')
				in_string = false;
		} else if (*s == '"') {
			in_string = true;
		} else if (*s == '{' || *s == '[') {
			depth++;
		} else if (*s == '}' || *s == ']') {
			if (--depth == 0)
				return s + 1;
		}
	}
	return NULL;
}

/* Models that think aloud end that with a closing tag; what comes before is not the answer. */
static const char *skip_thinking(const char *content)
{
	static const char tag[] = "</think>";
	const char *at;

	while ((at = strstr(content, tag)))
		content = at + sizeof(tag) - 1;
	return content;
}

/* An object that was cut off, ended behind its last whole member that is an object: what a list held so far is kept.
 * malloc'd; NULL: nothing whole in it (or no memory). */
static char *mend(const char *s)
{
	char stack[DEPTH_MAX], *mended;
	size_t depth = 0, whole = 0, open = 0;
	bool in_string = false;

	for (size_t i = 0; s[i]; i++) {
		if (in_string) {
			if (s[i] == '\\' && s[i + 1])
				i++;
			else if (s[i] == '"')
				in_string = false;
		} else if (s[i] == '"') {
			in_string = true;
		} else if (s[i] == '{' || s[i] == '[') {
			if (depth == DEPTH_MAX)
				break;
			stack[depth++] = s[i] == '{' ? '}' : ']';
		} else if (s[i] == '}' || s[i] == ']') {
			if (depth == 0 || stack[--depth] != s[i])
				break;
			whole = i + 1;
			open = depth;
		}
	}
	mended = whole ? malloc(whole + open + 1) : NULL;
	if (!mended)
		return NULL;
	memcpy(mended, s, whole);
	for (size_t i = 0; i < open; i++)
		mended[whole + i] = stack[open - 1 - i];
	mended[whole + open] = '\0';
	return mended;
}

static bool find_mended(cJSON **out, const char *content, const cJSON *schema)
{
	const char *at = strchr(skip_thinking(content), '{');
	char *mended = at ? mend(at) : NULL;
	cJSON *o = NULL;
	bool fits;

	fits = mended && json_parse(&o, mended, strlen(mended), REPLY_MAX, DEPTH_MAX, "answer", NULL) == 0 &&
	       json_schema_check(schema, o, NULL) == 0;
	free(mended);
	if (fits)
		*out = o;
	else
		cJSON_Delete(o);
	return fits;
}

static int find_object(cJSON **out, const char *content, const cJSON *schema, error *err)
{
	const char *at = skip_thinking(content), *end;
	bool any = false;
	error e, first = { 0 };
	cJSON *o;

	for (unsigned tries = 0; tries < TRIES_MAX && (at = strchr(at, '{')); tries++, at++) {
		end = object_end(at);
		if (!end)
			continue;
		o = NULL;
		if (json_parse(&o, at, (size_t)(end - at), REPLY_MAX, DEPTH_MAX, "answer", &e) == 0 &&
		    json_schema_check(schema, o, &e) == 0) {
			*out = o;
			return 0;
		}
		cJSON_Delete(o);
		if (e.code == ERR_NOMEM)
			return error_set(err, e.code, "%s", e.msg);
		if (!any)
			first = e;
		any = true;
	}
	if (!any)
		return error_set(err, ERR_FORMAT, "the model's answer holds no JSON object");
	return error_set(err, ERR_FORMAT, "the model's answer is not what was asked for: %s", first.msg);
}

static uint64_t count_of(const cJSON *usage, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(usage, name);

	return cJSON_IsNumber(n) && n->valuedouble > 0 && n->valuedouble < 1e15 ? (uint64_t)n->valuedouble
	                                                                        : 0;
}

static int read_choice(cJSON **out, const cJSON *choice, const cJSON *schema, error *err)
{
	const cJSON *message = cJSON_GetObjectItemCaseSensitive(choice, "message");
	const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
	const cJSON *why = cJSON_GetObjectItemCaseSensitive(choice, "finish_reason");
	const char *reason = cJSON_IsString(why) ? why->valuestring : "";
	bool cut_off = strcmp(reason, "length") == 0;
	error e = { 0 };
	int rc;

	if (cJSON_IsString(cJSON_GetObjectItemCaseSensitive(message, "refusal")))
		return error_set(err, ERR_FORMAT, "the model refused to answer");
	if (strcmp(reason, "content_filter") == 0)
		return error_set(err, ERR_FORMAT, "the server's content filter withheld the answer");
	if (!cJSON_IsString(content))
		return error_set(err, ERR_FORMAT, "the model's answer has no text");
	rc = find_object(out, content->valuestring, schema, &e);
	if (rc == 0 || (rc == ERR_FORMAT && cut_off && find_mended(out, content->valuestring, schema)))
		return 0;
	if (rc == ERR_FORMAT && cut_off)
		return error_set(err, rc, "the model's answer was cut off at the limit of tokens");
	return error_set(err, rc, "%s", e.msg);
}

int chat_answer(cJSON **out, chat_usage *usage, const char *reply, const cJSON *schema, error *err)
{
	const cJSON *counts;
	cJSON *json = NULL;
	int rc;

	*usage = (chat_usage){ 0 };
	rc = json_parse(&json, reply, strlen(reply), REPLY_MAX, DEPTH_MAX, "reply", err);
	if (rc < 0)
		return rc;
	counts = cJSON_GetObjectItemCaseSensitive(json, "usage");
	usage->input = count_of(counts, "prompt_tokens");
	usage->output = count_of(counts, "completion_tokens");
	rc = read_choice(out, cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "choices"), 0),
	                 schema, err);
	cJSON_Delete(json);
	return rc;
}
