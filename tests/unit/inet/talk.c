#include "talk.h"
#include "fakestore.h"
#include "base/logline.h"
#include "inet/ips.h"
#include "inet/session.h"
#include "transport/fsdriver.h"

#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <fnmatch.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- the world around a session ---- */

static struct world {
	struct inet_host host;
	struct inet_loop il;
	const struct inet_protocol *protocol;
	const struct talk *talks;
	size_t ntalks;
	char failure[8192];
	/* the last submitted message; the client looks only when the server has answered */
	pthread_mutex_t lock;
	struct buf content;
	unsigned submitted, rcpts;
} w;

void host_session_left(struct inet_host *h, const struct in6_addr *ip)
{
	ips_leave(h->ips, ip);
}

enum st aq_admit(struct aq *aq, struct err *err)
{
	(void)aq;
	(void)err;
	return ST_OK;
}

void aq_submit(struct aq *aq, struct mailmsg *m)
{
	struct pool *pool = pool_new("envelope", 1024 * 1024);
	struct mailmsg_envelope env;
	struct err err;
	char piece[4096];
	size_t got = 1;

	(void)aq;
	assert_int_equal(mailmsg_load(m, &err), ST_OK);
	assert_int_equal(mailmsg_envelope(m, pool, &env, &err), ST_OK);
	pthread_mutex_lock(&w.lock);
	buf_clear(&w.content);
	w.rcpts = (unsigned)env.nrcpts;
	w.submitted++;
	for (uint64_t at = 0; at < mailmsg_size(m); at += got) {
		assert_int_equal(mailmsg_read(m, at, piece, sizeof(piece), &got, &err), ST_OK);
		buf_add(&w.content, piece, got);
	}
	pthread_mutex_unlock(&w.lock);
	pool_free(pool);
	assert_int_equal(mailmsg_delete(m, &err), ST_OK);
	mailmsg_free(m);
}

enum st aq_accept(struct aq *aq, struct mailmsg *m, struct mailmsg_envelope *env, struct err *err)
{
	enum st st = mailmsg_commit(m, env, err);

	if (st == ST_OK)
		aq_submit(aq, m);
	else
		mailmsg_free(m);
	return st;
}

static enum st resolve(void *arg, struct span address, struct pool *pool, struct ds_object *out,
		       struct err *err)
{
	static const struct {
		const char *address;
		struct ds_object object;
	} rows[] = {
		{ "alice@mailroot.test", { .kind = OBJECT_MAILBOX, .mailbox_id = 1 } },
		{ "bob@mailroot.test", { .kind = OBJECT_MAILBOX, .mailbox_id = 2 } },
		{ "postmaster@mailroot.test", { .kind = OBJECT_MAILBOX, .mailbox_id = 1 } },
		{ "gone@mailroot.test", { .kind = OBJECT_MAILBOX, .disabled = true } },
		{ "team@mailroot.test", { .kind = OBJECT_ALIAS } },
	};

	(void)arg;
	(void)pool;
	if (span_ieq(address, SPAN("down@mailroot.test")))
		return (fail)(err, ST_GONE, "no store");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (span_ieq(address, span_str(rows[i].address))) {
			*out = rows[i].object;
			return ST_OK;
		}
	}
	*out = (struct ds_object){ 0 };
	out->domain_local = address.len > 14 &&
			    span_ieq(span_skip(address, address.len - 14), SPAN("@mailroot.test"));
	return (fail)(err, ST_NOTFOUND, "no such address");
}

/* ---- the client, on a thread of its own ---- */

struct client {
	const struct talk *talk;
	int fd;
	SSL *ssl;
	char in[65536];
	size_t len;
};

static bool differs(struct client *c, const char *what, const char *want, const char *got)
{
	snprintf(w.failure, sizeof(w.failure), "%s: %s, wanted '%s', got '%s'", c->talk->name, what,
		 want, got);
	return false;
}

static bool send_all(struct client *c, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = c->ssl ? SSL_write(c->ssl, bytes, (int)len)
				   : send(c->fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

static bool send_escaped(struct client *c, struct span text)
{
	struct buf out = BUF_MAX(65536);

	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] != '\\' || i + 1 == text.len) {
			buf_char(&out, text.at[i]);
			continue;
		}
		i++;
		buf_char(&out, text.at[i] == 'r'   ? '\r'
			       : text.at[i] == 'n' ? '\n'
			       : text.at[i] == '0' ? '\0'
						   : text.at[i]);
	}
	bool ok = send_all(c, out.at, out.len);
	buf_free(&out);
	return ok;
}

