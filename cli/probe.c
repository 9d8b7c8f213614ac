/* See probe.h: from options to examples, probes, and the answer. */
#include "cli/probe.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/probe_perturb.h"

typedef struct probing {
	const probe_opts *o;
	const cli_parsed *p;
	sae_model *model;
	dump_input in;
	probe_labels labels;
	sae_unit unit;
	sae_examples e;
	uint32_t *k, *classes; /* of the probes asked for */
	size_t n_k, n_probed;
	uint32_t *skipped; /* classes that cannot be probed */
	size_t n_skipped;
	uint32_t (*n)[2]; /* (n_classes): training and held-out examples */
	uint32_t n_part[2];
	sae_probe *probes;
	size_t n_probes;
	cJSON *tpp, *scr; /* NULL: not asked for */
} probing;

/* ---- What is asked ------------------------------------------------------------------------------------------------------ */

/* What a label is of: as said, or by their number. */
static int choose_unit(probing *g, error *err)
{
	static const sae_unit units[] = { SAE_UNIT_CONTEXT, SAE_UNIT_ROW, SAE_UNIT_DOCUMENT };
	uint64_t n[3] = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		bool asked = g->o->per && strcmp(g->o->per, sae_unit_name(units[i])) == 0;

		if ((asked || !g->o->per) &&
		    sae_unit_count(&n[i], units[i], g->in.dump, asked ? err : NULL)) {
			if (asked)
				return err->code;
			n[i] = 0; /* documents are not numbered: not a choice */
		}
		g->unit = units[i];
		if ((asked || !g->o->per) && n[i] == g->labels.n)
			return 0;
		if (asked)
			return error_set(
			        err, ERR_ARG, "'%s' has %" PRIu64 " labels, one a %s would be %" PRIu64 "%s",
			        g->o->labels, g->labels.n, g->o->per, n[i],
			        g->labels.n == n[i] + 1 ? "; does its first line name a --column?" : "");
	}
	return error_set(err, ERR_ARG,
	                 "'%s' has %" PRIu64 " labels, the dump %" PRIu64 " contexts, %" PRIu64
	                 " rows and %" PRIu64 " documents%s",
	                 g->o->labels, g->labels.n, n[0], n[1], n[2],
	                 g->labels.n == n[0] + 1 || g->labels.n == n[1] + 1
	                         ? "; does its first line name a --column?"
	                         : "");
}

static int choose_k(probing *g, error *err)
{
	static const uint32_t usual[] = { 1, 2, 5 };
	uint32_t *given = NULL;
	size_t n = 0;
	int rc = dump_parse_numbers(&given, &n, &g->o->k, "k", err);

	if (rc)
		return rc;
	for (size_t i = 0; i < n && !rc; i++)
		if (given[i] < 1 || given[i] > 4096)
			rc = error_set(err, ERR_ARG, "--k %u is not from 1 to 4096", given[i]);
	g->n_k = n ? n : ARRAY_LEN(usual);
	g->k = calloc(g->n_k + 1, sizeof(*g->k));
	if (!rc && !g->k)
		rc = error_nomem(err, "the sizes of probes");
	if (!rc)
		memcpy(g->k, n ? given : usual, g->n_k * sizeof(*g->k));
	free(given);
	g->n_k += g->o->dense; /* 0 at the end: all */
	if (!rc && g->n_k == 0)
		rc = error_set(err, ERR_ARG, "nothing to probe");
	return rc;
}

/* A class is probed when it and the rest have examples in both parts. */
static bool can_probe(const probing *g, uint32_t label)
{
	for (int part = 0; part < 2; part++)
		if (g->n[label][part] == 0 || g->n[label][part] == g->n_part[part])
			return false;
	return true;
}

