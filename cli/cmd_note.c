/* gloss note: a person's notes on a feature. */
#include "cli/commands.h"
#include "cli/page.h"
#include "cli/store_args.h"

#include <string.h>

typedef struct note_opts {
	store_args store;
	uint64_t delete;
} note_opts;

static const option options[] = {
	STORE_ARGS_OPTIONS(note_opts, store),
	OPTION(note_opts, delete, "delete", 0, OPTION_U64, "NUMBER", NULL, 1, 9e15,
	       "throw away the note of this number, as the list shows it"),
};

static int print(const cJSON *page, const cli_parsed *p, const void *opts, error *err)
{
	const cJSON *notes = cJSON_GetObjectItem(page, "notes"), *note;
	text out;
	int rc = 0;

	(void)p;
	(void)opts;
	text_init(&out, (size_t)256 << 20);
	cJSON_ArrayForEach(note, notes)
	{
		const char *words = answer_string(note, "text"), *created = answer_string(note, "created");

		rc = rc ? rc : text_addf(&out, "%4.0f  ", answer_number(note, "id"));
		rc = rc || !created ? rc : text_add_visible(&out, created, strlen(created));
		rc = rc ? rc : text_adds(&out, "  ");
		rc = rc || !words ? rc : text_add_visible(&out, words, strlen(words));
		rc = rc ? rc : text_adds(&out, "\n");
	}
	if (!rc && out.len)
		fwrite(out.data, 1, out.len, stdout);
	else if (!rc)
		printf("no notes\n");
	text_free(&out);
	return rc ? error_nomem(err, "the notes") : 0;
}

/* Make the change that is asked for, and give the notes as they are then. */
static int ask(cJSON **page, const cli_parsed *p, void *opts, error *err)
{
	const note_opts *o = opts;
	bool deletes = cli_given(p, "delete"), adds = p->n_args > 1;
	const char *source = o->store.source;
	uint32_t feature;
	store *s = NULL;
	int rc = feature_arg(&feature, p->args[0], err);

	if (!rc && deletes && adds)
		return error_set(err, ERR_ARG, "give a text or --delete, not both");
	if (!rc)
		rc = (deletes || adds ? store_args_open_to_write : store_args_open)(&s, &o->store, err);
	if (!rc && deletes)
		rc = store_note_delete(s, source, feature, (int64_t)o->delete, err);
	if (!rc && adds)
		rc = store_note_add(s, source, feature, p->args[1], err);
	if (!rc)
		rc = store_notes(page, s, source, feature, err);
	store_close(s);
	return rc;
}

static int run(const command *self, int argc, char **argv)
{
	static const page_command page = { ask, print };
	note_opts o = { 0 };

	return page_run(self, argc, argv, &o, &page);
}

const command cmd_note_command = {
	.name = "note",
	.run = run,
	.help = "your own notes on a feature",
	.usage = "FEATURE [TEXT] -d STORE [--delete NUMBER]",
	.about =
	        "With a text, adds it as a note; then, as without one, prints the feature's notes with their "
	        "numbers. A\n"
	        "note is UTF-8 of up to 64 KiB and may hold newlines.",
	.examples = "gloss note 12 -d demo.db 'fires on May the verb too'\n"
	            "gloss note 12 -d demo.db\n"
	            "gloss note 12 -d demo.db --delete 3",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.min_args = 1,
	.max_args = 2,
};
