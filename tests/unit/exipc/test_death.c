/* Processes that die: clients killed at any moment under load, stores killed under their clients, and
 * clients that scribble over their area.  The parent of every fork has no threads yet. */
#include "exipc/handshake.h"
#include "exipc/ring.h"
#include "rig.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A child that dies with us, running fn(arg). */
static pid_t spawn(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fn(arg);
	_exit(0);
}

static void kill_and_reap(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

static void nap_us(unsigned us)
{
	struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L };

	nanosleep(&t, NULL);
}

/* ---- clients that die under load ---- */

struct load {
	char path[100];
	struct loop *loop;
	struct exipc_client *client;
};

static void load_fiber(void *arg)
{
	struct exipc_chan *chan = exipc_chan(((struct load *)arg)->client);
	static unsigned number;
	unsigned me = number++;
	char bytes[20000] = { 0 };

	for (unsigned i = 0;; i++) {
		struct exipc_section s[3];
		uint32_t used[3] = { 1, 2, 3 };
		struct exipc_reply r;
		unsigned n = (me + i) % 4, got = 0;

		if (exipc_wait_bound(chan, NO_DEADLINE, NULL))
			return;
		while (got < n && !exipc_section_get(chan, i % 2, NO_DEADLINE, &s[got], NULL))
			got++;
		if (exipc_call(chan, i % 2, 1, span_of(bytes, (me * 997 + i * 131) % sizeof(bytes)),
			       s, used, got, NO_DEADLINE, &r, NULL))
			continue;
		while (r.more && !exipc_reply_next(&r, NO_DEADLINE, NULL))
			continue;
		exipc_reply_free(&r);
	}
}

static void load_main(void *arg)
{
	struct load *l = arg;
	struct exipc_client_options o = { .socket_path = l->path,
					  .name = "inet",
					  .version = RIG_VERSION,
					  .loops = &l->loop,
					  .nloops = 1 };

	if (loop_new("load", &l->loop, NULL) || exipc_client_new(&o, &l->client, NULL))
		_exit(1);
	loop_enter(l->loop);
	for (unsigned i = 0; i < 100; i++)
		if (fiber_spawn("load", load_fiber, l, NULL))
			_exit(1);
	loop_run(l->loop);
}

static enum st any_bind(void *arg, uint64_t id, const char *name, uint32_t uid, uint32_t pid,
			void **data, struct err *err)
{
	struct rig *r = arg;

	(void)id;
	(void)name;
	(void)uid;
	(void)pid;
	(void)err;
	*data = r;
	atomic_fetch_add(&r->binds, 1);
	return ST_OK;
}

static atomic_int pins;

static void unpin(void *arg)
{
	(void)arg;
	atomic_fetch_sub(&pins, 1);
}

/* Three pinned replies to each; some are handled slowly. */
static void pinning_request(void *arg, struct exipc_request *rq)
{
	struct rig *r = arg;
	unsigned n = (unsigned)atomic_fetch_add(&r->handled, 1);

	if (n % 16 == 0)
		fiber_sleep(deadline_in_ms(2));
	for (unsigned i = 0; i < 3; i++) {
		atomic_fetch_add(&pins, 1);
		if (exipc_reply(rq, ST_OK, rq->payload, i < 2, unpin, NULL))
			return;
	}
}

static void a_killed_client_leaves_nothing_behind(void **state)
{
	enum { ROUNDS = 40 };
	static struct load load;
	struct rig r;
	pid_t pid[ROUNDS];
	unsigned seed = 1;

	(void)state;
	rig_init(&r, 1, 2);
	r.so.bind = any_bind;
	r.so.request = pinning_request;
	r.so.bindings_max = ROUNDS;
	snprintf(load.path, sizeof(load.path), "%s", r.path);
	/* All are forked before this process has threads; they wait for the store to appear. */
	for (unsigned i = 0; i < ROUNDS; i++)
		pid[i] = spawn(load_main, &load);
	rig_store(&r);
	rig_reach(&r.handled, 100);
	for (unsigned i = 0; i < ROUNDS; i++) {
		nap_us((unsigned)rand_r(&seed) % 15000);
		kill_and_reap(pid[i]);
	}
	rig_reach(&r.unbound_alls, atomic_load(&r.binds));
	assert_int_equal(atomic_load(&pins), 0);
	assert_int_equal(atomic_load(&r.unbounds), 2 * atomic_load(&r.binds));
	assert_true(atomic_load(&r.binds) > 0);

	struct exipc_server_figures f;
	exipc_server_figures(r.server, &f);
	assert_int_equal(f.rejected, 0);
	rig_done(&r);
}

