/* Which options of `gloss train` belong to which architectures. */
#include <string.h>

#include "cli/train_args.h"

/* An option that is not here belongs to all. */
static const struct {
	const char *option, *archs;
} belongs[] = {
	{ "k", "topk|batchtopk|groupmax" },
	{ "auxk-alpha", "topk|batchtopk|groupmax" },
	{ "optimizer-state", "topk|batchtopk|groupmax" },
	{ "screening", "topk|batchtopk|groupmax" },
};

/* Whether `word` is one of those in "a|b|c". */
static bool is_among(const char *word, const char *list)
{
	size_t n = strlen(word);

	for (const char *at = list; at; at = strchr(at, '|')) {
		at += *at == '|';
		if (strncmp(at, word, n) == 0 && (at[n] == '|' || at[n] == '\0'))
			return true;
	}
	return false;
}

static bool is_given(const cli_parsed *p, const option_list *sweep, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < sweep->n; i++)
		if (strncmp(sweep->items[i], name, n) == 0 && sweep->items[i][n] == '=')
			return true;
	return cli_given(p, name);
}

int train_check_belongs(const cli_parsed *p, const train_sweep *s, error *err)
{
	for (size_t i = 0; i < ARRAY_LEN(belongs); i++) {
		const char *archs = belongs[i].archs;
		bool used = false;

		for (size_t j = 0; j < s->n && !used; j++)
			used = is_among(s->opts[j].arch, archs);
		if (!used && is_given(p, &s->opts[0].sweep, belongs[i].option))
			return error_set(err, ERR_ARG, "--%s belongs to --arch %s, not to %s",
			                 belongs[i].option, archs, s->opts[0].arch);
	}
	return 0;
}
