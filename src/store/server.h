/* server.h - the store as a whole: opened, served, stopped.
 *
 * The loops are the caller's:
 *	server_open(...)		before they run
 *	server_start(...)		on loops[0], at its first turn
 *	server_stop(...)		on loops[0]; when done() was called the loops are stopped
 *	server_close(...)		when none runs any more, before they are freed */
#ifndef STORE_SERVER_H
#define STORE_SERVER_H

#include "base/config.h"
#include "base/finding.h"
#include "loop/loop.h"

struct server;

struct server_options {
	const struct config *conf; /* must outlive the server */
	struct loop **loops;       /* at most EXIPC_LOOPS_MAX; the array must outlive the server */
	unsigned nloops;
	int listen_fd; /* the inherited ExIPC socket, taken over; -1: make HOME/run/exipc */
	/* The engine can't write any more: an engine thread, once.  The process must end: what is in memory is
	 * not what is on disk. */
	void (*broken)(const struct err *why);
	/* The home is locked and the socket bound, no database was touched: who started as root gives that up here.  What
	 * it returns is server_open()'s result unless ST_OK.  May be NULL. */
	enum st (*locked)(struct err *err);
	/* Stored bytes were found damaged: any thread, each once.  May be NULL. */
	void (*found)(const struct finding *f);
	/* Recovery goes on; may be NULL. */
	void (*progress)(const char *what, uint64_t done, uint64_t total);
};

/* Lock the home, open every group and database of it (database.h), make those of a new home.  ST_BUSY: another store
 * runs on this home; ST_CORRUPT, ST_IO ... as the engine says. */
enum st server_open(const struct server_options *o, struct server **out, struct err *err);
/* Groups and databases that could not be opened, each with its reason: what an administrator must be told.  Before
 * server_start(). */
void server_troubles(const struct server *s, void (*tell)(const char *what, const char *why));
/* Take requests. */
enum st server_start(struct server *s, struct err *err);
/* Refuse new requests, let those under way end (but no longer than ten seconds), then done(arg). */
void server_stop(struct server *s, void (*done)(void *arg), void *arg);
/* Finish what is queued at the engine, checkpoint, close, unlock.  NULL is fine. */
void server_close(struct server *s);

#endif
