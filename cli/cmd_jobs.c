/* gloss jobs: what explain and score have to do, did, and cost; going on with it, or not. */
#include "cli/cli_internal.h"
#include "cli/commands.h"
#include "cli/explain_args.h"
#include "cli/page.h"
#include "cli/store_args.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REASONS = 5 };

typedef struct jobs_opts {
	explain_args args;
	bool refused, all;
	const char *out;
	uint32_t older_than;
} jobs_opts;

static const option options[] = {
	STORE_ARG_OPTION(jobs_opts, args),
	EXPLAIN_ENDPOINT_OPTIONS(jobs_opts, args),
	OPTION(jobs_opts, args.sae, "sae", 0, OPTION_STRING, "DIR", NULL, 0, 0,
	       "resume: where the SAE is now that the job was begun with"),
	OPTION(jobs_opts, refused, "refused", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "retry: also what the model refused and what a content filter stopped"),
	OPTION(jobs_opts, all, "all", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "retry: what is done too, so that resume --replay reads all replies again"),
	OPTION(jobs_opts, older_than, "older-than", 0, OPTION_U32, "DAYS", "0", 0, 100000,
	       "gc: only replies that are at least so old"),
	OPTION(jobs_opts, args.dry_run, "dry-run", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "gc: say what would be dropped, drop nothing"),
	OPTION(jobs_opts, out, "output", 'o', OPTION_STRING, "FILE", NULL, 0, 0, "export: to this file"),
};

/* ---- Showing --------------------------------------------------------------------------------------------------------- */

static double over(const cJSON *job)
{
	return answer_number(job, "done") + answer_number(job, "skipped") + answer_number(job, "refused") +
	       answer_number(job, "filtered") + answer_number(job, "failed");
}

static int add_job(cli_table *t, const cJSON *job)
{
	int rc = number_cell(t, answer_number(job, "id"), 10);

	if (!rc)
		rc = string_cell(t, answer_string(job, "kind"));
	if (!rc)
		rc = string_cell(t, answer_string(job, "source"));
	if (!rc)
		rc = string_cell(t, answer_string(job, "model"));
	if (!rc)
		rc = string_cell(t, answer_string(job, "state"));
	if (!rc)
		rc = cli_table_cell(t, "%.0f/%.0f", over(job), answer_number(job, "tasks"));
	if (!rc)
		rc = number_cell(t, answer_number(job, "failed"), 10);
	if (!rc)
		rc = cli_table_cell(t, "%.0f+%.0f", answer_number(job, "input_tokens"),
		                    answer_number(job, "output_tokens"));
	if (!rc)
		rc = number_cell(t, answer_number(job, "cost"), 6);
	return rc ? rc : string_cell(t, answer_string(job, "created"));
}

static int print_jobs(const cJSON *page, error *err)
{
	static const cli_column columns[] = { { "job", true, 0 },      { "kind", false, 0 },
		                              { "source", false, 24 }, { "model", false, 30 },
		                              { "state", false, 0 },   { "tasks", true, 0 },
		                              { "failed", true, 0 },   { "tokens", true, 0 },
		                              { "cost", true, 0 },     { "created", false, 0 } };
	const cJSON *jobs = cJSON_GetObjectItem(page, "jobs");

	if (!cJSON_GetArraySize(jobs)) {
		printf("no jobs\n");
		return 0;
	}
	return page_print_rows(jobs, columns, ARRAY_LEN(columns), add_job, err);
}

static void print_line(const char *name, const char *value)
{
	if (!value)
		return;
	printf("%-10s ", name);
	cli_put(value);
	printf("\n");
}

static void print_json(const char *name, const cJSON *value)
{
	char *printed = json_print(value);

	print_line(name, printed);
	free(printed);
}

static void print_states(const cJSON *job)
{
	static const char *const states[] = { "done",    "waiting", "running", "failed",
		                              "skipped", "refused", "filtered" };

	printf("%-10s %.0f:", "tasks", answer_number(job, "tasks"));
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (answer_number(job, states[i]) > 0)
			printf(" %s %.0f", states[i], answer_number(job, states[i]));
	printf("\n");
}

static void print_workers(const cJSON *job)
{
	const cJSON *w;

	cJSON_ArrayForEach(w, cJSON_GetObjectItem(job, "at_work"))
	{
		printf("%-10s process %.0f since %s, heartbeat %s, %.0f tasks%s\n", "worker",
		       answer_number(w, "pid"), answer_string(w, "since"), answer_string(w, "heartbeat"),
		       answer_number(w, "tasks"),
		       cJSON_IsTrue(cJSON_GetObjectItem(w, "gone")) ? ", gone" : "");
	}
}

