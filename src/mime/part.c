#include "mime/part.h"

static struct span param_of(const struct mime_param *params, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (span_ieq(params[i].name, span_str(name)))
			return params[i].value;
	return SPAN_NONE;
}

struct span mime_param(const struct mime_part *p, const char *name)
{
	return param_of(p->params, p->nparams, name);
}

struct span mime_disposition_param(const struct mime_part *p, const char *name)
{
	return param_of(p->disposition_params, p->ndisposition_params, name);
}

bool mime_is(const struct mime_part *p, const char *type, const char *subtype)
{
	return span_ieq(p->type, span_str(type)) &&
	       (!subtype || span_ieq(p->subtype, span_str(subtype)));
}
