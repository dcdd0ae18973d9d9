#include "store/auth.h"

#include <arpa/inet.h>
#include <crypt.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>

#define ARGON2_OPS  2
#define ARGON2_MEM  (19u * 1024 * 1024)
#define YESCRYPT    "$y$"
#define HASHES_MAX  4  /* at a time: 76 MiB */
#define WAITERS_MAX 64 /* for one of them */

#define KNOWN_SLOTS 4096
#define KNOWN_NS    (600 * NS_PER_SEC)

#define FAILURE_SLOTS  8192
#define FAILURE_WINDOW (60 * NS_PER_SEC)
#define IP_FACTOR      10 /* an address may fail this many times more than one user at it */

struct known {
	uint8_t mac[32];
	int64_t until;
};

/* Failures of one address, or of one user at an address, in the minute since `since`. */
struct failures {
	uint64_t who;
	int64_t since;
	uint32_t count;
};

struct auth {
	struct directory *directory;
	uint8_t key[crypto_auth_hmacsha256_KEYBYTES]; /* of the remembered passwords */
	uint8_t who_key[crypto_shorthash_KEYBYTES];
	char nobody[HASH_ROOM]; /* hash for users who don't exist */
	bool yescrypt;          /* new passwords; else Argon2id */
	struct known known[KNOWN_SLOTS];
	struct failures failures[FAILURE_SLOTS];
	uint32_t per_minute;
	unsigned delay_ms;
	unsigned running, waiting;
	struct fiber_queue turn;
};

void auth_free(struct auth *a)
{
	if (a)
		sodium_memzero(a->key, sizeof a->key);
	free(a);
}

/* ---- hashing, on the pool ---- */

/* One of HASHES_MAX places; ST_BUSY when too many wait already. */
static enum st turn_get(struct auth *a, struct err *err)
{
	if (a->running >= HASHES_MAX && a->waiting >= WAITERS_MAX)
		return fail(err, ST_BUSY, "too many passwords wait to be checked");
	a->waiting++;
	while (a->running >= HASHES_MAX)
		fiber_queue_wait(&a->turn, NO_DEADLINE);
	a->waiting--;
	a->running++;
	return ST_OK;
}

static void turn_put(struct auth *a)
{
	a->running--;
	fiber_queue_wake_one(&a->turn);
}

struct hashing {
	const char *stored; /* check against it; or NULL: fill *u */
	bool yescrypt;      /* how to fill it */
	struct span password;
	struct user *u;
	bool ok;
};

static bool scram_keys(struct scram_keys *k, struct span password)
{
	uint8_t salted[SCRAM_KEY], client[SCRAM_KEY];

	k->iterations = SCRAM_ITERATIONS;
	random_bytes(k->salt, sizeof k->salt);
	if (!PKCS5_PBKDF2_HMAC(password.at, (int)password.len, k->salt, sizeof k->salt,
			       (int)k->iterations, EVP_sha256(), sizeof salted, salted))
		return false;
	crypto_auth_hmacsha256(client, (const uint8_t *)"Client Key", 10, salted);
	crypto_hash_sha256(k->stored, client, sizeof client);
	crypto_auth_hmacsha256(k->server, (const uint8_t *)"Server Key", 10, salted);
	sodium_memzero(salted, sizeof salted);
	return true;
}

/* What libxcrypt makes of the password by that setting (a stored hash is one); false: it can't. */
static bool crypt_by(struct span password, const char *setting, char out[static HASH_ROOM])
{
	struct crypt_data *data = calloc(1, sizeof *data);
	char *text = strndup(password.at, password.len), *hash = NULL;

	if (data && text)
		hash = crypt_rn(text, setting, data, sizeof *data);
	if (hash && strlen(hash) >= HASH_ROOM)
		hash = NULL;
	if (hash)
		strcpy(out, hash);
	if (text)
		sodium_memzero(text, password.len);
	if (data)
		sodium_memzero(data, sizeof *data);
	free(text);
	free(data);
	return hash != NULL;
}

static bool password_fits(const char *stored, struct span password)
{
	char again[HASH_ROOM];

	if (strncmp(stored, YESCRYPT, strlen(YESCRYPT)) != 0)
		return crypto_pwhash_str_verify(stored, password.at, password.len) == 0;
	return crypt_by(password, stored, again) && strlen(again) == strlen(stored) &&
	       sodium_memcmp(again, stored, strlen(stored)) == 0;
}

