/* rights.c - the one place where rights are decided; see logon.h. */
#include "store/logon.h"

enum st rights_check(const struct logon *l, uint64_t fid, unsigned rights, struct err *err)
{
	(void)rights; /* the owner has all of them, nobody else has any */
	if (fid >> 32 != l->mailbox)
		return fail(err, ST_DENIED, "this folder is not yours");
	return ST_OK;
}
