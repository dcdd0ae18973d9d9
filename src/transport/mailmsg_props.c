/* mailmsg_props.c - the envelope as a property list and back; see mailmsg.h, docs/formats.md "Queue files". */
#include "transport/mailmsg.h"

#include <stdlib.h>

/* ---- writing ---- */

static void put_text(struct pw *w, uint32_t tag, struct span text)
{
	if (text.at)
		pw_span(w, tag, text);
}

static void put_flag(struct pw *w, uint32_t tag, bool v)
{
	if (v)
		pw_bool(w, tag, true);
}

static void put_num(struct pw *w, uint32_t tag, uint64_t v)
{
	if (!v)
		return;
	if (PROP_TYPE(tag) == PT_LONG)
		pw_u32(w, tag, (uint32_t)v);
	else
		pw_u64(w, tag, v);
}

static void write_rcpt(struct buf *out, const struct mailmsg_rcpt *r)
{
	struct pw w;

	pw_begin(&w, out, 6);
	pw_span(&w, RP_ADDRESS_SMTP, r->address);
	put_text(&w, RP_DSN_NOTIFY_VALUE, r->notify);
	put_text(&w, RP_DSN_ORCPT_VALUE, r->orcpt);
	put_num(&w, RP_RECIPIENT_FLAGS, r->flags);
	put_num(&w, RP_ERROR_CODE, r->error);
	put_text(&w, RP_ERROR_STRING, r->error_text);
	pw_end(&w);
}

/* One list for each recipient, back to back in a buffer of their own, then all of them as one value. */
static void put_rcpts(struct pw *w, const struct mailmsg_rcpt *rcpts, size_t n)
{
	struct buf bytes = BUF_MAX(w->out->max);
	struct plist *lists = calloc(n ? n : 1, sizeof(*lists));
	size_t *ends = calloc(n + 1, sizeof(*ends));

	if (!lists || !ends)
		w->out->failed = true;
	for (size_t i = 0; i < n && !w->out->failed; i++) {
		write_rcpt(&bytes, &rcpts[i]);
		ends[i + 1] = bytes.len;
		w->out->failed |= bytes.failed;
	}
	if (!w->out->failed) {
		for (size_t i = 0; i < n; i++)
			lists[i] = plist_trusted(bytes.at + ends[i], ends[i + 1] - ends[i]);
		pw_mv_object(w, MP_RECIPIENTS, lists, n);
	}
	free(lists);
	free(ends);
	buf_free(&bytes);
}

void mailmsg_props_write(struct buf *out, const struct mailmsg_envelope *e)
{
	struct pw w;

	pw_begin(&w, out, 32);
	pw_span(&w, MP_SENDER_ADDRESS_SMTP, e->sender);
	pw_u64(&w, MP_ARRIVAL_TIME, (uint64_t)e->arrival);
	pw_u64(&w, MP_MSG_SIZE_HINT, e->size);
	pw_u32(&w, MP_CONTENT_CRC, e->content_crc);
	pw_span(&w, MP_MSG_GUID, span_of(e->guid, sizeof(e->guid)));
	pw_u32(&w, MP_NUM_RECIPIENTS, (uint32_t)e->nrcpts);
	put_rcpts(&w, e->rcpts, e->nrcpts);
	put_text(&w, MP_CONNECTION_IP_ADDRESS, e->client_ip);
	put_text(&w, MP_HELO_DOMAIN, e->helo);
	put_text(&w, MP_CLIENT_AUTH_USER, e->auth_user);
	put_text(&w, MP_CLIENT_AUTH_TYPE, e->auth_type);
	put_text(&w, MP_INBOUND_MAIL_FROM_AUTH, e->mail_auth);
	put_text(&w, MP_CONNECTION_SERVER_IP_ADDRESS, e->server_ip);
	put_num(&w, MP_CONNECTION_SERVER_PORT, e->server_port);
	put_text(&w, MP_SERVER_NAME, e->server_name);
	put_text(&w, MP_TLS_USED, e->tls);
	put_text(&w, MP_DSN_ENVID_VALUE, e->envid);
	put_text(&w, MP_DSN_RET_VALUE, e->ret);
	put_text(&w, MP_PICKUP_FILE_NAME, e->pickup_file);
	put_flag(&w, MP_EIGHTBIT_MIME_OPTION, e->eightbitmime);
	put_flag(&w, MP_BINARYMIME_OPTION, e->binarymime);
	put_flag(&w, MP_CHUNKING_OPTION, e->chunking);
	put_flag(&w, MP_SMTPUTF8_OPTION, e->smtputf8);
	put_num(&w, MP_MSGCLASS, e->msgclass);
	put_num(&w, MP_DEFERRED_DELIVERY, (uint64_t)e->not_before);
	pw_end(&w);
}

void mailmsg_live_write(struct buf *out, const struct mailmsg_live *live)
{
	struct pw w;

	pw_begin(&w, out, 8);
	pw_u32(&w, MP_MESSAGE_STATUS, live->status);
	pw_u32(&w, MP_ATTEMPTS, live->attempts);
	put_num(&w, MP_NEXT_TRY, (uint64_t)live->next_try);
	put_num(&w, MP_ERROR_CODE, live->error);
	put_rcpts(&w, live->rcpts, live->nrcpts);
	pw_end(&w);
}

/* ---- reading ---- */

/* An address goes into header fields and protocol lines: no control characters, at most 1000 octets. */
static bool address_ok(struct span s)
{
	if (!s.at || s.len > 1000)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.at[i] < 0x20 || s.at[i] == 0x7F)
			return false;
	return true;
}

