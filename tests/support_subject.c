/* See support_subject.h. */
#include "tests/support_subject.h"

#include "base/base.h"
#include "tests/support_oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char before_label[] = "fits this description: ", before_text[] = "Text:\n";

static void must(int rc)
{
	if (rc < 0)
		abort();
}

/* Nats a token of a text behind a prefix. */
static double loss_of(const subject_oracle *o, const char *prefix, const char *s)
{
	const char *label = strstr(prefix, before_label);
	uint64_t key = hash64(s, strlen(s), o->seed);
	double loss = 4 + 0.3 * oracle_normal(hash64_mix(key, 1));
	char word[64];

	if (!label)
		return loss;
	label += sizeof(before_label) - 1;
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(label, "\n"), label);
	return loss - 0.1 * ((oracle_has_word(s, strlen(s), word) ? o->d : 0) +
	                     oracle_normal(hash64(word, strlen(word), key)));
}

static unsigned words_of(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += *s == ' ';
	return n ? n : 1;
}

static subject_trouble trouble_of(const subject_oracle *o)
{
	return o->questions > o->after && (!o->until || o->questions <= o->until) ? o->trouble : SUBJECT_FINE;
}

static const char *value_in(const subject_oracle *o, char buf[32], double logprob)
{
	subject_trouble t = trouble_of(o);

	snprintf(buf, 32, "%.17g", t == SUBJECT_POSITIVE ? 1.5 : logprob);
	return t == SUBJECT_NULL ? "null" : buf;
}

static char *logprobs(subject_oracle *o, const cJSON *body)
{
	const cJSON *one;
	text out;
	char buf[32];
	unsigned i = 0, n = (unsigned)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(body, "items"));

	text_init(&out, 1 << 24);
	must(text_adds(&out, "{\"object\":\"subject\",\"items\":["));
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(body, "items"))
	{
		const char *s = cJSON_GetObjectItemCaseSensitive(one, "text")->valuestring;
		double loss = loss_of(o, cJSON_GetObjectItemCaseSensitive(one, "prefix")->valuestring, s);
		unsigned words = words_of(s), some = words - (trouble_of(o) == SUBJECT_SHORT);

		if (i + (trouble_of(o) == SUBJECT_TOO_FEW) >= n)
			break;
		must(text_addf(&out, "%s{\"ids\":[", i++ ? "," : ""));
		for (unsigned k = 0; k < words; k++)
			must(text_addf(&out, "%s%u", k ? "," : "", k));
		must(text_adds(&out, "],\"logprobs\":["));
		for (unsigned k = 0; k < some; k++)
			must(text_addf(&out, "%s%s", k ? "," : "", value_in(o, buf, -loss)));
		must(text_adds(&out, "]}"));
	}
	must(text_addf(&out, "],\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":0}}", n));
	return out.data;
}

static void add_token(text *tokens, text *values, const char *s, size_t n, const char *value)
{
	must(text_adds(tokens, tokens->len ? "," : ""));
	must(text_add_json(tokens, s, n));
	must(text_addf(values, "%s%s", values->len ? "," : "", value));
}

/* The prompt's tokens, a word each, behind one of the server's own. */
static char *echo(subject_oracle *o, const cJSON *body)
{
	const char *prompt = cJSON_GetObjectItemCaseSensitive(body, "prompt")->valuestring;
	const char *at = strstr(prompt, before_text), *word;
	text out, tokens, values;
	double loss;
	char buf[32];

	text_init(&out, 1 << 24);
	text_init(&tokens, 1 << 24);
	text_init(&values, 1 << 24);
	at = at ? at + sizeof(before_text) - 1 : prompt;
	loss = loss_of(o, prompt, at);
	add_token(&tokens, &values, "<s>", 3, "null");
	if (trouble_of(o) != SUBJECT_NO_ECHO && at > prompt)
		add_token(&tokens, &values, prompt, (size_t)(at - prompt), "-1");
	for (; *at && trouble_of(o) != SUBJECT_NO_ECHO; at = word) {
		word = at + 1 + strcspn(at + 1, " ");
		add_token(&tokens, &values, trouble_of(o) == SUBJECT_OTHER_TEXT ? "?" : at,
		          trouble_of(o) == SUBJECT_OTHER_TEXT ? 1 : (size_t)(word - at),
		          value_in(o, buf, -loss));
	}
	must(text_adds(&out, "{\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\""));
	if (trouble_of(o) != SUBJECT_NO_LOGPROBS)
		must(text_addf(&out, ",\"logprobs\":{\"tokens\":[%s],\"token_logprobs\":[%s]}", tokens.data,
		               values.data));
	must(text_adds(&out, "}],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":0}}"));
	text_free(&tokens);
	text_free(&values);
	return out.data;
}

llm_reply subject_answer(const llm_seen *request, void *payload)
{
	subject_oracle *o = payload;
	llm_reply r = { 0 };
	cJSON *body = cJSON_Parse(request->body);
	const char *what = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "do"));

	if (what && strcmp(what, "info") == 0) {
		r.body = o->trouble == SUBJECT_ELSE ? "{\"data\":[]}"
		                                    : "{\"object\":\"subject\",\"model\":\"tiny-0123\","
		                                      "\"layers\":3,\"width\":4}";
	} else {
		o->questions++;
		o->items += (unsigned)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(body, "items"));
		if (what && trouble_of(o) == SUBJECT_NO_LOGPROBS) {
			r.status = 400;
			r.body = "{\"error\":{\"message\":\"do is 'logprobs': there are info\"}}";
		} else {
			r.own = what ? logprobs(o, body) : echo(o, body);
		}
	}
	cJSON_Delete(body);
	return r;
}