/* False at the end of the connection. */
static bool read_line(struct client *c, char *line, size_t room)
{
	char *end;

	while (!(end = memmem(c->in, c->len, "\r\n", 2))) {
		size_t left = sizeof(c->in) - c->len;
		ssize_t n = c->ssl ? SSL_read(c->ssl, c->in + c->len, (int)left)
				   : recv(c->fd, c->in + c->len, left, 0);

		if (n <= 0)
			return false;
		c->len += (size_t)n;
	}
	snprintf(line, room, "%.*s", (int)(end - c->in), c->in);
	c->len -= (size_t)(end + 2 - c->in);
	memmove(c->in, end + 2, c->len);
	return true;
}

static bool expect(struct client *c, const char *pattern)
{
	char line[2048];

	if (!read_line(c, line, sizeof(line)))
		return differs(c, "no line", pattern, "");
	return fnmatch(pattern, line, 0) == 0 || differs(c, "another line", pattern, line);
}

static bool skip_octets(struct client *c, size_t n)
{
	while (n > 0) {
		size_t here = n < c->len ? n : c->len;

		c->len -= here;
		memmove(c->in, c->in + here, c->len);
		n -= here;
		if (n > 0) {
			ssize_t got = recv(c->fd, c->in, sizeof(c->in), 0);

			if (got <= 0)
				return false;
			c->len = (size_t)got;
		}
	}
	return true;
}

/* One response, its literals passed over; `line` is its first line.  False at the end of the connection. */
static bool read_response(struct client *c, char *line, size_t room)
{
	char more[2048];
	char *last = line;

	if (!read_line(c, line, room))
		return false;
	for (;;) {
		const char *brace = strrchr(last, '{');
		size_t octets;

		if (!brace || sscanf(brace, "{%zu}", &octets) != 1 ||
		    brace[strspn(brace, "{0123456789}")] != '\0')
			return true;
		if (!skip_octets(c, octets) || !read_line(c, more, sizeof(more)))
			return false;
		last = more;
	}
}

static bool read_until(struct client *c, const char *tag)
{
	char line[2048];
	size_t len = strlen(tag);

	while (read_response(c, line, sizeof(line))) {
		if (len > 0 && strncmp(line, tag, len) == 0 && line[len] == ' ')
			return true;
		if (fnmatch("[*+] *", line, 0) != 0 && fnmatch("? OK *", line, 0) != 0 &&
		    fnmatch("? NO *", line, 0) != 0 && fnmatch("* BAD *", line, 0) != 0)
			return differs(c, "no response", tag, line);
	}
	return c->talk->loose || len == 0 || differs(c, "the connection ended", tag, "");
}

static bool send_many(struct client *c, unsigned long n)
{
	char x[4096];

	memset(x, 'x', sizeof(x));
	for (; n > 0; n -= n < sizeof(x) ? n : sizeof(x))
		if (!send_all(c, x, n < sizeof(x) ? n : sizeof(x)))
			break; /* cut off: what the server said last still counts */
	return true;
}

static bool begin_tls(struct client *c)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	c->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_fd(c->ssl, c->fd);
	return SSL_connect(c->ssl) == 1 || differs(c, "no TLS", "", "");
}

static bool run_step(struct client *c, struct span step)
{
	struct span rest = step.len > 3 ? span_skip(step, 3) : SPAN("");
	char text[2048], line[2048];

	snprintf(text, sizeof(text), SPAN_FMT, SPAN_ARG(rest));
	switch (step.at[0]) {
	case 'C':
		return (send_all(c, text, strlen(text)) && send_all(c, "\r\n", 2)) ||
		       c->talk->loose;
	case 'c':
		return send_escaped(c, rest) || c->talk->loose;
	case 'R':
		return read_until(c, text);
	case 'S':
		return expect(c, text);
	case 'T':
		return begin_tls(c);
	case 'W':
		return send_many(c, strtoul(text, NULL, 10));
	default:
		if (read_line(c, line, sizeof(line)))
			return differs(c, "still open", "", line);
		return true;
	}
}

static bool check_submitted(struct client *c, unsigned before)
{
	const struct talk *t = c->talk;
	struct span got;
	bool ok;

	pthread_mutex_lock(&w.lock);
	got = buf_get(&w.content);
	if (!t->content)
		ok = w.submitted == before || differs(c, "a message was taken", "none", "one");
	else if (w.submitted != before + 1 || w.rcpts != t->rcpts)
		ok = differs(c, "no message, or other recipients", t->content, "");
	else
		ok = (got.len >= strlen(t->content) &&
		      span_eq(span_skip(got, got.len - strlen(t->content)), span_str(t->content)) &&
		      span_has_prefix(got, SPAN("Received: from "))) ||
		     differs(c, "another message", t->content, got.at);
	pthread_mutex_unlock(&w.lock);
	return ok;
}

