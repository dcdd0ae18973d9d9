#include "inet/ips.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BUCKETS   4096
#define MINUTE    (60 * NS_PER_SEC)
#define SWEEP_MIN 1024

/* A count since the start of a window of one minute. */
struct rate {
	int64_t since;
	unsigned n;
};

struct row {
	struct in6_addr key;
	unsigned connections;
	struct rate rates[INET_RATES];
	struct row *next;
};

struct inet_ips {
	pthread_mutex_t lock;
	struct inet_ips_limits limits;
	size_t count, sweep_at;
	struct row *buckets[BUCKETS];
};

struct inet_ips *ips_new(const struct inet_ips_limits *limits)
{
	struct inet_ips *ips = calloc(1, sizeof(*ips));

	if (!ips)
		return NULL;
	pthread_mutex_init(&ips->lock, NULL);
	ips->limits = *limits;
	ips->sweep_at = SWEEP_MIN;
	return ips;
}

void ips_free(struct inet_ips *ips)
{
	if (!ips)
		return;
	for (size_t b = 0; b < BUCKETS; b++) {
		while (ips->buckets[b]) {
			struct row *r = ips->buckets[b];

			ips->buckets[b] = r->next;
			free(r);
		}
	}
	pthread_mutex_destroy(&ips->lock);
	free(ips);
}

static struct in6_addr key_of(const struct in6_addr *ip)
{
	struct in6_addr key = *ip;

	if (!IN6_IS_ADDR_V4MAPPED(ip))
		memset(key.s6_addr + 8, 0, 8);
	return key;
}

static struct row **place(struct inet_ips *ips, const struct in6_addr *key)
{
	uint64_t h = 0xCBF29CE484222325u;
	struct row **at;

	for (size_t i = 0; i < sizeof(key->s6_addr); i++)
		h = (h ^ key->s6_addr[i]) * 0x100000001B3u;
	at = &ips->buckets[(h >> 32) % BUCKETS];
	while (*at && !IN6_ARE_ADDR_EQUAL(&(*at)->key, key))
		at = &(*at)->next;
	return at;
}

static bool quiet(const struct row *r, int64_t now)
{
	if (r->connections > 0)
		return false;
	for (unsigned i = 0; i < INET_RATES; i++)
		if (r->rates[i].n > 0 && now - r->rates[i].since < MINUTE)
			return false;
	return true;
}

static void drop(struct inet_ips *ips, struct row **at)
{
	struct row *r = *at;

	*at = r->next;
	free(r);
	ips->count--;
}

static void sweep(struct inet_ips *ips, int64_t now)
{
	for (size_t b = 0; b < BUCKETS; b++) {
		struct row **at = &ips->buckets[b];

		while (*at) {
			if (quiet(*at, now))
				drop(ips, at);
			else
				at = &(*at)->next;
		}
	}
	ips->sweep_at = ips->count * 2 > SWEEP_MIN ? ips->count * 2 : SWEEP_MIN;
}

/* Found or made; NULL: out of memory. */
static struct row *row_of(struct inet_ips *ips, const struct in6_addr *ip, int64_t now)
{
	struct in6_addr key = key_of(ip);
	struct row **at = place(ips, &key);

	if (*at)
		return *at;
	if (ips->count >= ips->sweep_at) {
		sweep(ips, now);
		at = place(ips, &key);
	}
	*at = calloc(1, sizeof(**at));
	if (*at) {
		(*at)->key = key;
		ips->count++;
	}
	return *at;
}

static bool rate_take(struct rate *rate, unsigned limit, int64_t now)
{
	if (limit == 0)
		return true;
	if (rate->n == 0 || now - rate->since >= MINUTE)
		*rate = (struct rate){ .since = now };
	if (rate->n >= limit)
		return false;
	rate->n++;
	return true;
}

bool ips_enter(struct inet_ips *ips, const struct in6_addr *ip)
{
	int64_t now = clock_mono();
	struct row *r;
	bool ok;

	pthread_mutex_lock(&ips->lock);
	r = row_of(ips, ip, now);
	ok = !r ||
	     ((ips->limits.connections == 0 || r->connections < ips->limits.connections) &&
	      rate_take(&r->rates[INET_RATE_CONNECTS], ips->limits.rates[INET_RATE_CONNECTS], now));
	if (ok && r)
		r->connections++;
	pthread_mutex_unlock(&ips->lock);
	return ok;
}

void ips_leave(struct inet_ips *ips, const struct in6_addr *ip)
{
	struct in6_addr key = key_of(ip);
	struct row **at;

	pthread_mutex_lock(&ips->lock);
	at = place(ips, &key);
	if (*at && (*at)->connections > 0)
		(*at)->connections--;
	if (*at && quiet(*at, clock_mono()))
		drop(ips, at);
	pthread_mutex_unlock(&ips->lock);
}

bool ips_take(struct inet_ips *ips, const struct in6_addr *ip, enum inet_rate what)
{
	int64_t now = clock_mono();
	struct row *r;
	bool ok = true;

	if (ips->limits.rates[what] == 0)
		return true;
	pthread_mutex_lock(&ips->lock);
	r = row_of(ips, ip, now);
	if (r)
		ok = rate_take(&r->rates[what], ips->limits.rates[what], now);
	pthread_mutex_unlock(&ips->lock);
	return ok;
}

size_t ips_count(struct inet_ips *ips)
{
	size_t n;

	pthread_mutex_lock(&ips->lock);
	n = ips->count;
	pthread_mutex_unlock(&ips->lock);
	return n;
}

void ips_of_socket(int fd, struct in6_addr *out)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t len = sizeof(peer);

	memset(out, 0, sizeof(*out));
	if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
		return;
	if (peer.ss_family == AF_INET6) {
		*out = ((struct sockaddr_in6 *)&peer)->sin6_addr;
	} else if (peer.ss_family == AF_INET) {
		out->s6_addr[10] = out->s6_addr[11] = 0xFF;
		memcpy(out->s6_addr + 12, &((struct sockaddr_in *)&peer)->sin_addr, 4);
	}
}
