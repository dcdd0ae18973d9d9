/* dump.c - headers and checkpoints, field by field; see dump.h. */
#include "ese/dump_int.h"
#include "ese/ese_int.h"
#include "ese/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void dump_pos(char out[DUMP_POS], uint64_t pos)
{
	snprintf(out, DUMP_POS, "%016llx", (unsigned long long)pos);
}

void put_pos(const struct dump *d, const char *name, uint64_t pos)
{
	char text[DUMP_POS];

	dump_pos(text, pos);
	put_text(d, name, text);
}

void put_hex(const struct dump *d, const char *name, struct span bytes)
{
	static const char digits[] = "0123456789abcdef";
	char text[2 * LOG_SIGNATURE + 1];
	size_t n = bytes.len < LOG_SIGNATURE ? bytes.len : LOG_SIGNATURE;

	for (size_t i = 0; i < n; i++) {
		text[2 * i] = digits[(unsigned char)bytes.at[i] >> 4];
		text[2 * i + 1] = digits[bytes.at[i] & 15];
	}
	put_span(d, name, span_of(text, 2 * n));
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---- a log file ---- */

enum st dump_log_header(const struct dump *d, const char *path, struct err *err)
{
	char page[SEG_HEAD];
	struct seg_head h;
	size_t got;
	enum st st;
	int fd;

	st = io_open(path, O_RDONLY, &fd, err);
	if (st != ST_OK)
		return st;
	st = io_read(fd, page, sizeof(page), 0, &got, path, err);
	close(fd);
	if (st == ST_OK && got < sizeof(page))
		st = fail(err, ST_CORRUPT, "%s: cut off at %zu bytes", path, got);
	if (st == ST_OK)
		st = seg_head_get(page, &h, base_name(path), err);
	if (st != ST_OK)
		return st;
	put_facts(d, "log_file");
	put_text(d, "file", base_name(path));
	put_num(d, "format", h.format);
	put_num(d, "generation", h.gen);
	put_num(d, "bytes", h.size);
	put_hex(d, "signature", span_of((const char *)h.signature, LOG_SIGNATURE));
	put_time(d, "created", h.created);
	put_num(d, "created_ns", h.created);
	put_num(d, "previous_created_ns", h.prev_created);
	put_num(d, "previous_end", h.prev_end);
	return ST_OK;
}

/* ---- a checkpoint ---- */

static void put_slot(const struct dump *d, unsigned n, const struct checkpoint *c)
{
	put_row(d);
	put_num(d, "slot", n);
	put_bool(d, "valid", c->number != 0);
	put_num(d, "number", c->number);
	put_num(d, "format", c->format);
	put_text(d, "state",
		 c->state == STATE_CLEAN   ? "clean"
		 : c->state == STATE_DIRTY ? "in use"
					   : "");
	put_pos(d, "position", c->position);
	put_time(d, "time", c->time);
	put_num(d, "oldest_kept", c->keep_from);
	put_num(d, "databases", c->ndbs);
	put_bool(d, "circular", c->facts.flags & CHECKPOINT_CIRCULAR);
	put_bool(d, "backup_chain_broken", c->facts.flags & CHECKPOINT_CHAIN_BROKEN);
	put_pos(d, "full_backup", c->facts.full_pos);
	put_time(d, "full_backup_time", c->facts.full_time);
	put_pos(d, "last_backup", c->facts.last_pos);
	put_time(d, "last_backup_time", c->facts.last_time);
	put_hex(d, "signature", span_of((const char *)c->signature, LOG_SIGNATURE));
}

static void put_databases(const struct dump *d, const struct checkpoint *c)
{
	static const char *const states[] = { "", "up", "down", "failed" };

	put_table(d, "databases");
	for (uint32_t i = 0; i < c->ndbs; i++) {
		put_row(d);
		put_text(d, "name", c->dbs[i].name);
		put_pos(d, "id", c->dbs[i].id);
		put_text(d, "state", states[c->dbs[i].state]);
		put_pos(d, "position", c->dbs[i].position);
	}
}

enum st dump_checkpoint(const struct dump *d, const char *path, struct err *err)
{
	struct checkpoint *slots = calloc(2, sizeof(*slots));
	enum st st = slots ? ST_OK : fail(err, ST_NOMEM, "%s", path);

	if (st == ST_OK)
		st = checkpoint_slots(path, slots, err);
	if (st == ST_OK) {
		put_table(d, "slots");
		for (unsigned i = 0; i < 2; i++)
			put_slot(d, i, &slots[i]);
		put_databases(d, &slots[slots[1].number > slots[0].number]);
	}
	free(slots);
	return st;
}

/* ---- a database ---- */

enum st dump_db_header(const struct dump *d, struct ese_db *db, struct err *err)
{
	struct look_head h;
	enum st st = look_head(db, &h, err);

	if (st != ST_OK)
		return st;
	put_row(d);
	put_text(d, "database", db->name);
	put_pos(d, "id", h.id);
	put_num(d, "format", h.format);
	put_text(d, "state",
		 h.state == STATE_CLEAN   ? "clean"
		 : h.state == STATE_GIVEN ? "clean, given away"
					  : "in use");
	put_pos(d, "position", h.pos);
	put_pos(d, "applied", h.applied);
	put_time(d, "created", h.created);
	put_num(d, "bodies", h.bodies);
	put_num(d, "body_ids_used", h.ids);
	put_num(d, "pages", h.pages);
	put_hex(d, "signature", span_of((const char *)h.signature, LOG_SIGNATURE));
	return ST_OK;
}
