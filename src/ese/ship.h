/* ship.h - frames of the shipping stream (docs/formats.md, "shipping stream").
 *
 * Pure, one thread.  The reader trusts nothing: lengths and CRCs are checked, and what it hands out points
 * into its own buffer. */
#ifndef ESE_SHIP_H
#define ESE_SHIP_H

#include "base/buf.h"
#include "base/st.h"
#include "ese/seg.h"

#define SHIP_VERSION     1u
#define SHIP_HEAD        40u
#define SHIP_PAYLOAD_MAX (1024u * 1024 * 1024)
#define SHIP_NAME_MAX    64u /* of a group */

enum ship_kind {
	SHIP_HELLO = 1,
	SHIP_STAND,
	SHIP_READY,
	SHIP_GROUP,
	SHIP_FILE,
	SHIP_DATA,
	SHIP_BEAT,
	SHIP_ACK,
	SHIP_END,
	SHIP_STOP,
};

struct ship_frame {
	enum ship_kind kind;
	uint16_t group;
	uint64_t pos, time;
	struct span payload;
};
/* Appends the frame; out->failed when there is no room. */
void ship_put(struct buf *out, const struct ship_frame *f);

/* Bytes in, frames out.  A zeroed struct with `bytes.max` set is ready. */
struct ship_reader {
	struct buf bytes;
	size_t used; /* of them, by frames that were handed out */
};
void ship_reader_open(struct ship_reader *r);
void ship_reader_close(struct ship_reader *r);
/* ST_NOMEM. */
enum st ship_feed(struct ship_reader *r, const void *at, size_t len, struct err *err);
/* ST_OK: *out is valid until the next call; ST_MORE: not whole yet; ST_CORRUPT: no frame. */
enum st ship_next(struct ship_reader *r, struct ship_frame *out, struct err *err);

/* ---- payloads ---- */

/* ST_BAD: another version of the stream, or a newer engine at the other end. */
void ship_put_hello(struct buf *out);
enum st ship_check_hello(const struct ship_frame *f, struct err *err);

struct ship_stand {
	unsigned char signature[LOG_SIGNATURE];
	uint64_t pos, created, number;
	char name[SHIP_NAME_MAX + 1];
};
void ship_put_stand(struct buf *out, const struct ship_stand *s);
enum st ship_get_stand(const struct ship_frame *f, struct ship_stand *out, struct err *err);

struct ship_group {
	unsigned char signature[LOG_SIGNATURE];
	uint16_t index;
	uint64_t pos;
	char name[SHIP_NAME_MAX + 1];
};
void ship_put_group(struct buf *out, const struct ship_group *g);
enum st ship_get_group(const struct ship_frame *f, struct ship_group *out, struct err *err);

/* A name that is safe as a folder's: letters, digits, '-', '_', blank; not empty. */
bool ship_name_ok(struct span name);

#endif
