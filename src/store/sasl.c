#include "store/sasl.h"

#include <gsasl.h>
#include <sodium.h>
#include <stdlib.h>

struct sasl {
	struct directory *directory;
	Gsasl *gsasl;
	struct hmap exchanges;
};

enum mechanism { MECH_PLAIN, MECH_LOGIN, MECH_SCRAM };

struct exchange {
	struct hnode node; /* by id */
	struct sasl *sasl;
	uint64_t binding;
	enum mechanism mechanism;
	char ip[64];
	char name[NAME_BYTES_MAX + 1]; /* LOGIN: after the first step; SCRAM: once known */
	bool named, busy;
	Gsasl_session *scram;
	struct user user;
	bool looked_up;
	enum st found; /* of the look-up */
	struct timer life;
};

/* ---- the table ---- */

static void exchange_free(struct exchange *x)
{
	if (x->node.key) {
		hmap_remove(&x->sasl->exchanges, &x->node);
		timer_clear(&x->life);
	}
	if (x->scram)
		gsasl_finish(x->scram);
	sodium_memzero(x, sizeof *x);
	free(x);
}

static void exchange_over(void *arg)
{
	struct exchange *x = arg;

	if (x->busy)
		timer_set(&x->life, deadline_in_ms(SASL_LIFE_MS), exchange_over, x);
	else
		exchange_free(x);
}

struct tally {
	uint64_t binding;
	size_t n;
};

static void tally_one(void *arg, struct hnode *n)
{
	struct tally *t = arg;

	t->n += HNODE_OF(struct exchange, node, n)->binding == t->binding;
}

/* Keep it for another step. */
static enum st exchange_keep(struct exchange *x, struct err *err)
{
	struct tally t = { .binding = x->binding };
	uint64_t id;

	if (x->node.key)
		return ST_MORE;
	hmap_each(&x->sasl->exchanges, tally_one, &t);
	if (t.n >= SASL_MAX)
		return fail(err, ST_BUSY, "%d logons are under way already", SASL_MAX);
	do
		id = random_u64();
	while (!id || hmap_get(&x->sasl->exchanges, id));
	if (!hmap_put(&x->sasl->exchanges, &x->node, id)) {
		x->node.key = 0;
		return fail(err, ST_NOMEM, "out of memory");
	}
	timer_set(&x->life, deadline_in_ms(SASL_LIFE_MS), exchange_over, x);
	return ST_MORE;
}

static void end_of_binding(void *arg, struct hnode *n)
{
	struct exchange *x = HNODE_OF(struct exchange, node, n);

	if (x->binding == *(uint64_t *)arg && !x->busy)
		exchange_free(x);
}

void sasl_end_binding(struct sasl *s, uint64_t binding)
{
	hmap_each(&s->exchanges, end_of_binding, &binding);
}

/* ---- outcome of a password ---- */

static enum st check(struct exchange *x, struct span name, struct span password,
		     struct sasl_result *result, struct err *err)
{
	struct auth *a = x->sasl->directory->auth;
	struct span ip = span_str(x->ip);
	enum st st;

	result->retry_ms = auth_throttled(a, ip, name);
	if (result->retry_ms)
		return fail(err, ST_BUSY, "too many failures: try again later");
	st = auth_check(a, name, password, &result->user, err);
	if (st == ST_DENIED)
		result->retry_ms = auth_failed(a, ip, name);
	if (st == ST_BUSY)
		result->retry_ms = 1000;
	return st;
}

/* ---- PLAIN and LOGIN ---- */

static enum st step_plain(struct exchange *x, struct span data, struct sasl_result *result,
			  struct err *err)
{
	struct span authzid, name, password = SPAN_NONE, rest;

	if (!data.at)
		return ST_MORE;
	authzid = span_split(data, '\0', &rest);
	name = span_split(rest, '\0', &password);
	if (!rest.at || !password.at || !name.len)
		return fail(err, ST_BAD, "PLAIN: not of the form authzid NUL user NUL password");
	if (authzid.len && !span_ieq(authzid, name))
		return fail(err, ST_DENIED, "nobody may log on as somebody else");
	return check(x, name, password, result, err);
}

