#include "inet/pace.h"

#include "base/clock.h"

#define WINDOW_S 60

bool inet_pace(struct inet_pace *p, size_t octets, uint64_t least, int64_t now)
{
	bool ok;

	if (p->since == 0)
		p->since = now;
	p->octets += octets;
	if (now - p->since < WINDOW_S * NS_PER_SEC)
		return true;
	ok = p->octets >= least * WINDOW_S;
	*p = (struct inet_pace){ .since = now };
	return ok;
}
