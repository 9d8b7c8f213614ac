/* gloss export: an SAE in another tool's format. */
#include <stdio.h>

#include "cli/export_sae.h"
#include "sae/sae.h"

static cJSON *result_json(const sae_model *m, const char *to, const char *output)
{
	cJSON *o = cJSON_CreateObject();

	if (o && cJSON_AddStringToObject(o, "folder", output) && cJSON_AddStringToObject(o, "format", to) &&
	    cJSON_AddStringToObject(o, "computed_as", sae_arch_name(m->arch)) &&
	    cJSON_AddNumberToObject(o, "d_in", m->d_in) && cJSON_AddNumberToObject(o, "d_out", m->d_out) &&
	    cJSON_AddNumberToObject(o, "features", m->d_sae))
		return o;
	cJSON_Delete(o);
	return NULL;
}

int export_sae(const command *self, const cli_parsed *p, const char *to, const char *output, bool force)
{
	sae_model *m = NULL;
	error err = { 0 };
	int rc = 0, code = EXIT_DONE;

	if (!output)
		rc = error_set(&err, ERR_ARG, "which folder is to be made? give it with -o DIR");
	if (rc == 0)
		rc = sae_model_load(&m, p->args[0], &err);
	if (rc == 0)
		rc = sae_model_export(m, to, output, force, &err);
	if (rc == ERR_EXISTS)
		rc = error_set(&err, ERR_EXISTS, "'%s' holds an SAE already: give another -o DIR, or --force",
		               output);
	if (rc < 0)
		code = cli_fail(self, &err);
	else if (p->common.json)
		code = cli_print_json(self, result_json(m, to, output));
	else
		printf("%s: %s, %s, rows of %u to %u features\n", output, to, sae_arch_name(m->arch), m->d_in,
		       m->d_sae);
	sae_model_free(m);
	return code;
}
