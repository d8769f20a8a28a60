package io.rampipe.config.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.ConfigurationCheck;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.junit.jupiter.api.Test;

/** What is valid in a configuration file, and what is said about the rest. */
class ReadingTest {
    static final String ENGINE =
            """
            <?xml version="1.0" encoding="UTF-8"?>
            <metatype:MetaData xmlns:metatype="http://www.osgi.org/xmlns/metatype/v1.4.0">
              <OCD id="io.rampipe.engine" name="Engine" description="What is pinned, and when.">
                <AD id="pin.rate" type="Double" min="0.01" max="1000" default="2.0"
                    name="Pin rate" description="Accesses a second from which on a file is hot."/>
                <AD id="unpin.rate" type="Double" min="0" max="1000" default="0.2" name="Unpin rate"/>
                <AD id="watch" type="String" cardinality="2147483647" default="/home,/root" name="Watch"
                    description="Directories to watch."/>
                <AD id="pool.size" type="String" min="1M" max="1T" default="auto" name="Pool size">
                  <Option value="auto" label="auto"/>
                </AD>
                <AD id="tick" type="String" min="1ms" max="10s" default="50ms" name="Tick"/>
                <AD id="max.files" type="Integer" min="1" default="100" name="Files"/>
                <AD id="network" type="Boolean" default="false" name="Network"/>
                <AD id="mode" type="String" default="careful" name="Mode">
                  <Option value="careful" label=""/>
                  <Option value="bold" label=""/>
                </AD>
                <AD id="weights" type="Double" cardinality="3" min="0" max="1" name="Weights" required="false"/>
                <AD id="note" type="String" default="" name="Note"/>
              </OCD>
              <Designate pid="io.rampipe.engine"><Object ocdref="io.rampipe.engine"/></Designate>
              <OCD id="other" name="Other"><AD id="x" type="String" name="X"/></OCD>
              <Designate pid="com.example"><Object ocdref="other"/></Designate>
            </metatype:MetaData>
            """;

