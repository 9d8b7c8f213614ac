/* gloss export: a store's tables and features, or an SAE, in other tools' formats. */
#include <string.h>

#include "cli/commands.h"
#include "cli/export_sae.h"
#include "cli/export_store.h"

static const option options[] = {
	STORE_ARGS_OPTIONS(export_opts, store),
	OPTION(export_opts, to, "to", 0, OPTION_ENUM,
	       "csv|neuronpedia|openai-viewer|gguf|saelens|saelens-gated|gloss|sparsify|gemma-scope|"
	       "gemma-scope-2|dictionary-learning|"
	       "openmoss",
	       "csv", 0, 0, "format to write: the first four of a store, the others of an SAE"),
	OPTION(export_opts, output, "output", 'o', OPTION_STRING, "DIR", NULL, 0, 0,
	       "folder to make, of gguf the file; required"),
	OPTION(export_opts, force, "force", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "replace a folder that an export made, or the files of an SAE"),
	OPTION(export_opts, tables, "table", 0, OPTION_LIST, "NAME", NULL, 0, 0,
	       "csv: only this table or view"),
	OPTION(export_opts, all, "all", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "csv: also the views that spell out every example, which are large"),
	OPTION(export_opts, model_id, "model-id", 0, OPTION_STRING, "ID", NULL, 0, 0,
	       "neuronpedia: the model; otherwise the source's, in small letters"),
	OPTION(export_opts, source_id, "source-id", 0, OPTION_STRING, "ID", NULL, 0, 0,
	       "neuronpedia: the source, what they call layer; otherwise LAYER-SET"),
	OPTION(export_opts, set, "set", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "neuronpedia: the source set; otherwise the source's name"),
	OPTION(export_opts, release, "release", 0, OPTION_STRING, "NAME", NULL, 0, 0,
	       "neuronpedia: the release; otherwise the source set's name"),
	OPTION(export_opts, creator, "creator", 0, OPTION_STRING, "ID", NULL, 0, 0,
	       "neuronpedia: id of the user there that rows belong to; otherwise null"),
	OPTION(export_opts, top, "top", 0, OPTION_U32, "N", "20", 0, 1e9,
	       "neuronpedia, openai-viewer: strongest examples of each feature"),
	OPTION(export_opts, samples, "samples", 0, OPTION_U32, "N", "5", 0, 1e9,
	       "neuronpedia: samples of each interval of activations; openai-viewer: of each feature"),
	OPTION(export_opts, vectors, "vectors", 0, OPTION_BOOL, NULL, NULL, 0, 0,
	       "neuronpedia: with the decoder row of each feature"),
	OPTION(export_opts, features, "feature", 0, OPTION_STRING, "N[,N...]", NULL, 0, 0,
	       "gguf: features whose decoder rows are added up"),
	OPTION(export_opts, alpha, "alpha", 0, OPTION_STRING, "A[,A...]", NULL, 0, 0,
	       "gguf: what each is multiplied with, one for all or one each; with x behind, times its "
	       "largest activation"),
	OPTION(export_opts, layer, "layer", 0, OPTION_U32, "L", NULL, 1, 10000,
	       "gguf: layer whose output it is added to, from 0; otherwise the source's"),
	OPTION(export_opts, model_hint, "model-hint", 0, OPTION_STRING, "ARCH", NULL, 0, 0,
	       "gguf: the model's architecture as llama.cpp calls it; otherwise not said"),
};

static int run(const command *self, int argc, char **argv)
{
	export_opts o = { 0 };
	cli_parsed p;
	error err = { 0 };
	int code = EXIT_DONE;

	cli_parse(&p, self, &o, argc, argv);
	if (p.done) {
		code = p.exit_code;
		goto out;
	}
	if (p.n_args != (!export_store_has(o.to))) {
		error_set(&err, ERR_ARG, "%s",
		          p.n_args ? "an SAE is written in which format? give it with --to FORMAT"
		                   : "which SAE is to be written? give its folder");
		code = cli_fail(self, &err);
		goto out;
	}
	if (p.n_args) {
		code = export_sae(self, &p, o.to, o.output, o.force);
		goto out;
	}
	o.layer_given = cli_given(&p, "layer");
	code = export_store(self, &p, &o);
out:
	cli_parsed_clear(&p);
	return code;
}

const command cmd_export_command = {
	.name = "export",
	.run = run,
	.help = "write a store's tables or features, or an SAE, for other programs",
	.usage = "-d STORE [--to FORMAT] -o DIR | SAE --to FORMAT -o DIR",
	.about = "Writes tables and views, each as NAME.csv, into a folder that appears whole or not at all. "
	         "docs/store.md says what they hold. Without --table all are written but the views that "
	         "spell out every example (example_text, example_token, example_values, np_activation): "
	         "these take minutes and gigabytes, --table or --all gives them, 'gloss sql --csv' parts of "
	         "them. Indexes of full text are left out.\n\n"
	         "CSV is RFC 4180: UTF-8, a header, lines that end in CR LF. NULL is nothing, empty text is "
	         "\"\"; blobs are hexadecimal digits; numbers read back the same.\n\n"
	         "--to neuronpedia writes a source as Neuronpedia's own exports are: v1/MODEL/SOURCE with "
	         "gzip-compressed JSON lines of features, activations, explanations and scores, 1,024 "
	         "features "
	         "a file. docs/formats.md lists the fields; what the store does not know is null or empty. "
	         "--to "
	         "openai-viewer writes atoms/FEATURE.json for the viewer of OpenAI's sparse_autoencoder, "
	         "--to gguf "
	         "a control vector for llama.cpp.\n\n"
	         "An SAE of any format is written in any other: --to says which, docs/formats.md what each "
	         "can hold. What a "
	         "format cannot express is folded into the weights where that is exact but for rounding, "
	         "else refused.",
	.examples = "gloss export sae/ --to sparsify -o for_sparsify/\n"
	            "gloss export -d demo.db --to neuronpedia -o np\n"
	            "gloss export -d demo.db --to gguf --feature 12,40 --alpha 2x,-1x -o steer.gguf\n"
	            "gloss export -d demo.db -o csv --table feature_list --table example_text",
	.options = options,
	.n_options = ARRAY_LEN(options),
	.max_args = 1,
};
