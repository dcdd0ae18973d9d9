/* smtp.h - the SMTP service: incoming mail and submission. */
#ifndef INET_SMTP_SMTP_H
#define INET_SMTP_SMTP_H

#include "inet/host.h"

/* For inet_options.protocols[PROTO_SMTP].  A service with `submission` takes mail only after AUTH. */
extern const struct inet_protocol smtp_protocol;

#endif