/* ---- stores that die ---- */

struct store_child {
	int listen_fd;
};

static void echo_request(void *arg, struct exipc_request *rq)
{
	(void)arg;
	if (rq->op == 2) /* never answers */
		for (;;)
			fiber_sleep(deadline_in_ms(1000));
	(void)exipc_reply(rq, ST_OK, rq->payload, false, NULL, NULL);
}

static void store_main(void *arg)
{
	struct store_child *c = arg;
	struct loop *loop;
	struct exipc_server_options o = { .listen_fd = c->listen_fd,
					  .version = RIG_VERSION,
					  .nloops = 1,
					  .request = echo_request };
	struct exipc_server *s;

	if (loop_new("store", &loop, NULL))
		_exit(1);
	o.loops = &loop;
	if (exipc_server_new(&o, &s, NULL))
		_exit(1);
	loop_run(loop);
}

/* Forks stores on request, from before there were threads. */
static void forker_main(void *arg)
{
	int *pipes = arg; /* commands in, process ids out */
	struct store_child child = { .listen_fd = pipes[2] };
	char byte;

	signal(SIGCHLD, SIG_IGN);
	while (read(pipes[0], &byte, 1) == 1) {
		pid_t pid = spawn(store_main, &child);

		if (write(pipes[1], &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
	}
}

struct killing {
	struct rig *rig;
	int to, from;
	pid_t forker;
};

static pid_t new_store(const struct killing *k)
{
	pid_t pid;

	assert_int_equal(write(k->to, "s", 1), 1);
	assert_int_equal(read(k->from, &pid, sizeof(pid)), sizeof(pid));
	return pid;
}

static void killing_up(struct killing *k, struct rig *r)
{
	static int child[3];
	int to[2], from[2];

	rig_init(r, 2, 1);
	k->rig = r;
	child[2] = rig_listen(r->path); /* held open, as the supervisor does */
	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	child[0] = to[0];
	child[1] = from[1];
	k->forker = spawn(forker_main, child);
	k->to = to[1];
	k->from = from[0];
	close(to[0]);
	close(from[1]);
}

static void killing_down(struct killing *k, pid_t store)
{
	rig_client_stop(k->rig);
	kill(store, SIGKILL);
	kill_and_reap(k->forker);
	close(k->to);
	close(k->from);
	unlink(k->rig->path);
	rig_done(k->rig);
}

static void call_once(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = exipc_chan(r->client);
	struct exipc_reply reply;
	struct err err;

	assert_int_equal(exipc_wait_bound(chan, deadline_in_ms(20000), &err), ST_OK);
	assert_int_equal(
		exipc_call(chan, 0, 1, SPAN("hello"), NULL, NULL, 0, NO_DEADLINE, &reply, &err),
		ST_OK);
	assert_true(span_eq(reply.payload, SPAN("hello")));
	exipc_reply_free(&reply);
}

static atomic_int called;

static void call_that_is_never_answered(void *arg)
{
	struct rig *r = arg;
	struct exipc_chan *chan = exipc_chan(r->client);
	struct exipc_section s;
	uint32_t used = 1;
	struct exipc_reply reply;
	struct err err;

	assert_int_equal(exipc_section_get(chan, 0, NO_DEADLINE, &s, &err), ST_OK);
	atomic_fetch_add(&called, 1);
	assert_int_equal(
		exipc_call(chan, 0, 2, SPAN("wait"), &s, &used, 1, NO_DEADLINE, &reply, &err),
		ST_GONE);
	assert_true(strlen(err.text) > 0);
}

struct one_kill {
	pid_t store;
};

static void *kill_soon(void *arg)
{
	struct one_kill *k = arg;

	rig_reach(&called, 1);
	nap_us(3000);
	kill(k->store, SIGKILL);
	return NULL;
}

static void calls_of_a_killed_store_end_and_the_client_binds_again(void **state)
{
	struct killing k;
	struct rig r;
	pid_t store;

	(void)state;
	killing_up(&k, &r);
	rig_client(&r); /* connects to a socket that nobody serves yet, and waits */
	nap_us(20000);
	assert_int_equal(atomic_load(&r.states_bound), 0);
	store = new_store(&k);
	rig_run(&r, 0, call_once, &r);
	rig_reach(&r.states_bound, 1);
	for (int round = 1; round <= 5; round++) {
		struct one_kill kill_it = { store };
		pthread_t killer;

		atomic_store(&called, 0);
		assert_int_equal(pthread_create(&killer, NULL, kill_soon, &kill_it), 0);
		rig_run(&r, round % 2, call_that_is_never_answered, &r);
		pthread_join(killer, NULL);
		rig_reach(&r.states_lost, round);

		int64_t from = clock_mono();
		store = new_store(&k);
		rig_reach(&r.states_bound, round + 1);
		/* As an event: far less than the timer that is for nobody listening. */
		assert_true(clock_mono() - from < 400 * NS_PER_MS);
		rig_run(&r, 0, call_once, &r);
		rig_run(&r, 1, call_once, &r);
	}
	killing_down(&k, store);
}

static void a_client_may_start_before_anybody_listens(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1, 1);
	rig_client(&r); /* nobody listens at all: a timer */
	nap_us(30000);
	rig_store(&r);
	rig_reach(&r.states_bound, 1);
	rig_run(&r, 0, call_once, &r);
	rig_done(&r);
}

struct held {
	struct rig *rig;
	struct exipc_reply reply;
	struct exipc_section section;
};

static void hold(void *arg)
{
	struct held *h = arg;
	struct exipc_chan *chan = exipc_chan(h->rig->client);
	struct err err;

	assert_int_equal(exipc_wait_bound(chan, deadline_in_ms(20000), &err), ST_OK);
	assert_int_equal(exipc_section_get(chan, 0, NO_DEADLINE, &h->section, &err), ST_OK);
	assert_int_equal(exipc_call(chan, 0, 1, SPAN("keep me"), NULL, NULL, 0, NO_DEADLINE,
				    &h->reply, &err),
			 ST_OK);
}

static void let_go(void *arg)
{
	struct held *h = arg;
	struct exipc_chan *chan = exipc_chan(h->rig->client);
	struct exipc_section mine = h->section;
	struct exipc_reply reply;
	uint32_t used = 5;
	struct err err;

	assert_int_equal(exipc_wait_bound(chan, deadline_in_ms(20000), &err), ST_OK);
	assert_true(exipc_epoch(chan) != h->section.epoch);
	assert_true(span_eq(h->reply.payload, SPAN("keep me")));
	memset(h->section.at, 1, EXIPC_SECTION);
	/* A section of another epoch is not sent. */
	assert_int_equal(
		exipc_call(chan, 0, 1, SPAN("x"), &mine, &used, 1, NO_DEADLINE, &reply, &err),
		ST_GONE);
	exipc_reply_free(&h->reply);
}

static void replies_and_sections_outlive_their_store(void **state)
{
	struct killing k;
	struct rig r;
	struct held h = { .rig = &r };

	(void)state;
	killing_up(&k, &r);
	rig_client(&r);
	pid_t store = new_store(&k);
	rig_run(&r, 0, hold, &h);
	rig_reach(&r.states_bound, 1); /* all loops are, not only the one that called */
	kill(store, SIGKILL);
	rig_reach(&r.states_lost, 1);
	store = new_store(&k);
	rig_run(&r, 0, let_go, &h);
	rig_run(&r, 0, call_once, &r);
	killing_down(&k, store);
}

/* ---- clients that lie ---- */

/* Binds by hand and hands its area over. */
static int bind_raw(const char *path, struct area *client, struct area *store, int *fds,
		    unsigned *nfds)
{
	struct hello h = { .magic = EXIPC_MAGIC,
			   .layout = EXIPC_LAYOUT,
			   .kind = HELLO_BIND,
			   .version = RIG_VERSION,
			   .loops = 1,
			   .name = "liar" };
	struct answer a;
	struct err err;
	int sock;

	assert_int_equal(seqpacket_connect(path, false, &sock, &err), ST_OK);
	assert_int_equal(packet_send(sock, &h, sizeof(h), NULL, 0, &err), ST_OK);
	*nfds = ANSWER_FDS;
	assert_int_equal(packet_recv(sock, &a, sizeof(a), fds, nfds, &err), ST_OK);
	assert_int_equal(a.status, ST_OK);
	assert_int_equal(*nfds, 4);
	assert_int_equal(area_map(fds[0], a.area_size, true, client, &err), ST_OK);
	assert_int_equal(area_map(fds[1], a.area_size, false, store, &err), ST_OK);
	return sock;
}

static void the_store_area_cant_be_written_or_cut(void **state)
{
	struct area client, store, more;
	int fds[ANSWER_FDS];
	unsigned nfds;
	struct rig r;
	struct err err;

	(void)state;
	rig_init(&r, 1, 1);
	r.so.bind = any_bind;
	rig_store(&r);
	int sock = bind_raw(r.path, &client, &store, fds, &nfds);
	assert_int_equal(area_map(fds[1], store.size, true, &more, &err), ST_IO);
	assert_int_equal(mprotect(store.head, store.size, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(write(fds[1], "x", 1), -1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ftruncate(fds[i], 0), -1);
		assert_int_equal(ftruncate(fds[i], 1 << 30), -1);
	}
	close(sock);
	rig_reach(&r.unbound_alls, 1);
	area_drop(&client);
	area_drop(&store);
	fds_close(fds, nfds);
	rig_done(&r);
}

static void lies_end_the_binding_and_are_counted(void **state)
{
	enum { ROUNDS = 300 };
	struct exipc_server_figures f;
	unsigned seed = 1, rejected = 0;
	struct rig r;

	(void)state;
	rig_init(&r, 1, 1);
	r.so.bind = any_bind;
	rig_store(&r);
	for (int round = 1; round <= ROUNDS; round++) {
		struct area client, store;
		int fds[ANSWER_FDS];
		unsigned nfds;
		uint64_t bell = 1;
		int sock = bind_raw(r.path, &client, &store, fds, &nfds);
		struct exipc_lane *lane = exipc_lane_at(client.head, 1, 0, 0);
		struct exipc_entry good = {
			.epoch = store.head->epoch, .kind = EXIPC_REQUEST, .call = 1, .len = 16
		};
		char byte;

		/* A sound request or nonsense, then nonsense somewhere in the words and the ring. */
		lane->ring[0] = good;
		for (unsigned i = 0; round % 3 && i < 16; i++)
			((char *)&lane->ring[i])[rand_r(&seed) % 64] = (char)rand_r(&seed);
		if (round % 5 == 0)
			word_set(&lane->returned, (uint64_t)rand_r(&seed));
		word_set(&lane->tail, round % 2 ? 300 : (uint64_t)(1 + rand_r(&seed) % 20));
		assert_int_equal(write(fds[3], &bell, sizeof(bell)), sizeof(bell));
		if (round % 2) { /* a tail too far ahead is always a lie: the store hangs up */
			assert_int_equal(packet_recv(sock, &byte, 1, NULL, NULL, NULL), ST_EOF);
			rejected++;
		}
		close(sock);
		rig_reach(&r.unbound_alls, round);
		area_drop(&client);
		area_drop(&store);
		fds_close(fds, nfds);
	}
	exipc_server_figures(r.server, &f);
	assert_true(f.rejected >= rejected);
	assert_int_equal(f.bound, ROUNDS);
	rig_done(&r);
}

static void *scribble(void *arg)
{
	const struct area *client = arg;
	unsigned seed = 7;

	for (unsigned i = 0; i < 200000; i++) {
		size_t at = (size_t)rand_r(&seed) % (sizeof(struct exipc_head) + 4096 + 64 * 256);

		((volatile char *)client->head)[at] = (char)rand_r(&seed);
	}
	return NULL;
}

/* Everything that the client may write changes all the time, while requests are being read. */
static void scribbling_harms_nobody_else(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r, 1, 1);
	r.so.bind = any_bind;
	rig_store(&r);
	for (int round = 1; round <= 10; round++) {
		struct area client, store, again;
		int fds[ANSWER_FDS];
		unsigned nfds;
		pthread_t scribbler;
		int sock = bind_raw(r.path, &client, &store, fds, &nfds);
		struct exipc_lane *lane = exipc_lane_at(client.head, 1, 0, 0);

		assert_int_equal(area_map(fds[0], client.size, true, &again, NULL), ST_OK);
		assert_int_equal(pthread_create(&scribbler, NULL, scribble, &again), 0);
		for (unsigned i = 0; i < 1000; i++) {
			uint64_t bell = 1;

			lane->ring[i % EXIPC_RING_ENTRIES] =
				(struct exipc_entry){ .epoch = store.head->epoch,
						      .kind = EXIPC_REQUEST,
						      .call = i,
						      .offset = i % 64 * 256,
						      .len = 16 };
			word_set(&lane->tail, i + 1);
			if (write(fds[3], &bell, sizeof(bell)) < 0)
				break;
		}
		pthread_join(scribbler, NULL);
		close(sock);
		rig_reach(&r.unbound_alls, round);
		area_drop(&again);
		area_drop(&client);
		area_drop(&store);
		fds_close(fds, nfds);
	}
	rig_client(&r);
	rig_run(&r, 0, call_once, &r);
	rig_done(&r);
}

static void broken_hellos_are_dropped(void **state)
{
	static const struct {
		const char *name;
		struct hello h;
		size_t len;
	} rows[] = {
		{ "nothing known", { .magic = 1 }, sizeof(struct hello) },
		{ "another layout", { .magic = EXIPC_MAGIC, .layout = 99 }, sizeof(struct hello) },
		{ "no kind",
		  { .magic = EXIPC_MAGIC, .layout = EXIPC_LAYOUT },
		  sizeof(struct hello) },
		{ "too short", { .magic = EXIPC_MAGIC, .layout = EXIPC_LAYOUT, .kind = 1 }, 8 },
	};
	struct rig r;
	struct err err;

	(void)state;
	rig_init(&r, 1, 1);
	rig_store(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int sock;
		char byte;

		print_message("  %s\n", rows[i].name);
		assert_int_equal(seqpacket_connect(r.path, false, &sock, &err), ST_OK);
		assert_int_equal(packet_send(sock, &rows[i].h, rows[i].len, NULL, 0, &err), ST_OK);
		assert_int_equal(packet_recv(sock, &byte, 1, NULL, NULL, NULL), ST_EOF);
		close(sock);
	}
	assert_int_equal(atomic_load(&r.binds), 0);
	rig_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_client_leaves_nothing_behind),
		cmocka_unit_test(calls_of_a_killed_store_end_and_the_client_binds_again),
		cmocka_unit_test(replies_and_sections_outlive_their_store),
		cmocka_unit_test(a_client_may_start_before_anybody_listens),
		cmocka_unit_test(the_store_area_cant_be_written_or_cut),
		cmocka_unit_test(lies_end_the_binding_and_are_counted),
		cmocka_unit_test(scribbling_harms_nobody_else),
		cmocka_unit_test(broken_hellos_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
