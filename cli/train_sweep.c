/* --sweep KEY=V,V: many SAEs from one command line. */
#include "cli/train_args.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What can be swept, in the order of names, and how it is called in them. */
static const struct {
	const char *option, *label;
} keys[] = { { "arch", "" },     { "k", "k" },   { "features", "F" },
	     { "seed", "seed" }, { "lr", "lr" }, { "auxk-alpha", "auxk" } };

enum { KEYS = ARRAY_LEN(keys) };
static_assert(KEYS == TRAIN_SWEEP_KEYS, "room for the values of each");

/* One --sweep taken apart; values point into `copy`. */
typedef struct swept {
	size_t key;
	const option *option;
	char *copy;
	const char *values[TRAIN_SAES_MAX];
	size_t n;
} swept;

static const option *find_option(const command *self, const char *name)
{
	for (size_t i = 0; i < self->n_options; i++)
		if (strcmp(self->options[i].name, name) == 0)
			return &self->options[i];
	return NULL;
}

static int find_key(swept *s, const command *self, const char *given, const char *end, error *err)
{
	for (s->key = 0; s->key < KEYS; s->key++) {
		const char *name = keys[s->key].option;

		if (strlen(name) == (size_t)(end - given) && strncmp(name, given, strlen(name)) == 0) {
			s->option = find_option(self, name);
			return s->option ? 0 : error_set(err, ERR_ARG, "--sweep %s: no such option", name);
		}
	}
	return error_set(err, ERR_ARG,
	                 "--sweep '%s': '%.*s' is not one of arch, k, features, seed, lr, auxk-alpha", given,
	                 (int)(end - given), given);
}

static int split(swept *s, const command *self, const char *given, error *err)
{
	const char *equals = strchr(given, '=');
	char *at;
	int rc;

	if (!equals || !equals[1])
		return error_set(err, ERR_ARG, "--sweep '%s' is not like k=16,32", given);
	rc = find_key(s, self, given, equals, err);
	if (rc < 0)
		return rc;
	s->copy = strdup(equals + 1);
	if (!s->copy)
		return error_nomem(err, "the values of a sweep");
	for (at = s->copy; at; s->n++) {
		char *comma = strchr(at, ',');

		if (s->n == TRAIN_SAES_MAX)
			return error_set(err, ERR_ARG, "--sweep %s has over %d values", keys[s->key].option,
			                 TRAIN_SAES_MAX);
		s->values[s->n] = at;
		at = comma ? comma + 1 : NULL;
		if (comma)
			*comma = '\0';
	}
	return 0;
}

/* Every --sweep, none of them twice nor beside its own option. */
static int split_all(swept *list, const command *self, cli_parsed *p, const option_list *given, error *err)
{
	bool seen[KEYS] = { false };
	int rc = 0;

	for (size_t i = 0; i < given->n && rc == 0; i++) {
		rc = split(&list[i], self, given->items[i], err);
		if (rc < 0)
			break;
		if (seen[list[i].key])
			rc = error_set(err, ERR_ARG, "--sweep %s is given twice: give its values in one list",
			               keys[list[i].key].option);
		else if (cli_given(p, keys[list[i].key].option))
			rc = error_set(err, ERR_ARG, "--%s and --sweep %s cannot both be given",
			               keys[list[i].key].option, keys[list[i].key].option);
		seen[list[i].key] = true;
	}
	for (size_t key = 0; key < KEYS && rc == 0; key++)
		if (seen[key])
			cli_mark_given(p, keys[key].option);
	return rc;
}

/* The value as names have it: equal values are equal texts. */
static void value_text(char out[32], size_t key, const train_opts *o)
{
	switch (key) {
	case 0:
		snprintf(out, 32, "%s", o->arch);
		break;
	case 1:
		snprintf(out, 32, "%" PRIu32, o->k);
		break;
	case 2:
		snprintf(out, 32, "%" PRIu32, o->features);
		break;
	case 3:
		snprintf(out, 32, "%" PRIu64, o->seed);
		break;
	case 4:
		snprintf(out, 32, "%g", o->lr);
		break;
	default:
		snprintf(out, 32, "%g", o->auxk_alpha);
	}
}

static int set_value(train_opts *o, const swept *s, size_t i, error *err)
{
	char shown[48];

	snprintf(shown, sizeof(shown), "--sweep %s", keys[s->key].option);
	return cli_option_set(o, s->option, s->values[i], true, NULL, shown, err);
}

static int check_twice(const swept *s, const train_opts *o, error *err)
{
	train_opts a = *o, b = *o;
	int rc = 0;

	for (size_t i = 0; i < s->n && rc == 0; i++) {
		rc = set_value(&a, s, i, err);
		for (size_t j = 0; j < i && rc == 0; j++) {
			char one[32], other[32];

			rc = set_value(&b, s, j, err);
			value_text(one, s->key, &a);
			value_text(other, s->key, &b);
			if (rc == 0 && strcmp(one, other) == 0)
				rc = error_set(err, ERR_ARG, "--sweep %s: %s is given twice",
				               keys[s->key].option, one);
		}
	}
	return rc;
}

