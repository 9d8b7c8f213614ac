/* scorer: what all scorers share. A scorer makes items out of windows, each with a right answer, has a judge answer them, and
 * makes a score of the answers; batches, asking again, baselines and intervals are the same for all (score.c). Private to
 * explain/. */
#ifndef GLOSS_EXPLAIN_SCORER_H
#define GLOSS_EXPLAIN_SCORER_H

#include "explain/examples.h"
#include "explain/stats.h"

/* What an item is, and so which rate its answer counts in. */
typedef enum score_stratum {
	SCORE_FIRING,    /* the feature fires */
	SCORE_SILENT,    /* it is silent, at random; of simulation: any at random */
	SCORE_MISMARKED, /* fuzzing: it fires, and other tokens are marked */
	SCORE_DECODER,   /* hard ones, as store_hard has them: the first of it */
	SCORE_COFIRING,
	SCORE_TOKEN,
	SCORE_NEAREST, /* nearest by embedding */
	SCORE_STRATA
} score_stratum;
enum { SCORE_HARD_KINDS = SCORE_STRATA - SCORE_DECODER };
extern const char *const score_stratum_names[SCORE_STRATA];

/* By what the items are judged: the feature's label, that of another feature, none; the rule that the lexical explainer
 * finds, which costs no request. */
typedef enum score_label { SCORE_OWN, SCORE_OTHER, SCORE_EMPTY, SCORE_LEXICAL, SCORE_LABELS } score_label;

typedef struct score_shown {
	store_window w;
	const uint8_t *mark; /* (w.length) 1: shown between << and >>; NULL: no marks */
} score_shown;

typedef struct score_item {
	const score_shown *shown; /* (n_shown) one; of an intruder's question several */
	uint32_t n_shown;
	score_stratum stratum;
	unsigned decile; /* of a firing one */
	unsigned look;   /* asked about from this look on (score.c: precision) */
	double truth;    /* the right answer: 1 yes, 0 no; an intruder's number from 1 */
	bool asked[SCORE_LABELS];
	uint8_t questions[SCORE_LABELS]; /* times that it stood in one */
	double answer[SCORE_LABELS];     /* NaN: none yet */
	double grade[SCORE_LABELS]; /* the larger, the surer it is of yes; NaN where answers are not graded */
} score_item;

typedef struct score_task {
	const struct scorer *scorer;
	score_item *items; /* (n) in the order in which they are shown */
	size_t n;
	store_explanation label[SCORE_LABELS]; /* .text NULL: none to judge by */
	unsigned look;
	bool again;          /* what has no answer was asked about once more */
	unsigned form_again; /* the form of these questions: an object an answer, not lists; 0: the same */
	double hard;         /* the value against hard items alone; NaN: there are none */
	uint32_t n_again, n_stray; /* items asked about twice; answers about none that was asked about */
	void *own;                 /* the scorer's */
} score_task;

/* What one request is about. */
typedef struct score_batch {
	score_label whose;
	size_t n;
	score_item *items[];
} score_batch;

/* What items are made of. */
typedef struct score_material {
	example_set all;
	const size_t *chosen; /* (n_chosen) of all.w, ascending */
	size_t n_chosen;
	store_window *silent;
	size_t n_silent;
	store_window *hard[SCORE_HARD_KINDS];
	size_t n_hard[SCORE_HARD_KINDS];
} score_material;

