/* call.h - one request as its handler sees it.
 *
 * A handler is `enum st serve_NAME(struct call *c, struct err *err)`, declared here for every row of
 * requests.def; a row without a handler does not link.  It runs in a fiber on the shard that the client sent
 * the request to.  It answers in one of three ways:
 *	return ST_OK, with call_reply()'s list filled or not	one reply
 *	return anything else					the words of err, and the list if there is one
 *	wire_rows_begin(&rows, c->rq) ... return c->done(...)	rows; see call_rows_end()
 * What it got by call_mailbox(), call_folder() and call_index() is given back after it returned. */
#ifndef STORE_CALL_H
#define STORE_CALL_H

#include "store/index.h"
#include "store/logon.h"

struct content;

struct call {
	struct store *store;
	struct shard *shard;
	struct exipc_request *rq;
	struct plist in;
	uint64_t logon; /* set by call_mailbox */
	struct mailbox *mb;
	struct folder *folder;
	struct folder_index *ix;
	struct buf out;
	struct pw w;
	bool replying; /* w was begun */
	bool answered; /* the final reply is out */
};

/* What the process answers with: begun at the first call, ended by the dispatcher. */
struct pw *call_reply(struct call *c, size_t props);
/* The final reply of a rowset. */
enum st call_rows_end(struct call *c, struct wire_rows_out *rows, enum st st,
		      const struct err *err);

/* The mailbox of LOGON.  ST_DENIED; ST_BAD: sent to a loop that doesn't own it; as mailbox_get(). */
enum st call_mailbox(struct call *c, struct err *err);
/* The same and its folder FID, held, after asking for the rights.  ST_NOTFOUND: no such folder. */
enum st call_folder(struct call *c, unsigned rights, struct err *err);
/* The same and the folder's index, pinned. */
enum st call_index(struct call *c, unsigned rights, struct err *err);
/* A set of UIDs out of the request; ST_BAD when it is no set.  Free it. */
enum st call_uids(const struct call *c, uint32_t tag, struct uset *out, struct err *err);
void put_uids(struct pw *w, uint32_t tag, const struct uset *s);
/* May the mailbox grow by so many octets?  ST_NOSPACE, and OVER_QUOTA is in the answer. */
enum st call_admit(struct call *c, uint64_t octets, struct err *err);
/* F: IMAP_FLAGS, KEYWORDS and MESSAGE_DELIVERY_TIME of the request with this content, as a message of f, durable; the reply
 * is FID UIDVALIDITY UID.  folder_ready(f) must have been called just before.  uid: as in new_message. */
enum st call_put_message(struct call *c, struct folder *f, struct content *content, uint32_t uid,
			 struct err *err);
/* KEYWORDS by bits. */
void put_keywords(struct pw *w, const struct folder *f, uint64_t bits);

#define WIRE(name, number, stub, roles, in, out)                                                   \
	enum st serve_##name(struct call *c, struct err *err);
#include "wire/requests.def"
#undef WIRE

/* What exipc calls: find the handler, check role and form, run it, answer. */
void serve_request(void *store, struct exipc_request *rq);

/* What a binding may send, kept as its data. */
struct client {
	unsigned roles;
	char name[32];
};

#endif
