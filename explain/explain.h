/* explain: labels for features and scores for labels, by an LLM behind any OpenAI-compatible endpoint or by the embedded
 * `lexical` explainer and judge. Reads examples from store/ and writes labels and scores back through it. */
#ifndef GLOSS_EXPLAIN_H
#define GLOSS_EXPLAIN_H

#include "base/base.h"
#include "store/store.h"

/* ---- Client (client.c): requests to one OpenAI-compatible endpoint, several in flight ---------------------------- */

typedef struct explain_client_opts {
	const char *base_url; /* "http://127.0.0.1:8080/v1" */
	const char *model;
	const char *api_key; /* NULL: none sent; never stored, logged or shown */
	const char *ca_file; /* PEM certificates to trust in place of the system's; NULL: the system's */
	unsigned
	        concurrency; /* requests in flight at most; fewer while the server shows that it is too much. 8 */
	double rpm, tpm;     /* requests and tokens a minute at most; 0: as its headers and refusals say */
	unsigned retries; /* attempts after the first on 5xx, time-outs, broken connections. 6 */
	double timeout;   /* seconds a request. 120 */
	double backoff,
	        backoff_max; /* first wait and longest, full jitter. 0.5, 60; Retry-After wins when longer */
	double patience; /* seconds that a server which has answered before may be away, or may put us off with 429, before all ends
	                  * with ERR_NET. 900 */
	size_t max_reply; /* bytes. 4 MiB */
	uint64_t seed;    /* of the jitter */
	double clock_speed; /* seconds of the client's clock in one of the machine's, for tests of long waits. 1 */
	/* What is known of the server beforehand; what is not is found out (chat.h). */
	bool max_completion_tokens; /* in place of max_tokens */
	bool no_temperature, no_system;
	unsigned thinking_tokens; /* added to the limit of every reply, for models that think first. 0 */
} explain_client_opts;
explain_client_opts explain_client_opts_default(void);

/* What to POST to, below base_url: chat/completions, completions, embeddings; subject: see docs/subject.md. */
typedef enum explain_api {
	EXPLAIN_CHAT,
	EXPLAIN_COMPLETIONS,
	EXPLAIN_EMBEDDINGS,
	EXPLAIN_SUBJECT,
	EXPLAIN_APIS
} explain_api;

/* How a request ended. */
typedef enum explain_end {
	EXPLAIN_REPLIED,
	EXPLAIN_FILTERED, /* a content filter would not let the question pass (400 with such a code) */
	EXPLAIN_REJECTED, /* this request never will get a reply: other 4xx, a reply too long or of another kind */
	EXPLAIN_TROUBLE, /* its attempts are used up: 5xx, time-outs, broken connections */
	EXPLAIN_MISSING, /* a replay, and the log lacks it */
	EXPLAIN_OVER     /* the client has ended: see the error of explain_client_run() */
} explain_end;

/* One request, filled by the caller and kept until its callback. */
typedef struct explain_request {
	const char *body; /* canonical JSON */
	char key[SHA256_HEX]; /* set by the client: SHA-256 of endpoint (with its path, but for chat), model, sample and body */
	unsigned sample;
	explain_api api;
	unsigned reply_tokens; /* the limit that `body` sets, for tpm; 0: none */
	explain_end end;       /* set by the client before done() */
	int64_t not_before;    /* set by the client when it puts the request off: unix seconds */
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
	uint64_t sent, from_log, retried, failed;
	uint64_t limited; /* of sent: answered 429 */
	uint64_t input_tokens, output_tokens;
	uint64_t input_cached; /* of input_tokens: taken from the provider's cache of prompts */
	uint64_t reasoning;    /* of output_tokens: thinking */
} explain_client_stats;
explain_client_stats explain_client_get_stats(const explain_client *c);

/* ---- Other calls (calls.c) ------------------------------------------------------------------------------------------ */

/* Tokens with log-probabilities (natural logarithm), as a server reports them. */
typedef struct explain_top {
	const char *text;
	double logprob;
} explain_top;
typedef struct explain_token {
	const char *text; /* its bytes, `len` of them and a NUL; a token may hold a part of a character */
	size_t len;
	double logprob;         /* NaN: none is given, as of a prompt's first token */
	const explain_top *top; /* (n_top) the likeliest tokens in its place, likeliest first */
	unsigned n_top;
} explain_token;
typedef struct explain_tokens { /* start with {0} */
	arena mem;
	explain_token *token; /* (n) */
	size_t n;
} explain_tokens;
void explain_tokens_clear(explain_tokens *t);

/* A body for EXPLAIN_COMPLETIONS, malloc'd: `prompt` continued by up to max_tokens tokens at temperature 0.
 *   top   alternatives wanted of each token; 0: no log-probabilities
 *   echo  the tokens of the prompt are wanted too (with max_tokens 0: only those); few servers can do that */
int explain_completion_body(char **out, const explain_client *c, const char *prompt, unsigned max_tokens,
                            unsigned top, bool echo, error *err) MUST_USE;
