/* drop.c - the maildrop: opening, listing, marking, updating. */
#include "inet/pop3/session.h"
#include "base/uset.h"

#include <stdio.h>
#include <stdlib.h>

#define ITEMS_FIRST 64

void pop3_ask_begin(struct pop3_session *s, struct wire_msg *m)
{
	wire_begin(m, 4);
	pw_u64(&m->w, PR_LOGON, s->logon.logon);
}

enum st pop3_ask(struct pop3_session *s, struct wire_msg *m, enum wire_op op,
		 struct wire_answer *answer, struct err *err)
{
	struct exipc_chan *chan = s->head.loop->chan;
	enum st st;

	s->head.waits = "the store";
	st = wire_send(m, chan, wire_loop(chan, s->logon.mailbox_id), op, answer, err);
	s->head.waits = NULL;
	return st;
}

/* ---- opening ---- */

static enum st add_item(struct pop3_drop *d, const struct plist *row, struct err *err)
{
	struct pop3_item *item;

	if (d->count == d->room) {
		uint32_t room = d->room ? 2 * d->room : ITEMS_FIRST;
		void *more = realloc(d->items, room * sizeof(*d->items));

		if (!more)
			return fail(err, ST_NOMEM, "out of memory for %u messages", room);
		d->items = more;
		d->room = room;
	}
	item = &d->items[d->count++];
	*item = (struct pop3_item){
		.uid = plist_u32(row, PR_INTERNET_ARTICLE_NUMBER, 0),
		.octets = plist_u64(row, PR_MESSAGE_SIZE_EXTENDED, 0),
	};
	d->octets += item->octets;
	return ST_OK;
}

static enum st take_rows(struct pop3_drop *d, struct wire_answer *a, struct err *err)
{
	enum st st = wire_next_row(a, err);

	if (st != ST_OK)
		return st == ST_EOF ? fail(err, ST_CORRUPT, "the store listed no maildrop") : st;
	d->uidvalidity = plist_u32(&a->list, PR_UIDVALIDITY, 0);
	while ((st = wire_next_row(a, err)) == ST_OK) {
		st = add_item(d, &a->list, err);
		if (st != ST_OK)
			return st;
	}
	return st == ST_EOF ? ST_OK : st;
}

enum st pop3_drop_open(struct pop3_session *s, struct err *err)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	s->drop = (struct pop3_drop){ 0 };
	pop3_ask_begin(s, &m);
	st = pop3_ask(s, &m, WIRE_POP_OPEN, &a, err);
	if (st != ST_OK)
		return st;
	st = take_rows(&s->drop, &a, err);
	wire_answer_free(&a);
	return st;
}

/* ---- closing ---- */

static void forget(struct pop3_session *s)
{
	free(s->drop.items);
	s->drop = (struct pop3_drop){ 0 };
	s->state = POP3_AUTHORIZATION;
}

enum st pop3_drop_update(struct pop3_session *s, struct err *err)
{
	struct uset marked = { 0 };
	struct buf bytes = BUF_MAX(EXIPC_BLOCK_MAX);
	struct wire_answer a;
	struct wire_msg m;
	enum st st = ST_OK;

	for (uint32_t i = 0; i < s->drop.count && st == ST_OK; i++)
		if (s->drop.items[i].deleted)
			st = uset_add(&marked, s->drop.items[i].uid, s->drop.items[i].uid);
	if (st != ST_OK) {
		uset_free(&marked);
		return fail(err, st, "out of memory for the deleted messages");
	}
	uset_write(&marked, &bytes);
	pop3_ask_begin(s, &m);
	pw_span(&m.w, PR_UIDS, buf_get(&bytes));
	m.bytes.failed |= bytes.failed;
	st = pop3_ask(s, &m, WIRE_POP_UPDATE, &a, err);
	buf_free(&bytes);
	uset_free(&marked);
	if (st != ST_OK)
		return st;
	wire_answer_free(&a);
	forget(s); /* the update has unlocked it too */
	return ST_OK;
}

