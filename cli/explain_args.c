/* What `gloss explain` and `gloss score` share: the endpoint, the key, the counts at the end. */
#include "cli/explain_args.h"
#include "sae/sae.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_FILE_MAX = 8192 };

/* ---- The key --------------------------------------------------------------------------------------------------------- */

/* A key that others can read is no secret: say so rather than use it. */
static int check_owner(int fd, const char *path, error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(err, errno, "cannot read '%s'", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, ERR_ARG, "the key file '%s' is not a regular file", path);
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return error_set(err, ERR_ARG, "the key file '%s' is not its owner's alone: chmod 600 it",
		                 path);
	if (st.st_size > KEY_FILE_MAX)
		return error_set(err, ERR_ARG, "the key file '%s' is over %d bytes", path, KEY_FILE_MAX);
	return 0;
}

static int key_from_file(char **out, const char *path, error *err)
{
	char buf[KEY_FILE_MAX + 1];
	ssize_t n = 0;
	int fd, rc;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return error_errno(err, errno, "cannot read '%s'", path);
	rc = check_owner(fd, path, err);
	if (rc == 0) {
		n = read(fd, buf, KEY_FILE_MAX);
		if (n < 0)
			rc = error_errno(err, errno, "cannot read '%s'", path);
	}
	close(fd);
	if (rc < 0)
		return rc;
	while (n && (buf[n - 1] == '\n' || buf[n - 1] == '\r'))
		n--;
	buf[n] = '\0';
	if (n == 0)
		rc = error_set(err, ERR_ARG, "the key file '%s' is empty", path);
	else if (!(*out = strdup(buf)))
		rc = error_nomem(err, "the key");
	explicit_bzero(buf, sizeof(buf));
	return rc;
}

int explain_key_find(char **out, const explain_args *a, error *err)
{
	const char *value;

	if (a->api_key_file)
		return key_from_file(out, a->api_key_file, err);
	if (a->api_key_env) {
		value = getenv(a->api_key_env);
		if (!value || !*value)
			return error_set(err, ERR_ARG, "the environment has no variable '%s'",
			                 a->api_key_env);
	} else {
		value = getenv("GLOSS_API_KEY");
		if (!value || !*value)
			value = getenv("OPENAI_API_KEY");
		if (!value || !*value)
			return 0;
	}
	*out = strdup(value);
	return *out ? 0 : error_nomem(err, "the key");
}

/* ---- The session --------------------------------------------------------------------------------------------------------- */

static int check_args(const explain_args *a, error *err)
{
	if (!a->store)
		return error_set(err, ERR_ARG, "which store? give -d FILE");
	if (a->base_url && !a->model)
		return error_set(err, ERR_ARG, "--base-url needs --model NAME");
	if (a->subject_model && !a->subject)
		return error_set(err, ERR_ARG, "--subject-model goes with --subject");
	if (a->choice && a->sae && !a->subject) /* gloss jobs takes it from the job */
		return error_set(err, ERR_ARG, "--sae goes with --subject");
	if (a->subject && a->replay && !a->subject_model)
		return error_set(err, ERR_ARG,
		                 "--replay asks nobody, not even what the subject's model is called: give "
		                 "--subject-model NAME");
	if (!a->base_url &&
	    (a->model || a->api_key_env || a->api_key_file || (a->replay && !a->subject) || a->ca_file))
		return error_set(err, ERR_ARG, "%s goes with --base-url",
		                 a->model         ? "--model"
		                 : a->replay      ? "--replay"
		                 : a->ca_file     ? "--ca-file"
		                 : a->api_key_env ? "--api-key-env"
		                                  : "--api-key-file");
	if (a->api_key_env && a->api_key_file)
		return error_set(err, ERR_ARG, "give --api-key-env or --api-key-file, not both");
	if (a->batch && !a->base_url)
		return error_set(err, ERR_ARG, "--batch goes with --base-url");
	if (a->replay && a->dry_run)
		return error_set(err, ERR_ARG, "give --replay or --dry-run, not both");
	return 0;
}

