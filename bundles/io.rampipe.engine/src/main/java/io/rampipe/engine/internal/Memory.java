package io.rampipe.engine.internal;

import java.io.IOException;
import java.io.UncheckedIOException;
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

    /** Which does not change; for the configuration. */
    static long total() {
        try {
            return kilobytes(MEMINFO, "MemTotal:") << 10;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What programs could still take without swapping. */
    static long available() throws IOException {
        return kilobytes(MEMINFO, "MemAvailable:") << 10;
    }

    /** What this process holds; for people, 0 if it cannot be told. */
    static long resident() {
        try {
            return kilobytes(STATUS, "VmRSS:") << 10;
        } catch (IOException e) {
            return 0;
        }
    }

    /** The same of {@link #available}. */
    static long availableIfKnown() {
        try {
            return available();
        } catch (IOException e) {
            return 0;
        }
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

    private static long kilobytes(Path table, String key) throws IOException {
        for (String line : Files.readAllLines(table, StandardCharsets.US_ASCII)) {
            if (line.startsWith(key)) {
                return Long.parseLong(line.substring(key.length()).replaceAll("\\D", ""));
            }
        }
        throw new IOException(table + " does not tell " + key);
    }
}
