/* What `gloss train` makes of its options, and its log. */
#include "tests/support.h"

#include <math.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/train_log.h"
#include "cli/train_args.h"

/* ---- Sweeps ------------------------------------------------------------------------------------------------------- */

static const char *given[8]; /* of the last make() */
static cli_parsed parsed;

static int make(train_sweep *s, const char *const *lists, size_t n, error *err)
{
	const char *items[8] = { 0 };
	train_opts o = { .k = 32, .features = 4608, .lr = 0.5 };

	parsed = (cli_parsed){ .given = given };
	memcpy(items, lists, n * sizeof(*lists));
	o.sweep = (option_list){ items, n };
	return train_sweep_make(s, &cmd_train_command, &parsed, &o, err);
}

START_TEST(a_sweep_is_the_product_of_its_lists)
{
	const char *const lists[] = { "lr=1e-3,0.25", "k=8", "seed=3,1,2" };
	const char *const arches[] = { "k=8,16", "arch=topk,groupmax" };
	train_sweep s = { 0 };
	error err = { 0 };

	ck_assert_msg(make(&s, lists, 3, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(s.n, 6);
	for (size_t i = 0; i < 6; i++) {
		const uint64_t seeds[] = { 3, 1, 2 };
		char name[64];

		ck_assert_uint_eq(s.opts[i].k, 8); /* does not vary: not in the name */
		ck_assert_uint_eq(s.opts[i].features, 4608);
		ck_assert_uint_eq(s.opts[i].seed, seeds[i % 3]);
		ck_assert_double_eq(s.opts[i].lr, i < 3 ? 1e-3 : 0.25);
		snprintf(name, sizeof(name), "seed%d-lr%g", (int)seeds[i % 3], s.opts[i].lr);
		ck_assert_str_eq(s.names[i], name);
	}
	train_sweep_clear(&s);
	ck_assert_msg(make(&s, arches, 2, &err) == 0, "%s", err.msg);
	ck_assert_uint_eq(s.n, 4);
	ck_assert_str_eq(s.names[2], "topk-k16");
	ck_assert(cli_given(&parsed, "k") &&
	          cli_given(&parsed, "arch")); /* as if by themselves, but not the user's */
	ck_assert(!cli_given(&parsed, "seed") && !cli_given_own(&parsed, "k"));
	ck_assert_str_eq(s.opts[3].arch, "groupmax");
	train_sweep_clear(&s);
	ck_assert_int_eq(make(&s, lists, 0, &err), 0);
	ck_assert_uint_eq(s.n, 1);
	ck_assert_str_eq(s.names[0], "");
	ck_assert_double_eq(s.opts[0].lr, 0.5);
	train_sweep_clear(&s);
}
END_TEST

START_TEST(a_sweep_has_its_limits)
{
	const struct {
		const char *lists[3];
		const char *message;
	} bad[] = {
		{ { "k=1,2", "k=3" }, "--sweep k is given twice" },
		{ { "k=1,01" }, "--sweep k: 1 is given twice" },
		{ { "arch=topk,vector" }, "--sweep arch 'vector' is not one of topk" },
		{ { "lr=1,-1" }, "--sweep lr -1 is out of range" },
		{ { "=1" }, "--sweep '=1': '' is not one of" },
		{ { "K=1,2" }, "--sweep 'K=1,2': 'K' is not one of" },
		{ { "k=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
		    "seed=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15" },
		  "--sweep asks for 272 SAEs or more, over 256" },
	};
	char many[2048] = "seed=0";

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		train_sweep s = { 0 };
		error err = { 0 };
		size_t n = 0;

		while (n < 3 && bad[i].lists[n])
			n++;
		ck_assert_int_eq(make(&s, bad[i].lists, n, &err), ERR_ARG);
		ck_assert_msg(strncmp(err.msg, bad[i].message, strlen(bad[i].message)) == 0, "%s", err.msg);
		train_sweep_clear(&s);
	}
	for (int i = 1; i < 257; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), ",%d", i);
	{
		const char *const list[] = { many };
		train_sweep s = { 0 };
		error err = { 0 };

		ck_assert_int_eq(make(&s, list, 1, &err), ERR_ARG);
		ck_assert_str_eq(err.msg, "--sweep seed has over 256 values");
		train_sweep_clear(&s);
	}
}
END_TEST

