/* session.h - one connection under test: the server side runs `serve` on the test's loop, the peer runs
 * `talk` on a thread of its own; the test ends when both have. */
#ifndef TESTS_LOOP_SESSION_H
#define TESTS_LOOP_SESSION_H

#include "loop/conn.h"
#include "peer.h"

struct session {
	struct conn *conn;
	struct conn_limits limits;
	void (*serve)(void *session);
	void (*talk)(struct peer *peer);
	bool tcp, wait_for_input;

	struct loop *loop;
	struct peer peer;
	pthread_t thread;
	struct fiber *waiter;
	int gone;

	/* for the serving functions */
	int runs, sent_calls, step;
	enum st state;
	int file;
	size_t len;
};

void run_session(struct session *s);
void session_body(void *session); /* the same, inside a fiber */
/* session_body(), and after 10 ms conn_close(), or conn_abort() where `step` is set. */
void ended_session_body(void *session);

/* ---- pieces to serve with ---- */
void echo_lines(void *session); /* "x\n" gives "[x]\n", "quit" ends; idle between lines */
void count_sent(void *session); /* for conn_on_sent(): counts sent_calls */
void starts_tls_first(void *session, void (*then)(void *session));

/* ---- pieces to talk with ---- */
void talk_lines(struct peer *p); /* to echo_lines() */
void takes_until_end(struct peer *p);

/* ---- a context with a self-signed certificate ---- */
extern struct tls *test_tls;
int test_tls_make(void **state); /* for cmocka_run_group_tests() */
int test_tls_free(void **state);

#endif
