/* seg.h - one log file: its name, header, preparation, and the write that is durable when it returns.
 *
 * A file gets its numbered name only when it is zero-filled (or was a log before), at full size, with a
 * valid header, all synced: a numbered file without a valid header is damage (docs/crash-states.md).
 * Preparation runs on one thread, writing on another; they never share a struct seg at one time. */
#ifndef ESE_SEG_H
#define ESE_SEG_H

#include "base/st.h"

#include <stddef.h>
#include <stdint.h>

#define SEG_HEAD      4096u
#define SEG_SIZE_MIN  (16u * 4096)
#define SEG_SIZE_MAX  (1024u * 1024 * 1024)
#define SEG_PATH_MAX  4096
#define LOG_SIGNATURE 16

struct seg_head {
	unsigned char signature[LOG_SIGNATURE];
	uint32_t gen, size, prev_end;
	uint32_t format; /* as read; ours is written */
	uint64_t created, prev_created;
};
void seg_head_put(char page[SEG_HEAD], const struct seg_head *h);
/* ST_CORRUPT: no valid header; ST_BAD: another format.  `name` is for the sentence. */
enum st seg_head_get(const char page[SEG_HEAD], struct seg_head *out, const char *name,
		     struct err *err);

enum seg_sync {
	SEG_DIRECT, /* O_DIRECT | O_DSYNC */
	SEG_DSYNC,  /* pwritev2(RWF_DSYNC) */
	SEG_SYNC,   /* pwrite, fdatasync */
};

struct seg {
	int fd;
	uint32_t gen, size;
	uint64_t created;
	enum seg_sync how;
};

void seg_path(char out[SEG_PATH_MAX], const char *dir, uint32_t gen);
void seg_spare_path(char out[SEG_PATH_MAX], const char *dir, uint32_t number);

struct seg_list {
	uint32_t *gens;   /* sorted */
	uint32_t *spares; /* numbers, sorted */
	uint32_t ngens, nspares;
};
enum st seg_list(const char *dir, struct seg_list *out, struct err *err);
void seg_list_free(struct seg_list *l);

/* Make spare `number`: zeros, full size, synced.  Nothing is left behind on failure. */
enum st seg_make_spare(const char *dir, uint32_t number, uint32_t size, struct err *err);
/* Turn spare `number` (of h->size) into the log file of h->gen, ready to be written.  `want` is tried
 * first, then what comes after it in the enum.  On failure the spare may be gone or not. */
enum st seg_take_spare(const char *dir, uint32_t number, const struct seg_head *h,
		       enum seg_sync want, struct seg *out, struct err *err);
/* Durable when it returns ST_OK.  at, len, off: multiples of 4096, at aligned to 4096. */
enum st seg_write(struct seg *s, const void *at, size_t len, uint32_t off, struct err *err);
void seg_close(struct seg *s);

#endif
