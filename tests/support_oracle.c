/* See support_oracle.h. */
#include "tests/support_oracle.h"

#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 64, LINES_MAX = 128 };

static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool oracle_has_word(const char *s, size_t n, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; len && i + len <= n; i++)
		if (memcmp(s + i, word, len) == 0 && (i == 0 || !is_word_byte(s[i - 1])) &&
		    (i + len == n || !is_word_byte(s[i + len])))
			return true;
	return false;
}

/* Whether all marked words are this one. */
static bool marks_word(const char *s, size_t n, const char *word)
{
	const char *end = s + n, *open, *close;
	size_t len = strlen(word);

	while ((open = memmem(s, (size_t)(end - s), "<<", 2))) {
		close = memmem(open, (size_t)(end - open), ">>", 2);
		for (const char *at = open + 2; at < close;) {
			size_t run = 0;

			while (at + run < close && is_word_byte(at[run]))
				run++;
			if (run && (run != len || memcmp(at, word, len) != 0))
				return false;
			at += run ? run : 1;
		}
		s = close + 2;
	}
	return true;
}

static void first_marked(char out[WORD_MAX], const char *s, size_t n)
{
	const char *open = memmem(s, n, "<<", 2);
	size_t len = 0;

	out[0] = '\0';
	for (open = open ? open + 2 : NULL; open && *open == ' ';)
		open++;
	while (open && is_word_byte(open[len]) && len < WORD_MAX - 1)
		len++;
	if (open)
		snprintf(out, WORD_MAX, "%.*s", (int)len, open);
}

/* Lines "[i] text" from `at` on; returns how many. */
static size_t lines_of(const char *line[LINES_MAX], size_t len[LINES_MAX], const char *at)
{
	size_t n = 0;

	while (n < LINES_MAX && at[0] == '[') {
		line[n] = strchr(at, ']') + 1;
		len[n] = strcspn(line[n], "\n");
		at = line[n] + len[n];
		n++;
		if (*at == '\n')
			at++;
	}
	return n;
}

/* A number that the text and the label decide. */
static uint64_t key_of(const oracle *o, const char *s, size_t n, const char *word)
{
	return hash64(word, strlen(word), hash64(s, n, o->seed));
}

static bool happens(uint64_t key, double rate)
{
	return hash64_unit(key) < rate;
}

/* From the standard normal distribution. */
double oracle_normal(uint64_t key)
{
	double u = hash64_unit(hash64_mix(key, 1)), v = hash64_unit(hash64_mix(key, 2));

	return sqrt(-2 * log(u + 1e-300)) * cos(6.283185307179586 * v);
}

/* ---- Replies ---------------------------------------------------------------------------------------------------------- */

static void must(int rc)
{
	if (rc < 0)
		abort();
}

typedef struct saying {
	text content, tokens; /* tokens: JSON of its log-probabilities so far */
} saying;

static void say(saying *s, const char *what)
{
	must(text_adds(&s->content, what));
	must(text_adds(&s->tokens, s->tokens.len ? ",{\"token\":" : "{\"token\":"));
	must(text_add_json(&s->tokens, what, strlen(what)));
	must(text_adds(&s->tokens, ",\"logprob\":0,\"top_logprobs\":[]}"));
}

/* true or false, whichever is likelier where yes has the log-odds x. */
static void say_graded(saying *s, double x)
{
	double yes = -log1p(exp(-x)), no = -log1p(exp(x));

	must(text_adds(&s->content, x > 0 ? "true" : "false"));
	must(text_addf(
	        &s->tokens,
	        ",{\"token\":\"%s\",\"logprob\":%.17g,\"top_logprobs\":[{\"token\":\"true\",\"logprob\":"
	        "%.17g},{\"token\":\"false\",\"logprob\":%.17g}]}",
	        x > 0 ? "true" : "false", x > 0 ? yes : no, yes, no));
}

static char *finish(saying *s, bool graded)
{
	text reply;
	char *plain;

	if (!graded) {
		plain = llm_chat(s->content.data);
		text_free(&s->content);
		text_free(&s->tokens);
		return plain;
	}
	text_init(&reply, 1 << 24);
	must(text_adds(&reply,
	               "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\","
	               "\"content\":"));
	must(text_add_json(&reply, s->content.data, s->content.len));
	must(text_addf(&reply,
	               "},\"logprobs\":{\"content\":[%s]}}],\"usage\":{\"prompt_tokens\":11,"
	               "\"completion_tokens\":7}}",
	               s->tokens.data));
	text_free(&s->content);
	text_free(&s->tokens);
	return reply.data;
}