static void connect_to_server(struct client *c)
{
	struct inet_arrival *a = calloc(1, sizeof(*a));
	const char *service = c->talk->service ? c->talk->service : w.protocol->name;
	const struct timeval patience = { .tv_sec = 20 };
	char ip[64];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	c->fd = pair[0];
	*a = (struct inet_arrival){
		.loop = &w.il,
		.protocol = w.protocol,
		.service = service_find(span_str(service)),
		.id = 1,
		.fd = pair[1],
	};
	snprintf(ip, sizeof(ip), "::ffff:%s", c->talk->ip ? c->talk->ip : "127.0.0.1");
	inet_pton(AF_INET6, ip, &a->ip);
	loop_post(w.il.loop, session_adopt, a);
}

static bool run_talk(const struct talk *t)
{
	struct client c = { .talk = t };
	struct span rest = span_str(t->text);
	unsigned before = w.submitted;
	bool ok = true;

	connect_to_server(&c);
	while (ok && rest.at && rest.len > 0) {
		struct span step = span_split(rest, '\n', &rest);

		if (step.len > 0)
			ok = run_step(&c, step);
	}
	if (!ok && !w.failure[0])
		differs(&c, "the connection broke", "", "");
	SSL_free(c.ssl);
	close(c.fd);
	return ok && check_submitted(&c, before);
}

static void over(void *arg)
{
	loop_stop(arg);
}

static void *client(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < w.ntalks && run_talk(&w.talks[i]); i++)
		;
	loop_post(w.il.loop, over, w.il.loop);
	return NULL;
}

/* ---- putting it together ---- */

static void make_home(char *home, const char *settings)
{
	char path[256];
	FILE *f;

	assert_non_null(mkdtemp(home));
	snprintf(path, sizeof(path), "%s/mailroot.conf", home);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(settings, f);
	fclose(f);
}

static void start_loop(void *arg)
{
	static const struct ds_source source = { .resolve = resolve };
	const struct ds_options o = { .source = &source, .chan = fakestore_chan() };
	struct err err;

	(void)arg;
	w.il.chan = fakestore_chan();
	assert_int_equal(ds_new(&o, &w.il.ds, &err), ST_OK);
}

static void make_certificate(const char *home)
{
	char cert[256], key[256];
	struct err err;

	snprintf(cert, sizeof(cert), "%s/cert.pem", home);
	snprintf(key, sizeof(key), "%s/key.pem", home);
	assert_int_equal(tls_self_signed(cert, key, "mx.mailroot.test", &err), ST_OK);
	assert_int_equal(tls_server_new(cert, key, &w.host.tls, &err), ST_OK);
}

static void set_up(char *home, const char *settings, bool tls)
{
	const struct inet_ips_limits limits = { 0 };
	struct config *config;
	struct err err;

	log_open("test", LOG_ERROR);
	make_home(home, settings);
	if (config_read(home, &config, &err) != ST_OK)
		fail_msg("%s", err.text);
	if (tls)
		make_certificate(home);
	w.host.config = config;
	w.host.version = "test";
	w.host.nloops = 1;
	w.host.loops[0] = &w.il;
	snprintf(w.host.hostname, sizeof(w.host.hostname), "mx.mailroot.test");
	w.host.ips = ips_new(&limits);
	w.il.host = &w.host;
	pthread_mutex_init(&w.lock, NULL);
	w.content = BUF_MAX(64 * 1024 * 1024);
	assert_int_equal(fsdriver_open(config_str(config, "queue_dir"), &w.host.queue, &err),
			 ST_OK);
	assert_int_equal(loop_new("test", &w.il.loop, &err), ST_OK);
	work_start(2);
}

static void tear_down(char *home)
{
	char command[256];

	ds_free(w.il.ds);
	work_stop();
	loop_free(w.il.loop);
	fsdriver_close(w.host.queue);
	ips_free(w.host.ips);
	tls_free(w.host.tls);
	buf_free(&w.content);
	config_free((struct config *)(uintptr_t)w.host.config);
	snprintf(command, sizeof(command), "rm -rf '%s'", home);
	assert_int_equal(system(command), 0);
	w = (struct world){ 0 };
}

static void run(const struct inet_protocol *protocol, const char *settings, bool tls,
		const struct talk *talks, size_t n)
{
	char home[] = "/tmp/mailroot-talk-XXXXXX", failure[sizeof(w.failure)];
	pthread_t thread;

	set_up(home, settings, tls);
	w.protocol = protocol;
	w.talks = talks;
	w.ntalks = n;
	loop_post(w.il.loop, start_loop, NULL);
	assert_int_equal(pthread_create(&thread, NULL, client, NULL), 0);
	loop_run(w.il.loop);
	pthread_join(thread, NULL);
	memcpy(failure, w.failure, sizeof(failure));
	tear_down(home);
	if (failure[0])
		fail_msg("%s", failure);
}

void talk_run(const struct inet_protocol *protocol, const char *settings, const struct talk *talks,
	      size_t n)
{
	run(protocol, settings, false, talks, n);
}

void talk_run_tls(const struct inet_protocol *protocol, const char *settings,
		  const struct talk *talks, size_t n)
{
	run(protocol, settings, true, talks, n);
}
