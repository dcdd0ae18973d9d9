#include "store/rows.h"

#include "base/byteorder.h"

#include <assert.h>

#define SPACE_DIRECTORY 0x10
#define SPACE_MAILBOX   0x20

static void key_byte(struct key *k, unsigned b)
{
	k->at[k->len++] = (uint8_t)b;
}

static void key_u32(struct key *k, uint32_t v)
{
	v = htobe32(v);
	memcpy(k->at + k->len, &v, sizeof v);
	k->len += sizeof v;
}

static void key_u64(struct key *k, uint64_t v)
{
	key_u32(k, (uint32_t)(v >> 32));
	key_u32(k, (uint32_t)v);
}

static void key_bytes(struct key *k, struct span s)
{
	assert(s.len <= sizeof k->at - k->len);
	if (s.len)
		memcpy(k->at + k->len, s.at, s.len);
	k->len += s.len;
}

static struct span key_get(const struct key *k)
{
	return span_of(k->at, k->len);
}

struct span key_dir(struct key *k, enum dir_row kind, struct span name)
{
	k->len = 0;
	key_byte(k, SPACE_DIRECTORY);
	key_byte(k, kind);
	key_bytes(k, name);
	return key_get(k);
}

struct span key_dir_mailbox(struct key *k, enum dir_row kind, uint64_t mailbox)
{
	key_dir(k, kind, SPAN_NONE);
	key_u64(k, mailbox);
	return key_get(k);
}

struct span key_box(struct key *k, uint64_t mailbox, enum box_row kind)
{
	k->len = 0;
	key_byte(k, SPACE_MAILBOX);
	key_u64(k, mailbox);
	key_byte(k, kind);
	return key_get(k);
}

struct span key_folder(struct key *k, uint64_t mailbox, enum box_row kind, uint32_t folder)
{
	key_box(k, mailbox, kind);
	key_u32(k, folder);
	return key_get(k);
}

struct span key_message(struct key *k, uint64_t mailbox, enum box_row kind, uint32_t folder,
			uint32_t uid)
{
	key_folder(k, mailbox, kind, folder);
	key_u32(k, uid);
	return key_get(k);
}

struct span key_vanished(struct key *k, uint64_t mailbox, uint32_t folder, uint64_t cn)
{
	key_folder(k, mailbox, BOX_VANISHED, folder);
	key_u64(k, cn);
	return key_get(k);
}

struct span key_kept(struct key *k, uint64_t mailbox, int64_t deleted, uint64_t id)
{
	key_box(k, mailbox, BOX_KEPT);
	key_u64(k, (uint64_t)deleted);
	key_u64(k, id);
	return key_get(k);
}

int64_t key_kept_time(struct span key)
{
	return (int64_t)key_tail_u64(span_cut(key, key.len - sizeof(uint64_t)));
}

struct span key_named(struct key *k, uint64_t mailbox, enum box_row kind, struct span name)
{
	key_box(k, mailbox, kind);
	key_bytes(k, name);
	return key_get(k);
}

bool key_box_read(struct span key, uint64_t *mailbox, unsigned *kind, struct span *rest)
{
	if (key.len < 10 || key.at[0] != SPACE_MAILBOX)
		return false;
	*mailbox = be64_get(key.at + 1);
	*kind = (uint8_t)key.at[9];
	*rest = span_skip(key, 10);
	return true;
}

struct span key_after(struct key *k)
{
	/* No key begins with 0xff, so there is always a byte to count up. */
	while (k->at[k->len - 1] == 0xff)
		k->len--;
	k->at[k->len - 1]++;
	return key_get(k);
}

uint32_t key_tail_u32(struct span key)
{
	uint32_t v;

	if (key.len < sizeof v)
		return 0;
	memcpy(&v, key.at + key.len - sizeof v, sizeof v);
	return be32toh(v);
}

uint64_t key_tail_u64(struct span key)
{
	uint64_t v;

	if (key.len < sizeof v)
		return 0;
	memcpy(&v, key.at + key.len - sizeof v, sizeof v);
	return be64toh(v);
}

/* ---- values ---- */

