/* restore_logs.c - the log files that roll a restored group forward: found, chained, copied, cut.
 *
 * File after file, each must follow the one before; the first source that has it counts (the backup's own, then those of
 * the incremental ones, then the dead server's).  Then the copies are read as recovery would read them, and the log is cut
 * where the time says, or where it can't be read, so that recovery finds a log that simply ends there. */
#include "ese/restore_int.h"

#include "base/crc32c.h"
#include "ese/io.h"
#include "ese/log_read.h"
#include "ese/rows.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- finding ---- */

struct found {
	struct seg_head head;
	const char *dir;
	bool used; /* a group stands in it */
	bool given; /* of --logs: a group's own folder, where the file that is named by an END must be */
	uint64_t bytes;
};

/* What ships a log writes the open file under another end. */
static bool log_path(char out[SEG_PATH_MAX], const char *dir, uint32_t gen)
{
	seg_path(out, dir, gen);
	if (access(out, F_OK) == 0)
		return true;
	snprintf(out, SEG_PATH_MAX, "%s/E00%08X.part", dir, gen);
	return access(out, F_OK) == 0;
}

/* The log file of a generation in one folder.  ST_NOTFOUND; ST_CORRUPT: it is there and no use. */
static enum st look_at(const char *dir, uint32_t gen, const unsigned char *signature,
		       struct found *out, struct err *err)
{
	char path[SEG_PATH_MAX], bytes[2 * SEG_HEAD] = { 0 };
	struct stat info = { 0 };
	struct scan s;
	size_t got;
	enum st st;
	int fd;

	if (!log_path(path, dir, gen))
		return ST_NOTFOUND;
	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_read(fd, bytes, sizeof(bytes), 0, &got, path, err);
	if (st == ST_OK && fstat(fd, &info) < 0)
		st = fail_errno(err, "%s", path);
	close(fd);
	if (st == ST_OK)
		st = seg_head_get(bytes, &out->head, path, err);
	if (st != ST_OK)
		return st;
	if (memcmp(out->head.signature, signature, LOG_SIGNATURE) != 0)
		return fail(err, ST_CORRUPT, "%s belongs to another group's log", path);
	if (out->head.gen != gen)
		return fail(err, ST_CORRUPT, "%s: its header says generation %u", path,
			    out->head.gen);
	s = (struct scan){ span_of(bytes, sizeof(bytes)), gen, le32_get(signature) };
	out->used = scan_later(&s, SEG_HEAD);
	out->dir = dir;
	out->bytes = (uint64_t)info.st_size;
	return ST_OK;
}

/* Is it the file that the backup's manifest tells of? */
static bool as_copied(struct restore *r, const struct log_source *from, const struct bk_group *g,
		      uint32_t gen, struct err *why)
{
	unsigned char hash[HASH_BYTES];
	char path[SEG_PATH_MAX];
	uint64_t size;

	seg_path(path, from->dir, gen);
	for (size_t i = 0; from->m && i < from->m->nlogs; i++) {
		const struct bk_log *l = &from->m->logs[i];

		if (l->gen != gen || strcmp(l->group, g->name) != 0)
			continue;
		if (bk_hash_file(path, r->run->hash, r->run->chunk, UINT64_MAX, NULL, NULL, hash,
				 &size, why) == ST_OK &&
		    memcmp(hash, l->hash, HASH_BYTES) == 0)
			return true;
		fail(why, ST_CORRUPT, "%.200s is not what was copied", path);
		return false;
	}
	return !from->m;
}

/* The file of `gen` that follows `before` (NULL: any).  *why keeps what is wrong with one that does not. */
static bool find(struct restore *r, const struct bk_group *g, uint32_t gen,
		 const struct seg_head *before, struct found *out, struct err *why)
{
	*why = (struct err){ 0 };
	for (size_t i = 0; i < r->sources.n; i++) {
		const struct log_source *from = &r->sources.at[i];

		if (look_at(from->dir, gen, g->signature, out, why) != ST_OK ||
		    !as_copied(r, from, g, gen, why))
			continue;
		out->given = !from->m;
		if (!before || out->head.prev_created == before->created)
			return true;
		fail(why, ST_CORRUPT,
		     "%s/E00%08X.log does not follow E00%08X.log: it is of another time of this "
		     "group",
		     from->dir, gen, gen - 1);
	}
	return false;
}

