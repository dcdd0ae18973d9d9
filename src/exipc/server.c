/* server.c - the central queue manager: who is bound, binding, unbinding and cleaning up.
 *
 * Runs on loops[0].  A binding's way is in docs/exipc.md, States of a binding.  Its memory and areas live
 * until every store loop has reported that its part is over. */
#include "exipc/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define BINDINGS_MAX    16
#define FIBERS_PER_PAIR 64
#define GREETINGS_EXTRA 16 /* sockets beyond bindings_max: greeting, observing, being refused */
#define GREETING_MS     5000
#define ACCEPT_AGAIN_MS 100

/* ---- posts that outlive nothing ---- */

struct server_call {
	struct exipc_server *server;
	void (*fn)(void *arg);
	void *arg;
};

static void server_unref(struct exipc_server *s)
{
	if (atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&s->offers_lock);
	free(s->offers);
	free(s);
}

static void server_called(void *arg)
{
	struct server_call call = *(struct server_call *)arg;

	free(arg);
	if (!atomic_load(&call.server->freed))
		call.fn(call.arg);
	server_unref(call.server);
}

void server_post(struct exipc_server *s, struct loop *loop, void (*fn)(void *arg), void *arg)
{
	struct server_call *call = malloc(sizeof(*call));

	if (!call)
		panic("exipc: no memory for a post");
	*call = (struct server_call){ s, fn, arg };
	atomic_fetch_add(&s->refs, 1);
	loop_post(loop, server_called, call);
}

/* ---- the end of a binding ---- */

static void binding_free(struct exipc_binding *b)
{
	struct exipc_server *s = b->server;

	for (struct exipc_binding **at = &s->bindings; *at; at = &(*at)->next) {
		if (*at != b)
			continue;
		*at = b->next;
		s->nbindings--;
		break;
	}
	if (b->sock >= 0)
		close(b->sock);
	fds_close(b->client_bell, EXIPC_LOOPS_MAX);
	fds_close(b->client_bell_peer, EXIPC_LOOPS_MAX);
	fds_close(b->store_bell, EXIPC_LOOPS_MAX);
	area_drop(&b->client);
	area_drop(&b->store);
	free(b);
}

/* Nobody hears from it any more. */
static void socket_end(struct exipc_binding *b)
{
	timer_clear(&b->timer);
	loop_unwatch(&b->watch);
	close(b->sock);
	b->sock = -1;
}

/* Before it was attached to any loop. */
static void greeting_drop(struct exipc_binding *b)
{
	socket_end(b);
	binding_free(b);
}

static void detach_post(void *end)
{
	end_detach(end);
}

static void binding_end(struct exipc_binding *b)
{
	struct exipc_server *s = b->server;

	if (b->state == BINDING_ENDING)
		return;
	if (b->state == BINDING_ATTACHING) {
		b->lost = true; /* and ended when every loop has attached it */
		return;
	}
	b->state = BINDING_ENDING;
	socket_end(b);
	b->pending = s->o.nloops;
	for (unsigned i = 0; i < s->o.nloops; i++)
		server_post(s, s->o.loops[i], detach_post, &b->end[i]);
}

void binding_detached(void *arg)
{
	struct store_end *e = arg;
	struct exipc_binding *b = e->binding;
	struct exipc_server *s = b->server;

	if (--b->pending)
		return;
	if (s->o.unbound_all)
		s->o.unbound_all(s->o.arg, b->id, b->data);
	binding_free(b);
}

void binding_rejected(void *arg)
{
	struct exipc_binding *b = arg;
	struct exipc_server *s = b->server;
	uint64_t n = atomic_fetch_add(&s->rejected, 1) + 1;

	for (struct exipc_binding *other = s->bindings; other; other = other->next)
		if (other->store.head)
			word_note(&other->store.head->rejected, n);
	binding_end(b);
}

/* ---- binding ---- */

