/* conn.h - a stream socket with buffered input, back-pressured output of references, and TLS.
 *
 * Life: conn_new() -> conn_serve(fn).  Whenever input arrives (or the peer ended, or the idle time
 * passed, or conn_kick()) and no fiber serves the connection, a fiber runs fn(owner); when fn
 * returns, output is flushed and the connection is idle again: no stack, no input buffer (when
 * empty), no output buffer; about 300 bytes of its own.  conn_close() ends it; after that the `gone`
 * callback runs once, on the loop, outside any fiber, and the conn is freed.
 *
 * All calls on the connection's own loop; those marked F only inside its serving fiber (they may
 * park it).  After a call returned ST_IO, ST_EOF (reading) or ST_TIMEOUT (deadline) every later call
 * returns quickly with the same; the session then just returns from fn after conn_close(). */
#ifndef LOOP_CONN_H
#define LOOP_CONN_H

#include "base/span.h"
#include "loop/loop.h"
#include "loop/tls.h"

struct conn;

struct conn_limits {
	size_t in_max; /* input buffer: the longest thing conn_line() can return (default 64 KiB) */
	size_t out_high; /* bytes of copied output that make a writer wait (default 64 KiB) */
	int idle_ms;     /* no input for this long: fn runs and conn_input_state() is ST_TIMEOUT */
	int write_ms;    /* the peer takes no byte for this long: the connection fails */
};

/* Takes fd over (closed by conn), makes it non-blocking.  limits NULL: all defaults; copied.  A failure
 * (ST_NOMEM, ST_NOSPACE, ST_IO) leaves fd open and to the caller. */
enum st conn_new(int fd, const struct conn_limits *limits, void *owner, void (*gone)(void *owner),
		 struct conn **out, struct err *err);
/* Set what serves it; with `now` the first fiber starts at once (banner; TLS from the first byte, where
 * fn begins with conn_starttls()), else at the first input.  May be called again: the next run of the
 * serving fiber uses the new fn.  When fn was started with conn_input_state() other than ST_OK and
 * returns, the connection closes by itself: nothing can follow. */
void conn_serve(struct conn *c, void (*fn)(void *owner), bool now);
/* Run the serving function as if input had come (notifications); remembered while a fiber serves. */
void conn_kick(struct conn *c);
/* Orderly end: what is queued is flushed (bounded by write_ms), TLS close_notify, our end is closed, and
 * for at most 2 s what the peer still sends is thrown away, so that a reset cannot overtake the last
 * reply; then gone().  While a fiber serves all that begins when it returns; its later calls say ST_EOF
 * (input) and ST_IO (output). */
void conn_close(struct conn *c);
/* At once: queued output is dropped.  While a fiber serves: as soon as it returns; its calls fail. */
void conn_abort(struct conn *c);
void conn_set_limits(struct conn *c, const struct conn_limits *limits);

/* ---- input ---- */
/* ST_OK: alive; ST_EOF, ST_TIMEOUT (idle, or the deadline of a call passed), ST_IO, ST_NOMEM.  The end of
 * the input is not the end of the output: replies may still be written. */
enum st conn_input_state(const struct conn *c);
/* A session that finds no whole line and returns is run again when more has come; one that leaves in_max
 * bytes unread is not (conn_fill() would have said ST_TOOBIG): the peer is held back until idle_ms. */
struct span conn_input(const struct conn *c); /* unread bytes; valid until the next F call */
void conn_consume(struct conn *c, size_t len);
/* F: wait until there are more bytes than conn_input() had, or failure.  ST_TOOBIG: the buffer is
 * full (in_max). */
enum st conn_fill(struct conn *c, int64_t deadline);
/* F: copy up to `len` bytes into `out` (at least 1): for literals and message bodies; reads straight
 * into `out` when the buffer is empty. */
enum st conn_read(struct conn *c, void *out, size_t len, size_t *got, int64_t deadline);

/* ---- output ---- */
/* F: queue a copy; waits while more than out_high is queued. */
enum st conn_write(struct conn *c, const void *bytes, size_t len);
enum st conn_puts(struct conn *c, const char *text);
enum st conn_printf(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* F: queue a reference to a range of a file: sendfile(2) where the connection is plain, read and
 * encrypt where it is TLS (reads go to the work pool when the page cache does not have them).
 * fd must stay open until it is sent: see conn_on_sent.  Waits while more than 8 ranges queue. */
enum st conn_send_file(struct conn *c, int fd, int64_t offset, size_t len);
/* Call fn(arg) once everything queued so far has left or the connection is dead; always exactly
 * once, on the loop, outside any fiber.  Returns pins. */
enum st conn_on_sent(struct conn *c, void (*fn)(void *arg), void *arg);
/* Start sending without waiting (also done when fn returns and before conn_fill waits). */
void conn_flush(struct conn *c);
/* F: wait until all output has left. */
enum st conn_drain(struct conn *c);

/* ---- TLS ---- */
/* F: drain, throw away plain input that came before the handshake (RFC 3207 section 4.2: nothing said
 * in the clear may be taken as said under TLS), then handshake as server.  On failure (ST_IO, ST_TIMEOUT
 * with the reason in err) the connection is broken in both directions. */
enum st conn_starttls(struct conn *c, struct tls *tls, int64_t deadline, struct err *err);
bool conn_is_tls(const struct conn *c);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384", or ""; valid until the next call on this thread. */
const char *conn_tls_text(const struct conn *c);

/* ---- about it ---- */
const char *conn_peer(const struct conn *c);    /* "127.0.0.1:4711", "[::1]:4711" */
const char *conn_peer_ip(const struct conn *c); /* "127.0.0.1", "::1" */
const char *conn_local_ip(const struct conn *c);
struct conn_stats {
	uint64_t in, out, sendfile_bytes, copied_bytes;
};
void conn_get_stats(const struct conn *c, struct conn_stats *out);

/* ---- listening ---- */
struct listener;
/* Accept on an open listening socket, which it takes over; accept(owner, fd) runs on the loop, outside any
 * fiber, and takes the (non-blocking) fd.  When the process is out of descriptors accepting pauses 100 ms
 * and goes on.  Several loops may each have a listener on a dup(2) of one socket: one of them is woken. */
enum st listener_new(int fd, void *owner, void (*accept)(void *owner, int fd),
		     struct listener **out, struct err *err);
void listener_free(
	struct listener *l); /* closes the socket; may be called from accept(); NULL is fine */

#endif
