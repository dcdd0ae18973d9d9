/* peer.h - the other end of a connection under test: a blocking client on a thread of its own, and
 * small helpers for sockets and files. */
#ifndef TESTS_LOOP_PEER_H
#define TESTS_LOOP_PEER_H

#include "run.h"

#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
	int fd;
	SSL *ssl;
	SSL_CTX *ctx;
};

static inline void peer_socketpair(struct peer *peer, int *server)
{
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	*peer = (struct peer){ .fd = fds[0] };
	*server = fds[1];
}

/* A connected pair over TCP on the loopback. */
static inline void peer_tcp(struct peer *peer, int *server)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listening = socket(AF_INET, SOCK_STREAM, 0);

	must(bind(listening, (struct sockaddr *)&a, len) == 0 && listen(listening, 8) == 0);
	must(getsockname(listening, (struct sockaddr *)&a, &len) == 0);
	*peer = (struct peer){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
	must(connect(peer->fd, (struct sockaddr *)&a, len) == 0);
	*server = accept(listening, NULL, NULL);
	must(*server >= 0);
	close(listening);
}

static inline void peer_tls(struct peer *peer)
{
	peer->ctx = SSL_CTX_new(TLS_client_method());
	peer->ssl = SSL_new(peer->ctx);
	SSL_set_fd(peer->ssl, peer->fd);
	must(SSL_connect(peer->ssl) == 1);
}

static inline ssize_t peer_read(struct peer *peer, void *out, size_t len)
{
	return peer->ssl ? SSL_read(peer->ssl, out, (int)len) : read(peer->fd, out, len);
}

static inline void peer_write(struct peer *peer, const void *bytes, size_t len)
{
	for (const char *at = bytes; len;) {
		ssize_t n = peer->ssl ? SSL_write(peer->ssl, at, (int)len)
				      : send(peer->fd, at, len, MSG_NOSIGNAL);

		must(n > 0);
		at += n;
		len -= (size_t)n;
	}
}

static inline void peer_say(struct peer *peer, const char *text)
{
	peer_write(peer, text, strlen(text));
}

/* Read exactly the text. */
static inline void peer_expect(struct peer *peer, const char *text)
{
	char got[512];
	size_t len = strlen(text), have = 0;

	must(len < sizeof(got));
	while (have < len) {
		ssize_t n = peer_read(peer, got + have, len - have);

		must(n > 0);
		have += (size_t)n;
	}
	got[len] = 0;
	if (strcmp(got, text) != 0) {
		fprintf(stderr, "expected '%s', got '%s'\n", text, got);
		abort();
	}
}

static inline void peer_expect_end(struct peer *peer)
{
	char c;

	must(peer_read(peer, &c, 1) <= 0);
}

static inline void peer_close(struct peer *peer)
{
	if (peer->ssl)
		SSL_shutdown(peer->ssl);
	SSL_free(peer->ssl);
	SSL_CTX_free(peer->ctx);
	close(peer->fd);
}

/* A file without a name that holds `len` bytes of a known pattern; pattern() gives any of them. */
static inline char pattern(uint64_t at)
{
	return (char)((at * 2654435761u) >> 13);
}

static inline int pattern_file(size_t len)
{
	char block[8192];
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	must(fd >= 0);
	for (size_t at = 0; at < len;) {
		size_t n = len - at < sizeof(block) ? len - at : sizeof(block);

		for (size_t i = 0; i < n; i++)
			block[i] = pattern(at + i);
		must(write(fd, block, n) == (ssize_t)n);
		at += n;
	}
	return fd;
}

#endif
