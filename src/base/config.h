/* config.h - mailroot.conf: a commented file, read by libconfuse.
 *
 * Every setting is a row of ONE table (settings.c): name, type, default, range, unit, meaning.  The
 * annotated file that `mailroot init` writes, the manual page and the checks are made from that
 * table.  An unknown key or a value out of range is an error that names file, line and key.
 *
 * Read once at start; immutable afterwards; any thread may read it. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "base/buf.h"
#include "base/st.h"

struct config;

/* Read HOME/mailroot.conf.  ST_NOTFOUND: no such file; ST_BAD: a line is wrong (text says which:
 * "/home/mailroot.conf:12: no setting is called 'prot_smtp'"); ST_IO; ST_NOMEM.  Not by two threads
 * at a time (libconfuse has one lexer). */
enum st config_read(const char *home, struct config **out, struct err *err);
/* The same from text; `name` stands for the file in errors.  ST_BAD, ST_NOMEM. */
enum st config_parse(const char *home, const char *name, struct span text, struct config **out,
		     struct err *err);
/* All defaults, for a home that has none. */
enum st config_defaults(const char *home, struct config **out, struct err *err);
void config_free(struct config *c); /* NULL is fine */

const char *config_home(const struct config *c); /* absolute path */
/* The key must be in the table with that type (assert).  A path comes back absolute (relative ones
 * count from the home), an empty one empty. */
const char *config_str(const struct config *c, const char *key);
int64_t config_int(const struct config *c, const char *key);
bool config_bool(const struct config *c, const char *key);

/* The annotated file with the given overrides ("key", "value" pairs ended by NULL; keys must be in
 * the table: assert).  Settings without override stand as comments with their default. */
void config_write(struct buf *out, const char *const *overrides);
/* One manual page section (troff) for the table. */
void config_man(struct buf *out);

#endif
