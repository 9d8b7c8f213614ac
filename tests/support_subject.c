/* See support_subject.h. */
#include "tests/support_subject.h"

#include "base/base.h"
#include "tests/support_oracle.h"

#include <math.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const char before_label[] = "fits this description: ", before_text[] = "Text:\n";
static const char before_passage[] = "Turned up:";
static const char steered[] = " steered by ";

static void must(int rc)
{
	if (rc < 0)
		abort();
}

/* Nats a token of a label behind a passage: that of the feature which steered it gains. */
static double label_loss(const subject_oracle *o, const char *prefix, const char *label)
{
	const char *by = NULL;
	uint64_t key = hash64(label, strlen(label), hash64(prefix, strlen(prefix), o->seed));
	char word[64];

	for (const char *at = prefix; (at = strstr(at, steered));)
		by = at += sizeof(steered) - 1;
	snprintf(word, sizeof(word), " %.*s", by ? (int)strcspn(by, " \n") : 0, by ? by : "");
	return 12 - oracle_normal(key) - (by && strcmp(word, label) == 0 ? o->d : 0);
}

/* Nats a token of a text behind a prefix. */
static double loss_of(const subject_oracle *o, const char *prefix, const char *s)
{
	const char *label = strstr(prefix, before_label);
	uint64_t key = hash64(s, strlen(s), o->seed);
	bool is_label = strstr(prefix, before_passage) != NULL;
	double loss = is_label ? label_loss(o, prefix, s) : 4 + 0.3 * oracle_normal(hash64_mix(key, 1));
	char word[64];

	if (!label || is_label)
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
	const char *label = strstr(prompt, before_passage);
	text out, tokens, values;
	double loss;
	char buf[32];

	text_init(&out, 1 << 24);
	text_init(&tokens, 1 << 24);
	text_init(&values, 1 << 24);
	at = at ? at + sizeof(before_text) - 1 : prompt;
	for (; label; label = strstr(at, before_passage))
		at = label + sizeof(before_passage) - 1;
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

/* ---- Steering ------------------------------------------------------------------------------------------------------------ */

typedef struct steering {
	float v[4];
	double scale, norm;
	int feature; /* -1: no feature's */
} steering;

static bool read_steering(steering *out, const cJSON *body)
{
	const cJSON *by = cJSON_GetObjectItemCaseSensitive(body, "steer");
	const char *vector = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(by, "vector"));
	unsigned char bytes[32];

	*out = (steering){ .feature = -1 };
	if (!vector || strlen(vector) != 24 ||
	    EVP_DecodeBlock(bytes, (const unsigned char *)vector, 24) != 18)
		return false;
	memcpy(out->v, bytes, sizeof(out->v));
	out->scale = cJSON_GetObjectItemCaseSensitive(by, "scale")->valuedouble;
	for (int i = 0; i < 4; i++)
		out->norm += (double)out->v[i] * out->v[i];
	out->norm = sqrt(out->norm);
	if (out->v[1] == 0 && out->v[2] == 0 && out->v[3] == 1)
		out->feature = (int)out->v[0] - 1;
	return true;
}

/* 0.02 times the square of how far it is moved, half of that by another direction; of odd prompts twice that of even ones. */
static char *kls(subject_oracle *o, const cJSON *body)
{
	int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(body, "prompts"));
	steering by;
	bool any = read_steering(&by, body);
	double moved = any ? by.scale * by.norm : 0;
	text out;

	o->kls++;
	text_init(&out, 1 << 20);
	must(text_adds(&out, "{\"object\":\"subject\",\"kl\":["));
	for (int i = 0; i < n; i++)
		if (o->trouble == SUBJECT_BAD_KL && o->kls > o->after)
			must(text_addf(&out, "%snull", i ? "," : ""));
		else
			must(text_addf(&out, "%s%.17g", i ? "," : "",
			               o->trouble == SUBJECT_UNMOVED
			                       ? 0
			                       : (i % 2 + 1) * (by.feature < 0 ? 0.01 : 0.02) * moved *
			                                 moved));
	must(text_adds(&out, "]}"));
	return out.data;
}

