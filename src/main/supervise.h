/* supervise.h - programs that are kept running: start, watch, restart with back-off, stop in order.
 *
 * One loop.  A child inherits the descriptors it was given, is told with "--ready-fd N" where to write one
 * byte when it serves, and gets SIGTERM when this process dies.  A child that ends before it ever
 * served is not restarted: its own words on standard error say why, and it is CHILD_STOPPED.  One that served
 * is started again at once, then after 50 ms, 100 ms ... 10 s; ten seconds of service begin that anew. */
#ifndef MAIN_SUPERVISE_H
#define MAIN_SUPERVISE_H

#include "base/st.h"
#include "loop/loop.h"

#include <sys/types.h>

#define CHILD_ARGS_MAX 64
#define CHILD_FDS_MAX  64

enum child_state { CHILD_STOPPED, CHILD_STARTING, CHILD_SERVING, CHILD_WAITING, CHILD_STOPPING };

struct child {
	const char *name;           /* "store", "inet" */
	char *args[CHILD_ARGS_MAX]; /* args[0] is the program's path; NULL ends */
	int fds[CHILD_FDS_MAX];     /* kept open in the child, same numbers; -1 ends */
	void (*changed)(void *arg, struct child *c); /* its state is another one now */
	void *arg;

	enum child_state state;
	pid_t pid;
	unsigned restarts;
	int last_status; /* of waitid: code << 8 | status; 0 none */
	bool ever_served;
	int64_t started, backoff_ms;
	struct watch pid_watch, ready_watch;
	struct timer timer;
};

/* Start it (state CHILD_STARTING).  Own loop. */
enum st child_start(struct child *c, struct err *err);
/* SIGTERM, after patience_ms SIGKILL; ends in CHILD_STOPPED.  One that is stopped already changes nothing. */
void child_stop(struct child *c, int patience_ms);
const char *child_state_name(enum child_state s);

#endif
