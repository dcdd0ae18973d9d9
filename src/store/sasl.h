/* sasl.h - SASL exchanges on the server's side: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677).
 *
 * Loop 0.  An exchange belongs to a binding and ends with it, with its outcome, or after SASL_LIFE_MS.
 * PLAIN and LOGIN are read here; SCRAM is libgsasl's. */
#ifndef STORE_SASL_H
#define STORE_SASL_H

#include "store/auth.h"

#define SASL_LIFE_MS  120000
#define SASL_MAX      4096 /* exchanges of a binding */
#define SASL_DATA_MAX 4096

struct sasl;

enum st sasl_new(struct directory *d, struct sasl **out, struct err *err);
void sasl_free(struct sasl *s); /* NULL is fine */
void sasl_end_binding(struct sasl *s, uint64_t binding);

struct sasl_result {
	uint64_t id;       /* of the exchange, after ST_MORE */
	struct buf data;   /* challenge, or what goes with success; the caller frees it */
	struct user user;  /* after ST_OK */
	unsigned retry_ms; /* after ST_DENIED and ST_BUSY */
};
/* F.  ST_MORE: another step follows; ST_OK: result->user is who; ST_DENIED; ST_BUSY: too many failures, or checks;
 * ST_BAD: no such mechanism, or not its grammar; ST_NOTFOUND: no such exchange.  Absent data (at NULL) is
 * no initial response. */
enum st sasl_start(struct sasl *s, uint64_t binding, struct span mechanism, struct span ip,
		   struct span data, struct sasl_result *result, struct err *err);
enum st sasl_step(struct sasl *s, uint64_t binding, uint64_t id, struct span data,
		  struct sasl_result *result, struct err *err);
enum st sasl_cancel(struct sasl *s, uint64_t binding, uint64_t id, struct err *err);

#endif
