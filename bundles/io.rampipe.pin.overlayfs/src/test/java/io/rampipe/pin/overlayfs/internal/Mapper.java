package io.rampipe.pin.overlayfs.internal;

import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.TimeUnit;

/** A program that maps a file for writing and closes it again. */
final class Mapper {
    private Mapper() {}

    static String[] command(Path file) {
        return new String[] {
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-cp",
            Path.of("target", "test-classes").toAbsolutePath().toString(),
            Mapper.class.getName(),
            file.toString()
        };
    }

    public static void main(String[] args) throws Exception {
        MappedByteBuffer mapped;
        try (FileChannel channel =
                FileChannel.open(
                        Path.of(args[0]), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            mapped = channel.map(FileChannel.MapMode.READ_WRITE, 0, 1);
        }
        System.out.println("ready");
        TimeUnit.SECONDS.sleep(60);
        mapped.put(0, mapped.get(0));
    }
}
