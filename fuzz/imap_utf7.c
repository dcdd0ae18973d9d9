/* Any octets as a mailbox name in either form: what one direction takes, the other turns back. */
#include "proto/imap/utf7.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef enum st turn_fn(struct span in, char *out, size_t room, size_t *len, struct err *err);

static void there_and_back(struct span in, turn_fn *there, size_t room, turn_fn *back,
			   size_t (*back_room)(size_t))
{
	char *out = malloc(room);
	size_t len, len2;
	enum st st = there(in, out, room, &len, NULL);

	/* The room that the header promises to be enough. */
	assert(st != ST_TOOBIG);
	if (st == ST_OK) {
		char *again = malloc(back_room(len));
		assert(back(span_of(out, len), again, back_room(len), &len2, NULL) == ST_OK);
		assert(span_eq(span_of(again, len2), in));
		free(again);
	}
	free(out);
}

static size_t utf8_room(size_t len)
{
	return IMAP_UTF8_ROOM(len);
}

static size_t utf7_room(size_t len)
{
	return IMAP_UTF7_ROOM(len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);

	there_and_back(in, imap_utf7_decode, utf8_room(size), imap_utf7_encode, utf7_room);
	there_and_back(in, imap_utf7_encode, utf7_room(size), imap_utf7_decode, utf8_room);
	return 0;
}
