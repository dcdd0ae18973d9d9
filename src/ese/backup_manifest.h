/* backup_manifest.h - what a backup is made of, as struct and as text (docs/formats.md, "Engine: backup").
 *
 * One thread.  Everything a manifest points to is its own, until bk_free. */
#ifndef ESE_BACKUP_MANIFEST_H
#define ESE_BACKUP_MANIFEST_H

#include "base/buf.h"
#include "base/st.h"

#include "ese/seg.h"

#define BK_HASH     32u
#define BK_NAME     "backup.manifest"
#define BK_TEXT_MAX (256u * 1024 * 1024)

struct bk_group {
	const char *name;
	unsigned char signature[LOG_SIGNATURE];
	bool circular;
	uint32_t first, next; /* log files first <= generation < next */
};

struct bk_db {
	const char *group, *name;
	uint64_t id, position, stm_bytes, pages, bodies;
};

struct bk_log {
	unsigned char hash[BK_HASH];
	uint32_t size, gen;
	uint64_t created, prev_created;
	const char *group;
};

struct bk_file {
	unsigned char hash[BK_HASH];
	uint64_t size;
	uint32_t mode;
	const char *path;
};

struct bk_left_out {
	const char *group, *name, *why;
};

struct bk {
	bool full;
	uint64_t began, ended;
	const char *after; /* NULL in a full one */
	struct bk_group *groups;
	struct bk_db *dbs;
	struct bk_log *logs; /* of each group in order */
	struct bk_file *files;
	struct bk_left_out *left_out;
	const char **findings;
	size_t ngroups, ndbs, nlogs, nfiles, nleft_out, nfindings;
	struct pool *pool;
};

struct bk *bk_new(void); /* NULL: out of memory */
void bk_free(struct bk *b);

/* Room for one more at the end, zeroed; NULL: out of memory. */
struct bk_group *bk_add_group(struct bk *b);
struct bk_db *bk_add_db(struct bk *b);
struct bk_log *bk_add_log(struct bk *b);
struct bk_file *bk_add_file(struct bk *b);
struct bk_left_out *bk_add_left_out(struct bk *b);
bool bk_add_finding(struct bk *b, const char *text);
/* A copy that lives as long as b; control characters become blanks. NULL: out of memory. */
const char *bk_keep(struct bk *b, struct span text);

const struct bk_group *bk_group_named(const struct bk *b, const char *name);
/* A relative path without empty parts, "." and "..", and control characters. */
bool bk_path_ok(struct span path);

enum st bk_write(const struct bk *b, struct buf *out, struct err *err);
/* The manifest in `text`; `name` is for the sentence.  ST_CORRUPT: cut, changed, or nonsense; ST_BAD: a newer format. */
enum st bk_read(struct span text, const char *name, struct bk **out, struct err *err);

/* Of a folder.  ST_NOTFOUND: it has no manifest: no finished backup. */
enum st bk_load(const char *folder, struct bk **out, struct err *err);
/* Durable when it returns. */
enum st bk_store(const struct bk *b, const char *folder, struct err *err);

void bk_hex(char *out, const unsigned char *bytes, size_t n); /* 2n + 1 bytes */

#endif