START_TEST(a_sweep_without_memory_is_an_error)
{
	const char *const lists[] = { "k=8,9", "seed=3,1" };

	for (long n = 0;; n++) {
		train_sweep s = { 0 };
		error err = { 0 };
		int rc;

		fault_arm(FAULT_ALLOC, n);
		rc = make(&s, lists, 2, &err);
		if (!fault_disarm(FAULT_ALLOC)) {
			ck_assert_int_eq(rc, 0);
			train_sweep_clear(&s);
			break;
		}
		ck_assert_int_eq(rc, ERR_NOMEM);
		train_sweep_clear(&s);
	}
}
END_TEST

START_TEST(times_have_units)
{
	const struct {
		const char *text;
		double seconds; /* 0: refused */
	} cases[] = { { "90", 90 },  { "90s", 90 }, { "1.5m", 90 }, { "4h", 14400 }, { "2d", 172800 },
		      { "", 0 },     { "s", 0 },    { "-1s", 0 },   { "4hh", 0 },    { "4 h", 0 },
		      { "1e10", 0 }, { "0m", 0 },   { "nan", 0 },   { "90sec", 0 } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		double seconds = 0;
		error err = { 0 };
		int rc = train_parse_time(&seconds, cases[i].text, &err);

		ck_assert_int_eq(rc, cases[i].seconds > 0 ? 0 : ERR_ARG);
		if (rc == 0)
			ck_assert_double_eq(seconds, cases[i].seconds);
		else
			ck_assert_ptr_nonnull(strstr(err.msg, "--time-limit"));
	}
}
END_TEST

/* ---- The log ------------------------------------------------------------------------------------------------------- */

static const char whole[] = "{\"gloss\":\"0\",\"options\":{}}\n"
                            "{\"step\":1,\"fvu\":0.5}\n"
                            "{\"step\":10,\"held_out\":{\"fvu\":0.5}}\n"
                            "not JSON\n"
                            "{\"step\":11,\"fvu\":0.5,\"stopped\":true}\n"
                            "{\"step\":20,\"fvu\":0.5}\n"
                            "{\"step\":12,\"end\":\"saved\"}\n"
                            "{\"step\":12,\"fv";
static const char cut[] = "{\"gloss\":\"0\",\"options\":{}}\n"
                          "{\"step\":1,\"fvu\":0.5}\n"
                          "{\"step\":10,\"held_out\":{\"fvu\":0.5}}\n";

static void check_log(const char *path, const char *want)
{
	char *data;
	size_t n;

	ck_assert_int_eq(file_read(&data, &n, path, 1 << 20, NULL), 0);
	ck_assert_str_eq(data, want);
	free(data);
}

START_TEST(a_log_is_cut_back_or_left_alone)
{
	static const fault_kind kinds[] = { FAULT_ALLOC, FAULT_WRITE, FAULT_SYNC };
	char dir[FILE_PATH_MAX], path[FILE_PATH_MAX];
	error err = { 0 };

	support_mkdir(dir);
	snprintf(path, sizeof(path), "%s", support_path(dir, "train.jsonl"));
	ck_assert_int_eq(train_log_cut(path, 12, &err), 0);
	ck_assert(!file_exists(path));
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (long n = 0;; n++) {
			bool struck;
			int rc;

			support_put_text(path, whole);
			fault_arm(kinds[k], n);
			rc = train_log_cut(path, 12, &err);
			struck = fault_disarm(kinds[k]);
			if (rc == 0) {
				check_log(path, cut);
				if (!struck)
					break;
			} else if (kinds[k] !=
			           FAULT_SYNC) { /* the folder's comes when the log is new already */
				check_log(path, whole);
			}
		}
	support_put_text(path, whole);
	ck_assert_int_eq(train_log_cut(path, 25, &err), 0);
	ck_assert_int_eq(train_log_cut(path, 9, &err), 0);
	check_log(path, "{\"gloss\":\"0\",\"options\":{}}\n{\"step\":1,\"fvu\":0.5}\n");
	support_rmdir(dir);
}
END_TEST

static void cases(Suite *s)
{
	SUPPORT_CASE(s, "options", a_sweep_is_the_product_of_its_lists, a_sweep_has_its_limits,
	             a_sweep_without_memory_is_an_error, times_have_units);
	SUPPORT_CASE(s, "log", a_log_is_cut_back_or_left_alone);
}
SUPPORT_MAIN("train_args", cases)
