/* Connections: input, output, closing, timeouts, TLS; over local sockets and TCP. */
#include "loop/conn.h"
#include "loop/sanitize.h"
#include "peer.h"

#include <malloc.h>
#include <stdatomic.h>
#include <sys/resource.h>

/* One connection under test: the server side runs `serve` on the test's loop, the peer `talk` on a
 * thread; the test ends when both have. */
struct session {
	struct conn *conn;
	struct conn_limits limits;
	void (*serve)(void *session);
	void (*talk)(struct peer *peer);
	bool tcp, wait_for_input;

	struct peer peer;
	pthread_t thread;
	struct fiber *waiter;
	atomic_bool talked;
	int gone;

	/* for the serving functions */
	int runs, sent_calls, step;
	enum st state;
	int file;
	size_t len;
	struct tls *tls;
};

static struct tls *tls;

static void gone(void *owner)
{
	struct session *s = owner;

	must(!fiber_self());
	s->gone++;
	fiber_wake(s->waiter);
}

static void *talk(void *arg)
{
	struct session *s = arg;

	s->talk(&s->peer);
	atomic_store(&s->talked, true);
	return NULL;
}

static void session_body(void *arg)
{
	struct session *s = arg;
	struct err err;
	int fd;

	s->waiter = fiber_self();
	s->file = s->file ? s->file : -1;
	(s->tcp ? peer_tcp : peer_socketpair)(&s->peer, &fd);
	must(conn_new(fd, &s->limits, s, gone, &s->conn, &err) == ST_OK);
	conn_serve(s->conn, s->serve, !s->wait_for_input);
	must(pthread_create(&s->thread, NULL, talk, s) == 0);
	while (!s->gone)
		must(fiber_park(deadline_in_ms(60000)));
	/* The peer ends by itself once the connection is gone. */
	pthread_join(s->thread, NULL);
	must(s->gone == 1);
	peer_close(&s->peer);
}

static void run_session(struct session *s)
{
	run_on_loop(session_body, s);
}

/* ---- lines ---- */

/* Answer each line with itself in brackets, until "quit"; return to idle between lines. */
static void echo_lines(void *arg)
{
	struct session *s = arg;

	s->runs++;
	for (;;) {
		struct span in = conn_input(s->conn), line = span_cut(in, span_find(in, '\n'));

		if (line.len == in.len) {
			enum st st = conn_input_state(s->conn);

			if (st == ST_OK)
				return;
			s->state = st;
			conn_printf(s->conn, "bye: %s\n", st_name(st));
			conn_close(s->conn);
			return;
		}
		bool quit = span_eq(line, SPAN("quit"));
		conn_printf(s->conn, "[" SPAN_FMT "]\n", SPAN_ARG(line));
		conn_consume(s->conn, line.len + 1);
		if (quit) {
			conn_close(s->conn);
			must(conn_write(s->conn, "x", 1) == ST_IO);
			must(conn_fill(s->conn, NO_DEADLINE) == ST_EOF);
			return;
		}
	}
}

static void talk_lines(struct peer *p)
{
	peer_say(p, "one\n");
	peer_expect(p, "[one]\n");
	peer_say(p, "two\nthree\nfo"); /* pipelined, and a part */
	peer_expect(p, "[two]\n[three]\n");
	for (const char *c = "ur\nquit\n"; *c; c++) {
		peer_write(p, c, 1);
		usleep(500);
	}
	peer_expect(p, "[four]\n[quit]\n");
	peer_expect_end(p);
}

static void lines_come_in_any_pieces(void **state)
{
	struct session s = { .serve = echo_lines, .talk = talk_lines, .wait_for_input = true };

	(void)state;
	run_session(&s);
	must(s.runs >= 3);
	s = (struct session){ .serve = echo_lines, .talk = talk_lines, .tcp = true };
	run_session(&s);
}

static void talk_and_end(struct peer *p)
{
	peer_say(p, "one\ntwo\n");
	shutdown(p->fd, SHUT_WR); /* what was said must be answered all the same */
	peer_expect(p, "[one]\n[two]\nbye: eof\n");
	peer_expect_end(p);
}

