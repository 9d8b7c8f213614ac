/* Whether features that match have labels that mean the same: part of explain.h, which includes it (alike.c). */
#ifndef GLOSS_EXPLAIN_ALIKE_H
#define GLOSS_EXPLAIN_ALIKE_H

#include "explain/explain.h"

typedef struct explain_alike_pair {
	const char *a, *b; /* labels of two features that match; UTF-8 */
	double strength;   /* how well they do: decoder cosine, or correlation */
	bool same;         /* they are the same feature by the comparison's verdict */
} explain_alike_pair;
typedef struct explain_alike_opts {
	const explain_client_opts *client; /* its model embeds */
	store_log *log;                    /* replies are kept in it; NULL: nowhere */
	uint64_t seed;                     /* of random pairs and resamples */
	bool (*stop)(void);                /* NULL: never */
	bool dry_run;                      /* send nothing, say what would be sent and what it would cost */
	explain_price price;               /* for that */
} explain_alike_opts;
/* Embed the labels of (n) pairs, each text once, and compare the cosine of those of a pair with that of A's label and another pair's B.
 * {"model","texts": embedded,"all":{"n","matched":{mean cosine},"random":{mean over all other pairs},"difference":{mean, bootstrap over
 *  pairs},"auroc":{a matched pair's over a random one's},"equal_texts": pairs},"same": the same of pairs with that verdict,
 *  "by_strength":[{"from","to","n",mean}]}; a part of fewer than 3 pairs is null.
 * In a dry run {"dry_run","model","pairs","texts","requests","input_tokens_estimate","output_tokens_limit","cost_estimate","cost_limit"}: the last
 * two where there is a price; what the log holds already is counted too.
 * ERR_NOTFOUND: fewer than 3 pairs; ERR_FORMAT: a vector of zeros. The server is asked for one vector before all others: its error where it gives none. */
int explain_alike(cJSON **out, const explain_alike_pair *pairs, size_t n, const explain_alike_opts *o,
                  error *err) MUST_USE;

#endif
