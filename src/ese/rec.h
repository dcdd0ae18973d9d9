/* rec.h - log records and the items of a commit, as bytes (docs/formats.md, "Record").
 *
 * Pure.  The decoders trust nothing: every length is checked against what is there, and what they
 * hand out points into the caller's bytes. */
#ifndef ESE_REC_H
#define ESE_REC_H

#include "base/span.h"
#include "base/st.h"

#include "base/byteorder.h"

#define REC_HEAD          40u
#define REC_GROUP_PAYLOAD 24u
#define REC_END_PAYLOAD   4u
#define REC_BODY_HEAD     24u /* before the bytes */
#define REC_BODY_BYTES    65536u
#define REC_COMMIT_HEAD   16u
#define REC_FREE_PAYLOAD  8u
#define LOG_PAGE          4096u

enum rec_kind {
	REC_GROUP = 1,
	REC_END,
	REC_ATTACH,
	REC_BODY,
	REC_COMMIT,
	REC_FREE,
	REC_DETACH,
};

/* A position: generation in the high half, offset in the low half. */
static inline uint64_t pos_of(uint32_t gen, uint32_t off)
{
	return (uint64_t)gen << 32 | off;
}
static inline uint32_t pos_gen(uint64_t pos)
{
	return (uint32_t)(pos >> 32);
}
static inline uint32_t pos_off(uint64_t pos)
{
	return (uint32_t)pos;
}

struct rec {
	enum rec_kind kind;
	uint32_t db;
	uint64_t pos, partition;
	struct span payload;
};

/* Bytes that a record with this payload takes. */
static inline size_t rec_size(size_t payload)
{
	return REC_HEAD + ((payload + 7) & ~(size_t)7);
}

/* Write the 40 bytes at `at` (r->payload.at is not looked at). */
void rec_head_put(char *at, const struct rec *r, uint32_t payload_crc, uint32_t mark);
/* The record at the start of `bytes`, which stands at position `pos` of a log whose signature starts
 * with `mark`.  ST_CORRUPT: no valid record. */
enum st rec_get(struct span bytes, uint64_t pos, uint32_t mark, struct rec *out);

struct rec_group {
	uint64_t time, number;
	uint32_t bytes, records;
};
void rec_group_put(char *payload, const struct rec_group *g);
enum st rec_group_get(struct span payload, struct rec_group *out);

struct rec_body {
	uint64_t id, body_off, stm_off;
	struct span bytes;
};
enum st rec_body_get(struct span payload, struct rec_body *out);

enum attach_how {
	ATTACH_UNKNOWN, /* format 1 does not say */
	ATTACH_CREATED,
	ATTACH_OPENED,
	ATTACH_TAKEN, /* from another group */
};
struct rec_attach {
	uint64_t id, created;
	enum attach_how how;
	struct span name;
};
#define REC_ATTACH_HEAD 24u
void rec_attach_put(char *payload, const struct rec_attach *a); /* HEAD bytes; the name follows */
/* `format`: of the log file that the record stands in. */
enum st rec_attach_get(struct span payload, uint32_t format, struct rec_attach *out);

enum detach_why {
	DETACH_DOWN = 1, /* dismounted */
	DETACH_REMOVED,  /* for good */
	DETACH_GIVEN,    /* to another group */
};
struct rec_detach {
	uint64_t id;
	enum detach_why why;
	struct span name;
};
#define REC_DETACH_HEAD 16u
void rec_detach_put(char *payload, const struct rec_detach *d);
enum st rec_detach_get(struct span payload, struct rec_detach *out);
enum st rec_free_get(struct span payload, uint64_t *id_out);
enum st rec_end_get(struct span payload, uint32_t *next_gen_out);

enum item_kind {
	ITEM_PUT = 1,
	ITEM_DELETE,
	ITEM_DESCRIBE,
	ITEM_LINK,
	ITEM_UNLINK,
	ITEM_DESCRIBE_DIRECT, /* as describe; the body's bytes are not in the log */
	ITEM_MOVE,            /* the body's bytes are on other pages now, and in the log again */
	ITEM_MOVE_DIRECT,     /* as move; the bytes are not in the log */
};

struct item {
	enum item_kind kind;
	struct span key, value; /* put, delete */
	uint64_t body;          /* all others */
	uint64_t len;           /* describe */
	uint32_t nruns, npages; /* describe, move */
	struct span runs;       /* describe, move: as in the record */
	struct span crcs;       /* describe: as in the record */
};

struct items {
	struct span rest;
	uint32_t left;
	uint64_t time;
};
enum st items_open(struct span payload, struct items *out);
/* ST_OK, ST_EOF after the last, ST_CORRUPT. */
enum st items_next(struct items *it, struct item *out);
/* Does the item say that pages were written beside the log? */
static inline bool item_is_direct(const struct item *it)
{
	return it->kind == ITEM_DESCRIBE_DIRECT || it->kind == ITEM_MOVE_DIRECT;
}
/* Run n (below it->nruns) of a describe or move item, or of any array of the same form. */
static inline uint32_t run_page(struct span runs, uint32_t n)
{
	return le32_get(runs.at + (size_t)n * 8);
}
static inline uint32_t run_pages(struct span runs, uint32_t n)
{
	return le32_get(runs.at + (size_t)n * 8 + 4);
}

#endif