static void a_half_closed_peer_gets_its_answers(void **state)
{
	struct session s = { .serve = echo_lines, .talk = talk_and_end, .tcp = true };

	(void)state;
	run_session(&s);
	assert_int_equal(s.state, ST_EOF);
}

static void never_reads(void *arg)
{
	struct session *s = arg;

	s->runs++;
}

static void just_end(struct peer *p)
{
	shutdown(p->fd, SHUT_WR);
	peer_expect_end(p);
}

static void a_session_that_ignores_the_end_is_closed(void **state)
{
	struct session s = { .serve = never_reads, .talk = just_end };

	(void)state;
	run_session(&s);
	must(s.runs >= 1);
}

static void talk_nothing(struct peer *p)
{
	peer_expect(p, "bye: timeout\n");
	peer_expect_end(p);
}

static void silence_ends_at_the_idle_time(void **state)
{
	struct session s = { .serve = echo_lines,
			     .talk = talk_nothing,
			     .wait_for_input = true,
			     .limits = { .idle_ms = 30 } };
	int64_t start = clock_mono();

	(void)state;
	run_session(&s);
	assert_int_equal(s.state, ST_TIMEOUT);
	assert_int_equal(s.runs, 1);
	assert_true(clock_mono() - start >= 30 * NS_PER_MS);
}

static void waits_in_fill(void *arg)
{
	struct session *s = arg;
	int64_t deadline = s->step ? deadline_in_ms(20) : NO_DEADLINE;

	s->state = conn_fill(s->conn, deadline);
	must(conn_fill(s->conn, NO_DEADLINE) == s->state); /* for good */
	conn_printf(s->conn, "bye: %s\n", st_name(conn_input_state(s->conn)));
	conn_close(s->conn);
}

static void waiting_for_input_ends_at_deadline_and_idle_time(void **state)
{
	(void)state;
	for (int deadline = 0; deadline < 2; deadline++) {
		struct session s = { .serve = waits_in_fill,
				     .talk = talk_nothing,
				     .step = deadline,
				     .limits = { .idle_ms = deadline ? 10000 : 20 } };

		run_session(&s);
		assert_int_equal(s.state, ST_TIMEOUT);
	}
}

static void fills_up(void *arg)
{
	struct session *s = arg;
	enum st st;

	while ((st = conn_fill(s->conn, NO_DEADLINE)) == ST_OK)
		must(conn_input(s->conn).len <= 10000);
	s->state = st;
	must(conn_input(s->conn).len == 10000);
	for (size_t i = 0; i < 10000; i++)
		must(conn_input(s->conn).at[i] == pattern(i));
	/* With room again it goes on where it was. */
	conn_consume(s->conn, 9000);
	must(conn_fill(s->conn, NO_DEADLINE) == ST_OK);
	for (size_t i = 0; i < conn_input(s->conn).len; i++)
		must(conn_input(s->conn).at[i] == pattern(9000 + i));
	conn_abort(s->conn);
}

static void talk_much(struct peer *p)
{
	char bytes[20000];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern(i);
	peer_write(p, bytes, sizeof(bytes));
	char c;
	must(read(p->fd, &c, 1) <= 0);
}

static void a_line_without_end_is_too_big(void **state)
{
	struct session s = {
		.serve = fills_up, .talk = talk_much, .tcp = true, .limits = { .in_max = 10000 }
	};

	(void)state;
	run_session(&s);
	assert_int_equal(s.state, ST_TOOBIG);
}

/* ---- bulk input ---- */

#define BULK (3 * 1024 * 1024 + 17)

static void takes_bulk(void *arg)
{
	struct session *s = arg;
	static char out[10007];
	size_t at = 0, got;

	while (at < BULK) {
		/* Both ways to take bytes, in turns. */
		if (at / 100000 % 2) {
			must(conn_read(s->conn, out, sizeof(out), &got, NO_DEADLINE) == ST_OK);
			for (size_t i = 0; i < got; i++)
				must(out[i] == pattern(at + i));
		} else {
			if (!conn_input(s->conn).len)
				must(conn_fill(s->conn, NO_DEADLINE) == ST_OK);
			struct span in = conn_input(s->conn);
			got = in.len > 777 ? in.len - 777 : in.len;
			for (size_t i = 0; i < got; i++)
				must(in.at[i] == pattern(at + i));
			conn_consume(s->conn, got);
		}
		at += got;
	}
	struct conn_stats stats;
	conn_get_stats(s->conn, &stats);
	must(stats.in == BULK && at == BULK);
	conn_puts(s->conn, "thanks\n");
	conn_close(s->conn);
}

