/* context.c - switching stacks; see context.h. */
#include "loop/context.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

/* clang-format off */
__asm__(
	".text\n"
	".p2align 4\n"
	".globl context_switch\n"
	".hidden context_switch\n"
	".type context_switch, @function\n"
	"context_switch:\n"
	"	.cfi_startproc\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq (%rsi), %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size context_switch, . - context_switch\n");
/* clang-format on */

void context_make(struct context *c, void *stack, size_t size, void (*entry)(void))
{
	/* From the top: a return address of 0, where backtraces end; entry, which "ret" takes and
	 * so begins with a stack that is 8 off 16, as behind a call; six registers of 0. */
	uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
	uintptr_t *sp = (uintptr_t *)top - 8;

	memset(sp, 0, 8 * sizeof(*sp));
	sp[6] = (uintptr_t)entry;
	c->sp = sp;
}

#elif defined(__aarch64__)

/* clang-format off */
__asm__(
	".text\n"
	".p2align 4\n"
	".globl context_switch\n"
	".hidden context_switch\n"
	".type context_switch, %function\n"
	"context_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	ldr x9, [x1]\n"
	"	mov sp, x9\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size context_switch, . - context_switch\n");
/* clang-format on */

void context_make(struct context *c, void *stack, size_t size, void (*entry)(void))
{
	uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
	uintptr_t *sp = (uintptr_t *)top - 20;

	memset(sp, 0, 20 * sizeof(*sp));
	sp[11] = (uintptr_t)entry; /* x30, which "ret" takes; x29 is 0, where backtraces end */
	c->sp = sp;
}

#else

void context_make(struct context *c, void *stack, size_t size, void (*entry)(void))
{
	getcontext(&c->u);
	c->u.uc_stack.ss_sp = stack;
	c->u.uc_stack.ss_size = size;
	c->u.uc_link = NULL;
	makecontext(&c->u, entry, 0);
}

void context_switch(struct context *from, struct context *to)
{
	swapcontext(&from->u, &to->u);
}

#endif
