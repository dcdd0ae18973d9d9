/* repair_body.c - bodies into the new database, and notices for those that are damaged; see repair_int.h. */
#include "store/repair_int.h"

#include "base/clock.h"
#include "base/timetext.h"
#include "mime/date.h"
#include "mime/promote.h"
#include "store/content.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- moving ---- */

static enum st copy_pages(struct part *p, struct salvage_body *b, struct moved *m, struct err *err)
{
	char page[ESE_PAGE];
	enum st st = ST_OK;
	size_t len;

	for (uint32_t n = 0; st == ST_OK && n < b->where.npages; n++) {
		/* Behind the first damaged page they are only counted. */
		if (salvage_body_page(p->from, b, n, page, &len) == ST_OK && !b->damaged)
			st = out_body(&p->out, m->fresh, page, len, err);
	}
	return st;
}

static enum st move_new(struct part *p, struct moved *m, struct err *err)
{
	struct salvage_body b;
	enum st st = salvage_body_open(p->from, m->node.key, &b, err);

	if (st == ST_NOTFOUND || st == ST_CORRUPT || st == ST_IO) {
		m->damaged = 1;
		return ST_OK;
	}
	if (st != ST_OK)
		return st;
	m->len = b.where.len;
	m->pages = b.where.npages;
	st = ese_body_new(p->to, &m->fresh, err);
	if (st == ST_OK) {
		st = copy_pages(p, &b, m, err);
		m->damaged = b.damaged;
		if (st == ST_OK && !m->damaged) {
			m->id = ese_body_id(m->fresh);
		} else {
			ese_body_drop(m->fresh);
			m->fresh = NULL;
		}
	}
	salvage_body_close(&b);
	return st;
}

enum st body_move(struct part *p, uint64_t old, const struct moved **out, struct err *err)
{
	struct hnode *n = hmap_get(&p->bodies, old);
	struct moved *m;
	enum st st;

	if (n) {
		*out = HNODE_OF(struct moved, node, n);
		return ST_OK;
	}
	m = calloc(1, sizeof *m);
	if (!m || !hmap_put(&p->bodies, &m->node, old)) {
		free(m);
		return fail(err, ST_NOMEM, "out of memory");
	}
	st = move_new(p, m, err);
	*out = m;
	return st;
}

void body_link(struct part *p, const struct moved *m)
{
	struct moved *own = HNODE_OF(struct moved, node, hmap_get(&p->bodies, m->node.key));

	if (own->fresh)
		out_link_new(&p->out, own->fresh);
	else
		out_link(&p->out, own->id);
	own->fresh = NULL;
}

static void free_one(void *arg, struct hnode *n)
{
	struct moved *m = HNODE_OF(struct moved, node, n);

	hmap_remove(arg, n);
	if (m->fresh)
		ese_body_drop(m->fresh);
	free(m);
}

void bodies_free(struct part *p)
{
	hmap_each(&p->bodies, free_one, &p->bodies);
	hmap_free(&p->bodies);
}

/* ---- writing a message of our own ---- */

struct writing {
	struct part *p;
	struct ese_body *body;
	struct mime_scan *scan;
	uint64_t size;
	bool dots;
	struct err *err;
	enum st st;
};

/* Whole lines. */
static void write_text(struct writing *w, struct buf *text)
{
	if (w->st == ST_OK && text->failed)
		w->st = fail(w->err, ST_NOMEM, "out of memory");
	if (w->st != ST_OK || !text->len)
		return;
	w->st = out_body(&w->p->out, w->body, text->at, text->len, w->err);
	mime_scan_feed(w->scan, text->at, text->len);
	w->dots = w->dots || text->at[0] == '.' || memmem(text->at, text->len, "\n.", 2);
	w->size += text->len;
	buf_clear(text);
}

static enum st end_item(struct writing *w, struct buf *item)
{
	struct buf promoted = BUF_MAX(ITEM_MAX);
	enum st st = mime_scan_end(w->scan, w->err);
	struct pw pw;

	if (st == ST_OK)
		st = mime_promote(w->scan, &promoted, w->err);
	if (st == ST_OK) {
		struct plist l = plist_trusted(promoted.at, promoted.len);

		pw_begin(&pw, item, plist_count(&l) + 2);
		pw_u64(&pw, PR_BODY_ID, ese_body_id(w->body));
		if (w->dots)
			pw_bool(&pw, PR_HAS_DOT_LINES, true);
		pw_merge(&pw, &l);
		pw_end(&pw);
	}
	buf_free(&promoted);
	return st == ST_OK && item->failed ? fail(w->err, ST_NOMEM, "out of memory") : st;
}

