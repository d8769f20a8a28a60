package io.rampipe.linux;

import com.sun.jna.Function;
import com.sun.jna.NativeLibrary;

/** The C library's heap, {@code malloc(3)}: the JVM's compiler, its symbols, and JNA live there. */
public final class NativeHeap {
    private NativeHeap() {}

    /**
     * Gives free pages in the middle of it back to the kernel ({@code malloc_trim(3)}), which
     * {@code free(3)} does at its end only. Other threads that allocate wait meanwhile,
     * milliseconds. Does nothing with a C library that has no such call. Any thread.
     */
    public static void trim() {
        Function trim;
        try {
            trim = NativeLibrary.getInstance("c").getFunction("malloc_trim");
        } catch (UnsatisfiedLinkError e) {
            return;
        }
        trim.invokeInt(new Object[] {0L});
    }
}
