package io.rampipe.itests;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * What a daemon holds: in the kernel by {@code /proc}, in its JVM by {@code jcmd}, after a full
 * collection.
 *
 * @param descriptors by what they lead to, without numbers
 * @param marks of fanotify, and watches of inotify
 * @param threads of the JVM by name, without numbers
 * @param loaders class loaders
 * @param heap bytes of live objects
 * @param instances of RamPipe's classes, by name
 */
record Footprint(
        Map<String, Integer> descriptors,
        int marks,
        Map<String, Integer> threads,
        int loaders,
        long heap,
        Map<String, Long> instances) {

    private static final Pattern HISTOGRAM =
            Pattern.compile("^ *\\d+: +(\\d+) +(\\d+) +(\\S+).*$", Pattern.MULTILINE);
    private static final Pattern LOADERS =
            Pattern.compile("^0x[0-9a-f]+ +\\S+ +\\S+ +\\d+.*$", Pattern.MULTILINE);
    private static final Pattern THREAD = Pattern.compile("^\"([^\"]*)\"", Pattern.MULTILINE);

    static Footprint of(long pid) throws IOException {
        // Soft and weak references that were cleared in the first have their queues emptied after.
        jcmd(pid, "GC.run");
        String histogram = jcmd(pid, "GC.class_histogram");
        long heap = 0;
        Map<String, Long> instances = new TreeMap<>();
        Matcher line = HISTOGRAM.matcher(histogram);
        while (line.find()) {
            heap += Long.parseLong(line.group(2));
            if (line.group(3).startsWith("io.rampipe.")) {
                instances.merge(line.group(3), Long.parseLong(line.group(1)), Long::sum);
            }
        }
        Map<String, Integer> threads = new TreeMap<>();
        Matcher thread = THREAD.matcher(jcmd(pid, "Thread.print"));
        while (thread.find()) {
            threads.merge(thread.group(1).replaceAll("[0-9]+", "N"), 1, Integer::sum);
        }
        return new Footprint(
                descriptors(pid),
                marks(pid),
                threads,
                loaders(jcmd(pid, "VM.classloader_stats")),
                heap,
                instances);
    }

    /** Without those that the JVM makes for methods that are called by reflection. */
    private static int loaders(String statistics) {
        return (int)
                LOADERS.matcher(statistics)
                        .results()
                        .filter(l -> !l.group().contains("DelegatingClassLoader"))
                        .count();
    }

    private static Map<String, Integer> descriptors(long pid) throws IOException {
        Map<String, Integer> all = new TreeMap<>();
        for (Path fd : list(pid, "fd")) {
            try {
                String to = Files.readSymbolicLink(fd).toString();
                all.merge(to.replaceAll("[0-9]+", "N"), 1, Integer::sum);
            } catch (IOException e) {
                // Closed meanwhile.
            }
        }
        return all;
    }

    private static int marks(long pid) throws IOException {
        int marks = 0;
        for (Path info : list(pid, "fdinfo")) {
            try {
                marks +=
                        (int)
                                Files.readAllLines(info).stream()
                                        .filter(
                                                l ->
                                                        l.matches(
                                                                "(fanotify|inotify) .*(mnt_id|sdev|ino|wd).*"))
                                        .filter(l -> !l.startsWith("fanotify flags"))
                                        .count();
            } catch (IOException e) {
                // Closed meanwhile.
            }
        }
        return marks;
    }

    private static List<Path> list(long pid, String directory) throws IOException {
        try (Stream<Path> all = Files.list(Path.of("/proc/" + pid + "/" + directory))) {
            return all.toList();
        }
    }

    private static String jcmd(long pid, String command) throws IOException {
        Process p =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin/jcmd").toString(),
                                Long.toString(pid),
                                command)
                        .redirectErrorStream(true)
                        .start();
        String out = new String(p.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            if (p.waitFor() != 0) {
                throw new IOException("jcmd " + command + ": " + out);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
        return out;
    }

    /**
     * What is more than before, each a line.
     *
     * @param spare descriptors, marks, threads or objects of a kind that may come and go
     * @param heapSpare bytes
     */
    List<String> leaks(Footprint before, int spare, long heapSpare) {
        List<String> all = new ArrayList<>();
        more("descriptor", before.descriptors, descriptors, spare, all);
        more("thread", before.threads, threads, spare, all);
        if (marks > before.marks + spare) {
            all.add("marks and watches: " + before.marks + ", then " + marks);
        }
        if (loaders > before.loaders) {
            all.add("class loaders: " + before.loaders + ", then " + loaders);
        }
        if (heap > before.heap + heapSpare) {
            all.add("heap: " + before.heap + " bytes, then " + heap);
        }
        return all;
    }

    private static void more(
            String what,
            Map<String, Integer> before,
            Map<String, Integer> after,
            int spare,
            List<String> all) {
        after.forEach(
                (name, n) -> {
                    int then = before.getOrDefault(name, 0);
                    if (n > then + spare) {
                        all.add(what + " " + name + ": " + then + ", then " + n);
                    }
                });
    }

    /** For people. */
    String summary() {
        return descriptors.values().stream().mapToInt(i -> i).sum()
                + " descriptors, "
                + marks
                + " marks and watches, "
                + threads.values().stream().mapToInt(i -> i).sum()
                + " threads, "
                + loaders
                + " class loaders, "
                + heap / 1024
                + " KiB of heap, "
                + instances.values().stream().mapToLong(i -> i).sum()
                + " objects of RamPipe's";
    }
}
