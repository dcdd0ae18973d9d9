/* exipc_bench.c - ExIPC beside libqb's IPC, a Unix socket and a pair of pipes, in one run.
 *
 * Every peer is a server process that answers each request of 64 bytes with 64 bytes, and a client (this
 * process).  Printed are medians of RUNS runs: round trips one after the other; round trips with a pause
 * before each (a sleeping server and a sleeping client); requests per second with 64 under way; messages
 * per second one way (ExIPC answers every request, so its figure there includes the answers); and the processor time
 * of both processes per request.  With the argument "apart" the client and the servers are held on two
 * CPUs, else the kernel places them.  Under a minute. */
#include "exipc/exipc.h"

#include <assert.h>
#include <errno.h>
#include <qb/qbipcc.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS      5
#define SIZE      64
#define UNDER_WAY 64
#define SPINS     20000
#define PAUSES    41
#define PAUSE_NS  (3 * NS_PER_MS)
#define RATE      40000
#define VERSION   1

enum work { SPIN, PAUSE, WAY, ONE, WORKS };

static const char *const work_name[WORKS] = { "round trip, busy", "round trip, every 3 ms",
					      "64 under way", "one way" };
static const unsigned work_count[WORKS] = { SPINS, PAUSES, RATE, RATE };

struct peer {
	const char *name;
	pid_t (*start)(void);
	/* Do it `n` times; the time that it took.  With pauses: n times the median of one. */
	int64_t (*run)(enum work w, unsigned n);
	void (*stop)(void);
	pid_t pid;
	clockid_t cpu_clock; /* of the server process */
	int64_t ns[WORKS][RUNS], cpu[WORKS][RUNS];
};

