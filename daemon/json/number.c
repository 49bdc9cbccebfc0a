/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Numbers by RFC 8259 section 6, and whether a reader can hold them.
 *
 * Why by hand: strtod(3) and strtoll(3) accept more than JSON does, need a terminated string and, in the case of
 * strtod(), follow the locale of the program that loaded us. json-c saturates integers beyond 64 bits without a word
 * and reads -0 as 0, so what must have one reading is measured here: an integer is exact as int64_t or it is not, and
 * a fraction or exponent stays clear of infinity when its leading digit stands below 10^308 (the largest double is
 * 1.8·10^308; what lies between is given up for a rule that needs no arithmetic on doubles).
 *
 * Pure; reads nothing at or beyond n. */

#include "json/number.h"

/* Exponents beyond this decide alone: no text is long enough to bring the value back. */
#define EXPONENT_MAX INT64_C(1000000000000)

static bool is_digit(const char *text, size_t n, size_t offset) {
        return offset < n && text[offset] >= '0' && text[offset] <= '9';
}

static bool is_byte(const char *text, size_t n, size_t offset, char c) {
        return offset < n && text[offset] == c;
}

/* Takes the digits before the point. *ret_place: the power of ten of the first, -1 when they are a single 0. */
static int integer_next(const char *text, size_t n, size_t *offset, bool is_negative, JsonNumber *ret,
                int64_t *ret_place) {
        size_t start = *offset;

        if (!is_digit(text, n, *offset))
                return JSON_FAULT_SYNTAX;
        ret->is_int64 = true;
        ret->value = 0;
        for (; is_digit(text, n, *offset); (*offset)++) {
                int digit = text[*offset] - '0';

                if (*offset == start + 1 && text[start] == '0')
                        return JSON_FAULT_SYNTAX;
                /* Towards the sign, since INT64_MIN has no positive counterpart. */
                if (__builtin_mul_overflow(ret->value, (int64_t)10, &ret->value) ||
                                __builtin_add_overflow(ret->value, (int64_t)(is_negative ? -digit : digit),
                                                &ret->value))
                        ret->is_int64 = false;
        }
        if (is_negative && text[start] == '0')
                ret->is_int64 = false;
        *ret_place = text[start] == '0' ? -1 : (int64_t)(*offset - start) - 1;
        return 0;
}

/* Takes the digits behind the point, if there is one, and finds the first that counts when *place is below 0. */
static int fraction_next(const char *text, size_t n, size_t *offset, int64_t *place, bool *is_zero) {
        if (!is_byte(text, n, *offset, '.'))
                return 0;
        (*offset)++;
        if (!is_digit(text, n, *offset))
                return JSON_FAULT_SYNTAX;
        for (; is_digit(text, n, *offset); (*offset)++) {
                if (!*is_zero)
                        continue;
                if (text[*offset] != '0')
                        *is_zero = false;
                else
                        (*place)--;
        }
        return 0;
}

static int exponent_next(const char *text, size_t n, size_t *offset, int64_t *ret) {
        bool is_negative = false;
        int64_t value = 0;

        *ret = 0;
        if (!is_byte(text, n, *offset, 'e') && !is_byte(text, n, *offset, 'E'))
                return 0;
        (*offset)++;
        if (is_byte(text, n, *offset, '+') || is_byte(text, n, *offset, '-')) {
                is_negative = text[*offset] == '-';
                (*offset)++;
        }
        if (!is_digit(text, n, *offset))
                return JSON_FAULT_SYNTAX;
        for (; is_digit(text, n, *offset); (*offset)++)
                if (value < EXPONENT_MAX)
                        value = value * 10 + (text[*offset] - '0');
        *ret = is_negative ? -value : value;
        return 0;
}

int json_number_next(const char *text, size_t n, size_t *offset, JsonNumber *ret) {
        JsonNumber number = {};
        bool is_negative, is_zero;
        int64_t place, exponent;
        size_t end;
        int r;

        is_negative = is_byte(text, n, *offset, '-');
        if (is_negative)
                (*offset)++;

        r = integer_next(text, n, offset, is_negative, &number, &place);
        if (r != 0)
                return r;
        end = *offset;
        is_zero = place < 0;

        r = fraction_next(text, n, offset, &place, &is_zero);
        if (r != 0)
                return r;
        r = exponent_next(text, n, offset, &exponent);
        if (r != 0)
                return r;

        number.is_integer = *offset == end;
        number.is_int64 = number.is_int64 && number.is_integer;
        number.is_below_1e308 = is_zero || place + exponent < 308;
        *ret = number;
        return 0;
}
