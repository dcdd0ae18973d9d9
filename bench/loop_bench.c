/* What the loop costs: a switch between fibers, a post, a timer, an idle connection (plain and TLS),
 * and how fast ranges of a file leave over the loopback.  Prints one line for each. */
#include "loop/conn.h"
#include "loop/loop.h"

#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SWITCHES 2000000
#define POSTS    1000000
#define TIMERS   1000000
#define IDLE     5000

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	exit(1);
}

static double ns_each(int64_t since, double count)
{
	return (double)(clock_mono() - since) / count;
}

/* ---- fibers, posts, timers ---- */

static void yields(void *arg)
{
	(void)arg;
	for (int i = 0; i < SWITCHES / 2; i++)
		fiber_yield();
}

static void bench_switch(void)
{
	int64_t start = clock_mono();

	must(fiber_spawn("yields", yields, NULL, NULL) == ST_OK, "fiber");
	yields(NULL);
	printf("fiber switch          %8.1f ns (there or back; with the turn of the loop)\n",
	       ns_each(start, 2.0 * SWITCHES));
}

static void nothing(void *arg)
{
	(void)arg;
}

static void bench_spawn(void)
{
	int64_t start = clock_mono();

	for (int i = 0; i < 200000; i++) {
		must(fiber_spawn("short", nothing, NULL, NULL) == ST_OK, "fiber");
		fiber_yield();
	}
	printf("fiber start and end   %8.1f ns\n", ns_each(start, 200000));
}

static void bench_post(void)
{
	int64_t start = clock_mono();

	for (int i = 0; i < POSTS; i++)
		loop_post(loop_self(), nothing, NULL);
	fiber_yield();
	printf("post on the own loop  %8.1f ns\n", ns_each(start, POSTS));
}

static void bench_timer(void)
{
	struct timer *timers = calloc(IDLE, sizeof(*timers));
	int64_t start = clock_mono();

	for (int i = 0; i < TIMERS; i++)
		timer_set(&timers[i % IDLE], start + NS_PER_SEC * (3600 + (int64_t)i * 7919 % 1000),
			  nothing, NULL);
	printf("timer set, of %d    %8.1f ns\n", IDLE, ns_each(start, TIMERS));
	for (int i = 0; i < IDLE; i++)
		timer_clear(&timers[i]);
	free(timers);
}

/* ---- connections ---- */

struct client {
	struct conn *conn;
	struct tls *tls;
	int *gone;
	struct fiber *waiter;
};

static void client_gone(void *owner)
{
	struct client *c = owner;

	++*c->gone;
	fiber_wake(c->waiter);
}

/* What an idle session does: answers a line, waits for the next without a fiber. */
static void serve_line(void *owner)
{
	struct client *c = owner;

	if (c->tls && !conn_is_tls(c->conn))
		must(conn_starttls(c->conn, c->tls, NO_DEADLINE, NULL) == ST_OK, "handshake");
	if (conn_input_state(c->conn) != ST_OK) {
		conn_close(c->conn);
		return;
	}
	conn_consume(c->conn, conn_input(c->conn).len);
	conn_puts(c->conn, "* OK still here\r\n");
}

static void socket_pair(int *client, int *server)
{
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
	*client = fds[0];
	*server = fds[1];
}

struct talker {
	int fds[IDLE];
	int count;
	bool tls;
	SSL *ssl[IDLE];
	struct loop *loop;
	struct fiber *waiter;
	bool done;
};

static void talked(void *arg)
{
	struct talker *t = arg;

	t->done = true;
	fiber_wake(t->waiter);
}

/* A client for every connection: handshake, one line each way. */
static void *talk(void *arg)
{
	struct talker *t = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	char reply[64];

	for (int i = 0; i < t->count; i++) {
		if (t->tls) {
			t->ssl[i] = SSL_new(ctx);
			SSL_set_fd(t->ssl[i], t->fds[i]);
			must(SSL_connect(t->ssl[i]) == 1, "connect");
			must(SSL_read(t->ssl[i], reply, sizeof(reply)) > 0, "read");
			must(SSL_write(t->ssl[i], "a noop\r\n", 8) == 8, "write");
			must(SSL_read(t->ssl[i], reply, sizeof(reply)) > 0, "read");
			/* Ours is not the memory to be counted. */
			SSL_free(t->ssl[i]);
		} else {
			must(write(t->fds[i], "a noop\r\n", 8) == 8, "write");
			must(read(t->fds[i], reply, sizeof(reply)) > 0, "read");
		}
	}
	SSL_CTX_free(ctx);
	loop_post(t->loop, talked, t);
	return NULL;
}

static void bench_idle(struct tls *tls, int count)
{
	struct client *clients = calloc((size_t)count, sizeof(*clients));
	struct talker *t = calloc(1, sizeof(*t));
	struct conn_limits limits = { .idle_ms = 1800 * 1000, .write_ms = 60000 };
	int gone = 0, server;
	pthread_t thread;

	*t = (struct talker){
		.count = count, .tls = tls, .loop = loop_self(), .waiter = fiber_self()
	};
	malloc_trim(0);
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < count; i++) {
		socket_pair(&t->fds[i], &server);
		clients[i] = (struct client){ NULL, tls, &gone, fiber_self() };
		must(conn_new(server, &limits, &clients[i], client_gone, &clients[i].conn, NULL) ==
			     ST_OK,
		     "connection");
		conn_serve(clients[i].conn, serve_line, tls);
	}
	must(pthread_create(&thread, NULL, talk, t) == 0, "thread");
	while (!t->done)
		fiber_park(NO_DEADLINE);
	pthread_join(thread, NULL);
	fiber_sleep(deadline_in_ms(50));
	printf("idle connection, %s %7zu bytes of heap (%d of them)\n", tls ? "TLS  " : "plain",
	       (mallinfo2().uordblks - before) / (size_t)count, count);
	for (int i = 0; i < count; i++)
		conn_abort(clients[i].conn);
	while (gone < count)
		fiber_park(NO_DEADLINE);
	for (int i = 0; i < count; i++)
		close(t->fds[i]);
	free(clients);
	free(t);
}

