/* What the scores of a store say together: part of explain.h, which includes it (report.c). */
#ifndef GLOSS_EXPLAIN_REPORT_H
#define GLOSS_EXPLAIN_REPORT_H

#include "explain/explain.h"

typedef struct explain_report_opts {
	store_sources sources; /* zeroed: all of the store */
	const char *by;        /* the scorer that features are ordered by; NULL: the one that scored most */
	unsigned n_shown;      /* best features, and worst, that have windows. 15 */
	unsigned n_windows;    /* of each. 3 */
} explain_report_opts;
explain_report_opts explain_report_opts_default(void);

/* Scores of the labels that count; of each scorer and judge, a series, the latest. Means over features have Student's 95 %
 * interval.
 * {"store","sources":[{"source","features","labelled","scored"}],"from","to": times of the first and last score,
 *  "replaced":{"scores","features","unscored"}: of labels that count no more, which are left out,
 *  "by": the series that orders features,
 *  "series":[{"scorer","judge","measure","chance","n","value","low","high": of the mean,"deviation","quantiles":[least, quarter, median, three quarters, greatest],
 *   "histogram":{"low","high","counts"},"above_chance","holds_chance","below_chance": features,"untold": whether it holds chance,
 *   "answers","failures":{rate of windows without an answer, of simulation of tokens},"always_yes","always_no","tpr","tnr","hard","auroc",
 *   "against":[{"what","n","value","low","high","better","equal": features,"difference":{mean}}],"plain_accuracy_of_no",
 *   "by_density":[{"from","to",mean}],"by_source":[{"source",mean}],"by_decile":[{rate}]}],
 *  "agreement":[{"a","b": series,"n","pearson":{},"spearman":{},"difference":{mean},
 *   ("kappa": of two judges of one scorer, over the windows that both answered: {"value","low","high","n": windows,"features","apart": windows
 *   of one judge alone,"agree","by_chance": shares,"both_yes","a_yes","b_yes","both_no"};
 *   or of a scorer whose answers are no yes or no "no_kappa": why)}],
 *  ("golden": where a person judged windows: {"person":[{"question","answers","features","value","low","high": balanced accuracy,"tpr","tnr"}],
 *   "judges":[{"series","n","features","accuracy","tpr","tnr": rates,"kappa","corrected":{"youden","uncorrected","value","low","high",
 *   "unlike": it errs unlike where the feature fires and where it is silent,"by_kind":{"firing":{"tpr","tnr"},"silent":{...}}},
 *   "calibration":{"n","brier","ece","slope","intercept","brier_after","auroc"}}]}),
 *  "cost":{"jobs":[...],"scorers":[...]},
 *  "features":[{"source","feature","label","method","model","density","fires","scores":[{"series","value",...}],"flags":[...],
 *   ("windows":[{"context","tokens","values"}])}] by `by`, the best first,"best","worst": those with windows, the best and the worst first}
 * ERR_NOTFOUND: no scores, no such source or scorer. */
int explain_report(cJSON **page, store *s, const explain_report_opts *o, error *err) MUST_USE;

#endif
