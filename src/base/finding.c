/* finding.c - see finding.h. */
#include "base/finding.h"

#include <stdarg.h>
#include <stdio.h>

#define FOUND_SEVERITY_NOTE   FOUND_NOTE
#define FOUND_SEVERITY_DAMAGE FOUND_DAMAGE

const struct finding_row finding_rows[FOUND_KINDS] = {
#define FINDING(symbol, name, severity, meaning, repair)                                           \
	[FOUND_##symbol] = { name, FOUND_SEVERITY_##severity, meaning, repair },
#include "base/findings.def"
#undef FINDING
};

void finding_tell(finding_fn fn, void *arg, struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, sizeof f->text, fmt, ap);
	va_end(ap);
	fn(arg, f);
}