static void print_reasons(const cJSON *job)
{
	const cJSON *r;
	int n = 0;

	cJSON_ArrayForEach(r, cJSON_GetObjectItem(job, "reasons"))
	{
		if (n++ == REASONS) {
			printf("and other reasons: --json lists them\n");
			return;
		}
		printf("%-10s %.0f, such as feature %.0f: ", answer_string(r, "state"),
		       answer_number(r, "tasks"), answer_number(r, "feature"));
		cli_put(answer_string(r, "error"));
		printf("\n");
	}
}

/* What came of all requests of a job, whoever sent them. */
static void print_sent(const cJSON *job)
{
	static const struct {
		const char *name, *shown;
	} ends[] = { { "replies", "answered" },
		     { "limited_requests", "answered 429" },
		     { "lost_requests", "lost" },
		     { "in_flight", "in flight" } };
	const cJSON *stages = cJSON_GetObjectItem(cJSON_GetObjectItem(job, "sent"), "stages"), *stage;
	double sums[ARRAY_LEN(ends)] = { 0 }, all = 0, others;

	cJSON_ArrayForEach(stage, stages)
	{
		all += answer_number(stage, "requests") + answer_number(stage, "in_flight");
		for (size_t i = 0; i < ARRAY_LEN(ends); i++)
			sums[i] += answer_number(stage, ends[i].name);
	}
	if (!(all > 0))
		return;
	others = all;
	printf("%-10s %.0f:", "requests", all);
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		others -= sums[i];
		if (i == 0 || sums[i] > 0)
			printf("%s %s %.0f", i ? "," : "", ends[i].shown, sums[i]);
	}
	if (others > 0)
		printf(", other errors %.0f", others);
	printf("\n");
}

static int print_job(const cJSON *job)
{
	printf("job %.0f: %s %s\n", answer_number(job, "id"), answer_string(job, "kind"),
	       answer_string(job, "state"));
	print_line("source", answer_string(job, "source"));
	print_line("model", answer_string(job, "model"));
	print_line("endpoint", answer_string(job, "endpoint"));
	print_line("created", answer_string(job, "created"));
	print_line("finished", answer_string(job, "finished"));
	print_line("why", answer_string(job, "error"));
	print_states(job);
	printf("%-10s %.0f input (%.0f cached), %.0f output\n", "tokens", answer_number(job, "input_tokens"),
	       answer_number(job, "cached_tokens"), answer_number(job, "output_tokens"));
	if (!isnan(answer_number(job, "cost")))
		printf("%-10s %.6g\n", "cost", answer_number(job, "cost"));
	print_sent(job);
	print_line("log", answer_string(job, "log_error"));
	print_json("settings", cJSON_GetObjectItem(job, "settings"));
	print_json("server", cJSON_GetObjectItem(job, "capabilities"));
	print_workers(job);
	print_reasons(job);
	return 0;
}

/* ---- Going on ---------------------------------------------------------------------------------------------------------- */

/* The options that the job was started with hold where this command line says nothing. */
static int take_options(jobs_opts *o, cli_parsed *p, const char *json, error *err)
{
	cJSON *kept = NULL;
	char shown[64];
	int rc = json_parse(&kept, json, strlen(json), 1 << 20, 8, "the job's options", err);

	for (size_t i = 0; i < ARRAY_LEN(options) && rc == 0; i++) {
		const cJSON *value = cJSON_GetObjectItemCaseSensitive(kept, options[i].name);

		if (!value || cJSON_IsNull(value) || cli_given(p, options[i].name))
			continue;
		snprintf(shown, sizeof(shown), "the job's --%s", options[i].name);
		rc = cli_option_set_json(o, &options[i], value, &p->mem, shown, err);
	}
	cJSON_Delete(kept);
	return rc;
}

/* What the session is to be: the job's endpoint, and its options. */
static int prepare(jobs_opts *o, cli_parsed *p, int64_t job, error *err)
{
	store *s = NULL;
	store_job j;
	int rc;

	rc = o->args.store ? store_open(&s, o->args.store, STORE_WRITE, err)
	                   : error_set(err, ERR_ARG, "which store? give -d FILE");
	if (rc == 0)
		rc = store_job_get(&j, s, job, &p->mem, err);
	if (rc == 0) {
		o->args.base_url = j.endpoint;
		o->args.model = j.model;
		rc = take_options(o, p, j.options, err);
	}
	store_close(s);
	return rc;
}

