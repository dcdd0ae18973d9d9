/* client.c - the client's binding: connect, greet, map, attach every loop; and again when the store died.
 *
 * Runs on loops[0].  connect() succeeds while the supervisor holds the listening socket, whether a store
 * runs or not, so the answer to the hello is an event that may take its time; only when nobody
 * listens at all a timer tries again.  The states are in docs/exipc.md. */
#include "exipc/channel.h"

#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define AGAIN_FIRST_MS 10
#define AGAIN_MAX_MS   500
#define SHORT_NS       (100 * NS_PER_MS)

static void connect_now(void *client);

/* ---- posts that outlive nothing ---- */

struct client_call {
	struct exipc_client *client;
	void (*fn)(void *arg);
	void *arg;
};

static void client_unref(struct exipc_client *c)
{
	if (atomic_fetch_sub(&c->refs, 1) == 1)
		free(c);
}

static void client_called(void *arg)
{
	struct client_call call = *(struct client_call *)arg;

	free(arg);
	if (!atomic_load(&call.client->freed))
		call.fn(call.arg);
	client_unref(call.client);
}

void client_post(struct exipc_client *c, struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct client_call *call = malloc(sizeof(*call));

	if (!call)
		panic("exipc: no memory for a post");
	*call = (struct client_call){ c, fn, arg };
	atomic_fetch_add(&c->refs, 1);
	loop_post(loop, client_called, call);
}

/* ---- what a binding holds ---- */

int exipc_fd_get(const struct exipc_fd *h)
{
	return h->fd;
}

bool exipc_fd_withdrawn(const struct exipc_fd *h)
{
	return atomic_load(&h->withdrawn);
}

