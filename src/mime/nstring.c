#include "mime/structure.h"

void imap_nstring(struct span s, struct buf *out)
{
	bool literal = false;

	if (!s.at) {
		buf_str(out, "NIL");
		return;
	}
	for (size_t i = 0; i < s.len && !literal; i++) {
		unsigned char c = (unsigned char)s.at[i];

		literal = c == '"' || c == '\\' || c == '\r' || c == '\n' || c >= 0x80;
	}
	if (literal) {
		buf_char(out, '{');
		buf_u64(out, s.len);
		buf_str(out, "}\r\n");
	} else {
		buf_char(out, '"');
	}
	size_t from = out->len;

	buf_span(out, s);
	for (size_t i = from; i < out->len; i++)
		if (!out->at[i])
			out->at[i] = ' ';
	if (!literal)
		buf_char(out, '"');
}
