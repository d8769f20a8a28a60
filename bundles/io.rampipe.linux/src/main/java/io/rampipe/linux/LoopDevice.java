package io.rampipe.linux;

import com.sun.jna.Memory;
import io.rampipe.api.FilePath;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * A loop device ({@code loop(4)}): a file as a block device. It clears itself when the last who has
 * it open closes it, so that nothing is left of it when a daemon dies before anything uses it, and
 * when the device that uses it is removed. One thread.
 */
public final class LoopDevice implements AutoCloseable {
    private static final FilePath CONTROL = FilePath.of("/dev/loop-control");
    private static final long LOOP_CONFIGURE = 0x4c0a;
    private static final long LOOP_CTL_GET_FREE = 0x4c82;
    private static final int READ_ONLY = 1;
    private static final int AUTOCLEAR = 4;
    private static final int MAJOR = 7;

    /** {@code struct loop_config}, with {@code struct loop_info64} at 8 (linux/loop.h). */
    private static final int CONFIG_BYTES = 304;

    private static final int SIZE_LIMIT = 8 + 32;
    private static final int FLAGS = 8 + 52;
    private static final int LABEL = 8 + 56;
    private static final int LABEL_BYTES = 63;

    /** Others take free devices, too: between asking for one and taking it. */
    private static final int TRIES = 100;

    private final Fd fd;
    private final long device;

    private LoopDevice(Fd fd, long device) {
        this.fd = fd;
        this.device = device;
    }

    /** Why this machine has no loop devices, and what to do; empty if it has. */
    public static String missing() {
        try {
            At.open(CONTROL, At.O_RDWR).close();
            return "";
        } catch (LinuxException e) {
            return "no loop devices ("
                    + e.getMessage()
                    + "): try modprobe loop; in a container, give it "
                    + CONTROL;
        }
    }

    /**
     * Makes a device of a file.
     *
     * @param file open for reading, and for writing unless {@code readOnly}; the device keeps it
     *     open by itself
     * @param sizeLimit bytes from the file's start; 0 for all of it
     * @param label for people ({@code losetup --list --raw})
     * @param nodes a directory on a file system that may have device nodes, where one is made for a
     *     moment: {@code /dev} may have none
     * @return open until it is closed by the caller, which is when something else has it open
     * @throws LinuxException if there is none free, or no memory
     */
    public static LoopDevice attach(
            Fd file, long sizeLimit, boolean readOnly, String label, Fd nodes) throws IOException {
        try (Fd control = At.open(CONTROL, At.O_RDWR)) {
            for (int i = 1; ; i++) {
                int number = LibC.ioctl(control.number(), LOOP_CTL_GET_FREE, null);
                if (number < 0) {
                    throw LinuxException.last(
                            "find a free loop device (losetup --list tells what has them) for",
                            file);
                }
                try {
                    return attach(number, file, sizeLimit, readOnly, label, nodes);
                } catch (LinuxException e) {
                    if (!e.is(Errno.EBUSY) || i == TRIES) {
                        throw e;
                    }
                }
            }
        }
    }

    private static LoopDevice attach(
            int number, Fd file, long sizeLimit, boolean readOnly, String label, Fd nodes)
            throws IOException {
        long device = device(number);
        FilePath name = FilePath.of("loop" + number);
        At.mknod(nodes, name, Stat.BLOCK | 0600, device);
        Fd fd = null;
        boolean done = false;
        try {
            fd = At.open(nodes, name, At.O_RDWR | At.O_NOFOLLOW, 0);
            Memory m = LibC.scratch();
            m.setMemory(0, CONFIG_BYTES, (byte) 0);
            m.setInt(0, file.number());
            m.setLong(SIZE_LIMIT, sizeLimit);
            m.setInt(FLAGS, AUTOCLEAR | (readOnly ? READ_ONLY : 0));
            byte[] text = label.getBytes(StandardCharsets.US_ASCII);
            m.write(LABEL, text, 0, Math.min(LABEL_BYTES, text.length));
            int result;
            do {
                result = LibC.ioctl(fd.number(), LOOP_CONFIGURE, m);
            } while (result < 0 && LibC.errno() == Errno.EINTR);
            At.check(result, "make a loop device of", file);
            done = true;
            return new LoopDevice(fd, device);
        } finally {
            if (fd != null && !done) {
                fd.close();
            }
            At.unlink(nodes, name);
        }
    }

    /** Minor numbers are not the devices' where partitions have numbers of their own (max_part). */
    private static long device(int number) throws IOException {
        try {
            String text = Files.readString(Path.of("/sys/block/loop" + number + "/dev")).strip();
            int colon = text.indexOf(':');
            return Stat.device(
                    Long.parseLong(text.substring(0, colon)),
                    Long.parseLong(text.substring(colon + 1)));
        } catch (NoSuchFileException e) {
            return Stat.device(MAJOR, number);
        }
    }

    /** In the form of {@link Stat#deviceNumber}. */
    public long device() {
        return device;
    }

    /** The device, open. Belongs to this. */
    public Fd fd() {
        return fd;
    }

    @Override
    public void close() {
        fd.close();
    }
}