/* ---- header fields ---- */

#define WORD_BYTES 39 /* of one encoded word: with its frame it stays below 76 */
#define FIELD_MAX  300

static void put_plain(struct buf *out, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_char(out, (unsigned char)s.at[i] < ' ' || s.at[i] == 0x7f ? ' ' : s.at[i]);
}

/* RFC 2047, cut at FIELD_MAX. */
static void put_words(struct buf *out, struct span s)
{
	bool plain = true;

	s = span_cut(s, FIELD_MAX);
	for (size_t i = 0; i < s.len; i++)
		plain = plain && !(s.at[i] & 0x80);
	if (plain) {
		put_plain(out, s);
		return;
	}
	while (s.len) {
		char b64[2 * WORD_BYTES];
		size_t n = 0, c;

		while (n < s.len && (c = span_utf8(span_skip(s, n))) && n + c <= WORD_BYTES)
			n += c;
		if (!n)
			n = 1;
		sodium_bin2base64(b64, sizeof b64, (const unsigned char *)s.at, n,
				  sodium_base64_VARIANT_ORIGINAL);
		buf_printf(out, "=?utf-8?B?%s?=", b64);
		s = span_skip(s, n);
		if (s.len)
			buf_str(out, "\r\n ");
	}
}

static void put_from(struct buf *out, const struct plist *item)
{
	struct span name = item->len ? plist_span(item, PR_SENDER_NAME) : SPAN_NONE;
	struct span address = item->len ? plist_span(item, PR_SENDER_EMAIL_ADDRESS) : SPAN_NONE;

	buf_str(out, "From: ");
	if (name.len && !span_eq(name, address)) {
		bool quote = true;

		for (size_t i = 0; i < name.len; i++)
			quote = quote && !(name.at[i] & 0x80) && name.at[i] != '"' &&
				name.at[i] != '\\';
		buf_str(out, quote ? "\"" : "");
		put_words(out, name);
		buf_str(out, quote ? "\" " : " ");
	}
	buf_char(out, '<');
	put_plain(out, address.len ? span_cut(address, FIELD_MAX) : SPAN("unknown@invalid"));
	buf_str(out, ">\r\n");
}

static void put_header(struct buf *out, const struct offline_message *m, const char *boundary)
{
	uint64_t sent = m->has_item ? plist_u64(&m->item, PR_CLIENT_SUBMIT_TIME, 0) : 0;
	int zone = m->has_item ? (int)plist_u32(&m->item, PR_CLIENT_SUBMIT_ZONE, 0) : 0;

	put_from(out, &m->item);
	buf_str(out, "Subject: [damaged] ");
	put_words(out, m->subject);
	buf_str(out, "\r\nDate: ");
	if (sent)
		mime_date_format((int64_t)sent / NS_PER_SEC, zone, out);
	else
		mime_date_format(m->entry.date / NS_PER_SEC, 0, out);
	buf_str(out, "\r\nMIME-Version: 1.0\r\nX-Mailroot-Repair: the original is damaged\r\n");
	if (boundary)
		buf_printf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%s\r\n",
			   boundary, boundary);
	buf_str(out,
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
}

/* ---- what is lost ---- */

#define RANGES_MAX 50

/* The damaged pages as ranges of octets. */
static void put_ranges(struct buf *out, struct salvage *from, struct salvage_body *b)
{
	uint64_t since = UINT64_MAX, lost = 0;
	char page[ESE_PAGE];
	unsigned ranges = 0;
	size_t len;

	for (uint32_t n = 0; n <= b->where.npages; n++) {
		uint64_t at = (uint64_t)n * ESE_PAGE;
		bool bad = n < b->where.npages &&
			   salvage_body_page(from, b, n, page, &len) == ST_CORRUPT;

		if (bad)
			lost += len;
		if (bad && since == UINT64_MAX)
			since = at;
		if (bad || since == UINT64_MAX)
			continue;
		if (at > b->where.len)
			at = b->where.len;
		if (ranges++ < RANGES_MAX)
			buf_printf(out, "  octets %llu to %llu\r\n", (unsigned long long)since,
				   (unsigned long long)at - 1);
		since = UINT64_MAX;
	}
	if (ranges > RANGES_MAX)
		buf_printf(out, "  and %u ranges more\r\n", ranges - RANGES_MAX);
	buf_printf(out, "Together %llu of %llu octets.\r\n", (unsigned long long)lost,
		   (unsigned long long)b->where.len);
}

