/* db.c - the files of a database: opened, made, marked, closed; docs/formats.md, "Property database". */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 512

void db_path(char out[SEG_PATH_MAX], const struct ese *g, const char *name, const char *end)
{
	snprintf(out, SEG_PATH_MAX, "%s/%s%s", g->dir, name, end);
}

struct ese_db *db_by_number(struct ese *g, uint32_t number)
{
	struct ese_db *db = g->dbs;

	while (db && (db->number != number || db->removed))
		db = db->next;
	return number ? db : NULL;
}

struct ese_db *db_by_name(struct ese *g, const char *name)
{
	struct ese_db *db = g->dbs;

	while (db && (strcmp(db->name, name) != 0 || db->removed))
		db = db->next;
	return db;
}

static struct pdb_conf row_conf(const struct ese *g)
{
	return (struct pdb_conf){ .cache_bytes = g->o.cache_bytes,
				  .buffer_bytes = g->o.write_buffer_bytes,
				  .files_max = FILES_MAX };
}

/* ---- header ---- */

/* `applied`: for a new database also its first applied row; NULL otherwise. */
static enum st put_header(struct pdb *rows, const struct row_header *h,
			  const struct row_applied *applied, struct err *err)
{
	struct row_key key = row_key_header(), akey = row_key_applied();
	struct pdb_batch *b = pdb_batch_new();
	char v[ROW_HEADER_BYTES], av[ROW_APPLIED_BYTES];
	enum st st;

	if (!b)
		return fail(err, ST_NOMEM, "database header");
	row_header_put(v, h);
	pdb_put(b, row_key_span(&key), span_of(v, sizeof(v)));
	if (applied) {
		row_applied_put(av, applied);
		pdb_put(b, row_key_span(&akey), span_of(av, sizeof(av)));
	}
	st = pdb_write(rows, b, err);
	pdb_batch_free(b);
	return st == ST_OK ? pdb_flush(rows, err) : st;
}

enum st db_mark(struct ese_db *db, uint32_t state, uint64_t pos, struct err *err)
{
	struct row_header h = { .id = db->id, .created = db->created, .pos = pos, .state = state };
	struct row_applied a = { .pos = pos, .ids = db->next_id, .bodies = db->nbodies };
	enum st st;

	memcpy(h.signature, db->g->signature, LOG_SIGNATURE);
	/* Taken in: its positions were another log's. */
	st = put_header(db->rows, &h, db->given && state != STATE_GIVEN ? &a : NULL, err);
	if (st != ST_OK)
		return st;
	if (db->given && state != STATE_GIVEN)
		db->applied = pos;
	db->given = state == STATE_GIVEN;
	return ST_OK;
}

enum st db_mark_applied(struct ese_db *db, uint64_t pos, struct err *err)
{
	round_mark(db->round);
	return round_end(db->round, pos, err);
}

static enum st read_header(struct ese_db *db, struct row_header *h, struct err *err)
{
	struct row_key key = row_key_header();
	struct span v;
	void *hold;
	enum st st = pdb_get(db->rows, row_key_span(&key), &v, &hold, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_CORRUPT, "database %s has no header row", db->name);
	if (st != ST_OK)
		return st;
	st = row_header_get(v, h, db->name, err);
	pdb_release(hold);
	if (st != ST_OK)
		return st;
	db->given = h->state == STATE_GIVEN;
	if (!db->given && memcmp(h->signature, db->g->signature, LOG_SIGNATURE) != 0)
		return fail(
			err, ST_CORRUPT,
			"database %s belongs to another group's log; put it back there, or move "
			"it with `mailroot database move`",
			db->name);
	db->id = h->id;
	db->created = h->created;
	db->number = (uint32_t)h->id;
	return ST_OK;
}

static enum st read_applied(struct ese_db *db, struct err *err)
{
	struct row_key key = row_key_applied();
	struct row_applied a = { 0 };
	struct span v;
	void *hold;
	enum st st = pdb_get(db->rows, row_key_span(&key), &v, &hold, err);

