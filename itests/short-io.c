/*
 * Makes reads and writes short and calls interrupted, for itests/faults: preloaded into the
 * daemon. JNA finds the C library's functions by dlsym, so that is what is replaced.
 * Compiled without headers, which the machine may lack.
 */
typedef unsigned long size;

extern void *dlvsym(void *handle, const char *name, const char *version);
extern long syscall(long number, ...);
extern int *__errno_location(void);
extern int strcmp(const char *a, const char *b);

#ifdef __x86_64__
enum { PREAD = 17, PWRITE = 18, FSYNC = 74, FTRUNCATE = 77, FALLOCATE = 285, SYNCFS = 306 };
#else
enum { PREAD = 67, PWRITE = 68, FSYNC = 82, FTRUNCATE = 46, FALLOCATE = 47, SYNCFS = 267 };
#endif

static size state = 88172645463325252UL;

static size draw(void) {
    size x = __atomic_add_fetch(&state, 0x9e3779b97f4a7c15UL, __ATOMIC_RELAXED);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9UL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebUL;
    return x ^ (x >> 31);
}

/* One call in eight is interrupted. */
static int interrupted(void) {
    if (draw() % 8 == 0) {
        *__errno_location() = 4;
        return 1;
    }
    return 0;
}

static size less(size n) {
    return n < 2 ? n : 1 + draw() % (draw() % 4 == 0 ? 16 < n ? 16 : n : n);
}

static long short_pread(int fd, void *to, size n, long at) {
    return interrupted() ? -1 : syscall(PREAD, fd, to, less(n), at);
}

static long short_pwrite(int fd, const void *from, size n, long at) {
    return interrupted() ? -1 : syscall(PWRITE, fd, from, less(n), at);
}

static int again_fsync(int fd) { return interrupted() ? -1 : (int) syscall(FSYNC, fd); }
static int again_syncfs(int fd) { return interrupted() ? -1 : (int) syscall(SYNCFS, fd); }

static int again_ftruncate(int fd, long length) {
    return interrupted() ? -1 : (int) syscall(FTRUNCATE, fd, length);
}

static int again_fallocate(int fd, int mode, long from, long length) {
    return interrupted() ? -1 : (int) syscall(FALLOCATE, fd, mode, from, length);
}

void *dlsym(void *handle, const char *name) {
    static const struct {
        const char *name;
        void *function;
    } ours[] = {
        {"pread64", short_pread},     {"pwrite64", short_pwrite},       {"fsync", again_fsync},
        {"syncfs", again_syncfs},     {"ftruncate64", again_ftruncate}, {"fallocate64", again_fallocate},
    };
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
    static void *(*real)(void *, const char *);
    for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (strcmp(name, ours[i].name) == 0) {
            return ours[i].function;
        }
    }
    for (unsigned i = 0; !real && i < sizeof versions / sizeof *versions; i++) {
        real = (void *(*)(void *, const char *)) dlvsym((void *) -1L, "dlsym", versions[i]);
    }
    return real ? real(handle, name) : (void *) 0;
}
