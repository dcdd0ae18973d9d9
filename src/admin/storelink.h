/* storelink.h - the administrator's way to the store: over ExIPC, whether the server runs or not.
 *
 * When nobody holds the home's lock, a private mailroot-store is started on it for the time of the
 * command: there is one way to change a store, and it is the store. */
#ifndef ADMIN_STORELINK_H
#define ADMIN_STORELINK_H

#include "wire/wire.h"

/* Bind to the store of `home` as "admin", run ask(arg, chan) in a fiber on a loop of its own, and unbind.
 * Returns ask's status, or why there was no binding: ST_GONE (not running and cannot be started), ST_DENIED,
 * ST_TIMEOUT. */
enum st storelink_run(const char *home,
		      enum st (*ask)(void *arg, struct exipc_chan *chan, struct err *err),
		      void *arg, struct err *err);

/* For a command that stays: ask() begins at once and waits for the binding itself (exipc_wait_bound), as often as it
 * is lost.  `start`: start a private store when nobody holds the home.  notify and state as in exipc_client_options, with ask's arg. */
struct storelink_follow {
	enum st (*ask)(void *arg, struct exipc_chan *chan, struct err *err);
	void (*notify)(void *arg, struct exipc_chan *chan, uint64_t token, uint64_t value);
	void (*state)(void *arg, bool bound);
	void *arg;
	bool start;
};
enum st storelink_follow(const char *home, const struct storelink_follow *f, struct err *err);

#endif
