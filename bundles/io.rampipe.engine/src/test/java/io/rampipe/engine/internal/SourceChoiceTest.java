package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import io.rampipe.api.EventSource;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class SourceChoiceTest {
    private final Fake best = new Fake("best");
    private final Fake other = new Fake("other");
    private final List<EventSource> there = new ArrayList<>(List.of(best, other));
    private final List<String> told = new ArrayList<>();
    private final SourceChoice choice =
            new SourceChoice(() -> List.copyOf(there), Object::toString, told::add);

    @Test
    void theBestRankedThatWorksIsUsedAndTheReasonIsToldOnce() {
        assertSame(best, choice.get().orElseThrow());
        assertEquals(List.of("event source: best"), told);

        there.remove(best);
        assertSame(other, choice.get().orElseThrow());
        there.add(0, best);
        best.unusable = "it is forbidden";
        for (int i = 0; i < 3; i++) {
            assertSame(other, choice.get().orElseThrow());
        }
        assertEquals(
                List.of(
                        "event source: best",
                        "event source: other",
                        "event source: other; not best: it is forbidden"),
                told);
    }

    @Test
    void whatWorksIsKeptUntilSourcesComeOrGo() {
        best.unusable = "too many groups";
        assertSame(other, choice.get().orElseThrow());
        best.unusable = null;
        assertSame(other, choice.get().orElseThrow());
        there.add(new Fake("third"));
        assertSame(best, choice.get().orElseThrow());
    }

    @Test
    void oneThatCannotBeOpenedGivesWayToAnother() {
        choice.failed(choice.get().orElseThrow(), new IOException("no group"));
        assertSame(other, choice.get().orElseThrow());
        assertEquals("event source: other; not best: no group", told.get(1));
        choice.failed(other, new IOException("no instance"));
        assertEquals(Optional.empty(), choice.get());
        // And from the start, rather than never again.
        assertSame(best, choice.get().orElseThrow());
    }

    @Test
    void oneThatThrowsIsPassedOver() {
        best.broken = true;
        assertSame(other, choice.get().orElseThrow());
        assertEquals(
                List.of(
                        "event source: other; not best: it fails:"
                                + " java.lang.IllegalStateException: broken"),
                told);
    }

    private static final class Fake implements EventSource {
        private final String name;
        private String unusable;
        private boolean broken;

        Fake(String name) {
            this.name = name;
        }

        @Override
        public Optional<String> unusable() {
            if (broken) {
                throw new IllegalStateException("broken");
            }
            return Optional.ofNullable(unusable);
        }

        @Override
        public Session open() {
            throw new UnsupportedOperationException();
        }

        @Override
        public String toString() {
            return name;
        }
    }
}
