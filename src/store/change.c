#include "store/change.h"

#include "store/quota.h"
#include "store/watch.h"

#include <assert.h>
#include <stdlib.h>

#define ROW_BYTES_MAX 65536

enum st change_begin(struct change *c, struct mailbox *mb, struct err *err)
{
	*c = (struct change){ .mb = mb, .cn = mb->cn, .commits = mb->commits, .kept = mb->kept };
	return ese_batch_new(mb->db->ese, mb->id, &c->batch, err);
}

struct figures *change_figures(struct change *c, struct folder *f)
{
	for (unsigned i = 0; i < c->nfolders; i++)
		if (c->folders[i] == f)
			return &c->after[i];
	assert(c->nfolders < sizeof c->folders / sizeof c->folders[0]);
	c->folders[c->nfolders] = f;
	c->after[c->nfolders] = f->now;
	return &c->after[c->nfolders++];
}

uint64_t change_number(struct change *c, struct figures *fig)
{
	return fig->cn = ++c->cn;
}

void change_put(struct change *c, struct span key, const struct buf *value)
{
	assert(!value->failed);
	ese_put(c->batch, key, buf_get(value));
}

void change_entry(struct change *c, const struct folder *f, const struct entry *e)
{
	struct buf row = BUF_MAX(ROW_BYTES_MAX);
	struct key k;

	entry_write(e, &row);
	change_put(c, key_message(&k, f->mb->id, BOX_ENTRY, f->number, e->uid), &row);
	buf_free(&row);
}

void change_mailbox(struct change *c)
{
	struct buf row = BUF_MAX(ROW_BYTES_MAX);
	struct key k;

	mailbox_row(c->mb, &row);
	change_put(c, key_box(&k, c->mb->id, BOX_MAILBOX), &row);
	buf_free(&row);
}

void change_folder(struct change *c, const struct folder *f)
{
	struct buf row = BUF_MAX(ROW_BYTES_MAX);
	struct key k;

	folder_row(f, &row);
	change_put(c, key_folder(&k, c->mb->id, BOX_FOLDER, f->number), &row);
	buf_free(&row);
}

void change_new_folder(struct change *c, const struct folder *f)
{
	struct buf row = BUF_MAX(ROW_BYTES_MAX);
	struct key k;

	change_folder(c, f);
	figures_write(&f->now, &row);
	change_put(c, key_folder(&k, c->mb->id, BOX_FIGURES, f->number), &row);
	buf_free(&row);
}

void change_kept(struct change *c, int64_t count, int64_t octets)
{
	c->kept.count += (uint64_t)count;
	c->kept.bytes += (uint64_t)octets;
	c->kept_moved = true;
}

void change_warned(struct change *c, int64_t when)
{
	c->kept.warned = when;
	c->kept_moved = true;
}

bool change_full(const struct change *c)
{
	return ese_batch_bytes(c->batch) >= c->mb->shard->store->batch_bytes;
}

/* ---- what happens when it is durable ---- */

static void change_arrived(void *arg)
{
	struct change *c = arg;
	struct mailbox *mb = c->mb;

	for (unsigned i = 0; i < c->nfolders; i++) {
		struct folder *f = c->folders[i];
		bool moved = c->after[i].cn != f->seen.cn;

		f->seen = c->after[i];
		f->inflight--;
		fiber_queue_wake_all(&f->wake);
		if (moved)
			watch_notify(mb->shard, folder_fid(f), f->seen.cn);
		folder_drop(f);
	}
	mb->inflight--;
	c->durable = true;
	if (c->waiter)
		fiber_wake(c->waiter);
	if (c->detached)
		free(c);
	store_end(mb->shard->store);
	mailbox_put(mb);
}

/* On an engine thread. */
static void change_done(void *arg)
{
	struct change *c = arg;

	loop_post(c->mb->shard->loop, change_arrived, c);
}

/* ---- committing ---- */

static void put_figures(struct change *c)
{
	struct buf row = BUF_MAX(ROW_BYTES_MAX);
	struct key k;

	for (unsigned i = 0; i < c->nfolders; i++) {
		/* A deleted folder has no figures any more. */
		if (c->folders[i]->gone)
			continue;
		if (c->folders[i]->row_dirty)
			change_folder(c, c->folders[i]);
		buf_clear(&row);
		figures_write(&c->after[i], &row);
		change_put(c, key_folder(&k, c->mb->id, BOX_FIGURES, c->folders[i]->number), &row);
	}
	if (c->kept_moved) {
		buf_clear(&row);
		kept_figures_write(&c->kept, &row);
		change_put(c, key_box(&k, c->mb->id, BOX_KEPT_FIGURES), &row);
	}
	buf_free(&row);
}

enum st change_commit(struct change *c, struct err *err)
{
	struct mailbox *mb = c->mb;
	uint64_t size = mb->size;
	enum st st;

	assert(c->commits == mb->commits);
	put_figures(c);
	/* Counted before, because an engine thread may be done with it at once; that only posts to this
	 * loop. */
	store_begin(mb->shard->store);
	mb->refs++;
	mb->inflight++;
	for (unsigned i = 0; i < c->nfolders; i++)
		folder_hold(c->folders[i])->inflight++;
	st = ese_commit(c->batch, change_done, c, err);
	c->batch = NULL;
	if (st != ST_OK) {
		for (unsigned i = 0; i < c->nfolders; i++) {
			c->folders[i]->inflight--;
			folder_drop(c->folders[i]);
		}
		mb->inflight--;
		store_end(mb->shard->store);
		mailbox_put(mb);
		return st;
	}
	mb->commits++;
	mb->cn = c->cn;
	mb->kept = c->kept;
	for (unsigned i = 0; i < c->nfolders; i++) {
		mb->size += c->after[i].size - c->folders[i]->now.size;
		c->folders[i]->now = c->after[i];
		c->folders[i]->row_dirty = false;
	}
	if (mb->size != size)
		quota_moved(mb, mb->size > size);
	return ST_OK;
}

void change_abandon(struct change *c)
{
	if (c->batch)
		ese_batch_free(c->batch);
	c->batch = NULL;
}

void change_wait(struct change *c)
{
	c->waiter = fiber_self();
	while (!c->durable)
		fiber_park(NO_DEADLINE);
}

void change_detach(struct change *c)
{
	c->detached = true;
}