static int choose_classes(probing *g, error *err)
{
	uint32_t n_classes = g->labels.n_classes;

	g->classes = calloc(n_classes, sizeof(*g->classes));
	g->skipped = calloc(n_classes, sizeof(*g->skipped));
	g->n = calloc(n_classes, sizeof(*g->n));
	if (!g->classes || !g->skipped || !g->n)
		return error_nomem(err, "the classes");
	for (uint32_t i = 0; i < g->e.n; i++) {
		g->n[g->e.label[i]][g->e.test[i]]++;
		g->n_part[g->e.test[i]]++;
	}
	for (uint32_t label = n_classes == 2; label < n_classes && !g->o->classes.n; label++) {
		if (can_probe(g, label))
			g->classes[g->n_probed++] = label;
		else
			g->skipped[g->n_skipped++] = label;
	}
	for (size_t i = 0; i < g->o->classes.n; i++) {
		uint32_t label;
		int rc = probe_labels_find(&label, &g->labels, g->o->classes.items[i], err);

		if (rc)
			return rc;
		if (g->n_probed < n_classes && can_probe(g, label))
			g->classes[g->n_probed++] = label;
		else if (g->n_skipped < n_classes)
			g->skipped[g->n_skipped++] = label;
	}
	if (g->n_probed == 0)
		return error_set(err, ERR_FORMAT,
		                 "no class can be probed: of '%s' there are %u examples to train on and %u "
		                 "to test on, of "
		                 "the rest %u and %u",
		                 g->labels.names[g->skipped[0]], g->n[g->skipped[0]][0],
		                 g->n[g->skipped[0]][1], g->n_part[0] - g->n[g->skipped[0]][0],
		                 g->n_part[1] - g->n[g->skipped[0]][1]);
	return 0;
}

static int read_examples(probing *g, error *err)
{
	const sae_examples_opts o = { .unit = g->unit,
		                      .labels = g->labels.of,
		                      .n_labels = g->labels.n,
		                      .n_classes = g->labels.n_classes,
		                      .pool_max = strcmp(g->o->pool, "max") == 0,
		                      .test = g->o->test,
		                      .limit = g->o->limit,
		                      .seed = g->o->seed };
	progress pr;
	int rc;

	progress_start(&pr, cli_progress_stream(g->p), "encode",
	               g->unit == SAE_UNIT_ROW ? "rows" : "contexts", 0);
	rc = sae_examples_read(&g->e, g->model, g->in.dump, g->in.rows, &o, g->in.pool, &pr, err);
	progress_end(&pr);
	return rc;
}

static int fit(probing *g, error *err)
{
	const sae_probe_opts o = { .c = g->o->c,
		                   .k = g->k,
		                   .n_k = g->n_k,
		                   .classes = g->classes,
		                   .n_probed = g->n_probed,
		                   .seed = g->o->seed,
		                   .balance = g->o->balance };
	size_t n = g->n_probed * 2 * g->n_k;
	int rc;

	g->probes = calloc(n, sizeof(*g->probes));
	if (!g->probes)
		return error_nomem(err, "the probes");
	rc = sae_probe_fit(g->probes, &g->e, &o, g->in.pool, err);
	g->n_probes = rc ? 0 : n;
	return rc;
}

/* ---- The answer --------------------------------------------------------------------------------------------------------- */

static const struct figure {
	const char *name;
	size_t offset;
} figures[] = {
	{ "accuracy", offsetof(sae_probe, accuracy) },
	{ "balanced_accuracy", offsetof(sae_probe, balanced_accuracy) },
	{ "f1", offsetof(sae_probe, f1) },
	{ "auroc", offsetof(sae_probe, auroc) },
};

static const sae_estimate *figure_of(const sae_probe *p, const struct figure *f)
{
	return (const sae_estimate *)(const void *)((const char *)p + f->offset);
}

static bool add_estimate(cJSON *to, const char *name, const sae_estimate *e)
{
	cJSON *part = cJSON_AddObjectToObject(to, name);

	return cJSON_AddNumberToObject(part, "value", e->value) &&
	       cJSON_AddNumberToObject(part, "low", e->low) &&
	       cJSON_AddNumberToObject(part, "high", e->high) &&
	       cJSON_AddNumberToObject(part, "chance", e->chance);
}

