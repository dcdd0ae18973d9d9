/* standby_folder.h - take in log files that lie in a folder: another server's, or what `mailroot ese ship --to` wrote. */
#ifndef ADMIN_STANDBY_FOLDER_H
#define ADMIN_STANDBY_FOLDER_H

#include "admin/standby_home.h"

/* DIR/groups/NAME, DIR/NAME, or DIR itself when it holds log files.  ST_NOTFOUND: none of them. */
enum st standby_folder_of(const char *dir, const char *group, char out[4400], struct err *err);

/* Everything that can be read there behind what the group has: taken, not settled.  *more: something was.  Closed
 * files and the open one, in either form.  ST_OK; ST_BAD: they do not follow; ST_CORRUPT: damaged, what was before that
 * was taken; ST_NOTFOUND: the next file is gone, later ones are there. */
enum st standby_folder_take(struct standby_group *g, const char *dir, bool *more, struct err *err);

/* The same for every group of the home. */
enum st standby_folder_take_all(struct standby *s, const char *from, bool *more, struct err *err);

#endif
