package io.rampipe.itests;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.zip.ZipEntry;

/** A strategy that ships, under another name: as a bundle that somebody else could have made. */
final class OtherStrategy {
    private OtherStrategy() {}

    /**
     * @param bundle of the distribution, such as {@code io.rampipe.rate.ema}
     * @param name of its strategy
     * @param other name of the copy's strategy; its symbolic name is {@code other.NAME}
     * @return the copy, in that directory
     */
    static Path of(String bundle, String name, String other, Path directory) throws IOException {
        Path copy = directory.resolve(other + ".jar");
        try (JarFile in = new JarFile(Daemon.jar(bundle).toFile())) {
            Manifest manifest = in.getManifest();
            Attributes attributes = manifest.getMainAttributes();
            attributes.putValue("Bundle-SymbolicName", "other." + other);
            attributes.putValue(
                    "Provide-Capability",
                    attributes
                            .getValue("Provide-Capability")
                            .replace("rampipe.name=" + name, "rampipe.name=" + other)
                            .replace(
                                    "rampipe.name=\"" + name + "\"",
                                    "rampipe.name=\"" + other + "\""));
            try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(copy), manifest)) {
                for (JarEntry entry : in.stream().toList()) {
                    if (entry.getName().equals(JarFile.MANIFEST_NAME)) {
                        continue;
                    }
                    out.putNextEntry(new ZipEntry(entry.getName()));
                    out.write(contents(in, entry, name, other));
                    out.closeEntry();
                }
            }
        }
        return copy;
    }

    private static byte[] contents(JarFile in, JarEntry entry, String name, String other)
            throws IOException {
        try (InputStream bytes = in.getInputStream(entry)) {
            byte[] all = bytes.readAllBytes();
            return entry.getName().startsWith("OSGI-INF/") && entry.getName().endsWith(".xml")
                    ? new String(all, StandardCharsets.UTF_8)
                            .replace("value=\"" + name + "\"", "value=\"" + other + "\"")
                            .getBytes(StandardCharsets.UTF_8)
                    : all;
        }
    }
}
