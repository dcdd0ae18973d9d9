/* dump_log.c - log files and their records; see dump.h. */
#include "ese/dump_int.h"
#include "ese/ese_int.h"
#include "ese/io.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
	char name[64];
	struct seg_head head;
	char *bytes;
	struct scan scan;
	uint32_t groups, records, end; /* end: behind the last valid group */
	uint64_t first, last;          /* times of groups */
	uint64_t first_number, last_number;
	bool ended; /* by an END record */
	char note[256];
};

struct run_through {
	const struct dump *d;
	const struct dump_log *what;
	struct file before; /* the file in front of this one; bytes are gone */
	uint64_t time;      /* of the group at hand */
};

/* ---- records ---- */

static const char *const kinds[] = { "?",    "GROUP",  "END",  "ATTACH",
				     "BODY", "COMMIT", "FREE", "DETACH" };

struct tally {
	uint32_t put, delete, describe, direct, link, unlink, move;
};

static void tell_commit(const struct rec *r, char *out, size_t size)
{
	struct tally n = { 0 };
	struct items items;
	struct item it;
	enum st st = items_open(r->payload, &items);

	while (st == ST_OK && (st = items_next(&items, &it)) == ST_OK) {
		n.put += it.kind == ITEM_PUT;
		n.delete += it.kind == ITEM_DELETE;
		n.describe += it.kind == ITEM_DESCRIBE;
		n.direct += it.kind == ITEM_DESCRIBE_DIRECT;
		n.link += it.kind == ITEM_LINK;
		n.unlink += it.kind == ITEM_UNLINK;
		n.move += it.kind == ITEM_MOVE || it.kind == ITEM_MOVE_DIRECT;
	}
	snprintf(
		out, size,
		"put %u, delete %u, describe %u, describe direct %u, link %u, unlink %u, move %u%s",
		n.put, n.delete, n.describe, n.direct, n.link, n.unlink, n.move,
		st == ST_EOF ? "" : ", then damaged");
}

static void tell_about(const struct rec *r, uint32_t format, char *out, size_t size)
{
	static const char *const how[] = { "", "created ", "opened ", "taken in " };
	static const char *const why[] = { "", "dismounted ", "removed ", "given away " };
	struct rec_attach a;
	struct rec_detach d;

	if (r->kind == REC_ATTACH && rec_attach_get(r->payload, format, &a) == ST_OK)
		snprintf(out, size, "%s" SPAN_FMT ", id %016" PRIx64, how[a.how], SPAN_ARG(a.name),
			 a.id);
	else if (r->kind == REC_DETACH && rec_detach_get(r->payload, &d) == ST_OK)
		snprintf(out, size, "%s" SPAN_FMT ", id %016" PRIx64, why[d.why], SPAN_ARG(d.name),
			 d.id);
	else
		snprintf(out, size, "damaged");
}

/* What the record says, in a few words. */
static void tell(const struct rec *r, uint32_t format, char *out, size_t size)
{
	struct rec_body b;
	uint64_t id;
	uint32_t gen;

	out[0] = '\0';
	if (r->kind == REC_COMMIT)
		tell_commit(r, out, size);
	else if (r->kind == REC_ATTACH || r->kind == REC_DETACH)
		tell_about(r, format, out, size);
	else if (r->kind == REC_BODY && rec_body_get(r->payload, &b) == ST_OK)
		snprintf(out, size, "body %" PRIu64 ", offset %" PRIu64 ", in the .stm %" PRIu64,
			 b.id, b.body_off, b.stm_off);
	else if (r->kind == REC_FREE && rec_free_get(r->payload, &id) == ST_OK)
		snprintf(out, size, "body %" PRIu64, id);
	else if (r->kind == REC_END && rec_end_get(r->payload, &gen) == ST_OK)
		snprintf(out, size, "next generation %u", gen);
	else if (r->kind == REC_GROUP)
		snprintf(out, size, "group");
}

static bool wanted(const struct dump_log *w, const struct rec *r)
{
	return (!w->database || r->db == w->database) && r->pos >= w->from &&
	       (!w->to || r->pos < w->to);
}

static void put_record(struct run_through *t, const struct rec *r, uint32_t format)
{
	char text[256], db[16] = "";
	uint64_t time = t->time;

	if (!wanted(t->what, r))
		return;
	tell(r, format, text, sizeof(text));
	if (r->db)
		snprintf(db, sizeof(db), "%08x", r->db);
	if (r->kind == REC_COMMIT && r->payload.len >= 8)
		time = le64_get(r->payload.at);
	put_row(t->d);
	put_pos(t->d, "position", r->pos);
	put_text(t->d, "kind", kinds[r->kind <= REC_DETACH ? r->kind : 0]);
	put_num(t->d, "payload", r->payload.len);
	put_text(t->d, "database", db);
	put_num(t->d, "partition", r->partition);
	put_time(t->d, "time", time);
	put_text(t->d, "what", text);
}

/* GROUP and END too. */
static void put_group(struct run_through *t, const struct file *f, const struct log_group *g)
{
	size_t at = 0;

	t->time = g->head.time;
	for (uint32_t i = 0; i < g->head.records; i++) {
		struct rec r;

		if (rec_get(span_skip(g->bytes, at), g->pos + at, g->mark, &r) != ST_OK)
			return;
		put_record(t, &r, f->head.format);
		at += rec_size(r.payload.len);
	}
}

/* ---- files ---- */

