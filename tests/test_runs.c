/* What a run's folder says of its state; following its log. */
#include "tests/support.h"

#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "cli/run_log.h"
#include "cli/runs.h"
#include "sae/checkpoint.h"

static char folder[FILE_PATH_MAX];

static void put(const char *name, const char *s)
{
	support_put_text(support_path(folder, name), s);
}

static void age(const char *name)
{
	const struct timespec long_ago[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };

	ck_assert_int_eq(utimensat(AT_FDCWD, support_path(folder, name), long_ago, 0), 0);
}

static void save_checkpoint_of(unsigned step, const char *sweep)
{
	cJSON *config = cJSON_Parse("{\"options\":{\"arch\":\"topk\",\"features\":64,\"k\":4,\"seed\":3},"
	                            "\"plan\":{\"lr\":0.5,\"steps\":20}}"),
	      *done = cJSON_CreateObject();
	float weight = 1;
	checkpoint_array a = { "W", SAE_F32, 1, &weight };
	error err = { 0 };

	cJSON_AddItemToObject(cJSON_GetObjectItem(config, "options"), "sweep", cJSON_Parse(sweep));
	cJSON_AddNumberToObject(done, "step", step);
	ck_assert_msg(checkpoint_save(folder, config, done, &a, 1, &err) == 0, "%s", err.msg);
	cJSON_Delete(done);
	cJSON_Delete(config);
}

static void save_checkpoint(unsigned step)
{
	save_checkpoint_of(step, "[]");
}

static void expect_state(const char *state)
{
	run_info r;
	arena mem = ARENA_INIT;
	char words[600];
	error err = { 0 };

	ck_assert_msg(run_read(&r, folder, &mem, &err) == 0, "%s", err.msg);
	run_state_text(words, sizeof(words), &r);
	ck_assert_msg(strncmp(words, state, strlen(state)) == 0, "'%s', not '%s'", words, state);
	arena_clear(&mem);
}

#define LINE(step)   "{\"step\":" #step ",\"tokens\":" #step "00,\"fvu\":0.5,\"seconds\":1}\n"
#define CONFIG(step) "{\"metadata\":{\"gloss\":{\"steps\":" #step ",\"plan\":{\"steps\":20}}}}"

/* From the first line of the log to the end, in the order of a run's life. */
START_TEST(states_follow_a_run)
{
	run_info r;
	arena mem = ARENA_INIT;
	error err = { 0 };

	support_mkdir(folder);
	ck_assert_int_eq(run_read(&r, folder, &mem, &err), ERR_NOTFOUND);
	put("train.jsonl", LINE(1));
	expect_state("running");
	age("train.jsonl");
	expect_state("cut off");
	save_checkpoint(10);
	expect_state("saved at step 10");
	ck_assert_int_eq(run_read(&r, folder, &mem, &err), 0);
	ck_assert_double_eq(r.features, 64); /* known before there is a cfg.json */
	ck_assert_double_eq(r.seed, 3);
	ck_assert_double_eq(r.steps, 20);
	ck_assert_double_eq(r.lr, 0.5);
	ck_assert_double_eq(r.step, 1);
	ck_assert_str_eq(r.arch, "topk");
	put("train.jsonl", LINE(1) LINE(12));
	expect_state("running");
	put("cfg.json", CONFIG(12)); /* a signal: saved, and said so */
	expect_state("saved at step 10");
	put("train.jsonl", LINE(1) LINE(13)); /* resumed */
	expect_state("running");
	put("train.jsonl", LINE(1) LINE(20));
	put("cfg.json", CONFIG(20));
	expect_state("finished");
	put("train.jsonl", LINE(1) LINE(21)); /* extended */
	expect_state("running");
	put("train.jsonl", LINE(1)); /* begun anew with --force */
	expect_state("running");
	put("train.jsonl", LINE(1) "{\"end\":\"saved\",\"step\":1}\n");
	expect_state("saved at step 10");
	put("train.jsonl", LINE(1) "{\"end\":\"stopped early\",\"step\":1}\n");
	expect_state("stopped early");
	put("train.jsonl", LINE(1) "{\"end\":\"the loss is not finite\",\"step\":1}\n");
	expect_state("lost: the loss is not finite");
	put("train.jsonl", LINE(1) "{\"end\":\"saved\",\"step\":1}\n" LINE(2));
	expect_state("running");
	put("checkpoint/state.safetensors", "damaged");
	expect_state("broken");
	arena_clear(&mem);
	support_rmdir(folder);
}
END_TEST

/* The runs of a sweep are in subfolders, their one checkpoint is above. */
START_TEST(sweeps_share_a_checkpoint)
{
	char above[FILE_PATH_MAX], words[600];
	const char *arg = above;
	run_list l = { 0 };
	error err = { 0 };

	support_mkdir(folder);
	memcpy(above, folder, sizeof(above));
	save_checkpoint_of(10, "[\"k=4,8\"]");
	ck_assert_int_eq(run_list_read(&l, &arg, 1, &err), ERR_NOTFOUND); /* not begun to log */
	run_list_clear(&l);
	ck_assert_int_eq(file_join(folder, above, "k4", &err), 0);
	ck_assert_int_eq(file_mkdir(folder, &err), 0);
	put("train.jsonl", LINE(12));
	age("train.jsonl");
	expect_state("saved at step 10");
	ck_assert_int_eq(run_list_read(&l, &arg, 1, &err), 0);
	ck_assert_uint_eq(l.n, 1);
	run_state_text(words, sizeof(words), &l.runs[0]);
	ck_assert_str_eq(words, "saved at step 10");
	run_list_clear(&l);
	support_rmdir(above);
}
END_TEST

