/* process.h - what every daemon does first: signals become events of a loop, and descriptors are as many as may be. */
#ifndef MAIN_PROCESS_H
#define MAIN_PROCESS_H

#include "base/st.h"
#include "loop/loop.h"

struct signals {
	struct watch watch;
	void (*stop)(int number);
};

/* First thing in main(), before any thread.  SIGTERM and SIGINT wait for signals_watch() from here on; a peer that
 * closed is an error of a write and no signal; the limit of open files is raised to what is allowed. */
void process_begin(void);
/* How many files (and sockets) we may have open. */
uint64_t process_files_max(void);
/* Own loop: stop(number) runs for each signal, also for those that came before. */
enum st signals_watch(struct signals *s, void (*stop)(int number), struct err *err);

#endif
