package io.rampipe.linux;

import com.sun.jna.Memory;
import io.rampipe.api.FilePath;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/**
 * Device-mapper, by its own ioctls ({@code linux/dm-ioctl.h}): works whether there is udev or not,
 * and needs no nodes but that of its control device. Any thread.
 */
public final class DeviceMapper implements AutoCloseable {
    /** Bytes in the unit of tables. */
    public static final int SECTOR = 512;

    /** Type of a {@link Part#merge}. */
    public static final String MERGE = "snapshot-merge";

    private static final FilePath CONTROL = FilePath.of("/dev/mapper/control");

    /** {@code struct dm_ioctl}, before what a command brings along. */
    private static final int HEADER = 312;

    private static final int DATA_SIZE = 12;
    private static final int DATA_START = 16;
    private static final int TARGET_COUNT = 20;
    private static final int OPEN_COUNT = 24;
    private static final int FLAGS = 28;
    private static final int DEVICE = 40;
    private static final int NAME = 48;
    private static final int UUID = 176;

    /** {@code struct dm_target_spec}, before its parameters. */
    private static final int TARGET = 40;

    private static final int LIST_DEVICES = 2;
    private static final int CREATE = 3;
    private static final int REMOVE = 4;
    private static final int SUSPEND = 6;
    private static final int STATUS = 7;
    private static final int LOAD = 9;
    private static final int CLEAR = 10;
    private static final int TABLE_STATUS = 12;
    private static final int TARGET_VERSION = 17;

    private static final int FLAG_SUSPEND = 1 << 1;
    private static final int FLAG_TABLE = 1 << 4;
    private static final int FLAG_LOADED = 1 << 6;
    private static final int FLAG_SKIP_LOCKFS = 1 << 10;
    private static final int FLAG_NO_FLUSH = 1 << 11;

    private static final int NAME_BYTES = 127;
    private static final int UUID_BYTES = 128;
    private static final int BUFFER = 48 * 1024;

    /** udev and others look at a device when it comes, and hold it for as long. */
    private static final long PATIENCE_NANOS = 5_000_000_000L;

    private static final long PAUSE_NANOS = 5_000_000L;

    private final Fd control;

    private DeviceMapper(Fd control) {
        this.control = control;
    }

    /**
     * One part of a device.
     *
     * @param start and length: in sectors
     * @param type such as {@code linear}
     * @param parameters as in {@code Documentation/admin-guide/device-mapper}; in what is read, the
     *     status or the table
     */
    public record Part(long start, long length, String type, String parameters) {
        /** A piece of another device, from one of its sectors on. */
        public static Part linear(long start, long length, long device, long from) {
            return new Part(start, length, "linear", Stat.deviceText(device) + " " + from);
        }

        /**
         * A snapshot whose store outlives it.
         *
         * @param origin never written to
         * @param chunk in sectors
         */
        public static Part snapshot(long length, long origin, long store, int chunk) {
            return new Part(0, length, "snapshot", snapshotOf(origin, store, chunk));
        }

        /**
         * The same, and the kernel writes what is in the store to the origin and takes it out of
         * the store, by and by.
         */
        public static Part merge(long length, long origin, long store, int chunk) {
            return new Part(0, length, MERGE, snapshotOf(origin, store, chunk));
        }

        private static String snapshotOf(long origin, long store, int chunk) {
            return Stat.deviceText(origin) + " " + Stat.deviceText(store) + " P " + chunk;
        }

        /**
         * A device that the parameters name, in the form of {@link Stat#deviceNumber}.
         *
         * @param word which word of them, from 0
         */
        public long device(int word) {
            String[] numbers = parameters.split(" ")[word].split(":");
            return Stat.device(Long.parseLong(numbers[0]), Long.parseLong(numbers[1]));
        }
    }

    /**
     * A device.
     *
     * @param number in the form of {@link Stat#deviceNumber}
     * @param open how often it is open: mounts, devices on it, programs
     * @param suspended whether its requests wait
     * @param loaded whether it has a table that is not in force yet
     */
    public record Device(long number, int open, boolean suspended, boolean loaded) {}

