/* direct.c - circular logging: bodies that are written beside the log; see docs/crash-states.md.
 *
 * The happy path: the committer writes a body's bytes to its reserved pages as they come by in the queue, syncs the
 * streaming file before the group that holds the batch which needs them, and goes on.
 * Possible failures: a failed write or sync breaks the group, as one of the log does. */
#include "ese/ese_int.h"
#include "ese/io.h"

bool direct_begin(struct ese *g)
{
	bool may;

	pthread_mutex_lock(&g->lock);
	may = g->circular;
	g->direct_now += may;
	pthread_mutex_unlock(&g->lock);
	return may;
}

void direct_end(struct ese *g)
{
	pthread_mutex_lock(&g->lock);
	g->direct_now--;
	pthread_mutex_unlock(&g->lock);
}

bool ese_circular(struct ese *g)
{
	bool on;

	pthread_mutex_lock(&g->lock);
	on = g->circular || g->direct_now > 0;
	pthread_mutex_unlock(&g->lock);
	return on;
}

static const char zeros[ESE_PAGE];

/* The rest of the last page belongs to the body: a whole page is written without reading it first. */
enum st direct_write(void *arg, const struct node *n, struct err *err)
{
	struct ese *g = arg;
	size_t len = n->len - REC_BODY_HEAD;
	uint64_t at = le64_get(n->payload + 16);
	size_t rest = (size_t)(-(at + len) % ESE_PAGE);
	const void *parts[2] = { n->payload + REC_BODY_HEAD, zeros };
	struct iovec iov[2] = { { .iov_len = len }, { .iov_len = rest } };

	/* iovec has no const form; pwritev only reads. */
	memcpy(&iov[0].iov_base, &parts[0], sizeof(void *));
	memcpy(&iov[1].iov_base, &parts[1], sizeof(void *));
	n->db->direct_dirty = true;
	g->direct_bytes += len;
	return io_writev(n->db->fd, iov, rest ? 2 : 1, at, 0, n->db->name, err);
}

enum st direct_sync(void *arg, struct err *err)
{
	struct ese *g = arg;
	enum st st = ST_OK;

	for (struct ese_db *db = g->dbs; st == ST_OK && db; db = db->next) {
		if (!db->direct_dirty)
			continue;
		st = io_sync(db->fd, db->name, err);
		db->direct_dirty = false;
		g->direct_syncs++;
	}
	return st;
}

/* On: the slot says so before the first body goes beside the log, and the logs that are kept for the last backup can't be rolled
 * forward over it any more. */
static void change_flags(struct checkpoint_facts *f, bool on)
{
	f->flags &= ~CHECKPOINT_CIRCULAR;
	if (on)
		f->flags |= CHECKPOINT_CIRCULAR | CHECKPOINT_DIRECT | CHECKPOINT_CHAIN_BROKEN;
}

enum st ese_set_circular(struct ese *g, bool on, struct err *err)
{
	enum st st;

	/* From the first change to the last: two who switch must not leave one thing in the slot and the other here. */
	pthread_mutex_lock(&g->slot);
	if (!on)
		g->circular = false;
	pthread_mutex_lock(&g->lock);
	change_flags(&g->facts, on);
	g->backup_circular |= on;
	pthread_mutex_unlock(&g->lock);
	st = checkpoint_rewrite(g, err);
	if (st == ST_OK && on)
		g->circular = true;
	pthread_mutex_unlock(&g->slot);
	return st;
}

/* With ese.slot held, before a checkpoint meets the apply thread: can't such a record come any more? */
bool direct_ended(struct ese *g)
{
	bool ended;

	pthread_mutex_lock(&g->lock);
	ended = !(g->facts.flags & CHECKPOINT_CIRCULAR) && g->direct_now == 0;
	pthread_mutex_unlock(&g->lock);
	return ended;
}
