/* hash.h - SHA-256 over bytes that come in pieces.  One thread. */
#ifndef ESE_HASH_H
#define ESE_HASH_H

#include "base/span.h"
#include "base/st.h"

#define HASH_BYTES 32u

struct hash;
struct hash *hash_new(void);    /* NULL: out of memory */
void hash_free(struct hash *h); /* NULL is fine */
void hash_add(struct hash *h, const void *bytes, size_t len);
/* The hash of everything added; the next one begins. */
void hash_end(struct hash *h, unsigned char out[HASH_BYTES]);
/* ST_NOMEM or ST_OK. */
enum st hash_of(struct span bytes, unsigned char out[HASH_BYTES], struct err *err);

#endif