static enum st make_bells(struct exipc_binding *b, struct err *err)
{
	for (unsigned i = 0; i < b->client_loops; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
			return fail_errno(err, "exipc: a doorbell");
		b->client_bell_peer[i] = ends[0];
		b->client_bell[i] = ends[1];
	}
	for (unsigned i = 0; i < b->server->o.nloops; i++) {
		b->store_bell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (b->store_bell[i] < 0)
			return fail_errno(err, "exipc: a doorbell");
	}
	return ST_OK;
}

static enum st make_areas(struct exipc_binding *b, struct err *err)
{
	struct exipc_head *head = aligned_alloc(_Alignof(struct exipc_head), sizeof(*head));

	if (!head)
		return fail(err, ST_NOMEM, "exipc: no memory for a head");
	memset(head, 0, sizeof(*head));
	do
		b->epoch = random_u64();
	while (!b->epoch);
	head->magic = EXIPC_MAGIC;
	head->layout = EXIPC_LAYOUT;
	head->epoch = b->epoch;
	head->client_loops = b->client_loops;
	head->store_loops = b->server->o.nloops;
	head->client_pid = b->pid;
	memcpy(head->name, b->name, sizeof(head->name));
	head->side = EXIPC_CLIENT_SIDE;
	enum st st = area_make(head, &b->client, err);
	if (!st) {
		head->side = EXIPC_STORE_SIDE;
		word_note(&head->rejected, atomic_load(&b->server->rejected));
		st = area_make(head, &b->store, err);
	}
	free(head);
	return st;
}

static void answer_refusal(struct exipc_binding *b, enum st st, const struct err *why)
{
	struct answer a = { .magic = EXIPC_MAGIC, .layout = EXIPC_LAYOUT, .status = st };

	atomic_fetch_add(&b->server->refused, 1);
	snprintf(a.text, sizeof(a.text), "%.*s", (int)sizeof(a.text) - 1, why->text);
	/* A client that does not hear it sees the hang-up. */
	if (packet_send(b->sock, &a, sizeof(a), NULL, 0, NULL))
		return;
}

static enum st send_offers(const struct exipc_binding *b, const struct exipc_offer *offers,
			   unsigned n, struct err *err)
{
	for (unsigned done = 0; done < n; done += OFFERS_MAX) {
		struct offers o = { .magic = EXIPC_MAGIC };
		int fds[OFFERS_MAX];

		while (o.count < OFFERS_MAX && done + o.count < n) {
			o.tag[o.count] = offers[done + o.count].tag;
			fds[o.count] = offers[done + o.count].fd;
			o.count++;
		}
		enum st st = packet_send(b->sock, &o, sizeof(o), fds, o.count, err);
		if (st)
			return st;
	}
	return ST_OK;
}

static enum st send_answer(struct exipc_binding *b, struct err *err)
{
	struct exipc_server *s = b->server;
	struct answer a = { .magic = EXIPC_MAGIC,
			    .layout = EXIPC_LAYOUT,
			    .status = ST_OK,
			    .client_loops = b->client_loops,
			    .store_loops = s->o.nloops,
			    .epoch = b->epoch,
			    .area_size = b->client.size };
	int fds[ANSWER_FDS] = { b->client.fd, b->store.fd };

	memcpy(fds + 2, b->client_bell_peer, b->client_loops * sizeof(int));
	memcpy(fds + 2 + b->client_loops, b->store_bell, s->o.nloops * sizeof(int));
	pthread_mutex_lock(&s->offers_lock);
	a.offers = s->noffers;
	enum st st =
		packet_send(b->sock, &a, sizeof(a), fds, 2 + b->client_loops + s->o.nloops, err);
	if (!st)
		st = send_offers(b, s->offers, s->noffers, err);
	pthread_mutex_unlock(&s->offers_lock);
	fds_close(b->client_bell_peer, EXIPC_LOOPS_MAX);
	return st;
}

/* Every loop has reported. */
static void attached_all(struct exipc_binding *b)
{
	bool failed = b->lost;

	for (unsigned i = 0; i < b->server->o.nloops; i++)
		failed |= b->end[i].failed;
	b->state = BINDING_BOUND;
	if (failed || send_answer(b, NULL)) {
		binding_end(b);
		return;
	}
	atomic_fetch_add(&b->server->bound, 1);
}

