/* tokenizer.json and tokenizer.model: ids to exact bytes, and files that are none or lie. */
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
		{ "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}}", "is a WordLevel tokenizer" },
		{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":{\"a\":0}}}", "not a tokenizer.json" },
		{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "vocabulary is empty" },
		{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",0],[3,0]]}}",
		  "token 1 of the vocab has no text" },
		{ "{\"model\":{\"type\":\"Unigram\",\"vocab\":[\"a\"]}}",
		  "token 0 of the vocab has no text" },
		{ "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":1,\"vocab\":{\"a\":0}}}", "byte_fallback" },
		{ "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}",
		  "BPE of unknown kind: it has no ByteLevel step" },
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

#define MARK "\xe2\x96\x81" /* U+2581 */

START_TEST(decodes_sentencepiece_styles)
{
	static const char *const steps[] = {
		"\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{"
		"\"String\":"
		"\"" MARK "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"}]},\"model\":{\"type\":\"BPE\","
		"\"byte_fallback\":true,\"vocab\":{",
		"\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK
		"\"},\"model\":{\"type\":\"BPE\","
		"\"vocab\":{",
		"\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK
		"\"},\"model\":{\"vocab\":{",
		"\"model\":{\"type\":\"Unigram\",\"vocab\":[",
	};

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		bool list = i == 3;
		char json[2000];
		sae_tokenizer *t;

		snprintf(json, sizeof(json),
		         "{\"added_tokens\":[{\"id\":0,\"content\":\"<s" MARK ">\",\"special\":true},"
		         "{\"id\":6,\"content\":\"" MARK MARK "\",\"special\":false}],%s%s}}",
		         steps[i],
		         list ? "[\"<s" MARK ">\",0],[\"" MARK "the\",-1.5],[\"<0x0A>\",0],[\"<0xfE>\",0],"
		                "[\"\xc3\xa9" MARK "a\",0],[\"<0xZZ>\",0]]"
		              : "\"<s" MARK ">\":0,\"" MARK "the\":1,\"<0x0A>\":2,\"<0xfE>\":3,"
		                "\"\xc3\xa9" MARK "a\":4,\"<0xZZ>\":5}");
		t = load(json);
		ck_assert_uint_eq(sae_tokenizer_size(t), 7);
		is_bytes(t, 0, "<s" MARK ">", 6);
		is_bytes(t, 1, " the", 4);
		is_bytes(t, 2, "\n", 1);
		is_bytes(t, 3, "\xfe", 1);
		is_bytes(t, 4, "\xc3\xa9 a", 4);
		is_bytes(t, 5, "<0xZZ>", 6);
		is_bytes(t, 6, "  ", 2);
		ck_assert(sae_tokenizer_special(t, 0) && !sae_tokenizer_special(t, 6));
		sae_tokenizer_free(t);
	}
	leave_folder();
}
END_TEST

START_TEST(decodes_wordpiece)
{
	sae_tokenizer *t =
	        load("{\"added_tokens\":[{\"id\":0,\"content\":\"[CLS]\",\"special\":true}],"
	             "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\"},"
	             "\"model\":{\"type\":\"WordPiece\",\"vocab\":{\"[CLS]\":0,\"play\":1,\"##ing\":2,"
	             "\"##\":3}}}");

	is_bytes(t, 0, "[CLS]", 5);
	is_bytes(t, 1, " play", 5);
	is_bytes(t, 2, "ing", 3);
	is_bytes(t, 3, " ##", 3);
	sae_tokenizer_free(t);
	leave_folder();
}
END_TEST

/* ---- tokenizer.model --------------------------------------------------------------------------------------------- */

#define PIECE(n, text, type) "\x0a" n "\x0a" text "\x15\0\0\x80\xbf\x18" type
static const char good_model[] = PIECE("\x0e", "\x05<unk>", "\x02") PIECE("\x0c", "\x03<s>", "\x03")
        PIECE("\x0f", "\x06<0x0A>", "\x06")
                PIECE("\x0f", "\x06" MARK "the",
                      "\x01") "\x0a\x06\x0a\x04" MARK "a" PIECE("\x0f", "\x06" MARK MARK, "\x04")
                        PIECE("\x0c", "\x03" MARK, "\x05") "\x12\x03xyz\x1a\0\x20\x96\x01\x29"
                                                           "12345678";

