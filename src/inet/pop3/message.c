/* message.c - RETR and TOP: from the streaming file to the client.
 *
 * A body without a line that begins with a dot goes out by reference, straight from the streaming file; one with
 * such lines, and the top of any, is read and stuffed on its way. */
#include "exifs/eafile.h"
#include "inet/pop3/session.h"
#include "proto/pop3/body.h"

#include <stdlib.h>

#define PIECE (32 * 1024)

/* A body while it is being sent: the reply block is what keeps its pages. */
struct sending {
	struct exipc_reply pin;
	struct eafile file;
	bool dots; /* some line begins with a dot */
};

static void sending_free(void *arg)
{
	struct sending *b = arg;

	eafile_close(&b->file);
	exipc_reply_free(&b->pin);
	free(b);
}

static enum st open_answer(struct pop3_session *s, struct wire_answer *a, struct sending **out,
			   struct err *err)
{
	struct sending *b = calloc(1, sizeof(*b));
	enum st st;

	if (!b)
		return fail(err, ST_NOMEM, "out of memory for a message");
	b->dots = plist_bool(&a->list, PR_HAS_DOT_LINES, true);
	st = eafile_open(s->head.loop->chan, &a->list, &b->file, err);
	if (st == ST_OK && !wire_take_block(a, &b->pin)) {
		eafile_close(&b->file);
		st = fail(err, ST_GONE, "the store's reply holds no body");
	}
	if (st != ST_OK) {
		free(b);
		return st;
	}
	*out = b;
	return ST_OK;
}

static enum st open_body(struct pop3_session *s, uint32_t uid, struct sending **out,
			 struct err *err)
{
	struct wire_answer a;
	struct wire_msg m;
	enum st st;

	pop3_ask_begin(s, &m);
	pw_u32(&m.w, PR_INTERNET_ARTICLE_NUMBER, uid);
	st = pop3_ask(s, &m, WIRE_POP_RETR, &a, err);
	if (st != ST_OK)
		return st;
	st = open_answer(s, &a, out, err);
	wire_answer_free(&a);
	return st;
}

/* The message is not to be had: before anything of it went out. */
static void not_opened(struct pop3_session *s, enum st st, const struct err *err)
{
	inet_log(&s->head, LOG_WARN, "message not read", LC("status", st_name(st)), LE(err));
	if (st == ST_NOTFOUND)
		pop3_refuse(s, POP3_R_NO_MESSAGE);
	else
		pop3_say(s, st == ST_CORRUPT || st == ST_BAD ? POP3_R_DAMAGED : POP3_R_TROUBLE);
}

/* Something broke inside a message: only the end of the connection tells the client. */
static void broken(struct pop3_session *s, enum st st, const struct err *err)
{
	inet_log(&s->head, LOG_ERROR, "message broken off", LC("status", st_name(st)), LE(err));
	s->ending = true;
	conn_abort(s->head.conn);
}

/* Where a client stands after the last two bytes of the body. */
static enum st line_at_end(const struct eafile *f, enum pop3_line_at *at, struct err *err)
{
	char last[2] = { 0 };
	uint64_t len = eafile_len(f);
	size_t got = 0;
	enum st st = ST_OK;

	*at = POP3_IN_LINE;
	if (len >= 2)
		st = eafile_read(f, len - 2, last, 2, &got, err);
	if (len == 0 || (got == 2 && last[0] == '\r' && last[1] == '\n'))
		*at = POP3_AT_LINE;
	return st;
}

static void send_by_reference(struct pop3_session *s, struct sending *b)
{
	struct pop3_stuffer end = { 0 };
	struct span tail;
	struct err err;
	enum st st = line_at_end(&b->file, &end.at, &err);

	if (st != ST_OK) {
		not_opened(s, st, &err);
		sending_free(b);
		return;
	}
	pop3_reply_write(&s->out, POP3_R_MESSAGE);
	pop3_send(s);
	st = eafile_send(&b->file, s->head.conn, 0, eafile_len(&b->file));
	if (st == ST_GONE) {
		fail(&err, st, "the store went away");
		broken(s, st, &err);
	}
	tail = pop3_stuff_end(&end);
	(void)conn_write(s->head.conn, tail.at, tail.len);
	/* Once: also when the connection is dead already. */
	(void)conn_on_sent(s->head.conn, sending_free, b);
}

static enum st send_stuffed(struct pop3_session *s, struct pop3_stuffer *stuffer, struct span piece)
{
	enum st st = ST_OK;

	while (piece.len > 0 && st == ST_OK) {
		size_t used;
		struct span out = pop3_stuff(stuffer, piece, &used);

		st = conn_write(s->head.conn, out.at, out.len);
		piece = span_skip(piece, used);
	}
	return st;
}

/* `top` is NULL for the whole message. */
static enum st send_pieces(struct pop3_session *s, const struct eafile *f, struct pop3_top *top,
			   char *room, struct err *err)
{
	struct pop3_stuffer stuffer = { 0 };
	uint64_t offset = 0;
	struct span tail;
	size_t got;
	enum st st;

	while (offset < eafile_len(f) && !(top && top->done)) {
		struct span piece;

		st = eafile_read(f, offset, room, PIECE, &got, err);
		if (st != ST_OK)
			return st;
		piece = span_of(room, got);
		if (top)
			piece = span_cut(piece, pop3_top_len(top, piece));
		st = send_stuffed(s, &stuffer, piece);
		if (st != ST_OK)
			return fail(err, st, "the connection ended");
		offset += got;
	}
	tail = pop3_stuff_end(&stuffer);
	st = conn_write(s->head.conn, tail.at, tail.len);
	return st == ST_OK ? ST_OK : fail(err, st, "the connection ended");
}

static void send_by_copy(struct pop3_session *s, struct sending *b, enum pop3_reply_id reply,
			 struct pop3_top *top)
{
	char *room = malloc(PIECE);
	struct err err;
	enum st st;

	if (!room) {
		pop3_say(s, POP3_R_TROUBLE);
	} else {
		pop3_reply_write(&s->out, reply);
		pop3_send(s);
		st = send_pieces(s, &b->file, top, room, &err);
		if (st != ST_OK)
			broken(s, st, &err);
	}
	free(room);
	sending_free(b);
}

static struct sending *open_for(struct pop3_session *s, uint32_t number)
{
	const struct pop3_item *item = pop3_item(s, number);
	struct sending *b = NULL;
	struct err err;
	enum st st;

	if (!item)
		return NULL;
	st = open_body(s, item->uid, &b, &err);
	if (st != ST_OK)
		not_opened(s, st, &err);
	return b;
}

void pop3_run_retr(struct pop3_session *s, const struct pop3_command *c)
{
	struct sending *b = open_for(s, c->number);

	if (!b)
		return;
	inet_count(&s->head, INET_MESSAGES_OUT, 1);
	if (b->dots)
		send_by_copy(s, b, POP3_R_MESSAGE, NULL);
	else
		send_by_reference(s, b);
}

void pop3_run_top(struct pop3_session *s, const struct pop3_command *c)
{
	struct pop3_top top = { .lines = c->lines };
	struct sending *b = open_for(s, c->number);

	if (b)
		send_by_copy(s, b, POP3_R_TOP, &top);
}