static void gives_bulk(struct peer *p)
{
	static char bytes[BULK];

	for (size_t i = 0; i < BULK; i++)
		bytes[i] = pattern(i);
	for (size_t at = 0, n = 1; at < BULK; at += n, n = n * 3 % 100000) {
		if (n > BULK - at)
			n = BULK - at;
		peer_write(p, bytes + at, n);
	}
	peer_expect(p, "thanks\n");
	peer_expect_end(p);
}

static void starts_tls_first(void *arg, void (*then)(void *arg))
{
	struct session *s = arg;
	struct err err = { 0 };

	if (conn_starttls(s->conn, tls, deadline_in_ms(20000), &err) != ST_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	must(conn_is_tls(s->conn));
	must(strncmp(conn_tls_text(s->conn), "TLSv1.3 TLS_", 12) == 0);
	conn_serve(s->conn, then, false);
	then(s);
}

static void takes_bulk_tls(void *arg)
{
	starts_tls_first(arg, takes_bulk);
}

static void gives_bulk_tls(struct peer *p)
{
	peer_tls(p);
	gives_bulk(p);
}

static void bulk_comes_in_whole(void **state)
{
	struct session s = { .serve = takes_bulk, .talk = gives_bulk, .tcp = true };

	(void)state;
	run_session(&s);
	s = (struct session){ .serve = takes_bulk_tls, .talk = gives_bulk_tls, .tcp = true };
	run_session(&s);
}

static void echo_lines_tls(void *arg)
{
	starts_tls_first(arg, echo_lines);
}

static void talk_lines_tls(struct peer *p)
{
	peer_tls(p);
	talk_lines(p);
}

static void lines_come_in_any_pieces_over_tls(void **state)
{
	struct session s = { .serve = echo_lines_tls, .talk = talk_lines_tls, .tcp = true };

	(void)state;
	run_session(&s);
}

/* ---- output ---- */

static void count_sent(void *arg)
{
	struct session *s = arg;

	must(!fiber_self());
	s->sent_calls++;
}

#define SLOW_BYTES (2 * 1024 * 1024)

static void writes_much(void *arg)
{
	struct session *s = arg;
	char bytes[5000];

	for (size_t at = 0; at < SLOW_BYTES; at += sizeof(bytes)) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = pattern(at + i);
		must(conn_write(s->conn, bytes, sizeof(bytes)) == ST_OK);
		/* Back-pressure: never much more than out_high in memory. */
		must(mallinfo2().uordblks < 64 * 1024 * 1024);
		struct conn_stats stats;
		conn_get_stats(s->conn, &stats);
		must(at < stats.out + 20000 + sizeof(bytes) + 16384);
	}
	conn_on_sent(s->conn, count_sent, s);
	must(conn_drain(s->conn) == ST_OK);
	fiber_yield();
	must(s->sent_calls == 1);
	conn_close(s->conn);
}

static void reads_slowly(struct peer *p)
{
	static char bytes[30000];
	size_t at = 0;
	ssize_t n;

	while ((n = peer_read(p, bytes, sizeof(bytes))) > 0) {
		for (ssize_t i = 0; i < n; i++, at++)
			must(bytes[i] == pattern(at));
		if (at < 400000)
			usleep(1000);
	}
	must(at >= SLOW_BYTES);
}

static void writes_much_tls(void *arg)
{
	starts_tls_first(arg, writes_much);
}

static void reads_slowly_tls(struct peer *p)
{
	peer_tls(p);
	reads_slowly(p);
}

static void a_slow_reader_holds_the_writer_back(void **state)
{
	struct session s = { .serve = writes_much,
			     .talk = reads_slowly,
			     .limits = { .out_high = 20000 } };

	(void)state;
	run_session(&s);
	s = (struct session){ .serve = writes_much_tls,
			      .talk = reads_slowly_tls,
			      .tcp = true,
			      .limits = { .out_high = 20000 } };
	run_session(&s);
}

