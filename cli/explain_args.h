/* The options that `explain` and `score` share: which features, which endpoint, and the key. */
#ifndef GLOSS_CLI_EXPLAIN_ARGS_H
#define GLOSS_CLI_EXPLAIN_ARGS_H

#include "cli/cli.h"
#include "explain/explain.h"

typedef struct explain_args {
	const char *store, *source, *features, *where;
	const char *base_url, *model, *api_key_env, *api_key_file, *ca_file;
	const char *subject, *subject_model, *sae; /* each command's own, with its help */
	uint32_t concurrency, retries, window;
	double peak;
	const char *choice; /* an option of each command, with its own default */
	double timeout, rpm, tpm, patience;
	uint64_t seed;
	uint32_t thinking_tokens;
	const char *price, *template, *progress;
	double max_cost;
	uint64_t max_requests, max_tokens;
	uint32_t n_random, batch_size;
	double batch_poll;
	bool batch;
	bool only_new;
	bool replay, dry_run, max_completion_tokens, no_temperature, no_system;
} explain_args;

#define EXPLAIN_ARGS_OPTIONS(st, args)                                                                       \
	OPTION(st, args.store, "store", 'd', OPTION_STRING, "FILE", NULL, 0, 0, "the store"),                \
	        OPTION(st, args.source, "source", 0, OPTION_STRING, "NAME", NULL, 0, 0,                      \
	               "indexed SAE; needed where the store holds several"),                                 \
	        OPTION(st, args.features, "features", 0, OPTION_STRING, "LIST", "all", 0, 0,                 \
	               "features like 1,5,10-20, @LIST (see gloss list), @FILE of numbers, or all"),         \
	        OPTION(st, args.where, "where", 0, OPTION_STRING, "EXPR", NULL, 0, 0,                        \
	               "only features for which this SQL expression over their columns holds"),              \
	        OPTION(st, args.only_new, "only-new", 0, OPTION_BOOL, NULL, NULL, 0, 0,                      \
	               "only features without a label (score: without a score)"),                            \
	        OPTION(st, args.n_random, "random", 0, OPTION_U32, "N", "0", 0, 0,                           \
	               "only N of the features, drawn at random by --seed; 0: all"),                         \
	        OPTION(st, args.base_url, "base-url", 0, OPTION_STRING, "URL", NULL, 0, 0,                   \
	               "OpenAI-compatible endpoint, up to and with its /v1; without it, the embedded "       \
	               "lexical one"),                                                                       \
	        OPTION(st, args.model, "model", 0, OPTION_STRING, "NAME", NULL, 0, 0,                        \
	               "model to ask for at the endpoint"),                                                  \
	        EXPLAIN_ENDPOINT_OPTIONS(st, args),                                                          \
	        OPTION(st, args.window, "window", 0, OPTION_U32, "N", "32", 4, 4096,                         \
	               "tokens of a window that is shown or judged"),                                        \
	        OPTION(st, args.peak, "peak", 0, OPTION_DOUBLE, "X", "0.75", 0, 1,                           \
	               "where in it the strongest token is, if the text goes so far: 0 its first token, 1 "  \
	               "its last"),                                                                          \
	        OPTION(st, args.seed, "seed", 0, OPTION_U64, "N", "0", 0, 0, "of the choice of windows"),    \
	        OPTION(st, args.template, "template", 0, OPTION_STRING, "FILE", NULL, 0, 0,                  \
	               "a prompt of your own in place of the built-in one (see docs/explain.md)"),           \
	        OPTION(st, args.dry_run, "dry-run", 0, OPTION_BOOL, NULL, NULL, 0, 0,                        \
	               "count requests and tokens, and with --price what they cost; send nothing")

#define EXPLAIN_CHOICE_OPTION(st, args, standard)                                                            \
	OPTION(st, args.choice, "choice", 0, OPTION_ENUM, "top|deciles|mix|random", standard, 0, 0,          \
	       "which windows the feature fires in: the strongest; as many of each tenth of its firing "     \
	       "tokens "                                                                                     \
	       "by strength; two fifths the strongest and the others of each tenth; each firing token with " \
	       "the "                                                                                        \
	       "same chance")

#define EXPLAIN_SAE_OPTION(st, args)                                                                         \
	OPTION(st, args.sae, "sae", 0, OPTION_STRING, "DIR", NULL, 0, 0,                                     \
	       "with --subject: the SAE that the source was made of, whose decoder rows steer: for a store " \
	       "without them (made from codes, or packed without vectors)")

/* Who asks, and whom it trusts. */
#define EXPLAIN_KEY_OPTIONS(st, args)                                                                        \
	OPTION(st, args.api_key_env, "api-key-env", 0, OPTION_STRING, "NAME", NULL, 0, 0,                    \
	       "environment variable that holds the key; if not given, GLOSS_API_KEY, then "                 \
	       "OPENAI_API_KEY"),                                                                            \
	        OPTION(st, args.api_key_file, "api-key-file", 0, OPTION_STRING, "FILE", NULL, 0, 0,          \
	               "file that holds the key; only its owner may be able to read it"),                    \
	        OPTION(st, args.ca_file, "ca-file", 0, OPTION_STRING, "FILE", NULL, 0, 0,                    \
	               "certificates (PEM) to trust in place of the system's")

