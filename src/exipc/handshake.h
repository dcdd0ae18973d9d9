/* handshake.h - what is said on the socket, and the areas that come out of it (docs/exipc.md, Binding).
 *
 * Nothing here waits: sockets are non-blocking, except exipc_observe()'s own.  Any thread. */
#ifndef EXIPC_HANDSHAKE_H
#define EXIPC_HANDSHAKE_H

#include "exipc/layout.h"

#define HELLO_BIND    1u
#define HELLO_OBSERVE 2u
#define OFFERS_MAX    64u                         /* per packet */
#define ANSWER_FDS    (2u + 2u * EXIPC_LOOPS_MAX) /* with the answer, at most */

struct hello {
	uint32_t magic, layout;
	uint32_t kind; /* HELLO_* */
	uint32_t version;
	uint32_t loops;
	char name[16]; /* NUL-padded */
};

/* With it, if status is ST_OK: client area, store area, the client loops' doorbells, the store
 * loops' doorbells. */
struct answer {
	uint32_t magic, layout;
	uint32_t status; /* enum st */
	uint32_t client_loops, store_loops;
	uint32_t offers; /* descriptors that follow */
	uint64_t epoch, area_size;
	char text[200];
};

/* At binding, and at any time after it.  withdrawn: no descriptors come along, those of the tags are void. */
struct offers {
	uint32_t magic, count, withdrawn, reserved;
	uint64_t tag[OFFERS_MAX];
};

/* To an observer, one per binding: with both areas; the last one has none and `last` set. */
struct sight {
	uint32_t magic, last;
	uint64_t area_size;
};

/* One packet with descriptors.  ST_OK; ST_BUSY: the socket's buffer is full; ST_GONE; ST_IO. */
enum st packet_send(int sock, const void *bytes, size_t len, const int *fds, unsigned nfds,
		    struct err *err);
/* One packet of exactly `len` bytes.  With fds NULL descriptors that come along are dropped by the
 * kernel, else *nfds is how many fit and then how many came (close-on-exec, the caller's).
 * ST_OK, ST_MORE (none yet), ST_EOF (hang-up), ST_BAD (another length, too many descriptors), ST_IO.
 * On anything but ST_OK no descriptor is left open. */
enum st packet_recv(int sock, void *bytes, size_t len, int *fds, unsigned *nfds, struct err *err);

/* Connect a SEQPACKET socket.  ST_OK; ST_NOTFOUND: nobody listens; ST_BUSY: the queue is full; ST_IO. */
enum st seqpacket_connect(const char *path, bool nonblocking, int *out, struct err *err);

void fds_close(int *fds, unsigned n); /* those that are not -1, which they become */

/* A mapped area. */
struct area {
	int fd; /* -1: not kept */
	struct exipc_head *head;
	size_t size;
};
#define AREA_NONE ((struct area){ .fd = -1 })

/* The store's: make, fill in the head, map (read-only the client's) and seal.  ST_OK, ST_IO, ST_NOMEM. */
enum st area_make(const struct exipc_head *head, struct area *out, struct err *err);
/* The other's: map what came.  The descriptor stays the caller's.  ST_BAD: not of that size. */
enum st area_map(int fd, size_t size, bool writable, struct area *out, struct err *err);
void area_drop(struct area *a);

#endif
