/* pickle.h: a stack machine after Lib/pickletools.py, of the opcodes that protocols 2 to 5 need for plain values. */
#include "sae/pickle_machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 1 << 20 };

/* ---- The machine's parts -------------------------------------------------------------------------------------------- */

int pickle_fail(const pickle *p, size_t at, int code, error *err, const char *fmt, ...)
{
	char why[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	return error_set(err, code, "'%s': byte %zu of its data.pkl: %s", p->path, at, why);
}

bool pickle_is(const pickle *p, uint32_t value, const char *s)
{
	const pickle_value *v = &p->values[value];

	return v->kind == PICKLE_TEXT && v->u.text.n == strlen(s) &&
	       memcmp(p->data + v->u.text.start, s, v->u.text.n) == 0;
}

int pickle_refuse(const pickle_machine *m, error *err, const char *why)
{
	return pickle_fail(m->p, m->op, ERR_FORMAT, err, "%s", why);
}

int pickle_push(pickle_machine *m, uint32_t value, error *err)
{
	if (mem_grow(&m->stack, &m->cap_stack, m->n_stack + 1, sizeof(*m->stack)) < 0)
		return error_nomem(err, "a pickle");
	m->stack[m->n_stack++] = value;
	return 0;
}

int pickle_push_new(pickle_machine *m, pickle_value **out, pickle_kind kind, error *err)
{
	pickle *p = m->p;

	if (p->n_values == VALUES_MAX)
		return pickle_fail(p, m->op, ERR_LIMIT, err, "more than %d values", VALUES_MAX);
	if (mem_grow(&p->values, &p->cap_values, p->n_values + 1, sizeof(*p->values)) < 0)
		return error_nomem(err, "a pickle");
	*out = &p->values[p->n_values];
	**out = (pickle_value){ .kind = kind, .at = (uint32_t)m->op };
	return pickle_push(m, (uint32_t)p->n_values++, err);
}

uint32_t pickle_pop(pickle_machine *m)
{
	return pickle_above_mark(m) ? m->stack[--m->n_stack] : 0;
}

/* The next `n` bytes behind the opcode. */
static int take(pickle_machine *m, const unsigned char **out, uint64_t n, error *err)
{
	if (n > m->p->n - m->at)
		return pickle_refuse(m, err, "the pickle ends inside of an opcode");
	*out = m->p->data + m->at;
	m->at += (size_t)n;
	return 0;
}

static uint64_t little(const unsigned char *b, size_t n)
{
	uint64_t v = 0;

	for (size_t i = n; i-- > 0;)
		v = v << 8 | b[i];
	return v;
}

static int take_number(pickle_machine *m, uint64_t *out, size_t n, error *err)
{
	const unsigned char *b = NULL;
	int rc = take(m, &b, n, err);

	*out = rc == 0 ? little(b, n) : 0;
	return rc;
}

static int add_item(pickle_machine *m, uint32_t to, uint32_t key, uint32_t value, error *err)
{
	pickle *p = m->p;
	pickle_value *v = pickle_value_of(m, to);

	if (p->n_items == 2 * VALUES_MAX)
		return pickle_fail(p, m->op, ERR_LIMIT, err, "more than %d items", 2 * VALUES_MAX);
	if (mem_grow(&p->items, &p->cap_items, p->n_items + 1, sizeof(*p->items)) < 0)
		return error_nomem(err, "a pickle");
	p->items[p->n_items] = (pickle_item){ key, value, 0 };
	if (v->u.list.n++)
		p->items[v->u.list.last].next = (uint32_t)p->n_items;
	else
		v->u.list.first = (uint32_t)p->n_items;
	v->u.list.last = (uint32_t)p->n_items++;
	return 0;
}

/* ---- Opcodes: numbers and text --------------------------------------------------------------------------------------- */

static int run_proto(pickle_machine *m, error *err)
{
	uint64_t version;
	int rc = take_number(m, &version, 1, err);

	if (rc == 0 && (version < 2 || version > 5 || m->op != 0))
		rc = pickle_fail(m->p, m->op, ERR_FORMAT, err, "protocol %" PRIu64 "; 2 to 5 are read",
		                 version);
	return rc;
}

static int run_frame(pickle_machine *m, error *err)
{
	uint64_t n;
	int rc = take_number(m, &n, 8, err);

	if (rc == 0 && n > m->p->n - m->at)
		rc = pickle_refuse(m, err, "a frame that goes past the end");
	return rc;
}

static int run_none(pickle_machine *m, error *err)
{
	pickle_value *v;

	return pickle_push_new(m, &v, PICKLE_NONE, err);
}

static int run_bool(pickle_machine *m, error *err)
{
	pickle_value *v;
	int rc = pickle_push_new(m, &v, PICKLE_BOOL, err);

	if (rc == 0)
		v->u.i = m->p->data[m->op] == 0x88;
	return rc;
}

/* A whole number of n bytes, two's complement where `is_signed`. */
static int push_int(pickle_machine *m, size_t n, bool is_signed, error *err)
{
	pickle_value *v;
	uint64_t number;
	int rc = take_number(m, &number, n, err);

	if (rc == 0 && is_signed && n > 0 && n < 8 && number >> (8 * n - 1))
		number |= UINT64_MAX << 8 * n;
	if (rc == 0)
		rc = pickle_push_new(m, &v, PICKLE_INT, err);
	if (rc == 0)
		v->u.i = (int64_t)number;
	return rc;
}

static int run_binint(pickle_machine *m, error *err)
{
	return push_int(m, 4, true, err);
}

static int run_binint1(pickle_machine *m, error *err)
{
	return push_int(m, 1, false, err);
}

static int run_binint2(pickle_machine *m, error *err)
{
	return push_int(m, 2, false, err);
}

static int run_long1(pickle_machine *m, error *err)
{
	uint64_t n;
	int rc = take_number(m, &n, 1, err);

	if (rc == 0 && n > 8)
		rc = pickle_fail(m->p, m->op, ERR_FORMAT, err,
		                 "a whole number of %" PRIu64 " bytes; 8 are read", n);
	return rc < 0 ? rc : push_int(m, (size_t)n, true, err);
}

static int run_binfloat(pickle_machine *m, error *err)
{
	const unsigned char *b = NULL;
	uint64_t bits = 0;
	pickle_value *v;
	int rc = take(m, &b, 8, err);

	for (size_t i = 0; i < 8 && rc == 0; i++)
		bits = bits << 8 | b[i];
	if (rc == 0)
		rc = pickle_push_new(m, &v, PICKLE_FLOAT, err);
	if (rc == 0)
		memcpy(&v->u.f, &bits, sizeof(v->u.f));
	return rc;
}

/* Text whose length is in n bytes. */
static int push_text(pickle_machine *m, size_t n, error *err)
{
	const unsigned char *b = NULL;
	pickle_value *v;
	uint64_t length;
	int rc = take_number(m, &length, n, err);

	if (rc == 0)
		rc = take(m, &b, length, err);
	if (rc == 0 && !utf8_is_valid((const char *)b, (size_t)length))
		rc = pickle_refuse(m, err, "text that is no UTF-8");
	if (rc == 0)
		rc = pickle_push_new(m, &v, PICKLE_TEXT, err);
	if (rc == 0) {
		v->u.text.start = (uint32_t)(b - m->p->data);
		v->u.text.n = (uint32_t)length;
	}
	return rc;
}

static int run_binunicode(pickle_machine *m, error *err)
{
	return push_text(m, 4, err);
}

static int run_short_binunicode(pickle_machine *m, error *err)
{
	return push_text(m, 1, err);
}

/* ---- Opcodes: containers ------------------------------------------------------------------------------------------------ */

static int run_mark(pickle_machine *m, error *err)
{
	if (m->n_marks == PICKLE_MARKS_MAX)
		return pickle_fail(m->p, m->op, ERR_LIMIT, err, "nested deeper than %d", PICKLE_MARKS_MAX);
	m->marks[m->n_marks++] = m->n_stack;
	return 0;
}

static int run_empty(pickle_machine *m, error *err)
{
	const unsigned char op = m->p->data[m->op];
	pickle_value *v;

	return pickle_push_new(m, &v, op == '}' ? PICKLE_DICT : op == ']' ? PICKLE_LIST : PICKLE_TUPLE, err);
}

/* A tuple of the n values on top. */
static int push_tuple(pickle_machine *m, size_t n, error *err)
{
	size_t first = m->n_stack - n;
	pickle_value *v;
	uint32_t tuple;
	int rc;

	if (n > pickle_above_mark(m))
		return pickle_refuse(m, err, "more is taken off the stack than is on it");
	rc = pickle_push_new(m, &v, PICKLE_TUPLE, err);
	if (rc < 0)
		return rc;
	tuple = m->stack[m->n_stack - 1];
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_item(m, tuple, 0, m->stack[first + i], err);
	m->stack[first] = tuple;
	m->n_stack = first + 1;
	return rc;
}

static int run_tuple_n(pickle_machine *m, error *err)
{
	return push_tuple(m, (size_t)m->p->data[m->op] - 0x84, err);
}

static int run_tuple(pickle_machine *m, error *err)
{
	size_t n = pickle_above_mark(m);

	if (!m->n_marks)
		return pickle_refuse(m, err, "no mark is open");
	m->n_marks--;
	return push_tuple(m, n, err);
}

/* What lies above the last mark, or the top `n`, goes into the container below. */
static int fill(pickle_machine *m, size_t n, pickle_kind kind, error *err)
{
	const size_t first = m->n_stack - n, step = kind == PICKLE_DICT ? 2 : 1;
	int rc = 0;

	if (n >= pickle_above_mark(m))
		return pickle_refuse(m, err, "more is taken off the stack than is on it");
	if (pickle_value_of(m, m->stack[first - 1])->kind != kind)
		return pickle_refuse(m, err,
		                     kind == PICKLE_DICT ? "items for what is no dict"
		                                         : "items for what is no list");
	if (n % step)
		return pickle_refuse(m, err, "a key without its value");
	for (size_t i = 0; i < n && rc == 0; i += step)
		rc = add_item(m, m->stack[first - 1], step == 2 ? m->stack[first + i] : 0,
		              m->stack[first + i + step - 1], err);
	m->n_stack = first;
	return rc;
}

static int fill_from_mark(pickle_machine *m, pickle_kind kind, error *err)
{
	size_t n = pickle_above_mark(m);

	if (!m->n_marks)
		return pickle_refuse(m, err, "no mark is open");
	m->n_marks--;
	return fill(m, n, kind, err);
}

static int run_append(pickle_machine *m, error *err)
{
	return fill(m, 1, PICKLE_LIST, err);
}

static int run_appends(pickle_machine *m, error *err)
{
	return fill_from_mark(m, PICKLE_LIST, err);
}

static int run_setitem(pickle_machine *m, error *err)
{
	return fill(m, 2, PICKLE_DICT, err);
}

static int run_setitems(pickle_machine *m, error *err)
{
	return fill_from_mark(m, PICKLE_DICT, err);
}

/* ---- Opcodes: memo ------------------------------------------------------------------------------------------------------ */

/* Numbers are given one after another, as every pickler does; one may be given again. */
static int put(pickle_machine *m, uint64_t i, error *err)
{
	if (pickle_above_mark(m) == 0)
		return pickle_refuse(m, err, "nothing is on the stack to remember");
	if (i > m->n_memo)
		return pickle_fail(m->p, m->op, ERR_FORMAT, err, "memo %" PRIu64 " comes after %zu", i,
		                   m->n_memo);
	if (mem_grow(&m->memo, &m->cap_memo, m->n_memo + 1, sizeof(*m->memo)) < 0)
		return error_nomem(err, "a pickle");
	m->n_memo += i == m->n_memo;
	m->memo[i] = m->stack[m->n_stack - 1];
	return 0;
}

static int run_put(pickle_machine *m, error *err)
{
	uint64_t i;
	int rc = take_number(m, &i, m->p->data[m->op] == 'q' ? 1 : 4, err);

	return rc < 0 ? rc : put(m, i, err);
}

static int run_memoize(pickle_machine *m, error *err)
{
	return put(m, m->n_memo, err);
}

static int run_get(pickle_machine *m, error *err)
{
	uint64_t i;
	int rc = take_number(m, &i, m->p->data[m->op] == 'h' ? 1 : 4, err);

	if (rc < 0)
		return rc;
	if (i >= m->n_memo)
		return pickle_fail(m->p, m->op, ERR_FORMAT, err, "memo %" PRIu64 " was never given", i);
	return pickle_push(m, m->memo[i], err);
}

static int run_stop(pickle_machine *m, error *err)
{
	if (m->n_stack != 1 || m->n_marks)
		return pickle_refuse(m, err, "STOP with other than one value on the stack");
	if (m->at != m->p->n)
		return pickle_refuse(m, err, "bytes behind STOP");
	m->p->root = m->stack[0];
	m->stopped = true;
	return 0;
}

/* ---- The machine ---------------------------------------------------------------------------------------------------------- */

/* All opcodes that there are, for their names; those without a function are refused. */
static const struct opcode {
	unsigned char code;
	const char *name;
	int (*run)(pickle_machine *m, error *err);
} opcodes[] = {
	{ 0x80, "PROTO", run_proto },
	{ 0x95, "FRAME", run_frame },
	{ 'N', "NONE", run_none },
	{ 0x88, "NEWTRUE", run_bool },
	{ 0x89, "NEWFALSE", run_bool },
	{ 'J', "BININT", run_binint },
	{ 'K', "BININT1", run_binint1 },
	{ 'M', "BININT2", run_binint2 },
	{ 0x8a, "LONG1", run_long1 },
	{ 'G', "BINFLOAT", run_binfloat },
	{ 'X', "BINUNICODE", run_binunicode },
	{ 0x8c, "SHORT_BINUNICODE", run_short_binunicode },
	{ '(', "MARK", run_mark },
	{ '}', "EMPTY_DICT", run_empty },
	{ ']', "EMPTY_LIST", run_empty },
	{ ')', "EMPTY_TUPLE", run_empty },
	{ 0x85, "TUPLE1", run_tuple_n },
	{ 0x86, "TUPLE2", run_tuple_n },
	{ 0x87, "TUPLE3", run_tuple_n },
	{ 't', "TUPLE", run_tuple },
	{ 'a', "APPEND", run_append },
	{ 'e', "APPENDS", run_appends },
	{ 's', "SETITEM", run_setitem },
	{ 'u', "SETITEMS", run_setitems },
	{ 'q', "BINPUT", run_put },
	{ 'r', "LONG_BINPUT", run_put },
	{ 0x94, "MEMOIZE", run_memoize },
	{ 'h', "BINGET", run_get },
	{ 'j', "LONG_BINGET", run_get },
	{ 'c', "GLOBAL", pickle_run_global },
	{ 0x93, "STACK_GLOBAL", pickle_run_stack_global },
	{ 'Q', "BINPERSID", pickle_run_binpersid },
	{ 'R', "REDUCE", pickle_run_reduce },
	{ 'b', "BUILD", pickle_run_build },
	{ '.', "STOP", run_stop },
	{ 'I', "INT", NULL },
	{ 'L', "LONG", NULL },
	{ 0x8b, "LONG4", NULL },
	{ 'S', "STRING", NULL },
	{ 'T', "BINSTRING", NULL },
	{ 'U', "SHORT_BINSTRING", NULL },
	{ 'B', "BINBYTES", NULL },
	{ 'C', "SHORT_BINBYTES", NULL },
	{ 0x8e, "BINBYTES8", NULL },
	{ 0x96, "BYTEARRAY8", NULL },
	{ 0x97, "NEXT_BUFFER", NULL },
	{ 0x98, "READONLY_BUFFER", NULL },
	{ 'V', "UNICODE", NULL },
	{ 0x8d, "BINUNICODE8", NULL },
	{ 'F', "FLOAT", NULL },
	{ 'l', "LIST", NULL },
	{ 'd', "DICT", NULL },
	{ 0x8f, "EMPTY_SET", NULL },
	{ 0x90, "ADDITEMS", NULL },
	{ 0x91, "FROZENSET", NULL },
	{ '0', "POP", NULL },
	{ '2', "DUP", NULL },
	{ '1', "POP_MARK", NULL },
	{ 'g', "GET", NULL },
	{ 'p', "PUT", NULL },
	{ 0x82, "EXT1", NULL },
	{ 0x83, "EXT2", NULL },
	{ 0x84, "EXT4", NULL },
	{ 'i', "INST", NULL },
	{ 'o', "OBJ", NULL },
	{ 0x81, "NEWOBJ", NULL },
	{ 0x92, "NEWOBJ_EX", NULL },
	{ 'P', "PERSID", NULL },
};

static int run_one(pickle_machine *m, error *err)
{
	const unsigned char code = m->p->data[m->at];
	size_t i = 0;

	m->op = m->at++;
	while (i < ARRAY_LEN(opcodes) && opcodes[i].code != code)
		i++;
	if (i == ARRAY_LEN(opcodes))
		return pickle_fail(m->p, m->op, ERR_FORMAT, err, "0x%02x is no opcode of a pickle", code);
	if (!opcodes[i].run)
		return pickle_fail(
		        m->p, m->op, ERR_FORMAT, err,
		        "opcode %s is not taken: dicts, lists, text, numbers and plain tensors are",
		        opcodes[i].name);
	return opcodes[i].run(m, err);
}

int pickle_read(pickle *p, const unsigned char *data, size_t n, const char *path, error *err)
{
	pickle_machine m = { .p = p };
	int rc = 0;

	*p = (pickle){ .data = data, .n = n, .path = path };
	if (mem_grow(&p->values, &p->cap_values, 1, sizeof(*p->values)) < 0 ||
	    mem_grow(&p->items, &p->cap_items, 1, sizeof(*p->items)) < 0)
		return error_nomem(err, "a pickle");
	p->values[p->n_values++] = (pickle_value){ .kind = PICKLE_NONE };
	p->items[p->n_items++] = (pickle_item){ 0 };
	while (rc == 0 && !m.stopped && m.at < n)
		rc = run_one(&m, err);
	if (rc == 0 && !m.stopped)
		rc = pickle_fail(p, n, ERR_FORMAT, err, "the pickle ends without STOP");
	free(m.stack);
	free(m.memo);
	return rc;
}

void pickle_clear(pickle *p)
{
	free(p->values);
	free(p->items);
	*p = (pickle){ 0 };
}
