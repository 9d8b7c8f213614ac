/* Which options differ between a checkpoint's configuration and today's. */
#include <stdlib.h>
#include <string.h>

#include "sae/checkpoint.h"

enum { SHOWN = 4, VALUE_MAX = 60, NAME_MAX_BYTES = 200 };

typedef struct comparison {
	const char *const *ignore;
	text line;
	unsigned n; /* differences found */
	bool no_memory;
} comparison;

static bool ignored(const comparison *c, const char *name)
{
	for (const char *const *i = c->ignore; i && *i; i++)
		if (strcmp(*i, name) == 0)
			return true;
	return false;
}

/* A value as shown: JSON, cut where it is long. */
static int add_value(text *line, const char *printed)
{
	size_t n = strlen(printed), cut = VALUE_MAX;

	if (strcmp(printed, "null") == 0)
		return text_adds(line, "not given");
	if (n <= VALUE_MAX)
		return text_adds(line, printed);
	while ((printed[cut] & 0xc0) == 0x80) /* not inside a character */
		cut--;
	return text_addf(line, "%.*s...", (int)cut, printed);
}

static void add_difference(comparison *c, const char *name, const char *saved, const char *now)
{
	int rc;

	if (c->n++ >= SHOWN)
		return;
	rc = text_addf(&c->line, "%soption '%s' is ", c->n > 1 ? "; " : "", name);
	if (rc == 0)
		rc = add_value(&c->line, saved);
	if (rc == 0)
		rc = text_adds(&c->line, " in the checkpoint, ");
	if (rc == 0)
		rc = add_value(&c->line, now);
	if (rc == 0)
		rc = text_adds(&c->line, " now");
	c->no_memory |= rc < 0;
}

static void compare_members(comparison *c, const char *prefix, const cJSON *saved, const cJSON *now);

static void compare_value(comparison *c, const char *name, const cJSON *saved, const cJSON *now)
{
	static const cJSON null = { .type = cJSON_NULL };
	char *a, *b;

	if (ignored(c, name))
		return;
	if ((cJSON_IsObject(saved) || cJSON_IsObject(now)) && (!saved || cJSON_IsObject(saved)) &&
	    (!now || cJSON_IsObject(now))) {
		compare_members(c, name, saved, now);
		return;
	}
	a = json_print_canonical(saved ? saved : &null);
	b = json_print_canonical(now ? now : &null);
	if (!a || !b)
		c->no_memory = true;
	else if (strcmp(a, b) != 0)
		add_difference(c, name, a, b);
	free(b);
	free(a);
}

static void compare_members(comparison *c, const char *prefix, const cJSON *saved, const cJSON *now)
{
	const cJSON *item;
	char name[NAME_MAX_BYTES];

	cJSON_ArrayForEach(item, saved)
	{
		snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", item->string);
		compare_value(c, name, item, cJSON_GetObjectItemCaseSensitive(now, item->string));
	}
	cJSON_ArrayForEach(item, now)
	{
		if (cJSON_GetObjectItemCaseSensitive(saved, item->string))
			continue;
		snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", item->string);
		compare_value(c, name, NULL, item);
	}
}

int checkpoint_compare(const cJSON *saved, const cJSON *now, const char *const *ignore, error *err)
{
	comparison c = { .ignore = ignore };
	int rc = 0;

	text_init(&c.line, 1 << 16);
	compare_members(&c, "", saved, now);
	if (c.no_memory)
		rc = error_nomem(err, "comparing options with a checkpoint's");
	else if (c.n > SHOWN)
		rc = error_set(err, ERR_ARG, "%s; and %u more", c.line.data, c.n - SHOWN);
	else if (c.n)
		rc = error_set(err, ERR_ARG, "%s", c.line.data);
	text_free(&c.line);
	return rc;
}
