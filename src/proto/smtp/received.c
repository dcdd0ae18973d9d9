#include "proto/smtp/received.h"

#include <time.h>

void smtp_date(struct buf *out, int64_t seconds)
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t at = seconds;
	struct tm tm;

	gmtime_r(&at, &tm);
	buf_printf(out, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
		   months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static const char *with_word(const struct smtp_trace *t)
{
	static const char *const words[2][2][2] = {
		{ { "ESMTP", "ESMTPA" }, { "ESMTPS", "ESMTPSA" } },
		{ { "UTF8SMTP", "UTF8SMTPA" }, { "UTF8SMTPS", "UTF8SMTPSA" } },
	};

	if (!t->esmtp)
		return "SMTP";
	return words[t->utf8][t->tls.len > 0][t->authenticated];
}

/* TCP-info of section 4.4: an IPv6 address carries its tag. */
static void address_literal(struct buf *out, struct span ip)
{
	buf_char(out, '[');
	if (span_find(ip, ':') != SIZE_MAX)
		buf_str(out, "IPv6:");
	buf_span(out, ip);
	buf_char(out, ']');
}

void smtp_received(struct buf *out, const struct smtp_trace *t)
{
	buf_str(out, "Received: from ");
	buf_span(out, t->helo);
	buf_str(out, " (");
	address_literal(out, t->client_ip);
	buf_str(out, ")\r\n");
	if (t->tls.len > 0)
		buf_printf(out, "\t(using " SPAN_FMT ")\r\n", SPAN_ARG(t->tls));
	buf_printf(out, "\tby " SPAN_FMT " with %s id " SPAN_FMT, SPAN_ARG(t->host), with_word(t),
		   SPAN_ARG(t->id));
	if (t->rcpt.at != NULL)
		buf_printf(out, "\r\n\tfor <" SPAN_FMT ">", SPAN_ARG(t->rcpt));
	buf_str(out, ";\r\n\t");
	smtp_date(out, t->seconds);
	buf_str(out, "\r\n");
}
