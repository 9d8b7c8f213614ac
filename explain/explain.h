/* explain: labels for features and scores for labels, by an LLM behind any OpenAI-compatible endpoint or by the embedded
 * `lexical` explainer and judge. Reads examples from store/ and writes labels and scores back through it. */
#ifndef GLOSS_EXPLAIN_H
#define GLOSS_EXPLAIN_H

#include "base/base.h"
#include "store/store.h"

/* ---- Client (client.c): POST BASE/chat/completions, several in flight --------------------------------------------- */

typedef struct explain_client_opts {
	const char *base_url; /* "http://127.0.0.1:8080/v1" */
	const char *model;
	const char *api_key;  /* NULL: none sent; never stored, logged or shown */
	unsigned concurrency; /* requests in flight. 8 */
	unsigned retries;     /* attempts after the first on 429, 5xx, time-outs, broken connections. 6 */
	double timeout;       /* seconds a request. 120 */
	double backoff,
	        backoff_max; /* first wait and longest, full jitter. 0.5, 60; Retry-After wins when longer */
	size_t max_reply;    /* bytes. 4 MiB */
	uint64_t seed;       /* of the jitter */
} explain_client_opts;
explain_client_opts explain_client_opts_default(void);

/* One request, filled by the caller and kept until its callback. */
typedef struct explain_request {
	const char *body;     /* canonical JSON */
	char key[SHA256_HEX]; /* set by the client: SHA-256 of endpoint, model, sample and body */
	unsigned sample;
	/* Called once from explain_client_run(). reply: the whole JSON body with status 200, valid during the call, or NULL with
	 * *err saying why (ERR_NET, ERR_REFUSED, ERR_FORMAT, ERR_LIMIT...). */
	void (*done)(struct explain_request *r, const char *reply, bool from_log, const error *err);
	void *payload;
} explain_request;

typedef struct explain_client explain_client;
/* log: replies are taken from it and put into it. replay: never call, ERR_NOTFOUND for what the log lacks. */
int explain_client_new(explain_client **out, const explain_client_opts *o, store_log *log, bool replay,
                       error *err) MUST_USE;
void explain_client_free(explain_client *c);
int explain_client_add(explain_client *c, explain_request *r,
                       error *err) MUST_USE; /* queue; also from inside a callback */
/* Drive until at most `leave` requests are queued or in flight, or stop() says so. 401/402/403 end everything: ERR_REFUSED. */
int explain_client_run(explain_client *c, size_t leave, bool (*stop)(void), error *err) MUST_USE;
typedef struct explain_client_stats {
	uint64_t sent, from_log, retried, failed, input_tokens, output_tokens;
} explain_client_stats;
explain_client_stats explain_client_get_stats(const explain_client *c);

/* ---- Lexical rules (lexical.c) ------------------------------------------------------------------------------------- */

/* A rule over token n-grams at, before and after the peak, e.g. the word "cat"; words ending in "ing"; right after "the".
 * Found by the highest log-odds of firing windows against silent ones. text: the phrase; json: the rule itself. */
int explain_lexical_label(char **text, char **json, const store_window *firing, size_t n_firing,
                          const store_window *silent, size_t n_silent, error *err) MUST_USE;
/* Whether the rule (its JSON) holds anywhere in the window. ERR_FORMAT: not a rule. */
int explain_lexical_judge(bool *holds, const char *rule_json, const store_window *w, error *err) MUST_USE;

/* ---- Jobs (explain.c, score.c) ------------------------------------------------------------------------------------------ */

typedef struct explain_opts {
	const char *source;                /* NULL: the only one */
	const char *features;              /* "all" or a list */
	const char *where;                 /* NULL: no filter */
	const explain_client_opts *client; /* NULL: lexical */
	unsigned n_examples;               /* windows shown to the explainer. 20 */
	unsigned n_positive, n_negative;   /* score: windows of each kind. 50, 50 */
	unsigned n_baseline; /* score by a model: windows of each kind for the chance level. 10 */
	unsigned per_prompt; /* score: windows a request. 10 */
	unsigned window;     /* tokens of a window shown to the model. 32 */
	uint64_t seed;
	bool replay, dry_run;
	const char *prompt,
	        *prompt_name; /* a template in place of ours, and the name of its file for errors; NULL: ours */
	const char *options; /* JSON, kept with the job for whoever resumes it; NULL: none */
	int64_t job;         /* 0: a new one, or the unfinished one that is the same */
	bool (*stop)(void);  /* NULL: never */
	progress *progress;  /* NULL: none */
} explain_opts;
explain_opts explain_opts_default(void);

/* Label features. *summary (may be NULL): JSON of counts, tokens, seconds and "features": what came of each in this run. A
 * feature with too few windows is skipped with the reason in its task. ERR_STOPPED: stopped with state kept; run again to go
 * on. ERR_REFUSED, ERR_NET: the endpoint will not, or cannot, answer; state is kept too. */
int explain_run(cJSON **summary, store *s, const explain_opts *o, error *err) MUST_USE;
/* Score the latest label of each feature by detection on documents the explainer did not see: balanced accuracy over n_positive
 * firing windows (spread over deciles of activation) and n_negative verified-silent ones, 95 % interval (from Wilson intervals of
 * both rates), and the same with the label of another feature as the chance level
 * (lexical: over all windows, else over n_baseline of each kind). */
int explain_score_detection(cJSON **summary, store *s, const explain_opts *o, error *err) MUST_USE;

/* Go on with a job of the store. Source, features and all that decides the outcome are the job's, `o` says the rest: the endpoint
 * must be the job's too (its key, NULL base_url and model: as the job says). ERR_NOTFOUND: no such job. */
int explain_resume(cJSON **summary, store *s, int64_t job, const explain_opts *o, error *err) MUST_USE;

#endif
