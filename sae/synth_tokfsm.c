/* TokFSM (Tamkin et al. 2023): text of an automaton. Each state is a number of two digits, and goes to one of `successors` others, all alike. A
 * context is a begin-of-text token and the digits of a walk. What a row holds: at the second digit of a state, that state (a bigram of
 * the text); with trigrams, at the first digit of the next one, state and digit together. All other rows do not count. */
#include <stdlib.h>

#include "sae/synth_internal.h"

enum { BASE = 10, BOS = BASE, MOST_STATES = BASE * BASE, NO_FEATURE = UINT16_MAX };

typedef struct machine {
	uint8_t *next;     /* (states, successors), ascending */
	uint16_t *trigram; /* (states, BASE) feature; NO_FEATURE: no successor begins so */
	uint16_t *feature; /* (rows) */
} machine;

static void draw_tokfsm(const synth *s, uint64_t row, synth_row *out)
{
	const machine *m = s->state;

	if (m->feature[row] == NO_FEATURE)
		return;
	out->index[0] = m->feature[row];
	out->value[0] = 1;
	out->n = 1;
}

/* Different successors of each state, drawn until there are enough. */
static void make_machine(synth *s, machine *m)
{
	uint32_t states = s->o.states, n = s->o.successors, features = states;

	for (uint32_t a = 0; a < states; a++) {
		uint64_t seed = hash64_mix(hash64_mix(s->o.seed, STREAM_MACHINE), a);
		bool is_next[MOST_STATES] = { false };
		uint32_t found = 0;

		for (uint64_t turn = 0; found < n; turn++) {
			uint32_t b = (uint32_t)hash64_below(hash64_mix(seed, turn), states);

			found += !is_next[b];
			is_next[b] = true;
		}
		for (uint32_t b = 0, at = 0; b < states; b++)
			if (is_next[b])
				m->next[a * n + at++] = (uint8_t)b;
		for (uint32_t digit = 0; digit < BASE; digit++) {
			bool valid = false;

			for (uint32_t b = digit * BASE; b < (digit + 1) * BASE && b < states; b++)
				valid = valid || is_next[b];
			m->trigram[a * BASE + digit] =
			        valid && s->o.trigrams ? (uint16_t)features++ : NO_FEATURE;
		}
	}
	s->n_features = features;
}

static void walk(synth *s, machine *m, uint64_t context)
{
	uint64_t seed = hash64_mix(hash64_mix(s->o.seed, STREAM_ROWS), context),
	         first = context * s->o.ctx_len;
	uint32_t state = (uint32_t)hash64_below(hash64_mix(seed, 0), s->o.states), before = 0;

	s->tokens[first] = BOS;
	m->feature[first] = NO_FEATURE;
	for (uint32_t i = 1; i < s->o.ctx_len; i++) {
		uint32_t digit = i % 2 ? state / BASE : state % BASE;
		uint16_t feature = i % 2 == 0 ? (uint16_t)state
		                   : i > 1    ? m->trigram[before * BASE + digit]
		                              : (uint16_t)NO_FEATURE;

		s->tokens[first + i] = (uint8_t)digit;
		m->feature[first + i] = feature;
		s->mask[first + i] = feature != NO_FEATURE;
		if (i % 2 == 0) {
			before = state;
			state = m->next[state * s->o.successors +
			                hash64_below(hash64_mix(seed, i), s->o.successors)];
		}
	}
}

static int note_machine(synth *s, const machine *m, error *err)
{
	cJSON *list, *row;

	s->notes = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(s->notes, "successors");
	for (uint32_t a = 0; a < s->o.states; a++) {
		row = cJSON_CreateArray();
		if (!cJSON_AddItemToArray(list, row)) {
			cJSON_Delete(row);
			return error_nomem(err, "an automaton");
		}
		for (uint32_t i = 0; i < s->o.successors; i++)
			if (!cJSON_AddItemToArray(row, cJSON_CreateNumber(m->next[a * s->o.successors + i])))
				return error_nomem(err, "an automaton");
	}
	return 0;
}

int synth_tokfsm_init(synth *s, pool *p, error *err)
{
	machine *m = arena_alloc(&s->mem, 1, sizeof(*m));
	uint64_t contexts = s->o.rows / (s->o.ctx_len ? s->o.ctx_len : 1);
	int rc;

	if (s->o.states < 1 || s->o.states > MOST_STATES || s->o.successors < 1 ||
	    s->o.successors > s->o.states)
		return error_set(err, ERR_ARG,
		                 "states %u are not 1 to %d, or successors %u not 1 to the number of states",
		                 s->o.states, MOST_STATES, s->o.successors);
	if (s->o.ctx_len < 3 || contexts == 0)
		return error_set(err, ERR_ARG,
		                 "contexts of %u tokens: 3 at least, the number of rows at most",
		                 s->o.ctx_len);
	s->n_rows = contexts * s->o.ctx_len;
	s->state = m;
	s->draw = draw_tokfsm;
	s->vocabulary = BASE + 1;
	s->tokens = arena_alloc(&s->mem, s->n_rows, 1);
	s->mask = arena_alloc(&s->mem, s->n_rows, 1);
	if (m) {
		m->next = arena_alloc(&s->mem, (size_t)s->o.states * s->o.successors, sizeof(*m->next));
		m->trigram = arena_alloc(&s->mem, (size_t)s->o.states * BASE, sizeof(*m->trigram));
		m->feature = arena_alloc(&s->mem, s->n_rows, sizeof(*m->feature));
	}
	if (!m || !s->tokens || !s->mask || !m->next || !m->trigram || !m->feature)
		return error_nomem(err, "an automaton");
	make_machine(s, m);
	for (uint64_t c = 0; c < contexts; c++)
		walk(s, m, c);
	rc = note_machine(s, m, err);
	return rc ? rc : synth_make_dictionary(s, p, err);
}