static int resume(const command *self, jobs_opts *o, cli_parsed *p, int64_t job)
{
	explain_session x = { 0 };
	cJSON *summary = NULL;
	error err = { 0 };
	bool labels;
	int rc, code, printed;

	rc = prepare(o, p, job, &err);
	if (rc == 0)
		rc = explain_session_begin(&x, &o->args, p, self, o, &err);
	if (rc == 0) {
		x.opts.options = NULL; /* those it was started with stay */
		rc = explain_resume(&summary, x.s, job, &x.opts, &err);
		progress_end(&x.progress);
	}
	if (rc < 0) {
		code = cli_fail(self, &err);
		goto out;
	}
	code = explain_exit_code(summary);
	if (p->common.json) {
		printed = cli_print_json(self, summary);
		summary = NULL;
		code = printed == EXIT_DONE ? code : printed;
		goto out;
	}
	labels = strcmp(answer_string(summary, "kind"), "explain") == 0;
	explain_print_reasons(summary, "failed", REASONS);
	explain_print_counts(summary, labels ? "labelled" : "scored");
out:
	cJSON_Delete(summary);
	explain_session_end(&x);
	return code;
}

/* ---- The command ---------------------------------------------------------------------------------------------------------- */

typedef struct action {
	const char *name;
	bool one, writes; /* of one job; to the store */
	int (*run)(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err);
	int (*print)(const cJSON *page, error *err);
} action;

static int ask_list(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err)
{
	(void)job;
	(void)o;
	return store_jobs_page(page, s, err);
}

/* NULL where there is none: asking makes none. */
static int open_log(store_log **out, store *s, error *err)
{
	char path[FILE_PATH_MAX];

	*out = NULL;
	snprintf(path, sizeof(path), "%s.requests", store_path(s));
	return access(path, F_OK) == 0 ? store_log_open(out, store_path(s), err) : 0;
}

/* With what it has sent, as the request log knows it; "log_error": that cannot be read. Not where there is no log. */
static int ask_show(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err)
{
	store_log *log = NULL;
	cJSON *spent = NULL;
	error why = { 0 };
	int rc = store_job_page(page, s, job, err);

	(void)o;
	if (rc < 0)
		return rc;
	rc = open_log(&log, s, &why);
	if (rc == 0 && !log)
		return 0;
	if (rc == 0)
		rc = store_log_cost(&spent, log, answer_string(*page, "uid"), &why);
	store_log_close(log);
	if (rc == 0 ? !cJSON_AddItemToObject(*page, "sent", spent)
	            : !cJSON_AddStringToObject(*page, "log_error", why.msg)) {
		cJSON_Delete(spent);
		return error_nomem(err, "an answer");
	}
	return 0;
}

static int print_show(const cJSON *page, error *err)
{
	(void)err;
	return print_job(page);
}

/* {"job":..,NAME:..} */
static int answer(cJSON **page, int64_t job, const char *name, double value, error *err)
{
	*page = cJSON_CreateObject();
	return *page && cJSON_AddNumberToObject(*page, "job", (double)job) &&
	                       cJSON_AddNumberToObject(*page, name, value)
	               ? 0
	               : error_nomem(err, "an answer");
}

static int do_cancel(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err)
{
	int rc = store_job_cancel(s, job, err);

	(void)o;
	return rc < 0 ? rc : answer(page, job, "cancelled", 1, err);
}

static int print_cancel(const cJSON *page, error *err)
{
	(void)err;
	printf("cancelled job %.0f; its workers stop at their next task\n", answer_number(page, "job"));
	return 0;
}

static int do_retry(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err)
{
	uint64_t n = 0;
	int rc = store_job_retry(&n, s, job,
	                         o->all       ? STORE_RETRY_ALL
	                         : o->refused ? STORE_RETRY_REFUSED
	                                      : STORE_RETRY_FAILED,
	                         err);

	return rc < 0 ? rc : answer(page, job, "waiting", (double)n, err);
}

static int print_retry(const cJSON *page, error *err)
{
	double n = answer_number(page, "waiting");

	(void)err;
	printf("%.0f tasks of job %.0f wait again%s\n", n, answer_number(page, "job"),
	       n > 0 ? ": gloss jobs resume" : "");
	return 0;
}

/* ---- Money, exchanges ---------------------------------------------------------------------------------------------------- */

static int nothing_sent(cJSON **page, error *err)
{
	*page = cJSON_CreateObject();
	return *page && cJSON_AddArrayToObject(*page, "stages") && cJSON_AddNumberToObject(*page, "cost", 0)
	               ? 0
	               : error_nomem(err, "an answer");
}

