/* wire.h - the requests a client process sends to the store, and how they are put together.
 *
 * requests.def is the list; a request and each reply is a property list (props/plist.h).  A request goes to
 * the store loop that owns the mailbox: mailbox id modulo the number of store loops (wire_loop); those
 * without a mailbox go to loop 0.  SMTP_DELIVER goes to the loop of its first mailbox; the store
 * takes care of the others. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include "exipc/exipc.h"
#include "props/plist.h"
#include "props/tags.h"

#define WIRE_VERSION 1u

/* Who may send a request; decided by the store from the client's name and kernel credentials. */
enum wire_role { ROLE_HOST = 1, ROLE_ADMIN = 2 };

enum wire_op {
#define WIRE(name, number, stub, roles, in, out) WIRE_##name = number,
#include "wire/requests.def"
#undef WIRE
	WIRE_OP_MAX = 192
};

struct wire_row {
	const char *name;
	uint16_t number;
	const char *stub;
	unsigned roles;
	const char *in, *out;
};
extern const struct wire_row wire_rows[];
extern const size_t wire_nrows;
const struct wire_row *wire_find(uint16_t number); /* NULL: no such request */

/* PR_IMAP_FLAGS.  Keywords travel by name. */
enum message_flag { MF_SEEN = 1, MF_ANSWERED = 2, MF_FLAGGED = 4, MF_DELETED = 8, MF_DRAFT = 16 };
#define MF_ALL 31u

/* PR_WANT of IMAP_FETCH. */
enum wire_want {
	WANT_FLAGS = 1,      /* IMAP_FLAGS KEYWORDS CHANGE_NUM */
	WANT_DATE = 2,       /* MESSAGE_DELIVERY_TIME */
	WANT_SIZE = 4,       /* MESSAGE_SIZE_EXTENDED */
	WANT_ENVELOPE = 8,   /* IMAP_ENVELOPE */
	WANT_STRUCTURE = 16, /* MIME_STRUCTURE */
	WANT_BODY = 32,      /* BODY_SCATTER STREAM_TAG MESSAGE_SIZE_EXTENDED HEADER_LENGTH */
};
enum wire_store_mode { STORE_REPLACE, STORE_ADD, STORE_REMOVE };
/* PR_OBJECT_KIND of DS_RESOLVE. */
enum wire_scrub { WIRE_SCRUB_LOOK, WIRE_SCRUB_START, WIRE_SCRUB_STOP };
enum wire_object { OBJECT_MAILBOX = 1, OBJECT_ALIAS = 2 };

static inline unsigned wire_loop(const struct exipc_chan *chan, uint64_t mailbox_id)
{
	unsigned n = exipc_store_loops(chan);

	return n ? (unsigned)(mailbox_id % n) : 0;
}

/* ---- one call, on the client's side ---- */

/* Begin, put properties into ->w, then wire_send().
 *	struct wire_msg m;
 *	wire_begin(&m, 8);
 *	pw_u64(&m.w, PR_LOGON, logon);
 *	st = wire_send(&m, chan, loop, WIRE_IMAP_STATUS, &answer, err); */
struct wire_msg {
	struct buf bytes;
	struct pw w;
	/* filled by the caller where the request carries bulk data */
	struct exipc_section sections[EXIPC_BULK_MAX];
	uint32_t used[EXIPC_BULK_MAX];
	unsigned nsections;
	int64_t deadline; /* 0: WIRE_DEADLINE_MS from now */
};
#define WIRE_DEADLINE_MS 60000

void wire_begin(struct wire_msg *m, size_t props);
#define WIRE_REFUSAL_MAX 512u
struct wire_answer {
	struct exipc_reply reply;
	struct plist list; /* the reply, or the current row of a rowset; never without a head */
	size_t next;       /* offset of the next row in this reply */
	uint8_t refusal[WIRE_REFUSAL_MAX]; /* a copy of the list that came with a failure */
};
/* Frees *m whatever comes.  Returns the store's status (ST_OK, ST_MORE for SASL, ST_NOTFOUND ...) with the
 * store's words in err, or the transport's: ST_GONE, ST_TIMEOUT (outcome unknown).  After ST_OK and
 * ST_MORE *answer holds the checked first list and must be freed with wire_answer_free(); after anything
 * else there is nothing to free, and answer->list holds what the store said with its refusal (RETRY_MS,
 * DOMAIN_LOCAL ...) as long as the answer stays where it is. */
