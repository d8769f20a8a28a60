package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.PinStrategy.Estimate;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Stat;
import io.rampipe.pin.Exposure;
import io.rampipe.pin.FileSystems;
import io.rampipe.pin.Place;
import io.rampipe.pin.SwapFiles;
import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/** The rules about what may be pinned, and what it would cost. Changes nothing. */
final class Eligibility {
    private static final long PAGE = 4096;
    private static final long SECTOR = 512;

    /** Upper and work directory, index and attributes. */
    private static final long FOR_A_PIN = 64 * 1024;

    private static final long FOR_A_FILE = 1024;

    private final FileSystems fileSystems;
    private final int maxFiles;

    Eligibility(FileSystems fileSystems, int maxFiles) {
        this.fileSystems = fileSystems;
        this.maxFiles = maxFiles;
    }

    int maxFiles() {
        return maxFiles;
    }

    /** What does not depend on what is in the target. */
    void checkPlace(Place place) throws IOException {
        fileSystems.check(place.target().path(), place.mount());
        Exposure.now().check(place);
    }

    /** A directory target: everything below it. */
    Tree walk(Place place, Tree.Visitor visitor) throws IOException {
        return Tree.walk(
                place.target().path(),
                place.self(),
                SwapFiles.on(place.stat().device()),
                maxFiles,
                visitor);
    }

    /** The same of a directory that is covered, with nobody taking part. */
    Tree walk(FilePath target, Fd directory) throws IOException {
        return Tree.walk(
                target,
                directory,
                SwapFiles.on(Stat.of(directory).device()),
                maxFiles,
                (dir, name, path, stat) -> {});
    }

    static Estimate estimate(Target target, Tree tree, Collection<FilePath> hot) {
        Map<FilePath, Stat> files = tree.files();
        long base = FOR_A_PIN + (long) tree.count() * FOR_A_FILE;
        long most = base;
        for (Stat stat : files.values()) {
            most += pages(stat.size()) + FOR_A_FILE;
        }
        return new Estimate(base + bytes(files, hot), most, files.size());
    }

    static Estimate estimate(Stat file) {
        return new Estimate(
                FOR_A_PIN + allocated(file) + FOR_A_FILE,
                FOR_A_PIN + pages(file.size()) + FOR_A_FILE,
                1);
    }

    /** What copying up the hot files takes. */
    private static long bytes(Map<FilePath, Stat> files, Collection<FilePath> hot) {
        long bytes = 0;
        for (FilePath path : hot) {
            Stat stat = files.get(path);
            if (stat != null) {
                bytes += allocated(stat) + FOR_A_FILE;
            }
        }
        return bytes;
    }

    /**
     * Copying up keeps holes; a file kept in its inode has no blocks but takes a page all the same.
     */
    private static long allocated(Stat stat) {
        long pages = pages(stat.size());
        return Math.min(pages, Math.max(PAGE, pages(stat.blocks() * SECTOR)));
    }

    private static long pages(long size) {
        return (size + PAGE - 1) / PAGE * PAGE;
    }

    /** Refuses what does not fit now. */
    static void checkRoom(Target target, Estimate estimate, long room) throws RefusedException {
        if (estimate.bytes() > room) {
            throw new RefusedException(
                    Cause.NO_ROOM,
                    target
                            + " needs "
                            + estimate.bytes()
                            + " bytes of RAM at once; there is room for "
                            + room);
        }
    }

    /** Those of the hot files that are there. */
    static List<FilePath> present(Tree tree, List<FilePath> hot) {
        return hot.stream().distinct().filter(tree.files()::containsKey).toList();
    }
}
