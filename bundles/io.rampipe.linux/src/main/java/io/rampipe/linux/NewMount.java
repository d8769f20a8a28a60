package io.rampipe.linux;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import io.rampipe.api.FilePath;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A file system being set up, to be mounted later in one quick step ({@code fsopen(2)}, Linux 5.2).
 * Nobody sees it before {@link Mounts#attach}, and it dissolves if nobody attaches it.
 */
public final class NewMount implements AutoCloseable {
    private static final int FSOPEN_CLOEXEC = 1;
    private static final int FSMOUNT_CLOEXEC = 1;
    private static final int FSCONFIG_SET_FLAG = 0;
    private static final int FSCONFIG_SET_STRING = 1;
    private static final int FSCONFIG_CMD_CREATE = 6;

    private static final long ATTR_RDONLY = 1;
    private static final long ATTR_NOSUID = 2;
    private static final long ATTR_NODEV = 4;
    private static final long ATTR_NOEXEC = 8;
    private static final long ATTR_NOATIME = 0x10;
    private static final long ATTR_STRICTATIME = 0x20;
    private static final long ATTR_NODIRATIME = 0x80;
    private static final long ATTR_NOSYMFOLLOW = 0x200000;

    private final Fd context;
    private final String type;

    private NewMount(Fd context, String type) {
        this.context = context;
        this.type = type;
    }

    /** Starts with a kind of file system; ENODEV if the kernel has none such. */
    public static NewMount of(String type) throws LinuxException {
        Memory m = LibC.scratch();
        m.setString(0, type, "US-ASCII");
        long n = LibC.syscall(LibC.SYS_FSOPEN, Pointer.nativeValue(m), FSOPEN_CLOEXEC, 0, 0, 0);
        return new NewMount(Fd.check((int) n, "set up", type), type);
    }

    /** Sets an option, {@code source} included. EINVAL if the file system does not take it. */
    public NewMount option(String key, FilePath value) throws LinuxException {
        Memory m = LibC.scratch();
        byte[] k = key.getBytes(StandardCharsets.US_ASCII);
        m.write(0, k, 0, k.length);
        m.setByte(k.length, (byte) 0);
        byte[] v = value.cString();
        long at = k.length + 1L;
        m.write(at, v, 0, v.length);
        long base = Pointer.nativeValue(m);
        long n =
                LibC.syscall(
                        LibC.SYS_FSCONFIG,
                        context.number(),
                        FSCONFIG_SET_STRING,
                        base,
                        base + at,
                        0);
        At.check((int) n, "set " + key + "=" + value + " of", type);
        return this;
    }

    /** Sets an option that has no value. EINVAL if the file system does not take it. */
    public NewMount flag(String key) throws LinuxException {
        Memory m = LibC.scratch();
        m.setString(0, key, "US-ASCII");
        long n =
                LibC.syscall(
                        LibC.SYS_FSCONFIG,
                        context.number(),
                        FSCONFIG_SET_FLAG,
                        Pointer.nativeValue(m),
                        0,
                        0);
        At.check((int) n, "set " + key + " of", type);
        return this;
    }

    /**
     * Makes the file system and a mount of it that is not attached anywhere. The caller closes it;
     * before something attached can be unmounted, in any case.
     *
     * @param flags {@code MS_*} of {@link Mounts}, as for {@link Mounts#mount}
     */
    public Fd create(long flags) throws LinuxException {
        long n = LibC.syscall(LibC.SYS_FSCONFIG, context.number(), FSCONFIG_CMD_CREATE, 0, 0, 0);
        At.check((int) n, "make", type);
        n =
                LibC.syscall(
                        LibC.SYS_FSMOUNT,
                        context.number(),
                        FSMOUNT_CLOEXEC,
                        attributes(flags),
                        0,
                        0);
        return Fd.check((int) n, "mount", type);
    }

    /** What the kernel says about the last failure, for people; empty if nothing. */
    public String complaints() {
        List<String> lines = new ArrayList<>();
        Memory m = LibC.scratch();
        while (lines.size() < 10) {
            long n = LibC.read(context.number(), m, 4096);
            if (n <= 0) {
                break;
            }
            // A letter for the severity, a space, the text, perhaps a line feed.
            String line = FilePath.ofBytes(m.getByteArray(0, (int) n)).toString();
            lines.add(line.substring(Math.min(2, line.length())).replace("\\n", ""));
        }
        return String.join("; ", lines);
    }

    private static long attributes(long flags) {
        return bit(flags, Mounts.MS_RDONLY, ATTR_RDONLY)
                | bit(flags, Mounts.MS_NOSUID, ATTR_NOSUID)
                | bit(flags, Mounts.MS_NODEV, ATTR_NODEV)
                | bit(flags, Mounts.MS_NOEXEC, ATTR_NOEXEC)
                | bit(flags, Mounts.MS_NOATIME, ATTR_NOATIME)
                | bit(flags, Mounts.MS_STRICTATIME, ATTR_STRICTATIME)
                | bit(flags, Mounts.MS_NODIRATIME, ATTR_NODIRATIME)
                | bit(flags, Mounts.MS_NOSYMFOLLOW, ATTR_NOSYMFOLLOW);
    }

    private static long bit(long flags, long flag, long attribute) {
        return (flags & flag) != 0 ? attribute : 0;
    }

    @Override
    public void close() {
        context.close();
    }
}
