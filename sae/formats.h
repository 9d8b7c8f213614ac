/* The table of SAE formats: how each is recognised, read and written. */
#ifndef GLOSS_SAE_FORMATS_H
#define GLOSS_SAE_FORMATS_H

#include "sae/layout.h"

typedef struct format {
	const char *name;
	/* A folder that holds both is of this format; the first of the table that fits. config: NULL: it has none. weights "*.pt": not a
	 * folder but any file of that ending. */
	const char *config, *weights;
	const char *mark; /* a tensor that the weights must hold to be of this format; NULL: any will do */
	/* Fill the layout from the config in `dir`, all but sizes that the tensors tell; l->weights is set. */
	int (*read)(layout *l, const char *dir, error *err);
	/* Why it cannot hold this model; NULL: it can. Both NULL: it is only read. */
	const char *(*cannot)(const sae_model *m);
	int (*write)(const sae_model *m, const char *dir, error *err);
	bool crosscoders; /* it can hold some */
} format;

extern const format format_saelens, format_saelens_gated, format_gloss, format_sparsify, format_gemma_scope,
        format_gemma_scope_2, format_dictionary_learning, format_openmoss, format_openmoss_pt,
        format_llama_scope, format_llama_scope_pt, format_openai;

#endif
