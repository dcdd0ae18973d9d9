/* Any bytes: a search program that can be read is written back to the same bytes. */
#include <stdlib.h>

#include "wire/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct search_node nodes[SEARCH_NODES_MAX];
	const struct search_node *root;
	struct buf again = BUF_MAX(1 << 17);

	if (search_read(span_of(data, size), nodes, SEARCH_NODES_MAX, &root, NULL) == ST_OK) {
		if (search_write(root, &again, NULL) != ST_OK || again.len != size ||
		    memcmp(again.at, data, size) != 0)
			abort();
	}
	buf_free(&again);
	return 0;
}