/* Numbers in two lists: yes[i] of n, and those that were not asked about. */
static void say_lists(saying *out, oracle *o, const bool *yes, size_t n, bool marks)
{
	char item[32];

	for (int side = 1; side >= 0; side--) {
		const char *between = "";

		say(out, side    ? marks ? "{\"right\":[" : "{\"fires\":["
		         : marks ? "],\"wrong\":["
		                 : "],\"silent\":[");
		for (size_t i = 0; i < n; i++) {
			if (yes[i] != side && !(i == 0 && o->both))
				continue;
			snprintf(item, sizeof(item), "%s%zu", between, i + 1);
			say(out, item);
			between = ",";
		}
		if (side && o->stray) {
			o->stray--;
			snprintf(item, sizeof(item), "%s%zu,0", between, n + 7);
			say(out, item);
		}
	}
	o->both -= o->both > 0;
	say(out, "]}");
}

/* An object an answer; key_name: the name of an answer. */
static void say_objects(saying *out, oracle *o, const bool *yes, const uint64_t *key, size_t n,
                        const char *key_name)
{
	char item[64];

	say(out, "{\"answers\":[");
	for (size_t i = 0; i < n; i++) {
		snprintf(item, sizeof(item), "%s{\"id\":%zu,\"%s\":", i ? "," : "", i + 1, key_name);
		say(out, item);
		if (strcmp(key_name, "sure") == 0) {
			snprintf(item, sizeof(item), "%.3f",
			         50 + 10 * (oracle_normal(key[i]) + (yes[i] ? 2 : 0)));
			say(out, item);
		} else if (o->d > 0)
			say_graded(out, (yes[i] ? o->d : 0) + oracle_normal(key[i]) - o->d / 2);
		else
			say(out, yes[i] ? "true" : "false");
		say(out, "}");
	}
	if (o->stray && o->stray--) {
		snprintf(item, sizeof(item), "%s{\"id\":%zu,\"%s\":true},{\"id\":0,\"%s\":true}",
		         n ? "," : "", n + 7, key_name, key_name);
		say(out, item);
	}
	say(out, "]}");
}

static void yes_or_no(saying *out, oracle *o, const char *user, const char *body)
{
	bool marks = strstr(user, "Judge the marks") != NULL, graded = strstr(body, "\"sure\"") != NULL,
	     right[LINES_MAX];
	const char *line[LINES_MAX], *at = strchr(user, ' ') + 1;
	size_t len[LINES_MAX], n = lines_of(line, len, strstr(user, "\n[1]") + 1);
	uint64_t key[LINES_MAX];
	char word[WORD_MAX];

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, "\n"), at);
	o->items += (unsigned)n;
	if (o->leave_out && n) {
		o->leave_out--;
		n--;
	}
	for (size_t i = 0; i < n; i++) {
		bool yes = marks ? marks_word(line[i], len[i], word) : oracle_has_word(line[i], len[i], word);

		key[i] = key_of(o, line[i], len[i], word);
		right[i] = yes;
		if (!graded && o->d <= 0)
			right[i] = o->all_yes || yes != happens(key[i], yes ? o->miss : o->false_alarm);
	}
	if (strstr(body, "\\\"silent\\\":[") || strstr(body, "\\\"wrong\\\":["))
		say_lists(out, o, right, n, marks);
	else
		say_objects(out, o, right, key, n, graded ? "sure" : marks ? "right" : "matches");
}

/* The text whose mark is the odd one; where all differ, any. */
static size_t odd_one(const oracle *o, const char *const *line, const size_t *len, size_t n)
{
	char mark[LINES_MAX][WORD_MAX];
	size_t alone = 0, at = 0, same;
	uint64_t h = key_of(o, line[0], (size_t)(line[n - 1] + len[n - 1] - line[0]), "");

	for (size_t i = 0; i < n; i++)
		first_marked(mark[i], line[i], len[i]);
	for (size_t i = 0; i < n; i++) {
		same = 0;
		for (size_t j = 0; j < n; j++)
			same += strcmp(mark[i], mark[j]) == 0;
		if (same == 1) {
			alone++;
			at = i;
		}
	}
	if (alone != 1)
		return (size_t)hash64_below(h, n);
	if (happens(hash64_mix(h, 1), o->miss))
		at = (at + 1 + (size_t)hash64_below(h, n - 1)) % n;
	return at;
}

static void groups(saying *out, oracle *o, const char *user)
{
	const char *line[LINES_MAX], *at = user;
	size_t len[LINES_MAX], n, i = 0;
	char item[64];

	say(out, "{\"answers\":[");
	while ((at = strstr(at, "Group "))) {
		at = strchr(at, '\n') + 1;
		n = lines_of(line, len, at);
		snprintf(item, sizeof(item), "%s{\"id\":%zu,\"odd\":%zu}", i ? "," : "", i + 1,
		         odd_one(o, line, len, n) + 1);
		say(out, item);
		i++;
	}
	say(out, "]}");
	o->items += (unsigned)i;
}

