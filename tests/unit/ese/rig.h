/* rig.h - a storage group in a folder of its own, and commits that are waited for. */
#ifndef TEST_ESE_RIG_H
#define TEST_ESE_RIG_H

#include "ese/ese.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

struct rig {
	char dir[128];
	struct ese_options o;
	struct ese *g;
	struct ese_db *db;
	_Atomic int broke;
};

void rig_make(struct rig *r); /* an empty folder, small log files, nothing open */
void rig_open(struct rig *r); /* group and database "mailbox/one" */
enum st rig_try_open(struct rig *r, struct err *err);
void rig_close(struct rig *r); /* in order */
void rig_remove(struct rig *r);
/* The folder as a kill at this moment would leave it, copied; r then means the copy. */
void rig_fork(const struct rig *from, struct rig *copy);

/* Commit and wait; free. */
enum st rig_commit(struct ese_batch *b, struct err *err);
void rig_put(struct rig *r, const char *key, const char *value);
/* "" when absent. */
const char *rig_get(struct rig *r, const char *key);
/* A body of `len` bytes made from `seed`; linked under row "b<id>". */
uint64_t rig_body(struct rig *r, size_t len, unsigned seed);
struct ese_body *rig_write(struct rig *r, size_t len, unsigned seed);
void rig_wait_room(struct rig *r);
void rig_bytes(char *out, size_t len, unsigned seed);
/* Reads it back and compares. */
void rig_check_body(struct rig *r, uint64_t id, size_t len, unsigned seed);
void rig_settle(struct rig *r); /* everything queued is applied */

#endif
