/* answer: what the reply to a chat completion holds. */
#include "explain/chat.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, TRIES_MAX = 64 };

/* ---- Objects in text -------------------------------------------------------------------------------------------------- */

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

	fits = mended &&
	       json_parse(&o, mended, strlen(mended), CHAT_REPLY_MAX, DEPTH_MAX, "answer", NULL) == 0 &&
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
		if (json_parse(&o, at, (size_t)(end - at), CHAT_REPLY_MAX, DEPTH_MAX, "answer", &e) == 0 &&
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

/* ---- Replies ---------------------------------------------------------------------------------------------------------- */

static uint64_t count_of(const cJSON *usage, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(usage, name);

	return cJSON_IsNumber(n) && n->valuedouble > 0 && n->valuedouble < 1e15 ? (uint64_t)n->valuedouble
	                                                                        : 0;
}

void chat_usage_read(chat_usage *u, const cJSON *reply)
{
	const cJSON *usage = cJSON_GetObjectItemCaseSensitive(reply, "usage");
	const cJSON *in = cJSON_GetObjectItemCaseSensitive(usage, "prompt_tokens_details");
	const cJSON *out = cJSON_GetObjectItemCaseSensitive(usage, "completion_tokens_details");

	*u = (chat_usage){ .input = count_of(usage, "prompt_tokens"),
		           .output = count_of(usage, "completion_tokens"),
		           .cached = count_of(in, "cached_tokens"),
		           .reasoning = count_of(out, "reasoning_tokens") };
	if (!u->cached)
		u->cached = count_of(usage, "prompt_cache_hit_tokens"); /* DeepSeek's name */
	if (u->cached > u->input)
		u->cached = u->input;
}

static const char *string_in(const cJSON *o, const char *name)
{
	const cJSON *s = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsString(s) && s->valuestring[0] ? s->valuestring : NULL;
}

/* The text of a message: a string, or a list of parts of which those of type "text" count. Into `out` when it is made of parts.
 * NULL: none. */
static const char *content_of(const cJSON *message, text *out)
{
	const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content"), *part;
	const char *s;

	if (!cJSON_IsArray(content))
		return cJSON_IsString(content) ? content->valuestring : NULL;
	cJSON_ArrayForEach(part, content)
	{
		s = string_in(part, "text");
		if (s && text_adds(out, s) < 0)
			return NULL;
	}
	return out->data;
}

static int unanswered(chat_usage *usage, chat_end end, error *err, const char *why)
{
	usage->end = end;
	return error_set(err, ERR_FORMAT, "%s", why);
}

static int read_content(cJSON **out, chat_usage *usage, const cJSON *message, bool cut_off,
                        const cJSON *schema, error *err)
{
	error e = { 0 };
	const char *content;
	bool thought;
	text parts;
	int rc;

	text_init(&parts, CHAT_REPLY_MAX);
	content = content_of(message, &parts);
	if (!content || !*content) {
		thought = string_in(message, "reasoning_content") || string_in(message, "reasoning");
		rc = cut_off && thought
		             ? unanswered(usage, CHAT_CUT, err,
		                          "the model thought up to the limit of tokens and gave no answer; "
		                          "--thinking-tokens raises the limit")
		             : unanswered(usage, cut_off ? CHAT_CUT : CHAT_UNREADABLE, err,
		                          "the model's answer has no text");
		goto out;
	}
	rc = find_object(out, content, schema, &e);
	if (rc == ERR_FORMAT && cut_off && find_mended(out, content, schema))
		rc = 0;
	usage->end = rc == 0 ? CHAT_ANSWERED : CHAT_UNREADABLE;
	if (rc == ERR_FORMAT && cut_off)
		rc = unanswered(usage, CHAT_CUT, err,
		                "the model's answer was cut off at the limit of tokens");
	else if (rc < 0)
		error_set(err, rc, "%s", e.msg);
out:
	text_free(&parts);
	return rc;
}

static int read_choice(cJSON **out, chat_usage *usage, const cJSON *choice, const cJSON *schema, error *err)
{
	const cJSON *message = cJSON_GetObjectItemCaseSensitive(choice, "message");
	const char *reason = string_in(choice, "finish_reason");

	if (string_in(message, "refusal") || (reason && strcmp(reason, "refusal") == 0))
		return unanswered(usage, CHAT_REFUSED, err, "the model refused to answer");
	if (reason && strcmp(reason, "content_filter") == 0)
		return unanswered(usage, CHAT_FILTERED, err,
		                  "the server's content filter withheld the answer");
	return read_content(out, usage, message, reason && strcmp(reason, "length") == 0, schema, err);
}

static int parse_reply(cJSON **json, const char *reply, error *err)
{
	return json_parse(json, reply, strlen(reply), CHAT_REPLY_MAX, DEPTH_MAX, "reply", err);
}

static const cJSON *first_choice(const cJSON *json)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(json, "choices"), 0);
}

int chat_answer(cJSON **out, chat_usage *usage, const char *reply, const cJSON *schema, error *err)
{
	cJSON *json = NULL;
	int rc;

	*usage = (chat_usage){ .end = CHAT_UNREADABLE };
	rc = parse_reply(&json, reply, err);
	if (rc < 0)
		return rc;
	chat_usage_read(usage, json);
	rc = read_choice(out, usage, first_choice(json), schema, err);
	cJSON_Delete(json);
	return rc;
}

/* Whether the tokens, one behind the other, are the text. */
static bool spells(const explain_tokens *t, const char *content)
{
	size_t left = strlen(content);

	for (size_t i = 0; i < t->n; i++) {
		if (t->token[i].len > left || memcmp(content, t->token[i].text, t->token[i].len) != 0)
			return i + 1 == t->n && left == 0; /* a mark of the end may stand behind */
		content += t->token[i].len;
		left -= t->token[i].len;
	}
	return left == 0;
}

int chat_logprobs(explain_tokens *out, const char *reply, error *err)
{
	const cJSON *choice, *logprobs;
	const char *content;
	cJSON *json = NULL;
	text parts;
	int rc;

	rc = parse_reply(&json, reply, err);
	if (rc < 0)
		return rc;
	choice = first_choice(json);
	logprobs = cJSON_GetObjectItemCaseSensitive(choice, "logprobs");
	text_init(&parts, CHAT_REPLY_MAX);
	content = content_of(cJSON_GetObjectItemCaseSensitive(choice, "message"), &parts);
	if (cJSON_IsObject(logprobs) && content)
		rc = tokens_read(out, logprobs, err);
	if (rc < 0 || !content || !spells(out, content))
		explain_tokens_clear(out);
	text_free(&parts);
	cJSON_Delete(json);
	return rc;
}