static void writes_and_returns(void *arg)
{
	struct session *s = arg;

	s->runs++;
	if (conn_input_state(s->conn) != ST_OK) {
		s->state = conn_input_state(s->conn);
		conn_close(s->conn);
		return;
	}
	for (int i = 0; i < 100; i++) {
		char bytes[20000] = { 0 };

		conn_on_sent(s->conn, count_sent, s);
		if (conn_write(s->conn, bytes, sizeof(bytes)) != ST_OK)
			return;
	}
	conn_on_sent(s->conn, count_sent, s);
}

static atomic_bool over;

static void reads_nothing(struct peer *p)
{
	(void)p;
	while (!atomic_load(&over))
		usleep(1000);
}

static void over_now(void *arg)
{
	count_sent(arg);
	atomic_store(&over, true);
}

static void waits_for_ever(void *arg)
{
	struct session *s = arg;

	conn_on_sent(s->conn, over_now, s);
	writes_and_returns(arg);
	atomic_store(&over, true);
}

static void a_peer_that_takes_nothing_fails(void **state)
{
	/* While the writer waits, and after it has returned with a little output left. */
	struct session s = { .serve = waits_for_ever,
			     .talk = reads_nothing,
			     .limits = { .write_ms = 50 } };

	(void)state;
	atomic_store(&over, false);
	run_session(&s);
	assert_int_equal(s.state, ST_TIMEOUT);
	assert_int_equal(s.runs, 2);
	assert_true(s.sent_calls > 1);
	s = (struct session){ .serve = waits_for_ever,
			      .talk = reads_nothing,
			      .limits = { .write_ms = 50, .out_high = 10000000 } };
	atomic_store(&over, false);
	run_session(&s);
	assert_int_equal(s.sent_calls, 103);
}

static void resets(struct peer *p)
{
	struct linger now = { 1, 0 };
	char c;

	must(read(p->fd, &c, 1) == 1);
	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(p->fd);
	p->fd = -1;
}

static void writes_until_reset(void *arg)
{
	struct session *s = arg;
	char bytes[20000] = { 0 };

	conn_on_sent(s->conn, count_sent, s);
	s->state = ST_OK;
	while (s->state == ST_OK) {
		s->state = conn_write(s->conn, bytes, sizeof(bytes));
		conn_on_sent(s->conn, count_sent, s);
		s->runs++;
	}
	must(conn_write(s->conn, "x", 1) == ST_IO);
	must(conn_drain(s->conn) == ST_IO);
	must(conn_input_state(s->conn) == ST_IO);
	conn_on_sent(s->conn, count_sent, s); /* called even now */
	conn_close(s->conn);
}

static void a_reset_while_the_writer_waits(void **state)
{
	struct session s = { .serve = writes_until_reset, .talk = resets, .tcp = true };

	(void)state;
	run_session(&s);
	assert_int_equal(s.state, ST_IO);
	assert_int_equal(s.sent_calls, s.runs + 2);
}

/* ---- files ---- */

#define FILE_BYTES (5 * 1024 * 1024 + 123)

static void sends_file(void *arg)
{
	struct session *s = arg;
	struct conn_stats stats;

	must(conn_puts(s->conn, "file: ") == ST_OK);
	conn_on_sent(s->conn, count_sent, s);
	/* In ranges of many sizes, with bytes between them. */
	for (size_t at = 0, n = 1; at < s->len; at += n, n = n * 5 % 999983) {
		if (n > s->len - at)
			n = s->len - at;
		must(conn_send_file(s->conn, s->file, (int64_t)at, n) == ST_OK);
		conn_on_sent(s->conn, count_sent, s);
		must(conn_puts(s->conn, "|") == ST_OK);
		s->runs++;
	}
	must(conn_drain(s->conn) == ST_OK);
	fiber_yield();
	must(s->sent_calls == s->runs + 1);
	conn_get_stats(s->conn, &stats);
	must(stats.out == s->len + 6 + (size_t)s->runs);
	must(stats.copied_bytes + stats.sendfile_bytes == stats.out);
	must(conn_is_tls(s->conn) == (stats.sendfile_bytes == 0));
	conn_close(s->conn);
}

