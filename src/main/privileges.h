/* privileges.h - a program that root starts goes on as a user of its own (mailroot.conf: user_store, user_inet).
 *
 * Nothing happens here when we are not root, or when no user is named (""). */
#ifndef MAIN_PRIVILEGES_H
#define MAIN_PRIVILEGES_H

#include "base/st.h"

/* The folder, made if it is not there, and all in it belong to the user from now on.  One that does
 * already is left alone: what a user put into its own folder is not root's to give away. */
enum st privileges_give_folder(const char *path, const char *user, struct err *err);
enum st privileges_give_file(const char *path, const char *user, struct err *err);
/* For good, all threads.  ST_DENIED when the user can't even enter `home`. */
enum st privileges_drop(const char *user, const char *home, struct err *err);

#endif
