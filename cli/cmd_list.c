/* gloss list: a person's lists of features. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/page.h"
#include "cli/store_args.h"

typedef struct list_opts {
	store_args store;
	const char *add, *remove, *where, *rename;
	bool delete;
} list_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(list_opts, store),
	OPTION(list_opts, add, "add", 0, OPTION_STRING, "LIST", NULL, 0, 0,
	       "put features on the list, which is made where there is none: 1,5,10-20, @NAME of another "
	       "list, or all"),
	OPTION(list_opts, remove, "remove", 0, OPTION_STRING, "LIST", NULL, 0, 0, "take features off it"),
	OPTION(list_opts, where, "where", 'w', OPTION_STRING, "EXPR", NULL, 0, 0,
	       "with --add and --remove: only those for which this SQL expression holds (see gloss "
	       "features)"),
	OPTION(list_opts, rename, "rename", 0, OPTION_STRING, "NEW", NULL, 0, 0, "give it another name"),
	OPTION(list_opts, delete, "delete", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "throw the list away; its features stay"),
};

/* ---- Showing --------------------------------------------------------------------------------------------------------- */

static int add_list(cli_table *t, const cJSON *list)
{
	int rc = string_cell(t, answer_string(list, "name"));

	if (!rc)
		rc = number_cell(t, answer_number(list, "features"), 10);
	if (!rc)
		rc = number_cell(t, answer_number(list, "sources"), 10);
	return rc ? rc : string_cell(t, answer_string(list, "created"));
}

static int add_feature(cli_table *t, const cJSON *f)
{
	int rc = string_cell(t, answer_string(f, "source"));

	if (!rc)
		rc = number_cell(t, answer_number(f, "feature"), 10);
	if (!rc)
		rc = number_cell(t, answer_number(f, "density"), 3);
	if (!rc)
		rc = number_cell(t, answer_number(f, "max_act"), 4);
	return rc ? rc : string_cell(t, answer_string(f, "label"));
}

/* What store_lists() or store_list_get() gave. */
static int print_page(const cJSON *page, error *err)
{
	static const cli_column of_lists[] = { { "list", false, 60 },
		                               { "features", true, 0 },
		                               { "sources", true, 0 },
		                               { "created", false, 0 } };
	static const cli_column of_features[] = { { "source", false, 24 },
		                                  { "feature", true, 0 },
		                                  { "density", true, 0 },
		                                  { "max", true, 0 },
		                                  { "label", false, 60 } };
	const cJSON *lists = cJSON_GetObjectItem(page, "lists"),
	            *features = cJSON_GetObjectItem(page, "features");

	if (lists && !cJSON_GetArraySize(lists)) {
		printf("no lists\n");
		return 0;
	}
	if (!lists && !cJSON_GetArraySize(features)) {
		printf("the list is empty\n");
		return 0;
	}
	return lists ? page_print_rows(lists, of_lists, ARRAY_LEN(of_lists), add_list, err)
	             : page_print_rows(features, of_features, ARRAY_LEN(of_features), add_feature, err);
}

/* ---- Changing ---------------------------------------------------------------------------------------------------------- */

/* What was done, as JSON; *said: the same in words, malloc'd. */
static int change_features(cJSON **out, char **said, store *s, const char *name, const list_opts *o,
                           error *err)
{
	uint32_t *features = NULL;
	uint64_t changed = 0;
	size_t n = 0;
	int rc = store_feature_ids(&features, &n, s, o->store.source, o->add ? o->add : o->remove, o->where,
	                           err);

	if (!rc && o->add)
		rc = store_list_add(&changed, s, name, o->store.source, features, n, err);
	else if (!rc)
		rc = store_list_remove(&changed, s, name, o->store.source, features, n, err);
	free(features);
	if (rc)
		return rc;
	*out = cJSON_CreateObject();
	if (asprintf(said, "%s %" PRIu64 " of %zu features", o->add ? "added" : "removed", changed, n) < 0 ||
	    !cJSON_AddNumberToObject(*out, o->add ? "added" : "removed", (double)changed))
		return error_nomem(err, "an answer");
	return 0;
}

static int change(cJSON **out, char **said, store *s, const char *name, const list_opts *o, error *err)
{
	int rc;

	if (o->add || o->remove)
		return change_features(out, said, s, name, o, err);
	rc = o->delete ? store_list_delete(s, name, err) : store_list_rename(s, name, o->rename, err);
	if (rc)
		return rc;
	*out = cJSON_CreateObject();
	*said = NULL;
	return cJSON_AddTrueToObject(*out, o->delete ? "deleted" : "renamed") ? 0
	                                                                      : error_nomem(err, "an answer");
}

static int check(const cli_parsed *p, const list_opts *o, error *err)
{
	int n = !!o->add + !!o->remove + !!o->rename + o->delete;

	if (n > 1)
		return error_set(err, ERR_ARG, "give one of --add, --remove, --rename and --delete");
	if (n && !p->n_args)
		return error_set(err, ERR_ARG, "which list? give its name");
	if (o->where && !o->add && !o->remove)
		return error_set(err, ERR_ARG, "--where goes with --add and --remove");
	return 0;
}

static int act(cJSON **page, char **said, bool *changes, const cli_parsed *p, const list_opts *o, error *err)
{
	store *s = NULL;
	int rc = check(p, o, err);

	*changes = o->add || o->remove || o->rename || o->delete;
	if (!rc)
		rc = (*changes ? store_args_open_to_write : store_args_open)(&s, &o->store, err);
	if (!rc && *changes)
		rc = change(page, said, s, p->args[0], o, err);
	else if (!rc)
		rc = p->n_args ? store_list_get(page, s, p->args[0], err) : store_lists(page, s, err);
	store_close(s);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	list_opts o = { 0 };
	cJSON *page = NULL;
	char *said = NULL;
	cli_parsed p;
	error err = { 0 };
	bool changes = false;
	int rc, code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	rc = act(&page, &said, &changes, &p, &o, &err);
	if (!rc && p.common.json) {
		code = cli_print_json(self, page);
		page = NULL;
	} else if (!rc && !changes) {
		rc = print_page(page, &err);
	} else if (!rc && said) {
		printf("%s\n", said);
	}
	if (rc)
		code = cli_fail(self, &err);
out:
	free(said);
	cJSON_Delete(page);
	cli_parsed_clear(&p);
	return code;
}

const command cmd_list_command = {
	.name = "list",
	.run = run,
	.help = "your own lists of features",
	.usage = "[NAME] -d STORE [--add LIST | --remove LIST | --rename NEW | --delete]",
	.about = "Without a name, the lists that there are; with one, what it holds. A list may hold "
	         "features of "
	         "several\n"
	         "sources. Wherever features are named, @NAME stands for those of the source that are on the "
	         "list:\n"
	         "gloss explain --features @months, gloss list all --add @months,17; and gloss features has "
	         "--list NAME.",
	.examples = "gloss list months -d demo.db --add 1,5,10-20\n"
	            "gloss list dense -d demo.db --add all --where dense\n"
	            "gloss list months -d demo.db\n"
	            "gloss explain -d demo.db --features @months",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 0,
	.max_args = 1,
};
