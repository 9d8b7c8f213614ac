/* See store_args.h. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/store_args.h"

static int open_store(store **out, const store_args *a, unsigned flags, error *err)
{
	if (!a->store)
		return error_set(err, ERR_ARG, "which store? give it with -d FILE");
	return store_open(out, a->store, flags, err);
}

int store_args_open(store **out, const store_args *a, error *err)
{
	return open_store(out, a, STORE_READ, err);
}

int store_args_open_to_write(store **out, const store_args *a, error *err)
{
	return open_store(out, a, STORE_WRITE, err);
}

static bool asked_to_stop(void *payload)
{
	(void)payload;
	return cli_stop_requested();
}

store_stop store_args_stop(void)
{
	return (store_stop){ .asked = asked_to_stop };
}

int feature_arg(uint32_t *out, const char *arg, error *err)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(arg, &end, 10);
	if (*arg < '0' || *arg > '9' || *end || errno || value > UINT32_MAX)
		return error_set(err, ERR_ARG, "'%.100s' is not the number of a feature", arg);
	*out = (uint32_t)value;
	return 0;
}

double answer_number(const cJSON *object, const char *name)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

	return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

const char *answer_string(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

int number_cell(cli_table *t, double value, int digits)
{
	return isnan(value) ? cli_table_cell(t, "-") : cli_table_cell(t, "%.*g", digits, value);
}

int string_cell(cli_table *t, const char *string)
{
	return cli_table_cell(t, "%s", string ? string : "-");
}

int token_cell(cli_table *t, const char *token)
{
	if (token && *token == ' ')
		return cli_table_cell(t, "\xe2\x90\xa3%s", token + 1);
	return string_cell(t, token);
}

size_t terminal_columns(void)
{
	const char *given = getenv("COLUMNS");
	struct winsize size;
	unsigned long columns = given ? strtoul(given, NULL, 10) : 0;

	if (columns == 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		columns = size.ws_col;
	return columns == 0 ? 100 : columns < 40 ? 40 : columns > 1000 ? 1000 : columns;
}
