#include "inet/session.h"
#include "base/disk.h"
#include "inet/ips.h"

#include <stdlib.h>
#include <unistd.h>

static const char *const counter_names[INET_COUNTERS] = {
#define INET_COUNTER_TEXT(symbol, name) [symbol] = name,
	INET_COUNTERS_LIST(INET_COUNTER_TEXT)
#undef INET_COUNTER_TEXT
};

const char *inet_counter_name(enum inet_counter c)
{
	return counter_names[c];
}

/* Written on its own loop only; others read whole values. */
static void count(struct inet_loop *il, enum protocol p, enum inet_counter c, int64_t n)
{
	uint64_t *at = &il->counters[p][c];

	__atomic_store_n(at, *at + (uint64_t)n, __ATOMIC_RELAXED);
}

void inet_count(struct inet_session *s, enum inet_counter c, int64_t n)
{
	count(s->loop, s->service->protocol, c, n);
}

uint64_t inet_counted(const struct inet_host *h, enum protocol p, enum inet_counter c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < h->nloops; i++)
		sum += __atomic_load_n(&h->loops[i]->counters[p][c], __ATOMIC_RELAXED);
	return sum;
}

/* ---- about a session ---- */

bool inet_stopping(const struct inet_session *s)
{
	return __atomic_load_n(&s->loop->host->stopping, __ATOMIC_RELAXED);
}

bool inet_secure(const struct inet_session *s)
{
	return conn_is_tls(s->conn) || IN6_IS_ADDR_LOOPBACK(&s->ip) ||
	       (IN6_IS_ADDR_V4MAPPED(&s->ip) && s->ip.s6_addr[12] == 127) ||
	       config_bool(s->loop->host->config, "auth_without_tls");
}

bool inet_error(struct inet_session *s)
{
	inet_count(s, INET_ERRORS, 1);
	s->errors++;
	return s->errors >= (unsigned)config_int(s->loop->host->config, "errors_max");
}

bool inet_rate_take(struct inet_session *s, enum inet_rate what)
{
	return ips_take(s->loop->host->ips, &s->ip, what);
}

bool inet_disk_low(const struct inet_host *h)
{
	struct disk_view v;

	if (disk_look(h->config, config_str(h->config, "queue_dir"), &v, NULL) != ST_OK)
		return false; /* writing will tell */
	return v.state == DISK_FULL;
}

#define LOG_FIELDS_MAX 24

void inet_log_fields(const struct inet_session *s, enum log_level level, const char *event,
		     const struct log_field *fields)
{
	struct log_field all[LOG_FIELDS_MAX] = {
		LU("conn", s->id),
		LC("service", s->service->name),
		LC("ip", conn_peer_ip(s->conn)),
	};
	unsigned n = 3;

	if (!log_wants(level))
		return;
	if (s->user[0])
		all[n++] = LC("user", s->user);
	for (; fields->key && n + 1 < LOG_FIELDS_MAX; fields++)
		all[n++] = *fields;
	log_fields(level, event, all);
}

static void set_limits(struct inet_session *s, const char *timeout_key)
{
	const struct config *c = s->loop->host->config;
	const struct conn_limits limits = {
		.in_max = s->protocol->in_max,
		.idle_ms = (int)config_int(c, timeout_key) * 1000,
		.write_ms = (int)config_int(c, "write_timeout_s") * 1000,
	};

	conn_set_limits(s->conn, &limits);
}

void inet_logged_on(struct inet_session *s, const char *user)
{
	size_t len = strlen(user);

	if (len >= sizeof(s->user))
		len = sizeof(s->user) - 1;
	memcpy(s->user, user, len);
	s->user[len] = 0;
	set_limits(s, s->protocol->timeout_key);
}

/* ---- its life ---- */

static void count_bytes(struct inet_session *s)
{
	struct conn_stats now;

	conn_get_stats(s->conn, &now);
	inet_count(s, INET_BYTES_IN, (int64_t)(now.in - s->seen.in));
	inet_count(s, INET_BYTES_OUT, (int64_t)(now.out - s->seen.out));
	inet_count(s, INET_BYTES_SENDFILE, (int64_t)(now.sendfile_bytes - s->seen.sendfile_bytes));
	s->seen = now;
}

bool inet_starttls(struct inet_session *s)
{
	struct inet_host *h = s->loop->host;
	int64_t deadline = deadline_in_ms(config_int(h->config, "tls_timeout_s") * 1000);
	struct err err;

	s->waits = "TLS handshake";
	if (conn_starttls(s->conn, h->tls, deadline, &err) == ST_OK) {
		s->waits = NULL;
		inet_count(s, INET_TLS, 1);
		return true;
	}
	s->waits = NULL;
	inet_count(s, INET_TLS_FAILED, 1);
	inet_log(s, LOG_INFO, "TLS handshake failed", LE(&err));
	return false;
}

static void serve(void *owner)
{
	struct inet_session *s = owner;

	if (s->service->implicit_tls && !conn_is_tls(s->conn) && !inet_starttls(s)) {
		conn_abort(s->conn);
		return;
	}
	s->protocol->serve(s);
	count_bytes(s);
}

static void gone(void *owner)
{
	struct inet_session *s = owner;
	struct inet_loop *il = s->loop;

	count_bytes(s);
	s->protocol->gone(s);
	*(s->prev ? &s->prev->next : &il->sessions) = s->next;
	if (s->next)
		s->next->prev = s->prev;
	il->nsessions--;
	inet_count(s, INET_SESSIONS, -1);
	host_session_left(il->host, &s->ip);
	free(s);
}

static struct inet_session *session_new(const struct inet_arrival *a)
{
	struct inet_session *s = calloc(1, a->protocol->session_size);
	const struct conn_limits limits = { 0 };
	struct err err;

	if (!s)
		return NULL;
	s->loop = a->loop;
	s->protocol = a->protocol;
	s->service = a->service;
	s->id = a->id;
	s->ip = a->ip;
	s->started = clock_mono();
	if (conn_new(a->fd, &limits, s, gone, &s->conn, &err) != ST_OK) {
		free(s);
		return NULL;
	}
	set_limits(s, a->protocol->login_timeout ? "login_timeout_s" : a->protocol->timeout_key);
	return s;
}

void session_adopt(void *arrival)
{
	struct inet_arrival *a = arrival;
	struct inet_loop *il = a->loop;
	struct inet_session *s = session_new(a);

	if (!s) {
		close(a->fd);
		host_session_left(il->host, &a->ip);
		free(a);
		return;
	}
	free(a);
	s->next = il->sessions;
	if (s->next)
		s->next->prev = s;
	il->sessions = s;
	il->nsessions++;
	inet_count(s, INET_CONNECTIONS, 1);
	inet_count(s, INET_SESSIONS, 1);
	inet_log(s, LOG_DEBUG, "connected");
	conn_serve(s->conn, serve, true);
}

void session_kick_all(struct inet_loop *il)
{
	for (struct inet_session *s = il->sessions; s; s = s->next)
		conn_kick(s->conn);
}

/* gone() runs on the loop later, so the list does not change under us. */
void session_abort_all(struct inet_loop *il)
{
	for (struct inet_session *s = il->sessions; s; s = s->next) {
		inet_log(s, LOG_NOTICE, "session cut off",
			 LC("waits_for", s->waits ? s->waits : ""));
		conn_abort(s->conn);
	}
}
