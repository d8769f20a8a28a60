package io.rampipe.shell.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.rampipe.api.Conflict;
import io.rampipe.api.FilePath;
import io.rampipe.api.Settings;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.felix.gogo.runtime.CommandProcessorImpl;
import org.apache.felix.gogo.runtime.threadio.ThreadIOImpl;
import org.apache.felix.service.command.CommandSession;
import org.apache.felix.service.command.Converter;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.service.log.Logger;

/** The commands as Gogo runs them. */
class CommandsTest {
    private final FakeRamPipe engine = new FakeRamPipe();
    private final FakeSettings settings = new FakeSettings();
    private final List<String> log = new ArrayList<>();
    private final List<String> framework = new ArrayList<>();
    private final ThreadIOImpl io = new ThreadIOImpl();
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private CommandProcessorImpl gogo;
    private CommandSession session;

    @BeforeEach
    void begin() {
        io.start();
        gogo = new CommandProcessorImpl(io);
        register("rampipe", new RamPipeCommands(context(), logger(), engine, settings));
        session = gogo.createSession(InputStream.nullInputStream(), out, out);
    }

    private void register(String scope, RamPipeCommands commands) {
        for (Manual manual : Manual.values()) {
            gogo.addCommand(scope, commands, manual.toString());
        }
    }

    @AfterEach
    void end() {
        session.close();
        gogo.stop();
        io.stop();
    }

    private Logger logger() {
        return proxy(Logger.class, (name, args) -> log.add(name + " " + args[0]));
    }

    private BundleContext context() {
        Bundle system = proxy(Bundle.class, (name, args) -> framework.add(name));
        return proxy(BundleContext.class, (name, args) -> system);
    }

    private interface Call {
        Object on(String name, Object[] args);
    }

    private static <T> T proxy(Class<T> type, Call call) {
        return type.cast(
                Proxy.newProxyInstance(
                        type.getClassLoader(),
                        new Class<?>[] {type},
                        (self, method, args) -> {
                            Object result = call.on(method.getName(), args);
                            return method.getReturnType() == void.class ? null : result;
                        }));
    }

    /** What is printed, by the command and by the shell. */
    private String run(String line) throws Exception {
        Object result = session.execute(line);
        String printed = out.toString(StandardCharsets.UTF_8);
        out.reset();
        return printed + (result == null ? "" : session.format(result, Converter.INSPECT));
    }

    private String fail(String line) {
        return assertThrows(CommandFailed.class, () -> run(line)).getMessage();
    }

    private JsonObject json(String line) throws Exception {
        return JsonParser.parseString(run(line)).getAsJsonObject();
    }

    @Test
    void pinsAreARowEachWithTheWholePathLast() throws Exception {
        assertEquals("Nothing is pinned.", run("rampipe:pins"));
        engine.add(FilePath.of("/home/u/.config/browser"), "");
        engine.add(FilePath.of("/x\n\u001b[2J"), "disk full");
        String[] lines = run("rampipe:pins").split("\n");
        assertTrue(
                lines[0].matches(
                        "STATE +BY +STRATEGY +RATE +SIZE +UNSYNCED +OLDEST +EVERY +SINCE +TARGET"));
        assertTrue(
                lines[1].matches(
                        "pinned +rate +overlayfs +12.3 +5.0 MiB +4.0 KiB +- +10 s +\\d+ d \\d+ h +/home/u/.config/browser/"),
                lines[1]);
        assertTrue(lines[2].endsWith("/x\\n\\x1b[2J/"), lines[2]);
        assertEquals("    disk full", lines[3]);
        assertEquals("2 pins, 10 MiB in RAM, 8.0 KiB not on disk yet", lines[4]);
        assertEquals(lines[0].indexOf("TARGET"), lines[1].indexOf("/home"));
    }

