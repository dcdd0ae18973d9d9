/* report.c - non-delivery reports (RFC 3461 to 3464) for recipients that failed for good. */
#include "mime/date.h"
#include "transport/aq_private.h"

#include <stdio.h>

#define REPORT_MAX  (4u * 1024 * 1024) /* text and status of all recipients */
#define HEADERS_MAX (64u * 1024)       /* of the original that are sent along */

/* RFC 3461 4.1: no word means that the sender wants to know of failures. */
bool report_wanted(const struct aq_rcpt *r)
{
	struct span rest = r->notify, word;

	if (!r->notify.len)
		return true;
	while (rest.at) {
		word = span_split(rest, ',', &rest);
		if (span_ieq(word, SPAN("FAILURE")))
			return true;
	}
	return false;
}

static bool is_told(const struct aq_rcpt *r)
{
	return (r->flags & RP_FAILED) == RP_FAILED && !(r->flags & RP_DSN_HANDLED);
}

static bool is_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.at[i] >= 0x80)
			return false;
	return true;
}

/* ---- in words ---- */

static void put_failures(const struct aq_msg *m, struct buf *out)
{
	for (size_t i = 0; i < m->nrcpts; i++) {
		const struct aq_rcpt *r = &m->rcpts[i];

		if (!is_told(r))
			continue;
		buf_printf(out, "  <" SPAN_FMT ">", SPAN_ARG(r->address));
		if (!span_ieq(r->address, r->original))
			buf_printf(out, " (sent to <" SPAN_FMT ">)", SPAN_ARG(r->original));
		buf_printf(out, "\r\n      <%s #" SPAN_FMT ">\r\n", m->aq->o.hostname,
			   SPAN_ARG(r->text));
	}
}

void report_words(const struct aq_msg *m, struct buf *out)
{
	buf_printf(out, "Sender: <" SPAN_FMT ">\r\n", SPAN_ARG(m->env.sender));
	buf_str(out, "A delivery status notification could not be sent to the sender.\r\n"
		     "The message did not reach:\r\n\r\n");
	put_failures(m, out);
}

/* ---- as a message ---- */

static void put_head(const struct aq_msg *m, struct buf *out, const char *boundary)
{
	buf_str(out, "Date: ");
	mime_date_format(clock_real() / NS_PER_SEC, 0, out);
	buf_printf(out,
		   "\r\nFrom: Mail Delivery System <postmaster@%s>\r\nTo: <" SPAN_FMT ">\r\n"
		   "Subject: Undelivered: your message could not be delivered\r\n"
		   "Message-ID: <%016llx%08x.report@%s>\r\n"
		   "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		   "Content-Type: multipart/report; report-type=delivery-status;\r\n"
		   "\tboundary=\"%s\"\r\n\r\n",
		   m->aq->o.hostname, SPAN_ARG(m->env.sender), (unsigned long long)random_u64(),
		   (unsigned)random_u64(), m->aq->o.hostname, boundary);
}

static void put_text(const struct aq_msg *m, struct buf *out, const char *boundary)
{
	buf_printf(out,
		   "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n"
		   "Content-Transfer-Encoding: 8bit\r\n\r\n"
		   "Your message did not reach some or all of its recipients:\r\n\r\n",
		   boundary);
	put_failures(m, out);
	buf_str(out, "\r\nThe header of your message is attached.  No further attempt will be "
		     "made.\r\n\r\n");
}

static void put_address(struct buf *out, const char *field, struct span address)
{
	buf_printf(out, "%s: %s; " SPAN_FMT "\r\n", field, is_ascii(address) ? "rfc822" : "utf-8",
		   SPAN_ARG(address));
}

