/* Checkpoints: round trip, damage of every kind, what a failed save leaves, comparing configurations. */
#include "tests/support.h"

#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sae/checkpoint.h"

enum { N_WEIGHTS = 37, N_SUMS = 5, N_FLAGS = 3, N_COUNTS = 4, N_WORDS = 6, N_ARRAYS = 5 };

typedef struct state {
	float weights[N_WEIGHTS];
	double sums[N_SUMS];
	uint8_t flags[N_FLAGS];
	uint32_t counts[N_COUNTS];
	uint64_t words[N_WORDS];
	checkpoint_array arrays[N_ARRAYS];
	cJSON *config, *progress;
} state;

static void state_init(state *s, uint64_t seed)
{
	*s = (state){ 0 };
	for (size_t i = 0; i < N_WEIGHTS; i++)
		s->weights[i] = (float)hash64_unit(hash64_mix(seed, i));
	for (size_t i = 0; i < N_SUMS; i++)
		s->sums[i] = hash64_unit(hash64_mix(seed, 100 + i));
	for (size_t i = 0; i < N_FLAGS; i++)
		s->flags[i] = (uint8_t)hash64_mix(seed, 200 + i);
	for (size_t i = 0; i < N_COUNTS; i++)
		s->counts[i] = (uint32_t)hash64_mix(seed, 300 + i);
	for (size_t i = 0; i < N_WORDS; i++)
		s->words[i] = hash64_mix(seed, 400 + i);
	s->arrays[0] = (checkpoint_array){ "W_enc", SAE_F32, N_WEIGHTS, s->weights };
	s->arrays[1] = (checkpoint_array){ "scalars", SAE_F64, N_SUMS, s->sums };
	s->arrays[2] = (checkpoint_array){ "flags", SAE_U8, N_FLAGS, s->flags };
	s->arrays[3] = (checkpoint_array){ "counts", SAE_U32, N_COUNTS, s->counts };
	s->arrays[4] = (checkpoint_array){ "silent", SAE_U64, N_WORDS, s->words };
	s->config = cJSON_Parse("{\"k\":32,\"name\":\"caf\\u00e9 \\\"x\\\"\",\"plan\":{\"lr\":2e-4}}");
	s->progress = cJSON_CreateObject();
	cJSON_AddNumberToObject(s->progress, "step", (double)seed);
}

static void state_clear(state *s)
{
	cJSON_Delete(s->config);
	cJSON_Delete(s->progress);
}

static int state_save(const state *s, const char *dir, error *err)
{
	return checkpoint_save(dir, s->config, s->progress, s->arrays, N_ARRAYS, err);
}

/* Opens and reads into `s`, whose arrays it overwrites; *step is set on success. */
static int state_read(state *s, const char *dir, uint64_t *step, error *err)
{
	checkpoint *c = NULL;
	int rc = checkpoint_open(&c, dir, err);

	if (rc < 0) {
		ck_assert_ptr_null(c);
		return rc;
	}
	rc = checkpoint_read(c, s->arrays, N_ARRAYS, err);
	if (rc == 0)
		rc = json_get_u64(step, checkpoint_progress(c), "step", "progress", err);
	checkpoint_close(c);
	return rc;
}

