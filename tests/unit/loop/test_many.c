/* Many connections: idle ones, a crowd of fibers, listening. */
#include "session.h"
#include "loop/sanitize.h"

#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>

/* ---- many ---- */

#define IDLE 5000

static int idle_gone;
static struct fiber *idle_waiter;

struct idler {
	struct conn *conn;
	int fd;
};

static void idle_went(void *owner)
{
	(void)owner;
	if (++idle_gone == IDLE)
		fiber_wake(idle_waiter);
}

static void idle_serve(void *owner)
{
	struct idler *i = owner;

	conn_consume(i->conn, conn_input(i->conn).len);
	conn_puts(i->conn, "* OK still here\r\n");
}

static void idle_body(void *arg)
{
	struct conn_limits limits = { .idle_ms = 1800 * 1000, .write_ms = 60000 };
	struct idler *idlers = arg;
	char reply[32];
	int server;

	idle_waiter = fiber_self();
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < IDLE; i++) {
		struct peer p;

		peer_socketpair(&p, &server);
		idlers[i].fd = p.fd;
		must(conn_new(server, &limits, &idlers[i], idle_went, &idlers[i].conn, NULL) ==
		     ST_OK);
		conn_serve(idlers[i].conn, idle_serve, false);
		must(write(p.fd, "noop\r\n", 6) == 6);
	}
	for (int i = 0; i < IDLE; i++)
		while (recv(idlers[i].fd, reply, sizeof(reply), MSG_DONTWAIT) < 0)
			fiber_sleep(deadline_in_ms(1));
	fiber_sleep(deadline_in_ms(10));
	size_t each = (mallinfo2().uordblks - before) / IDLE;
	struct loop_stats stats;
	loop_stats(loop_self(), &stats);
	must(stats.fibers_now == 1); /* no idle connection has a stack */
	printf("an idle connection takes %zu bytes\n", each);
	must(each < 500);
	for (int i = 0; i < IDLE; i++)
		(i % 2 ? conn_close : conn_abort)(idlers[i].conn);
	for (int i = 0; i < IDLE; i++)
		close(idlers[i].fd);
	while (idle_gone < IDLE)
		must(fiber_park(deadline_in_ms(60000)));
}

static void five_thousand_idle_connections_are_small(void **state)
{
	struct rlimit many = { 2 * IDLE + 100, 2 * IDLE + 100 }, old;

	(void)state;
	must(getrlimit(RLIMIT_NOFILE, &old) == 0);
	if (old.rlim_max < many.rlim_cur && setrlimit(RLIMIT_NOFILE, &many) != 0)
		skip();
	many.rlim_max = old.rlim_max > many.rlim_max ? old.rlim_max : many.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &many) == 0);
	struct idler *idlers = calloc(IDLE, sizeof(*idlers));
	run_on_loop(idle_body, idlers);
	free(idlers);
}

static void sleeps_until_told(void *arg)
{
	fiber_queue_wait(arg, NO_DEADLINE);
}

static void runs_once(void *arg)
{
	struct session *s = arg;

	s->runs++;
	conn_puts(s->conn, "at last\n");
	conn_close(s->conn);
}

static void hears_at_last(struct peer *p)
{
	peer_expect(p, "at last\n");
	peer_expect_end(p);
}

static struct fiber_queue crowd;

static void let_them_go(void *arg)
{
	(void)arg;
	must(((struct session *)arg)->runs == 0);
	fiber_queue_wake_all(&crowd);
}

static void crowded_body(void *arg)
{
	struct timer timer = { 0 };
	struct err err = { 0 };
	int n = 1; /* this one */

	while (fiber_spawn("crowd", sleeps_until_told, &crowd, &err) == ST_OK)
		n++;
	must(err.st == ST_BUSY && n == FIBERS_MAX);
	timer_set(&timer, deadline_in_ms(20), let_them_go, arg);
	session_body(arg);
}

