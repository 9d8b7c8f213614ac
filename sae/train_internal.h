/* The inside of a training run, for train.c (the loop), train_model.c (what comes out) and train_state.c (checkpoints). */
#ifndef GLOSS_SAE_TRAIN_INTERNAL_H
#define GLOSS_SAE_TRAIN_INTERNAL_H

#include "sae/fitter.h"
#include "sae/normalize.h"
#include "sae/shuffle.h"

/* One of the autoencoders of a run. */
typedef struct train_member {
	sae_train_opts o; /* planned */
	const fitter_kind *kind;
	void *self;                     /* its step */
	uint64_t *fires, *fires_before; /* (F): in this and the last stretch of TRAIN_FREQ_STEPS steps */
	uint64_t rows, rows_before;     /* of those stretches */
	sae_member_state state;
	error cause; /* why it is SAE_MEMBER_LOST */
	sae_train_step last;
	double seconds; /* in its own steps */
} train_member;

#define TRAIN_FREQ_STEPS 100

struct sae_trainer {
	const sae_dump *dump;
	const sae_rows *rows;
	pool *pool;
	uint32_t d, d_out; /* of the inputs side by side; of the target, or d */
	bool target;
	normalize norm; /* of the rows; of several dumps, its scale is that of the first */
	float factors
	        [SAE_PARTS_MAX]; /* that the loader multiplies each dump's rows by before: 1 for the first */
	shuffle order;
	loader *loader;
	float *copy,
	        *copy_target; /* (batch, d), (batch, d_out): a member's own rows; NULL where there is one member */
	train_member *members;
	size_t n;
	uint64_t steps;    /* taken */
	uint64_t position; /* rows taken of the order */
	double started, seconds_before, checked;
};

/* Fill in what is left to the program of a penalty. */
void train_plan_penalty(sae_train_opts *o);
/* Dumps side by side, and by what the rows of each are multiplied in all; the same of what is decoded to (of several inputs, of
 * the first). */
size_t train_parts(const sae_trainer *t);
double train_part_scale(const sae_trainer *t, size_t part);
double train_scale_out(const sae_trainer *t);
/* Rows of the sample that the start holds: what normalising and the members' kinds ask for at most. */
size_t train_sample_rows(const sae_trainer *t);
/* train_prefixes.c: sizes of groups instead of shares of the features. */
void train_plan_groups(sae_train_opts *o);
/* Read on from t->position. */
int train_new_loader(sae_trainer *t, error *err) MUST_USE;
/* Whether all weights of the member are finite. */
bool train_member_finite(const train_member *m);
/* What is wrong with the rows of the batch at `position`, if they are the cause of a loss that is not finite: "; row 5 ...
 * holds NaN"; "" if they are in order or cannot be read. */
void train_blame_row(char *out, size_t size, const sae_trainer *t, uint64_t position);

#endif