/* What is on disk is the state of `seed`, all of it. */
static void expect_saved(const char *dir, uint64_t seed)
{
	state want, got;
	uint64_t step = 0;
	error err = { 0 };

	state_init(&want, seed);
	state_init(&got, seed + 1000);
	ck_assert_msg(state_read(&got, dir, &step, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(step, seed);
	for (size_t i = 0; i < N_ARRAYS; i++)
		ck_assert_mem_eq(got.arrays[i].data, want.arrays[i].data,
		                 want.arrays[i].n * sae_dtype_size(want.arrays[i].dtype));
	state_clear(&got);
	state_clear(&want);
}

static const char *state_file(const char *dir)
{
	return support_path(dir, "checkpoint/state.safetensors");
}

static void expect_refusal(const char *dir, int code, const char *part)
{
	state s;
	uint64_t step = 0;
	error err = { 0 };

	state_init(&s, 1);
	ck_assert_int_eq(state_read(&s, dir, &step, &err), code);
	ck_assert_msg(strstr(err.msg, part) != NULL, "'%s' lacks '%s'", err.msg, part);
	state_clear(&s);
}

START_TEST(saved_is_read)
{
	char dir[FILE_PATH_MAX], *config;
	checkpoint *c = NULL;
	sae_file *file = NULL;
	state s;
	error err = { 0 };

	support_mkdir(dir);
	ck_assert(!checkpoint_exists(dir));
	state_init(&s, 7);
	ck_assert_msg(state_save(&s, dir, &err) == 0, "%s", err.msg);
	ck_assert(checkpoint_exists(dir));
	expect_saved(dir, 7);
	state_clear(&s);
	state_init(&s, 8); /* over the one before */
	ck_assert_msg(state_save(&s, dir, &err) == 0, "%s", err.msg);
	expect_saved(dir, 8);
	ck_assert_int_eq(checkpoint_open(&c, dir, &err), 0);
	config = json_print(checkpoint_config(c));
	ck_assert_str_eq(config, "{\"k\":32,\"name\":\"café \\\"x\\\"\",\"plan\":{\"lr\":0.0002}}");
	ck_assert_uint_eq(checkpoint_array_n(c, "counts"), N_COUNTS);
	ck_assert_uint_eq(checkpoint_array_n(c, "nothing"), 0);
	/* some of the arrays alone; the rest is hashed all the same */
	ck_assert_msg(checkpoint_read(c, s.arrays + 1, 2, &err) == 0, "%s", err.msg);
	ck_assert_msg(checkpoint_read(c, NULL, 0, &err) == 0, "%s", err.msg);
	free(config);
	checkpoint_close(c);
	ck_assert_int_eq(sae_file_open(&file, state_file(dir), &err), 0); /* any tool can look */
	ck_assert_uint_eq(sae_file_n_tensors(file), N_ARRAYS);
	sae_file_close(file);
	state_clear(&s);
	support_rmdir(dir);
}
END_TEST

START_TEST(forecast_is_not_too_small)
{
	char dir[FILE_PATH_MAX], *data = NULL;
	size_t length = 0;
	state s;
	error err = { 0 };

	support_mkdir(dir);
	state_init(&s, 1);
	ck_assert_int_eq(state_save(&s, dir, &err), 0);
	ck_assert_int_eq(file_read(&data, &length, state_file(dir), 1 << 20, &err), 0);
	ck_assert_uint_le(length, checkpoint_bytes(s.arrays, N_ARRAYS));
	ck_assert_uint_ge(length + (1 << 17), checkpoint_bytes(s.arrays, N_ARRAYS));
	ck_assert_int_eq(checkpoint_check_space(dir, length, &err), 0);
	ck_assert_int_eq(checkpoint_check_space(support_path(dir, "not/made/yet"), length, &err), 0);
	ck_assert_int_eq(checkpoint_check_space("neither-made", length, &err), 0);
	ck_assert_int_eq(checkpoint_check_space(dir, UINT64_MAX, &err), ERR_LIMIT);
	ck_assert_msg(strstr(err.msg, "18446744073709551615 bytes are needed") != NULL, "%s", err.msg);
	free(data);
	state_clear(&s);
	support_rmdir(dir);
}
END_TEST

/* Every length short of the whole, and every byte changed in three ways. */
START_TEST(damage_is_found)
{
	static const unsigned char flips[] = { 0x01, 0x80, 0xff };
	char dir[FILE_PATH_MAX], *data = NULL;
	size_t length = 0;
	state s;
	error err = { 0 };

	support_mkdir(dir);
	state_init(&s, 1);
	ck_assert_int_eq(state_save(&s, dir, &err), 0);
	ck_assert_int_eq(file_read(&data, &length, state_file(dir), 1 << 20, &err), 0);
	for (size_t n = 0; n < length; n++) {
		uint64_t step;

		support_put(state_file(dir), data, n);
		ck_assert_msg(state_read(&s, dir, &step, &err) < 0, "cut at byte %zu", n);
	}
	for (size_t i = 0; i < length; i++)
		for (size_t f = 0; f < sizeof(flips); f++) {
			uint64_t step;

			data[i] = (char)(data[i] ^ flips[f]);
			support_put(state_file(dir), data, length);
			ck_assert_msg(state_read(&s, dir, &step, &err) < 0, "byte %zu changed by %u", i,
			              (unsigned)flips[f]);
			data[i] = (char)(data[i] ^ flips[f]);
		}
	support_put(state_file(dir), data, length);
	expect_saved(dir, 1);
	free(data);
	state_clear(&s);
	support_rmdir(dir);
}
END_TEST

START_TEST(hostile_headers_are_refused)
{
	static const struct {
		const char *metadata[12];
		size_t n;
		const char *message;
	} cases[] = {
		{ { "k", "v" }, 1, "is not a gloss checkpoint" },
		{ { "format", "other", "version", "1" }, 2, "is not a gloss checkpoint" },
		{ { "format", "gloss checkpoint" }, 1, "is not a gloss checkpoint" },
		{ { "format", "gloss checkpoint", "version", "2" },
		  2,
		  "of version 2, this gloss reads versions up to 1" },
		{ { "format", "gloss checkpoint", "version", "99999999999999999999999" }, 2, "up to 1" },
		{ { "format", "gloss checkpoint", "version", "-1" }, 2, "not a number" },
		{ { "format", "gloss checkpoint", "version", "0" }, 2, "not a number" },
		{ { "format", "gloss checkpoint", "version", "1x" }, 2, "not a number" },
		{ { "format", "gloss checkpoint", "version", "" }, 2, "not a number" },
		{ { "format", "gloss checkpoint", "version", "1" }, 2, "lacks its configuration" },
		{ { "format", "gloss checkpoint", "version", "1", "config", "{}", "progress", "{}",
		    "sha256_header", "00", "sha256", "00" },
		  6,
		  "is damaged" },
	};
	char dir[FILE_PATH_MAX];
	error err = { 0 };

	support_mkdir(dir);
	expect_refusal(dir, ERR_NOTFOUND, "no checkpoint in");
	ck_assert_int_eq(file_mkdir(support_path(dir, "checkpoint"), &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(
		        sae_safetensors_write(state_file(dir), NULL, 0, cases[i].metadata, cases[i].n, &err),
		        0);
		expect_refusal(dir, ERR_FORMAT, cases[i].message);
	}
	support_put(state_file(dir), "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
	expect_refusal(dir, ERR_LIMIT, "claims");
	support_put(state_file(dir), "not a checkpoint", 16);
	expect_refusal(dir, ERR_FORMAT, "is no safetensors");
	support_rmdir(dir);
}
END_TEST

START_TEST(other_arrays_are_named)
{
	static const struct {
		checkpoint_array array;
		const char *message;
	} cases[] = {
		{ { "W_dec", SAE_F32, N_WEIGHTS, NULL }, "has no array 'W_dec'" },
		{ { "W_enc", SAE_F32, N_WEIGHTS + 1, NULL },
		  "array 'W_enc' has 37 values of F32, the run needs 38 of F32" },
		{ { "counts", SAE_F32, N_COUNTS, NULL },
		  "array 'counts' has 4 values of U32, the run needs 4 of F32" },
	};
	char dir[FILE_PATH_MAX];
	checkpoint *c = NULL;
	state s;
	error err = { 0 };

	support_mkdir(dir);
	state_init(&s, 1);
	ck_assert_int_eq(state_save(&s, dir, &err), 0);
	ck_assert_int_eq(checkpoint_open(&c, dir, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		float kept = s.weights[0] = 123;

		s.arrays[1] = cases[i].array; /* the second: nothing is read into the first either */
		ck_assert_int_eq(checkpoint_read(c, s.arrays, 2, &err), ERR_FORMAT);
		ck_assert_msg(strstr(err.msg, cases[i].message) != NULL, "%s", err.msg);
		ck_assert(s.weights[0] == kept);
	}
	checkpoint_close(c);
	state_clear(&s);
	support_rmdir(dir);
}
END_TEST

START_TEST(failed_saves_leave_the_last_one)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_WRITE, FAULT_SYNC };
	char dir[FILE_PATH_MAX];
	state old, new;

	support_mkdir(dir);
	state_init(&old, 1);
	state_init(&new, 2);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (long n = 0;; n++) {
			error err = { 0 };
			int rc = state_save(&old, dir, &err);
			bool struck;

			ck_assert_msg(rc == 0, "%s", err.msg);
			fault_arm(kinds[k], n);
			rc = state_save(&new, dir, &err);
			struck = fault_disarm(kinds[k]);
			if (!struck) {
				ck_assert_int_eq(rc, 0);
				ck_assert_int_gt(n, 0);
				expect_saved(dir, 2);
				break;
			}
			ck_assert_int_eq(rc, kinds[k] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO);
			/* only the folder's sync comes behind the rename: the new one, whole */
			expect_saved(dir, kinds[k] == FAULT_SYNC && n == 1 ? 2 : 1);
		}
	state_clear(&new);
	state_clear(&old);
	support_rmdir(dir);
}
END_TEST

START_TEST(failed_reads_are_errors)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_READ };
	char dir[FILE_PATH_MAX];
	state s;
	error err = { 0 };

	support_mkdir(dir);
	state_init(&s, 1);
	ck_assert_int_eq(state_save(&s, dir, &err), 0);
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (long n = 0;; n++) {
			checkpoint *c = NULL;
			bool struck;
			int rc;

			fault_arm(kinds[k], n);
			rc = checkpoint_open(&c, dir, &err);
			if (rc == 0)
				rc = checkpoint_read(c, s.arrays, N_ARRAYS, &err);
			else if (c)
				rc = 1; /* *out must stay NULL */
			struck = fault_disarm(kinds[k]);
			checkpoint_close(c);
			if (!struck) {
				ck_assert_int_eq(rc, 0);
				ck_assert_int_gt(n, 3);
				break;
			}
			ck_assert_int_eq(rc, kinds[k] == FAULT_ALLOC ? ERR_NOMEM : ERR_IO);
		}
	state_clear(&s);
	support_rmdir(dir);
}
END_TEST

START_TEST(leftovers_do_no_harm)
{
	char dir[FILE_PATH_MAX];
	state s;
	error err = { 0 };

	support_mkdir(dir);
	state_init(&s, 1);
	ck_assert_int_eq(file_mkdir(support_path(dir, "checkpoint"), &err), 0);
	support_put_text(support_path(dir, "checkpoint/state.safetensors.0123abcd.part"), "cut off");
	support_put_text(support_path(dir, "checkpoint/other.part"), "not ours");
	ck_assert(!checkpoint_exists(dir));
	ck_assert_int_eq(state_save(&s, dir, &err), 0);
	expect_saved(dir, 1);
	ck_assert(!file_exists(support_path(dir, "checkpoint/state.safetensors.0123abcd.part")));
	ck_assert(file_exists(support_path(dir, "checkpoint/other.part")));
	state_clear(&s);
	support_rmdir(dir);
}
END_TEST

/* Saves states whose weights and step agree, one after the other, until it is killed. */
static void save_for_ever(const char *dir)
{
	const size_t n = 500000;
	float *weights = calloc(n, sizeof(*weights));
	const checkpoint_array a = { "W_enc", SAE_F32, n, weights };

	for (unsigned step = 1;; step++) {
		cJSON *done = cJSON_CreateObject(), *config = cJSON_CreateObject();

		cJSON_AddNumberToObject(done, "step", step);
		for (size_t i = 0; i < n; i++)
			weights[i] = (float)step;
		if (checkpoint_save(dir, config, done, &a, 1, NULL) < 0)
			_exit(1);
		cJSON_Delete(done);
		cJSON_Delete(config);
	}
}

START_TEST(killed_saves_leave_a_whole_one)
{
	const size_t n = 500000;
	float *weights = calloc(n, sizeof(*weights));
	const checkpoint_array a = { "W_enc", SAE_F32, n, weights };
	char dir[FILE_PATH_MAX];

	support_mkdir(dir);
	for (unsigned i = 0; i < 12; i++) {
		const struct timespec pause = { .tv_nsec = (long)(5000000 + hash64_mix(1, i) % 40000000) };
		checkpoint *c = NULL;
		uint64_t step = 0;
		pid_t child = fork();
		error err = { 0 };

		if (child == 0)
			save_for_ever(dir);
		for (unsigned waited = 0; waited < 1000 && !checkpoint_exists(dir); waited++)
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
		nanosleep(&pause, NULL);
		ck_assert_int_eq(kill(child, SIGKILL), 0);
		ck_assert_int_eq(waitpid(child, NULL, 0), child);
		ck_assert_msg(checkpoint_open(&c, dir, &err) == 0, "%s", err.msg);
		ck_assert_msg(checkpoint_read(c, &a, 1, &err) == 0, "%s", err.msg);
		ck_assert_int_eq(json_get_u64(&step, checkpoint_progress(c), "step", "progress", &err), 0);
		ck_assert(weights[0] == (float)step && weights[n - 1] == (float)step);
		checkpoint_close(c);
	}
	free(weights);
	support_rmdir(dir);
}
END_TEST

/* A file system that really is full: only root may mount one. */
START_TEST(full_disk_leaves_the_last_one)
{
	char dir[FILE_PATH_MAX];
	const size_t n = 100000; /* two do not fit in 512 KiB */
	float *data = calloc(n, sizeof(*data));
	checkpoint_array big = { "W_enc", SAE_F32, n, data };
	checkpoint *c = NULL;
	state s;
	error err = { 0 };

	support_mkdir(dir);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=512k") == 0) {
		state_init(&s, 1);
		ck_assert_int_eq(checkpoint_check_space(dir, checkpoint_bytes(&big, 1), &err), 0);
		ck_assert_msg(checkpoint_save(dir, s.config, s.progress, &big, 1, &err) == 0, "%s", err.msg);
		ck_assert_int_eq(checkpoint_check_space(dir, checkpoint_bytes(&big, 1), &err), ERR_LIMIT);
		data[0] = 1;
		ck_assert_int_eq(checkpoint_save(dir, s.config, s.progress, &big, 1, &err), ERR_IO);
		ck_assert_msg(strstr(err.msg, "No space left") != NULL, "%s", err.msg);
		ck_assert_int_eq(checkpoint_open(&c, dir, &err), 0);
		ck_assert_int_eq(checkpoint_read(c, &big, 1, &err), 0);
		ck_assert(data[0] == 0);
		checkpoint_close(c);
		state_clear(&s);
		ck_assert_int_eq(umount(dir), 0);
	}
	free(data);
	support_rmdir(dir);
}
END_TEST