/* Is there a file in use behind a missing one? */
static bool later(struct restore *r, const struct bk_group *g, uint32_t gen, char *out, size_t room)
{
	for (size_t i = 0; i < r->sources.n; i++) {
		struct seg_list list;
		bool any = false;

		if (seg_list(r->sources.at[i].dir, &list, NULL) != ST_OK)
			continue;
		for (uint32_t n = 0; !any && n < list.ngens; n++) {
			struct found f;

			any = list.gens[n] > gen &&
			      look_at(r->sources.at[i].dir, list.gens[n], g->signature, &f, NULL) ==
				      ST_OK &&
			      f.used;
			if (any)
				snprintf(out, room, "%.120s/E00%08X.log", r->sources.at[i].dir,
					 list.gens[n]);
		}
		seg_list_free(&list);
		if (any)
			return true;
	}
	return false;
}

/* ---- bringing ---- */

/* A file that is shorter than its header says (shipped ones may be) ends in zeros. */
static enum st bring_one(struct restore *r, const struct found *f, const char *folder,
			 struct err *err)
{
	char from[SEG_PATH_MAX], to[SEG_PATH_MAX];
	unsigned char hash[HASH_BYTES];
	uint64_t size;
	enum st st;
	int fd;

	log_path(from, f->dir, f->head.gen);
	seg_path(to, folder, f->head.gen);
	st = bk_copy_file(r->run, from, to, 0640, hash, &size, err);
	if (st != ST_OK || size == f->head.size)
		return st;
	st = io_open(to, O_RDWR, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_truncate(fd, f->head.size, to, err);
	if (st == ST_OK)
		st = io_sync(fd, to, err);
	close(fd);
	return st;
}

/* An empty file behind the last one: where that one was closed, its END names a next file, which a backup of closed files
 * does not hold. */
static enum st add_next(const struct seg_head *last, const char *folder, struct err *err)
{
	struct seg_head h = *last;
	struct seg s;
	enum st st;

	h.gen++;
	h.prev_end = 0;
	h.prev_created = last->created;
	h.created = last->created + 1;
	st = seg_make_spare(folder, 1, h.size, err);
	if (st == ST_OK)
		st = seg_take_spare(folder, 1, &h, SEG_SYNC, &s, err);
	if (st == ST_OK)
		seg_close(&s);
	return st;
}

static enum st bring_all(struct restore *r, const struct bk_group *g, const char *folder,
			 uint32_t first, struct restored_group *rg, struct err *err)
{
	struct err why = { 0 };
	struct seg_head before;
	char behind[160];
	struct found f = { 0 };
	uint32_t gen = first;
	enum st st = ST_OK;

	for (; st == ST_OK && find(r, g, gen, gen == first ? NULL : &before, &f, &why); gen++) {
		before = f.head;
		r->given_last = f.given ? gen : 0;
		rg->files += f.used;
		st = bring_one(r, &f, folder, err);
	}
	if (st != ST_OK)
		return st;
	if (gen == first)
		return fail(err, ST_CORRUPT,
			    "group %s: log file E00%08X.log, from which the backup is rolled "
			    "forward, is missing%s%.120s",
			    g->name, gen, why.text[0] ? ": " : "", why.text);
	if (why.text[0])
		snprintf(rg->gap, sizeof(rg->gap), "%s", why.text);
	else if (later(r, g, gen, behind, sizeof(behind)))
		snprintf(rg->gap, sizeof(rg->gap),
			 "log file E00%08X.log is missing, the log goes on in %.160s", gen, behind);
	return r->o->standby ? ST_OK : add_next(&before, folder, err);
}

/* ---- reading them, up to where they are to end ---- */

struct cut {
	bool wanted;
	uint32_t gen, off, keep, records; /* the group at off keeps this much */
	struct log_group group;
};

struct reading {
	struct restore *r;
	const struct bk_group *g;
	const char *folder;
	struct restored_group *rg;
	struct cut cut;
	uint32_t ended; /* the last group closed the file of this generation */
};

/* Is the record behind the backup of its database?  What comes before is in rows and pages. */
static bool is_news(const struct restore *r, const struct bk_group *g, const struct rec *rec)
{
	for (size_t i = 0; i < r->m->ndbs; i++) {
		const struct bk_db *d = &r->m->dbs[i];

		if ((uint32_t)d->id == rec->db && strcmp(d->group, g->name) == 0)
			return rec->pos >= d->position;
	}
	return false;
}

static bool is_known(const struct restore *r, const struct bk_group *g, uint64_t id)
{
	for (size_t i = 0; i < r->m->ndbs; i++)
		if (r->m->dbs[i].id == id && strcmp(r->m->dbs[i].group, g->name) == 0)
			return true;
	return false;
}

/* The backup's database of that name, if it has one: it was removed before another could get the name. */
static struct bk_db *named(const struct reading *k, const char *name)
{
	struct bk *m = k->r->m;

