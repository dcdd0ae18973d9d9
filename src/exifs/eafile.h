/* eafile.h - a message body as a virtual file, opened by its scatter list (seed "Informationsspeichertreiber",
 * outgoing steps 17-18: the EA file).
 *
 * It reads through the read-only descriptor of the streaming file; nothing is copied through the store.
 * The reply block that carried the scatter list is the pin: pages stay while it is held.  The EA file can take
 * that block over.  One loop. */
#ifndef EXIFS_EAFILE_H
#define EXIFS_EAFILE_H

#include "loop/conn.h"
#include "wire/wire.h"

struct eafile {
	struct scatter scatter; /* points into the reply block */
	struct exipc_fd *stream;
	struct exipc_chan *chan;
	uint64_t tag, epoch; /* the stream, and the binding whose pin keeps the pages */
};

/* From a row with PR_BODY_SCATTER and PR_STREAM_TAG.  The row's block must stay until eafile_close and until
 * everything sent from it has left (conn_on_sent).  ST_BAD: no or broken scatter list; ST_GONE: unbound. */
[[nodiscard]] enum st eafile_open(struct exipc_chan *chan, const struct plist *row,
				  struct eafile *out, struct err *err);
void eafile_close(struct eafile *f); /* a zeroed or closed one is fine */
static inline uint64_t eafile_len(const struct eafile *f)
{
	return f->scatter.len;
}
/* Read up to len bytes at offset (short only at the end).  Page-cache misses go to the work pool: fiber.
 * ST_GONE: the store was lost since it was opened, and with it the pin, or the database was closed; ST_IO. */
[[nodiscard]] enum st eafile_read(const struct eafile *f, uint64_t offset, void *out, size_t len,
				  size_t *got, struct err *err);
/* Queue [offset, offset + len), cut at the end, by reference (conn_send_file for each run): F of conn.h.  Holds
 * the stream's descriptor until it has left.  ST_GONE as above; else what the connection says. */
[[nodiscard]] enum st eafile_send(const struct eafile *f, struct conn *conn, uint64_t offset,
				  uint64_t len);

#endif
