/* fakeimap.h - fakestore.h for IMAP: a mailbox of three messages, and trouble on demand.
 *
 * Every row of an answer comes in a reply of its own.  A trouble strikes the n-th time since the client's log-on
 * that something is asked of the store: a request, the next reply, a section of shared memory. */
#ifndef TESTS_INET_FAKEIMAP_H
#define TESTS_INET_FAKEIMAP_H

#include "fakestore.h"

enum trouble {
	TROUBLE_NONE,
	TROUBLE_GONE,    /* this call's outcome is unknown */
	TROUBLE_TIMEOUT, /* likewise */
	TROUBLE_DIED,    /* from now on there is no store, up to the next client */
	TROUBLE_REFUSED, /* the statuses a store answers with */
	TROUBLE_FULL,
	TROUBLE_MISSING,
	TROUBLE_CORRUPT,
	TROUBLES
};
/* The first client meets troubles[0] at its first call, the next one at its second, ... up to `calls`, then
 * troubles[1] ...; nobody after that. */
void fakeimap_plan(unsigned calls);
/* The row of one message can't be read any more, the structure of another makes no sense; UIDs, 0: of none. */
void fakeimap_damage(uint32_t row, uint32_t structure);
/* The most calls that a client without trouble made. */
unsigned fakeimap_calls(void);

#endif
