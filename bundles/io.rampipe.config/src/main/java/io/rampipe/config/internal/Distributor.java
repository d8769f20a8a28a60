package io.rampipe.config.internal;

import io.rampipe.api.ConfigurationCheck;
import io.rampipe.api.Printable;
import io.rampipe.api.ReloadListener;
import io.rampipe.api.Settings;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Dictionary;
import java.util.Hashtable;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BooleanSupplier;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleEvent;
import org.osgi.framework.BundleException;
import org.osgi.framework.Constants;
import org.osgi.framework.FrameworkEvent;
import org.osgi.framework.FrameworkListener;
import org.osgi.framework.InvalidSyntaxException;
import org.osgi.service.cm.Configuration;
import org.osgi.service.cm.ConfigurationAdmin;
import org.osgi.service.cm.ManagedService;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;
import org.osgi.util.tracker.BundleTracker;

/**
 * Takes the one file that users write, which FileInstall brings as PID {@code rampipe}, and hands
 * its values to the components that they are for: all of them, or, if anything is invalid, none.
 *
 * <p>Each PID with a metatype document gets a configuration, be it empty: a component whose
 * configuration is required starts once the file was found valid, or once it is clear that nothing
 * valid is there and the defaults are in force. What was handed out is kept by ConfigurationAdmin:
 * it is the last valid configuration, also after a restart.
 */
@Component(
        service = {ManagedService.class, Settings.class},
        immediate = true,
        property = Constants.SERVICE_PID + "=" + Distributor.PID)
public final class Distributor implements ManagedService, Settings {
    static final String PID = "rampipe";

    private static final String FILE_INSTALL = "org.apache.felix.fileinstall";

    /** Framework property: where FileInstall looks for the file. */
    static final String CONFIGURATION_DIRECTORY = "rampipe.conf";

    /**
     * From installed on: a bundle that is being updated, or that cannot be resolved, still owns its
     * keys.
     */
    private static final int THERE =
            Bundle.INSTALLED | Bundle.RESOLVED | Bundle.STARTING | Bundle.ACTIVE | Bundle.STOPPING;

    private final BundleContext context;
    private final ConfigurationAdmin admin;
    private final Logger log;
    private final BooleanSupplier complete;
    private final List<ConfigurationCheck> checks = new CopyOnWriteArrayList<>();
    private final List<ReloadListener> listeners = new CopyOnWriteArrayList<>();
    private final Map<Bundle, List<Section>> described = new ConcurrentHashMap<>();
    private final BundleTracker<Bundle> bundles;
    private final FrameworkListener whenStarted = this::frameworkEvent;

    private boolean running;
    private List<String> problems = List.of();

    /**
     * What was in force before a file was taken over that not everybody could object to yet; null
     * if there is no such file.
     */
    private Map<String, Map<String, Object>> before;

    @Activate
    public Distributor(
            BundleContext context,
            @Reference ConfigurationAdmin admin,
            @Reference(service = LoggerFactory.class) Logger log) {
        this(context, admin, log, () -> context.getBundle(0).getState() == Bundle.ACTIVE);
    }

    /**
     * @param complete whether the framework has started, and with it every bundle
     */
    Distributor(
            BundleContext context, ConfigurationAdmin admin, Logger log, BooleanSupplier complete) {
        this.context = context;
        this.complete = complete;
        this.admin = admin;
        this.log = log;
        bundles =
                new BundleTracker<>(context, THERE, null) {
                    @Override
                    public Bundle addingBundle(Bundle bundle, BundleEvent event) {
                        describe(bundle);
                        return bundle;
                    }

                    @Override
                    public void modifiedBundle(Bundle bundle, BundleEvent event, Bundle same) {
                        if (event != null && event.getType() == BundleEvent.UPDATED) {
                            describe(bundle);
                        }
                    }

                    @Override
                    public void removedBundle(Bundle bundle, BundleEvent event, Bundle same) {
                        if (described.remove(bundle) != null) {
                            look();
                        }
                    }
                };
    }

    @Activate
    void start() {
        bundles.open();
        context.addFrameworkListener(whenStarted);
        synchronized (this) {
            running = true;
        }
        look();
    }

