package io.rampipe.itests;

import java.io.IOException;
import java.io.OutputStream;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.jar.Attributes;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;

/** A bundle with one strategy, compiled from a few lines: as somebody else could have made it. */
final class Jar {
    /** What a bundle imports that was built against the API that ships. */
    static final String API = "[1.1,2)";

    private Jar() {}

    /**
     * @param directory where it is made, and where the jar is moved into place
     * @param name its symbolic name and the strategy's
     * @param type simple name of the interface, in {@code io.rampipe.api}
     * @param ranking service ranking
     * @param api range of the API's version that it asks for
     * @param body of the class, which is {@code bad.Strategy}
     */
    static Path of(Path directory, String name, String type, int ranking, String api, String body)
            throws IOException {
        Path work = Files.createTempDirectory(directory, "jar");
        Path source = work.resolve("bad/Strategy.java");
        Files.createDirectories(source.getParent());
        Files.writeString(
                source,
                """
                package bad;
                import io.rampipe.api.*;
                import java.io.IOException;
                import java.util.*;
                public class Strategy implements %s {
                    static void hang() { try { Thread.sleep(Long.MAX_VALUE); } catch (InterruptedException e) { } }
                    %s
                }
                """
                        .formatted(type, body));
        compile(source, work);
        Manifest manifest = new Manifest();
        Attributes main = manifest.getMainAttributes();
        main.put(Attributes.Name.MANIFEST_VERSION, "1.0");
        main.putValue("Bundle-ManifestVersion", "2");
        main.putValue("Bundle-SymbolicName", name);
        main.putValue("Bundle-Version", "1.0.0");
        main.putValue("Import-Package", "io.rampipe.api;version=\"" + api + "\"");
        main.putValue("Service-Component", "OSGI-INF/strategy.xml");
        Path unfinished = work.resolve("jar");
        try (OutputStream file = Files.newOutputStream(unfinished);
                JarOutputStream out = new JarOutputStream(file, manifest);
                Stream<Path> classes = Files.list(work.resolve("bad"))) {
            out.putNextEntry(new ZipEntry("OSGI-INF/strategy.xml"));
            out.write(description(name, type, ranking).getBytes(StandardCharsets.UTF_8));
            for (Path c : classes.filter(c -> c.toString().endsWith(".class")).toList()) {
                out.putNextEntry(new ZipEntry("bad/" + c.getFileName()));
                out.write(Files.readAllBytes(c));
            }
        }
        return Files.move(
                unfinished, directory.resolve(name + ".jar"), StandardCopyOption.REPLACE_EXISTING);
    }

    private static String description(String name, String type, int ranking) {
        return """
               <scr:component xmlns:scr="http://www.osgi.org/xmlns/scr/v1.3.0" name="%1$s">
                 <property name="rampipe.name" value="%1$s"/>
                 <property name="service.ranking" type="Integer" value="%3$d"/>
                 <service><provide interface="io.rampipe.api.%2$s"/></service>
                 <implementation class="bad.Strategy"/>
               </scr:component>
               """
                .formatted(name, type, ranking);
    }

    private static void compile(Path source, Path to) throws IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter messages = new StringWriter();
        List<String> options =
                List.of(
                        "-proc:none",
                        "--release",
                        "17",
                        "-cp",
                        Daemon.jar("io.rampipe.api").toString(),
                        "-d",
                        to.toString());
        boolean ok =
                compiler.getTask(
                                messages,
                                null,
                                null,
                                options,
                                null,
                                compiler.getStandardFileManager(null, null, null)
                                        .getJavaFileObjects(source))
                        .call();
        if (!ok) {
            throw new IOException(messages.toString());
        }
    }
}
