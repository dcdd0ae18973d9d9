/* pins.h - readers that need no lock: pages freed after a pin was taken wait for it.
 *
 * Any thread.  A pin joins the newest epoch; freeing pages closes that epoch if anybody is in it. The
 * runs freed behind it become free when it and every older one is empty. */
#ifndef ESE_PINS_H
#define ESE_PINS_H

#include "ese/space.h"

struct pins;
struct pins *pins_new(struct space *space); /* NULL: out of memory */
void pins_free(struct pins *p);             /* NULL is fine */
uint64_t pins_take(struct pins *p);
void pins_drop(struct pins *p, uint64_t pin);
/* The run is deleted: to be released when no pin from before is left. */
void pins_defer(struct pins *p, uint32_t page, uint32_t pages);
uint64_t pins_count(struct pins *p);

#endif
