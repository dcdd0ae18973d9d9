/* Any bytes as an address list and as header text: the readers end, RFC 3501's NIL rules hold, what is decoded
 * is UTF-8 without control characters. */
#include <stdlib.h>

#include "mime/address.h"
#include "mime/decode.h"
#include "mime/header.h"
#include "mime/promote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(const struct buf *b)
{
	must(!b->failed);
	must(mime_utf8_valid(buf_get(b)));
	for (size_t i = 0; i < b->len; i++)
		must((unsigned char)b->at[i] >= ' ' && b->at[i] != 0x7F);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct buf out = BUF_MAX(1 << 24);
	struct mime_address_iter it;
	struct mime_address a;
	bool in_group = false;
	size_t n = 0;

	mime_addresses_begin(&it, in);
	while (mime_address_next(&it, &a)) {
		must(++n <= size + 1);
		must((a.kind == MIME_ADDRESS) == (a.host.at != NULL));
		must((a.kind == MIME_GROUP_END) == (a.mailbox.at == NULL));
		if (a.kind == MIME_GROUP_BEGIN)
			must(!in_group && (in_group = true));
		if (a.kind == MIME_GROUP_END) {
			must(in_group);
			in_group = false;
		}
	}
	must(!in_group);
	mime_addresses_end(&it);
	mime_decode_text(in, &out);
	check_text(&out);
	buf_clear(&out);
	mime_addresses_text(in, &out);
	must(!out.failed);
	buf_clear(&out);
	mime_envelope(in, &out);
	must(!out.failed && out.at[out.len - 1] == ')');
	buf_free(&out);
	return 0;
}
