/* Completions, embeddings, log-probabilities, and what a server was found to accept: bodies as they go out, replies as servers
 * send them, and replies that are not what they should be. */
#include "explain/chat.h"
#include "explain/spell.h"
#include "tests/support.h"
#include "tests/support_llm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static explain_client *client_for(const llm_server *s)
{
	explain_client_opts o = llm_client(llm_url(s));
	explain_client *c = NULL;
	error e = { 0 };

	o.retries = 0;
	ck_assert_msg(explain_client_new(&c, &o, NULL, false, &e) == 0, "%s", e.msg);
	return c;
}

/* ---- Completions -------------------------------------------------------------------------------------------------------- */

static const char two_lists[] =
        "{\"choices\":[{\"text\":\"ab\",\"finish_reason\":\"length\",\"logprobs\":{\"tokens\":[\"a\",\"b\"],"
        "\"token_logprobs\":[null,-0.5],\"top_logprobs\":[null,{\"c\":-2,\"b\":-0.5}],\"text_offset\":[0,1]}}"
        "]}";
static const char objects[] = "{\"choices\":[{\"text\":\"\\u00e9\",\"logprobs\":{\"content\":["
                              "{\"token\":\"\\ufffd\",\"bytes\":[195],\"logprob\":-1,\"top_logprobs\":[]},"
                              "{\"token\":\"\\ufffd\",\"bytes\":[169],\"logprob\":-2,\"top_logprobs\":[{"
                              "\"token\":\"x\",\"logprob\":-3}]}]}}]}";

START_TEST(completion_of_both_shapes)
{
	explain_completion got;
	error e = { 0 };

	ck_assert_int_eq(explain_completion_read(&got, two_lists, &e), 0);
	ck_assert_str_eq(got.text, "ab");
	ck_assert(got.cut);
	ck_assert_uint_eq(got.tokens.n, 2);
	ck_assert(isnan(got.tokens.token[0].logprob));
	ck_assert_uint_eq(got.tokens.token[0].n_top, 0);
	ck_assert_double_eq(got.tokens.token[1].logprob, -0.5);
	ck_assert_uint_eq(got.tokens.token[1].n_top, 2);
	ck_assert_str_eq(got.tokens.token[1].top[0].text, "b"); /* likeliest first, whatever the order sent */
	ck_assert_double_eq(got.tokens.token[1].top[1].logprob, -2);
	explain_completion_clear(&got);

	ck_assert_int_eq(explain_completion_read(&got, objects, &e), 0);
	ck_assert(!got.cut);
	ck_assert_uint_eq(got.tokens.n, 2);
	ck_assert_uint_eq(got.tokens.token[1].len, 1);
	ck_assert_str_eq(got.tokens.token[0].text, "\xc3"); /* its bytes, not the replacement character */
	ck_assert_str_eq(got.tokens.token[1].top[0].text, "x");
	explain_completion_clear(&got);
}
END_TEST

static const struct bad_reply {
	const char *reply, *says;
} bad_completions[] = {
	{ "{\"choices\":[]}", "first choice has no text" },
	{ "[]", "no text" },
	{ "nonsense", "reply" },
	{ "{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"tokens\":[\"a\"],\"token_logprobs\":[]}}]}",
	  "lists of log-probabilities differ" },
	{ "{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"tokens\":[1],\"token_logprobs\":[1]}}]}",
	  "no text" },
	{ "{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"content\":[{\"token\":\"a\",\"bytes\":[256]}]}}]}",
	  "bad bytes" },
	{ "{\"choices\":[{\"text\":\"a\",\"logprobs\":{\"content\":[{\"token\":\"a\",\"top_logprobs\":[{"
	  "\"token\":"
	  "\"b\"}]}]}}]}",
	  "alternative of a token has no log-probability" },
};

