/* reply.h - writing what an IMAP server says (RFC 3501 section 7).
 *
 * Everything is added to a buf of the caller, whose `failed` tells about running out of room.  What a
 * value needs (atom, quoted, literal) is chosen here.  Pure; any thread. */
#ifndef PROTO_IMAP_REPLY_H
#define PROTO_IMAP_REPLY_H

#include "proto/imap/command.h"

/* ---- strings ---- */

void imap_put_quoted(struct buf *b, struct span s); /* s holds no CR, LF, NUL or 8-bit octet */
/* "{n}\r\n": the octets follow. */
void imap_put_literal(struct buf *b, uint64_t octets);
/* Quoted where it can be, else a literal; a NUL (not allowed in either) becomes '?'. */
void imap_put_string(struct buf *b, struct span s);
void imap_put_nstring(struct buf *b, struct span s); /* the absent span is NIL */
void imap_put_astring(struct buf *b, struct span s); /* atom where it can be */
/* From UTF-8; a name that is not UTF-8 goes out as it is, in a literal. */
void imap_put_mailbox(struct buf *b, struct span name);
/* "(\Seen $Junk)": the parenthesized list. */
void imap_put_flags(struct buf *b, uint32_t system, const struct span *keywords, size_t n);

/* ---- whole lines, CR LF included ---- */

enum imap_cond { IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_BYE, IMAP_PREAUTH };
/* "tag OK [code] text"; the absent tag is "*"; code is without brackets, NULL for none.  What a text
 * line cannot hold in `text` (controls, 8-bit octets) becomes '?'. */
void imap_put_cond(struct buf *b, struct span tag, enum imap_cond cond, const char *code,
		   const char *text);
/* The same in two steps, for codes that are written piece by piece: "tag OK " ... " text\r\n". */
void imap_put_cond_begin(struct buf *b, struct span tag, enum imap_cond cond);
void imap_put_text_end(struct buf *b, const char *text);
/* "* OK [UIDNEXT 4392] text": also UIDVALIDITY, UNSEEN, HIGHESTMODSEQ. */
void imap_put_code_number(struct buf *b, const char *code, uint64_t n, const char *text);
/* "* 12 EXISTS", RECENT, EXPUNGE */
void imap_put_number(struct buf *b, uint32_t n, const char *what);
/* "* CAPABILITY ..." */
void imap_put_capability(struct buf *b, const struct imap_offer *offer);
/* "* FLAGS (...)" and "* OK [PERMANENTFLAGS (... \*)] ...": `any` adds \*, new keywords may be made. */
void imap_put_flags_line(struct buf *b, uint32_t system, const struct span *keywords, size_t n);
void imap_put_permanentflags(struct buf *b, uint32_t system, const struct span *keywords, size_t n,
			     bool any);
/* "* LIST (\HasNoChildren \Drafts) "/" Drafts"; `what` is "LIST" or "LSUB"; attrs: enum
 * imap_mailbox_attr; delim 0 is NIL. */
void imap_put_list(struct buf *b, const char *what, uint32_t attrs, char delim, struct span name);

struct imap_status_values {
	uint32_t messages, recent, uidnext, uidvalidity, unseen;
	uint64_t highestmodseq;
};
/* "* STATUS name (MESSAGES 3 ...)" with the items asked for. */
void imap_put_status(struct buf *b, struct span mailbox, uint32_t items,
		     const struct imap_status_values *v);
/* "* SEARCH 2 84 882" or, for ESEARCH, "* ESEARCH (TAG "a") UID COUNT 3 ALL 2,84,882". */
void imap_put_search(struct buf *b, const struct uset *found);
void imap_put_esearch(struct buf *b, struct span tag, bool uid, unsigned returns,
		      const struct uset *found);
/* "* ID (...)"; pairs as in struct imap_id. */
void imap_put_id(struct buf *b, const struct span *pairs, size_t n);
/* "* ENABLED CONDSTORE" */
void imap_put_enabled(struct buf *b, const struct span *names, size_t n);
/* "* NAMESPACE (("" "/")) NIL NIL": prefixes in UTF-8; an absent one is NIL. */
void imap_put_namespace(struct buf *b, struct span personal, struct span others, struct span shared,
			char delim);
/* Tagged OK with UIDPLUS codes.  COPYUID of MOVE goes out untagged (RFC 6851 section 4.3): absent tag. */
void imap_put_appenduid(struct buf *b, struct span tag, uint32_t uidvalidity, uint32_t uid,
			const char *text);
void imap_put_copyuid(struct buf *b, struct span tag, uint32_t uidvalidity, const struct uset *from,
		      const struct uset *to, const char *text);

/* ---- FETCH ---- */

/* "* 12 FETCH (" ... ")\r\n"; the session puts items between, a space between two. */
void imap_put_fetch_begin(struct buf *b, uint32_t seq);
void imap_put_fetch_end(struct buf *b);
/* The item's name as it must be echoed, no space behind: BODY[HEADER.FIELDS (DATE FROM)]<0>, RFC822.SIZE.
 * BODY.PEEK is echoed as BODY, a partial by its first octet only. */
void imap_put_item_name(struct buf *b, const struct imap_item *item);
/* For sections: how many of the `len` octets the section has are asked for, and from where. */
void imap_item_window(const struct imap_item *item, uint64_t len, uint64_t *first, uint64_t *count);

/* ---- time ---- */

/* "17-Jul-1996 02:44:25 -0700", with the quotes; seconds since 1970, minutes east of UTC.  Years are
 * kept within 0000..9999. */
void imap_put_date_time(struct buf *b, int64_t seconds, int zone);
/* Days since 1970-01-01 of a date of the Gregorian calendar; false: no such day. */
bool imap_day(unsigned year, unsigned month, unsigned day, int64_t *days);

#endif
