/* pace.h - is a peer that hands in a message too slow?  (mailroot.conf: data_rate_min)
 *
 * Zeroed = nothing came yet.  Counts over windows of a minute, so that a pause is no fault.  One thread. */
#ifndef INET_PACE_H
#define INET_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inet_pace {
	int64_t since; /* begin of the window, clock_mono; 0: none began */
	uint64_t octets;
};

/* That many octets came, and it is `now` (clock_mono).  False: in the window that ends with them fewer than
 * `least` octets a second came. */
bool inet_pace(struct inet_pace *p, size_t octets, uint64_t least, int64_t now);

#endif
