package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The way of docs/strategies.md, from a copy of the example to a pin that it has caused. */
@NeedsMounts
@Timeout(240)
class ExampleIT {
    private static final Duration SOON = Duration.ofSeconds(60);

    private ScratchDisk disk;
    private Path deployed;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        deployed = Daemon.HOME.resolve("deploy/com.example.minute-1.0.0.jar");
    }

    @AfterEach
    void tearDown() throws Exception {
        Files.deleteIfExists(deployed);
        disk.close();
    }

    @Test
    void anEstimatorIsBuiltFromOutsideDeployedUsedAndRemoved() throws Exception {
        Path project = disk.aside("example").resolve("rate-minute");
        Command.run("cp", "-r", Path.of("../examples/rate-minute").toString(), project.toString());
        Command.run(
                "mvn",
                "-o",
                "-q",
                "-f",
                project.resolve("pom.xml").toString(),
                "-Drampipe.home=" + Daemon.HOME,
                "package");
        Path profile = Files.createDirectories(disk.root().resolve("home/profile"));
        Path hot = profile.resolve("hot.txt");
        try (Daemon daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("pin.rate", "1")
                        .set("rate.use", "minute")) {
            daemon.startAs("holding");
            assertTrue(
                    daemon.command("status").out().contains("'minute' is not there"),
                    daemon::logText);
            // Moved into place, as a file that grows may be taken for a broken one.
            Path beside = Daemon.HOME.resolve("example.tmp");
            Files.copy(
                    project.resolve("target/com.example.minute-1.0.0.jar"),
                    beside,
                    StandardCopyOption.REPLACE_EXISTING);
            Files.move(beside, deployed, StandardCopyOption.ATOMIC_MOVE);
            Await.until(
                    SOON,
                    () -> {
                        append(hot);
                        return daemon.pinned(profile);
                    },
                    daemon::logText);
            String table = daemon.command("strategies").ok().out();
            assertTrue(
                    table.lines().anyMatch(l -> l.contains("minute") && l.contains("com.example")),
                    table);
            append(hot);

            Files.delete(deployed);
            Await.until(
                    SOON,
                    () -> daemon.command("status").out().contains("'minute' is not there"),
                    daemon::logText);
            assertTrue(daemon.pinned(profile), "what is pinned stays, with no estimator");
            String content = Files.readString(hot);
            assertEquals(0, daemon.stop(), daemon::logText);
            assertEquals(content, Files.readString(hot));
        }
    }

    private static void append(Path file) throws IOException {
        Files.writeString(file, "x\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
}