typedef struct explain_completion {
	char *text;            /* with `echo`: the prompt before it */
	bool cut;              /* it ended at max_tokens */
	explain_tokens tokens; /* none where the server sends none */
} explain_completion;
/* Read a reply of that kind. ERR_FORMAT. End with explain_completion_clear(), after a failure too. */
int explain_completion_read(explain_completion *out, const char *reply, error *err) MUST_USE;
void explain_completion_clear(explain_completion *c);

/* Vectors of n texts, in their order: *out (n, *dim), malloc'd, as the server scales them. `batch` texts go into a request; the
 * client runs until nothing is open, so call it from no callback. ERR_FORMAT: vectors are missing, of different lengths, or not
 * finite; else the error of the first request that failed. After ERR_STOPPED the client can only be
 * freed. */
int explain_embed(float **out, size_t *dim, explain_client *c, const char *const *texts, size_t n,
                  size_t batch, bool (*stop)(void), error *err) MUST_USE;

/* ---- Lexical rules (lexical.c) ------------------------------------------------------------------------------------- */

/* A rule over token n-grams at, before and after the peak, e.g. the word "cat"; words ending in "ing"; right after "the".
 * Found by the highest log-odds of firing windows against silent ones. text: the phrase; json: the rule itself. */
int explain_lexical_label(char **text, char **json, const store_window *firing, size_t n_firing,
                          const store_window *silent, size_t n_silent, error *err) MUST_USE;
/* Whether the rule (its JSON) holds anywhere in the window. ERR_FORMAT: not a rule. */
int explain_lexical_judge(bool *holds, const char *rule_json, const store_window *w, error *err) MUST_USE;
/* Whether it holds at each of the marked tokens: mark (w->length), 1: marked. */
int explain_lexical_judge_marked(bool *holds, const char *rule_json, const store_window *w,
                                 const uint8_t *mark, error *err) MUST_USE;

/* ---- Money (price.c) -------------------------------------------------------------------------------------------------- */

/* Per million tokens, in the currency of the file. */
typedef struct explain_price {
	bool known;
	double input, cached_input, output;
	double batch; /* what a batch costs of it. 0.5 */
} explain_price;
/* From a JSON file: {"MODEL":{"input":0.15,"cached_input":0.075,"output":0.6,"batch":0.5},...}; cached_input (as input) and batch
 * (0.5) may be left out; the model "*" stands for all others. ERR_NOTFOUND: the model has none. ERR_FORMAT. */
int explain_price_read(explain_price *out, const char *path, const char *model, error *err) MUST_USE;
/* NaN: not known. cached: of the input. */
double explain_price_of(const explain_price *p, uint64_t input, uint64_t cached, uint64_t output);

/* ---- Jobs (explain.c, score.c) ------------------------------------------------------------------------------------------ */

/* How far a job is. */
typedef struct explain_progress {
	uint64_t tasks, over; /* over: all that came to an end, before this run too */
	/* Of this run. */
	uint64_t failed, refused; /* tasks; refused: by the model, or by a filter */
	uint64_t requests, retried, limited, from_log, input_tokens,
	        output_tokens;      /* limited: answered 429 */
	double held;                /* seconds that the endpoint wants to be left alone for, from now on */
	double cost;                /* of this run; NaN: no price */
	double seconds, rate, left; /* of this run; tasks a second; seconds to go, NaN: not known yet */
} explain_progress;

/* Which of the windows in which a feature fires are shown (examples.h). */
typedef enum explain_choice {
	EXPLAIN_BY_KIND, /* labels: a mix; scores: deciles */
	EXPLAIN_TOP,     /* the strongest */
	EXPLAIN_DECILES, /* as many of each tenth of its firing tokens by strength */
	EXPLAIN_MIX,     /* two fifths the strongest, the others of each tenth of the rest */
	EXPLAIN_RANDOM   /* drawn so that each firing token has the same chance */
} explain_choice;
const char *explain_choice_name(explain_choice how); /* "top"; "default" for EXPLAIN_BY_KIND */
int explain_choice_find(explain_choice *out, const char *name,
                        error *err) MUST_USE; /* ERR_ARG: names those there are */

/* Decoder rows of the source's SAE, for steering, in place of the store's. */
typedef struct explain_rows {
	const char *path; /* of the SAE, for errors */
	const float *row; /* (n, width), in units of the rows that it was trained on */
	uint32_t n, width;
	const char *sha256; /* of its weights */
} explain_rows;

