import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Writes to random blocks of 4 KiB as fast as it can: for each interval a fresh choice of as many
 * blocks as make 10 MB, written over and over. On standard output, ten times a second: milliseconds
 * since the epoch, and writes a second since the line before.
 *
 * <p>Usage: java Writer.java DIRECTORY BLOCKS INTERVAL_MS [ROUNDS]; with ROUNDS, as many choices,
 * each written once, then it ends.
 */
public final class Writer {
    private static final int BLOCK = 4096;

    public static void main(String[] args) throws Exception {
        List<FileChannel> files = new ArrayList<>();
        List<Path> paths;
        try (var list = Files.list(Path.of(args[0]))) {
            paths = list.filter(p -> p.getFileName().toString().startsWith("f")).sorted().toList();
        }
        for (Path p : paths) {
            files.add(FileChannel.open(p, StandardOpenOption.WRITE));
        }
        int count = Integer.parseInt(args[1]);
        long interval = Long.parseLong(args[2]) * 1_000_000;
        int rounds = args.length > 3 ? Integer.parseInt(args[3]) : 0;
        long blocks = files.get(0).size() / BLOCK;
        Random random = new Random();
        System.err.println("seed is the time; blocks " + blocks * files.size());
        ByteBuffer data = ByteBuffer.allocateDirect(BLOCK);
        int[] file = new int[count];
        long[] offset = new long[count];
        long last = System.nanoTime();
        long writes = 0;
        for (int round = 0; rounds == 0 || round < rounds; round++) {
            for (int i = 0; i < count; i++) {
                file[i] = random.nextInt(files.size());
                offset[i] = Math.floorMod(random.nextLong(), blocks) * BLOCK;
            }
            long end = System.nanoTime() + interval;
            long n = random.nextLong();
            do {
                n++;
                for (int i = 0; i < count; i++) {
                    data.clear();
                    for (int k = 0; k < BLOCK; k += 512) {
                        data.putLong(k, n * 0x9e3779b97f4a7c15L + i);
                    }
                    write(files.get(file[i]), data, offset[i]);
                    writes++;
                    if ((i & 63) == 0 && System.nanoTime() - last >= 100_000_000L) {
                        long now = System.nanoTime();
                        System.out.printf(
                                "%d %.0f%n",
                                System.currentTimeMillis(), writes * 1e9 / (now - last));
                        last = now;
                        writes = 0;
                    }
                }
            } while (rounds == 0 && System.nanoTime() < end);
        }
    }

    private static void write(FileChannel f, ByteBuffer data, long at) throws IOException {
        f.write(data, at);
    }
}
