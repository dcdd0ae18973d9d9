/* powercut.h - what powercut.c (interposition) and powercut_model.c (what a disk would keep) share.
 *
 * A library for LD_PRELOAD.  It watches the files below one folder and, at the n-th operation that changes
 * anything, makes that folder look as after a power cut: what was not synced is lost, kept or torn; then it
 * ends the process with POWERCUT_EXIT.
 *
 *	POWERCUT_ROOT    absolute path of the folder
 *	POWERCUT_AT      n; 0 or absent: never, only count
 *	POWERCUT_SEED    for the choices
 *	POWERCUT_MODE    lose: nothing unsynced is kept; keep: all of it; tear (default): some writes whole,
 *	                 some by 512-byte sectors, some not at all, and names up to some point in time
 *	                 or, instead of a cut, the n-th operation fails once and the process goes on: eio, enospc,
 *	                 short (a write takes half of its bytes), read (the n-th read fails; reads are counted then)
 *	POWERCUT_REPORT  a file (outside the folder) for one line at the end: operations, and where it was cut
 *
 * Counted: writes, truncations, extended attributes, creations, renames, links, removals, syncs.  The n-th one has begun when
 * the power goes: a write may be torn, a sync has made nothing durable, a rename may or may not have happened.
 *
 * The model: fsync/fdatasync of a file makes its bytes, length and attributes durable, not its name; fsync of a folder
 * makes the names in it durable; a write through O_SYNC/O_DSYNC/RWF_DSYNC/RWF_SYNC is durable when it returns. Writes that are
 * not synced reach the disk in any subset; changes of names only in their order; a punched hole is zeros written.  Real syncs are left out (the
 * machine stays up), which makes thousands of runs cheap. Not seen: mmap, io_uring, stdio. */
#ifndef POWERCUT_H
#define POWERCUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define POWERCUT_EXIT 86

struct file; /* a file's bytes, by inode, while something of it is not synced */

/* All with the library's lock held. */
struct file *model_file(int fd); /* the model of an open file */
/* Before the change is made: remember what it replaces. */
void model_write(struct file *f, const void *at, size_t len, uint64_t off, bool durable);
void model_resize(struct file *f, uint64_t len);
void model_xattr(struct file *f, const char *name, const void *value, size_t len, bool remove);
void model_sync_file(int fd);

enum name_op { NAME_CREATE, NAME_REMOVE, NAME_RENAME, NAME_MKDIR, NAME_RMDIR };
/* A name below `dir` (an open folder).  For REMOVE and RENAME call before, so that the victim can be kept. */
void model_name(enum name_op op, int dir, const char *name, int dir2, const char *name2);
void model_name_failed(void); /* the last model_name did not come to pass; errno is kept */
void model_sync_dir(int fd);

/* The power goes. */
void model_cut(uint64_t seed, const char *mode);

/* The real calls, found by powercut.c. */
ssize_t real_pread(int fd, void *at, size_t len, off_t off);
ssize_t real_pwrite(int fd, const void *at, size_t len, off_t off);

#endif