    public static DeviceMapper open() throws LinuxException {
        return new DeviceMapper(At.open(CONTROL, At.O_RDWR));
    }

    /**
     * Why this kernel cannot make snapshots, and what to do; empty if it can. Makes the kernel load
     * what it has as modules.
     */
    public static String missing() {
        try (DeviceMapper dm = open()) {
            for (String type : List.of("linear", "snapshot")) {
                if (!dm.has(type)) {
                    return "this kernel's device-mapper has no target "
                            + type
                            + ": try modprobe dm-"
                            + type;
                }
            }
            return "";
        } catch (LinuxException e) {
            return "no device-mapper ("
                    + e.getMessage()
                    + "): try modprobe dm-mod; in a container, give it "
                    + CONTROL;
        }
    }

    private boolean has(String type) throws LinuxException {
        Memory m = header("", "", 0);
        m.setString(NAME, type, "US-ASCII");
        if (LibC.ioctl(control.number(), request(TARGET_VERSION), m) >= 0) {
            return true;
        }
        LinuxException e = LinuxException.last("ask device-mapper for the target", type);
        if (e.is(Errno.EINVAL)) {
            return false;
        }
        if (e.is(Errno.ENOTTY)) {
            // Linux before 5.7 cannot be asked; loading a table will tell.
            return true;
        }
        throw e;
    }

    /**
     * Makes a device, inactive and empty.
     *
     * @param name and uuid: unique on the machine; EBUSY if there is one
     * @return its number, in the form of {@link Stat#deviceNumber}
     */
    public long create(String name, String uuid) throws LinuxException {
        Memory m = header(name, uuid, 0);
        run(CREATE, m, "create the device", name);
        return device(m);
    }

    /** Gives it a table, in force from {@link #resume} on. */
    public void load(String name, List<Part> parts) throws LinuxException {
        Memory m = header(name, "", 0);
        int at = HEADER;
        for (Part p : parts) {
            byte[] parameters = (p.parameters() + '\0').getBytes(StandardCharsets.US_ASCII);
            int next = at + TARGET + parameters.length + 7 & -8;
            if (next > BUFFER) {
                throw new IllegalArgumentException("too many parts: " + parts.size());
            }
            m.setMemory(at, next - at, (byte) 0);
            m.setLong(at, p.start());
            m.setLong(at + 8L, p.length());
            m.setInt(at + 20L, next - at);
            byte[] type = p.type().getBytes(StandardCharsets.US_ASCII);
            m.write(at + 24L, type, 0, Math.min(15, type.length));
            m.write(at + (long) TARGET, parameters, 0, parameters.length);
            at = next;
        }
        m.setInt(TARGET_COUNT, parts.size());
        run(LOAD, m, "load a table into", name);
    }

    /** Drops a table that was loaded and is not in force; it is no error if there is none. */
    public void clear(String name) throws LinuxException {
        run(CLEAR, header(name, "", 0), "clear the loaded table of", name);
    }

    /**
     * Lets it go on, with the table loaded last. If it was not suspended, it is for as long as it
     * takes to exchange the tables: requests see one or the other.
     */
    public void resume(String name) throws LinuxException {
        run(SUSPEND, header(name, "", 0), "resume", name);
    }

    /**
     * Holds all its requests until {@link #resume}.
     *
     * @param freeze whether to freeze the file system on it first
     */
    public void suspend(String name, boolean freeze) throws LinuxException {
        int flags = FLAG_SUSPEND | (freeze ? 0 : FLAG_SKIP_LOCKFS | FLAG_NO_FLUSH);
        run(SUSPEND, header(name, "", flags), "suspend", name);
    }

    /** The device of that name, if there is one. */
    public Optional<Device> find(String name) throws LinuxException {
        Memory m = header(name, "", 0);
        try {
            run(STATUS, m, "look for", name);
        } catch (LinuxException e) {
            if (e.is(Errno.ENXIO)) {
                return Optional.empty();
            }
            throw e;
        }
        return Optional.of(
                new Device(
                        device(m),
                        m.getInt(OPEN_COUNT),
                        (m.getInt(FLAGS) & FLAG_SUSPEND) != 0,
                        (m.getInt(FLAGS) & FLAG_LOADED) != 0));
    }

