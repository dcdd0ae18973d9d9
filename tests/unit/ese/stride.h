/* stride.h - how many of the operations a fault test tries.
 *
 * Each of them at night (MAILROOT_FULL=1); otherwise every third, and fewer under a sanitizer, which is ten times slower.
 * The drive of tests/crash fails every single one of the same engine's operations in every run. */
#ifndef TEST_ESE_STRIDE_H
#define TEST_ESE_STRIDE_H

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAULT_STRIDE 11
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FAULT_STRIDE 11
#endif
#endif
#ifndef FAULT_STRIDE
#define FAULT_STRIDE 3
#endif

static inline long fault_stride(void)
{
	return getenv("MAILROOT_FULL") ? 1 : FAULT_STRIDE;
}

#endif