static void fill_client(explain_session *x, const explain_args *a)
{
	x->client = explain_client_opts_default();
	x->client.base_url = a->base_url;
	x->client.model = a->model;
	x->client.api_key = x->key;
	x->client.concurrency = a->concurrency;
	x->client.retries = a->retries;
	x->client.timeout = a->timeout;
	x->client.rpm = a->rpm;
	x->client.tpm = a->tpm;
	x->client.patience = a->patience;
	x->client.ca_file = a->ca_file;
	x->client.max_completion_tokens = a->max_completion_tokens;
	x->client.no_temperature = a->no_temperature;
	x->client.no_system = a->no_system;
	x->client.thinking_tokens = a->thinking_tokens;
	x->client.seed =
	        (uint64_t)clock_unix() ^ ((uint64_t)getpid() << 32); /* waits of two workers differ */
}

/* The subject server is asked for its model's name, by which the log tells replies of different models apart. It gets no key. */
static int fill_subject(explain_session *x, const explain_args *a, error *err)
{
	int rc = 0;

	if (!a->subject)
		return 0;
	x->subject = x->client;
	x->subject.base_url = a->subject;
	x->subject.api_key = x->subject.ca_file = NULL;
	x->subject.rpm = x->subject.tpm = 0;
	if (!a->subject_model && !a->dry_run)
		rc = explain_subject_name(&x->subject_name, &x->subject, cli_stop_requested, err);
	x->subject.model = a->subject_model  ? a->subject_model
	                   : x->subject_name ? x->subject_name
	                                     : "subject";
	x->opts.subject = &x->subject;
	return rc;
}

static int load_rows(explain_session *x, const explain_args *a, error *err)
{
	int rc = a->sae ? sae_model_load_hashed(&x->sae, a->sae, err) : 0;

	if (rc < 0 || !x->sae)
		return rc;
	x->rows = (explain_rows){ .path = a->sae,
		                  .row = x->sae->W_dec,
		                  .n = x->sae->d_sae,
		                  .width = x->sae->d_out,
		                  .sha256 = x->sae->weights_sha256 };
	x->opts.rows = &x->rows;
	return 0;
}

/* All options but the store's own name, which may be another when the job is taken up. No key is among them. */
static int keep_options(explain_session *x, const command *self, const void *given, error *err)
{
	cJSON *all = cli_options_json(self, given);

	cJSON_DeleteItemFromObjectCaseSensitive(all, "store");
	x->options = all ? json_print_canonical(all) : NULL;
	cJSON_Delete(all);
	return x->options ? 0 : error_nomem(err, "the options");
}

static int add_number(cJSON *o, const char *name, double value)
{
	return (isnan(value) ? cJSON_AddNullToObject(o, name) : cJSON_AddNumberToObject(o, name, value)) ? 0
	                                                                                                 : -1;
}

/* One line of JSON a second at most, and the last one. */
static void tell_json(void *payload, const explain_progress *p)
{
	explain_session *x = payload;
	double now = clock_now();
	char *line = NULL;
	cJSON *o;

	if (now - x->told < (p->held >= 1 ? 0.1 : 1) && p->over < p->tasks)
		return;
	x->told = now;
	o = cJSON_CreateObject();
	if (o && add_number(o, "tasks", (double)p->tasks) == 0 &&
	    add_number(o, "over", (double)p->over) == 0 && add_number(o, "failed", (double)p->failed) == 0 &&
	    add_number(o, "refused", (double)p->refused) == 0 &&
	    add_number(o, "requests", (double)p->requests) == 0 &&
	    add_number(o, "retried", (double)p->retried) == 0 &&
	    add_number(o, "limited", (double)p->limited) == 0 && add_number(o, "held", p->held) == 0 &&
	    add_number(o, "from_log", (double)p->from_log) == 0 &&
	    add_number(o, "input_tokens", (double)p->input_tokens) == 0 &&
	    add_number(o, "output_tokens", (double)p->output_tokens) == 0 &&
	    add_number(o, "cost", p->cost) == 0 && add_number(o, "seconds", p->seconds) == 0 &&
	    add_number(o, "rate", p->rate) == 0 && add_number(o, "left", p->left) == 0)
		line = json_print(o);
	if (line)
		fprintf(stderr, "%s\n", line);
	free(line);
	cJSON_Delete(o);
}

