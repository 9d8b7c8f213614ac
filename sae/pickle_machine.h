/* The machine that reads a pickle, for its two files: pickle.c, and pickle_names.c for what names make. */
#ifndef GLOSS_SAE_PICKLE_MACHINE_H
#define GLOSS_SAE_PICKLE_MACHINE_H

#include "sae/pickle.h"

enum { PICKLE_MARKS_MAX = 64 }; /* open at a time */

typedef struct pickle_machine {
	pickle *p;
	size_t at, op; /* the next byte; the opcode that runs */
	uint32_t *stack, *memo;
	size_t n_stack, cap_stack, n_memo, cap_memo;
	size_t marks[PICKLE_MARKS_MAX]; /* stack heights */
	size_t n_marks;
	bool stopped;
} pickle_machine;

static inline pickle_value *pickle_value_of(const pickle_machine *m, uint32_t i)
{
	return &m->p->values[i];
}

/* How many values there are above the last mark. */
static inline size_t pickle_above_mark(const pickle_machine *m)
{
	return m->n_stack - (m->n_marks ? m->marks[m->n_marks - 1] : 0);
}

int pickle_refuse(const pickle_machine *m, error *err, const char *why);
int pickle_push(pickle_machine *m, uint32_t value, error *err) MUST_USE;
/* A new value on the stack; the rest of **out is to be filled in at once: the next one may move it. */
int pickle_push_new(pickle_machine *m, pickle_value **out, pickle_kind kind, error *err) MUST_USE;
/* The top of the stack, taken off; 0: there is none. */
uint32_t pickle_pop(pickle_machine *m);

/* Opcodes. */
int pickle_run_global(pickle_machine *m, error *err) MUST_USE;
int pickle_run_stack_global(pickle_machine *m, error *err) MUST_USE;
int pickle_run_binpersid(pickle_machine *m, error *err) MUST_USE;
int pickle_run_reduce(pickle_machine *m, error *err) MUST_USE;
int pickle_run_build(pickle_machine *m, error *err) MUST_USE;

#endif
