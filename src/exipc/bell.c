/* bell.c - doorbells; see bell.h. */
#include "exipc/bell.h"

#include <sys/socket.h>
#include <unistd.h>

/* Neither call waits: a send of that kind never does, and the store's eventfd is non-blocking.  A full
 * socket rings already; a peer that is gone is noticed elsewhere. */
static void ring(struct bell *b, uint64_t asleep)
{
	static const uint64_t one = 1;
	ssize_t n;

	b->rung = asleep;
	b->count++;
	if (b->socket)
		n = send(b->fd, &one, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		n = write(b->fd, &one, sizeof(one));
	(void)n;
}

void bell_ring(struct bell *b)
{
	uint64_t asleep = atomic_load_explicit(b->asleep, memory_order_relaxed);

	if (asleep % 2 && asleep != b->rung)
		ring(b, asleep);
}

void bell_heard(int fd)
{
	char some[256];

	while (recv(fd, some, sizeof(some), MSG_DONTWAIT) == (ssize_t)sizeof(some))
		;
}

void sleep_set(exipc_word *asleep)
{
	uint64_t now = atomic_load_explicit(asleep, memory_order_relaxed);

	if (now % 2 == 0)
		atomic_store_explicit(asleep, now + 1, memory_order_relaxed);
}

void sleep_clear(exipc_word *asleep)
{
	uint64_t now = atomic_load_explicit(asleep, memory_order_relaxed);

	if (now % 2)
		atomic_store_explicit(asleep, now + 1, memory_order_release);
}
