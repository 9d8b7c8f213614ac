/* pickle.h: the few names that a pickle may give, and what it may make by them. */
#include <inttypes.h>
#include <string.h>

#include "sae/pickle_machine.h"

enum {
	GLOBAL_ORDERED_DICT,
	GLOBAL_TENSOR,
	GLOBAL_TENSOR_OF_BYTES,
	GLOBAL_PARAMETER,
	GLOBAL_STORAGE,
	GLOBAL_DTYPE
};

static const struct {
	const char *module, *name;
	unsigned what;
	sae_dtype dtype;
} globals[] = {
	{ "collections", "OrderedDict", GLOBAL_ORDERED_DICT, 0 },
	{ "torch._utils", "_rebuild_tensor_v2", GLOBAL_TENSOR, 0 },
	{ "torch._utils", "_rebuild_tensor_v3", GLOBAL_TENSOR_OF_BYTES, 0 },
	{ "torch._utils", "_rebuild_parameter", GLOBAL_PARAMETER, 0 },
	{ "torch", "HalfStorage", GLOBAL_STORAGE, SAE_F16 },
	{ "torch", "BFloat16Storage", GLOBAL_STORAGE, SAE_BF16 },
	{ "torch", "FloatStorage", GLOBAL_STORAGE, SAE_F32 },
	{ "torch", "DoubleStorage", GLOBAL_STORAGE, SAE_F64 },
	{ "torch", "CharStorage", GLOBAL_STORAGE, SAE_I8 },
	{ "torch", "ShortStorage", GLOBAL_STORAGE, SAE_I16 },
	{ "torch", "IntStorage", GLOBAL_STORAGE, SAE_I32 },
	{ "torch", "LongStorage", GLOBAL_STORAGE, SAE_I64 },
	{ "torch", "ByteStorage", GLOBAL_STORAGE, SAE_U8 },
	{ "torch", "BoolStorage", GLOBAL_STORAGE, SAE_BOOL },
	{ "torch.storage", "UntypedStorage", GLOBAL_STORAGE, SAE_U8 },
	{ "torch", "uint16", GLOBAL_DTYPE, SAE_U16 },
	{ "torch", "uint32", GLOBAL_DTYPE, SAE_U32 },
	{ "torch", "uint64", GLOBAL_DTYPE, SAE_U64 },
};

static int push_global(pickle_machine *m, const char *module, size_t n_module, const char *name,
                       size_t n_name, error *err)
{
	pickle_value *v;
	char shown[192];
	text t;

	for (unsigned i = 0; i < ARRAY_LEN(globals); i++)
		if (strlen(globals[i].module) == n_module &&
		    memcmp(globals[i].module, module, n_module) == 0 && strlen(globals[i].name) == n_name &&
		    memcmp(globals[i].name, name, n_name) == 0) {
			int rc = pickle_push_new(m, &v, PICKLE_GLOBAL, err);

			if (rc == 0)
				v->u.global = i;
			return rc;
		}
	text_init(&t, sizeof(shown) - 1);
	if (text_add_visible(&t, module, n_module < 50 ? n_module : 50) < 0 || text_adds(&t, ".") < 0 ||
	    text_add_visible(&t, name, n_name < 50 ? n_name : 50) < 0)
		text_clear(&t);
	snprintf(shown, sizeof(shown), "%s", t.data ? t.data : "");
	text_free(&t);
	return pickle_fail(m->p, m->op, ERR_FORMAT, err,
	                   "'%s' is not taken: dicts, lists, text, numbers and plain tensors are", shown);
}

/* Two lines, module and name. */
int pickle_run_global(pickle_machine *m, error *err)
{
	const char *start = (const char *)m->p->data + m->at;
	const char *middle = memchr(start, '\n', m->p->n - m->at);
	const char *end =
	        middle ? memchr(middle + 1, '\n', m->p->n - (size_t)(middle + 1 - (const char *)m->p->data))
	               : NULL;

	if (!end)
		return pickle_refuse(m, err, "the pickle ends inside of an opcode");
	m->at = (size_t)(end + 1 - (const char *)m->p->data);
	return push_global(m, start, (size_t)(middle - start), middle + 1, (size_t)(end - middle - 1), err);
}

