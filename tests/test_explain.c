/* explain_run and explain_score, end to end: rules planted in synthetic text, the scripted server as the model, runs cut
 * short and taken up again, and each misbehaviour of the endpoint ending in the right state. */
#include "explain/engine.h"
#include "explain/prompt.h"
#include "store/store_internal.h"
#include "tests/support.h"
#include "tests/support_llm.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern const char schema_detection_graded[], schema_fuzz_graded[];
extern const char schema_fuzz[], schema_intruder[], schema_confidence[];
extern const char schema_label[], schema_label_cot[], schema_detection[], prompt_label[], prompt_detection[];

enum { CONTEXTS = 160, TOKENS = 48, FEATURES = 6, WINDOW = 16 };
enum { ON_CAT, ON_ING, AFTER_THE, DEAD, ON_RARE, ON_DOG };

static const char *const words[] = { " the",   " cat",   " dog",   " running", " reading", " eating",
	                             " a",     " house", " green", " tall",    " idea",    " water",
	                             " stone", " under", " light", " paper",   " seven",   " far",
	                             " quick", " slow",  " zebra", "\n" };
enum { THE, CAT, DOG, RUNNING, READING, EATING, ZEBRA = 20 };

static char folder[FILE_PATH_MAX];
static store *s;
static error err;

static float planted(uint32_t f, const uint32_t *t, uint32_t i)
{
	float strength = 1 + (float)(i % 7);

	switch (f) {
	case ON_CAT:
		return t[i] == CAT ? strength : 0;
	case ON_ING:
		return t[i] >= RUNNING && t[i] <= EATING ? strength : 0;
	case AFTER_THE:
		return i && t[i - 1] == THE ? strength : 0;
	case ON_RARE:
		return t[i] == ZEBRA ? strength : 0;
	case ON_DOG:
		return t[i] == DOG ? strength : 0;
	default:
		return 0;
	}
}

/* Common words at random; each of the telling ones in some contexts only, so that there is silence too. */
static void make_context(uint32_t *t, uint32_t c)
{
	for (uint32_t i = 0; i < TOKENS; i++) {
		uint64_t h = hash64_mix(c + 1, i);

		t[i] = 6 + (uint32_t)hash64_below(h, 14);
		if (hash64_unit(hash64_mix(h, 1)) < 0.04)
			t[i] = (uint32_t)hash64_below(hash64_mix(h, 2), 6);
	}
	if (c == 0)
		t[5] = ZEBRA;
}

static void add_context(store_index *ix, uint32_t c)
{
	uint32_t t[TOKENS], start[TOKENS + 1], feature[TOKENS * FEATURES], n = 0;
	float value[TOKENS * FEATURES];
	uint8_t counted[TOKENS];
	store_context x = { t, TOKENS, c, c, counted, start, feature, value };

	make_context(t, c);
	memset(counted, 1, sizeof(counted));
	for (uint32_t i = 0; i < TOKENS; i++) {
		start[i] = n;
		for (uint32_t f = 0; f < FEATURES; f++) {
			value[n] = planted(f, t, i);
			feature[n] = f;
			n += value[n] > 0;
		}
	}
	start[TOKENS] = n;
	ck_assert_msg(store_index_context(ix, &x, &err) == 0, "%s", err.msg);
}

