/* The commands' tables, one a cmd_NAME.c, by name; commands.c lists them. */
#ifndef GLOSS_CLI_COMMANDS_H
#define GLOSS_CLI_COMMANDS_H

#include "cli/cli.h"

/* One line a command: extern const command cmd_NAME_command; */
extern const command cmd_context_command;
extern const command cmd_diff_command;
extern const command cmd_encode_command;
extern const command cmd_eval_command;
extern const command cmd_explain_command;
extern const command cmd_export_command;
extern const command cmd_features_command;
extern const command cmd_find_command;
extern const command cmd_import_command;
extern const command cmd_index_command;
extern const command cmd_inspect_command;
extern const command cmd_jobs_command;
extern const command cmd_label_command;
extern const command cmd_list_command;
extern const command cmd_match_command;
extern const command cmd_merge_command;
extern const command cmd_meta_command;
extern const command cmd_note_command;
extern const command cmd_pack_command;
extern const command cmd_plot_command;
extern const command cmd_probe_command;
extern const command cmd_report_command;
extern const command cmd_runs_command;
extern const command cmd_score_command;
extern const command cmd_show_command;
extern const command cmd_similar_command;
extern const command cmd_sources_command;
extern const command cmd_sql_command;
extern const command cmd_synth_command;
extern const command cmd_train_command;
extern const command cmd_verify_command;

#endif
