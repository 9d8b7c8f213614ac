/* See golden.h. */
#include "cli/golden.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "cli/store_args.h"

/* ---- Asking ------------------------------------------------------------------------------------------------------------- */

/* On stderr, with nothing in it that steers a terminal. */
static int say(const char *of_others, error *err)
{
	text t;
	int rc;

	text_init(&t, 1 << 24);
	rc = text_add_visible(&t, of_others, strlen(of_others));
	if (rc == 0)
		fputs(t.data ? t.data : "", stderr);
	text_free(&t);
	return rc < 0 ? error_set(err, rc, "a window is too long to be shown") : 0;
}

static int show(const explain_golden_question *q, bool head, error *err)
{
	int rc = 0;

	if (head) {
		fprintf(stderr, "\nfeature %u, %zu of %zu: ", q->feature, q->feature_at + 1, q->n_features);
		rc = say(q->label, err);
		fputs("\n", stderr);
	}
	if (rc == 0)
		rc = say(q->text, err);
	fprintf(stderr, "\n%zu of %zu: does the label fit? y, n, s skip, b back, q quit: ", q->at + 1, q->n);
	return rc;
}

/* Ctrl-C ends the wait for a key, which it would not do as other commands have it: they go on reading. */
static void let_signals_interrupt(void)
{
	static const int signals[] = { SIGINT, SIGTERM };
	struct sigaction action;

	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		if (sigaction(signals[i], NULL, &action) < 0)
			continue;
		action.sa_flags &= ~SA_RESTART;
		sigaction(signals[i], &action, NULL);
	}
}

/* One of ynsbq; 'q' at the end of input, 0 for anything else. */
static int read_key(char **line, size_t *room, error *err)
{
	ssize_t n;
	size_t at = 0, len;

	errno = 0;
	n = getline(line, room, stdin);
	if (n < 0) {
		fputs("\n", stderr);
		if (ferror(stdin) && !cli_stop_requested())
			return error_set(err, ERR_IO, "cannot read answers: %s", strerror(errno));
		return 'q';
	}
	while ((*line)[at] == ' ' || (*line)[at] == '\t')
		at++;
	len = strcspn(*line + at, " \t\r\n");
	return len == 1 && strchr("ynsbq", (*line)[at]) ? (*line)[at] : 0;
}

/* What is to be asked next, after an answer to question i. */
static int take_key(size_t *i, explain_golden *g, int key, error *err)
{
	if (key == 0)
		fputs("y, n, s, b or q\n", stderr);
	if (key == 'b')
		*i -= *i > 0;
	if (key == 's')
		++*i;
	if (key == 'y' || key == 'n') {
		int rc = explain_golden_answer(g, *i, key == 'y', err);

		if (rc < 0)
			return rc;
		++*i;
	}
	return 0;
}

int golden_ask(size_t *answered, store *s, const explain_opts *o, unsigned n, error *err)
{
	explain_golden *g = NULL;
	explain_golden_question q;
	uint64_t last = UINT64_MAX;
	char *line = NULL;
	size_t room = 0, i = 0;
	bool more = true;
	int key = 0, rc = explain_golden_open(&g, s, o, n, err);

	*answered = 0;
	let_signals_interrupt();
	while (rc == 0 && key != 'q' && !cli_stop_requested()) {
		rc = explain_golden_get(&q, &more, g, i, err);
		if (rc < 0 || !more)
			break;
		rc = show(&q, q.feature != last, err);
		last = q.feature;
		if (rc == 0)
			rc = key = read_key(&line, &room, err);
		if (rc >= 0)
			rc = take_key(&i, g, key, err);
	}
	if (rc == 0 && !more)
		fputs(i ? "\nno more windows\n"
		        : "no windows to ask about: all are answered, or none can be shown\n",
		      stderr);
	if (g)
		*answered = explain_golden_answered(g);
	free(line);
	explain_golden_close(g);
	return rc;
}

/* ---- What came of it ---------------------------------------------------------------------------------------------------------- */

static void print_interval(const char *name, const cJSON *v)
{
	double value = answer_number(v, "value"), low = answer_number(v, "low"),
	       high = answer_number(v, "high");

	if (isnan(value))
		printf("  %-12s -\n", name);
	else if (isnan(low) || isnan(high))
		printf("  %-12s %.3f\n", name, value);
	else
		printf("  %-12s %.3f (%.3f to %.3f)\n", name, value, low, high);
}

static void print_calibration(const cJSON *c)
{
	printf("  %-12s Brier %.4f, expected calibration error %.4f", "graded", answer_number(c, "brier"),
	       answer_number(c, "ece"));
	if (!isnan(answer_number(c, "slope")))
		printf("; Platt: %.3f x log-odds %+.3f, Brier then %.4f", answer_number(c, "slope"),
		       answer_number(c, "intercept"), answer_number(c, "brier_after"));
	printf("\n");
	print_interval("AUROC", cJSON_GetObjectItem(c, "auroc"));
}

static void print_judge(const cJSON *page, const cJSON *j)
{
	const cJSON *series =
	        cJSON_GetArrayItem(cJSON_GetObjectItem(page, "series"), (int)answer_number(j, "series"));
	const cJSON *corrected = cJSON_GetObjectItem(j, "corrected"),
	            *c = cJSON_GetObjectItem(j, "calibration");
	const char *const names[] = { "accuracy", "tpr", "tnr", "kappa" };

	cli_put(answer_string(series, "scorer"));
	printf(" by ");
	cli_put(answer_string(series, "judge"));
	printf(", against the person on %.0f windows of %.0f features:\n", answer_number(j, "n"),
	       answer_number(j, "features"));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		print_interval(names[i], cJSON_GetObjectItem(j, names[i]));
	if (c)
		print_calibration(c);
	if (corrected) {
		printf("  %-12s %.3f as judged\n", "mean score", answer_number(corrected, "uncorrected"));
		if (cJSON_IsTrue(cJSON_GetObjectItem(corrected, "unlike")))
			printf("  %-12s the judge errs unlike where the feature fires and where it is "
			       "silent: %s\n",
			       "beware",
			       isnan(answer_number(corrected, "value")) ? "nothing is corrected"
			                                                : "corrected by its rates in each");
		if (isnan(answer_number(corrected, "value")))
			printf("  %-12s none: by the person's answers the judge may be no better than "
			       "chance\n",
			       "corrected");
		else
			print_interval("corrected", corrected);
	}
}

void golden_print(const cJSON *page)
{
	const cJSON *golden = cJSON_GetObjectItem(page, "golden"), *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItem(golden, "person"))
	{
		if (answer_number(one, "answers") > 0)
			printf("a person answered about %.0f windows of %.0f features (%s)\n",
			       answer_number(one, "answers"), answer_number(one, "features"),
			       answer_string(one, "question"));
		if (!isnan(answer_number(one, "value")))
			print_interval("as a judge", one);
	}
	cJSON_ArrayForEach(one, cJSON_GetObjectItem(golden, "judges")) print_judge(page, one);
}
