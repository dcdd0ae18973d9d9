/* context.h - switching stacks in a few instructions.
 *
 * Only what the ABI makes the callee keep is saved; the signal mask is not touched (that is what
 * makes swapcontext(3) slow), nor are the floating-point control words, which nothing here changes. */
#ifndef LOOP_CONTEXT_H
#define LOOP_CONTEXT_H

#include <stddef.h>

#if defined(__x86_64__) || defined(__aarch64__)
struct context {
	void *sp;
};
#else
#include <ucontext.h>
struct context {
	ucontext_t u;
};
#endif

/* Make `c` begin in entry() on the given stack; entry() must never return. */
void context_make(struct context *c, void *stack, size_t size, void (*entry)(void));
/* Save the running context into `from` and go on in `to`. */
void context_switch(struct context *from, struct context *to);

#endif
