/* imap.h - IMAP4rev1 for the protocol host (RFC 3501). */
#ifndef INET_IMAP_IMAP_H
#define INET_IMAP_IMAP_H

#include "inet/host.h"

extern const struct inet_protocol imap_protocol;

#endif
