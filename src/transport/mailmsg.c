/* mailmsg.c - the MailMsg object over its driver; see mailmsg.h. */
#include "transport/mailmsg.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "transport/mailmsg_driver.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void mailmsg_id_name(struct mailmsg_id id, char out[static MAILMSG_NAME_MAX])
{
	snprintf(out, MAILMSG_NAME_MAX, "MR_%016" PRIX64 "%08" PRIX32, id.time, id.count);
}

static struct mailmsg *object(struct mailmsg_driver *driver, struct mailmsg_id id)
{
	struct mailmsg *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->driver = driver;
	m->id = id;
	m->fd = -1;
	m->gather = BUF_MAX(MAILMSG_GATHER);
	m->props = BUF_MAX(MAILMSG_ENVELOPE_MAX);
	m->live = BUF_MAX(MAILMSG_ENVELOPE_MAX);
	mailmsg_id_name(id, m->name);
	return m;
}

/* ---- making one ---- */

enum st mailmsg_create(struct mailmsg_driver *driver, struct mailmsg **out, struct err *err)
{
	static _Atomic uint32_t created;
	struct mailmsg *m = object(driver, (struct mailmsg_id){ (uint64_t)clock_real(),
								atomic_fetch_add(&created, 1) });

	if (!m)
		return fail(err, ST_NOMEM, "message object");
	random_bytes(m->guid, sizeof(m->guid));
	*out = m;
	return ST_OK;
}

static enum st broken(struct mailmsg *m, enum st st)
{
	m->failed = true;
	return st;
}

enum st mailmsg_write(struct mailmsg *m, const void *bytes, size_t len, struct err *err)
{
	struct span rest = span_of(bytes, len);

	assert(!m->committed);
	if (m->failed)
		return fail(err, ST_IO, "%s: an earlier write failed", m->name);
	while (rest.len) {
		struct span now = span_cut(rest, MAILMSG_GATHER - m->gather.len);

		buf_span(&m->gather, now);
		if (m->gather.failed)
			return broken(m, fail(err, ST_NOMEM, "%s: content buffer", m->name));
		m->crc = crc32c(m->crc, now.at, now.len);
		m->size += now.len;
		rest = span_skip(rest, now.len);
		if (m->gather.len == MAILMSG_GATHER) {
			enum st st = m->driver->ops->write(m, err);

			if (st != ST_OK)
				return broken(m, st);
		}
	}
	return ST_OK;
}

uint64_t mailmsg_size(const struct mailmsg *m)
{
	return m->size;
}

const uint8_t *mailmsg_guid(const struct mailmsg *m)
{
	return m->guid;
}

enum st mailmsg_seal(struct mailmsg *m, struct mailmsg_envelope *env, struct err *err)
{
	enum st st = ST_OK;

	assert(!m->committed);
	if (m->failed)
		return fail(err, ST_IO, "%s: an earlier write failed", m->name);
	if (!env->arrival)
		env->arrival = clock_real();
	env->size = m->size;
	env->content_crc = m->crc;
	memcpy(env->guid, m->guid, sizeof(env->guid));
	mailmsg_props_write(&m->props, env);
	if (m->props.failed)
		st = fail(err, ST_TOOBIG, "%s: envelope over %d bytes", m->name,
			  MAILMSG_ENVELOPE_MAX);
	/* What began in the file is read from the file. */
	if (st == ST_OK && m->on_disk && m->gather.len)
		st = m->driver->ops->write(m, err);
	return st == ST_OK ? ST_OK : broken(m, st);
}

enum st mailmsg_keep(struct mailmsg *m, struct err *err)
{
	enum st st = m->driver->ops->commit(m, err);

	if (st != ST_OK)
		return broken(m, st);
	m->committed = true;
	return ST_OK;
}

enum st mailmsg_commit(struct mailmsg *m, struct mailmsg_envelope *env, struct err *err)
{
	enum st st = mailmsg_seal(m, env, err);

	return st == ST_OK ? mailmsg_keep(m, err) : st;
}

void mailmsg_free(struct mailmsg *m)
{
	if (!m)
		return;
	if (!m->committed)
		m->driver->ops->discard(m);
	mailmsg_unload(m);
	free(m);
}

/* ---- handling one ---- */

enum st mailmsg_reopen(struct mailmsg_driver *driver, struct mailmsg_id id, struct mailmsg **out,
		       struct err *err)
{
	struct mailmsg *m = object(driver, id);

	if (!m)
		return fail(err, ST_NOMEM, "message object");
	m->committed = true;
	*out = m;
	return ST_OK;
}

struct mailmsg_id mailmsg_id(const struct mailmsg *m)
{
	return m->id;
}

const char *mailmsg_name(const struct mailmsg *m)
{
	return m->name;
}

/* What the envelope says of the content and the name must be so. */
static enum st take_envelope(struct mailmsg *m, struct err *err)
{
	struct plist list = mailmsg_props(m);
	struct pool *pool = pool_new("envelope", MAILMSG_ENVELOPE_MAX);
	struct mailmsg_envelope env;
	enum st st;