void exipc_fd_drop(struct exipc_fd *h)
{
	if (!h || atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	close(h->fd);
	free(h);
}

struct client_binding *binding_hold(struct client_binding *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

void binding_let_go(struct client_binding *b)
{
	if (!b || atomic_fetch_sub(&b->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < b->nfds; i++)
		exipc_fd_drop(b->fd[i]);
	free(b->fd);
	if (b->sock >= 0)
		close(b->sock);
	pthread_mutex_destroy(&b->lock);
	fds_close(b->client_bell, EXIPC_LOOPS_MAX);
	fds_close(b->store_bell, EXIPC_LOOPS_MAX);
	area_drop(&b->client);
	area_drop(&b->store);
	free(b);
}

static struct client_binding *binding_new(void)
{
	struct client_binding *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	pthread_mutex_init(&b->lock, NULL);
	b->sock = -1;
	b->client = b->store = AREA_NONE;
	for (unsigned i = 0; i < EXIPC_LOOPS_MAX; i++)
		b->client_bell[i] = b->store_bell[i] = -1;
	return b;
}

/* ---- descriptors ---- */

static enum st fd_add(struct client_binding *b, uint64_t tag, int fd)
{
	struct exipc_fd **more = realloc(b->fd, (b->nfds + 1) * sizeof(struct exipc_fd *));
	struct exipc_fd *f = malloc(sizeof(*f));

	if (more)
		b->fd = more;
	if (!more || !f) {
		free(f);
		close(fd);
		return ST_NOMEM;
	}
	*f = (struct exipc_fd){ .refs = 1, .tag = tag, .fd = fd };
	b->fd[b->nfds++] = f;
	return ST_OK;
}

static void fd_withdraw(struct client_binding *b, uint64_t tag)
{
	for (unsigned i = 0; i < b->nfds; i++)
		if (b->fd[i]->tag == tag) {
			atomic_store(&b->fd[i]->withdrawn, true);
			exipc_fd_drop(b->fd[i]);
			b->fd[i] = b->fd[--b->nfds];
			return;
		}
}

/* One packet; b->lock is held, or nobody else knows it. */
static enum st offers_read(struct client_binding *b)
{
	int fds[OFFERS_MAX];
	unsigned nfds = OFFERS_MAX;
	struct offers o;
	enum st st = packet_recv(b->sock, &o, sizeof(o), fds, &nfds, NULL);

	if (st)
		return st;
	if (o.magic != EXIPC_MAGIC || o.count == 0 || o.count > OFFERS_MAX ||
	    nfds != (o.withdrawn ? 0 : o.count)) {
		fds_close(fds, nfds);
		return ST_BAD;
	}
	for (unsigned i = 0; i < o.count && !st; i++)
		if (o.withdrawn)
			fd_withdraw(b, o.tag[i]);
		else if ((st = fd_add(b, o.tag[i], fds[i])))
			fds_close(fds + i + 1, nfds - i - 1);
	return st;
}

enum st offers_take(struct client_binding *b)
{
	enum st st;

	pthread_mutex_lock(&b->lock);
	while (!(st = offers_read(b)))
		;
	pthread_mutex_unlock(&b->lock);
	return st;
}

/* ---- losing it ---- */

static void socket_end(struct exipc_client *c)
{
	if (c->sock < 0)
		return;
	loop_unwatch(&c->watch);
	shutdown(c->sock, SHUT_RDWR); /* the binding has a duplicate */
	close(c->sock);
	c->sock = -1;
	binding_let_go(c->coming);
	binding_let_go(c->bound);
	c->coming = c->bound = NULL;
}

static void try_later(struct exipc_client *c)
{
	socket_end(c);
	c->state = CLIENT_WAITING;
	if (c->stopping)
		return;
	timer_set(&c->again, deadline_in_ms(c->again_ms), connect_now, c);
	c->again_ms = c->again_ms * 2 < AGAIN_MAX_MS ? c->again_ms * 2 : AGAIN_MAX_MS;
}

static void detached_all(struct exipc_client *c)
{
	c->state = CLIENT_WAITING;
	if (c->told && c->o.state)
		c->o.state(c->o.arg, false);
	c->told = false;
	/* A store that ends what it has just made would be asked again without end. */
	if (clock_mono() - c->bound_at < SHORT_NS) {
		try_later(c);
	} else if (!c->stopping) {
		c->again_ms = AGAIN_FIRST_MS;
		connect_now(c);
	}
}

static void detached_post(void *client)
{
	struct exipc_client *c = client;

	if (--c->pending == 0)
		detached_all(c);
}

static void detach_post(void *chan)
{
	struct exipc_chan *ch = chan;

	chan_detach(ch);
	client_post(ch->client, ch->client->loops[0], detached_post, ch->client);
}

static void detach_all(struct exipc_client *c)
{
	socket_end(c);
	c->state = CLIENT_DETACHING;
	c->pending = c->o.nloops;
	for (unsigned i = 0; i < c->o.nloops; i++)
		client_post(c, c->loops[i], detach_post, &c->chan[i]);
}

void client_lost(void *client)
{
	struct exipc_client *c = client;

	switch (c->state) {
	case CLIENT_GREETING:
		try_later(c);
		break;
	case CLIENT_ATTACHING:
		c->lost = true; /* and detached when every loop has attached it */
		break;
	case CLIENT_BOUND:
		detach_all(c);
		break;
	case CLIENT_WAITING:
	case CLIENT_DETACHING:
	case CLIENT_DENIED:
		break;
	}
}

/* ---- refused ---- */

static void deny_post(void *chan)
{
	chan_deny(chan);
}

static void denied(struct exipc_client *c, const struct answer *a)
{
	socket_end(c);
	c->state = CLIENT_DENIED;
	for (unsigned i = 0; i < c->o.nloops; i++) {
		fail(&c->chan[i].why, ST_DENIED, "the store refused: %.*s",
		     (int)sizeof(a->text) - 1, a->text);
		client_post(c, c->loops[i], deny_post, &c->chan[i]);
	}
}

/* ---- attaching ---- */

static void attached_all(struct exipc_client *c)
{
	c->state = CLIENT_BOUND;
	c->bound_at = clock_mono();
	if (c->lost || c->stopping) {
		detach_all(c);
		return;
	}
	c->told = true;
	if (c->o.state)
		c->o.state(c->o.arg, true);
}

static void attached_post(void *client)
{
	struct exipc_client *c = client;

	if (--c->pending == 0)
		attached_all(c);
}

static void attach_failed_post(void *client)
{
	struct exipc_client *c = client;

	c->lost = true;
	attached_post(c);
}

static void attach_post(void *chan)
{
	struct exipc_chan *ch = chan;
	struct exipc_client *c = ch->client;
	enum st st = chan_attach(ch, ch->next_end);

	if (st)
		end_forget(ch->next_end);
	ch->next_end = NULL;
	client_post(c, c->loops[0], st ? attach_failed_post : attached_post, c);
}

static void attach_all(struct exipc_client *c)
{
	for (unsigned i = 0; i < c->o.nloops; i++) {
		c->chan[i].next_end = end_new(&c->chan[i], c->coming);
		if (c->chan[i].next_end)
			continue;
		while (i-- > 0) {
			end_forget(c->chan[i].next_end);
			c->chan[i].next_end = NULL;
		}
		try_later(c);
		return;
	}
	c->bound = c->coming;
	c->coming = NULL;
	c->lost = false;
	c->state = CLIENT_ATTACHING;
	c->pending = c->o.nloops;
	for (unsigned i = 0; i < c->o.nloops; i++)
		client_post(c, c->loops[i], attach_post, &c->chan[i]);
}

/* ---- greeting ---- */

static bool answer_sound(const struct exipc_client *c, const struct answer *a, unsigned nfds)
{
	return a->client_loops == c->o.nloops && a->store_loops > 0 &&
	       a->store_loops <= EXIPC_LOOPS_MAX && nfds == 2 + a->client_loops + a->store_loops &&
	       a->area_size == exipc_area_size(a->client_loops, a->store_loops);
}

/* Takes the descriptors over, whatever comes of it. */
static enum st bind_to(struct exipc_client *c, const struct answer *a, int *fds, unsigned nfds)
{
	struct client_binding *b = answer_sound(c, a, nfds) ? binding_new() : NULL;
	enum st st = ST_BAD;

	if (!b) {
		fds_close(fds, nfds);
		return ST_BAD;
	}
	c->coming = b;
	b->epoch = a->epoch;
	b->client_loops = a->client_loops;
	b->store_loops = a->store_loops;
	memcpy(b->client_bell, fds + 2, a->client_loops * sizeof(int));
	memcpy(b->store_bell, fds + 2 + a->client_loops, a->store_loops * sizeof(int));
	b->announced = a->offers;
	b->sock = fcntl(c->sock, F_DUPFD_CLOEXEC, 0);
	if (b->sock >= 0)
		st = area_map(fds[0], a->area_size, true, &b->client, NULL);
	if (!st)
		st = area_map(fds[1], a->area_size, false, &b->store, NULL);
	fds_close(fds, 2);
	return st;
}

static enum st read_answer(struct exipc_client *c)
{
	struct answer a;
	int fds[ANSWER_FDS];
	unsigned nfds = ANSWER_FDS;
	enum st st = packet_recv(c->sock, &a, sizeof(a), fds, &nfds, NULL);

	if (st)
		return st;
	if (a.magic != EXIPC_MAGIC || a.layout != EXIPC_LAYOUT || a.status != ST_OK) {
		fds_close(fds, nfds);
		if (a.magic == EXIPC_MAGIC && a.status == ST_DENIED)
			denied(c, &a);
		return ST_DENIED;
	}
	return bind_to(c, &a, fds, nfds);
}

static void socket_event(void *arg, unsigned events)
{
	struct exipc_client *c = arg;
	enum st st = ST_OK;

	(void)events;
	while (!st && c->state == CLIENT_GREETING) {
		st = c->coming ? offers_read(c->coming) : read_answer(c);
		if (!st && c->coming->nfds == c->coming->announced)
			attach_all(c);
	}
	if (st == ST_MORE || c->sock < 0)
		return;
	if (!st && c->bound)
		st = offers_take(c->bound);
	if (st != ST_MORE)
		client_lost(c);
}

static enum st say_hello(struct exipc_client *c)
{
	struct hello h = { .magic = EXIPC_MAGIC,
			   .layout = EXIPC_LAYOUT,
			   .kind = HELLO_BIND,
			   .version = c->o.version,
			   .loops = c->o.nloops };

	memcpy(h.name, c->name, sizeof(h.name));
	return packet_send(c->sock, &h, sizeof(h), NULL, 0, NULL);
}

static void connect_now(void *client)
{
	struct exipc_client *c = client;

	if (seqpacket_connect(c->path, true, &c->sock, NULL)) {
		try_later(c);
		return;
	}
	c->state = CLIENT_GREETING;
	if (loop_watch(&c->watch, c->sock, EPOLLIN | EPOLLRDHUP, socket_event, c, NULL) ||
	    say_hello(c))
		try_later(c);
}

/* ---- life ---- */

static void chan_start_post(void *chan)
{
	chan_start(chan);
}

static void start_post(void *client)
{
	struct exipc_client *c = client;

	if (!c->stopping)
		connect_now(c);
}

enum st exipc_client_new(const struct exipc_client_options *o, struct exipc_client **out,
			 struct err *err)
{
	assert(o->nloops > 0 && o->nloops <= EXIPC_LOOPS_MAX);
	if (strlen(o->socket_path) >= sizeof((*out)->path))
		return fail(err, ST_BAD, "exipc: the socket's path is too long: %s",
			    o->socket_path);
	struct exipc_client *c = calloc(1, sizeof(*c));
	if (!c)
		return fail(err, ST_NOMEM, "exipc: no memory for the client");
	c->o = *o;
	c->sock = -1;
	c->again_ms = AGAIN_FIRST_MS;
	atomic_init(&c->refs, 1);
	snprintf(c->path, sizeof(c->path), "%s", o->socket_path);
	snprintf(c->name, sizeof(c->name), "%s", o->name);
	for (unsigned i = 0; i < o->nloops; i++) {
		c->loops[i] = o->loops[i];
		c->chan[i] = (struct exipc_chan){ .client = c, .loop = o->loops[i], .index = i };
		client_post(c, c->loops[i], chan_start_post, &c->chan[i]);
	}
	client_post(c, c->loops[0], start_post, c);
	*out = c;
	return ST_OK;
}

static void chan_stop_post(void *chan)
{
	chan_stop(chan);
}

static void stop_post(void *client)
{
	struct exipc_client *c = client;

	c->stopping = true;
	for (unsigned i = 0; i < c->o.nloops; i++)
		client_post(c, c->loops[i], chan_stop_post, &c->chan[i]);
	timer_clear(&c->again);
	client_lost(c);
}

void exipc_client_stop(struct exipc_client *c)
{
	client_post(c, c->loops[0], stop_post, c);
}

void exipc_client_free(struct exipc_client *c)
{
	if (!c)
		return;
	if (c->sock >= 0)
		close(c->sock);
	binding_let_go(c->coming);
	binding_let_go(c->bound);
	for (unsigned i = 0; i < c->o.nloops; i++) {
		struct exipc_chan *ch = &c->chan[i];

		end_forget(ch->next_end);
		end_forget(ch->end);
		while (ch->old) {
			struct client_end *e = ch->old;

			ch->old = e->next;
			end_forget(e);
		}
	}
	atomic_store(&c->freed, true);
	client_unref(c);
}