/* What money may be spent, and what is known of prices. */
static int read_money(explain_session *x, const explain_args *a, error *err)
{
	x->opts.budget = (store_budget){ a->max_cost, a->max_requests, a->max_tokens };
	if (a->max_cost > 0 && !a->price)
		return error_set(err, ERR_ARG,
		                 "--max-cost needs --price FILE: without prices it cannot be kept");
	if (!a->price)
		return 0;
	if (!a->base_url)
		return error_set(err, ERR_ARG, "--price goes with --base-url");
	return explain_price_read(&x->opts.price, a->price, a->model, err);
}

static int read_template(explain_session *x, const explain_args *a, error *err)
{
	enum { TEMPLATE_MAX = 1 << 18 };
	size_t len = 0;
	int rc;

	if (!a->template)
		return 0;
	if (!a->base_url)
		return error_set(err, ERR_ARG, "--template goes with --base-url");
	rc = file_read(&x->template, &len, a->template, TEMPLATE_MAX, err);
	if (rc == 0 && (strlen(x->template) != len || !utf8_is_valid(x->template, len)))
		rc = error_set(err, ERR_FORMAT, "'%s' is not UTF-8 text", a->template);
	x->opts.prompt = x->template;
	x->opts.prompt_name = a->template;
	return rc;
}

int explain_session_begin(explain_session *x, const explain_args *a, const cli_parsed *p, const command *self,
                          const void *given, error *err)
{
	int rc;

	*x = (explain_session){ .opts = explain_opts_default() };
	rc = check_args(a, err);
	if (rc == 0 && a->base_url)
		rc = explain_key_find(&x->key, a, err);
	if (rc == 0)
		rc = read_money(x, a, err);
	if (rc == 0)
		rc = read_template(x, a, err);
	if (rc == 0)
		rc = keep_options(x, self, given, err);
	if (rc == 0 && a->choice) /* gloss jobs has none */
		rc = explain_choice_find(&x->opts.choice, a->choice, err);
	if (rc == 0)
		rc = store_open(&x->s, a->store, STORE_WRITE, err);
	if (rc == 0)
		rc = load_rows(x, a, err);
	if (rc < 0)
		return rc;
	fill_client(x, a);
	x->opts.source = a->source;
	x->opts.features = a->features;
	x->opts.where = a->where;
	x->opts.client = a->base_url ? &x->client : NULL;
	x->opts.window = a->window;
	x->opts.peak = a->peak;
	x->opts.seed = a->seed;
	x->opts.replay = a->replay;
	x->opts.dry_run = a->dry_run;
	x->opts.batch = a->batch;
	x->opts.batch_size = a->batch_size;
	x->opts.batch_poll = a->batch_poll;
	x->opts.only_new = a->only_new;
	x->opts.n_random = a->n_random;
	x->opts.options = x->options;
	x->opts.stop = cli_stop_requested;
	x->opts.progress = &x->progress;
	cli_catch_signals();
	rc = fill_subject(x, a, err);
	if (rc < 0)
		return rc;
	if (a->progress && strcmp(a->progress, "json") == 0) {
		x->opts.progress = NULL;
		x->opts.tell = tell_json;
		x->opts.payload = x;
	}
	progress_start(&x->progress, x->opts.progress ? cli_progress_stream(p) : NULL, self->name, "features",
	               0);
	return 0;
}

