/* mailrootd.c - the service controller: opens the sockets, starts the store and the protocol host,
 * restarts what dies, stops all in order. */
#include "admin/control.h"
#include "admin/options.h"
#include "base/config.h"
#include "base/logline.h"
#include "base/standby.h"
#include "inet/services.h"
#include "main/diskwatch.h"
#include "main/privileges.h"
#include "main/process.h"
#include "main/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKETS_MAX 48
#define PATIENCE_MS 30000
#define BACKLOG     1024

static struct mailrootd {
	struct options options;
	struct config *config;
	struct loop *loop;
	struct child store, inet;
	char socket_args[SOCKETS_MAX][64];
	unsigned nsockets;
	int sockets[SOCKETS_MAX];
	int ipc_fd;
	bool stopping, failed, announced;
	int64_t stop_told; /* when the first signal came, clock_mono; 0: none */
	struct signals signals;
	struct control *control;
} d;

/* ---- sockets ---- */

static enum st open_port(const struct service *s, const char *address, const char *port,
			 struct err *err)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
					.ai_socktype = SOCK_STREAM };
	struct addrinfo *ai;
	const int on = 1;
	enum st st = ST_OK;
	int e, fd;

	e = getaddrinfo(address, port, &hints, &ai);
	if (e != 0)
		return fail(err, ST_BAD, "listen_address '%s': %s", address, gai_strerror(e));
	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		if (ai->ai_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	}
	if (fd < 0 || bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		bool taken = errno == EADDRINUSE;

		st = fail_errno(
			err, "%s (%s) cannot listen on %s port %s%s", s->name, s->what, address,
			port,
			taken ? ": another program has that port; stop it or change the port in mailroot.conf"
			      : "");
		if (fd >= 0)
			close(fd);
	} else {
		d.sockets[d.nsockets] = fd;
		snprintf(d.socket_args[d.nsockets], sizeof d.socket_args[0], "%s=%d", s->name, fd);
		d.nsockets++;
	}
	freeaddrinfo(ai);
	return st;
}

/* Every service on every address of listen_address (a list with commas). */
static enum st open_ports(struct err *err)
{
	struct span rest = span_str(config_str(d.config, "listen_address"));

	while (rest.len > 0) {
		struct span one = span_trim(span_split(rest, ',', &rest));
		char address[64], port[16];

		snprintf(address, sizeof address, SPAN_FMT, SPAN_ARG(one));
		for (size_t i = 0; i < nservices; i++) {
			enum st st;

			snprintf(port, sizeof port, "%lld",
				 (long long)config_int(d.config, services[i].port_key));
			if (port[0] == '0')
				continue;
			if (d.nsockets == SOCKETS_MAX)
				return fail(err, ST_TOOBIG, "more than %d listening sockets",
					    SOCKETS_MAX);
			st = open_port(&services[i], address, port, err);
			if (st != ST_OK)
				return st;
		}
	}
	return ST_OK;
}

static enum st open_ipc(struct err *err)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path, sizeof sa.sun_path, "%s/run/exipc", d.options.home);

	if (n < 0 || (size_t)n >= sizeof sa.sun_path)
		return fail(err, ST_TOOBIG, "the home's path is too long for a Unix socket: %s",
			    d.options.home);
	unlink(sa.sun_path);
	d.ipc_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d.ipc_fd < 0 || bind(d.ipc_fd, (struct sockaddr *)&sa, sizeof sa) < 0 ||
	    chmod(sa.sun_path, 0600) < 0 || listen(d.ipc_fd, 64) < 0)
		return fail_errno(err, "ExIPC socket %s", sa.sun_path);
	return privileges_give_file(sa.sun_path, config_str(d.config, "user_inet"), err);
}

/* One supervisor a home; the lock goes with the process. */
static enum st lock_home(struct err *err)
{
	char path[4200];
	int fd;

