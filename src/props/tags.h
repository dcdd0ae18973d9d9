/* tags.h - property tags by name, and what is known of each.
 *
 * The rows are in tags.def (PR_: the MAPI number space) and msgids.def (MP_, RP_: the MailMsg
 * number space); add a property there, one row, nothing else.  The two spaces overlap: a list holds
 * tags of one of them only.  Pure data, any thread. */
#ifndef PROPS_TAGS_H
#define PROPS_TAGS_H

#include "props/plist.h"

#define PROP(symbol, type, id, name, source, meaning) symbol = PROP_TAG(type, id),
enum prop_tag {
#include "props/tags.def"
};
enum msg_tag {
#include "props/msgids.def"
};
#undef PROP

/* PR_MESSAGE_FLAGS (MS-OXCMSG 2.2.1.6) */
#define MSGFLAG_READ      0x00000001u
#define MSGFLAG_UNSENT    0x00000008u
#define MSGFLAG_HASATTACH 0x00000010u

enum prop_space { PROP_MAPI, PROP_MAILMSG };

struct prop_info {
	uint32_t tag;
	const char *symbol;  /* "PR_SUBJECT" */
	const char *name;    /* "PidTagSubject" */
	const char *source;  /* "MS-OXPROPS", "Win32", "Mailroot" ... */
	const char *meaning; /* half a sentence */
};

/* The row of a tag; NULL when there is none. */
const struct prop_info *prop_find(enum prop_space space, uint32_t tag);
/* All rows of a space, in the order of the file, for manuals and checks. */
const struct prop_info *prop_table(enum prop_space space, size_t *count);
/* "unicode", "i8" ...; "?" for a type that no list can hold. */
const char *prop_type_name(uint32_t type);

#endif
