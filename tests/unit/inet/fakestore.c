#include "fakestore.h"
#include "base/uset.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <unistd.h>

#define TAG        7
#define LOGON      1000
#define LOGON_BUSY 1001
#define PAGE_OF(i) (4u * (i))

static const struct {
	const char *text;
	unsigned long octets; /* as RETR sends it */
	bool dots;
} messages[] = {
	{ "Subject: one\r\n\r\nhello\r\n", 23, false },
	{ "Subject: two\r\n\r\n.dot\r\n..\r\nend\r\n", 31, true },
	{ "Subject: three\r\n\r\nno end", 26, false },
	{ "Subject: four\r\n\r\n1\r\n2\r\n.3\r\n", 28, true },
};
#define MESSAGES (sizeof(messages) / sizeof(messages[0]))

static struct {
	int stream;
	unsigned replies, fds, logons;
	bool locked, gone[MESSAGES];
} f;

struct exipc_fd {
	int unused;
};

/* ---- what exipc.h promises ---- */

struct exipc_chan *fakestore_chan(void)
{
	static uint64_t somewhere;

	return (struct exipc_chan *)&somewhere;
}

enum st exipc_wait_bound(struct exipc_chan *chan, int64_t deadline, struct err *err)
{
	(void)deadline;
	return exipc_is_bound(chan) ? ST_OK : fail(err, ST_TIMEOUT, "the store does not answer");
}

bool exipc_is_bound(const struct exipc_chan *chan)
{
	(void)chan;
	return true;
}

uint64_t exipc_epoch(const struct exipc_chan *chan)
{
	(void)chan;
	return 1;
}

unsigned exipc_store_loops(const struct exipc_chan *chan)
{
	(void)chan;
	return 1;
}

struct exipc_fd *exipc_fd_hold(struct exipc_chan *chan, uint64_t tag)
{
	static struct exipc_fd fd;

	(void)chan;
	if (tag != TAG)
		return NULL;
	f.fds++;
	return &fd;
}

bool exipc_fd_withdrawn(const struct exipc_fd *h)
{
	(void)h;
	return false;
}

int exipc_fd_get(const struct exipc_fd *h)
{
	(void)h;
	return f.stream;
}

void exipc_fd_drop(struct exipc_fd *h)
{
	(void)h;
	f.fds--;
}

void exipc_section_put(struct exipc_chan *chan, struct exipc_section *s)
{
	(void)chan;
	(void)s;
}

void exipc_reply_free(struct exipc_reply *r)
{
	if (r->block) {
		free((void *)(uintptr_t)r->block);
		f.replies--;
	}
	r->block = 0;
}

bool exipc_reply_take(struct exipc_reply *r, struct exipc_reply *out)
{
	if (!r->block)
		return false;
	*out = *r;
	r->block = 0;
	return true;
}

enum st exipc_reply_next(struct exipc_reply *r, int64_t deadline, struct err *err)
{
	(void)deadline;
	exipc_reply_free(r);
	return fail(err, ST_GONE, "every reply is one block here");
}

/* ---- the requests ---- */

struct answer {
	struct buf bytes;
	enum st st;
};

static void refuse(struct answer *a, enum st st)
{
	struct pw w;

	buf_clear(&a->bytes);
	pw_begin(&w, &a->bytes, 1);
	pw_str(&w, PR_ERROR_TEXT, "refused");
	pw_end(&w);
	a->st = st;
}

static void sasl(const struct plist *in, struct answer *a)
{
	static const struct {
		struct span plain;
		const char *user;
		uint64_t logon;
	} users[] = {
		{ { "\0alice@mailroot.test\0demo", 25 }, "alice@mailroot.test", LOGON },
		{ { "\0busy@mailroot.test\0demo", 24 }, "busy@mailroot.test", LOGON_BUSY },
	};
	struct span said = plist_span(in, PR_SASL_DATA);
	struct pw w;

	if (!said.at) {
		pw_begin(&w, &a->bytes, 2);
		pw_u64(&w, PR_SASL_ID, 5);
		pw_span(&w, PR_SASL_DATA, SPAN(""));
		pw_end(&w);
		a->st = ST_MORE;
		return;
	}
	for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++) {
		if (!span_eq(said, users[i].plain))
			continue;
		pw_begin(&w, &a->bytes, 3);
		pw_u64(&w, PR_LOGON, users[i].logon);
		pw_u64(&w, PR_MAILBOX_ID, 1);
		pw_str(&w, PR_USER, users[i].user);
		pw_end(&w);
		f.logons++;
		return;
	}
	refuse(a, ST_DENIED);
}

