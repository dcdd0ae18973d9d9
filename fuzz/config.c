/* Any text: it is taken or refused with a sentence that names the line, and nothing else happens. */
#include "base/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;
	struct err err = { 0 };
	enum st st = config_parse("/srv/mail", "m.conf", span_of(data, size), &c, &err);

	if (st == ST_OK) {
		int64_t port = config_int(c, "port_smtp");

		if (port < 0 || port > 65535 || !config_str(c, "domain"))
			abort();
	} else if (st != ST_BAD || c || strncmp(err.text, "m.conf:", 7) != 0) {
		abort();
	}
	config_free(c);
	return 0;
}
