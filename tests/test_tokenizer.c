/* tokenizer.json: ids to exact bytes, and files that are none or of another kind. */
#include "tests/support.h"
#include "tests/support_dump.h"

#include <stdlib.h>
#include <string.h>

#include "sae/sae.h"

#define LEVEL "\"decoder\":{\"type\":\"ByteLevel\"}"

/* The vocabulary's character for a byte, as UTF-8. */
static void add_byte(text *out, unsigned byte)
{
	unsigned others = 0, point = byte;
	bool visible = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;

	for (unsigned b = 0; b < byte; b++)
		others += !((b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae);
	if (!visible)
		point = 256 + others;
	if (point == '"' || point == '\\')
		ck_assert_int_eq(text_addf(out, "\\%c", (int)point), 0);
	else if (point < 0x80)
		ck_assert_int_eq(text_addf(out, "%c", (int)point), 0);
	else
		ck_assert_int_eq(text_addf(out, "%c%c", (int)(0xc0 | point >> 6), (int)(0x80 | (point & 63))),
		                 0);
}

static sae_tokenizer *load(const char *json)
{
	const char *path = in_folder("tokenizer.json");
	sae_tokenizer *t = NULL;
	error err = { 0 };

	support_put_text(path, json);
	ck_assert_msg(sae_tokenizer_load(&t, path, &err) == 0, "%s", err.msg);
	return t;
}

static void is_bytes(const sae_tokenizer *t, uint32_t id, const char *want, size_t n)
{
	size_t got;
	const char *bytes = sae_tokenizer_bytes(t, id, &got);

	ck_assert_uint_eq(got, n);
	if (n)
		ck_assert_mem_eq(bytes, want, n);
}

START_TEST(decodes_every_byte)
{
	sae_tokenizer *t;
	text json;

	text_init(&json, 1 << 20);
	ck_assert_int_eq(text_adds(&json, "{" LEVEL ",\"model\":{\"type\":\"BPE\",\"vocab\":{"), 0);
	for (unsigned b = 0; b < 256; b++) {
		ck_assert_int_eq(text_adds(&json, b ? ",\"" : "\""), 0);
		add_byte(&json, b);
		ck_assert_int_eq(text_addf(&json, "\":%u", 255 - b), 0);
	}
	ck_assert_int_eq(text_adds(&json, "}}}"), 0);
	t = load(json.data);
	ck_assert_uint_eq(sae_tokenizer_size(t), 256);
	for (unsigned b = 0; b < 256; b++)
		is_bytes(t, 255 - b, (char[]){ (char)b }, 1);
	sae_tokenizer_free(t);
	text_free(&json);
	leave_folder();
}
END_TEST

START_TEST(knows_added_tokens_and_holes)
{
	sae_tokenizer *t = load(
	        "{\"added_tokens\":[{\"id\":5,\"content\":\"<|end of text|>\",\"special\":true},"
	        "{\"id\":0,\"content\":\"\xc3\xa9 \xe2\x80\xa6\",\"special\":false}],"
	        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},"
	        "{\"type\":\"ByteLevel\"}]},\"decoder\":null,"
	        "\"model\":{\"vocab\":{\"\xc4\xa0the\":1,\"\xc3\x83\xc2\xa9\":3,\"<|end of text|>\":5}}}");
	size_t n;

	ck_assert_uint_eq(sae_tokenizer_size(t), 6);
	is_bytes(t, 0, "\xc3\xa9 \xe2\x80\xa6", 6);
	is_bytes(t, 1, " the", 4);
	is_bytes(t, 2, "", 0);
	is_bytes(t, 3, "\xc3\xa9", 2);
	is_bytes(t, 5, "<|end of text|>", 15);
	ck_assert_ptr_null(sae_tokenizer_bytes(t, 6, &n));
	ck_assert_ptr_nonnull(sae_tokenizer_bytes(t, 2, &n));
	ck_assert(sae_tokenizer_special(t, 5) && !sae_tokenizer_special(t, 0) &&
	          !sae_tokenizer_special(t, 99));
	ck_assert_uint_eq(strlen(sae_tokenizer_sha256(t)), 64);
	sae_tokenizer_free(t);
	leave_folder();
}
END_TEST

START_TEST(refuses_what_it_cannot_read)
{
	static const struct {
		const char *json, *words;
	} bad[] = {
		{ "", "empty" },
		{ "{\"model\":", "not valid JSON" },
		{ "[]", "not a tokenizer.json" },
		{ "{\"model\":{\"vocab\":[]}}", "not a tokenizer.json" },
		{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0.0]]}}", "is a Unigram tokenizer" },
		{ "{" LEVEL ",\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"a\":0}}}",
		  "is a WordPiece tokenizer" },
		{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}",
		  "SentencePiece-style BPE (no ByteLevel step)" },
		{ "{" LEVEL ",\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"vocab\":{\"a\":0}}}",
		  "byte_fallback" },
		{ "{" LEVEL ",\"model\":{\"type\":3,\"vocab\":{\"a\":0}}}", "type" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{}}}", "vocabulary is empty" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"a\":\"0\"}}}",
		  "id of token 'a' is not a whole number" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"a\":-1}}}", "not a whole number" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"a\":0.5}}}", "not a whole number" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"a\":4000000000}}}", "not a whole number" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"a\":2000000000}}}",
		  "id 2000000000, in a file of 1 tokens" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"a\":1,\"b\":1}}}",
		  "tokens 'a' and 'b' have the same id 1" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"a b\":1}}}", "not byte-level: it holds U+0020" },
		{ "{" LEVEL ",\"model\":{\"vocab\":{\"\xe2\x96\x81x\":1}}}", "U+2581" },
		{ "{" LEVEL ",\"added_tokens\":{},\"model\":{\"vocab\":{\"a\":1}}}",
		  "added_tokens is not a list" },
		{ "{" LEVEL ",\"added_tokens\":[{\"id\":3}],\"model\":{\"vocab\":{\"a\":1}}}", "no content" },
	};
	const char *path = in_folder("tokenizer.json");

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		sae_tokenizer *t = NULL;
		error err = { 0 };
		int rc;
		support_put_text(path, bad[i].json);
		rc = sae_tokenizer_load(&t, path, &err);
		ck_assert_msg(rc == ERR_FORMAT || rc == ERR_LIMIT, "%d for '%s'", rc, bad[i].words);
		ck_assert_ptr_null(t);
		ck_assert_msg(strstr(err.msg, bad[i].words) && strstr(err.msg, "tokenizer.json"),
		              "'%s' lacks '%s'", err.msg, bad[i].words);
	}
	leave_folder();
}
END_TEST

START_TEST(survives_every_fault)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	const char *path = in_folder("tokenizer.json");

	sae_tokenizer_free(load("{" LEVEL ",\"model\":{\"vocab\":{\"a\":0,\"b\":2}}}"));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			sae_tokenizer *t = NULL;
			int rc;
			fault_arm(kinds[i], n);
			rc = sae_tokenizer_load(&t, path, NULL);
			if (!fault_disarm(kinds[i])) {
				ck_assert_int_eq(rc, 0);
				sae_tokenizer_free(t);
				break;
			}
			ck_assert_int_eq(rc, kinds[i] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO);
			ck_assert_ptr_null(t);
		}
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "tokenizer", decodes_every_byte, knows_added_tokens_and_holes,
	             refuses_what_it_cannot_read, survives_every_fault);
}

SUPPORT_MAIN("tokenizer", cases)
