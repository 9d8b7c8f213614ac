/* Recipes of other tools by name: gloss train --preset. */
#ifndef GLOSS_CLI_TRAIN_PRESETS_H
#define GLOSS_CLI_TRAIN_PRESETS_H

#define TRAIN_PRESETS                                                                                        \
	"saelens-topk|saelens-jumprelu|sparsify|dictionary-learning-topk|dictionary-learning-batchtopk|"     \
	"dictionary-learning-matryoshka|dictionary-learning-relu|dictionary-learning-april|"                 \
	"dictionary-learning-gated|dictionary-learning-jumprelu|dictionary-learning-panneal|"                \
	"gemma-scope|anthropic-2024-04|anthropic-2025-01|openai|openmoss"

/* Options of `gloss train` as a JSON object; NULL: no such preset. */
const char *train_preset(const char *name);
/* The lines in which a run with it departs from the original, NULL behind the last. */
const char *const *train_preset_departs(const char *name);

#endif
