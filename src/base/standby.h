/* standby.h - HOME/standby, the mark of a home that follows another server's log (docs/formats.md).
 *
 * While it is there no server may start on the home: its databases belong to whoever follows. */
#ifndef BASE_STANDBY_H
#define BASE_STANDBY_H

#include "base/st.h"

#include <stdint.h>

enum standby_state {
	STANDBY_MAKING = 1, /* its files are being put in place */
	STANDBY_FOLLOWING,
	STANDBY_PROMOTING, /* nothing is received any more */
};

struct standby_mark {
	enum standby_state state;
	uint64_t since; /* ns since 1970 */
	char source[256];
};
const char *standby_state_name(enum standby_state s);

/* ST_NOTFOUND: the home is no standby; ST_CORRUPT: the file makes no sense; ST_IO. */
enum st standby_mark_read(const char *home, struct standby_mark *out, struct err *err);
/* Durable when they return ST_OK. */
enum st standby_mark_write(const char *home, const struct standby_mark *m, struct err *err);
enum st standby_mark_remove(const char *home, struct err *err);

/* For who wants to serve the home.  ST_DENIED: it is a standby, and what to do. */
enum st standby_refuse(const char *home, struct err *err);

#endif
