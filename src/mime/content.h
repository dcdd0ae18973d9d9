/* content.h - the Content- fields of a part's header; this room only. */
#ifndef MIME_CONTENT_H
#define MIME_CONTENT_H

#include "base/pool.h"
#include "mime/part.h"

#define PARAMS_MAX   64
#define BOUNDARY_MAX 256

/* Fill the strings of *p (type to languages) from a header block, with the defaults of RFC 2045 5.2 (or
 * RFC 2046 5.1.5 inside a multipart/digest).  Strings are copied to the pool.  false: the pool was full
 * and something is missing; the strings that must be there, are. */
bool content_read(struct span header, bool in_digest, struct pool *pool, struct mime_part *p);
/* Make it a part that nobody looks into. */
void content_opaque(struct mime_part *p);
/* Make it what a part without a Content-Type is. */
void content_default(struct mime_part *p);

#endif
