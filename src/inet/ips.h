/* ips.h - who is connected from where: limits per client address.
 *
 * Any thread (a mutex, held for a look-up).  IPv4 addresses count one by one, IPv6 by their /64, which is
 * what one customer has.  Addresses that are quiet are forgotten, so the table is as large as the crowd
 * of the last minute. */
#ifndef INET_IPS_H
#define INET_IPS_H

#include "inet/host.h"

struct inet_ips_limits {
	unsigned connections;       /* at a time from one address; 0: no limit */
	unsigned rates[INET_RATES]; /* in a minute; 0: no limit */
};

struct inet_ips *ips_new(const struct inet_ips_limits *limits); /* NULL: out of memory */
void ips_free(struct inet_ips *ips);                            /* NULL is fine */
/* One connection more.  False: over a limit, and not counted.  Out of memory counts as within. */
bool ips_enter(struct inet_ips *ips, const struct in6_addr *ip);
void ips_leave(struct inet_ips *ips, const struct in6_addr *ip);
/* One event more of this kind.  False: over the limit. */
bool ips_take(struct inet_ips *ips, const struct in6_addr *ip, enum inet_rate what);
size_t ips_count(struct inet_ips *ips); /* addresses in the table */

/* The address of a connected socket, IPv4 as ::ffff:a.b.c.d; all zeroes when it is no IP socket. */
void ips_of_socket(int fd, struct in6_addr *out);

#endif
