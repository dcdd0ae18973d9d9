/* store.c - mailroot-store, the information store. */
#include "admin/options.h"
#include "main/privileges.h"
#include "main/process.h"
#include "main/threads.h"
#include "store/server.h"

#include <stdio.h>
#include <unistd.h>

#define EXIT_BROKEN 70

static struct store_main {
	struct options options;
	struct config *config;
	struct threads threads;
	struct server *server;
	struct signals signals;
	int64_t told; /* when progress was last told, or began */
	bool stopping;
	int status;
} m;

/* The disk failed under the engine: nothing more may be promised; the next start recovers. */
static void broken(const struct err *why)
{
	log_event(LOG_ERROR, "the engine can't write, ending", LE(why));
	_exit(EXIT_BROKEN);
}

/* A person who waits is told; a start that takes a moment is not worth a line. */
static void found(const struct finding *f)
{
	log_event(LOG_ERROR, "stored bytes are damaged", LC("kind", finding_rows[f->kind].name),
		  LU("body", f->body), LC("what", f->text));
}

static void progress(const char *what, uint64_t done, uint64_t total)
{
	int64_t now = clock_mono();

	if (!m.told)
		m.told = now;
	if (now - m.told < NS_PER_SEC)
		return;
	m.told = now;
	log_event(LOG_NOTICE, "recovering", LC("what", what), LU("done", done), LU("total", total));
}

/* The others serve. */
static void tell_trouble(const char *what, const char *why)
{
	log_event(LOG_ERROR, "not in service", LC("database", what), LC("reason", why));
}

/* ---- on loops[0] ---- */

static void stopped(void *arg)
{
	(void)arg;
	threads_stop(&m.threads);
}

static void signalled(int number)
{
	(void)number;
	if (m.stopping)
		return;
	m.stopping = true;
	log_event(LOG_INFO, "stopping");
	server_stop(m.server, stopped, NULL);
}

static void begin(void *arg)
{
	struct err err;

	(void)arg;
	if (signals_watch(&m.signals, signalled, &err) == ST_OK &&
	    server_start(m.server, &err) == ST_OK) {
		log_event(LOG_INFO, "serving", LU("loops", m.threads.n));
		options_tell_ready(&m.options);
		return;
	}
	log_event(LOG_ERROR, "cannot start", LE(&err));
	m.status = 1;
	threads_stop(&m.threads);
}

static enum st locked(struct err *err)
{
	const char *user = config_str(m.config, "user_store");
	char groups[4200];
	enum st st;

	snprintf(groups, sizeof groups, "%s/groups", m.options.home);
	st = privileges_give_folder(groups, user, err);
	return st == ST_OK ? privileges_drop(user, m.options.home, err) : st;
}

static enum st prepare(struct err *err)
{
	struct server_options o = {
		.locked = locked, .broken = broken, .found = found, .progress = progress
	};
	enum st st = config_read(m.options.home, &m.config, err);

	if (st == ST_OK)
		st = threads_new(&m.threads, "store", m.config, err);
	if (st != ST_OK)
		return st;
	log_open("mailroot-store", options_log_level(&m.options, m.config));
	o.conf = m.config;
	o.loops = m.threads.loops;
	o.nloops = m.threads.n;
	o.listen_fd = m.options.listen_fd;
	st = server_open(&o, &m.server, err);
	if (st == ST_OK)
		server_troubles(m.server, tell_trouble);
	return st;
}

int main(int argc, char **argv)
{
	static const struct option_row rows[] = { OPTION_HOME, OPTION_LISTEN_FD, OPTION_READY_FD,
						  OPTION_QUIET, OPTION_END };
	struct err err;

	process_begin();
	options_read(&m.options, "mailroot-store", "the information store of a Mailroot server",
		     rows, argc, argv);
	if (prepare(&err) != ST_OK) {
		fprintf(stderr, "mailroot-store: %s\n", err.text);
		return 1;
	}
	loop_post(m.threads.loops[0], begin, NULL);
	threads_run(&m.threads);
	server_close(m.server);
	threads_free(&m.threads);
	config_free(m.config);
	return m.status;
}