static bool add_k(cJSON *to, const sae_probe *p)
{
	return cJSON_AddStringToObject(to, "on", p->on_codes ? "codes" : "activations") &&
	       (p->k ? cJSON_AddNumberToObject(to, "k", p->k) : cJSON_AddStringToObject(to, "k", "all"));
}

static bool add_columns(cJSON *to, const sae_probe *p)
{
	cJSON *columns, *weights;
	bool good = true;

	if (!p->columns)
		return true;
	columns = cJSON_AddArrayToObject(to, p->on_codes ? "features" : "dimensions");
	weights = cJSON_AddArrayToObject(to, "weights");
	for (uint32_t j = 0; j < p->p && good; j++)
		good = cJSON_AddItemToArray(columns, cJSON_CreateNumber(p->columns[j])) &&
		       cJSON_AddItemToArray(weights, cJSON_CreateNumber(p->weights[j]));
	return good;
}

static bool add_probe(cJSON *list, const probing *g, const sae_probe *p)
{
	cJSON *to = cJSON_CreateObject();
	bool good = cJSON_AddItemToArray(list, to) &&
	            cJSON_AddStringToObject(to, "class", g->labels.names[p->label]) && add_k(to, p) &&
	            add_columns(to, p);

	good = good && cJSON_AddNumberToObject(to, "bias", p->bias);
	for (size_t i = 0; i < ARRAY_LEN(figures) && good; i++)
		good = add_estimate(to, figures[i].name, figure_of(p, &figures[i]));
	return good && cJSON_AddNumberToObject(to, "objective", p->objective) &&
	       cJSON_AddNumberToObject(to, "steps", p->steps) &&
	       cJSON_AddBoolToObject(to, "converged", p->converged) &&
	       cJSON_AddNumberToObject(to, "seconds", p->seconds);
}

/* For each kind of probe the mean over classes, of values and of chance. */
static bool add_means(cJSON *page, const probing *g)
{
	cJSON *list = cJSON_AddArrayToObject(page, "mean");
	bool good = list;

	for (size_t kind = 0; kind < 2 * g->n_k && good; kind++) {
		cJSON *to = cJSON_CreateObject();

		good = cJSON_AddItemToArray(list, to) && add_k(to, &g->probes[kind]);
		for (size_t i = 0; i < ARRAY_LEN(figures) && good; i++) {
			cJSON *part = cJSON_AddObjectToObject(to, figures[i].name);
			double value = 0, chance = 0;

			for (size_t c = 0; c < g->n_probed; c++) {
				const sae_estimate *e =
				        figure_of(&g->probes[c * 2 * g->n_k + kind], &figures[i]);

				value += e->value / (double)g->n_probed;
				chance += e->chance / (double)g->n_probed;
			}
			good = cJSON_AddNumberToObject(part, "value", value) &&
			       cJSON_AddNumberToObject(part, "chance", chance);
		}
	}
	return good;
}

static bool add_class(cJSON *list, const probing *g, uint32_t label, bool probed)
{
	cJSON *to = cJSON_CreateObject();

	return cJSON_AddItemToArray(list, to) &&
	       cJSON_AddStringToObject(to, "class", g->labels.names[label]) &&
	       cJSON_AddNumberToObject(to, "train", g->n[label][0]) &&
	       cJSON_AddNumberToObject(to, "test", g->n[label][1]) &&
	       cJSON_AddBoolToObject(to, "probed", probed);
}

