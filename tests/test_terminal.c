/* Text that means harm, from a vocabulary to the screen: an SAE is trained and indexed on tokens of such bytes, and then what every
 * command prints is looked at, on a terminal and off it. */
#include "tests/support.h"
#include "tests/support_dump.h"
#include "tests/support_store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOKEN(chars)                                                                                         \
	{                                                                                                    \
		chars, sizeof(chars) - 1                                                                     \
	}
static const struct {
	const char *bytes;
	size_t n;
} tokens[] = {
	TOKEN(" word"),
	TOKEN("\0"),
	TOKEN("\x01\x02"),
	TOKEN("\a"),
	TOKEN("\b\b"),
	TOKEN("\x7f"),
	TOKEN("\r"),
	TOKEN("\n"),
	TOKEN("\t"),
	TOKEN("\x1b[2J"),
	TOKEN(" \x1b]0;title\a"),
	TOKEN("\x1b"),
	TOKEN("[31m"), /* a sequence split over tokens */
	TOKEN("\x9b"
	      "31m"), /* CSI as one byte, which is not UTF-8 */
	TOKEN("\xc2\x9b"
	      "31m"),
	TOKEN("\xc2\x85"),
	TOKEN("\xc2\xad"), /* CSI, NEL, soft hyphen */
	TOKEN("\xe2\x80\xae"
	      "abc"),
	TOKEN("\xe2\x81\xa6"),
	TOKEN("\xe2\x81\xa9"),
	TOKEN("\xd8\x9c"), /* overrides and isolates */
	TOKEN("\xe2\x80\x8f"),
	TOKEN("\xe2\x80\xa8"),
	TOKEN("\xef\xbb\xbf"),
	TOKEN("\xe2\x80\x8b"),
	TOKEN("\xff\xfe"),
	TOKEN("\xed\xa0\x80"),
	TOKEN("\xc0\xaf"),
	TOKEN("\xf4\x90\x80\x80"), /* not UTF-8 */
	TOKEN("\xe6\x97"),
	TOKEN("\xa5"),
	TOKEN("\xf0\x9f"),
	TOKEN("\x98\x80"), /* characters split over tokens */
	TOKEN(" \xe7\x8c\xab\xe6\x97\xa5\xe6\x9c\xac"),
	TOKEN("\xed\x95\x9c\xea\xb5\xad"),
	TOKEN("\xf0\x9f\x98\x80"),
	TOKEN("\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d"),
	TOKEN("\xd9\x85\xd8\xb1\xd8\xad\xd8\xa8\xd8\xa7"),
	TOKEN("e\xcc\x81\xcc\xa7"),
	TOKEN("<script>alert(1)</script>"),
	TOKEN("&amp;\""),
	TOKEN("'; DROP TABLE feature; --"),
	TOKEN("\\u001b[0m"),
	TOKEN("a,\"b\""),
	TOKEN("%s%n"),
	TOKEN("]]"),
	TOKEN("[["),
};
enum { CONTEXTS = 48, LENGTH = 24, WIDTH = 16 };

static error err;
static char store_file[FILE_PATH_MAX];

static uint32_t token_at(uint64_t row)
{
	/* every third row the rest of what the row before began */
	uint32_t before = (uint32_t)hash64_below(hash64_mix(3, row ? row - 1 : 0), ARRAY_LEN(tokens));

	if (row % 3 == 1 && before + 1 < ARRAY_LEN(tokens))
		return before + 1;
	return (uint32_t)hash64_below(hash64_mix(3, row), ARRAY_LEN(tokens));
}

/* A direction for each token, so that features find some. */
static float activation_at(uint64_t row, uint32_t j)
{
	return (float)(hash64_unit(hash64_mix(token_at(row), j)) - 0.5) +
	       0.02f * (float)(hash64_unit(hash64_mix(row, j)) - 0.5);
}

