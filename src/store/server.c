#include "store/server.h"

#include "base/disk.h"
#include "base/standby.h"
#include "store/call.h"
#include "store/content.h"
#include "store/database.h"
#include "store/found.h"
#include "store/directory.h"
#include "store/keep.h"
#include "store/exbackup.h"
#include "store/mount.h"
#include "store/relocate.h"
#include "store/exship.h"
#include "store/sasl.h"
#include "store/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define INDEX_MEMORY    (128u * 1024 * 1024) /* folder indexes of all loops */
#define FIBERS_MAX_PAIR 256 /* of one (client loop, store loop) pair: passwords may wait in many */
#define BACKLOG         16
#define STOP_MS         10000
#define BATCH_MAX       (1024u * 1024)
#define NS_PER_DAY      (24 * 60 * 60 * NS_PER_SEC)

struct server {
	struct store store;
	struct server_options options;
	int lock_fd, listen_fd;
	uid_t host_uid; /* besides our own and root's */
	bool closing;
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct timer patience;
};

/* ---- bindings ---- */

/* The name says what a client is; the kernel says whether it may be that. */
static enum st bind_client(void *arg, uint64_t binding, const char *name, uint32_t uid,
			   uint32_t pid, void **data, struct err *err)
{
	struct server *s = arg;
	bool admin = !strcmp(name, "admin"), host = !strcmp(name, "inet") || !strcmp(name, "fs");
	bool trusted = uid == 0 || uid == geteuid();
	struct client *c;

	(void)binding;
	if (!admin && !host)
		return fail(err, ST_DENIED, "'%s' is no program of this server", name);
	if (!trusted && !(host && uid == s->host_uid))
		return fail(err, ST_DENIED, "user %u (process %u) may not be '%s'", uid, pid, name);
	c = calloc(1, sizeof *c);
	if (!c)
		return fail(err, ST_NOMEM, "out of memory");
	c->roles = admin ? ROLE_ADMIN : ROLE_HOST;
	snprintf(c->name, sizeof c->name, "%s", name);
	*data = c;
	return ST_OK;
}

static void forget_binding(struct shard *sh, uint64_t binding)
{
	logons_end_binding(sh, binding);
	watch_binding_over(sh, binding);
	vfiles_end_binding(sh, binding);
	backup_binding_over(sh, binding);
	if (sh->index == 0)
		sasl_end_binding(sh->store->sasl, binding);
}

static void unbound(void *arg, uint64_t binding, void *data)
{
	struct server *s = arg;

	(void)data;
	if (!s->closing)
		forget_binding(shard_here(&s->store), binding);
}

static void forget_late(struct shard *sh, void *arg)
{
	forget_binding(sh, *(uint64_t *)arg);
	free(arg);
}

/* A request of one loop may have left something on another whose part was over already. */
static void unbound_all(void *arg, uint64_t binding, void *data)
{
	struct server *s = arg;

	/* Once the store stops, the other loops may have ended already. */
	for (unsigned i = 0; i < s->store.nshards && !s->store.stopping; i++) {
		uint64_t *id = malloc(sizeof *id);

		if (!id)
			panic("out of memory");
		*id = binding;
		shard_post(&s->store.shards[i], forget_late, id);
	}
	free(data);
}

/* ---- requests ---- */

/* On loop 0. */
static void stop_now(void *arg)
{
	struct server *s = arg;
	void (*stopped)(void *arg) = s->stopped;

	s->stopped = NULL;
	timer_clear(&s->patience);
	if (stopped)
		stopped(s->stopped_arg);
}

static void idle(struct store *store)
{
	loop_post(store->shards[0].loop, stop_now, HNODE_OF(struct server, store, store));
}

static void request(void *arg, struct exipc_request *rq)
{
	struct server *s = arg;

	if (s->store.stopping) {
		struct err err;
		enum st st = fail(&err, ST_GONE, "the store is stopping");

		wire_reply(rq, st, NULL, &err);
		return;
	}
	store_begin(&s->store);
	serve_request(&s->store, rq);
	store_end(&s->store);
}

void server_stop(struct server *s, void (*done)(void *arg), void *arg)
{
	s->stopped = done;
	s->stopped_arg = arg;
	s->store.idle = idle;
	timer_set(&s->patience, deadline_in_ms(STOP_MS), stop_now, s);
	store_begin(&s->store);
	s->store.stopping = true;
	store_end(&s->store);
}

enum st server_start(struct server *s, struct err *err)
{
	struct exipc_server_options o = {
		.listen_fd = s->listen_fd,
		.version = WIRE_VERSION,
		.loops = s->options.loops,
		.nloops = s->options.nloops,
		.fibers_max = FIBERS_MAX_PAIR,
		.bind = bind_client,
		.request = request,
		.unbound = unbound,
		.unbound_all = unbound_all,
		.arg = s,
	};
	enum st st = purge_resume(&s->store, err);

