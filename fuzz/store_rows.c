/* store_rows.c - arbitrary rows in a database: whoever reads it from outside never leaves them and never loops.
 *
 * The input is rows, one behind the other: u8 length of the key, u16 length of the value, both.  They go into the memory of
 * one property database; the checker, the readers of folders and messages and the way back from bodies look at them. */
#include "ese/ese_int.h"
#include "store/check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ese_db db = { .name = "mailbox/fuzz", .fd = -1, .read_fd = -1, .state = ESE_UP };
static char dir[64];

static void end(void)
{
	char cmd[100];

	pdb_close(db.rows);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	(void)!system(cmd);
}

static void start(void)
{
	static const struct pdb_conf conf = { .cache_bytes = 1 << 20,
					      .buffer_bytes = 8 << 20,
					      .files_max = 50 };
	char path[100];
	struct err err = { 0 };

	snprintf(dir, sizeof dir, "/tmp/fuzz-rows-XXXXXX");
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/x.edb", dir);
	pthread_mutex_init(&db.lock, NULL);
	if (pdb_open(path, true, &conf, &db.rows, &err) != ST_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	atexit(end);
}

/* Put the rows of the input, or take them away again. */
static void change(const uint8_t *data, size_t size, bool put)
{
	struct pdb_batch *b = pdb_batch_new();
	size_t at = 0;

	while (at + 3 <= size) {
		size_t klen = data[at], vlen = le16_get(data + at + 1);

		at += 3;
		if (klen == 0 || klen > size - at || vlen > size - at - klen)
			break;
		if (put)
			pdb_put(b, span_of(data + at, klen), span_of(data + at + klen, vlen));
		else
			pdb_delete(b, span_of(data + at, klen));
		at += klen + vlen;
	}
	if (pdb_write(db.rows, b, NULL) != ST_OK)
		abort();
	pdb_batch_free(b);
}

static void found(void *arg, const struct finding *f)
{
	volatile size_t *sink = arg;

	*sink += strlen(f->text) + f->from.len + f->subject.len;
	for (size_t i = 0; i < f->subject.len; i++)
		*sink += (unsigned char)f->subject.at[i];
}

static enum st link_found(void *arg, const struct offline_link *l, struct err *err)
{
	(void)err;
	*(size_t *)arg += l->message->uid;
	return ST_OK;
}

static void read_mailbox(uint64_t mailbox, size_t *sink)
{
	struct offline_tree t = { 0 };
	struct offline_messages *it;
	struct offline_message m;
	enum st st;

	if (offline_tree_load(&db, mailbox, &t, NULL) != ST_OK)
		return;
	for (size_t i = 0; i < t.n && i < 4; i++) {
		*sink += strlen(t.folders[i].path);
		if (offline_messages_open(&db, mailbox, t.folders[i].number, &it, NULL) != ST_OK)
			continue;
		while ((st = offline_messages_next(it, &m, NULL)) == ST_OK || st == ST_CORRUPT)
			*sink += m.uid;
		offline_messages_close(it);
	}
	if (offline_kept_open(&db, mailbox, &it, NULL) == ST_OK) {
		while ((st = offline_messages_next(it, &m, NULL)) == ST_OK || st == ST_CORRUPT)
			*sink += m.path.len;
		offline_messages_close(it);
	}
	offline_tree_free(&t);
}

static void look(void)
{
	size_t sink = 0;
	struct store_check c = { .no_logs = true, .found = found, .arg = &sink };
	uint64_t ids[] = { 0, 1, 2, 3 }, mailbox = 0;
	unsigned n = 0;
	enum st st;

	assert(offline_new(&c.o, NULL) == ST_OK);
	assert(offline_add_open(c.o, db.name, &db, NULL) == ST_OK);
	(void)!offline_load_users(c.o, NULL);
	(void)!store_check(&c, NULL);
	while (((st = offline_mailbox_next(&db, &mailbox, NULL)) == ST_OK || st == ST_CORRUPT) &&
	       n++ < 8)
		read_mailbox(mailbox, &sink);
	(void)!offline_links(&db, ids, 4, link_found, &sink, NULL);
	offline_close(c.o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!db.rows)
		start();
	change(data, size, true);
	look();
	change(data, size, false);
	return 0;
}
