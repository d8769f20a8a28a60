package io.rampipe.api;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;

/** Names as text, and text made printable. */
class TextTest {
    @Test
    void anyBytesSurviveBeingText() {
        Random random = new Random(1);
        for (int round = 0; round < 20_000; round++) {
            byte[] bytes = new byte[random.nextInt(12)];
            random.nextBytes(bytes);
            for (int i = 0; i < bytes.length; i++) {
                if (bytes[i] == 0) {
                    bytes[i] = 'x';
                }
            }
            FilePath path = FilePath.ofBytes(bytes);
            assertArrayEquals(bytes, FilePath.of(path.text()).bytes(), path::toString);
            assertEquals(
                    path.isUtf8(),
                    path.text().codePoints().noneMatch(c -> c >= 0xdc80 && c <= 0xdcff));
        }
    }

    @Test
    void utf8IsPlainText() {
        FilePath path = FilePath.of("/häuser/𝄞 \n");
        assertTrue(path.isUtf8());
        assertEquals("/häuser/𝄞 \n", path.text());
        assertFalse(FilePath.ofBytes(new byte[] {'/', (byte) 0xe4}).isUtf8());
        assertEquals("/\udce4", FilePath.ofBytes(new byte[] {'/', (byte) 0xe4}).text());
    }

    @Test
    void whatSteersTerminalsIsEscaped() {
        assertEquals("plain, häuser 𝄞 \\n", Printable.of("plain, häuser 𝄞 \\n"));
        assertEquals("a\\nb\\tc\\rd", Printable.of("a\nb\tc\rd"));
        assertEquals("\\u001b[2J\\u009b\\u007f", Printable.of("\u001b[2J\u009b\u007f"));
        assertEquals("\\u202egpj.exe", Printable.of("\u202egpj.exe"));
        assertEquals("\\u2028\\udc80", Printable.of("\u2028\udc80"));
        assertEquals("null", Printable.of(null));
    }
}
