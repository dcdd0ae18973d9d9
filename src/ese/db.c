/* db.c - a database of a group: found, created, marked, closed; see ese.h. */
#include "ese/ese_int.h"

#include "base/clock.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 512

static void db_path(char out[SEG_PATH_MAX], const struct ese *g, const char *name, const char *end)
{
	snprintf(out, SEG_PATH_MAX, "%s/%s%s", g->dir, name, end);
}

struct ese_db *db_by_number(struct ese *g, uint32_t number)
{
	struct ese_db *db = g->dbs;

	while (db && db->number != number)
		db = db->next;
	return db;
}

static struct ese_db *db_by_name(struct ese *g, const char *name)
{
	struct ese_db *db = g->dbs;

	while (db && strcmp(db->name, name) != 0)
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

enum st db_mark(struct ese_db *db, uint64_t clean_pos, struct err *err)
{
	struct row_header h = { .id = db->id,
				.created = db->created,
				.clean_pos = clean_pos,
				.state = clean_pos ? STATE_CLEAN : STATE_DIRTY };

	memcpy(h.signature, db->g->signature, LOG_SIGNATURE);
	return put_header(db->rows, &h, NULL, err);
}

static enum st read_header(struct ese_db *db, struct err *err)
{
	struct row_key key = row_key_header();
	struct row_header h;
	struct span v;
	void *hold;
	enum st st = pdb_get(db->rows, row_key_span(&key), &v, &hold, err);

	if (st == ST_NOTFOUND)
		return fail(err, ST_CORRUPT, "database %s has no header row", db->name);
	if (st != ST_OK)
		return st;
	st = row_header_get(v, &h, db->name, err);
	pdb_release(hold);
	if (st == ST_OK && memcmp(h.signature, db->g->signature, LOG_SIGNATURE) != 0)
		st = fail(err, ST_CORRUPT, "database %s belongs to another group's log", db->name);
	if (st != ST_OK)
		return st;
	db->id = h.id;
	db->created = h.created;
	db->number = (uint32_t)h.id;
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
	struct stat st;

	if (fstat(db->fd, &st) < 0)
		return fail_errno(err, "%s.stm", db->name);
	if ((uint64_t)st.st_size >= pages * ESE_PAGE)
		return ST_OK;
	return io_allocate(db->fd, (uint64_t)st.st_size, pages * ESE_PAGE - (uint64_t)st.st_size,
			   db->name, err);
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
	return st == ST_EOF ? ST_OK : st;
}

void db_begin(struct ese_db *db)
{
	space_begin(db->space);
	/* Some ids may have been handed out without reaching rows or log. */
	db->next_id += ID_GAP;
}

/* ---- opening ---- */

static struct ese_db *db_new(struct ese *g, const char *name)
{
	struct ese_db *db = calloc(1, sizeof(*db));

	if (!db)
		return NULL;
	db->g = g;
	db->fd = db->read_fd = -1;
	snprintf(db->name, sizeof(db->name), "%s", name);
	pthread_mutex_init(&db->sealing, NULL);
	pthread_mutex_init(&db->lock, NULL);
	db->space = space_new(grow_file, db);
	db->pins = db->space ? pins_new(db->space) : NULL;
	db->round = db->pins ? round_new(db) : NULL;
	if (!db->round) {
		db_close(db);
		return NULL;
	}
	return db;
}

void db_close(struct ese_db *db)
{
	/* Bodies that are still held when the group broke: their holders do not come back. */
	for (uint32_t i = 0; i < BODY_TABLE; i++)
		while (db->table[i]) {
			struct ese_body *b = db->table[i];

			db->table[i] = b->next;
			body_destroy(b);
		}
	round_free(db->round);
	pins_free(db->pins);
	space_free(db->space);
	pdb_close(db->rows);
	if (db->read_fd >= 0)
		close(db->read_fd);
	if (db->fd >= 0)
		close(db->fd);
	pthread_mutex_destroy(&db->lock);
	pthread_mutex_destroy(&db->sealing);
	free(db);
}

static enum st open_files(struct ese_db *db, struct err *err)
{
	struct pdb_conf c = row_conf(db->g);
	char path[SEG_PATH_MAX];
	enum st st;

	db_path(path, db->g, db->name, ".edb");
	st = pdb_open(path, false, &c, &db->rows, err);
	db_path(path, db->g, db->name, ".stm");
	if (st == ST_OK)
		st = io_open(path, O_RDWR, &db->fd, err);
	if (st == ST_OK)
		st = io_open(path, O_RDONLY, &db->read_fd, err);
	if (st == ST_OK)
		st = read_header(db, err);
	if (st == ST_OK)
		st = read_applied(db, err);
	return st == ST_OK ? load_space(db, err) : st;
}

/* Open NAME, which is in the folder, and put it in the list. */
static enum st db_load(struct ese *g, const char *name, struct ese_db **out, struct err *err)
{
	struct ese_db *db = db_new(g, name);
	enum st st;

