/* restore_home.h - what mailroot ese restore does; others may restore groups to some folder (ese/restore.h). */
#ifndef ADMIN_RESTORE_HOME_H
#define ADMIN_RESTORE_HOME_H

#include "ese/restore.h"

/* The home of the server that is to be made: no server of it runs, and none can be started while this is held; it has no
 * groups.  Makes the folder.  ST_BUSY: a server runs on it; ST_EXISTS: it has groups, the sentence names one. */
enum st home_claim(const char *home, int *lock_fd, struct err *err);
/* Is there room for its queue?  Asked before long work.  ST_EXISTS: the new home has a queue. */
enum st home_queue_room(const char *home, const char *dead, struct err *err);
/* The queue of the home `dead`, if it is one: what it acknowledged and had not delivered yet.  *taken_out: there was one.  ST_EXISTS:
 * the new home has a queue. */
enum st home_take_queue(const char *home, const char *dead, bool *taken_out, struct err *err);
/* Groups that were restored to HOME/groups.restoring, mailroot.conf and tls of the backup where there are none, in place. */
enum st home_put(const char *home, const char *backup, struct err *err);

#endif
