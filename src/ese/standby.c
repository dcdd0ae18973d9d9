/* standby.c - a group whose log comes from elsewhere; see standby.h.
 *
 * The happy path: a file begins (a spare with the source's header), groups are checked and written into it, one
 * sync, then the rounds of replay; a checkpoint every checkpoint_bytes, behind which log files are removed.
 * Possible failures: bytes that are no group or not the next one (nothing was written then), the disk (only closing
 * is left), a record that a standby can't follow. */
#include "ese/standby.h"

#include "ese/ese_int.h"

#include "base/clock.h"
#include "ese/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define SPARE 0xffffffffu

struct ese_standby {
	struct ese *g;
	bool failed;

	/* the open log file; fd < 0: the next one is to come */
	struct seg_head head;
	int fd;
	bool ended;                        /* it is closed, or there is none */
	char *image;                       /* its bytes from `applied_off` on */
	uint32_t written, synced, applied; /* offsets */
	uint64_t number, time;
	uint64_t since_checkpoint; /* bytes */
};

static enum st broke(struct ese_standby *s, enum st st)
{
	s->failed = true;
	return st;
}

/* ---- opening ---- */

/* A standby is whole or is none: a database that is not here, or that came to the source by another way than its log
 * (restored, repaired, moved from another group), can't be followed. */
static enum st check_whole(struct ese *g, struct err *err)
{
	for (struct ese_db *db = g->dbs; db; db = db->next) {
		struct ese_db_info info;

		ese_db_info(db, &info);
		if (info.state == ESE_FAILED && !db->live && !db->removed)
			return fail(
				err, ST_BAD,
				"database %s can't be followed: %.120s; begin again from a backup",
				info.name, info.reason);
	}
	return ST_OK;
}

static enum st use_file(struct ese_standby *s, const struct seg_head *h, uint32_t off,
			struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st;

	if (!s->image || h->size > s->head.size) {
		free(s->image);
		s->image = malloc(h->size);
		if (!s->image)
			return fail(err, ST_NOMEM, "log file %08X", h->gen);
	}
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	seg_path(path, s->g->dir, h->gen);
	st = io_open(path, O_RDWR, &s->fd, err);
	s->head = *h;
	s->written = s->synced = s->applied = off;
	s->ended = false;
	return st;
}

/* Files behind the end were prepared and never used: the source's of that number will be others.  The last first, so that
 * a crash in between leaves no gap. */
static enum st remove_ahead(struct ese_standby *s, uint32_t last, struct err *err)
{
	struct seg_list list;
	enum st st = seg_list(s->g->dir, &list, err);

	for (uint32_t i = list.ngens; st == ST_OK && i > 0 && list.gens[i - 1] > last; i--) {
		char path[SEG_PATH_MAX];

		seg_path(path, s->g->dir, list.gens[i - 1]);
		st = io_unlink(path, err);
	}
	seg_list_free(&list);
	return st == ST_OK ? io_sync_dir(s->g->dir, err) : st;
}

/* Groups are written here several at a time before one sync: a power cut may have kept a later one without an earlier
 * one.  For any other reader that would be damage, so what stands behind the end is wiped out. */
static enum st wipe_behind(struct ese_standby *s, struct err *err)
{
	struct scan scan;
	size_t got;
	enum st st = io_read(s->fd, s->image, s->head.size, 0, &got, "the standby's log", err);

	scan = (struct scan){ span_of(s->image, got), s->head.gen, le32_get(s->head.signature) };
	if (st != ST_OK || !scan_later(&scan, s->written))
		return st;
	memset(s->image + s->written, 0, s->head.size - s->written);
	st = io_write(s->fd, s->image + s->written, s->head.size - s->written, s->written,
		      "the standby's log", err);
	return st == ST_OK ? io_sync(s->fd, "the standby's log", err) : st;
}

/* Go on where the log that is there ends. */
static enum st stand(struct ese_standby *s, const struct log_end *end, struct err *err)
{
	struct seg_head h;
	enum st st = log_head_read(s->g->dir, end->gen, &h, err);

	if (st == ST_OK)
		st = remove_ahead(s, end->gen, err);
	if (st == ST_OK)
		st = use_file(s, &h, end->off, err);
	if (st == ST_OK)
		st = wipe_behind(s, err);
	if (st != ST_OK)
		return st;
	s->ended = end->ended;
	s->number = end->number;
	s->time = end->time;
	s->g->applied_pos = pos_of(end->gen, end->off);
	return ST_OK;
}

