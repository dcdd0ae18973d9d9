/* beside.h - replay: pages that later records of the log say were written beside it.
 *
 * A BODY record that is replayed may be older than a body which later took the same pages and is in no BODY record
 * (docs/formats.md, `describe direct`): its bytes must not be written again.  One thread.  Memory: 32 bytes for each run
 * of such a body in the log. */
#ifndef ESE_BESIDE_H
#define ESE_BESIDE_H

#include "ese/rec.h"

struct beside;
struct beside *beside_new(void);    /* NULL: out of memory */
void beside_free(struct beside *b); /* NULL is fine */
/* The record at `pos` of database `db`: what it says of pages beside the log is noted.  Any kind of record. */
enum st beside_note(struct beside *b, const struct rec *r, struct err *err);
/* After the last record: from here on it can be asked. */
void beside_ready(struct beside *b);
/* How many pages from `page` on, 1..want, are alike; *taken_out: a record behind `pos` took them. */
uint32_t beside_same(const struct beside *b, uint32_t db, uint32_t page, uint32_t want,
		     uint64_t pos, bool *taken_out);
/* The pieces of a BODY record that nobody took since, to fn. */
enum st beside_pieces(const struct beside *b, const struct rec *r, const struct rec_body *body,
		      enum st (*fn)(void *arg, const struct rec_body *piece, struct err *err),
		      void *arg, struct err *err);

/* All records from `from` on to `to` (0: the end of the log) in `dir`. */
enum st beside_scan(struct beside *b, const char *dir, uint64_t from, uint64_t to,
		    const unsigned char *signature, struct err *err);

#endif