START_TEST(checkpoint_alone_is_a_run)
{
	support_mkdir(folder);
	save_checkpoint(7);
	expect_state("saved at step 7");
	support_rmdir(folder);
}
END_TEST

static void append(const char *s)
{
	FILE *f = fopen(support_path(folder, "train.jsonl"), "a");

	ck_assert_ptr_nonnull(f);
	fputs(s, f);
	fclose(f);
}

static void replace(const char *s)
{
	error err = { 0 };

	ck_assert_int_eq(file_write(support_path(folder, "train.jsonl"), s, strlen(s), &err), 0);
}

/* Writes a run's log piece by piece, is killed, cut back and resumed, once slowly and once at once, and ends. */
static void *write_log(void *unused)
{
	const struct timespec pause = { .tv_nsec = 600000000 };

	(void)unused;
	append(LINE(1));
	nanosleep(&pause, NULL);
	append(LINE(2) "{\"step\":3,");
	nanosleep(&pause, NULL);
	ck_assert_int_eq(truncate(support_path(folder, "train.jsonl"), sizeof(LINE(1)) - 1), 0);
	nanosleep(&pause, NULL);
	append(LINE(2));
	nanosleep(&pause, NULL);
	append(LINE(3));
	nanosleep(&pause, NULL);
	replace(LINE(1) "{\"step\":2}\n" LINE(3) LINE(4));
	nanosleep(&pause, NULL);
	append(LINE(5) "{\"end\":\"finished\"}\n");
	return NULL;
}

START_TEST(log_is_followed_through_a_resume)
{
	char out[FILE_PATH_MAX], *text_read;
	size_t n;
	int saved;
	pthread_t writer;
	error err = { 0 };

	support_mkdir(folder);
	append("");
	snprintf(out, sizeof(out), "%s", support_path(folder, "out"));
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	ck_assert_ptr_nonnull(freopen(out, "w", stdout));
	ck_assert_int_eq(pthread_create(&writer, NULL, write_log, NULL), 0);
	ck_assert_msg(run_log_follow(folder, &err) == 0, "%s", err.msg);
	pthread_join(writer, NULL);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	ck_assert_int_eq(file_read(&text_read, &n, out, 1000, &err), 0);
	ck_assert_str_eq(text_read,
	                 LINE(1) LINE(2) LINE(2) LINE(3) LINE(4) LINE(5) "{\"end\":\"finished\"}\n");
	free(text_read);
	support_rmdir(folder);
}
END_TEST

static int count_line(void *payload, const cJSON *line)
{
	(void)line;
	++*(int *)payload;
	return 0;
}

START_TEST(logs_are_read_with_care)
{
	static const struct {
		const char *log;
		int lines;
		const char *message; /* NULL: none */
	} cases[] = {
		{ "", 0, NULL },
		{ "{}\n{}\n", 2, NULL },
		{ "{}\n{\"cut", 1, NULL },
		{ "{}\n\n{}\n", 1, "line 2 is not a JSON object" },
		{ "{}\n[]\n", 1, "line 2 is not a JSON object" },
		{ "\xff\n", 0, "line 1 is not a JSON object" },
		{ "{\"a\":1,\"a\":2}\n", 0, "line 1 is not a JSON object" },
	};

	support_mkdir(folder);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int lines = 0;
		error err = { 0 };

		put("log", cases[i].log);
		ck_assert_int_eq(run_log_read(support_path(folder, "log"), count_line, &lines, &err),
		                 cases[i].message ? ERR_FORMAT : 0);
		ck_assert_int_eq(lines, cases[i].lines);
		ck_assert_msg(!cases[i].message || strstr(err.msg, cases[i].message), "%s", err.msg);
	}
	support_rmdir(folder);
}
END_TEST

START_TEST(numbers_are_found_by_path)
{
	cJSON *o = cJSON_Parse("{\"a\":1,\"b\":{\"c\":2,\"d\":\"x\"},\"e\":null}");

	ck_assert_double_eq(run_log_number(o, "a"), 1);
	ck_assert_double_eq(run_log_number(o, "b.c"), 2);
	ck_assert(isnan(run_log_number(o, "b")));
	ck_assert(isnan(run_log_number(o, "b.d")));
	ck_assert(isnan(run_log_number(o, "a.b")));
	ck_assert(isnan(run_log_number(o, "e")));
	ck_assert(isnan(run_log_number(o, "nothing.at.all")));
	ck_assert(isnan(run_log_number(NULL, "a")));
	cJSON_Delete(o);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "states", states_follow_a_run, checkpoint_alone_is_a_run, sweeps_share_a_checkpoint);
	SUPPORT_CASE(s, "logs", log_is_followed_through_a_resume, logs_are_read_with_care,
	             numbers_are_found_by_path);
}
SUPPORT_MAIN("runs", cases)
