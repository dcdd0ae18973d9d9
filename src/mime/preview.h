/* preview.h - the first words of a text part; this room only. */
#ifndef MIME_PREVIEW_H
#define MIME_PREVIEW_H

#include "base/buf.h"
#include "mime/part.h"

/* Of the beginning of a part's body, as it came: the text without markup (for text/html), blanks
 * collapsed, invisible characters left out, at most `max` bytes of UTF-8, never half a character. */
void preview_text(const struct mime_part *p, struct span body, size_t max, struct buf *out);

#endif