static void a_connection_waits_for_a_fiber(void **state)
{
	struct session s = { .serve = runs_once, .talk = hears_at_last };

	(void)state;
	if (STACK_FACTOR > 1)
		skip(); /* the sanitizers need too much memory for so many stacks */
	run_on_loop(crowded_body, &s);
	assert_int_equal(s.runs, 1);
}

/* ---- listening ---- */

#define CALLERS 200

struct server {
	struct listener *listener;
	struct fiber *waiter;
	struct sockaddr_in at;
	pthread_t thread;
	int accepted, gone;
	bool hungry;
};

struct guest {
	struct server *server;
	struct conn *conn;
};

static void guest_gone(void *owner)
{
	struct guest *g = owner;

	g->server->gone++;
	fiber_wake(g->server->waiter);
	free(g);
}

static void greet(void *owner)
{
	struct guest *g = owner;

	must(strncmp(conn_peer(g->conn), "127.0.0.1:", 10) == 0);
	must(strcmp(conn_peer_ip(g->conn), "127.0.0.1") == 0);
	must(strcmp(conn_local_ip(g->conn), "127.0.0.1") == 0);
	conn_puts(g->conn, "hello\n");
	conn_close(g->conn);
}

static void take_guest(void *owner, int fd)
{
	struct server *server = owner;
	struct guest *g = calloc(1, sizeof(*g));
	struct err err;

	must(!fiber_self());
	g->server = server;
	must(conn_new(fd, NULL, g, guest_gone, &g->conn, &err) == ST_OK);
	conn_serve(g->conn, greet, true);
	if (++server->accepted == CALLERS)
		listener_free(server->listener); /* from inside */
}

static void *call_often(void *arg)
{
	struct server *server = arg;

	for (int i = 0; i < CALLERS; i++) {
		struct peer p = { .fd = socket(AF_INET, SOCK_STREAM, 0) };

		must(connect(p.fd, (struct sockaddr *)&server->at, sizeof(server->at)) == 0);
		peer_expect(&p, "hello\n");
		peer_expect_end(&p);
		peer_close(&p);
	}
	return NULL;
}

static int listen_on(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*at = (struct sockaddr_in){ .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	must(bind(fd, (struct sockaddr *)at, len) == 0 && listen(fd, 128) == 0);
	must(getsockname(fd, (struct sockaddr *)at, &len) == 0);
	return fd;
}

static void listen_body(void *arg)
{
	struct server s = { .waiter = fiber_self() };
	struct rlimit old, small = { 0 };
	struct err err;

	(void)arg;
	int fd = listen_on(&s.at);
	must(listener_new(fd, &s, take_guest, &s.listener, &err) == ST_OK);
	/* Out of descriptors: accepting pauses and goes on. */
	must(getrlimit(RLIMIT_NOFILE, &old) == 0);
	struct peer p = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	small = (struct rlimit){ (rlim_t)p.fd + 1, old.rlim_max };
	must(setrlimit(RLIMIT_NOFILE, &small) == 0);
	must(connect(p.fd, (struct sockaddr *)&s.at, sizeof(s.at)) == 0);
	fiber_sleep(deadline_in_ms(20));
	must(s.accepted == 0);
	must(setrlimit(RLIMIT_NOFILE, &old) == 0);
	while (!s.gone)
		must(fiber_park(deadline_in_ms(60000)));
	peer_expect(&p, "hello\n");
	peer_close(&p);

	s.accepted = s.gone = 0;
	must(pthread_create(&s.thread, NULL, call_often, &s) == 0);
	while (s.gone < CALLERS)
		must(fiber_park(deadline_in_ms(60000)));
	pthread_join(s.thread, NULL);
}

static void a_listener_accepts_pauses_and_ends(void **state)
{
	(void)state;
	run_on_loop(listen_body, NULL);
}

/* ---- addresses ---- */

struct called {
	struct conn *conn;
	struct fiber *waiter;
	int fd, gone;
};

static void remember_fd(void *owner, int fd)
{
	struct called *c = owner;

	c->fd = fd;
	fiber_wake(c->waiter);
}

static void called_gone(void *owner)
{
	struct called *c = owner;

	c->gone++;
	fiber_wake(c->waiter);
}

static void call_v6(struct in6_addr to, const char *ip, const char *before, const char *behind)
{
	struct called c = { .waiter = fiber_self(), .fd = -1 };
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = in6addr_any };
	struct sockaddr_in6 from;
	socklen_t len = sizeof(at);
	struct listener *listener;
	struct err err;
	char want[80];

	int listening = socket(AF_INET6, SOCK_STREAM, 0), off = 0;
	must(setsockopt(listening, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0);
	must(bind(listening, (struct sockaddr *)&at, len) == 0 && listen(listening, 1) == 0);
	must(getsockname(listening, (struct sockaddr *)&at, &len) == 0);
	must(listener_new(listening, &c, remember_fd, &listener, &err) == ST_OK);
	at.sin6_addr = to;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	must(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	len = sizeof(from);
	must(getsockname(fd, (struct sockaddr *)&from, &len) == 0);
	while (c.fd < 0)
		must(fiber_park(deadline_in_ms(10000)));
	must(conn_new(c.fd, NULL, &c, called_gone, &c.conn, &err) == ST_OK);
	snprintf(want, sizeof(want), "%s%s%s:%u", before, ip, behind, ntohs(from.sin6_port));
	must(strcmp(conn_peer(c.conn), want) == 0);
	must(strcmp(conn_peer_ip(c.conn), ip) == 0);
	must(strcmp(conn_local_ip(c.conn), ip) == 0);
	conn_abort(c.conn);
	close(fd);
	while (!c.gone)
		must(fiber_park(deadline_in_ms(10000)));
	listener_free(listener);
}

static void address_body(void *arg)
{
	struct in6_addr mapped = { { { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } } };

	(void)arg;
	call_v6(in6addr_loopback, "::1", "[", "]");
	call_v6(mapped, "127.0.0.1", "", "");
}

static void addresses_are_shown_as_people_write_them(void **state)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };

	(void)state;
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		skip(); /* this machine has no IPv6 */
	close(fd);
	run_on_loop(address_body, NULL);
}

