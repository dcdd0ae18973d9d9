/* Connections over TLS: handshakes that work and do not, bulk. */
#include "session.h"

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
	must(conn_starttls(s->conn, test_tls, deadline_in_ms(20000), &err) == ST_OK);
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
	s->state = conn_starttls(s->conn, test_tls, deadline_in_ms(s->step), &err);
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

static void resets_in_handshake(struct peer *p)
{
	struct linger now = { 1, 0 };

	peer_write(p, "\x16\x03\x01", 3);
	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(p->fd);
	p->fd = -1;
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
		{ "resets in the middle", resets_in_handshake, 20000, ST_IO },
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

static void a_handshake_is_ended_from_outside(void **state)
{
	(void)state;
	for (int abort = 0; abort < 2; abort++) {
		struct session s = {
			.serve = handshakes, .talk = stops_in_handshake, .step = abort, .tcp = true
		};

		s.step = 20000;
		run_on_loop(ended_session_body, &s);
		assert_int_not_equal(s.state, ST_OK);
	}
}

/* ---- ends under TLS ---- */

static void says_bye_tls(void *arg)
{
	struct session *s = arg;

	if (!conn_is_tls(s->conn)) {
		starts_tls_first(s, says_bye_tls);
		return;
	}
	if (!s->runs++)
		conn_puts(s->conn, "hello\n");
	s->state = conn_fill(s->conn, NO_DEADLINE);
	conn_puts(s->conn, "bye\n");
	conn_drain(s->conn);
	conn_close(s->conn);
}

static void sends_close_notify(struct peer *p)
{
	peer_tls(p);
	peer_expect(p, "hello\n");
	SSL_shutdown(p->ssl);
	shutdown(p->fd, SHUT_WR);
	peer_expect(p, "bye\n");
	peer_expect_end(p);
}

static void ends_without_close_notify(struct peer *p)
{
	peer_tls(p);
	peer_expect(p, "hello\n");
	shutdown(p->fd, SHUT_WR);
	peer_expect(p, "bye\n");
	peer_expect_end(p);
}

static void breaks_the_record_layer(struct peer *p)
{
	peer_tls(p);
	peer_expect(p, "hello\n");
	must(write(p->fd, "this is no TLS record at all", 28) == 28);
	takes_until_end(p);
}

static void resets_tls(struct peer *p)
{
	struct linger now = { 1, 0 };

	peer_tls(p);
	peer_expect(p, "hello\n");
	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(p->fd);
	p->fd = -1;
	SSL_set_quiet_shutdown(p->ssl, 1);
}

static void every_end_under_tls_is_told(void **state)
{
	static const struct {
		const char *name;
		void (*talk)(struct peer *p);
		enum st want;
	} rows[] = {
		{ "close_notify", sends_close_notify, ST_EOF },
		{ "no close_notify", ends_without_close_notify, ST_EOF },
		{ "garbage", breaks_the_record_layer, ST_IO },
		{ "a reset", resets_tls, ST_IO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session s = { .serve = says_bye_tls, .talk = rows[i].talk, .tcp = true };

		run_session(&s);
		if (s.state != rows[i].want)
			fail_msg("%s: %s", rows[i].name, st_name(s.state));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bulk_comes_in_whole),
		cmocka_unit_test(lines_come_in_any_pieces_over_tls),
		cmocka_unit_test(plain_text_before_the_handshake_is_thrown_away),
		cmocka_unit_test(a_failed_handshake_ends_the_connection),
		cmocka_unit_test(a_handshake_is_ended_from_outside),
		cmocka_unit_test(every_end_under_tls_is_told),
	};

	return cmocka_run_group_tests(tests, test_tls_make, test_tls_free);
}