static bool add_classes(cJSON *page, const probing *g)
{
	cJSON *list = cJSON_AddArrayToObject(page, "classes");
	bool good = list;

	for (uint32_t label = 0; label < g->labels.n_classes && good; label++) {
		bool probed = false;

		for (size_t i = 0; i < g->n_probed; i++)
			probed = probed || g->classes[i] == label;
		good = add_class(list, g, label, probed);
	}
	list = cJSON_AddArrayToObject(page, "not_probed");
	for (size_t i = 0; i < g->n_skipped && good; i++)
		good = cJSON_AddItemToArray(list, cJSON_CreateString(g->labels.names[g->skipped[i]]));
	return good && list;
}

static uint32_t test_groups(const sae_examples *e)
{
	uint32_t n = 0, last = UINT32_MAX;
	uint8_t *seen = calloc((size_t)e->n_groups + 1, 1);

	for (uint32_t i = 0; seen && i < e->n; i++) {
		last = e->group[i];
		n += e->test[i] && !seen[last];
		seen[last] = seen[last] || e->test[i];
	}
	free(seen);
	return n;
}

static bool add_examples(cJSON *page, const probing *g)
{
	cJSON *part = cJSON_AddObjectToObject(page, "examples");

	return cJSON_AddStringToObject(part, "per", sae_unit_name(g->unit)) &&
	       cJSON_AddNumberToObject(part, "total", g->e.n) &&
	       cJSON_AddNumberToObject(part, "train", g->n_part[0]) &&
	       cJSON_AddNumberToObject(part, "test", g->n_part[1]) &&
	       cJSON_AddNumberToObject(part, "groups", g->e.n_groups) &&
	       cJSON_AddNumberToObject(part, "test_groups", test_groups(&g->e)) &&
	       cJSON_AddNumberToObject(part, "without_label", (double)g->e.n_unlabelled) &&
	       cJSON_AddNumberToObject(part, "without_rows", (double)g->e.n_empty) &&
	       cJSON_AddNumberToObject(part, "over_limit", (double)g->e.n_beyond);
}

static cJSON *make_page(const probing *g)
{
	cJSON *page = cJSON_CreateObject(), *part, *list;
	bool good = cJSON_AddStringToObject(page, "sae", g->p->args[0]) &&
	            cJSON_AddStringToObject(page, "labels", g->o->labels) && add_examples(page, g) &&
	            add_classes(page, g);

	part = cJSON_AddObjectToObject(page, "settings");
	good = good && cJSON_AddNumberToObject(part, "C", g->o->c) &&
	       cJSON_AddStringToObject(part, "pool", g->o->pool) &&
	       cJSON_AddNumberToObject(part, "test", g->o->test) &&
	       cJSON_AddNumberToObject(part, "seed", (double)g->o->seed);
	list = cJSON_AddArrayToObject(page, "probes");
	for (size_t i = 0; i < g->n_probes && good; i++)
		good = add_probe(list, g, &g->probes[i]);
	good = good && add_means(page, g);
	if (good)
		return page;
	cJSON_Delete(page);
	return NULL;
}

/* ---- --predictions -------------------------------------------------------------------------------------------------------- */