static enum st read_all(const char *path, struct file *f, struct err *err)
{
	char page[SEG_HEAD];
	size_t got;
	enum st st;
	int fd;

	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_read(fd, page, sizeof(page), 0, &got, f->name, err);
	if (st == ST_OK && got < sizeof(page))
		st = fail(err, ST_CORRUPT, "log file %s: cut off at %zu bytes", f->name, got);
	if (st == ST_OK)
		st = seg_head_get(page, &f->head, f->name, err);
	if (st == ST_OK && !(f->bytes = malloc(f->head.size)))
		st = fail(err, ST_NOMEM, "%s", f->name);
	if (st == ST_OK)
		st = io_read(fd, f->bytes, f->head.size, 0, &got, f->name, err);
	close(fd);
	if (st != ST_OK)
		return st;
	if (got < f->head.size)
		snprintf(f->note, sizeof(f->note), "cut off at %zu bytes", got);
	f->scan = (struct scan){ span_of(f->bytes, got), f->head.gen, le32_get(f->head.signature) };
	return ST_OK;
}

static void note(struct file *f, const char *text)
{
	if (!f->note[0])
		snprintf(f->note, sizeof(f->note), "%s", text);
}

/* Does this file go on from the one before? */
static void look_back(const struct file *before, struct file *f)
{
	if (!before->head.gen)
		return;
	if (memcmp(before->head.signature, f->head.signature, LOG_SIGNATURE) != 0)
		note(f, "another group's log");
	else if (f->head.gen != before->head.gen + 1)
		note(f, "files are missing in front of it");
	else if (f->head.prev_created != before->head.created)
		note(f, "does not follow the file before");
	else if (f->head.prev_end && f->head.prev_end != before->end)
		note(f, "the file before ends elsewhere than this one says");
	else if (!f->head.prev_end && !before->ended && f->groups)
		note(f, "the file before has no end");
	else if (f->groups && before->groups && f->first_number != before->last_number + 1)
		note(f, "groups are missing in front of it");
}

static void walk(struct run_through *t, struct file *f)
{
	struct log_group g;

	f->end = SEG_HEAD;
	while (!f->ended && scan_group(&f->scan, f->end, &g) == ST_OK) {
		if (f->groups && g.head.number != f->last_number + 1)
			break;
		g.format = f->head.format;
		if (!f->groups) {
			f->first = g.head.time;
			f->first_number = g.head.number;
		}
		f->last = g.head.time;
		f->last_number = g.head.number;
		f->groups++;
		f->records += g.head.records;
		f->end += g.head.bytes;
		f->ended = g.ends_file;
		if (t->what->records)
			put_group(t, f, &g);
	}
	if (!f->ended && scan_later(&f->scan, f->end + LOG_PAGE))
		note(f, "damaged, or a torn group: there is a valid one behind the end");
}

static void put_file(const struct dump *d, const struct file *f)
{
	put_row(d);
	put_text(d, "file", f->name);
	put_num(d, "generation", f->head.gen);
	put_num(d, "format", f->head.format);
	put_num(d, "bytes", f->head.size);
	put_time(d, "created", f->head.created);
	put_num(d, "previous_end", f->head.prev_end);
	put_pos(d, "end", f->head.gen ? pos_of(f->head.gen, f->end) : 0);
	put_bool(d, "closed", f->ended);
	put_num(d, "groups", f->groups);
	put_num(d, "records", f->records);
	put_time(d, "first_group", f->first);
	put_time(d, "last_group", f->last);
	put_text(d, "note", f->note);
}

static enum st one_file(struct run_through *t, const char *path, struct file *out, struct err *err)
{
	const char *slash = strrchr(path, '/');
	struct file f = { 0 };
	struct err why = { 0 };
	enum st st;

	snprintf(f.name, sizeof(f.name), "%s", slash ? slash + 1 : path);
	st = read_all(path, &f, &why);
	if (st == ST_OK) {
		walk(t, &f);
		look_back(&t->before, &f);
	} else {
		note(&f, why.text);
		if (err)
			*err = why;
	}
	free(f.bytes);
	f.bytes = NULL;
	t->before = *out = f;
	return st;
}

static enum st folder(struct run_through *t, const char *dir, struct file **files, uint32_t *n,
		      struct err *err)
{
	struct seg_list list;
	enum st st = seg_list(dir, &list, err);

	if (st != ST_OK)
		return st;
	if (list.ngens == 0)
		st = fail(err, ST_NOTFOUND, "%s: no log file is there", dir);
	*files = calloc(list.ngens + 1, sizeof(**files));
	if (!*files)
		st = fail(err, ST_NOMEM, "%s", dir);
	for (uint32_t i = 0; st == ST_OK && i < list.ngens; i++) {
		char path[SEG_PATH_MAX];

		seg_path(path, dir, list.gens[i]);
		st = one_file(t, path, &(*files)[(*n)++], err);
		/* A damaged one is told as such, among the others. */
		if (st == ST_CORRUPT)
			st = ST_OK;
	}
	seg_list_free(&list);
	return st;
}

enum st dump_log(const struct dump *d, const char *path, const struct dump_log *what,
		 struct err *err)
{
	struct run_through t = { .d = d, .what = what };
	struct file *files = NULL;
	struct stat info;
	uint32_t n = 0;
	enum st st;

	if (stat(path, &info) < 0)
		return fail_errno(err, "%s", path);
	if (what->records)
		put_table(d, "records");
	if (S_ISDIR(info.st_mode)) {
		st = folder(&t, path, &files, &n, err);
	} else {
		files = calloc(1, sizeof(*files));
		st = files ? one_file(&t, path, files, err) : fail(err, ST_NOMEM, "%s", path);
		n = 1;
	}
	if (st == ST_OK) {
		put_table(d, "files");
		for (uint32_t i = 0; i < n; i++)
			put_file(d, &files[i]);
	}
	free(files);
	return st;
}
