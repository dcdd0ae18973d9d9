#include "store/logon.h"

#include <stdlib.h>

static struct logon *logon_of(struct hnode *n)
{
	return HNODE_OF(struct logon, node, n);
}

enum st logon_new(struct shard *sh, uint64_t binding, uint64_t mailbox, uint64_t *number,
		  struct err *err)
{
	struct logon *l;
	uint64_t key;

	if (sh->logons.count >= LOGONS_MAX)
		return fail(err, ST_BUSY, "%d sessions are logged on already", LOGONS_MAX);
	do
		key = shard_draw(sh);
	while (hmap_get(&sh->logons, key));
	l = calloc(1, sizeof *l);
	if (!l || !hmap_put(&sh->logons, &l->node, key)) {
		free(l);
		return fail(err, ST_NOMEM, "out of memory");
	}
	l->binding = binding;
	l->mailbox = mailbox;
	sh->logons_now = sh->logons.count;
	*number = key;
	return ST_OK;
}

enum st logon_find(struct shard *sh, uint64_t binding, uint64_t number, const struct logon **out,
		   struct err *err)
{
	struct hnode *n = hmap_get(&sh->logons, number);

	if (!n || logon_of(n)->binding != binding)
		return fail(err, ST_DENIED, "not logged on");
	*out = logon_of(n);
	return ST_OK;
}

static void logon_free(struct shard *sh, struct logon *l)
{
	struct hnode *n = hmap_get(&sh->mailboxes, l->mailbox);
	struct mailbox *mb = n ? HNODE_OF(struct mailbox, node, n) : NULL;

	if (mb && mb->maildrop_logon == l->node.key)
		mb->maildrop_logon = 0;
	hmap_remove(&sh->logons, &l->node);
	sh->logons_now = sh->logons.count;
	free(l);
}

enum st logon_end(struct shard *sh, uint64_t binding, uint64_t number, struct err *err)
{
	struct hnode *n = hmap_get(&sh->logons, number);

	if (!n || logon_of(n)->binding != binding)
		return fail(err, ST_NOTFOUND, "not logged on");
	logon_free(sh, logon_of(n));
	return ST_OK;
}

struct ending {
	struct shard *sh;
	uint64_t binding, mailbox;
};

static void end_one(void *arg, struct hnode *n)
{
	const struct ending *e = arg;
	struct logon *l = logon_of(n);

	if (l->binding == e->binding || l->mailbox == e->mailbox)
		logon_free(e->sh, l);
}

/* Bindings and mailboxes are never number 0. */
void logons_end_binding(struct shard *sh, uint64_t binding)
{
	struct ending e = { .sh = sh, .binding = binding };

	hmap_each(&sh->logons, end_one, &e);
}

void logons_end_mailbox(struct shard *sh, uint64_t mailbox)
{
	struct ending e = { .sh = sh, .mailbox = mailbox };

	hmap_each(&sh->logons, end_one, &e);
}

static void end_any(void *arg, struct hnode *n)
{
	logon_free(arg, logon_of(n));
}

void logons_end(struct shard *sh)
{
	hmap_each(&sh->logons, end_any, sh);
}