static void make_store(void)
{
	store_index_opts o = store_index_opts_default();
	uint32_t length[ARRAY_LEN(words)];
	store_index *ix = NULL;

	o.source = "planted";
	o.architecture = "topk";
	o.d_in = 4;
	o.n_features = FEATURES;
	o.k = 4;
	o.weights_sha256 = o.dump_sha256 = "0";
	o.config = "{}";
	o.argv = "[]";
	o.before = 11;
	o.after = 4;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		length[i] = (uint32_t)strlen(words[i]);
	ck_assert_msg(store_index_begin(&ix, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(store_index_vocab(ix, "vocab", ARRAY_LEN(words), words, length, &err), 0);
	for (uint32_t c = 0; c < CONTEXTS; c++)
		add_context(ix, c);
	ck_assert_msg(store_index_finish(ix, NULL, NULL, &err) == 0, "%s", err.msg);
}

static void setup(void)
{
	support_mkdir(folder);
	ck_assert_msg(store_open(&s, support_path(folder, "s.db"), STORE_CREATE, &err) == 0, "%s", err.msg);
	make_store();
}

static void teardown(void)
{
	store_close(s);
	support_rmdir(folder);
}

static int64_t sql(const char *query)
{
	int64_t n = -1;

	ck_assert_msg(store_int(&n, s, query, -1, &err) == 0, "%s", err.msg);
	return n;
}

static void job_error(char out[512])
{
	sqlite3_stmt *st = NULL;

	ck_assert_int_eq(
	        store_prepare(&st, s, "SELECT coalesce(error, '') FROM job ORDER BY id DESC LIMIT 1", &err),
	        0);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	snprintf(out, 512, "%s", (const char *)sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
}

static explain_opts lexical(void)
{
	explain_opts o = explain_opts_default();

	o.window = WINDOW;
	return o;
}

static double number(const cJSON *o, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(n) ? n->valuedouble : (double)NAN;
}

/* ---- Lexical --------------------------------------------------------------------------------------------------------- */

START_TEST(planted_rules_are_found_and_score_high)
{
	static const struct {
		int feature;
		const char *says;
	} want[] = { { ON_CAT, "cat" }, { ON_ING, "ing" }, { AFTER_THE, "the" }, { ON_DOG, "dog" } };
	explain_opts o = lexical();
	cJSON *sum = NULL;
	store_explanation e;
	arena mem = ARENA_INIT;

	ck_assert_msg(explain_run(&sum, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_double_eq(number(sum, "done"), 4);
	ck_assert_double_eq(number(sum, "skipped"), 2);
	cJSON_Delete(sum);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		ck_assert_int_eq(store_explanation_latest(&e, s, 1, (uint32_t)want[i].feature, &mem, &err),
		                 0);
		ck_assert_msg(strstr(e.text, want[i].says), "%s", e.text);
		ck_assert_str_eq(e.method, "lexical");
	}
	ck_assert_msg(explain_score(&sum, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_double_eq(number(sum, "done"), 4);
	ck_assert_double_eq(number(sum, "without_label"), 2);
	cJSON_Delete(sum);
	ck_assert_int_eq(sql("SELECT count(*) FROM score WHERE value > 0.95 AND low > 0.5 AND high >= value "
	                     "AND n_failed = 0"
	                     " AND baseline < 0.75 AND n_positive >= 5 AND judge = 'lexical'"),
	                 4);
	ck_assert_int_eq(sql("SELECT count(*) FROM job WHERE state = 'done'"), 2);
	arena_clear(&mem);
}
END_TEST

START_TEST(no_document_is_used_for_both)
{
	explain_opts o = lexical();

	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), 0);
	static const char shown[] =
	        "CREATE TEMP VIEW shown AS SELECT j.kind, d.group_key, d.part FROM request r"
	        " JOIN task t ON t.id = r.task_id JOIN job j ON j.id = t.job_id,"
	        " json_each(r.example_ids) w JOIN context c ON c.id = w.value ->> 0"
	        " JOIN document d ON d.id = c.document_id";

	ck_assert_msg(store_exec(s, shown, &err) == 0, "%s", err.msg);
	ck_assert_int_gt(sql("SELECT count(*) FROM shown WHERE kind = 'explain'"), 10);
	ck_assert_int_gt(sql("SELECT count(*) FROM shown WHERE kind = 'score'"), 10);
	ck_assert_int_eq(
	        sql("SELECT count(*) FROM shown WHERE part != iif(kind = 'explain', 'label', 'report')"), 0);
	ck_assert_int_eq(
	        sql("SELECT count(*) FROM (SELECT group_key FROM shown WHERE kind = 'explain' INTERSECT"
	            " SELECT group_key FROM shown WHERE kind = 'score')"),
	        0);
}
END_TEST

START_TEST(scoring_needs_labels)
{
	explain_opts o = lexical();

	ck_assert_int_eq(explain_score(NULL, s, &o, &err), ERR_NOTFOUND);
	ck_assert_msg(strstr(err.msg, "run gloss explain"), "%s", err.msg);
}
END_TEST

/* ---- A model ------------------------------------------------------------------------------------------------------------ */

typedef struct model {
	unsigned requests, refuse_formats; /* json_schema refused: 1; json_object too: 2 */
	unsigned drop_last;                /* answers that leave out the last text: so many */
	unsigned wrong;                    /* answers of another shape: so many */
	bool new_limit;
} model;

/* Takes texts that hold the label's word; says so in lists, and an object each. */
static void judge_texts(text *out, const char *user, bool drop_last)
{
	char label[64], head[16];
	text silent, objects;
	int n = 0;

	text_init(&silent, 10000);
	text_init(&objects, 10000);
	ck_assert_int_eq(sscanf(user, "Description: %63s", label), 1);
	while (snprintf(head, sizeof(head), "\n[%d] ", n + 1), strstr(user, head))
		n++;
	ck_assert_int_eq(text_adds(out, "Sure! ```json\n{\"fires\":["), 0);
	for (int i = 1; i <= n - drop_last; i++) {
		const char *at;
		char *line;
		text *to;

		snprintf(head, sizeof(head), "\n[%d] ", i);
		at = strstr(user, head) + 1;
		line = strndup(at, strcspn(at, "\n"));
		to = strstr(line, label) ? out : &silent;
		ck_assert_int_eq(
		        text_addf(to, "%s%d", !to->len || to->data[to->len - 1] == '[' ? "" : ",", i), 0);
		ck_assert_int_eq(text_addf(&objects, "%s{\"id\":%d,\"matches\":%s}", i > 1 ? "," : "", i,
		                           to == out ? "true" : "false"),
		                 0);
		free(line);
	}
	ck_assert_int_eq(text_addf(out, "],\"silent\":[%s]}\n```\n{\"answers\":[%s]}",
	                           silent.len ? silent.data : "", objects.len ? objects.data : ""),
	                 0);
	text_free(&objects);
	text_free(&silent);
}

static llm_reply refuse(const char *why)
{
	return (llm_reply){ .status = 400, .body = why };
}

/* The label is the peak's token. */
static void name_peak(text *out, const char *user)
{
	const char *at = strstr(user, "active: \""), *end;

	ck_assert_ptr_nonnull(at);
	at += strlen("active: \"");
	at += *at == ' ';
	end = strchr(at, '"');
	ck_assert_int_eq(
	        text_addf(out, "<think>{hm}</think>{\"label\":\"%.*s\",\"short_label\":\"x\",\"sure\":0.9}",
	                  (int)(end - at), at),
	        0);
}

static llm_reply answer(const llm_seen *request, void *payload)
{
	model *m = payload;
	char *user = llm_content(request, "user");
	llm_reply r = { 0 };
	text out;

	m->requests++;
	text_init(&out, 1 << 20);
	if (m->refuse_formats >= 1 && strstr(request->body, "json_schema"))
		r = refuse("{\"error\":{\"message\":\"response_format json_schema is not supported\"}}");
	else if (m->refuse_formats >= 2 && strstr(request->body, "response_format"))
		r = refuse("{\"error\":{\"message\":\"unknown field response_format\"}}");
	else if (m->new_limit && strstr(request->body, "\"max_tokens\""))
		r = refuse("{\"error\":{\"message\":\"use max_completion_tokens instead\"}}");
	else if (strstr(user, "{\"ok\": true}"))
		r.own = llm_chat("{\"ok\": true}");
	else if (m->wrong && m->wrong--)
		r.own = llm_chat("{\"verdict\": 7}");
	else if (strstr(user, "Description: "))
		judge_texts(&out, user, m->drop_last && m->drop_last--);
	else
		name_peak(&out, user);
	if (out.data)
		r.own = llm_chat(out.data);
	text_free(&out);
	free(user);
	return r;
}

static explain_client_opts client_for(const llm_server *server)
{
	explain_client_opts c = llm_client(llm_url(server));

	c.api_key = "sk-never-to-be-seen-4711";
	return c;
}

static bool folder_holds(const char *what)
{
	static const char *const names[] = { "s.db", "s.db-wal", "s.db.requests", "s.db.requests-wal" };
	bool found = false;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *data = NULL;
		size_t n = 0;

		if (!file_exists(support_path(folder, names[i])))
			continue;
		ck_assert_int_eq(file_read(&data, &n, support_path(folder, names[i]), 1 << 26, &err), 0);
		found = found || (n && memmem(data, n, what, strlen(what)));
		free(data);
	}
	return found;
}

START_TEST(model_labels_and_judges)
{
	model m = { .refuse_formats = (unsigned)_i, .new_limit = _i == 2 };
	llm_server *server = llm_start_answering(answer, &m);
	explain_client_opts c = client_for(server);
	explain_opts o = lexical();
	cJSON *sum = NULL;
	unsigned before;

	o.client = &c;
	ck_assert_msg(explain_run(&sum, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_double_eq(number(sum, "done"), 4);
	ck_assert_double_eq(number(sum, "failed"), 0);
	cJSON_Delete(sum);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation WHERE method = 'llm' AND model = 'tiny' AND "
	                     "confidence = 0.9"
	                     " AND length(prompt_sha256) = 64 AND task_id IS NOT NULL"),
	                 4);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation WHERE feature = 0 AND text = 'cat'"), 1);
	ck_assert_int_eq(sql("SELECT sum(input_tokens) FROM task"), 4 * 11);
	ck_assert_msg(explain_score(&sum, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_double_eq(number(sum, "done"), 4);
	cJSON_Delete(sum);
	ck_assert_int_eq(sql("SELECT count(*) FROM score WHERE judge = 'tiny' AND n_failed = 0"), 4);
	ck_assert_int_eq(sql("SELECT count(*) FROM score JOIN explanation e ON e.id = explanation_id WHERE "
	                     "value = 1 AND"
	                     " e.feature IN (0, 5) AND baseline < 0.8"),
	                 2);
	/* again: nothing is asked but what the server takes, and that refused ones cannot be in the log */
	before = m.requests;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	ck_assert_int_eq(explain_score(NULL, s, &o, &err), 0);
	ck_assert_uint_le(m.requests - before, 2 * ((unsigned)_i + (_i == 2)));
	o.replay = true;
	before = m.requests;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0 || _i == 2, "%s", err.msg);
	ck_assert_uint_eq(m.requests, before);
	ck_assert(folder_holds("tiny"));
	ck_assert(!folder_holds("never-to-be-seen"));
	llm_stop(server);
}
END_TEST

START_TEST(missing_and_misshapen_answers_are_asked_for_again)
{
	model m = { .drop_last = 3, .wrong = 2 };
	llm_server *server = llm_start_answering(answer, &m);
	explain_client_opts c = client_for(server);
	explain_opts o = lexical();

	o.client = &c;
	o.features = "0";
	c.concurrency = 1;
	m.wrong = 1;
	ck_assert_msg(explain_run(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(sql("SELECT count(*) FROM request"), 2);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation WHERE text = 'cat'"), 1);
	m.wrong = 1;
	ck_assert_msg(explain_score(NULL, s, &o, &err) == 0, "%s", err.msg);
	ck_assert_int_eq(
	        sql("SELECT count(*) FROM score WHERE value = 1 AND n_failed = 0 AND baseline IS NULL"), 1);
	llm_stop(server);
}
END_TEST

/* What an endpoint may do to a job: the state it ends in, and how often it was asked. */
static const struct trouble {
	llm_reply reply;
	int code;
	unsigned asked;
	const char *state, *says;
} troubles[] = {
	{ { .status = 401, .body = "{\"error\":{\"message\":\"bad key\"}}" },
	  ERR_REFUSED,
	  1,
	  "stopped",
	  "answered 401: bad key" },
	{ { .status = 429, .body = "{}", .retry_after = "2000" },
	  ERR_NET,
	  1,
	  "stopped",
	  "asks to wait 2000 seconds" },
	{ { .status = 500, .body = "oh" }, ERR_NET, 3, "stopped", "answered 500: oh" },
	{ { .body = "{\"choices\":", .cut = true }, ERR_NET, 3, "stopped", "no whole reply" },
	{ { .body = "<p>" }, ERR_FORMAT, 3, "stopped", "not JSON" },
	{ { .body = "{\"a\":1}" }, ERR_FORMAT, 3, "stopped", "no chat completion" },
	{ { .status = 400, .body = "{\"error\":\"no\"}" }, ERR_NET, 1, "stopped", "answered 400: no" },
};

START_TEST(trouble_stops_the_job_with_its_state_kept)
{
	const struct trouble *t = &troubles[_i];
	llm_server *server = llm_start(&t->reply, 1);
	explain_client_opts c = client_for(server);
	explain_opts o = lexical();
	char why[512];

	o.client = &c;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), t->code);
	ck_assert_msg(strstr(err.msg, t->says), "%s", err.msg);
	ck_assert_uint_eq(llm_count(server), t->asked);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'waiting'"), FEATURES);
	ck_assert_int_eq(sql("SELECT count(*) FROM job WHERE state = 'stopped' AND finished IS NOT NULL"), 1);
	job_error(why);
	ck_assert_str_eq(why, err.msg);
	ck_assert_int_eq(sql("SELECT count(*) FROM explanation"), 0);
	llm_stop(server);
}
END_TEST

/* Answers the first two requests (what the server takes, the first label), then refuses. */
static llm_reply answer_two(const llm_seen *request, void *payload)
{
	model *m = payload;

	if (m->requests >= 2)
		return (llm_reply){ .status = 401 };
	return answer(request, payload);
}

START_TEST(job_goes_on_where_it_was)
{
	model m = { 0 };
	llm_server *server = llm_start_answering(answer_two, &m);
	explain_client_opts c = client_for(server);
	explain_opts o = lexical();
	cJSON *sum = NULL;

	o.client = &c;
	c.concurrency = 1;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_REFUSED);
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), 1);
	m.requests = 0;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), ERR_REFUSED); /* two more come through */
	ck_assert_int_eq(sql("SELECT count(*) FROM task WHERE state = 'done'"), 3);
	ck_assert_int_eq(sql("SELECT count(*) FROM job"), 1);
	m.requests = 0;
	ck_assert_msg(explain_run(&sum, s, &o, &err) == 0, "%s", err.msg);
	ck_assert(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(sum, "resumed")));
	ck_assert_double_eq(number(sum, "done"), 4);
	ck_assert_double_eq(number(sum, "requests"), 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM job WHERE state = 'done' AND error IS NULL"), 1);
	ck_assert_int_eq(sql("SELECT group_concat(feature, '') = '0125' FROM (SELECT feature FROM "
	                     "explanation ORDER BY id)"),
	                 1);
	cJSON_Delete(sum);
	llm_stop(server);
}
END_TEST

