/* signals.h - SIGTERM and SIGINT, as events of a loop. */
#ifndef MAIN_SIGNALS_H
#define MAIN_SIGNALS_H

#include "base/st.h"
#include "loop/loop.h"

struct signals {
	struct watch watch;
	void (*stop)(int number);
};

/* First thing in main(), before any thread: from here on they wait for signals_watch().  A peer that closed is
 * an error of a write and no signal. */
void signals_block(void);
/* Own loop: stop(number) runs for each signal, also for those that came before. */
enum st signals_watch(struct signals *s, void (*stop)(int number), struct err *err);

#endif
