/* format.c - see format.h. */
#include "ese/format.h"

static bool take_old;

void format_take_old(bool yes)
{
	take_old = yes;
}

bool format_takes_old(void)
{
	return take_old;
}

enum st format_check(uint32_t found, const char *what, struct err *err)
{
	if (found == ESE_FORMAT || (take_old && found == ESE_FORMAT_OLD))
		return ST_OK;
	if (found > ESE_FORMAT)
		return fail(err, ST_BAD,
			    "%s: format %u is newer than this program's %u; use the version of "
			    "mailroot that wrote it",
			    what, found, ESE_FORMAT);
	return fail(err, ST_BAD,
		    "%s: format %u is older than this program's %u; run: mailroot ese upgrade",
		    what, found, ESE_FORMAT);
}
