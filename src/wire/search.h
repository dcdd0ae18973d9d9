/* search.h - the search program: what IMAP SEARCH (later DASL, NNTP) asks of the store.
 *
 * A program is a tree in prefix order, serialized into PR_SEARCH_PROGRAM by the client and read by the
 * store, hostile-safe: depth <= 64, nodes <= 2,000, bytes <= 64 KiB. */
#ifndef WIRE_SEARCH_H
#define WIRE_SEARCH_H

#include "base/buf.h"
#include "base/st.h"

#define SEARCH_NODES_MAX 2000
#define SEARCH_DEPTH_MAX 64

enum search_op {
	S_ALL = 1, /* always true */
	S_AND,     /* kids */
	S_OR,      /* kids */
	S_NOT,     /* one kid */
	S_UIDS,    /* text: a serialized uset */
	S_FLAG,    /* num: a message_flag that must be set */
	S_KEYWORD, /* text: name that must be set */
	S_RECENT, /* member of the session's recent set, sent as S_UIDS by the client: not in programs */
	S_SIZE_OVER, /* num: RFC822.SIZE > num */
	S_SIZE_UNDER,
	S_DATE_BEFORE, /* internal date; num: days since 1970 of a calendar day, time and zone disregarded */
	S_DATE_ON,
	S_DATE_SINCE,
	S_SENT_BEFORE, /* Date: header field */
	S_SENT_ON,
	S_SENT_SINCE,
	S_FROM, /* text in UTF-8: substring of the decoded field, case-insensitive */
	S_TO,
	S_CC,
	S_BCC,
	S_SUBJECT,
	S_HEADER, /* name: field name; text: substring ("" = the field is there) */
	S_BODY,   /* text in decoded body parts */
	S_TEXT,   /* header or body */
	S_MODSEQ, /* num: change number >= num */
	S_OPS
};

struct search_node {
	enum search_op op;
	uint64_t num;
	struct span name, text; /* point into the program */
	struct search_node *kids, *next;
};

/* Serialize (the client).  Trees deeper or larger than the limits: ST_TOOBIG. */
enum st search_write(const struct search_node *root, struct buf *out, struct err *err);
/* Read (the store).  Nodes are put into `nodes` (room for SEARCH_NODES_MAX); spans point into `bytes`. */
enum st search_read(struct span bytes, struct search_node *nodes, size_t room,
		    const struct search_node **root, struct err *err);

#endif
