/* The envelope as a property stream, and back. */
#include "transport/mailmsg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

static struct mailmsg_rcpt two_rcpts[] = {
	{ .address = { "alice@mailroot.test", 19 },
	  .notify = { "FAILURE,DELAY", 13 },
	  .orcpt = { "rfc822;a@b", 10 } },
	{ .address = { "bob@mailroot.test", 17 },
	  .flags = RP_FAILED | RP_ERROR_CONTEXT_STORE,
	  .error = ST_NOTFOUND,
	  .error_text = { "5.1.1 no such mailbox", 21 } },
};

static const struct {
	const char *name;
	struct mailmsg_envelope env;
} rows[] = {
	{ "the least that an envelope can be",
	  { .sender = { "", 0 }, .arrival = 1, .rcpts = two_rcpts, .nrcpts = 1 } },
	{ "everything a session knows",
	  { .sender = { "carol@example.org", 17 },
	    .arrival = 1700000000123456789,
	    .client_ip = { "192.0.2.1", 9 },
	    .helo = { "client.example.org", 18 },
	    .auth_user = { "carol@mailroot.test", 19 },
	    .auth_type = { "SCRAM-SHA-256", 13 },
	    .mail_auth = { "<>", 2 },
	    .server_ip = { "127.0.0.1", 9 },
	    .server_port = 10025,
	    .server_name = { "mx.mailroot.test", 16 },
	    .tls = { "TLSv1.3 X", 9 },
	    .envid = { "QQ1", 3 },
	    .ret = { "HDRS", 4 },
	    .pickup_file = { "a.eml", 5 },
	    .eightbitmime = true,
	    .binarymime = true,
	    .chunking = true,
	    .smtputf8 = true,
	    .msgclass = MP_CLASS_NON_DELIVERY_REPORT,
	    .not_before = 1800000000000000000,
	    .rcpts = two_rcpts,
	    .nrcpts = 2,
	    .size = 1ull << 40,
	    .content_crc = 0xDEADBEEF,
	    .guid = { 1, 2, 3, 0xFF } } },
};

static void assert_span(struct span want, struct span have)
{
	assert_int_equal(want.at != NULL, have.at != NULL);
	assert_int_equal(want.len, have.len);
	assert_true(span_eq(want, have));
}

static void assert_rcpt(const struct mailmsg_rcpt *want, const struct mailmsg_rcpt *have)
{
	assert_span(want->address, have->address);
	assert_span(want->notify, have->notify);
	assert_span(want->orcpt, have->orcpt);
	assert_span(want->error_text, have->error_text);
	assert_int_equal(want->flags, have->flags);
	assert_int_equal(want->error, have->error);
}

static void assert_envelope(const struct mailmsg_envelope *want,
			    const struct mailmsg_envelope *have)
{
	assert_span(want->sender, have->sender);
	assert_span(want->client_ip, have->client_ip);
	assert_span(want->helo, have->helo);
	assert_span(want->auth_user, have->auth_user);
	assert_span(want->auth_type, have->auth_type);
	assert_span(want->mail_auth, have->mail_auth);
	assert_span(want->server_ip, have->server_ip);
	assert_span(want->server_name, have->server_name);
	assert_span(want->tls, have->tls);
	assert_span(want->envid, have->envid);
	assert_span(want->ret, have->ret);
	assert_span(want->pickup_file, have->pickup_file);
	assert_true(want->arrival == have->arrival && want->not_before == have->not_before);
	assert_true(want->server_port == have->server_port && want->size == have->size);
	assert_true(want->eightbitmime == have->eightbitmime);
	assert_true(want->binarymime == have->binarymime && want->chunking == have->chunking);
	assert_true(want->smtputf8 == have->smtputf8 && want->msgclass == have->msgclass);
	assert_int_equal(want->content_crc, have->content_crc);
	assert_memory_equal(want->guid, have->guid, MAILMSG_GUID);
	assert_int_equal(want->nrcpts, have->nrcpts);
	for (size_t i = 0; i < want->nrcpts; i++)
		assert_rcpt(&want->rcpts[i], &have->rcpts[i]);
}

static void an_envelope_comes_back_as_it_was(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf bytes = BUF_MAX(MAILMSG_ENVELOPE_MAX);
		struct pool *pool = pool_new("test", 1 << 20);
		struct mailmsg_envelope have;
		struct plist list;
		struct err err;

		mailmsg_props_write(&bytes, &rows[i].env);
		assert_false(bytes.failed);
		assert_int_equal(plist_open(&list, bytes.at, bytes.len, &err), ST_OK);
		assert_int_equal(mailmsg_props_read(&list, pool, &have, &err), ST_OK);
		assert_envelope(&rows[i].env, &have);
		pool_free(pool);
		buf_free(&bytes);
	}
}

static void ten_thousand_recipients_fit(void **state)
{
	enum { N = 10000 };
	struct mailmsg_rcpt *rcpts = calloc(N, sizeof(*rcpts));
	struct mailmsg_envelope env = rows[0].env, have;
	struct buf bytes = BUF_MAX(MAILMSG_ENVELOPE_MAX);
	struct pool *small = pool_new("small", 1000), *pool = pool_new("test", 4 << 20);
	struct plist list;
	struct err err;

	(void)state;
	for (size_t i = 0; i < N; i++)
		rcpts[i] = two_rcpts[i % 2];
	env.rcpts = rcpts;
	env.nrcpts = N;
	mailmsg_props_write(&bytes, &env);
	assert_false(bytes.failed);
	assert_int_equal(plist_open(&list, bytes.at, bytes.len, &err), ST_OK);
	assert_int_equal(mailmsg_props_read(&list, pool, &have, &err), ST_OK);
	assert_int_equal(have.nrcpts, N);
	assert_rcpt(&two_rcpts[1], &have.rcpts[N - 1]);
	assert_int_equal(mailmsg_props_read(&list, small, &have, &err), ST_TOOBIG);
	pool_free(small);
	pool_free(pool);
	buf_free(&bytes);
	free(rcpts);
}

