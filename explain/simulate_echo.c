/* simulate_echo: simulated activations by the log-probabilities of a prompt, all tokens of a window at once: each has "unknown" in
 * place of its activation, and what the model would rather have seen there tells the number that it expects. Few servers echo
 * a prompt with log-probabilities: completions of vLLM do. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "explain/claims.h"
#include "explain/simulate.h"
#include "explain/subject.h"

static const char place[] = "\tunknown";

/* ---- Questions -------------------------------------------------------------------------------------------------------- */

static int join(text *out, const char *label, const char *const *tokens, size_t n, const char *template,
                error *err)
{
	text user, lines, line;
	int rc = 0;

	text_init(&user, PROMPT_MAX);
	text_init(&lines, PROMPT_MAX);
	text_init(&line, PROMPT_MAX);
	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = text_adds(&lines, i ? "\n" : "");
		if (rc == 0)
			rc = text_add_visible(&lines, tokens[i], strlen(tokens[i]));
		if (rc == 0)
			rc = text_adds(&lines, place);
	}
	if (rc < 0)
		error_set(err, rc, "the prompt is too long");
	else
		rc = prompt_add_line(&line, label, err);
	if (rc == 0) {
		prompt_field fields[] = { { "label", line.data ? line.data : "" }, { "texts", lines.data } };

		rc = prompt_fill(out, &user, template, fields, ARRAY_LEN(fields), err);
	}
	if (rc == 0 && text_addf(out, "\n\n%s\n", user.data ? user.data : "") < 0)
		rc = error_set(err, ERR_LIMIT, "the prompt is too long");
	text_free(&line);
	text_free(&lines);
	text_free(&user);
	return rc;
}

static size_t count_places(const char *s)
{
	size_t n = 0;

	while ((s = strstr(s, place))) {
		s += sizeof(place) - 1;
		n++;
	}
	return n;
}

int simulate_echo_body(char **body, size_t *n_places, const engine *j, const char *label,
                       const char *const *tokens, size_t n, error *err)
{
	text prompt;
	int rc;

	text_init(&prompt, PROMPT_MAX);
	rc = join(&prompt, label, tokens, n, j->prompt, err);
	if (rc == 0) {
		*n_places = count_places(prompt.data);
		rc = completion_body(body, j->o->client->model, prompt.data, 0, SIMULATE_TOP, true, err);
	}
	text_free(&prompt);
	return rc;
}

/* ---- Answers ---------------------------------------------------------------------------------------------------------- */

/* "0" to "10" without a sign or a zero before it; -1: none. */
static int number_of(const char *s)
{
	if (s[0] >= '0' && s[0] <= '9' && s[1] == '\0')
		return s[0] - '0';
	return strcmp(s, "10") == 0 ? SIMULATE_MOST : -1;
}

double simulate_expected(const explain_token *t, size_t skip)
{
	double sum = 0, weighted = 0, p;

	for (unsigned i = 0; i < t->n_top && i < SIMULATE_TOP; i++) {
		const explain_top *top = &t->top[i];
		int k;

		if (strlen(top->text) <= skip || memcmp(top->text, t->text, skip) != 0)
			continue;
		k = number_of(top->text + skip);
		if (k < 0)
			continue;
		p = exp(top->logprob);
		sum += p;
		weighted += k * p;
	}
	return sum > 0 ? weighted / sum : (double)NAN;
}

/* By what the tokens spell, in which a broken character or a mark of the beginning does no harm. */
static int read_places(double *out, size_t n, size_t n_places, const explain_tokens *tokens,
                       const text *spelt, error *err)
{
	size_t token = 0, start = 0, found = 0;

	if (n_places < n || !spelt->data || count_places(spelt->data) != n_places)
		return error_set(err, ERR_FORMAT,
		                 "the tokens with log-probabilities do not spell the prompt");
	for (const char *s = strstr(spelt->data, place); s; s = strstr(s + 1, place)) {
		size_t at = (size_t)(s - spelt->data) + 1; /* behind the tab */

		while (start + tokens->token[token].len <= at)
			start += tokens->token[token++].len;
		if (found >= n_places - n)
			out[found - (n_places - n)] = simulate_expected(&tokens->token[token], at - start);
		found++;
	}
	return 0;
}

int simulate_read_echo(double *out, size_t n, size_t n_places, const char *reply, error *err)
{
	explain_completion c = { 0 };
	text spelt;
	int rc = explain_completion_read(&c, reply, err);

	text_init(&spelt, CHAT_REPLY_MAX);
	if (rc == 0 && c.tokens.n == 0)
		rc = error_set(err, ERR_FORMAT, "the reply has no log-probabilities");
	for (size_t i = 0; i < c.tokens.n && rc == 0; i++)
		rc = text_add(&spelt, c.tokens.token[i].text, c.tokens.token[i].len);
	if (rc == 0)
		rc = read_places(out, n, n_places, &c.tokens, &spelt, err);
	text_free(&spelt);
	explain_completion_clear(&c);
	return rc;
}

/* ---- Before the job --------------------------------------------------------------------------------------------------- */

/* Two tokens of which the first is what the label says, as the questions of the job will be. ERR_ARG, ERR_FORMAT, ERR_NOTFOUND: it is
 * of no use; *why says so. */
static int probe(engine *j, error *why)
{
	static const char *const tokens[] = { " cat", " and" };
	double expected[ARRAY_LEN(tokens)];
	char *body = NULL, *reply = NULL;
	size_t n_places = 0;
	int rc = simulate_echo_body(&body, &n_places, j, "the word cat", tokens, ARRAY_LEN(tokens), why);

	if (rc < 0)
		return rc;
	client_for_job(j->client, j->uid, "probe", &j->o->price, &j->o->budget);
	rc = subject_call(&reply, j->client, EXPLAIN_COMPLETIONS, body, j->o->stop, why);
	if (rc == 0)
		rc = simulate_read_echo(expected, ARRAY_LEN(tokens), n_places, reply, why);
	if (rc == 0 && isnan(expected[0]) && isnan(expected[1]))
		rc = error_set(why, ERR_FORMAT, "no number from 0 to 10 is among the likeliest %d tokens",
		               SIMULATE_TOP);
	free(reply);
	return rc;
}

static bool of_no_use(int rc)
{
	return rc == ERR_ARG || rc == ERR_FORMAT || rc == ERR_NOTFOUND;
}

int simulate_open_echo(engine *j, error *err)
{
	error why = { 0 };
	int rc = probe(j, &why);

	if (of_no_use(rc))
		return error_set(
		        err, ERR_ARG,
		        "'%.60s' at '%.80s' tells no log-probabilities of its prompt that are of use (%s): "
		        "leave out --logprobs",
		        j->o->client->model, j->o->client->base_url, why.msg);
	return rc < 0 ? error_set(err, rc, "%s", why.msg) : 0;
}

/* A template of the user's own is one for chats, and so are batches. */
int simulate_open(engine *j, error *err)
{
	const engine_kind *chats = j->kind;
	const char *prompt = j->prompt;
	bool own = strcmp(prompt, chats->prompt) != 0;
	error why = { 0 };
	int rc;

	if (own || j->o->batch)
		return engine_open_chat(j, err);
	j->kind = score_kind("simulation", true);
	j->prompt = j->kind->prompt;
	rc = probe(j, &why);
	if (rc == 0)
		return kind_keep(j, err);
	if (!of_no_use(rc))
		return error_set(err, rc, "%s", why.msg);
	j->kind = chats;
	j->prompt = prompt;
	return engine_open_chat(j, err);
}
