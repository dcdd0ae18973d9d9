/* mailmsg_driver.h - what stands behind a MailMsg: the contract between it and the drivers.
 *
 * Two drivers, one interface: the file-system driver (fsdriver.h, the seeds' NTFS driver) and, for mail that
 * begins in the store, the store driver.  Only the drivers and mailmsg.c include this.
 *
 * All operations marked F are called in a fiber and may park it; a driver is used from every loop at once. */
#ifndef TRANSPORT_MAILMSG_DRIVER_H
#define TRANSPORT_MAILMSG_DRIVER_H

#include "base/buf.h"
#include "transport/mailmsg.h"

struct mailmsg {
	struct mailmsg_driver *driver;
	struct mailmsg_id id;
	char name[MAILMSG_NAME_MAX];
	uint8_t guid[MAILMSG_GUID];
	bool committed;    /* durable under its name */
	bool failed;       /* a write failed: only free is left */
	bool on_disk;      /* a temporary file exists (not committed yet) */
	bool renamed;      /* it has its final name (but is not known to be durable) */
	bool live_aside;   /* the live stream is in a side file */
	bool props_aside;  /* so is the envelope */
	bool sides_known;  /* the two are so: it was made or loaded by this process */
	bool live_broken;  /* load found a live stream that is none */
	int fd;            /* the content, or -1 */
	uint64_t size;     /* octets of content, gathered ones included */
	uint32_t crc;      /* CRC-32C of it */
	struct buf gather; /* content not yet given to the driver */
	struct buf props;  /* property stream, in memory when len > 0 */
	struct buf live;   /* live stream */
};

struct mailmsg_ops {
	const char *name;
	/* F: write out m->gather at the content's end and empty it. */
	enum st (*write)(struct mailmsg *m, struct err *err);
	/* F: the rest of the content and m->props become durable; m->committed. */
	enum st (*commit)(struct mailmsg *m, struct err *err);
	/* Remove what an uncommitted message left; own loop's thread, any context. */
	void (*discard)(struct mailmsg *m);
	/* F: fill m->props and m->live, both checked; m->size, m->guid, m->crc. */
	enum st (*load)(struct mailmsg *m, struct err *err);
	/* F: m->live becomes durable. */
	enum st (*put_live)(struct mailmsg *m, struct err *err);
	/* F */
	enum st (*read)(struct mailmsg *m, uint64_t offset, void *out, size_t len, size_t *got,
			struct err *err);
	enum st (*remove)(struct mailmsg *m, struct err *err);
	enum st (*badmail)(struct mailmsg *m, const char *why, struct err *err);
};

/* The head of every driver's own struct. */
struct mailmsg_driver {
	const struct mailmsg_ops *ops;
};

#endif
