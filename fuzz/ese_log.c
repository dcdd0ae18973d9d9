/* ese_log.c - arbitrary bytes as a log file: the reader never leaves them and never loops.
 *
 * The first byte chooses; the rest are the groups behind a header that is right, with the CRCs put
 * right as well for half of the inputs, so that the fuzzer gets behind them. */
#include "base/crc32c.h"
#include "ese/log_read.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define GEN  3u
#define MARK 0x4b52414du
#define SIZE (16u * 4096)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Make a record's positions and CRCs agree with where it stands. */
static uint32_t mend(char *file, uint32_t off)
{
	uint32_t len, room = SIZE - off - REC_HEAD;

	if (off + REC_HEAD > SIZE)
		return SIZE;
	len = le32_get(file + off + 8) % 5000;
	if (len > room)
		len = room;
	le32_put(file + off + 8, len);
	le16_put(file + off + 12, (uint16_t)(1 + le16_get(file + off + 12) % 6));
	le16_put(file + off + 14, 0);
	le64_put(file + off + 16, pos_of(GEN, off));
	le32_put(file + off + 28, MARK);
	le32_put(file + off + 4, crc32c(0, file + off + REC_HEAD, len));
	le32_put(file + off, crc32c(0, file + off + 4, REC_HEAD - 4));
	return off + (uint32_t)rec_size(len);
}

static void look_at(const struct rec *r)
{
	struct rec_attach attach;
	struct rec_body body;
	struct items items;
	struct item it;
	uint64_t id;
	volatile char sink = 0;

	if (rec_body_get(r->payload, &body) == ST_OK)
		sink = body.bytes.at[body.bytes.len - 1];
	if (rec_attach_get(r->payload, 2, &attach) == ST_OK)
		sink = attach.name.at[attach.name.len - 1];
	(void)rec_free_get(r->payload, &id);
	if (items_open(r->payload, &items) != ST_OK)
		return;
	while (items_next(&items, &it) == ST_OK)
		if (it.key.len)
			sink = it.key.at[it.key.len - 1];
	(void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char file[SIZE];
	struct scan s = { span_of(file, SIZE), GEN, MARK };
	uint32_t off = SEG_HEAD;
	struct log_group g;

	if (size < 1)
		return 0;
	memset(file, 0, sizeof(file));
	memcpy(file + SEG_HEAD, data + 1, size - 1 < SIZE - SEG_HEAD ? size - 1 : SIZE - SEG_HEAD);
	if (data[0] & 1)
		for (uint32_t at = SEG_HEAD; at < SIZE;)
			at = mend(file, at);
	(void)scan_later(&s, SEG_HEAD);
	while (scan_group(&s, off, &g) == ST_OK) {
		struct log_cursor c;
		struct rec r;

		assert(g.head.bytes >= LOG_PAGE && off + g.head.bytes <= SIZE);
		log_group_open(&g, &c);
		while (log_group_next(&c, &r) == ST_OK)
			look_at(&r);
		off += g.head.bytes;
	}
	return 0;
}