void pop3_drop_close(struct pop3_session *s)
{
	struct wire_answer a;
	struct wire_msg m;
	struct err err;

	if (s->state == POP3_TRANSACTION && ds_logon_alive(s->head.loop->ds, &s->logon)) {
		pop3_ask_begin(s, &m);
		/* When the store is gone so is the lock. */
		if (pop3_ask(s, &m, WIRE_POP_CLOSE, &a, &err) == ST_OK)
			wire_answer_free(&a);
	}
	ds_logoff(s->head.loop->ds, &s->logon);
	forget(s);
}

/* ---- what is in it ---- */

static struct pop3_item *find(struct pop3_session *s, uint32_t number)
{
	return number >= 1 && number <= s->drop.count ? &s->drop.items[number - 1] : NULL;
}

struct pop3_item *pop3_item(struct pop3_session *s, uint32_t number)
{
	struct pop3_item *item = find(s, number);

	if (item && !item->deleted)
		return item;
	pop3_refuse(s, item ? POP3_R_IS_DELETED : POP3_R_NO_MESSAGE);
	return NULL;
}

void pop3_run_stat(struct pop3_session *s, const struct pop3_command *c)
{
	(void)c;
	pop3_reply_say(&s->out, POP3_R_OK, "%u %llu", s->drop.count - s->drop.deleted,
		       (unsigned long long)s->drop.octets);
	pop3_send(s);
}

/* LIST and UIDL: one line for one message, or for each that is not marked. */
typedef void scan_fn(const struct pop3_session *s, uint32_t number, char *line, size_t room);

static void scan_size(const struct pop3_session *s, uint32_t number, char *line, size_t room)
{
	snprintf(line, room, "%u %llu", number,
		 (unsigned long long)s->drop.items[number - 1].octets);
}

static void scan_uid(const struct pop3_session *s, uint32_t number, char *line, size_t room)
{
	snprintf(line, room, "%u %u.%u", number, s->drop.uidvalidity,
		 s->drop.items[number - 1].uid);
}

static void scan(struct pop3_session *s, uint32_t number, enum pop3_reply_id head, scan_fn *fn)
{
	char line[64];

	if (number > 0) {
		if (pop3_item(s, number)) {
			fn(s, number, line, sizeof(line));
			pop3_reply_say(&s->out, POP3_R_OK, "%s", line);
			pop3_send(s);
		}
		return;
	}
	pop3_reply_write(&s->out, head);
	for (uint32_t n = 1; n <= s->drop.count; n++) {
		if (s->drop.items[n - 1].deleted)
			continue;
		fn(s, n, line, sizeof(line));
		buf_str(&s->out, line);
		buf_str(&s->out, "\r\n");
		pop3_send_some(s);
	}
	buf_str(&s->out, ".\r\n");
	pop3_send(s);
}

void pop3_run_list(struct pop3_session *s, const struct pop3_command *c)
{
	scan(s, c->number, POP3_R_LIST, scan_size);
}

void pop3_run_uidl(struct pop3_session *s, const struct pop3_command *c)
{
	scan(s, c->number, POP3_R_UIDL, scan_uid);
}

void pop3_run_dele(struct pop3_session *s, const struct pop3_command *c)
{
	struct pop3_item *item = pop3_item(s, c->number);

	if (!item)
		return;
	item->deleted = true;
	s->drop.deleted++;
	s->drop.octets -= item->octets;
	pop3_say(s, POP3_R_DELETED);
}

void pop3_run_rset(struct pop3_session *s, const struct pop3_command *c)
{
	(void)c;
	for (uint32_t i = 0; i < s->drop.count; i++) {
		if (!s->drop.items[i].deleted)
			continue;
		s->drop.items[i].deleted = false;
		s->drop.octets += s->drop.items[i].octets;
	}
	s->drop.deleted = 0;
	pop3_say(s, POP3_R_RESET);
}
