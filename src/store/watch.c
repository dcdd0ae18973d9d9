#include "store/watch.h"

#include <stdlib.h>

struct watcher {
	struct watcher *next;
	uint64_t binding, token;
	unsigned client_loop;
};

/* All watchers of one folder. */
struct watched {
	struct hnode node; /* by fid */
	struct watcher *first;
};

static struct watched *watched_get(const struct shard *sh, uint64_t fid)
{
	struct hnode *n = hmap_get(&sh->watched, fid);

	return n ? HNODE_OF(struct watched, node, n) : NULL;
}

static struct watcher **watcher_at(struct watched *w, uint64_t binding, unsigned client_loop,
				   uint64_t token)
{
	struct watcher **at = &w->first;

	while (*at && ((*at)->token != token || (*at)->binding != binding ||
		       (*at)->client_loop != client_loop))
		at = &(*at)->next;
	return at;
}

enum st watch_add(struct shard *sh, uint64_t fid, uint64_t binding, unsigned client_loop,
		  uint64_t token, struct err *err)
{
	struct watched *w = watched_get(sh, fid);
	struct watcher *one;

	if (w && *watcher_at(w, binding, client_loop, token))
		return ST_OK;
	if (sh->watchers >= WATCHERS_MAX)
		return fail(err, ST_BUSY, "%d folders are watched already", WATCHERS_MAX);
	one = malloc(sizeof *one);
	if (!w && one) {
		w = calloc(1, sizeof *w);
		if (w && !hmap_put(&sh->watched, &w->node, fid)) {
			free(w);
			w = NULL;
		}
	}
	if (!one || !w) {
		free(one);
		return fail(err, ST_NOMEM, "out of memory");
	}
	*one = (struct watcher){ w->first, binding, token, client_loop };
	w->first = one;
	sh->watchers++;
	return ST_OK;
}

static void watcher_cut(struct shard *sh, struct watcher **at)
{
	struct watcher *one = *at;

	*at = one->next;
	free(one);
	sh->watchers--;
}

static void watched_tidy(struct shard *sh, struct watched *w)
{
	if (w->first)
		return;
	hmap_remove(&sh->watched, &w->node);
	free(w);
}

void watch_remove(struct shard *sh, uint64_t fid, uint64_t binding, unsigned client_loop,
		  uint64_t token)
{
	struct watched *w = watched_get(sh, fid);
	struct watcher **at;

	if (!w || !*(at = watcher_at(w, binding, client_loop, token)))
		return;
	watcher_cut(sh, at);
	watched_tidy(sh, w);
}

struct binding_over {
	struct shard *sh;
	uint64_t binding;
};

static void forget_binding(void *arg, struct hnode *n)
{
	const struct binding_over *over = arg;
	struct watched *w = HNODE_OF(struct watched, node, n);

	for (struct watcher **at = &w->first; *at;)
		if ((*at)->binding == over->binding)
			watcher_cut(over->sh, at);
		else
			at = &(*at)->next;
	watched_tidy(over->sh, w);
}

void watch_binding_over(struct shard *sh, uint64_t binding)
{
	struct binding_over over = { sh, binding };

	hmap_each(&sh->watched, forget_binding, &over);
}

static void forget_all(void *arg, struct hnode *n)
{
	struct watched *w = HNODE_OF(struct watched, node, n);

	while (w->first)
		watcher_cut(arg, &w->first);
	watched_tidy(arg, w);
}

void watchers_end(struct shard *sh)
{
	hmap_each(&sh->watched, forget_all, sh);
}

void watch_notify(struct shard *sh, uint64_t fid, uint64_t cn)
{
	struct watched *w = watched_get(sh, fid);

	if (!w)
		return;
	for (struct watcher *one = w->first; one; one = one->next)
		exipc_notify(sh->store->ipc, one->binding, one->client_loop, one->token, cn);
}

struct stirring {
	struct shard *sh;
	bool (*wanted)(void *arg, uint64_t fid);
	void *arg;
};

static void stir_one(void *arg, struct hnode *n)
{
	const struct stirring *s = arg;

	if (n->key != WATCH_DIRECTORY && s->wanted(s->arg, n->key))
		watch_notify(s->sh, n->key, UINT64_MAX);
}

void watch_stir(struct shard *sh, bool (*wanted)(void *arg, uint64_t fid), void *arg)
{
	struct stirring s = { sh, wanted, arg };

	hmap_each(&sh->watched, stir_one, &s);
}
