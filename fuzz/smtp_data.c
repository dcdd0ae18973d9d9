/* Any bytes as a message's content: however it is cut, the same message, faults and end come out, and
 * the end is where the five octets CR LF . CR LF stand, nowhere else. */
#include "base/buf.h"
#include "proto/smtp/data.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool decode(struct span in, size_t step, struct buf *body, struct smtp_data *d,
		   size_t *used_all)
{
	*used_all = 0;
	while (*used_all < in.len) {
		struct span out, piece = span_cut(span_skip(in, *used_all), step);
		size_t used;
		enum st st = smtp_data_take(d, piece, &used, &out);

		buf_span(body, out);
		*used_all += used;
		if (st == ST_OK)
			return true;
	}
	return false;
}

static size_t true_end(struct span in)
{
	if (span_has_prefix(in, SPAN(".\r\n")))
		return 3;
	for (size_t i = 0; i + 5 <= in.len; i++)
		if (span_has_prefix(span_skip(in, i), SPAN("\r\n.\r\n")))
			return i + 5;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = span_of(data, size);
	struct buf whole = BUF_MAX(size + 1), cut = BUF_MAX(size + 1);
	struct smtp_data a = { 0 }, b = { 0 };
	size_t used_a, used_b, step;
	bool ended;

	if (size < 2)
		return 0;
	step = 1 + data[0] % 7;
	ended = decode(in, size, &whole, &a, &used_a);
	assert(ended == decode(in, step, &cut, &b, &used_b));
	assert(used_a == used_b && a.faults == b.faults && a.octets == b.octets);
	assert(span_eq(buf_get(&whole), buf_get(&cut)) && a.octets == whole.len);
	assert(ended ? used_a == true_end(in) : true_end(in) == 0);
	buf_free(&whole);
	buf_free(&cut);
	return 0;
}
