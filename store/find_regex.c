/* Features by a regular expression over the text they fire on. The definition is in store.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "store/query_internal.h"

#include <inttypes.h>

/* What a pattern may cost: on one context, and on all. */
#define MAX_STEPS   2000000    /* of PCRE2's matcher, a match */
#define MAX_DEPTH   20000      /* nested backtracking points */
#define MAX_HEAP    (64 << 10) /* KiB */
#define MAX_PATTERN 4096
#define MAX_SECONDS 60.0

struct regex {
	const char *source; /* of the pattern, for messages */
	pcre2_code *code;
	pcre2_match_context *limits;
	pcre2_match_data *match;
	uint32_t group; /* whose first character counts: 1, or 0 in a pattern without groups */
};

static void regex_clear(struct regex *re)
{
	pcre2_match_data_free(re->match);
	pcre2_match_context_free(re->limits);
	pcre2_code_free(re->code);
}

static int bad_pattern(error *err, const struct regex *re, int code, size_t at)
{
	PCRE2_UCHAR why[256] = "?";

	pcre2_get_error_message(code, why, sizeof(why));
	return error_set(err, ERR_ARG, "pattern '%.200s': character %zu: %s", re->source, at + 1,
	                 (const char *)why);
}

static int regex_init(struct regex *re, const char *pattern, error *err)
{
	uint32_t groups = 0;
	PCRE2_SIZE at = 0;
	int code = 0;

	*re = (struct regex){ .source = pattern };
	if (strlen(pattern) > MAX_PATTERN)
		return error_set(err, ERR_LIMIT, "the pattern is over %d characters", MAX_PATTERN);
	re->code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
	                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
	if (!re->code && code == PCRE2_ERROR_HEAP_FAILED)
		return error_nomem(err, "a pattern");
	if (!re->code)
		return bad_pattern(err, re, code, at);
	pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* where there is none, the interpreter does it */
	pcre2_pattern_info(re->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	re->group = groups ? 1 : 0;
	re->match = pcre2_match_data_create_from_pattern(re->code, NULL);
	re->limits = pcre2_match_context_create(NULL);
	if (!re->match || !re->limits)
		return error_nomem(err, "a pattern");
	pcre2_set_match_limit(re->limits, MAX_STEPS);
	pcre2_set_depth_limit(re->limits, MAX_DEPTH);
	pcre2_set_heap_limit(re->limits, MAX_HEAP);
	return 0;
}

static int match_failed(error *err, const struct regex *re, int code, int64_t context)
{
	PCRE2_UCHAR why[256] = "?";

	if (code == PCRE2_ERROR_MATCHLIMIT || code == PCRE2_ERROR_DEPTHLIMIT ||
	    code == PCRE2_ERROR_HEAPLIMIT || code == PCRE2_ERROR_JIT_STACKLIMIT)
		return error_set(err, ERR_LIMIT,
		                 "pattern '%.200s' takes too many steps on context %" PRId64
		                 ": it backtracks without end",
		                 re->source, context);
	if (code == PCRE2_ERROR_NOMEMORY)
		return error_nomem(err, "matching a pattern");
	pcre2_get_error_message(code, why, sizeof(why));
	return error_set(err, ERR_FORMAT, "pattern '%.200s': context %" PRId64 ": %s", re->source, context,
	                 (const char *)why);
}

static size_t next_character(const context_row *c, size_t at)
{
	do
		at++;
	while (at < c->text_len && ((unsigned char)c->text[at] & 0xc0) == 0x80);
	return at;
}

/* Set matched[i] for the tokens of the context where group 1 begins. */
static int regex_mark(bool *matched, struct regex *re, const context_row *c, error *err)
{
	uint32_t options = 0; /* the first match checks that the text is UTF-8; later ones need not */
	size_t at = 0, begin, end;
	const PCRE2_SIZE *span;
	int n;

	while (at <= c->text_len) {
		n = pcre2_match(re->code, (PCRE2_SPTR)c->text, c->text_len, at, options, re->match,
		                re->limits);
		if (n == PCRE2_ERROR_NOMATCH && !(options & PCRE2_NOTEMPTY_ATSTART))
			return 0;
		if (n < 0 && n != PCRE2_ERROR_NOMATCH)
			return match_failed(err, re, n, c->id);
		options = PCRE2_NO_UTF_CHECK;
		if (n == PCRE2_ERROR_NOMATCH) { /* nothing but the empty match already seen begins here */
			at = next_character(c, at);
			continue;
		}
		span = pcre2_get_ovector_pointer(re->match);
		begin = span[2 * re->group];
		end = span[2 * re->group + 1];
		if ((uint32_t)n > re->group && begin != PCRE2_UNSET && end > begin) {
			uint32_t token = context_row_token_at(c, (uint32_t)begin);

			if (token < c->n_tokens)
				matched[token] = true;
		}
		if (span[1] == span[0])
			options |= PCRE2_NOTEMPTY_ATSTART | PCRE2_ANCHORED;
		at = span[1] > at || span[1] == span[0] ? span[1] : next_character(c, at);
	}
	return 0;
}

/* What was counted of each feature, and of all. */
struct tally {
	uint64_t *hits, *fires; /* (n_features) */
	uint32_t n_features;
	uint64_t matches, tokens, contexts;
	bool *matched; /* of one context */
	size_t matched_cap;
};

static int tally_context(struct tally *t, struct regex *re, const firing_scan *scan, error *err)
{
	const store_codes *codes = &scan->codes;
	uint32_t n = scan->context.n_tokens;
	int rc;

	if (mem_grow(&t->matched, &t->matched_cap, n, sizeof(*t->matched)) < 0)
		return error_nomem(err, "matches");
	memset(t->matched, 0, n * sizeof(*t->matched));
	rc = regex_mark(t->matched, re, &scan->context, err);
	if (rc < 0)
		return rc;
	t->contexts++;
	for (uint32_t i = 0; i < n; i++) {
		if (!bit_is_set(scan->counted, i))
			continue;
		t->tokens++;
		t->matches += t->matched[i];
		for (uint32_t j = codes->start[i]; j < codes->start[i + 1]; j++) {
			t->fires[codes->feature[j]]++;
			t->hits[codes->feature[j]] += t->matched[i];
		}
	}
	return 0;
}

static int tally_all(struct tally *t, struct regex *re, store *s, int64_t source, error *err)
{
	double end = clock_now() + MAX_SECONDS;
	firing_scan scan;
	bool more;
	int rc;

	rc = firing_scan_begin(&scan, s, source, err);
	if (rc < 0)
		return rc;
	t->n_features = scan.n_features;
	t->hits = calloc((size_t)t->n_features + 1, sizeof(*t->hits));
	t->fires = calloc((size_t)t->n_features + 1, sizeof(*t->fires));
	if (!t->hits || !t->fires)
		rc = error_nomem(err, "counts of features");
	while (rc == 0 && (rc = firing_scan_next(&scan, &more, err)) == 0 && more) {
		rc = tally_context(t, re, &scan, err);
		if (rc == 0 && clock_now() > end)
			rc = error_set(err, ERR_LIMIT, "pattern '%.200s': stopped after %.0f s", re->source,
			               MAX_SECONDS);
	}
	firing_scan_end(&scan);
	return rc;
}

struct found {
	uint32_t feature;
	uint64_t hits, fires;
	double precision, recall, f1;
};

static int best_first(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->f1 != y->f1)
		return x->f1 > y->f1 ? -1 : 1;
	if (x->hits != y->hits)
		return x->hits > y->hits ? -1 : 1;
	return x->feature < y->feature ? -1 : x->feature > y->feature;
}

