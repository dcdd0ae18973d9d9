#include "fakeimap.h"
#include "base/uset.h"
#include "mime/promote.h"
#include "wire/wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TAG        7
#define LOGON      1000
#define FID        5
#define MESSAGES   3
#define ROWS_MAX   8
#define PART_LINES 700
#define PAGES      64u /* of the streaming file for each message */

struct message {
	char *text;
	size_t len;
	struct buf promoted;
};

static struct {
	int stream;
	unsigned replies, fds, logons, sections, files;
	struct message messages[MESSAGES];
	/* trouble */
	unsigned calls, calls_max, plan, client, strike_at;
	enum trouble trouble;
	bool died;
	uint64_t epoch;
	uint32_t damaged, senseless; /* UIDs */
} f;

struct exipc_fd {
	int unused;
};

/* Replies of one request that are still to come. */
struct exipc_call {
	struct buf blocks[ROWS_MAX + 1];
	unsigned n, next;
	enum st st;
};

/* ---- trouble ---- */

static enum trouble strike(void)
{
	f.calls++;
	if (!f.plan && f.calls > f.calls_max)
		f.calls_max = f.calls;
	if (f.died)
		return TROUBLE_DIED;
	if (f.trouble == TROUBLE_NONE || f.calls != f.strike_at)
		return TROUBLE_NONE;
	if (f.trouble == TROUBLE_DIED) {
		f.died = true;
		f.logons = f.files = 0;
	}
	return f.trouble;
}

/* What the transport says of it; ST_OK: it is the store's business. */
static enum st lost(enum trouble t, struct err *err)
{
	if (t == TROUBLE_GONE || t == TROUBLE_DIED)
		return fail(err, ST_GONE, "the store went away");
	return t == TROUBLE_TIMEOUT ? fail(err, ST_TIMEOUT, "the store does not answer") : ST_OK;
}

static enum st refusal(enum trouble t)
{
	return t == TROUBLE_REFUSED   ? ST_DENIED
	       : t == TROUBLE_FULL    ? ST_NOSPACE
	       : t == TROUBLE_MISSING ? ST_NOTFOUND
	       : t == TROUBLE_CORRUPT ? ST_CORRUPT
				      : ST_OK;
}

static void next_client(void)
{
	f.calls = 0;
	f.died = false;
	f.epoch++;
	f.trouble = TROUBLE_NONE;
	if (!f.plan)
		return;
	f.trouble = TROUBLE_GONE + f.client / f.plan;
	f.strike_at = f.client % f.plan + 1;
	if (f.trouble >= TROUBLES)
		f.trouble = TROUBLE_NONE;
	f.client++;
}

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
	return !f.died;
}

