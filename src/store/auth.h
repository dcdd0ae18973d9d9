/* auth.h - passwords: kept, checked, guessed at.
 *
 * Loop 0.  Hashing runs on the work pool, few at a time.  A password that was right is remembered for ten
 * minutes as a keyed hash (the key dies with the process) over name, stored hash and password, so that a
 * changed password is not the remembered one.  A user who does not exist takes as long as a wrong
 * password.  Failures are counted by address, and by address and user. */
#ifndef STORE_AUTH_H
#define STORE_AUTH_H

#include "store/directory.h"

#define PASSWORD_MAX 1024 /* bytes */

enum st auth_new(struct directory *d, struct auth **out, struct err *err);
void auth_free(struct auth *a); /* NULL is fine */

/* F.  Fill hash and SCRAM keys of *u.  ST_BAD: empty, too long or with a NUL. */
enum st auth_set_password(struct auth *a, struct user *u, struct span password, struct err *err);

/* F.  ST_OK and *u; ST_DENIED: wrong, unknown or disabled, which it does not tell; ST_BUSY: too many checks wait. */
enum st auth_check(struct auth *a, struct span name, struct span password, struct user *u,
		   struct err *err);

/* For SCRAM: the user, or one made up whose salt is the same each time and whose keys fit nothing.
 * ST_DENIED like ST_OK fills *u; anything else is a failure of the engine. */
enum st auth_scram_user(struct auth *a, struct span name, struct user *u, struct err *err);

/* Too many failures from there lately?  Milliseconds to wait, 0: go on. */
unsigned auth_throttled(const struct auth *a, struct span ip, struct span name);
/* Another failure.  How long the answer should be held back, in milliseconds. */
unsigned auth_failed(struct auth *a, struct span ip, struct span name);

#endif