static void pop_open(const struct plist *in, struct answer *a)
{
	struct pw w;

	if (plist_u64(in, PR_LOGON, 0) != LOGON || f.locked) {
		refuse(a, ST_BUSY);
		return;
	}
	f.locked = true;
	pw_begin(&w, &a->bytes, 2);
	pw_u64(&w, PR_FID, 1);
	pw_u32(&w, PR_UIDVALIDITY, 77);
	pw_end(&w);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		if (f.gone[i])
			continue;
		pw_begin(&w, &a->bytes, 2);
		pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, 10 + i);
		pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, messages[i].octets);
		pw_end(&w);
	}
}

static void pop_retr(const struct plist *in, struct answer *a)
{
	uint32_t i = plist_u32(in, PR_INTERNET_ARTICLE_NUMBER, 0) - 10;
	struct buf scatter = BUF_MAX(256);
	struct scatter_run run;
	struct pw w;

	if (i >= MESSAGES) {
		refuse(a, ST_NOTFOUND);
		return;
	}
	run = (struct scatter_run){ PAGE_OF(i), 1 };
	scatter_write(&scatter, strlen(messages[i].text), &run, 1);
	pw_begin(&w, &a->bytes, 4);
	pw_span(&w, PR_BODY_SCATTER, buf_get(&scatter));
	pw_u64(&w, PR_STREAM_TAG, TAG);
	pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, strlen(messages[i].text));
	pw_bool(&w, PR_HAS_DOT_LINES, messages[i].dots);
	pw_end(&w);
	buf_free(&scatter);
}

static void pop_update(const struct plist *in, struct answer *a)
{
	struct uset marked = { 0 };
	struct err err;
	struct pw w;

	if (uset_read(plist_span(in, PR_UIDS), &marked, &err) != ST_OK || !f.locked) {
		refuse(a, ST_BAD);
		return;
	}
	for (uint32_t i = 0; i < MESSAGES; i++)
		f.gone[i] |= uset_has(&marked, 10 + i);
	uset_free(&marked);
	f.locked = false;
	pw_begin(&w, &a->bytes, 1);
	pw_span(&w, PR_UIDS, plist_span(in, PR_UIDS));
	pw_end(&w);
}

enum st exipc_call(struct exipc_chan *chan, unsigned store_loop, uint16_t op, struct span payload,
		   const struct exipc_section *sections, const uint32_t *used, unsigned nsections,
		   int64_t deadline, struct exipc_reply *out, struct err *err)
{
	struct answer a = { .bytes = BUF_MAX(65536) };
	struct plist in;

	(void)chan;
	(void)store_loop;
	(void)sections;
	(void)used;
	(void)nsections;
	(void)deadline;
	if (plist_open(&in, payload.at, payload.len, err) != ST_OK)
		return ST_GONE;
	switch (op) {
	case WIRE_DS_SASL_START:
	case WIRE_DS_SASL_STEP:
		sasl(&in, &a);
		break;
	case WIRE_DS_LOGOFF:
		f.logons--;
		break;
	case WIRE_POP_OPEN:
		pop_open(&in, &a);
		break;
	case WIRE_POP_RETR:
		pop_retr(&in, &a);
		break;
	case WIRE_POP_UPDATE:
		pop_update(&in, &a);
		break;
	case WIRE_POP_CLOSE:
		f.locked = false;
		break;
	default:
		refuse(&a, ST_BAD);
	}
	buf_char(&a.bytes, 0); /* so that there always is a block */
	*out = (struct exipc_reply){
		.status = a.st,
		.payload = span_of(a.bytes.at, a.bytes.len - 1),
		.block = (uintptr_t)a.bytes.at,
	};
	f.replies++;
	return ST_OK;
}

/* ---- for the tests ---- */

void fakestore_reset(void)
{
	char name[] = "/tmp/mailroot-fakestore-XXXXXX";

	fakestore_close();
	memset(&f, 0, sizeof(f));
	f.stream = mkstemp(name);
	unlink(name);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		size_t len = strlen(messages[i].text);

		if (pwrite(f.stream, messages[i].text, len, PAGE_OF(i) * SCATTER_PAGE) !=
		    (ssize_t)len)
			abort();
	}
}

void fakestore_close(void)
{
	if (f.stream > 0)
		close(f.stream);
	f.stream = 0;
}

unsigned fakestore_held(void)
{
	return f.replies + f.fds + f.logons + f.locked;
}
