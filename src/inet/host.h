/* host.h - the protocol host: what all sessions of mailroot-inet share.
 *
 * One inet_host per process.  Each loop has an inet_loop with the loop's own end of everything: its ExIPC
 * channel, its DSAccess, its sessions.  Listening sockets live on loops[0]; an accepted connection is
 * checked against the limits there and handed to the loops in turn (loop_post).  A session belongs to
 * its loop for life.
 *
 * A protocol is a struct inet_protocol; its session struct begins with a struct inet_session.  The host
 * makes it, starts TLS where the service has it from the first byte, runs serve() in a fiber
 * whenever there is something to do (conn_serve), and frees it when the connection is gone.
 *
 * Stopping: listeners close, every session is kicked; serve() finds inet_stopping(), says so in its
 * protocol's words and closes.  Losing the store kicks every session too: one that is logged on finds
 * ds_logon_alive() false and says bye. */
#ifndef INET_HOST_H
#define INET_HOST_H

#include "base/config.h"
#include "base/logline.h"
#include "directory/dsaccess.h"
#include "exipc/exipc.h"
#include "inet/services.h"
#include "loop/conn.h"
#include "transport/aq.h"
#include "transport/mailmsg.h"

#include <netinet/in.h>

#define INET_PROTOCOLS 3 /* enum protocol */

struct inet_host;
struct inet_loop;
struct inet_session;

/* ---- a protocol ---- */

struct inet_protocol {
	const char *name;        /* "smtp": the SASL service name, in logs and counters */
	size_t session_size;     /* the session's struct begins with struct inet_session; zeroed */
	const char *timeout_key; /* mailroot.conf: seconds of silence */
	bool login_timeout;      /* login_timeout_s holds until inet_logged_on() */
	size_t in_max;           /* conn_limits.in_max of its connections; 0: the default */
	const char *
		busy_line; /* told to a connection over a limit, with CR LF; not under implicit TLS */
	/* F: there is input, or the connection's state changed, or it was kicked; the first time to greet.
	 * Work until conn_input() holds nothing whole, then return. */
	void (*serve)(struct inet_session *s);
	/* The connection is gone: free what hangs on the session, not the session.  Outside any fiber: what
	 * needs one (log off, close a maildrop) was done in serve() before conn_close(). */
	void (*gone)(struct inet_session *s);
};

/* ---- a session ---- */

struct inet_session {
	struct inet_loop *loop;
	const struct inet_protocol *protocol;
	const struct service *service;
	struct conn *conn;
	uint64_t id;     /* of the connection: unique in this process, in every log line about it */
	int64_t started; /* clock_mono */
	const char *
		waits; /* what it waits for, a literal, logged when the end must cut it off; NULL: nothing */
	char user[DS_ADDRESS_MAX + 1]; /* logged on as; "" = nobody */
	unsigned errors;               /* wrong commands so far: inet_error() */
	/* private */
	struct inet_session *next, *prev;
	struct in6_addr ip;
	struct conn_stats seen; /* of it, what is in the counters */
};

/* Has the host begun to stop?  The session says bye and closes. */
bool inet_stopping(const struct inet_session *s);
/* Is a password safe on this connection: TLS, or from a loopback address, or auth_without_tls? */
bool inet_secure(const struct inet_session *s);
/* F: the TLS handshake, counted; the offer was answered already.  False: it failed, and the log has why: end the session
 * without a word. */
bool inet_starttls(struct inet_session *s);
/* One wrong command more.  True: that was errors_max, end it. */
bool inet_error(struct inet_session *s);
/* From now on the protocol's own timeout; the name is copied. */
void inet_logged_on(struct inet_session *s, const char *user);
/* One log line about this session: its fields are put behind conn=, service= and ip=. */
#define inet_log(s, level, event, ...)                                                             \
	inet_log_fields(s, level, event,                                                           \
			(const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })
void inet_log_fields(const struct inet_session *s, enum log_level level, const char *event,
		     const struct log_field *fields);

/* Is less than disk_reserve_bytes free where the queue is?  Any loop. */
bool inet_disk_low(const struct inet_host *h);

/* Per-address limits of mailroot.conf over a minute.  False: over it, refuse for now. */
enum inet_rate { INET_RATE_CONNECTS, INET_RATE_MESSAGES, INET_RATE_RECIPIENTS, INET_RATES };
bool inet_rate_take(struct inet_session *s, enum inet_rate what);

/* ---- counters ---- */