	if (st == ST_OK)
		st = relocations_resume(&s->store, err);
	if (st == ST_OK)
		st = exipc_server_new(&o, &s->store.ipc, err);
	if (st != ST_OK)
		return st;
	s->listen_fd = -1;
	for (unsigned i = 0; i < s->store.nshards; i++)
		shard_post(&s->store.shards[i], expire_begin, NULL);
	databases_offer(&s->store);
	return ST_OK;
}

/* ---- opening ---- */

static enum st make_folders(const char *home, struct err *err)
{
	static const char *const folders[] = { "run", "groups", "groups/first" };
	char path[4200];

	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", home, folders[i]);
		if (mkdir(path, 0700) != 0 && errno != EEXIST)
			return fail_errno(err, "make the folder %s", path);
	}
	return ST_OK;
}

static enum st lock_home(struct server *s, const char *home, struct err *err)
{
	char path[4200];

	snprintf(path, sizeof path, "%s/run/store.lock", home);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return fail_errno(err, "open %s", path);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return ST_OK;
	if (errno == EWOULDBLOCK)
		return fail(err, ST_BUSY, "another mailroot-store runs on %s", home);
	return fail_errno(err, "lock %s", path);
}

static enum st listen_at(struct server *s, const char *home, struct err *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int n = snprintf(at.sun_path, sizeof at.sun_path, "%s/run/exipc", home);

	if (n < 0 || (size_t)n >= sizeof at.sun_path)
		return fail(err, ST_TOOBIG, "the home's path is too long for a socket in it");
	unlink(at.sun_path); /* what an earlier run left; the lock says that nobody uses it */
	s->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0 || bind(s->listen_fd, (const struct sockaddr *)&at, sizeof at) != 0 ||
	    chmod(at.sun_path, 0600) != 0 || listen(s->listen_fd, BACKLOG) != 0)
		return fail_errno(err, "listen at %s", at.sun_path);
	return ST_OK;
}

static void broken(void *arg, const struct err *why)
{
	struct server *s = arg;

	s->options.broken(why);
}

static void found(void *arg, const struct finding *f)
{
	struct server *s = arg;

	found_note(s->store.found, f);
	if (s->options.found)
		s->options.found(f);
}

static void progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	struct server *s = arg;

	if (s->options.progress)
		s->options.progress(what, done, total);
}

/* Free room below which the log files that only a roll-forward needs are given up: half of what is warned at, so that
 * the warning comes first. */
static uint64_t logs_room(const struct config *conf)
{
	struct disk_view v;

	return disk_look(conf, config_home(conf), &v, NULL) == ST_OK ? v.warn_below / 2 : 0;
}

static enum st open_engine(struct server *s, struct err *err)
{
	const struct config *conf = s->options.conf;
	uint64_t reserve = (uint64_t)config_int(conf, "disk_reserve_bytes");
	struct ese_options o = {
		.segment_bytes = (uint32_t)config_int(conf, "log_segment_bytes") & ~4095u,
		.checkpoint_bytes = (uint64_t)config_int(conf, "checkpoint_bytes"),
		.reserve_bytes = reserve ? reserve : 1, /* 0 would be the engine's own choice */
		.low_bytes = logs_room(conf),
		.ship_keep_bytes = (uint64_t)config_int(conf, "ship_keep_bytes"),
		.scrub_bytes_per_s = (uint64_t)config_int(conf, "scrub_mb_per_s") << 20,
		.scrub_interval_s = (uint32_t)config_int(conf, "scrub_interval_days") * 86400u,
		.found = found,
		.cache_bytes = (size_t)config_int(conf, "cache_bytes"),
		.broken = broken,
		.progress = progress,
		.arg = s,
	};
	enum st st;

	s->store.found = found_new();
	if (!s->store.found)
		return fail(err, ST_NOMEM, "out of memory");
	st = databases_open(&s->store, &o, err);
	return st == ST_OK ? database_moves_resume(&s->store, err) : st;
}

static enum st make_shards(struct server *s, struct err *err)
{
	struct store *store = &s->store;

	store->shards = calloc(s->options.nloops, sizeof *store->shards);
	if (!store->shards)
		return fail(err, ST_NOMEM, "out of memory");
	store->nshards = s->options.nloops;
	for (unsigned i = 0; i < store->nshards; i++) {
		struct shard *sh = &store->shards[i];

		sh->store = store;
		sh->index = i;
		sh->loop = s->options.loops[i];
		sh->index_limit = INDEX_MEMORY / store->nshards;
		link_init(&sh->mailboxes_used);
		link_init(&sh->indexes_used);
	}
	return ST_OK;
}

