/* rows.h - cmocka and its includes, for tests of pure code.  After the headers
 * under test: cmocka has a macro fail(), which hides the function unless it is called as (fail)(). */
#ifndef TESTS_BASE_ROWS_H
#define TESTS_BASE_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