START_TEST(bad_completion_is_refused)
{
	explain_completion got;
	error e = { 0 };

	ck_assert_int_eq(explain_completion_read(&got, bad_completions[_i].reply, &e), ERR_FORMAT);
	ck_assert_msg(strstr(e.msg, bad_completions[_i].says), "'%s' lacks '%s'", e.msg,
	              bad_completions[_i].says);
	explain_completion_clear(&got);
}
END_TEST

/* Whichever allocation fails, it says so and leaves nothing behind. */
START_TEST(completion_without_memory)
{
	static const char *const replies[] = { two_lists, objects };
	explain_completion got;
	bool struck = true;
	int rc;

	for (long n = 0; struck && n < 100; n++) {
		error e = { 0 };

		fault_arm(FAULT_ALLOC, n);
		rc = explain_completion_read(&got, replies[_i], &e);
		struck = fault_disarm(FAULT_ALLOC);
		ck_assert_int_eq(rc, struck ? ERR_NOMEM : 0);
		explain_completion_clear(&got);
	}
	ck_assert(!struck);
}
END_TEST

typedef struct kept {
	char *reply;
	explain_end end;
	error err;
} kept;

static void keep(explain_request *r, const char *reply, bool from_log, const error *err)
{
	kept *k = r->payload;

	(void)from_log;
	k->reply = reply ? strdup(reply) : NULL;
	k->end = r->end;
	if (err)
		k->err = *err;
}

START_TEST(completion_goes_to_its_own_path)
{
	llm_reply script[] = { { .body = two_lists }, { .body = "{\"choices\":[{\"message\":{}}]}" } };
	llm_server *s = llm_start(script, 2);
	explain_client *c = client_for(s);
	kept k = { 0 };
	explain_request r = { .api = EXPLAIN_COMPLETIONS, .done = keep, .payload = &k };
	explain_request chat_like = { .body = "{\"n\":2}", .api = EXPLAIN_COMPLETIONS, .done = keep };
	explain_request as_chat = { .done = keep };
	char *body = NULL;
	error e = { 0 };

	ck_assert_int_eq(explain_completion_body(&body, c, "once", 3, 5, true, &e), 0);
	r.body = body;
	ck_assert_int_eq(explain_client_add(c, &r, &e), 0);
	ck_assert_int_eq(explain_client_run(c, 0, NULL, &e), 0);
	ck_assert_int_eq(k.end, EXPLAIN_REPLIED);
	ck_assert_str_eq(k.reply, two_lists);
	ck_assert_str_eq(llm_get(s, 0)->path, "/v1/completions");
	ck_assert_str_eq(llm_get(s, 0)->body, "{\"echo\":true,\"logprobs\":5,\"max_tokens\":3,\"model\":"
	                                      "\"tiny\",\"prompt\":\"once\",\"temperature\":0}");
	free(k.reply);
	chat_like.payload = &k; /* a chat completion is no completion */
	ck_assert_int_eq(explain_client_add(c, &chat_like, &e), 0);
	ck_assert_int_eq(explain_client_run(c, 0, NULL, &e), 0);
	ck_assert_ptr_null(k.reply);
	ck_assert_msg(strstr(k.err.msg, "JSON that is no completion"), "%s", k.err.msg);
	as_chat.body = body; /* the same body for another path is another question */
	as_chat.payload = &k;
	ck_assert_int_eq(explain_client_add(c, &as_chat, &e), 0);
	ck_assert_str_ne(as_chat.key, r.key);
	explain_client_free(c);
	llm_stop(s);
	free(body);
}
END_TEST

/* ---- Which tokens are the text's ----------------------------------------------------------------------------------------- */

enum { AS_BYTES, AS_REPLACED, BYTE_BY_BYTE, WAYS, PIECES_MAX = 64 };

/* Bytes of the character that begins at s, as far as they are among the n; 0: none begins here. */
static size_t character(const char *s, size_t n, bool *whole)
{
	unsigned char c = (unsigned char)*s;
	size_t want = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1, len = 1;

	*whole = c < 0x80;
	if (c < 0x80 || c < 0xC0)
		return c < 0x80;
	while (len < want && len < n && ((unsigned char)s[len] & 0xC0) == 0x80)
		len++;
	*whole = len == want;
	return len;
}