/* Options and name of the i-th SAE. */
static int make_one(train_sweep *out, size_t i, const swept *list, size_t n_lists, error *err)
{
	train_opts *o = &out->opts[i];
	size_t rest = i, used = 0;
	bool varies[KEYS] = { false };
	char *name = out->names[i];
	int rc = 0;

	for (size_t l = n_lists; l-- > 0 && rc == 0;) {
		rc = set_value(o, &list[l], rest % list[l].n, err);
		rest /= list[l].n;
		varies[list[l].key] = list[l].n > 1;
	}
	for (size_t key = 0; key < KEYS && rc == 0; key++) {
		char shown[32];

		if (!varies[key])
			continue;
		value_text(shown, key, o);
		used += (size_t)snprintf(name + used, TRAIN_NAME_MAX - used, "%s%s%s", used ? "-" : "",
		                         keys[key].label, shown);
	}
	return rc;
}

static int make_all(train_sweep *out, const swept *list, size_t n_lists, const train_opts *o, error *err)
{
	int rc = 0;

	out->opts = calloc(out->n, sizeof(*out->opts));
	out->names = calloc(out->n, sizeof(*out->names));
	if (!out->opts || !out->names)
		return error_nomem(err, "the SAEs of a sweep");
	for (size_t i = 0; i < out->n && rc == 0; i++) {
		out->opts[i] = *o;
		rc = make_one(out, i, list, n_lists, err);
	}
	return rc;
}

int train_sweep_make(train_sweep *out, const command *self, cli_parsed *p, const train_opts *o, error *err)
{
	size_t n_lists = o->sweep.n;
	swept *list = NULL;
	int rc;

	if (n_lists > KEYS)
		return error_set(err, ERR_ARG, "--sweep is given %zu times, there are %d keys", n_lists,
		                 KEYS);
	list = calloc(KEYS, sizeof(*list));
	if (!list)
		return error_nomem(err, "the values of a sweep");
	rc = split_all(list, self, p, &o->sweep, err);
	for (size_t l = 0; l < n_lists && rc == 0; l++)
		rc = check_twice(&list[l], o, err);
	out->n = 1;
	for (size_t l = 0; l < n_lists && rc == 0; l++) {
		out->n *= list[l].n;
		if (out->n > TRAIN_SAES_MAX)
			rc = error_set(err, ERR_ARG, "--sweep asks for %zu SAEs or more, over %d", out->n,
			               TRAIN_SAES_MAX);
	}
	if (rc == 0 && n_lists && out->n == 1)
		rc = error_set(err, ERR_ARG, "--sweep asks for one SAE only: give --%s %s",
		               keys[list[0].key].option, list[0].values[0]);
	if (rc == 0)
		rc = make_all(out, list, n_lists, o, err);
	for (size_t l = 0; l < KEYS; l++)
		out->values[l] = list[l].copy;
	free(list);
	return rc;
}

int train_sweep_hide(cJSON *options, const train_opts *o, error *err)
{
	for (size_t i = 0; i < o->sweep.n; i++)
		for (size_t key = 0; key < KEYS; key++) {
			size_t n = strlen(keys[key].option);
			cJSON *null;

			if (strncmp(o->sweep.items[i], keys[key].option, n) != 0 ||
			    o->sweep.items[i][n] != '=')
				continue;
			null = cJSON_CreateNull();
			if (!null ||
			    !cJSON_ReplaceItemInObjectCaseSensitive(options, keys[key].option, null)) {
				cJSON_Delete(null);
				return error_nomem(err, "the options");
			}
		}
	return 0;
}

void train_sweep_clear(train_sweep *s)
{
	free(s->opts);
	free(s->names);
	for (size_t i = 0; i < KEYS; i++)
		free(s->values[i]);
	*s = (train_sweep){ 0 };
}

int train_parse_time(double *seconds, const char *given, error *err)
{
	static const struct {
		char unit;
		double seconds;
	} units[] = { { '\0', 1 }, { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	char *end = NULL;
	double value = isdigit((unsigned char)*given) ? strtod(given, &end) : 0;

	for (size_t i = 0; end && i < ARRAY_LEN(units); i++) {
		if (*end != units[i].unit || (*end && end[1]))
			continue;
		*seconds = value * units[i].seconds;
		if (*seconds > 0 && *seconds <= 1e9)
			return 0;
		return error_set(err, ERR_ARG, "--time-limit %s is out of range: over 0 to 1e9 seconds",
		                 given);
	}
	return error_set(err, ERR_ARG, "--time-limit '%s' is not a time like 90s, 30m or 4h", given);
}
