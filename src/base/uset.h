/* uset.h - a set of 32-bit numbers (IMAP UIDs, NNTP article numbers) kept as sorted runs.
 *
 * A folder of 10,000 messages with few gaps costs a few dozen bytes, which is what lets an idle
 * session stay small.  One thread.  All operations keep the runs sorted, disjoint and not adjacent.
 * The serialized form (wire, rows) is: for every run two LEB128 numbers, the gap from the end of the
 * run before (first - previous last - 1; the first run counts from 0) and the length - 1. */
#ifndef BASE_USET_H
#define BASE_USET_H

#include "base/buf.h"
#include "base/st.h"

struct urun {
	uint32_t first, last; /* inclusive */
};

struct uset {
	struct urun *runs;
	uint32_t nruns, cap;
	uint32_t count;    /* how many numbers in all runs */
	uint32_t max_runs; /* 0: USET_RUNS_MAX */
};
#define USET_RUNS_MAX 1000000

/* ST_OK, ST_TOOBIG over max_runs, ST_NOMEM; unchanged on failure. */
enum st uset_add(struct uset *s, uint32_t first, uint32_t last);
enum st uset_remove(struct uset *s, uint32_t first, uint32_t last);
bool uset_has(const struct uset *s, uint32_t n);
/* 1-based position of n among the members (an IMAP sequence number); 0 when n is no member. */
uint32_t uset_rank(const struct uset *s, uint32_t n);
/* The member at 1-based position `rank`; 0 when out of range. */
uint32_t uset_at(const struct uset *s, uint32_t rank);
/* How many members are <= n. */
uint32_t uset_count_upto(const struct uset *s, uint32_t n);
uint32_t uset_max(const struct uset *s); /* 0 when empty */
/* Smallest member >= n, or 0. */
uint32_t uset_next(const struct uset *s, uint32_t n);
/* *out (an empty set) = a AND b / a AND NOT b. */
enum st uset_and(const struct uset *a, const struct uset *b, struct uset *out);
enum st uset_minus(const struct uset *a, const struct uset *b, struct uset *out);
enum st uset_or_into(struct uset *into, const struct uset *other);
enum st uset_copy(const struct uset *s, struct uset *out);
void uset_free(struct uset *s); /* empty again */

void uset_write(const struct uset *s, struct buf *out);
/* *out must be empty.  ST_BAD for bytes that are not a serialized set; *out stays empty. */
enum st uset_read(struct span bytes, struct uset *out, struct err *err);
/* IMAP text "1:3,7,9:12" (RFC 3501 sequence-set form). */
void uset_text(const struct uset *s, struct buf *out);

#endif
