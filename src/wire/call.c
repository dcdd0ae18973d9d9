/* call.c - one request and its replies, on the client's side; see wire.h. */
#include "wire/wire.h"

#include <assert.h>

/* A list without properties: what an empty payload stands for. */
static const uint8_t empty_list[8] = { 8, 0, 0, 0, 0, 0, 1, 0 };

void wire_begin(struct wire_msg *m, size_t props)
{
	m->bytes = BUF_MAX(EXIPC_BLOCK_MAX);
	m->nsections = 0;
	m->deadline = 0;
	pw_begin(&m->w, &m->bytes, props);
}

static struct plist no_list(void)
{
	return plist_trusted(empty_list, sizeof empty_list);
}

/* The list at a->next becomes the current one.  ST_EOF: this reply has no more. */
static enum st take_list(struct wire_answer *a, struct err *err)
{
	struct span rest = span_skip(a->reply.payload, a->next);

	a->list = no_list();
	if (!rest.len)
		return ST_EOF;
	if (plist_open(&a->list, rest.at, rest.len, err) == ST_OK)
		return ST_OK;
	a->next = a->reply.payload.len;
	return fail(err, ST_CORRUPT, "the store's reply is no property list");
}

/* The store refused: keep its list, give the block back. */
static enum st refused(struct wire_answer *a, enum st status, struct err *err)
{
	struct span words = plist_span(&a->list, PR_ERROR_TEXT);

	if (!words.len)
		words = span_str(st_name(status));
	fail(err, status, SPAN_FMT, SPAN_ARG(words));
	if (a->list.len <= sizeof a->refusal) {
		memcpy(a->refusal, a->list.at, a->list.len);
		a->list = plist_trusted(a->refusal, a->list.len);
	} else {
		a->list = no_list();
	}
	exipc_reply_free(&a->reply);
	a->reply = (struct exipc_reply){ .status = status };
	return status;
}

/* A reply is here: what does it say? */
static enum st look(struct wire_answer *a, struct err *err)
{
	enum st status = a->reply.status, st;

	a->next = 0;
	st = take_list(a, err);
	if (st == ST_CORRUPT)
		return refused(a, st, err);
	return status == ST_OK || status == ST_MORE ? status : refused(a, status, err);
}

enum st wire_send(struct wire_msg *m, struct exipc_chan *chan, unsigned store_loop, enum wire_op op,
		  struct wire_answer *answer, struct err *err)
{
	int64_t deadline = m->deadline ? m->deadline : deadline_in_ms(WIRE_DEADLINE_MS);
	enum st st;

	answer->reply = (struct exipc_reply){ 0 };
	answer->list = no_list();
	answer->next = 0;
	pw_end(&m->w);
	if (m->bytes.failed) {
		for (unsigned i = 0; i < m->nsections; i++)
			exipc_section_put(chan, &m->sections[i]);
		st = fail(err, ST_TOOBIG, "the request is larger than %u bytes", EXIPC_BLOCK_MAX);
	} else {
		st = exipc_call(chan, store_loop, (uint16_t)op, buf_get(&m->bytes), m->sections,
				m->used, m->nsections, deadline, &answer->reply, err);
		if (st == ST_OK)
			st = look(answer, err);
	}
	buf_free(&m->bytes);
	return st;
}

enum st wire_next_row(struct wire_answer *a, struct err *err)
{
	for (;;) {
		enum st st = take_list(a, err);

		if (st == ST_OK)
			a->next += a->list.len;
		if (st != ST_EOF)
			return st;
		if (!a->reply.more)
			return ST_EOF;
		st = exipc_reply_next(&a->reply, deadline_in_ms(WIRE_DEADLINE_MS), err);
		if (st != ST_OK) {
			wire_answer_free(a);
			return st;
		}
		st = look(a, err);
		if (st != ST_OK)
			return st;
	}
}

bool wire_take_block(struct wire_answer *a, struct exipc_reply *out)
{
	return exipc_reply_take(&a->reply, out);
}

void wire_answer_free(struct wire_answer *a)
{
	exipc_reply_free(&a->reply);
	a->reply = (struct exipc_reply){ 0 };
	a->list = no_list();
	a->next = 0;
}