enum st wire_send(struct wire_msg *m, struct exipc_chan *chan, unsigned store_loop, enum wire_op op,
		  struct wire_answer *answer, struct err *err);
/* Step to the next row (the first row is in place after wire_send; an empty rowset gives ST_EOF at once:
 * call this for every row, the first too).  ST_OK: a->list; ST_EOF; or as wire_send.  When it moves on to
 * the next reply the block before is freed, and with it its pins; rows must be used before. */
enum st wire_next_row(struct wire_answer *a, struct err *err);
/* Take over the reply block that holds the current row (for scatter lists that are being sent): the next
 * wire_next_row will not free it; free it later with exipc_reply_free.  Returns false when already taken. */
bool wire_take_block(struct wire_answer *a, struct exipc_reply *out);
void wire_answer_free(struct wire_answer *a); /* always safe, also on a zeroed one */

/* ---- scatter lists (PR_BODY_SCATTER) ---- */

#define SCATTER_PAGE 4096u /* pages of the streaming file */

struct scatter_run {
	uint32_t page, pages;
};
/* In place in a reply; runs are unaligned: read with scatter_run(). */
struct scatter {
	uint64_t len; /* bytes of the body */
	uint32_t nruns;
	const char *runs;
};
void scatter_write(struct buf *out, uint64_t len, const struct scatter_run *runs, uint32_t nruns);
/* ST_BAD: not a scatter list, or its runs are not just as many pages as len needs.  The span must
 * live as long as *out. */
enum st scatter_read(struct span bytes, struct scatter *out, struct err *err);
struct scatter_run scatter_run(const struct scatter *s, uint32_t i);

/* ---- store's side ---- */

/* Rows of one rowset gathered into replies of at most about 32 KiB (a larger row goes alone).
 *	struct wire_rows_out o;
 *	wire_rows_begin(&o, rq);
 *	while (...) {
 *		wire_row_begin(&o, &w, 4);
 *		pw_u32(&w, ...);
 *		wire_row_end(&o, &w);
 *	}
 *	st = wire_rows_end(&o, ST_OK, &err);
 * What a row points to in the engine (scatter lists) is pinned for its reply: with `mark` set,
 * mark(owner) runs when the first row of a reply is begun, and release(what it returned) once the
 * client freed that reply or is gone. */
struct wire_rows_out {
	struct exipc_request *rq;
	struct buf bytes;
	void (*release)(void *arg); /* made for each reply by mark(), see above; may be NULL */
	void *(*mark)(void *owner); /* called when a reply is begun: returns arg for its release */
	void *owner, *arg;
	bool marked; /* arg belongs to the reply being gathered */
	size_t row;  /* where the row being written begins */
	enum st st;  /* the first failure; later rows are dropped */
};

void wire_rows_begin(struct wire_rows_out *o, struct exipc_request *rq);
/* A row's list; at most `props` properties. */
void wire_row_begin(struct wire_rows_out *o, struct pw *w, size_t props);
/* May send a reply, so it may park.  ST_OK; ST_TOOBIG: this row is larger than a reply can be: it was
 * dropped; ST_GONE: nobody listens any more. */
enum st wire_row_end(struct wire_rows_out *o, struct pw *w);
/* Throw away the row that was begun. */
void wire_row_drop(struct wire_rows_out *o);
/* The final reply: what is gathered and, when st is not ST_OK, the words of err.  Frees everything.
 * What it returns is st, or the first failure of a row. */
enum st wire_rows_end(struct wire_rows_out *o, enum st st, const struct err *err);

/* One final reply without rows: a list (may be NULL), or the words of err. */
void wire_reply(struct exipc_request *rq, enum st st, const struct buf *list,
		const struct err *err);

#endif
