/* Any bytes: a list that passes the check can be read, dumped and written again, all inside its bytes. */
#include <stdlib.h>

#include "props/tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = BUF_MAX(1 << 20), again = BUF_MAX(PLIST_MAX_BYTES);
	struct plist l, l2;
	struct pw w;

	if (plist_open(&l, data, size, NULL) == ST_OK) {
		plist_dump(&l, &text);
		plist_dump_mailmsg(&l, &text);
		pw_begin(&w, &again, plist_count(&l));
		pw_merge(&w, &l);
		pw_end(&w);
		/* What was read is written back to a list that says the same. */
		if (again.failed || plist_open(&l2, again.at, again.len, NULL) != ST_OK ||
		    plist_count(&l2) != plist_count(&l))
			abort();
	}
	buf_free(&text);
	buf_free(&again);
	return 0;
}
