/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fibers over ucontext(3).
 *
 * Why: connecting a service is a chain of about ten awaited steps (five HTTP exchanges, several durable writes), each
 * of which may fail or be cancelled. As callbacks that is a state machine whose error paths nobody reads twice; as
 * a fiber it is a function. The alternative, a thread per exchange, would bring locks into everything the loop owns.
 *
 * Invariants: a fiber only ever runs from its own deferred event source, never nested in another fiber, so nothing
 * that runs in the loop can be re-entered; a fiber is parked, queued or running, and only a parked one can be
 * resumed. Stacks are mapped with a guard page below and come from a small pool, since mapping, protecting and unmapping one
 * takes longer than most calls run (measured); a stack is erased before it goes there, so no fiber finds what the former
 * one left and no secret stays longer than with the mapping. Address Sanitizer is told of each switch, otherwise
 * its shadow of the stack goes wrong (sanitizer/common_interface_defs.h); in builds with test hooks valgrind is told of each
 * stack (its manual, "The client request mechanism").
 *
 * Who may call: the loop's thread only. */

#include <assert.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "util/fiber.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAVE_ASAN 1
#endif
#endif
#ifndef HAVE_ASAN
#define HAVE_ASAN 0
#endif
#if HAVE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if HAVE_VALGRIND
#include <valgrind/memcheck.h>
#endif

/* Room for curl's and json-c's deepest calls several times over; pages that are not touched cost nothing. */
#define FIBER_STACK_SIZE (256U * 1024U)
#define FIBER_GUARD_SIZE 4096U
/* Stacks kept for the next fibers, and how much of each stays resident: what a short call touches. */
#define POOL_SIZE     32U
#define POOL_RESIDENT 16384U

typedef enum FiberState {
        FIBER_QUEUED,
        FIBER_RUNNING,
        FIBER_PARKED,
        FIBER_FINISHED,
} FiberState;

struct Fiber {
        ucontext_t context;
        ucontext_t loop;
        sd_event *event;
        sd_event_source *defer;
        FiberEntry entry;
        FiberDone done;
        void *userdata;
        void *map;
        FiberState state;
        bool is_cancelled;
        bool is_uncancellable; /* the present wait ends by fiber_resume() alone */
        int value;
        Fiber *next, *previous;
#if HAVE_ASAN
        void *fake_stack;
        const void *loop_stack;
        size_t loop_stack_size;
#endif
};

static __thread Fiber *current;
static __thread Fiber *all_fibers;

static __thread void *pool[POOL_SIZE];
static __thread unsigned n_pool;

static size_t fiber_map_size(void) {
        return FIBER_STACK_SIZE + FIBER_GUARD_SIZE;
}

/* To valgrind, that from here on this is a stack. It stays one in its books after munmap(2): an address that comes back is
 * announced again, and a stack among others' memory is only looked for when the stack pointer jumps. */
static void stack_announce(void *map) {
#if HAVE_VALGRIND
        uint8_t *stack = (uint8_t *)map + FIBER_GUARD_SIZE;

        (void)VALGRIND_STACK_REGISTER(stack, stack + FIBER_STACK_SIZE);
#endif
}