static enum st step_login(struct exchange *x, struct span data, struct sasl_result *result,
			  struct err *err)
{
	if (x->named)
		return check(x, span_str(x->name), data, result, err);
	if (!data.at) {
		buf_str(&result->data, "Username:");
		return ST_MORE;
	}
	if (!data.len || data.len > NAME_BYTES_MAX || memchr(data.at, '\0', data.len))
		return fail(err, ST_BAD, "LOGIN: no user name");
	memcpy(x->name, data.at, data.len);
	x->name[data.len] = '\0';
	x->named = true;
	buf_str(&result->data, "Password:");
	return ST_MORE;
}

/* ---- SCRAM-SHA-256 ---- */

static int set_base64(Gsasl_session *session, Gsasl_property prop, const uint8_t *bytes, size_t len)
{
	char text[sodium_base64_ENCODED_LEN(64, sodium_base64_VARIANT_ORIGINAL)];

	sodium_bin2base64(text, sizeof text, bytes, len, sodium_base64_VARIANT_ORIGINAL);
	return gsasl_property_set(session, prop, text);
}

static int scram_property(Gsasl *ctx, Gsasl_session *session, Gsasl_property prop)
{
	struct exchange *x = gsasl_session_hook_get(session);
	const struct scram_keys *k = &x->user.scram;
	char number[16];

	(void)ctx;
	if (!x->looked_up) {
		const char *name = gsasl_property_fast(session, GSASL_AUTHID);

		if (!name)
			return GSASL_NO_AUTHID;
		x->looked_up = true;
		if (strlen(name) <= NAME_BYTES_MAX)
			strcpy(x->name, name);
		x->found =
			auth_scram_user(x->sasl->directory->auth, span_str(name), &x->user, NULL);
	}
	switch (prop) {
	case GSASL_SCRAM_ITER:
		snprintf(number, sizeof number, "%u", k->iterations);
		return gsasl_property_set(session, prop, number);
	case GSASL_SCRAM_SALT:
		return set_base64(session, prop, k->salt, sizeof k->salt);
	case GSASL_SCRAM_STOREDKEY:
		return set_base64(session, prop, k->stored, sizeof k->stored);
	case GSASL_SCRAM_SERVERKEY:
		return set_base64(session, prop, k->server, sizeof k->server);
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* What the exchange came to once libgsasl is content or not. */
static enum st scram_outcome(struct exchange *x, int rc, struct sasl_result *result,
			     struct err *err)
{
	struct auth *a = x->sasl->directory->auth;
	const char *authzid = gsasl_property_fast(x->scram, GSASL_AUTHZID);
	bool other = authzid && *authzid && !span_ieq(span_str(authzid), span_str(x->name));

	if (x->looked_up && x->found != ST_OK && x->found != ST_DENIED)
		return fail(err, x->found, "the directory can't be read");
	if (rc == GSASL_OK && x->found == ST_OK && !other) {
		result->user = x->user;
		return ST_OK;
	}
	buf_clear(&result->data);
	if (rc == GSASL_OK || rc == GSASL_AUTHENTICATION_ERROR || x->looked_up) {
		result->retry_ms = auth_failed(a, span_str(x->ip), span_str(x->name));
		return fail(err, ST_DENIED, "wrong user name or password");
	}
	return fail(err, ST_BAD, "SCRAM: %s", gsasl_strerror(rc));
}

static enum st step_scram(struct exchange *x, struct span data, struct sasl_result *result,
			  struct err *err)
{
	char *out = NULL;
	size_t len = 0;
	int rc;

	if (!x->scram) {
		if (gsasl_server_start(x->sasl->gsasl, "SCRAM-SHA-256", &x->scram) != GSASL_OK)
			return fail(err, ST_NOMEM, "SCRAM can't be started");
		gsasl_session_hook_set(x->scram, x);
	}
	if (!data.at)
		return ST_MORE; /* the client speaks first */
	result->retry_ms =
		auth_throttled(x->sasl->directory->auth, span_str(x->ip), span_str(x->name));
	if (result->retry_ms)
		return fail(err, ST_BUSY, "too many failures: try again later");
	rc = gsasl_step(x->scram, data.at, data.len, &out, &len);
	if (rc == GSASL_OK || rc == GSASL_NEEDS_MORE)
		buf_add(&result->data, out, len);
	gsasl_free(out);
	return rc == GSASL_NEEDS_MORE ? ST_MORE : scram_outcome(x, rc, result, err);
}

/* ---- the way of an exchange ---- */

static enum st exchange_step(struct exchange *x, struct span data, struct sasl_result *result,
			     struct err *err)
{
	enum st st;

	x->busy = true;
	if (data.len > SASL_DATA_MAX)
		st = fail(err, ST_BAD, "a response of %zu bytes", data.len);
	else if (x->mechanism == MECH_PLAIN)
		st = step_plain(x, data, result, err);
	else if (x->mechanism == MECH_LOGIN)
		st = step_login(x, data, result, err);
	else
		st = step_scram(x, data, result, err);
	x->busy = false;
	if (st == ST_MORE)
		st = exchange_keep(x, err);
	if (st == ST_MORE)
		result->id = x->node.key;
	else
		exchange_free(x);
	return st;
}

enum st sasl_start(struct sasl *s, uint64_t binding, struct span mechanism, struct span ip,
		   struct span data, struct sasl_result *result, struct err *err)
{
	static const char *const names[] = { "PLAIN", "LOGIN", "SCRAM-SHA-256" };
	unsigned m = 0;
	struct exchange *x;

	while (m < 3 && !span_ieq(mechanism, span_str(names[m])))
		m++;
	if (m == 3)
		return fail(err, ST_BAD, "there is no such mechanism");
	x = calloc(1, sizeof *x);
	if (!x)
		return fail(err, ST_NOMEM, "out of memory");
	x->sasl = s;
	x->binding = binding;
	x->mechanism = (enum mechanism)m;
	ip = span_cut(ip, sizeof x->ip - 1);
	if (ip.len)
		memcpy(x->ip, ip.at, ip.len);
	return exchange_step(x, data, result, err);
}

static enum st exchange_find(struct sasl *s, uint64_t binding, uint64_t id, struct exchange **out,
			     struct err *err)
{
	struct hnode *n = id ? hmap_get(&s->exchanges, id) : NULL;
	struct exchange *x = n ? HNODE_OF(struct exchange, node, n) : NULL;

	if (!x || x->binding != binding || x->busy)
		return fail(err, ST_NOTFOUND, "there is no such logon under way");
	*out = x;
	return ST_OK;
}

enum st sasl_step(struct sasl *s, uint64_t binding, uint64_t id, struct span data,
		  struct sasl_result *result, struct err *err)
{
	struct exchange *x = NULL;
	enum st st = exchange_find(s, binding, id, &x, err);

	if (!data.at)
		data = SPAN("");
	return st == ST_OK ? exchange_step(x, data, result, err) : st;
}

enum st sasl_cancel(struct sasl *s, uint64_t binding, uint64_t id, struct err *err)
{
	struct exchange *x = NULL;
	enum st st = exchange_find(s, binding, id, &x, err);

	if (st == ST_OK)
		exchange_free(x);
	return st;
}

enum st sasl_new(struct directory *d, struct sasl **out, struct err *err)
{
	struct sasl *s = calloc(1, sizeof *s);

	if (!s || gsasl_init(&s->gsasl) != GSASL_OK) {
		free(s);
		return fail(err, ST_NOMEM, "libgsasl can't be started");
	}
	gsasl_callback_set(s->gsasl, scram_property);
	s->directory = d;
	*out = s;
	return ST_OK;
}

static void end_all(void *arg, struct hnode *n)
{
	(void)arg;
	exchange_free(HNODE_OF(struct exchange, node, n));
}

void sasl_free(struct sasl *s)
{
	if (!s)
		return;
	hmap_each(&s->exchanges, end_all, NULL);
	hmap_free(&s->exchanges);
	gsasl_done(s->gsasl);
	free(s);
}
