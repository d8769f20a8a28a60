package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;

/** What things of a pin are called. */
final class Labels {
    /** Of device-mapper devices, before the pin's id. */
    static final String PREFIX = "rampipe-";

    private static final String SNAPSHOT = "-snapshot";
    private static final String SPLIT = "-store";

    /** Below the pin's directory in the pool: its own file system in RAM. */
    static final FilePath STORE = FilePath.of("store");

    /** Below the pin's directory in the pool: where its file system is mounted for a moment. */
    static final FilePath HIDDEN = FilePath.of("hidden");

    static final FilePath BASELINE = FilePath.of("baseline");

    /** In the store: everything of the file system that is not the snapshot. */
    static final FilePath GROWTH = FilePath.of("growth");

    /** In the store: what the snapshot has changed. */
    static final FilePath CHANGES = FilePath.of("changes");

    /** The same, if it is only the part in RAM. */
    static final FilePath FIRST_CHANGES = FilePath.of("changes0");

    static final FilePath CONFIGURATION = FilePath.of("mke2fs.conf");

    private Labels() {}

    /** The device with the file system. */
    static String device(String id) {
        return PREFIX + id;
    }

    static String snapshot(String id) {
        return PREFIX + id + SNAPSHOT;
    }

    /** The store of which a part is on disk, without its last character. */
    static String split(String id) {
        return PREFIX + id + SPLIT;
    }

    static String uuid(String device) {
        return "RAMPIPE-" + device;
    }

    /** Of the device's node, and so the end of the source of the pin's mount. */
    static FilePath node(String id) {
        return FilePath.of("rampipe:" + id);
    }

    /** The id of the pin that a device belongs to; empty if it is not one of RamPipe's. */
    static String id(String device) {
        String id = device.startsWith(PREFIX) ? device.substring(PREFIX.length()) : "";
        id = id.endsWith(SNAPSHOT) ? id.substring(0, id.length() - SNAPSHOT.length()) : id;
        return id.matches("[0-9a-z]{1,32}") ? id : "";
    }
}
