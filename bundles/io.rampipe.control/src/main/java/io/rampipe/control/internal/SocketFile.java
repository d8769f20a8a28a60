package io.rampipe.control.internal;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipal;
import java.util.Set;

/**
 * A listening socket in the file system that only its owner can use. Closing removes it, unless
 * somebody else's has taken its place.
 */
final class SocketFile implements AutoCloseable {
    private static final Set<PosixFilePermission> OWNER_ONLY =
            PosixFilePermissions.fromString("rw-------");
    private static final Set<PosixFilePermission> DIRECTORY =
            PosixFilePermissions.fromString("rwxr-x---");

    private final Path path;
    private final ServerSocketChannel channel;
    private final Object key;

    private SocketFile(Path path, ServerSocketChannel channel, Object key) {
        this.path = path;
        this.channel = channel;
        this.key = key;
    }

    /**
     * @param path of the socket; its directory is made if missing, and must be such that only the
     *     owner can put files there
     * @param owner whose the directory has to be
     */
    static SocketFile listen(Path path, UserPrincipal owner, int backlog) throws IOException {
        secure(path.getParent(), owner);
        Path fresh = path.resolveSibling(path.getFileName() + ".new");
        Files.deleteIfExists(fresh);
        ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        try {
            // Under another name first: under its own, nobody meets it before it is protected, and
            // the one of a daemon that was killed is replaced in one step.
            channel.bind(UnixDomainSocketAddress.of(fresh), backlog);
            Files.setPosixFilePermissions(fresh, OWNER_ONLY);
            makeWay(path);
            Object key = Files.readAttributes(fresh, BasicFileAttributes.class).fileKey();
            Files.move(fresh, path, StandardCopyOption.ATOMIC_MOVE);
            return new SocketFile(path, channel, key);
        } catch (IOException | RuntimeException e) {
            channel.close();
            Files.deleteIfExists(fresh);
            throw e;
        }
    }

    private static void secure(Path directory, UserPrincipal owner) throws IOException {
        try {
            Files.createDirectory(directory, PosixFilePermissions.asFileAttribute(DIRECTORY));
        } catch (FileAlreadyExistsException e) {
            PosixFileAttributes found =
                    Files.readAttributes(
                            directory, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
            if (!found.isDirectory()) {
                throw new IOException(directory + " is no directory", e);
            }
            if (!found.owner().equals(owner)
                    || found.permissions().contains(PosixFilePermission.GROUP_WRITE)
                    || found.permissions().contains(PosixFilePermission.OTHERS_WRITE)) {
                throw new IOException(
                        directory
                                + " belongs to "
                                + found.owner()
                                + " with mode "
                                + PosixFilePermissions.toString(found.permissions())
                                + ": others could put their own socket there (chown "
                                + owner
                                + ", chmod 0750)",
                        e);
            }
        }
    }

    /** Throws unless the path is free, or holds a socket that nobody listens to any more. */
    private static void makeWay(Path path) throws IOException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        if (!Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
                .isOther()) {
            throw new IOException(path + " is there and is no socket: remove it");
        }
        try {
            SocketChannel.open(UnixDomainSocketAddress.of(path)).close();
        } catch (IOException nobody) {
            return; // ECONNREFUSED: left over.
        }
        throw new FileAlreadyExistsException(path.toString(), null, "another daemon answers there");
    }

    /** Blocking. */
    SocketChannel accept() throws IOException {
        return channel.accept();
    }

    boolean isOpen() {
        return channel.isOpen();
    }

    @Override
    public void close() throws IOException {
        channel.close();
        try {
            if (Files.readAttributes(path, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS)
                    .fileKey()
                    .equals(key)) {
                Files.delete(path);
            }
        } catch (java.nio.file.NoSuchFileException gone) {
            // Good.
        }
    }
}
