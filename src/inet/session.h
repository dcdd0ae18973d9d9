/* session.h - between the host and its sessions.  Private to this room. */
#ifndef INET_SESSION_H
#define INET_SESSION_H

#include "inet/host.h"

/* An accepted connection on its way to its loop; malloc'ed, taken over by session_adopt(). */
struct inet_arrival {
	struct inet_loop *loop;
	const struct inet_protocol *protocol;
	const struct service *service;
	struct in6_addr ip;
	uint64_t id;
	int fd;
};
/* On its loop (loop_post): make the session and let it greet. */
void session_adopt(void *arrival);
/* On the loop: run every session's serve() once / end every session now. */
void session_kick_all(struct inet_loop *il);
void session_abort_all(struct inet_loop *il);
/* One session less in the process; any loop.  Tells a host that stops when it was the last. */
void host_session_left(struct inet_host *h, const struct in6_addr *ip);
/* A notification came for this loop (exipc_notify). */
void inet_notified(struct inet_loop *il, uint64_t token, uint64_t value);

#endif