    static Schema schema(String... documents) {
        try {
            List<Section> sections = new java.util.ArrayList<>();
            for (String document : documents) {
                sections.addAll(
                        Section.read(
                                new ByteArrayInputStream(
                                        document.getBytes(StandardCharsets.UTF_8))));
            }
            return new Schema(sections);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static Object value(String key, String text) throws InvalidValueException {
        return schema(ENGINE).keys().get(key).get(0).parse(text);
    }

    private static String problem(String key, String text) {
        return assertThrows(InvalidValueException.class, () -> value(key, text)).getMessage();
    }

    @Test
    void valuesHaveTheTypesOfTheirKeys() throws Exception {
        assertEquals(0.5, value("pin.rate", " 0.5 "));
        assertEquals(7, value("max.files", "7"));
        assertEquals(true, value("network", "Yes"));
        assertEquals("512M", value("pool.size", "512M"));
        assertEquals("auto", value("pool.size", "AUTO"));
        assertEquals("2s", value("tick", "2s"));
        assertEquals("bold", value("mode", "Bold"));
        assertEquals("", value("note", ""));
        assertArrayEquals(
                new String[] {"/a b", "/c,d", "/e\\"},
                (String[]) value("watch", "/a b , /c\\,d,/e\\\\"));
        assertArrayEquals(new String[0], (String[]) value("watch", " "));
        assertArrayEquals(new Double[] {0.0, 1.0}, (Double[]) value("weights", "0,1"));
        assertArrayEquals(new Double[0], (Double[]) value("weights", ""));
    }

    @Test
    void whatIsNotValidIsNamedWithItsRange() {
        assertEquals(
                "pin.rate = fast: must be a number from 0.01 to 1000", problem("pin.rate", "fast"));
        for (String text : List.of("0", "1001", "NaN", "Infinity", "0x1p3", "2d", "", "1,5")) {
            assertTrue(problem("pin.rate", text).contains("must be"), text);
        }
        assertEquals(
                "max.files = 0: must be a whole number of at least 1", problem("max.files", "0"));
        problem("max.files", "99999999999");
        problem("max.files", "1.5");
        assertEquals(
                "pool.size = 1K: must be auto, or a size from 1M to 1T",
                problem("pool.size", "1K"));
        problem("pool.size", "big");
        assertEquals("tick = 50: must be a time from 1ms to 10s", problem("tick", "50"));
        problem("tick", "1h");
        assertEquals("network = maybe: must be true or false", problem("network", "maybe"));
        assertEquals("mode = shy: must be one of careful, bold", problem("mode", "shy"));
        assertEquals(
                "watch = /a,,/b: must be a list, with commas, of text, which '' is not",
                problem("watch", "/a,,/b"));
        assertEquals(
                "weights = 0,2: must be a list, with commas, of a number from 0 to 1, which 2 is not",
                problem("weights", "0,2"));
        assertTrue(problem("weights", "0,0,0,0").endsWith("at most 3 of them"));
        assertEquals(
                "mode = a\\nb\\u001b: must be one of careful, bold", problem("mode", "a\nb\u001b"));
    }

    @Test
    void oneProblemMakesNothingValid() {
        Reading reading =
                Reading.of(
                        schema(ENGINE),
                        Map.of("pin.rate", "3", "unpin.rat", "1", "tick", "never", "zzzz", "1"),
                        "/etc/rampipe/rampipe.cfg",
                        Map.of(),
                        List.of());
        assertEquals(
                List.of(
                        "/etc/rampipe/rampipe.cfg: unpin.rat: unknown key; is unpin.rate meant?",
                        "/etc/rampipe/rampipe.cfg: zzzz: unknown key; 'rampipe config' lists those there"
                                + " are",
                        "/etc/rampipe/rampipe.cfg: tick = never: must be a time from 1ms to 10s"),
                reading.problems());
    }

    @Test
    void overridesGoBeforeTheFile() {
        Properties properties = new Properties();
        properties.setProperty("rampipe.set.pin.rate", "9");
        properties.setProperty("rampipe.home", "/x");
        Map<String, String> overrides = Overrides.in(properties);
        Reading reading =
                Reading.of(
                        schema(ENGINE),
                        Map.of("pin.rate", "rubbish", "tick", "1s"),
                        "f",
                        overrides,
                        List.of());
        assertEquals(List.of(), reading.problems());
        assertEquals(
                Map.of("pin.rate", 9.0, "tick", "1s"), reading.values().get("io.rampipe.engine"));

        properties.setProperty("rampipe.set.pin.rate", "-9");
        assertEquals(
                List.of(
                        "system property rampipe.set.pin.rate = -9: must be a number from 0.01 to 1000"),
                Reading.of(schema(ENGINE), Map.of(), "f", Overrides.in(properties), List.of())
                        .problems());
    }

    @Test
    void checksSeeEveryKeyWithItsValueOrDefault() {
        ConfigurationCheck check =
                values -> {
                    assertEquals(10, values.size());
                    assertEquals("/home, /root", values.get("watch"));
                    return Double.parseDouble(values.get("unpin.rate"))
                                    < Double.parseDouble(values.get("pin.rate"))
                            ? List.of()
                            : List.of("unpin.rate must be below pin.rate");
                };
        Schema schema = schema(ENGINE);
        assertTrue(Reading.of(schema, Map.of(), "f", Map.of(), List.of(check)).valid());
        assertEquals(
                List.of("f: unpin.rate must be below pin.rate"),
                Reading.of(schema, Map.of("pin.rate", "0.1"), "f", Map.of(), List.of(check))
                        .problems());
        ConfigurationCheck broken =
                values -> {
                    throw new IllegalStateException("oops");
                };
        assertTrue(
                Reading.of(schema, Map.of(), "f", Map.of(), List.of(broken))
                        .problems()
                        .get(0)
                        .contains("oops"));
    }

    @Test
    void aKeyOfTwoComponentsReachesBoth() {
        String second =
                ENGINE.replace("io.rampipe.engine", "io.rampipe.second")
                        .replace("max=\"1000\"", "max=\"5\"");
        Schema schema = schema(ENGINE, second);
        Reading reading = Reading.of(schema, Map.of("pin.rate", "3"), "f", Map.of(), List.of());
        assertEquals(Map.of("pin.rate", 3.0), reading.values().get("io.rampipe.engine"));
        assertEquals(Map.of("pin.rate", 3.0), reading.values().get("io.rampipe.second"));
        assertEquals(
                List.of("f: pin.rate = 6: must be a number from 0.01 to 5"),
                Reading.of(schema, Map.of("pin.rate", "6"), "f", Map.of(), List.of()).problems());
    }

    @Test
    void theTemplateIsAFileThatSetsNothingAndUncommentedEveryDefault() throws IOException {
        Schema schema = schema(ENGINE);
        String template = Template.of(schema);
        Properties nothing = new Properties();
        nothing.load(new java.io.StringReader(template));
        assertEquals(Map.of(), nothing);
        for (String line : template.split("\n")) {
            assertTrue(line.length() <= 88, line);
        }

        Properties all = new Properties();
        all.load(new java.io.StringReader(template.replaceAll("(?m)^#(\\w)", "$1")));
        Map<String, String> file = new java.util.TreeMap<>();
        all.stringPropertyNames().forEach(key -> file.put(key, all.getProperty(key)));
        assertEquals(schema.keys().keySet(), file.keySet());
        assertEquals(List.of(), Reading.of(schema, file, "f", Map.of(), List.of()).problems());
        assertTrue(template.contains("of a list \\\\, and a long"), template);
        assertTrue(template.contains("# Engine: What is pinned, and when.\n"), template);
        assertTrue(
                template.contains(
                        """
                        # Accesses a second from which on a file is hot.
                        # Value: a number from 0.01 to 1000.
                        #pin.rate = 2.0
                        """),
                template);
    }
}
