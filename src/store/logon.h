/* logon.h - who is logged on, and what they may do.
 *
 * A logon is made at authentication, for one binding, and is valid in it only; it lives on the loop of its
 * mailbox.  Its number is random, so that no client can guess another's.  Own loop. */
#ifndef STORE_LOGON_H
#define STORE_LOGON_H

#include "store/mailbox.h"

#define LOGONS_MAX 200000 /* of a loop */

struct logon {
	struct hnode node; /* by its number */
	uint64_t binding, mailbox;
};

/* ST_BUSY over the limit, ST_NOMEM. */
enum st logon_new(struct shard *sh, uint64_t binding, uint64_t mailbox, uint64_t *number,
		  struct err *err);
/* The logon of that number in that binding; ST_DENIED.  The pointer is good until the fiber parks. */
enum st logon_find(struct shard *sh, uint64_t binding, uint64_t number, const struct logon **out,
		   struct err *err);
/* Ends it and what hangs on it (the POP3 maildrop).  ST_NOTFOUND. */
enum st logon_end(struct shard *sh, uint64_t binding, uint64_t number, struct err *err);
void logons_end_binding(struct shard *sh, uint64_t binding);
void logons_end_mailbox(struct shard *sh, uint64_t mailbox); /* its user was disabled or removed */

void logons_end(struct shard *sh); /* all: at the end of the store */

/* ---- rights.c: the one place where rights are decided ---- */

enum right { RIGHT_READ = 1, RIGHT_WRITE = 2 };

/* May this logon do that with the folder?  Owner only, as yet.  ST_DENIED, and it does not tell whether there
 * is such a folder. */
enum st rights_check(const struct logon *l, uint64_t fid, unsigned rights, struct err *err);

#endif
