package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class ThriftTest {
    private static final long START = -1;

    private long resident = 100;
    private int collections;
    private final Thrift thrift =
            new Thrift(
                    START,
                    () -> resident,
                    () -> {
                        collections++;
                        resident = Math.min(resident, 80);
                    });

    private int collectionsAt(long now) {
        thrift.round(now);
        return collections;
    }

    @Test
    void whatTheStartTookIsGivenBackOnce() {
        assertEquals(0, collectionsAt(START + Thrift.FIRST - 1));
        assertEquals(1, thrift.untilNext(START + Thrift.FIRST - 1));
        assertEquals(1, collectionsAt(START + Thrift.FIRST));
        assertEquals(Thrift.PAUSE, thrift.untilNext(START + Thrift.FIRST));
        assertEquals(1, collectionsAt(START + Thrift.FIRST + Thrift.PAUSE));
    }

    @Test
    void againOnlyWhenItHasGrown() {
        long now = START + Thrift.FIRST;
        assertEquals(1, collectionsAt(now));
        resident = 90;
        now += Thrift.PAUSE;
        assertEquals(1, collectionsAt(now));
        resident = 200;
        assertEquals(1, collectionsAt(now + 1));
        now += Thrift.PAUSE;
        assertEquals(2, collectionsAt(now));
    }
}
