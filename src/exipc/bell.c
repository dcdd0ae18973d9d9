/* bell.c - doorbells; see bell.h. */
#include "exipc/bell.h"

#include <sched.h>
#include <unistd.h>

/* Never waits: both kinds are non-blocking, and nobody else can change that (docs/exipc.md, Trust).  A full
 * pipe rings already; a peer that is gone is noticed elsewhere. */
static void ring(struct bell *b, uint64_t asleep)
{
	static const uint64_t one = 1;

	b->rung = asleep;
	b->count++;
	if (write(b->fd, &one, sizeof(one)) < 0)
		return;
}

void bell_ring(struct bell *b)
{
	uint64_t asleep = atomic_load_explicit(b->asleep, memory_order_relaxed);

	if (asleep % 2 && asleep != b->rung)
		ring(b, asleep);
}

void bell_heard(int fd)
{
	char some[512];

	while (read(fd, some, sizeof(some)) == (ssize_t)sizeof(some))
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

uint64_t cpu_tell(struct exipc_loop_words *ours)
{
	int n = sched_getcpu();
	uint64_t cpu = n < 0 ? 0 : (uint64_t)n + 1;

	/* A line that the other side reads: written only when there is something new. */
	if (atomic_load_explicit(&ours->cpu, memory_order_relaxed) != cpu)
		word_note(&ours->cpu, cpu);
	return cpu;
}

bool cpu_shared(const struct exipc_loop_words *theirs, uint64_t cpu)
{
	return atomic_load_explicit(&theirs->cpu, memory_order_relaxed) == cpu &&
	       atomic_load_explicit(&theirs->asleep, memory_order_relaxed) % 2 == 0;
}