int pickle_run_stack_global(pickle_machine *m, error *err)
{
	const pickle_value *name = pickle_value_of(m, pickle_pop(m)),
	                   *module = pickle_value_of(m, pickle_pop(m));
	const char *data = (const char *)m->p->data;

	if (name->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT)
		return pickle_refuse(m, err, "a name that is no text");
	return push_global(m, data + module->u.text.start, module->u.text.n, data + name->u.text.start,
	                   name->u.text.n, err);
}

/* The items of a tuple of `n` to out; false where it is none. */
static bool unpack(const pickle_machine *m, uint32_t tuple, uint32_t *out, size_t n)
{
	const pickle_value *v = pickle_value_of(m, tuple);
	uint32_t item = v->u.list.first;

	if (v->kind != PICKLE_TUPLE || v->u.list.n != n)
		return false;
	for (size_t i = 0; i < n; i++, item = m->p->items[item].next)
		out[i] = m->p->items[item].value;
	return true;
}

static bool is_ints(const pickle_machine *m, uint32_t tuple)
{
	const pickle_value *v = pickle_value_of(m, tuple);
	bool ints = v->kind == PICKLE_TUPLE;
	uint32_t item = v->u.list.first;

	for (uint32_t i = 0; ints && i < v->u.list.n; i++, item = m->p->items[item].next)
		ints = pickle_value_of(m, m->p->items[item].value)->kind == PICKLE_INT;
	return ints;
}

/* ('storage', torch.FloatStorage, '0', 'cpu', 12): the elements in member data/0. */
int pickle_run_binpersid(pickle_machine *m, error *err)
{
	uint32_t id = pickle_pop(m), part[5];
	const pickle_value *kind, *count;
	pickle_value *v;
	int rc;

	if (!unpack(m, id, part, 5) || !pickle_is(m->p, part[0], "storage"))
		return pickle_refuse(m, err, "a persistent id that names no storage");
	kind = pickle_value_of(m, part[1]);
	count = pickle_value_of(m, part[4]);
	if (kind->kind != PICKLE_GLOBAL || globals[kind->u.global].what != GLOBAL_STORAGE ||
	    pickle_value_of(m, part[2])->kind != PICKLE_TEXT || count->kind != PICKLE_INT || count->u.i < 0)
		return pickle_refuse(m, err, "a persistent id that names no storage");
	rc = pickle_push_new(m, &v, PICKLE_STORAGE, err); /* kind and count point into what may have moved */
	if (rc < 0)
		return rc;
	v->u.storage.dtype = globals[pickle_value_of(m, part[1])->u.global].dtype;
	v->u.storage.key = part[2];
	v->u.storage.count = (uint64_t)pickle_value_of(m, part[4])->u.i;
	return 0;
}

static bool is_dtype(const pickle_value *v)
{
	return v->kind == PICKLE_GLOBAL && globals[v->u.global].what == GLOBAL_DTYPE;
}

/* (storage, offset, size, stride, requires_grad, hooks), `of_bytes` with a dtype behind: unsigned ones have no storage of their
 * own. Further parts would be bits that change what the elements mean. */