enum st ese_standby_open(const char *dir, const struct ese_options *o, struct ese_standby **out,
			 struct err *err)
{
	struct ese_standby *s = calloc(1, sizeof(*s));
	struct log_end end = { 0 };
	enum st st;

	if (!s)
		return fail(err, ST_NOMEM, "open %s", dir);
	s->fd = -1;
	s->ended = true;
	st = group_open_standby(dir, o, &s->g, &end, err);
	if (st == ST_OK)
		st = check_whole(s->g, err);
	if (st == ST_OK && !s->g->fresh)
		st = stand(s, &end, err);
	/* What was replayed becomes durable in its place: the next opening has it behind itself. */
	if (st == ST_OK && !s->g->fresh)
		st = checkpoint_take(s->g, STATE_DIRTY, err);
	if (st != ST_OK) {
		s->failed = true;
		ese_standby_close(s, NULL);
		return st;
	}
	*out = s;
	return ST_OK;
}

enum st ese_standby_close(struct ese_standby *s, struct err *err)
{
	enum st st = ST_OK;

	if (!s)
		return ST_OK;
	if (!s->failed && !s->g->fresh)
		st = checkpoint_take(s->g, STATE_DIRTY, err);
	if (s->fd >= 0)
		close(s->fd);
	group_close_standby(s->g);
	free(s->image);
	free(s);
	return st;
}

void ese_standby_look(const struct ese_standby *s, struct ese_standby_info *out)
{
	*out = (struct ese_standby_info){ .applied = s->g->applied_pos,
					  .durable = pos_of(s->head.gen, s->synced),
					  .file_bytes = s->head.size,
					  .number = s->number,
					  .time = s->time };
	if (!s->g->fresh)
		memcpy(out->signature, s->g->signature, LOG_SIGNATURE);
	if (s->ended && s->synced == s->written) {
		out->received = pos_of(s->head.gen + 1, 0);
	} else {
		out->received = pos_of(s->head.gen, s->synced);
		out->created = s->head.created;
	}
}

/* ---- taking in ---- */

static enum st follows(const struct ese_standby *s, const struct seg_head *h, struct err *err)
{
	const char *why = NULL;

	if (s->g->fresh) {
		if (h->gen != 1)
			why = "an empty standby begins with generation 1";
	} else if (memcmp(h->signature, s->g->signature, LOG_SIGNATURE) != 0) {
		why = "it belongs to another group";
	} else if (h->gen != s->head.gen + 1 || h->prev_created != s->head.created) {
		why = "it is not the next one of this log";
	} else if (s->ended ? h->prev_end != 0 : h->prev_end != s->written) {
		why = "the source's log ended at another place: one of the two went another way";
	}
	if (!why)
		return ST_OK;
	return fail(err, ST_BAD, "log file E00%08X.log can't be taken after %016llx: %s", h->gen,
		    (unsigned long long)pos_of(s->head.gen, s->written), why);
}

enum st ese_standby_begin(struct ese_standby *s, const struct seg_head *h, struct err *err)
{
	struct seg made;
	enum st st = follows(s, h, err);

	if (st != ST_OK)
		return st;
	st = ese_standby_sync(s, err);
	if (st == ST_OK)
		st = ese_standby_apply(s, err);
	if (st != ST_OK)
		return st;
	st = seg_make_spare(s->g->dir, SPARE, h->size, err);
	if (st == ST_OK)
		st = seg_take_spare(s->g->dir, SPARE, h, SEG_SYNC, &made, err);
	if (st != ST_OK)
		return broke(s, st);
	seg_close(&made);
	st = use_file(s, h, SEG_HEAD, err);
	if (st != ST_OK)
		return broke(s, st);
	if (s->g->fresh) {
		memcpy(s->g->signature, h->signature, LOG_SIGNATURE);
		s->g->fresh = false;
	}
	s->g->applied_pos = pos_of(h->gen, SEG_HEAD);
	return ST_OK;
}

static struct scan image_scan(const struct ese_standby *s, uint32_t end)
{
	return (struct scan){ span_of(s->image, end), s->head.gen, le32_get(s->head.signature) };
}

/* Bodies that are not in the log (circular logging) can't be had here. */
static enum st check_direct(const struct log_group *g, struct err *err)
{
	struct log_cursor c;
	struct rec r;

