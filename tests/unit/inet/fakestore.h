/* fakestore.h - a store that is none: it answers the calls of exipc.h with the contract of requests.def.
 *
 * One user, alice@mailroot.test, password "demo"; busy@mailroot.test's maildrop is always in use.  Her
 * maildrop holds a few messages in a streaming file of its own.  One thread. */
#ifndef TESTS_INET_FAKESTORE_H
#define TESTS_INET_FAKESTORE_H

#include "exipc/exipc.h"

/* Every message is there again, nobody holds the maildrop. */
void fakestore_reset(void);
void fakestore_close(void);
struct exipc_chan *fakestore_chan(void);
/* Replies and stream descriptors that were not given back; log-ons not ended; the maildrop's lock. */
unsigned fakestore_held(void);

#endif