    @Test
    void jsonHoldsPathsExactly() throws Exception {
        engine.add(FilePath.of("/x\n\u001b\u009b\u202e\"\\ä"), "");
        engine.add(FilePath.ofBytes(new byte[] {'/', (byte) 0xff}), "");
        String text = run("rampipe:pins --json");
        assertTrue(text.chars().allMatch(c -> c == '\n' || c >= ' ' && c != 0x9b && c != 0x202e));
        var pins = json("rampipe:pins --json").getAsJsonArray("pins");
        JsonObject first = pins.get(0).getAsJsonObject();
        assertEquals("/x\n\u001b\u009b\u202e\"\\ä", first.get("path").getAsString());
        assertFalse(first.has("path_hex"));
        assertEquals(5 << 20, first.get("size").getAsLong());
        assertTrue(first.get("last_sync").isJsonNull());
        JsonObject second = pins.get(1).getAsJsonObject();
        assertEquals("/\\xff", second.get("path").getAsString());
        assertEquals("2fff", second.get("path_hex").getAsString());
    }

    @Test
    void outputGoesThroughPipes() throws Exception {
        engine.add(FilePath.of("/a"), "");
        engine.add(FilePath.of("/b/busy"), "");
        gogo.addCommand(
                "test",
                new Object() {
                    @SuppressWarnings("unused") // called by Gogo
                    public String count() throws java.io.IOException {
                        return System.in.readAllBytes().length > 100 ? "long" : "short";
                    }
                },
                "count");
        assertEquals("long", run("rampipe:pins | test:count"));
    }

    @Test
    void eachPathIsDoneAndTheFailuresAreCounted() throws Exception {
        engine.add(FilePath.of("/none/a"), "");
        engine.add(FilePath.of("/none/busy"), "");
        assertEquals("/none/busy is in use by sh (123)", fail("rampipe:unpin /none/busy"));
        assertEquals("/none/x: nothing is pinned here", fail("rampipe:sync /none/x"));
        assertEquals("1 of 2 failed", fail("rampipe:unpin --all"));
        assertEquals(
                "/none/a: unpinned; 2 files, 8.0 KiB changed on disk\n/none/busy is in use by sh (123)\n",
                out.toString(StandardCharsets.UTF_8));
        out.reset();
        assertEquals(List.of(FilePath.of("/none/busy")), List.copyOf(engine.pins.keySet()));

        assertEquals(
                "/none/busy: synced; 2 files, 8.0 KiB changed on disk", run("rampipe:sync --all"));
        engine.add(FilePath.of("/none/restless"), "");
        assertTrue(fail("rampipe:sync /none/restless").contains("changed all the time"));

        assertEquals("2 of 2 failed", fail("rampipe:unpin --json -- /none/busy --none"));
        JsonObject results =
                JsonParser.parseString(out.toString(StandardCharsets.UTF_8)).getAsJsonObject();
        out.reset();
        JsonObject busy = results.getAsJsonArray("results").get(0).getAsJsonObject();
        assertFalse(busy.get("ok").getAsBoolean());
        assertEquals("/none/busy is in use by sh (123)", busy.get("error").getAsString());
        engine.pins.clear();
        assertEquals("Nothing is pinned.", run("rampipe:unpin --all"));
    }

    @Test
    void aFreezeSaysWhatIsLeftInRamAndForHowLong() throws Exception {
        engine.add(FilePath.of("/none/a"), "");
        assertTrue(
                run("rampipe:freeze")
                        .matches("/none/a: on disk, and out of RAM\nFrozen for .*thaw ends it."));
        assertEquals("freeze PT10M", engine.calls.get(0));
        assertEquals("Thawed.", run("rampipe:thaw"));
        assertEquals("It was not frozen.", run("rampipe:thaw"));
        engine.add(FilePath.of("/none/busy"), "in use by sh (123)");
        assertEquals(
                "1 target could not be taken out of RAM", fail("rampipe:freeze --for 1h --json"));
        JsonObject frozen =
                JsonParser.parseString(out.toString(StandardCharsets.UTF_8)).getAsJsonObject();
        assertEquals(1, frozen.getAsJsonArray("pins").size());
        assertThrows(WrongUsage.class, () -> run("rampipe:freeze --for soon"));
    }

