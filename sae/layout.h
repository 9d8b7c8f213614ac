/* What a folder says of its SAE: the rule, where the weights are and how they lie there, what is to be folded into them. A format
 * (format_NAME.c) fills it from its config; what follows is the same for all: sizes checked against the tensors, memory, reading,
 * folding. */
#ifndef GLOSS_SAE_LAYOUT_H
#define GLOSS_SAE_LAYOUT_H

#include "sae/sae.h"

#define LAYOUT_MAX_WIDTH (1u << 26)

typedef struct layout_matrix {
	const char *name; /* NULL: there is none */
	bool turned;      /* on disk its rows are our columns */
} layout_matrix;

typedef struct layout {
	const char *format; /* a name of the table */
	char architecture[64];
	char config[FILE_PATH_MAX], weights[FILE_PATH_MAX]; /* config may be "" */
	cJSON *json;                                        /* the config; names below may point into it */
	/* The rule, as in sae_model. Sizes of 0 are told by the tensors. */
	sae_arch arch;
	uint64_t d_in, d_out, d_sae, k;
	bool deduced; /* a size was told by a tensor */
	sae_norm norm;
	bool centers, transcodes;
	double residual; /* SAE_PURSUIT */
	uint64_t steps;  /* 0: d_in */
	bool repeat_ends;
	sae_codebook codebook;        /* SAE_CODEBOOK: dec is (F, d_out / groups) then, and there is no enc */
	uint64_t n_inputs;            /* of a crosscoder, whose tensors have a dimension for them; else 0 */
	double scales[SAE_PARTS_MAX]; /* of a crosscoder's inputs */
	bool split; /* of a crosscoder: dec is (inputs, F, width), b_enc (inputs, F), added up; weights are for inputs times `scales`, if any */
	double norm_limit, more_limits[SAE_PARTS_MAX];
	size_t n_more_limits;
	const char *model_name, *hook_name;
	/* Tensors: (F, d_in), (F, d_out), (d_out, d_in) unless turned. */
	layout_matrix enc, dec, skip;
	const char *b_enc, *b_dec; /* NULL: zeros */
	const char *threshold;     /* (F) or one for all; NULL: threshold_for_all. Under 0 is as 0 */
	double threshold_for_all;
	bool threshold_is_log;
	/* Folded in this order. */
	const char *r_mag,
	        *b_gate; /* the gate: pre counts where pre / exp(r_mag) was over -b_gate; b_enc is b_mag */
	const char *dec_scale; /* (F): times a decoder row */
	double scale;          /* the weights are for rows times this; 1 */
	double scale_out;      /* and give rows times that; 0: the same */
	bool matrix_root;      /* W_enc is to be divided by sqrt(d_in), W_dec times it, b_dec as it is */
	bool values_by_norm;   /* values, and the threshold for all, are meant times the decoder row's norm */
	bool threshold_by_norm; /* so is the threshold alone */
	bool mirrored; /* values may be under 0: feature F + f, which the file lacks, is feature f with all signs turned */
	char folded[256];
} layout;

/* A zeroed layout of `format` with the usual names: W_enc (d, F), W_dec (F, d), b_enc, b_dec. */
void layout_init(layout *l, const char *format);
void layout_clear(layout *l);
/* l->config and l->json from DIR/NAME. */
int layout_config(layout *l, const char *dir, const char *name, error *err) MUST_USE;
void layout_folds(layout *l, const char *what); /* note it for a person */
/* The keys groups, similarity, combine of a SAE_CODEBOOK, whose tensor is `codes`. */
int layout_read_codebook(layout *l, error *err) MUST_USE;
void layout_mirrors(layout *l); /* l->mirrored, and note it */

/* Open the weights; fill in sizes; check sizes, rule and shapes. *out is the caller's to close. */
int layout_open(sae_file **out, layout *l, error *err) MUST_USE;
int layout_load(sae_model **out, layout *l, bool hash, error *err) MUST_USE; /* hash: m->weights_sha256 too */
void layout_facts(sae_model_facts *out, const layout *l, const sae_file *f);

/* ---- For writers (layout_write.c) ----------------------------------------------------------------------------------- */

/* A copy of x (rows, columns) as (columns, rows); malloc'd. NULL: no memory. */
float *layout_turn(const float *x, size_t rows, size_t columns) MUST_USE;
/* b_enc (F) of the same encoder where b_dec is taken off the input, or is not; malloc'd. NULL: no memory. */
float *layout_bias(const sae_model *m, bool centers) MUST_USE;
/* Thresholds (F), 0 where the model has none; malloc'd. NULL: no memory. */
float *layout_thresholds(const sae_model *m) MUST_USE;
/* Codes (F, d / groups) of a SAE_CODEBOOK; malloc'd. NULL: no memory. */
float *layout_gather_codes(const sae_model *m) MUST_USE;
/* DIR/NAME of a JSON value, which is freed; NULL is ERR_NOMEM. */
int layout_write_json(cJSON *json, const char *dir, const char *name, error *err) MUST_USE;

#endif
