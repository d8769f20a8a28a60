package io.rampipe.source.inotify.internal;

import io.rampipe.linux.Stat;
import java.nio.ByteBuffer;
import java.util.SplittableRandom;

/** 64-bit identities of directories and files, computed without allocating. */
final class Identity {
    /** So that nobody can choose names whose files are taken for one another. */
    private static final long SEED = new SplittableRandom().nextLong();

    private Identity() {}

    /** Of a directory or file by its device and inode. Never 0. */
    static long of(Stat stat) {
        return numbers(stat.device(), stat.inode());
    }

    /** Of two numbers. Never 0. */
    static long numbers(long a, long b) {
        return notZero(mix(mix(SEED, a), b));
    }

    /** Of a name in a directory. Never 0. */
    static long file(long directory, ByteBuffer memory, int offset, int length) {
        long h = mix(directory, length);
        int i = offset;
        int end = offset + length;
        for (; end - i >= 8; i += 8) {
            h = mix(h, memory.getLong(i));
        }
        long rest = 0;
        for (; i < end; i++) {
            rest = rest << 8 | memory.get(i) & 0xff;
        }
        return notZero(mix(h, rest));
    }

    /** The finaliser of SplitMix64 (Stafford's variant 13) over state and input: a bijection. */
    private static long mix(long h, long k) {
        long z = h + 0x9e3779b97f4a7c15L ^ k;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    private static long notZero(long h) {
        return h == 0 ? 1 : h;
    }
}
