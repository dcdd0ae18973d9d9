/* tls.h - OpenSSL contexts for servers (clients come with the transport issue).
 *
 * TLS 1.2 and 1.3, OpenSSL's default ciphers, no renegotiation, session tickets on, buffers released
 * while idle (SSL_MODE_RELEASE_BUFFERS).  A context is immutable after it was made and shared by all
 * loops. */
#ifndef LOOP_TLS_H
#define LOOP_TLS_H

#include "base/st.h"

struct tls;

/* PEM files; the key must belong to the certificate and have no password.  ST_BAD, ST_NOTFOUND and
 * ST_IO (may not be read) say which file is wrong. */
enum st tls_server_new(const char *cert_file, const char *key_file, struct tls **out,
		       struct err *err);
void tls_free(struct tls *tls);
/* Make a self-signed certificate (P-256, 10 years, SAN: the given host, localhost, 127.0.0.1) and
 * its key (mode 0600).  The folders must exist.  ST_EXISTS leaves existing files alone; ST_BAD: no
 * host name.  On any failure neither file is left behind. */
enum st tls_self_signed(const char *cert_file, const char *key_file, const char *host,
			struct err *err);

#endif