	if (!db)
		return fail(err, ST_NOMEM, "open database %s", name);
	st = open_files(db, err);
	if (st == ST_OK && db_by_number(g, db->number))
		st = fail(err, ST_CORRUPT, "databases %s and %s have the same id", name,
			  db_by_number(g, db->number)->name);
	if (st != ST_OK) {
		db_close(db);
		return st;
	}
	db->next = g->dbs;
	g->dbs = db;
	if (out)
		*out = db;
	return ST_OK;
}

/* ---- finding them all ---- */

struct walk {
	struct ese *g;
	char under[ESE_NAME_MAX + 2]; /* "" or "mailbox/" */
};

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

static bool ends(const char *entry, const char *end, size_t *stem)
{
	size_t n = strlen(entry), m = strlen(end);

	if (n <= m || strcmp(entry + n - m, end) != 0)
		return false;
	*stem = n - m;
	return true;
}

static enum st walk_entry(void *arg, const char *entry, struct err *err)
{
	struct walk *w = arg;
	char name[ESE_NAME_MAX + 1], path[SEG_PATH_MAX];
	struct walk below = { .g = w->g };
	struct stat info;
	size_t stem;

	if (snprintf(name, sizeof(name), "%s%s", w->under, entry) >= (int)sizeof(name))
		return ST_OK;
	db_path(path, w->g, name, "");
	if (stat(path, &info) < 0 || !S_ISDIR(info.st_mode))
		return ST_OK;
	if (ends(entry, ".new", &stem) || ends(entry, ".snap", &stem))
		return db_remove_folder(path, err);
	if (ends(entry, ".edb", &stem)) {
		if (w->g->fresh)
			return fail(err, ST_CORRUPT,
				    "%s: database %s is there, but its log is missing", w->g->dir,
				    name);
		name[strlen(name) - 4] = '\0';
		return db_load(w->g, name, NULL, err);
	}
	if (w->under[0] != '\0')
		return ST_OK;
	if (snprintf(below.under, sizeof(below.under), "%s/", entry) >= (int)sizeof(below.under))
		return ST_OK;
	return io_list(path, walk_entry, &below, err);
}

enum st db_open_all(struct ese *g, struct err *err)
{
	struct walk w = { .g = g };

	return io_list(g->dir, walk_entry, &w, err);
}

/* ---- creating ---- */

static bool name_ok(const char *name)
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

static enum st make_rows(struct ese *g, const char *path, struct err *err)
{
	struct row_header h = { .id = new_id(g),
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
	memcpy(h.signature, g->signature, LOG_SIGNATURE);
	st = put_header(rows, &h, &a, err);
	pdb_close(rows);
	return st;
}

static enum st db_create(struct ese *g, const char *name, struct err *err)
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
		st = make_rows(g, half, err);
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

enum st db_attach(struct ese_db *db, struct err *err)
{
	uint32_t len = 8 + (uint32_t)strlen(db->name);
	struct node *n = node_new(REC_ATTACH, len);

	if (!n)
		return fail(err, ST_NOMEM, "attach %s", db->name);
	n->db = db;
	n->db_number = db->number;
	n->len = len;
	le64_put(n->payload, db->id);
	memcpy(n->payload + 8, db->name, len - 8);
	group_queue(db->g, n);
	return ST_OK;
}

static enum st find_or_create(struct ese *g, const char *name, bool create, struct ese_db **out,
			      struct err *err)
{
	enum st st;

	*out = db_by_name(g, name);
	if (*out)
		return ST_OK;
	if (!create)
		return fail(err, ST_NOTFOUND, "no database %s in %s", name, g->dir);
	if (!name_ok(name))
		return fail(err, ST_BAD, "'%s' can't be the name of a database", name);
	st = group_admit(g, 0, false, err);
	if (st == ST_OK)
		st = db_create(g, name, err);
	if (st == ST_OK)
		st = db_load(g, name, out, err);
	if (st != ST_OK)
		return st;
	space_begin((*out)->space);
	return db_attach(*out, err);
}

enum st ese_db_open(struct ese *g, const char *name, bool create, struct ese_db **out,
		    struct err *err)
{
	struct ese_db *db;
	enum st st;

	pthread_mutex_lock(&g->creating);
	st = find_or_create(g, name, create, &db, err);
	pthread_mutex_unlock(&g->creating);
	if (st == ST_OK)
		*out = db;
	return st;
}

uint64_t ese_db_id(const struct ese_db *db)
{
	return db->id;
}

int ese_db_stream_fd(const struct ese_db *db)
{
	return db->read_fd;
}

/* ---- what needs nothing but the parts ---- */

enum st ese_get(struct ese_db *db, struct span key, struct ese_value *out, struct err *err)
{
	return pdb_get(db->rows, key, &out->bytes, &out->hold, err);
}

void ese_value_free(struct ese_value *v)
{
	pdb_release(v->hold);
	*v = (struct ese_value){ 0 };
}

enum st ese_iter_new(struct ese_db *db, struct span from, struct span to, struct ese_iter **out,
		     struct err *err)
{
	return pdb_iter_new(db->rows, from, to, (struct pdb_iter **)out, err);
}

enum st ese_iter_next(struct ese_iter *it, struct span *key, struct span *value, struct err *err)
{
	return pdb_iter_next((struct pdb_iter *)it, key, value, err);
}

void ese_iter_free(struct ese_iter *it)
{
	pdb_iter_free((struct pdb_iter *)it);
}

uint64_t ese_pin(struct ese_db *db)
{
	return pins_take(db->pins);
}

void ese_unpin(struct ese_db *db, uint64_t pin)
{
	pins_drop(db->pins, pin);
}
