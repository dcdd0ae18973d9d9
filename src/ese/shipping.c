/* shipping.c - holds on log files, and the word that the log grew; see shipping.h.
 *
 * E00.ship is written by a checkpoint before it gives log files away, so a hold that is lost with a crash is at
 * worst an older one. */
#include "ese/ese_int.h"

#include "base/crc32c.h"
#include "ese/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define HOLDS_MAGIC 0x4448524du /* "MRHD" */
#define HOLDS_BYTES (16u + ESE_HOLDS_MAX * 16u)

void ese_log_look(struct ese *g, struct ese_log_info *out)
{
	memcpy(out->signature, g->signature, LOG_SIGNATURE);
	log_newest(g->log, &out->durable, &out->time, &out->oldest);
}

void ese_log_watch(struct ese *g, void (*moved)(void *arg), void *arg)
{
	pthread_mutex_lock(&g->lock);
	g->ship.moved = moved;
	g->ship.arg = arg;
	pthread_mutex_unlock(&g->lock);
}

void shipping_moved(struct ese *g)
{
	/* Under the lock, so that it does not run any more once ese_log_watch(g, NULL) returned. */
	pthread_mutex_lock(&g->lock);
	if (g->ship.moved)
		g->ship.moved(g->ship.arg);
	pthread_mutex_unlock(&g->lock);
}

static struct hold *hold_of(struct ese *g, uint64_t who)
{
	for (uint32_t i = 0; i < g->ship.n; i++)
		if (g->ship.holds[i].who == who)
			return &g->ship.holds[i];
	return NULL;
}

enum st ese_log_hold(struct ese *g, uint64_t who, uint64_t pos, struct err *err)
{
	struct hold *h;
	enum st st = ST_OK;

	pthread_mutex_lock(&g->lock);
	h = hold_of(g, who);
	if (!h && pos != 0 && g->ship.n < ESE_HOLDS_MAX)
		h = &g->ship.holds[g->ship.n++];
	if (h && pos != 0)
		*h = (struct hold){ who, pos };
	else if (h)
		*h = g->ship.holds[--g->ship.n];
	else if (pos != 0)
		st = fail(err, ST_BUSY,
			  "%u others keep log files of this group; make one of them forget first",
			  ESE_HOLDS_MAX);
	pthread_mutex_unlock(&g->lock);
	return st;
}

/* ---- at a checkpoint ---- */

/* With the lock held: what is kept too long is given up. */
static void trim(struct ese *g, uint32_t newest)
{
	uint64_t files = g->o.ship_keep_bytes / g->o.segment_bytes;
	bool low = g->free_bytes < 2 * g->o.reserve_bytes;

	for (uint32_t i = 0; i < g->ship.n;) {
		uint32_t gen = pos_gen(g->ship.holds[i].pos);

		if (gen < newest && (low || newest - gen > files))
			g->ship.holds[i] = g->ship.holds[--g->ship.n];
		else
			i++;
	}
}

static void put_holds(char *at, const struct shipping *s)
{
	memset(at, 0, HOLDS_BYTES);
	le32_put(at + 4, HOLDS_MAGIC);
	le32_put(at + 8, ESE_FORMAT);
	le32_put(at + 12, s->n);
	for (uint32_t i = 0; i < s->n; i++) {
		le64_put(at + 16 + i * 16, s->holds[i].who);
		le64_put(at + 24 + i * 16, s->holds[i].pos);
	}
	le32_put(at, crc32c(0, at + 4, HOLDS_BYTES - 4));
}

static enum st write_holds(const struct ese *g, const char *bytes, struct err *err)
{
	char path[SEG_PATH_MAX], fresh[SEG_PATH_MAX];
	enum st st;
	int fd;

	snprintf(path, sizeof(path), "%s/E00.ship", g->dir);
	snprintf(fresh, sizeof(fresh), "%s/E00.ship.new", g->dir);
	st = io_open(fresh, O_RDWR | O_CREAT, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_write(fd, bytes, HOLDS_BYTES, 0, fresh, err);
	if (st == ST_OK)
		st = io_sync(fd, fresh, err);
	close(fd);
	if (st == ST_OK)
		st = io_rename(fresh, path, err);
	return st == ST_OK ? io_sync_dir(g->dir, err) : st;
}

enum st shipping_keep(struct ese *g, uint32_t *keep_from, struct err *err)
{
	char bytes[HOLDS_BYTES];
	enum st st = ST_OK;

	pthread_mutex_lock(&g->lock);
	trim(g, pos_gen(g->applied_pos));
	put_holds(bytes, &g->ship);
	for (uint32_t i = 0; i < g->ship.n; i++)
		if (pos_gen(g->ship.holds[i].pos) < *keep_from)
			*keep_from = pos_gen(g->ship.holds[i].pos);
	pthread_mutex_unlock(&g->lock);
	if (memcmp(bytes, g->ship.written, HOLDS_BYTES) == 0)
		return ST_OK;
	st = write_holds(g, bytes, err);
	if (st == ST_OK)
		memcpy(g->ship.written, bytes, HOLDS_BYTES);
	return st;
}

void shipping_open(struct ese *g)
{
	char path[SEG_PATH_MAX], bytes[HOLDS_BYTES];
	size_t got = 0;
	uint32_t n;
	int fd;

	put_holds(g->ship.written, &g->ship);
	snprintf(path, sizeof(path), "%s/E00.ship", g->dir);
	if (io_open(path, O_RDONLY, &fd, NULL) != ST_OK)
		return;
	if (io_read(fd, bytes, sizeof(bytes), 0, &got, path, NULL) != ST_OK)
		got = 0;
	close(fd);
	n = le32_get(bytes + 12);
	if (got < sizeof(bytes) || le32_get(bytes) != crc32c(0, bytes + 4, HOLDS_BYTES - 4) ||
	    le32_get(bytes + 4) != HOLDS_MAGIC || n > ESE_HOLDS_MAX)
		return;
	for (uint32_t i = 0; i < n; i++)
		g->ship.holds[i] = (struct hold){ le64_get(bytes + 16 + i * 16),
						  le64_get(bytes + 24 + i * 16) };
	g->ship.n = n;
	memcpy(g->ship.written, bytes, sizeof(bytes));
}
