/* observe.c - the counters of every binding, read from the areas themselves.
 *
 * The client's areas are hostile here too: words are loaded once and only shown; the shape of a binding
 * is taken from the store's area. */
#include "exipc/handshake.h"
#include "exipc/ring.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_S 2

struct seen {
	struct area client, store;
};

static uint64_t between(uint64_t later, uint64_t earlier)
{
	return later > earlier ? later - earlier : 0;
}

static uint32_t waiting(const struct exipc_lane *from, const struct exipc_lane *to)
{
	uint64_t n = between(word_get(&from->tail), word_get(&to->head));

	return n > EXIPC_RING_ENTRIES ? EXIPC_RING_ENTRIES : (uint32_t)n;
}

static void view_pair(const struct seen *s, unsigned client_loop, unsigned store_loop,
		      struct exipc_pair_view *v)
{
	const struct exipc_head *head = s->store.head;
	const struct exipc_lane *c =
		exipc_lane_in(s->client.head, head->store_loops, client_loop, store_loop);
	const struct exipc_lane *st =
		exipc_lane_in(s->store.head, head->store_loops, client_loop, store_loop);
	uint64_t oldest = word_get(&c->figures.oldest);

	*v = (struct exipc_pair_view){
		.pid = head->client_pid,
		.epoch = head->epoch,
		.client_loop = client_loop,
		.store_loop = store_loop,
		.client_queue = waiting(c, st),
		.store_queue = waiting(st, c),
		.client_blocks = (uint32_t)word_get(&c->figures.blocks),
		.store_blocks = (uint32_t)word_get(&st->figures.blocks),
		.requests = word_get(&c->tail),
		.replies = word_get(&st->figures.replies),
		.notifications = word_get(&st->figures.notes),
		.client_wakeups = word_get(&st->figures.rung),
		.store_wakeups = word_get(&c->figures.rung),
		.client_sleeps = (word_get(&s->client.head->loop[client_loop].asleep) + 1) / 2,
		.store_sleeps = (word_get(&s->store.head->loop[store_loop].asleep) + 1) / 2,
		.oldest_request_ns = oldest ? between((uint64_t)clock_mono(), oldest) : 0,
		.ring_full = word_get(&c->figures.ring_full) + word_get(&st->figures.ring_full),
		.heap_full = word_get(&c->figures.heap_full) + word_get(&st->figures.heap_full),
		.rejected = word_get(&head->rejected),
	};
	memcpy(v->client, head->name, sizeof(v->client));
	v->client[sizeof(v->client) - 1] = '\0';
}

/* The store's own words, but of another program: checked before anything is counted by them. */
static bool shape_sound(const struct seen *s)
{
	const struct exipc_head *h = s->store.head;

	return h->magic == EXIPC_MAGIC && h->layout == EXIPC_LAYOUT && h->client_loops > 0 &&
	       h->client_loops <= EXIPC_LOOPS_MAX && h->store_loops > 0 &&
	       h->store_loops <= EXIPC_LOOPS_MAX &&
	       s->store.size == exipc_area_size(h->client_loops, h->store_loops);
}

static void view_binding(const struct seen *s,
			 void (*row)(void *arg, const struct exipc_pair_view *v), void *arg)
{
	for (unsigned c = 0; c < s->store.head->client_loops; c++)
		for (unsigned st = 0; st < s->store.head->store_loops; st++) {
			struct exipc_pair_view v;

			view_pair(s, c, st, &v);
			row(arg, &v);
		}
}

/* One binding.  ST_OK; ST_EOF after the last. */
static enum st see(int sock, void (*row)(void *arg, const struct exipc_pair_view *v), void *arg,
		   struct err *err)
{
	struct seen s = { AREA_NONE, AREA_NONE };
	struct sight sight;
	int fds[2];
	unsigned nfds = 2;
	enum st st = packet_recv(sock, &sight, sizeof(sight), fds, &nfds, err);

	if (st == ST_MORE)
		return fail(err, ST_TIMEOUT, "exipc: the store does not answer");
	if (st == ST_EOF)
		return fail(err, ST_DENIED, "exipc: the store shows nothing to this user");
	if (st)
		return st;
	if (sight.last)
		return ST_EOF;
	if (nfds != 2) {
		fds_close(fds, nfds);
		return fail(err, ST_BAD, "exipc: a binding without its areas");
	}
	st = area_map(fds[0], sight.area_size, false, &s.client, err);
	if (!st)
		st = area_map(fds[1], sight.area_size, false, &s.store, err);
	fds_close(fds, 2);
	if (!st && !shape_sound(&s))
		st = fail(err, ST_BAD, "exipc: an area of another layout");
	if (!st)
		view_binding(&s, row, arg);
	area_drop(&s.client);
	area_drop(&s.store);
	return st;
}

enum st exipc_observe(const char *socket_path,
		      void (*row)(void *arg, const struct exipc_pair_view *v), void *arg,
		      struct err *err)
{
	struct hello h = { .magic = EXIPC_MAGIC,
			   .layout = EXIPC_LAYOUT,
			   .kind = HELLO_OBSERVE,
			   .name = "observer" };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int sock;
	enum st st = seqpacket_connect(socket_path, false, &sock, err);

	if (st)
		return st;
	/* A supervisor may hold the socket while no store runs: wait, but not for ever. */
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	st = packet_send(sock, &h, sizeof(h), NULL, 0, err);
	while (!st)
		st = see(sock, row, arg, err);
	close(sock);
	return st == ST_EOF ? ST_OK : st;
}