	for (size_t i = 0; i < m->ndbs; i++)
		if (strcmp(m->dbs[i].group, k->g->name) == 0 && strcmp(m->dbs[i].name, name) == 0)
			return &m->dbs[i];
	return NULL;
}

static enum st clear_files(const struct reading *k, const char *name, struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st;

	snprintf(path, sizeof(path), "%s/%s.edb", k->folder, name);
	st = restore_clear(path, err);
	snprintf(path, sizeof(path), "%s/%s.stm", k->folder, name);
	return st == ST_OK && access(path, F_OK) == 0 ? io_unlink(path, err) : st;
}

/* A database that was made behind the backup's position: empty, and everything of it is in the log from here on. */
static enum st make_db(struct reading *k, const struct rec_attach *a, uint64_t pos, struct err *err)
{
	char name[256], path[SEG_PATH_MAX], value[ROW_HEADER_BYTES], applied[ROW_APPLIED_BYTES];
	struct pdb_conf c = { .cache_bytes = 1 << 20, .buffer_bytes = 1 << 20, .files_max = 64 };
	struct row_key key = row_key_header(), akey = row_key_applied();
	struct row_header h = { .id = a->id, .created = a->created, .state = 1, .pos = pos };
	struct row_applied row = { .pos = pos, .ids = 1 };
	struct pdb_batch *b = NULL;
	struct pdb *rows;
	struct bk_db *d;
	enum st st;
	int fd;