_Noreturn static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A child that dies with us. */
static pid_t child(void)
{
	fflush(stdout);
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static void pause_a_little(void)
{
	struct timespec t = { .tv_nsec = PAUSE_NS };

	nanosleep(&t, NULL);
}

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int64_t median(int64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

/* ---- blocking peers: send and receive whole messages ---- */

struct wire {
	void (*send)(const char *m);
	void (*recv)(char *m);
};

/* The server answers whatever has the first byte 1. */
static int64_t run_wire(const struct wire *w, enum work work, unsigned n)
{
	char m[SIZE] = { 1 };
	int64_t each[PAUSES], from = clock_mono();

	switch (work) {
	case SPIN:
		for (unsigned i = 0; i < n; i++) {
			w->send(m);
			w->recv(m);
		}
		return clock_mono() - from;
	case PAUSE:
		for (unsigned i = 0; i < n; i++) {
			pause_a_little();
			from = clock_mono();
			w->send(m);
			w->recv(m);
			each[i] = clock_mono() - from;
		}
		return median(each, n) * n;
	case WAY:
		for (unsigned i = 0; i < n; i += UNDER_WAY) {
			for (unsigned k = 0; k < UNDER_WAY; k++)
				w->send(m);
			for (unsigned k = 0; k < UNDER_WAY; k++)
				w->recv(m);
		}
		return clock_mono() - from;
	default:
		for (unsigned i = 0; i < n; i++) {
			m[0] = i + 1 == n;
			w->send(m);
		}
		w->recv(m);
		return clock_mono() - from;
	}
}

/* ---- Unix socket ---- */

static int sock_fd;

static void sock_send(const char *m)
{
	if (send(sock_fd, m, SIZE, 0) != SIZE)
		die("send");
}

static void sock_recv(char *m)
{
	if (recv(sock_fd, m, SIZE, 0) != SIZE)
		die("recv");
}

static pid_t sock_start(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		die("socketpair");
	pid_t pid = child();
	if (pid) {
		sock_fd = pair[0];
		close(pair[1]);
		return pid;
	}
	close(pair[0]);
	char m[SIZE];
	while (recv(pair[1], m, SIZE, 0) == SIZE)
		if (m[0] && send(pair[1], m, SIZE, 0) != SIZE)
			break;
	_exit(0);
}

static int64_t sock_run(enum work work, unsigned n)
{
	static const struct wire w = { sock_send, sock_recv };

	return run_wire(&w, work, n);
}

static void sock_stop(void)
{
	close(sock_fd);
}

/* ---- pipes ---- */

static int pipe_to, pipe_from;

static bool read_whole(int fd, char *m)
{
	for (size_t got = 0; got < SIZE;) {
		ssize_t n = read(fd, m + got, SIZE - got);

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static void pipe_send(const char *m)
{
	if (write(pipe_to, m, SIZE) != SIZE)
		die("write");
}

static void pipe_recv(char *m)
{
	if (!read_whole(pipe_from, m))
		die("read");
}

static pid_t pipe_start(void)
{
	int to[2], from[2];

	if (pipe(to) < 0 || pipe(from) < 0)
		die("pipe");
	pid_t pid = child();
	if (pid) {
		pipe_to = to[1];
		pipe_from = from[0];
		close(to[0]);
		close(from[1]);
		return pid;
	}
	close(to[1]);
	close(from[0]);
	char m[SIZE];
	while (read_whole(to[0], m))
		if (m[0] && write(from[1], m, SIZE) != SIZE)
			break;
	_exit(0);
}

static int64_t pipe_run(enum work work, unsigned n)
{
	static const struct wire w = { pipe_send, pipe_recv };

	return run_wire(&w, work, n);
}

static void pipe_stop(void)
{
	close(pipe_to);
	close(pipe_from);
}

/* ---- libqb ---- */

struct qb_message {
	struct qb_ipc_request_header h;
	char bytes[SIZE - sizeof(struct qb_ipc_request_header)];
};
static_assert(sizeof(struct qb_message) == SIZE, "the same size as the others");

static char qb_name[64];
static qb_loop_t *qb_main;
static qb_ipcc_connection_t *qb_conn;

static int32_t qb_accept(qb_ipcs_connection_t *c, uid_t uid, gid_t gid)
{
	(void)c;
	(void)uid;
	(void)gid;
	return 0;
}

static int32_t qb_closed(qb_ipcs_connection_t *c)
{
	(void)c;
	return 0;
}

static void qb_nothing(qb_ipcs_connection_t *c)
{
	(void)c;
}

static int32_t qb_message(qb_ipcs_connection_t *c, void *data, size_t size)
{
	const struct qb_message *m = data;
	struct qb_ipc_response_header *r;
	char answer[SIZE] = { 0 };

	if (!m->bytes[0])
		return 0;
	r = (struct qb_ipc_response_header *)answer;
	r->id = 1;
	r->size = (int32_t)size;
	while (qb_ipcs_response_send(c, answer, size) == -EAGAIN)
		continue;
	return 0;
}

static int32_t qb_job(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	return qb_loop_job_add(qb_main, p, data, fn);
}

static int32_t qb_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
		      qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_add(qb_main, p, fd, events, data, fn);
}

static int32_t qb_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
		      qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_mod(qb_main, p, fd, events, data, fn);
}

static int32_t qb_del(int32_t fd)
{
	return qb_loop_poll_del(qb_main, fd);
}

static void qb_serve(int ready)
{
	struct qb_ipcs_service_handlers on = { .connection_accept = qb_accept,
					       .connection_created = qb_nothing,
					       .msg_process = qb_message,
					       .connection_closed = qb_closed,
					       .connection_destroyed = qb_nothing };
	struct qb_ipcs_poll_handlers poll = { .job_add = qb_job,
					      .dispatch_add = qb_add,
					      .dispatch_mod = qb_mod,
					      .dispatch_del = qb_del };
	qb_main = qb_loop_create();
	qb_ipcs_service_t *s = qb_ipcs_create(qb_name, 0, QB_IPC_SHM, &on);

	qb_ipcs_poll_handlers_set(s, &poll);
	qb_ipcs_request_rate_limit(s, QB_IPCS_RATE_FAST);
	if (qb_ipcs_run(s) < 0 || write(ready, "r", 1) != 1)
		_exit(1);
	qb_loop_run(qb_main);
	_exit(0);
}

static pid_t qb_start(void)
{
	int ready[2];
	char byte;

	snprintf(qb_name, sizeof(qb_name), "mailroot-bench-%d", (int)getpid());
	if (pipe(ready) < 0)
		die("pipe");
	pid_t pid = child();
	if (pid == 0)
		qb_serve(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		die("libqb's server");
	qb_conn = qb_ipcc_connect(qb_name, 1024 * 1024);
	if (!qb_conn)
		die("qb_ipcc_connect");
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void qb_send(const char *m)
{
	struct qb_message q = { .h = { .id = 100, .size = SIZE } };
	ssize_t n;

	q.bytes[0] = m[0];
	do
		n = qb_ipcc_send(qb_conn, &q, sizeof(q));
	while (n == -EAGAIN);
	if (n < 0)
		die("qb_ipcc_send");
}

static void qb_recv(char *m)
{
	ssize_t n;

	do
		n = qb_ipcc_recv(qb_conn, m, SIZE, -1);
	while (n == -EAGAIN || n == -ETIMEDOUT);
	if (n < 0)
		die("qb_ipcc_recv");
	m[0] = 1;
}

static int64_t qb_run(enum work work, unsigned n)
{
	static const struct wire w = { qb_send, qb_recv };

	return run_wire(&w, work, n);
}

static void qb_stop(void)
{
	qb_ipcc_disconnect(qb_conn);
}

/* ---- ExIPC ---- */

static char ex_path[64];
static struct loop *ex_loop;
static struct exipc_client *ex_client;
static struct exipc_chan *ex_chan;

static void ex_request(void *arg, struct exipc_request *rq)
{
	(void)arg;
	(void)exipc_reply(rq, ST_OK, rq->payload, false, NULL, NULL);
}

static void ex_serve(int listen_fd)
{
	struct exipc_server_options o = {
		.listen_fd = listen_fd, .version = VERSION, .nloops = 1, .request = ex_request
	};
	struct exipc_server *s;
	struct loop *loop;

	if (loop_new("store", &loop, NULL))
		_exit(1);
	o.loops = &loop;
	if (exipc_server_new(&o, &s, NULL))
		_exit(1);
	loop_run(loop);
	_exit(0);
}

static void ex_one(void)
{
	static const char m[SIZE] = { 1 };
	struct exipc_reply r;

	if (exipc_call(ex_chan, 0, 1, span_of(m, SIZE), NULL, NULL, 0, NO_DEADLINE, &r, NULL))
		die("exipc_call");
	exipc_reply_free(&r);
}

struct ex_work {
	enum work work;
	unsigned n, left, fibers;
	int64_t spent;
	struct fiber *waits;
};

static void ex_share(void *arg)
{
	struct ex_work *w = arg;

	while (w->left) {
		w->left--;
		ex_one();
	}
	if (--w->fibers == 0)
		fiber_wake(w->waits);
}

static void ex_many(struct ex_work *w)
{
	w->left = w->n;
	w->fibers = UNDER_WAY;
	w->waits = fiber_self();
	for (unsigned i = 0; i < UNDER_WAY; i++)
		if (fiber_spawn("share", ex_share, w, NULL))
			die("fiber_spawn");
	while (w->fibers)
		fiber_park(NO_DEADLINE);
}

static void ex_fiber(void *arg)
{
	struct ex_work *w = arg;
	int64_t each[PAUSES], from = clock_mono();

	switch (w->work) {
	case SPIN:
		for (unsigned i = 0; i < w->n; i++)
			ex_one();
		w->spent = clock_mono() - from;
		break;
	case PAUSE:
		for (unsigned i = 0; i < w->n; i++) {
			fiber_sleep(clock_mono() + PAUSE_NS);
			from = clock_mono();
			ex_one();
			each[i] = clock_mono() - from;
		}
		w->spent = median(each, w->n) * w->n;
		break;
	default:
		ex_many(w);
		w->spent = clock_mono() - from;
		break;
	}
	loop_stop(ex_loop);
}

static int64_t ex_run(enum work work, unsigned n)
{
	struct ex_work w = { .work = work, .n = n };

	if (fiber_spawn("bench", ex_fiber, &w, NULL))
		die("fiber_spawn");
	loop_run(ex_loop);
	return w.spent;
}

static void ex_bound(void *arg)
{
	(void)arg;
	if (exipc_wait_bound(ex_chan, deadline_in_ms(5000), NULL))
		die("exipc_wait_bound");
	loop_stop(ex_loop);
}

static int ex_listen(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(ex_path, sizeof(ex_path), "/tmp/mailroot-exipc-bench-%d", (int)getpid());
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", ex_path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 4) < 0)
		die(ex_path);
	return fd;
}

static pid_t ex_start(void)
{
	int fd = ex_listen();
	pid_t pid = child();

	if (pid == 0)
		ex_serve(fd);
	close(fd);
	if (loop_new("inet", &ex_loop, NULL))
		die("loop_new");
	struct exipc_client_options o = { .socket_path = ex_path,
					  .name = "bench",
					  .version = VERSION,
					  .loops = &ex_loop,
					  .nloops = 1 };
	if (exipc_client_new(&o, &ex_client, NULL))
		die("exipc_client_new");
	loop_enter(ex_loop);
	ex_chan = exipc_chan(ex_client);
	if (fiber_spawn("bound", ex_bound, NULL, NULL))
		die("fiber_spawn");
	loop_run(ex_loop);
	return pid;
}

static void ex_stop(void)
{
	exipc_client_free(ex_client);
	loop_free(ex_loop);
	unlink(ex_path);
}

/* ---- the table ---- */

static int64_t cpu_of(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		die("clock_gettime");
	return (int64_t)t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static void measure(struct peer *p, enum work w, unsigned run)
{
	int64_t cpu = cpu_of(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(p->cpu_clock);

	p->ns[w][run] = p->run(w, work_count[w]);
	p->cpu[w][run] = cpu_of(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(p->cpu_clock) - cpu;
}

static void start(struct peer *p)
{
	p->pid = p->start();
	if (clock_getcpuclockid(p->pid, &p->cpu_clock))
		die("clock_getcpuclockid");
	p->run(SPIN, SPINS / 4);
}

static void stop(struct peer *p)
{
	p->stop();
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
}

static double median_each(int64_t *runs, unsigned count)
{
	return (double)median(runs, RUNS) / count;
}

/* The first two CPUs that we may use; false: there is only one. */
static bool two_cpus(int cpu[2])
{
	cpu_set_t all;
	int found = 0;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		die("sched_getaffinity");
	for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
		if (CPU_ISSET(i, &all))
			cpu[found++] = i;
	return found == 2;
}

static void hold_on(pid_t pid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(pid, sizeof(one), &one) < 0)
		die("sched_setaffinity");
}

/* What the machine can do at best: a word there and back between two CPUs that do nothing else. */
static double limit_ns(const int cpu[2])
{
	struct {
		_Alignas(128) _Atomic uint64_t there;
		_Alignas(128) _Atomic uint64_t back;
	} *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t runs[RUNS];
	uint64_t n = 0;

	if (words == MAP_FAILED)
		die("mmap");
	pid_t pid = child();
	for (uint64_t i = 1; pid == 0; i++) {
		while (atomic_load_explicit(&words->there, memory_order_acquire) != i)
			continue;
		atomic_store_explicit(&words->back, i, memory_order_release);
	}
	hold_on(pid, cpu[1]);
	hold_on(0, cpu[0]);
	for (unsigned r = 0; r < RUNS; r++) {
		int64_t from = clock_mono();

		for (unsigned i = 0; i < SPINS; i++) {
			atomic_store_explicit(&words->there, ++n, memory_order_release);
			while (atomic_load_explicit(&words->back, memory_order_acquire) != n)
				continue;
		}
		runs[r] = clock_mono() - from;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return (double)median(runs, RUNS) / SPINS;
}

int main(int argc, char **argv)
{
	struct peer peers[] = {
		{ .name = "ExIPC", .start = ex_start, .run = ex_run, .stop = ex_stop },
		{ .name = "libqb shm", .start = qb_start, .run = qb_run, .stop = qb_stop },
		{ .name = "Unix socket", .start = sock_start, .run = sock_run, .stop = sock_stop },
		{ .name = "pipes", .start = pipe_start, .run = pipe_run, .stop = pipe_stop },
	};
	const unsigned n = sizeof(peers) / sizeof(peers[0]);
	int cpu[2];
	bool two = two_cpus(cpu), apart = two && argc > 1 && strcmp(argv[1], "apart") == 0;

	for (unsigned i = 0; i < n; i++)
		start(&peers[i]);
	for (unsigned i = 0; apart && i < n; i++)
		hold_on(peers[i].pid, cpu[1]);
	if (apart)
		hold_on(0, cpu[0]);
	/* In turns, so that what else the machine does hits them alike. */
	for (unsigned r = 0; r < RUNS; r++)
		for (unsigned w = 0; w < WORKS; w++)
			for (unsigned i = 0; i < n; i++)
				measure(&peers[i], w, r);
	for (unsigned i = 0; i < n; i++)
		stop(&peers[i]);
	double limit = two ? limit_ns(cpu) : 0;
	printf("%d-byte requests and answers, medians of %d runs, %ld CPUs%s\n\n", SIZE, RUNS,
	       sysconf(_SC_NPROCESSORS_ONLN), apart ? ", client and servers apart" : "");
	printf("%-24s %-12s %12s %14s %8s %12s %8s\n", "", "", "ns each", "per second", "x ExIPC",
	       "CPU ns each", "x ExIPC");
	for (unsigned w = 0; w < WORKS; w++) {
		double ours = 0, our_cpu = 0;

		for (unsigned i = 0; i < n; i++) {
			double each = median_each(peers[i].ns[w], work_count[w]);
			double busy = median_each(peers[i].cpu[w], work_count[w]);

			if (i == 0) {
				ours = each;
				our_cpu = busy;
			}
			printf("%-24s %-12s %12.0f %14.0f %8.2f %12.0f %8.2f\n",
			       i ? "" : work_name[w], peers[i].name, each, 1e9 / each, each / ours,
			       busy, busy / our_cpu);
		}
	}
	printf("\nThe limit: a bare word there and back between two CPUs, %.0f ns\n", limit);
	return 0;
}