/* The character that a byte-level vocabulary has for a byte, in a JSON string. */
static void add_byte(text *out, unsigned byte)
{
	unsigned others = 0, point = byte;

#define VISIBLE(b) (((b) >= '!' && (b) <= '~') || ((b) >= 0xa1 && (b) <= 0xac) || (b) >= 0xae)
	for (unsigned b = 0; b < byte; b++)
		others += !VISIBLE(b);
	if (!VISIBLE(byte))
		point = 256 + others;
	ck_assert_int_eq(text_addf(out, "\\u%04x", point), 0);
}

static void write_tokenizer(const char *path)
{
	text json;

	text_init(&json, 1 << 20);
	ck_assert_int_eq(
	        text_adds(&json,
	                  "{\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{"),
	        0);
	for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
		ck_assert_int_eq(text_adds(&json, i ? ",\"" : "\""), 0);
		for (size_t k = 0; k < tokens[i].n; k++)
			add_byte(&json, (unsigned char)tokens[i].bytes[k]);
		ck_assert_int_eq(text_addf(&json, "\":%zu", i), 0);
	}
	ck_assert_int_eq(text_adds(&json, "}}}"), 0);
	support_put_text(path, json.data);
	text_free(&json);
}

/* ---- Running ---- */

enum { OUTPUT_MAX = 1 << 22, ARGS_MAX = 24 };

/* Where the command's output goes: *read end here, *write end there. Whether there is one of the kind. */
static bool open_ends(int *mine, int *theirs, bool terminal)
{
	struct winsize size = { .ws_row = 50, .ws_col = 120 };
	int ends[2];

	if (!terminal) {
		ck_assert_int_eq(pipe(ends), 0);
		*mine = ends[0];
		*theirs = ends[1];
		return true;
	}
	*mine = posix_openpt(O_RDWR | O_NOCTTY);
	if (*mine < 0 || grantpt(*mine) < 0 || unlockpt(*mine) < 0)
		return false;
	*theirs = open(ptsname(*mine), O_RDWR | O_NOCTTY);
	if (*theirs < 0)
		return false;
	ioctl(*theirs, TIOCSWINSZ, &size);
	return true;
}

/* Run gloss with these words (apart by U+0001, the store's path for '@') and take all that it prints; returns its exit status. */
static int run(text *out, const char *words, bool terminal)
{
	char line[4096], *argv[ARGS_MAX] = { getenv("GLOSS_BIN") }, block[8192], *save = NULL;
	int mine, theirs, n = 1, status;
	ssize_t got;
	pid_t child;

	snprintf(line, sizeof(line), "%s", words);
	for (char *word = strtok_r(line, "\x01", &save); word; word = strtok_r(NULL, "\x01", &save))
		argv[n++] = strcmp(word, "@") == 0 ? store_file : word;
	ck_assert_int_lt(n, ARGS_MAX);
	text_clear(out);
	ck_assert_int_eq(text_adds(out, ""), 0);
	if (!open_ends(&mine, &theirs, terminal))
		return -1;
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		setenv("TERM", "xterm-256color", 1);
		unsetenv("NO_COLOR");
		dup2(theirs, STDOUT_FILENO);
		dup2(theirs, STDERR_FILENO);
		close(mine);
		execv(argv[0], argv);
		_exit(99);
	}
	close(theirs);
	while ((got = read(mine, block, sizeof(block))) > 0 || (got < 0 && errno == EINTR))
		if (got > 0)
			ck_assert_int_eq(text_add(out, block, (size_t)got), 0);
	close(mine);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- What may be there ---- */

