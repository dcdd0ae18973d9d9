/* inet.c - mailroot-inet, the protocol host: SMTP, POP3 and IMAP sessions, and the transport. */
#include "admin/control.h"
#include "admin/options.h"
#include "admin/version.h"
#include "inet/host.h"
#include "inet/imap/imap.h"
#include "inet/pop3/pop3.h"
#include "inet/smtp/smtp.h"
#include "main/privileges.h"
#include "main/process.h"
#include "main/threads.h"
#include "transport/fsdriver.h"

#include <stdio.h>

#define STOP_MS     20000
#define LISTED_MAX  1000
#define SPARE_FILES 500 /* besides connections: queue files, loops, bindings */

static struct inet_main {
	struct options options;
	struct config *config;
	struct threads threads;
	struct inet_host *host;
	struct signals signals;
	char control_path[4200];
	int control_fd;
	struct control *control;
	bool stopping;
	int status;
} m;

/* ---- questions of the administrator ---- */

static void put_time(struct report *r, const char *column, int64_t at)
{
	report_num(r, column, at > 0 ? (uint64_t)(at / NS_PER_SEC) : 0);
}

static void queue_row(void *arg, const struct aq_queue_view *v)
{
	struct report *r = arg;

	report_row(r);
	report_str(r, "queue", v->name);
	report_str(r, "state", v->state);
	report_num(r, "messages", v->messages);
	report_num(r, "active", v->active);
	report_num(r, "bytes", v->bytes);
	put_time(r, "oldest", v->oldest);
	put_time(r, "next_try", v->next_try);
}

static void message_row(void *arg, const struct aq_message_view *v)
{
	struct report *r = arg;

	report_row(r);
	report_str(r, "message", v->name);
	report_num(r, "queue", (uint64_t)v->queue);
	report_num(r, "bytes", v->size);
	put_time(r, "arrived", v->arrival);
	report_num(r, "attempts", v->attempts);
	put_time(r, "next_try", v->next_try);
	report_str(r, "last_error", v->error == ST_OK ? "" : st_name(v->error));
}

static void queue(void *owner, struct report *r)
{
	struct aq_stats s;

	(void)owner;
	aq_stats(m.host->aq, &s);
	report_table(r, "transport", true);
	report_row(r);
	report_num(r, "submitted", s.submitted);
	report_num(r, "found_at_start", s.enumerated);
	report_num(r, "delivered_messages", s.delivered_messages);
	report_num(r, "delivered_recipients", s.delivered_recipients);
	report_num(r, "failed_recipients", s.failed_recipients);
	report_num(r, "retries", s.retries);
	report_num(r, "reports", s.reports);
	report_num(r, "badmail", s.badmail);
	report_num(r, "refused", s.refused);
	report_num(r, "waiting", s.waiting);
	report_table(r, "queues", false);
	aq_queues(m.host->aq, queue_row, r);
	report_table(r, "messages", false);
	aq_messages(m.host->aq, LISTED_MAX, message_row, r);
}

static void status(void *owner, struct report *r)
{
	static const char *const names[INET_PROTOCOLS] = { "smtp", "pop3", "imap" };

	(void)owner;
	report_table(r, "protocols", false);
	for (unsigned p = 0; p < INET_PROTOCOLS; p++) {
		report_row(r);
		report_str(r, "protocol", names[p]);
		for (unsigned c = 0; c < INET_COUNTERS; c++)
			report_num(r, inet_counter_name(c), inet_counted(m.host, p, c));
	}
}

/* ---- starting and stopping; all on loops[0] ---- */

static void stopped(void *arg)
{
	(void)arg;
	threads_stop(&m.threads);
}

static void stop(void)
{
	if (m.stopping)
		return;
	m.stopping = true;
	log_event(LOG_INFO, "stopping");
	control_close(m.control);
	inet_host_stop(m.host, deadline_in_ms(STOP_MS), stopped);
}

static void signalled(int number)
{
	(void)number;
	stop();
}

static void started(void *arg, enum st st, const struct err *err)
{
	static const struct control_verb verbs[] = { { "status", status }, { "queue", queue } };
	struct err e;

	(void)arg;
	if (st == ST_OK) {
		err = &e;
		st = control_listen(m.control_fd, m.control_path, verbs,
				    sizeof verbs / sizeof verbs[0], NULL, &m.control, &e);
	}
	if (st == ST_OK) {
		log_event(LOG_INFO, "serving", LU("loops", m.threads.n));
		options_tell_ready(&m.options);
		return;
	}
	log_event(LOG_ERROR, "cannot start", LE(err));
	m.status = 1;
	stop();
}

static void begin(void *arg)
{
	struct err err;

	(void)arg;
	if (signals_watch(&m.signals, signalled, &err) != ST_OK)
		panic("%s", err.text);
	inet_host_start(m.host, started, NULL);
}

static enum st listen_all(struct err *err)
{
	for (int i = 0; i < m.options.nsockets; i++) {
		struct span number, name = span_split(span_str(m.options.sockets[i]), '=', &number);
		const struct service *service = service_find(name);
		uint32_t fd;
		enum st st;

		if (!service || !span_u32(number, &fd) || fd > 65535)
			return fail(err, ST_BAD, "'%s' is not SERVICE=FD", m.options.sockets[i]);
		st = inet_host_listen(m.host, service, (int)fd, err);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

static enum st key_read(struct err *err)
{
	const char *user = config_str(m.config, "user_inet");
	enum st st = privileges_give_folder(config_str(m.config, "queue_dir"), user, err);

	if (st == ST_OK)
		st = privileges_give_file(m.control_path, user, err);
	return st == ST_OK ? privileges_drop(user, m.options.home, err) : st;
}

static enum st prepare(struct err *err)
{
	enum st st = config_read(m.options.home, &m.config, err);

	snprintf(m.control_path, sizeof m.control_path, "%s/run/inet", m.options.home);
	if (st == ST_OK)
		st = control_bind(m.control_path, &m.control_fd, err);
	if (st == ST_OK)
		st = threads_new(&m.threads, "inet", m.config, err);
	if (st != ST_OK)
		return st;
	const struct inet_options o = {
		.config = m.config,
		.version = MAILROOT_VERSION,
		.loops = m.threads.loops,
		.nloops = m.threads.n,
		.key_read = key_read,
		.protocols = { [PROTO_SMTP] = &smtp_protocol,
			       [PROTO_POP3] = &pop3_protocol,
			       [PROTO_IMAP] = &imap_protocol },
	};
	st = inet_host_new(&o, &m.host, err);
	return st == ST_OK ? listen_all(err) : st;
}

int main(int argc, char **argv)
{
	static const struct option_row rows[] = { OPTION_HOME, OPTION_READY_FD, OPTION_QUIET,
						  OPTION_SOCKETS, OPTION_END };
	struct err err;

	process_begin();
	options_read(&m.options, "mailroot-inet", "the protocol host of a Mailroot server", rows,
		     argc, argv);
	if (prepare(&err) != ST_OK) {
		fprintf(stderr, "mailroot-inet: %s\n", err.text);
		return 1;
	}
	log_open("mailroot-inet", options_log_level(&m.options, m.config));
	if (process_files_max() < (uint64_t)config_int(m.config, "connections_max") + SPARE_FILES)
		log_event(LOG_WARN, "connections_max is more than the limit of open files allows",
			  LU("files", process_files_max()));
	loop_post(m.threads.loops[0], begin, NULL);
	threads_run(&m.threads);
	inet_host_free(m.host);
	threads_free(&m.threads);
	config_free(m.config);
	return m.status;
}
