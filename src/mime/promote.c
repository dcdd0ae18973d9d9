#include "mime/promote.h"
#include "mime/address.h"
#include "mime/date.h"
#include "mime/decode.h"
#include "mime/header.h"
#include "mime/structure.h"
#include "props/tags.h"

/* What one promoted text may be at most: rows stay rows. */
#define TEXT_MAX (32 * 1024)
#define ID_MAX   (8 * 1024)

struct promotion {
	struct pw w;
	struct span header;
	struct buf text; /* scratch */
	bool failed;
};

/* What is in the scratch buffer, cut to `max` bytes; nothing when it is empty. */
static void put_scratch(struct promotion *p, uint32_t tag, size_t max)
{
	struct span s = mime_utf8_cut(buf_get(&p->text), max);

	if (s.len > 0)
		pw_span(&p->w, tag, s);
}

/* A field as it stands, unfolded. */
static void put_raw(struct promotion *p, const char *name, uint32_t tag)
{
	struct span raw = mime_header_find(p->header, name);

	buf_clear(&p->text);
	if (raw.at)
		mime_unfold(raw, &p->text);
	put_scratch(p, tag, ID_MAX);
}

/* Take "Re:", "Fwd:" and the like off the front. */
static struct span without_prefix(struct span s)
{
	for (;;) {
		size_t n = 0;

		s = span_trim(s);
		while (n < s.len && n < 4 && s.at[n] != ':' && s.at[n] != ' ')
			n++;
		if (n == 0 || n > 3 || n >= s.len || s.at[n] != ':')
			return s;
		s = span_skip(s, n + 1);
	}
}

static void put_subject(struct promotion *p)
{
	struct span raw = mime_header_find(p->header, "Subject"), normal;

	if (!raw.at)
		return;
	buf_clear(&p->text);
	mime_decode_text(span_cut(raw, TEXT_MAX), &p->text);
	put_scratch(p, PR_SUBJECT, TEXT_MAX);
	normal = mime_utf8_cut(without_prefix(buf_get(&p->text)), TEXT_MAX);
	if (normal.len > 0 && normal.len < p->text.len)
		pw_span(&p->w, PR_NORMALIZED_SUBJECT, normal);
}

static void put_date(struct promotion *p)
{
	struct span raw = mime_header_find(p->header, "Date");
	int64_t sec;
	int zone;

	/* Nanoseconds in 64 bits: 1970 to 2262 is what can be kept. */
	if (!raw.at || !mime_date_parse(raw, &sec, &zone) || sec < 0 || sec > INT64_C(9000000000))
		return;
	pw_u64(&p->w, PR_CLIENT_SUBMIT_TIME, (uint64_t)sec * 1000000000u);
	pw_u32(&p->w, PR_CLIENT_SUBMIT_ZONE, (uint32_t)zone);
}

/* All fields of that name, one after another. */
static void put_addresses(struct promotion *p, const char *name, uint32_t tag)
{
	struct mime_fields it = mime_fields(p->header);
	struct span want = span_str(name), have, value;

	buf_clear(&p->text);
	while (mime_field_next(&it, &have, &value)) {
		if (!span_ieq(have, want))
			continue;
		if (p->text.len > 0)
			buf_str(&p->text, ", ");
		mime_addresses_text(value, &p->text);
	}
	p->text.failed = false; /* over its limit: cut */
	put_scratch(p, tag, TEXT_MAX);
}

/* Who sent it: the first address of Sender, else of From. */
static void put_sender(struct promotion *p)
{
	struct span raw = mime_header_find(p->header, "Sender");
	struct mime_address_iter it;
	struct mime_address a;

	if (!raw.at)
		raw = mime_header_find(p->header, "From");
	mime_addresses_begin(&it, raw);
	while (mime_address_next(&it, &a)) {
		if (a.kind != MIME_ADDRESS)
			continue;
		buf_clear(&p->text);
		if (a.name.at)
			mime_decode_text(a.name, &p->text);
		put_scratch(p, PR_SENDER_NAME, ID_MAX);
		buf_clear(&p->text);
		buf_span(&p->text, a.mailbox);
		if (a.host.len > 0)
			buf_char(&p->text, '@');
		buf_span(&p->text, a.host);
		put_scratch(p, PR_SENDER_EMAIL_ADDRESS, ID_MAX);
		break;
	}
	mime_addresses_end(&it);
}