static int make_tensor(pickle_machine *m, uint32_t args, bool of_bytes, error *err)
{
	const pickle_value *hooks, *storage;
	uint32_t part[7] = { 0 };
	sae_dtype dtype;
	pickle_value *v;
	int rc;

	if (!unpack(m, args, part, of_bytes ? 7 : 6) || pickle_value_of(m, part[0])->kind != PICKLE_STORAGE ||
	    pickle_value_of(m, part[1])->kind != PICKLE_INT || !is_ints(m, part[2]) || !is_ints(m, part[3]) ||
	    pickle_value_of(m, part[4])->kind != PICKLE_BOOL)
		return pickle_refuse(m, err, "a tensor that is not plain");
	storage = pickle_value_of(m, part[0]);
	if (of_bytes && (!is_dtype(pickle_value_of(m, part[6])) || storage->u.storage.dtype != SAE_U8))
		return pickle_refuse(m, err, "a tensor that is not plain");
	hooks = pickle_value_of(m, part[5]);
	if (hooks->kind != PICKLE_NONE && (hooks->kind != PICKLE_DICT || hooks->u.list.n))
		return pickle_refuse(m, err, "a tensor with hooks");
	dtype = of_bytes ? globals[pickle_value_of(m, part[6])->u.global].dtype : storage->u.storage.dtype;
	rc = pickle_push_new(m, &v, PICKLE_TENSOR, err);
	if (rc < 0)
		return rc;
	v->u.tensor.dtype = dtype;
	v->u.tensor.storage = part[0];
	v->u.tensor.offset = part[1];
	v->u.tensor.size = part[2];
	v->u.tensor.stride = part[3];
	return 0;
}

/* (tensor, requires_grad, hooks) */
static int make_parameter(pickle_machine *m, uint32_t args, error *err)
{
	const pickle_value *hooks;
	uint32_t part[3];

	if (!unpack(m, args, part, 3) || pickle_value_of(m, part[0])->kind != PICKLE_TENSOR)
		return pickle_refuse(m, err, "a parameter that is no plain tensor");
	hooks = pickle_value_of(m, part[2]);
	if (hooks->kind != PICKLE_NONE && (hooks->kind != PICKLE_DICT || hooks->u.list.n))
		return pickle_refuse(m, err, "a tensor with hooks");
	return pickle_push(m, part[0], err);
}

int pickle_run_reduce(pickle_machine *m, error *err)
{
	uint32_t args = pickle_pop(m), callee = pickle_pop(m);
	pickle_value *v;
	int rc;

	if (pickle_value_of(m, callee)->kind != PICKLE_GLOBAL)
		return pickle_refuse(m, err, "REDUCE of what is no known name");
	switch (globals[pickle_value_of(m, callee)->u.global].what) {
	case GLOBAL_ORDERED_DICT:
		if (!unpack(m, args, NULL, 0))
			return pickle_refuse(m, err, "an OrderedDict with arguments");
		rc = pickle_push_new(m, &v, PICKLE_DICT, err);
		if (rc == 0)
			v->u.list.ordered = true;
		return rc;
	case GLOBAL_TENSOR:
		return make_tensor(m, args, false, err);
	case GLOBAL_TENSOR_OF_BYTES:
		return make_tensor(m, args, true, err);
	case GLOBAL_PARAMETER:
		return make_parameter(m, args, err);
	default:
		return pickle_refuse(m, err, "REDUCE of the name of a type");
	}
}

/* A module's state_dict() is an OrderedDict with an attribute _metadata, versions of its modules: left out. */
int pickle_run_build(pickle_machine *m, error *err)
{
	const pickle_value *state = pickle_value_of(m, pickle_pop(m)), *target;

	target = pickle_above_mark(m) ? pickle_value_of(m, m->stack[m->n_stack - 1]) : pickle_value_of(m, 0);
	if (target->kind == PICKLE_DICT && target->u.list.ordered && state->kind == PICKLE_DICT &&
	    state->u.list.n == 1 && pickle_is(m->p, m->p->items[state->u.list.first].key, "_metadata") &&
	    pickle_value_of(m, m->p->items[state->u.list.first].value)->kind == PICKLE_DICT)
		return 0;
	return pickle_refuse(
	        m, err, "BUILD with state is not taken: dicts, lists, text, numbers and plain tensors are");
}
