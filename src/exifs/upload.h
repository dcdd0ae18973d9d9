/* upload.h - a message body on its way into the store (seed "Informationsspeichertreiber", incoming steps 3 to 7).
 *
 * It is filled straight into shared memory.  What fits on one request (EXIPC_BULK_MAX sections) rides on it; what
 * is larger goes through a virtual file (IFS_CREATE, IFS_WRITE ...) whose token the request carries.
 *
 *	upload_begin(&u, chan, loop, deadline); u.mailboxes = ...
 *	while there is more: upload_room(&u, &at, &len, err), fill, upload_took(&u, n)
 *	wire_begin(&m, ...); upload_attach(&u, &m, err); wire_send(&m, chan, loop, ...)
 *	upload_end(&u)			whatever came
 *
 * Calls that may wait for the store or for sections: inside a fiber of the channel's loop. */
#ifndef EXIFS_UPLOAD_H
#define EXIFS_UPLOAD_H

#include "wire/wire.h"

struct upload {
	struct exipc_chan *chan;
	unsigned loop;    /* the store's */
	int64_t deadline; /* of everything; 0: WIRE_DEADLINE_MS for each step */
	struct exipc_section sections[EXIPC_BULK_MAX];
	uint32_t used[EXIPC_BULK_MAX];
	unsigned n;     /* sections held */
	uint64_t token; /* of the virtual file, 0: none */
	/* Where it will be, so that it is written into the right databases; set behind upload_begin(), the
	 * caller's.  None: the default database. */
	const uint64_t *mailboxes;
	size_t nmailboxes;
};

void upload_begin(struct upload *u, struct exipc_chan *chan, unsigned loop, int64_t deadline);
/* Where the next bytes go: *len (at least 1) bytes at *at.  Full sections are handed to the store before. */
[[nodiscard]] enum st upload_room(struct upload *u, char **at, size_t *len, struct err *err);
void upload_took(struct upload *u, size_t len); /* so many of them were filled */
[[nodiscard]] enum st upload_bytes(struct upload *u, struct span bytes,
				   struct err *err); /* copied */
/* Hand what is gathered to the store now. */
[[nodiscard]] enum st upload_flush(struct upload *u, struct err *err);
/* Put the body into a request: one property at most, or its sections.  ST_OK: it belongs to the request,
 * whatever comes of that; else the request must not be sent (buf_free(&m->bytes)). */
[[nodiscard]] enum st upload_attach(struct upload *u, struct wire_msg *m, struct err *err);
/* Give back what is still held; the store's virtual file ends. */
void upload_end(struct upload *u);

#endif