static void attached_post(void *arg)
{
	struct store_end *e = arg;

	if (--e->binding->pending == 0)
		attached_all(e->binding);
}

static void attach_post(void *arg)
{
	struct store_end *e = arg;
	struct exipc_server *s = e->at->server;

	e->failed = end_attach(e) != ST_OK;
	server_post(s, s->o.loops[0], attached_post, e);
}

/* Anything but ST_OK refuses it. */
static enum st admit(struct exipc_binding *b, const struct hello *h, struct err *err)
{
	struct exipc_server *s = b->server;
	unsigned bound = 0;

	if (h->version != s->o.version)
		return fail(err, ST_DENIED, "protocol version %u, the store speaks %u", h->version,
			    s->o.version);
	if (h->loops == 0 || h->loops > EXIPC_LOOPS_MAX)
		return fail(err, ST_DENIED, "%u loops, at most %u can be bound", h->loops,
			    EXIPC_LOOPS_MAX);
	for (const struct exipc_binding *other = s->bindings; other; other = other->next)
		bound += other->state != BINDING_GREETING;
	if (bound >= s->o.bindings_max || s->stopping)
		return fail(err, ST_BUSY, "%u clients are bound already", bound);
	b->client_loops = h->loops;
	enum st st = make_areas(b, err);
	if (!st)
		st = make_bells(b, err);
	if (!st && s->o.bind)
		st = s->o.bind(s->o.arg, b->id, b->name, b->uid, b->pid, &b->data, err);
	return st;
}

static bool greet_client(struct exipc_binding *b, const struct hello *h)
{
	struct exipc_server *s = b->server;
	struct err err = { 0 };
	enum st st = admit(b, h, &err);

	if (st) {
		answer_refusal(b, st, &err);
		return false;
	}
	timer_clear(&b->timer);
	b->state = BINDING_ATTACHING;
	b->pending = s->o.nloops;
	for (unsigned i = 0; i < s->o.nloops; i++) {
		b->end[i].binding = b;
		b->end[i].at = &s->at[i];
		server_post(s, s->o.loops[i], attach_post, &b->end[i]);
	}
	return true;
}

/* ---- observers ---- */

/* A new open file of the same memory that can't be written. */
static int read_only(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static enum st show_binding(struct exipc_binding *seer, const struct exipc_binding *b)
{
	struct sight sight = { .magic = EXIPC_MAGIC, .area_size = b->store.size };
	int fds[2] = { read_only(b->client.fd), read_only(b->store.fd) };
	enum st st = ST_IO;

	if (fds[0] >= 0 && fds[1] >= 0)
		st = packet_send(seer->sock, &sight, sizeof(sight), fds, 2, NULL);
	fds_close(fds, 2);
	return st;
}

static void greet_observer(struct exipc_binding *seer)
{
	struct exipc_server *s = seer->server;
	struct sight last = { .magic = EXIPC_MAGIC, .last = 1 };

	/* Counters say who talks how much: for the store's own user and root. */
	if (seer->uid != 0 && seer->uid != geteuid())
		return;
	for (const struct exipc_binding *b = s->bindings; b; b = b->next)
		if (b->state == BINDING_BOUND && show_binding(seer, b))
			return;
	/* One that is not heard shows as a hang-up before the last. */
	if (packet_send(seer->sock, &last, sizeof(last), NULL, 0, NULL))
		return;
}

/* ---- greeting ---- */

/* It goes into logs and to observers: printable, and ended. */
static bool name_sound(const struct hello *h)
{
	size_t len = strnlen(h->name, sizeof(h->name));

	for (size_t i = 0; i < len; i++)
		if (h->name[i] <= ' ' || h->name[i] > '~')
			return false;
	return len > 0 && len < sizeof(h->name);
}

static bool greet(struct exipc_binding *b, const struct hello *h)
{
	if (h->magic != EXIPC_MAGIC || h->layout != EXIPC_LAYOUT || !name_sound(h))
		return false;
	memcpy(b->name, h->name, sizeof(b->name));
	if (h->kind == HELLO_BIND)
		return greet_client(b, h);
	if (h->kind == HELLO_OBSERVE)
		greet_observer(b);
	return false;
}

static void socket_event(void *arg, unsigned events)
{
	struct exipc_binding *b = arg;
	char byte;

	(void)events;
	if (b->state == BINDING_GREETING) {
		struct hello h;
		enum st st = packet_recv(b->sock, &h, sizeof(h), NULL, NULL, NULL);

		if (st == ST_MORE)
			return;
		if (st || !greet(b, &h)) {
			greeting_drop(b);
			return;
		}
	}
	/* Nothing is said here any more: a hang-up, or a client that breaks the rules. */
	if (packet_recv(b->sock, &byte, 1, NULL, NULL, NULL) != ST_MORE)
		binding_end(b);
}

static void greeting_late(void *arg)
{
	greeting_drop(arg);
}

static struct exipc_binding *binding_new(struct exipc_server *s, int sock)
{
	struct exipc_binding *b = calloc(1, sizeof(*b));
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);

	if (!b)
		return NULL;
	b->server = s;
	b->sock = sock;
	b->id = ++s->next_id;
	b->client = b->store = AREA_NONE;
	for (unsigned i = 0; i < EXIPC_LOOPS_MAX; i++)
		b->client_bell[i] = b->client_bell_peer[i] = b->store_bell[i] = -1;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0) {
		free(b);
		return NULL;
	}
	b->uid = who.uid;
	b->pid = (uint32_t)who.pid;
	return b;
}

