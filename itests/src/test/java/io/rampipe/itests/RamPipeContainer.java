package io.rampipe.itests;

import static org.ops4j.pax.exam.CoreOptions.bundle;
import static org.ops4j.pax.exam.CoreOptions.cleanCaches;
import static org.ops4j.pax.exam.CoreOptions.composite;
import static org.ops4j.pax.exam.CoreOptions.frameworkProperty;
import static org.ops4j.pax.exam.CoreOptions.frameworkStartLevel;
import static org.ops4j.pax.exam.CoreOptions.options;
import static org.ops4j.pax.exam.CoreOptions.systemProperty;

import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Method;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.InvocationInterceptor;
import org.junit.jupiter.api.extension.ReflectiveInvocationContext;
import org.junit.platform.commons.support.AnnotationSupport;
import org.opentest4j.TestAbortedException;
import org.ops4j.pax.exam.ExamSystem;
import org.ops4j.pax.exam.Option;
import org.ops4j.pax.exam.TestAddress;
import org.ops4j.pax.exam.TestContainer;
import org.ops4j.pax.exam.TestProbeBuilder;
import org.ops4j.pax.exam.spi.PaxExamRuntime;

/**
 * Runs the test methods of a class inside the distribution: its bundles, its start levels, its
 * framework properties.
 *
 * <p>Pax Exam has no driver for JUnit 5. This one makes a bundle of the test classes, starts a
 * framework for each class, and calls each method there instead of here. Inside, {@code @Inject}
 * fields are services (or the probe's BundleContext). Test methods are public and without
 * parameters; {@code @BeforeEach} and the like are not run.
 */
public final class RamPipeContainer implements BeforeAllCallback, InvocationInterceptor {

    private static final Path HOME =
            Path.of(System.getProperty("rampipe.home", "../distribution/target/rampipe"))
                    .toAbsolutePath()
                    .normalize();
    private static final Pattern AUTO_START = Pattern.compile("felix\\.auto\\.start\\.(\\d+)");
    private static final Pattern JAR_NAME = Pattern.compile("bundle/([^/\"]+\\.jar)\"");
    private static final int DEFAULT_START_LEVEL = 10;
    private static final int START_LEVEL = 50;

    @Override
    public void beforeAll(ExtensionContext context) throws Exception {
        Class<?> test = context.getRequiredTestClass();
        // Forked, because a test system puts its own start level, 5, behind the options it is
        // given.
        ExamSystem system =
                PaxExamRuntime.createTestSystem(distribution())
                        .fork(options(frameworkStartLevel(START_LEVEL)));
        TestProbeBuilder probe = system.createProbe();
        Map<Method, TestAddress> addresses = new HashMap<>();
        for (Method method :
                AnnotationSupport.findAnnotatedMethods(
                        test,
                        org.junit.jupiter.api.Test.class,
                        org.junit.platform.commons.support.HierarchyTraversalMode.TOP_DOWN)) {
            addresses.put(method, probe.addTest(test, method.getName()));
        }
        TestContainer container = PaxExamRuntime.createContainer(system);
        store(context).put(Running.class, new Running(system, container, addresses));
        container.start();
        try (InputStream jar = probe.build().getStream()) {
            container.installProbe(jar);
        }
    }

    @Override
    public void interceptTestMethod(
            Invocation<Void> invocation,
            ReflectiveInvocationContext<Method> method,
            ExtensionContext context)
            throws Throwable {
        invocation.skip();
        Running running = store(context).get(Running.class, Running.class);
        try {
            running.container.call(running.addresses.get(method.getExecutable()));
        } catch (RuntimeException e) {
            throw asSeenFromHere(e);
        }
    }

    /** An assumption that failed inside threw the container's own class, unknown out here. */
    private static Throwable asSeenFromHere(RuntimeException thrown) {
        for (Throwable t = thrown; t != null; t = t.getCause()) {
            if (t.getClass().getName().equals(TestAbortedException.class.getName())) {
                return new TestAbortedException(t.getMessage(), t);
            }
            if (t instanceof AssertionError) {
                return t;
            }
        }
        return thrown;
    }

    private static ExtensionContext.Store store(ExtensionContext context) {
        return context.getStore(Namespace.create(RamPipeContainer.class));
    }

    private static Option[] distribution() throws Exception {
        Path scratch = Files.createTempDirectory(Path.of("target").toAbsolutePath(), "container");
        Properties config = new Properties();
        try (InputStream in = Files.newInputStream(HOME.resolve("conf/config.properties"))) {
            config.load(in);
        }
        return options(
                shipped(startLevels(config)),
                // What the probe needs beside Pax Exam's own bundles.
                bundle(jarOf(org.junit.jupiter.api.Test.class)),
                bundle(jarOf(AnnotationSupport.class)),
                bundle(jarOf(TestAbortedException.class)),
                bundle(jarOf(org.apiguardian.api.API.class)),
                cleanCaches(),
                systemProperty("org.ops4j.pax.logging.DefaultServiceLog.level").value("WARN"),
                systemProperty("jna.nounpack").value("true"),
                directory("jna.boot.library.path", HOME.resolve("lib").resolve(platform())),
                directory("rampipe.home", HOME),
                directory("rampipe.conf", Files.createDirectory(scratch.resolve("conf"))),
                directory("rampipe.runtime", Files.createDirectory(scratch.resolve("run"))),
                directory("rampipe.state", Files.createDirectory(scratch.resolve("state"))),
                frameworkProperty("felix.fileinstall.dir")
                        .value(scratch.resolve("conf").toString()),
                frameworkProperty("felix.fileinstall.noInitialDelay").value("true"),
                frameworkProperty("felix.fileinstall.enableConfigSave").value("false"),
                frameworkProperty("gosh.args").value("--nointeractive"));
    }

    private static String platform() {
        return System.getProperty("os.arch").equals("aarch64") ? "linux-aarch64" : "linux-x86-64";
    }

    private static Option directory(String property, Path directory) {
        return systemProperty(property).value(directory.toString());
    }

    private static Option shipped(Map<String, Integer> startLevels) throws IOException {
        try (Stream<Path> jars = Files.list(HOME.resolve("bundle"))) {
            List<Path> sorted = jars.sorted().toList();
            return composite(
                    sorted.stream()
                            .map(
                                    jar ->
                                            bundle(jar.toUri().toString())
                                                    .startLevel(
                                                            startLevels.getOrDefault(
                                                                    jar.getFileName().toString(),
                                                                    DEFAULT_START_LEVEL)))
                            .toArray(Option[]::new));
        }
    }

    private static Map<String, Integer> startLevels(Properties config) {
        Map<String, Integer> levels = new HashMap<>();
        for (String key : config.stringPropertyNames()) {
            Matcher level = AUTO_START.matcher(key);
            if (level.matches()) {
                JAR_NAME.matcher(config.getProperty(key))
                        .results()
                        .forEach(jar -> levels.put(jar.group(1), Integer.valueOf(level.group(1))));
            }
        }
        return levels;
    }

    private static String jarOf(Class<?> type) throws URISyntaxException {
        return type.getProtectionDomain().getCodeSource().getLocation().toURI().toString();
    }

    /** Closed by JUnit after the class. */
    private record Running(
            ExamSystem system, TestContainer container, Map<Method, TestAddress> addresses)
            implements AutoCloseable {
        @Override
        public void close() {
            container.stop();
            system.clear();
        }
    }
}