static bool password_hash(char out[static HASH_ROOM], struct span password, bool yescrypt)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (!yescrypt)
		return crypto_pwhash_str(out, password.at, password.len, ARGON2_OPS, ARGON2_MEM) ==
		       0;
	return crypt_gensalt_rn(YESCRYPT, 0, NULL, 0, setting, sizeof setting) &&
	       crypt_by(password, setting, out);
}

static void hash_run(void *arg)
{
	struct hashing *h = arg;

	if (h->stored)
		h->ok = password_fits(h->stored, h->password);
	else
		h->ok = password_hash(h->u->hash, h->password, h->yescrypt) &&
			scram_keys(&h->u->scram, h->password);
}

static bool password_ok(struct span password)
{
	return password.len && password.len <= PASSWORD_MAX &&
	       !memchr(password.at, '\0', password.len);
}

enum st auth_set_password(struct auth *a, struct user *u, struct span password, struct err *err)
{
	struct hashing h = { .password = password, .u = u, .yescrypt = a->yescrypt };
	enum st st;

	if (!password_ok(password))
		return fail(err, ST_BAD, "a password has 1 to %d bytes and no NUL", PASSWORD_MAX);
	st = turn_get(a, err);
	if (st != ST_OK)
		return st;
	work_run(hash_run, &h);
	turn_put(a);
	return h.ok ? ST_OK : fail(err, ST_NOMEM, "no memory to hash a password");
}

enum st auth_new(struct directory *d, struct auth **out, struct err *err)
{
	const struct config *conf = d->store->conf;
	struct auth *a = calloc(1, sizeof *a);

	if (!a || sodium_init() < 0) {
		free(a);
		return fail(err, ST_NOMEM, "out of memory");
	}
	a->directory = d;
	random_bytes(a->key, sizeof a->key);
	random_bytes(a->who_key, sizeof a->who_key);
	a->per_minute = (uint32_t)config_int(conf, "auth_failures_per_minute");
	a->delay_ms = (unsigned)config_int(conf, "auth_failure_delay_ms");
	a->yescrypt = !strcmp(config_str(conf, "password_hash"), "yescrypt");
	if (!password_hash(a->nobody, SPAN("nobody"), a->yescrypt)) {
		auth_free(a);
		return fail(err, ST_NOMEM, "no memory to hash a password");
	}
	*out = a;
	return ST_OK;
}

/* ---- passwords that were right ---- */

static struct known *known_slot(struct auth *a, const struct user *u, struct span password,
				uint8_t mac[static 32])
{
	crypto_auth_hmacsha256_state s;

	crypto_auth_hmacsha256_init(&s, a->key, sizeof a->key);
	crypto_auth_hmacsha256_update(&s, (const uint8_t *)u->name, strlen(u->name) + 1);
	crypto_auth_hmacsha256_update(&s, (const uint8_t *)u->hash, strlen(u->hash) + 1);
	crypto_auth_hmacsha256_update(&s, (const uint8_t *)password.at, password.len);
	crypto_auth_hmacsha256_final(&s, mac);
	return &a->known[(mac[0] | mac[1] << 8) % KNOWN_SLOTS];
}

static bool known_right(struct auth *a, const struct user *u, struct span password)
{
	uint8_t mac[32];
	const struct known *k = known_slot(a, u, password, mac);

	return k->until > clock_mono() && sodium_memcmp(k->mac, mac, sizeof mac) == 0;
}

static void known_add(struct auth *a, const struct user *u, struct span password)
{
	uint8_t mac[32];
	struct known *k = known_slot(a, u, password, mac);

	memcpy(k->mac, mac, sizeof mac);
	k->until = clock_mono() + KNOWN_NS;
}

/* ---- checking ---- */

static enum st check_hash(struct auth *a, const char *stored, struct span password, struct err *err)
{
	struct hashing h = { .stored = stored, .password = password };
	enum st st = turn_get(a, err);

	if (st != ST_OK)
		return st;
	work_run(hash_run, &h);
	turn_put(a);
	return h.ok ? ST_OK : ST_DENIED;
}

static enum st find_user(struct auth *a, struct span name, struct user *u, struct err *err)
{
	char lower[NAME_BYTES_MAX + 1];

	if (directory_name(name, lower, err) != ST_OK)
		return ST_NOTFOUND;
	return directory_user(a->directory, lower, u, err);
}

static enum st wrong(struct err *err)
{
	return fail(err, ST_DENIED, "wrong user name or password");
}

