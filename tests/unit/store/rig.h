/* rig.h - a whole store and a client of it in one process, over real shared memory and a real engine.
 *
 * Tests run as fibers of the client's loop.  A failed check ends the program: cmocka can't jump out of
 * a fiber. */
#ifndef TESTS_STORE_RIG_H
#define TESTS_STORE_RIG_H

#include "base/config.h"
#include "base/uset.h"
#include "loop/loop.h"
#include "store/server.h"
#include "wire/search.h"
#include "wire/wire.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#undef fail /* ours is base/st.h */

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
#define CHECK_ST(call, want)                                                                       \
	do {                                                                                       \
		enum st got_ = (call);                                                             \
		if (got_ != (want)) {                                                              \
			fprintf(stderr, "%s:%d: %s is %s, not %s: %s\n", __FILE__, __LINE__,       \
				#call, st_name(got_), st_name(want), rig_err.text);                \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define RIG_LOOPS_MAX 4

struct rig {
	char home[64];
	struct config *conf;
	struct server *server;
	unsigned nloops;
	struct loop *loops[RIG_LOOPS_MAX];
	pthread_t threads[RIG_LOOPS_MAX];
	struct loop *client_loop;
	pthread_t client_thread;
	struct exipc_client *host, *admin;
	sem_t turn;
	/* the newest notification */
	uint64_t token, value;
	unsigned notified;
};

extern struct err rig_err; /* what the last call said */

/* A home with settings for tests, and more of them (lines of mailroot.conf, or ""). */
void rig_make(struct rig *r, const char *settings);
void rig_up(struct rig *r, unsigned loops); /* start the store, bind both clients */
/* The client goes without a word and another one comes. */
void rig_new_client(struct rig *r);
void rig_down(struct rig *r);   /* stop all; the home stays */
void rig_remove(struct rig *r); /* the home goes */
/* Run fn(r) in a fiber on the client's loop and wait for its end. */
void rig_run(struct rig *r, void (*fn)(struct rig *r));

/* ---- inside the fiber ---- */

struct exipc_chan *rig_chan(struct rig *r);
struct exipc_chan *rig_admin(struct rig *r);

/* A session: who is logged on. */
struct who {
	struct rig *r;
	uint64_t logon, mailbox;
};

enum st rig_add_domain(struct rig *r, const char *domain);
enum st rig_add_user(struct rig *r, const char *user, const char *password, uint64_t *mailbox);
enum st rig_login(struct rig *r, const char *user, const char *password, struct who *out);
/* domain mailroot.test, users alice and bob, password "demo" */
void rig_people(struct rig *r);

enum st rig_deliver(struct rig *r, const char *guid16, const uint64_t *mailboxes, size_t n,
		    const char *text, size_t len, enum st *statuses);
/* One message for one mailbox, by a guid of its own; must succeed. */
void rig_mail(struct rig *r, uint64_t mailbox, const char *text);

/* Begin a request that carries LOGON; send it to its mailbox's loop. */
void rig_begin(struct wire_msg *m, const struct who *w, size_t props);
enum st rig_send(struct wire_msg *m, const struct who *w, enum wire_op op, struct wire_answer *a);
/* ... and be done with it when the answer does not matter. */
enum st rig_do(struct wire_msg *m, const struct who *w, enum wire_op op);

/* SELECT (or EXAMINE); *fid, *uids (an empty set; may be NULL), *cn (may be NULL). */
enum st rig_select(const struct who *w, const char *path, bool readonly, uint64_t *fid,
		   struct uset *uids, uint64_t *cn);
void rig_put_uids(struct wire_msg *m, uint32_t tag, const char *text); /* "1:3,7" */
enum st rig_store(const struct who *w, uint64_t fid, const char *uids, enum wire_store_mode mode,
		  uint32_t flags, const char *keyword);
enum st rig_expunge(const struct who *w, uint64_t fid, char *gone, size_t room);
enum st rig_copy(const struct who *w, uint64_t fid, const char *uids, const char *path, bool move,
		 char *to, size_t room);
enum st rig_append(const struct who *w, const char *path, const char *text, uint32_t flags,
		   uint32_t *uid);
enum st rig_path_op(const struct who *w, enum wire_op op, const char *path, const char *to);
/* The body of one message, read through its scatter list.  Free *out. */
enum st rig_body(const struct who *w, uint64_t fid, uint32_t uid, struct buf *out);
/* What a row's scatter list points to. */
void rig_read_scatter(struct rig *r, const struct plist *row, struct buf *out);
enum st rig_search(const struct who *w, uint64_t fid, const struct search_node *program,
		   char *found, size_t room);
/* A set as text. */
void rig_set_text(struct span bytes, char *out, size_t room);

#endif
