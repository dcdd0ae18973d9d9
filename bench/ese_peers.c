/* ese_peers.c - SQLite and LMDB doing the same: one writer, one durable transaction for all who wait. */
#include "ese_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_SQLITE
#include <sqlite3.h>

struct lite {
	sqlite3 *db;
	sqlite3_stmt *begin, *row, *body, *commit;
};

static void lite_must(const struct lite *l, bool good)
{
	if (good)
		return;
	fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(l->db));
	exit(1);
}

static void lite_prepare(struct lite *l, const char *text, sqlite3_stmt **out)
{
	lite_must(l, sqlite3_prepare_v2(l->db, text, -1, out, NULL) == SQLITE_OK);
}

/* WAL, every commit synced; as much log before a checkpoint as the engine has (16,384 pages of 4 KiB). */
static void lite_open(struct bench *b)
{
	struct lite *l = calloc(1, sizeof(*l));
	char path[512];

	if (!l)
		die("memory");
	snprintf(path, sizeof(path), "%s/bench.sqlite", b->s->dir);
	lite_must(l, sqlite3_open(path, &l->db) == SQLITE_OK);
	lite_must(l,
		  sqlite3_exec(l->db,
			       "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			       "PRAGMA wal_autocheckpoint=16384; PRAGMA cache_size=-32768;"
			       "PRAGMA locking_mode=EXCLUSIVE;"
			       "CREATE TABLE rows (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID;"
			       "CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB);",
			       NULL, NULL, NULL) == SQLITE_OK);
	lite_prepare(l, "BEGIN", &l->begin);
	lite_prepare(l, "INSERT INTO rows VALUES (?, ?)", &l->row);
	lite_prepare(l, "INSERT INTO bodies (body) VALUES (?)", &l->body);
	lite_prepare(l, "COMMIT", &l->commit);
	b->own = l;
	gather_open(b);
}

static void lite_step(struct lite *l, sqlite3_stmt *st)
{
	lite_must(l, sqlite3_step(st) == SQLITE_DONE);
	sqlite3_reset(st);
}

static void lite_commit(struct bench *b, struct deliverer **turns, unsigned n)
{
	struct lite *l = b->own;
	char key[KEY_BYTES + 1];

	lite_step(l, l->begin);
	for (unsigned t = 0; t < n; t++) {
		sqlite3_bind_blob(l->body, 1, b->body, (int)b->s->body, SQLITE_STATIC);
		lite_step(l, l->body);
		for (int i = 0; i < ROWS; i++) {
			sqlite3_bind_blob(l->row, 1, key, (int)row_key(turns[t], i, key),
					  SQLITE_STATIC);
			sqlite3_bind_blob(l->row, 2, row_value(turns[t], i),
					  (int)row_value_bytes(i), SQLITE_STATIC);
			lite_step(l, l->row);
		}
	}
	lite_step(l, l->commit);
}

static void lite_close(struct bench *b)
{
	struct lite *l = b->own;

	gather_close(b);
	sqlite3_finalize(l->begin);
	sqlite3_finalize(l->row);
	sqlite3_finalize(l->body);
	sqlite3_finalize(l->commit);
	lite_must(l, sqlite3_close(l->db) == SQLITE_OK);
	free(l);
}

const struct way way_sqlite = { "sqlite", lite_open, gather_deliver, lite_close, lite_commit };
#endif

#ifdef HAVE_LMDB
#include <lmdb.h>

#define MAP_BYTES (64ull << 30)

struct lightning {
	MDB_env *env;
	MDB_dbi rows, bodies;
	size_t id;
};

static void mdb_must(int code)
{
	if (code == MDB_SUCCESS)
		return;
	fprintf(stderr, "lmdb: %s\n", mdb_strerror(code));
	exit(1);
}

/* LMDB takes a pointer to bytes that it does not change. */
static void *value_of(const struct deliverer *d, int i)
{
	const char *at = row_value(d, i);
	void *out;

	memcpy(&out, &at, sizeof(out));
	return out;
}

static void lightning_open(struct bench *b)
{
	struct lightning *l = calloc(1, sizeof(*l));
	MDB_txn *txn;

	if (!l)
		die("memory");
	mdb_must(mdb_env_create(&l->env));
	mdb_must(mdb_env_set_mapsize(l->env, MAP_BYTES));
	mdb_must(mdb_env_set_maxdbs(l->env, 2));
	mdb_must(mdb_env_open(l->env, b->s->dir, 0, 0600));
	mdb_must(mdb_txn_begin(l->env, NULL, 0, &txn));
	mdb_must(mdb_dbi_open(txn, "rows", MDB_CREATE, &l->rows));
	mdb_must(mdb_dbi_open(txn, "bodies", MDB_CREATE | MDB_INTEGERKEY, &l->bodies));
	mdb_must(mdb_txn_commit(txn));
	b->own = l;
	gather_open(b);
}

static void lightning_commit(struct bench *b, struct deliverer **turns, unsigned n)
{
	struct lightning *l = b->own;
	char key[KEY_BYTES + 1];
	MDB_txn *txn;

	mdb_must(mdb_txn_begin(l->env, NULL, 0, &txn));
	for (unsigned t = 0; t < n; t++) {
		MDB_val k = { sizeof(l->id), &l->id }, v = { b->s->body, b->body };

		mdb_must(mdb_put(txn, l->bodies, &k, &v, MDB_APPEND));
		l->id++;
		for (int i = 0; i < ROWS; i++) {
			k = (MDB_val){ row_key(turns[t], i, key), key };
			v = (MDB_val){ row_value_bytes(i), value_of(turns[t], i) };
			mdb_must(mdb_put(txn, l->rows, &k, &v, 0));
		}
	}
	mdb_must(mdb_txn_commit(txn));
	b->more_syncs++; /* the meta page goes through O_DSYNC */
}

static void lightning_close(struct bench *b)
{
	struct lightning *l = b->own;

	gather_close(b);
	mdb_env_close(l->env);
	free(l);
}

const struct way way_lmdb = { "lmdb", lightning_open, gather_deliver, lightning_close,
			      lightning_commit };
#endif