static void takes_file(struct peer *p)
{
	static char bytes[100000];
	size_t at = 0, n = 1;
	char c;

	peer_expect(p, "file: ");
	for (; at < FILE_BYTES; at += n, n = n * 5 % 999983) {
		if (n > FILE_BYTES - at)
			n = FILE_BYTES - at;
		for (size_t got = 0; got < n;) {
			size_t want = n - got < sizeof(bytes) ? n - got : sizeof(bytes);
			ssize_t r = peer_read(p, bytes, want);

			must(r > 0);
			for (ssize_t i = 0; i < r; i++)
				must(bytes[i] == pattern(at + got + (size_t)i));
			got += (size_t)r;
		}
		must(peer_read(p, &c, 1) == 1 && c == '|');
	}
	peer_expect_end(p);
}

static void sends_file_tls(void *arg)
{
	starts_tls_first(arg, sends_file);
}

static void takes_file_tls(struct peer *p)
{
	peer_tls(p);
	takes_file(p);
}

static void ranges_of_files_arrive_whole(void **state)
{
	int file = pattern_file(FILE_BYTES);

	(void)state;
	for (int round = 0; round < 4; round++) {
		struct session s = { .serve = round % 2 ? sends_file_tls : sends_file,
				     .talk = round % 2 ? takes_file_tls : takes_file,
				     .tcp = true,
				     .file = file,
				     .len = FILE_BYTES };

		if (round >=
		    2) { /* cold: through the work pool, where the file system plays along */
			fsync(file);
			posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
		}
		run_session(&s);
	}
	close(file);
}

static void sends_too_much(void *arg)
{
	struct session *s = arg;

	conn_send_file(s->conn, s->file, 50000, 60000);
	conn_on_sent(s->conn, count_sent, s);
	s->state = conn_drain(s->conn);
	conn_close(s->conn);
}

static void takes_until_end(struct peer *p)
{
	char bytes[1000];

	while (peer_read(p, bytes, sizeof(bytes)) > 0)
		continue;
}

static void a_file_that_is_shorter_than_said_breaks_the_connection(void **state)
{
	struct session s = { .serve = sends_too_much, .talk = takes_until_end, .tcp = true };

	(void)state;
	s.file = pattern_file(100000);
	run_session(&s);
	assert_int_equal(s.state, ST_IO);
	assert_int_equal(s.sent_calls, 1);
	close(s.file);
}

static void abort_it(void *arg)
{
	conn_abort(((struct session *)arg)->conn);
}

static struct timer abort_timer;

/* Aborted at any moment of sending, while the pool may be reading. */
static void sends_until_aborted(void *arg)
{
	struct session *s = arg;

	conn_on_sent(s->conn, count_sent, s);
	s->runs++;
	timer_set(&abort_timer, clock_mono() + s->step * 20000LL, abort_it, s);
	while (conn_send_file(s->conn, s->file, 0, s->len) == ST_OK) {
		conn_on_sent(s->conn, count_sent, s);
		s->runs++;
		posix_fadvise(s->file, 0, 0, POSIX_FADV_DONTNEED);
	}
	must(conn_drain(s->conn) == ST_IO);
}

static void an_abort_while_files_are_read(void **state)
{
	int file = pattern_file(1000000);

	(void)state;
	fsync(file);
	for (int i = 0; i < 60; i++) {
		struct session s = { .serve = sends_until_aborted,
				     .talk = takes_until_end,
				     .file = file,
				     .len = 1000000,
				     .step = i };

		posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
		run_session(&s);
		assert_int_equal(s.sent_calls, s.runs);
	}
	close(file);
}

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

/* ---- kicks and ends from outside ---- */

static void counts_kicks(void *arg)
{
	struct session *s = arg;

	s->runs++;
	conn_printf(s->conn, "run %d\n", s->runs);
	if (s->runs == 1)
		conn_kick(s->conn); /* while it serves: remembered, once */
	if (s->runs == 1)
		conn_kick(s->conn);
	if (s->runs == 3)
		conn_close(s->conn);
}

static struct session *kicked;

static void kick_late(void *arg)
{
	(void)arg;
	conn_kick(kicked->conn);
}

static void waits_for_three(struct peer *p)
{
	peer_expect(p, "run 1\nrun 2\n");
	loop_post(kicked->conn ? (struct loop *)kicked->tls : NULL, kick_late, NULL);
	peer_expect(p, "run 3\n");
	peer_expect_end(p);
}