/* Killed without warning at several moments: the end is that of a run that was not, and little is asked twice. */
START_TEST(killed_run_is_taken_up)
{
	model m = { 0 };
	llm_server *server = llm_start_answering(answer, &m);
	explain_client_opts c = client_for(server);
	explain_opts o = lexical();
	unsigned kills = 0;
	int status;
	bool over = false;

	o.client = &c;
	c.concurrency = 1;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	store_close(s);
	s = NULL;
	while (!over && kills < 50) {
		pid_t child = fork();

		if (child == 0) {
			if (store_open(&s, support_path(folder, "s.db"), STORE_WRITE, &err) < 0)
				_exit(2);
			_exit(explain_score(NULL, s, &o, &err) == 0 ? 0 : 1);
		}
		usleep(5000 * (kills + 1));
		kill(child, SIGKILL);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		kills += WIFSIGNALED(status);
		ck_assert_msg(store_open(&s, support_path(folder, "s.db"), STORE_READ, &err) == 0, "%s",
		              err.msg);
		over = sql("SELECT count(*) FROM job WHERE kind = 'score' AND state = 'done'") == 1;
		store_close(s);
	}
	ck_assert_uint_gt(kills, 0);
	ck_assert_int_eq(store_open(&s, support_path(folder, "s.db"), STORE_WRITE, &err), 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM score"), 4);
	ck_assert_int_eq(sql("SELECT count(*) FROM job WHERE kind = 'score' AND state = 'done'"), 1);
	ck_assert_int_eq(sql("SELECT count(*) FROM job WHERE kind = 'score'"), 1);
	/* each request once, but for one under way at each kill */
	ck_assert_uint_le(m.requests, (unsigned)sql("SELECT count(DISTINCT key) FROM request") + 1 + kills);
	llm_stop(server);
}
END_TEST

START_TEST(dry_run_sends_and_stores_nothing)
{
	model m = { 0 };
	llm_server *server = llm_start_answering(answer, &m);
	explain_client_opts c = client_for(server);
	explain_opts o = lexical();
	cJSON *sum = NULL;
	double foretold;

	o.client = &c;
	o.dry_run = true;
	ck_assert_msg(explain_run(&sum, s, &o, &err) == 0, "%s", err.msg);
	foretold = number(sum, "requests");
	ck_assert_double_gt(number(sum, "input_tokens_estimate"), 1000);
	cJSON_Delete(sum);
	ck_assert_uint_eq(m.requests, 0);
	ck_assert_int_eq(sql("SELECT count(*) FROM job"), 0);
	ck_assert(!file_exists(support_path(folder, "s.db.requests")));
	o.dry_run = false;
	ck_assert_int_eq(explain_run(NULL, s, &o, &err), 0);
	ck_assert_double_eq(foretold, m.requests);
	llm_stop(server);
}
END_TEST

/* ---- Prompts and schemas -------------------------------------------------------------------------------------------------- */

static const struct sample {
	const char *schema, *json;
	bool good;
} samples[] = {
	{ schema_label, "{\"label\":\"a\",\"short_label\":\"b\",\"sure\":0.5}", true },
	{ schema_label, "{\"label\":\"a\",\"short_label\":\"b\"}", false },
	{ schema_label, "{\"label\":7,\"short_label\":\"b\",\"sure\":0.5}", false },
	{ schema_label, "{\"label\":\"a\",\"short_label\":\"b\",\"sure\":0.5,\"more\":1}", false },
	{ schema_label_cot, "{\"analysis\":\"r\",\"label\":\"a\",\"short_label\":\"b\",\"sure\":0.5}", true },
	{ schema_label_cot, "{\"label\":\"a\",\"short_label\":\"b\",\"sure\":0.5}", false },
	{ schema_detection, "{\"fires\":[1,3],\"silent\":[2]}", true },
	{ schema_detection, "{\"fires\":[],\"silent\":[]}", true },
	{ schema_detection, "{\"fires\":[1]}", false },
	{ schema_detection, "{\"fires\":[1],\"silent\":[\"2\"]}", false },
	{ schema_detection, "{\"fires\":[1.5],\"silent\":[]}", false },
	{ schema_detection_graded, "{\"answers\":[{\"id\":1,\"matches\":true},{\"id\":2,\"matches\":false}]}",
	  true },
	{ schema_detection_graded, "{\"answers\":[]}", true },
	{ schema_detection_graded, "{\"answers\":[{\"id\":\"1\",\"matches\":true}]}", false },
	{ schema_detection_graded, "{\"answers\":[{\"id\":1,\"matches\":1}]}", false },
	{ schema_detection, "[true,false]", false },
	{ schema_fuzz, "{\"right\":[1],\"wrong\":[2]}", true },
	{ schema_fuzz, "{\"fires\":[1],\"silent\":[2]}", false },
	{ schema_fuzz_graded, "{\"answers\":[{\"id\":1,\"right\":true}]}", true },
	{ schema_fuzz_graded, "{\"answers\":[{\"id\":1,\"matches\":true}]}", false },
	{ schema_intruder, "{\"answers\":[{\"id\":1,\"odd\":5}]}", true },
	{ schema_intruder, "{\"answers\":[{\"id\":1,\"odd\":1.5}]}", false },
	{ schema_confidence, "{\"answers\":[{\"id\":1,\"sure\":62.5}]}", true },
	{ schema_confidence, "{\"answers\":[{\"id\":1,\"sure\":\"high\"}]}", false },
};

START_TEST(schemas_tell_good_from_bad)
{
	cJSON *schema = cJSON_Parse(samples[_i].schema), *value = cJSON_Parse(samples[_i].json);

	ck_assert_ptr_nonnull(schema);
	ck_assert_int_eq(json_schema_check(schema, value, &err), samples[_i].good ? 0 : ERR_FORMAT);
	cJSON_Delete(schema);
	cJSON_Delete(value);
}
END_TEST

/* Bodies have members in the order of their names, and models that are held to a schema answer in that order. */
static const char *const keyed[] = { schema_detection_graded, schema_fuzz_graded, schema_confidence,
	                             schema_intruder };

START_TEST(answers_name_the_item_before_the_verdict)
{
	cJSON *schema = cJSON_Parse(keyed[_i]), *item;

	ck_assert_ptr_nonnull(schema);
	item = cJSON_GetObjectItem(cJSON_GetObjectItem(schema, "properties"), "answers");
	item = cJSON_GetObjectItem(cJSON_GetObjectItem(item, "items"), "properties");
	ck_assert_int_eq(cJSON_GetArraySize(item), 2);
	for (const cJSON *x = item->child; x; x = x->next)
		ck_assert_msg(strcmp(x->string, "id") >= 0, "'%s' comes before the id", x->string);
	cJSON_Delete(schema);
}
END_TEST

/* What is made of the content of a reply. */
static const struct content {
	const char *content, *reason;
	int answers; /* -1: none to be had */
	const char *says;
} contents[] = {
	{ "{\"answers\":[{\"id\":1,\"matches\":true}]}", "stop", 1, NULL },
	{ "I think {this}.\n```json\n{\"answers\":[]}\n```", "stop", 0, NULL },
	{ "<think>{\"answers\":[{\"id\":1,\"matches\":true}]}</think>{\"answers\":[]}", "stop", 0, NULL },
	{ "{\"answers\":[{\"id\":1,\"matches\":true},{\"id\":2,\"matches\":false},{\"id\":3,\"fi", "length",
	  2, NULL },
	{ "{\"answers\":[{\"id\":1,\"matches\":true},{\"id\":2,\"matches\":false},{\"id\":3,\"fi", "stop", -1,
	  "lacks the key 'answers'" },
	{ "{\"answers\":[{\"id\":1,", "length", -1, "cut off" },
	{ "{\"answers\":7}", "stop", -1, "not what was asked for: the value at '/answers'" },
	{ "no", "stop", -1, "no JSON object" },
	{ "", "content_filter", -1, "content filter" },
};

START_TEST(answers_are_found_in_what_models_say)
{
	const struct content *c = &contents[_i];
	cJSON *schema = cJSON_Parse(schema_detection_graded), *answer = NULL;
	chat_usage usage;
	text reply;
	int rc;

	text_init(&reply, 10000);
	ck_assert_int_eq(text_adds(&reply, "{\"choices\":[{\"message\":{\"content\":"), 0);
	ck_assert_int_eq(text_add_json(&reply, c->content, strlen(c->content)), 0);
	ck_assert_int_eq(text_addf(&reply, "},\"finish_reason\":\"%s\"}]}", c->reason), 0);
	rc = chat_answer(&answer, &usage, reply.data, schema, &err);
	if (c->answers < 0) {
		ck_assert_int_eq(rc, ERR_FORMAT);
		ck_assert_ptr_null(answer);
		ck_assert_msg(strstr(err.msg, c->says), "%s", err.msg);
	} else {
		ck_assert_msg(rc == 0, "%s", err.msg);
		ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(answer, "answers")),
		                 c->answers);
	}
	cJSON_Delete(answer);
	cJSON_Delete(schema);
	text_free(&reply);
}
END_TEST

static void cases(Suite *suite)
{
	TCase *t = tcase_create("explain"), *p = tcase_create("prompts");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, planted_rules_are_found_and_score_high);
	tcase_add_test(t, no_document_is_used_for_both);
	tcase_add_test(t, scoring_needs_labels);
	tcase_add_loop_test(t, model_labels_and_judges, 0, 3);
	tcase_add_test(t, missing_and_misshapen_answers_are_asked_for_again);
	tcase_add_loop_test(t, trouble_stops_the_job_with_its_state_kept, 0, ARRAY_LEN(troubles));
	tcase_add_test(t, job_goes_on_where_it_was);
	tcase_add_test(t, killed_run_is_taken_up);
	tcase_add_test(t, dry_run_sends_and_stores_nothing);
	suite_add_tcase(suite, t);
	tcase_add_loop_test(p, schemas_tell_good_from_bad, 0, ARRAY_LEN(samples));
	tcase_add_loop_test(p, answers_name_the_item_before_the_verdict, 0, ARRAY_LEN(keyed));
	tcase_add_loop_test(p, answers_are_found_in_what_models_say, 0, ARRAY_LEN(contents));
	suite_add_tcase(suite, p);
}

SUPPORT_MAIN("explain", cases)
