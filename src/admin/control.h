/* control.h - a program's control socket: one question a connection, one answer.
 *
 * A Unix stream socket of mode 0600 in HOME/run.  The question is one line "verb text" or
 * "verb json"; the answer is a report (report.h) up to the end of the connection, or a line
 * "error: ..." .  Questions are at most 4 KiB, answers at most 64 MiB. */
#ifndef ADMIN_CONTROL_H
#define ADMIN_CONTROL_H

#include "admin/report.h"
#include "base/st.h"

struct control_verb {
	const char *name;
	void (*run)(void *owner, struct report *out); /* in a fiber on the loop that listens */
};

struct control;
/* Make the socket; one left behind by a dead program is replaced.  Nobody can connect yet.  (Apart, because
 * the folder may be one that a program can't write to later, when it is another user.) */
enum st control_bind(const char *path, int *fd, struct err *err);
/* Own loop: answer at it.  fd is taken over whatever comes.  verbs must outlive the loop. */
enum st control_listen(int fd, const char *path, const struct control_verb *verbs, size_t nverbs,
		       void *owner, struct control **out, struct err *err);
/* Own loop: take no more questions; those under way are answered.  NULL is fine. */
void control_close(struct control *c);
/* Blocking, outside any loop.  ST_NOTFOUND: nobody listens there; ST_TIMEOUT: it was silent for 20 seconds;
 * ST_BAD: the program's error words. */
enum st control_ask(const char *path, const char *verb, bool json, struct buf *answer,
		    struct err *err);

#endif
