/*
 * Lets User Mode Linux run on processors with AMX. PTRACE_SETREGSET of NT_X86_XSTATE wants the whole register set
 * (xstateregs_set in arch/x86/kernel/fpu/regset.c refuses less), and with AMX that is 11 KB; User Mode Linux before
 * 6.14 keeps it in a buffer of fixed size that was made for AVX-512, and so dies with EFAULT in its first process.
 *
 * Preloaded, this hands it as much as fits in its buffer, and fills up what it hands back with state in its initial
 * form: nothing in the guest can use AMX, because it never asks the kernel for the permission.
 *
 * It needs no header files: gcc -O2 -shared -fPIC -nostdlib -ffreestanding
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define SYS_PTRACE 101 /* x86_64 */
#define PEEK_FIRST 1   /* PTRACE_PEEKTEXT, PEEKDATA, PEEKUSER: the system call stores, the C library returns */
#define PEEK_LAST 3
#define GET_REGISTERS 0x4204
#define SET_REGISTERS 0x4205
#define XSTATE 0x202        /* NT_X86_XSTATE */
#define XSTATE_BV 512       /* offset of the bits that tell which parts are not in their initial form */
#define WITHOUT_AMX 0x2ff   /* x87 to AVX-512, and protection keys */

struct iovec {
    void *base;
    size_t length;
};

long syscall(long number, ...);
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);

static char registers[65536] __attribute__((aligned(64)));
static size_t whole;

static long all_registers(long process)
{
    struct iovec all = {registers, sizeof registers};
    long result = syscall(SYS_PTRACE, (long)GET_REGISTERS, process, (long)XSTATE, &all);
    if (result >= 0)
        whole = all.length;
    return result;
}

long ptrace(int request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    long process = va_arg(arguments, int);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (request >= PEEK_FIRST && request <= PEEK_LAST) {
        long value;
        long result = syscall(SYS_PTRACE, (long)request, process, address, &value);
        return result < 0 ? result : value;
    }
    if ((uintptr_t)address != XSTATE || (request != GET_REGISTERS && request != SET_REGISTERS))
        return syscall(SYS_PTRACE, (long)request, process, address, data);

    struct iovec *theirs = data;
    if (request == GET_REGISTERS) {
        if (all_registers(process) < 0)
            return -1;
        if (theirs->length > whole)
            theirs->length = whole;
        memcpy(theirs->base, registers, theirs->length);
        return 0;
    }
    if (whole == 0 && all_registers(process) < 0)
        return -1;
    memset(registers, 0, whole);
    memcpy(registers, theirs->base, theirs->length < whole ? theirs->length : whole);
    *(uint64_t *)(registers + XSTATE_BV) &= WITHOUT_AMX;
    struct iovec all = {registers, whole};
    return syscall(SYS_PTRACE, (long)SET_REGISTERS, process, (long)XSTATE, &all);
}