	snprintf(name, sizeof(name), SPAN_FMT, SPAN_ARG(a->name));
	st = bk_path_ok(span_str(name))
		     ? bk_make_folders(k->folder, name, err)
		     : fail(err, ST_CORRUPT, "the log names a database '%s'", name);
	if (st != ST_OK)
		return st;
	snprintf(path, sizeof(path), "%s/%s", k->folder, name);
	if (rmdir(path) < 0)
		return fail_errno(err, "%s", path);
	d = named(k, name);
	st = d ? clear_files(k, name, err) : ST_OK;
	if (st != ST_OK)
		return st;
	snprintf(path, sizeof(path), "%s/%s.stm", k->folder, name);
	st = io_open(path, O_RDWR | O_CREAT, &fd, err);
	if (st != ST_OK)
		return st;
	close(fd);
	snprintf(path, sizeof(path), "%s/%s.edb", k->folder, name);
	st = pdb_open(path, true, &c, &rows, err);
	if (st != ST_OK)
		return st;
	memcpy(h.signature, k->g->signature, LOG_SIGNATURE);
	row_header_put(value, &h);
	row_applied_put(applied, &row);
	b = pdb_batch_new();
	pdb_put(b, row_key_span(&key), span_of(value, sizeof(value)));
	pdb_put(b, row_key_span(&akey), span_of(applied, sizeof(applied)));
	st = pdb_write(rows, b, err);
	if (st == ST_OK)
		st = pdb_flush(rows, err);
	pdb_batch_free(b);
	pdb_close(rows);
	if (!d)
		d = bk_add_db(k->r->m);
	if (!d)
		return fail(err, ST_NOMEM, "database %s", name);
	*d = (struct bk_db){ .group = k->g->name,
			     .name = bk_keep(k->r->m, span_str(name)),
			     .id = a->id,
			     .position = pos };
	return st;
}

static enum st rename_one(const struct reading *k, const char *from, const char *to,
			  const char *end, struct err *err)
{
	char old[SEG_PATH_MAX], now[SEG_PATH_MAX];

	snprintf(old, sizeof(old), "%s/%s%s", k->folder, from, end);
	snprintf(now, sizeof(now), "%s/%s%s", k->folder, to, end);
	return io_rename(old, now, err);
}

/* It moved within its group, behind the backup: its records go on under another name. */
static enum st rename_db(struct reading *k, const struct rec_attach *a, uint64_t pos,
			 struct err *err)
{
	struct bk *m = k->r->m;
	struct bk_db *d = NULL;
	char path[SEG_PATH_MAX];
	const char *name;
	enum st st;

	for (size_t i = 0; !d && i < m->ndbs; i++)
		if (m->dbs[i].id == a->id && strcmp(m->dbs[i].group, k->g->name) == 0)
			d = &m->dbs[i];
	if (!d || pos < d->position || span_eq(a->name, span_str(d->name)))
		return ST_OK;
	name = bk_keep(m, a->name);
	if (!name)
		return fail(err, ST_NOMEM, "database %s", d->name);
	if (!bk_path_ok(a->name) || named(k, name))
		return fail(err, ST_CORRUPT, "the log gives database %s the name '%s'", d->name,
			    name);
	st = bk_make_folders(k->folder, name, err);
	snprintf(path, sizeof(path), "%s/%s", k->folder, name);
	if (st == ST_OK && rmdir(path) < 0)
		st = fail_errno(err, "%s", path);
	if (st == ST_OK)
		st = rename_one(k, d->name, name, ".stm", err);
	if (st == ST_OK)
		st = rename_one(k, d->name, name, ".edb", err);
	snprintf(path, sizeof(path), "%s/%s.edb", k->folder, name);
	if (st == ST_OK)
		st = bk_sync_parent(path, err);
	if (st == ST_OK)
		d->name = name;
	return st;
}

/* One that is neither in the backup nor made in the log: it came from another group, or was down at the backup. */
static enum st note_other(struct reading *k, const struct rec_attach *a, struct err *err)
{
	struct bk *m = k->r->m;
	struct bk_left_out *l;
	char text[512];

	for (size_t i = 0; i < m->nleft_out; i++)
		if (strcmp(m->left_out[i].group, k->g->name) == 0 &&
		    span_eq(a->name, span_str(m->left_out[i].name)))
			return ST_OK;
	l = bk_add_left_out(m);
	if (!l)
		return fail(err, ST_NOMEM, "a database");
	*l = (struct bk_left_out){ .group = k->g->name, .name = bk_keep(m, a->name), .why = "" };
	if (!l->name)
		return fail(err, ST_NOMEM, "a database");
	snprintf(text, sizeof(text),
		 "%s/%.200s is named in the log, but is not in the backup: it is not restored",
		 k->g->name, l->name);
	return bk_note(k->r->run, text, err);
}

/* A body that no log holds: the log can't bring a database over it. */
static bool has_direct(struct items *it)
{
	struct item item;

	while (items_next(it, &item) == ST_OK)
		if (item_is_direct(&item))
			return true;
	return false;
}

/* ST_EOF: the log is to end before this record. */
static enum st take_record(struct reading *k, const struct rec *rec, uint32_t format,
			   struct err *err)
{
	const struct restore_options *o = k->r->o;
	struct rec_attach a;
	struct items items;

