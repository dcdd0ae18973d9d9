/* ese_record.c - arbitrary bytes as record payloads and as the engine's own rows. */
#include "base/crc32c.h"
#include "ese/ese.h"
#include "ese/rec.h"
#include "ese/rows.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_items(struct span payload)
{
	struct items items;
	struct item it;
	uint32_t said, n = 0;
	enum st st = items_open(payload, &items);

	if (st != ST_OK)
		return;
	said = items.left;
	while ((st = items_next(&items, &it)) == ST_OK) {
		uint64_t pages = 0;

		n++;
		assert(it.key.len <= ESE_KEY_MAX && it.value.len <= ESE_VALUE_MAX);
		for (uint32_t i = 0; i < it.nruns; i++)
			pages += run_pages(it.runs, i);
		assert(pages == it.npages);
		assert(it.crcs.len == (it.len ? (size_t)it.npages * 4 : 0));
	}
	assert(st == ST_EOF ? n == said : st == ST_CORRUPT);
}

static void rows(struct span v)
{
	struct row_applied applied;
	struct row_header header;
	struct row_body body;

	(void)row_applied_get(v, &applied);
	(void)row_header_get(v, &header, "fuzz", NULL);
	if (row_body_get(v, &body) == ST_OK) {
		struct buf out = BUF_MAX(1u << 24);

		row_body_put(&out, &body);
		assert(out.failed || span_eq(buf_get(&out), v));
		buf_free(&out);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span all = span_of(data, size), payload = span_skip(all, REC_HEAD);
	struct rec_body body;
	struct rec r;

	walk_items(all);
	rows(all);
	(void)rec_body_get(all, &body);
	/* And once as a whole record whose CRCs are right. */
	if (size >= REC_HEAD && size < 4096) {
		char copy[4096 + 8] = { 0 };

		memcpy(copy, data, size);
		le64_put(copy + 16, 8192);
		le32_put(copy + 28, 7);
		le32_put(copy + 8, (uint32_t)payload.len);
		le32_put(copy + 4, crc32c(0, copy + REC_HEAD, payload.len));
		le32_put(copy, crc32c(0, copy + 4, REC_HEAD - 4));
		if (rec_get(span_of(copy, rec_size(payload.len)), 8192, 7, &r) == ST_OK)
			walk_items(r.payload);
	}
	return 0;
}
