/* handshake.c - packets, memfds, seals; see handshake.h. */
#include "exipc/handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FDS_MAX OFFERS_MAX
static_assert(ANSWER_FDS <= FDS_MAX, "one control buffer serves all packets");

void fds_close(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

enum st packet_send(int sock, const void *bytes, size_t len, const int *fds, unsigned nfds,
		    struct err *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { 0 };
	char *from;
	memcpy(&from, &bytes, sizeof(from)); /* an iovec has no const */
	struct iovec iov = { .iov_base = from, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	assert(nfds <= FDS_MAX);
	if (nfds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	ssize_t n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	if (n == (ssize_t)len)
		return ST_OK;
	if (n < 0 && (errno == EAGAIN || errno == ETOOMANYREFS))
		return fail(err, ST_BUSY, "exipc: the peer takes no packets");
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return fail(err, ST_GONE, "exipc: the peer hung up");
	return fail_errno(err, "exipc: send a packet");
}

/* Collect what came along; false when it was more than fits. */
static bool collect(struct msghdr *msg, int *fds, unsigned *nfds)
{
	unsigned room = *nfds;

	*nfds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*nfds < room) {
				fds[(*nfds)++] = fd;
			} else {
				close(fd);
				room = 0;
			}
		}
	}
	return room && !(msg->msg_flags & MSG_CTRUNC);
}

enum st packet_recv(int sock, void *bytes, size_t len, int *fds, unsigned *nfds, struct err *err)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = bytes, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
	}
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	if (n < 0 && errno == EAGAIN)
		return ST_MORE;
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return fail(err, ST_EOF, "exipc: the peer hung up");
	if (n < 0)
		return fail_errno(err, "exipc: receive a packet");
	bool whole = (size_t)n == len && !(msg.msg_flags & MSG_TRUNC);
	if (fds && (!collect(&msg, fds, nfds) || !whole)) {
		fds_close(fds, *nfds);
		*nfds = 0;
		return fail(err, ST_BAD, "exipc: a packet that is none of ours");
	}
	return whole ? ST_OK : fail(err, ST_BAD, "exipc: a packet that is none of ours");
}

enum st seqpacket_connect(const char *path, bool nonblocking, int *out, struct err *err)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int type = SOCK_SEQPACKET | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);

	if (strlen(path) >= sizeof(to.sun_path))
		return fail(err, ST_BAD, "exipc: the socket's path is too long: %s", path);
	strcpy(to.sun_path, path);
	int sock = socket(AF_UNIX, type, 0);
	if (sock < 0)
		return fail_errno(err, "exipc: socket");
	if (connect(sock, (const struct sockaddr *)&to, sizeof(to)) == 0) {
		*out = sock;
		return ST_OK;
	}
	int why = errno;
	close(sock);
	errno = why;
	if (why == ENOENT || why == ECONNREFUSED)
		return fail(err, ST_NOTFOUND, "exipc: nobody listens at %s", path);
	if (why == EAGAIN)
		return fail(err, ST_BUSY, "exipc: too many wait at %s", path);
	return fail_errno(err, "exipc: connect to %s", path);
}

/* ---- areas ---- */

static enum st map(int fd, size_t size, bool writable, struct area *out, struct err *err)
{
	void *at =
		mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return fail_errno(err, "exipc: map %zu bytes", size);
	out->head = at;
	out->size = size;
	return ST_OK;
}

static enum st fill(int fd, const struct exipc_head *head, size_t size, struct err *err)
{
	if (ftruncate(fd, (off_t)size) < 0)
		return fail_errno(err, "exipc: an area of %zu bytes", size);
	if (pwrite(fd, head, sizeof(*head), 0) != (ssize_t)sizeof(*head))
		return fail_errno(err, "exipc: write the head of an area");
	return ST_OK;
}

enum st area_make(const struct exipc_head *head, struct area *out, struct err *err)
{
	bool ours = head->side == EXIPC_STORE_SIDE;
	size_t size = exipc_area_size(head->client_loops, head->store_loops);
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (ours ? F_SEAL_FUTURE_WRITE : 0);

	*out = AREA_NONE;
	out->fd = memfd_create(ours ? "exipc-store" : "exipc-client",
			       MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (out->fd < 0)
		return fail_errno(err, "exipc: memfd_create");
	enum st st = fill(out->fd, head, size, err);
	if (!st)
		st = map(out->fd, size, ours, out, err);
	/* The store's own mapping was made before: the seal is for all that come after it. */
	if (!st && fcntl(out->fd, F_ADD_SEALS, seals) < 0)
		st = fail_errno(err, "exipc: seal an area");
	if (st)
		area_drop(out);
	return st;
}

enum st area_map(int fd, size_t size, bool writable, struct area *out, struct err *err)
{
	struct stat about;

	*out = AREA_NONE;
	if (fstat(fd, &about) < 0)
		return fail_errno(err, "exipc: look at an area");
	if ((size_t)about.st_size != size)
		return fail(err, ST_BAD, "exipc: an area of %lld bytes instead of %zu",
			    (long long)about.st_size, size);
	return map(fd, size, writable, out, err);
}

void area_drop(struct area *a)
{
	if (a->head)
		munmap(a->head, a->size);
	if (a->fd >= 0)
		close(a->fd);
	*a = AREA_NONE;
}