/* A token of n bytes as servers tell it. */
static void tell(char *out, const char *s, size_t n, int way)
{
	bool whole;

	for (size_t i = 0, len; i < n; i += len) {
		len = character(s + i, n - i, &whole);
		if (way == AS_BYTES || whole) {
			len = len ? len : 1;
			memcpy(out, s + i, len);
			out += len;
			continue;
		}
		len = way == AS_REPLACED && len ? len : 1;
		memcpy(out, "\xEF\xBF\xBD", 3);
		out += 3;
	}
	*out = '\0';
}

/* Cut anywhere, also within characters: of the pieces those that begin in the text, however they are told. */
START_TEST(tokens_of_the_text_are_found_however_it_is_cut)
{
	static const char
	        prefix[] = "Caf\u00e9\u3001texts:\n",
	        content[] = "\U0001F600na\u00efve \u65e5\u672c\u8a9e\U0001F600\U0001F680 \ufffd \u00e9!";
	char prompt[128], told[PIECES_MAX][3 * 128];
	explain_token token[PIECES_MAX];
	size_t from = strlen(prefix), len, n, want, got, found = 0;
	error e = { 0 };

	snprintf(prompt, sizeof(prompt), "%s%s", prefix, content);
	len = strlen(prompt);
	for (uint64_t seed = 0; seed < 2000; seed++) {
		bool joined = seed % 2; /* a token may hold the prefix's end and the text's beginning */

		n = want = 0;
		for (size_t at = 0, to; at < len; at = to) {
			to = at + 1 + hash64_below(hash64_mix(seed, at), 5);
			to = to > len ? len : at < from && to > from && !joined ? from : to;
			tell(told[n], prompt + at, to - at, (int)((seed / 2 + _i) % WAYS));
			token[n] = (explain_token){ .text = told[n], .len = strlen(told[n]) };
			want += at >= from;
			n++;
		}
		ck_assert_msg(
		        spell_count(&got, &(explain_tokens){ .token = token, .n = n }, prompt, from, &e) == 0,
		        "%s", e.msg);
		ck_assert_uint_eq(got, want);
		found += got;
		/* the last piece is another one, or is not there */
		token[n - 1].text = "?";
		token[n - 1].len = 1;
		ck_assert_int_eq(
		        spell_count(&got, &(explain_tokens){ .token = token, .n = n }, prompt, from, &e),
		        ERR_FORMAT);
		ck_assert_int_eq(
		        spell_count(&got, &(explain_tokens){ .token = token, .n = n - 1 }, prompt, from, &e),
		        ERR_FORMAT);
	}
	ck_assert_uint_gt(found, 2000 * 10);
}
END_TEST

/* Where a part of a character is told as nothing, as by llama-cpp-python. */
START_TEST(tokens_that_spell_nothing_are_parts_of_characters)
{
	static const struct {
		const char *text, *tokens[8];
		size_t want; /* 0: they do not spell it */
	} cases[] = {
		{ "\U0001F600 a", { "", "x\n", "", "", "", " a" }, 4 },
		{ "\U0001F600 a", { "", "x\n", "", "", "\U0001F600", " a" }, 4 },
		{ "\u65e5\u672c", { "", "x\n", "", "", "" }, 3 },
		{ "a\u65e5", { "", "x\n", "a", "", "" }, 3 },
		{ "ab", { "", "x\n", "a", "b" }, 2 },
		{ "ab", { "", "x\na", "b" }, 1 },
		{ "ab", { "", "x\n", "a", "" }, 0 },
		{ "ab", { "b" }, 0 },
		{ "ab", { "\ufffd", "b" }, 0 },
		{ "\u00e9\u00e9\u00e9\u00e9", { "x\n", "\u00e9", "" }, 0 },
		{ "ab", { "x\nab" }, 0 },
		{ "ab", { NULL }, 0 },
	};
	char prompt[64];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		explain_token token[8];
		size_t n = 0, got = 0;
		error e = { 0 };
		int rc, wanted = cases[i].want ? 0 : ERR_FORMAT;

		snprintf(prompt, sizeof(prompt), "x\n%s", cases[i].text);
		for (; cases[i].tokens[n]; n++)
			token[n] = (explain_token){ .text = cases[i].tokens[n],
				                    .len = strlen(cases[i].tokens[n]) };
		rc = spell_count(&got, &(explain_tokens){ .token = token, .n = n }, prompt, 2, &e);
		ck_assert_msg(rc == wanted && (rc < 0 || got == cases[i].want), "case %zu: %d, %zu", i, rc,
		              got);
	}
}
END_TEST

