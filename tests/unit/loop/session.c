/* session.c - the two ends of a connection under test; see session.h. */
#include "session.h"

struct tls *test_tls;

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
	return NULL;
}

void session_body(void *arg)
{
	struct session *s = arg;
	struct err err;
	int fd;

	s->waiter = fiber_self();
	s->loop = loop_self();
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

void run_session(struct session *s)
{
	run_on_loop(session_body, s);
}

static void end_it(void *arg)
{
	struct session *s = arg;

	(s->step ? conn_abort : conn_close)(s->conn);
	(s->step ? conn_abort : conn_close)(s->conn); /* again is nothing */
}

void ended_session_body(void *arg)
{
	static struct timer timer;
	struct session *s = arg;

	timer_set(&timer, deadline_in_ms(10), end_it, s);
	session_body(s);
}

/* ---- pieces ---- */

/* Answer each line with itself in brackets, until "quit"; return to idle between lines. */
void echo_lines(void *arg)
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

void talk_lines(struct peer *p)
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

void count_sent(void *arg)
{
	struct session *s = arg;

	must(!fiber_self());
	s->sent_calls++;
}

void takes_until_end(struct peer *p)
{
	char bytes[1000];

	while (peer_read(p, bytes, sizeof(bytes)) > 0)
		continue;
}

void starts_tls_first(void *arg, void (*then)(void *arg))
{
	struct session *s = arg;
	struct err err = { 0 };

	if (conn_starttls(s->conn, test_tls, deadline_in_ms(20000), &err) != ST_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	must(conn_is_tls(s->conn));
	must(strncmp(conn_tls_text(s->conn), "TLSv1.3 TLS_", 12) == 0);
	conn_serve(s->conn, then, false);
	then(s);
}

/* ---- certificates ---- */

int test_tls_make(void **state)
{
	char dir[] = "/tmp/mailroot-test-XXXXXX", cert[64], key[64];
	struct err err = { 0 };

	(void)state;
	must(mkdtemp(dir) != NULL);
	snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	must(tls_self_signed(cert, key, "test.example", &err) == ST_OK);
	must(tls_server_new(cert, key, &test_tls, &err) == ST_OK);
	unlink(cert);
	unlink(key);
	rmdir(dir);
	return 0;
}

int test_tls_free(void **state)
{
	(void)state;
	tls_free(test_tls);
	return 0;
}