/* Whether it says 10 on token number i of a question: where the word stands, but for errors. */
static bool simulates(const oracle *o, const char *question, const char *token, size_t len, const char *word,
                      size_t i)
{
	uint64_t key = hash64_mix(hash64(question, strlen(question), o->seed), i);
	bool yes = oracle_has_word(token, len, word);

	return o->all_yes ? yes : yes != happens(key, yes ? o->miss : o->false_alarm);
}

/* Pairs of number and activation for lines "[i] token"; those of "[-] token" are not asked about. */
static void simulate(saying *out, oracle *o, const char *user)
{
	char word[WORD_MAX], item[64];
	const char *at = strchr(user, ' ') + 1, *line = strstr(user, "\nTokens:\n") + 9;
	size_t number = 0, said = 0;

	snprintf(word, sizeof(word), "%.*s", (int)strcspn(at, "\n"), at);
	say(out, "{\"answers\":[");
	for (; *line == '['; line += strcspn(line, "\n") + 1) {
		const char *token = strchr(line, ' ') + 1;
		bool last = !strchr(line, '\n') || strchr(line, '\n')[1] != '[';

		number++;
		if (line[1] == '-')
			continue;
		o->items++;
		if (last && o->leave_out && o->leave_out--)
			break;
		snprintf(item, sizeof(item), "%s[%zu,%d]", said++ ? "," : "", number,
		         simulates(o, user, token, strcspn(token, "\n"), word, number) ? 10 : 0);
		say(out, item);
	}
	if (o->stray && o->stray--) {
		snprintf(item, sizeof(item), "%s[%zu,5],[1,3],[2,11],[0,1],[3]", said ? "," : "", number + 7);
		say(out, item);
	}
	say(out, "]}");
}

/* A prompt with log-probabilities, where "unknown" stands behind a tab: 10 with probability 0.9 where it says 10, else with 0.1, and else 0. */
static char *echo(oracle *o, const char *body)
{
	cJSON *json = cJSON_Parse(body);
	const char *prompt = cJSON_GetObjectItemCaseSensitive(json, "prompt")->valuestring, *from = prompt,
	           *at;
	const char *about = strstr(prompt, "Unit 3\nActive on: ");
	text tokens, values, tops, out;
	char word[WORD_MAX];
	size_t i = 0;
	bool broken = false;

	about = about ? about + 18 : "";
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(about, "\n"), about);
	if (strcmp(word, "the word cat") != 0 && o->leave_out) { /* not what sees whether it can */
		o->leave_out--;
		broken = true;
	}
	text_init(&tokens, 1 << 20);
	text_init(&values, 1 << 20);
	text_init(&tops, 1 << 20);
	text_init(&out, 1 << 20);
	while ((at = strstr(from, "\tunknown"))) {
		const char *line = at;
		bool yes;

		while (line > prompt && line[-1] != '\n')
			line--;
		yes = simulates(o, about, line, (size_t)(at - line), word, i++);
		must(text_adds(&tokens, tokens.len ? "," : ""));
		must(text_add_json(&tokens, from, (size_t)(at - from)));
		/* the tab and what follows are one token in every other place */
		must(text_adds(&tokens, i == 1 && broken ? ",\"\\t\",\"un\",\"knwon\""
		                        : i % 2          ? ",\"\\t\",\"un\",\"known\""
		                                         : ",\"\\tunknown\""));
		must(text_addf(&values, i % 2 ? "%s,-1,-2,-3" : "%s,-1", i > 1 ? ",-1" : "null"));
		must(text_addf(
		        &tops,
		        i % 2 ? "%snull,{\"\\t\":-0.1},{\"10\":%.17g,\"0\":%.17g,\"cat\":-1,\"007\":-1},null"
		              : "%snull,{\"\\t10\":%.17g,\"\\t0\":%.17g,\"0\":-0.1,\"\\tcat\":-1}",
		        i > 1 ? "," : "", o->no_number ? 0 : log(yes ? 0.45 : 0.05), log(yes ? 0.05 : 0.45)));
		from = at + 8;
		o->items += at > about; /* those before are examples */
	}
	must(text_adds(&tokens, ","));
	must(text_add_json(&tokens, from, strlen(from)));
	must(text_adds(&out, "{\"choices\":[{\"text\":"));
	must(text_add_json(&out, prompt, strlen(prompt)));
	must(text_addf(
	        &out,
	        ",\"logprobs\":{\"tokens\":[%s],\"token_logprobs\":[%s,-1],\"top_logprobs\":[%s,null]}}],"
	        "\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":0}}",
	        tokens.data, values.data, tops.data));
	text_free(&tokens);
	text_free(&values);
	text_free(&tops);
	cJSON_Delete(json);
	return out.data;
}