START_TEST(reads_sentencepiece_models)
{
	const char *path = in_folder("tokenizer.model");
	sae_tokenizer *t = NULL;
	error err = { 0 };

	support_put(path, good_model, sizeof(good_model) - 1);
	ck_assert_msg(sae_tokenizer_load(&t, path, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(sae_tokenizer_size(t), 7);
	is_bytes(t, 0, "<unk>", 5);
	is_bytes(t, 1, "<s>", 3);
	is_bytes(t, 2, "\n", 1);
	is_bytes(t, 3, " the", 4);
	is_bytes(t, 4, " a", 2);
	is_bytes(t, 5, "  ", 2);
	is_bytes(t, 6, MARK, 3);
	ck_assert(sae_tokenizer_special(t, 0) && sae_tokenizer_special(t, 1) && !sae_tokenizer_special(t, 2));
	ck_assert_uint_eq(strlen(sae_tokenizer_sha256(t)), 64);
	sae_tokenizer_free(t);
	leave_folder();
}
END_TEST

START_TEST(refuses_models_that_lie)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *words;
	} bad[] = {
#define BAD(bytes, words) { bytes, sizeof(bytes) - 1, words }
		BAD("\x0a", "it ends inside a number at byte 1 (piece 0)"),
		BAD("\x0a\x7f\x0a\x01"
		    "a",
		    "longer than what holds it at byte 2 (piece 0)"),
		BAD("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
		    "abc",
		    "longer than what holds it at byte 11"),
		BAD("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"
		    "abc",
		    "a number of over 64 bits"),
		BAD("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a number of over 64 bits"),
		BAD("\x0a\x03\x0a\x01"
		    "a\x0a\x03\x0a\x7f"
		    "a",
		    "longer than what holds it at byte 9 (piece 1)"),
		BAD("\x0a\x03\x0a\x01"
		    "a\x0b",
		    "a field of unknown type at byte 6 (piece 1)"),
		BAD("\x0a\x03\x0a\x01"
		    "a\x00\x01",
		    "a field of no valid number"),
		BAD("\x0a\x03\x0a\x01"
		    "a\x08\x01",
		    "a piece that is no message"),
		BAD("\x0a\x02\x08\x01", "text or type of the wrong kind"),
		BAD("\x0a\x05\x0a\x01"
		    "a\x18\x09",
		    "a piece of unknown type"),
		BAD("\x0a\x05\x0a\x01"
		    "a\x18\x06",
		    "a byte that is not written <0xHH> at byte 2 (piece 0)"),
	};
	const char *path = in_folder("tokenizer.model");

	for (size_t i = 0; i < ARRAY_LEN(bad) + sizeof(good_model) - 2; i++) {
		size_t cut = i < ARRAY_LEN(bad)
		                     ? 0
		                     : i - ARRAY_LEN(bad) + 1; /* then the right one, cut anywhere */
		sae_tokenizer *t = NULL;
		error err = { 0 };
		int rc;

		support_put(path, cut ? good_model : bad[i].bytes, cut ? cut : bad[i].n);
		rc = sae_tokenizer_load(&t, path, &err);
		if (cut && rc == 0) { /* cut between two fields */
			sae_tokenizer_free(t);
			continue;
		}
		ck_assert_msg(rc == ERR_FORMAT, "%d '%s'", rc, err.msg);
		ck_assert_ptr_null(t);
		ck_assert_msg(strstr(err.msg, "tokenizer.model") &&
		                      strstr(err.msg, cut ? "at byte" : bad[i].words),
		              "'%s' lacks '%s'", err.msg, cut ? "at byte" : bad[i].words);
	}
	leave_folder();
}
END_TEST

START_TEST(survives_every_fault)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	const char *path = in_folder("tokenizer.json");

	for (size_t i = 0; i < 2 * ARRAY_LEN(kinds); i++)
		for (long n = 0;; n++) {
			sae_tokenizer *t = NULL;
			int rc;
			if (n == 0 && i % 2)
				support_put(path, good_model, sizeof(good_model) - 1);
			else if (n == 0)
				support_put_text(path, "{" LEVEL ",\"model\":{\"vocab\":{\"a\":0,\"b\":2}}}");
			fault_arm(kinds[i / 2], n);
			rc = sae_tokenizer_load(&t, path, NULL);
			if (!fault_disarm(kinds[i / 2])) {
				ck_assert_int_eq(rc, 0);
				sae_tokenizer_free(t);
				break;
			}
			ck_assert_int_eq(rc, kinds[i / 2] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO);
			ck_assert_ptr_null(t);
		}
	leave_folder();
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "tokenizer", decodes_every_byte, knows_added_tokens_and_holes,
	             decodes_sentencepiece_styles, decodes_wordpiece, refuses_what_it_cannot_read);
	SUPPORT_CASE(s, "tokenizer.model", reads_sentencepiece_models, refuses_models_that_lie,
	             survives_every_fault);
}

SUPPORT_MAIN("tokenizer", cases)
