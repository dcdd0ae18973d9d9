/* backup_run.h - what the files of the copier share; nobody else includes it. */
#ifndef ESE_BACKUP_RUN_H
#define ESE_BACKUP_RUN_H

#include "ese/backup_copy.h"
#include "ese/hash.h"
#include "ese/pdb.h"

#define BK_CHUNK (1024u * 1024)

struct bk_run {
	struct bk_options o;
	const struct bk_source *sources;
	size_t nsources;
	char folder[SEG_PATH_MAX / 2];
	struct bk *m; /* being made; NULL where a backup is only read: findings go to found() */
	void (*found)(void *arg, const char *text);
	struct hash *hash;
	char *chunk, *other; /* BK_CHUNK bytes each, for pages aligned */
	struct bk_progress p;
	int64_t began;
	struct bk_damaged *damaged;
	size_t ndamaged;
	struct bk *prev; /* what an incremental one goes on from */
};

/* A run without folder and sources: for reading. */
struct bk_run *bk_run_alloc(const struct bk_options *o);
/* Count `bytes` that were looked at; waits as the rate wants.  ST_GONE: it is to stop. */
enum st bk_step(struct bk_run *r, const char *what, uint64_t bytes, struct err *err);
enum st bk_note(struct bk_run *r, const char *text, struct err *err); /* a finding */

/* Copy a file, unless what is there has the same bytes; durable but for its name. */
enum st bk_copy_file(struct bk_run *r, const char *from, const char *to, uint32_t mode,
		     unsigned char hash_out[HASH_BYTES], uint64_t *size_out, struct err *err);
/* Folders of `path` below `base`, which is there. */
enum st bk_make_folders(const char *base, const char *path, struct err *err);
/* The name of `path` becomes durable. */
enum st bk_sync_parent(const char *path, struct err *err);
enum st bk_hash_file(const char *path, struct hash *h, char *chunk, uint64_t most,
		     bool (*step)(void *arg, uint64_t bytes), void *arg,
		     unsigned char out[HASH_BYTES], uint64_t *size_out, struct err *err);

/* ---- pages (backup_pages.c) ---- */

/* A run of pages that follow each other, of whichever bodies. */
struct bk_window {
	uint32_t first, n;
	struct bk_page {
		uint64_t body;
		uint32_t crc, len;
	} pages[BK_CHUNK / SEG_HEAD];
};
struct bk_pages {
	/* a full window, or the end of one; ST_OK to go on */
	enum st (*window)(void *arg, const struct bk_window *w, struct err *err);
	/* a row that is damaged, in words */
	enum st (*found)(void *arg, uint64_t body, const char *text, struct err *err);
	void *arg;
	uint64_t bodies, pages;
};
/* Every row of the database is read; the pages of its bodies go to window().  ST_CORRUPT: RocksDB says that rows are
 * damaged: what comes behind is not known. */
enum st bk_pages_walk(struct pdb *rows, struct bk_pages *w, struct err *err);
/* Pages that are committed. */
enum st bk_pages_count(struct pdb *rows, uint64_t *out, struct err *err);
/* Is page i of the window what it should be? */
bool bk_page_ok(const struct bk_window *w, uint32_t i, const char *bytes);
enum st bk_open_rows(const char *path, struct pdb **out, struct err *err);

/* ---- backup_logs.c ---- */
/* r->prev: the newest finished backup, if the kept logs go on from it. */
enum st bk_chain_find(struct bk_run *r, const struct bk_seq *seq, struct err *err);

struct bk_stream {
	const char *label;      /* GROUP/NAME, for findings */
	const char *group, *db; /* NULL: damaged bodies are not remembered */
	const char *rows;       /* folder of the rows that name the pages */
	const char *from, *to;  /* to NULL: only looked at */
	uint64_t bytes;         /* length of both */
};
enum st bk_copy_stream(struct bk_run *r, const struct bk_stream *f, uint64_t *pages_out,
		       uint64_t *bodies_out, struct err *err);

#endif
