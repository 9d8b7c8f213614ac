/* What a person may write: names of lists, labels, notes. */
#include "store/person.h"

#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Whether the character is a control that `lines` does not allow. */
static bool is_control(uint32_t cp, bool lines)
{
	if (lines && (cp == '\n' || cp == '\t'))
		return false;
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 || cp == 0x2029;
}

int person_text_trim(const char **words, size_t *len, const char *what, size_t max, bool lines, error *err)
{
	const char *at = *words, *end = at + *len;
	size_t n, place = 1;
	uint32_t cp;

	while (at < end && is_space(*at))
		at++;
	while (end > at && is_space(end[-1]))
		end--;
	if (at == end)
		return error_set(err, ERR_ARG, "%s is empty", what);
	if ((size_t)(end - at) > max)
		return error_set(err, ERR_LIMIT, "%s has %zu bytes, over the %zu that are allowed", what,
		                 (size_t)(end - at), max);
	*words = at;
	*len = (size_t)(end - at);
	for (; at < end; at += n, place++) {
		n = utf8_next(at, (size_t)(end - at), &cp);
		if (n == 0)
			return error_set(err, ERR_ARG,
			                 "%s is not valid UTF-8: byte 0x%02x behind character %zu", what,
			                 (unsigned char)*at, place - 1);
		if (is_control(cp, lines))
			return error_set(err, ERR_ARG,
			                 "%s holds a control character, U+%04X, as character %zu", what,
			                 (unsigned)cp, place);
	}
	return 0;
}

int person_writable(const store *s, error *err)
{
	if (s->writable)
		return 0;
	return error_set(err, ERR_ARG, "'%s' is open to read only", s->path);
}

int person_in_range(const store_source *source, uint32_t feature, error *err)
{
	if (feature < source->n_features)
		return 0;
	return error_set(err, ERR_ARG, "feature %u is out of range: source '%s' has features 0-%u", feature,
	                 source->name, source->n_features - 1);
}

int person_feature(store_source *out, store *s, const char *source, uint32_t feature, error *err)
{
	int rc = store_source_get(out, s, source, err);

	return rc < 0 ? rc : person_in_range(out, feature, err);
}
