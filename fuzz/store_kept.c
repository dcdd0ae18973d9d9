/* store_kept.c - rows of deleted messages as they are read back from a database that may be damaged. */
#include "store/offline.h"

#include "store/keep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span row = span_of(data, size), key;
	struct kept_figures figures;
	struct offline_message m;
	struct kept kept;
	uint64_t mailbox;
	struct err err;
	struct key k;
	size_t seen = 0;

	key = key_kept(&k, 7, 1700000000 * NS_PER_SEC, 42);
	if (kept_read(key, row, &kept, &err) == ST_OK) {
		seen += plist_span(&kept.item, PR_SUBJECT).len;
		for (size_t i = 0; i < plist_mv_count(&kept.row, PR_KEYWORDS); i++)
			seen += plist_mv_span(&kept.row, PR_KEYWORDS, i).len;
		if (kept.id != 42 || kept.deleted != 1700000000 * NS_PER_SEC)
			__builtin_trap();
	}
	if (offline_links_body(key, row, &mailbox, &m) && (!m.deleted || mailbox != 7 || !m.body))
		__builtin_trap();
	if (kept_figures_read(row, &figures, &err) == ST_OK)
		seen += figures.count != 0;
	if (seen > size) /* nothing is longer than what holds it */
		__builtin_trap();
	return 0;
}