/* ---- Embeddings ----------------------------------------------------------------------------------------------------------- */

/* Each text's vector is its length and the count of texts in its request, the last text first. */
static llm_reply embed(const llm_seen *request, void *payload)
{
	cJSON *body = cJSON_Parse(request->body);
	const cJSON *input = cJSON_GetObjectItemCaseSensitive(body, "input");
	int n = cJSON_GetArraySize(input);
	text out;

	(void)payload;
	text_init(&out, 1 << 20);
	ck_assert_int_eq(text_adds(&out, "{\"data\":["), 0);
	for (int i = n - 1; i >= 0; i--)
		ck_assert_int_eq(text_addf(&out, "{\"index\":%d,\"embedding\":[%zu,%d]}%s", i,
		                           strlen(cJSON_GetArrayItem(input, i)->valuestring), n,
		                           i ? "," : ""),
		                 0);
	ck_assert_int_eq(text_adds(&out, "],\"usage\":{\"prompt_tokens\":9}}"), 0);
	cJSON_Delete(body);
	return (llm_reply){ .own = out.data };
}

START_TEST(embeddings_come_in_order)
{
	static const char *const texts[] = { "", "a", "bb", "ccc", "dddd" };
	llm_server *s = llm_start_answering(embed, NULL);
	explain_client *c = client_for(s);
	float *v = NULL;
	size_t dim = 0;
	error e = { 0 };

	ck_assert_msg(explain_embed(&v, &dim, c, texts, 5, 2, NULL, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(dim, 2);
	for (size_t i = 0; i < 5; i++) {
		ck_assert_float_eq(v[2 * i], (float)i);
		ck_assert_float_eq(v[2 * i + 1], i < 4 ? 2 : 1);
	}
	ck_assert_uint_eq(llm_count(s), 3);
	ck_assert_str_eq(llm_get(s, 0)->path, "/v1/embeddings");
	ck_assert_uint_eq(explain_client_get_stats(c).input_tokens, 27);
	free(v);
	explain_client_free(c);
	llm_stop(s);
}
END_TEST

static const struct bad_vectors {
	llm_reply reply;
	const char *says;
} bad_vectors[] = {
	{ { .body = "{\"data\":[{\"embedding\":[1]}]}" }, "1 embeddings of 2 texts" },
	{ { .body = "{\"data\":[{\"embedding\":[1]},{\"embedding\":[1,2]}]}" }, "has 2 numbers, another 1" },
	{ { .body = "{\"data\":[{\"embedding\":[1]},{\"embedding\":[null]}]}" }, "no finite number" },
	{ { .body = "{\"data\":[{\"embedding\":[1]},{\"embedding\":[1e300]}]}" }, "no finite number" },
	{ { .body = "{\"data\":[{\"embedding\":[]},{\"embedding\":[]}]}" }, "no list of 1 to" },
	{ { .body = "{\"data\":[{\"embedding\":\"AACAPw==\"},{\"embedding\":[1]}]}" }, "no list of 1 to" },
	{ { .body = "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":0,\"embedding\":[1]}]}" },
	  "text 0 twice" },
	{ { .body = "{\"data\":[{\"index\":7,\"embedding\":[1]},{\"index\":0,\"embedding\":[1]}]}" },
	  "text 7 which was not asked for" },
	{ { .body = "{\"choices\":[]}" }, "no list of embeddings" },
	{ { .status = 501, .body = "{\"error\":{\"message\":\"no embeddings here\"}}" },
	  "501: no embeddings here" },
};

static bool at_once(void)
{
	return true;
}

/* What was asked for is on no list of the client's any more: it was the caller's, who is gone. */
START_TEST(stopped_calls_leave_nothing_behind)
{
	const char *texts[] = { "a", "b" };
	llm_server *s = llm_start_answering(embed, NULL);
	explain_client *c = client_for(s);
	chat known = { .model = "m" };
	float *v = NULL;
	size_t dim;
	error e;

	ck_assert_int_eq(_i ? chat_probe(&known, c, 0, false, at_once, &e)
	                    : explain_embed(&v, &dim, c, texts, 2, 1, at_once, &e),
	                 ERR_STOPPED);
	ck_assert_int_eq(explain_client_run(c, 0, NULL, &e), ERR_STOPPED);
	ck_assert_uint_eq(llm_count(s), 0);
	ck_assert_ptr_null(v);
	explain_client_free(c);
	llm_stop(s);
}
END_TEST

START_TEST(bad_embeddings_are_refused)
{
	static const char *const texts[] = { "a", "b" };
	llm_server *s = llm_start(&bad_vectors[_i].reply, 1);
	explain_client *c = client_for(s);
	float *v = NULL;
	size_t dim = 0;
	error e = { 0 };

	ck_assert_int_lt(explain_embed(&v, &dim, c, texts, 2, 8, NULL, &e), 0);
	ck_assert_ptr_null(v);
	ck_assert_msg(strstr(e.msg, bad_vectors[_i].says), "'%s' lacks '%s'", e.msg, bad_vectors[_i].says);
	explain_client_free(c);
	llm_stop(s);
}
END_TEST

/* ---- Log-probabilities of answers ---------------------------------------------------------------------------------------------- */

static const struct spelling {
	const char *content, *tokens;
	size_t n;
} spellings[] = {
	{ "\"ab\"", "[{\"token\":\"a\",\"logprob\":-1},{\"token\":\"b\",\"logprob\":-2}]", 2 },
	{ "\"ab\"", "[{\"token\":\"ab\",\"logprob\":-1},{\"token\":\"<|end|>\",\"logprob\":-2}]", 2 },
	{ "\"ab\"", "[{\"token\":\"a\",\"logprob\":-1},{\"token\":\"c\",\"logprob\":-2}]", 0 },
	{ "\"ab\"", "[{\"token\":\"a\",\"logprob\":-1}]", 0 },
	{ "\"ab\"", "null", 0 },
	{ "null", "[{\"token\":\"a\",\"logprob\":-1}]", 0 },
};

START_TEST(logprobs_count_where_they_spell_the_answer)
{
	const struct spelling *sp = &spellings[_i];
	explain_tokens tokens = { 0 };
	char reply[512];
	error e = { 0 };

	snprintf(reply, sizeof(reply),
	         "{\"choices\":[{\"message\":{\"content\":%s},\"logprobs\":{\"content\":%s}}]}", sp->content,
	         sp->tokens);
	ck_assert_int_eq(chat_logprobs(&tokens, reply, &e), 0);
	ck_assert_uint_eq(tokens.n, sp->n);
	explain_tokens_clear(&tokens);
}
END_TEST

/* ---- Answers and how they end ------------------------------------------------------------------------------------------------------ */

static const struct ending {
	const char *choice;
	chat_end end;
	const char *says; /* NULL: an answer */
} endings[] = {
	{ "{\"message\":{\"content\":\"{\\\"ok\\\":true}\"}}", CHAT_ANSWERED, NULL },
	{ "{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"ok\\\":\"},{\"type\":\"text\","
	  "\"text\":"
	  "\"true}\"}]}}",
	  CHAT_ANSWERED, NULL },
	{ "{\"message\":{\"content\":\"<think>{\\\"ok\\\":false}</think>{\\\"ok\\\":true}\"}}", CHAT_ANSWERED,
	  NULL },
	{ "{\"message\":{\"content\":\"\",\"reasoning_content\":\"hm\"},\"finish_reason\":\"length\"}",
	  CHAT_CUT, "thought up to the limit" },
	{ "{\"message\":{\"content\":\"{\\\"ok\\\":tr\"},\"finish_reason\":\"length\"}", CHAT_CUT,
	  "cut off at the limit" },
	{ "{\"message\":{\"content\":null,\"refusal\":\"no\"}}", CHAT_REFUSED, "refused to answer" },
	{ "{\"message\":{\"content\":\"\"},\"finish_reason\":\"content_filter\"}", CHAT_FILTERED,
	  "content filter withheld" },
	{ "{\"message\":{\"content\":\"yes\"}}", CHAT_UNREADABLE, "no JSON object" },
	{ "{\"message\":{\"content\":[{\"type\":\"image\"}]}}", CHAT_UNREADABLE, "no text" },
	{ "{\"message\":{\"content\":\"{\\\"ok\\\":1}\"}}", CHAT_UNREADABLE, "not what was asked for" },
};

START_TEST(answers_end_in_one_of_five_ways)
{
	cJSON *schema = cJSON_Parse("{\"type\":\"object\",\"properties\":{\"ok\":{\"type\":\"boolean\"}},"
	                            "\"required\":[\"ok\"],\"additionalProperties\":false}");
	const struct ending *x = &endings[_i];
	chat_usage usage;
	cJSON *answer = NULL;
	char reply[1024];
	error e = { 0 };
	int rc;

	snprintf(reply, sizeof(reply),
	         "{\"choices\":[%s],\"usage\":{\"prompt_tokens\":90,\"completion_tokens\":30,"
	         "\"prompt_tokens_details\":{\"cached_tokens\":64},\"completion_tokens_details\":"
	         "{\"reasoning_tokens\":20}}}",
	         x->choice);
	rc = chat_answer(&answer, &usage, reply, schema, &e);
	ck_assert_int_eq(rc, x->says ? ERR_FORMAT : 0);
	ck_assert_int_eq(usage.end, x->end);
	if (x->says)
		ck_assert_msg(strstr(e.msg, x->says), "'%s' lacks '%s'", e.msg, x->says);
	else
		ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(answer, "ok")));
	ck_assert(usage.input == 90 && usage.output == 30 && usage.cached == 64 && usage.reasoning == 20);
	cJSON_Delete(answer);
	cJSON_Delete(schema);
}
END_TEST

