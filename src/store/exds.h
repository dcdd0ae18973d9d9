/* exds.h - what the stubs of the directory share. */
#ifndef STORE_EXDS_H
#define STORE_EXDS_H

#include "store/call.h"
#include "store/directory.h"

enum st exds_on_loop_0(const struct call *c, struct err *err);
/* The name in the request, checked: its domain is ours. */
enum st exds_local_name(struct call *c, uint32_t tag, char *name, struct err *err);
/* ST_EXISTS: a user or an alias has it. */
enum st exds_name_is_free(struct directory *d, const char *name, struct err *err);

#endif