static int add_name(text *t, const char *name)
{
	int rc = text_adds(t, "\"");

	for (; *name && !rc; name++)
		rc = text_add(t, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
	return rc ? rc : text_adds(t, "\"");
}

static int add_prediction(text *t, const probing *g, uint32_t i)
{
	int rc = text_addf(t, "%" PRIu64 ",", g->e.unit[i]);

	rc = rc ? rc : add_name(t, g->labels.names[g->e.label[i]]);
	rc = rc ? rc : text_addf(t, ",%s,%u", g->e.test[i] ? "test" : "train", g->e.group[i]);
	for (size_t j = 0; j < g->n_probes && !rc; j++)
		rc = text_addf(t, ",%.9g", 1 / (1 + exp(-g->probes[j].margin[i])));
	return rc ? rc : text_adds(t, "\n");
}

static int write_predictions(const probing *g, error *err)
{
	file_writer w = { 0 };
	text line, name;
	int rc = file_writer_open(&w, g->o->predictions, err), added;

	text_init(&line, (size_t)1 << 26);
	text_init(&name, (size_t)1 << 20);
	added = text_addf(&line, "%s,label,part,group", sae_unit_name(g->unit));
	for (size_t j = 0; j < g->n_probes && !added; j++) {
		const sae_probe *p = &g->probes[j];

		text_clear(&name);
		added = text_addf(&name, "%s/%s/", g->labels.names[p->label],
		                  p->on_codes ? "codes" : "activations");
		added = added ? added : p->k ? text_addf(&name, "%u", p->k) : text_adds(&name, "all");
		added = added ? added : text_adds(&line, ",");
		added = added ? added : add_name(&line, name.data);
	}
	added = added ? added : text_adds(&line, "\n");
	for (uint32_t i = 0; i < g->e.n && !rc && !added; i++) {
		rc = file_writer_add(&w, line.data, line.len, err);
		text_clear(&line);
		added = add_prediction(&line, g, i);
	}
	if (!rc && added)
		rc = error_nomem(err, "a line of predictions");
	if (!rc)
		rc = file_writer_add(&w, line.data, line.len, err);
	if (!rc)
		rc = file_writer_commit(&w, err);
	file_writer_abort(&w);
	text_free(&line);
	text_free(&name);
	return rc;
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------- */

static void clear(probing *g)
{
	for (size_t i = 0; i < g->n_probes; i++)
		sae_probe_clear(&g->probes[i]);
	free(g->probes);
	cJSON_Delete(g->tpp);
	cJSON_Delete(g->scr);
	free(g->k);
	free(g->classes);
	free(g->skipped);
	free(g->n);
	sae_examples_clear(&g->e);
	probe_labels_clear(&g->labels);
	dump_input_close(&g->in);
	sae_model_free(g->model);
}

int probe_ask(cJSON **page, const cli_parsed *p, const probe_opts *o, error *err)
{
	probing g = { .o = o, .p = p };
	int rc = o->labels
	                 ? 0
	                 : error_set(err, ERR_ARG, "--labels FILE says what to tell apart; it is not given");

	if (!rc && (o->tpp || o->spurious) && strcmp(o->pool, "mean") != 0)
		rc = error_set(err, ERR_ARG,
		               "--tpp and --spurious take features away from means: not with --pool %s",
		               o->pool);
	if (!rc)
		rc = choose_k(&g, err);
	if (!rc)
		rc = probe_labels_read(&g.labels, o->labels, o->column, err);
	if (!rc)
		rc = sae_model_load(&g.model, p->args[0], err);
	if (!rc)
		rc = dump_input_open(&g.in, p, p->args + 1, p->n_args - 1, &o->dump,
		                     cli_given(p, "max-norm-ratio") || isinf(g.model->norm_limit)
		                             ? 0
		                             : g.model->norm_limit,
		                     false, err);
	if (!rc)
		rc = choose_unit(&g, err);
	if (!rc)
		rc = read_examples(&g, err);
	if (!rc)
		rc = choose_classes(&g, err);
	if (!rc)
		rc = fit(&g, err);
	if (!rc && g.o->tpp)
		rc = probe_tpp(&g.tpp, &g.e, g.model, g.classes, g.n_probed, &g.labels, o, g.in.pool, err);
	if (!rc && g.o->spurious)
		rc = probe_scr(&g.scr, &g.e, g.model, &g.labels, o, err);
	if (!rc && o->predictions)
		rc = write_predictions(&g, err);
	if (!rc) {
		*page = make_page(&g);
		rc = *page ? 0 : error_nomem(err, "the answer");
		if (!rc && g.tpp)
			cJSON_AddItemToObject(*page, "tpp", g.tpp);
		if (!rc && g.scr)
			cJSON_AddItemToObject(*page, "scr", g.scr);
		g.tpp = rc ? g.tpp : NULL;
		g.scr = rc ? g.scr : NULL;
	}
	clear(&g);
	return rc;
}
