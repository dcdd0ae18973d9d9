#include "inet/host.h"
#include "base/logline.h"
#include "inet/ips.h"
#include "inet/session.h"
#include "transport/fsdriver.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_BIND_MS 5000 /* a store that starts beside us is there long before */
#define AQ_STOP_MS    10000

/* A listening socket. */
struct inet_port {
	struct inet_host *host;
	const struct service *service;
	struct listener *listener;
	int fd; /* until the listener has it */
	struct inet_port *next;
};

/* ---- making one ---- */

static enum st open_tls(struct inet_host *h, struct err *err)
{
	const char *cert = config_str(h->config, "tls_cert");
	struct err why;
	enum st st = tls_server_new(cert, config_str(h->config, "tls_key"), &h->tls, &why);

	if (st == ST_NOTFOUND) {
		log_event(LOG_WARN, "no TLS", LE(&why));
		return ST_OK;
	}
	if (st != ST_OK && err)
		*err = why;
	return st;
}

static enum st make_loops(struct inet_host *h, const struct inet_options *o, struct err *err)
{
	for (unsigned i = 0; i < o->nloops; i++) {
		struct inet_loop *il = calloc(1, sizeof(*il));

		if (!il)
			return fail(err, ST_NOMEM, "out of memory for loop %u", i);
		il->host = h;
		il->loop = o->loops[i];
		il->index = i;
		h->loops[i] = il;
	}
	return ST_OK;
}

static enum st make_ips(struct inet_host *h, struct err *err)
{
	const struct config *c = h->config;
	const struct inet_ips_limits limits = {
		.connections = (unsigned)config_int(c, "connections_per_ip_max"),
		.rates = {
			[INET_RATE_CONNECTS] =
				(unsigned)config_int(c, "connects_per_minute_per_ip"),
			[INET_RATE_MESSAGES] =
				(unsigned)config_int(c, "messages_per_minute_per_ip"),
			[INET_RATE_RECIPIENTS] =
				(unsigned)config_int(c, "recipients_per_minute_per_ip"),
		},
	};

	h->ips = ips_new(&limits);
	return h->ips ? ST_OK : fail(err, ST_NOMEM, "out of memory for client addresses");
}

enum st inet_host_new(const struct inet_options *o, struct inet_host **out, struct err *err)
{
	struct inet_host *h = calloc(1, sizeof(*h));
	enum st st;

	if (!h)
		return fail(err, ST_NOMEM, "out of memory for the protocol host");
	assert(o->nloops >= 1 && o->nloops <= EXIPC_LOOPS_MAX);
	h->config = o->config;
	h->version = o->version;
	h->nloops = o->nloops;
	h->tasks = 1;
	memcpy(h->protocols, o->protocols, sizeof(h->protocols));
	snprintf(h->hostname, sizeof(h->hostname), "%s", config_str(o->config, "hostname"));
	st = make_loops(h, o, err);
	if (st == ST_OK)
		st = make_ips(h, err);
	if (st == ST_OK)
		st = open_tls(h, err);
	if (st == ST_OK && o->key_read)
		st = o->key_read(err);
	if (st == ST_OK)
		st = fsdriver_open(config_str(o->config, "queue_dir"), &h->queue, err);
	if (st != ST_OK) {
		inet_host_free(h);
		return st;
	}
	*out = h;
	return ST_OK;
}

void inet_host_free(struct inet_host *h)
{
	if (!h)
		return;
	while (h->ports) {
		struct inet_port *p = h->ports;

		h->ports = p->next;
		if (p->fd >= 0)
			close(p->fd);
		free(p);
	}
	aq_free(h->aq);
	for (unsigned i = 0; i < h->nloops; i++) {
		if (h->loops[i])
			ds_free(h->loops[i]->ds);
	}
	if (h->ipc)
		exipc_client_free(h->ipc);
	for (unsigned i = 0; i < h->nloops; i++)
		free(h->loops[i]);
	fsdriver_close(h->queue);
	tls_free(h->tls);
	ips_free(h->ips);
	free(h);
}

enum st inet_host_listen(struct inet_host *h, const struct service *service, int fd,
			 struct err *err)
{
	struct inet_port *p;

