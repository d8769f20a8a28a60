package io.rampipe.pin.overlayfs.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.BusyException;
import io.rampipe.api.Pin;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.NeedsMounts;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Programs open, write and close files all the time while their directory is pinned again and
 * again. Whatever they have been told is written must be there afterwards.
 */
@NeedsMounts
class PinRaceTest {
    private static final int ROUNDS = 200;
    private static final Duration LIMIT = Duration.ofSeconds(20);

    /** Does $step while the flag is there, counts, and tells the count when the flag is gone. */
    private static final String LOOP =
            "my($dir,$flag,$me,$pause)=@ARGV;$|=1;my $n=0;"
                    + "sub step; print \"ready\\n\";"
                    + "while(defined(my $order=<STDIN>)){"
                    + "  while(-e $flag){$n++;step($n);select(undef,undef,undef,$pause)}"
                    + "  print \"$n\\n\";"
                    + "}";

    private static final String APPEND =
            "sub step{my $l=\"$me $_[0]\\n\";open(my $f,'>>',\"$dir/a\")||die;"
                    + "syswrite($f,$l)==length($l)||die;close($f)||die}";

    private static final String IN_PLACE =
            "sub step{open(my $f,'+<',\"$dir/b\")||die;"
                    + "syswrite($f,sprintf('%09d',$_[0]))==9||die;close($f)||die}";

    private static final String CREATE =
            "sub step{open(my $f,'>',\"$dir/sub/n$_[0]\")||die;close($f)||die}";

    private record Hammer(Process process, BufferedReader out, OutputStream in) {
        static Hammer start(Bench bench, Path dir, Path flag, String step, int me, String pause)
                throws Exception {
            Process process =
                    bench.helper(
                            bench.pool,
                            "perl",
                            "-e",
                            LOOP.replace("sub step;", step),
                            dir.toString(),
                            flag.toString(),
                            Integer.toString(me),
                            pause);
            BufferedReader out = process.inputReader();
            return new Hammer(process, out, process.getOutputStream());
        }

        void go() throws IOException {
            in.write('\n');
            in.flush();
        }

        int done() throws IOException {
            String line;
            do {
                line = out.readLine();
            } while (line != null && line.isBlank());
            assertTrue(line != null, "a program failed");
            return Integer.parseInt(line);
        }
    }

    @Test
    @Timeout(240)
    void noWriteIsLostWithFilesRewrittenInPlace() throws Exception {
        race(false, false);
    }

    @Test
    @Timeout(240)
    void noWriteIsLostWithFilesMade() throws Exception {
        race(true, false);
    }

    @Test
    @Timeout(240)
    void noWriteIsLostWithOneFile() throws Exception {
        race(false, true);
    }

