/* Any bytes as a message: it has a tree, the tree has the same shape however the bytes are split, it comes
 * back from its own bytes, and all that IMAP makes of it stays inside the message.
 * The first byte says how the rest is split. */
#include <stdlib.h>

#include "mime/promote.h"
#include "mime/structure.h"
#include "props/tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static struct mime_scan *scan(const uint8_t *data, size_t size, size_t step)
{
	struct mime_limits limits = MIME_LIMITS_DEFAULT;
	struct mime_scan *s;

	limits.parts = 50; /* so that the limits are met as well */
	limits.depth = 8;
	limits.top_header = 4096;
	limits.part_header = 1024;
	limits.text = 8192;
	s = mime_scan_new(&limits);
	must(s != NULL);
	for (size_t at = 0; at < size; at += step)
		mime_scan_feed(s, data + at, size - at < step ? size - at : step);
	must(mime_scan_end(s, NULL) == ST_OK);
	must(mime_scan_size(s) == size);
	return s;
}

static void check_sections(const struct mime_tree *t, uint64_t size)
{
	static const char *const paths[] = { "",         "HEADER",  "TEXT",    "1", "1.MIME",
					     "1.HEADER", "1.TEXT",  "1.1",     "2", "2.1.MIME",
					     "2.1.1",    "1.1.1.1", "1.2.TEXT" };
	struct mime_section section;

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (mime_section(t, span_str(paths[i]), &section, NULL) == ST_OK)
			must(section.at <= size && section.len <= size - section.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf row = BUF_MAX(1 << 22), again = BUF_MAX(1 << 22), text = BUF_MAX(1 << 22);
	struct pool *pool;
	struct mime_scan *whole, *split;
	struct mime_tree t;
	struct plist l;

	if (size == 0)
		return 0;
	pool = pool_new("fuzz", 1 << 22);
	whole = scan(data + 1, size - 1, size);
	split = scan(data + 1, size - 1, 1 + data[0] % 17);
	must(mime_promote(whole, &row, NULL) == ST_OK);
	must(mime_promote(split, &again, NULL) == ST_OK);
	must(span_eq(buf_get(&row), buf_get(&again)));
	must(plist_open(&l, row.at, row.len, NULL) == ST_OK);
	must(mime_tree_read(plist_span(&l, PR_MIME_STRUCTURE), pool, &t, NULL) == ST_OK);
	check_sections(&t, size - 1);
	buf_clear(&again);
	mime_tree_write(&t, &again);
	must(span_eq(buf_get(&again), plist_span(&l, PR_MIME_STRUCTURE)));
	mime_bodystructure(&t, true, &text);
	mime_bodystructure(&t, false, &text);
	must(!text.failed);
	/* And the input itself as a stored tree. */
	if (mime_tree_read(span_of(data, size), pool, &t, NULL) == ST_OK) {
		buf_clear(&text);
		mime_bodystructure(&t, true, &text);
		check_sections(&t, UINT64_MAX);
	}
	mime_scan_free(whole);
	mime_scan_free(split);
	pool_free(pool);
	buf_free(&row);
	buf_free(&again);
	buf_free(&text);
	return 0;
}
