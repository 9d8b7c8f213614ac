/* spell: which tokens of an echoed prompt are those of its end. Private to explain/. */
#ifndef GLOSS_EXPLAIN_SPELL_H
#define GLOSS_EXPLAIN_SPELL_H

#include "explain/explain.h"

/* Of the tokens of a prompt, behind some of the server's own, how many lie behind its first `from` bytes: the last *n. One that lies
 * on both sides is not among them. A part of a character is its bytes, U+FFFD or nothing, as servers have it.
 * ERR_FORMAT: they do not spell it. */
int spell_count(size_t *n, const explain_tokens *tokens, const char *prompt, size_t from,
                error *err) MUST_USE;

#endif