static void an_envelope_over_its_limit_fails_and_adds_nothing(void **state)
{
	struct buf bytes = BUF_MAX(100);

	(void)state;
	mailmsg_props_write(&bytes, &rows[1].env);
	assert_true(bytes.failed);
	buf_free(&bytes);
}

static void the_live_stream_comes_back_as_it_was(void **state)
{
	struct mailmsg_live live = { .status = MP_STATUS_RETRY,
				     .attempts = 7,
				     .next_try = 1700000000,
				     .error = ST_GONE,
				     .rcpts = two_rcpts,
				     .nrcpts = 2 },
			    have;
	struct buf bytes = BUF_MAX(10000);
	struct pool *pool = pool_new("test", 10000);
	struct plist list;
	struct err err;

	(void)state;
	mailmsg_live_write(&bytes, &live);
	assert_int_equal(plist_open(&list, bytes.at, bytes.len, &err), ST_OK);
	assert_int_equal(mailmsg_live_read(&list, pool, &have, &err), ST_OK);
	assert_true(have.status == live.status && have.attempts == 7 && have.error == ST_GONE);
	assert_true(have.next_try == live.next_try && have.nrcpts == 2);
	assert_rcpt(&two_rcpts[0], &have.rcpts[0]);
	assert_rcpt(&two_rcpts[1], &have.rcpts[1]);
	pool_free(pool);
	buf_free(&bytes);
}

/* Lists that are well-formed but no envelope: what is left out or wrong. */
static const struct {
	const char *name;
	bool sender, guid, size, arrival, crc;
	const char *address; /* of the one recipient, NULL for none */
	const char *from;
	enum st want;
} wrong[] = {
	{ "all is there", 1, 1, 1, 1, 1, "a@b", "c@d", ST_OK },
	{ "no sender", 0, 1, 1, 1, 1, "a@b", "c@d", ST_BAD },
	{ "no guid", 1, 0, 1, 1, 1, "a@b", "c@d", ST_BAD },
	{ "no size", 1, 1, 0, 1, 1, "a@b", "c@d", ST_BAD },
	{ "no arrival", 1, 1, 1, 0, 1, "a@b", "c@d", ST_BAD },
	{ "no checksum", 1, 1, 1, 1, 0, "a@b", "c@d", ST_BAD },
	{ "no recipient", 1, 1, 1, 1, 1, NULL, "c@d", ST_BAD },
	{ "an empty recipient", 1, 1, 1, 1, 1, "", "c@d", ST_BAD },
	{ "a line end in a recipient", 1, 1, 1, 1, 1, "a@b\r\nX: y", "c@d", ST_BAD },
	{ "a line end in the sender", 1, 1, 1, 1, 1, "a@b", "c@d>\r\nBcc: x", ST_BAD },
};

static void write_wrong(struct buf *out, size_t i)
{
	struct mailmsg_rcpt rcpt = { .address = span_str(wrong[i].address) };
	struct mailmsg_envelope env = { .sender = span_str(wrong[i].from),
					.rcpts = &rcpt,
					.nrcpts = wrong[i].address ? 1 : 0 };
	struct buf whole = BUF_MAX(10000);
	struct plist all;
	struct pw w;

	mailmsg_props_write(&whole, &env);
	all = plist_trusted(whole.at, whole.len);
	pw_begin(&w, out, 8);
	if (wrong[i].sender)
		pw_copy(&w, &all, MP_SENDER_ADDRESS_SMTP);
	if (wrong[i].guid)
		pw_copy(&w, &all, MP_MSG_GUID);
	if (wrong[i].size)
		pw_copy(&w, &all, MP_MSG_SIZE_HINT);
	if (wrong[i].arrival)
		pw_copy(&w, &all, MP_ARRIVAL_TIME);
	if (wrong[i].crc)
		pw_copy(&w, &all, MP_CONTENT_CRC);
	pw_copy(&w, &all, MP_RECIPIENTS);
	pw_end(&w);
	buf_free(&whole);
}

static void a_list_that_is_no_envelope_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct buf bytes = BUF_MAX(10000);
		struct pool *pool = pool_new("test", 10000);
		struct mailmsg_envelope have;
		struct plist list;
		struct err err;
		enum st st;

		write_wrong(&bytes, i);
		assert_int_equal(plist_open(&list, bytes.at, bytes.len, &err), ST_OK);
		st = mailmsg_props_read(&list, pool, &have, &err);
		if (st != wrong[i].want)
			fail_msg("%s: %s", wrong[i].name, st_name(st));
		pool_free(pool);
		buf_free(&bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_envelope_comes_back_as_it_was),
		cmocka_unit_test(ten_thousand_recipients_fit),
		cmocka_unit_test(an_envelope_over_its_limit_fails_and_adds_nothing),
		cmocka_unit_test(the_live_stream_comes_back_as_it_was),
		cmocka_unit_test(a_list_that_is_no_envelope_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