uint64_t exipc_epoch(const struct exipc_chan *chan)
{
	(void)chan;
	return f.epoch;
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
	assert(tag == TAG);
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

enum st exipc_section_get(struct exipc_chan *chan, unsigned store_loop, int64_t deadline,
			  struct exipc_section *out, struct err *err)
{
	enum st st = lost(strike(), err);

	(void)chan;
	(void)deadline;
	if (st != ST_OK)
		return st;
	*out = (struct exipc_section){ .at = malloc(EXIPC_SECTION), .store_loop = store_loop };
	assert(out->at && f.sections < EXIPC_BULK_MAX);
	f.sections++;
	return ST_OK;
}

static void section_end(char *at)
{
	free(at);
	f.sections--;
}

void exipc_section_put(struct exipc_chan *chan, struct exipc_section *s)
{
	(void)chan;
	section_end(s->at);
}

static void call_free(struct exipc_call *c)
{
	for (; c && c->next < c->n; c->next++)
		buf_free(&c->blocks[c->next]);
	free(c);
}

static void block_free(struct exipc_reply *r)
{
	if (!r->block)
		return;
	free((void *)(uintptr_t)r->block);
	r->block = 0;
	f.replies--;
}

void exipc_reply_free(struct exipc_reply *r)
{
	block_free(r);
	call_free(r->call);
	r->call = NULL;
	r->more = false;
}

bool exipc_reply_take(struct exipc_reply *r, struct exipc_reply *out)
{
	if (!r->block)
		return false;
	*out = *r;
	out->call = NULL;
	out->more = false;
	r->block = 0;
	return true;
}

static void give(struct exipc_call *c, struct exipc_reply *out)
{
	struct buf b = c->blocks[c->next++];
	bool more = c->next < c->n;

	*out = (struct exipc_reply){
		.status = more ? ST_OK : c->st,
		.more = more,
		.payload = span_of(b.at, b.len - 1),
		.block = (uintptr_t)b.at,
		.call = c,
	};
	f.replies++;
	if (!more) {
		call_free(c);
		out->call = NULL;
	}
}

/* ---- answers ---- */

static struct buf *block(struct exipc_call *c)
{
	assert(c->n <= ROWS_MAX);
	c->blocks[c->n] = BUF_MAX(1024 * 1024);
	return &c->blocks[c->n++];
}

/* Only the end, with the store's words. */
static void refuse(struct exipc_call *c, enum st st)
{
	struct pw w;

	while (c->n > c->next)
		buf_free(&c->blocks[--c->n]);
	pw_begin(&w, block(c), 1);
	pw_str(&w, PR_ERROR_TEXT, "refused");
	pw_end(&w);
	c->st = st;
}

enum st exipc_reply_next(struct exipc_reply *r, int64_t deadline, struct err *err)
{
	struct exipc_call *c = r->call;
	enum trouble t = strike();
	enum st st = lost(t, err);

	(void)deadline;
	block_free(r);
	if (st != ST_OK) {
		exipc_reply_free(r);
		return st;
	}
	if (refusal(t) != ST_OK) {
		refuse(c, refusal(t));
		buf_char(&c->blocks[c->n - 1], 0);
	}
	give(c, r);
	return ST_OK;
}

static void put_set(struct pw *w, uint32_t tag, const struct uset *set)
{
	struct buf b = BUF_MAX(4096);

	uset_write(set, &b);
	pw_span(w, tag, b.at ? buf_get(&b) : SPAN(""));
	buf_free(&b);
}

static void put_range(struct pw *w, uint32_t tag, uint32_t first, uint32_t last)
{
	struct uset set = { 0 };

	if (first <= last)
		assert(uset_add(&set, first, last) == ST_OK);
	put_set(w, tag, &set);
	uset_free(&set);
}

static void put_flags(struct pw *w, uint32_t uid, uint64_t cn)
{
	const struct span kw = SPAN("kw");

	pw_u32(w, PR_INTERNET_ARTICLE_NUMBER, uid);
	pw_u32(w, PR_IMAP_FLAGS, MF_SEEN);
	pw_mv_span(w, PR_KEYWORDS, &kw, 1);
	pw_u64(w, PR_CHANGE_NUM, cn);
}

static void log_on(const struct plist *in, struct exipc_call *c)
{
	struct pw w;

	if (!span_eq(plist_span(in, PR_SASL_DATA), span_of("\0alice@mailroot.test\0demo", 25))) {
		refuse(c, ST_DENIED);
		return;
	}
	pw_begin(&w, block(c), 3);
	pw_u64(&w, PR_LOGON, LOGON);
	pw_u64(&w, PR_MAILBOX_ID, 1);
	pw_str(&w, PR_USER, "alice@mailroot.test");
	pw_end(&w);
	f.logons++;
}

static void put_body(struct pw *w, uint32_t i)
{
	const struct message *m = &f.messages[i];
	struct scatter_run run = { PAGES * i,
				   (uint32_t)((m->len + SCATTER_PAGE - 1) / SCATTER_PAGE) };
	struct buf scatter = BUF_MAX(256);

	scatter_write(&scatter, m->len, &run, 1);
	pw_span(w, PR_BODY_SCATTER, buf_get(&scatter));
	pw_u64(w, PR_STREAM_TAG, TAG);
	buf_free(&scatter);
}

static void fetch(const struct plist *in, struct exipc_call *c)
{
	uint32_t want = plist_u32(in, PR_WANT, 0);
	struct uset uids = { 0 };
	struct err err;

	assert(uset_read(plist_span(in, PR_UIDS), &uids, &err) == ST_OK);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		struct plist promoted =
			plist_trusted(f.messages[i].promoted.at, f.messages[i].promoted.len);
		struct pw w;

		if (!uset_has(&uids, i + 1))
			continue;
		if (i + 1 == f.damaged) {
			pw_begin(&w, block(c), 1);
			pw_str(&w, PR_ERROR_TEXT, "a row is damaged");
			pw_end(&w);
			c->st = ST_CORRUPT;
			break;
		}
		pw_begin(&w, block(c), 16);
		put_flags(&w, i + 1, 20 + i);
		pw_u64(&w, PR_MESSAGE_DELIVERY_TIME, NS_PER_SEC);
		pw_copy(&w, &promoted, PR_MESSAGE_SIZE_EXTENDED);
		pw_copy(&w, &promoted, PR_HEADER_LENGTH);
		pw_copy(&w, &promoted, PR_IMAP_ENVELOPE);
		if (i + 1 == f.senseless)
			pw_str(&w, PR_PREVIEW, "no structure");
		else
			pw_copy(&w, &promoted, PR_MIME_STRUCTURE);
		if (want & WANT_BODY)
			put_body(&w, i);
		pw_end(&w);
	}
	uset_free(&uids);
}

