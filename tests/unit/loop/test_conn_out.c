/* Connections: output, ranges of files, back-pressure, breaking off. */
#include "session.h"

#include <malloc.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/uio.h>

/* ---- output ---- */

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

/* ---- what is left when the session has returned ---- */

static void writes_and_closes(void *arg)
{
	struct session *s = arg;
	char bytes[5000];

	for (size_t at = 0; at < SLOW_BYTES; at += sizeof(bytes)) {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = pattern(at + i);
		must(conn_write(s->conn, bytes, sizeof(bytes)) == ST_OK);
	}
	conn_on_sent(s->conn, count_sent, s);
	must(!s->sent_calls);
	conn_close(s->conn);
}

static void what_is_queued_at_the_close_still_arrives(void **state)
{
	struct session s = { .serve = writes_and_closes,
			     .talk = reads_slowly,
			     .limits = { .out_high = 4 * SLOW_BYTES, .write_ms = 10000 } };

	(void)state;
	run_session(&s);
	assert_int_equal(s.sent_calls, 1);
}

static void writes_then_goes_idle(void *arg)
{
	struct session *s = arg;

	if (++s->runs == 1) {
		writes_and_returns(s);
		s->runs = 1;
		return;
	}
	/* Not before all has left: that took longer than the idle time. */
	must(s->sent_calls == 101);
	s->state = conn_input_state(s->conn);
	conn_close(s->conn);
}

static void reads_two_megabytes_slowly(struct peer *p)
{
	static char bytes[50000];

	for (size_t at = 0; at < 100 * 20000;) {
		ssize_t n = peer_read(p, bytes, sizeof(bytes));

		must(n > 0);
		at += (size_t)n;
		usleep(2000);
	}
	takes_until_end(p);
}

static void idle_time_begins_when_the_output_has_left(void **state)
{
	struct session s = { .serve = writes_then_goes_idle,
			     .talk = reads_two_megabytes_slowly,
			     .limits = { .out_high = 4 * SLOW_BYTES, .idle_ms = 30 } };

	(void)state;
	run_session(&s);
	assert_int_equal(s.state, ST_TIMEOUT);
	assert_int_equal(s.runs, 2);
}

static void prints_long(void *arg)
{
	struct session *s = arg;

	must(conn_printf(s->conn, "%s %d", "short", 1) == ST_OK);
	must(conn_printf(s->conn, "%3000d|", 7) == ST_OK);
	conn_close(s->conn);
}

static void hears_long(struct peer *p)
{
	char bytes[3001];

	peer_expect(p, "short 1");
	for (size_t at = 0; at < sizeof(bytes);) {
		ssize_t n = peer_read(p, bytes + at, sizeof(bytes) - at);

		must(n > 0);
		at += (size_t)n;
	}
	must(bytes[2998] == ' ' && bytes[2999] == '7' && bytes[3000] == '|');
	peer_expect_end(p);
}

static void prints_of_any_length(void **state)
{
	struct session s = { .serve = prints_long, .talk = hears_long };

	(void)state;
	run_session(&s);
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

static void sends_too_much_tls(void *arg)
{
	starts_tls_first(arg, sends_too_much);
}

static void takes_until_end_tls(struct peer *p)
{
	peer_tls(p);
	takes_until_end(p);
}

static void a_file_that_is_shorter_than_said_breaks_the_connection(void **state)
{
	int file = pattern_file(100000);

	(void)state;
	for (int with_tls = 0; with_tls < 2; with_tls++) {
		struct session s = { .serve = with_tls ? sends_too_much_tls : sends_too_much,
				     .talk = with_tls ? takes_until_end_tls : takes_until_end,
				     .tcp = true,
				     .file = file };

		run_session(&s);
		assert_int_equal(s.state, ST_IO);
		assert_int_equal(s.sent_calls, 1);
	}
	close(file);
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

/* The pool's only thread, held until the connection has been aborted. */
static sem_t held;

static void hold_the_pool(void *arg)
{
	(void)arg;
	while (sem_wait(&held) < 0)
		continue;
}

static void no_call_yet(void *arg)
{
	struct session *s = arg;

	/* The file is still to be read by the pool: its owner may not have been told otherwise. */
	must(s->sent_calls == 0);
	sem_post(&held);
}

static void sends_cold(void *arg)
{
	struct session *s = arg;

	work_submit(hold_the_pool, NULL, NULL);
	conn_send_file(s->conn, s->file, 0, s->len);
	conn_on_sent(s->conn, count_sent, s);
	conn_flush(s->conn);
	conn_abort(s->conn);
	fiber_yield();
	no_call_yet(s);
}

static void an_abort_waits_for_the_pool_to_let_go_of_the_file(void **state)
{
	int file = pattern_file(1000000);
	struct session s = {
		.serve = sends_cold, .talk = takes_until_end, .file = file, .len = 1000000
	};

	(void)state;
	fsync(file);
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	char c;
	if (preadv2(file, &(struct iovec){ &c, 1 }, 1, 0, RWF_NOWAIT) >= 0 || errno != EAGAIN)
		skip(); /* this file system keeps everything in memory */
	assert_int_equal(sem_init(&held, 0, 0), 0);
	work_start(1);
	run_session(&s);
	assert_int_equal(s.sent_calls, 1);
	close(file);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slow_reader_holds_the_writer_back),
		cmocka_unit_test(a_peer_that_takes_nothing_fails),
		cmocka_unit_test(a_reset_while_the_writer_waits),
		cmocka_unit_test(what_is_queued_at_the_close_still_arrives),
		cmocka_unit_test(idle_time_begins_when_the_output_has_left),
		cmocka_unit_test(prints_of_any_length),
		cmocka_unit_test(ranges_of_files_arrive_whole),
		cmocka_unit_test(a_file_that_is_shorter_than_said_breaks_the_connection),
		cmocka_unit_test(an_abort_waits_for_the_pool_to_let_go_of_the_file),
		cmocka_unit_test(an_abort_while_files_are_read),
	};

	return cmocka_run_group_tests(tests, test_tls_make, test_tls_free);
}
