package io.rampipe.config.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What people have written stays as it is, but for one value. */
class FileEditTest {
    @TempDir Path dir;

    private String after(String before, String key, String value) throws IOException {
        Path file = dir.resolve("f.cfg");
        Files.writeString(file, before);
        new FileEdit(file).set(key, value);
        assertEquals(List.of(file), files());
        return Files.readString(file);
    }

    private List<Path> files() throws IOException {
        try (var files = Files.list(dir)) {
            return files.toList();
        }
    }

    @Test
    void theValueIsReplacedAndNothingElse() throws IOException {
        assertEquals(
                "# ä comment\n\nrate.use = window\nother=1 # x\n",
                after("# ä comment\n\nrate.use=ema\nother=1 # x\n", "rate.use", "window"));
        assertEquals("a.b=1\na = 2\n", after("a.b=1\na 3\n", "a", "2"));
        assertEquals("a = 2\nb:c\n", after("  a : 3\nb:c\n", "a", "2"));
        assertEquals("x=1\r\na = 2\ny=2\r\n", after("x=1\r\na=1\r\ny=2\r\n", "a", "2"));
    }

    @Test
    void aValueOfSeveralLinesIsReplacedWhole() throws IOException {
        assertEquals("a = 2\nb = 3\n", after("a = x, \\\n  a = y, \\\n  z\nb = 3\n", "a", "2"));
        assertEquals("c = \\\\\na = 2\n", after("c = \\\\\na = 1\n", "a", "2"));
    }

    @Test
    void aNewKeyComesAfterItsCommentOrAtTheEnd() throws IOException {
        assertEquals(
                "# about\n#a = 1\na = 2\n#b = 1\n", after("# about\n#a = 1\n#b = 1\n", "a", "2"));
        assertEquals("b = 1\na = 2\n", after("b = 1\n", "a", "2"));
        assertEquals("b = 1\na = 2\n", after("b = 1", "a", "2"));
        assertEquals("a = 2\n", after("", "a", "2"));
    }

    @Test
    void ofSeveralTheLastCounts() throws IOException {
        assertEquals("a = 1\na = 3\n", after("a = 1\na = 2\n", "a", "3"));
    }

    @Test
    void aBackslashIsWrittenSoThatItIsRead() throws IOException {
        assertEquals("a = x\\\\, y\n", after("", "a", "x\\, y"));
    }

    @Test
    void whatIsNotUnderstoodIsLeftAlone() throws IOException {
        Path file = dir.resolve("f.cfg");
        for (String text : List.of("#a = 0\n\\u0061 = 1\n", "b = \\uxyz\n")) {
            Files.writeString(file, text);
            IOException e = assertThrows(IOException.class, () -> new FileEdit(file).set("a", "2"));
            assertTrue(e.getMessage().contains(file.toString()), e.getMessage());
            assertEquals(text, Files.readString(file));
            assertEquals(List.of(file), files());
        }
    }

    @Test
    void aFileThatIsNotThereIsMade() throws IOException {
        new FileEdit(dir.resolve("f.cfg")).set("a", "2");
        assertEquals("a = 2\n", Files.readString(dir.resolve("f.cfg")));
    }

    @Test
    void modeAndLinkStay() throws IOException {
        Path real = Files.writeString(dir.resolve("real"), "a = 1\n");
        Files.setPosixFilePermissions(real, PosixFilePermissions.fromString("rw-r-----"));
        Path link = Files.createSymbolicLink(dir.resolve("f.cfg"), real);
        new FileEdit(link).set("a", "2");
        assertTrue(Files.isSymbolicLink(link));
        assertEquals("a = 2\n", Files.readString(real));
        assertEquals(
                "rw-r-----", PosixFilePermissions.toString(Files.getPosixFilePermissions(real)));
    }

    @Test
    void aDirectoryThatIsNotThereIsNamed() {
        Path file = dir.resolve("no/f.cfg");
        IOException e = assertThrows(IOException.class, () -> new FileEdit(file).set("a", "2"));
        assertTrue(e.getMessage().startsWith("cannot write " + file + ": "), e.getMessage());
        assertTrue(e.getMessage().endsWith("; nothing was changed"), e.getMessage());
    }
}
