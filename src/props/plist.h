/* plist.h - the property list: THE encoding of envelopes, requests and rows.
 *
 * A property is a 32-bit tag (MS-OXCDATA 2.9: id in the high 16 bits, type in the low 16) and a
 * typed value.  A list is one self-contained run of bytes, read in place without copying after ONE
 * check (plist_open), and safe on hostile input: after the check no reader can leave the run.
 * The bytes are described in docs/formats.md, section "Property list". Little-endian. Pure code: no I/O,
 * any thread. */
#ifndef PROPS_PLIST_H
#define PROPS_PLIST_H

#include "base/buf.h"
#include "base/st.h"

/* Property types (MS-OXCDATA 2.11.1). */
enum prop_type {
	PT_LONG = 0x0003,    /* 32 bits */
	PT_BOOLEAN = 0x000B, /* 0 or 1 */
	PT_OBJECT = 0x000D,  /* a property list inside */
	PT_I8 = 0x0014,      /* 64 bits */
	PT_UNICODE =
		0x001F, /* UTF-8 here, no NUL at the end; bytes as received where a header is raw */
	PT_SYSTIME = 0x0040, /* 64 bits, nanoseconds since 1970 UTC here */
	PT_BINARY = 0x0102,
	PT_MV_LONG = 0x1003,
	PT_MV_I8 = 0x1014,
	PT_MV_UNICODE = 0x101F,
	PT_MV_BINARY = 0x1102,
	PT_MV_OBJECT = 0x100D
};
#define PROP_TAG(type, id) ((uint32_t)(id) << 16 | (uint32_t)(type))
#define PROP_TYPE(tag)     ((tag)&0xFFFFu)
#define PROP_ID(tag)       ((tag) >> 16)

#define PLIST_MAX_BYTES (16u * 1024 * 1024) /* one list, nested ones included */
#define PLIST_MAX_PROPS 4096
#define PLIST_MAX_DEPTH 8

/* A checked list.  Valid as long as the bytes are. */
struct plist {
	const uint8_t *at;
	size_t len;
};

/* Check `bytes`, which must begin with a list; the list may be shorter than len (rowsets: lists back to
 * back).  ST_OK fills *out (out->len = the list's own length); ST_BAD says what is wrong and leaves
 * *out.  Cost is linear; nested lists are checked too. */
enum st plist_open(struct plist *out, const void *bytes, size_t len, struct err *err);
/* Without the check: only for bytes this process itself made or checked before. */
struct plist plist_trusted(const void *bytes, size_t len);

size_t plist_count(const struct plist *l);
bool plist_has(const struct plist *l, uint32_t tag);
/* The value with exactly this tag, or what stands behind `otherwise` / an absent span. */
uint32_t plist_u32(const struct plist *l, uint32_t tag, uint32_t otherwise);
uint64_t plist_u64(const struct plist *l, uint32_t tag, uint64_t otherwise); /* PT_I8, PT_SYSTIME */
bool plist_bool(const struct plist *l, uint32_t tag, bool otherwise);
struct span plist_span(const struct plist *l, uint32_t tag); /* PT_UNICODE, PT_BINARY */
bool plist_object(const struct plist *l, uint32_t tag, struct plist *out);
/* Multi-valued: how many, and the i-th. */
size_t plist_mv_count(const struct plist *l, uint32_t tag);
uint64_t plist_mv_num(const struct plist *l, uint32_t tag, size_t i);
struct span plist_mv_span(const struct plist *l, uint32_t tag, size_t i);
bool plist_mv_object(const struct plist *l, uint32_t tag, size_t i, struct plist *out);

/* One property after another, in stored order. */
struct plist_iter {
	struct plist list;
	size_t i;
};
static inline struct plist_iter plist_iter(const struct plist *l)
{
	return (struct plist_iter){ *l, 0 };
}
bool plist_next(struct plist_iter *it, uint32_t *tag, struct span *raw_value);

/* Writing: begin, puts in any order of tags, end.  Into a buf: over its max (or over PLIST_MAX_BYTES
 * or PLIST_MAX_PROPS) out->failed is set, once, and everything after it does nothing.  A tag put
 * twice, more puts than were announced, or a value of another type than its tag's is our own mistake
 * (assert).  Between pw_begin and pw_end nobody else may append to `out`. */
struct pw {
	struct buf *out;
	size_t start;   /* offset of this list in out */
	uint32_t count; /* properties so far */
	size_t dir_cap; /* room reserved for the directory */
	struct pw *parent;
	bool busy; /* a nested list is being written */
};
/* `props` = how many properties at most will be put (reserves the directory). */
void pw_begin(struct pw *w, struct buf *out, size_t props);
/* A nested list, written in place as the PT_OBJECT `tag` of `w`: until pw_end(inner) nothing is put
 * into w. */
void pw_begin_object(struct pw *w, uint32_t tag, struct pw *inner, size_t props);
void pw_u32(struct pw *w, uint32_t tag, uint32_t v);
void pw_u64(struct pw *w, uint32_t tag, uint64_t v); /* PT_I8 and PT_SYSTIME */
void pw_bool(struct pw *w, uint32_t tag, bool v);
void pw_span(struct pw *w, uint32_t tag, struct span v); /* PT_UNICODE, PT_BINARY */
void pw_str(struct pw *w, uint32_t tag, const char *v);
void pw_mv_span(struct pw *w, uint32_t tag, const struct span *v, size_t n);
void pw_mv_num(struct pw *w, uint32_t tag, const uint64_t *v, size_t n); /* PT_MV_LONG / PT_MV_I8 */
/* An already built list as PT_OBJECT; n of them as PT_MV_OBJECT. */
void pw_object(struct pw *w, uint32_t tag, struct plist v);
void pw_mv_object(struct pw *w, uint32_t tag, const struct plist *v, size_t n);
/* Copy one property (any type) from a list; nothing when the list hasn't got it. */
void pw_copy(struct pw *w, const struct plist *from, uint32_t tag);
/* Copy every property of the list whose tag was not put yet: how a row is changed. */
void pw_merge(struct pw *w, const struct plist *from);
void pw_end(struct pw *w);

/* Text for people, one property a line: PR_SUBJECT(0x0037001F)="..."; what is inside a nested list
 * has the outer names in front, with dots; bytes are hex, at most 64 of them.  Tags of the MAPI space;
 * the second for either space. */
void plist_dump(const struct plist *l, struct buf *out);
void plist_dump_mailmsg(const struct plist *l, struct buf *out);

#endif
