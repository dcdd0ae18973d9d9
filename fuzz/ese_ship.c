/* ese_ship.c - arbitrary bytes as a shipping stream, in two pieces; CRCs put right for half of the inputs. */
#include "base/byteorder.h"
#include "base/crc32c.h"
#include "ese/ship.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Make what stands at the front a frame, and what is behind it the next. */
static void mend(char *at, size_t len)
{
	while (len >= SHIP_HEAD) {
		size_t room = len - SHIP_HEAD;
		uint32_t payload = le32_get(at + 12) % 300;

		if (payload > room)
			payload = (uint32_t)room;
		memcpy(at + 8, "MRSH", 4);
		le32_put(at + 12, payload);
		le16_put(at + 16, (uint16_t)(1 + le16_get(at + 16) % 10));
		le32_put(at + 20, 0);
		le32_put(at + 4, crc32c(0, at + SHIP_HEAD, payload));
		le32_put(at, crc32c(0, at + 4, SHIP_HEAD - 4));
		at += SHIP_HEAD + payload;
		len -= SHIP_HEAD + payload;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ship_reader r;
	struct ship_frame f;
	enum st st = ST_OK;
	size_t cut;
	char *copy;

	if (size < 2)
		return 0;
	copy = malloc(size - 2 + 1);
	memcpy(copy, data + 2, size - 2);
	if (data[0] & 1)
		mend(copy, size - 2);
	cut = data[1] < size - 2 ? data[1] : size - 2;
	ship_reader_open(&r);
	for (int part = 0; part < 2 && st != ST_CORRUPT; part++) {
		if (ship_feed(&r, part ? copy + cut : copy, part ? size - 2 - cut : cut, NULL) !=
		    ST_OK)
			abort();
		while ((st = ship_next(&r, &f, NULL)) == ST_OK) {
			struct ship_stand s;
			struct ship_group g;

			assert(f.payload.len <= size);
			(void)ship_check_hello(&f, NULL);
			if (ship_get_stand(&f, &s, NULL) == ST_OK)
				assert(ship_name_ok(span_str(s.name)));
			if (ship_get_group(&f, &g, NULL) == ST_OK)
				assert(ship_name_ok(span_str(g.name)));
		}
	}
	ship_reader_close(&r);
	free(copy);
	return 0;
}