    @Test
    void errorsOfTheEngineAreOneLine() throws Exception {
        assertEquals("/none/refused is too large", fail("rampipe:pin /none/refused"));
        assertTrue(fail("rampipe:pin /none/broken").startsWith("internal error, see the log:"));
        assertEquals(List.of("error command {} failed"), log);
        assertEquals("/none/b: pinned by overlayfs, 5.0 MiB in RAM", run("rampipe:pin /none/b"));

        register("absent", new RamPipeCommands(context(), logger(), null, null));
        assertTrue(fail("absent:pins").startsWith("the engine is not running"));
        assertTrue(fail("absent:config").startsWith("the configuration is out of reach"));
    }

    @Test
    void pathsAreTheKernels(@TempDir Path dir) throws Exception {
        Path real = Files.createDirectory(dir.toRealPath().resolve("real"));
        Files.createSymbolicLink(dir.resolve("link"), real);
        session.put(Paths.DIRECTORY, dir + "/link");
        for (String path : List.of(".", dir + "/link", "../real", "..//./real/")) {
            run("rampipe:why '" + path + "'");
            assertEquals("why " + real, engine.calls.get(engine.calls.size() - 1), path);
        }
        run("rampipe:why gone");
        assertEquals("why " + real + "/gone", engine.calls.get(engine.calls.size() - 1));
        run("rampipe:why /no/where/x");
        assertEquals("why /no/where/x", engine.calls.get(engine.calls.size() - 1));
        // Gogo knows numbers and truth values; names stay names.
        for (String name : List.of("007", "1e3", "null", "true", "0x10", "1.50")) {
            run("rampipe:why " + name);
            assertEquals("why " + real + "/" + name, engine.calls.get(engine.calls.size() - 1));
        }
        // A name that is not UTF-8 comes through as the bytes it is.
        session.put("name", FilePath.ofBytes(new byte[] {'/', 'n', '/', (byte) 0xfe}).text());
        run("rampipe:why $name");
        assertEquals("why /n/\u00fe", engine.calls.get(engine.calls.size() - 1));
    }

    @Test
    void wrongUsageIsSaidSo() {
        for (String line :
                List.of(
                        "pins x",
                        "pins --jsno",
                        "top -n 0",
                        "top -n",
                        "top -nx",
                        "top -n 99999999999",
                        "why",
                        "pin",
                        "unpin",
                        "unpin --all /x",
                        "sync -x",
                        "why ''",
                        "use",
                        "use rate",
                        "use colour red",
                        "use rate ema window",
                        "migrate /x",
                        "config --template x",
                        "status now",
                        "shutdown now",
                        "help nothing")) {
            Exception e =
                    assertThrows(
                            IllegalArgumentException.class, () -> run("rampipe:" + line), line);
            assertFalse(e.getMessage().contains("\n"), line);
        }
        assertEquals(List.of(), engine.calls);
    }

    @Test
    void everyCommandHasHelp() throws Exception {
        String all = run("rampipe:help");
        for (Manual manual : Manual.values()) {
            String text = run("rampipe:" + manual + " --help");
            assertTrue(text.startsWith("rampipe " + manual), text);
            assertEquals(text, run("rampipe:help " + manual));
            assertTrue(all.contains("  " + manual + " "), all);
            for (String line : text.split("\n")) {
                assertTrue(line.length() <= 90, line);
            }
        }
        assertEquals(List.of(), engine.calls);
    }