static void kick_body(void *arg)
{
	struct session *s = arg;

	/* The peer's thread needs the loop: kept where nothing else is in this test. */
	s->tls = (struct tls *)loop_self();
	session_body(s);
}

static void a_kick_runs_the_session(void **state)
{
	struct session s = { .serve = counts_kicks, .talk = waits_for_three };

	(void)state;
	kicked = &s;
	run_on_loop(kick_body, &s);
	assert_int_equal(s.runs, 3);
}

static void fills_for_ever(void *arg)
{
	struct session *s = arg;

	s->runs++;
	s->state = conn_fill(s->conn, NO_DEADLINE);
	must(conn_write(s->conn, "x", 1) == ST_IO);
}

static struct timer end_timer;

static void end_it(void *arg)
{
	struct session *s = arg;

	(s->step ? conn_abort : conn_close)(s->conn);
	(s->step ? conn_abort : conn_close)(s->conn); /* again is nothing */
}

static void end_body(void *arg)
{
	struct session *s = arg;

	timer_set(&end_timer, deadline_in_ms(10), end_it, s);
	session_body(s);
}

static void a_waiting_session_is_ended_from_outside(void **state)
{
	(void)state;
	for (int abort = 0; abort < 2; abort++) {
		struct session s = { .serve = fills_for_ever,
				     .talk = takes_until_end,
				     .step = abort };

		run_on_loop(end_body, &s);
		assert_int_equal(s.state, abort ? ST_IO : ST_EOF);
	}
}

static void an_idle_session_is_ended_from_outside(void **state)
{
	(void)state;
	for (int abort = 0; abort < 2; abort++) {
		struct session s = { .serve = fills_for_ever,
				     .talk = takes_until_end,
				     .step = abort,
				     .wait_for_input = true };

		run_on_loop(end_body, &s);
		assert_int_equal(s.runs, 0);
	}
}

static void says_sorry(void *arg)
{
	struct session *s = arg;

	conn_puts(s->conn, "421 too much\n");
	conn_close(s->conn);
}

static void talks_on(struct peer *p)
{
	static char waste[300000];

	/* All of it unread by the server, part of it sent after its end. */
	for (int i = 0; i < 5; i++) {
		if (send(p->fd, waste, sizeof(waste) / 5, MSG_NOSIGNAL) < 0)
			break;
		usleep(2000);
	}
	peer_expect(p, "421 too much\n");
	peer_expect_end(p);
	shutdown(p->fd, SHUT_WR);
}

static void the_last_reply_is_not_lost_to_a_reset(void **state)
{
	struct session s = { .serve = says_sorry, .talk = talks_on, .tcp = true };

	(void)state;
	run_session(&s);
}

/* ---- STARTTLS ---- */

static void offers_starttls(void *arg)
{
	struct session *s = arg;
	struct err err;

	while (conn_input(s->conn).len < strlen("starttls\nplain\n"))
		must(conn_fill(s->conn, NO_DEADLINE) == ST_OK);
	must(!conn_is_tls(s->conn) && !*conn_tls_text(s->conn));
	conn_consume(s->conn, strlen("starttls\n"));
	conn_puts(s->conn, "go\n");
	must(conn_starttls(s->conn, tls, deadline_in_ms(20000), &err) == ST_OK);
	must(conn_input(s->conn).len == 0);
	conn_serve(s->conn, echo_lines, false);
}

static void injects_plain(struct peer *p)
{
	peer_say(p, "starttls\nplain\n");
	peer_expect(p, "go\n");
	peer_tls(p);
	peer_say(p, "secret\n");
	peer_expect(p, "[secret]\n");
	peer_say(p, "quit\n");
	peer_expect(p, "[quit]\n");
	peer_expect_end(p);
}

static void plain_text_before_the_handshake_is_thrown_away(void **state)
{
	struct session s = { .serve = offers_starttls, .talk = injects_plain, .tcp = true };

	(void)state;
	run_session(&s);
}

static void handshakes(void *arg)
{
	struct session *s = arg;
	struct err err = { 0 };

	conn_on_sent(s->conn, count_sent, s);
	s->state = conn_starttls(s->conn, tls, deadline_in_ms(s->step), &err);
	must(err.text[0] && err.st == s->state);
	must(conn_write(s->conn, "x", 1) != ST_OK);
	must(conn_fill(s->conn, NO_DEADLINE) != ST_OK);
	if (s->len)
		conn_close(s->conn);
}

