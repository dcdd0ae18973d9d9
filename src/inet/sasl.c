#include "inet/sasl.h"

#include <sodium.h>

#define POOL_MAX 65536

const char *inet_mechanisms(const struct inet_session *s)
{
	return inet_secure(s) ? "PLAIN LOGIN SCRAM-SHA-256" : "SCRAM-SHA-256";
}

/* The mechanism as we spell it, absent when it is not offered here. */
static struct span offered(const struct inet_session *s, struct span mechanism)
{
	struct span rest = span_str(inet_mechanisms(s));

	while (rest.at) {
		struct span name = span_split(rest, ' ', &rest);

		if (span_ieq(mechanism, name))
			return name;
	}
	return SPAN_NONE;
}

/* What one exchange works with. */
struct exchange {
	struct inet_session *s;
	const struct inet_sasl *x;
	struct pool *pool;
	struct ds_sasl sasl;
	struct ds_logon *logon;
	uint32_t retry_ms;
};

static bool decode(struct pool *pool, struct span base64, struct span *out)
{
	char *room = pool_get(pool, base64.len + 1);
	size_t len;

	if (!room || sodium_base642bin((unsigned char *)room, base64.len + 1, base64.at, base64.len,
				       NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
		return false;
	*out = span_of(room, len);
	return true;
}

static bool encode(struct pool *pool, struct span bytes, struct span *out)
{
	size_t room = sodium_base64_ENCODED_LEN(bytes.len, sodium_base64_VARIANT_ORIGINAL);
	char *at = pool_get(pool, room);

	if (!at)
		return false;
	sodium_bin2base64(at, room, (const unsigned char *)bytes.at, bytes.len,
			  sodium_base64_VARIANT_ORIGINAL);
	*out = span_str(at);
	return true;
}

/* PLAIN's message (RFC 4616): authorization identity (none), name, password, parted by NULs. */
static bool plain_message(struct pool *pool, struct span user, struct span password,
			  struct span *out)
{
	char *at = pool_get(pool, user.len + password.len + 2);

	if (!at || span_find(user, 0) != SIZE_MAX || span_find(password, 0) != SIZE_MAX)
		return false;
	memcpy(at + 1, user.at, user.len);
	memcpy(at + 2 + user.len, password.at, password.len);
	*out = span_of(at, user.len + password.len + 2);
	return true;
}

/* One challenge out, one response in, decoded.  LOGON_OK: go on. */
static enum inet_logon_result ask(struct exchange *e, struct span challenge, struct span *response)
{
	struct span text, line;

	if (!encode(e->pool, challenge, &text))
		return LOGON_SYNTAX;
	if (e->x->ask(e->x->arg, text, &line) != ST_OK)
		return LOGON_GONE;
	if (span_eq(line, SPAN("*")))
		return LOGON_CANCELLED;
	return decode(e->pool, line, response) ? LOGON_OK : LOGON_SYNTAX;
}

/* A wrong password waits, so that guessing is slow; the store counts and may ask for more.  (What it says
 * with ST_BUSY is when a try will be looked at again: nobody is held that long.) */
static void delay(struct exchange *e, enum st st)
{
	int64_t ms = config_int(e->s->loop->host->config, "auth_failure_delay_ms");

	if (st == ST_DENIED && e->retry_ms > ms)
		ms = e->retry_ms;
	e->s->waits = "delay after a wrong password";
	fiber_sleep(deadline_in_ms(ms));
	e->s->waits = NULL;
}

static enum inet_logon_result refused(struct exchange *e, enum st st, const struct err *err)
{
	inet_count(e->s, INET_AUTH_FAILED, 1);
	inet_log(e->s, LOG_NOTICE, "logon failed", LS("mechanism", e->x->mechanism),
		 LC("status", st_name(st)), LE(err));
	switch (st) {
	case ST_DENIED:
	case ST_BUSY:
		delay(e, st);
		return LOGON_DENIED;
	case ST_BAD:
		return LOGON_SYNTAX;
	default:
		return LOGON_TROUBLE;
	}
}

/* LOGIN has no initial response by its grammar; one that is sent is the name. */
static enum inet_logon_result ask_login(struct exchange *e, struct span *plain)
{
	struct span user, password;
	enum inet_logon_result r;

	if (e->x->initial.at) {
		if (!decode(e->pool, e->x->initial, &user))
			return LOGON_SYNTAX;
	} else {
		r = ask(e, SPAN("Username:"), &user);
		if (r != LOGON_OK)
			return r;
	}
	r = ask(e, SPAN("Password:"), &password);
	if (r != LOGON_OK)
		return r;
	return plain_message(e->pool, user, password, plain) ? LOGON_OK : LOGON_SYNTAX;
}

/* Start and steps until the store has decided. */
static enum inet_logon_result talk(struct exchange *e, struct span mechanism, struct span initial)
{
	const struct ds_client client = {
		.mechanism = mechanism,
		.service = span_str(e->s->protocol->name),
		.client_ip = span_str(conn_peer_ip(e->s->conn)),
		.tls = inet_secure(e->s),
	};
	struct dsaccess *ds = e->s->loop->ds;
	struct span data = SPAN_NONE, response;
	struct err err = { 0 };
	enum inet_logon_result r;
	enum st st;

	e->s->waits = "the directory";
	st = ds_sasl_start(ds, &e->sasl, &client, initial, e->pool, &data, e->logon, &e->retry_ms,
			   &err);
	while (st == ST_MORE || (st == ST_OK && data.len > 0)) {
		e->s->waits = "the client's response";
		r = ask(e, data, &response);
		if (r != LOGON_OK) {
			ds_sasl_cancel(ds, &e->sasl);
			ds_logoff(ds, e->logon);
			return r;
		}
		if (st == ST_OK)
			break; /* the answer to the final data carries nothing */
		e->s->waits = "the directory";
		data = SPAN_NONE;
		st = ds_sasl_step(ds, &e->sasl, response, e->pool, &data, e->logon, &e->retry_ms,
				  &err);
	}
	return st == ST_OK ? LOGON_OK : refused(e, st, &err);
}

static enum inet_logon_result succeed(struct exchange *e)
{
	inet_count(e->s, INET_AUTH, 1);
	inet_logged_on(e->s, e->logon->user);
	inet_log(e->s, LOG_INFO, "logged on", LS("mechanism", e->x->mechanism));
	return LOGON_OK;
}

static enum inet_logon_result run(struct exchange *e)
{
	struct span mechanism = offered(e->s, e->x->mechanism), initial = SPAN_NONE;
	enum inet_logon_result r;

	if (!mechanism.at)
		return LOGON_MECHANISM;
	if (span_eq(mechanism, SPAN("LOGIN"))) {
		r = ask_login(e, &initial);
		if (r != LOGON_OK)
			return r;
		mechanism = SPAN("PLAIN");
	} else if (e->x->initial.at && !decode(e->pool, e->x->initial, &initial)) {
		return LOGON_SYNTAX;
	}
	r = talk(e, mechanism, initial);
	return r == LOGON_OK ? succeed(e) : r;
}

enum inet_logon_result inet_sasl_run(struct inet_session *s, const struct inet_sasl *x,
				     struct ds_logon *logon)
{
	struct exchange e = { .s = s, .x = x, .logon = logon };
	enum inet_logon_result r;

	e.pool = pool_new("sasl", POOL_MAX);
	if (!e.pool)
		return LOGON_TROUBLE;
	r = run(&e);
	s->waits = NULL;
	pool_free(e.pool);
	return r;
}

static enum st nothing_to_ask(void *arg, struct span challenge, struct span *line)
{
	(void)arg;
	(void)challenge;
	(void)line;
	return ST_BAD;
}

enum inet_logon_result inet_login(struct inet_session *s, struct span user, struct span password,
				  struct ds_logon *logon)
{
	const struct inet_sasl x = { .mechanism = SPAN("PLAIN"), .ask = nothing_to_ask };
	struct exchange e = { .s = s, .x = &x, .logon = logon };
	enum inet_logon_result r = LOGON_SYNTAX;
	struct span plain;

	e.pool = pool_new("login", POOL_MAX);
	if (!e.pool)
		return LOGON_TROUBLE;
	if (plain_message(e.pool, user, password, &plain))
		r = talk(&e, SPAN("PLAIN"), plain);
	if (r == LOGON_OK)
		r = succeed(&e);
	s->waits = NULL;
	pool_free(e.pool);
	return r;
}