typedef struct explain_opts {
	const char *source;   /* NULL: the only one */
	const char *features; /* "all" or a list */
	const char *where;    /* NULL: no filter */
	bool only_new;        /* only features without a label (score: without a score) */
	unsigned n_random;    /* so many of them, drawn by the seed; 0: all */
	bool share; /* features that fire on the same tokens are labelled once, and share the label. true */
	const explain_client_opts *client; /* NULL: lexical */
	const char *
	        explainer; /* explain: how (explain_explainer_name()). NULL: "marked", without a client "lexical" */
	bool cot;          /* explain: the model gives its reasons before the label */
	/* score: a subject server (docs/subject.md), which is asked in place of `client` by scorers that need one; explain: one that
	 * is steered, for the explainer `output`; NULL: none */
	const explain_client_opts *subject;
	unsigned
	        n_prompts; /* intervention: texts that the model goes on with; output: that it is steered on. 30 */
	double steer_kl;          /* at the strength with this KL. 0.5 */
	unsigned steer_tokens;    /* tokens that it goes on with. 8 */
	int64_t layer;            /* of whose output the source's rows are, from 0; -1: as the source says */
	const explain_rows *rows; /* to steer by; NULL: the store's */
	unsigned n_examples;      /* windows shown to the explainer. 20 */
	/* explain: labels sampled, of which the one is kept that a judge does best by on the select documents, 1; and how often the
	 * best is revised by the judge's mistakes there, 0 */
	unsigned n_candidates, n_refine;
	unsigned n_select; /* explain: firing windows of these that it judges, and as many silent ones. 20 */
	unsigned n_positive, n_negative; /* score: windows of each kind. 50, 50 */
	unsigned n_baseline;             /* score by a model: windows of each kind for the chance level. 10 */
	unsigned per_prompt;             /* score: windows a request. 20 */
	unsigned window;                 /* tokens of a window shown to the model. 32 */
	double peak; /* where in it the strongest token is, where the text allows: 0 its first token, 1 its last. 0.75 */
	explain_choice choice;
	const char *scorer; /* score: how (explain_scorer_name()). "detection" */
	unsigned group;     /* intruder: windows of a question, 3 to 10. 5 */
	/* score by a model: one of the same endpoint that embeds: the scorer embedding asks it (NULL: the client's model), and it
	 * tells the hard windows nearest by embedding (NULL: none of these) */
	const char *embed_model;
	bool logprobs; /* score by a model: grade answers by their log-probabilities; simulation: go by those of the prompt
	                * alone. ERR_ARG: the server has none */
	double precision; /* score: stop asking when the interval is no wider than this to each side; 0: ask about all */
	unsigned n_hard; /* score: silent windows of the hard kinds, in equal shares. 24 */
	uint64_t seed;
	bool replay, dry_run;
	bool batch;          /* by the endpoint's Batch API */
	unsigned batch_size; /* requests handed over at a time, at most 50000. 10000 */
	double batch_poll;   /* seconds between looks at how far it is. 30 */
	explain_price price;
	store_budget budget; /* max_cost needs a price */
	const char *prompt,
	        *prompt_name; /* a template in place of ours, and the name of its file for errors; NULL: ours */
	const char *const
	        *forms; /* templates of the job's further questions as it was begun with; NULL: ours */
	const char *label_schema; /* of labels, as the job was begun with; NULL: ours */
	const char *options;      /* JSON, kept with the job for whoever resumes it; NULL: none */
	int64_t job;              /* 0: a new one, or the unfinished one that is the same */
	bool (*stop)(void);       /* NULL: never */
	progress *progress;       /* NULL: none */
	void (*tell)(void *payload, const explain_progress *p); /* after each task; NULL: nobody */
	void *payload;
} explain_opts;
explain_opts explain_opts_default(void);

/* Label features. *summary (may be NULL): JSON of counts, tokens, seconds and "features": what came of each in this run. A
 * feature with too few windows is skipped with the reason in its task. ERR_STOPPED: stopped with state kept; run again to go
 * on. ERR_REFUSED, ERR_NET: the endpoint will not, or cannot, answer; state is kept too. */
int explain_run(cJSON **summary, store *s, const explain_opts *o, error *err) MUST_USE;
/* The explainers there are, from 0; NULL behind the last. *about (may be NULL): what it goes by. */
const char *explain_explainer_name(size_t i, const char **about);
const char *explain_explainer_of(const explain_opts *o); /* the one that these options mean */
/* Score the latest label of each feature on documents the explainer did not see, by o->scorer. Detection and fuzzing: balanced
 * accuracy over n_positive firing windows and n_negative verified-silent ones, apart from it that over n_hard hard ones, and the
 * same with the label of another feature and with none (lexical: over all windows, else over n_baseline of each kind).
 * Simulation: correlation of activations. Embedding: area under the ROC curve of cosines, by embed_model, else the client's. Intruder: accuracy over n_negative groups, and
 * apart n_hard; no label is shown. All with 95 % intervals. ERR_ARG: no such
 * scorer, or it needs a model. */
int explain_score(cJSON **summary, store *s, const explain_opts *o, error *err) MUST_USE;
/* What the model of a subject server is called, malloc'd: it is asked, and nothing of it is logged. o->model is not used. */
int explain_subject_name(char **out, const explain_client_opts *o, bool (*stop)(void), error *err) MUST_USE;
/* The scorers there are, from 0; NULL behind the last. *measure (may be NULL): what its value is. */
const char *explain_scorer_name(size_t i, const char **measure);

/* Go on with a job of the store. Source, features and all that decides the outcome are the job's, `o` says the rest: the endpoint
 * must be the job's too (its key, NULL base_url and model: as the job says). ERR_NOTFOUND: no such job. */
int explain_resume(cJSON **summary, store *s, int64_t job, const explain_opts *o, error *err) MUST_USE;

#include "explain/alike.h"
#include "explain/golden.h"
#include "explain/report.h"

#endif
