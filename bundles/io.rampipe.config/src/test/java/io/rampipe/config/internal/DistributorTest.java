package io.rampipe.config.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Settings;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Hashtable;
import java.util.List;
import java.util.Map;
import java.util.jar.Attributes;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.zip.ZipEntry;
import org.apache.felix.framework.FrameworkFactory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleException;
import org.osgi.framework.launch.Framework;
import org.osgi.service.cm.Configuration;
import org.osgi.service.cm.ConfigurationAdmin;
import org.osgi.service.log.Logger;

/** The way from the file to the components, in a framework with the real ConfigurationAdmin. */
class DistributorTest {
    private static final String ENGINE = "io.rampipe.engine";

    @TempDir private Path dir;
    private final List<String> log = Collections.synchronizedList(new ArrayList<>());
    private Framework framework;
    private boolean started = true;
    private ConfigurationAdmin admin;
    private Distributor distributor;

    @BeforeEach
    void begin() throws Exception {
        launch();
        install(ENGINE, ReadingTest.ENGINE);
        distributor = distributor();
        distributor.start();
    }

    private void launch() throws Exception {
        framework =
                new FrameworkFactory()
                        .newFramework(
                                Map.of(
                                        "org.osgi.framework.storage",
                                        dir.resolve("cache").toString(),
                                        "felix.cm.dir",
                                        dir.resolve("cm").toString(),
                                        "org.osgi.framework.system.packages.extra",
                                        "org.osgi.service.cm;version=1.6.1"));
        framework.start();
        BundleContext context = framework.getBundleContext();
        String location =
                Class.forName("org.apache.felix.cm.impl.ConfigurationManager")
                        .getProtectionDomain()
                        .getCodeSource()
                        .getLocation()
                        .toString();
        Bundle cm = context.installBundle(location);
        cm.start();
        admin = context.getService(context.getServiceReference(ConfigurationAdmin.class));
    }

    @AfterEach
    void end() throws Exception {
        distributor.stop();
        framework.stop();
        framework.waitForStop(10_000);
    }

    private Distributor distributor() {
        Logger logger =
                (Logger)
                        Proxy.newProxyInstance(
                                getClass().getClassLoader(),
                                new Class<?>[] {Logger.class},
                                (proxy, method, args) -> {
                                    log.add(method.getName() + " " + text(args));
                                    return null;
                                });
        return new Distributor(framework.getBundleContext(), admin, logger, () -> started);
    }

    private static String text(Object[] args) {
        String text = args[0].toString();
        for (Object each : Arrays.asList(args).subList(1, args.length)) {
            for (Object arg : each instanceof Object[] many ? many : new Object[] {each}) {
                int at = text.indexOf("{}");
                text =
                        at < 0
                                ? text + " " + arg
                                : text.substring(0, at) + arg + text.substring(at + 2);
            }
        }
        return text;
    }

    private Bundle install(String name, String metatype) throws IOException, BundleException {
        return framework.getBundleContext().installBundle(name, jar(name, metatype));
    }

    private static InputStream jar(String name, String metatype) throws IOException {
        Manifest manifest = new Manifest();
        Attributes attributes = manifest.getMainAttributes();
        attributes.put(Attributes.Name.MANIFEST_VERSION, "1.0");
        attributes.putValue("Bundle-ManifestVersion", "2");
        attributes.putValue("Bundle-SymbolicName", name);
        // Never resolves: keys have to be known all the same.
        attributes.putValue("Import-Package", "not.there");
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (JarOutputStream jar = new JarOutputStream(bytes, manifest)) {
            jar.putNextEntry(new ZipEntry("OSGI-INF/metatype/x.xml"));
            jar.write(metatype.getBytes(StandardCharsets.UTF_8));
        }
        return new ByteArrayInputStream(bytes.toByteArray());
    }

    /** As FileInstall does it, and as ConfigurationAdmin tells it. */
    private void file(String... keysAndValues) throws IOException {
        Path file = dir.resolve("rampipe.cfg");
        Files.writeString(file, "");
        Hashtable<String, Object> properties = new Hashtable<>();
        properties.put("felix.fileinstall.filename", file.toUri().toString());
        for (int i = 0; i < keysAndValues.length; i += 2) {
            properties.put(keysAndValues[i], keysAndValues[i + 1]);
        }
        admin.getConfiguration(Distributor.PID, "?").update(properties);
        distributor.updated(properties);
    }