/* The features worth listing, best first. */
static int rank(struct found **out, size_t *n, const struct tally *t, const store_regex_opts *o, error *err)
{
	struct found *all = malloc(((size_t)t->n_features + 1) * sizeof(*all));
	size_t count = 0;

	if (!all)
		return error_nomem(err, "counts of features");
	for (uint32_t f = 0; f < t->n_features; f++) {
		struct found it = { .feature = f, .hits = t->hits[f], .fires = t->fires[f] };

		if (it.hits == 0)
			continue;
		it.precision = (double)it.hits / (double)it.fires;
		it.recall = (double)it.hits / (double)t->matches;
		it.f1 = 2 * (double)it.hits / (double)(it.fires + t->matches);
		if (it.precision >= o->min_precision && it.recall >= o->min_recall)
			all[count++] = it;
	}
	qsort(all, count, sizeof(*all), best_first);
	*out = all;
	*n = count;
	return 0;
}

static int put_found(cJSON *list, const struct found *it, label_lookup *labels, bool *failed, error *err)
{
	cJSON *item = json_put_object(list, NULL, failed);

	json_put_number(item, "feature", it->feature, failed);
	json_put_number(item, "precision", it->precision, failed);
	json_put_number(item, "recall", it->recall, failed);
	json_put_number(item, "f1", it->f1, failed);
	json_put_number(item, "hits", (double)it->hits, failed);
	json_put_number(item, "fires", (double)it->fires, failed);
	return label_lookup_put(labels, item, it->feature, failed, err);
}

static int put_answer(cJSON *page, store *s, const store_source *source, const struct tally *t,
                      const store_regex_opts *o, bool *failed, error *err)
{
	label_lookup labels = { 0 };
	struct found *found = NULL;
	cJSON *list;
	size_t n = 0;
	int rc;

	rc = rank(&found, &n, t, o, err);
	if (rc == 0)
		rc = label_lookup_init(&labels, s, source->id, err);
	json_put_text(page, "source", source->name, failed);
	json_put_text(page, "pattern", o->pattern, failed);
	json_put_number(page, "matches", (double)t->matches, failed);
	json_put_number(page, "tokens", (double)t->tokens, failed);
	json_put_number(page, "contexts", (double)t->contexts, failed);
	json_put_bool(page, "corpus", source->corpus, failed);
	json_put_number(page, "total", (double)n, failed);
	list = json_put_array(page, "features", failed);
	for (size_t i = 0; i < n && i < o->limit && rc == 0; i++)
		rc = put_found(list, &found[i], &labels, failed, err);
	label_lookup_clear(&labels);
	free(found);
	return rc;
}

int store_find_regex(cJSON **out, store *s, const store_regex_opts *o, error *err)
{
	struct tally t = { 0 };
	struct regex re = { 0 };
	store_source source;
	cJSON *page = NULL;
	bool failed = false;
	int rc;

	rc = store_source_get(&source, s, o->source, err);
	if (rc < 0)
		return rc;
	rc = regex_init(&re, o->pattern, err);
	if (rc == 0)
		rc = tally_all(&t, &re, s, source.id, err);
	if (rc == 0) {
		page = cJSON_CreateObject();
		rc = put_answer(page, s, &source, &t, o, &failed, err);
	}
	regex_clear(&re);
	free(t.hits);
	free(t.fires);
	free(t.matched);
	return json_finish(out, page, rc, failed, err);
}
