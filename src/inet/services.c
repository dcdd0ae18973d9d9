/* services.c - the ports of the server. */
#include "inet/services.h"

const struct service services[] = {
	{ "smtp", "port_smtp", PROTO_SMTP, false, false, "incoming mail" },
	{ "submission", "port_submission", PROTO_SMTP, false, true, "mail from users, STARTTLS" },
	{ "submissions", "port_submissions", PROTO_SMTP, true, true, "mail from users, TLS" },
	{ "imap", "port_imap", PROTO_IMAP, false, false, "mailboxes, STARTTLS" },
	{ "imaps", "port_imaps", PROTO_IMAP, true, false, "mailboxes, TLS" },
	{ "pop3", "port_pop3", PROTO_POP3, false, false, "inbox, STLS" },
	{ "pop3s", "port_pop3s", PROTO_POP3, true, false, "inbox, TLS" },
};
const size_t nservices = sizeof services / sizeof services[0];

const struct service *service_find(struct span name)
{
	for (size_t i = 0; i < nservices; i++)
		if (span_eq(name, span_str(services[i].name)))
			return &services[i];
	return NULL;
}
