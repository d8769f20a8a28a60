/*
 * The load of the listener benchmark: 1-byte writes for a while, to one file or to many in turn. Prints the calls made a
 * second, and the CPU seconds that another process (the listener) used a second meanwhile.
 *
 *   writer DIR FILES WARMUP SECONDS [PID]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static double read_clock(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t)) {
        perror("writer: the listener is gone");
        exit(1);
    }
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Writes until the time is over; returns the number of calls. */
static long write_for(const int *fds, int files, double seconds)
{
    double end = read_clock(CLOCK_MONOTONIC) + seconds;
    long calls = 0;

    while (read_clock(CLOCK_MONOTONIC) < end) {
        for (int i = 0; i < 1000; i++, calls++) {
            if (pwrite(fds[calls % files], "x", 1, 0) != 1) {
                perror("writer: pwrite");
                exit(1);
            }
        }
    }
    return calls;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: writer DIR FILES WARMUP SECONDS [PID]\n");
        return 2;
    }
    int files = atoi(argv[2]);
    pid_t listener = argc > 5 ? atoi(argv[5]) : 0;
    struct rlimit limit = {files + 100, files + 100};
    int *fds = calloc(files, sizeof *fds);
    clockid_t cpu;

    if (!fds || setrlimit(RLIMIT_NOFILE, &limit) || chdir(argv[1])) {
        perror("writer");
        return 1;
    }
    for (int i = 0; i < files; i++) {
        char name[32];

        snprintf(name, sizeof name, "file%d", i);
        fds[i] = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fds[i] < 0) {
            perror(name);
            return 1;
        }
    }
    /* The clock of a process counts all its threads, those that have ended too. */
    if (listener && clock_getcpuclockid(listener, &cpu)) {
        fprintf(stderr, "writer: no process %d\n", (int)listener);
        return 1;
    }
    write_for(fds, files, atof(argv[3]));

    double cpu_before = listener ? read_clock(cpu) : 0;
    double before = read_clock(CLOCK_MONOTONIC);
    long calls = write_for(fds, files, atof(argv[4]));
    double passed = read_clock(CLOCK_MONOTONIC) - before;

    printf("%.0f %.6f\n", calls / passed, listener ? (read_clock(cpu) - cpu_before) / passed : 0);
    return 0;
}
