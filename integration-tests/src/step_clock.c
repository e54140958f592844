/* A library to preload into a process, whose clocks the tests can then step.
 *
 * The file CLOCK_STEPS holds two numbers of 64 bits: by how many nanoseconds the wall clock is off, and by how many the monotonic
 * one. libfaketime cannot be used: it hangs while Envoy starts, because Envoy's allocator reads a clock before the library is
 * ready. So this one allocates nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *steps;

__attribute__((constructor)) static void open_steps(void) {
    const char *name = getenv("CLOCK_STEPS");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) abort();
    void *shared = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) abort();
    close(file);
    steps = shared;
}

static void add(struct timespec *time, int64_t ns) {
    const int64_t second = 1000000000;
    int64_t sum = time->tv_sec * second + time->tv_nsec + ns;
    time->tv_sec = sum / second;
    time->tv_nsec = sum % second;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && steps) {
        if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) add(time, steps[0]);
        if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) add(time, steps[1]);
    }
    return (int)result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}