/* A stack of zeros with a guard page at its lower end. */
static int stack_take(void **ret) {
        void *map;

        if (n_pool > 0) {
                *ret = pool[--n_pool];
                return 0;
        }
        map = mmap(NULL, fiber_map_size(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
        if (map == MAP_FAILED)
                return -errno;
        if (mprotect(map, FIBER_GUARD_SIZE, PROT_NONE) < 0) {
                int r = -errno;

                (void)munmap(map, fiber_map_size());
                return r;
        }
        stack_announce(map);
        *ret = map;
        return 0;
}

/* Erases the stack and keeps it, or unmaps it. Its upper end, which every call touches, is overwritten; the kernel takes the
 * pages below that and gives zeros when they are touched again (madvise(2), MADV_DONTNEED). */
static void stack_return(void *map) {
        uint8_t *stack = (uint8_t *)map + FIBER_GUARD_SIZE;

#if HAVE_ASAN
        /* The outermost frame is never returned from and leaves its red zones behind. */
        __asan_unpoison_memory_region(stack, FIBER_STACK_SIZE);
#endif
#if HAVE_VALGRIND
        (void)VALGRIND_MAKE_MEM_UNDEFINED(stack, FIBER_STACK_SIZE);
#endif
        if (n_pool == POOL_SIZE || madvise(stack, FIBER_STACK_SIZE - POOL_RESIDENT, MADV_DONTNEED) < 0) {
                (void)munmap(map, fiber_map_size());
                return;
        }
        explicit_bzero(stack + FIBER_STACK_SIZE - POOL_RESIDENT, POOL_RESIDENT);
        pool[n_pool++] = map;
}

static Fiber *fiber_free(Fiber *f) {
        if (!f)
                return NULL;

        if (f->previous)
                f->previous->next = f->next;
        else if (all_fibers == f)
                all_fibers = f->next;
        if (f->next)
                f->next->previous = f->previous;

        sd_event_source_disable_unref(f->defer);
        sd_event_unref(f->event);
        if (f->map)
                stack_return(f->map);
        free(f);
        return NULL;
}

DEFINE_CLEANUP(Fiber *, fiber_free)

/* Leaves the fiber's stack for the loop's; returns when the fiber is switched in again. */
static void fiber_leave(Fiber *f) {
#if HAVE_ASAN
        __sanitizer_start_switch_fiber(f->state == FIBER_FINISHED ? NULL : &f->fake_stack, f->loop_stack,
                        f->loop_stack_size);
#endif
        (void)swapcontext(&f->context, &f->loop);
#if HAVE_ASAN
        __sanitizer_finish_switch_fiber(f->fake_stack, &f->loop_stack, &f->loop_stack_size);
#endif
}

static void fiber_trampoline(unsigned low, unsigned high) {
        Fiber *f = (Fiber *)(uintptr_t)((uint64_t)low | ((uint64_t)high << 32));

#if HAVE_ASAN
        __sanitizer_finish_switch_fiber(NULL, &f->loop_stack, &f->loop_stack_size);
#endif
        f->value = f->entry(f->userdata);
        f->state = FIBER_FINISHED;
        fiber_leave(f);
        abort(); /* a finished fiber is never switched in again */
}

static int fiber_on_defer(sd_event_source *source, void *userdata) {
        Fiber *f = userdata;
#if HAVE_ASAN
        void *fake = NULL;
#endif

        assert(!current);
        assert(f->state == FIBER_QUEUED);

        current = f;
        f->state = FIBER_RUNNING;
#if HAVE_ASAN
        __sanitizer_start_switch_fiber(&fake, (uint8_t *)f->map + FIBER_GUARD_SIZE, FIBER_STACK_SIZE);
#endif
        (void)swapcontext(&f->loop, &f->context);
#if HAVE_ASAN
        __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
        current = NULL;

        if (f->state == FIBER_FINISHED) {
                if (f->done)
                        f->done(f->value, f->userdata);
                (void)fiber_free(f);
        }
        return 0;
}

int fiber_spawn(sd_event *event, FiberEntry entry, FiberDone done, void *userdata, Fiber **ret_fiber) {
        _cleanup_(fiber_freep) Fiber *f = NULL;
        int r;

        f = calloc(1, sizeof(Fiber));
        if (!f)
                return -ENOMEM;

        f->event = sd_event_ref(event);
        f->entry = entry;
        f->done = done;
        f->userdata = userdata;
        f->state = FIBER_QUEUED;

        r = stack_take(&f->map);
        if (r < 0)
                return r;
        if (getcontext(&f->context) < 0)
                return -errno;
        f->context.uc_stack.ss_sp = (uint8_t *)f->map + FIBER_GUARD_SIZE;
        f->context.uc_stack.ss_size = FIBER_STACK_SIZE;
        f->context.uc_link = NULL;
        uint64_t self = (uint64_t)(uintptr_t)f;
        makecontext(&f->context, (void (*)(void))fiber_trampoline, 2, (unsigned)(self & UINT32_MAX),
                        (unsigned)(self >> 32));

        r = sd_event_add_defer(event, &f->defer, fiber_on_defer, f);
        if (r < 0)
                return r;

        f->next = all_fibers;
        if (all_fibers)
                all_fibers->previous = f;
        all_fibers = f;

        if (ret_fiber)
                *ret_fiber = f;
        (void)TAKE_PTR(f);
        return 0;
}

Fiber *fiber_current(void) {
        return current;
}

sd_event *fiber_event(Fiber *fiber) {
        return fiber->event;
}

int fiber_suspend(void) {
        Fiber *f = current;

        assert(f);
        if (f->is_cancelled)
                return -ECANCELED;

        f->state = FIBER_PARKED;
        fiber_leave(f);
        return f->is_cancelled ? -ECANCELED : f->value;
}

int fiber_suspend_uncancellable(void) {
        Fiber *f = current;

        assert(f);
        f->is_uncancellable = true;
        f->state = FIBER_PARKED;
        fiber_leave(f);
        f->is_uncancellable = false;
        return f->value;
}

void fiber_resume(Fiber *fiber, int value) {
        if (fiber->state != FIBER_PARKED)
                return;
        fiber->state = FIBER_QUEUED;
        fiber->value = value;
        int r = sd_event_source_set_enabled(fiber->defer, SD_EVENT_ONESHOT);
        assert(r >= 0);
}

void fiber_cancel(Fiber *fiber) {
        fiber->is_cancelled = true;
        if (!fiber->is_uncancellable)
                fiber_resume(fiber, -ECANCELED);
}

bool fiber_is_cancelled(Fiber *fiber) {
        return fiber->is_cancelled;
}

static int fiber_on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        fiber_resume(userdata, 0);
        return 0;
}

static int fiber_on_turn(sd_event_source *source, void *userdata) {
        fiber_resume(userdata, 0);
        return 0;
}

int fiber_sleep(uint64_t usec) {
        /* Left to itself sd-event puts timers together that are a quarter of a second apart. */
        uint64_t accuracy = MIN(MAX(usec / 8, (uint64_t)1), 250 * USEC_PER_MSEC);
        sd_event_source *wait = NULL;
        int r;

        assert(current);
        r = usec == 0 ? sd_event_add_defer(current->event, &wait, fiber_on_turn, current)
                      : sd_event_add_time_relative(current->event, &wait, CLOCK_MONOTONIC, usec, accuracy,
                                        fiber_on_timer, current);
        if (r < 0)
                return r;
        r = fiber_suspend();
        sd_event_source_disable_unref(wait);
        return r;
}

unsigned fiber_cancel_all(void) {
        unsigned n = 0;

        for (Fiber *f = all_fibers; f; f = f->next) {
                fiber_cancel(f);
                n++;
        }
        return n;
}