static enum st find_host_user(struct server *s, struct err *err)
{
	const char *name = config_str(s->options.conf, "user_inet");
	const struct passwd *pw;

	s->host_uid = geteuid();
	if (!*name)
		return ST_OK;
	pw = getpwnam(name);
	if (!pw)
		return fail(err, ST_NOTFOUND, "user_inet: there is no user '%s'", name);
	s->host_uid = pw->pw_uid;
	return ST_OK;
}

static enum st open_all(struct server *s, struct err *err)
{
	const struct config *conf = s->options.conf;
	const char *home = config_home(conf);
	uint64_t message_max = (uint64_t)config_int(conf, "message_size_max");
	enum st st = standby_refuse(home, err);

	if (st == ST_OK)
		st = make_folders(home, err);
	s->store.conf = conf;
	s->store.started = clock_real();
	s->store.keep_items_ns = config_int(conf, "deleted_items_days") * NS_PER_DAY;
	s->store.keep_mailboxes_ns = config_int(conf, "deleted_mailboxes_days") * NS_PER_DAY;
	s->store.keep_until_backup = config_bool(conf, "deleted_items_until_backup");
	s->store.quota[QUOTA_WARN] = (uint64_t)config_int(conf, "quota_warn_bytes");
	s->store.quota[QUOTA_SEND] = (uint64_t)config_int(conf, "quota_send_bytes");
	s->store.quota[QUOTA_RECEIVE] = (uint64_t)config_int(conf, "quota_receive_bytes");
	/* With the largest item on top it fits a log file: 128 KiB of the smallest, 1 MiB. */
	s->store.batch_bytes = (size_t)config_int(conf, "log_segment_bytes") / 8;
	if (s->store.batch_bytes > BATCH_MAX)
		s->store.batch_bytes = BATCH_MAX;
	s->store.message_max = message_max < UINT32_MAX ? message_max : UINT32_MAX;
	if (st == ST_OK)
		st = lock_home(s, home, err);
	if (st == ST_OK && s->listen_fd < 0)
		st = listen_at(s, home, err);
	if (st == ST_OK && s->options.locked)
		st = s->options.locked(err);
	if (st == ST_OK)
		st = find_host_user(s, err);
	if (st == ST_OK)
		st = make_shards(s, err);
	if (st == ST_OK)
		st = open_engine(s, err);
	if (st == ST_OK)
		st = directory_open(&s->store, &s->store.directory, err);
	if (st == ST_OK)
		st = sasl_new(s->store.directory, &s->store.sasl, err);
	return st;
}

enum st server_open(const struct server_options *o, struct server **out, struct err *err)
{
	struct server *s = calloc(1, sizeof *s);
	enum st st;

	if (!s)
		return fail(err, ST_NOMEM, "out of memory");
	s->options = *o;
	s->listen_fd = o->listen_fd;
	s->lock_fd = -1;
	st = open_all(s, err);
	if (st == ST_OK)
		*out = s;
	else
		server_close(s);
	return st;
}

void server_troubles(const struct server *s, void (*tell)(const char *what, const char *why))
{
	const struct store *store = &s->store;

	for (const struct group *g = store->groups; g; g = g->next)
		if (!g->ese)
			tell(g->name, g->why.text);
	for (struct database *db = store->databases; db; db = db->next) {
		char name[GROUP_NAME_MAX + DATABASE_NAME_MAX + 2], why[256];

		if (db->state != DATABASE_FAILED)
			continue;
		snprintf(name, sizeof name, "%s/%s", db->group->name, db->name);
		database_reason(db, why, sizeof why);
		tell(name, why);
	}
}

/* ---- closing ---- */

static void shard_end(struct shard *sh)
{
	timer_clear(&sh->sweep);
	timer_clear(&sh->expire);
	logons_end(sh);
	watchers_end(sh);
	vfiles_end(sh);
	mailboxes_end(sh);
	purges_end(sh);
	hmap_free(&sh->mailboxes);
	hmap_free(&sh->logons);
	hmap_free(&sh->watched);
	hmap_free(&sh->vfiles);
	hmap_free(&sh->purging);
	hmap_free(&sh->cleaning);
}

void server_close(struct server *s)
{
	if (!s)
		return;
	s->closing = true;
	if (s->store.ipc)
		exipc_server_free(s->store.ipc);
	for (unsigned i = 0; i < s->store.nshards; i++)
		shard_end(&s->store.shards[i]);
	sasl_free(s->store.sasl);
	directory_close(s->store.directory);
	backup_close(&s->store);
	shipping_end(&s->store);
	databases_close(&s->store);
	found_free(s->store.found);
	free(s->store.shards);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
}
