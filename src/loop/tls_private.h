/* tls_private.h - the OpenSSL context behind a struct tls, for the connection. */
#ifndef LOOP_TLS_PRIVATE_H
#define LOOP_TLS_PRIVATE_H

#include "base/st.h"
#include "loop/tls.h"

#include <openssl/ssl.h>

struct tls {
	SSL_CTX *ctx;
};

/* fail() with what OpenSSL says of its last error behind the sentence; empties its error queue. */
enum st tls_fail(struct err *err, enum st st, const char *what);

#endif