static void talks_garbage(struct peer *p)
{
	peer_say(p, "EHLO what is TLS\r\n");
	takes_until_end(p);
}

static void ends_in_handshake(struct peer *p)
{
	peer_write(p, "\x16\x03\x01", 3);
	shutdown(p->fd, SHUT_WR);
	takes_until_end(p);
}

static void stops_in_handshake(struct peer *p)
{
	peer_write(p, "\x16\x03\x01", 3);
	takes_until_end(p);
}

static void a_failed_handshake_ends_the_connection(void **state)
{
	static const struct {
		const char *name;
		void (*talk)(struct peer *p);
		int ms;
		enum st want;
	} rows[] = {
		{ "no TLS at all", talks_garbage, 20000, ST_IO },
		{ "ends in the middle", ends_in_handshake, 20000, ST_IO },
		{ "stops in the middle", stops_in_handshake, 30, ST_TIMEOUT },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		struct session s = { .serve = handshakes,
				     .talk = rows[i / 2].talk,
				     .step = rows[i / 2].ms,
				     .len = i % 2,
				     .tcp = true };

		run_session(&s);
		if (s.state != rows[i / 2].want)
			fail_msg("%s: %s", rows[i / 2].name, st_name(s.state));
		/* A session that does not close is told once more. */
		assert_int_equal(s.sent_calls, s.len ? 1 : 2);
	}
}

static void closed_in_handshake_body(void *arg)
{
	end_body(arg);
}

static void a_handshake_is_ended_from_outside(void **state)
{
	(void)state;
	for (int abort = 0; abort < 2; abort++) {
		struct session s = {
			.serve = handshakes, .talk = stops_in_handshake, .step = abort, .tcp = true
		};

		s.step = 20000;
		run_on_loop(closed_in_handshake_body, &s);
		assert_int_not_equal(s.state, ST_OK);
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_in_any_pieces),
		cmocka_unit_test(lines_come_in_any_pieces_over_tls),
		cmocka_unit_test(a_half_closed_peer_gets_its_answers),
		cmocka_unit_test(a_session_that_ignores_the_end_is_closed),
		cmocka_unit_test(silence_ends_at_the_idle_time),
		cmocka_unit_test(waiting_for_input_ends_at_deadline_and_idle_time),
		cmocka_unit_test(a_line_without_end_is_too_big),
		cmocka_unit_test(bulk_comes_in_whole),
		cmocka_unit_test(a_slow_reader_holds_the_writer_back),
		cmocka_unit_test(a_peer_that_takes_nothing_fails),
		cmocka_unit_test(a_reset_while_the_writer_waits),
		cmocka_unit_test(ranges_of_files_arrive_whole),
		cmocka_unit_test(a_file_that_is_shorter_than_said_breaks_the_connection),
		cmocka_unit_test(an_abort_while_files_are_read),
		cmocka_unit_test(five_thousand_idle_connections_are_small),
		cmocka_unit_test(a_connection_waits_for_a_fiber),
		cmocka_unit_test(a_kick_runs_the_session),
		cmocka_unit_test(a_waiting_session_is_ended_from_outside),
		cmocka_unit_test(an_idle_session_is_ended_from_outside),
		cmocka_unit_test(the_last_reply_is_not_lost_to_a_reset),
		cmocka_unit_test(plain_text_before_the_handshake_is_thrown_away),
		cmocka_unit_test(a_failed_handshake_ends_the_connection),
		cmocka_unit_test(a_handshake_is_ended_from_outside),
		cmocka_unit_test(a_listener_accepts_pauses_and_ends),
	};
	char dir[] = "/tmp/mailroot-test-XXXXXX", cert[64], key[64];
	struct err err = { 0 };

	must(mkdtemp(dir) != NULL);
	snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	must(tls_self_signed(cert, key, "test.example", &err) == ST_OK);
	must(tls_server_new(cert, key, &tls, &err) == ST_OK);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	tls_free(tls);
	unlink(cert);
	unlink(key);
	rmdir(dir);
	return failed;
}