	if (st == ST_OK) {
		st = row_applied_get(v, &a);
		pdb_release(hold);
		if (st != ST_OK)
			return fail(err, st, "database %s: its applied row is damaged", db->name);
	} else if (st != ST_NOTFOUND) {
		return st;
	}
	db->applied = a.pos;
	db->nbodies = a.bodies;
	db->next_id = a.ids ? a.ids : 1;
	return ST_OK;
}

/* ---- pages ---- */

static enum st grow_file(void *arg, uint64_t pages, struct err *err)
{
	struct ese_db *db = arg;
	struct space_counts c;

	/* From the last page that is known on: what a replay wrote behind it may have left gaps without blocks. */
	space_count(db->space, &c);
	return io_allocate(db->fd, c.total * ESE_PAGE, (pages - c.total) * ESE_PAGE, db->name, err);
}

static enum st load_space(struct ese_db *db, struct err *err)
{
	struct row_key from = row_key_space(0);
	struct span key, v, to = SPAN("\x03");
	struct pdb_iter *it;
	struct stat info;
	uint32_t chunk;
	enum st st;

	if (fstat(db->fd, &info) < 0)
		return fail_errno(err, "%s.stm", db->name);
	st = space_extend(db->space, (uint64_t)info.st_size / ESE_PAGE, err);
	if (st == ST_OK)
		st = pdb_iter_new(db->rows, row_key_span(&from), to, &it, err);
	if (st != ST_OK)
		return st;
	while ((st = pdb_iter_next(it, &key, &v, err)) == ST_OK) {
		if (!row_key_chunk(key, &chunk) || v.len != SPACE_ROW)
			st = fail(err, ST_CORRUPT, "database %s: a space row is damaged", db->name);
		else
			st = space_load(db->space, chunk, (const unsigned char *)v.at, err);
		if (st != ST_OK)
			break;
	}
	pdb_iter_free(it);
	if (st == ST_EOF)
		compact_find_holes(db);
	return st == ST_EOF ? ST_OK : st;
}

/* A replay writes the bytes of a body, and its last page may be the file's last: the file has whole pages only.  If that
 * fails, nothing is lost: the rest of the page is not the body's. */
static void whole_pages(struct ese_db *db)
{
	struct stat info;

	if (fstat(db->fd, &info) == 0 && info.st_size % ESE_PAGE != 0)
		io_truncate(db->fd, ((uint64_t)info.st_size / ESE_PAGE + 1) * ESE_PAGE, db->name,
			    NULL);
}

void db_begin(struct ese_db *db)
{
	whole_pages(db);
	space_begin(db->space);
	/* Some ids may have been handed out without reaching rows or log. */
	db->next_id += ID_GAP;
}

/* ---- opening and closing ---- */

struct ese_db *db_new(struct ese *g, const char *name)
{
	struct ese_db *db = calloc(1, sizeof(*db));

	if (!db)
		return NULL;
	db->g = g;
	db->fd = db->read_fd = -1;
	db->state = ESE_FAILED;
	snprintf(db->name, sizeof(db->name), "%s", name);
	pthread_mutex_init(&db->sealing, NULL);
	pthread_mutex_init(&db->lock, NULL);
	db->round = round_new(db);
	if (!db->round) {
		db_free(db);
		return NULL;
	}
	return db;
}

void db_list_add(struct ese *g, struct ese_db *db)
{
	db->next = g->dbs;
	g->dbs = db;
}

void db_free(struct ese_db *db)
{
	/* Bodies that are still held when the group broke: their holders do not come back. */
	for (uint32_t i = 0; i < BODY_TABLE; i++)
		while (db->table[i]) {
			struct ese_body *b = db->table[i];

			db->table[i] = b->next;
			body_destroy(b);
		}
	db_close_files(db);
	round_free(db->round);
	pthread_mutex_destroy(&db->lock);
	pthread_mutex_destroy(&db->sealing);
	free(db);
}

static void keep_figures(struct ese_db *db)
{
	struct space_counts c;

	if (!db->rows || !db->space)
		return;
	space_count(db->space, &c);
	db->last.pages_total = c.total;
	db->last.pages_free = c.free;
	db->last.pages_reserved = c.total - c.free - c.committed;
	db->last.bodies = db->nbodies;
	db->last.row_bytes = pdb_size(db->rows);
}

