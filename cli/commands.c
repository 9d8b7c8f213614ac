/* The commands, by name. One cmd_NAME.c each. */
#include "cli/commands.h"

/* clang-format off */
const command *const cli_commands[] = {
	&cmd_context_command,
	&cmd_diff_command,
	&cmd_encode_command,
	&cmd_eval_command,
	&cmd_explain_command,
	&cmd_export_command,
	&cmd_features_command,
	&cmd_find_command,
	&cmd_import_command,
	&cmd_index_command,
	&cmd_inspect_command,
	&cmd_jobs_command,
	&cmd_label_command,
	&cmd_list_command,
	&cmd_match_command,
	&cmd_merge_command,
	&cmd_meta_command,
	&cmd_note_command,
	&cmd_pack_command,
	&cmd_plot_command,
	&cmd_probe_command,
	&cmd_report_command,
	&cmd_runs_command,
	&cmd_score_command,
	&cmd_show_command,
	&cmd_similar_command,
	&cmd_sources_command,
	&cmd_sql_command,
	&cmd_synth_command,
	&cmd_train_command,
	&cmd_verify_command,
	NULL,
};
/* clang-format on */
