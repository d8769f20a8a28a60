package io.rampipe.engine.internal;

import io.rampipe.api.EventSource;
import io.rampipe.api.Names;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.RamPipe.StrategyStatus;
import io.rampipe.api.RateEstimator;
import io.rampipe.api.SyncBack;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.ToIntFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.stream.XMLInputFactory;
import javax.xml.stream.XMLStreamException;
import javax.xml.stream.XMLStreamReader;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.FrameworkUtil;
import org.osgi.framework.InvalidSyntaxException;
import org.osgi.framework.namespace.PackageNamespace;
import org.osgi.framework.wiring.BundleRevision;
import org.osgi.resource.Capability;
import org.osgi.resource.Namespace;
import org.osgi.resource.Requirement;

/**
 * The strategies that bundles have, whether or not they are there as services: read from the
 * descriptions of their components, which are there as long as the bundle is installed (OSGi
 * Compendium, Declarative Services, "Component Description").
 */
final class Installed {
    private static final String HEADER = "Service-Component";

    private static final Map<String, String> KINDS =
            Map.of(
                    EventSource.class.getName(), "source",
                    RateEstimator.class.getName(), "rate",
                    PinStrategy.class.getName(), "pin",
                    SyncBack.class.getName(), "sync");

    private static final String VERSION = "version";
    private static final Pattern PACKAGE = Pattern.compile("\\(osgi\\.wiring\\.package=([^)]+)\\)");
    private static final Pattern BELOW = Pattern.compile("\\(!\\(version>=([^)]+)\\)\\)");
    private static final Pattern LEAST = Pattern.compile("(?<!!)\\(version>=([^)]+)\\)");

    private Installed() {}

    /**
     * Those that are no services.
     *
     * @param there the services
     */
    static List<StrategyStatus> others(
            BundleContext context, List<StrategyStatus> there, ToIntFunction<StrategyStatus> pins) {
        List<StrategyStatus> others = new ArrayList<>();
        for (Bundle bundle : context.getBundles()) {
            String header = bundle.getHeaders("").get(HEADER);
            if (header == null) {
                continue;
            }
            for (String path : header.split(",")) {
                for (URL description : entries(bundle, path.strip())) {
                    StrategyStatus found = of(context, bundle, description);
                    if (found != null && there.stream().noneMatch(s -> same(s, found))) {
                        others.add(with(found, pins.applyAsInt(found)));
                    }
                }
            }
        }
        return others;
    }

    /** The last part of a path may have wildcards. */
    private static List<URL> entries(Bundle bundle, String path) {
        int slash = path.lastIndexOf('/');
        var found =
                bundle.findEntries(
                        slash < 0 ? "/" : path.substring(0, slash),
                        path.substring(slash + 1),
                        false);
        return found == null ? List.of() : Collections.list(found);
    }

    /** Null if it is no strategy, or cannot be read: then Declarative Services says so. */
    private static StrategyStatus of(BundleContext context, Bundle bundle, URL description) {
        String name = bundle.getSymbolicName();
        Set<String> kinds = new HashSet<>();
        XMLInputFactory factory = XMLInputFactory.newFactory();
        factory.setProperty(XMLInputFactory.SUPPORT_DTD, false);
        try (InputStream in = description.openStream()) {
            XMLStreamReader xml = factory.createXMLStreamReader(in);
            while (xml.hasNext()) {
                if (xml.next() != XMLStreamReader.START_ELEMENT) {
                    continue;
                }
                if (xml.getLocalName().equals("provide")) {
                    String kind = KINDS.get(xml.getAttributeValue(null, "interface"));
                    if (kind != null) {
                        kinds.add(kind);
                    }
                } else if (xml.getLocalName().equals("property")
                        && Names.NAME.equals(xml.getAttributeValue(null, "name"))
                        && xml.getAttributeValue(null, "value") != null) {
                    name = xml.getAttributeValue(null, "value");
                }
            }
        } catch (IOException | XMLStreamException e) {
            return null;
        }
        return kinds.isEmpty()
                ? null
                : new StrategyStatus(
                        kinds.iterator().next(),
                        name,
                        bundle.getSymbolicName(),
                        bundle.getVersion().toString(),
                        switch (bundle.getState()) {
                            case Bundle.INSTALLED -> "unresolved";
                            case Bundle.ACTIVE, Bundle.STARTING -> "inactive";
                            default -> "stopped";
                        },
                        false,
                        0,
                        bundle.getState() == Bundle.INSTALLED ? missing(context, bundle) : "");
    }

    /** The packages that a bundle needs and nobody here has, with their versions. */
    private static String missing(BundleContext context, Bundle bundle) {
        BundleRevision revision = bundle.adapt(BundleRevision.class);
        if (revision == null) {
            return "";
        }
        List<String> missing = new ArrayList<>();
        for (Requirement r : revision.getRequirements(PackageNamespace.PACKAGE_NAMESPACE)) {
            String filter = r.getDirectives().get(Namespace.REQUIREMENT_FILTER_DIRECTIVE);
            String resolution = r.getDirectives().get(Namespace.REQUIREMENT_RESOLUTION_DIRECTIVE);
            Matcher name = PACKAGE.matcher(String.valueOf(filter));
            if (Namespace.RESOLUTION_OPTIONAL.equals(resolution) || !name.find()) {
                continue;
            }
            List<Map<String, Object>> there = exports(context, name.group(1));
            if (there.stream().noneMatch(attributes -> matches(filter, attributes))) {
                missing.add(
                        "needs "
                                + name.group(1)
                                + " "
                                + range(filter)
                                + (there.isEmpty()
                                        ? ", which is not there"
                                        : ", and "
                                                + there.get(0).get(VERSION)
                                                + " is there: build it against that"));
            }
        }
        return String.join("; ", missing);
    }

    private static List<Map<String, Object>> exports(BundleContext context, String name) {
        List<Map<String, Object>> all = new ArrayList<>();
        for (Bundle other : context.getBundles()) {
            BundleRevision revision = other.adapt(BundleRevision.class);
            if (revision == null) {
                continue;
            }
            for (Capability c : revision.getCapabilities(PackageNamespace.PACKAGE_NAMESPACE)) {
                if (name.equals(c.getAttributes().get(PackageNamespace.PACKAGE_NAMESPACE))) {
                    all.add(c.getAttributes());
                }
            }
        }
        return all;
    }

    private static boolean matches(String filter, Map<String, Object> attributes) {
        try {
            return FrameworkUtil.createFilter(filter).matches(attributes);
        } catch (InvalidSyntaxException e) {
            return false;
        }
    }

    /** As in a manifest: {@code [1.0.0,2.0.0)}. */
    private static String range(String filter) {
        Matcher least = LEAST.matcher(filter);
        Matcher below = BELOW.matcher(filter);
        String from = least.find() ? least.group(1) : "0.0.0";
        return below.find() ? "[" + from + "," + below.group(1) + ")" : from + " or later";
    }

    private static boolean same(StrategyStatus a, StrategyStatus b) {
        return a.kind().equals(b.kind())
                && a.name().equals(b.name())
                && a.bundle().equals(b.bundle())
                && a.version().equals(b.version());
    }

    private static StrategyStatus with(StrategyStatus s, int pins) {
        return new StrategyStatus(
                s.kind(), s.name(), s.bundle(), s.version(), s.state(), false, pins, s.note());
    }
}
