package io.rampipe.demo;

import java.nio.charset.StandardCharsets;

/**
 * What the load writes: follows from what it is for and its number alone, so that the check needs
 * no copy.
 */
final class Content {
    private static final byte[] LETTERS =
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
                    .getBytes(StandardCharsets.US_ASCII);

    private Content() {}

    /** Letters, digits, '-' and '_'. */
    static String text(String what, long number, int length) {
        return new String(bytes(what, number, length), StandardCharsets.ISO_8859_1);
    }

    /** The same as bytes. */
    static byte[] bytes(String what, long number, int length) {
        byte[] out = new byte[length];
        long state = what.hashCode() * 0x632be59bd9b4e019L + number * 0x9e3779b97f4a7c15L;
        for (int i = 0; i < length; ) {
            // SplitMix64 (Steele, Lea, Flood 2014): ten letters of six bits from each number.
            state += 0x9e3779b97f4a7c15L;
            long mixed = (state ^ (state >>> 30)) * 0xbf58476d1ce4e5b9L;
            mixed = (mixed ^ (mixed >>> 27)) * 0x94d049bb133111ebL;
            mixed ^= mixed >>> 31;
            for (int n = 0; n < 10 && i < length; n++, mixed >>>= 6) {
                out[i++] = LETTERS[(int) (mixed & 63)];
            }
        }
        return out;
    }

    /** A size between {@code least} and {@code most}, for what has no size of its own. */
    static int size(String what, long number, int least, int most) {
        byte[] two = bytes(what + " size", number, 3);
        int any = (two[0] * 71 + two[1]) * 71 + two[2];
        return least + any % (most - least + 1);
    }
}
