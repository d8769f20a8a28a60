package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * The examples and docs/strategies.md as outsiders would use them: in a directory of their own,
 * without the reactor.
 */
@NeedsMounts
@Timeout(400)
class ExampleIT {
    private static final Duration SOON = Duration.ofSeconds(60);
    private static final Path CHECKOUT = Path.of("..").toAbsolutePath().normalize();
    private static final Path SDK = CHECKOUT.resolve("sdk/target/sdk");
    private static final Pattern BLOCK =
            Pattern.compile("^ *```sh\\n(.*?)^ *```$", Pattern.MULTILINE | Pattern.DOTALL);

    private ScratchDisk disk;
    private Path clean;
    private final List<Path> deployed = new ArrayList<>();

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        clean = disk.aside("clean");
    }

    @AfterEach
    void tearDown() throws Exception {
        for (Path jar : deployed) {
            Files.deleteIfExists(jar);
        }
        disk.close();
    }

    private Daemon daemon() throws Exception {
        return new Daemon(disk.aside("daemon"))
                .set("watch.directories", disk.root().toString())
                .set("pool.size", "64M")
                .set("pin.rate", "1")
                .start();
    }

    private Path deployed(String jar) {
        Path path = Daemon.HOME.resolve("deploy").resolve(jar);
        deployed.add(path);
        return path;
    }

    @Test
    void theNewcomersPathLeadsToAPinThatTheirEstimatorHasChosen() throws Exception {
        String page = Files.readString(CHECKOUT.resolve("docs/strategies.md"));
        StringBuilder before = new StringBuilder("set -eu\n");
        StringBuilder after = new StringBuilder("set -eu\ncd mine\n");
        Matcher block = BLOCK.matcher(page);
        boolean inUse = false;
        int blocks = 0;
        while (block.find()) {
            (inUse ? after : before).append(block.group(1));
            inUse |= block.group(1).contains("rampipe use");
            blocks++;
        }
        assertTrue(blocks >= 7, blocks + " blocks of commands in docs/strategies.md");
        deployed("com.example.mine-1.0.0.jar");
        Path profile = Files.createDirectories(disk.root().resolve("home/profile"));
        try (Daemon daemon = daemon();
                Load load = new Load()) {
            String said = run(before.toString());
            assertTrue(
                    said.lines().anyMatch(l -> l.matches(".*\\bmine\\b.*com\\.example\\.mine.*")),
                    said);
            load.add(profile.resolve("hot.txt"));
            Await.until(SOON, () -> daemon.pinned(profile), daemon::logText);
            run(after.toString());
            assertTrue(daemon.pinned(profile), "what is pinned stays");
            load.end();
            assertEquals(0, daemon.stop(), daemon::logText);
            assertEquals(List.of(), load.differences());
        }
    }

    /** Commands of the page, with what it takes for granted. */
    private String run(String script) throws IOException {
        Path bin = Files.createDirectories(clean.resolve("bin"));
        program(
                bin.resolve("rampipe"),
                "exec '"
                        + Daemon.HOME
                        + "/bin/rampipe' --runtime '"
                        + disk.aside("daemon/run")
                        + "' \"$@\"");
        // What Maven needs is there since the build.
        program(
                bin.resolve("mvn"),
                "exec " + Command.shell("command -v mvn").strip() + " -o \"$@\"");
        return Command.shell(
                "export PATH='"
                        + bin
                        + "':\"$PATH\" RAMPIPE='"
                        + Daemon.HOME
                        + "' CHECKOUT='"
                        + CHECKOUT
                        + "'; cd '"
                        + clean
                        + "'\n"
                        + script);
    }

    private static void program(Path path, String command) throws IOException {
        Files.writeString(path, "#!/bin/sh\n" + command + "\n");
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private Path build(String example, String... more) throws IOException {
        Path project = clean.resolve(example);
        Command.run(
                "cp",
                "-r",
                CHECKOUT.resolve("examples").resolve(example).toString(),
                project.toString());
        List<String> command =
                new ArrayList<>(
                        List.of(
                                "mvn",
                                "-o",
                                "-q",
                                "-f",
                                project.resolve("pom.xml").toString(),
                                "-Drampipe.home=" + Daemon.HOME));
        command.addAll(List.of(more));
        command.add("package");
        Command.run(command.toArray(new String[0]));
        return project.resolve("target");
    }

    @Test
    void theExamplesPassTheContractTests() throws Exception {
        assumeTrue(
                Files.exists(SDK.resolve("tck.jar")),
                "sdk/target/sdk is not there: it is made by mvn verify");
        for (String example : new String[] {"rate-minute", "pin-small"}) {
            Path reports = build(example, "-Drampipe.sdk=" + SDK).resolve("surefire-reports");
            String report = Command.shell("cat '" + reports + "'/*.txt");
            assertTrue(
                    report.matches(
                            "(?s).*Tests run: [1-9][0-9]*, Failures: 0, Errors: 0, Skipped: 0.*"),
                    report);
        }
    }

    @Test
    void aPinPolicyIsDeployedIntoARunningDaemonAndRemovedWhileItHasAPin() throws Exception {
        Path jar = build("pin-small").resolve("com.example.small-1.0.0.jar");
        Path small = Files.createDirectories(disk.root().resolve("home/small"));
        Path large = Files.createDirectories(disk.root().resolve("home/large"));
        Command.shell("head -c 5000000 /dev/zero > '" + large + "/data'");
        try (Daemon daemon = daemon();
                Load load = new Load()) {
            Path place = deployed("com.example.small-1.0.0.jar");
            Path beside = Daemon.HOME.resolve("example.tmp");
            Files.copy(jar, beside, StandardCopyOption.REPLACE_EXISTING);
            Files.move(beside, place, StandardCopyOption.ATOMIC_MOVE);
            Await.until(
                    SOON,
                    () -> daemon.command("use", "pin", "small").status() == 0,
                    daemon::logText);
            load.add(small.resolve("hot.txt"));
            Await.until(SOON, () -> daemon.pinned(small), daemon::logText);
            assertEquals("small", strategy(daemon, small));
            String why = daemon.command("why", large.toString()).ok().out();
            assertTrue(why.contains("small refuses the directory") && why.contains("4194304"), why);
            daemon.command("pin", large.toString()).ok();
            assertEquals("overlayfs", strategy(daemon, large));

            // What it has pinned is kept without it, and programs notice nothing.
            Files.delete(place);
            Await.until(
                    SOON,
                    () ->
                            daemon.pin(small)
                                    .orElseThrow()
                                    .get("state")
                                    .getAsString()
                                    .equals("orphaned"),
                    daemon::logText);
            load.check();
            Files.copy(jar, beside, StandardCopyOption.REPLACE_EXISTING);
            Files.move(beside, place, StandardCopyOption.ATOMIC_MOVE);
            Await.until(
                    SOON,
                    () ->
                            !daemon.pin(small)
                                    .orElseThrow()
                                    .get("state")
                                    .getAsString()
                                    .equals("orphaned"),
                    daemon::logText);
            load.end();
            assertEquals(0, daemon.stop(), daemon::logText);
            disk.unmount();
            disk.mount();
            assertEquals(List.of(), load.differences());
        }
    }

    private static String strategy(Daemon daemon, Path target) throws IOException {
        return daemon.pin(target).orElseThrow().get("strategy").getAsString();
    }
}