void db_close_files(struct ese_db *db)
{
	struct ese_db old;

	/* Whoever counts looks with the lock held. */
	pthread_mutex_lock(&db->lock);
	keep_figures(db);
	old = (struct ese_db){ .rows = db->rows,
			       .space = db->space,
			       .pins = db->pins,
			       .fd = db->fd,
			       .read_fd = db->read_fd };
	db->rows = NULL;
	db->space = NULL;
	db->pins = NULL;
	db->fd = db->read_fd = -1;
	pthread_mutex_unlock(&db->lock);
	if (db->round)
		round_drop_all(db->round);
	pins_free(old.pins);
	space_free(old.space);
	pdb_close(old.rows);
	if (old.read_fd >= 0)
		close(old.read_fd);
	if (old.fd >= 0)
		close(old.fd);
}

static enum st open_stream(struct ese_db *db, struct err *err)
{
	char path[SEG_PATH_MAX];
	enum st st;

	db_path(path, db->g, db->name, ".stm");
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return fail(err, ST_CORRUPT, "its files are missing: %s", path);
	st = io_open(path, O_RDWR, &db->fd, err);
	return st == ST_OK ? io_open(path, O_RDONLY, &db->read_fd, err) : st;
}

static enum st open_rows(struct ese_db *db, struct err *err)
{
	struct pdb_conf c = row_conf(db->g);
	char path[SEG_PATH_MAX];

	db_path(path, db->g, db->name, ".edb");
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return fail(err, ST_CORRUPT, "its files are missing: %s", path);
	return pdb_open(path, false, &c, &db->rows, err);
}

/* Records from `from` on count: what the slot and the header say, unless the rows are behind that. */
static void set_from(struct ese_db *db, uint64_t slot_pos, const struct row_header *h)
{
	uint64_t pos = slot_pos > h->pos ? slot_pos : h->pos;

	if (pos == 0)
		pos = db->g->checkpoint_pos;
	db->from = db->applied < pos ? db->applied : pos;
	db->safe = db->from;
}

static enum st open_parts(struct ese_db *db, uint64_t slot_pos, struct err *err)
{
	struct row_header h;
	enum st st = open_rows(db, err);

	if (st == ST_OK)
		st = read_header(db, &h, err);
	if (st == ST_OK)
		st = read_applied(db, err);
	if (st == ST_OK && !db->given)
		set_from(db, slot_pos, &h);
	if (st == ST_OK)
		st = open_stream(db, err);
	if (st != ST_OK)
		return st;
	db->space = space_new(grow_file, db);
	db->nbad = 0;
	db->scrub = (struct scrub){ 0 };
	if (db->space)
		space_fill_with(db->space, compact_fill);
	db->pins = db->space ? pins_new(db->space) : NULL;
	if (!db->pins)
		return fail(err, ST_NOMEM, "open database %s", db->name);
	return load_space(db, err);
}

enum st db_open_files(struct ese_db *db, uint64_t slot_pos, struct err *err)
{
	enum st st = open_parts(db, slot_pos, err);

	if (st != ST_OK)
		db_close_files(db);
	return st;
}

/* ---- creating ---- */

static enum st remove_entry(void *arg, const char *entry, struct err *err)
{
	char path[SEG_PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", (const char *)arg, entry) >= (int)sizeof(path))
		return fail(err, ST_TOOBIG, "%s: path too long", entry);
	return io_unlink(path, err);
}

enum st db_remove_folder(const char *path, struct err *err)
{
	char copy[SEG_PATH_MAX];
	enum st st;

	snprintf(copy, sizeof(copy), "%s", path);
	st = io_list(path, remove_entry, copy, err);
	if (st == ST_OK && rmdir(path) < 0)
		st = fail_errno(err, "remove %s", path);
	return st;
}

bool db_name_ok(const char *name)
{
	const char *slash = strchr(name, '/');

	if (name[0] == '\0' || name[0] == '/' || strlen(name) > ESE_NAME_MAX - 4)
		return false;
	if (slash && (slash[1] == '\0' || strchr(slash + 1, '/')))
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/ ") == strlen(name);
}

/* An empty file, unless one with bytes is there: those are somebody's. */
static enum st make_stream(const char *path, struct err *err)
{
	struct stat info;
	enum st st;
	int fd;