	if (!pool)
		return fail(err, ST_NOMEM, "%s: envelope", m->name);
	st = mailmsg_props_read(&list, pool, &env, err);
	if (st == ST_OK && env.size != m->size)
		st = fail(err, ST_CORRUPT,
			  "content has %" PRIu64 " octets, the envelope says %" PRIu64, m->size,
			  env.size);
	if (st == ST_OK) {
		memcpy(m->guid, env.guid, sizeof(m->guid));
		m->crc = env.content_crc;
	}
	pool_free(pool);
	return st == ST_BAD ? ST_CORRUPT : st;
}

enum st mailmsg_load(struct mailmsg *m, struct err *err)
{
	enum st st;

	if (m->props.len)
		return ST_OK;
	st = m->driver->ops->load(m, err);
	if (st == ST_OK)
		st = take_envelope(m, err);
	if (st != ST_OK)
		mailmsg_unload(m);
	return st;
}

bool mailmsg_live_was_broken(const struct mailmsg *m)
{
	return m->live_broken;
}

size_t mailmsg_memory(const struct mailmsg *m)
{
	return sizeof(*m) + m->gather.cap + m->props.cap + m->live.cap;
}

void mailmsg_unload(struct mailmsg *m)
{
	mailmsg_close(m);
	buf_free(&m->gather);
	buf_free(&m->props);
	buf_free(&m->live);
}

struct plist mailmsg_props(const struct mailmsg *m)
{
	return plist_trusted(m->props.at, m->props.len);
}

enum st mailmsg_envelope(const struct mailmsg *m, struct pool *pool, struct mailmsg_envelope *out,
			 struct err *err)
{
	struct plist list = mailmsg_props(m);

	return mailmsg_props_read(&list, pool, out, err);
}

enum st mailmsg_live(const struct mailmsg *m, struct pool *pool, struct mailmsg_live *out,
		     struct err *err)
{
	struct plist list;

	if (!m->live.len) {
		*out = (struct mailmsg_live){ .status = MP_STATUS_SUBMITTED };
		return ST_OK;
	}
	list = plist_trusted(m->live.at, m->live.len);
	return mailmsg_live_read(&list, pool, out, err);
}

enum st mailmsg_put_live(struct mailmsg *m, const struct mailmsg_live *live, struct err *err)
{
	struct buf bytes = BUF_MAX(MAILMSG_ENVELOPE_MAX);
	struct buf before = m->live;
	enum st st;

	mailmsg_live_write(&bytes, live);
	if (bytes.failed) {
		buf_free(&bytes);
		return fail(err, ST_TOOBIG, "%s: live properties over %d bytes", m->name,
			    MAILMSG_ENVELOPE_MAX);
	}
	m->live = bytes;
	st = m->driver->ops->put_live(m, err);
	if (st != ST_OK) {
		m->live = before;
		before = bytes;
	}
	buf_free(&before);
	return st;
}

enum st mailmsg_read(struct mailmsg *m, uint64_t offset, void *out, size_t len, size_t *got,
		     struct err *err)
{
	struct span here = buf_get(&m->gather);

	if (here.len == 0 || here.len != m->size)
		return m->driver->ops->read(m, offset, out, len, got, err);
	here = span_cut(span_skip(here, offset < here.len ? (size_t)offset : here.len), len);
	if (here.len)
		memcpy(out, here.at, here.len);
	*got = here.len;
	return ST_OK;
}

bool mailmsg_is_open(const struct mailmsg *m)
{
	return m->fd >= 0;
}

void mailmsg_close(struct mailmsg *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

static enum st copy_content(struct mailmsg *from, struct mailmsg *to, struct err *err)
{
	char *block = malloc(MAILMSG_GATHER);
	enum st st = block ? ST_OK : fail(err, ST_NOMEM, "%s: copy", from->name);

	for (uint64_t at = 0; st == ST_OK && at < from->size;) {
		size_t got = 0;

		st = mailmsg_read(from, at, block, MAILMSG_GATHER, &got, err);
		if (st == ST_OK && got == 0)
			st = fail(err, ST_CORRUPT, "%s: content ends early", from->name);
		if (st == ST_OK)
			st = mailmsg_write(to, block, got, err);
		at += got;
	}
	free(block);
	return st;
}

enum st mailmsg_fork(struct mailmsg *m, struct mailmsg_envelope *env, struct mailmsg **out,
		     struct err *err)
{
	struct mailmsg *fork;
	enum st st = mailmsg_create(m->driver, &fork, err);

	if (st != ST_OK)
		return st;
	st = copy_content(m, fork, err);
	if (st == ST_OK)
		st = mailmsg_commit(fork, env, err);
	if (st != ST_OK) {
		mailmsg_free(fork);
		return st;
	}
	*out = fork;
	return ST_OK;
}

enum st mailmsg_delete(struct mailmsg *m, struct err *err)
{
	mailmsg_close(m);
	return m->driver->ops->remove(m, err);
}

enum st mailmsg_to_badmail(struct mailmsg *m, const char *why, struct err *err)
{
	mailmsg_close(m);
	return m->driver->ops->badmail(m, why, err);
}
