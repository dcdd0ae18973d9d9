/* layout.h - where things are in a property list (docs/formats.md, "Property list"); this room only. */
#ifndef PROPS_LAYOUT_H
#define PROPS_LAYOUT_H

#include "base/byteorder.h"
#include "props/plist.h"

#define LIST_VERSION 1
#define LIST_HEAD    8 /* u32 bytes in all, u16 properties, u8 version, u8 zero */
#define LIST_ENTRY   8 /* u32 tag, u32 value or offset from the list's start */

/* How the value of a type is kept. */
enum value_kind {
	VALUE_UNKNOWN,
	VALUE_INLINE, /* in the entry */
	VALUE_NUMBER, /* 8 bytes at the offset */
	VALUE_BYTES,  /* u32 length and the bytes at the offset */
	VALUE_LIST,   /* the same; the bytes are one list */
	VALUE_NUMS4,  /* the same; u32 n, n numbers */
	VALUE_NUMS8,
	VALUE_SPANS, /* the same; u32 n, n ends counted from behind the ends, the bytes */
	VALUE_LISTS  /* the same; each element is one list */
};

static inline enum value_kind value_kind(uint32_t tag)
{
	switch ((enum prop_type)PROP_TYPE(tag)) {
	case PT_LONG:
	case PT_BOOLEAN:
		return VALUE_INLINE;
	case PT_I8:
	case PT_SYSTIME:
		return VALUE_NUMBER;
	case PT_UNICODE:
	case PT_BINARY:
		return VALUE_BYTES;
	case PT_OBJECT:
		return VALUE_LIST;
	case PT_MV_LONG:
		return VALUE_NUMS4;
	case PT_MV_I8:
		return VALUE_NUMS8;
	case PT_MV_UNICODE:
	case PT_MV_BINARY:
		return VALUE_SPANS;
	case PT_MV_OBJECT:
		return VALUE_LISTS;
	}
	return VALUE_UNKNOWN;
}

#endif