	st = io_open(path, O_RDWR | O_CREAT, &fd, err);
	if (st != ST_OK)
		return st;
	if (fstat(fd, &info) < 0)
		st = fail_errno(err, "%s", path);
	else if (info.st_size > 0)
		st = fail(err, ST_EXISTS, "%s is there, but its .edb is not", path);
	else
		st = io_sync(fd, path, err);
	close(fd);
	return st;
}

static uint64_t new_id(struct ese *g)
{
	uint64_t id;

	do
		id = random_u64();
	while ((uint32_t)id == 0 || db_by_number(g, (uint32_t)id));
	return id;
}

static enum st make_rows(struct ese *g, const char *path, uint64_t id, struct err *err)
{
	struct row_header h = { .id = id ? id : new_id(g),
				.created = (uint64_t)clock_real(),
				.state = STATE_DIRTY };
	struct row_applied a = { .ids = 1 };
	struct pdb_conf c = row_conf(g);
	struct pdb *rows;
	enum st st = pdb_open(path, true, &c, &rows, err);

	if (st != ST_OK)
		return st;
	/* Nothing before this position is about it. */
	pthread_mutex_lock(&g->lock);
	a.pos = g->applied_pos;
	pthread_mutex_unlock(&g->lock);
	h.pos = a.pos;
	memcpy(h.signature, g->signature, LOG_SIGNATURE);
	st = put_header(rows, &h, &a, err);
	pdb_close(rows);
	return st;
}

enum st db_make_files(struct ese *g, const char *name, uint64_t id, struct err *err)
{
	char half[SEG_PATH_MAX], whole[SEG_PATH_MAX], folder[SEG_PATH_MAX];
	enum st st = ST_OK;

	db_path(folder, g, name, "");
	*strrchr(folder, '/') = '\0';
	db_path(half, g, name, ".new");
	if (strcmp(folder, g->dir) != 0) {
		st = io_mkdir(folder, err);
		if (st == ST_OK)
			st = io_sync_dir(g->dir, err);
	}
	if (st == ST_OK && access(half, F_OK) == 0)
		st = db_remove_folder(half, err);
	if (st == ST_OK)
		st = make_rows(g, half, id, err);
	db_path(whole, g, name, ".stm");
	if (st == ST_OK)
		st = make_stream(whole, err);
	db_path(whole, g, name, ".edb");
	if (st == ST_OK)
		st = io_sync_dir(folder, err);
	if (st == ST_OK)
		st = io_rename(half, whole, err);
	return st == ST_OK ? io_sync_dir(folder, err) : st;
}

/* A record about the database itself: `head` bytes, then its name. */
static struct node *about(struct ese_db *db, enum rec_kind kind, uint32_t head, struct err *err)
{
	uint32_t len = head + (uint32_t)strlen(db->name);
	struct node *n = node_new(kind, len);

	if (!n) {
		fail(err, ST_NOMEM, "database %s", db->name);
		return NULL;
	}
	n->db = db;
	n->db_number = db->number;
	n->len = len;
	memcpy(n->payload + head, db->name, len - head);
	return n;
}

enum st db_attach(struct ese_db *db, enum attach_how how, struct err *err)
{
	struct node *n = about(db, REC_ATTACH, REC_ATTACH_HEAD, err);

	if (!n)
		return ST_NOMEM;
	rec_attach_put(n->payload,
		       &(struct rec_attach){ .id = db->id, .created = db->created, .how = how });
	group_queue(db->g, n);
	return ST_OK;
}

enum st db_detach(struct ese_db *db, enum detach_why why, struct err *err)
{
	struct node *n = about(db, REC_DETACH, REC_DETACH_HEAD, err);

	if (!n)
		return ST_NOMEM;
	n->after_direct = true; /* no sync of its pages is left to do */
	rec_detach_put(n->payload, &(struct rec_detach){ .id = db->id, .why = why });
	group_queue(db->g, n);
	return ST_OK;
}