enum st auth_check(struct auth *a, struct span name, struct span password, struct user *u,
		   struct err *err)
{
	enum st found = find_user(a, name, u, err), st;

	if (found != ST_OK && found != ST_NOTFOUND)
		return found;
	if (found == ST_OK && !u->disabled && known_right(a, u, password))
		return ST_OK;
	if (!password_ok(password))
		password = SPAN("?"); /* no password that anybody could have set */
	st = check_hash(a, found == ST_OK ? u->hash : a->nobody, password, err);
	if (st == ST_BUSY)
		return st;
	if (st != ST_OK || found != ST_OK || u->disabled)
		return wrong(err);
	known_add(a, u, password);
	return ST_OK;
}

enum st auth_scram_user(struct auth *a, struct span name, struct user *u, struct err *err)
{
	crypto_auth_hmacsha256_state s;
	char lower[NAME_BYTES_MAX + 1];
	uint8_t mac[32];
	enum st st = find_user(a, name, u, err);

	if (st == ST_OK && !u->disabled && u->scram.iterations)
		return ST_OK;
	if (st != ST_OK && st != ST_NOTFOUND)
		return st;
	*u = (struct user){ .scram.iterations = SCRAM_ITERATIONS };
	/* However it is spelled, as it would be for somebody who is there. */
	if (directory_name(name, lower, NULL) == ST_OK)
		name = span_str(lower);
	crypto_auth_hmacsha256_init(&s, a->directory->secret, sizeof a->directory->secret);
	crypto_auth_hmacsha256_update(&s, (const uint8_t *)name.at, name.len);
	crypto_auth_hmacsha256_final(&s, mac);
	memcpy(u->scram.salt, mac, sizeof u->scram.salt);
	random_bytes(u->scram.stored, sizeof u->scram.stored);
	random_bytes(u->scram.server, sizeof u->scram.server);
	return wrong(err);
}

/* ---- failures ---- */

/* One guesser has a whole IPv6 network of 64 bits. */
static uint64_t ip_hash(const struct auth *a, struct span ip)
{
	char text[INET6_ADDRSTRLEN] = "";
	struct in6_addr v6;
	uint64_t hash = 0;

	if (ip.len && ip.len < sizeof text)
		memcpy(text, ip.at, ip.len);
	if (inet_pton(AF_INET6, text, &v6) == 1)
		ip = span_of(v6.s6_addr, 8);
	crypto_shorthash((uint8_t *)&hash, (const uint8_t *)(ip.at ? ip.at : ""), ip.len,
			 a->who_key);
	return hash;
}

/* A user at an address; 0: a name that nobody can have.  However a name is spelled, it is one. */
static uint64_t user_hash(const struct auth *a, struct span ip, struct span name)
{
	char lower[NAME_BYTES_MAX + 1];
	uint64_t from = ip_hash(a, ip), hash = 0;

	if (directory_name(name, lower, NULL) != ST_OK)
		return 0;
	crypto_shorthash((uint8_t *)&hash, (const uint8_t *)lower, strlen(lower), a->who_key);
	return hash ^ (from << 1 | from >> 63);
}

static unsigned wait_of(const struct auth *a, uint64_t who, uint32_t limit)
{
	const struct failures *f = &a->failures[who % FAILURE_SLOTS];
	int64_t left = f->since + FAILURE_WINDOW - clock_mono();

	if (f->who != who || f->count < limit || left <= 0)
		return 0;
	return (unsigned)(left / NS_PER_MS) + 1;
}

unsigned auth_throttled(const struct auth *a, struct span ip, struct span name)
{
	unsigned all, one;

	if (!a->per_minute)
		return 0;
	all = wait_of(a, ip_hash(a, ip), a->per_minute * IP_FACTOR);
	one = wait_of(a, user_hash(a, ip, name), a->per_minute);
	return all > one ? all : one;
}

static void count_failure(struct auth *a, uint64_t who)
{
	struct failures *f = &a->failures[who % FAILURE_SLOTS];
	int64_t now = clock_mono();

	if (!who)
		return;
	if (f->who != who || now - f->since > FAILURE_WINDOW)
		*f = (struct failures){ .who = who, .since = now };
	f->count++;
}

unsigned auth_failed(struct auth *a, struct span ip, struct span name)
{
	count_failure(a, ip_hash(a, ip));
	count_failure(a, user_hash(a, ip, name));
	return a->delay_ms;
}