static int ask_cost(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err)
{
	arena mem = ARENA_INIT;
	store_log *log = NULL;
	store_job j;
	int rc = store_job_get(&j, s, job, &mem, err);

	(void)o;
	if (rc == 0)
		rc = open_log(&log, s, err);
	if (rc == 0 && log)
		rc = store_log_cost(page, log, j.uid, err);
	else if (rc == 0)
		rc = nothing_sent(page, err);
	if (rc == 0 && !cJSON_AddNumberToObject(*page, "job", (double)job))
		rc = error_nomem(err, "an answer");
	store_log_close(log);
	arena_clear(&mem);
	return rc;
}

static int add_stage(cli_table *t, const cJSON *stage)
{
	static const char *const names[] = { "requests",      "replies",       "input_tokens",
		                             "cached_tokens", "output_tokens", "limited_requests",
		                             "lost_requests", "in_flight" };
	int rc = string_cell(t, answer_string(stage, "stage"));

	for (size_t i = 0; i < ARRAY_LEN(names) && !rc; i++)
		rc = number_cell(t, answer_number(stage, names[i]), 15);
	if (!rc)
		rc = number_cell(t, answer_number(stage, "cost"), 6);
	return rc ? rc
	          : number_cell(t, answer_number(stage, "lost_cost") + answer_number(stage, "reserved_cost"),
	                        6);
}

static int print_cost(const cJSON *page, error *err)
{
	static const cli_column columns[] = { { "stage", false, 0 },    { "requests", true, 0 },
		                              { "replies", true, 0 },   { "input", true, 0 },
		                              { "cached", true, 0 },    { "output", true, 0 },
		                              { "429", true, 0 },       { "lost", true, 0 },
		                              { "in flight", true, 0 }, { "cost", true, 0 },
		                              { "perhaps", true, 0 } };
	const cJSON *stages = cJSON_GetObjectItem(page, "stages");

	if (!cJSON_GetArraySize(stages)) {
		printf("job %.0f has sent nothing\n", answer_number(page, "job"));
		return 0;
	}
	return page_print_rows(stages, columns, ARRAY_LEN(columns), add_stage, err);
}

static int do_export(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err)
{
	store_log *log = NULL;
	uint64_t n = 0;
	int rc;

	if (!o->out)
		return error_set(err, ERR_ARG, "where to? give --output FILE");
	rc = store_log_open(&log, store_path(s), err);
	if (rc == 0)
		rc = store_job_export(&n, s, log, job, o->out, err);
	store_log_close(log);
	return rc < 0 ? rc : answer(page, job, "tasks", (double)n, err);
}

static int print_export(const cJSON *page, error *err)
{
	(void)err;
	printf("%.0f tasks of job %.0f\n", answer_number(page, "tasks"), answer_number(page, "job"));
	return 0;
}

static int do_gc(cJSON **page, store *s, int64_t job, const jobs_opts *o, error *err)
{
	store_log *log = NULL;
	store_gc gc = { 0 };
	int rc = open_log(&log, s, err);

	(void)job;
	if (rc == 0 && log)
		rc = store_log_gc(&gc, log, s, (int64_t)o->older_than * 86400, o->args.dry_run, err);
	store_log_close(log);
	if (rc < 0)
		return rc;
	*page = cJSON_CreateObject();
	return *page && cJSON_AddBoolToObject(*page, "dry_run", o->args.dry_run) &&
	                       cJSON_AddNumberToObject(*page, "dropped", (double)gc.dropped) &&
	                       cJSON_AddNumberToObject(*page, "bytes", (double)gc.bytes) &&
	                       cJSON_AddNumberToObject(*page, "kept", (double)gc.kept)
	               ? 0
	               : error_nomem(err, "an answer");
}

static int print_gc(const cJSON *page, error *err)
{
	(void)err;
	printf("%s %.0f replies (%.1f MB) that no task names, %.0f stay\n",
	       cJSON_IsTrue(cJSON_GetObjectItem(page, "dry_run")) ? "would drop" : "dropped",
	       answer_number(page, "dropped"), answer_number(page, "bytes") / 1e6,
	       answer_number(page, "kept"));
	return 0;
}

static const action actions[] = {
	{ "list", false, false, ask_list, print_jobs },
	{ "show", true, false, ask_show, print_show },
	{ "resume", true, true, NULL, NULL },
	{ "cancel", true, true, do_cancel, print_cancel },
	{ "retry", true, true, do_retry, print_retry },
	{ "cost", true, false, ask_cost, print_cost },
	{ "export", true, false, do_export, print_export },
	{ "gc", false, false, do_gc, print_gc },
};

