/* watch.c - the store's notifications find who waits for them. */
#include "inet/session.h"

void inet_watch(struct inet_loop *il, struct inet_watcher *w)
{
	struct inet_watcher **bucket;

	w->token = ++il->next_token;
	bucket = &il->watchers[w->token % INET_WATCH_BUCKETS];
	w->next = *bucket;
	*bucket = w;
}

void inet_unwatch(struct inet_loop *il, struct inet_watcher *w)
{
	struct inet_watcher **at = &il->watchers[w->token % INET_WATCH_BUCKETS];

	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	w->token = 0;
}

void inet_notified(struct inet_loop *il, uint64_t token, uint64_t value)
{
	struct inet_watcher *w = il->watchers[token % INET_WATCH_BUCKETS];

	while (w && w->token != token)
		w = w->next;
	if (w)
		w->changed(w->arg, value);
}
