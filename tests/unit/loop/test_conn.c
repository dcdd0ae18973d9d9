/* Connections: input, timeouts, being kicked and ended; over local sockets and TCP. */
#include "session.h"

/* ---- lines ---- */

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

static void talks_without_end(struct peer *p)
{
	char bytes[5000];

	memset(bytes, 'x', sizeof(bytes));
	for (int i = 0; i < 4; i++)
		peer_write(p, bytes, sizeof(bytes));
	peer_expect(p, "bye: timeout\n");
	peer_expect_end(p);
}

static void a_session_that_waits_with_a_full_buffer_does_not_spin(void **state)
{
	struct session s = { .serve = echo_lines,
			     .talk = talks_without_end,
			     .wait_for_input = true,
			     .limits = { .in_max = 6000, .idle_ms = 50 } };

	(void)state;
	run_session(&s);
	assert_int_equal(s.state, ST_TIMEOUT);
	assert_in_range(s.runs, 1, 5);
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
	loop_post(kicked->loop, kick_late, NULL);
	peer_expect(p, "run 3\n");
	peer_expect_end(p);
}

static void a_kick_runs_the_session(void **state)
{
	struct session s = { .serve = counts_kicks, .talk = waits_for_three };

	(void)state;
	kicked = &s;
	run_session(&s);
	assert_int_equal(s.runs, 3);
}

static void fills_for_ever(void *arg)
{
	struct session *s = arg;

	s->runs++;
	s->state = conn_fill(s->conn, NO_DEADLINE);
	must(conn_write(s->conn, "x", 1) == ST_IO);
}

static void a_waiting_session_is_ended_from_outside(void **state)
{
	(void)state;
	for (int abort = 0; abort < 2; abort++) {
		struct session s = { .serve = fills_for_ever,
				     .talk = takes_until_end,
				     .step = abort };

		run_on_loop(ended_session_body, &s);
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

		run_on_loop(ended_session_body, &s);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_in_any_pieces),
		cmocka_unit_test(a_half_closed_peer_gets_its_answers),
		cmocka_unit_test(a_session_that_ignores_the_end_is_closed),
		cmocka_unit_test(silence_ends_at_the_idle_time),
		cmocka_unit_test(waiting_for_input_ends_at_deadline_and_idle_time),
		cmocka_unit_test(a_line_without_end_is_too_big),
		cmocka_unit_test(a_session_that_waits_with_a_full_buffer_does_not_spin),
		cmocka_unit_test(a_kick_runs_the_session),
		cmocka_unit_test(a_waiting_session_is_ended_from_outside),
		cmocka_unit_test(an_idle_session_is_ended_from_outside),
		cmocka_unit_test(the_last_reply_is_not_lost_to_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
