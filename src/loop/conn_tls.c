/* conn_tls.c - TLS of a connection; see conn.h.
 *
 * OpenSSL works on the descriptor itself.  Reading may want to write and the other way round, so on a
 * TLS connection every event makes it both readable and writable. */
#include "loop/conn_private.h"
#include "loop/tls_private.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <assert.h>
#include <stdio.h>

bool conn_is_tls(const struct conn *c)
{
	return c->tls_ready;
}

const char *conn_tls_text(const struct conn *c)
{
	static _Thread_local char text[96];

	if (!c->tls_ready)
		return "";
	snprintf(text, sizeof(text), "%s %s", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl));
	return text;
}

static enum io read_failed(struct conn *c, int result)
{
	switch (SSL_get_error(c->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		c->readable = false;
		return IO_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		if (c->in_state == ST_OK)
			c->in_state = ST_EOF;
		return IO_ENDED;
	default:
		c->tls_broken = true;
		ERR_clear_error();
		conn_fail(c, ST_IO);
		return IO_ENDED;
	}
}

enum io conn_tls_read(struct conn *c, void *out, size_t len, size_t *got)
{
	ERR_clear_error();
	int result = SSL_read_ex(c->ssl, out, len, got);
	return result == 1 ? IO_DONE : read_failed(c, result);
}

enum io conn_tls_write(struct conn *c, const void *bytes, size_t len, size_t *sent)
{
	ERR_clear_error();
	int result = SSL_write_ex(c->ssl, bytes, len, sent);
	if (result == 1)
		return IO_DONE;
	int why = SSL_get_error(c->ssl, result);
	if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ) {
		conn_blocked(c);
		return IO_AGAIN;
	}
	c->tls_broken = true;
	ERR_clear_error();
	conn_fail(c, ST_IO);
	return IO_ENDED;
}

void conn_tls_goodbye(struct conn *c)
{
	if (!c->tls_ready || c->tls_broken)
		return;
	ERR_clear_error();
	/* 0: ours is sent, the peer's not come.  A full socket buffer: it is not worth waiting for. */
	if (SSL_shutdown(c->ssl) < 0)
		ERR_clear_error();
}

void conn_tls_free(struct conn *c)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
	c->tls_ready = false;
}

static enum st handshake_failed(struct conn *c, int why, struct err *err)
{
	c->tls_broken = true;
	if (why == SSL_ERROR_SYSCALL && !ERR_peek_error()) {
		conn_fail(c, ST_IO);
		return fail(err, ST_IO, "TLS handshake: the connection broke");
	}
	enum st st = tls_fail(err, ST_IO, "TLS handshake");
	conn_fail(c, st);
	return st;
}

static enum st handshake(struct conn *c, int64_t deadline, struct err *err)
{
	for (;;) {
		ERR_clear_error();
		c->readable = false;
		int result = SSL_do_handshake(c->ssl);
		if (result == 1) {
			/* More may have come with the last of the handshake. */
			c->readable = true;
			return ST_OK;
		}
		int why = SSL_get_error(c->ssl, result);
		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			return handshake_failed(c, why, err);
		bool in_time = conn_wait(c, WAIT_INPUT, deadline);
		if (c->in_state != ST_OK)
			return fail(err, (enum st)c->in_state, "TLS handshake: closed");
		if (in_time || c->readable)
			continue;
		conn_fail(c, ST_TIMEOUT);
		return fail(err, ST_TIMEOUT, "TLS handshake: the peer is too slow");
	}
}

enum st conn_starttls(struct conn *c, struct tls *tls, int64_t deadline, struct err *err)
{
	assert(fiber_self() == c->fiber);
	enum st st = conn_drain(c);

	if (st == ST_OK)
		st = (enum st)c->in_state;
	if (st != ST_OK)
		return fail(err, st, "TLS handshake: the connection is closed");
	assert(!c->ssl);
	/* RFC 3207 section 4.2: nothing said in the clear may be taken as said under TLS. */
	conn_drop_input(c);
	c->ssl = SSL_new(tls->ctx);
	if (!c->ssl || !SSL_set_fd(c->ssl, c->watch.fd)) {
		st = tls_fail(err, ST_NOMEM, "TLS handshake");
		conn_fail(c, st);
		return st;
	}
	SSL_set_accept_state(c->ssl);
	st = handshake(c, deadline, err);
	c->tls_ready = st == ST_OK;
	return st;
}
