/* round.h - a run of records of one database, applied together.
 *
 * One thread (the apply thread, or recovery).  Records are added in log order; what their payloads
 * point to must stay until round_end, which writes the page bytes, then all rows, counts and page states with
 * the applied position as one batch.  A body that several records of a round touch costs one row. */
#ifndef ESE_ROUND_H
#define ESE_ROUND_H

#include "ese/rec.h"

struct ese_db;
struct round;

struct round *round_new(struct ese_db *db); /* NULL: out of memory */
void round_free(struct round *r);           /* NULL is fine */
enum st round_body(struct round *r, const struct rec_body *b, struct err *err);
enum st round_commit(struct round *r, const struct rec *rec, struct err *err);
enum st round_drop(struct round *r, uint64_t body_id, struct err *err); /* a FREE record */
/* Forget what was added: the database is closed. */
void round_drop_all(struct round *r);
/* The next round_end writes the applied position even if nothing was added. */
void round_mark(struct round *r);
/* In two steps: bytes to their pages and rows into memory, where nobody sees them, which may be done before the
 * records are durable; then, when they are, rows and counts become visible and the pages that were left go free. */
enum st round_prepare(struct round *r, uint64_t applied, struct err *err);
enum st round_publish(struct round *r, struct err *err);
/* What was prepared will not be published: the group is broken. */
void round_abandon(struct round *r);
/* Both.  Nothing added: nothing done. */
enum st round_end(struct round *r, uint64_t applied, struct err *err);

#endif