	if (rec->kind == REC_ATTACH && rec_attach_get(rec->payload, format, &a) == ST_OK &&
	    !is_known(k->r, k->g, a.id))
		return a.how == ATTACH_CREATED ? make_db(k, &a, rec->pos, err)
					       : note_other(k, &a, err);
	if (rec->kind == REC_ATTACH && rec_attach_get(rec->payload, format, &a) == ST_OK &&
	    a.how == ATTACH_TAKEN)
		return rename_db(k, &a, rec->pos, err);
	if (rec->kind != REC_COMMIT || items_open(rec->payload, &items) != ST_OK)
		return ST_OK;
	if (o->until && items.time > o->until) {
		k->rg->cut = true;
		return ST_EOF;
	}
	if (!is_news(k->r, k->g, rec))
		return ST_OK;
	if (has_direct(&items)) {
		snprintf(k->rg->gap, sizeof(k->rg->gap),
			 "from log position %016llx on, bodies are not in the log: logging was "
			 "circular",
			 (unsigned long long)rec->pos);
		return ST_EOF;
	}
	k->rg->commits++;
	k->rg->last_commit = items.time;
	return ST_OK;
}

static enum st take_group(struct reading *k, const struct log_group *group, struct err *err)
{
	uint32_t records = 1;
	struct log_cursor c;
	struct rec rec;
	enum st st;

	k->ended = group->ends_file ? pos_gen(group->pos) : 0;
	log_group_open(group, &c);
	while (log_group_next(&c, &rec) == ST_OK) {
		st = take_record(k, &rec, group->format, err);
		if (st == ST_EOF) {
			k->cut = (struct cut){ .wanted = true,
					       .gen = pos_gen(group->pos),
					       .off = group->off,
					       .keep = (uint32_t)(rec.pos - group->pos),
					       .records = records,
					       .group = *group };
			return ST_EOF;
		}
		if (st != ST_OK)
			return st;
		records++;
	}
	return ST_OK;
}

/* ---- cutting ---- */

/* What is left of a group, as a group: its first record with the new sizes. */
static void put_front(char *bytes, const struct cut *c, const struct log_group *group)
{
	struct rec r = { .kind = REC_GROUP,
			 .pos = group->pos,
			 .payload = span_of(bytes + REC_HEAD, REC_GROUP_PAYLOAD) };
	struct rec_group head = group->head;

	head.bytes = (c->keep + LOG_PAGE - 1) & ~(LOG_PAGE - 1);
	head.records = c->records;
	rec_group_put(bytes + REC_HEAD, &head);
	rec_head_put(bytes, &r, crc32c(0, bytes + REC_HEAD, REC_GROUP_PAYLOAD), group->mark);
}

/* The file of the cut ends with what is kept of its group, then zeros; files behind it go. */
static enum st cut_log(const struct reading *k, const struct cut *c, uint32_t last, struct err *err)
{
	char path[SEG_PATH_MAX];
	struct stat info;
	char *rest = NULL;
	enum st st;
	int fd;

	seg_path(path, k->folder, c->gen);
	st = io_open(path, O_RDWR, &fd, err);
	if (st != ST_OK)
		return st;
	if (fstat(fd, &info) < 0)
		st = fail_errno(err, "%s", path);
	if (st == ST_OK) {
		rest = calloc(1, (size_t)info.st_size - c->off + LOG_PAGE);
		st = rest ? ST_OK : fail(err, ST_NOMEM, "%s", path);
	}
	if (st == ST_OK && c->records > 1) {
		memcpy(rest, c->group.bytes.at, c->keep);
		put_front(rest, c, &c->group);
	}
	if (st == ST_OK && (uint64_t)info.st_size > c->off)
		st = io_write(fd, rest, (size_t)info.st_size - c->off, c->off, path, err);
	if (st == ST_OK)
		st = io_sync(fd, path, err);
	free(rest);
	close(fd);
	for (uint32_t gen = last; st == ST_OK && gen > c->gen; gen--) {
		seg_path(path, k->folder, gen);
		st = io_unlink(path, err);
	}
	return st;
}

static enum st last_gen(const char *folder, uint32_t *out, struct err *err)
{
	struct seg_list list;
	enum st st = seg_list(folder, &list, err);