	log_group_open(g, &c);
	while (log_group_next(&c, &r) == ST_OK) {
		struct items items;
		struct item it;

		if (r.kind != REC_COMMIT || items_open(r.payload, &items) != ST_OK)
			continue;
		while (items_next(&items, &it) == ST_OK)
			if (item_is_direct(&it))
				return fail(
					err, ST_BAD,
					"circular logging was switched on at the source: from %016llx on "
					"bodies are missing in its log; switch it off and begin again from "
					"a backup",
					(unsigned long long)r.pos);
	}
	return ST_OK;
}

enum st ese_standby_take(struct ese_standby *s, uint64_t pos, struct span bytes, struct err *err)
{
	struct log_group g;
	struct scan scan;
	enum st st;

	if (s->ended || pos != pos_of(s->head.gen, s->written) ||
	    bytes.len > s->head.size - s->written)
		return fail(err, ST_BAD, "the group at %016llx is not the next one after %016llx",
			    (unsigned long long)pos,
			    (unsigned long long)pos_of(s->head.gen, s->written));
	memcpy(s->image + s->written, bytes.at, bytes.len);
	scan = image_scan(s, s->written + (uint32_t)bytes.len);
	if (scan_group(&scan, s->written, &g) != ST_OK || g.head.bytes != bytes.len ||
	    (s->number != 0 && g.head.number != s->number + 1))
		return fail(err, ST_CORRUPT, "the group that came for %016llx is damaged",
			    (unsigned long long)pos);
	st = check_direct(&g, err);
	if (st != ST_OK)
		return st;
	st = io_write(s->fd, bytes.at, bytes.len, s->written, "the standby's log", err);
	if (st != ST_OK)
		return broke(s, st);
	s->written += g.head.bytes;
	s->number = g.head.number;
	s->time = g.head.time;
	s->ended = g.ends_file;
	return ST_OK;
}

enum st ese_standby_sync(struct ese_standby *s, struct err *err)
{
	enum st st = ST_OK;

	if (s->synced < s->written)
		st = io_sync(s->fd, "the standby's log", err);
	if (st != ST_OK)
		return broke(s, st);
	s->synced = s->written;
	return ST_OK;
}

/* ---- applying ---- */

/* Log files before the checkpoint are of no more use here. */
static enum st remove_old(struct ese_standby *s, struct err *err)
{
	struct seg_list list;
	enum st st = seg_list(s->g->dir, &list, err);

	for (uint32_t i = 0; st == ST_OK && i < list.ngens; i++) {
		char path[SEG_PATH_MAX];

		if (list.gens[i] >= pos_gen(s->g->checkpoint_pos))
			break;
		seg_path(path, s->g->dir, list.gens[i]);
		st = io_unlink(path, err);
	}
	seg_list_free(&list);
	return st;
}

enum st ese_standby_apply(struct ese_standby *s, struct err *err)
{
	struct scan scan = image_scan(s, s->synced);
	enum st st = ST_OK;

	while (st == ST_OK && s->applied < s->synced) {
		struct log_group g;

		if (scan_group(&scan, s->applied, &g) != ST_OK)
			return broke(s,
				     fail(err, ST_CORRUPT, "the standby's log changed in memory"));
		g.format = s->head.format;
		st = recover_group(s->g, &g, err);
		if (st == ST_OK)
			st = check_whole(s->g, err);
		if (st != ST_OK)
			return broke(s, st);
		s->applied += g.head.bytes;
		s->since_checkpoint += g.head.bytes;
		s->g->applied_pos = pos_of(s->head.gen, s->applied);
	}
	if (s->since_checkpoint > s->g->o.checkpoint_bytes) {
		s->since_checkpoint = 0;
		st = checkpoint_take(s->g, STATE_DIRTY, err);
		if (st == ST_OK)
			st = remove_old(s, err);
	}
	return st == ST_OK ? ST_OK : broke(s, st);
}

enum st ese_standby_finish(struct ese_standby *s, struct err *err)
{
	struct seg_head next = { .gen = s->head.gen + 1,
				 .size = s->head.size,
				 .prev_created = s->head.created,
				 .created = (uint64_t)clock_real() };
	enum st st = ese_standby_sync(s, err);

	if (st == ST_OK)
		st = ese_standby_apply(s, err);
	if (st != ST_OK || !s->ended || s->g->fresh)
		return st;
	if (next.created <= next.prev_created)
		next.created = next.prev_created + 1;
	memcpy(next.signature, s->g->signature, LOG_SIGNATURE);
	return ese_standby_begin(s, &next, err);
}