    @Deactivate
    void stop() {
        synchronized (this) {
            running = false;
        }
        context.removeFrameworkListener(whenStarted);
        bundles.close();
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addCheck(ConfigurationCheck check) {
        checks.add(check);
        look();
    }

    void removeCheck(ConfigurationCheck check) {
        checks.remove(check);
    }

    private void describe(Bundle bundle) {
        List<Section> before;
        List<Section> now = List.of();
        try {
            now = Section.of(bundle);
        } catch (IOException e) {
            log.error("its settings are not known", e);
        }
        before = now.isEmpty() ? described.remove(bundle) : described.put(bundle, now);
        if (!now.equals(before == null ? List.of() : before)) {
            look();
        }
    }

    private void frameworkEvent(FrameworkEvent event) {
        if (event.getType() == FrameworkEvent.STARTED) {
            look();
        }
    }

    /** The file is new, changed or gone: its contents are taken from where everyone sees them. */
    @Override
    public void updated(Dictionary<String, ?> properties) {
        look();
    }

    /** Looks at file, keys and checks as they are now, and does what follows from them. */
    private synchronized void look() {
        if (!running) {
            return;
        }
        try {
            Schema schema = schema();
            UserFile file = UserFile.of(only(PID));
            Reading reading =
                    Reading.of(
                            schema,
                            file.values(),
                            file.name(),
                            Overrides.in(System.getProperties()),
                            checks);
            boolean all = complete.getAsBoolean();
            if (reading.valid() && (file.exists() || all)) {
                // At once, so that components start with it, but not for good: checks may come.
                if (before == null) {
                    before = inForce(schema);
                }
                distribute(schema, reading.values());
                if (!problems.isEmpty() && file.exists()) {
                    log.info("{} is valid again", Printable.of(file.name()));
                }
                problems = List.of();
            } else if (all) {
                refuse(schema, reading, file);
            }
            // Else bundles that know the key, checks, or the file itself may still come.
            if (all) {
                before = null;
            }
        } catch (IOException e) {
            log.error("cannot hand out the configuration", e);
        }
    }

    private void refuse(Schema schema, Reading reading, UserFile file) throws IOException {
        if (!reading.problems().equals(problems)) {
            problems = reading.problems();
            for (String problem : problems) {
                log.error(problem);
            }
            log.error(
                    "{} is refused: the last valid configuration stays in force",
                    Printable.of(file.name()));
        }
        distribute(schema, before == null ? inForce(schema) : before);
    }

    /** For each PID what is valid still of what it has: a bundle may have changed its keys. */
    private Map<String, Map<String, Object>> inForce(Schema schema) {
        Map<String, Map<String, Object>> values = new TreeMap<>();
        for (Section section : schema.sections()) {
            Configuration configuration = only(section.pid());
            Map<String, Object> all =
                    own(configuration == null ? null : configuration.getProperties());
            Map<String, Object> valid = new TreeMap<>();
            for (Attribute attribute : section.attributes()) {
                Object value = all.get(attribute.key());
                if (value != null) {
                    try {
                        valid.put(attribute.key(), attribute.parse(attribute.text(value)));
                    } catch (InvalidValueException e) {
                        log.warn("no longer valid, the default is in force: {}", e.getMessage());
                    }
                }
            }
            values.put(section.pid(), valid);
        }
        return values;
    }

    private void distribute(Schema schema, Map<String, Map<String, Object>> values)
            throws IOException {
        Map<String, String> changes = new TreeMap<>();
        for (Section section : schema.sections()) {
            Configuration configuration = admin.getConfiguration(section.pid(), "?");
            Map<String, Object> old = own(configuration.getProperties());
            Map<String, Object> now = values.getOrDefault(section.pid(), Map.of());
            if (configuration.getProperties() != null && same(old, now)) {
                continue;
            }
            configuration.update(new Hashtable<>(now));
            for (Attribute attribute : section.attributes()) {
                String from = attribute.text(old.get(attribute.key()));
                String to = attribute.text(now.get(attribute.key()));
                if (!from.equals(to)) {
                    changes.put(attribute.key(), quote(from) + " -> " + quote(to));
                }
            }
        }
        if (!changes.isEmpty()) {
            List<String> lines = new ArrayList<>();
            changes.forEach((key, change) -> lines.add(key + " " + change));
            log.info("configuration: {}", Printable.of(String.join(", ", lines)));
        }
    }

    private static String quote(String text) {
        return text.isEmpty() || text.contains(" ") ? "'" + text + "'" : text;
    }

    @Override
    public List<Setting> settings() {
        Map<String, Setting> settings = new TreeMap<>();
        Map<String, String> overrides = Overrides.in(System.getProperties());
        for (Section section : schema().sections()) {
            Configuration configuration = only(section.pid());
            Map<String, Object> values =
                    own(configuration == null ? null : configuration.getProperties());
            for (Attribute attribute : section.attributes()) {
                Object value = values.get(attribute.key());
                Source source =
                        value == null
                                ? Source.DEFAULT
                                : overrides.containsKey(attribute.key())
                                        ? Source.OVERRIDE
                                        : Source.FILE;
                settings.putIfAbsent(
                        attribute.key(),
                        new Setting(
                                attribute.key(),
                                attribute.text(value),
                                attribute.standardText(),
                                source,
                                attribute.form(),
                                attribute.description(),
                                section.pid()));
            }
        }
        return List.copyOf(settings.values());
    }

    /** The file first: what is in force is never more than what the next start would find. */
    @Override
    public synchronized void set(String key, String value) throws IOException {
        if (!problems.isEmpty()) {
            throw new IOException(
                    "the configuration file is refused as it is, so nothing is added to it: "
                            + problems.get(0));
        }
        Map<String, String> overrides = Overrides.in(System.getProperties());
        if (overrides.containsKey(key)) {
            throw new IOException(
                    key
                            + " is set on the command line ("
                            + Overrides.PREFIX
                            + key
                            + "), which goes before the file");
        }
        Configuration configuration = only(PID);
        UserFile file = UserFile.of(configuration);
        Map<String, String> values = new TreeMap<>(file.values());
        values.put(key, value);
        Reading reading = Reading.of(schema(), values, file.name(), overrides, checks);
        if (!reading.valid()) {
            throw new IOException(String.join("; ", reading.problems()));
        }
        Path path = file.path().orElseGet(this::standardFile);
        new FileEdit(path).set(key, value);
        log.info("{}: {} = {}", Printable.of(path.toString()), key, Printable.of(value));
        if (configuration == null) {
            configuration = admin.getConfiguration(PID, "?");
        }
        // As FileInstall would do within its next poll; then it finds nothing to do.
        Dictionary<String, Object> properties =
                configuration.getProperties() == null || !file.exists()
                        ? new Hashtable<>()
                        : configuration.getProperties();
        properties.put(key, value);
        properties.put(UserFile.FILE, path.toFile().getAbsoluteFile().toURI().toString());
        configuration.update(properties);
        look();
    }

    /** FileInstall reads its directories whenever it starts, before its start returns. */
    @Override
    public void reload() throws IOException {
        Bundle reader =
                Arrays.stream(context.getBundles())
                        .filter(b -> FILE_INSTALL.equals(b.getSymbolicName()))
                        .findFirst()
                        .orElseThrow(
                                () ->
                                        new IOException(
                                                FILE_INSTALL + ", which reads it, is missing"));
        List<ReloadListener> told = List.copyOf(listeners);
        told.forEach(ReloadListener::reloading);
        try {
            reader.stop(Bundle.STOP_TRANSIENT);
            reader.start(Bundle.START_TRANSIENT);
        } catch (BundleException e) {
            throw new IOException("the configuration cannot be read: " + e.getMessage(), e);
        } finally {
            told.forEach(ReloadListener::reloaded);
        }
        // ConfigurationAdmin has it by now, and would tell a moment later.
        look();
        List<String> wrong = problems();
        if (!wrong.isEmpty()) {
            throw new IOException(
                    String.join("; ", wrong) + "; the last valid configuration stays in force");
        }
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addListener(ReloadListener listener) {
        listeners.add(listener);
    }

    void removeListener(ReloadListener listener) {
        listeners.remove(listener);
    }

    private Path standardFile() {
        return Path.of(String.valueOf(context.getProperty(CONFIGURATION_DIRECTORY)), "rampipe.cfg")
                .toAbsolutePath();
    }

    @Override
    public synchronized List<String> problems() {
        return problems;
    }

    @Override
    public String template() {
        return Template.of(schema());
    }

    private Schema schema() {
        return new Schema(described.values().stream().flatMap(List::stream).toList());
    }

    /** The configuration of that PID; null if there is none. Makes none. */
    private Configuration only(String pid) {
        try {
            Configuration[] found =
                    admin.listConfigurations("(" + Constants.SERVICE_PID + "=" + pid + ")");
            return found == null ? null : found[0];
        } catch (IOException | InvalidSyntaxException e) {
            throw new IllegalStateException("ConfigurationAdmin cannot find " + pid, e);
        }
    }

    /** A configuration's keys without those that ConfigurationAdmin and FileInstall add. */
    static Map<String, Object> own(Dictionary<String, Object> properties) {
        Map<String, Object> own = new TreeMap<>();
        if (properties != null) {
            for (String key : Collections.list(properties.keys())) {
                if (!key.startsWith("service.") && !key.startsWith("felix.fileinstall.")) {
                    own.put(key, properties.get(key));
                }
            }
        }
        return own;
    }

    private static boolean same(Map<String, Object> a, Map<String, Object> b) {
        return a.keySet().equals(b.keySet())
                && a.keySet().stream().allMatch(key -> Objects.deepEquals(a.get(key), b.get(key)));
    }
}