static char *texts(subject_oracle *o, const cJSON *body)
{
	int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(body, "prompts"));
	double seed = cJSON_GetObjectItemCaseSensitive(body, "seed")->valuedouble;
	steering by;
	bool any = read_steering(&by, body);
	text out;

	o->texts++;
	text_init(&out, 1 << 20);
	must(text_adds(&out, "{\"object\":\"subject\",\"items\":["));
	for (int i = 0; i + (o->trouble == SUBJECT_FEW_TEXTS) < n; i++) {
		must(text_addf(&out, "%s{\"text\":\" went on %.0f", i ? "," : "", seed + i));
		if (any && by.feature >= 0)
			must(text_addf(&out, "%sw%d", steered, by.feature));
		else if (any)
			must(text_addf(&out, " randomly %g", (double)by.v[1]));
		must(text_adds(&out, " ok\"}"));
	}
	must(text_adds(&out, "]}"));
	return out.data;
}

/* The feature's own word rises by its strength, up to 0.9, and one of its neighbour's less. */
static char *raised(subject_oracle *o, const cJSON *body)
{
	int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(body, "prompts"));
	steering by;
	double after;
	text out;

	must(read_steering(&by, body) ? 0 : -1);
	o->raised++;
	after = o->trouble == SUBJECT_UNMOVED ? 0.1 : 0.1 + fmin(by.scale * by.norm / 100, 0.8);
	text_init(&out, 1 << 20);
	must(text_adds(&out, "{\"object\":\"subject\",\"items\":["));
	for (int i = 0; i + (o->trouble == SUBJECT_FEW_TEXTS) < n; i++)
		must(text_addf(
		        &out,
		        "%s{\"tokens\":[{\"id\":1,\"text\":\" w%d\",\"before\":%s,\"after\":%g},{\"id\":2,%s"
		        "\"before\":0.1,\"after\":%g}]}",
		        i ? "," : "", by.feature, o->trouble == SUBJECT_POSITIVE ? "1.5" : "0.1", after,
		        o->trouble == SUBJECT_NULL ? "" : "\"text\":\"\\n\\\"<<\",",
		        o->trouble == SUBJECT_UNMOVED ? 0.1004 : 0.125));
	must(text_adds(&out, "],\"usage\":{\"prompt_tokens\":1000000,\"completion_tokens\":0}}"));
	return out.data;
}

static llm_reply steer(subject_oracle *o, const char *what, const cJSON *body)
{
	llm_reply r = { 0 };

	if (o->trouble == SUBJECT_NO_STEERING) {
		r.status = 400;
		r.body = "{\"error\":{\"message\":\"steer is not for this model\"}}";
	} else {
		r.own = strcmp(what, "kl") == 0       ? kls(o, body)
		        : strcmp(what, "raised") == 0 ? raised(o, body)
		                                      : texts(o, body);
	}
	return r;
}

static const char *info(const subject_oracle *o)
{
	return o->trouble == SUBJECT_ELSE      ? "{\"data\":[]}"
	       : o->trouble == SUBJECT_SMALL   ? "{\"object\":\"subject\",\"layers\":3,\"width\":3}"
	       : o->trouble == SUBJECT_SHALLOW ? "{\"object\":\"subject\",\"layers\":1,\"width\":4}"
	                                       : "{\"object\":\"subject\",\"model\":\"tiny-0123\","
	                                         "\"layers\":3,\"width\":4}";
}

llm_reply subject_answer(const llm_seen *request, void *payload)
{
	subject_oracle *o = payload;
	llm_reply r = { 0 };
	cJSON *body = cJSON_Parse(request->body);
	const char *what = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "do"));

	if (what && strcmp(what, "info") == 0) {
		r.body = info(o);
	} else if (what && (strcmp(what, "kl") == 0 || strcmp(what, "raised") == 0 ||
	                    strcmp(what, "generate") == 0)) {
		r = steer(o, what, body);
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