START_TEST(differences_are_named)
{
	static const char *const ignore[] = { "threads", "plan.when", NULL };
	static const struct {
		const char *saved, *now, *message; /* NULL: the same */
	} cases[] = {
		{ "{\"k\":32,\"lr\":2e-4}", "{\"lr\":0.0002,\"k\":32}", NULL },
		{ "{\"k\":32}", "{\"k\":64}", "option 'k' is 32 in the checkpoint, 64 now" },
		{ "{\"threads\":1,\"plan\":{\"when\":2}}", "{\"threads\":2}", NULL },
		{ "{\"k\":null}", "{}", NULL },
		{ "{\"arch\":\"topk\"}", "{}", "option 'arch' is \"topk\" in the checkpoint, not given now" },
		{ "{}", "{\"arch\":\"topk\"}", "option 'arch' is not given in the checkpoint, \"topk\" now" },
		{ "{\"plan\":{\"lr\":1}}", "{\"plan\":{\"lr\":2}}",
		  "option 'plan.lr' is 1 in the checkpoint, 2 now" },
		{ "{\"plan\":{\"lr\":1}}", "{\"plan\":3}",
		  "option 'plan' is {\"lr\":1} in the checkpoint, 3 now" },
		{ "{\"dump\":[\"a\"]}", "{\"dump\":[\"a\",\"b\"]}",
		  "option 'dump' is [\"a\"] in the checkpoint, [\"a\",\"b\"] now" },
		{ "{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1}", "{}",
		  "option 'a' is 1 in the checkpoint, not given now; option 'b' is 1 in the checkpoint, not "
		  "given "
		  "now; option 'c' is 1 in the checkpoint, not given now; option 'd' is 1 in the checkpoint, "
		  "not "
		  "given now; and 2 more" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cJSON *saved = cJSON_Parse(cases[i].saved), *now = cJSON_Parse(cases[i].now);
		error err = { 0 };

		ck_assert_int_eq(checkpoint_compare(saved, now, ignore, &err),
		                 cases[i].message ? ERR_ARG : 0);
		ck_assert_str_eq(err.msg, cases[i].message ? cases[i].message : "");
		cJSON_Delete(now);
		cJSON_Delete(saved);
	}
}
END_TEST

START_TEST(comparing_needs_memory)
{
	cJSON *saved = cJSON_Parse("{\"k\":32,\"plan\":{\"lr\":1}}"),
	      *now = cJSON_Parse("{\"k\":64,\"plan\":{}}");

	for (long n = 0;; n++) {
		error err = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = checkpoint_compare(saved, now, NULL, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, ERR_ARG);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
	}
	cJSON_Delete(now);
	cJSON_Delete(saved);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "saving", saved_is_read, forecast_is_not_too_small, failed_saves_leave_the_last_one,
	             leftovers_do_no_harm, killed_saves_leave_a_whole_one, full_disk_leaves_the_last_one);
	SUPPORT_CASE(s, "reading", damage_is_found, hostile_headers_are_refused, other_arrays_are_named,
	             failed_reads_are_errors);
	SUPPORT_CASE(s, "comparing", differences_are_named, comparing_needs_memory);
}
SUPPORT_MAIN("checkpoint", cases)