    /** What the parts of a device say of themselves. */
    public List<Part> status(String name) throws LinuxException {
        return read(name, FLAG_NO_FLUSH);
    }

    /** What the parts of a device consist of. */
    public List<Part> table(String name) throws LinuxException {
        return read(name, FLAG_TABLE);
    }

    private List<Part> read(String name, int flags) throws LinuxException {
        Memory m = header(name, "", flags);
        run(TABLE_STATUS, m, "get the status of", name);
        List<Part> parts = new ArrayList<>();
        int start = m.getInt(DATA_START);
        int at = start;
        for (int i = 0; i < m.getInt(TARGET_COUNT); i++) {
            parts.add(
                    new Part(
                            m.getLong(at),
                            m.getLong(at + 8L),
                            text(m, at + 24, 16),
                            text(m, at + TARGET, BUFFER - at - TARGET)));
            at = start + m.getInt(at + 20L);
        }
        return parts;
    }

    /** The names of all devices, others' included. */
    public List<String> names() throws LinuxException {
        Memory m = header("", "", 0);
        run(LIST_DEVICES, m, "list the devices of", "device-mapper");
        List<String> names = new ArrayList<>();
        int at = m.getInt(DATA_START);
        if (m.getInt(DATA_SIZE) <= at || m.getLong(at) == 0) {
            return names;
        }
        while (true) {
            names.add(text(m, at + 12, NAME_BYTES));
            int next = m.getInt(at + 8L);
            if (next == 0) {
                return names;
            }
            at += next;
        }
    }

    /**
     * Removes a device; it is no error if there is none. Whoever looks at each device that comes
     * (udev) is waited for.
     *
     * @throws LinuxException EBUSY if it stays in use
     */
    public void remove(String name) throws LinuxException {
        long start = System.nanoTime();
        while (true) {
            try {
                run(REMOVE, header(name, "", 0), "remove the device", name);
                return;
            } catch (LinuxException e) {
                if (e.is(Errno.ENXIO)) {
                    return;
                }
                if (!e.is(Errno.EBUSY) || System.nanoTime() - start > PATIENCE_NANOS) {
                    throw e;
                }
                LockSupport.parkNanos(PAUSE_NANOS);
            }
        }
    }

    private static Memory header(String name, String uuid, int flags) {
        Memory m = LibC.scratch();
        m.setMemory(0, HEADER, (byte) 0);
        m.setInt(0, 4);
        m.setInt(DATA_SIZE, BUFFER);
        m.setInt(DATA_START, HEADER);
        m.setInt(FLAGS, flags);
        put(m, NAME, name, NAME_BYTES);
        put(m, UUID, uuid, UUID_BYTES);
        return m;
    }

    private static void put(Memory m, int at, String text, int most) {
        byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
        if (bytes.length > most) {
            throw new IllegalArgumentException("too long: " + text);
        }
        m.write(at, bytes, 0, bytes.length);
    }

    private static String text(Memory m, int at, int most) {
        int length = 0;
        while (length < most && m.getByte(at + (long) length) != 0) {
            length++;
        }
        return new String(m.getByteArray(at, length), StandardCharsets.ISO_8859_1);
    }

    private static long device(Memory m) {
        long dev = m.getLong(DEVICE);
        return Stat.device(dev >> 8 & 0xfff, dev & 0xff | dev >> 12 & 0xfff00);
    }

    private void run(int command, Memory m, String what, String name) throws LinuxException {
        int result;
        do {
            result = LibC.ioctl(control.number(), request(command), m);
        } while (result < 0 && LibC.errno() == Errno.EINTR);
        At.check(result, what, name);
    }

    /** {@code _IOWR(0xfd, command, struct dm_ioctl)}. */
    private static long request(int command) {
        return 3L << 30 | (long) HEADER << 16 | 0xfd << 8 | command;
    }

    @Override
    public void close() {
        control.close();
    }
}