	snprintf(path, sizeof path, "%s/run", d.options.home);
	if (mkdir(path, 0711) < 0 && errno != EEXIST)
		return fail_errno(err, "make %s: the home must be writable", path);
	snprintf(path, sizeof path, "%s/run/mailrootd.lock", d.options.home);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(err, "open %s: the home must be writable", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return fail(err, ST_BUSY, "a server already runs on %s", d.options.home);
	return ST_OK;
}

/* ---- the children ---- */

/* The next step of the end: the protocol host goes first (it still has work for the store), then the store, then
 * we.  Called for the first one, and again whenever a child has stopped. */
static void stop_next(void)
{
	struct child *next = d.inet.state != CHILD_STOPPED ? &d.inet : &d.store;

	d.stopping = true;
	if (next->state == CHILD_STOPPED)
		loop_stop(d.loop);
	else if (next->state != CHILD_STOPPING)
		child_stop(next, PATIENCE_MS);
}

static void tell_state(const struct child *c)
{
	log_event(LOG_INFO, "program", LC("program", c->name),
		  LC("state", child_state_name(c->state)), LI("pid", c->pid));
}

/* It only stops by itself where it could not start. */
static void child_stopped(void)
{
	if (!d.stopping)
		d.failed = true;
	stop_next();
}

static void store_changed(void *arg, struct child *c)
{
	struct err err;

	(void)arg;
	tell_state(c);
	if (c->state == CHILD_STOPPED)
		child_stopped();
	if (c->state == CHILD_SERVING && d.inet.state == CHILD_STOPPED && !d.stopping &&
	    child_start(&d.inet, &err) != ST_OK) {
		log_event(LOG_ERROR, "cannot start", LC("program", "inet"), LE(&err));
		d.failed = true;
		stop_next();
	}
}

static void inet_changed(void *arg, struct child *c)
{
	(void)arg;
	tell_state(c);
	if (c->state == CHILD_SERVING && !d.announced) {
		d.announced = true;
		log_event(LOG_NOTICE, "serving", LC("home", d.options.home),
			  LC("address", config_str(d.config, "listen_address")));
		options_tell_ready(&d.options);
	}
	if (c->state == CHILD_STOPPED)
		child_stopped();
}

static char *beside(const char *program)
{
	static char paths[2][4096];
	static unsigned n;
	char *path = paths[n++ % 2];

	program_beside(path, sizeof paths[0], program);
	return path;
}

static void describe_children(void)
{
	static char ipc_arg[16], home_option[] = "--home", listen_option[] = "--listen-fd";
	unsigned n = 0;

	snprintf(ipc_arg, sizeof ipc_arg, "%d", d.ipc_fd);
	d.store = (struct child){
		.name = "store",
		.args = { beside("mailroot-store"), home_option, d.options.home, listen_option,
			  ipc_arg },
		.fds = { d.ipc_fd, -1 },
		.changed = store_changed,
		.ready_watch = { .fd = -1 },
	};
	d.inet = (struct child){
		.name = "inet",
		.args = { beside("mailroot-inet"), home_option, d.options.home },
		.changed = inet_changed,
		.ready_watch = { .fd = -1 },
	};
	for (n = 0; n < d.nsockets; n++) {
		d.inet.args[3 + n] = d.socket_args[n];
		d.inet.fds[n] = d.sockets[n];
	}
	d.inet.fds[n] = -1;
}

/* ---- questions of the administrator ---- */

static void report_child(struct report *r, const struct child *c)
{
	char path[64], line[128] = "";
	unsigned long long size = 0, resident = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/statm", (int)c->pid);
	f = c->pid ? fopen(path, "re") : NULL;
	if (f) {
		if (!fgets(line, sizeof line, f) ||
		    sscanf(line, "%llu %llu", &size, &resident) != 2)
			resident = 0;
		fclose(f);
	}
	report_row(r);
	report_str(r, "program", c->name);
	report_str(r, "state", child_state_name(c->state));
	report_num(r, "pid", (uint64_t)c->pid);
	report_num(r, "restarts", c->restarts);
	report_num(r, "uptime_s",
		   c->pid ? (uint64_t)((clock_mono() - c->started) / NS_PER_SEC) : 0);
	report_num(r, "resident_kib", resident * (unsigned long long)sysconf(_SC_PAGESIZE) / 1024);
}

static void status(void *owner, struct report *r)
{
	(void)owner;
	report_table(r, "server", true);
	report_row(r);
	report_str(r, "home", d.options.home);
	report_bool(r, "serving", d.store.state == CHILD_SERVING && d.inet.state == CHILD_SERVING);
	report_num(r, "pid", (uint64_t)getpid());
	report_table(r, "programs", false);
	report_child(r, &d.store);
	report_child(r, &d.inet);
	diskwatch_report(r);
	report_table(r, "ports", false);
	for (size_t i = 0; i < nservices; i++) {
		report_row(r);
		report_str(r, "service", services[i].name);
		report_num(r, "port", (uint64_t)config_int(d.config, services[i].port_key));
		report_str(r, "address", config_str(d.config, "listen_address"));
		report_str(r, "what", services[i].what);
	}
}

/* Whoever says it twice does not want to wait for a program that hangs; nothing that was acknowledged is lost by that.
 * (One Ctrl-C may come as two signals, by way of the shell.) */
static void signalled(int number)
{
	int64_t now = clock_mono();

	if (!d.stop_told) {
		d.stop_told = now;
		log_event(LOG_NOTICE, "stopping", LC("signal", strsignal(number)));
		if (!d.stopping)
			stop_next();
	} else if (now - d.stop_told > NS_PER_SEC) {
		log_event(LOG_NOTICE, "stopping at once", LC("signal", strsignal(number)));
		child_stop(&d.inet, 0);
		child_stop(&d.store, 0);
	}
}

static void begin(void *arg)
{
	static const struct control_verb verbs[] = { { "status", status } };
	char path[4200];
	struct err err;
	enum st st;
	int fd;

	(void)arg;
	snprintf(path, sizeof path, "%s/run/mailrootd", d.options.home);
	st = signals_watch(&d.signals, signalled, &err);
	if (st == ST_OK)
		st = control_bind(path, &fd, &err);
	if (st == ST_OK)
		st = control_listen(fd, path, verbs, 1, NULL, &d.control, &err);
	if (st == ST_OK)
		st = child_start(&d.store, &err);
	if (st == ST_OK)
		diskwatch_start(d.config);
	if (st != ST_OK) {
		log_event(LOG_ERROR, "cannot start", LE(&err));
		d.failed = true;
		loop_stop(d.loop);
	}
}

static enum st prepare(struct err *err)
{
	enum st st = standby_refuse(d.options.home, err);

	if (st == ST_OK)
		st = config_read(d.options.home, &d.config, err);
	if (st == ST_OK)
		st = lock_home(err);
	if (st == ST_OK)
		st = open_ports(err);
	if (st == ST_OK)
		st = open_ipc(err);
	if (st == ST_OK)
		st = loop_new("mailrootd", &d.loop, err);
	return st;
}

int main(int argc, char **argv)
{
	static const struct option_row rows[] = { OPTION_HOME, OPTION_READY_FD, OPTION_END };
	struct err err;

	process_begin();
	/* Others may enter the home: a socket in it is nobody else's, also before it got its mode. */
	umask(022);
	options_read(&d.options, "mailrootd", "the service controller of a Mailroot server", rows,
		     argc, argv);
	if (prepare(&err) != ST_OK) {
		fprintf(stderr, "mailrootd: %s\n", err.text);
		return 1;
	}
	log_open("mailrootd", options_log_level(&d.options, d.config));
	describe_children();
	loop_post(d.loop, begin, NULL);
	loop_run(d.loop);
	diskwatch_stop();
	log_event(LOG_NOTICE, "stopped", LC("home", d.options.home));
	return d.failed ? 1 : 0;
}
