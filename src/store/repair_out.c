/* repair_out.c - rows and bodies into a new database, a batch at a time; see repair_int.h. */
#include "store/repair_int.h"

#define BATCH_BYTES (96u * 1024)
#define BODY_BYTES  (2u * 1024 * 1024)

void out_begin(struct out *o, struct ese *group, struct ese_db *db)
{
	*o = (struct out){ .group = group, .db = db };
	pthread_mutex_init(&o->lock, NULL);
	pthread_cond_init(&o->told, NULL);
}

static void drop_bodies(struct out *o)
{
	while (o->nbodies)
		ese_body_drop(o->bodies[--o->nbodies]);
	o->body_bytes = 0;
}

void out_free(struct out *o)
{
	if (o->batch)
		ese_batch_free(o->batch);
	drop_bodies(o);
	pthread_cond_destroy(&o->told);
	pthread_mutex_destroy(&o->lock);
}

/* ---- waiting ---- */

static void tell(void *arg)
{
	struct out *o = arg;

	pthread_mutex_lock(&o->lock);
	o->ready = true;
	pthread_cond_signal(&o->told);
	pthread_mutex_unlock(&o->lock);
}

static void wait(struct out *o)
{
	pthread_mutex_lock(&o->lock);
	while (!o->ready)
		pthread_cond_wait(&o->told, &o->lock);
	o->ready = false;
	pthread_mutex_unlock(&o->lock);
}

/* ---- rows ---- */

/* Where no batch can be made the next out_turn says so. */
static bool begun(struct out *o)
{
	if (!o->batch && o->why.st == ST_OK)
		o->why.st = ese_batch_new(o->db, o->partition, &o->batch, &o->why);
	return o->batch != NULL;
}

void out_put_bytes(struct out *o, struct span key, struct span value)
{
	if (begun(o))
		ese_put(o->batch, key, value);
}

void out_put(struct out *o, struct span key, const struct buf *value)
{
	out_put_bytes(o, key, buf_get(value));
}

void out_link_new(struct out *o, struct ese_body *body)
{
	if (begun(o))
		ese_link(o->batch, body);
	o->body_bytes += ese_body_len(body);
	o->bodies[o->nbodies++] = body;
}

void out_link(struct out *o, uint64_t id)
{
	if (!begun(o))
		return;
	for (unsigned i = 0; i < o->nbodies; i++)
		if (ese_body_id(o->bodies[i]) == id) {
			ese_link(o->batch, o->bodies[i]);
			return;
		}
	ese_link_id(o->batch, id);
}

enum st out_turn(struct out *o, bool always, struct err *err)
{
	enum st st;

	if (!begun(o))
		return fail(err, o->why.st, "%s", o->why.text);
	if (!always && o->nbodies < OUT_BODIES - 1 && o->body_bytes < BODY_BYTES &&
	    ese_batch_bytes(o->batch) < BATCH_BYTES)
		return ST_OK;
	st = ese_commit(o->batch, tell, o, err);
	o->batch = NULL;
	if (st == ST_OK)
		wait(o);
	drop_bodies(o);
	return st;
}

enum st out_body(struct out *o, struct ese_body *b, const void *bytes, size_t len, struct err *err)
{
	enum st st;

	while ((st = ese_body_write(b, bytes, len, err)) == ST_BUSY) {
		ese_when_room(o->group, tell, o);
		wait(o);
	}
	return st;
}