    private Map<String, Object> inForce(String pid) throws Exception {
        Configuration[] found = admin.listConfigurations("(service.pid=" + pid + ")");
        return found == null ? null : Distributor.own(found[0].getProperties());
    }

    private Settings.Setting setting(String key) {
        return distributor.settings().stream()
                .filter(s -> s.key().equals(key))
                .findAny()
                .orElseThrow();
    }

    @Test
    void aValidFileReachesTheComponentsTyped() throws Exception {
        assertEquals(Map.of(), inForce(ENGINE));
        file("pin.rate", "3", "watch", "/a,/b", "network", "on");
        Map<String, Object> values = inForce(ENGINE);
        assertEquals(3.0, values.get("pin.rate"));
        assertEquals(true, values.get("network"));
        assertArrayEquals(new String[] {"/a", "/b"}, (String[]) values.get("watch"));
        assertEquals(
                List.of(
                        "info configuration:"
                                + " network false -> true, pin.rate 2.0 -> 3.0, watch '/home, /root' ->"
                                + " '/a, /b'"),
                log);
        assertEquals("3.0", setting("pin.rate").value());
        assertEquals(Settings.Source.FILE, setting("pin.rate").source());
        assertEquals("2.0", setting("pin.rate").standard());
        assertEquals(Settings.Source.DEFAULT, setting("tick").source());

        // What is taken out of the file has its default again; what did not change is left alone.
        log.clear();
        file("pin.rate", "3");
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));
        long count = admin.getConfiguration(ENGINE, "?").getChangeCount();
        file("pin.rate", "3.0");
        assertEquals(count, admin.getConfiguration(ENGINE, "?").getChangeCount());
        assertEquals(1, log.size(), log::toString);

        admin.getConfiguration(Distributor.PID, "?").delete();
        distributor.updated(null);
        assertEquals(Map.of(), inForce(ENGINE));
    }

    @Test
    void aValueThatIsSetIsInTheFileAndInForce() throws Exception {
        file("pin.rate", "3");
        Path path = dir.resolve("rampipe.cfg");
        Files.writeString(path, "# mine\npin.rate = 3\n");
        distributor.set("watch", "/x, /y");
        assertEquals("# mine\npin.rate = 3\nwatch = /x, /y\n", Files.readString(path));
        assertArrayEquals(new String[] {"/x", "/y"}, (String[]) inForce(ENGINE).get("watch"));
        assertEquals(3.0, inForce(ENGINE).get("pin.rate"));
        assertEquals(Settings.Source.FILE, setting("watch").source());

        assertNotSet("pin.rate", "-1", "pin.rate = -1: must be");
        assertNotSet("no.such", "1", "unknown key");
        System.setProperty("rampipe.set.pin.rate", "4");
        try {
            assertNotSet("pin.rate", "5", "set on the command line");
        } finally {
            System.clearProperty("rampipe.set.pin.rate");
        }
        file("pin.rate", "x");
        assertNotSet("pin.rate", "5", "refused as it is");
    }

    private void assertNotSet(String key, String value, String why) throws IOException {
        String before = Files.readString(dir.resolve("rampipe.cfg"));
        IOException e = assertThrows(IOException.class, () -> distributor.set(key, value));
        assertTrue(e.getMessage().contains(why), e.getMessage());
        assertEquals(before, Files.readString(dir.resolve("rampipe.cfg")));
    }

    @Test
    void anInvalidFileChangesNothingAndSaysWhy() throws Exception {
        file("pin.rate", "3");
        log.clear();
        file("pin.rate", "-3", "tick", "1s");
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));
        Path file = dir.resolve("rampipe.cfg");
        assertEquals(
                List.of(
                        "error " + file + ": pin.rate = -3: must be a number from 0.01 to 1000",
                        "error "
                                + file
                                + " is refused: the last valid configuration stays in force"),
                log);
        assertEquals(1, distributor.problems().size());

        // Said once, however often it is looked at.
        distributor.updated(null);
        assertEquals(2, log.size());

        file("pin.rate", "3");
        assertEquals(List.of(), distributor.problems());
        assertEquals("info " + file + " is valid again", log.get(2));
    }

    @Test
    void theLastValidConfigurationSurvivesARestartWithABrokenFile() throws Exception {
        file("pin.rate", "3");
        file("pin.rate", "broken");
        distributor.stop();
        framework.stop();
        framework.waitForStop(10_000);
        started = false;
        launch();
        distributor = distributor();
        distributor.start();
        // Nothing is decided yet: bundles that know more keys may come.
        assertEquals(List.of(), distributor.problems());
        started = true;
        distributor.updated(null);
        assertEquals(1, distributor.problems().size());
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));
        assertEquals("3.0", setting("pin.rate").value());
    }

    @Test
    void aFileThatIsGoneIsNotRemembered() throws Exception {
        file("pin.rate", "3");
        Files.delete(dir.resolve("rampipe.cfg"));
        distributor.updated(null);
        assertEquals(Map.of(), inForce(ENGINE));
    }

    @Test
    void keysComeAndGoWithTheirBundles() throws Exception {
        file("pin.rate", "3", "half.life", "10s");
        assertEquals(Map.of(), inForce(ENGINE));
        assertTrue(distributor.problems().get(0).contains("half.life: unknown key"));

        String strategy =
                """
                <MetaData xmlns="http://www.osgi.org/xmlns/metatype/v1.2.0">
                  <OCD id="o" name="Strategy"><AD id="half.life" type="String" min="1s" default="30s"/></OCD>
                  <Designate pid="io.rampipe.rate.example"><Object ocdref="o"/></Designate>
                </MetaData>
                """;
        Bundle bundle = install("com.example.rate", strategy);
        assertEquals(List.of(), distributor.problems());
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));
        assertEquals(Map.of("half.life", "10s"), inForce("io.rampipe.rate.example"));

        // An update that the value in force does not fit any more.
        bundle.update(jar("com.example.rate", strategy.replace("1s", "20s")));
        assertTrue(distributor.problems().get(0).contains("at least 20s"), log::toString);
        assertEquals(Map.of(), inForce("io.rampipe.rate.example"));
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));

        bundle.uninstall();
        assertTrue(distributor.problems().get(0).contains("half.life: unknown key"));
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));
    }

    @Test
    void checksAreAsked() throws Exception {
        file("pin.rate", "0.1");
        distributor.addCheck(
                values ->
                        values.get("pin.rate").equals("0.1")
                                ? List.of("pin.rate must be above unpin.rate, 0.2")
                                : List.of());
        assertTrue(
                distributor.problems().get(0).endsWith("pin.rate must be above unpin.rate, 0.2"));
        file("pin.rate", "4");
        assertEquals(Map.of("pin.rate", 4.0), inForce(ENGINE));
        file("pin.rate", "0.1");
        assertEquals(Map.of("pin.rate", 4.0), inForce(ENGINE));
    }

    @Test
    void whatWasTakenOverTooEarlyIsTakenBack() throws Exception {
        file("pin.rate", "3");
        started = false;
        distributor.stop();
        distributor = distributor();
        distributor.start();
        file("tick", "1s");
        assertEquals(Map.of("tick", "1s"), inForce(ENGINE));
        distributor.addCheck(
                values -> values.get("tick").equals("1s") ? List.of("no tick of 1s") : List.of());
        assertEquals(Map.of("tick", "1s"), inForce(ENGINE));
        started = true;
        distributor.updated(null);
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));
        assertEquals(1, distributor.problems().size());
        file("pin.rate", "4");
        assertEquals(Map.of("pin.rate", 4.0), inForce(ENGINE));
        assertEquals(List.of(), distributor.problems());
    }

    @Test
    void aBrokenDescriptionHarmsNobodyElse() throws Exception {
        install("com.example.broken", "<MetaData");
        install(
                "com.example.silly",
                """
                <MetaData xmlns="http://www.osgi.org/xmlns/metatype/v1.2.0">
                  <OCD id="o" name="S"><AD id="x" type="Integer" min="few" default="4"/></OCD>
                  <Designate pid="io.rampipe.silly"><Object ocdref="o"/></Designate>
                </MetaData>
                """);
        assertTrue(log.get(1).contains("x make no sense"), log::toString);
        assertTrue(log.get(0).contains("com.example.broken"), log::toString);
        file("pin.rate", "3");
        assertEquals(Map.of("pin.rate", 3.0), inForce(ENGINE));
        assertNull(inForce("com.example"));
    }
}