    private void race(boolean creating, boolean file) throws Exception {
        Map<Refusal.Cause, Integer> refusals = new EnumMap<>(Refusal.Cause.class);
        int pinned = 0;
        int bypassed = 0;
        try (Bench bench = new Bench()) {
            Path dir = bench.directory("d");
            Path flag = bench.disk.aside("flags").resolve("go");
            List<Hammer> hammers = new ArrayList<>();
            hammers.add(Hammer.start(bench, dir, flag, APPEND, 1, "0.0005"));
            hammers.add(Hammer.start(bench, dir, flag, APPEND, 2, "0.02"));
            hammers.add(Hammer.start(bench, dir, flag, IN_PLACE, 3, "0.03"));
            if (creating) {
                hammers.add(Hammer.start(bench, dir, flag, CREATE, 4, "0.05"));
            }
            Files.writeString(dir.resolve("b"), "000000000");
            Files.writeString(dir.resolve("a"), "");
            int[] from = new int[hammers.size()];
            for (int round = 0; round < ROUNDS; round++) {
                Files.createFile(flag);
                for (Hammer h : hammers) {
                    h.go();
                }
                long start = Files.size(dir.resolve("a"));
                await(() -> Files.size(dir.resolve("a")) > start);
                Pin pin = null;
                try {
                    pin = file ? bench.pinFile(dir.resolve("a")) : bench.pin(dir, "a");
                    long now = Files.size(dir.resolve("a"));
                    await(() -> Files.size(dir.resolve("a")) > now);
                } catch (RefusedException e) {
                    refusals.merge(e.refusal().cause(), 1, Integer::sum);
                }
                Files.delete(flag);
                int[] to = new int[hammers.size()];
                for (int i = 0; i < to.length; i++) {
                    to[i] = hammers.get(i).done();
                }
                boolean doubtful = pin != null && pin.attributes().containsKey(Pin.BYPASSED);
                pinned += pin != null ? 1 : 0;
                bypassed += doubtful ? 1 : 0;
                TreeSet<String> lost = expected(from, to, creating);
                if (pin != null) {
                    unmount(bench, pin);
                    Path upper = Path.of(pin.path(Pin.UPPER).toString());
                    String lower = Files.readString(dir.resolve("a"));
                    if (!doubtful) {
                        assertTrue(
                                Files.readString(upper.resolve("a")).startsWith(lower),
                                "round " + round + ": written below while pinned");
                    }
                    if (doubtful) {
                        // Two versions, and the record says so: neither is lost.
                        remove(lost, dir);
                    }
                    syncBack(upper, dir);
                }
                remove(lost, dir);
                assertEquals(new TreeSet<>(), lost, "round " + round + " " + pin);
                if (pin != null) {
                    bench.strategy.discard(pin);
                }
                from = to;
                Files.writeString(dir.resolve("a"), "");
                clear(dir.resolve("sub"));
            }
        }
        System.out.println(
                (file ? "one file" : creating ? "directory, files being made" : "directory")
                        + ": pinned "
                        + pinned
                        + " (could not be undone: "
                        + bypassed
                        + "), refused "
                        + refusals);
        assertTrue(pinned > 0, "never pinned");
    }

    /** Every line, count and name that the programs were told is written. */
    private static TreeSet<String> expected(int[] from, int[] to, boolean creating) {
        TreeSet<String> all = new TreeSet<>();
        for (int writer = 0; writer < 2; writer++) {
            for (int n = from[writer] + 1; n <= to[writer]; n++) {
                all.add(writer + 1 + " " + n);
            }
        }
        all.add("b " + to[2]);
        for (int n = creating ? from[3] + 1 : 1; creating && n <= to[3]; n++) {
            all.add("sub/n" + n);
        }
        return all;
    }

    private static void remove(TreeSet<String> expected, Path dir) throws IOException {
        expected.removeAll(Files.readAllLines(dir.resolve("a")));
        expected.remove("b " + Integer.parseInt(Files.readString(dir.resolve("b")).strip()));
        for (String name : dir.resolve("sub").toFile().list()) {
            expected.remove("sub/" + name);
        }
    }

    private static void syncBack(Path upper, Path dir) throws IOException {
        for (String name : List.of("a", "b")) {
            if (Files.exists(upper.resolve(name))) {
                Files.copy(
                        upper.resolve(name),
                        dir.resolve(name),
                        StandardCopyOption.REPLACE_EXISTING);
            }
        }
        if (Files.exists(upper.resolve("sub"))) {
            for (String name : upper.resolve("sub").toFile().list()) {
                Files.copy(
                        upper.resolve("sub").resolve(name),
                        dir.resolve("sub").resolve(name),
                        StandardCopyOption.REPLACE_EXISTING);
            }
        }
    }

    private static void clear(Path sub) throws IOException {
        try (Stream<Path> all = Files.list(sub)) {
            for (Path path : all.filter(p -> p.getFileName().toString().startsWith("n")).toList()) {
                Files.delete(path);
            }
        }
    }

    private static void unmount(Bench bench, Pin pin) throws Exception {
        await(
                () -> {
                    try {
                        bench.strategy.unmount(pin);
                        return true;
                    } catch (BusyException e) {
                        return false;
                    }
                });
    }

    private static void await(Callable<Boolean> condition) throws Exception {
        Await.until(LIMIT, condition, () -> "nothing happened");
    }
}