static enum st read_rcpt(const struct plist *l, struct mailmsg_rcpt *r, struct err *err)
{
	uint32_t error = plist_u32(l, RP_ERROR_CODE, ST_OK);

	*r = (struct mailmsg_rcpt){
		.address = plist_span(l, RP_ADDRESS_SMTP),
		.notify = plist_span(l, RP_DSN_NOTIFY_VALUE),
		.orcpt = plist_span(l, RP_DSN_ORCPT_VALUE),
		.flags = plist_u32(l, RP_RECIPIENT_FLAGS, 0),
		.error = error < ST_CODES ? (enum st)error : ST_IO,
		.error_text = plist_span(l, RP_ERROR_STRING),
	};
	if (r->address.len == 0 || !address_ok(r->address))
		return fail(err, ST_BAD, "envelope: a recipient without a proper address");
	return ST_OK;
}

static enum st read_rcpts(const struct plist *list, struct pool *pool, struct mailmsg_rcpt **out,
			  size_t *n_out, struct err *err)
{
	size_t n = plist_mv_count(list, MP_RECIPIENTS);
	struct mailmsg_rcpt *r = pool_get(pool, (n ? n : 1) * sizeof(*r));

	if (!r)
		return fail(err, ST_TOOBIG, "envelope: %zu recipients", n);
	for (size_t i = 0; i < n; i++) {
		struct plist one;
		enum st st;

		if (!plist_mv_object(list, MP_RECIPIENTS, i, &one))
			return fail(err, ST_BAD, "envelope: recipient %zu", i);
		st = read_rcpt(&one, &r[i], err);
		if (st != ST_OK)
			return st;
	}
	*out = r;
	*n_out = n;
	return ST_OK;
}

static enum st read_needed(const struct plist *list, struct mailmsg_envelope *e, struct err *err)
{
	struct span guid = plist_span(list, MP_MSG_GUID);

	e->sender = plist_span(list, MP_SENDER_ADDRESS_SMTP);
	if (!address_ok(e->sender))
		return fail(err, ST_BAD, "envelope: no proper sender");
	if (guid.len != MAILMSG_GUID)
		return fail(err, ST_BAD, "envelope: no message guid");
	memcpy(e->guid, guid.at, MAILMSG_GUID);
	if (!plist_has(list, MP_ARRIVAL_TIME) || !plist_has(list, MP_MSG_SIZE_HINT) ||
	    !plist_has(list, MP_CONTENT_CRC))
		return fail(err, ST_BAD, "envelope: no time, size or checksum");
	e->arrival = (int64_t)plist_u64(list, MP_ARRIVAL_TIME, 0);
	e->size = plist_u64(list, MP_MSG_SIZE_HINT, 0);
	e->content_crc = plist_u32(list, MP_CONTENT_CRC, 0);
	return ST_OK;
}

static void read_connection(const struct plist *list, struct mailmsg_envelope *e)
{
	e->client_ip = plist_span(list, MP_CONNECTION_IP_ADDRESS);
	e->helo = plist_span(list, MP_HELO_DOMAIN);
	e->auth_user = plist_span(list, MP_CLIENT_AUTH_USER);
	e->auth_type = plist_span(list, MP_CLIENT_AUTH_TYPE);
	e->mail_auth = plist_span(list, MP_INBOUND_MAIL_FROM_AUTH);
	e->server_ip = plist_span(list, MP_CONNECTION_SERVER_IP_ADDRESS);
	e->server_port = plist_u32(list, MP_CONNECTION_SERVER_PORT, 0);
	e->server_name = plist_span(list, MP_SERVER_NAME);
	e->tls = plist_span(list, MP_TLS_USED);
	e->envid = plist_span(list, MP_DSN_ENVID_VALUE);
	e->ret = plist_span(list, MP_DSN_RET_VALUE);
	e->pickup_file = plist_span(list, MP_PICKUP_FILE_NAME);
}

enum st mailmsg_props_read(const struct plist *list, struct pool *pool,
			   struct mailmsg_envelope *out, struct err *err)
{
	struct mailmsg_envelope e = { 0 };
	enum st st = read_needed(list, &e, err);

	if (st == ST_OK)
		st = read_rcpts(list, pool, &e.rcpts, &e.nrcpts, err);
	if (st != ST_OK)
		return st;
	if (e.nrcpts == 0)
		return fail(err, ST_BAD, "envelope: no recipients");
	read_connection(list, &e);
	e.eightbitmime = plist_bool(list, MP_EIGHTBIT_MIME_OPTION, false);
	e.binarymime = plist_bool(list, MP_BINARYMIME_OPTION, false);
	e.chunking = plist_bool(list, MP_CHUNKING_OPTION, false);
	e.smtputf8 = plist_bool(list, MP_SMTPUTF8_OPTION, false);
	e.msgclass = plist_u32(list, MP_MSGCLASS, 0);
	e.not_before = (int64_t)plist_u64(list, MP_DEFERRED_DELIVERY, 0);
	*out = e;
	return ST_OK;
}

enum st mailmsg_live_read(const struct plist *list, struct pool *pool, struct mailmsg_live *out,
			  struct err *err)
{
	uint32_t error = plist_u32(list, MP_ERROR_CODE, ST_OK);
	struct mailmsg_live live = {
		.status = plist_u32(list, MP_MESSAGE_STATUS, MP_STATUS_SUCCESS),
		.attempts = plist_u32(list, MP_ATTEMPTS, 0),
		.next_try = (int64_t)plist_u64(list, MP_NEXT_TRY, 0),
		.error = error < ST_CODES ? (enum st)error : ST_IO,
	};
	enum st st = read_rcpts(list, pool, &live.rcpts, &live.nrcpts, err);

	if (st == ST_OK)
		*out = live;
	return st;
}