typedef struct scorer {
	const char *name;
	const char *measure; /* what the value is, for people */
	bool labelled;       /* the judge goes by a label */
	bool subject;        /* it asks for no chats, but for what subject.h has */
	bool steers;         /* and needs a subject server for that */
	bool embeds; /* it asks the embedding model (explain_opts.embed_model, else the client's), and nobody else */
	bool no_hard;   /* it has no use for hard windows */
	bool together;  /* one request answers by all labels: baselines are of all items and cost no more */
	unsigned batch; /* items a request; 0: as explain_opts.per_prompt has it */
	const char
	        *nothing; /* what stands in place of a label where none is given; NULL: "(none is given)" */
	/* What one gets who answers by chance. */
	double (*chance)(const explain_opts *o);
	/* Items into mine->items, with score_items_new() and score_items_add(). *why: why there can be none, or NULL. */
	int (*make)(const char **why, char buf[128], engine_task *t, const score_material *m, error *err);
	/* Of score_ask(): one item, the number-th from 1, as the question shows it; and the name that its answer, true, false or
	 * a number, has in the reply. */
	int (*show)(text *out, const score_item *it, size_t number, error *err);
	const char *
	        answer; /* of a reply with an object for each item; behind "id" in the alphabet, so that a model names the item first */
	const char *yes,
	        *no; /* not NULL: a reply has two lists, of the numbers of items whose answer is yes and no */
	/* Answer by the rule of a lexical label; NULL: only a model can. */
	int (*by_rule)(double *answer, const char *rule, const score_item *it, error *err);
	/* Have a batch judged, and read the reply into items; score_ask() and score_take() for a chat. */
	int (*ask)(engine_task *t, score_batch *b, unsigned sample, error *err);
	int (*take)(engine_ask *ask, error *err);
	/* In place of having items judged: ask what comes next, or nothing more; NULL: items are judged. take() gets the replies. */
	int (*step)(engine_task *t, error *err);
	/* Value, interval, counts and details of sc: score_measure_balanced(), score_measure_area() or score_measure_accuracy().
	 * level: of the interval. */
	int (*measure_up)(store_score *sc, engine_task *t, double level, error *err);
} scorer;
extern const scorer scorer_detection_graded,
        scorer_fuzz_graded; /* with an object an answer, for log-probabilities */
extern const scorer scorer_detection, scorer_confidence, scorer_fuzz, scorer_intruder, scorer_surprisal,
        scorer_embedding, scorer_intervention, scorer_simulation, scorer_simulation_echo;

/* Windows of documents of a part. *why: the reason why the feature cannot be scored by them, or NULL. */
typedef struct score_wanted {
	store_part part;
	explain_choice how; /* of firing ones */
	unsigned n_positive, n_negative, n_hard;
} score_wanted;
int score_gather(const char **why, char buf[128], score_material *m, engine_task *t, const score_wanted *want,
                 error *err) MUST_USE;
/* Of silent windows besides the random ones those nearest to the chosen firing ones by the cosine of their embeddings (embed.c),
 * at most `want`; none in a dry run, which counts what it would ask. */
int score_nearest(store_window **out, size_t *n, engine_task *t, const score_material *m, size_t want,
                  error *err) MUST_USE;
/* Room for at most n. */
int score_items_new(engine_task *t, size_t n, error *err) MUST_USE;
/* One item of (n) windows, which are copied; mark (each NULL or as score_shown has it) stays the caller's. */
int score_items_add(engine_task *t, const score_item *like, const store_window *w, const uint8_t *const *mark,
                    uint32_t n, error *err) MUST_USE;
/* The same number for the same window and what it is for. */
uint64_t score_window_hash(const engine_task *t, const store_window *w, uint64_t what);

/* The items in one order of all kinds together that depends on seed and feature alone; each kind is spread evenly over the looks,
 * and those of the first are to be judged by SCORE_OWN. */
int score_shuffle(engine_task *t, error *err) MUST_USE;
/* Have the items that were asked for and have no answer judged by a label, a batch at a time. The last may be short. */
int score_judge(engine_task *t, score_label whose, unsigned sample, error *err) MUST_USE;
/* "[[context,first,length],...]" of all windows of a batch, in t->mem. */
int score_batch_ids(engine_task *t, const char **ids, const score_batch *b, error *err) MUST_USE;
/* For a scorer: chance is 0.5; each window is an item, as of detection. */
double score_chance_half(const explain_opts *o);
int score_make_windows(const char **why, char buf[128], engine_task *t, const score_material *m,
                       error *err) MUST_USE;

int score_ask(engine_task *t, score_batch *b, unsigned sample, error *err) MUST_USE;
int score_take(engine_ask *ask, error *err) MUST_USE;

/* Balanced accuracy of firing items against random silent ones (score_measure.c); the area under the ROC curve of their answers,
 * which are numbers, the larger the surer of firing; accuracy. */
int score_measure_area(store_score *sc, engine_task *t, double level, error *err) MUST_USE;
int score_measure_balanced(store_score *sc, engine_task *t, double level, error *err) MUST_USE;
int score_measure_accuracy(store_score *sc, engine_task *t, double level, error *err) MUST_USE;

#endif