static void put_status(const struct aq_msg *m, struct buf *out, const char *boundary, bool utf8)
{
	buf_printf(out,
		   "--%s\r\nContent-Type: message/%sdelivery-status\r\n%s\r\n"
		   "Reporting-MTA: dns; %s\r\nArrival-Date: ",
		   boundary, utf8 ? "global-" : "",
		   utf8 ? "Content-Transfer-Encoding: 8bit\r\n" : "", m->aq->o.hostname);
	mime_date_format(m->env.arrival / NS_PER_SEC, 0, out);
	buf_str(out, "\r\n");
	if (m->env.envid.len)
		buf_printf(out, "Original-Envelope-Id: " SPAN_FMT "\r\n", SPAN_ARG(m->env.envid));
	for (size_t i = 0; i < m->nrcpts; i++) {
		const struct aq_rcpt *r = &m->rcpts[i];
		struct span words, code = span_split(r->text, ' ', &words);

		if (!is_told(r))
			continue;
		buf_str(out, "\r\n");
		if (!span_ieq(r->address, r->original))
			put_address(out, "Original-Recipient", r->original);
		put_address(out, "Final-Recipient", r->address);
		/* A status that begins with 4 was given up, and Action: failed says so. */
		buf_printf(out, "Action: failed\r\nStatus: " SPAN_FMT "\r\n", SPAN_ARG(code));
		buf_printf(out, "Diagnostic-Code: x-mailroot; " SPAN_FMT "\r\n", SPAN_ARG(words));
	}
	buf_str(out, "\r\n");
}

static bool any_utf8(const struct aq_msg *m)
{
	for (size_t i = 0; i < m->nrcpts; i++)
		if (is_told(&m->rcpts[i]) &&
		    !(is_ascii(m->rcpts[i].address) && is_ascii(m->rcpts[i].original)))
			return true;
	return false;
}

/* The header block of the original, cut at whole lines. */
static enum st put_headers(struct aq_msg *m, struct buf *out, const char *boundary, struct err *err)
{
	char *block = pool_get(m->pool, HEADERS_MAX);
	size_t got = 0, end = 0;
	enum st st = block ? mailmsg_read(m->m, 0, block, HEADERS_MAX, &got, err)
			   : fail(err, ST_NOMEM, "report: header");

	if (st != ST_OK)
		return st;
	for (size_t i = 0; i + 1 < got; i++) {
		if (block[i] != '\r' || block[i + 1] != '\n')
			continue;
		if (i == end) /* the empty line */
			break;
		end = i + 2;
	}
	buf_printf(out, "--%s\r\nContent-Type: %s\r\n%s\r\n", boundary,
		   is_ascii(span_of(block, end)) ? "text/rfc822-headers" : "message/global-headers",
		   is_ascii(span_of(block, end)) ? "" : "Content-Transfer-Encoding: 8bit\r\n");
	buf_add(out, block, end);
	buf_printf(out, "\r\n--%s--\r\n", boundary);
	return ST_OK;
}

static enum st commit(struct aq_msg *m, struct span text, struct mailmsg **out, struct err *err)
{
	struct mailmsg_rcpt to = { .address = m->env.sender };
	struct mailmsg_envelope env = { .sender = SPAN(""),
					.rcpts = &to,
					.nrcpts = 1,
					.eightbitmime = true,
					.smtputf8 = m->env.smtputf8,
					.msgclass = MP_CLASS_NON_DELIVERY_REPORT };
	struct mailmsg *report;
	enum st st = mailmsg_create(m->aq->o.driver, &report, err);

	if (st != ST_OK)
		return st;
	st = mailmsg_write(report, text.at, text.len, err);
	if (st == ST_OK)
		st = mailmsg_commit(report, &env, err);
	if (st != ST_OK) {
		mailmsg_free(report);
		return st;
	}
	*out = report;
	return ST_OK;
}

enum st report_make(struct aq_msg *m, struct mailmsg **out, struct err *err)
{
	struct buf text = BUF_MAX(REPORT_MAX);
	char boundary[48];
	enum st st;

	snprintf(boundary, sizeof(boundary), "=_%016llx%016llx", (unsigned long long)random_u64(),
		 (unsigned long long)random_u64());
	put_head(m, &text, boundary);
	put_text(m, &text, boundary);
	put_status(m, &text, boundary, any_utf8(m));
	st = put_headers(m, &text, boundary, err);
	if (st == ST_OK && text.failed)
		st = fail(err, ST_TOOBIG, "report: over %u bytes", REPORT_MAX);
	if (st == ST_OK)
		st = commit(m, buf_get(&text), out, err);
	buf_free(&text);
	return st;
}
