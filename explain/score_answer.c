/* score_answer: what the judge's replies say of the items that they were about, and with their log-probabilities how surely. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/scorer.h"

/* Log-odds of yes where the answer's value begins at byte `at` of what the tokens spell; NaN: its token has no alternatives. */
static double grade_at(const explain_tokens *tokens, size_t at)
{
	double yes = 0, no = 0;
	size_t from = 0, i = 0;

	while (i < tokens->n && from + tokens->token[i].len <= at)
		from += tokens->token[i++].len;
	if (i == tokens->n)
		return (double)NAN;
	for (unsigned k = 0; k < tokens->token[i].n_top; k++) {
		const explain_top *top = &tokens->token[i].top[k];
		const char *s = top->text + strspn(top->text, " \n:");

		yes += *s == 't' ? exp(top->logprob) : 0;
		no += *s == 'f' ? exp(top->logprob) : 0;
	}
	if (yes + no <= 0)
		return (double)NAN;
	/* one that is not among the likeliest is less likely than all of them */
	return log(fmax(yes, 1e-9)) - log(fmax(no, 1e-9));
}

/* Where the values of the answers begin in what the reply says: the n-th is behind the n-th key. Returns how many there are. */
static size_t find_values(size_t *at, size_t most, const char *content, const char *key)
{
	char quoted[32];
	size_t n = 0, len = (size_t)snprintf(quoted, sizeof(quoted), "\"%s\"", key);

	for (const char *s = strstr(content, quoted); s; s = strstr(s, quoted)) {
		s += len;
		s += strspn(s, " \n\t:");
		if (n < most)
			at[n] = (size_t)(s - content);
		n++;
	}
	return n;
}

/* Of the n answers in their order; NaN where the tokens do not tell. */
static int read_grades(double *grade, size_t n, const engine_ask *ask, const char *key, error *err)
{
	explain_tokens tokens = { 0 };
	size_t *at = calloc(n + 1, sizeof(*at));
	text content;
	int rc = at ? chat_logprobs(&tokens, ask->reply, err) : error_nomem(err, "grades");

	text_init(&content, CHAT_REPLY_MAX);
	for (size_t i = 0; i < tokens.n && rc == 0; i++)
		rc = text_add(&content, tokens.token[i].text, tokens.token[i].len);
	for (size_t i = 0; i < n; i++)
		grade[i] = (double)NAN;
	/* with other keys of that name, as where it thinks aloud, which is which cannot be told */
	if (rc == 0 && content.data && find_values(at, n, content.data, key) == n)
		for (size_t i = 0; i < n; i++)
			grade[i] = grade_at(&tokens, at[i]);
	text_free(&content);
	explain_tokens_clear(&tokens);
	free(at);
	return rc;
}

/* By the id that each answer names; ids that were not asked about, and all but the first answer to one, count for nothing. */
static void take_answers(const engine_ask *ask, const cJSON *list, const double *grade)
{
	score_task *mine = ask->task->data;
	const score_batch *b = ask->data;
	const cJSON *a, *said;
	size_t i = 0;

	cJSON_ArrayForEach(a, list)
	{
		double id = cJSON_GetObjectItemCaseSensitive(a, "id")->valuedouble;
		double of = grade ? grade[i] : (double)NAN;

		i++;
		said = cJSON_GetObjectItemCaseSensitive(a, mine->scorer->answer);
		if (!(id >= 1 && id <= (double)b->n) || id != floor(id)) {
			mine->n_stray++;
			continue;
		}
		score_item *it = b->items[(size_t)id - 1];

		if (!isnan(it->answer[b->whose]))
			continue;
		it->answer[b->whose] = cJSON_IsNumber(said) ? said->valuedouble : cJSON_IsTrue(said);
		it->grade[b->whose] = of;
	}
}

/* Numbers in one of two lists. Those that were not asked about count for nothing, and one that is in both has no answer. */
static int take_lists(const engine_ask *ask, error *err)
{
	score_task *mine = ask->task->data;
	const score_batch *b = ask->data;
	const char *const names[] = { mine->scorer->no, mine->scorer->yes };
	uint8_t *votes = arena_alloc(&ask->task->mem, b->n + 1, 1);
	const cJSON *id;

	if (!votes)
		return error_nomem(err, "answers");
	for (int said = 0; said < 2; said++)
		cJSON_ArrayForEach(id, cJSON_GetObjectItemCaseSensitive(ask->answer, names[said]))
		{
			double n = id->valuedouble;

			if (n >= 1 && n <= (double)b->n && n == floor(n))
				votes[(size_t)n - 1] |= (uint8_t)(1 << said);
			else
				mine->n_stray++;
		}
	for (size_t i = 0; i < b->n; i++)
		if (votes[i] == 1 || votes[i] == 2)
			b->items[i]->answer[b->whose] = votes[i] == 2;
	return 0;
}

int score_take(engine_ask *ask, error *err)
{
	const score_task *mine = ask->task->data;
	const cJSON *list = cJSON_GetObjectItemCaseSensitive(ask->answer, "answers");
	size_t n = (size_t)cJSON_GetArraySize(list);
	double *grade = ask->reply ? arena_alloc(&ask->task->mem, n + 1, sizeof(*grade)) : NULL;
	int rc = 0;

	if (mine->scorer->no && !(ask->form && ask->form == mine->form_again))
		return take_lists(ask, err);
	if (ask->reply)
		rc = grade ? read_grades(grade, n, ask, mine->scorer->answer, err)
		           : error_nomem(err, "grades");
	if (rc == 0)
		take_answers(ask, list, grade);
	return rc;
}