/* The first row of a sync or a store, then rows of flags. */
static void flag_rows(const struct plist *in, struct exipc_call *c, bool news)
{
	const struct span kw = SPAN("kw");
	struct pw w;

	(void)in;
	pw_begin(&w, block(c), 8);
	pw_u64(&w, PR_CHANGE_NUM, 30);
	pw_mv_span(&w, PR_KEYWORDS, &kw, 1);
	put_range(&w, PR_UIDS_FAILED, 1, 0);
	put_range(&w, PR_UIDS, 1, 1);
	put_range(&w, PR_UIDS_VANISHED, 3, news ? 3 : 2);
	put_range(&w, PR_UIDS_NEW, 4, news ? 5 : 3);
	put_range(&w, PR_UIDS_RECENT, 5, news ? 5 : 4);
	pw_end(&w);
	for (uint32_t uid = 1; uid <= 2; uid++) {
		pw_begin(&w, block(c), 4);
		put_flags(&w, uid, 28 + uid);
		pw_end(&w);
	}
}

static void folders(struct exipc_call *c)
{
	static const char *const paths[] = { "INBOX", "Drafts", "Drafts/x" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct pw w;

		pw_begin(&w, block(c), 4);
		pw_str(&w, PR_FOLDER_PATH, paths[i]);
		if (i != 1)
			pw_u64(&w, PR_FID, FID + i);
		pw_bool(&w, PR_SUBSCRIBED, true);
		pw_bool(&w, PR_NONEXISTENT, false);
		pw_end(&w);
	}
}

/* Everything that any of the others asks for. */
static void figures(struct exipc_call *c)
{
	struct pw w;

	pw_begin(&w, block(c), 16);
	pw_u64(&w, PR_FID, FID);
	pw_u32(&w, PR_CONTENT_COUNT, MESSAGES);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER, 9);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER_NEXT, MESSAGES + 1);
	pw_u32(&w, PR_UIDVALIDITY, 77);
	pw_u64(&w, PR_CHANGE_NUM, 10);
	put_range(&w, PR_UIDS, 1, MESSAGES);
	put_range(&w, PR_UIDS_RECENT, 3, 3);
	put_range(&w, PR_UIDS_NEW, 11, 13);
	pw_u32(&w, PR_FIRST_UNSEEN, 2);
	pw_end(&w);
}

static void virtual_file(uint16_t op, struct exipc_call *c)
{
	struct pw w;

	f.files += op == WIRE_IFS_CREATE;
	f.files -= op == WIRE_IFS_CLOSE;
	pw_begin(&w, block(c), 1);
	pw_u64(&w, PR_BODY_TOKEN, 99);
	pw_end(&w);
}

static void answer(uint16_t op, const struct plist *in, struct exipc_call *c)
{
	switch (op) {
	case WIRE_DS_SASL_START:
		log_on(in, c);
		break;
	case WIRE_DS_LOGOFF:
		f.logons--;
		break;
	case WIRE_IMAP_FOLDERS:
		folders(c);
		break;
	case WIRE_IMAP_FETCH:
		fetch(in, c);
		break;
	case WIRE_IMAP_SYNC:
	case WIRE_IMAP_STORE:
		flag_rows(in, c, op == WIRE_IMAP_SYNC);
		break;
	case WIRE_IFS_CREATE:
	case WIRE_IFS_WRITE:
	case WIRE_IFS_CLOSE:
		virtual_file(op, c);
		break;
	case WIRE_IMAP_APPEND:
		f.files -= plist_has(in, PR_BODY_TOKEN);
		figures(c);
		break;
	default:
		figures(c);
	}
	if (c->n == 0)
		(void)block(c);
}