static void accepted(struct exipc_server *s, int sock)
{
	struct exipc_binding *b = NULL;

	if (s->nbindings < s->o.bindings_max + GREETINGS_EXTRA)
		b = binding_new(s, sock);
	if (!b) {
		close(sock);
		return;
	}
	if (loop_watch(&b->watch, sock, EPOLLIN | EPOLLRDHUP, socket_event, b, NULL)) {
		close(sock);
		free(b);
		return;
	}
	b->next = s->bindings;
	s->bindings = b;
	s->nbindings++;
	timer_set(&b->timer, deadline_in_ms(GREETING_MS), greeting_late, b);
}

static void accept_all(void *arg)
{
	struct exipc_server *s = arg;

	for (;;) {
		int sock = accept4(s->o.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (sock >= 0) {
			accepted(s, sock);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN) /* out of descriptors or memory: nobody tells when that ends */
			timer_set(&s->accept_again, deadline_in_ms(ACCEPT_AGAIN_MS), accept_all, s);
		return;
	}
}

static void accept_event(void *arg, unsigned events)
{
	(void)events;
	accept_all(arg);
}

/* ---- life ---- */

static void start_accepting(void *arg)
{
	struct exipc_server *s = arg;

	if (!s->stopping &&
	    loop_watch(&s->accepting, s->o.listen_fd, EPOLLIN, accept_event, s, NULL))
		panic("exipc: the listening socket can't be watched");
}

static void check_options(const struct exipc_server_options *o)
{
	assert(o->nloops > 0 && o->nloops <= EXIPC_LOOPS_MAX && o->request);
}

enum st exipc_server_new(const struct exipc_server_options *o, struct exipc_server **out,
			 struct err *err)
{
	struct exipc_server *s = calloc(1, sizeof(*s));
	int flags = fcntl(o->listen_fd, F_GETFL);

	check_options(o);
	if (!s)
		return fail(err, ST_NOMEM, "exipc: no memory for the manager");
	if (flags < 0 || fcntl(o->listen_fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		free(s);
		return fail_errno(err, "exipc: the listening socket %d", o->listen_fd);
	}
	s->o = *o;
	if (!s->o.bindings_max)
		s->o.bindings_max = BINDINGS_MAX;
	if (!s->o.fibers_max)
		s->o.fibers_max = FIBERS_PER_PAIR;
	atomic_init(&s->refs, 1);
	pthread_mutex_init(&s->offers_lock, NULL);
	for (unsigned i = 0; i < o->nloops; i++) {
		s->at[i] = (struct store_loop){ .server = s, .loop = o->loops[i], .index = i };
		server_post(s, o->loops[i], store_loop_start, &s->at[i]);
	}
	server_post(s, o->loops[0], start_accepting, s);
	*out = s;
	return ST_OK;
}

static void stop_post(void *arg)
{
	struct exipc_server *s = arg;

	s->stopping = true;
	loop_unwatch(&s->accepting);
	timer_clear(&s->accept_again);
	for (struct exipc_binding *b = s->bindings, *next; b; b = next) {
		next = b->next;
		if (b->state == BINDING_GREETING)
			greeting_drop(b);
		else
			binding_end(b);
	}
}

void exipc_server_stop(struct exipc_server *s)
{
	server_post(s, s->o.loops[0], stop_post, s);
}

void exipc_server_free(struct exipc_server *s)
{
	if (!s)
		return;
	while (s->bindings) {
		struct exipc_binding *b = s->bindings;

		for (unsigned i = 0; b->state != BINDING_GREETING && i < s->o.nloops; i++)
			end_drop(&b->end[i]);
		if (b->state != BINDING_GREETING && s->o.unbound_all)
			s->o.unbound_all(s->o.arg, b->id, b->data);
		binding_free(b);
	}
	for (unsigned i = 0; i < s->noffers; i++)
		close(s->offers[i].fd);
	close(s->o.listen_fd);
	atomic_store(&s->freed, true);
	server_unref(s);
}

/* A client that does not read its socket can't be told, and must not go on with what it has. */
static void tell_bound(struct exipc_server *s, const struct exipc_offer *o, bool withdrawn)
{
	struct offers gone = {
		.magic = EXIPC_MAGIC, .count = 1, .withdrawn = 1, .tag = { o->tag }
	};

	for (struct exipc_binding *b = s->bindings, *next; b; b = next) {
		enum st st = ST_OK;

		next = b->next;
		if (b->state == BINDING_BOUND)
			st = withdrawn ? packet_send(b->sock, &gone, sizeof(gone), NULL, 0, NULL)
				       : send_offers(b, o, 1, NULL);
		if (st)
			binding_end(b);
	}
}

void exipc_server_offer_fd(struct exipc_server *s, uint64_t tag, int fd)
{
	struct exipc_offer o = { tag, fcntl(fd, F_DUPFD_CLOEXEC, 0) }, *more;

	if (o.fd < 0)
		panic("exipc: the offered descriptor %d can't be duplicated", fd);
	pthread_mutex_lock(&s->offers_lock);
	more = realloc(s->offers, (s->noffers + 1) * sizeof(*more));
	if (!more)
		panic("exipc: no memory for an offer");
	s->offers = more;
	s->offers[s->noffers++] = o;
	pthread_mutex_unlock(&s->offers_lock);
	tell_bound(s, &o, false);
}

void exipc_server_withdraw_fd(struct exipc_server *s, uint64_t tag)
{
	struct exipc_offer o = { tag, -1 };

	pthread_mutex_lock(&s->offers_lock);
	for (unsigned i = 0; i < s->noffers; i++)
		if (s->offers[i].tag == tag) {
			close(s->offers[i].fd);
			s->offers[i] = s->offers[--s->noffers];
			break;
		}
	pthread_mutex_unlock(&s->offers_lock);
	tell_bound(s, &o, true);
}

void exipc_server_figures(const struct exipc_server *s, struct exipc_server_figures *out)
{
	*out = (struct exipc_server_figures){
		.bound = atomic_load_explicit(&s->bound, memory_order_relaxed),
		.refused = atomic_load_explicit(&s->refused, memory_order_relaxed),
		.rejected = atomic_load_explicit(&s->rejected, memory_order_relaxed),
		.unanswered = atomic_load_explicit(&s->unanswered, memory_order_relaxed),
	};
}
