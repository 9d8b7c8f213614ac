/* engine: the loop that takes a job's tasks, asks their questions and records what came of them. Private to explain/. A kind
 * of job (explain.c, score.c) says what a task asks and what its answers mean. */
#ifndef GLOSS_EXPLAIN_ENGINE_H
#define GLOSS_EXPLAIN_ENGINE_H

#include "explain/chat.h"
#include "explain/prompt.h"

typedef struct engine engine;
typedef struct engine_task engine_task;

/* What questions are made from, and what their answers must look like. */
typedef struct engine_form {
	const char *name, *schema; /* of the schema, for the server; JSON */
	const char *prompt;        /* the template */
} engine_form;
enum { ENGINE_FORMS_MAX = 3 }; /* of a kind, beside its own */

/* One question of a task. It lives in the task's arena. */
typedef struct engine_ask {
	explain_request request;
	engine_task *task;
	unsigned seq;            /* of the task's questions, from 0 */
	unsigned form;           /* as the task's when it was asked */
	const char *example_ids; /* JSON: the windows it is about */
	bool over;               /* answered, or failed for good */
	bool read;               /* the kind's own mark: dealt with */
	cJSON *answer;           /* fits the schema; NULL: see err */
	const char *reply;       /* all of it, of a chat where log-probabilities are asked for */
	chat_end end;            /* how it ended, once over */
	error err;
	void *data; /* the kind's own */
	struct engine_ask *next;
} engine_ask;

struct engine_task {
	engine *job;
	store_task row;
	arena mem; /* of everything the task is made of */
	engine_ask *asks, **last;
	unsigned n_asks, open;          /* open: not yet over */
	uint64_t input, cached, output; /* tokens that its answers cost, whoever paid */
	const uint32_t *twins;          /* (n_twins) features that share its label */
	size_t n_twins;
	unsigned
	        form; /* of the questions that come next: 0 the kind's own, else forms[form - 1] of the kind */
	void *data;   /* the kind's own */
	/* What came of it, once settled. */
	bool settled;
	store_task_state state;
	const char *why;
	store_explanation *explanation;
	store_explanation *rejected; /* (n_rejected) labels that were made and not chosen */
	size_t n_rejected;
	store_score *
	        chosen_by; /* (n_rejected + 1) scores of these, and of the label, that it was chosen by; NULL: it was not */
	store_score *score;
	engine_task *next;
};

/* A kind of job, and of scoring: the tables of label and score are such. */
typedef struct engine_kind {
	const char *name, *unit;           /* "explain"; of progress */
	const struct scorer *scorer;       /* of a kind named "score": how (scorer.h); else NULL */
	const struct explainer *explainer; /* of a kind named "explain": how (explainer.h); else NULL */
	const char *schema_name, *schema;
	const char *prompt;                       /* the template where the user gives none */
	const engine_form *forms;                 /* of further questions */
	size_t (*n_forms)(const explain_opts *o); /* how many of them a job asks by; NULL: none */
	const char *const *fields;                /* (n_fields) that a template may name */
	size_t n_fields;
	const char *none_yet; /* SQL, true of features that lack what this kind makes; NULL: see lacks() */
	/* Whether a feature lacks it; NULL: see none_yet. */
	int (*lacks)(bool *out, store *s, int64_t source, const explain_opts *o, uint32_t feature,
	             error *err);
	const char *left_out; /* in the summary: features chosen that got no task of their own */
	int (*check)(const struct engine_kind *k, const explain_opts *o, error *err);
	/* Tasks for n features into `tasks`, which has room for n zeroed ones; *n_tasks of them. The caller frees them with
	 * engine_free_tasks(), after a failure too. */
	int (*choose)(store_task *tasks, size_t *n_tasks, store *s, const store_source *source,
	              const explain_opts *o, const uint32_t *features, size_t n, error *err);
	/* Add what decides the outcome beyond engine_settings(). false: no memory. */
	bool (*settings)(cJSON *settings, const explain_opts *o);
	/* Before the first task: see that the server can what is needed; NULL: engine_open_chat(). */
	int (*open)(engine *j, error *err);
	/* Add questions with engine_ask_add() or engine_ask_fill(), or settle the task. */
	int (*begin)(engine_task *t, error *err);
	/* Every question is over: settle the task, or ask again. */
	int (*finish)(engine_task *t, error *err);
	/* Add to what the summary says of the settled task. false: no memory. */
	bool (*report)(const engine_task *t, cJSON *about);
} engine_kind;
/* NULL: there is no such scorer (score.c). logprobs: answers are to be graded, or activations simulated, by them. */
const engine_kind *score_kind(const char *scorer, bool logprobs);
/* NULL: there is no such explainer (explain.c). cot: with reasons before the label. */
const engine_kind *label_kind(const char *explainer, bool cot);

enum { ENGINE_REPORTS_MAX = 1 << 30 }; /* bytes of a summary's list */