/* How near a text is to a query: by normal grades that are d apart. The word of the query is its last. */
static double nearness(const oracle *o, const char *query, const char *s)
{
	const char *word = strrchr(query, ' ') + 1;
	double x = oracle_normal(key_of(o, s, strlen(s), word)) +
	           (oracle_has_word(s, strlen(s), word) ? o->d : 0);

	return 0.5 * tanh(x / 4);
}

/* Texts before the first window are queries, which lie at right angles; a window's cosine with each is its nearness. */
static char *embed_near(oracle *o, const cJSON *input)
{
	const char *query[3] = { "", "", "" };
	size_t n = 0, i = 0, end = (size_t)cJSON_GetArraySize(input);
	const cJSON *one;
	text out;

	text_init(&out, 1 << 24);
	must(text_adds(&out, "{\"data\":["));
	cJSON_ArrayForEach(one, input)
	{
		bool asks = strncmp(one->valuestring, "Instruct:", 9) == 0, last = i + 1 == end;
		double x[3] = { 0 }, rest = 1;

		if (asks)
			query[n] = one->valuestring;
		for (size_t k = 0; k < n && !asks; k++) {
			x[k] = nearness(o, query[k], one->valuestring);
			rest -= x[k] * x[k];
		}
		if (asks)
			x[n++] = 1;
		o->items += !asks;
		if (last && o->leave_out && o->leave_out--)
			break;
		must(text_addf(&out, "%s{\"index\":%zu,\"embedding\":[%.17g,%.17g,%.17g,", i ? "," : "", i,
		               x[0], x[1], x[2]));
		if (last && o->no_number && o->no_number--)
			must(text_adds(&out, "null]}"));
		else if (last && o->longer && o->longer--)
			must(text_adds(&out, "1,2]}"));
		else
			must(text_addf(&out, "%.17g]}", asks ? 0 : sqrt(rest)));
		i++;
	}
	if (o->stray && o->stray--)
		must(text_addf(
		        &out,
		        ",{\"index\":%zu,\"embedding\":[1,2,3,4]},{\"index\":0,\"embedding\":[0,0,0,1]}",
		        end + 7));
	must(text_adds(&out, "],\"usage\":{\"prompt_tokens\":3}}"));
	return out.data;
}

/* A vector for each text: how often each letter or digit comes; so texts of like words are near. */
static char *embed(oracle *o, const char *body)
{
	cJSON *json = cJSON_Parse(body);
	const cJSON *input = cJSON_GetObjectItemCaseSensitive(json, "input"), *one;
	unsigned i = 0;
	char *near;
	text out;

	if (strncmp(cJSON_GetArrayItem(input, 0)->valuestring, "Instruct:", 9) == 0) {
		near = embed_near(o, input);
		cJSON_Delete(json);
		return near;
	}
	text_init(&out, 1 << 24);
	must(text_adds(&out, "{\"data\":["));
	cJSON_ArrayForEach(one, input)
	{
		unsigned count[16] = { 0 };

		for (const char *s = one->valuestring; *s; s++)
			count[(unsigned char)*s % 16]++;
		must(text_addf(&out, "%s{\"index\":%u,\"embedding\":[1", i ? "," : "", i));
		for (int k = 0; k < 16; k++)
			must(text_addf(&out, ",%u", count[k]));
		must(text_adds(&out, "]}"));
		i++;
	}
	must(text_adds(&out, "],\"usage\":{\"prompt_tokens\":3}}"));
	cJSON_Delete(json);
	return out.data;
}

llm_reply oracle_answer(const llm_seen *request, void *payload)
{
	oracle *o = payload;
	llm_reply r = { 0 };
	char *user;
	saying s;

	if (strstr(request->path, "/embeddings")) {
		o->embeddings++;
		r.own = o->no_embeddings ? NULL : embed(o, request->body);
		r.body = "{\"error\":{\"message\":\"no such route\"}}";
		r.status = o->no_embeddings ? 404 : 200;
		return r;
	}
	if (!strstr(request->path, "/chat/")) {
		o->echoes++;
		r.own = o->echo ? echo(o, request->body) : NULL;
		r.body = "{\"error\":{\"message\":\"no echo here\"}}";
		r.status = o->echo ? 200 : 400;
		return r;
	}
	user = llm_content(request, "user");

	text_init(&s.content, 1 << 20);
	text_init(&s.tokens, 1 << 22);
	if (strstr(user, "{\"ok\": true}")) {
		say(&s, "{\"ok\": true}");
	} else {
		o->questions++;
		if (strncmp(user, "Group ", 6) == 0)
			groups(&s, o, user);
		else if (strstr(user, "\nTokens:\n"))
			simulate(&s, o, user);
		else
			yes_or_no(&s, o, user, request->body);
	}
	r.own = finish(&s, o->d > 0);
	free(user);
	return r;
}