/* ---- files ---- */

#define FILE_BYTES (64 * 1024 * 1024)

struct sender {
	struct client client;
	int file;
	size_t piece, total;
};

static void send_pieces(void *owner)
{
	struct sender *s = owner;

	if (s->client.tls)
		must(conn_starttls(s->client.conn, s->client.tls, NO_DEADLINE, NULL) == ST_OK,
		     "handshake");
	for (size_t at = 0; at < s->total; at += s->piece) {
		conn_printf(s->client.conn, "* %zu FETCH (BODY[] {%zu}\r\n", at, s->piece);
		if (conn_send_file(s->client.conn, s->file, (int64_t)(at % FILE_BYTES), s->piece) !=
		    ST_OK)
			break;
		conn_puts(s->client.conn, ")\r\n");
	}
	conn_drain(s->client.conn);
	conn_close(s->client.conn);
}

static void *swallow(void *arg)
{
	static char bytes[1024 * 1024];
	struct talker *t = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);

	SSL_set_fd(ssl, t->fds[0]);
	if (t->tls) {
		must(SSL_connect(ssl) == 1, "connect");
		while (SSL_read(ssl, bytes, sizeof(bytes)) > 0)
			continue;
	} else {
		while (read(t->fds[0], bytes, sizeof(bytes)) > 0)
			continue;
	}
	close(t->fds[0]);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return NULL;
}

static void tcp_pair(int *client, int *server)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listening = socket(AF_INET, SOCK_STREAM, 0);

	must(bind(listening, (struct sockaddr *)&a, len) == 0 && listen(listening, 8) == 0 &&
		     getsockname(listening, (struct sockaddr *)&a, &len) == 0,
	     "listen");
	*client = socket(AF_INET, SOCK_STREAM, 0);
	must(connect(*client, (struct sockaddr *)&a, len) == 0, "connect");
	*server = accept(listening, NULL, NULL);
	close(listening);
}

static double thread_cpu(void)
{
	struct rusage r;

	getrusage(RUSAGE_THREAD, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void bench_file(int file, size_t piece, size_t total, struct tls *tls)
{
	struct sender s = { { NULL, tls, NULL, fiber_self() }, file, piece, total };
	struct talker t = { .tls = tls };
	int gone = 0, server;
	pthread_t thread;

	s.client.gone = &gone;
	tcp_pair(&t.fds[0], &server);
	must(conn_new(server, NULL, &s, client_gone, &s.client.conn, NULL) == ST_OK, "connection");
	int64_t start = clock_mono();
	double cpu = thread_cpu();
	must(pthread_create(&thread, NULL, swallow, &t) == 0, "thread");
	conn_serve(s.client.conn, send_pieces, true);
	while (!gone)
		fiber_park(NO_DEADLINE);
	double seconds = (double)(clock_mono() - start) / 1e9;
	cpu = thread_cpu() - cpu;
	pthread_join(thread, NULL);
	printf("send %8zu bytes a piece, %s %8.0f MB/s %9.0f pieces/s %7.2f us CPU each\n", piece,
	       tls ? "TLS  " : "plain", (double)total / 1e6 / seconds,
	       (double)total / (double)piece / seconds, cpu * 1e6 * (double)piece / (double)total);
}

static int make_file(void)
{
	char *bytes = calloc(1, FILE_BYTES);
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);

	must(fd >= 0 && write(fd, bytes, FILE_BYTES) == FILE_BYTES, "file");
	free(bytes);
	return fd;
}

static struct tls *make_tls(void)
{
	char dir[] = "/tmp/loop-bench-XXXXXX", cert[64], key[64];
	struct tls *tls;

	must(mkdtemp(dir) != NULL, "folder");
	snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	must(tls_self_signed(cert, key, "bench.example", NULL) == ST_OK &&
		     tls_server_new(cert, key, &tls, NULL) == ST_OK,
	     "certificate");
	unlink(cert);
	unlink(key);
	rmdir(dir);
	return tls;
}

static void bench_all(void *arg)
{
	static const size_t pieces[] = { 1024, 4096, 8192, 16384, 65536, 1024 * 1024 };
	struct tls *tls = make_tls();
	int file = make_file();

	bench_switch();
	bench_spawn();
	bench_post();
	bench_timer();
	bench_idle(NULL, IDLE);
	bench_idle(tls, 1000);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		size_t total = pieces[i] < 16384 ? 512 * 1024 * 1024 : 4096LL * 1024 * 1024;

		bench_file(file, pieces[i], total, NULL);
		bench_file(file, pieces[i], total / 4, tls);
	}
	close(file);
	tls_free(tls);
	loop_stop(arg);
}

int main(void)
{
	struct rlimit many = { 65536, 65536 };
	struct loop *loop;

	setrlimit(RLIMIT_NOFILE, &many);
	must(loop_new("bench", &loop, NULL) == ST_OK, "loop");
	loop_enter(loop);
	must(fiber_spawn("bench", bench_all, loop, NULL) == ST_OK, "fiber");
	loop_run(loop);
	work_stop();
	loop_free(loop);
	return 0;
}
