#include "exifs/upload.h"

#define CLOSE_MS 1000 /* the store ends a file that nobody writes by itself some time */

void upload_begin(struct upload *u, struct exipc_chan *chan, unsigned loop, int64_t deadline)
{
	u->chan = chan;
	u->loop = loop;
	u->deadline = deadline;
	u->n = 0;
	u->token = 0;
	u->mailboxes = NULL;
	u->nmailboxes = 0;
}

static int64_t step_deadline(const struct upload *u)
{
	return u->deadline ? u->deadline : deadline_in_ms(WIRE_DEADLINE_MS);
}

static void give_sections(struct upload *u, struct wire_msg *m)
{
	for (unsigned i = 0; i < u->n; i++) {
		m->sections[i] = u->sections[i];
		m->used[i] = u->used[i];
	}
	m->nsections = u->n;
	u->n = 0;
}

static enum st make_file(struct upload *u, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st;

	wire_begin(&m, 1);
	if (u->nmailboxes)
		pw_mv_num(&m.w, PR_RECIPIENT_MAILBOXES, u->mailboxes, u->nmailboxes);
	m.deadline = step_deadline(u);
	st = wire_send(&m, u->chan, u->loop, WIRE_IFS_CREATE, &a, err);
	if (st != ST_OK)
		return st;
	u->token = plist_u64(&a.list, PR_BODY_TOKEN, 0);
	wire_answer_free(&a);
	return u->token ? ST_OK : fail(err, ST_IO, "the store gave no virtual file");
}

enum st upload_flush(struct upload *u, struct err *err)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	enum st st = u->token ? ST_OK : make_file(u, err);

	if (st != ST_OK)
		return st;
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, u->token);
	give_sections(u, &m);
	m.deadline = step_deadline(u);
	st = wire_send(&m, u->chan, u->loop, WIRE_IFS_WRITE, &a, err);
	wire_answer_free(&a);
	return st;
}

static bool last_is_full(const struct upload *u)
{
	return u->n > 0 && u->used[u->n - 1] == EXIPC_SECTION;
}

enum st upload_room(struct upload *u, char **at, size_t *len, struct err *err)
{
	enum st st = ST_OK;

	if (u->n == EXIPC_BULK_MAX && last_is_full(u))
		st = upload_flush(u, err);
	if (st == ST_OK && (u->n == 0 || last_is_full(u))) {
		st = exipc_section_get(u->chan, u->loop, step_deadline(u), &u->sections[u->n], err);
		if (st == ST_OK)
			u->used[u->n++] = 0;
	}
	if (st != ST_OK)
		return st;
	*at = u->sections[u->n - 1].at + u->used[u->n - 1];
	*len = EXIPC_SECTION - u->used[u->n - 1];
	return ST_OK;
}

void upload_took(struct upload *u, size_t len)
{
	u->used[u->n - 1] += (uint32_t)len;
}

enum st upload_bytes(struct upload *u, struct span bytes, struct err *err)
{
	while (bytes.len > 0) {
		char *at;
		size_t len;
		enum st st = upload_room(u, &at, &len, err);

		if (st != ST_OK)
			return st;
		if (len > bytes.len)
			len = bytes.len;
		memcpy(at, bytes.at, len);
		upload_took(u, len);
		bytes = span_skip(bytes, len);
	}
	return ST_OK;
}

enum st upload_attach(struct upload *u, struct wire_msg *m, struct err *err)
{
	enum st st = u->token && u->n ? upload_flush(u, err) : ST_OK;

	if (st != ST_OK)
		return st;
	if (u->token)
		pw_u64(&m->w, PR_BODY_TOKEN, u->token);
	u->token = 0; /* used up */
	give_sections(u, m);
	return ST_OK;
}

void upload_end(struct upload *u)
{
	struct wire_answer a = { 0 };
	struct wire_msg m;
	struct err ignored;

	while (u->n)
		exipc_section_put(u->chan, &u->sections[--u->n]);
	if (!u->token)
		return;
	wire_begin(&m, 1);
	pw_u64(&m.w, PR_BODY_TOKEN, u->token);
	u->token = 0;
	m.deadline = deadline_in_ms(CLOSE_MS);
	(void)!wire_send(&m, u->chan, u->loop, WIRE_IFS_CLOSE, &a, &ignored);
	wire_answer_free(&a);
}