struct engine {
	const engine_kind *kind;
	const explain_opts *o;
	store *s;
	int64_t source;
	const char *method; /* 'lexical' or the model's name */
	const char *prompt; /* the template */
	char prompt_sha256[SHA256_HEX], schema_sha256[SHA256_HEX];
	size_t n_forms; /* of the kind, in use */
	const char *form_prompt
	        [ENGINE_FORMS_MAX]; /* their templates: the kind's, or those the job was begun with */
	struct {
		char prompt[SHA256_HEX], schema[SHA256_HEX];
	} form_sha256[ENGINE_FORMS_MAX];
	const store_task *list; /* (n_list) what the job is about */
	size_t n_list;
	/* The engine's own. */
	int64_t id;
	char uid[64];
	bool resumed, exhausted;
	chat chat;
	cJSON *schema, *form_schema[ENGINE_FORMS_MAX];
	explain_client *client; /* NULL: lexical, or a dry run */
	explain_client
	        *subject; /* where the subject server is not the endpoint; NULL: it is, or there is none */
	explain_client *embed; /* of o->embed_model; NULL: none, or a dry run */
	store_log *log;
	struct batch *batch;             /* NULL: requests go one by one */
	engine_task *tasks, **last_task; /* begun and not yet recorded, by id */
	unsigned n_tasks;
	size_t open;            /* requests */
	uint64_t n_all, before; /* tasks; over when this run began */
	uint64_t dry_requests, dry_input, dry_output, dry_bytes, recorded, failed, missing;
	bool reporting;             /* a summary is wanted */
	text reports;               /* JSON: the members of its list so far */
	uint64_t refused;           /* filtered ones too */
	double started, beat;       /* when it last said that it lives */
	int64_t held;               /* client_hold(), as the store has it */
	struct engine_taken *taken; /* leased and not yet begun */
};

/* Run the tasks of `list` as a job with these settings (JSON, everything that decides the outcome), or with o->job go on with
 * that one, whose tasks these are. Summary, errors: as explain_run(). */
int engine_run(cJSON **summary, engine *j, const char *settings, error *err) MUST_USE;

/* What it says (engine_report.c): of a settled task, for the summary; of its progress, to the user; all of it, at the end. */
int engine_report(engine *j, const engine_task *t, error *err) MUST_USE;
void engine_tell(const engine *j);
int engine_summary(cJSON **out, engine *j, error *err) MUST_USE;

/* Features by the options of a job of this kind (choose.c), malloc'd. */
int engine_choose(uint32_t **features, size_t *n, store *s, const store_source *source, const engine_kind *k,
                  const explain_opts *o, error *err) MUST_USE;
/* Of tasks for features that fire alike one stays, with the others as its twins (malloc'd; end with engine_free_tasks()). */
int engine_share(store_task *tasks, size_t *n, store *s, const store_source *source, error *err) MUST_USE;
void engine_free_tasks(store_task *tasks, size_t n);

/* A job of one kind (kind.c): over features as the options say, or over tasks that were chosen. Summary, errors: as
 * explain_run(). */
int kind_start(cJSON **summary, const engine_kind *k, store *s, const explain_opts *o, error *err) MUST_USE;
int kind_run(cJSON **summary, const engine_kind *k, store *s, int64_t source, const explain_opts *o,
             const store_task *tasks, size_t n, error *err) MUST_USE;
/* What answers of a form (engine_task.form) are asked for and read by, as JSON. */
const char *engine_schema(const engine_kind *k, const explain_opts *o, unsigned form);
/* Template and schema of the job, by which it asks from now on: hashed, and kept in the store where a model is asked. */
int kind_keep(engine *j, error *err) MUST_USE;

/* A question; system, user, example_ids and data must live in t->mem. sample: see chat_question. user NULL: nobody is asked, only
 * the windows that a rule was made of or applied to are recorded; the question is over at once. */
int engine_ask_add(engine_task *t, engine_ask **out, const char *system, const char *user,
                   const char *example_ids, unsigned max_tokens, unsigned sample, void *data,
                   error *err) MUST_USE;
/* A request that is no chat: its body (malloc'd, freed here, after a failure too) to `api`; the reply is ask->reply. Not for
 * lexical jobs. Batches are for chats: it goes the usual way. */
int engine_ask_call(engine_task *t, engine_ask **out, explain_api api, char *body, const char *example_ids,
                    unsigned reply_tokens, unsigned sample, void *data, error *err) MUST_USE;
/* The same as engine_ask_add() with system and user from the job's template. */
int engine_ask_fill(engine_task *t, const prompt_field *fields, size_t n, const char *example_ids,
                    unsigned max_tokens, unsigned sample, void *data, error *err) MUST_USE;
/* why: copied; NULL for none. */
int engine_settle(engine_task *t, store_task_state state, const char *why, error *err) MUST_USE;

/* The state of a task that this question without an answer ends: failed, refused or filtered. */
store_task_state engine_failure(const engine_ask *ask);

/* Find out what chats the server takes, or read what the job knows of it. */
int engine_open_chat(engine *j, error *err) MUST_USE;
/* Make j->embed and see that it embeds (embed.c). */
int engine_embed_open(engine *j, error *err) MUST_USE;
/* See that j->client embeds, where j->embed is not going to: for kinds that ask it for nothing else. */
int engine_embed_probe(engine *j, error *err) MUST_USE;

/* "[[context,first,length],...]" of n windows, in t->mem. */
int engine_example_ids(engine_task *t, const char **out, const store_window *const *windows, size_t n,
                       error *err) MUST_USE;
/* How many groups of documents n windows come from, counted up to 2. */
unsigned engine_groups(const store_window *w, size_t n);

#endif