/* ---- a crowd at the door ---- */

#define CROWD 300

static void crowd_at_door_body(void *arg)
{
	struct server s = { .waiter = fiber_self() };
	struct peer peers[CROWD];
	struct err err;
	int fd = listen_on(&s.at);

	(void)arg;
	must(listen(fd, CROWD) == 0);
	/* All of them wait before the listener is there: more than it takes in one turn. */
	for (int i = 0; i < CROWD; i++) {
		peers[i] = (struct peer){ .fd = socket(AF_INET, SOCK_STREAM, 0) };
		must(connect(peers[i].fd, (struct sockaddr *)&s.at, sizeof(s.at)) == 0);
	}
	s.accepted = -CROWD; /* never comes to CALLERS */
	must(listener_new(fd, &s, take_guest, &s.listener, &err) == ST_OK);
	while (s.accepted < 0)
		fiber_yield();
	for (int i = 0; i < CROWD; i++) {
		/* Served by this very loop: it may not be blocked. */
		while (poll(&(struct pollfd){ peers[i].fd, POLLIN, 0 }, 1, 0) == 0)
			fiber_sleep(deadline_in_ms(1));
		peer_expect(&peers[i], "hello\n");
		peer_close(&peers[i]);
	}
	while (s.gone < CROWD)
		must(fiber_park(deadline_in_ms(60000)));
	/* Shut down under the listener: it is silent, and can still be freed. */
	shutdown(fd, SHUT_RDWR);
	fiber_sleep(deadline_in_ms(5));
	listener_free(s.listener);
	listener_free(NULL);
}

static void a_crowd_is_taken_in_turns(void **state)
{
	(void)state;
	run_on_loop(crowd_at_door_body, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_thousand_idle_connections_are_small),
		cmocka_unit_test(a_connection_waits_for_a_fiber),
		cmocka_unit_test(a_listener_accepts_pauses_and_ends),
		cmocka_unit_test(addresses_are_shown_as_people_write_them),
		cmocka_unit_test(a_crowd_is_taken_in_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