static bool steers(uint32_t c)
{
	return (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* How long a colour of ours is at p; 0: it is none. */
static size_t colour(const char *p, size_t n)
{
	size_t i = 2;

	if (n < 3 || p[0] != '\x1b' || p[1] != '[')
		return 0;
	while (i < n && i < 32 && ((p[i] >= '0' && p[i] <= '9') || p[i] == ';'))
		i++;
	return i < n && p[i] == 'm' ? i + 1 : 0;
}

/* Valid UTF-8 that does nothing to a terminal: newlines, tabs and, where they are wanted, colours. */
static void check_safe(const text *out, const char *words, bool terminal)
{
	size_t at = 0, n;
	uint32_t c;

	while (at < out->len) {
		n = terminal ? colour(out->data + at, out->len - at) : 0;
		if (n == 0) {
			n = utf8_next(out->data + at, out->len - at, &c);
			ck_assert_msg(n > 0, "%s: byte %zu is not UTF-8", words, at);
			ck_assert_msg(!steers(c) &&
			                      (c >= 0x20 || c == '\n' ||
			                       (c == '\r' &&
			                        out->data[at + 1 + (out->data[at + 1] == '\r')] == '\n')),
			              "%s: U+%04X after '%.*s'", words, (unsigned)c, (int)(at < 60 ? at : 60),
			              out->data + (at < 60 ? 0 : at - 60));
		}
		at += n;
	}
}

/* Each line takes as many columns of a terminal as the first; the lines up to an empty one. */
static void check_columns(const text *out, const char *words)
{
	size_t want = 0, lines = 0;

	for (const char *line = out->data; *line && *line != '\n'; lines++) {
		size_t n = strcspn(line, "\n"), columns = text_columns(line, n);

		want = lines ? want : columns;
		ck_assert_msg(columns == want, "%s: '%.*s' takes %zu columns, not %zu", words, (int)n, line,
		              columns, want);
		line += n + (line[n] == '\n');
	}
	ck_assert_uint_gt(lines, 3);
}

/* ---- The store ---- */

static void run_well(const char *words)
{
	text out;

	text_init(&out, OUTPUT_MAX);
	ck_assert_msg(run(&out, words, false) == 0, "%s: %s", words, out.data);
	check_safe(&out, words, false);
	text_free(&out);
}

/* Names and labels from models and from other programs: what a person may write has no such characters. */
#define BAD_NAME "a\x1b[2J\n\r\t\a\xc2\x9b<b>\xe2\x80\xae\xe2\x81\xa6\xe7\x8c\xab\xd7\xa9"
#define BAD      "'a' || char(27) || '[2J' || char(10, 13, 9, 7, 155) || '<b>' || char(8238, 8294, 29483, 1513)"

static void prepare(void)
{
	made_dump m = { .contexts = CONTEXTS,
		        .ctx_len = LENGTH,
		        .d = WIDTH,
		        .shards = 1,
		        .dtype = SAE_F32,
		        .tokens = true,
		        .value = activation_at,
		        .token = token_at };
	char *copy = NULL;
	size_t n;

	err = (error){ 0 };
	snprintf(store_file, sizeof(store_file), "%s", in_folder("store.db"));
	ck_assert_int_eq(file_mkdir(in_folder("dump"), &err), 0);
	made_dump_write(in_folder("dump"), &m);
	write_tokenizer(in_folder("tokenizer.json"));
	ck_assert_int_eq(chdir(in_folder("")), 0);
	run_well("train\x01"
	         "dump\x01-o\x01sae\x01--features\x01"
	         "48\x01--k\x01"
	         "4\x01--batch\x01"
	         "128\x01--steps\x01"
	         "150\x01--quiet");
	run_well(
	        "index\x01sae\x01"
	        "dump\x01-d\x01@\x01--tokenizer\x01tokenizer.json\x01--corpus\x01--quiet\x01--source\x01one");
	run_well(
	        "index\x01sae\x01"
	        "dump\x01-d\x01@\x01--tokenizer\x01tokenizer.json\x01--corpus\x01--quiet\x01--source\x01two");
	ck_assert_int_eq(file_read(&copy, &n, store_file, 1 << 26, &err), 0);
	support_put("other.db", copy, n);
	free(copy);
	ck_assert_int_eq(file_mkdir("run", &err), 0);
	support_put_text("run/train.jsonl", "{\"step\":1,\"x\":\"\x1b[2J\xe2\x80\xae\xc2\x9b\"}\n\x1b]0;"
	                                    "x\a\xff\n{\"step\":2,\"end\":\"finished\"}\n");
	support_run_sql(
	        store_file,
	        "INSERT INTO explanation(source_id, feature, text, rule, method, model, created) SELECT "
	        "source_id, feature, " BAD ", json_quote(" BAD "), 'llm', " BAD ", " BAD " FROM feature;"
	        "INSERT INTO score(explanation_id, scorer, judge, value, low, high, n_positive, n_negative, "
	        "n_failed, details, created)"
	        " SELECT id, " BAD ", " BAD ", 0.5, 0.4, 0.6, 1, 1, 0, '{}', " BAD " FROM explanation;"
	        "INSERT INTO note(source_id, feature, text, created) SELECT source_id, feature, " BAD ", " BAD
	        " FROM feature;"
	        "INSERT INTO list VALUES (1, " BAD ", " BAD "), (2, 'mine', '');"
	        "INSERT INTO list_item SELECT 2, source_id, feature FROM feature;"
	        "UPDATE source SET model = " BAD ", hook_point = " BAD ", version = " BAD
	        ", weights_sha256 = " BAD ", created = " BAD ", sample_rule = " BAD
	        ", name = CASE id WHEN 1 THEN 'one' ELSE " BAD " END;"
	        "UPDATE feature_detail SET intervals = json_set(intervals, '$.definition', " BAD ")");
}

static void finish(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	leave_folder();
}

/* ---- Every command ---- */

#define STORE "\x01-d\x01@"
#define ONE   STORE "\x01--source\x01one"
static const struct {
	const char *words;
	bool json;  /* it has a --json; else what it prints is only for a terminal made visible */
	int status; /* -1: any */
} commands[] = {
	{ "features" ONE "\x01--limit\x01"
	  "50",
	  true, 0 },
	{ "features" STORE "\x01--all-sources\x01--where\x01label LIKE '%<b>%'\x01--limit\x01"
	  "9",
	  true, 0 },
	{ "show\x01"
	  "0" ONE,
	  true, 0 },
	{ "show\x01"
	  "1" ONE "\x01--full",
	  true, 0 },
	{ "show\x01"
	  "2" ONE "\x01--full",
	  true, 0 },
	{ "show\x01random" ONE, true, 0 },
	{ "find" ONE "\x01--text\x01word", true, 0 },
	{ "find" ONE "\x01--text\x01script OR DROP", true, 0 },
	{ "find" ONE "\x01--text\x01\xe7\x8c\xab", true, 0 },
	{ "find" ONE "\x01--regex\x01.", true, 0 },
	{ "find" ONE "\x01--regex\x01\\x1b|\\x{202e}", true, 0 },
	{ "find" ONE "\x01--regex\x01\x1b[[]", true, -1 },
	{ "find" ONE "\x01--of\x01"
	  "0",
	  true, 0 },
	{ "find" ONE "\x01--of\x01"
	  "1",
	  true, 0 },
	{ "find" ONE "\x01--of\x01"
	  "2",
	  true, 0 },
	{ "find" ONE "\x01--like\x01like.txt", true, 0 },
	{ "similar\x01"
	  "0" ONE,
	  true, 0 },
	{ "similar\x01--duplicates" STORE, true, 0 },
	{ "list" STORE, true, 0 },
	{ "list\x01mine" STORE, true, 0 },
	{ "note\x01"
	  "0" ONE,
	  true, 0 },
	{ "label\x01"
	  "0" ONE,
	  true, 0 },
	{ "sources" STORE, true, 0 },
	{ "diff\x01one\x01" BAD_NAME STORE, true, 0 },
	{ "diff\x01one\x01one\x01-d\x01@"
	  "\x01--with\x01other.db",
	  true, 0 },
	{ "sql" STORE "\x01SELECT token, text, token AS again FROM vocab", true, 0 },
	{ "sql" STORE
	  "\x01SELECT text FROM context UNION ALL SELECT text FROM (SELECT text FROM example_text LIMIT 200) "
	  "UNION ALL SELECT text FROM (SELECT text FROM label LIMIT 9)",
	  true, 0 },
	{ "sql" STORE "\x01SELECT \"tokens\", \"values\" FROM np_activation LIMIT 50", true, 0 },
	{ "sql" STORE "\x01SELECT 1 AS \"\x1b[2J\xe2\x80\xae\"", true, 0 },
	{ "sql" STORE "\x01SELECT \x1b[2J", true, 2 },
	{ "export" ONE "\x01-o\x01"
	  "csv\x01--to\x01"
	  "csv\x01--force\x01--quiet",
	  false, -1 },
	{ "verify\x01@\x01sae\x01"
	  "dump\x01--tokenizer\x01tokenizer.json\x01--source\x01one\x01--quiet",
	  true, -1 },
	{ "merge\x01@\x01other.db\x01-d\x01merged.db\x01--force\x01--quiet", true, -1 },
	{ "explain" ONE "\x01--features\x01"
	  "0-20\x01--quiet",
	  true, 0 },
	{ "score" ONE "\x01--features\x01"
	  "0-20\x01--quiet",
	  true, -1 },
	{ "show\x01"
	  "0" ONE,
	  true, 0 }, /* with labels of the lexical explainer */
	{ "features" ONE "\x01--source\x01\x1b[2J", true, -1 },
	{ "list\x01\x1b[2J" STORE, true, -1 },
	{ "show\x01"
	  "0" STORE "\x01--source\x01\xe2\x80\xae",
	  true, -1 },
	{ "features" ONE "\x01--where\x01\x1b[2J\xe2\x80\xae > 1", true, 2 },
	{ "features" ONE "\x01--sort\x01\x1b[2J", true, 2 },
	{ "features\x01-d\x01\x1b[2J\xe2\x80\xae", true, 1 },
	{ "context\x01"
	  "CONTEXT" ONE,
	  true, 0 },
	{ "sql" STORE "\x01--csv\x01SELECT text FROM vocab", false, 0 },
	{ "diff\x01one\x01" BAD_NAME STORE "\x01--csv", false, 0 },
	{ "runs\x01run\x01--follow", false, 0 },
	{ "runs\x01sae", true, 0 },
	{ "train\x01"
	  "dump\x01-o\x01\xe2\x80\xae\x1b[2J\x01--features\x01"
	  "8\x01--steps\x01"
	  "1\x01--batch\x01"
	  "64\x01--quiet\x01--force",
	  false, -1 },
	{ "inspect\x01sae", true, 0 },
	{ "inspect\x01"
	  "dump\x01--tokenizer\x01tokenizer.json\x01--quiet",
	  true, 0 },
};

/* The words with the number of a context in them, and behind them `more`. */
static void fill_in(char out[4096], const char *words, const char *more)
{
	const char *at = strstr(words, "CONTEXT");
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;

	ck_assert_int_eq(sqlite3_open(store_file, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT min(id) FROM context", -1, &st, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	if (at)
		snprintf(out, 4096, "%.*s%s%s%s", (int)(at - words), words,
		         (const char *)sqlite3_column_text(st, 0), at + 7, more);
	else
		snprintf(out, 4096, "%s%s", words, more);
	sqlite3_finalize(st);
	sqlite3_close(db);
}

START_TEST(nothing_steers_a_terminal)
{
	enum { PLAIN, JSON, TERMINAL, WAYS };
	char words[4096];
	text out;

	text_init(&out, OUTPUT_MAX);
	support_put_text("like.txt", "word\nscript\n");
	for (int way = commands[_i].json ? PLAIN : TERMINAL; way < WAYS; way++) {
		int status;

		fill_in(words, commands[_i].words, way == JSON ? "\x01--json" : "");
		status = run(&out, words, way == TERMINAL);
		if (status < 0) /* no pseudo terminals here */
			continue;
		ck_assert_msg(commands[_i].status < 0 || status == commands[_i].status, "%s: %d %s", words,
		              status, out.data);
		ck_assert_msg(out.len > 0, "%s: says nothing", words);
		check_safe(&out, words, way == TERMINAL);
		if (way == JSON && status == 0) {
			cJSON *page = NULL;

			ck_assert_msg(json_parse(&page, out.data, out.len, OUTPUT_MAX, 64, words, &err) == 0,
			              "%s", err.msg);
			cJSON_Delete(page);
		}
	}
	text_free(&out);
}
END_TEST

/* Tables whose last column is of numbers. */
static const char *const tables[] = {
	"sql" STORE "\x01SELECT token, text, token AS again FROM vocab",
	"sql" STORE "\x01SELECT id, text, 1 AS again FROM context LIMIT 20",
	"sql" STORE "\x01SELECT feature, label, 1 AS again FROM feature_list LIMIT 20",
};

START_TEST(columns_line_up)
{
	text out;

	text_init(&out, OUTPUT_MAX);
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		ck_assert_int_eq(run(&out, tables[i], false), 0);
		check_columns(&out, tables[i]);
	}
	text_free(&out);
}
END_TEST

/* What the index wrote: exact bytes as blobs, text that is UTF-8, offsets at characters. */
START_TEST(texts_are_repaired_once)
{
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;
	size_t rows = 0;

	ck_assert_int_eq(sqlite3_open(store_file, &db), SQLITE_OK);
	ck_assert_int_eq(
	        sqlite3_prepare_v2(db, "SELECT token, bytes, text FROM vocab ORDER BY token", -1, &st, NULL),
	        SQLITE_OK);
	for (; sqlite3_step(st) == SQLITE_ROW; rows++) {
		int64_t id = sqlite3_column_int64(st, 0);

		ck_assert_uint_eq((size_t)sqlite3_column_bytes(st, 1), tokens[id].n);
		ck_assert_mem_eq(sqlite3_column_blob(st, 1), tokens[id].bytes, tokens[id].n);
	}
	ck_assert_uint_eq(rows, ARRAY_LEN(tokens));
	sqlite3_finalize(st);
	ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT text, offsets, n_tokens FROM context", -1, &st, NULL),
	                 SQLITE_OK);
	for (rows = 0; sqlite3_step(st) == SQLITE_ROW; rows++) {
		const char *chars = (const char *)sqlite3_column_text(st, 0);
		const unsigned char *offsets = sqlite3_column_blob(st, 1);
		size_t n = (size_t)sqlite3_column_bytes(st, 0), at = 0, len,
		       n_tokens = (size_t)sqlite3_column_int(st, 2), last = 0;
		uint32_t c;

		ck_assert_uint_eq(strlen(chars), n); /* no NUL */
		for (; at < n; at += len) {
			len = utf8_next(chars + at, n - at, &c);
			ck_assert_uint_gt(len, 0);
		}
		for (size_t i = 0; i <= n_tokens; i++) {
			at = offsets[4 * i] | (size_t)offsets[4 * i + 1] << 8 |
			     (size_t)offsets[4 * i + 2] << 16;
			ck_assert_uint_ge(at, last);
			ck_assert_uint_le(at, n);
			ck_assert(at == n || ((unsigned char)chars[at] & 0xc0) != 0x80);
			last = at;
		}
		ck_assert_uint_eq(last, n);
	}
	ck_assert_uint_gt(rows, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *tc = SUPPORT_CASE(suite, "terminal", columns_line_up, texts_are_repaired_once);

	tcase_add_unchecked_fixture(tc, prepare, finish);
	tcase_add_loop_test(tc, nothing_steers_a_terminal, 0, ARRAY_LEN(commands));
}
SUPPORT_MAIN("terminal", cases)
