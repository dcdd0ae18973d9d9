/* pop3.h - the POP3 service: the Inbox as a maildrop. */
#ifndef INET_POP3_POP3_H
#define INET_POP3_POP3_H

#include "inet/host.h"

/* For inet_options.protocols[PROTO_POP3]. */
extern const struct inet_protocol pop3_protocol;

#endif
