/* rows.h - the engine's own rows: keys and values as bytes (docs/formats.md, "Property database").
 *
 * Pure. */
#ifndef ESE_ROWS_H
#define ESE_ROWS_H

#include "base/buf.h"
#include "base/st.h"

#include "base/byteorder.h"
#include "ese/seg.h"

#define CRC_INLINE 16u   /* pages up to which a body row holds its CRCs itself */
#define CRC_ROW    1024u /* CRCs in one row of a larger body */

struct row_key {
	char at[13];
	unsigned char len;
};
static inline struct span row_key_span(const struct row_key *k)
{
	return span_of(k->at, k->len);
}
struct row_key row_key_header(void);
struct row_key row_key_applied(void);
struct row_key row_key_space(uint32_t chunk);
struct row_key row_key_body(uint64_t id);
struct row_key row_key_crc(uint64_t id, uint32_t n);
struct row_key row_key_scrub(void);
struct row_key row_key_orphan(uint64_t id);
/* The number behind the kind byte of a space / body / orphan key; false: not such a key. */
bool row_key_chunk(struct span key, uint32_t *out);
bool row_key_id(struct span key, uint64_t *out);

struct row_header {
	unsigned char signature[LOG_SIGNATURE];
	uint64_t id, created;
	uint64_t pos; /* dirty: where it was opened; clean: where it was closed */
	uint32_t state;
	uint32_t format; /* as read; ours is written */
};
#define ROW_HEADER_BYTES 56u
void row_header_put(char out[ROW_HEADER_BYTES], const struct row_header *h);
enum st row_header_get(struct span v, struct row_header *out, const char *name, struct err *err);

struct row_applied {
	uint64_t pos, ids, bodies;
};
#define ROW_APPLIED_BYTES 24u
void row_applied_put(char out[ROW_APPLIED_BYTES], const struct row_applied *a);
enum st row_applied_get(struct span v, struct row_applied *out);

struct row_body {
	uint32_t refs, nruns, npages, ncrcs;
	uint64_t len;
	struct span runs, crcs;
};
void row_body_put(struct buf *out, const struct row_body *b);
/* ST_CORRUPT unless everything fits; spans point into v. */
enum st row_body_get(struct span v, struct row_body *out);

#endif
