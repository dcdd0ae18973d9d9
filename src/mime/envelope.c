/* envelope.c - RFC 3501 7.4.2 ENVELOPE. */
#include "mime/address.h"
#include "mime/header.h"
#include "mime/promote.h"
#include "mime/structure.h"

/* What one list may add: the ten fields together stay under MIME_ENVELOPE_MAX. */
#define LIST_MAX (MIME_ENVELOPE_MAX / 10)

/* A string field, unfolded, not decoded. */
static void put_text(struct span header, const char *name, struct buf *out)
{
	struct span raw = mime_header_find(header, name);
	struct buf text = BUF_MAX(LIST_MAX);

	if (raw.at) {
		mime_unfold(span_cut(raw, LIST_MAX), &text);
		imap_nstring(text.len > 0 ? buf_get(&text) : SPAN(""), out);
	} else {
		buf_str(out, "NIL");
	}
	buf_free(&text);
}

static void put_address(const struct mime_address *a, struct buf *out)
{
	buf_char(out, '(');
	imap_nstring(a->name, out);
	buf_char(out, ' ');
	imap_nstring(a->adl, out);
	buf_char(out, ' ');
	imap_nstring(a->mailbox, out);
	buf_char(out, ' ');
	imap_nstring(a->host, out);
	buf_char(out, ')');
}

/* The addresses of all fields of that name; false when there is none. */
static bool put_list(struct span header, const char *name, struct buf *out)
{
	struct mime_fields it = mime_fields(header);
	struct span want = span_str(name), have, value;
	size_t start = out->len;
	bool any = false;

	while (mime_field_next(&it, &have, &value)) {
		struct mime_address_iter list;
		struct mime_address a;

		if (!span_ieq(have, want))
			continue;
		mime_addresses_begin(&list, value);
		while (out->len - start < LIST_MAX && mime_address_next(&list, &a)) {
			size_t before = out->len;

			if (!any)
				buf_char(out, '(');
			put_address(&a, out);
			if (out->len - start > LIST_MAX) { /* left out, whole */
				out->len = before;
				break;
			}
			any = true;
		}
		mime_addresses_end(&list);
	}
	if (any)
		buf_char(out, ')');
	return any;
}

/* The list, or what stands behind From when the header has no such field (RFC 3501: sender and reply-to
 * are never NIL when From isn't). */
static void put_list_or(struct span header, const char *name, struct span otherwise,
			struct buf *out)
{
	if (!put_list(header, name, out))
		buf_span(out, otherwise);
	buf_char(out, ' ');
}

void mime_envelope(struct span header, struct buf *out)
{
	struct buf from = BUF_MAX(2 * LIST_MAX);

	put_list_or(header, "From", SPAN("NIL"), &from);
	from.len -= from.len > 0;
	buf_char(out, '(');
	put_text(header, "Date", out);
	buf_char(out, ' ');
	put_text(header, "Subject", out);
	buf_char(out, ' ');
	buf_span(out, buf_get(&from));
	buf_char(out, ' ');
	put_list_or(header, "Sender", buf_get(&from), out);
	put_list_or(header, "Reply-To", buf_get(&from), out);
	put_list_or(header, "To", SPAN("NIL"), out);
	put_list_or(header, "Cc", SPAN("NIL"), out);
	put_list_or(header, "Bcc", SPAN("NIL"), out);
	put_text(header, "In-Reply-To", out);
	buf_char(out, ' ');
	put_text(header, "Message-ID", out);
	buf_char(out, ')');
	out->failed = out->failed || from.failed;
	buf_free(&from);
}