static const action *find_action(const cli_parsed *p, error *err)
{
	const char *name = p->n_args ? p->args[0] : "list";

	for (size_t i = 0; i < ARRAY_LEN(actions); i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	error_set(err, ERR_ARG,
	          "there is no action '%.40s': list, show, resume, cancel, retry, cost, export, gc", name);
	return NULL;
}

/* An option that does nothing for an action is a mistake. */
static const cli_belonging belongs[] = {
	{ "refused", "jobs", "retry" }, { "all", "jobs", "retry" },
	{ "older-than", "jobs", "gc" }, { "dry-run", "jobs", "gc" },
	{ "output", "jobs", "export" }, { "store", "jobs", "list|show|resume|cancel|retry|cost|export|gc" },
	{ NULL, "jobs", "resume" },
};

/* The number of the job, where the action wants one. */
static int find_job(int64_t *job, const action *a, const cli_parsed *p, error *err)
{
	const char *arg = p->n_args > 1 ? p->args[1] : NULL;
	char *end;

	*job = 0;
	if (!a->one)
		return arg ? error_set(err, ERR_ARG, "jobs %s is about no single job", a->name) : 0;
	if (!arg)
		return error_set(err, ERR_ARG, "which job? give its number: gloss jobs list shows them");
	*job = strtoll(arg, &end, 10);
	if (*end || end == arg || *job < 1)
		return error_set(err, ERR_ARG, "'%.40s' is not the number of a job", arg);
	return 0;
}

static int act(cJSON **page, const action *a, int64_t job, const jobs_opts *o, error *err)
{
	store_args where = { o->args.store, NULL };
	store *s = NULL;
	int rc = (a->writes ? store_args_open_to_write : store_args_open)(&s, &where, err);

	if (rc == 0)
		rc = a->run(page, s, job, o, err);
	store_close(s);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	jobs_opts o = { 0 };
	const action *a = NULL;
	cJSON *page = NULL;
	error err = { 0 };
	int64_t job = 0;
	int code = EXIT_DONE, rc;
	cli_parsed p;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	a = find_action(&p, &err);
	rc = a ? cli_check_belongs(self, &p, belongs, ARRAY_LEN(belongs), "jobs", a->name, &err) : ERR_ARG;
	if (rc == 0)
		rc = find_job(&job, a, &p, &err);
	if (rc == 0 && !a->run) {
		code = resume(self, &o, &p, job);
		goto out;
	}
	if (rc == 0)
		rc = act(&page, a, job, &o, &err);
	if (rc == 0 && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (rc == 0) {
		rc = a->print(page, &err);
	}
	if (rc < 0)
		code = cli_fail(self, &err);
out:
	cJSON_Delete(page);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_jobs_command = {
	.name = "jobs",
	.run = run,
	.help = "jobs of explain and score: show, resume, cancel, retry, what they cost",
	.usage = "[list | show ID | resume ID | cancel ID | retry ID | cost ID | export ID -o FILE | gc] -d "
	         "STORE",
	.about = "Every run of gloss explain and gloss score is a job in the store: a task a feature, with "
	         "its state, "
	         "the reason where it failed, and the tokens it took.\n\n"
	         "list: all jobs, the newest first. show: one in full, with who works on it now. resume: go "
	         "on with "
	         "what waits, also when another process began it; several may work on one job at once. The "
	         "options it was "
	         "started with hold unless given anew; the key is asked for again, since it is kept nowhere. "
	         "cancel: its workers stop at the next task; resume takes it up all the same. retry: "
	         "what failed waits again, for resume to do. cost: what each stage sent and paid, as the "
	         "server "
	         "reported it; 'perhaps' is what may have been paid for requests that no reply came back to, "
	         "and counts "
	         "against --max-cost. export: a line of JSON a task, with its requests and replies. gc: drop "
	         "replies "
	         "from the request log that no task of the store names.\n\n"
	         "After a change of how replies are read, retry and resume --replay read them again from the "
	         "log, "
	         "without a call.",
	.examples = "gloss jobs -d store.db\n"
	            "gloss jobs show 3 -d store.db\n"
	            "gloss jobs resume 3 -d store.db --concurrency 16\n"
	            "gloss jobs retry 3 -d store.db && gloss jobs resume 3 -d store.db\n"
	            "gloss jobs resume 3 -d store.db --max-cost 20 --price prices.json\n"
	            "gloss jobs export 3 -d store.db -o job3.jsonl",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 2,
};