#define INET_COUNTERS_LIST(X)                                                                      \
	X(INET_CONNECTIONS, "connections")                                                         \
	X(INET_REFUSED, "connections_refused")                                                     \
	X(INET_SESSIONS, "sessions") /* now */                                                     \
	X(INET_COMMANDS, "commands")                                                               \
	X(INET_ERRORS, "errors")                                                                   \
	X(INET_TLS, "tls_handshakes")                                                              \
	X(INET_TLS_FAILED, "tls_failures")                                                         \
	X(INET_AUTH, "logons")                                                                     \
	X(INET_AUTH_FAILED, "logon_failures")                                                      \
	X(INET_MESSAGES_IN, "messages_in")                                                         \
	X(INET_MESSAGES_OUT, "messages_out")                                                       \
	X(INET_MESSAGES_REFUSED, "messages_refused")                                               \
	X(INET_RECIPIENTS_REFUSED, "recipients_refused")                                           \
	X(INET_BYTES_IN, "bytes_in")                                                               \
	X(INET_BYTES_OUT, "bytes_out")                                                             \
	X(INET_BYTES_SENDFILE, "bytes_sendfile")

enum inet_counter {
#define INET_COUNTER_NAME(symbol, name) symbol,
	INET_COUNTERS_LIST(INET_COUNTER_NAME)
#undef INET_COUNTER_NAME
		INET_COUNTERS
};
const char *inet_counter_name(enum inet_counter c);
void inet_count(struct inet_session *s, enum inet_counter c, int64_t n);
/* Sum over the loops; any thread. */
uint64_t inet_counted(const struct inet_host *h, enum protocol p, enum inet_counter c);

/* ---- a loop's end ---- */

/* A change notification of the store (exipc_notify): embed, zeroed, own loop. */
struct inet_watcher {
	uint64_t token; /* given by inet_watch(), for PR_WATCH_TOKEN; never used again */
	/* Outside any fiber; usually just conn_kick(). */
	void (*changed)(void *arg, uint64_t value);
	void *arg;
	struct inet_watcher *next; /* private */
};

#define INET_WATCH_BUCKETS 1024

struct inet_loop {
	struct inet_host *host;
	struct loop *loop;
	unsigned index;
	struct exipc_chan *chan;
	struct dsaccess *ds;
	/* private */
	struct inet_watcher directory; /* its changes empty ds */
	struct inet_session *sessions;
	uint64_t nsessions;
	uint64_t counters[INET_PROTOCOLS][INET_COUNTERS];
	uint64_t next_token;
	struct inet_watcher *watchers[INET_WATCH_BUCKETS];
};
void inet_watch(struct inet_loop *il, struct inet_watcher *w);
void inet_unwatch(struct inet_loop *il, struct inet_watcher *w); /* fine when not watching */

/* ---- the host ---- */

struct inet_options {
	const struct config *config;
	const char *version;
	struct loop **loops; /* not running yet, or this is loops[0]'s thread */
	unsigned nloops;     /* 1 to EXIPC_LOOPS_MAX */
	const struct inet_protocol
		*protocols[INET_PROTOCOLS]; /* by enum protocol; NULL: not served */
	/* The private key is read, the queue's folder not opened yet: who started as root gives that up here.  What it
	 * returns is inet_host_new()'s result unless ST_OK.  May be NULL. */
	enum st (*key_read)(struct err *err);
};

struct inet_ips; /* who is connected from where */

struct inet_host {
	const struct config *config;
	const char *version;
	char hostname[256];
	struct tls *tls; /* NULL: no certificate, no TLS */
	struct mailmsg_driver *queue;
	struct aq *aq; /* on loops[0] */
	unsigned nloops;
	struct inet_loop *loops[EXIPC_LOOPS_MAX];
	/* private */
	const struct inet_protocol *protocols[INET_PROTOCOLS];
	struct exipc_client *ipc;
	struct inet_ips *ips;
	struct inet_port *ports;
	bool stopping;
	unsigned loops_ready, next_loop;
	uint64_t next_id;
	uint64_t sessions; /* on all loops */
	unsigned tasks; /* fibers of our own, what the loops were told, and one for the transport */
	struct timer patience;
	void (*started)(void *arg, enum st st, const struct err *err);
	void (*stopped)(void *arg);
	void *arg;
	struct err err;
};

/* Read certificates, open the queue's folder: what can be wrong with the home shows here.  Blocks.
 * Nothing runs yet. */
[[nodiscard]] enum st inet_host_new(const struct inet_options *o, struct inet_host **out,
				    struct err *err);
/* A listening socket for a service; taken over.  Before inet_host_start(). */
[[nodiscard]] enum st inet_host_listen(struct inet_host *h, const struct service *service, int fd,
				       struct err *err);
/* Post the start to every loop.  started(arg, ...) runs on loops[0] when connections are accepted (once the
 * store answers, or a few seconds later without it), or with what failed. */
void inet_host_start(struct inet_host *h,
		     void (*started)(void *arg, enum st st, const struct err *err), void *arg);
/* loops[0]'s thread: stop as the head of this file says; sessions that are not gone by the deadline are
 * aborted; then the queuing engine stops and stopped(arg) runs on loops[0]: the loops may be stopped. */
void inet_host_stop(struct inet_host *h, int64_t deadline, void (*stopped)(void *arg));
/* The loops have ended. */
void inet_host_free(struct inet_host *h);

#endif