	if (st != ST_OK)
		return st;
	*out = list.ngens ? list.gens[list.ngens - 1] : 0;
	seg_list_free(&list);
	return ST_OK;
}

/* To the end of the log, to the cut, or to damage. */
static enum st read_logs(struct reading *k, uint32_t first, struct log_end *end, struct err *err)
{
	struct log_reader *reader;
	struct log_group group;
	struct err why = { 0 };
	uint32_t last = 0;
	enum st st = log_read_open(k->folder, first, k->g->signature, &reader, err);

	if (st != ST_OK)
		return st;
	if (k->r->o->standby)
		log_read_unfinished(reader, false);
	while ((st = log_read_group(reader, &group, &why)) == ST_OK)
		if ((st = take_group(k, &group, &why)) != ST_OK)
			break;
	log_read_end(reader, end);
	if (st == ST_CORRUPT) {
		snprintf(k->rg->gap, sizeof(k->rg->gap), "%s", why.text);
		k->cut = (struct cut){ .wanted = true, .gen = end->gen, .off = end->off };
		st = ST_EOF;
	}
	if (st == ST_EOF && k->ended && k->ended == k->r->given_last && !k->rg->cut &&
	    !k->rg->gap[0])
		snprintf(k->rg->gap, sizeof(k->rg->gap),
			 "the newest log file, E00%08X.log, is missing", k->ended + 1);
	if (st != ST_EOF && err)
		*err = why;
	if (st == ST_EOF)
		st = last_gen(k->folder, &last, err);
	if (st == ST_OK && k->cut.wanted)
		st = cut_log(k, &k->cut, last, err);
	log_read_close(reader);
	return st;
}

/* The log must reach to where the snapshot of each database was: before it, its rows are of no moment at all. */
static enum st check_reach(const struct reading *k, uint64_t end, struct err *err)
{
	for (size_t i = 0; i < k->r->m->ndbs; i++) {
		const struct bk_db *d = &k->r->m->dbs[i];

		if (strcmp(d->group, k->g->name) != 0 || d->position <= end)
			continue;
		if (k->rg->cut)
			return fail(err, ST_BAD,
				    "the time is before this backup of %s/%s was complete: take an "
				    "earlier full backup",
				    d->group, d->name);
		return fail(err, ST_CORRUPT,
			    "%s/%s: the log can be read up to %016llx only, its backup is of "
			    "%016llx%s%.100s",
			    d->group, d->name, (unsigned long long)end,
			    (unsigned long long)d->position, k->rg->gap[0] ? ": " : "", k->rg->gap);
	}
	return ST_OK;
}

enum st restore_logs(struct restore *r, const struct bk_group *g, const char *folder,
		     uint32_t first, struct restored_group *rg, uint64_t *end_out, struct err *err)
{
	struct reading k = { .r = r, .g = g, .folder = folder, .rg = rg };
	struct log_end end = { 0 };
	enum st st = bring_all(r, g, folder, first, rg, err);

	if (st == ST_OK)
		st = read_logs(&k, first, &end, err);
	if (st != ST_OK)
		return st;
	*end_out =
		k.cut.wanted ? pos_of(k.cut.gen, k.cut.off) + k.cut.keep : pos_of(end.gen, end.off);
	if (rg->cut) /* what lies behind the time does not matter */
		rg->gap[0] = '\0';
	st = check_reach(&k, *end_out, err);
	if (st == ST_OK && rg->gap[0] && !r->o->partial)
		st = fail(err, ST_CORRUPT, "group %s: %.180s (--partial restores up to there)",
			  g->name, rg->gap);
	rg->rolled = true;
	return st == ST_OK ? io_sync_dir(folder, err) : st;
}