static void put_fact(struct buf *out, const char *name, struct span value)
{
	if (!value.len)
		return;
	buf_str(out, name);
	put_plain(out, span_cut(value, FIELD_MAX));
	buf_str(out, "\r\n");
}

static void put_text(struct buf *out, const struct offline_message *m, struct salvage *from,
		     struct salvage_body *b)
{
	char when[TIME_TEXT];

	buf_str(out,
		"The message that was here is damaged. Its content is not shown, because it would be\r\n"
		"wrong. This notice was put in its place when the store was repaired.\r\n\r\n");
	put_fact(out, "From: ", m->from);
	put_fact(out, "Subject: ", m->subject);
	put_fact(out, "Message-ID: ", m->message_id);
	if (m->has_entry) {
		put_fact(out, "Received: ", span_str(time_write(when, m->entry.date, 0)));
		buf_printf(out, "Size: %u octets\r\n", m->entry.size);
	}
	buf_str(out, "\r\nWhat is lost:\r\n");
	if (b)
		put_ranges(out, from, b);
	else
		buf_str(out, "  all of it: the store no longer knows where its octets are\r\n");
}

/* The octets as they are, damaged pages too. */
static void put_original(struct writing *w, struct buf *text, struct salvage_body *b,
			 const char *boundary)
{
	unsigned char line[57];
	char page[ESE_PAGE], b64[80];
	size_t len, have = 0;

	buf_printf(text,
		   "\r\n--%s\r\nContent-Type: application/octet-stream\r\n"
		   "Content-Transfer-Encoding: base64\r\n"
		   "Content-Disposition: attachment; filename=\"damaged-original.eml\"\r\n\r\n",
		   boundary);
	for (uint32_t n = 0; n < b->where.npages && w->st == ST_OK; n++) {
		(void)salvage_body_page(w->p->from, b, n, page, &len);
		for (size_t i = 0; i < len; i++) {
			line[have++] = (unsigned char)page[i];
			if (have < sizeof line && (i + 1 < len || n + 1 < b->where.npages))
				continue;
			sodium_bin2base64(b64, sizeof b64, line, have,
					  sodium_base64_VARIANT_ORIGINAL);
			buf_printf(text, "%s\r\n", b64);
			have = 0;
		}
		write_text(w, text);
	}
	buf_printf(text, "--%s--\r\n", boundary);
	write_text(w, text);
}

static void write_notice(struct writing *w, const struct offline_message *m,
			 const struct moved *body)
{
	struct buf text = BUF_MAX(1024 * 1024);
	struct salvage_body b;
	bool have = body && body->pages &&
		    salvage_body_open(w->p->from, body->node.key, &b, NULL) == ST_OK;
	bool attach = have && w->p->r->keep_damaged;
	char boundary[40];

	snprintf(boundary, sizeof boundary, "mailroot-%016llx", (unsigned long long)random_u64());
	put_header(&text, m, attach ? boundary : NULL);
	put_text(&text, m, w->p->from, have ? &b : NULL);
	write_text(w, &text);
	if (attach)
		put_original(w, &text, &b, boundary);
	if (have)
		salvage_body_close(&b);
	buf_free(&text);
}

enum st notice_write(struct part *p, const struct offline_message *m, const struct moved *body,
		     struct buf *item, uint32_t *size, struct err *err)
{
	struct writing w = { .p = p, .scan = mime_scan_new(NULL), .err = err };

	w.st = w.scan ? ese_body_new(p->to, &w.body, err) : fail(err, ST_NOMEM, "out of memory");
	if (w.st != ST_OK) {
		mime_scan_free(w.scan);
		return w.st;
	}
	write_notice(&w, m, body);
	if (w.st == ST_OK)
		w.st = end_item(&w, item);
	*size = (uint32_t)w.size;
	if (w.st == ST_OK)
		out_link_new(&p->out, w.body);
	else
		ese_body_drop(w.body);
	mime_scan_free(w.scan);
	return w.st;
}
