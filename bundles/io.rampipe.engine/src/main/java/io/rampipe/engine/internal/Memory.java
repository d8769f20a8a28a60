package io.rampipe.engine.internal;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The machine's memory as the kernel tells it ({@code proc_meminfo(5)}, {@code
 * Documentation/accounting/psi.rst}). Bytes.
 */
final class Memory {
    private static final Path MEMINFO = Path.of("/proc/meminfo");
    private static final Path PRESSURE = Path.of("/proc/pressure/memory");
    private static final Path STATUS = Path.of("/proc/self/status");

    private Memory() {}

    static long total() {
        return kilobytes(MEMINFO, "MemTotal:") << 10;
    }

    /** What programs could still take without swapping. */
    static long available() {
        return kilobytes(MEMINFO, "MemAvailable:") << 10;
    }

    /** Of this process. */
    static long resident() {
        return kilobytes(STATUS, "VmRSS:") << 10;
    }

    /**
     * Percent of the last ten seconds in which some program waited for memory; 0 where the kernel
     * does not report it.
     */
    static double pressure() {
        try {
            for (String word :
                    Files.readString(PRESSURE, StandardCharsets.US_ASCII).split("\\s+")) {
                if (word.startsWith("avg10=")) {
                    return Double.parseDouble(word.substring("avg10=".length()));
                }
            }
        } catch (IOException e) {
            // Kernels without CONFIG_PSI have no such file, those with psi=0 refuse to read it.
            return 0;
        }
        return 0;
    }

    private static long kilobytes(Path table, String key) {
        try {
            for (String line : Files.readAllLines(table, StandardCharsets.US_ASCII)) {
                if (line.startsWith(key)) {
                    return Long.parseLong(line.substring(key.length()).replaceAll("\\D", ""));
                }
            }
        } catch (IOException e) {
            throw new IllegalStateException("cannot read " + table + ": is /proc mounted?", e);
        }
        return 0;
    }
}