/* A request that ends something has its end whatever becomes of the answer. */
static void end_all_the_same(uint16_t op, const struct plist *in)
{
	if (f.died)
		return;
	f.logons -= op == WIRE_DS_LOGOFF;
	f.files -= op == WIRE_IFS_CLOSE || (op == WIRE_IMAP_APPEND && plist_has(in, PR_BODY_TOKEN));
}

enum st exipc_call(struct exipc_chan *chan, unsigned store_loop, uint16_t op, struct span payload,
		   const struct exipc_section *sections, const uint32_t *used, unsigned nsections,
		   int64_t deadline, struct exipc_reply *out, struct err *err)
{
	struct exipc_call *c;
	struct plist in;
	enum trouble t;
	enum st st;

	(void)chan;
	(void)store_loop;
	(void)deadline;
	if (op == WIRE_DS_SASL_START)
		next_client();
	for (unsigned i = 0; i < nsections; i++) {
		assert(used[i] > 0 && used[i] <= EXIPC_SECTION);
		section_end(sections[i].at);
	}
	assert(plist_open(&in, payload.at, payload.len, err) == ST_OK);
	t = strike();
	st = lost(t, err);
	if (t != TROUBLE_NONE)
		end_all_the_same(op, &in);
	if (st != ST_OK)
		return st;
	c = calloc(1, sizeof(*c));
	assert(c);
	if (refusal(t) != ST_OK)
		refuse(c, refusal(t));
	else
		answer(op, &in, c);
	for (unsigned i = 0; i < c->n; i++)
		buf_char(&c->blocks[i], 0); /* so that there always is a block */
	give(c, out);
	return ST_OK;
}

/* ---- for the tests ---- */

static void make_text(struct message *m, bool large)
{
	FILE *out = open_memstream(&m->text, &m->len);

	if (!large) {
		fputs("From: a@example.org\r\nSubject: small\r\n\r\nf small\r\n", out);
		fclose(out);
		return;
	}
	fputs("Subject: large\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n", out);
	for (int part = 0; part < 2; part++) {
		fputs("--x\r\n\r\n", out);
		for (int i = 0; i < PART_LINES; i++)
			fprintf(out, "line %040d of part %d\r\n", i, part);
	}
	fputs("--x--\r\n", out);
	fclose(out);
}

static void make_message(uint32_t i)
{
	struct message *m = &f.messages[i];
	struct mime_scan *scan = mime_scan_new(NULL);
	struct err err;

	make_text(m, i == 1);
	mime_scan_feed(scan, m->text, m->len);
	m->promoted = BUF_MAX(65536);
	if (mime_scan_end(scan, &err) != ST_OK || mime_promote(scan, &m->promoted, &err) != ST_OK ||
	    m->len > PAGES * SCATTER_PAGE ||
	    pwrite(f.stream, m->text, m->len, (off_t)PAGES * i * SCATTER_PAGE) != (ssize_t)m->len)
		abort();
	mime_scan_free(scan);
}

void fakestore_reset(void)
{
	char name[] = "/tmp/mailroot-fakeimap-XXXXXX";

	fakestore_close();
	memset(&f, 0, sizeof(f));
	f.epoch = 1;
	f.stream = mkstemp(name);
	unlink(name);
	for (uint32_t i = 0; i < MESSAGES; i++)
		make_message(i);
}

void fakestore_close(void)
{
	for (uint32_t i = 0; i < MESSAGES; i++) {
		free(f.messages[i].text);
		f.messages[i].text = NULL;
		buf_free(&f.messages[i].promoted);
	}
	if (f.stream > 0)
		close(f.stream);
	f.stream = 0;
}

unsigned fakestore_held(void)
{
	return f.replies + f.fds + f.logons + f.sections + f.files;
}

void fakeimap_plan(unsigned calls)
{
	f.plan = calls;
	f.client = 0;
}

void fakeimap_damage(uint32_t row, uint32_t structure)
{
	f.damaged = row;
	f.senseless = structure;
}

unsigned fakeimap_calls(void)
{
	return f.calls_max;
}