    /** The client has to explain itself without a daemon; this keeps both from drifting apart. */
    @Test
    void theClientListsTheSameCommands() throws Exception {
        String client = Files.readString(Path.of("../../distribution/src/bin/rampipe"));
        for (Manual manual : Manual.values()) {
            String line = String.format("  %-10s  %s\n", manual, manual.summary());
            assertTrue(client.contains(line), line);
        }
    }

    @Test
    void theRestIsReported() throws Exception {
        run("rampipe:top");
        run("rampipe:top -n 5");
        run("rampipe:top -n7 --json");
        assertEquals(List.of("top 20", "top 5", "top 7"), engine.calls);
        assertEquals(
                """
                RATE  STATE    PATH
                3.00  pinned   /d/
                0.50  refused  /f
                    in use by 1""",
                run("rampipe:top"));
        assertEquals(
                """
                /none: cold
                  rate 0.10/s; pinned from 2.00/s on, unpinned at 0.20/s or below
                  not hot enough""",
                run("rampipe:why /none"));
        String status = run("rampipe:status");
        assertTrue(status.startsWith("RamPipe 0.1.0, watching, up for 60 min\n  events "), status);
        assertTrue(status.endsWith("\n! disk full: /x"), status);
        assertEquals(12345, json("rampipe:status --json").get("events").getAsLong());
        assertEquals(
                """
                KIND    NAME        STATE     IN USE  PINS  BUNDLE
                source  fanotify    active    yes        -  b 0.1.0
                    file handles
                rate    ema         active    yes        -  e 0.1.0
                rate    window      active    no         -  w 0.1.0
                pin     overlayfs   active    yes        2  c 0.1.0
                pin     dmsnapshot  unusable  no         0  d 0.1.0
                    no dm here
                pin     gone        missing   no         1  -
                    no bundle""",
                run("rampipe:strategies"));
        var all = json("rampipe:strategies --json").getAsJsonArray("strategies");
        assertEquals(6, all.size());
        assertEquals("unusable", all.get(4).getAsJsonObject().get("state").getAsString());
    }

    @Test
    void aStrategyIsPutIntoUseByTheConfiguration() throws Exception {
        assertEquals("rate window is in use now.", run("rampipe:use rate window"));
        assertEquals("rate.use = window", settings.set.get(0), () -> "set: " + settings.set);
        assertEquals(
                "overlayfs, other",
                json("rampipe:use pin overlayfs --json").get("value").getAsString());
        assertEquals("strategy.order = overlayfs, other", settings.set.get(1));
        run("rampipe:use source auto");
        assertEquals("source.use = auto", settings.set.get(2));
        assertEquals(
                "there is no rate strategy x; there are ema, window", fail("rampipe:use rate x"));
        assertEquals(
                "pin strategy dmsnapshot is unusable: no dm here",
                fail("rampipe:use pin dmsnapshot"));
        assertEquals("pin strategy gone is missing: no bundle", fail("rampipe:use pin gone"));
        assertEquals(3, settings.set.size());
        settings.refuses = "f: cannot be written";
        assertEquals("f: cannot be written", fail("rampipe:use rate ema"));
    }

    @Test
    void aPinIsMoved() throws Exception {
        engine.add(FilePath.of("/x"), "");
        assertEquals(
                "/x: now pinned by overlayfs, 5.0 MiB in RAM",
                run("rampipe:migrate /x dmsnapshot"));
        assertEquals(List.of("migrate /x dmsnapshot"), engine.calls);
        assertEquals(
                "/x stays with overlayfs, because it is small", fail("rampipe:migrate /x other"));
        assertEquals("nothing is pinned at /y", fail("rampipe:migrate /y dmsnapshot"));
    }