	if (!h->protocols[service->protocol])
		return fail(err, ST_BAD, "%s: this program does not serve it", service->name);
	if (service->implicit_tls && !h->tls)
		return fail(err, ST_BAD, "%s needs a certificate: %s is missing", service->name,
			    config_str(h->config, "tls_cert"));
	p = calloc(1, sizeof(*p));
	if (!p)
		return fail(err, ST_NOMEM, "out of memory for %s", service->name);
	*p = (struct inet_port){ .host = h, .service = service, .fd = fd, .next = h->ports };
	h->ports = p;
	return ST_OK;
}

/* ---- connections ---- */

static void refuse(struct inet_port *p, int fd, const char *why)
{
	const struct inet_protocol *protocol = p->host->protocols[p->service->protocol];
	struct inet_loop *il = p->host->loops[0];
	uint64_t *counter = &il->counters[p->service->protocol][INET_REFUSED];

	if (!p->service->implicit_tls)
		(void)!send(fd, protocol->busy_line, strlen(protocol->busy_line),
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	close(fd);
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
	log_event(LOG_NOTICE, "connection refused", LC("service", p->service->name),
		  LC("why", why));
}

static void accepted(void *owner, int fd)
{
	struct inet_port *p = owner;
	struct inet_host *h = p->host;
	struct inet_arrival *a;
	struct in6_addr ip;

	ips_of_socket(fd, &ip);
	if (__atomic_load_n(&h->sessions, __ATOMIC_RELAXED) >=
	    (uint64_t)config_int(h->config, "connections_max")) {
		refuse(p, fd, "connections_max");
		return;
	}
	if (!ips_enter(h->ips, &ip)) {
		refuse(p, fd, "too many from one address");
		return;
	}
	a = malloc(sizeof(*a));
	if (!a) {
		ips_leave(h->ips, &ip);
		refuse(p, fd, "out of memory");
		return;
	}
	*a = (struct inet_arrival){
		.loop = h->loops[h->next_loop++ % h->nloops],
		.protocol = h->protocols[p->service->protocol],
		.service = p->service,
		.ip = ip,
		.id = ++h->next_id,
		.fd = fd,
	};
	__atomic_fetch_add(&h->sessions, 1, __ATOMIC_RELAXED);
	loop_post(a->loop->loop, session_adopt, a);
}

/* ---- fibers of our own: the end waits for them ---- */

static void session_over(struct inet_host *h);

static void tasks_over(void *arg)
{
	struct inet_host *h = arg;

	h->stopped(h->arg);
}

/* Any loop.  The last one is over after the transport was stopped. */
static void task_over(struct inet_host *h)
{
	if (__atomic_sub_fetch(&h->tasks, 1, __ATOMIC_ACQ_REL) == 0)
		loop_post(h->loops[0]->loop, tasks_over, h);
}

/* fn ends with task_over(). */
static enum st task_spawn(struct inet_host *h, const char *name, void (*fn)(void *arg), void *arg,
			  struct err *err)
{
	enum st st;

	__atomic_fetch_add(&h->tasks, 1, __ATOMIC_RELAXED);
	st = fiber_spawn(name, fn, arg, err);
	if (st != ST_OK)
		task_over(h);
	return st;
}

/* loops[0], before the end: fn runs on every loop and ends with task_over(), so that none is left in a loop's
 * hands when the host is freed. */
static void tell_loops(struct inet_host *h, void (*fn)(void *arg))
{
	__atomic_fetch_add(&h->tasks, h->nloops, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < h->nloops; i++)
		loop_post(h->loops[i]->loop, fn, h->loops[i]);
}

/* ---- the store comes and goes; every loop ---- */

static void directory_changed(void *arg, uint64_t value)
{
	struct inet_loop *il = arg;

	(void)value;
	ds_flush(il->ds);
	if (il->index == 0 && il->host->aq)
		aq_mailboxes_back(il->host->aq);
}

/* A fiber.  Without this changes are seen when what is remembered gets old. */
static void watch_directory(void *arg)
{
	struct inet_loop *il = arg;
	struct err err;

	if (ds_watch(il->ds, il->directory.token, &err) != ST_OK)
		log_event(LOG_NOTICE, "directory not watched", LU("loop", il->index), LE(&err));
	ds_flush(il->ds);
	task_over(il->host);
}

static void store_bound(void *arg)
{
	struct inet_loop *il = arg;
	struct err err;

	if (il->ds && task_spawn(il->host, "watch directory", watch_directory, il, &err) != ST_OK)
		log_event(LOG_WARN, "directory not watched", LU("loop", il->index), LE(&err));
	task_over(il->host);
}

static void store_lost(void *arg)
{
	struct inet_loop *il = arg;

	if (il->ds)
		ds_flush(il->ds);
	session_kick_all(il);
	task_over(il->host);
}

/* ---- starting: loops[0], then every loop, then loops[0] again ---- */

static void start_failed(struct inet_host *h, enum st st)
{
	h->started(h->arg, st, &h->err);
}

static enum st open_ports(struct inet_host *h)
{
	for (struct inet_port *p = h->ports; p; p = p->next) {
		enum st st = listener_new(p->fd, p, accepted, &p->listener, &h->err);

		if (st != ST_OK)
			return st;
		p->fd = -1;
	}
	return ST_OK;
}

static enum st start_transport(struct inet_host *h)
{
	struct aq_options o = {
		.driver = h->queue,
		.ds = h->loops[0]->ds,
		.chan = h->loops[0]->chan,
		.hostname = h->hostname,
	};
	enum st st;

	aq_options_config(&o, h->config);
	st = aq_new(&o, &h->aq, &h->err);
	if (st == ST_OK)
		st = aq_start(h->aq, &h->err);
	if (st == ST_OK)
		aq_store_bound(h->aq, exipc_is_bound(h->loops[0]->chan));
	return st;
}

/* A fiber of loops[0]: connections are accepted once the store answers, or without it after a while (what
 * comes in then is told to come again). */
static void open_and_tell(void *arg)
{
	struct inet_host *h = arg;
	enum st st = exipc_wait_bound(h->loops[0]->chan, deadline_in_ms(FIRST_BIND_MS), &h->err);

	if (!h->stopping) {
		if (st != ST_DENIED)
			st = open_ports(h);
		if (st != ST_OK)
			start_failed(h, st);
		else
			h->started(h->arg, ST_OK, &h->err);
	}
	task_over(h);
}

/* loops[0]: one loop is ready. */
static void loop_ready(void *arg)
{
	struct inet_loop *il = arg;
	struct inet_host *h = il->host;
	enum st st = ST_OK;

	if (++h->loops_ready < h->nloops)
		return;
	if (!h->stopping) {
		for (unsigned i = 0; i < h->nloops && st == ST_OK; i++)
			if (!h->loops[i]->ds)
				st = fail(&h->err, ST_NOMEM,
					  "out of memory for the directory's cache");
		if (st == ST_OK)
			st = start_transport(h);
		if (st == ST_OK)
			st = task_spawn(h, "start", open_and_tell, h, &h->err);
		if (st != ST_OK)
			start_failed(h, st);
	}
	session_over(h); /* inet_host_start counted the start as one */
}

/* Every loop. */
static void loop_begin(void *arg)
{
	struct inet_loop *il = arg;
	struct ds_options o = { 0 };
	struct err err;

	il->chan = exipc_chan(il->host->ipc);
	o.chan = il->chan;
	ds_options_config(&o, il->host->config);
	if (ds_new(&o, &il->ds, &err) != ST_OK)
		il->ds = NULL;
	il->directory = (struct inet_watcher){ .changed = directory_changed, .arg = il };
	inet_watch(il, &il->directory);
	loop_post(il->host->loops[0]->loop, loop_ready, il);
}

static void store_state(void *arg, bool bound)
{
	struct inet_host *h = arg;

	if (h->stopping) /* the end of the binding is ours */
		return;
	log_event(LOG_NOTICE, bound ? "store bound" : "store lost");
	if (h->aq)
		aq_store_bound(h->aq, bound);
	tell_loops(h, bound ? store_bound : store_lost);
}

static void store_notified(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value)
{
	struct inet_host *h = arg;

	for (unsigned i = 0; i < h->nloops; i++)
		if (h->loops[i]->chan == chan)
			inet_notified(h->loops[i], token, value);
}

static void host_begin(void *arg)
{
	struct inet_host *h = arg;
	struct loop *loops[EXIPC_LOOPS_MAX];
	char path[4200];
	const struct exipc_client_options o = {
		.socket_path = path,
		.name = "inet",
		.version = WIRE_VERSION,
		.loops = loops,
		.nloops = h->nloops,
		.state = store_state,
		.notify = store_notified,
		.arg = h,
	};
	enum st st;

	for (unsigned i = 0; i < h->nloops; i++)
		loops[i] = h->loops[i]->loop;
	snprintf(path, sizeof(path), "%s/run/exipc", config_home(h->config));
	st = exipc_client_new(&o, &h->ipc, &h->err);
	if (st != ST_OK) {
		start_failed(h, st);
		session_over(h);
		return;
	}
	for (unsigned i = 0; i < h->nloops; i++)
		loop_post(h->loops[i]->loop, loop_begin, h->loops[i]);
}

void inet_host_start(struct inet_host *h,
		     void (*started)(void *arg, enum st st, const struct err *err), void *arg)
{
	h->started = started;
	h->arg = arg;
	/* The start counts as a session: a stop waits until every loop has begun. */
	__atomic_fetch_add(&h->sessions, 1, __ATOMIC_RELAXED);
	loop_post(h->loops[0]->loop, host_begin, h);
}

/* ---- stopping ---- */

static void stop_transport(void *arg)
{
	struct inet_host *h = arg;
	enum st st = ST_OK;
	struct err err;

	if (h->aq)
		st = aq_stop(h->aq, deadline_in_ms(AQ_STOP_MS), &err);
	/* From here on nothing waits for the store any more. */
	if (h->ipc)
		exipc_client_stop(h->ipc);
	if (st != ST_OK) {
		log_event(LOG_WARN, "the queue stops without the store", LE(&err));
		st = aq_stop(h->aq, deadline_in_ms(AQ_STOP_MS), &err);
	}
	if (st != ST_OK) {
		/* What still runs holds on to the engine: leave it to the end of the process. */
		log_event(LOG_WARN, "queue did not stop", LE(&err));
		h->aq = NULL;
	}
	task_over(h);
}

/* loops[0]; posted once, by the last session or by stop itself. */
static void sessions_over(void *arg)
{
	struct inet_host *h = arg;

	timer_clear(&h->patience);
	if (fiber_spawn("stop", stop_transport, h, &h->err) != ST_OK)
		task_over(h);
}

static void session_over(struct inet_host *h)
{
	if (__atomic_sub_fetch(&h->sessions, 1, __ATOMIC_ACQ_REL) == 0 &&
	    __atomic_load_n(&h->stopping, __ATOMIC_ACQUIRE))
		loop_post(h->loops[0]->loop, sessions_over, h);
}

void host_session_left(struct inet_host *h, const struct in6_addr *ip)
{
	ips_leave(h->ips, ip);
	session_over(h);
}

static void kick_all(void *arg)
{
	struct inet_loop *il = arg;

	session_kick_all(il);
	task_over(il->host);
}

static void abort_all(void *arg)
{
	struct inet_loop *il = arg;

	session_abort_all(il);
	task_over(il->host);
}

static void patience_over(void *arg)
{
	struct inet_host *h = arg;

	log_event(LOG_NOTICE, "ending sessions that are still busy", LU("sessions", h->sessions));
	tell_loops(h, abort_all);
	/* One that waits for the store does not hear that its connection ended. */
	if (h->ipc)
		exipc_client_stop(h->ipc);
}

void inet_host_stop(struct inet_host *h, int64_t deadline, void (*stopped)(void *arg))
{
	for (struct inet_port *p = h->ports; p; p = p->next) {
		if (p->listener)
			listener_free(p->listener);
		p->listener = NULL;
	}
	h->stopped = stopped;
	/* Count ourselves as a session, so that the end can't come before everybody was told. */
	__atomic_fetch_add(&h->sessions, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&h->stopping, true, __ATOMIC_RELEASE);
	timer_set(&h->patience, deadline, patience_over, h);
	tell_loops(h, kick_all);
	session_over(h);
}
