/* Optimisers over whole gradients, for steps that keep them. (The sparse step by itself has Adam inside its feature update, and no
 * gradient matrix.) One step is, in this order, as dictionary_learning and OpenAI have it: take the part along its row off the gradient
 * of each unit row, clip the global norm, move, bring unit rows back to norm 1, average. */
#ifndef GLOSS_SAE_OPTIM_H
#define GLOSS_SAE_OPTIM_H

#include "sae/fitter.h"
#include "sae/kernels.h"

/* A parameter as a matrix (rows, columns); a vector has one column. Weights and gradient are the caller's. */
typedef struct optim_param {
	const char *name; /* literal, under 20 bytes: its state is name_m, name_v, name_z, name_avg */
	float *w, *grad;
	size_t rows, columns;
	double lr_factor; /* times the step size; 0: 1 */
	bool matrix;      /* Muon's; else Muon moves it by Adam */
	bool unit_rows;   /* held at norm 1: see above. A row of zeros stays one. */
	uint32_t
	        parts; /* of them, equal ones: it is the sum of their norms that is 1; 0, 1: the row is one */
} optim_param;

typedef struct optim_config {
	/* SAE_ADAM    torch's
	 * SAE_ADAMW   the weights shrink by lr weight_decay first
	 * SAE_SIGNUM  steps of the gradient's sign, schedule-free (sparsify: ScheduleFreeWrapper(SignSGD, momentum)): w is the point y where
	 *             gradients are taken, the model is the mean x of the fast weights z, weighted by the largest lr so far, squared
	 * SAE_MUON    mean gradient (Nesterov, momentum), orthogonalised by 5 steps of Newton and Schulz, times 0.2 sqrt(longer side),
	 *             after the shrinking (sparsify's) */
	sae_optimizer kind;
	double beta1, beta2, eps;
	double weight_decay; /* AdamW, Muon */
	double momentum;     /* Signum, Muon */
	double clip; /* global norm of the gradient at most; 0: not clipped. As torch: times clip / (norm + 1e-6) */
	double average; /* decay of the running mean of the weights, which becomes the model; 0: none */
	const kernels *k;
} optim_config;

typedef struct optim optim;
optim_config optim_config_of(const sae_train_opts *o); /* planned */
/* All memory. The parameters are copied, what they point to is not. */
int optim_new(optim **out, const optim_config *c, const optim_param *params, size_t n, pool *p,
              error *err) MUST_USE;
void optim_free(optim *o);
/* One step with the gradients there are, which are overwritten. Returns their global norm before clipping (unit rows' without the part
 * along the row); not finite: nothing was moved. The same bits at any thread count. */
double optim_step(optim *o, double lr);
/* What the model is made of: out (rows, columns) gets the mean where there is one, else the weights. Before the first step the weights. */
void optim_weights(const optim *o, size_t param, float *out);
/* Row `row` of a parameter was begun anew: what the optimiser remembers of it is gone. */
void optim_forget(optim *o, size_t param, size_t row);
/* The parameters' weights and all of the optimiser's state. */
void optim_state(optim *o, fitter_arrays *list);
uint64_t optim_bytes(const optim *o); /* all that was asked for */
uint64_t optim_spare(const optim *o,
                     bool forget); /* what is not needed for the model, as fitter_kind's spare */

/* optim_muon.c: x (rows, columns) becomes nearly orthogonal, its singular values between about 0.7 and 1.2; the result is in x or in
 * `other` (rows, columns), which is returned. gram: (3, s, s), s the shorter side. */
float *optim_orthogonalise(float *x, float *other, float *gram, size_t rows, size_t columns, pool *p);

#endif