/* Importance, else the priorities that other programs write: 1-2 of 5 is high, 4-5 low. */
static void put_importance(struct promotion *p)
{
	struct span v = span_trim(mime_header_find(p->header, "Importance"));
	struct span x = span_trim(mime_header_find(p->header, "X-Priority"));
	uint32_t importance = 1;

	if (span_ieq(v, SPAN("high")) || (!v.at && x.len > 0 && (x.at[0] == '1' || x.at[0] == '2')))
		importance = 2;
	if (span_ieq(v, SPAN("low")) || (!v.at && x.len > 0 && (x.at[0] == '4' || x.at[0] == '5')))
		importance = 0;
	if (importance != 1)
		pw_u32(&p->w, PR_IMPORTANCE, importance);
}

static uint32_t at_most_32_bits(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void put_always(struct promotion *p, const struct mime_scan *scan)
{
	struct mime_tree tree = mime_scan_tree(scan);
	struct buf big = BUF_MAX(PLIST_MAX_BYTES / 2);
	unsigned flags = mime_scan_flags(scan);

	mime_envelope(p->header, &big);
	pw_span(&p->w, PR_IMAP_ENVELOPE, buf_get(&big));
	p->failed = p->failed || big.failed;
	buf_clear(&big);
	mime_tree_write(&tree, &big);
	pw_span(&p->w, PR_MIME_STRUCTURE, buf_get(&big));
	p->failed = p->failed || big.failed;
	buf_free(&big);
	pw_u64(&p->w, PR_MESSAGE_SIZE_EXTENDED, mime_scan_size(scan));
	pw_u32(&p->w, PR_LINE_COUNT, at_most_32_bits(mime_scan_lines(scan)));
	pw_u32(&p->w, PR_HEADER_LENGTH, at_most_32_bits(tree.parts[0].header_len));
	pw_u32(&p->w, PR_MIME_FLAGS, flags);
	pw_bool(&p->w, PR_HASATTACH, flags & MIME_HAS_ATTACH);
}

enum st mime_promote(const struct mime_scan *scan, struct buf *out_plist, struct err *err)
{
	/* Decoding may triple what is cut to TEXT_MAX afterwards. */
	struct promotion p = { .header = mime_scan_header(scan), .text = BUF_MAX(16 * TEXT_MAX) };
	struct span preview = mime_scan_preview(scan);

	pw_begin(&p.w, out_plist, 24);
	put_always(&p, scan);
	put_subject(&p);
	put_date(&p);
	put_addresses(&p, "From", PR_DISPLAY_FROM);
	put_addresses(&p, "To", PR_DISPLAY_TO);
	put_addresses(&p, "Cc", PR_DISPLAY_CC);
	put_addresses(&p, "Bcc", PR_DISPLAY_BCC);
	put_sender(&p);
	put_raw(&p, "Message-ID", PR_INTERNET_MESSAGE_ID);
	put_raw(&p, "In-Reply-To", PR_IN_REPLY_TO_ID);
	put_raw(&p, "References", PR_INTERNET_REFERENCES);
	put_importance(&p);
	if (preview.len > 0)
		pw_span(&p.w, PR_PREVIEW, preview);
	pw_end(&p.w);
	p.failed = p.failed || p.text.failed;
	buf_free(&p.text);
	if (out_plist->failed)
		return fail(err, ST_TOOBIG, "mime: no room for the properties of a message");
	if (p.failed)
		return fail(err, ST_NOMEM, "mime: out of memory while promoting");
	return ST_OK;
}
