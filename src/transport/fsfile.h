/* fsfile.h - the file work of the file-system driver: what runs on the work pool.  Private to the driver
 * (and its tests).  Everything here blocks. */
#ifndef TRANSPORT_FSFILE_H
#define TRANSPORT_FSFILE_H

#include "transport/dirsync.h"
#include "transport/fsdriver.h"
#include "transport/mailmsg_driver.h"

#define XATTR_PROPS "user.mailroot.properties"
#define XATTR_LIVE  "user.mailroot.properties-live"
/* Longer streams go to a side file at once: ext4 gives all attributes of a file one block of 4 KiB. */
#define XATTR_MAX   3072

/* A stream as it is kept: magic, length, CRC-32C of the list, the list; little-endian. */
#define FRAME_MAGIC 0x5350524Du /* "MRPS" */
#define FRAME_HEAD  12

struct fsdriver {
	struct mailmsg_driver head;
	int dir, queue, badmail;
	struct dirsync sync; /* of Queue */
	struct mailmsg_id *found;
	size_t nfound;
	bool no_xattr; /* tests: act as if the file system had none */
	/* Seam: called before every operation that changes the disk, with its name and the file's; 0, or the
	 * errno with which the operation is to fail undone.  Any thread. */
	int (*step)(void *arg, const char *op, const char *file);
	void *step_arg;
	_Atomic uint64_t committed, removed, file_syncs, side_files, discarded, badmails;
};

#define FSNAME_MAX (MAILMSG_NAME_MAX + 16)
/* "MR_...": with ".eml", ".tmp", ".stp", ".stl". */
void fs_name(struct mailmsg_id id, const char *extension, char out[static FSNAME_MAX]);
/* The inverse; *extension points into name.  False: not one of ours. */
bool fs_parse(const char *name, struct mailmsg_id *id, const char **extension);

/* Make Queue, Pickup, Badmail; lock; clean up what a crash left; find what waits. */
enum st fs_prepare(struct fsdriver *d, const char *dir, struct err *err);
enum st fs_write(struct fsdriver *d, struct mailmsg *m, struct err *err);
/* Up to the rename; the folder is to be synced next. */
enum st fs_commit(struct fsdriver *d, struct mailmsg *m, struct err *err);
void fs_discard(struct fsdriver *d, struct mailmsg_id id, bool renamed);
enum st fs_load(struct fsdriver *d, struct mailmsg *m, struct err *err);
enum st fs_put_live(struct fsdriver *d, struct mailmsg *m, struct err *err);
enum st fs_open(struct fsdriver *d, struct mailmsg *m, struct err *err);
enum st fs_read(struct mailmsg *m, uint64_t offset, void *out, size_t len, size_t *got,
		struct err *err);
/* Up to the unlink; the folder is to be synced next. */
enum st fs_remove(struct fsdriver *d, struct mailmsg *m, struct err *err);
/* Up to the rename into Badmail (whose folder is synced); Queue is to be synced next. */
enum st fs_badmail(struct fsdriver *d, struct mailmsg *m, const char *why, struct err *err);

/* The framed stream `list`, or ST_CORRUPT with the reason. */
void frame_write(struct buf *out, struct span list);
enum st frame_read(struct span bytes, struct span *list, struct err *err);

#endif