/* ---- What the server accepts ------------------------------------------------------------------------------------------------------- */

/* A picky server: says no to one thing at a time. */
static llm_reply picky(const llm_seen *request, void *payload)
{
	static const struct {
		const char *holds, *complaint;
	} not [] = {
		{ "\"max_tokens\"", "Unsupported parameter: use 'max_completion_tokens' instead" },
		{ "\"temperature\"", "'temperature' does not support 0 with this model" },
		{ "\"system\"", "System role not supported" },
		{ "\"logprobs\"", "logprobs are not available" },
		{ "json_schema", "response_format json_schema is not supported" },
	};
	static char bodies[ARRAY_LEN(not )][128];

	(void)payload;
	for (size_t i = 0; i < ARRAY_LEN(not ); i++)
		if (strstr(request->body, not [i].holds)) {
			snprintf(bodies[i], sizeof(bodies[i]), "{\"error\":{\"message\":\"%s\"}}",
			         not [i].complaint);
			return (llm_reply){ .status = 400, .body = bodies[i] };
		}
	return (llm_reply){ .own = llm_chat("{\"ok\":true}") };
}

START_TEST(what_a_server_minds_is_left_out)
{
	llm_server *s = llm_start_answering(picky, NULL);
	explain_client *c = client_for(s);
	chat found = { .model = "tiny" }, back = { .model = "tiny" };
	const chat_question q = { .system = "rules", .user = "question", .name = "n", .schema = "{}" };
	bool known = false;
	char *json, *body = NULL;
	error e = { 0 };

	ck_assert_msg(chat_probe(&found, c, 3, false, NULL, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(llm_count(s), 6);
	json = chat_capabilities(&found);
	ck_assert_str_eq(json, "{\"limit\":\"max_completion_tokens\",\"logprobs\":false,\"response_format\":"
	                       "\"json_object\",\"system\":false,\"temperature\":false}");
	ck_assert_int_eq(chat_from_capabilities(&back, &known, json, &e), 0);
	ck_assert(known && memcmp(&back, &found, sizeof(back)) == 0);
	back.thinking = 1000;
	ck_assert_int_eq(chat_body(&body, &back, &q, &e), 0);
	ck_assert_str_eq(body,
	                 "{\"max_completion_tokens\":1000,\"messages\":[{\"content\":\"rules\\n\\nquestion\","
	                 "\"role\":\"user\"}],\"model\":\"tiny\",\"response_format\":{\"type\":"
	                 "\"json_object\"}}");
	free(body);
	free(json);
	explain_client_free(c);
	llm_stop(s);
}
END_TEST

/* In a replay the log tells which way of asking was answered. */
START_TEST(replay_finds_the_way_that_was_answered)
{
	char folder[FILE_PATH_MAX];
	llm_server *s = llm_start_answering(picky, NULL);
	explain_client_opts o = llm_client(llm_url(s));
	chat found[2] = { { .model = "tiny" }, { .model = "tiny" } };
	store_log *log = NULL;
	error e = { 0 };

	support_mkdir(folder);
	ck_assert_int_eq(store_log_open(&log, support_path(folder, "s.db"), &e), 0);
	for (int i = 0; i < 2; i++) {
		explain_client *c = NULL;

		ck_assert_int_eq(explain_client_new(&c, &o, log, i == 1, &e), 0);
		ck_assert_msg(chat_probe(&found[i], c, 0, i == 1, NULL, &e) == 0, "%s", e.msg);
		explain_client_free(c);
	}
	ck_assert_uint_eq(llm_count(s), 5);
	ck_assert(memcmp(&found[0], &found[1], sizeof(found[0])) == 0);
	store_log_close(log);
	llm_stop(s);
	support_rmdir(folder);
}
END_TEST

/* ---- A real server --------------------------------------------------------------------------------------------------------------- */

static explain_client *real_client(const char *variable)
{
	explain_client_opts o = explain_client_opts_default();
	explain_client *c = NULL;
	error e = { 0 };

	o.base_url = getenv(variable);
	o.model = "smollm2-135m";
	if (o.base_url)
		ck_assert_msg(explain_client_new(&c, &o, NULL, false, &e) == 0, "%s", e.msg);
	return c;
}

static double cosine(const float *a, const float *b, size_t n)
{
	double ab = 0, aa = 0, bb = 0;

	for (size_t i = 0; i < n; i++) {
		ab += (double)a[i] * b[i];
		aa += (double)a[i] * a[i];
		bb += (double)b[i] * b[i];
	}
	return ab / sqrt(aa * bb);
}

/* tests/llm.sh names servers of llama.cpp with SmolLM2-135M; without them there is nothing to check here. */
START_TEST(real_completion_and_answer)
{
	explain_client *c = real_client("GLOSS_LLM_URL");
	chat found = { .model = "smollm2-135m" };
	explain_completion got = { 0 };
	explain_tokens tokens = { 0 };
	explain_request r = { .api = EXPLAIN_COMPLETIONS, .done = keep };
	const chat_question q = { .user = "Say yes.", .max_tokens = 8, .top_logprobs = 2 };
	kept k = { 0 };
	char *body = NULL;
	error e = { 0 };

	if (!c)
		return;
	r.payload = &k;
	ck_assert_int_eq(explain_completion_body(&body, c, "The capital of France is", 3, 3, false, &e), 0);
	r.body = body;
	ck_assert_int_eq(explain_client_add(c, &r, &e), 0);
	ck_assert_msg(explain_client_run(c, 0, NULL, &e) == 0 && k.reply, "%s", k.err.msg);
	ck_assert_msg(explain_completion_read(&got, k.reply, &e) == 0, "%s", e.msg);
	ck_assert_msg(strncmp(got.text, " Paris", 6) == 0, "%s", got.text);
	ck_assert(got.cut);
	ck_assert_uint_eq(got.tokens.n, 3);
	ck_assert_str_eq(got.tokens.token[0].text, " Paris");
	ck_assert_uint_eq(got.tokens.token[0].n_top, 3);
	ck_assert_double_lt(got.tokens.token[0].logprob, 0);
	ck_assert_double_le(got.tokens.token[0].top[1].logprob, got.tokens.token[0].top[0].logprob);
	explain_completion_clear(&got);
	free(k.reply);
	free(body);

	ck_assert_msg(chat_probe(&found, c, 2, false, NULL, &e) == 0, "%s", e.msg);
	ck_assert_int_eq(found.format, CHAT_SCHEMA);
	found.format = CHAT_PLAIN; /* without a schema its log-probabilities are those of what it says */
	found.no_logprobs = false;
	ck_assert_int_eq(chat_body(&body, &found, &q, &e), 0);
	r = (explain_request){ .body = body, .done = keep, .payload = &k };
	ck_assert_int_eq(explain_client_add(c, &r, &e), 0);
	ck_assert_msg(explain_client_run(c, 0, NULL, &e) == 0 && k.reply, "%s", k.err.msg);
	ck_assert_int_eq(chat_logprobs(&tokens, k.reply, &e), 0);
	ck_assert_msg(tokens.n >= 1, "%s", k.reply);
	explain_tokens_clear(&tokens);
	free(k.reply);
	free(body);
	explain_client_free(c);
}
END_TEST

START_TEST(real_embeddings)
{
	static const char *const texts[] = { "a cat sat on the mat", "the dog ran in the park",
		                             "a cat sat on the mat" };
	explain_client *c = real_client("GLOSS_EMBED_URL");
	float *v = NULL;
	size_t dim = 0;
	error e = { 0 };

	if (!c)
		return;
	ck_assert_msg(explain_embed(&v, &dim, c, texts, 3, 2, NULL, &e) == 0, "%s", e.msg);
	ck_assert_uint_eq(dim, 576);
	ck_assert_double_ge(cosine(v, v + 2 * dim, dim), 0.999); /* equal texts of two requests */
	ck_assert_double_lt(cosine(v, v + dim, dim), 0.99);
	free(v);
	explain_client_free(c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("calls");
	TCase *t = tcase_create("calls");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 30);
	tcase_add_test(t, completion_of_both_shapes);
	tcase_add_loop_test(t, tokens_of_the_text_are_found_however_it_is_cut, 0, WAYS);
	tcase_add_test(t, tokens_that_spell_nothing_are_parts_of_characters);
	tcase_add_loop_test(t, bad_completion_is_refused, 0, ARRAY_LEN(bad_completions));
	tcase_add_loop_test(t, completion_without_memory, 0, 2);
	tcase_add_test(t, completion_goes_to_its_own_path);
	tcase_add_test(t, embeddings_come_in_order);
	tcase_add_loop_test(t, stopped_calls_leave_nothing_behind, 0, 2);
	tcase_add_loop_test(t, bad_embeddings_are_refused, 0, ARRAY_LEN(bad_vectors));
	tcase_add_loop_test(t, logprobs_count_where_they_spell_the_answer, 0, ARRAY_LEN(spellings));
	tcase_add_loop_test(t, answers_end_in_one_of_five_ways, 0, ARRAY_LEN(endings));
	tcase_add_test(t, what_a_server_minds_is_left_out);
	tcase_add_test(t, replay_finds_the_way_that_was_answered);
	tcase_add_test(t, real_completion_and_answer);
	tcase_add_test(t, real_embeddings);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
