/* Any bytes as a queue file's stream: what is taken as an envelope or as live properties is written to a stream
 * that reads the same. */
#include <stdlib.h>

#include "transport/fsfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void same_rcpts(const struct mailmsg_rcpt *a, const struct mailmsg_rcpt *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		need(span_eq(a[i].address, b[i].address) && a[i].flags == b[i].flags &&
		     a[i].error == b[i].error && span_eq(a[i].error_text, b[i].error_text) &&
		     span_eq(a[i].notify, b[i].notify) && span_eq(a[i].orcpt, b[i].orcpt));
}

/* The stream with its frame, as it would be read from the disk again. */
static void reframe(struct buf *list, struct plist *out)
{
	struct buf framed = BUF_MAX(MAILMSG_ENVELOPE_MAX + FRAME_HEAD);
	struct span bytes = SPAN_NONE;

	need(!list->failed);
	frame_write(&framed, buf_get(list));
	need(!framed.failed && frame_read(buf_get(&framed), &bytes, NULL) == ST_OK);
	buf_clear(list);
	buf_span(list, bytes);
	need(plist_open(out, list->at, list->len, NULL) == ST_OK);
	buf_free(&framed);
}

static void envelope(const struct plist *list, struct pool *pool)
{
	struct buf bytes = BUF_MAX(MAILMSG_ENVELOPE_MAX);
	struct mailmsg_envelope a, b;
	struct plist again;

	if (mailmsg_props_read(list, pool, &a, NULL) != ST_OK)
		return;
	need(a.nrcpts > 0);
	mailmsg_props_write(&bytes, &a);
	reframe(&bytes, &again);
	need(mailmsg_props_read(&again, pool, &b, NULL) == ST_OK);
	need(span_eq(a.sender, b.sender) && a.nrcpts == b.nrcpts && a.size == b.size);
	need(a.arrival == b.arrival && a.content_crc == b.content_crc);
	need(memcmp(a.guid, b.guid, sizeof(a.guid)) == 0 && span_eq(a.helo, b.helo));
	same_rcpts(a.rcpts, b.rcpts, a.nrcpts);
	buf_free(&bytes);
}

static void live(const struct plist *list, struct pool *pool)
{
	struct buf bytes = BUF_MAX(MAILMSG_ENVELOPE_MAX);
	struct mailmsg_live a, b;
	struct plist again;

	if (mailmsg_live_read(list, pool, &a, NULL) != ST_OK)
		return;
	mailmsg_live_write(&bytes, &a);
	reframe(&bytes, &again);
	need(mailmsg_live_read(&again, pool, &b, NULL) == ST_OK);
	need(a.status == b.status && a.attempts == b.attempts && a.nrcpts == b.nrcpts);
	need(a.next_try == b.next_try && a.error == b.error);
	same_rcpts(a.rcpts, b.rcpts, a.nrcpts);
	buf_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pool *pool = pool_new("fuzz", 16 << 20);
	struct mailmsg_id id;
	const char *extension;
	char name[64] = { 0 };
	struct span bytes;
	struct plist list;

	memcpy(name, data, size < sizeof(name) ? size : sizeof(name) - 1);
	(void)fs_parse(name, &id, &extension);
	(void)!frame_read(span_of(data, size), &bytes, NULL);
	if (size > FRAME_HEAD &&
	    plist_open(&list, data + FRAME_HEAD, size - FRAME_HEAD, NULL) == ST_OK) {
		envelope(&list, pool);
		live(&list, pool);
	}
	pool_free(pool);
	return 0;
}