void explain_session_end(explain_session *x)
{
	if (x->key) {
		explicit_bzero(x->key, strlen(x->key));
		free(x->key);
	}
	free(x->options);
	free(x->subject_name);
	free(x->template);
	sae_model_free(x->sae);
	store_close(x->s);
}

/* ---- The end -------------------------------------------------------------------------------------------------------------- */

double explain_number(const cJSON *o, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(o, name);

	return cJSON_IsNumber(n) ? n->valuedouble : (double)NAN;
}

void explain_print_counts(const cJSON *s, const char *done)
{
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(s, "dry_run"))) {
		printf("dry run: %.0f requests, about %.0f input tokens, at most %.0f output tokens\n",
		       explain_number(s, "requests"), explain_number(s, "input_tokens_estimate"),
		       explain_number(s, "output_tokens_limit"));
		if (!isnan(explain_number(s, "cost_estimate")))
			printf("cost: about %.6g, if every reply were as long as it may be; never over "
			       "%.6g\n",
			       explain_number(s, "cost_estimate"), explain_number(s, "cost_limit"));
		return;
	}
	printf("%s %.0f, skipped %.0f, failed %.0f", done, explain_number(s, "done"),
	       explain_number(s, "skipped"), explain_number(s, "failed"));
	if (explain_number(s, "refused") + explain_number(s, "filtered") > 0)
		printf(", refused %.0f, filtered %.0f", explain_number(s, "refused"),
		       explain_number(s, "filtered"));
	if (explain_number(s, "waiting") + explain_number(s, "running") > 0)
		printf(", left to another worker %.0f",
		       explain_number(s, "waiting") + explain_number(s, "running"));
	if (explain_number(s, "requests") + explain_number(s, "from_log") > 0)
		printf("; %.0f requests (%.0f answered 429, %.0f asked again), %.0f replies from the log, "
		       "%.0f + "
		       "%.0f tokens paid",
		       explain_number(s, "requests"), explain_number(s, "limited"),
		       explain_number(s, "retried"), explain_number(s, "from_log"),
		       explain_number(s, "paid_input_tokens"), explain_number(s, "paid_output_tokens"));
	printf("; %.1f s\n", explain_number(s, "seconds"));
	if (explain_number(s, "share_a_label") > 0)
		printf("%.0f features fire on the same tokens as others, and share their label\n",
		       explain_number(s, "share_a_label"));
	if (explain_number(s, "missing") > 0)
		printf("%.0f requests are not in the log\n", explain_number(s, "missing"));
}

static void print_reason(const cJSON *feature, const char *state)
{
	const cJSON *why = cJSON_GetObjectItemCaseSensitive(feature, "why");
	text line;

	text_init(&line, 1 << 16);
	if (cJSON_IsString(why) && text_add_visible(&line, why->valuestring, strlen(why->valuestring)) == 0)
		printf("feature %.0f %s: %s\n", explain_number(feature, "feature"), state,
		       line.data ? line.data : "");
	text_free(&line);
}

void explain_print_reasons(const cJSON *summary, const char *state, unsigned most)
{
	const cJSON *feature, *s;
	unsigned n = 0;

	cJSON_ArrayForEach(feature, cJSON_GetObjectItemCaseSensitive(summary, "features"))
	{
		s = cJSON_GetObjectItemCaseSensitive(feature, "state");
		if (!cJSON_IsString(s) || strcmp(s->valuestring, state) != 0)
			continue;
		if (n++ < most)
			print_reason(feature, state);
	}
	if (n > most)
		printf("and %u more %s; --json lists all\n", n - most, state);
}

int explain_exit_code(const cJSON *summary)
{
	if (explain_number(summary, "missing") > 0)
		return EXIT_FAILED;
	return explain_number(summary, "failed") > 0 && explain_number(summary, "done") <= 0 ? EXIT_FAILED
	                                                                                     : EXIT_DONE;
}