/* How the endpoint is asked: what `gloss jobs resume` can change too. */
#define EXPLAIN_ENDPOINT_OPTIONS(st, args)                                                                   \
	EXPLAIN_KEY_OPTIONS(st, args),                                                                       \
	        OPTION(st, args.max_completion_tokens, "max-completion-tokens", 0, OPTION_BOOL, NULL, NULL,  \
	               0, 0,                                                                                 \
	               "the server wants max_completion_tokens for max_tokens (found out if not given)"),    \
	        OPTION(st, args.no_temperature, "no-temperature", 0, OPTION_BOOL, NULL, NULL, 0, 0,          \
	               "send no temperature (found out if not given)"),                                      \
	        OPTION(st, args.no_system, "no-system", 0, OPTION_BOOL, NULL, NULL, 0, 0,                    \
	               "put instructions into the question, not a system message (found out if not given)"), \
	        OPTION(st, args.thinking_tokens, "thinking-tokens", 0, OPTION_U32, "N", "0", 0, 1000000,     \
	               "added to the limit of each reply, for models that think before they answer"),        \
	        OPTION(st, args.concurrency, "concurrency", 0, OPTION_U32, "N", "8", 1, 1024,                \
	               "requests in flight at most"),                                                        \
	        OPTION(st, args.rpm, "rpm", 0, OPTION_DOUBLE, "N", "0", 0, 1e9,                              \
	               "requests a minute at most; 0: as the endpoint's headers and refusals say"),          \
	        OPTION(st, args.tpm, "tpm", 0, OPTION_DOUBLE, "N", "0", 0, 1e12,                             \
	               "tokens a minute at most, of questions and replies; 0: as --rpm"),                    \
	        OPTION(st, args.retries, "retries", 0, OPTION_U32, "N", "6", 0, 100,                         \
	               "more attempts after 5xx, time-outs and broken connections"),                         \
	        OPTION(st, args.patience, "patience", 0, OPTION_DOUBLE, "SECONDS", "900", 0, 1e9,            \
	               "how long an endpoint that has answered before may be away, or put us off with 429"), \
	        OPTION(st, args.timeout, "timeout", 0, OPTION_DOUBLE, "SECONDS", "120", 0.001, 86400,        \
	               "longest wait for a reply"),                                                          \
	        OPTION(st, args.replay, "replay", 0, OPTION_BOOL, NULL, NULL, 0, 0,                          \
	               "answer from the request log alone; fail what it lacks"),                             \
	        OPTION(st, args.price, "price", 0, OPTION_STRING, "FILE", NULL, 0, 0,                        \
	               "prices a million tokens (JSON: model, then input, cached_input, output)"),           \
	        OPTION(st, args.max_cost, "max-cost", 0, OPTION_DOUBLE, "X", "0", 0, 1e12,                   \
	               "stop before the job has cost more than X in the price file's currency; 0: no "       \
	               "limit"),                                                                             \
	        OPTION(st, args.max_requests, "max-requests", 0, OPTION_U64, "N", "0", 0, 0,                 \
	               "stop before the job has sent more requests, repeated ones counted; 0: no limit"),    \
	        OPTION(st, args.max_tokens, "max-tokens", 0, OPTION_U64, "N", "0", 0, 0,                     \
	               "stop before the job has taken more tokens, in and out; 0: no limit"),                \
	        OPTION(st, args.batch, "batch", 0, OPTION_BOOL, NULL, NULL, 0, 0,                            \
	               "hand requests to the endpoint's Batch API (/files, /batches): cheaper, within a "    \
	               "day"),                                                                               \
	        OPTION(st, args.batch_size, "batch-size", 0, OPTION_U32, "N", "10000", 1, 50000,             \
	               "with --batch: requests handed over at a time"),                                      \
	        OPTION(st, args.batch_poll, "batch-poll", 0, OPTION_DOUBLE, "SECONDS", "30", 0.01, 3600,     \
	               "with --batch: between looks at how far the provider is"),                            \
	        OPTION(st, args.progress, "progress", 0, OPTION_ENUM, "auto|json", "auto", 0, 0,             \
	               "how far it is, on stderr: a line for people, or lines of JSON (one a second at "     \
	               "most)")

/* The key by --api-key-file, --api-key-env, else what the environment has: *out malloc'd, or NULL: none. */
int explain_key_find(char **out, const explain_args *a, error *err) MUST_USE;

/* One run: the store is open, `opts` is filled but for what the command itself sets. */
typedef struct explain_session {
	store *s;
	explain_client_opts client;
	explain_opts opts;
	struct sae_model *sae; /* of --sae */
	explain_rows rows;
	progress progress;
	explain_client_opts subject;
	char *subject_name; /* as the server says */
	char *key;          /* overwritten when it ends */
	char *template;     /* of --template */
	double told;        /* when the last line of JSON was */
	char *options;      /* of the command line, as JSON: kept with the job */
} explain_session;
/* a: part of `given`, the options of the command `self`. ERR_ARG where options do not go together. On failure too, end with
 * explain_session_end(). */
int explain_session_begin(explain_session *x, const explain_args *a, const cli_parsed *p, const command *self,
                          const void *given, error *err) MUST_USE;
void explain_session_end(explain_session *x);

/* What the summaries of both commands have in common, on stdout. */
void explain_print_counts(const cJSON *summary, const char *done);
/* Up to a few features of a state ("failed", "skipped") with their reasons. */
void explain_print_reasons(const cJSON *summary, const char *state, unsigned most);
/* EXIT_FAILED when tasks failed and none was done. */
int explain_exit_code(const cJSON *summary);
double explain_number(const cJSON *o, const char *name); /* NaN when absent */

#endif