    @Test
    void conflictsAreListed() throws Exception {
        assertEquals("There are no conflicts.", run("rampipe:conflicts"));
        assertEquals(0, json("rampipe:conflicts --json").getAsJsonArray("conflicts").size());
        engine.conflicts.add(
                new Conflict(
                        "p1",
                        FilePath.of("/t"),
                        FilePath.of("/t/a"),
                        FilePath.of("/t/a.rampipe-conflict-p1"),
                        System.currentTimeMillis() - 120_000,
                        "was changed on disk by others; the version in RAM is kept as"));
        String text = run("rampipe:conflicts");
        assertTrue(text.contains("/t/a\n"), text);
        assertTrue(text.contains("is kept as a.rampipe-conflict-p1"), text);
        assertEquals(
                "/t/a.rampipe-conflict-p1",
                json("rampipe:conflicts --json")
                        .getAsJsonArray("conflicts")
                        .get(0)
                        .getAsJsonObject()
                        .get("copy")
                        .getAsString());
        assertEquals(1, json("rampipe:status --json").get("conflicts").getAsInt());
    }

    @Test
    void theConfigurationIsShown() throws Exception {
        String all = run("rampipe:config");
        assertEquals(
                """
                KEY             FROM     VALUE
                note            default  -
                pin.rate        file     3.0
                strategy.order  file     other, overlayfs
                ! The file is refused; the last valid configuration is in force:
                !   f: pin.rate = x\\u001b: must be a number""",
                all);
        assertEquals(
                """
                pin.rate = 3.0
                  what     From when on.
                  takes    a number
                  default  2.0
                  from     file
                  for      io.rampipe.engine""",
                run("rampipe:config pin.rate"));
        assertEquals(run("rampipe:config pin.rate"), run("rampipe:config 'pin.*'"));
        assertEquals("there is no key pin; see config", fail("rampipe:config pin"));
        assertEquals("#template", run("rampipe:config --template"));
        JsonObject json = json("rampipe:config --json");
        assertEquals(3, json.getAsJsonArray("settings").size());
        assertEquals(1, json.getAsJsonArray("problems").size());
    }

    @Test
    void shutdownStopsOnlyWhenEverythingIsOnDisk() throws Exception {
        engine.left.put(FilePath.of("/a"), "in use by sh (1)");
        assertTrue(fail("rampipe:shutdown").startsWith("1 target could not be unpinned"));
        assertEquals("/a: in use by sh (1)\n", out.toString(StandardCharsets.UTF_8));
        out.reset();
        assertEquals(List.of(), framework);
        engine.left.clear();
        assertEquals("Everything is on disk; the daemon stops.", run("rampipe:shutdown"));
        assertEquals(List.of("stop"), framework);
    }

    @Test
    void reloadFailsWithTheReasonsThatTheFileIsRefusedFor() throws Exception {
        assertEquals("The configuration file is in force.", run("rampipe:reload"));
        settings.refuses = "f: pin.rate = x: must be a number";
        assertEquals(settings.refuses, fail("rampipe:reload"));
    }

    private final class FakeSettings implements Settings {
        final List<String> set = new ArrayList<>();
        String refuses;

        @Override
        public void reload() throws IOException {
            if (refuses != null) {
                throw new IOException(refuses);
            }
        }

        @Override
        public void set(String key, String value) throws IOException {
            if (refuses != null) {
                throw new IOException(refuses);
            }
            set.add(key + " = " + value);
            engine.ema = !value.equals("window");
        }

        @Override
        public List<Setting> settings() {
            return List.of(
                    new Setting("note", "", "", Source.DEFAULT, "text", "A note.", "io.rampipe.x"),
                    new Setting(
                            "pin.rate",
                            "3.0",
                            "2.0",
                            Source.FILE,
                            "a number",
                            "From when on.",
                            "io.rampipe.engine"),
                    new Setting(
                            "strategy.order",
                            "other, overlayfs",
                            "overlayfs",
                            Source.FILE,
                            "a list",
                            "In which order.",
                            "io.rampipe.engine"));
        }

        @Override
        public List<String> problems() {
            return List.of("f: pin.rate = x\u001b: must be a number");
        }

        @Override
        public String template() {
            return "#template\n";
        }
    }
}
