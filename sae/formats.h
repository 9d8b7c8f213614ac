/* The table of SAE formats: how each is recognised, read and written. */
#ifndef GLOSS_SAE_FORMATS_H
#define GLOSS_SAE_FORMATS_H

#include "sae/layout.h"

typedef struct format {
	const char *name;
	/* A folder that holds both is of this format; the first of the table that fits. config: NULL: it has none. */
	const char *config, *weights;
	/* Fill the layout from the config in `dir`, all but sizes that the tensors tell; l->weights is set. */
	int (*read)(layout *l, const char *dir, error *err);
	/* Why it cannot hold this model; NULL: it can. Both NULL: it is only read. */
	const char *(*cannot)(const sae_model *m);
	int (*write)(const sae_model *m, const char *dir, error *err);
} format;

extern const format format_saelens, format_gloss, format_sparsify, format_gemma_scope, format_gemma_scope_2;

#endif
