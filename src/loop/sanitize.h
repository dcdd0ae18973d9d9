/* sanitize.h - telling AddressSanitizer and ThreadSanitizer which stack runs; nothing otherwise. */
#ifndef LOOP_SANITIZE_H
#define LOOP_SANITIZE_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LOOP_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define LOOP_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(LOOP_ASAN)
#define LOOP_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__) && !defined(LOOP_TSAN)
#define LOOP_TSAN 1
#endif

/* Instrumented frames are several times as large. */
#if defined(LOOP_ASAN) || defined(LOOP_TSAN)
#define STACK_FACTOR 8
#else
#define STACK_FACTOR 1
#endif

#ifdef LOOP_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define asan_leave(save, bottom, size)  __sanitizer_start_switch_fiber(save, bottom, size)
#define asan_arrive(fake, bottom, size) __sanitizer_finish_switch_fiber(fake, bottom, size)
#define asan_fresh(stack, size)         __asan_unpoison_memory_region(stack, size)
#else
#define asan_leave(save, bottom, size)  ((void)(save), (void)(bottom), (void)(size))
#define asan_arrive(fake, bottom, size) ((void)(fake), (void)(bottom), (void)(size))
#define asan_fresh(stack, size)         ((void)(stack), (void)(size))
#endif

#ifdef LOOP_TSAN
#include <sanitizer/tsan_interface.h>
#define tsan_self()         __tsan_get_current_fiber()
#define tsan_create()       __tsan_create_fiber(0)
#define tsan_destroy(fiber) __tsan_destroy_fiber(fiber)
#define tsan_goto(fiber)    __tsan_switch_to_fiber(fiber, 0)
#else
#define tsan_self()         NULL
#define tsan_create()       NULL
#define tsan_destroy(fiber) ((void)(fiber))
#define tsan_goto(fiber)    ((void)(fiber))
#endif

#endif
