/* rows.c - how the store answers: one list, or rows gathered into replies; see wire.h. */
#include "wire/wire.h"

/* Half a heap section is left for the row that goes over: most replies stay in one section. */
#define ROWS_FULL (EXIPC_SECTION / 4 * 3)

/* Append what went wrong as a list of its own.  Room for it was kept free. */
static void put_error(struct buf *out, enum st st, const struct err *err)
{
	struct pw w;

	pw_begin(&w, out, 2);
	pw_str(&w, PR_ERROR_TEXT, err && err->text[0] ? err->text : st_name(st));
	pw_end(&w);
}

void wire_reply(struct exipc_request *rq, enum st st, const struct buf *list, const struct err *err)
{
	struct buf words = BUF_MAX(EXIPC_SECTION);
	struct span payload = list && !list->failed ? buf_get(list) : SPAN_NONE;

	if (list && list->failed)
		st = ST_TOOBIG;
	if (st != ST_OK && !payload.len) {
		put_error(&words, st, err);
		payload = buf_get(&words);
	}
	/* A client that went away needs no answer. */
	(void)exipc_reply(rq, st, payload, false, NULL, NULL);
	buf_free(&words);
}

void wire_rows_begin(struct wire_rows_out *o, struct exipc_request *rq)
{
	*o = (struct wire_rows_out){ .rq = rq, .bytes = BUF_MAX(EXIPC_BLOCK_MAX) };
}

static enum st rows_send(struct wire_rows_out *o, enum st status, bool more)
{
	void (*release)(void *arg) = o->marked ? o->release : NULL;
	enum st st;

	/* From here on the pin belongs to the reply, whether the client takes it or not. */
	o->marked = false;
	st = exipc_reply(o->rq, status, buf_get(&o->bytes), more, release, o->arg);
	buf_clear(&o->bytes);
	if (st != ST_OK && o->st == ST_OK)
		o->st = st;
	if (more)
		fiber_yield(); /* a long rowset lets others have their turn */
	return st;
}

void wire_row_begin(struct wire_rows_out *o, struct pw *w, size_t props)
{
	if (o->mark && !o->marked && o->st == ST_OK) {
		o->arg = o->mark(o->owner);
		o->marked = true;
	}
	o->row = o->bytes.len;
	pw_begin(w, &o->bytes, props);
}

void wire_row_drop(struct wire_rows_out *o)
{
	o->bytes.len = o->row;
	o->bytes.failed = false;
}

enum st wire_row_end(struct wire_rows_out *o, struct pw *w)
{
	pw_end(w);
	if (o->bytes.failed) {
		wire_row_drop(o);
		return ST_TOOBIG;
	}
	if (o->st != ST_OK)
		wire_row_drop(o);
	else if (o->bytes.len >= ROWS_FULL)
		return rows_send(o, ST_OK, true);
	return o->st;
}

enum st wire_rows_end(struct wire_rows_out *o, enum st st, const struct err *err)
{
	if (st == ST_OK)
		st = o->st;
	if (st != ST_OK) {
		/* A failure says why; rows that were gathered before it are not worth a reply. */
		buf_clear(&o->bytes);
		put_error(&o->bytes, st, err);
	}
	rows_send(o, st, false);
	buf_free(&o->bytes);
	return st;
}
