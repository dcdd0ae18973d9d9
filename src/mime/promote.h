/* promote.h - from a scanned message to the properties that listing and searching need.
 *
 * Pure code, any thread. */
#ifndef MIME_PROMOTE_H
#define MIME_PROMOTE_H

#include "base/buf.h"
#include "base/st.h"
#include "mime/scan.h"

/* Append one property list (props/plist.h) to out_plist:
 *	PR_IMAP_ENVELOPE, PR_MIME_STRUCTURE, PR_MESSAGE_SIZE_EXTENDED, PR_LINE_COUNT,
 *	PR_HEADER_LENGTH, PR_MIME_FLAGS, PR_HASATTACH	always
 *	PR_SUBJECT, PR_NORMALIZED_SUBJECT, PR_CLIENT_SUBMIT_TIME with PR_CLIENT_SUBMIT_ZONE,
 *	PR_DISPLAY_FROM, PR_DISPLAY_TO, PR_DISPLAY_CC, PR_DISPLAY_BCC,
 *	PR_SENDER_NAME, PR_SENDER_EMAIL_ADDRESS, PR_INTERNET_MESSAGE_ID, PR_IN_REPLY_TO_ID,
 *	PR_INTERNET_REFERENCES, PR_IMPORTANCE, PR_PREVIEW	when the message has them
 * ST_OK; ST_TOOBIG when out_plist is full (its `failed` is set); ST_NOMEM. */
enum st mime_promote(const struct mime_scan *scan, struct buf *out_plist, struct err *err);

/* ENVELOPE (RFC 3501 7.4.2) of a header block: complete, parenthesised, literals where strings need
 * them.  At most about MIME_ENVELOPE_MAX bytes: addresses over that are left out. */
#define MIME_ENVELOPE_MAX (1024 * 1024)
void mime_envelope(struct span header, struct buf *out);

#endif
