/* look.c - see look.h. */
#include "ese/look.h"

#include "ese/ese_int.h"
#include "ese/io.h"
#include "ese/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_BYTES (16u * 1024 * 1024)
#define FILES_MAX   256

enum st look_lock(const char *dir, int *fd_out, struct err *err)
{
	char path[SEG_PATH_MAX];
	int fd;

	*fd_out = -1;
	snprintf(path, sizeof(path), "%s/E00.lck", dir);
	if (access(path, R_OK) < 0)
		return ST_OK;
	if (io_open(path, O_RDONLY, &fd, err) != ST_OK)
		return ST_IO;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0) {
		enum st st = errno == EWOULDBLOCK
				     ? fail(err, ST_BUSY, "%s is open in another process", dir)
				     : fail_errno(err, "lock %s", path);

		close(fd);
		return st;
	}
	*fd_out = fd;
	return ST_OK;
}

void look_unlock(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- finding them ---- */

#define NAMES_MAX 10000u

struct names {
	const char *dir;
	char under[ESE_NAME_MAX + 2]; /* "" or "mailbox/" */
	char (*at)[ESE_NAME_MAX + 1];
	size_t n, cap;
};

static enum st add_name(struct names *l, const char *name, struct err *err)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->at[i], name) == 0)
			return ST_OK;
	if (l->n == NAMES_MAX)
		return fail(err, ST_TOOBIG, "%s holds over %u databases", l->dir, NAMES_MAX);
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		void *at = realloc(l->at, cap * sizeof(*l->at));

		if (!at)
			return fail(err, ST_NOMEM, "list %s", l->dir);
		l->at = at;
		l->cap = cap;
	}
	snprintf(l->at[l->n++], sizeof(*l->at), "%s", name);
	return ST_OK;
}

static enum st take_entry(void *arg, const char *entry, struct err *err)
{
	struct names *l = arg, below = { .dir = l->dir };
	char name[ESE_NAME_MAX + 1], path[SEG_PATH_MAX];
	struct stat info;
	enum st st;
	size_t len;

	if (snprintf(name, sizeof(name), "%s%s", l->under, entry) >= (int)sizeof(name) ||
	    snprintf(path, sizeof(path), "%s/%s", l->dir, name) >= (int)sizeof(path))
		return ST_OK;
	if (stat(path, &info) < 0)
		return ST_OK;
	len = strlen(name);
	if (len > 4 && strcmp(name + len - 4, S_ISDIR(info.st_mode) ? ".edb" : ".stm") == 0) {
		name[len - 4] = '\0';
		return add_name(l, name, err);
	}
	if (!S_ISDIR(info.st_mode) || l->under[0] != '\0' || strchr(entry, '.'))
		return ST_OK;
	if (snprintf(below.under, sizeof(below.under), "%s/", entry) >= (int)sizeof(below.under))
		return ST_OK;
	below.at = l->at;
	below.n = l->n;
	below.cap = l->cap;
	st = io_list(path, take_entry, &below, err);
	l->at = below.at;
	l->n = below.n;
	l->cap = below.cap;
	return st;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool there(char path[SEG_PATH_MAX], const char *dir, const char *name, const char *end)
{
	int n = snprintf(path, SEG_PATH_MAX, "%s/%s%s", dir, name, end);

	return n > 0 && n < SEG_PATH_MAX && access(path, F_OK) == 0;
}

enum st look_list(const char *dir,
		  enum st (*fn)(void *arg, const struct look_entry *e, struct err *err), void *arg,
		  struct err *err)
{
	struct names l = { .dir = dir };
	enum st st = io_list(dir, take_entry, &l, err);

	if (l.n)
		qsort(l.at, l.n, sizeof(*l.at), by_name);
	for (size_t i = 0; st == ST_OK && i < l.n; i++) {
		struct look_entry e = { .name = l.at[i] };

		e.has_edb = there(e.edb, dir, e.name, ".edb");
		e.has_stm = there(e.stm, dir, e.name, ".stm");
		st = fn(arg, &e, err);
	}
	free(l.at);
	return st;
}

/* ---- one ---- */

enum st look_open(const char *name, const char *edb, const char *stm, struct ese_db **out,
		  struct err *err)
{
	struct pdb_conf c = { .cache_bytes = CACHE_BYTES,
			      .buffer_bytes = 1024 * 1024,
			      .files_max = FILES_MAX };
	struct ese_db *db = calloc(1, sizeof(*db));
	enum st st = ST_OK;

	if (!db)
		return fail(err, ST_NOMEM, "open database %s", name);
	db->fd = db->read_fd = -1;
	db->state = ESE_UP;
	snprintf(db->name, sizeof(db->name), "%s", name);
	pthread_mutex_init(&db->lock, NULL);
	if (access(edb, F_OK) < 0)
		st = fail(err, ST_NOTFOUND, "database %s: %s is not there", name, edb);
	else if (stm && access(stm, F_OK) < 0)
		st = fail(err, ST_NOTFOUND, "database %s: %s is not there", name, stm);
	if (st == ST_OK)
		st = pdb_open_readonly(edb, &c, &db->rows, err);
	if (st == ST_OK && stm)
		st = io_open(stm, O_RDONLY, &db->read_fd, err);
	if (st != ST_OK) {
		look_close(db);
		return st;
	}
	*out = db;
	return ST_OK;
}

void look_close(struct ese_db *db)
{
	if (!db)
		return;
	pdb_close(db->rows);
	if (db->read_fd >= 0)
		close(db->read_fd);
	pthread_mutex_destroy(&db->lock);
	free(db);
}

static enum st get(struct ese_db *db, struct row_key key, const char *what, struct ese_value *out,
		   struct err *err)
{
	enum st st = ese_get(db, row_key_span(&key), out, err);

	if (st == ST_NOTFOUND)
		st = fail(err, ST_CORRUPT, "database %s has no %s row", db->name, what);
	return st;
}

uint64_t look_pages(const struct ese_db *db)
{
	struct stat info;

	return db->read_fd >= 0 && fstat(db->read_fd, &info) == 0
		       ? ((uint64_t)info.st_size + ESE_PAGE - 1) / ESE_PAGE
		       : 0;
}

enum st look_head(struct ese_db *db, struct look_head *out, struct err *err)
{
	struct look_head h = { 0 };
	struct row_applied a;
	struct row_header r;
	struct ese_value v;
	enum st st = get(db, row_key_header(), "header", &v, err);

	if (st != ST_OK)
		return st;
	st = row_header_get(v.bytes, &r, db->name, err);
	ese_value_free(&v);
	if (st == ST_OK)
		st = get(db, row_key_applied(), "applied", &v, err);
	if (st != ST_OK)
		return st;
	st = row_applied_get(v.bytes, &a);
	ese_value_free(&v);
	if (st != ST_OK)
		return fail(err, st, "database %s: its applied row is damaged", db->name);
	memcpy(h.signature, r.signature, sizeof(h.signature));
	if (db->id !=
	    r.id) /* one that was opened for looking learns it here; a live one has it, and others read it */
		db->id = r.id;
	h.id = r.id;
	h.created = r.created;
	h.clean_pos = r.state == STATE_CLEAN ? r.pos : 0;
	h.pos = r.pos;
	h.state = r.state;
	h.format = r.format;
	h.applied = a.pos;
	h.ids = a.ids;
	h.bodies = a.bodies;
	h.pages = look_pages(db);
	*out = h;
	return ST_OK;
}
