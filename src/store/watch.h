/* watch.h - who wants to know when a folder, or the directory, changes.
 *
 * A watcher is a session of a client process: (binding, client loop, token).  It is found by FID, needs no loaded
 * mailbox, and dies with its binding.  Own loop. */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include "store/shard.h"

#define WATCHERS_MAX    200000 /* of a loop */
/* In the place of a FID, on loop 0: the directory.  (No folder has it: mailbox ids begin with 1.) */
#define WATCH_DIRECTORY 0

/* ST_EXISTS is none: the same watcher again is ST_OK.  ST_BUSY over the limit, ST_NOMEM. */
enum st watch_add(struct shard *sh, uint64_t fid, uint64_t binding, unsigned client_loop,
		  uint64_t token, struct err *err);
void watch_remove(struct shard *sh, uint64_t fid, uint64_t binding, unsigned client_loop,
		  uint64_t token);
void watch_binding_over(struct shard *sh, uint64_t binding);
void watchers_end(struct shard *sh); /* all: at the end of the store */
/* Let the watchers of all folders that `wanted` says yes to look again, as if there were news. */
void watch_stir(struct shard *sh, bool (*wanted)(void *arg, uint64_t fid), void *arg);
/* Tell all watchers of the folder that it now stands at cn. */
void watch_notify(struct shard *sh, uint64_t fid, uint64_t cn);

#endif