enum st row_open(struct span row, const char *what, struct plist *out, struct err *err)
{
	if (plist_open(out, row.at, row.len, err) == ST_OK)
		return ST_OK;
	return fail(err, ST_CORRUPT, "the row of %s is no property list", what);
}

void entry_write(const struct entry *e, struct buf *out)
{
	struct pw w;

	pw_begin(&w, out, 6);
	pw_u64(&w, PR_MID, e->mid);
	pw_u32(&w, PR_IMAP_FLAGS, e->flags);
	pw_u64(&w, PR_CHANGE_NUM, e->cn);
	pw_u64(&w, PR_MESSAGE_SIZE_EXTENDED, e->size);
	pw_u64(&w, PR_MESSAGE_DELIVERY_TIME, (uint64_t)e->date);
	if (e->keywords)
		pw_u64(&w, PR_KEYWORD_BITS, e->keywords);
	pw_end(&w);
}

enum st entry_read(struct span key, struct span row, struct entry *out, struct err *err)
{
	struct plist l;
	enum st st = row_open(row, "a message", &l, err);

	if (st != ST_OK)
		return st;
	*out = (struct entry){
		.uid = key_tail_u32(key),
		.size = (uint32_t)plist_u64(&l, PR_MESSAGE_SIZE_EXTENDED, 0),
		.mid = plist_u64(&l, PR_MID, 0),
		.cn = plist_u64(&l, PR_CHANGE_NUM, 0),
		.date = (int64_t)plist_u64(&l, PR_MESSAGE_DELIVERY_TIME, 0),
		.keywords = plist_u64(&l, PR_KEYWORD_BITS, 0),
		.flags = plist_u32(&l, PR_IMAP_FLAGS, 0),
	};
	return ST_OK;
}

void figures_write(const struct figures *f, struct buf *out)
{
	struct pw w;

	pw_begin(&w, out, 7);
	pw_u32(&w, PR_INTERNET_ARTICLE_NUMBER_NEXT, f->uidnext);
	pw_u64(&w, PR_CHANGE_NUM, f->cn);
	pw_u32(&w, PR_CONTENT_COUNT, f->count);
	pw_u32(&w, PR_CONTENT_UNREAD, f->unread);
	pw_u64(&w, PR_FOLDER_SIZE, f->size);
	pw_u32(&w, PR_RECENT_FROM, f->recent_from);
	pw_u64(&w, PR_VANISHED_FROM, f->vanished_from);
	pw_end(&w);
}

enum st figures_read(struct span row, struct figures *out, struct err *err)
{
	struct plist l;
	enum st st = row_open(row, "a folder's figures", &l, err);

	if (st != ST_OK)
		return st;
	*out = (struct figures){
		.cn = plist_u64(&l, PR_CHANGE_NUM, 0),
		.size = plist_u64(&l, PR_FOLDER_SIZE, 0),
		.vanished_from = plist_u64(&l, PR_VANISHED_FROM, 0),
		.uidnext = plist_u32(&l, PR_INTERNET_ARTICLE_NUMBER_NEXT, 1),
		.recent_from = plist_u32(&l, PR_RECENT_FROM, 1),
		.count = plist_u32(&l, PR_CONTENT_COUNT, 0),
		.unread = plist_u32(&l, PR_CONTENT_UNREAD, 0),
	};
	return ST_OK;
}

void kept_figures_write(const struct kept_figures *f, struct buf *out)
{
	struct pw w;

	pw_begin(&w, out, 3);
	pw_u64(&w, PR_KEPT_COUNT, f->count);
	pw_u64(&w, PR_KEPT_SIZE, f->bytes);
	if (f->warned)
		pw_u64(&w, PR_QUOTA_WARNED, (uint64_t)f->warned);
	pw_end(&w);
}

enum st kept_figures_read(struct span row, struct kept_figures *out, struct err *err)
{
	struct plist l;
	enum st st = row_open(row, "what a mailbox keeps", &l, err);

	if (st == ST_OK)
		*out = (struct kept_figures){
			.count = plist_u64(&l, PR_KEPT_COUNT, 0),
			.bytes = plist_u64(&l, PR_KEPT_SIZE, 0),
			.warned = (int64_t)plist_u64(&l, PR_QUOTA_WARNED, 0),
		};
	return st;
}
